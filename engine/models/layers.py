"""Layers that the model families share: time embedding, 3D rotary positions, the transformer block, the residual block.

Shapes: B batch, L tokens, D width, N heads, C channels, H W pixels. Knows nothing of what the tokens mean.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


def time_embedding(t: Tensor, width: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """(...,) in [0, 1] -> (..., width): cosines and sines of 1000 t (Vaswani et al. 2017, section 3.5).

    In float32 an angle of 1000 is only good to 6e-5: where that matters `dtype` is float64.
    """
    frequency = torch.exp(-math.log(1e4) * torch.arange(width // 2, dtype=dtype, device=t.device) / (width // 2))
    angle = t[..., None].to(dtype) * 1000 * frequency
    return torch.cat([angle.cos(), angle.sin()], -1)


def rope_tables(grid: tuple[int, int, int], head_width: int, prefix: int, base: float = 100.0) -> tuple[Tensor, Tensor]:
    """Rotary tables (prefix + T*H*W, head_width / 2) for a T x H x W grid; the prefix (text) is not rotated.

    A quarter of the width turns with time, the rest in equal parts with y and x (Su et al. 2021, eq. 34, per axis).
    """
    time = head_width // 4
    side = (head_width - time) // 2
    full = axis_angles(grid, (time, side, head_width - time - side), base)
    full = torch.cat([torch.zeros(prefix, full.shape[1]), full])
    return full.cos(), full.sin()


def axis_angles(
    grid: tuple[int, int, int], widths: tuple[int, int, int], base: float, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Rotary angles (T*H*W, sum(widths) / 2): each axis of the grid turns its own channels, from frequency 1 down."""
    t, y, x = (
        torch.arange(n, dtype=dtype)[:, None] * base ** (-torch.arange(0, width, 2, dtype=dtype) / width)
        for width, n in zip(widths, grid)
    )
    T, H, W = grid
    return torch.cat(
        [t[:, None, None].expand(T, H, W, -1), y[None, :, None].expand(T, H, W, -1), x[None, None].expand(T, H, W, -1)],
        -1,
    ).reshape(T * H * W, -1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns pairs of channels of (B, N, L, D) by the tables (L, D / 2)."""
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)


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

    def attention(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        q, k, v = rearrange(self.qkv(x), "b l (three n d) -> three b n l d", three=3, n=self.heads)
        q, k = (
            rotate(self.norm_q(q.float()), cos, sin),
            rotate(self.norm_k(k.float()), cos, sin),
        )  # norms and angles in float32
        y = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v)
        return self.out(rearrange(y, "b n l d -> b l (n d)"))

    def forward(self, x: Tensor, modulation: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """x (B, L, D), modulation (B, 6, D) -> (B, L, D)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = (modulation + self.shift_scale_gate)[:, :, None].unbind(1)
        x = x + gate1 * self.attention(self.norm_attention(x) * (1 + scale1) + shift1, cos, sin)
        hidden = F.gelu(self.up(self.norm_mlp(x) * (1 + scale2) + shift2), approximate="tanh")
        return x + gate2 * self.down(hidden)


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
