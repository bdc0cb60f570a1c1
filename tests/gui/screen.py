"""A full Blender and a virtual screen for it: starts both, takes pictures of the screen, moves its mouse and types.

Blender stands on this machine or in a folder with a whole Debian of its own (a chroot); which of the two is known here
and nowhere else. Nothing here knows Shotlock, bpy or what is on the pictures, but for colours that it is told to find.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT, BINARY = "SHOTLOCK_BLENDER_ROOT", "SHOTLOCK_BLENDER"
NEEDED = ("Xvfb", "xdotool")
WIDTH, HEIGHT = 1280, 800
PATIENCE = 30           # seconds; software OpenGL on a busy machine is slow
TOLERANCE = 6           # of 255: how far a drawn colour may be from the theme's


@dataclass(frozen=True)
class Place:
    """Where the full Blender stands."""

    root: Path          # what its processes see as /
    blender: str

    @property
    def prefix(self) -> list[str]:
        return [] if self.root == Path("/") else ["chroot", str(self.root)]

    def inside(self, path: Path) -> str:
        """A path of this machine as Blender sees it."""
        return "/" + str(path.relative_to(self.root))

    def start(self, *arguments: str, **how) -> subprocess.Popen:
        return subprocess.Popen([*self.prefix, *arguments], **how)

    def run(self, *arguments: str, **how) -> subprocess.CompletedProcess:
        return subprocess.run([*self.prefix, *arguments], capture_output=True, text=True, check=False, **how)


def find_place() -> Place:
    """Raises LookupError, with a sentence, where there is no full Blender that can be shown."""
    if os.environ.get(ROOT):
        place = Place(Path(os.environ[ROOT]).resolve(), "/usr/bin/blender")
    elif os.environ.get(BINARY):
        place = Place(Path("/"), os.environ[BINARY])
    else:
        raise LookupError(f"no full Blender: name one with {BINARY}, or the chroot that holds one with {ROOT}")
    lacking = [tool for tool in (place.blender, *NEEDED) if not _has(place, tool)]
    if lacking:
        raise LookupError(f"the full Blender cannot be shown: {', '.join(lacking)} not found in {place.root}")
    return place


def _has(place: Place, tool: str) -> bool:
    if place.root == Path("/"):
        return shutil.which(tool) is not None
    return (place.root / "usr/bin" / tool.rpartition("/")[2]).exists()


class Screen:
    """A virtual screen; its picture is a file that the X server keeps up to date."""

    def __init__(self, place: Place, folder: Path) -> None:
        self.place, self.folder = place, folder
        reader, writer = os.pipe()
        self.server = place.start(
            "Xvfb", "-displayfd", str(writer), "-screen", "0", f"{WIDTH}x{HEIGHT}x24", "-fbdir", place.inside(folder),
            "-nolisten", "tcp", "+extension", "GLX", pass_fds=[writer], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(writer)
        with os.fdopen(reader) as stream:
            number = stream.readline().strip()
        assert number, f"Xvfb ended with code {self.server.wait()}; expected the number of a display"
        self.display = f":{number}"

    def close(self) -> None:
        self.server.terminate()
        self.server.wait(20)

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        return {**base, "DISPLAY": self.display, "LIBGL_ALWAYS_SOFTWARE": "1"}

    def picture(self) -> np.ndarray:
        """(H,W,3) uint8 RGB, as it stands now. The file is an xwd: a header of big-endian numbers, colours, pixels."""
        raw = (self.folder / "Xvfb_screen0").read_bytes()
        header = np.frombuffer(raw, ">u4", 25)
        start, width, height, line, colours = (int(header[i]) for i in (0, 4, 5, 12, 19))
        rows = np.frombuffer(raw, np.uint8, line * height, start + 12 * colours).reshape(height, line)
        return rows[:, : 4 * width].reshape(height, width, 4)[..., 2::-1].copy()

    def do(self, *words: object) -> None:
        done = self.place.run("xdotool", *map(str, words), env=self.environment(os.environ), timeout=60)
        assert done.returncode == 0, done.stderr

    def point(self, x: int, y: int) -> None:
        self.do("mousemove", "--sync", x, y)

    def click(self, x: int, y: int, mark: tuple[slice, slice]) -> None:
        """Clicks once Blender has noticed the mouse: it then draws what lies under it, `mark`, in another colour."""
        before = self.picture()[mark]
        self.point(x, y)
        end = time.monotonic() + PATIENCE
        while (self.picture()[mark] == before).all():
            assert time.monotonic() < end, f"nothing lights up under the mouse at {x}, {y} after {PATIENCE} s"
            time.sleep(0.1)
        self.do("click", 1)

    def type(self, text: str) -> None:
        self.do("type", "--delay", 60, text)

    def key(self, name: str) -> None:
        self.do("key", name)


def like(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """(H,W) bool: where the picture has that colour."""
    return (np.abs(picture.astype(int) - np.array(colour)) <= TOLERANCE).all(-1)


def bars(picture: np.ndarray, colour: tuple[int, int, int], share: float = 0.3) -> list[tuple[int, int]]:
    """Runs of rows of which at least that share has the colour: widgets as wide as their panel, from top to bottom."""
    rows = np.concatenate([[False], like(picture, colour).mean(1) >= share, [False]])
    edges = np.flatnonzero(rows[1:] != rows[:-1])
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
