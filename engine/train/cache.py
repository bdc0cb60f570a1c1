"""A keyframe for training: one true frame of the clip, seen from the others by exact reprojection, as the engine will give it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..geometry.reproject import View, reproject
from .clips import Clip


def keyframe(clip: Clip, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """-> colour (F, 3, H, W) in -1..1 and where it is known (F, H, W); its colours are a little off, as a sample's are."""
    source = int(rng.integers(len(clip.picture)))
    jitter = torch.from_numpy(rng.normal(0, 0.04, (3, 1, 1))).float()
    colour = (clip.picture[source] * float(rng.uniform(0.93, 1.07)) + jitter).clamp(-1, 1)
    colour = colour + 0.05 * torch.randn(
        colour.shape, generator=torch.Generator().manual_seed(int(rng.integers(2**31)))
    )
    views = [
        View(
            depth=clip.depth[f], K=clip.K[f], c2w=clip.c2w[f], normal=clip.normal[f], index=clip.index[f],
            object_index=clip.object_index, matrix=clip.matrix[:, f],
        )
        for f in range(len(clip.picture))
    ]  # fmt: skip
    seen = [reproject(colour, views[source], view) for view in views]
    return torch.stack([c for c, _ in seen]), torch.stack([v for _, v in seen])
