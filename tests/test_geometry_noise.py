"""Noise on surfaces: N(0,1) at every point, the covariance it states, and the same surface keeping it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.geometry import anchors, cameras, noise

N = 1 << 16


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small arrays on a busy machine: waiting for a second thread costs more than it does."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sample(points: torch.Tensor, footprint: float | torch.Tensor, seed: int = 0, frame: int = 0, sky: bool = False):
    """Noise (3,P) at points (P,3), laid out as one row of pixels."""
    p = points[None, None]
    f = torch.as_tensor(footprint, dtype=torch.float32).expand(1, 1, len(points))
    where = torch.full((1, 1, len(points)), sky)
    return noise.surface_noise(p, f, where, p.float(), seed, torch.tensor([frame]))[0, :, 0]


def cloud(seed: int, size: float = 1e3, dtype=torch.float64) -> torch.Tensor:
    """Points so far apart that their cells differ."""
    return torch.rand(N, 3, generator=torch.Generator().manual_seed(seed), dtype=dtype) * size


@pytest.mark.parametrize(("footprint", "sky"), [(0.01, False), (0.0117, False), (2.0**-8, False), (3e-4, True)])
def test_every_value_is_standard_normal(footprint, sky):
    points = torch.nn.functional.normalize(cloud(1) - 500, dim=1) if sky else cloud(1)
    n = sample(points, footprint, seed=5, sky=sky).double()
    for channel in n:
        assert abs(channel.mean()) < 5 / N**0.5
        assert abs(channel.var() - 1) < 5 * (2 / N)**0.5
        assert abs((channel**3).mean()) < 5 * (15 / N)**0.5
        assert abs((channel**4).mean() - 3) < 5 * (96 / N)**0.5
        ranks = (torch.arange(N, dtype=torch.float64) + 0.5) / N
        ks = (torch.special.ndtr(channel.sort().values) - ranks).abs().max() * N**0.5
        assert ks < 1.95, "Kolmogorov-Smirnov at 0.1 %"
    assert (torch.corrcoef(n) - torch.eye(3)).abs().max() < 5 / N**0.5


@pytest.mark.parametrize("footprint2", [None, 0.013, 0.018, 0.034, 0.09])
@pytest.mark.parametrize("apart", [(0, 0, 0), (0.004, 0, 0), (0.01, -0.003, 0.002), (0.0, 0.03, -0.05), (0.2, 0, 0)])
def test_covariance_is_the_stated_one(apart, footprint2):
    shift = torch.tensor(apart, dtype=torch.float64)
    a = sample(cloud(2), 0.0123, frame=0).double()
    b = sample(cloud(2) + shift, 0.0123 if footprint2 is None else footprint2, frame=1).double()
    expected = noise.covariance(shift, 0.0123, footprint2).item()
    assert abs((a * b).mean(1) - expected).max() < 5 * (2 / N)**0.5
    assert abs((a[0] * b[1]).mean()) < 5 * (2 / N)**0.5, "channels are independent"


def test_stated_covariance_has_five_sixths_at_zero_and_vanishes_far_away():
    assert noise.covariance(torch.zeros(3), 0.3).item() == pytest.approx(5 / 6, abs=1e-6)
    assert noise.covariance(torch.tensor([6.0, 0, 0]), 0.3).item() == 0


@given(st.integers(-20, 10), st.booleans())
@settings(max_examples=20, deadline=None)
def test_nothing_jumps_where_the_level_changes(power, sky):
    """A footprint that drifts over a power of two changes noise by no more than its own drift."""
    points = cloud(3)[:2000] / 500
    below, above = (sample(points, 2.0**power * (1 + e), sky=sky) for e in (-1e-5, 1e-5))
    assert (below - above).abs().max() < 1e-3


def test_equal_seeds_agree_and_others_are_independent():
    points = cloud(4)
    a, again, b, c = (sample(points, 0.01, seed=s).double() for s in (7, 7, 8, 7 + 2**32))
    assert torch.equal(a, again)
    for other in (b, c):
        assert (a * other).mean(1).abs().max() < 5 / N**0.5


def test_only_the_free_share_is_new_in_another_frame():
    a, b = (sample(cloud(5), 0.01, frame=f).double() for f in (0, 1))
    assert abs((a - b).var() - 2 * noise.FREE) < 0.01
    assert torch.equal(sample(cloud(5), 0.01, frame=1).double(), b)


def test_sky_is_not_the_surface_at_the_same_coordinates():
    p = torch.nn.functional.normalize(cloud(6) - 500, dim=1)
    a, b = sample(p, 1e-4).double(), sample(p, 1e-4, sky=True, frame=1).double()
    assert (a * b).mean(1).abs().max() < 5 / N**0.5


@pytest.mark.parametrize("far", [0.0, 1e5])
@pytest.mark.parametrize("depth", [4.0, 5.3])
def test_a_floor_keeps_its_noise_from_view_to_view(depth, far):
    """Two cameras over the floor z = 0, the second a whole number of pixels aside: the pictures share 5/6."""
    K = torch.tensor([[64.0, 0, 24], [0, 64, 16], [0, 0, 1]], dtype=torch.float64).expand(2, 3, 3)
    c2w = torch.diag(torch.tensor([1.0, -1, -1, 1], dtype=torch.float64)).repeat(2, 1, 1)
    c2w[:, :3, 3] = torch.tensor([far + 0.3, far - 0.2, depth])
    c2w[1, 0, 3] += 5 * depth / 64
    d = torch.full((2, 32, 48), depth)
    points = anchors.anchors(d, K, c2w, None, None, None, 0)
    _, direction = cameras.rays(K, c2w, 32, 48)
    sky = torch.zeros(2, 32, 48, dtype=torch.bool)
    n = noise.surface_noise(points, anchors.footprint(d, K), sky, direction, 3, torch.arange(2))
    difference = (n[0, :, :, 5:] - n[1, :, :, :-5]).square()
    share = 2 * noise.FREE
    assert abs(difference.mean() - share) < 5 * share * (2 / difference.numel())**0.5


@pytest.mark.parametrize("at", [0.0, 1.0, -2.5, 0.3])
def test_rounding_on_a_level_floor_does_not_speckle(at):
    """Floors and walls lie at round numbers: their depth's last digits must not choose between two cells."""
    points = cloud(9) * 0.01
    points[:, 2] = at
    jitter = torch.rand(N, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2e-6 - 1e-6
    a = sample(points, 2.0**-6)
    points[:, 2] += jitter
    assert torch.equal(a, sample(points, 2.0**-6))


def test_an_object_carries_its_noise_along():
    """The camera rides on a moving object: every frame shows the same picture, but for the free share."""
    turn = torch.eye(4, dtype=torch.float64).repeat(3, 1, 1)
    for f, angle in enumerate((0.0, 0.4, 1.1)):
        s, c = torch.tensor(angle).sin(), torch.tensor(angle).cos()
        turn[f, :2, :2] = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
        turn[f, :3, 3] = torch.tensor([3.0, -1, 0.5]) * f + 20
    K = torch.tensor([[40.0, 0, 16], [0, 40, 10], [0, 0, 1]], dtype=torch.float64).expand(3, 3, 3)
    local = torch.eye(4, dtype=torch.float64)
    local[:3, 3] = torch.tensor([0.1, 0.2, -5])
    depth = (torch.rand(20, 32, generator=torch.Generator().manual_seed(0)) + 4).expand(3, 20, 32)
    index = torch.full((3, 20, 32), 7, dtype=torch.int32)
    index[:, 0] = 2
    matrix = torch.stack((torch.eye(4, dtype=torch.float64).expand(3, 4, 4), turn))
    still = cameras.unproject(depth, K, turn @ local)
    assert (still[1, 1:] - still[0, 1:]).abs().max() > 1
    for reference in range(3):
        points = anchors.anchors(depth, K, turn @ local, index, torch.tensor([2, 7]), matrix, reference)
        assert torch.equal(points[:, 0], still[:, 0]), "index 2 stands still in the world"
        assert (points[:, 1:] - still[reference, 1:]).abs().max() < 1e-5


def test_anchors_of_an_object_without_an_inverse_stay_where_they_are_seen():
    matrix = torch.zeros(1, 2, 4, 4, dtype=torch.float64)
    matrix[0, 0] = torch.eye(4)
    K, c2w = torch.eye(3).expand(2, 3, 3), torch.eye(4, dtype=torch.float64).expand(2, 4, 4)
    index = torch.ones(2, 1, 1, dtype=torch.int32)
    points = anchors.anchors(torch.ones(2, 1, 1), K, c2w, index, torch.tensor([1]), matrix, 0)
    assert torch.equal(points, cameras.unproject(torch.ones(2, 1, 1), K, c2w))


def test_footprint_is_the_distance_between_neighbouring_points_and_the_angle_on_sky():
    K = torch.tensor([[[50.0, 0, 8], [0, 50, 4], [0, 0, 1]]])
    d = torch.full((1, 8, 16), 3.0)
    points = cameras.unproject(d, K, torch.eye(4)[None])
    step = (points[:, :, 1:] - points[:, :, :-1]).norm(dim=-1)
    assert torch.allclose(anchors.footprint(d, K)[:, :, 1:], step, rtol=1e-5)
    assert torch.allclose(anchors.footprint(d * torch.inf, K), torch.tensor(1 / 50))


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 3), st.integers(-2**70, 2**70))
@settings(max_examples=30, deadline=None)
def test_any_shape_any_seed_and_no_nan(height, width, frames, seed):
    p = torch.full((frames, height, width, 3), torch.nan)
    f = torch.tensor([0.0, torch.inf, torch.nan, 1e-30, 1e30]).repeat(20)[:frames * height * width]
    n = noise.surface_noise(p, f.reshape(frames, height, width), torch.zeros(frames, height, width, dtype=torch.bool),
                            p, seed, torch.arange(frames))
    assert n.shape == (frames, 3, height, width) and n.dtype == torch.float32 and n.isfinite().all()


def test_chunks_leave_no_seam(monkeypatch):
    whole = sample(cloud(7)[:1000], 0.01)
    monkeypatch.setitem(noise.PIXELS_AT_ONCE, "cpu", 64)
    assert torch.equal(sample(cloud(7)[:1000], 0.01), whole)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_draws_the_same_cells():
    p = cloud(8)[None, None]
    args = (p, torch.full((1, 1, N), 0.0123), torch.zeros(1, 1, N, dtype=torch.bool), p.float())
    here = noise.surface_noise(*args, 1, torch.arange(1))
    there = noise.surface_noise(*(a.cuda() for a in args), 1, torch.arange(1).cuda())
    assert (here - there.cpu()).abs().max() < 1e-4
