"""Which models are on this machine, and where their files lie: one JSON file of the data folder. Standard library only.

The panel's menu and the engine read it; the model manager writes it, and so may a hand: a name and its files are
enough. What the files hold is not looked at here. The bundled model is not in it: it is always there.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import job, official

VERSION = 1
FILE = "models.json"
ENVIRONMENT = "SHOTLOCK_MODELS"  # another such file, for farms and tests
MOST_BYTES = 4 * 2**20
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NEEDED = (official.TRANSFORMER, official.TEXT, official.AUTOENCODER)
AGAIN = "correct it, or remove it and import the models again"


class BadRegistry(ValueError):
    """models.json says something that cannot be. The message is one sentence: found, expected, what to do."""


@dataclass(frozen=True)
class Entry:
    """One model of this machine."""

    name: str
    files: Mapping[str, Path]  # by official.PARTS: a file, one of its shards, their index, or their folder
    title: str = ""
    variant: str = ""  # of official.RECIPES; empty: what the files show
    licence: str = ""
    told: str = ""  # what it can be told beside a prompt
    facts: Mapping[str, Any] = field(default_factory=dict)  # of the transformer, as `inspect` found them: for its need

    @property
    def recipe(self) -> official.Recipe | None:
        """How it is sampled; None where only its files tell."""
        return official.RECIPES.get(self.variant)

    @property
    def missing(self) -> list[str]:
        """Its files that are not there any more."""
        return [str(path) for path in self.files.values() if not path.exists()]


@dataclass(frozen=True)
class Lora:
    """One LoRA of this machine."""

    name: str
    file: Path
    title: str = ""
    expert: str = ""  # "high" or "low": of two experts the one that it is for
    recipe: official.Recipe | None = None


@dataclass(frozen=True)
class Registry:
    path: Path
    models: Mapping[str, Entry] = field(default_factory=dict)
    loras: Mapping[str, Lora] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=dict)  # address -> sha256 that its first fetch found
    folder: str = ""  # where fetched files go; empty: beside the registry


def data_folder() -> Path:
    """The user's data folder for Shotlock, which removing the add-on leaves alone."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "shotlock"


def place() -> Path:
    """Where the registry lies."""
    return Path(os.environ.get(ENVIRONMENT) or data_folder() / FILE)


def models_folder(registry: Registry) -> Path:
    """Where fetched files go."""
    return Path(registry.folder) if registry.folder else registry.path.parent / "models"


# Reading


def read(path: Path | None = None) -> Registry:
    """What is there; empty where there is no file. Raises BadRegistry."""
    path = path or place()
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadRegistry(f"{path.name} has more than {MOST_BYTES} bytes: {AGAIN}")
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Registry(path)
    except (OSError, ValueError, RecursionError) as error:
        raise BadRegistry(f"{path.name} can't be read ({str(error)[:80]}): {AGAIN}") from error
    if not isinstance(value, dict) or value.get("version", VERSION) != VERSION:
        raise BadRegistry(f"{path.name} is no list of models of version {VERSION}: {AGAIN}")
    home = path.parent
    return Registry(
        path,
        {name: _entry(path, name, found, home) for name, found in _table(path, value, "models").items()},
        {name: _lora(path, name, found, home) for name, found in _table(path, value, "loras").items()},
        {str(k): str(v) for k, v in _table(path, value, "checksums").items()},
        str(value.get("folder") or ""),
    )


def _table(path: Path, value: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = value.get(key, {})
    if not isinstance(found, dict):
        raise BadRegistry(f"{path.name}'s {key} is no table: {AGAIN}")
    return found


def _entry(path: Path, name: str, value: Any, home: Path) -> Entry:
    files = value.get("files") if isinstance(value, dict) else None
    good = NAME.fullmatch(name) and name not in job.MODELS and isinstance(files, dict)
    if not good or not all(key in official.PARTS and isinstance(file, str) and file for key, file in files.items()):
        raise BadRegistry(f"{path.name}: {name[:64]} has no proper files: expected {', '.join(NEEDED)} and where they "
                          f"lie; {AGAIN}")  # fmt: skip
    lacking = [part for part in NEEDED if part not in files]
    if lacking:
        raise BadRegistry(f"{path.name}: {name} names no {lacking[0]}: {AGAIN}")
    texts = {key: str(value.get(key) or "") for key in ("title", "variant", "licence", "told")}
    facts = value.get("facts") if isinstance(value.get("facts"), dict) else {}
    return Entry(name, {key: home / file for key, file in files.items()}, **texts, facts=facts)


def _lora(path: Path, name: str, value: Any, home: Path) -> Lora:
    if not NAME.fullmatch(name) or not isinstance(value, dict) or not isinstance(value.get("file"), str):
        raise BadRegistry(f"{path.name}: the LoRA {name[:64]} has no file: {AGAIN}")
    recipe = value.get("recipe")
    try:
        found = official.Recipe(**recipe) if isinstance(recipe, dict) else None
    except TypeError as error:
        raise BadRegistry(f"{path.name}: the recipe of {name} can't be read ({error}): {AGAIN}") from error
    return Lora(name, home / value["file"], str(value.get("title") or ""), str(value.get("expert") or ""), found)


def entry(name: str, registry: Registry | None = None) -> Entry:
    """One model of this machine. Raises BadRegistry for what is not here."""
    registry = registry or read()
    if name not in registry.models:
        known = ", ".join([*job.MODELS, *registry.models])
        raise BadRegistry(
            f"the model {name!r} is not on this machine; expected {known}: fetch or import it in the add-on's "
            "preferences, or choose another in the panel"
        )
    return registry.models[name]


# Writing


def write(registry: Registry) -> Path:
    """The whole list, whole or not at all. Paths are written as they are."""
    value = {
        "version": VERSION,
        "folder": registry.folder,
        "models": {name: _described(model) for name, model in registry.models.items()},
        "loras": {name: _described_lora(lora) for name, lora in registry.loras.items()},
        "checksums": dict(registry.checksums),
    }
    registry.path.parent.mkdir(parents=True, exist_ok=True)
    return job.write_json(registry.path, value)


def _described(model: Entry) -> dict[str, Any]:
    kept = {key: getattr(model, key) for key in ("title", "variant", "licence", "told") if getattr(model, key)}
    facts = {"facts": dict(model.facts)} if model.facts else {}
    return {"files": {part: str(path) for part, path in model.files.items()}} | kept | facts


def _described_lora(lora: Lora) -> dict[str, Any]:
    recipe = {"recipe": vars(lora.recipe)} if lora.recipe else {}
    kept = {key: getattr(lora, key) for key in ("title", "expert") if getattr(lora, key)}
    return {"file": str(lora.file)} | kept | recipe


def with_model(registry: Registry, model: Entry) -> Registry:
    return replace(registry, models=dict(registry.models) | {model.name: model})


def with_lora(registry: Registry, lora: Lora) -> Registry:
    return replace(registry, loras=dict(registry.loras) | {lora.name: lora})


def without(registry: Registry, name: str) -> Registry:
    models = {key: model for key, model in registry.models.items() if key != name}
    return replace(registry, models=models, loras={key: lora for key, lora in registry.loras.items() if key != name})
