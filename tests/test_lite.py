"""The lite model: shapes it takes and refuses, what its look does to a picture, weights that are refused by name."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from engine import check, conditions
from engine.diffusion import sampler, schedule
from engine.models import shading, text
from engine.models.lite import Lite, LiteConfig, Sample, config_of
from engine.prompt import words
from engine.train import captions, clips
from engine.weights import machine, store


@pytest.fixture(scope="module")
def bundled() -> Lite:
    config = store.config(store.BUNDLED, "lite")
    model = Lite(config_of(config))
    store.fill(model, store.load(store.BUNDLED, "lite"), "lite")
    return model.eval()


def clip(seed=3, frames=1, height=48, width=80, **fixed):
    rng = np.random.default_rng(seed)
    brief = captions.draw(rng, **{"style": "none", "weather": "clear", "place": "village", "lights": "none", **fixed})
    return clips.render(brief, frames, height, width, rng)


def look_of(model: Lite, prompt: str, statistics: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return shading.unpack(model.look(text.encode([prompt]), statistics[None])[0])


@pytest.mark.parametrize("shape", [(1, 48, 80), (5, 80, 48), (9, 16, 16)])
def test_any_size_and_length_goes_through(shape):
    frames, height, width = shape
    model = Lite(LiteConfig(width=32, layers=1, heads=2, stem=8)).eval()
    rows = text.encode(["a village at night"])
    with torch.no_grad():
        raw, tokens, pooled, _ = model.look(rows, torch.zeros(1, conditions.STATISTICS))
        look = shading.with_sky(shading.unpack(raw), torch.ones(1))
        out = model([clip_of(shape, tokens[0], pooled[0], look)])[0]
    assert out["x0"].shape == (frames, 3, height, width) and out["x0"].isfinite().all()


def clip_of(shape: tuple[int, int, int], tokens, pooled, look, t: float = 1.0) -> Sample:
    frames, height, width = shape
    x, maps = torch.randn(frames, 3, height, width), torch.randn(frames, conditions.TOTAL, height, width)
    return Sample(x, maps, torch.tensor(t), tokens, pooled, look, torch.zeros(1, 1, 1, 1, 1))


def test_a_clip_is_the_same_alone_and_in_a_pack_of_other_shapes():
    """Clips of a pack do not see each other."""
    torch.manual_seed(1)
    model = Lite(LiteConfig(width=32, layers=2, heads=2, stem=8)).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # what starts at zero would hide a difference
            parameter.add_(0.05 * torch.randn_like(parameter))
        rows = text.encode(["dusk", "a red brick house", ""])
        raw, tokens, pooled, _ = model.look(rows, torch.zeros(3, conditions.STATISTICS))
        shapes = [(5, 32, 48), (1, 64, 32), (9, 16, 16)]
        looks = [shading.with_sky(shading.unpack(raw[i : i + 1]), torch.ones(1)) for i in range(3)]
        clips = [clip_of(shapes[i], tokens[i], pooled[i], looks[i], 0.3 * (i + 1)) for i in range(3)]
        packed = model(clips)
        for clip, together in zip(clips, packed, strict=True):
            alone = model([clip])[0]["x0"]
            assert torch.allclose(alone, together["x0"], atol=1e-5)
            assert not torch.allclose(alone, together["x0"] + 1e-3, atol=1e-5)


@pytest.mark.parametrize("sky", [0.0, 1.0])
def test_what_is_made_of_the_conditions_beforehand_is_what_every_step_would_make(sky):
    torch.manual_seed(2)
    model = Lite(LiteConfig(width=32, layers=1, heads=2, stem=8)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        raw, tokens, pooled, _ = model.look(text.encode(["a harbour at noon"]), torch.zeros(1, conditions.STATISTICS))
        look = shading.with_sky(shading.unpack(raw), torch.ones(1))
        clip = clip_of((5, 32, 48), tokens[0], pooled[0], look, 0.7)
        clip.maps[:, conditions.SLICE["sky"]] = (torch.rand(5, 1, 32, 48) < 0.5) * sky
        known = model.know(clip.maps, look)
        assert (known.clouds is not None) == bool(sky)
        plain, led = (model([c])[0]["x0"] for c in (clip, replace(clip, known=known)))
        other = model([replace(clip, known=model.know(clip.maps.roll(1, 0), look))])[0]["x0"]
    assert torch.allclose(plain, led, atol=1e-4) and not torch.allclose(plain, other, atol=1e-2)


def test_a_length_it_does_not_take_is_refused_in_words():
    model = Lite(LiteConfig(width=32, layers=1, heads=2, stem=8))
    with pytest.raises(ValueError, match="4 frames of 80x48: lite takes 4n"):
        model([clip_of((4, 48, 80), torch.zeros(0, 32), torch.zeros(32), {})])


def test_a_look_survives_the_way_to_raw_numbers_and_back():
    values = captions.look(captions.Brief(time="sunset", weather="snow"), np.random.default_rng(0))
    look = shading.unpack(torch.from_numpy(captions.raw(values))[None])
    for name, value in values.items():
        if name in shading.CLASSES:
            continue
        assert np.allclose(
            look[name].flatten().numpy(),
            np.clip(value, *((0.02, 0.98) if name in ("snow", "wet", "lit", "glow", "cloud") else (-9, 99))),
            rtol=1e-3,
            atol=1e-3,
        ), name


def test_words_decide_the_look(bundled):
    facts = clip().statistics
    night, noon = look_of(bundled, "a village at night", facts), look_of(bundled, "a village at noon", facts)
    assert night["sky_light"].mean() < 0.3 * noon["sky_light"].mean()
    assert look_of(bundled, "covered in snow", facts)["snow"] > 0.6 > look_of(bundled, "a village", facts)["snow"]
    sunset = look_of(bundled, "at sunset", facts)["sun"].flatten()
    assert sunset[0] > 2 * sunset[2]
    assert look_of(bundled, "black and white", facts)["saturation"] < -0.7


@pytest.mark.parametrize(("other", "name", "least"), [("blizzards", "snow", 0.8), ("fogged", "fog_density", 0.15)])
def test_another_form_of_a_word_means_the_same(bundled, other, name, least):
    assert look_of(bundled, words.as_taught(other), clip().statistics)[name] > least


def test_a_word_it_was_never_taught_changes_nothing(bundled):
    facts = clip().statistics
    plain, strange = (look_of(bundled, prompt, facts) for prompt in ("a village", "a village zyxwvu quetzalcoatl"))
    for name in ("snow", "wet", "fog_density", "paint", "pencil", "outline", "watercolour"):
        assert torch.allclose(plain[name], strange[name], atol=0.03), name


def test_no_words_are_no_words():
    assert text.words("  the of  ") == []
    assert text.words("Café, SNOW!") == ["cafe", "snow"]
    assert text.encode([""]).abs().sum() == 0


def test_one_step_of_the_flow_ends_at_the_prediction():
    x, x0 = torch.randn(4), torch.randn(4)
    assert torch.equal(sampler.step(x, x0, 1.0, 0.0), x0)
    noise = torch.randn(4)
    half = sampler.step(schedule.mix(x0, noise, torch.tensor(0.8)), x0, 0.8, 0.4)
    assert torch.allclose(half, schedule.mix(x0, noise, torch.tensor(0.4)), atol=1e-6)
    times = schedule.times(4, 10.0)
    assert times[0] == 1 and times[-1] == 0 and times == sorted(times, reverse=True) and times[1] > 0.9


def test_shading_with_the_true_look_makes_the_true_picture():
    """The head's formula is the training renderer's: only occlusion, clouds and film curve are missing from it."""
    c = clip(seed=5, place="blocks")
    look = shading.with_sky(shading.unpack(c.look[None]), torch.tensor([c.cloud_seed]))
    zero = {
        "drift": torch.zeros(1, 1, 1, 1, 1),
        "pane": torch.zeros(1, 1, 1, 1, 1),
        "cloud": torch.zeros(1, 1, 1, 1, 1),
    }
    base = c.maps[None, :, conditions.SLICE["base"]]
    made = shading.shade(c.maps[None], base, look, torch.full((1, 1, 1, 1, 1), c.azimuth), zero)[0]
    solid = c.maps[:, conditions.SLICE["sky"]] < 0.5
    assert ((made - c.picture).abs() * solid).sum() / (3 * solid.sum()) < 0.25
    grey = torch.full_like(base, 0.5)
    flat = shading.shade(c.maps[None], grey, look, torch.full((1, 1, 1, 1, 1), c.azimuth), zero)[0]
    assert ((made - c.picture) ** 2 * solid).sum() < ((flat - c.picture) ** 2 * solid).sum()


def test_clear_glass_mirrors_by_its_own_normal_and_is_else_what_lies_behind_it():
    """Little from before and all of it along its face; a picture without glass is bit for bit what it was."""
    c = clip()
    maps, base = c.maps[None].clone(), c.maps[None, :, conditions.SLICE["base"]].float()
    look = shading.unpack(c.look[None])
    look |= {"sky_light": torch.full_like(look["sky_light"], 0.2), "zenith": torch.full_like(look["zenith"], 1.0)}
    look |= {"horizon": torch.full_like(look["horizon"], 1.0), "fog_density": torch.zeros_like(look["fog_density"])}
    look = shading.in_place(shading.with_sky(look, torch.tensor([c.cloud_seed])), maps)
    zero = {name: torch.zeros_like(base[:, :, :1]) for name in ("drift", "pane", "cloud")}
    shade = lambda: shading.shade(maps, base, look, torch.full((1, 1, 1, 1, 1), c.azimuth), zero)  # noqa: E731
    ray, solid = maps[:, :, conditions.SLICE["ray"]].float(), maps[:, :, conditions.SLICE["sky"]] < 0.5
    bare = shade()
    side = torch.linalg.cross(ray, torch.tensor([0.0, 0, 1]).view(1, 1, 3, 1, 1).expand_as(ray), dim=2)
    added = []
    for turned in (0.0, 80.0, 89.0):  # degrees away from the camera
        angle = math.radians(turned)
        normal = -ray * math.cos(angle) + functional.normalize(side, dim=2) * math.sin(angle)
        maps[:, :, conditions.SLICE["glass"]] = normal.to(maps.dtype)
        added.append(float((shade() - bare)[solid.expand_as(bare)].abs().mean()))
    assert 0.005 < added[0] < added[1] / 2 < added[2] / 2
    maps[:, :, conditions.SLICE["glass"]] = 0
    assert torch.equal(shade(), bare)


def test_bare_metal_is_all_mirror_and_its_edges_are_of_it():
    """It shows no light from its own side, only what it mirrors; a glossy pixel beside it is so in part."""
    c = clip()
    maps, base = c.maps[None].clone(), c.maps[None, :, conditions.SLICE["base"]].float()
    look = shading.in_place(shading.with_sky(shading.unpack(c.look[None]), torch.tensor([c.cloud_seed])), maps)
    zero = {name: torch.zeros_like(base[:, :, :1]) for name in ("drift", "pane", "cloud")}
    azimuth = torch.full((1, 1, 1, 1, 1), c.azimuth)
    solid = maps[0, 0, conditions.SLICE["sky"].start] < 0.5

    def changed(gloss: float) -> torch.Tensor:  # by lamps of its own side
        maps[:, :, conditions.SLICE["mirror"]] = gloss
        maps[:, :, conditions.SLICE["lamps"]] = 0
        dark = shading.shade(maps, base, look, azimuth, zero)
        maps[:, :, conditions.SLICE["lamps"]] = 3
        return (shading.shade(maps, base, look, azimuth, zero) - dark)[0, 0].abs().mean(0)[solid]

    assert changed(1.0).max() < 0.01 < changed(0.5).mean()  # the prompt's dust of snow is no metal
    gloss = torch.zeros(1, 1, 1, 1, 5)
    gloss[..., 1], gloss[..., 2] = 1.0, 0.6
    assert shading._metal(gloss).flatten().tolist() == pytest.approx([0, 1, 0.6, 0, 0])
    gloss[..., 1] = 0.5  # what is only glossy makes nothing around it metal
    assert not shading._metal(gloss).any()


def test_rows_with_a_neighbour_on_either_side_are_the_pictures():
    """Rims of glass and edges of metal look one pixel aside, no farther: a large frame is made in bands."""
    c = clip()
    maps, base = c.maps[None].clone(), c.maps[None, :, conditions.SLICE["base"]].float()
    chance = torch.rand(maps.shape[-2:], generator=torch.Generator().manual_seed(1))
    maps[:, :, conditions.SLICE["mirror"]] = 0.5 + 0.5 * (chance > 0.5)
    maps[:, :, conditions.SLICE["glass"], 24:, 20:40] = torch.tensor([0.6, -0.8, 0.0]).view(3, 1, 1)
    look = shading.in_place(shading.with_sky(shading.unpack(c.look[None]), torch.tensor([c.cloud_seed])), maps)

    def rows(some: slice) -> torch.Tensor:
        part, its = maps[..., some, :], base[..., some, :]
        zero = {name: torch.zeros_like(its[:, :, :1]) for name in ("drift", "pane", "cloud")}
        return shading.shade(part, its, look, torch.full((1, 1, 1, 1, 1), c.azimuth), zero)

    whole = rows(slice(0, 48))
    assert torch.allclose(rows(slice(0, 25))[..., :24, :], whole[..., :24, :], atol=1e-6)
    assert torch.allclose(rows(slice(23, 48))[..., 1:, :], whole[..., 24:, :], atol=1e-6)
    assert not torch.allclose(rows(slice(24, 48)), whole[..., 24:, :], atol=1e-3)


@pytest.mark.parametrize("rough, lit", [(0.06, True), (conditions.UNKNOWN, True), (0.5, True), (0.6, False)])
def test_only_what_is_smooth_is_a_pane(rough, lit):
    """Dark timber is as glossy as a pane; a shader that nobody touched may be one."""
    c = clip()
    maps, base = c.maps[None].clone(), c.maps[None, :, conditions.SLICE["base"]].float()
    look = shading.in_place(shading.with_sky(shading.unpack(c.look[None]), torch.tensor([c.cloud_seed])), maps)
    look |= {"lit": torch.ones_like(look["lit"]), "window": torch.ones_like(look["window"])}
    maps[:, :, conditions.SLICE["rough"]] = rough
    fields = {name: torch.zeros_like(base[:, :, :1]) for name in ("drift", "pane", "cloud")}
    azimuth = torch.full((1, 1, 1, 1, 1), c.azimuth)
    dark = shading.shade(maps, base, look, azimuth, fields)
    glowing = shading.shade(maps, base, look, azimuth, {**fields, "pane": torch.ones_like(fields["pane"])})
    assert (float((glowing - dark).abs().max()) > 0.1) == lit


def test_the_picture_shows_the_scene_and_the_prompt(bundled):
    """From pure noise: nearer to the truth than the base colour, and nearer than another prompt's picture."""
    from engine.train.sheet import sample

    c = clip(seed=11, height=64, width=96, time="sunset")
    made = sample(bundled, c, True)
    base = c.maps[:, conditions.SLICE["base"]] * 2 - 1
    assert ((made - c.picture) ** 2).mean() < 0.5 * ((base - c.picture) ** 2).mean()
    c.rows = text.encode(["at night"])[0]
    assert ((made - c.picture) ** 2).mean() < ((sample(bundled, c, True) - c.picture) ** 2).mean()


# ---------------------------------------------------------------- where it runs


@pytest.mark.parametrize("recorded", [None, {"precision": "bfloat16", "threads": 3}])
def test_what_is_said_to_run_is_what_runs_where_a_gpu_is_too(monkeypatch, recorded):
    """The one thing here that this machine lacks is a GPU: torch is made to see one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Some GPU")
    chosen = machine.choose(recorded)
    words = machine.in_words(chosen)
    assert words.startswith(f"{chosen.device}: {chosen.threads} thread") and str(chosen.dtype)[6:] in words
    assert "Some GPU is not used" in words and check.device() == machine.in_words(machine.choose())


def test_precision_is_probed_once_a_machine_and_kept_by_a_job(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(machine, "_has_bf16", lambda: True)
    monkeypatch.setattr(machine, "_seconds", lambda dtype: 1.0 if dtype == torch.bfloat16 else 2.0)
    assert machine.choose().dtype == torch.bfloat16
    monkeypatch.setattr(machine, "_seconds", lambda dtype: 1.0)  # a busy moment
    assert machine.choose().dtype == torch.bfloat16
    assert machine.choose({"precision": "float32", "threads": 3}).dtype == torch.float32
    assert machine.choose({"precision": "float32", "threads": 3}).threads == 3
    machine.memory().write_text("not json")
    assert machine.choose().dtype == torch.float32


# ---------------------------------------------------------------- weights


@pytest.fixture
def small(tmp_path):
    model = Lite(LiteConfig(width=32, layers=1, heads=2, stem=8))
    store.save(tmp_path, "lite", model.state_dict(), model.metadata())
    return model, tmp_path


def test_weights_come_back_as_they_went(small):
    model, folder = small
    assert store.config(folder, "lite") == {**model.metadata()}
    found = store.load(folder, "lite")
    for key, value in model.state_dict().items():
        assert torch.equal(found[key], value.bfloat16().float()), key


def test_no_shard_is_too_large_for_the_repository():
    sizes = [path.stat().st_size for path in store.BUNDLED.glob("*.safetensors")]
    assert len(sizes) >= len(store.shards(store.BUNDLED, "lite")) > 0
    assert max(sizes) < 15 * 10**6 and sum(sizes) < 64 * 10**6


def test_missing_cut_and_foreign_weights_are_named(small, tmp_path_factory):
    model, folder = small
    with pytest.raises(store.BadWeights, match="no weights called lite"):
        store.config(tmp_path_factory.mktemp("empty"), "lite")
    path = store.shards(folder, "lite")[0]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(store.BadWeights, match=path.name):
        store.config(folder, "lite")
    path.write_bytes(b"\xff" * 8 + whole[8:])  # a header of 2^63 bytes
    with pytest.raises(store.BadWeights, match=path.name):
        store.config(folder, "lite")
    path.write_bytes(whole)
    tensors = store.load(folder, "lite")
    with pytest.raises(store.BadWeights, match=r"lack stem\.weight"):
        store.fill(model, {k: v for k, v in tensors.items() if k != "stem.weight"}, "lite")
    with pytest.raises(store.BadWeights, match=r"stem.bias is \(3,\), expected"):
        store.fill(model, {**tensors, "stem.bias": torch.zeros(3)}, "lite")


def test_weights_that_are_not_finite_are_refused(small):
    model, folder = small
    broken = {**model.state_dict(), "stem.bias": torch.full((8,), torch.nan)}
    store.save(folder, "lite", broken, model.metadata())
    with pytest.raises(store.BadWeights, match=r"stem.bias holds numbers that are not finite"):
        store.load(folder, "lite")
