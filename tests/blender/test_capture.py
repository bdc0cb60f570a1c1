"""The camera of a capture against exact answers: Cycles' own motion vectors and rays cast in the scene. Every capture
here is the real one: a saved copy, a second process, a render."""

import importlib
import math

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

CLOSE = 0.03  # px; half precision keeps no more of a motion of 60 px


def new_camera(scene, name, location, degrees, **data):
    camera = bpy.data.objects.new(name, bpy.data.cameras.new(name))
    camera.location, camera.rotation_euler = location, [math.radians(d) for d in degrees]
    for key, value in data.items():
        setattr(camera.data, key, value)
    scene.collection.objects.link(camera)
    return camera


def key(owner, frames, **channels):
    for channel, values in channels.items():
        for frame, value in zip(frames, values, strict=True):
            setattr(owner, channel, value)
            owner.keyframe_insert(channel, frame=frame)


def agrees(tools, made, scene, i, frame):
    """Depth of frame i against rays cast in the artist's scene at that frame."""
    scene.frame_set(frame)
    cast, depth = tools.ray_depth(made, i, scene, bpy.context.evaluated_depsgraph_get())
    hit = np.isfinite(cast) & np.isfinite(depth)
    edges = (np.isfinite(cast) != np.isfinite(depth)).sum()
    return edges <= 2 and hit.sum() > 40 and np.median(np.abs(cast[hit] / depth[hit] - 1)) < 1e-4


# The one check: Cycles' vectors against K, pose and depth, on every frame


def test_motion_agrees_with_camera_and_depth(tiny, tools, tmp_path):
    """A camera that rises, pans, tilts and rolls."""
    key(tiny.camera, (1, 5), location=((-1, -8, 2), (1, -7, 4)), rotation_euler=((1.3, 0, -0.1), (1.1, 0.1, 0.1)))
    made = tools.film(tmp_path, tiny)
    assert all(np.abs(np.median(made.motion[i].reshape(-1, 2), 0)).min() > 0.2 for i in range(4))
    assert max(tools.flow_error(made, i) for i in range(4)) < CLOSE
    assert max(tools.flow_error(made, i, ~made.covered(frame=i)) for i in range(4)) < CLOSE, "the sky turns too"
    assert np.abs(made.motion[3]).max() > 1 and not made.motion[4].any()
    assert all(agrees(tools, made, tiny, i, i + 1) for i in (0, 2, 4))


def test_motion_with_lens_shift_aspect_and_cut(tiny, tools, tmp_path):
    """Row 33: Cycles leaves animated lens and shift out of its vectors; the pass has them."""
    tiny.render.pixel_aspect_x, tiny.render.pixel_aspect_y = 1.0, 1.5
    key(tiny.camera.data, (1, 5), lens=(30, 60), shift_x=(-0.1, 0.1), shift_y=(-0.05, 0.05))
    other = new_camera(tiny, "Cam B", (6, -6, 4), (60, 0, 45), sensor_fit="VERTICAL")
    for frame, bound in ((1, tiny.camera), (4, other)):
        tiny.timeline_markers.new("cut", frame=frame).camera = bound
    made = tools.film(tmp_path, tiny)
    assert made.job.cuts == (0, 3)
    assert max(tools.flow_error(made, i) for i in (0, 1, 3)) < CLOSE
    assert not made.motion[2].any() and not made.motion[4].any()
    assert np.abs(made.K[1] - made.K[0]).max() > 1
    assert agrees(tools, made, tiny, 1, 2) and agrees(tools, made, tiny, 3, 4)


def test_motion_with_time_stretching(tiny, tools, tmp_path):
    """Row 14."""
    tiny.render.frame_map_old, tiny.render.frame_map_new = 100, 170
    made = tools.film(tmp_path, tiny)
    assert max(tools.flow_error(made, i) for i in range(4)) < CLOSE
    assert np.abs(made.motion[1]).max() > 0.5
    assert agrees(tools, made, tiny, 3, 4)


def test_motion_over_a_frame_step(tiny, tools, tmp_path):
    """Row 13: two frames ahead, where Cycles looks one: the camera's part is exact, the box goes on as it began."""
    box = bpy.data.objects["Box"]
    box.driver_add("location", 2).driver.expression = "1 + frame * 0.2"
    tiny.frame_end, tiny.frame_step = 6, 2
    made = tools.film(tmp_path, tiny)
    assert list(made.frames) == [1, 3, 5] and made.job.last_frame == 6
    assert max(tools.flow_error(made, i, made.covered("Floor", i)) for i in range(2)) < CLOSE
    ridden = rigid_motion(tools, made, 0, "Box")
    error = np.linalg.norm(made.motion[0][made.covered("Box", 0)] - ridden, axis=-1)
    assert np.median(error) < 0.02 * np.abs(ridden).max() and tools.flow_error(made, 0, made.covered("Box", 0)) > 2


def rigid_motion(tools, made, i, name):
    """(N,2): where the pixels of an object go by its own matrix and the next camera."""
    stored = np.load(made.folder / "objects.npz")
    matrix = stored["matrix"][list(stored["index"]).index(made.objects[name])]
    seen = made.covered(name, i)
    moved = matrix[i + 1] @ np.linalg.inv(matrix[i])
    points = tools.world_points(made, i)[seen] @ moved[:3, :3].T + moved[:3, 3]
    v, u = np.indices(seen.shape) + 0.5
    return tools.project(made, i + 1, points) - np.stack([u, v], -1)[seen]


def test_a_moving_object_moves_as_its_matrix_says(tiny, tools, tmp_path):
    key(bpy.data.objects["Box"], (1, 5), location=((0, 0, 1), (1, 0, 2)), rotation_euler=((0, 0, 0), (0, 0.5, 1)))
    made = tools.film(tmp_path, tiny)
    on_box = made.covered("Box", 1)
    error = np.linalg.norm(made.motion[1][on_box] - rigid_motion(tools, made, 1, "Box"), axis=-1)
    assert np.median(error) < CLOSE
    assert tools.flow_error(made, 1, on_box) > 0.5, "by the camera alone it would go elsewhere"


def test_constraints_parents_drivers_and_scale(tiny, tools, tmp_path):
    """Rows 8, 9: the camera rides a scaled, driven parent and looks at a moving target; the baked path has it all."""
    rail = bpy.data.objects.new("Rail", None)
    target = bpy.data.objects.new("Target", None)
    for thing in (rail, target):
        tiny.collection.objects.link(thing)
    rail.scale = (2, 2, 2)
    rail.driver_add("location", 0).driver.expression = "frame * 0.2"
    key(target, (1, 5), location=((0, 0, 0), (1, 2, 1)))
    tiny.camera.parent = rail
    constraint = tiny.camera.constraints.new("TRACK_TO")
    constraint.target, constraint.track_axis, constraint.up_axis = target, "TRACK_NEGATIVE_Z", "UP_Y"
    made = tools.film(tmp_path, tiny)
    for i, frame in enumerate(made.frames):
        tiny.frame_set(int(frame))
        world = np.array(tiny.camera.evaluated_get(bpy.context.evaluated_depsgraph_get()).matrix_world)
        assert np.allclose(made.c2w[i, :3, 3], world[:3, 3], atol=1e-5)
    assert max(tools.flow_error(made, i) for i in range(4)) < CLOSE
    assert agrees(tools, made, tiny, 2, 3)


def test_negative_frames(tiny, tools, tmp_path):
    """Row 15."""
    key(tiny.camera, (-4, -2), location=((-1, -8, 3), (1, -8, 3)))
    made = tools.film(tmp_path, tiny, frame_start=-4, frame_end=-2)
    assert list(made.frames) == [-4, -3, -2] and max(tools.flow_error(made, i) for i in range(2)) < CLOSE
    assert agrees(tools, made, tiny, 1, -3)


def test_the_size_holds_the_frame_and_more(tiny, tools, tmp_path):
    """A 90x50 frame inside 96x64: the same view of the crop, and real scene around it."""
    tiny.render.resolution_x, tiny.render.resolution_y = 90, 50
    made = tools.film(tmp_path, tiny, width=90)
    assert made.job.size == (96, 64) and made.job.crop == (3, 7, 90, 50)
    assert agrees(tools, made, tiny, 0, 1)
    assert max(tools.flow_error(made, i) for i in range(4)) < CLOSE


@pytest.mark.parametrize("size", [1e-3, 1e5])
def test_tiny_and_huge_scenes(tiny, tools, tmp_path, size):
    """Row 23: relative depth is as good in a scene of millimetres and in one of light-years."""
    tiny.frame_end = 2
    for thing in tiny.objects:
        if thing.type == "MESH":
            thing.scale *= size
            thing.location *= size
    key(tiny.camera, (1, 5), location=((-size, -8 * size, 3 * size), (size, -8 * size, 3 * size)))
    tiny.camera.data.clip_start, tiny.camera.data.clip_end = 0.01 * size, 1000 * size
    made = tools.film(tmp_path, tiny)
    assert agrees(tools, made, tiny, 0, 1) and tools.flow_error(made, 0) < CLOSE


# What must not show in the passes


def test_blur_border_overscan_and_depth_of_field_stay_out(tiny, tools, tmp_path):
    """Rows 16, 17, 19, 20."""
    tiny.frame_end = 2
    plain = tools.film(tmp_path / "plain", tiny)
    render = tiny.render
    render.use_motion_blur, render.use_border, render.use_crop_to_border = True, True, True
    render.border_min_x, render.border_max_x, render.border_min_y, render.border_max_y = 0.2, 0.6, 0.3, 0.8
    tiny.camera.data.dof.use_dof, tiny.camera.data.dof.aperture_fstop = True, 0.1
    if hasattr(tiny.eevee, "use_overscan"):
        tiny.eevee.use_overscan, tiny.eevee.overscan_size = True, 20
    made = tools.film(tmp_path / "blurred", tiny)
    for name in made.arrays:
        assert np.array_equal(made.arrays[name], plain.arrays[name]), name


def test_clip_range(tiny, tools, tmp_path):
    """Row 18: what is nearer or farther than the camera's own range is in no pass, on each frame by that frame's."""
    key(tiny.camera.data, (1, 2), clip_start=(7.0, 7.5), clip_end=(9.0, 10.0))
    tiny.frame_end = 2
    made = tools.film(tmp_path, tiny)
    for i, (nearest, farthest) in enumerate(((7.0, 9.0), (7.5, 10.0))):
        seen = made.depth[i][made.covered(frame=i)]
        assert len(seen) > 100 and nearest <= seen.min() < nearest + 0.3 and farthest - 0.3 < seen.max() <= farthest
        assert not made.base[i][~made.covered(frame=i)].any()


def test_a_strip_and_a_compositor_are_not_captured(tiny, tools, tmp_path):
    """Row 32: a strip of an earlier take or of another scene would be what F12 renders; so would the artist's
    compositor."""
    tiny.frame_end = 1
    plain = tools.film(tmp_path / "plain", tiny)
    picture = bpy.data.images.new("take", 96, 64)
    picture.filepath_raw, picture.file_format = str(tmp_path / "take.png"), "PNG"
    picture.save()
    compat = importlib.import_module("shotlock.operators.compat")
    compat.add_image_strip(tiny, "take", [picture.filepath_raw], 1, 1)
    strips = compat.strips(tiny)
    strips.new_scene("other", bpy.data.scenes.new("Another"), 2, 1)
    assert {strip.type for strip in strips} == {"IMAGE", "SCENE"}
    outputs = artists_compositor(tiny, tmp_path / "artist")
    tiny.render.filepath = str(tmp_path / "artist" / "render_")
    made = tools.film(tmp_path / "job", tiny)
    for name in made.arrays:
        assert np.array_equal(made.arrays[name], plain.arrays[name]), name
    assert not (tmp_path / "artist").exists(), "the artist's outputs are not written"
    assert len(outputs.nodes) >= 2


def artists_compositor(scene, folder):
    """A compositor that writes files: its group is shared with every copy of the scene in 5.x."""
    if hasattr(scene, "compositing_node_group"):
        tree = scene.compositing_node_group = bpy.data.node_groups.new("Artist", "CompositorNodeTree")
    else:
        scene.use_nodes = True
        tree = scene.node_tree
    layers, output = tree.nodes.new("CompositorNodeRLayers"), tree.nodes.new("CompositorNodeOutputFile")
    if hasattr(output, "directory"):
        output.directory = str(folder)
        output.file_output_items.new("RGBA", "Image")
    else:
        output.base_path = str(folder)
    tree.links.new(layers.outputs["Image"], output.inputs[0])
    return tree
