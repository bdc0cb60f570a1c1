"""Pinhole cameras: rays, projection and the flow of a static world. Tensors in, tensors out; no files, no models.

OpenCV axes (x right, y down, z forward), pixel centres at +0.5, depth planar along z, sky +inf. `K` has no skew.

Precision: a scene may lie 1e5 units from the origin, where float32 has steps of 1/128 unit. So what is only a matrix
is worked in float64, positions are subtracted before they are rounded, and world points carry the dtype of `c2w`: give
it in float64 and they keep their digits. Directions, pixels and flows are float32: relative quantities need no more.
"""

import torch
from torch import Tensor


def wide(matrix: Tensor) -> Tensor:
    """A matrix in float64; float32 on Apple's devices, which have none."""
    return matrix.float() if matrix.device.type == "mps" else matrix.double()


def invert(c2w: Tensor) -> Tensor:
    """(...,4,4) -> (...,4,4): inverse of a rigid transform, by transposing, so that it stays rigid."""
    rotation = c2w[..., :3, :3].mT
    out = torch.zeros_like(c2w)
    out[..., :3, :3] = rotation
    out[..., :3, 3:] = -rotation @ c2w[..., :3, 3:]
    out[..., 3, 3] = 1
    return out


def invert_k(K: Tensor) -> Tensor:
    """(...,3,3) -> (...,3,3): pixel -> point at depth 1, in float64."""
    K = wide(K)
    out = torch.zeros_like(K)
    out[..., 0, 0] = 1 / K[..., 0, 0]
    out[..., 1, 1] = 1 / K[..., 1, 1]
    out[..., 0, 2] = -K[..., 0, 2] / K[..., 0, 0]
    out[..., 1, 2] = -K[..., 1, 2] / K[..., 1, 1]
    out[..., 2, 2] = 1
    return out


def pixel_axes(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Centres of the columns (W,) and rows (H,), float32: u = column + 0.5, v = row + 0.5."""
    return (torch.arange(width, device=device, dtype=torch.float32) + 0.5,
            torch.arange(height, device=device, dtype=torch.float32) + 0.5)


def over_pixels(matrix: Tensor, height: int, width: int) -> Tensor:
    """(...,3,3) -> (...,H,W,3): matrix @ (u, v, 1) at every pixel centre. One addition a value: it is separable."""
    u, v = pixel_axes(height, width, matrix.device)
    column = matrix[..., None, :, 0] * u[:, None].to(matrix.dtype)                              # (...,W,3)
    row = matrix[..., None, :, 1] * v[:, None].to(matrix.dtype) + matrix[..., None, :, 2]       # (...,H,3)
    return row.float()[..., :, None, :] + column.float()[..., None, :, :]


def view_vectors(K: Tensor, c2w: Tensor, height: int, width: int) -> Tensor:
    """-> (F,H,W,3) float32, world: from the camera to where each pixel's ray reaches planar depth 1."""
    return over_pixels(wide(c2w[..., :3, :3]) @ invert_k(K), height, width)


def rays(K: Tensor, c2w: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """(F,3,3), (F,4,4) -> origin (F,3), direction (F,H,W,3) unit, both in world space."""
    return c2w[..., :3, 3], torch.nn.functional.normalize(view_vectors(K, c2w, height, width), dim=-1)


def pluecker(K: Tensor, c2w: Tensor, height: int, width: int) -> Tensor:
    """-> (F,H,W,6): direction d and moment o x d. The moment grows with o: put the clip near the origin first."""
    origin, direction = rays(K, c2w, height, width)
    moment = torch.linalg.cross(origin[..., None, None, :].to(direction.dtype).expand_as(direction), direction)
    return torch.cat((direction, moment), -1)


def unproject(depth: Tensor, K: Tensor, c2w: Tensor) -> Tensor:
    """(F,H,W) -> (F,H,W,3) world, in the dtype of `c2w`. Sky stays non-finite: callers mask it."""
    vectors = view_vectors(K, c2w, *depth.shape[-2:])
    return c2w[..., None, None, :3, 3] + (depth[..., None] * vectors)


def project(points: Tensor, K: Tensor, c2w: Tensor) -> tuple[Tensor, Tensor]:
    """(F,...,3) -> uv (F,...,2), z (F,...), in the dtype of `points`. Where z <= 0 uv means nothing: mask it."""
    lead = K.shape[:-2] + (1,) * (points.dim() - K.dim() + 1)
    local = (points - c2w[..., :3, 3].reshape(*lead, 3)).to(points.dtype)
    local = (local[..., None, :] @ c2w[..., :3, :3].to(points.dtype).reshape(*lead, 3, 3)).squeeze(-2)
    z = local[..., 2]
    focal = torch.stack((K[..., 0, 0], K[..., 1, 1]), -1).reshape(*lead, 2).to(points.dtype)
    centre = K[..., :2, 2].reshape(*lead, 2).to(points.dtype)
    return focal * local[..., :2] / z[..., None] + centre, z


def transfer(K: Tensor, c2w: Tensor, K2: Tensor, c2w2: Tensor, between: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """-> A (...,3,3), b (...,3) in float64 with  depth2 (u2, v2, 1) = depth A (u, v, 1) + b.

    `between` moves the world first (an object's own motion from the first view's time to the second's). The two camera
    positions meet here and nowhere else, so a far-away origin costs no precision.
    """
    here, there, lens = wide(c2w), wide(c2w2), wide(K2)
    origin, rotation = here[..., :3, 3], here[..., :3, :3]
    if between is not None:
        between = wide(between)
        origin = (between[..., :3, :3] @ origin[..., None])[..., 0] + between[..., :3, 3]
        rotation = between[..., :3, :3] @ rotation
    to_pixels = lens @ there[..., :3, :3].mT
    return to_pixels @ rotation @ invert_k(K), (to_pixels @ (origin - there[..., :3, 3])[..., None])[..., 0]


def flow(depth: Tensor, K: Tensor, c2w: Tensor, K2: Tensor, c2w2: Tensor) -> Tensor:
    """Where a static world's pixels go in the other camera: (F,H,W) -> (F,H,W,2) float32 pixels, u right, v down.

    Sky moves by rotation alone. What ends up behind the other camera has no flow: +inf. The identity is taken out of
    the matrices before rounding, so that slow motion is not the difference of two large numbers:
    flow_u = ((A-I)_u p - u (A-I)_z p + (b_u - u b_z) / depth) / (1 + (A-I)_z p + b_z / depth).
    """
    A, b = transfer(K, c2w, K2, c2w2)
    height, width = depth.shape[-2:]
    change = over_pixels(A - torch.eye(3, dtype=A.dtype, device=A.device), height, width)       # (F,H,W,3)
    shift = b.float()[..., None, None, :]
    nearness = 1 / depth.float().clamp_min(torch.finfo(torch.float32).tiny)
    u, v = pixel_axes(height, width, depth.device)
    pixel = torch.stack(torch.broadcast_tensors(u, v[:, None]), -1)                             # (H,W,2)
    moved = change + nearness[..., None] * shift
    ahead = 1 + moved[..., 2:]
    out = (moved[..., :2] - pixel * moved[..., 2:]) / ahead
    return torch.where((ahead > 0) & out.isfinite(), out, torch.inf)
