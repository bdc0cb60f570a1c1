"""The camera report: do these frames show what the planned camera would have seen? Rows 1 to 5 of docs/metrics.md.

Reads a job folder and its frames; no model, no render. Says null and why where something cannot be measured, and never
calls that good. `python -m engine measure FOLDER [--frames DIR]` prints it as JSON."""
from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..job import BadJob

BAD_JOB = 3                   # exit code, as of `python -m engine run`
KEYS = ("rot_err_deg", "trans_err_percent", "flow_epe_over_motion", "warp_psnr_db", "warp_ssim", "warp_margin_db",
        "sampson_px", "revisit_psnr_db", "revisit_zncc", "revisit_de", "lag")


def measure(folder: Path, frames: Path | None = None, stop: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """The camera report of the job's frames, or of the pictures in `frames`. Raises BadJob; Cancelled after stop()."""
    from . import report
    return finite(report.report(Path(folder), frames, stop))


def finite(value: Any) -> Any:
    """JSON has no NaN: what is not a finite number is null."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m engine measure",
                                     description="Measures how frames follow their planned camera.")
    parser.add_argument("folder", type=Path, help="job folder")
    parser.add_argument("--frames", type=Path, help="folder of PNG frames; default: FOLDER/frames")
    chosen = parser.parse_args(argv)
    try:
        found = measure(chosen.folder, chosen.frames)
    except BadJob as error:
        print(error, file=sys.stderr)
        return BAD_JOB
    print(json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False))
    return 0
