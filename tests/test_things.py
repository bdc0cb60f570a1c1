"""What a prompt says of single things reaches those things, and nothing else."""

import dataclasses

import numpy as np
import pytest
import torch

from engine import bench_quality, generate, quality
from engine.prompt.things import things
from engine.shot import open_shot

OBJECTS = [
    {"index": 1, "name": "Lighthouse"}, {"index": 2, "name": "House 1"}, {"index": 3, "name": "House.002"},
    {"index": 4, "name": "MarketCart_L.001"}, {"index": 5, "name": "fountain"},
    {"index": 6, "name": "Kugel", "groups": ["Toys"]},
]  # fmt: skip


def said(prompt, objects=OBJECTS):
    found, rest = things(prompt, objects)
    return [(sorted(t.objects), t.material, t.dye, t.glows) for t in found], rest


@pytest.mark.parametrize("prompt, expected, rest", [
    ("a red lighthouse at sunset", [([1], "none", "red", False)], "a lighthouse at sunset"),
    ("red brick houses, a golden fountain", [([2, 3], "brick", "red", False), ([5], "gold", "none", False)],
     "houses, a fountain"),
    ("the cart is made of gold, at night", [([4], "gold", "none", False)], "the cart, at night"),
    ("houses of stone and a green cart", [([2, 3], "stone", "none", False), ([4], "none", "green", False)],
     "houses and a cart"),
    ("a glowing fountain", [([5], "none", "none", True)], "a fountain"),
    ("wooden toys", [([6], "wood", "none", False)], "toys"),
    ("a village of ice", [], "a village of ice"),
    ("red", [], "red"), ("", [], ""),
    ("a house at sunset", [], "a house at sunset"),
])  # fmt: skip
def test_words_beside_a_noun_are_that_things_own(prompt, expected, rest):
    assert said(prompt) == (expected, rest)


def test_a_season_turns_foliage_and_nothing_else():
    names = [*(f"Tree.{i:03}" for i in range(40)), "Tree_Trunk", "Street", "OakLeaves", "House", "Pear tree"]
    objects = [{"index": i + 1, "name": name} for i, name in enumerate(names)]
    found, rest = things("a street on an autumn evening, a purple oak", objects)
    turned = {i: t.dye for t in found[1:] for i in t.objects}
    assert found[0].objects == {43} and found[0].dye == "purple" and rest == "a street on an evening, a oak"
    assert set(turned) == {*range(1, 41), 43, 45} and set(turned.values()) == {"orange", "yellow", "red", "brown"}
    assert {t.dye for t in things("cherry blossom", objects)[0]} == {"pink", "white"}
    assert things("a street in spring", objects)[0] == []


def test_an_objects_own_prompt_comes_first():
    objects = [{**OBJECTS[0], "prompt": "white marble"}, *OBJECTS[1:]]
    found, rest = said("a red lighthouse", objects)
    assert found == [([1], "marble", "white", False), ([1], "none", "red", False)] and rest == "a lighthouse"


@pytest.mark.parametrize("odd", [{"prompt": 3}, {"groups": "Toys"}, {"groups": [1, None]}, {"name": ""}])
def test_what_is_written_oddly_is_no_error(odd):
    things("a red ball", [{"index": 1, "name": "Ball", **odd}])


def picture(folder, prompt, **job):
    shot = open_shot(folder)
    shot = dataclasses.replace(shot, job=dataclasses.replace(shot.job, **job))
    return bench_quality.still(shot, generate.load_model(), 0, prompt=prompt, seed=3), shot


def hue(colours):
    lab = quality.lab(colours)
    return np.degrees(np.arctan2(lab[..., 2], lab[..., 1])), np.hypot(lab[..., 1], lab[..., 2])


@pytest.mark.parametrize("prompt, degrees", [("a red box at noon", 40), ("a blue box at noon", -60)])
def test_a_named_thing_takes_its_colour_and_the_rest_stays(tmp_path, job_maker, prompt, degrees):
    """reference: hue inside its mask within 25 degrees, outside unchanged."""
    job_maker.make_job(tmp_path / "job", frames=1, width=128, height=80)
    made, shot = picture(tmp_path / "job", prompt)
    plain, _ = picture(tmp_path / "job", "a box at noon")
    box = np.asarray(shot.passes["index"][0]) == job_maker.BOX
    angle, chroma = hue(made[box])
    near = np.abs((angle - degrees + 180) % 360 - 180) < 25
    assert (near & (chroma > 12)).mean() > 0.5
    away = np.abs(made.astype(int) - plain)[~box]
    assert np.percentile(away, 90) <= 6, "what was not spoken of is as it was"


def test_a_thing_that_glows_is_bright_at_night(tmp_path, job_maker):
    job_maker.make_job(tmp_path / "job", frames=1, width=128, height=80)
    made, shot = picture(tmp_path / "job", "a glowing box, at night")
    dark, _ = picture(tmp_path / "job", "a box, at night")
    box = np.asarray(shot.passes["index"][0]) == job_maker.BOX
    assert made[box].mean() > 2 * dark[box].mean() + 20
    assert abs(made[~box].mean() - dark[~box].mean()) < 6


def test_every_slot_has_its_own_material(tmp_path, job_maker):
    job_maker.make_job(tmp_path / "job", frames=1, width=128, height=80)
    shot = open_shot(tmp_path / "job")
    own = dataclasses.replace(shot.job, prompt="a wooden box and a brick floor", guidance=1.0)
    shot = dataclasses.replace(shot, job=own)
    at, nowhere = generate.machine.choose(), bench_quality.Nowhere()
    run = generate.Run(shot, generate.load_model(), at, nowhere, lambda _: None, lambda: False)
    with torch.inference_mode():
        prompt = generate.read_prompt(run)
    assert [sorted(objects.tolist()) for objects, _ in prompt.own] == [[job_maker.BOX], [job_maker.FLOOR]]
    shares = [dict(zip(generate.patterns.NAMES, paint.shares, strict=True)) for _, paint in prompt.own]
    assert shares[0]["planks"] == 1 and shares[1]["brick"] == 1
