"""Where a pixel of one frame lies in another, from exact depth and cameras, in numpy and one frame at a time.

Pixel centres are at +0.5 here, as in the job folder; OpenCV's are whole numbers, so what goes to or comes from OpenCV
is shifted by half a pixel (`to_opencv`, `from_opencv`), nothing else is. Knows nothing of pictures, jobs or quality."""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SURFACE_TOLERANCE = 0.01      # two disparities belong to one surface within 1 %
SILHOUETTE_STEP = 0.02        # a bend of disparity above 2 % is a silhouette: disparity is affine on every plane
HALF_PIXEL = 0.5


@dataclass(frozen=True)
class View:
    """One frame's exact geometry: planar depth (H,W), sky +inf; K (3,3) of this very picture; c2w (4,4)."""
    depth: np.ndarray
    K: np.ndarray
    c2w: np.ndarray

    @property
    def disparity(self) -> np.ndarray:                                    # (H,W), sky 0
        return (1.0 / np.maximum(self.depth, 1e-9)).astype(np.float32)


def to_opencv(uv: np.ndarray) -> np.ndarray:
    return np.asarray(uv, np.float32) - np.float32(HALF_PIXEL)


def from_opencv(xy: np.ndarray) -> np.ndarray:
    return np.asarray(xy, np.float64) + HALF_PIXEL


def world_to_camera(c2w: np.ndarray) -> np.ndarray:
    rotation, centre = c2w[:3, :3], c2w[:3, 3]
    w2c = np.eye(4)
    w2c[:3, :3], w2c[:3, 3] = rotation.T, -rotation.T @ centre
    return w2c


def pixel_grid(height: int, width: int) -> np.ndarray:                    # (H,W,2) u, v of pixel centres
    u, v = np.meshgrid(np.arange(width) + HALF_PIXEL, np.arange(height) + HALF_PIXEL)
    return np.stack([u, v], -1)


def lift(uv: np.ndarray, z: np.ndarray, K: np.ndarray, c2w: np.ndarray) -> np.ndarray:
    """Pixels (N,2) with planar depth (N,) -> world points (N,3)."""
    rays = np.concatenate([uv, np.ones((len(uv), 1))], 1) @ np.linalg.inv(K).T
    return (rays * z[:, None]) @ c2w[:3, :3].T + c2w[:3, 3]


def project(points: np.ndarray, K: np.ndarray, c2w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """World points (N,3) -> pixels (N,2) and planar depth (N,)."""
    w2c = world_to_camera(c2w)
    camera = points @ w2c[:3, :3].T + w2c[:3, 3]
    z = camera[:, 2]
    return (camera @ K.T)[:, :2] / np.where(np.abs(z) < 1e-9, 1e-9, z)[:, None], z


def land(source: View, target: View) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel of `source` is in `target` if nothing moves: uv (H,W,2), planar depth there (H,W).

    u' ~ K' (R K^-1 u z + t): one 3x3 matrix and one vector for a frame. Sky goes by direction alone, at depth +inf."""
    relative = world_to_camera(target.c2w) @ source.c2w
    turn = target.K @ relative[:3, :3] @ np.linalg.inv(source.K)
    shift = target.K @ relative[:3, 3]
    grid = pixel_grid(*source.depth.shape)
    rays = grid @ turn[:, :2].T + turn[:, 2]                              # (H,W,3), times z
    moved = rays + shift * source.disparity[..., None].astype(np.float64)   # divided by z: finite on sky too
    scale = np.where(np.abs(moved[..., 2]) < 1e-9, 1e-9, moved[..., 2])
    with np.errstate(invalid="ignore"):
        z = np.where(np.isfinite(source.depth), source.depth, np.inf) * moved[..., 2]
    z = np.where(moved[..., 2] <= 0, -1.0, z)
    return moved[..., :2] / scale[..., None], z


def static_flow(source: View, target: View) -> np.ndarray:                # (H,W,2) pixels, source -> target
    return land(source, target)[0] - pixel_grid(*source.depth.shape)


def sample(image: np.ndarray, uv: np.ndarray, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
    """`image` looked up at pixel positions uv (H,W,2); outside, the border repeats: callers mask it."""
    xy = to_opencv(np.clip(uv, -1e4, 1e4))
    return cv2.remap(image, xy[..., 0], xy[..., 1], interpolation, borderMode=cv2.BORDER_REPLICATE)


def silhouettes(view: View, margin: int = 1) -> np.ndarray:
    """Pixels within `margin` of a jump in depth (H,W): the disparity's second difference, which is zero on planes."""
    disparity = view.disparity
    bend = np.zeros_like(disparity)
    bend[:, 1:-1] = np.abs(disparity[:, 2:] - 2 * disparity[:, 1:-1] + disparity[:, :-2])
    vertical = np.abs(disparity[2:] - 2 * disparity[1:-1] + disparity[:-2])
    bend[1:-1] = np.maximum(bend[1:-1], vertical)
    nearest = cv2.dilate(disparity, np.ones((3, 3), np.uint8))
    jump = (bend > SILHOUETTE_STEP * nearest) & (nearest > 0)
    return cv2.dilate(jump.astype(np.uint8), np.ones((2 * margin + 1,) * 2, np.uint8)) > 0


def inside(uv: np.ndarray, height: int, width: int, margin: float = 1.0) -> np.ndarray:
    return ((uv[..., 0] >= margin) & (uv[..., 0] <= width - margin)
            & (uv[..., 1] >= margin) & (uv[..., 1] <= height - margin))


def covisible(source: View, target: View) -> tuple[np.ndarray, np.ndarray]:
    """uv (H,W,2) of source's pixels in target, and which of them (H,W) show there the same surface point.

    Sky is left out: it has no surface to compare. So are silhouettes of both frames, whose pixels mix two surfaces."""
    uv, z = land(source, target)
    there = sample(target.disparity, uv)
    here = np.where(z > 0, 1.0 / np.maximum(z, 1e-9), 0.0)
    same = (z > 0) & np.isfinite(z) & (np.abs(here - there) < SURFACE_TOLERANCE * np.maximum(here, 1e-12))
    clean = sample(silhouettes(target).astype(np.float32), uv) < 0.01
    return uv, same & clean & ~silhouettes(source) & inside(uv, *target.depth.shape)


def magnification(source: View, target: View, uv: np.ndarray) -> np.ndarray:
    """How many pixels of target one pixel of source covers, in length (H,W): fx' / z' over fx / z."""
    there = sample(target.disparity, uv)
    here = np.maximum(source.disparity, 1e-12)
    return (there * target.K[0, 0]) / (here * source.K[0, 0])


def fundamental(source: View, target: View) -> np.ndarray:
    """F with  u_target^T F u_source = 0 : K'^-T [t]x R K^-1 (Hartley and Zisserman, eq. 9.3)."""
    relative = world_to_camera(target.c2w) @ source.c2w
    x, y, z = relative[:3, 3]
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.linalg.inv(target.K).T @ cross @ relative[:3, :3] @ np.linalg.inv(source.K)


def sampson(F: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """First-order distance in pixels of matches a -> b (N,2) from the plan: |b^T F a| / |grad| (H. & Z. 11.9)."""
    ones = np.ones((len(a), 1))
    Fa, Fb = np.concatenate([a, ones], 1) @ F.T, np.concatenate([b, ones], 1) @ F
    residual = np.abs((np.concatenate([b, ones], 1) * Fa).sum(1))
    return residual / np.maximum(np.sqrt(Fa[:, 0]**2 + Fa[:, 1]**2 + Fb[:, 0]**2 + Fb[:, 1]**2), 1e-12)


def rotation_between(a: np.ndarray, b: np.ndarray) -> float:
    """Degrees between two rotations, exact for small angles too: atan2 of sine and cosine, not acos of the trace."""
    R = a.T @ b
    sine = np.linalg.norm([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]]) / 2
    return float(np.degrees(np.arctan2(sine, (np.trace(R) - 1) / 2)))
