"""docs/cameras.md has all 36 cases, and every test that it names exists."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = (ROOT / "docs" / "cameras.md").read_text(encoding="utf-8")
FILES = {"P": "test_plan", "C": "test_cameras", "F": "test_facts", "K": "test_capture", "S": "test_capture_scene",
         "E": "test_capture_session", "T": "test_takes"}


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


@functools.cache
def functions() -> dict[tuple[str, str], str]:
    """(file, name) of every test → its docstring."""
    found = {}
    for file in FILES.values():
        tree = ast.parse((ROOT / "tests" / "blender" / f"{file}.py").read_text(encoding="utf-8"))
        tests = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
        found |= {(file, node.name): ast.get_docstring(node) or "" for node in tests}
    return found


def rows_of(docstring: str) -> set[int]:
    """The numbers in `Row 3: …` and `Rows 10, 11: …`."""
    told = re.match(r"Rows? (\d+(?:, \d+)*)", docstring)
    return set(map(int, told.group(1).split(", "))) if told else set()


def test_all_cases_are_there() -> None:
    assert sorted(rows()) == list(range(1, 37))


def test_every_test_that_is_named_exists() -> None:
    known = functions()
    missing = [(number, file, name) for number, tests in rows().items() for file, name in named(tests)
               if not any(other.startswith(name) for place, other in known if place == file)]
    assert missing == []


def test_every_test_that_is_named_names_the_row() -> None:
    silent = [(number, file, name) for number, tests in rows().items() for file, start in named(tests)
              for (place, name), told in functions().items()
              if place == file and name.startswith(start) and number not in rows_of(told)]
    assert silent == []


def test_every_case_names_a_test() -> None:
    """And so does every file that is named for it."""
    parts = [(number, part) for number, tests in rows().items() for part in tests.split("; ")]
    assert [(number, part) for number, part in parts if not named(part)] == []
