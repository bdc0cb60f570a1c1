"""Cast shadows against an analytic scene: a square plate over a floor, the sun straight above and aslant."""

import math

import numpy as np
import pytest
import torch

from engine import suns
from engine.geometry.shadows import RenderedMap, ShadowMap, sun_axes


def grid(half: float, z: float, n: int = 400) -> torch.Tensor:
    s = torch.linspace(-half, half, n)
    x, y = torch.meshgrid(s, s, indexing="ij")
    return torch.stack([x, y, torch.full_like(x, z)], -1).reshape(-1, 3)


@pytest.mark.parametrize("slant", [0.0, 0.5])
def test_a_plate_shades_exactly_its_projection(slant):
    toward = torch.tensor([math.sin(slant), 0.0, math.cos(slant)])
    shadow = ShadowMap(toward, torch.zeros(3), 1.0)
    floor, plate = grid(2.0, 0.0), grid(0.5, 1.0)
    shadow.add(floor)
    shadow.add(plate)
    up = torch.tensor([0.0, 0.0, 1.0])
    lit = shadow.sunlit(floor, up.expand_as(floor))
    centre = -math.tan(slant)  # where the plate's middle falls
    distance = torch.maximum((floor[:, 0] - centre).abs(), floor[:, 1].abs())
    assert lit[distance < 0.5 - 0.03].max() == 0
    assert lit[distance > 0.5 + 0.03].min() > 0.999
    assert shadow.sunlit(plate, up.expand_as(plate)).min() > 0.999


def test_what_lies_beyond_the_map_is_lit_and_an_empty_map_shades_nothing():
    shadow = ShadowMap(torch.tensor([0.0, 0.0, 1.0]), torch.zeros(3), 1.0)
    up = torch.tensor([[0.0, 0.0, 1.0]])
    assert shadow.sunlit(torch.tensor([[1e4, 0.0, 0.0]]), up) == 1
    assert shadow.sunlit(torch.tensor([[0.0, 0.0, 0.0]]), up) == 1


@pytest.mark.parametrize("toward", [(0, 0, 1.0), (1.0, 0, 0), (0.6, 0, 0.8)])
def test_the_sun_axes_are_a_rotation(toward):
    axes = sun_axes(torch.tensor(toward))
    assert torch.allclose(axes @ axes.T, torch.eye(3), atol=1e-6)


def rendered(toward: torch.Tensor, side: int = 400, half: float = 2.5) -> RenderedMap:
    """What the sun sees of a floor at 0 and a plate of half side .5 at 1, exactly."""
    axes = sun_axes(toward)
    cell = (torch.arange(side) + 0.5) / side * 2 * half - half
    b, a = torch.meshgrid(cell, cell, indexing="ij")
    across = a[..., None] * axes[0] + b[..., None] * axes[1]

    def meets(z: float) -> tuple[torch.Tensor, torch.Tensor]:
        t = (z - across[..., 2]) / toward[2]
        return t, across + t[..., None] * toward

    floor, _ = meets(0.0)
    plate, at = meets(1.0)
    on = (at[..., 0].abs() < 0.5) & (at[..., 1].abs() < 0.5)
    return RenderedMap(axes, torch.zeros(3), half, torch.where(on, plate, floor))


@pytest.mark.parametrize("slant", [0.0, 0.5, 1.1])
def test_a_rendered_map_shades_exactly_what_lies_behind_its_plate(slant):
    toward = torch.tensor([math.sin(slant), 0.0, math.cos(slant)])
    sun = rendered(toward)
    floor, up = grid(2.0, 0.0, 300), torch.tensor([0.0, 0.0, 1.0])
    lit = sun.sunlit(floor, up.expand_as(floor))
    across = torch.maximum((floor[:, 0] + math.tan(slant)).abs(), floor[:, 1].abs())
    soft = 2.5 * 2 * sun.half / len(sun.grid) / math.cos(slant)  # as wide as the cells that are asked
    covered = (sun.axes[:2] @ floor.T).abs().amax(0) < sun.half - soft
    assert lit[covered & (across < 0.5 - soft)].max() == 0
    assert lit[covered & (across > 0.5 + soft)].min() > 0.999
    edge = lit[covered & ((across - 0.5).abs() < soft / 4)]
    assert len(edge) == 0 or 0.2 < edge.mean() < 0.8, "an edge is soft, not a staircase"
    plate = grid(0.45, 1.0, 50)
    assert sun.sunlit(plate, up.expand_as(plate)).min() > 0.999, "what holds up the light does not shade itself"


def test_the_scenes_own_sun_is_filmed_first_and_no_height_twice():
    own = np.array([0.3, -0.4, 0.6])
    rows = suns.directions(own, 0, np.array([0.0, 1.0, 0.0]))
    assert np.allclose(rows[0], own / np.linalg.norm(own)) and np.allclose(np.linalg.norm(rows, axis=1), 1)
    assert np.allclose(np.arctan2(rows[:, 1], rows[:, 0]), math.atan2(-0.4, 0.3)), "one azimuth"
    heights = np.arcsin(rows[:, 2])
    assert np.abs(heights[1:] - heights[0]).min() > suns.NEARLY
    below = suns.directions(np.array([0.0, 1.0, -0.5]), 3, np.array([0.0, 1.0, 0.0]))
    assert len(below) == len(suns.HEIGHTS) and (below[:, 2] > 0).all()
    assert below[0, :2] @ [0, 1] < 0, "behind the camera, so that it looks at lit sides"


def world(spot: float, height: int = 360) -> np.ndarray:
    """A grey world of radiance .5 with a disc of 4 degrees whose radiance is `spot`, 40 degrees high toward +x."""
    way = suns.world_directions(height, 2 * height)
    toward = np.array([math.cos(0.7), 0, math.sin(0.7)])
    disc = way @ toward > math.cos(math.radians(4))
    return np.where(disc[..., None], np.array([spot, spot * 0.8, spot * 0.6]), 0.5)


def test_a_worlds_sun_is_found_where_it_stands_and_as_strong_as_it_is():
    found = suns.sun_of(world(300.0))
    assert found is not None
    toward, irradiance = found
    assert np.degrees(np.arccos(toward @ [math.cos(0.7), 0, math.sin(0.7)])) < 1
    exact = 300 * 2 * math.pi * (1 - math.cos(math.radians(4)))
    assert np.allclose(irradiance, np.array([1, 0.8, 0.6]) * exact, rtol=0.06)
    assert np.allclose(suns.sky_light(world(300.0)), 0.5, rtol=0.02), "the sky is what is left"


@pytest.mark.parametrize("spot", [0.5, 6.0])
def test_a_world_without_a_sun_has_none(spot):
    assert suns.sun_of(world(spot)) is None
    assert suns.sun_of(np.zeros((16, 32, 3))) is None
    assert np.allclose(suns.sky_light(np.full((32, 64, 3), 0.5)), 0.5, rtol=2e-3)


def test_the_solid_angles_of_a_world_are_the_whole_sphere():
    assert np.broadcast_to(suns.solid_angles(64, 128), (64, 128)).sum() == pytest.approx(4 * math.pi)


def test_ground_is_lit_up_to_the_border_of_a_rendered_map():
    """Cells beyond the border are not there to be asked; what lies beside it would be compared with others' heights."""
    axes = torch.from_numpy(suns.axes(np.array([0.6, 0.3, 0.74]) / np.linalg.norm([0.6, 0.3, 0.74])))
    side, half = 64, 8.0
    across = (torch.arange(side) + 0.5) / side * 2 - 1
    u, v = torch.meshgrid(across * half, across * half, indexing="xy")
    height = -(u * axes[0, 2] + v * axes[1, 2]) / axes[2, 2]  # of z = 0 toward the sun
    sun = RenderedMap(axes, torch.zeros(3), half, height.float())
    place = torch.rand(20000, 3, generator=torch.Generator().manual_seed(1)) * 30 - 15
    place[:, 2] = 0
    assert (sun.sunlit(place, torch.tensor([0.0, 0, 1]).expand(len(place), 3)) == 1).all()
