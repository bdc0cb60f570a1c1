"""Reads and writes a model's weights: safetensors shards with the configuration in their metadata. No pickle, ever.

A model called `lite` lies in `lite-1-of-2.safetensors`, ... Each shard says in its metadata which configuration and
which save it belongs to and how many shards there are, so that a missing or foreign one is named before anything runs.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from .. import job
from .header import BadWeights

BUNDLED = Path(__file__).parent
SHARD_BYTES = 12 * 2**20  # below the 15 MB that a file of the repository may have
PART = ".part"  # beside its name: written, and not yet named
INSTALL = "install the weights again"


def shards(folder: Path, name: str) -> list[Path]:
    """The newest whole set of one save; empty where nothing lies. A save that was cut off while it renamed has left its
    last shards beside their names, and they are found there: a set is old or new, never a mix."""
    placed, beside = (sorted(folder.glob(f"{name}-*-of-*.safetensors{end}")) for end in ("", PART))
    sets: dict[str, dict[str, Path]] = {}
    for path in [*beside, *placed]:                         # placed last: of two equal ones, those count
        if header := _header(path) if path in placed else _part_header(path):
            sets.setdefault(header.get("save", ""), {})[path.name.removesuffix(PART)] = path
    whole = [found for found in sets.values() if len(found) == _count(found)]
    if not placed or whole:
        newest = max(whole, key=lambda found: max(path.stat().st_mtime_ns for path in found.values()), default={})
        return [newest[key] for key in sorted(newest)]
    if len(sets) > 1:
        raise BadWeights(
            f"the shards of {name} in {folder} are of {len(sets)} saves, and none is whole: expected one; {INSTALL}"
        )
    raise BadWeights(f"{len(placed)} of {_count(sets.popitem()[1])} shards of {name} found in {folder}; {INSTALL}")


def _count(found: dict[str, Path]) -> int:
    header = _header(next(iter(found.values())))
    return int(header["shards"]) if header.get("shards", "").isdigit() else 0


def _split(tensors: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for key, value in tensors.items():
        if size + value.nbytes > SHARD_BYTES and parts[-1]:
            parts.append({})
            size = 0
        parts[-1][key] = value
        size += value.nbytes
    return parts


def save(
    folder: Path, name: str, tensors: dict[str, Tensor], config: dict, dtype: torch.dtype = torch.bfloat16
) -> list[Path]:
    """Writes the whole set beside its names, then renames; what is left of older sets goes last."""
    parts = _split({key: value.detach().to(dtype).contiguous().cpu() for key, value in tensors.items()})
    facts = {"config": json.dumps(config), "shards": str(len(parts)), "licence": "GPL-3.0-or-later"}
    facts["save"] = _sum(parts, facts["config"])
    written = [folder / f"{name}-{i}-of-{len(parts)}.safetensors" for i in range(1, len(parts) + 1)]
    for path, part in zip(written, parts, strict=True):
        job.write_bytes(Path(f"{path}{PART}"), to_bytes(part, facts))
    for path in written:
        os.replace(f"{path}{PART}", path)
    names = (f"{name}-*-of-*.safetensors", f"{name}-*-of-*{PART}", f".{name}-*{PART}")
    for old in {path for pattern in names for path in folder.glob(pattern)} - set(written):
        old.unlink()
    return written


def _sum(parts: list[dict[str, Tensor]], config: str) -> str:
    """What a save is known by."""
    digest = hashlib.sha256(config.encode())
    for part in parts:
        for key, value in part.items():
            digest.update(key.encode() + value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _header(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise BadWeights(f"{path.name} is not a readable safetensors file ({error}); {INSTALL}") from error


def _part_header(path: Path) -> dict[str, str]:
    """Of a shard that no name was given yet: nothing where it can't be read, as nobody was told that it is there."""
    try:
        return _header(path)
    except BadWeights:
        return {}


def config(folder: Path, name: str) -> dict:
    """The configuration that all shards agree on."""
    found = shards(folder, name)
    if not found:
        raise BadWeights(
            f"no weights called {name} in {folder}: expected {name}-1-of-N.safetensors; install the add-on again"
        )
    said = {_header(path).get("config") for path in found}
    if len(said) > 1:
        raise BadWeights(f"the shards of {name} come from different models; {INSTALL}")
    if None in said:
        raise BadWeights(f"{found[0].name} carries no configuration; it was not written by this engine; {INSTALL}")
    return json.loads(said.pop())


def load(folder: Path, name: str) -> dict[str, Tensor]:
    """All tensors of a model, float32; refuses what is not finite."""
    out: dict[str, Tensor] = {}
    for path in shards(folder, name):
        with safe_open(path, "pt") as file:
            for key in file.keys():  # noqa: SIM118 - not a dict
                out[key] = file.get_tensor(key).float()
                if not out[key].isfinite().all():
                    raise BadWeights(f"{path.name}: {key} holds numbers that are not finite; {INSTALL}")
    return out


def fill(model: torch.nn.Module, tensors: dict[str, Tensor], name: str) -> None:
    """Puts tensors into a model; names the first that does not fit."""
    wanted = model.state_dict()
    for key, value in wanted.items():
        if key not in tensors:
            raise BadWeights(f"the weights of {name} lack {key}; they belong to another version; install them again")
        if tensors[key].shape != value.shape:
            raise BadWeights(
                f"{name}: {key} is {tuple(tensors[key].shape)}, expected {tuple(value.shape)}; install them again"
            )
    model.load_state_dict({key: tensors[key] for key in wanted})


def fingerprint(folder: Path, name: str) -> str:
    """sha256 over all shards, for reports: which weights made this clip."""
    digest = hashlib.sha256()
    for path in shards(folder, name):
        digest.update(path.read_bytes())
    return digest.hexdigest()
