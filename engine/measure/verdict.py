"""Turns measured figures into one line that an artist reads. Knows thresholds and words, nothing of pictures."""
from __future__ import annotations

from typing import Any

ROTATION = 0.5                # degrees, the aim
POSITION = 2.0                # % of the planned path, the aim
FLOW = 0.35                   # of the planned motion; the aim is 0.10 or ceiling + 0.05, and here is no ceiling
RESTING = 0.5                 # % of the scene's depth that a resting camera may drift
VISIBLE = 0.1                 # % of the scene's depth: a smaller error is the measurement's own, however short the path
TRACKED = 0.7                 # share of frames whose camera must be found


def known(report: dict[str, Any], *names: str) -> bool:
    return all(report.get(name) is not None for name in names)


def faults(report: dict[str, Any]) -> list[str]:
    """What is wrong, in plain words, the plainest first; empty if nothing is."""
    rotation, position, flow = (report.get(k) for k in ("rot_err_deg", "trans_err_percent", "flow_epe_over_motion"))
    lag, shift = report.get("lag"), report.get("position_err_percent_of_depth") or 0
    checks = [
        ((rotation or 0) > ROTATION, f"turned {rotation or 0:.1f} deg away from it"),
        ((position or 0) > POSITION and shift > VISIBLE, f"{position or 0:.0f} % of the path away from it"),
        (position is None and shift > RESTING, f"drifts by {shift:.1f} % of the depth while the camera rests"),
        ((flow or 0) > FLOW, f"moves differently by {100 * (flow or 0):.0f} % of the planned motion"),
    ]
    found = [words for wrong, words in checks if wrong]
    if lag:
        when = f"{abs(lag)} frame{'s' if abs(lag) > 1 else ''} {'late' if lag > 0 else 'early'}"
        found.insert(0 if (flow or 0) <= FLOW else len(found), when)      # a clip that moves wrongly is not just late
    return found


def unmeasured(report: dict[str, Any]) -> str:
    """Why nothing can be said; empty if enough was measured."""
    if known(report, "rot_err_deg"):
        return ""
    return report["reasons"].get("rot_err_deg", "the camera could not be solved")


def judge(report: dict[str, Any]) -> tuple[bool, str]:
    """(follows, one line)."""
    if report.get("stands"):
        return False, "does not follow the camera: the picture stands still"
    missing = unmeasured(report)
    if missing.startswith("no camera"):
        return False, f"does not follow the camera: {missing}"
    if missing:
        return False, f"cannot be measured: {missing}"
    wrong = faults(report)
    if wrong:
        return False, "does not follow the camera: " + ", ".join(wrong[:2])     # one line of a panel
    return True, praise(report)


def praise(report: dict[str, Any]) -> str:
    words = f"follows within {report['rot_err_deg']:.2g} deg"
    if known(report, "trans_err_percent"):
        words += f", {report['trans_err_percent']:.1f} %"
    elif not report["moves"]:
        words = f"holds still within {report['rot_err_deg']:.2g} deg"
    if known(report, "warp_psnr_db"):
        words += f" · {report['warp_psnr_db']:.0f} dB"
    return words
