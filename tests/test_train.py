"""Training as a tool: scenes are what they say, a run writes weights and goes on from them, words are learnt."""

import csv
import dataclasses
import itertools
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from engine import conditions
from engine.geometry import cameras
from engine.geometry.reproject import View, reproject
from engine.models import finishes, shading
from engine.models.lite import LiteConfig
from engine.passes import GAMMA
from engine.prompt.words import not_understood
from engine.train import captions, clips, data, dressing, lite, loop, run_state, scenes, team
from engine.train.data import Sizes, mirrored
from engine.weights import store

ROOT = Path(__file__).resolve().parent.parent
TINY = LiteConfig(width=32, layers=1, heads=2, stem=8, detail=4, head=8)


@pytest.mark.parametrize("place", list(captions.PLACES))
def test_every_place_can_be_filmed(place):
    rng = np.random.default_rng(4)
    clip = clips.render(captions.draw(rng, place=place), 3, 32, 48, rng)
    assert clip.picture.isfinite().all() and clip.maps.isfinite().all()
    assert clip.picture.abs().max() <= 1 and clip.picture.std() > 0.02
    assert torch.isfinite(clip.depth).float().mean() > 0.2
    assert clip.caption


def test_depth_and_cameras_agree_with_the_points_that_were_hit():
    rng = np.random.default_rng(1)
    scene = scenes.build(captions.Brief(place="blocks"), 3, rng)
    p = scenes.passes(scene, 32, 48)
    points = cameras.unproject(p.depth, p.K, p.c2w)
    solid = torch.isfinite(p.depth)
    assert (points[solid] - p.point[solid]).norm(dim=-1).max() < 1e-3
    assert torch.allclose(p.normal[solid].norm(dim=-1), torch.ones(int(solid.sum())), atol=1e-4)


@pytest.mark.parametrize("move", scenes.MOVES)
def test_a_camera_moves_as_film_calls_it(move):
    """What each move keeps, and what it changes, from the first frame to the last."""
    scene = scenes.Scene()
    scenes._camera(np.random.default_rng(3), scene, 9, False, move)
    first, last = scene.c2w[0], scene.c2w[-1]
    assert np.allclose(scene.c2w[:, :3, :3] @ scene.c2w[:, :3, :3].transpose(0, 2, 1), np.eye(3), atol=1e-9)
    assert np.linalg.det(scene.c2w[:, :3, :3]).min() > 0.99
    shifted, turned = last[:3, 3] - first[:3, 3], not np.allclose(first[:3, :3], last[:3, :3], atol=1e-6)
    travels = {"truck", "dolly", "crane", "combined", "hand-held", "dolly zoom", "orbit"}
    assert (np.linalg.norm(shifted) > 0.01) == (move in travels) and turned == (move not in ("static", "zoom"))
    assert (np.ptp(scene.focal) > 0.01) == (move in ("zoom", "dolly zoom"))
    axis = {"truck": 0, "dolly": 1, "crane": 2, "dolly zoom": 1}.get(move)
    if axis is not None:
        assert np.abs(shifted[axis]) == np.linalg.norm(shifted)
    if move == "roll":
        assert np.allclose(first[:3, 2], last[:3, 2]) and abs(last[2, 0]) > 0.01
    elif move != "roll":
        assert np.allclose(scene.c2w[:, 2, 0], 0, atol=1e-9)  # its horizon is level
    if move in ("orbit", "dolly zoom"):  # what is looked at: where the axes of the first and the last frame meet
        a, b, d, e = first[:3, 3], last[:3, 3], first[:3, 2], last[:3, 2]
        far, near = np.linalg.lstsq(np.stack([d, -e], 1), b - a, rcond=None)[0]
        assert np.allclose(a + far * d, b + near * e, atol=1e-6)
        grows = 1.0 if move == "orbit" else scene.focal[-1] / scene.focal[0]
        assert near / far == pytest.approx(grows)


def test_textures_do_not_alias():
    """The base colour is the mean over a pixel: that of sixteen times sixteen rays, on one surface."""
    scene = scenes.Scene(ground_pattern=scenes.CHECKER, c2w=looking_down())
    size, fine = (16, 24), 16
    smooth = scenes.passes(scene, *size).base
    many = scenes.passes(scene, *(side * fine for side in size), samples=1).base
    mean = (many**GAMMA).unflatten(2, (-1, fine)).unflatten(1, (-1, fine)).mean((2, 4)) ** (1 / GAMMA)
    one = scenes.passes(scene, *size, samples=1).base
    error, aliased = (float(((base - mean) ** 2).mean()) ** 0.5 for base in (smooth, one))
    assert aliased > 0.08 and error < 0.5 * aliased


def looking_down():
    """A camera 6 m over the ground that looks down at 30 degrees, (1, 4, 4)."""
    c2w, tilt = np.eye(4), np.radians(30)
    c2w[:3, 1], c2w[:3, 2], c2w[2, 3] = (0, -np.sin(tilt), -np.cos(tilt)), (0, np.cos(tilt), -np.sin(tilt)), 6
    return c2w[None]


def test_a_shadow_falls_away_from_the_sun():
    scene = scenes.Scene([scenes.Shape("box", (0, 6, 1), (0.5, 0.5, 1))])
    scene.c2w = np.array([[[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 1.5], [0, 0, 0, 1.0]]])
    scene.focal = np.ones(1)
    p = scenes.passes(scene, 48, 96)
    sun = torch.tensor([math.sqrt(0.5), 0, math.sqrt(0.5)])
    lit = scenes.sunlit(scene, p, sun)
    ground = (p.index == 1) & ((p.point[..., 1] - 6).abs() < 0.3)
    x = p.point[..., 0]
    assert lit[ground & (x < -0.7) & (x > -2)].max() == 0
    assert lit[ground & (x > 0.7)].min() == 1


def test_the_same_seed_makes_the_same_clip():
    one, two = (clips.render(captions.Brief(), 2, 32, 48, np.random.default_rng(9)) for _ in range(2))
    assert torch.equal(one.picture, two.picture) and one.caption == two.caption


def test_mirroring_keeps_every_fact_true():
    """A mirrored clip shaded by its own mirrored facts is the mirrored picture."""
    from engine.models import shading

    clip = clips.render(captions.Brief(place="street"), 1, 32, 48, np.random.default_rng(2))
    clip.maps[:, conditions.SLICE["glass"], 8:24, 4:20] = torch.tensor([0.8, 0.0, 0.6]).view(3, 1, 1)
    item = mirrored(
        dict(
            picture=clip.picture,
            maps=clip.maps,
            noise=clip.picture,
            pane=clip.pane,
            base=clip.picture,
            azimuth=torch.tensor(clip.azimuth),
            cloud_seed=torch.tensor(clip.cloud_seed),
        )
    )
    look, zero = shading.unpack(clip.look[None]), torch.zeros(1, 1, 1, 1, 1)
    fields = {"drift": zero, "pane": zero, "cloud": zero}

    def shaded(maps, azimuth, cloud_seed):
        sky = shading.with_sky(look, torch.as_tensor(cloud_seed))
        return shading.shade(maps[None], maps[None, :, 20:23], sky, azimuth.view(1, 1, 1, 1, 1), fields)

    plain = shaded(clip.maps, torch.tensor(clip.azimuth), clip.cloud_seed)
    assert torch.allclose(shaded(item["maps"], item["azimuth"], item["cloud_seed"]), plain.flip(-1), atol=1e-4)


TASK = lite.Learn(TINY)
SMALL = [(0.0, Sizes((1, 5), 16 * 32, 32 * 48))]


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(lite, "STAGES", SMALL)
    monkeypatch.setattr(loop, "FIRST_POOL", 2)
    monkeypatch.setattr(lite, "sheet", lambda model, path: 0.0)
    monkeypatch.setattr(loop, "LOG_EVERY", 2)
    monkeypatch.setattr(data, "PACK", 4000)
    return loop.Recipe(most_steps=4, words_first=0.25, threads=1, warm_up=1)


def test_a_run_writes_weights_and_a_log(tmp_path, quick):
    loop.train(tmp_path, quick, TASK)
    assert store.config(tmp_path, "lite")["trained"]["steps"] == 4
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert rows and float(rows[-1]["briefs"]) > 0


def test_a_sitting_ends_with_its_time_and_keeps_what_it_learnt(tmp_path, quick, monkeypatch):
    """By a clock that goes a second on whenever it is read, so that a slow machine says the same."""
    seconds = itertools.count()
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))
    timed = dataclasses.replace(quick, most_steps=loop.ENDLESS, minutes=0.5, save_every=10.0)
    assert loop.train(tmp_path, timed, TASK, limit=0.0) == {} and not store.shards(tmp_path, "lite")
    loop.train(tmp_path, timed, TASK, limit=12.0)
    first = store.config(tmp_path, "lite")["trained"]
    assert 0 < first["steps"] < 12 and 12 <= run_state.load(tmp_path).facts["seconds"] < 30
    loop.train(tmp_path, timed, TASK)
    last = store.config(tmp_path, "lite")["trained"]
    assert last["steps"] > first["steps"] and last["run"] == first["run"]
    assert run_state.load(tmp_path).facts["seconds"] >= 30


def test_products_in_bf16_teach_nearly_the_same(tmp_path, quick):
    losses = [loop.train(tmp_path / p, dataclasses.replace(quick, precision=p), TASK) for p in ("float32", "bfloat16")]
    assert all(losses[1][key] == pytest.approx(losses[0][key], rel=0.1, abs=0.02) for key in ("shaded", "briefs"))
    assert losses[1] != losses[0]


def test_what_is_logged_otherwise_is_logged_anew(tmp_path, quick):
    (tmp_path / "log.csv").write_text("step,seconds\n2,1\n")
    loop.train(tmp_path, quick, TASK)
    assert (tmp_path / "log.old.csv").read_text() == "step,seconds\n2,1\n"
    assert next(csv.DictReader((tmp_path / "log.csv").open()))["step"] == "2"


def same_run(one, two):
    assert one is not None and two is not None
    assert one.facts["step"] == two.facts["step"] == 4 and one.facts["data"] == two.facts["data"]
    for group, members in one.groups.items():
        for name, value in members.items():
            assert torch.equal(value, two.groups[group][name]), f"{group} {name}"


@pytest.mark.parametrize("streams", [1, 2])
def test_a_run_that_was_cut_off_ends_as_one_that_was_not(tmp_path, quick, streams):
    """Weights, average, moments, random numbers and clips: two steps and two more are four steps, to the bit."""
    quick = dataclasses.replace(quick, streams=streams)
    whole = loop.train(tmp_path / "whole", quick, TASK)
    loop.train(tmp_path / "cut", quick, TASK, limit_steps=2)
    half = store.load(tmp_path / "cut", "lite")
    loop.train(tmp_path / "cut", quick, TASK)
    same_run(*(run_state.load(tmp_path / name) for name in ("whole", "cut")))
    end = store.load(tmp_path / "cut", "lite")
    assert any(not torch.equal(end[key], half[key]) for key in end)
    assert all(torch.equal(end[key], value) for key, value in store.load(tmp_path / "whole", "lite").items())
    assert whole


def test_finishes_are_taught_alone_and_a_run_that_was_cut_off_ends_as_one_that_was_not(tmp_path, quick):
    """Nothing but the dresser changes; what words mean, the artist's own among them, is left as it was. The state of
    the other task that lies there counts its own steps: it is not gone on from."""
    own = dataclasses.replace(TINY, words={"grimlow": [0.5] * shading.LOOK_WIDTH})
    loop.train(tmp_path / "before", dataclasses.replace(quick, most_steps=9), lite.Learn(own))
    for name in ("whole", "cut"):
        shutil.copytree(tmp_path / "before", tmp_path / name)
    task = lite.LearnFinishes(TINY)
    assert loop.train(tmp_path / "whole", quick, task)["finish"] > 0
    loop.train(tmp_path / "cut", quick, task, limit_steps=2)
    loop.train(tmp_path / "cut", quick, task)
    told = store.config(tmp_path / "cut", "lite")
    assert told["words"] == {"grimlow": [0.5] * shading.LOOK_WIDTH}
    assert (told["trained"]["what"], told["trained"]["steps"]) == ("finishes", 4)
    rows = list(csv.DictReader((tmp_path / "cut" / "log-finishes.csv").open()))
    assert [row["step"] for row in rows] == ["2", "4"] and all(0 < float(row["making"]) < 1 for row in rows)
    before, whole, cut = (store.load(tmp_path / name, "lite") for name in ("before", "whole", "cut"))
    changed = {key.split(".")[0] for key in whole if not torch.equal(whole[key], before[key])}
    assert changed == {"dresser"} and all(torch.equal(whole[key], cut[key]) for key in whole)


@pytest.mark.parametrize("kind, pattern, colour, name", [
    ("box", scenes.WOOD, (0.4, 0.24, 0.11), "Fence"), ("cone", scenes.STONE, (0.4, 0.4, 0.4), "Peak"),
    ("ground", scenes.GROUND, (0.2, 0.2, 0.2), "Road"), ("ellipsoid", scenes.LEAVES, (0.1, 0.2, 0.1), "Oak"),
    ("cone", scenes.TILES, (0.2, 0.2, 0.22), "Church_Roof"),
])  # fmt: skip
def test_a_name_tells_what_a_thing_is_made_of(kind, pattern, colour, name):
    told = dressing.called(scenes.Shape(kind, (0, 0, 0), (1, 1, 1), colour, pattern))
    drawn = dressing.names([told] * 400, np.random.default_rng(0))
    assert name in told and 0.5 < np.mean([one in told for one in drawn]) < 0.8


@pytest.mark.parametrize("name, flesh", [("Head", True), ("Car", False), ("", False)])
def test_only_people_are_of_skin(name, flesh):
    shape = scenes.Shape("ellipsoid", (0, 0, 0), (1, 1, 1), scenes.SKIN, name=name)
    assert (finishes.ROWS[dressing.finish(shape)] == "skin") == flesh


def test_some_things_are_of_what_they_are_called_whatever_their_shape():
    facts = torch.zeros(4000, finishes.FACTS)
    facts[::2, finishes.UP] = 1.0
    brick = torch.full((4000,), finishes.ROWS.index("red brick"))
    brick[1] = dressing.UNKNOWN
    names = ["Cube" if i % 4 > 1 else "Gizmo" for i in range(4000)]
    _, called, worn = dressing.surprises(facts, names, brick, np.random.default_rng(0))
    other = [i for i in range(4000) if called[i] != names[i]]
    assert all(names[i] == "Gizmo" for i in other) and 0.1 < len(other) / 2000 < 0.2 and worn[1] == dressing.UNKNOWN
    assert all(called[i] in dressing.names_of(finishes.ROWS[worn[i]]) for i in other)
    assert {finishes.ROWS[worn[i]] for i in other if i % 2 == 0} == set(dressing.UNDERFOOT)
    assert len({int(worn[i]) for i in other if i % 2}) > 30
    same = [i for i in range(4000) if i not in set(other)]
    assert torch.equal(worn[same], brick[same])


def test_a_clips_objects_are_called_otherwise_at_every_use_and_are_mostly_matt():
    stream = data.Data(0)
    clip = stream.clip((1, 48, 64), 3)
    uses = [stream.named(clip.things) for _ in range(60)]
    assert len({use.names.numpy().tobytes() for use in uses}) > 50
    assert 0.5 < np.mean([bool((use.facts[:, finishes.GLOSS] == 0).all()) for use in uses]) < 0.9
    apart = torch.stack([use.facts for use in uses])[:, :, : finishes.GLOSS] - clip.things.facts[:, : finishes.GLOSS]
    assert 0.5 * dressing.JITTER < float(apart.std()) < 2 * dressing.JITTER


def test_a_run_that_was_killed_while_it_saved_goes_on_one_save_back(tmp_path, quick):
    """New weights beside the state before them: nothing but the last stretch is lost."""
    loop.train(tmp_path, quick, TASK, limit_steps=2)
    before = (tmp_path / run_state.NAME).read_bytes()
    loop.train(tmp_path, quick, TASK, limit_steps=1)
    (tmp_path / run_state.NAME).write_bytes(before)
    assert loop.begin(tmp_path, quick, TASK).step == 2


def test_a_finished_run_is_left_alone(tmp_path, quick):
    loop.train(tmp_path, quick, TASK)
    before = (tmp_path / run_state.NAME).read_bytes()
    assert loop.train(tmp_path, quick, TASK) == {}
    assert (tmp_path / run_state.NAME).read_bytes() == before


@pytest.mark.parametrize("broken", [None, b"", b"not a state"])
def test_a_run_goes_on_from_weights_alone(tmp_path, quick, broken):
    loop.train(tmp_path, quick, TASK)
    weights = store.load(tmp_path, "lite")
    state = tmp_path / run_state.NAME
    state.unlink() if broken is None else state.write_bytes(broken)
    run = loop.begin(tmp_path, quick, TASK)
    assert run.step == 0
    for key, value in run.model.state_dict().items():
        assert torch.equal(value, weights[key])


def test_a_state_of_other_weights_is_not_mixed_with_these(tmp_path, quick):
    for name, seed in (("one", 1), ("two", 2)):
        loop.train(tmp_path / name, dataclasses.replace(quick, seed=seed), TASK)
    shutil.copy(tmp_path / "one" / run_state.NAME, tmp_path / "two")
    assert loop.begin(tmp_path / "two", quick, TASK).step == 0


TEAM = """
import dataclasses, json, sys
from pathlib import Path
from engine.models.lite import LiteConfig
from engine.train import data, lite, loop, team
from engine.train.data import Sizes
lite.STAGES, loop.FIRST_POOL, data.PACK = [(0.0, Sizes((1, 5), 16 * 32, 32 * 48))], 2, 4000
lite.sheet = lambda model, path: 0.0
config = LiteConfig(width=32, layers=2, heads=2, stem=8, detail=4, head=8)
recipe = loop.Recipe(most_steps=4, words_first=0.25, threads=1, warm_up=1, streams=2)
own = team.join("cpu")
for folder, steps in zip(map(Path, sys.argv[1::2]), map(int, sys.argv[2::2])):
    losses = loop.train(folder, recipe, lite.Learn(config), limit_steps=steps, team=own)
    if own.leads:
        folder.with_suffix(".json").write_text(json.dumps(losses))
team.leave()
"""


def team_run(place, processes, **steps):
    """Runs of two streams, one after the other, in so many processes: folder -> steps of the sitting."""
    script = place / "team.py"
    script.write_text(TEAM)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    alike = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    asked = [word for name, count in steps.items() for word in (str(place / name), str(count))]
    ran = subprocess.run([*launch, str(script), *asked], env=os.environ | alike, capture_output=True, text=True,
                         timeout=600)  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]


def test_two_processes_learn_what_one_learns(tmp_path):
    """FSDP2 over gloo: the same losses and weights, and a run that two began one can end."""
    team_run(tmp_path, 2, two=99, begun=2)
    team_run(tmp_path, 1, one=99, begun=99)
    alone, together = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "two"))
    assert alone.keys() == together.keys()
    for name, value in alone.items():
        assert together[name] == pytest.approx(value, rel=2e-4, abs=1e-6), name
    ends = [run_state.load(tmp_path / name) for name in ("one", "two", "begun")]
    for end in ends[1:]:
        assert end.facts["data"] == ends[0].facts["data"] and end.facts["step"] == 4
        for name, value in ends[0].groups["raw"].items():
            assert torch.allclose(end.groups["raw"][name], value, atol=2e-4), name


def test_streams_that_cannot_be_shared_are_refused():
    with pytest.raises(ValueError, match="3 streams for 2 processes"):
        team.Team(0, 2).streams(3)


@pytest.mark.parametrize("seed", range(5))
def test_clips_are_drawn_at_sizes_of_every_shape(seed):
    rng = np.random.default_rng(seed)
    drawn = [Sizes((1, 5, 9), 64 * 96, 144 * 256).draw(rng) for _ in range(200)]
    assert all(h % 16 == 0 and w % 16 == 0 and min(h, w) >= 16 for _, h, w in drawn)
    assert len({(h, w) for _, h, w in drawn}) > 20
    assert any(h > 1.5 * w for _, h, w in drawn) and any(w > 1.9 * h for _, h, w in drawn)
    assert max(f * h * w for f, h, w in drawn) < 2 * data.PACK
    assert {f for f, _, _ in drawn} == {1, 5, 9}


def test_a_keyframe_follows_what_moves():
    """A figure that walks is found where it went: its colour does not stay behind, nor is it lost."""
    scene = scenes.Scene([scenes.Shape("box", (0, 5, 1), (0.6, 0.6, 1), velocity=(0.5, 0, 0))])
    scene.c2w = np.tile([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 1.5], [0, 0, 0, 1.0]], (3, 1, 1))
    scene.focal = np.ones(3)
    p = scenes.passes(scene, 48, 96)
    index, matrix = scenes.motion(scene, 3)
    views = [View(depth=p.depth[f], K=p.K[f], c2w=p.c2w[f], normal=p.normal[f], index=p.index[f], object_index=index,
                  matrix=matrix[:, f]) for f in range(3)]  # fmt: skip
    colour = p.anchor.permute(0, 3, 1, 2)  # tells which point of the figure it is
    figure = p.index[2] == scenes.FIRST_INDEX
    seen, valid = reproject(colour[0], views[0], views[2])
    assert (valid & figure).sum() > 0.7 * figure.sum()
    assert (seen - colour[2]).abs().amax(0)[valid & figure].max() < 0.1


def test_the_look_learns_words():
    torch.manual_seed(0)
    own = data.Data(0)
    model = lite.Lite(TINY)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        loss = lite.briefs_loss(model, own, 48)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])


@pytest.mark.parametrize("kind", captions.VEHICLES)
def test_a_vehicle_drives_as_one_thing_on_its_wheels(kind):
    brief = captions.Brief(place="street", time="night", vehicle=kind, vehicle_colour="red")
    bare = scenes.build(dataclasses.replace(brief, vehicle=""), 5, np.random.default_rng(8))
    scene = scenes.build(brief, 5, np.random.default_rng(8))
    assert [s.name for s in bare.shapes] == [""] * len(bare.shapes)
    parts = [s for s in scene.shapes if s.name]
    assert len({s.velocity for s in parts}) == 1 and len({s.yaw for s in parts}) == 1
    glass = [s for s in parts if s.name == "Windscreen"]
    assert glass and all(s.gloss > 0.85 and max(s.colour) < 0.1 for s in glass)
    assert sum(s.pattern == scenes.GLOWING for s in parts) == 4
    assert all(abs(s.centre[2] - s.a[2]) < 1e-6 for s in parts if s.name == "Wheel")
    eyes, where = scene.c2w[:, :3, 3], np.mean([s.centre for s in parts], 0)
    assert np.linalg.norm(eyes - where, axis=1).min() > 3.5


def test_a_figure_swings_its_legs_and_every_point_of_them_keeps_its_place_on_them():
    scene = scenes.Scene()
    scenes._add_figure(np.random.default_rng(2), scene, "red")
    legs = [s for s in scene.shapes if s.name == "Leg"]
    assert len(legs) == 2 and np.allclose(np.array(legs[0].swing), -np.array(legs[1].swing))
    x, y, _ = scene.shapes[0].centre
    scene.c2w = np.tile([[1, 0, 0, x], [0, 0, 1, y - 3], [0, -1, 0, 0.5], [0, 0, 0, 1.0]], (9, 1, 1))
    scene.focal = np.ones(9)
    p = scenes.passes(scene, 64, 64)
    index, matrix = scenes.motion(scene, 9)
    rows = {int(value): row for row, value in enumerate(index)}
    moved = 0
    for f in (3, 8):
        for value in np.unique(p.index[f])[1:]:
            if int(value) not in rows:
                continue
            at = p.index[f] == value
            back = torch.linalg.inv(matrix[rows[int(value)], f])
            home = p.point[f][at].double() @ back[:3, :3].T + back[:3, 3]
            assert (home - p.anchor[f][at]).abs().max() < 1e-4
            moved += int((p.point[f][at] - p.anchor[f][at]).norm(dim=1).max() > 0.3)
    assert moved


def test_a_caption_names_its_vehicle_and_its_words_are_understood():
    rng = np.random.default_rng(4)
    brief = captions.Brief(vehicle="truck", vehicle_colour="blue")
    said = [captions.caption(brief, rng) for _ in range(40)]
    named = [text for text in said if any(word in text for word in captions.VEHICLES["truck"])]
    assert 8 < len(named) < 36 and not not_understood("a blue lorry driving past a parked taxi")
