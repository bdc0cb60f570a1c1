"""Training as a tool: scenes are what they say, a run writes weights and goes on from them, words are learnt."""

import csv
import math

import numpy as np
import pytest
import torch

from engine.geometry import cameras
from engine.models.lite import LiteConfig
from engine.train import captions, clips, loop, scenes
from engine.weights import store

TINY = LiteConfig(width=32, layers=1, heads=2, stem=8, detail=4, head=8)


@pytest.mark.parametrize("place", list(captions.PLACES))
def test_every_place_can_be_filmed(place):
    rng = np.random.default_rng(4)
    clip = clips.render(captions.draw(rng, place=place), 3, 32, 48, rng)
    assert clip.picture.isfinite().all() and clip.maps.isfinite().all()
    assert clip.picture.abs().max() <= 1 and clip.picture.std() > 0.02
    assert torch.isfinite(clip.depth).float().mean() > 0.2
    assert clip.caption


def test_depth_and_cameras_agree_with_the_points_that_were_hit():
    rng = np.random.default_rng(1)
    scene = scenes.build(captions.Brief(place="blocks"), 3, rng)
    p = scenes.passes(scene, 32, 48)
    points = cameras.unproject(p.depth, p.K, p.c2w)
    solid = torch.isfinite(p.depth)
    assert (points[solid] - p.point[solid]).norm(dim=-1).max() < 1e-3
    assert torch.allclose(p.normal[solid].norm(dim=-1), torch.ones(int(solid.sum())), atol=1e-4)


def test_a_shadow_falls_away_from_the_sun():
    scene = scenes.Scene([scenes.Shape("box", (0, 6, 1), (0.5, 0.5, 1))])
    scene.c2w = np.array([[[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 1.5], [0, 0, 0, 1.0]]])
    scene.focal = np.ones(1)
    p = scenes.passes(scene, 48, 96)
    sun = torch.tensor([math.sqrt(0.5), 0, math.sqrt(0.5)])
    lit = scenes.sunlit(scene, p, sun)
    ground = (p.index == 1) & ((p.point[..., 1] - 6).abs() < 0.3)
    x = p.point[..., 0]
    assert lit[ground & (x < -0.7) & (x > -2)].max() == 0
    assert lit[ground & (x > 0.7)].min() == 1


def test_the_same_seed_makes_the_same_clip():
    one, two = (clips.render(captions.Brief(), 2, 32, 48, np.random.default_rng(9)) for _ in range(2))
    assert torch.equal(one.picture, two.picture) and one.caption == two.caption


def test_mirroring_keeps_every_fact_true():
    """A mirrored clip shaded by its own mirrored facts is the mirrored picture."""
    from engine.models import shading

    clip = clips.render(captions.Brief(place="street"), 1, 32, 48, np.random.default_rng(2))
    item = loop.mirrored(
        dict(
            picture=clip.picture,
            maps=clip.maps,
            noise=clip.picture,
            pane=clip.pane,
            base=clip.picture,
            azimuth=torch.tensor(clip.azimuth),
            cloud_seed=torch.tensor(clip.cloud_seed),
        )
    )
    look, zero = shading.unpack(clip.look[None]), torch.zeros(1, 1, 1, 1, 1)
    fields = {"drift": zero, "pane": zero, "cloud": zero}

    def shaded(maps, azimuth, cloud_seed):
        sky = shading.with_sky(look, torch.as_tensor(cloud_seed))
        return shading.shade(maps[None], maps[None, :, 20:23], sky, azimuth.view(1, 1, 1, 1, 1), fields)

    plain = shaded(clip.maps, torch.tensor(clip.azimuth), clip.cloud_seed)
    assert torch.allclose(shaded(item["maps"], item["azimuth"], item["cloud_seed"]), plain.flip(-1), atol=1e-4)


def test_a_run_writes_weights_and_goes_on_from_them(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(loop, "STAGES", [(0.0, [(1, 32, 48)])])
    monkeypatch.setattr(loop, "sheet", lambda model, path: 0.0)
    monkeypatch.setattr(loop, "LOG_EVERY", 2)
    recipe = loop.Recipe(most_steps=4, words_first=0, threads=1, warm_up=1)
    loop.train(tmp_path, recipe, TINY)
    first = store.load(tmp_path, "lite")
    assert store.config(tmp_path, "lite")["trained"]["steps"] == 4
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert rows and float(rows[-1]["briefs"]) > 0
    model = loop.start(tmp_path, TINY)
    for key, value in model.state_dict().items():
        assert torch.equal(value, first[key])
    loop.train(tmp_path, loop.Recipe(most_steps=3, words_first=0, threads=1, warm_up=1), TINY)
    assert any(not torch.equal(value, first[key]) for key, value in store.load(tmp_path, "lite").items())


def test_the_look_learns_words():
    torch.manual_seed(0)
    data = loop.Data(loop.Recipe())
    model = loop.Lite(TINY)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = [loop._look_step(model, data, optimiser)["briefs"] for _ in range(60)]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])
