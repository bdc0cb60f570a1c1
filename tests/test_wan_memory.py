"""The ladder of memory: what is computed is what networks of full size take, and each rung gives the same numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from engine import need
from engine.models.wan import autoencoder
from engine.models.wan.autoencoder import Autoencoder, Past, spans
from engine.models.wan.catalogue import CLIP as CLIP_ENCODER
from engine.models.wan.config import AutoencoderConfig, WanConfig
from engine.models.wan.image import ImageEncoder
from engine.models.wan.linear import Linear, multiply_in_eight_bits, scaled_product
from engine.models.wan.transformer import Controls, Wan
from engine.weights import checkpoint, networks
from engine.weights.swap import Swap

FULL = {"2.1": AutoencoderConfig("2.1", 96, 96, 16), "2.2": AutoencoderConfig("2.2", 160, 256, 48)}
SMALL = {"2.1": AutoencoderConfig("2.1", 4, 4, 16), "2.2": AutoencoderConfig("2.2", 8, 8, 48)}
VACE_SMALL = need.Facts(width=1536, blocks=45, parameters=2_150_000_000, vace=True)
VACE_LARGE = need.Facts(width=5120, blocks=48, parameters=17_340_000_000, vace=True)
UMT5_SMALL = need.UMT5_TABLE + 10**6
CLIP = need.Clip(832, 480, 32_760)


@pytest.fixture(scope="module")
def live(load_support):
    return load_support("live")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def random(model, load_support, seed=2):
    model.load_state_dict(load_support("tiny_wan").randomised(model, seed))
    return model.eval()


# ---------------------------------------------------------------- what is computed


@pytest.mark.parametrize("vace", [False, True])
def test_a_transformer_takes_what_is_computed(live, vace):
    """Of 1.3B's width and tokens; one block more takes no more."""
    hints = {"vace_layers": (0,), "vace_channels": 96} if vace else {}
    with torch.device("meta"):
        model = Wan(replace(WanConfig(width=1536, hidden=8960, layers=2), **hints)).eval()
        model.compute = torch.bfloat16
        x, t, text = torch.empty(1, 16, 21, 60, 104), torch.empty(1), torch.empty(1, 512, 1536)
        told = Controls(vace=torch.empty(1, 96, 21, 60, 104)) if vace else Controls()
    model.read_time = lambda t, frames, leading: (  # angles are worked on a processor, which meta tensors cannot reach
        torch.empty(1, 1, 1536, device="meta"), torch.empty(1, 1, 6, 1536, device="meta"))
    expected = need.sampling(need.Facts(1536, 2, 0, vace), replace(CLIP, guided=False), need.RUNGS[0])
    with torch.no_grad(), live.FusedAttention(), live.Live() as counted, pytest.MonkeyPatch.context() as patch:
        angles = torch.empty(32_760, 64, device="meta")
        patch.setattr("engine.models.wan.transformer.rotary", lambda *_: (angles, angles))
        model(x, t, text, told)
    print("RATIO", counted.peak / expected, counted.at)
    assert counted.peak == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("generation", ["2.1", "2.2"])
@pytest.mark.parametrize("way, single, tiled, dtype", [
    ("decode", False, False, torch.float32), ("decode", True, False, torch.bfloat16),
    ("decode", True, True, torch.float32), ("encode", True, False, torch.float32),
    ("encode", True, True, torch.float32)])
def test_pictures_take_what_is_computed(live, monkeypatch, generation, way, single, tiled, dtype):
    with torch.device("meta"):
        model = Autoencoder(FULL[generation]).eval()
    model.compute, model.single, stride = dtype, single, FULL[generation].stride
    if tiled:
        model.tile = need.tile_sides(832, 480, stride, autoencoder.MARGIN * stride // autoencoder.FINE)
    away: dict[int, int] = {}
    monkeypatch.setattr(Past, "move", lambda past, device: moved(past, device, away))
    with torch.no_grad(), live.FusedAttention(), live.Live() as counted:
        if way == "decode":
            latents = torch.empty(1, FULL[generation].channels, 3, 480 // stride, 832 // stride, device="meta")
            for part in model.decoding(latents):
                del part
        else:
            for latent in model.encoding(torch.empty(1, 3, n, 480, 832, device="meta") for n in (1, 4, 4)):
                del latent
    rung = replace(need.RUNGS[0], alone=single, tiled=tiled)
    facts, size = replace(VACE_SMALL, generation=generation), torch.finfo(dtype).bits // 8
    assert counted.peak == pytest.approx(need.picture(facts, CLIP, rung, way, size), rel=0.03)
    remembered = need.remembered(facts, CLIP, size)
    assert not tiled or sum(away.values()) == pytest.approx(remembered, rel=0.03) or way == "encode"
    assert sum(away.values()) <= 1.03 * remembered


def test_the_image_encoder_takes_what_is_computed(live):
    """Of full size, its weights in halves as Comfy has them: what it makes while it looks at a picture."""
    with torch.device("meta"):
        model = ImageEncoder(CLIP_ENCODER).eval().half()
        picture = torch.empty(1, 3, 480, 832)
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.float()
    model.transformer = model.transformer[:3]  # all blocks but the last are like these
    with torch.no_grad(), live.FusedAttention(), live.Live() as counted:
        model(picture)
    assert counted.peak == pytest.approx(need.LOOKING, rel=0.05)


@pytest.mark.parametrize("rung", need.RUNGS[:-1])
def test_an_image_encoder_counts_where_it_is_the_largest(rung):
    """At a tiny picture: all networks together on the first rung, else whatever is held with it."""
    small, tiny = need.Facts(width=128, blocks=2, parameters=10**6, text=UMT5_SMALL), need.Clip(16, 16, 1)
    looks = replace(small, image=5 * need.GB)
    more = need.of(looks, tiny, rung).device - need.of(small, tiny, rung).device
    assert 0 < more <= 5 * need.GB + need.LOOKING <= need.of(looks, tiny, rung).device


def moved(past, device, away):
    """The meta device has no other that remembers for it: `away` counts its bytes by their owner."""
    if device == "cpu":
        away[id(past)] = sum(value.nbytes for value in past.frames.values())
        past.frames = {layer: (value.shape, value.dtype) for layer, value in past.frames.items()}
    else:
        past.frames = {layer: torch.empty(shape, dtype=dtype, device="meta")
                       for layer, (shape, dtype) in past.frames.items()}


@pytest.mark.parametrize("facts", [VACE_SMALL, VACE_LARGE, replace(VACE_LARGE, experts=2)])
def test_each_rung_needs_less_than_the_one_before(facts):
    needs = [need.of(facts, CLIP, rung).device for rung in need.RUNGS[:-1]]
    assert needs == sorted(needs, reverse=True) and len(set(needs)) > 3


@pytest.mark.parametrize("facts, card", [(VACE_SMALL, 8), (VACE_LARGE, 24)])
def test_what_cards_of_artists_hold(facts, card):
    """Computed, not measured: nobody ran this on a card. A card's driver leaves about nine tenths of it free."""
    number = need.choose(facts, CLIP, int(0.92 * card * need.GB), 64 * need.GB)
    assert not need.RUNGS[number].on_processor and not need.RUNGS[number].eight_bit
    assert need.choose(facts, CLIP, 200 * need.GB, 64 * need.GB) == 0
    assert need.RUNGS[need.choose(facts, CLIP, need.GB // 2, 64 * need.GB)].on_processor


# ---------------------------------------------------------------- the same numbers


@pytest.fixture(scope="module", params=["2.1", "2.2"])
def small(request, load_support):
    return random(Autoencoder(SMALL[request.param]), load_support)


@torch.no_grad()
def test_tiles_give_the_same_pictures_and_need_their_whole_margin(small, monkeypatch):
    stride = small.config.stride
    latents = torch.randn(1, small.config.channels, 3, 10, 14, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(small, "single", True)
    whole = small.decode(latents)
    monkeypatch.setattr(small, "tile", (9 * stride, 8 * stride))
    assert len(small.tiles(10, 14, autoencoder.FINE, autoencoder.MARGIN)) == 6
    assert (small.decode(latents) - whole).abs().max() < 1e-6
    monkeypatch.setattr(autoencoder, "MARGIN", 4)
    monkeypatch.setattr(small, "tile", (6 * stride, 6 * stride))
    assert (small.decode(latents) - whole).abs().max() > 1e-4


@torch.no_grad()
def test_tiles_give_the_same_latents_and_need_their_whole_margin(small, monkeypatch, load_support):
    """Relative L2 of 1e-6: sums go in another order."""
    apart, stride = load_support("wan_oracles").apart, small.config.stride
    generator = torch.Generator().manual_seed(1)
    video = torch.rand(1, 3, 9, 10 * stride, 10 * stride, generator=generator) * 2 - 1
    whole = small.encode(video)
    monkeypatch.setattr(small, "single", True)
    assert torch.equal(small.encode(video), whole)
    monkeypatch.setattr(small, "tile", (7 * stride, 7 * stride))  # tiles of 14 pixels of 20, which share 8
    assert len(small.tiles(10, 10, autoencoder.READ_FINE, autoencoder.READ_MARGIN)) == 4
    assert apart(small.encode(video), whole) < 1e-6
    monkeypatch.setattr(autoencoder, "READ_MARGIN", 3)
    monkeypatch.setattr(small, "tile", (13 * stride // 2, 13 * stride // 2))
    assert apart(small.encode(video), whole) > 1e-5


def test_spans_cover_a_side_once():
    for length, side in ((56, 36), (416, 148), (240, 96), (30, 40)):
        found = spans(length, side, autoencoder.MARGIN)
        assert [i for span in found for i in range(span.own.start, span.own.stop)] == list(range(length))
        for span in found:
            before, after = span.own.start - span.read.start, span.read.stop - span.own.stop
            assert before >= (autoencoder.MARGIN if span.own.start else 0)
            assert after >= (autoencoder.MARGIN if span.own.stop < length else 0)


def test_swapped_blocks_give_the_same_and_two_are_there_at_most(load_support):
    config = WanConfig(width=128, hidden=96, layers=4, text_width=32, vace_layers=(0, 2), vace_channels=96)
    model = random(Wan(config), load_support)
    x, t, text = torch.randn(1, 16, 2, 4, 6), torch.tensor([500.0]), torch.randn(1, 512, 128)
    told = Controls(vace=torch.randn(1, 96, 2, 4, 6))
    with torch.no_grad():
        expected = model(x, t, text, told)
        blocks = model.order(True)
        model.each = swap = Swap("cpu", resident=1)
        swap.settle(blocks)
        assert len(swap.homes) == 5 and torch.equal(model(x, t, text, told), expected)
        assert swap.most == 2 and not swap.there

        def stop(left=[3]):  # noqa: B006  counts down
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            model(x, t, text, told, stop)
        assert torch.equal(model(x, t, text, told), expected)
    assert networks.resident_blocks(100, 10, 40) == 8 and networks.resident_blocks(5, 10, 40) == 0


def test_eight_bits_are_near_and_their_products_are_what_they_say():
    torch.manual_seed(3)
    layer, x = Linear(128, 64), torch.randn(5, 7, 128)
    exact = layer(x)
    value, scale = checkpoint.rounded(layer.weight.data)
    layer.weight, layer.scale = torch.nn.Parameter(value, requires_grad=False), scale
    exact, widened = exact.detach(), layer(x).detach()
    assert 0 < float((widened - exact).norm() / exact.norm()) < 0.04
    multiply_in_eight_bits(layer)
    rounded_x, each = checkpoint.rounded(x.flatten(0, 1))
    expected = (rounded_x.float() * each[:, None]) @ (value.float() * scale[:, None]).T + layer.bias
    assert torch.allclose(layer(x).flatten(0, 1), expected, atol=1e-5)
    assert torch.allclose(scaled_product(x[0], value, None), scaled_product(x[0], value, torch.ones(64)))
