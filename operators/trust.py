"""Whether this session lets the open file's Python run, by having Blender evaluate a driver of our own.

Blender has no property that tells it. `bpy.app.autoexec_fail` tells what was evaluated and blocked, and what is hidden
is never evaluated; the preference and the command line do not know what was answered when the file was opened; and a
driver that seems to have run may never have been evaluated, for a file can make it so.
"""

from collections.abc import Iterator
from typing import Any

import bpy

NAME = "_shotlock_asks_whether_scripts_may_run"
"""Begins with an underscore: Blender evaluates calls of other names without any trust. Its own warning shows the name
where scripts may not run and the artist has not been told yet."""


def allowed() -> bool:
    """Nothing was blocked here, and Python in drivers runs. Where the file has none there is nothing to allow."""
    return not bpy.app.autoexec_fail and any(python()) and _drivers_run()


def _drivers_run() -> bool:
    """A driver that only full trust runs, in a scene that is gone again before anybody sees it."""
    called: list[bool] = []

    def asked() -> float:
        called.append(True)
        return 0.0

    bpy.app.driver_namespace[NAME] = asked
    scene = bpy.data.scenes.new(NAME)
    try:
        scene[NAME] = 0.0
        curve: Any = scene.driver_add(f'["{NAME}"]')
        driver = curve.driver
        driver.type, driver.expression = "SCRIPTED", f"{NAME}()"
        scene.view_layers[0].update()
    finally:
        bpy.data.scenes.remove(scene)
        del bpy.app.driver_namespace[NAME]
    return bool(called)


def python() -> Iterator[str]:
    """What in this file waits for trust, by name: drivers in Python, and texts that run when the file is opened."""
    for owner, curve in drivers():
        if curve.driver.type == "SCRIPTED" and not curve.driver.is_simple_expression:
            yield f"{owner.name} ({curve.data_path})"
    yield from (text.name for text in bpy.data.texts if text.use_module)


def drivers() -> Iterator[tuple[Any, Any]]:
    """Every driver of the file with the data-block that it drives, or whose nodes it drives."""
    everything = "all_ids"          # 5.2 lists each block under its kind, and once more here
    kinds = (kind.identifier for kind in bpy.data.bl_rna.properties
             if kind.type == "COLLECTION" and kind.identifier != everything)
    for block in (block for kind in kinds for block in getattr(bpy.data, kind)):
        for owner in (block, getattr(block, "node_tree", None)):
            data = getattr(owner, "animation_data", None)
            yield from ((block, curve) for curve in (data.drivers if data else ()))
