"""`K` and `c2w` against Blender's own projection and pictures; which camera Blender films a frame with."""

from __future__ import annotations

import importlib
import math
import random

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Matrix, Quaternion, Vector

PIXELS = 0.01  # what a projection may be off


@pytest.fixture
def cameras(shotlock):
    return importlib.import_module("shotlock.operators.cameras")


@pytest.fixture
def size_and_crop(shotlock):
    return importlib.import_module("shotlock.operators.plan").size_and_crop


@pytest.fixture
def camera(scene):
    return add_camera(scene, "Cam")


def add_camera(scene, name):
    camera = bpy.data.objects.new(name, bpy.data.cameras.new(name))
    scene.collection.objects.link(camera)
    scene.camera = scene.camera or camera
    return camera


def place(camera, position=(3, -7, 2), target=(0.3, 0.2, 0.5), roll=0.0):
    camera.rotation_mode = "QUATERNION"
    camera.location = position
    turn = (Vector(target) - Vector(position)).to_track_quat("-Z", "Y")
    camera.rotation_quaternion = turn @ Quaternion((0, 0, 1), roll)


def evaluated(camera, frame=None):
    if frame is not None:
        bpy.context.scene.frame_set(frame)
    depsgraph = bpy.context.evaluated_depsgraph_get()
    return camera.evaluated_get(depsgraph), depsgraph


def set_size(scene, width, height, percentage=100, aspect=(1, 1)):
    render = scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = width, height, percentage
    render.pixel_aspect_x, render.pixel_aspect_y = aspect


def whole(scene, cameras):
    """A size and crop that are the render itself."""
    size = cameras.render_size(scene)
    return size, (0, 0, *size)


def intrinsics(scene, cameras, camera, size=None, crop=None, frame=None):
    seen, depsgraph = evaluated(camera, frame)
    if size is None:
        size, crop = whole(scene, cameras)
    return cameras.intrinsics(scene, seen, depsgraph, size, crop)


def by_formula(scene, data, cameras):
    """K of the render out of the camera's settings, independent of calc_matrix_camera."""
    width, height = cameras.render_size(scene)
    ax, ay = scene.render.pixel_aspect_x, scene.render.pixel_aspect_y
    fit = data.sensor_fit
    if fit == "AUTO":
        fit = "HORIZONTAL" if width * ax >= height * ay else "VERTICAL"
    sensor = data.sensor_height if data.sensor_fit == "VERTICAL" else data.sensor_width
    side = width if fit == "HORIZONTAL" else height * ay / ax
    fx = data.lens / sensor * side
    return np.array([[fx, 0, width / 2 - data.shift_x * side],
                     [0, fx * ax / ay, height / 2 + data.shift_y * side * ax / ay], [0, 0, 1]])


def points_before(c2w, count=50, seed=0):
    """World points in front of the camera, spread over more than its view."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(1, 30, count)
    local = np.stack([rng.uniform(-0.6, 0.6, count) * z, rng.uniform(-0.6, 0.6, count) * z, z], -1)
    return local @ c2w[:3, :3].T + c2w[:3, 3]


def project(points, K, c2w):
    local = (points - c2w[:3, 3]) @ c2w[:3, :3]
    uv = local @ K.T
    return uv[:, :2] / uv[:, 2:], local[:, 2]


def assert_rigid(c2w):
    rotation = c2w[:3, :3]
    assert np.abs(rotation.T @ rotation - np.eye(3)).max() < 1e-12
    assert abs(np.linalg.det(rotation) - 1) < 1e-12
    assert c2w[3].tolist() == [0, 0, 0, 1]


SIZES = [(192, 108), (108, 192), (128, 128)]


@pytest.mark.parametrize("fit", ["AUTO", "HORIZONTAL", "VERTICAL"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("aspect", [(1, 1), (2, 1), (1, 1.5), (1.3, 1)])
def test_k_is_blenders_projection(scene, cameras, camera, fit, size, aspect):
    """Rows 1, 2, 3, 5: fifty points fall where Blender's own projection puts them, shift included."""
    set_size(scene, *size, aspect=aspect)
    place(camera, roll=0.4)
    data = camera.data
    data.sensor_fit, data.lens, data.sensor_width, data.sensor_height = fit, 41, 33, 27
    data.shift_x, data.shift_y = 0.13, -0.21
    K = intrinsics(scene, cameras, camera)
    c2w = cameras.pose(evaluated(camera)[0])
    assert np.abs(K - by_formula(scene, data, cameras)).max() < 1e-3
    points = points_before(c2w)
    uv, depth = project(points, K, c2w)
    for point, (u, v), z in zip(points, uv, depth):
        x, y, z_blender = world_to_camera_view(scene, camera, Vector(point))
        assert abs(x * size[0] - u) < PIXELS and abs((1 - y) * size[1] - v) < PIXELS
        assert abs(z_blender - z) < 1e-3 * z


def test_without_shift_the_centre_is_the_middle_of_the_picture(scene, cameras, camera):
    """Row 5: pixel centres are at +0.5, so the middle is W/2, not (W-1)/2."""
    set_size(scene, 192, 108)
    K = intrinsics(scene, cameras, camera)
    assert K[:2, 2].tolist() == pytest.approx([96, 54], abs=1e-4)


@pytest.mark.parametrize("shift", [(0.25, 0), (0, 0.25)])
@pytest.mark.parametrize("size", SIZES)
def test_shift_is_in_units_of_the_fitted_side(scene, cameras, camera, shift, size):
    """Row 2: both shifts move the centre by the longer side in AUTO."""
    set_size(scene, *size)
    camera.data.shift_x, camera.data.shift_y = shift
    K = intrinsics(scene, cameras, camera)
    moved = K[:2, 2] - np.array(size) / 2
    assert moved == pytest.approx([-shift[0] * max(size), shift[1] * max(size)], abs=1e-3)


def render(scene, tmp_path, samples=1):
    """A Cycles picture (H,W,4) linear-ish, row 0 at the top."""
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising, scene.cycles.use_adaptive_sampling = samples, False, False
    scene.view_settings.view_transform = "Raw"
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "IMAGE"
    settings.file_format = "PNG"
    settings.color_depth = "16"
    scene.render.filepath = str(tmp_path / "still.png")
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(scene.render.filepath, check_existing=False)
    image.colorspace_settings.name = "Non-Color"
    pixels = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(pixels)
    width, height = image.size
    bpy.data.images.remove(image)
    return pixels.reshape(height, width, 4)[::-1]


@pytest.mark.parametrize("size, percentage", [((101, 57), 50), ((96, 64), 150), ((33, 47), 200), ((99, 99), 33),
                                              ((1920, 1080), 7)])
def test_the_size_is_that_of_the_saved_picture(scene, cameras, camera, tmp_path, size, percentage):
    """Row 4: percentages round down, as in the file that Blender writes; K is that picture's."""
    set_size(scene, *size, percentage=percentage)
    camera.data.shift_x = 0.1
    picture = render(scene, tmp_path)
    assert cameras.render_size(scene) == picture.shape[1::-1]
    assert np.abs(intrinsics(scene, cameras, camera) - by_formula(scene, camera.data, cameras)).max() < 1e-3


def add_glow(scene, position, camera_matrix, radius=0.3):
    """A square that faces the camera and glows: its middle in the picture is the projection of its middle."""
    mesh = bpy.data.meshes.new("Glow")
    corners = [(-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)]
    mesh.from_pydata([Vector(c) * radius for c in corners], [], [(0, 1, 2, 3)])
    material = bpy.data.materials.new("Glow")
    if bpy.app.version < (5, 0):
        material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    light, out = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeOutputMaterial")
    tree.links.new(light.outputs[0], out.inputs[0])
    mesh.materials.append(material)
    glow = bpy.data.objects.new("Glow", mesh)
    glow.matrix_world = Matrix.Translation(position) @ camera_matrix.to_3x3().normalized().to_4x4()
    scene.collection.objects.link(glow)
    return glow


def middle(picture):
    """(u, v) of the light's centre of gravity, pixel centres at +0.5."""
    light = picture[..., 0].astype(np.float64)
    height, width = light.shape
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    assert light.sum() > 1, "the glowing square is not in the picture"
    return (light * u).sum() / light.sum(), (light * v).sum() / light.sum()


@pytest.mark.parametrize("percentage, aspect, scale", [(100, (1, 1), (1, 1, 1)), (33, (1, 1.5), (2, 0.5, 3)),
                                                       (50, (2, 1), (-1, -1, 1))])
def test_a_glowing_square_is_rendered_where_k_and_the_pose_say(scene, cameras, camera, tmp_path, percentage, aspect,
                                                               scale):
    """Rows 3, 4, 5, 8 against real pictures: half a pixel's error would show ten times over."""
    set_size(scene, 18700 // percentage, 13300 // percentage, percentage, aspect)
    place(camera, roll=0.2)
    camera.scale = scale
    camera.data.shift_x, camera.data.shift_y = 0.05, -0.03
    bpy.context.view_layer.update()
    c2w = cameras.pose(evaluated(camera)[0])
    spot = Vector(c2w[:3, 3] + c2w[:3, :3] @ [0.5, -0.4, 7])
    add_glow(scene, spot, camera.matrix_world)
    K = intrinsics(scene, cameras, camera)
    uv, _ = project(np.array([spot]), K, c2w)
    assert middle(render(scene, tmp_path, samples=64)) == pytest.approx(uv[0], abs=0.05)


# --- the crop -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resolution, percentage, aspect", [((1920, 1080), 100, (1, 1)), ((1080, 1920), 100, (1, 1)),
                                                            ((720, 576), 100, (1.4587, 1)), ((1999, 835), 33, (1, 1))])
def test_the_artists_frame_lands_on_the_crop(scene, cameras, camera, size_and_crop, resolution, percentage, aspect):
    """Row 3: the corners of Blender's frame, wherever they are in space, fall on the corners of the crop."""
    set_size(scene, *resolution, percentage, aspect)
    place(camera)
    camera.data.shift_x = 0.2
    width, height = cameras.render_size(scene)
    size, (x, y, w, h) = size_and_crop(width / height)
    K = intrinsics(scene, cameras, camera, size, (x, y, w, h))
    c2w = cameras.pose(evaluated(camera)[0])
    own = intrinsics(scene, cameras, camera)
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]])
    rays = np.concatenate([corners, np.ones((4, 1))], 1) @ np.linalg.inv(own).T
    uv, _ = project(5 * rays @ c2w[:3, :3].T + c2w[:3, 3], K, c2w)
    assert np.abs(uv - [[x, y], [x + w, y], [x, y + h], [x + w, y + h]]).max() < PIXELS
    assert K[0, 0] / K[1, 1] == pytest.approx(aspect[1] / aspect[0], rel=1 / min(w, h))


def test_a_crop_outside_the_size_is_refused(scene, cameras, camera):
    with pytest.raises(ValueError, match=r"crop \(0, 2, 448, 252\) leaves the size \(448, 240\)"):
        intrinsics(scene, cameras, camera, (448, 240), (0, 2, 448, 252))


@pytest.mark.parametrize("lens", [0.5, 4, 35, 900])
def test_a_baked_camera_has_the_same_k_and_pose(scene, cameras, camera, lens):
    """`lens_of` and `blender_matrix` are the way back: what the background Blender renders with."""
    set_size(scene, 720, 576, aspect=(1, 1.2))
    place(camera, roll=1)
    camera.data.lens, camera.data.shift_x, camera.data.shift_y = max(1, lens), 0.3, -0.1
    camera.data.sensor_width = 36 * max(1, 1 / lens)
    size, crop = (320, 256), (3, 5, 311, 249)
    K = intrinsics(scene, cameras, camera, size, crop)
    c2w = cameras.pose(evaluated(camera)[0])

    baked, made = add_camera(scene, "Baked"), cameras.lens_of(K, size)
    baked.data.sensor_fit = "HORIZONTAL"
    for name in ("lens", "sensor_width", "shift_x", "shift_y"):
        setattr(baked.data, name, getattr(made, name))
    baked.matrix_world = Matrix(cameras.blender_matrix(c2w))
    set_size(scene, *size, aspect=(made.pixel_aspect_x, made.pixel_aspect_y))
    again = intrinsics(scene, cameras, baked)
    assert np.abs(again - K).max() < 1e-3 * max(1, lens / 35)
    assert np.abs(cameras.pose(evaluated(baked)[0]) - c2w).max() < 1e-5


def test_border_overscan_and_blur_leave_the_camera_alone(scene, cameras, camera):
    """Rows 16, 19, 20: the whole frame is filmed, at the frame itself."""
    set_size(scene, 192, 108)
    place(camera)
    camera.keyframe_insert("location", frame=1)
    camera.location.x += 4
    camera.keyframe_insert("location", frame=3)
    K, c2w = intrinsics(scene, cameras, camera, frame=2), cameras.pose(evaluated(camera)[0])
    render = scene.render
    render.use_border = render.use_crop_to_border = True
    render.border_min_x, render.border_max_x = 0.25, 0.5
    scene.eevee.use_overscan, scene.eevee.overscan_size = True, 20
    render.use_motion_blur, render.motion_blur_shutter, render.motion_blur_position = True, 1.0, "START"
    assert np.array_equal(intrinsics(scene, cameras, camera, frame=2), K)
    assert np.array_equal(cameras.pose(evaluated(camera)[0]), c2w)
    assert c2w[0, 3] == pytest.approx(5, abs=1e-5)  # half-way between the keys, not a shutter's part later


# --- the pose -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [(1, 1, 1), (3, 3, 3), (0.01, 0.01, 0.01), (2, 0.3, 5), (-1, -1, 1), (1, -2, -3)])
def test_scale_does_not_reach_the_pose(scene, cameras, camera, scale):
    """Row 8: rigid, determinant +1, and Blender's own rotation."""
    place(camera, roll=0.3)
    camera.scale = scale
    bpy.context.view_layer.update()
    c2w = cameras.pose(evaluated(camera)[0])
    assert_rigid(c2w)
    place_, turn, _ = camera.matrix_world.decompose()
    expected = np.array(Matrix.LocRotScale(place_, turn, None)) @ np.diag([1, -1, -1, 1])
    assert np.abs(c2w - expected).max() < 2e-6


@pytest.mark.parametrize("scale", [(-1, 1, 1), (1, 1, -1), (-2, -2, -2)])
def test_a_mirrored_camera_is_refused(scene, cameras, camera, scale):
    """Row 8: Blender's picture of it is reversed, which no rigid pose can say."""
    camera.scale = scale
    bpy.context.view_layer.update()
    with pytest.raises(cameras.Refusal, match='"Cam" is mirrored by a negative scale'):
        cameras.pose(evaluated(camera)[0])


def test_a_camera_of_no_size_is_refused(scene, cameras, camera):
    camera.scale = (0, 0, 0)
    bpy.context.view_layer.update()
    with pytest.raises(cameras.Refusal, match="scale of zero"):
        cameras.pose(evaluated(camera)[0])


def test_an_unevenly_scaled_parent_turns_nothing_but_what_it_shears(scene, cameras, camera):
    """Row 8: rigid all the same; the view axis stays Blender's, the shear is told in degrees."""
    parent = bpy.data.objects.new("Parent", None)
    scene.collection.objects.link(parent)
    parent.scale = (2, 1, 0.5)
    camera.parent = parent
    place(camera, roll=0.3)
    bpy.context.view_layer.update()
    c2w = cameras.pose(evaluated(camera)[0])
    assert_rigid(c2w)
    axis = np.array(camera.matrix_world)[:3, 2]
    assert c2w[:3, 2] == pytest.approx(-axis / np.linalg.norm(axis), abs=1e-6)
    assert cameras.shear(camera) > 5
    camera.parent = None
    bpy.context.view_layer.update()
    assert cameras.shear(camera) < 1e-3


def follow_a_path(scene, camera):
    curve = bpy.data.curves.new("Path", "CURVE")
    curve.dimensions, curve.use_path, curve.path_duration = "3D", True, 10
    spline = curve.splines.new("POLY")
    spline.points.add(3)
    for point, co in zip(spline.points, [(-4, -6, 1), (0, -8, 3), (4, -6, 2), (7, 0, 4)]):
        point.co = (*co, 1)
    path = bpy.data.objects.new("Path", curve)
    scene.collection.objects.link(path)
    follow = camera.constraints.new("FOLLOW_PATH")
    follow.target, follow.use_curve_follow = path, False
    curve.eval_time = 0
    curve.keyframe_insert("eval_time", frame=1)
    curve.eval_time = 10
    curve.keyframe_insert("eval_time", frame=9)
    track = camera.constraints.new("TRACK_TO")
    track.target, track.track_axis, track.up_axis = path, "TRACK_NEGATIVE_Z", "UP_Y"


def drive(scene, camera):
    parent = bpy.data.objects.new("Rig", None)
    scene.collection.objects.link(parent)
    parent.scale = (0.5, 0.5, 0.5)
    parent.rotation_euler = (0, 0, 1)
    camera.parent = parent
    camera.matrix_parent_inverse = Matrix.Translation((1, 2, 3))
    curve = camera.driver_add("location", 0)
    curve.driver.expression = "frame * 0.5"
    lens = camera.data.driver_add("lens")
    lens.driver.expression = "20 + frame"


@pytest.mark.parametrize("rig", [follow_a_path, drive])
def test_constraints_parents_and_drivers_are_in_the_pose(scene, cameras, camera, rig):
    """Row 9: at every frame the pose is Blender's evaluated matrix, and it does move."""
    set_size(scene, 192, 108)
    rig(scene, camera)
    places = []
    for frame in range(1, 9):
        seen, depsgraph = evaluated(camera, frame)
        c2w = cameras.pose(seen)
        assert_rigid(c2w)
        expected = np.array(seen.matrix_world.normalized()) @ np.diag([1, -1, -1, 1])
        assert np.abs(c2w - expected).max() < 1e-5
        K = cameras.intrinsics(scene, seen, depsgraph, *whole(scene, cameras))
        points = points_before(c2w)
        for point, (u, v) in zip(points, project(points, K, c2w)[0]):
            x, y, _ = world_to_camera_view(scene, camera, Vector(point))
            assert abs(x * 192 - u) < PIXELS and abs((1 - y) * 108 - v) < PIXELS
        places.append(c2w[:3, 3])
    assert np.linalg.norm(np.diff(places, axis=0), axis=1).min() > 0.1


def test_lens_sensor_and_shift_are_read_frame_by_frame(scene, cameras, camera):
    """Row 33: a dolly zoom has another K on every frame, each by the formula."""
    set_size(scene, 192, 108)
    data = camera.data
    for frame, lens, sensor, shift in ((1, 20, 36, 0.0), (6, 85, 24, 0.3)):
        data.lens, data.sensor_width, data.shift_x, data.shift_y = lens, sensor, shift, -shift
        for name in ("lens", "sensor_width", "shift_x", "shift_y"):
            data.keyframe_insert(name, frame=frame)
    seen = []
    for frame in range(1, 7):
        K = intrinsics(scene, cameras, camera, frame=frame)
        assert np.abs(K - by_formula(scene, evaluated(camera)[0].data, cameras)).max() < 2e-3
        seen.append(K[0, 0])
    assert np.all(np.diff(seen) > 1)


def angle(a, b):
    return math.degrees(math.acos(np.clip((np.trace(a[:3, :3].T @ b[:3, :3]) - 1) / 2, -1, 1)))


@pytest.mark.parametrize("turns", [
    [(math.pi / 2, roll, 0) for roll in np.linspace(0, math.pi, 7)],  # roll to 180
    [(pitch, 0, 0.3) for pitch in np.linspace(-0.2, 0.2, 7)],  # through straight down
    [(math.pi + pitch, 0, 0.3) for pitch in np.linspace(-0.2, 0.2, 7)],  # through straight up
])
def test_no_gimbal_jump(scene, cameras, camera, turns):
    """Row 34: the turn from frame to frame is Blender's own."""
    poses, quaternions = [], []
    for turn in turns:
        camera.rotation_euler = turn
        bpy.context.view_layer.update()
        poses.append(cameras.pose(evaluated(camera)[0]))
        quaternions.append(camera.matrix_world.to_quaternion())
    for i in range(len(turns) - 1):
        blender = math.degrees(quaternions[i].rotation_difference(quaternions[i + 1]).angle)
        assert angle(poses[i], poses[i + 1]) == pytest.approx(min(blender, 360 - blender), abs=0.01)


@pytest.mark.parametrize("unit", [0.01, 1.0])
@pytest.mark.parametrize("system", ["METRIC", "IMPERIAL"])
def test_units_do_not_scale_the_camera(scene, cameras, camera, unit, system):
    """Row 22: matrices stay in Blender units."""
    scene.unit_settings.system, scene.unit_settings.scale_length = system, unit
    place(camera, (3, -7, 2))
    bpy.context.view_layer.update()
    assert cameras.pose(evaluated(camera)[0])[:3, 3].tolist() == pytest.approx([3, -7, 2], abs=1e-6)


@pytest.mark.parametrize("reach", [1e-3, 1e5])
def test_very_small_and_very_large_scenes(scene, cameras, camera, reach):
    """Row 23: fifty points at that distance, and depth to a thousandth."""
    set_size(scene, 192, 108)
    camera.data.clip_start, camera.data.clip_end = reach * 0.01, reach * 100
    place(camera, (3 * reach, -7 * reach, 2 * reach), (0, 0, 0))
    bpy.context.view_layer.update()
    K, c2w = intrinsics(scene, cameras, camera), cameras.pose(evaluated(camera)[0])
    local = np.linalg.inv(c2w)
    points = points_before(c2w)
    points = c2w[:3, 3] + (points - c2w[:3, 3]) * reach / 10
    uv, depth = project(points, K, c2w)
    assert np.isfinite(uv).all() and np.isfinite(local).all()
    for point, (u, v), z in zip(points, uv, depth):
        x, y, z_blender = world_to_camera_view(scene, camera, Vector(point))
        assert abs(x * 192 - u) < PIXELS and abs((1 - y) * 108 - v) < PIXELS
        assert abs(z_blender - z) < 1e-3 * z


# --- which camera, what time --------------------------------------------------------------------------------------


def bind(scene, frame, camera):
    scene.timeline_markers.new(f"m{frame}", frame=frame).camera = camera


def test_the_markers_camera_is_the_one_blender_switches_to(scene, cameras):
    """Rows 10, 11, 14: 120 random sets of markers, some on one frame, some before the start, some cameras hidden in
    renders, times stretched; at each frame `camera_at` names what `frame_set` switches to."""
    rng = random.Random(7)
    rig = [add_camera(scene, f"Cam {i}") for i in range(5)]
    for _ in range(120):
        scene.timeline_markers.clear()
        for camera in rig:
            camera.hide_render = rng.random() < 0.2
        for _ in range(rng.randrange(5)):
            bind(scene, rng.randrange(-8, 12), rng.choice(rig))
        scene.timeline_markers.new("a note", frame=rng.randrange(9))  # a marker without a camera
        scene.render.frame_map_old, scene.render.frame_map_new = rng.choice([(100, 100), (100, 250), (300, 100)])
        for frame in range(-9, 14):
            scene.camera = scene.camera or rig[0]
            expected = cameras.camera_at(scene, frame)
            scene.frame_set(frame)
            assert scene.camera == expected, (frame, [(m.frame, m.camera) for m in scene.timeline_markers])


def test_two_markers_on_one_frame_and_a_hidden_camera(scene, cameras):
    """Row 11, spelt out: the first in the list wins, a camera hidden in renders is passed over."""
    first, second = add_camera(scene, "First"), add_camera(scene, "Second")
    bind(scene, 5, first)
    bind(scene, 5, second)
    assert [cameras.camera_at(scene, f) for f in (1, 5, 9)] == [first, first, first]
    first.hide_render = True
    assert cameras.camera_at(scene, 5) == second


def test_no_camera_at_all(scene, cameras):
    """Row 24."""
    assert cameras.camera_at(scene, 1) is None


@pytest.mark.parametrize("old, new", [(100, 100), (100, 200), (300, 100), (100, 300)])
def test_stretched_time_is_where_the_pose_is(scene, cameras, camera, old, new):
    """Row 14: a camera whose x is the animation's time; frame_set stretches by itself, once."""
    scene.render.frame_map_old, scene.render.frame_map_new = old, new
    camera.driver_add("location", 0).driver.expression = "frame"
    for frame in (-3, 0, 1, 10, 11):
        whole_frame, part = cameras.frame_time(scene, frame)
        assert whole_frame + part == pytest.approx(frame * old / new, rel=1e-6) and 0 <= part < 1
        seen, _ = evaluated(camera, frame)
        assert cameras.pose(seen)[0, 3] == pytest.approx(whole_frame + part, abs=1e-4)


def test_the_renderer_stretches_time_as_the_pose_does(scene, cameras, camera, tmp_path):
    """Row 14 against a picture: a square that stands still, filmed by a camera on the move."""
    set_size(scene, 96, 64)
    camera.rotation_euler = (math.pi / 2, 0, 0)
    scene.render.frame_map_old, scene.render.frame_map_new = 100, 300
    camera.driver_add("location", 0).driver.expression = "frame * 0.5"
    add_glow(scene, (1, 8, 0.3), Matrix.Rotation(math.pi / 2, 4, "X"))
    K = intrinsics(scene, cameras, camera, frame=7)
    uv, _ = project(np.array([[1, 8, 0.3]]), K, cameras.pose(evaluated(camera)[0]))
    assert middle(render(scene, tmp_path, samples=64)) == pytest.approx(uv[0], abs=0.05)
