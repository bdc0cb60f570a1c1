"""Pictures that a job brings: accepted frames and references, from files to tensors, and what accepted frames show of
all others by exact geometry. Knows shots and files; knows no model. Shapes: H W pixels of the shot's frames.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import imageio.v3 as iio
import numpy as np
import torch
from torch import Tensor

from . import job
from .geometry import reproject
from .shot import Shot

SOURCES = 4  # accepted frames that a frame looks at: the nearest cameras
STRICT = reproject.Strictness(erode=2, grazing=0.3)  # a pixel that is taken over stays as it is: only sure ones are
WHITE = 1.0  # around a reference picture of another shape
ERASED = 128  # opacity below which a pixel of an accepted frame is to be made anew
OPAQUE = 255
HELD = 8  # accepted frames in memory at once


class FramePicture(NamedTuple):
    """An accepted frame."""

    colour: Tensor  # (3, H, W) in -1..1
    kept: Tensor  # (H, W) bool: pixels that stay
    erased: Tensor  # (H, W) bool: pixels whose colours are there and are to be made anew


def load(path: Path) -> np.ndarray:
    """(h, w, 4) uint8, opacity last. Raises BadJob."""
    try:
        found = np.asarray(iio.imread(path, index=0))
    except Exception as error:  # decoders raise what they like
        reason = str(error).split("\n")[0][:80]
        raise job.BadJob(f"{path.name} is no picture that can be read ({reason}): expected a PNG or JPEG") from error
    if found.dtype == np.uint16:
        found = (found >> 8).astype(np.uint8)
    if found.dtype != np.uint8 or found.ndim not in (2, 3):
        raise job.BadJob(f"{path.name} is {found.dtype} {found.shape}: expected an 8-bit picture; export it as PNG")
    found = found[..., None] if found.ndim == 2 else found
    opaque = found[..., -1:] if found.shape[2] in (2, 4) else np.full_like(found[..., :1], OPAQUE)
    colour = found[..., :3] if found.shape[2] >= 3 else np.repeat(found[..., :1], 3, 2)
    return np.ascontiguousarray(np.concatenate([colour, opaque], 2))


def load_picture(path: Path) -> np.ndarray:
    """(h, w, 3) uint8, whatever its opacity. Raises BadJob."""
    return np.ascontiguousarray(load(path)[..., :3])


def as_tensor(picture: np.ndarray) -> Tensor:
    """(h, w, 3) uint8 -> (3, h, w) in -1..1."""
    return torch.from_numpy(picture).permute(2, 0, 1).float() / 127.5 - 1


def resized(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """(h, w, C) of any size -> (height, width, C)."""
    shrinks = width * height < picture.shape[0] * picture.shape[1]
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LANCZOS4)


def frame_picture(path: Path, shot: Shot, full: Shot) -> FramePicture:
    """A frame of this shot from a file, as a take's frames are, at the size of `shot`. What lies outside of the
    artist's frame it does not show, and repeats its border there; where it is see-through it is to be made anew."""
    x, y, w, h = full.job.crop
    W, H = full.size
    margins = y, H - y - h, x, W - x - w
    picture = load(path)
    whole = cv2.copyMakeBorder(resized(picture[..., :3], w, h), *margins, cv2.BORDER_REPLICATE)
    solid = cv2.resize(picture[..., 3], (w, h), interpolation=cv2.INTER_AREA)
    within = cv2.copyMakeBorder(np.full((h, w), OPAQUE, np.uint8), *margins, cv2.BORDER_CONSTANT)
    opaque = cv2.copyMakeBorder(solid, *margins, cv2.BORDER_CONSTANT)
    within, opaque = (cv2.resize(mask, shot.size, interpolation=cv2.INTER_AREA) for mask in (within, opaque))
    shown = torch.from_numpy(within == OPAQUE)
    kept = shown & torch.from_numpy(opaque == OPAQUE)
    left = resized(whole, *shot.size)
    erased = shown & torch.from_numpy(opaque < ERASED)
    if not left[erased.numpy()].any():  # the colours went with the opacity
        erased = torch.zeros_like(erased)
    return FramePicture(as_tensor(left), kept, erased)


def reference(path: Path, size: tuple[int, int]) -> Tensor:
    """A picture of a subject (3, H, W), whole, in the middle of a white one of the sampled size."""
    picture = load_picture(path)
    factor = min(size[0] / picture.shape[1], size[1] / picture.shape[0])
    w, h = (max(1, round(side * factor)) for side in (picture.shape[1], picture.shape[0]))
    out = torch.full((3, size[1], size[0]), WHITE)
    top, left = (size[1] - h) // 2, (size[0] - w) // 2
    out[:, top : top + h, left : left + w] = as_tensor(resized(picture, w, h))
    return out


# ---------------------------------------------------------------- what is known of a frame


class Album(Mapping[int, FramePicture]):
    """Frames by their index in the shot, read from their files when they are asked for: a few are held."""

    def __init__(self, paths: dict[int, Path], shot: Shot, full: Shot) -> None:
        self.paths, self.shot, self.full = paths, shot, full
        self.lock, self.held = threading.Lock(), OrderedDict[int, FramePicture]()

    def __getitem__(self, frame: int) -> FramePicture:
        with self.lock:
            if frame not in self.held:
                self.held[frame] = frame_picture(self.paths[frame], self.shot, self.full)
            self.held.move_to_end(frame)
            while len(self.held) > HELD:
                self.held.popitem(last=False)
            return self.held[frame]

    def __contains__(self, frame: object) -> bool:  # without reading it
        return frame in self.paths

    def __iter__(self) -> Iterator[int]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True)
class Known:
    """Accepted frames, as sources of colours for all others: the surface cache."""

    shot: Shot
    pictures: Mapping[int, FramePicture]  # by index in the shot

    def seen(self, frame: int) -> tuple[Tensor, Tensor]:
        """What accepted frames show of a frame's surfaces: colours (3, H, W), where (H, W). An accepted frame shows
        itself as far as it is kept."""
        if frame in self.pictures:
            return self.pictures[frame].colour, self.pictures[frame].kept
        sources = [self.source(other) for other in self.nearest(frame)]
        colour, valid = reproject.gather(sources, self.shot.view(frame), STRICT)
        return colour, valid

    def source(self, frame: int) -> tuple[Tensor, reproject.View]:
        """A pixel that a frame does not show is no number, and reaches no other frame."""
        picture = self.pictures[frame]
        return picture.colour.masked_fill(~picture.kept, torch.nan), self.shot.view(frame)

    def nearest(self, frame: int) -> list[int]:
        """Accepted frames whose cameras stand and look most alike."""
        return nearest(self.shot, frame, self.pictures)[:SOURCES]


def nearest(shot: Shot, frame: int, among: Iterable[int]) -> list[int]:
    """Frames by how much alike their cameras stand and look, the nearest first."""
    here = shot.c2w[frame]

    def apart(other: int) -> float:
        there = shot.c2w[other]
        moved = float((there[:3, 3] - here[:3, 3]).norm()) / shot.scale
        return moved + 1 - float(there[:3, 2] @ here[:3, 2])

    return sorted(among, key=apart)


def known(shot: Shot, full: Shot) -> Known:
    """The job's accepted frames. Raises BadJob."""
    paths = {int(entry["frame"]): job.inside(full.job.folder, entry["picture"]) for entry in full.job.known}
    return Known(shot, Album(paths, shot, full))
