"""How each official checkpoint is sampled: its noise levels, what the network is told of them, which expert predicts.

Steps, shift and guidance stand in official.py, which the panel reads, too. Time here is sigma, 1 noise to 0 picture;
the network counts in 1000ths, cut to whole numbers.
"""

from __future__ import annotations

from ... import official
from ...diffusion import schedule
from ...official import RECIPES, Recipe
from .config import TIMES, WanConfig

__all__ = ("RECIPES", "Recipe", "is_noisy", "of_config", "sigmas", "timestep", "undone")

LARGEST = (
    0.9990000128746033  # sigma of the noisiest step before the shift: 0.999 in float32, as the official grid has it
)


def sigmas(steps: int, shift: float, noise: float = 1.0) -> list[float]:
    """steps + 1 of them, from nearly 1 down to 0: s u / (1 + (s - 1) u) with u evenly spread from 0.999; with less
    `noise`, from that sigma."""
    return schedule.times(steps, shift, min(LARGEST, undone(noise, shift)))


def undone(sigma: float, shift: float) -> float:
    """The u whose shifted value is sigma."""
    return sigma / (shift - (shift - 1) * sigma)


def timestep(sigma: float) -> float:
    """What the network is told of a sigma: whole numbers, as it was trained."""
    return float(int(sigma * TIMES))


def is_noisy(sigma: float, boundary: float) -> bool:
    """Whether the expert for much noise predicts at a sigma."""
    return timestep(sigma) >= boundary * TIMES


def of_config(config: WanConfig, experts: bool) -> Recipe:
    """The recipe of the official checkpoint that is nearest to one that is none of them."""
    large = config.width > 2048
    if config.camera_fold or config.reference_channels:
        return official.EXPERTS_I2V if experts else official.FUN_LARGE if large else official.FUN_SMALL
    if config.extra_channels:
        return official.EXPERTS_I2V if experts else official.I2V
    if experts:
        return official.EXPERTS_T2V
    if config.out_channels == 48:
        return RECIPES["Wan2.2-TI2V-5B"]
    if config.vace_layers:
        return official.VACE_LARGE if large else official.VACE_SMALL
    return official.T2V_LARGE if large else official.T2V_SMALL
