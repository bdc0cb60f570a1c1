"""Has Blender look at the scene from the sun: what lies in its light, exactly, whatever the shot's camera sees of it.

Runs only in the background Blender, after the frames. A map holds the height toward the sun of whatever the sun meets
first, over a square that holds what the shot saw. What moves has no place in a map: the engine finds its shadows frame
by frame. Knows cameras, depth and objects; knows nothing of light's colour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from ..engine import suns
from . import bare, facts, pixels
from .reader import Reader


def film(shutter: Reader, scene: Any, directions: np.ndarray, points: np.ndarray, frame: int, size: tuple[int, int],
         away: dict[int, Any], say: Callable[..., None]) -> dict[str, np.ndarray]:
    """The maps of all suns, as suns.npz holds them. points (N,3) world: what the shot saw; `size`: of its frames;
    `away`: index → object that is left out; each map that is done is said."""
    camera = _camera(scene, suns.side(size))
    for thing in away.values():
        thing.hide_render = True
    rows: list[dict[str, np.ndarray]] = []
    for toward in directions:
        say(light=len(rows), lights=len(directions))
        rows.append(_look(shutter, scene, camera, toward, points, frame))
    say(light=len(rows), lights=len(directions))
    joined = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return joined | {"absent": np.array(sorted(away), np.int32)}


def _camera(scene: Any, cells: int) -> Any:
    data = bpy.data.cameras.new("Shotlock sun")
    data.type = "ORTHO"
    camera = bpy.data.objects.new("Shotlock sun", data)
    scene.collection.objects.link(camera)
    scene.camera = camera
    render = scene.render
    render.resolution_x = render.resolution_y = cells
    render.pixel_aspect_x = render.pixel_aspect_y = 1.0
    return camera


def _look(shutter: Reader, scene: Any, camera: Any, toward: np.ndarray, points: np.ndarray,
          frame: int) -> dict[str, np.ndarray]:
    axes = suns.axes(toward)
    origin, half = suns.square(axes, points)
    above = _above(scene, axes[2], origin) + half  # from where all that could stand in the way is seen
    placed = np.eye(4)
    placed[:3, :3], placed[:3, 3] = axes.T, origin + axes[2] * above
    camera.matrix_world = Matrix(placed.tolist())
    camera.data.ortho_scale = 2 * half
    camera.data.clip_start, camera.data.clip_end = above * 1e-4, above + 20 * half
    z = pixels.depth(shutter.frame(frame, 1)["depth"])[::-1]  # the second axis points up in the picture
    return {"axes": axes, "origin": origin, "half": np.array(half), "height": (above - z).astype(np.float32)}


def _above(scene: Any, toward: np.ndarray, origin: np.ndarray) -> float:
    """How far the scene's objects reach toward the sun, over the origin."""
    heights = [0.0]
    for thing in scene.objects:
        if thing.type in bare.SURFACES and not thing.hide_render:
            matrix = np.array(thing.matrix_world)
            corners = np.array(thing.bound_box) @ matrix[:3, :3].T + matrix[:3, 3]
            heights.append(float(((corners - origin) @ toward).max()))
    return max(heights)


def left_out(table: dict[int, Any], moving: Iterable[int]) -> dict[int, Any]:
    """Objects without a place in a map: what moves or deforms; what holds up no light: glass, and what only glows,
    which may be a dome around everything."""
    numbers = set(moving)
    return {n: thing for n, thing in table.items() if n in numbers or _deforms(thing) or _lets_light_through(thing)}


def _deforms(thing: Any) -> bool:
    keys = getattr(thing.data, "shape_keys", None)
    return any(m.type in facts.DEFORMERS for m in thing.modifiers) or bool(keys and keys.animation_data)


def _lets_light_through(thing: Any) -> bool:
    materials = [slot.material for slot in thing.material_slots if slot.material]
    return bool(materials) and all(facts.finish(material) in ("glass", "glowing") for material in materials)
