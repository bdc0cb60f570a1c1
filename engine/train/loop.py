"""`python -m engine train`: makes lite's weights from nothing, or goes on from weights alone.

Scenes are made while training runs; a small pool per size is reused a few times. Every two minutes the averaged weights,
a line of the log and a sheet of pictures are written, so that a run that is cut off loses two minutes.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .. import conditions
from ..diffusion import schedule
from ..geometry.noise import surface_noise
from ..models import shading, text
from ..models.lite import Lite, LiteConfig
from ..weights import store
from . import captions, clips
from .cache import keyframe
from .sheet import sheet

Size = tuple[int, int, int]  # frames, height, width
STAGES: list[tuple[float, list[Size]]] = [  # from this share of the run on: sizes in the mix
    (0.0, [(5, 64, 96), (9, 64, 96), (1, 96, 160), (5, 96, 64)]),
    (0.45, [(5, 64, 96), (5, 96, 160), (1, 144, 256), (9, 96, 160), (1, 160, 96)]),
    (0.8, [(5, 96, 160), (5, 144, 256), (1, 256, 448), (9, 96, 160), (1, 224, 128)]),
]
PIXELS = 8 * 5 * 64 * 96  # of a batch, about
POOL, REUSE = 40, 4  # clips kept per size; uses of a clip, about
CHOSEN = 3  # frames that pass the full-size layers in a step
LOG_EVERY = 25
SHEET_EVERY_STEPS = 300  # about: pictures cost as much as ten steps
COLUMNS = ["step", "seconds", "norm", "shaded", "whole", "small", "look", "pane", "base", "briefs"]
LOOK_BATCH = 128  # briefs without pictures that train the look in every step


@dataclass(frozen=True)
class Recipe:
    minutes: float = 60.0
    most_steps: int = 10**9
    words_first: float = 2.5  # minutes in which only the look is trained
    rate: float = 1e-3
    warm_up: int = 100
    decay: float = 0.999  # of the average
    drop_base: float = 0.3
    drop_caption: float = 0.1
    drop_cache: float = 0.45
    seed: int = 0
    save_every: float = 120.0  # seconds
    threads: int = 2


@dataclass
class Batch:
    picture: Tensor  # B F 3 H W
    maps: Tensor  # B F C H W
    noise: Tensor  # B F 3 H W
    rows: Tensor
    statistics: Tensor
    look: Tensor  # B LOOK_WIDTH raw
    azimuth: Tensor  # B 1 1 1 1
    cloud_seed: Tensor  # B
    pane: Tensor  # B F 1 H W
    has_base: Tensor  # B
    base: Tensor  # B F 3 H W, the truth where it was dropped


class Data:
    """Pools of clips, one per size, renewed as they are used."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.rng = recipe, np.random.default_rng(recipe.seed)
        self.pools: dict[Size, deque[clips.Clip]] = {}
        self.statistics: dict[str, deque[Tensor]] = {place: deque(maxlen=64) for place in captions.PLACES}

    def make(self, size: Size) -> clips.Clip:
        brief = captions.draw(self.rng)
        clip = clips.render(brief, *size, self.rng)
        self.statistics[brief.place].append(clip.statistics)
        return clip

    def fill(self, count: int) -> None:
        """A first pool of small clips, and with it statistics of every kind of place."""
        size = STAGES[0][1][0]
        self.pools[size] = deque((self.make(size) for _ in range(count)), maxlen=POOL)

    def batch(self, size: Size) -> Batch:
        count = max(2, min(16, round(PIXELS / math.prod(size))))
        pool = self.pools.setdefault(size, deque(maxlen=POOL))
        for _ in range(max(count - len(pool), math.ceil(count / REUSE))):
            pool.append(self.make(size))
        chosen = [pool[i] for i in self.rng.choice(len(pool), count, replace=False)]
        return collate([self.item(clip) for clip in chosen])

    def item(self, clip: clips.Clip) -> dict[str, Tensor]:
        """A clip with fresh noise, fresh drops and a keyframe, mirrored at times."""
        r, rng = self.recipe, self.rng
        maps = clip.maps.clone()
        base = maps[:, conditions.SLICE["base"]].clone()
        keep = rng.random() >= r.drop_base
        if not keep:
            maps[:, conditions.SLICE["base"]] = 0
            maps[:, conditions.SLICE["has_base"]] = 0
        if rng.random() >= r.drop_cache:
            conditions.put_cache(maps, *keyframe(clip, rng))
        frames = len(maps)
        sky = ~torch.isfinite(clip.depth)
        noise = surface_noise(
            clip.anchor, clip.footprint, sky, clip.ray, int(rng.integers(2**62)), torch.arange(frames)
        )
        words = clip.rows if rng.random() >= r.drop_caption else torch.zeros_like(clip.rows)
        item = dict(picture=clip.picture, maps=maps, noise=noise, rows=words, statistics=clip.statistics, look=clip.look, pane=clip.pane,
                    azimuth=torch.tensor(clip.azimuth),
            cloud_seed=torch.tensor(clip.cloud_seed), has_base=torch.tensor(float(keep)), base=base)  # fmt: skip
        return mirrored(item) if rng.random() < 0.5 else item

    def briefs(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Captions, statistics and looks without pictures: rows (B, S, G), (B, STATISTICS), (B, LOOK_WIDTH)."""
        rows, statistics, looks = [], [], []
        for _ in range(count):
            brief = captions.draw(self.rng, balanced=True)
            bank = self.statistics[brief.place]
            facts = bank[self.rng.integers(len(bank))].clone() if bank else torch.zeros(conditions.STATISTICS)
            rows.append(captions.caption(brief, self.rng))
            statistics.append(facts)
            looks.append(torch.from_numpy(captions.raw(captions.look(brief, self.rng))))
        return text.encode(rows), torch.stack(statistics), torch.stack(looks)


def mirrored(item: dict[str, Tensor]) -> dict[str, Tensor]:
    """Left and right exchanged: pictures and maps flipped, world x negated (rays, normals, sines of x, the sun)."""
    out = dict(item)
    for name in ("picture", "maps", "noise", "pane", "base"):
        out[name] = item[name].flip(-1).clone()
    first = conditions.SLICE["position"].start
    for channel in (conditions.SLICE["ray"].start, conditions.SLICE["normal"].start, first, first + 3):
        out["maps"][:, channel] *= -1
    out["azimuth"] = math.pi - item["azimuth"]
    out["cloud_seed"] = -item["cloud_seed"]
    return out


def collate(items: list[dict[str, Tensor]]) -> Batch:
    joined = {name: torch.stack([item[name] for item in items]) for name in items[0]}
    return Batch(**{**joined, "azimuth": joined["azimuth"].view(-1, 1, 1, 1, 1)})


# ---------------------------------------------------------------- losses

# a grade's numbers are small and its words rare: without weight they are learnt last
WEIGHTS = {"saturation": 8.0, "contrast": 5.0, "tint": 5.0, "height": 3.0}
LOOK_WEIGHT = torch.cat([torch.full((size,), WEIGHTS.get(name, 1.0)) for name, (size, _) in shading.LOOK.items()])


def look_loss(raw: Tensor, target: Tensor) -> Tensor:
    return (F.smooth_l1_loss(raw, target, beta=0.3, reduction="none") * LOOK_WEIGHT).mean()


def losses(model: Lite, batch: Batch, t: Tensor, frames: list[int], teach: Tensor) -> dict[str, Tensor]:
    """One prediction's losses. `teach` (B,) 1: the true look goes into the shader, so that the fields learn from the start."""
    raw, tokens, pooled, _ = model.look(batch.rows, batch.statistics)
    said = (batch.rows[:, :, 0] > 0).any(1).float()[:, None]
    look = shading.unpack(torch.where(torch.maximum(teach[:, None], 1 - said) > 0.5, batch.look, raw))
    look = shading.with_sky(look, batch.cloud_seed)
    t5 = t.view(-1, 1, 1, 1, 1)
    with torch.autocast("cpu", torch.bfloat16):
        out = model(
            schedule.mix(batch.picture, batch.noise, t5), batch.maps, t, (tokens, pooled), look, batch.azimuth, frames
        )
    truth = batch.picture[:, frames]
    weight = 1 / t.clamp_min(0.5) ** 2
    solid = 1 - batch.maps[:, frames, conditions.SLICE["sky"]]
    mean = lambda e: (e.mean((1, 2, 3, 4)) * weight).mean()  # noqa: E731
    dropped = (1 - batch.has_base).view(-1, 1, 1, 1, 1) * solid
    return {
        "shaded": mean((out["shaded"] - truth) ** 2),
        "whole": mean((out["shaded"].detach() + out["residual"] - truth) ** 2),
        "small": 0.03 * (out["residual"] ** 2 * solid).mean(),
        "look": 0.05 * look_loss(raw * said, batch.look * said),
        "pane": 0.05
        * (F.binary_cross_entropy_with_logits(out["pane"], batch.pane[:, frames], reduction="none") * solid).mean(),
        "base": 0.3 * ((out["base"] - batch.base[:, frames]) ** 2 * dropped).sum() / (3 * solid.sum()).clamp_min(1),
    }


# ---------------------------------------------------------------- the run


def rate(recipe: Recipe, step: int, share: float) -> float:
    """Warm-up, then a cosine down to 3 %."""
    return (
        recipe.rate
        * min(1, (step + 1) / recipe.warm_up)
        * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * min(1, share))))
    )


def start(folder: Path, config: LiteConfig) -> Lite:
    """A fresh model, or the one whose weights lie in the folder."""
    model = Lite(config)
    if store.shards(folder, "lite"):
        store.fill(model, store.load(folder, "lite"), "lite")
        return model
    middle = np.mean(
        [
            captions.raw(captions.look(captions.draw(np.random.default_rng(i)), np.random.default_rng(i)))
            for i in range(512)
        ],
        0,
    )
    with torch.no_grad():  # the look starts at the average film
        last = model.look.mlp[-1]
        assert isinstance(last, torch.nn.Linear)
        last.weight.mul_(0.2)
        last.bias.copy_(torch.from_numpy(middle))
    return model


@torch.no_grad()
def average(ema: dict[str, Tensor], model: Lite, step: int, decay: float) -> None:
    d = min(decay, (step + 1) / (step + 10))
    for key, value in model.state_dict().items():
        ema[key].lerp_(value, 1 - d) if value.is_floating_point() else ema[key].copy_(value)


def train(folder: Path, recipe: Recipe, config: LiteConfig | None = None) -> dict[str, float]:
    """Trains until the minutes are over; returns the last averaged losses. Goes on from weights in the folder."""
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    folder.mkdir(parents=True, exist_ok=True)
    model, data = start(folder, config or LiteConfig()), Data(recipe)
    ema = {key: value.clone() for key, value in model.state_dict().items()}
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.01)
    began = saved = time.monotonic()
    recent: deque[dict[str, float]] = deque(maxlen=50)
    elapsed, step, seconds = 0.0, 0, recipe.minutes * 60
    data.fill(24)
    while (elapsed := time.monotonic() - began) < seconds and step < recipe.most_steps:
        share = elapsed / seconds
        for group in optimiser.param_groups:
            group["lr"] = rate(recipe, step, share)
        if elapsed < recipe.words_first * 60:
            recent.append(_look_step(model, data, optimiser))
        else:
            recent.append(_step(model, data, optimiser, share))
        average(ema, model, step, recipe.decay)
        step += 1
        if step % LOG_EVERY == 0:
            log(folder, step, elapsed, recent, seconds)
        if time.monotonic() - saved > recipe.save_every:
            saved = time.monotonic()
            checkpoint(folder, ema, model, recipe, step, elapsed)
    checkpoint(folder, ema, model, recipe, step, elapsed)
    return {key: float(np.mean([r[key] for r in recent if key in r])) for key in recent[-1]} if recent else {}


def _look_step(model: Lite, data: Data, optimiser: torch.optim.Optimizer) -> dict[str, float]:
    rows, statistics, looks = data.briefs(2 * LOOK_BATCH)
    loss = look_loss(model.look(rows, statistics)[0], looks)
    _update(model, loss, optimiser)
    return {"briefs": loss.item()}


def _update(model: Lite, loss: Tensor, optimiser: torch.optim.Optimizer) -> float:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return norm.item()


def _step(model: Lite, data: Data, optimiser: torch.optim.Optimizer, share: float) -> dict[str, float]:
    sizes = [sizes for begin, sizes in STAGES if share >= begin][-1]
    size = sizes[data.rng.integers(len(sizes))]
    batch = data.batch(size)
    count = len(batch.picture)
    t = schedule.shift(torch.rand(count), schedule.size_shift(size[1], size[2])).clamp(0.02, 1)
    t[torch.rand(count) < 0.1] = 1.0  # the first step of every sample starts here
    frames = sorted(data.rng.choice(size[0], min(CHOSEN, size[0]), replace=False).tolist())
    parts = losses(model, batch, t, frames, (torch.rand(count) < max(0.25, 1 - 3 * share)).float())
    rows, statistics, looks = data.briefs(LOOK_BATCH)
    parts["briefs"] = look_loss(model.look(rows, statistics)[0], looks)
    norm = _update(model, torch.stack(list(parts.values())).sum(), optimiser)
    return {"norm": norm, **{key: value.item() for key, value in parts.items()}}


def log(folder: Path, step: int, elapsed: float, recent: deque[dict[str, float]], seconds: float) -> None:
    mean = {k: round(float(np.mean([r[k] for r in recent if k in r])), 5) for k in recent[-1]}
    row = {"step": step, "seconds": round(elapsed), **mean}
    path = folder / "log.csv"
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if fresh:
            writer.writeheader()  # rows of the look's own phase leave the pictures' columns empty
        writer.writerow(row)
    print(f"{row}  {max(0, seconds - elapsed) / 60:.0f} min left", flush=True)


def checkpoint(folder: Path, ema: dict[str, Tensor], model: Lite, recipe: Recipe, step: int, elapsed: float) -> None:
    """Averaged weights and a sheet of held-out pictures."""
    facts = {**model.metadata(), "trained": {**asdict(recipe), "steps": step, "seconds": round(elapsed)}}
    store.save(folder, "lite", ema, facts)
    if step % SHEET_EVERY_STEPS > SHEET_EVERY_STEPS // 3 and elapsed < recipe.minutes * 60 - 1:
        return
    held = Lite(model.config)
    store.fill(held, ema, "lite")
    sheet(held.eval(), folder / "sheet.png")


def main(argv: list[str]) -> int:
    p = argparse.ArgumentParser(
        prog="python -m engine train", description="Train the bundled model on procedural scenes"
    )
    p.add_argument("folder", type=Path, help="weights, log and pictures; goes on from weights that lie there")
    p.add_argument("--minutes", type=float, default=Recipe.minutes)
    p.add_argument("--rate", type=float, default=Recipe.rate)
    p.add_argument("--seed", type=int, default=Recipe.seed)
    p.add_argument("--words-first", type=float, default=Recipe.words_first, help="minutes for the look alone")
    p.add_argument("--threads", type=int, default=Recipe.threads)
    a = p.parse_args(argv)
    print(
        train(
            a.folder, Recipe(minutes=a.minutes, rate=a.rate, seed=a.seed, threads=a.threads, words_first=a.words_first)
        )
    )
    return 0
