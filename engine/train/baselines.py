"""What lite has to be ahead of, under the same protocol: frames made each by itself, the first frame carried forward by
exact geometry, and the same model that is not told the camera. Knows the job folder, lite and reprojection."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from .. import bench_quality, job
from ..generate import generate, load_model
from ..geometry.reproject import reproject
from ..shot import Shot
from .jobs import write_frames

UNLED = "no_camera"
WHO = {"frames": "lite", "truth": "ceiling", "floor": "floor", "carried": "carried_first_frame", "stills": "stills",
       UNLED: "no_camera"}  # fmt: skip
BASELINES = ("carried_first_frame", "stills", "no_camera")


def write_all(shot: Shot, made: np.ndarray, weights: Path) -> None:
    """Floor and baselines of a finished take (F, H, W, 3) as folders of pictures beside its own, named as in WHO."""
    folder = shot.job.folder
    write_frames(folder / "floor", np.repeat(made[:1], len(made), 0))
    write_frames(folder / "carried", carried(shot, made[0]))
    write_frames(folder / "stills", stills(shot, weights))
    no_camera(shot, folder / UNLED, weights)


def carried(shot: Shot, first: np.ndarray) -> np.ndarray:
    """The first frame seen from every later camera by exact geometry; holes filled from their borders."""
    colour = torch.from_numpy(first).permute(2, 0, 1).float()
    out = []
    for f in range(shot.frames):
        seen, valid = reproject(colour, shot.view(0), shot.view(f))
        picture = seen.permute(1, 2, 0).clamp(0, 255).byte().numpy()
        out.append(cv2.inpaint(picture, (~valid).byte().numpy(), 3, cv2.INPAINT_TELEA))
    return np.stack(out)


def stills(shot: Shot, weights: Path) -> np.ndarray:
    """Every frame made by itself from its own depth and colours, as an image model would."""
    model = load_model(weights)
    return np.stack([bench_quality.still(shot, model, f, seed=f) for f in range(shot.frames)])


def no_camera(shot: Shot, target: Path, weights: Path) -> None:
    """The same model, prompt, seed and steps, without the camera: pose, passes and objects of every frame are frame 0's.
    Its pictures into the folder; what they are to be held against is the real camera."""
    work = target.with_name(f"{target.name}_job")
    generate(held(shot, work), _nothing, _never, weights)
    target.mkdir(exist_ok=True)
    for path in sorted((work / "frames").glob("*.png")):
        shutil.copy2(path, target / path.name)


def held(shot: Shot, target: Path) -> Path:
    """The job once more, every frame of it as the first is. Nothing moves, so there are no vectors and no cuts."""
    first = np.zeros(shot.frames, int)
    target.mkdir(parents=True, exist_ok=True)
    passes = {name: path for name, path in shot.job.passes.items() if name != "motion"}
    for name, path in passes.items():
        job.write_array(target / path, np.repeat(np.asarray(shot.passes[name][0])[None], shot.frames, 0))
    camera, objects = job.camera(shot.job), job.objects(shot.job)
    job.write_camera(target, camera["c2w"][first], camera["K"][first], camera["frames"])
    job.write_objects(target, objects["index"].astype(np.int32), objects["matrix"][:, first])
    for name in ("suns.npz", "world.npy"):
        if (shot.job.folder / name).exists():
            shutil.copy2(shot.job.folder / name, target / name)
    job.write(replace(shot.job, folder=target, passes=passes, cuts=(0,)))
    return target


def _nothing(_: dict[str, object]) -> None:
    return None


def _never() -> bool:
    return False
