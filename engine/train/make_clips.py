"""`python -m engine train clips FILE.blend … --out FOLDER`: an artist's own scenes, filmed along random paths by Cycles.

A clip is a job folder with its caption as prompt, and under `truth/` Cycles' picture of every frame: what training on
procedural scenes has, from Blender itself. Clip n of a file follows from the seed, n and the file alone; it appears
whole or not at all, and one that is there is not made again. Knows folders and Blender's process; no bpy, no torch.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import signal
import sys
import time
import uuid
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import job, protocol, windows
from ..prompt import captioner
from . import blender

MOVES = ("own", "truck", "dolly", "crane", "pan", "tilt", "orbit", "hand-held", "dolly zoom", "static")
FRAMES, SIZES = "1,5,9", "160x96,256x144,144x256,192x192"
STARTS = (b"BLENDER", b"\x1f\x8b", b"\x28\xb5\x2f\xfd")  # of a .blend: plain, gzip, zstd
GIVEN_UP = 2  # clips of a file that fail one after the other
ASSUMED_SAMPLES = 64  # of a scene that renders with its own, for the time that is left
PASSES_COST = 24  # in samples: what the passes of a frame cost
STOPPED = 130


class BadOrder(ValueError):
    """What was asked for cannot be done. One sentence: found, expected, what to do."""


@dataclass(frozen=True)
class Settings:
    """What decides what a clip shows; kept in it, so that another one is not taken for it."""

    seed: int
    frames: tuple[int, ...]  # one of them is drawn for a clip
    sizes: tuple[tuple[int, int], ...]  # width, height
    moves: tuple[str, ...]
    samples: int  # 0: the scene's own
    view: str  # view transform; "scene": the scene's own
    vary_light: bool
    denoise: bool  # where that Blender can
    trusted: bool  # the files' Python may run


@dataclass(frozen=True)
class Order:
    """One clip, decided as far as it can be without opening its file."""

    name: str
    file: Path
    digest: str
    number: int
    settings: Settings
    size: tuple[int, int]
    frames: int

    @property
    def seed(self) -> list[int]:
        return [self.settings.seed, self.number, zlib.crc32(self.file.stem.encode())]

    @property
    def cost(self) -> float:
        samples = (self.settings.samples or ASSUMED_SAMPLES) + PASSES_COST
        return self.frames * self.size[0] * self.size[1] * samples

    def as_json(self) -> dict[str, Any]:
        """What the finished clip keeps of it: not where the file lies."""
        s = self.settings
        return {"file": self.file.name, "digest": self.digest, "seed": self.seed, "size": list(self.size),
                "frames": self.frames, "moves": list(s.moves), "samples": s.samples, "view": s.view,
                "vary_light": s.vary_light, "denoise": s.denoise, "trusted": s.trusted}  # fmt: skip


# ---------------------------------------------------------------- what to make


def orders(files: Sequence[Path], count: int, settings: Settings) -> list[Order]:
    """`count` clips of each file; the first of every file before the second of any."""
    names, digests = file_names(files), [digest(file) for file in files]
    return [order(file, name, known, number, settings)
            for number in range(1, count + 1) for file, name, known in zip(files, names, digests, strict=True)]  # fmt: skip


def order(file: Path, name: str, known: str, number: int, settings: Settings) -> Order:
    rng = np.random.default_rng([settings.seed, number, zlib.crc32(file.stem.encode()), 1])
    size, frames = settings.sizes[rng.integers(len(settings.sizes))], settings.frames[rng.integers(len(settings.frames))]
    return Order(f"{name}-{number:04d}", file, known, number, settings, size, frames)


def file_names(files: Sequence[Path]) -> list[str]:
    """A name for the clips of each file: its own, with its folder's before it where two are alike."""
    often = Counter(file.stem for file in files)
    names = [file.stem if often[file.stem] == 1 else f"{file.parent.name}-{file.stem}" for file in files]
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        raise BadOrder(f"two files are called {twice[0]}.blend in folders of one name: rename one of them")
    return [name.lstrip(".").replace(" ", "_") for name in names]


def digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def is_finished(out: Path, wanted: Order) -> bool:
    """Whether that very clip is there; another one under its name is refused."""
    folder = out / wanted.name
    if not folder.exists():
        return False
    made = job.read(folder).extra.get("clip", {}).get("order") if (folder / "job.json").is_file() else None
    if made != wanted.as_json():
        raise BadOrder(f"{folder} holds a clip that was made otherwise: give another --out, or delete it")
    return True


# ---------------------------------------------------------------- making one


def make(wanted: Order, out: Path, program: Path, threads: int, hear: Callable[[dict[str, Any]], None]) -> Path:
    """The clip's folder, with its name only when it is whole. Raises BlenderFailed.

    Where the clip is there already its pictures are kept, and its passes filmed again.
    """
    part, whole = out / f".{wanted.name}.part", out / wanted.name
    shutil.rmtree(part, ignore_errors=True)
    try:
        request = {**wanted.as_json(), "file": str(wanted.file), "threads": threads, "addons": []}
        if whole.exists():
            shutil.copytree(whole / "truth", part / "truth")
            shutil.copy(whole / "camera.npz", part)
            request["again"] = {k: v for k, v in job.read(whole).extra["clip"].items() if k != "order"}
        job.write_json(part / "state" / "clip.json", request)
        line = blender.command(program, blender.SCRIPT, ["clip_maker", str(part)], wanted.file, wanted.settings.trusted)
        blender.run(program, line, hear)
        describe(part, wanted)
        shutil.rmtree(part / "state")
        shutil.rmtree(whole, ignore_errors=True)
        return part.rename(whole)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def describe(folder: Path, wanted: Order) -> None:
    """job.json, from what the background Blender found; its caption is the prompt."""
    told = job.load_json(folder / "state" / "captured.json")
    camera = job.load_npz(folder, "camera.npz", {"c2w": ("<f8", 3)}, job.MOST_FRAMES * 16)["c2w"]
    words = captioner.caption(told["scene"], told["clip"]["move"], camera, shares(folder, told["objects"]))
    job.write(job.Job(
        folder=folder, id=uuid.uuid4().hex, prompt=words,
        size=wanted.size, crop=(0, 0, *wanted.size), fps=tuple(told["fps"]), cuts=tuple(told["cuts"]),
        passes=job.written_passes(folder), objects=tuple(told["objects"]), scene=told["scene"],
        created={"blender": told["blender"], "shotlock": protocol.SHOTLOCK},
        extra={"clip": {"order": wanted.as_json(), **told["clip"]}},
    ))  # fmt: skip


def shares(folder: Path, objects: Sequence[dict[str, Any]]) -> dict[str, float]:
    """How much of the pictures each object is."""
    index = np.load(folder / "passes" / "index.npy", mmap_mode="r", allow_pickle=False)
    numbers, counts = np.unique(index, return_counts=True)
    share = dict(zip(numbers.tolist(), (counts / index.size).tolist(), strict=True))
    return {thing["name"]: share.get(thing["index"], 0.0) for thing in objects}


# ---------------------------------------------------------------- all of them


@dataclass
class Meter:
    """Progress and time left on stderr: one line that changes for people, a line a clip for files."""

    clips: int
    cost: float
    number: int = 0
    done: float = 0.0
    began: float = 0.0
    name: str = ""

    def start(self, number: int, wanted: Order) -> None:
        self.began = self.began or time.monotonic()
        self.number, self.name = number, wanted.name

    def hear(self, message: dict[str, Any]) -> None:
        known = {"truth": "picture", "frame": "passes"}
        news = next((f"{word} {message[key]}" for key, word in known.items() if key in message), "")
        if news and sys.stderr.isatty():
            width = shutil.get_terminal_size().columns - 1
            text = f"{self.number}/{self.clips} {self.name}: {news}{self.left()}"
            sys.stderr.write(f"\r{text:<{width}.{width}}")
            sys.stderr.flush()

    def end(self, wanted: Order, words: str) -> None:
        self.done += wanted.cost
        before = "\r" if sys.stderr.isatty() else ""
        sys.stderr.write(f"{before}{self.number}/{self.clips} {words}{self.left()}\n")
        sys.stderr.flush()

    def left(self) -> str:
        if not self.done:
            return ""
        seconds = (time.monotonic() - self.began) / self.done * (self.cost - self.done)
        return f", {seconds / 60:.0f} min left"


def make_all(wanted: Sequence[Order], out: Path, program: Path, threads: int, again: bool = False) -> list[str]:
    """Makes what is missing, or the passes of all that is there; returns what failed, a sentence each.

    A file that fails twice in a row is left out.
    """
    todo = [one for one in wanted if is_finished(out, one) == again]
    meter, failed, in_a_row = Meter(len(todo), sum(one.cost for one in todo)), [], Counter[Path]()
    for number, one in enumerate(todo, 1):
        if in_a_row[one.file] >= GIVEN_UP:
            meter.done += one.cost
            continue
        meter.start(number, one)
        try:
            folder = make(one, out, program, threads, meter.hear)
            in_a_row[one.file] = 0
            meter.end(one, f"{one.name}: {job.read(folder).prompt}")
        except blender.BlenderFailed as failure:
            in_a_row[one.file] += 1
            failed.append(f"{one.name}: {failure}")
            meter.end(one, f"failed, {failed[-1]}")
    return failed


# ---------------------------------------------------------------- the command


def settings(a: argparse.Namespace) -> Settings:
    frames = tuple(int(number) for number in numbers(a.frames, "--frames"))
    for count in frames:
        if count < 1 or count % windows.STRIDE != 1:
            raise BadOrder(f"--frames holds {count}: a clip has 4n+1 frames, like 1, 5, 9 or 17")
    moves = MOVES if a.moves == "all" else tuple(move.strip() for move in a.moves.split(","))
    for move in moves:
        if move not in MOVES:
            raise BadOrder(f"--moves holds {move!r}: expected some of {', '.join(MOVES)}")
    if a.count < 1 or min(a.samples, a.seed, a.threads) < 0:
        raise BadOrder("--count is 1 or more, --samples, --seed and --threads are 0 or more")
    return Settings(a.seed, frames, tuple(sizes(a.size)), moves, a.samples, a.view, not a.same_light, not a.no_denoise, a.trust)


def numbers(text: str, option: str) -> list[str]:
    found = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() for part in found):
        raise BadOrder(f"{option} is {text!r}: expected whole numbers with commas between")
    return found


def sizes(text: str) -> Iterator[tuple[int, int]]:
    for part in text.split(","):
        width, _, height = part.strip().partition("x")
        sides = (int(width), int(height)) if width.isdigit() and height.isdigit() else (0, 0)
        if any(side < 2 * job.PATCH or side % job.PATCH or side > job.LARGEST_SIDE for side in sides):
            raise BadOrder(f"--size holds {part.strip()!r}: expected WIDTHxHEIGHT in multiples of {job.PATCH}, like 256x144")
        yield sides


def blends(paths: Sequence[Path]) -> list[Path]:
    """The files, each a .blend by its first bytes."""
    for path in paths:
        if not path.is_file():
            raise BadOrder(f"there is no file {path}: give .blend files")
        with path.open("rb") as stream:
            if not stream.read(7).startswith(STARTS):
                raise BadOrder(f"{path} is no .blend: give files that Blender has saved")
    return [path.resolve() for path in dict.fromkeys(paths)]


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m engine train clips", description="Film .blend files into training clips with Cycles")
    p.add_argument("files", type=Path, nargs="+", metavar="FILE.blend")
    p.add_argument("--out", type=Path, required=True, help="the clips' folder; what is finished there is not made again")
    p.add_argument("--count", type=int, default=8, help="clips of each file")
    p.add_argument("--frames", default=FRAMES, help=f"lengths to draw from, 4n+1 each (default {FRAMES})")
    p.add_argument("--size", default=SIZES, help=f"sizes to draw from (default {SIZES})")
    p.add_argument("--samples", type=int, default=0, help="of Cycles; 0, the default, is what each scene has set")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--moves", default="all", help=f"some of {', '.join(MOVES)}")
    p.add_argument("--view", default="Standard", help="view transform of the pictures; 'scene' is each scene's own")
    p.add_argument("--same-light", action="store_true", help="keep suns, lamps and sky as they are")
    p.add_argument("--no-denoise", action="store_true")
    p.add_argument("--passes-again", action="store_true", help="film the passes of the finished clips anew, and keep their pictures")
    p.add_argument("--trust", action="store_true", help="let the files' own Python run")
    p.add_argument("--blender", help="the program, or the Python of a bpy wheel")
    p.add_argument("--threads", type=int, default=0, help="of Cycles; 0 is all")
    return p


def main(argv: list[str]) -> int:
    a = parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a clip that is being made leaves nothing behind
    try:
        program, wanted = blender.find(a.blender), orders(blends(a.files), a.count, settings(a))
        a.out.mkdir(parents=True, exist_ok=True)
        with job.hold(a.out):
            failed = make_all(wanted, a.out, program, a.threads, a.passes_again)
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; the same command goes on\n")
        return STOPPED
    except (BadOrder, blender.NoBlender, job.BadJob, OSError) as refusal:
        sys.stderr.write(f"{refusal}\n")
        return 2
    there = sum((a.out / one.name).is_dir() for one in wanted)
    print(f"{there} of {len(wanted)} clips are in {a.out}" + "".join(f"\nmissing: {line}" for line in failed))
    return 1 if failed else 0
