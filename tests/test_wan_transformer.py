"""The Wan transformer computes what diffusers' computes; its other heads what was worked out by hand."""

from __future__ import annotations

import pytest
import torch
from diffusers import WanTransformer3DModel, WanVACETransformer3DModel

from engine.models.wan import catalogue, config
from engine.models.wan.config import WanConfig
from engine.models.wan.transformer import CameraAdapter, Controls, Shared, Wan, rotary

EXACT = 5e-6  # relative L2 in float32
SMALL = {"num_layers": 4, "num_attention_heads": 2, "ffn_dim": 96, "text_dim": 24}
GRID = (3, 6, 8)  # latent frames and pixels: neither square nor even in tokens


@pytest.fixture(scope="module")
def oracles(load_support):
    return load_support("wan_oracles")


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def ours(oracles, oracle) -> Wan:
    return oracles.filled(Wan, config.transformer, oracles.randomise(oracle))


def measured(name: str, value: float, record_property) -> float:
    record_property(name, value)
    return value


@torch.no_grad()
def test_text_to_video(oracles, record_property):
    oracle = WanTransformer3DModel(**SMALL)
    model = ours(oracles, oracle)
    x, text, t = noise(2, 16, *GRID), noise(2, 512, 24, seed=2), torch.tensor([937.0, 12.0])
    expected = oracle(x, t, text, return_dict=False)[0]
    error = oracles.apart(model(x, t, model.read_text(text)), expected)
    assert measured("relative L2", error, record_property) <= EXACT


class ExactAngles(torch.nn.Module):
    """The waves of time as their formula has them. diffusers' own lie in float32, where 1000 is good to 6e-5."""

    def forward(self, t):
        angle = t.double()[:, None] * 10000 ** (-torch.arange(128, dtype=torch.float64) / 128)
        return torch.cat([angle.cos(), angle.sin()], 1).float()


@torch.no_grad()
@pytest.mark.parametrize("time", [0.0, 250.0, 999.0])
def test_only_the_oracles_waves_of_time_are_rough(oracles, record_property, time):
    oracle = WanTransformer3DModel(**SMALL)
    model = ours(oracles, oracle)
    oracle.condition_embedder.timesteps_proj = ExactAngles()
    x, text, t = noise(1, 16, *GRID), noise(1, 512, 24, seed=2), torch.tensor([time])
    expected = oracle(x, t, text, return_dict=False)[0]
    error = oracles.apart(model(x, t, model.read_text(text)), expected)
    assert measured("relative L2", error, record_property) <= 6e-7


@torch.no_grad()
@pytest.mark.parametrize("positions", [None, 514])
def test_image_to_video(oracles, record_property, positions):
    """First frame, or first and last with positions of their own, through CLIP's tokens and 20 further channels."""
    oracle = WanTransformer3DModel(
        **SMALL, in_channels=36, image_dim=1280, added_kv_proj_dim=256, pos_embed_seq_len=positions
    )
    model = ours(oracles, oracle)
    x, extra, text = noise(1, 16, *GRID), noise(1, 20, *GRID, seed=3), noise(1, 512, 24, seed=2)
    image = noise(1, positions or 257, 1280, seed=4)
    t = torch.tensor([500.0])
    expected = oracle(
        torch.cat([x, extra], 1), t, text, image.view(-1, 257, 1280) if positions else image, return_dict=False
    )[0]
    found = model(x, t, model.read_text(text), Controls(extra=extra, image=model.read_image(image)))
    assert measured("relative L2", oracles.apart(found, expected), record_property) <= EXACT


@torch.no_grad()
def test_a_time_for_each_token(oracles, record_property):
    """TI2V: the known first frame has time 0. One time for each token, for each latent frame, and for all agree."""
    oracle = WanTransformer3DModel(**SMALL, in_channels=48, out_channels=48)
    model = ours(oracles, oracle)
    x, text = noise(1, 48, *GRID), model.read_text(states := noise(1, 512, 24, seed=2))
    frames = torch.tensor([[0.0, 611.0, 611.0]])
    tokens = frames.repeat_interleave(GRID[1] * GRID[2] // 4, 1)
    expected = oracle(x, tokens, states, return_dict=False)[0]
    found = model(x, frames, text)
    assert measured("relative L2", oracles.apart(found, expected), record_property) <= EXACT
    assert oracles.apart(model(x, tokens, text), found) <= EXACT
    constant = torch.full((1, 3), 611.0)
    assert oracles.apart(model(x, constant, text), model(x, constant[:, 0], text)) <= EXACT


@torch.no_grad()
@pytest.mark.parametrize("strength", [1.0, 0.7])
def test_control_video(oracles, record_property, strength):
    oracle = WanVACETransformer3DModel(**SMALL, vace_layers=[0, 2])
    model = ours(oracles, oracle)
    x, vace, text, t = (
        noise(1, 16, *GRID),
        noise(1, 96, *GRID, seed=3),
        noise(1, 512, 24, seed=2),
        torch.tensor([250.0]),
    )
    expected = oracle(x, t, text, None, vace, torch.full((2,), strength), return_dict=False)[0]
    found = model(x, t, model.read_text(text), Controls(vace=vace, strength=strength))
    assert measured("relative L2", oracles.apart(found, expected), record_property) <= EXACT
    without = model(x, t, model.read_text(text))
    assert oracles.apart(without, expected) > 1e-2  # the control is heard at all
    silent = model(x, t, model.read_text(text), Controls(vace=vace, strength=0.0))
    assert torch.equal(silent, without)


def small(**changed) -> Wan:
    torch.manual_seed(3)
    return Wan(WanConfig(width=256, hidden=64, layers=2, text_width=24, **changed)).eval()


@torch.no_grad()
def test_the_camera_adapter_by_hand():
    """One cell, one channel at a time: which pixel of which ray map lands where, and what the residual block adds."""
    adapter = CameraAdapter(4, 24, 8)
    rays = torch.zeros(1, 24, 2, 16, 32)
    rays[0, 5, 1, 11, 20] = (
        1.0  # channel 5 of latent frame 1: pixel (3, 4) of cell (1, 2), so row 1, column 0 of patch 1
    )
    for residual in (adapter.residual_blocks[0].conv1, adapter.residual_blocks[0].conv2):
        residual.weight.zero_()
        residual.bias.zero_()
    found = adapter(rays)
    assert found.shape == (1, 4, 2, 1, 2)
    expected = adapter.conv.bias[:, None, None, None].expand(4, 2, 1, 2).clone()
    expected[:, 1, 0, 1] += adapter.conv.weight[:, 5 * 64 + 3 * 8 + 4, 1, 0]
    assert torch.allclose(found[0], expected, atol=1e-6)
    conv1, conv2 = adapter.residual_blocks[0].conv1, adapter.residual_blocks[0].conv2
    conv1.weight[:, :, 1, 1] = -2 * torch.eye(4)  # centre taps only: y + 3 relu(0.5 - 2 y) + 0.25
    conv1.bias.fill_(0.5)
    conv2.weight[:, :, 1, 1] = 3 * torch.eye(4)
    conv2.bias.fill_(0.25)
    assert torch.allclose(adapter(rays)[0], expected + 3 * (0.5 - 2 * expected).relu() + 0.25, atol=1e-6)


@torch.no_grad()
def test_the_camera_is_added_to_the_patches():
    model = small(in_channels=32, camera_fold=8)
    x, extra, rays = noise(1, 16, *GRID), noise(1, 16, *GRID, seed=3), noise(1, 24, 3, 48, 64, seed=5)
    with_camera = model.patches(x, Controls(extra=extra, camera=model.read_camera(rays)))
    parts = [model.read_camera(rays[:, :, i : i + 1]) for i in range(3)]
    assert torch.allclose(torch.cat(parts, 2), model.read_camera(rays), atol=1e-5)
    plain = model.patches(x, Controls(extra=extra))
    assert torch.allclose(with_camera - plain, model.control_adapter(rays), atol=1e-5)
    kernel = model.patch_embedding.weight.flatten(1)
    patch = torch.cat([x, extra], 1)[0, :, 1, 2:4, 4:6].flatten()
    assert torch.allclose(plain[0, :, 1, 1, 2], kernel @ patch + model.patch_embedding.bias, atol=1e-5)


@torch.no_grad()
def test_a_reference_image_is_a_frame_in_front():
    """Its patches are tokens 0.. of one more frame, positions included; what comes of them is not video."""
    model = small(in_channels=48, reference_channels=16)
    x, extra, image = noise(1, 16, *GRID), noise(1, 32, *GRID, seed=3), noise(1, 16, 6, 8, seed=5)
    controls = Controls(extra=extra, reference=image)
    patches = model.patches(x, controls)
    assert patches.shape == (1, 256, 4, 3, 4)
    kernel, patch = model.ref_conv.weight.flatten(1), image[0, :, 2:4, 4:6].flatten()
    assert torch.allclose(patches[0, :, 0, 1, 2], kernel @ patch + model.ref_conv.bias, atol=1e-5)
    text = model.read_text(noise(1, 512, 24, seed=2))
    t = torch.tensor([400.0])
    found = model(x, t, text, controls)
    tokens = patches.flatten(2).mT
    time, modulation = model.read_time(t, 4, 1)
    shared = Shared(modulation, *rotary((4, 3, 4), x.device), text, None, torch.float32)
    for block in model.blocks:
        tokens = block(tokens, shared)
    rest = model.head(tokens, time)[:, 12:]  # 12 tokens a frame
    by_hand = rest.view(1, 3, 3, 4, 2, 2, 16).permute(0, 6, 1, 2, 4, 3, 5).reshape(1, 16, *GRID)
    assert torch.allclose(found, by_hand, atol=1e-5)
    frames = model(x, torch.tensor([[0.0, 400.0, 400.0]]), text, controls)  # the image has the last frame's time
    assert model.read_time(torch.tensor([[0.0, 1.0, 2.0]]), 4, 1)[0].shape == (1, 4, 256)
    assert not torch.allclose(frames, found)


@torch.no_grad()
def test_the_angles_are_the_official_ones():
    """Pairs 22 + 21 + 21; frequency 10000^(-2 i / channels of the axis); positions from 0, rows before columns."""
    cos, sin = rotary((2, 3, 4), torch.device("cpu"))
    assert cos.shape == sin.shape == (24, 64)
    token = 1 * 12 + 2 * 4 + 3
    expected = [p * 10000 ** (-2 * i / n) for p, n in ((1, 44), (2, 42), (3, 42)) for i in range(n // 2)]
    expected = torch.tensor(expected, dtype=torch.float64)
    assert torch.allclose(cos[token].double(), expected.cos(), atol=1e-7)
    assert torch.allclose(sin[token].double(), expected.sin(), atol=1e-7)


@torch.no_grad()
def test_one_control_serves_a_batch():
    """With guidance two prompts are read at once under the same controls."""
    model = small(
        in_channels=36, image=True, vace_layers=(0, 1), vace_channels=96, camera_fold=8, reference_channels=16
    )
    x, text = noise(1, 16, *GRID), model.read_text(noise(2, 512, 24, seed=2))
    told = Controls(
        extra=noise(1, 20, *GRID, seed=3), image=model.read_image(noise(1, 257, 1280, seed=4)), strength=0.5,
        vace=noise(1, 96, 4, 6, 8, seed=5), camera=noise(1, 256, 3, 3, 4, seed=6), reference=noise(1, 16, 6, 8, seed=7),
    )  # fmt: skip
    t = torch.tensor([400.0])
    both = model(x.expand(2, -1, -1, -1, -1), t, text, told)
    for i in range(2):
        assert torch.allclose(both[i : i + 1], model(x, t, text[i : i + 1], told), atol=1e-5)


def test_controls_that_a_model_lacks_are_refused_by_name():
    model = small()
    x, t, text = noise(1, 16, *GRID), torch.tensor([1.0]), torch.zeros(1, 512, 256)
    for control, name in (
        (Controls(vace=noise(1, 96, *GRID)), "control video"),
        (Controls(camera=noise(1, 256, 3, 3, 4)), "camera"),
        (Controls(reference=noise(1, 16, 6, 8)), "reference image"),
        (Controls(image=noise(1, 257, 256)), "image tokens"),
    ):
        with pytest.raises(ValueError, match=f"no input for {name}"):
            model(x, t, text, control)
    with pytest.raises(ValueError, match=r"36 channels .* takes 16"):
        model(x, t, text, Controls(extra=noise(1, 20, *GRID)))
    with pytest.raises(ValueError, match="no input for camera"):
        model.read_camera(noise(1, 24, 3, 48, 64))
    with pytest.raises(ValueError, match="no input for image tokens"):
        model.read_image(noise(1, 257, 1280))
    with pytest.raises(ValueError, match="multiples of 2"):
        model(x[..., :7], t, text)
    with pytest.raises(ValueError, match="77 text tokens"):
        model.read_text(torch.zeros(1, 77, 24))


@torch.no_grad()
def test_a_tick_comes_after_every_block_and_may_stop_it():
    model = small(vace_layers=(0, 1), vace_channels=96)
    ticks = []

    def tick():
        ticks.append(1)
        if len(ticks) == 3:
            raise InterruptedError

    text = torch.zeros(1, 512, 256)
    with pytest.raises(InterruptedError):
        model(noise(1, 16, *GRID), torch.tensor([1.0]), text, Controls(vace=noise(1, 96, *GRID)), tick)
    kinds = [type(block).__name__ for block in model.order(True)]
    assert kinds == ["VaceBlock", "Block", "VaceBlock", "Block"] and len(ticks) == 3


TRANSFORMERS = [name for name, c in catalogue.CHECKPOINTS.items() if isinstance(c.config, WanConfig)]


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_official_names_and_shapes(name):
    """The module made on the meta device has the official file's fingerprint, and is found again from its shapes."""
    checkpoint = catalogue.CHECKPOINTS[name]
    with torch.device("meta"):
        model = Wan(checkpoint.config)
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert catalogue.fingerprint(shapes) == checkpoint.fingerprint
    assert config.transformer(shapes) == checkpoint.config
    assert catalogue.known(shapes) == name


@torch.no_grad()
def test_blocks_are_gone_through_by_one_method():
    """What a block swap needs: it sees all blocks in the order they run, and only through it they do."""
    model = small(vace_layers=(0, 1), vace_channels=96)
    asked: list[list[str]] = []

    def each(blocks):
        asked.append([type(block).__name__ for block in blocks])
        for block in blocks:
            block.to("cpu")
            yield block
            block.to("meta")

    model.each = each
    controls = Controls(vace=noise(1, 96, *GRID))
    assert model(noise(1, 16, *GRID), torch.tensor([1.0]), torch.zeros(1, 512, 256), controls).isfinite().all()
    assert asked == [["VaceBlock", "Block", "VaceBlock", "Block"]]
