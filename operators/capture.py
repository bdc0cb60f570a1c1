"""A planned shot → camera path and passes in its job folder, rendered by a background Blender from a saved copy.

The copy is the only work on the artist's main thread; `tick()` is to be called now and then until it says that the
capture has ended. Knows nothing of panels, strips or the engine's process.
"""

from __future__ import annotations

import contextlib
import json
import queue
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections import deque
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..engine import job, protocol
from . import caches, passes, trust
from .plan import Plan

COPY, ORDER, RESULT = "scene.blend", "capture.json", "captured.json"  # in the job's state/
PICTURES = "pictures"  # in the job's folder: what the model is shown
LAST_LINES = 40
OWN = __package__.rpartition(".")[0]


class Capture:
    """One capture: start, tick until it is over, or cancel."""

    def __init__(self, plan: Plan, folder: Path, samples: int = passes.SAMPLES) -> None:
        self.plan, self.folder, self.samples = plan, Path(folder), samples
        self.state = "ready"  # ready, running, done, failed, cancelled
        self.done = 0  # frames
        self.light = (0, 0)  # maps of what suns see that are done, of how many; they are filmed after the frames
        self.error = ""
        self.warnings: list[str] = []
        self.saved_seconds = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._first = 0.0  # when the first frame, or then the first map, was done
        self._held = contextlib.ExitStack()  # the folder is ours; the system lets go of it when this Blender dies
        self._scratch: Path | None = None  # the child's temporary folder, which a killed Blender leaves behind

    # --- start ---

    def start(self) -> None:
        """Saves the copy and starts the background Blender."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as held:
            held.enter_context(job.hold(self.folder))
            self._start()
            self._held = held.pop_all()

    def _start(self) -> None:
        state = self.folder / "state"
        state.mkdir(parents=True, exist_ok=True)
        need_room(self.plan, self.folder)
        bring_pictures(self.plan, self.folder)
        for old in (RESULT, COPY):
            (state / old).unlink(missing_ok=True)
        self.warnings = [f"Unsaved pictures are not in the capture: {', '.join(unsaved)}"] if (
            unsaved := unsaved_pictures()) else []
        began = time.monotonic()
        save_copy(state / COPY)
        caches.link(state / COPY)
        self.saved_seconds = time.monotonic() - began
        trusted = trust.allowed()
        job.write_json(state / ORDER, {"plan": self.plan.to_dict(), "samples": self.samples, "trusted": trusted,
                                       "addons": enabled_addons(), "file": bpy.data.filepath})
        self._process = subprocess.Popen(command(self.folder, trusted), stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._reader = threading.Thread(target=self._drain, args=(self._process.stdout,), daemon=True)
        self._reader.start()
        self.state = "running"

    def _drain(self, stream: Any) -> None:
        """Off the main thread: only moves lines."""
        for line in stream:
            self._lines.put(line)
        self._lines.put(None)

    # --- while it runs ---

    def tick(self) -> dict[str, Any] | None:
        """What has happened since; None once the capture is over and everything is told."""
        if self.state != "running":
            return None
        with contextlib.suppress(queue.Empty):
            while self.state == "running":
                line = self._lines.get_nowait()
                if line is None:
                    self._ended()
                else:
                    self._hear(line)
        return self.progress()

    def progress(self) -> dict[str, Any]:
        done, total = self.light if self.light[1] else (self.done, len(self.plan.frames))
        phase = "light" if self.light[1] else "frames"
        return {"state": self.state, "phase": phase, "done": done, "total": total, "eta": self._eta(done, total)}

    def _eta(self, done: int, total: int) -> float | None:
        """Seconds that this phase still takes, from what of it is done; the first one, which loads the scene, is no
        measure. None where nothing is left: what comes next is another phase."""
        if self.state != "running" or not 2 <= done < total:
            return None
        return (time.monotonic() - self._first) / (done - 1) * (total - done)

    def _hear(self, line: bytes) -> None:
        if not line.startswith(passes.PREFIX):
            if text := line.decode("utf-8", "replace").strip():
                self._last.append(text)
            return
        message = json.loads(line[len(passes.PREFIX):])
        self.error = message.get("error", self.error)
        if "scratch" in message:
            self._scratch = Path(message["scratch"])
        if "frame" in message:
            self.done = message["frame"]
            self._first = self._first or time.monotonic()
        if "light" in message:
            self.light = message["light"], message["lights"]
            self._first = time.monotonic() if self.light[0] <= 1 else self._first

    def _ended(self) -> None:
        """The child is gone; only its result file says that it had finished."""
        assert self._process
        code = self._process.wait()
        result = self.folder / "state" / RESULT
        if code == 0 and result.exists():
            told = json.loads(result.read_text(encoding="utf-8"))
            self.warnings += told["scene"]["warnings"]
            told["scene"]["warnings"] = self.warnings
            with self._held:  # let go of even where the disk is full
                job.write(described(self.plan, self.folder, told))
            self._close("done")
            return
        self.error = self.error or f"The background Blender ended (code {code}) after {self.done} of " \
                                   f"{len(self.plan.frames)} frames: {' / '.join(list(self._last)[-3:])}"
        self._close("failed")

    # --- the end ---

    def cancel(self) -> None:
        """Ends the child at once; finished arrays are kept, half-written ones removed."""
        if self.state != "running":
            return
        assert self._process
        self._process.kill()
        self._process.wait()
        self._close("cancelled")

    def _close(self, state: str) -> None:
        self.state = state
        assert self._process and self._process.stdin
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._reader.join(1)  # a thread that still runs while Blender leaves can take it down
        if self._scratch and self._scratch.name.startswith("blender_"):
            shutil.rmtree(self._scratch, ignore_errors=True)
        for name in (COPY, COPY + "1", ORDER, RESULT):
            (self.folder / "state" / name).unlink(missing_ok=True)
        shutil.rmtree(caches.folder(str(self.folder / "state" / COPY)), ignore_errors=True)
        if state != "done":
            job.remove_parts(self.folder)
        self._held.close()

    def wait(self) -> None:
        """For scripts: blocks until the capture is over."""
        while self.tick():
            time.sleep(0.05)


def came_to_nothing(folder: Path) -> bool:
    """Whether a capture began there, and neither a job nor a frame came of it: cut off or failed."""
    begun = (folder / "state").is_dir() or (folder / "camera.npz").is_file()
    return begun and not any((folder / name).exists() for name in ("job.json", "frames", "frames.part"))


# --- the job ---

def described(plan: Plan, folder: Path, told: dict[str, Any]) -> job.Job:
    """job.json: what the artist asked for, and what the background Blender found."""
    return job.Job(
        folder=folder, id=uuid.uuid4().hex, model=plan.model, prompt=plan.prompt, negative_prompt=plan.negative_prompt,
        seed=plan.seed, steps=plan.steps, guidance=plan.guidance, control_strength=plan.control_strength,
        control_start=plan.control_start, control_end=plan.control_end, denoise=plan.denoise, dress=plan.dress,
        shift=plan.shift, speed=dict(plan.speed),
        known=tuple({"frame": frame, "picture": known_name(frame, path)} for frame, path in plan.known),
        references=tuple(reference_name(number, path) for number, path in enumerate(plan.references, 1)),
        loras=tuple({"name": name, "strength": strength} for name, strength in plan.loras), fps=plan.fps,
        size=plan.size, crop=plan.crop, cuts=plan.cuts, last_frame=plan.last,
        passes=job.written_passes(folder),
        objects=told["objects"], scene=told["scene"],
        created={"blender": bpy.app.version_string, "shotlock": protocol.SHOTLOCK})


def known_name(frame: int, path: str) -> str:
    """Where a known frame's picture lies in the job folder."""
    return f"{PICTURES}/known_{frame + 1:06d}{Path(path).suffix.lower()}"


def reference_name(number: int, path: str) -> str:
    return f"{PICTURES}/reference_{number}{Path(path).suffix.lower()}"


def bring_pictures(plan: Plan, folder: Path) -> None:
    """Pictures that the model is shown, into the folder: a job is whole by itself. Raises FileNotFoundError."""
    wanted = [(known_name(frame, path), path) for frame, path in plan.known]
    wanted += [(reference_name(number, path), path) for number, path in enumerate(plan.references, 1)]
    for name, path in wanted:
        if not Path(path).is_file():
            raise FileNotFoundError(f"The picture {path} is not there: choose it again in the Shotlock tab")
        with job.whole(folder / name, Path(path).stat().st_size) as part:
            shutil.copyfile(path, part)


def need_room(plan: Plan, folder: Path) -> None:
    """Raises job.DiskFull before anything is saved where the passes, and the file's copy beside them, will not fit."""
    per_pixel = sum(np.dtype(kind.dtype).itemsize * kind.channels for kind in job.PASSES.values())
    size = per_pixel * len(plan.frames) * plan.size[0] * plan.size[1]
    with contextlib.suppress(OSError):  # a file that was never saved has no size yet
        size += Path(bpy.data.filepath).stat().st_size if bpy.data.filepath else 0
    if shutil.disk_usage(folder).free < size:
        raise job.disk_full(folder / "passes", size)


# --- the child ----------------------------------------------------------------------------------------------------


def save_copy(path: Path) -> None:
    """The file as it stands, unsaved changes included; the artist's own file keeps its name and its state."""
    bpy.ops.wm.save_as_mainfile(filepath=str(path), copy=True, compress=False, relative_remap=True,
                                check_existing=False)


def unsaved_pictures() -> list[str]:
    """Painted and not yet saved: a copy of the .blend holds no pixels but packed ones."""
    return [image.name for image in bpy.data.images if image.is_dirty and image.users and not image.packed_file]


def command(folder: Path, trusted: bool, blender: str = "") -> list[str]:
    """Blender itself where there is one, with the artist's preferences and add-ons; else the bpy wheel's Python.

    `trusted`: whether the file's Python may run there, as it may here (trust.py).
    """
    script = str(Path(__file__).with_name("passes.py"))
    blender = blender or bpy.app.binary_path
    if not blender:
        return [sys.executable, script, "--", str(folder)]
    plain = ["--factory-startup"] if "--factory-startup" in sys.argv else []
    return [blender, "--background", *plain, "-noaudio", "--offline-mode",
            "--enable-autoexec" if trusted else "--disable-autoexec",
            str(folder / "state" / COPY), "--python", script, "--", str(folder)]


def enabled_addons() -> list[str]:
    return [addon.module for addon in bpy.context.preferences.addons if addon.module != OWN]
