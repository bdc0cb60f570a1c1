"""A real Blender for every test here: the repository's root is loaded as the package `shotlock` whatever its folder is
called, registered once, and each test that asks for `scene` gets an empty file. Nothing is written to the user's own
Blender folders."""

import importlib.util
import math
import os
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SANDBOX = tempfile.mkdtemp(prefix="shotlock-tests-")
os.environ.setdefault("BLENDER_USER_RESOURCES", os.path.join(SANDBOX, "blender"))
os.environ["XDG_DATA_HOME"] = os.path.join(SANDBOX, "data")

bpy = pytest.importorskip("bpy", reason="these tests run inside a bpy wheel")


def pytest_configure(config) -> None:
    config.addinivalue_line("markers", "wheel: starts another Blender with the Python of the bpy wheel")
    config.addinivalue_line("markers", "any_blender: what no version of Blender changes; shown in one")


def pytest_collection_modifyitems(items) -> None:
    """A Blender that is a program runs the same tests (tests/gui/test_window.py) but for those of the wheel; of the
    wheels, 4.5 alone shows what does not depend on Blender."""
    program = bool(bpy.app.binary_path)
    skipped = {"wheel": program and "starts another Blender with the Python of the bpy wheel",
               "any_blender": not program and bpy.app.version[:2] != (4, 5) and "no version changes it: 4.5 shows it"}
    for item in items:
        for name, reason in skipped.items():
            if reason and item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=reason))


def load_package(root: Path = ROOT, name: str = "shotlock"):
    """The add-on as a package of that name, from a folder of any name, as Blender loads a plain add-on."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, root / "__init__.py", submodule_search_locations=[str(root)])
    package = importlib.util.module_from_spec(spec)
    sys.modules[name] = package
    spec.loader.exec_module(package)
    return package


def empty_file() -> None:
    """An empty file with one scene; read_factory_settings would drop enabled add-ons, this does not."""
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)


def build_tiny(scene, frames: int = 5, width: int = 96, height: int = 64, first: int = 1):
    """A floor, a box, a lamp and a camera on a straight dolly: `frames` frames from `first`."""
    bpy.ops.mesh.primitive_plane_add(size=20)
    bpy.context.object.name = "Floor"
    bpy.ops.mesh.primitive_cube_add(size=2, location=(0, 0, 1))
    bpy.context.object.name = "Box"
    paint = bpy.data.materials.new("Red paint")
    if bpy.app.version < (5, 0):
        paint.use_nodes = True
    paint.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (0.8, 0.1, 0.05, 1)
    bpy.context.object.data.materials.append(paint)
    lamp = bpy.data.objects.new("Sun", bpy.data.lights.new("Sun", "SUN"))
    lamp.rotation_euler = (0.6, 0.2, 0.4)
    scene.collection.objects.link(lamp)
    camera = bpy.data.objects.new("Cam A", bpy.data.cameras.new("Cam A"))
    camera.rotation_euler = (math.radians(75), 0, 0)
    scene.collection.objects.link(camera)
    for frame, x in ((first, -1.0), (first + frames - 1, 1.0)):
        camera.location = (x, -8, 3)
        camera.keyframe_insert("location", frame=frame)
    scene.camera = camera
    scene.frame_start, scene.frame_end = first, first + frames - 1
    scene.frame_set(first)
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = width, height, 100
    return scene


@pytest.fixture(scope="session")
def package():
    """The add-on, loaded and not registered."""
    return load_package()


@pytest.fixture(scope="session")
def shotlock(package):
    """The add-on, registered for the whole session."""
    package.register()
    yield package
    package.unregister()


@pytest.fixture
def scene(shotlock):
    """An empty scene in an empty file, with the add-on registered."""
    empty_file()
    return bpy.context.scene


@pytest.fixture
def tools():
    """tests/support/film.py: films a scene and reads the job folder back."""
    spec = importlib.util.spec_from_file_location("shotlock_tests_film", ROOT / "tests" / "support" / "film.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tiny(scene):
    """The scene of `build_tiny`: 96x64, frames 1..5."""
    return build_tiny(scene)


@pytest.fixture
def saved(tiny, tmp_path):
    """The tiny scene in a file that was saved in a temporary folder."""
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "film.blend"))
    return bpy.context.scene


@pytest.fixture
def build():
    """`build_tiny`, for tests that want another range."""
    return build_tiny


@pytest.fixture
def new_file():
    """`empty_file`, for tests that leave the file they are in."""
    return empty_file
