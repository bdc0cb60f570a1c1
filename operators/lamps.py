"""How much of what the camera sees a lamp's light reaches: one behind a wall, or within its shade, lights little of it.

Rays from what the camera sees to the lamp, by Blender's own casting, a few hundred: what stands between is found
wherever it stands. One share for a lamp, weighted by how much it would light each place; where exactly its shadows fall
is not told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import bpy
import numpy as np
from mathutils import Vector

from . import facts

POSES, ACROSS, DOWN = 5, 9, 6  # frames, and places of each, that are looked at
MOST_LAMPS = 8  # the strongest; what is behind them lights little
SURFACES = 8  # that a ray goes through where they cast no shadow
OFF = 1e-4  # of a distance: how far from a surface its ray begins
GOLDEN = (0.754878, 0.569840)  # steps that cover a square evenly (Roberts 2018, R2)
Places = Sequence[tuple[Vector, Vector]]


def reaching(
    scene: bpy.types.Scene, layer: bpy.types.ViewLayer, lights: Sequence[Mapping[str, Any]], c2w: np.ndarray,
    K: np.ndarray, size: tuple[int, int],
) -> list[dict[str, Any]]:  # fmt: skip
    """The same lights (facts.py), each but a sun with its `reach`, 0..1, at the scene's current frame. c2w (F,4,4), K
    (F,3,3)."""
    layer.update()
    places = list(_seen(scene, layer.depsgraph, c2w, K, size))
    lamps = [light for light in lights if light["type"] != "sun"][:MOST_LAMPS]
    shares = {light["name"]: _share(scene, layer.depsgraph, scene.objects[light["name"]], places)
              for light in lamps if light["name"] in scene.objects}  # fmt: skip
    return [{**light, **({"reach": shares[light["name"]]} if light["name"] in shares else {})} for light in lights]


def _seen(
    scene: bpy.types.Scene, depsgraph: Any, c2w: np.ndarray, K: np.ndarray, size: tuple[int, int]
) -> Iterator[tuple[Vector, Vector]]:
    """Places that the camera sees, a little before their surface, and which way that faces."""
    for f in sorted({round(i) for i in np.linspace(0, len(c2w) - 1, POSES)}):
        for v in (np.arange(DOWN) + 0.5) / DOWN * size[1]:
            for u in (np.arange(ACROSS) + 0.5) / ACROSS * size[0]:
                ray = c2w[f, :3, :3] @ np.linalg.solve(K[f], (u, v, 1.0))
                way, eye = Vector(ray.tolist()).normalized(), Vector(c2w[f, :3, 3].tolist())
                hit, place, normal, *_ = scene.ray_cast(depsgraph, eye, way)
                if hit:
                    facing = normal if normal.dot(way) < 0 else -normal
                    yield place + facing * (place - eye).length * OFF, facing


def _share(scene: bpy.types.Scene, depsgraph: Any, lamp: Any, places: Places) -> float:
    """Of the light that a lamp would throw on the places with nothing between; 1 where it would throw none."""
    lit = whole = 0.0
    for number, (place, normal) in enumerate(places):
        way = _point_of(lamp, number) - place
        distance = way.length
        if distance == 0:
            continue
        way.normalize()
        light = max(normal.dot(way), 0.0) / distance**2 * _beam(lamp, way)
        if light > 0:
            whole += light
            lit += light * _free(scene, depsgraph, place, way, distance * (1 - OFF))
    return round(lit / whole, 4) if whole else 1.0


def _point_of(lamp: Any, number: int) -> Vector:
    """Where on the lamp a ray ends: all over an area lamp, one place after another."""
    data, matrix = lamp.data, lamp.matrix_world
    if data.type != "AREA":
        return matrix.translation
    a, b = (((number + 0.5) * step) % 1 - 0.5 for step in GOLDEN)
    return matrix @ Vector((a * data.size, b * (data.size_y if data.shape in facts.OBLONG else data.size), 0))


def _beam(lamp: Any, way: Vector) -> float:
    """How strongly it shines there: an area lamp by the cosine before it, a spot within its cone."""
    data, back = lamp.data, lamp.matrix_world.to_3x3().col[2].normalized()
    if data.type == "AREA":
        return max(way.dot(back), 0.0)
    return float(way.dot(back) > np.cos(data.spot_size / 2)) if data.type == "SPOT" else 1.0


def _free(scene: bpy.types.Scene, depsgraph: Any, place: Vector, way: Vector, distance: float) -> bool:
    """Whether nothing that casts a shadow stands within a distance."""
    start, left = place, distance
    for _ in range(SURFACES):
        hit, where, _, _, thing, _ = scene.ray_cast(depsgraph, start, way, distance=left)
        if not hit:
            return True
        if thing.visible_shadow and not thing.hide_render:
            return False
        passed = (where - start).length + distance * OFF
        start, left = start + way * passed, left - passed
        if left <= 0:
            return True
    return False
