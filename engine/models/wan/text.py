"""umT5's encoder: token ids to the states that the Wan transformer looks at. Knows no words: `tokenizer.py` does.

A T5 encoder (Raffel et al. 2020) with gated feed-forward layers, and a table of relative positions in every layer
(Chung et al. 2023). A prompt runs alone and unpadded, which gives the same states as a padded one under a mask, at a
fraction of the cost; the zeros that the transformer was trained to see behind it are put there afterwards.
Shapes: S tokens, D width, N heads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from .config import TEXT_LENGTH, TextConfig
from .linear import Linear, RMSNorm

Tick = Callable[[], None]


def _nothing() -> None:
    return None


def bucket(distance: Tensor, buckets: int, farthest: int) -> Tensor:
    """Which row of the table a distance (key - query) has: half of them for each direction; of these the first half
    one a token, the rest in equal steps of its logarithm up to `farthest` (Raffel et al. 2020, section 2.1)."""
    half = buckets // 2
    exact = half // 2
    away = distance.abs()
    logarithmic = (away.clamp_min(1).float() / exact).log() / math.log(farthest / exact) * (half - exact)
    far = (exact + logarithmic.long()).clamp_max(half - 1)
    return (distance > 0).long() * half + torch.where(away < exact, away, far)


class Positions(nn.Module):
    """What each layer adds to the scores of two tokens for how far apart they are."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding.from_pretrained(torch.randn(config.buckets, config.heads), freeze=False)

    def forward(self, count: int) -> Tensor:
        """-> (1, N, S, S) float32."""
        at = torch.arange(count)  # on the CPU: a logarithm that another device rounds elsewhere would be another row
        rows = bucket(at[None] - at[:, None], self.config.buckets, self.config.farthest)
        return rearrange(self.embedding.weight[rows.to(self.embedding.weight.device)].float(), "q k n -> 1 n q k")


class Attention(nn.Module):
    """Scores are not divided by the width of a head: T5's weights are drawn to need no scale."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.q, self.k, self.v = (Linear(config.width, config.inner, bias=False) for _ in range(3))
        self.o = Linear(config.inner, config.width, bias=False)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """(1, S, D), (1, N, S, S) -> (1, S, D)."""
        q, k, v = (rearrange(layer(x), "b s (n d) -> b n s d", n=self.heads) for layer in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=positions.to(q.dtype), scale=1.0)
        return self.o(rearrange(y, "b n s d -> b s (n d)"))


class FeedForward(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.gate = nn.Sequential(Linear(config.width, config.hidden, bias=False), nn.GELU("tanh"))
        self.fc1 = Linear(config.width, config.hidden, bias=False)
        self.fc2 = Linear(config.hidden, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.fc1(x) * self.gate(x))


class Block(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.norm1, self.norm2 = RMSNorm(config.width), RMSNorm(config.width)
        self.attn = Attention(config)
        self.ffn = FeedForward(config)
        self.pos_embedding = Positions(config)

    def forward(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """(1, S, D) float32 -> the same."""
        x = x + self.attn(self.norm1(x).to(dtype), self.pos_embedding(x.shape[1]))
        return x + self.ffn(self.norm2(x).to(dtype))


class TextEncoder(nn.Module):
    """`each` is how its blocks are gone through, as in the transformer."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.compute = torch.float32  # of the products; sums and norms are float32
        self.each: Callable[[Sequence[nn.Module]], Iterable[nn.Module]] = iter
        self.token_embedding = nn.Embedding.from_pretrained(torch.randn(config.vocabulary, config.width), freeze=False)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width)

    def forward(self, ids: Sequence[int], tick: Tick = _nothing) -> Tensor:
        """Ids of one prompt, its end included, S of them -> states (1, S, D) float32."""
        if not 0 < len(ids) <= TEXT_LENGTH:
            raise ValueError(f"{len(ids)} tokens: expected 1 to {TEXT_LENGTH}, the end included; cut before")
        if max(ids) >= self.config.vocabulary or min(ids) < 0:
            raise ValueError(
                f"token {max(ids)} of a vocabulary of {self.config.vocabulary}: the tokenizer is another model's; "
                "get the one that lies beside the text encoder"
            )
        device = self.token_embedding.weight.device  # of the table, which may stay behind when blocks are swapped
        x = F.embedding(torch.tensor([list(ids)], device=device), self.token_embedding.weight).float()
        x = x.to(self.norm.weight.device)
        for block in self.each(list(self.blocks)):
            x = block(x, self.compute)
            tick()
        return self.norm(x)

    def prompt(self, ids: Sequence[int], tick: Tick = _nothing) -> Tensor:
        """States (1, 512, D) float32, zeros after the prompt's own: what `Wan.read_text` takes."""
        states = self(ids, tick)
        return F.pad(states, (0, 0, 0, TEXT_LENGTH - states.shape[1]))
