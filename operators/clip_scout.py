"""Rays cast into a scene as it renders, for whoever looks for a camera path. Runs only in a background Blender: what
renders do not show is hidden from the viewport too, which is what Blender casts rays into."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bpy
import numpy as np
from mathutils import Vector

from . import facts
from .clip_paths import Hits

FAR = 1e7  # units


class Scout:
    """`scout(origin, directions)`: what each ray meets first, at the scene's current frame."""

    def __init__(self, scene: bpy.types.Scene, layer: bpy.types.ViewLayer) -> None:
        as_rendered(scene, layer)
        self.scene, self.numbers = scene, {thing.name: i for i, thing in enumerate(scene.objects, start=1)}
        self.depsgraph = bpy.context.evaluated_depsgraph_get()

    def __call__(self, origin: np.ndarray, directions: np.ndarray) -> Hits:
        start = Vector(origin.tolist())
        rows = [self._first(start, Vector(ray)) for ray in directions.tolist()]
        distance, behind, thing = zip(*rows)
        return Hits(np.array(distance), np.array(behind), np.array(thing))

    def _first(self, start: Vector, ray: Vector) -> tuple[float, bool, int]:
        hit, place, normal, _, thing, _ = self.scene.ray_cast(self.depsgraph, start, ray, distance=FAR)
        if not hit:
            return np.inf, False, 0
        return (place - start).length, normal.dot(ray) > 0, self.numbers.get(thing.name, len(self.numbers) + 1)


def as_rendered(scene: bpy.types.Scene, layer: bpy.types.ViewLayer) -> None:
    """A ray meets what a picture shows: neither fog's domain, nor what only casts shadows."""
    for collection in scene.collection.children_recursive:
        collection.hide_viewport = collection.hide_render
    for part in _parts(layer.layer_collection):
        part.hide_viewport = False  # the eye in the outliner, which a render does not ask
    for thing in scene.objects:
        thing.hide_viewport = thing.hide_render or not thing.visible_camera or is_fog(thing)
        if thing.name in layer.objects:
            thing.hide_set(False)
    layer.update()


def _parts(parent: Any) -> Iterator[Any]:
    yield parent
    for child in parent.children:
        yield from _parts(child)


def is_fog(thing: bpy.types.Object) -> bool:
    """All that it is made of is a volume."""
    trees = [slot.material.node_tree for slot in thing.material_slots if slot.material and slot.material.node_tree]
    ends: list[Any] = [node for tree in trees for node in tree.nodes if node.type == "OUTPUT_MATERIAL"]
    return bool(ends) and all(end.inputs["Volume"].is_linked and not end.inputs["Surface"].is_linked for end in ends)


def bounds(scene: bpy.types.Scene) -> tuple[np.ndarray, float] | None:
    """Centre and radius of what is rendered: of the usual sizes, where a ground or backdrop is far larger."""
    found = [box for thing in scene.objects if not thing.hide_viewport and (box := facts.bounds(thing))]
    if not found:
        return None
    centres, radii = np.array([box[0] for box in found]), np.array([box[1] for box in found])
    usual = radii <= 4 * np.median(radii)
    centre = np.average(centres[usual], axis=0, weights=radii[usual] + 1e-9)
    away = np.linalg.norm(centres[usual] - centre, axis=1) + radii[usual]
    return centre, float(np.quantile(away, 0.8))
