"""Reads and writes a model's weights: safetensors shards with the configuration in their metadata. No pickle, ever.

A model called `lite` lies in `lite-1-of-2.safetensors`, ... Each shard says in its metadata which configuration it
belongs to and how many shards there are, so that a missing or foreign one is named before anything runs.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

BUNDLED = Path(__file__).parent
SHARD_BYTES = 12 * 2**20  # below the 15 MB that a file of the repository may have


class BadWeights(ValueError):
    """Weights that cannot be used: the sentence names the file, what was found, and what to do."""


def shards(folder: Path, name: str) -> list[Path]:
    return sorted(folder.glob(f"{name}-*-of-*.safetensors"))


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
    """Writes the shards beside their final names, then renames; older shards of the name are removed last."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = _split({key: value.detach().to(dtype).contiguous().cpu() for key, value in tensors.items()})
    written = []
    for i, part in enumerate(parts, 1):
        path = folder / f"{name}-{i}-of-{len(parts)}.safetensors"
        save_file(
            part,
            f"{path}.part",
            {"config": json.dumps(config), "shards": str(len(parts)), "licence": "GPL-3.0-or-later"},
        )
        written.append(path)
    for path in written:
        Path(f"{path}.part").replace(path)
    for old in set(shards(folder, name)) - set(written):
        old.unlink()
    return written


def _header(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise BadWeights(
            f"{path.name} is not a readable safetensors file ({error}); install the weights again"
        ) from error


def config(folder: Path, name: str) -> dict:
    """The configuration that all shards agree on."""
    found = shards(folder, name)
    if not found:
        raise BadWeights(
            f"no weights called {name} in {folder}: expected {name}-1-of-N.safetensors; install the add-on again"
        )
    headers = [_header(path) for path in found]
    if any("config" not in header for header in headers):
        raise BadWeights(
            f"{found[0].name} carries no configuration; it was not written by this engine; install the weights again"
        )
    if len({header["config"] for header in headers}) > 1:
        raise BadWeights(f"the shards of {name} come from different models; install the weights again")
    if len(found) != int(headers[0]["shards"]):
        raise BadWeights(
            f"{len(found)} of {headers[0]['shards']} shards of {name} found in {folder}; install the weights again"
        )
    return json.loads(headers[0]["config"])


def load(folder: Path, name: str) -> dict[str, Tensor]:
    """All tensors of a model, float32; refuses what is not finite."""
    out: dict[str, Tensor] = {}
    for path in shards(folder, name):
        with safe_open(path, "pt") as file:
            for key in file.keys():  # noqa: SIM118 - not a dict
                out[key] = file.get_tensor(key).float()
                if not out[key].isfinite().all():
                    raise BadWeights(f"{path.name}: {key} holds numbers that are not finite; install the weights again")
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
