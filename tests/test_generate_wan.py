"""Whole jobs through tiny Wan models: what they are told, windows, resuming, refusals, the ladder. Random weights: what
is judged is what the engine does with them, against the same chain done plainly."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from engine import generate_wan, job, need, official, registry, take, wan_conditions, wan_speed, windows
from engine import pictures as brought
from engine.diffusion import sampler, schedule, unipc
from engine.generate import generate
from engine.models.wan import controls, recipes
from engine.models.wan.cache import Cache
from engine.models.wan.transformer import Controls
from engine.shot import open_shot
from engine.weights import checkpoint, machine, networks
from engine.worker import explain

ROOT = Path(__file__).resolve().parent.parent
SMALL = {"frames": 3, "width": 64, "height": 48}  # two latent frames, the second padded


@pytest.fixture(scope="module")
def tiny(load_support):
    return load_support("tiny_wan")


@pytest.fixture(scope="module")
def shelf(tiny, tmp_path_factory):
    """The registry of tiny models."""
    return tiny.write(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    """A cache folder by whose probe 16 bits are no quicker here: what is compared is then compared in 32."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "shotlock").mkdir()
    answer = {"machine": machine._machine(), "precision": "float32"}
    (folder / "shotlock" / "precision.json").write_text(json.dumps(answer))
    return folder


@pytest.fixture(autouse=True)
def found(shelf, exact, monkeypatch):
    monkeypatch.setenv("SHOTLOCK_MODELS", str(shelf))
    monkeypatch.setenv("XDG_CACHE_HOME", str(exact))
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def scenes(job_maker, tmp_path_factory):
    """Captured folders to copy: making one takes longer than sampling it."""
    home, made = tmp_path_factory.mktemp("scenes"), {}

    def folder(path, **fields):
        captured = {key: fields.pop(key) for key in ("frames", "width", "height", "cuts", "crop") if key in fields}
        captured = SMALL | captured
        key = json.dumps(captured, default=list)
        if key not in made:
            made[key] = home / str(len(made))
            job_maker.make_job(made[key], **captured)
        shutil.copytree(made[key], path)
        job.write(replace(job.read(path), **{"model": "tiny-vace", "steps": 3, "prompt": "a red barn"} | fields))
        return path

    return folder


def run(folder, stop=lambda: False):
    said = []
    return generate(folder, said.append, stop), said


def hashes(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((folder / "frames").iterdir())}


def pictures(folder):
    return np.stack([iio.imread(p) for p in sorted((folder / "frames").iterdir())])


@pytest.fixture(scope="module")
def whole(scenes, tiny, shelf, exact, tmp_path_factory):
    """One finished job: folder, report, what was said, and how often it was asked whether to stop."""
    folder = scenes(tmp_path_factory.mktemp("whole") / "job")
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOTLOCK_MODELS", str(shelf))
        patch.setenv("XDG_CACHE_HOME", str(exact))
        report, said = run(folder, lambda: asked.append(1) and False)
    return folder, report, said, len(asked)


# ---------------------------------------------------------------- a job


def test_a_job_ends_with_every_frame_and_a_report(whole):
    folder, report, said, _ = whole
    assert [p.name for p in sorted((folder / "frames").iterdir())] == [f"{i:06d}.png" for i in range(1, 4)]
    assert not (folder / "state").exists() and not (folder / "frames.part").exists()
    assert report["frame_hashes"] == hashes(folder) and pictures(folder).shape == (3, 48, 64, 3)
    assert report["fps"] == {"scene": 24.0, "model": 16} and report["model"] == "tiny-vace"
    assert report["recipe"] == {"steps": 3, "shift": 16.0, "guidance": 5.0, "sampler": "unipc", "denoise": 1.0}
    assert report["sampled"] == {"size": [64, 48], "frames": [5], "windows": [1]}
    phases = [m["phase"] for m in said if "phase" in m]
    assert list(dict.fromkeys(phases)) == ["text", "conditions", "sample", "decode", "measure"]
    assert any("preview" in m for m in said)
    (note,) = [m["note"] for m in said if "note" in m]
    assert note.startswith("Needs ") and need.RUNGS[0].words in note


def by_hand(folder, shelf):
    """The same frames, with the networks alone and nothing but tensors in memory."""
    shot = open_shot(folder)
    where = shelf.parent
    wan, vae, text = (
        checkpoint.load(checkpoint.open_set(where / f"{file}.safetensors"))
        for file in ("tiny-vace", "vae2.1", "umt5")
    )
    tokens = checkpoint.tokenizer(where / "umt5.safetensors")
    said = [text.prompt(tokens.prompt(words)) for words in ("a red barn", generate_wan.AVOIDED)]
    frames = [min(i, 2) for i in range(5)]
    depth = shot.depth(frames)
    limits = controls.nearness_range(shot.depth(job.spread(3)))
    video = controls.depth_video(depth, limits)
    told = Controls(vace=controls.vace(video, torch.ones(5, 48, 64), vae.encode))
    x = torch.stack([
        torch.randn(16, 6, 8, generator=torch.Generator().manual_seed(7 * 1_000_003 + t)) for t in range(2)], 1)[None]
    sigmas, past = recipes.sigmas(3, 16.0), None
    for i in range(3):
        t = torch.tensor([recipes.timestep(sigmas[i])])
        both = wan(x.expand(2, -1, -1, -1, -1), t, torch.cat([wan.read_text(s) for s in said]), told)
        v = sampler.guide(both[:1], both[1:], 5.0)
        x, past = unipc.step(x, schedule.clean(x, v, sigmas[i]), sigmas, i, past)
    return take.to_bytes(vae.decode(x)[0].permute(1, 0, 2, 3))[:3]


def test_its_frames_are_those_of_the_networks_themselves(whole, shelf):
    """Whose chain is compared with diffusers' in test_wan_whole.py."""
    with torch.no_grad():
        expected = by_hand(whole[0], shelf)
    apart = np.abs(pictures(whole[0]).astype(int) - expected)
    assert expected.std() > 20 and apart.max() <= 1 and apart.mean() < 0.01


def test_the_same_job_gives_the_same_bytes_and_a_seed_other_ones(whole, scenes, tmp_path):
    run(scenes(tmp_path / "again"))
    run(scenes(tmp_path / "seed", seed=8))
    assert hashes(tmp_path / "again") == hashes(whole[0])
    assert np.abs(pictures(tmp_path / "seed").astype(int) - pictures(whole[0])).mean() > 5


# ---------------------------------------------------------------- stopping and going on


@pytest.mark.parametrize("share", [0.05, 0.35, 0.65, 0.95])
def test_stopped_anywhere_it_goes_on_to_the_same_bytes(whole, scenes, job_maker, tmp_path, share):
    folder = scenes(tmp_path / "job")
    with pytest.raises(job.Cancelled):
        run(folder, job_maker.StopAfter(int(share * whole[3])))
    assert not (folder / "frames").exists()
    run(folder)
    assert hashes(folder) == hashes(whole[0])


def test_after_every_step_the_samplers_past_is_kept(whole, scenes, tmp_path):
    folder, steps = scenes(tmp_path / "job"), []

    def stop_after_a_step():
        found = sorted((folder / "state").glob("clip_000_step_*.npy"))
        names = [p.name for p in found]
        if names and names[-1] not in steps:
            steps.append(names[-1])
            return len(steps) > 1
        return False

    for _ in range(8):
        try:
            run(folder, stop_after_a_step)
            break
        except job.Cancelled:
            continue
    assert steps == ["clip_000_step_0.npy", "clip_000_step_1.npy", "clip_000_step_2.npy"]
    assert hashes(folder) == hashes(whole[0])


def test_a_damaged_step_is_made_again(whole, scenes, tmp_path):
    folder = scenes(tmp_path / "job")
    with pytest.raises(job.Cancelled):
        run(folder, lambda: (folder / "state" / "clip_000_step_2.npy").exists())
    path = folder / "state" / "clip_000_step_2.npy"
    path.write_bytes(path.read_bytes()[:-100] + b"\0" * 100)
    _, said = run(folder)
    assert hashes(folder) == hashes(whole[0])
    assert min(m["step"] for m in said if m.get("phase") == "sample") < 2


def test_it_is_asked_between_all_blocks(scenes, tmp_path, monkeypatch):
    """So that a stop is seen within one block, of which a GPU has at most two before it."""
    passes = []
    forward = checkpoint.Wan.forward

    def counted(self, x, t, text, told, tick):
        ticks = []
        out = forward(self, x, t, text, told, lambda: (ticks.append(1), tick()))
        passes.append(len(ticks))
        return out

    monkeypatch.setattr(checkpoint.Wan, "forward", counted)
    run(scenes(tmp_path / "job", steps=1))
    assert passes == [4]  # two blocks and two of VACE's


# ---------------------------------------------------------------- windows


@pytest.fixture
def short_windows(monkeypatch):
    """`short_windows(frames)`: models whose windows have so many, of which they share two latent ones."""
    whole = recipes.of_config

    def short(frames):
        monkeypatch.setattr(recipes, "of_config", lambda *a: replace(whole(*a), frames=frames))
        monkeypatch.setattr(generate_wan, "OVERLAP", 2)

    return short


def test_a_long_shot_blends_predictions_and_is_decoded_once(scenes, tmp_path, short_windows, monkeypatch):
    """29 frames: eight latent ones, in windows of five that share two, of which the first only leads in."""
    short_windows(17)
    seen = []
    predict = generate_wan.predict

    def noted(run, told, window, *rest):
        out = predict(run, told, window, *rest)
        seen.append((window.start, window.stop, rest[-1], out.clone()))  # what comes of it is blended in its place
        return out

    monkeypatch.setattr(generate_wan, "predict", noted)
    folder, kept = scenes(tmp_path / "job", frames=29, width=48, height=32, guidance=1.0, steps=2), {}
    settle = generate_wan.write_frames

    def keeping(run, clip):
        kept["clean"] = np.array(run.state.find("clip_000_clean"))
        settle(run, clip)

    monkeypatch.setattr(generate_wan, "write_frames", keeping)
    report, _ = run(folder)
    assert report["sampled"] == {"size": [48, 32], "frames": [29], "windows": [2]}
    assert [s[:3] for s in seen] == [(0, 5, 0), (3, 8, 0), (0, 5, 1), (3, 8, 1)]
    first, second = (s[3] for s in seen[2:])  # of the last step, whose prediction is the clean clip
    expected = torch.cat([first[:, :, :4], 0.5 * (first[:, :, 4:] + second[:, :, 1:2]), second[:, :, 2:]], 2)
    assert np.abs(kept["clean"][:1] - expected.numpy()).max() < 1e-6
    assert len(list((folder / "frames").iterdir())) == 29


def test_windows_lead_in_and_sum_to_one():
    plan = windows.plan(40, [0], 21, 4)
    for number in range(len(plan)):
        for frame in windows.owned(plan, number):
            shares = windows.weights(plan, number, frame, 1)
            assert abs(sum(share for _, share in shares) - 1) < 1e-12
            if frame == plan[number].start and not plan[number].first:
                assert dict(shares)[number] == 0


def test_memory_does_not_grow_with_the_shot(scenes, tmp_path, short_windows, load_support):
    """Two windows, then four."""
    short_windows(9)
    live = load_support("live")
    peaks = []
    for frames in (13, 21):
        folder = scenes(tmp_path / str(frames), frames=frames, steps=1, guidance=1.0, width=32, height=32)
        with live.Live() as counted:
            run(folder)
        peaks.append(counted.peak)
    assert abs(peaks[1] - peaks[0]) < 0.02 * peaks[0]


def test_cuts_begin_new_clips(scenes, tmp_path):
    report, _ = run(scenes(tmp_path / "job", frames=5, cuts=(0, 3), steps=1))
    assert report["sampled"]["frames"] == [5, 5] and len(report["frame_hashes"]) == 5


# ---------------------------------------------------------------- what a model is told


def accepted(folder, scenes_truth, *frames):
    """Puts true pictures of some frames into the job."""
    truth = scenes_truth(folder)
    (folder / "known").mkdir()
    for f in frames:
        iio.imwrite(folder / "known" / f"{f}.png", truth[f])
    return tuple({"frame": f, "picture": f"known/{f}.png"} for f in frames)


def with_known(scenes, job_maker, path, *frames, **fields):
    folder = scenes(path, **fields)
    known = accepted(folder, job_maker.truth, *frames)
    job.write(replace(job.read(folder), known=known))
    return folder


def test_an_accepted_frame_is_known_itself_and_wherever_its_surfaces_are_seen(scenes, job_maker, tmp_path):
    folder = with_known(scenes, job_maker, tmp_path / "job", 0, frames=6, width=96, height=64)
    shot, truth = open_shot(folder), job_maker.truth(folder)
    seen = brought.known(shot, shot)
    own, valid = seen.seen(0)
    assert valid.all() and np.array_equal(take.to_bytes(own[None])[0], truth[0])
    colour, valid = seen.seen(3)
    apart = np.abs(take.to_bytes(colour[None])[0].astype(int) - truth[3]).max(-1)
    assert 0.5 < valid.float().mean() < 0.99 and np.median(apart[valid.numpy()]) <= 4
    video, free = wan_conditions.composite(shot, seen, wan_conditions.depth_limits(shot), [0, 3])
    assert torch.equal(free[1] == 0, valid) and torch.equal(video[:, 1][:, valid], colour[:, valid])
    guide = wan_conditions.guide(shot, wan_conditions.depth_limits(shot), [3])[:, 0]
    assert torch.equal(video[:, 1][:, ~valid], guide[:, ~valid])


def test_the_context_of_a_clip_is_that_of_the_whole_video(scenes, job_maker, tmp_path, monkeypatch, shelf):
    """Chunk by chunk onto the disk, two videos side by side, with a reference picture in front."""
    folder = with_known(scenes, job_maker, tmp_path / "job", 0, 2, steps=1)
    iio.imwrite(folder / "subject.png", np.full((40, 20, 3), 77, np.uint8))
    job.write(replace(job.read(folder), references=("subject.png",)))
    kept = {}
    sample = generate_wan.sample
    monkeypatch.setattr(
        generate_wan, "sample",
        lambda r, c, *a: kept.update(vace=np.array(r.state.find("clip_000_vace"))) or sample(r, c, *a))
    run(folder)
    shot = open_shot(folder)
    seen = brought.known(shot, shot)
    video, free = wan_conditions.composite(
        shot, seen, wan_conditions.depth_limits(shot), [min(i, 2) for i in range(5)])
    vae = checkpoint.load(checkpoint.open_set(shelf.parent / "vae2.1.safetensors"))
    subject = brought.reference(folder / "subject.png", (64, 48))
    assert subject[:, :, 19].max() == 1 and abs(float(subject[0, 24, 32]) - (77 / 127.5 - 1)) < 1e-6
    with torch.no_grad():
        expected = controls.vace(video, free, vae.encode, [subject])[0].numpy()
    assert kept["vace"].shape == (96, 3, 6, 8) and np.abs(kept["vace"] - expected).max() < 1e-4


@pytest.fixture(scope="module")
def plain(scenes, shelf, tmp_path_factory):
    """`plain(model, **fields)`: the frames of a job through that model, with nothing told beside the scene."""
    made = {}

    def pictures_of(model, **fields):
        key = json.dumps([model, fields])
        if key not in made:
            report, _ = run(folder := scenes(tmp_path_factory.mktemp("plain") / "job", model=model, **fields))
            made[key] = pictures(folder).astype(int)
            assert len(report["frame_hashes"]) == len(made[key]) == 3
        return made[key]

    return pictures_of


FREE = {"control_strength": 0.0}


@pytest.mark.parametrize("model, fields", [
    ("tiny-camera", {}), ("tiny-control", {}), ("tiny-text", FREE), ("tiny-experts", {}),
    ("tiny-text", {"denoise": 0.5})])
def test_every_kind_of_model_makes_its_frames(plain, model, fields):
    assert plain(model, **fields).std() > 5


@pytest.mark.parametrize("model, fields", [
    ("tiny-ti2v", FREE), ("tiny-camera", {}), ("tiny-control", {}), ("tiny-camera-clip", {})])
def test_models_that_go_on_from_a_first_frame(scenes, job_maker, plain, tmp_path, model, fields):
    run(with_known(scenes, job_maker, tmp_path / "job", 0, model=model, **fields))
    assert np.abs(pictures(tmp_path / "job") - plain(model, **fields)).mean() > 1


@pytest.mark.parametrize("model, frames", [("tiny-image", (0,)), ("tiny-image-clip", (0,)), ("tiny-ends", (0, 2))])
def test_models_that_were_never_trained_without_a_first_frame(scenes, job_maker, tmp_path, monkeypatch, model, frames):
    """They are given it, or say that they lack it; CLIP's tokens are those of its network, which is freed."""
    held, sample = {}, generate_wan.sample

    def noted(run, clip, states, names):
        held.update({name: np.array(run.state.find(f"clip_000_{name}")) for name in ("image", "extra")
                     if f"clip_000_{name}" in names}, networks=set(run.model.held))  # fmt: skip
        sample(run, clip, states, names)

    monkeypatch.setattr(generate_wan, "sample", noted)
    folder = with_known(scenes, job_maker, tmp_path / "job", *frames, model=model, **FREE, steps=1)
    run(folder)
    mask = held["extra"][:4].max((2, 3))  # of frames 1 to 4, of which the last two repeat frame 2
    assert mask[:, 0].tolist() == [1, 1, 1, 1] and mask[:, 1].tolist() == [0, *[int(2 in frames)] * 3]
    if model != "tiny-image":
        shot = open_shot(folder)
        shown = torch.stack([brought.known(shot, shot).pictures[f][0] for f in frames])
        encoder = checkpoint.load(checkpoint.open_set(registry.read().models[model].files["image"]))
        with torch.no_grad():
            expected = encoder(shown).flatten(0, 1).numpy()
        assert np.abs(held["image"] - expected).max() < 1e-5 and "image" not in held["networks"]
    job.write(replace(job.read(folder), id="without", known=()))
    with pytest.raises(job.BadJob, match="goes on from a first frame, and the job has none"):
        run(folder)


def test_a_known_first_latent_stays_as_it_is(scenes, job_maker, tmp_path, monkeypatch):
    """TI2V: it is clean at every step, and the network is told so."""
    told = []
    forward = checkpoint.Wan.forward
    monkeypatch.setattr(
        checkpoint.Wan, "forward", lambda self, x, t, *a: told.append((x[:, :, 0], t)) or forward(self, x, t, *a))
    run(with_known(scenes, job_maker, tmp_path / "job", 0, model="tiny-ti2v", control_strength=0.0))
    assert all(t.shape[-1] == 2 and (t[:, 0] == 0).all() and (t[:, 1:] > 0).all() for _, t in told)
    assert len(told) == 3 and all(torch.equal(x, told[0][0]) for x, _ in told)


def test_experts_take_turns_at_their_boundary(scenes, tmp_path, monkeypatch):
    seen = []
    part = generate_wan.Networks.part
    monkeypatch.setattr(
        generate_wan.Networks, "part", lambda self, s: seen.append((s, out := part(self, s))) or out)
    run(scenes(tmp_path / "job", model="tiny-experts", steps=6))
    assert [p for _, p in seen] == ["transformer" if int(s * 1000) >= 875 else "transformer_low" for s, _ in seen]
    assert {p for _, p in seen} == {"transformer", "transformer_low"}


@pytest.mark.parametrize("model", ["tiny-vace", "tiny-camera", "tiny-control"])
def test_control_begins_and_ends_where_it_is_asked_to(scenes, tmp_path, monkeypatch, model):
    told = []
    forward = checkpoint.Wan.forward

    def noted(self, x, t, text, pinned, tick):
        strong = pinned.strength if pinned.vace is not None else None
        drawn = None if pinned.extra is None else float(pinned.extra[:, :16].abs().sum())
        told.append((strong, pinned.camera is not None, drawn))
        return forward(self, x, t, text, pinned, tick)

    monkeypatch.setattr(checkpoint.Wan, "forward", noted)
    fields = {"control_strength": 0.5, "control_start": 0.25, "control_end": 0.75, "steps": 4}
    run(scenes(tmp_path / "job", model=model, **fields))
    index = {"tiny-vace": 0, "tiny-camera": 1, "tiny-control": 2}[model]
    values = [t[index] for t in told]
    assert bool(values[1]) and values[1] == values[2] and not values[0] and not values[3]
    assert model != "tiny-vace" or values[1] == 0.5


def test_rays_of_a_window_begin_with_its_own_first_camera(scenes, tmp_path):
    folder = scenes(tmp_path / "job", frames=17)
    shot = open_shot(folder)
    clip = wan_conditions.Clip(0, 0, 17, generate_wan.shapes.LatentShape(16, 5, 6, 8))
    assert wan_conditions.window_frames(clip, 0, 3) == list(range(9))
    assert wan_conditions.window_frames(clip, 2, 3) == list(range(8, 17))
    found = wan_conditions.rays(shot, wan_conditions.window_frames(clip, 2, 3))
    assert found.shape == (1, 24, 3, 48, 64) and found[0, :12, 0].abs().max() < 1e-6  # no moment: it stands at 0


def test_less_noise_begins_with_the_base_colours(scenes, tmp_path, shelf):
    """Nearly none: what comes out is what the base colours' latents are decoded to."""
    folder = scenes(tmp_path / "job", denoise=0.02, steps=1, control_strength=0.0, guidance=1.0)
    shot = open_shot(folder)
    run(folder)
    vae = checkpoint.load(checkpoint.open_set(shelf.parent / "vae2.1.safetensors"))
    with torch.no_grad():
        video = wan_conditions.base_colours(shot, [min(i, 2) for i in range(5)])
        expected = take.to_bytes(vae.decode(vae.encode(video[None]))[0].permute(1, 0, 2, 3))[:3].astype(int)
    apart = np.abs(pictures(folder).astype(int) - expected).mean()
    other = np.abs(255 - expected - expected).mean()
    assert apart < 0.2 * other and recipes.sigmas(1, 16.0, 0.02)[0] == pytest.approx(0.02)
    sky = ~torch.isfinite(shot.depth([0])[0])
    assert (wan_conditions.base_colours(shot, [0])[:, 0][:, sky] == 0).all()


def test_the_command_makes_the_same_frames_and_ends_within_a_block_of_a_signal(whole, scenes, tmp_path):
    """`python -m engine run FOLDER`, stopped by Ctrl-C while it samples, then run again."""
    folder = scenes(tmp_path / "job")
    command = [sys.executable, "-m", "engine", "run", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("sample 1/"):
                process.send_signal(signal.SIGINT)
        assert process.wait() == 130 and any(line.startswith("Needs ") for line in said)
    assert (folder / "state").exists() and not (folder / "frames").exists()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "sample 0/" not in done.stderr and json.loads(done.stdout)["model"] == "tiny-vace"
    assert np.abs(pictures(folder).astype(int) - pictures(whole[0])).max() <= 1


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize("number", range(1, len(need.RUNGS) - 1))
def test_every_rung_makes_the_same_frames(whole, scenes, tmp_path, monkeypatch, number):
    """Down to weights in 8 bits, whose words say that they are another matter."""
    monkeypatch.setattr(need, "on_processor", lambda *_: number)
    monkeypatch.setattr(need, "TILE", 48 * 48)
    report, said = run(scenes(tmp_path / "job"))
    apart = np.abs(pictures(tmp_path / "job").astype(int) - pictures(whole[0]))
    assert report["memory"]["rung"] == need.RUNGS[number].words in next(m["note"] for m in said if "note" in m)
    if need.RUNGS[number].eight_bit:
        assert 0 < apart.mean() < 25
    else:
        assert apart.max() <= 1


def test_where_memory_runs_out_it_goes_on_one_rung_lower(scenes, tmp_path, load_support):
    """The limit lies inside of torch's operations; what fits with one network at a time gets there in two."""
    large = {"steps": 1, "width": 96, "height": 64}
    live, free, folder = load_support("live"), scenes(tmp_path / "free", **large), scenes(tmp_path / "job", **large)
    with live.Live() as counted:
        run(free)
    with live.Live(0.9 * counted.peak):
        report, said = run(folder)
    notes = [m["note"] for m in said if "note" in m]
    down = "Memory ran out while everything stays loaded; goes on from the last step: the text encoder runs first"
    assert any(note.startswith(down) for note in notes) and any(w.startswith(down) for w in report["warnings"])
    assert report["memory"]["rung"] == need.RUNGS[2].words
    assert np.abs(pictures(folder).astype(int) - pictures(free)).max() <= 1


def test_out_of_memory_in_the_last_step_costs_no_earlier_one(whole, scenes, tmp_path, monkeypatch):
    made, forward = [], checkpoint.Wan.forward

    def failing(self, x, t, *rest):
        made.append(float(t[0]))
        if len(made) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(self, x, t, *rest)

    monkeypatch.setattr(checkpoint.Wan, "forward", failing)
    run(scenes(tmp_path / "job"))
    assert len(made) == 4 and made[3] == made[2] and np.abs(
        pictures(tmp_path / "job").astype(int) - pictures(whole[0])).max() <= 1


def test_where_nothing_fits_it_says_so_and_keeps_its_steps(scenes, tmp_path, monkeypatch):
    def failing(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(checkpoint.Wan, "forward", failing)
    folder = scenes(tmp_path / "job")
    with pytest.raises(MemoryError, match="out of memory") as refused:
        run(folder)
    assert explain(refused.value).code == 5 and (folder / "state" / "clip_000_step_0.npy").exists()


# ---------------------------------------------------------------- speed


def noted_passes(monkeypatch):
    """Every pass of the transformer: its batch, and how many blocks ran."""
    passes, forward = [], checkpoint.Wan.forward

    def noted(self, x, t, text, told, tick):
        ticks = []
        out = forward(self, x, t, text, told, lambda: (ticks.append(1), tick()))
        passes.append((len(x), len(ticks)))
        return out

    monkeypatch.setattr(checkpoint.Wan, "forward", noted)
    return passes


def test_guidance_is_batched_and_ends_where_it_is_asked_to(whole, scenes, tmp_path, monkeypatch):
    passes = noted_passes(monkeypatch)
    sigmas = recipes.sigmas(3, 16.0)
    run(scenes(tmp_path / "job", speed={"guidance_until": (sigmas[1] + sigmas[2]) / 2}))
    assert [batch for batch, _ in passes] == [2, 2, 1]
    assert np.abs(pictures(tmp_path / "job").astype(int) - pictures(whole[0])).mean() > 0.5


def test_a_cache_leaves_blocks_out_and_tells_its_error(whole, scenes, tmp_path, monkeypatch):
    passes = noted_passes(monkeypatch)
    report, _ = run(scenes(tmp_path / "job", speed={"cache": 100.0}, steps=4))
    assert [blocks for _, blocks in passes] == [4, 4, 2, 2]  # the second is measured; a first block and its hint
    told = report["speed"]["cache"]
    assert told["passes"] == 4 and told["left_out"] == 2 and told["error"] > 0 and 0 < told["change"] < 100
    report, _ = run(scenes(tmp_path / "strict", speed={"cache": 1e-9}))
    assert report["speed"]["cache"]["left_out"] == 0 and hashes(tmp_path / "strict") == hashes(whole[0])


def test_a_cache_gives_again_what_the_blocks_added():
    """x + r + rest': the equation, by hand."""
    cache, x = Cache(0.5, "a"), torch.zeros(1, 2, 2)
    for first, rest in ((1.0, 5.0), (1.1, 7.0)):
        x = torch.zeros(1, 2, 2)
        cache.begin(x)
        x += first
        assert not cache.enough(x)  # nothing is kept yet; then the error is measured
        x += rest
        cache.keep(x)
    assert cache.error == pytest.approx(2 / 7)
    x = torch.full((1, 2, 2), 10.0)
    cache.begin(x)
    x += 1.2
    assert cache.enough(x) and torch.allclose(x, torch.full((1, 2, 2), 10 + 1.2 + 7.0)) and cache.left_out == 1
    cache.begin(x)
    x += 1.7  # more than half of 1.1 away
    assert not cache.enough(x)


def test_compiled_blocks_make_the_same_frames(whole, scenes, tmp_path, monkeypatch):
    """By the compiler's front, which finds what it could not follow; what is behind it takes minutes here."""
    monkeypatch.setattr(wan_speed, "BACKEND", "eager")
    graphs = torch._dynamo.utils.counters
    graphs.clear()
    report, _ = run(scenes(tmp_path / "job", speed={"compile": True}))
    assert graphs["stats"]["unique_graphs"] >= 2 and not graphs["graph_break"] and not report["warnings"]
    assert np.abs(pictures(tmp_path / "job").astype(int) - pictures(whole[0])).max() <= 1


def test_products_in_eight_bits_are_near_those_in_thirty_two(whole, scenes, tmp_path):
    report, _ = run(scenes(tmp_path / "job", speed={"products": "fp8", "decode": "bf16"}))
    apart = np.abs(pictures(tmp_path / "job").astype(int) - pictures(whole[0])).mean()
    assert 0 < apart < 25 and [w.split(":")[0] for w in report["warnings"]] == ["Pictures are decoded in 32 bits"]


@torch.no_grad()
def test_pictures_are_decoded_in_sixteen_bits_where_that_is_near_enough(shelf, monkeypatch):
    vae = checkpoint.load(checkpoint.open_set(shelf.parent / "vae2.1.safetensors"))
    latents = torch.randn(1, 16, 2, 4, 6, generator=torch.Generator().manual_seed(1))
    exact = vae.decode(latents)
    found = wan_speed.decode_small(vae, latents)
    assert found["taken"] == (found["levels"] <= wan_speed.LEVELS)
    vae.compute = torch.bfloat16
    assert float((vae.decode(latents) - exact).abs().mean()) * 127.5 == pytest.approx(found["levels"], abs=1e-3)
    monkeypatch.setattr(wan_speed, "LEVELS", 0.0)
    assert not wan_speed.decode_small(vae, latents)["taken"] and vae.compute == torch.float32


def test_what_a_machine_cannot_do_for_speed_is_told(scenes, tmp_path, monkeypatch):
    monkeypatch.setattr(wan_speed, "BACKEND", "no such compiler")
    monkeypatch.setattr(wan_speed, "scaled_product", lambda *_: (_ for _ in ()).throw(RuntimeError("no such kernel")))
    report, _ = run(scenes(tmp_path / "job", steps=1, speed={"compile": True, "products": "fp8"}))
    assert [w.split(":")[0] for w in report["warnings"]] == [
        "The blocks are not compiled", "Matrix products in 8 bits are not to be had here"]


# ---------------------------------------------------------------- LoRAs


def lora_registry(shelf, tmp_path, monkeypatch, tensors, recipe=None):
    save_file(tensors, tmp_path / "lora.safetensors")
    lora = registry.Lora("film", tmp_path / "lora.safetensors", recipe=recipe)
    found = replace(registry.with_lora(registry.read(shelf), lora), path=tmp_path / "models.json")
    monkeypatch.setenv("SHOTLOCK_MODELS", str(registry.write(found)))


@pytest.mark.parametrize("names", [
    ("diffusion_model.blocks.0.self_attn.q.lora_down.weight", "diffusion_model.blocks.0.self_attn.q.lora_up.weight",
     "diffusion_model.blocks.0.self_attn.q.alpha"),
    ("transformer.blocks.0.attn1.to_q.lora_A.weight", "transformer.blocks.0.attn1.to_q.lora_B.weight",
     "transformer.blocks.0.attn1.to_q.alpha"),
    ("lora_unet__blocks_0_self_attn_q.lora_down.weight", "lora_unet__blocks_0_self_attn_q.lora_up.weight",
     "lora_unet__blocks_0_self_attn_q.alpha")])
def test_a_lora_changes_the_weights_that_it_names(shelf, tmp_path, monkeypatch, names):
    """W + s alpha / rank up down, under the names that go about."""
    down, up = torch.randn(4, 128), torch.randn(128, 4)
    lora_registry(shelf, tmp_path, monkeypatch, dict(zip(names, (down, up, torch.tensor(2.0)), strict=True)))
    listed = registry.read()
    model = networks.open_model(listed.models["tiny-vace"], "cpu", torch.float32)
    plain = model.get("transformer").blocks[0].self_attn.q.weight.clone()
    model.let_go()
    assert networks.merge(model, [(listed.loras["film"], 0.5)]) == []
    found = model.get("transformer")
    assert torch.allclose(found.blocks[0].self_attn.q.weight, plain + 0.5 * 2 / 4 * up @ down, atol=1e-5)
    other = checkpoint.load(model.opened["transformer"])
    assert torch.equal(found.blocks[0].self_attn.k.weight, other.blocks[0].self_attn.k.weight)


def test_a_lora_of_few_steps_brings_its_recipe_and_what_does_not_fit_is_told(shelf, scenes, tmp_path, monkeypatch):
    few = official.FEW_STEPS
    tensors = {f"diffusion_model.blocks.{i}.ffn.0.lora_{part}.weight": value for i in (0, 9)
               for part, value in (("down", torch.randn(2, 128)), ("up", torch.randn(96, 2)))}
    lora_registry(shelf, tmp_path, monkeypatch, tensors, few)
    report, _ = run(scenes(tmp_path / "job", loras=({"name": "film"},), steps=None))
    assert report["recipe"] == {"steps": 4, "shift": 5.0, "guidance": 1.0, "sampler": "euler", "denoise": 1.0}
    assert report["warnings"] == ["Of the LoRA film, 1 of 2 layers have no place in this model"]
    with pytest.raises(ValueError, match="one half"):
        lora_registry(shelf, tmp_path, monkeypatch, {"blocks.0.ffn.0.lora_down.weight": torch.zeros(2, 128)})
        run(scenes(tmp_path / "half", loras=({"name": "film"},)))


# ---------------------------------------------------------------- sizes


def test_a_shot_of_one_frame_is_one_latent_frame(scenes, tmp_path):
    report, _ = run(scenes(tmp_path / "job", frames=1, width=32, height=80, steps=1))
    assert report["sampled"] == {"size": [32, 80], "frames": [1], "windows": [1]}
    assert pictures(tmp_path / "job").shape == (1, 80, 32, 3)


def test_frames_have_the_size_that_was_asked_for(scenes, tmp_path):
    fields = {"model": "tiny-ti2v", "control_strength": 0.0, "steps": 1}
    folder = scenes(tmp_path / "job", width=80, height=48, crop=(4, 2, 70, 42), **fields)
    report, _ = run(folder)
    assert report["sampled"]["size"] == [96, 64] and pictures(folder).shape == (3, 42, 70, 3)


@pytest.mark.parametrize("size, pixels, expected", [
    ((832, 480), 832 * 480, (832, 480)), ((1920, 1088), 832 * 480, (832, 480)), ((1280, 720), 1280 * 720, (1280, 720)),
    ((448, 256), 832 * 480, (448, 256)), ((1088, 1920), 832 * 480, (480, 832)), ((4096, 16), 832 * 480, (4096, 16))])
def test_pictures_are_sampled_within_the_models_pixels(size, pixels, expected):
    from types import SimpleNamespace

    recipe = replace(recipes.RECIPES["Wan2.1-VACE-1.3B"], pixels=pixels)
    model = SimpleNamespace(latents=SimpleNamespace(stride=8))
    found = generate_wan.sampled_size(size, recipe, model)
    assert found == expected and found[0] * found[1] <= pixels
    assert abs(np.log(found[0] / found[1] * size[1] / size[0])) < 0.1


def test_larger_pictures_are_enlarged(scenes, tmp_path, monkeypatch):
    whole = recipes.of_config
    monkeypatch.setattr(recipes, "of_config", lambda *a: replace(whole(*a), pixels=64 * 48))
    folder = scenes(tmp_path / "job", width=128, height=96, steps=1)
    report, _ = run(folder)
    assert report["sampled"]["size"] == [64, 48] and pictures(folder).shape == (3, 96, 128, 3)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("fields, sentence", [
    ({"model": "sora"}, "'sora' is not on this machine; expected lite, tiny-vace"),
    ({"model": "tiny-text"}, "Tiny Text can be told neither depth nor camera"),
    ({"model": "tiny-image"}, "Tiny Image can be told neither depth nor camera"),
    ({"model": "tiny-ends", "control_strength": 0.0, "known": ({"frame": 0, "picture": "a.png"},)},
     "Tiny Ends goes from a first frame to a last one, and the job has one of them"),
    ({"model": "tiny-ends", "control_strength": 0.0, "known": ({"frame": 1, "picture": "a.png"},)},
     "the first and the last frame only, not frame 1"),
    ({"model": "tiny-image", "control_strength": 0.0, "known": ({"frame": 2, "picture": "a.png"},)},
     "the first frame only, not frame 2"),
    ({"model": "tiny-camera", "references": ("a.png",)}, "Tiny Camera has no input for reference pictures"),
    ({"model": "tiny-control", "references": ("a.png", "a.png")}, "reads 1 reference pictures at most, not 2"),
    ({"references": ("a.png",) * 4}, "reads 3 reference pictures at most, not 4"),
    ({"model": "tiny-camera", "known": ({"frame": 2, "picture": "a.png"},)}, "the first frame only, not frame 2"),
    ({"model": "tiny-text", "control_strength": 0.0, "known": ({"frame": 0, "picture": "a.png"},)},
     "no input for known frames"),
    ({"control_strength": 0.0, "references": ("a.png",)}, "its control, which is 0"),
    ({"loras": ({"name": "nobody", "strength": 1.0},)}, "'nobody' is not on this machine"),
    ({"model": "lite", "loras": ({"name": "nobody", "strength": 1.0},)}, "the lite model can't be told LoRAs"),
    ({"model": "lite", "denoise": 0.5}, "the lite model can't be told a start from the base colours"),
])
def test_what_a_model_cannot_be_told_is_refused_by_name(scenes, tmp_path, fields, sentence):
    folder = scenes(tmp_path / "job")
    iio.imwrite(folder / "a.png", np.zeros((8, 8, 3), np.uint8))
    job.write(replace(job.read(folder), **fields))
    with pytest.raises(job.BadJob, match=sentence) as refused:
        run(folder)
    assert "\n" not in str(refused.value) and not (folder / "frames.part").exists()


def test_files_that_are_gone_or_strangers_are_named(shelf, scenes, tmp_path, monkeypatch):
    table = json.loads(shelf.read_text())
    files = table["models"]["tiny-vace"]["files"]
    away = {name: str(shelf.parent / file) for name, file in files.items()}
    for changed, sentence in (
        ({"text": "/nowhere/umt5.safetensors"}, "umt5.safetensors of the model m is not there"),
        ({"autoencoder": str(shelf.parent / "vae2.2.safetensors")}, "latents of 48 channels"),
        ({"transformer": away["autoencoder"]}, "is an autoencoder of the Wan family: expected a transformer"),
    ):
        path = tmp_path / "models.json"
        path.write_text(json.dumps({"models": {"m": {"files": away | changed}}}))
        monkeypatch.setenv("SHOTLOCK_MODELS", str(path))
        folder = scenes(tmp_path / "job", model="m")
        with pytest.raises(ValueError, match=sentence):
            run(folder)
        shutil.rmtree(folder)


# ---------------------------------------------------------------- the registry


def test_the_registry_comes_back_as_it_was_written(shelf, tmp_path):
    found = registry.read(shelf)
    copy = replace(found, path=tmp_path / "models.json", checksums={"https://x/y": "ab"}, folder="/models")
    lora = registry.Lora("film", tmp_path / "film.safetensors", "Film", "low", recipes.RECIPES["Wan2.1-I2V-14B"])
    copy = registry.with_lora(copy, lora)
    registry.write(copy)
    assert registry.read(copy.path) == copy
    assert registry.entry("tiny-vace", found).files["transformer"] == shelf.parent / "tiny-vace.safetensors"
    assert registry.read(tmp_path / "nothing.json") == registry.Registry(tmp_path / "nothing.json")
    assert "tiny-vace" not in registry.without(found, "tiny-vace").models


@pytest.mark.parametrize("text", [
    "{", "[]", '{"version": 2}', '{"models": []}', '{"models": {"a b": {"files": {}}}}', '{"models": {"m": {}}}',
    '{"models": {"lite": {"files": {"transformer": "a", "text": "b", "autoencoder": "c"}}}}',
    '{"models": {"m": {"files": {"transformer": "a", "text": "b"}}}}', '{"loras": {"l": {"file": 3}}}',
    '{"loras": {"l": {"file": "a", "recipe": {"cfg": 3}}}}'])
def test_a_broken_registry_is_refused_in_one_sentence(tmp_path, text):
    (tmp_path / "models.json").write_text(text)
    with pytest.raises(registry.BadRegistry, match=r"models\.json") as refused:
        registry.read(tmp_path / "models.json")
    assert "\n" not in str(refused.value)
