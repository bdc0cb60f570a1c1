"""The bench of a Wan model on a network of a few thousand numbers: what it prints can be read, and its figures agree
with each other and with operations counted by hand. How fast anything is, is not looked at."""

from __future__ import annotations

import json
import math

import pytest

from engine import bench_wan, wan_speed
from engine.models.wan import catalogue
from engine.models.wan.config import AutoencoderConfig, WanConfig

TINY = WanConfig(width=128, hidden=64, layers=2, text_width=32)
NAME = "Wan2.1-T2V-1.3B"
KEYS = {"what", "seconds", "of_floor", "peak_gb", "note"}


@pytest.fixture(scope="module")
def told():
    """One run, as its JSON says it."""
    with pytest.MonkeyPatch.context() as patch:
        checkpoints = catalogue.CHECKPOINTS | {NAME: catalogue.Checkpoint(TINY, "")}
        patch.setattr(catalogue, "CHECKPOINTS", checkpoints)
        patch.setattr(bench_wan, "AUTOENCODERS", {16: AutoencoderConfig("2.1", 4, 4, 16)})
        patch.setattr(bench_wan, "SMALL", (32, 32, 5))
        patch.setattr(bench_wan, "SMALLER", (16, 16, 5))
        patch.setattr(bench_wan, "ROUNDS", 1)
        patch.setattr(bench_wan, "fastest", lambda *a, rounds=1, f=bench_wan.fastest: f(*a, rounds=rounds))
        patch.setattr(bench_wan, "diffusers_autoencoder", lambda *_: None)  # of full size: minutes
        patch.setattr(wan_speed, "BACKEND", "no such compiler")  # what compiling costs is not looked at
        said = []
        patch.setattr("builtins.print", lambda text: said.append(text))
        arguments = ["--model", "wan2.1-1.3b", "--size", "832x480", "--frames", "81", "--device", "cpu", "--json"]
        assert bench_wan.main(arguments) == 0
    return json.loads("".join(said))


def test_its_json_has_these_keys_and_finite_figures(told):
    assert set(told) == {"model", "device", "threads", "precision", "matrix_rate_tflops", "tokens", "note", "lines"}
    assert (told["model"], told["device"], told["precision"]) == ("wan2.1-1.3b", "processor", "float32")
    assert told["tokens"] == 2 * 2 * 2 and told["matrix_rate_tflops"] > 0
    assert "run at 32 x 32, 5 frames, 2 of 2 blocks" in told["note"]
    for line in told["lines"]:
        assert set(line) == KEYS
        figures = [line[key] for key in ("seconds", "of_floor", "peak_gb") if line[key] is not None]
        assert all(math.isfinite(figure) and figure > 0 for figure in figures), line
        assert figures or line["note"], line  # measured, or why not


def test_its_figures_agree(told):
    lines = {line["what"]: line for line in told["lines"]}
    ours, theirs = lines["one prediction, ours"], lines["one prediction, diffusers"]
    assert ours["note"] == "1.00 x our speed"
    assert theirs["note"] == f"{ours['seconds'] / theirs['seconds']:.2f} x our speed"
    assert ours["seconds"] / ours["of_floor"] == pytest.approx(theirs["seconds"] / theirs["of_floor"])
    apart, both = lines["both predictions of guidance, one by one"], lines["both predictions in a batch"]
    assert both["note"] == f"{apart['seconds'] / both['seconds']:.2f} x"
    assert lines["one prediction, blocks compiled"]["note"].startswith("cannot: ")
    assert "left out" in lines["6 steps, blocks left out below 0.5"]["note"]
    assert "relative L2" in lines["one prediction, products in 8 bits"]["note"]
    assert lines["decode, ours"]["of_floor"] > 0 and lines["decode, ours, 16 bits"]["seconds"] is None
    guided, fewer = lines["floor: 50 steps with guidance"], lines["floor: 4 steps of a few-step LoRA"]
    assert guided["seconds"] / fewer["seconds"] == pytest.approx(100 / 4)
    once = bench_wan.operations(TINY, 21 * 30 * 52)
    assert fewer["seconds"] == pytest.approx(4 * once / (told["matrix_rate_tflops"] * 1e12), rel=0.5)


def test_operations_by_hand():
    """Of one block: eight products of width by width, two of them over the text, feed-forward, attention twice."""
    L, D, H, S = 10, 128, 64, 512
    linear = 2 * (6 * L * D * D + 2 * S * D * D + 2 * L * D * H)
    attention = 2 * 2 * L * L * D + 2 * 2 * L * S * D
    assert bench_wan.operations(TINY, L) == 2 * (linear + attention)
