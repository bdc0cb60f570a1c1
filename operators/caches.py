"""What simulations left on the disk for the artist's file, made reachable from the copy: Blender looks for it beside
the file that is open, by that file's name. Nothing of the artist's is written to."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import bpy


def link(copy: Path) -> None:
    """In the artist's Blender: the files of baked point caches, beside the copy. Blender looks once, when it opens."""
    if not bpy.data.filepath:
        return  # what was never saved has nothing beside it
    for owner, cache in _on_disk((*bpy.data.objects, *bpy.data.scenes)):
        for file in files(folder(bpy.data.filepath), owner, cache):
            _link(file, folder(str(copy)) / file.name)


def find(artists_file: str) -> None:
    """In the background Blender: what geometry nodes were baked to, by its whole path. The paths are as the artist's
    file has them, but from 5.2 on, where a copy has its own to the same folder."""
    for _, owner, name in _bakes(bpy.data.objects):
        path = getattr(owner, name)
        if artists_file and path.startswith("//") and not Path(bpy.path.abspath(path)).is_dir():
            setattr(owner, name, os.path.normpath(bpy.path.abspath(path, start=str(Path(artists_file).parent))))


def missing(things: Iterable[Any]) -> list[str]:
    """Whose baked cache cannot be seen from here, by name."""
    things, here = list(things), folder(bpy.data.filepath)
    lost = [owner.name for owner, cache in _on_disk(things) if not files(here, owner, cache)]
    return lost + [thing.name for thing, owner, name in _bakes(things)
                   if not Path(bpy.path.abspath(getattr(owner, name))).is_dir()]


def folder(blend: str) -> Path:
    """Where Blender keeps that file's point caches."""
    return Path(blend).with_name(f"blendcache_{Path(blend).stem}")


def files(place: Path, owner: Any, cache: Any) -> list[Path]:
    """A cache's files begin with its own name, else with the owner's in hexadecimal."""
    start = f"{cache.name or owner.name.encode().hex().upper()}_"
    return sorted(file for file in place.iterdir() if file.name.startswith(start)) if place.is_dir() else []


def point_caches(owner: Any) -> Iterator[Any]:
    """Of an object's modifiers, or of a scene's rigid bodies."""
    bodies = getattr(owner, "rigidbody_world", None)
    if bodies and bodies.point_cache:
        yield bodies.point_cache
    for modifier in getattr(owner, "modifiers", ()):
        system = getattr(modifier, "particle_system", None)
        if system:
            if system.settings.type != "HAIR" or system.use_hair_dynamics:
                yield system.point_cache
        elif getattr(modifier, "point_cache", None):
            yield modifier.point_cache


def _on_disk(owners: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Owner and cache where it was baked to files beside the .blend; a library's lie beside the library."""
    for owner in owners:
        for cache in point_caches(owner):
            if cache.is_baked and cache.use_disk_cache and not cache.use_external and not owner.library:
                yield owner, cache


def _bakes(things: Iterable[Any]) -> Iterator[tuple[Any, Any, str]]:
    """Object, owner and property of every folder that geometry nodes were baked to."""
    for thing in things:
        for modifier in (m for m in getattr(thing, "modifiers", ()) if m.type == "NODES"):
            if modifier.bake_directory:
                yield thing, modifier, "bake_directory"
            own = [bake for bake in modifier.bakes if bake.use_custom_path and bake.directory]
            yield from ((thing, bake, "directory") for bake in own)


def _link(file: Path, place: Path) -> None:
    place.parent.mkdir(exist_ok=True)
    for way in (os.symlink, os.link):  # not every system lets everybody do either
        with contextlib.suppress(OSError):
            return way(file, place)
    shutil.copyfile(file, place)
