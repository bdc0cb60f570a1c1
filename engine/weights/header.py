"""The header of a safetensors file: names, shapes and places of its tensors, read and checked before any number is.

Bounded whatever the file says: a header has at most 32 MB and names at most 50,000 tensors; what is wrong is refused in
one sentence that names the file. What is no safetensors file is named for what it is. Standard library only.
"""

from __future__ import annotations

import json
import re
import stat
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

MOST_HEADER = (
    32 * 2**20
)  # bytes: the format allows 100 MB, real ones have less than 5; as Python's text it is four times
MOST_TENSORS = 50_000  # the largest models have some 3,000
MOST_VALUES = 2_000_000  # commas in a header: what its lists may cost in memory
MOST_INDEX = 16 * 2**20  # bytes of a list of shards
AGAIN = "fetch it again"

BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4, "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64,
    "U32": 32, "U16": 16, "U8": 8, "BOOL": 8, "C64": 64,
}  # fmt: skip

MAGIC: tuple[tuple[bytes, str], ...] = (  # how other files begin
    (b"PK\x03\x04", "a PyTorch file (a zip archive with a pickle): convert it with `python -m engine convert`"),
    (b"\x80\x02\x8a\x0al\xfc\x9cF", "an old PyTorch file (a pickle): convert it with `python -m engine convert`"),
    (b"GGUF", "a GGUF file: this engine reads safetensors only"),
    (b"\x89HDF", "an HDF5 file: this engine reads safetensors only"),
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the file itself: fetch it with git lfs, or by its download link",
    ),
    (b"<!DOCTYPE", "a web page, perhaps of a log-in: fetch the file itself"),
    (b"<!doctype", "a web page, perhaps of a log-in: fetch the file itself"),
    (b"<html", "a web page, perhaps of a log-in: fetch the file itself"),
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it first"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"\x08\x00\x00\x00\x12", "a flat model file of another tool: this engine reads safetensors only"),
)
PICKLE = re.compile(rb"\x80[\x02-\x05](.|\n)")


class BadWeights(ValueError):
    """Weights that cannot be used: the sentence names the file, what was found, and what to do."""


@dataclass(frozen=True)
class Entry:
    """One tensor of a file."""

    dtype: str  # as the format calls it
    shape: tuple[int, ...]
    begin: int  # bytes from the start of the file
    end: int


@dataclass(frozen=True)
class Header:
    path: Path
    size: int  # bytes of the file
    tensors: Mapping[str, Entry]
    metadata: Mapping[str, str]


def read(path: Path | str) -> Header:
    """The header of one file, checked whole. Raises BadWeights."""
    path = Path(path)
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):  # to open a pipe would be to wait for its other end
            raise BadWeights(f"{path.name} is not a regular file: give a safetensors file")
        size = state.st_size
        with path.open("rb") as file:
            start = file.read(64)
            length = refuse_foreign(path, start, size)
            file.seek(8)
            text = file.read(length)
    except OSError as error:
        raise BadWeights(f"{path.name} can't be read ({error.strerror}): check its name and its rights") from error
    tensors, metadata = parse(path.name, text, 8 + length, size)
    return Header(path, size, tensors, metadata)


def refuse_foreign(path: Path, start: bytes, size: int) -> int:
    """The length of the header that a file's first bytes promise, if it is one at all."""
    what = next((what for magic, what in MAGIC if start.lstrip().startswith(magic) or start.startswith(magic)), None)
    if what is None and PICKLE.match(start) and start[8:9] != b"{":
        what = "a pickle, which could run code: this engine reads safetensors only"
    if what:
        raise BadWeights(f"{path.name} is {what}")
    if size < 10:
        raise BadWeights(f"{path.name} has {size} bytes, which is no safetensors file: {AGAIN}")
    (length,) = struct.unpack("<Q", start[:8])
    if start[8:9] != b"{" or length < 2:
        raise BadWeights(f"{path.name} is no safetensors file: it does not begin with a header; {AGAIN}")
    if length > MOST_HEADER:
        raise BadWeights(
            f"{path.name} says that its header has {length} bytes: at most {MOST_HEADER} are read; {AGAIN}"
        )
    if 8 + length > size:
        raise BadWeights(f"{path.name} is cut off: its header has {length} bytes, the whole file {size}; {AGAIN}")
    return length


def parse(name: str, text: bytes, start: int, size: int) -> tuple[dict[str, Entry], dict[str, str]]:
    """The JSON of a header whose tensors begin at `start` of a file of `size` bytes."""
    count = text.count(b'"data_offsets"')
    if count > MOST_TENSORS:
        raise BadWeights(
            f"{name} names {count} tensors: at most {MOST_TENSORS} are read; no model of this engine has more"
        )
    if max(text.count(b","), text.count(b"["), text.count(b"{")) > MOST_VALUES:
        raise BadWeights(f"{name} has a header of more than {MOST_VALUES} values: {AGAIN}")
    try:
        value = json.loads(text, object_pairs_hook=without_doubles)
    except (ValueError, RecursionError) as error:
        raise BadWeights(f"{name} has a header that is not JSON ({str(error)[:80]}): {AGAIN}") from error
    if not isinstance(value, dict):
        raise BadWeights(f"{name} has a header that is no table: {AGAIN}")
    metadata = value.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise BadWeights(f"{name} has metadata that are not texts: {AGAIN}")
    tensors = {key: entry(name, key, described, start) for key, described in value.items()}
    refuse_gaps(name, tensors, start, size)
    return tensors, metadata


def without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError(f"{Counter(key for key, _ in pairs).most_common(1)[0][0][:60]} stands in it twice")
    return table


def entry(name: str, key: str, value: Any, start: int) -> Entry:
    """One tensor's description, each part of it checked."""
    short = key if len(key) <= 80 else f"{key[:77]}..."
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise BadWeights(f"{name}: {short} is not described by dtype, shape and data_offsets: {AGAIN}")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise BadWeights(f"{name}: {short} has the unknown type {str(dtype)[:20]!r}: expected one of {', '.join(BITS)}")
    if not whole_numbers(shape) or len(shape) > 16 or not whole_numbers(offsets) or len(offsets) != 2:
        raise BadWeights(f"{name}: {short} has a shape or a place that is not whole numbers from 0: {AGAIN}")
    begin, end = offsets
    bits = prod(shape) * BITS[dtype]
    if bits != 8 * (end - begin):
        raise BadWeights(f"{name}: {short} is {tuple(shape)} {dtype} but has {end - begin} bytes: {AGAIN}")
    return Entry(dtype, tuple(shape), start + begin, start + end)


def whole_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(v) is int and 0 <= v < 1 << 62 for v in value)


def refuse_gaps(name: str, tensors: Mapping[str, Entry], start: int, size: int) -> None:
    """The tensors fill what follows the header, end to end: no overlap, no gap, nothing behind."""
    at = start
    for key, found in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if found.begin != at:
            how = "overlaps the tensor before it" if found.begin < at else "leaves a gap before it"
            raise BadWeights(f"{name}: {key[:80]} {how}: {AGAIN}")
        at = found.end
    if at > size:
        raise BadWeights(f"{name} is cut off: it has {size} bytes of {at}; {AGAIN}")
    if at < size:
        raise BadWeights(f"{name} has {size - at} bytes after its last tensor: {AGAIN}")


# ---------------------------------------------------------------- sets


SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.safetensors")


def read_set(path: Path | str) -> list[Header]:
    """The headers of a whole set: of one file, of all shards beside one of them or of their index, or of a folder that
    holds one set. No tensor lies in two of them. Raises BadWeights."""
    path = Path(path)
    if path.is_dir():
        path = only_set(path)
    if path.name.endswith(".index.json"):
        headers = listed(path)
    elif SHARD.fullmatch(path.name):
        index = path.with_name(f"{SHARD.fullmatch(path.name)[1]}.safetensors.index.json")  # type: ignore[index]
        headers = listed(index) if index.exists() else numbered(path)
    else:
        headers = [read(path)]
    owner: dict[str, str] = {}
    for header in headers:
        for name in header.tensors:
            if owner.setdefault(name, header.path.name) != header.path.name:
                raise BadWeights(f"{name[:80]} lies in {owner[name]} and in {header.path.name}: {AGAIN}")
    return headers


def only_set(folder: Path) -> Path:
    """The one set of a folder: an index, a shard, or the only file."""
    found = sorted(folder.glob("*.safetensors.index.json"))
    files = sorted(folder.glob("*.safetensors"))
    sets = {SHARD.sub(r"\1", file.name): file for file in files}
    if len(found) == 1:
        return found[0]
    if len(sets) != 1:
        raise BadWeights(f"{folder.name} holds {len(sets)} sets of weights: expected one; name the file")
    return files[0]


def numbered(path: Path) -> list[Header]:
    """All shards of a set without an index, by their numbers."""
    match = SHARD.fullmatch(path.name)
    assert match
    stem, count = match[1], int(match[3])
    paths = [path.with_name(f"{stem}-{i:05d}-of-{count:05d}.safetensors") for i in range(1, min(count, 1000) + 1)]
    missing = [p.name for p in paths if not p.exists()]
    if missing or count > 1000:
        raise BadWeights(
            f"{missing[0] if missing else path.name} is missing of the {count} shards of {stem}: fetch it, too"
        )
    return [read(p) for p in paths]


def listed(index: Path) -> list[Header]:
    """All shards that an index names, each with the tensors that it names there."""
    table = weight_map(index)
    headers = []
    for file in sorted(set(table.values())):
        shard = index.with_name(file)
        if not shard.exists():
            raise BadWeights(f"{file}, which {index.name} names, is missing beside it: fetch it, too")
        headers.append(read(shard))
    held = {(name, header.path.name) for header in headers for name in header.tensors}
    lost = next((name for name, file in table.items() if (name, file) not in held), None)
    if lost is not None:
        raise BadWeights(f"{table[lost]} lacks {lost[:80]}, which {index.name} places there: {AGAIN}")
    return headers


def weight_map(index: Path) -> dict[str, str]:
    """Tensor -> file, of an index; files lie beside it."""
    try:
        size = index.stat().st_size
        if size > MOST_INDEX:
            raise BadWeights(f"{index.name} has {size} bytes: at most {MOST_INDEX} are read")
        table = json.loads(index.read_bytes())["weight_map"]
        files = set(table.values())
    except OSError as error:
        raise BadWeights(f"{index.name} can't be read ({error.strerror}): check its name and its rights") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadWeights(f"{index.name} is no list of shards ({str(error)[:80]}): {AGAIN}") from error
    plain = all(isinstance(file, str) and re.fullmatch(r"[\w.-]+\.safetensors", file) for file in files)
    if not table or not plain:
        raise BadWeights(f"{index.name} names files that are not safetensors beside it: {AGAIN}")
    return table
