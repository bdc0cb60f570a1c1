"""Films a scene through the artist's side and reads the job folder back. What camera and depth imply."""

import importlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass
class Film:
    capture: object
    folder: Path
    arrays: dict
    c2w: np.ndarray
    K: np.ndarray
    frames: np.ndarray
    objects: dict  # name → index
    job: object
    suns: dict | None
    world: np.ndarray | None

    def __getattr__(self, name):
        return self.arrays[name]

    def covered(self, name=None, frame=0):
        """(H,W) bool: where that object, or anything at all, is seen."""
        if name is None:
            return np.isfinite(self.depth[frame])
        return np.asarray(self.index[frame]) == self.objects.get(name, -1)


def film(folder, scene, layer=None, samples=8, **settings):
    """A `Film` of the scene's whole range."""
    made = shoot(folder, scene, layer, samples, **settings)
    made.wait()
    assert made.state == "done", (made.error, list(made._last))
    return read(made, folder)


def shoot(folder, scene, layer=None, samples=8, **settings):
    """A started `Capture`."""
    plans = importlib.import_module("shotlock.operators.plan")
    captures = importlib.import_module("shotlock.operators.capture")
    for name, value in ({"prompt": "a test", "width": 96} | settings).items():
        setattr(scene.shotlock, name, value)
    capture = captures.Capture(plans.plan(scene, layer), folder, samples)
    capture.start()
    return capture


def read(capture, folder):
    job = importlib.import_module("shotlock.engine.job")
    made = job.read(folder)
    camera = job.camera(made)
    return Film(capture, folder, job.passes(made), camera["c2w"], camera["K"], camera["frames"],
                {entry["name"]: entry["index"] for entry in made.objects}, made, job.suns(made), job.world(made))


def world_points(made, i):
    """(H,W,3): what each pixel of frame i shows; the sky is far away."""
    z = np.where(np.isfinite(made.depth[i]), made.depth[i], 1e6).astype(np.float64)
    v, u = np.indices(z.shape) + 0.5
    ray = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(made.K[i]).T
    return (ray * z[..., None]) @ made.c2w[i, :3, :3].T + made.c2w[i, :3, 3]


def project(made, i, points):
    there = (points - made.c2w[i, :3, 3]) @ made.c2w[i, :3, :3] @ made.K[i].T
    return there[..., :2] / there[..., 2:]


def flow(made, i):
    """Where things that stand still go from frame i to the next, by camera and depth alone."""
    v, u = np.indices(made.depth[i].shape) + 0.5
    return project(made, i + 1, world_points(made, i)) - np.stack([u, v], -1)


def flow_error(made, i, mask=None):
    """Pixels, median."""
    hit = made.covered(frame=i) if mask is None else mask
    return np.median(np.linalg.norm(made.motion[i].astype(np.float64) - flow(made, i), axis=-1)[hit])


def ray_depth(made, i, scene, depsgraph, count=150, seed=0):
    """Depth of random pixels by rays cast in the artist's scene, and by the capture: two (count,) arrays, sky inf."""
    from mathutils import Vector

    h, w = made.depth[i].shape
    pick = np.random.default_rng(seed)
    y, x = pick.integers(0, h, count), pick.integers(0, w, count)
    points = world_points(made, i)[y, x]
    origin = made.c2w[i, :3, 3]
    cast = np.full(count, np.inf)
    for n, point in enumerate(points):
        hit, where, *_ = scene.ray_cast(depsgraph, Vector(origin), Vector(point - origin).normalized())
        if hit:
            cast[n] = (np.array(where) - origin) @ made.c2w[i, :3, 2]
    return cast, made.depth[i][y, x].astype(np.float64)
