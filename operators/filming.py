"""The story of one capture, in the background Blender: open the copy, read the cameras, strip the scene down, render
and write every frame. Imports bpy; knows nothing of the artist's session or of the engine's models."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Color

from ..engine import job, suns
from ..engine.prompt import negation, things
from . import bare, caches, cameras, facts, lacking, lamps, pixels, sunlight, surroundings
from .plan import Plan
from .reader import Pixels, Reader

AO_REACH = 0.35  # of the shot's median distance: corners and contacts, not the whole room
SKY_REACH = 1000.0
MOST_GROUPS = 8  # parents and collections of an object that are told


@dataclass(frozen=True)
class Path3D:
    """The camera, frame by frame, as the artist's scene has it."""

    c2w: np.ndarray  # (F,4,4)
    K: np.ndarray  # (F,3,3)
    clip: list[tuple[float, float]]
    ahead: dict[int, np.ndarray]  # scene frame → pose one frame later, where the shot doesn't film that frame


def open_copy(path: Path, order: dict[str, Any], say: Callable[..., None]) -> None:
    """Blender proper has opened it from its command line; the bpy wheel opens it here."""
    say(scratch=bpy.app.tempdir)
    bpy.context.preferences.edit.use_negative_frames = True  # else such frames are clamped to 0
    lacking.enable_addons(order["addons"])
    if not bpy.data.filepath or Path(bpy.data.filepath).resolve() != path.resolve():
        bpy.ops.wm.open_mainfile(filepath=str(path), load_ui=False, use_scripts=order["trusted"])
    caches.find(order["file"])


def film(folder: Path, order: dict[str, Any], say: Callable[..., None]) -> None:
    plan = Plan.from_dict(order["plan"])
    scene = bpy.data.scenes[plan.scene]
    layer = scene.view_layers[plan.view_layer]
    warnings = lacking.warnings(scene, order)
    other = lacking.other_in_viewport(scene)
    path = read_cameras(scene, layer, plan)
    warnings += lacking.drivers()
    found = film_path(folder, scene, layer, plan, path, order, say)
    found["scene"] |= {"warnings": warnings, "other_in_viewport": other}
    job.write_json(folder / "state" / "captured.json", found)


def film_path(folder: Path, scene: bpy.types.Scene, layer: bpy.types.ViewLayer, plan: Plan, path: Path3D,
              order: dict[str, Any], say: Callable[..., None]) -> dict[str, Any]:
    """Everything that a job folder holds of a camera path; returns its `objects` and `scene`. Leaves a bare scene."""
    job.write_camera(folder, path.c2w, path.K, np.array(plan.frames))
    say(phase="passes", total=len(plan.frames))
    told = in_words(scene, plan, path)
    shutter = Reader(scene)
    world_sun = _film_world(folder, shutter, scene, plan, path)
    told["sun"] = told["sun"] or world_sun
    objects = _render(folder, shutter, scene, layer, plan, path, order | {"sun": told["sun"]}, say)
    return {"objects": objects, "scene": told}


def in_words(scene: bpy.types.Scene, plan: Plan, path: Path3D) -> dict[str, Any]:
    """`scene` of job.json, read before anything is stripped down; told here, where it holds up no window."""
    units = scene.unit_settings
    metres = None if units.system == "NONE" else units.scale_length
    found = facts.seen(facts.facts(scene, plan), path.c2w, path.K, plan.size)
    layer = scene.view_layers[plan.view_layer]
    lights = lamps.reaching(scene, layer, found["lights"], path.c2w, path.K, plan.size)
    return found | {"lights": lights, "path": facts.camera_facts(plan, path.c2w, path.K, metres)}


# --- cameras ------------------------------------------------------------------------------------------------------


def read_cameras(scene: bpy.types.Scene, layer: bpy.types.ViewLayer, plan: Plan) -> Path3D:
    """Pose and lens of the evaluated camera at every frame. Everything that no camera depends on is left out of the
    evaluation, which would otherwise build the whole scene once more per frame."""
    scene.timeline_markers.clear()  # the plan has read them; left in, they would choose the camera again
    show(scene, layer)
    c2w, K, clip, ahead = [], [], [], {}
    with _collections_off(layer):
        for i, (frame, name) in enumerate(zip(plan.frames, plan.cameras, strict=True)):
            film_with(scene, name)
            camera, depsgraph = _evaluated(scene, layer, frame)
            c2w.append(cameras.pose(camera))
            K.append(cameras.intrinsics(scene, camera, depsgraph, plan.size, plan.crop))
            clip.append((camera.data.clip_start, camera.data.clip_end))
            if _goes_on(plan, i) and plan.frames[i + 1] != frame + 1:
                ahead[frame] = cameras.pose(_evaluated(scene, layer, frame + 1)[0])
    return Path3D(np.array(c2w), np.array(K), clip, ahead)


def film_with(scene: bpy.types.Scene, name: str) -> None:
    camera = scene.objects.get(name) or bpy.data.objects[name]
    if scene.camera != camera:
        scene.camera = camera


def _evaluated(scene: bpy.types.Scene, layer: bpy.types.ViewLayer, frame: int) -> tuple[Any, Any]:
    scene.frame_set(frame)
    return scene.camera.evaluated_get(layer.depsgraph), layer.depsgraph


def _goes_on(plan: Plan, i: int) -> bool:
    """Whether the frame after this one belongs to the same camera."""
    return i + 1 < len(plan.frames) and i + 1 not in plan.cuts


def show(scene: bpy.types.Scene, layer: bpy.types.ViewLayer) -> None:
    window = bpy.context.window
    window.scene = scene
    window.view_layer = layer


@contextlib.contextmanager
def _collections_off(layer: bpy.types.ViewLayer) -> Iterator[None]:
    """A scene's camera, and what it hangs on, is evaluated even where its collection is excluded."""
    before = list(_excluded(layer.layer_collection))
    for child in layer.layer_collection.children:
        child.exclude = True
    yield
    for collection, exclude in before:
        collection.exclude = exclude


def _excluded(parent: Any) -> Iterator[tuple[Any, bool]]:
    """Parents first: setting one sets its children too."""
    for child in parent.children:
        yield child, child.exclude
        yield from _excluded(child)


# --- rendering ----------------------------------------------------------------------------------------------------


def _film_world(folder: Path, shutter: Reader, scene: bpy.types.Scene, plan: Plan,
                path: Path3D) -> dict[str, Any] | None:
    """Writes what surrounds the scene; tells of its sun, where its light has one, as a lamp is told of."""
    world = surroundings.film(shutter, scene, plan.frames[len(plan.frames) // 2], float(path.K[:, 0, 0].max()))
    if world is None:
        return None
    world = np.nan_to_num(world @ rec709_matrix().T, posinf=pixels.LARGEST).clip(0, pixels.LARGEST)
    job.write_array(folder / "world.npy", world.astype(np.float16))
    sun = suns.sun_of(world.astype(np.float64))
    return facts.sun_of_world(scene.world.name, *sun) if sun else None


def _render(folder: Path, shutter: Reader, scene: bpy.types.Scene, layer: bpy.types.ViewLayer, plan: Plan,
            path: Path3D, order: dict[str, Any], say: Callable[..., None]) -> list[dict[str, Any]]:
    table = bare.number_objects()
    glazed = bare.strip_down(scene, layer, _spoken_of(plan, table))
    camera = bare.new_camera(scene)
    bake(scene, camera, plan, path)
    bare.only_passes(layer, bare.GEOMETRY + bare.COLOUR)
    stand_aside()
    matrices = Matrices(table, scene, folder / "state", len(plan.frames))
    to_rec709 = rec709_matrix()
    near, far = _reaches(shutter, scene, camera, plan, path)
    with _arrays(folder, plan, glazed) as arrays, ThreadPoolExecutor(1) as writer:
        written: Future[None] | None = None
        for i, frame in enumerate(plan.frames):
            bare.aim(scene, camera, path.K[i], plan.size, path.clip[i])
            shutter.before = partial(matrices.read, i)
            scene.world.light_settings.distance = far
            geometry = shutter.frame(frame, 1)
            shutter.before = lambda depsgraph: None
            panes = None
            if glazed:
                bare.see(layer, bare.ANYTHING)
                panes = shutter.frame(frame, 1)
                bare.see(layer, bare.THERE)
            scene.world.light_settings.distance = near
            colour = shutter.frame(frame, order["samples"])
            if written:
                written.result()  # one frame waits, no more
            written = writer.submit(_write, arrays, i, plan, path, geometry, panes, colour, to_rec709, say)
        if written:
            written.result()
        seen = _seen(arrays["index"])
        away = sunlight.left_out(table, matrices.moving())
        _film_suns(folder, shutter, scene, layer, plan, path, arrays["depth"], order["sun"], away, say)
    matrices.write(folder, seen)
    return [_told(n, table[n], dict(plan.things)) for n in seen if n in table]


def _spoken_of(plan: Plan, table: dict[int, bpy.types.Object]) -> list[bpy.types.Object]:
    """Objects all of glass that a prompt of their own, or the shot's, says something of: a red bottle."""
    glass = {number: thing for number, thing in table.items() if facts.is_glass(thing)}
    told = [_told(number, thing, dict(plan.things)) for number, thing in glass.items()]
    said = things.things(negation.split(plan.prompt)[0], told)[0]
    changed = [thing for thing in said if thing.material not in ("none", "glass") or thing.dye != "none" or thing.glows]
    spoken = set().union(*(thing.objects for thing in changed))
    return [glass[number] for number in spoken]


def _told(number: int, thing: bpy.types.Object, prompts: dict[str, str]) -> dict[str, Any]:
    """An object as job.json tells it: what it and what holds it are called, its own prompt where it has one, and
    whether nobody said yet what it is made of."""
    parents: list[str] = []
    over = thing.parent
    while over is not None and len(parents) < MOST_GROUPS:
        parents.append(over.name)
        over = over.parent
    groups = [*parents, *(c.name for c in thing.users_collection if c.name in bpy.data.collections)][:MOST_GROUPS]
    own: dict[str, Any] = {"prompt": prompts[thing.name]} if thing.name in prompts else {}
    own |= {"bare": True} if facts.is_bare(thing) else {}
    return {"index": number, "name": thing.name} | ({"groups": groups} if groups else {}) | own


def _reaches(shutter: Reader, scene: bpy.types.Scene, camera: Any, plan: Plan, path: Path3D) -> tuple[float, float]:
    """How far ambient occlusion looks, scene units: a share of the shot's median distance, for corners and contacts;
    and as far as the sky. The first, the middle and the last frame are asked."""
    found = []
    for i in sorted({0, len(plan.frames) // 2, len(plan.frames) - 1}):
        bare.aim(scene, camera, path.K[i], plan.size, path.clip[i])
        z = pixels.depth(shutter.frame(plan.frames[i], 1)["depth"])
        found += [z[np.isfinite(z)]]
    solid = np.concatenate(found)
    middle = float(np.median(solid)) if len(solid) else 1.0
    return AO_REACH * middle, SKY_REACH * middle


def _film_suns(folder: Path, shutter: Reader, scene: bpy.types.Scene, layer: bpy.types.ViewLayer, plan: Plan,
               path: Path3D, depth: np.ndarray, sun: dict[str, Any] | None, away: dict[int, Any],
               say: Callable[..., None]) -> None:
    """What the sun sees, from every height that the prompt may ask for."""
    points = suns.seen(depth, path.c2w, path.K)
    if not len(points):
        return
    bare.only_passes(layer, ("use_pass_z", bare.SMOOTH))  # materials go on writing it, whether it is there or not
    middle = len(plan.frames) // 2
    own = np.array(sun["direction"]) if sun else None
    directions = suns.directions(own, plan.seed, path.c2w[middle, :3, 2])
    maps = sunlight.film(shutter, scene, directions, points, plan.frames[middle], plan.size, away, say)
    job.write_suns(folder, maps)


def rec709_matrix() -> np.ndarray:
    """From the file's working colour space, which 5.0 lets artists choose, to that of the passes."""
    return np.array([Color(row).from_scene_linear_to_rec709_linear() for row in ((1, 0, 0), (0, 1, 0), (0, 0, 1))],
                    np.float32).T


def bake(scene: bpy.types.Scene, camera: bpy.types.Object, plan: Plan, path: Path3D) -> None:
    keys = dict(zip(plan.frames, path.c2w, strict=True)) | {f + 1: pose for f, pose in path.ahead.items()}
    bare.keyframe(camera, scene, sorted(keys), [keys[f] for f in sorted(keys)])
    scene.camera = camera


def stand_aside() -> None:
    """An empty scene in the window: operators evaluate the window's scene, which would build ours a second time."""
    bpy.context.window.scene = bpy.data.scenes.new("Shotlock empty")


@contextlib.contextmanager
def _arrays(folder: Path, plan: Plan, glazed: bool) -> Iterator[dict[str, np.ndarray]]:
    width, height = plan.size
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(job.new_array(folder / "passes" / f"{name}.npy", kind.dtype, (
                   len(plan.frames), height, width) + ((kind.channels,) if kind.channels > 1 else ())))
               for name, kind in job.PASSES.items() if glazed or name != "glass"}


def _write(arrays: dict[str, np.ndarray], i: int, plan: Plan, path: Path3D, geometry: Pixels, panes: Pixels | None,
           colour: Pixels, to_rec709: np.ndarray, say: Callable[..., None]) -> None:
    """One frame's passes, while Cycles renders the next; touches nothing of Blender's."""
    colour = pixels.recoloured(colour, to_rec709)
    height, width = geometry["depth"].shape
    water = np.zeros((height, width), bool)
    if panes is not None:
        down = pixels.directions(height, width, path.K[i]) @ path.c2w[i, 2, :3] < 0
        geometry, arrays["glass"][i], water = pixels.behind_glass(geometry, panes, down)
    z = pixels.depth(geometry["depth"])
    sky = np.isinf(z)
    base, gloss = pixels.surface_colour(colour["diffuse"], colour["glossy"], colour["transmission"],
                                        colour["emission"], colour["combined"][..., 3], sky)
    arrays["depth"][i] = z
    arrays["normal"][i] = pixels.normal(geometry["normal"], sky)
    rough = pixels.roughness(colour["smooth"], colour["combined"][..., 3], sky)
    arrays["rough"][i] = pixels.share(np.where(water, np.float32(0), rough))
    arrays["index"][i] = pixels.index(geometry["index"], sky)
    arrays["base"][i] = pixels.srgb(base)
    arrays["gloss"][i] = pixels.share(np.where(water, np.float32(pixels.UNMETALLIC), gloss))
    free = pixels.ambient(colour["ao"], colour["combined"][..., 3], sky)
    far = pixels.ambient(geometry["ao"], geometry["combined"][..., 3], sky)
    arrays["ao"][i] = pixels.share(np.where(water, np.float32(1), free))
    arrays["open"][i] = pixels.share(np.where(water, np.float32(1), far))
    arrays["emission"][i] = pixels.half(np.where(sky[..., None], 0, colour["emission"]))
    arrays["motion"][i] = pixels.half(motion(plan, path, i, z, geometry["vector"]))
    say(frame=i + 1)


def motion(plan: Plan, path: Path3D, i: int, z: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """From this frame of the shot to the next; nothing moves on the last one and before a cut.

    Cycles looks one scene frame ahead. Where the shot steps further, the camera's part is computed and what objects do
    by themselves goes on as it does in the first frame of the step.
    """
    if not _goes_on(plan, i):
        return np.zeros((*z.shape, 2), np.float32)
    uv, K, c2w, K2, c2w2 = pixels.centres(*z.shape), path.K[i], path.c2w[i], path.K[i + 1], path.c2w[i + 1]
    moved = pixels.cycles_motion(vector)
    step = plan.frames[i + 1] - plan.frames[i]
    if step == 1:
        moved = pixels.relensed(moved, uv, K, K2)
    else:
        own = moved - pixels.static_motion(z, uv, K, K, c2w, path.ahead[plan.frames[i]])
        moved = pixels.static_motion(z, uv, K, K2, c2w, c2w2) + step * own
    return np.where(np.isinf(z)[..., None], pixels.turned(uv, K, K2, c2w, c2w2), moved)


# --- objects ------------------------------------------------------------------------------------------------------


class Matrices:
    """Where each object stands in every frame. What is (also) instanced has no single place and is left out."""

    def __init__(self, table: dict[int, bpy.types.Object], scene: bpy.types.Scene, scratch: Path, frames: int) -> None:
        placed = set(scene.objects) | set(scene.background_set.objects if scene.background_set else ())
        self.table = {number: thing for number, thing in table.items() if thing in placed}
        self.scratch, self.frames = scratch / ".matrices.npy.part", frames
        self.rows: np.ndarray | None = None  # on disk: which objects are ever seen is only known at the end

    def read(self, i: int, depsgraph: bpy.types.Depsgraph) -> None:
        if self.rows is None:
            sources = {i.instance_object.original for i in depsgraph.object_instances if i.is_instance}
            self.table = {number: thing for number, thing in self.table.items() if thing not in sources}
            shape = (self.frames, max(1, len(self.table)), 4, 4)
            self.rows = np.lib.format.open_memmap(self.scratch, "w+", np.float32, shape)
        for row, thing in zip(self.rows[i], self.table.values(), strict=False):
            row[:] = thing.evaluated_get(depsgraph).matrix_world

    def moving(self) -> list[int]:
        """Indices of the objects that do not stand still."""
        assert self.rows is not None
        moves = np.array([np.ptp(self.rows[:, row], axis=0).any() for row in range(len(self.table))], bool)
        return [number for number, moved in zip(self.table, moves, strict=True) if moved]

    def write(self, folder: Path, seen: list[int]) -> None:
        """Of those that are seen, as many as a job may hold; those that move come first."""
        assert self.rows is not None
        numbers, wanted = list(self.table), set(seen)
        kept = [row for row, number in enumerate(numbers) if number in wanted]
        kept.sort(key=lambda row: not np.ptp(self.rows[:, row], axis=0).any())
        kept = sorted(kept[:job.MOST_MATRICES // self.frames])
        matrix = np.swapaxes(self.rows[:, kept], 0, 1).astype(np.float64)
        job.write_objects(folder, np.array([numbers[row] for row in kept], np.int32), matrix)
        self.rows = None
        self.scratch.unlink()


def _seen(index: np.ndarray) -> list[int]:
    found = np.zeros(bare.MOST_OBJECTS + 1, bool)
    for frame in index:
        found[np.unique(frame)] = True
    return [int(n) for n in np.flatnonzero(found) if n]
