"""Accepted frames in lite's pictures: kept where they are, carried along their surfaces everywhere else.

    picture = grade(made) + carried(known - grade(made at the known frame))

A known frame is what the artist accepted or painted over; what differs in it from what the model makes of the same
view lies on surfaces, and goes with them by exact reprojection. Where nothing was seen the difference fades, so that no
seam stands there; what all of a known frame has in common (another light, another film) is a grade of all frames. Knows
shots and pictures; knows no network. Shapes: H W pixels of the frames as they are written.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator

import cv2
import numpy as np
import torch
from torch import Tensor

from .geometry import reproject
from .pictures import FramePicture, Known, nearest

SOURCES = 3  # known frames that a frame looks at
HELD = 6  # differences in memory at once
GRADED, SAMPLES = 8, 4096  # known frames, and pixels of each, that tell the grade
ROUNDS = 8  # of the grade's fit
LARGE = 0.06  # of the range 0..1: a difference that is no grade's
STIFF = 0.02  # weight of staying as it is, beside the mean of the pixels
FADE = 0.05  # of the width: how far a difference reaches past where it was seen
SMALL = 96  # pixels across at which that is worked out

Grade = np.ndarray  # (3, 4) float64: of a colour in 0..1, then 1


def fit_grade(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> Grade:
    """What most pixels of pairs (made, known), each (N, 3) in 0..1, have in common, by least squares reweighted by
    Huber's function (Holland & Welsch 1977): what was painted over is no grade."""
    some = [pair for pair in pairs if len(pair[0])]
    same = np.eye(3, 4)
    if not some:
        return same
    made, known = (np.concatenate(side).astype(np.float64) for side in zip(*some, strict=True))
    rows, grade = np.concatenate([made, np.ones((len(made), 1))], 1), same
    for _ in range(ROUNDS):
        apart = np.abs(rows @ grade.T - known).max(1)
        weight = np.minimum(1, LARGE / np.maximum(apart, 1e-6))[:, None] / len(rows)
        square, seen = rows.T @ (weight * rows), rows.T @ (weight * known)
        grade = np.linalg.solve(square + STIFF * np.eye(4), seen + STIFF * same.T).T
    return grade


def graded(picture: np.ndarray, grade: Grade) -> np.ndarray:
    """(..., 3) in 0..1."""
    return (picture @ grade[:, :3].T + grade[:, 3]).astype(np.float32)


def filled(difference: np.ndarray, seen: np.ndarray, solid: np.ndarray) -> np.ndarray:
    """A difference (H, W, 3) where it was seen (H, W), and what lies near it fading elsewhere; sky apart from what is
    solid (H, W)."""
    out, (height, width) = np.where(seen[..., None], difference, 0).astype(np.float32), seen.shape
    size = SMALL, max(1, round(SMALL * height / width))
    for part in (solid, ~solid):
        lack = part & ~seen
        if not lack.any() or not (seen & part).any():
            continue
        share = (seen & part).astype(np.float32)
        small = cv2.resize(np.dstack([out * share[..., None], share]), size, interpolation=cv2.INTER_AREA)
        wide = cv2.GaussianBlur(small, (0, 0), FADE * SMALL, borderType=cv2.BORDER_REPLICATE)
        wide = cv2.resize(wide, (width, height), interpolation=cv2.INTER_LINEAR)
        near = wide[..., :3] / np.maximum(wide[..., 3:], 1e-3) * np.minimum(1, 2 * wide[..., 3:])
        out[lack] = near[lack]
    return out


class Carried:
    """The known frames of a job, as differences from what the model makes of the same views."""

    def __init__(self, known: Known, made: Callable[[int], np.ndarray]) -> None:
        """known: at the size of what is written. made: what the model makes of a known frame, (H, W, 3) uint8, told of
        known frames as it is in all others: what it follows by itself is no difference."""
        self.shot, self.pictures, self.made = known.shot, known.pictures, made
        self.lock, self.held = threading.Lock(), OrderedDict[int, Tensor]()
        self.grade = fit_grade(self.pairs())

    def pairs(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        frames = list(self.pictures)
        for frame in frames[:: -(-len(frames) // GRADED)]:
            picture = self.pictures[frame]
            kept = picture.kept.numpy()
            step = max(1, int(kept.sum()) // SAMPLES)
            yield self.made(frame)[kept][::step] / 255, own(picture)[kept][::step]

    def difference(self, frame: int) -> Tensor:
        """(3, H, W) of a known frame; no number where it is not kept."""
        with self.lock:
            if frame not in self.held:
                picture = self.pictures[frame]
                apart = own(picture) - graded(self.made(frame) / 255, self.grade)
                apart[~picture.kept.numpy()] = np.nan
                self.held[frame] = torch.from_numpy(apart).permute(2, 0, 1).half()
            self.held.move_to_end(frame)
            while len(self.held) > HELD:
                self.held.popitem(last=False)
            return self.held[frame]

    def into(self, picture: np.ndarray, frame: int) -> np.ndarray:
        """A frame (H, W, 3) uint8 with what is known of it."""
        others = [f for f in nearest(self.shot, frame, self.pictures) if f != frame][:SOURCES]
        out, itself = graded(picture / np.float32(255), self.grade), self.pictures.get(frame)
        if others and not (itself is not None and bool(itself.kept.all())):
            sources = [(self.difference(f).float(), self.shot.view(f)) for f in others]
            apart, seen = reproject.gather(sources, self.shot.view(frame))
            solid = np.isfinite(self.shot.depth([frame])[0].numpy())
            out = out + filled(apart.permute(1, 2, 0).numpy(), seen.numpy(), solid)
        made = (out * 255).round().clip(0, 255).astype(np.uint8)
        if itself is None:
            return made
        kept = itself.kept.numpy()[..., None]
        return np.where(kept, (own(itself) * 255).round().clip(0, 255).astype(np.uint8), made)


def own(picture: FramePicture) -> np.ndarray:
    """(H, W, 3) in 0..1."""
    return ((picture.colour + 1) / 2).permute(1, 2, 0).numpy()

