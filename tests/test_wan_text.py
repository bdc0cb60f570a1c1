"""The umT5 encoder computes what transformers' computes under a mask, from the prompt's own tokens alone."""

from __future__ import annotations

import pytest
import torch
from transformers import UMT5Config, UMT5EncoderModel

from engine.models.wan import catalogue, config
from engine.models.wan.text import TextEncoder, bucket

EXACT = 1e-5  # relative L2 in float32
SMALL = UMT5Config(
    vocab_size=300, d_model=64, d_kv=16, d_ff=160, num_layers=3, num_heads=6, feed_forward_proj="gated-gelu",
    is_encoder_decoder=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def oracles(load_support):
    return load_support("wan_oracles")


@pytest.fixture(scope="module")
def pair(oracles):
    oracle = oracles.randomise(UMT5EncoderModel(SMALL))
    return oracle, oracles.filled(TextEncoder, config.text, oracle)


def ids(count: int) -> list[int]:
    return torch.randint(2, 300, (count - 1,), generator=torch.Generator().manual_seed(count)).tolist() + [1]


@torch.no_grad()
@pytest.mark.parametrize("count", [1, 37, 300, 512])
def test_states(pair, oracles, count, record_property):
    """Against the oracle with 512 tokens and a mask; beyond 128 tokens all distances are one."""
    oracle, model = pair
    tokens = ids(count)
    padded = torch.tensor([tokens + [0] * (512 - count)])
    expected = oracle(padded, attention_mask=(torch.arange(512) < count)[None].long()).last_hidden_state[:, :count]
    found = model.prompt(tokens)
    error = oracles.apart(found[:, :count], expected)
    record_property("relative L2", error)
    assert error <= EXACT
    assert found.shape == (1, 512, 64) and not found[:, count:].any()


def test_buckets_by_hand():
    """32 rows: 0..7 one a token, then 8..15 up to 128 and beyond; 16 more for what comes after."""
    apart = torch.tensor([0, -1, -7, -8, -11, -12, -16, -127, -128, -5000, 1, 7, 8, 128])
    assert bucket(apart, 32, 128).tolist() == [0, 1, 7, 8, 8, 9, 10, 15, 15, 15, 17, 23, 24, 31]


def test_what_it_does_not_take_is_refused_in_words(pair):
    _, model = pair
    with pytest.raises(ValueError, match="513 tokens: expected 1 to 512"):
        model(ids(513))
    with pytest.raises(ValueError, match="0 tokens"):
        model([])
    with pytest.raises(ValueError, match="token 300 of a vocabulary of 300"):
        model([300, 1])


@torch.no_grad()
def test_a_tick_comes_after_every_block(pair):
    _, model = pair
    ticks = []
    model(ids(5), lambda: ticks.append(1))
    assert len(ticks) == 3


def test_official_names_and_shapes():
    checkpoint = catalogue.CHECKPOINTS["umT5-XXL encoder"]
    with torch.device("meta"):
        model = TextEncoder(checkpoint.config)
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert catalogue.fingerprint(shapes) == checkpoint.fingerprint
    assert config.text(shapes) == checkpoint.config
