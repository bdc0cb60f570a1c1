"""What the background Blender lacks or leaves out, by name, in sentences for the artist. Reads, changes nothing but the
enabled add-ons of its own session."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import bpy

from . import trust

MOST_NAMES = 5


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
        (_unbaked(scene), "Simulations without a baked cache may differ from the viewport: {}"),
        (_of_type(things, {"GPENCIL", "GREASEPENCIL"}), "Grease pencil objects are not in the passes: {}"),
        (_catchers(things), "Shadow catchers are not in the passes: {}"),
        (_of_type(things, {"VOLUME"}) + _foggy(), "Volumes are not in the passes: {}"),
    )
    return [text.format(_list(names)) for names, text in found if names]


def drivers() -> list[str]:
    """Only known after frames were evaluated."""
    broken = [f"{thing.name} ({driver.data_path})" for thing, driver in trust.drivers() if not driver.driver.is_valid]
    return [f"Drivers that fail: {_list(broken)}"] if broken else []


def _list(names: list[str]) -> str:
    shown = ", ".join(names[:MOST_NAMES])
    return shown + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")


def _exists(path: str, library: Any = None) -> bool:
    return Path(bpy.path.abspath(path, library=library)).exists()


def _missing(things: Iterable[Any]) -> list[str]:
    return [t.filepath for t in things if not getattr(t, "packed_file", None)
            and not _exists(t.filepath, getattr(t, "parent", None) or t.library)]


def _missing_images() -> list[str]:
    return [image.filepath for image in bpy.data.images if image.users and is_missing(image)]


def is_missing(image: Any) -> bool:
    """Whether a picture should be read from a file that is not there; Blender shows magenta in its place."""
    return bool(image.source == "FILE" and image.filepath and not image.packed_file
                and not _exists(image.filepath, image.library))


def _of_type(things: Iterable[bpy.types.Object], types: set[str]) -> list[str]:
    return [t.name for t in things if t.type in types and not t.hide_render]


def _catchers(things: Iterable[bpy.types.Object]) -> list[str]:
    return [t.name for t in things if t.is_shadow_catcher and t.type != "LIGHT"]  # lights have the mark by themselves


def _foggy() -> list[str]:
    return [m.name for m in bpy.data.materials if m.users and m.node_tree and any(
        n.type == "OUTPUT_MATERIAL" and n.inputs["Volume"].is_linked for n in m.node_tree.nodes)]


def _unbaked(scene: bpy.types.Scene) -> list[str]:
    found = [t.name for t in scene.objects if any(not cache.is_baked for cache in _point_caches(t))]
    bodies = scene.rigidbody_world
    return found + (["rigid bodies"] if bodies and bodies.enabled and not bodies.point_cache.is_baked else [])


def _point_caches(thing: Any) -> Iterator[Any]:
    for modifier in thing.modifiers:
        system = getattr(modifier, "particle_system", None)
        if system:
            if system.settings.type != "HAIR" or system.use_hair_dynamics:
                yield system.point_cache
        elif getattr(modifier, "point_cache", None):
            yield modifier.point_cache
