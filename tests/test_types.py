"""Mypy agrees: Blender's side against fake-bpy-module, and the engine. Only `compat.py`, which speaks to Blenders that
the stubs do not describe, is exempt; where the stubs are wrong elsewhere, that line says so."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("operators", "panels", "engine")
Mypy = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def mypy(tmp_path_factory: pytest.TempPathFactory) -> Mypy:
    """`mypy(folder, *arguments)`; Blender's stubs, which are long, are read once for all tests."""
    cache = tmp_path_factory.mktemp("mypy")

    def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """In a folder where the add-on is the package `shotlock`, whatever the clone is called."""
        options = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(cache)]
        command = [sys.executable, "-m", "mypy", *options, *arguments]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=dict(os.environ))

    return run


@pytest.fixture
def package(tmp_path: Path) -> Path:
    (tmp_path / "shotlock").symlink_to(ROOT, target_is_directory=True)
    return tmp_path


def test_types_agree(package: Path, mypy: Mypy) -> None:
    rooms = [argument for room in ROOMS for argument in ("-p", f"shotlock.{room}")]
    done = mypy(package, *rooms)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_wrong_type_is_found(tmp_path: Path, mypy: Mypy) -> None:
    wrong = "import bpy\nframe: str = bpy.context.scene.frame_current\nbpy.data.sceness\n"
    (tmp_path / "wrong.py").write_text(wrong)
    found = [line for line in mypy(tmp_path, "wrong.py").stdout.splitlines() if ": error: " in line]
    assert len(found) == 2 and "wrong.py:2" in found[0] and "wrong.py:3" in found[1]


def test_only_the_version_file_is_exempt() -> None:
    """Neither an error code nor a file but that one, in the settings or at the head of a module."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
    assert not {"disable_error_code", "exclude", "ignore_errors"} & settings.keys()
    exempt = [entry["module"] for entry in settings["overrides"] if entry.keys() != {"module", "follow_imports"}]
    assert exempt == ["shotlock.operators.compat"]
    unread = [name for entry in settings["overrides"] if "follow_imports" in entry for name in entry["module"]]
    assert not any(name.startswith(("shotlock", "bpy", "torch", "numpy")) for name in unread)
    heads = ("# mypy:", "# type: ignore\n")
    silent = [file.name for room in ROOMS for file in (ROOT / room).rglob("*.py")
              if any(head in file.read_text(encoding="utf-8") for head in heads)]
    assert silent == []
