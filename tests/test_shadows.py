"""Cast shadows against an analytic scene: a square plate over a floor, the sun straight above and aslant."""

import math

import pytest
import torch

from engine.geometry.shadows import ShadowMap, sun_axes


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
