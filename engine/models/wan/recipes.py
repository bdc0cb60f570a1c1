"""How each official checkpoint is sampled: steps, shift, guidance, frame rate, where its second expert takes over.

From the official configurations (Wan 2.1 and 2.2, VACE, VideoX-Fun). Time here is sigma, 1 noise to 0 picture; the
network counts in 1000ths, cut to whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...diffusion import schedule
from .config import TIMES

LARGEST = (
    0.9990000128746033  # sigma of the noisiest step before the shift: 0.999 in float32, as the official grid has it
)


@dataclass(frozen=True)
class Recipe:
    steps: int
    shift: float  # for 480p
    guidance: float
    shift_large: float = 0.0  # for 720p, where that is another
    guidance_low: float = 0.0  # of the expert for little noise
    boundary: float = 0.0  # sigma from which on the expert for much noise predicts; 0: there is one network
    fps: int = 16  # of its training clips
    sampler: str = "unipc"


T2V_SMALL, T2V_LARGE = Recipe(50, 8.0, 6.0), Recipe(50, 5.0, 5.0)
VACE = Recipe(50, 16.0, 5.0)
I2V = Recipe(40, 3.0, 5.0, shift_large=5.0)
FUN = Recipe(50, 3.0, 6.0, sampler="euler")  # stated for the camera model of 1.3B; taken for its siblings
EXPERTS_T2V = Recipe(40, 12.0, 4.0, guidance_low=3.0, boundary=0.875)
EXPERTS_I2V = Recipe(40, 5.0, 3.5, guidance_low=3.5, boundary=0.9)

RECIPES: dict[str, Recipe] = {  # by the names of catalogue.py; where one file is two models, by each
    "Wan2.1-T2V-1.3B": T2V_SMALL,
    "Wan2.1-T2V-14B": T2V_LARGE,
    "Wan2.2-T2V-A14B": EXPERTS_T2V,
    "Wan2.1-I2V-14B": I2V,
    "Wan2.1-FLF2V-14B": Recipe(50, 16.0, 5.0),
    "Wan2.2-TI2V-5B": Recipe(50, 5.0, 5.0, fps=24),
    "Wan2.2-I2V-A14B": EXPERTS_I2V,
    "Wan2.1-VACE-1.3B": VACE,
    "Wan2.1-VACE-14B": VACE,
    "Wan2.2-VACE-Fun-A14B": EXPERTS_T2V,
    "Wan2.1-Fun-1.3B-InP": FUN,
    "Wan2.1-Fun-1.3B-Control": FUN,
    "Wan2.1-Fun-V1.1-1.3B-Control": FUN,
    "Wan2.1-Fun-V1.1-1.3B-Control-Camera": FUN,
    "Wan2.1-Fun-V1.1-14B-Control": FUN,
    "Wan2.1-Fun-V1.1-14B-Control-Camera": FUN,
    "Wan2.2-Fun-A14B-Control-Camera": EXPERTS_I2V,
    "Wan2.2-Fun-A14B-Control": EXPERTS_I2V,
}


def sigmas(steps: int, shift: float) -> list[float]:
    """steps + 1 of them, from nearly 1 down to 0: s u / (1 + (s - 1) u) with u evenly spread from 0.999."""
    return schedule.times(steps, shift, LARGEST)


def timestep(sigma: float) -> float:
    """What the network is told of a sigma: whole numbers, as it was trained."""
    return float(int(sigma * TIMES))


def is_noisy(sigma: float, boundary: float) -> bool:
    """Whether the expert for much noise predicts at a sigma."""
    return timestep(sigma) >= boundary * TIMES
