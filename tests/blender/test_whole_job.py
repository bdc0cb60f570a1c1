"""`bpy.ops.shotlock.generate()` from a script, from the scene to the strip: on both demo scenes, and on files that
nobody here made. Short and narrow, so that every wheel can do it; real capture, real engine, real weights.

Foreign files: SHOTLOCK_FOREIGN_SCENES names a folder of .blend files, which are copied before they are opened."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import bpy
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
FOREIGN = os.environ.get("SHOTLOCK_FOREIGN_SCENES", "")
FILES = sorted(str(file.relative_to(FOREIGN)) for file in Path(FOREIGN).rglob("*.blend")) if FOREIGN else []
KNOWN = {"the-drive/main.blend": "", "no-camera/slide_negative_frames.blend": "has no camera"}  # "": is generated


@pytest.fixture
def engine(shotlock):
    """The engine's Python, which setup leaves or SHOTLOCK_ENGINE_PYTHON names."""
    from shotlock.operators import install, session

    try:
        yield install.engine_python()
    except install.NoEngine as error:
        pytest.skip(str(error))
    session.jobs.clear()


def build_demo(name, folder):
    """The demo scene as its own script makes it, saved where its takes may lie."""
    sys.path.insert(0, str(ROOT))
    try:
        importlib.import_module(f"scenes.{name}").build()
    finally:
        sys.path.remove(str(ROOT))
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / f"{name}.blend"))
    return bpy.context.scene


def generate(scene, prompt, first, last, width=128):
    """What a script of an artist's does; the one new strip."""
    from shotlock.operators import compat

    shot = scene.shotlock
    shot.prompt, shot.width, shot.frame_start, shot.frame_end = prompt, width, first, last
    before = len(compat.strips(scene))
    assert bpy.ops.shotlock.generate() == {"FINISHED"}
    strips = list(compat.strips(scene))
    assert len(strips) == before + 1
    return max(strips, key=lambda strip: strip.channel)


def assert_strip(strip, prompt, first, last):
    """Exactly the shot's length, every frame on the disk and a picture, the prompt on the strip. Returns its folder."""
    from shotlock.operators import compat, takes

    count = last - first + 1
    assert compat.strip_range(strip) == (first, last + 1) and len(strip.elements) == count
    assert strip.shotlock.prompt == prompt
    folder = takes.job_folder(strip)
    files = sorted((folder / "frames").iterdir())
    assert [file.name for file in files] == [f"{i:06d}.png" for i in range(1, count + 1)]
    pictures = [picture(file) for file in files]
    assert {shown.shape[1] for shown in pictures} == {strip.id_data.shotlock.width}
    assert all(shown.std() > 0.01 for shown in pictures)
    return folder


def picture(file):
    image = bpy.data.images.load(str(file))
    try:
        pixels = np.empty(len(image.pixels), np.float32)
        image.pixels.foreach_get(pixels)
        return pixels.reshape(image.size[1], image.size[0], 4)[..., :3]
    finally:
        bpy.data.images.remove(image)


def frozen_report(python, folder, floor):
    """The camera report of the take's first frame, repeated: what does not follow at all."""
    floor.mkdir()
    files = sorted((folder / "frames").iterdir())
    for file in files:
        shutil.copy(files[0], floor / file.name)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([python, "-m", "engine", "measure", str(folder), "--frames", str(floor)], cwd=ROOT, env=clean,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def standing(made, frame):
    """(H,W) bool: where a surface is seen that stands still."""
    placed = np.load(made.folder / "objects.npz")
    moves = np.ptp(placed["matrix"], axis=1).reshape(len(placed["index"]), -1).max(1) > 0
    return made.covered(frame=frame) & ~np.isin(made.index[frame], placed["index"][moves])


@pytest.mark.parametrize("name", ["exterior", "interior"])
def test_a_demo_scene_becomes_a_strip_that_follows_its_camera(engine, tools, tmp_path, name):
    prompt, first, last = f"golden hour in the {name}", 23, 27      # in the middle of the move, where it is quickest
    strip = generate(build_demo(name, tmp_path), prompt, first, last, width=256)
    folder = assert_strip(strip, prompt, first, last)
    made = tools.read(None, folder)
    flows = [tools.flow_error(made, i, standing(made, i)) for i in range(last - first)]
    assert max(flows) < 0.05, f"Cycles' own vectors disagree with camera and depth: {flows}"
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    floor = frozen_report(engine, folder, tmp_path / "frozen")
    assert report["lag"] == 0 and report["verdict"]
    for key in ("rot_err_deg", "trans_err_percent", "flow_epe_over_motion"):
        assert 0 < report[key] < floor[key] / 3, (key, report[key], floor[key])
    assert report["warp_psnr_db"] > floor["warp_psnr_db"] + 5


WORN = {  # of the blockout: what a thing of that name may be made of
    "Tree": {"leaves"}, "Trunk": {"brown boards", "dark boards", "pale boards"},
    "Roof": {"red tiles", "slate", "pale tiles"}, "Door": {"brown boards", "dark boards", "pale boards", "white paint"},
    "Road": {"asphalt", "cobbles", "earth"}, "Wheel": {"black paint", "brown boards", "dark boards"},
}  # fmt: skip


def test_a_blockout_is_dressed_by_what_its_objects_are_called(engine, tmp_path):
    """No object has a material: each wears something, copies the same, and a name that tells is believed."""
    strip = generate(build_demo("blockout", tmp_path), "a village street at golden hour", 30, 31, width=256)
    folder = assert_strip(strip, "a village street at golden hour", 30, 31)
    told = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    worn = json.loads((folder / "report.json").read_text(encoding="utf-8"))["finishes"]
    assert len(told["objects"]) > 40 and all(thing["bare"] for thing in told["objects"])
    kinds = {}
    for name, finish in worn.items():
        kinds.setdefault(name.split(".")[0], set()).add(finish)
    assert all(len(finishes) == 1 for finishes in kinds.values()) and len(kinds) > 12, kinds
    assert all(kinds[name] <= finishes for name, finishes in WORN.items()), kinds


@pytest.mark.skipif(not FILES, reason="SHOTLOCK_FOREIGN_SCENES names no folder with .blend files")
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_nobody_here_made_is_generated_from_or_refused_in_one_sentence(engine, tmp_path, name):
    from shotlock.operators.generate import why_not

    here = shutil.copytree(Path(FOREIGN, name).parent, tmp_path / "copy")  # links between files are relative
    bpy.ops.wm.open_mainfile(filepath=str(here / Path(name).name), load_ui=False)
    scene, prompt = bpy.context.scene, "overcast morning"
    scene.shotlock.prompt = prompt
    reason = why_not(bpy.context)
    if name in KNOWN:
        assert bool(reason) == bool(KNOWN[name]) and KNOWN[name] in reason, reason
    if reason:
        assert reason.count(". ") == 0 and "\n" not in reason
        with pytest.raises(RuntimeError, match=re.escape(reason)):
            bpy.ops.shotlock.generate()
    else:
        first, last = scene.frame_start, scene.frame_start + 2
        assert_strip(generate(scene, prompt, first, last), prompt, first, last)
