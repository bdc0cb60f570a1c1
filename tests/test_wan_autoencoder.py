"""Both Wan autoencoders compute what diffusers' compute, chunk by chunk, and never look ahead."""

from __future__ import annotations

import itertools

import pytest
import torch
from diffusers import AutoencoderKLWan

from engine.models.wan import catalogue, config
from engine.models.wan.autoencoder import DEVIATION, MEAN, Autoencoder, chunks

EXACT = 1e-6  # relative L2 in float32
FRAMES = 13  # chunks 0, 1, 2 and 3: the first two are the odd ones
SIZE = {"2.1": (40, 24), "2.2": (64, 48)}

ORACLES = {
    "2.1": {"base_dim": 8},
    "2.2": {
        "base_dim": 8, "decoder_base_dim": 16, "z_dim": 48, "is_residual": True, "in_channels": 12, "out_channels": 12,
        "patch_size": 2, "scale_factor_spatial": 16, "latents_mean": list(MEAN["2.2"]),
        "latents_std": list(DEVIATION["2.2"]),
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def oracles(load_support):
    return load_support("wan_oracles")


@pytest.fixture(scope="module", params=["2.1", "2.2"])
def pair(request, oracles):
    """The oracle, and ours with its numbers."""
    oracle = oracles.randomise(AutoencoderKLWan(**ORACLES[request.param]))
    return oracle, oracles.filled(Autoencoder, config.autoencoder, oracle)


def video(model: Autoencoder, frames: int, batch: int = 1) -> torch.Tensor:
    size = SIZE[model.config.generation]
    return torch.rand(batch, 3, frames, *size, generator=torch.Generator().manual_seed(5)) * 2 - 1


def latents(model: Autoencoder, frames: int) -> torch.Tensor:
    height, width = (side // model.config.stride for side in SIZE[model.config.generation])
    generator = torch.Generator().manual_seed(6)
    return torch.randn(1, model.config.channels, frames, height, width, generator=generator)


@torch.no_grad()
def test_encode(pair, oracles, record_property):
    oracle, model = pair
    pictures = video(model, FRAMES, batch=2)
    mean, deviation = model.statistics(pictures.device)
    expected = (oracle.encode(pictures).latent_dist.mode() - mean) / deviation
    error = oracles.apart(model.encode(pictures), expected)
    record_property("relative L2", error)
    assert error <= EXACT


@torch.no_grad()
def test_decode(pair, oracles, record_property):
    oracle, model = pair
    z = latents(model, 4)
    mean, deviation = model.statistics(z.device)
    expected = oracle.decode(z * deviation + mean, return_dict=False)[0]
    found = model.decode(z)
    error = oracles.apart(found, expected)
    record_property("relative L2", error)
    assert found.shape[2] == FRAMES and error <= EXACT
    assert (expected.abs() < 1).float().mean() > 0.5  # what is compared is not what was cut off


@torch.no_grad()
def test_one_picture_alone(pair, oracles):
    oracle, model = pair
    z = latents(model, 1)
    mean, deviation = model.statistics(z.device)
    assert oracles.apart(model.decode(z), oracle.decode(z * deviation + mean, return_dict=False)[0]) <= EXACT
    picture = video(model, 1)
    expected = (oracle.encode(picture).latent_dist.mode() - mean) / deviation
    assert oracles.apart(model.encode(picture), expected) <= EXACT


@torch.no_grad()
def test_nothing_looks_ahead(pair):
    """The first frames of a longer clip have the latents, and the pictures, that they have alone."""
    _, model = pair
    pictures = video(model, FRAMES)
    assert torch.equal(model.encode(pictures[:, :, :5]), model.encode(pictures)[:, :, :2])
    z = latents(model, 4)
    assert torch.equal(model.decode(z[:, :, :2]), model.decode(z)[:, :, :5])


@torch.no_grad()
def test_pictures_come_as_they_are_made(pair):
    """One latent frame at a time: the second is not begun before the first is taken, and a tick may stop it within."""
    _, model = pair
    ticks = []
    made = model.decoding(latents(model, 3), lambda: ticks.append(1))
    assert next(made).shape[2] == 1
    within = len(ticks)
    assert next(made).shape[2] == 4 and len(ticks) == 2 * within > 10

    def stop():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        model.encode(video(model, 5), stop)


@torch.no_grad()
def test_a_clip_may_come_in_chunks(pair):
    _, model = pair
    pictures = video(model, 9)
    parts = model.encoding(pictures[:, :, a:b] for a, b in chunks(9))
    assert torch.equal(torch.cat(list(parts), 2), model.encode(pictures))
    with pytest.raises(ValueError, match="a chunk of 2 frames: expected one frame, then 4"):
        list(model.encoding(itertools.repeat(pictures[:, :, :2], 1)))


@torch.no_grad()
def test_what_it_does_not_take_is_refused_in_words(pair):
    _, model = pair
    with pytest.raises(ValueError, match=r"8 frames: the autoencoder takes 4n\+1"):
        model.encode(video(model, 8))
    with pytest.raises(ValueError, match=f"multiples of {model.config.stride}"):
        model.encode(video(model, 1)[..., :-1])


@torch.no_grad()
def test_bf16_stays_near(pair, oracles):
    """Convolutions in bf16, norms and statistics in float32."""
    _, model = pair
    exact = model.decode(latents(model, 2))
    model.compute = torch.bfloat16
    try:
        assert oracles.apart(model.decode(latents(model, 2)), exact) < 3e-2
    finally:
        model.compute = torch.float32


@pytest.mark.parametrize("name", ["Wan2.1 autoencoder", "Wan2.2 autoencoder"])
def test_official_names_and_shapes(name):
    checkpoint = catalogue.CHECKPOINTS[name]
    with torch.device("meta"):
        model = Autoencoder(checkpoint.config)
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert catalogue.fingerprint(shapes) == checkpoint.fingerprint
    assert config.autoencoder(shapes) == checkpoint.config
