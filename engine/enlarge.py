"""A sampled picture at the passes' own size: edges and textures come from the scene, not from the sample.

    large = shade(large facts) + carry(small - shade(small facts))

What the model adds to the head's plain shading (lit panes, drifts, haze, its residual) is smooth within a surface: it
is carried up by joint bilateral upsampling (Kopf et al. 2007, eq. 3) along depth, normals and objects. What is sharp is
computed anew from the facts. Knows maps and looks; no network, no job.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .conditions import SLICE, distance_from_channel, power
from .models import shading

SAME_DISTANCE = 0.08  # relative difference at which two pixels are half the same surface
BLEED = 0.02  # weight of a neighbour that lies exactly aside: no pixel is without one
CALM = ("ao", "open")  # noisy as they come, and smooth within a surface
MISSING = 0.5  # base colour, sRGB, where the scene has none: the model's own is in what is carried


@dataclass(frozen=True)
class Guide:
    """What tells surfaces apart, of one frame or of some of its rows."""

    distance: Tensor  # (H, W) in scales; large on sky
    normal: Tensor  # (H, W, 3), 0 on sky
    index: Tensor  # (H, W)


def guide(maps: Tensor, index: Tensor) -> Guide:
    """Of one frame's maps (C, H, W) and its objects."""
    distance = distance_from_channel(maps[SLICE["distance"]][0].float())
    return Guide(distance, maps[SLICE["normal"]].float().permute(1, 2, 0), index)


def plain(maps: Tensor, look: shading.Look, azimuth: Tensor) -> Tensor:
    """One frame's maps (C, H, W) shaded without anything learnt but the look, (3, H, W) in -1..1."""
    known = maps[SLICE["has_base"]].float()
    base = known * maps[SLICE["base"]].float() + (1 - known) * MISSING
    nothing = torch.zeros(1, 1, 1, 1, 1)
    fields = {"drift": nothing, "pane": nothing, "cloud": nothing}
    return shading.shade(maps[None, None], base[None, None], look, azimuth, fields)[0, 0]


def _axis(large: range, whole: int, small: int) -> tuple[Tensor, Tensor]:
    """For some pixels of a large axis: the first of two neighbours on the small one, and the second's share."""
    x = (torch.arange(large.start, large.stop) + 0.5) * (small / whole) - 0.5
    first = x.floor().clamp(0, max(small - 2, 0))
    return first.long(), (x - first).clamp(0, 1)


def carry(value: Tensor, small: Guide, large: Guide, first: int = 0, height: int | None = None) -> Tensor:
    """(C, h, w) -> (C, H, W): each pixel from those of its four neighbours that lie on its own surface. `large`: the
    rows from `first` on of a frame of that height."""
    h, w = small.distance.shape
    H, W = large.distance.shape
    y, across_y = _axis(range(first, first + H), height or H, h)
    x, across_x = _axis(range(W), W, w)
    every = torch.cat([small.distance[None], small.normal.movedim(-1, 0), small.index[None].float(), value])
    facing, index = large.normal.movedim(-1, 0), large.index.float()
    total, weight = value.new_zeros(len(value), H, W), value.new_zeros(H, W)
    for dy in (0, 1):
        rows = every[:, (y + dy).clamp_max(h - 1)]
        for dx in (0, 1):
            there = rows[..., (x + dx).clamp_max(w - 1)]
            near = (across_y if dy else 1 - across_y)[:, None] * (across_x if dx else 1 - across_x)[None]
            share = (near + BLEED) * _alike(there[0], there[1:4], there[4], large.distance, facing, index)
            total += share * there[5:]
            weight += share
    return total / weight


def _alike(distance: Tensor, normal: Tensor, index: Tensor, own: Tensor, facing: Tensor, known: Tensor) -> Tensor:
    """How surely small pixels (H, W) show the surfaces of the large ones; never quite 0. Objects as floats."""
    apart = (distance / own - 1).abs() / SAME_DISTANCE
    turned = power((normal * facing).sum(0).clamp_min(0), 4)
    both_sky = (index == 0) & (known == 0)
    same = torch.where(index == known, 1.0, 0.05)
    return torch.where(both_sky, 1.0, turned) * same / (1 + apart**2) + 1e-4


@dataclass(frozen=True)
class Small:
    """A sampled frame, and what is carried up from it."""

    guide: Guide
    height: int  # of the large frame
    values: Tensor  # (3 + channels, h, w): what the model added to the plain shading, then
    channels: tuple[str, ...]  # of the maps: of CALM what the scene has


def small(
    picture: Tensor, maps: Tensor, index: Tensor, height: int, look: shading.Look, azimuth: Tensor,
    channels: tuple[str, ...] = (),
) -> Small:  # fmt: skip
    """Of a picture (3, h, w) in -1..1 with its maps (C, h, w) and objects (h, w)."""
    added = picture - plain(maps, look, azimuth)
    values = torch.cat([added, *(maps[SLICE[name]].float() for name in channels)])
    return Small(guide(maps, index), height, values, channels)


def enlarge(of: Small, maps: Tensor, index: Tensor, first: int, look: shading.Look, azimuth: Tensor) -> Tensor:
    """Maps (C, H, W) and objects of the rows from `first` on -> (3, H, W) in -1..1. The channels are carried up into
    the maps, in place."""
    carried = carry(of.values, of.guide, guide(maps, index), first, of.height)
    for name, value in zip(of.channels, carried[3:], strict=True):
        maps[SLICE[name].start] = value
    return (plain(maps, look, azimuth) + carried[:3]).clamp(-1, 1)
