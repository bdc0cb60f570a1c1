"""Turns measured figures into one line that an artist reads. Knows thresholds and words, nothing of pictures."""
from __future__ import annotations

import math
from typing import Any, NamedTuple

ROTATION = 0.5                # degrees, the aim
POSITION = 2.0                # % of the planned path, the aim
FLOW = 0.35                   # of the planned motion; the aim is 0.10 or ceiling + 0.05, and here is no ceiling
RESTING = 0.5                 # % of the scene's depth that a resting camera may drift
VISIBLE = 0.1                 # % of the scene's depth: a smaller error is the measurement's own, however short the path
NOISE = 5.0                   # standard errors: perfect clips were up to 3.3 away from their plan, docs/metrics.md
FLOW_NOISE = 1.0              # px: up to .9 in perfect clips, however little their plan moves
SMALL = 256                   # px wide, or as many pixels in another shape: below, corners may be too few to see by
FLOW_MARGIN = 1.5             # ... and flow's limit is wider by this times SMALL / width
TRACKED = 0.7                 # share of frames whose camera must be found


class Fault(NamedTuple):
    words: str                # what is wrong
    sure: bool                # and not the measurement's own error


def known(report: dict[str, Any], *names: str) -> bool:
    return all(report.get(name) is not None for name in names)


def smallness(report: dict[str, Any]) -> float:
    """How often the picture's width goes into one at which corners are enough; 1 from there on."""
    width, height = report["details"]["size"]
    return max(1.0, SMALL / math.sqrt(width * height * 16 / 9))


def is_small(report: dict[str, Any]) -> bool:
    return smallness(report) > 1


def faults(report: dict[str, Any]) -> list[Fault]:
    """Every figure over its limit, the plainest first; empty if none is."""
    rotation, position, flow, drift, turn_noise, drift_noise = (report.get(name) or 0.0 for name in (
        "rot_err_deg", "trans_err_percent", "flow_epe_over_motion", "position_err_percent_of_depth",
        "rot_noise_deg", "position_noise_percent_of_depth"))
    travels = known(report, "trans_err_percent")
    moved = drift > NOISE * drift_noise
    checks = [
        (rotation > ROTATION, f"turned {rotation:.1f} deg away from it", rotation > NOISE * turn_noise),
        (position > POSITION and drift > VISIBLE, f"{position:.0f} % of the path away from it", moved),
        (not travels and drift > RESTING, f"drifts by {drift:.1f} % of the depth while the camera rests", moved),
        (flow > FLOW, f"moves differently by {100 * flow:.0f} % of the planned motion", flow_is_sure(report, flow)),
    ]
    found = [Fault(words, sure) for wrong, words, sure in checks if wrong]
    if report.get("lag"):
        moves_wrongly = found and found[-1].words == checks[-1][1]            # such a clip is not just late
        found.insert(len(found) if moves_wrongly else 0, Fault(when(report["lag"]), True))
    return found


def flow_is_sure(report: dict[str, Any], flow: float) -> bool:
    limit = FLOW * (FLOW_MARGIN * smallness(report) if is_small(report) else 1.0)
    return flow > limit and report["details"]["flow"]["epe_px"] > FLOW_NOISE


def when(lag: int) -> str:
    frames = abs(lag)
    if frames == 1:
        return "1 frame late" if lag > 0 else "1 frame early"
    return f"{frames} frames late" if lag > 0 else f"{frames} frames early"


def unmeasured(report: dict[str, Any]) -> str:
    """Why nothing can be said; empty if enough was measured."""
    if known(report, "rot_err_deg"):
        return ""
    return report["reasons"].get("rot_err_deg", "the camera could not be solved")


def judge(report: dict[str, Any]) -> tuple[bool | None, str]:
    """(follows, one line); None where what is wrong may be the measurement's own error. In small pictures flow and lag
    can still tell where corners are too few for a camera."""
    if report.get("stands"):
        return False, "does not follow the camera: the picture stands still"
    found, missing, small = faults(report), unmeasured(report), is_small(report)
    wrong = [fault.words for fault in found if fault.sure]
    if wrong and (small or not missing):
        return False, blame(wrong)
    if missing.startswith("no camera") and not small:
        return False, blame([missing])
    if missing and not (small and missing.startswith(("no camera", "too few"))):
        return False, f"cannot be measured: {missing}"
    doubts = ["no camera was found"] if missing else [fault.words for fault in found]
    return (None, doubt(report, doubts)) if doubts else (True, praise(report))


def doubt(report: dict[str, Any], doubts: list[str]) -> str:
    told = ", ".join(doubts[:2])
    if is_small(report):
        width, height = report["details"]["size"]
        return f"too small to tell at {width}x{height} whether it follows the camera: {told}"
    return f"too little to go by to tell whether it follows the camera: {told}"


def blame(wrong: list[str]) -> str:
    return f"does not follow the camera: {', '.join(wrong[:2])}"              # one line of a panel


def praise(report: dict[str, Any]) -> str:
    words = f"follows within {report['rot_err_deg']:.2g} deg"
    if known(report, "trans_err_percent"):
        words += f", {report['trans_err_percent']:.1f} %"
    elif not report["moves"]:
        words = f"holds still within {report['rot_err_deg']:.2g} deg"
    if known(report, "warp_psnr_db"):
        words += f" · {report['warp_psnr_db']:.0f} dB"
    return words
