"""Which models lie on this machine already: in ComfyUI's folders, in Hugging Face's cache, or where somebody says. Each
file is known by its header alone, and put together with those that it needs. Standard library only; changes nothing.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .. import official
from ..official import AUTOENCODER, IMAGE, LOW, TEXT, TOKENIZER, TRANSFORMER
from . import comfy_paths, inspection
from .header import SHARD, BadWeights
from .kinds import FURTHER

KINDS = ("diffusion_models", "unet", "vae", "text_encoders", "clip", "clip_vision", "loras")
"""Folders of ComfyUI's `models` that may hold a part of a video model."""

COMFY = ("ComfyUI", "comfyui", "Documents/ComfyUI", "ComfyUI_windows_portable/ComfyUI")  # of somebody's home
FURTHER_PLACES, DESKTOPS = "extra_model_paths.yaml", "extra_models_config.yaml"  # ComfyUI's lists of other folders
TOKENIZERS = ("tokenizer.json", "spiece.model")
MOST_FILES, DEEPEST = 5000, 6
ROLES = {  # `inspect` -> official.PARTS
    "transformer": TRANSFORMER, "text encoder": TEXT, "autoencoder": AUTOENCODER, "image encoder": IMAGE,
}  # fmt: skip
LORA = "a LoRA of a Wan transformer"
EXPERT = re.compile(r"(?<![a-z])(high|low)(?![a-z])")
DIFFUSERS_LOW = "transformer_2"


@dataclass(frozen=True)
class Found:
    """One file, or one set of shards by its first."""

    path: Path
    part: str  # of official.PARTS, or "lora"
    report: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dimensions(self) -> Mapping[str, Any]:
        return self.report.get("dimensions", {})


@dataclass(frozen=True)
class Candidate:
    """A model as the files that are there make it."""

    name: str
    title: str
    variant: str
    files: Mapping[str, Path]
    lacks: tuple[str, ...]  # parts that no file is there for
    facts: Mapping[str, Any]
    told: str
    licence: str
    size: int


# ---------------------------------------------------------------- where


def places(environment: Mapping[str, str] | None = None) -> list[Path]:
    """Folders of other programs that are there."""
    env = os.environ if environment is None else environment
    home = Path(env.get("USERPROFILE" if sys.platform == "win32" else "HOME") or Path.home())
    cache = Path(env.get("XDG_CACHE_HOME") or home / ".cache")
    hubs = [env.get("HF_HUB_CACHE"), env.get("HUGGINGFACE_HUB_CACHE"), env.get("HF_HOME") and f"{env['HF_HOME']}/hub"]
    comfy: list[Path | str | None] = [env.get("COMFYUI_PATH"), *(home / place for place in COMFY)]
    named = [*(Path(place) for place in hubs if place), cache / "huggingface" / "hub"]
    named += [Path(place) / "models" for place in comfy if place]
    lists = [*(Path(place) / FURTHER_PLACES for place in comfy if place), settings(env, home) / DESKTOPS]
    named += [folder for listing in lists for folder in comfy_paths.folders(listing, KINDS)]
    return unique(place for place in named if place.is_dir())


def settings(env: Mapping[str, str], home: Path) -> Path:
    """Where ComfyUI's desktop program keeps its own."""
    if sys.platform == "win32":
        base = Path(env.get("APPDATA") or home / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
    return base / "ComfyUI"


def unique(paths: Iterable[Path]) -> list[Path]:
    return list({os.path.realpath(path): path for path in paths}.values())


def roots(folder: Path) -> list[Path]:
    """Where to look in a folder: in the newest snapshot of each repository of a cache, in ComfyUI's folders, or in all
    of it."""
    if any(folder.glob("models--*")):
        return list(snapshots(folder))
    models = folder / "models" if (folder / "models").is_dir() else folder
    kinds = [models / kind for kind in KINDS if (models / kind).is_dir()]
    return kinds or [folder]


def snapshots(hub: Path) -> Iterator[Path]:
    for repository in sorted(hub.glob("models--*")):
        found = sorted((repository / "snapshots").glob("*"), key=lambda path: path.stat().st_mtime)
        if found:
            yield found[-1]


def walk(root: Path) -> Iterator[Path]:
    """Weights and tokenizers below a folder; of a set of shards the first. Bounded: a wrong folder may be a disk."""
    seen = 0
    for base, folders, files in os.walk(root, followlinks=False):
        deep = len(Path(base).relative_to(root).parts)
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if deep < DEEPEST else []
        for name in sorted(files):
            seen += 1
            if seen > MOST_FILES:
                return
            shard = SHARD.fullmatch(name)
            if name in TOKENIZERS or (name.endswith(".safetensors") and (shard is None or int(shard[2]) == 1)):
                yield Path(base) / name


# ---------------------------------------------------------------- what


def look(folders: Iterable[Path]) -> list[Found]:
    """Every part of a video model in these folders. A file that cannot be read, or is something else, is left out."""
    paths = [path for folder in folders for root in roots(folder) for path in walk(root)]
    return [found for path in unique(paths) if (found := identify(path)) is not None]


def identify(path: Path) -> Found | None:
    if path.name in TOKENIZERS:
        return Found(path, TOKENIZER) if "umt5" in path.as_posix().lower() or is_beside_wan(path) else None
    try:
        report = inspection.report(path)
    except (BadWeights, OSError):
        return None
    part = part_of(report)
    return None if part is None else Found(path, part, report)


def is_beside_wan(path: Path) -> bool:
    """A tokenizer of a diffusers folder says nothing of itself; its neighbours do."""
    return path.parent.name == "tokenizer" and "wan" in path.as_posix().lower()


def part_of(report: Mapping[str, Any]) -> str | None:
    """Which part of a model a file is; None for what no model of this engine is made of."""
    if report.get("what") == LORA:
        return "lora"
    strange = "problems" in report or any(use in str(report.get("what")) for use in FURTHER.values())
    return None if strange else ROLES.get(str(report.get("role")))


# ---------------------------------------------------------------- together


def models(found: Sequence[Found]) -> list[Candidate]:
    """Every transformer, or pair of experts, with the parts that it needs."""
    pairs = {pair_key(one.path): one for one in found if one.part == TRANSFORMER and expert(one.path) == "low"}
    made = []
    for one in found:
        if one.part == TRANSFORMER and expert(one.path) != "low":
            low = pairs.get(pair_key(one.path))
            made.append(candidate(one, low if low is None or fits(one, low) else None, found))
    return made


def expert(path: Path) -> str:
    """For much or little noise, by what the file or its folder is called; empty: neither."""
    if path.parent.name == DIFFUSERS_LOW:
        return "low"
    if path.parent.name == "transformer" and (path.parent.parent / DIFFUSERS_LOW).is_dir():
        return "high"
    named = EXPERT.findall(f"{path.parent.name}/{path.name}".lower())
    return named[-1] if named else ""


def pair_key(path: Path) -> str:
    """The same for both experts."""
    masked = path.as_posix().replace(f"/{DIFFUSERS_LOW}/", "/transformer/")
    return EXPERT.sub("*", masked.lower())


def fits(one: Found, other: Found) -> bool:
    return one.dimensions == other.dimensions


def candidate(first: Found, low: Found | None, found: Sequence[Found]) -> Candidate:
    near = sorted(found, key=lambda other: distance(first.path, other.path))
    text = next((o for o in near if o.part == TEXT and o.dimensions["width"] == first.dimensions["text_width"]), None)
    latents = first.dimensions["out_channels"]
    picture = next((o for o in near if o.part == AUTOENCODER and o.dimensions["channels"] == latents), None)
    parts = {TRANSFORMER: first, LOW: low, TEXT: text, AUTOENCODER: picture}
    if first.dimensions["image"]:
        seen = first.dimensions["image_width"]
        parts[IMAGE] = next((o for o in near if o.part == IMAGE and o.dimensions["width"] == seen), None)
    if text is not None and not text.report["tokenizer"]:
        parts[TOKENIZER] = next((o for o in sorted(near, key=lambda o: distance(text.path, o.path))
                                 if o.part == TOKENIZER), None)  # fmt: skip
    variant = variant_of(first, low)
    needed = [TRANSFORMER, TEXT, AUTOENCODER, *([LOW] if is_one_of_two(first, variant) else [])]
    needed += [TOKENIZER] if TOKENIZER in parts else []
    lacks = tuple(part for part in needed if parts.get(part) is None)
    present = {part: one for part, one in parts.items() if one is not None}
    return named(first, variant, present, lacks)


def distance(one: Path, other: Path) -> int:
    """How far two files lie apart: parts of a model mostly lie together."""
    return len(one.parts) + len(other.parts) - 2 * len(os.path.commonpath([one, other]).split(os.sep))


def variant_of(first: Found, low: Found | None) -> str:
    """One of official.RECIPES, or empty. Where one file is two models, the number of experts tells."""
    names = str(first.report.get("variant") or "").split(" or ")
    name = names[-1] if low is not None or expert(first.path) else names[0]
    return name if name in official.RECIPES else ""


def is_one_of_two(first: Found, variant: str) -> bool:
    recipe = official.RECIPES.get(variant)
    return bool(recipe.boundary) if recipe else expert(first.path) == "high"


def named(first: Found, variant: str, parts: Mapping[str, Found], lacks: tuple[str, ...]) -> Candidate:
    listed = next(((name, model) for name, model in official.MODELS.items() if model.variant == variant), None)
    name = listed[0] if listed else slug(stem(first.path))
    title = listed[1].title if listed else variant or stem(first.path)
    return Candidate(
        name, title, variant, {part: one.path for part, one in parts.items()}, lacks, facts_of(parts),
        listed[1].told if listed else "", official.APACHE if variant else "",
        sum(int(one.report.get("bytes", 0)) for one in parts.values()),
    )  # fmt: skip


def stem(path: Path) -> str:
    shard = SHARD.fullmatch(path.name)
    own = shard[1] if shard else path.name.removesuffix(".safetensors")
    if own not in ("diffusion_pytorch_model", "model"):
        return own
    snapshot = next((p for p in path.parents if p.parent.name == "snapshots"), None)
    return snapshot.parent.parent.name.rpartition("--")[2] if snapshot else path.parent.parent.name


def slug(text: str) -> str:
    return re.sub(r"[^a-z0-9._]+", "-", text.lower()).strip("-._")[:48] or "model"


def facts_of(parts: Mapping[str, Found]) -> dict[str, Any]:
    """What the registry remembers: what need.Facts wants to know, and what the model can be told."""
    first, text, picture = parts[TRANSFORMER], parts.get(TEXT), parts.get(AUTOENCODER)
    own = first.dimensions
    out = {
        "width": own["width"], "blocks": own["layers"] + len(own["vace_layers"]), "vace": bool(own["vace_layers"]),
        "parameters": first.report["parameters"], "experts": 1 + (LOW in parts),
        "controls": list(first.report.get("controls", [])),
        "image": int(parts[IMAGE].report["bytes"]) if IMAGE in parts else 0,
    }  # fmt: skip
    if text is not None:
        out |= {"text": text.report["parameters"], "text_blocks": text.dimensions["layers"]}
    if picture is not None:
        out["generation"] = picture.dimensions["generation"]
    return out


def loras(found: Sequence[Found]) -> list[tuple[str, str, Path, str]]:
    """Name, title, file and expert of each LoRA."""
    return [(slug(stem(one.path)), stem(one.path), one.path, expert(one.path)) for one in found if one.part == "lora"]


def apart(name: str, taken: Iterable[str]) -> str:
    """The name, or with a number that makes it another than those."""
    taken, number, tried = set(taken), 2, name
    while tried in taken:
        tried, number = f"{name}-{number}", number + 1
    return tried


def renamed(one: Candidate, taken: Iterable[str]) -> Candidate:
    name = apart(one.name, taken)
    return one if name == one.name else replace(one, name=name, title=f"{one.title} ({stem(one.files[TRANSFORMER])})")
