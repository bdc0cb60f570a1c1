"""Where a shot's sun stands: the scene's lamp, the bright spot of its world's picture, or what the prompt may ask for;
and how a map of what it sees lies. Standard library and numpy; both sides use it.

The prompt decides how high the sun stands only when the engine runs, so the capture films a few heights, and the
scene's own sun where it has one; the engine takes the nearest. A world is a picture of all directions: row 0 looks to
the zenith, the last row down; the middle column looks along +y, and what is right of it toward +x.
"""

from __future__ import annotations

import math

import numpy as np

HEIGHTS = (0.16, 0.42, 0.75, 1.05)  # radians above the horizon: sunset, afternoon, noon
NEARLY = 0.1  # radians from the own sun at which a height is not filmed once more
LOWEST = 0.02  # of the direction's z: below, the sun is down


def azimuth(seed: int, forward: np.ndarray) -> float:
    """Where the sun of a scene without one stands, radians: behind the camera to one side, decided by the seed.
    `forward` (3,): where the shot's middle frame looks."""
    rng = np.random.default_rng(seed)
    side = float(rng.choice([-1, 1])) * math.radians(float(rng.uniform(35, 75)))
    return math.atan2(float(forward[1]), float(forward[0])) + math.pi + side


def directions(own: np.ndarray | None, seed: int, forward: np.ndarray) -> np.ndarray:
    """(N, 3) unit vectors toward the suns. `own` (3,): toward the scene's own sun; first, where it is up."""
    up = own is not None and own[2] > LOWEST
    around = math.atan2(own[1], own[0]) if own is not None and up else azimuth(seed, forward)
    height = math.atan2(own[2], math.hypot(own[0], own[1])) if own is not None and up else math.inf
    rows = [own / np.linalg.norm(own)] if own is not None and up else []
    for angle in HEIGHTS:
        if abs(angle - height) > NEARLY:
            flat = math.cos(angle)
            rows.append(np.array([flat * math.cos(around), flat * math.sin(around), math.sin(angle)]))
    return np.stack(rows)


def axes(toward: np.ndarray) -> np.ndarray:
    """(3,) unit -> (3, 3) rows, a rotation: two across, one toward the sun."""
    helper = np.array([1.0, 0, 0]) if abs(toward[2]) > 0.9 else np.array([0, 0, 1.0])
    across = np.cross(helper, toward)
    across /= np.linalg.norm(across)
    return np.stack([across, np.cross(toward, across), toward])


# A map of what a sun sees

FINE = 3.04  # cells of a map's side per side of a square of a frame's pixels
LEAST, MOST = 256, 1024  # cells of a side
FARTHEST = 5.0  # median distances from the shot's middle that are worth cells
ASKED = 9  # frames that say what the shot saw
THIN = 6  # one pixel in so many, each way


def side(size: tuple[int, int]) -> int:
    """Cells of a map's side: in proportion to the frames that its shadows fall into."""
    return int(min(max(FINE * math.sqrt(size[0] * size[1]), LEAST), MOST))


def square(axes: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, float]:
    """Middle (3,) and half side of the square across the sun that holds most of the points: half of them by far, the
    rest as far as its cells are not wasted on a horizon."""
    middle = np.median(points, 0)
    far = np.linalg.norm(points - middle, axis=1)
    near = points[far <= FARTHEST * max(float(np.median(far)), 1e-6)]
    across = (near - middle) @ axes[:2].T
    low, high = np.quantile(across, 0.005, 0), np.quantile(across, 0.995, 0)
    half = 0.55 * float((high - low).max())
    return middle + axes[:2].T @ ((low + high) / 2), max(half, 1e-3)


def seen(depth: np.ndarray, c2w: np.ndarray, K: np.ndarray) -> np.ndarray:
    """World points (N,3) of a shot's depth passes (F,H,W), some pixels of some frames."""
    count = len(depth)
    found = []
    for i in sorted({round(k * (count - 1) / (ASKED - 1)) for k in range(ASKED)}):
        z = np.asarray(depth[i][::THIN, ::THIN], np.float64)
        v, u = np.meshgrid(np.arange(z.shape[0]) * THIN + 0.5, np.arange(z.shape[1]) * THIN + 0.5, indexing="ij")
        solid = np.isfinite(z)
        ray = np.stack([u, v, np.ones_like(u)], -1)[solid] @ np.linalg.inv(K[i]).T
        found.append((ray * z[solid][:, None]) @ c2w[i, :3, :3].T + c2w[i, :3, 3])
    return np.concatenate(found)


# The world as a picture

BRIGHT = 8.0  # times the mean luminance: part of a sun
COUNTS = 0.15  # of what reaches level ground: from here on the bright part is a sun
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


def world_directions(height: int, width: int) -> np.ndarray:
    """(H, W, 3) unit: where each pixel of a world's picture looks."""
    up = (0.5 - (np.arange(height) + 0.5) / height) * math.pi
    around = ((np.arange(width) + 0.5) / width - 0.5) * 2 * math.pi
    e, a = np.meshgrid(up, around, indexing="ij")
    return np.stack([np.sin(a) * np.cos(e), np.cos(a) * np.cos(e), np.sin(e)], -1)


def solid_angles(height: int, width: int) -> np.ndarray:
    """(H, 1) steradians of a pixel; all pixels together are 4 pi."""
    edges = np.sin((0.5 - np.arange(height + 1) / height) * math.pi)
    return ((edges[:-1] - edges[1:]) * 2 * math.pi / width)[:, None]


def bright_part(world: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels above the horizon that are a sun, if there is one."""
    luminance = world @ LUMINANCE
    share = solid_angles(*luminance.shape)
    mean = float((luminance * share).sum() / (4 * math.pi))
    sun = (luminance > BRIGHT * mean) & (world_directions(*luminance.shape)[..., 2] > LOWEST)
    return sun if mean > 0 else np.zeros_like(sun)


def sun_of(world: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The world's own sun, (toward (3,) unit, irradiance (3,) square to it, scene-linear W/m2); None: no spot of it
    gives a good part of the light on level ground. world (H, W, 3) scene-linear radiance."""
    sun, way = bright_part(world), world_directions(*world.shape[:2])
    light = world * solid_angles(*world.shape[:2])[..., None]
    level = light * np.clip(way[..., 2:], 0, None)
    if not sun.any() or (level[sun] @ LUMINANCE).sum() < COUNTS * (level @ LUMINANCE).sum():
        return None
    toward = (way[sun] * (light[sun] @ LUMINANCE)[:, None]).sum(0)
    return toward / np.linalg.norm(toward), light[sun].sum(0)


def sky_light(world: np.ndarray) -> np.ndarray:
    """(3,) radiance that an even sky would need to light level ground as this world does, its sun left out."""
    way, light = world_directions(*world.shape[:2]), world * solid_angles(*world.shape[:2])[..., None]
    light = np.where(bright_part(world)[..., None] & (sun_of(world) is not None), 0.0, light)
    return (light * np.clip(way[..., 2:], 0, None)).sum((0, 1)) / math.pi
