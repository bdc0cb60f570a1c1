"""PNG frames → mp4. Run with the engine's Python: `python film.py FRAMES FILE.mp4 FPS`."""

from __future__ import annotations

import sys
from pathlib import Path

import imageio.v2 as imageio


def film(frames: Path, target: Path, fps: float) -> int:
    """H.264 that every player shows; appears whole or not at all. Returns the number of frames."""
    files = sorted(frames.glob("[0-9]" * 6 + ".png"))
    if not files:
        raise SystemExit(f"found no PNG in {frames}; expected 000001.png and on")
    part = target.with_name(f"part-{target.name}")
    settings = {"codec": "libx264", "pixelformat": "yuv420p", "macro_block_size": 2}
    with imageio.get_writer(part, fps=fps, output_params=["-crf", "15"], **settings) as writer:
        for file in files:
            writer.append_data(imageio.imread(file)[..., :3])
    part.replace(target)
    return len(files)


if __name__ == "__main__":
    film(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
