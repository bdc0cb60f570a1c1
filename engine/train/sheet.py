"""A sheet of pictures: held-out scenes, truth | base colour | sampled with base | sampled without. To be looked at."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import torch
from torch import Tensor

from .. import conditions
from ..diffusion import sampler, schedule
from ..geometry.noise import surface_noise
from ..models import shading
from ..models.lite import Lite, Sample
from ..weights import machine
from . import captions, clips

HELD_OUT = 10_000_000  # seeds from here on are never trained on
SIZE = (5, 96, 160)
BRIEFS = [
    dict(place="street", time="noon", weather="clear", material="brick"), dict(place="village", time="sunset", weather="clear"),
    dict(place="street", time="night", weather="clear", lights="windows"), dict(place="village", time="noon", weather="snow"),
    dict(place="room", time="noon", weather="clear"), dict(place="harbour", time="night", lights="lanterns", weather="clear"),
    dict(place="blocks", time="noon", weather="clear", style="black and white"), dict(place="forest", weather="fog", time="dawn"),
    dict(place="mountains", time="dusk", weather="clear"), dict(place="street", weather="storm", time="overcast"),
]  # fmt: skip


@lru_cache(1)
def held_out() -> list[clips.Clip]:
    out = []
    for i, fixed in enumerate(BRIEFS):
        rng = np.random.default_rng(HELD_OUT + i)
        words: dict[str, Any] = {"style": "none", **fixed}
        out.append(clips.render(captions.draw(rng, **words), *SIZE, rng))
    return out


@torch.no_grad()
def sample(model: Lite, clip: clips.Clip, with_base: bool, steps: int = 4, seed: int = 1) -> Tensor:
    """A clip sampled from noise, (F, 3, H, W)."""
    maps = clip.maps.clone()
    if not with_base:
        maps[:, conditions.SLICE["base"]] = 0
        maps[:, conditions.SLICE["has_base"]] = 0
    statistics = clip.statistics[None]
    raw, tokens, pooled, _ = model.look(clip.rows[None], statistics)
    look = shading.in_place(shading.with_sky(shading.unpack(raw), torch.tensor([clip.cloud_seed])), maps[None])
    azimuth = torch.full((1, 1, 1, 1, 1), clip.azimuth)
    frames = torch.arange(len(maps))
    x = surface_noise(clip.anchor, clip.footprint, ~torch.isfinite(clip.depth), clip.ray, seed, frames)
    times = schedule.times(steps, schedule.size_shift(*maps.shape[-2:]))
    for t, t_next in pairwise(times):
        seen = Sample(x, maps, torch.tensor(t, dtype=torch.float32), tokens[0], pooled[0], look, azimuth)
        with machine.products("cpu", machine.probe()[0]):
            x0 = model([seen])[0]["x0"]
        x = sampler.step(x, x0, t, t_next)
    return x.clamp(-1, 1)


def sheet(model: Lite, path: Path) -> float:
    """Writes the sheet; returns the mean square error with base over the held-out clips."""
    rows, errors = [], []
    for clip in held_out():
        given, without = sample(model, clip, True), sample(model, clip, False)
        errors.append(float(((given - clip.picture) ** 2).mean()))
        base = clip.maps[2, conditions.SLICE["base"]] * 2 - 1
        rows.append(torch.cat([clip.picture[2], base, given[2], without[2]], 2))
    half = len(rows) // 2
    both = torch.cat([torch.cat(rows[:half], 1), torch.cat(rows[half:], 1)], 2)
    iio.imwrite(path, ((both.permute(1, 2, 0) + 1) * 127.5).clamp(0, 255).byte().numpy())
    print(f"held out: mse {np.mean(errors):.4f}", flush=True)
    return float(np.mean(errors))
