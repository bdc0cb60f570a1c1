"""A job's frames beside the geometry that they were to show: read lazily, cut to the crop, still and moving told apart.

Large frames may be looked at smaller, their pixels averaged: whether a picture follows a camera shows at the size that
lite samples at, and 1080p has fourteen times as many pixels. Knows the job folder, not what is measured. A long clip
never sits in memory whole: it is read a frame at a time."""
from __future__ import annotations

import math
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
HELD = 64                     # pictures, masks and depths kept in memory, of frames that are not large
WIDE = 448                    # px: the width that thresholds in pixels are stated at
LARGE = 640 * 384             # pixels of a frame that is looked at as it is ...
SEEN = 512 * 288              # ... and about those that larger ones are looked at with
NEAREST = ("depth", "index", "motion")        # no mean of two surfaces is a surface


@dataclass(frozen=True)
class Clip:
    names: tuple[Path, ...]                       # one picture per frame, in order
    size: tuple[int, int]                         # width, height of the pictures as measured
    whole: tuple[int, int]                        # the same of the pictures as they lie there (the crop)
    offset: tuple[int, int]                       # the crop's left and top in the passes
    K: np.ndarray                                 # (F,3,3) of the pictures as measured
    c2w: np.ndarray                               # (F,4,4)
    passes: dict[str, Any]                        # memory-mapped, of the job's size
    segments: tuple[tuple[int, int], ...]         # [first, end) between cuts
    object_index: np.ndarray                      # (N,)
    object_matrix: np.ndarray                     # (N,F,4,4)
    read: Callable[[int], np.ndarray] = field(repr=False, compare=False)      # picture i as measured
    masks: dict[int, np.ndarray] = field(repr=False, compare=False, default_factory=dict)
    views: dict[int, View] = field(repr=False, compare=False, default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def large(self) -> bool:                      # measured as it lies there, and that is a lot
        return self.size == self.whole and self.size[0] * self.size[1] > LARGE

    @property
    def scale(self) -> float:                     # what a threshold in pixels is multiplied by
        return self.size[0] / WIDE

    def picture(self, i: int) -> np.ndarray:      # (h,w,3) uint8 RGB
        return self.read(i)

    def grey(self, i: int) -> np.ndarray:         # (h,w) uint8
        return cv2.cvtColor(self.read(i), cv2.COLOR_RGB2GRAY)

    def fact(self, name: str, i: int) -> np.ndarray | None:
        """A pass of frame i as measured; motion in pixels of that size."""
        if name not in self.passes:
            return None
        cut = self._cut(name, i)
        if self.size == self.whole:
            return cut
        if name not in NEAREST:
            return cv2.resize(cut.astype(np.float32), self.size, interpolation=cv2.INTER_AREA)
        columns, rows = ((((np.arange(n) + 0.5) * (N / n)).astype(int)) for n, N in zip(self.size, self.whole))
        chosen = cut[rows][:, columns]
        return chosen.astype(np.float32) * self.shrunk if name == "motion" else chosen

    def _cut(self, name: str, i: int) -> np.ndarray:
        (x, y), (w, h) = self.offset, self.whole
        return np.asarray(self.passes[name][i][y:y + h, x:x + w])

    @property
    def shrunk(self) -> np.ndarray:               # (2,) by what a length in pixels of the job is multiplied
        return np.array(self.size, np.float32) / np.array(self.whole, np.float32)

    def view(self, i: int) -> View:
        if i not in self.views:
            forget_first(self.views, held(self.size))
            self.views[i] = View(self._depth(i), self.K[i], self.c2w[i])
        return self.views[i]

    def _depth(self, i: int) -> np.ndarray:
        """Of a large frame each pixel's is that of the mean disparity, which is exact on every plane."""
        depth = self._cut("depth", i).astype(np.float32)
        if self.size == self.whole:
            return depth
        mean = cv2.resize(1.0 / np.maximum(depth, 1e-9), self.size, interpolation=cv2.INTER_AREA)
        with np.errstate(divide="ignore"):
            return 1.0 / mean

    def still(self, i: int) -> np.ndarray:        # (h,w) bool: surfaces that do not move by themselves around frame i
        if i not in self.masks:
            forget_first(self.masks, held(self.size))
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
        motion, depth = self.fact("motion", i), self.fact("depth", i)
        assert motion is not None and depth is not None
        here = View(depth.astype(np.float32), self.K[i], self.c2w[i])
        planned = static_flow(here, self.view(i + 1))
        excess = np.linalg.norm(motion.astype(np.float64) - planned, axis=-1)
        least = MOVING_PIXELS * float(self.shrunk.min())
        return excess > least + MOVING_SHARE * np.linalg.norm(planned, axis=-1)

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


def held(size: tuple[int, int]) -> int:
    """How many frames of a size are kept in memory."""
    return max(4, min(HELD, HELD * LARGE // (size[0] * size[1])))


def forget_first(kept: dict[int, Any], most: int) -> None:
    while len(kept) >= most:
        del kept[next(iter(kept))]


def pictures(folder: Path, count: int) -> tuple[Path, ...]:
    """Those that are named as frames are, whatever else lies there; in a folder of other pictures all of them."""
    found = sorted(folder.glob("*.png")) if folder.is_dir() else []
    names = tuple([path for path in found if jobs.is_frame_name(path.name)] or found)
    if len(names) != count:
        raise jobs.BadJob(f"{len(names)} PNG frames in {folder}: the shot has {count}; generate the rest, or name the "
                          "folder that holds them all")
    return names


def seen_size(width: int, height: int) -> tuple[int, int]:
    """At what size frames are looked at: their own, or about SEEN pixels of their shape."""
    if width * height <= LARGE:
        return width, height
    factor = math.sqrt(SEEN / (width * height))
    return max(1, round(width * factor)), max(1, round(height * factor))


def reader(names: tuple[Path, ...], crop: tuple[int, ...], whole: tuple[int, int],
           size: tuple[int, int]) -> Callable[[int], np.ndarray]:
    """Reads picture i as RGB, its crop at `size`; a render of the whole size is cut to the crop."""
    x, y, width, height = crop

    @lru_cache(maxsize=held(size))
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
        if size != (width, height):
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    return read


def segments(cuts: Any, count: int) -> tuple[tuple[int, int], ...]:
    starts = sorted({0, *(int(c) for c in cuts if 0 < c < count)})
    return tuple(zip(starts, [*starts[1:], count]))


def seen_through(K: np.ndarray, crop: tuple[int, ...], size: tuple[int, int]) -> np.ndarray:
    """Intrinsics (F,3,3) of the job's frames -> those of their crop, seen at `size`."""
    x, y, width, height = crop
    K = np.array(K, np.float64)
    K[:, :2, 2] -= (x, y)
    K[:, :2] *= np.array([[size[0] / width], [size[1] / height]])
    return K


def read(folder: Path, frames: Path | None = None, as_they_are: bool = False) -> Clip:
    """`as_they_are`: large frames, too, are looked at pixel by pixel."""
    job = jobs.read(Path(folder))
    camera, passes, objects = jobs.camera(job), jobs.passes(job), jobs.objects(job)
    if "depth" not in passes:
        raise jobs.BadJob("no depth pass in the job: the camera report needs one; capture the shot again")
    crop = tuple(int(v) for v in job.crop)
    whole = (crop[2], crop[3])
    size = whole if as_they_are else seen_size(*whole)
    count = len(camera["c2w"])
    names = pictures(Path(frames) if frames else job.folder / "frames", count)
    index, matrix = objects.get("index", np.zeros(0, int)), objects.get("matrix", np.zeros((0, count, 4, 4)))
    read_one = reader(names, crop, (int(job.size[0]), int(job.size[1])), size)
    return Clip(names, size, whole, (crop[0], crop[1]), seen_through(camera["K"], crop, size),
                np.asarray(camera["c2w"], np.float64), dict(passes), segments(job.cuts, count), np.asarray(index),
                np.asarray(matrix), read_one)
