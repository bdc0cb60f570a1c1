"""Camera paths for training clips: film's kinds of move around what a scene's camera sees, which keep out of walls.

Pure numpy: the scene is a function that casts rays. Poses are c2w (F,4,4) in OpenCV axes and scene units, up is +Z,
lenses are millimetres on film whose longer side has 36. Every figure of length is a share of what the view is deep.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

UP = np.array([0.0, 0.0, 1.0])
FILM = 36.0  # mm
GRID = (16, 10)  # rays that stand for a picture
TRIES = 160  # random paths before a scene is given up
CLEAR = 0.04  # of the view's depth: nearer than this the camera touches something
NEAR, MOST_NEAR = 0.12, 0.12  # of the view's depth, and of the picture: something stands in the way
NEAREST_MIDDLE = 0.3  # of the view's depth: the picture's median may come this near
COVERED = 0.35  # of the picture that shows something, unless the scene's own view shows less
MOST_BEHIND = 0.15  # of the picture, more than in the scene's own view: seen from behind, so from within
FLAT = 1.25  # far over near: less than this, and one thing only, is a wall and no picture
LENSES = (14.0, 85.0)
AROUND = np.array([(x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if (x, y, z) != (0, 0, 0)])
AROUND = AROUND / np.linalg.norm(AROUND, axis=1, keepdims=True)


@dataclass(frozen=True)
class Hits:
    """What rays meet first."""

    distance: np.ndarray  # (N,) along the ray, inf where nothing
    behind: np.ndarray  # (N,) bool: the back of a face
    thing: np.ndarray  # (N,) int: which object; 0 nothing


Cast = Callable[[np.ndarray, np.ndarray], Hits]  # origin (3,), unit directions (N,3)


@dataclass(frozen=True)
class Path:
    kind: str
    c2w: np.ndarray  # (F,4,4)
    lens: np.ndarray  # (F,)


@dataclass(frozen=True)
class Stand:
    """A place to film from, and what is filmed."""

    eye: np.ndarray  # (3,)
    focus: np.ndarray  # (3,)
    lens: float

    @property
    def reach(self) -> float:
        return float(np.linalg.norm(self.focus - self.eye))

    @property
    def c2w(self) -> np.ndarray:
        return aimed(self.eye, self.focus)


@dataclass(frozen=True)
class View:
    """What a camera sees, in figures."""

    deep: float  # median distance, units; inf where it sees nothing
    nearest: float  # its tenth part
    covered: float  # share of the picture
    behind: float  # share of the picture
    things: int
    flat: float  # far over near


# --- poses --------------------------------------------------------------------------------------------------------


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


def aimed(eye: np.ndarray, focus: np.ndarray) -> np.ndarray:
    """(4,4): level, unless it looks straight up or down."""
    ahead = unit(focus - eye)
    level = np.cross(ahead, UP)
    right = unit(level) if np.linalg.norm(level) > 1e-3 else np.array([1.0, 0.0, 0.0])
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(ahead, right), ahead], 1)
    pose[:3, 3] = eye
    return pose


def turned(pose: np.ndarray, pan: float, tilt: float, roll: float = 0.0) -> np.ndarray:
    """Degrees: to the left about the vertical, up about the camera's right, clockwise about its view."""
    right, _, ahead = pose[:3, :3].T
    turn = _about(UP, pan) @ _about(right, tilt) @ _about(ahead, roll)
    out = pose.copy()
    out[:3, :3] = turn @ pose[:3, :3]
    return out


def _about(axis: np.ndarray, degrees: float) -> np.ndarray:
    """Rodrigues' rotation."""
    angle = np.radians(degrees)
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def intrinsics(lens: float, size: tuple[int, int]) -> np.ndarray:
    """(3,3) in pixels."""
    focal = lens / FILM * max(size)
    return np.array([[focal, 0, size[0] / 2], [0, focal, size[1] / 2], [0, 0, 1.0]])


# --- film's moves -------------------------------------------------------------------------------------------------


def beats(frames: int) -> np.ndarray:
    """Frames counted from the middle of the path, where the camera stands as it was chosen."""
    return np.arange(frames) - (frames - 1) / 2


def either(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high) * rng.choice([-1, 1]))


def static(stand: Stand, frames: int, rng: np.random.Generator) -> Path:
    return _path("static", stand, [stand.c2w] * frames)


def truck(stand: Stand, frames: int, rng: np.random.Generator) -> Path:
    return _slid("truck", stand, frames, stand.c2w[:3, 0] * stand.reach * either(rng, 0.008, 0.035))


def dolly(stand: Stand, frames: int, rng: np.random.Generator) -> Path:
    level = unit(stand.c2w[:3, 2] * [1, 1, 0] + 1e-9)
    return _slid("dolly", stand, frames, level * stand.reach * either(rng, 0.008, 0.03))


def _slid(kind: str, stand: Stand, frames: int, step: np.ndarray) -> Path:
    """Straight on, the view's direction held."""
    poses = np.repeat(stand.c2w[None], frames, 0)
    poses[:, :3, 3] += beats(frames)[:, None] * step
    return _path(kind, stand, poses)


def crane(stand: Stand, frames: int, rng: np.random.Generator) -> Path:
    """Up or down, in or out by less, the focus held."""
    step = stand.reach * (UP * either(rng, 0.01, 0.03) + stand.c2w[:3, 2] * either(rng, 0, 0.012))
    return _path("crane", stand, [aimed(stand.eye + t * step, stand.focus) for t in beats(frames)])


def pan(stand: Stand, frames: int, rng: np.random.Generator) -> Path:
    pace = either(rng, 0.4, 2.2)
    return _path("pan", stand, [turned(stand.c2w, pace * t, 0) for t in beats(frames)])


def tilt(stand: Stand, frames: int, rng: np.random.Generator) -> Path:
    pace = either(rng, 0.3, 1.2)
    return _path("tilt", stand, [turned(stand.c2w, 0, pace * t) for t in beats(frames)])


def orbit(stand: Stand, frames: int, rng: np.random.Generator) -> Path:
    pace = either(rng, 0.7, 2.6)
    arm = stand.eye - stand.focus
    return _path("orbit", stand, [aimed(stand.focus + _about(UP, pace * t) @ arm, stand.focus) for t in beats(frames)])


def hand_held(stand: Stand, frames: int, rng: np.random.Generator) -> Path:
    """A slow walk that trembles in place and direction."""
    walk = stand.reach * (stand.c2w[:3, 2] * rng.uniform(0, 0.01) + stand.c2w[:3, 0] * either(rng, 0, 0.006))
    place = stand.reach * 0.004 * tremble(frames, 3, rng)
    angle = 0.35 * tremble(frames, 3, rng)
    poses = [turned(stand.c2w, *angle[i]) for i in range(frames)]
    for i, t in enumerate(beats(frames)):
        poses[i][:3, 3] += t * walk + place[i]
    return _path("hand-held", stand, poses)


def tremble(frames: int, axes: int, rng: np.random.Generator) -> np.ndarray:
    """(F,axes) of deviation 1: random pushes, smoothed over three frames."""
    pushes = rng.normal(size=(frames + 2, axes))
    return (pushes[:-2] + pushes[1:-1] + pushes[2:]) / np.sqrt(3)


def dolly_zoom(stand: Stand, frames: int, rng: np.random.Generator) -> Path:
    """Along the view axis; the lens keeps the focus at its size."""
    ahead, pace = stand.c2w[:3, 2], either(rng, 0.01, 0.03)
    away = 1 - beats(frames) * pace  # of the reach
    poses = np.repeat(stand.c2w[None], frames, 0)
    poses[:, :3, 3] = stand.focus - away[:, None] * stand.reach * ahead
    return Path("dolly zoom", poses, stand.lens * away)


def _path(kind: str, stand: Stand, poses: Sequence[np.ndarray] | np.ndarray) -> Path:
    return Path(kind, np.array(poses, np.float64), np.full(len(poses), stand.lens))


MOVES: dict[str, Callable[[Stand, int, np.random.Generator], Path]] = {
    "truck": truck, "dolly": dolly, "crane": crane, "pan": pan, "tilt": tilt, "orbit": orbit, "hand-held": hand_held,
    "dolly zoom": dolly_zoom, "static": static}


# --- what is seen -------------------------------------------------------------------------------------------------


def view_rays(c2w: np.ndarray, lens: float, size: tuple[int, int]) -> np.ndarray:
    """(N,3) unit: a grid of rays over the picture, row by row."""
    across, down = GRID
    u, v = np.meshgrid((np.arange(across) + 0.5) / across * size[0], (np.arange(down) + 0.5) / down * size[1])
    pixels = np.stack([u, v, np.ones_like(u)], -1).reshape(-1, 3)
    rays = pixels @ np.linalg.inv(intrinsics(lens, size)).T @ c2w[:3, :3].T
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)


def view(cast: Cast, c2w: np.ndarray, lens: float, size: tuple[int, int]) -> View:
    hits = cast(c2w[:3, 3], view_rays(c2w, lens, size))
    met = np.isfinite(hits.distance)
    if not met.any():
        return View(np.inf, np.inf, 0.0, 0.0, 0, 1.0)
    near, middle, far = np.quantile(hits.distance[met], (0.1, 0.5, 0.9))
    return View(float(middle), float(near), float(met.mean()), float((hits.behind & met).mean()),
                len(np.unique(hits.thing[met])), float(far / max(near, 1e-9)))


def sees_enough(cast: Cast, c2w: np.ndarray, lens: float, size: tuple[int, int], own: View) -> bool:
    """As much as the scene's own view does, nothing large right before the lens, no wall alone, nothing from within."""
    hits = cast(c2w[:3, 3], view_rays(c2w, lens, size))
    met, seen = np.isfinite(hits.distance), view(lambda *_: hits, c2w, lens, size)
    in_the_way = (hits.distance[met] < NEAR * own.deep).sum() / len(met)
    return (seen.covered >= min(COVERED, 0.8 * own.covered) and in_the_way <= MOST_NEAR
            and seen.deep >= NEAREST_MIDDLE * own.deep and seen.behind <= own.behind + MOST_BEHIND
            and (seen.things > 1 or seen.flat > FLAT))


def has_room(cast: Cast, eye: np.ndarray, deep: float) -> bool:
    return bool(cast(eye, AROUND).distance.min() > CLEAR * deep)


def is_free(cast: Cast, start: np.ndarray, end: np.ndarray, deep: float) -> bool:
    """Whether nothing stands between two places."""
    way = end - start
    length = float(np.linalg.norm(way))
    return length < 1e-9 or bool(cast(start, way[None] / length).distance[0] > length + CLEAR * deep)


def is_good(cast: Cast, path: Path, size: tuple[int, int], own: View) -> bool:
    """Every pose has room and sees enough, and no wall stands between two of them."""
    eyes = path.c2w[:, :3, 3]
    return (all(has_room(cast, eye, own.deep) for eye in eyes)
            and all(is_free(cast, a, b, own.deep) for a, b in itertools.pairwise(eyes))
            and all(sees_enough(cast, pose, lens, size, own) for pose, lens in zip(path.c2w, path.lens)))


# --- finding one --------------------------------------------------------------------------------------------------


def find(cast: Cast, c2w: np.ndarray, lens: float, size: tuple[int, int], frames: int, kinds: Sequence[str],
         rng: np.random.Generator) -> Path | None:
    """A path of one of the kinds near a camera that sees the scene; None where TRIES of them all fail."""
    own = view(cast, c2w, lens, size)
    if not np.isfinite(own.deep):
        return None
    for _ in range(TRIES):
        stand = beside(cast, c2w, lens, size, own, rng)
        if stand is None:
            continue
        path = MOVES[str(rng.choice(list(kinds)))](stand, frames, rng)
        if is_good(cast, path, size, own):
            return path
    return None


def beside(cast: Cast, c2w: np.ndarray, lens: float, size: tuple[int, int], own: View,
           rng: np.random.Generator) -> Stand | None:
    """Another place from which something that the camera sees is seen, with nothing between the two places."""
    eye, rays = c2w[:3, 3], view_rays(c2w, lens, size)
    hits = cast(eye, rays)
    met = np.flatnonzero(np.isfinite(hits.distance) & (hits.distance > NEAR * own.deep))
    if not len(met):
        return None
    ray = int(rng.choice(met, p=_central(met)))
    focus = eye + rays[ray] * min(float(hits.distance[ray]), 2 * own.deep)
    arm = (eye - focus) * rng.uniform(0.55, 1.15)
    arm = _about(UP, rng.normal(0, 25)) @ _about(unit(np.cross(arm, UP) + 1e-9), rng.normal(0, 8)) @ arm
    place = focus + arm
    if not is_free(cast, eye, place, own.deep):
        return None
    wanted = float(np.clip(lens * np.exp(rng.normal(0, 0.25)), *LENSES))
    return Stand(place, focus, wanted)


def _central(rays: np.ndarray) -> np.ndarray:
    """How likely a ray of the grid is what is filmed: the more, the nearer to the picture's middle."""
    across, down = GRID
    off = np.hypot((rays % across + 0.5) / across - 0.5, (rays // across + 0.5) / down - 0.5)
    weight = np.exp(-((off / 0.3) ** 2))
    return weight / weight.sum()


def survey(cast: Cast, centre: np.ndarray, radius: float, size: tuple[int, int], rng: np.random.Generator,
           ) -> tuple[np.ndarray, float] | None:
    """A pose and a lens from which a scene without a camera is seen: from outside, or from within its middle."""
    for number in range(TRIES):
        lens, around = 32.0, rng.uniform(0, 2 * np.pi)
        flat = np.array([np.cos(around), np.sin(around), 0.0])
        if number % 2:
            rise = np.tan(np.radians(rng.uniform(6, 35)))
            pose = aimed(centre + radius * rng.uniform(1.1, 2.2) * unit(flat + rise * UP), centre)
        else:
            pose = aimed(place := centre + rng.uniform(-0.4, 0.4, 3) * radius * [1, 1, 0.5], place + flat)
        own = view(cast, pose, lens, size)
        if np.isfinite(own.deep) and own.covered > 0.2 and has_room(cast, pose[:3, 3], own.deep) \
                and sees_enough(cast, pose, lens, size, View(own.deep, own.nearest, COVERED, 0.0, 1, 1.0)):
            return pose, lens
    return None
