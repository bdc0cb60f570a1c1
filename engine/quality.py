"""How good pictures are where a truth is at hand: rows 6 and 7 of docs/metrics.md, seams, and the best single grade.

For benchmarks, model cards and demos, which have Blender's render of the shot or the scene maker's. Frames are
(F,H,W,3) uint8, sRGB; passes as in the job folder. Knows no job and no camera: `engine.measure` needs no truth."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

HIGH_PASS = 1.5               # px, Gaussian: what it takes away is detail
EDGE_MARGIN = 4               # px around silhouettes and creases that are not "inside a surface"
DISPARITY_BEND = 0.02         # relative second difference of disparity that is a jump in depth
CREASE = 0.85                 # cosine between neighbouring normals below which a surface has an edge
FEWEST = 500                  # pixels that a correlation is taken over
STRAIGHT = 5                  # lowest frequencies of the other axis: what runs straight through the frame
TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                   [0.0193339, 0.1191920, 0.9503041]], np.float32)
FLAT = 0.5                    # grey levels of deviation below which a picture has no detail to correlate


@dataclass(frozen=True)
class Grade:
    """The best affine colour transform of one clip: colour @ matrix + offset, 0..255, and what it leaves."""
    matrix: np.ndarray            # (3,3)
    offset: np.ndarray            # (3,)
    mse: float                    # over the clip, values 0..1 squared (clipped to the range of a picture)


# Detail

def grey(frames: np.ndarray) -> np.ndarray:                               # (...,H,W,3) -> (...,H,W) float32, Rec. 709
    return frames.astype(np.float32) @ np.array([0.2126, 0.7152, 0.0722], np.float32)


def high_pass(picture: np.ndarray, sigma: float = HIGH_PASS) -> np.ndarray:
    """A grey picture without its Gaussian blur."""
    picture = picture.astype(np.float32)
    return picture - cv2.GaussianBlur(picture, (0, 0), sigma)


def surface_edges(depth: np.ndarray | None = None, index: np.ndarray | None = None,
                  normal: np.ndarray | None = None) -> np.ndarray:
    """Silhouettes, borders of objects and creases of one frame (H,W)."""
    given = next(value for value in (depth, index, normal) if value is not None)
    edges = np.zeros(given.shape[:2], bool)
    for value, find in ((depth, depth_edges), (index, index_edges), (normal, normal_edges)):
        if value is not None:
            edges |= find(value)
    return edges


def depth_edges(depth: np.ndarray) -> np.ndarray:
    """Where disparity bends: it is affine on every plane, however slanted."""
    disparity = (1 / np.maximum(depth, 1e-9)).astype(np.float32)
    bend = np.maximum(np.abs(cv2.filter2D(disparity, -1, np.array([[1, -2, 1]], np.float32))),
                      np.abs(cv2.filter2D(disparity, -1, np.array([[1], [-2], [1]], np.float32))))
    return bend > DISPARITY_BEND * np.maximum(cv2.dilate(disparity, np.ones((3, 3), np.uint8)), 1e-12)


def index_edges(index: np.ndarray) -> np.ndarray:
    ids = index.astype(np.uint16)
    return cv2.dilate(ids, np.ones((3, 3), np.uint8)) != cv2.erode(ids, np.ones((3, 3), np.uint8))


def normal_edges(normal: np.ndarray) -> np.ndarray:
    normal = normal.astype(np.float32)
    edges = np.zeros(normal.shape[:2], bool)
    edges[:, 1:] |= (normal[:, 1:] * normal[:, :-1]).sum(-1) < CREASE
    edges[1:] |= (normal[1:] * normal[:-1]).sum(-1) < CREASE
    return edges


def inside_surfaces(depth: np.ndarray, index: np.ndarray | None = None, normal: np.ndarray | None = None,
                    margin: int = EDGE_MARGIN) -> np.ndarray:
    """Pixels of one frame that show a surface, farther than `margin` from its silhouettes, borders and creases (H,W).

    A high-pass filter sees an edge through its whole width, and a model gets every edge from the passes: only what lies
    inside says that it made texture."""
    edges = surface_edges(depth, index, normal) | ~np.isfinite(depth)
    grown = cv2.dilate(edges.astype(np.uint8), np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)) > 0
    grown[:margin], grown[-margin:], grown[:, :margin], grown[:, -margin:] = True, True, True, True
    return ~grown


def inside_clip(depth: np.ndarray, index: np.ndarray | None = None, normal: np.ndarray | None = None) -> np.ndarray:
    def at(values: np.ndarray | None, i: int) -> np.ndarray | None:
        return None if values is None else np.asarray(values[i])
    return np.stack([inside_surfaces(np.asarray(depth[i]), at(index, i), at(normal, i)) for i in range(len(depth))])


def high_pass_correlation(frames: np.ndarray, truth: np.ndarray, depth: np.ndarray, index: np.ndarray | None = None,
                          normal: np.ndarray | None = None) -> float | None:
    """Correlation of detail with the truth's, inside surfaces, mean over frames; None where the truth has none there.

    Blur, noise and invented texture all lower it; mere contrast does not: read it beside the energy."""
    rows = []
    for shown, wanted, mask in zip(grey(frames), grey(truth), inside_clip(depth, index, normal)):
        a, b = high_pass(shown)[mask], high_pass(wanted)[mask]
        if mask.sum() >= FEWEST and b.std() > FLAT:
            rows.append(correlation(a, b))
    return float(np.mean(rows)) if rows else None


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's r; 0 where one of them is flat."""
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size > 1e-6 else 0.0


def high_frequency_energy(frames: np.ndarray, depth: np.ndarray | None = None, index: np.ndarray | None = None,
                          normal: np.ndarray | None = None) -> float:
    """Deviation of the detail in grey levels, root mean square over frames; inside surfaces where passes are given."""
    masks = inside_clip(depth, index, normal) if depth is not None else np.ones(frames.shape[:3], bool)
    variances = [high_pass(picture)[mask].var() for picture, mask in zip(grey(frames), masks) if mask.any()]
    return float(np.sqrt(np.mean(variances))) if variances else 0.0


# Seams of patches and windows

def power_spectrum(frames: np.ndarray) -> np.ndarray:
    """Power (H, W//2+1) of the clip's grey pictures, averaged over frames, Hann window."""
    window = np.outer(np.hanning(frames.shape[1]), np.hanning(frames.shape[2]))
    return np.mean([np.abs(np.fft.rfft2((picture - picture.mean()) * window)) ** 2 for picture in grey(frames)], axis=0)


def spectrum_peaks(frames: np.ndarray, periods: Sequence[int] = (4, 16)) -> dict[int, float]:
    """For every period in px, the power there over the power beside it, across or down, the larger: 1 is no peak.

    A grid of patches puts power at 1/period: on the axis itself where its lines run straight through the frame, along
    the whole other axis where they change from patch to patch; both are looked at. Thin seams of a coarse grid show in
    its harmonics, where pictures have little of their own: those that no finer period asked for has are averaged in.
    Pictures have chance peaks, up to about 2.5 from 4 frames and 1.2 from 25: give many frames of a moving camera."""
    power = power_spectrum(frames)
    height, width = frames.shape[1:3]
    down = power[:height // 2 + 1]
    lines = [(np.r_[power[:STRAIGHT], power[1 - STRAIGHT:]].mean(0), width), (power.mean(0), width),
             (down[:, :STRAIGHT].mean(1), height), (down.mean(1), height)]
    return {period: max(peak(line, side, harmonics(period, periods)) for line, side in lines) for period in periods}


def harmonics(period: int, periods: Sequence[int]) -> list[float]:
    """Frequencies in cycles per px of a grid, below 0.45, but those that a finer grid has too."""
    finer = [p for p in periods if p < period and period % p == 0]
    orders = [k for k in range(1, period // 2 + 1) if all(k % (period // p) for p in finer)]
    return [k / period for k in orders if k / period < 0.45]


def peak(line: np.ndarray, side: int, frequencies: Sequence[float]) -> float:
    """Geometric mean of how far `line` stands out at the frequencies."""
    return float(np.exp(np.mean([np.log(stands_out(line, round(side * frequency))) for frequency in frequencies])))


def stands_out(line: np.ndarray, place: int) -> float:
    """Mean power of three frequencies at `place` (a Hann window spreads a line so far) over the power law beside it."""
    beside = np.array([i for i in range(place - 12, place + 13) if 2 <= i < len(line) - 1 and abs(i - place) > 3])
    if place < 3 or place + 2 > len(line) or len(beside) < 6:
        return 1.0                                                          # too few periods in the picture to tell
    level = np.log(np.maximum(line, 1e-6))
    slope, offset = np.polyfit(np.log(beside), level[beside], 1)
    return float(np.exp(np.log(line[place - 1:place + 2].mean() + 1e-6) - offset - slope * np.log(place)))


def seam_ratio(errors: Sequence[float], seams: Sequence[int]) -> float | None:
    """Error of the steps into frames `seams` over the median of the other steps; errors[t] is of the step t -> t+1."""
    at = [errors[s - 1] for s in seams if 0 < s <= len(errors)]
    others = [error for t, error in enumerate(errors) if t + 1 not in set(seams)]
    return float(np.mean(at) / np.median(others)) if at and others and np.median(others) > 0 else None


# Colour

def lab(colours: np.ndarray) -> np.ndarray:                               # (...,3) sRGB 0..255 -> CIELAB, float32
    """CIE 1976, D65, written out: OpenCV's tables are off by up to 0.2."""
    encoded = np.clip(colours.astype(np.float32) / 255, 0, 1)
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    share = (linear @ TO_XYZ.T) / TO_XYZ.sum(1)
    f = np.where(share > (6 / 29) ** 3, np.cbrt(share), share * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def lab_change(frames: np.ndarray, other: np.ndarray) -> float:
    """Mean CIE76 distance of two clips: row 7, a render handed back unchanged has none."""
    return float(np.mean([np.linalg.norm(lab(a) - lab(b), axis=-1).mean() for a, b in zip(frames, other)]))


def mse(frames: np.ndarray, truth: np.ndarray) -> float:
    """Mean squared error, values 0..1."""
    return float(np.mean([((a.astype(np.float32) - b) ** 2).mean() for a, b in zip(frames, truth)]) / 255**2)


def best_single_grade(base: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> Grade:
    """The one affine colour transform of the base colour that comes closest to the truth, over the whole clip.

    What a colourist could do with one node and no model: a model worth its time has a lower mse. Least squares from
    moments, so that a clip of any length needs one frame of memory. `mask` (F,H,W) leaves sky out."""
    normal, right = np.zeros((4, 4)), np.zeros((4, 3))
    for i in range(len(base)):
        x, y = chosen(base, truth, mask, i)
        x = np.concatenate([x, np.ones((len(x), 1))], 1)
        normal += x.T @ x
        right += x.T @ y
    solution = np.linalg.lstsq(normal, right, rcond=1e-10)[0]
    return Grade(solution[:3], solution[3], graded_mse(base, truth, mask, solution))


def chosen(base: np.ndarray, truth: np.ndarray, mask: np.ndarray | None, i: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = base[i].reshape(-1, 3).astype(np.float64), truth[i].reshape(-1, 3).astype(np.float64)
    return (x, y) if mask is None else (x[mask[i].ravel()], y[mask[i].ravel()])


def graded_mse(base: np.ndarray, truth: np.ndarray, mask: np.ndarray | None, solution: np.ndarray) -> float:
    total = count = 0.0
    for i in range(len(base)):
        x, y = chosen(base, truth, mask, i)
        total += float(((np.clip(x @ solution[:3] + solution[3], 0, 255) - y) ** 2).sum())
        count += y.size
    return total / max(count, 1) / 255**2


def apply_grade(grade: Grade, base: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(base.astype(np.float64) @ grade.matrix + grade.offset, 0, 255)).astype(np.uint8)
