"""Whether this session lets the open file's Python run. Blender has no such property: only signs, all positive.

`bpy.app.autoexec_fail` alone is none: it tells what was evaluated and blocked, and what is hidden is never evaluated.
"""

import fnmatch
import os
import sys
from collections.abc import Iterator
from typing import Any

import bpy


def allowed() -> bool:
    """True where start, preferences, or Python that has run in this session say so, and nothing was blocked."""
    if bpy.app.autoexec_fail:
        return False
    said = _said_at_start(sys.argv) if bpy.app.binary_path else None
    return said if said is not None else _preferred() or any(_ran())


def _said_at_start(arguments: list[str]) -> bool | None:
    """The last word of the command line on it; None where it says nothing."""
    words = {"-y": True, "--enable-autoexec": True, "-Y": False, "--disable-autoexec": False}
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return next((words[word] for word in reversed(own) if word in words), None)


def _preferred() -> bool:
    """Auto Run Python Scripts is on, and the file lies in none of the excluded folders."""
    preferences = bpy.context.preferences
    if not preferences.filepaths.use_scripts_auto_execute:
        return False
    path = os.path.normpath(bpy.data.filepath)
    return not any(_excludes(entry, path) for entry in preferences.autoexec_paths if entry.path)


def _excludes(entry: Any, path: str) -> bool:
    if entry.use_glob:
        return fnmatch.fnmatch(path, entry.path)
    return path.startswith(os.path.normpath(entry.path))


def _ran() -> Iterator[bool]:
    """For every Python driver of what is evaluated here: had it been blocked, that would have been noticed."""
    things: list[Any] = [bpy.context.scene, *(thing for thing in bpy.context.view_layer.objects if thing.visible_get())]
    for thing in things:
        for curve in thing.animation_data.drivers if thing.animation_data else ():
            yield is_python(curve.driver) and curve.driver.is_valid


def is_python(driver: bpy.types.Driver) -> bool:
    return driver.type == "SCRIPTED" and not driver.is_simple_expression
