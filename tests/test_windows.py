"""Windows: every frame is covered, none straddles a cut, neighbours overlap, sizes are 4n + 1."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import windows


@st.composite
def shots(draw):
    frames = draw(st.integers(1, 400))
    cuts = sorted({0, *draw(st.lists(st.integers(0, frames - 1), max_size=5))})
    return frames, cuts


@given(shots())
def test_every_frame_is_covered_and_no_window_straddles_a_cut(shot):
    frames, cuts = shot
    plan = windows.plan(frames, cuts)
    assert {f for w in plan for f in range(w.start, w.stop)} == set(range(frames))
    for w in plan:
        assert not any(w.start < cut < w.stop for cut in cuts)
        assert w.first == (w.start in cuts)
        assert len(w.frames()) == w.padded and w.padded % 4 == 1
        assert set(w.frames()) == set(range(w.start, w.stop))


@given(shots())
def test_neighbours_of_one_camera_overlap(shot):
    plan = windows.plan(*shot)
    for before, after in pairwise(plan):
        if not after.first:
            assert before.stop - after.start >= windows.OVERLAP
            assert after.count == windows.LONGEST


def test_the_default_size_holds_49_frames_and_larger_ones_fewer():
    assert windows.length(448, 256) == 49
    assert windows.length(832, 480) == 13
    assert windows.length(64, 64) == 49


@pytest.mark.parametrize("overlap", [1, 9, 30])
def test_blending_ends_at_the_later_window(overlap):
    weights = [windows.blend(i, overlap) for i in range(overlap + 1)]
    assert weights == sorted(weights) and 0 < weights[0] < 1 and weights[-1] == 1
