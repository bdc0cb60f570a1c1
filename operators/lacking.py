"""What the background Blender lacks or leaves out, by name, in sentences for the artist. Reads, changes nothing but the
enabled add-ons of its own session."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import bpy

from . import caches, trust

MOST_NAMES = 5  # of one warning
MOST_TOLD = 100  # of a list that people rarely read


def enable_addons(names: Iterable[str]) -> None:
    """The artist's add-ons that are not enabled here, because they were enabled without saving the preferences."""
    import addon_utils

    for name in names:
        if name not in bpy.context.preferences.addons:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
                addon_utils.enable(name, default_set=True)


def warnings(scene: bpy.types.Scene, order: dict[str, Any]) -> list[str]:
    missing = [name for name in order["addons"] if name not in bpy.context.preferences.addons]
    blocked = [] if order["trusted"] else list(trust.python())
    things = list(scene.objects)
    found = (
        (blocked, "Python scripts of this file may not run in this session, and did not in the capture (open the file "
                  "again with Trusted Source to allow them): {}"),
        (missing, "The background Blender lacks add-ons that are enabled here: {}"),
        (_missing(bpy.data.libraries), "Linked libraries are missing: {}"),
        (_missing_images(), "Image files are missing: {}"),
        (_missing(bpy.data.cache_files), "Cache files are missing: {}"),
        (caches.missing((*things, scene)), "Baked simulations are not on the disk, and stand still: {}"),
        (_unbaked(scene), "Simulations without a baked cache may differ from the viewport: {}"),
        (_of_type(things, {"GPENCIL", "GREASEPENCIL"}), "Grease pencil objects are not in the passes: {}"),
        (_catchers(things), "Shadow catchers are not in the passes: {}"),
        (_of_type(things, {"VOLUME"}) + _foggy(), "Volumes are not in the passes: {}"),
    )
    return [text.format(_list(names)) for names, text in found if names]


def other_in_viewport(scene: bpy.types.Scene) -> list[str]:
    """Objects whose shape is another in the viewport, by their modifiers: what is filmed is that of renders. A fact for
    whoever compares the two, no warning: nearly every subdivided object has two levels."""
    things = (t for t in scene.objects if not t.hide_render)
    return [t.name for t in things if any(map(_has_two_shapes, t.modifiers))][:MOST_TOLD]


def _has_two_shapes(modifier: Any) -> bool:
    levels = getattr(modifier, "levels", 0), getattr(modifier, "render_levels", getattr(modifier, "levels", 0))
    return modifier.show_render != modifier.show_viewport or (modifier.show_render and levels[0] != levels[1])


def drivers() -> list[str]:
    """Only known after frames were evaluated."""
    broken = [f"{thing.name} ({driver.data_path})" for thing, driver in trust.drivers() if not driver.driver.is_valid]
    return [f"Drivers that fail: {_list(broken)}"] if broken else []


def _list(names: list[str]) -> str:
    shown = ", ".join(names[:MOST_NAMES])
    return f"{shown} and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else shown


def _missing(things: Iterable[Any]) -> list[str]:
    """Whole paths: what is relative here is so to the copy."""
    paths = [_path(t, getattr(t, "parent", None) or t.library) for t in things if not getattr(t, "packed_file", None)]
    return [str(path) for path in paths if not path.exists()]


def _path(thing: Any, library: Any) -> Path:
    return Path(os.path.normpath(bpy.path.abspath(thing.filepath, library=library)))


def _missing_images() -> list[str]:
    return _missing(i for i in bpy.data.images if i.users and is_missing(i))


def is_missing(image: Any) -> bool:
    """Whether a picture should be read from a file that is not there; Blender shows magenta in its place."""
    return bool(image.source == "FILE" and image.filepath and not image.packed_file
                and not _path(image, image.library).exists())


def _of_type(things: Iterable[bpy.types.Object], types: set[str]) -> list[str]:
    return [t.name for t in things if t.type in types and not t.hide_render]


def _catchers(things: Iterable[bpy.types.Object]) -> list[str]:
    return [t.name for t in things if t.is_shadow_catcher and t.type != "LIGHT"]  # lights have the mark by themselves


def _foggy() -> list[str]:
    return [m.name for m in bpy.data.materials if m.users and m.node_tree and any(
        n.type == "OUTPUT_MATERIAL" and n.inputs["Volume"].is_linked for n in m.node_tree.nodes)]


def _unbaked(scene: bpy.types.Scene) -> list[str]:
    found = [t.name for t in scene.objects if any(not cache.is_baked for cache in caches.point_caches(t))]
    bodies = scene.rigidbody_world
    return found + (["rigid bodies"] if bodies and bodies.enabled and not bodies.point_cache.is_baked else [])
