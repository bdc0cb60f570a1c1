"""docs/cameras.md has all 36 cases, and every test that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = (ROOT / "docs" / "cameras.md").read_text(encoding="utf-8")
FILES = {"P": "test_plan", "C": "test_cameras", "F": "test_facts", "K": "test_capture", "S": "test_capture_scene",
         "T": "test_takes"}


def rows() -> dict[int, str]:
    """Number → the last column of the row."""
    found = re.findall(r"^\| (\d+) \|.*\| ([^|]+) \|$", TABLE, re.MULTILINE)
    return {int(number): tests for number, tests in found}


def named(tests: str) -> list[tuple[str, str]]:
    """(file, beginning of a test's name) of `C \\`test_one\\`, \\`test_two_…\\`; F \\`test_three\\``."""
    pairs = []
    for part in tests.split("; "):
        pairs += [(FILES[part[0]], name) for name in re.findall(r"`(test_\w+)", part)]
    return pairs


def test_all_cases_are_there() -> None:
    assert sorted(rows()) == list(range(1, 37))


def test_every_test_that_is_named_exists() -> None:
    sources = {file: (ROOT / "tests" / "blender" / f"{file}.py").read_text(encoding="utf-8") for file in FILES.values()}
    missing = [(number, file, name) for number, tests in rows().items() for file, name in named(tests)
               if f"\ndef {name}" not in sources[file]]
    assert missing == []


def test_every_case_names_a_test() -> None:
    assert [number for number, tests in rows().items() if not named(tests)] == []
