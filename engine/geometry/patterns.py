"""What a named material looks like on a surface: tone, joints and strokes, computed from the surface point itself.

They stick to the object because they are functions of its own space, and stay sharp at any size. Which pattern and how
much of it is the prompt's affair (the look); nothing here is learnt. Lengths are in units (the shot's median depth, to
the nearest power of two): a course of bricks is legible whatever the scene's unit; what is finer than a pixel fades.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .value_noise import value_noise

NAMES = ("brick", "planks", "rock", "grain", "grass", "tiles", "cells", "veins", "streaks")
TURN = math.pi / 8  # walls are laid out along one of 16 directions, at most 6 % stretched
OFFSET = 0.0437  # so that a wall square to the axes lies in the middle of its direction
CREASE = 0.7  # cosine between neighbours' normals below which a line is drawn
MOST = 4096.0  # units from the world's origin beyond which float32 has no bricks any more


@dataclass(frozen=True)
class Paint:
    """A material as the look asks for it; shares in 0..1."""

    shares: tuple[float, ...]  # of NAMES
    on_up: float
    on_side: float
    cover: float
    lines: bool  # outlines and strokes are wanted

    @property
    def empty(self) -> bool:
        return self.cover <= 0 and not self.lines


@dataclass(frozen=True)
class Surface:
    """Points of some frames, flattened: what every pattern is a function of."""

    point: Tensor  # (N, 3)
    across: Tensor  # (N,) along the wall, or x on what faces up
    along: Tensor  # (N,) up the wall, or y
    pixel: Tensor  # (N,) footprint of a pixel


def surface(point: Tensor, normal: Tensor, footprint: Tensor) -> Surface:
    """point, normal (..., 3), footprint (...) in units."""
    p, n = point.reshape(-1, 3).clamp(-MOST, MOST), normal.reshape(-1, 3)
    angle = ((torch.atan2(n[:, 1], n[:, 0]) - OFFSET) / TURN).round() * TURN
    wall = n[:, 2].abs() < 0.75
    across = torch.where(wall, p[:, 1] * angle.cos() - p[:, 0] * angle.sin(), p[:, 0])
    return Surface(p, across, torch.where(wall, p[:, 2], p[:, 1]), footprint.reshape(-1).clamp_min(1e-5))


def _hash(*cells: Tensor) -> Tensor:
    """0..1 for whole numbers, the same for the same."""
    mixed = sum(c * k for c, k in zip(cells, (12.9898, 78.233, 37.719), strict=False))
    return torch.remainder(torch.sin(torch.remainder(torch.as_tensor(mixed), 2 * math.pi)) * 4375.85, 1)


def _fade(size: float, s: Surface) -> Tensor:
    """1 where a feature of that size spans pixels, 0 where it would alias."""
    return ((size / s.pixel - 1) / 2).clamp(0, 1)


def _line(x: Tensor, width: float, pixel: Tensor) -> Tensor:
    """Coverage of a joint at every whole number of x; x, width and pixel in the same cells."""
    away = (torch.remainder(x, 1) - 0.5).abs()  # .5 on the joint
    return ((away - 0.5 + width / 2) / pixel.clamp_min(1e-4) + 0.5).clamp(0, 1) * (width / pixel).clamp(0, 1)


def _noise(s: Surface, x: float, y: float, z: float) -> Tensor:
    return value_noise(torch.stack([s.across * x, s.along * y, s.point.sum(1) * z], 1))[0] - 0.5


Drawn = tuple[Tensor, Tensor]  # tone about -1..1, line 0..1


def brick(s: Surface, height: float = 1 / 72) -> Drawn:
    row = (s.along / height).floor()
    x = s.across / (3 * height) + 0.5 * torch.remainder(row, 2)
    line = torch.maximum(_line(s.along / height, 0.16, s.pixel / height), _line(x, 0.06, s.pixel / (3 * height)))
    tone = 1.6 * (_hash(x.floor(), row) - 0.5) * _fade(height, s) + 0.6 * _noise(s, 160, 160, 0) * _fade(1 / 80, s)
    return tone, line


def planks(s: Surface, width: float = 1 / 28) -> Drawn:
    board = (s.across / width).floor()
    rings = value_noise(torch.stack([s.across * 130, s.along * 9 + board * 3.7, board], 1))[0] - 0.5
    tone = (_hash(board, board * 0 + 3) - 0.5) * _fade(width / 2, s) + 1.8 * rings * _fade(1 / 90, s)
    return tone, _line(s.across / width, 0.08, s.pixel / width)


def rock(s: Surface, size: float = 1 / 20) -> Drawn:
    """Stones of uneven shape: the two nearest of jittered points (Worley 1996)."""
    x, y = s.across / size, s.along / size * 1.3
    first, second, own = torch.full_like(x, 9.0), torch.full_like(x, 9.0), torch.zeros_like(x)
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            cx, cy = x.floor() + i, y.floor() + j
            far = ((cx + _hash(cx, cy) - x) ** 2 + (cy + _hash(cy, cx, cx) - y) ** 2).sqrt()
            closer = far < first
            second = torch.where(closer, first, torch.minimum(second, far))
            own, first = torch.where(closer, _hash(cx, cy, cx * 0 + 5), own), torch.minimum(first, far)
    pixel = (s.pixel / size).clamp_min(1e-3)
    line = ((0.1 - (second - first)) / pixel + 0.5).clamp(0, 1) * (0.2 / pixel).clamp(0, 1)
    return 1.4 * (own - 0.5) * _fade(size / 2, s) + _noise(s, 120, 120, 0) * _fade(1 / 60, s), line


def grain(s: Surface) -> Drawn:
    tone = 0.7 * _noise(s, 9, 9, 3) + 0.6 * _noise(s, 60, 60, 9) * _fade(1 / 40, s)
    tone = tone + 0.7 * _noise(s, 170, 170, 20) * _fade(1 / 100, s)
    return tone, torch.zeros_like(tone)


def grass(s: Surface) -> Drawn:
    blades = _noise(s, 260, 70, 0) * _fade(1 / 150, s) + _noise(s, 110, 60, 5) * _fade(1 / 70, s)
    return 1.3 * blades + 0.9 * _noise(s, 8, 8, 3), torch.zeros_like(blades)


def tiles(s: Surface, size: float = 1 / 22) -> Drawn:
    x, y = s.across / size, s.along / size
    pixel = s.pixel / size
    return 0.5 * (_hash(x.floor(), y.floor()) - 0.5) * _fade(size / 2, s), torch.maximum(
        _line(x, 0.07, pixel), _line(y, 0.07, pixel)
    )


def cells(s: Surface, size: float = 1 / 13, across: int = 8) -> Drawn:
    """Blocks with pixels on them, cut out of space itself: the same block from every side."""
    p = s.point / size + 1e-3
    block, dot = p.floor(), (p * across).floor()
    x, y = s.across / size, s.along / size
    tone = 1.5 * (_hash(dot[:, 0], dot[:, 1], dot[:, 2]) - 0.5) * _fade(size / across, s)
    tone = tone + 0.9 * (_hash(block[:, 0], block[:, 1], block[:, 2]) - 0.5) * _fade(size / 2, s)
    pixel = s.pixel / size
    return tone, torch.maximum(_line(x, 0.06, pixel), _line(y, 0.06, pixel))


def veins(s: Surface) -> Drawn:
    bend = 3.5 * _noise(s, 7, 7, 2) + 1.5 * _noise(s, 22, 22, 5)
    vein = (1 - (torch.remainder(s.across * 5 + s.along * 3 + bend, 1) - 0.5).abs() * 2) ** 6
    return 0.6 * _noise(s, 6, 6, 2) + 0.3 * _noise(s, 40, 40, 0) * _fade(1 / 30, s), vein * _fade(1 / 40, s)


def streaks(s: Surface) -> Drawn:
    tone = 0.8 * _noise(s, 6, 190, 0) * _fade(1 / 110, s) + 0.5 * _noise(s, 5, 5, 2)
    return tone, torch.zeros_like(tone)


DRAW: dict[str, Callable[[Surface], Drawn]] = {
    "brick": brick, "planks": planks, "rock": rock, "grain": grain, "grass": grass, "tiles": tiles, "cells": cells,
    "veins": veins, "streaks": streaks,
}  # fmt: skip


def draw(paint: Paint, s: Surface) -> Drawn:
    """The material's tone and joints; patterns that share it are mixed, the strongest by far the most."""
    wanted = [(share**3, name) for share, name in zip(paint.shares, NAMES, strict=True) if share > 0]
    total = sum(share for share, _ in wanted)
    tone, line = torch.zeros_like(s.across), torch.zeros_like(s.across)
    for share, name in wanted:
        if share > 0.04 * total:
            t, joint = DRAW[name](s)
            tone, line = tone + share / total * t, line + share / total * joint
    return tone.clamp(-1.5, 1.5), line


def cover(paint: Paint, s: Surface, up: Tensor) -> Tensor:
    """Where the material lies, 0..1: on what faces up, on what stands, uneven between them. up (N,): the normal's z."""
    lying = ((up - 0.45) * 4 + 0.5 + 1.5 * _noise(s, 14, 14, 4)).clamp(0, 1)
    share = lying * paint.on_up + (1 - lying) * paint.on_side
    rough = 2.2 * _noise(s, 10, 10, 3) + 1.2 * _noise(s, 45, 45, 9) * _fade(1 / 30, s)
    return (share * 2.4 - 0.7 + rough * 4 * share * (1 - share)).clamp(0, 1)


def strokes(s: Surface) -> Tensor:
    """Strokes, crossed in the shade, 0..1: what is darker than that is drawn. As wide on the film near and far."""
    pitch = torch.exp2(torch.ceil(torch.log2(s.pixel * 3)))  # 3 to 6 pixels, in steps of two
    bend = 0.5 * _noise(s, 30, 30, 6)
    first, second = (
        (torch.remainder((s.across * a + s.along * b) / pitch + bend, 1) - 0.5).abs() * 2
        for a, b in ((0.8, 0.6), (-0.7, 0.72))
    )
    return torch.minimum(0.2 + 0.6 * first, 0.6 + 0.5 * second)


def pigment(s: Surface) -> Tensor:
    """How much colour the paper took, 0..1: pools and grain."""
    pools = 0.5 + 0.9 * _noise(s, 5, 5, 2) + 0.5 * _noise(s, 18, 18, 5)
    return (pools + 0.35 * _noise(s, 150, 150, 20) * _fade(1 / 90, s)).clamp(0, 1)


def outline(depth: Tensor, normal: Tensor, index: Tensor) -> Tensor:
    """(F, H, W), (F, H, W, 3), (F, H, W) -> (F, H, W) in 0..1: silhouettes and creases, some two pixels wide and soft.

    Nearness is linear across a plane, however steep: where its second difference is not small, the surface ends.
    """
    near = torch.where(torch.isfinite(depth), 1 / depth.clamp_min(1e-6), 0)
    edge = torch.zeros_like(near)
    for dim in (1, 2):
        count = near.shape[dim]
        before, middle, after = (near.narrow(dim, i, count - 2) for i in (0, 1, 2))
        ends = 2 * middle - before - after > 0.03 * middle  # only what lies in front has an edge
        edge.narrow(dim, 1, count - 2).add_(ends)
        dot = (normal.narrow(dim, 1, count - 1) * normal.narrow(dim, 0, count - 1)).sum(-1)
        solid = (near.narrow(dim, 0, count - 1) > 0) & (near.narrow(dim, 1, count - 1) > 0)
        other = (index.diff(dim=dim) != 0) | (dot < CREASE)
        edge.narrow(dim, 0, count - 1).add_(solid & other)
    edge = edge.clamp(0, 1)
    soft = functional.avg_pool2d(edge[:, None], 3, 1, 1, count_include_pad=False)[:, 0]
    return (1.7 * soft).clamp(0, 1)
