"""`python -m engine train`: its arguments. What a run is stands in loop.py, what is learnt in lite.py and codec.py."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from ..job import BadJob
from ..weights import machine
from . import team
from .blender_clips import BlenderClips
from .codec import LearnCodec
from .lite import Learn, LearnFinishes
from .loop import ENDLESS, Recipe, Task, train

TASKS = {"lite": Learn, "codec": LearnCodec, "finishes": LearnFinishes}


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m engine train",
        description="Train a model on procedural scenes; under torchrun, by many processes together",
    )
    p.add_argument("folder", type=Path, help="weights, state, log and pictures; goes on from what lies there")
    p.add_argument("--what", choices=sorted(TASKS), default="lite")
    p.add_argument("--minutes", type=float, default=Recipe.minutes, help="of the whole run, in all its sittings")
    p.add_argument("--steps", type=int, default=ENDLESS, help="count the run in steps instead: it repeats exactly")
    p.add_argument("--limit", type=float, default=math.inf, help="minutes of this sitting: stops cleanly, goes on later")
    p.add_argument("--rate", type=float, default=Recipe.rate)
    p.add_argument("--seed", type=int, default=Recipe.seed)
    p.add_argument("--words-first", type=float, default=Recipe.words_first, help="share of the run for the look alone")
    p.add_argument("--threads", type=int, default=Recipe.threads)
    p.add_argument("--streams", type=int, default=0, help="packs of clips in a step; as many as processes by default")
    p.add_argument("--clips", type=Path, nargs="+", default=[], metavar="FOLDER", help="clips from Blender: `train clips --help`")
    p.add_argument("--clips-share", type=float, default=0.25, help="of the packs, those made of them")
    p.add_argument("--compile", action="store_true", help="compile the blocks: quicker steps after minutes of compiling")
    p.add_argument("--device", default="", help="cpu or cuda; what is there by default")
    return p


def main(argv: list[str]) -> int:
    p = parser()
    a = p.parse_args(argv)
    if a.clips and a.what != "lite":
        p.error(f"--clips teach lite: they say nothing to --what {a.what}")
    own = team.join(a.device)
    recipe = Recipe(
        minutes=a.minutes, most_steps=a.steps, rate=a.rate, seed=a.seed, threads=a.threads, words_first=a.words_first,
        streams=a.streams or own.size, compile=a.compile,
        precision="bfloat16" if own.device.type == "cuda" else machine.probe()[0],
    )  # fmt: skip
    try:
        losses = train(a.folder, recipe, task(a), limit=a.limit * 60, team=own)
    except BadJob as refusal:
        print(refusal, file=sys.stderr)
        return 2
    finally:
        team.leave()
    if own.leads:
        print(losses)
    return 0


def task(a: argparse.Namespace) -> Task:
    """What is learnt, from what else than procedural scenes."""
    return Learn(filmed=BlenderClips(a.clips, a.clips_share)) if a.clips else TASKS[a.what]()
