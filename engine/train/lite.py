"""What lite learns: a look from words, pictures from noise. Its losses, the sizes of its clips, how a fresh one starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import conditions
from ..diffusion import schedule
from ..models import shading
from ..models.lite import Lite, LiteConfig, Sample, config_of
from ..weights import machine, store
from . import blender_clips, captions
from .data import Data, Drops, Item, Named, PoolLimits, Sizes
from .loop import Recipe, taken_up
from .sheet import sheet

STAGES: list[tuple[float, Sizes]] = [  # from this share of the run on
    (0.0, Sizes((1, 5, 5, 5, 9), 48 * 80, 96 * 112)),
    (0.45, Sizes((1, 5, 5, 9), 64 * 96, 112 * 176)),
    (0.8, Sizes((1, 5, 5, 9), 96 * 128, 160 * 272)),
]
CHOSEN = 3  # frames that pass the full-size layers in a step
ELSEWHERE = 0.35  # share of the clips whose objects are dressed under another clip's prompt: a name says more than a place
GLIMPSES = 16  # parts of pictures whose look is read in every step
LOOK_BATCH = 128  # briefs without pictures that train the look in every step

# a grade's numbers are small and its words rare: without weight they are learnt last
WEIGHTS = {"saturation": 8.0, "contrast": 5.0, "tint": 5.0, "height": 3.0}
LOOK_SIZES = [size for size, _ in shading.LOOK.values()]
NUMBERS = sum(size for size, kind in shading.LOOK.values() if kind != "class")
CLASS_WEIGHT = 3.0


def look_loss(raw: Tensor, target: Tensor) -> Tensor:
    """How far the numbers are off, and cross-entropy for what is one of several. A dye counts where there is a material."""
    parts, total = dict(zip(shading.LOOK, raw.split(LOOK_SIZES, 1))), raw.new_zeros(())
    wanted = dict(zip(shading.LOOK, target.split(LOOK_SIZES, 1)))
    for name, (_, kind) in shading.LOOK.items():
        if kind == "class":
            right = F.cross_entropy(parts[name], wanted[name].argmax(1), reduction="none")
            counts = wanted["material"].argmax(1) > 0 if name == "dye" else torch.ones_like(right, dtype=torch.bool)
            total = total + CLASS_WEIGHT * (right * counts).sum() / counts.sum().clamp_min(1)
        else:
            off = F.smooth_l1_loss(parts[name], wanted[name], beta=0.3, reduction="none").sum(1).mean()
            total = total + WEIGHTS.get(name, 1.0) * off
    return total / NUMBERS


@dataclass(frozen=True)
class Learn:
    """The task of a run that makes lite."""

    config: LiteConfig = field(default_factory=LiteConfig)
    filmed: blender_clips.BlenderClips | None = None  # clips from Blender, mixed in
    family: str = "lite"
    columns: tuple[str, ...] = ("shaded", "whole", "small", "look", "pane", "base", "finish", "seen", "briefs")
    drops: Drops = field(default_factory=Drops)
    what: str = "lite"
    pool: PoolLimits = field(default_factory=PoolLimits)

    def model(self, folder: Path) -> Lite:
        kept = store.config(folder, self.family) if store.shards(folder, self.family) else {}
        model = Lite(replace(self.config, words=self.config.words or config_of(kept).words) if kept else self.config)
        centre(model)
        taken_up(model, folder, self.family)
        if kept and kept.get("clips", "") != self.clips():
            print("other clips from Blender than these weights knew: what follows repeats no other run", flush=True)
        return model

    def clips(self) -> str:
        """Which clips from Blender there are; a run repeats only on the same ones."""
        return self.filmed.fingerprint() if self.filmed else ""

    def facts(self, model: nn.Module) -> dict[str, Any]:
        assert isinstance(model, Lite)
        return {**model.metadata(), "clips": self.clips()}

    def sizes(self, share: float) -> Sizes:
        return [sizes for begin, sizes in STAGES if share >= begin][-1]

    def losses(self, model: nn.Module, data: Data, recipe: Recipe, share: float) -> dict[str, Tensor]:
        assert isinstance(model, Lite)
        if share < recipe.words_first:
            return {"briefs": briefs_loss(model, data, 2 * LOOK_BATCH)}
        if self.filmed is not None and data.rng.random() < self.filmed.share:
            parts = filmed_losses(model, data, recipe, self.filmed.pack(data))
        else:
            parts = pictures_losses(model, data, recipe, data.pack(self.sizes(share)), max(0.25, 1 - 3 * share))
        return {**parts, "seen": glimpses_loss(model, data), "briefs": briefs_loss(model, data, LOOK_BATCH)}

    def sheet(self, model: nn.Module, path: Path) -> None:
        assert isinstance(model, Lite)
        sheet(model, path)


@dataclass(frozen=True)
class LearnFinishes(Learn):
    """The task of a run that teaches lite what bare objects wear, and nothing else: from small clips, quickly made, under
    fresh names at every use. A dresser that sees few clips often, always under one name, knows them by heart."""

    columns: tuple[str, ...] = ("finish",)
    what: str = "finishes"
    pool: PoolLimits = field(default_factory=lambda: PoolLimits(512, 1))

    def model(self, folder: Path) -> Lite:
        model = super().model(folder)
        for name, weights in model.named_parameters():
            weights.requires_grad_(name.startswith("dresser."))
        return model

    def sizes(self, share: float) -> Sizes:
        return Sizes((1, 2, 3), 32 * 64, 64 * 96)

    def losses(self, model: nn.Module, data: Data, recipe: Recipe, share: float) -> dict[str, Tensor]:
        assert isinstance(model, Lite)
        at, pack = data.device, data.some(self.sizes(share))
        meant = [i if data.rng.random() >= ELSEWHERE else int(data.rng.integers(len(pack))) for i in range(len(pack))]
        said = [pack[i].rows * int(data.rng.random() >= data.drops.caption) for i in meant]
        _, _, pooled, _ = model.look(torch.stack(said).to(at), torch.stack([clip.statistics for clip in pack]).to(at))
        objects = [data.named(clip.things) for clip in pack]
        return {"finish": finish_loss(model, objects, pooled, [clip.statistics for clip in pack])}


def briefs_loss(model: Lite, data: Data, count: int) -> Tensor:
    rows, statistics, looks = data.briefs(count)
    return look_loss(model.look(rows, statistics)[0], looks)


def glimpses_loss(model: Lite, data: Data) -> Tensor:
    """How far the look is off that the network reads off a reference."""
    if model.reference is None:
        return torch.zeros(())
    pictures, looks = data.glimpses(GLIMPSES)
    keep = shading.of_a_picture(looks.new_ones(1, shading.LOOK_WIDTH))
    raw, tokens = model.reference(pictures)
    every = 0 * tokens.sum()  # processes share gradients: whether a clip of this one has a reference must not show
    return 0.3 * look_loss(raw * keep + looks * (1 - keep), looks) + every


def finish_loss(model: Lite, pack: Sequence[Named], pooled: Tensor, statistics: Sequence[Tensor]) -> Tensor:
    """Cross-entropy of what the objects of P clips are made of. pooled (P, D), statistics P of (STATISTICS,)."""
    if model.dresser is None:
        return torch.zeros(())
    rows = zip(pack, pooled.detach(), statistics, strict=True)
    scores = torch.cat([model.dresser(n.facts, n.names, said, scene.to(pooled.device)) for n, said, scene in rows])
    right = torch.cat([named.finish for named in pack])
    return 0.05 * F.cross_entropy(scores, right, reduction="sum") / (right >= 0).sum().clamp_min(1)


def times(data: Data, pack: list[Item]) -> Tensor:
    """(P,) uniform, moved toward 1 by each clip's size; a tenth is 1, where every sample starts."""
    u = torch.rand(2, len(pack), generator=data.draws)
    moved = [schedule.shift(u[0, i], schedule.size_shift(*item.picture.shape[-2:])) for i, item in enumerate(pack)]
    return torch.where(u[1] < 0.1, torch.ones(len(pack)), torch.stack(moved).clamp(0.02, 1)).to(data.device)


def pictures_losses(
    model: Lite, data: Data, recipe: Recipe, pack: list[Item], taught: float
) -> dict[str, Tensor]:
    """Losses of one prediction of a pack. To a share `taught` of the clips the shader is given the true look, so that
    the fields learn from the start."""
    rows, statistics = torch.stack([item.rows for item in pack]), torch.stack([item.statistics for item in pack])
    wanted = torch.stack([item.look for item in pack])
    raw, tokens, pooled, _ = model.look(rows, statistics)
    said = (rows[:, :, 0] > 0).any(1).float()[:, None]
    teach = (torch.rand(len(pack), 1, generator=data.draws) < taught).float().to(data.device)
    looks = shading.unpack(torch.where(torch.maximum(teach, 1 - said) > 0.5, wanted, raw))
    each = [{name: value[i : i + 1] for name, value in looks.items()} for i in range(len(pack))]
    means = predicted(model, data, recipe, pack, tokens, pooled, each)
    look = 0.05 * look_loss(raw * said, wanted * said)
    return {**means, "look": look, "finish": finish_loss(model, [item.things for item in pack], pooled, [*statistics])}


def filmed_losses(
    model: Lite, data: Data, recipe: Recipe, pack: list[tuple[Item, blender_clips.Filmed]]
) -> dict[str, Tensor]:
    """The same of clips from Blender, whose look and panes nobody knows: only the picture teaches."""
    items = [item for item, _ in pack]
    rows, statistics = torch.stack([item.rows for item in items]), torch.stack([item.statistics for item in items])
    raw, tokens, pooled, _ = model.look(rows, statistics)
    looks = [blender_clips.look_of(raw[i : i + 1], filmed, item) for i, (item, filmed) in enumerate(pack)]
    means = predicted(model, data, recipe, items, tokens, pooled, looks)
    nothing = 0 * means["pane"]
    return {**means, "pane": nothing, "look": nothing, "finish": nothing}  # a step's losses have the same names


def predicted(
    model: Lite, data: Data, recipe: Recipe, pack: list[Item], tokens: Tensor, pooled: Tensor, looks: list[shading.Look]
) -> dict[str, Tensor]:
    """The mean losses of the pack's pictures, predicted from noise under each clip's look."""
    t, samples = times(data, pack), []
    for i, item in enumerate(pack):
        look = shading.in_place(shading.with_sky(looks[i], item.cloud_seed[None]), item.maps[None])
        frames = sorted(data.rng.choice(len(item.picture), min(CHOSEN, len(item.picture)), replace=False).tolist())
        noisy = schedule.mix(item.picture, item.noise, t[i])
        azimuth = item.azimuth.view(1, 1, 1, 1, 1)
        samples.append(Sample(noisy, item.maps, t[i], shown(model, item, tokens[i]), pooled[i], look, azimuth, frames))
    with machine.products(data.device.type, recipe.precision):
        outs = model(samples)
    parts = [clip_losses(item, sample, out) for item, sample, out in zip(pack, samples, outs, strict=True)]
    return {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}


def shown(model: Lite, item: Item, tokens: Tensor) -> Tensor:
    """The tokens of the text (S, D), and behind them those of the reference where one is given."""
    if model.reference is None or not item.has_reference:
        return tokens
    return torch.cat([tokens, model.reference(item.reference[None])[1][0]])


def clip_losses(item: Item, sample: Sample, out: dict[str, Tensor]) -> dict[str, Tensor]:
    frames = sample.frames
    truth, weight = item.picture[frames], 1 / sample.t.clamp_min(0.5) ** 2
    solid = 1 - item.maps[frames][:, conditions.SLICE["sky"]]
    dropped = (1 - item.has_base) * solid
    pane = F.binary_cross_entropy_with_logits(out["pane"], item.pane[frames], reduction="none")
    return {
        "shaded": ((out["shaded"] - truth) ** 2).mean() * weight,
        "whole": ((out["shaded"].detach() + out["residual"] - truth) ** 2).mean() * weight,
        "small": 0.03 * (out["residual"] ** 2 * solid).mean(),
        "pane": 0.05 * (pane * solid).mean(),
        "base": 0.3 * ((out["base"] - item.base[frames]) ** 2 * dropped).sum() / (3 * solid.sum()).clamp_min(1),
    }


def centre(model: Lite) -> None:
    """A fresh model's look starts at the average film."""
    middle = np.mean(
        [
            captions.raw(captions.look(captions.draw(np.random.default_rng(i)), np.random.default_rng(i)))
            for i in range(512)
        ],
        0,
    )
    with torch.no_grad():
        last = model.look.mlp[-1]
        assert isinstance(last, torch.nn.Linear)
        last.weight.mul_(0.2)
        last.bias.copy_(torch.from_numpy(middle))
