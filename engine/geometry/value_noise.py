"""A smooth random field over space: clouds, drifts and grain. Trilinear on a fixed lattice, periodic in 32 units."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as functional
from torch import Tensor

PERIOD = 32


@lru_cache(4)
def _volume(device: torch.device) -> Tensor:
    values = torch.rand(1, 2, PERIOD, PERIOD, PERIOD, generator=torch.Generator().manual_seed(7))
    return functional.pad(values, (0, 1, 0, 1, 0, 1), mode="circular").to(device)


def value_noise(point: Tensor) -> Tensor:
    """(..., 3) -> (2, ...): two independent fields with values in 0..1."""
    grid = (torch.remainder(point, PERIOD) / (PERIOD / 2) - 1).reshape(1, 1, 1, -1, 3)
    return functional.grid_sample(_volume(point.device), grid, align_corners=True).reshape(2, *point.shape[:-1])
