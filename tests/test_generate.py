"""Whole jobs through the real model, small: frames, windows, cuts, crops, seeds, resume to the byte."""

import hashlib
import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from engine import check, conditions, job, windows
from engine import generate as generating
from engine.generate import begin, cast_shadows, generate, look_back, read_prompt, window_maps, window_noise
from engine.models import lite
from engine.shot import lamps, open_shot, sun_facts
from engine.train import evaluate, jobs
from engine.train.captions import Brief
from engine.weights import machine, store

_spec = importlib.util.spec_from_file_location("job_maker", Path(__file__).parent / "support" / "job_maker.py")
job_maker = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(job_maker)

SMALL = dict(frames=5, width=96, height=64, steps=2)


def run(folder, stop=lambda: False):
    said = []
    report = generate(folder, said.append, stop)
    return report, said


def hashes(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((folder / "frames").iterdir())}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "job"
    job_maker.make_job(folder, **SMALL)
    report, said = run(folder)
    return folder, report, said


def test_a_job_ends_with_every_frame_a_report_and_no_state(whole):
    folder, report, said = whole
    assert [p.name for p in sorted((folder / "frames").iterdir())] == [f"{i:06d}.png" for i in range(1, 6)]
    assert not (folder / "state").exists() and not (folder / "frames.part").exists()
    assert json.loads((folder / "report.json").read_text())["seed"] == 7
    assert report["frame_hashes"] == hashes(folder)
    phases = [m["phase"] for m in said if "phase" in m]
    assert list(dict.fromkeys(phases)) == ["text", "conditions", "sample", "decode", "measure"]
    assert any("preview" in m for m in said)


def test_check_names_the_machine_that_a_job_runs_on(whole):
    on = whole[1]["machine"]
    threads = f"{on['threads']} thread{'s' * (on['threads'] > 1)}"
    assert check.device().startswith(f"{on['device']}: {threads}, {on['precision']}")


def test_the_same_job_gives_the_same_bytes(whole, tmp_path):
    job_maker.make_job(tmp_path / "again", **SMALL)
    run(tmp_path / "again")
    assert hashes(tmp_path / "again") == hashes(whole[0])


@pytest.mark.parametrize("steps", [1, 2])
def test_in_the_other_precision_it_is_nearly_the_same_film(tmp_path, monkeypatch, steps):
    """Whatever the processor here is quick in, both are run: what one refuses the other may let through."""
    films = []
    for precision in ("float32", "bfloat16"):
        monkeypatch.setattr(machine, "probe", lambda: (precision, "told by a test"))  # noqa: B023
        folder = tmp_path / precision
        job_maker.make_job(folder, **{**SMALL, "steps": steps})
        assert run(folder)[0]["machine"]["precision"] == precision
        films.append([iio.imread(p).astype(float) for p in sorted((folder / "frames").iterdir())])
    apart = np.abs(np.array(films[0]) - np.array(films[1]))
    assert 0 < apart.mean() < 1 and np.percentile(apart, 99) < 8, (apart.mean(), apart.max())


@pytest.mark.parametrize("width, height", evaluate.SHAPES)
def test_any_shape_is_made_in_half_the_sizes_that_are_judged(tmp_path, width, height):
    """Wide, tall, square."""
    size = width // 32 * job.PATCH, height // 32 * job.PATCH
    job_maker.make_job(tmp_path, frames=3, width=size[0], height=size[1], steps=2)
    run(tmp_path)
    made = [iio.imread(path) for path in sorted((tmp_path / "frames").iterdir())]
    assert [picture.shape for picture in made] == 3 * [(size[1], size[0], 3)] and all(p.std() > 2 for p in made)


def again(whole, folder):
    """A finished folder that holds a file of somebody else's, and what is in its frames folder."""
    shutil.copytree(whole[0], folder)
    (folder / "frames" / "poster.png").write_bytes(b"mine")
    (folder / "frames" / "notes").mkdir()
    (folder / "frames" / "notes" / "000001.png").write_bytes(b"mine too")
    return contents(folder / "frames")


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_finished_folder_that_is_run_again_keeps_what_it_did_not_write(whole, tmp_path):
    before = again(whole, tmp_path / "job")
    report, _ = run(tmp_path / "job")
    assert contents(tmp_path / "job" / "frames") == before
    assert not (tmp_path / "job" / "frames.before").exists() and report["follows"] == whole[1]["follows"]


@pytest.mark.parametrize("phase", ["text", "conditions", "sample", "decode"])
def test_a_second_run_that_is_stopped_leaves_the_take_as_it_was(whole, tmp_path, phase):
    before, said = again(whole, tmp_path / "job"), []
    told = (tmp_path / "job" / "report.json").read_bytes()
    with pytest.raises(job.Cancelled):
        generate(tmp_path / "job", said.append, lambda: phase in [m.get("phase") for m in said])
    assert contents(tmp_path / "job" / "frames") == before
    assert (tmp_path / "job" / "report.json").read_bytes() == told


@pytest.mark.parametrize("killed_at", ["frames.before", "frames", "poster.png"])
def test_killed_while_the_frames_are_named_the_next_run_sets_it_right(whole, tmp_path, monkeypatch, killed_at):
    before = again(whole, tmp_path / "job")
    rename = Path.rename

    def killed(path, target):
        if target.name == killed_at:
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "job")
    monkeypatch.undo()
    _, said = run(tmp_path / "job")
    assert contents(tmp_path / "job" / "frames") == before and not (tmp_path / "job" / "frames.before").exists()
    assert not [m for m in said if m.get("phase") == "sample"], "all was sampled already"


def test_what_a_longer_shot_had_begun_is_no_frame_of_a_shorter_one(whole, tmp_path):
    job_maker.make_job(tmp_path / "job", **SMALL)
    (tmp_path / "job" / "frames.part").mkdir()
    (tmp_path / "job" / "frames.part" / "000009.png").write_bytes(b"old")
    run(tmp_path / "job")
    assert hashes(tmp_path / "job") == hashes(whole[0])


def test_another_seed_and_another_prompt_give_other_pictures(whole, tmp_path):
    first = iio.imread(whole[0] / "frames" / "000003.png").astype(int)
    for name, fields in (("seed", {"seed": 8}), ("night", {"prompt": "a red box on sand, at night"})):
        job_maker.make_job(tmp_path / name, **SMALL, **fields)
        run(tmp_path / name)
        other = iio.imread(tmp_path / name / "frames" / "000003.png").astype(int)
        assert np.abs(other - first).mean() > (0.2 if name == "seed" else 20)


@pytest.mark.parametrize("questions", [3, 15, 25, 40, 60])
def test_a_job_that_was_cut_off_goes_on_to_the_same_bytes(whole, tmp_path, questions):
    job_maker.make_job(tmp_path / "cut", **SMALL)
    with pytest.raises(job.Cancelled):
        run(tmp_path / "cut", job_maker.StopAfter(questions))
    run(tmp_path / "cut")
    assert hashes(tmp_path / "cut") == hashes(whole[0])


def test_a_kept_step_is_gone_on_from_and_a_spoilt_one_is_not(whole, tmp_path):
    folder = tmp_path / "spoilt"
    job_maker.make_job(folder, **SMALL)
    with pytest.raises(job.Cancelled):
        run(folder, job_maker.StopAfter(60))
    kept = [p for p in (folder / "state").glob("*.npy") if "step" in p.name or "key" in p.name]
    assert kept
    for path in kept:
        path.write_bytes(path.read_bytes()[:-50] + b"x" * 50)
    run(folder)
    assert hashes(folder) == hashes(whole[0])


def test_all_but_the_last_quarter_of_the_steps_are_taken_on_a_sketch_and_the_picture_stays(tmp_path, monkeypatch):
    """What noise decides is settled small: all steps at full size draw the same, to a level of 255 in the mean."""
    sizes: list[tuple[int, ...]] = []
    predicted = generating.predicted

    def told(run, clip):
        sizes.append(tuple(clip.x.shape[-2:]))
        return predicted(run, clip)

    monkeypatch.setattr(generating, "predicted", told)
    shot = dict(frames=5, width=144, height=80, steps=4, prompt="a red box on sand, snow, lit windows at night")
    job_maker.make_job(tmp_path / "sketched", **shot)
    run(tmp_path / "sketched")
    assert sizes == [(48, 80)] * 3 + [(80, 144)] + [(48, 80)] * 3 + [(80, 144)]  # the keyframe, then the window
    monkeypatch.setattr(generating, "DRAWN", 1)
    job_maker.make_job(tmp_path / "drawn", **shot)
    run(tmp_path / "drawn")
    assert sizes[8:] == [(80, 144)] * 8
    assert np.abs(frames(tmp_path / "sketched").astype(float) - frames(tmp_path / "drawn")).mean() < 1


def test_a_sketch_holds_true_pixels_in_whole_patches():
    maps = torch.arange(80 * 144.0).view(1, 1, 80, 144)
    small = generating.sketch(maps)
    assert small.shape == (1, 1, 48, 80) and torch.isin(small, maps).all() and len(small.unique()) == 48 * 80
    level = generating.sketch(maps * 0 + 0.25)
    assert torch.equal(generating.grown(level, maps), maps * 0 + 0.25)
    assert [generating.drawn_steps(n) for n in (1, 2, 4, 5, 8)] == [1, 1, 1, 2, 2]


def test_the_time_left_counts_a_sketch_for_less():
    assert generating.eta(3.0, 0, 3, 4, 0, 4) == pytest.approx(4.0), "three quarters of a step's work took 3 s"
    assert generating.eta(7.0, 0, 4, 4, 0, 8) == pytest.approx(7.0), "another such window"
    assert generating.eta(1.0, 2, 2, 4, 0, 4) is None and generating.eta(1.0, 0, 1, 4, 0, 0) is None


def test_a_changed_prompt_does_not_go_on_from_the_old_one(whole, tmp_path):
    folder = tmp_path / "changed"
    job_maker.make_job(folder, **SMALL, prompt="deep snow")
    with pytest.raises(job.Cancelled):
        run(folder, job_maker.StopAfter(60))
    job_maker.make_job(folder, **SMALL)
    run(folder)
    assert hashes(folder) == hashes(whole[0])


def test_a_long_shot_with_a_cut_is_sampled_in_windows_that_meet_softly(tmp_path, monkeypatch):
    monkeypatch.setattr(windows, "LONGEST", 13)
    monkeypatch.setattr(windows, "plan", lambda frames, cuts, longest: original(frames, cuts, 13))
    job_maker.make_job(tmp_path / "long", frames=26, width=96, height=64, steps=1, cuts=(0, 20), moving=False)
    _, said = run(tmp_path / "long")
    frames = np.stack([iio.imread(p) for p in sorted((tmp_path / "long" / "frames").iterdir())]).astype(float)
    assert len(frames) == 26
    change = np.abs(np.diff(frames, axis=0)).mean((1, 2, 3))
    within = np.delete(change, 19)
    assert within.max() < 3 * np.median(within), "a seam between windows shows"
    assert change[19] > 2 * np.median(within), "the cut is not where it was planned"
    assert max(m["steps"] for m in said if m.get("phase") == "sample") == 3


original = windows.plan


def test_keyframes_come_first_and_windows_look_back_on_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(windows, "plan", lambda frames, cuts, longest: original(frames, cuts, 13))
    job_maker.make_job(tmp_path / "long", frames=26, width=64, height=48, steps=1, moving=False)
    begun: list[set[str]] = []

    def say(news: dict) -> None:
        if news.get("phase") == "sample" and news.get("steps"):
            begun.append({p.stem for p in (tmp_path / "long" / "state").glob("*.npy")})

    generate(tmp_path / "long", say, lambda: False)
    count = len(original(26, [0], 13))
    assert count > 1 and begun[0] == {f"keyframe_{n:04d}" for n in range(count)}


def test_the_sky_follows_from_its_direction_alone(tmp_path):
    """Where a known frame ended, or a house stood before the sky, must not be drawn on it."""
    case = jobs.Case("sky", Brief(time="noon", place="street"), (9, 64, 96), 20_000_001, "colonnade")
    made = begin(open_shot(jobs.write(tmp_path, case, steps=1)), lambda _: None, lambda: False, store.BUNDLED)
    maps = torch.zeros(1, conditions.TOTAL, 64, 96)
    sky = ~torch.isfinite(made.shot.depth([8])[0])
    maps[0, conditions.SLICE["sky"]] = sky.float()
    prompt = read_prompt(made)
    look_back(made, prompt, maps, [8], [(0, np.full((64, 96, 3), 200, np.uint8))])
    known = maps[0, conditions.SLICE["has_cache"]][0] > 0
    assert sky.any() and known[~sky].float().mean() > 0.3
    assert not known[sky].any() and (maps[0, conditions.SLICE["cache"]][:, sky] == 0).all()


def test_frames_are_cropped_never_squeezed(whole, tmp_path):
    job_maker.make_job(tmp_path / "crop", **SMALL, crop=(8, 4, 80, 56))
    run(tmp_path / "crop")
    full, cropped = (iio.imread(f / "frames" / "000002.png") for f in (whole[0], tmp_path / "crop"))
    assert cropped.shape == (56, 80, 3)
    assert np.array_equal(cropped, full[4:60, 8:88])


def test_a_negative_prompt_at_guidance_1_is_told_and_above_1_works(tmp_path):
    job_maker.make_job(tmp_path / "one", **{**SMALL, "frames": 1}, negative_prompt="fog")
    report, _ = run(tmp_path / "one")
    assert any("no effect at guidance 1" in w for w in report["warnings"])
    job_maker.make_job(tmp_path / "two", **{**SMALL, "frames": 1}, negative_prompt="fog", guidance=2.0)
    report, _ = run(tmp_path / "two")
    assert report["warnings"] == []
    assert hashes(tmp_path / "one") != hashes(tmp_path / "two")


ODD = [None, True, "x", [], {}, [1, 2], 1e300, 10**400, [1e300] * 3, [10**400] * 3, ["a"] * 3, [[1], [2], [3]]]


def test_lights_that_are_written_oddly_are_left_out(tmp_path):
    good = {"type": "point", "position": [0, 0, 3], "rgb": [1, 0.9, 0.8], "energy": 100}
    lights = [good, *({**good, key: value} for key in ("type", "position", "rgb") for value in ODD), *ODD]
    lights += [{**good, "energy": value} for value in ODD if value is not True]
    job_maker.make_job(tmp_path / "odd", **SMALL, scene={"lights": lights, "sun": {"direction": [1e300] * 3}})
    shot = open_shot(tmp_path / "odd")
    assert len(lamps(shot)) == 1 and np.isfinite(lamps(shot)[0].position).all() and sun_facts(shot) is None
    for value in ODD:
        shot.job.scene.update(lights=value, sun=value)
        assert lamps(shot) == [] and sun_facts(shot) is None


def test_a_jobs_sizes_are_the_models():
    assert job.PATCH % lite.PATCH_SPACE == 0 and windows.STRIDE == lite.PATCH_TIME
    width, height = (-(-side // job.PATCH) * job.PATCH for side in (job.DEFAULT_WIDTH, job.DEFAULT_HEIGHT))
    assert (width, height) == job.DEFAULT_SIZE


def test_a_model_that_is_not_there_is_refused_by_name(tmp_path):
    job_maker.make_job(tmp_path / "other", **SMALL, model="wan")
    with pytest.raises(job.BadJob, match="'wan' is not on this machine; expected lite"):
        run(tmp_path / "other")


def frames(folder):
    return np.stack([iio.imread(path) for path in sorted((folder / "frames").iterdir())]).astype(float)


def made(folder, **fields):
    job_maker.make_job(folder, **(SMALL | {"frames": 1, "width": 160, "height": 96} | fields))
    report, _ = run(folder)
    return frames(folder), report


def test_a_material_in_the_prompt_is_laid_on_what_stands_and_leaves_the_ground(tmp_path):
    """Bricks redden the box, not the floor under it; the same prompt without a material changes neither."""
    bare, _ = made(tmp_path / "bare", prompt="at noon")
    brick, report = made(tmp_path / "brick", prompt="brick walls at noon")
    j = job.read(tmp_path / "bare")
    arrays = job.passes(j)
    side = (np.asarray(arrays["index"][0]) == job_maker.BOX) & (np.abs(np.asarray(arrays["normal"][0])[..., 2]) < 0.3)
    floor = (np.asarray(arrays["index"][0]) == job_maker.FLOOR) & (np.asarray(arrays["normal"][0])[..., 2] > 0.9)
    change = np.abs(brick - bare)[0].mean(-1)
    assert change[side].mean() > 4 * change[floor].mean() and change[side].mean() > 15
    assert not [w for w in report["warnings"] if "understood" in w]


def test_words_that_change_nothing_are_told(tmp_path):
    _, report = made(tmp_path / "job", prompt="a knight beside the Box at dusk, quetzalcoatl")
    assert "Not understood, so without effect: knight, quetzalcoatl" in " ".join(report["warnings"])


def test_the_scene_s_own_light_counts_where_the_prompt_leaves_it_open(tmp_path):
    """One stop more exposure is a brighter picture; a prompt that says what light there is overrules the scene."""
    world = {"rgb": [0.4, 0.5, 0.7], "strength": 0.5}
    sun = {"direction": list(job_maker.SUN), "colour": [1.0, 0.9, 0.8], "strength": 2.0}

    def mean(name, prompt, exposure):
        facts = {"sun": sun, "world": world, "exposure": exposure}
        return made(tmp_path / name, prompt=prompt, scene=facts)[0].mean()

    dark, light = mean("dark", "a box", -1.5), mean("light", "a box", 0.0)
    assert light > dark + 20
    assert abs(mean("a", "a box at night", -1.5) - mean("b", "a box at night", 0.0)) < 0.5


def test_a_large_job_is_sampled_small_and_ends_at_its_own_size(tmp_path):
    """Stopped while it writes frames, it goes on to the same bytes."""
    large = dict(frames=2, width=720, height=432, steps=1, crop=(8, 6, 704, 420))
    job_maker.make_job(tmp_path / "whole", **large)
    run(tmp_path / "whole")
    pictures = frames(tmp_path / "whole")
    assert pictures.shape == (2, 420, 704, 3)
    base = np.asarray(job.passes(job.read(tmp_path / "whole"))["base"][0])[6:426, 8:712]
    edges = [np.abs(np.diff(picture.mean(-1), axis=1)) for picture in (base.astype(float), pictures[0])]
    strong = edges[0] > 60
    assert strong.sum() > 100 and edges[1][strong].mean() > 20, "edges are as sharp as the passes', not as an upscale's"
    job_maker.make_job(tmp_path / "cut", **large)

    def stop() -> bool:
        return (tmp_path / "cut" / "frames.part" / "000001.png").exists()

    with pytest.raises(job.Cancelled):
        run(tmp_path / "cut", stop)
    run(tmp_path / "cut")
    assert hashes(tmp_path / "cut") == hashes(tmp_path / "whole")


def test_frames_that_are_made_beside_each_other_are_the_same_to_the_bit(tmp_path):
    case = jobs.Case("beside", Brief(time="noon", place="street"), (9, 64, 96), 20_000_001, "market")
    made = begin(open_shot(jobs.write(tmp_path, case, steps=1)), lambda _: None, lambda: False, store.BUNDLED)
    found = []
    for threads in (1, 3):
        made.at = replace(made.at, threads=threads)
        with torch.inference_mode():
            prompt = read_prompt(made)
            maps = window_maps(made, prompt, cast_shadows(made, prompt), list(range(9)))
            look_back(made, prompt, maps, list(range(9)), [(0, np.full((64, 96, 3), 200, np.uint8))])
            found.append((maps, window_noise(made, list(range(9)))))
    assert all(torch.equal(one, three) for one, three in zip(*found, strict=True))


def test_a_cancel_comes_out_of_frames_that_are_made_beside_each_other(tmp_path):
    case = jobs.Case("beside", Brief(time="noon", place="street"), (5, 32, 48), 20_000_001, "market")
    made = begin(open_shot(jobs.write(tmp_path, case, steps=1)), lambda _: None, lambda: False, store.BUNDLED)
    made.at, before = replace(made.at, threads=2), torch.get_num_threads()
    torch.set_num_threads(2)
    made.stop = lambda: True
    with pytest.raises(job.Cancelled):
        window_noise(made, [0, 1, 2, 3])
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
