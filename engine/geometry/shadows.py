"""Cast shadows from what the camera saw: every visible surface point of the shot, seen once more from the sun.

A shadow map (Williams 1978) whose surfaces are the depth passes themselves: it needs no mesh. It knows only what
some frame of the shot saw: what stands outside of every frame casts nothing.
Shapes: F frames, H W pixels; one map of SIDE x SIDE cells serves the whole shot, so shadows cannot swim.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

SIDE = 768  # cells of the map
REACH = 4.0  # scales around the shot's middle that the map covers
BIAS = 0.02  # scales: a surface does not shadow itself
SLOPE = 2.5  # cells of extra bias per unit of slope


def sun_axes(toward: Tensor) -> Tensor:
    """(3,) unit, toward the sun -> (3, 3) rows: two across, one toward the sun."""
    helper = torch.tensor([1.0, 0, 0]) if abs(float(toward[2])) > 0.9 else torch.tensor([0, 0, 1.0])
    across = functional.normalize(torch.linalg.cross(helper.to(toward), toward), dim=0)
    return torch.stack([across, torch.linalg.cross(toward, across), toward])


class ShadowMap:
    """Heights toward the sun over a grid across it; filled frame by frame, asked frame by frame."""

    def __init__(self, toward: Tensor, middle: Tensor, scale: float) -> None:
        """toward (3,) unit; middle (3,) world; scale: the shot's unit of length."""
        self.axes, self.middle, self.scale = sun_axes(toward.float()), middle, scale
        self.height = torch.full((SIDE * SIDE,), -torch.inf, device=toward.device)
        self.ready: Tensor | None = None

    def _across(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """World points (N, 3) -> map coordinates (N, 2) in cells, height toward the sun (N,) in scales."""
        local = ((points - self.middle) / self.scale).float() @ self.axes.T
        return (local[:, :2] / REACH + 1) * (SIDE / 2), local[:, 2]

    def add(self, points: Tensor) -> None:
        """Surface points (N, 3), world. The nearest to the sun stays in each cell."""
        uv, height = self._across(points)
        cell = uv.floor().long()
        inside = ((cell >= 0) & (cell < SIDE)).all(1)
        at = cell[inside, 1] * SIDE + cell[inside, 0]
        self.height.scatter_reduce_(0, at, height[inside], "amax")
        self.ready = None

    def _finished(self) -> Tensor:
        """The map (1, 1, SIDE, SIDE) with empty cells filled from their neighbours."""
        if self.ready is None:
            grid = self.height.view(1, 1, SIDE, SIDE)
            grown = functional.max_pool2d(grid, 3, 1, 1)
            self.ready = torch.where(torch.isinf(grid), grown, grid)
        return self.ready

    def sunlit(self, points: Tensor, normal: Tensor) -> Tensor:
        """(N, 3), (N, 3) unit -> (N,) in 0..1: the share of four neighbouring cells that the sun reaches past."""
        uv, height = self._across(points)
        cosine = (normal @ self.axes[2]).clamp(0.05, 1)
        bias = BIAS + SLOPE * (2 * REACH / SIDE) * (1 - cosine**2).sqrt() / cosine
        inside = ((uv > 1) & (uv < SIDE - 1)).all(1)
        grid, lit = self._finished()[0, 0], torch.zeros_like(height)
        corner = (uv - 0.5).floor().long().clamp(0, SIDE - 2)
        part = (uv - 0.5 - corner).clamp(0, 1)
        for dx in (0, 1):
            for dy in (0, 1):
                weight = (part[:, 0] if dx else 1 - part[:, 0]) * (part[:, 1] if dy else 1 - part[:, 1])
                lit += weight * (grid[corner[:, 1] + dy, corner[:, 0] + dx] <= height + bias)
        return torch.where(inside, lit, 1.0)
