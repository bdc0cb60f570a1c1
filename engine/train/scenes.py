"""Procedural scenes, ray-cast in torch: exact depth, normal, base colour, gloss, emission, index, shadows and lamps.

A scene is a list of boxes, ellipsoids and cones on a ground, plus a camera path. Nothing is learnt here, and nothing here
is shown to the engine: it sees the same passes that Blender would give it. World z up, units are metres.
Shapes: F frames, R = H x W rays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..conditions import Lamp
from ..geometry.value_noise import value_noise
from ..passes import GAMMA
from .captions import COLOURS, Brief

# patterns of a surface's colour
PLAIN, BRICK, STONE, WOOD, GLASS, LEAVES, GROUND, TILES, COBBLES, GLOWING, WATER, CHECKER = range(12)
WALL = {  # material -> linear colours, pattern
    "brick": (((0.55, 0.17, 0.11), (0.45, 0.22, 0.16), (0.5, 0.3, 0.22)), BRICK),
    "plaster": (((0.82, 0.80, 0.74), (0.75, 0.65, 0.5), (0.7, 0.6, 0.58)), PLAIN),
    "stone": (((0.42, 0.42, 0.43), (0.5, 0.45, 0.38)), STONE),
    "wood": (((0.40, 0.24, 0.11), (0.28, 0.16, 0.08), (0.5, 0.36, 0.2)), WOOD),
    "glass": (((0.25, 0.36, 0.5), (0.4, 0.48, 0.5)), GLASS),
    "paint": (((0.80, 0.58, 0.14), (0.2, 0.45, 0.22), (0.2, 0.35, 0.6), (0.7, 0.25, 0.2), (0.6, 0.35, 0.5)), PLAIN),
}
HAS_WINDOWS = frozenset((PLAIN, BRICK, STONE, WOOD, GLASS))
GROUND_INDEX, FIRST_INDEX = 1, 2  # of the ground and of the first shape in the index pass; 0 is the sky
STRIDE = 24.0  # frames of a swing to and fro
PANE = 3.0  # windows are this many metres apart


@dataclass
class Shape:
    """A box (half sizes a), ellipsoid (radii a) or cone (a = radius below, radius above, height; centre at its foot)."""

    kind: str
    centre: tuple[float, float, float]
    a: tuple[float, float, float]
    colour: tuple[float, float, float] = (0.5, 0.5, 0.5)  # linear
    pattern: int = PLAIN
    yaw: float = 0.0
    velocity: tuple[float, float, float] = (0.0, 0.0, 0.0)  # metres a frame
    inside: bool = False  # a room: seen from within
    windows: bool = False
    gloss: float = 0.0
    swing: tuple[float, float, float] = (0.0, 0.0, 0.0)  # metres to either side of where the velocity brings it
    phase: float = 0.0  # radians of the swing at frame 0
    name: str = ""  # what an artist would call it, where its pattern does not tell

    @property
    def moves(self) -> bool:
        return any(self.velocity) or any(self.swing)

    def moved(self, frame: Tensor) -> list[Tensor | float]:
        """How far from its first place it is along x, y and z at some frames (any shape); 0.0 along what it keeps."""
        turned = torch.sin(frame * (2 * math.pi / STRIDE) + self.phase) - math.sin(self.phase)
        return [frame * v + turned * s if v or s else 0.0 for v, s in zip(self.velocity, self.swing, strict=True)]


@dataclass
class Scene:
    shapes: list[Shape] = field(default_factory=list)
    ground: tuple[float, float, float] | None = (0.3, 0.3, 0.2)
    ground_pattern: int = GROUND
    hills: float = 0.0  # metres
    seed: float = 0.0
    lamps: list[Lamp] = field(default_factory=list)
    c2w: np.ndarray = field(default_factory=lambda: np.eye(4)[None])  # (F, 4, 4)
    focal: np.ndarray = field(default_factory=lambda: np.ones(1))  # (F,) of half the width


# ---------------------------------------------------------------- what stands where

Rng = np.random.Generator


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def _shade(rng: Rng, colour: tuple, spread: float = 0.15) -> tuple[float, float, float]:
    c = np.array(colour) * (1 + rng.uniform(-spread, spread, 3) * 0.5 + rng.uniform(-spread, spread))
    return _triple(np.clip(c, 0.01, 0.95))


def _wall(rng: Rng, material: str) -> tuple[tuple[float, float, float], int]:
    colours, pattern = WALL[material]
    return _shade(rng, colours[rng.integers(len(colours))]), pattern


def _tree(rng: Rng, x: float, y: float, z: float = 0.0) -> list[Shape]:
    height, green = rng.uniform(3, 9), _shade(rng, (0.08, 0.22, 0.06), 0.4)
    trunk = Shape("cone", (x, y, z), (0.18, 0.12, height * 0.5), (0.16, 0.09, 0.05), WOOD)
    if rng.random() < 0.5:
        return [trunk, Shape("cone", (x, y, z + 0.8), (height * 0.26, 0.03, height), green, LEAVES)]
    r = height * 0.3
    return [trunk, Shape("ellipsoid", (x, y, z + height * 0.6), (r, r, r * rng.uniform(0.7, 1.2)), green, LEAVES)]


def _house(rng: Rng, x: float, y: float, material: str) -> list[Shape]:
    w, d, h, yaw = rng.uniform(2, 4), rng.uniform(2, 4), rng.uniform(1.4, 3), rng.uniform(-0.5, 0.5)
    colour, pattern = _wall(rng, material)
    body = Shape("box", (x, y, h), (w, d, h), colour, pattern, yaw, windows=True)
    roof = _shade(rng, (0.35, 0.14, 0.09) if rng.random() < 0.7 else (0.2, 0.2, 0.22))
    return [body, Shape("cone", (x, y, 2 * h), (max(w, d) * 1.35, 0.05, rng.uniform(1.2, 2.8)), roof, TILES)]


def _street(rng: Rng, brief: Brief) -> Scene:
    s, width = (
        Scene(ground=_shade(rng, (0.2, 0.2, 0.21)), ground_pattern=COBBLES if rng.random() < 0.5 else GROUND),
        rng.uniform(4.5, 8),
    )
    for side in (-1, 1):
        y = -6.0
        while y < 50:
            w, d, h = rng.uniform(2.5, 5), rng.uniform(3, 6), rng.uniform(2.5, 10)
            colour, pattern = _wall(rng, brief.material)
            s.shapes.append(Shape("box", (side * (width + d), y + w, h), (d, w, h), colour, pattern, windows=True))
            y += 2 * w + (rng.uniform(0, 2) if rng.random() < 0.4 else 0)
    for k in range(4):
        s.shapes.append(
            Shape(
                "cone", ((-1) ** k * (width - 1), k * 9 + rng.uniform(0, 3), 0), (0.09, 0.07, 4.5), (0.08, 0.08, 0.08)
            )
        )
    return s


def _village(rng: Rng, brief: Brief) -> Scene:
    s = Scene(ground=_shade(rng, (0.20, 0.27, 0.10)), hills=rng.uniform(0, 0.3))
    for _ in range(8):
        x, y = rng.uniform(-20, 20), rng.uniform(3, 42)
        s.shapes += _house(rng, x + math.copysign(4.5, x), y, brief.material)
    for _ in range(4):
        x = rng.uniform(-14, 14)
        s.shapes += _tree(rng, x + math.copysign(3, x), rng.uniform(4, 34))
    return s


def _desert(rng: Rng, brief: Brief) -> Scene:
    s = Scene(ground=_shade(rng, (0.70, 0.52, 0.30)), hills=rng.uniform(0.6, 2.0))
    for _ in range(6):
        a = (rng.uniform(0.6, 2.5), rng.uniform(0.6, 2.5), rng.uniform(1, 3.5))
        s.shapes.append(
            Shape(
                "box",
                (rng.uniform(-14, 14), rng.uniform(6, 38), a[2] * 0.8),
                a,
                _shade(rng, (0.6, 0.45, 0.28)),
                STONE,
                rng.uniform(0, 3),
            )
        )
    for _ in range(5):
        r = rng.uniform(0.5, 2.2)
        s.shapes.append(
            Shape(
                "ellipsoid",
                (rng.uniform(-14, 14), rng.uniform(5, 36), 0),
                (r, r, r * 0.8),
                _shade(rng, (0.5, 0.38, 0.26)),
                STONE,
            )
        )
    return s


def _forest(rng: Rng, brief: Brief) -> Scene:
    s = Scene(ground=_shade(rng, (0.15, 0.20, 0.07)), hills=rng.uniform(0, 0.7))
    for _ in range(11):
        x = rng.uniform(-16, 16)
        s.shapes += _tree(rng, x + math.copysign(2.0, x), rng.uniform(4, 36), -0.3)
    for _ in range(3):
        r = rng.uniform(0.4, 1.3)
        s.shapes.append(
            Shape(
                "ellipsoid",
                (rng.uniform(-9, 9), rng.uniform(4, 24), 0),
                (r, r, r * 0.7),
                _shade(rng, (0.36, 0.36, 0.34)),
                STONE,
            )
        )
    return s


def _mountains(rng: Rng, brief: Brief) -> Scene:
    s = Scene(ground=_shade(rng, (0.28, 0.27, 0.18)), hills=rng.uniform(1.5, 4))
    for _ in range(5):
        s.shapes.append(
            Shape(
                "cone",
                (rng.uniform(-60, 60), rng.uniform(45, 90), -4),
                (rng.uniform(14, 28), 0.5, rng.uniform(14, 34)),
                _shade(rng, (0.36, 0.33, 0.31)),
                STONE,
            )
        )
    for _ in range(5):
        s.shapes += _tree(rng, rng.uniform(-14, 14), rng.uniform(6, 34), -1.0)
    return s


def _harbour(rng: Rng, brief: Brief) -> Scene:
    s = Scene(ground=_shade(rng, (0.06, 0.12, 0.14)), ground_pattern=WATER)
    s.shapes.append(Shape("box", (-9, 20, 0.1), (6, 30, 0.5), _shade(rng, (0.4, 0.38, 0.35)), COBBLES))
    for k in range(5):
        s.shapes += [
            Shape(
                h.kind,
                (h.centre[0], h.centre[1], h.centre[2] + 0.5),
                h.a,
                h.colour,
                h.pattern,
                h.yaw,
                windows=h.windows,
            )
            for h in _house(rng, -11, 4 + 8 * k, brief.material)
        ]
    for _ in range(3):
        colour = _shade(rng, list(COLOURS.values())[rng.integers(len(COLOURS))])
        x, y = rng.uniform(0, 8), rng.uniform(6, 30)
        s.shapes += [
            Shape("ellipsoid", (x, y, 0.2), (0.9, 2.4, 0.6), colour),
            Shape("cone", (x, y, 0.5), (0.07, 0.05, 4), (0.3, 0.2, 0.1), WOOD),
        ]
    return s


def _room(rng: Rng, brief: Brief) -> Scene:
    w, d, h = rng.uniform(2.5, 4.5), rng.uniform(4, 7), rng.uniform(1.3, 1.9)
    colour, pattern = _wall(rng, brief.material)
    s = Scene(ground=_shade(rng, (0.32, 0.19, 0.10)), ground_pattern=WOOD if rng.random() < 0.6 else CHECKER)
    s.shapes.append(Shape("box", (0, d - 3, h - 0.01), (w, d, h), colour, pattern, inside=True))
    for _ in range(7):
        a = (rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.8), rng.uniform(0.15, 0.8))
        x, y = rng.uniform(-w + a[0], w - a[0]), rng.uniform(1.5, 2 * d - 4)
        material = _wall(rng, list(WALL)[rng.integers(len(WALL))])
        s.shapes.append(
            Shape(
                "box",
                (x, y, a[2]),
                a,
                material[0],
                material[1],
                rng.uniform(-0.4, 0.4),
                gloss=0.5 * (rng.random() < 0.2),
            )
        )
    for _ in range(3):
        r = rng.uniform(0.12, 0.35)
        s.shapes.append(
            Shape(
                "ellipsoid",
                (rng.uniform(-w, w) * 0.7, rng.uniform(1.5, d), r),
                (r, r, r),
                _shade(rng, list(COLOURS.values())[rng.integers(len(COLOURS))]),
                gloss=0.8 * (rng.random() < 0.3),
            )
        )
    for side in (-1, 1):  # panes and pictures on the walls
        s.shapes.append(
            Shape(
                "box",
                (side * w, rng.uniform(2, d), h),
                (0.05, 0.6, 0.5),
                _shade(rng, (0.5, 0.55, 0.6), 0.3),
                PLAIN,
                gloss=0.9 * (rng.random() < 0.6),
            )
        )
    s.shapes.append(
        Shape("box", (rng.uniform(-1, 1), 2 * d - 3, h), (0.7, 0.05, 0.5), _shade(rng, (0.4, 0.3, 0.3), 0.6), CHECKER)
    )
    return s


def _blocks(rng: Rng, brief: Brief) -> Scene:
    s = Scene(ground=_shade(rng, (0.4, 0.4, 0.4), 0.5), ground_pattern=int(rng.choice([PLAIN, CHECKER, WOOD, GROUND])))
    for _ in range(9):
        r, x, y = rng.uniform(0.4, 1.6), rng.uniform(-8, 8), rng.uniform(3, 22)
        colour = (
            _wall(rng, brief.material)
            if rng.random() < 0.6
            else (_shade(rng, list(COLOURS.values())[rng.integers(len(COLOURS))]), PLAIN)
        )
        kind = ("box", "ellipsoid", "cone")[rng.integers(3)]
        a = (r, r * rng.uniform(0.6, 1.4), r) if kind != "cone" else (r, rng.uniform(0.05, r), 2 * r)
        s.shapes.append(
            Shape(
                kind,
                (x, y, 0 if kind == "cone" else r),
                a,
                *colour,
                rng.uniform(0, 3),
                gloss=0.7 * (rng.random() < 0.15),
            )
        )
    return s


PLACE_MAKERS = {"street": _street, "village": _village, "desert": _desert, "forest": _forest, "mountains": _mountains, "harbour": _harbour, "room": _room, "blocks": _blocks}  # fmt: skip


SKIN, TROUSERS = (0.62, 0.42, 0.30), (0.06, 0.06, 0.09)


QUAY = (-4.4, 0.6)  # of a harbour: x along its edge, and how high it lies


def _on_ground(scene: Scene, x: float, y: float) -> float:
    return float(_height(torch.tensor([x, y]), scene)) if scene.hills else 0.0


def _add_figure(rng: Rng, scene: Scene, colour: str, on_quay: bool = False) -> None:
    """Someone who walks: a coat, a head, legs and arms that swing against each other."""
    x, y, angle = rng.uniform(-2, 2), rng.uniform(4, 9), rng.uniform(0, 2 * math.pi)
    x, angle = (QUAY[0], math.copysign(math.pi / 2, x)) if on_quay else (x, angle)
    velocity = (math.cos(angle) * 0.06, math.sin(angle) * 0.06, 0.0)
    forward, beside = np.array([math.cos(angle), math.sin(angle), 0]), np.array([-math.sin(angle), math.cos(angle), 0])
    phase, at = float(rng.uniform(0, 2 * math.pi)), np.array([x, y, QUAY[1] if on_quay else _on_ground(scene, x, y)])

    def part(kind: str, place: np.ndarray, a: tuple, paint: tuple, swing: float = 0.0, name: str = "Figure") -> None:
        scene.shapes.append(Shape(kind, _triple(at + place), a, paint, velocity=velocity, swing=_triple(forward * swing),
                                  phase=phase, name=name))  # fmt: skip

    up = np.array([0, 0, 1.0])
    part("cone", 0.62 * up, (0.34, 0.2, 0.78), COLOURS[colour], name="Coat")
    part("ellipsoid", 1.6 * up, (0.16, 0.16, 0.2), SKIN, name="Head")
    for side in (-1, 1):
        part("cone", side * 0.13 * beside, (0.09, 0.12, 0.75), TROUSERS, side * 0.24, "Leg")
        part("cone", side * 0.3 * beside + 0.75 * up, (0.06, 0.08, 0.6), COLOURS[colour], -side * 0.16, "Arm")


GLASS_COLOUR, TYRE = (0.05, 0.07, 0.09), (0.02, 0.02, 0.02)
Part = tuple[str, tuple[float, float, float], tuple[float, float, float], str]  # kind, place, half sizes, what it is
BODIES: dict[str, list[Part]] = {  # y ahead, z over the road, metres
    "car": [("box", (0, 0, 0.62), (0.88, 2.1, 0.3), "body"), ("box", (0, -0.2, 1.14), (0.76, 1.15, 0.24), "glass"),
            ("box", (0, -0.2, 1.4), (0.72, 1.0, 0.04), "body")],
    "van": [("box", (0, -0.3, 1.3), (0.98, 2.2, 0.92), "body"), ("box", (0, 2.0, 0.9), (0.94, 0.5, 0.5), "body"),
            ("box", (0, 1.7, 1.6), (0.9, 0.4, 0.35), "glass")],
    "bus": [("box", (0, 0, 1.65), (1.22, 5.0, 1.25), "body"), ("box", (0, 0, 2.0), (1.24, 4.8, 0.42), "glass"),
            ("box", (0, 4.9, 1.9), (1.1, 0.13, 0.7), "glass")],
    "truck": [("box", (0, -1.0, 1.95), (1.2, 2.9, 1.2), "load"), ("box", (0, 2.7, 1.45), (1.12, 0.75, 0.95), "body"),
              ("box", (0, 3.42, 1.85), (1.0, 0.06, 0.4), "glass"), ("box", (0, -0.2, 0.6), (0.9, 3.4, 0.14), "tyre")],
}  # fmt: skip
WHEELS = {"car": (0.84, 1.3, 0.34), "van": (0.92, 1.6, 0.38), "bus": (1.16, 3.2, 0.48), "truck": (1.1, 2.4, 0.5)}
LAMPS = {"car": (0.62, 2.1, 0.66), "van": (0.7, 2.5, 0.8), "bus": (0.9, 5.02, 0.8), "truck": (0.85, 3.46, 0.9)}


def _vehicle(rng: Rng, kind: str, colour: tuple[float, float, float], dark: bool) -> list[Shape]:
    """One that stands in the origin and looks along y."""
    paint = {"body": _shade(rng, colour, 0.1), "glass": GLASS_COLOUR, "tyre": TYRE, "load": _shade(rng, (0.7, 0.7, 0.7), 0.3)}
    gloss = {"body": 0.25 if rng.random() < 0.6 else 0.0, "glass": 0.9}
    name = {"body": kind.capitalize(), "load": "Trailer", "glass": "Windscreen", "tyre": "Chassis"}
    out = [Shape(form, at, a, paint[what], gloss=gloss.get(what, 0.0), name=name[what]) for form, at, a, what in BODIES[kind]]
    x, y, r = WHEELS[kind]
    out += [Shape("ellipsoid", (side * x, end * y, r), (0.13, r, r), TYRE, name="Wheel") for side in (-1, 1) for end in (-1, 1)]
    if dark:
        x, y, z = LAMPS[kind]
        for side in (-1, 1):
            out.append(Shape("ellipsoid", (side * x, y, z), (0.12, 0.06, 0.1), (1.0, 0.93, 0.75), GLOWING, name="Headlight"))
            out.append(Shape("ellipsoid", (side * x, -y, z), (0.12, 0.06, 0.07), (1.0, 0.06, 0.03), GLOWING, name="Taillight"))
    return out


def _add_vehicle(rng: Rng, scene: Scene, brief: Brief) -> None:
    """Parked or driving, out of the camera's way: in its lane of a street, on a quay, on the ground elsewhere."""
    side = 1 if rng.random() < 0.5 else -1
    x, y, yaw = side * rng.uniform(2.4, 2.9), rng.uniform(7, 18), 0.0 if side > 0 else math.pi
    if brief.place == "harbour":
        x, yaw = QUAY[0], 0.0
    elif brief.place != "street":
        x, yaw = side * rng.uniform(3, 7), float(rng.uniform(0, 2 * math.pi))
    ground = QUAY[1] if brief.place == "harbour" else _on_ground(scene, x, y)
    drives = not scene.hills and rng.random() < 0.5
    speed = float(rng.uniform(0.05, 0.25)) if drives else 0.0
    velocity = (-math.sin(yaw) * speed, math.cos(yaw) * speed, 0.0)
    c, s = math.cos(yaw), math.sin(yaw)
    for part in _vehicle(rng, brief.vehicle, COLOURS[brief.vehicle_colour], brief.time in ("night", "dusk", "dawn")):
        px, py, pz = part.centre
        place = (x + c * px - s * py, y + s * px + c * py, ground + pz)
        scene.shapes.append(replace(part, centre=place, yaw=yaw, velocity=velocity))


LANTERNS = (
    (1, 0.25, 0.15),
    (1, 0.7, 0.2),
    (0.3, 1, 0.35),
    (0.3, 0.5, 1),
    (1, 0.3, 0.8),
    (1, 0.85, 0.5),
    (1, 0.8, 0.55),
)


def _add_lamps(rng: Rng, scene: Scene, room: bool) -> None:
    for _ in range(2 if room else 6):
        place = (
            (rng.uniform(-2, 2), rng.uniform(2, 6), rng.uniform(1.4, 2.4))
            if room
            else (rng.uniform(-6, 6), rng.uniform(4, 22), rng.uniform(2.2, 4))
        )
        colour = np.array(LANTERNS[-1] if room else LANTERNS[rng.integers(len(LANTERNS))])
        r = 0.12 if room else 0.26
        scene.lamps.append(Lamp(place, _triple(colour * (3 if room else 6))))
        scene.shapes.append(Shape("ellipsoid", place, (r, r, r), _triple(colour), GLOWING))


def _ease(rng: Rng, frames: int) -> np.ndarray:
    s = np.linspace(0, 1, frames)
    return s * s * (3 - 2 * s) if rng.random() < 0.5 else s


MOVES = ("truck", "dolly", "crane", "combined", "pan", "static", "hand-held", "zoom", "dolly zoom", "orbit", "tilt", "roll")


def _camera(rng: Rng, scene: Scene, frames: int, room: bool, move: str = "") -> None:
    """A move of one of film's kinds, as MOVES names them; any of them where none is given."""
    eye = (
        np.array([rng.uniform(-0.8, 0.8), -2.0, rng.uniform(0.8, 1.8)])
        if room
        else np.array([rng.uniform(-2.5, 2.5), rng.uniform(-5, 1), rng.uniform(1.4, 5) + scene.hills * 0.9])
    )
    target = (
        np.array([rng.uniform(-1, 1), 5.0, rng.uniform(0.6, 1.4)])
        if room
        else np.array([rng.uniform(-3, 3), rng.uniform(12, 18), rng.uniform(0.5, 3.5)])
    )
    reach = (0.35 if room else 1.0) * min(1.0, frames / 9)
    drawn, s = MOVES[int(rng.integers(len(MOVES)))], _ease(rng, frames)[:, None]
    move = move or drawn
    ways = {
        "truck": (rng.uniform(-2, 2), 0, 0),
        "dolly": (0, rng.uniform(1, 3), 0),
        "crane": (0, 0, rng.uniform(0.4, 2)),
        "combined": (rng.uniform(-2, 2), rng.uniform(0, 2), rng.uniform(-0.3, 0.8)),
    }
    ways["dolly zoom"] = ways["dolly"]
    path = eye + s * np.array(ways.get(move, (0.0, 0.0, 0.0))) * reach
    look = np.repeat(target[None], frames, 0)
    scene.focal = np.full(frames, rng.uniform(0.8, 2.0))
    if move in ("pan", "tilt"):
        aside = s * rng.uniform(-5, 5) * reach
        look = look + np.concatenate([aside, 0 * s, 0 * s] if move == "pan" else [0 * s, 0 * s, aside / 2], 1)
    if move == "hand-held":
        path = path + 0.03 * np.cumsum(rng.normal(size=(frames, 3)), 0)
    if move == "orbit":
        x, y, z = (path - look).T
        turn = s[:, 0] * rng.uniform(-2.5, 2.5) * reach / np.hypot(x[0], y[0])
        path = look + np.stack([np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y, z], 1)
    if move == "zoom":
        scene.focal = scene.focal[0] * (1 + 0.4 * s[:, 0] * reach)
    if move == "dolly zoom":  # what is looked at keeps its size
        away = np.linalg.norm(look - path, axis=1)
        scene.focal = scene.focal[0] * away / away[0]
    forward = look - path
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    down = np.cross(forward, right)
    if move == "roll":
        tilted = s * rng.uniform(-0.25, 0.25) * min(1.0, frames / 9)
        right, down = np.cos(tilted) * right + np.sin(tilted) * down, np.cos(tilted) * down - np.sin(tilted) * right
    scene.c2w = np.tile(np.eye(4), (frames, 1, 1))
    scene.c2w[:, :3, :3] = np.stack([right, down, forward], -1)
    scene.c2w[:, :3, 3] = path


INDOORS = ("room", "blocks")  # where nothing drives


def build(brief: Brief, frames: int, rng: Rng, make: Callable[[Rng, Brief], Scene] | None = None) -> Scene:
    """A scene for a brief, with its camera; `make` builds another kind than the brief's place."""
    scene = (make or PLACE_MAKERS[brief.place])(rng, brief)
    room = brief.place == "room"
    scene.seed = float(rng.uniform(0, 100))
    if brief.figure:
        _add_figure(rng, scene, brief.figure, on_quay=brief.place == "harbour" and make is None)
    if brief.vehicle and brief.place not in INDOORS:
        _add_vehicle(rng, scene, brief)
    if brief.lights == "lanterns" or (room and rng.random() < 0.6):
        _add_lamps(rng, scene, room)
    _camera(rng, scene, frames, room)
    return scene


# ---------------------------------------------------------------- rays


def _height(xy: Tensor, scene: Scene) -> Tensor:
    x, y, s = xy[..., 0], xy[..., 1], scene.seed
    return scene.hills * (
        0.5 * torch.sin(x * 0.21 + s)
        + 0.35 * torch.sin(y * 0.27 + s * 1.7)
        + 0.25 * torch.sin(x * 0.5 + y * 0.37 + s * 0.3)
        - 0.4
    )


Axes = tuple[Tensor, Tensor, Tensor]  # x, y and z apart: each lies in one piece in memory


def _turn(v: Tensor, yaw: float) -> Tensor:
    return torch.stack(_turned(v.unbind(-1), yaw), -1) if yaw else v


def _turned(v: Sequence[Tensor], yaw: float) -> Axes:
    x, y, z = v
    if not yaw:
        return x, y, z
    c, s = math.cos(yaw), math.sin(yaw)
    return c * x + s * y, c * y - s * x, z


def _hit_box(o: Axes, d: Axes, shape: Shape) -> Tensor:
    near, far = [], []
    for start, way, half in zip(o, d, shape.a, strict=True):
        inverse = 1 / torch.where(way.abs() < 1e-9, 1e-9, way)
        middle, reach = -start * inverse, half * inverse.abs()
        near.append(middle - reach)
        far.append(middle + reach)
    enter = torch.maximum(torch.maximum(near[0], near[1]), near[2])
    leave = torch.minimum(torch.minimum(far[0], far[1]), far[2])
    if shape.inside:
        return torch.where(enter < leave, leave, torch.inf)
    return torch.where((enter < leave) & (enter > 1e-3), enter, torch.inf)


def _hit_ellipsoid(o: Axes, d: Axes, shape: Shape) -> Tensor:
    p, e = ([axis / r for axis, r in zip(v, shape.a, strict=True)] for v in (o, d))
    a, b, c = _dot(e, e), _dot(p, e), _dot(p, p) - 1
    disc = b * b - a * c
    t = (-b - disc.clamp_min(0).sqrt()) / a
    return torch.where((disc > 0) & (t > 1e-3), t, torch.inf)


def _hit_cone(o: Axes, d: Axes, shape: Shape) -> Tensor:
    below, above, height = shape.a
    slope = (above - below) / height
    q, e = below + slope * o[2], slope * d[2]
    a = _dot(d[:2], d[:2]) - e * e
    a = torch.where(a.abs() < 1e-6, 1e-6, a)
    b, c = _dot(o[:2], d[:2]) - q * e, _dot(o[:2], o[:2]) - q * q
    disc = b * b - a * c
    t = (-b - disc.clamp_min(0).sqrt()) / a
    z = o[2] + t * d[2]
    return torch.where((disc > 0) & (t > 1e-3) & (z > 0) & (z < height), t, torch.inf)


_HIT = {"box": _hit_box, "ellipsoid": _hit_ellipsoid, "cone": _hit_cone}


def _dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    total = a[0] * b[0]
    for x, y in zip(a[1:], b[1:], strict=True):
        total = torch.addcmul(total, x, y)
    return total


def _facing(shape: Shape, p: Tensor, d: Tensor) -> Tensor:
    """Normals (N, 3) at points of a shape, in its own frame, seen along d."""
    size = torch.tensor(shape.a)
    if shape.kind == "box":
        return -torch.sign(d) * F.one_hot((p / size).abs().argmax(-1), 3)
    if shape.kind == "ellipsoid":
        return F.normalize(p / size**2, dim=-1)
    slope = (size[1] - size[0]) / size[2]
    out = F.normalize(p[:, :2], dim=-1)
    return F.normalize(torch.cat([out, -slope.expand(len(p), 1)], -1), dim=-1)


def _ground(o: Tensor, d: Tensor, scene: Scene) -> tuple[Tensor, Tensor]:
    up = torch.zeros_like(d)
    up[..., 2] = 1
    flat = torch.where(d[..., 2] < -1e-5, -o[..., 2] / d[..., 2].clamp_max(-1e-5), torch.inf)
    if scene.hills == 0:
        return torch.where(flat < 400, flat, torch.inf), up
    t, before = torch.full(d.shape[:-1], 0.5), o[..., 2] - _height(o, scene)
    found = torch.full_like(t, torch.inf)
    for _ in range(26):  # march with growing steps, then one secant
        t_next = t * 1.17 + 0.25
        p = o + t_next[..., None] * d
        gap = p[..., 2] - _height(p, scene)
        crossing = (gap < 0) & torch.isinf(found)
        found = torch.where(crossing, t + (t_next - t) * before / (before - gap + 1e-9), found)
        t, before = t_next, gap
    p = o + torch.where(torch.isinf(found), 0, found)[..., None] * d
    e = torch.tensor([0.05, 0, 0]), torch.tensor([0, 0.05, 0])
    slopes = [(_height(p, scene) - _height(p + s, scene)) / 0.05 for s in e]
    return found, F.normalize(torch.stack([*slopes, torch.ones_like(t)], -1), dim=-1)


def trace(scene: Scene, o: Tensor, d: Tensor, shadow: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Origins and unit directions (F, R, 3) -> distance (F, R), +inf for sky; shape number (F, R), -1 ground; normal
    (F, R, 3), none for shadows."""
    best, which, normal = torch.full(d.shape[:-1], torch.inf), torch.full(d.shape[:-1], -2), torch.zeros_like(d)
    start, way = ([v[..., i].contiguous() for i in range(3)] for v in (o, d))
    frame = torch.arange(d.shape[0]).view(-1, 1)

    def centre(shape: Shape) -> list[Tensor | float]:
        return [c + m for c, m in zip(shape.centre, shape.moved(frame), strict=True)]

    for number, shape in enumerate(scene.shapes):
        if shadow and (shape.pattern == GLOWING or shape.inside):
            continue
        own = [axis - c for axis, c in zip(start, centre(shape), strict=True)]
        t = _HIT[shape.kind](_turned(own, shape.yaw), _turned(way, shape.yaw), shape)
        which = torch.where(t < best, number, which)
        best = torch.minimum(t, best)
    if shadow:
        return best, which, normal
    if scene.ground is not None:
        t, up = _ground(o, d, scene)
        closer = t < best
        best, which, normal = torch.where(closer, t, best), torch.where(closer, -1, which), up * closer[..., None]
    for number, shape in enumerate(scene.shapes):
        at = which == number
        if at.any():
            middle = torch.stack([torch.as_tensor(c).expand(len(d), 1) for c in centre(shape)], -1).expand_as(d)
            p = _turn((o[at] - middle[at]) + best[at][:, None] * d[at], shape.yaw)
            normal[at] = _turn(_facing(shape, p, _turn(d[at], shape.yaw)), -shape.yaw)
    return best, which, normal


# ---------------------------------------------------------------- surfaces


def _frac(x: Tensor) -> Tensor:
    return x - x.floor()


def _pattern(kind: int, colour: Tensor, p: Tensor, across: Tensor, wall: Tensor, noise: tuple[Tensor, ...]) -> Tensor:
    """Linear colour of one pattern at points p (N, 3)."""
    n1, n2, n3 = noise
    z = p[:, 2]
    grain = (n1 + 0.5 * n3) / 1.5
    k = 0.88 + 0.2 * grain
    line = torch.zeros_like(z, dtype=torch.bool)
    if kind == BRICK:
        row = (z / 0.3).floor()
        line = ((_frac(z / 0.3) < 0.15) | (_frac(across / 0.75 + 0.5 * torch.remainder(row, 2)) < 0.08)) & wall
        k = 0.65 + 0.7 * torch.remainder(torch.sin((across / 0.75 + 0.5 * row).floor() * 12.9 + row * 78.2) * 43.7, 1)
    elif kind == STONE:
        k = 0.5 + 0.95 * grain
    elif kind == WOOD:
        plank = (across / 0.35).floor()
        line = _frac(across / 0.35) < 0.07
        k = 0.6 + 0.35 * n2 + 0.25 * torch.sin(z * 3 + across * 14 + 3 * n1) + 0.2 * torch.remainder(plank * 0.37, 1)
    elif kind == LEAVES:
        k = 0.4 + 1.1 * n3
    elif kind == GROUND:
        k = 0.6 + 0.5 * n1 + 0.35 * n3
    elif kind == TILES:
        k = (0.6 + 0.5 * n3) * (0.7 + 0.3 * (_frac(z / 0.22) > 0.2))
    elif kind == COBBLES:
        cell = (p[:, :2] / 0.6).floor()
        edge = (_frac(p[:, :2] / 0.6) < 0.12).any(1)
        k = 0.6 + 0.6 * torch.remainder(torch.sin(cell[:, 0] * 12.9 + cell[:, 1] * 78.2) * 43.7, 1)
        k = torch.where(edge, 0.45, k)
    elif kind == CHECKER:
        k = torch.where(torch.remainder((p / 0.7 + 0.01).floor().sum(1), 2) > 0, 1.25, 0.5)
    out = colour * k[:, None].clamp_min(0.1)
    return torch.where(line[:, None], torch.tensor([0.4, 0.38, 0.35]) * (0.6 if kind == WOOD else 1.0), out)


def _panes(across: Tensor, z: Tensor, wall: Tensor, number: int, seed: float) -> tuple[Tensor, Tensor]:
    """Where windows are, and how likely each is lit (0..1)."""
    x, y = _frac(across / PANE), _frac(z / PANE)
    pane = wall & (x > 0.3) & (x < 0.7) & (y > 0.3) & (y < 0.75) & (z > 0.5)
    cell = (across / PANE).floor() * 7.3 + (z / PANE).floor() * 13.7 + number * 3.1 + seed
    return pane, _frac(torch.sin(cell) * 437.58).abs()


@dataclass
class Passes:
    """Everything the ray caster knows of a clip; (F, H, W, ...)."""

    depth: Tensor
    normal: Tensor
    base: Tensor  # sRGB-ish (gamma 2.2) 0..1
    gloss: Tensor
    emission: Tensor
    index: Tensor
    anchor: Tensor  # world, at frame 0
    point: Tensor  # world, now
    pane: Tensor  # bool
    chance: Tensor  # of a pane's light, 0..1
    K: Tensor
    c2w: Tensor


CENTRE = (0.5, 0.5)
GRAZING = 4.0  # times as far, at most, may a pixel's samples lie on its plane
ROOKS = 8  # samples of the base colour to a pixel, as many as a capture asks Blender for


def rooks(count: int = ROOKS) -> list[tuple[float, float]]:
    """Places within a pixel (x, y), no two in one row or column: the thinnest lines of a texture are met."""
    stride = next(k for k in range(count // 2 + 1, count + 1) if math.gcd(k, count) == 1)
    return [((k * stride % count + 0.5) / count, (k + 0.5) / count) for k in range(count)]


def passes(
    scene: Scene, height: int, width: int, at: tuple[float, float] = CENTRE, samples: int = ROOKS, cell: float = 1.0
) -> Passes:
    """Ray-casts every pixel's centre, or another place within it. The base colour is its mean over a cell around that
    place, one pixel wide if nothing else is said, on the surface that is met there: textures do not alias, as those of
    a capture do not."""
    frames = len(scene.c2w)
    K = torch.zeros(frames, 3, 3, dtype=torch.float64)
    K[:, 0, 0] = K[:, 1, 1] = torch.from_numpy(np.asarray(scene.focal)) * width / 2
    K[:, 0, 2], K[:, 1, 2], K[:, 2, 2] = width / 2, height / 2, 1
    c2w = torch.from_numpy(scene.c2w)
    local, d = _rays(K, c2w, height, width, at)
    o = c2w[:, None, :3, 3].float().expand_as(d)
    t, which, normal = trace(scene, o, d)
    sky = torch.isinf(t)
    point = o + torch.where(sky, 0, t)[..., None] * d
    parts = _parts(scene, which, normal)
    out = _surface(scene, parts, point)
    linear, facing = torch.zeros_like(point), (normal * d).sum(-1, keepdim=True).clamp_max(-1e-4)
    places = rooks(samples)
    for x, y in places:
        beside = _rays(K, c2w, height, width, (at[0] + cell * (x - 0.5), at[1] + cell * (y - 0.5)))[1]
        stretch = (facing / (normal * beside).sum(-1, keepdim=True).clamp_max(-1e-4)).clamp(0, GRAZING)  # its plane
        linear += _colour(scene, parts, o + torch.where(sky, 0, t)[..., None] * stretch * beside)
    out["base"] = (linear / len(places)) ** (1 / GAMMA)
    shape = (frames, height, width)
    depth = torch.where(sky, torch.inf, t * local[..., 2])
    return Passes(
        depth.view(shape), (normal * ~sky[..., None]).view(*shape, 3), **{k: v.view(*shape, *v.shape[2:]) for k, v in out.items()},
        index=(which + FIRST_INDEX).view(shape), point=point.view(*shape, 3), K=K, c2w=c2w,
    )  # fmt: skip


def _rays(K: Tensor, c2w: Tensor, height: int, width: int, at: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Unit directions (F, R, 3) through a place of every pixel, of the camera and of the world."""
    v, u = torch.meshgrid(torch.arange(height) + at[1], torch.arange(width) + at[0], indexing="ij")
    local = torch.stack([(u - width / 2), (v - height / 2), torch.ones_like(u)], -1).reshape(1, -1, 3)
    local = local / torch.stack([K[:, 0, 0], K[:, 1, 1], torch.ones(len(K))], -1)[:, None].float()
    local = F.normalize(local, dim=-1)
    return local, local @ c2w[:, :3, :3].float().mT


@dataclass(frozen=True)
class _Part:
    """One shape as far as it is seen."""

    number: int
    shape: Shape
    at: Tensor  # (N,) which rays of all F x R
    frame: Tensor  # (N, 1)
    normal: Tensor  # (N, 3) world

    def points(self, world: Tensor) -> "_Points":
        """Of points (F, R, 3), those on this shape."""
        p = world.view(-1, 3)[self.at]
        if self.shape.moves:
            away = self.shape.moved(self.frame[:, 0].float())
            p = p - torch.stack([torch.as_tensor(m).expand(len(p)) for m in away], 1)
        n, centre = _turn(self.normal, self.shape.yaw), torch.tensor(self.shape.centre)
        local = _turn(p - centre, self.shape.yaw) + centre if self.shape.yaw else p
        across = torch.where(n[:, 0].abs() > n[:, 1].abs(), local[:, 1], local[:, 0])
        return _Points(p, local, across, n[:, 2].abs() < 0.5)


@dataclass(frozen=True)
class _Points:
    anchor: Tensor  # (N, 3) world, at frame 0
    local: Tensor  # (N, 3) turned back
    across: Tensor  # (N,) along a wall
    wall: Tensor  # (N,) bool


def _parts(scene: Scene, which: Tensor, normal: Tensor) -> list[_Part]:
    ground = Shape("ground", (0, 0, 0), (0, 0, 0), scene.ground or (0, 0, 0), scene.ground_pattern)
    numbers, flat = which.flatten(), normal.view(-1, 3)
    places = [(n, torch.where(numbers == n)[0]) for n in range(-1, len(scene.shapes))]
    return [_Part(n, scene.shapes[n] if n >= 0 else ground, at, (at // which.shape[1])[:, None], flat[at])
            for n, at in places if len(at)]  # fmt: skip


DARK_GLASS, BRIGHT_GLASS = (0.06, 0.08, 0.11), (0.5, 0.55, 0.6)  # of every other house


def _windows(scene: Scene, part: _Part, p: _Points) -> tuple[Tensor, Tensor] | None:
    if not (part.shape.windows and part.shape.pattern in HAS_WINDOWS):
        return None
    return _panes(p.across, p.local[:, 2], p.wall, part.number, scene.seed)


def _colour(scene: Scene, parts: list[_Part], point: Tensor) -> Tensor:
    """Linear base colour (F, R, 3) at points of those shapes."""
    out = torch.zeros_like(point)
    for part in parts:
        p = part.points(point)
        coarse, fine = value_noise(p.local * 1.1 + scene.seed), value_noise(p.local * 4.7 + 3)
        noise = coarse[0], coarse[1], fine[0]
        colour = _pattern(part.shape.pattern, torch.tensor(part.shape.colour), p.local, p.across, p.wall, noise)
        if panes := _windows(scene, part, p):
            glass = torch.tensor(DARK_GLASS if part.number % 2 else BRIGHT_GLASS)
            colour = torch.where(panes[0][:, None], glass, colour)
        out.view(-1, 3)[part.at] = colour.clamp(0, 1)
    return out


def _surface(scene: Scene, parts: list[_Part], point: Tensor) -> dict[str, Tensor]:
    """All but the colour."""
    gloss, emission = torch.zeros_like(point[..., 0]), torch.zeros_like(point)
    pane, chance, anchor = torch.zeros_like(gloss, dtype=torch.bool), torch.zeros_like(gloss), point.clone()
    for part in parts:
        p, shape, at = part.points(point), part.shape, part.at
        anchor.view(-1, 3)[at] = p.anchor
        glossy = torch.full_like(p.across, 0.9 if shape.pattern == WATER else shape.gloss)
        if shape.pattern == GLASS:
            glossy = torch.where(p.wall, 0.35, 0.0)
        if panes := _windows(scene, part, p):
            glossy = torch.where(panes[0], 0.9, glossy)
            pane.view(-1)[at], chance.view(-1)[at] = panes
        gloss.view(-1)[at] = glossy
        if shape.pattern == GLOWING:
            emission.view(-1, 3)[at] = torch.tensor(shape.colour) * 2.5
    return {"gloss": gloss, "emission": emission, "pane": pane, "chance": chance, "anchor": anchor}


def motion(scene: Scene, frames: int) -> tuple[Tensor, Tensor]:
    """Index of every shape (N,) and its object -> world matrix, as far as it moves, (N, F, 4, 4) float64."""
    index = torch.arange(len(scene.shapes)) + FIRST_INDEX
    matrix = torch.eye(4, dtype=torch.float64).repeat(len(scene.shapes), frames, 1, 1)
    frame = torch.arange(frames, dtype=torch.float64)
    for number, shape in enumerate(scene.shapes):
        for axis, away in enumerate(shape.moved(frame)):
            matrix[number, :, axis, 3] = torch.as_tensor(away)
    return index, matrix


AO_RAYS, AO_REACH = 6, 0.35  # a pixel; of the median distance, as the capture asks Blender
AO_THIN = 2  # one pixel in so many, each way, is asked


def ambient(scene: Scene, p: Passes, rng: Rng) -> tuple[Tensor, Tensor]:
    """Ambient occlusion and openness (F, H, W) by rays over the surface, noisy as a renderer's are: share of them that go
    free, nearby and as far as the sky."""
    from ..conditions import scene_scale

    point, normal = (t[:, ::AO_THIN, ::AO_THIN] for t in (p.point, p.normal))
    frames, height, width = point.shape[:3]
    o, n = (t.reshape(frames, -1, 3) for t in (point + 0.02 * normal, normal))
    reach, counts = AO_REACH * scene_scale(p.depth), torch.zeros(2, frames, height * width)
    draws = torch.Generator().manual_seed(int(rng.integers(2**31)))
    for _ in range(AO_RAYS):
        around = F.normalize(torch.randn(o.shape, generator=draws), dim=-1)
        t, _, _ = trace(scene, o, F.normalize(n * 1.001 + around, dim=-1))  # by the cosine
        counts += torch.stack([t > reach, torch.isinf(t)])
    thin = (counts / AO_RAYS).view(2, frames, height, width)
    ao, open_ = torch.where(torch.isfinite(p.depth), F.interpolate(thin, p.depth.shape[1:], mode="nearest"), 1.0)
    return ao, open_


def sunlit(scene: Scene, p: Passes, toward_sun: Tensor) -> Tensor:
    """(F, H, W): 1 where the sun reaches the surface, by a ray toward it."""
    frames, height, width = p.depth.shape
    if any(s.inside for s in scene.shapes):
        return torch.zeros_like(p.depth)
    o = (p.point + 0.02 * p.normal).view(frames, -1, 3)
    t, _, _ = trace(scene, o, toward_sun.expand_as(o), shadow=True)
    return torch.isinf(t).float().view(frames, height, width)
