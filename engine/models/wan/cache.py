"""Blocks that are left out where they would say nearly what they said a step before: a first-block cache.

The first block of a step is always run. Where what it adds differs from what it added at the last whole step by less
than a share `most` (mean absolute values), what all the others added then is added again:

    |r - r'| / |r'| < most   ->   x + r + rest',    r = block_1(x) - x,    rest' = x'_out - x' - r'

After TeaCache (Liu et al. 2024, arXiv 2411.19108), with the first block for its probe. It is an approximation: the
first time that blocks could be left out they are run all the same, and the error is measured. Knows no network.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class Cache:
    """Of one job. `slot` says which of its predictions is being made: each remembers its own last whole step."""

    most: float
    slot: Hashable = None
    kept: dict[Hashable, tuple[Tensor, Tensor]] = field(default_factory=dict)  # first's share, the others'
    passes: int = 0
    left_out: int = 0
    error: float | None = None  # relative L2 of what the blocks add, measured once
    due: bool = False  # it will be measured at the end of this pass
    change: float = 0.0  # the greatest that was let pass
    before: Tensor | None = None  # the sum before the blocks, then after the first
    first: Tensor | None = None

    def begin(self, x: Tensor) -> None:
        """x (B, L, D) before the first block."""
        self.before, self.due = x.clone(), False
        self.passes += 1

    def enough(self, x: Tensor) -> bool:
        """After the first block: whether the others can be left out; then what they add is in x."""
        assert self.before is not None
        self.first = x - self.before
        self.before.copy_(x)
        kept = self.kept.get(self.slot)
        if kept is None or kept[0].shape != x.shape:
            return False
        change = float((self.first - kept[0]).abs().mean() / kept[0].abs().mean().clamp_min(1e-12))
        if change >= self.most:
            return False
        if self.error is None:
            self.due = True
            return False
        self.change = max(self.change, change)
        self.left_out += 1
        x += kept[1]
        self.before = self.first = None
        return True

    def keep(self, x: Tensor) -> None:
        """After the last block."""
        assert self.before is not None and self.first is not None
        rest = x - self.before
        if self.due:
            self.error = float((rest - self.kept[self.slot][1]).norm() / rest.norm().clamp_min(1e-12))
        self.kept[self.slot] = self.first, rest
        self.before = self.first = None

    def told(self) -> dict[str, float | int | None]:
        """For the report."""
        return {"passes": self.passes, "left_out": self.left_out, "change": round(self.change, 5), "error": self.error}
