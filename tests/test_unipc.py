"""Wan's schedule has its closed form; UniPC is diffusers' to the last digits, and of second order."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from diffusers import UniPCMultistepScheduler

from engine.diffusion import sampler, schedule, unipc
from engine.models.wan import catalogue, recipes
from engine.models.wan.config import WanConfig

GRIDS = [(50, 5.0), (20, 3.0), (40, 8.0), (4, 1.0), (2, 5.0), (1, 1.0)]


def noise(count: int = 128) -> torch.Tensor:
    return torch.randn(1, 4, 1, 1, count // 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


MEAN, SPREAD = 0.7, 0.5


def gaussian(x: torch.Tensor, t: float) -> torch.Tensor:
    """E[x0 | x] for x0 ~ N(MEAN, SPREAD^2): the perfect denoiser of the simplest data."""
    keep = 1 - t
    return MEAN + SPREAD**2 * keep * (x - keep * MEAN) / (keep**2 * SPREAD**2 + t**2)


def bent(x: torch.Tensor, t: float) -> torch.Tensor:
    return gaussian(x, t) + 0.3 * torch.sin(3 * x) * t


def run(x: torch.Tensor, times: list[float], model) -> torch.Tensor:
    past = None
    for i in range(len(times) - 1):
        x, past = unipc.step(x, model(x, times[i]), times, i, past)
    return x


@pytest.mark.parametrize(("steps", "shift"), GRIDS)
def test_the_schedule_has_its_closed_form(steps, shift):
    found = recipes.sigmas(steps, shift)
    even = [0.999 * (1 - i / steps) for i in range(steps)]
    expected = [shift * u / (1 + (shift - 1) * u) for u in even] + [0.0]
    assert len(found) == steps + 1 and max(abs(a - b) for a, b in zip(found, expected)) < 1e-6
    told = [recipes.timestep(sigma) for sigma in found[:-1]]
    assert told == [int(1000 * sigma) for sigma in found[:-1]] and told[0] == 999
    assert told == sorted(told, reverse=True)


def test_the_schedule_as_it_was_read_from_the_official_one():
    """First and last sigma of 50 steps with shift 5."""
    found = recipes.sigmas(50, 5.0)
    assert found[0] == pytest.approx(0.99980, abs=5e-6) and found[-2] == pytest.approx(0.0925, abs=5e-5)


@pytest.mark.parametrize(("steps", "shift"), GRIDS)
@pytest.mark.parametrize("grid", ["official", "theirs"])
def test_unipc_is_that_of_diffusers(steps, shift, grid):
    oracle = UniPCMultistepScheduler(use_flow_sigmas=True, flow_shift=shift, prediction_type="flow_prediction")
    oracle.set_timesteps(steps)
    if grid == "official":
        oracle.sigmas = torch.tensor(recipes.sigmas(steps, shift), dtype=torch.float64)
    times = oracle.sigmas.tolist()
    expected = noise()
    for i, t in enumerate(oracle.timesteps):
        velocity = (expected - bent(expected, times[i])) / times[i]
        expected = oracle.step(velocity, t, expected, return_dict=False)[0]
    found = run(noise(), times, bent)
    # their own grid lies in float32, and so do their weights
    assert (found - expected).abs().max() < (1e-12 if grid == "official" else 1e-6)


def test_unipc_is_of_second_order_and_euler_of_first():
    """Twice the steps: a quarter of the error, against half, where the exact path is known."""
    x, end = noise(), 0.05
    start = 0.95

    def exact(t):
        return (1 - t) * MEAN + math.sqrt((1 - t) ** 2 * SPREAD**2 + t**2) * x

    def errors(method):
        return [float((method(exact(start), steps) - exact(end)).abs().max()) for steps in (16, 32)]

    def grid(steps):
        return torch.linspace(start, end, steps + 1, dtype=torch.float64).tolist()

    def by_unipc(x, steps):
        times, past = [*grid(steps), 0.0], None  # one step more than is taken: no lower order at the end
        for i in range(steps):
            x, past = unipc.step(x, gaussian(x, times[i]), times, i, past)
        return unipc.corrected(past.x, gaussian(x, end), past.clean, tuple(times[steps - 2 : steps + 1]), past.order)

    def by_euler(x, steps):
        times = grid(steps)
        for t, to in pairwise(times):
            x = sampler.step(x, gaussian(x, t), t, to)
        return x

    (coarse, fine), (coarse_euler, fine_euler) = errors(by_unipc), errors(by_euler)
    assert coarse / fine > 3.5 and 1.7 < coarse_euler / fine_euler < 2.4
    assert fine < fine_euler / 10


def test_the_last_step_ends_at_the_prediction():
    x, x0 = noise(), noise(64).repeat(1, 1, 1, 1, 2)
    found, _ = unipc.step(x, x0, [0.5, 0.0], 0)
    assert torch.equal(found, x0)
    assert torch.allclose(schedule.clean(x, schedule.velocity(x, x0, 0.5), 0.5), x0, rtol=1e-14)


def test_a_step_goes_on_from_what_was_kept():
    """A run that was cut off, its past written down as tensors, ends where the whole run ends."""
    times = recipes.sigmas(6, 5.0)
    x, past = noise(), None
    for i in range(3):
        x, past = unipc.step(x, bent(x, times[i]), times, i, past)
    again = unipc.Past(past.x.clone(), past.order, tuple(t.clone() for t in past.clean))
    for i in range(3, 6):
        x, again = unipc.step(x, bent(x, times[i]), times, i, again)
    assert torch.equal(x, run(noise(), times, bent))


def test_every_checkpoint_has_a_recipe():
    names = {
        part
        for name, checkpoint in catalogue.CHECKPOINTS.items()
        if isinstance(checkpoint.config, WanConfig)
        for part in name.split(" or ")
    }
    assert names == set(recipes.RECIPES)


def test_the_expert_for_much_noise_comes_first():
    boundary = recipes.RECIPES["Wan2.2-I2V-A14B"].boundary
    noisy = [recipes.is_noisy(sigma, boundary) for sigma in recipes.sigmas(40, 5.0)[:-1]]
    assert noisy == sorted(noisy, reverse=True) and 0 < sum(noisy) < 40
    assert recipes.is_noisy(0.9, 0.9) and not recipes.is_noisy(0.8999, 0.9)
