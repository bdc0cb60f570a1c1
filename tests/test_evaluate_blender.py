"""The judge against Cycles: what is perfect is told so, where an error lies is told, every figure has its key."""

import json

import numpy as np
import pytest

from engine import job
from engine.shot import open_shot
from engine.train import evaluate, evaluate_blender
from engine.train.captions import Brief
from engine.train.jobs import Case, write
from engine.weights import store

KEYS = {"mse", "mse_with_sky", "graded_mse", "graded_base_mse", "high_pass_correlation", "base_high_pass_correlation",
        "energy_share", "lab_change", "base_lab_change"}  # fmt: skip


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A folder with one clip in it, as Blender's clips lie; a procedural scene, for speed."""
    out = tmp_path_factory.mktemp("clips")
    write(out / "scene-0001", Case("scene", Brief(place="street"), (5, 96, 160), 3, "colonnade"))
    return out


def test_the_truth_itself_is_without_fault(clip):
    folder = clip / "scene-0001"
    shot, truth = open_shot(folder), evaluate_blender.pictures(folder / "truth")
    found = evaluate_blender.against(shot, truth, truth)
    assert found.keys() == KEYS
    assert found["mse"] == found["mse_with_sky"] == found["lab_change"] == 0 and found["energy_share"] == 1
    assert found["high_pass_correlation"] == pytest.approx(1) and found["graded_mse"] < 1e-5 < found["graded_base_mse"]


def test_an_error_is_found_where_it_lies(clip):
    """Lightened in the sky alone, and by grey alone: other parts are without fault, L* is off and no hue."""
    folder = clip / "scene-0001"
    shot, truth = open_shot(folder), evaluate_blender.pictures(folder / "truth")
    sky = ~np.isfinite(np.asarray(shot.passes["depth"]))
    grey = np.full_like(truth, 100)
    wrong = grey + (sky[..., None] * 20).astype(np.uint8)
    found = evaluate_blender.regions(shot, wrong, grey)
    assert found["sky"]["of_error"] == pytest.approx(1) and found["sky"]["l"] > 5 and abs(found["sky"]["b"]) < 0.1
    assert all(row["mse"] == 0 for name, row in found.items() if name != "sky")
    assert evaluate_blender.against(shot, wrong, grey)["mse"] == 0


def test_the_parts_make_the_picture(clip):
    folder = clip / "scene-0001"
    shot, truth = open_shot(folder), evaluate_blender.pictures(folder / "truth")
    masks = evaluate_blender.parts(shot, truth)
    disjoint = [masks[name] for name in ("sky", "glowing", "glass_and_metal", "matt_in_light", "matt_in_shade")]
    assert (np.sum(disjoint, axis=0) == 1).all()


def test_a_folder_of_clips_is_judged(clip, tmp_path, capsys):
    """Through the command: figures under stable keys, a table, a sheet; the clips stay as they were."""
    before = sorted(path.relative_to(clip) for path in clip.rglob("*"))
    out = tmp_path / "figures.json"
    line = ["--blender-clips", str(clip), "--only-blender", "--json", str(out), "--keep", str(tmp_path / "work")]
    assert evaluate.main(line) == 0
    found = json.loads(out.read_text())
    assert found["weights"] == store.fingerprint(store.BUNDLED, "lite") and "follow" not in found
    only = found["blender"]["clips"]["scene-0001"]
    assert only["picture"].keys() == found["blender"]["mean"].keys() == KEYS
    assert only["camera"].keys() == set(evaluate_blender.WHO.values())
    assert all(report.keys() == set(evaluate_blender.CAMERA) for report in only["camera"].values())
    assert only["camera"]["ceiling"]["warp_psnr_db"] > only["camera"]["floor"]["warp_psnr_db"]
    assert only["camera"]["lite"]["warp_psnr_db"] > only["camera"]["no_camera"]["warp_psnr_db"] + 3
    assert sorted(path.relative_to(clip) for path in clip.rglob("*")) == before
    assert job.read(tmp_path / "work" / "blender" / "scene-0001").prompt == evaluate_blender.PROMPT
    assert "| scene-0001 | lite |" in capsys.readouterr().out
    evaluate_blender.sheet(tmp_path / "work", tmp_path / "sheet.jpg")
    assert (tmp_path / "sheet.jpg").stat().st_size > 1000


def test_what_cannot_be_judged_is_told_in_one_sentence(tmp_path, capsys):
    assert evaluate.main(["--blender-clips", str(tmp_path), "--only-blender"]) == 2
    said = capsys.readouterr().err.strip()
    assert "no clip lies in" in said and "\n" not in said
    with pytest.raises(SystemExit):
        evaluate.main(["--make-clips"])
