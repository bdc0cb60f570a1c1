"""One Euler step of the probability flow. Knows no model."""

from __future__ import annotations

from torch import Tensor

from . import schedule


def step(x: Tensor, x0: Tensor, t: float, t_next: float) -> Tensor:
    """From time t to t_next along the predicted velocity; at t_next = 0 this is x0 itself."""
    if t_next == 0:
        return x0
    return x + (t_next - t) * schedule.velocity(x, x0, t)


def guide(conditional: Tensor, unconditional: Tensor, guidance: float) -> Tensor:
    """Classifier-free guidance (Ho and Salimans 2022, eq. 6): 1 keeps the conditional prediction."""
    return unconditional + guidance * (conditional - unconditional)
