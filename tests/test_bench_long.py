"""Long shots judged: a still world that is always the same has nothing to tell, a fading or flickering one has."""

import itertools

import imageio.v3 as iio
import numpy as np
import pytest

from engine import bench_long

FRAMES = 12


@pytest.fixture
def take(tmp_path, job_maker):
    """A finished take whose pictures are `level(frame)` times its truth."""

    def make(level):
        folder = tmp_path / "take"
        job_maker.make_job(folder, frames=FRAMES, width=96, height=64, moving=False)
        (folder / "frames").mkdir()
        for f in range(FRAMES):
            picture = np.full((64, 96, 3), 120.0) * level(f)
            iio.imwrite(folder / "frames" / f"{f + 1:06d}.png", picture.clip(0, 255).astype(np.uint8))
        return folder

    return make


def test_the_camera_comes_back_again_and_again():
    there = bench_long.ROUND
    path = bench_long.to_and_fro(3 * there)
    assert path[:there] == list(range(there)) and path[there] == there - 2 and max(path) == there - 1
    assert all(abs(a - b) == 1 for a, b in itertools.pairwise(path))


def test_what_never_changes_wanders_nowhere(take, monkeypatch):
    monkeypatch.setattr(bench_long, "ENDS", 4)
    folder = take(lambda f: 1.0)
    assert bench_long.wander(folder) < 0.01
    assert max(map(abs, bench_long.drift(folder).values())) < 0.01


def test_a_fade_is_drift_and_a_flicker_is_wandering(take, monkeypatch):
    monkeypatch.setattr(bench_long, "ENDS", 4)
    folder = take(lambda f: 0.5 + 0.5 * f / FRAMES + 0.2 * (f % 2))
    assert bench_long.wander(folder) > 3
    assert bench_long.drift(folder)["lightness"] > 5
