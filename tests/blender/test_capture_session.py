"""A capture as the artist lives through it: their file stays as it was, scripts keep their trust, cancel is at once,
what goes wrong is said, and nothing is left running or lying about."""

import contextlib
import importlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

SKIPPED = {"rna_type", "session_uid", "bl_rna", "original", "is_evaluated", "is_runtime_data", "depsgraph",
           "uv_sculpt"}  # the last one crashes 4.2 when it is read


def told(owner, depth=3):
    """Every property of a data-block or of what hangs on it, as nested plain values."""
    if owner is None or depth == 0:
        return repr(owner) if owner is None else getattr(owner, "name", str(type(owner)))
    found = {}
    for prop in owner.bl_rna.properties:
        name = prop.identifier
        if name in SKIPPED:
            continue
        try:
            value = getattr(owner, name)
        except (AttributeError, RuntimeError, ReferenceError):
            continue
        if prop.type == "POINTER":
            is_block = isinstance(value, bpy.types.ID) and value is not owner
            found[name] = value.name if is_block else told(value, depth - 1)
        elif prop.type == "COLLECTION":
            found[name] = [told(item, depth - 1) for item in list(value)[:50]]
        else:
            found[name] = repr(value[:] if getattr(prop, "is_array", False) else value)
    return found


def state():
    """The whole file and the window's state as text."""
    blocks = {}
    for collection in ("scenes", "objects", "cameras", "meshes", "materials", "worlds", "lights", "collections",
                       "node_groups", "actions", "images", "libraries", "texts"):  # windows can't be walked safely
        blocks[collection] = {block.name: told(block) for block in getattr(bpy.data, collection)}
    window = bpy.context.window
    rest = {"file": bpy.data.filepath, "dirty": bpy.data.is_dirty, "scene": window.scene.name,
            "layer": window.view_layer.name,
            "selected": sorted(o.name for o in bpy.context.scene.objects if o.select_get()),
            "active": getattr(bpy.context.view_layer.objects.active, "name", None)}
    return json.dumps([blocks, rest], sort_keys=True, default=str)


# The artist's file


def test_the_file_stays_as_it_was(saved, tools, tmp_path):
    """Row 36: data, frame, selection, engine, passes, output folder, name and unsaved-changes mark."""
    saved.frame_set(3)
    saved.render.filepath = str(tmp_path / "renders" / "film_")
    bpy.data.objects["Box"].select_set(True)
    bpy.context.view_layer.objects.active = bpy.data.objects["Box"]
    saved.shotlock.prompt, saved.shotlock.width = "a test", 96
    state()  # in 5.2 reading a mesh's selection makes it
    on_disk, before = Path(bpy.data.filepath).read_bytes(), state()
    listed = sorted(p.name for p in tmp_path.iterdir())
    moved = []
    bpy.app.handlers.frame_change_pre.append(lambda *_: moved.append(bpy.context.scene.frame_current))
    try:
        made = tools.film(tmp_path / "job", saved)
    finally:
        bpy.app.handlers.frame_change_pre.pop()
    assert moved == [], "cameras are read in the copy"
    assert state() == before
    assert Path(bpy.data.filepath).read_bytes() == on_disk
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*listed, "job"])
    assert sorted(p.name for p in made.folder.iterdir()) == [
        "camera.npz", "job.json", "objects.npz", "passes", "state", "suns.npz"]
    assert not list((made.folder / "state").iterdir())


def compositor(scene):
    """Its nodes with all their values, and what is linked to what."""
    tree = scene.compositing_node_group if hasattr(scene, "compositing_node_group") else scene.node_tree
    links = [(link.from_node.name, link.from_socket.name, link.to_node.name, link.to_socket.name)
             for link in tree.links]
    return json.dumps([told(node) for node in tree.nodes], sort_keys=True, default=str), sorted(links)


def test_compositor_and_undo_are_as_they_were(saved, tools, tmp_path):
    """Row 36: no step is added to undo, none is lost; the next undo takes back what the artist did last."""
    saved.frame_end = 1
    if hasattr(saved, "compositing_node_group"):
        tree = saved.compositing_node_group = bpy.data.node_groups.new("Artist", "CompositorNodeTree")
    else:
        saved.use_nodes = True
        tree = saved.node_tree
    layers, blur = tree.nodes.new("CompositorNodeRLayers"), tree.nodes.new("CompositorNodeBlur")
    tree.links.new(layers.outputs["Image"], blur.inputs["Image"])
    box = bpy.data.objects["Box"]
    for x in (1.0, 2.0, 3.0):
        box.location.x = x
        bpy.ops.ed.undo_push(message=f"to {x}")
    before, passes = compositor(saved), [layer.use_pass_z for layer in saved.view_layers]
    tools.film(tmp_path / "job", saved)
    assert compositor(saved) == before and [layer.use_pass_z for layer in saved.view_layers] == passes
    for x in (2.0, 1.0):
        bpy.ops.ed.undo()
        assert bpy.data.objects["Box"].location.x == x
    for x in (2.0, 3.0):
        bpy.ops.ed.redo()
        assert bpy.data.objects["Box"].location.x == x
    assert not bpy.ops.ed.redo.poll() or bpy.ops.ed.redo() == {"CANCELLED"}


def test_unsaved_changes_are_captured(saved, tools, tmp_path):
    """The shot is what the artist sees, not what lies on the disk."""
    saved.frame_end = 1
    bpy.data.objects["Box"].location.x = 50
    made = tools.film(tmp_path / "job", saved)
    assert not made.covered("Box").any()


def test_relative_pictures_are_found_from_the_copy(saved, tools, tmp_path):
    """`//` means the artist's folder, not the copy's."""
    picture = bpy.data.images.new("Red", 8, 8)
    picture.pixels.foreach_set(np.tile(np.array([1, 0, 0, 1], np.float32), 64))
    picture.filepath_raw, picture.file_format = str(tmp_path / "red.png"), "PNG"
    picture.save()
    picture.source, picture.filepath = "FILE", "//red.png"
    made = bpy.data.materials["Red paint"]
    node = made.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = picture
    made.node_tree.links.new(node.outputs[0], made.node_tree.nodes["Principled BSDF"].inputs["Base Color"])
    bpy.data.objects["Floor"].data.materials.append(made)
    saved.frame_end = 1
    taken = tools.film(tmp_path / "deep" / "job", saved)
    floor = taken.base[0][taken.covered("Floor")].astype(float).mean(0)
    assert floor[0] > 200 and floor[1] < 150, floor
    assert not taken.capture.warnings


# Trust and what is lacking


@pytest.mark.parametrize("trusted", [True, False])
def test_python_drivers_have_the_artists_trust(saved, tools, tmp_path, trusted):
    """A scripted driver runs in the background where the artist allowed it, and is blocked where they did not."""
    driver = bpy.data.objects["Box"].driver_add("location", 0).driver
    driver.type, driver.expression = "SCRIPTED", "max([x for x in (50.0, 1.0)])"  # no simple expression: Python
    saved.frame_end = 1
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=bpy.data.filepath, use_scripts=trusted)
    bpy.context.view_layer.update()
    made = tools.film(tmp_path / "job", bpy.context.scene)
    assert made.covered("Box").any() != trusted
    assert any("scripts" in warning for warning in made.capture.warnings) != trusted


@pytest.mark.parametrize("hidden", ["viewport", "collection"])
def test_python_that_the_artist_never_ran_does_not_run_in_the_capture(saved, tools, tmp_path, hidden):
    """A file opened without trust; nothing of it was evaluated, so nothing was blocked: still it gets no trust."""
    ran = tmp_path / "ran"
    box = bpy.data.objects["Box"]
    driver = box.driver_add("location", 0).driver
    driver.type, driver.expression = "SCRIPTED", f"len(open({str(ran)!r}, 'a').name)"
    if hidden == "viewport":
        box.hide_viewport = True
    else:
        away = bpy.data.collections.new("Away")
        saved.collection.children.link(away)
        away.objects.link(box)
        saved.collection.objects.unlink(box)
        bpy.context.view_layer.layer_collection.children["Away"].exclude = True
    saved.frame_end = 1
    bpy.ops.wm.save_mainfile()
    ran.unlink(missing_ok=True)
    bpy.ops.wm.open_mainfile(filepath=bpy.data.filepath, use_scripts=False)
    assert not bpy.app.autoexec_fail and not ran.exists()
    made = tools.film(tmp_path / "job", bpy.context.scene)
    assert not ran.exists()
    assert any("Box (location)" in warning for warning in made.capture.warnings)


def test_a_driver_that_only_seems_to_have_run_is_no_sign_of_trust(saved, tools, tmp_path):
    """A muted Python driver on what is seen is never evaluated, nor blocked: it vouches for nothing that is hidden."""
    ran, box, decoy = tmp_path / "ran", bpy.data.objects["Box"], bpy.data.objects["Floor"].driver_add("location", 0)
    decoy.driver.expression, decoy.mute = "len('decoy')", True
    box.driver_add("location", 0).driver.expression = f"len(open({str(ran)!r}, 'a').name)"
    box.hide_viewport = True
    saved.frame_end = 1
    opened_again(trusted=False)
    ran.unlink(missing_ok=True)
    tools.film(tmp_path / "job", bpy.context.scene)
    assert not ran.exists()


def opened_again(trusted):
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=bpy.data.filepath, use_scripts=trusted)


@pytest.mark.parametrize("preferred", [True, False])
@pytest.mark.parametrize("trusted", [True, False])
def test_what_was_answered_at_opening_counts(saved, shotlock, trusted, preferred):
    """Whatever the preference says; and asking leaves the file, its scenes and its drivers as they were."""
    trust = importlib.import_module("shotlock.operators.trust")
    bpy.data.objects["Box"].driver_add("location", 0).driver.expression = "len('trust')"
    bpy.data.objects["Box"].hide_viewport = True
    preferences = bpy.context.preferences.filepaths
    preferences.use_scripts_auto_execute = preferred
    try:
        opened_again(trusted)
        state()
        before = state()
        assert trust.allowed() == trusted and state() == before
    finally:
        preferences.use_scripts_auto_execute = False


@pytest.mark.parametrize("preferred", [True, False])
def test_a_new_file_has_the_trust_that_the_preference_says(shotlock, preferred):
    trust = importlib.import_module("shotlock.operators.trust")
    preferences = bpy.context.preferences.filepaths
    preferences.use_scripts_auto_execute = preferred
    try:
        bpy.ops.wm.read_homefile(use_empty=True)
        bpy.data.texts.new("start.py").use_module = True
        assert trust.allowed() == preferred
    finally:
        bpy.context.preferences.filepaths.use_scripts_auto_execute = False


def test_scripts_are_found_wherever_they_are(saved, shotlock):
    """Named by the data-block; a simple expression is no Python and needs no trust."""
    trust = importlib.import_module("shotlock.operators.trust")
    assert not list(trust.python())
    node = bpy.data.materials["Red paint"].node_tree.nodes["Principled BSDF"]
    node.inputs["Roughness"].driver_add("default_value").driver.expression = "len('a')"
    bpy.data.objects["Box"].driver_add("location", 0).driver.expression = "frame * 2"
    bpy.data.texts.new("start.py").use_module = True
    found = list(trust.python())
    assert len(found) == 2 and found[0].startswith("Red paint (nodes[") and found[1] == "start.py"


def test_the_child_gets_no_more_trust_than_the_artist(tmp_path, shotlock):
    """The command line of a Blender that is a program; a wheel's capture opens the copy itself."""
    capture = importlib.import_module("shotlock.operators.capture")
    for trusted, wanted, other in ((True, "--enable-autoexec", "--disable-autoexec"),
                                   (False, "--disable-autoexec", "--enable-autoexec")):
        line = capture.command(tmp_path, trusted, "/opt/blender")
        assert line[0] == "/opt/blender" and wanted in line and other not in line
        assert line.index(wanted) < line.index(str(tmp_path / "state" / capture.COPY)), "before the file is opened"


def test_what_is_lacking_is_named(tiny, tools, tmp_path, monkeypatch):
    """A driver that fails, a picture and an add-on that are not there: each by its name, and in job.json."""
    capture = importlib.import_module("shotlock.operators.capture")
    monkeypatch.setattr(capture, "enabled_addons", lambda: ["an_addon_from_elsewhere"])
    bpy.data.objects["Box"].driver_add("scale", 2).driver.expression = "nonsense + 1"
    picture = bpy.data.images.new("Lost", 8, 8)
    picture.source, picture.filepath, picture.use_fake_user = "FILE", str(tmp_path / "lost.png"), True
    tiny.frame_end = 1
    made = tools.film(tmp_path / "job", tiny)
    said = " | ".join(made.capture.warnings)
    assert "an_addon_from_elsewhere" in said and f"missing: {tmp_path / 'lost.png'}" in said and "Box (scale)" in said
    assert made.job.scene["warnings"] == made.capture.warnings


GREASE = "GREASEPENCIL" if bpy.app.version >= (4, 3) else "GPENCIL"


def test_grease_pencil_is_named(tiny, tools, tmp_path):
    """Row 27: it is in no pass of Cycles; one that is hidden in renders is not missed."""
    add = bpy.ops.object.grease_pencil_add if GREASE == "GREASEPENCIL" else bpy.ops.object.gpencil_add
    for name, hidden in (("Sketch", False), ("Notes", True)):
        add(type="STROKE")
        bpy.context.object.name, bpy.context.object.hide_render = name, hidden
        assert bpy.context.object.type == GREASE
    tiny.frame_end = 1
    made = tools.film(tmp_path / "job", tiny)
    assert made.capture.warnings == ["Grease pencil objects are not in the passes: Sketch"]


@pytest.fixture
def flag(saved):
    """A cloth that falls past the camera, in a file that is saved; baking it to the disk is the caller's."""
    bpy.ops.mesh.primitive_grid_add(size=2, x_subdivisions=4, y_subdivisions=4, location=(0, -2, 2.2))
    thing = bpy.context.object
    thing.name = "Flag"
    cache = thing.modifiers.new("Cloth", "CLOTH").point_cache
    saved.frame_end, cache.frame_start, cache.frame_end = 10, 1, 10
    return thing


def bake(thing, to_disk):
    cache = thing.modifiers["Cloth"].point_cache
    cache.use_disk_cache = to_disk
    with bpy.context.temp_override(object=thing, active_object=thing, point_cache=cache):
        bpy.ops.ptcache.bake(bake=True)
    assert cache.is_baked


def fallen(made):
    """Rows of pixels from the flag's middle in the first frame to that in the last."""
    first, last = (np.argwhere(made.covered("Flag", i))[:, 0].mean() for i in (0, -1))
    return last - first


def test_a_simulation_without_a_cache_is_named(flag, saved, tools, tmp_path):
    saved.frame_end = 1
    assert tools.film(tmp_path / "job", saved).capture.warnings == [
        "Simulations without a baked cache may differ from the viewport: Flag"]


@pytest.mark.parametrize("to_disk", [False, True])
def test_a_baked_simulation_moves_as_it_was_baked(flag, saved, tools, tmp_path, to_disk):
    """On the disk, too: the files lie beside the artist's .blend under its name, and the copy has another."""
    bake(flag, to_disk)
    files = {file: file.read_bytes() for file in tmp_path.glob("blendcache_film/*")}
    assert bool(files) == to_disk
    saved.frame_step = 9                                            # a jump: nothing is simulated on the way
    made = tools.film(tmp_path / "job", saved)
    assert fallen(made) > 2 and not made.capture.warnings
    assert {file: file.read_bytes() for file in tmp_path.glob("blendcache_film/*")} == files
    assert not list((made.folder / "state").iterdir())


def test_a_baked_simulation_that_is_not_on_the_disk_is_named(flag, saved, tools, tmp_path):
    bake(flag, True)
    for file in tmp_path.glob("blendcache_film/*"):
        file.unlink()
    saved.frame_end = 1
    assert tools.film(tmp_path / "job", saved).capture.warnings == [
        "Baked simulations are not on the disk, and stand still: Flag"]


def test_cache_files_that_are_not_there_are_named(tiny, tools, tmp_path):
    lost = tmp_path / "lost.abc"
    lost.write_bytes(b"nothing")
    bpy.ops.cachefile.open(filepath=str(lost))
    bpy.data.cache_files[0].use_fake_user = True
    lost.unlink()
    tiny.frame_end = 1
    assert tools.film(tmp_path / "job", tiny).capture.warnings == [f"Cache files are missing: {lost}"]


def rising(saved):
    """A box that geometry nodes lift by one with every frame."""
    bpy.ops.mesh.primitive_cube_add(size=1, location=(0, -2, 0.5))
    thing = bpy.context.object
    thing.name = "Riser"
    tree = bpy.data.node_groups.new("Rise", "GeometryNodeTree")
    for way in ("INPUT", "OUTPUT"):
        tree.interface.new_socket("Geometry", in_out=way, socket_type="NodeSocketGeometry")
    source, target, begin, end, lift = (tree.nodes.new(kind) for kind in (
        "NodeGroupInput", "NodeGroupOutput", "GeometryNodeSimulationInput", "GeometryNodeSimulationOutput",
        "GeometryNodeTransform"))
    begin.pair_with_output(end)
    lift.inputs["Translation"].default_value = (0, 0, 0.3)
    for out, into in ((source, begin), (begin, lift), (lift, end), (end, target)):
        tree.links.new(next(s for s in out.outputs if s.name == "Geometry"),
                       next(s for s in into.inputs if s.name == "Geometry"))
    thing.modifiers.new("Nodes", "NODES").node_group = tree
    saved.frame_end = 6
    return thing


def test_a_simulation_of_nodes_that_was_baked_to_the_disk_is_found(saved, tools, tmp_path):
    thing = rising(saved)
    nodes = thing.modifiers["Nodes"]
    if hasattr(nodes, "bake_target"):
        nodes.bake_target = "DISK"                                      # before, there was nothing else
    nodes.bake_directory = "//baked"
    bpy.ops.wm.save_mainfile()
    bpy.ops.object.geometry_node_bake_single(
        session_uid=thing.session_uid, modifier_name="Nodes", bake_id=nodes.bakes[0].bake_id)
    assert list(tmp_path.glob("baked/**/*.json"))
    saved.frame_step = 5
    made = tools.film(tmp_path / "job", saved)
    first, last = (np.argwhere(made.covered("Riser", i))[:, 0].mean() for i in (0, -1))
    assert first - last > 5 and not made.capture.warnings
    nodes.bake_directory = "//gone"
    assert tools.film(tmp_path / "again", saved).capture.warnings == [
        "Baked simulations are not on the disk, and stand still: Riser"]


# Progress and ends


def test_progress_counts_the_frames(tiny, tools, tmp_path):
    """First those of the shot, then the maps of what the suns see: each with a count of its own."""
    capture = tools.shoot(tmp_path, tiny)
    seen = []
    while news := capture.tick():
        seen.append((news["phase"], news["done"], news["total"], news["eta"]))
        time.sleep(0.01)
    frames, light = ([told for told in seen if told[0] == phase] for phase in ("frames", "light"))
    assert seen == [*frames, *light] and capture.state == "done"
    for told, total in ((frames, 5), (light, len(np.load(tmp_path / "suns.npz")["half"]))):
        assert [done for _, done, *_ in told] == sorted(done for _, done, *_ in told)
        assert {count for _, _, count, _ in told} == {total} and told[0][1] < total
        assert not [done for _, done, _, eta in told if (eta is not None) and done == total], "nothing is left of it"
    assert light[-1][1] == light[-1][2]
    assert 0 < capture.saved_seconds < 5
    assert capture.tick() is None


@pytest.mark.skipif(bpy.app.version[:2] != (4, 5), reason="the same in every Blender: 4.5 runs this")
def test_memory_does_not_grow_with_the_shot(tiny, tools, tmp_path):
    """A frame that were held would be 4 MB and more; what is written is mapped, and not the process' own."""
    tiny.render.resolution_x, tiny.render.resolution_y, tiny.frame_end = 240, 160, 24
    capture, held = tools.shoot(tmp_path, tiny, width=240, samples=1), {}
    while capture.tick() and capture.done < 24:
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{capture._process.pid}/status").read_text()
            own = [int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("RssAnon")]
            held[capture.done] = max(held.get(capture.done, 0), *own, 0)
        time.sleep(0.01)
    assert capture.state == "running"
    capture.cancel()
    early, late = (max(held.get(i, 0) for i in some) for some in (range(5, 10), range(19, 24)))
    assert 50 < early < late + 50 and late < early + 25, held


def test_cancel_is_at_once_and_leaves_nothing(tiny, tools, tmp_path):
    tiny.frame_end = 500
    capture = tools.shoot(tmp_path, tiny)
    while capture.tick() and capture.done < 2:
        time.sleep(0.01)
    child, scratch = capture._process.pid, capture._scratch
    began = time.monotonic()
    capture.cancel()
    assert time.monotonic() - began < 1
    assert capture.state == "cancelled" and capture.tick() is None
    assert not Path(f"/proc/{child}").exists() and not scratch.exists()
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.name != "camera.npz"]
    capture.cancel()
    assert capture.state == "cancelled"


def test_a_killed_child_is_a_failure_with_a_reason(tiny, tools, tmp_path):
    tiny.frame_end = 500
    capture = tools.shoot(tmp_path, tiny)
    while capture.tick() and capture.done < 1:
        time.sleep(0.01)
    os.kill(capture._process.pid, signal.SIGKILL)
    capture.wait()
    assert capture.state == "failed" and "ended" in capture.error and "500 frames" in capture.error
    assert not list(tmp_path.rglob("*.part")) and not (tmp_path / "job.json").exists()


def test_an_error_in_the_child_is_one_sentence(tiny, tools, tmp_path):
    """The camera was mirrored by its driver only where the shot begins: known when it is evaluated."""
    tiny.frame_end = 2
    tiny.camera.driver_add("scale", 0).driver.expression = "-1 if frame == 2 else 1"
    capture = tools.shoot(tmp_path, tiny)
    capture.wait()
    assert capture.state == "failed" and "mirrored" in capture.error and "\n" not in capture.error


def test_a_full_disk_is_said_before_anything_is_written(tiny, tools, tmp_path):
    """The arrays' size is known: it is asked for beforehand."""
    tiny.frame_end = 90_000
    with pytest.raises(OSError, match="bytes and"):
        tools.shoot(tmp_path, tiny, width=4096)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_long_shots_start_soon(tiny, tools, tmp_path):
    """Ten thousand cameras are read and baked in seconds, not in the square of that."""
    tiny.frame_end = 10_000
    capture = tools.shoot(tmp_path, tiny)
    while capture.tick() and capture.done < 2:
        time.sleep(0.05)
    capture.cancel()
    assert len(np.load(tmp_path / "camera.npz")["frames"]) == 10_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a parent that can be killed")
def test_no_orphan_when_blender_dies(tiny, tools, tmp_path):
    """The artist's Blender is killed in mid-capture: its background Blender leaves by itself."""
    tiny.frame_end = 2000
    capture_module = importlib.import_module("shotlock.operators.capture")
    real = tools.shoot(tmp_path / "first", tiny)  # writes the copy and the order
    while real.tick() and real.done < 1:
        time.sleep(0.01)
    line = capture_module.command(tmp_path / "first", True)
    parent = subprocess.Popen([sys.executable, "-c", "import subprocess, sys, time\np = subprocess.Popen(sys.argv[1:], "
                               "stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)\nprint(p.pid, flush=True)\n"
                               "time.sleep(600)", *line], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    time.sleep(3)
    assert Path(f"/proc/{child}").exists()
    parent.kill()
    parent.wait()
    until = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and time.monotonic() < until:
        time.sleep(0.05)
    real.cancel()
    assert not Path(f"/proc/{child}").exists()
