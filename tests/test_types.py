"""Mypy agrees: Blender's side against fake-bpy-module, and the engine. `compat.py`, which speaks to Blenders that the
stubs do not describe, is exempt."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("operators", "panels", "engine")

# What mypy and the stubs cannot know: properties that are registered at run time; Cycles' own, which is an add-on;
# plain strings where the stubs list literals; the data of an object, one of twelve classes, where the code asked for
# its type; vectors, sequences to Python but not to the stubs; and what a dictionary of settings unpacks to.
UNKNOWABLE = (
    r'has no attribute "(shotlock|cycles|layout|poll_message_set)"',
    r'"(Shotlock\w+|PropertyGroup|ID|Property)" has no attribute',
    r"Literal\['",
    r"Armature \| Camera \| Curve",
    r'incompatible type "(Color|Matrix|Vector|Euler|Quaternion)"; expected',
    r'incompatible type "\*\*dict\[',
    r'"bpy_prop_array" is not indexable',
    r'"(Node|NodeSocket)" has no attribute',
    r'incompatible type "ndarray\[.*expected "Sequence\[Sequence\[float',
    r"_bpy_types\.Context",
    r"operators/compat\.py",
)


def complaints(output: str) -> list[str]:
    lines = [line for line in output.splitlines() if ": error: " in line]
    return [line for line in lines if not any(re.search(pattern, line) for pattern in UNKNOWABLE)]


def mypy(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In a folder where the add-on is the package `shotlock`, whatever the clone is called."""
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=dict(os.environ))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    (tmp_path / "shotlock").symlink_to(ROOT, target_is_directory=True)
    return tmp_path


def test_types_agree(package: Path) -> None:
    rooms = [argument for room in ROOMS for argument in ("-p", f"shotlock.{room}")]
    done = mypy(package, *rooms)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert complaints(done.stdout) == []


def test_a_wrong_type_is_found(tmp_path: Path) -> None:
    wrong = "import bpy\nframe: str = bpy.context.scene.frame_current\nbpy.data.sceness\n"
    (tmp_path / "wrong.py").write_text(wrong)
    found = complaints(mypy(tmp_path, "wrong.py").stdout)
    assert len(found) == 2 and "wrong.py:2" in found[0] and "wrong.py:3" in found[1]
