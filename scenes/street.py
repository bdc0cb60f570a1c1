"""A grey blockout of a street, as it stands before anybody has chosen a material: one grey, boxes, stairs, parked
vans, figures that only hold their places, and one that walks. A camera trucks along it."""

from __future__ import annotations

import math
import random

import bpy

from . import materials as m
from . import stage
from .shapes import Mesh, Point

HALF = 4.2  # half the width of the road, metres
FIRST, LAST = -14.0, 40.0  # where the rows of houses begin and end


def house(made: Mesh, x: float, y: float, wide: float, high: float, side: int, paint, luck: random.Random) -> None:
    """A block with window recesses marked by frames, a cornice, perhaps a setback and a stair tower."""
    deep = luck.uniform(6.0, 9.0)
    made.box((x + side * deep / 2, y, high / 2), (deep, wide, high), paint)
    made.box((x + side * (deep / 2 - 0.15), y, high + 0.15), (deep + 0.3, wide + 0.1, 0.3), paint)
    if luck.random() < 0.5:
        made.box((x + side * deep * 0.65, y, high + 1.3), (deep * 0.6, wide * 0.7, 2.3), paint)
    floors, bays = int(high / 3.1), max(2, int(wide / 2.3))
    for floor in range(floors):
        for bay in range(bays):
            along = y + (bay + 0.5 - bays / 2) * wide / bays
            z = 1.7 + floor * 3.1
            for dy, dz, sy, sz in ((-0.6, 0, 0.1, 1.6), (0.6, 0, 0.1, 1.6), (0, 0.8, 1.3, 0.1), (0, -0.8, 1.4, 0.14)):
                made.box((x - side * 0.05, along + dy, z + dz), (0.16, sy, sz), paint)
    if luck.random() < 0.6:
        made.box((x - side * 0.5, y, 3.1), (1.0, wide * 0.5, 0.12), paint)


def stairs(made: Mesh, x: float, y: float, side: int, paint) -> None:
    for step in range(5):
        made.box((x - side * (0.15 + 0.3 * (4 - step)), y, 0.09 * (step + 1)), (0.32, 1.6, 0.18 * (step + 1)), paint)


def figure(scene: bpy.types.Scene, name: str, place: Point, paint) -> bpy.types.Object:
    """A person as blockouts have them: a capsule, a head, arms that hang."""
    made = Mesh(name)
    made.turned([(0.1, 0.0), (0.17, 0.4), (0.2, 1.0), (0.23, 1.35), (0.08, 1.48)], paint, sides=14)
    made.ball((0, 0, 1.65), 0.14, paint, level=3)
    for side in (-1, 1):
        made.tube((side * 0.25, 0, 1.35), (side * 0.28, 0.04, 0.78), 0.055, paint, sides=8)
    return made.object(scene, place)


def van(scene: bpy.types.Scene, place: Point, turn: float, paint) -> None:
    made = Mesh("Van")
    made.prism([(-2.3, 0.35), (2.3, 0.35), (2.3, 1.0), (1.7, 1.15), (1.1, 2.05), (-2.3, 2.1)], -0.9, 0.9, paint)
    for x in (-1.5, 1.5):
        for y in (-0.85, 0.85):
            made.tube((x, y - 0.1, 0.36), (x, y + 0.1, 0.36), 0.36, paint, sides=18)
    made.object(scene, place, turn)


def build() -> bpy.types.Scene:
    scene = stage.empty_scene("Blockout")
    paint = m.plain("Blockout grey", "#9a9a9a", 0.8)
    luck = random.Random(4)
    ground = Mesh("Ground")
    ground.box((0, 20, -0.1), (120, 160, 0.2), paint)
    for side in (-1, 1):
        ground.box((side * (HALF + 1.0), 13, 0.07), (2.0, 56, 0.16), paint)
    ground.object(scene)
    for side in (-1, 1):
        y = FIRST
        while y < LAST:
            wide, high = luck.uniform(6.0, 11.0), luck.choice((6.4, 9.4, 12.6, 15.6))
            made = Mesh(f"House {'left' if side < 0 else 'right'} {int(y - FIRST)}")
            house(made, side * (HALF + 2.0), y + wide / 2, wide, high, side, paint, luck)
            stairs(made, side * (HALF + 2.0), y + wide / 2, side, paint)
            made.object(scene)
            y += wide + luck.choice((0.0, 0.0, 2.2))
    tower = Mesh("Clock tower")
    tower.box((0.0, 52.0, 11.0), (7.0, 7.0, 22.0), paint)
    tower.turned([(4.4, 22.0), (0.1, 29.0)], paint, (0.0, 52.0, 0.0), sides=4, smooth=False)
    tower.object(scene)
    van(scene, (-2.9, 6.0, 0.0), math.pi / 2, paint)
    van(scene, (2.9, 19.0, 0.0), -math.pi / 2, paint)
    for i, (x, y) in enumerate(((-5.0, 1.0), (4.9, 3.5), (5.3, 4.1), (-4.8, 12.0), (1.2, 24.0))):
        figure(scene, f"Figure {i + 1}", (x, y, 0.15 if abs(x) > HALF else 0.0), paint)
    walker = figure(scene, "Walker", (0.0, 0.0, 0.0), paint)
    for frame, y in ((scene.frame_start, -1.0), (scene.frame_end, 1.8)):
        walker.location = (1.4, y, 0.0)
        walker.keyframe_insert("location", frame=frame)
    stage.sun(scene, (-0.5, -0.35, 0.62), 3.2, (1.0, 0.96, 0.9))
    stage.plain_sky(scene, "#9fb4c8", 0.8)
    stage.travel(scene, "Truck", 24.0, ((-2.6, -9.0, 1.7), (1.8, -5.5, 2.4)), ((0.4, 12.0, 3.0), (-0.4, 16.0, 3.4)))
    return scene


if __name__ == "__main__":
    stage.main(build)
