"""Accepted frames, references and bare objects in lite: what is known stays, what nobody knows is dressed."""

import json
from dataclasses import replace

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from engine import conditions, job, known, pictures, windows
from engine.generate import begin, generate, load_model, read_prompt
from engine.models import finishes, shading
from engine.models.lite import REFERENCE, Lite, LiteConfig, as_reference
from engine.shot import open_shot
from engine.train import captions, dressing, jobs, scenes
from engine.train.captions import Brief
from engine.weights import store

CASE = jobs.Case("known", Brief(time="noon", place="street"), (5, 64, 96), 20_000_003, "market")


def quiet(_):
    return None


def never():
    return False


def made(folder, number):
    return iio.imread(folder / "frames" / job.frame_name(number))[..., :3]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = jobs.write(tmp_path_factory.mktemp("known") / "plain", CASE, steps=2)
    generate(folder, quiet, never)
    return folder


def told(plain, folder, picture, **fields):
    """The same job with one more fact: frame 0 as it was accepted."""
    jobs.write(folder, CASE, steps=2)
    (folder / "pictures").mkdir()
    iio.imwrite(folder / "pictures" / "first.png", picture)
    entry = {"frame": 0, "picture": "pictures/first.png"}
    job.write(replace(job.read(folder), **({"known": (entry,)} | fields)))
    generate(folder, quiet, never)
    return folder


def test_an_accepted_frame_is_kept_and_what_was_painted_on_it_goes_with_the_surface(plain, tmp_path):
    shot = open_shot(plain)
    first, wall = made(plain, 0), shot.index([0])[0].numpy()
    solid = np.isfinite(shot.depth([0])[0].numpy())
    thing = max((i for i in np.unique(wall) if i > 1), key=lambda i: ((wall == i) & solid).sum())
    painted = first.copy()
    painted[wall == thing] = (20, 200, 240)
    folder = told(plain, tmp_path / "told", painted)
    assert np.array_equal(made(folder, 0), painted)
    later = shot.index([4])[0].numpy() == thing
    away = np.abs(made(folder, 4)[later].astype(int) - (20, 200, 240)).max(1)
    assert later.sum() > 50 and np.median(away) < 25
    others = np.abs(made(folder, 4).astype(int) - made(plain, 4))[~later & np.isfinite(shot.depth([4])[0].numpy())]
    assert np.median(others) <= 3  # one thing in another colour is no grade of the whole film


def test_another_light_in_an_accepted_frame_becomes_that_of_all(plain, tmp_path):
    warm = (made(plain, 0) * np.array([1.0, 0.8, 0.5])).astype(np.uint8)
    folder = told(plain, tmp_path / "warm", warm)
    expected = made(plain, 4) * np.array([1.0, 0.8, 0.5])
    assert np.abs(made(folder, 4) - expected).mean() < 6


def test_an_accepted_frame_is_kept_where_frames_are_sampled_smaller(plain, tmp_path, monkeypatch):
    monkeypatch.setattr(windows, "MOST_SAMPLED", 3000)
    monkeypatch.setattr(windows, "SAMPLED", 1600)
    painted = made(plain, 0).copy()
    painted[40:50, 30:60] = (250, 20, 30)
    folder = told(plain, tmp_path / "large", painted)
    assert np.array_equal(made(folder, 0), painted) and made(folder, 4).shape == painted.shape
    red = made(folder, 4).astype(int)
    assert ((red[..., 0] > 200) & (red[..., 1] < 80)).sum() > 100


def test_what_is_erased_from_an_accepted_frame_is_made_anew(plain, tmp_path):
    picture = np.dstack([made(plain, 0), np.full((64, 96), 255, np.uint8)])
    picture[:32, :, :3], picture[:32, :, 3] = (255, 0, 255), 0
    folder = told(plain, tmp_path / "erased", picture)
    assert np.array_equal(made(folder, 0)[34:], made(plain, 0)[34:])
    upper = made(folder, 0)[:30].astype(int)
    assert np.abs(upper - (255, 0, 255)).max(-1).mean() > 60 and np.abs(upper - made(plain, 0)[:30]).mean() < 25


def test_an_erased_part_is_told_to_the_model_as_reactive(tmp_path):
    picture = np.full((64, 96, 4), (10, 200, 30, 255), np.uint8)
    picture[:, :48, 3] = 0
    iio.imwrite(tmp_path / "a.png", picture)
    shot = open_shot(jobs.write(tmp_path / "job", CASE, steps=1))
    found = pictures.frame_picture(tmp_path / "a.png", shot, shot)
    assert found.erased[:, :47].all() and not found.erased[:, 49:].any() and found.kept[:, 49:].all()
    maps = torch.zeros(1, conditions.TOTAL, 64, 96)
    conditions.put_reactive(maps, found.colour[None], found.erased[None])
    assert (maps[0, conditions.SLICE["has_reactive"]][0][:, :47] == 1).all()
    assert torch.allclose(maps[0, conditions.SLICE["reactive"]][:, 5, 5], found.colour[:, 5, 5])
    picture[:, :48, :3] = 0  # colours that went with the opacity are none
    iio.imwrite(tmp_path / "b.png", picture)
    assert not pictures.frame_picture(tmp_path / "b.png", shot, shot).erased.any()


def test_a_grade_is_what_most_pixels_have_in_common():
    rng = np.random.default_rng(0)
    colours, grade = rng.random((4000, 3)), np.array([[0.9, 0.1, 0, 0.02], [0, 0.8, 0, 0.1], [0.05, 0, 0.6, 0]])
    asked = known.graded(colours, grade).astype(np.float64)
    asked[:800] = (1.0, 0.0, 0.0)  # painted over
    found = known.fit_grade([(colours, asked)])
    assert np.abs(known.graded(colours[800:], found) - asked[800:]).mean() < 0.03
    assert np.array_equal(known.fit_grade([]), np.eye(3, 4))


def test_a_difference_fades_where_it_was_not_seen():
    apart, seen = np.ones((48, 96, 3), np.float32), np.zeros((48, 96), bool)
    seen[:, :40] = True
    out = known.filled(apart, seen, np.ones((48, 96), bool))
    assert (out[:, :40] == 1).all() and 0.5 < out[24, 41, 0] <= 1.01
    assert (np.diff(out[24, 40:, 0]) <= 1e-3).all() and out[24, -1, 0] < 0.01


def test_a_reference_gives_its_light_where_the_prompt_says_none_and_its_finish_where_it_names_no_style():
    raw, seen = torch.zeros(1, shading.LOOK_WIDTH), torch.ones(1, shading.LOOK_WIDTH)
    sizes = [size for size, _ in shading.LOOK.values()]

    def parts(light, style):
        return dict(zip(shading.LOOK, shading.by_reference(raw, seen, light, style).split(sizes, 1), strict=True))

    neither, both = parts(False, False), parts(True, True)
    assert all((both[name] == 0).all() for name in shading.LOOK)
    assert all((neither[name] == float(name not in shading.NOT_SEEN)).all() for name in shading.LOOK)
    assert (parts(True, False)["hand"] == 1).all() and (parts(True, False)["sun"] == 0).all()


def test_a_reference_of_the_night_makes_a_shot_dark_and_is_told_to_the_transformer(tmp_path):
    looks = {}
    for time in ("noon", "night"):
        other = jobs.Case("look", Brief(time=time, place="village"), (1, 64, 96), 20_000_011, "stairs")
        truth = jobs.write(tmp_path / time, other, steps=1) / "truth" / job.frame_name(0)
        folder = jobs.write(tmp_path / f"by {time}", CASE, steps=1)
        (folder / "pictures").mkdir()
        (folder / "pictures" / "look.png").write_bytes(truth.read_bytes())
        job.write(replace(job.read(folder), prompt="a market", references=("pictures/look.png",)))
        run = begin(open_shot(folder), quiet, never, store.BUNDLED)
        with torch.inference_mode():
            prompt = read_prompt(run)
        looks[time] = float(prompt.look["sky_light"].mean())
        assert prompt.tokens[0].shape[1] > (REFERENCE[0] // 16) * (REFERENCE[1] // 16)
    assert looks["night"] < 0.4 * looks["noon"]


def test_a_reference_is_looked_at_whole_whatever_its_shape():
    assert as_reference(torch.zeros(3, 700, 31)).shape == (3, *REFERENCE)


# ---------------------------------------------------------------- bare objects


def test_what_nobody_knows_the_colour_of_is_dressed_and_the_report_says_in_what(tmp_path):
    folder = jobs.write(tmp_path / "bare", CASE, steps=1)
    j = job.read(folder)
    (folder / "passes" / "base.npy").unlink()
    named = tuple({**thing, "name": "Tree"} if thing["index"] == 3 else thing for thing in j.objects)
    job.write(replace(j, passes={k: v for k, v in j.passes.items() if k != "base"}, objects=named))
    report = generate(folder, quiet, never)
    assert report["finishes"] and set(report["finishes"].values()) <= set(finishes.FINISHES)
    again = json.loads((folder / "report.json").read_text())
    assert again["finishes"] == report["finishes"]


def test_only_bare_objects_are_dressed_where_the_scene_knows_its_colours_unless_it_is_turned_off(plain, tmp_path):
    assert "finishes" not in json.loads((plain / "report.json").read_text())
    for dress in (True, False):
        folder = jobs.write(tmp_path / str(dress), CASE, steps=1)
        j = job.read(folder)
        index = int(np.bincount(np.load(folder / "passes" / "index.npy")[0].ravel())[2:].argmax()) + 2
        things = tuple({**t, "bare": True} if t["index"] == index else t for t in j.objects)
        job.write(replace(j, objects=things, dress=dress))
        report = generate(folder, quiet, never)
        assert len(report.get("finishes", {})) == int(dress)


def test_copies_of_one_object_wear_the_same_and_a_seed_decides():
    logits = torch.randn(6, len(finishes.ROWS), generator=torch.Generator().manual_seed(3))
    names = ["Wall", "Wall.001", "Wall.002", "Door", "Shape 1", "Shape 2"]
    worn = {tuple(finishes.draw(logits, names, seed)) for seed in range(20)}
    assert len(worn) > 5 and all(w[0] == w[1] == w[2] for w in worn)
    assert finishes.draw(logits, names, 7) == finishes.draw(logits, names, 7)
    sure = torch.full((1, len(finishes.ROWS)), -20.0)
    sure[0, 4] = 20
    assert {finishes.draw(sure, ["x"], seed)[0] for seed in range(9)} == {finishes.ROWS[4]}


def test_what_a_finish_is_learnt_as_is_what_the_scene_is_built_of():
    brick = scenes.Shape("box", (0, 5, 1), (1, 1, 1), (0.52, 0.18, 0.11), scenes.BRICK)
    assert finishes.ROWS[dressing.finish(brick)] == "red brick"
    assert dressing.finish(scenes.Shape("ellipsoid", (0, 0, 0), (1, 1, 1), pattern=scenes.GLOWING)) == dressing.UNKNOWN
    rng = np.random.default_rng(1)
    for place in captions.PLACES:
        brief = captions.draw(rng, place=place)
        scene = scenes.build(brief, 1, rng)
        rows, names = dressing.of_scene(scene, [1, *range(2, 2 + len(scene.shapes))])
        assert all(-1 < row < len(finishes.ROWS) or row == dressing.UNKNOWN for row in rows) and len(names) == len(rows)


def test_facts_of_an_object_do_not_depend_on_the_unit_of_length():
    found = []
    for unit in (1.0, 39.37):
        rng = np.random.default_rng(5)
        p = scenes.passes(scenes.build(captions.draw(rng, place="village"), 2, rng), 48, 64)
        depth, anchor, c2w = p.depth * unit, p.anchor * unit, p.c2w.clone()
        c2w[:, :3, 3] *= unit
        scale = conditions.scene_scale(depth)
        maps = conditions.maps(
            depth=depth, normal=p.normal, base=None, gloss=p.gloss, emission=p.emission, anchor=anchor, K=p.K, c2w=c2w,
            origin=c2w[0, :3, 3].float(), scale=scale,
        )  # fmt: skip
        found.append(finishes.facts(maps, p.index, anchor, c2w[0, :3, 3].float(), scale))
    assert torch.equal(found[0][0], found[1][0]) and len(found[0][0]) > 3
    assert torch.allclose(found[0][1], found[1][1], atol=2e-3)


def test_older_weights_are_refused_what_they_never_learnt(tmp_path):
    old = LiteConfig(width=32, layers=1, heads=2, stem=8, detail=4, head=8, reads_pictures=False, dresses=False)
    told = {k: v for k, v in Lite(old).metadata().items() if k not in ("reads_pictures", "dresses")}
    store.save(tmp_path, "lite", Lite(old).state_dict(), told)
    assert load_model(tmp_path).reference is None and load_model(tmp_path).dresser is None
    folder = jobs.write(tmp_path / "job", CASE, steps=1)
    (folder / "pictures").mkdir()
    iio.imwrite(folder / "pictures" / "a.png", np.zeros((8, 8, 3), np.uint8))
    job.write(replace(job.read(folder), references=("pictures/a.png",)))
    with pytest.raises(job.BadJob, match="before it could read reference pictures"):
        begin(open_shot(folder), quiet, never, tmp_path)
