"""What a shot is decided to be, and what is refused, in one sentence each."""

from __future__ import annotations

import importlib
import json
from fractions import Fraction
from types import SimpleNamespace

import bpy
import pytest


@pytest.fixture
def rooms(shotlock):
    return importlib.import_module("shotlock.operators.plan")


@pytest.fixture
def plan(rooms):
    return rooms.plan


@pytest.fixture
def shot(scene):
    """A scene with a camera and a prompt."""
    add_camera(scene, "Cam A")
    scene.shotlock.prompt = "a red brick house"
    return scene


def add_camera(scene, name):
    camera = bpy.data.objects.new(name, bpy.data.cameras.new(name))
    scene.collection.objects.link(camera)
    scene.camera = scene.camera or camera
    bpy.context.view_layer.update()
    return camera


def bind(scene, frame, camera):
    scene.timeline_markers.new(f"m{frame}", frame=frame).camera = camera


def refused(plan, scene, rooms, **more):
    """The sentence with which a shot is refused."""
    with pytest.raises(rooms.Refusal) as refusal:
        plan(scene, **more)
    sentence = str(refusal.value)
    assert "\n" not in sentence and not sentence.endswith(".")
    return sentence


# --- values -------------------------------------------------------------------------------------------------------


def test_a_plan_is_plain_values_and_survives_json(shot, plan, rooms):
    made = plan(shot)
    again = rooms.Plan.from_dict(json.loads(json.dumps(made.to_dict())))
    assert again == made and hash(again) == hash(made)
    with pytest.raises(ValueError, match=r"other fields than this version's \(later\)"):
        rooms.Plan.from_dict(made.to_dict() | {"later": 1})


def test_the_settings_reach_the_plan(shot, plan):
    settings = shot.shotlock
    settings.prompt, settings.negative_prompt, settings.seed = "  clay  ", " blurry ", 12
    settings.steps, settings.guidance, settings.control_strength = 7, 2.5, 0.5
    made = plan(shot)
    assert (made.prompt, made.negative_prompt, made.seed) == ("clay", "blurry", 12)
    assert (made.steps, made.guidance, made.control_strength, made.model) == (7, 2.5, 0.5, "lite")
    assert (made.scene, made.view_layer) == (shot.name, shot.view_layers[0].name)


def test_settings_may_be_given_by_hand(shot, plan):
    settings = SimpleNamespace(prompt="clay", negative_prompt="", seed=3, camera=None, frame_start=5, frame_end=6,
                               width=320, steps=4, guidance=1, control_strength=1, model="lite")
    made = plan(shot, settings=settings)
    assert made.frames == (5, 6) and made.crop[2] == 320
    settings.frame_start = settings.frame_end = 0  # neither is set: the scene's
    assert plan(shot, settings=settings).frames == tuple(range(shot.frame_start, shot.frame_end + 1))


def test_planning_changes_nothing(shot, plan):
    """Row 36."""
    other = add_camera(shot, "Cam B")
    bind(shot, 3, other)
    shot.frame_set(2)
    shot.camera = bpy.data.objects["Cam A"]
    plan(shot)
    assert (shot.frame_current, shot.camera.name) == (2, "Cam A")


# --- size ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resolution, crop, size", [
    ((1920, 1080), (448, 252), (448, 256)), ((1080, 1920), (252, 448), (256, 448)),
    ((1000, 1000), (336, 336), (336, 336)), ((832, 480), (442, 255), (448, 256)),
])
def test_the_default_is_448_wide_or_as_many_pixels(shot, plan, resolution, crop, size):
    shot.render.resolution_x, shot.render.resolution_y = resolution
    made = plan(shot)
    assert (made.crop[2:], made.size) == (crop, size)


@pytest.mark.parametrize("resolution", [(1920, 803), (2048, 858), (720, 576), (803, 1920), (4096, 1716), (641, 359)])
def test_any_shape_gets_as_many_pixels_and_keeps_its_shape(shot, plan, resolution):
    shot.render.resolution_x, shot.render.resolution_y = resolution
    made = plan(shot)
    x, y, w, h = made.crop
    assert w * h == pytest.approx(448 * 252, rel=0.025)
    assert abs(w * resolution[1] / resolution[0] - h) < 0.2  # pixels that the shape is off: a fifth of one
    assert all(side % 16 == 0 and 0 <= side - part < 16 for side, part in zip(made.size, (w, h)))
    assert (x, y) == ((made.size[0] - w) // 2, (made.size[1] - h) // 2)


@pytest.mark.parametrize("width, crop, size", [(320, (0, 6, 320, 180), (320, 192)), (448, (0, 2, 448, 252), (448, 256)),
                                               (101, (5, 3, 101, 57), (112, 64))])
def test_an_explicit_width_is_the_crops(shot, plan, width, crop, size):
    shot.shotlock.width = width
    made = plan(shot)
    assert (made.crop, made.size) == (crop, size)


def test_a_width_that_was_chosen_is_obeyed_in_portrait_too(shot, plan):
    shot.render.resolution_x, shot.render.resolution_y = 1080, 1920
    shot.shotlock.width = 448
    assert plan(shot).crop[2:] == (448, 796)


def test_the_shape_is_that_of_the_saved_picture(shot, plan):
    """Row 4: 101x57 at half size is 50x28."""
    shot.render.resolution_x, shot.render.resolution_y, shot.render.resolution_percentage = 101, 57, 50
    shot.shotlock.width = 200
    assert plan(shot).crop[2:] == (200, 112)


def test_pixel_aspect_does_not_squeeze_the_strip(shot, plan):
    """Row 3: the crop has the resolution's shape, so its pixels are as wide as the canvas' are."""
    shot.render.resolution_x, shot.render.resolution_y = 720, 576
    shot.render.pixel_aspect_x = 1.5
    made = plan(shot)
    assert made.crop[2] / made.crop[3] == pytest.approx(720 / 576, rel=2e-3) and made.pixel_aspect == (1.5, 1.0)


@pytest.mark.parametrize("width, height, word", [(4000, 20, "small"), (20, 4000, "large")])
def test_a_picture_without_room_is_refused(shot, plan, rooms, width, height, word):
    shot.render.resolution_x, shot.render.resolution_y = width, height
    shot.shotlock.width = 448
    assert f"is too {word}" in refused(plan, shot, rooms)


def test_a_percentage_that_leaves_no_pixel_is_refused(shot, plan, rooms):
    shot.render.resolution_x, shot.render.resolution_percentage = 50, 1
    assert "renders 0x10 pixels" in refused(plan, shot, rooms)


# --- time ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start, end, step", [(1, 5, 1), (1, 10, 2), (0, 0, 1), (9990, 10020, 3),
                                              (4, 5, 9)])
def test_the_frames_are_the_scenes_by_its_step(shot, plan, start, end, step):
    """Rows 13, 15, 35."""
    shot.frame_start, shot.frame_end, shot.frame_step = start, end, step
    made = plan(shot)
    assert made.frames == tuple(range(start, end + 1, step)) and made.last == end


def test_a_shots_own_range(shot, plan):
    """Row 15: it may lie before zero, where Blender's own range cannot."""
    shot.shotlock.frame_start, shot.shotlock.frame_end = -12, -9
    assert plan(shot).frames == (-12, -11, -10, -9)


def test_the_preview_range_is_not_used_and_that_is_said(shot, plan):
    """Row 13."""
    shot.frame_start, shot.frame_end = 1, 8
    assert plan(shot).notes == ()
    shot.use_preview_range = True
    shot.frame_preview_start, shot.frame_preview_end = 3, 4
    made = plan(shot)
    assert len(made.frames) == 8 and "preview range is not used" in made.notes[0]


def test_an_empty_range_is_refused(shot, plan, rooms):
    shot.shotlock.frame_start, shot.shotlock.frame_end = 9, 3
    assert "starts at frame 9 and ends at 3" in refused(plan, shot, rooms)


def test_a_range_beyond_a_job_is_refused(shot, plan, rooms):
    shot.frame_end = 200_000
    assert "has 200000 frames, and 100000 is the most" in refused(plan, shot, rooms)


@pytest.mark.parametrize("fps, base, exact", [(24, 1.0, (24, 1)), (24, 1.001, (24000, 1001)),
                                              (30, 1.001, (30000, 1001)), (60, 1.0, (60, 1)), (25, 1.0, (25, 1)),
                                              (120, 1.00123, None)])
def test_the_frame_rate_is_exact(shot, plan, fps, base, exact):
    """Row 12: over 60 s the plan and Blender agree within a millisecond."""
    shot.render.fps, shot.render.fps_base = fps, base
    made = plan(shot)
    assert exact is None or made.fps == exact
    frames = round(60 * fps / base)
    assert abs(Fraction(frames) / Fraction(*made.fps) - frames * shot.render.fps_base / fps) < 1e-3
    assert made.seconds == pytest.approx(len(made.frames) * base / fps, rel=1e-6)


# --- cameras ------------------------------------------------------------------------------------------------------


def test_cuts_are_where_a_camera_starts(shot, plan):
    """Rows 10, 11: indices into the shot, exact, with the first camera bound before its start."""
    second, third = add_camera(shot, "Cam B"), add_camera(shot, "Cam C")
    for frame, camera in ((-5, third), (4, second), (6, second), (9, shot.camera)):
        bind(shot, frame, camera)
    shot.frame_start, shot.frame_end = 1, 10
    made = plan(shot)
    assert made.cameras == ("Cam C",) * 3 + ("Cam B",) * 5 + ("Cam A",) * 2
    assert made.cuts == (0, 3, 8)


def test_the_cut_is_exact_where_steps_pass_over_the_marker(shot, plan):
    bind(shot, 0, shot.camera)
    bind(shot, 4, add_camera(shot, "Cam B"))
    shot.frame_start, shot.frame_end, shot.frame_step = 1, 9, 2
    assert plan(shot).cuts == (0, 2)  # frames 1, 3 | 5, 7, 9


def test_the_cameras_per_frame_are_those_blender_switches_to(shot, plan):
    """Row 10."""
    for frame, name in ((3, "Cam B"), (7, "Cam C")):
        bind(shot, frame, add_camera(shot, name))
    shot.frame_start, shot.frame_end = 1, 9
    made = plan(shot)
    switched = []
    for frame in made.frames:
        shot.frame_set(frame)
        switched.append(shot.camera.name)
    assert made.cameras == tuple(switched)


def test_a_named_camera_overrides_markers(shot, plan):
    bind(shot, 3, add_camera(shot, "Cam B"))
    shot.shotlock.camera = bpy.data.objects["Cam A"]
    made = plan(shot)
    assert set(made.cameras) == {"Cam A"} and made.cuts == (0,)


def test_no_camera_is_refused(scene, plan, rooms):
    """Row 24."""
    scene.shotlock.prompt = "clay"
    assert refused(plan, scene, rooms).startswith(f'The scene "{scene.name}" has no camera: add one')


def test_an_empty_scene_is_a_shot(shot, plan):
    """Row 24: a sky is a picture too, and so is the inside of a mesh."""
    assert len(plan(shot).frames) == 250
    bpy.ops.mesh.primitive_cube_add(size=1)  # around the camera
    assert len(plan(shot).frames) == 250


@pytest.mark.parametrize("kind, name", [("ORTHO", "orthographic"), ("PANO", "panoramic"), ("CUSTOM", "custom")])
def test_a_lens_without_k_is_refused_by_name(shot, plan, rooms, kind, name):
    """Rows 6, 7: also where a marker brings it in on one frame only."""
    if kind not in shot.camera.data.bl_rna.properties["type"].enum_items:
        pytest.skip(f"this Blender has no lens type {kind}")
    odd = add_camera(shot, "Odd")
    odd.data.type = kind
    bind(shot, 0, shot.camera)
    bind(shot, 5, odd)
    assert refused(plan, shot, rooms).startswith(f'The camera "Odd" is {name}')


@pytest.mark.parametrize("kind, name", [("EQUIRECTANGULAR", "Equirectangular"),
                                        ("FISHEYE_EQUIDISTANT", "Fisheye Equidistant")])
def test_a_panorama_is_refused_by_its_kind(shot, plan, rooms, kind, name):
    """Row 7."""
    shot.camera.data.type, shot.camera.data.panorama_type = "PANO", kind
    assert f"panoramic ({name})" in refused(plan, shot, rooms)


def test_what_is_no_camera_is_refused(shot, plan, rooms):
    """Blender films through any object; a lamp has no lens."""
    lamp = bpy.data.objects.new("Lamp", bpy.data.lights.new("Lamp", "SPOT"))
    shot.collection.objects.link(lamp)
    shot.camera = lamp
    assert refused(plan, shot, rooms).startswith('"Lamp" is filming but is no camera (light)')


def test_a_mirrored_camera_is_refused(shot, plan, rooms):
    """Row 8."""
    shot.camera.scale = (-1, 1, 1)
    bpy.context.view_layer.update()
    assert '"Cam A" is mirrored' in refused(plan, shot, rooms)


def test_a_sheared_camera_is_filmed_and_that_is_said(shot, plan):
    """Row 8."""
    rig = bpy.data.objects.new("Rig", None)
    shot.collection.objects.link(rig)
    rig.scale, shot.camera.parent, shot.camera.rotation_euler = (3, 1, 1), rig, (0.5, 0.5, 0.5)
    bpy.context.view_layer.update()
    assert 'The camera "Cam A" is sheared by' in plan(shot).notes[0]


@pytest.mark.parametrize("views", ["STEREO_3D", "MULTIVIEW"])
def test_stereo_is_refused(shot, plan, rooms, views):
    """Row 21."""
    shot.render.use_multiview, shot.render.views_format = True, views
    assert "turn Stereoscopy off" in refused(plan, shot, rooms)


# --- the rest -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
def test_a_prompt_that_no_job_takes_is_refused_before_the_capture(shot, plan, rooms, field):
    """What job.json refuses is said while it can still be mended for nothing."""
    setattr(shot.shotlock, field, "snow " * 4001)
    assert "at most 20000 are read" in refused(plan, shot, rooms)


@pytest.mark.parametrize("prompt", ["", "   "])
def test_an_empty_prompt_is_refused(shot, plan, rooms, prompt):
    shot.shotlock.prompt = prompt
    assert refused(plan, shot, rooms).startswith("The prompt is empty")


def test_an_unknown_model_is_refused(shot, plan, rooms):
    settings = SimpleNamespace(prompt="clay", negative_prompt="", seed=3, camera=None, frame_start=0, frame_end=0,
                               width=0, steps=4, guidance=1, control_strength=1, model="sora")
    assert 'The model "sora" is not on this machine' in refused(plan, shot, rooms, settings=settings)


def test_steps_and_guidance_are_the_models_own_until_one_is_set(shot, plan):
    settings = shot.shotlock
    made = plan(shot)
    assert (made.steps, made.guidance) == (None, None) and settings.use_recipe
    settings.guidance = 2.5
    made = plan(shot)
    assert (made.steps, made.guidance) == (4, 2.5) and not settings.use_recipe
    settings.use_recipe = True
    assert plan(shot).steps is None
    settings.steps = 9
    assert (plan(shot).steps, plan(shot).guidance) == (9, 2.5)
    settings.model = "lite"                                     # whoever chooses a model gets its own
    assert plan(shot).steps is None


def test_the_view_layer_is_the_named_or_the_first_enabled(shot, plan, rooms):
    """Row 26."""
    first, second = shot.view_layers[0], shot.view_layers.new("Second")
    assert plan(shot).view_layer == first.name
    first.use = False
    assert plan(shot).view_layer == "Second"
    named = plan(shot, first)
    assert named.view_layer == first.name and "although it is turned off" in named.notes[0]
    second.use = False
    assert "No view layer" in refused(plan, shot, rooms)
    assert 'has no view layer "Third"' in refused(plan, shot, rooms, view_layer="Third")


def test_a_render_region_is_not_used_and_that_is_said(shot, plan):
    """Row 19."""
    whole = plan(shot)
    shot.render.use_border = True
    made = plan(shot)
    assert (made.size, made.crop) == (whole.size, whole.crop) and "render region is not used" in made.notes[0]


# --- for panels ---------------------------------------------------------------------------------------------------


def _bind_second(shot):
    bind(shot, 1, shot.camera)
    bind(shot, 5, add_camera(shot, "Cam B"))


CHANGES = {
    "prompt": lambda shot: setattr(shot.shotlock, "prompt", "snow"),
    "no prompt": lambda shot: setattr(shot.shotlock, "prompt", ""),
    "negative": lambda shot: setattr(shot.shotlock, "negative_prompt", "fog"),
    "seed": lambda shot: setattr(shot.shotlock, "seed", 5),
    "steps": lambda shot: setattr(shot.shotlock, "steps", 9),
    "guidance": lambda shot: setattr(shot.shotlock, "guidance", 3),
    "dress": lambda shot: setattr(shot.shotlock, "dress", False),
    "control": lambda shot: setattr(shot.shotlock, "control_strength", 0.5),
    "own camera": lambda shot: setattr(shot.shotlock, "camera", add_camera(shot, "Cam C")),
    "own range": lambda shot: setattr(shot.shotlock, "frame_start", 5),
    "own end": lambda shot: setattr(shot.shotlock, "frame_end", 7),
    "no frame": lambda shot: setattr(shot.shotlock, "frame_start", 900),
    "width": lambda shot: setattr(shot.shotlock, "width", 320),
    "width that is the default": lambda shot: setattr(shot.shotlock, "width", 448),
    "no camera": lambda shot: setattr(shot, "camera", None),
    "markers": _bind_second,
    "another camera": lambda shot: setattr(shot, "camera", add_camera(shot, "Cam D")),
    "renamed camera": lambda shot: setattr(shot.camera, "name", "Crane"),
    "orthographic": lambda shot: setattr(shot.camera.data, "type", "ORTHO"),
    "panoramic": lambda shot: setattr(shot.camera.data, "type", "PANO"),
    "mirrored": lambda shot: setattr(shot.camera, "scale", (-1, 1, 1)),
    "renamed scene": lambda shot: setattr(shot, "name", "Attic"),
    "start": lambda shot: setattr(shot, "frame_start", 3),
    "end": lambda shot: setattr(shot, "frame_end", 30),
    "step": lambda shot: setattr(shot, "frame_step", 2),
    "preview range": lambda shot: setattr(shot, "use_preview_range", True),
    "resolution": lambda shot: setattr(shot.render, "resolution_x", 1000),
    "percentage": lambda shot: setattr(shot.render, "resolution_percentage", 1),
    "pixel aspect": lambda shot: setattr(shot.render, "pixel_aspect_x", 1.5),
    "fps": lambda shot: setattr(shot.render, "fps", 30),
    "fps base": lambda shot: setattr(shot.render, "fps_base", 1.001),
    "border": lambda shot: setattr(shot.render, "use_border", True),
    "stereo": lambda shot: setattr(shot.render, "use_multiview", True),
    "layer off": lambda shot: setattr(shot.view_layers[0], "use", False),
    "layer renamed": lambda shot: setattr(shot.view_layers[0], "name", "Main"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_panel_is_told_is_never_stale(shot, rooms, change):
    """After any change it is what planning anew gives, and the change is one that planning sees."""
    layer = shot.view_layers[0]
    shot.render.resolution_x, shot.render.resolution_y = 1080, 1920
    before = rooms.decision(shot, layer)
    CHANGES[change](shot)
    bpy.context.view_layer.update()
    after = rooms.decision(shot, layer)
    assert (after.plan, after.refusal) == planned(rooms, shot, layer) and after != before


def planned(rooms, shot, layer):
    try:
        return rooms.plan(shot, layer), ""
    except rooms.Refusal as refusal:
        return None, str(refusal)


@pytest.mark.parametrize("hidden", [False, True])
def test_stretched_time_and_hidden_cameras_move_the_cuts_of_what_a_panel_is_told(shot, rooms, hidden):
    _bind_second(shot)
    layer, before = shot.view_layers[0], rooms.decision(shot, shot.view_layers[0])
    if hidden:
        bpy.data.objects["Cam B"].hide_render = True
    else:
        shot.render.frame_map_new = 200
    after = rooms.decision(shot, layer)
    assert after.plan == rooms.plan(shot, layer) and after.plan.cuts != before.plan.cuts


def test_a_sheared_camera_is_told_as_the_plan_tells_it(shot, rooms):
    parent = bpy.data.objects.new("Uneven", None)
    shot.collection.objects.link(parent)
    shot.camera.parent, shot.camera.rotation_euler = parent, (0.4, 0.5, 0.6)
    layer = shot.view_layers[0]
    for scale in (1.0, 1.5, 1.6, 3.0):
        parent.scale[0] = scale
        bpy.context.view_layer.update()
        assert rooms.decision(shot, layer).plan == rooms.plan(shot, layer)


def test_a_shot_has_a_name_before_it_has_a_prompt(shot, rooms):
    shot.shotlock.prompt = ""
    layer = shot.view_layers[0]
    told = rooms.decision(shot, layer)
    assert told.plan is None and "prompt is empty" in told.refusal and told.shot == "Cam A"
    _bind_second(shot)
    assert rooms.decision(shot, layer).shot == shot.name
    shot.shotlock.camera = bpy.data.objects["Cam B"]
    assert rooms.decision(shot, layer).shot == "Cam B"


def test_scenes_are_told_apart(shot, rooms):
    other = bpy.data.scenes.new("Other")
    assert rooms.decision(shot, shot.view_layers[0]).plan.scene == shot.name
    assert "has no camera" in rooms.decision(other, other.view_layers[0]).refusal
    assert rooms.decision(shot, shot.view_layers[0]).plan.scene == shot.name
