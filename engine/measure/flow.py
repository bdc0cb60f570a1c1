"""Row 2: the pictures' own optical flow against the flow that cameras and depth imply.

Knows pictures and geometry, not verdicts."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from .clip import Clip
from .geometry import covisible, pixel_grid

ENOUGH_MOTION = 4.0           # px at 448 wide: DIS errs by about 0.1 px, so slow shots are compared over more frames
LONGEST_GAP = 16              # frames
NO_MOTION = 0.5               # px at 448 wide over the longest gap: the plan does not move
PAIRS = 12
TEXTURE = 3e-4                # smallest eigenvalue (grey 0..1, 7 px) at which flow has two directions to hold on to
BORDER = 13                   # px: DIS matches patches of 8, so what moves pulls at the pixels beside it
LEAST_TEXTURED = 0.02         # share of the frame


@dataclass(frozen=True)
class Flow:
    gap: int                      # frames between the two pictures of a pair
    pairs: int
    error: float                  # px, mean over the pixels compared
    motion: float                 # px, mean planned motion of the same pixels
    shown: float                  # px, mean motion that the pictures show there
    textured: float               # share of covisible pixels with texture
    covisible: float              # share of the frame


def spread(clip: Clip, gap: int, most: int) -> list[tuple[int, int]]:
    """Up to `most` pairs (t, t + gap), evenly over the clip, none across a cut."""
    pairs = [(t, t + gap) for first, end in clip.segments for t in range(first, end - gap)]
    if len(pairs) <= most:
        return pairs
    return [pairs[i] for i in np.linspace(0, len(pairs) - 1, most).round().astype(int)]


def planned_motion(clip: Clip, gap: int, most: int = 5) -> float:
    """Mean planned motion in pixels of still, covisible pixels over `gap` frames."""
    means = []
    for a, b in spread(clip, gap, most):
        uv, seen = covisible(clip.view(a), clip.view(b))
        if seen.any():
            means.append(np.linalg.norm(uv - pixel_grid(*seen.shape), axis=-1)[seen].mean())
    return float(np.mean(means)) if means else 0.0


def longest(clip: Clip) -> int:
    return max(end - first for first, end in clip.segments) - 1


def moves(clip: Clip) -> bool:
    gap = min(LONGEST_GAP, longest(clip))
    return planned_motion(clip, gap) > NO_MOTION * clip.scale


def best_gap(clip: Clip) -> int:
    """The fewest frames over which the plan moves enough to be measured."""
    most = min(LONGEST_GAP, longest(clip))
    gap = 1
    while gap * 2 <= most and planned_motion(clip, gap) < ENOUGH_MOTION * clip.scale:
        gap *= 2
    return gap


def textured(grey: np.ndarray) -> np.ndarray:
    return cv2.cornerMinEigenVal(grey.astype(np.float32) / 255, 7, ksize=3) > TEXTURE


def dense(a: np.ndarray, b: np.ndarray) -> np.ndarray:                    # (H,W,2)
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(0)
    return dis.calc(a, b, np.zeros((*a.shape, 2), np.float32))


def measure(clip: Clip, stop: Callable[[], None]) -> Flow | None:
    gap = best_gap(clip)
    rows, shares, seen_shares = [], [], []
    pairs = spread(clip, gap, PAIRS)
    for a, b in pairs:
        stop()
        uv, seen = covisible(clip.view(a), clip.view(b))
        seen &= cv2.erode(clip.still_between(a, b).astype(np.uint8), np.ones((BORDER, BORDER), np.uint8)) > 0
        planned = uv - pixel_grid(*seen.shape)
        grey = clip.grey(a)
        held = seen & textured(grey)
        seen_shares.append(seen.mean())
        shares.append(held.sum() / max(1, seen.sum()))
        found = dense(grey, clip.grey(b))
        rows.append(np.stack([np.linalg.norm(v, axis=-1)[held] for v in (found - planned, planned, found)]))
    table = np.concatenate(rows, 1)
    if not table.size:
        return None
    error, motion, shown = (float(v) for v in table.mean(1))
    return Flow(gap, len(pairs), error, motion, shown, float(np.mean(shares)), float(np.mean(seen_shares)))
