"""What lite is to reach, aim by aim, and the figure beside each: from the figures of `python -m engine evaluate`. What was
not measured in a run is told as not measured. Knows the figures' keys; measures nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .baselines import BASELINES

HIGHER = ("warp_psnr_db", "warp_margin_db", "revisit_psnr_db")
LOWER = ("rot_err_deg", "trans_err_percent", "flow_epe_over_motion", "revisit_de")
NEVER = "not measured in this run"
LINE = "|---|---|---|---|"


@dataclass(frozen=True)
class Row:
    """One aim. `reached`: None where nothing was measured."""

    what: str
    aim: str
    figure: str
    reached: bool | None


def rows(found: dict[str, Any]) -> list[Row]:
    """Every aim, in the order of the figures they come from."""
    out: list[Row] = []
    if "follow" in found:
        cases = list(found["follow"].values())
        out += [*camera(cases), style(cases), *ahead(cases), *sharpness(cases)]
    if "prompts" in found:
        out += words(found["prompts"], found["apart"], found.get("red_object", {}))
    return out + cost(found.get("costs", {})) + long(found.get("long"))


def limit(what: str, values: Sequence[float | None], least: float | None = None, most: float | None = None, unit: str = "") -> Row:
    """An aim that each scene has to reach: the mean over them, and the worst, which decides."""
    known = [value for value in values if value is not None]
    aim = f">= {least:g}{unit}" if least is not None else f"<= {most:g}{unit}"
    if not known:
        return Row(what, aim, NEVER, None)
    worst = min(known) if least is not None else max(known)
    reached = worst >= least if least is not None else most is not None and worst <= most
    return Row(what, aim, f"{np.mean(known):.3g}, worst {worst:.3g}{unit}", bool(reached) and len(known) == len(values))


def single(what: str, value: float | None, least: float | None = None, most: float | None = None, unit: str = "") -> Row:
    row = limit(what, [value], least, most, unit)
    return row if value is None else replace(row, figure=f"{value:.3g}{unit}")


# ---------------------------------------------------------------- camera


def camera(cases: Sequence[dict[str, Any]]) -> list[Row]:
    def of(key: str, less_ceiling: bool = False) -> list[float | None]:
        return [less(case["camera"]["lite"][key], case["camera"]["ceiling"][key] if less_ceiling else 0.0) for case in cases]

    return [
        limit("camera: rotation", of("rot_err_deg"), most=0.5, unit=" deg"),
        limit("camera: place, of the path", of("trans_err_percent"), most=2, unit=" %"),
        limit("camera: flow EPE / motion, over the ceiling's", of("flow_epe_over_motion", True), most=0.05),
        limit("camera: warp PSNR, over the ceiling's", of("warp_psnr_db", True), least=-3, unit=" dB"),
        beside(limit("camera: margin over the unwarped pair", of("warp_margin_db"), least=12, unit=" dB"), cases),
        limit("revisit: PSNR", of("revisit_psnr_db"), least=23, unit=" dB"),
        limit("revisit: dE", of("revisit_de"), most=2),
    ]  # fmt: skip


def style(cases: Sequence[dict[str, Any]]) -> Row:
    """How much worse the camera's figures are, each averaged over the scenes, where the same take is a painting."""
    moved = {}
    for key in ("rot_err_deg", "trans_err_percent", "flow_epe_over_motion", "warp_psnr_db"):
        pairs = [(case["camera"]["lite"][key], case.get("styled", {}).get(key)) for case in cases]
        if all(value is not None for pair in pairs for value in pair):
            own, other = np.mean(np.array(pairs, float), 0)
            moved[key] = float((own - other if key in HIGHER else other - own) / own)
    what, aim = "camera: the worst of four figures as a painting, over a photo's", "<= 10 %"
    if not moved:
        return Row(what, aim, NEVER, None)
    worst = max(moved, key=lambda key: moved[key])
    return Row(what, aim, f"{moved[worst]:+.0%} ({worst}; {', '.join(f'{k} {v:+.0%}' for k, v in moved.items() if k != worst)})", moved[worst] <= 0.1)


def beside(row: Row, cases: Sequence[dict[str, Any]]) -> Row:
    """The margin with what the true pictures have of it: where even they have less, the aim is out of reach."""
    known = [margin for case in cases if (margin := case["camera"]["ceiling"]["warp_margin_db"]) is not None]
    return replace(row, figure=f"{row.figure} (the truth's own {np.mean(known):.3g})") if known else row


def less(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other


def ahead(cases: Sequence[dict[str, Any]]) -> list[Row]:
    """Of each baseline: in how many of the figures of all scenes lite is at least as good. A figure that only one of the
    two has is that one's; one that neither has is nobody's."""
    out = []
    for name in BASELINES:
        wins = [won for case in cases for won in duels(case, name)]
        figure = f"better in {sum(wins)} of {len(wins)} figures"
        out.append(Row(f"ahead of {name.replace('_', ' ')}", "all", figure, all(wins)))
    return out


def duels(case: dict[str, Any], name: str) -> Iterable[bool]:
    """Camera figures, and what the pictures are worth beside the truth."""
    own, other = case["camera"]["lite"], case["camera"][name]
    for keys, better in ((HIGHER, _more), (LOWER, _fewer)):
        known = (key for key in keys if own[key] is not None or other[key] is not None)
        yield from (better(own[key], other[key]) for key in known)
    yield _fewer(case["sharpness"]["mse"], case["pictures"][name]["mse"])
    yield _more(case["sharpness"]["high_pass_correlation"], case["pictures"][name]["high_pass_correlation"])


def _more(own: float | None, other: float | None) -> bool:
    return own is not None and (other is None or own >= other)


def _fewer(own: float | None, other: float | None) -> bool:
    return own is not None and (other is None or own <= other)


# ---------------------------------------------------------------- sharpness, words


def sharpness(cases: Sequence[dict[str, Any]]) -> list[Row]:
    def of(key: str, than: str = "") -> list[float | None]:
        return [less(case["sharpness"][key], case["sharpness"][than] if than else 0.0) for case in cases]

    return [
        limit("sharpness: detail energy, share of the render's, with materials", of("energy_share"), least=0.7),
        limit("sharpness: the same, without materials", [case["unpainted"]["energy_share"] for case in cases], least=0.7),
        limit("sharpness: the same, things named as artists do", [case["unpainted"].get("named_energy_share") for case in cases], least=0.7),
        limit("sharpness: high-pass correlation inside surfaces", of("high_pass_correlation"), least=0.6),
        limit("sharpness: mse less the best grade's, as generated", of("mse", "graded_base_mse"), most=0),
        limit("sharpness: mse less the best grade's, both graded", of("graded_mse", "graded_base_mse"), most=0),
        limit("sharpness: correlation less the best grade's", of("high_pass_correlation", "graded_base_high_pass_correlation"), least=0),
    ]  # fmt: skip


GREY_PAIR = "a photo has more colour than black and white"


def words(pairs: dict[str, Any], apart: dict[str, Any], red: dict[str, float]) -> list[Row]:
    worst = max(pairs, key=lambda name: pairs[name]["p"])
    p = {key: max(pair[key] for pair in pairs.values()) for key in ("p", "shuffled_p")}
    figure = f"worst {p['p']:.1g} by sign, {p['shuffled_p']:.1g} by shuffling ({worst})"
    met = sum(pair["mean"] >= pair["aim"] and pair["p"] < 0.01 for pair in pairs.values())
    return [
        Row(f"prompts: {len(pairs)} pairs over 16 seeds", "p < .01", figure, p["p"] < 0.01 and p["shuffled_p"] < 0.01),
        Row("prompts: with the least difference of docs/metrics.md", f"{len(pairs)}", f"{met}", met == len(pairs)),
        single("prompts: chroma of black and white", pairs.get(GREY_PAIR, {}).get("less"), most=3),
        single("prompts: what is called red is red, share of it", red.get("inside"), least=0.5),
        single("prompts: and the rest of the picture stays, dE", red.get("outside_de"), most=1),
        told_apart("prompts: twelve style and light words told apart", apart["words"], 0.8),
        told_apart("materials on grey blockouts told apart", apart["materials_on_grey"], 0.7),
    ]  # fmt: skip


def told_apart(what: str, found: dict[str, Any], least: float) -> Row:
    figure = f"{found['right']:.0%} (best of 20 shuffled {found['shuffled_best']:.0%})"
    return Row(what, f">= {least:.0%}", figure, found["right"] >= least)


# ---------------------------------------------------------------- cost


def cost(found: dict[str, Any]) -> list[Row]:
    """Time, memory, 1080p."""
    speed, large, told = (found.get(name, {}) for name in ("speed", "large", "constraints"))
    out = [timing(f"speed: 49 frames of {size} in 4 steps", speed.get(size), most) for size, most in (("256x144", 10), ("448x256", 35))]
    peaks = [parts["peak_gb"] for parts in speed.values()] or [None]
    gain, graded, alone = (less(large.get(f"{before}guided_{way}psnr_db"), large.get(f"{before}bicubic_{way}psnr_db"))
                           for before, way in (("", ""), ("", "graded_"), ("perfect_", "")))  # fmt: skip
    return [
        *out, limit("memory: peak", peaks, most=4, unit=" GB"),
        single("cost of constraints: all controls over none, CPU", told.get("ratio"), most=1.25),
        single("1080p: PSNR over bicubic of the same sample", gain, least=2, unit=" dB"),
        single("1080p: the same, each with its best grade", graded, least=2, unit=" dB"),
        single("1080p: enlarging alone, of the truth made small", alone, least=2, unit=" dB"),
        Row("1080p: correlation of detail inside surfaces", "none: beside PSNR", detail(large), None),
        timing("1080p: 49 frames in 4 steps", found.get("large_clip"), 90),
        Row("compression network", ">= 33 dB, SSIM >= .93", "not part of the shipped weights: see docs/training.md", None),
    ]  # fmt: skip


def detail(large: dict[str, Any]) -> str:
    own, other = (large.get(f"{name}_correlation") for name in ("guided", "bicubic"))
    return NEVER if own is None or other is None else f"{own:.2f}, bicubic {other:.2f}"


def timing(what: str, parts: dict[str, float] | None, most: float) -> Row:
    """A whole `engine run`; its CPU seconds beside, which a busy machine does not falsify."""
    row = single(what, parts["seconds"] if parts else None, most=most, unit=" s")
    if not parts:
        return row
    return replace(row, figure=f"{row.figure}, {parts['cpu_seconds']:.3g} CPU s, {parts['measure_seconds']:.2g} s of it report")


def long(found: dict[str, Any] | None) -> list[Row]:
    """Of `python -m engine bench long`, whose JSON `--long` brings."""
    own, ratio = (found or {}).get("long", {}), (found or {}).get("long_over_short", {})
    drift = max(map(abs, own["drift"].values())) if own.get("drift") else None
    name = f"{own.get('seconds', 60):g} s" + (f" at {found['size']}" if found and "size" in found else "")
    return [
        single(f"{name}: seam ratio", own.get("seam_ratio"), most=1.15),
        single(f"{name}: surface memory, dE", own.get("surface_wander_de"), most=3),
        single(f"{name}: drift, the largest of light, chroma, contrast, detail", drift, most=3),
        single(f"{name}: memory over 5 s", ratio.get("peak_gb"), most=1.1),
        single(f"{name}: CPU a frame over 5 s (constant with length)", ratio.get("cpu_seconds_a_frame"), most=1.1),
    ]  # fmt: skip


# ---------------------------------------------------------------- told


def table(found: dict[str, Any]) -> str:
    """The aims as Markdown."""
    tell: Callable[[Row], str] = lambda row: {True: "yes", False: "**no**", None: "–"}[row.reached]  # noqa: E731
    lines = ["| | aim | figure | reached |", LINE]
    return "\n".join(lines + [f"| {row.what} | {row.aim} | {row.figure} | {tell(row)} |" for row in rows(found)])
