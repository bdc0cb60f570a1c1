"""The main job from a script, in a real headless Blender: open a scene, Generate, save the .blend with its strip.

`python -m scenes.demo FOLDER`, with the Python of a bpy wheel. A second run opens what the first saved and adds a take.
Whoever starts it reads `result.json` and, for timings, a line of JSON a phase in the file that --events names.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import sys
import threading
import time
from pathlib import Path
from types import ModuleType

import bpy

ROOT = Path(__file__).resolve().parent.parent
PROMPTS = {
    "exterior": "golden hour, low warm sun, long soft shadows, clear sky",
    "interior": "soft overcast morning light, clear",
    "blockout": "a village street at golden hour",
}


def load_addon() -> ModuleType:
    """The repository's root as the package `shotlock`, whatever its folder is called."""
    spec = importlib.util.spec_from_file_location(
        "shotlock", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec and spec.loader
    addon = importlib.util.module_from_spec(spec)
    sys.modules["shotlock"] = addon
    spec.loader.exec_module(addon)
    return addon


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m scenes.demo", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the .blend and its shots go")
    parser.add_argument("--scene", default="exterior", choices=sorted(PROMPTS))
    parser.add_argument(
        "--blend", type=Path, help="another .blend, which is copied into the folder, instead of a demo scene"
    )
    parser.add_argument("--prompt")
    parser.add_argument("--events", type=Path, help="append a line of JSON at the start of every phase")
    for name in ("seed", "steps", "width", "frames"):
        parser.add_argument(f"--{name}", type=int)
    return parser.parse_args()


def open_scene(chosen: argparse.Namespace) -> Path:
    """The file of an earlier run, a copy of the artist's, or a demo scene made now and saved."""
    chosen.folder.mkdir(parents=True, exist_ok=True)
    file = chosen.folder.resolve() / f"{chosen.blend.stem if chosen.blend else chosen.scene}.blend"
    if file.exists():
        bpy.ops.wm.open_mainfile(filepath=str(file))
    elif chosen.blend:
        bpy.ops.wm.open_mainfile(filepath=str(chosen.blend.resolve()))
        bpy.ops.wm.save_as_mainfile(filepath=str(file))
    else:
        importlib.import_module(f"scenes.{chosen.scene}").build()
        bpy.ops.wm.save_as_mainfile(filepath=str(file), compress=True)
    return file


def apply(chosen: argparse.Namespace, shot) -> None:
    """What was asked for; the rest stays as the file has it."""
    shot.prompt = chosen.prompt or shot.prompt or PROMPTS[chosen.scene]
    for name in ("seed", "steps", "width"):
        if (value := getattr(chosen, name)) is not None:
            setattr(shot, name, value)
    if chosen.frames:
        start = bpy.context.scene.frame_start
        shot.frame_start, shot.frame_end = start, start + chosen.frames - 1


class Watcher(threading.Thread):
    """Tells how the job stands while the operator blocks. Reads the session's plain values; never touches bpy."""

    def __init__(self, events: Path | None):
        super().__init__(daemon=True)
        self.events, self.seen, self.over = events, "", threading.Event()
        self.session = importlib.import_module("shotlock.operators.session")

    def run(self) -> None:
        while not self.over.wait(0.05):
            job = self.session.current()
            if job:
                self.tell(job)

    def tell(self, job) -> None:
        if job.phase != self.seen:
            if self.seen and sys.stdout.isatty():
                print()
            self.seen = job.phase
            self.note(job.phase)
            if not sys.stdout.isatty():
                print(f"{job.phase} …", flush=True)
        if sys.stdout.isatty():
            left = f", {job.eta:.0f} s left" if job.eta else ""
            print(f"\r\033[K{job.phase} {job.step}/{job.steps}{left}", end="", flush=True)

    def note(self, phase: str) -> None:
        if self.events:
            with self.events.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"time": time.monotonic(), "phase": phase}) + "\n")


def generate(watcher: Watcher) -> None:
    watcher.note("Start")
    watcher.start()
    try:
        outcome = bpy.ops.shotlock.generate()
    except RuntimeError as error:
        raise SystemExit(f"\n{str(error).strip()}") from None
    finally:
        watcher.over.set()
        watcher.join()
        print(flush=True)
    if outcome != {"FINISHED"}:
        raise SystemExit(f"Generate ended as {outcome}; expected FINISHED")


def newest_strip(scene: bpy.types.Scene):
    takes = importlib.import_module("shotlock.operators.takes")
    return max((strip for owner, strip in takes.strips_of_takes() if owner == scene), key=lambda s: s.shotlock.take)


def main() -> None:
    chosen = arguments()
    load_addon().register()
    watcher = Watcher(chosen.events)
    watcher.note("Open the scene")
    file = open_scene(chosen)
    scene = bpy.context.scene
    apply(chosen, scene.shotlock)
    print(f"“{scene.shotlock.prompt}”, {file.name} in Blender {bpy.app.version_string}", flush=True)
    generate(watcher)
    watcher.note("Save")
    strip = newest_strip(scene)
    bpy.ops.wm.save_as_mainfile(filepath=str(file), compress=True)
    watcher.note("End")
    job = Path(bpy.path.abspath(strip.shotlock.job)).resolve()
    fps = scene.render.fps / scene.render.fps_base
    result = {"blend": str(file), "job": str(job), "strip": strip.name, "fps": fps, "blender": bpy.app.version_string}
    (chosen.folder / "result.json").write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
