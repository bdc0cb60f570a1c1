"""Has Blender render what surrounds the scene: its world, as one picture of all directions, without any object.

Runs only in the background Blender, before the scene is stripped of its light. The picture is as fine as the shot can
see it, and no finer where every direction looks the same. Knows how such a picture lies (engine/suns.py); does not know
what becomes of it.
"""

from __future__ import annotations

import math
from typing import Any

import bpy
import numpy as np

from . import compat
from .reader import Reader

LEAST, MOST = 1024, 2048  # pixels of width: a sun still meets some of them; 0.18 degrees each
STEP, EVEN = 256, 128  # between two widths; the width where all directions are alike
SAMPLES = 2
ALIKE = {"OUTPUT_WORLD", "BACKGROUND", "ADD_SHADER", "MIX_SHADER", "RGB", "VALUE", "BLACKBODY", "MATH", "MIX",
         "MIX_RGB", "GAMMA", "HUE_SAT", "BRIGHTCONTRAST", "INVERT", "LIGHT_PATH", "REROUTE", "FRAME"}
"""Nodes that are the same in all directions."""


def film(shutter: Reader, scene: Any, frame: int, focal: float) -> np.ndarray | None:
    """(H,W,3) float32 scene-linear radiance in the file's own colours; None where the scene has no world. `focal`: the
    longest focal length of the shot, pixels."""
    if scene.world is None:
        return None
    empty = _scene(scene.world, width(scene.world, focal))
    kept, shutter.scene = shutter.scene, empty
    try:
        return shutter.frame(frame, SAMPLES)["combined"][..., :3]
    finally:
        shutter.scene = kept
        bpy.data.scenes.remove(empty)


def width(world: Any, focal: float) -> int:
    """Pixels across a picture whose pixels are as fine as the camera's own in the middle of its frame."""
    if is_even(world):
        return EVEN
    return int(min(max(STEP * math.ceil(2 * math.pi * focal / STEP), LEAST), MOST))


def is_even(world: Any) -> bool:
    """Whether no node of the world can tell one direction from another."""
    tree = world.node_tree
    return tree is None or all(node.type in ALIKE for node in tree.nodes)


def _scene(world: Any, across: int) -> Any:
    """A scene with that world, no object, and a camera that looks everywhere at once, along +y in the middle."""
    empty: Any = bpy.data.scenes.new("Shotlock world")
    empty.world = world
    data: Any = bpy.data.cameras.new("Shotlock world")
    data.type = "PANO"
    for owner in (data, getattr(data, "cycles", None)):  # Cycles' own setting became the camera's in 5.0
        compat.set_where_known(owner, panorama_type="EQUIRECTANGULAR")
    camera = bpy.data.objects.new("Shotlock world", data)
    camera.rotation_euler = (math.pi / 2, 0, 0)
    empty.collection.objects.link(camera)
    empty.camera = camera
    render, cycles = empty.render, empty.cycles
    render.engine = "CYCLES"
    render.resolution_x, render.resolution_y = across, across // 2
    render.resolution_percentage = 100
    render.use_compositing = render.use_sequencer = render.film_transparent = False
    cycles.use_denoising = cycles.use_adaptive_sampling = False
    return empty
