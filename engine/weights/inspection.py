"""`python -m engine inspect FILE`: what a file of weights is, from its header alone, as JSON. Standard library only.

A file that is no network of this engine is named for what it is; a broken one is refused in one sentence.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any

from ..models.wan import catalogue, config, names
from ..models.wan.config import WanConfig
from .header import BadWeights, Entry, Header, read_set
from .kinds import foreign, further

PRECISIONS = {
    "F64": "fp64", "F32": "fp32", "F16": "fp16", "BF16": "bf16", "F8_E4M3": "fp8 e4m3", "F8_E5M2": "fp8 e5m2",
}  # fmt: skip
LITE = "lite"


def report(path: Path) -> dict[str, Any]:
    """Everything a header says of the set that `path` belongs to. Raises BadWeights."""
    headers = read_set(path)
    tensors = {name: found for header in headers for name, found in header.tensors.items()}
    shapes = {name: found.shape for name, found in tensors.items()}
    out = {
        "files": [header.path.name for header in headers],
        "bytes": sum(header.size for header in headers),
        "tensors": len(tensors),
        "parameters": sum(prod(shape) for shape in shapes.values()),
        "precision": precision(tensors.values()),
        "fingerprint": catalogue.fingerprint(shapes),
    }
    return out | identity(headers, shapes)


def precision(entries: Iterable[Entry]) -> dict[str, int]:
    """Numbers stored in each type, the commonest first."""
    counts: Counter[str] = Counter()
    for found in entries:
        counts[PRECISIONS.get(found.dtype, found.dtype)] += prod(found.shape)
    return dict(counts.most_common())


def identity(headers: list[Header], shapes: config.Shapes) -> dict[str, Any]:
    """Family, role, variant and so on; `what` says it in words."""
    named = names.find(shapes)
    if named is None:
        lite = any(LITE in str(header.metadata.get("config", "")) for header in headers)
        what = "weights of lite" if lite else foreign(shapes)
        return {"family": LITE if lite else None, "what": what}
    official = {name: shapes[there] for name, there in named.names.items()}
    out: dict[str, Any] = {"family": "wan", "role": named.role, "naming": named.naming, "prefix": named.prefix}
    out["official_fingerprint"] = catalogue.fingerprint(official)
    out["variant"] = catalogue.known(official)
    out["scaled"] = len(named.scales)
    out["tokenizer"] = f"{named.prefix}spiece_model" in shapes or "spiece_model" in shapes
    try:
        found = config.read(named.role, official)
    except config.Unknown as error:
        return out | {"what": f"a damaged Wan {named.role}: {error}", "problems": [str(error)]}
    if isinstance(found, WanConfig):
        out["controls"] = list(found.controls)
    return out | {"dimensions": asdict(found), "what": in_words(named.role, out["variant"], official)}


def in_words(role: str, variant: str | None, official: config.Shapes) -> str:
    use = further(official)
    if use:
        return f"a Wan transformer for {use}, which this engine does not run"
    return variant or f"a Wan {role} that is none of the official ones"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("python -m engine inspect", description=__doc__)
    parser.add_argument("file", type=Path, help="a .safetensors file, one of its shards, their index, or their folder")
    chosen = parser.parse_args(arguments)
    try:
        values: Mapping[str, Any] = report(chosen.file)
    except BadWeights as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(values, indent=1, ensure_ascii=False) + "\n")
    return 0
