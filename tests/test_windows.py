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


@given(shots(), st.sampled_from([13, 25, 49]))
def test_neighbours_overlap_and_every_window_is_full(shot, longest):
    plan = windows.plan(*shot, longest)
    for before, after in pairwise(plan):
        if not after.first:
            assert before.stop - after.start >= min(windows.OVERLAP, longest // 2)
            assert after.count == longest


@given(shots(), st.sampled_from([13, 25, 49]))
def test_no_window_enters_or_leaves_a_frame_abruptly(shot, longest):
    """What pops in long shots: a window's share of a frame may change by one step of the shortest ramp, no more."""
    plan = windows.plan(*shot, longest)
    owners = [
        (frame, dict(windows.weights(plan, n, frame))) for n in range(len(plan)) for frame in windows.owned(plan, n)
    ]
    assert [frame for frame, _ in owners] == list(range(shot[0]))
    overlap = min(windows.OVERLAP, longest // 2)
    step = 1 / (min(overlap, (longest - overlap) // 2) + 1)
    for (_, a), (frame, b) in pairwise(owners):
        assert sum(b.values()) == pytest.approx(1)
        if frame not in shot[1]:
            assert max(abs(a.get(n, 0) - b.get(n, 0)) for n in a | b) <= step + 1e-9


def test_the_default_size_holds_49_frames_and_larger_ones_fewer():
    assert windows.length(448, 256) == 49
    assert windows.length(832, 480) == 13
    assert windows.length(64, 64) == 49
