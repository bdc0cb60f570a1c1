"""A job's scene, opened: cameras, passes, light and shadow as tensors, a few frames at a time. Knows the folder; knows
no network."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import conditions, job, suns
from .geometry import anchors, cameras
from .geometry.patterns import Paint
from .geometry.reproject import View
from .geometry.shadows import RenderedMap, ShadowMap
from .models.shading import sky_share, to_linear
from .passes import Array, Averaged, Levelled, Rows, Surfaces, Thinned

ON_SURFACES = frozenset(("base", "gloss", "rough", "emission", "ao", "open"))  # their mean over a pixel means something
MOST_SHADOWED = 64  # frames that fill the shadow map
CHUNK = 4  # frames whose maps are made together
WATTS = 1 / (4 * math.pi * math.pi)  # Blender's point lamp: irradiance over pi at one unit of distance, per watt
BRIGHTEST = 40.0
BEYOND = 1e12  # metres, watts: no such lamp, and a float's range is left when it is squared
MOST_LAMPS = 8
CLEAR_AIR = 0.004  # fog per scale
BOUNCE = 0.2  # of the light that falls on the ground
FILM_GAIN = 0.75  # from scene-linear to the head's curve: both put middle grey in the same place
LEAST_SKY, LEAST_LIT = 0.02, 0.003  # shares of the middle frame
LIT_WORLD = 0.12  # luminance of an even sky from which on a world is meant as light; Blender's default has .05
LIT_BY_LAMPS = 0.008  # mean radiance from which on lamps are meant as the scene's light
LAMP_TYPES = ("point", "spot", "area")


@dataclass(frozen=True)
class Shot:
    job: job.Job
    K: Tensor  # (F, 3, 3) float64
    c2w: Tensor  # (F, 4, 4) float64
    passes: Mapping[str, Array]
    object_index: Tensor
    matrix: Tensor  # (N, F, 4, 4) float64
    moving_index: Tensor  # (M,) indices of the objects that move
    scale: float
    origin: Tensor  # (3,) float64: the first camera's place

    @property
    def frames(self) -> int:
        return len(self.K)

    @property
    def size(self) -> tuple[int, int]:
        """Width, height."""
        return self.job.size[0], self.job.size[1]

    def read(self, name: str, frames: list[int]) -> Tensor | None:
        """Some frames of a pass as a tensor; None where the job has no such pass."""
        if name not in self.passes:
            return None
        return torch.from_numpy(np.stack([np.asarray(self.passes[name][f]) for f in frames]).astype(np.float32))

    def depth(self, frames: list[int]) -> Tensor:
        depth = self.read("depth", frames)
        assert depth is not None  # validated: every job has depth
        return depth

    def index(self, frames: list[int]) -> Tensor:
        found = self.read("index", frames)
        return torch.zeros(len(frames), self.size[1], self.size[0], dtype=torch.long) if found is None else found.long()

    def normal(self, frames: list[int]) -> Tensor:
        """The normal pass, or the camera's own direction where the job has none."""
        found = self.read("normal", frames)
        if found is not None:
            return found
        back = -self.c2w[frames][:, None, None, :3, 2].float()
        return back.expand(-1, self.size[1], self.size[0], -1)

    def rest_normal(self, frames: list[int]) -> Tensor:
        """The normals as the surfaces faced at the shot's first frame."""
        if not len(self.moving_index):
            return self.normal(frames)
        at = self.matrix[:, [*frames, 0]]  # frame 0 is the reference
        return anchors.normals(self.normal(frames), self.index(frames), self.object_index, at, len(frames))

    def anchors(self, frames: list[int]) -> Tensor:
        """(f, H, W, 3) float32, relative to the origin: the surface point at the shot's first frame. Sky: 0."""
        depth, at = self.depth(frames), self.matrix[:, [*frames, 0]]  # frame 0 is the reference
        found = anchors.anchors(
            depth, self.K[frames], self.c2w[frames], self.index(frames), self.object_index, at, len(frames)
        )
        return (found - self.origin).nan_to_num(0, 0, 0).float()

    def points(self, frames: list[int]) -> Tensor:
        """(f, H, W, 3) float32, relative to the origin: the surface point where it is now. Sky: 0."""
        found = cameras.unproject(self.depth(frames), self.K[frames], self.c2w[frames])
        return (found - self.origin).nan_to_num(0, 0, 0).float()

    def moving(self, frame: int) -> Tensor:
        """(H, W) bool: pixels of objects that move during the shot."""
        return torch.isin(self.index([frame])[0], self.moving_index)

    def view(self, frame: int, crop: bool = False) -> View:
        """One frame as geometry for reprojection; `crop`: only what is kept of it."""
        x, y, w, h = self.job.crop if crop else (0, 0, *self.size)
        K = self.K[frame].clone()
        K[0, 2] -= x
        K[1, 2] -= y
        cut = (slice(y, y + h), slice(x, x + w))
        return View(
            depth=self.depth([frame])[0][cut], K=K, c2w=self.c2w[frame], normal=self.normal([frame])[0][cut],
            index=self.index([frame])[0][cut], object_index=self.object_index, matrix=self.matrix[:, frame],
        )  # fmt: skip


def open_shot(folder: Path) -> Shot:
    """Reads and validates a job folder."""
    j = job.read(folder)
    camera, passes, objects = job.camera(j), job.passes(j), job.objects(j)
    moves = (objects["matrix"] != objects["matrix"][:, :1]).any((1, 2, 3))
    some = job.spread(len(camera["frames"]))  # they decide the shot's scale
    depth = torch.from_numpy(np.stack([np.asarray(passes["depth"][f]) for f in some]))
    return Shot(
        job=j, K=torch.from_numpy(camera["K"].copy()), c2w=torch.from_numpy(camera["c2w"].copy()), passes=passes,
        object_index=torch.from_numpy(objects["index"].astype(np.int64)),
        matrix=torch.from_numpy(objects["matrix"].copy()),
        moving_index=torch.from_numpy(objects["index"][moves].astype(np.int64)),
        scale=conditions.scene_scale(depth), origin=torch.from_numpy(camera["c2w"][0, :3, 3].copy()),
    )  # fmt: skip


def banded(shot: Shot, rows: slice, without: Sequence[str] = ()) -> Shot:
    """The same shot, of which only some rows of pixels are seen; `without`: passes that it has no more."""
    K = shot.K.clone()
    K[:, 1, 2] -= rows.start
    size = (shot.size[0], rows.stop - rows.start)
    return dataclasses.replace(
        shot, K=K, job=dataclasses.replace(shot.job, size=size, crop=(0, 0, *size)),
        passes={name: Rows(array, rows) for name, array in shot.passes.items() if name not in without},
    )  # fmt: skip


def thinned(shot: Shot, size: tuple[int, int]) -> Shot:
    """The same shot seen with fewer pixels; cameras, objects and scale stay."""
    if size == shot.size:
        return shot
    (w, h), (W, H) = size, shot.size
    columns, rows = (((np.arange(n) + 0.5) * (N / n)).astype(int) for n, N in ((w, W), (h, H)))
    nearest = {name: Thinned(array, rows, columns) for name, array in shot.passes.items()}
    alone = Surfaces(shot.passes["depth"], shot.passes.get("index"), size)
    seen: dict[str, Array] = dict(nearest)
    for name in ON_SURFACES & nearest.keys():
        seen[name] = Averaged(nearest[name], alone, encoded=name == "base")
    if "normal" in nearest:
        seen["depth"] = Levelled(nearest["depth"], nearest["normal"], shot.K.numpy(), shot.c2w.numpy(), shot.size)
    K = shot.K.clone()
    K[:, 0] *= w / W
    K[:, 1] *= h / H
    return dataclasses.replace(
        shot, K=K, job=dataclasses.replace(shot.job, size=size, crop=(0, 0, w, h)), passes=seen,
    )  # fmt: skip


def lamps(shot: Shot) -> list[conditions.Lamp]:
    """The scene's own lamps, strongest first, relative to the shot's origin. What is written oddly is left out."""
    found = []
    lights = shot.job.scene.get("lights")
    for light in lights if isinstance(lights, (list, tuple)) else []:
        if not isinstance(light, Mapping) or light.get("type") not in LAMP_TYPES:
            continue
        place, colour, energy = _numbers(light.get("position")), _numbers(light.get("rgb")), light.get("energy")
        if place is None or colour is None or not isinstance(energy, int | float) or not 0 < energy < BEYOND:
            continue
        x, y, z = (place - shot.origin.numpy()).tolist()
        red, green, blue = np.clip(colour * energy * WATTS, 0, BRIGHTEST).tolist()
        reach = light.get("reach")
        part = float(reach) if isinstance(reach, int | float) and 0 <= reach <= 1 else 1.0
        found.append(conditions.Lamp((x, y, z), (red * part, green * part, blue * part), **_shape(light)))
    return sorted(found, key=lambda lamp: -sum(lamp.power))[:MOST_LAMPS]


def _shape(light: Mapping[str, Any]) -> dict[str, Any]:
    """Which way a lamp shines, and from how large a surface; one of which that is not told shines all around."""
    kind, back = str(light["type"]), _numbers(light.get("direction"))
    length = 0.0 if back is None else float(np.linalg.norm(back))
    if kind == "point" or back is None or not 0.5 < length < 2:
        return {}

    def number(name: str, least: float, most: float, otherwise: float) -> float:
        value = light.get(name)
        return float(value) if isinstance(value, int | float) and least <= value <= most else otherwise

    shape = {"kind": kind, "back": tuple((back / length).tolist())}
    if kind == "area":
        return shape | {"area": number("area", 0, BEYOND, 0.0), "angle": number("spread", 0.01, math.pi, math.pi)}
    return shape | {"angle": number("angle", 0.01, math.pi, math.pi), "blend": number("blend", 0, 1, 0.0)}


def _numbers(value: object) -> np.ndarray | None:
    """Three numbers in a float's reach, or None."""
    try:
        found = np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if found.shape == (3,) and (np.abs(found) < BEYOND).all() else None


def sun_facts(shot: Shot) -> tuple[float, float] | None:
    """(azimuth, height) in radians of the scene's own sun; None where it has none above the horizon."""
    sun = shot.job.scene.get("sun")
    direction = _numbers(sun.get("direction")) if isinstance(sun, Mapping) else None
    if direction is None or direction[2] <= 0.02:
        return None
    x, y, z = direction.tolist()
    return math.atan2(y, x), math.atan2(z, math.hypot(x, y))


def own_light(shot: Shot, look: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The light that the scene itself has, in the look's terms; nothing where it has no light to speak of.

    A sun of strength E on a surface of albedo a gives a E / pi, an even sky of radiance L gives a L; both by the view's
    exposure. The sky is the scene's own picture of its world; a folder without one keeps the look's, in proportion to
    the sun. What surfaces throw back is `bounce`'s affair. There is no haze that the scene does not have.
    """
    world, gain = job.world(shot.job), view_gain(shot)
    direct = sun_light(shot, gain) if sun_facts(shot) is not None else None
    even = None if world is None else torch.from_numpy(suns.sky_light(world.astype(np.float64)) * gain).float()
    lit = even is not None and float(even.double() @ torch.from_numpy(suns.LUMINANCE)) > LIT_WORLD
    if direct is None and not lit and lamplight(shot) * gain < LIT_BY_LAMPS:
        return {}
    one, facts = torch.ones(1), sun_facts(shot)
    light = {"fog_density": torch.tensor([CLEAR_AIR]), "lamp": torch.tensor([gain]), "outdoors": one, "exposed": one,
             "sun": torch.zeros(3) if direct is None else direct}  # fmt: skip
    if facts is not None:
        light["height"] = torch.tensor([facts[1]])
    if even is None:
        light |= sky_in_proportion(shot, look, light["sun"], gain)
    else:
        light |= dict.fromkeys(("sky_light", "zenith", "horizon"), even) | {"ground_light": BOUNCE * even}
    out = {name: value.clamp_min(1e-5).view(1, 1, -1, 1, 1) for name, value in light.items()}
    if world is not None:
        out["world"] = torch.from_numpy(world.astype(np.float32)).permute(2, 0, 1)[None] * gain
    return out


def lamplight(shot: Shot) -> float:
    """Mean radiance of the shot's middle frame by its lamps alone."""
    frame, own = [shot.frames // 2], lamps(shot)
    solid, base = torch.isfinite(shot.depth(frame)[0]), shot.read("base", frame)
    if not own or base is None or not solid.any():
        return 0.0
    light = conditions.irradiance(shot.points(frame)[0][solid], shot.normal(frame)[0][solid], own)
    return float((to_linear(base[0][solid] / 255) * light).mean())


def view_gain(shot: Shot) -> float:
    stops = shot.job.scene.get("exposure")
    return FILM_GAIN * 2.0 ** (stops if isinstance(stops, int | float) and abs(stops) < 10 else 0.0)


def sun_light(shot: Shot, gain: float) -> Tensor | None:
    """(3,) what a white surface square to the scene's sun sends back; None where no sun is told of."""
    sun = shot.job.scene.get("sun")
    if not isinstance(sun, Mapping):
        return None
    colour, strength = _numbers(sun.get("colour")), sun.get("strength")
    if colour is None or not isinstance(strength, int | float) or not 0 < strength < BRIGHTEST:
        return None
    return torch.from_numpy(colour * strength * gain / math.pi).float()


def sky_in_proportion(shot: Shot, look: Mapping[str, Tensor], direct: Tensor, gain: float) -> dict[str, Tensor]:
    """The sky of a folder that has no picture of its world: its plain colour, else the look's sky as far as the sun is
    the look's sun."""
    world = shot.job.scene.get("world")
    above, power = (_numbers(world.get("rgb")), world.get("strength")) if isinstance(world, Mapping) else (None, None)
    if above is not None and isinstance(power, int | float) and 0 <= power < BRIGHTEST:
        sky = torch.from_numpy(above * power * gain).float()
        return dict.fromkeys(("sky_light", "zenith", "horizon"), sky) | {"ground_light": BOUNCE * (sky + direct)}
    share = (direct.mean() / look["sun"].mean().clamp_min(1e-3)).clamp(0.05, 4)
    return {name: look[name].flatten() * share for name in ("sky_light", "ground_light")}


def bounce(shot: Shot, shadow: Shadows, look: Mapping[str, Tensor], tick: Callable[[], None]) -> Tensor | None:
    """(1, 1, 3, 1, 1) light that the scene's surfaces throw back: the mean of what some frames see of them, each by its
    own colour, of sky, sun and lamps, and what they throw at each other. None where their colours are not known."""
    thrown, kept, count = torch.zeros(3), torch.zeros(3), 0
    for f in sorted({0, shot.frames // 2, shot.frames - 1}):
        facts = maps(shot, [f], None, None, torch.float32, tick)[None]
        every = {name: facts[:, :, at] for name, at in conditions.SLICE.items()}
        known = {name: value[0, 0] for name, value in every.items()}
        solid = known["sky"][0] < 0.5
        if not known["has_base"].any() or not solid.any():
            continue
        sky = sky_share(every, dict(look))[0, 0]
        direct = (known["normal"] * shadow.toward.view(3, 1, 1)).sum(0).clamp_min(0) * shadow.sunlit(f)
        light = look["sky_light"][0, 0] * sky + look["sun"][0, 0] * direct + look["lamp"][0, 0] * known["lamps"].expm1()
        albedo = to_linear(known["base"])
        thrown += (albedo * light)[:, solid].sum(1)
        kept += (albedo * (1 - sky))[:, solid].sum(1)  # falls on other surfaces, again and again
        count += int(solid.sum())
    if not count:
        return None
    return (thrown / count / (1 - kept / count).clamp_min(0.1)).clamp_min(1e-5).view(1, 1, 3, 1, 1)


def azimuth(shot: Shot) -> float:
    """Where the sun stands: the scene's own, else behind the camera to one side, decided by the seed."""
    if facts := sun_facts(shot):
        return facts[0]
    return suns.azimuth(shot.job.seed, shot.c2w[shot.frames // 2, :3, 2].numpy())


def rendered_suns(shot: Shot) -> tuple[list[RenderedMap], Tensor]:
    """Blender's maps of what suns see, relative to the shot's origin; the indices (M,) of what is in none of them."""
    arrays = job.suns(shot.job)
    if arrays is None:
        return [], torch.zeros(0, dtype=torch.long)
    rows = zip(arrays["axes"], arrays["origin"] - shot.origin.numpy(), arrays["half"], arrays["height"], strict=True)
    maps = [RenderedMap(torch.tensor(a), torch.tensor(o), float(h), torch.tensor(grid)) for a, o, h, grid in rows]
    return [m for m in maps if lights_the_shot(shot, m)], torch.from_numpy(arrays["absent"].astype(np.int64))


def lights_the_shot(shot: Shot, sun: RenderedMap) -> bool:
    """Whether that sun reaches anything that the shot sees, where it sees the sky: else something encloses the scene
    that is no house, such as a painted dome."""
    frame = [shot.frames // 2]
    solid = torch.isfinite(shot.depth(frame)[0])
    if solid.float().mean() > 1 - LEAST_SKY or not solid.any():
        return True
    lit = sun.sunlit(shot.points(frame)[0][solid], shot.normal(frame)[0][solid])
    return float(lit.mean()) > LEAST_LIT


@dataclass(frozen=True)
class Shadows:
    """One map of all that stands still, and one a frame of what moves."""

    shot: Shot
    toward: Tensor  # (3,) unit
    middle: Tensor  # (3,) relative to the origin
    still: ShadowMap | RenderedMap
    absent: Tensor  # (M,) indices of objects that are not in `still`

    def sunlit(self, frame: int) -> Tensor:
        """(H, W) in 0..1; 0 on what is turned away from the sun."""
        height, width = self.shot.size[1], self.shot.size[0]
        points, normal = self.shot.points([frame])[0].reshape(-1, 3), self.shot.normal([frame])[0].reshape(-1, 3)
        lit, asked = torch.zeros(len(points)), normal @ self.toward > 0
        lit[asked] = self.still.sunlit(points[asked], normal[asked])
        moving = torch.isin(self.shot.index([frame])[0], self.absent).reshape(-1)
        if moving.any():
            walking = ShadowMap(self.toward, self.middle, self.shot.scale)
            walking.add(points[moving])
            lit = torch.minimum(lit, walking.sunlit(points, normal))
        return lit.view(height, width)


def nearest_sun(shot: Shot, toward: Tensor) -> tuple[RenderedMap | None, Tensor]:
    """Blender's map whose sun stands nearest to that direction, where there is any, and what is not in it."""
    suns_seen, absent = rendered_suns(shot)
    return max(suns_seen, key=lambda sun: float(sun.toward @ toward), default=None), absent


def shadows(shot: Shot, toward: Tensor, tick: Callable[[], None]) -> Shadows:
    """Blender's own map of the nearest sun where there is one: `toward` of what comes back is that sun's. Else one of
    all points that frames spread over the whole shot saw, every fourth at most MOST_SHADOWED of them."""
    rendered, absent = nearest_sun(shot, toward)
    absent = torch.cat([shot.moving_index, absent]).unique() if rendered is not None else shot.moving_index
    every = max(4, -(-shot.frames // MOST_SHADOWED))
    some = list(range(0, shot.frames, every))

    def still_points(frame: int) -> Tensor:
        tick()
        return shot.points([frame])[0][torch.isfinite(shot.depth([frame])[0]) & ~shot.moving(frame)]

    middles = [p.median(0).values for f in some[:: max(1, len(some) // 8)] if len(p := still_points(f))]
    middle = torch.stack(middles).mean(0) if middles else torch.zeros(3)
    if rendered is not None:
        return Shadows(shot, rendered.toward, middle, rendered, absent)
    still = ShadowMap(toward, middle, shot.scale)
    for f in some:
        still.add(still_points(f))
    return Shadows(shot, toward, middle, still, absent)


def maps(
    shot: Shot, frames: list[int], shadow: Shadows | None, paint: Paint | None, dtype: torch.dtype,
    tick: Callable[[], None], things: Sequence[tuple[Tensor, Paint]] = (), shaded_only: bool = False,
    each: Callable[[Callable[[int], None], Sequence[int]], Iterable[None]] = map,
) -> Tensor:  # fmt: skip
    """Conditions of some frames, (f, C, H, W), a few at a time so that only the result is large. `things`: objects with
    a material of their own; `shaded_only`: what the head reads, no more; `each` has a few frames made after others, or
    beside them."""
    out = torch.empty(len(frames), conditions.TOTAL, shot.size[1], shot.size[0], dtype=dtype)
    own = lamps(shot)

    def some(i: int) -> None:
        tick()
        part = frames[i : i + CHUNK]
        depth, normal, anchor = shot.depth(part), shot.normal(part), shot.anchors(part)
        base, gloss, emission, ao, sky = (shot.read(n, part) for n in ("base", "gloss", "emission", "ao", "open"))
        glass, rough = shot.read("glass", part), shot.read("rough", part)
        lit = None if shadow is None else torch.stack([shadow.sunlit(f) for f in part])
        out[i : i + CHUNK] = conditions.maps(
            depth=depth, normal=normal, base=None if base is None else base / 255,
            gloss=None if gloss is None else gloss / 255, ao=None if ao is None else ao / 255,
            open_=None if sky is None else sky / 255,
            emission=emission, glass=glass, rough=None if rough is None else rough / 255, anchor=anchor,
            K=shot.K[part], c2w=shot.c2w[part], origin=torch.zeros(3), scale=shot.scale,
            lamps=own, sunlit=lit, dtype=dtype, shaded_only=shaded_only,
        )  # fmt: skip
        if paint is not None and (not paint.empty or things):
            index = shot.index(part)
            conditions.put_paint(
                out[i : i + CHUNK], paint, anchor=anchor + shot.origin, normal=shot.rest_normal(part), depth=depth,
                index=index, footprint=anchors.footprint(depth, shot.K[part]), scale=shot.scale,
                own=things,
            )  # fmt: skip

    for _ in each(some, range(0, len(frames), CHUNK)):
        pass
    return out


def rays(shot: Shot, frames: list[int]) -> Tensor:
    return cameras.rays(shot.K[frames], shot.c2w[frames], shot.size[1], shot.size[0])[1]
