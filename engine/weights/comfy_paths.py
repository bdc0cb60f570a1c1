"""Folders of models that ComfyUI's own list of further places names: `extra_model_paths.yaml`. Standard library only.

Of YAML no more than that file needs is read: sections, their keys, texts of one line and texts of several. Nothing is
run, nothing is written; what is anything else is passed over, and a place that is not there is left out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

MOST_BYTES = 2**20  # a list of folders is a page; a file that is larger is none
SECTION = re.compile(r"(['\"]?)([\w .-]+)\1\s*:\s*(#.*)?$")
ENTRY = re.compile(r"(\s+)(['\"]?)([\w.-]+)\2\s*:\s*(.*)$")
SEVERAL = re.compile(r"[|>][-+]?\d?\s*(#.*)?$")  # the text stands in the lines below that lie deeper
BASE = "base_path"

Section = dict[str, list[str]]


def folders(file: Path, kinds: Collection[str]) -> list[Path]:
    """The folders that are there for these kinds of files, in the order of the list."""
    try:
        if file.stat().st_size > MOST_BYTES:
            return []
        text = file.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return []
    found = [path for section in sections(text) for path in within(file.parent, section, kinds)]
    return [path for path in dict.fromkeys(found) if is_folder(path)]


def sections(text: str) -> Iterator[Section]:
    """Each section's keys with the lines of their texts."""
    here: Section | None = None
    key, depth = "", 0  # of the key whose text goes on in deeper lines
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        indent = len(line) - len(line.lstrip())
        if key and indent > depth and here is not None:
            here[key].append(plain(line))
            continue
        key = ""
        if not indent:
            if here is not None:
                yield here
            here = {} if SECTION.match(line) else None
        elif here is not None and (entry := ENTRY.match(line)):
            value = entry[4].strip()
            more = bool(SEVERAL.match(value))
            here[entry[3]] = [] if more or not plain(value) else [plain(value)]
            key, depth = (entry[3], indent) if more else ("", 0)
    if here is not None:
        yield here


def plain(value: str) -> str:
    """A text without its quotes and what is remarked behind it."""
    value = value.strip()
    if value[:1] in ("'", '"'):
        return value[1:].partition(value[0])[0]
    return re.split(r"\s+#", value)[0].strip() if not value.startswith("#") else ""


def within(home: Path, section: Section, kinds: Collection[str]) -> Iterator[Path]:
    """Folders are relative to the section's base, and that to the list's own folder, as ComfyUI has it."""
    base = home / expanded(next(iter(section.get(BASE, [])), ""))
    for kind, places in section.items():
        if kind in kinds:
            yield from (base / expanded(place) for place in places if place)


def expanded(place: str) -> str:
    return os.path.expandvars(os.path.expanduser(place))


def is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # no path at all
        return False
