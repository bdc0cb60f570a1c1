"""The zip, built, validated and installed by Blender's own tools, in processes of their own."""

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import bpy
import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = 80_000_000     # weights are under 64 MB by rule

INSTALL = """
import bpy, addon_utils, json, os, sys
bpy.ops.extensions.package_install_files(repo="user_default", filepath=sys.argv[-1], enable_on_install=True)
name = "bl_ext.user_default.shotlock"
module = sys.modules[name]
from bl_ext.user_default.shotlock.operators import folders, install, properties
found = {
    "enabled": name in bpy.context.preferences.addons,
    "scene": bpy.context.scene.shotlock.width,
    "preferences": properties.preferences().keep_passes,
    "user": str(install.user_folder()),
    "unsaved": str(folders.unsaved_folder()),
    "torch": "torch" in sys.modules,
    "pycache": os.path.dirname(module.__file__),
    "reason": "",
}
try:
    bpy.ops.shotlock.generate()
except RuntimeError as error:
    found["reason"] = str(error)
bpy.ops.preferences.addon_disable(module=name)
found["left"] = [hasattr(bpy.types.Scene, "shotlock"), [n for n in dir(bpy.types) if "shotlock" in n.lower()]]
bpy.ops.preferences.addon_enable(module=name)
found["again"] = hasattr(bpy.types.Scene, "shotlock")
bpy.ops.wm.save_userpref()
print("FOUND", json.dumps(found))
"""

CHOOSE = """
import bpy, json, math, os, sys
folder, chosen, keeps, zipped = sys.argv[-4:]
bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
bpy.ops.extensions.package_install_files(repo="user_default", filepath=zipped, enable_on_install=True)
from bl_ext.user_default.shotlock.operators import properties, takes
preferences = properties.preferences()
preferences.takes_folder, preferences.keep_passes = chosen, keeps == "keep"
scene = bpy.context.scene
bpy.ops.mesh.primitive_cube_add()
scene.camera = bpy.data.objects.new("Cam A", bpy.data.cameras.new("Cam A"))
scene.collection.objects.link(scene.camera)
scene.camera.location, scene.camera.rotation_euler = (0, -6, 0), (math.pi / 2, 0, 0)
scene.frame_start, scene.frame_end = 1, 2
scene.shotlock.prompt, scene.shotlock.width = "rain", 96
bpy.ops.wm.save_as_mainfile(filepath=os.path.join(folder, "film.blend"))
bpy.ops.shotlock.generate()
strip = scene.sequence_editor.active_strip
take = takes.job_folder(strip)
bpy.ops.wm.save_mainfile()
bpy.ops.wm.open_mainfile(filepath=bpy.data.filepath)
strip = bpy.context.scene.sequence_editor.active_strip
print("FOUND", json.dumps({
    "take": str(take), "again": str(takes.job_folder(strip)), "holds": sorted(os.listdir(take)),
    "job": strip.shotlock.job,
    "passes": sorted(os.listdir(take / "passes")) if (take / "passes").is_dir() else [],
    "beside": sorted(name for name in os.listdir(folder) if not name.endswith("blend1"))}))
"""

LATER = """
import bpy, addon_utils, json
addon_utils.enable("bl_ext.user_default.shotlock", default_set=True)
print("FOUND", json.dumps(hasattr(bpy.types.Scene, "shotlock")))
"""

PLAIN = """
import bpy, importlib.util, json, sys
folder = sys.argv[-1]
spec = importlib.util.spec_from_file_location("odd_name", folder + "/__init__.py", submodule_search_locations=[folder])
module = sys.modules["odd_name"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.register()
from odd_name.operators import install, properties
found = {"user": str(install.user_folder()), "preferences": properties.preferences() is None}
module.unregister()
module.register()
print("FOUND", json.dumps(found))
"""


pytestmark = pytest.mark.wheel


def cli() -> Path:
    return next(Path(bpy.utils.resource_path("LOCAL")).rglob("blender_ext.py"))


def ext(*arguments: object) -> str:
    done = subprocess.run([sys.executable, "-I", str(cli()), *map(str, arguments)], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def blender(script: str, resources: Path, *arguments: object):
    """A fresh Blender with its own user folder; returns what the script found."""
    environment = os.environ | {"BLENDER_USER_RESOURCES": str(resources), "XDG_DATA_HOME": str(resources / "data")}
    done = subprocess.run([sys.executable, "-c", script, *map(str, arguments)], env=environment, capture_output=True,
                          text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    assert lines, done.stdout + done.stderr
    return json.loads(lines[-1][6:])


@pytest.fixture(scope="module")
def zipped(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("zip") / "shotlock.zip"
    ext("build", "--source-dir", ROOT, "--output-filepath", path)
    return path


def test_blenders_own_tool_accepts_it(zipped):
    ext("validate", ROOT)
    ext("validate", zipped)


def test_the_zip_holds_what_is_needed_and_nothing_else(zipped):
    with zipfile.ZipFile(zipped) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names if not name.endswith("/")}
    assert tops - {"README.md"} == {"__init__.py", "blender_manifest.toml", "LICENSE", "operators", "panels", "engine"}
    for needed in ("operators/passes.py", "engine/__main__.py", "engine/requirements.txt", "panels/shot.py"):
        assert needed in names
    shipped = {p.relative_to(ROOT).as_posix() for p in (ROOT / "engine" / "weights").glob("*.safetensors")}
    assert shipped <= set(names)
    for name in names:
        assert "__pycache__" not in name and "/test" not in name and not name.endswith((".pyc", ".blend1", ".part"))
        assert not name.startswith("engine/train/")
    assert zipped.stat().st_size < MOST_BYTES


def test_the_manifest_says_what_a_reviewer_looks_for(package):
    manifest = tomllib.loads((ROOT / "blender_manifest.toml").read_text(encoding="utf-8"))
    assert (manifest["id"], manifest["blender_version_min"]) == ("shotlock", "4.2.0")
    assert manifest["license"] == ["SPDX:GPL-3.0-or-later"]
    assert set(manifest["permissions"]) == {"files", "network"}
    for text in (manifest["tagline"], *manifest["permissions"].values()):
        assert len(text) <= 64 and text[-1].isalnum()
    from shotlock.engine import protocol

    assert manifest["version"] == protocol.SHOTLOCK


def test_installed_as_an_extension(zipped, tmp_path):
    found = blender(INSTALL, tmp_path, zipped)
    assert found["enabled"] and found["scene"] == 448 and found["preferences"] and not found["torch"]
    assert found["user"] == str(tmp_path / "extensions" / ".user" / "user_default" / "shotlock")
    assert not found["unsaved"].startswith(str(tmp_path / "extensions"))
    assert "prompt" in found["reason"] or "camera" in found["reason"]
    assert found["left"] == [False, []] and found["again"]
    assert blender(LATER, tmp_path)


@pytest.mark.parametrize("chosen, keeps", [("//../films", True), ("", False)])
def test_the_preferences_are_obeyed(zipped, tmp_path, chosen, keeps):
    """A folder for takes that the artist chose, found again after a reload; passes that go once the take is done."""
    (tmp_path / "project").mkdir()
    found = blender(CHOOSE, tmp_path, tmp_path / "project", chosen, "keep" if keeps else "drop", zipped)
    home = tmp_path / "films" / "film" if chosen else tmp_path / "project" / "shots"
    assert Path(found["take"]) == Path(found["again"]) == home / "Cam A" / "take_001"
    assert found["job"].startswith("//")
    assert found["beside"] == ["film.blend"] + ([] if chosen else ["shots"])
    assert {"frames", "job.json", "camera.npz", "report.json"} <= set(found["holds"])
    assert ("depth.npy" in found["passes"]) == keeps and ("passes" in found["holds"]) == keeps


def test_as_a_plain_package_from_a_folder_of_any_name(tmp_path):
    folder = tmp_path / "some clone-1.2 é"
    folder.symlink_to(ROOT)
    found = blender(PLAIN, tmp_path, folder)
    assert found == {"user": str(tmp_path / "data" / "shotlock"), "preferences": True}
