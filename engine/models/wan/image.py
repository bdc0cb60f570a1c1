"""CLIP's image encoder: a picture to the tokens that image-to-video checkpoints look at. Knows no words and no video.

A vision transformer (Dosovitskiy et al. 2021) that was trained to tell which words fit a picture (Radford et al. 2021;
OpenCLIP's ViT-H/14). What is read are the tokens before its last block, as the checkpoints were trained: the last one
only serves that comparison. Shapes: B batch, I tokens, one of the whole and one of each cell, D width, N heads, H W
pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from .config import ImageConfig
from .linear import Conv2d, LayerNorm, Linear

Tick = Callable[[], None]

MEAN = (0.48145466, 0.4578275, 0.40821073)  # of the pictures that it was trained on, in 0..1
DEVIATION = (0.26862954, 0.26130258, 0.27577711)


def _nothing() -> None:
    return None


def prepared(pictures: Tensor, side: int) -> Tensor:
    """(B, 3, H, W) in -1..1 -> (B, 3, side, side) as CLIP was trained to see: another shape is squeezed, not cut, and
    made smaller by bicubic interpolation without a filter, as the official code does."""
    square = F.interpolate(pictures.float(), (side, side), mode="bicubic", align_corners=False)
    mean, deviation = (torch.tensor(values, device=square.device).view(3, 1, 1) for values in (MEAN, DEVIATION))
    return ((square + 1) / 2 - mean) / deviation


class Attention(nn.Module):
    """Each token looks at all. Queries, keys and values are one matrix, or three, as the file has them."""

    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        D = config.width
        self.heads = config.heads
        if config.fused:
            self.to_qkv = Linear(D, 3 * D)
        else:
            self.q, self.k, self.v = (Linear(D, D) for _ in range(3))
        self.proj = Linear(D, D)

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, D) -> (B, I, D)."""
        made = self.to_qkv(x).chunk(3, -1) if hasattr(self, "to_qkv") else (self.q(x), self.k(x), self.v(x))
        q, k, v = (rearrange(part, "b i (n d) -> b n i d", n=self.heads) for part in made)
        return self.proj(rearrange(F.scaled_dot_product_attention(q, k, v), "b n i d -> b i (n d)"))


class Block(nn.Module):
    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        D = config.width
        self.norm1, self.norm2 = LayerNorm(D), LayerNorm(D)
        self.attn = Attention(config)
        self.mlp = nn.Sequential(Linear(D, config.hidden), nn.GELU(), Linear(config.hidden, D))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ImageEncoder(nn.Module):
    """Computes in float32, whatever its weights lie in: it runs once a clip, over few tokens."""

    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        self.config = c = config
        self.compute = torch.float32
        batch = () if c.flat else (1,)
        self.patch_embedding = Conv2d(3, c.width, c.patch, c.patch, bias=False)
        self.cls_embedding = nn.Parameter(torch.zeros(*batch, *batch, c.width))
        self.pos_embedding = nn.Parameter(torch.zeros(*batch, c.tokens, c.width))
        self.pre_norm = LayerNorm(c.width)
        self.transformer = nn.ModuleList(Block(c) for _ in range(c.layers))

    def forward(self, pictures: Tensor, tick: Tick = _nothing) -> Tensor:
        """(B, 3, H, W) in -1..1, of any size -> (B, I, D) float32."""
        cells = self.patch_embedding(prepared(pictures, self.config.side))
        whole = self.cls_embedding.float().expand(len(cells), 1, -1)
        x = torch.cat([whole, rearrange(cells, "b d h w -> b (h w) d")], 1) + self.pos_embedding.float()
        x = self.pre_norm(x)
        for block in self.transformer[:-1]:
            x = block(x)
            tick()
        return x
