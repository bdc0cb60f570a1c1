"""`python -m engine need` says beforehand what the job then says itself: what it needs, or why it is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine import forecast, job, need
from engine.generate import generate

ROOT = Path(__file__).resolve().parent.parent
SMALL = {"size": [96, 64], "camera_frames": [6]}


@pytest.fixture(scope="module")
def shelf(load_support, tmp_path_factory):
    return load_support("tiny_wan").write(tmp_path_factory.mktemp("models"))


@pytest.fixture(autouse=True)
def found(shelf, monkeypatch):
    monkeypatch.setenv("SHOTLOCK_MODELS", str(shelf))
    torch.set_num_threads(1)


def test_the_need_is_what_the_job_says_when_it_begins(make_job, tmp_path):
    made = make_job(tmp_path / "job", frames=6, width=96, height=64)
    job.write(replace(made, model="tiny-vace", steps=1, guidance=None, prompt="a barn"))
    said = []
    report = generate(tmp_path / "job", said.append, lambda: False)
    told = forecast.forecast({"model": "tiny-vace", "steps": 1, **SMALL})
    assert told["needed"] == report["memory"]["needed"] and need.RUNGS[told["rung"]].words == report["memory"]["rung"]
    (note,) = [news["note"] for news in said if "note" in news]
    words = note.partition(" of ")[0], note.partition(" on ")[2]  # what is free changes in between
    assert words == (told["words"].partition(" of ")[0], told["words"].partition(" on ")[2])
    assert told["guidance"] == report["recipe"]["guidance"] and told["sampled"] == report["sampled"]["size"]


@pytest.mark.parametrize(("values", "problem"), [
    ({"model": "tiny-text"}, "Tiny Text can be told neither depth nor camera"),
    ({"model": "tiny-camera", "references": ["a.png"]}, "Tiny Camera has no input for reference pictures"),
    ({"model": "sora"}, "the model 'sora' is not on this machine"),
    ({"model": "tiny-vace", "loras": [{"name": "look"}]}, "the LoRA 'look' is not on this machine"),
    ({"model": "tiny-vace", "denoise": 7}, "job.json's denoise is 7"),
])  # fmt: skip
def test_what_the_job_would_be_refused_for_is_known_before(values, problem):
    with pytest.raises(ValueError, match=problem):
        forecast.forecast(SMALL | values)


def test_what_is_sampled_at_once_is_a_window_with_its_reference_pictures():
    from engine import registry
    from engine.weights import networks

    model = networks.open_model(registry.entry("tiny-vace"), "cpu", torch.float32)
    asked = job.Job(folder=ROOT, id="a", references=("a.png", "b.png"), guidance=5.0)
    per_frame = (832 // 16) * (480 // 16)
    for frames, latent in ((1, 1), (6, 3), (81, 21), (900, 21)):  # a window holds 81
        clip = forecast.clip_of(asked, (832, 480), frames, 81, model)
        assert clip == need.Clip(832, 480, (latent + 2) * per_frame, guided=True)
    small, large = (forecast.forecast({"model": "tiny-vace", "size": size}) for size in ([96, 64], [832, 480]))
    assert small["needed"] < large["needed"]


def test_the_command_answers_with_one_line_whatever_it_is_asked(shelf):
    """And it opens the files without what only compiling needs, which takes seconds to import."""
    command = [sys.executable, "-m", "engine", "need"]
    good, bad = json.dumps({"model": "tiny-vace", **SMALL}), "no JSON"
    for asked, key in ((good, "words"), (bad, "problem")):
        done = subprocess.run(command, cwd=ROOT, input=asked, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and json.loads(done.stdout)[key] and done.stdout.count("\n") == 1
    code = f"import sys; from engine import forecast; forecast.forecast({json.loads(good)}); " \
           "sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
