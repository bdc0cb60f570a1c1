"""The manager of models, Blender's side: starts `python -m engine models` in a process of its own and hears how far it
is, so that no window ever waits for a network or a disk. What is listed and what is here, for the preferences.

Nothing here runs when the add-on is registered, and nothing is fetched unless the artist asks and Blender is online.
"""

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import bpy
from bpy.app.translations import pgettext_n as n_
from bpy.app.translations import pgettext_rpt as rpt_
from bpy.props import BoolProperty, StringProperty

from ..engine import client, looks, official, registry
from . import compat, forecast, install, memory, properties, sentences, shelf

PHASES = {"find": n_("Looking for what is here"), "check": n_("Checking what has come"), "fetch": n_("Fetching")}
GRACE = 5.0             # seconds that a process has to end when it is told to
PAUSE = 0.02            # seconds between ticks where the caller waits


@dataclass
class Work:
    """One order to the manager."""

    order: str                          # fetch, import, remove
    name: str                           # of the model, or empty
    process: subprocess.Popen
    state: str = "running"              # running, done, failed, cancelled
    news: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    names: tuple[str, ...] = ()         # of the models that it was done for
    lines: queue.SimpleQueue = field(default_factory=queue.SimpleQueue)
    pace: tuple[float, int] | None = None       # when the first byte was seen, and at which one

    @property
    def progress(self) -> float:
        whole = self.news.get("all") or 0
        return min(1.0, self.news.get("all_done", 0) / whole) if whole else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds, at the pace so far."""
        if self.pace is None or self.news.get("all_done", 0) <= self.pace[1]:
            return None
        pace = (self.news["all_done"] - self.pace[1]) / max(1e-3, time.monotonic() - self.pace[0])
        return (self.news["all"] - self.news["all_done"]) / pace


_work: Work | None = None


def latest() -> Work | None:
    return _work


def running() -> bool:
    return _work is not None and _work.state == "running"


# For the preferences

@dataclass(frozen=True)
class Row:
    """One model of the list."""

    name: str
    title: str
    size: int               # bytes of all its files
    licence: str
    told: str               # what it can be told
    is_here: bool
    missing: tuple[str, ...] = ()       # files that were there
    come: float = 0.0       # share of a fetch that was stopped
    can_be_fetched: bool = True


def rows() -> list[Row]:
    """What can be fetched, then what was imported beside. For panels: asked at every redraw."""
    place = registry.place()
    return memory.look(("manager", place), lambda: _rows(place))


def _rows(place: Path) -> list[Row]:
    try:
        known = registry.read(place)
    except registry.BadRegistry:
        known = registry.Registry(place)
    home = registry.models_folder(known)
    out = [_model_row(name, model, known, home) for name, model in official.MODELS.items()]
    out += [_lora_row(name, lora, known, home) for name, lora in official.LORAS.items()]
    out += [_own_row(entry) for name, entry in known.models.items() if name not in official.MODELS]
    out += [_own_lora_row(lora) for name, lora in known.loras.items() if name not in official.LORAS]
    return out + [_look_row(look) for look in looks.found(known).values()]


def _model_row(name: str, model: official.Model, known: registry.Registry, home: Path) -> Row:
    entry = known.models.get(name)
    missing = tuple(entry.missing) if entry else ()
    come = sum(_come(home, file) for file in model.files.values()) / model.size
    return Row(name, model.title, model.size, model.licence, model.told, entry is not None, missing, come)


def _lora_row(name: str, lora: official.Lora, known: registry.Registry, home: Path) -> Row:
    entry = known.loras.get(name)
    missing = (str(entry.file),) if entry and not entry.file.exists() else ()
    come = _come(home, lora.file) / lora.file.size
    return Row(name, lora.title, lora.file.size, "", "", entry is not None, missing, come)


def _own_row(entry: registry.Entry) -> Row:
    size = _bytes(entry.files.values())
    controls = entry.facts.get("controls")
    words = entry.told or (shelf.in_words(controls) if isinstance(controls, list) else "")
    return Row(entry.name, entry.title or entry.name, size, entry.licence, words, True, tuple(entry.missing),
               can_be_fetched=False)


def _own_lora_row(lora: registry.Lora) -> Row:
    missing = () if lora.file.exists() else (str(lora.file),)
    return Row(lora.name, lora.title or lora.name, _bytes([lora.file]), "", "", True, missing, can_be_fetched=False)


def _look_row(look: looks.Look) -> Row:
    return Row(look.name, look.title, _bytes(look.shards), "", shelf.own_words(look), True, look.missing,
               can_be_fetched=False)


def _come(home: Path, file: official.File) -> int:
    """Bytes of a file of which a part has come, or all."""
    return max(_bytes([path]) for folder in _kinds(home) for path in (folder / file.name, folder / f"{file.name}.part"))


def _kinds(home: Path) -> list[Path]:
    return [home / kind for kind in ("diffusion_models", "text_encoders", "vae", "clip_vision", "loras")]


def _bytes(paths: Any) -> int:
    total = 0
    for path in paths:
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total


def folder() -> Path:
    """Where fetched models go."""
    place = registry.place()
    return memory.look(("models' folder", place), lambda: _folder(place))


def _folder(place: Path) -> Path:
    with contextlib.suppress(registry.BadRegistry):
        return registry.models_folder(registry.read(place))
    return place.parent / "models"


def why_not() -> str:
    """One sentence why nothing can be asked of the manager now; empty where it can."""
    return rpt_("The manager of models is at work already") if running() else ""


def why_not_fetch() -> str:
    if not bpy.app.online_access:
        return rpt_("Blender's online access is off: allow it in the preferences, under System › Network")
    return why_not()


# Acting

def start(order: str, name: str, *arguments: str) -> Work:
    """Begins one order. Raises OSError, ValueError where there is no Python to do it with."""
    global _work
    command, environment, place = client.launch_plan(_python(), install.ADDON, install.user_folder())
    flags: dict[str, Any] = {}
    if sys.platform == "win32":
        flags = {"creationflags": subprocess.CREATE_NO_WINDOW}
    process = subprocess.Popen(
        [*command[:-1], "models", "--watched", order, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, env=environment, cwd=place, **flags)
    _work = Work(order, name, process)
    threading.Thread(target=_listen, args=(process, _work.lines), daemon=True).start()
    return _work


def _python() -> str:
    """The engine's, else Blender's own: the manager needs nothing that is installed."""
    try:
        return str(install.engine_python())
    except install.NoEngine:
        return sys.executable


def _listen(process: subprocess.Popen, lines: queue.SimpleQueue) -> None:
    assert process.stdout is not None
    with contextlib.suppress(OSError, ValueError):
        for line in process.stdout:
            lines.put(line)
    process.wait()
    lines.put(None)


def cancel() -> None:
    """Asks it to stop; what has come is kept. Idempotent."""
    if _work is not None and _work.state == "running" and _work.process.stdin is not None:
        with contextlib.suppress(OSError):
            _work.process.stdin.close()


def tick() -> bool:
    """Hears what there is; whether something is to be drawn anew."""
    work = _work
    if work is None or work.state != "running" or work.lines.empty():
        return False
    while work.state == "running" and not work.lines.empty():
        line = work.lines.get()
        if line is None:
            _end(work, "failed", work.error or rpt_("The manager of models ended without a word"))
        else:
            _hear(work, line)
    return True


def _hear(work: Work, line: bytes) -> None:
    try:
        news = json.loads(line)
    except ValueError:
        return
    if news.get("done") is True:
        work.names = tuple(news.get("names", ()))
        _end(work, "done")
    elif "error" in news:
        _end(work, "cancelled" if news.get("stopped") else "failed", news["error"])
    else:
        work.news = news
        if work.pace is None and news.get("phase") == "fetch":
            work.pace = time.monotonic(), news.get("all_done", 0)


def _end(work: Work, state: str, error: str = "") -> None:
    work.state, work.error = state, error
    _close(work.process)
    memory.forget()
    forecast.forget()


def _close(process: subprocess.Popen) -> None:
    with contextlib.suppress(OSError):
        if process.stdin is not None:
            process.stdin.close()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def leave() -> None:
    """The add-on goes: nothing is left running."""
    global _work
    if running() and _work is not None:
        _work.process.kill()
        _close(_work.process)
    _work = None


def wait() -> Work | None:
    """For scripts: blocks until the order is done; an interrupt cancels it."""
    try:
        while running():
            tick()
            time.sleep(PAUSE)
    except KeyboardInterrupt:
        cancel()
        raise
    return latest()


# The operators

class Ordering(compat.OperatorPart):
    """Operators that order something of the manager."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        reason = why_not()
        cls.poll_message_set(reason)
        return not reason

    def order(self, order: str, name: str, *arguments: str) -> compat.Outcome:
        from . import session

        try:
            start(order, name, *arguments)
        except (OSError, ValueError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if not bpy.app.background:
            session.wake()
            return {"FINISHED"}
        work = wait()
        if work is None or work.state != "done":
            words = sentences.told(work.error) if work else ""
            self.report({"ERROR"}, words or rpt_("Fetching was cancelled"))
            return {"CANCELLED"}
        return {"FINISHED"}


def model_setting() -> Any:
    return StringProperty(name="Model", description="Its name in the list of models", options={"SKIP_SAVE"})


class SHOTLOCK_OT_fetch_model(Ordering, bpy.types.Operator):
    bl_idname = "shotlock.fetch_model"
    bl_label = "Fetch"
    bl_description = "Download what this computer lacks of this model; a download that was stopped goes on"
    bl_options = {"INTERNAL"}

    model: model_setting()  # type: ignore[valid-type]  # Blender reads properties off annotations

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        reason = why_not_fetch()
        cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        chosen = properties.preferences()
        server = chosen.models_server if chosen else ""
        return self.order("fetch", self.model, self.model, *(("--server", server) if server else ()))


class SHOTLOCK_OT_cancel_models(bpy.types.Operator):
    bl_idname = "shotlock.cancel_models"
    bl_label = "Stop Fetching"
    bl_description = "Stop the download; what has come is kept, and the next fetch goes on from there"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return running()

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        cancel()
        return {"FINISHED"}


class SHOTLOCK_OT_find_models(Ordering, bpy.types.Operator):
    bl_idname = "shotlock.find_models"
    bl_label = "Find on This Computer"
    bl_description = (
        "List the models that lie in ComfyUI's folders and in Hugging Face's cache already. Files stay where they are"
    )
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        return self.order("import", "")


class SHOTLOCK_OT_import_model(Ordering, bpy.types.Operator):
    bl_idname = "shotlock.import_model"
    bl_label = "Import File"
    bl_description = "List a model or a LoRA that lies somewhere else: its file, or the folder. It stays where it is"
    bl_options = {"INTERNAL"}

    filepath: StringProperty(  # type: ignore[valid-type]  # Blender reads properties off annotations
        name="File", description="A .safetensors file, or a folder that holds some", subtype="FILE_PATH",
        options={"SKIP_SAVE"} | compat.relative_path_option(),
    )
    filter_glob: StringProperty(  # type: ignore[valid-type]
        name="Filter", description="Which files are shown", default="*.safetensors", options={"HIDDEN"}
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> compat.Outcome:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        return self.order("import", "", bpy.path.abspath(self.filepath))


class SHOTLOCK_OT_remove_model(Ordering, bpy.types.Operator):
    bl_idname = "shotlock.remove_model"
    bl_label = "Remove Model"
    bl_description = "Take this model off the list. Files that were fetched for it alone are deleted, others stay"
    bl_options = {"INTERNAL"}

    model: model_setting()  # type: ignore[valid-type]  # Blender reads properties off annotations
    files: BoolProperty(  # type: ignore[valid-type]
        name="Delete Imported Files", options={"SKIP_SAVE"},
        description="Delete its files even where they were not fetched here, unless another model needs them",
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> compat.Outcome:
        return context.window_manager.invoke_props_dialog(
            self, title="Remove this model from the list?", confirm_text="Remove"
        )

    def draw(self, context: bpy.types.Context) -> None:
        self.layout.label(text=shelf.title(self.model), translate=False)
        self.layout.prop(self, "files")

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        return self.order("remove", self.model, self.model, *(("--files",) if self.files else ()))


class SHOTLOCK_OT_choose_models_folder(Ordering, bpy.types.Operator):
    bl_idname = "shotlock.choose_models_folder"
    bl_label = "Choose Folder"
    bl_description = "Where models are fetched to from now on; those that are there stay where they are"
    bl_options = {"INTERNAL"}

    directory: StringProperty(  # type: ignore[valid-type]  # Blender reads properties off annotations
        name="Folder", description="The folder for models", subtype="DIR_PATH",
        options={"SKIP_SAVE"} | compat.relative_path_option(),
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> compat.Outcome:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        chosen = Path(bpy.path.abspath(self.directory)).absolute()
        if not chosen.is_dir():
            self.report({"ERROR"}, rpt_("There is no folder {}: make it first").format(chosen))
            return {"CANCELLED"}
        try:
            registry.write(replace(registry.read(), folder=str(chosen)))
        except (OSError, registry.BadRegistry) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        memory.forget()
        return {"FINISHED"}


CLASSES = (
    SHOTLOCK_OT_fetch_model, SHOTLOCK_OT_cancel_models, SHOTLOCK_OT_find_models, SHOTLOCK_OT_import_model,
    SHOTLOCK_OT_remove_model, SHOTLOCK_OT_choose_models_folder,
)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    leave()
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
