"""One training run, whatever is trained: from nothing, or on where it was cut off, by one process or by many.

Scenes are made while training runs; a pool of clips of all sizes is reused a few times. Every two minutes the averaged
weights, the state of the run, a line of the log and a sheet of pictures are written: a run that is cut off loses two
minutes, and what follows is what would have followed. Where only weights lie in the folder, it goes on from those.
What is learnt, and from what, is the task's affair (`lite.py`, `codec.py`).
"""

from __future__ import annotations

import csv
import json
import math
import secrets
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ..weights import store
from . import run_state
from .data import Data, Drops, PoolLimits, Sizes
from .team import Team, spread_like, whole

FIRST_POOL = 24  # clips made before the first step
LOG_EVERY = 25
SHEET_EVERY_STEPS = 300  # about: pictures cost as much as ten steps
ENDLESS = 10**9
ALONE = Team()


@dataclass(frozen=True)
class Recipe:
    minutes: float = 60.0  # of the whole run, however often it is cut off
    most_steps: int = ENDLESS  # where given, the run is counted in steps instead
    words_first: float = 0.04  # share of the run in which only the look is trained
    rate: float = 1e-3
    warm_up: int = 100
    decay: float = 0.999  # of the average
    seed: int = 0
    save_every: float = 120.0  # seconds
    threads: int = 2
    streams: int = 1  # packs of clips in a step; as many processes can share them
    compile: bool = False
    precision: str = "float32"  # of products; bfloat16 where the machine is clearly quicker with it

    def share(self, step: int, seconds: float) -> float:
        """How far the run is, 0..1: by steps where they are counted (the same at every repetition), else by the clock."""
        return step / self.most_steps if self.most_steps < ENDLESS else seconds / (self.minutes * 60)


class Task(Protocol):
    """What a run trains."""

    @property
    def family(self) -> str:
        """Of the weights' files."""

    @property
    def what(self) -> str:
        """Of these weights what is learnt, as `--what` names it: a state and a log are of one task."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the log, after step, seconds and norm."""

    @property
    def drops(self) -> Drops:
        """How often conditions are left out."""

    @property
    def pool(self) -> PoolLimits:
        """How many clips there are to choose from."""

    def model(self, folder: Path) -> nn.Module:
        """A fresh model, or the one whose weights lie in the folder."""

    def facts(self, model: nn.Module) -> dict[str, Any]:
        """The configuration, as it travels with the weights."""

    def sizes(self, share: float) -> Sizes:
        """Of the clips that are made when the run is so far."""

    def losses(self, model: nn.Module, data: Data, recipe: Recipe, share: float) -> dict[str, Tensor]:
        """Of one pack of one stream; their sum is what falls."""

    def sheet(self, model: nn.Module, path: Path) -> None:
        """Held-out pictures, to be looked at."""


class Learner(nn.Module):
    """A model whose forward is one step's losses: what is spread over processes is this."""

    def __init__(self, task: Task, model: nn.Module) -> None:
        super().__init__()
        self.task, self.model = task, model

    def forward(self, data: Data, recipe: Recipe, share: float) -> dict[str, Tensor]:
        return self.task.losses(self.model, data, recipe, share)


@dataclass
class Run:
    """A training run in the middle of its way."""

    folder: Path
    recipe: Recipe
    task: Task
    learner: Learner
    average: dict[str, Tensor]
    optimiser: torch.optim.Optimizer
    streams: dict[int, Data]  # this process's
    team: Team = ALONE
    step: int = 0
    seconds: float = 0.0  # of training, in all sittings
    sitting: float = 0.0  # seconds of this one
    name: str = field(default_factory=lambda: secrets.token_hex(8))  # weights and state of one run know each other by it

    @property
    def model(self) -> nn.Module:
        return self.learner.model

    @property
    def share(self) -> float:
        return self.recipe.share(self.step, self.seconds)


# ---------------------------------------------------------------- the run


def rate(recipe: Recipe, step: int, share: float) -> float:
    """Warm-up, then a cosine down to 3 %."""
    return (
        recipe.rate
        * min(1, (step + 1) / recipe.warm_up)
        * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * min(1, share))))
    )


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


def taken_up(model: nn.Module, folder: Path, family: str) -> nn.Module:
    """The model with the weights that lie in the folder, where some do; grown where they have fewer channels, and with
    fresh parts where they have none of a part's."""
    if store.shards(folder, family):
        kept, wanted = store.load(folder, family), model.state_dict()
        parts = {key.split(".")[0] for key in kept}
        fresh = {key: value for key, value in wanted.items() if key.split(".")[0] not in parts}
        store.fill(model, {**fresh, **kept, **{k: grown(kept[k], v) for k, v in wanted.items() if k in kept}}, family)
    return model


@torch.no_grad()
def follow(average: dict[str, Tensor], model: nn.Module, step: int, decay: float) -> None:
    """The exponential moving average of the weights, quicker at first."""
    d = min(decay, (step + 1) / (step + 10))
    for key, value in model.state_dict().items():
        average[key].lerp_(value, 1 - d) if value.is_floating_point() else average[key].copy_(value)


def begin(folder: Path, recipe: Recipe, task: Task, team: Team = ALONE) -> Run:
    """A new run, or the one that was cut off in this folder; the first clips are made."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    learner = Learner(task, task.model(folder).to(team.device))
    kept = run_state.load(folder)
    if kept is not None and kept.facts["run"] != store.config(folder, task.family)["trained"].get("run"):
        kept = None  # a state of another run says nothing about these weights
    if kept is not None and kept.facts.get("what", task.family) != task.what:
        kept = None  # nor does one of another task, which counted its own steps
    if kept is not None:
        store.fill(learner.model, kept.groups["raw"], task.family)
    team.shard(learner, [m for part in learner.model.children() for m in spread_parts(part)])
    if recipe.compile:
        compile_parts(learner.model)
    optimiser = torch.optim.AdamW(learner.parameters(), lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.01)
    average = {key: value.clone() for key, value in learner.model.state_dict().items()}
    streams = {
        n: Data(recipe.seed, task.drops, n, recipe.streams, team.device, task.pool) for n in team.streams(recipe.streams)
    }
    run = Run(folder, recipe, task, learner, average, optimiser, streams, team)
    if kept is not None:
        resume(run, kept)
        return run
    for data in streams.values():
        data.fill(task.sizes(0.0), FIRST_POOL)
    return run


def spread_parts(module: nn.Module) -> list[nn.Module]:
    """What is gathered from all processes piece by piece: the blocks of a list."""
    return list(module) if isinstance(module, nn.ModuleList) else []


def compile_parts(model: nn.Module) -> None:
    """The blocks, for any number of tokens: 1.3 times the speed here, after minutes of compiling."""
    for child in model.children():
        for block in spread_parts(child):
            block.compile(dynamic=True)


def resume(run: Run, kept: run_state.RunState) -> None:
    """Everything as it was when the state was written."""
    shards = run.model.state_dict()
    run.average = {key: spread_like(value, shards[key]) for key, value in kept.groups["average"].items()}
    run_state.restore_moments(run.optimiser, run.model, kept.groups, kept.facts["updates"])
    for number, data in run.streams.items():
        data.restore(kept.facts["data"][str(number)])
    run.name, run.step, run.seconds = kept.facts["run"], kept.facts["step"], kept.facts["seconds"]
    tell(run, f"goes on at step {run.step}, after {run.seconds / 60:.1f} minutes of training")


def tell(run: Run, line: str) -> None:
    if run.team.leads:
        print(line, flush=True)


def train(folder: Path, recipe: Recipe, task: Task, limit: float = math.inf, limit_steps: int = ENDLESS,
          team: Team = ALONE) -> dict[str, float]:  # fmt: skip
    """Trains until the recipe's end, or as long as this sitting may last: `limit` in seconds, `limit_steps`.

    Returns the last losses, averaged. Goes on from what lies in the folder, without loss where its state lies there too.
    """
    torch.set_num_threads(recipe.threads)
    run = begin(folder, recipe, task, team)
    recent: deque[dict[str, float]] = deque(maxlen=50)
    last, first, began, before = run.step + limit_steps, run.step, time.monotonic(), run.seconds
    saved = began
    while run.share < 1 and run.step < last:
        passed, since_saved = team.told(time.monotonic() - began, time.monotonic() - saved)
        run.seconds = before + passed
        if passed >= limit or run.share >= 1:
            break
        recent.append(one_step(run))
        run.step, run.sitting = run.step + 1, time.monotonic() - began
        if run.step % LOG_EVERY == 0:
            log(run, recent)
        if since_saved > recipe.save_every:
            saved = time.monotonic()
            checkpoint(run)
    if run.step > first:
        checkpoint(run, final=run.share >= 1)
    return {key: float(np.mean([r[key] for r in recent if key in r])) for key in recent[-1]} if recent else {}


def one_step(run: Run) -> dict[str, float]:
    """The losses of all streams, averaged, and one update."""
    for group in run.optimiser.param_groups:
        group["lr"] = rate(run.recipe, run.step, run.share)
    run.optimiser.zero_grad(set_to_none=True)
    rows = []
    for data in run.streams.values():
        parts = run.learner(data, run.recipe, run.share)
        (torch.stack(list(parts.values())).sum() / len(run.streams)).backward()
        rows.append({key: value.item() for key, value in parts.items()})
    norm = nn.utils.clip_grad_norm_(run.learner.parameters(), 1.0)
    run.optimiser.step()
    follow(run.average, run.model, run.step, run.recipe.decay)
    names = list(rows[0])
    means = run.team.mean([float(np.mean([row[name] for row in rows])) for name in names])
    return {"norm": whole(norm).item(), **dict(zip(names, means, strict=True))}


# ---------------------------------------------------------------- what is written


def log(run: Run, recent: deque[dict[str, float]]) -> None:
    mean = {k: round(float(np.mean([r[k] for r in recent if k in r])), 5) for k in recent[-1]}
    making = max(data.spent for data in run.streams.values()) / max(run.sitting, 1e-6)
    row = {"step": run.step, "seconds": round(run.seconds), "making": round(making, 2), **mean}
    if not run.team.leads:
        return
    path = run.folder / log_name(run.task)
    columns = ["step", "seconds", "making", "norm", *run.task.columns]
    if path.exists() and path.read_text().partition("\n")[0].strip() != ",".join(columns):
        path.replace(path.with_suffix(".old.csv"))  # of a version that logged otherwise
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns)
        if fresh:
            writer.writeheader()  # rows of a phase without pictures leave their columns empty
        writer.writerow(row)
    left = run.seconds / max(run.share, 1e-6) * (1 - run.share)
    print(f"{row}  {left / 60:.0f} min left", flush=True)


def log_name(task: Task) -> str:
    return "log.csv" if task.what == task.family else f"log-{task.what}.csv"


def checkpoint(run: Run, final: bool = False) -> None:
    """Averaged weights, the state of the run, and at times a sheet of held-out pictures."""
    done = {"what": run.task.what, "run": run.name, "steps": run.step, "seconds": round(run.seconds)}
    facts = {**run.task.facts(run.model), "trained": {**asdict(run.recipe), **done}}
    average = {key: whole(value) for key, value in run.average.items()}
    if run.team.leads:
        store.save(run.folder, run.task.family, average, facts)
    keep(run, average)
    if not run.team.leads or (not final and run.step % SHEET_EVERY_STEPS > SHEET_EVERY_STEPS // 3):
        return
    held = run.task.model(run.folder)
    store.fill(held, {key: value.cpu() for key, value in average.items()}, run.task.family)
    run.task.sheet(held.eval(), run.folder / "sheet.png")


def keep(run: Run, average: dict[str, Tensor]) -> None:
    """The state that the weights lack. Killed between the two, the run goes on from the state, one save back."""
    told = run.team.collect(json.dumps({number: data.facts() for number, data in run.streams.items()}))
    streams = {number: facts for text in told for number, facts in json.loads(text).items()}
    raw = {key: whole(value) for key, value in run.model.state_dict().items()}
    moments = run_state.moments(run.optimiser, run.model)
    if not run.team.leads:
        return
    facts = {
        "what": run.task.what, "run": run.name, "step": run.step, "seconds": run.seconds,
        "data": streams, "updates": run_state.steps_of(run.optimiser, run.model),
    }  # fmt: skip
    run_state.save(run.folder, run_state.RunState(facts, {"raw": raw, "average": average, **moments}))
