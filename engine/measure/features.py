"""Rows 1 and 4: which camera would have taken these pictures, from points tracked in them.

Corners are found in the first frame of a stretch, followed from frame to frame and back (Lucas-Kanade), lifted
to 3D by the exact depth of that first frame, and every later frame's camera is solved from them (P3P with RANSAC, then
least squares over the inliers). When half of them are gone, a new stretch begins where the camera was found to be:
errors add up. The planned motion is never given to the tracker as a guess: a frozen clip must look
frozen. Knows pictures and geometry, not verdicts."""
from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np

from .clip import WIDE, Clip
from .geometry import (
    from_opencv,
    fundamental,
    lift,
    rotation_between,
    sampson,
    silhouettes,
    to_opencv,
)

CORNERS = 500                 # at most, in the first frame of a stretch
CORNER_QUALITY = 0.005        # of the strongest corner
CORNER_FLOOR = 2e-4           # smallest eigenvalue that is texture at all, grey 0..1: a wall with dither stays below
BACK_AND_FORTH = 0.5          # px, at 448 wide or less: a point that does not return to where it started was lost
FEWEST = 16                   # points a pose is solved from
LOST = 0.1                    # of a stretch's first points: fewer are chance matches
KEPT = 0.5                    # of a stretch's first points: below, a new stretch begins
KEY = 4                       # frames
LONGEST = 48                  # frames in a stretch
SHARE_OF_INLIERS = 0.3        # fewer agreeing points: no camera explains the pictures
REPROJECTION = 1.5            # px at 448 wide
MEDIANS, ROUNDS = 3.0, 3      # least squares over the points within so many medians, repeated
NEAR = 0.05                   # px: no corner has slipped that is nearer than this, however near the others are
PLENTY = 2 * FEWEST           # points: with fewer, that no camera is found says nothing about the pictures
NO_DISTORTION = np.zeros(5)
TRACKED_FRAMES = 240          # of a long clip: stretches spread evenly over it
WINDOW, LEAST_WINDOW = 17, 9  # px: of what a corner is followed by, at 448 wide or more, and in any picture
LK: dict[str, Any] = {"maxLevel": 4, "minEigThreshold": 1e-4,
                      "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.01)}


@dataclass(frozen=True)
class Noise:
    """Standard errors of a solved camera, as the scatter of its points about it says."""
    rotation: float               # degrees
    position: float               # scene units

    def after(self, other: Noise) -> Noise:
        """Of a camera that was solved from points which another one had placed."""
        return Noise(math.hypot(self.rotation, other.rotation), math.hypot(self.position, other.position))


EXACT = Noise(0.0, 0.0)


@dataclass(frozen=True)
class Pose:
    """One frame's solved camera beside the planned one."""
    frame: int
    rotation: float               # degrees
    position: float               # scene units
    path: float                   # planned length of the run that the frame is in, scene units
    c2w: np.ndarray               # the solved camera
    noise: Noise                  # how far such a camera may be from where the pictures have it
    depth: float                  # median depth of the points: what a small position error is small against
    inliers: float                # share
    epipolar: float | None        # median Sampson distance, px at 960 wide; None where the camera only turns


@dataclass
class Tracking:
    """All that was found, filled as it goes."""
    poses: list[Pose] = field(default_factory=list)
    lost: int = 0                 # frames whose points were lost
    few: int = 0                  # frames with points that were too few to find a camera by
    shapeless: int = 0            # frames whose points were followed, but that no camera explains
    found: list[int] = field(default_factory=list)        # corners at the start of every stretch

    @property
    def corners(self) -> int:
        return int(np.mean(self.found)) if self.found else 0


def corners(grey: np.ndarray, mask: np.ndarray) -> np.ndarray:            # (N,2) OpenCV positions
    strength = cv2.cornerMinEigenVal(grey.astype(np.float32) / 255, 5, ksize=3)
    usable = (mask & (strength > CORNER_FLOOR)).astype(np.uint8) * 255
    gap = max(4, grey.shape[1] // 90)
    found = cv2.goodFeaturesToTrack(grey, CORNERS, CORNER_QUALITY, gap, mask=usable, blockSize=5)
    return np.zeros((0, 2), np.float32) if found is None else found.reshape(-1, 2)


def window(width: int) -> dict[str, Any]:
    """How corners are followed in pictures of that width: a window that is large in its picture sees more than one
    surface, and is dragged along by the nearer one."""
    side = max(LEAST_WINDOW, min(WINDOW, WINDOW * width // WIDE)) // 2 * 2 + 1
    return {**LK, "winSize": (side, side)}


def follow(before: np.ndarray, after: np.ndarray, points: np.ndarray,
           tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Points (N,2) of one picture in the next, and which of them return to their start when followed back."""
    points, lk = points.astype(np.float32), window(before.shape[1])
    there, ok, _ = cv2.calcOpticalFlowPyrLK(before, after, points, points.copy(), **lk)
    back, ok_back, _ = cv2.calcOpticalFlowPyrLK(after, before, there, there.copy(), **lk)
    height, width = before.shape
    within = (there >= 0).all(1) & (there[:, 0] <= width - 1) & (there[:, 1] <= height - 1)
    returned = np.linalg.norm(back - points, axis=1) < tolerance
    return there, returned & within & (ok.ravel() > 0) & (ok_back.ravel() > 0)


def refine(key: np.ndarray, after: np.ndarray, points: np.ndarray, guess: np.ndarray,
           tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """The same from a picture some frames back, with points near `guess`: one error instead of many."""
    near = {**window(key.shape[1]), "maxLevel": 1, "flags": cv2.OPTFLOW_USE_INITIAL_FLOW}
    points = points.astype(np.float32)
    there, ok, _ = cv2.calcOpticalFlowPyrLK(key, after, points, guess.copy(), **near)
    back, ok_back, _ = cv2.calcOpticalFlowPyrLK(after, key, there, points.copy(), **near)
    returned = np.linalg.norm(back - points, axis=1) < tolerance
    close = np.linalg.norm(there - guess, axis=1) < 4 * tolerance
    return there, returned & close & (ok.ravel() > 0) & (ok_back.ravel() > 0)


def trackable(clip: Clip, frame: int) -> np.ndarray:
    view = clip.view(frame)
    return clip.still(frame) & np.isfinite(view.depth) & ~silhouettes(view, margin=3)


def at(mask: np.ndarray, xy: np.ndarray) -> np.ndarray:                   # mask (H,W) at OpenCV positions (N,2)
    height, width = mask.shape
    x = np.clip(np.rint(xy[:, 0]).astype(int), 0, width - 1)
    y = np.clip(np.rint(xy[:, 1]).astype(int), 0, height - 1)
    return mask[y, x]


@dataclass
class Stretch:
    """Points being followed: where they were in the first frame, where they are now, where they are in the world."""
    first: int
    start: np.ndarray
    now: np.ndarray
    world: np.ndarray
    count: int
    key: int                      # the frame that positions are refined against, at most KEY frames back
    key_xy: np.ndarray            # and where the points are in it
    depth: float                  # median of the points' depth
    noise: Noise                  # of the camera that they were lifted from

    def keep(self, good: np.ndarray) -> None:
        self.start, self.now, self.world = self.start[good], self.now[good], self.world[good]
        self.key_xy = self.key_xy[good]


def begin(clip: Clip, frame: int, c2w: np.ndarray, noise: Noise = EXACT) -> Stretch:
    """Corners of `frame`, lifted from the camera c2w, which is where it was found to be, give or take its noise."""
    view = clip.view(frame)
    found = corners(clip.grey(frame), trackable(clip, frame))
    uv = from_opencv(found)
    if not len(found):
        return Stretch(frame, uv, found, np.zeros((0, 3)), 0, frame, found, 0.0, noise)
    disparity = cv2.remap(view.disparity, found[:, :1], found[:, 1:], cv2.INTER_LINEAR)[:, 0].astype(np.float64)
    world = lift(uv, 1.0 / disparity, view.K, c2w)
    return Stretch(frame, uv, found, world, len(found), frame, found, float(np.median(1.0 / disparity)), noise)


def advance(clip: Clip, stretch: Stretch, frame: int) -> None:
    """Carries the stretch's points from frame - 1 to frame; drops what is lost or behind something that moves."""
    tolerance = BACK_AND_FORTH * max(1.0, clip.scale)                     # a tracker errs in pixels, however few
    stretch.now, good = follow(clip.grey(frame - 1), clip.grey(frame), stretch.now, tolerance)
    resting = at(clip.still_between(stretch.first, frame), to_opencv(stretch.start))
    stretch.keep(good & resting & at(clip.still(frame), stretch.now))
    if stretch.key < frame - 1 and len(stretch.now):
        stretch.now, good = refine(clip.grey(stretch.key), clip.grey(frame), stretch.key_xy, stretch.now, tolerance)
        stretch.keep(good)
    if frame - stretch.key >= KEY:
        stretch.key, stretch.key_xy = frame, stretch.now


def solve(points: np.ndarray, uv: np.ndarray, K: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray] | None:
    """c2w (4,4) of the camera that sees world points (N,3) at uv (N,2), and its inliers (N,); None if there is none."""
    centre = points.mean(0)                                               # far from the origin digits would be lost
    try:
        found, turn, shift, inliers = cv2.solvePnPRansac(
            points - centre, uv, K, NO_DISTORTION, flags=cv2.SOLVEPNP_AP3P, iterationsCount=400,
            reprojectionError=tolerance, confidence=0.9999)
    except cv2.error:
        return None
    if not found or inliers is None or len(inliers) < FEWEST:
        return None
    chosen = inliers.ravel()
    for _ in range(ROUNDS):
        turn, shift = cv2.solvePnPRefineLM((points - centre)[chosen], uv[chosen], K, NO_DISTORTION, turn, shift)
        chosen = agreeing(points - centre, uv, K, turn, shift, tolerance)
        if len(chosen) < FEWEST:
            return None
    rotation = cv2.Rodrigues(turn)[0]
    c2w = np.eye(4)
    c2w[:3, :3], c2w[:3, 3] = rotation.T, centre - (rotation.T @ shift)[:, 0]
    return c2w, chosen


def agreeing(points: np.ndarray, uv: np.ndarray, K: np.ndarray, turn: np.ndarray, shift: np.ndarray,
             tolerance: float) -> np.ndarray:
    """Numbers of the points within a few medians of the pose: a slipped corner is not averaged in."""
    distance = np.linalg.norm(cv2.projectPoints(points, turn, shift, K, NO_DISTORTION)[0][:, 0] - uv, axis=1)
    typical = np.median(distance[distance < tolerance]) if (distance < tolerance).any() else tolerance
    return np.flatnonzero(distance < min(tolerance, max(NEAR, MEDIANS * typical)))


def uncertainty(points: np.ndarray, uv: np.ndarray, K: np.ndarray, c2w: np.ndarray) -> Noise:
    """Standard errors of the camera c2w that was solved from world points (N,3) at uv (N,2).

    Least squares: covariance = s^2 (J^T J)^-1, s^2 the residuals' sum of squares over 2N - 6 (Hartley and Zisserman,
    result 5.9); or the jackknife's, where that is larger: a few points that nothing else holds in check pull the camera
    to themselves, and their scatter about it then tells less than nothing."""
    residual, J = linearised(points, uv, K, c2w)
    inverse = np.linalg.pinv(np.einsum("nia,nib->ab", J, J))
    spread = inverse * (residual ** 2).sum() / max(1, 2 * len(points) - 6)
    turn, shift = np.maximum(standard_errors(spread), standard_errors(jackknife(residual, J, inverse)))
    return Noise(math.degrees(turn), float(shift))


def linearised(points: np.ndarray, uv: np.ndarray, K: np.ndarray, c2w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Residuals (N,2) and their J (N,2,6), by small turns w and shifts v of the camera's own space: dP = w x P + v. |v|
    is also how far the camera's centre goes."""
    P = (points - c2w[:3, 3]) @ c2w[:3, :3]
    x, y, z = P.T
    turned = np.zeros((len(P), 3, 6))
    turned[:, [0, 0, 1, 1, 2, 2], [1, 2, 0, 2, 0, 1]] = np.stack([z, -y, -z, x, y, -x], 1)
    turned[:, :, 3:] = np.eye(3)
    J = np.stack([K[i, i] / z[:, None] * (turned[:, i] - (P[:, i] / z)[:, None] * turned[:, 2]) for i in (0, 1)], 1)
    return np.stack([x / z, y / z], 1) * [K[0, 0], K[1, 1]] + K[:2, 2] - uv, J


def jackknife(residual: np.ndarray, J: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Covariance (6,6) by what becomes of the camera when each point in turn is left out: A (sum g g^T) A with
    A = (J^T J)^-1, g = J_p^T (I - J_p A J_p^T)^-1 r_p (MacKinnon and White 1985, HC3, by points)."""
    left = np.eye(2) - np.einsum("nia,ab,njb->nij", J, inverse, J)
    pulls = np.einsum("nia,ni->na", J, np.einsum("nij,nj->ni", np.linalg.pinv(left), residual))
    return inverse @ (pulls.T @ pulls) @ inverse


def standard_errors(covariance: np.ndarray) -> np.ndarray:
    """Of the turn, radians, and of the place, scene units."""
    return np.sqrt([np.trace(covariance[part, part]) for part in (slice(0, 3), slice(3, 6))])


def epipolar(clip: Clip, stretch: Stretch, frame: int) -> float | None:
    a, b = clip.view(stretch.first), clip.view(frame)
    if np.linalg.norm(b.c2w[:3, 3] - a.c2w[:3, 3]) < 1e-3 * stretch.depth:
        return None
    distance = sampson(fundamental(a, b), stretch.start, from_opencv(stretch.now))
    return float(np.median(distance)) * 960 / clip.size[0]


def travelled(clip: Clip, first: int, last: int) -> float:
    return float(np.linalg.norm(np.diff(clip.c2w[first:last + 1, :3, 3], axis=0), axis=1).sum())


def compare(clip: Clip, stretch: Stretch, frame: int) -> Pose | None:
    seen, K = from_opencv(stretch.now), clip.K[frame]
    solved = solve(stretch.world, seen, K, REPROJECTION * clip.scale)
    if solved is None or len(solved[1]) < SHARE_OF_INLIERS * len(stretch.now):
        return None
    c2w, inliers = solved
    noise = uncertainty(stretch.world[inliers], seen[inliers], K, c2w).after(stretch.noise)
    plan = clip.c2w[frame]
    return Pose(frame, rotation_between(plan[:3, :3], c2w[:3, :3]), float(np.linalg.norm(c2w[:3, 3] - plan[:3, 3])),
                0.0, c2w, noise, stretch.depth, len(inliers) / len(stretch.now),
                epipolar(clip, stretch, frame))


def starts(clip: Clip) -> Iterator[tuple[int, int]]:
    """Parts [first, end) of the clip to track: all of it, or for a long one evenly spread parts of LONGEST frames."""
    total = sum(end - first for first, end in clip.segments)
    parts = [(a, min(a + LONGEST + 1, end)) for first, end in clip.segments for a in range(first, end - 1, LONGEST)]
    most = max(1, TRACKED_FRAMES // LONGEST)
    if total > TRACKED_FRAMES and len(parts) > most:
        parts = [parts[i] for i in np.linspace(0, len(parts) - 1, most).round().astype(int)]
    yield from parts


def track(clip: Clip, stop: Callable[[], None]) -> Tracking:
    found = Tracking()
    for first, end in starts(clip):
        track_part(clip, first, end, found, stop)
    return found


def track_part(clip: Clip, first: int, end: int, found: Tracking, stop: Callable[[], None]) -> None:
    """Frames first .. end - 1: a run of stretches, each begun from the pose that the one before ended with."""
    stretch, run, run_first = begin(clip, first, clip.c2w[first]), [], first
    found.found.append(stretch.count)
    for frame in range(first + 1, end):
        stop()
        pose = step(clip, stretch, frame, found)
        run += [pose] if pose else []
        if frame == end - 1 or len(stretch.now) >= max(FEWEST, KEPT * stretch.count):
            continue
        if pose is None:                                                  # the thread is lost: a new run, from the plan
            found.poses += closed(clip, run, run_first, frame)
            run, run_first = [], frame
        stretch = begin(clip, frame, *((pose.c2w, pose.noise) if pose else (clip.c2w[frame], EXACT)))
        found.found.append(stretch.count)
    found.poses += closed(clip, run, run_first, end - 1)


def step(clip: Clip, stretch: Stretch, frame: int, found: Tracking) -> Pose | None:
    """One frame on: its pose, or None, and then it is counted as lost or as shapeless."""
    if stretch.count >= FEWEST:
        advance(clip, stretch, frame)
    if len(stretch.now) < max(FEWEST, LOST * stretch.count):
        found.lost += 1
        return None
    pose = compare(clip, stretch, frame)
    found.few += pose is None and len(stretch.now) < PLENTY
    found.shapeless += pose is None and len(stretch.now) >= PLENTY
    return pose


def closed(clip: Clip, run: list[Pose], first: int, last: int) -> list[Pose]:
    """Poses of a finished run, with its whole planned path: the length that position errors are a share of."""
    path = travelled(clip, first, last)
    return [replace(pose, path=path) for pose in run]
