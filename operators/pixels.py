"""What Cycles' passes mean, as numpy: raw channels of one frame → the values that the job folder holds.

Pictures are (H,W[,C]) float32, top row first. Knows nothing of Blender, files or frames before and after.
"""

from __future__ import annotations

import numpy as np

SKY = 1e9  # Cycles writes 1e10 where nothing was hit
LARGEST = 60_000.0  # float16 ends at 65504
UNMETALLIC = 0.9  # largest share of gloss of what is no bare metal: of glass, which takes light in
LEVEL = 0.7  # share of a normal that points up from which on a surface lies level
UNLIT = 0.05  # below this much surface colour, a glowing surface is shown by the hue of its glow


def depth(z: np.ndarray) -> np.ndarray:
    """Planar distance; the sky is +inf."""
    return np.where(z < SKY, z, np.float32(np.inf))


def normal(raw: np.ndarray, sky: np.ndarray) -> np.ndarray:
    """Unit length: where several closures meet, Cycles gives their mean."""
    length = np.sqrt(np.einsum("hwc,hwc->hw", raw, raw))
    scale = np.where(sky | (length < 1e-6), np.float32(0), 1 / np.maximum(length, 1e-6))
    return (raw * scale[..., None]).astype(np.float16)


def index(raw: np.ndarray, sky: np.ndarray) -> np.ndarray:
    return np.where(sky, 0, raw + 0.5).astype(np.uint16)


def directions(height: int, width: int, K: np.ndarray) -> np.ndarray:
    """Where each pixel's centre looks, in the camera's axes (H,W,3), not of unit length."""
    uv1 = np.concatenate([centres(height, width), np.ones((height, width, 1))], -1)
    return uv1 @ np.linalg.inv(K).T


def behind_glass(behind: dict[str, np.ndarray], panes: dict[str, np.ndarray],
                 down: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """What is seen through clear glass, the glass's normals and depth (H,W,4), 0 without, and what is water (H,W).

    `panes` are the same passes with glass as a surface. Where one looks down through it at nothing at all, as into a
    sea without a floor, the surface itself is kept if it lies level: what goes in there never comes back.
    """
    z, front = depth(behind["depth"]), depth(panes["depth"])
    before = front < z * (1 - 1e-4)
    facing = normal(panes["normal"], ~before)
    water = before & np.isinf(z) & down & (facing[..., 2] > LEVEL)
    told = np.concatenate([facing, np.where(before, front, 0).clip(0, LARGEST)[..., None].astype(np.float16)], -1)
    glass = np.where((before & ~water)[..., None], told, np.float16(0))
    kept = {name: np.where(water if behind[name].ndim == 2 else water[..., None], panes[name], behind[name])
            for name in ("depth", "normal", "vector", "index")}
    return behind | kept, glass, water


def _over(alpha: np.ndarray, sky: np.ndarray) -> np.ndarray:
    """What passes are multiplied by: they are means over the pixel, the part where they saw the sky included, and
    dividing by alpha leaves the surface."""
    return np.where(sky, np.float32(0), 1 / np.maximum(alpha, 1 / 64))


def surface_colour(diffuse: np.ndarray, glossy: np.ndarray, transmission: np.ndarray, emission: np.ndarray,
                   alpha: np.ndarray, sky: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scene-linear base colour, and the share of it that is mirror-like, both (H,W,..) in 0..1."""
    cover = _over(alpha, sky)[..., None]
    mirror = (glossy + transmission) * cover
    colour = diffuse * cover + mirror
    total = colour.sum(-1)
    share = np.where(total > 1e-6, mirror.sum(-1) / np.maximum(total, 1e-6), 0)
    share = np.where(transmission.sum(-1) > glossy.sum(-1), np.minimum(share, UNMETALLIC), share)
    return glowing(np.clip(colour, 0, 1), emission * cover), np.clip(share, 0, 1)


def roughness(smooth: np.ndarray, alpha: np.ndarray, sky: np.ndarray) -> np.ndarray:
    """(H,W) in 0..1, of the part of each pixel that is surface; the sky is rough."""
    return 1 - np.clip(smooth * _over(alpha, sky), 0, 1)


def ambient(ao: np.ndarray, alpha: np.ndarray, sky: np.ndarray) -> np.ndarray:
    """Share (H,W) of the half-space over a surface that is free, in 0..1; the sky counts as free."""
    return np.where(sky, np.float32(1), np.clip(ao[..., 0] * _over(alpha, sky), 0, 1))


def recoloured(passes: dict[str, np.ndarray], matrix: np.ndarray) -> dict[str, np.ndarray]:
    """The colour passes in another colour space, by a 3x3 matrix of scene-linear values."""
    if np.allclose(matrix, np.eye(3), atol=1e-5):
        return passes
    return passes | {name: passes[name] @ matrix.T for name in ("diffuse", "glossy", "transmission", "emission")}


def glowing(colour: np.ndarray, emission: np.ndarray) -> np.ndarray:
    """Surfaces that only glow take the hue of their glow, so that no lamp or screen is black."""
    brightest = emission.max(-1, keepdims=True)
    dark = np.clip(1 - colour.max(-1, keepdims=True) / UNLIT, 0, 1) * (brightest > 1e-4)
    return colour + dark * (emission / np.maximum(brightest, 1e-4) - colour)


def _srgb_table(entries: int = 1 << 16) -> np.ndarray:
    linear = np.linspace(0, 1, entries)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(encoded * 255).astype(np.uint8)


SRGB = _srgb_table()  # a power per pixel costs more than rendering it


def srgb(linear: np.ndarray) -> np.ndarray:
    """Rec.709 linear → 8 bit sRGB."""
    return SRGB[(np.clip(linear, 0, 1) * (len(SRGB) - 1) + 0.5).astype(np.uint16)]


def share(value: np.ndarray) -> np.ndarray:
    return (value * 255 + 0.5).astype(np.uint8)


def half(value: np.ndarray) -> np.ndarray:
    return np.clip(np.nan_to_num(value), -LARGEST, LARGEST).astype(np.float16)


# --- motion -------------------------------------------------------------------------------------------------------


def centres(height: int, width: int) -> np.ndarray:
    """(H,W,2) float32: u, v of pixel centres."""
    u, v = np.meshgrid(np.arange(width, dtype=np.float32) + 0.5, np.arange(height, dtype=np.float32) + 0.5)
    return np.stack([u, v], -1)


def cycles_motion(vector: np.ndarray) -> np.ndarray:
    """Cycles' next-frame vector as (u right, v down). Measured: it stores here minus there, y up."""
    return vector[..., 2:4] * np.array([-1, 1], np.float32)


def relensed(motion: np.ndarray, uv: np.ndarray, K: np.ndarray, K2: np.ndarray) -> np.ndarray:
    """Cycles sees the next frame through this frame's lens and shift; the next frame's own differ by a homography of
    directions, whatever was hit and however it moves."""
    if np.allclose(K, K2, rtol=0, atol=1e-4):
        return motion
    return _through(uv + motion, K2 @ np.linalg.inv(K)) - uv


def turned(uv: np.ndarray, K: np.ndarray, K2: np.ndarray, c2w: np.ndarray, c2w2: np.ndarray) -> np.ndarray:
    """Motion of what is infinitely far: the sky."""
    return _through(uv, K2 @ c2w2[:3, :3].T @ c2w[:3, :3] @ np.linalg.inv(K)) - uv


def static_motion(z: np.ndarray, uv: np.ndarray, K: np.ndarray, K2: np.ndarray, c2w: np.ndarray, c2w2: np.ndarray,
                  ) -> np.ndarray:
    """Motion of what stands still in the world, by reprojecting its depth."""
    turn = K2 @ c2w2[:3, :3].T
    far = turn @ c2w[:3, :3] @ np.linalg.inv(K)
    near = turn @ (c2w[:3, 3] - c2w2[:3, 3])
    inverse = np.where(np.isfinite(z), 1 / np.maximum(z, 1e-12), 0)
    return _through(uv, far, inverse[..., None] * near.astype(np.float32)) - uv


def _through(uv: np.ndarray, matrix: np.ndarray, offset: np.ndarray | float = 0.0) -> np.ndarray:
    m = matrix.astype(np.float32)
    seen = uv @ m[:, :2].T + m[:, 2] + offset
    return seen[..., :2] / np.where(np.abs(seen[..., 2:]) < 1e-6, 1e-6, seen[..., 2:])
