"""Depth, camera and known pixels become Wan's inputs: worked out by hand, and as diffusers' pipelines make them."""

from __future__ import annotations

import types

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, WanImageToVideoPipeline, WanVACEPipeline

from engine import windows
from engine.conditions import scene_scale
from engine.geometry import reproject
from engine.models.wan import config, controls, shapes
from engine.models.wan.autoencoder import Autoencoder
from engine.shot import open_shot

EXACT = 1e-6


@pytest.fixture(scope="module")
def oracles(load_support):
    return load_support("wan_oracles")


@pytest.fixture(scope="module")
def pair(oracles):
    oracle = oracles.randomise(AutoencoderKLWan(base_dim=4))
    return oracle, oracles.filled(Autoencoder, config.autoencoder, oracle)


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------- lengths and sizes


@pytest.mark.parametrize(("frames", "padded", "latent"), [(1, 1, 1), (2, 5, 2), (5, 5, 2), (80, 81, 21), (82, 85, 22)])
def test_any_length_is_padded_to_what_the_autoencoder_takes(frames, padded, latent):
    assert (windows.padded(frames), windows.latent_frames(frames)) == (padded, latent)
    at = windows.Window(3, frames, True).frames()
    assert len(at) == padded and at[:frames] == list(range(3, 3 + frames)) and set(at[frames:]) <= {2 + frames}


def test_sizes_in_pixels_latents_and_tokens():
    first, second = config.AutoencoderConfig("2.1", 96, 96, 16), config.AutoencoderConfig("2.2", 160, 256, 48)
    assert shapes.latent(81, 480, 832, first) == shapes.LatentShape(16, 21, 60, 104)
    assert shapes.latent(81, 480, 832, first).tokens == 32_760
    assert shapes.latent(121, 704, 1280, second).batch() == (1, 48, 31, 44, 80)
    assert shapes.latent(121, 704, 1280, second).tokens == 27_280
    with pytest.raises(ValueError, match=r"832 x 470 pixels.* multiples of 16; the nearest is 832 x 464"):
        shapes.latent(81, 470, 832, first)


# ---------------------------------------------------------------- depth


def test_near_is_white_and_sky_is_black():
    depth = torch.tensor([[[2.0, 4.0], [8.0, torch.inf]]])
    video = controls.depth_video(depth, (0.0, 0.5))
    assert video.shape == (3, 1, 2, 2)
    assert torch.equal(video[0, 0], torch.tensor([[1.0, 0.0], [-0.5, -1.0]]))
    assert torch.equal(video[0], video[1]) and torch.equal(video[0], video[2])


def test_holes_are_shown_as_sky():
    depth = torch.tensor([[[2.0, torch.nan, 0.0, -3.0]]])
    assert controls.depth_video(depth, (0.0, 0.5))[0, 0, 0].tolist() == [1, -1, -1, -1]
    low, high = controls.nearness_range(torch.tensor([[[torch.nan, 2.0, 4.0, 8.0]]]).repeat(1, 50, 1))
    assert low == 0 and high == pytest.approx(0.5)


def test_one_range_serves_the_whole_shot():
    """A wall that comes nearer grows brighter: with a range a frame it would stay as it is."""
    depth = torch.tensor([8.0, 4.0, 2.0])[:, None, None].expand(3, 40, 40)
    limits = controls.nearness_range(depth)
    video = controls.depth_video(depth, limits)
    assert limits == (pytest.approx(1 / 8), pytest.approx(1 / 2))
    assert video[0, :, 0, 0].tolist() == pytest.approx([-1, 2 * (1 / 4 - 1 / 8) / (3 / 8) - 1, 1])


def test_the_range_leaves_out_the_nearest_and_the_farthest_percent():
    depth = torch.linspace(1, 11, 10_001).view(1, 73, 137)
    low, high = controls.nearness_range(depth)
    assert low == pytest.approx(1 / 10.9, rel=1e-3) and high == pytest.approx(1 / 1.1, rel=1e-3)


def test_where_sky_is_seen_the_range_begins_at_it():
    depth = torch.full((1, 10, 10), 5.0)
    depth[0, :2] = torch.inf
    depth[0, 9] = 2.0
    assert controls.nearness_range(depth) == (0.0, pytest.approx(0.5))
    assert controls.nearness_range(torch.full((1, 4, 4), torch.inf)) == (0.0, 1.0)
    assert controls.nearness_range(torch.full((1, 4, 4), 5.0)) == (0.0, pytest.approx(0.2))


def test_the_unit_of_the_scene_does_not_matter():
    depth = noise(2, 16, 16).abs() + 1
    video = controls.depth_video(depth, controls.nearness_range(depth))
    large = controls.depth_video(depth * 1000, controls.nearness_range(depth * 1000))
    assert torch.allclose(video, large, atol=1e-5)


# ---------------------------------------------------------------- VACE


def test_known_colours_stand_where_they_are_known():
    guide, colour = torch.full((3, 1, 2, 2), -0.5), noise(3, 1, 2, 2)
    known = torch.tensor([[[True, False], [False, True]]])
    video, free = controls.composite(guide, colour, known)
    assert torch.equal(free, torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]))
    assert torch.equal(video[:, 0, 0, 0], colour[:, 0, 0, 0]) and (video[:, 0, 0, 1] == -0.5).all()


def test_each_pixel_of_a_cell_is_a_channel_of_its_own():
    """Row by row; in time the frame nearest to the middle of the latent frame's share."""
    mask = torch.zeros(9, 16, 24)
    mask[1, 8 + 3, 16 + 5] = 1
    found = controls.mask_channels(mask)
    assert found.shape == (64, 3, 2, 3)
    assert found.nonzero().tolist() == [[3 * 8 + 5, 0, 1, 2]]  # frame floor(0.5 * 9 / 3) = 1
    seen = [int(controls.mask_channels(torch.eye(81)[f].view(81, 1, 1).expand(-1, 8, 8)).any()) for f in range(81)]
    assert [f for f in range(81) if seen[f]] == [int((i + 0.5) * 81 / 21) for i in range(21)]


@torch.no_grad()
@pytest.mark.parametrize("count", [0, 2])
def test_the_context_is_that_of_diffusers(pair, oracles, count):
    """With references, whose order diffusers turns round and the official code keeps."""
    oracle, model = pair
    video, free = noise(3, 9, 32, 48).clamp(-1, 1), (noise(9, 32, 48, seed=2) > 0).float() * 0.8
    references = [noise(3, 32, 48, seed=3 + i).clamp(-1, 1) for i in range(count)]
    pipeline = types.SimpleNamespace(
        vae=oracle, vae_scale_factor_temporal=4, vae_scale_factor_spatial=8,
        transformer=types.SimpleNamespace(config=types.SimpleNamespace(patch_size=(1, 2, 2))),
    )  # fmt: skip
    turned, mask = [references[::-1]], free.expand(3, -1, -1, -1)[None]
    latents = WanVACEPipeline.prepare_video_latents(pipeline, video[None], mask, turned, device=torch.device("cpu"))
    masks = WanVACEPipeline.prepare_masks(pipeline, (mask > 0.5).float(), turned)
    expected = torch.cat([latents, masks], 1)
    found = controls.vace(video, free, model.encode, references)
    assert found.shape == (1, 96, 3 + count, 4, 6)
    assert oracles.apart(found, expected) <= EXACT


@torch.no_grad()
def test_what_is_known_of_a_real_shot(pair, make_job, job_maker, tmp_path):
    """A frame of the truth, seen from every camera of its shot: known where it saw the same surface, and right."""
    _, model = pair
    job = make_job(tmp_path / "job", frames=5, width=96, height=64)
    shot = open_shot(tmp_path / "job")
    truth = torch.from_numpy(job_maker.truth(job.folder)).float().permute(3, 0, 1, 2) / 127.5 - 1
    depth = shot.depth(list(range(5)))
    seen = [reproject.gather([(truth[:, 0], shot.view(0))], shot.view(f)) for f in range(5)]
    colour, known = torch.stack([s[0] for s in seen], 1), torch.stack([s[1] for s in seen])
    guide = controls.depth_video(depth, controls.nearness_range(depth))
    video, free = controls.composite(guide, colour, known)
    share = known.float().mean((1, 2))
    assert share[0] > 0.75 and share[0] > share[-1] > 0.3
    error = (video - truth).abs().mean(0)[known]
    assert error.median() < 0.03 and (video - guide).abs()[:, ~known].max() == 0
    context = controls.vace(video, free, model.encode)
    assert context.shape == (1, 96, 2, 8, 12) and context.isfinite().all()
    assert torch.equal(context[:, 32:], controls.mask_channels(free)[None])


# ---------------------------------------------------------------- camera


def dolly(frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A camera far from the origin that turns and moves."""
    c2w = torch.eye(4, dtype=torch.float64).repeat(frames, 1, 1)
    for f in range(frames):
        a = 0.1 * f
        c2w[f, :3, :3] = torch.tensor([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
        c2w[f, :3, 3] = torch.tensor([100 + 0.5 * f, -20, 3 + 0.2 * f])
    K = torch.tensor([[40.0, 0, 17], [0, 42.0, 7], [0, 0, 1]], dtype=torch.float64).repeat(frames, 1, 1)
    return K, c2w


def test_rays_by_hand():
    """CameraCtrl's formula, pixel by pixel in numpy: pixel centres, poses from frame 0, o x d before d."""
    K, c2w = dolly(5)
    scale = 4.0
    found = controls.rays(K, c2w, 16, 32, scale)
    assert found.shape == (1, 24, 2, 16, 32)
    for f, v, u in ((0, 0, 0), (1, 3, 20), (4, 15, 31)):
        pose = np.linalg.inv(c2w[0].numpy()) @ c2w[f].numpy()
        ray = pose[:3, :3] @ np.linalg.inv(K[f].numpy()) @ [u + 0.5, v + 0.5, 1]
        ray /= np.linalg.norm(ray)
        expected = [*np.cross(pose[:3, 3] / scale, ray), *ray]
        latent, which = (0, 0) if f == 0 else ((f - 1) // 4 + 1, (f - 1) % 4)
        assert np.allclose(found[0, which::4, latent, v, u].numpy(), expected, atol=1e-6)


def test_the_first_frame_stands_for_four():
    K, c2w = dolly(9)
    found = controls.rays(K, c2w, 16, 16, 1.0)[0]
    for channel in range(6):
        four = found[4 * channel : 4 * channel + 4, 0]
        assert torch.equal(four, four[:1].expand(4, -1, -1))
    assert found[:12, 0].abs().max() < 1e-6  # at frame 0 the camera is the origin: no moment


def test_neither_where_the_scene_lies_nor_its_unit_matters():
    K, c2w = dolly(5)
    depth = noise(5, 8, 8).abs() + 2
    found = controls.rays(K, c2w, 16, 16, scene_scale(depth))
    turned = torch.tensor([[0, -1, 0, 5e4], [1, 0, 0, -3], [0, 0, 1, 7], [0, 0, 0, 1]], dtype=torch.float64)
    elsewhere = turned @ c2w
    assert torch.allclose(controls.rays(K, elsewhere, 16, 16, scene_scale(depth)), found, atol=1e-6)
    large = c2w.clone()
    large[:, :3, 3] *= 100
    assert torch.allclose(controls.rays(K, large, 16, 16, scene_scale(depth * 100)), found, atol=1e-6)


# ---------------------------------------------------------------- known frames


@torch.no_grad()
@pytest.mark.parametrize("last", [False, True])
def test_image_to_video_is_that_of_diffusers(pair, oracles, last):
    oracle, model = pair
    first, end = noise(3, 32, 48).clamp(-1, 1), noise(3, 32, 48, seed=2).clamp(-1, 1)
    pipeline = types.SimpleNamespace(
        vae=oracle, vae_scale_factor_temporal=4, vae_scale_factor_spatial=8,
        config=types.SimpleNamespace(expand_timesteps=False),
    )  # fmt: skip
    _, expected = WanImageToVideoPipeline.prepare_latents(
        pipeline, first[None], 1, 16, 32, 48, 9, torch.float32, torch.device("cpu"), torch.Generator(),
        last_image=end[None] if last else None,
    )  # fmt: skip
    found = controls.image_to_video({0: first, 8: end} if last else {0: first}, 9, model.encode)
    assert found.shape == (1, 20, 3, 4, 6)
    assert oracles.apart(found, expected) <= EXACT


def test_known_frames_by_hand():
    mask = controls.known_frames([0, 6], 9, 2, 3)
    assert mask.shape == (4, 3, 2, 3)
    assert mask[:, :, 0, 0].tolist() == [[1, 0, 0], [1, 0, 1], [1, 0, 0], [1, 0, 0]]
    with pytest.raises(ValueError, match=r"frames \[9\] of 9"):
        controls.image_to_video({9: noise(3, 16, 16)}, 9, lambda clip: clip)


@torch.no_grad()
def test_a_start_image_is_alone_in_time(pair):
    _, model = pair
    picture = noise(3, 32, 48).clamp(-1, 1)
    found = controls.start_image(picture, 9, model.encode)
    assert found.shape == (1, 16, 3, 4, 6) and not found[:, :, 1:].any()
    assert torch.equal(found[:, :, :1], model.encode(picture[None, :, None]))
