"""A procedural scene as a job folder, exactly as Blender would have captured it, and its true picture. For judging."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
from torch import Tensor

from .. import conditions, job, suns
from ..geometry import anchors, cameras
from ..models import shading
from ..passes import GAMMA
from . import captions, dressing, held_out, scenes


@dataclass(frozen=True)
class Case:
    """One scene to be judged on: what it is, and from which numbers it follows."""

    name: str
    brief: captions.Brief
    size: tuple[int, int, int]  # frames, height, width
    seed: int
    family: str = ""  # of held_out.py; else the brief's place
    grey: bool = False  # a blockout: every surface the same grey


AZIMUTH = 0.8  # of the sun, radians
GREY = 0.5  # of a blockout, sRGB
NAMES = "called.json"  # beside job.json: what an artist may have called the objects, which job.json only numbers


def motion(p: scenes.Passes, index: Tensor, matrix: Tensor) -> Tensor:
    """(F, H, W, 2) pixels from each frame to the next, the objects' own movement included; 0 on the last."""
    frames, height, width = p.depth.shape
    out = torch.zeros(frames, height, width, 2)
    v, u = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    velocity = torch.zeros(int(p.index.max()) + 1, 3, dtype=torch.float64)
    for f in range(frames - 1):
        velocity[index[index < len(velocity)]] = (matrix[:, f + 1] - matrix[:, f])[index < len(velocity), :3, 3]
        sky = ~torch.isfinite(p.depth[f])
        far = p.c2w[f, :3, 3] + cameras.rays(p.K[[f]], p.c2w[[f]], height, width)[1][0].double() * 1e6
        point = torch.where(sky[..., None], far, p.point[f].double() + velocity[p.index[f]])
        local = (point - p.c2w[f + 1, :3, 3]) @ p.c2w[f + 1, :3, :3]
        uv = local[..., :2] / local[..., 2:].clamp_min(1e-6) * p.K[f + 1].diagonal()[:2] + p.K[f + 1, :2, 2]
        out[f] = (uv - torch.stack([u, v], -1)).float()
    return out


def write(folder: Path, case: Case, order: Sequence[int] = (), **fields: object) -> Path:
    """Writes the job folder and, under `truth/`, the picture that the brief's own light makes of the scene. `order`:
    its frames are those of the case's camera, as often and in whatever order; then there are no motion and no truth."""
    frames, height, width = case.size
    make = held_out.FAMILIES.get(case.family)
    scene = scenes.build(case.brief, frames, np.random.default_rng(case.seed), make)
    p = scenes.passes(scene, height, width)
    index, matrix = scenes.motion(scene, frames)
    base = torch.where(torch.isfinite(p.depth)[..., None], GREY, 0.0).expand_as(p.base) if case.grey else p.base
    ao, open_ = scenes.ambient(scene, p, np.random.default_rng(case.seed))
    arrays = {
        "depth": p.depth, "normal": p.normal, "base": (base * 255).round(), "gloss": (p.gloss * 255).round(),
        "ao": (ao * 255).round(), "open": (open_ * 255).round(), "emission": p.emission, "index": p.index,
    }  # fmt: skip
    at = list(order) or list(range(frames))
    if not order:
        arrays["motion"] = motion(p, index, matrix)
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        job.write_array(folder / "passes" / f"{name}.npy", array.numpy().astype(job.PASSES[name].dtype)[at])
    job.write_camera(folder, p.c2w.numpy()[at], p.K.numpy()[at], np.arange(1, len(at) + 1))
    seen = index.numpy().astype(np.int32)
    job.write_objects(folder, seen, matrix.numpy()[:, at])
    every = [scenes.GROUND_INDEX, *seen.tolist()]
    called = dressing.of_scene(scene, every)[1]
    names = {i: str(np.random.default_rng([case.seed, i]).choice(told)) for i, told in zip(every, called, strict=True)}
    (folder / NAMES).write_text(json.dumps(names), encoding="utf-8")
    facts = _facts(case, scene)
    job.write_suns(folder, sun_maps(scene, p, np.array(facts["sun"]["direction"])))
    rng = np.random.default_rng(case.seed)
    words = captions.caption(case.brief, rng)
    values: dict = {
        "id": "held-out", "prompt": words, "seed": case.seed % 2**31, "size": (width, height),
        "crop": (0, 0, width, height), "passes": {name: f"passes/{name}.npy" for name in arrays},
        "objects": tuple({"index": int(i), "name": f"Shape {i}"} for i in seen), "scene": facts,
    }  # fmt: skip
    job.write(job.Job(folder=folder, **{**values, **fields}))
    if not order:
        write_frames(folder / "truth", truth(case, scene, p, ao, open_))
    return folder


def _facts(case: Case, scene: scenes.Scene) -> dict:
    """The lights that truth() has: the sun's place and the lamps, as the add-on would tell them."""
    height = float(look(case)["height"])
    watts = 4 * np.pi**2  # the inverse of shot.WATTS: lamps come back as they were
    lights = [
        {"type": "point", "position": list(lamp.position), "rgb": list(lamp.power), "energy": watts} for lamp in scene.lamps
    ]
    flat = math.cos(height)
    return {"lights": lights, "sun": {"direction": [flat * math.cos(AZIMUTH), flat * math.sin(AZIMUTH), math.sin(height)]}}


TALLEST = 60.0  # metres: nothing in a scene stands higher


def sun_maps(scene: scenes.Scene, p: scenes.Passes, own: np.ndarray) -> dict[str, np.ndarray]:
    """What suns see of the scene, as a capture has Blender film it: `suns.npz`, the scene's own sun `own` (3,) first."""
    frames, height, width = p.depth.shape
    poses, points = p.c2w.numpy(), suns.seen(p.depth.numpy(), p.c2w.numpy(), p.K.numpy())
    away = [i for i, shape in enumerate(scene.shapes) if shape.moves or shape.inside or shape.pattern == scenes.GLOWING]
    still = replace(scene, shapes=[shape for i, shape in enumerate(scene.shapes) if i not in away])
    side, rows = suns.side((width, height)), []
    across = (torch.arange(side) + 0.5) / side * 2 - 1
    for toward in suns.directions(own, 0, poses[frames // 2, :3, 2]):
        axes = suns.axes(toward)
        origin, half = suns.square(axes, points)
        grid = torch.stack(torch.meshgrid(across, across, indexing="xy"), -1).view(1, -1, 2).double() * half
        above = TALLEST + 1.5 * half * math.hypot(axes[2, 0], axes[2, 1]) / axes[2, 2]  # no ray starts in the ground
        start = grid @ torch.from_numpy(axes[:2]) + torch.from_numpy(origin + axes[2] * above)
        t, _, _ = scenes.trace(still, start.float(), torch.from_numpy(-axes[2]).float().expand_as(start))
        rows.append({"axes": axes, "origin": origin, "half": np.array(half), "height": (above - t).view(side, side).numpy()})
    absent = np.array([i + scenes.FIRST_INDEX for i in away], np.int32)
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]} | {"absent": absent}


def look(case: Case) -> shading.Look:
    values = captions.look(case.brief, np.random.default_rng(case.seed))
    return shading.with_sky(shading.unpack(torch.from_numpy(captions.raw(values))[None]), torch.tensor([5.0]))


TRUE_RAYS = 4  # to a pixel of the true picture, each with as many samples of the texture


def truth(case: Case, scene: scenes.Scene, p: scenes.Passes, ao: Tensor, open_: Tensor) -> Tensor:
    """(F, 3, H, W) in -1..1: the scene in its brief's light, the mean of some rays to a pixel, averaged as light."""
    _, height, width = p.depth.shape
    light = torch.zeros(len(p.depth), 3, height, width)
    for at in scenes.rooks(TRUE_RAYS):
        seen = scenes.passes(scene, height, width, at, TRUE_RAYS, 0.5)
        light += ((shaded(case, scene, seen, ao, open_) + 1) / 2) ** GAMMA
    return (light / TRUE_RAYS) ** (1 / GAMMA) * 2 - 1


def shaded(case: Case, scene: scenes.Scene, p: scenes.Passes, ao: Tensor, open_: Tensor) -> Tensor:
    """(F, 3, H, W) in -1..1: what these rays see."""
    own, angle = look(case), torch.full((1, 1, 1, 1, 1), AZIMUTH)
    lit = scenes.sunlit(scene, p, shading.sun_direction(own["height"], angle).flatten())
    scale = conditions.scene_scale(p.depth)
    maps = conditions.maps(
        depth=p.depth, normal=p.normal, base=p.base, gloss=p.gloss, emission=p.emission, anchor=p.anchor, K=p.K, c2w=p.c2w,
        origin=p.c2w[0, :3, 3].float(), scale=scale, lamps=scene.lamps, sunlit=lit, ao=ao, open_=open_,
    )  # fmt: skip
    conditions.put_paint(maps, shading.paint(own), anchor=p.anchor, normal=p.normal, depth=p.depth, index=p.index, scale=scale,
                         footprint=anchors.footprint(p.depth, p.K))  # fmt: skip
    own, base = shading.in_place(own, maps[None]), p.base.permute(0, 3, 1, 2)
    still = {"drift": torch.zeros(1), "pane": torch.zeros(1), "cloud": torch.zeros(1)}
    pictures = [
        shading.shade(maps[None, f : f + 1], base[None, f : f + 1], own, angle, {k: v.view(1, 1, 1, 1, 1) for k, v in still.items()})
        for f in range(len(maps))
    ]
    return torch.cat(pictures, 1)[0].clamp(-1, 1)


def write_frames(folder: Path, pictures: Tensor | np.ndarray) -> None:
    """(F, 3, H, W) in -1..1, or (F, H, W, 3) uint8, as numbered PNGs."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(pictures, Tensor):
        pictures = ((pictures + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    for i, picture in enumerate(pictures):
        iio.imwrite(folder / job.frame_name(i), np.ascontiguousarray(picture))
