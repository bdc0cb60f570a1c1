"""`python -m engine train`: makes lite's weights from nothing, or goes on where a run was cut off.

Scenes are made while training runs; a small pool per size is reused a few times. Every two minutes the averaged weights,
the state of the run, a line of the log and a sheet of pictures are written: a run that is cut off loses two minutes, and
what follows is what would have followed. Where only weights lie in the folder, it goes on from those.
"""

from __future__ import annotations

import argparse
import csv
import math
import secrets
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .. import conditions
from ..diffusion import schedule
from ..job import BadJob
from ..models import shading
from ..models.lite import Lite, LiteConfig
from ..weights import store
from . import blender_clips, captions, run_state
from .data import Batch, Data, Drops, Size
from .sheet import sheet

STAGES: list[tuple[float, list[Size]]] = [  # from this share of the run on: sizes in the mix
    (0.0, [(5, 64, 96), (9, 64, 96), (1, 96, 160), (5, 96, 64)]),
    (0.45, [(5, 64, 96), (5, 96, 160), (1, 144, 256), (9, 96, 160), (1, 160, 96)]),
    (0.8, [(5, 96, 160), (5, 144, 256), (1, 256, 448), (9, 96, 160), (1, 224, 128)]),
]
CHOSEN = 3  # frames that pass the full-size layers in a step
FIRST_POOL = 24  # clips made before the first step
LOG_EVERY = 25
SHEET_EVERY_STEPS = 300  # about: pictures cost as much as ten steps
COLUMNS = ["step", "seconds", "norm", "shaded", "whole", "small", "look", "pane", "base", "briefs", "filmed", "filmed_whole"]
LOOK_BATCH = 128  # briefs without pictures that train the look in every step
ENDLESS = 10**9


@dataclass(frozen=True)
class Recipe:
    minutes: float = 60.0  # of the whole run, however often it is cut off
    most_steps: int = ENDLESS  # where given, the run is counted in steps instead
    words_first: float = 0.04  # share of the run in which only the look is trained
    rate: float = 1e-3
    warm_up: int = 100
    decay: float = 0.999  # of the average
    drops: Drops = field(default_factory=Drops)
    clips_share: float = 0.25  # of the steps on clips from Blender, where there are some
    seed: int = 0
    save_every: float = 120.0  # seconds
    threads: int = 2

    def share(self, step: int, seconds: float) -> float:
        """How far the run is, 0..1: by steps where they are counted (the same at every repetition), else by the clock."""
        return step / self.most_steps if self.most_steps < ENDLESS else seconds / (self.minutes * 60)


@dataclass
class Run:
    """A training run in the middle of its way."""

    folder: Path
    recipe: Recipe
    model: Lite
    average: dict[str, Tensor]
    optimiser: torch.optim.Optimizer
    data: Data
    filmed: blender_clips.BlenderClips | None = None
    step: int = 0
    seconds: float = 0.0  # of training, in all sittings
    name: str = field(default_factory=lambda: secrets.token_hex(8))  # weights and state of one run know each other by it

    @property
    def share(self) -> float:
        return self.recipe.share(self.step, self.seconds)


# ---------------------------------------------------------------- losses

# a grade's numbers are small and its words rare: without weight they are learnt last
WEIGHTS = {"saturation": 8.0, "contrast": 5.0, "tint": 5.0, "height": 3.0}
SIZES = [size for size, _ in shading.LOOK.values()]
NUMBERS = sum(size for size, kind in shading.LOOK.values() if kind != "class")
CLASS_WEIGHT = 3.0


def look_loss(raw: Tensor, target: Tensor) -> Tensor:
    """How far the numbers are off, and cross-entropy for what is one of several. A dye counts where there is a material."""
    parts, total = dict(zip(shading.LOOK, raw.split(SIZES, 1))), raw.new_zeros(())
    wanted = dict(zip(shading.LOOK, target.split(SIZES, 1)))
    for name, (_, kind) in shading.LOOK.items():
        if kind == "class":
            right = F.cross_entropy(parts[name], wanted[name].argmax(1), reduction="none")
            counts = wanted["material"].argmax(1) > 0 if name == "dye" else torch.ones_like(right, dtype=torch.bool)
            total = total + CLASS_WEIGHT * (right * counts).sum() / counts.sum().clamp_min(1)
        else:
            off = F.smooth_l1_loss(parts[name], wanted[name], beta=0.3, reduction="none").sum(1).mean()
            total = total + WEIGHTS.get(name, 1.0) * off
    return total / NUMBERS


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
    """A fresh model, or the one whose weights lie in the folder, grown where it was made for fewer conditions."""
    model = Lite(config)
    centre(model)
    if store.shards(folder, "lite"):
        kept, wanted = store.load(folder, "lite"), model.state_dict()
        store.fill(model, {**kept, **{k: grown(kept[k], v) for k, v in wanted.items() if k in kept}}, "lite")
    return model


def grown(old: Tensor, new: Tensor) -> Tensor:
    """Weights of an older model in the shape of this one, which has more channels at the end of a side.

    More inputs are read with zeros, more outputs start as the fresh model's. What is smaller or cut otherwise is refused
    by `store.fill`, which sees its old shape.
    """
    if old.shape == new.shape or old.dim() != new.dim() or any(o > n for o, n in zip(old.shape, new.shape, strict=True)):
        return old
    out = new.clone()
    if old.dim() > 1:
        out[:, old.shape[1] :] = 0
    out[tuple(slice(0, n) for n in old.shape)] = old
    return out


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


@torch.no_grad()
def follow(average: dict[str, Tensor], model: Lite, step: int, decay: float) -> None:
    """The exponential moving average of the weights, quicker at first."""
    d = min(decay, (step + 1) / (step + 10))
    for key, value in model.state_dict().items():
        average[key].lerp_(value, 1 - d) if value.is_floating_point() else average[key].copy_(value)


def begin(folder: Path, recipe: Recipe, config: LiteConfig, clips: Sequence[Path] = ()) -> Run:
    """A new run, or the one that was cut off in this folder; the first clips are made."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    model = start(folder, config)
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.01)
    average = {key: value.clone() for key, value in model.state_dict().items()}
    filmed = blender_clips.BlenderClips(clips, recipe.clips_share) if clips else None
    run = Run(folder, recipe, model, average, optimiser, Data(recipe.seed, recipe.drops), filmed)
    kept = run_state.load(folder)
    if kept is not None and kept.facts["run"] == store.config(folder, "lite")["trained"].get("run"):
        resume(run, kept)
    else:  # a state of another run says nothing about these weights
        run.data.fill(STAGES[0][1][0], FIRST_POOL)
    return run


def resume(run: Run, kept: run_state.RunState) -> None:
    """Everything as it was when the state was written."""
    store.fill(run.model, kept.groups["raw"], "lite")
    run.average = dict(kept.groups["average"])
    run_state.restore_moments(run.optimiser, run.model, kept.groups, kept.facts["updates"])
    run.data.restore(kept.facts["data"], kept.groups["bank"])
    run.name, run.step, run.seconds = kept.facts["run"], kept.facts["step"], kept.facts["seconds"]
    torch.set_rng_state(kept.groups["random"]["torch"])
    if kept.facts.get("clips") != (run.filmed and run.filmed.fingerprint()):
        print("the clips from Blender are not those that this run began with: it goes on, but repeats no other run", flush=True)
    print(f"goes on at step {run.step}, after {run.seconds / 60:.1f} minutes of training", flush=True)


def train(folder: Path, recipe: Recipe, config: LiteConfig | None = None, limit: float = math.inf,
          limit_steps: int = ENDLESS, clips: Sequence[Path] = ()) -> dict[str, float]:
    """Trains until the recipe's end, or as long as this sitting may last: `limit` in seconds, `limit_steps`.

    Returns the last losses, averaged. Goes on from what lies in the folder, without loss where its state lies there too.
    """
    torch.set_num_threads(recipe.threads)
    run = begin(folder, recipe, config or LiteConfig(), clips)
    recent: deque[dict[str, float]] = deque(maxlen=50)
    last, first, began, before = run.step + limit_steps, run.step, time.monotonic(), run.seconds
    saved = began
    while run.share < 1 and run.step < last and time.monotonic() - began < limit:
        recent.append(one_step(run))
        run.step += 1
        run.seconds = before + time.monotonic() - began
        if run.step % LOG_EVERY == 0:
            log(run, recent)
        if time.monotonic() - saved > recipe.save_every:
            saved = time.monotonic()
            checkpoint(run)
    if run.step > first:
        checkpoint(run, final=run.share >= 1)
    return means(recent)


def one_step(run: Run) -> dict[str, float]:
    for group in run.optimiser.param_groups:
        group["lr"] = rate(run.recipe, run.step, run.share)
    if run.share < run.recipe.words_first:
        parts = _look_step(run.model, run.data, run.optimiser)
    else:
        parts = _step(run.model, run.data, run.optimiser, run.share, run.filmed)
    follow(run.average, run.model, run.step, run.recipe.decay)
    return parts


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


def _step(model: Lite, data: Data, optimiser: torch.optim.Optimizer, share: float,
          filmed: blender_clips.BlenderClips | None = None) -> dict[str, float]:
    if filmed is not None and data.rng.random() < filmed.share:
        some = filmed.batch(data)
        parts = blender_clips.losses(model, some, *_times_and_frames(some.batch, data))
    else:
        sizes = [sizes for begin, sizes in STAGES if share >= begin][-1]
        batch = data.batch(sizes[data.rng.integers(len(sizes))])
        t, frames = _times_and_frames(batch, data)
        parts = losses(model, batch, t, frames, (torch.rand(len(t)) < max(0.25, 1 - 3 * share)).float())
    rows, statistics, looks = data.briefs(LOOK_BATCH)
    parts["briefs"] = look_loss(model.look(rows, statistics)[0], looks)
    norm = _update(model, torch.stack(list(parts.values())).sum(), optimiser)
    return {"norm": norm, **{key: value.item() for key, value in parts.items()}}


def _times_and_frames(batch: Batch, data: Data) -> tuple[Tensor, list[int]]:
    """How noisy each clip of a batch is (B,), and which frames pass the full-size layers."""
    count, length, _, height, width = batch.picture.shape
    t = schedule.shift(torch.rand(count), schedule.size_shift(height, width)).clamp(0.02, 1)
    t[torch.rand(count) < 0.1] = 1.0  # the first step of every sample starts here
    return t, sorted(data.rng.choice(length, min(CHOSEN, length), replace=False).tolist())


def means(recent: deque[dict[str, float]]) -> dict[str, float]:
    """Of each figure over the steps that have it: not every step has all."""
    keys = dict.fromkeys(key for row in recent for key in row)
    return {key: float(np.mean([row[key] for row in recent if key in row])) for key in keys}


def log(run: Run, recent: deque[dict[str, float]]) -> None:
    row = {"step": run.step, "seconds": round(run.seconds), **{key: round(v, 5) for key, v in means(recent).items()}}
    path = run.folder / "log.csv"
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if fresh:
            writer.writeheader()  # rows of the look's own phase leave the pictures' columns empty
        writer.writerow(row)
    left = run.seconds / max(run.share, 1e-6) * (1 - run.share)
    print(f"{row}  {left / 60:.0f} min left", flush=True)


def checkpoint(run: Run, final: bool = False) -> None:
    """Averaged weights, the state of the run, and at times a sheet of held-out pictures."""
    done = {"run": run.name, "steps": run.step, "seconds": round(run.seconds)}
    facts = {**run.model.metadata(), "trained": {**asdict(run.recipe), **done}}
    store.save(run.folder, "lite", run.average, facts)
    keep(run)
    if not final and run.step % SHEET_EVERY_STEPS > SHEET_EVERY_STEPS // 3:
        return
    held = Lite(run.model.config)
    store.fill(held, run.average, "lite")
    sheet(held.eval(), run.folder / "sheet.png")


def keep(run: Run) -> None:
    """The state that the weights lack. Killed between the two, the run goes on from the state, one save back."""
    facts = {
        "run": run.name, "step": run.step, "seconds": run.seconds,
        "clips": run.filmed and run.filmed.fingerprint(), "data": run.data.facts(), "updates": run_state.steps_of(run.optimiser, run.model),
    }  # fmt: skip
    groups = {
        "raw": run.model.state_dict(), "average": run.average, "bank": run.data.banks(),
        "random": {"torch": torch.get_rng_state()}, **run_state.moments(run.optimiser, run.model),
    }  # fmt: skip
    run_state.save(run.folder, run_state.RunState(facts, groups))


def main(argv: list[str]) -> int:
    p = argparse.ArgumentParser(
        prog="python -m engine train", description="Train the bundled model on procedural scenes"
    )
    p.add_argument("folder", type=Path, help="weights, state, log and pictures; goes on from what lies there")
    p.add_argument("--minutes", type=float, default=Recipe.minutes, help="of the whole run, in all its sittings")
    p.add_argument("--limit", type=float, default=math.inf, help="minutes of this sitting: stops cleanly, goes on later")
    p.add_argument("--rate", type=float, default=Recipe.rate)
    p.add_argument("--seed", type=int, default=Recipe.seed)
    p.add_argument("--words-first", type=float, default=Recipe.words_first, help="share of the run for the look alone")
    p.add_argument("--threads", type=int, default=Recipe.threads)
    p.add_argument("--clips", type=Path, nargs="+", default=[], help="folders of clips from Blender: see `train clips --help`")
    p.add_argument("--clips-share", type=float, default=Recipe.clips_share, help="of the steps, on those")
    a = p.parse_args(argv)
    recipe = Recipe(minutes=a.minutes, rate=a.rate, seed=a.seed, threads=a.threads, words_first=a.words_first,
                    clips_share=a.clips_share)  # fmt: skip
    try:
        print(train(a.folder, recipe, limit=a.limit * 60, clips=a.clips))
    except BadJob as refusal:
        print(refusal, file=sys.stderr)
        return 2
    return 0
