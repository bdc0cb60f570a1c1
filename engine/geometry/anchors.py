"""Which point of which object a pixel shows: surface points with the objects' own motion undone.

Knows nothing of noise or colours; whoever needs a surface to remember something asks here where that surface was.
"""

import torch
from torch import Tensor

from .cameras import unproject, wide

INDICES = 1 << 16       # the index pass is uint16


def anchors(depth: Tensor, K: Tensor, c2w: Tensor, index: Tensor | None, object_index: Tensor | None,
            matrix: Tensor | None, reference: int) -> Tensor:
    """(F,H,W) depth -> (F,H,W,3): where the surface point is, in world space, at frame `reference`.

    A pixel of object n at frame f moves by matrix[n, reference] @ inverse(matrix[n, f]); everything else stays where
    it is seen. Has the dtype of `c2w`. Sky stays non-finite.

    index         (F,H,W) integer, 0 = none; None: nothing moves
    object_index  (N,) the index of each matrix
    matrix        (N,F,4,4) object -> world
    """
    points = unproject(depth, K, c2w)
    if index is None or object_index is None or matrix is None or len(object_index) == 0:
        return points
    undo = since(matrix, reference)
    slots = slot_table(object_index, (matrix != matrix[:, reference:reference + 1]).flatten(1).any(1))
    for f, points_f in enumerate(points):
        slot = slots[index[f].long()]
        moving = slot >= 0
        points_f[moving] = carry(points_f[moving], undo[:, f], slot[moving])
    return points


def normals(normal: Tensor, index: Tensor, object_index: Tensor, matrix: Tensor, reference: int) -> Tensor:
    """(F,H,W,3) unit, world -> the same as the surface faced at frame `reference`; what does not move keeps its own."""
    if len(object_index) == 0:
        return normal
    out = normal.clone()
    turn = torch.linalg.inv(since(matrix, reference)[..., :3, :3]).mT       # normals go by the inverse transpose
    slots = slot_table(object_index, (matrix != matrix[:, reference:reference + 1]).flatten(1).any(1))
    for f, normal_f in enumerate(out):
        slot = slots[index[f].long()]
        moving = slot >= 0
        turned = (turn[slot[moving], f] @ wide(normal_f[moving])[..., None])[..., 0]
        normal_f[moving] = torch.nn.functional.normalize(turned, dim=-1).to(normal.dtype)
    return out


def since(matrix: Tensor, reference: int) -> Tensor:
    """(N,F,4,4) -> (N,F,4,4) float64: world at frame f -> world at frame `reference`, as object n moves.

    An object shrunk to nothing has no inverse and no visible pixel: it gets the identity.
    """
    matrix = wide(matrix)
    inverse, failed = torch.linalg.inv_ex(matrix)
    eye = torch.eye(4, dtype=matrix.dtype, device=matrix.device)
    out = matrix[:, reference:reference + 1] @ inverse
    usable = (failed == 0) & out.isfinite().flatten(-2).all(-1)
    return torch.where(usable[..., None, None], out, eye)


def slot_table(object_index: Tensor, moves: Tensor) -> Tensor:
    """-> (65536,) long: object index -> row of its matrix, -1 for what does not move."""
    table = torch.full((INDICES,), -1, dtype=torch.long, device=object_index.device)
    rows = torch.arange(len(object_index), device=object_index.device)
    table[object_index.long()] = torch.where(moves, rows, -1)
    return table


def carry(points: Tensor, matrices: Tensor, slot: Tensor) -> Tensor:
    """(P,3), (N,4,4), (P,) -> (P,3): each point by its object's matrix, in float64, back in its own dtype."""
    chosen = matrices[slot]
    return ((chosen[:, :3, :3] @ wide(points)[..., None])[..., 0] + chosen[:, :3, 3]).to(points.dtype)


def footprint(depth: Tensor, K: Tensor) -> Tensor:
    """(F,H,W) -> (F,H,W): world size of one pixel held square to the view; on sky its angle in radians."""
    focal = (K[..., 0, 0] * K[..., 1, 1]).sqrt()[..., None, None].to(depth.dtype)
    return torch.where(depth.isfinite(), depth, torch.ones_like(depth)) / focal
