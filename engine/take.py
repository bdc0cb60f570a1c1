"""A job while it runs and the take that comes of it, whatever family of weights makes the frames: progress, previews,
frames that appear whole, their names, the report. Knows the job folder; knows no network."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor

from . import job
from .shot import Shot
from .state import State
from .weights import machine

Say = Callable[[dict[str, Any]], None]
Stop = Callable[[], bool]
Model = TypeVar("Model")
Item = TypeVar("Item")
Result = TypeVar("Result")

PREVIEW = 256  # pixels wide


@dataclass
class Run(Generic[Model]):
    """What a job needs at hand while it runs."""

    shot: Shot  # as it is sampled
    model: Model
    at: machine.Machine
    state: State
    say: Say
    stop: Stop
    weights: str = ""  # their fingerprint
    full: Shot | None = None  # as it was captured, where that is larger
    began: float = field(default_factory=time.monotonic)
    spent: dict[str, float] = field(default_factory=dict)

    def tick(self) -> None:
        tick(self.stop)

    def phase(self, name: str, step: int = 0, steps: int = 0, eta: float | None = None) -> None:
        self.tick()
        self.say({"phase": name, "step": step, "steps": steps, "eta": eta})

    def note(self, text: str) -> None:
        """One line for the artist about what is being done."""
        self.say({"note": text})


@dataclass(frozen=True)
class Family:
    """A family of weights, as far as a take knows it."""

    begin: Callable[[Shot, Say, Stop, Path], Run]  # loads what the job needs; between two steps of it it can be stopped
    make: Callable[[Run], None]  # all frames into frames.part, which then takes its final name
    told: Callable[[Run], dict[str, Any]]  # what its report says beside what every report says, warnings among it


def tick(stop: Stop) -> None:
    if stop():
        raise job.Cancelled


def timed(run: Run, phase: str, work: Callable, *arguments: Any) -> Any:
    began = time.monotonic()
    try:
        return work(run, *arguments)
    finally:
        run.spent[phase] = run.spent.get(phase, 0.0) + time.monotonic() - began


# ---------------------------------------------------------------- frames


def to_bytes(picture: Tensor) -> np.ndarray:
    """(f, 3, H, W) in -1..1 -> (f, H, W, 3) uint8."""
    return ((picture.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).contiguous().numpy()


def write_frames(run: Run, frames: Iterable[int], picture: Callable[[int], np.ndarray], at_once: int = 1) -> None:
    """Frames that nothing later changes, as PNG, cropped to what the artist asked for; those that are there already
    and are what was written are not asked for. `picture` gives (H, W, 3) uint8 at the size of the passes; it is asked
    in the frames' order, or by some threads at once, each on one core."""
    folder = run.shot.job.folder / "frames.part"
    folder.mkdir(exist_ok=True)
    hashes = dict(run.state.facts.get("frames", {}))
    left = [f for f in frames if not _is_written(folder / job.frame_name(f), hashes)]
    try:
        with contextlib.closing(_encoded(run, left, picture, at_once)) as made:
            for frame, data in zip(left, made, strict=True):
                path = folder / job.frame_name(frame)
                job.write_bytes(path, data)
                hashes[path.name] = job.digest(path)
                run.phase("decode", frame + 1, run.shot.frames)
    finally:  # what was written before a stop counts
        with contextlib.suppress(job.DiskFull):
            run.state.note(frames=hashes)


def spread(run: Run, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """What is made of each item, in their order, by as many threads as the machine has, each on one core: frames know
    nothing of each other, and layers of one frame are too small to be shared out."""
    if run.at.threads == 1 or len(items) < 2:
        return [work(item) for item in items]

    def alone(item: Item) -> Result:
        with torch.inference_mode():  # a thread's own affair
            return work(item)

    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(run.at.threads) as pool:
            return list(pool.map(alone, items))
    finally:
        torch.set_num_threads(run.at.threads)


def _is_written(path: Path, hashes: Mapping[str, str]) -> bool:
    return path.is_file() and hashes.get(path.name) == job.digest(path)


def _encoded(
    run: Run, frames: list[int], picture: Callable[[int], np.ndarray], at_once: int
) -> Generator[bytes, None, None]:
    """The frames as PNG, in their order."""
    x, y, w, h = (run.full or run.shot).job.crop

    def encode(frame: int) -> bytes:
        return png(picture(frame)[y : y + h, x : x + w])

    if at_once == 1:
        yield from map(encode, frames)
        return
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(at_once) as pool:
            yield from pool.map(encode, frames)
    finally:
        torch.set_num_threads(run.at.threads)


def png(picture: np.ndarray) -> bytes:
    """(H, W, 3) uint8 -> a file's bytes; four times quicker than by Pillow at full compression, and 5 % larger."""
    done, data = cv2.imencode(".png", picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 3])
    assert done  # an array of bytes has no picture that cannot be told
    return data.tobytes()


def preview(run: Run, picture: Tensor) -> None:
    """A small picture of what is being made, from (3, H, W) in -1..1."""
    step = max(1, picture.shape[-1] // PREVIEW)
    path = run.state.folder / "preview.png"
    job.write_bytes(path, png(to_bytes(picture[None, :, ::step, ::step])[0]))
    run.say({"preview": "state/preview.png"})


def is_made(run: Run) -> bool:
    """Whether the frames have their final name already: the job was stopped while it measured them."""
    hashes = run.state.facts.get("frames", {})
    paths = [run.shot.job.folder / "frames" / job.frame_name(frame) for frame in range(run.shot.frames)]
    return all(path.is_file() and hashes.get(path.name) == job.digest(path) for path in paths)


def name_frames(run: Run) -> None:
    """The frames take their name, and an earlier take of this folder makes way: only now, when they are all there."""
    folder, frames = run.shot.job.folder, {job.frame_name(i) for i in range(run.shot.frames)}
    for old in (folder / "frames.part").iterdir():
        if old.name not in frames:  # of a longer shot that was begun here
            old.unlink()
    settle(folder)
    (folder / "report.json").unlink(missing_ok=True)  # it tells of other frames
    if (folder / "frames").exists():
        (folder / "frames").rename(folder / "frames.before")
    (folder / "frames.part").rename(folder / "frames")


def settle(folder: Path) -> None:
    """What others put beside the frames that made way moves in with the new ones."""
    before, frames = folder / "frames.before", folder / "frames"
    if not (before.is_dir() and frames.is_dir()):
        return
    for entry in before.iterdir():
        if not job.is_frame_name(entry.name):
            entry.rename(frames / entry.name)
    shutil.rmtree(before)


# ---------------------------------------------------------------- report


def finish(run: Run, told: Callable[[Run], dict[str, Any]]) -> dict[str, Any]:
    """The frames are measured, the report is written and the state dropped. What is stopped here is still a take."""
    settle(run.shot.job.folder)
    run.phase("measure")
    camera = timed(run, "measure", camera_report)
    report = {
        **camera, "model": run.shot.job.model, "weights": run.weights,
        "seed": run.shot.job.seed, "machine": run.state.facts["machine"], "frames": run.shot.frames,
        "seconds": {k: round(v, 2) for k, v in run.spent.items()},
        "frame_hashes": run.state.facts["frames"], **told(run),
    }  # fmt: skip
    job.write_json(run.shot.job.folder / "report.json", report)
    run.state.finish()
    return report


def camera_report(run: Run) -> dict[str, Any]:
    """How the clip follows its camera. A finished take is not lost because it could not be measured."""
    from .measure import measure

    try:
        return measure(run.shot.job.folder, stop=run.stop)
    except (job.Cancelled, job.BadJob):  # stopped, or the folder is no longer a job's
        raise
    except Exception as error:  # the frames are there: say so, and go on
        traceback.print_exc(file=sys.stderr)
        return {"follows": None, "verdict": f"cannot be measured: {type(error).__name__}: {error}", "reasons": {}}
