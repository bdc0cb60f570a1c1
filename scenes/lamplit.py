"""A room by night: a desk lamp, a standing lamp, a screen and a neon sign light it; the window shows a dark town with
lit windows. A camera pans and trucks past the desk."""

from __future__ import annotations

import itertools
import math
import random

import bpy

from . import materials as m
from . import stage
from .shapes import Mesh, Point

LEFT, RIGHT, FRONT, BACK, HIGH = -2.6, 2.6, -3.4, 2.4, 2.7


def palette() -> dict[str, bpy.types.Material]:
    made = [
        m.planks("Dark floor", "#5a4030"),
        m.plaster("Wall paint", "#7d8894"),
        m.brick("Back wall", "#9a5a44", "#74402f"),
        m.plain("Ceiling", "#d9d6cf", 0.9),
        m.wood("Desk wood", "#7b5233"),
        m.fabric("Bed cover", "#3d4f77", 0.05),
        m.fabric("Pillow", "#d9d2c2", 0.03),
        m.rug("Carpet", "#6b2f39", "#c99a5b", "#2c3a55"),
        m.plain("Chair leather", "#2b2522", 0.35),
        m.plain("Chrome", "#cfd2d6", 0.12, 1.0),
        m.plain("Black plastic", "#151518", 0.4),
        m.plain("Shade", "#e6d2a8", 0.9),
        m.glow("Bulb", "#ffcf8a", 18.0),
        m.glow("Screen", "#7fb2ff", 5.0),
        m.glow("Neon pink", "#ff3f8f", 9.0),
        m.glow("Town windows", "#ffc36b", 1.6),
        m.plain("Town", "#1c2028", 0.9),
        m.fabric("Curtain cloth", "#6e3b4e", 0.04),
        m.leaves("Pot plant", "#1f4a2a", "#3c7a3c", "#79ab55", 9.0),
        m.plain("Clay", "#a85c3c", 0.9),
    ]
    made += [m.fabric(f"{name} cover", colour, 0.03) for name, colour in
             (("Red", "#8a2f2b"), ("Green", "#3c5d40"), ("Cream", "#d8c9a6"))]  # fmt: skip
    return {material.name: material for material in made}


def room(scene: bpy.types.Scene, paints) -> None:
    """Four walls, the right one open for a window."""
    middle, long, wide = (FRONT + BACK) / 2, BACK - FRONT, RIGHT - LEFT
    for name, centre, size, paint in (
        ("Floor", (0, middle, -0.05), (wide, long, 0.1), "Dark floor"),
        ("Ceiling", (0, middle, HIGH + 0.05), (wide, long, 0.1), "Ceiling"),
        ("Brick wall", (0, BACK + 0.1, HIGH / 2), (wide, 0.2, HIGH), "Back wall"),
        ("Front wall", (0, FRONT - 0.1, HIGH / 2), (wide, 0.2, HIGH), "Wall paint"),
        ("Left wall", (LEFT - 0.1, middle, HIGH / 2), (0.2, long, HIGH), "Wall paint"),
    ):
        made = Mesh(name)
        made.box(centre, size, paints[paint])
        made.object(scene)
    wall = Mesh("Window wall")
    for y0, y1, z0, z1 in ((FRONT, -0.6, 0, HIGH), (1.4, BACK, 0, HIGH), (-0.6, 1.4, 0, 0.9), (-0.6, 1.4, 2.2, HIGH)):
        wall.box((RIGHT + 0.1, (y0 + y1) / 2, (z0 + z1) / 2), (0.2, y1 - y0, z1 - z0), paints["Wall paint"])
    for y in (-0.57, 0.4, 1.37):
        wall.box((RIGHT + 0.05, y, 1.55), (0.08, 0.06, 1.3), paints["Desk wood"])
    wall.object(scene)
    carpet = Mesh("Carpet")
    carpet.box((0.2, -0.6, 0.012), (2.4, 1.7, 0.024), paints["Carpet"])
    carpet.object(scene)
    curtain = Mesh("Curtains")
    for middle in (-0.85, 1.65):
        plan = [(RIGHT - 0.12 + 0.05 * math.sin(i * 1.6), middle - 0.25 + 0.5 * i / 20) for i in range(21)]
        points = [(x, y, z) for z in (0.05, 2.35) for x, y in plan]
        curtain.add(points, [[i, i + 1, 22 + i, 21 + i] for i in range(20)], paints["Curtain cloth"], smooth=True)
    curtain.object(scene)


def town(scene: bpy.types.Scene, paints, luck: random.Random) -> None:
    """Houses across the street, some of their windows lit."""
    made = Mesh("Town")
    for i in range(7):
        high, y = luck.uniform(4.0, 9.0), -12.0 + 4.2 * i
        made.box((13.0, y, high / 2 - 3.0), (4.0, 3.9, high), paints["Town"])
        for row in range(int(high / 1.6)):
            for column in range(3):
                if luck.random() < 0.4:
                    made.box((10.98, y - 1.2 + 1.2 * column, row * 1.5 - 2.2), (0.06, 0.6, 0.8), paints["Town windows"])
    made.object(scene)


def desk(scene: bpy.types.Scene, paints, luck: random.Random) -> None:
    made = Mesh("Desk")
    made.box((0, 0, 0.72), (1.7, 0.75, 0.05), paints["Desk wood"])
    for x in (-0.78, 0.78):
        made.box((x, 0, 0.35), (0.06, 0.65, 0.7), paints["Desk wood"])
    made.box((-0.5, 0.0, 0.77), (0.3, 0.22, 0.04), paints["Red cover"], 0.3)
    made.box((-0.48, 0.02, 0.805), (0.27, 0.2, 0.03), paints["Cream cover"], 0.1)
    made.object(scene, (-0.5, BACK - 0.5, 0.0))
    screen = Mesh("Monitor")
    screen.box((0, 0, 0.32), (0.9, 0.04, 0.52), paints["Black plastic"])
    screen.box((0, -0.022, 0.32), (0.86, 0.005, 0.48), paints["Screen"])
    screen.box((0, 0.06, 0.04), (0.08, 0.06, 0.1), paints["Chrome"])
    screen.box((0, 0.02, 0.01), (0.3, 0.2, 0.02), paints["Chrome"])
    screen.object(scene, (-0.3, BACK - 0.35, 0.745))
    lamp = Mesh("Desk lamp")
    lamp.turned([(0.1, 0.0), (0.1, 0.02), (0.02, 0.04)], paints["Chrome"], sides=20)
    lamp.tube((0, 0, 0.03), (-0.06, 0, 0.4), 0.012, paints["Chrome"])
    lamp.tube((-0.06, 0, 0.4), (0.16, -0.05, 0.52), 0.012, paints["Chrome"])
    lamp.turned(
        [(0.04, 0.55), (0.13, 0.42), (0.125, 0.42), (0.035, 0.54)], paints["Red cover"], (0.2, -0.06, 0.0), sides=24
    )
    lamp.ball((0.2, -0.06, 0.46), 0.035, paints["Bulb"], level=3)
    lamp.object(scene, (-1.1, BACK - 0.45, 0.745))
    point(scene, "Desk light", (-0.9, BACK - 0.51, 1.13), 45.0, (1.0, 0.78, 0.48), 0.03)
    chair = Mesh("Office chair")
    chair.box((0, 0, 0.48), (0.5, 0.5, 0.1), paints["Chair leather"])
    chair.box((0, -0.24, 0.85), (0.46, 0.08, 0.6), paints["Chair leather"])
    chair.tube((0, 0, 0.06), (0, 0, 0.45), 0.03, paints["Chrome"])
    for i in range(5):
        a = math.tau * i / 5
        chair.tube((0, 0, 0.1), (0.3 * math.cos(a), 0.3 * math.sin(a), 0.05), 0.025, paints["Chrome"], sides=8)
    chair.object(scene, (-0.3, BACK - 1.25, 0.0), 0.4)
    shelf = Mesh("Bookshelf")
    shelf.box((0, 0, 0), (1.5, 0.26, 0.03), paints["Desk wood"])
    x = -0.7
    while x < 0.6:
        thick, tall = luck.uniform(0.03, 0.06), luck.uniform(0.2, 0.3)
        shelf.box(
            (x, 0, 0.02 + tall / 2),
            (thick, 0.2, tall),
            paints[luck.choice(("Red cover", "Green cover", "Cream cover"))],
        )
        x += thick + 0.004
    shelf.object(scene, (-0.5, BACK - 0.15, 1.75))


def bed_corner(scene: bpy.types.Scene, paints) -> None:
    made = Mesh("Bed")
    made.box((0, 0, 0.2), (1.3, 2.1, 0.3), paints["Desk wood"])
    made.ball((0, -0.1, 0.42), 1.0, paints["Bed cover"], (0.64, 1.0, 0.16), level=4)
    made.ball((0, 0.75, 0.5), 0.36, paints["Pillow"], (1.2, 0.6, 0.4), level=3)
    made.object(scene, (1.75, -1.9, 0.0))
    lamp = Mesh("Standing lamp")
    lamp.turned([(0.16, 0.0), (0.16, 0.03), (0.015, 0.05), (0.015, 1.4)], paints["Chrome"], sides=18)
    lamp.ball((0, 0, 1.52), 0.06, paints["Bulb"], level=3)
    ring = [(0.24 * math.cos(math.tau * i / 24), 0.24 * math.sin(math.tau * i / 24)) for i in range(24)]
    points = [(x * k, y * k, z) for z, k in ((1.36, 1.0), (1.7, 0.7)) for x, y in ring]
    lamp.add(points, [[i, (i + 1) % 24, 24 + (i + 1) % 24, 24 + i] for i in range(24)], paints["Shade"], True)
    lamp.object(scene, (2.1, 1.9, 0.0))
    point(scene, "Standing light", (2.1, 1.9, 1.64), 110.0, (1.0, 0.72, 0.42), 0.06)
    plant = Mesh("Pot plant")
    plant.turned([(0.13, 0.0), (0.17, 0.26), (0.15, 0.27)], paints["Clay"], sides=16)
    for i in range(14):
        a = i * 2.4
        plant.ball(
            (0.16 * math.cos(a), 0.16 * math.sin(a), 0.4 + 0.03 * i), 0.16, paints["Pot plant"], (1, 0.5, 0.15), level=3
        )
    plant.object(scene, (-2.2, 1.0, 0.0))
    sign = Mesh("Neon sign")
    turns = [(0.3 * math.cos(a), 0.3 * math.sin(a)) for a in (0.4 + 5.5 * i / 22 for i in range(23))]
    for (y0, z0), (y1, z1) in itertools.pairwise(turns):
        sign.tube((0, y0, z0), (0, y1, z1), 0.018, paints["Neon pink"], sides=8)
    sign.object(scene, (LEFT + 0.06, -0.4, 1.7))


def point(scene: bpy.types.Scene, name: str, place: Point, watts: float, colour: Point, radius: float) -> None:
    data = bpy.data.lights.new(name, "POINT")
    data.energy, data.color, data.shadow_soft_size = watts, colour, radius
    light = bpy.data.objects.new(name, data)
    light.location = place
    scene.collection.objects.link(light)


def build() -> bpy.types.Scene:
    scene = stage.empty_scene("Lamplit room")
    paints, luck = palette(), random.Random(5)
    room(scene, paints)
    town(scene, paints, luck)
    desk(scene, paints, luck)
    bed_corner(scene, paints)
    stage.plain_sky(scene, "#0d1526", 0.4)
    eyes, targets = ((-1.4, -2.7, 1.45), (0.5, -2.4, 1.35)), ((-0.9, 2.0, 1.1), (0.5, 2.0, 1.05))
    stage.travel(scene, "Pan and truck", 22.0, eyes, targets)
    return scene


if __name__ == "__main__":
    stage.main(build)
