"""Clips with a known answer: textured boxes, ray-cast in numpy with exact depth, motion, K, c2w, and their job folder.

Texture is a sum of waves in object space, each damped by the pixel's footprint, so that the pictures hardly alias and a
warp by exact geometry is right to the interpolation's error. Knows no model, no Blender."""
from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
jobs = importlib.import_module("engine.job")

# centre, half size, tint (sRGB)
BOXES = [((0, 0, -0.5), (40, 40, 0.5), (0.55, 0.50, 0.42)), ((0, 9, 2.0), (30, 0.5, 2.6), (0.50, 0.55, 0.60)),
         ((-2.2, 1.5, 1.0), (0.9, 0.9, 1.0), (0.70, 0.35, 0.28)), ((1.8, 3.5, 1.4), (0.8, 0.8, 1.4), (0.35, 0.6, 0.42)),
         ((0.2, -1.2, 0.5), (0.5, 0.5, 0.5), (0.65, 0.60, 0.30))]
MOVER = ((0.8, -3.2, 1.0), (1.0, 0.3, 1.0), (0.30, 0.40, 0.75))
SUN = np.array([0.35, -0.6, 0.72])
SAMPLES = 2                                        # per pixel side


def waves() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Wave vectors (N,3) rad per unit, phases, amplitudes ~ 1/k^0.7: from broad patches to fine grain."""
    random = np.random.default_rng(5)
    length = np.geomspace(0.8, 40, 12)
    direction = random.normal(size=(12, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return direction * length[:, None], random.uniform(0, 7, 12), length ** -0.35


@dataclass
class Shot:
    """A plan (K, c2w, passes) and pictures of it (F,H,W,3) uint8."""
    K: np.ndarray
    c2w: np.ndarray
    size: tuple[int, int]
    depth: np.ndarray
    normal: np.ndarray
    index: np.ndarray
    base: np.ndarray
    motion: np.ndarray
    pictures: np.ndarray
    objects: np.ndarray
    matrix: np.ndarray


def pinhole(frames: int, width: int, height: int, zoom: np.ndarray | float = 1.0) -> np.ndarray:
    """K (F,3,3) of a lens 0.95 times as long as the picture's longer side, times `zoom`, which may differ by frame."""
    K = np.tile(np.array([[0, 0, width / 2], [0, 0, height / 2], [0, 0, 1.0]]), (frames, 1, 1))
    K[:, 0, 0] = K[:, 1, 1] = 0.95 * max(width, height) * zoom
    return K


def look(eye: np.ndarray, target: np.ndarray) -> np.ndarray:
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    c2w = np.eye(4)
    c2w[:3] = np.stack([right, np.cross(forward, right), forward, eye], 1)
    return c2w


def crane(frames: int) -> np.ndarray:
    """Rises, slides and turns a little, at an even pace."""
    s = np.linspace(0, 1, frames)
    eyes = np.stack([-1.2 + 2.2 * s, -8 + 0.8 * s, 1.4 + 1.0 * s], 1)
    return np.stack([look(eye, np.array([0.1 + 0.3 * a, 1.0, 0.9])) for eye, a in zip(eyes, s)])


def pan(frames: int) -> np.ndarray:
    s = np.linspace(-1, 1, frames)
    return np.stack([look(np.array([0, -7.5, 1.6]), np.array([0.9 * a, 0.0, 1.0 + 0.1 * a])) for a in s])


def dolly_zoom(frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Flies in while the lens widens, so that what stands 10 units away keeps its size: c2w and zoom."""
    s = np.linspace(0, 1, frames)
    poses = np.stack([look(np.array([0.3, -8 + 3 * a, 1.5]), np.array([0.3, 2, 1.2])) for a in s])
    return poses, 1.4 * (10 - 3 * s) / 10


def rest(frames: int) -> np.ndarray:
    return np.tile(look(np.array([0, -7.5, 1.6]), np.array([0.2, 0.0, 1.0])), (frames, 1, 1))


def mirrored(c2w: np.ndarray) -> np.ndarray:
    """The same path with left and right exchanged, as seen from its first camera."""
    flip = np.diag([-1.0, 1, 1, 1])
    return c2w[0] @ flip @ np.linalg.inv(c2w[0]) @ c2w @ flip


def hits(origin: np.ndarray, direction: np.ndarray, boxes: list) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First box along each ray (..., 3): distance in units of direction (inf: none), its number, the face's axis."""
    best = np.full(direction.shape[:-1], np.inf)
    which, axis = np.full(best.shape, -1), np.zeros(best.shape, int)
    with np.errstate(divide="ignore", invalid="ignore"):
        for number, (centre, half, _) in enumerate(boxes):
            a = (np.array(centre) - half - origin) / direction
            b = (np.array(centre) + half - origin) / direction
            near, far = np.minimum(a, b), np.maximum(a, b)
            enter, leave = near.max(-1), far.min(-1)
            closer = (enter < leave) & (enter > 1e-6) & (enter < best)
            best[closer], which[closer], axis[closer] = enter[closer], number, near.argmax(-1)[closer]
    return best, which, axis


def directions(K: np.ndarray, c2w: np.ndarray, width: int, height: int, samples: int) -> np.ndarray:
    """World rays of unit planar depth (H*s, W*s, 3) through the centres of subpixels."""
    u, v = np.meshgrid((np.arange(width * samples) + 0.5) / samples, (np.arange(height * samples) + 0.5) / samples)
    local = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(u)], -1)
    return local @ c2w[:3, :3].T


def texture(point: np.ndarray, which: np.ndarray, footprint: np.ndarray, boxes: list) -> np.ndarray:
    """Unlit colour of surface points (N,3) in 0..1: the box's tint times a sum of damped waves."""
    vector, phase, amplitude = waves()
    value = np.zeros(len(point))
    for k, p, a in zip(vector, phase, amplitude):
        value += a * np.sin(point @ k + p + 1.7 * which) * np.exp(-0.5 * (np.linalg.norm(k) * footprint) ** 2)
    tint = np.array([tint for _, _, tint in boxes])[which]
    return np.clip(tint * (1 + 0.45 * value[:, None]), 0, 1)


def shade(K: np.ndarray, c2w: np.ndarray, size: tuple[int, int], boxes: list, samples: int) -> dict[str, np.ndarray]:
    width, height = size
    rays = directions(K, c2w, width, height, samples)
    t, which, axis = hits(c2w[:3, 3], rays, boxes)
    hit = which >= 0
    point = c2w[:3, 3] + rays[hit] * t[hit][:, None]
    normal = np.zeros((*t.shape, 3))
    normal[hit] = np.eye(3)[axis[hit]] * -np.sign(rays[hit][np.arange(hit.sum()), axis[hit]])[:, None]
    centre = np.array([b[0] for b in boxes])[which[hit]]
    base = np.zeros((*t.shape, 3))
    base[hit] = texture(point - centre, which[hit], 0.5 * t[hit] / K[0, 0], boxes)
    light = 0.45 + 0.55 * np.clip(normal @ SUN, 0, 1)
    colour = np.where(hit[..., None], base * light[..., None], [0.55, 0.68, 0.85])
    return {"depth": np.where(hit, t, np.inf), "normal": normal, "index": (which + 1).astype(np.uint16), "base": base,
            "colour": colour}


def averaged(image: np.ndarray, samples: int) -> np.ndarray:
    height, width = image.shape[0] // samples, image.shape[1] // samples
    return image.reshape(height, samples, width, samples, -1).mean((1, 3))


def boxes_at(frame: int, frames: int, moving: bool) -> list:
    if not moving:
        return BOXES
    (x, y, z), half, tint = MOVER
    return [*BOXES, ((x - 2.4 * frame / max(1, frames - 1), y, z), half, tint)]


def motion(facts: dict[str, np.ndarray], step: np.ndarray, K: np.ndarray, c2w: np.ndarray,
           K2: np.ndarray, c2w2: np.ndarray) -> np.ndarray:
    """Pixels from this frame to the next (H,W,2); box number n travels by step[n]."""
    height, width = facts["depth"].shape
    rays = directions(K, c2w, width, height, 1)
    hit = np.isfinite(facts["depth"])
    point = np.where(hit[..., None], rays * np.where(hit, facts["depth"], 0)[..., None] + c2w[:3, 3], 0)
    point = point + step[facts["index"].astype(int) - 1] * hit[..., None]
    away = np.where(hit[..., None], point - c2w2[:3, 3], rays)
    there = (away @ c2w2[:3, :3]) @ K2.T
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return there[..., :2] / there[..., 2:] - np.stack([u, v], -1)


def photograph(K: np.ndarray, c2w: np.ndarray, size: tuple[int, int], boxes: list) -> np.ndarray:
    return np.rint(255 * averaged(shade(K, c2w, size, boxes, SAMPLES)["colour"], SAMPLES)).astype(np.uint8)


def pictures(c2w: np.ndarray, size: tuple[int, int] = (256, 144), zoom: np.ndarray | float = 1.0) -> np.ndarray:
    """What a camera sees along c2w (F,4,4), without passes (F,H,W,3): for clips that do not follow the plan."""
    return np.stack([photograph(K, pose, size, BOXES) for K, pose in zip(pinhole(len(c2w), *size, zoom), c2w)])


def render(c2w: np.ndarray, size: tuple[int, int] = (256, 144), moving: bool = False,
           zoom: np.ndarray | float = 1.0) -> Shot:
    """Plan `c2w` (F,4,4) with its passes, and pictures taken along it."""
    frames = len(c2w)
    K = pinhole(frames, *size, zoom)
    centres = np.array([[b[0] for b in boxes_at(f, frames, moving)] for f in range(frames)])
    rows, shown, vectors = [], [], []
    for f in range(frames):
        facts = shade(K[f], c2w[f], size, boxes_at(f, frames, moving), 1)
        rows.append(facts)
        shown.append(photograph(K[f], c2w[f], size, boxes_at(f, frames, moving)))
        n = min(f + 1, frames - 1)
        flow = motion(facts, centres[n] - centres[f], K[f], c2w[f], K[n], c2w[n])
        vectors.append(flow if n > f else np.zeros_like(flow))
    matrix = np.tile(np.eye(4), (centres.shape[1], frames, 1, 1))
    matrix[..., :3, 3] = centres.transpose(1, 0, 2)
    stack = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return Shot(K, c2w, size, stack["depth"].astype(np.float32), stack["normal"].astype(np.float16), stack["index"],
                np.rint(255 * stack["base"]).astype(np.uint8), np.stack(vectors).astype(np.float16), np.stack(shown),
                np.arange(1, centres.shape[1] + 1), matrix)


def write_pictures(folder: Path, pictures: np.ndarray) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, picture in enumerate(pictures):
        cv2.imwrite(str(folder / jobs.frame_name(i)), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return folder


def write_job(folder: Path, shot: Shot, crop: tuple[int, int, int, int] | None = None,
              without: tuple[str, ...] = (), **fields: object) -> Path:
    """The shot's job folder with its pictures, cut to `crop`; passes named in `without` are left out."""
    crop = crop or (0, 0, *shot.size)
    x, y, width, height = crop
    written = [name for name in ("depth", "normal", "index", "base", "motion") if name not in without]
    names = {name: f"passes/{name}.npy" for name in written}
    jobs.write_camera(folder, shot.c2w, shot.K, np.arange(1, len(shot.c2w) + 1))
    jobs.write_objects(folder, shot.objects, shot.matrix)
    for name, path in names.items():
        jobs.write_array(folder / path, getattr(shot, name))
    jobs.write(jobs.Job(folder=folder, id="0123abcd", size=shot.size, crop=crop, passes=names, **fields))
    write_pictures(folder / "frames", shot.pictures[:, y:y + height, x:x + width])
    return folder
