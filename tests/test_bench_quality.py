"""The judge of pictures: perfect and shuffled labels are told for what they are."""

import numpy as np

from engine.bench_quality import features, nearest_centroid


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
