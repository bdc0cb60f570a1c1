"""Which device, precision and threads a model runs with on this machine: a short probe decides, once; the report tells.

Lite runs on the processor, also where a GPU is: its layers are small, and nobody has measured it on one yet. Models
that the artist brings run on the GPU where there is one.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..check import memory as memory_of_machine

PROBE = 768  # side of the probe's matrices
CLEARLY = 1.3  # bf16 must be this much faster to be chosen
TRIM, MAP = -1, -3  # glibc's M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
KEPT = 2**30  # bytes
PRECISIONS = {"bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True)
class Machine:
    device: str
    dtype: torch.dtype
    threads: int
    why: str


def _seconds(dtype: torch.dtype) -> float:
    a = torch.randn(PROBE, PROBE, dtype=dtype)
    torch.mm(a, a)
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        torch.mm(a, a)
        best = min(best, time.perf_counter() - began)
    return best


def threads() -> int:
    """Cores this process may use; more threads than cores make torch on a CPU many times slower."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(found, torch.get_num_threads() or found))


def keep_what_is_freed() -> None:
    """Large tensors come and go with every layer. glibc hands each back to the system, which clears it anew: of 81 s of
    sampling 22, and nearly all of its system time. Here they are kept, for 7 % more memory at the peak; where there is
    no glibc, nothing is done."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # no glibc
        for setting in (MAP, TRIM):
            ctypes.CDLL(None).mallopt(setting, KEPT)


def give_back() -> None:
    """What is freed goes back to the system, where there is a glibc: between windows, so that a long shot holds no more
    than a short one."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def memory() -> Path:
    """Where the probe's answer is kept, so that the same job gives the same bytes however busy the machine is."""
    root = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    return Path(root) / "shotlock" / "precision.json"


def _machine() -> str:
    kind = torch.backends.cpu.get_cpu_capability()
    return f"{platform.machine()} {platform.processor()} {kind} torch {torch.__version__}"


def _has_bf16() -> bool:
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):  # a torch that was built without it
        return False


def probe() -> tuple[str, str]:
    """Precision and reason, as this machine answered the first time."""
    path = memory()
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(path.read_text())
        if known["machine"] == _machine() and known["precision"] in PRECISIONS:
            return known["precision"], "this machine's probe"
    if not _has_bf16():
        return "float32", "this processor has no bf16 arithmetic"
    clearly = _seconds(torch.float32) / _seconds(torch.bfloat16) > CLEARLY
    answer = "bfloat16" if clearly else "float32"
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        part.write_text(json.dumps({"machine": _machine(), "precision": answer}))
        part.replace(path)
    return answer, f"the probe's bf16 products were {'clearly' if clearly else 'not clearly'} faster"


def products(device: str, precision: str) -> torch.autocast:
    """Within it, matrix products and convolutions run in that precision."""
    dtype = PRECISIONS[precision]
    return torch.autocast(device, dtype, enabled=dtype != torch.float32)


def in_words(chosen: Machine) -> str:
    """For people: the device, how it computes, and what is left idle."""
    threads = f"{chosen.threads} thread{'s' if chosen.threads > 1 else ''}"
    words = f"{chosen.device}: {threads}, {str(chosen.dtype).removeprefix('torch.')}"
    if chosen.device == "cpu" and torch.cuda.is_available():
        words += f" ({torch.cuda.get_device_name(0)} is not used: the lite model runs on the processor)"
    return words


def choose(recorded: dict[str, Any] | None = None) -> Machine:
    """What to run with. A job that goes on keeps the precision and threads it began with: its bytes stay the same."""
    keep_what_is_freed()
    if recorded and recorded.get("precision") in PRECISIONS and isinstance(recorded.get("threads"), int):
        return Machine("cpu", PRECISIONS[recorded["precision"]], recorded["threads"], "as the job began")
    precision, why = probe()
    return Machine("cpu", PRECISIONS[precision], threads(), why)


def choose_large(recorded: dict[str, Any] | None = None) -> Machine:
    """The same for models of billions of numbers: a GPU where there is one, in bf16 as they were trained."""
    if not torch.cuda.is_available():
        return choose(recorded)
    return Machine("cuda", torch.bfloat16, threads(), "as these models were trained")


def free(device: str) -> int:
    """Bytes that a job can have there now."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    found = memory_of_machine()["free"] or memory_of_machine()["total"]
    return int(found or 0)


def name(device: str) -> str:
    """For people."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else "this computer's memory"
