"""The compression network: a causal video autoencoder whose decoder is guided by the scene's full-size maps.

    latents = encode(picture, guide)        picture = decode(latents, guide)

4 x 8 x 8 pixels and frames become one latent of 16 channels: of a clip F = 4n + 1 the first frame is a latent frame of
its own, so that a still is a clip too. No latent knows a later frame. The guide (base colour, normals, depth, light:
the scene's facts) is known on both sides, so latents hold only what it does not tell, and the decoder draws every edge
and texture where the scene has it, at whatever size the maps have. Shapes: F frames, T = n + 1 latent frames, C
channels, H W pixels, h w = H/8 W/8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..conditions import SHADED, SLICE

TIME, SPACE, STEM = 4, 8, 4  # frames and pixels of a latent; pixels of the stem
EVEN = 0.5  # what stands for the sky's own colour
DIM = 0.15  # base colour below which light is not told from colour
NEAR, BLEED = 1.4, 1e-4  # of a cell's weight: its fall by distance, squared, in cells; what an unlike cell has
FIRST_SPREAD = -6.0  # log variance of a fresh network's latents
# pictures and words, which are not the scene's facts, and what the head alone reads
UNGUIDED = ("cache", "has_cache", "reactive", "has_reactive", *SHADED)
GUIDE = [i for name, at in SLICE.items() if name not in UNGUIDED for i in range(at.start, at.stop)]


@dataclass(frozen=True)
class CodecConfig:
    latent: int = 16  # channels
    width: int = 96  # at an eighth of the size
    stem: int = 48  # at a quarter
    head: int = 32  # at full size
    guide: int = len(GUIDE)
    family: str = "codec"
    version: int = 1


def guide_of(maps: Tensor) -> Tensor:
    """Conditions (F, C, H, W) -> what the codec may know."""
    return maps[:, GUIDE]


class Spatial(nn.Module):
    """Two convolutions of every frame around a skip; starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:  # (F, C, H, W)
        return x + self.conv2(F.gelu(self.conv1(F.gelu(self.norm(x)))))


class Causal(nn.Module):
    """A residual block in space and time: a latent frame sees itself and the two before it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.past = nn.Conv2d(3 * channels, channels, 1)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv.weight)

    def forward(self, x: Tensor) -> Tensor:  # (T, C, h, w)
        y = F.gelu(self.norm(x))  # per frame, so that no frame knows a later one
        before = torch.cat([y[:1], y[:-1]]), torch.cat([y[:1], y[:1], y[:-2]])[: len(y)]
        return x + self.conv(F.gelu(self.past(torch.cat([y, *before], 1))))


def folded(x: Tensor) -> Tensor:
    """(4n + 1, C, h, w) -> (n + 1, 4 C, h, w); the first frame stands four times."""
    return rearrange(torch.cat([x[:1].expand(TIME - 1, -1, -1, -1), x]), "(t p) c h w -> t (p c) h w", p=TIME)


def unfolded(x: Tensor) -> Tensor:
    """(n + 1, 4 C, h, w) -> (4n + 1, C, h, w)."""
    return rearrange(x, "t (p c) h w -> (t p) c h w", p=TIME)[TIME - 1 :]


def shortcut(inward: int, outward: int) -> nn.Conv2d:
    """What goes past a network: each channel as it is, at first."""
    layer = nn.Conv2d(inward, outward, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(outward, inward)[:, :, None, None])
    return layer


class Encoder(nn.Module):
    """The mean colours of 4 x 8 x 8 pixels go past it: residual autoencoding (Chen et al. 2024, DC-AE, section 3.2)."""

    def __init__(self, c: CodecConfig) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3 + c.guide, c.stem, STEM, STEM)
        self.fine = Spatial(c.stem)
        self.shrink = nn.Conv2d(c.stem, c.width, 2, 2)
        self.coarse = Spatial(c.width)
        self.fold = nn.Conv2d(TIME * c.width, 2 * c.width, 1)
        self.causal = nn.Sequential(Causal(2 * c.width), Causal(2 * c.width))
        self.past = shortcut(3 * TIME, c.latent)
        self.out = nn.Conv2d(2 * c.width, 2 * c.latent, 1)
        with torch.no_grad():  # latents start far above their own noise, or nothing would pass at first
            self.out.bias[c.latent :] = FIRST_SPREAD  # type: ignore[index]

    def forward(self, picture: Tensor, guide: Tensor) -> tuple[Tensor, Tensor]:
        """(F, 3, H, W), (F, G, H, W) -> mean and log variance (T, latent, h, w)."""
        x = self.fine(F.gelu(self.stem(torch.cat([picture, guide], 1))))
        x = self.coarse(F.gelu(self.shrink(x)))
        mean, spread = self.out(F.gelu(self.causal(self.fold(folded(x))))).float().chunk(2, 1)
        return mean + self.past(folded(F.avg_pool2d(picture, SPACE))), spread.clamp(-12, 4)


class Decoder(nn.Module):
    def __init__(self, c: CodecConfig) -> None:
        super().__init__()
        self.past = shortcut(c.latent, 3 * TIME)
        self.into = nn.Conv2d(c.latent, 2 * c.width, 1)
        self.causal = nn.Sequential(Causal(2 * c.width), Causal(2 * c.width), Causal(2 * c.width))
        self.unfold = nn.Conv2d(2 * c.width, TIME * c.width, 1)
        self.coarse = Spatial(c.width)
        self.grow = nn.Conv2d(c.width, c.stem, 3, padding=1)
        self.stem = nn.Conv2d(c.guide, c.stem, STEM, STEM)
        self.fine = nn.Sequential(Spatial(c.stem), Spatial(c.stem))
        self.fields = nn.Conv2d(c.stem, 2 * c.head + 12, 3, padding=1)  # smooth: gain and offset of features and colour
        self.seen = nn.Conv2d(c.guide, c.head, 1)
        self.mix1 = nn.Conv2d(c.head, c.head, 3, padding=1)
        self.mix2 = nn.Conv2d(c.head, c.head, 3, padding=1)
        self.out = nn.Conv2d(c.head, 3, 1)
        for layer in (self.fields, self.out):  # at first the picture is its mean colours
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def body(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """(T, latent, h, w) -> features (F, width, h, w), colours (F, 3, h, w)."""
        return unfolded(self.unfold(F.gelu(self.causal(self.into(latents))))), unfolded(self.past(latents))

    def picture(self, body: Tensor, coarse: Tensor, guide: Tensor) -> Tensor:
        """Some frames at the guide's size: what `body` gives of them, (f, G, H, W) -> (f, 3, H, W) in -1..1.

        The guide may be larger than the latents say; then features are resized and details are the guide's.
        """
        size = guide.shape[-2:]
        small = tuple(n * SPACE for n in body.shape[-2:])
        thin = guide if small == size else F.interpolate(guide, small, mode="area")
        x = F.interpolate(self.coarse(body), scale_factor=2.0, mode="bilinear", align_corners=False)
        x = self.fine(self.grow(x) + F.gelu(self.stem(thin)))
        fields = F.interpolate(self.fields(x).float(), size, mode="bilinear", align_corners=False)
        gain, offset, colour = fields.split([self.seen.out_channels, self.seen.out_channels, 12], 1)
        y = F.gelu(self.seen(guide)) * (1 + gain.to(guide.dtype)) + offset.to(guide.dtype)
        y = y + F.gelu(self.mix1(y))
        y = y + F.gelu(self.mix2(y))
        base = guide[:, BASE].float()
        return lit(coarse.float(), guide.float()) + self.out(y).float() + graded(base, colour)


SKY = [GUIDE.index(SLICE["sky"].start)]
ALIKE = [i for name in ("normal", "distance", "sky", "sunlit") for i in range(SLICE[name].start, SLICE[name].stop)]
ALIKE, ALIKE_WEIGHTS = [GUIDE.index(i) for i in ALIKE], [1.5, 1.5, 1.5, 4.0, 4.0, 1.5]
BASE = [GUIDE.index(i) for i in range(SLICE["base"].start, SLICE["base"].stop)]


def lit(coarse: Tensor, guide: Tensor) -> Tensor:
    """Mean colours (f, 3, h, w) in -1..1 as light on the surfaces' own, at the guide's size (f, 3, H, W).

    What is left of a picture when the surfaces' colours are taken out is smooth within a surface: each pixel takes it
    from those of nine cells that resemble it (joint bilateral upsampling: Kopf et al. 2007, eq. 3), and puts its own
    colour in.
    """
    (h, w), (H, W) = coarse.shape[-2:], guide.shape[-2:]
    plain = torch.where(guide[:, SKY] > 0.5, EVEN, guide[:, BASE])
    alike = torch.cat([guide[:, ALIKE] * torch.tensor(ALIKE_WEIGHTS, device=guide.device).view(-1, 1, 1), 3 * plain], 1)
    light = ((coarse + 1) / 2 + DIM) / (F.interpolate(plain, (h, w), mode="area") + DIM)
    padded = F.pad(torch.cat([light, F.interpolate(alike, (h, w), mode="area")], 1), (1, 1, 1, 1), mode="replicate")
    rows, columns = ((torch.arange(n, device=guide.device) + 0.5) * (m / n) for n, m in ((H, h), (W, w)))
    total, weight = torch.zeros_like(plain), torch.zeros_like(plain[:, :1])
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            y, x = rows.floor() + dy, columns.floor() + dx
            near = torch.exp(-NEAR * ((rows - y - 0.5) ** 2)[:, None] - NEAR * ((columns - x - 0.5) ** 2)[None])
            cell = padded[:, :, (y + 1).long()[:, None], (x + 1).long()[None]]
            share = near * (torch.exp(-2 * ((cell[:, 3:] - alike) ** 2).sum(1, keepdim=True)) + BLEED)
            total, weight = total + share * cell[:, :3], weight + share
    return (total / weight * (plain + DIM) - DIM) * 2 - 1


def graded(base: Tensor, colour: Tensor) -> Tensor:
    """Every pixel's own affine transform of its base colour: (f, 3, H, W), (f, 12, H, W) -> (f, 3, H, W)."""
    matrix, offset = colour[:, :9].unflatten(1, (3, 3)), colour[:, 9:]
    return (matrix * base[:, None]).sum(2) + offset


class Codec(nn.Module):
    mean: Tensor  # of latents, by channel; what a model of them sees is normalised
    std: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.register_buffer("mean", torch.zeros(config.latent))
        self.register_buffer("std", torch.ones(config.latent))

    def metadata(self) -> dict[str, Any]:
        return asdict(self.config)

    def encode(self, picture: Tensor, guide: Tensor) -> Tensor:
        """(4n + 1, 3, H, W) in -1..1 -> normalised latents (n + 1, latent, H/8, W/8)."""
        mean, _ = self.encoder(picture, guide)
        return (mean - self.mean.view(1, -1, 1, 1)) / self.std.view(1, -1, 1, 1)

    def decode(self, latents: Tensor, guides: Callable[[list[int]], Tensor], chunk: int = 2) -> Iterator[Tensor]:
        """Normalised latents -> pictures (f, 3, H, W), a few frames at a time. `guides`: frames -> their maps."""
        body, coarse = self.decoder.body(latents * self.std.view(1, -1, 1, 1) + self.mean.view(1, -1, 1, 1))
        for i in range(0, len(body), chunk):
            at = list(range(i, min(i + chunk, len(body))))
            yield self.decoder.picture(body[at], coarse[at], guides(at)).clamp(-1, 1)

    def forward(self, picture: Tensor, guide: Tensor, frames: list[int], noise: Tensor) -> dict[str, Tensor]:
        """For training: the chosen frames as they come back, the latents' mean and log variance."""
        mean, spread = self.encoder(picture, guide)
        latents = mean + (0.5 * spread).exp() * noise
        body, coarse = self.decoder.body(latents)
        picture = self.decoder.picture(body[frames], coarse[frames], guide[frames])
        return {"picture": picture, "mean": mean, "spread": spread}

    @torch.no_grad()
    def notice(self, means: Tensor, rate: float = 0.02) -> None:
        """Follows the latents' mean and deviation by channel; (N, latent)."""
        self.mean.lerp_(means.mean(0), rate)
        self.std.lerp_(means.std(0).clamp_min(1e-3), rate)
