"""Stairs taken out of silhouettes: one sample a pixel says which surface a pixel shows, not how much of it.

Where the geometry has an edge, the step in the picture is followed to both its ends, and the pixels beside it are mixed
with those across it by how much of them the true edge cuts off (FXAA: Lottes 2009). Textures are left alone. Knows
pictures and passes; no model.
"""

from __future__ import annotations

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
CONTRAST, DARK = 0.08, 0.02  # a step: this share of the brightest neighbour, and at least so much
REACH = (1, 1, 1, 1, 2, 2, 4, 8)  # pixels by which the search goes on
CREASE = 0.85  # cosine between normals
BEND = 0.02  # relative bend of nearness that no plane has


def edges(depth: Tensor, normal: Tensor, index: Tensor) -> Tensor:
    """(H, W) bool: pixels on either side of a silhouette, a crease or a border between objects."""
    near = torch.where(torch.isfinite(depth), 1 / depth.clamp_min(1e-6), 0)
    out = torch.zeros_like(depth, dtype=torch.bool)
    for dim in (0, 1):
        count = depth.shape[dim]
        if count < 3:
            continue
        one, other = (slice_of(dim, 0, count - 1), slice_of(dim, 1, count))
        broken = (index[one] != index[other]) | ((normal[one] * normal[other]).sum(-1) < CREASE)
        broken &= (near[one] > 0) | (near[other] > 0)
        out[one] |= broken
        out[other] |= broken
        before, middle, after = (near[slice_of(dim, i, count - 2 + i)] for i in (0, 1, 2))
        bent = (2 * middle - before - after).abs() > BEND * torch.maximum(middle, torch.maximum(before, after))
        for i in (0, 1, 2):
            out[slice_of(dim, i, count - 2 + i)] |= bent
    return out


def slice_of(dim: int, start: int, stop: int) -> tuple[slice, ...]:
    return (slice(None),) * dim + (slice(start, stop),)


def smooth(picture: Tensor, at: Tensor) -> Tensor:
    """(H, W, 3) in 0..1, where it may change (H, W) bool -> the same without stairs."""
    height, width = picture.shape[:2]
    luma = picture @ picture.new_tensor(LUMA)
    y, x = torch.where(at & (steps(luma) > 0))
    if not len(y):
        return picture
    take = Taker(luma, y, x)
    north, south, west, east, centre = take(-1, 0), take(1, 0), take(0, -1), take(0, 1), take(0, 0)
    nw, ne, sw, se = take(-1, -1), take(-1, 1), take(1, -1), take(1, 1)
    rows = bend(nw, west, sw) + 2 * bend(north, centre, south) + bend(ne, east, se)
    columns = bend(nw, north, ne) + 2 * bend(west, centre, east) + bend(sw, south, se)
    level = rows >= columns  # the edge lies level
    first, second = torch.where(level, north, west), torch.where(level, south, east)
    side = torch.where((first - centre).abs() >= (second - centre).abs(), -1, 1)  # the steeper neighbour lies across
    beyond = torch.where(side < 0, first, second)
    middle, slope = (centre + beyond) / 2, (beyond - centre).abs() / 4
    ends = [follow(luma, y, x, level, side, middle, slope, way) for way in (-1, 1)]
    nearest = torch.where(ends[0][0] < ends[1][0], ends[0][1], ends[1][1])
    length, least = ends[0][0] + ends[1][0], torch.minimum(ends[0][0], ends[1][0])
    cut = (0.5 - least / length.clamp_min(1)).clamp(0, 0.5)
    cut = torch.where((centre < middle) == (nearest < 0), 0, cut)  # this side of the step is whole
    dy, dx = torch.where(level, side, 0), torch.where(level, 0, side)
    other = picture[(y + dy).clamp(0, height - 1), (x + dx).clamp(0, width - 1)]
    out = picture.clone()
    out[y, x] += cut[:, None] * (other - picture[y, x])
    return out


def steps(luma: Tensor) -> Tensor:
    """(H, W): how much contrast a pixel has with its neighbours over what counts as a step."""
    padded = torch.nn.functional.pad(luma[None, None], (1, 1, 1, 1), mode="replicate")
    most = torch.nn.functional.max_pool2d(padded, 3, 1)[0, 0]
    least = -torch.nn.functional.max_pool2d(-padded, 3, 1)[0, 0]
    return (most - least) - torch.clamp(CONTRAST * most, min=DARK)


def bend(before: Tensor, middle: Tensor, after: Tensor) -> Tensor:
    return (before - 2 * middle + after).abs()


class Taker:
    """Values of a picture beside some of its pixels; beyond its border the border's own."""

    def __init__(self, values: Tensor, y: Tensor, x: Tensor) -> None:
        self.values, self.y, self.x = values, y, x

    def __call__(self, dy: int | Tensor, dx: int | Tensor) -> Tensor:
        height, width = self.values.shape
        return self.values[(self.y + dy).clamp(0, height - 1), (self.x + dx).clamp(0, width - 1)]


def follow(
    luma: Tensor, y: Tensor, x: Tensor, level: Tensor, side: Tensor, middle: Tensor, slope: Tensor, way: int
) -> tuple[Tensor, Tensor]:
    """How far (N,) the step goes on in one direction, and by how much its end lies over its middle."""
    take, far = Taker(luma, y, x), torch.zeros_like(y)
    going, over = torch.ones_like(y, dtype=torch.bool), torch.zeros_like(middle)
    for stride in REACH:
        far = torch.where(going, far + stride, far)
        along = far * way
        dy, dx = torch.where(level, 0, along), torch.where(level, along, 0)
        here, there = take(dy, dx), take(dy + torch.where(level, side, 0), dx + torch.where(level, 0, side))
        over = torch.where(going, (here + there) / 2 - middle, over)
        going &= over.abs() < slope
        if not going.any():
            break
    return far, over
