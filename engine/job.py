"""The job folder: one request to the engine, and the take that comes of it. Standard library and numpy.

`docs/job-folder.md` is the specification. `read` validates a folder whole before anything runs; every writer here makes
its file appear whole or not at all. It does not know which model will run, nor what the frames look like.
"""

import contextlib
import errno
import hashlib
import io
import itertools
import json
import math
import mmap
import os
import re
import shutil
import stat
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.lib import format as npy

VERSION = 1
MODELS: Mapping[str, str] = {       # families of weights, in the panel's words; the first is what a job gets
    "lite": "The bundled model: works offline on a laptop's CPU",
}
LONGEST_PROMPT = 20_000              # characters
PATCH = 16                          # sizes are multiples of this in every model family
DEFAULT_WIDTH, DEFAULT_HEIGHT = 448, 252                    # pixels of the artist's frame at 16:9
DEFAULT_SIZE = (448, 256)                                   # the multiples of PATCH that hold it
DEFAULT_STEPS = 4
LARGEST_SIDE = 8192                 # pixels
FARTHEST_FRAME = 2**31 - 1          # of a scene, either way
MOST_FRAMES = 100_000
MOST_STEPS = 200
MOST_SEED = 2**31 - 1               # what Blender's whole numbers hold
MOST_GUIDANCE = 30.0
MOST_CONTROL = 1.0
LEAST_SHIFT, MOST_SHIFT = 0.01, 100.0
MOST_PICTURES = 1000                 # known frames, reference pictures
MOST_LORAS = 16
BLOCKS, BLOCK = 64, 4096            # of a large file that are hashed
MOST_STRENGTH = 4.0                 # of a LoRA, either way
LEAST_NOISE = 0.02                  # to begin with: below, nothing would be sampled
MOST_JSON = 64 * 2**20              # bytes of job.json: the facts of a very large scene stay far below
MOST_HEADER = 10_000                # bytes of an .npy header; a real one has 128
MOST_WORLD = 4096                   # pixels of a side of world.npy
MOST_SUN_CELLS = 64 * 2**20          # of all maps in suns.npz: 256 MB
MOST_MATRICES = 4 * 2**20           # objects x frames: 512 MB, what objects.npz may ask of memory
LOOKED_AT = 9                       # frames that stand for a shot: the first, the last and some between
RIGID = 1e-4                        # |R^T R - I|: float32 matrices pass, a scaled or sheared camera does not
REPLACED = "capture the shot again"


class BadJob(ValueError):
    """A job that can't run. The message is one sentence: what was found, what was expected, what to do."""


class Cancelled(Exception):
    """The artist asked to stop: not a failure."""


class DiskFull(OSError):
    """No space for the next file. Finished files are untouched; the job goes on once there is space."""

    def __str__(self) -> str:
        return str(self.strerror)


class Pass(NamedTuple):
    dtype: str
    channels: int                   # 1: the array is (F,H,W), without a channel axis


PASSES: Mapping[str, Pass] = {
    "depth": Pass("<f4", 1),        # planar distance, scene units, sky +inf
    "normal": Pass("<f2", 3),       # world space, unit; 0 on sky
    "base": Pass("|u1", 3),         # sRGB-encoded unlit base colour; 0 on sky
    "gloss": Pass("|u1", 1),        # share of mirror-like reflection or transmission
    "rough": Pass("|u1", 1),        # roughness of the surface, as its shader says; sky 255
    "ao": Pass("|u1", 1),           # share of the half-space over the surface that is free nearby; sky 255
    "open": Pass("|u1", 1),         # share of the half-space over the surface that is sky; sky 255
    "emission": Pass("<f2", 3),     # scene-linear radiance of the surface itself
    "index": Pass("<u2", 1),        # object index, 0 = none
    "motion": Pass("<f2", 2),       # pixels (u right, v down) to the next frame
    "glass": Pass("<f2", 4),        # normal and depth of clear glass through which the others look; 0: none
}
FACTS = ("camera.npz", "objects.npz", "suns.npz", "world.npy")  # what a folder holds beside job.json and the passes
REQUIRED_PASSES = ("depth",)        # the camera can't be followed without it; what else is needed is the model's to say
OUTPUTS = ("frames", "frames.part", "frames.before", "state", "report.json", "engine.lock")


@dataclass(frozen=True, kw_only=True)
class Job:
    """job.json, checked. `extra` holds keys that this version doesn't know: ignored, and written back."""

    folder: Path
    id: str
    version: int = VERSION
    model: str = next(iter(MODELS))
    prompt: str = ""
    negative_prompt: str = ""
    seed: int = 0
    steps: int | None = None                                # None, here and below: as the model's recipe says
    guidance: float | None = None
    shift: float | None = None                              # how long sampling stays with much noise
    control_strength: float = 1.0                           # how far the model is told what the scene knows
    control_start: float = 0.0                              # shares of the steps between which it is told
    control_end: float = 1.0
    denoise: float = 1.0                                    # below 1: from the base colours under so much noise
    dress: bool = True                                      # lite lays materials on objects that the scene calls bare
    known: tuple[Mapping[str, Any], ...] = ()               # {"frame": index, "picture": path}: accepted frames
    references: tuple[str, ...] = ()                        # paths of pictures of subjects
    loras: tuple[Mapping[str, Any], ...] = ()               # {"name": of the registry, "strength": 1.0}
    speed: Mapping[str, Any] = field(default_factory=dict)  # what may be given up for speed
    fps: tuple[int, int] = (24, 1)                          # a fraction: 24000/1001 is exact
    size: tuple[int, int] = DEFAULT_SIZE                    # width, height of passes and generated frames, pixels
    crop: tuple[int, int, int, int] = (0, 0, *DEFAULT_SIZE)  # x, y, width, height of what the artist asked for
    cuts: tuple[int, ...] = (0,)                            # indices of frames at which a camera starts
    last_frame: int | None = None                           # of the scene: where the range ends, if past its frames
    passes: Mapping[str, str] = field(default_factory=lambda: {"depth": "passes/depth.npy"})
    objects: tuple[Mapping[str, Any], ...] = ()             # {"index": 1, "name": "Cube"}
    scene: Mapping[str, Any] = field(default_factory=dict)
    created: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


NAMES = tuple(f.name for f in fields(Job) if f.name not in ("folder", "extra"))


# Reading: whole, before anything runs

def read(folder: Path | str) -> Job:
    """The job in `folder`, with every field, path, header and camera checked. Raises BadJob."""
    folder = Path(folder)
    _require(folder.is_dir(), f"there is no job folder at {_short(str(folder))}",
             "give the folder that holds job.json")
    job = parse(folder, load_json(inside(folder, "job.json")))
    _check_outputs(folder)
    arrays = camera(job)
    count = len(arrays["frames"])
    _require(all(cut < count for cut in job.cuts),
             f"job.json's cuts is {_show(job.cuts)}: expected indices below {count}, the camera's number of frames")
    _require(job.last_frame is None or job.last_frame >= arrays["frames"][-1],
             f"job.json's last_frame is {job.last_frame}: expected {arrays['frames'][-1]}, the camera's last, or later")
    for name in job.passes:
        if name in PASSES:
            check_pass(job, name, count)
    objects(job)
    suns(job)
    world(job)
    _check_pictures(job, count)
    return job


def _check_pictures(job: Job, count: int) -> None:
    late = next((entry["frame"] for entry in job.known if entry["frame"] >= count), None)
    _require(late is None, f"job.json's known names frame {late}: expected indices below {count}, the camera's number "
                           "of frames")
    for path in (*(entry["picture"] for entry in job.known), *job.references):
        inside(job.folder, path)


def parse(folder: Path, value: Any) -> Job:
    """The fields of job.json, checked one by one. Files are not looked at."""
    _require(isinstance(value, dict), f"job.json holds {_show(value)}: one JSON object is needed")
    version = value.get("version")
    _require(type(version) is not int or version <= VERSION,
             f"job.json is version {_show(version)} and this Shotlock reads version {VERSION}", "update Shotlock")
    _require(type(version) is int and version == VERSION,
             f"job.json's version is {_show(version)}: expected {VERSION}")
    for name in ("id", "size"):
        _require(name in value, f"job.json has no {name}: it is needed")
    value = {"crop": [0, 0, *value["size"]] if isinstance(value["size"], list) else None} | value
    for name, check in CHECKS.items():
        if name in value:
            expected = check(value[name], value)
            _require(expected is None, f"job.json's {name} is {_show(value[name])}: expected {expected}")
    known = {name: _frozen(value[name]) for name in NAMES if name in value}
    return Job(folder=folder, extra={k: v for k, v in value.items() if k not in NAMES}, **known)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


# One check per field: None when it is right, else what was expected

def _text(most: int) -> Callable[[Any, dict], str | None]:
    def check(value: Any, _: dict) -> str | None:
        good = isinstance(value, str) and len(value) <= most and "\0" not in value and _encodes(value)
        return None if good else f"text of at most {most} characters without NUL"
    return check


def _name(value: Any, _: dict) -> str | None:
    good = isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value)
    return None if good else "1 to 64 letters, digits, dots, dashes or underscores"


def _integer(least: int, most: int) -> Callable[[Any, dict], str | None]:
    def check(value: Any, _: dict) -> str | None:
        return None if _is_integer(value, least, most) else f"a whole number from {least} to {most}"
    return check


def _number(least: float, most: float) -> Callable[[Any, dict], str | None]:
    def check(value: Any, _: dict) -> str | None:
        good = type(value) in (int, float) and least <= value <= most
        return None if good else f"a number from {least:g} to {most:g}"
    return check


def _fps(value: Any, _: dict) -> str | None:
    return None if _are_integers(value, 2, 1, 10**7) else "two whole numbers above 0, [24000, 1001] for 23.976"


def _size(value: Any, _: dict) -> str | None:
    good = _are_integers(value, 2, PATCH, LARGEST_SIDE) and all(side % PATCH == 0 for side in value)
    return None if good else f"[width, height], multiples of {PATCH} from {PATCH} to {LARGEST_SIDE}"


def _crop(value: Any, job: dict) -> str | None:
    if _size(job.get("size"), job):
        return None                                         # the size is what is wrong, and is said
    width, height = job["size"]
    good = _are_integers(value, 4, 0, LARGEST_SIDE) and min(value[2:]) > 0
    good = good and value[0] + value[2] <= width and value[1] + value[3] <= height
    return None if good else f"[x, y, width, height] inside {width} x {height}"


def _cuts(value: Any, _: dict) -> str | None:
    good = isinstance(value, list | tuple) and value and all(_is_integer(v, 0, MOST_FRAMES) for v in value)
    good = good and value[0] == 0 and all(a < b for a, b in itertools.pairwise(value))
    return None if good else "rising frame indices that begin with 0"


def _passes(value: Any, _: dict) -> str | None:
    good = isinstance(value, dict) and all(isinstance(path, str) for path in value.values())
    if not good or any(name not in value for name in REQUIRED_PASSES):
        return f"names with paths, {', '.join(REQUIRED_PASSES)} among them"
    plain = all(is_plain(path) for path in value.values())
    return None if plain else "paths inside the job folder, like passes/depth.npy"


def _objects(value: Any, _: dict) -> str | None:
    good = isinstance(value, list | tuple) and len(value) <= 65535 and all(_is_object(entry) for entry in value)
    good = good and len({entry["index"] for entry in value}) == len(value)
    return None if good else 'a list of {"index": 1..65535, "name": text}, each index once'


def _table(value: Any, _: dict) -> str | None:
    return None if isinstance(value, dict) else "a JSON object"


def _control_end(value: Any, job: dict) -> str | None:
    start = job.get("control_start", 0.0)
    good = type(value) in (int, float) and value <= 1 and (type(start) not in (int, float) or value >= start)
    return None if good else "a number from control_start to 1"


def _flag(value: Any, _: dict) -> str | None:
    return None if isinstance(value, bool) else "true or false"


def _known(value: Any, _: dict) -> str | None:
    good = isinstance(value, list | tuple) and len(value) <= MOST_PICTURES and all(map(_is_known, value))
    good = good and len({entry["frame"] for entry in value}) == len(value)
    return None if good else 'a list of {"frame": index, "picture": path}, paths inside the folder, each frame once'


def _is_known(entry: Any) -> bool:
    good = isinstance(entry, dict) and _is_integer(entry.get("frame"), 0, MOST_FRAMES)
    return good and isinstance(entry.get("picture"), str) and is_plain(entry["picture"])


def _references(value: Any, _: dict) -> str | None:
    good = isinstance(value, list | tuple) and len(value) <= MOST_PICTURES
    good = good and all(isinstance(path, str) and is_plain(path) for path in value)
    return None if good else "a list of paths inside the job folder, like pictures/reference.png"


def _loras(value: Any, _: dict) -> str | None:
    good = isinstance(value, list | tuple) and len(value) <= MOST_LORAS and all(map(_is_lora, value))
    return None if good else f'a list of at most {MOST_LORAS} {{"name": of the registry, "strength": number}}'


def _is_lora(entry: Any) -> bool:
    good = isinstance(entry, dict) and isinstance(entry.get("name"), str) and _name(entry["name"], {}) is None
    return good and _number(-MOST_STRENGTH, MOST_STRENGTH)(entry.get("strength", 1.0), {}) is None


SPEEDS: Mapping[str, type] = {"compile": bool, "guidance_until": float, "cache": float, "products": str, "decode": str}


def _speed(value: Any, _: dict) -> str | None:
    if not isinstance(value, dict):
        return "a JSON object"
    for name, kind in SPEEDS.items():
        found = value.get(name)
        if found is None or type(found) is kind or (kind is float and type(found) is int):
            continue
        return f"{name} in it to be {'true or false' if kind is bool else 'a number' if kind is float else 'text'}"
    return None


CHECKS: Mapping[str, Callable[[Any, dict], str | None]] = {
    "id": _name, "model": _name, "prompt": _text(LONGEST_PROMPT), "negative_prompt": _text(LONGEST_PROMPT),
    "seed": _integer(0, MOST_SEED), "steps": _integer(1, MOST_STEPS), "guidance": _number(0, MOST_GUIDANCE),
    "shift": _number(LEAST_SHIFT, MOST_SHIFT), "control_strength": _number(0, MOST_CONTROL),
    "control_start": _number(0, 1), "control_end": _control_end, "denoise": _number(LEAST_NOISE, 1),
    "dress": _flag, "known": _known, "references": _references, "loras": _loras, "speed": _speed, "fps": _fps,
    "size": _size, "crop": _crop, "cuts": _cuts,
    "last_frame": _integer(-FARTHEST_FRAME, FARTHEST_FRAME),
    "passes": _passes, "objects": _objects, "scene": _table, "created": _table,
}


def _is_integer(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most     # type(), because True is an int


def _are_integers(value: Any, count: int, least: int, most: int) -> bool:
    return isinstance(value, list | tuple) and len(value) == count and all(_is_integer(v, least, most) for v in value)


def _is_object(entry: Any) -> bool:
    return isinstance(entry, dict) and _is_integer(entry.get("index"), 1, 65535) and isinstance(entry.get("name"), str)


def _encodes(text: str) -> bool:
    try:
        text.encode()                                       # JSON can spell half a surrogate pair; files can't
    except UnicodeEncodeError:
        return False
    return True


# Paths: nothing in a job folder may point out of it

def is_plain(path: str) -> bool:
    """Whether `path` is relative, portable, and names something below its folder."""
    plain = bool(path) and len(path) < 1024 and _encodes(path)
    plain = plain and not any(mark in path for mark in ("\0", "\\", ":", "\n")) and not path.startswith(("/", "~"))
    return plain and not any(part in ("", ".", "..") for part in path.split("/"))


def inside(folder: Path, name: str) -> Path:
    """The regular file `name` of the folder, links followed and still inside."""
    path = folder / name
    _require(path.exists(), f"{name} is missing in {_short(str(folder))}")
    _require(path.resolve().is_relative_to(folder.resolve()),
             f"{name} leads out of the job folder: expected a file inside it", "copy it in")
    _require(stat.S_ISREG(path.stat().st_mode), f"{name} is not a regular file")
    return path


def _check_outputs(folder: Path) -> None:
    for name in OUTPUTS:
        path = folder / name
        _require(not path.is_symlink(), f"{name} is a link: results are written inside the job folder", "remove it")
        is_file = name in ("report.json", "engine.lock")
        _require(not path.exists() or path.is_file() == is_file,
                 f"{name} is in the way: expected a {'file' if is_file else 'folder'} or nothing", "remove it")


# Files

def load_json(path: Path) -> Any:
    """A JSON file of bounded size; NaN and infinities, which JSON doesn't have, are refused."""
    size = path.stat().st_size
    _require(size <= MOST_JSON, f"{path.name} has {size} bytes: at most {MOST_JSON} are read")
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:           # ValueError: broken JSON, broken UTF-8, NaN
        raise BadJob(f"{path.name} is not JSON ({_short(str(error))}): expected a whole file; {REPLACED}") from error


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    value = float(text)                                     # 1e999 is JSON, and infinite
    if not math.isfinite(value):
        raise ValueError(f"{_short(text)} is too large for a number")
    return value


def camera(job: Job) -> dict[str, np.ndarray]:
    """`c2w` (F,4,4) float64, `K` (F,3,3) float64, `frames` (F,) int64; finite, rigid, with a focal length."""
    members = {"c2w": ("<f8", 3), "K": ("<f8", 3), "frames": ("<i8", 1)}
    arrays = load_npz(job.folder, "camera.npz", members, MOST_FRAMES * 16)
    c2w, K, frames = arrays["c2w"], arrays["K"], arrays["frames"]
    count = len(frames)
    _require(0 < count <= MOST_FRAMES, f"camera.npz has {count} frames: 1 to {MOST_FRAMES} are possible")
    for name, shape in (("c2w", (count, 4, 4)), ("K", (count, 3, 3))):
        _require(arrays[name].shape == shape,
                 f"camera.npz's {name} has the shape {arrays[name].shape}: expected {shape} for {count} frames")
        _at_every_frame(np.isfinite(arrays[name]).all((1, 2)), f"{name} is not finite", "a finite camera")
    _at_every_frame(_rigid(c2w), "c2w is not a rotation and a place", "a camera without scale, shear or mirroring")
    _at_every_frame(_pinhole(K), "K is not a pinhole camera", "[[fx, 0, cx], [0, fy, cy], [0, 0, 1]] in pixels")
    _require((np.diff(frames) > 0).all(), "camera.npz's frames do not rise: expected scene frames in order")
    return arrays


def _at_every_frame(good: np.ndarray, found: str, expected: str) -> None:
    if not good.all():
        frame = int(np.argmin(good)) + 1
        raise BadJob(f"camera.npz's {found} at frame {frame} of {len(good)}: expected {expected}; {REPLACED}")


def _rigid(c2w: np.ndarray) -> np.ndarray:
    R = c2w[:, :3, :3]
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.abs(np.swapaxes(R, 1, 2) @ R - np.eye(3)).max((1, 2))
        upright = np.linalg.det(R) > 0
    return (error < RIGID) & upright & (np.abs(c2w[:, 3] - [0, 0, 0, 1]).max(1) < RIGID)


def _pinhole(K: np.ndarray) -> np.ndarray:
    focal = (K[:, 0, 0] > 1e-3) & (K[:, 1, 1] > 1e-3) & (K[:, 0, 0] < 1e7) & (K[:, 1, 1] < 1e7)
    zeros = np.abs(K[:, [0, 1, 2, 2], [1, 0, 0, 1]]).max(1) < 1e-6
    return focal & zeros & (np.abs(K[:, 2, 2] - 1) < 1e-6) & (np.abs(K[:, :2, 2]).max(1) < 1e7)


def settled(job: Job, steps: int, guidance: float, shift: float | None = None) -> Job:
    """The same job, what it leaves open as a model's recipe says."""
    own = {"steps": steps, "guidance": guidance, "shift": shift}
    left_open: dict[str, Any] = {name: value for name, value in own.items() if getattr(job, name) is None}
    return replace(job, **left_open)


def asks(job: Job) -> list[str]:
    """What a job wants beside a prompt and its control's strength, by name: not every model can be told it."""
    found = {
        "known frames": bool(job.known), "reference pictures": bool(job.references), "LoRAs": bool(job.loras),
        "a control that starts late or ends early": (job.control_start, job.control_end) != (0, 1),
        "a start from the base colours": job.denoise < 1, "a shift": job.shift is not None,
    }
    return [name for name, asked in found.items() if asked]


def frame_count(job: Job) -> int:
    return len(camera(job)["frames"])


def objects(job: Job) -> dict[str, np.ndarray]:
    """`index` (N,) int32 and `matrix` (N,F,4,4) float64, object to world; N is 0 when nothing was written."""
    if not (job.folder / "objects.npz").exists():
        return {"index": np.zeros(0, np.int32), "matrix": np.zeros((0, frame_count(job), 4, 4))}
    arrays = load_npz(job.folder, "objects.npz", {"index": ("<i4", 1), "matrix": ("<f8", 4)}, MOST_MATRICES * 16)
    expected = (len(arrays["index"]), frame_count(job), 4, 4)
    _require(arrays["matrix"].shape == expected,
             f"objects.npz's matrix has the shape {arrays['matrix'].shape}: expected {expected}")
    _require(np.isfinite(arrays["matrix"]).all(), "objects.npz's matrix is not finite: expected finite numbers")
    return arrays


def suns(job: Job) -> dict[str, np.ndarray] | None:
    """What suns see of the shot, rendered by Blender, where the folder has it: `axes` (N,3,3), `origin` (N,3), `half`
    (N,), `height` (N,S,S) float32 and `absent` (M,) int32; docs/job-folder.md says what they are. None: it has not."""
    if not (job.folder / "suns.npz").exists():
        return None
    members = {"axes": ("<f8", 3), "origin": ("<f8", 2), "half": ("<f8", 1), "height": ("<f4", 3), "absent": ("<i4", 1)}
    arrays = load_npz(job.folder, "suns.npz", members, MOST_SUN_CELLS)
    count, side = len(arrays["half"]), arrays["height"].shape[-1]
    for name, shape in {"axes": (count, 3, 3), "origin": (count, 3), "height": (count, side, side)}.items():
        _require(arrays[name].shape == shape, f"suns.npz's {name} has the shape {arrays[name].shape}: expected {shape}")
        finite = np.isfinite(arrays[name]).all() if name != "height" else not np.isnan(arrays[name]).any()
        _require(finite, f"suns.npz's {name} is not finite: expected finite numbers")
    _require((arrays["half"] > 0).all() and np.isfinite(arrays["half"]).all(),
             f"suns.npz's half is {_show(arrays['half'].tolist())}: expected sizes above 0")
    return arrays


def world(job: Job) -> np.ndarray | None:
    """The scene's surroundings (H,W,3) float16, scene-linear, where the folder has them; engine/suns.py says how they
    lie."""
    if not (job.folder / "world.npy").exists():
        return None
    path = inside(job.folder, "world.npy")
    with path.open("rb") as stream:
        shape, order, dtype = read_header(stream, "world.npy")
    good = len(shape) == 3 and shape[2] == 3 and min(shape[:2]) >= 2 and max(shape[:2]) <= MOST_WORLD and not order
    _require(good and dtype == np.dtype("<f2"), f"world.npy holds {dtype} {shape}: expected float16 (H,W,3)")
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise BadJob(f"world.npy can't be read ({_short(str(error))}): expected a whole file; {REPLACED}") from error
    _require(np.isfinite(array).all() and (array >= 0).all(), "world.npy is not finite: expected light, 0 or more")
    return array


def check_pass(job: Job, name: str, count: int) -> Path:
    """The pass's file, its header read and compared; the values are not read."""
    kind, file = PASSES[name], job.passes[name]
    path = inside(job.folder, file)
    with path.open("rb") as stream:
        shape, order, dtype = read_header(stream, file)
        start = stream.tell()
    width, height = job.size
    expected = (count, height, width) + ((kind.channels,) if kind.channels > 1 else ())
    _require(dtype == np.dtype(kind.dtype), f"{file} holds {dtype}: {name} is {np.dtype(kind.dtype)}")
    _require(shape == expected and not order, f"{file} has the shape {shape}: expected {expected} in C order")
    need = start + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    found = path.stat().st_size
    _require(found == need, f"{file} has {found} bytes: expected {need}, so it was cut short or added to")
    return path


class Pages(np.memmap):
    """A pass on the disk. Whenever a frame is asked for, the pages of those before are given back: else all that was
    read of a long shot would in the end count as this process's memory. What still looks at them reads them again."""

    def __getitem__(self, at: Any) -> Any:
        mapped = getattr(self, "_mmap", None)               # None in what was computed from a pass
        if mapped is not None and isinstance(at, int | np.integer) and hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
            mapped.madvise(mmap.MADV_DONTNEED)
        return super().__getitem__(at)


def written_passes(folder: Path) -> dict[str, str]:
    """`passes` of job.json: those that lie in the folder."""
    return {name: f"passes/{name}.npy" for name in PASSES if (folder / "passes" / f"{name}.npy").is_file()}


def passes(job: Job) -> dict[str, np.memmap]:
    """Every known pass, memory-mapped and read-only: a long shot never sits in memory whole. Some frames of the depth
    are looked at; of the other passes no value can do harm."""
    count = frame_count(job)
    known = [name for name in job.passes if name in PASSES]
    mapped = {name: np.load(check_pass(job, name, count), mmap_mode="r", allow_pickle=False) for name in known}
    found = {name: array.view(Pages) for name, array in mapped.items()}
    for frame in spread(count):
        _check_depth(job.passes["depth"], found["depth"][frame], frame, count)
    return found


def spread(count: int) -> list[int]:
    """Indices of at most LOOKED_AT of so many frames, evenly: the first and the last are among them."""
    return sorted({round(i * (count - 1) / (LOOKED_AT - 1)) for i in range(LOOKED_AT)})


def _check_depth(file: str, depth: np.ndarray, frame: int, count: int) -> None:
    wrong = ~(depth > 0)                                    # NaN is not above anything
    if wrong.any():
        raise BadJob(f"{file} holds {depth[wrong][0]:g} at frame {frame + 1} of {count}: expected distances above 0, "
                     f"or +inf where there is sky; {REPLACED}")


def read_header(stream: BinaryIO, name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran order and type of an .npy; nothing is unpickled and a long header isn't read."""
    try:
        major, _ = npy.read_magic(stream)
        reader = {1: npy.read_array_header_1_0, 2: npy.read_array_header_2_0}[major]
        shape, order, dtype = reader(stream, max_header_size=MOST_HEADER)  # type: ignore[call-arg]
    except (ValueError, KeyError, EOFError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError) as error:
        raise BadJob(f"{name} is not a numpy array ({_short(str(error))}): expected an .npy; {REPLACED}") from error
    _require(not dtype.hasobject, f"{name} holds Python objects: expected numbers")
    _require(all(0 <= side < 2**40 for side in shape), f"{name} has the shape {shape}: expected sizes above 0")
    return shape, order, dtype


def load_npz(folder: Path, name: str, members: Mapping[str, tuple[str, int]], most: int) -> dict[str, np.ndarray]:
    """Named arrays of an .npz, each of at most `most` values: headers first, so that a zip bomb isn't unpacked."""
    path = inside(folder, name)
    try:
        with zipfile.ZipFile(path) as archive:
            return {key: _load_member(archive, f"{name}'s {key}", key, *kind, most) for key, kind in members.items()}
    except KeyError as error:
        raise BadJob(f"{name} lacks an array: expected {', '.join(members)}; {REPLACED}") from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise BadJob(f"{name} can't be read ({_short(str(error))}): expected an .npz; {REPLACED}") from error


def _load_member(archive: zipfile.ZipFile, what: str, key: str, dtype: str, axes: int, most: int) -> np.ndarray:
    with archive.open(f"{key}.npy") as stream:
        shape, order, found = read_header(stream, what)     # type: ignore[arg-type]
        _require(found == np.dtype(dtype), f"{what} holds {found}: expected {np.dtype(dtype)}")
        _require(len(shape) == axes and not order, f"{what} has the shape {shape}: expected {axes} axes, C order")
        count = int(np.prod(shape, dtype=np.float64))
        _require(count <= most, f"{what} has the shape {shape}: at most {most} values are read")
        data = stream.read(count * found.itemsize + 1)
    need = count * found.itemsize
    _require(len(data) == need, f"{what} has {len(data)} bytes: expected {need}")
    return np.frombuffer(data, found).reshape(shape)


# Writing: whole or not at all

def write(job: Job) -> Path:
    """job.json of a job whose fields are checked; `write_camera` and `new_array` write the rest."""
    value = {name: _plain(getattr(job, name)) for name in NAMES if getattr(job, name) is not None} | dict(job.extra)
    parse(job.folder, value)
    job.folder.mkdir(parents=True, exist_ok=True)
    return write_json(job.folder / "job.json", value)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value


def write_camera(folder: Path, c2w: np.ndarray, K: np.ndarray, frames: np.ndarray) -> Path:
    arrays = {"c2w": np.asarray(c2w, "<f8"), "K": np.asarray(K, "<f8"), "frames": np.asarray(frames, "<i8")}
    return write_npz(folder / "camera.npz", **arrays)


def write_objects(folder: Path, index: np.ndarray, matrix: np.ndarray) -> Path:
    return write_npz(folder / "objects.npz", index=np.asarray(index, "<i4"), matrix=np.asarray(matrix, "<f8"))


def write_suns(folder: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    kinds = {"axes": "<f8", "origin": "<f8", "half": "<f8", "height": "<f4", "absent": "<i4"}
    return write_npz(folder / "suns.npz", **{name: np.asarray(arrays[name], kind) for name, kind in kinds.items()})


def write_json(path: Path, value: Any) -> Path:
    return write_bytes(path, (json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode())


def write_npz(path: Path, **arrays: np.ndarray) -> Path:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # or it might be allow_pickle
    return write_bytes(path, buffer.getvalue())


def write_array(path: Path, array: np.ndarray) -> Path:
    """An .npy that is already in memory; `new_array` is for those that are not."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return write_bytes(path, buffer.getbuffer())


def write_bytes(path: Path, data: bytes | memoryview) -> Path:
    with whole(path, len(data)) as part, part.open("wb") as stream:
        stream.write(data)
    return path


@contextlib.contextmanager
def new_array(path: Path, dtype: Any, shape: tuple[int, ...]) -> Iterator[np.memmap]:
    """An .npy to fill frame by frame; it takes its name when the block ends well, and is gone when it doesn't."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free              # a memory map on a full disk kills the process
    if free < size:
        raise disk_full(path, size)
    with whole(path, size) as part:
        array = npy.open_memmap(part, "w+", np.dtype(dtype), shape)
        _reserve(part)
        yield array
        array.flush()


def _reserve(part: Path) -> None:
    """Its space becomes its own now, where the system can do that, and no other array's or program's."""
    if not hasattr(os, "posix_fallocate"):
        return
    with part.open("rb+") as stream:
        try:
            os.posix_fallocate(stream.fileno(), 0, part.stat().st_size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise


@contextlib.contextmanager
def whole(path: Path, size: int = 0) -> Iterator[Path]:
    """A name beside `path` to write to; flushed to the disk and renamed to `path` at the end, removed on any error."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        _flush(part)
        os.replace(part, path)
        _flush_folder(path.parent)                          # the name reaches the disk after the bytes it names
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise disk_full(path, size) from error
        raise


def disk_full(path: Path, size: int) -> DiskFull:
    free = shutil.disk_usage(path.parent).free
    return DiskFull(errno.ENOSPC, f"the disk is full: {path.name} needs {size:,} bytes and {free:,} are free; "
                                  "free some space and run it again, finished work is kept")


def _flush(path: Path) -> None:
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def _flush_folder(folder: Path) -> None:
    if os.name == "nt":                                     # Windows has no handle to a folder's entries
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_parts(folder: Path) -> None:
    """What a killed process had begun to write in the folder: unfinished, so worth nothing."""
    for place in (folder, folder / "state", folder / "passes", folder / "frames.part"):
        for part in place.glob(".*.part"):
            if part.is_file() and not part.is_symlink():
                part.unlink(missing_ok=True)


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """The folder for one process alone. The system lets go of it when the process dies, however it dies."""
    path = folder / "engine.lock"
    descriptor = _lock(path)
    try:
        yield
    finally:
        if os.name != "nt":                                 # removed while held: nobody else has it open
            path.unlink(missing_ok=True)
        os.close(descriptor)
        if os.name == "nt":
            with contextlib.suppress(OSError):              # somebody took it in between: then it is theirs
                path.unlink(missing_ok=True)


def is_held(folder: Path) -> bool:
    """Whether a process is at work in the folder."""
    if not (folder / "engine.lock").exists():
        return False
    try:
        with hold(folder):
            return False
    except (BadJob, OSError):
        return True


def _lock(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock_file(descriptor)
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
                raise BadJob("another engine is at work in this folder: wait for it, or cancel it there") from error
            return os.open(path, os.O_RDWR)                 # a disk that knows no locks must still take jobs
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        os.close(descriptor)                                # its holder removed it while we waited: take the new one


def _lock_file(descriptor: int) -> None:
    if os.name == "nt":
        import msvcrt
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)      # type: ignore[attr-defined]
    else:
        import fcntl
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


# Frames

def frame_name(index: int) -> str:
    """The file of frame `index` of the shot, counted from 0; files count from 1."""
    return f"{index + 1:06d}.png"


def is_frame_name(name: str) -> bool:
    """Whether a file of that name is the engine's; what is called otherwise in frames/ is somebody else's."""
    return re.fullmatch(r"\d{6}\.png", name) is not None


def digest(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_of_blocks(path: Path) -> bytes:
    """A hash of blocks spread over a large file, and of its size: one that was made again differs in them."""
    found, size = hashlib.sha256(), path.stat().st_size
    found.update(str(size).encode())
    with path.open("rb") as stream:
        for i in range(BLOCKS):
            stream.seek(i * size // BLOCKS)
            found.update(stream.read(BLOCK))
    return found.digest()


def _require(good: Any, message: str, mend: str = REPLACED) -> None:
    if not good:
        raise BadJob(f"{message}; {mend}")


def _show(value: Any) -> str:
    try:
        return _short(repr(value))
    except ValueError:                                      # an integer of thousands of digits
        return "a very large number"


def _short(text: str) -> str:
    text = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0").replace("\n", " ")
    return text if len(text) <= 80 else text[:77] + "..."
