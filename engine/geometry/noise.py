"""Gaussian noise that sticks to surfaces: a function of the surface point, not of the pixel that sees it.

Knows nothing of models or schedules. Training and sampling call the same function, so both see the same covariance.

Every value is N(0,1) by itself (to the 24 bits of its uniforms: no part goes beyond 5.3). It is a sum of independent
parts, with these shares of the variance:

    1/2  fine     lattice cells of about 1 footprint      (FINE)
    1/3  coarse   lattice cells of about 8 footprints     (COARSE, 3 octaves up)
    1/6  free     new for every frame and pixel           (FREE)

A lattice part is one Gaussian per cell of a cubic lattice in anchor space, of size 2^level. A footprint f lies between
two levels, 2^l <= f < 2^(l+1); both are drawn and blended with sqrt(1-w), sqrt(w), where w = s(f / 2^l - 1) and s(x) =
x^2 (3 - 2x). Squares sum to 1, so the variance stays; w is 0 and 1 where the level changes, so nothing jumps there. The
level comes from the float's own exponent: no logarithm that another device would round elsewhere.

Covariance of one channel at two anchors that are d apart with footprints f and g, over random positions of the lattice:

    cov = sum over levels L of sqrt(a_L(f) a_L(g)) T(d / 2^L)   (+ 1/6 if it is the same pixel of the same frame)
    a_L(f) = FINE ((1-w) [L = l] + w [L = l+1]) + COARSE ((1-w) [L = l+3] + w [L = l+4])
    T(r) = product of max(0, 1 - |r_i|)

which `covariance` computes. Channels, seeds, and sky against surfaces are independent. Levels are shared: what is fine
from afar is what is coarse from eight times nearer. On sky the anchor is the ray's direction, the footprint its angle.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

FINE, COARSE, FREE = 1 / 2, 1 / 3, 1 / 6
OCTAVES_UP = 3                          # coarse cells are 2^3 footprints
PHASE = (0.38196601, 0.75487767, 0.56984029)    # of a cell: keeps floors at z = 0, walls at x = 1 off its borders
SMALLEST, LARGEST = 2.0**-60, 2.0**60   # footprints beyond these are taken as these
FAR = 2.0**62                           # cells: what int64 holds
SKY, FREE_LEVEL = 0x5F356495, 1 << 20   # hash keys
PIXELS_AT_ONCE = {"cpu": 1 << 14}       # stays in the cache
PIXELS_AT_ONCE_ELSEWHERE = 1 << 22


def surface_noise(anchor: Tensor, footprint: Tensor, sky: Tensor, direction: Tensor, seed: int,
                  frame: Tensor) -> Tensor:
    """-> (F,3,H,W) float32, each value N(0,1); equal arguments give equal bits.

    anchor     (F,H,W,3) surface point, object motion undone; whatever on sky
    footprint  (F,H,W) world size of a pixel; on sky its angle
    sky        (F,H,W) bool
    direction  (F,H,W,3) unit ray, used on sky
    frame      (F,) integer ids, for the free share: a frame keeps its noise in every window that holds it
    """
    frames, height, width = footprint.shape
    out = torch.empty(3, footprint.numel(), device=footprint.device)
    for part in chunks(footprint.numel(), footprint.device):
        unseen = sky.reshape(-1)[part]
        points = anchor.reshape(-1, 3)[part]
        points = torch.where(unseen[:, None], direction.reshape(-1, 3)[part].to(points.dtype), points).T.contiguous()
        which = torch.arange(part.start, part.stop, device=footprint.device)
        level, share = levels(footprint.reshape(-1)[part])
        cells = lattice(points.nan_to_num(0, 0, 0), level, unseen * SKY, seed)                          # (4,P)
        free = cell_hash(which % (height * width), frame[which // (height * width)], 0, FREE_LEVEL, seed)
        normal = gaussians(torch.cat((cells, free[None])))                                              # (5,3,P)
        out[:, part] = (torch.cat((share, torch.full_like(share[:1], FREE))).sqrt_()[:, None] * normal).sum(0)
    return out.reshape(3, frames, height, width).transpose(0, 1).contiguous()


def chunks(count: int, device: torch.device) -> Iterator[slice]:
    """Slices of a flat array, small enough for the cache (or the GPU's memory)."""
    step = PIXELS_AT_ONCE.get(device.type, PIXELS_AT_ONCE_ELSEWHERE)
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def levels(footprint: Tensor) -> tuple[Tensor, Tensor]:
    """(P,) -> the levels (4,P) int32 that a footprint draws from, and their shares of the variance (4,P)."""
    mantissa, exponent = torch.frexp(footprint.float().nan_to_num(1).clamp(SMALLEST, LARGEST))     # f = m 2^e, m < 1
    x = 2 * mantissa - 1
    w = x * x * (3 - 2 * x)
    up = torch.tensor((-1, 0, OCTAVES_UP - 1, OCTAVES_UP), dtype=torch.int32, device=footprint.device)
    return exponent.int() + up[:, None], torch.stack((FINE * (1 - w), FINE * w, COARSE * (1 - w), COARSE * w))


def lattice(points: Tensor, level: Tensor, key: Tensor, seed: int) -> Tensor:
    """(3,P), (4,P), (P,) -> (4,P) int32: hash of the cell of size 2^level that each point lies in."""
    scale = ((127 - level) << 23).view(torch.float32)       # 2^-level exactly, written as a float's exponent
    x, y, z = ((axis * scale).add_(phase).floor_().clamp_(-FAR, FAR).long() for axis, phase in zip(points, PHASE))
    return cell_hash(x, y, z, level ^ key, seed)


def cell_hash(x: Tensor, y: Tensor | int, z: Tensor | int, key: Tensor | int, seed: int) -> Tensor:
    """Integers -> int32 hash, the same on every device: only wrapping products, shifts and exclusive ors."""
    h = x.int() + int32(fold(seed))
    for value, factor in ((y, 0x7FEB352D), (z, 0x846CA68B), (key, 0x2C1B3C6D)):
        h = shift_xor(h.mul_(int32(factor)), 15)
        h += value.int() if isinstance(value, Tensor) else value
    return mix(h)


def mix(h: Tensor) -> Tensor:
    """32 bits well stirred (the `lowbias32` constants of C. Wellons' hash prospector)."""
    h = shift_xor(h, 16).mul_(0x7FEB352D)
    h = shift_xor(h, 15).mul_(int32(0x846CA68B))
    return shift_xor(h, 16)


def shift_xor(h: Tensor, bits: int) -> Tensor:
    """h ^ (h >>> bits): torch shifts the sign in, the mask takes it out."""
    return h ^ (h >> bits).bitwise_and_((1 << (32 - bits)) - 1)


def gaussians(h: Tensor) -> Tensor:
    """(...,P) int32 -> (...,3,P): three independent N(0,1), by the inverse of the normal distribution."""
    streams = torch.tensor([int32(0x9E3779B9 * i) for i in (1, 2, 3)], dtype=torch.int32, device=h.device)
    return uniform(mix(h[..., None, :] + streams[:, None])).erfinv_().mul_(2**0.5)


def uniform(h: Tensor) -> Tensor:
    """int32 -> float32 in (-1, 1), symmetric: 24 bits at the middles of their steps, each exact in float32."""
    return (h >> 8).float().add_(0.5).mul_(2.0**-23)


def int32(value: int) -> int:
    """The low 32 bits, as the signed number that torch takes."""
    return ((value & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000


def fold(seed: int) -> int:
    """A seed of any size -> 32 bits, near seeds far apart (splitmix64)."""
    seed = (seed + 0x9E3779B97F4A7C15) & (2**64 - 1)
    seed = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    seed = ((seed ^ (seed >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
    return (seed ^ (seed >> 31)) & 0xFFFFFFFF


def covariance(apart: Tensor, footprint: float, footprint2: float | None = None) -> Tensor:
    """(...,3) displacement -> (...): covariance of one channel at two anchors, the free share left out."""
    shares, shares2 = level_shares(footprint), level_shares(footprint if footprint2 is None else footprint2)
    total = torch.zeros(apart.shape[:-1], dtype=apart.dtype)
    for level in shares.keys() & shares2.keys():
        total += (shares[level] * shares2[level])**0.5 * (1 - apart.abs() * 2.0**-level).clamp_min(0).prod(-1)
    return total


def level_shares(footprint: float) -> dict[int, float]:
    """Level -> its share of the variance."""
    level, share = levels(torch.tensor([footprint]))
    return dict(zip(level[:, 0].tolist(), share[:, 0].tolist()))
