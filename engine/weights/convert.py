"""`python -m engine convert FILE.pth`: an official PyTorch file, once, into safetensors, in this process and no other.

The only place that reads a pickle, and only what `weights_only` lets through: tensors in tables. Dense ones only; what
is larger unpacked than packed is refused, for a small file could ask for any memory. After this the .pth is not read
again. Knows files; knows no network.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import job
from . import inspection
from .header import BITS, MOST_TENSORS, BadWeights

TYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.int64: "I64", torch.int32: "I32",
    torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
MOST_PICKLE = 64 * 2**20  # bytes of the table of tensors within a .pth
WRAPPINGS = ("state_dict", "model", "module", "model_state")  # under which a table of tensors may lie
SLICE = 32 * 2**20  # bytes written at once
ONCE = "fetch the official file again"


def convert(path: Path, out: Path) -> Path:
    """Writes a .pth as safetensors; the file appears whole or not at all. Raises BadWeights."""
    packed = refuse_odd_archive(path)
    tensors = table(path.name, loaded(path, packed))
    described, size = header(tensors)
    if size > 2 * path.stat().st_size + 2**20:
        raise BadWeights(f"{path.name} unpacks to {size} bytes, more than twice its own: {ONCE}")
    out.parent.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(out.parent).free < size:
        raise BadWeights(f"{out.name} needs {size} bytes, and the disk has less: free some space and run this again")
    with job.whole(out, size) as part, part.open("wb") as file:
        file.write(len(described).to_bytes(8, "little") + described)
        for tensor in tensors.values():
            for data in in_slices(tensor):
                file.write(data)
    return out


def refuse_odd_archive(path: Path) -> bool:
    """Whether it is a zip archive, as PyTorch writes since 1.6; refuses one that holds more than it shows."""
    try:
        with path.open("rb") as file:
            if file.read(4) != b"PK\x03\x04":
                return False
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise BadWeights(f"{path.name} is no PyTorch file ({error}): {ONCE}") from error
    if len(parts) > 2 * MOST_TENSORS or any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise BadWeights(f"{path.name} is not packed as PyTorch packs: {ONCE}")
    pickles = [part for part in parts if part.filename.endswith("data.pkl")]
    if len(pickles) != 1 or pickles[0].file_size > MOST_PICKLE:
        raise BadWeights(f"{path.name} holds no table of tensors that can be read: {ONCE}")
    return True


def loaded(path: Path, packed: bool) -> Any:
    """What PyTorch reads of it without running anything that is in it."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=packed)
    except Exception as error:
        reason = str(error).strip().split("\n")[0][:160]
        raise BadWeights(f"{path.name} is not a plain table of tensors ({reason}): {ONCE}") from error


def table(name: str, value: Any) -> dict[str, Tensor]:
    """Names and tensors, out of whatever wraps them."""
    for _ in WRAPPINGS:
        inner = next((value[key] for key in WRAPPINGS if isinstance(value, Mapping) and key in value), None)
        value = inner if isinstance(inner, Mapping) else value
    if not isinstance(value, Mapping) or not 0 < len(value) <= MOST_TENSORS:
        raise BadWeights(
            f"{name} holds {type(value).__name__}, expected a table of 1 to {MOST_TENSORS} tensors: {ONCE}"
        )
    for key, tensor in value.items():
        if not isinstance(key, str) or not isinstance(tensor, Tensor):
            raise BadWeights(f"{name}: {str(key)[:80]} is {type(tensor).__name__}, expected a tensor: {ONCE}")
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta or tensor.dtype not in TYPES:
            raise BadWeights(
                f"{name}: {key[:80]} is not a plain dense tensor ({tensor.dtype}, {tensor.layout}): {ONCE}"
            )
    return {key: value[key].detach() for key in sorted(value)}


def header(tensors: Mapping[str, Tensor]) -> tuple[bytes, int]:
    """The file's header, padded to eight bytes, and the size of the whole file."""
    described: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, tensor in tensors.items():
        end = at + tensor.numel() * BITS[TYPES[tensor.dtype]] // 8
        described[name] = {"dtype": TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(described, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return text, 8 + len(text) + at


def in_slices(tensor: Tensor) -> Iterator[bytes]:
    """A tensor's bytes, little-endian, a bounded part at a time."""
    flat = tensor.reshape(-1)
    count = max(1, SLICE // tensor.element_size())
    for part in flat.split(count):
        yield part.contiguous().view(torch.uint8).numpy().tobytes()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("python -m engine convert", description=__doc__)
    parser.add_argument("file", type=Path, help="an official .pth")
    parser.add_argument("out", type=Path, nargs="?", help="a .safetensors to write; else beside it, of its name")
    chosen = parser.parse_args(arguments)
    try:
        values = inspection.report(convert(chosen.file, chosen.out or chosen.file.with_suffix(".safetensors")))
    except (BadWeights, job.DiskFull) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(values, indent=1, ensure_ascii=False) + "\n")
    return 0
