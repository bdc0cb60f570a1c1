"""Quality figures against pictures whose answer is known."""
from __future__ import annotations

import cv2
import numpy as np
import pytest

from engine import quality

SHAPE = (3, 128, 192)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """Fine texture of a 1/f kind, different in every frame and channel."""
    random = np.random.default_rng(3)
    layers = [cv2.GaussianBlur(random.normal(size=(*SHAPE[1:], 9)), (0, 0), sigma) * sigma for sigma in (0.8, 2, 5, 12)]
    picture = np.sum(layers, 0).reshape(*SHAPE[1:], 3, 3).transpose(2, 0, 1, 3)
    return np.clip(128 + 30 * picture / picture.std(), 0, 255).astype(np.uint8)


def plane() -> np.ndarray:
    """Depth of a slanted floor: disparity is affine in the picture, so it has no silhouettes."""
    v = np.arange(SHAPE[1])[:, None] + np.zeros(SHAPE[2])
    return np.tile(1 / (0.05 + 0.002 * v), (SHAPE[0], 1, 1)).astype(np.float32)


def blurred(frames: np.ndarray, sigma: float) -> np.ndarray:
    return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames])


def test_a_slanted_plane_is_inside_and_a_step_is_not() -> None:
    depth = plane()[0]
    assert quality.inside_surfaces(depth)[6:-6, 6:-6].all()
    depth[40:80, 60:120] *= 0.5
    inside = quality.inside_surfaces(depth)
    assert not inside[37:43, 60:120].any() and not inside[40:80, 117:123].any() and inside[50:70, 70:110].all()


def test_creases_objects_and_sky_are_not_inside() -> None:
    depth, index, normal = plane()[0], np.ones(SHAPE[1:], np.uint16), np.zeros((*SHAPE[1:], 3), np.float16)
    index[:, 90:], normal[:64, :, 2], normal[64:, :, 1] = 2, 1, 1
    depth[:30] = np.inf
    inside = quality.inside_surfaces(depth, index, normal)
    assert not inside[:, 88:92].any() and not inside[62:66].any() and not inside[:32].any()
    assert inside[40:60, 10:80].all()


def test_detail_correlates_with_itself_and_not_with_noise(truth: np.ndarray) -> None:
    noise = np.random.default_rng(4).integers(0, 256, truth.shape, np.uint8)
    assert quality.high_pass_correlation(truth, truth, plane()) == pytest.approx(1)
    assert quality.high_pass_correlation(255 - truth, truth, plane()) == pytest.approx(-1)
    assert abs(quality.high_pass_correlation(noise, truth, plane())) < 0.03
    assert quality.high_pass_correlation(truth, np.full_like(truth, 90), plane()) is None


def test_correlation_with_added_noise_is_what_theory_says(truth: np.ndarray) -> None:
    """r = 1 / sqrt(1 + (noise / signal)^2), both after the same filter."""
    small = (truth // 3 + 60).astype(np.uint8)                           # far from 0 and 255, so that nothing clips
    noise = np.random.default_rng(5).normal(0, 12, small.shape[:3])[..., None]
    noisy = np.rint(small + noise).astype(np.uint8)
    alone = np.rint(128 + noise + np.zeros(3)).astype(np.uint8)
    ratio = quality.high_frequency_energy(alone) / quality.high_frequency_energy(small)
    assert quality.high_pass_correlation(noisy, small, plane()) == pytest.approx(1 / np.sqrt(1 + ratio**2), abs=0.02)


def test_correlation_does_not_see_silhouettes(truth: np.ndarray) -> None:
    """Texture of nothing but an outline that both share: without the step in depth there is nothing to correlate."""
    depth, picture = plane(), np.full_like(truth, 100)
    depth[:, 40:80, 60:120] *= 0.5
    picture[:, 40:80, 60:120] = 180
    other = np.random.default_rng(6).integers(-3, 4, picture.shape) + picture
    assert quality.high_pass_correlation(other.astype(np.uint8), picture, depth) is None
    assert quality.high_frequency_energy(picture, depth) < 0.01 < quality.high_frequency_energy(picture)


def test_energy_falls_with_blur_and_grows_with_contrast(truth: np.ndarray) -> None:
    energy = quality.high_frequency_energy(truth)
    assert quality.high_frequency_energy(blurred(truth, 2)) < 0.3 * energy
    half = np.rint(128 + (truth.astype(float) - 128) / 2).astype(np.uint8)
    assert quality.high_frequency_energy(half) == pytest.approx(energy / 2, rel=0.02)


@pytest.mark.parametrize("period", [4, 16])
@pytest.mark.parametrize("axis", [1, 2])
def test_a_grid_stands_out_at_its_period(truth: np.ndarray, period: int, axis: int) -> None:
    clean = quality.spectrum_peaks(truth)
    assert max(clean.values()) < 2
    line = np.arange(truth.shape[axis]) % period == 0
    seams = np.where(line.reshape([-1 if a == axis else 1 for a in range(4)]), 12, 0)
    seamed = np.clip(truth.astype(int) + seams, 0, 255).astype(np.uint8)
    assert quality.spectrum_peaks(seamed)[period] > 3 * clean[period]


def test_seams_of_changing_strength_stand_out_too(truth: np.ndarray) -> None:
    random = np.random.default_rng(7)
    seams = np.zeros(truth.shape[:3])
    seams[:, :, ::16] = np.repeat(random.uniform(0, 40, (3, 8, 12)), 16, 1)
    seamed = np.clip(truth + seams[..., None], 0, 255).astype(np.uint8)
    assert quality.spectrum_peaks(seamed)[16] > 2 * quality.spectrum_peaks(truth)[16]


def test_the_best_grade_undoes_a_grade(truth: np.ndarray) -> None:
    base = (truth // 4 + 80).astype(np.uint8)
    matrix = np.array([[0.9, 0.1, 0.0], [0.05, 0.8, 0.1], [0.0, 0.2, 0.7]])
    graded = np.rint(base @ matrix + [10, -5, 20]).astype(np.uint8)
    found = quality.best_single_grade(base, graded)
    assert np.abs(found.matrix - matrix).max() < 0.005 and np.abs(found.offset - [10, -5, 20]).max() < 0.5
    assert found.mse == pytest.approx(quality.mse(quality.apply_grade(found, base), graded), abs=1e-5)
    assert found.mse < 2e-6


def test_the_best_grade_is_the_best(truth: np.ndarray) -> None:
    base, other = truth, blurred(truth, 1)[..., ::-1]
    best = quality.best_single_grade(base, other)
    random = np.random.default_rng(8)
    for _ in range(20):
        near = quality.Grade(best.matrix + random.normal(0, 0.02, (3, 3)), best.offset + random.normal(0, 1, 3), 0)
        assert quality.mse(quality.apply_grade(near, base), other) > best.mse


def test_the_grade_of_a_black_pass_is_the_truths_mean(truth: np.ndarray) -> None:
    """Sky only, or no base colour: the normal equations have no inverse, the answer is the mean and its variance."""
    found = quality.best_single_grade(np.zeros_like(truth), truth)
    assert found.mse == pytest.approx((truth / 255.0).reshape(-1, 3).var(0).mean(), rel=1e-6)


def test_the_mask_keeps_sky_out(truth: np.ndarray) -> None:
    spoiled, mask = truth.copy(), np.ones(truth.shape[:3], bool)
    spoiled[:, :40], mask[:, :40] = 0, False
    assert quality.best_single_grade(truth, spoiled, mask).mse < 1e-9 < quality.best_single_grade(truth, spoiled).mse


def test_lab_change_is_a_colour_distance() -> None:
    grey = np.full((2, 8, 8, 3), 119, np.uint8)                           # L* 50.03
    assert quality.lab_change(grey, grey) == 0
    assert quality.lab_change(grey, np.full_like(grey, 255)) == pytest.approx(100 - 50.03, abs=0.1)
    red = np.zeros_like(grey)
    red[..., 0] = 255
    assert quality.lab_change(red, np.zeros_like(grey)) == pytest.approx(117.3, abs=0.3)   # 53.24, 80.09, 67.20


def test_seam_ratio() -> None:
    errors = [1.0, 1.0, 1.2, 3.0, 0.8, 1.0]
    assert quality.seam_ratio(errors, [4]) == pytest.approx(3.0)
    assert quality.seam_ratio([1.0] * 6, [2, 4]) == 1
    assert quality.seam_ratio(errors, []) is None
