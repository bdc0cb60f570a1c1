"""Stairs are taken out of silhouettes and nothing else is touched."""

import pytest
import torch

from engine import smooth

SIZE = 96


def half_plane(slope: float, fine: int = 1) -> torch.Tensor:
    """(SIZE, SIZE) share of every pixel below a slanted line, by fine x fine samples: 1 is what a pass has."""
    at = (torch.arange(SIZE * fine) + 0.5) / fine
    below = at[:, None] > slope * at[None] + SIZE / 3
    return below.float().view(SIZE, fine, SIZE, fine).mean((1, 3))


def two_colours(share: torch.Tensor) -> torch.Tensor:
    return share[..., None] * torch.tensor([0.9, 0.7, 0.3]) + (1 - share[..., None]) * torch.tensor([0.1, 0.2, 0.5])


def facts(share: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    depth = torch.where(share > 0.5, 4.0, 9.0)
    normal = torch.tensor([0.0, 0.0, 1.0]).expand(SIZE, SIZE, 3)
    return depth, normal, (share > 0.5).long()


@pytest.mark.parametrize("slope", [0.1, 0.25, 0.6, -0.3])
@pytest.mark.parametrize("turned", [False, True])
def test_a_slanted_edge_comes_nearer_to_its_true_coverage(slope, turned):
    stairs, truth = two_colours(half_plane(slope)), two_colours(half_plane(slope, 16))
    share = half_plane(slope)
    if turned:
        stairs, truth, share = stairs.transpose(0, 1), truth.transpose(0, 1), share.T
    made = smooth.smooth(stairs, smooth.edges(*facts(share)))
    inside = (slice(8, -8),) * 2
    before, after = (((p - truth)[inside] ** 2).mean() for p in (stairs, made))
    assert after < 0.5 * before


def test_a_straight_edge_along_the_pixels_stays():
    share = (torch.arange(SIZE) > 40).float()[:, None].expand(SIZE, SIZE).contiguous()
    picture = two_colours(share)
    assert torch.allclose(smooth.smooth(picture, smooth.edges(*facts(share))), picture, atol=1e-6)


def test_textures_are_left_alone():
    """A checker on a plane that recedes: full of steps, and not one of them a silhouette."""
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    picture = two_colours((((y * 0.37 + x * 0.21).floor() % 2) > 0).float())
    near = 0.5 - 0.004 * y - 0.001 * x  # nearness is linear on a plane
    normal = torch.tensor([0.0, 0.6, 0.8]).expand(SIZE, SIZE, 3)
    at = smooth.edges(1 / near, normal, torch.ones(SIZE, SIZE, dtype=torch.long))
    assert not at.any() and torch.equal(smooth.smooth(picture, at), picture)


def test_sky_is_a_surface_like_any_other_and_nothing_is_no_error():
    depth = torch.full((8, 8), torch.inf)
    at = smooth.edges(depth, torch.zeros(8, 8, 3), torch.zeros(8, 8, dtype=torch.long))
    assert not at.any()
    depth[4:] = 3.0
    at = smooth.edges(depth, torch.zeros(8, 8, 3), (depth < 9).long())
    assert at[3:5].all() and not at[:2].any()
