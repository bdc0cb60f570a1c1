"""Frames of takes as one picture, a row a take. Run with the engine's Python: `python contact.py FILE.jpg FRAMES…`."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

COLUMNS = 3  # first, middle, last
GAP = 6  # pixels of white between pictures
QUALITY = 88


def row(frames: Path) -> np.ndarray:
    """First, middle and last frame side by side."""
    files = sorted(frames.glob("*.png"))
    if not files:
        raise SystemExit(f"found no PNG in {frames}; expected 000001.png and on")
    chosen = [files[round(i * (len(files) - 1) / (COLUMNS - 1))] for i in range(COLUMNS)]
    pictures = [cv2.imread(str(file)) for file in chosen]
    gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
    return np.hstack([part for picture in pictures for part in (picture, gap)][:-1])


def contact(target: Path, takes: list[Path]) -> None:
    rows = [row(frames) for frames in takes]
    gap = np.full((GAP, rows[0].shape[1], 3), 255, np.uint8)
    sheet = np.vstack([part for one in rows for part in (one, gap)][:-1])
    cv2.imwrite(str(target), sheet, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


if __name__ == "__main__":
    contact(Path(sys.argv[1]), [Path(folder) for folder in sys.argv[2:]])
