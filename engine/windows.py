"""Which frames are sampled together. Pure arithmetic: strides and overlaps are decided here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

STRIDE = 4  # frames of a latent frame: windows hold 4n + 1
LONGEST = 49  # frames of a window at the default size
OVERLAP = 9  # frames that two windows of one camera share, at least
PIXELS = 49 * 448 * 256  # of a window: what bounds memory at larger sizes
SHORTEST = 13


@dataclass(frozen=True)
class Window:
    """Frames start .. start + count - 1 of the shot; sampled as `padded` = 4n + 1 by repeating the last one."""

    start: int
    count: int
    first: bool  # of its camera: nothing before it is blended

    @property
    def stop(self) -> int:
        return self.start + self.count

    @property
    def padded(self) -> int:
        return self.count + (1 - self.count) % STRIDE

    def frames(self) -> list[int]:
        """Shot indices of the padded window."""
        return [min(self.start + i, self.stop - 1) for i in range(self.padded)]


def length(width: int, height: int) -> int:
    """Frames of a full window at a size: 49 at the default, fewer where the pictures are larger."""
    fits = PIXELS // (width * height)
    return max(SHORTEST, min(LONGEST, (fits - 1) // STRIDE * STRIDE + 1))


def plan(frames: int, cuts: list[int], longest: int = LONGEST) -> list[Window]:
    """All windows of a shot, in order. None straddles a cut; neighbours of one camera share OVERLAP frames or more."""
    windows: list[Window] = []
    for begin, end in pairwise([*cuts, frames]):
        starts = [begin]
        while starts[-1] + longest < end:
            starts.append(min(starts[-1] + longest - OVERLAP, end - longest))
        windows += [Window(s, min(longest, end - s), s == begin) for s in starts]
    return windows


def blend(index: int, overlap: int) -> float:
    """Weight of the later window at its frame `index`: a straight ramp over the shared frames."""
    return min(1.0, (index + 1) / (overlap + 1))
