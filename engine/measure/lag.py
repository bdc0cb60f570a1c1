"""Is the clip late or early? Slides it by -2..+2 frames along the plan and asks where its edges fall on the scene's.

Motion alone cannot tell on a steady move (every frame moves like the one before), so the pictures' gradients are
correlated with those of the scene's own passes, which say where things are. Knows pictures and passes, not verdicts."""
from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from .clip import Clip
from .flow import planned_motion

REACH = 2                     # frames to either side
FRAMES = 24
ENOUGH = 0.35                 # px at 448 wide that the plan moves per frame: below, a frame of lag is not seen
SURE = 4.0                    # standard errors by which another shift must beat none


def gradient(image: np.ndarray) -> np.ndarray:
    image = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 0.7)
    return np.hypot(cv2.Sobel(image, cv2.CV_32F, 1, 0), cv2.Sobel(image, cv2.CV_32F, 0, 1))


def ranked(values: np.ndarray) -> np.ndarray:
    """Large values tamed: an edge is an edge however strong."""
    return np.minimum(values / (np.percentile(values, 95) + 1e-6), 1.0)


def scene_edges(clip: Clip, i: int) -> np.ndarray:
    """Where the passes of frame i say that the picture has edges (H,W): texture, creases, silhouettes."""
    disparity = clip.view(i).disparity
    typical = float(np.median(disparity[disparity > 0])) if (disparity > 0).any() else 1.0
    edges = [ranked(gradient(np.log1p(disparity / typical)))]
    for name in ("base", "normal"):
        values = clip.fact(name, i)
        if values is not None:
            edges.append(ranked(sum(gradient(values[..., c]) for c in range(3))))  # type: ignore[arg-type]
    return np.sum(edges, axis=0)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (np.sqrt((a * a).sum() * (b * b).sum()) + 1e-9))


def scores(clip: Clip, stop: Callable[[], None]) -> np.ndarray:
    """(N, 5): correlation of frame t + s with the passes of frame t, for N frames t and s = -2..2."""
    usable = [t for first, end in clip.segments for t in range(first + REACH, end - REACH)]
    if len(usable) > FRAMES:
        usable = [usable[i] for i in np.linspace(0, len(usable) - 1, FRAMES).round().astype(int)]
    rows = []
    for t in usable:
        stop()
        edges, still = scene_edges(clip, t), clip.still(t)
        shown = [ranked(gradient(clip.grey(t + s))) for s in range(-REACH, REACH + 1)]
        if still.any():
            rows.append([correlation(edges[still], picture[still]) for picture in shown])
    return np.array(rows).reshape(-1, 2 * REACH + 1)


def measure(clip: Clip, stop: Callable[[], None]) -> tuple[int | None, str]:
    """Frames that the pictures come late (+) or early (-), or None and why it is not known."""
    if max(end - first for first, end in clip.segments) <= 2 * REACH:
        return None, f"under {2 * REACH + 1} frames: too short to slide along the plan"
    if planned_motion(clip, 1) < ENOUGH * clip.scale:
        return None, "the camera moves too little from frame to frame to tell one from the next"
    table = scores(clip, stop)
    if not len(table):
        return None, "nothing in the shot holds still"
    best = int(table.mean(0).argmax())
    lead = table[:, best] - table[:, REACH]
    error = lead.std() / np.sqrt(len(lead))
    if best == REACH or lead.mean() < SURE * error or lead.mean() < 0.003:
        return 0, ""
    return best - REACH, ""
