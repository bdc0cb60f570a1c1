"""What a prompt says is not to be, is not."""

import dataclasses

import pytest
import torch

from engine import bench_quality, generate
from engine.prompt.negation import split
from engine.shot import open_shot


@pytest.mark.parametrize(("prompt", "asked", "avoided"), [
    ("a village, no snow", "a village", "snow"),
    ("winter village without fog or rain, at night", "winter village, at night", "fog or rain"),
    ("not a castle but a ruin", "but a ruin", "a castle"),
    ("nothing but sand", "sand", ""),
    ("don't make it dark", "", "make it dark"),
    ("a snow-free street, not foggy.", "a street", "snow foggy"),
    ("no people, no cars. golden hour", "golden hour", "people cars"),
    ("no", "", ""), ("", "", ""), ("a nocturne", "a nocturne", ""),
])  # fmt: skip
def test_a_refusal_ends_with_its_clause(prompt, asked, avoided):
    assert split(prompt) == (asked, avoided)


@pytest.fixture(scope="module")
def look_of(tmp_path_factory, job_maker):
    folder, model = tmp_path_factory.mktemp("negation") / "job", generate.load_model()
    job_maker.make_job(folder, frames=1, width=96, height=64)

    def look_of(prompt, **values):
        shot = open_shot(folder)
        shot = dataclasses.replace(shot, job=dataclasses.replace(shot.job, prompt=prompt, guidance=1.0, **values))
        at, nowhere = generate.machine.choose(), bench_quality.Nowhere()
        run = generate.Run(shot, model, at, nowhere, lambda _: None, lambda: False)
        with torch.inference_mode():
            return generate.read_prompt(run)

    return look_of


@pytest.mark.parametrize("name, prompt, refused", [
    ("snow", "a winter village", "no snow"), ("fog_density", "a foggy street", "without fog"),
    ("wet", "heavy rain at night", "not wet"), ("lit", "lit windows at night", "no lit windows"),
])  # fmt: skip
def test_what_is_refused_goes_and_the_time_of_day_stays(look_of, name, prompt, refused):
    asked, without = look_of(prompt).look, look_of(f"{prompt}, {refused}").look
    told = look_of(prompt, negative_prompt=refused.split(" ", 1)[1]).look
    assert without[name].item() < 0.5 * asked[name].item()
    assert told[name].item() == pytest.approx(without[name].item(), rel=1e-4)
    darker = without["zenith"].mean() / asked["zenith"].mean()
    assert 0.4 < darker < 2.5


def test_what_the_prompt_never_said_is_not_turned_round(look_of):
    asked, without = look_of("a village at noon").look, look_of("a village at noon, no snow").look
    assert without["zenith"].mean() == pytest.approx(asked["zenith"].mean().item(), rel=0.35)


def test_a_material_that_is_refused_is_not_laid_on(look_of):
    assert look_of("brick houses").paint.cover > 0.5
    assert look_of("houses, no brick").paint.cover == 0
