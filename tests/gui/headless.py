"""Run inside the full Blender, without a window: `blender -b FILE --python headless.py -- FOLDER`.

Takes the add-on out and puts it back, counting what is left; then generates, as a script of an artist's would.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import bpy
from bpy.app import handlers

NAME = "bl_ext.user_default.shotlock"
HANDLERS = [name for name in dir(handlers) if isinstance(getattr(handlers, name), list)]


def census() -> dict:
    """Everything in Blender that an add-on could leave behind, counted."""
    status = getattr(bpy.types.STATUSBAR_HT_header.draw, "_draw_funcs", [])
    menu = getattr(bpy.types.SEQUENCER_MT_add.draw, "_draw_funcs", [])
    return {
        "classes": sorted(name for name in dir(bpy.types) if "shotlock" in name.lower()),
        "operators": sorted(dir(bpy.ops.shotlock)),
        "handlers": {name: len(getattr(handlers, name)) for name in HANDLERS},
        "properties": [hasattr(bpy.types.Scene, "shotlock"), hasattr(bpy.types.Strip, "shotlock")],
        "status bar": len([draw for draw in status if NAME in draw.__module__]),
        "add menu": len([draw for draw in menu if NAME in draw.__module__]),
    }


def turns() -> list[dict]:
    """Off, on, off, on again."""
    found = []
    for _ in range(2):
        bpy.ops.preferences.addon_disable(module=NAME)
        found.append(census())
        bpy.ops.preferences.addon_enable(module=NAME)
        found.append(census())
    return found


def generate() -> dict:
    scene = bpy.context.scene
    scene.shotlock.prompt = "overcast morning"
    compat = importlib.import_module(f"{NAME}.operators.compat")
    outcome = bpy.ops.shotlock.generate()
    strip = compat.active_strip(bpy.context)
    return {"outcome": list(outcome), "range": compat.strip_range(strip), "files": len(strip.elements),
            "job": bpy.path.abspath(strip.shotlock.job), "prompt": strip.shotlock.prompt,
            "scene": [scene.frame_start, scene.frame_end], "torch": "torch" in sys.modules}


folder = Path(sys.argv[sys.argv.index("--") + 1])
facts = {"version": bpy.app.version[:2], "turns": turns()}
facts["take"] = generate()
(folder / "headless.json").write_text(json.dumps(facts), encoding="utf-8")
