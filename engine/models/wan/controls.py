"""What the scene knows, as the inputs that Wan checkpoints were trained to read: exact where others estimate.

Depth, camera and known pixels become control videos, masks, rays and latents. Pure functions of tensors; `encode` is
the autoencoder's, handed in: pictures (1, 3, F, H, W) in -1..1 -> latents (1, C, T, h, w). Knows no job and no network.
Sources: VACE (2025), arXiv 2503.07598, section 3.2; VideoX-Fun's camera control after CameraCtrl (He et al. 2024).
Shapes: F = 4n + 1 frames, T = n + 1 latent frames, H W pixels, h w latent pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ... import windows
from ...geometry import cameras
from ...windows import STRIDE

CELL = 8  # pixels of a latent pixel's side; a mask's pixels become that many channels, squared
MASK = STRIDE  # channels of image-to-video's mask: one for each frame of a latent frame
SAMPLES = 1 << 20  # pixels of a shot that decide its range of depth
FARTHEST, NEAREST = 0.01, 0.99  # shares of those pixels that may lie beyond its ends

Encode = Callable[[Tensor], Tensor]


# ---------------------------------------------------------------- depth


def nearness(depth: Tensor) -> Tensor:
    """1 / depth, float32; 0 on sky, and in holes, which are shown as sky."""
    return torch.where(depth > 0, 1 / depth.float(), 0.0)


def nearness_range(depth: Tensor) -> tuple[float, float]:
    """The range of nearness that a whole shot is shown in, from its frames (F, H, W) or some of them.

    One for all frames: a range for each would pump. Percentiles, so that a leaf at the lens does not darken the rest.
    Sky counts as nearness 0: where it is seen the range begins there, as an estimator's does. Without any depth in it
    (a wall square on) a range begins at 0, too.
    """
    values = nearness(depth.flatten()[:: max(1, depth.numel() // SAMPLES)])
    low, high = torch.quantile(values.cpu().double(), torch.tensor([FARTHEST, NEAREST], dtype=torch.float64)).tolist()
    if high <= 0:
        return 0.0, 1.0  # sky alone
    return (low if high - low > 1e-3 * high else 0.0), high


def depth_video(depth: Tensor, limits: tuple[float, float]) -> Tensor:
    """(F, H, W) planar, sky +inf -> (3, F, H, W) in -1..1: near white, far and sky black, as VACE's annotator draws."""
    low, high = limits
    return (2 * ((nearness(depth) - low) / (high - low)).clamp(0, 1) - 1).expand(3, *depth.shape)


# ---------------------------------------------------------------- VACE


def composite(guide: Tensor, colour: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Known colours where there are some, the depth video elsewhere.

    guide and colour (3, F, H, W) in -1..1, known (F, H, W) bool -> video (3, F, H, W), free (F, H, W) float: 0 what is
    kept, 1 what is made after the guide.
    """
    return torch.where(known, colour, guide), (~known).float()


def vace(video: Tensor, free: Tensor, encode: Encode, references: Sequence[Tensor] = ()) -> Tensor:
    """VACE's context (1, 96, R + T, h, w): latents of what is kept, of what is free, and the mask's 64 channels.

    video (3, F, H, W) in -1..1; free (F, H, W), taken as 0 or 1 at 0.5; references (3, H, W): R pictures of subjects,
    each a latent frame in front of the clip's, with nothing free. The noise gets as many frames in front, which are cut
    off before decoding.
    """
    mask = (free > 0.5).to(video.dtype)
    kept, made = (encode((video * share)[None]) for share in (1 - mask, mask))
    out = torch.cat([kept, made, mask_channels(mask)[None].to(kept)], 1)
    for picture in reversed(references):
        seen = encode(picture[None, :, None])
        out = torch.cat([torch.cat([seen, torch.zeros_like(out[:, seen.shape[1] :, :1])], 1), out], 2)
    return out


def mask_channels(mask: Tensor) -> Tensor:
    """(F, H, W) -> (64, T, h, w): each cell's pixels as channels, row by row; of each latent frame's frames one, as
    VACE was trained: a mask of the first frame alone is not seen in it."""
    return cells(mask[mask_frames(len(mask))])


def cells(mask: Tensor) -> Tensor:
    """(f, H, W) -> (64, f, h, w) float32."""
    return rearrange(mask.float(), "f (h p) (w q) -> (p q) f h w", p=CELL, q=CELL)


def mask_frames(frames: int) -> list[int]:
    """Which of 4n + 1 frames' masks stand for the latent frames: the nearest to the middle of each's share."""
    count = windows.latent_frames(frames)
    every = torch.arange(frames, dtype=torch.float64).view(1, 1, -1)
    return F.interpolate(every, size=count, mode="nearest-exact").flatten().long().tolist()


# ---------------------------------------------------------------- camera


def rays(K: Tensor, c2w: Tensor, height: int, width: int, scale: float) -> Tensor:
    """Pluecker coordinates of every pixel as the camera adapter reads them: (1, 24, T, H, W) float32.

    K (F, 3, 3) in pixels of `width` x `height`, c2w (F, 4, 4) OpenCV. Poses relative to the first frame's; places in
    units of `scale`, the shot's median depth, for the adapter was trained on clips of about that unit. Six numbers, o x
    d then d, of each of four frames; the first frame stands for the four of its latent frame.
    """
    home = cameras.wide(c2w)
    pose = cameras.invert(home[:1]) @ home
    pose[:, :3, 3] /= scale
    direction, moment = cameras.pluecker(K, pose, height, width).split(3, -1)
    return fold_frames(rearrange(torch.cat([moment, direction], -1), "f h w c -> c f h w"))[None]


def fold_frames(values: Tensor) -> Tensor:
    """(C, F, H, W) -> (C * 4, T, H, W): four frames of each channel side by side, the first frame four times."""
    led = torch.cat([values[:, :1].expand(-1, STRIDE - 1, -1, -1), values], 1)
    return rearrange(led, "c (t four) h w -> (c four) t h w", four=STRIDE)


# ---------------------------------------------------------------- known frames


def known_frames(known: Collection[int], frames: int, height: int, width: int) -> Tensor:
    """The mask of image-to-video (4, T, h, w) for latents of h x w: 1 in the frames that are known."""
    mask = torch.zeros(1, frames, 1, 1)
    mask[:, list(known)] = 1
    return fold_frames(mask).expand(-1, -1, height, width)


def image_to_video(pictures: dict[int, Tensor], frames: int, encode: Encode) -> Tensor:
    """The 20 channels beside the noise (1, 4 + C, T, h, w): mask, then latents of a clip that is grey but for known
    frames. pictures: index -> (3, H, W) in -1..1; the first frame, or the first and the last."""
    if frames % STRIDE != 1 or not all(0 <= f < frames for f in pictures):
        raise ValueError(f"frames {sorted(pictures)} of {frames}: expected some of 4n+1 frames; pad before")
    some = next(iter(pictures.values()))
    clip = torch.zeros(1, 3, frames, *some.shape[1:], dtype=some.dtype, device=some.device)
    for f, picture in pictures.items():
        clip[0, :, f] = picture
    latents = encode(clip)
    mask = known_frames(list(pictures), frames, *latents.shape[3:])
    return torch.cat([mask[None].to(latents), latents], 1)


def start_image(picture: Tensor, frames: int, encode: Encode) -> Tensor:
    """The C channels beside the noise (1, C, T, h, w) of Fun's camera models of 2.1: the first frame's own latents,
    then zeros."""
    latent = encode(picture[None, :, None])
    return F.pad(latent, (0, 0, 0, 0, 0, windows.latent_frames(frames) - 1))
