"""One training clip: a brief, its scene ray-cast, its picture shaded, its conditions as the engine would see them.

The picture is shaded by the same formula as the model's head but with what the head does not know: drifts of snow, panes that are lit one by one, a tone curve that varies from clip to clip.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import conditions
from ..conditions import SLICE
from ..geometry import anchors
from ..geometry.value_noise import value_noise
from ..models import finishes, shading, text
from . import captions, dressing, scenes


@dataclass
class Clip:
    """Everything training needs, F frames; the noise is drawn anew at every use."""

    picture: Tensor  # (F, 3, H, W) -1..1
    maps: Tensor  # (F, C, H, W), cache empty
    depth: Tensor  # (F, H, W)
    anchor: Tensor  # (F, H, W, 3)
    footprint: Tensor  # (F, H, W)
    ray: Tensor  # (F, H, W, 3)
    normal: Tensor  # (F, H, W, 3)
    index: Tensor  # (F, H, W)
    object_index: Tensor  # (N,)
    matrix: Tensor  # (N, F, 4, 4)
    K: Tensor
    c2w: Tensor
    pane: Tensor  # (F, 1, H, W)
    look: Tensor  # (LOOK_WIDTH,) raw
    statistics: Tensor  # (STATISTICS,)
    azimuth: float
    cloud_seed: float
    place: str
    caption: str
    rows: Tensor  # (S, G)
    things: Things


@dataclass(frozen=True)
class Things:
    """The objects that a clip shows, as far as what they are made of can be learnt."""

    facts: Tensor  # (N, FACTS)
    called: tuple[tuple[str, ...], ...]  # N: names that an artist may give each
    finish: Tensor  # (N,) rows of FINISHES; dressing.UNKNOWN of none


def no_things() -> Things:
    """Of a clip that nobody tells of."""
    return Things(torch.zeros(0, finishes.FACTS), (), torch.zeros(0, dtype=torch.long))


AO_DROPPED = 0.15  # of the clips: a job folder may have no such pass


def render(brief: captions.Brief, frames: int, height: int, width: int, rng: np.random.Generator) -> Clip:
    """Makes one clip; everything follows from rng."""
    values = captions.look(brief, rng)
    azimuth, seed = float(rng.uniform(-np.pi, np.pi)), float(rng.uniform(0, 100))
    scene = scenes.build(brief, frames, rng)
    p = scenes.passes(scene, height, width)
    raw = torch.from_numpy(captions.raw(values))
    look = shading.with_sky(shading.unpack(raw[None]), torch.tensor([seed]))
    angle = torch.full((1, 1, 1, 1, 1), azimuth)
    toward = shading.sun_direction(look["height"], angle).flatten()
    lit = scenes.sunlit(scene, p, toward)
    scale = conditions.scene_scale(p.depth)
    common: dict[str, Any] = dict(depth=p.depth, normal=p.normal, gloss=p.gloss, emission=p.emission, anchor=p.anchor, K=p.K, c2w=p.c2w,
                  origin=p.c2w[0, :3, 3].float(), scale=scale, lamps=scene.lamps)  # fmt: skip
    ao, open_ = scenes.ambient(scene, p, rng)
    maps = conditions.maps(base=p.base, sunlit=lit if rng.random() < 0.7 else None, ao=ao, open_=open_, **common)
    footprint = anchors.footprint(p.depth, p.K)
    paint = shading.paint(look)
    conditions.put_paint(maps, paint, anchor=p.anchor, normal=p.normal, footprint=footprint, depth=p.depth,
                         index=p.index, scale=scale)  # fmt: skip
    truth = maps.clone()
    truth[:, SLICE["sunlit"]] = lit[:, None]
    look = shading.in_place(look, truth[None])
    if rng.random() < AO_DROPPED:
        maps[:, SLICE["ao"]] = 1
        maps[:, SLICE["open"]] = torch.where(maps[:, SLICE["sky"]] > 0.5, 1, conditions.hemisphere(maps[:, SLICE["normal"]][:, 2:]))
    base = p.base.permute(0, 3, 1, 2)
    ray = maps[:, SLICE["ray"]].permute(0, 2, 3, 1)
    drift = 0.6 * (value_noise(p.anchor * 1.1)[0] - 0.4)[:, None]
    glow = (p.pane & (p.chance < float(values["lit"][0])))[:, None] * (0.4 + 0.9 * p.chance[:, None])
    fields = {
        "drift": drift[None],
        "pane": (glow / max(float(values["lit"][0]), 0.05))[None],
        "cloud": torch.zeros(1, 1, 1, 1, 1),
    }
    picture = shading.shade(truth[None], base[None], look, angle, fields)[0].clamp(-1, 1)
    gamma = float(np.exp(rng.normal(0, 0.07)))  # films differ in their curve; the head does not know it
    picture = ((picture + 1) / 2) ** gamma * 2 - 1
    known_height = float(values["height"][0]) if rng.random() < 0.3 else None
    words = captions.caption(brief, rng)
    objects, told = finishes.facts(maps, p.index, p.anchor, p.c2w[0, :3, 3].float(), scale)
    worn, called = dressing.of_scene(scene, objects.tolist())
    things = Things(told, called, torch.tensor(worn, dtype=torch.long))
    return Clip(
        picture, maps, p.depth, p.anchor, footprint, ray, p.normal, p.index, *scenes.motion(scene, frames), p.K, p.c2w, p.pane[:, None].float(), raw,
        conditions.statistics(maps, known_height, bool(scene.lamps)), azimuth, seed, brief.place, words, text.encode([words])[0], things,
    )  # fmt: skip
