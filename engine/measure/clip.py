"""A job's frames beside the geometry that they were to show: read lazily, cut to the crop, still and moving told apart.

Knows the job folder, not what is measured. A long clip never sits in memory whole: it is read a frame at a time."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .. import job as jobs
from .geometry import View, static_flow

MOVING_PIXELS = 0.3           # a pixel moves by itself if its motion differs from a still world's by more than this ...
MOVING_SHARE = 0.02           # ... plus this share of its planned motion (float16 vectors, antialiased borders)
MOVING_MATRIX = 1e-4          # an object moved if an entry of its matrix changed by more, scene units
HELD = 64                     # pictures and masks kept in memory
WIDE = 448                    # px: the width that thresholds in pixels are stated at


@dataclass(frozen=True)
class Clip:
    names: tuple[Path, ...]                       # one picture per frame, in order
    size: tuple[int, int]                         # width, height of the pictures as measured (the crop)
    offset: tuple[int, int]                       # the crop's left and top in the passes
    K: np.ndarray                                 # (F,3,3) of the crop
    c2w: np.ndarray                               # (F,4,4)
    depth: Any                                    # (F,H,W) memory-mapped, of the whole size
    passes: dict[str, Any]
    segments: tuple[tuple[int, int], ...]         # [first, end) between cuts
    object_index: np.ndarray                      # (N,)
    object_matrix: np.ndarray                     # (N,F,4,4)
    read: Callable[[int], np.ndarray] = field(repr=False, compare=False, default=lambda i: np.empty(0))
    masks: dict[int, np.ndarray] = field(repr=False, compare=False, default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def scale(self) -> float:                     # what a threshold in pixels is multiplied by
        return self.size[0] / WIDE

    def picture(self, i: int) -> np.ndarray:      # (h,w,3) uint8 RGB
        return self.read(i)

    def grey(self, i: int) -> np.ndarray:         # (h,w) uint8
        return cv2.cvtColor(self.read(i), cv2.COLOR_RGB2GRAY)

    def fact(self, name: str, i: int) -> np.ndarray | None:
        if name not in self.passes:
            return None
        (x, y), (w, h) = self.offset, self.size
        return np.asarray(self.passes[name][i][y:y + h, x:x + w])

    def view(self, i: int) -> View:
        depth = self.fact("depth", i)
        assert depth is not None
        return View(depth.astype(np.float32), self.K[i], self.c2w[i])

    def still(self, i: int) -> np.ndarray:        # (h,w) bool: surfaces that do not move by themselves around frame i
        if i not in self.masks:
            while len(self.masks) >= HELD:
                del self.masks[next(iter(self.masks))]
            self.masks[i] = ~self._moving_at(i)
        return self.masks[i]

    def _moving_at(self, i: int) -> np.ndarray:
        first, end = self.segment_of(i)
        if end - first < 2 or "motion" not in self.passes:
            return np.zeros(self.size[::-1], bool)
        if i < end - 1:
            return self._moves_to_next(i)
        motion = self.fact("motion", i - 1)       # a last frame has no vectors: it takes those before it, grown
        assert motion is not None
        before = self._moves_to_next(i - 1)
        reach = int(np.ceil(np.abs(motion[before].astype(np.float32)).max())) if before.any() else 0
        return cv2.dilate(before.astype(np.uint8), np.ones((2 * min(reach, 32) + 1,) * 2, np.uint8)) > 0

    def _moves_to_next(self, i: int) -> np.ndarray:
        motion = self.fact("motion", i)
        assert motion is not None
        planned = static_flow(self.view(i), self.view(i + 1))
        excess = np.linalg.norm(motion.astype(np.float64) - planned, axis=-1)
        return excess > MOVING_PIXELS + MOVING_SHARE * np.linalg.norm(planned, axis=-1)

    def still_between(self, a: int, b: int) -> np.ndarray:
        """Pixels of frame a whose surface has not moved by itself at a, nor been carried elsewhere by frame b."""
        index = self.fact("index", a)
        mask = self.still(a)
        if index is None or not len(self.object_index):
            return mask
        change = np.abs(self.object_matrix[:, b] - self.object_matrix[:, a]).max((1, 2))
        return mask & ~np.isin(index, self.object_index[change > MOVING_MATRIX])

    def segment_of(self, i: int) -> tuple[int, int]:
        return next(s for s in self.segments if s[0] <= i < s[1])


def pictures(folder: Path, count: int) -> tuple[Path, ...]:
    """Those that are named as frames are, whatever else lies there; in a folder of other pictures all of them."""
    found = sorted(folder.glob("*.png")) if folder.is_dir() else []
    names = tuple([path for path in found if jobs.is_frame_name(path.name)] or found)
    if len(names) != count:
        raise jobs.BadJob(f"{len(names)} PNG frames in {folder}: the shot has {count}; generate the rest, or name the "
                          "folder that holds them all")
    return names


def reader(names: tuple[Path, ...], crop: tuple[int, ...], whole: tuple[int, int]) -> Callable[[int], np.ndarray]:
    """Reads picture i as RGB at the crop's size; a render of the whole size is cut to the crop."""
    x, y, width, height = crop

    @lru_cache(maxsize=HELD)
    def read(i: int) -> np.ndarray:
        picture = cv2.imread(str(names[i]), cv2.IMREAD_COLOR)
        if picture is None:
            raise jobs.BadJob(f"{names[i].name} is not a readable picture: delete it and generate again")
        found = (picture.shape[1], picture.shape[0])
        if found == whole and found != (width, height):
            picture = picture[y:y + height, x:x + width]
        elif found != (width, height):
            raise jobs.BadJob(f"{names[i].name} is {found[0]}x{found[1]}: the job's crop is {width}x{height} "
                              f"(whole: {whole[0]}x{whole[1]}); render at one of these")
        return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    return read


def segments(cuts: Any, count: int) -> tuple[tuple[int, int], ...]:
    starts = sorted({0, *(int(c) for c in cuts if 0 < c < count)})
    return tuple(zip(starts, [*starts[1:], count]))


def cropped(K: np.ndarray, x: int, y: int) -> np.ndarray:
    K = np.array(K, np.float64)
    K[:, 0, 2] -= x
    K[:, 1, 2] -= y
    return K


def read(folder: Path, frames: Path | None = None) -> Clip:
    job = jobs.read(Path(folder))
    camera, passes, objects = jobs.camera(job), jobs.passes(job), jobs.objects(job)
    if "depth" not in passes:
        raise jobs.BadJob("no depth pass in the job: the camera report needs one; capture the shot again")
    x, y, width, height = (int(v) for v in job.crop)
    count = len(camera["c2w"])
    names = pictures(Path(frames) if frames else job.folder / "frames", count)
    index, matrix = objects.get("index", np.zeros(0, int)), objects.get("matrix", np.zeros((0, count, 4, 4)))
    return Clip(names, (width, height), (x, y), cropped(camera["K"], x, y), np.asarray(camera["c2w"], np.float64),
                passes["depth"], passes, segments(job.cuts, count), np.asarray(index), np.asarray(matrix),
                reader(names, (x, y, width, height), (int(job.size[0]), int(job.size[1]))))
