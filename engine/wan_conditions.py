"""A job's scene as the Wan checkpoints read it: depth, known pixels, rays and pictures, a few frames at a time.

What the scene knows is exact: the depth of every pixel, and which pixels of an accepted frame show the same surface as
a pixel of another frame. What is made of a whole clip goes into arrays on the disk, so that memory does not grow with
the shot. Knows shots, pictures and the autoencoder; knows no transformer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from . import job
from .models.wan import controls
from .models.wan.autoencoder import Autoencoder, chunks
from .models.wan.shapes import LatentShape
from .pictures import Known
from .shot import Shot
from .windows import STRIDE

SIDE = 0.45  # light of a surface that the camera sees edgewise, where base colours are lit by a lamp at the camera
MIDDLE = 0.0  # grey: the sky of base colours, which has none

Tick = Callable[[], None]


@dataclass(frozen=True)
class Clip:
    """The frames of one camera, one clip of latents however many they are."""

    number: int
    start: int  # of the shot's frames
    stop: int
    shape: LatentShape  # padded to whole latent frames
    front: int = 0  # latent frames of reference pictures before them

    @property
    def name(self) -> str:
        return f"clip_{self.number:03d}"

    @property
    def frames(self) -> list[int]:
        """Shot indices of the padded clip: the last frame is repeated."""
        padded = 1 + STRIDE * (self.shape.frames - 1)
        return [min(self.start + i, self.stop - 1) for i in range(padded)]

    @property
    def latent_frames(self) -> int:
        return self.front + self.shape.frames


# ---------------------------------------------------------------- what the scene shows


def depth_limits(shot: Shot) -> tuple[float, float]:
    """The range of nearness of the whole shot, from frames spread over it."""
    return controls.nearness_range(shot.depth(job.spread(shot.frames)))


def guide(shot: Shot, limits: tuple[float, float], frames: list[int]) -> Tensor:
    """The depth video of some frames (3, f, H, W)."""
    return controls.depth_video(shot.depth(frames), limits)


def base_colours(shot: Shot, frames: list[int]) -> Tensor:
    """Base colours (3, f, H, W) in -1..1 as a lamp at the camera would light them, plainly; sky grey. Raises BadJob."""
    base = shot.read("base", frames)
    if base is None:
        raise job.BadJob("the job has no pass called base, which denoise below 1 begins with: capture the shot again")
    forward = shot.c2w[frames][:, None, None, :3, 2].float()
    facing = (shot.normal(frames) * forward).sum(-1).abs()
    lit = (base / 255) * (SIDE + (1 - SIDE) * facing)[..., None]
    lit = torch.where(torch.isfinite(shot.depth(frames))[..., None], 2 * lit - 1, MIDDLE)
    return lit.permute(3, 0, 1, 2)


# ---------------------------------------------------------------- clips as latents


def chunked(clip: Clip) -> Iterator[list[int]]:
    """Shot indices of one frame, then of four and four."""
    frames = clip.frames
    return (frames[a:b] for a, b in chunks(len(frames)))


def encoded(
    clip: Clip, picture: Callable[[list[int]], Tensor], autoencoder: Autoencoder, tick: Tick
) -> Iterator[Tensor]:
    """Latents (C, 1, h, w), one latent frame after the other, of pictures (3, f, H, W) that are asked for by turns."""
    device = next(autoencoder.parameters()).device
    videos = (picture(frames)[None].to(device) for frames in chunked(clip))
    return (latent[0].cpu() for latent in autoencoder.encoding(videos, tick))


def vace(
    out: np.ndarray, mask: np.ndarray, clip: Clip, shot: Shot, seen: Known, references: Sequence[Tensor],
    autoencoder: Autoencoder, tick: Tick,
) -> None:  # fmt: skip
    """VACE's context of a clip, (96, R + T, h, w) into `out`; `mask` (F, H, W) is a place to note what is free.

    As `controls.vace` says it, a chunk at a time: first what is kept of all, then what is made, for the encoder
    remembers a clip's earlier chunks, and has room for one.
    """
    limits = depth_limits(shot)
    device = next(autoencoder.parameters()).device
    for i, picture in enumerate(references):
        latent = autoencoder.encode(picture[None, :, None].to(device), tick)[0].cpu()
        out[: len(latent), i], out[len(latent) :, i] = latent[:, 0], 0
    channels = clip.shape.channels

    def drawn(made: bool) -> Iterator[Tensor]:
        for at, frames in numbered(clip):
            tick()
            video, free = composite(shot, seen, limits, frames)
            mask[at : at + len(free)] = free
            yield (video * (free if made else 1 - free))[None].to(device)

    for made in (False, True):
        into = out[channels * made : channels * (made + 1)]
        for t, latent in enumerate(autoencoder.encoding(drawn(made), tick), clip.front):
            into[:, t] = latent[0, :, 0].cpu()
    for t, frame in enumerate(controls.mask_frames(len(mask)), clip.front):
        out[2 * channels :, t] = controls.cells(torch.from_numpy(np.array(mask[frame : frame + 1])))[:, 0]


def numbered(clip: Clip) -> Iterator[tuple[int, list[int]]]:
    """Where a chunk begins in the clip, and its shot indices."""
    at = 0
    for frames in chunked(clip):
        yield at, frames
        at += len(frames)


def composite(shot: Shot, seen: Known, limits: tuple[float, float], frames: list[int]) -> tuple[Tensor, Tensor]:
    """Known colours where there are some, else depth (3, f, H, W); what is free (f, H, W)."""
    video = guide(shot, limits, frames)
    if not seen.pictures:
        return video, torch.ones(len(frames), *video.shape[2:])
    colours, valid = zip(*(seen.seen(frame) for frame in frames), strict=True)
    return controls.composite(video, torch.stack(colours, 1), torch.stack(valid))


def window_frames(clip: Clip, start: int, count: int) -> list[int]:
    """Shot indices of the frames that `count` latent frames of a clip from `start` on stand for, as a clip of their
    own: of the first latent frame its last one."""
    frames = clip.frames
    first = STRIDE * start
    return frames[first : first + 1 + STRIDE * (count - 1)]


def rays(shot: Shot, frames: list[int]) -> Tensor:
    """(1, 24, T, H, W) of a window's frames, from its first camera."""
    w, h = shot.size
    return controls.rays(shot.K[frames], shot.c2w[frames], h, w, shot.scale)
