"""The jobs of this Blender: one engine client, one timer, and where every job stands, for the panels to read.

`tick()` is a plain function: the window calls it from a timer, scripts and tests in a loop (timers never fire in
background mode). All of this is run-time state: nothing here is written to the .blend, and opening another file leaves
the jobs alone. It knows where a finished take belongs, and leaves the placing to takes.py.
"""

import atexit
import contextlib
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy
from bpy.app.handlers import persistent
from bpy.app.translations import pgettext_n as n_
from bpy.app.translations import pgettext_rpt as rpt_

from ..engine.client import Client, Status
from . import compat, forecast, install, manager, memory, takes
from .capture import Capture, came_to_nothing
from .plan import Plan, decision
from .progress import CAPTURE, Progress

FIRST = 0.05            # seconds before the first tick: the window draws what is about to happen
PERIOD = 0.1            # seconds between ticks in the window
BUDGET = 0.02           # seconds that a tick may take from messages
PAUSE = 0.02            # seconds between ticks where the caller waits
MOST_REMEMBERED = 20    # jobs; the oldest that are over and told are forgotten

SAVING, STARTING = n_("Saving a copy of the scene"), n_("Starting the engine")
ENDED = ("done", "failed", "cancelled")
PHASES = {
    "frames": n_("Capturing"), "light": n_("Capturing the light"), "start": STARTING,
    "text": n_("Reading the prompt"), "conditions": n_("Reading the passes"),
    "sample": n_("Sampling"), "decode": n_("Writing frames"), "measure": n_("Measuring the camera"),
}


@dataclass(frozen=True)
class Origin:
    """Where a job was asked for, in terms that outlive undo, opening a file and saving it elsewhere."""

    file: str
    scene: str
    uid: int            # Blender's own, kept by undo, given anew when a file is opened
    opened: int         # how many files had been opened before


@dataclass
class Job:
    """One request to the engine."""

    plan: Plan | None   # none where a take goes on that another Blender captured
    shot: str
    folder: Path
    origin: Origin
    state: str = "queued"
    phase: str = SAVING
    step: int = 0
    steps: int = 0
    eta: float | None = None
    preview: Path | None = None
    note: str = ""      # the engine's last line on how it does it: what memory it needs, a step down
    error: str = ""
    warnings: list[str] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)
    placed: bool = False
    capture: Capture | None = None
    number: str = ""    # the engine's name for it
    run: Progress = field(default_factory=Progress)

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def progress(self) -> float:
        """Of the whole job, over its phases; never less than it was."""
        return self.run.figure


jobs: list[Job] = []
_client: Client | None = None
_made_from: tuple = ()      # the file that was the client's Python when it was made
_opened = 0
_before: list[tuple[Any, str]] = []     # while a file is saved elsewhere: strips and the jobs they had


# For the panels and operators: reading

def current() -> Job | None:
    """The job that is being worked on: the oldest that has not ended."""
    return next((job for job in jobs if not job.ended), None)


def latest(scene: bpy.types.Scene) -> Job | None:
    """The newest job of that scene."""
    return next((job for job in reversed(jobs) if find_scene(job.origin) == scene), None)


def waiting() -> list[Job]:
    """Jobs that are done, but whose scene was not there to take the strip."""
    return [job for job in jobs if job.state == "done" and not job.placed]


def find_scene(origin: Origin) -> bpy.types.Scene | None:
    """The scene a job was asked for, if it is in the open file."""
    if origin.opened == _opened:
        return next((scene for scene in bpy.data.scenes if scene.session_uid == origin.uid), None)
    return bpy.data.scenes.get(origin.scene) if is_open(origin) else None


def is_open(origin: Origin) -> bool:
    """Whether the open file is the one that a job was asked for in."""
    same_file = bool(origin.file) and bool(bpy.data.filepath) and _same_path(origin.file, bpy.data.filepath)
    return origin.opened == _opened or same_file


def _same_path(one: str, other: str) -> bool:
    return os.path.normcase(os.path.abspath(one)) == os.path.normcase(os.path.abspath(other))


def resumable(scene: bpy.types.Scene, layer: bpy.types.ViewLayer) -> Path | None:
    """The take that Resume Take goes on with: what this scene's newest job left, else the newest one of its shot that
    was stopped. For panels: the disk is looked at when something may have changed there."""
    job = latest(scene)
    left = job is not None and (job.state == "failed" or (job.state == "cancelled" and _can_go_on(job.folder)))
    if job is not None and left:
        return job.folder
    shot, file = decision(scene, layer).shot, bpy.data.filepath
    key = ("stopped", takes.shots_folder(file), shot)
    found = memory.look(key, lambda: takes.stopped(file, shot), memory.UNTIL_TOLD) if shot else ()
    return next((folder for folder in found if not _at_work(folder)), None)


def _can_go_on(folder: Path) -> bool:
    return memory.look(("stopped", folder), lambda: takes.is_stopped(folder), memory.UNTIL_TOLD)


def left_behind() -> tuple[Path, ...]:
    """Of this file's jobs of this session, those that were stopped and can be gone on with. For panels."""
    ended = [job for job in jobs if job.ended and job.state != "done" and job.origin.opened == _opened]
    return tuple(job.folder for job in ended if _can_go_on(job.folder))


def move_home() -> int:
    """Takes that were made before this file was saved go beside it, those that were stopped too; their number."""
    moved = takes.move_home(left_behind())
    for job in jobs:
        job.folder = moved.get(job.folder, job.folder)
    redraw()
    return len(moved)


def _at_work(folder: Path) -> bool:
    return any(not job.ended and _same_path(str(job.folder), str(folder)) for job in jobs)


# For the operators: acting

def submit(scene: bpy.types.Scene, plan: Plan) -> Job:
    """Queues a shot. Raises takes.TakeError where its take has nowhere to go."""
    origin = _origin(scene)
    takes.clear(origin.file, plan.shot, _is_forsaken)
    job = Job(plan=plan, shot=plan.shot, folder=takes.new_folder(origin.file, plan.shot), origin=origin)
    _warn(job, plan.notes)
    _append(job)
    return job


def _is_forsaken(folder: Path) -> bool:
    """Nothing came of it, and nobody here can take it up again."""
    return came_to_nothing(folder) and not any(_same_path(str(job.folder), str(folder)) for job in jobs)


def _origin(scene: bpy.types.Scene) -> Origin:
    return Origin(bpy.data.filepath, scene.name, scene.session_uid, _opened)


def resume(scene: bpy.types.Scene, folder: Path) -> Job:
    """The take in that folder goes on where it was stopped, and its strip goes to that scene. A job that failed here
    before it was captured is captured again, as it was planned. Raises takes.TakeError."""
    memory.forget()
    job = _job_of(folder)
    if job is not None and not job.ended:
        raise takes.TakeError(rpt_("The take at {} is being worked on already").format(folder))
    planned = job is not None and job.state == "failed" and job.plan is not None and not takes.is_finished(folder)
    if not planned and not takes.is_stopped(folder):
        raise takes.TakeError(rpt_("{} holds no take that was captured and then stopped: generate one").format(folder))
    if job is None or job.state == "done":
        job = Job(plan=None, shot=takes.shot_name(folder), folder=folder, origin=_origin(scene))
        _warn(job, takes.captured_warnings(folder))
    job.origin, job.state, job.error, job.number = _origin(scene), "queued", "", ""
    job.phase, job.step, job.steps, job.run = STARTING, 0, 0, Progress()
    _append(job)
    return job


def remove(folder: Path) -> None:
    """A stopped take that nobody wants. Raises takes.TakeError."""
    if _at_work(folder):
        raise takes.TakeError(rpt_("The take at {} is being worked on already").format(folder))
    job = _job_of(folder)
    if not takes.is_stopped(folder) and (job is None or job.state != "failed" or takes.is_finished(folder)):
        raise takes.TakeError(rpt_("{} is no stopped take: nothing was deleted").format(folder))
    takes.remove(folder)
    jobs[:] = [job for job in jobs if not _same_path(str(job.folder), str(folder))]
    memory.forget()
    redraw()


def _job_of(folder: Path) -> Job | None:
    return next((job for job in reversed(jobs) if _same_path(str(job.folder), str(folder))), None)


def _append(job: Job) -> None:
    over = [other for other in jobs if other.ended and (other.placed or other.state != "done")]
    for other in over[: max(0, len(jobs) + 1 - MOST_REMEMBERED)]:
        jobs.remove(other)
    jobs[:] = [other for other in jobs if other is not job] + [job]
    wake()


def cancel(job: Job) -> None:
    """Idempotent, and only this job: the capture is ended, the engine is asked to stop."""
    if job.ended:
        return
    if job.state == "running" and _client is not None:
        _client.cancel(job.number)
        return
    if job.capture is not None:
        job.capture.cancel()
    _end(job, "cancelled")


def wait(job: Job) -> None:
    """Blocks until the job has ended; an interrupt cancels it first."""
    try:
        while not job.ended:
            tick()
            time.sleep(PAUSE)
    except KeyboardInterrupt:
        cancel(job)
        raise


def land(job: Job, scene: bpy.types.Scene) -> Any:
    """Places a finished job's take in that scene."""
    take = takes.read(job.folder)
    strip = takes.place(scene, take)
    job.placed = True
    memory.forget()
    _warn(job, takes.warnings(scene, take))
    return strip


def placed(folder: Path) -> None:
    """The artist placed that take by hand: nothing more is offered."""
    for job in jobs:
        if _same_path(str(job.folder), str(folder)):
            job.placed, job.error = True, ""


def _warn(job: Job, sentences: Iterable[str]) -> None:
    """Each once: a job that is resumed hears the same again."""
    for sentence in sentences:
        if sentence not in job.warnings:
            job.warnings.append(sentence)


# One tick

def tick() -> float | None:
    """Does what there is to do now; seconds until the next tick, or None when there is nothing to wait for."""
    install.tick()
    if install.running() or manager.tick() or forecast.tick():
        redraw()
    job = current()
    if job is not None:
        before = _shown(job)
        _advance(job)
        if _shown(job) != before:
            redraw()
    _land_waiting()
    at_work = current() is not None or install.running() or manager.running() or forecast.wants()
    return PERIOD if at_work else None


def _shown(job: Job) -> tuple:
    return job.state, job.phase, job.step, job.steps, job.preview, job.note, len(job.warnings)


def _advance(job: Job) -> None:
    """One step of one job. Whatever goes wrong ends this job with a reason, never the timer."""
    try:
        {"queued": _begin, "capturing": _watch_capture, "running": _watch_engine}[job.state](job)
    except Exception as error:
        _end(job, "failed", _sentence(error))
        _let_go(job)


def _let_go(job: Job) -> None:
    """Nobody watches it any longer: neither its background Blender nor the engine goes on with it."""
    with contextlib.suppress(Exception):
        if job.capture is not None:
            job.capture.cancel()
        if job.number and _client is not None:
            _client.cancel(job.number)


def _sentence(error: Exception) -> str:
    """One line; an exception may bring several, or none."""
    return " ".join(str(error).split()) or type(error).__name__


def _begin(job: Job) -> None:
    """What was captured is not captured again."""
    if job.plan is None or takes.is_captured(job.folder):
        job.run = Progress(without=CAPTURE)
        return _run(job)
    job.run = Progress()
    job.state, job.phase = "capturing", SAVING
    job.capture = Capture(job.plan, job.folder)
    job.capture.start()


def _watch_capture(job: Job) -> None:
    capture = job.capture
    assert capture is not None and job.plan is not None
    news = capture.tick() or {}
    phase = news.get("phase", "frames")
    job.phase, job.eta = PHASES[phase], news.get("eta")
    job.step, job.steps = news.get("done", job.step), news.get("total", len(job.plan.frames))
    job.run.hear({"frames": "capture"}.get(phase, phase), job.step, job.steps)
    if capture.state == "done":
        _warn(job, capture.warnings)
        _run(job)
    elif capture.state in ENDED:
        _end(job, capture.state, capture.error)


def _run(job: Job) -> None:
    _see_to_python()
    job.state, job.phase, job.step, job.steps, job.eta = "running", STARTING, 0, 0, None
    job.number = client().run(job.folder)


def _watch_engine(job: Job) -> None:
    """Lets the client do what is due, within the budget, and reads off where the job stands."""
    engine = client()
    engine.poll(BUDGET)
    status = engine.jobs[job.number]
    job.eta, job.preview, job.note = status.eta, status.preview, status.note
    phase, job.step, job.steps = job.run.told(status.phase or "start", status.step, status.steps)
    job.run.hear(phase, job.step, job.steps)
    job.phase = _in_words(engine, status, phase)
    if status.over:
        engine.forget(job.number)
        job.report = takes.report(job.folder)
        _warn(job, takes.engine_warnings(job.report))
        _end(job, status.state, status.reason)


def _in_words(engine: Client, status: Status, phase: str) -> str:
    if status.deadline is not None:
        return n_("Cancelling")
    if engine.state == "silent":
        return n_("The engine does not respond")
    return PHASES.get(phase, phase)


def _end(job: Job, state: str, error: str = "") -> None:
    job.state, job.error, job.eta = state, error, None
    if state == "cancelled":
        takes.leave(job.folder)
    if state == "done" and not install.keeps_passes():
        takes.forget_passes(job.folder)
    memory.forget()
    redraw()


def _land_waiting() -> None:
    """Finished takes go to their scene as soon as it is there. One that can't be placed says why, and stays on disk."""
    for job in waiting():
        scene = find_scene(job.origin)
        if scene is None or job.error:
            continue
        try:
            land(job, scene)
        except Exception as error:
            job.error = _sentence(error)
        redraw()


# The engine

def client() -> Client:
    """The one engine of this Blender, started when it is first needed and again after it died."""
    global _client, _made_from
    if _client is None:
        python = install.engine_python()
        _client, _made_from = Client(python, install.ADDON, install.user_folder() / "engine.log"), _file(python)
    return _client


def _see_to_python() -> None:
    """Before a job is sent, so while none runs: another Python was chosen, or a repair made it anew."""
    if _client is not None and _made_from != _file(install.engine_python()):
        restart()


def _file(python: Path) -> tuple:
    """Which file that is: after a repair another one lies at the same path."""
    found = python.lstat()
    return str(python), found.st_ino, found.st_mtime_ns


def close() -> None:
    """Ends the engine and every capture: Blender is going, or the add-on is."""
    for job in jobs:
        with contextlib.suppress(Exception):
            cancel(job)
    restart()


def restart() -> None:
    """Ends the engine; the next job starts a new one, from the Python that is chosen then."""
    global _client
    if _client is not None:
        _client.close()
    _client = None


def rest() -> None:
    """Ends an engine that has nothing to do."""
    if not any(job.state == "running" for job in jobs):
        restart()


# The timer and the handlers

def wake() -> None:
    """Makes sure that somebody ticks. In background the caller does."""
    if not bpy.app.background and not bpy.app.timers.is_registered(_timer):
        bpy.app.timers.register(_timer, first_interval=FIRST, persistent=True)


def _timer() -> float | None:
    return tick()


def redraw() -> None:
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in ("VIEW_3D", "SEQUENCE_EDITOR", "PREFERENCES"):
                area.tag_redraw()
    # The status bar is no screen's area; it listens to this. The stubs do not know the key's first form.
    bpy.msgbus.publish_rna(key=(bpy.types.ViewLayer, "name"))  # type: ignore[arg-type]


@persistent
def _on_load(*_: Any) -> None:
    global _opened
    _opened += 1
    memory.forget()
    takes.relink()
    if waiting():
        wake()


@persistent
def _before_save(target: str = "", *_: Any) -> None:
    if target and Path(target).parent != Path(bpy.data.filepath or target).parent:
        _before[:] = [(strip, strip.shotlock.job) for _scene, strip in takes.strips_of_takes()]
        takes.rebase(target)


@persistent
def _save_failed(*_: Any) -> None:
    _stay()


def _stay() -> None:
    """The file stays where it was, and so do the jobs that were made relative to another folder, found or not."""
    for strip, job in _before:
        strip.shotlock.job = job
    _before.clear()


@persistent
def _after_save(target: str = "", *_: Any) -> None:
    memory.forget()
    if not _same_path(target, bpy.data.filepath):
        _stay()                                         # a copy, such as the one that is captured
        return
    _before.clear()
    takes.relink()
    for job in jobs:
        if job.origin.opened == _opened:
            job.origin = Origin(bpy.data.filepath, job.origin.scene, job.origin.uid, _opened)
    if takes.homeless(left_behind()):
        redraw()
        _offer_moving()


@persistent
def _after_undo(*_: Any) -> None:
    takes.relink()


def _offer_moving() -> None:
    if not bpy.app.background:
        bpy.app.timers.register(_ask_to_move, first_interval=0.2)


def _ask_to_move() -> None:
    with compat.in_window():
        bpy.ops.shotlock.move_takes("INVOKE_DEFAULT")  # type: ignore[attr-defined]  # registered at run time


HANDLERS: tuple[tuple[str, Callable], ...] = (
    ("load_post", _on_load), ("save_pre", _before_save), ("save_post", _after_save),
    ("save_post_fail", _save_failed), ("undo_post", _after_undo), ("redo_post", _after_undo),
)


def register() -> None:
    for name, handler in HANDLERS:
        getattr(bpy.app.handlers, name).append(handler)
    atexit.register(close)


def unregister() -> None:
    for timer in (_timer, _ask_to_move):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)
    for name, handler in HANDLERS:
        with contextlib.suppress(ValueError):
            getattr(bpy.app.handlers, name).remove(handler)
    atexit.unregister(close)
    close()
    forecast.forget()
    jobs.clear()
    memory.forget()
