"""A village street as an artist blocks it out: boxes, prisms and balls that say what they are by their names alone. No
object has a material, no light is set; a camera sinks from the roofs into the street."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable

import bpy

from . import stage
from .shapes import Mesh, Point

HOUSES = (  # x, y of the middle, width along the street, depth, height, turn
    (-7.5, 9.0, 7.0, 6.0, 5.2, 0.0), (-8.0, 19.0, 6.2, 6.5, 6.4, 0.03), (-7.2, 29.0, 8.0, 6.0, 4.6, -0.02),
    (7.6, 12.0, 7.4, 6.2, 4.8, 0.02), (8.0, 32.0, 6.4, 6.4, 6.0, -0.03),
)  # fmt: skip
TREES = (  # x, y, radius of the crown
    (-4.4, 14.2, 1.5), (4.6, 18.5, 1.9), (5.0, 25.5, 1.6), (-4.6, 34.0, 2.0), (11.5, 20.0, 2.6), (-13.0, 13.0, 2.4),
)  # fmt: skip


def part(
    scene: bpy.types.Scene, name: str, build: Callable[[Mesh], None], at: Point = (0, 0, 0), turn: float = 0.0
) -> None:
    """One bare object, its name the only thing that says what it is."""
    made = Mesh(name)
    build(made)
    made.materials.clear()
    made.object(scene, at, turn)


def house(scene: bpy.types.Scene, x: float, y: float, wide: float, deep: float, high: float, turn: float) -> None:
    """Walls and a gabled roof whose ridge runs along the street."""
    def roof(m: Mesh) -> None:
        over, rise = deep / 2 + 0.4, 0.45 * deep
        m.prism([(-over, -0.15), (over, -0.15), (0.0, rise)], -wide / 2 - 0.3, wide / 2 + 0.3, None)

    toward, top = 1 if x < 0 else -1, (x + 0.2 * deep, y + 0.25 * wide, high + 0.32 * deep)
    part(scene, "House", lambda m: m.box((0, 0, high / 2), (deep, wide, high), None), (x, y, 0), turn)
    part(scene, "Roof", roof, (x, y, high + 0.15), turn)
    part(scene, "Chimney", lambda m: m.box((0, 0, 0), (0.6, 0.6, 2.6), None), top, turn)
    for along in (-0.3, 0.3):
        place = (x + toward * deep / 2, y + along * wide, 0.55 * high)
        part(scene, "Window", lambda m: m.box((0, 0, 0), (0.12, 1.1, 1.3), None), place, turn)
    part(scene, "Door", lambda m: m.box((0, 0, 1.0), (0.14, 1.0, 2.0), None), (x + toward * deep / 2, y, 0), turn)


def tree(scene: bpy.types.Scene, x: float, y: float, size: float, luck: random.Random) -> None:
    lumps, tall, middle = luck.randrange(2**16), (1, 1, 1.15), (0, 0, 2.2 * size)
    part(scene, "Trunk", lambda m: m.tube((0, 0, -0.1), (0, 0, 1.6 * size), 0.14 * size, None, taper=0.7), (x, y, 0))
    part(scene, "Tree", lambda m: m.ball(middle, size, None, tall, rough=0.12, level=3, seed=lumps), (x, y, 0))


def church(scene: bpy.types.Scene, x: float, y: float) -> None:
    part(scene, "Church", lambda m: m.box((0, 0, 3.5), (7, 11, 7), None), (x, y, 0))
    part(scene, "Church Roof", lambda m: m.prism([(-4, 0), (4, 0), (0, 4.2)], -5.8, 5.8, None), (x, y, 7))
    part(scene, "Church Tower", lambda m: m.box((0, 0, 7), (4, 4, 14), None), (x, y - 7, 0))
    spire = [(2.6, 0.0), (0.06, 7.5)]
    part(scene, "Spire", lambda m: m.turned(spire, None, sides=4, smooth=False), (x, y - 7, 14), math.pi / 4)


def car(scene: bpy.types.Scene, x: float, y: float) -> None:
    cabin = [(-0.8, 0.95), (0.8, 0.95), (0.66, 1.53), (-0.66, 1.53)]
    part(scene, "Car", lambda m: m.box((0, 0, 0.62), (1.75, 4.1, 0.66), None), (x, y, 0))
    part(scene, "Windscreen", lambda m: m.prism(cabin, -1.2, 1.0, None), (x, y, 0))
    for across, along in itertools.product((-0.8, 0.8), (-1.25, 1.25)):
        hub = (x + across, y + along, 0.34)
        part(scene, "Wheel", lambda m: m.tube((-0.1, 0, 0), (0.1, 0, 0), 0.34, None, sides=20), hub)


def build() -> bpy.types.Scene:
    scene = stage.empty_scene("Blockout")
    luck = random.Random(5)
    part(scene, "Ground", lambda m: m.box((0, 40, -0.3), (240, 240, 0.5), None))
    part(scene, "Road", lambda m: m.box((0, 40, -0.06), (5.2, 160, 0.1), None))
    for side in (-1, 1):
        part(scene, "Sidewalk", lambda m: m.box((0, 24, 0.0), (1.2, 60, 0.24), None), (3.2 * side, 0, 0))
    for place in HOUSES:
        house(scene, *place)
    for x, y, size in TREES:
        tree(scene, x, y, size, luck)
    church(scene, 1.5, 54.0)
    car(scene, 1.5, 15.0)
    for i in range(9):
        part(scene, "Fence", lambda m: m.box((0, 0, 0.5), (0.08, 0.9, 1.0), None), (4.3, 17.0 + i, 0))
    ring = [(0.9, 0.0), (0.9, 0.9), (0.7, 0.9), (0.7, 0.2)]
    part(scene, "Well", lambda m: m.turned(ring, None, smooth=False), (-5.2, 24.2, 0))
    part(scene, "Crate", lambda m: m.box((0, 0, 0.4), (0.8, 0.8, 0.8), None), (-3.4, 5.6, 0.1), 0.4)
    part(scene, "Barrel", lambda m: m.turned([(0.34, 0.0), (0.42, 0.5), (0.34, 1.0)], None), (-3.6, 6.9, 0.1))
    stage.travel(scene, "Street camera", 30, ((-1.2, -7.0, 6.5), (0.6, 2.0, 2.2)), ((0.5, 20, 3.2), (0.2, 22, 3.6)))
    return scene


if __name__ == "__main__":
    stage.main(build)
