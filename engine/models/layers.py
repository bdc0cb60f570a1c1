"""Layers that the model families share: time embedding, 3D rotary positions, the transformer block, the residual block.

Clips of any size are packed: their tokens stand one after the other in one sequence, and each clip attends to itself.
Shapes: P clips of a pack, L tokens of all of them, D width, N heads, C channels, H W pixels. Knows nothing of what the
tokens mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


def time_embedding(t: Tensor, width: int) -> Tensor:
    """(B,) in [0, 1] -> (B, width): cosines and sines of 1000 t (Vaswani et al. 2017, section 3.5)."""
    frequency = torch.exp(-math.log(1e4) * torch.arange(width // 2, device=t.device) / (width // 2))
    angle = t[:, None].float() * 1000 * frequency
    return torch.cat([angle.cos(), angle.sin()], 1)


def rope_tables(grid: tuple[int, int, int], head_width: int, prefix: int, base: float = 100.0) -> tuple[Tensor, Tensor]:
    """Rotary tables (prefix + T*H*W, head_width / 2) for a T x H x W grid; the prefix (text) is not rotated.

    A quarter of the width turns with time, the rest in equal parts with y and x (Su et al. 2021, eq. 34, per axis).
    """
    time = head_width // 4
    side = (head_width - time) // 2
    axes = [(time, grid[0]), (side, grid[1]), (head_width - time - side, grid[2])]
    angles = [torch.arange(n)[:, None] * base ** (-torch.arange(0, width, 2) / width) for width, n in axes]
    t, y, x = angles
    T, H, W = grid
    full = torch.cat(
        [t[:, None, None].expand(T, H, W, -1), y[None, :, None].expand(T, H, W, -1), x[None, None].expand(T, H, W, -1)],
        -1,
    ).reshape(T * H * W, -1)
    full = torch.cat([torch.zeros(prefix, full.shape[1]), full])
    return full.cos(), full.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns pairs of channels of (..., L, D) by the tables (L, D / 2)."""
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)


def per_token(values: Tensor, parts: list[int]) -> Tensor:
    """(P, ...), one row a clip -> (L, ...), one a token; one clip's row is not copied."""
    if len(parts) == 1:
        return values.expand(parts[0], *values.shape[1:])
    return values.repeat_interleave(torch.tensor(parts, device=values.device), 0)


class Block(nn.Module):
    """Pre-norm transformer block, modulated by one shared projection of time (AdaLN-single, Chen et al. 2023)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width, elementwise_affine=False)
        self.norm_mlp = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.norm_q = nn.RMSNorm(width // heads)
        self.norm_k = nn.RMSNorm(width // heads)
        self.shift_scale_gate = nn.Parameter(torch.randn(6, width) / width**0.5)
        with torch.no_grad():  # gates start small: the block starts near the identity
            self.shift_scale_gate[2] *= 0.1
            self.shift_scale_gate[5] *= 0.1

    def attention(self, x: Tensor, cos: Tensor, sin: Tensor, parts: list[int]) -> Tensor:
        q, k, v = rearrange(self.qkv(x), "l (three n d) -> three n l d", three=3, n=self.heads)
        q, k = (
            rotate(self.norm_q(q.float()), cos, sin),
            rotate(self.norm_k(k.float()), cos, sin),
        )  # norms and angles in float32
        clips = zip(q.to(v.dtype).split(parts, 1), k.to(v.dtype).split(parts, 1), v.split(parts, 1), strict=True)
        y = torch.cat([F.scaled_dot_product_attention(*(part[None] for part in clip))[0] for clip in clips], 1)
        return self.out(rearrange(y, "n l d -> l (n d)"))

    def forward(self, x: Tensor, modulation: Tensor, cos: Tensor, sin: Tensor, parts: list[int]) -> Tensor:
        """x (L, D), modulation (P, 6, D), tables (L, D / 2N), parts: P numbers of tokens -> (L, D)."""
        own = per_token(modulation + self.shift_scale_gate, parts)
        shift1, scale1, gate1, shift2, scale2, gate2 = own.unbind(1)
        x = x + gate1 * self.attention(self.norm_attention(x) * (1 + scale1) + shift1, cos, sin, parts)
        hidden = F.gelu(self.up(self.norm_mlp(x) * (1 + scale2) + shift2), approximate="tanh")
        return x + gate2 * self.down(hidden)


def spacetime(
    blocks: nn.ModuleList, clips: list[Tensor], grids: list[tuple[int, int, int]], modulation: Tensor,
    tick: Callable[[], None],
) -> list[Tensor]:  # fmt: skip
    """The blocks over a pack of clips (L_i, D), each of which ends in the tokens of its T x H x W grid -> the same.

    What stands before the grid's tokens (text) has no place and is not rotated. modulation (P, 6, D).
    """
    parts = [len(clip) for clip in clips]
    first = blocks[0]
    assert isinstance(first, Block)
    head_width = clips[0].shape[1] // first.heads
    tables = [rope_tables(grid, head_width, n - math.prod(grid)) for grid, n in zip(grids, parts, strict=True)]
    cos, sin = (torch.cat(side).to(clips[0].device) for side in zip(*tables, strict=True))
    x = torch.cat(clips)
    for block in blocks:
        x = block(x, modulation, cos, sin, parts)
        tick()
    return list(x.split(parts))


class Residual(nn.Module):
    """Two 3x3 convolutions around a skip, modulated by time; starts as the identity."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.modulate = nn.Linear(width, 2 * channels)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x (B F, C, H, W), time (B, D); the frames of a clip share its time."""
        scale, shift = self.modulate(time).repeat_interleave(len(x) // len(time), 0)[:, :, None, None].chunk(2, 1)
        return x + self.conv2(F.gelu(self.conv1(self.norm(x)) * (1 + scale) + shift))
