"""Passes seen with fewer pixels, or some rows of them, read a frame at a time: a job's arrays stay on the disk as they
are.

Geometry is never mixed: a mean of two surfaces' depths or normals is neither's. Knows numpy and pixels; no job and no
torch.
"""

from __future__ import annotations

from typing import Union

import cv2
import numpy as np

NEXT = 0.1  # relative step of nearness between two pixels that are no longer one surface
FLAT, MOVED = 1e-3, 1.1  # cosine under which a surface says nothing; times as far, at most, does half a pixel lie
GAMMA = 2.2  # of the base colour's encoding, as the head reads it
LINEAR = ((np.arange(256) / 255) ** GAMMA).astype(np.float32)

Array = Union[np.memmap, "Thinned", "Levelled", "Averaged", "Rows"]  # a pass: a frame's pixels under its number


class Thinned:
    """A pass of fewer pixels: of each the nearest, unmixed, so that every one is a true surface point."""

    def __init__(self, array: Array, rows: np.ndarray, columns: np.ndarray) -> None:
        self.array, self.rows, self.columns = array, rows, columns

    def __getitem__(self, frame: int) -> np.ndarray:
        return np.asarray(self.array[frame])[self.rows][:, self.columns]


class Levelled:
    """Depth with fewer pixels: the nearest's surface, met where the pixel's own centre looks. What is picked lies up to
    half a pixel aside: on ground that is seen flat, far enough for it to shade itself."""

    def __init__(
        self, nearest: Thinned, normal: Thinned, K: np.ndarray, c2w: np.ndarray, whole: tuple[int, int]
    ) -> None:
        """K (F,3,3), c2w (F,4,4) and the size (width, height) of the whole frames."""
        self.nearest, self.normal, self.K, self.c2w = nearest, normal, K, c2w
        self.picked = [picked + 0.5 for picked in (nearest.columns, nearest.rows)]
        self.centres = [(np.arange(len(p)) + 0.5) * (n / len(p)) for p, n in zip(self.picked, whole, strict=True)]

    def __getitem__(self, frame: int) -> np.ndarray:
        """(h, w) float32."""
        K, turn = self.K[frame], self.c2w[frame, :3, :3].astype(np.float32)
        facing = np.asarray(self.normal[frame], np.float32) @ turn

        def along(at: list[np.ndarray]) -> np.ndarray:  # the normal's share of the ray through those pixels
            x, y = (at[0] - K[0, 2]) / K[0, 0], (at[1] - K[1, 2]) / K[1, 1]
            return facing[..., 0] * x + facing[..., 1] * y[:, None] + facing[..., 2]

        there, here = along(self.picked), along(self.centres)
        moved = np.divide(there, here, out=np.ones_like(there), where=np.abs(here) > FLAT)
        return self.nearest[frame] * np.clip(moved, 1 / MOVED, MOVED).astype(np.float32)


class Surfaces:
    """Which of fewer pixels show one surface alone, frame by frame."""

    def __init__(self, depth: Array, index: Array | None, size: tuple[int, int]) -> None:
        """size: width, height of the fewer pixels."""
        self.depth, self.index, self.size = depth, index, size
        self.last: tuple[int, np.ndarray] | None = None  # passes of one frame are read together

    def __getitem__(self, frame: int) -> np.ndarray:
        """(h, w) bool."""
        last = self.last
        if last is None or last[0] != frame:
            border = self.border(frame).astype(np.float32)
            last = self.last = frame, cv2.resize(border, self.size, interpolation=cv2.INTER_AREA) == 0
        return last[1]

    def border(self, frame: int) -> np.ndarray:
        """(H, W) bool: pixels beside another surface."""
        depth = np.asarray(self.depth[frame], np.float32)
        near = np.where(np.isfinite(depth), 1 / np.maximum(depth, 1e-9), 0)
        index = np.zeros((), np.uint16) if self.index is None else np.asarray(self.index[frame])
        index, out = np.broadcast_to(index, near.shape), np.zeros(near.shape, bool)
        for one, other in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
            step = np.abs(near[one] - near[other]) > NEXT * np.maximum(near[one], near[other])
            step |= index[one] != index[other]
            out[one] |= step
            out[other] |= step
        return out


class Averaged:
    """What is seen on surfaces, with fewer pixels: the mean over each where it shows one surface, else the nearest's.
    Textures do not alias."""

    def __init__(self, nearest: Thinned, alone: Surfaces, encoded: bool) -> None:
        """encoded: colours in sRGB, which are averaged as light."""
        self.nearest, self.alone, self.encoded = nearest, alone, encoded

    def __getitem__(self, frame: int) -> np.ndarray:
        whole, picked, alone = np.asarray(self.nearest.array[frame]), self.nearest[frame], self.alone[frame]
        light = LINEAR[whole] if self.encoded else whole.astype(np.float32)
        mean = cv2.resize(light, self.alone.size, interpolation=cv2.INTER_AREA)
        if self.encoded:
            mean = 255 * mean ** (1 / GAMMA)
        mean = np.rint(mean) if picked.dtype.kind == "u" else mean
        return np.where(alone if picked.ndim == 2 else alone[..., None], mean, picked).astype(picked.dtype)


class Rows:
    """Some rows of a pass."""

    def __init__(self, array: Array, rows: slice) -> None:
        self.array, self.rows = array, rows

    def __getitem__(self, frame: int) -> np.ndarray:
        return np.asarray(self.array[frame])[self.rows]
