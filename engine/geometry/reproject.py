"""Colours of one view seen from another, with exact visibility. Knows depth and cameras, nothing of what colours mean.

Backwards: each pixel of the target is a surface point; the point goes (with its object, if that moves) to the source's
time, is projected there, and counts as seen if the source's own depth agrees. Everything compares *nearness*, 1/depth:
on a plane it is linear across the picture, so bilinear interpolation is exact however steep the plane is, and sky is 0.

What is dropped rather than guessed: what the source does not see; a border of `erode` pixels around the source's
silhouettes, whose colours mix two surfaces; surfaces that the source sees from behind, or at a grazing angle and far
more obliquely than the target does; pixels of another object; holes (depth that is NaN or not positive).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .anchors import slot_table
from .cameras import invert_k, pixel_axes, transfer, wide


@dataclass(frozen=True)
class View:
    """One frame as geometry. `matrix` is object -> world at this frame, of the objects named by `object_index`."""

    depth: Tensor                           # (H,W) planar, sky +inf
    K: Tensor                               # (3,3)
    c2w: Tensor                             # (4,4)
    normal: Tensor | None = None            # (H,W,3) world, facing the camera; else taken from the depth
    index: Tensor | None = None             # (H,W) integer, 0 = none
    object_index: Tensor | None = None      # (N,)
    matrix: Tensor | None = None            # (N,4,4)


@dataclass(frozen=True)
class Strictness:
    """When a source pixel counts as the same surface."""

    tolerance: float = 0.005        # of the depth; twice what separates a poster from its wall at 2 m
    sample: float = 0.5             # pixels: a renderer's depth sample may lie anywhere in its pixel
    erode: int = 1                  # pixels beside a silhouette whose colours are not trusted
    grazing: float = 0.1            # cosine below which a surface is too oblique for the source: 84 degrees,
    stretch: float = 0.5            # unless it is this share of the target's: a far floor, oblique to both, stays
    sky: bool = True                # sky may come from sky, by rotation alone


@dataclass(frozen=True)
class Sight:
    """Where a target's pixels are in the source."""

    u: Tensor           # (H,W) source pixels, finite everywhere
    v: Tensor
    valid: Tensor       # (H,W) bool
    facing: Tensor      # (H,W) cosine between the surface's normal and the direction to the source camera
    zoom: Tensor        # (H,W) source pixels per target pixel, along the picture

    @property
    def score(self) -> Tensor:
        """(H,W): 0 is best: square on, same scale; -inf where not valid."""
        score = self.facing.clamp_min(1e-6).log() - self.zoom.log().abs()
        return score.masked_fill(~self.valid, -torch.inf)


STRICT = Strictness()


def reproject(colour: Tensor, source: View, target: View, strict: Strictness = STRICT) -> tuple[Tensor, Tensor]:
    """(C,h,w) of the source -> (C,H,W) as the target sees it, valid (H,W) bool. Not valid: 0, never NaN."""
    return pick(colour, look(source, target, strict))


def gather(sources: Sequence[tuple[Tensor, View]], target: View,
           strict: Strictness = STRICT) -> tuple[Tensor, Tensor]:
    """Several (colour, View) -> (C,H,W), valid (H,W): each pixel from the source that saw it squarest, closest in scale
    (`Sight.score`).

    One source is held at a time beside the best so far, so memory does not grow with their number.
    """
    if not sources:
        raise ValueError("no source: gather needs at least one (colour, View)")
    out, seen, best = ranked(*sources[0], target, strict)
    for colour, source in sources[1:]:
        picked, valid, score = ranked(colour, source, target, strict)
        better = score > best
        out, best, seen = torch.where(better, picked, out), torch.where(better, score, best), seen | valid
    return out, seen


def ranked(colour: Tensor, source: View, target: View, strict: Strictness) -> tuple[Tensor, Tensor, Tensor]:
    """What `reproject` gives, and the score (H,W) of each pixel, -inf where not valid."""
    sight = look(source, target, strict)
    picked, valid = pick(colour, sight)
    return picked, valid, sight.score.masked_fill(~valid, -torch.inf)


def pick(colour: Tensor, sight: Sight) -> tuple[Tensor, Tensor]:
    """Bilinear colours where valid and finite, 0 elsewhere."""
    out = bilinear(colour, sight.u, sight.v)
    valid = sight.valid & out.isfinite().all(0)
    return out.masked_fill_(~valid, 0), valid


def bilinear(image: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """(C,h,w) at pixels (H,W) -> (C,H,W) float32; beyond the outer pixel centres the border's own value."""
    height, width = image.shape[-2:]
    grid = torch.stack((u * (2 / width) - 1, v * (2 / height) - 1), -1)
    return functional.grid_sample(image[None].float(), grid[None], padding_mode="border", align_corners=False)[0]


def look(source: View, target: View, strict: Strictness = STRICT) -> Sight:
    """The whole walk: target pixel -> source pixel -> is it the same surface?"""
    near, bad = nearness(target.depth)
    ray, camera = lines_of_sight(source, target, near)
    ahead = ray[2] > 0
    scale = torch.where(ahead, ray[2], 1.0)
    height, width = source.depth.shape
    u, v = ray[0] / scale, ray[1] / scale
    inside = ahead & (u >= 0) & (u < width) & (v >= 0) & (v < height)
    u, v = torch.where(inside, u, 0.5), torch.where(inside, v, 0.5)

    facing, own = facing_cosines(target, near, camera)
    enough = (own * strict.stretch).clamp_(0.0, strict.grazing)
    valid = inside & ~bad & same_surface(source, target, near / scale, u, v, strict) & (facing > enough)
    if not strict.sky:
        valid &= near > 0
    return Sight(u, v, valid, facing, (source.K[0, 0] / target.K[0, 0]).float() / scale)


def nearness(depth: Tensor) -> tuple[Tensor, Tensor]:
    """-> 1/depth float32, 0 on sky and in holes; holes (bool)."""
    hole = ~(depth > 0)
    return (1 / depth.float()).masked_fill_(hole, 0), hole


def planes(matrix: Tensor, height: int, width: int) -> Tensor:
    """(3,3) -> (3,H,W) float32: matrix @ (u, v, 1) at every pixel centre; channels first, which is faster here."""
    u, v = (axis.to(matrix.dtype) for axis in pixel_axes(height, width, matrix.device))
    rows = matrix[:, 1:2] * v + matrix[:, 2:]
    return rows.float()[:, :, None] + (matrix[:, :1] * u).float()[:, None]


def lines_of_sight(source: View, target: View, near: Tensor) -> tuple[Tensor, Tensor]:
    """-> ray (3,H,W): source pixel times source depth over target depth; the source camera in the target's world.

    ray = (u, v, 1) z_source / z_target = A p + b / z_target, finite on sky too. For a moving object the world moves by
    matrix_source inverse(matrix_target) between the two; its pixels get that object's A, b and camera. The camera is
    (3,H,W) or (3,1,1), relative to the target's.
    """
    A, b = transfer(target.K, target.c2w, source.K, source.c2w)
    ray = planes(A, *near.shape).addcmul_(near, b.float()[:, None, None])
    home = wide(target.c2w[:3, 3])
    camera = (wide(source.c2w[:3, 3]) - home).float()[:, None, None]
    between, slot = motions(source, target)
    if slot is None:
        return ray, camera
    moving = slot >= 0
    slot = slot[moving]
    many = len(between)
    A, b = transfer(target.K.expand(many, 3, 3), target.c2w.expand(many, 4, 4), source.K, source.c2w, between)
    u, v = torch.broadcast_tensors(*crossed(near))
    pixel = torch.stack((u[moving], v[moving], torch.ones_like(slot, dtype=u.dtype)), -1)
    ray[:, moving] = ((A.float()[slot] @ pixel[..., None])[..., 0] + near[moving][:, None] * b.float()[slot]).T
    seen_from = torch.linalg.inv(between) @ wide(source.c2w)
    camera = camera.expand(3, *near.shape).clone()
    camera[:, moving] = (seen_from[:, :3, 3] - home).float()[slot].T
    return ray, camera


def crossed(image: Tensor) -> tuple[Tensor, Tensor]:
    """Pixel centres u (W,), v (H,1) of an image."""
    u, v = pixel_axes(image.shape[-2], image.shape[-1], image.device)
    return u, v[:, None]


def motions(source: View, target: View) -> tuple[Tensor, Tensor | None]:
    """-> per moving object the world's motion target -> source (M,4,4); per target pixel its row, -1 = stands still.

    Objects are matched by index, not by row. One that is missing in the source, or has no inverse, counts as standing.
    """
    here, there = source.matrix, target.matrix
    none = torch.empty(0, 4, 4)
    if source.object_index is None or target.object_index is None or target.index is None:
        return none, None
    if here is None or there is None or here.numel() == 0 or there.numel() == 0:
        return none, None
    theirs, rows = torch.where(source.object_index[:, None] == target.object_index[None])
    inverse, failed = torch.linalg.inv_ex(wide(there[rows]))
    between = wide(here[theirs]) @ inverse
    moves = (here[theirs] != there[rows]).flatten(1).any(1) & (failed == 0)
    moves &= torch.linalg.inv_ex(between)[1] == 0
    if not moves.any():
        return none, None
    between, which = between[moves], target.object_index[rows][moves]
    return between, slot_table(which, torch.ones_like(which, dtype=torch.bool))[target.index.long()]


def facing_cosines(view: View, near: Tensor, camera: Tensor) -> tuple[Tensor, Tensor]:
    """(H,W) twice: cosine between the surface's normal and the direction to `camera` (relative to the view's), and to
    the view's own camera. Negative: that camera looks at the other side. 1 on sky.

    All is multiplied by nearness, so that nothing is far away. Worked in world axes where normals are given, else in
    the view's own, where they are derived.
    """
    turn = wide(view.c2w[:3, :3])
    if view.normal is not None:
        normal = view.normal.movedim(-1, 0).float()
        axes = turn
    else:
        normal = facing_plane(near, view.K)
        camera = torch.einsum("wc,whk->chk", turn.float(), camera)
        axes = torch.eye(3, dtype=turn.dtype, device=turn.device)
    to_own = -planes(axes @ invert_k(view.K), *near.shape)
    return cosine(normal, to_own + near * camera, near == 0), cosine(normal, to_own, near == 0)


def cosine(a: Tensor, b: Tensor, sky: Tensor) -> Tensor:
    """(3,H,W) x (3,H,W) -> (H,W); 1 where there is no surface."""
    lengths = dot(a, a) * dot(b, b)
    return (dot(a, b) * lengths.clamp_min_(1e-30).rsqrt_()).masked_fill_(sky, 1)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """(3,H,W) x (3,H,W) -> (H,W)."""
    return (a[0] * b[0]).addcmul_(a[1], b[1]).addcmul_(a[2], b[2])


def facing_plane(near: Tensor, K: Tensor) -> Tensor:
    """(H,W) -> (3,H,W): the surface's normal at each pixel, towards the camera, in camera space, of any length.

    A plane n . X = 1 has 1/z = n . (x, y, 1), so n is the slope of the nearness, and -n looks at the camera. Of the
    differences to both sides the smaller one counts: at a silhouette it is the one on the same surface.
    """
    focal, centre = K.float()[(0, 1), (0, 1)], K.float()[:2, 2]
    u, v = crossed(near)
    a, b = slope(near, 1), slope(near, 0)
    return torch.stack((-focal[0] * a, -focal[1] * b, a * (u - centre[0]) + b * (v - centre[1]) - near))


def slope(image: Tensor, dim: int) -> Tensor:
    """The smaller of the differences to the two neighbours along `dim`, per pixel; 0 where there are none."""
    step = image.diff(dim=dim)
    if step.shape[dim] == 0:
        return torch.zeros_like(image)
    before = torch.cat((step.narrow(dim, 0, 1), step), dim)
    after = torch.cat((step, step.narrow(dim, -1, 1)), dim)
    return torch.where(before.abs() < after.abs(), before, after)


def same_surface(source: View, target: View, expected: Tensor, u: Tensor, v: Tensor, strict: Strictness) -> Tensor:
    """(H,W) bool: does the source at (u, v) show a surface of the expected nearness, of the same object, unmixed?"""
    near, hole = nearness(source.depth)
    own_size = (1 / source.K[0, 0]).float()         # a step of a pixel's own size is relief, not a silhouette
    unsure = broken(near, hole, own_size.clamp_min(strict.tolerance), strict.erode)
    spread = blocks(near, torch.maximum).sub_(blocks(near, torch.minimum)).masked_fill_(unsure, torch.nan)
    at = (v + 0.5).int() * spread.shape[1] + (u + 0.5).int()        # the block whose four pixels surround (u, v)
    found = bilinear(near[None], u, v)[0]
    same = (found - expected).abs_() <= strict.tolerance * expected + strict.sample * spread.take(at.long())
    if source.index is None or target.index is None:
        return same         # a NaN spread compares as no
    return same & (one_object(source.index.int()).take(at.long()) == target.index.int())


def blocks(image: Tensor, merge: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """(H,W) -> (H+1,W+1): what `merge` makes of the 2x2 pixels around each corner; the border is repeated."""
    image = torch.cat((image[:1], merge(image[:-1], image[1:]), image[-1:]))
    return torch.cat((image[:, :1], merge(image[:, :-1], image[:, 1:]), image[:, -1:]), 1)


def one_object(index: Tensor) -> Tensor:
    """(H,W) -> (H+1,W+1): the index that all four pixels of a block share, else -1."""
    low = blocks(index, torch.minimum)
    return low.masked_fill(low != blocks(index, torch.maximum), -1)


def broken(near: Tensor, hole: Tensor, tolerance: float | Tensor, erode: int) -> Tensor:
    """(H+1,W+1) bool: blocks that straddle a silhouette, or lie within `erode` pixels of one."""
    across, down = jumps(near, tolerance, 1), jumps(near, tolerance, 0)
    out = blocks(hole, torch.logical_or)
    for rows in (out[:-1, 1:-1], out[1:, 1:-1]):
        rows |= across
    for columns in (out[1:-1, :-1], out[1:-1, 1:]):
        columns |= down
    for _ in range(erode):
        out = grown(grown(out, 0), 1)
    return out


def grown(mask: Tensor, dim: int) -> Tensor:
    """A mask and its neighbours along one direction."""
    out, last = mask.clone(), mask.shape[dim] - 1
    out.narrow(dim, 1, last).logical_or_(mask.narrow(dim, 0, last))
    out.narrow(dim, 0, last).logical_or_(mask.narrow(dim, 1, last))
    return out


def jumps(near: Tensor, tolerance: float | Tensor, dim: int) -> Tensor:
    """(H,W) -> (H,W-1) or (H-1,W) bool: neighbours along `dim` that no single surface explains.

    On one surface, a crease included, the step between two pixels lies between the steps before and after it: two
    planes that meet between the pixels give a mean of both. Sky beside anything is always a jump.
    """
    step = near.diff(dim=dim)
    count = step.shape[dim]
    before = after = torch.zeros_like(step)
    if count > 1:       # at the border the only neighbour there is stands for both
        before = torch.cat((step.narrow(dim, 1, 1), step.narrow(dim, 0, count - 1)), dim)
        after = torch.cat((step.narrow(dim, 1, count - 1), step.narrow(dim, count - 2, 1)), dim)
    outside = torch.maximum(step - torch.maximum(before, after), torch.minimum(before, after) - step)
    one, other = near.narrow(dim, 0, count), near.narrow(dim, 1, count)
    return (outside > torch.maximum(one, other) * tolerance) | ((one == 0) != (other == 0))
