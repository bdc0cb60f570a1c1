"""The demo scenes are what their scripts say: a crane clear of every wall, a dolly zoom that keeps its subject."""

import itertools
import sys
from pathlib import Path

import bpy
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", autouse=True)
def path():
    sys.path.insert(0, str(ROOT))
    yield
    sys.path.remove(str(ROOT))


def frames(scene):
    for frame in range(scene.frame_start, scene.frame_end + 1):
        scene.frame_set(frame)
        yield frame


def expected_format(scene) -> bool:
    render = scene.render
    size = render.resolution_x, render.resolution_y, render.resolution_percentage
    return (scene.frame_start, scene.frame_end, render.fps, render.fps_base, size) == (
        1,
        49,
        24,
        1.0,
        (1920, 1080, 100),
    )


def test_the_crane_rises_forward_and_stays_clear_of_walls():
    from scenes import exterior

    scene = exterior.build()
    assert expected_format(scene)
    eyes, clear = [], []
    for _ in frames(scene):
        matrix = scene.camera.matrix_world
        eyes.append(matrix.translation.copy())
        look = -matrix.col[2].xyz
        hit, where, *_ = scene.ray_cast(bpy.context.evaluated_depsgraph_get(), eyes[-1], look)
        clear.append((where - eyes[-1]).length if hit else float("inf"))
    assert all(b.z >= a.z and b.y >= a.y for a, b in itertools.pairwise(eyes))
    assert eyes[-1].z - eyes[0].z > 5.0
    assert min(clear) > 5.0


def test_the_dolly_zoom_keeps_its_subjects_size_and_place():
    from scenes import interior

    scene = interior.build()
    assert expected_format(scene)
    top, bottom = Vector(interior.SUBJECT), Vector(interior.SUBJECT)
    seen, lenses = [], []
    for _ in frames(scene):
        up = scene.camera.matrix_world.col[1].xyz
        a, b = (world_to_camera_view(scene, scene.camera, p + way * 0.3 * up) for p, way in ((top, 1), (bottom, -1)))
        seen.append((a.y - b.y, (a.x + b.x) / 2, (a.y + b.y) / 2))
        lenses.append(scene.camera.data.lens)
    assert max(lenses) / min(lenses) > 2.0
    for size, x, y in seen:
        assert size == pytest.approx(seen[0][0], rel=1e-4)
        assert (x, y) == pytest.approx((0.5, 0.5), abs=1e-4)


def test_the_ball_rolls_without_slipping():
    from scenes import interior

    scene = interior.build()
    ball = scene.objects["Striped ball"]
    way, turned = [], []
    for _ in frames(scene):
        way.append(ball.matrix_world.translation.x)
        turned.append(ball.rotation_euler.y)
    assert way[0] - way[-1] > 1.0
    for dx, angle in zip((x - way[0] for x in way), (a - turned[0] for a in turned)):
        assert angle * interior.BALL == pytest.approx(dx, abs=1e-5)


def test_the_blockout_has_no_material_and_its_camera_goes_through_nothing():
    from scenes import blockout

    scene = blockout.build()
    assert expected_format(scene)
    meshes = [thing for thing in scene.objects if thing.type == "MESH"]
    assert len(meshes) > 60 and not any(thing.data.materials for thing in meshes)
    assert {"Tree", "House", "Roof", "Road", "Ground", "Church", "Spire"} <= {thing.name for thing in meshes}
    clear, eyes = [], []
    for _ in frames(scene):
        eye, way = scene.camera.matrix_world.translation.copy(), -scene.camera.matrix_world.col[2].xyz
        hit, where, *_ = scene.ray_cast(bpy.context.evaluated_depsgraph_get(), eye, way)
        clear.append((where - eye).length if hit else float("inf"))
        eyes.append(eye)
    assert min(clear) > 5.0
    graph = bpy.context.evaluated_depsgraph_get()
    steps = [(a, b - a) for a, b in itertools.pairwise(eyes) if a != b]
    assert steps and not any(scene.ray_cast(graph, at, way, distance=way.length)[0] for at, way in steps)


@pytest.mark.parametrize("name", ["exterior", "interior"])
def test_every_surface_has_a_material_with_a_pattern_or_a_colour(name):
    import importlib

    scene = importlib.import_module(f"scenes.{name}").build()
    meshes = [thing for thing in scene.objects if thing.type == "MESH"]
    assert len(meshes) >= 15
    for thing in meshes:
        assert thing.data.materials and all(thing.data.materials), thing.name
        assert thing.data.uv_layers, thing.name
    assert sum(len(thing.data.polygons) for thing in meshes) < 80_000
