"""Runs the measurements in order and writes down, for each figure, its value or why there is none.

Angles, shares of the path, flow and lag mean the same at any size, so that large frames are looked at smaller for
them. A decibel does not: how equal two pictures of a surface are is asked of the frames as they are."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .. import job as jobs
from . import KEYS, features, flow, lag, verdict, warp
from . import clip as clips
from .clip import Clip

TRAVELS = 0.005               # of the median depth: a shorter path is a camera that does not travel
STANDS = 0.1                  # of the planned motion: a picture that moves less stands still


class Sheet:
    """Figures and reasons, filled row by row."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = dict.fromkeys(KEYS)
        self.reasons: dict[str, str] = {}
        self.details: dict[str, Any] = {}

    def put(self, **values: Any) -> None:
        self.values.update(values)

    def none(self, reason: str, *names: str) -> None:
        for name in names:
            self.values[name] = None
            self.reasons[name] = reason


def report(folder: Path, frames: Path | None, stop: Callable[[], bool]) -> dict[str, Any]:
    def check() -> None:
        if stop():
            raise jobs.Cancelled
    clip, sheet = clips.read(folder, frames), Sheet()
    whole = clip if clip.size == clip.whole else clips.read(folder, frames, as_they_are=True)
    moving = flow.longest(clip) >= 1 and flow.moves(clip)
    sheet.details |= {"frames": len(clip), "size": clip.whole, "seen": clip.size, "cuts": len(clip.segments) - 1}
    if flow.longest(clip) < 1:
        sheet.none("a single frame: nothing to compare it with", *KEYS)
    else:
        for fill in (fill_lag, fill_camera, fill_flow, fill_warp, fill_revisit):
            check()
            fill(whole if fill in (fill_warp, fill_revisit) else clip, sheet, moving, check)
    values = {**sheet.values, "detail": detail(whole), "moves": moving}
    values |= {"reasons": sheet.reasons, "details": sheet.details}
    follows, line = verdict.judge(values)
    return {**values, "follows": follows, "verdict": line}


def fill_lag(clip: Clip, sheet: Sheet, moving: bool, check: Callable[[], None]) -> None:
    shift, reason = lag.measure(clip, check)
    sheet.put(lag=shift)
    if reason:
        sheet.none(reason, "lag")


def fill_camera(clip: Clip, sheet: Sheet, moving: bool, check: Callable[[], None]) -> None:
    found = features.track(clip, check)
    poses, total = found.poses, len(found.poses) + found.lost + found.few + found.shapeless
    sheet.details |= {"camera": {"solved": len(poses), "lost": found.lost, "too_few_points": found.few,
                                 "no_rigid_camera": found.shapeless, "corners": found.corners,
                                 "stretches": len(found.found)}}
    if len(poses) < verdict.TRACKED * total or not poses:
        sheet.none(why_untracked(found, total), "rot_err_deg", "trans_err_percent", "sampson_px")
        return
    sheet.put(rot_err_deg=float(np.mean([p.rotation for p in poses])),
              rot_noise_deg=float(np.mean([p.noise.rotation for p in poses])))
    fill_position(sheet, poses)
    epipolar = [p.epipolar for p in poses if p.epipolar is not None]
    if epipolar:
        sheet.put(sampson_px=float(np.mean(epipolar)))
    else:
        sheet.none("the camera does not travel: there is no epipolar geometry", "sampson_px")


def fill_position(sheet: Sheet, poses: list[features.Pose]) -> None:
    depth = float(np.median([p.depth for p in poses]))
    path = float(np.mean([p.path for p in poses]))
    error = float(np.mean([p.position for p in poses]))
    noise = float(np.mean([p.noise.position for p in poses]))
    sheet.put(position_err_percent_of_depth=100 * error / depth, position_noise_percent_of_depth=100 * noise / depth)
    if path > TRAVELS * depth:
        sheet.put(trans_err_percent=100 * error / path)
    else:
        sheet.none("the camera does not travel: there is no path to take a share of", "trans_err_percent")


def why_untracked(found: features.Tracking, total: int) -> str:
    if found.shapeless > found.lost + found.few:
        return f"no camera moving through this scene would see what {found.shapeless} of {total} frames show"
    if found.corners < features.FEWEST:
        return "too little texture on still surfaces to see the camera move by"
    if found.few >= found.lost:
        return f"too few corners on still surfaces to find the camera of {found.few} of {total} frames by"
    return f"nothing can be followed from frame to frame: the points of {found.lost} of {total} frames were lost"


def fill_flow(clip: Clip, sheet: Sheet, moving: bool, check: Callable[[], None]) -> None:
    found = flow.measure(clip, check)
    if found is None or found.textured * found.covisible < flow.LEAST_TEXTURED:
        sheet.none("too little texture on still surfaces that both frames of a pair see", "flow_epe_over_motion")
        return
    sheet.details |= {"flow": {"gap": found.gap, "pairs": found.pairs, "textured": found.textured,
                               "covisible": found.covisible, "epe_px": found.error, "motion_px": found.motion,
                               "shown_px": found.shown}}
    if moving:
        sheet.put(flow_epe_over_motion=found.error / found.motion, stands=found.shown < STANDS * found.motion)
        if sheet.values["stands"]:
            sheet.none("the picture stands still: early and late look alike", "lag")
    else:
        sheet.none("the camera does not move: there is no motion to take a share of", "flow_epe_over_motion")


def fill_warp(clip: Clip, sheet: Sheet, moving: bool, check: Callable[[], None]) -> None:
    found = warp.measure(clip, check, min(warp.GAP, flow.longest(clip)))
    if found is None:
        sheet.none("no two frames near in time share a still surface", "warp_psnr_db", "warp_ssim", "warp_margin_db")
        return
    sheet.put(warp_psnr_db=found.psnr, warp_ssim=found.ssim, warp_margin_db=found.psnr - found.unwarped)
    sheet.details |= {"warp": {"gap": found.gap, "pairs": found.pairs, "unwarped_db": found.unwarped}}
    if not moving:
        sheet.none("the camera does not move: the unwarped pair is the warped one", "warp_margin_db")


def fill_revisit(clip: Clip, sheet: Sheet, moving: bool, check: Callable[[], None]) -> None:
    found = warp.revisits(clip, check)
    if found is None:
        sheet.none("no two frames far apart in time see the same still surface at a like scale",
                   "revisit_psnr_db", "revisit_zncc", "revisit_de")
        return
    sheet.put(revisit_psnr_db=found.psnr, revisit_zncc=found.zncc, revisit_de=found.colour)
    sheet.details |= {"revisit": {"pairs": found.pairs, "gap": found.gap}}
    if found.zncc is None:
        sheet.none("what is seen twice has no pattern", "revisit_zncc")


def detail(clip: Clip) -> float:
    """Deviation of what a Gaussian of 1.5 px takes away, grey levels, mean of a few frames: falls with blur."""
    chosen = np.linspace(0, len(clip) - 1, min(5, len(clip))).round().astype(int)
    return float(np.mean([high_pass(clip.grey(int(i))).std() for i in chosen]))


def high_pass(grey: np.ndarray) -> np.ndarray:
    values = grey.astype(np.float32)
    return values - cv2.GaussianBlur(values, (0, 0), 1.5)
