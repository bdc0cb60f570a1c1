"""The camera report on clips with a known answer: ray-cast here, with exact depth, motion and cameras."""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

import textured_scene as scene  # noqa: E402

from engine import job as jobs  # noqa: E402
from engine.measure import (  # noqa: E402
    KEYS,
    features,
    geometry,
    measure,
    verdict,
)
from engine.measure import clip as clips  # noqa: E402

FRAMES = 13


@pytest.fixture(scope="module")
def crane() -> scene.Shot:
    return scene.render(scene.crane(FRAMES))


@pytest.fixture(scope="module")
def folder(crane: scene.Shot, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scene.write_job(tmp_path_factory.mktemp("crane"), crane)


@pytest.fixture(scope="module")
def perfect(folder: Path) -> dict:
    return measure(folder)


def report_of(folder: Path, pictures: np.ndarray, where: Path) -> dict:
    return measure(folder, scene.write_pictures(where / "pictures", pictures))


def test_a_perfect_clip_follows_to_the_noise_of_the_measurement(perfect: dict) -> None:
    assert perfect["follows"] and perfect["lag"] == 0
    assert perfect["rot_err_deg"] < 0.1 and perfect["trans_err_percent"] < 1.0
    assert perfect["flow_epe_over_motion"] < 0.05 and perfect["sampson_px"] < 0.45
    assert perfect["warp_psnr_db"] > 36 and perfect["warp_ssim"] > 0.98 and perfect["warp_margin_db"] > 20
    assert perfect["revisit_psnr_db"] > 35 and perfect["revisit_zncc"] > 0.97 and perfect["revisit_de"] < 0.4
    assert perfect["verdict"].startswith("follows within 0.0") and perfect["verdict"].endswith("38 dB")


def test_every_key_is_there_and_json_is_finite(perfect: dict) -> None:
    assert set(KEYS) <= set(perfect) and {"follows", "verdict", "reasons"} <= set(perfect)
    json.dumps(perfect, allow_nan=False)


def test_a_mirrored_path_fails(folder: Path, crane: scene.Shot, tmp_path: Path) -> None:
    pictures = scene.pictures(scene.mirrored(crane.c2w))
    found = report_of(folder, pictures, tmp_path)
    assert not found["follows"] and found["verdict"].startswith("does not follow the camera")
    assert found["rot_err_deg"] > 5 and found["flow_epe_over_motion"] > 1 and found["warp_margin_db"] < 3


def test_a_frozen_clip_fails_though_its_frames_agree(folder: Path, crane: scene.Shot, tmp_path: Path) -> None:
    found = report_of(folder, crane.pictures[:1].repeat(FRAMES, 0), tmp_path)
    assert not found["follows"] and "stands still" in found["verdict"]
    assert found["trans_err_percent"] > 40 and found["flow_epe_over_motion"] == pytest.approx(1, abs=0.02)
    assert found["warp_margin_db"] < -20 and found["lag"] is None


@pytest.mark.parametrize("lag", [-2, -1, 1, 2])
def test_a_late_or_early_clip_is_told(folder: Path, crane: scene.Shot, tmp_path: Path, lag: int) -> None:
    order = np.clip(np.arange(FRAMES) - lag, 0, FRAMES - 1)
    found = report_of(folder, crane.pictures[order], tmp_path)
    assert found["lag"] == lag and not found["follows"]
    assert f"{abs(lag)} frame{'s' * (abs(lag) > 1)} {'late' if lag > 0 else 'early'}" in found["verdict"]


def test_a_blurred_clip_follows_with_less_detail(
        folder: Path, crane: scene.Shot, perfect: dict, tmp_path: Path) -> None:
    blurred = np.stack([cv2.GaussianBlur(picture, (0, 0), 1.5) for picture in crane.pictures])
    found = report_of(folder, blurred, tmp_path)
    assert found["follows"] and found["detail"] < 0.5 * perfect["detail"]


def test_noise_is_not_measured_and_never_called_good(folder: Path, crane: scene.Shot, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, crane.pictures.shape, np.uint8)
    found = report_of(folder, noise, tmp_path)
    assert not found["follows"] and found["rot_err_deg"] is None
    assert found["verdict"].startswith("cannot be measured: nothing can be followed")
    assert found["reasons"]["rot_err_deg"]


def test_flat_pictures_cannot_be_measured(folder: Path, crane: scene.Shot, tmp_path: Path) -> None:
    found = report_of(folder, np.full_like(crane.pictures, 128), tmp_path)
    assert not found["follows"] and found["verdict"].startswith("cannot be measured: too little texture")
    assert found["flow_epe_over_motion"] is None and found["revisit_zncc"] is None


def test_the_measurement_is_as_wrong_as_the_clip(folder: Path, crane: scene.Shot, tmp_path: Path) -> None:
    """Pictures taken by a camera that turns 1 degree too far by the end: half a degree on average."""
    turned = crane.c2w.copy()
    for f in range(FRAMES):
        turned[f, :3, :3] = turned[f, :3, :3] @ cv2.Rodrigues(np.array([0, np.radians(f / (FRAMES - 1)), 0]))[0]
    found = report_of(folder, scene.pictures(turned), tmp_path)
    expected = np.mean([f / (FRAMES - 1) for f in range(1, FRAMES)])
    assert found["rot_err_deg"] == pytest.approx(expected, abs=0.08)
    assert not found["follows"]


def test_a_camera_that_lags_behind_along_its_path(folder: Path, crane: scene.Shot, tmp_path: Path) -> None:
    slow = crane.c2w.copy()
    slow[:, :3, 3] = 0.8 * slow[:, :3, 3] + 0.2 * slow[0, :3, 3]
    found = report_of(folder, scene.pictures(slow), tmp_path)
    path = np.linalg.norm(np.diff(crane.c2w[:, :3, 3], axis=0), axis=1).sum()
    expected = 100 * np.linalg.norm(slow[1:, :3, 3] - crane.c2w[1:, :3, 3], axis=1).mean() / path
    assert found["trans_err_percent"] == pytest.approx(expected, abs=1.2) and not found["follows"]


def test_a_pure_rotation_has_no_path_and_no_epipolar_geometry(tmp_path: Path) -> None:
    shot = scene.render(scene.pan(9))
    found = measure(scene.write_job(tmp_path / "job", shot))
    assert found["follows"] and found["rot_err_deg"] < 0.1
    assert found["trans_err_percent"] is None and "does not travel" in found["reasons"]["trans_err_percent"]
    assert found["sampson_px"] is None
    frozen = report_of(tmp_path / "job", shot.pictures[:1].repeat(9, 0), tmp_path)
    assert not frozen["follows"] and "stands still" in frozen["verdict"]


def test_a_dolly_zoom_is_followed_in_place_and_in_lens(tmp_path: Path) -> None:
    poses, zoom = scene.dolly_zoom(9)
    folder = scene.write_job(tmp_path / "job", scene.render(poses, zoom=zoom))
    found = measure(folder)
    assert found["follows"] and found["trans_err_percent"] < 1 and found["warp_psnr_db"] > 36
    unzoomed = report_of(folder, scene.pictures(poses, zoom=zoom[0]), tmp_path)
    assert not unzoomed["follows"] and unzoomed["trans_err_percent"] > 20


def test_a_resting_camera_divides_by_nothing(tmp_path: Path) -> None:
    shot = scene.render(scene.rest(7))
    found = measure(scene.write_job(tmp_path / "job", shot))
    assert found["follows"] and found["verdict"].startswith("holds still within")
    assert found["flow_epe_over_motion"] is None and found["warp_margin_db"] is None and found["lag"] is None
    moving = scene.pictures(scene.crane(7))
    assert not report_of(tmp_path / "job", moving, tmp_path)["follows"]


def test_a_large_object_moving_in_front_is_left_out(tmp_path: Path) -> None:
    shot = scene.render(scene.crane(9), moving=True)
    folder = scene.write_job(tmp_path / "job", shot)
    found = measure(folder)
    assert found["follows"] and found["rot_err_deg"] < 0.15 and found["trans_err_percent"] < 1.5
    assert found["warp_psnr_db"] > 34
    clip, mover = clips.read(folder), shot.objects[-1]
    for f in range(9):
        inside = cv2.erode((shot.index[f] == mover).astype(np.uint8), np.ones((3, 3))) > 0
        assert inside.sum() > 500 and not clip.still(f)[inside].any()
        assert clip.still(f)[shot.index[f] != mover].mean() > (0.97 if f < 8 else 0.65)    # the last has no vectors


def test_the_motion_pass_alone_finds_what_moves(tmp_path: Path) -> None:
    shot = scene.render(scene.crane(5), moving=True)
    clip = clips.read(scene.write_job(tmp_path / "job", shot, without=("index",)))
    mask = clip.still_between(0, 4)
    assert not mask[shot.index[0] == shot.objects[-1]].any() and mask[shot.index[0] != shot.objects[-1]].mean() > 0.97


def test_portrait(tmp_path: Path) -> None:
    found = measure(scene.write_job(tmp_path / "job", scene.render(scene.crane(7), size=(144, 256))))
    assert found["follows"] and found["rot_err_deg"] < 0.15


@pytest.mark.parametrize("width", [96, 128, 192])
def test_small_pictures_never_make_a_perfect_clip_wrong_and_wrong_ones_are_told(width: int, tmp_path: Path) -> None:
    size = (width, width // 32 * 16)
    shot = scene.render(scene.crane(FRAMES), size=size)
    folder = scene.write_job(tmp_path / "job", shot)
    found = measure(folder)
    assert found["follows"] is (None if width == 96 else True), found["verdict"]
    assert width > 96 or found["verdict"].startswith(f"too small to tell at {size[0]}x{size[1]}")
    slow = shot.c2w.copy()
    slow[:, :3, 3] = 0.8 * slow[:, :3, 3] + 0.2 * slow[0, :3, 3]
    wrong = {"a fifth too slow": scene.pictures(slow, size), "half as fast": shot.pictures[np.arange(FRAMES) // 2],
             "frozen": shot.pictures[:1].repeat(FRAMES, 0), "backwards": shot.pictures[::-1],
             "mirrored": scene.pictures(scene.mirrored(shot.c2w), size)}
    for name, pictures in wrong.items():
        found = report_of(folder, pictures, tmp_path / name)
        assert found["follows"] is False and found["verdict"].startswith("does not follow the camera"), name


@pytest.fixture(scope="module")
def aliased(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two procedural scenes, one sample to a pixel, whose corners are few and soon out of sight."""
    from engine.train import captions
    from engine.train import jobs as procedural

    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(procedural, "TRUE_RAYS", 1)
        for place, seed in (("village", 11), ("harbour", 6)):
            random = np.random.default_rng(seed)
            brief = captions.draw(random, place=place, style="none", weather="clear", time="noon", lights="none")
            made[place] = tmp_path_factory.mktemp(place) / "job"
            procedural.write(made[place], procedural.Case(place, brief, (17, 112, 192), seed))
    return made


@pytest.mark.parametrize("place", ["village", "harbour"])
def test_what_few_corners_cannot_tell_is_not_called_wrong(aliased: dict[str, Path], place: str) -> None:
    """The path's error is over its limit here, and no larger than the points' own scatter explains."""
    found = measure(aliased[place], aliased[place] / "truth")
    assert found["follows"] is None and found["verdict"].startswith("too small to tell at 192x112"), found["verdict"]
    if place == "village":
        assert found["trans_err_percent"] > 2
        assert found["position_err_percent_of_depth"] < 5 * found["position_noise_percent_of_depth"]


@pytest.mark.parametrize("order", [[0] * 17, range(16, -1, -1), [0, *range(16)], [i // 2 for i in range(17)]],
                         ids=["frozen", "backwards", "late", "half as fast"])
@pytest.mark.parametrize("place", ["village", "harbour"])
def test_few_corners_tell_a_wrong_clip(aliased: dict[str, Path], tmp_path: Path, place: str, order: list) -> None:
    truth = [cv2.imread(str(name))[..., ::-1] for name in sorted((aliased[place] / "truth").glob("*.png"))]
    found = report_of(aliased[place], np.stack([truth[i] for i in order]), tmp_path)
    assert found["follows"] is False and found["verdict"].startswith("does not follow the camera"), found["verdict"]


def test_a_cameras_standard_error_is_what_it_scatters_by() -> None:
    """Points seen with 0.3 px of noise, solved a hundred times: predicted and found scatter agree."""
    random = np.random.default_rng(2)
    K = np.array([[180.0, 0, 96], [0, 180, 54], [0, 0, 1]])
    c2w = scene.crane(3)[1]
    points = c2w[:3, 3] + random.uniform([-3, -1.5, 5], [3, 1.5, 12], (60, 3)) @ c2w[:3, :3].T
    uv, _ = geometry.project(points, K, c2w)
    turned, moved, told = [], [], []
    for _ in range(100):
        seen = uv + random.normal(0, 0.3, uv.shape)
        camera, _ = features.solve(points, seen, K, 3.0)
        turned.append(geometry.rotation_between(c2w[:3, :3], camera[:3, :3]))
        moved.append(np.linalg.norm(camera[:3, 3] - c2w[:3, 3]))
        told.append(features.uncertainty(points, seen, K, camera))
    deviation = [np.sqrt(np.mean(np.square(errors))) for errors in (turned, moved)]
    predicted = [np.mean([noise.rotation for noise in told]), np.mean([noise.position for noise in told])]
    assert predicted == pytest.approx(deviation, rel=0.15)


def test_few_points_that_pull_the_camera_to_themselves_are_told_as_noise() -> None:
    """A wall of true corners, and four farther away that slipped by up to a pixel and alone tell turn from shift: how
    far the camera is turned, in standard errors, theirs left out in turn and as the mean scatter has it."""
    K = np.array([[620.0, 0, 224], [0, 620, 126], [0, 0, 1]])
    c2w = scene.crane(3)[1]
    told, plain = [], []
    for seed in range(8):
        random = np.random.default_rng(seed)
        wall = random.uniform([-3, -2, 10.9], [3, 2, 11.1], (60, 3))
        far = random.uniform([-3, -2, 13], [3, 2, 16], (4, 3))
        points = c2w[:3, 3] + np.concatenate([wall, far]) @ c2w[:3, :3].T
        seen = geometry.project(points, K, c2w)[0] + random.normal(0, 0.15, (64, 2))
        seen[60:, 0] -= random.uniform(0, 1, 4)
        camera, used = features.solve(points, seen, K, 1.5)
        turned = geometry.rotation_between(c2w[:3, :3], camera[:3, :3])
        told.append(turned / features.uncertainty(points[used], seen[used], K, camera).rotation)
        residual, J = features.linearised(points[used], seen[used], K, camera)
        even = np.linalg.pinv(np.einsum("nia,nib->ab", J, J)) * (residual**2).sum() / (2 * len(used) - 6)
        plain.append(turned / np.degrees(features.standard_errors(even)[0]))
    assert max(told) < 4 and max(plain) > verdict.NOISE


def test_a_resting_camera_is_found_by_few_corners() -> None:
    """Most stand still to the last digit: a thousandth of a pixel is no reason to drop the others."""
    random = np.random.default_rng(2)
    K = np.array([[180.0, 0, 96], [0, 180, 54], [0, 0, 1]])
    c2w = scene.rest(1)[0]
    points = c2w[:3, 3] + random.uniform([-3, -1.5, 5], [3, 1.5, 12], (21, 3)) @ c2w[:3, :3].T
    uv, _ = geometry.project(points, K, c2w)
    uv[14:] += random.normal(0, 0.002, (7, 2))
    camera, used = features.solve(points, uv, K, 0.64)
    assert len(used) == 21 and np.abs(camera - c2w).max() < 1e-3


def test_one_frame_late_is_told_in_small_pictures_too(tmp_path: Path) -> None:
    shot = scene.render(scene.crane(FRAMES), size=(128, 64))
    late = shot.pictures[np.clip(np.arange(FRAMES) - 1, 0, FRAMES - 1)]
    found = report_of(scene.write_job(tmp_path / "job", shot), late, tmp_path)
    assert found["follows"] is False and "1 frame late" in found["verdict"]


def looked_at_smaller(patch: pytest.MonkeyPatch) -> None:
    """Large frames begin at this file's own size, as 1080p is to 512x288: what follows takes no minutes to ray-cast."""
    patch.setattr(clips, "LARGE", 192 * 96)
    patch.setattr(clips, "SEEN", 176 * 99)


def test_large_frames_are_looked_at_smaller_and_tell_the_same(
        folder: Path, perfect: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at_smaller(monkeypatch)
    found = measure(folder)
    assert (found["details"]["size"], found["details"]["seen"]) == ([256, 144], [176, 99])
    for error, noise in (("rot_err_deg", "rot_noise_deg"),
                         ("position_err_percent_of_depth", "position_noise_percent_of_depth")):
        assert abs(found[error] - perfect[error]) < np.hypot(found[noise], perfect[noise])
    assert found["follows"] and found["lag"] == 0
    assert abs(found["trans_err_percent"] - perfect["trans_err_percent"]) < 0.5
    assert abs(found["flow_epe_over_motion"] - perfect["flow_epe_over_motion"]) < 0.02
    for decibels in ("warp_psnr_db", "warp_margin_db", "revisit_psnr_db"):                  # of the frames as they are
        assert found[decibels] == pytest.approx(perfect[decibels], abs=0.5)
    assert found["revisit_de"] == pytest.approx(perfect["revisit_de"], abs=0.05)
    assert found["detail"] == perfect["detail"]


def test_a_large_clip_that_is_wrong_is_as_wrong_and_what_moves_is_left_out(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at_smaller(monkeypatch)
    shot = scene.render(scene.crane(5), moving=True)
    clip = clips.read(scene.write_job(tmp_path / "job", shot, without=("index",), crop=(20, 8, 232, 128)))
    assert clip.size == (178, 98) and not clip.large
    whole = clips.read(tmp_path / "job", as_they_are=True)
    assert whole.size == (232, 128) and whole.large
    motion, planned = (geometry.static_flow(c.view(1), c.view(2)) for c in (clip, whole))
    shrunk = cv2.resize(planned.astype(np.float32), clip.size, interpolation=cv2.INTER_AREA) * clip.shrunk
    plain = ~geometry.silhouettes(clip.view(1), 2)
    assert np.abs(motion - shrunk)[plain].max() < 0.02                 # a plane's mean disparity is that of its middle
    still = cv2.resize(whole.still(1).astype(np.uint8), clip.size, interpolation=cv2.INTER_NEAREST) > 0
    assert 0.01 < (~clip.still(1)).mean() < 0.5 and (clip.still(1) == still).mean() > 0.98
    slow = shot.c2w.copy()
    slow[:, :3, 3] = 0.8 * slow[:, :3, 3] + 0.2 * slow[0, :3, 3]
    found = report_of(tmp_path / "job", scene.pictures(slow), tmp_path)
    assert found["follows"] is False and 10 < found["trans_err_percent"] < 30


def test_the_crop_shifts_the_camera_and_the_passes(crane: scene.Shot, perfect: dict, tmp_path: Path) -> None:
    folder = scene.write_job(tmp_path / "job", crane, crop=(24, 10, 208, 118))
    found = measure(folder)
    assert found["follows"] and found["rot_err_deg"] < 0.12 and found["lag"] == 0 and found["warp_psnr_db"] > 36
    whole = report_of(folder, crane.pictures, tmp_path)                  # a render of the whole size is cut to the crop
    assert whole["rot_err_deg"] == found["rot_err_deg"]
    shifted = report_of(folder, crane.pictures[:, :118, :208], tmp_path / "b")
    assert shifted["warp_psnr_db"] < found["warp_psnr_db"] - 3           # the wrong part of the picture is noticed


def test_one_and_two_frames(crane: scene.Shot, tmp_path: Path) -> None:
    one, two = scene.render(crane.c2w[:1]), scene.render(crane.c2w[:2])
    single = measure(scene.write_job(tmp_path / "one", one))
    assert not single["follows"]
    assert single["verdict"] == "cannot be measured: a single frame: nothing to compare it with"
    assert all(single[key] is None and single["reasons"][key] for key in KEYS)
    double = measure(scene.write_job(tmp_path / "two", two))
    assert double["follows"] and double["lag"] is None and double["revisit_psnr_db"] is None


def test_frames_are_not_compared_across_a_cut(crane: scene.Shot, tmp_path: Path) -> None:
    """Two half shots of another light each: across the cut nothing matches, within each all does."""
    pictures = crane.pictures.copy()
    pictures[7:] = 255 - pictures[7:]
    folder = scene.write_job(tmp_path / "job", crane, cuts=(0, 7))
    found = report_of(folder, pictures, tmp_path)
    assert found["follows"] and found["warp_psnr_db"] > 36
    assert found["details"]["camera"]["solved"] == FRAMES - 2           # the first of each shot is where it starts


def test_missing_frames_and_wrong_sizes_are_said(folder: Path, crane: scene.Shot, tmp_path: Path) -> None:
    with pytest.raises(jobs.BadJob, match=r"12 PNG frames .* the shot has 13"):
        report_of(folder, crane.pictures[1:], tmp_path / "a")
    with pytest.raises(jobs.BadJob, match="128x72: the job's crop is 256x144"):
        report_of(folder, crane.pictures[:, ::2, ::2], tmp_path / "b")


def test_other_pictures_beside_the_frames_are_not_measured(folder: Path, perfect: dict) -> None:
    poster = folder / "frames" / "poster.png"
    cv2.imwrite(str(poster), np.zeros((8, 8, 3), np.uint8))
    try:
        assert measure(folder) == perfect
    finally:
        poster.unlink()


def test_stop_is_heard(folder: Path) -> None:
    with pytest.raises(jobs.Cancelled):
        measure(folder, stop=lambda: True)


def test_the_command_prints_json(folder: Path, perfect: dict) -> None:
    command = [sys.executable, "-m", "engine", "measure", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == json.loads(json.dumps(perfect))
    wrong = subprocess.run([*command, "--frames", str(folder)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert wrong.returncode == 3 and "0 PNG frames" in wrong.stderr and "Traceback" not in wrong.stderr


# The geometry that all figures stand on

def test_the_static_flow_is_the_scenes_own(crane: scene.Shot, folder: Path) -> None:
    clip = clips.read(folder)
    flow = geometry.static_flow(clip.view(3), clip.view(4))
    difference = np.abs(flow - crane.motion[3].astype(np.float64))
    assert np.median(difference) < 0.002 and difference.max() < 0.02       # float16 vectors, float32 depth


def test_pixels_hidden_in_the_other_frame_are_not_covisible(crane: scene.Shot, folder: Path) -> None:
    """Against the index pass of both frames: a pixel that lands on another object must not count."""
    clip = clips.read(folder)
    uv, seen = geometry.covisible(clip.view(0), clip.view(12))
    there = geometry.sample(crane.index[12].astype(np.float32), uv, cv2.INTER_NEAREST)
    assert seen.mean() > 0.4 and (there != crane.index[0])[seen].mean() < 0.001     # where a box stands on the floor
    assert (there != crane.index[0])[geometry.inside(uv, *seen.shape)].sum() > 200


def test_sampson_is_the_distance_from_the_epipolar_line(folder: Path) -> None:
    a, b = (clips.read(folder).view(i) for i in (0, 12))
    start = np.array([[60.0, 100.0], [128.0, 72.0], [200.0, 40.0]])
    depth = np.array([a.depth[int(v), int(u)] for u, v in start]).astype(float)
    there, _ = geometry.project(geometry.lift(start, depth, a.K, a.c2w), b.K, b.c2w)
    F = geometry.fundamental(a, b)
    assert np.abs(geometry.sampson(F, start, there)).max() < 1e-6
    line = np.concatenate([start, np.ones((3, 1))], 1) @ F.T
    normal = line[:, :2] / np.linalg.norm(line[:, :2], axis=1, keepdims=True)
    off = geometry.sampson(F, start, there + 0.5 * normal)
    assert off == pytest.approx(np.full(3, 0.5 / np.sqrt(2)), rel=0.1)      # shared between both pictures


def test_a_known_rotation_is_measured_to_its_last_digits() -> None:
    for angle in (1e-6, 0.01, 3.0, 179.0):
        turned = cv2.Rodrigues(np.radians(angle) * np.array([0.6, 0.0, 0.8]))[0]
        assert geometry.rotation_between(np.eye(3), turned) == pytest.approx(angle, rel=1e-6)
