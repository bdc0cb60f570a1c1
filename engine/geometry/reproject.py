"""Colours of one view seen from another, with exact visibility. Knows depth and cameras, nothing of what colours mean.

Backwards: each pixel of the target is a surface point; the point goes (with its object, if that moves) to the source's
time, is projected there, and counts as seen if the source's own depth agrees. Everything compares *nearness*, 1/depth:
on a plane it is linear across the picture, so bilinear interpolation is exact however steep the plane is, and sky is 0.

What is dropped rather than guessed: what the source does not see; a border of `erode` pixels around the source's
silhouettes, whose colours mix two surfaces; surfaces that the source sees at a grazing angle or from behind; pixels of
another object; holes (depth that is NaN or not positive).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .anchors import slot_table
from .cameras import flow, invert_k, over_pixels, pixel_axes, transfer, wide


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
    grazing: float = 0.1            # cosine below which a surface is too oblique: 84 degrees
    sky: bool = True                # sky may come from sky, by rotation alone


@dataclass(frozen=True)
class Sight:
    """Where a target's pixels are in the source."""

    u: Tensor           # (H,W) source pixels, finite everywhere
    v: Tensor
    valid: Tensor       # (H,W) bool
    score: Tensor       # (H,W) 0 is best: same scale, square on; -inf where not valid


STRICT = Strictness()


def reproject(colour: Tensor, source: View, target: View, strict: Strictness = STRICT) -> tuple[Tensor, Tensor]:
    """(C,h,w) of the source -> (C,H,W) as the target sees it, valid (H,W) bool. Not valid: 0, never NaN."""
    sight = look(source, target, strict)
    return pick(colour, sight)


def gather(sources: Sequence[tuple[Tensor, View]], target: View,
           strict: Strictness = STRICT) -> tuple[Tensor, Tensor]:
    """Several (colour, View) -> (C,H,W), valid (H,W): each pixel from the source that saw it squarest, closest in scale
    (`Sight.score`).

    One source is held at a time beside the best so far, so memory does not grow with their number.
    """
    if not sources:
        raise ValueError("no source: gather needs at least one (colour, View)")
    out = best = seen = None
    for colour, source in sources:
        sight = look(source, target, strict)
        picked, valid = pick(colour, sight)
        score = sight.score.masked_fill(~valid, -torch.inf)
        if out is None or best is None or seen is None:
            out, best, seen = picked, score, valid
            continue
        better = score > best
        out, best, seen = torch.where(better, picked, out), torch.where(better, score, best), seen | valid
    return out, seen


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
    ahead = ray[..., 2] > 0
    scale = torch.where(ahead, ray[..., 2], 1.0)
    height, width = source.depth.shape
    u, v = ray[..., 0] / scale, ray[..., 1] / scale
    inside = ahead & (u >= 0) & (u < width) & (v >= 0) & (v < height)
    u, v = torch.where(inside, u, 0.5), torch.where(inside, v, 0.5)

    facing = facing_cosine(target, near, camera)
    valid = inside & ~bad & same_surface(source, target, near / scale, u, v, strict)
    valid &= (facing > strict.grazing) & ((near > 0) | strict.sky)
    zoom = (source.K[0, 0] / target.K[0, 0]).float() / scale
    score = facing.clamp_min(1e-6).log() - zoom.log().abs()
    return Sight(u, v, valid, score.masked_fill(~valid, -torch.inf))


def nearness(depth: Tensor) -> tuple[Tensor, Tensor]:
    """-> 1/depth float32, 0 on sky and in holes; holes (bool)."""
    hole = ~(depth > 0)
    return torch.where(hole, 0.0, 1 / depth.float()), hole


def lines_of_sight(source: View, target: View, near: Tensor) -> tuple[Tensor, Tensor]:
    """-> ray (H,W,3): source pixel times source depth over target depth; the source camera in the target's world.

    ray = (u, v, 1) z_source / z_target = A p + b / z_target, finite on sky too. For a moving object the world moves by
    matrix_source inverse(matrix_target) between the two; its pixels get that object's A, b and camera. The camera is
    (H,W,3) or (3,), relative to the target's.
    """
    A, b = transfer(target.K, target.c2w, source.K, source.c2w)
    ray = over_pixels(A, *near.shape) + near[..., None] * b.float()
    camera = (wide(source.c2w[:3, 3]) - wide(target.c2w[:3, 3])).float()
    between, slot = motions(source, target)
    if slot is None:
        return ray, camera
    moving = slot >= 0
    slot = slot[moving]
    many = len(between)
    A, b = transfer(target.K.expand(many, 3, 3), target.c2w.expand(many, 4, 4), source.K, source.c2w, between)
    u, v = torch.broadcast_tensors(*crossed(near))
    pixel = torch.stack((u, v, torch.ones_like(u)), -1)[moving]
    ray[moving] = (A.float()[slot] @ pixel[..., None])[..., 0] + near[moving][:, None] * b.float()[slot]
    seen_from = torch.linalg.inv(between) @ wide(source.c2w)
    camera = camera.expand(*near.shape, 3).clone()
    camera[moving] = (seen_from[:, :3, 3] - wide(target.c2w[:3, 3])).float()[slot]
    return ray, camera


def crossed(image: Tensor) -> tuple[Tensor, Tensor]:
    """Pixel centres u (W,), v (H,1) of an image."""
    u, v = pixel_axes(*image.shape[-2:], image.device)
    return u, v[:, None]


def motions(source: View, target: View) -> tuple[Tensor, Tensor | None]:
    """-> per moving object the world's motion target -> source (M,4,4); per target pixel its row, -1 = stands still.

    Objects are matched by index, not by row. One that is missing in the source, or has no inverse, counts as standing.
    """
    empty = torch.empty(0, 4, 4)
    tables = (source.object_index, source.matrix, target.object_index, target.matrix, target.index)
    if any(table is None or table.numel() == 0 for table in tables):
        return empty, None
    theirs, rows = torch.where(source.object_index[:, None] == target.object_index[None])
    inverse, failed = torch.linalg.inv_ex(wide(target.matrix[rows]))
    between = wide(source.matrix[theirs]) @ inverse
    moves = (source.matrix[theirs] != target.matrix[rows]).flatten(1).any(1) & (failed == 0)
    moves &= torch.linalg.inv_ex(between)[1] == 0
    if not moves.any():
        return empty, None
    between, which = between[moves], target.object_index[rows][moves]
    return between, slot_table(which, torch.ones_like(which, dtype=torch.bool))[target.index.long()]


def facing_cosine(view: View, near: Tensor, camera: Tensor) -> Tensor:
    """(H,W): cosine between the surface's normal and the direction to `camera` (relative to the view's); 1 on sky.

    Negative: that camera looks at the other side. All is multiplied by nearness, so that nothing is far away.
    """
    rotation = wide(view.c2w[:3, :3])
    vectors = over_pixels(rotation @ invert_k(view.K), *near.shape)         # to depth 1
    to_camera = near[..., None] * camera - vectors
    normal = view.normal.float() if view.normal is not None else -plane(near, view.K) @ rotation.float().mT
    cosine = functional.cosine_similarity(normal, to_camera, dim=-1)
    return torch.where(near > 0, cosine, torch.ones_like(cosine))


def plane(near: Tensor, K: Tensor) -> Tensor:
    """(H,W) -> (H,W,3): n with n . X = 1 on the surface at each pixel, camera space: 1/z = n . (x, y, 1).

    Of the differences to both sides the smaller one counts: at a silhouette it is the one on the same surface.
    """
    focal, centre = K.float()[(0, 1), (0, 1)], K.float()[:2, 2]
    u, v = crossed(near)
    a = slope(near, 1) * focal[0]
    b = slope(near, 0) * focal[1]
    return torch.stack((a, b, near - a * (u - centre[0]) / focal[0] - b * (v - centre[1]) / focal[1]), -1)


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
    low, high = blocks(near, torch.minimum), blocks(near, torch.maximum)
    own_size = (1 / source.K[0, 0]).float()         # a step of a pixel's own size is relief, not a silhouette
    unsure = broken(near, hole, own_size.clamp_min(strict.tolerance), strict.erode)
    spread = torch.where(unsure, torch.nan, high - low)             # NaN compares as no
    x, y = (u - 0.5).floor().long() + 1, (v - 0.5).floor().long() + 1
    at = y * spread.shape[1] + x
    found = bilinear(near[None], u, v)[0]
    same = (found - expected).abs() <= strict.tolerance * expected + strict.sample * spread.flatten()[at]
    if source.index is None or target.index is None:
        return same
    return same & (one_object(source.index.int()).flatten()[at] == target.index.int())


def blocks(image: Tensor, merge: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """(H,W) -> (H+1,W+1): what `merge` makes of the 2x2 pixels around each corner; the border is repeated."""
    image = torch.cat((image[:1], image, image[-1:]))
    image = torch.cat((image[:, :1], image, image[:, -1:]), 1)
    image = merge(image[:-1], image[1:])
    return merge(image[:, :-1], image[:, 1:])


def one_object(index: Tensor) -> Tensor:
    """(H,W) -> (H+1,W+1): the index that all four pixels of a block share, else -1."""
    low = blocks(index, torch.minimum)
    return torch.where(low == blocks(index, torch.maximum), low, -1)


def broken(near: Tensor, hole: Tensor, tolerance: float | Tensor, erode: int) -> Tensor:
    """(H+1,W+1) bool: blocks that straddle a silhouette, or lie within `erode` pixels of one."""
    across, down = jumps(near, tolerance), jumps(near.T, tolerance).T
    pairs = torch.zeros(near.shape[0] + 1, near.shape[1] + 1, dtype=torch.bool, device=near.device)
    pairs[:-1, 1:-1] |= across
    pairs[1:, 1:-1] |= across
    pairs[1:-1, :-1] |= down
    pairs[1:-1, 1:] |= down
    pairs |= blocks(hole, torch.logical_or)
    if erode <= 0:
        return pairs
    return functional.max_pool2d(pairs[None].float(), 2 * erode + 1, stride=1, padding=erode)[0] > 0


def jumps(near: Tensor, tolerance: float | Tensor) -> Tensor:
    """(H,W) -> (H,W-1) bool: neighbours in a row that no single surface explains.

    On one surface, a crease included, the step between two pixels lies between the steps before and after it: two
    planes that meet between the pixels give a mean of both. Sky beside anything is always a jump.
    """
    step = near.diff(dim=1)
    before = after = torch.zeros_like(step)
    if step.shape[1] > 1:
        before = torch.cat((step[:, 1:2], step[:, :-1]), 1)     # at the border the only neighbour there is
        after = torch.cat((step[:, 1:], step[:, -2:-1]), 1)
    outside = torch.maximum(step - torch.maximum(before, after), torch.minimum(before, after) - step)
    left, right = near[:, :-1], near[:, 1:]
    return (outside > tolerance * torch.maximum(left, right)) | ((left == 0) != (right == 0))


def static_mask(depth: Tensor, K: Tensor, c2w: Tensor, motion: Tensor, cuts: Sequence[int] = (0,),
                tolerance: float = 0.25) -> Tensor:
    """(F,H,W), (F,3,3), (F,4,4), (F,H,W,2) -> (F,H,W) bool: does the renderer's motion equal a static world's flow?

    Within `tolerance` pixels plus 1 % of the flow (motion is float16). Sky is static. A frame without a next one (the
    last, or before a cut) has no motion to judge by: only its sky is known to be static.
    """
    still = depth == torch.inf
    frames = len(depth)
    judged = [f for f in range(frames - 1) if f + 1 not in cuts]
    for f in judged:
        moved = flow(depth[f], K[f], c2w[f], K[f + 1], c2w[f + 1])
        error = (motion[f].float() - moved).norm(dim=-1)
        still[f] |= error <= tolerance + 0.01 * moved.norm(dim=-1)
    return still
