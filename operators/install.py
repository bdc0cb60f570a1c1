"""The engine's Python: where it is, and how to make one. The engine has its own environment because torch must never
be loaded by Blender; it is made only because the artist asked, in their data folder, from the locked list.

It does not know what the engine does. Nothing here runs when the add-on is registered.
"""

import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import bpy
from bpy.app.translations import pgettext_n as n_
from bpy.app.translations import pgettext_rpt as rpt_

from . import compat, folders, memory, properties

ADDON = Path(__file__).resolve().parent.parent
LOCK = ADDON / "engine" / "requirements.txt"
ENVIRONMENT = "SHOTLOCK_ENGINE_PYTHON"
NEEDED = {"linux": 9 * 10**9}       # bytes: on Linux torch brings the libraries of NVIDIA's cards along
NEEDED_ELSEWHERE = 2 * 10**9
TRIAL = "import torch, einops, safetensors, cv2, numpy"
LAST_LINES = 40                     # of pip's words, for the report of a failure


class NoEngine(Exception):
    """There is no engine to run with; the message says how to get one."""


# Finding

def engine_python() -> Path:
    """The Python that runs the engine. Raises NoEngine."""
    for python, chosen_in in candidates():
        if python.is_file():
            return python
        if chosen_in:
            raise NoEngine(rpt_("The engine's Python is not at {}: correct it in {}").format(python, chosen_in))
    raise NoEngine(rpt_("The engine is not installed yet: press Install Engine in the Shotlock tab"))


def lack() -> str:
    """One sentence where there is no engine to run with; empty where there is. For panels: asked at every redraw."""
    return memory.look(("engine", *candidates()), _lack)


def _lack() -> str:
    try:
        engine_python()
    except NoEngine as none:
        return str(none)
    return ""


def is_made() -> bool:
    """Whether there is one that was made here, which can be repaired; for panels."""
    python = python_of(engine_folder())
    return memory.look(("made", python), python.is_file)


def candidates() -> Iterator[tuple[Path, str]]:
    """Where to look, in this order, and who named the place; a place that was named is never passed over in silence."""
    chosen = properties.preferences()
    if chosen and chosen.engine_python:
        yield Path(bpy.path.abspath(chosen.engine_python)), rpt_("the preferences")
    if os.environ.get(ENVIRONMENT):
        yield Path(os.environ[ENVIRONMENT]), rpt_("the variable {}").format(ENVIRONMENT)
    yield python_of(engine_folder()), ""


def engine_folder() -> Path:
    return folders.data_folder() / "engine"


def python_of(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def user_folder() -> Path:
    """Where logs go: the extension's own user folder; a plain package has none and uses the data folder."""
    try:
        return Path(bpy.utils.extension_path_user(properties.ShotlockPreferences.bl_idname, create=True))
    except ValueError:
        place = folders.data_folder()
        place.mkdir(parents=True, exist_ok=True)
        return place


def keeps_passes() -> bool:
    chosen = properties.preferences()
    return chosen.keep_passes if chosen else True


# Making

@dataclass
class Install:
    """One attempt at making the environment: processes one after the other, their words read by a thread."""

    steps: list[tuple[str, list[str]]]
    state: str = "running"              # running, done, failed, cancelled
    phase: str = ""
    error: str = ""
    done: int = 0
    process: subprocess.Popen | None = None
    words: queue.Queue = field(default_factory=queue.Queue)
    tail: list[str] = field(default_factory=list)

    @property
    def progress(self) -> float:
        return self.done / len(self.steps)


_install: Install | None = None


def latest() -> Install | None:
    return _install


def running() -> bool:
    return _install is not None and _install.state == "running"


def why_not() -> str:
    """One sentence why the engine cannot be installed now; empty where it can."""
    return in_use() or _lacks_for_installing()


def in_use() -> str:
    """One sentence while the engine's files must stay as they are; empty else."""
    from . import session

    if running():
        return rpt_("The engine is being installed already")
    if session.current() is not None:
        return rpt_("A shot is being generated with the engine: install it when that has ended")
    return ""


def _lacks_for_installing() -> str:
    if not bpy.app.online_access:
        return rpt_("Blender's online access is off: allow it in the preferences, under System › Network")
    if not LOCK.is_file():
        return rpt_("This copy of Shotlock lacks {}: install the add-on again").format(LOCK.name)
    needed = NEEDED.get(sys.platform, NEEDED_ELSEWHERE)
    free = shutil.disk_usage(_existing(folders.data_folder())).free
    if free < needed:
        return rpt_("The engine needs {:.0f} GB and {:.1f} GB are free in {}").format(
            needed / 1e9, free / 1e9, folders.data_folder())
    return ""


def _existing(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())


def start() -> None:
    """Begins to make the environment beside the one that is there, which stays until the new one is whole."""
    global _install
    part = _part()
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    python = str(python_of(part))
    pip = [python, "-I", "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--progress-bar", "off"]
    _install = Install([
        (n_("Making an environment"), [sys.executable, "-I", "-m", "venv", "--clear", str(part)]),
        (n_("Downloading and installing"), [*pip, "-r", str(LOCK)]),
        (n_("Trying it"), [python, "-I", "-c", TRIAL]),
    ])
    _next_step(_install)


def _part() -> Path:
    return engine_folder().with_name("engine.part")


def cancel() -> None:
    if running() and _install is not None:
        _end(_install, "cancelled")


def tick() -> None:
    """Reads what the processes said and goes on to the next one. Called by the session's timer, which nothing here
    ends: whatever goes wrong is this installation's failure."""
    if _install is None or _install.state != "running" or _install.process is None:
        return
    try:
        _go_on(_install, _install.process)
    except Exception as error:
        _end(_install, "failed", advice([str(error)]) or str(error) or type(error).__name__)


def _go_on(install: Install, process: subprocess.Popen) -> None:
    _read_words(install)
    code = process.poll()
    if code is None or not install.words.empty():
        return
    install.done += 1
    if code:
        _end(install, "failed", advice(install.tail) or rpt_("{} ended with code {}").format(rpt_(install.phase), code))
    elif install.done == len(install.steps):
        _finish(install)
    else:
        _next_step(install)


def _next_step(install: Install) -> None:
    install.phase, command = install.steps[install.done]
    install.process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        encoding="utf-8", errors="replace", env=clean_environment(),
    )
    threading.Thread(target=_listen, args=(install.process, install.words), daemon=True).start()


def clean_environment() -> dict[str, str]:
    """Blender's own PYTHON* variables would lead the new Python astray; pip's configuration is the artist's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def _listen(process: subprocess.Popen, words: queue.Queue) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        words.put(line.rstrip())
    process.wait()


def _read_words(install: Install) -> None:
    while not install.words.empty():
        line = install.words.get_nowait()
        install.tail = [*install.tail, line][-LAST_LINES:]
        if found := re.match(r"(Collecting|Downloading|Installing) ([\w.-]*)", line):
            install.phase = f"{found.group(1)} {found.group(2)}".strip()


def _finish(install: Install) -> None:
    """The new environment takes the old one's place."""
    home, old = engine_folder(), engine_folder().with_name("engine.old")
    shutil.rmtree(old, ignore_errors=True)
    if home.exists():
        os.rename(home, old)
    os.rename(_part(), home)
    shutil.rmtree(old, ignore_errors=True)
    _end(install, "done")


def _end(install: Install, state: str, error: str = "") -> None:
    install.state, install.error = state, error
    memory.forget()
    if install.process is not None and install.process.poll() is None:
        install.process.kill()
        install.process.wait()
    if state != "done":
        shutil.rmtree(_part(), ignore_errors=True)


KNOWN = (
    ("No space left|not enough space", n_("The disk is full: free some space and try again")),
    ("Could not find a version|No matching distribution",
     n_("The package index lacks a package that the engine needs for this system: see the report")),
    ("Temporary failure in name|Connection|timed out|Max retries",
     n_("The network did not answer: check the connection and try again")),
    ("Permission denied|Access is denied", n_("The data folder cannot be written: make it writable")),
    ("No module named (venv|ensurepip)|ensurepip is not available",
     n_("This Python cannot make environments: install its venv package")),
    ("HASHES|do not match|DO NOT MATCH",
     n_("A package is not the one that was locked, so nothing was installed: try again later")),
)


def advice(lines: list[str]) -> str:
    """What the artist can do about it, read off pip's words."""
    text = "\n".join(lines)
    return next((rpt_(sentence) for pattern, sentence in KNOWN if re.search(pattern, text)), "")


def failure_report() -> str:
    """For the clipboard: what was run, what it said."""
    if _install is None:
        return ""
    said = {"state": _install.state, "phase": _install.phase, "error": _install.error, "said": _install.tail}
    return json.dumps(said, indent=1)


class SHOTLOCK_OT_install_engine(bpy.types.Operator):
    bl_idname = "shotlock.install_engine"
    bl_label = "Install Engine"
    bl_description = "Make the engine's own Python environment in your data folder; a broken one is replaced"
    bl_options = {"REGISTER", "INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        reason = why_not()
        cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        from . import session

        session.rest()      # files in use cannot be replaced on every system
        start()
        if not bpy.app.background:
            session.wake()
            return {"FINISHED"}
        return self.wait()

    def wait(self) -> compat.Outcome:
        while running():
            tick()
            time.sleep(0.05)
        install = latest()
        if install is None or install.state != "done":
            self.report({"ERROR"}, install.error if install else "")
            return {"CANCELLED"}
        return {"FINISHED"}


class SHOTLOCK_OT_cancel_install(bpy.types.Operator):
    bl_idname = "shotlock.cancel_install"
    bl_label = "Cancel Installation"
    bl_description = "Stop installing the engine; the one that was there before stays"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return running()

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        cancel()
        return {"FINISHED"}


class SHOTLOCK_OT_show_preferences(bpy.types.Operator):
    bl_idname = "shotlock.show_preferences"
    bl_label = "Preferences"
    bl_description = "Open Shotlock's preferences"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return properties.preferences() is not None

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        return bpy.ops.preferences.addon_show(module=properties.ShotlockPreferences.bl_idname)


class SHOTLOCK_OT_copy_install_report(bpy.types.Operator):
    bl_idname = "shotlock.copy_install_report"
    bl_label = "Copy Report"
    bl_description = "Copy what the installation said to the clipboard"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        context.window_manager.clipboard = failure_report()
        return {"FINISHED"}


CLASSES = (
    SHOTLOCK_OT_install_engine, SHOTLOCK_OT_cancel_install, SHOTLOCK_OT_show_preferences,
    SHOTLOCK_OT_copy_install_report,
)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    cancel()
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
