"""lite against Cycles, on scenes that artists could have made: what it gets wrong, and where in the picture.

A fixed set of clips is filmed from scenes/ by `make_clips.py`; any folder of clips can be judged. The light is the scene's
own, as Cycles had it, and the prompt says nothing: what is judged is how well lite reads the scene's facts. Every figure
has a stable key, beside the truth (the ceiling), the first frame frozen (the floor), and four baselines: stills, the first
frame carried forward, no camera, and the best single grade of the base colour. Knows job folders, lite, measures.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .. import job, quality
from ..generate import generate
from ..measure import measure
from ..shot import Shot, open_shot
from . import baselines, blender, blender_clips, make_clips

PROMPT = "a photo"  # says nothing of light, weather or material
SCENES = blender.ROOT / "scenes" / "build_all.py"
OWN = make_clips.Settings(1, (9,), ((256, 144),), ("own",), 32, "Standard", False, True, False)
MOVED = make_clips.Settings(2, (9,), ((256, 144),), ("truck", "dolly", "crane", "orbit"), 32, "Standard", True, True, False)
CAMERA = ("rot_err_deg", "trans_err_percent", "flow_epe_over_motion", "warp_psnr_db", "warp_ssim", "warp_margin_db",
          "sampson_px", "revisit_psnr_db", "revisit_zncc", "revisit_de", "detail")  # fmt: skip
WHO = baselines.WHO
GLOSSY, GLOWING, FEWEST = 0.35, 0.05, 200  # share of gloss, radiance, pixels: what counts as mirror, lamp, region
WIDTH = 208  # of a picture on the sheet


# ---------------------------------------------------------------- the fixed set


def make(folder: Path, program: Path, threads: int) -> list[str]:
    """Builds scenes/ and films each twice: its own camera in its own light, another path in another light.

    Returns what failed. What is finished is not made again.
    """
    with tempfile.TemporaryDirectory(prefix="shotlock-scenes-") as scratch:
        blender.run(program, blender.command(program, SCENES, [scratch]), lambda _: None)
        files = sorted(Path(scratch).glob("*.blend"))
        wanted = [order for number, settings in enumerate((OWN, MOVED), 1)
                  for order in fixed(files, number, settings)]  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        with job.hold(folder):
            return make_clips.make_all(wanted, folder, program, threads)


def fixed(files: list[Path], number: int, settings: make_clips.Settings) -> list[make_clips.Order]:
    """A saved .blend differs from one saving to the next, so that its digest says nothing here."""
    every = make_clips.orders(files, number, settings)
    return [replace(order, digest="scenes/") for order in every if order.number == number]


# ---------------------------------------------------------------- judging


def judge(source: Path, folder: Path, weights: Path) -> dict[str, Any]:
    """One clip: lite beside ceiling, floor and baselines."""
    ready(source, folder)
    began = time.monotonic()
    generate(folder, lambda _: None, lambda: False, weights)
    seconds = time.monotonic() - began
    shot, made, truth = open_shot(folder), pictures(folder / "frames"), pictures(folder / "truth")
    baselines.write_all(shot, made, weights)
    reports = {who: measure(folder, folder / name) for name, who in WHO.items()}
    facts = shot.job.extra.get("clip", {})
    return {
        "camera": {who: {key: report.get(key) for key in CAMERA} for who, report in reports.items()},
        "picture": against(shot, made, truth), "regions": regions(shot, made, truth),
        "move": facts.get("move"), "light": facts.get("light"), "seconds": round(seconds, 1),
    }  # fmt: skip


def ready(source: Path, folder: Path) -> None:
    """A copy of the clip as a job that says nothing, with its truth and without what an earlier judgement left."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(*job.OUTPUTS))
    job.write(replace(job.read(source), folder=folder, prompt=PROMPT, steps=job.DEFAULT_STEPS, guidance=1.0, seed=1))


def pictures(folder: Path) -> np.ndarray:
    """(F, H, W, 3) uint8."""
    return np.stack([cv2.imread(str(path))[..., ::-1] for path in sorted(folder.glob("*.png"))])


def against(shot: Shot, made: np.ndarray, truth: np.ndarray) -> dict[str, float | None]:
    """Rows 6 and 7 of docs/metrics.md against Cycles' picture, on surfaces where it is not said otherwise."""
    geometry = [np.asarray(shot.passes[name]) for name in ("depth", "index", "normal")]
    solid, base = np.isfinite(geometry[0]), np.asarray(shot.passes["base"])
    grade = quality.best_single_grade(base, truth, solid)
    graded = quality.apply_grade(grade, base)
    energy = quality.high_frequency_energy(truth, *geometry)
    return {
        "mse": mean_square(made, truth, solid), "mse_with_sky": quality.mse(made, truth),
        "graded_mse": float(quality.best_single_grade(made, truth, solid).mse), "graded_base_mse": float(grade.mse),
        "high_pass_correlation": quality.high_pass_correlation(made, truth, *geometry),
        "base_high_pass_correlation": quality.high_pass_correlation(graded, truth, *geometry),
        "energy_share": quality.high_frequency_energy(made, *geometry) / max(energy, 1e-6),
        "lab_change": quality.lab_change(made, truth), "base_lab_change": quality.lab_change(graded, truth),
    }  # fmt: skip


def mean_square(made: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float | None:
    return float((((made.astype(np.float32) - truth) / 255)[where] ** 2).mean()) if where.any() else None


def regions(shot: Shot, made: np.ndarray, truth: np.ndarray) -> dict[str, dict[str, float]]:
    """Where the error lies: share of the picture, share of all the error, mse, and by how much lite is off in Lab."""
    error = ((made.astype(np.float32) - truth) / 255) ** 2
    off = np.stack([quality.lab(a) - quality.lab(b) for a, b in zip(made, truth, strict=True)])
    out = {}
    for name, where in parts(shot, truth).items():
        if where.sum() >= FEWEST:
            lightness, green_red, blue_yellow = off[where].mean(0).tolist()
            out[name] = {"share": float(where.mean()), "of_error": float(error[where].sum() / max(error.sum(), 1e-9)),
                         "mse": float(error[where].mean()), "l": lightness, "a": green_red, "b": blue_yellow}  # fmt: skip
    return out


def parts(shot: Shot, truth: np.ndarray) -> dict[str, np.ndarray]:
    """(F, H, W) masks. What glows, mirrors or is matt is disjoint; dark and light halve the matt by Cycles' picture."""
    depth, emission = np.asarray(shot.passes["depth"]), np.asarray(shot.passes["emission"], np.float32).max(-1)
    gloss, up = np.asarray(shot.passes["gloss"]) / 255, np.asarray(shot.passes["normal"], np.float32)[..., 2]
    solid = np.isfinite(depth)
    glowing = solid & (emission > GLOWING)
    if "glass" in shot.passes:
        gloss = np.maximum(gloss, np.asarray(shot.passes["glass"])[..., 3] > 0)
    mirror = solid & ~glowing & (gloss > GLOSSY)
    matt = solid & ~glowing & ~mirror
    shown = quality.grey(truth) / np.maximum(quality.grey(np.asarray(shot.passes["base"])), 8)  # light, about
    middle = np.median(shown[matt]) if matt.any() else 0
    return {"sky": ~solid, "glowing": glowing, "glass_and_metal": mirror, "matt_in_light": matt & (shown >= middle),
            "matt_in_shade": matt & (shown < middle), "matt_facing_up": matt & (up > 0.7), "matt_walls": matt & (np.abs(up) < 0.3),
            "matt_facing_down": matt & (up < -0.7)}  # fmt: skip


def evaluate(source: Path, work: Path, weights: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Every clip of a folder, and their means."""
    out: dict[str, Any] = {}
    for clip in blender_clips.find([source]):
        out[clip.name] = found = judge(clip, work / "blender" / clip.name, weights)
        shown = found["picture"]
        say(f"{clip.name}: mse {shown['mse']:.4f}, best single grade {shown['graded_base_mse']:.4f}, Lab {shown['lab_change']:.1f}")
    camera = {who: means([found["camera"][who] for found in out.values()]) for who in WHO.values()}
    names = dict.fromkeys(part for found in out.values() for part in found["regions"])
    by_part = {name: means([found["regions"][name] for found in out.values() if name in found["regions"]]) for name in names}
    return {"clips": out, "mean": means([found["picture"] for found in out.values()]), "camera": camera, "regions": by_part}


def means(rows: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Of each figure over the clips that have it."""
    found = {key: [value for row in rows if (value := row[key]) is not None] for key in rows[0]}
    return {key: float(np.mean(values)) if values else None for key, values in found.items()}


# ---------------------------------------------------------------- told


def table(found: dict[str, Any], cell: Callable[..., str]) -> str:
    """The figures as Markdown."""
    camera = ("rot_err_deg", "trans_err_percent", "flow_epe_over_motion", "warp_psnr_db", "warp_margin_db", "sampson_px",
              "revisit_psnr_db", "revisit_de")  # fmt: skip
    lines = ["| Blender scene | | rot deg | path % | flow | warp dB | margin | Sampson | revisit dB | dE |", "|" + "---|" * 10]
    told = [(name, who, clip["camera"][who]) for name, clip in found["clips"].items() for who in ("lite", "ceiling")]
    for name, who, report in [*told, *(("**mean**", who, report) for who, report in found["camera"].items())]:
        lines.append(f"| {name} | {who.replace('_', ' ')} | " + " | ".join(cell(report[key]) for key in camera) + " |")
    keys = ("mse", "graded_base_mse", "graded_mse", "mse_with_sky", "high_pass_correlation", "base_high_pass_correlation",
            "energy_share", "lab_change", "base_lab_change")  # fmt: skip
    lines += ["", "| Blender scene | mse | best grade of base | lite graded | with sky | correlation | base's | detail energy "
              "| Lab | graded base's |", "|" + "---|" * 10]  # fmt: skip
    for name, row in [*((name, clip["picture"]) for name, clip in found["clips"].items()), ("**mean**", found["mean"])]:
        lines.append(f"| {name} | " + " | ".join(cell(row[key], 1 if "lab" in key else 4 if "mse" in key else 2) for key in keys) + " |")
    lines += ["", "| part of the picture, mean of the clips that have it | share | of the error | mse | L* off | a* | b* |", "|" + "---|" * 7]
    for part, row in found["regions"].items():
        cells = [f"{row['share']:.0%}", f"{row['of_error']:.0%}", cell(row["mse"], 4), *(cell(row[k], 1) for k in "lab")]
        lines.append(f"| {part.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def sheet(work: Path, path: Path, columns: int = 2) -> None:
    """truth | base colour | lite of the middle frame of every clip, to be looked at."""
    cells = []
    for folder in sorted((work / "blender").iterdir()):
        truth, made = pictures(folder / "truth"), pictures(folder / "frames")
        at = len(made) // 2
        base = np.asarray(np.load(folder / "passes" / "base.npy", mmap_mode="r", allow_pickle=False)[at])
        cells.append(np.concatenate([fitted(part) for part in (truth[at], base, made[at])], 1))
    wide, high = max(cell.shape[1] for cell in cells), max(cell.shape[0] for cell in cells)
    cells = [np.pad(cell, ((0, high - cell.shape[0]), (0, wide - cell.shape[1]), (0, 0))) for cell in cells]
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    rows = [np.concatenate(cells[i : i + columns], 1) for i in range(0, len(cells), columns)]
    cv2.imwrite(str(path), np.concatenate(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])


def fitted(picture: np.ndarray) -> np.ndarray:
    high = round(picture.shape[0] * WIDTH / picture.shape[1])
    return cv2.resize(picture, (WIDTH, high), interpolation=cv2.INTER_AREA)


def prepare(folder: Path, program: str | None, threads: int) -> None:
    """The fixed set, made where it is missing; whoever brings clips of their own needs no Blender."""
    failed = make(folder, blender.find(program), threads)
    if failed:
        raise blender.BlenderFailed("; ".join(failed))
    sys.stderr.write(f"the fixed set lies in {folder}\n")


SECTION = """
## Against Cycles

Blender scenes of `scenes/`, each filmed twice by `python -m engine evaluate --blender-clips FOLDER --make-clips`: its own camera
in its own light (0001), another path in another light (0002), 32 samples, denoised, view transform Standard. lite is given the passes and
the scene's facts under the prompt "a photo", which says nothing. *ceiling* is Cycles' own picture; *best grade of base* is the one affine
colour transform of the base colour that comes closest to it, knowing it; *graded* gives lite the same. mse over surfaces, values 0..1.
In the last table, L*, a* and b* say by how much lite is too light, too red and too yellow there.

{table}

![truth, base colour and lite of each Blender scene](pictures/evaluation-blender.jpg)

*Cycles | base colour | lite, the middle frame of each clip.*
"""
