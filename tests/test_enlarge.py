"""From the sampled size to the passes' size: sharper than upscaling, exact where nothing was added."""

import dataclasses
import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engine import enlarge, passes, windows
from engine.geometry.reproject import reproject
from engine.models import shading
from engine.shot import maps, open_shot, shadows, thinned
from engine.train import jobs
from engine.train.captions import Brief

_spec = importlib.util.spec_from_file_location("job_maker", Path(__file__).parent / "support" / "job_maker.py")
job_maker = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(job_maker)

SMALL, LARGE = (160, 96), (640, 384)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A colonnade as sampled and as captured: maps and objects of both, the look, the sun."""
    folder = tmp_path_factory.mktemp("large")
    case = jobs.Case("large", Brief(place="street"), (1, LARGE[1], LARGE[0]), 77, "colonnade")
    shot = open_shot(jobs.write(folder, case))
    small = thinned(shot, SMALL)
    look, angle = jobs.look(case), torch.full((1, 1, 1, 1, 1), jobs.AZIMUTH)
    toward = shading.sun_direction(look["height"], angle).flatten()
    shadow = shadows(shot, toward, lambda: None)
    both = []
    for s in (small, shot):
        both += maps(s, [0], dataclasses.replace(shadow, shot=s), None, torch.float32, lambda: None)
    index = [s.index([0])[0] for s in (small, shot)]
    return both, index, look, angle


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(-10 * torch.log10((((a - b) / 2) ** 2).mean()))


def bicubic(picture: torch.Tensor) -> torch.Tensor:
    grown = cv2.resize(picture.permute(1, 2, 0).numpy(), LARGE, interpolation=cv2.INTER_CUBIC)
    return torch.from_numpy(grown).permute(2, 0, 1).clamp(-1, 1)


def haze(maps: torch.Tensor) -> torch.Tensor:
    """Something that a model might add: light that falls off across the world, another on every side of things."""
    normal, ray = maps[enlarge.SLICE["normal"]], maps[enlarge.SLICE["ray"]]
    return 0.25 * normal[:1] + 0.2 * torch.sin(4 * ray[:1]) + torch.tensor([0.1, 0.0, -0.1]).view(3, 1, 1) * normal[1:2]


def enlarged(sample: torch.Tensor, scene, band: int = LARGE[1]) -> torch.Tensor:
    """Some rows at a time."""
    (small, large), index, look, angle = scene
    of = enlarge.small(sample, small, index[0], LARGE[1], look, angle)
    rows = [slice(y, y + band) for y in range(0, LARGE[1], band)]
    return torch.cat([enlarge.enlarge(of, large[:, r].clone(), index[1][r], r.start, look, angle) for r in rows], 1)


def test_what_the_model_added_is_carried_along_the_surfaces(scene):
    """Far better than bicubic of the same small picture, and nearly as good as the added light allows."""
    (small, large), _, look, angle = scene
    sample = enlarge.plain(small, look, angle) + haze(small)
    truth = (enlarge.plain(large, look, angle) + haze(large)).clamp(-1, 1)
    made = enlarged(sample.clamp(-1, 1), scene)
    assert psnr(made, truth) > psnr(bicubic(sample), truth) + 6


def test_a_sample_that_adds_nothing_becomes_the_shaded_scene(scene):
    (small, large), _, look, angle = scene
    made = enlarged(enlarge.plain(small, look, angle), scene)
    assert torch.allclose(made, enlarge.plain(large, look, angle).clamp(-1, 1), atol=1e-5)


def test_bands_are_the_frame(scene):
    """Whatever their height; the last one may be lower."""
    sample = enlarge.plain(scene[0][0], scene[2], scene[3]) + haze(scene[0][0])
    assert torch.allclose(enlarged(sample, scene, 100), enlarged(sample, scene), atol=1e-6)


def test_light_does_not_cross_silhouettes(scene):
    """What was added to one object alone stays on it, pixel by pixel of the large picture."""
    (small, large), index, _, _ = scene
    kind = int(torch.bincount(index[1][index[1] > 1]).argmax())
    value = (index[0] == kind).float()[None]
    carried = enlarge.carry(value, enlarge.guide(small, index[0]), enlarge.guide(large, index[1]))[0]
    inside = index[1] == kind
    assert carried[inside].median() > 0.95 and carried[~inside].mean() < 0.02
    assert (carried[inside] > 0.5).float().mean() > 0.95


def test_a_thinned_shot_sees_the_same_points(tmp_path):
    """Its cameras and passes agree: what the full shot shows is found where the thinned one says."""
    job_maker.make_job(tmp_path, frames=2, width=288, height=192)
    shot = open_shot(tmp_path)
    small = thinned(shot, (96, 64))
    assert small.size == (96, 64) and small.frames == 2 and thinned(shot, (288, 192)) is shot
    points = small.points([1])[0], shot.points([1])[0][1::3, 1::3]
    solid = torch.isfinite(small.depth([1])[0])
    assert (points[0] - points[1])[solid].norm(dim=-1).max() < 1e-4
    colour = shot.points([1])[0].permute(2, 0, 1)
    seen, valid = reproject(colour, shot.view(1), small.view(1))
    assert valid[solid].float().mean() > 0.8
    assert (seen.permute(1, 2, 0) - points[0])[valid & solid].norm(dim=-1).median() < 1e-3


@pytest.mark.parametrize("size", [(512, 288), (400, 240)])
def test_flat_ground_stays_flat_with_fewer_pixels(size):
    """What is picked for a pixel lies up to half a pixel aside of its middle; its point is where the middle looks."""
    (W, H), tilt = (1920, 1088), np.radians(4)
    K, c2w = np.array([[[1500.0, 0, 960], [0, 1500, 544], [0, 0, 1]]]), np.eye(4)[None].copy()
    c2w[0, :3, 1], c2w[0, :3, 2], c2w[0, 2, 3] = (0, -np.sin(tilt), -np.cos(tilt)), (0, np.cos(tilt), -np.sin(tilt)), 2
    columns, rows = (((np.arange(n) + 0.5) * (N / n)).astype(int) for n, N in zip(size, (W, H), strict=True))

    def ground(x, y):  # depth of z = 0 through pixels (x, y)
        down = (y - K[0, 1, 2])[:, None] / K[0, 1, 1] * c2w[0, 2, 1] + c2w[0, 2, 2] + 0 * x
        return np.where(down < -0.02, -2 / np.minimum(down, -0.02), np.inf).astype(np.float32)

    depth = ground(np.arange(W) + 0.5, np.arange(H) + 0.5)[None]
    normal = np.broadcast_to(np.float16([0, 0, 1]), (1, H, W, 3))
    nearest = passes.Thinned(depth, rows, columns)
    found = passes.Levelled(nearest, passes.Thinned(normal, rows, columns), K, c2w, (W, H))[0]
    true = ground((np.arange(size[0]) + 0.5) * W / size[0], (np.arange(size[1]) + 0.5) * H / size[1])
    seen = np.isfinite(true) & np.isfinite(found)
    error, aside = (np.abs(z[seen] / true[seen] - 1).max() for z in (found, nearest[0]))
    assert seen.mean() > 0.4 and error < 1e-4 and aside > 5e-3


def test_a_thinned_shot_levels_its_depth_and_averages_its_colours(tmp_path):
    case = jobs.Case("thin", Brief(place="street"), (1, 384, 640), 77, "colonnade")
    shot = open_shot(jobs.write(tmp_path, case))
    small = thinned(shot, (208, 112))
    z = small.points([0])[0][..., 2][(small.index([0])[0] == 1) & (small.depth([0])[0] < 25)]
    assert len(z) > 2000 and (z - z.median()).abs().max() < 2e-3
    area = cv2.resize(shot.read("gloss", [0])[0].numpy(), (208, 112), interpolation=cv2.INTER_AREA)
    base = cv2.resize(shot.read("base", [0])[0].numpy(), (208, 112), interpolation=cv2.INTER_AREA)
    alone = passes.Surfaces(shot.passes["depth"], shot.passes["index"], (208, 112))[0]
    assert alone.mean() > 0.5
    assert np.abs(small.read("gloss", [0])[0].numpy() - area)[alone].max() <= 0.5
    assert np.abs(small.read("base", [0])[0].numpy() - base)[alone].mean() < 2


def test_textures_are_averaged_within_surfaces_and_surfaces_are_not_mixed():
    """A checker of single pixels, of which every third would see stripes, and another thing beside it."""
    checker = np.uint8(255) * ((np.arange(96)[:, None] + np.arange(96)) % 2).astype(np.uint8)
    base, depth = np.repeat(checker[None, ..., None], 3, -1), np.full((1, 96, 96), 5, np.float32)
    index = np.ones((1, 96, 96), np.uint16)
    base[..., 50:, :], index[..., 50:], depth[:, 80:] = 10, 2, np.inf
    at = np.arange(32) * 3 + 1
    alone = passes.Surfaces(depth, index, (32, 32))
    found = passes.Averaged(passes.Thinned(base, at, at), alone, encoded=True)[0]
    grey = 255 * np.array([4, 5]) ** (1 / 2.2) / 9 ** (1 / 2.2)  # four or five of nine are white
    assert found.dtype == np.uint8 and np.abs(found[:26, :15, :, None] - grey).min(-1).max() <= 1
    assert (found[:26, 17:] == 10).all()
    assert np.isin(found[:26, 16], (0, 10, 255)).all() and not alone[0][:26, 16].any()


@pytest.mark.parametrize("size", [(448, 256), (640, 384), (256, 640)])
def test_what_is_not_large_is_sampled_as_it_is(size):
    assert windows.sampled_size(*size) == size


@pytest.mark.parametrize("size", [(1920, 1088), (1088, 1920), (3840, 2160 // 16 * 16), (2048, 864), (8192, 16)])
def test_large_frames_are_sampled_small_in_their_own_shape(size):
    w, h = windows.sampled_size(*size)
    assert w % 16 == h % 16 == 0 and w <= size[0] and h <= size[1]
    assert w * h < 1.4 * windows.SAMPLED or h == 16
    if min(size) > 100:
        assert (w / h) / (size[0] / size[1]) == pytest.approx(1, abs=0.06)
    assert np.prod(size) > windows.MOST_SAMPLED or (w, h) == size
