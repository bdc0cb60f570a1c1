"""An artist's own weights of lite: each set in a folder of its own below the models' folder, under the word it knows.

No list of them is kept: a folder that is moved in is there, one that is deleted is gone. Each is known by its shards'
own headers. `python -m engine train adapt` writes them, the menu and the engine find them. Standard library only.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from . import registry
from .registry import Registry

FOLDER = "lite"  # of the models' folder
PREFIX = "lite-"  # of such a model's name in job.json, before its folder's
MOST_HEADER = 2**20  # bytes: lite's have some 20,000, and 60 numbers a word
SHARD = re.compile(r"lite-(\d+)-of-(\d+)\.safetensors")


@dataclass(frozen=True)
class Look:
    """One adapted lite."""

    name: str  # in job.json
    folder: Path
    words: tuple[str, ...]  # its own, in the order they were taught
    missing: tuple[str, ...] = ()  # shards that are not there any more

    @property
    def title(self) -> str:
        return f"Lite with {', '.join(self.words)}"

    @property
    def shards(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if SHARD.fullmatch(path.name))


def home(known: Registry) -> Path:
    """Where they lie."""
    return registry.models_folder(known) / FOLDER


def place(known: Registry, word: str) -> Path:
    """The folder of new ones that are to know a word."""
    return home(known) / (re.sub(r"[^A-Za-z0-9._-]+", "-", word).strip("-._") or "look")


def found(known: Registry) -> dict[str, Look]:
    """All that are there, by name. What cannot be read, or knows no word of its own, is none of them."""
    try:
        folders = sorted(path for path in home(known).iterdir() if path.is_dir())
    except OSError:
        return {}
    every = (read(folder) for folder in folders)
    return {look.name: look for look in every if look is not None and look.name not in known.models}


def read(folder: Path) -> Look | None:
    """One folder, by the header of its first shard."""
    name, shards = PREFIX + folder.name, {path.name for path in folder.iterdir() if SHARD.fullmatch(path.name)}
    if not shards or not registry.NAME.fullmatch(name):
        return None
    try:
        facts = metadata(folder / min(shards))
        words = tuple(json.loads(facts["config"])["words"])
        wanted = [f"lite-{i}-of-{facts['shards']}.safetensors" for i in range(1, int(facts["shards"]) + 1)]
    except (OSError, KeyError, ValueError, TypeError, RecursionError):
        return None
    missing = tuple(str(folder / one) for one in wanted if one not in shards)
    return Look(name, folder, words, missing) if words else None


def metadata(path: Path) -> dict[str, str]:
    """What a safetensors file says of itself: the length of a JSON object, and the object."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= MOST_HEADER:
            raise ValueError(f"{path.name} begins with no header")
        return json.loads(file.read(length))["__metadata__"]


def find(model: str) -> Look | None:
    """The one that job.json names; None where it is no such name, or nothing of the kind is here."""
    if not model.startswith(PREFIX):
        return None
    try:
        return found(registry.read()).get(model)
    except registry.BadRegistry:  # whoever reads it for the model's own sake will say so
        return None
