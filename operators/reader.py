"""Takes the passes out of Cycles' own hands, as arrays, the moment a frame is rendered: no compositor, no files.

Runs only in the background Blender. In background mode neither the Render Result nor a viewer node has pixels, and a
trip over EXR files costs more than a one-sample render; an engine's result can be read inside its render call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy
import numpy as np

from . import compat

Pixels = dict[str, np.ndarray]
CHANNELS = {"combined": 4, "depth": 1, "normal": 3, "vector": 4, "index": 1,
            "diffuse": 3, "glossy": 3, "transmission": 3, "emission": 3, "ao": 3, "smooth": 1}


class Reader:
    """Renders frames of one scene and returns their passes, (H,W) or (H,W,C) float32, top row first."""

    def __init__(self, scene: Any) -> None:
        import addon_utils

        addon_utils.enable("cycles")
        import cycles

        self.scene = scene
        self.before: Callable[[bpy.types.Depsgraph], None] = lambda depsgraph: None
        self._taken: Pixels | Exception | None = None
        self._render = cycles.CyclesRender.render
        reader = self

        def render(engine: Any, depsgraph: bpy.types.Depsgraph) -> None:
            reader._during(engine, depsgraph)

        cycles.CyclesRender.render = render

    def frame(self, number: int, samples: int) -> Pixels:
        self._taken = None
        self.scene.cycles.samples = samples
        # not frame_set, which evaluates the viewport's copy of the scene too; the window's scene decides the frame
        self.scene.frame_current = bpy.context.scene.frame_current = number
        bpy.ops.render.render(scene=self.scene.name)
        if isinstance(self._taken, Exception):
            raise self._taken
        if self._taken is None:
            raise RuntimeError(f"Cycles gave no picture of frame {number}")
        return self._taken

    def _during(self, engine: Any, depsgraph: bpy.types.Depsgraph) -> None:
        try:
            self.before(depsgraph)
            self._render(engine, depsgraph)
            self._taken = _read(engine.get_result())
        except Exception as error:  # Blender would only print it
            self._taken = error


def _read(result: Any) -> Pixels:
    width, height = result.resolution_x, result.resolution_y
    passes = result.layers[0].passes
    found = ((name, compat.render_pass(passes, name)) for name in CHANNELS)
    return {name: _pixels(taken, width, height) for name, taken in found if taken}


def _pixels(taken: Any, width: int, height: int) -> np.ndarray:
    flat = np.empty(width * height * taken.channels, np.float32)
    taken.rect.foreach_get(flat)
    picture = flat.reshape(height, width, taken.channels)[::-1]
    return picture[..., 0] if taken.channels == 1 else picture
