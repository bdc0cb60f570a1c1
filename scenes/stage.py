"""What every scene here needs around its objects: an empty file, render settings, sun, sky, cameras and saving."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path

import bpy
from mathutils import Vector

from .nodes import Tree
from .shapes import Point

FRAMES = 49  # two seconds at 24 fps and one frame: the length all figures are given for


def empty_scene(name: str) -> bpy.types.Scene:
    """The open file's objects are gone afterwards; add-ons that are enabled stay so."""
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    scene = bpy.context.scene
    scene.name = name
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 1920, 1080, 100
    scene.render.fps, scene.render.fps_base = 24, 1.0
    scene.frame_start, scene.frame_end = 1, FRAMES
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 64
    scene.view_settings.view_transform = "Standard"  # a take's strip comes back exactly as it was generated
    return scene


def sun(scene: bpy.types.Scene, towards: Point, strength: float, colour: Point = (1.0, 0.93, 0.82)) -> bpy.types.Object:
    """`towards`: from the scene to the sun."""
    data = bpy.data.lights.new("Sun", "SUN")
    data.energy, data.color, data.angle = strength, colour, math.radians(1.0)
    lamp = bpy.data.objects.new("Sun", data)
    lamp.rotation_euler = Vector(towards).to_track_quat("Z", "Y").to_euler()
    lamp.location = (0.0, 0.0, 20.0)
    scene.collection.objects.link(lamp)
    return lamp


def sky(scene: bpy.types.Scene, horizon: str, middle: str, zenith: str, cloud: str, strength: float) -> None:
    """A clear sky with fair-weather clouds, in nodes that mean the same in every Blender from 4.2 on."""
    world = bpy.data.worlds.new("Sky")
    scene.world = world
    t = Tree(world)
    direction = t.coordinates("Generated")
    blue = t.ramp(t.axis(direction, "Z"), (0.0, horizon), (0.12, middle), (0.6, zenith))
    clouds = t.ramp(
        t.noise(t.coordinates("Generated", scale=(1.0, 1.0, 3.4)), 3.2, 7, 0.56), (0.52, (0, 0, 0)), (0.68, (1, 1, 1))
    )
    background = next(node for node in t.tree.nodes if node.type == "BACKGROUND")
    t.fill(background, Color=t.mix(t.math("MULTIPLY", clouds, 0.85), blue, cloud), Strength=strength)


def plain_sky(scene: bpy.types.Scene, colour: str, strength: float) -> None:
    """One colour all around."""
    world = bpy.data.worlds.new("Plain sky")
    scene.world = world
    t = Tree(world)
    background = next(node for node in t.tree.nodes if node.type == "BACKGROUND")
    t.fill(background, Color=colour, Strength=strength)


def travel(
    scene: bpy.types.Scene, name: str, lens: float, eyes: tuple[Point, Point], targets: tuple[Point, Point]
) -> None:
    """A camera that goes from one place to another and looks from one to another. Keyed on every frame."""
    shot = camera(scene, name, lens)
    for frame in range(scene.frame_start, scene.frame_end + 1):
        x = ease((frame - scene.frame_start) / (scene.frame_end - scene.frame_start))
        eye = between(*eyes, x)
        shot.location = eye
        shot.rotation_euler = aim(tuple(eye), tuple(between(*targets, x)))
        shot.keyframe_insert("location", frame=frame)
        shot.keyframe_insert("rotation_euler", frame=frame)
    scene.frame_set(scene.frame_start)


def camera(scene: bpy.types.Scene, name: str, lens: float) -> bpy.types.Object:
    data = bpy.data.cameras.new(name)
    data.lens, data.clip_start, data.clip_end = lens, 0.05, 2000.0
    made = bpy.data.objects.new(name, data)
    scene.collection.objects.link(made)
    scene.camera = made
    return made


def aim(eye: Point, target: Point):
    return (Vector(target) - Vector(eye)).to_track_quat("-Z", "Y").to_euler()


def ease(x: float) -> float:
    """Starts and stops gently, as a crane does."""
    return x * x * (3 - 2 * x)


def between(a: Point, b: Point, x: float) -> Vector:
    return Vector(a).lerp(Vector(b), x)


def main(build: Callable[[], bpy.types.Scene]) -> None:
    """`python -m scenes.NAME FILE.blend`"""
    if len(sys.argv) != 2:
        raise SystemExit("expected one argument: the .blend file to write")
    target = Path(sys.argv[1]).resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    build()
    bpy.ops.wm.save_as_mainfile(filepath=str(target), compress=True)
