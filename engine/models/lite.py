"""Lite: the bundled model. A spacetime-patch transformer around a head that shades the scene (see shading.py).

    x0 = shade(facts, base', look, fields) + residual

`look` (some thirty numbers a clip) is read off the prompt and the scene's statistics once a shot, so that it cannot
drift; the transformer paints what is local: base colour where the scene has none, clouds, snow's edge, lit panes, the
residual. Clips of different size, shape and length go through it as one pack, each at its own. Shapes stand in the
trailing comments: P clips, F frames = 4n + 1, T = n + 1 latent frames, H W pixels, S text tokens.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from .. import conditions
from ..conditions import SLICE
from . import shading
from .finishes import Dresser
from .layers import Block, Residual, spacetime, time_embedding
from .text import TextEncoder


@dataclass(frozen=True)
class LiteConfig:
    width: int = 256  # of the transformer
    layers: int = 6
    heads: int = 4
    stem: int = 64  # channels at a quarter of the size
    detail: int = 12  # channels handed from the quarter size to the full size
    head: int = 24  # channels of the full-size convolutions
    conditions: int = conditions.WIDTH  # older weights know fewer, the first of them; the shader knows them all
    reads_pictures: bool = True  # older weights were never shown a reference
    dresses: bool = True  # older weights know no finishes of bare objects
    words: Mapping[str, Sequence[float]] = field(default_factory=dict)  # an artist's own: what each adds to a raw look
    family: str = "lite"
    version: int = 1


def config_of(told: Mapping[str, Any]) -> LiteConfig:
    """The configuration that travels with weights; what older ones do not name they do not have."""
    absent = {"reads_pictures": False, "dresses": False}
    return LiteConfig(**absent | {k: v for k, v in told.items() if k in LiteConfig.__dataclass_fields__})


PATCH_TIME, PATCH_SPACE, STEM = 4, 16, 4  # frames of a latent frame; pixels of a token; pixels of the stem
SIDE = PATCH_SPACE // STEM
NOISY = 3  # channels of the noisy picture
REFERENCE = (64, 96)  # height and width at which a reference is looked at
FULL_SIZE_CHUNK = 2  # frames that pass the full-size layers together: bounds memory and the time to cancel
CLEAN = (
    "sky",
    "normal",
    "position",
    "base",
    "has_base",
    "gloss",
    "emission",
)  # what the pane detector sees: never the noise


def _nothing() -> None:
    return None


Frames = slice | list[int]


@dataclass(frozen=True)
class Known:
    """What the network makes of a clip's conditions alone: the same at every step, so it is made once."""

    stem: Tensor  # (F, E, H/4, W/4)
    head: Tensor  # (F, C, H, W)
    pane: Tensor  # (F, 1, H, W) logits
    clouds: Tensor | None  # (F, 3, H, W) log gain of the sky; None: no sky is seen


@dataclass(frozen=True)
class Sample:
    """One clip of a pack, as the model is given it."""

    x: Tensor  # (F, 3, H, W) noisy
    maps: Tensor  # (F, C, H, W) conditions
    t: Tensor  # () in [0, 1]
    tokens: Tensor  # (S, D) text
    pooled: Tensor  # (D,)
    look: shading.Look  # from `shading.unpack`: name -> (1, 1, size, 1, 1)
    azimuth: Tensor  # (1, 1, 1, 1, 1)
    frames: list[int] | None = None  # only these leave the full-size layers, with everything that made them
    known: Known | None = None  # from `Lite.know`, where there are several steps


class LookNet(nn.Module):
    """Prompt and scene statistics -> the look's raw numbers (B, LOOK_WIDTH)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.text = TextEncoder(width)
        self.mlp = nn.Sequential(
            nn.Linear(2 * width + conditions.STATISTICS, 2 * width), nn.GELU(), nn.Linear(2 * width, width), nn.GELU(),
            nn.Linear(width, shading.LOOK_WIDTH),
        )  # fmt: skip

    def forward(self, rows: Tensor, statistics: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """rows (B, S, G), statistics (B, 12) -> raw look, text tokens (B, S, D), pooled (B, D), mask (B, S)."""
        tokens, pooled, mask = self.text(rows)
        strongest = tokens.masked_fill(~mask[..., None], -torch.inf).amax(1)  # one word can decide
        strongest = torch.where(mask.any(1, keepdim=True), strongest, 0)
        return self.mlp(torch.cat([pooled, statistics, strongest], 1)), tokens, pooled, mask


class Reference(nn.Module):
    """A picture of the look that is wanted -> its own raw look, and tokens of what it shows."""

    def __init__(self, width: int) -> None:
        super().__init__()
        sides = [(3, 32), (32, 64), (64, 96), (96, 128)]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in sides)
        self.token = nn.Linear(128, width)
        self.place = nn.Parameter(torch.randn(math.prod(side // 16 for side in REFERENCE), width) * 0.02)
        self.mlp = nn.Sequential(nn.Linear(2 * 128, width), nn.GELU(), nn.Linear(width, shading.LOOK_WIDTH))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, *REFERENCE) in -1..1 -> raw look (B, LOOK_WIDTH), tokens (B, S, D)."""
        x = pictures
        for conv in self.convs:
            x = F.gelu(conv(x))
        cells = rearrange(x, "b c h w -> b (h w) c")
        return self.mlp(torch.cat([cells.mean(1), cells.amax(1)], 1)), self.token(cells) + self.place


def as_reference(picture: Tensor) -> Tensor:
    """A picture (3, h, w) of any size and shape -> (3, *REFERENCE)."""
    return F.interpolate(picture[None], REFERENCE, mode="bilinear", antialias=True, align_corners=False)[0]


class Lite(nn.Module):
    def __init__(self, config: LiteConfig) -> None:
        super().__init__()
        self.config = c = config
        D, E = c.width, c.stem
        self.look = LookNet(D)
        self.stem = nn.Conv2d(NOISY + c.conditions, E, STEM, STEM)
        self.stem_block = Residual(E, D)
        self.into = nn.Linear(E * PATCH_TIME * (PATCH_SPACE // STEM) ** 2, D)
        self.time = nn.Sequential(nn.Linear(128, D), nn.SiLU(), nn.Linear(D, D))
        self.pooled = nn.Linear(D, D)
        self.modulation = nn.Linear(D, 6 * D)
        self.blocks = nn.ModuleList(Block(D, c.heads) for _ in range(c.layers))
        self.norm = nn.LayerNorm(D)
        self.outof = nn.Linear(D, E * PATCH_TIME * (PATCH_SPACE // STEM) ** 2)
        self.quarter_block = Residual(E, D)
        self.detail = nn.Conv2d(E, c.detail, 3, padding=1)
        self.fields = nn.Conv2d(E, 7, 3, padding=1)  # drift 1, cloud 3, base 3: smooth, at a quarter of the size
        self.head1 = nn.Conv2d(c.detail + NOISY + c.conditions, c.head, 1)
        self.head2 = nn.Conv2d(c.head, c.head, 3, padding=1)
        self.head3 = nn.Conv2d(c.head, c.head, 3, padding=1)
        self.head_out = nn.Conv2d(c.head, 9, 1)  # base 3, residual 3, cloud 3
        self.head_time = nn.Linear(D, 2 * c.head)
        clean = sum(conditions.CHANNELS[name] for name in CLEAN)
        self.pane = nn.Sequential(
            nn.Conv2d(clean, 24, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(24, 24, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(24, 1, 1),
        )
        for layer in (self.modulation, self.fields, self.head_out, self.head_time, self.pooled):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.head_out.weight, std=0.02)
        nn.init.constant_(self.pane[-1].bias, -3.0)  # type: ignore[arg-type]
        self.reference = Reference(D) if c.reads_pictures else None
        self.dresser = Dresser(D) if c.dresses else None

    def metadata(self) -> dict[str, object]:
        return asdict(self.config)

    def own(self, prompt: str) -> tuple[Tensor, str]:
        """What the artist's own words of a prompt add to its raw look (1, LOOK_WIDTH), and the prompt without them."""
        added = torch.zeros(1, shading.LOOK_WIDTH)
        for word, numbers in self.config.words.items():
            rest = re.sub(rf"\b{re.escape(word)}\b", "", prompt, flags=re.IGNORECASE)
            if rest != prompt:
                added, prompt = added + torch.tensor(numbers), rest
        return added, prompt

    def know(self, maps: Tensor, look: shading.Look, tick: Callable[[], None] = _nothing) -> Known:
        """What stays the same at every step of a clip with those conditions (F, C, H, W); as precise as they are."""
        count, _, height, width = maps.shape

        def room(channels: int, smaller: int = 1) -> Tensor:
            made = maps.new_empty(count, channels, height // smaller, width // smaller)
            return made.contiguous(memory_format=torch.channels_last)

        stem, head, pane = room(self.config.stem, STEM), room(self.config.head), room(1)
        clouds = room(3) if shading.is_cloudy(maps[None], look) else None
        for at in chunks(count):
            part = maps[at]
            stem[at], head[at], pane[at] = self.stem_told(part), self.head_told(part), self.panes(part)
            if clouds is not None:
                clouds[at] = shading.clouds(part[None, :, SLICE["ray"]].float(), look)[0]
            tick()
        return Known(stem, head, pane, clouds)

    def stem_told(self, maps: Tensor) -> Tensor:
        """The stem's share of the conditions, (f, E, H/4, W/4)."""
        return share(self.stem, maps[:, : self.config.conditions], slice(NOISY, None))

    def head_told(self, maps: Tensor) -> Tensor:
        """The full-size layers' share of them, (f, C, H, W)."""
        return share(self.head1, maps[:, : self.config.conditions], slice(NOISY + self.config.detail, None))

    def panes(self, maps: Tensor) -> Tensor:
        """Where panes are, (f, 1, H, W) logits."""
        clean = [in_channels(maps[:, SLICE[name]], self.pane[0]) for name in CLEAN]  # autocast joins no halves
        return self.pane(in_channels(torch.cat(clean, 1), self.pane[0]))

    def early(self, clip: Sample, time: Tensor, tick: Callable[[], None]) -> Tensor:
        """A clip's features before the transformer, (F, E, H/4, W/4)."""
        parts = []
        for at in chunks(len(clip.x)):
            told = clip.known.stem[at] if clip.known else self.stem_told(clip.maps[at])
            noisy = share(self.stem, clip.x[at], slice(NOISY), bias=False)
            parts.append(self.stem_block(F.gelu(noisy + told.to(noisy.dtype)), time))
            tick()
        return torch.cat(parts)

    def trunk(
        self, clips: list[Sample], quarters: list[Tensor], time: Tensor, tick: Callable[[], None]
    ) -> list[Tensor]:
        """Features (F, E, H/4, W/4) of every clip, and what the transformer adds to them."""
        tokens, grids = [], []
        for clip, q in zip(clips, quarters, strict=True):
            lead = torch.cat([q[:1].expand(PATCH_TIME - 1, -1, -1, -1), q])  # the first frame is its own latent frame
            z = self.into(rearrange(lead, "(t p) e (h i) (w j) -> (t h w) (e p i j)", p=PATCH_TIME, i=SIDE, j=SIDE))
            tokens.append(torch.cat([clip.tokens.to(z.dtype), z]))  # S+L D
            grids.append((len(lead) // PATCH_TIME, q.shape[2] // SIDE, q.shape[3] // SIDE))
        modulation = rearrange(self.modulation(time), "p (six d) -> p six d", six=6)
        seen, out = spacetime(self.blocks, tokens, grids, modulation, tick), []
        for clip, z, (t, h, w) in zip(clips, seen, grids, strict=True):
            z = self.outof(self.norm(z[len(clip.tokens) :]))
            z = rearrange(z, "(t h w) (e p i j) -> (t p) e (h i) (w j)", t=t, h=h, w=w, p=PATCH_TIME, i=SIDE, j=SIDE)
            out.append(z[PATCH_TIME - 1 :])
        return out

    def paint(self, clip: Sample, quarter: Tensor, time: Tensor, at: Frames) -> dict[str, Tensor]:
        """Full-size layers for some frames of a clip: everything that makes their picture, (f, ..., H, W)."""
        x, maps, known = clip.x[at], clip.maps[at], clip.known
        y = self.quarter_block(quarter[at].contiguous(memory_format=torch.channels_last), time)
        # resize, then convolve: no lattice
        grow: dict[str, Any] = dict(scale_factor=STEM, mode="bilinear", align_corners=False)
        smooth = F.interpolate(self.fields(y).float(), **grow)
        detail = F.interpolate(F.gelu(self.detail(y)), **grow)
        z = share(self.head1, torch.cat([detail, x.to(detail.dtype)], 1), slice(NOISY + self.config.detail), bias=False)
        z = z + (known.head[at].to(z.dtype) if known else self.head_told(maps).to(z.dtype))
        scale, shift = self.head_time(time)[:, :, None, None].chunk(2, 1)
        z = F.gelu(z * (1 + scale) + shift)
        z = z + F.gelu(self.head2(z))
        z = z + F.gelu(self.head3(z))
        out = self.head_out(z).float()
        pane = (known.pane[at] if known else self.panes(maps)).float()
        drift, cloud, base = smooth.split([1, 3, 3], 1)
        with torch.autocast(x.device.type, enabled=False):
            guess = (base + out[:, 0:3]).sigmoid()
            has_base = maps[:, SLICE["has_base"]].float()
            colour = has_base * maps[:, SLICE["base"]].float() + (1 - has_base) * guess
            sky_gain = 1.5 * torch.tanh((cloud + out[:, 6:9]) / 1.5)
            fields = {"drift": drift[None], "pane": pane.sigmoid()[None], "cloud": sky_gain[None]}
            if known and known.clouds is not None:
                fields["clouds"] = known.clouds[at][None].float()
            shaded = shading.shade(maps[None], colour[None], clip.look, clip.azimuth, fields)[0]
        return {"shaded": shaded, "residual": out[:, 3:6], "pane": pane, "base": guess}

    def forward(self, clips: list[Sample], tick: Callable[[], None] = _nothing) -> list[dict[str, Tensor]]:
        """One prediction of the clean pictures of a pack of clips, of any sizes."""
        for clip in clips:
            check(clip)
        times = torch.stack([clip.t for clip in clips])
        pooled = torch.stack([clip.pooled for clip in clips])
        time = F.silu(self.time(time_embedding(times, 128)) + self.pooled(pooled))
        own = time.split(1)
        quarters = [self.early(clip, t, tick) for clip, t in zip(clips, own, strict=True)]
        late = self.trunk(clips, quarters, time, tick)
        return [self.finish(clip, q + z, t, tick) for clip, q, z, t in zip(clips, quarters, late, own, strict=True)]

    def finish(self, clip: Sample, quarter: Tensor, time: Tensor, tick: Callable[[], None]) -> dict[str, Tensor]:
        """The full-size layers, a few frames at a time."""
        wanted = list(range(len(clip.x))) if clip.frames is None else clip.frames
        parts: list[dict[str, Tensor]] = []
        for at in chunks(len(wanted)):
            parts.append(self.paint(clip, quarter, time, at if clip.frames is None else wanted[at]))
            parts[-1]["x0"] = parts[-1]["shaded"] + parts[-1]["residual"]
            if clip.frames is None:  # sampling: only the picture is wanted, so the rest is let go
                parts[-1] = {"x0": parts[-1]["x0"]}
            tick()
        return {name: torch.cat([p[name] for p in parts]) for name in parts[0]}


def chunks(count: int) -> list[slice]:
    """The frames that pass the full-size layers together."""
    return [slice(i, min(i + FULL_SIZE_CHUNK, count)) for i in range(0, count, FULL_SIZE_CHUNK)]


def share(conv: nn.Conv2d, x: Tensor, inputs: slice, bias: bool = True) -> Tensor:
    """What some of a convolution's input channels add to its result."""
    weight = conv.weight[:, inputs].contiguous(memory_format=torch.channels_last)
    return F.conv2d(in_channels(x, conv), weight, conv.bias if bias else None, conv.stride)


def in_channels(x: Tensor, layer: nn.Module) -> Tensor:
    """What a layer is to read, in its precision, a pixel's channels together: copied once, if at all."""
    return x.to(next(layer.parameters()).dtype, memory_format=torch.channels_last)


def check(clip: Sample) -> None:
    count, _, H, W = clip.x.shape
    if count % PATCH_TIME != 1 or H % PATCH_SPACE or W % PATCH_SPACE:
        raise ValueError(
            f"{count} frames of {W}x{H}: lite takes 4n+1 frames and sides that are multiples of 16; pad before"
        )
