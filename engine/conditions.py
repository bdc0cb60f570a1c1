"""The scene's facts as maps: what the model is told about every pixel. The same code in training and in the engine.

Knows passes and cameras; knows no network. Shapes: F frames, H W pixels, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .geometry import cameras, patterns

CHANNELS = {
    "distance": 1,  # log(distance / scale) / 3
    "sky": 1,
    "ray": 3,  # unit, world, from the camera
    "normal": 3,  # unit, world
    "position": 12,  # sines and cosines of the surface point, undone for moving objects
    "base": 3,  # unlit colour, sRGB-encoded 0..1; 0 where unknown or sky
    "has_base": 1,
    "gloss": 1,
    "emission": 3,  # log(1 + radiance)
    "sunlit": 1,  # 1 where the sun reaches, 0 in cast shadow
    "lamps": 3,  # log(1 + irradiance) of the scene's own lamps
    # VACE's (Jiang et al. 2025): `cache` is inactive and stays, `reactive` is made anew, 1 - has_cache is the mask
    "cache": 3,  # reprojected colour of a known frame, -1..1; 0 where unknown
    "has_cache": 1,
    "tone": 1,  # of the material that the prompt asks for, about -1..1; this and what follows: see geometry/patterns.py
    "line": 1,  # its joints, 0..1
    "cover": 1,  # where it lies, 0..1
    "stroke": 1,  # a draughtsman's strokes, 0..1
    "pigment": 1,  # uneven, 0..1
    "outline": 1,  # silhouettes and creases, 0..1
    "ao": 1,  # share of the half-space over the surface that is free nearby; 1 where unknown or sky
    "open": 1,  # share of it that is sky; where unknown, as over open ground
    "reactive": 3,  # colours that are to be made anew, -1..1; 0 where there are none
    "has_reactive": 1,
}
SHADED = {  # what the head is told and no network
    "slot": 1,  # which of the things that the prompt speaks of a pixel shows, counted from 1; 0 is none of them
    "glass": 3,  # normal of the clear glass before the surface, unit, world; 0 where there is none
    "mirror": 1,  # gloss of the surface itself, whatever is before it
    "rough": 1,  # of the surface, 0..1; UNKNOWN where nothing says it
    "highlight": 1,  # log(1 + radiance), grey, of the scene's own lamps as what is most in front mirrors them
}
WIDTH = sum(CHANNELS.values())  # what networks are given
TOTAL = WIDTH + sum(SHADED.values())
FREQUENCIES = (0.35, 1.4)  # turns per scale
LOG_LIMIT = 2.0


def _slices() -> dict[str, slice]:
    ends, start = {}, 0
    for name, width in {**CHANNELS, **SHADED}.items():
        ends[name] = slice(start, start + width)
        start += width
    return ends


SLICE = _slices()


WIDE = 3.1  # radians of spread from which on an area lamp is a plain one


@dataclass(frozen=True)
class Lamp:
    """A light in world space; `power` is scene-linear irradiance at one unit of distance, rgb, of one that shines all
    around. An area lamp and a spot shine away from `back`; `beam` is what Cycles makes of the same power there."""

    position: tuple[float, float, float]
    power: tuple[float, float, float]
    kind: str = "point"  # or "area", "spot"
    back: tuple[float, float, float] = (0.0, 0.0, 0.0)  # unit
    area: float = 0.0  # of an area lamp, square units
    angle: float = math.pi  # of an area lamp's spread or a spot's cone, radians from edge to edge
    blend: float = 0.0  # of a spot's edge, 0..1


def beam(lamp: Lamp, way: Tensor) -> Tensor:
    """How much more than all around a lamp shines against a direction (..., 3), unit, toward it: (..., 1).

    An area lamp four times the cosine, none behind it; with a spread s below half a turn the beam narrows to
    (tan s/2 - tan) / (tan s/2 - s/2). A spot is a point within its cone, with a smooth edge. Both as Cycles has them:
    its renders of a plane under one lamp agree within 4 %, those of a narrow spread within a fifth."""
    if lamp.kind == "point":
        return torch.ones_like(way[..., :1])
    cosine = (way * way.new_tensor(lamp.back)).sum(-1, keepdim=True)
    if lamp.kind == "spot":
        half = math.cos(min(lamp.angle, math.pi) / 2)
        share = ((cosine - half) / max((1 - half) * lamp.blend, 1e-4)).clamp(0, 1)
        return share * share * (3 - 2 * share)
    shone = 4 * cosine.clamp_min(0)
    if lamp.angle < WIDE:
        edge = math.tan(lamp.angle / 2)
        aside = (1 - cosine**2).clamp_min(0).sqrt() / cosine.clamp_min(1e-4)
        shone = shone * (edge - aside).clamp_min(0) / max(edge - lamp.angle / 2, 1e-6)
    return shone


def scene_scale(depth: Tensor) -> float:
    """The shot's unit of length: the median finite depth, scene units. 1 where there is only sky."""
    finite = depth[torch.isfinite(depth)]
    return float(finite.median()) if finite.numel() else 1.0


def distance_channel(distance: Tensor, scale: float) -> Tensor:
    return (torch.log((distance / scale).clamp(1e-6, 1e6)) / 3).clamp(-LOG_LIMIT, LOG_LIMIT)


def distance_from_channel(channel: Tensor) -> Tensor:
    """Back to distance in scales."""
    return torch.exp(channel * 3)


def encode_position(point: Tensor) -> Tensor:
    """(..., 3) in scales -> (..., 12)."""
    angles = torch.cat([2 * math.pi * f * point for f in FREQUENCIES], -1)
    return torch.cat([angles.sin(), angles.cos()], -1)


def arriving(lamp: Lamp, point: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of points (..., 3): the unit way to a lamp (..., 3), its squared distance and what arrives there of its power,
    both (..., 1)."""
    to_lamp = torch.tensor(lamp.position, dtype=point.dtype, device=point.device) - point
    square = (to_lamp**2).sum(-1, keepdim=True).clamp_min(1e-4)
    way = to_lamp / square.sqrt()
    return way, square, beam(lamp, way) / (square + lamp.area / math.pi)


def irradiance(point: Tensor, normal: Tensor, lamps: list[Lamp]) -> Tensor:
    """Lambert's cosine over squared distance, summed over lamps; unshadowed. (..., 3) -> (..., 3) rgb, scene-linear."""
    total = torch.zeros_like(point)
    for lamp in lamps:
        way, _, flux = arriving(lamp, point)
        cosine = (normal * way).sum(-1, keepdim=True).clamp_min(0)
        total += (0.1 + 0.9 * cosine) * flux * torch.tensor(lamp.power, dtype=point.dtype, device=point.device)
    return total


SHINY = 0.5  # gloss from which on a surface shows lamps as such
UNKNOWN = 0.27  # roughness of a surface of which none is known
FINEST = 0.02  # radians: a lamp is smeared by as much in any mirror, or it falls between two pixels


def highlights(point: Tensor, normal: Tensor, ray: Tensor, rough: Tensor, lamps: list[Lamp]) -> Tensor:
    """Radiance (...) of lamps in a mirror, grey: their light spread over a disc as wide as they are seen, and blurred,
    as one round lobe of the same energy and variance. Points, unit normals and unit rays (..., 3) toward the points;
    roughness (...), whose square is the deviation of the facets' slopes, times the root of 2 (Walter et al. 2007)."""
    blur = (2 * rough**4).clamp_min(FINEST**2)[..., None]  # a turn of the facet turns the ray by twice as much
    mirrored = ray - 2 * (ray * normal).sum(-1, keepdim=True) * normal
    total = torch.zeros_like(point[..., 0])
    for lamp in lamps:
        way, square, flux = arriving(lamp, point)
        facing = (way * way.new_tensor(lamp.back)).sum(-1, keepdim=True).clamp_min(0) if lamp.area else 0.0
        spread = blur + lamp.area * facing / square / (4 * math.pi)  # a disc's variance along one axis
        away = 1 - (mirrored * way).sum(-1, keepdim=True)
        total += (flux / (2 * spread) * torch.exp(-away / spread))[..., 0] * (sum(lamp.power) / 3)
    return total


def maps(
    *,
    depth: Tensor,  # (F, H, W) planar, +inf sky
    normal: Tensor,  # (F, H, W, 3)
    base: Tensor | None,  # (F, H, W, 3) 0..1 sRGB
    gloss: Tensor | None,  # (F, H, W) 0..1
    emission: Tensor | None,  # (F, H, W, 3) linear
    anchor: Tensor,  # (F, H, W, 3) world, at the reference frame
    K: Tensor,
    c2w: Tensor,
    origin: Tensor,  # (3,) world: the shot's reference point
    scale: float,
    lamps: list[Lamp] = [],  # noqa: B006 - never changed
    sunlit: Tensor | None = None,  # (F, H, W) 0..1
    ao: Tensor | None = None,  # (F, H, W) 0..1, as noisy as it comes
    open_: Tensor | None = None,  # (F, H, W) 0..1
    glass: Tensor | None = None,  # (F, H, W, 4) normal, planar depth
    rough: Tensor | None = None,  # (F, H, W) 0..1
    dtype: torch.dtype = torch.float32,
    shaded_only: bool = False,
) -> Tensor:
    """All conditions of some frames, (F, TOTAL, H, W), the cache's channels still empty. `shaded_only`: what the head
    reads; where surfaces lie is not encoded, and noisy passes stay as they come."""
    F, H, W = depth.shape
    out = torch.zeros(F, TOTAL, H, W, dtype=dtype, device=depth.device)
    _, ray = cameras.rays(K, c2w, H, W)
    sky = ~torch.isfinite(depth)
    along = (ray * c2w[:, None, None, :3, 2].to(ray.dtype)).sum(-1).clamp_min(1e-3)
    distance = torch.where(sky, scale * math.exp(3 * LOG_LIMIT), depth) / along
    solid = (~sky)[..., None]

    def put(name: str, value: Tensor) -> None:
        out[:, SLICE[name]] = (value[:, None] if value.dim() == 3 else value.permute(0, 3, 1, 2)).to(dtype)

    put("distance", distance_channel(distance, scale))
    put("sky", sky)
    put("ray", ray)
    put("normal", normal * solid)
    if not shaded_only:
        put("position", encode_position(torch.where(solid, (anchor - origin) / scale, 0)) * solid)
    if base is not None:
        put("base", base * solid)
        put("has_base", torch.ones_like(depth))
    if gloss is not None:
        put("gloss", gloss * ~sky)
        put("mirror", gloss * ~sky)
    panes = torch.zeros_like(sky) if glass is None else glass[..., 3] > 0
    rough = torch.where(panes, 0, torch.full_like(depth, UNKNOWN) if rough is None else rough)
    put("rough", rough)
    if glass is not None:  # networks know panes by their gloss, whatever lies behind them
        put("glass", glass[..., :3])
        put("gloss", torch.maximum(out[:, SLICE["gloss"].start], panes.to(dtype)) * ~sky)
    if emission is not None:
        put("emission", torch.log1p(emission.clamp(0, 1e4)) * solid)
    put("sunlit", torch.ones_like(depth) if sunlit is None else sunlit)
    ao, open_ = (ao, open_) if shaded_only else calmed(ao, open_, distance, normal)
    put("open", torch.where(sky, 1, hemisphere(normal[..., 2])) if open_ is None else open_)
    put("ao", torch.ones_like(depth) if ao is None else ao)
    if lamps:
        point = torch.where(solid, anchor, 0)
        put("lamps", torch.log1p(irradiance(point, normal, lamps)) * solid)
        shiny = ~sky & (panes if gloss is None else panes | (gloss > SHINY))
        if shiny.any():
            front = normal
            if glass is not None:
                front = torch.where(panes[..., None], glass[..., :3], normal)
                nearer = torch.where(panes, glass[..., 3] / along - distance, 0)
                point = point + ray * nearer[..., None]
            seen = torch.zeros_like(depth)
            seen[shiny] = highlights(point[shiny], front[shiny], ray[shiny], rough[shiny], lamps)
            put("highlight", torch.log1p(seen))
    return out


CALM, FURTHER = (1, 2, 4), (8,)  # pixels to either side, pass by pass: of all that is noisy; of one ray a pixel too
SAME_SURFACE = 0.03  # relative distance at which two pixels share half of it


def power(x: Tensor, exponent: int) -> Tensor:
    """x ** exponent by squaring: many times quicker than by logarithms."""
    if exponent == 1:
        return x
    half = power(x, exponent // 2)
    return half * half * x if exponent % 2 else half * half


def hemisphere(up: Tensor) -> Tensor:
    """Share of the half-space over a surface that lies above the horizon, by its cosine: half of it over a wall."""
    return 0.5 + 0.5 * up


def calm(value: Tensor, distance: Tensor, normal: Tensor, steps: tuple[int, ...]) -> Tensor:
    """Noise averaged over each pixel's surroundings of the same surface: passes of ever wider steps, a quarter, a half
    and a quarter each, which together weigh every pixel by a smooth hat without gaps (Dammertz et al. 2010). value
    (..., F, H, W), distance (F, H, W), normal (F, H, W, 3)."""
    near, facing = 1 / distance, normal.movedim(-1, 0).contiguous()
    for step in steps:
        for dim in (-1, -2):
            total, weight = value.clone(), torch.ones_like(distance)
            count = distance.shape[dim] - step
            if count <= 0:
                continue
            here, there = ([v.narrow(dim, at, count) for v in (near, facing)] for at in (0, step))
            alike = power((here[1] * there[1]).sum(0).clamp_min(0), 8)
            for (own, other), start in (((here, there), 0), ((there, here), step)):  # what lies on either side
                apart = (own[0] / other[0] - 1) / SAME_SURFACE
                share = 0.5 * alike / (1 + apart * apart)
                total.narrow(dim, start, count).addcmul_(value.narrow(dim, step - start, count), share)
                weight.narrow(dim, start, count).add_(share)
            value = total / weight
    return value


def calmed(
    ao: Tensor | None, open_: Tensor | None, distance: Tensor, normal: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """Both passes without their noise, (F, H, W) each, made together."""
    noisy = [value for value in (ao, open_) if value is not None]
    if not noisy:
        return None, None
    smooth = list(calm(torch.stack(noisy), distance, normal, CALM))
    return None if ao is None else smooth[0], None if open_ is None else calm(smooth[-1], distance, normal, FURTHER)


def put_cache(maps: Tensor, colour: Tensor, valid: Tensor) -> None:
    """Writes known colours (F, 3, H, W) in -1..1 and where they are known (F, H, W) into the maps, in place."""
    maps[:, SLICE["cache"]] = (colour * valid[:, None]).to(maps.dtype)
    maps[:, SLICE["has_cache"]] = valid[:, None].to(maps.dtype)


def put_reactive(maps: Tensor, colour: Tensor, where: Tensor) -> None:
    """Writes colours (F, 3, H, W) in -1..1 that are to be made anew, and where there are some (F, H, W), in place."""
    maps[:, SLICE["reactive"]] = (colour * where[:, None]).to(maps.dtype)
    maps[:, SLICE["has_reactive"]] = where[:, None].to(maps.dtype)


SKY_AWAY = 3.0  # scales: where strokes on the sky lie


def put_paint(
    maps: Tensor, paint: patterns.Paint, *, anchor: Tensor, normal: Tensor, footprint: Tensor, depth: Tensor,
    index: Tensor, scale: float, own: Sequence[tuple[Tensor, patterns.Paint]] = (),
) -> None:  # fmt: skip
    """Draws the prompt's material and strokes on the surfaces, in place; on things of their own (objects (N,), paint)
    theirs.

    anchor (F, H, W, 3) in the world, scene units, and normal (F, H, W, 3) as the surface lay at the reference frame: a
    material turns with its object, and is the same in every shot from about that far. footprint, depth and index
    (F, H, W) as they are now.
    """
    unit, shape = 2.0 ** round(math.log2(scale)), depth.shape
    if paint.empty and not own:
        return
    ray = maps[:, SLICE["ray"]].permute(0, 2, 3, 1).float()
    sky = ~torch.isfinite(depth)
    point = torch.where(sky[..., None], ray * SKY_AWAY, (anchor / unit).float())
    pixel = torch.where(sky, SKY_AWAY * 1.5 / shape[2], footprint.float() / unit)
    facing = torch.where(sky[..., None], -ray, normal)
    surface = patterns.surface(point, facing, pixel)

    def put(name: str, value: Tensor) -> None:
        maps[:, SLICE[name].start] = value.view(shape).to(maps.dtype)

    def lay(at: Tensor, material: patterns.Paint) -> None:
        part = patterns.surface(point[at], facing[at], pixel[at])
        drawn = *patterns.draw(material, part), patterns.cover(material, part, normal[at][:, 2])
        for name, value in zip(("tone", "line", "cover"), drawn, strict=True):
            maps[:, SLICE[name].start][at] = value.to(maps.dtype)

    if paint.cover > 0:
        lay(~sky, paint)
    for number, (objects, material) in enumerate(own, 1):
        at = torch.isin(index, objects) & (maps[:, SLICE["slot"].start] == 0)  # the first that speaks of it counts
        maps[:, SLICE["slot"].start][at] = number
        if material.cover > 0:
            lay(at, material)
    if paint.lines:
        put("stroke", patterns.strokes(surface))
        put("pigment", patterns.pigment(surface))
        put("outline", patterns.outline(depth, maps[:, SLICE["normal"]].permute(0, 2, 3, 1).float(), index))


STATISTICS = 12  # numbers of `statistics`


def statistics(maps: Tensor, sun_height: float | None, has_lamps: bool) -> Tensor:
    """What a look needs to know of the scene, (STATISTICS,): shares of sky, up, down, base, gloss, glow, light."""
    sky = maps[:, SLICE["sky"]].float()
    solid = 1 - sky
    share = solid.mean().clamp_min(1e-4)

    def mean(value: Tensor) -> Tensor:
        return (value.float() * solid).mean((0, 2, 3)) / share

    up = maps[:, SLICE["normal"]][:, 2:3].float()
    facts = [
        sky.mean((0, 2, 3)),
        mean(up > 0.5),
        mean(up < -0.5),
        mean(maps[:, SLICE["base"]]),
        mean(maps[:, SLICE["gloss"]]),
    ]
    facts += [mean(maps[:, SLICE["emission"]]).mean()[None], maps[:, SLICE["has_base"]].float().mean()[None]]
    known = [float(sun_height is not None), sun_height or 0.0, float(has_lamps)]
    return torch.cat([*facts, torch.tensor(known, device=maps.device)])
