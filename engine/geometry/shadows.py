"""Cast shadows by maps of what the sun sees first (Williams 1978).

Blender renders a map where it can: exact, whatever the shot's camera sees. Else the surfaces are the depth passes
themselves, every visible point of the shot seen once more from the sun: such a map knows only what some frame saw.
Shapes: F frames, H W pixels; one map of side x side cells serves the whole shot, so shadows cannot swim.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from .. import suns

SIDE = 768  # cells of a map of points
REACH = 4.0  # scales around the shot's middle that it covers
BIAS = 0.02  # scales: a surface does not shadow itself
SLOPE = 2.5  # cells of extra bias per unit of slope
STEEPEST = 0.05  # cosine to the sun below which the slope's bias no longer grows
RENDERED_BIAS, RENDERED_SLOPE = 0.25, 0.1  # of a rendered map, cells: its surfaces have no gaps
SOFT = (-1, 0, 1)  # cells beside a point that are asked too: the sun is no point


def sun_axes(toward: Tensor) -> Tensor:
    """(3,) unit, toward the sun -> (3, 3) rows: two across, one toward the sun."""
    return torch.from_numpy(suns.axes(toward.double().cpu().numpy())).to(toward)


def reaches(grid: Tensor, uv: Tensor, height: Tensor, soft: tuple[int, ...], slope: Tensor | None = None) -> Tensor:
    """Share of the sun (N,) that comes past a map's surfaces (side, side), for points at uv (N, 2) in cells that lie
    `height` (N,) toward it: bilinear over cells, averaged over the neighbours `soft` (Reeves et al. 1987).

    slope (N, 2): by how much the point's own plane rises a cell; each cell is compared with that plane, so that a
    slanted surface does not shade itself (receiver-plane bias, Isidoro 2006).
    """
    rise = torch.zeros_like(uv) if slope is None else slope
    corner = (uv - 0.5).floor().long()
    part = uv - 0.5 - corner
    first, last = soft[0], soft[-1] + 1

    def passed(dx: int, dy: int, some: Tensor | slice = slice(None)) -> Tensor:
        at = [(corner[some, i] + d).clamp(0, len(grid) - 1) for i, d in ((1, dy), (0, dx))]
        own = height[some] + rise[some, 0] * (dx - part[some, 0]) + rise[some, 1] * (dy - part[some, 1])
        return grid[at[0], at[1]] <= own

    def share(d: int, some: Tensor, axis: int) -> Tensor | float:  # a box as wide as `soft`, slid by a part of a cell
        return 1 - part[some, axis] if d == first else part[some, axis] if d == last else 1.0

    cells = [(dx, dy) for dx in (first, last) for dy in (first, last)] + [(d, d) for d in range(first + 1, last)]
    nothing = torch.zeros((), dtype=torch.int32, device=grid.device)
    count = sum((passed(*cell).int() for cell in cells), nothing)  # one in every row, column and diagonal of the window
    lit = (count == len(cells)).float()
    some = torch.where((count > 0) & (count < len(cells)))[0]
    total = torch.zeros(len(some), device=grid.device)
    for dx in range(first, last + 1):
        for dy in range(first, last + 1):
            total += share(dx, some, 0) * share(dy, some, 1) * passed(dx, dy, some)
    lit[some] = total / len(soft) ** 2
    return lit


class RenderedMap:
    """A map that Blender made: the height toward the sun of what it meets first, over a square across it."""

    def __init__(self, axes: Tensor, origin: Tensor, half: float, height: Tensor) -> None:
        """axes (3, 3) rows, the last toward the sun; origin (3,) the square's middle; half its side, scene units;
        height (side, side) over the origin, -inf where nothing is."""
        self.axes, self.origin, self.half, self.grid = axes.float(), origin, half, height

    @property
    def toward(self) -> Tensor:
        return self.axes[2]

    def sunlit(self, points: Tensor, normal: Tensor) -> Tensor:
        """(N, 3), (N, 3) unit -> (N,) in 0..1."""
        local, side = (points - self.origin).float() @ self.axes.T, len(self.grid)
        uv = (local[:, :2] / self.half + 1) * (side / 2)
        turned, cell = normal.float() @ self.axes.T, 2 * self.half / side
        slope = -cell * turned[:, :2] / turned[:, 2:].clamp_min(STEEPEST)
        bias = cell * RENDERED_BIAS + RENDERED_SLOPE * slope.norm(dim=1)
        lit = reaches(self.grid, uv, local[:, 2] + bias, SOFT, slope)
        beyond = 1 - SOFT[0]  # cells that are asked beside a point lie in the map, or its border would shade
        return torch.where(((uv > beyond) & (uv < side - beyond)).all(1), lit, 1.0)


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
        """The map (SIDE, SIDE) with empty cells filled from their neighbours."""
        if self.ready is None:
            grid = self.height.view(1, 1, SIDE, SIDE)
            grown = functional.max_pool2d(grid, 3, 1, 1)
            self.ready = torch.where(torch.isinf(grid), grown, grid)[0, 0]
        return self.ready

    def sunlit(self, points: Tensor, normal: Tensor) -> Tensor:
        """(N, 3), (N, 3) unit -> (N,) in 0..1: the share of four neighbouring cells that the sun reaches past."""
        uv, height = self._across(points)
        cosine = (normal @ self.axes[2]).clamp(STEEPEST, 1)
        bias = BIAS + SLOPE * (2 * REACH / SIDE) * (1 - cosine**2).sqrt() / cosine
        lit = reaches(self._finished(), uv, height + bias, (0,))
        return torch.where(((uv > 1) & (uv < SIDE - 1)).all(1), lit, 1.0)
