"""Turns measured figures into one line that an artist reads. Knows thresholds and words, nothing of pictures."""
from __future__ import annotations

import math
from typing import Any

ROTATION = 0.5                # degrees, the aim
POSITION = 2.0                # % of the planned path, the aim
FLOW = 0.35                   # of the planned motion; the aim is 0.10 or ceiling + 0.05, and here is no ceiling
RESTING = 0.5                 # % of the scene's depth that a resting camera may drift
VISIBLE = 0.1                 # % of the scene's depth: a smaller error is the measurement's own, however short the path
SMALL = 256                   # px wide, or as many pixels in another shape: below, a perfect clip may miss the limits
MARGIN = 3.0                  # ... and they are widened by this times (SMALL / width) squared
FLOW_MARGIN = 1.5             # ... flow's by this times SMALL / width
TRACKED = 0.7                 # share of frames whose camera must be found


def known(report: dict[str, Any], *names: str) -> bool:
    return all(report.get(name) is not None for name in names)


def smallness(report: dict[str, Any]) -> float:
    """How often the picture's width goes into one at which all figures can be told; 1 from there on."""
    width, height = report["details"]["size"]
    return max(1.0, SMALL / math.sqrt(width * height * 16 / 9))


def faults(report: dict[str, Any], slack: float = 1.0, slack_of_flow: float = 1.0) -> list[str]:
    """What is wrong, in plain words, the plainest first; empty if nothing is. The limits are widened by the slack."""
    rotation, position, flow = (report.get(k) for k in ("rot_err_deg", "trans_err_percent", "flow_epe_over_motion"))
    lag, shift = report.get("lag"), report.get("position_err_percent_of_depth") or 0
    checks = [
        ((rotation or 0) > ROTATION * slack, f"turned {rotation or 0:.1f} deg away from it"),
        ((position or 0) > POSITION * slack and shift > VISIBLE, f"{position or 0:.0f} % of the path away from it"),
        (position is None and shift > RESTING * slack, f"drifts by {shift:.1f} % of the depth while the camera rests"),
        ((flow or 0) > FLOW * slack_of_flow, f"moves differently by {100 * (flow or 0):.0f} % of the planned motion"),
    ]
    found = [words for wrong, words in checks if wrong]
    if lag:
        when = f"{abs(lag)} frame{'s' if abs(lag) > 1 else ''} {'late' if lag > 0 else 'early'}"
        alone = (flow or 0) <= FLOW * slack_of_flow                       # a clip that moves wrongly is not just late
        found.insert(0 if alone else len(found), when)
    return found


def unmeasured(report: dict[str, Any]) -> str:
    """Why nothing can be said; empty if enough was measured."""
    if known(report, "rot_err_deg"):
        return ""
    return report["reasons"].get("rot_err_deg", "the camera could not be solved")


def judge(report: dict[str, Any]) -> tuple[bool | None, str]:
    """(follows, one line); None where the pictures are too small to tell."""
    if report.get("stands"):
        return False, "does not follow the camera: the picture stands still"
    if smallness(report) > 1:
        return judge_small(report, smallness(report))
    missing = unmeasured(report)
    if missing.startswith("no camera"):
        return False, f"does not follow the camera: {missing}"
    if missing:
        return False, f"cannot be measured: {missing}"
    wrong = faults(report)
    return (False, blame(wrong)) if wrong else (True, praise(report))


def judge_small(report: dict[str, Any], times: float) -> tuple[bool | None, str]:
    """Only what no perfect clip of that size shows is called wrong; flow can still tell where corners are too few."""
    wrong = faults(report, MARGIN * times**2, FLOW_MARGIN * times)
    missing = unmeasured(report)
    if wrong:
        return False, blame(wrong)
    if missing and not missing.startswith("no camera"):
        return False, f"cannot be measured: {missing}"
    doubts = ["no camera was found"] if missing else faults(report)
    if doubts:
        size = "x".join(map(str, report["details"]["size"]))
        return None, f"too small to tell at {size} whether it follows the camera: " + ", ".join(doubts[:2])
    return True, praise(report)


def blame(wrong: list[str]) -> str:
    return "does not follow the camera: " + ", ".join(wrong[:2])                # one line of a panel


def praise(report: dict[str, Any]) -> str:
    words = f"follows within {report['rot_err_deg']:.2g} deg"
    if known(report, "trans_err_percent"):
        words += f", {report['trans_err_percent']:.1f} %"
    elif not report["moves"]:
        words = f"holds still within {report['rot_err_deg']:.2g} deg"
    if known(report, "warp_psnr_db"):
        words += f" · {report['warp_psnr_db']:.0f} dB"
    return words
