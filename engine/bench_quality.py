"""`python -m engine bench quality`: lite's pictures against Blender's own render and against chance.

Knows the job folder and lite; the truth is a folder of Blender's renders, named as the take's frames are.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import torch

from . import generate, job, quality, take, windows
from .measure import clip as clips
from .measure import warp
from .shot import Shot, open_shot
from .state import State
from .weights import machine

PROMPTS = (
    "at noon on a sunny day", "golden hour, low warm sun", "at night, lit windows, stars", "covered in snow, overcast",
    "in thick fog", "in a storm, dark clouds", "black and white film noir", "in the blue hour at dusk",
)  # fmt: skip
SEEDS = 4
SHUFFLES = 2000


class Nowhere(State):
    """A state that keeps nothing: single frames are made again, not gone on from."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {"files": {}}
        self.place = tempfile.TemporaryDirectory(prefix="shotlock-")  # of the previews; goes with the state
        self.folder = Path(self.place.name)

    def keep(self, name: str, array: np.ndarray, replaces: str | None = None) -> None:
        del name, array, replaces

    def find(self, name: str) -> None:
        del name


def still(shot: Shot, model: generate.Lite, frame: int, **fields: Any) -> np.ndarray:
    """One frame of a shot under another prompt or seed, (H, W, 3) uint8."""
    other = generate.settled(dataclasses.replace(shot, job=dataclasses.replace(shot.job, **fields)))
    run = generate.Run(other, model, machine.choose(), Nowhere(), lambda _: None, lambda: False)
    with torch.inference_mode():
        prompt = generate.read_prompt(run)
        shadow = generate.cast_shadows(run, prompt)
        cond = generate.window_maps(run, prompt, shadow, [frame])
        return take.to_bytes(
            generate.denoise(run, "still", generate.window_noise(run, [frame]), cond, prompt, 0, 0)
        )[0]


def features(picture: np.ndarray) -> np.ndarray:
    """What a prompt changes: mean, spread and chroma in Lab, of the upper and the lower half."""
    rows = []
    for half in np.array_split(quality.lab(picture), 2):
        flat = half.reshape(-1, 3)
        rows += [*flat.mean(0), *flat.std(0), np.hypot(flat[:, 1], flat[:, 2]).mean()]
    return np.array(rows)


def nearest_centroid(points: np.ndarray, labels: np.ndarray) -> float:
    """Share told right, each point judged by centroids that it is not in."""
    points = points / points.std(0).clip(1e-6)
    right = 0
    for i, label in enumerate(labels):
        others = np.arange(len(labels)) != i
        centres = {k: points[others & (labels == k)].mean(0) for k in np.unique(labels)}
        right += min(centres, key=lambda k: float(np.linalg.norm(points[i] - centres[k]))) == label
    return right / len(labels)


def prompts_apart(shot: Shot, model: generate.Lite, frame: int) -> dict[str, float]:
    """How surely the prompt is read off the picture; p: how often shuffled prompts do as well."""
    points, labels = [], []
    for label, prompt in enumerate(PROMPTS):
        for seed in range(SEEDS):
            points.append(features(still(shot, model, frame, prompt=prompt, seed=seed)))
            labels.append(label)
    x, y = np.array(points), np.array(labels)
    told = nearest_centroid(x, y)
    rng = np.random.default_rng(0)
    chance = [nearest_centroid(x, rng.permutation(y)) for _ in range(SHUFFLES // 20)]
    return {"prompts_told_apart": told, "chance": float(np.mean(chance)), "best_of_shuffled": float(np.max(chance))}


def against_truth(folder: Path, truth: Path) -> dict[str, Any]:
    """Detail, spectrum and error of a take's frames against Blender's render, beside the best single grade."""
    shot = open_shot(folder)
    x, y, w, h = shot.job.crop
    cut = (slice(None), slice(y, y + h), slice(x, x + w))
    names = sorted(p.name for p in truth.glob("*.png") if (folder / "frames" / p.name).exists())
    if not names:
        raise job.BadJob(f"no frame of {folder}/frames has a truth in {truth}: expected files like {job.frame_name(0)}")
    at = [int(Path(n).stem) - 1 for n in names]
    made = np.stack([iio.imread(folder / "frames" / n)[..., :3] for n in names])
    real = np.stack([iio.imread(truth / n)[..., :3] for n in names])
    facts = {
        name: np.stack([np.asarray(shot.passes[name][f]) for f in at])[cut]
        for name in ("depth", "index", "normal", "base")
    }
    solid = np.isfinite(facts["depth"])
    grade = quality.best_single_grade(facts["base"], real, solid)
    geometry = (facts["depth"], facts["index"], facts["normal"])
    error = ((made.astype(float) - real) / 255)[solid]
    return {
        "frames": len(names), "mse": float((error**2).mean()), "best_single_grade_mse": float(grade.mse),
        "graded_mse": float(quality.best_single_grade(made, real, solid).mse),
        "high_pass_correlation": quality.high_pass_correlation(made, real, *geometry),
        "base_high_pass_correlation": quality.high_pass_correlation(facts["base"], real, *geometry),
        "energy_share": quality.high_frequency_energy(made, *geometry) / quality.high_frequency_energy(real, *geometry),
        "spectrum_peaks": quality.spectrum_peaks(made), "truth_spectrum_peaks": quality.spectrum_peaks(real),
    }  # fmt: skip


def seams(folder: Path) -> dict[str, float | None]:
    """How much more the picture changes where a window begins than elsewhere, by exact geometry: 1 is not at all, None
    a shot of one window."""
    j, clip = job.read(folder), clips.read(folder, as_they_are=True)
    plan = windows.plan(len(clip), list(j.cuts), windows.length(*j.size))
    errors, steps = [], [step for step in range(len(clip) - 1) if step + 1 not in j.cuts]
    for step in steps:
        carried, seen, _ = warp.carried(clip, step, step + 1)
        errors.append(float(np.sqrt(((carried - clip.picture(step))[seen] ** 2).mean())) if seen.any() else 0.0)
    begins = [steps.index(window.start - 1) + 1 for window in plan if not window.first]
    return {"seam_ratio": quality.seam_ratio(errors, begins)}


def main(argv: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m engine bench quality", description=__doc__)
    p.add_argument("folder", type=Path, help="a finished take with its passes")
    p.add_argument("--truth", type=Path, help="Blender's renders of the same frames")
    p.add_argument("--seams", action="store_true", help="compare the steps into a window with the others")
    p.add_argument("--prompts", action="store_true", help="tell prompts apart as well")
    a = p.parse_args(argv)
    out: dict[str, Any] = against_truth(a.folder, a.truth) if a.truth else {}
    if a.seams:
        out |= seams(a.folder)
    if a.prompts:
        shot = open_shot(a.folder)
        out |= prompts_apart(shot, generate.load_model(), shot.frames // 2)
    print(json.dumps(out, indent=1))
    return 0
