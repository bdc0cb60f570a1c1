"""What this engine stands on: device, versions, weights, memory, disk. Shown by `python -m engine check`."""

import ctypes
import importlib.metadata
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

from . import protocol
from .job import digest

PACKAGES = ("torch", "numpy", "einops", "safetensors", "opencv-python-headless", "imageio", "imageio-ffmpeg")
WEIGHTS = Path(__file__).resolve().parent / "weights"


def report(folder: Path | None = None) -> dict[str, Any]:
    """Everything a bug report needs; `problems` is empty when a job can run."""
    asked = folder or Path.cwd()
    there = next(path for path in (asked.absolute(), *asked.absolute().parents) if path.exists())
    values = {"shotlock": protocol.SHOTLOCK, "protocol": protocol.VERSION, "versions": versions(),
              "device": None, "weights": weights(), "memory": memory(),
              "disk": {"folder": str(asked), "free": shutil.disk_usage(there).free}}
    problems = [] if there == asked.absolute() else [f"there is no folder {asked}: name one that is there"]
    try:
        values["device"] = device()
    except ImportError as error:
        problems.append(f"torch can't be imported ({error}): {protocol.INSTALL}")
    if not values["weights"]:
        problems.append("no weights lie in engine/weights: install the add-on again")
    return values | {"problems": problems}


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "system": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "missing"
    return found


def device() -> str:
    """Where the model will run, in words: "cpu: 2 threads, float32". Imports torch."""
    from .weights import machine
    return machine.in_words(machine.choose())


def weights(folder: Path = WEIGHTS) -> list[dict[str, Any]]:
    return [{"file": path.name, "bytes": path.stat().st_size, "sha256": digest(path)}
            for path in sorted(folder.glob("*.safetensors"))]


def memory() -> dict[str, int | None]:
    """Bytes in the machine, and bytes that a new process can have now; None where the system doesn't tell."""
    if sys.platform == "win32":
        return _windows_memory()
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        table = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        return {"total": table["MemTotal"], "free": table["MemAvailable"]}
    except (OSError, KeyError, ValueError, IndexError):
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return {"total": total, "free": None}


def _windows_memory() -> dict[str, int | None]:
    class Status(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [
            (name, ctypes.c_ulonglong) for name in ("total", "free", "total_page", "free_page", "total_virtual",
                                                    "free_virtual", "extended")]
    status = Status(length=ctypes.sizeof(Status))
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))      # type: ignore[attr-defined]
    return {"total": status.total, "free": status.free}
