"""Rows 3 and 5: one frame carried onto another by exact geometry, and what differs; near in time and far apart.

Compares covisible, still pixels only. Knows pictures and geometry, not verdicts."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from ..quality import lab
from .clip import Clip
from .flow import spread
from .geometry import covisible, magnification, sample

GAP = 4                       # frames between the two of a pair
PAIRS = 12
REVISITS = 8
LEAST_SEEN = 0.05             # share of the frame that a pair must share
PERFECT = 60.0                # dB: equal pictures
FAR = 0.34                    # of the segment's length: what counts as far apart in time ...
FAR_FRAMES = 8                # ... and at least so many frames
SAME_SCALE = (0.5, 2.0)       # a surface seen at another scale than this is another picture of it
CELL = 1 / 28                 # of the width (16 px at 448): colour and correlation are compared by cell
CELL_FILLED = 0.6             # share of a cell's pixels that must be seen
CELL_TEXTURE = 2.0            # grey levels of deviation: below, a cell has no pattern to correlate


@dataclass(frozen=True)
class Warp:
    psnr: float                   # dB, mean over pairs
    ssim: float
    unwarped: float               # dB, the same pixels without the warp
    pairs: int
    gap: int


@dataclass(frozen=True)
class Revisit:
    psnr: float
    zncc: float | None            # None: nothing but flat colour was seen twice
    colour: float                 # CIE76 distance of cell means
    pairs: int
    gap: float                    # frames, mean


def psnr(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> float:
    mse = float(((a.astype(np.float64) - b.astype(np.float64))[mask] ** 2).mean())
    return PERFECT if mse < 255.0**2 * 10 ** (-PERFECT / 10) else float(10 * np.log10(255.0**2 / mse))


def ssim_map(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Structural similarity of two grey pictures (Wang et al. 2004, Gaussian window of sigma 1.5)."""
    a, b = a.astype(np.float64), b.astype(np.float64)

    def blur(x: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(x, (11, 11), 1.5)
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b, cov = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2, blur(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return (2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))


def grey(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(np.clip(picture, 0, 255).astype(np.uint8), cv2.COLOR_RGB2GRAY)


def ssim(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> float:
    """Mean over mask; windows that reach out of it see equal pixels there."""
    filled = np.where(mask[..., None], b, a)
    return float(ssim_map(grey(a), grey(filled))[mask].mean())


def carried(clip: Clip, here: int, there: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frame `there` as seen from frame `here` (H,W,3), where that is known (H,W), and the uv it was read at."""
    view, other = clip.view(here), clip.view(there)
    uv, seen = covisible(view, other)
    seen &= clip.still_between(here, there)
    seen &= sample(clip.still(there).astype(np.float32), uv) > 0.99
    return sample(clip.picture(there), uv, cv2.INTER_CUBIC), seen, uv


def measure(clip: Clip, stop: Callable[[], None], gap: int = GAP) -> Warp | None:
    rows = []
    for a, b in spread(clip, gap, few(clip, PAIRS)):
        stop()
        warped, seen, _ = carried(clip, a, b)
        if seen.mean() < LEAST_SEEN:
            continue
        here = clip.picture(a)
        rows.append((psnr(here, warped, seen), ssim(here, warped, seen), psnr(here, clip.picture(b), seen)))
    if not rows:
        return None
    quality, structure, still = np.mean(rows, axis=0)
    return Warp(float(quality), float(structure), float(still), len(rows), gap)


def far_pairs(clip: Clip) -> list[tuple[int, int]]:
    """Pairs far apart in time, the farthest of each segment among them."""
    pairs = []
    for first, end in clip.segments:
        length = end - first
        gaps = {max(FAR_FRAMES, round(length * share)) for share in (FAR, 0.5, 0.67, 1.0)}
        for gap in sorted(min(g, length - 1) for g in gaps):
            if gap >= FAR_FRAMES:
                pairs += [(first, first + gap), (end - 1 - gap, end - 1)]
    pairs = sorted(set(pairs))
    most = few(clip, 2 * REVISITS)
    if len(pairs) > most:
        pairs = [pairs[i] for i in np.linspace(0, len(pairs) - 1, most).round().astype(int)]
    return pairs


def few(clip: Clip, most: int) -> int:
    """How many pairs are enough: a large one holds ten times the pixels, and costs as much."""
    return most // 2 if clip.large else most


def cells(values: np.ndarray, mask: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean of values (H,W,C) over the seen pixels of every cell (N,C), and the share of each cell seen (N,)."""
    height, width = mask.shape
    rows, columns = height // size, width // size
    def fold(x: np.ndarray) -> np.ndarray:
        cut = x[:rows * size, :columns * size]
        return cut.reshape(rows, size, columns, size, -1).sum((1, 3)).reshape(rows * columns, -1)
    count = fold(mask[..., None].astype(np.float64))
    return fold(values * mask[..., None]) / np.maximum(count, 1), count[:, 0] / size**2


def colour_distance(a: np.ndarray, b: np.ndarray, mask: np.ndarray, size: int) -> float:
    """CIE76 distance of the mean colours of cells: noise and misplacement hardly count, a change of colour does."""
    mean_a, share = cells(lab(a), mask, size)
    mean_b, _ = cells(lab(b), mask, size)
    filled = share >= CELL_FILLED
    return float(np.linalg.norm(mean_a - mean_b, axis=1)[filled].mean()) if filled.any() else float("nan")


def pattern(a: np.ndarray, b: np.ndarray, mask: np.ndarray, size: int) -> float:
    """Zero-mean normalised cross-correlation of grey cells, mean over those with a pattern; nan if none has."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    moments, share = cells(np.stack([a, b, a * a, b * b, a * b], -1), mask, size)
    mean_a, mean_b, aa, bb, ab = moments.T
    var_a, var_b = np.maximum(aa - mean_a**2, 0), np.maximum(bb - mean_b**2, 0)
    usable = (share >= CELL_FILLED) & (np.maximum(var_a, var_b) > CELL_TEXTURE**2)
    if not usable.any():
        return float("nan")
    return float(((ab - mean_a * mean_b) / np.sqrt(var_a * var_b + 1.0))[usable].mean())


def revisits(clip: Clip, stop: Callable[[], None]) -> Revisit | None:
    size = max(8, round(clip.size[0] * CELL))
    rows: list[tuple[float, float, float, float]] = []
    for a, b in far_pairs(clip):
        stop()
        warped, seen, uv = carried(clip, a, b)
        ratio = magnification(clip.view(a), clip.view(b), uv)
        seen &= (ratio > SAME_SCALE[0]) & (ratio < SAME_SCALE[1])
        if seen.mean() < LEAST_SEEN:
            continue
        here = clip.picture(a)
        rows.append((psnr(here, warped, seen), pattern(grey(here), grey(warped), seen, size),
                     colour_distance(here, warped, seen, size), float(b - a)))
    if not rows:
        return None
    table = np.array(rows)
    quality, zncc, colour, gap = (mean_of_known(column) for column in table.T)
    return Revisit(quality, None if np.isnan(zncc) else zncc, colour, len(rows), gap)


def mean_of_known(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
