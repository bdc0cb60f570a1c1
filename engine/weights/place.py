"""Which device and which precision a model runs in on this machine: a short probe decides, the report records it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import torch

PROBE = 768  # side of the probe's matrices
CLEARLY = 1.3  # bf16 must be this much faster to be chosen


@dataclass(frozen=True)
class Place:
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


def choose(recorded: dict | None = None) -> Place:
    """The place to run at. A job that goes on keeps the precision it began with, so that its bytes stay the same."""
    count = threads()
    if torch.cuda.is_available():
        dtype = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
        return Place("cuda", dtype, count, "a GPU is at hand")
    if recorded and recorded.get("device") == "cpu" and recorded.get("precision") in ("bfloat16", "float32"):
        return Place("cpu", getattr(torch, recorded["precision"]), count, "as the job began")
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return Place("cpu", torch.float32, count, "this processor has no bf16 arithmetic")
    gain = _seconds(torch.float32) / _seconds(torch.bfloat16)
    if gain > CLEARLY:
        return Place("cpu", torch.bfloat16, count, "the probe's bf16 products were clearly faster")
    return Place("cpu", torch.float32, count, "the probe's bf16 products were not clearly faster")
