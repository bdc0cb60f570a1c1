"""The capture against exact answers: Cycles' own motion vectors, rays cast in the scene, colours that materials were
given. Every capture here is the real one: a saved copy, a second process, a render."""

import importlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")


@dataclass
class Film:
    capture: object
    folder: Path
    arrays: dict
    c2w: np.ndarray
    K: np.ndarray
    frames: np.ndarray
    objects: dict  # name -> index

    def __getattr__(self, name):
        return self.arrays[name]


@pytest.fixture
def film(shotlock, tmp_path):
    """film(scene, **plan settings) -> Film, through the artist's side of the capture."""
    plans = importlib.import_module("shotlock.operators.plan")
    captures = importlib.import_module("shotlock.operators.capture")
    job = importlib.import_module("shotlock.engine.job")
    count = iter(range(100))

    def run(scene, layer=None, fails=False, **settings):
        scene.shotlock.prompt = "a test"
        scene.shotlock.width = settings.pop("width", 96)
        for name, value in settings.items():
            setattr(scene.shotlock, name, value)
        folder = tmp_path / f"job {next(count)}"
        capture = captures.Capture(plans.plan(scene, layer), folder)
        capture.start()
        capture.wait()
        if fails:
            return capture
        assert capture.state == "done", (capture.error, list(capture._last))
        made = job.read(folder)
        camera = job.camera(made)
        return Film(capture, folder, job.passes(made), camera["c2w"], camera["K"], camera["frames"],
                    {entry["name"]: entry["index"] for entry in made.objects})
    return run


def flow(made, i):
    """What K, w2c and depth say about frame i, for things that stand still."""
    z = np.where(np.isfinite(made.depth[i]), made.depth[i], 1e6).astype(np.float64)
    h, w = z.shape
    u, v = np.meshgrid(np.arange(w) + 0.5, np.arange(h) + 0.5)
    ray = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(made.K[i]).T
    world = (ray * z[..., None]) @ made.c2w[i, :3, :3].T + made.c2w[i, :3, 3]
    there = (world - made.c2w[i + 1, :3, 3]) @ made.c2w[i + 1, :3, :3] @ made.K[i + 1].T
    return there[..., :2] / there[..., 2:] - np.stack([u, v], -1)


def flow_error(made, i):
    hit = np.isfinite(made.depth[i])
    return np.median(np.linalg.norm(made.motion[i].astype(np.float64) - flow(made, i), axis=-1)[hit])


def material(name, **inputs):
    made = bpy.data.materials.new(name)
    if bpy.app.version < (5, 0):
        made.use_nodes = True
    shader = made.node_tree.nodes["Principled BSDF"]
    for key, value in inputs.items():
        shader.inputs[key.replace("_", " ")].default_value = value
    return made


# The one check


def test_motion_agrees_with_camera_and_depth(tiny, film):
    made = film(tiny)
    assert all(flow_error(made, i) < 0.02 for i in range(4))
    assert np.abs(made.motion[3]).max() > 1
    assert not made.motion[4].any()


def test_motion_with_lens_shift_aspect_and_cut(tiny, film):
    """Cycles leaves animated lens and shift out of its vectors; ours have them."""
    render, camera = tiny.render, tiny.camera
    render.pixel_aspect_x, render.pixel_aspect_y = 1.0, 1.5
    for frame, lens, shift in ((1, 30, -0.1), (5, 60, 0.1)):
        camera.data.lens, camera.data.shift_x, camera.data.shift_y = lens, shift, shift / 2
        for channel in ("lens", "shift_x", "shift_y"):
            camera.data.keyframe_insert(channel, frame=frame)
    other = bpy.data.objects.new("Cam B", bpy.data.cameras.new("Cam B"))
    tiny.collection.objects.link(other)
    other.location, other.rotation_euler = (6, -6, 4), (math.radians(60), 0, math.radians(45))
    for name, frame, bound in (("a", 1, camera), ("b", 4, other)):
        tiny.timeline_markers.new(name, frame=frame).camera = bound
    made = film(tiny)
    assert [flow_error(made, i) < 0.02 for i in (0, 1, 3)] == [True] * 3
    assert not made.motion[2].any() and not made.motion[4].any()
    assert np.abs(made.K[1] - made.K[0]).max() > 1
