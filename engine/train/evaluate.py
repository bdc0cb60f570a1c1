"""`python -m engine evaluate`: lite on scenes that training never builds. Does it follow, is it sharp, does it obey the words?

Every figure stands under a stable key, beside its ceiling (the scene's true picture), its floor (the first frame frozen) and
three baselines under the same protocol: stills, the first frame carried forward, and the same model without the camera. The
table and the sheet in docs/ come from here, aim by aim. Knows the scene maker, the job folder, lite and the measures.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import imageio.v3 as iio
import numpy as np

from .. import bench_quality, job, quality
from ..generate import generate, load_model
from ..measure import measure
from ..shot import Shot, open_shot
from ..weights import store
from . import aims, baselines, blender, costs, evaluate_blender, held_out, scenes
from .captions import Brief
from .jobs import Case, write, write_frames

CAMERA = ("rot_err_deg", "trans_err_percent", "flow_epe_over_motion", "warp_psnr_db", "warp_ssim", "warp_margin_db",
          "sampson_px", "revisit_psnr_db", "revisit_zncc", "revisit_de", "detail")  # fmt: skip
HELD_OUT = 20_000_000  # seeds from here on are never trained on
TRAVELS = 0.5  # metres
QUICK, FULL = (17, 144, 256), (49, 256, 448)
FOLLOW = (
    ("colonnade", Brief(time="noon", place="street")), ("market", Brief(time="overcast", place="street")),
    ("stairs", Brief(time="sunset", place="village")), ("colonnade", Brief(time="noon", weather="snow", place="street")),
    ("market", Brief(time="night", lights="lanterns", place="street")), ("stairs", Brief(weather="fog", time="dawn", place="village")),
)  # fmt: skip
SHAPES = ((256, 144), (144, 256), (192, 192), (320, 128), (128, 320), (384, 160), (96, 96), (448, 256))  # width, height
STEPS = (1, 2, 4, 8)
WORDS = (
    "at noon, sunny", "golden hour, low sun", "at night under the stars", "blue hour at dusk", "covered in snow", "in thick fog",
    "in a storm", "black and white film noir", "watercolour painting", "pencil drawing", "cartoon, cel shaded", "neon outlines, cyberpunk",
)  # fmt: skip
MATERIALS = ("brick", "plaster", "wood", "grass", "metal", "glass")
STYLE = "watercolour painting"
STILL = (1, 96, 160)
RED, NEAR_RED, COLOURED = 40.0, 25.0, 10.0  # degrees of Lab hue of sRGB's red, how far off is still red; chroma that has a hue
SEEDS = 16  # of the pairs, each with a scene of its own
VEIL_MARGIN, FAINT = 2, 0.1  # pixels beside silhouettes; L* that 8 bits cannot tell from nothing


def silent(_: dict[str, Any]) -> None:
    return None


def never() -> bool:
    return False


# ---------------------------------------------------------------- does it follow


def follow_case(folder: Path, case: Case, weights: Path) -> dict[str, Any]:
    """One held-out scene: lite beside ceiling, floor and baselines."""
    write(folder, case, steps=4)
    began = time.monotonic()
    generate(folder, silent, never, weights)
    seconds = time.monotonic() - began
    shot, made = open_shot(folder), pictures(folder / "frames")
    baselines.write_all(shot, made, weights)
    truth = pictures(folder / "truth")
    reports, pictured = {}, {}
    for name, who in baselines.WHO.items():
        report = measure(folder, folder / name)
        reports[who] = {key: report.get(key) for key in CAMERA}
        pictured[who] = sharpness(shot, pictures(folder / name), truth)
    return {"camera": reports, "sharpness": pictured["lite"], "pictures": {who: pictured[who] for who in baselines.BASELINES},
            "told": told_more(folder, weights, truth), "styled": styled(folder, weights), "unpainted": costs.unpainted(folder, weights),
            "seconds": round(seconds, 1)}  # fmt: skip


def told_more(folder: Path, weights: Path, truth: np.ndarray) -> dict[str, Any]:
    """The same scene where the artist brings a picture: its first frame, accepted, or its last one as a reference
    instead of words, beside what no words give. Judged by the frames between, which nobody brought."""
    first, last = job.frame_name(0), job.frame_name(len(truth) - 1)
    brought: dict[str, dict[str, Any]] = {
        "first frame accepted": {"known": ({"frame": 0, "picture": f"truth/{first}"},)},
        "no words": {"prompt": ""},
        "a reference for words": {"prompt": "", "references": (f"truth/{last}",)},
    }
    out = {}
    for name, fields in brought.items():
        other = folder.with_name(f"{folder.name} {name}".replace(" ", "_"))
        shutil.copytree(folder, other, ignore=shutil.ignore_patterns("frames*", "report.json", "state"))
        job.write(replace(job.read(other), **fields))
        generate(other, silent, never, weights)
        out[name] = sharpness(open_shot(folder), pictures(other / "frames"), truth, slice(1, -1))
        shutil.rmtree(other)
    return out


def styled(folder: Path, weights: Path) -> dict[str, float | None]:
    """The camera's figures of the same take as a painting: a style must not move them."""
    other = folder.with_name(f"{folder.name}_styled")
    shutil.copytree(folder, other, ignore=shutil.ignore_patterns("frames*", "report.json", "state"))
    told = job.read(other)
    job.write(replace(told, prompt=f"{told.prompt}, {STYLE}"))
    generate(other, silent, never, weights)
    report = measure(other)
    shutil.rmtree(other)
    return {key: report.get(key) for key in CAMERA}


def moving(case: Case) -> Case:
    """The case under the next seed whose camera travels: one that stands still measures nothing."""
    while True:
        rng = np.random.default_rng(case.seed)
        c2w = scenes.build(case.brief, case.size[0], rng, held_out.FAMILIES[case.family]).c2w
        if np.linalg.norm(c2w[-1, :3, 3] - c2w[0, :3, 3]) > TRAVELS:
            return case
        case = replace(case, seed=case.seed + 1)


def pictures(folder: Path) -> np.ndarray:
    """(F, H, W, 3) uint8."""
    return np.stack([iio.imread(path)[..., :3] for path in sorted(folder.glob("*.png"))])


def sharpness(
    shot: Shot, made: np.ndarray, truth: np.ndarray, frames: slice = slice(None)
) -> dict[str, float | None]:
    """Rows 6 and 7 against the scene's own picture, by some of its frames."""
    facts = [np.asarray(shot.passes[name])[frames] for name in ("depth", "index", "normal")]
    made, truth, base = made[frames], truth[frames], np.asarray(shot.passes["base"])[frames]
    solid = np.isfinite(facts[0])
    grade = quality.best_single_grade(base, truth, solid)
    graded = quality.best_single_grade(made, truth, solid)
    return {
        "energy_share": quality.high_frequency_energy(made, *facts) / quality.high_frequency_energy(truth, *facts),
        "high_pass_correlation": quality.high_pass_correlation(made, truth, *facts),
        "graded_base_high_pass_correlation": quality.high_pass_correlation(base, truth, *facts),
        "mse": float((((made.astype(np.float32) - truth) / 255)[solid] ** 2).mean()),
        "graded_mse": float(graded.mse), "graded_base_mse": float(grade.mse), "lab_change": quality.lab_change(made, base),
        "spectrum_4px": quality.spectrum_peaks(made)[4], "spectrum_16px": quality.spectrum_peaks(made)[16],
    }  # fmt: skip


def follows(folder: Path, weights: Path, quick: bool) -> dict[str, Any]:
    cases = [moving(Case(f"{family} {i}", brief, QUICK if quick or i % 2 else FULL, HELD_OUT + 1000 * i, family))
             for i, (family, brief) in enumerate(FOLLOW[: 3 if quick else None])]  # fmt: skip
    out = {}
    for case in cases:
        out[case.name] = follow_case(folder / case.name.replace(" ", "_"), case, weights)
        say(f"{case.name}: {out[case.name]['camera']['lite']['warp_psnr_db']} dB")
    return out


# ---------------------------------------------------------------- sizes and steps


def shapes(folder: Path, weights: Path) -> dict[str, Any]:
    """Short clips at eight shapes, steps at one: warp error and sharpness of each beside the truth's."""
    out: dict[str, Any] = {}
    for number, (width, height) in enumerate(SHAPES):
        case = Case("shape", FOLLOW[0][1], (9, height, width), HELD_OUT + 100, "colonnade")
        out[f"{width}x{height}"] = brief_case(folder / f"shape_{number}", case, weights, 4)
    for steps in STEPS:
        case = Case("steps", FOLLOW[0][1], (9, 144, 256), HELD_OUT + 100, "colonnade")
        out[f"{steps} steps"] = brief_case(folder / f"steps_{steps}", case, weights, steps)
    return out


def brief_case(folder: Path, case: Case, weights: Path, steps: int) -> dict[str, Any]:
    write(folder, case, steps=steps)
    generate(folder, silent, never, weights)
    own, ceiling = measure(folder), measure(folder, folder / "truth")
    made = pictures(folder / "frames")
    write_frames(folder / "floor", np.repeat(made[:1], len(made), 0))
    floor = measure(folder, folder / "floor")
    sharp = sharpness(open_shot(folder), made, pictures(folder / "truth"))
    keys = ("rot_err_deg", "warp_psnr_db")
    return {**{k: own[k] for k in keys}, "ceiling_warp_psnr_db": ceiling["warp_psnr_db"], "floor_warp_psnr_db": floor["warp_psnr_db"],
            "high_pass_correlation": sharp["high_pass_correlation"], "spectrum_16px": sharp["spectrum_16px"]}  # fmt: skip


# ---------------------------------------------------------------- words


def lightness(lab: np.ndarray, _: Shot) -> float:
    return float(lab[..., 0].mean())


def yellowness(lab: np.ndarray, _: Shot) -> float:
    return float(lab[..., 2].mean())


def redness(lab: np.ndarray, shot: Shot) -> float:
    return float(lab[..., 1][solid(shot)].mean())


def chroma(lab: np.ndarray, _: Shot) -> float:
    return float(np.hypot(lab[..., 1], lab[..., 2]).mean())


def clearness(lab: np.ndarray, shot: Shot) -> float:
    """How detail goes with distance: the slope of the logarithm of its contrast over eight depths of as many pixels each.

    Haze of extinction k takes k off it, whatever the scene shows (Koschmieder 1924: contrast falls as exp(-k distance));
    per unit of the scene's scale. Inside surfaces only: near and far side by side differ by the veil itself."""
    depth, index, normal = (np.asarray(shot.passes[name][0]) for name in ("depth", "index", "normal"))
    inside = quality.inside_surfaces(depth, index, normal, VEIL_MARGIN)
    far, detail = depth[inside] / shot.scale, quality.high_pass(lab[..., 0])[inside]
    parts = np.array_split(np.argsort(far, kind="stable"), 8)
    contrast = [math.log(np.sqrt((detail[part] ** 2).mean()) + FAINT) for part in parts]
    return float(np.polyfit([np.median(far[part]) for part in parts], contrast, 1)[0])


def snow_share(lab: np.ndarray, shot: Shot) -> float:
    """Bright and colourless: its share of what faces up, minus that of what stands."""
    up = np.asarray(shot.passes["normal"][0], np.float32)[..., 2]
    white = (lab[..., 0] > 70) & (np.hypot(lab[..., 1], lab[..., 2]) < 14)
    return float(white[solid(shot) & (up > 0.7)].mean() - white[solid(shot) & (np.abs(up) < 0.3)].mean())


def solid(shot: Shot) -> np.ndarray:
    return np.isfinite(np.asarray(shot.passes["depth"][0]))


@dataclass(frozen=True)
class Pair:
    """Two prompts and what must be larger under the first."""

    name: str
    more: str
    less: str
    value: Callable[[np.ndarray, Shot], float]
    least: float = 0.0  # mean difference that the reference asks for


PAIRS = (
    Pair("noon is lighter than night", "at noon, sunny", "at night", lightness, 15),
    Pair("golden hour is yellower than overcast", "at golden hour", "under an overcast sky", yellowness, 6),
    Pair("a photo has more colour than black and white", "at noon", "at noon, black and white", chroma),
    Pair("far things keep less contrast in fog", "at noon, clear", "in thick fog", clearness),
    Pair("snow lies on what faces up", "covered in snow", "under an overcast sky", snow_share, 0.25),
    Pair("red brick is redder than white plaster", "red brick walls", "white plaster walls", redness),
    Pair("gold is yellower than ice", "made of gold", "made of ice", yellowness),
    Pair("a pencil drawing has less colour", "at noon", "pencil drawing", chroma),
    Pair("watercolour is lighter than dark and moody", "watercolour painting", "dark and moody", lightness),
)


def sign_test(differences: np.ndarray) -> float:
    """One-sided p of as many positive signs by chance; a difference of 0 counts as none."""
    n, wins = len(differences), int((differences > 0).sum())
    return sum(math.comb(n, k) for k in range(wins, n + 1)) / 2**n


def still_shots(folder: Path, count: int, grey: bool = False) -> list[Shot]:
    families = ("colonnade", "market", "stairs")
    shots = []
    for i in range(count):
        case = Case("still", Brief(place="street"), STILL, HELD_OUT + 200 + i, families[i % 3], grey=grey)
        shots.append(open_shot(write(folder / f"still_{'grey_' if grey else ''}{i}", case)))
    return shots


def shuffled(differences: np.ndarray) -> float:
    """One-sided p of the mean by the null that the prompts say nothing: which picture had which is then a coin's fall, and
    all falls are looked at (Fisher's exact permutation test)."""
    n = len(differences)
    falls = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    return float((falls @ differences >= differences.sum() - 1e-9).mean())


def prompts(folder: Path, weights: Path) -> dict[str, Any]:
    """The pairs, over 16 seeds: same scene, camera and seed, one phrase swapped."""
    model, shots = load_model(weights), still_shots(folder, SEEDS)
    out = {}
    for pair in PAIRS:
        values = np.array([[pair.value(quality.lab(bench_quality.still(shot, model, 0, prompt=p, seed=seed)), shot)
                            for p in (pair.more, pair.less)] for seed, shot in enumerate(shots)])  # fmt: skip
        d = values[:, 0] - values[:, 1]
        out[pair.name] = {"more": float(values[:, 0].mean()), "less": float(values[:, 1].mean()), "mean": float(d.mean()), "effect": float(d.mean() / max(d.std(ddof=1), 1e-9)),
                          "p": sign_test(d), "shuffled_p": shuffled(d), "aim": pair.least}  # fmt: skip
        say(f"{pair.name}: {d.mean():.2f}, p {sign_test(d):.1g}")
    return out


def red_object(folder: Path, weights: Path) -> dict[str, float]:
    """What a prompt says of one thing: how much of the largest one is red where the prompt calls it so, how much was
    before, and how far the rest of the picture has changed."""
    model, inside, before, outside = load_model(weights), [], [], []
    for seed, shot in enumerate(still_shots(folder, SEEDS)):
        index = np.asarray(shot.passes["index"][0])
        largest = int(np.bincount(index[index > scenes.GROUND_INDEX]).argmax())
        named = {"objects": ({"index": largest, "name": "Lighthouse"},), "seed": seed}
        plain, red = (quality.lab(bench_quality.still(shot, model, 0, prompt=p, **named)) for p in ("a lighthouse", "a red lighthouse"))
        at = index == largest
        inside.append(red_share(red[at]))
        before.append(red_share(plain[at]))
        outside.append(float(np.linalg.norm(red - plain, axis=-1)[~at].mean()))
    return {"inside": float(np.mean(inside)), "before": float(np.mean(before)), "outside_de": float(np.mean(outside))}


def red_share(lab: np.ndarray) -> float:
    """Of pixels (N, 3), those of a hue near red's."""
    hue = np.degrees(np.arctan2(lab[:, 2], lab[:, 1]))
    off = np.abs((hue - RED + 180) % 360 - 180)
    return float(((off <= NEAR_RED) & (np.hypot(lab[:, 1], lab[:, 2]) > COLOURED)).mean())


def features(picture: np.ndarray) -> np.ndarray:
    """Colour by halves, and texture: energy by scale, its direction, and how much of it is lines."""
    grey = quality.grey(picture)
    bands = [np.log(np.abs(quality.high_pass(grey, s)).mean() + 0.3) for s in (0.8, 1.5, 3.0)]
    gx, gy = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    direction = np.log((np.abs(gx).mean() + 1) / (np.abs(gy).mean() + 1))
    fine = quality.high_pass(grey, 1.5)
    return np.array([*bench_quality.features(picture), *bands, direction, ((fine / (fine.std() + 1e-3)) ** 3).mean()])


def told_apart(shots: list[Shot], model: Any, words: Iterable[str], plain: str, seeds: int) -> dict[str, float]:
    """Each picture judged by centroids of the other scenes alone; what counts is the change against the plain prompt."""
    words = tuple(words)
    points, labels, scene = [], [], []
    for number, shot in enumerate(shots):
        for seed in range(seeds):
            own = features(bench_quality.still(shot, model, 0, prompt=plain, seed=seed))
            for label, word in enumerate(words):
                points.append(features(bench_quality.still(shot, model, 0, prompt=word, seed=seed)) - own)
                labels.append(label)
                scene.append(number)
    x, y, s = np.array(points), np.array(labels), np.array(scene)
    x = x / x.std(0).clip(1e-6)
    rng = np.random.default_rng(0)
    chance = [centroids(x, rng.permutation(y), s)[0] for _ in range(20)]
    right, confusion = centroids(x, y, s)
    worst = {words[i]: round(float(confusion[i, i] / confusion[i].sum()), 2) for i in range(len(words))}
    return {"right": right, "shuffled_best": max(chance), "each": worst}  # type: ignore[dict-item]


def centroids(x: np.ndarray, y: np.ndarray, scene: np.ndarray) -> tuple[float, np.ndarray]:
    """Share told right by the nearest centroid of the other scenes; confusion (said, told)."""
    kinds = np.unique(y)
    confusion = np.zeros((len(kinds), len(kinds)))
    for number in np.unique(scene):
        others = scene != number
        apart = [x[others & (y == k)] for k in kinds]
        centres = np.stack([points.mean(0) if len(points) else np.full(x.shape[1], np.inf) for points in apart])
        for point, label in zip(x[~others], y[~others], strict=True):
            confusion[label, int(np.linalg.norm(centres - point, axis=1).argmin())] += 1
    return float(np.trace(confusion) / confusion.sum()), confusion


def words_apart(folder: Path, weights: Path, quick: bool) -> dict[str, Any]:
    model = load_model(weights)
    count, seeds = (3, 2) if quick else (6, 3)
    out = {"words": told_apart(still_shots(folder, count), model, WORDS, "a photo", seeds)}
    walls = [f"{m} everywhere" for m in MATERIALS]
    out["materials_on_grey"] = told_apart(still_shots(folder, count, grey=True), model, walls, "a photo", seeds)
    say(f"words told apart {out['words']['right']:.0%}, materials {out['materials_on_grey']['right']:.0%}")
    return out


# ---------------------------------------------------------------- the sheet and the table


def sheet(folder: Path, weights: Path, path: Path) -> None:
    """Held-out scenes under the words, to be looked at: a row a scene, the last on a grey blockout."""
    model = load_model(weights)
    rows = []
    for i, (family, grey) in enumerate((("colonnade", False), ("market", False), ("stairs", False), ("stairs", True))):
        case = Case("sheet", Brief(place="street"), (1, 144, 256), HELD_OUT + 300 + i, family, grey=grey)
        shot = open_shot(write(folder / f"sheet_{i}", case))
        said = [f"{m} everywhere" for m in MATERIALS] if grey else list(WORDS[:6])
        rows.append(np.concatenate([bench_quality.still(shot, model, 0, prompt=p, seed=i) for p in said], 1))
        if not grey:
            more = list(WORDS[6:])
            rows.append(np.concatenate([bench_quality.still(shot, model, 0, prompt=p, seed=i) for p in more], 1))
    cv2.imwrite(str(path), np.concatenate(rows, 0)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


def table(found: dict[str, Any]) -> str:
    """The figures as Markdown."""
    parts = [own_table(found)] if "follow" in found else []
    return "\n\n".join(parts + ([evaluate_blender.table(found["blender"], _cell)] if "blender" in found else []))


def own_table(found: dict[str, Any]) -> str:
    """What was judged on this project's own scenes; the aims first."""
    lines = [aims.table(found), "", "| scene | | rot deg | path % | flow | warp dB | margin | Sampson px | revisit dB | ZNCC | dE |", "|---|---|---|---|---|---|---|---|---|---|---|"]
    keys = ("rot_err_deg", "trans_err_percent", "flow_epe_over_motion", "warp_psnr_db", "warp_margin_db", "sampson_px", "revisit_psnr_db", "revisit_zncc", "revisit_de")
    for scene, case in found["follow"].items():
        for who, report in (case["camera"] | ({"lite as a painting": case["styled"]} if "styled" in case else {})).items():
            lines.append(f"| {scene} | {who.replace('_', ' ')} | " + " | ".join(_cell(report.get(k)) for k in keys) + " |")
    lines += ["", "| scene | detail energy | correlation | base's | mse | graded | best grade of base | Lab change to the base | seconds |", "|---|---|---|---|---|---|---|---|---|"]
    names = ("energy_share", "high_pass_correlation", "graded_base_high_pass_correlation", "mse", "graded_mse", "graded_base_mse", "lab_change")
    for scene, case in found["follow"].items():
        lines.append(f"| {scene} | " + " | ".join(_cell(case["sharpness"].get(k), 3) for k in names) + f" | {case['seconds']} |")
    lines += ["", "| size or steps | warp dB | ceiling | floor | correlation | spectrum 16 px |", "|---|---|---|---|---|---|"]
    for name, row in found["shapes"].items():
        lines.append(f"| {name} | " + " | ".join(_cell(row.get(k)) for k in ("warp_psnr_db", "ceiling_warp_psnr_db", "floor_warp_psnr_db", "high_pass_correlation", "spectrum_16px")) + " |")
    lines += ["", "| scene | | mse | correlation | detail energy |", "|---|---|---|---|---|"]
    for scene, case in found["follow"].items():
        told = {f"lite, {name}": row for name, row in case.get("told", {}).items()}
        for who, row in {"lite": case["sharpness"], **told, **case["pictures"]}.items():
            shown = [_cell(row[k], 3) for k in ("mse", "high_pass_correlation", "energy_share")]
            lines.append(f"| {scene} | {who.replace('_', ' ')} | " + " | ".join(shown) + " |")
    lines += ["", "| words, 16 seeds | mean difference | aim | effect | p by sign | p by shuffling |", "|---|---|---|---|---|---|"]
    for name, row in found["prompts"].items():
        cells = (f"{row['mean']:.2f}", f"{row['aim']:g}", f"{row['effect']:.1f}", f"{row['p']:.1g}", f"{row['shuffled_p']:.1g}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    apart = found["apart"]
    lines += ["", "| told apart by the nearest centroid of other scenes | | best of 20 shuffled |", "|---|---|---|"]
    lines += [f"| {name.replace('_', ' ')} | {row['right']:.0%} | {row['shuffled_best']:.0%} |" for name, row in apart.items()]
    return "\n".join(lines)


def _cell(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def say(line: str) -> None:
    print(line, flush=True)


def evaluate(work: Path, weights: Path, quick: bool, clips: Path | None = None, only_blender: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = {"weights": store.fingerprint(weights, "lite"), "quick": quick}
    if clips is not None:
        found["blender"] = evaluate_blender.evaluate(clips, work, weights, say)
    return found if only_blender else found | {
        "follow": follows(work, weights, quick), "shapes": shapes(work, weights),
        "prompts": prompts(work, weights), "red_object": red_object(work, weights), "apart": words_apart(work, weights, quick), "costs": all_costs(work, weights, quick),
    }  # fmt: skip


def all_costs(work: Path, weights: Path, quick: bool) -> dict[str, Any]:
    case = Case("constraints", FOLLOW[0][1], QUICK if quick else FULL, HELD_OUT + 400, "colonnade")
    told = costs.constraints(work / "constraints", case, weights)
    say(f"all controls cost {told['ratio']:.2f} of none")
    out = {"constraints": told, "speed": costs.speed(work / "speed"), "large": costs.enlarging(work / "large", weights)}
    return out if quick else out | {"large_clip": costs.large_clip(work / "large_clip")}


def main(argv: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m engine evaluate", description="Judge lite on scenes that training never builds")
    p.add_argument("--weights", type=Path, default=store.BUNDLED)
    p.add_argument("--quick", action="store_true", help="fewer and smaller scenes: some 15 minutes on 2 cores")
    p.add_argument("--json", type=Path, help="write every figure here")
    p.add_argument("--docs", type=Path, help="write evaluation.md and pictures/evaluation.jpg into this folder")
    p.add_argument("--keep", type=Path, help="keep the job folders here")
    p.add_argument("--figures", type=Path, metavar="FILE", help="of an earlier --json: tells them anew, judges nothing")
    p.add_argument("--long", type=Path, metavar="FILE", help="what `bench long` printed: its figures stand in the table, too")
    p.add_argument("--blender-clips", type=Path, metavar="FOLDER", help="judge against Cycles too, on the clips that lie here")
    p.add_argument("--make-clips", action="store_true", help="film the fixed set into that folder first, where it is missing")
    p.add_argument("--blender", help="that films it: the program, or the Python of a bpy wheel")
    p.add_argument("--threads", type=int, default=0, help="of Cycles; 0 is all")
    p.add_argument("--only-blender", action="store_true", help="leave this project's own scenes out; writes no docs")
    a = p.parse_args(argv)
    if ((a.make_clips or a.only_blender) and a.blender_clips is None) or (a.only_blender and a.docs):
        p.error("--make-clips and --only-blender need --blender-clips FOLDER; --only-blender writes no --docs")
    try:
        if a.make_clips:
            evaluate_blender.prepare(a.blender_clips, a.blender, a.threads)
        return judged(a)
    except (job.BadJob, blender.NoBlender, blender.BlenderFailed) as refusal:
        print(refusal, file=sys.stderr)
        return 2


def judged(a: argparse.Namespace) -> int:
    work = a.keep or Path(tempfile.mkdtemp(prefix="shotlock-evaluate-"))
    began = time.monotonic()
    try:
        long = {"long": job.load_json(a.long)} if a.long else {}
        if a.figures:
            found = job.load_json(a.figures) | long
        else:
            found = evaluate(work, a.weights, a.quick, a.blender_clips, a.only_blender) | long
            found["minutes"] = round((time.monotonic() - began) / 60, 1)
        say(table(found))
        if a.json:
            job.write_json(a.json, found)
        if a.docs:
            document(a.docs, found, work, a.weights)
    finally:
        if a.keep is None:
            shutil.rmtree(work, ignore_errors=True)
    return 0


def document(docs: Path, found: dict[str, Any], work: Path, weights: Path) -> None:
    sheet(work, weights, docs / "pictures" / "evaluation.jpg")
    how = "python -m engine evaluate --docs docs" + (" --quick" if found["quick"] else "")
    how += " --long FILE" if "long" in found else ""
    how += " --blender-clips FOLDER --make-clips" if "blender" in found else ""
    text = EVALUATION.format(how=how, minutes=found["minutes"], weights=found["weights"][:12], table=own_table(found))
    if "blender" in found:
        if (work / "blender").is_dir():  # else the figures are told anew, and the picture is that of before
            evaluate_blender.sheet(work, docs / "pictures" / "evaluation-blender.jpg")
        text += evaluate_blender.SECTION.format(table=evaluate_blender.table(found["blender"], _cell))
    (docs / "evaluation.md").write_text(text, encoding="utf-8")


EVALUATION = """# lite, judged

Written by `{how}` ({minutes} minutes) for the weights {weights}. The scenes are of kinds that training never builds
(`engine/train/held_out.py`), under seeds that it never drew. *ceiling* is the scene's true picture, *floor* the first frame frozen;
*carried first frame*, *stills* and *no camera* are baselines: the first frame warped by exact geometry with its holes filled, every frame
made by itself, and the same model whose every frame has frame 0's pose and passes. The first frame carried is ahead by its making in all
that asks whether a surface keeps its colour: it shows nothing else. Metrics: `docs/metrics.md`; in the first table the worst scene decides.
*effect* is the mean difference over its deviation, *by shuffling* an exact test over all 65,536 ways to swap the pair's prompts. Seconds and
minutes are those of the machine as it was, other work on it included. The scene maker shades its truth by the formula that the head
uses, with corners, drifts and lit panes that the head is not told; how lite does against Cycles stands in `docs/model-card-lite.md`. The
base colour is the mean of eight samples a pixel and the truth of four rays, as a capture's and a render's are; what suns see is told as a
capture tells it.

{table}

![held-out scenes under twelve prompts, and six materials on a grey blockout](pictures/evaluation.jpg)

*Rows: colonnade, market, stairs, two each, under noon, golden hour, night, dusk, snow, fog; storm, noir, watercolour, pencil, cartoon, neon.
Last: a grey blockout in brick, plaster, wood, grass, metal, glass.*
"""
