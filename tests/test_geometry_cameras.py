"""Cameras against closed forms, in float64 where the world is far from its origin."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.geometry import cameras


def camera(seed: int, offset: float = 0.0, width: int = 32, height: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    """A random K (1,3,3) and c2w (1,4,4), float64."""
    g = torch.Generator().manual_seed(seed)
    draw = torch.randn(7, generator=g, dtype=torch.float64)
    q = torch.nn.functional.normalize(draw[:4], dim=0)
    w, x, y, z = q.tolist()
    c2w = torch.eye(4, dtype=torch.float64)
    c2w[:3, :3] = torch.tensor([[1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]],
                               dtype=torch.float64)
    c2w[:3, 3] = draw[4:] + offset
    K = torch.tensor([[30.0, 0, width / 2 + 1.5], [0, 34.0, height / 2 - 2.25], [0, 0, 1]], dtype=torch.float64)
    return K[None], c2w[None]


@given(st.integers(0, 1000), st.sampled_from([0.0, 1e5, -3e5]))
@settings(max_examples=30, deadline=None)
def test_invert_is_the_inverse(seed, offset):
    _, c2w = camera(seed, offset)
    assert torch.allclose(cameras.invert(c2w), torch.linalg.inv(c2w), atol=1e-9, rtol=1e-9)


def test_pixel_centres_are_at_one_half():
    K = torch.tensor([[[10.0, 0, 1.5], [0, 10.0, 0.5], [0, 0, 1]]])
    origin, direction = cameras.rays(K, torch.eye(4)[None], 1, 3)
    assert origin.tolist() == [[0, 0, 0]]
    assert direction[0, 0, 1].tolist() == [0, 0, 1]
    assert direction[0, 0, 2, 0] > 0
    below = cameras.rays(K, torch.eye(4)[None], 2, 3)[1][0, 1, 1]
    assert below[1] > 0, "v grows downwards, along +y"


@given(st.integers(0, 1000), st.floats(-3, 3), st.floats(0.01, 1e4))
@settings(max_examples=50, deadline=None)
def test_unproject_then_project_returns_the_pixel(seed, log_scale, depth):
    K, c2w = camera(seed)
    c2w[..., :3, 3] *= 10**log_scale
    d = torch.full((1, 20, 32), depth)
    uv, z = cameras.project(cameras.unproject(d, K, c2w), K, c2w)
    u, v = cameras.pixel_axes(20, 32, d.device)
    assert torch.allclose(uv[0, ..., 0].float(), u.expand(20, 32), atol=1e-4)
    assert torch.allclose(uv[0, ..., 1].float(), v[:, None].expand(20, 32), atol=1e-4)
    assert torch.allclose(z.float(), d, rtol=1e-6)


@pytest.mark.parametrize("offset", [0.0, 1e5, 1e6])
def test_unproject_is_a_plane_far_from_the_origin(offset):
    """Planar depth: all pixels of one depth lie in one plane across the view axis, and keep their digits out there."""
    K, c2w = camera(4, offset)
    points = cameras.unproject(torch.full((1, 20, 32), 0.37), K, c2w)
    along = ((points - c2w[:, None, None, :3, 3]) * c2w[:, None, None, :3, 2]).sum(-1)
    assert points.dtype == torch.float64
    assert (along - 0.37).abs().max() < 1e-6


def test_depth_is_planar_not_radial():
    K, c2w = camera(5)
    d = torch.rand(1, 20, 32) + 1
    origin, direction = cameras.rays(K, c2w, 20, 32)
    points = cameras.unproject(d, K, c2w)
    radial = (points - origin[:, None, None]).norm(dim=-1)
    cosine = (direction.double() * c2w[:, None, None, :3, 2]).sum(-1)
    assert torch.allclose(radial * cosine, d.double(), rtol=1e-5)
    assert radial.max() > d.max()


def test_pluecker_moment_is_the_same_for_every_point_of_the_ray():
    K, c2w = camera(6)
    line = cameras.pluecker(K, c2w, 20, 32)
    direction, moment = line[..., :3], line[..., 3:]
    point = cameras.unproject(torch.full((1, 20, 32), 2.5), K, c2w).float()
    assert torch.allclose(torch.linalg.cross(point, direction), moment, atol=1e-5)
    assert torch.allclose((direction * moment).sum(-1), torch.zeros(1, 20, 32), atol=1e-6)


@given(st.integers(0, 1000), st.sampled_from([0.0, 1e5]))
@settings(max_examples=30, deadline=None)
def test_flow_is_projection_minus_pixel(seed, offset):
    K, c2w = camera(seed, offset)
    K2, c2w2 = K.clone(), c2w.clone()
    K2[..., 0, 0] *= 1.1
    c2w2[..., :3, 3] += torch.tensor([0.1, -0.05, 0.2], dtype=torch.float64)
    d = torch.rand(1, 20, 32, generator=torch.Generator().manual_seed(seed)) * 5 + 1
    uv, _ = cameras.project(cameras.unproject(d, K, c2w), K2, c2w2)
    u, v = cameras.pixel_axes(20, 32, d.device)
    expected = uv[0] - torch.stack(torch.broadcast_tensors(u, v[:, None]), -1)
    assert torch.allclose(cameras.flow(d, K, c2w, K2, c2w2)[0].double(), expected, atol=2e-5)


def test_flow_of_a_slow_far_camera_keeps_its_digits():
    """A sideways step e at depth z moves every pixel by exactly -f e / z: here 1e-5 px, at pixel 960."""
    K = torch.tensor([[[1000.0, 0, 960], [0, 1000, 540], [0, 0, 1]]], dtype=torch.float64)
    c2w = torch.eye(4, dtype=torch.float64)[None].clone()
    c2w[:, :3, 3] = 1e5
    c2w2 = c2w.clone()
    c2w2[:, 0, 3] += 2.0**-20
    f = cameras.flow(torch.full((1, 4, 1920), 100.0), K, c2w, K, c2w2)
    expected = -10 * (c2w2 - c2w)[0, 0, 3].item()
    assert torch.allclose(f[..., 0], torch.tensor(expected), rtol=1e-5, atol=0)
    assert f[..., 1].abs().max() == 0


def test_flow_of_sky_is_rotation_alone():
    K, c2w = camera(7)
    roll = torch.eye(4, dtype=torch.float64)
    a = math.radians(3)
    roll[:2, :2] = torch.tensor([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]], dtype=torch.float64)
    c2w2 = c2w @ roll
    far = cameras.flow(torch.full((1, 20, 32), 1e9), K, c2w, K, c2w2)
    c2w2[..., :3, 3] += 5
    sky = cameras.flow(torch.full((1, 20, 32), torch.inf), K, c2w, K, c2w2)
    assert torch.isfinite(sky).all() and torch.allclose(sky, far, atol=1e-4)


def test_flow_behind_the_other_camera_is_inf_and_never_nan():
    K = torch.tensor([[[10.0, 0, 2], [0, 10.0, 2], [0, 0, 1]]])
    ahead = torch.eye(4)[None].clone()
    ahead[:, 2, 3] = 3
    depth = torch.tensor([1.0, 3.0, 4.0, 0.0]).expand(1, 4, 4)
    f = cameras.flow(depth, K, torch.eye(4)[None], K, ahead)
    assert not f.isnan().any()
    assert f[0, :, 0].isinf().all() and f[0, :, 2].isfinite().all()


def test_one_pixel_and_no_frames():
    K, c2w = camera(8)
    assert cameras.rays(K, c2w, 1, 1)[1].shape == (1, 1, 1, 3)
    assert cameras.unproject(torch.ones(0, 2, 2), K[:0], c2w[:0]).shape == (0, 2, 2, 3)
