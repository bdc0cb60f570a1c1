"""Ruff has nothing to say, nothing in the repository is too heavy to clone. Types stand in test_types.py."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAVIEST = 15_000_000  # bytes; larger weights are split


def tracked() -> list[Path]:
    git = shutil.which("git")
    assert git, "found no git; expected one, this is a test of a clone"
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_ruff_has_nothing_to_say() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=concise", "."],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_file_is_over_fifteen_megabytes() -> None:
    files = tracked()
    assert files
    heavy = {str(path.relative_to(ROOT)): path.stat().st_size for path in files if path.stat().st_size > HEAVIEST}
    assert heavy == {}
