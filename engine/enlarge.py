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

from .conditions import SLICE, distance_from_channel
from .models import shading

SAME_DISTANCE = 0.08  # relative difference at which two pixels are half the same surface
BLEED = 0.02  # weight of a neighbour that lies exactly aside: no pixel is without one
MISSING = 0.5  # base colour, sRGB, where the scene has none: the model's own is in what is carried


@dataclass(frozen=True)
class Guide:
    """What tells surfaces apart, of one frame."""

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


def _axis(large: int, small: int) -> tuple[Tensor, Tensor]:
    """For pixels of a large axis: the first of two neighbours on the small one, and the second's share."""
    x = (torch.arange(large) + 0.5) * (small / large) - 0.5
    first = x.floor().clamp(0, max(small - 2, 0))
    return first.long(), (x - first).clamp(0, 1)


def carry(value: Tensor, small: Guide, large: Guide) -> Tensor:
    """(C, h, w) -> (C, H, W): each pixel from those of its four neighbours that lie on its own surface."""
    h, w = small.distance.shape
    H, W = large.distance.shape
    y, across_y = _axis(H, h)
    x, across_x = _axis(W, w)
    total, weight = value.new_zeros(len(value), H, W), value.new_zeros(H, W)
    for dy in (0, 1):
        rows = (y + dy).clamp_max(h - 1)
        for dx in (0, 1):
            columns = (x + dx).clamp_max(w - 1)
            at = rows[:, None] * w + columns[None]
            near = (across_y if dy else 1 - across_y)[:, None] * (across_x if dx else 1 - across_x)[None]
            share = (near + BLEED) * _alike(small, large, at)
            total += share * value.flatten(1)[:, at]
            weight += share
    return total / weight


def _alike(small: Guide, large: Guide, at: Tensor) -> Tensor:
    """How surely the small pixel `at` (H, W) shows the surface of the large one; never quite 0."""
    apart = (small.distance.flatten()[at] / large.distance - 1).abs() / SAME_DISTANCE
    turned = (small.normal.flatten(0, 1)[at] * large.normal).sum(-1).clamp_min(0) ** 4
    both_sky = (small.index.flatten()[at] == 0) & (large.index == 0)
    same = torch.where(small.index.flatten()[at] == large.index, 1.0, 0.05)
    return 1 / (1 + apart**2) * torch.where(both_sky, 1.0, turned) * same + 1e-4


def enlarge(
    picture: Tensor, small: Tensor, large: Tensor, small_index: Tensor, large_index: Tensor, look: shading.Look,
    azimuth: Tensor,
) -> Tensor:  # fmt: skip
    """picture (3, h, w) in -1..1, maps (C, h, w) and (C, H, W) of its frame, objects -> (3, H, W) in -1..1."""
    added = picture - plain(small, look, azimuth)
    carried = carry(added, guide(small, small_index), guide(large, large_index))
    return (plain(large, look, azimuth) + carried).clamp(-1, 1)
