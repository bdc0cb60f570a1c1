"""The exterior demo: a village street that runs down to the sea, seen by a crane that rises while it rolls."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass

import bpy
from mathutils import Matrix

from . import materials as m
from . import stage
from .shapes import Mesh, Point

STREET = 3.7  # half the width of the cobbles, metres
SHORE = 62.0  # where the land ends, metres down the street


@dataclass(frozen=True)
class House:
    """A house with its gable to the street; `side` -1 stands left, +1 right; `along` is metres down the street."""

    along: float
    side: int
    width: float
    depth: float
    storeys: int
    wall: str
    roof: str
    shutters: str
    timber: bool = False
    back: float = 0.0  # metres behind the building line


HOUSES = (
    House(-7.0, -1, 6.4, 7.5, 2, "Brick", "Red tiles", "Green paint"),
    House(-8.5, 1, 6.0, 7.0, 2, "Cream plaster", "Slate", "Blue paint", timber=True),
    House(0.8, -1, 6.0, 7.0, 2, "Ochre plaster", "Slate", "Blue paint"),
    House(-0.6, 1, 6.6, 8.0, 3, "Rose plaster", "Red tiles", "Green paint"),
    House(8.6, -1, 6.6, 7.5, 3, "White plaster", "Red tiles", "Red paint", timber=True),
    House(8.2, 1, 5.8, 7.0, 2, "Brick", "Slate", "White paint"),
    House(25.6, -1, 7.0, 8.0, 2, "Rubble", "Red tiles", "Blue paint", back=0.6),
    House(25.2, 1, 6.6, 7.5, 2, "Ochre plaster", "Red tiles", "Green paint", back=0.4),
    House(34.0, -1, 6.0, 7.0, 2, "Rose plaster", "Slate", "White paint", back=0.3),
    House(33.4, 1, 6.4, 7.0, 3, "White plaster", "Red tiles", "Blue paint"),
    House(42.0, -1, 6.4, 7.0, 2, "Brick", "Slate", "Green paint"),
    House(41.2, 1, 5.8, 7.0, 2, "Cream plaster", "Red tiles", "Red paint"),
)


def palette() -> dict[str, bpy.types.Material]:
    """Every surface of the scene, by name."""
    made = [
        m.brick("Brick"),
        m.plaster("Cream plaster", "#dccba0"),
        m.plaster("Ochre plaster", "#cf9d52"),
        m.plaster("Rose plaster", "#c98a7a"),
        m.plaster("White plaster", "#e3ddd0"),
        m.stones("Rubble", "#b0a48e", "#7d7466", "#5c554a", 0.5, 1.6),
        m.stones("Cobbles", "#9a938a", "#68635f", "#3a3733", 0.36),
        m.stones("Paving", "#b3a999", "#8f877b", "#5f584e", 0.8),
        m.tiles("Red tiles", "#bf6541", "#8e4129"),
        m.tiles("Slate", "#6d7885", "#4a535f"),
        m.wood("Timber", "#4a3424"),
        m.wood("Oak boards", "#8a6238", board=0.16),
        m.wood("Green paint", "#3f6b4c", board=0.11),
        m.wood("Blue paint", "#3a6289", board=0.11),
        m.wood("Red paint", "#8f3530", board=0.11),
        m.wood("White paint", "#dad6cc", board=0.11),
        m.glass(),
        m.grass(),
        m.leaves("Lime leaves", "#2f4a1c", "#527a2c", "#86a544"),
        m.leaves("Cypress leaves", "#1d3a22", "#30552f", "#4c7340", 6.0),
        m.leaves("Geraniums", "#3d6a2a", "#c23a34", "#e2695d", 14.0),
        m.wood("Bark", "#5d4a38"),
        m.rock("Cliff", "#a8977c", "#6b5d4b"),
        m.rock("Far hills", "#7f9277", "#56705f", 0.04),
        m.water(),
        m.plain("Iron", "#26292c", 0.45, 0.6),
        m.glow("Lantern glass", "#ffd9a0", 1.5),
        m.plaster("Lighthouse white", "#efece4"),
        m.plaster("Lighthouse red", "#b5392f"),
        m.fabric("Awning", "#c9483b", 0.3),
        m.fabric("Sail", "#e9dfc8", 0.2),
    ]
    return {material.name: material for material in made}


def window(house: Mesh, x: float, y: float, z: float, paint, paints, facing: int) -> None:
    """A window in a wall whose outside looks along `facing` * x: frame, panes set back, bars, sill, two shutters."""
    out = facing
    house.box((x + out * 0.03, y, z), (0.10, 1.06, 1.42), paints["White paint"])
    house.box((x + out * 0.06, y, z), (0.10, 0.86, 1.22), paints["Window glass"])
    house.box((x + out * 0.10, y, z), (0.06, 0.06, 1.22), paints["White paint"])
    house.box((x + out * 0.10, y, z + 0.12), (0.06, 0.86, 0.06), paints["White paint"])
    house.box((x + out * 0.12, y, z - 0.76), (0.30, 1.24, 0.09), paints["Paving"])
    for way in (-1, 1):
        house.box((x + out * 0.07, y + way * 0.82, z), (0.07, 0.52, 1.42), paint)


def flower_box(house: Mesh, x: float, y: float, z: float, paints, facing: int, seed: int) -> None:
    house.box((x + facing * 0.25, y, z - 0.84), (0.26, 1.0, 0.2), paints["Oak boards"])
    for i in range(5):
        centre = (x + facing * 0.27, y - 0.4 + 0.2 * i, z - 0.68)
        house.ball(centre, 0.16, paints["Geraniums"], rough=0.3, level=2, seed=seed + i)


def door(house: Mesh, x: float, y: float, paint, paints, facing: int) -> None:
    house.box((x + facing * 0.05, y, 1.15), (0.14, 1.36, 2.4), paints["Paving"])
    house.box((x + facing * 0.09, y, 1.08), (0.12, 1.04, 2.12), paint)
    house.box((x + facing * 0.16, y, 1.72), (0.03, 0.62, 0.5), paints["Window glass"])
    house.box((x + facing * 0.4, y, 0.1), (0.8, 1.5, 0.2), paints["Paving"])
    house.ball((x + facing * 0.18, y + 0.38, 1.05), 0.05, paints["Iron"])


def half_timber(house: Mesh, x: float, width: float, top: float, ridge: float, paints, facing: int) -> None:
    """Beams on the street front: storeys, posts, braces, and the gable's collar."""

    def beam(y: float, z: float, wide: float, high: float) -> None:
        house.box((x + facing * 0.04, y, z), (0.12, wide, high), paints["Timber"])

    for z in (2.75, top - 0.1):
        beam(0.0, z, width, 0.24)
    for y in (-width / 2 + 0.12, -width / 6, width / 6, width / 2 - 0.12):
        beam(y, (2.75 + top) / 2, 0.2, top - 2.75)
    for way in (-1, 1):
        start, end = (
            (x + facing * 0.05, way * (width / 2 - 0.2), 2.9),
            (x + facing * 0.05, way * (width / 6 + 0.1), top - 0.3),
        )
        house.tube(start, end, 0.1, paints["Timber"], sides=4)
    beam(0.0, top + (ridge - top) * 0.45, width * 0.5, 0.2)
    beam(0.0, (top + ridge) / 2, 0.2, ridge - top - 0.4)


def gable_roof(house: Mesh, width: float, depth: float, top: float, ridge: float, paint) -> None:
    """Two slabs that lie over the walls by half a metre; the ridge runs along x, away from the street."""
    over, thick = 0.5, 0.16
    half = width / 2 + over
    low = top - over * (ridge - top) / (width / 2)
    for way in (-1, 1):
        outline = [(way * half, low), (0.0, ridge), (0.0, ridge + thick), (way * half, low + thick)]
        if way < 0:
            outline.reverse()
        x0, x1 = -depth / 2 - over, depth / 2 + over
        front = [(x0, y, z) for y, z in outline]
        back = [(x1, y, z) for y, z in outline]
        sides = [[i, (i + 1) % 4, 4 + (i + 1) % 4, 4 + i] for i in range(4)]
        house.add([*front, *back], [[3, 2, 1, 0], [4, 5, 6, 7], *sides], paint)


def walls(house: Mesh, width: float, depth: float, top: float, ridge: float, paint) -> None:
    """A box with two gables, one mesh, so that courses run through."""
    half, d = width / 2, depth / 2
    front = [(-d, -half, 0.0), (-d, half, 0.0), (-d, half, top), (-d, 0.0, ridge), (-d, -half, top)]
    back = [(d, y, z) for _, y, z in front]
    faces = [[4, 3, 2, 1, 0], [5, 6, 7, 8, 9], [0, 5, 9, 4], [1, 2, 7, 6]]
    house.add([*front, *back], faces, paint)


def build_house(scene: bpy.types.Scene, plan: House, number: int, paints) -> None:
    """In its own frame the street is at -x for a house on the right, and it is turned round for one on the left."""
    house = Mesh(f"House {number}")
    top = 2.7 * plan.storeys + 0.3
    ridge = top + plan.width * 0.46
    front = -plan.depth / 2
    walls(house, plan.width, plan.depth, top, ridge, paints[plan.wall])
    house.box((0.0, 0.0, 0.25), (plan.depth + 0.12, plan.width + 0.12, 0.5), paints["Rubble"])
    gable_roof(house, plan.width, plan.depth, top, ridge, paints[plan.roof])
    shutters = paints[plan.shutters]
    openings = (-plan.width * 0.27, plan.width * 0.27)
    door_at = openings[number % 2]
    door(house, front, door_at, shutters, paints, -1)
    window(house, front, -door_at, 1.65, shutters, paints, -1)
    for storey in range(1, plan.storeys):
        z = 2.7 * storey + 1.65
        for i, y in enumerate(openings):
            window(house, front, y, z, shutters, paints, -1)
            if (number + storey + i) % 2:
                flower_box(house, front, y, z, paints, -1, number * 20 + i)
    side_windows(house, plan, shutters, paints)
    house.box((front - 0.02, 0.0, top + (ridge - top) * 0.42), (0.1, 0.8, 0.8), paints["Window glass"])
    if plan.timber:
        half_timber(house, front, plan.width, top, ridge, paints, -1)
    chimney(house, plan, ridge, paints)
    x = plan.side * (STREET + 1.2 + plan.depth / 2 + plan.back)
    house.object(scene, (x, plan.along, 0.0), 0.0 if plan.side > 0 else math.pi)


def side_windows(house: Mesh, plan: House, shutters, paints) -> None:
    """On both flanks, which the camera sees where a neighbour is missing."""
    for way in (-1, 1):
        kept = house.at
        house.at = kept @ Matrix.Rotation(way * math.pi / 2, 4, "Z")
        for storey in range(plan.storeys):
            for x in (-plan.depth * 0.22, plan.depth * 0.22):
                window(house, plan.width / 2, x, 2.7 * storey + 1.65, shutters, paints, 1)
        house.at = kept


def chimney(house: Mesh, plan: House, ridge: float, paints) -> None:
    x, y = plan.depth * 0.25, plan.width * 0.18
    house.box((x, y, ridge - 0.1), (0.8, 0.8, 2.2), paints["Brick"])
    house.box((x, y, ridge + 1.05), (1.0, 1.0, 0.14), paints["Paving"])
    for way in (-1, 1):
        house.turned([(0.14, 0.0), (0.11, 0.4)], paints["Red tiles"], (x, y + way * 0.2, ridge + 1.1), sides=10)


def tree(scene: bpy.types.Scene, name: str, location: Point, height: float, paints, seed: int) -> None:
    """A broad-leaved tree: trunk, three boughs, a crown of rough balls."""
    luck = random.Random(seed)
    made = Mesh(name)
    made.tube((0, 0, -0.3), (0.1, 0.05, height * 0.55), 0.26, paints["Bark"], taper=0.6)
    for i in range(3):
        a = math.tau * (i / 3 + luck.random() * 0.2)
        tip = (math.cos(a) * height * 0.2, math.sin(a) * height * 0.2, height * 0.68)
        made.tube((0.05, 0.0, height * 0.38), tip, 0.12, paints["Bark"], sides=7, taper=0.5)
    for i in range(11):
        a, r = luck.random() * math.tau, height * 0.24 * math.sqrt(luck.random())
        centre = (math.cos(a) * r, math.sin(a) * r, height * (0.58 + 0.34 * luck.random()))
        made.ball(
            centre, height * (0.15 + 0.07 * luck.random()), paints["Lime leaves"], (1, 1, 0.85), 0.16, 3, seed + i
        )
    made.object(scene, location)


def cypress(scene: bpy.types.Scene, name: str, location: Point, height: float, paints, seed: int) -> None:
    made = Mesh(name)
    made.tube((0, 0, -0.2), (0, 0, height * 0.2), 0.16, paints["Bark"])
    for i in range(6):
        z, r = height * (0.2 + 0.135 * i), height * 0.115 * (1.0 - 0.13 * i)
        made.ball((0, 0, z), r, paints["Cypress leaves"], (1, 1, 1.7), 0.14, 3, seed + i)
    made.object(scene, location)


def lamp_post(scene: bpy.types.Scene, name: str, location: Point, paints) -> None:
    made = Mesh(name)
    iron = paints["Iron"]
    made.turned(
        [(0.2, 0.0), (0.2, 0.25), (0.09, 0.45), (0.06, 0.6), (0.05, 3.3), (0.12, 3.4), (0.06, 3.48)], iron, sides=12
    )
    made.turned([(0.13, 3.48), (0.2, 3.95)], paints["Lantern glass"], sides=6, smooth=False)
    made.turned([(0.24, 3.95), (0.05, 4.18), (0.02, 4.3)], iron, sides=6, smooth=False)
    made.tube((-0.3, 0, 3.25), (0.3, 0, 3.25), 0.025, iron, sides=6)
    made.object(scene, location)


def fountain(scene: bpy.types.Scene, location: Point, paints) -> None:
    """The square's middle."""
    made = Mesh("Fountain")
    made.turned(
        [(2.0, 0.0), (2.0, 0.12), (1.75, 0.14), (1.7, 0.65), (1.85, 0.72), (1.85, 0.8), (1.55, 0.8)],
        paints["Rubble"],
        sides=20,
    )
    made.turned([(1.54, 0.66), (1.54, 0.7)], paints["Sea"], sides=20)
    made.turned(
        [(0.3, 0.6), (0.22, 0.8), (0.2, 1.5), (0.75, 1.75), (0.8, 1.85), (0.6, 1.86)], paints["Paving"], sides=16
    )
    made.turned(
        [(0.16, 1.8), (0.12, 2.3), (0.36, 2.45), (0.1, 2.6), (0.14, 2.8), (0.03, 2.95)], paints["Paving"], sides=14
    )
    made.object(scene, location)


def cart(scene: bpy.types.Scene, location: Point, turn: float, paints) -> None:
    """A two-wheeled market cart with a load of sacks and pumpkins."""
    made = Mesh("Market cart")
    boards, iron = paints["Oak boards"], paints["Iron"]
    made.box((0, 0, 0.8), (1.9, 1.1, 0.1), boards)
    for x, y, wide, long in ((0, 0.53, 1.9, 0.06), (0, -0.53, 1.9, 0.06), (0.92, 0, 0.06, 1.1), (-0.92, 0, 0.06, 1.1)):
        made.box((x, y, 1.02), (wide, long, 0.36), boards)
    for y in (-0.66, 0.66):
        wheel(made, (0.1, y, 0.52), 0.52, boards, iron)
    for y in (-0.45, 0.45):
        made.tube((-0.9, y, 0.84), (-2.2, y, 0.35), 0.05, boards, sides=7)
    colours = (paints["Ochre plaster"], paints["Sail"], paints["Red tiles"])
    for i in range(7):
        centre = (-0.6 + 0.4 * (i % 4), -0.22 + 0.45 * (i // 4), 1.1 + 0.05 * (i % 2))
        made.ball(centre, 0.27, colours[i % 3], (1, 1, 0.85), 0.04, 3, i)
    made.object(scene, location, turn)


def wheel(made: Mesh, centre: Point, radius: float, boards, iron) -> None:
    """Rim of short rods, spokes and a hub, in the x-z plane."""
    x, y, z = centre
    rim = [(x + radius * math.cos(a), y, z + radius * math.sin(a)) for a in (math.tau * i / 14 for i in range(14))]
    for i, point in enumerate(rim):
        made.tube(point, rim[(i + 1) % 14], 0.045, iron, sides=5)
        if i % 2:
            made.tube(centre, point, 0.03, boards, sides=5)
    made.ball(centre, 0.1, iron)


def market_stall(scene: bpy.types.Scene, location: Point, turn: float, paints) -> None:
    made = Mesh("Market stall")
    for x in (-1.2, 1.2):
        for y in (-0.7, 0.7):
            made.tube((x, y, 0.0), (x, y, 2.1 + (0.4 if y > 0 else 0.0)), 0.05, paints["Timber"], sides=6)
    made.add(
        [(-1.5, -1.1, 2.05), (1.5, -1.1, 2.05), (1.5, 0.9, 2.62), (-1.5, 0.9, 2.62)], [[0, 1, 2, 3]], paints["Awning"]
    )
    made.box((0, 0, 0.85), (2.5, 1.3, 0.1), paints["Oak boards"])
    made.box((0, -0.6, 0.45), (2.5, 0.06, 0.8), paints["Oak boards"])
    fruit = (paints["Geraniums"], paints["Ochre plaster"], paints["Lime leaves"], paints["Red tiles"])
    for i in range(4):
        made.box((-0.9 + 0.6 * i, 0.0, 0.98), (0.52, 1.0, 0.16), paints["Timber"])
        for j in range(9):
            centre = (-1.04 + 0.6 * i + 0.14 * (j % 3), -0.3 + 0.3 * (j // 3), 1.08)
            made.ball(centre, 0.11, fruit[i], level=2)
    made.object(scene, location, turn)


def barrels(scene: bpy.types.Scene, location: Point, paints) -> None:
    made = Mesh("Barrels")
    for x, y, z in ((0, 0, 0), (0.75, 0.15, 0), (0.3, 0.7, 0)):
        made.turned([(0.27, 0), (0.36, 0.3), (0.36, 0.65), (0.27, 0.95)], paints["Oak boards"], (x, y, z), sides=14)
        for h, r in ((0.16, 0.33), (0.76, 0.34)):
            made.turned([(r, h), (r, h + 0.07)], paints["Iron"], (x, y, z), sides=14)
    made.object(scene, location)


def bench(scene: bpy.types.Scene, location: Point, turn: float, paints) -> None:
    made = Mesh("Bench")
    for y in (-0.16, 0.0, 0.16):
        made.box((0, y, 0.48), (1.7, 0.13, 0.05), paints["Oak boards"])
    for z in (0.7, 0.88):
        made.box((0, 0.27, z), (1.7, 0.05, 0.13), paints["Oak boards"])
    for x in (-0.7, 0.7):
        made.box((x, 0.0, 0.23), (0.07, 0.46, 0.46), paints["Iron"])
        made.box((x, 0.27, 0.68), (0.07, 0.05, 0.5), paints["Iron"])
    made.object(scene, location, turn)


def land_height(x: float, y: float) -> float:
    """Flat in the village, a little rolling beside it, down to the sea bed behind the shore."""
    aside = max(0.0, abs(x) - 13.0)
    hill = 0.012 * aside**2 * (1.0 + 0.3 * math.sin(y * 0.09)) + 0.25 * math.sin(x * 0.3) * min(aside, 3.0) / 3.0
    beach = max(0.0, y - SHORE + 0.08 * abs(x))
    return min(hill, 14.0) * max(0.0, 1.0 - beach / 14.0) - 0.02 - min(beach * 0.5, 7.0)


def land(scene: bpy.types.Scene, paints) -> None:
    ground = Mesh("Meadow")
    xs = [-90 + 4.0 * i for i in range(46)]
    ys = [-40 + 4.0 * i for i in range(31)]
    ground.sheet(xs, ys, land_height, paints["Grass"])
    ground.object(scene)
    street = Mesh("Street")
    street.sheet([-STREET, 0.0, STREET], [-40.0 + 6.0 * i for i in range(18)], lambda x, y: 0.0, paints["Cobbles"])
    street.sheet([-11.5, -STREET, 0.0, STREET, 11.5], [12.6, 17.0, 21.4], lambda x, y: 0.012, paints["Cobbles"])
    street.object(scene)
    paving = Mesh("Pavements")
    for way in (-1, 1):
        for y0, y1 in ((-40.0, 12.2), (21.8, 60.0)):
            paving.box((way * (STREET + 0.6), (y0 + y1) / 2, 0.02), (1.25, y1 - y0, 0.2), paints["Paving"])
    paving.object(scene)
    wall = Mesh("Sea wall")
    wall.box((0.0, SHORE, 0.3), (60.0, 0.7, 1.2), paints["Rubble"])
    wall.box((0.0, SHORE, 0.95), (60.0, 0.9, 0.14), paints["Paving"])
    wall.object(scene)


def sea_and_hills(scene: bpy.types.Scene, paints) -> None:
    water = Mesh("Sea")
    water.sheet([-700.0, -200.0, 0.0, 200.0, 700.0], [50.0, 120.0, 300.0, 900.0], lambda x, y: -1.6, paints["Sea"])
    water.object(scene)
    hills = Mesh("Far hills")
    xs = [-640.0 + 16.0 * i for i in range(81)]
    ys = [420.0 + 20.0 * i for i in range(12)]
    hills.sheet(xs, ys, hill_height, paints["Far hills"])
    hills.object(scene)


def hill_height(x: float, y: float) -> float:
    ridge = math.exp(-(((y - 540.0) / 70.0) ** 2))
    shape = 26 * math.sin(x * 0.009 + 0.6) + 15 * math.sin(x * 0.023 + 2.0) + 6 * math.sin(x * 0.061)
    bay = 1.0 / (1.0 + math.exp(-(abs(x - 60.0) - 130.0) / 40.0))
    return ridge * (30.0 + shape) * (0.25 + 0.75 * bay) - 5.0


def lighthouse(scene: bpy.types.Scene, location: Point, paints) -> None:
    made = Mesh("Lighthouse")
    made.ball((0, 0, -1.0), 9.0, paints["Cliff"], (1.3, 1.1, 0.42), 0.16, 3, 5)
    bands = [(2.3, 2.0), (2.1, 5.5), (1.95, 9.0), (1.8, 12.5), (1.65, 16.0)]
    for i, (low, high) in enumerate(itertools.pairwise(bands)):
        made.turned([low, high], paints[("Lighthouse white", "Lighthouse red")[i % 2]], sides=20)
    made.turned([(2.3, 16.0), (2.3, 16.3)], paints["Iron"], sides=20)
    made.turned([(1.1, 16.3), (1.1, 18.0)], paints["Lantern glass"], sides=12)
    made.turned([(1.5, 18.0), (0.9, 18.9), (0.1, 19.5)], paints["Lighthouse red"], sides=16)
    made.object(scene, location)


def sailing_boat(scene: bpy.types.Scene, name: str, location: Point, turn: float, paints) -> None:
    made = Mesh(name)
    made.ball((0, 0, 0.2), 1.0, paints["Blue paint"], (3.2, 1.0, 0.9), level=3)
    made.tube((0.4, 0, 0.6), (0.4, 0, 8.0), 0.09, paints["Timber"])
    made.add([(0.3, 0.03, 1.6), (-3.0, 0.03, 1.6), (0.3, 0.03, 7.6)], [[0, 1, 2]], paints["Sail"])
    made.add([(0.55, -0.03, 1.8), (3.2, -0.03, 1.2), (0.5, -0.03, 6.9)], [[0, 1, 2]], paints["Sail"])
    made.object(scene, location, turn)


def street_life(scene: bpy.types.Scene, paints) -> None:
    """What stands about: lamps along the kerb, trees, the market on the square."""
    for i, y in enumerate((-11.5, -3.2, 4.6, 12.4, 22.0, 30.0, 38.0)):
        lamp_post(scene, f"Lamp post {i + 1}", ((STREET - 0.1) * (-1 if i % 2 else 1), y, 0.0), paints)
    fountain(scene, (0.4, 17.0, 0.0), paints)
    market_stall(scene, (-5.4, 18.9, 0.0), 0.9, paints)
    cart(scene, (2.1, 3.2, 0.0), 1.9, paints)
    barrels(scene, (-3.5, -3.0, 0.1), paints)
    bench(scene, (5.0, 15.0, 0.0), -2.3, paints)
    for i, (x, y, h) in enumerate(
        ((-5.3, 14.6, 5.6), (6.2, 19.6, 6.4), (-12.5, 48.0, 7.0), (12.0, 50.0, 6.4), (16.5, 30.0, 8.0))
    ):
        tree(scene, f"Lime tree {i + 1}", (x, y, land_height(x, y)), h, paints, 40 + 13 * i)
    for i, (x, y, h) in enumerate(
        ((-16.0, 6.0, 8.5), (15.5, 3.0, 9.0), (-6.2, 56.5, 7.5), (6.0, 57.0, 8.2), (-15.5, 24.0, 8.0))
    ):
        cypress(scene, f"Cypress {i + 1}", (x, y, land_height(x, y)), h, paints, 90 + 7 * i)


def crane(scene: bpy.types.Scene) -> None:
    """From eye height on the cobbles up over the fountain: the street, then the sea behind it. Keyed on every frame."""
    shot = stage.camera(scene, "Crane", 26.0)
    for frame in range(scene.frame_start, scene.frame_end + 1):
        x = stage.ease((frame - scene.frame_start) / (scene.frame_end - scene.frame_start))
        eye = stage.between((-1.3, -13.0, 1.75), (0.7, -4.0, 7.4), x)
        shot.location = eye
        shot.rotation_euler = stage.aim(tuple(eye), tuple(stage.between((0.4, 12.0, 2.9), (0.0, 26.0, 3.2), x)))
        shot.keyframe_insert("location", frame=frame)
        shot.keyframe_insert("rotation_euler", frame=frame)
    scene.frame_set(scene.frame_start)


def build() -> bpy.types.Scene:
    scene = stage.empty_scene("Village")
    paints = palette()
    land(scene, paints)
    sea_and_hills(scene, paints)
    for number, plan in enumerate(HOUSES, 1):
        build_house(scene, plan, number, paints)
    street_life(scene, paints)
    lighthouse(scene, (10.5, 140.0, -2.0), paints)
    for i, (x, y, turn) in enumerate(((-6.0, 100.0, 0.4), (-15.0, 165.0, -0.3), (2.0, 250.0, 0.1))):
        sailing_boat(scene, f"Sailing boat {i + 1}", (x, y, -1.6), turn, paints)
    stage.sun(scene, (-0.36, -0.72, 0.66), 4.0)
    stage.sky(scene, "#dfe7ea", "#a9cbe6", "#4f86bf", "#ffffff", 1.0)
    crane(scene)
    return scene


if __name__ == "__main__":
    stage.main(build)
