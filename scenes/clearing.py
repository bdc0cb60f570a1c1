"""A stylised clearing in a forest: cards of leaves cut out by their alpha, ferns, toadstools, a tent with a small fire
before it, low sun through the trunks. A camera orbits the tent."""

from __future__ import annotations

import math
import random

import bpy
from mathutils import Matrix

from . import materials as m
from . import stage
from .shapes import Mesh, Point


def leaf_card(name: str, colours: tuple[str, str], leaves: float) -> bpy.types.Material:
    """Many leaves on one card: round cells of a Voronoi pattern are there, what lies between them is clear."""
    made, t = m.material(name)
    uv = t.coordinates()
    cell = t.voronoi(uv, leaves)
    tone = t.axis(t.voronoi(uv, leaves, output="Color"), "X")
    t.surface(Base_Color=t.ramp(tone, (0.1, colours[0]), (0.9, colours[1])), Roughness=0.8)
    t.surface(Alpha=t.math("LESS_THAN", cell, 0.42))
    return made


def fern_blade(name: str, colours: tuple[str, str]) -> bpy.types.Material:
    """Leaflets: stripes across the blade, with clear gaps between."""
    made, t = m.material(name)
    along = t.math("FRACT", t.math("MULTIPLY", t.axis(t.coordinates(), "Y"), 16.0))
    t.surface(Base_Color=t.ramp(along, (0.0, colours[0]), (0.6, colours[1])), Roughness=0.7)
    t.surface(Alpha=t.math("LESS_THAN", along, 0.6))
    return made


def palette() -> dict[str, bpy.types.Material]:
    made = [
        leaf_card("Beech leaves", ("#4d7a25", "#a9c44a"), 5.0),
        leaf_card("Copper leaves", ("#8a4a22", "#d69345"), 5.0),
        fern_blade("Fern", ("#2f5a22", "#6f9a3c")),
        m.wood("Bark", "#6a5440"),
        m.grass("Forest floor"),
        m.rock("Boulder", "#9a9890", "#5c5a55", 0.9),
        m.fabric("Tent cloth", "#d8763a", 0.04),
        m.plain("Toadstool red", "#c0281f", 0.3),
        m.plain("Toadstool white", "#efe7d6", 0.7),
        m.plain("Rope", "#c9b48a", 0.9),
        m.glow("Embers", "#ff7a26", 5.0),
        m.wood("Firewood", "#4b3a2c"),
    ]
    return {material.name: material for material in made}


def floor_height(x: float, y: float) -> float:
    away = max(0.0, math.hypot(x, y) - 6.0)
    return 0.14 * math.sin(0.9 * x) * math.cos(0.7 * y) + 0.012 * away**1.6


def card(made: Mesh, centre: Point, size: float, turn: tuple[float, float], paint) -> None:
    """A square of leaves that stands anywhere in any direction."""
    made.at = Matrix.Translation(centre) @ Matrix.Rotation(turn[0], 4, "Z") @ Matrix.Rotation(turn[1], 4, "X")
    h = size / 2
    made.add([(-h, 0, -h), (h, 0, -h), (h, 0, h), (-h, 0, h)], [[0, 1, 2, 3]], paint)
    made.at = Matrix.Identity(4)


def tree(scene: bpy.types.Scene, name: str, place: Point, high: float, leaves, paints, luck: random.Random) -> None:
    made = Mesh(name)
    lean = (luck.uniform(-0.3, 0.3), luck.uniform(-0.3, 0.3))
    top = (lean[0] * 2, lean[1] * 2, high * 0.8)
    made.tube((0, 0, -0.3), top, 0.16 + 0.014 * high, paints["Bark"], sides=12, taper=0.4)
    for i in range(5):
        a, z = i * 2.4 + luck.random(), high * (0.45 + 0.09 * i)
        reach = high * 0.16
        tip = (reach * math.cos(a), reach * math.sin(a), z + 0.8)
        made.tube((lean[0] * 2 * z / high, lean[1] * 2 * z / high, z), tip, 0.05, paints["Bark"], sides=6, taper=0.5)
    for _ in range(44):
        a, out = luck.uniform(0, math.tau), high * 0.34 * math.sqrt(luck.random())
        z = high * luck.uniform(0.36, 1.02)
        card(made, (out * math.cos(a) + top[0], out * math.sin(a) + top[1], z), luck.uniform(1.2, 2.0),
             (luck.uniform(0, math.tau), luck.uniform(-0.9, 0.9)), leaves)  # fmt: skip
    made.object(scene, place)


def fern(made: Mesh, place: Point, size: float, paint, luck: random.Random) -> None:
    for i in range(9):
        turn = i * math.tau / 9 + luck.uniform(-0.2, 0.2)
        made.at = Matrix.Translation(place) @ Matrix.Rotation(turn, 4, "Z") @ Matrix.Rotation(0.6, 4, "X")
        made.add([(-0.13, 0, 0), (0.13, 0, 0), (0.02, size, 0.1), (-0.02, size, 0.1)], [[0, 1, 2, 3]], paint)
    made.at = Matrix.Identity(4)


def toadstool(made: Mesh, place: Point, size: float, paints) -> None:
    made.turned(
        [(0.25 * size, 0.0), (0.16 * size, 0.3 * size), (0.14 * size, 0.8 * size)], paints["Toadstool white"], place
    )
    cap = [(0.6 * size, 0.75 * size), (0.55 * size, 0.92 * size), (0.35 * size, 1.12 * size), (0.02, 1.22 * size)]
    made.turned(cap, paints["Toadstool red"], place, sides=20)
    for i in range(7):
        a = i * 2.4
        spot = (place[0] + 0.42 * size * math.cos(a), place[1] + 0.42 * size * math.sin(a), place[2] + 1.04 * size)
        made.ball(spot, 0.07 * size, paints["Toadstool white"])


def camp(scene: bpy.types.Scene, paints) -> None:
    tent = Mesh("Tent")
    outline = [(-1.3, 0.0), (-1.22, 0.0), (0.0, 1.74), (1.22, 0.0), (1.3, 0.0), (0.0, 1.85)]
    tent.prism(outline, -1.4, 1.4, paints["Tent cloth"])
    tent.prism([(-1.2, 0.02), (1.2, 0.02), (0.0, 1.7)], 1.3, 1.38, paints["Tent cloth"])
    for side in (-1, 1):
        tent.tube((0, side * 1.4, 1.8), (0, side * 2.4, 0.0), 0.015, paints["Rope"], sides=5)
    tent.object(scene, (0.6, 1.2, 0.05), 0.4)
    fire = Mesh("Campfire")
    for i in range(7):
        a = i * math.tau / 7
        fire.ball((0.5 * math.cos(a), 0.5 * math.sin(a), 0.05), 0.15, paints["Boulder"], rough=0.25, level=3, seed=i)
        fire.tube((0.34 * math.cos(a), 0.34 * math.sin(a), 0.02), (0, 0, 0.4), 0.04, paints["Firewood"], sides=7)
    fire.ball((0, 0, 0.12), 0.2, paints["Embers"], (1, 1, 0.6), rough=0.3, level=3)
    fire.object(scene, (-0.8, -1.4, 0.02))
    data = bpy.data.lights.new("Firelight", "POINT")
    data.energy, data.color, data.shadow_soft_size = 60.0, (1.0, 0.45, 0.15), 0.2
    light = bpy.data.objects.new("Firelight", data)
    light.location = (-0.8, -1.4, 0.55)
    scene.collection.objects.link(light)


def undergrowth(scene: bpy.types.Scene, paints, luck: random.Random) -> None:
    ferns, stools, stones = Mesh("Ferns"), Mesh("Toadstools"), Mesh("Boulders")
    for _ in range(34):
        a, out = luck.uniform(0, math.tau), luck.uniform(3.4, 8.0)
        x, y = out * math.cos(a), out * math.sin(a)
        fern(ferns, (x, y, floor_height(x, y)), luck.uniform(0.6, 1.1), paints["Fern"], luck)
    for x, y, size in ((2.9, -1.2, 0.5), (3.3, -0.9, 0.3), (-2.9, 0.9, 0.4), (-2.5, 0.6, 0.25), (3.0, -1.7, 0.22)):
        toadstool(stools, (x, y, floor_height(x, y)), size, paints)
    for i in range(9):
        a, out = i * 2.4, luck.uniform(3.4, 8.0)
        x, y = out * math.cos(a), out * math.sin(a)
        stones.ball(
            (x, y, floor_height(x, y) + 0.1), luck.uniform(0.25, 0.7), paints["Boulder"], (1, 1.2, 0.7), 0.18, 3, i
        )
    for made in (ferns, stools, stones):
        made.object(scene)


def build() -> bpy.types.Scene:
    scene = stage.empty_scene("Clearing")
    paints, luck = palette(), random.Random(11)
    ground = Mesh("Forest floor")
    steps = [-24 + 1.0 * i for i in range(49)]
    ground.sheet(steps, steps, floor_height, paints["Forest floor"])
    ground.object(scene)
    for i in range(30):
        a, out = i * 2.39996, 6.0 + 0.36 * i
        x, y = out * math.cos(a), out * math.sin(a)
        leaves = paints["Copper leaves" if i % 4 == 0 else "Beech leaves"]
        tree(scene, f"Beech {i + 1}", (x, y, floor_height(x, y)), luck.uniform(4.6, 7.4), leaves, paints, luck)
    undergrowth(scene, paints, luck)
    camp(scene, paints)
    stage.sun(scene, (0.72, 0.48, 0.42), 4.5, (1.0, 0.82, 0.58))
    stage.sky(scene, "#e8e2c8", "#b9d0d8", "#6f9cc4", "#fff6e4", 0.9)
    arc = [(5.6 * math.sin(a), -5.6 * math.cos(a), 1.5) for a in (-0.5, 0.35)]
    stage.travel(scene, "Orbit", 25.0, (arc[0], arc[1]), ((0.1, 0.0, 1.3), (0.1, 0.0, 1.3)))
    return scene


if __name__ == "__main__":
    stage.main(build)
