"""Cycles' own picture of every frame, under the light that the scene has: the truth beside a training clip's passes.

Runs only in a background Blender. What the passes do not know stays out: motion and lens blur, the compositor, the
sequencer. What is written is what Blender saves: 8-bit PNG under the view transform that the order names.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..engine import job
from . import bare, compat, filming
from .cameras import Refusal
from .plan import Plan

FOLDER = "truth"
DARK = 3 / 255  # deviation below which a picture shows nothing


def prepare(scene: Any, order: dict[str, Any]) -> None:
    """The scene's settings for its own picture; `order` holds samples (0: the scene's own), view, threads, denoise."""
    render, cycles = scene.render, scene.cycles
    render.engine = "CYCLES"
    render.use_compositing = render.use_sequencer = render.use_motion_blur = False
    render.use_border = render.use_crop_to_border = render.use_multiview = render.use_stamp = False
    render.use_freestyle = render.film_transparent = False
    render.use_persistent_data = True
    render.resolution_percentage = 100
    render.pixel_aspect_x = render.pixel_aspect_y = 1.0
    render.dither_intensity = 0.0
    if order["threads"]:
        render.threads_mode, render.threads = "FIXED", order["threads"]
    compat.as_png(render.image_settings)
    cycles.samples = order["samples"] or cycles.samples
    cycles.use_denoising = order["denoise"] and can_denoise()
    compat.set_where_known(cycles, time_limit=0.0, use_animated_seed=True, use_layer_samples="IGNORE")
    if cycles.use_denoising:
        compat.set_where_known(cycles, denoiser="OPENIMAGEDENOISE", denoising_input_passes="RGB_ALBEDO_NORMAL")
    show_as(scene, order["view"])


def show_as(scene: Any, view: str) -> None:
    """A view transform by name, without a look or a curve; `scene`: all as the file has it."""
    if view == "scene":
        return
    scene.display_settings.display_device = compat.display_name(scene.display_settings)
    try:
        scene.view_settings.view_transform = view
    except TypeError:
        raise Refusal(f"This Blender has no view transform {view!r}: name one that it has, such as Standard or AgX, or "
                      "'scene' for each scene's own") from None
    scene.view_settings.look = "None"
    scene.view_settings.gamma = 1.0
    scene.view_settings.use_curve_mapping = False


def can_denoise() -> bool:
    """Whether this build of Blender has a denoiser: Debian's has none, and fails where one is asked for."""
    try:
        import _cycles
    except ImportError:
        return False
    return bool(getattr(_cycles, "with_openimagedenoise", False))


def facts(scene: Any) -> dict[str, Any]:
    """What was rendered, as job.json tells it."""
    view = scene.view_settings
    return {"samples": scene.cycles.samples, "denoised": bool(scene.cycles.use_denoising),
            "view_transform": view.view_transform, "look": view.look, "exposure": round(view.exposure, 4),
            "gamma": round(view.gamma, 4), "blur": False}


def render(folder: Path, scene: Any, plan: Plan, path: filming.Path3D, say: Callable[..., None]) -> None:
    """`truth/000001.png` and on."""
    filming.stand_aside()
    camera = bare.new_camera(scene)
    filming.bake(scene, camera, plan, path)
    for i, frame in enumerate(plan.frames):
        bare.aim(scene, camera, path.K[i], plan.size, path.clip[i])
        scene.frame_current = bpy.context.scene.frame_current = frame  # the window's scene decides, as in reader.py
        scene.render.filepath = str(folder / FOLDER / job.frame_name(i))
        bpy.ops.render.render(write_still=True, scene=scene.name)
        say(truth=i + 1)


def shows_nothing(picture: Path) -> bool:
    """Whether a frame is black, white or one colour."""
    image: Any = bpy.data.images.load(str(picture))
    pixels = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(pixels)
    bpy.data.images.remove(image)
    return bool(pixels.reshape(-1, 4)[:, :3].std() < DARK)
