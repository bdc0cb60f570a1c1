"""From the panel's model menu through a real job to a strip, with tiny random checkpoints: what a model is told reaches
job.json, what it lacks is refused by name, a model that is gone keeps its name. Real capture, real engine, CPU."""

import json
import shutil
import subprocess
from pathlib import Path

import bpy
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def tiny_models(shotlock, tmp_path_factory):
    """models.json of tiny checkpoints, made by the engine's own Python."""
    from shotlock.operators import install

    try:
        python = install.engine_python()
    except install.NoEngine as error:
        pytest.skip(str(error))
    maker, folder = ROOT / "tests" / "support" / "tiny_wan.py", tmp_path_factory.mktemp("models")
    done = subprocess.run([python, str(maker), str(folder)], capture_output=True, text=True, check=False,
                          env=install.clean_environment())
    assert done.returncode == 0, done.stderr
    return folder / "models.json"


@pytest.fixture
def models(tiny_models, monkeypatch):
    """The registry names them; what was known of another one is forgotten before and after."""
    from shotlock.operators import forecast, memory, session

    monkeypatch.setenv("SHOTLOCK_MODELS", str(tiny_models))
    memory.forget()
    yield tiny_models
    session.jobs.clear()
    session.restart()
    memory.forget()
    forecast.forget()


@pytest.fixture
def film(saved):
    """Three frames of 96 x 64 pixels, with a prompt."""
    saved.frame_end = 3
    saved.shotlock.prompt, saved.shotlock.width = "a red barn", 96
    return saved


def told(folder):
    return json.loads((folder / "job.json").read_text(encoding="utf-8"))


def menu_of(models):
    """What the menu offers: names of models, in its order."""
    from shotlock.operators import shelf

    return list(shelf.shelf().models)


def test_the_menu_has_the_bundled_model_and_what_the_registry_names(models, film):
    names = menu_of(models)
    assert names[0] == "lite" and set(json.loads(models.read_text())["models"]) == set(names[1:])
    assert bpy.ops.shotlock.choose_model(model="tiny-vace") == {"FINISHED"}
    assert film.shotlock.model == "tiny-vace"


ADAPTED = """
import sys
from pathlib import Path
from engine.weights import store
weights, config = store.load(store.BUNDLED, "lite"), store.config(store.BUNDLED, "lite")
Path(sys.argv[1]).mkdir(parents=True)
store.save(Path(sys.argv[1]), "lite", weights, {**config, "words": {"grimlow": [0.0] * 60}})
"""


def test_an_artists_own_lite_is_in_the_menu_by_its_word(models, film, monkeypatch):
    from shotlock.operators import generate, install, manager, memory, shelf
    from shotlock.operators.plan import plan

    folder = models.parent / "models" / "lite" / "grimlow"
    done = subprocess.run([install.engine_python(), "-c", ADAPTED, str(folder)], capture_output=True, text=True,
                          check=False, cwd=ROOT, env=install.clean_environment())
    assert done.returncode == 0, done.stderr
    try:
        memory.forget()
        names = menu_of(models)
        assert names[:2] == ["lite", "lite-grimlow"] and shelf.title("lite-grimlow") == "Lite with grimlow"
        assert bpy.ops.shotlock.choose_model(model="lite-grimlow") == {"FINISHED"}
        assert shelf.is_lite("lite-grimlow") and shelf.lack("lite-grimlow") == generate.why_not(bpy.context) == ""
        made, choice = plan(film), shelf.choice("lite-grimlow")
        assert made.model == "lite-grimlow" and made.control_strength == 1.0
        assert choice.told == "its own word, grimlow" and choice.recipe == shelf.LITE_RECIPE
        assert "lite-grimlow" in [row.name for row in manager.rows()]
        gone = sorted(folder.iterdir())[-1]
        gone.unlink()
        memory.forget()
        assert f"{gone.name} of the model Lite with grimlow is not there any more" in generate.why_not(bpy.context)
    finally:
        shutil.rmtree(folder)


def picture(path, colour):
    image = bpy.data.images.new(path.stem, 96, 64)
    image.pixels.foreach_set([*colour, 1.0] * (96 * 64))
    image.filepath_raw, image.file_format = str(path), "PNG"
    image.save()
    bpy.data.images.remove(image)
    return path


def test_a_model_of_the_menu_makes_a_strip_and_is_told_all_that_was_set(models, film, tmp_path):
    from shotlock.operators import compat, takes

    bpy.ops.shotlock.choose_model(model="tiny-vace")
    shot = film.shotlock
    shot.steps, shot.guidance, shot.control_strength = 2, 1.0, 0.8
    shot.control_end, shot.denoise = 0.9, 0.7
    shot.shift, shot.use_speed, shot.speed_compile, shot.speed_cache = 3.5, True, False, 0.25
    barn, dog = picture(tmp_path / "barn.png", (0.6, 0.1, 0.1)), picture(tmp_path / "dog.PNG", (0.3, 0.3, 0.3))
    bpy.ops.shotlock.know_picture(filepath=str(barn), place="LAST")
    bpy.ops.shotlock.add_reference(filepath=str(dog))
    assert bpy.ops.shotlock.generate() == {"FINISHED"}
    (strip,) = compat.strips(film)
    assert compat.strip_range(strip) == (1, 4) and strip.shotlock.model == "tiny-vace"
    folder = takes.job_folder(strip)
    values, report = told(folder), json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert (values["model"], values["steps"], values["guidance"]) == ("tiny-vace", 2, 1.0)
    assert [round(values[key], 3) for key in ("control_strength", "control_start", "control_end", "denoise")] == [
        0.8, 0.0, 0.9, 0.7]
    assert values["shift"] == 3.5 and {key: round(value, 3) if key != "decode" else value
                                       for key, value in values["speed"].items()} == {
        "guidance_until": 0.3, "cache": 0.25, "decode": "bf16"}
    assert values["known"] == [{"frame": 2, "picture": "pictures/known_000003.png"}]
    assert values["references"] == ["pictures/reference_1.png"]
    assert (folder / "pictures" / "known_000003.png").read_bytes() == barn.read_bytes()
    assert (folder / "pictures" / "reference_1.png").read_bytes() == dog.read_bytes()
    assert report["model"] == "tiny-vace" and report["recipe"]["steps"] == 2 and report["frames"] == 3
    assert report["recipe"]["denoise"] == values["denoise"] and report["recipe"]["shift"] == 3.5
    assert report["speed"]["cache"]["most"] == values["speed"]["cache"]

    # the next take may go through what was accepted of this one
    compat.select_only(film, strip)
    film.frame_set(2)
    for place in ("FIRST", "LAST", "FRAME"):
        assert bpy.ops.shotlock.keep_frame(place=place) == {"FINISHED"}
    kept = {entry.place: Path(bpy.path.abspath(entry.picture)) for entry in shot.known}
    frames = {place: folder / "frames" / f"00000{n}.png" for place, n in (("FIRST", 1), ("LAST", 3), ("FRAME", 2))}
    assert kept == frames and [entry.frame for entry in shot.known] == [2, 2, 2]
    film.frame_set(9)
    with pytest.raises(RuntimeError, match="no picture of its own at frame 9"):
        bpy.ops.shotlock.keep_frame(place="FRAME")

    # and Use These Settings gives back what this one was told
    shot.references.clear()
    shot.model, shot.use_speed, shot.shift, shot.speed_compile = "lite", False, 0.0, True
    assert bpy.ops.shotlock.redo() == {"FINISHED"}
    assert (shot.model, shot.steps, shot.use_recipe, round(shot.denoise, 3)) == ("tiny-vace", 2, False, 0.7)
    assert (shot.shift, shot.use_speed, shot.speed_compile, round(shot.speed_cache, 3)) == (3.5, True, False, 0.25)
    assert [(entry.place, entry.frame) for entry in shot.known] == [("LAST", 3)]
    assert [Path(bpy.path.abspath(entry.picture)).name for entry in shot.references] == ["reference_1.png"]


@pytest.mark.any_blender
def test_the_need_and_a_refusal_are_known_before_anything_is_captured(models, film):
    from shotlock.operators import forecast
    from shotlock.operators.plan import plan

    bpy.ops.shotlock.choose_model(model="tiny-vace")
    found = forecast.wait(plan(film))
    assert found.problem == "" and found.words.startswith("Needs ") and " that are free on " in found.words
    assert found.values["steps"] == 50 and found.values["sampled"] == [96, 64]
    bpy.ops.shotlock.choose_model(model="tiny-text")
    assert "Tiny Text can be told neither depth nor camera" in forecast.wait(plan(film)).problem
    with pytest.raises(RuntimeError, match="Tiny Text can be told neither depth nor camera"):
        bpy.ops.shotlock.generate()                             # by what is known, not by a capture of minutes
    film.shotlock.control_strength = 0.0
    assert forecast.wait(plan(film)).problem == ""


def test_a_model_that_is_gone_survives_reload_and_is_named(models, film, monkeypatch):
    from shotlock.operators import generate, memory, shelf

    film.shotlock.model = "tiny-camera"
    film.shotlock.loras.add().name = "a-look"
    film.shotlock.known.add().picture = "//barn.png"
    bpy.ops.wm.save_mainfile()
    monkeypatch.setenv("SHOTLOCK_MODELS", str(models.with_name("none.json")))
    memory.forget()
    bpy.ops.wm.open_mainfile(filepath=bpy.data.filepath)
    shot = bpy.context.scene.shotlock
    assert shot.model == "tiny-camera" and shelf.title(shot.model) == "tiny-camera (not on this machine)"
    assert shot.loras[0].name == "a-look" and shot.known[0].picture == "//barn.png"
    assert 'The model "tiny-camera" is not on this machine' in generate.why_not(bpy.context)
    assert not bpy.ops.shotlock.generate.poll()


def test_a_file_of_the_model_that_is_gone_is_named(models, film, tmp_path, monkeypatch):
    from shotlock.operators import generate, memory

    value = json.loads(models.read_text())
    for model in value["models"].values():
        model["files"] = {part: str(models.parent / file) for part, file in model["files"].items()}
    value["models"]["tiny-vace"]["files"]["text"] = str(tmp_path / "umt5.safetensors")
    (tmp_path / "models.json").write_text(json.dumps(value))
    monkeypatch.setenv("SHOTLOCK_MODELS", str(tmp_path / "models.json"))
    memory.forget()
    film.shotlock.model = "tiny-vace"
    reason = generate.why_not(bpy.context)
    assert "umt5.safetensors of the model Tiny Vace is not there any more" in reason


def test_what_was_left_over_from_another_model_is_not_asked_of_lite(models, film):
    from shotlock.operators.plan import plan

    shot = film.shotlock
    shot.denoise, shot.control_start, shot.shift, shot.use_speed = 0.5, 0.25, 7.0, True
    shot.known.add().picture = "/nowhere.png"
    shot.references.add().picture = "/picture.png"
    shot.loras.add().name = "a-look"
    made = plan(film)
    assert (made.denoise, made.control_start, made.loras) == (1.0, 0.0, ())
    assert (made.known, made.references) == (((0, "/nowhere.png"),), ("/picture.png",))     # lite takes these, too
    assert (made.shift, made.speed) == (None, ())
    shot.model = "tiny-vace"
    made = plan(film)
    assert (made.steps, made.shift) == (None, None)             # another model is sampled in its own way
    assert dict(made.speed) == {"compile": True, "guidance_until": pytest.approx(0.3), "cache": pytest.approx(0.08),
                                "decode": "bf16"}
    shot.shift = 7.0
    assert plan(film).shift == 7.0
    assert (made.denoise, made.control_start, made.loras) == (0.5, 0.25, (("a-look", 1.0),))
    assert made.known == ((0, "/nowhere.png"),)


def test_a_picture_that_is_gone_is_named_before_the_capture(models, film):
    from shotlock.operators import generate

    film.shotlock.model = "tiny-vace"
    film.shotlock.references.add().picture = "/nowhere/barn.png"
    assert "The picture /nowhere/barn.png is not there" in generate.why_not(bpy.context)


def test_a_known_frame_that_is_not_filmed_is_refused(models, film):
    from shotlock.operators.plan import Refusal, plan

    film.shotlock.model = "tiny-vace"
    entry = film.shotlock.known.add()
    entry.place, entry.frame = "FRAME", 77
    with pytest.raises(Refusal, match="The known frame 77 is not among those that are filmed"):
        plan(film)


def listed(models, folder, controls):
    """The registry once more, its models with what their files were found to take."""
    value = json.loads(models.read_text())
    for name, model in value["models"].items():
        model["files"] = {part: str(models.parent / file) for part, file in model["files"].items()}
        model["facts"] = {"controls": controls[name]} if name in controls else {}
    (folder / "models.json").write_text(json.dumps(value))
    return folder / "models.json"


def test_a_model_that_cannot_be_told_the_scene_is_not_asked_to_follow_it(models, film, tmp_path, monkeypatch):
    from shotlock.operators import memory
    from shotlock.operators.plan import plan

    monkeypatch.setenv("SHOTLOCK_MODELS", str(listed(models, tmp_path, {"tiny-text": []})))
    memory.forget()
    film.shotlock.model = "tiny-text"
    made = plan(film)
    assert made.control_strength == 0.0
    assert made.notes == ("Tiny Text can be told neither depth nor camera: its frames will not follow the shot",)


def test_controls_are_shown_where_the_model_has_them():
    from shotlock.operators import shelf

    vace = shelf.able_of(["control video", "known pixels", "first frame", "last frame", "reference images"])
    assert vace == shelf.ALL
    assert shelf.able_of(["camera", "first frame"]) == shelf.EVERY_WAN | {shelf.CONTROL, shelf.SPAN, shelf.FIRST}
    assert shelf.able_of([]) == shelf.EVERY_WAN
    assert shelf.in_words([]) == "nothing but the prompt"
