"""Clips from Blender: a real one, started as an artist would, films small files; training reads what it made.

Everything here runs in the background Blender that the engine finds (SHOTLOCK_BLENDERS, or setup's wheels)."""

import dataclasses
import functools
import importlib.util
import math
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from engine import job, shot
from engine.geometry import cameras
from engine.models import shading
from engine.models.lite import LiteConfig
from engine.prompt import captioner, words
from engine.train import blender, blender_clips, command, data, lite, loop, make_clips, run_state
from engine.weights import store

ROOT = Path(__file__).resolve().parent.parent
TINY = LiteConfig(width=32, layers=1, heads=2, stem=8, detail=4, head=8)
QUICK = ["--samples", "4", "--size", "48x32,32x48", "--frames", "1,5", "--count", "4", "--threads", "1"]


@pytest.fixture(scope="module")
def program():
    try:
        return blender.find()
    except blender.NoBlender as none:
        pytest.skip(str(none))


@pytest.fixture(scope="module")
def files(program, tmp_path_factory):
    """`files(kind)`: a small .blend, see support/tiny_blend.py."""
    folder, script = tmp_path_factory.mktemp("blends"), ROOT / "tests" / "support" / "tiny_blend.py"

    def made(kind):
        file = folder / f"{kind}.blend"
        if not file.exists():
            blender.run(program, blender.command(program, script, [str(file), kind]), lambda _: None)
        return file

    return made


@pytest.fixture(scope="module")
def clips(files, tmp_path_factory):
    """Four clips of the tiny file, in the light that each has."""
    out = tmp_path_factory.mktemp("clips")
    assert make_clips.main([str(files("tiny")), "--out", str(out), *QUICK]) == 0
    return out


def every(out):
    return [job.read(path.parent) for path in sorted(out.glob("[!.]*/job.json"))]


def truth(j):
    return np.stack([iio.imread(path) for path in sorted((j.folder / "truth").glob("*.png"))])


# --- what a clip is -----------------------------------------------------------------------------------------------


def test_a_clip_is_a_job_with_its_truth_and_its_caption(clips):
    found = every(clips)
    assert [j.folder.name for j in found] == [f"tiny-{n:04d}" for n in (1, 2, 3, 4)]
    assert {p.name for p in clips.iterdir()} == {j.folder.name for j in found}, "nothing half, no lock"
    for j in found:
        camera, passes = job.camera(j), job.passes(j)
        order = j.extra["clip"]["order"]
        assert list(j.size) == order["size"] and len(camera["frames"]) == order["frames"] == len(truth(j))
        assert truth(j).shape == (order["frames"], j.size[1], j.size[0], 3) and truth(j).std() > 4
        assert set(passes) == set(job.PASSES) - {"glass"} and not (j.folder / "state").exists()
        assert "crate" in j.prompt and "sun" in j.prompt and "mm" in j.prompt
        assert j.extra["clip"]["picture"]["view_transform"] == "Standard"
    assert len({(j.size, len(job.camera(j)["frames"])) for j in found}) > 1, "several sizes"


def test_pictures_and_passes_show_the_same_moment(clips):
    """The crate slides: where it is red in the picture, the passes have it too, on every frame."""
    for j in every(clips):
        numbers = [thing["index"] for thing in j.objects if thing["name"] == "Crate"]
        index, shown = job.passes(j)["index"], truth(j).astype(float)
        for i in range(len(shown)):
            crate, red = np.isin(index[i], numbers), shown[i, ..., 0] > 4 * shown[i, ..., 1]
            if crate.sum() > 60:
                red &= shown[i, ..., 0] > 0.35 * np.quantile(shown[i, ..., 0][crate], 0.9)  # no glimmer on the floor
                assert red.sum() > 0.2 * crate.sum()
                assert (red & ~crate).sum() <= 0.15 * crate.sum(), (j.folder.name, i)


def test_the_facts_tell_the_light_that_was_rendered(clips):
    """The chalk floor is as bright as its sun, as job.json tells it, makes a matt surface under a black sky."""
    checked = 0
    for j in every(clips):
        passes, shown = job.passes(j), truth(j)[0] / 255
        sun, done = j.scene["sun"], j.extra["clip"]["light"]
        assert done["height"] == pytest.approx(math.degrees(math.asin(sun["direction"][2])), abs=0.1)
        base, up = np.asarray(passes["base"][0], float), np.asarray(passes["normal"][0], float)[..., 2]
        floor = (up > 0.99) & (np.ptp(base, axis=-1) < 8)
        expected = 0.5 * np.array(sun["colour"]) * sun["strength"] * sun["direction"][2] / math.pi
        linear = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
        lit = np.quantile(linear[floor], 0.8, axis=0) if floor.sum() > 100 else None
        if lit is not None and expected.max() < 0.95:
            # green and blue: the crate throws back red
            assert lit[1:] == pytest.approx(expected[1:], rel=0.12, abs=0.01), j.folder.name
            checked += 1
    assert checked >= 2


def test_motion_and_camera_agree(clips):
    """The floor's motion pass is the flow that the camera's path implies."""
    checked = 0
    for j in every(clips):
        camera, passes = job.camera(j), job.passes(j)
        K, c2w = (torch.from_numpy(camera[name].copy()) for name in ("K", "c2w"))
        for i in range(len(K) - 1):
            depth = torch.from_numpy(np.array(passes["depth"][i]))[None]
            flow = cameras.flow(depth, K[[i]], c2w[[i]], K[[i + 1]], c2w[[i + 1]])[0].numpy()
            floor = (np.asarray(passes["normal"][i], float)[..., 2] > 0.99) & np.isfinite(depth[0].numpy())
            floor &= np.ptp(np.asarray(passes["base"][i], int), axis=-1) < 8  # not the crate's lid
            if floor.sum() > 50:
                assert np.median(np.abs(flow - np.asarray(passes["motion"][i], float))[floor]) < 0.05
                checked += 1
    assert checked


# --- going on -----------------------------------------------------------------------------------------------------


def test_a_finished_clip_stays_and_a_missing_one_comes_out_the_same(clips, files, tmp_path, capfd):
    again = shutil.copytree(clips, tmp_path / "again")
    shutil.rmtree(again / "tiny-0003")
    (again / ".tiny-0003.part" / "truth").mkdir(parents=True)
    (again / ".tiny-0003.part" / "truth" / "000001.png").write_bytes(b"half")
    assert make_clips.main([str(files("tiny")), "--out", str(again), *QUICK]) == 0
    assert capfd.readouterr().err.count("tiny-000") == 1, "one was made"
    for name in ("tiny-0001", "tiny-0002", "tiny-0004"):
        assert job.read(again / name).id == job.read(clips / name).id
    one, two = job.read(clips / "tiny-0003"), job.read(again / "tiny-0003")
    assert np.array_equal(truth(one), truth(two)) and one.prompt == two.prompt
    for name, values in job.passes(one).items():
        assert np.array_equal(values, job.passes(two)[name], equal_nan=True), name
    assert {p.name for p in again.iterdir()} == {p.name for p in clips.iterdir()}


def test_passes_are_filmed_again_and_the_pictures_stay(clips, files, tmp_path):
    """As after an update of Shotlock that captures more: every pass comes out the same, on every kind of path."""
    again = shutil.copytree(clips, tmp_path / "again")
    for folder in again.iterdir():
        np.save(folder / "passes" / "gloss.npy", np.load(folder / "passes" / "gloss.npy") + 1)
    assert make_clips.main([str(files("tiny")), "--out", str(again), *QUICK, "--passes-again"]) == 0
    for one, two in zip(every(clips), every(again), strict=True):
        assert one.id != two.id and one.prompt == two.prompt and one.extra == two.extra and one.scene == two.scene
        assert np.array_equal(truth(one), truth(two))
        for name, values in job.passes(one).items():
            assert np.array_equal(values, job.passes(two)[name], equal_nan=True), (name, one.folder.name)


def test_another_clip_under_the_same_name_is_refused(clips, files, capfd):
    assert make_clips.main([str(files("tiny")), "--out", str(clips), *QUICK, "--samples", "5"]) == 2
    said = capfd.readouterr().err.strip()
    assert "made otherwise" in said and "\n" not in said


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_clip_that_is_cut_off_leaves_nothing(files, program, tmp_path, name):
    out = tmp_path / "out"
    line = [sys.executable, "-m", "engine", "train", "clips", str(files("tiny")), "--out", str(out), "--count", "1",
            "--samples", "4000", "--no-denoise", "--size", "256x144", "--blender", str(program)]  # fmt: skip
    heeds = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a script's background jobs do not
    process = subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, preexec_fn=heeds)
    part = out / ".tiny-0001.part" / "state"
    while not part.is_dir() and process.poll() is None:
        time.sleep(0.05)
    time.sleep(1.0)  # it opens the file, or renders
    process.send_signal(getattr(signal, name))
    _, said = process.communicate(timeout=60)
    assert process.returncode == make_clips.STOPPED, said.decode()
    assert list(out.iterdir()) == [] and b"goes on" in said


# --- refusals -----------------------------------------------------------------------------------------------------

REFUSED = {
    ("--frames", "6"): "4n+1", ("--frames", "many"): "whole numbers", ("--size", "100x100"): "multiples of 16",
    ("--moves", "flying"): "expected some of", ("--count", "0"): "1 or more", ("--blender", "/no/where"): "no Blender",
}  # fmt: skip


@pytest.mark.parametrize(("option", "value"), REFUSED)
def test_what_cannot_be_is_refused_in_one_sentence(files, tmp_path, capfd, option, value):
    assert make_clips.main([str(files("tiny")), "--out", str(tmp_path / "out"), option, value]) == 2
    said = capfd.readouterr().err.strip()
    assert REFUSED[option, value] in said and "\n" not in said
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_blend_is_named(tmp_path, program, capfd):
    (tmp_path / "notes.blend").write_text("shopping")
    for file in (tmp_path / "notes.blend", tmp_path / "missing.blend"):
        assert make_clips.main([str(file), "--out", str(tmp_path / "out")]) == 2
        assert str(file) in capfd.readouterr().err


def test_a_file_without_a_camera_is_framed_and_an_empty_one_is_named(files, tmp_path, capfd):
    short = ["--samples", "2", "--size", "48x32", "--frames", "1", "--count", "1", "--threads", "1"]
    assert make_clips.main([str(files("plain")), str(files("empty")), "--out", str(tmp_path), *short]) == 1
    said = capfd.readouterr().out
    assert "1 of 2" in said and "empty.blend has no camera and cannot be framed" in said
    (only,) = every(tmp_path)
    assert np.isfinite(job.passes(only)["depth"]).mean() > 0.2


def test_a_python_without_bpy_is_told(files, tmp_path, capfd):
    bare = tmp_path / "python"
    bare.symlink_to(sys.executable)
    line = [str(files("tiny")), "--out", str(tmp_path / "out"), "--count", "1", "--blender", str(bare)]
    assert make_clips.main(line) == 1
    assert "Python without bpy" in capfd.readouterr().out


def test_both_sides_know_each_other():
    """The line's mark, the moves: what two rooms say that must not import each other."""
    source = (ROOT / "operators" / "passes.py").read_text(encoding="utf-8")
    assert f"PREFIX = {blender.PREFIX!r}".replace("'", '"') in source
    assert set(make_clips.MOVES) == {"own", *paths().MOVES}


# --- camera paths -------------------------------------------------------------------------------------------------


def paths():
    """operators/clip_paths.py, which needs no Blender."""
    spec = importlib.util.spec_from_file_location("shotlock_clip_paths", ROOT / "operators" / "clip_paths.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def room(p, low=(-4, -6, 0), high=(4, 6, 3), wall=None):
    """Rays cast into a room of six walls, with a thin wall across it at x = `wall`."""
    low, high = np.array(low, float), np.array(high, float)

    def cast(origin, directions):
        with np.errstate(divide="ignore", invalid="ignore"):
            ways = np.where(directions > 0, (high - origin) / directions, (low - origin) / directions)
        ways = np.where(ways > 1e-9, ways, np.inf)
        thing, distance = 1 + ways.argmin(1), ways.min(1)
        if wall is not None:
            with np.errstate(divide="ignore", invalid="ignore"):
                way = (wall - origin[0]) / directions[:, 0]
            nearer = (way > 1e-9) & (way < distance)
            distance, thing = np.where(nearer, way, distance), np.where(nearer, 9, thing)
        return p.Hits(distance, np.zeros(len(distance), bool), thing)

    return cast


@pytest.mark.parametrize("kind", [move for move in make_clips.MOVES if move != "own"])
def test_a_path_of_each_kind_keeps_clear_of_walls(kind):
    p, rng = paths(), np.random.default_rng(3)
    cast = room(p, wall=1.5)
    start = p.aimed(np.array([-1.0, -5.0, 1.5]), np.array([-1.0, 3.0, 1.2]))
    for _ in range(6):
        path = p.find(cast, start, 24.0, (160, 96), 9, [kind], rng)
        eyes = path.c2w[:, :3, 3]
        assert path.kind == kind and len(eyes) == len(path.lens) == 9
        assert (eyes > [-3.9, -5.9, 0.1]).all() and (eyes < [1.4, 5.9, 2.9]).all(), "not beyond the wall either"
        turn = path.c2w[:, :3, :3]
        assert np.allclose(turn @ turn.swapaxes(1, 2), np.eye(3), atol=1e-9) and (np.linalg.det(turn) > 0).all()
        still = np.allclose(np.ptp(path.c2w, axis=0), 0)
        assert still == (kind == "static")
        assert (np.ptp(path.lens) > 0) == (kind == "dolly zoom")


def test_a_dolly_zoom_keeps_its_subjects_size():
    p = paths()
    stand = p.Stand(np.array([0.0, 0, 1]), np.array([0.0, 5, 1]), 35.0)
    path = p.dolly_zoom(stand, 9, np.random.default_rng(0))
    away = np.linalg.norm(path.c2w[:, :3, 3] - stand.focus, axis=1)
    assert np.allclose(path.lens / away, 35.0 / 5)


def test_a_camera_that_sees_nothing_or_sits_in_a_box_finds_no_path():
    p, rng = paths(), np.random.default_rng(0)
    start = p.aimed(np.array([0.0, 0, 1]), np.array([0.0, 3, 1]))

    def everywhere(distance):
        return lambda _, rays: p.Hits(np.full(len(rays), distance), np.zeros(len(rays), bool), np.ones(len(rays)))

    assert p.find(everywhere(np.inf), start, 24.0, (160, 96), 5, ["truck"], rng) is None
    assert p.find(everywhere(2.0), start, 24.0, (160, 96), 5, ["truck"], rng) is None, "one wall alone is no picture"


# --- captions -----------------------------------------------------------------------------------------------------


def test_a_caption_says_what_the_facts_say_and_no_hour():
    facts = {
        "objects": [{"name": "Lamp_post.003", "materials": [{"name": "Iron"}]}, {"name": "Cube.001", "materials": []},
                    {"name": "OldChurch", "materials": [{"name": "Mat", "colour": "dark red", "finish": "glossy"}]},
                    {"name": "Night sky dome", "materials": []}],
        "sun": {"direction": [0.0, 1.0, 0.2]}, "path": [{"lens_mm": [20.0, 20.0], "move": "dolly in 2 m"}],
        "lights": [{"type": "point", "energy": 10, "colour": "warm white"}],
        "world": {"colour": "dark blue", "strength": 1.0},
    }  # fmt: skip
    c2w = np.eye(4)[None]
    c2w[0, :3, :3] = [[1, 0, 0], [0, 0, 1], [0, -1, 0]]  # looks along +y
    text = captioner.caption(facts, "dolly", c2w)
    told = "low sun ahead, a lamp, warm white, sky of blue; camera dolly in 2 m"
    assert text == f"wide shot at 20 mm of lamp post, old church; iron, red glossy; {told}"
    assert not words.tells_light(text)
    ranked = captioner.caption(facts, "dolly", c2w, {"OldChurch": 0.4, "Lamp_post.003": 0.1})
    assert ranked.startswith("wide shot at 20 mm of old church, lamp post; red glossy, iron;")


# --- training -----------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(lite, "STAGES", [(0.0, data.Sizes((1, 5), 16 * 32, 32 * 48))])
    monkeypatch.setattr(loop, "FIRST_POOL", 2)
    monkeypatch.setattr(lite, "sheet", lambda model, path: 0.0)
    monkeypatch.setattr(loop, "LOG_EVERY", 2)
    monkeypatch.setattr(data, "PACK", 4000)
    monkeypatch.setattr(blender_clips, "PACK", 4000)
    return loop.Recipe(most_steps=4, words_first=0.0, threads=1, warm_up=1)


def learn(clips, share):
    return lite.Learn(TINY, blender_clips.BlenderClips([clips], share))


def test_a_clip_is_read_by_the_engines_own_code(clips):
    for j in every(clips):
        filmed = blender_clips.read(j.folder)
        clip, count = filmed.clip, len(job.camera(j)["frames"])
        assert clip.picture.shape == (count, 3, j.size[1], j.size[0]) and clip.picture.abs().max() <= 1
        assert clip.maps.isfinite().all() and clip.maps.dtype == torch.float16
        assert "left" not in clip.caption and "right" not in clip.caption and filmed.own_light
        item = data.Data(0).item(clip)
        assert item.maps.dtype == torch.float32 and item.noise.isfinite().all()


def test_the_scenes_own_light_shades(clips):
    """Sun and height in the look are those of job.json, whatever the network says; nothing is laid on or drawn."""
    for item, filmed in blender_clips.BlenderClips([clips], 1.0).pack(data.Data(1)):
        look = blender_clips.look_of(torch.randn(1, shading.LOOK_WIDTH), filmed, item)
        assert look["height"].item() == pytest.approx(shot.sun_facts(filmed.shot)[1], abs=1e-5)
        facts = filmed.shot.job.scene["sun"]
        direct = [c * facts["strength"] * shot.FILM_GAIN / math.pi for c in facts["colour"]]
        assert look["sun"].flatten().tolist() == pytest.approx(direct, rel=1e-4)
        assert not look["paint"].any() and not look["pencil"].any()


def test_a_mirrored_clip_has_a_mirrored_world(clips, monkeypatch):
    """Whatever of the light is a picture of all directions turns with the pictures."""
    world = torch.arange(12.0).view(1, 3, 1, 4)
    monkeypatch.setattr(blender_clips, "own_light", lambda shot, look: {"world": world})
    monkeypatch.setattr(blender_clips, "bounce", lambda *facts: None)  # of no direction, and of more than the world
    seen = set()
    for seed in range(6):
        for item, filmed in blender_clips.BlenderClips([clips], 1.0).pack(data.Data(seed)):
            mirrored = not torch.equal(item.picture, filmed.clip.picture)
            turned = blender_clips.look_of(torch.zeros(1, shading.LOOK_WIDTH), filmed, item)["world"]
            assert torch.equal(turned, world.flip(-1) if mirrored else world)
            seen.add(mirrored)
    assert seen == {True, False}


def test_two_steps_on_clips_alone(clips, tmp_path, quick):
    found = loop.train(tmp_path, dataclasses.replace(quick, most_steps=2), learn(clips, 1.0))
    assert math.isfinite(found["shaded"]) and found["shaded"] > 0 and found["look"] == found["pane"] == 0
    assert all(value.isfinite().all() for value in store.load(tmp_path, "lite").values())


def test_the_picture_teaches(clips):
    """A few steps on one clip bring its picture nearer."""
    torch.manual_seed(0)
    model, stream = lite.Lite(TINY), data.Data(0, data.Drops(0, 0, 0))
    lite.centre(model)
    filmed = blender_clips.read(every(clips)[0].folder)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        found = lite.filmed_losses(model, stream, lite.Recipe(), [(stream.item(filmed.clip), filmed)])
        optimiser.zero_grad()
        torch.stack(list(found.values())).sum().backward()
        optimiser.step()
        losses.append(found["whole"].item())
    assert np.mean(losses[-8:]) < 0.8 * np.mean(losses[:8])


def test_a_run_with_clips_that_was_cut_off_ends_as_one_that_was_not(clips, tmp_path, quick):
    loop.train(tmp_path / "whole", quick, learn(clips, 0.5))
    loop.train(tmp_path / "cut", quick, learn(clips, 0.5), limit_steps=2)
    loop.train(tmp_path / "cut", quick, learn(clips, 0.5))
    one, two = (run_state.load(tmp_path / name) for name in ("whole", "cut"))
    assert one.facts["step"] == two.facts["step"] == 4 and one.facts["data"] == two.facts["data"]
    for group, members in one.groups.items():
        for name, value in members.items():
            assert torch.equal(value, two.groups[group][name]), f"{group} {name}"


def test_other_clips_than_before_are_told(clips, tmp_path, quick, capsys):
    loop.train(tmp_path / "run", quick, learn(clips, 0.5), limit_steps=1)
    assert "other clips" not in capsys.readouterr().out
    shutil.copytree(clips / "tiny-0001", tmp_path / "fewer" / "tiny-0001")
    loop.train(tmp_path / "run", quick, learn(tmp_path / "fewer", 0.5), limit_steps=1)
    assert "other clips" in capsys.readouterr().out


def test_what_is_no_clip_is_refused(clips, tmp_path, capsys):
    assert command.main([str(tmp_path / "run"), "--clips", str(tmp_path)]) == 2
    assert "no clip lies in" in capsys.readouterr().err
    broken = shutil.copytree(clips / "tiny-0001", tmp_path / "some" / "tiny-0001")
    (broken / "truth" / "000001.png").unlink()
    with pytest.raises(job.BadJob, match="lacks truth/000001"):
        blender_clips.BlenderClips([tmp_path / "some"], 0.5)
