"""What the background Blender does for a training clip: rays that meet what renders show, another hour of the scene's
light, the scene's own camera or a path beside it, and passes that are a capture's to the bit."""

import json
import math
import subprocess
import sys
from pathlib import Path

import bpy
import numpy as np
import pytest
from mathutils import Vector

ROOT = Path(__file__).resolve().parents[2]
ORDER = {"seed": [1, 2, 3], "frames": 3, "size": [96, 64], "moves": ["own"], "samples": 2, "view": "Standard",
         "vary_light": False, "denoise": False, "trusted": False, "threads": 1, "addons": []}  # fmt: skip


def cube(scene, name, location, size=1.0):
    bpy.ops.mesh.primitive_cube_add(size=size, location=location)
    bpy.context.object.name = name
    return bpy.context.object


def nodes(owner):
    if bpy.app.version < (5, 0):
        owner.use_nodes = True
    return owner.node_tree


# --- rays ---------------------------------------------------------------------------------------------------------


def test_rays_meet_what_renders_show(scene):
    """Five cubes in a row: hidden in renders, unseen by cameras, only fog, in a hidden collection; the last one is met,
    though the viewport hides it."""
    from shotlock.operators import clip_scout

    cube(scene, "Not rendered", (0, 2, 0)).hide_render = True
    cube(scene, "Not seen", (0, 4, 0)).visible_camera = False
    fog = bpy.data.materials.new("Fog")
    tree = nodes(fog)
    tree.nodes.clear()
    volume, end = tree.nodes.new("ShaderNodeVolumePrincipled"), tree.nodes.new("ShaderNodeOutputMaterial")
    tree.links.new(volume.outputs[0], end.inputs["Volume"])
    cube(scene, "Fog", (0, 6, 0)).data.materials.append(fog)
    hidden = bpy.data.collections.new("Hidden")
    scene.collection.children.link(hidden)
    inside = cube(scene, "In a hidden collection", (0, 8, 0))
    scene.collection.objects.unlink(inside)
    hidden.objects.link(inside)
    hidden.hide_render = True
    last = cube(scene, "Seen", (0, 10, 0))
    last.hide_viewport = True
    scout = clip_scout.Scout(scene, bpy.context.view_layer)
    hits = scout(np.array([0.0, 0, 0]), np.array([[0.0, 1, 0], [0.0, 0, 1], [0.0, -1, 0]]))
    assert hits.distance[0] == pytest.approx(9.5, abs=1e-5) and not hits.behind[0] and hits.thing[0] > 0
    assert np.isinf(hits.distance[1:]).all()
    within = scout(np.array([0.0, 10, 0]), np.array([[0.0, 1, 0]]))
    assert within.behind[0], "the back of a face is told"


# --- light --------------------------------------------------------------------------------------------------------


def sun(scene, name, energy, rotation):
    lamp = bpy.data.objects.new(name, bpy.data.lights.new(name, "SUN"))
    lamp.data.energy, lamp.rotation_euler = energy, rotation
    scene.collection.objects.link(lamp)
    return lamp


def toward(lamp):
    return (lamp.matrix_world.to_3x3() @ Vector((0, 0, 1))).normalized()


HOUR = {"azimuth": 30.0, "height": 20.0, "suns": 1.5, "lamps": 0.5, "sky": 2.0}


def test_suns_turn_together_and_the_facts_follow(scene):
    """The strongest goes to the hour, a keyed and parented one too; the other keeps its angle to it."""
    from shotlock.operators import clip_light, facts

    main, other = sun(scene, "Key", 4.0, (0.3, 0.5, 0.1)), sun(scene, "Fill", 1.0, (1.0, -0.2, 0.7))
    parent = cube(scene, "Parent", (0, 0, 5))
    parent.rotation_euler = (0.4, 0.3, 0.2)
    main.parent = parent
    main.keyframe_insert("rotation_euler", frame=1)
    bpy.context.view_layer.update()
    apart = toward(main).angle(toward(other))
    clip_light.apply(scene, bpy.context.view_layer, HOUR)
    scene.frame_set(5)
    x, y, z = toward(main)
    assert math.degrees(math.atan2(y, x)) == pytest.approx(30, abs=0.01)
    assert math.degrees(math.asin(z)) == pytest.approx(20, abs=0.01)
    assert toward(main).angle(toward(other)) == pytest.approx(apart, abs=1e-4)
    assert main.data.energy == pytest.approx(6.0) and other.data.energy == pytest.approx(1.5)
    told = facts._sun(facts._lights([main, other]))
    assert told["direction"] == pytest.approx([x, y, z], abs=1e-4) and told["strength"] == pytest.approx(6.0)
    assert told["colour"][0] == 1 and told["colour"][2] < 0.9, "low suns are warm"


def test_lamps_and_sky_grow_once(scene):
    from shotlock.operators import clip_light

    data = bpy.data.lights.new("Shared", "POINT")
    data.energy = 100.0
    for name in ("One", "Two"):
        scene.collection.objects.link(bpy.data.objects.new(name, data))
    scene.world = bpy.data.worlds.new("Sky")
    tree = nodes(scene.world)
    background = next(node for node in tree.nodes if node.type == "BACKGROUND")
    background.inputs["Strength"].default_value = 0.3
    sky = tree.nodes.new("ShaderNodeTexSky")
    tree.links.new(sky.outputs[0], background.inputs["Color"])
    clip_light.apply(scene, bpy.context.view_layer, HOUR)
    assert data.energy == pytest.approx(50.0)
    assert background.inputs["Strength"].default_value == pytest.approx(0.6)
    assert math.degrees(sky.sun_elevation) == pytest.approx(20) and math.degrees(sky.sun_rotation) == pytest.approx(60)


def test_a_plain_sky_stands_in_for_a_missing_picture(scene):
    from shotlock.operators import clip_light, facts

    scene.world = bpy.data.worlds.new("Photo")
    tree = nodes(scene.world)
    background = next(node for node in tree.nodes if node.type == "BACKGROUND")
    picture = tree.nodes.new("ShaderNodeTexEnvironment")
    image = bpy.data.images.new("lost", 4, 4)
    image.source, image.filepath = "FILE", "//nowhere/lost.hdr"
    picture.image = image
    tree.links.new(picture.outputs[0], background.inputs["Color"])
    (told,) = clip_light.stand_in(scene)
    assert "lost" in told and facts._world(scene.world)["rgb"] == pytest.approx(clip_light.PLAIN_SKY, abs=1e-4)
    assert clip_light.stand_in(scene) == [], "once"


# --- cameras ------------------------------------------------------------------------------------------------------


def test_the_scenes_own_camera_is_taken_without_cuts(tiny):
    from shotlock.operators import clip_maker

    second = bpy.data.objects.new("Cam B", bpy.data.cameras.new("Cam B"))
    tiny.collection.objects.link(second)
    for frame, camera in ((1, tiny.camera), (4, second)):
        tiny.timeline_markers.new("cut", frame=frame).camera = camera
    found = set()
    for seed in range(40):
        found |= {tuple(run) for run in clip_maker.own_ranges(tiny, 2, np.random.default_rng(seed))}
    assert found == {(1, 2), (2, 3), (4, 5), (1, 3)}, "steps of one and two, never over the cut"
    second.data.type = "ORTHO"
    found = {tuple(run) for s in range(40) for run in clip_maker.own_ranges(tiny, 2, np.random.default_rng(s))}
    assert found == {(1, 2), (2, 3), (1, 3)}
    assert clip_maker.own_ranges(tiny, 9, np.random.default_rng(0)) == [], "longer than the scene"


def test_an_unknown_view_is_refused(tiny):
    from shotlock.operators import beauty
    from shotlock.operators.cameras import Refusal

    with pytest.raises(Refusal, match="no view transform 'Kodak'"):
        beauty.prepare(tiny, ORDER | {"view": "Kodak"})
    beauty.prepare(tiny, ORDER | {"view": "AgX"})
    assert beauty.facts(tiny)["view_transform"] == "AgX"


@pytest.mark.wheel
def test_a_clips_passes_are_a_captures(tiny, tools, tmp_path):
    """The scene is lit and rendered first, in the same Blender: nothing of that is left in what the passes hold."""
    lamp = cube(tiny, "Lamp", (2, -2, 1), 0.5)
    glow = bpy.data.materials.new("Glow")
    shader = next(node for node in nodes(glow).nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs["Emission Color"].default_value = (1, 0.5, 0.2, 1)
    shader.inputs["Emission Strength"].default_value = 4
    lamp.data.materials.append(glow)
    for frame, z in ((1, 1.0), (5, 2.0)):
        lamp.location.z = z
        lamp.keyframe_insert("location", frame=frame)
    made = tools.film(tmp_path, tiny)
    file, clip = tmp_path / "yard.blend", tmp_path / "clip"
    bpy.ops.wm.save_as_mainfile(filepath=str(file), copy=True)
    (clip / "state").mkdir(parents=True)
    (clip / "state" / "clip.json").write_text(json.dumps(ORDER | {"file": str(file), "frames": 5}))
    script = ROOT / "operators" / "passes.py"
    line = [sys.executable, str(script), "--", "clip_maker", str(clip)]
    child = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = child.stdout.read()  # its stdin stays open: it leaves when whoever started it is gone
    assert child.wait() == 0, said[-2000:]
    told = json.loads((clip / "state" / "captured.json").read_text())
    assert told["clip"]["move"] == "own" and [thing["name"] for thing in told["objects"]] == list(made.objects)
    assert len(list((clip / "truth").glob("*.png"))) == 5
    for pass_file in sorted((made.folder / "passes").glob("*.npy")):
        one, two = np.load(pass_file), np.load(clip / "passes" / pass_file.name)
        assert np.array_equal(one, two, equal_nan=True), pass_file.name
    for name in ("c2w", "K", "frames"):
        assert np.array_equal(np.load(made.folder / "camera.npz")[name], np.load(clip / "camera.npz")[name]), name
