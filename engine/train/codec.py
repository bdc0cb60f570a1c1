"""What the compression network learns: pictures back as they were, from few latents."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import conditions
from ..measure.warp import ssim
from ..models.codec import Codec, CodecConfig, guide_of
from ..weights import machine
from .data import Data, Drops, Item, PoolLimits, Sizes
from .loop import Recipe, taken_up
from .sheet import held_out

STAGES = [(0.0, Sizes((1, 5, 5, 9), 64 * 96, 112 * 176)), (0.7, Sizes((1, 5, 9, 13), 96 * 128, 160 * 272))]
DROPS = Drops(base=0.1, caption=1.0, cache=1.0, reactive=1.0, reference=1.0)
CHOSEN = 3  # frames that come back at full size in a step
KL = 1e-5  # keeps latents near a unit ball; more costs detail
EDGES = 1.0  # weight of the differences between neighbours


@dataclass(frozen=True)
class LearnCodec:
    """The task of a run that makes the compression network."""

    config: CodecConfig = field(default_factory=CodecConfig)
    family: str = "codec"
    columns: tuple[str, ...] = ("colour", "edges", "kl")
    drops: Drops = DROPS
    what: str = "codec"
    pool: PoolLimits = field(default_factory=PoolLimits)

    def model(self, folder: Path) -> Codec:
        model = Codec(self.config)
        taken_up(model, folder, self.family)
        return model

    def facts(self, model: nn.Module) -> dict[str, Any]:
        assert isinstance(model, Codec)
        return model.metadata()

    def sizes(self, share: float) -> Sizes:
        return [sizes for begin, sizes in STAGES if share >= begin][-1]

    def losses(self, model: nn.Module, data: Data, recipe: Recipe, share: float) -> dict[str, Tensor]:
        assert isinstance(model, Codec)
        rows, means = [], []
        for item in data.pack(self.sizes(share)):
            parts, mean = clip_losses(model, data, recipe, item)
            rows.append(parts)
            means.append(mean.detach().movedim(1, -1).flatten(0, 2))
        model.notice(torch.cat(means))
        return {name: torch.stack([row[name] for row in rows]).mean() for name in rows[0]}

    def sheet(self, model: nn.Module, path: Path) -> None:
        assert isinstance(model, Codec)
        sheet(model, path)


def clip_losses(
    model: Codec, data: Data, recipe: Recipe, item: Item
) -> tuple[dict[str, Tensor], Tensor]:
    count, _, height, width = item.picture.shape
    frames = sorted(data.rng.choice(count, min(CHOSEN, count), replace=False).tolist())
    shape = ((count + 3) // 4, model.config.latent, height // 8, width // 8)
    noise = torch.randn(shape, generator=data.draws).to(data.device)
    with machine.products(data.device.type, recipe.precision):
        out = model(item.picture, guide_of(item.maps), frames, noise)
    made, truth = out["picture"], item.picture[frames]
    kl = 0.5 * (out["mean"] ** 2 + out["spread"].exp() - 1 - out["spread"])
    parts = {"colour": (made - truth).abs().mean(), "edges": EDGES * edges(made, truth), "kl": KL * kl.mean()}
    return parts, out["mean"]


def edges(made: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute error of the differences between neighbours, across and down."""
    return sum((F.l1_loss(made.diff(dim=d), truth.diff(dim=d)) for d in (-1, -2)), torch.zeros(()))


@torch.no_grad()
def comes_back(model: Codec, picture: Tensor, maps: Tensor) -> Tensor:
    """A clip through the network, (F, 3, H, W)."""
    guide = guide_of(maps)
    return torch.cat(list(model.decode(model.encode(picture, guide), lambda at: guide[at])))


def fidelity(made: Tensor, truth: Tensor) -> tuple[float, float]:
    """PSNR in dB and SSIM of clips (F, 3, H, W) in -1..1."""
    mse = float(((made - truth) ** 2).mean()) / 4
    pictures = [((p.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).numpy() for p in (made, truth)]
    return -10 * torch.tensor(mse).log10().item(), sum(ssim(a, b, np.ones(a.shape[:2], bool)) for a, b in zip(*pictures, strict=True)) / len(made)


def sheet(model: Codec, path: Path) -> tuple[float, float]:
    """truth | base colour | come back | four times the error; returns mean PSNR and SSIM of the held-out clips."""
    rows, figures = [], []
    for clip in held_out():
        made = comes_back(model, clip.picture, clip.maps)
        figures.append(fidelity(made, clip.picture))
        base = clip.maps[2, conditions.SLICE["base"]] * 2 - 1
        rows.append(torch.cat([clip.picture[2], base, made[2], (made[2] - clip.picture[2]) * 4], 2))
    half = len(rows) // 2
    both = torch.cat([torch.cat(rows[:half], 1), torch.cat(rows[half:], 1)], 2)
    iio.imwrite(path, ((both.permute(1, 2, 0) + 1) * 127.5).clamp(0, 255).byte().numpy())
    psnr, similar = (sum(values) / len(figures) for values in zip(*figures, strict=True))
    print(f"held out: {psnr:.2f} dB, SSIM {similar:.4f}, worst {min(p for p, _ in figures):.2f} dB", flush=True)
    return psnr, similar
