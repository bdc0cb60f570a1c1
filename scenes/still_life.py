"""A product shot: a scent bottle of glass, a metal kettle, a watch and fruit on a table before a paper sweep, lit by
two soft boxes and a rim light; no sun, no sky to speak of. A camera dollies in."""

from __future__ import annotations

import itertools
import math

import bpy
from mathutils import Matrix

from . import materials as m
from . import stage
from .shapes import Mesh, Point


def clear(name: str, colour: str, roughness: float = 0.0, ior: float = 1.45) -> bpy.types.Material:
    """Glass that light passes through."""
    made, t = m.material(name)
    t.surface(Base_Color=colour, Roughness=roughness, IOR=ior, Transmission_Weight=1.0)
    return made


def palette() -> dict[str, bpy.types.Material]:
    made = [
        m.plain("Paper sweep", "#b9a2a0", 0.9),
        m.planks("Oak table", "#a87748"),
        clear("Bottle glass", "#f4fbf6"),
        clear("Scent", "#e8a845", ior=1.36),
        clear("Green glass", "#c4e6cf"),
        m.plain("Steel", "#c9ccd0", 0.16, 1.0),
        m.plain("Gold", "#e0ad4c", 0.22, 1.0),
        m.plain("Copper", "#c9744a", 0.35, 1.0),
        m.plain("Black rubber", "#191919", 0.6),
        m.plain("Orange peel", "#e07a1f", 0.45),
        m.plain("Lemon peel", "#e3c22e", 0.4),
        m.stripes("Napkin", ("#e8e4da", "#38588a", "#e8e4da", "#c7d2dc"), "Y", 5.0),
        m.plain("Watch face", "#f2efe6", 0.3),
        m.plain("Ceramic", "#e9e6df", 0.12),
    ]
    return {material.name: material for material in made}


def sweep(scene: bpy.types.Scene, paints) -> None:
    """A sheet of paper that comes down from behind and lies under everything, without a horizon."""
    made = Mesh("Paper sweep")
    profile = [(-3.0, -0.42), (1.2, -0.42)] + [(1.2 + 1.2 * math.sin(a), -0.42 + 1.2 * (1 - math.cos(a)))
                                                for a in (0.3, 0.6, 0.9, 1.2, 1.5)] + [(2.4, 4.0)]  # fmt: skip
    points = [(x, y, z) for x in (-4.0, 4.0) for y, z in profile]
    n = len(profile)
    made.add(points, [[i, n + i, n + i + 1, i + 1] for i in range(n - 1)], paints["Paper sweep"], smooth=True)
    made.object(scene)


def bottle(scene: bpy.types.Scene, place: Point, paints) -> None:
    made = Mesh("Scent bottle")
    outside = [(0.12, 0.0), (0.155, 0.03), (0.155, 0.34), (0.12, 0.4), (0.05, 0.43), (0.05, 0.47)]
    made.turned(outside, paints["Bottle glass"], sides=32)
    made.turned([(0.1, 0.05), (0.13, 0.06), (0.13, 0.26), (0.1, 0.27)], paints["Scent"], sides=32)
    made.turned([(0.075, 0.47), (0.075, 0.6), (0.06, 0.62)], paints["Gold"], sides=28)
    made.object(scene, place)


def kettle(scene: bpy.types.Scene, place: Point, paints) -> None:
    made = Mesh("Kettle")
    made.turned([(0.2, 0.0), (0.27, 0.06), (0.28, 0.18), (0.2, 0.36), (0.13, 0.41)], paints["Steel"], sides=36)
    made.turned([(0.13, 0.41), (0.1, 0.44), (0.02, 0.46)], paints["Copper"], sides=28)
    made.ball((0, 0, 0.49), 0.032, paints["Black rubber"], level=3)
    made.tube((0.22, 0, 0.16), (0.42, 0, 0.38), 0.05, paints["Steel"], sides=16, taper=0.6)
    arc = [(-0.22 + 0.02 * i, 0.3 + 0.28 * math.sin(math.pi * i / 10)) for i in range(11)]
    for (x0, z0), (x1, z1) in itertools.pairwise(arc):
        made.tube((x0 * 1.2 + 0.1, 0, z0), (x1 * 1.2 + 0.1, 0, z1), 0.022, paints["Black rubber"], sides=10)
    made.object(scene, place, 0.5)


def watch(scene: bpy.types.Scene, place: Point, paints) -> None:
    """Lying on its side on its strap, the face to the camera."""
    made = Mesh("Watch")
    made.at = Matrix.Rotation(math.radians(62), 4, "X")
    made.turned([(0.1, -0.02), (0.11, 0.0), (0.11, 0.03), (0.095, 0.038)], paints["Gold"], sides=36)
    made.turned([(0.088, 0.036), (0.088, 0.041)], paints["Watch face"], sides=36)
    for i in range(12):
        a = math.tau * i / 12
        made.box((0.075 * math.cos(a), 0.075 * math.sin(a), 0.042), (0.012, 0.012, 0.004), paints["Black rubber"], a)
    for tip in ((0.05, 0.03), (-0.02, 0.065)):
        made.tube((0, 0, 0.045), (*tip, 0.045), 0.004, paints["Black rubber"], sides=6)
    for y in (-0.16, 0.16):
        made.box((0, y, 0.0), (0.09, 0.14, 0.02), paints["Black rubber"])
    made.object(scene, place)


def fruit(scene: bpy.types.Scene, paints) -> None:
    made = Mesh("Fruit")
    made.ball((0.62, -0.28, 0.1), 0.1, paints["Orange peel"], level=4)
    made.ball((0.78, -0.12, 0.095), 0.095, paints["Orange peel"], level=4)
    made.ball((0.52, -0.46, 0.07), 0.07, paints["Lemon peel"], (1.35, 1, 1), level=4)
    made.object(scene)
    cup = Mesh("Tumbler")
    cup.turned([(0.09, 0.0), (0.11, 0.3), (0.1, 0.3), (0.082, 0.02)], paints["Green glass"], sides=32, smooth=False)
    cup.object(scene, (-0.72, 0.12, 0.0))
    bowl = Mesh("Bowl")
    bowl.turned([(0.08, 0.0), (0.1, 0.02), (0.24, 0.14), (0.23, 0.15), (0.06, 0.03)], paints["Ceramic"], sides=36)
    bowl.object(scene, (0.2, 0.5, 0.0))


def soft_box(
    scene: bpy.types.Scene, name: str, place: Point, target: Point, size: float, watts: float, colour: Point
) -> None:
    data = bpy.data.lights.new(name, "AREA")
    data.size, data.energy, data.color = size, watts, colour
    light = bpy.data.objects.new(name, data)
    light.location, light.rotation_euler = place, stage.aim(place, target)
    scene.collection.objects.link(light)


def build() -> bpy.types.Scene:
    scene = stage.empty_scene("Still life")
    paints = palette()
    sweep(scene, paints)
    table = Mesh("Table")
    table.box((0, 0.0, -0.03), (2.6, 1.5, 0.06), paints["Oak table"])
    table.box((-0.25, -0.35, 0.004), (0.9, 0.5, 0.008), paints["Napkin"], 0.2)
    table.object(scene)
    bottle(scene, (-0.2, -0.2, 0.008), paints)
    kettle(scene, (-0.35, 0.4, 0.0), paints)
    watch(scene, (0.22, -0.38, 0.1), paints)
    fruit(scene, paints)
    soft_box(scene, "Key", (-1.9, -1.3, 1.7), (0, 0, 0.2), 1.1, 60.0, (1.0, 0.96, 0.9))
    soft_box(scene, "Fill", (2.1, -0.9, 1.2), (0, 0, 0.2), 1.4, 18.0, (0.86, 0.93, 1.0))
    soft_box(scene, "Rim", (0.6, 1.7, 1.9), (0, 0, 0.3), 0.5, 30.0, (1.0, 0.9, 0.78))
    stage.plain_sky(scene, "#303236", 0.5)
    stage.travel(scene, "Dolly", 42.0, ((-0.75, -2.6, 0.85), (0.15, -1.95, 0.62)), ((0.05, 0.0, 0.2), (0.03, 0.0, 0.2)))
    return scene


if __name__ == "__main__":
    stage.main(build)
