"""How large a clip is as pictures, as latents and as tokens: the family's strides are divided here and nowhere else.

How many frames a clip is padded to, `windows.py` knows, for every family.
"""

from __future__ import annotations

from dataclasses import dataclass

from ... import windows
from .config import PATCH, AutoencoderConfig


@dataclass(frozen=True)
class LatentShape:
    channels: int
    frames: int  # T
    height: int
    width: int

    @property
    def tokens(self) -> int:
        return self.frames * (self.height // PATCH) * (self.width // PATCH)

    def batch(self, count: int = 1) -> tuple[int, int, int, int, int]:
        return count, self.channels, self.frames, self.height, self.width


def latent(frames: int, height: int, width: int, autoencoder: AutoencoderConfig) -> LatentShape:
    """Latents of a clip of so many frames, padded to 4n + 1, of so many pixels. Raises ValueError for odd sides."""
    unit = autoencoder.stride * PATCH
    if height % unit or width % unit:
        raise ValueError(
            f"{width} x {height} pixels: Wan {autoencoder.generation} takes sides that are multiples of {unit}; "
            f"the nearest is {nearest(width, unit)} x {nearest(height, unit)}"
        )
    sides = height // autoencoder.stride, width // autoencoder.stride
    return LatentShape(autoencoder.channels, windows.latent_frames(frames), *sides)


def nearest(side: int, unit: int) -> int:
    return max(unit, round(side / unit) * unit)
