"""Finds a Blender, starts it in the background on this repository's scripts and hears what it says. No bpy, no torch.

A Blender is either the program or the Python of a bpy wheel. It holds our end of its stdin: when we are gone, it goes.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "operators" / "passes.py"
PREFIX = b"shotlock "  # of a line that is meant for us, as operators/passes.py says it
LAST_LINES = 40
WHEELS = ("bpy45", "bpy50", "bpy42")  # what setup/environments.py calls them, the one that most was measured with first
PROGRAM, PYTHONS = "SHOTLOCK_BLENDER", "SHOTLOCK_BLENDERS"  # variables: a program; Pythons of wheels, as PATH is written


class NoBlender(ValueError):
    """There is none to start. One sentence."""


class BlenderFailed(RuntimeError):
    """It could not do what it was started for. One sentence."""


# ---------------------------------------------------------------- finding


def find(chosen: Path | str | None = None) -> Path:
    """The Blender that was named; else that of the environment, of the PATH, of this project's setup. Raises NoBlender."""
    if chosen:
        path = Path(shutil.which(str(chosen)) or chosen)
        if not path.is_file():
            raise NoBlender(f"there is no Blender at {chosen}: give the program, or the Python of a bpy wheel")
        return path.absolute()  # not resolved: a wheel's Python is a link, and means its environment
    for candidate in candidates():
        if candidate.is_file():
            return candidate.absolute()
    raise NoBlender(f"no Blender was found: name one with --blender or {PROGRAM}, or install bpy with "
                    f"`python setup/environments.py {WHEELS[0]}`")  # fmt: skip


def candidates() -> Iterator[Path]:
    named = [os.environ.get(PROGRAM, ""), *os.environ.get(PYTHONS, "").split(os.pathsep), shutil.which("blender") or ""]
    yield from (Path(name) for name in named if name)
    python = Path("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    yield from (Path(sys.prefix).parent / wheel / python for wheel in WHEELS)


def is_python(blender: Path) -> bool:
    return blender.name.lower().startswith("python")


# ---------------------------------------------------------------- starting


def command(blender: Path, script: Path, arguments: Sequence[str], file: Path | None = None, trusted: bool = False) -> list[str]:
    """`script -- arguments` in a background Blender. The program opens `file` by itself; a wheel's script has to."""
    if is_python(blender):
        return [str(blender), str(script), "--", *arguments]
    opened = [str(file)] if file else ["--factory-startup"]
    may = "--enable-autoexec" if trusted else "--disable-autoexec"
    return [str(blender), "--background", "-noaudio", "--offline-mode", may, *opened, "--python", str(script), "--", *arguments]


def environment(blender: Path, scratch: str) -> dict[str, str]:
    """Nothing of our Python leads its Python astray; a wheel, which has no preferences, writes none either."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {"BLENDER_USER_RESOURCES": scratch, **clean} if is_python(blender) else clean


def run(blender: Path, line: list[str], hear: Callable[[dict[str, Any]], None]) -> None:
    """Starts it and waits; every message is heard. Raises BlenderFailed; ends the process however this ends."""
    last: deque[str] = deque(maxlen=LAST_LINES)
    errors: list[str] = []
    with tempfile.TemporaryDirectory(prefix="shotlock-blender-") as scratch:
        process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   env=environment(blender, scratch))  # fmt: skip
        try:
            assert process.stdout is not None
            for said in process.stdout:
                listen(said, hear, errors, last)
            code = process.wait()
        finally:
            end(process)
    if errors or code:
        raise BlenderFailed(reason(blender, errors, code, last))


def listen(said: bytes, hear: Callable[[dict[str, Any]], None], errors: list[str], last: deque[str]) -> None:
    if not said.startswith(PREFIX):
        last.append(said.decode("utf-8", "replace").strip())
        return
    message = json.loads(said[len(PREFIX) :])
    if "error" in message:
        errors.append(message["error"])
    hear(message)


def end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            stream.close()  # type: ignore[union-attr]


def reason(blender: Path, errors: list[str], code: int, last: deque[str]) -> str:
    if any("No module named 'bpy'" in error for error in errors):
        return f"{blender} is a Python without bpy: give a Blender, or the Python of a bpy wheel"
    words = " / ".join([line for line in last if line][-3:])
    return errors[-1].strip().splitlines()[0] if errors else f"Blender ended (code {code}): {words or 'it said nothing'}"
