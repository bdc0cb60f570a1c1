"""The panels are drawn into a layout that checks every call against Blender's own UILayout: functions, arguments,
icons, properties and operators have to exist in this Blender. How they look is for tests/gui."""

import ast
from pathlib import Path
from types import SimpleNamespace

import bpy
import pytest

FUNCTIONS = bpy.types.UILayout.bl_rna.functions
ICONS = set(FUNCTIONS["label"].parameters["icon"].enum_items.keys())


class Layout:
    """Writes down what is drawn. `said` is shared by everything that is drawn inside."""

    def __init__(self, said=None):
        object.__setattr__(self, "said", [] if said is None else said)

    def __setattr__(self, name, value):
        assert name in bpy.types.UILayout.bl_rna.properties, name

    def __getattr__(self, name):
        assert name in FUNCTIONS, f"UILayout has no {name}"
        return lambda *args, **kwargs: self.call(name, args, kwargs)

    def call(self, name, args, kwargs):
        known = FUNCTIONS[name].parameters
        assert set(kwargs) <= set(known.keys()), (name, kwargs)
        assert kwargs.get("icon", "NONE") in ICONS
        if name == "prop":
            assert args[1] in args[0].bl_rna.properties, args
        if name == "operator":
            rna = getattr(bpy.ops.shotlock, args[0].split(".")[1]).get_rna_type()
            self.said.append(f"[{kwargs.get('text', rna.name) or rna.identifier}]")
            return SimpleNamespace(**{key: None for key in rna.properties.keys()})  # noqa: SIM118
        if "text" in kwargs:
            self.said.append(kwargs["text"])
            if kwargs.get("icon") == "ERROR":
                self.said.append("(!)")
        return Layout(self.said)


def context(scene, space="VIEW_3D", width=300):
    area = SimpleNamespace(type=space)
    workspace = SimpleNamespace(sequencer_scene=scene) if bpy.app.version >= (5, 0) else SimpleNamespace()
    return SimpleNamespace(
        scene=scene, view_layer=scene.view_layers[0], area=area, region=SimpleNamespace(width=width),
        preferences=SimpleNamespace(system=SimpleNamespace(ui_scale=1.0)), sequencer_scene=scene,
        workspace=workspace, screen=bpy.data.screens["Layout"])


def drawn(panel, where) -> list[str]:
    layout = Layout()
    panel.draw(SimpleNamespace(layout=layout), where)
    return layout.said


def text(said) -> str:
    return " ".join(said)


@pytest.fixture
def shot(shotlock):
    from shotlock.panels import shot

    return shot


@pytest.fixture
def session(shotlock):
    from shotlock.operators import session

    yield session
    session.jobs.clear()


def job_of(session, scene, **values):
    from shotlock.operators.plan import plan

    scene.shotlock.prompt = "rain"
    origin = session.Origin(bpy.data.filepath, scene.name, scene.session_uid, session._opened)
    job = session.Job(plan=plan(scene), shot="Cam A", folder=Path("/nowhere/take_003"), origin=origin, **values)
    session.jobs.append(job)
    return job


def test_a_fresh_scene_is_told_what_it_lacks(scene, shot, monkeypatch):
    monkeypatch.setenv("SHOTLOCK_ENGINE_PYTHON", __file__)
    said = text(drawn(shot.SHOTLOCK_PT_shot_view3d, context(scene)))
    assert "[Generate]" in said and "has no camera" in said


def test_a_ready_shot_shows_its_size_and_length(saved, shot, monkeypatch):
    monkeypatch.setenv("SHOTLOCK_ENGINE_PYTHON", __file__)
    saved.shotlock.prompt, saved.shotlock.width = "rain", 96
    said = text(drawn(shot.SHOTLOCK_PT_shot_view3d, context(saved)))
    assert "96 x 64 px · 5 frames" in said and "[Install Engine]" not in said and "prompt is empty" not in said
    saved.frame_end, saved.frame_step = 10, 3
    assert "96 x 64 px · 4 of 10 frames" in text(drawn(shot.SHOTLOCK_PT_shot_view3d, context(saved)))


def test_size_and_length_are_shown_whenever_they_are_known(saved, shot, monkeypatch):
    monkeypatch.setenv("SHOTLOCK_ENGINE_PYTHON", __file__)
    settings, camera = saved.shotlock, saved.camera
    settings.width = 96

    def said():
        return text(drawn(shot.SHOTLOCK_PT_shot_view3d, context(saved, width=900)))

    assert "96 x 64 px · 5 frames" in said() and "prompt is empty" in said()
    saved.camera = None
    assert "96 x 64 px · 5 frames" in said() and "has no camera" in said()
    saved.camera, saved.render.resolution_y = camera, 8
    assert "px ·" not in said() and "5 frames" in said() and "too small" in said()
    saved.render.resolution_y = 64
    settings.width, settings.use_scene_range, settings.frame_start, settings.frame_end = 96, False, 9, 3
    assert "96 x 64 px" in said() and "· " not in said().partition("px")[2][:3] and "no frame at all" in said()


@pytest.mark.parametrize("width, says", [
    (600, None), (720, "Sampled at 464 x 320 px and finished at this size"),
    (1920, "Sampled at 464 x 320 px and finished at this size. Slow: 22 times the pixels of the default")])
def test_a_large_size_says_what_it_means(saved, shot, monkeypatch, width, says):
    monkeypatch.setenv("SHOTLOCK_ENGINE_PYTHON", __file__)
    saved.shotlock.width = width
    said = text(drawn(shot.SHOTLOCK_PT_shot_view3d, context(saved, width=9000)))
    assert (says in said) if says else "Sampled at" not in said
    assert ("Slow" in said) == ("Slow" in (says or ""))


def test_widths_that_are_too_small_for_a_picture_cannot_be_chosen(saved):
    saved.shotlock.width = 1
    assert saved.shotlock.width == 64
    assert type(saved.shotlock).bl_rna.properties["width"].soft_max == 1920


def test_without_an_engine_it_can_be_installed_from_here(saved, shot, monkeypatch):
    monkeypatch.delenv("SHOTLOCK_ENGINE_PYTHON", raising=False)
    said = text(drawn(shot.SHOTLOCK_PT_shot_view3d, context(saved)))       # before anything is asked of the artist
    assert "The engine is not installed yet" in said and "[Install Engine]" in said


def test_progress_takes_the_place_of_generate(saved, shot, session):
    job = job_of(session, saved, state="running", phase="Sampling", step=3, steps=8, eta=40.0)
    job.run.figure = 0.42
    said = text(drawn(shot.SHOTLOCK_PT_shot_sequencer, context(saved, "SEQUENCE_EDITOR")))
    assert "42 % · Sampling 3/8 · 40 s left" in said and "[Generate]" not in said


def test_the_status_bar_has_one_item_while_there_is_a_job(saved, session):
    from shotlock.panels import status

    idle, busy = Layout(), Layout()
    status.draw(SimpleNamespace(layout=idle), context(saved))
    job = job_of(session, saved, state="running", phase="Sampling", step=1, steps=4, eta=300.0)
    job.run.figure = 0.7
    status.draw(SimpleNamespace(layout=busy), context(saved))
    assert idle.said == [] and busy.said[0] == "Cam A: 70 % · Sampling 1/4 · 5 min left"


@pytest.mark.parametrize(("values", "expected"), [
    ({"state": "done", "placed": True, "report": {"verdict": "follows within 0.3 deg, 0.9 % · 31 dB", "follows": True}},
     "Follows within 0.3 deg, 0.9 % · 31 dB"),
    ({"state": "failed", "error": "the engine stopped"}, "[Resume Take 3]"),
    ({"state": "cancelled"}, "The shot was cancelled"),
    ({"state": "done", "placed": True, "warnings": ["The preview range is not used"]}, "The preview range is not used"),
])
def test_every_end_is_told(saved, shot, session, values, expected):
    job_of(session, saved, **values)
    assert expected in text(drawn(shot.SHOTLOCK_PT_shot_view3d, context(saved, width=900)))


def test_a_take_that_does_not_follow_is_warned_of_in_plain_words(saved, shot, session):
    from shotlock.panels import take

    where, line = context(saved, width=900), "does not follow the camera: 1 frame late"
    for follows, marked in ((True, False), (False, True), (None, False)):
        job_of(session, saved, state="done", placed=True, report={"verdict": line, "follows": follows})
        said = text(drawn(shot.SHOTLOCK_PT_shot_view3d, where))
        assert "Does not follow the camera: 1 frame late" in said and ("(!)" in said) == marked
    assert take.draw_report is shot.draw_report


def in_a_sequencer(session, saved, tmp_path):
    """A finished job, and its strip as it was placed."""
    strip = strip_of_a_take(saved, tmp_path)
    strip.shotlock.take = 3
    job_of(session, saved, state="done", placed=True)
    return strip


def test_a_take_says_where_its_strip_is(saved, shot, session, tmp_path):
    strip = in_a_sequencer(session, saved, tmp_path)
    where = context(saved, width=900)
    line = "Take 3 is in the sequencer: channel 1, frames 1 to 1"
    assert line in text(drawn(shot.SHOTLOCK_PT_shot_view3d, where))
    strip.channel = 4                                          # wherever the artist has moved it
    assert "channel 4" in text(drawn(shot.SHOTLOCK_PT_shot_view3d, where))
    strip.shotlock.take = 2
    assert "in the sequencer" not in text(drawn(shot.SHOTLOCK_PT_shot_view3d, where))


def test_the_way_to_the_sequencer_is_a_button_where_there_is_one_to_show(saved, shot, session, tmp_path):
    in_a_sequencer(session, saved, tmp_path)
    where = context(saved, width=900)
    said = text(drawn(shot.SHOTLOCK_PT_shot_view3d, where))
    assert "press + after the workspace tabs" in said and "[Show in Sequencer]" not in said
    assert not bpy.ops.shotlock.show_take.poll()
    bpy.data.screens["Rendering"].areas[0].type = "SEQUENCE_EDITOR"
    said = text(drawn(shot.SHOTLOCK_PT_shot_view3d, where))
    assert "[Show in Sequencer]" in said and "press +" not in said
    layouts = [[area.type for area in screen.areas] for screen in bpy.data.screens]
    assert bpy.ops.shotlock.show_take() == {"FINISHED"}
    assert layouts == [[area.type for area in screen.areas] for screen in bpy.data.screens]
    where.screen = bpy.data.screens["Rendering"]               # whoever sees one needs no way there
    assert "[Show in Sequencer]" not in text(drawn(shot.SHOTLOCK_PT_shot_view3d, where))


@pytest.mark.parametrize(("origin", "expected"), [
    (("/other.blend", "Scene", 1, -1), "it is placed when other.blend is opened"),   # named as the open file's scene
    (("", "Scene", 1, -1), "its file was closed without being saved"),
    (("", "Elsewhere", 0, None), "its scene Elsewhere is not in this file"),
])
def test_a_take_without_its_scene_is_offered(saved, shot, session, origin, expected):
    job = job_of(session, saved, state="done")
    *rest, opened = origin
    job.origin = session.Origin(*rest, session._opened if opened is None else opened)
    said = text(drawn(shot.SHOTLOCK_PT_shot_view3d, context(saved, width=900)))
    assert expected in said and "[Place It Here]" in said


def test_a_strip_that_was_undone_can_be_placed_again(saved, shot, session, tmp_path):
    """Wherever else the take is shown, it is not offered."""
    strip = in_a_sequencer(session, saved, tmp_path)
    where = context(saved, width=900)
    assert "Again" not in text(drawn(shot.SHOTLOCK_PT_shot_view3d, where))
    strip.shotlock.take = 2
    assert "[Place Take 3 Again]" in text(drawn(shot.SHOTLOCK_PT_shot_view3d, where))
    session.jobs[-1].state = "failed"
    assert "Again" not in text(drawn(shot.SHOTLOCK_PT_shot_view3d, where))


def strip_of_a_take(scene, tmp_path):
    from shotlock.operators import compat

    (tmp_path / "take_001" / "frames").mkdir(parents=True)
    (tmp_path / "take_001" / "report.json").write_text('{"verdict": "follows within 1 deg", "follows": true}')
    strip = compat.add_image_strip(scene, "x", [str(tmp_path / "take_001" / "frames" / "000001.png")], 1, 1)
    strip.shotlock.job, strip.shotlock.shot, strip.shotlock.take = str(tmp_path / "take_001"), "Cam A", 1
    compat.select_only(scene, strip)
    return strip


def test_what_bites_later_is_said(saved, shot, tmp_path):
    strip_of_a_take(saved, tmp_path)
    saved.view_settings.view_transform = "AgX"
    said = text(drawn(shot.SHOTLOCK_PT_shot_view3d, context(saved, width=900)))
    assert "F12 renders this scene's strips, not its 3D view" in said
    assert "[Match Strips to View]" in said and "[Set View to Standard]" in said
    assert said.count("AgX changes takes' colours") == 1 and "dulls" not in said
    assert bpy.ops.shotlock.keep_view() == {"FINISHED"}
    assert "AgX" not in text(drawn(shot.SHOTLOCK_PT_shot_view3d, context(saved, width=900)))
    saved.view_settings.exposure = 1                           # another state, which is told once more
    assert "View settings change takes' colours" in text(drawn(shot.SHOTLOCK_PT_shot_view3d, context(saved, width=900)))
    saved.render.use_sequencer = False
    assert "F12" not in text(drawn(shot.SHOTLOCK_PT_shot_view3d, context(saved)))


@pytest.mark.skipif(bpy.app.version < (5, 0), reason="before 5.0 a sequencer always shows the window's scene")
def test_a_sequencer_that_shows_another_scene_or_none(saved, shot):
    where = context(saved, "SEQUENCE_EDITOR", width=900)
    where.sequencer_scene = where.workspace.sequencer_scene = bpy.data.scenes.new("Edit")
    assert "this sequencer shows Edit" in text(drawn(shot.SHOTLOCK_PT_shot_sequencer, where))
    where.sequencer_scene = where.workspace.sequencer_scene = None
    assert "[Show This Scene's Strips]" in text(drawn(shot.SHOTLOCK_PT_shot_sequencer, where))


def test_the_takes_panel_shows_what_it_was_made_with(saved, tmp_path):
    from shotlock.panels import take

    where = context(saved, "SEQUENCE_EDITOR")
    assert not take.SHOTLOCK_PT_take.poll(where)
    strip_of_a_take(saved, tmp_path)
    assert take.SHOTLOCK_PT_take.poll(where)
    said = text(drawn(take.SHOTLOCK_PT_take, where))
    assert "Cam A · take 1" in said and "Follows within 1 deg" in said and "[Use These Settings]" in said
    assert take.SHOTLOCK_PT_take_settings.bl_parent_id == "SHOTLOCK_PT_take"
    drawn(take.SHOTLOCK_PT_take_settings, where)


def counted(monkeypatch, owner, name):
    """How often that function is called from now on; it does what it always did."""
    calls, original = [], getattr(owner, name)

    def count(*arguments, **more):
        calls.append(arguments)
        return original(*arguments, **more)

    monkeypatch.setattr(owner, name, count)
    return calls


def test_a_redraw_plans_nothing_and_asks_no_disk_and_yet_sees_every_change(saved, shot, tmp_path, monkeypatch):
    import os

    from shotlock.operators import plan
    from shotlock.panels import take

    strip_of_a_take(saved, tmp_path)
    saved.shotlock.prompt, saved.shotlock.width = "rain", 96
    where = context(saved, "SEQUENCE_EDITOR", width=900)

    def redraw():
        return text(drawn(shot.SHOTLOCK_PT_shot_sequencer, where) + drawn(take.SHOTLOCK_PT_take, where))

    bpy.data.objects["Box"].shotlock.prompt = "marble"
    redraw()
    plans = counted(monkeypatch, plan, "plan")
    looks = [counted(monkeypatch, os, name) for name in ("stat", "scandir", "listdir", "open")]
    first = redraw()
    assert redraw() == first and plans == [] and looks == [[], [], [], []]
    assert "96 x 64 px · 5 frames" in first
    saved.frame_end = 9
    assert "96 x 64 px · 9 frames" in redraw() and len(plans) == 1
    saved.shotlock.prompt = ""
    assert "prompt is empty" in redraw() and len(plans) == 2
    saved.shotlock.prompt, saved.camera = "rain", None
    assert "has no camera" in redraw() and len(plans) == 3


def test_what_others_do_on_the_disk_is_seen_soon(saved, tmp_path, monkeypatch):
    from shotlock.operators import memory
    from shotlock.panels import take

    strip_of_a_take(saved, tmp_path)
    where = context(saved, "SEQUENCE_EDITOR", width=900)
    assert "is not at" not in text(drawn(take.SHOTLOCK_PT_take, where))
    (tmp_path / "take_001").rename(tmp_path / "elsewhere")
    looked = memory.time.monotonic()
    while "is not at" not in text(drawn(take.SHOTLOCK_PT_take, where)):
        assert memory.time.monotonic() - looked < 5 * memory.SECONDS
        memory.time.sleep(0.1)


def stopped_take(tmp_path, number=2):
    """A take's folder as a capture leaves it, without frames."""
    import numpy as np
    from shotlock.engine import job

    folder = tmp_path / "shots" / "Cam A" / f"take_{number:03d}"
    folder.mkdir(parents=True)
    np.save(folder / "depth.npy", np.ones((2, 16, 32), np.float32))
    job.write(job.Job(folder=folder, id="a", size=(32, 16), crop=(0, 0, 32, 16), passes={"depth": "depth.npy"}))
    K = np.array([[30, 0, 16], [0, 30, 8], [0, 0, 1]], float)
    job.write_camera(folder, np.stack([np.eye(4)] * 2), np.stack([K] * 2), np.arange(2))
    return folder


def test_a_stopped_take_is_offered_for_its_own_shot_only(saved, shot, tmp_path, monkeypatch):
    from shotlock.operators import memory

    monkeypatch.setenv("SHOTLOCK_ENGINE_PYTHON", __file__)
    memory.forget()
    stopped_take(tmp_path)
    where = context(saved)
    said = text(drawn(shot.SHOTLOCK_PT_shot_view3d, where))
    assert "[Resume Take 2]" in said and "Take 2 was stopped" in said
    other = saved.camera.copy()
    saved.collection.objects.link(other)
    saved.camera = other                                       # another shot: it has no such take
    assert "Resume" not in text(drawn(shot.SHOTLOCK_PT_shot_view3d, where))
    saved.camera = bpy.data.objects["Cam A"]
    assert "[Resume Take 2]" in text(drawn(shot.SHOTLOCK_PT_shot_view3d, where))
    (tmp_path / "sub").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "sub" / "film.blend"))
    assert "Resume" not in text(drawn(shot.SHOTLOCK_PT_shot_view3d, where))


def test_a_stopped_take_of_an_earlier_unsaved_file_says_when_it_was_made(tiny, shot, tmp_path, monkeypatch):
    from shotlock.operators import memory

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("SHOTLOCK_ENGINE_PYTHON", __file__)
    for session in ("2026-11-24_091533_41", "2026-11-25_200100_42", "2026-11-25_0800_1", "notes"):
        stopped_take(tmp_path / "shotlock" / "unsaved" / session, 3)
    memory.forget()
    said = text(drawn(shot.SHOTLOCK_PT_shot_view3d, context(tiny, width=900)))
    assert "Take 3 of an unsaved file of 2026-11-25 20:01 was stopped" in said and "[Resume Take 3]" in said
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "film.blend"))
    assert "Resume" not in text(drawn(shot.SHOTLOCK_PT_shot_view3d, context(bpy.context.scene, width=900)))


def test_a_running_shot_offers_no_stopped_take(saved, shot, session, tmp_path):
    stopped_take(tmp_path)
    session.memory.forget()
    job_of(session, saved, state="running", phase="Sampling")
    assert "Resume" not in text(drawn(shot.SHOTLOCK_PT_shot_view3d, context(saved)))


def test_settings_and_preferences_draw(saved, shot):
    from shotlock.operators import properties

    drawn(shot.SHOTLOCK_PT_settings_view3d, context(saved))
    layout = Layout()
    values = SimpleNamespace(layout=layout, bl_rna=properties.ShotlockPreferences.bl_rna)
    properties.ShotlockPreferences.draw(values, context(saved))
    assert "[Install Engine]" in text(layout.said)


def test_every_object_with_a_prompt_of_its_own_is_listed_whichever_is_active(saved, shot):
    box, floor = bpy.data.objects["Box"], bpy.data.objects["Floor"]
    where = context(saved, width=900)

    def said():
        return drawn(shot.SHOTLOCK_PT_shot_view3d, where)

    def active():
        layer = bpy.context.view_layer
        return layer.objects.active.name, sorted(o.name for o in saved.objects if o.select_get())

    assert "[Box]" not in said() and "[Floor]" not in said()
    box.shotlock.prompt, floor.shotlock.prompt = "white marble", "  "
    assert "[Box]" in said() and "[Floor]" not in said()
    floor.shotlock.prompt = "wet sand"
    assert {"[Box]", "[Floor]"} <= set(said())
    for name in ("Floor", "Box"):
        assert bpy.ops.shotlock.select_object(object=name) == {"FINISHED"} and active() == (name, [name])
    floor.hide_set(True)
    with pytest.raises(RuntimeError, match="Floor is not seen in this view layer"):
        bpy.ops.shotlock.select_object(object="Floor")
    assert active() == ("Box", ["Box"]) and "[Floor]" in said()
    assert bpy.ops.shotlock.clear_object(object="Floor") == {"FINISHED"}
    assert floor.shotlock.prompt == "" and box.shotlock.prompt == "white marble"
    assert "[Floor]" not in said() and "[Box]" in said()
    bpy.data.objects.remove(box)
    assert "[Box]" not in said()
    with pytest.raises(RuntimeError, match="Box cannot be changed in this file"):
        bpy.ops.shotlock.clear_object(object="Box")


def test_of_many_objects_with_prompts_a_few_are_listed_and_the_rest_counted(saved, shot):
    for number in range(shot.MOST_THINGS + 3):
        thing = bpy.data.objects.new(f"Stone {number}", bpy.data.meshes["Cube"])
        saved.collection.objects.link(thing)
        thing.shotlock.prompt = "granite"
    said = drawn(shot.SHOTLOCK_PT_shot_sequencer, context(saved, "SEQUENCE_EDITOR", width=900))
    assert sum(line.startswith("[Stone") for line in said) == shot.MOST_THINGS
    assert "and 3 more objects with a prompt of their own" in said


def listed(monkeypatch, tmp_path, **controls):
    """A registry of models that take these inputs; their files are not looked at."""
    import json

    from shotlock.operators import memory

    file = tmp_path / "file.safetensors"
    file.write_bytes(b"")
    files = dict.fromkeys(("transformer", "text", "autoencoder"), str(file))
    models = {name: {"title": name.title(), "files": files, "variant": "Wan2.1-VACE-1.3B", "facts": {"controls": takes}}
              for name, takes in controls.items()}
    loras = {"look": {"file": str(file), "title": "My Look"}}
    (tmp_path / "models.json").write_text(json.dumps({"models": models, "loras": loras}))
    monkeypatch.setenv("SHOTLOCK_MODELS", str(tmp_path / "models.json"))
    memory.forget()


def test_the_settings_have_the_controls_that_the_model_has(saved, shot, tmp_path, monkeypatch):
    vace = ["control video", "known pixels", "first frame", "last frame", "reference images"]
    listed(monkeypatch, tmp_path, vace=vace, talk=[], ride=["camera", "first frame"])
    settings, where = saved.shotlock, context(saved, width=900)

    def said(model):
        settings.model = model
        return text(drawn(shot.SHOTLOCK_PT_settings_view3d, where))

    lite, whole, ride, talk = said("lite"), said("vace"), said("ride"), said("talk")
    assert "Lite" in lite and "4 steps, guidance 1" in lite and "From" not in lite and "LoRA" not in lite
    assert "Known Frame" in lite and "[Add Reference]" in lite
    assert "Vace" in whole and "50 steps, guidance 5" in whole
    assert "Can be told: depth, known pixels, first frame, last frame, reference pictures" in whole
    assert all(part in whole for part in ("From", "Known Frame", "[Add Reference]", "Add LoRA"))
    assert "Can be told: camera, first frame" in ride and "Known Frame" in ride and "[Add Reference]" not in ride
    assert "its frames will not follow the shot" in talk and "From" not in talk and "Known Frame" not in talk
    assert "gone (not on this machine)" in said("gone")


def props(panel, where) -> list[str]:
    """Names of the settings that a panel shows."""
    shown = []

    class Noting(Layout):
        def call(self, name, args, kwargs):
            if name == "prop":
                shown.append(args[1])
            found = super().call(name, args, kwargs)
            return Noting(self.said) if isinstance(found, Layout) else found

    panel.draw(SimpleNamespace(layout=Noting()), where)
    return shown


def test_shift_and_speed_are_shown_where_the_model_has_them(saved, shot, tmp_path, monkeypatch):
    listed(monkeypatch, tmp_path, vace=["control video"])
    settings, where = saved.shotlock, context(saved, width=900)
    speed = {"speed_compile", "speed_guidance_until", "speed_cache", "speed_products", "speed_decode"}
    for model, has in (("lite", False), ("vace", True)):
        settings.model, settings.use_speed, settings.use_recipe = model, False, False
        shown = set(props(shot.SHOTLOCK_PT_settings_view3d, where))
        assert ("shift" in shown, "use_speed" in shown, bool(speed & shown)) == (has, has, False)
        settings.use_speed, settings.use_recipe = True, True
        shown = set(props(shot.SHOTLOCK_PT_settings_view3d, where))
        assert "shift" not in shown and (speed <= shown) is has


def test_what_the_model_is_told_stands_in_the_settings(saved, shot, tmp_path, monkeypatch):
    listed(monkeypatch, tmp_path, vace=["control video", "known pixels", "reference images"])
    settings = saved.shotlock
    settings.model = "vace"
    for place, path in (("FIRST", "//shots/Cam A/take_003/frames/000001.png"), ("FRAME", "/art/barn.png")):
        entry = settings.known.add()
        entry.place, entry.frame, entry.picture = place, 7, path
    settings.references.add().picture = "//dog.png"
    settings.loras.add().name, settings.loras.add().name = "look", "lost"
    said = text(drawn(shot.SHOTLOCK_PT_settings_view3d, context(saved, width=900)))
    assert "First Frame: take_003/000001.png" in said and "Frame 7: barn.png" in said and "dog.png" in said
    assert "My Look" in said and "lost (not on this machine)" in said
    bpy.ops.shotlock.leave_out(kind="known", number=0)
    bpy.ops.shotlock.add_lora(lora="look")
    assert [entry.frame for entry in settings.known] == [7] and [lora.name for lora in settings.loras][-1] == "look"


def test_the_menus_name_what_is_there(saved, shotlock, tmp_path, monkeypatch):
    from shotlock.panels import model

    listed(monkeypatch, tmp_path, vace=[])
    assert drawn(model.SHOTLOCK_MT_models, context(saved)) == ["[Lite]", "[Vace]", "[Get Models...]"]
    assert drawn(model.SHOTLOCK_MT_loras, context(saved)) == ["[My Look]"]


def test_the_need_is_one_line_and_a_refusal_greys_generate(saved, shot, tmp_path, monkeypatch):
    from shotlock.operators import forecast, plan

    monkeypatch.setenv("SHOTLOCK_ENGINE_PYTHON", __file__)
    listed(monkeypatch, tmp_path, vace=["control video"])
    saved.shotlock.model, saved.shotlock.prompt = "vace", "rain"
    where, question = context(saved, width=2000), forecast.question(plan.plan(saved))
    assert "Asking the engine what this needs" in text(drawn(shot.SHOTLOCK_PT_shot_view3d, where))
    words = "Needs 8.2 GB of 11.0 GB that are free on this computer's memory: everything stays loaded"
    forecast._keep(question, forecast.Told(words))
    assert words in drawn(shot.SHOTLOCK_PT_shot_view3d, where)
    problem = "vace has no input for known frames: choose a VACE model, or leave them out"
    forecast._keep(question, forecast.Told(problem=problem))
    said = text(drawn(shot.SHOTLOCK_PT_shot_view3d, where))
    assert "Vace has no input for known frames" in said and not bpy.ops.shotlock.generate.poll()
    forecast.forget()


def test_the_preferences_list_models_with_size_licence_and_abilities(saved, shotlock, tmp_path, monkeypatch):
    from shotlock.operators import manager, properties

    listed(monkeypatch, tmp_path, vace=["camera"])
    part = tmp_path / "models" / "diffusion_models" / "wan2.1_t2v_1.3B_fp16.safetensors.part"
    part.parent.mkdir(parents=True)
    with part.open("wb") as stream:
        stream.truncate(2_000_000_000)                         # sparse: nothing is written
    monkeypatch.setattr(manager, "_work", SimpleNamespace(
        state="running", news={"phase": "fetch", "file": "a.safetensors"}, progress=0.5, eta=40.0))
    layout = Layout()
    values = SimpleNamespace(layout=layout, bl_rna=properties.ShotlockPreferences.bl_rna)
    properties.ShotlockPreferences.draw(values, context(saved, width=2000))
    said = text(layout.said)
    assert "Wan 2.1 VACE 1.3B 11.3 GB · Apache-2.0 [Fetch]" in said
    assert "Fetching a.safetensors · 50 % · 40 s left" in said
    assert "Can be told: depth, known pixels, first and last frame, reference pictures" in said
    assert "20 % of 9.8 GB · Apache-2.0 [Fetch Rest]" in said
    assert "Vace 0.0 MB [SHOTLOCK_OT_remove_model] Can be told: camera" in said     # a bare icon


@pytest.mark.parametrize("works", [True, False])
def test_the_network_is_asked_for_only_where_an_engine_is_needed(saved, works, monkeypatch):
    from shotlock.operators import properties

    assert not bpy.app.online_access
    monkeypatch.setenv("SHOTLOCK_ENGINE_PYTHON", __file__ if works else "/nowhere/python")
    layout = Layout()
    values = SimpleNamespace(layout=layout, bl_rna=properties.ShotlockPreferences.bl_rna)
    properties.ShotlockPreferences.draw(values, context(saved, width=2000))
    assert ("online access is off" in text(layout.said)) != works
    assert ("The engine runs with" in text(layout.said)) == works


def calls_of(tree, names):
    """Calls of functions or methods with these names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in names:
                yield name, node


ELSEWHERE = ("beauty.py", "cameras.py", "capture.py", "clip_maker.py", "facts.py", "filming.py", "lacking.py",
             "passes.py", "sunlight.py", "surroundings.py")
"""What the background Blender says is written into job.json or to the terminal, in one language."""

ROOMS = sorted(path for room in ("operators", "panels") for path in (Path(__file__).parents[2] / room).glob("*.py")
               if path.name not in ELSEWHERE)
SAYS = {"Refusal": 0, "TakeError": 0, "NoEngine": 0, "poll_message_set": 0, "report": 1, "sentence": 2}
"""Which argument of what is a sentence for the artist."""


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_sentence_can_be_translated(path):
    """Blender collects the plain strings inside these calls; a sentence that is put together before is never found."""
    assert untranslatable(ast.parse(path.read_text(encoding="utf-8"))) == []


def untranslatable(tree) -> list[str]:
    found = []
    for name, call in calls_of(tree, ("rpt_", "iface_", "n_")):
        if isinstance(call.args[0], ast.JoinedStr | ast.BinOp) or "format" in ast.dump(call.args[0]):
            found.append(f"{call.lineno}: {name}")
    for name, call in calls_of(tree, SAYS):
        if len(call.args) > SAYS[name] and isinstance(call.args[SAYS[name]], ast.JoinedStr | ast.Constant | ast.BinOp):
            found.append(f"{call.lineno}: {name}")
    return found


def test_a_sentence_that_cannot_be_translated_is_found():
    wrong = ["raise Refusal(f'{a} is no camera')", "self.report({'ERROR'}, 'No')", "x = rpt_(f'{a}')",
             "words.sentence(layout, context, 'F12')", "cls.poll_message_set('No')", "y = rpt_('{}'.format(a))"]
    assert [len(untranslatable(ast.parse(line))) for line in wrong] == [1] * len(wrong)
    assert untranslatable(ast.parse("raise Refusal(rpt_('{} is no camera').format(a))")) == []


def test_sentences_fit_the_region(saved):
    from shotlock.panels import words

    layout = Layout()
    words.sentence(layout, context(saved, width=200), "a fairly long sentence that no narrow panel holds in one line")
    assert len(layout.said) > 1 and all(len(line) <= 25 for line in layout.said)


@pytest.mark.parametrize("width", range(18, 45))
def test_a_verdict_is_broken_between_its_figures_and_never_inside_one(shotlock, width):
    from shotlock.panels import words

    lines = words.lines("Follows within 0.16 deg, 0.6 % · 34 dB", width)
    for figure in ("0.16 deg", "0.6 %", "34 dB"):
        assert sum(figure in line for line in lines) == 1, lines
    assert not [line for line in lines if line.endswith("·") or len(line) > width]
    assert len(words.lines("x 0.6 % · 34 dB", 40)) == 1 and words.lines("0.6 % · 34 dB", 40) == ["0.6 % · 34 dB"]
