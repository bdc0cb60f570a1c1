"""One evaluated Blender camera at one frame, as `K` and `c2w`; which camera a frame has.

The only place where Blender's axes (y up, looking along -z) become OpenCV's (y down, looking along +z).
Knows nothing of passes, jobs or settings. Matrices stay in Blender units: `scale_length` is never multiplied in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import bpy

FLIP = np.diag([1.0, -1.0, -1.0, 1.0])  # Blender's camera axes <-> OpenCV's; its own inverse
SENSOR_WIDTH = 36.0  # mm: the film of baked cameras; any width does, since the lens is given relative to it
MIN_LENS = 1.0  # mm: the shortest that Blender accepts


class Refusal(ValueError):
    """What Shotlock will not film, in one sentence: what was found, and what to do."""


@dataclass(frozen=True)
class Lens:
    """The Blender camera settings that have a given `K` at a given size; sensor_fit is HORIZONTAL."""

    lens: float  # mm
    sensor_width: float  # mm
    shift_x: float  # widths
    shift_y: float  # widths
    pixel_aspect_x: float
    pixel_aspect_y: float


# --- which camera, at what time -----------------------------------------------------------------------------------


def remapped(scene: bpy.types.Scene, frame: int) -> float:
    """The animation's time at a scene frame, stretched by Time Stretching (frame_map_old / frame_map_new).

    In float32, as Blender multiplies. `scene.frame_set(frame)` applies this by itself: never hand it the result.
    """
    render = scene.render
    return float(np.float32(frame) * (np.float32(render.frame_map_old) / np.float32(render.frame_map_new)))


def frame_time(scene: bpy.types.Scene, frame: int) -> tuple[int, float]:
    """(whole, subframe) of the animation's time at a scene frame: where F-curves are read, as the renderer does.

    For comparing and for reading F-curves only; `frame_set(frame)` already lands there.
    """
    time = remapped(scene, frame)
    whole = int(np.floor(time))
    return whole, time - whole


def bound_cameras(scene: bpy.types.Scene) -> list[tuple[int, bpy.types.Object]]:
    """(marker frame, camera) in time order. A camera that is hidden in renders mutes its markers, as in Blender."""
    found: dict[int, bpy.types.Object] = {}
    for marker in scene.timeline_markers:
        if marker.camera and not marker.camera.hide_render:
            found.setdefault(marker.frame, marker.camera)  # two on one frame: Blender takes the first in its list
    return sorted(found.items(), key=lambda item: item[0])


def camera_at(scene: bpy.types.Scene, frame: int) -> bpy.types.Object | None:
    """The camera that Blender films a frame with: the last bound marker at or before it; before the first, the first.

    None when there is neither a bound marker nor a scene camera.
    """
    return cameras_at(scene, [frame])[0]


def cameras_at(scene: bpy.types.Scene, frames: Iterable[int]) -> list[bpy.types.Object | None]:
    """`camera_at` of many frames, reading the markers once."""
    bound = bound_cameras(scene)
    if not bound:
        return [scene.camera for _ in frames]
    starts = [start for start, _ in bound]
    stretched = scene.render.frame_map_old != scene.render.frame_map_new
    times = [int(remapped(scene, f)) if stretched else f for f in frames]  # int(): toward zero, as Blender's cast
    last = np.searchsorted(starts, times, side="right") - 1
    return [bound[max(int(i), 0)][1] for i in last]


# --- where it stands, how it sees ---------------------------------------------------------------------------------


def pose(camera: bpy.types.Object) -> np.ndarray:
    """(4,4) float64 camera-to-world, OpenCV axes, rigid with determinant +1, of an evaluated camera.

    Scale is dropped, as Blender's renderers do. Where parents shear the camera, the view axis stays exact and the
    other two are squared up to it. Refuses a mirrored camera: its pictures are reversed, which no rigid pose can say.
    """
    matrix = np.array(camera.matrix_world, dtype=np.float64)
    if not np.isfinite(matrix).all() or abs(np.linalg.det(_unit_axes(matrix))) < 1e-6:
        raise Refusal(f'The camera "{camera.name}" has a scale of zero or a broken transform: give it a scale of 1')
    if is_mirrored(matrix):
        raise Refusal(f'The camera "{camera.name}" is mirrored by a negative scale, so its pictures are reversed: '
                      "make the scale of it and its parents positive")
    rigid = np.eye(4)
    rigid[:3, :3] = _squared(_unit_axes(matrix))
    rigid[:3, 3] = matrix[:3, 3]
    return rigid @ FLIP


def blender_matrix(c2w: np.ndarray) -> np.ndarray:
    """The `matrix_world` of a Blender camera with this OpenCV pose."""
    return np.asarray(c2w, np.float64) @ FLIP


def is_mirrored(matrix: Any) -> bool:
    return bool(np.linalg.det(np.asarray(matrix, np.float64)[:3, :3]) < 0)


def shear(camera: bpy.types.Object) -> float:
    """Degrees by which the camera's axes miss right angles: a rotated camera below an unevenly scaled parent."""
    axes = _unit_axes(np.array(camera.matrix_world, dtype=np.float64))
    cosines = np.abs((axes.T @ axes)[np.triu_indices(3, 1)])
    return float(np.degrees(np.arcsin(np.clip(cosines.max(), 0, 1))))


def _unit_axes(matrix: np.ndarray) -> np.ndarray:
    axes = matrix[:3, :3]
    return axes / np.maximum(np.linalg.norm(axes, axis=0), 1e-30)


def _squared(axes: np.ndarray) -> np.ndarray:
    """Right-handed and orthonormal to float64, z kept: float32 matrices are only so to 1e-7."""
    z = axes[:, 2] / np.linalg.norm(axes[:, 2])
    y = axes[:, 1] - z * (z @ axes[:, 1])
    y /= np.linalg.norm(y)
    return np.stack([np.cross(y, z), y, z], axis=1)


def render_size(scene: bpy.types.Scene) -> tuple[int, int]:
    """The size of the image that Blender saves: the percentage rounds down. Border and crop are not obeyed."""
    render = scene.render
    percent = render.resolution_percentage
    return render.resolution_x * percent // 100, render.resolution_y * percent // 100


def intrinsics(scene: bpy.types.Scene, camera: bpy.types.Object, depsgraph: bpy.types.Depsgraph,
               size: tuple[int, int], crop: tuple[int, int, int, int]) -> np.ndarray:
    """(3,3) float64 in pixels of `size`, pixel centres at +0.5: the artist's frame lands exactly on `crop`.

    `camera` is evaluated; `scene` still has the artist's resolution. What lies around the crop is more of the same
    view. Pixels keep the scene's pixel aspect, so the strip fills the scene's canvas unsqueezed.
    """
    width, height = render_size(scene)
    x, y, w, h = crop
    if min(x, y) < 0 or x + w > size[0] or y + h > size[1]:
        raise ValueError(f"crop {crop} leaves the size {size}: give a crop that lies inside it")
    to_crop = np.array([[w / width, 0, x], [0, h / height, y], [0, 0, 1]], np.float64)
    return to_crop @ _render_intrinsics(scene, camera, depsgraph, width, height)


def _render_intrinsics(scene: bpy.types.Scene, camera: bpy.types.Object, depsgraph: bpy.types.Depsgraph,
                       width: int, height: int) -> np.ndarray:
    """K of Blender's own image, out of the projection matrix that Blender makes for it."""
    render = scene.render
    p = np.array(camera.calc_matrix_camera(depsgraph, x=width, y=height, scale_x=render.pixel_aspect_x,
                                           scale_y=render.pixel_aspect_y), np.float64)
    fx, fy = p[0, 0] * width / 2, p[1, 1] * height / 2
    cx, cy = width / 2 * (1 - p[0, 2]), height / 2 * (1 + p[1, 2])
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float64)


def lens_of(K: np.ndarray, size: tuple[int, int]) -> Lens:
    """The inverse of `intrinsics`: camera and render settings whose image of `size` has this `K`."""
    width, height = size
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    lens = fx * SENSOR_WIDTH / width
    stretch = max(1.0, MIN_LENS / lens)  # wider than 1 mm on this film: take a larger film
    return Lens(lens=float(lens * stretch), sensor_width=float(SENSOR_WIDTH * stretch),
                shift_x=float((width / 2 - cx) / width), shift_y=float((cy - height / 2) / (width * fy / fx)),
                pixel_aspect_x=float(max(1.0, fy / fx)), pixel_aspect_y=float(max(1.0, fx / fy)))
