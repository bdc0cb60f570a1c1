"""A camera path, in a cinematographer's words with amounts: pan, tilt, dolly, crane, orbit, zoom. Pure numpy.

The path is what `camera.npz` holds: `c2w` in OpenCV axes, `K` in pixels; up is Blender's +Z. Knows no scene: how far
things are it learns only from where the camera keeps looking.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

UP = np.array([0.0, 0.0, 1.0])
LEAST_TURN = 1.0  # degrees: less is no move
LEAST_SHARE = 0.2  # of the largest part of the way: a smaller part is not worth a word
LEAST_WAY = 1e-5  # of the distance from the origin: float32 matrices tremble by a hundredth of this
LEAST_ZOOM = 0.02  # change of the focal length, relative
STEEP = 0.95  # sine of the elevation from which pan and roll can't be told apart by the horizon
LEAST_ARC = 10.0  # degrees about a point, to be an orbit
SHAKE_TURN, SHAKE_WAY = 0.03, 0.005  # degrees, and share of the way: rms about a smooth path, to be hand-held


@dataclass(frozen=True)
class Course:
    """One part of a move over time."""

    values: np.ndarray  # (F,) running total; 0 at first

    @property
    def net(self) -> float:
        return float(self.values[-1])

    @property
    def spread(self) -> float:
        return float(np.ptp(self.values))

    @property
    def returns(self) -> bool:
        """Most of the way out is undone on the way back."""
        return self.spread > 2 * abs(self.net)

    @property
    def amount(self) -> float:
        return self.spread if self.returns else abs(self.net)


@dataclass(frozen=True)
class Orbit:
    right: float  # degrees that the camera travels about the point, to its right
    up: float  # degrees
    radius: float  # units


def camera_move(c2w: np.ndarray, K: np.ndarray, metres: float | None = None) -> str:
    """"dolly in 3.2 m, pan left 12 degrees". `metres` per unit; without it, amounts are in units."""
    if len(c2w) < 2:
        return "static"
    ways, turns = _ways(c2w), _turns(c2w)
    words = _way_words(c2w, K, ways, turns, metres)
    if not words:
        return "static"
    return ", ".join(words)


def _way_words(c2w: np.ndarray, K: np.ndarray, ways: dict[str, Course], turns: dict[str, Course],
               metres: float | None) -> list[str]:
    told = {name: way for name, way in ways.items() if _worth_telling(way, ways, c2w)}
    told |= {name: turn for name, turn in turns.items() if turn.amount >= LEAST_TURN}
    zoom = float(K[-1, 0, 0] / K[0, 0, 0])
    shaking = is_hand_held(c2w)
    words = []
    orbit = None if shaking else find_orbit(c2w)
    if orbit:
        words.append(_orbit_word(orbit, metres))
        told = {name: course for name, course in told.items() if name == "roll"}
    if "dolly" in told and (zoom - 1) * told["dolly"].net < 0 and max(zoom, 1 / zoom) > 1.1:
        way = told.pop("dolly")
        words.append(f"dolly zoom: {_direction('dolly', way)} {_length(way.amount, metres)} while the view "
                     f"{'widens' if zoom < 1 else 'narrows'} {max(zoom, 1 / zoom):.3g} times")
        zoom = 1.0
    words += [_word(name, course, told, metres) for name, course in told.items()]
    if abs(zoom - 1) > LEAST_ZOOM:
        words.append(f"zoom {'in' if zoom > 1 else 'out'} {max(zoom, 1 / zoom):.3g} times")
    return [*words, "hand-held"] if shaking else words


def _worth_telling(way: Course, ways: dict[str, Course], c2w: np.ndarray) -> bool:
    largest = max(other.amount for other in ways.values())
    return way.amount >= max(LEAST_SHARE * largest, LEAST_WAY * max(1.0, float(np.abs(c2w[:, :3, 3]).max())))


# --- words --------------------------------------------------------------------------------------------------------

DIRECTIONS = {"dolly": ("out", "in"), "truck": ("left", "right"), "pedestal": ("down", "up"), "pan": ("right", "left"),
              "tilt": ("down", "up"), "roll": ("counter-clockwise", "clockwise")}


def _direction(name: str, course: Course) -> str:
    return DIRECTIONS[name][course.net > 0]


def _word(name: str, course: Course, told: dict[str, Course], metres: float | None) -> str:
    is_way = name in ("dolly", "truck", "pedestal")
    amount = _length(course.amount, metres) if is_way else f"{course.amount:.3g} degrees"
    lifted = name == "pedestal" and not told.keys().isdisjoint(("dolly", "truck", "tilt"))
    direction = "back and forth" if course.returns else _direction(name, course)
    return f"{'crane' if lifted else name} {direction} {amount}"


def _orbit_word(orbit: Orbit, metres: float | None) -> str:
    sideways = abs(orbit.right) >= abs(orbit.up)
    direction = ("right" if orbit.right > 0 else "left") if sideways else ("up" if orbit.up > 0 else "down")
    arc = abs(orbit.right if sideways else orbit.up)
    return f"orbit {direction} {arc:.3g} degrees around a point {_length(orbit.radius, metres)} away"


def _length(units: float, metres: float | None) -> str:
    return f"{units:.3g} units" if metres is None else f"{units * metres:.3g} m"


# --- measures -----------------------------------------------------------------------------------------------------


def _ways(c2w: np.ndarray) -> dict[str, Course]:
    """Dolly, truck and pedestal: the way split along the level view axis, to its right, and up."""
    step = np.diff(c2w[:, :3, 3], axis=0)
    ahead, right, up = _level_axes(c2w)
    return {name: _course(np.einsum("fi,fi->f", step, axis))
            for name, axis in (("dolly", ahead), ("truck", right), ("pedestal", up))}


def _level_axes(c2w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(F-1,3) each, between frames. Looking steeply up or down the camera's own axes take the horizon's place."""
    middle = c2w[:-1, :3, :3] + c2w[1:, :3, :3]
    ahead, right, up = middle[..., 2], middle[..., 0], -middle[..., 1]
    ahead = ahead / np.maximum(np.linalg.norm(ahead, axis=-1, keepdims=True), 1e-12)
    steep = np.abs(ahead @ UP)[:, None] > STEEP
    level = ahead - (ahead @ UP)[:, None] * UP
    ahead, up = np.where(steep, ahead, level), np.where(steep, up, UP)
    right = np.where(steep, right, np.cross(level, UP))
    unit = lambda v: v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12)  # noqa: E731 - thrice, one line
    return unit(ahead), unit(right), unit(up)


def _turns(c2w: np.ndarray) -> dict[str, Course]:
    """Pan about the vertical, tilt about the camera's right, roll about its view axis, in degrees; no Euler angles."""
    rates = _rotation_steps(c2w)  # (F-1,3) world, radians
    right, down, ahead = np.moveaxis((c2w[:-1, :3, :3] + c2w[1:, :3, :3]) / 2, -1, 0)  # half-way: right to second order
    steep = np.abs(ahead[:, 2:]) > STEEP
    vertical = np.where(steep, -down, UP)
    axes = np.stack([vertical, right, ahead], -1)  # rate = pan * vertical + tilt * right + roll * ahead
    parts = np.degrees(np.linalg.solve(axes, rates[..., None])[..., 0])
    return {name: _course(parts[:, i]) for i, name in enumerate(("pan", "tilt", "roll"))}


def _rotation_steps(c2w: np.ndarray) -> np.ndarray:
    """(F-1,3) axis times angle, world axes, from each frame to the next."""
    turn = c2w[1:, :3, :3] @ np.swapaxes(c2w[:-1, :3, :3], -1, -2)
    skew = np.stack([turn[:, 2, 1] - turn[:, 1, 2], turn[:, 0, 2] - turn[:, 2, 0], turn[:, 1, 0] - turn[:, 0, 1]], -1)
    sine = np.linalg.norm(skew, axis=-1) / 2
    angle = np.arctan2(sine, (np.trace(turn, axis1=1, axis2=2) - 1) / 2)
    return skew / 2 * (angle / np.maximum(sine, 1e-12))[:, None]


def _course(steps: np.ndarray) -> Course:
    return Course(np.concatenate([[0.0], np.cumsum(steps)]))


def find_orbit(c2w: np.ndarray) -> Orbit | None:
    """The point that the camera keeps in its middle and at one distance, if it travels round one."""
    place, ahead = c2w[:, :3, 3], c2w[:, :3, 2]
    across = np.eye(3) - ahead[:, :, None] * ahead[:, None, :]  # what of a way is not along the view axis
    spread = across.sum(0)
    if np.linalg.eigvalsh(spread)[0] < 1e-3 * len(c2w):  # parallel views meet nowhere
        return None
    point = np.linalg.solve(spread, np.einsum("fij,fj->i", across, place))
    arm = place - point
    distance = np.linalg.norm(arm, axis=-1)
    radius = float(distance.mean())
    miss = np.linalg.norm(np.einsum("fij,fj->fi", across, arm), axis=-1).max()
    behind = (np.einsum("fi,fi->f", arm, ahead) >= 0).any()
    if radius < 1e-9 or behind or miss > 0.05 * radius or np.ptp(distance) > 0.2 * radius:
        return None
    right, up = _arc(arm)
    return Orbit(right, up, radius) if np.hypot(right, up) >= LEAST_ARC else None


def _arc(arm: np.ndarray) -> tuple[float, float]:
    """Degrees travelled (to the camera's right, up) about the point that the arms start from."""
    azimuth = np.unwrap(np.arctan2(arm[:, 1], arm[:, 0]))
    elevation = np.arctan2(arm[:, 2], np.hypot(arm[:, 0], arm[:, 1]))
    return float(np.degrees(azimuth[-1] - azimuth[0])), float(np.degrees(elevation[-1] - elevation[0]))


def is_hand_held(c2w: np.ndarray) -> bool:
    """Two courses or more that tremble: they change their mind often, and by more than a smooth path would."""
    if len(c2w) < 12:
        return False
    turns = np.stack([turn.values for turn in _turns(c2w).values()], -1)
    ways = np.stack([way.values for way in _ways(c2w).values()], -1)
    length = max(float(np.ptp(ways, axis=0).max()), 1e-12)
    trembling = [_trembles(turns[:, i], SHAKE_TURN) for i in range(3)]
    if length > LEAST_WAY * max(1.0, float(np.abs(c2w[:, :3, 3]).max())):
        trembling += [_trembles(ways[:, i], SHAKE_WAY * length) for i in range(3)]
    return sum(trembling) >= 2


def _trembles(values: np.ndarray, least: float) -> bool:
    time = np.linspace(-1, 1, len(values))
    residual = values - np.polynomial.Polynomial.fit(time, values, 5)(time)
    push = np.diff(values, 2)
    push = push[np.abs(push) > 0.02 * least]  # rounding is no push
    changes = np.count_nonzero(np.diff(np.sign(push)))
    return bool(residual.std() > least and changes >= max(4, len(values) / 8))
