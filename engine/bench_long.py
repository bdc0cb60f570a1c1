"""`python -m engine bench long`: what a long shot costs and whether it stays itself, beside a short one of its scene.

The camera goes to and fro in a scene of a kind that training never builds. Figures, each for 5 s and for the long one:
peak memory, CPU seconds a frame, seams, and (reference: Lab per place of the world) how far surfaces wander in colour,
and how the last ten seconds differ from the first. Linux only: memory is read from /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from . import bench, job, quality
from .bench_quality import seams
from .measure import clip as clips
from .shot import open_shot

RATE, SHORT = 24, 5  # frames a second; seconds of the short shot
ROUND = 240  # frames of the way there
CELL = 8.0  # pixels of the median depth that a place of the world is wide
LOOKS = 48  # frames in which places are looked up
LEAST_SEEN = 4  # of them that must have seen a place
ENDS = 10 * RATE  # frames of either end that are compared


def to_and_fro(count: int) -> list[int]:
    """Frame numbers of the way there, so that the camera comes back again and again."""
    there = list(range(ROUND))
    lap = there + there[-2:0:-1]
    return [lap[i % len(lap)] for i in range(count)]


def make(folder: Path, seconds: float, size: tuple[int, int]) -> Path:
    from .train import jobs
    from .train.captions import Brief

    case = jobs.Case("long", Brief(place="street"), (ROUND, size[1], size[0]), 4242, "market")
    return jobs.write(folder, case, to_and_fro(round(seconds * RATE)), prompt="a market street at sunset", steps=4)


def wander(folder: Path) -> float:
    """Mean over the world's places of how far their colour strays in time: root of the summed variances of L, a, b."""
    shot, clip = open_shot(folder), clips.read(folder, as_they_are=True)
    size = CELL * shot.scale / float(shot.K[0, 0, 0])
    some = sorted({round(i) for i in np.linspace(0, shot.frames - 1, LOOKS)})
    places, colours = [], []
    for f in some:
        solid = np.isfinite(shot.depth([f])[0].numpy()) & clip.still(f)
        place = np.floor(shot.anchors([f])[0].numpy()[solid] / size).astype(np.int64)
        kept, inverse, count = np.unique(place, axis=0, return_inverse=True, return_counts=True)
        seen = quality.lab(clip.picture(f))[solid]
        sums = np.stack([np.bincount(inverse.ravel(), seen[:, i], len(kept)) for i in range(3)], 1)
        whole = count >= CELL  # of how many pixels a mean is one
        places.append(kept[whole])
        colours.append((sums / count[:, None])[whole])
    _, inverse, count = np.unique(np.concatenate(places), axis=0, return_inverse=True, return_counts=True)
    inverse, every = inverse.ravel(), np.concatenate(colours)
    means, squares = (
        np.stack([np.bincount(inverse, v[:, i]) for i in range(3)], 1) / count[:, None] for v in (every, every**2)
    )
    spread = np.sqrt(np.clip(squares - means**2, 0, None).sum(1))
    return float(spread[count >= LEAST_SEEN].mean())


def drift(folder: Path) -> dict[str, float]:
    """Last ten seconds less the first: lightness, chroma, contrast (standard deviation of L) and detail (its high
    frequencies), in Lab units."""
    clip = clips.read(folder, as_they_are=True)
    ends = [[i for i in span if 0 <= i < len(clip)] for span in (range(ENDS), range(len(clip) - ENDS, len(clip)))]
    facts = [np.mean([_facts(clip.picture(i)) for i in span[:: max(1, len(span) // LOOKS)]], 0) for span in ends]
    return dict(zip(("lightness", "chroma", "contrast", "detail"), (facts[1] - facts[0]).tolist(), strict=True))


def _facts(picture: np.ndarray) -> list[float]:
    lab = quality.lab(picture)
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    return [lab[..., 0].mean(), chroma.mean(), lab[..., 0].std(), quality.high_pass(lab[..., 0]).std()]


def one(seconds: float, size: tuple[int, int], scratch: Path) -> dict[str, Any]:
    folder = make(scratch / f"{seconds:g}", seconds, size)
    command = [sys.executable, "-m", "engine", "run", str(folder)]
    meter, status = bench.measured(command, dict(os.environ), lambda line: None)
    if status:
        raise job.BadJob(f"`engine run {folder}` ended with status {status}: see above")
    frames = round(seconds * RATE)
    peak, worked = meter.peak(0, float("inf")), meter.worked(0, float("inf"))
    out = {
        "seconds": seconds, "peak_gb": peak, "cpu_seconds_a_frame": worked / frames, **seams(folder),
        "surface_wander_de": wander(folder), "drift": drift(folder) if frames >= 2 * ENDS else None,
        "follows": json.loads((folder / "report.json").read_text())["verdict"],
    }  # fmt: skip
    shutil.rmtree(folder)
    return out


def main(argv: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m engine bench long", description=__doc__)
    p.add_argument("--seconds", type=float, default=60.0)
    p.add_argument("--size", type=lambda text: tuple(map(int, text.split("x"))), default=(256, 144))
    a = p.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="shotlock-bench-") as scratch:
        short, long = (one(seconds, a.size, Path(scratch)) for seconds in (SHORT, a.seconds))
    ratios = {key: long[key] / short[key] for key in ("peak_gb", "cpu_seconds_a_frame")}
    size = "{}x{}".format(*a.size)
    print(json.dumps({"size": size, "short": short, "long": long, "long_over_short": ratios}, indent=1))
    return 0
