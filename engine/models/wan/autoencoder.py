"""The Wan video autoencoders, 2.1 and 2.2: pictures to latents and back, a few frames at a time, causally.

Time goes one way: every convolution sees its own past and nothing after, so a clip of any length passes in chunks (one
frame, then four and four), each convolution keeping the last frames it saw. The first chunk is a picture: it passes all
changes of the frame rate untouched, and leaves no past in those that raise it. Memory is that of one chunk.
Source: Wan (2025), arXiv 2503.20314, section 4.1.
Shapes: B batch, F frames = 4 n + 1, T = n + 1 latent frames, H W pixels, h w latent pixels, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor, nn

from ...windows import STRIDE
from .config import AutoencoderConfig
from .linear import Conv2d, Conv3d

CHUNK = STRIDE  # frames of a latent frame; the first has one
SIZES = (1, 2, 4, 4)  # widths at the four sizes, in units of the configuration's
FINE = 4  # pixels a latent pixel's side, from which on decoding may go in tiles
MARGIN = 10  # of those pixels: what the layers after them see: residuals 6, growing 1/2, residuals and head 7/2
READ_FINE = 2  # the same, up to which encoding may
READ_MARGIN = 4  # of those pixels: the layers before them see 13 folded ones before and 16 after, 4 of which are one:
# the first and residuals 5 and 5, halving 0 and 1, residuals 8 and 8, halving 0 and 2
SLOWER = (False, True, True)  # which of the three halvings of the size halve the frame rate, too

Tick = Callable[[], None]
Work = Callable[[Tensor, "Past"], Tensor]

# what latents are shifted and divided by, so that each channel has mean 0 and deviation 1 over the training clips
MEAN = {
    "2.1": (-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517, -0.3632,
            -0.1922, -0.9497, 0.2503, -0.2921),
    "2.2": (-0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557, -0.1382, 0.0542, 0.2813, 0.0891,
            0.1570, -0.0098, 0.0375, -0.1825, -0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502,
            -0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.1230, -0.0313, -0.1649, 0.0117, 0.0723,
            -0.2839, -0.2083, -0.0520, 0.3748, 0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667),
}  # fmt: skip
DEVIATION = {
    "2.1": (2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579,
            1.6382, 1.1253, 2.8251, 1.9160),
    "2.2": (0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.4990, 0.4818, 0.5013, 0.8158, 1.0344, 0.5894, 1.0901,
            0.6885, 0.6165, 0.8454, 0.4978, 0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659,
            0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093, 0.5709, 0.6065, 0.6415, 0.4944,
            0.5726, 1.2042, 0.5458, 1.6887, 0.3971, 1.0600, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744),
}  # fmt: skip


def _nothing() -> None:
    return None


@dataclass
class Past:
    """What a clip's earlier chunks left behind, for one direction of one pass."""

    tick: Tick = _nothing
    single: bool = False  # frames go one by one through the layers that work at their full number
    first: bool = True  # this chunk is the clip's first picture
    frames: dict[nn.Module, Tensor] = field(default_factory=dict)  # the last inputs of each convolution

    def move(self, device: torch.device | str) -> None:
        """What is remembered goes to another device."""
        self.frames = {layer: value.to(device) for layer, value in self.frames.items()}

    def joined(self, layer: nn.Module, x: Tensor, keep: int) -> Tensor:
        """x with the `keep` frames before it, zeros before the clip; remembers the last ones for the next chunk."""
        before = self.frames.get(layer)
        if before is None:
            before = x.new_zeros(*x.shape[:2], keep, *x.shape[3:])
        x = torch.cat([before, x], 2)
        self.frames[layer] = x[:, :, -keep:].clone()  # a view would hold the whole chunk
        return x


@dataclass(frozen=True)
class Span:
    """A tile along one side, in the coarser pixels of both ends of its layers: what it reads, and what of that is its
    own. A finer end has `scale` pixels for each."""

    read: slice
    own: slice

    def of(self, scale: int) -> slice:
        return slice(scale * self.read.start, scale * self.read.stop)

    def within(self, scale: int) -> slice:
        return slice(scale * (self.own.start - self.read.start), scale * (self.own.stop - self.read.start))

    def into(self, scale: int) -> slice:
        return slice(scale * self.own.start, scale * self.own.stop)


@dataclass
class Tile:
    """A part of all frames of a clip, and what its earlier chunks left behind."""

    rows: Span
    columns: Span
    past: Past = field(default_factory=Past)


def spans(length: int, side: int, margin: int) -> list[Span]:
    """Tiles of `side` pixels along `length`, neighbours sharing twice the margin that layers see, or more."""
    if side >= length:
        return [Span(slice(0, length), slice(0, length))]
    count = -(-(length - 2 * margin) // (side - 2 * margin))
    starts = [round(i * (length - side) / (count - 1)) for i in range(count)]
    ends = [(left + side + right) // 2 for left, right in pairwise(starts)]
    return [
        Span(slice(start, start + side), slice(a, b))
        for start, a, b in zip(starts, [0, *ends], [*ends, length], strict=True)
    ]


class CausalConv3d(Conv3d):
    """A convolution over the present and the past."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int, int]) -> None:
        super().__init__(inputs, outputs, kernel, padding=(0, kernel[1] // 2, kernel[2] // 2))

    def forward(self, x: Tensor, past: Past | None = None) -> Tensor:
        """(B, C, F, H, W) -> (B, C', F, H, W)."""
        keep = self.kernel_size[0] - 1
        if keep and past is not None:
            x = past.joined(self, x, keep)
        return super().forward(x)


class ChannelNorm(nn.Module):
    """x / |x| sqrt(C) gamma over the channels, in float32."""

    def __init__(self, channels: int, dimensions: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, *[1] * dimensions))

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x.float(), dim=1).mul_(x.shape[1] ** 0.5).mul_(self.gamma.float()).to(x.dtype)


def through(layers: Iterable[nn.Module], x: Tensor, past: Past) -> Tensor:
    """Layers in a row; those that know time are given the past."""
    for layer in layers:
        knows_time = isinstance(layer, CausalConv3d | Residual | Down | Up | DownGroup | UpGroup)
        x = layer(x, past) if knows_time else layer(x)
    return x


def each_by_itself(layers: Sequence[nn.Module], x: Tensor, past: Past) -> Tensor:
    """The same as `through`, a frame at a time where `past` says so: what a layer saw before is kept either way."""
    if not past.single:
        return through(layers, x, past)
    for i, layer in enumerate(layers):
        if x.shape[2] > 1:  # depth first: of what follows no more than one frame is held
            return torch.cat([each_by_itself(layers[i:], frame, past) for frame in x.split(1, 2)], 2)
        x = through([layer], x, past)
    return x


def in_tiles(work: Work, x: Tensor, past: Past, tiles: Sequence[Tile], reads: int, writes: int) -> Tensor:
    """work(x, past), tile by tile; its ends have `reads` and `writes` pixels for each of the tiles'. A tile reads as
    much around itself as the layers see, so the whole is the same, without seams. Between chunks a tile's past lies in
    the machine's own memory."""
    out = None
    for tile in tiles:
        tile.past.first, tile.past.tick, tile.past.single = past.first, past.tick, past.single
        tile.past.move(x.device)
        part = work(x[..., tile.rows.of(reads), tile.columns.of(reads)], tile.past)
        tile.past.move("cpu")
        if out is None:
            size = (side * writes // reads for side in x.shape[3:])
            out = part.new_empty(*part.shape[:3], *size)
        out[..., tile.rows.into(writes), tile.columns.into(writes)] = part[
            ..., tile.rows.within(writes), tile.columns.within(writes)
        ]
        del part
    assert out is not None
    return out


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            ChannelNorm(inputs, 3), nn.SiLU(inplace=True), CausalConv3d(inputs, outputs, (3, 3, 3)),
            ChannelNorm(outputs, 3), nn.SiLU(inplace=True), nn.Identity(), CausalConv3d(outputs, outputs, (3, 3, 3)),
        )  # fmt: skip
        self.shortcut = CausalConv3d(inputs, outputs, (1, 1, 1)) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, past: Past) -> Tensor:
        past.tick()
        return through(self.residual, x, past) + self.shortcut(x)


class Attention(nn.Module):
    """Each pixel of a frame looks at all of that frame; one head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels, 2)
        self.to_qkv = Conv2d(channels, 3 * channels, 1)
        self.proj = Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F, h, w) -> the same."""
        frames = rearrange(x, "b c f h w -> (b f) c h w")
        q, k, v = rearrange(self.to_qkv(self.norm(frames)), "n c h w -> n 1 (h w) c").contiguous().chunk(3, -1)
        y = F.scaled_dot_product_attention(q, k, v)
        y = self.proj(rearrange(y, "n 1 (h w) c -> n c h w", h=x.shape[3]))
        return x + rearrange(y, "(b f) c h w -> b c f h w", b=len(x))


def each_frame(layer: nn.Module, x: Tensor) -> Tensor:
    return rearrange(layer(rearrange(x, "b c f h w -> (b f) c h w")), "(b f) c h w -> b c f h w", b=len(x))


class Down(nn.Module):
    """Half the size, and with `slower` half the frames."""

    def __init__(self, channels: int, slower: bool) -> None:
        super().__init__()
        self.resample = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), Conv2d(channels, channels, 3, stride=2))
        self.time_conv = Conv3d(channels, channels, (3, 1, 1), (2, 1, 1)) if slower else None

    def forward(self, x: Tensor, past: Past) -> Tensor:
        x = each_frame(self.resample, x)
        if self.time_conv is None:
            return x
        joined = past.joined(self, x, 1)  # the last frame of the chunk before
        return x if past.first else self.time_conv(joined)


class Up(nn.Module):
    """Twice the size, and with `faster` twice the frames. The first picture stays one, and is no past to the next."""

    def __init__(self, channels: int, outputs: int, faster: bool) -> None:
        super().__init__()
        self.resample = nn.Sequential(nn.Upsample(scale_factor=2), Conv2d(channels, outputs, 3, padding=1))
        self.time_conv = CausalConv3d(channels, 2 * channels, (3, 1, 1)) if faster else None

    def forward(self, x: Tensor, past: Past) -> Tensor:
        if self.time_conv is not None and not past.first:
            x = rearrange(self.time_conv(x, past), "b (two c) f h w -> b c (f two) h w", two=2)
        return each_frame(self.resample, x)


def averaged(x: Tensor, outputs: int, slower: bool, smaller: bool) -> Tensor:
    """2.2's way past a group that shrinks: cells folded into channels, then as many channels averaged as are too many.

    (B, C, F, H, W) -> (B, outputs, F / 2 or F, H / 2 or H, W / 2 or W)."""
    t, s = 1 + slower, 1 + smaller
    x = F.pad(x, (0, 0, 0, 0, x.shape[2] % t, 0))  # a single frame has nothing before it
    cells = rearrange(x, "b c (f t) (h p) (w q) -> b (c t p q) f h w", t=t, p=s, q=s)
    return reduce(cells, "b (c group) f h w -> b c f h w", "mean", c=outputs)


def repeated(x: Tensor, outputs: int, faster: bool, first: bool) -> Tensor:
    """2.2's way past a group that grows: channels repeated, then unfolded into cells; a first picture stays one frame.

    (B, C, F, h, w) -> (B, outputs, 2 F or F, 2 h, 2 w)."""
    t = 1 + faster
    x = x.repeat_interleave(outputs * t * 4 // x.shape[1], 1)
    x = rearrange(x, "b (c t p q) f h w -> b c (f t) (h p) (w q)", t=t, p=2, q=2)
    return x[:, :, t - 1 :] if first else x


class DownGroup(nn.Module):
    """2.2: the layers of one size, and a way past them without weights."""

    def __init__(self, inputs: int, outputs: int, smaller: bool, slower: bool) -> None:
        super().__init__()
        self.outputs, self.smaller, self.slower = outputs, smaller, slower
        layers: list[nn.Module] = [Residual(inputs, outputs), Residual(outputs, outputs)]
        self.downsamples = nn.Sequential(*layers, *([Down(outputs, slower)] if smaller else []))

    def forward(self, x: Tensor, past: Past) -> Tensor:
        return through(self.downsamples, x, past) + averaged(x, self.outputs, self.slower, self.smaller)


class UpGroup(nn.Module):
    """2.2: the layers of one size, and where it grows a way past them without weights."""

    def __init__(self, inputs: int, outputs: int, larger: bool, faster: bool) -> None:
        super().__init__()
        self.outputs, self.larger, self.faster = outputs, larger, faster
        layers: list[nn.Module] = [Residual(inputs, outputs), *(Residual(outputs, outputs) for _ in range(2))]
        self.upsamples = nn.Sequential(*layers, *([Up(outputs, outputs, faster)] if larger else []))

    def forward(self, x: Tensor, past: Past) -> Tensor:
        y = through(self.upsamples, x, past)
        return y + repeated(x, self.outputs, self.faster, past.first) if self.larger else y


def middle(channels: int) -> nn.Sequential:
    return nn.Sequential(Residual(channels, channels), Attention(channels), Residual(channels, channels))


def head(channels: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(ChannelNorm(channels, 3), nn.SiLU(inplace=True), CausalConv3d(channels, outputs, (3, 3, 3)))


class Encoder(nn.Module):
    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        widths = [config.width * size for size in (1, *SIZES)]
        self.conv1 = CausalConv3d(3 * config.fold**2, widths[0], (3, 3, 3))
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(widths)):
            smaller, slower = i < len(SLOWER), i < len(SLOWER) and SLOWER[i]
            if config.generation == "2.2":
                layers.append(DownGroup(a, b, smaller, slower))
            else:
                layers += [Residual(a, b), Residual(b, b), *([Down(b, slower)] if smaller else [])]
        self.downsamples = nn.Sequential(*layers)
        self.middle = middle(widths[-1])
        self.head = head(widths[-1], 2 * config.channels)
        shrinks = [i for i, layer in enumerate(layers) if isinstance(layer, Down) or getattr(layer, "smaller", False)]
        self.full, self.coarse = shrinks[0] + 1, shrinks[1] + 1  # layers of the full size; those that may go in tiles

    def forward(self, x: Tensor, past: Past, tiles: Sequence[Tile] = ()) -> Tensor:
        """A chunk (B, C, 1 or 4, H, W) -> mean and log variance of one latent frame (B, 2 C', 1, h, w)."""
        rest = [*list(self.downsamples)[self.coarse :], *self.middle, *self.head]
        if not tiles:
            return through(rest, self.fine(x, past), past)
        return through(rest, in_tiles(self.fine, x, past, tiles, FINE, 1), past)

    def fine(self, x: Tensor, past: Past) -> Tensor:
        """The layers before the frame is a quarter of its size: they are large, and see no more than their margin."""
        layers = list(self.downsamples)[: self.coarse]
        first, then = [self.conv1, *layers[: self.full]], layers[self.full :]
        return through(then, each_by_itself(first, x, past), past)  # without a name, for a name would hold it


class Decoder(nn.Module):
    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        widths = [config.decoder_width * size for size in (SIZES[-1], *reversed(SIZES))]
        self.conv1 = CausalConv3d(config.channels, widths[0], (3, 3, 3))
        self.middle = middle(widths[0])
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(widths)):
            larger, faster = i < len(SLOWER), i < len(SLOWER) and SLOWER[-1 - i]
            if config.generation == "2.2":
                layers.append(UpGroup(a, b, larger, faster))
            else:  # each growth halves the channels
                layers += [Residual(a // 2 if i else a, b), Residual(b, b), Residual(b, b)]
                layers += [Up(b, b // 2, faster)] if larger else []
        self.upsamples = nn.Sequential(*layers)
        self.head = head(widths[-1], 3 * config.fold**2)
        grows = [i for i, layer in enumerate(layers) if isinstance(layer, Up) or getattr(layer, "larger", False)]
        self.coarse = grows[1] + 1  # layers up to FINE pixels a latent pixel: they look across frames, and are small

    def forward(self, x: Tensor, past: Past, tiles: Sequence[Tile] = ()) -> Tensor:
        """One latent frame (B, C, 1, h, w) -> its pictures (B, C', 1 or 4, H, W)."""
        first = [self.conv1, *self.middle, *list(self.upsamples)[: self.coarse]]
        if not tiles:
            return each_by_itself([*first, *self.rest], x, past)
        x = each_by_itself(first, x, past)
        return in_tiles(lambda part, own: each_by_itself(self.rest, part, own), x, past, tiles, 1, 2)

    @property
    def rest(self) -> list[nn.Module]:
        """The layers beyond FINE pixels a latent pixel: they are large, and see no more than their margin."""
        return [*list(self.upsamples)[self.coarse :], *self.head]


class Autoencoder(nn.Module):
    """Pictures in -1..1; latents as the transformer knows them, shifted and divided."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.compute = torch.float32
        self.single = False  # frames one by one: the same pictures, in less memory
        self.tile: tuple[int, int] | None = None  # pixels (w, h) of tiles in which frames are encoded and decoded
        self.encoder = Encoder(config)
        self.conv1 = CausalConv3d(2 * config.channels, 2 * config.channels, (1, 1, 1))
        self.conv2 = CausalConv3d(config.channels, config.channels, (1, 1, 1))
        self.decoder = Decoder(config)

    def statistics(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each latent channel (C, 1, 1, 1) float32."""
        mean, deviation = MEAN[self.config.generation], DEVIATION[self.config.generation]
        if len(mean) != self.config.channels:
            raise ValueError(f"{self.config.channels} latent channels: {self.config.generation} has {len(mean)}")
        m, d = (torch.tensor(values, device=device).view(-1, 1, 1, 1) for values in (mean, deviation))
        return m, d

    def encode(self, video: Tensor, tick: Tick = _nothing) -> Tensor:
        """(B, 3, F, H, W) -> (B, C, T, h, w) float32. F is 4 n + 1."""
        frames = video.shape[2]
        if frames % CHUNK != 1:
            raise ValueError(f"{frames} frames: the autoencoder takes 4n+1; pad before and trim after")
        return torch.cat(list(self.encoding((video[:, :, a:b] for a, b in chunks(frames)), tick)), 2)

    def encoding(self, pictures: Iterable[Tensor], tick: Tick = _nothing) -> Iterator[Tensor]:
        """Chunks (B, 3, 1, H, W), then (B, 3, 4, H, W) -> for each its latent frame (B, C, 1, h, w)."""
        past, tiles = Past(tick, self.single), None
        for chunk in pictures:
            refuse_size(chunk, self.config.stride)
            if tiles is None:
                height, width = (side // self.config.stride for side in chunk.shape[3:])
                tiles = self.tiles(height, width, READ_FINE, READ_MARGIN)
            if chunk.shape[2] != (1 if past.first else CHUNK):
                raise ValueError(f"a chunk of {chunk.shape[2]} frames: expected one frame, then {CHUNK} and {CHUNK}")
            mean, deviation = self.statistics(chunk.device)
            moments = self.conv1(self.encoder(folded(chunk.to(self.compute), self.config.fold), past, tiles))
            yield (moments.float().chunk(2, 1)[0] - mean) / deviation
            past.first = False

    def decode(self, latents: Tensor, tick: Tick = _nothing) -> Tensor:
        """(B, C, T, h, w) -> (B, 3, F, H, W) float32."""
        return torch.cat(list(self.decoding(latents, tick)), 2)

    def tiles(self, height: int, width: int, fine: int, margin: int) -> list[Tile]:
        """Of latents of that size, in pixels of which a latent one has `fine`; none where there would be one only."""
        if self.tile is None:
            return []
        w, h = (side * fine // self.config.stride for side in self.tile)
        rows, columns = spans(height * fine, h, margin), spans(width * fine, w, margin)
        tiles = [Tile(row, column) for row in rows for column in columns]
        return tiles if len(tiles) > 1 else []

    def decoding(self, latents: Tensor, tick: Tick = _nothing) -> Iterator[Tensor]:
        """(B, C, T, h, w) -> pictures of one latent frame after the other: (B, 3, 1, H, W), then (B, 3, 4, H, W)."""
        height, width = latents.shape[3:]
        past, tiles = Past(tick, self.single), self.tiles(height, width, FINE, MARGIN)
        mean, deviation = self.statistics(latents.device)
        for latent in latents.split(1, 2):
            x = self.conv2((latent.float() * deviation + mean).to(self.compute))
            yield unfolded(self.decoder(x, past, tiles).float(), self.config.fold).clamp(-1, 1)
            past.first = False


def chunks(frames: int) -> list[tuple[int, int]]:
    """Where chunks of a clip of 4 n + 1 frames begin and end."""
    return [(0, 1), *((first, first + CHUNK) for first in range(1, frames, CHUNK))]


def folded(x: Tensor, fold: int) -> Tensor:
    """Cells of fold x fold pixels become channels."""
    return rearrange(x, "b c f (h q) (w r) -> b (c r q) f h w", q=fold, r=fold)


def unfolded(x: Tensor, fold: int) -> Tensor:
    return rearrange(x, "b (c r q) f h w -> b c f (h q) (w r)", q=fold, r=fold)


def refuse_size(pictures: Tensor, stride: int) -> None:
    *_, height, width = pictures.shape
    if height % stride or width % stride:
        raise ValueError(f"pictures of {width} x {height}: the autoencoder takes sides that are multiples of {stride}")
