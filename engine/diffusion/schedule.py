"""Rectified flow (Liu et al. 2022; Esser et al. 2024): x_t = (1 - t) x0 + t noise, t from 1 (noise) to 0 (picture)."""

from __future__ import annotations

import torch
from torch import Tensor


def mix(x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    return (1 - t) * x0 + t * noise


def velocity(x: Tensor, x0: Tensor, t: Tensor | float) -> Tensor:
    """dx/dt on the straight path: noise - x0, from a prediction of x0."""
    return (x - x0) / t


def clean(x: Tensor, velocity: Tensor, t: Tensor | float) -> Tensor:
    """x0 from a prediction of the velocity."""
    return x - t * velocity


def shift(u: Tensor, s: float) -> Tensor:
    """Moves times toward 1 for larger pictures: s u / (1 + (s - 1) u) (Esser et al. 2024, eq. 23)."""
    return s * u / (1 + (s - 1) * u)


def times(steps: int, s: float, largest: float = 1.0) -> list[float]:
    """steps + 1 times from `largest`, shifted, down to 0."""
    return shift(torch.linspace(largest, 0, steps + 1, dtype=torch.float64), s).tolist()


def size_shift(height: int, width: int) -> float:
    """5 at 64x96, about 10 at 256x448: grows with the square root of the side."""
    return 5.0 * (height * width / (64 * 96)) ** 0.25
