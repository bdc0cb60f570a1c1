"""The compression network: causal, of any size, guided by the scene's facts alone; a run of it learns and goes on."""

import csv
import math

import numpy as np
import pytest
import torch

from engine import conditions
from engine.models.codec import BASE, Codec, CodecConfig, guide_of
from engine.train import captions, clips, codec, data, loop
from engine.train.data import Sizes
from engine.weights import store

TINY = CodecConfig(latent=8, width=16, stem=8, head=8)


@pytest.fixture(scope="module")
def clip():
    rng = np.random.default_rng(8)
    return clips.render(captions.draw(rng, place="street"), 9, 48, 80, rng)


@pytest.fixture
def shaken():
    """A network none of whose layers is still at its start, where much of it is the identity."""
    torch.manual_seed(0)
    model = Codec(TINY)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model.eval()


@torch.no_grad()
def test_no_latent_and_no_frame_knows_what_comes_later(shaken, clip):
    guide = guide_of(clip.maps)
    latents = shaken.encode(clip.picture, guide)
    assert latents.shape == (3, TINY.latent, 6, 10)
    for count, frames in ((1, 1), (2, 5)):
        assert torch.allclose(shaken.encode(clip.picture[:frames], guide[:frames]), latents[:count], atol=1e-5)
        whole, part = (torch.cat(list(shaken.decode(z, lambda at: guide[at]))) for z in (latents, latents[:count]))
        assert len(part) == frames and torch.allclose(part, whole[:frames], atol=1e-5)
    later = clip.picture.clone()
    later[5:] = -later[5:]
    assert not torch.allclose(shaken.encode(later, guide)[2], latents[2], atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("size", [(48, 80), (96, 160), (108, 180)])
def test_a_picture_is_as_large_as_its_guide_and_has_its_edges(shaken, clip, size):
    """Latents of one size, delivered at another with the scene's own lines."""
    guide = guide_of(clip.maps)
    latents = shaken.encode(clip.picture[:1], guide[:1])
    large = torch.nn.functional.interpolate(guide[:1], size, mode="nearest")
    made = torch.cat(list(shaken.decode(latents, lambda at: large[at])))
    assert made.shape == (1, 3, *size) and made.isfinite().all() and made.abs().max() <= 1
    striped = large.clone()
    striped[:, BASE, ::2] = 0
    other = torch.cat(list(shaken.decode(latents, lambda at: striped[at])))
    assert (other - made).diff(dim=2).abs().mean() > 4 * (other - made)[:, :, ::2].diff(dim=2).abs().mean()


def test_the_guide_shows_no_earlier_picture(clip):
    maps, everywhere = clip.maps.clone().float(), torch.ones(clip.depth.shape, dtype=torch.bool)
    conditions.put_cache(maps, clip.picture, everywhere)
    conditions.put_reactive(maps, clip.picture, everywhere)
    assert torch.equal(guide_of(maps), guide_of(clip.maps.float()))


def test_fidelity_is_exact(clip):
    psnr, similar = codec.fidelity(clip.picture + 0.02, clip.picture)
    assert psnr == pytest.approx(-20 * math.log10(0.01), abs=1e-3) and 0.9 < similar <= 1


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_of_it_learns_and_goes_on(tmp_path, monkeypatch, precision):
    monkeypatch.setattr(codec, "STAGES", [(0.0, Sizes((1, 5), 16 * 32, 32 * 48))])
    monkeypatch.setattr(codec, "sheet", lambda model, path: 0.0)
    monkeypatch.setattr(loop, "FIRST_POOL", 3)
    monkeypatch.setattr(data, "PACK", 4000)
    monkeypatch.setattr(loop, "LOG_EVERY", 10)
    recipe = loop.Recipe(most_steps=60, threads=1, warm_up=5, rate=3e-3, precision=precision)
    task = codec.LearnCodec(TINY)
    loop.train(tmp_path, recipe, task, limit_steps=20)
    half = store.load(tmp_path, "codec")
    loop.train(tmp_path, recipe, task)
    error = [float(row["colour"]) + float(row["edges"]) for row in csv.DictReader((tmp_path / "log.csv").open())]
    assert len(error) == 6 and error[-1] < 0.85 * error[0]
    end = store.load(tmp_path, "codec")
    assert any(not torch.equal(end[key], half[key]) for key in end)
