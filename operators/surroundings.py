"""Has Blender render what surrounds the scene: its world, as one picture of all directions, without any object.

Runs only in the background Blender, before the scene is stripped of its light. Knows how such a picture lies
(engine/suns.py); does not know what becomes of it.
"""

from __future__ import annotations

import math
from typing import Any

import bpy
import numpy as np

from . import compat
from .reader import Reader

SIDE = (2048, 1024)  # pixels, width and height: 0.18 degrees each
SAMPLES = 2


def film(shutter: Reader, scene: Any, frame: int) -> np.ndarray | None:
    """(H,W,3) float32 scene-linear radiance in the file's own colours; None where the scene has no world."""
    if scene.world is None:
        return None
    empty = _scene(scene.world)
    kept, shutter.scene = shutter.scene, empty
    try:
        return shutter.frame(frame, SAMPLES)["combined"][..., :3]
    finally:
        shutter.scene = kept
        bpy.data.scenes.remove(empty)


def _scene(world: Any) -> Any:
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
    render.resolution_x, render.resolution_y = SIDE
    render.resolution_percentage = 100
    render.use_compositing = render.use_sequencer = render.film_transparent = False
    cycles.use_denoising = cycles.use_adaptive_sampling = False
    return empty
