"""`python -m engine models`: lists, finds, fetches, imports and removes models. The add-on's manager runs it in a
process of its own, so that a window never waits; so may anybody from a terminal. Standard library only.

Each line on stdout is one JSON object: where it stands, at last `done` or `error`. Started with --watched it ends when
its stdin ends: then Blender is gone. What the registry says, `registry.py` knows; addresses, `official.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import job, looks, official, registry
from ..registry import BadRegistry, Registry
from . import fetch, find
from .fetch import BadFetch, Stopped, Wanted
from .header import BadWeights, read_set

FETCHED = "fetched.json"  # in the models' folder: which of its files came from where
KINDS = {"transformer": "diffusion_models", "transformer_low": "diffusion_models", "text": "text_encoders",
         "autoencoder": "vae", "image": "clip_vision", "lora": "loras"}  # fmt: skip
WAIT = 2.0  # seconds that a fetch has to notice that it is to stop

Say = Callable[[dict[str, Any]], None]
Stop = Callable[[], bool]


class BadOrder(ValueError):
    """What was asked for cannot be done. One sentence."""


# ---------------------------------------------------------------- what was fetched


def fetched(folder: Path) -> dict[str, dict[str, Any]]:
    """By path relative to the models' folder."""
    try:
        value = json.loads((folder / FETCHED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def remember(folder: Path, path: Path, url: str, sha256: str) -> None:
    known = fetched(folder)
    known[path.relative_to(folder).as_posix()] = {"url": url, "sha256": sha256, "size": path.stat().st_size}
    job.write_json(folder / FETCHED, known)


def home_of(path: Path) -> Path:
    """The models' folder that a fetched file lies in, which may not be the one of today."""
    return path.parent.parent


def is_ours(path: Path) -> bool:
    """Whether the manager fetched that file."""
    return path.relative_to(home_of(path)).as_posix() in fetched(home_of(path))


# ---------------------------------------------------------------- fetching


def address(file: official.File, server: str = "") -> str:
    """Where a file lies; another server has it under the same path."""
    return file.url.replace(official.HOST, server.rstrip("/"), 1) if server else file.url


def place(folder: Path, part: str, file: official.File) -> Path:
    """Where a fetched file goes: ComfyUI's own folders, so that one folder may serve both."""
    return folder / KINDS[part] / file.name


def fetch_model(name: str, say: Say, stop: Stop, server: str = "", folder: str = "") -> None:
    """An official model: what this machine lacks of it is fetched, and it is written into the registry."""
    model, known = official.MODELS[name], settled(folder)
    home = registry.models_folder(known)
    files, missing = here(known, home, model, say, stop)
    fetch_all(home, missing, say, stop, server)
    files |= {part: place(home, part, file) for part, file in missing.items()}
    entry = described(name, model, files)
    update(lambda known: registry.with_model(known, entry))


def fetch_lora(name: str, say: Say, stop: Stop, server: str = "", folder: str = "") -> None:
    listed = official.LORAS[name]
    home = registry.models_folder(settled(folder))
    path = place(home, "lora", listed.file)
    if not path.is_file():
        fetch_all(home, {"lora": listed.file}, say, stop, server)
    lora = registry.Lora(name, path, listed.title, listed.expert, listed.recipe)
    update(lambda known: registry.with_lora(known, lora))


def update(change: Callable[[Registry], Registry]) -> Registry:
    """Changes the registry as it is now: a fetch takes long, and others write it, too."""
    known = change(registry.read())
    registry.write(known)
    return known


def settled(folder: str) -> Registry:
    """The registry; a folder that is named is that of later models, too."""
    if not folder:
        return registry.read()
    return update(lambda known: replace(known, folder=str(Path(folder).absolute())))


def here(
    known: Registry, home: Path, model: official.Model, say: Say, stop: Stop
) -> tuple[dict[str, Path], dict[str, official.File]]:
    """Parts of an official model that lie on this machine already, under their official names; those that do not."""
    say({"phase": "find", "file": "", "done": 0, "size": 0})
    names = {file.name for file in model.files.values()}
    found = {path.name: path for path in candidates(known, home, names, stop) if is_whole(path)}
    files = {part: found[file.name] for part, file in model.files.items() if file.name in found}
    return files, {part: file for part, file in model.files.items() if part not in files}


def candidates(known: Registry, home: Path, names: Iterable[str], stop: Stop) -> Iterable[Path]:
    """Files with these names: of other programs, then of the registry, then the manager's own."""
    names = set(names)
    for folder in find.places():
        for root in find.roots(folder):
            fetch.tick(stop)
            yield from (path for path in find.walk(root) if path.name in names)
    yield from (path for entry in known.models.values() for path in entry.files.values() if path.name in names)
    yield from (path for kind in set(KINDS.values()) for name in names if (path := home / kind / name).is_file())


def is_whole(path: Path) -> bool:
    found = find.identify(path)
    return found is not None and found.part in official.PARTS


def room(home: Path, missing: Mapping[str, official.File]) -> None:
    """Raises Full before the first of many files, where not all of them will fit; what has come of them counts."""
    need = sum(max(0, file.size - fetch.come(place(home, part, file))) for part, file in missing.items())
    if need:
        largest = max(missing, key=lambda part: missing[part].size)
        fetch.need_room(place(home, largest, missing[largest]), need)


def fetch_all(home: Path, missing: Mapping[str, official.File], say: Say, stop: Stop, server: str) -> None:
    """One after the other, each written down as soon as it is there."""
    whole, before = sum(file.size for file in missing.values()), 0
    room(home, missing)
    with held(home):
        for part, file in missing.items():
            fetch_one(home, part, file, shifted(say, before, whole, file.size), stop, server)
            before += file.size


def fetch_one(home: Path, part: str, file: official.File, say: Say, stop: Stop, server: str) -> None:
    """A file, and its checksum: one that nobody told beforehand is known from here on."""
    url, path = address(file, server), place(home, part, file)
    listed = file.sha256 or registry.read().checksums.get(file.url, "")
    sha256 = fetch.fetch(Wanted(url, path, file.size, listed), say, stop)
    refuse_wrong(part, path)
    remember(home, path, url, sha256)
    if not listed:
        update(lambda known: replace(known, checksums=dict(known.checksums) | {file.url: sha256}))


def shifted(say: Say, before: int, whole: int, size: int) -> Say:
    """How far one file is, as how far all of them are; listed sizes may be a little off."""

    def told(news: dict[str, Any]) -> None:
        share = news["done"] / news["size"] if news["size"] else 0.0
        say(news | {"all_done": before + round(share * size), "all": whole})

    return told


def refuse_wrong(part: str, path: Path) -> None:
    """A file that is whole and is something else: a web page, another model."""
    found, wanted = find.identify(path), "transformer" if part == "transformer_low" else part
    if found is None or found.part != wanted:
        path.unlink(missing_ok=True)
        what = f"a {found.part}" if found else "no part of a model"
        raise BadFetch(f"{path.name} from the server is {what}, expected a {wanted}, so it was removed: choose another "
                       "server, or import the file")  # fmt: skip


def held(home: Path) -> Any:
    """The folder for one manager alone."""
    home.mkdir(parents=True, exist_ok=True)
    return job.hold(home)


def described(name: str, model: official.Model, files: Mapping[str, Path]) -> registry.Entry:
    parts = {part: found for part, path in files.items() if (found := find.identify(path)) is not None}
    facts = find.facts_of(parts) if "transformer" in parts else {}
    return registry.Entry(name, files, model.title, model.variant, model.licence, model.told, facts)


# ---------------------------------------------------------------- importing


def survey(paths: Iterable[str], say: Say) -> tuple[list[find.Candidate], list[tuple[str, str, Path, str]]]:
    """Models and LoRAs that the registry does not name yet: in these files and folders, else wherever other programs
    keep theirs. What belongs to a model may lie elsewhere."""
    say({"phase": "find", "file": "", "done": 0, "size": 0})
    chosen, known = existing(paths), registry.read()
    found = find.look([*map(context, chosen), *everywhere(known)])
    listed = {os.path.realpath(path) for entry in known.models.values() for path in entry.files.values()}
    listed |= {os.path.realpath(lora.file) for lora in known.loras.values()}

    def is_meant(path: Path) -> bool:
        inside = not chosen or any(path.is_relative_to(one) for one in chosen)
        return inside and os.path.realpath(path) not in listed

    models = [one for one in find.models(found) if is_meant(one.files["transformer"])]
    return models, [one for one in find.loras(found) if is_meant(one[2])]


def existing(paths: Iterable[str]) -> list[Path]:
    chosen = [Path(path).absolute() for path in paths]
    lost = next((path for path in chosen if not path.exists()), None)
    if lost is not None:
        raise BadOrder(f"there is no {lost}: name a file or a folder that is there")
    return chosen


def context(path: Path) -> Path:
    """Where the other parts of a file's model may lie: ComfyUI's models, a snapshot of a cache, its own folder."""
    if path.is_dir():
        return path
    kind = next((place for place in path.parents if place.name in find.KINDS), None)
    snapshot = next((place for place in path.parents if place.parent.name == "snapshots"), None)
    return kind.parent if kind else snapshot or path.parent


def everywhere(known: Registry) -> list[Path]:
    own = registry.models_folder(known)
    return [*find.places(), *([own] if own.is_dir() else [])]


def taken_in(paths: Iterable[str], say: Say) -> list[str]:
    """Everything that is complete there into the registry; the names it got."""
    models, loras = survey(paths, say)
    names: list[str] = []

    def add(known: Registry) -> Registry:
        for one in (one for one in models if not one.lacks):
            one = find.renamed(one, [*known.models, *job.MODELS])
            known = registry.with_model(known, registry.Entry(
                one.name, one.files, one.title, one.variant, one.licence, one.told, one.facts))  # fmt: skip
            names.append(one.name)
        for name, title, path, expert in loras:
            name = find.apart(name, known.loras)
            known = registry.with_lora(known, registry.Lora(name, path, title, expert, recipe_of(path)))
            names.append(name)
        return known

    update(add)
    if not names:
        raise BadOrder(nothing(models))
    return names


def recipe_of(path: Path) -> official.Recipe | None:
    """Of a LoRA that is listed: what it was taught to need."""
    return next((lora.recipe for lora in official.LORAS.values() if lora.file.name == path.name), None)


def nothing(models: Iterable[find.Candidate]) -> str:
    one = next((one for one in models if one.lacks), None)
    if one is None:
        return "no model that is not listed already was found there: choose another folder, or fetch one"
    lack = IN_WORDS.get(one.lacks[0], one.lacks[0])
    return f"{one.title} lacks its {lack}: fetch the model, which brings what is missing"


IN_WORDS = {"text": "text encoder umT5-XXL", "autoencoder": "autoencoder", "tokenizer": "tokenizer",
            "transformer_low": "transformer for little noise", "image": "image encoder"}  # fmt: skip


# ---------------------------------------------------------------- removing


def removed(name: str, files: bool) -> tuple[Registry, list[Path]]:
    """The registry without a model or LoRA, and the files to delete: those that the manager fetched, or with `files`
    all of them; never one that another model needs."""
    known = registry.read()
    adapted = looks.found(known)
    if name in adapted:
        return known, removed_look(adapted[name], files)
    if name not in known.models and name not in known.loras:
        there = ", ".join([*known.models, *known.loras, *adapted])
        raise BadOrder(f"there is no model {name} in the list: expected {there}")
    own = known.models[name].files.values() if name in known.models else [known.loras[name].file]
    rest = registry.without(known, name)
    needed = {path for entry in rest.models.values() for path in entry.files.values()}
    needed |= {lora.file for lora in rest.loras.values()}
    return rest, [path for path in own if path not in needed and (files or is_ours(path))]


def removed_look(look: looks.Look, files: bool) -> list[Path]:
    """Its shards. It is listed because they are there, so that nothing but their going takes it off the list."""
    if not files:
        raise BadOrder(f"{look.title} is listed because it lies in {look.folder}: have its files deleted, too, or move "
                       "that folder elsewhere")  # fmt: skip
    return look.shards


def delete(paths: Iterable[Path]) -> None:
    for path in paths:
        for one in whole_set(path):
            one.unlink(missing_ok=True)
        if is_ours(path):
            known = fetched(home_of(path))
            known.pop(path.relative_to(home_of(path)).as_posix())
            job.write_json(home_of(path) / FETCHED, known)


def whole_set(path: Path) -> list[Path]:
    """All shards of a set and their list; links of a cache, not what they lead to."""
    try:
        shards = [header.path for header in read_set(path)]
    except BadWeights:
        return [path]
    index = path.with_name(path.name.rpartition("-00001-of-")[0] + ".safetensors.index.json")
    return [*shards, *([index] if len(shards) > 1 and index.exists() else [])]


# ---------------------------------------------------------------- the command


def table() -> dict[str, Any]:
    """What is listed and what is here."""
    known = registry.read()
    return {
        "folder": str(registry.models_folder(known)),
        "official": {name: {"title": model.title, "size": model.size, "licence": model.licence, "told": model.told,
                            "here": name in known.models} for name, model in official.MODELS.items()},
        "models": {name: {"title": entry.title, "told": entry.told, "licence": entry.licence,
                          "files": {part: str(path) for part, path in entry.files.items()},
                          "missing": entry.missing} for name, entry in known.models.items()},
        "loras": {name: str(lora.file) for name, lora in known.loras.items()},
        "looks": {name: {"title": look.title, "folder": str(look.folder), "words": list(look.words),
                         "missing": list(look.missing)} for name, look in looks.found(known).items()},
    }  # fmt: skip


def act(chosen: argparse.Namespace, say: Say, stop: Stop) -> dict[str, Any]:
    """Does what was ordered; the values of the last line."""
    if chosen.order == "list":
        return table()
    if chosen.order == "find":
        models, loras = survey(chosen.path, say)
        return {"models": [{"name": one.name, "title": one.title, "size": one.size, "lacks": list(one.lacks),
                            "files": {part: str(path) for part, path in one.files.items()}} for one in models],
                "loras": [{"name": name, "file": str(path)} for name, _, path, _ in loras]}  # fmt: skip
    if chosen.order == "fetch":
        if chosen.name not in (*official.MODELS, *official.LORAS):
            known = ", ".join([*official.MODELS, *official.LORAS])
            raise BadOrder(f"there is no model {chosen.name} that can be fetched: expected {known}")
        bring = fetch_model if chosen.name in official.MODELS else fetch_lora
        bring(chosen.name, say, stop, chosen.server, chosen.to)
        return {"names": [chosen.name]}
    if chosen.order == "import":
        return {"names": taken_in(chosen.path, say)}
    rest, paths = removed(chosen.name, chosen.files)
    registry.write(rest)
    delete(paths)
    return {"names": [chosen.name], "deleted": [str(path) for path in paths]}


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser("python -m engine models", description=__doc__)
    top.add_argument("--watched", action="store_true", help="end when stdin ends")
    orders = top.add_subparsers(dest="order", required=True, metavar="ORDER")
    orders.add_parser("list", help="what can be fetched, and what is here")
    order = orders.add_parser("find", help="what lies in ComfyUI's folders and Hugging Face's cache, or in a folder")
    order.add_argument("path", nargs="*", default=[])
    order = orders.add_parser("fetch", help="fetch an official model or LoRA; one that was cut off goes on")
    order.add_argument("name")
    order.add_argument("--server", default="", help="another address than Hugging Face's, with the same paths")
    order.add_argument("--to", default="", help="the folder for this and later models")
    order = orders.add_parser("import", help="list models that are there: files, or folders that hold them")
    order.add_argument("path", nargs="*", default=[])
    order = orders.add_parser("remove", help="take a model off the list; what was fetched for it alone is deleted")
    order.add_argument("name")
    order.add_argument("--files", action="store_true", help="delete its files even where they were not fetched here")
    return top


def main(arguments: list[str]) -> int:
    chosen, out = parser().parse_args(arguments), sys.stdout
    stop = threading.Event()
    if chosen.watched:
        threading.Thread(target=watch, args=(stop,), daemon=True).start()

    def say(news: Mapping[str, Any]) -> None:
        out.write(json.dumps(news) + "\n")
        out.flush()

    try:
        say({"done": True} | act(chosen, say, stop.is_set))
        return 0
    except Stopped:
        say({"error": "", "stopped": True})
    except (BadFetch, BadOrder, BadRegistry, BadWeights, job.BadJob, OSError) as error:
        say({"error": " ".join(str(error).split())})
    return 1


def watch(stop: threading.Event) -> None:
    """Blender is gone, or cancels: a fetch that does not notice soon is ended, which loses nothing."""
    while os.read(0, 4096):  # not through sys.stdin, whose lock a thread would hold when the process ends
        pass
    stop.set()
    timer = threading.Timer(WAIT, os._exit, (1,))
    timer.daemon = True
    timer.start()
