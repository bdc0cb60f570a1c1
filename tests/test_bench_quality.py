"""The judge of pictures: perfect and shuffled labels are told for what they are."""

import imageio.v3 as iio
import numpy as np
import pytest

from engine import job, windows
from engine.bench_quality import features, nearest_centroid, seams


def test_separate_clouds_are_told_apart_and_noise_is_not():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 6)
    apart = rng.normal(size=(24, 3)) * 0.1 + labels[:, None]
    assert nearest_centroid(apart, labels) == 1
    noise = rng.normal(size=(240, 3))
    assert nearest_centroid(noise, np.repeat(np.arange(4), 60)) < 0.4


def test_features_see_light_and_colour():
    grey, red = np.full((32, 32, 3), 120, np.uint8), np.full((32, 32, 3), (200, 30, 30), np.uint8)
    assert np.allclose(features(grey), features(grey))
    assert features(red)[6] > features(grey)[6] + 30
    assert features(grey)[0] < features(np.full((32, 32, 3), 230, np.uint8))[0]


SHOTS = [(60, 0, 0.7, 1.15), (60, 12, 2, 99), (20, 12, None, None)]


@pytest.mark.parametrize(("frames", "jump", "least", "most"), SHOTS)
def test_a_jump_where_a_window_begins_is_a_seam(job_maker, tmp_path, frames, jump, least, most):
    made = job_maker.make_job(tmp_path / "job", frames=frames, width=96, height=64, moving=False)
    begins = [window.start for window in windows.plan(frames, [0])][-1]
    (tmp_path / "job" / "frames").mkdir()
    for i, picture in enumerate(job_maker.truth(made.folder)):
        brighter = picture.astype(int) + (jump if i >= begins else 0)
        iio.imwrite(made.folder / "frames" / job.frame_name(i), brighter.clip(0, 255).astype(np.uint8))
    ratio = seams(made.folder)["seam_ratio"]
    assert ratio is None if least is None else least < ratio < most
