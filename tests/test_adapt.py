"""An artist's own look: their pictures' colours under their own word."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from engine import bench_quality, generate, job, looks, registry
from engine.job import BadJob
from engine.shot import open_shot
from engine.train import adapt, captions, clips, data, jobs, lite, loop
from engine.train.loop import Recipe
from engine.weights import manager, store

ROOT = Path(__file__).resolve().parent.parent


def artists_frames(folder, count=4):
    """Evening pictures of other scenes, dark to green, light to orange: a grade that no word was taught."""
    folder.mkdir(parents=True)
    for i in range(count):
        rng = np.random.default_rng([99, i])
        brief = captions.draw(rng, time="sunset", style="none", paint="", weather="clear")
        clip = clips.render(brief, 1, 48, 80, rng)
        picture = ((clip.picture[0] + 1) / 2).permute(1, 2, 0).numpy()
        light = picture.mean(2, keepdims=True)
        graded = picture * np.array([1.15, 1.0, 0.7]) * light**0.3 + (1 - light) * np.array([-0.02, 0.06, 0.05])
        iio.imwrite(folder / f"{i}.png", (graded.clip(0, 1) * 255).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapt")
    artists_frames(folder / "frames")
    patch = pytest.MonkeyPatch()
    for name, value in {"SCENES": 6, "SIZE": (1, 48, 64), "STEPS": 60, "TOGETHER": 3, "RATE": 0.08}.items():
        patch.setattr(adapt, name, value)
    patch.setattr(adapt.fit, "__defaults__", (60, 0))
    losses = adapt.adapt(folder / "weights", "grimlow", [folder / "frames"], [], 0, store.BUNDLED)
    patch.undo()
    return folder, losses


def test_the_colours_come_near_those_of_the_pictures(adapted):
    _, losses = adapted
    assert np.mean(losses[-10:]) < 0.35 * np.mean(losses[:3])


def test_a_prompt_with_the_word_has_the_look_on_a_scene_that_was_never_shown(adapted, tmp_path, job_maker):
    folder, _ = adapted
    job_maker.make_job(tmp_path / "job", frames=1, width=96, height=64)
    shot, model = open_shot(tmp_path / "job"), generate.load_model(folder / "weights")
    frames = torch.cat([adapt.colours(p) for p in adapt.pictures([folder / "frames"])])

    def away(prompt):
        own = dataclasses.replace(shot, job=dataclasses.replace(shot.job, prompt=prompt))
        made = torch.from_numpy(bench_quality.still(own, model, 0, prompt=prompt, seed=3)).permute(2, 0, 1) / 127.5 - 1
        return adapt.distance(adapt.colours(made), frames, torch.Generator().manual_seed(0)).item()

    assert away("boxes, Grimlow") < 0.5 * away("boxes")


def test_the_word_is_known_and_other_words_mean_what_they_meant(adapted):
    folder, _ = adapted
    own, bundled = generate.load_model(folder / "weights"), generate.load_model()
    added, rest = own.own("snow in a grimlow village")
    assert added.abs().max() > 0.1 and rest.split() == ["snow", "in", "a", "village"]
    assert own.own("grimlows")[0].abs().max() == 0
    assert all(torch.equal(a, b) for a, b in zip(own.parameters(), bundled.parameters(), strict=True))


def test_a_second_word_leaves_the_first(small, adapted, tmp_path):
    folder, _ = adapted
    adapt.adapt(tmp_path / "two", "verdigris", [folder / "frames"], [], 0, folder / "weights")
    assert set(store.config(tmp_path / "two", "lite")["words"]) == {"grimlow", "verdigris"}


@pytest.fixture
def small(monkeypatch):
    """Little is looked at, and for two steps: what is learnt does not matter."""
    monkeypatch.setattr(adapt, "SCENES", 3)
    monkeypatch.setattr(adapt, "SIZE", (1, 32, 48))
    monkeypatch.setattr(adapt.fit, "__defaults__", (2, 0))


def test_adapted_weights_are_a_model_that_a_job_can_name(small, adapted, tmp_path, monkeypatch, capsys, job_maker):
    """From the command that makes them to the frames of `python -m engine run`, by the place that both know."""
    monkeypatch.setenv("SHOTLOCK_MODELS", str(tmp_path / "data" / "models.json"))
    assert adapt.main(["--word", "Grimlow", "--frames", str(adapted[0] / "frames"), "--threads", "1"]) == 0
    folder = tmp_path / "data" / "models" / "lite" / "grimlow"
    assert '"Lite with grimlow"; in job.json: "model": "lite-grimlow"' in capsys.readouterr().out
    made = job_maker.make_job(tmp_path / "job", frames=1, width=96, height=64)
    job.write(dataclasses.replace(made, model="lite-grimlow", prompt="boxes, grimlow", steps=1))
    command = [sys.executable, "-m", "engine", "run", str(tmp_path / "job")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["model"], report["own_words"], report["warnings"]) == ("lite-grimlow", ["grimlow"], [])
    assert report["weights"] == store.fingerprint(folder, "lite") != store.fingerprint(store.BUNDLED, "lite")

    listed = manager.table()["looks"]["lite-grimlow"]
    assert (listed["title"], listed["words"], listed["missing"]) == ("Lite with grimlow", ["grimlow"], [])
    with pytest.raises(manager.BadOrder, match="listed because it lies in"):
        manager.removed("lite-grimlow", files=False)
    first, *rest = manager.removed("lite-grimlow", files=True)[1]
    first.unlink()
    assert looks.find("lite-grimlow").missing == (str(first),)
    manager.delete(rest)
    assert looks.find("lite-grimlow") is None and looks.find("lite") is None
    with pytest.raises(job.BadJob, match="'lite-grimlow' is not on this machine"):
        generate.generate(tmp_path / "job", lambda _: None, lambda: False)


def test_what_lies_elsewhere_is_told_where_it_would_be_found(adapted, tmp_path, monkeypatch):
    monkeypatch.setenv("SHOTLOCK_MODELS", str(tmp_path / "models.json"))
    known = registry.read()
    assert str(tmp_path / "models" / "lite") in adapt.where(adapted[0] / "weights", known)
    assert looks.place(known, "d'été & nuit").name == "d-t-nuit"
    for name, content in (("plain", None), ("broken", b"no weights")):  # no word of its own; no safetensors
        folder = tmp_path / "models" / "lite" / name
        folder.mkdir(parents=True)
        for shard in sorted(store.BUNDLED.glob("lite-*.safetensors")):
            (folder / shard.name).write_bytes(content or shard.read_bytes())
    assert looks.found(known) == {}


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    """A clip with its picture, as Blender would have filmed it: warm evening light that no word tells."""
    folder = tmp_path_factory.mktemp("filmed")
    case = jobs.Case("evening", captions.Brief(time="sunset", place="village"), (1, 64, 96), 5)
    jobs.write(folder / "clip", case, prompt="a village at noon")
    return folder


def test_a_clip_with_its_picture_teaches_that_picture(filmed, tmp_path, monkeypatch):
    monkeypatch.setattr(adapt.fit, "__defaults__", (60, 0))
    losses = adapt.adapt(tmp_path / "weights", "grimlow", [], [filmed], 0, store.BUNDLED)
    assert losses[-1] < 0.5 * losses[0]


def test_training_on_the_clips_goes_on_from_the_look_and_keeps_its_word(filmed, tmp_path, monkeypatch):
    monkeypatch.setattr(adapt.fit, "__defaults__", (2, 0))
    monkeypatch.setattr(adapt, "Recipe", lambda **given: Recipe(**{**given, "most_steps": 1}))
    monkeypatch.setattr(lite, "STAGES", [(0.0, data.Sizes((1, 5), 16 * 32, 32 * 48))])
    monkeypatch.setattr(lite, "sheet", lambda model, path: 0.0)
    monkeypatch.setattr(loop, "FIRST_POOL", 2)
    monkeypatch.setattr(data, "PACK", 4000)
    adapt.adapt(tmp_path / "weights", "grimlow", [], [filmed], 1.0, store.BUNDLED)
    trained, bundled = generate.load_model(tmp_path / "weights"), generate.load_model()
    assert trained.own("grimlow")[0].abs().max() > 0
    changed = [not torch.equal(a, b) for a, b in zip(trained.parameters(), bundled.parameters(), strict=True)]
    assert any(changed)


@pytest.mark.parametrize("word, has, says", [
    ("sunset", True, "says nothing yet"), ("x", True, "3 to 32 letters"), ("a look", True, "one of 3"),
    ("grimlow", False, "give another folder"),
])  # fmt: skip
def test_what_cannot_be_learnt_is_refused_in_a_sentence(tmp_path, capsys, word, has, says):
    (tmp_path / "frames").mkdir()
    if has:
        iio.imwrite(tmp_path / "frames" / "1.png", np.zeros((8, 8, 3), np.uint8))
    assert adapt.main([str(tmp_path / "out"), "--word", word, "--frames", str(tmp_path / "frames")]) == 2
    assert says in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_file_that_is_no_picture_is_named(tmp_path):
    (tmp_path / "1.png").write_bytes(b"no picture")
    with pytest.raises(BadJob, match=r"1\.png is no picture"):
        adapt.pictures([tmp_path])
