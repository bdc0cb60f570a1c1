"""Writes a small valid job folder from an analytic scene: a floor, a box that stands and a box that moves, ray-cast in
numpy with exact depth, normals, anchors and motion. Knows no model, no Blender."""

import importlib
import math
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
job_module = importlib.import_module("engine.job")

FLOOR, BOX, MOVER = 1, 2, 3                 # object indices
NAMES = {FLOOR: "Floor", BOX: "Box", MOVER: "Mover"}
HALF = {FLOOR: (30.0, 30.0, 0.5), BOX: (1.2, 0.8, 1.5), MOVER: (0.5, 0.5, 0.5)}     # half sides; every object is a box
TINT = {FLOOR: (0.55, 0.5, 0.42), BOX: (0.75, 0.25, 0.18), MOVER: (0.2, 0.4, 0.75)}
SUN = np.array([0.4, -0.5, 0.77]) / np.linalg.norm([0.4, -0.5, 0.77])


def make_job(folder, frames: int = 9, width: int = 96, height: int = 64, moving: bool = True, cuts=(0,), **fields):
    """A complete job folder; `fields` replace those of job.json. Returns the Job as `engine.job.read` gives it."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    c2w, K = camera_path(frames, cuts), pinhole(frames, width, height)
    matrix = object_matrices(frames, moving)
    write_passes(folder, c2w, K, matrix, width, height, set(cuts))
    job_module.write_camera(folder, c2w, K, np.arange(1, frames + 1))
    job_module.write_objects(folder, np.array(list(NAMES)), matrix)
    names = {name: f"passes/{name}.npy" for name in job_module.PASSES}
    values = {"id": "0123abcd", "prompt": "a red box on sand, golden hour", "seed": 7, "fps": (24, 1),
              "size": (width, height), "crop": (0, 0, width, height), "cuts": tuple(cuts), "passes": names,
              "created": {"shotlock": "0.1.0"},
              "objects": tuple({"index": index, "name": name} for index, name in NAMES.items())}
    job_module.write(job_module.Job(folder=folder, **(values | fields)))
    return job_module.read(folder)


def camera_path(frames: int, cuts=(0,)) -> np.ndarray:
    """A dolly past the boxes that looks at them; every cut starts another side of the scene. OpenCV axes."""
    poses, start = [], 0
    for frame in range(frames):
        start = max(cut for cut in cuts if cut <= frame)
        turn = 0.9 * sorted(cuts).index(start) + 0.35 * (frame - start) / max(frames - 1, 1)
        eye = np.array([-8.0 * math.sin(turn - 0.2), -8.0 * math.cos(turn - 0.2), 2.5 + 0.5 * turn])
        poses.append(look_at(eye, np.array([0.3, 0.0, 1.0])))
    return np.stack(poses)


def look_at(eye: np.ndarray, target: np.ndarray) -> np.ndarray:
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    c2w = np.eye(4)
    c2w[:3] = np.stack([right, np.cross(forward, right), forward, eye], axis=1)
    return c2w


def pinhole(frames: int, width: int, height: int) -> np.ndarray:
    """A 36 mm sensor behind a 35 mm lens."""
    focal = width * 35 / 36
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
    return np.broadcast_to(K, (frames, 3, 3)).copy()


def object_matrices(frames: int, moving: bool) -> np.ndarray:
    """Object to world (N,F,4,4): the floor and the box stand, the mover slides and turns."""
    matrix = np.broadcast_to(np.eye(4), (3, frames, 4, 4)).copy()
    matrix[0, :, 2, 3], matrix[1, :, :3, 3] = -0.5, (-0.4, 0.6, 1.5)
    for frame in range(frames):
        time = frame / max(frames - 1, 1) if moving else 0.0
        turn = 0.8 * time
        matrix[2, frame, :2, :2] = [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
        matrix[2, frame, :3, 3] = (1.6 - 0.6 * time, -1.0, 0.5)
    return matrix


def rays(K: np.ndarray, c2w: np.ndarray, width: int, height: int) -> np.ndarray:
    """World directions (H,W,3) through the pixels' centres, of planar length 1."""
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    local = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(u)], axis=-1)
    return local @ c2w[:3, :3].T


def cast(origin: np.ndarray, direction: np.ndarray, matrix: np.ndarray) -> dict[str, np.ndarray]:
    """The nearest hit of every ray: depth (planar), index, normal (world) and the point in the object's own space."""
    shape = direction.shape[:-1]
    hit = {"depth": np.full(shape, np.inf), "index": np.zeros(shape, np.int64),
           "normal": np.zeros((*shape, 3)), "local": np.zeros((*shape, 3))}
    for row, index in enumerate(NAMES):
        inverse = np.linalg.inv(matrix[row])
        start, along = inverse[:3, :3] @ origin + inverse[:3, 3], direction @ inverse[:3, :3].T
        distance, normal = slab(start, along, np.array(HALF[index]))
        near = distance < hit["depth"]
        hit["depth"] = np.where(near, distance, hit["depth"])
        hit["index"] = np.where(near, index, hit["index"])
        hit["normal"] = np.where(near[..., None], normal @ matrix[row][:3, :3].T, hit["normal"])
        safe = np.where(near, distance, 0)[..., None]
        hit["local"] = np.where(near[..., None], start + safe * along, hit["local"])
    return hit


def slab(start: np.ndarray, along: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Entry distance into a box around 0 (inf: missed) and the outward normal there."""
    along = np.where(np.abs(along) < 1e-12, 1e-12, along)
    first, second = (-half - start) / along, (half - start) / along
    entries, leaves = np.minimum(first, second), np.maximum(first, second)
    enter, leave = entries.max(-1), leaves.min(-1)
    axis = entries.argmax(-1)
    normal = np.eye(3)[axis] * -np.sign(np.take_along_axis(along, axis[..., None], -1))
    return np.where((enter < leave) & (enter > 1e-6), enter, np.inf), normal


def texture(local: np.ndarray, index: np.ndarray) -> np.ndarray:
    """A smooth, unrepeating colour of a surface point (...,3), 0..1: fixed to the object, so every view agrees."""
    tint = np.array([(0, 0, 0), *TINT.values()])[index]
    wave = sum(np.sin(local @ np.array(k) + 1.7 * n) for n, k in enumerate(
        [(1.3, 0.7, 2.1), (-2.9, 1.9, 0.8), (3.7, 4.1, -3.3), (-5.3, 6.1, 5.9), (9.1, -7.7, 8.3)])) / 5
    return np.clip(tint * (1 + 0.6 * wave[..., None]), 0, 1)


def project(points: np.ndarray, K: np.ndarray, c2w: np.ndarray) -> np.ndarray:
    local = (points - c2w[:3, 3]) @ c2w[:3, :3]
    return local[..., :2] / local[..., 2:] * [K[0, 0], K[1, 1]] + K[:2, 2]


def motion(hit: dict, direction: np.ndarray, matrix: np.ndarray, there: tuple) -> np.ndarray:
    """Pixels from this frame to the next, the objects' own movement included; sky moves as a point at infinity."""
    points = hit["local"].copy()
    for row, index in enumerate(NAMES):
        moved = hit["local"] @ matrix[row, :3, :3].T + matrix[row, :3, 3]
        points = np.where((hit["index"] == index)[..., None], moved, points)
    points = np.where((hit["index"] == 0)[..., None], there[1][:3, 3] + 1e9 * direction, points)
    height, width = direction.shape[:2]
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return project(points, *there) - np.stack([u, v], axis=-1)


def write_passes(folder: Path, c2w, K, matrix, width: int, height: int, cuts: set[int]) -> None:
    """Every pass, one frame in memory at a time."""
    frames = len(c2w)
    arrays = {name: np.zeros((frames, height, width) + ((kind.channels,) if kind.channels > 1 else ()), kind.dtype)
              for name, kind in job_module.PASSES.items()}
    for frame in range(frames):
        direction = rays(K[frame], c2w[frame], width, height)
        hit = cast(c2w[frame, :3, 3], direction, matrix[:, frame])
        for name in ("depth", "normal", "index"):
            arrays[name][frame] = hit[name]
        arrays["base"][frame] = np.round(255 * texture(hit["local"], hit["index"]))
        arrays["ao"][frame] = 255
        arrays["open"][frame] = np.where(hit["index"] > 0, np.round(255 * (0.5 + 0.5 * hit["normal"][..., 2])), 255)
        arrays["gloss"][frame] = np.where(hit["index"] == MOVER, 128, 0)
        if frame + 1 < frames and frame + 1 not in cuts:
            there = K[frame + 1], c2w[frame + 1]
            arrays["motion"][frame] = motion(hit, direction, matrix[:, frame + 1], there)
    for name, array in arrays.items():
        job_module.write_array(folder / "passes" / f"{name}.npy", array)


def truth(folder) -> np.ndarray:
    """Perfect frames of the job (F,H,W,3) uint8: its base colour under one sun, a gradient for the sky."""
    job = job_module.read(folder)
    arrays = job_module.passes(job)
    light = 0.35 + 0.65 * np.clip(np.asarray(arrays["normal"], np.float32) @ SUN.astype(np.float32), 0, 1)
    frames = np.asarray(arrays["base"], np.float32) * light[..., None]
    sky = ~np.isfinite(arrays["depth"])
    frames[sky] = np.broadcast_to(np.array([120, 160, 215], np.float32), frames.shape)[sky]
    return np.round(frames).clip(0, 255).astype(np.uint8)


class StopAfter:
    """Says stop at the n-th question: the same point of the work every time."""

    def __init__(self, questions: int) -> None:
        self.left = questions

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0
