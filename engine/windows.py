"""Which frames are sampled together. Pure arithmetic: strides and overlaps are decided here and nowhere else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from . import job

STRIDE = 4  # frames of a latent frame: windows hold 4n + 1
LONGEST = 49  # frames of a window at the default size
OVERLAP = 9  # frames that two windows of one camera share, at least
PIXELS = LONGEST * math.prod(job.DEFAULT_SIZE)  # of a window: what bounds memory at larger sizes
SHORTEST = 13
MOST_SAMPLED = 640 * 384  # pixels of a frame that is sampled as it is; larger ones are sampled small and enlarged
SAMPLED = 512 * 288  # about what those are sampled at


def padded(count: int) -> int:
    """The next 4n + 1: how many frames are sampled so that `count` can be kept."""
    return count + (1 - count) % STRIDE


def latent_frames(count: int) -> int:
    """Latent frames that hold `count` frames: the first holds one, each other STRIDE."""
    return 1 + (padded(count) - 1) // STRIDE


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
        return padded(self.count)

    def frames(self) -> list[int]:
        """Shot indices of the padded window."""
        return [min(self.start + i, self.stop - 1) for i in range(self.padded)]


def sampled_size(width: int, height: int) -> tuple[int, int]:
    """At what size a frame is sampled: its own, or about SAMPLED pixels of its shape in whole patches."""
    if width * height <= MOST_SAMPLED:
        return width, height
    factor = math.sqrt(SAMPLED / (width * height))
    fit = [max(job.PATCH, round(side * factor / job.PATCH) * job.PATCH) for side in (width, height)]
    return min(fit[0], width), min(fit[1], height)


def length(width: int, height: int) -> int:
    """Frames of a full window at a size: 49 at the default, fewer where the pictures are larger."""
    fits = PIXELS // (width * height)
    return max(SHORTEST, min(LONGEST, (fits - 1) // STRIDE * STRIDE + 1))


def starts(frames: int, longest: int, overlap: int = OVERLAP) -> list[int]:
    """First frames of the windows of one camera: evenly spread, so that no seam is abrupt."""
    if frames <= longest:
        return [0]
    overlap = min(overlap, longest // 2)
    count = -(-(frames - overlap) // (longest - overlap))
    return [round(i * (frames - longest) / (count - 1)) for i in range(count)]


def plan(frames: int, cuts: list[int], longest: int = LONGEST, overlap: int = OVERLAP) -> list[Window]:
    """All windows of a shot, in order. None straddles a cut; neighbours of a camera share `overlap` frames or more."""
    windows: list[Window] = []
    for begin, end in pairwise([*cuts, frames]):
        count = min(longest, end - begin)
        windows += [Window(begin + s, count, s == 0) for s in starts(end - begin, longest, overlap)]
    return windows


def weights(plan: list[Window], number: int, frame: int, lead: int = 0) -> list[tuple[int, float]]:
    """Which windows a frame that belongs to window `number` is made of, and with what weights; they sum to 1.

    A straight ramp from the window before, over the frames they share, done before the next window begins: so a frame
    is never made of more than two, and no weight jumps. The first `lead` frames of a window that follows another only
    lead it in, and count for nothing.
    """
    window, before = plan[number], plan[number - 1]
    if window.first:
        return [(number, 1.0)]
    follows = number + 1 < len(plan) and not plan[number + 1].first
    shared = (min(before.stop, plan[number + 1].start) if follows else before.stop) - window.start
    share = min(1.0, max(0, frame - window.start + 1 - lead) / (shared + 1 - lead))
    return [(number, share)] + ([(number - 1, 1 - share)] if share < 1 else [])


def owned(plan: list[Window], number: int) -> range:
    """The frames that window `number` settles: up to where the next one of its camera begins."""
    follows = number + 1 < len(plan) and not plan[number + 1].first
    return range(plan[number].start, plan[number + 1].start if follows else plan[number].stop)
