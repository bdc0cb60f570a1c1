"""The lite family's own text encoder: words and letter groups, hashed into two tables, then one look at their order.

A word that was never trained shares letter groups with words that were ("snowy", "snowfall"), so it is not lost.
No vocabulary file. Knows nothing of pictures.
"""

from __future__ import annotations

import zlib

import torch
from torch import Tensor, nn

from ..prompt.words import words

WORDS, GROUPS = 4096, 8192  # rows of the two tables; row 0 is padding
LENGTH = 32  # words of a prompt that are read; row of zeros beyond
GROUPS_PER_WORD = 12


def _row(text: str, rows: int) -> int:
    return 1 + zlib.crc32(text.encode()) % (rows - 1)


def _groups(word: str) -> list[int]:
    """Letter groups of three and four, with the word's ends marked."""
    marked = f"<{word}>"
    groups = [marked[i : i + n] for n in (3, 4) for i in range(len(marked) - n + 1)]
    return [_row(g, GROUPS) for g in groups[:GROUPS_PER_WORD]]


def encode(prompts: list[str]) -> Tensor:
    """Prompts -> (B, LENGTH, 1 + GROUPS_PER_WORD) int64 rows: the word's, then its letter groups'; 0 is nothing."""
    rows = torch.zeros(len(prompts), LENGTH, 1 + GROUPS_PER_WORD, dtype=torch.long)
    for b, prompt in enumerate(prompts):
        for i, word in enumerate(words(prompt)[:LENGTH]):
            values = [_row(word, WORDS), *_groups(word)]
            rows[b, i, : len(values)] = torch.tensor(values)
    return rows


class TextEncoder(nn.Module):
    """Rows of words -> text tokens (B, S, D) and one pooled vector (B, D)."""

    def __init__(self, width: int, table: int = 96) -> None:
        super().__init__()
        self.word = nn.Embedding(WORDS, table, padding_idx=0)
        self.group = nn.Embedding(GROUPS, table, padding_idx=0)
        self.project = nn.Linear(table, width)
        self.order = nn.Parameter(torch.randn(LENGTH, width) * 0.02)
        self.mix = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """rows (B, S, G) -> tokens (B, S, D), pooled (B, D), mask (B, S) of real words. No words: zeros."""
        mask = rows[..., 0] > 0
        groups = rows[..., 1:]
        count = (groups > 0).sum(-1, keepdim=True).clamp_min(1)
        x = self.project(self.word(rows[..., 0]) + self.group(groups).sum(-2) / count) + self.order[: rows.shape[1]]
        blocked = ~mask
        blocked = blocked & mask.any(1, keepdim=True)  # an all-blocked row would be NaN
        x = self.norm(self.mix(x, src_key_padding_mask=blocked)) * mask[..., None]
        return x, x.sum(1) / mask.sum(1, keepdim=True).clamp_min(1), mask
