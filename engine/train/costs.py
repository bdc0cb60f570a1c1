"""What lite costs, and what its guided decoder is worth: constraints against none, 49 frames at two sizes, 1080p against
bicubic. Times are CPU seconds where one process can tell, for a shared machine falsifies others. Knows jobs and lite."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from .. import bench, bench_quality, conditions, generate, job, quality, take, windows
from ..shot import open_shot
from . import jobs
from .captions import Brief
from .jobs import Case, write

SEED = 20_000_500  # of evaluate.HELD_OUT's kind
TIMED = ((256, 144), (448, 256))  # width, height of the 49 frames
LARGE = (1920, 1088)  # 1080 in whole patches
STREET = Brief(time="noon", place="street")
ROUNDS = 2  # the cheaper one counts


def silent(_: dict[str, Any]) -> None:
    return None


def never() -> bool:
    return False


# ---------------------------------------------------------------- constraints


def constraints(folder: Path, case: Case, weights: Path) -> dict[str, float]:
    """CPU seconds of a take with all that the scene tells, and of one that is told the prompt alone; on one thread, for
    threads that wait for each other spend seconds too."""
    write(folder, case, steps=4)
    rounds = [[worked(folder, weights, make) for make in (generate.make, unled)] for _ in range(ROUNDS)]
    told, alone = (min(row[i] for row in rounds) for i in (0, 1))
    return {"all_cpu_seconds": told, "none_cpu_seconds": alone, "ratio": told / alone}


def worked(folder: Path, weights: Path, make: Callable[[generate.Run], None]) -> float:
    run = generate.begin(open_shot(folder), silent, never, weights)
    threads = torch.get_num_threads()
    run.at = replace(run.at, threads=1)
    torch.set_num_threads(1)
    began = time.process_time()
    try:
        with torch.inference_mode():
            make(run)
    finally:
        torch.set_num_threads(threads)
    spent = time.process_time() - began
    run.state.finish()
    return spent


def unled(run: generate.Run) -> None:
    """All frames from plain noise and empty conditions: the same network, steps, windows and files, and no passes, no
    anchors, no shadows, no keyframes, no reprojection, no silhouettes."""
    prompt = generate.read_prompt(run)
    plan = windows.plan(run.shot.frames, list(run.shot.job.cuts), windows.length(*run.shot.size))
    width, height = run.shot.size
    for number, window in enumerate(plan):
        count, name = window.padded, f"window_{number:04d}"
        noise = torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(number))
        nothing = torch.zeros(count, conditions.TOTAL, height, width, dtype=torch.float16)
        x0 = generate.denoise(run, name, noise, nothing, prompt, number, len(plan))
        run.state.keep(name, take.to_bytes(x0[: window.count]))

        def picture(frame: int, number: int = number) -> np.ndarray:
            return generate.final_frame(run, plan, number, frame)

        take.write_frames(run, windows.owned(plan, number), picture, run.at.threads)
    take.name_frames(run)


# ---------------------------------------------------------------- time


def speed(folder: Path) -> dict[str, Any]:
    """49 frames of the bundled weights in 4 steps through `python -m engine run`, start and camera report included."""
    return {f"{w}x{h}": timed(folder / f"{w}x{h}", (49, h, w)) for w, h in TIMED}


def timed(folder: Path, size: tuple[int, int, int]) -> dict[str, float]:
    return ran(write(folder, Case("speed", STREET, size, SEED, "market"), steps=4))


def large_clip(folder: Path, frames: int = 49) -> dict[str, float]:
    """The same at 1080p, of one view again and again: what its frames show costs the same as if they moved."""
    case = Case("speed", STREET, (1, LARGE[1], LARGE[0]), SEED, "market")
    try:
        return ran(write(folder, case, [0] * frames, steps=4))
    finally:
        shutil.rmtree(folder)  # gigabytes


def ran(folder: Path) -> dict[str, float]:
    """Seconds, CPU seconds and peak memory of `python -m engine run`."""
    began = time.monotonic()
    meter, status = bench.measured([sys.executable, "-m", "engine", "run", str(folder)], dict(os.environ), silent)
    if status:
        raise job.BadJob(f"`engine run {folder}` ended with status {status}: expected 0; run it by hand")
    seconds = job.load_json(folder / "report.json")["seconds"]
    return {
        "seconds": time.monotonic() - began, "cpu_seconds": meter.worked(0, float("inf")),
        "peak_gb": meter.peak(0, float("inf")), **{f"{name}_seconds": seconds[name] for name in ("sample", "measure")},
    }  # fmt: skip


# ---------------------------------------------------------------- 1080p


def enlarging(folder: Path, weights: Path, size: tuple[int, int] = LARGE) -> dict[str, float | None]:
    """One frame delivered at 1080p against its truth there, beside bicubic of the very same sample; the same once each
    has had its best single grade, which takes the light out that a prompt does not say; and how far the detail inside
    surfaces is the truth's. `perfect`: the same of the truth made small, which leaves enlarging alone to be judged."""
    width, height = size
    case = Case("large", Brief(time="noon", weather="clear", place="street"), (1, height, width), SEED, "colonnade")
    run = generate.begin(open_shot(write(folder, case, steps=4)), silent, never, weights)
    with torch.inference_mode():
        prompt = generate.read_prompt(run)
        shadow = generate.cast_shadows(run, prompt)
        cond = generate.window_maps(run, prompt, shadow, [0])
        small = take.to_bytes(generate.denoise(run, "large", generate.window_noise(run, [0]), cond, prompt, 0, 0))[0]
    began = time.process_time()
    guided = generate.unstaired(run, generate.enlarged(run, prompt, shadow, small, 0), 0)
    spent = time.process_time() - began
    truth = cv2.imread(str(folder / "truth" / job.frame_name(0)))[..., ::-1]
    perfect = cv2.resize(truth, small.shape[1::-1], interpolation=cv2.INTER_AREA)
    finished = generate.unstaired(run, generate.enlarged(run, prompt, shadow, perfect, 0), 0)
    run.state.finish()
    rows = {"guided": guided, "bicubic": cv2.resize(small, size, interpolation=cv2.INTER_CUBIC),
            "perfect_guided": finished, "perfect_bicubic": cv2.resize(perfect, size, interpolation=cv2.INTER_CUBIC)}  # fmt: skip
    facts = [np.asarray(run.full.passes[name]) for name in ("depth", "index", "normal")] if run.full else []
    found: dict[str, float | None] = {}
    for name, made in ((name, made[None]) for name, made in rows.items()):
        found[f"{name}_psnr_db"] = psnr(quality.mse(made, truth[None]))
        found[f"{name}_correlation"] = quality.high_pass_correlation(made, truth[None], *facts)
        found[f"{name}_graded_psnr_db"] = psnr(quality.best_single_grade(made, truth[None]).mse)
    return {**found, "sampled_width": small.shape[1], "cpu_seconds_a_frame": spent}


def psnr(mse: float) -> float:
    """Decibels of a mean squared error of values 0..1."""
    return float(-10 * np.log10(max(mse, 1e-10)))


# ---------------------------------------------------------------- without materials


def unpainted(folder: Path, weights: Path) -> dict[str, float | None]:
    """Detail of the middle frame of a take where the scene's base colour is not told, beside its truth's; and where its
    objects have the names that an artist may have given them."""
    shot = open_shot(folder)
    bare = replace(shot, passes={name: array for name, array in shot.passes.items() if name != "base"})
    names = [{"index": int(i), "name": name} for i, name in job.load_json(folder / jobs.NAMES).items()]
    at = shot.frames // 2
    truth = cv2.imread(str(folder / "truth" / job.frame_name(at)))[None, ..., ::-1]
    facts = [np.asarray(shot.passes[name][at])[None] for name in ("depth", "index", "normal")]
    whole, model = max(quality.high_frequency_energy(truth, *facts), 1e-6), generate.load_model(weights)
    out: dict[str, float | None] = {}
    for prefix, objects in (("", shot.job.objects), ("named_", tuple(names))):
        made = bench_quality.still(bare, model, at, objects=objects)[None]
        out[f"{prefix}energy_share"] = quality.high_frequency_energy(made, *facts) / whole
        out[f"{prefix}high_pass_correlation"] = quality.high_pass_correlation(made, truth, *facts)
    return out
