"""A job's scene as the Wan checkpoints read it: depth, known pixels, rays and pictures, a few frames at a time.

What the scene knows is exact: the depth of every pixel, and which pixels of an accepted frame show the same surface as
a pixel of another frame. What is made of a whole clip goes into arrays on the disk, so that memory does not grow with
the shot. Knows shots, pictures and the autoencoder; knows no transformer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import imageio.v3 as iio
import numpy as np
import torch
from torch import Tensor

from . import job
from .geometry import reproject
from .models.wan import controls
from .models.wan.autoencoder import Autoencoder, chunks
from .models.wan.shapes import LatentShape
from .shot import Shot
from .windows import STRIDE

SOURCES = 4  # accepted frames that a frame looks at: the nearest cameras
STRICT = reproject.Strictness(erode=2, grazing=0.3)  # a pixel that is taken over stays as it is: only sure ones are
WHITE = 1.0  # around a reference picture of another shape
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


# ---------------------------------------------------------------- pictures


def load_picture(path: Path) -> np.ndarray:
    """(h, w, 3) uint8. Raises BadJob."""
    try:
        found = np.asarray(iio.imread(path, index=0))
    except Exception as error:  # decoders raise what they like
        reason = str(error).split("\n")[0][:80]
        raise job.BadJob(f"{path.name} is no picture that can be read ({reason}): expected a PNG or JPEG") from error
    if found.dtype == np.uint16:
        found = (found >> 8).astype(np.uint8)
    if found.dtype != np.uint8 or found.ndim not in (2, 3):
        raise job.BadJob(f"{path.name} is {found.dtype} {found.shape}: expected an 8-bit picture; export it as PNG")
    found = np.repeat(found[..., None], 3, 2) if found.ndim == 2 else found
    return np.ascontiguousarray(found[..., :3] if found.shape[2] >= 3 else np.repeat(found[..., :1], 3, 2))


def as_tensor(picture: np.ndarray) -> Tensor:
    """(h, w, 3) uint8 -> (3, h, w) in -1..1."""
    return torch.from_numpy(picture).permute(2, 0, 1).float() / 127.5 - 1


def resized(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """(h, w, 3) of any size -> (height, width, 3)."""
    shrinks = width * height < picture.shape[0] * picture.shape[1]
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LANCZOS4)


def frame_picture(path: Path, shot: Shot, full: Shot) -> tuple[Tensor, Tensor]:
    """A frame of this shot from a file, as a take's frames are: (3, H, W) in -1..1 at the sampled size, and which
    pixels it shows (H, W) bool: what lies outside of the artist's frame it does not, and repeats its border there."""
    x, y, w, h = full.job.crop
    W, H = full.size
    whole = cv2.copyMakeBorder(resized(load_picture(path), w, h), y, H - y - h, x, W - x - w, cv2.BORDER_REPLICATE)
    inside = np.zeros((H, W), np.uint8)
    inside[y : y + h, x : x + w] = 255
    shown = cv2.resize(inside, shot.size, interpolation=cv2.INTER_AREA) == 255
    return as_tensor(resized(whole, *shot.size)), torch.from_numpy(shown)


def reference(path: Path, size: tuple[int, int]) -> Tensor:
    """A picture of a subject (3, H, W), whole, in the middle of a white one of the sampled size."""
    picture = load_picture(path)
    factor = min(size[0] / picture.shape[1], size[1] / picture.shape[0])
    w, h = (max(1, round(side * factor)) for side in (picture.shape[1], picture.shape[0]))
    out = torch.full((3, size[1], size[0]), WHITE)
    top, left = (size[1] - h) // 2, (size[0] - w) // 2
    out[:, top : top + h, left : left + w] = as_tensor(resized(picture, w, h))
    return out


# ---------------------------------------------------------------- what is known of a frame


@dataclass(frozen=True)
class Known:
    """Accepted frames, as sources of colours for all others: the surface cache."""

    shot: Shot
    pictures: dict[int, tuple[Tensor, Tensor]]  # by index in the shot: (3, H, W), (H, W)

    def seen(self, frame: int) -> tuple[Tensor, Tensor]:
        """What accepted frames show of a frame's surfaces: colours (3, H, W), where (H, W). An accepted frame shows
        itself whole."""
        if frame in self.pictures:
            return self.pictures[frame]
        sources = [self.source(other) for other in self.nearest(frame)]
        colour, valid = reproject.gather(sources, self.shot.view(frame), STRICT)
        return colour, valid

    def source(self, frame: int) -> tuple[Tensor, reproject.View]:
        """A pixel that a frame does not show is no number, and reaches no other frame."""
        colour, inside = self.pictures[frame]
        return colour.masked_fill(~inside, torch.nan), self.shot.view(frame)

    def nearest(self, frame: int) -> list[int]:
        """Accepted frames whose cameras stand and look most alike."""
        here = self.shot.c2w[frame]

        def apart(other: int) -> float:
            there = self.shot.c2w[other]
            moved = float((there[:3, 3] - here[:3, 3]).norm()) / self.shot.scale
            return moved + 1 - float(there[:3, 2] @ here[:3, 2])

        return sorted(self.pictures, key=apart)[:SOURCES]


def known(shot: Shot, full: Shot) -> Known:
    """The job's accepted frames. Raises BadJob."""
    folder = full.job.folder
    pictures = {int(e["frame"]): frame_picture(job.inside(folder, e["picture"]), shot, full) for e in full.job.known}
    return Known(shot, pictures)


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
