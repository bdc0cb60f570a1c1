"""Where things lie on this disk: the shots beside the .blend, the next take's number. No bpy: paths and names only, so
that it can be read and tested anywhere. It does not know what a take holds."""

import hashlib
import os
import re
import time
import unicodedata
from pathlib import Path

from ..engine.registry import data_folder

MOST_TAKES = 10_000
LONGEST = 80
"""Bytes of a shot's folder name: Blender allows 255, Windows allows 260 for a whole path."""

FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
SESSION = f"{time.strftime('%Y-%m-%d_%H%M%S')}_{os.getpid()}"
SESSIONS = re.compile(r"(\d{4}-\d\d-\d\d)_(\d\d)(\d\d)\d\d_\d+")


def unsaved_folder() -> Path:
    """Home of the takes of files that were never saved."""
    return data_folder() / "unsaved"


def shots_folder(blend: str, chosen: str = "") -> Path:
    """Where this file's shots lie: beside it, in the folder the artist chose, or with the unsaved ones."""
    stem = folder_name(Path(blend).stem) if blend else SESSION
    if chosen:
        return Path(chosen) / stem
    return Path(blend).parent / "shots" if blend else unsaved_folder() / stem / "shots"


def shots_folders(blend: str, chosen: str = "") -> list[Path]:
    """Wherever this file's shots may lie, the folder for new ones first. A file that was never saved is known by
    nothing but the Blender that made it: after a crash, what earlier ones left may be its own, the newest first."""
    own = shots_folder(blend, chosen)
    if blend:
        return [own]
    return [own, *(place if chosen else place / "shots" for place in _sessions(Path(chosen or unsaved_folder())))]


def _sessions(home: Path) -> list[Path]:
    """Folders of earlier Blenders, the newest first."""
    try:
        names = [entry.name for entry in home.iterdir()]
    except OSError:
        return []
    return [home / name for name in sorted(names, reverse=True) if SESSIONS.fullmatch(name) and name != SESSION]


def when_unsaved(take: Path) -> str:
    """When the Blender started whose never-saved file that take is of, "2026-11-25 09:41"; empty for any other take."""
    parts = [found for part in take.parts if (found := SESSIONS.fullmatch(part)) and part != SESSION]
    return "{} {}:{}".format(*parts[-1].groups()) if parts else ""


def folder_name(name: str) -> str:
    """A folder's name for any name an artist gives; a mark is added where something had to be left out."""
    plain = unicodedata.normalize("NFC", FORBIDDEN.sub("_", name)).strip()
    short = _cut(plain.lstrip("-.~ ").rstrip(". "), LONGEST)
    if RESERVED.fullmatch(short) or not short:
        short = f"shot_{short}".rstrip("_")
    whole = short == name
    return short if whole else f"{short}_{hashlib.sha1(name.encode('utf-8', 'surrogatepass')).hexdigest()[:6]}"


def _cut(text: str, most: int) -> str:
    return text.encode("utf-8", "ignore")[:most].decode("utf-8", "ignore").rstrip(". ")


def new_take(shots: Path, shot: str) -> Path:
    """An empty folder with the next free number. mkdir is the lock: two Blenders never get the same one."""
    home = shots / folder_name(shot)
    home.mkdir(parents=True, exist_ok=True)
    for number in range(last_take(home) + 1, MOST_TAKES):
        try:
            (home / f"take_{number:03d}").mkdir()
        except FileExistsError:
            continue
        return home / f"take_{number:03d}"
    raise OSError(f"{home} already holds {MOST_TAKES} takes: move some of them elsewhere")


def last_take(home: Path) -> int:
    return max((take_number(entry) for entry in home.iterdir()), default=0)


def take_number(folder: Path) -> int:
    """0 where the folder is not named like a take."""
    found = re.fullmatch(r"take_(\d{3,})", folder.name)
    return int(found.group(1)) if found else 0


def is_inside(path: Path, folder: Path) -> bool:
    return Path(os.path.abspath(path)).is_relative_to(os.path.abspath(folder))
