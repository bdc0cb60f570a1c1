"""Run inside the full Blender by test_window.py: `blender FILE --python inside.py -- FOLDER`.

Opens the Shotlock tab, asks for hands and eyes (a file each: the test moves the mouse, types and takes the pictures),
and writes down what Blender knows: the job as it went, the beat of its own timers, the strip. Presses nothing itself.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import bpy

FOLDER = Path(sys.argv[sys.argv.index("--") + 1])
ADDON = "bl_ext.user_default.shotlock"
TAB = "Shotlock"
TICK, BEAT = 0.1, 0.02      # seconds
START, PATIENCE = 30, 240   # seconds until the click is heard, and for the job
compat = importlib.import_module(f"{ADDON}.operators.compat")
session = importlib.import_module(f"{ADDON}.operators.session")
panels = importlib.import_module(f"{ADDON}.panels.shot")
takes = importlib.import_module(f"{ADDON}.operators.takes")
trust = importlib.import_module(f"{ADDON}.operators.trust")

facts: dict = {"phases": []}
asked = 0
last_beat = ("", 0.0)


# What is asked of the test

def write(path: Path, value: object) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value), encoding="utf-8")
    os.replace(part, path)


def ask(**what: object) -> Iterator[float]:
    """Waits, without holding Blender up, until the test has done it."""
    global asked
    asked += 1
    write(FOLDER / f"ask_{asked:03d}.json", what)
    while not (FOLDER / f"done_{asked:03d}").exists():
        yield TICK


def area_of(kind: str) -> bpy.types.Area:
    areas = [area for area in bpy.context.window_manager.windows[0].screen.areas if area.type == kind]
    return max(areas, key=lambda area: area.width * area.height)


def sidebar(area: bpy.types.Area) -> bpy.types.Region:
    return next(region for region in area.regions if region.type == "UI")


def box(region: bpy.types.Region) -> list[int]:
    """Left, top, right, bottom on the screen; Blender counts from the bottom."""
    height = bpy.context.window_manager.windows[0].height
    return [region.x, height - region.y - region.height, region.x + region.width, height - region.y]


def open_tab(area: bpy.types.Area) -> Iterator[float]:
    """The tab can only be chosen once the sidebar was drawn with it."""
    area.spaces.active.show_region_ui = True
    for _ in range(50):
        yield TICK
        area.tag_redraw()
        try:
            sidebar(area).active_panel_category = TAB
        except (AttributeError, TypeError):
            continue
        if sidebar(area).active_panel_category == TAB:
            yield 5 * TICK
            return
    raise RuntimeError("found no Shotlock tab in the sidebar")


def colours() -> dict[str, list[int]]:
    """The theme's colours of what the test looks for."""
    theme = bpy.context.preferences.themes[0].user_interface
    wanted = {"button": theme.wcol_tool.inner, "field": theme.wcol_text.inner, "bar": theme.wcol_progress.item}
    return {name: [round(255 * value) for value in colour[:3]] for name, colour in wanted.items()}


# What is written down

def doing() -> str:
    job = session.current()
    return f"{job.state}: {job.phase}" if job else facts["doing"]


def longest(kind: str, name: str, seconds: float) -> None:
    table = facts.setdefault(kind, {})
    table[name] = round(max(seconds, table.get(name, 0.0)), 3)


def beat() -> float:
    """How long nothing else could happen, by what was going on before and after."""
    global last_beat
    now = time.monotonic()
    if last_beat[1]:
        for name in {doing(), last_beat[0]}:
            longest("gaps", name, now - last_beat[1])
    last_beat = (doing(), now)
    return BEAT


def timed(kind: str, function: Callable) -> Callable:
    """The same function, its processor time noted: the clock of a busy machine would count other programs too."""
    def measured(*arguments: object) -> object:
        name, began = doing(), time.thread_time()
        try:
            return function(*arguments)
        finally:
            longest(kind, name, time.thread_time() - began)
    return measured


def time_drawing() -> None:
    """Blender counts the arguments of a panel's draw before it calls it."""
    measured = timed("draws", panels.ShotPanel.draw)

    def draw(self: bpy.types.Panel, context: bpy.types.Context) -> None:
        measured(self, context)

    panels.ShotPanel.draw = draw


def started() -> Iterator[float]:
    end = time.monotonic() + START
    while not session.jobs:
        if time.monotonic() > end:
            raise RuntimeError(f"no job {START} s after the click on Generate")
        yield TICK


def follow() -> Iterator[float]:
    """Until the job has ended; every phase is photographed as it begins and when it counts."""
    seen, end = set(), time.monotonic() + PATIENCE
    while (job := session.current()) is not None and time.monotonic() < end:
        stage = (doing(), job.step > 0)
        if stage not in seen:
            seen.add(stage)
            facts["phases"].append(stage[0])
            yield from ask(do="look", name=f"phase_{len(seen):02d}", box=box(sidebar(area_of("VIEW_3D"))))
        yield TICK


def outcome() -> None:
    scene = bpy.context.scene
    job = session.latest(scene)
    strips = takes.strips_in(scene)
    facts["job"] = {"state": job.state, "error": job.error, "placed": job.placed, "warnings": job.warnings,
                    "report": job.report, "copy": job.capture.saved_seconds if job.capture else None}
    facts["strips"] = [{"range": compat.strip_range(strip), "channel": strip.channel, "prompt": strip.shotlock.prompt,
                        "files": len(strip.elements), "job": str(takes.job_folder(strip))} for strip in strips]


# The story

def story() -> Iterator[float]:
    facts["doing"] = "start"
    yield 10 * TICK
    yield from probe()
    area = area_of("VIEW_3D")
    yield from open_tab(area)
    place = box(sidebar(area))
    yield from ask(do="look", name="start", box=place)
    yield from ask(do="type", box=place, colours=colours())
    yield 5 * TICK
    facts["typed"] = bpy.context.scene.shotlock.prompt
    facts["doing"] = "before"
    bpy.app.timers.register(beat)
    session.tick = timed("ticks", session.tick)
    time_drawing()
    yield from ask(do="look", name="typed", box=place)
    yield 20 * TICK
    yield from ask(do="press", box=place, colours=colours())
    yield from started()
    yield from ask(do="away", box=place)
    yield from follow()
    facts["doing"] = "after"
    yield 10 * TICK
    bpy.app.timers.unregister(beat)
    outcome()
    yield from ask(do="look", name="done", box=place)
    yield from show_take()
    yield from sequencer(area_of("VIEW_3D"))
    yield from first_save()


def probe() -> Iterator[float]:
    """Asking Blender for its trust puts a scene into the file and takes it out again: nobody may notice."""
    scenes = len(bpy.data.scenes)
    before, ran = bpy.data.is_dirty, trust._drivers_run()
    yield 10 * TICK
    facts["probe"] = {"ran": ran, "changed": [before, bpy.data.is_dirty], "scenes": [scenes, len(bpy.data.scenes)]}


def show_take() -> Iterator[float]:
    """With a Video Editing workspace in the file, as + after the tabs adds it; then back to where it began."""
    window = bpy.context.window_manager.windows[0]
    home = window.workspace
    startup = Path(bpy.utils.system_resource("SCRIPTS")) / "startup/bl_app_templates_system/Video_Editing/startup.blend"
    with bpy.context.temp_override(window=window):
        bpy.ops.workspace.append_activate(idname="Video Editing", filepath=str(startup))
    yield 5 * TICK
    window.workspace = home
    yield 5 * TICK
    yield from ask(do="look", name="way", box=box(sidebar(area_of("VIEW_3D"))))
    with bpy.context.temp_override(window=window):
        facts["pressed"] = list(bpy.ops.shotlock.show_take())
    yield 10 * TICK
    facts["shown"] = [window.workspace.name, *{area.type for area in window.screen.areas}]
    window.workspace = home
    yield 5 * TICK


def sequencer(area: bpy.types.Area) -> Iterator[float]:
    """The same tab where the strip is."""
    area.ui_type = "SEQUENCE_EDITOR"
    area.spaces.active.view_type = "SEQUENCER"
    yield 5 * TICK
    yield from open_tab(area)
    region = next(region for region in area.regions if region.type == "WINDOW")
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=area, region=region):
        bpy.ops.sequencer.view_all()
    yield 10 * TICK
    yield from ask(do="look", name="sequencer", box=box(sidebar(area)))


def first_save() -> Iterator[float]:
    """A take of a file that was never saved is offered for moving at the first save; then it is said no longer."""
    made, window = takes.job_folder(takes.strips_in(bpy.context.scene)[0]), bpy.context.window_manager.windows[0]
    with bpy.context.temp_override(window=window):
        bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    yield 10 * TICK
    folder, told = takes.new_folder("", "Crane"), told_of_moving()
    shutil.copytree(made, folder, dirs_exist_ok=True)
    takes.place(bpy.context.scene, takes.read(folder))
    yield from open_tab(area_of("VIEW_3D"))
    unsaved = told[-1]
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0]):
        bpy.ops.wm.save_as_mainfile(filepath=str(FOLDER / "first.blend"))
    yield 20 * TICK
    saved = told[-1]
    yield from ask(do="look", name="first_save", box=box(sidebar(area_of("VIEW_3D"))))
    yield from ask(do="confirm")
    yield 20 * TICK
    yield from ask(do="look", name="moved", box=box(sidebar(area_of("VIEW_3D"))))
    strip = takes.strips_in(bpy.context.scene)[0]
    facts["first save"] = {"told": [unsaved, saved, told[-1]], "job": strip.shotlock.job, "left": folder.exists()}


def told_of_moving() -> list[bool]:
    """Whether takes lie outside the file's folder, as every drawing of the panel was told."""
    asked, told = takes.has_homeless, []

    def has_homeless(*arguments: object) -> bool:
        told.append(asked(*arguments))
        return told[-1]

    takes.has_homeless = has_homeless
    return told


def end() -> None:
    write(FOLDER / "facts.json", facts)
    bpy.ops.wm.quit_blender()


steps = story()


def tick() -> float | None:
    try:
        return next(steps)
    except StopIteration:
        end()
    except Exception:
        facts["error"] = traceback.format_exc()
        end()
    return None


bpy.app.timers.register(tick, first_interval=1.0, persistent=True)
