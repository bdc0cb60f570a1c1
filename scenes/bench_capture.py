"""What a capture costs beside the least that Blender could do: a one-sample Cycles animation with the same passes,
written as multilayer EXR, from the same copy, in the same run.

    nice PYTHON_OF_A_BPY_WHEEL -m scenes.bench_capture FILE.blend [--frames 49] [--width 832] [--rounds 1]

Prints JSON. Base colour's extra samples are told apart by capturing with one colour sample and with all of them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy

from .demo import load_addon

PASSES = ("z", "normal", "vector", "object_index", "diffuse_color", "glossy_color", "transmission_color", "emit",
          "ambient_occlusion")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--frames", type=int, default=49)
    parser.add_argument("--width", type=int, default=832)
    parser.add_argument("--rounds", type=int, default=1, help="the least disturbed one counts")
    parser.add_argument("--baseline", type=Path, help=argparse.SUPPRESS)  # the child: renders into this folder
    told = parser.parse_args()
    print(json.dumps(baseline(told) if told.baseline else compare(told)), flush=True)
    os._exit(0)  # bpy can hang while it unloads


def compare(told: argparse.Namespace) -> dict[str, Any]:
    rounds = [one_round(told) for _ in range(told.rounds)]
    best = {name: min((turn[name] for turn in rounds), key=lambda cost: cost["cpu"]) for name in rounds[0]}
    return best | {"ratio": {kind: _ratio(best, kind) for kind in ("wall", "cpu")}, "frames": told.frames,
                   "blender": bpy.app.version_string,
                   "child_peak_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024}


def _ratio(best: dict[str, dict[str, float]], kind: str) -> float:
    return round((best["capture_1_sample"][kind] - best["blender_start"][kind]) / best["baseline"][kind], 2)


def one_round(told: argparse.Namespace) -> dict[str, dict[str, float]]:
    whole = cost(lambda: capture(told, None))
    with tempfile.TemporaryDirectory() as folder:
        rendered = json.loads(_child(told, folder))
    return {"blender_start": cost(lambda: start_of_blender(told)), "baseline": rendered, "capture": whole,
            "capture_1_sample": cost(lambda: capture(told, 1))}


def cost(work: Callable[[], object], who: int = resource.RUSAGE_CHILDREN) -> dict[str, float]:
    """Seconds on the clock, and of processors: the clock says little on a machine that does other things too."""
    began, before = time.perf_counter(), resource.getrusage(who)
    work()
    after = resource.getrusage(who)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": round(time.perf_counter() - began, 2), "cpu": round(cpu, 2)}


def capture(told: argparse.Namespace, samples: int | None) -> None:
    """From the artist's click to the last array, start of the background Blender included."""
    captures, plan = _planned(told)
    with tempfile.TemporaryDirectory() as folder:
        made = captures.Capture(plan, Path(folder), *([samples] if samples else []))
        made.start()
        made.wait()
        if made.error:
            raise SystemExit(made.error)


def _planned(told: argparse.Namespace) -> tuple[Any, Any]:
    addon = sys.modules.get("shotlock") or load_addon()
    if not hasattr(bpy.types.Scene, "shotlock"):
        addon.register()
    bpy.ops.wm.open_mainfile(filepath=str(told.file))
    scene = bpy.context.scene
    scene.shotlock.prompt, scene.shotlock.width = "a benchmark", told.width
    scene.frame_end = scene.frame_start + (told.frames - 1) * scene.frame_step
    plans = importlib.import_module("shotlock.operators.plan")
    return importlib.import_module("shotlock.operators.capture"), plans.plan(scene)


def start_of_blender(told: argparse.Namespace) -> None:
    """A Blender that only opens the file."""
    code = f"import bpy; bpy.ops.wm.open_mainfile(filepath={str(told.file)!r}, load_ui=False); import os; os._exit(0)"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


# --- the other way ------------------------------------------------------------------------------------------------


def _child(told: argparse.Namespace, folder: str) -> str:
    line = [sys.executable, "-m", "scenes.bench_capture", str(told.file), "--frames", str(told.frames), "--width",
            str(told.width), "--baseline", folder]
    return subprocess.run(line, check=True, capture_output=True, text=True).stdout.strip().splitlines()[-1]


def baseline(told: argparse.Namespace) -> dict[str, float]:
    """Its own process, so that nothing of the capture is warm; the file's opening isn't counted."""
    _, plan = _planned(told)
    scene = bpy.context.scene
    _plain(scene, plan, told.baseline)
    return cost(lambda: bpy.ops.render.render(animation=True), resource.RUSAGE_SELF)


def _plain(scene: bpy.types.Scene, plan: Any, folder: Path) -> None:
    render, settings = scene.render, scene.render.image_settings
    render.engine, render.use_persistent_data = "CYCLES", True
    render.use_motion_blur = render.use_compositing = render.use_sequencer = False
    render.resolution_x, render.resolution_y = plan.size
    render.resolution_percentage = 100
    scene.cycles.samples, scene.cycles.device = 1, "CPU"
    scene.cycles.use_denoising = scene.cycles.use_adaptive_sampling = False
    for name in PASSES:
        setattr(scene.view_layers[plan.view_layer], f"use_pass_{name}", True)
    if hasattr(settings, "media_type"):
        settings.media_type = "MULTI_LAYER_IMAGE"
    settings.file_format, settings.color_depth, settings.exr_codec = "OPEN_EXR_MULTILAYER", "32", "ZIP"
    render.filepath = str(folder / "frame_")


if __name__ == "__main__":
    main()
