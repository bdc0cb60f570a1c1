"""One training clip, in a background Blender: an artist's file is opened, its light perhaps changed, a camera path
found in it or taken from its own camera; Cycles' picture of every frame, then the passes as any capture has them.

`passes.py -- clip_maker CLIP_FOLDER` starts it; `state/clip.json` there says what is wanted. The file is never saved.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from ..engine import job
from . import bare, beauty, cameras, clip_light, clip_paths, clip_scout, filming, lacking, passes
from .cameras import Refusal
from .plan import Plan, frame_rate

ORDER, RESULT = "clip.json", "captured.json"  # in the clip's state/
OWN = "own"  # the scene's own camera, as it is animated
OWN_SHARE = 0.3  # of the clips, where the scene has a camera
STEPS = (1, 1, 2, 3)  # scene frames from one frame of the clip to the next, for the scene's own camera
FAR = 100.0  # times the view's depth that a camera of ours sees
BLANK_TRIES = 4  # paths that may turn out black before a clip is given up


def main(folder: Path) -> None:
    passes.leave_with_parent()
    order = json.loads((folder / "state" / ORDER).read_text(encoding="utf-8"))
    filming.open_copy(Path(order["file"]), order, passes.say)
    make(folder, order, passes.say)


def make(folder: Path, order: dict[str, Any], say: Callable[..., None]) -> None:
    """`order["again"]` holds what job.json told of a clip whose pictures are there: only passes are filmed."""
    scene, layer, again = bpy.context.scene, bpy.context.view_layer, order.get("again")
    filming.show(scene, layer)
    rng = np.random.default_rng(order["seed"])
    warnings = lacking.warnings(scene, order) + clip_light.stand_in(scene)
    beauty.prepare(scene, order)
    scene.render.resolution_x, scene.render.resolution_y = order["size"]
    hour = again["light"] if again else clip_light.draw(rng) if order["vary_light"] else None
    if hour:
        clip_light.apply(scene, layer, hour)
    how = as_before(folder, order, scene, layer) if again else _filmed(folder, order, scene, layer, rng, say)
    kind, plan, path = how
    clip = {"move": kind, "light": hour, "reach": path.clip[0], "picture": beauty.facts(scene)}
    found = filming.film_path(folder, scene, layer, plan, path, order | {"samples": passes.SAMPLES}, say)
    found["scene"]["warnings"] = warnings + lacking.drivers()
    job.write_json(folder / "state" / RESULT, found | {
        "clip": again or clip, "fps": plan.fps, "cuts": plan.cuts, "blender": bpy.app.version_string})


def _filmed(folder: Path, order: dict[str, Any], scene: Any, layer: Any, rng: np.random.Generator,
            say: Callable[..., None]) -> tuple[str, Plan, filming.Path3D]:
    """The clip's pictures, and how they were filmed. A path along which there is nothing to be seen is not taken."""
    for _ in range(BLANK_TRIES):
        kind, plan, path = choose(order, scene, layer, rng)
        beauty.render(folder, scene, plan, path, say)
        filming.show(scene, layer)
        if not beauty.shows_nothing(folder / beauty.FOLDER / job.frame_name(len(plan.frames) // 2)):
            return kind, plan, path
    raise Refusal(f"{_name(order)} renders pictures of one colour: give its scene light, or leave it out")


def as_before(folder: Path, order: dict[str, Any], scene: Any, layer: Any) -> tuple[str, Plan, filming.Path3D]:
    """The path of a clip that is there already: the scene's own camera at its frames, or what its camera.npz holds."""
    with np.load(folder / "camera.npz", allow_pickle=False) as kept:
        c2w, K, frames = kept["c2w"], kept["K"], kept["frames"].tolist()
    kind, reach = order["again"]["move"], tuple(order["again"]["reach"])
    if kind == OWN:
        return kind, *own(order, scene, layer, frames)
    scene.frame_set(frames[0])
    camera = new_camera(scene, clip_paths.Path(kind, c2w, K[:, 0, 0] / max(order["size"]) * clip_paths.FILM))
    return kind, planned(order, scene, layer, camera.name, frames), filming.Path3D(c2w, K, [reach] * len(frames), {})


# --- which camera -------------------------------------------------------------------------------------------------


def choose(order: dict[str, Any], scene: Any, layer: Any, rng: np.random.Generator,
           ) -> tuple[str, Plan, filming.Path3D]:
    """The scene's own camera in one clip of three, where it can film; else a path of a kind that was asked for."""
    wanted = set(order["moves"])
    ranges = own_ranges(scene, order["frames"], rng) if OWN in wanted else []
    if ranges and (wanted == {OWN} or rng.random() < OWN_SHARE):
        return OWN, *own(order, scene, layer, ranges[rng.integers(len(ranges))])
    if wanted == {OWN}:
        raise Refusal(f"{_name(order)} has no camera of its own that films {order['frames']} frames without a cut: "
                      "ask for other moves, or add one")
    return found(order, scene, layer, sorted(wanted - {OWN}), rng)


def own_ranges(scene: Any, frames: int, rng: np.random.Generator) -> list[list[int]]:
    """Runs of scene frames, a random step apart, that one camera films within the scene's range."""
    everything = range(scene.frame_start, scene.frame_end + 1)
    steps = [step for step in STEPS if (frames - 1) * step < len(everything)]
    if not steps:
        return []
    reach = (frames - 1) * (step := int(rng.choice(steps)))
    filming_at = dict(zip(everything, cameras.cameras_at(scene, everything)))
    runs = [list(range(start, start + reach + 1, step)) for start in everything[: len(everything) - reach]]
    return [run for run in runs if len({filming_at[frame] for frame in run}) == 1 and can_film(filming_at[run[0]])]


def can_film(camera: Any) -> bool:
    return (camera is not None and camera.type == "CAMERA" and camera.data.type == "PERSP"
            and not cameras.is_mirrored(camera.matrix_world))


def own(order: dict[str, Any], scene: Any, layer: Any, frames: Sequence[int]) -> tuple[Plan, filming.Path3D]:
    camera = cameras.camera_at(scene, frames[0])
    assert camera
    made = planned(order, scene, layer, camera.name, frames)
    return made, filming.read_cameras(scene, layer, made)


def found(order: dict[str, Any], scene: Any, layer: Any, kinds: Sequence[str], rng: np.random.Generator,
          ) -> tuple[str, Plan, filming.Path3D]:
    """A random path near where the scene's camera stands, at a random frame of it; the scene lives on while it runs."""
    first = int(rng.integers(scene.frame_start, max(scene.frame_start + 1, scene.frame_end - order["frames"] + 2)))
    scene.frame_set(first)
    size, scout = tuple(order["size"]), clip_scout.Scout(scene, layer)
    pose, lens = seen_from(order, scene, layer, scout, first, rng)
    path = clip_paths.find(scout, pose, lens, size, order["frames"], kinds, rng)
    if path is None:
        raise Refusal(f"{_name(order)} gives no camera room: {clip_paths.TRIES} paths met walls or saw too little; "
                      "ask for its own camera alone, or leave it out")
    frames = range(first, first + order["frames"])
    camera = new_camera(scene, path)
    made = planned(order, scene, layer, camera.name, frames)
    K = np.array([clip_paths.intrinsics(mm, size) for mm in path.lens])
    return path.kind, made, filming.Path3D(path.c2w, K, [clip_range(scene, scout, path)] * len(frames), {})


def seen_from(order: dict[str, Any], scene: Any, layer: Any, scout: clip_scout.Scout, frame: int,
              rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """The scene's camera as it stands, if it can film; else a place from which the scene can be framed."""
    camera = cameras.camera_at(scene, frame)
    if can_film(camera):
        seen = camera.evaluated_get(scout.depsgraph)
        K = cameras.intrinsics(scene, seen, scout.depsgraph, order["size"], (0, 0, *order["size"]))
        lens = float(np.clip(K[0, 0] / max(order["size"]) * clip_paths.FILM, *clip_paths.LENSES))
        pose = cameras.pose(seen)
        if np.isfinite(clip_paths.view(scout, pose, lens, tuple(order["size"])).deep):
            return pose, lens
    around = clip_scout.bounds(scene)
    view = around and clip_paths.survey(scout, *around, tuple(order["size"]), rng)
    if not view:
        lack = "has no camera that sees anything" if camera else "has no camera"
        raise Refusal(f"{_name(order)} {lack} and cannot be framed from outside or within: add a camera to it")
    return view


def new_camera(scene: Any, path: clip_paths.Path) -> Any:
    """What the scene's facts see of our camera: where it begins, and its lens."""
    camera = bare.new_camera(scene)
    camera.matrix_world = Matrix(cameras.blender_matrix(path.c2w[0]).tolist())
    camera.data.lens = float(path.lens[0])
    return camera


def clip_range(scene: Any, scout: clip_scout.Scout, path: clip_paths.Path) -> tuple[float, float]:
    """From nearer than the path keeps clear, to farther than the scene's own camera sees."""
    deep = clip_paths.view(scout, path.c2w[0], float(path.lens[0]), (16, 16)).deep
    own = scene.camera.data.clip_end if can_film(scene.camera) else 0.0
    return 0.1 * clip_paths.CLEAR * deep, max(FAR * deep, own)


def planned(order: dict[str, Any], scene: Any, layer: Any, camera: str, frames: Sequence[int]) -> Plan:
    """The clip as a capture would plan it; what a model needs is not a clip's to say."""
    width, height = order["size"]
    return Plan(
        scene=scene.name, view_layer=layer.name, cameras=(camera,) * len(frames), frames=tuple(frames), last=frames[-1],
        size=(width, height), crop=(0, 0, width, height), fps=frame_rate(scene), cuts=(0,), prompt="",
        negative_prompt="", seed=0, steps=job.DEFAULT_STEPS, guidance=1.0, control_strength=1.0,
        model=next(iter(job.MODELS)), pixel_aspect=(1.0, 1.0))


def _name(order: dict[str, Any]) -> str:
    return Path(order["file"]).name
