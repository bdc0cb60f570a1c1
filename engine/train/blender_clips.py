"""Clips that Blender filmed, as training needs them: conditions by the engine's own code, Cycles' picture as the truth.

Their look is nobody's to know, so only the picture teaches: shaded by the scene's own light where the caption tells none,
as a job would be, and by what the network makes of the caption in everything else. Nothing is laid on the surfaces, for
their colours are those of the picture. `make_clips.py` makes them. Knows job folders and the model; no bpy.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
from torch import Tensor

from .. import conditions, job, windows
from ..geometry import anchors
from ..models import shading, text
from ..prompt import words
from ..shot import Shot, azimuth, bounce, lamps, maps, open_shot, own_light, rays, shadows, sun_facts
from . import clips
from .data import PACK, Data, Item, Size

TRUTH = "truth"
NO_SUN = 0.75  # radians above the horizon: where shadows fall from in a scene without a sun, whose light has no shadows
OVERFULL = 1.25  # of PACK
MOST_HELD = 4_000_000  # pixels of clips that stay in memory, about 160 bytes each
SIDES = re.compile(r"\b(on the )?(left|right)\b")  # training mirrors its clips: a caption cannot say a side


@dataclass(frozen=True)
class Filmed:
    """One clip in memory."""

    clip: clips.Clip
    shot: Shot
    own_light: bool  # whether the scene's light is the picture's; else the caption tells it
    thrown_back: Tensor | None  # by its surfaces, in that light


# ---------------------------------------------------------------- reading


def find(folders: Sequence[Path]) -> list[Path]:
    """Every finished clip of some folders, by name. Raises BadJob where there is none."""
    found = sorted(path.parent for folder in folders for path in folder.glob("[!.]*/job.json"))
    if not found:
        raise job.BadJob(f"no clip lies in {', '.join(map(str, folders))}: expected folders with job.json and {TRUTH}/; "
                         "make some with `python -m engine train clips`")  # fmt: skip
    return found


def size_of(folder: Path) -> Size:
    """Frames, height, width, checked: every frame has its truth, and lite can take them."""
    j = job.read(folder)
    count = len(job.camera(j)["frames"])
    lack = [job.frame_name(i) for i in range(count) if not (folder / TRUTH / job.frame_name(i)).is_file()]
    if lack:
        raise job.BadJob(f"{folder} lacks {TRUTH}/{lack[0]}: expected a picture of each of its {count} frames; make it again")
    if count % windows.STRIDE != 1:
        raise job.BadJob(f"{folder} has {count} frames: lite is trained on 4n+1; make it again")
    return count, j.size[1], j.size[0]


def read(folder: Path) -> Filmed:
    """A clip as training's own are, and its shot."""
    shot = open_shot(folder)
    frames, sun, told = list(range(shot.frames)), sun_facts(shot), words.tells_light(shot.job.prompt)
    angle = torch.full((1, 1, 1, 1, 1), azimuth(shot))
    toward = shading.sun_direction(torch.full_like(angle, max(sun[1], 0.06) if sun else NO_SUN), angle).flatten()
    cast = shadows(shot, toward, _nothing)
    facts = maps(shot, frames, cast, None, torch.float16, _nothing)
    some = sorted({0, shot.frames // 2, shot.frames - 1})
    height = None if told or sun is None else sun[1]
    depth, caption = shot.depth(frames), SIDES.sub("", shot.job.prompt)
    clip = clips.Clip(
        picture=picture(shot), maps=facts, depth=depth, anchor=shot.anchors(frames), footprint=anchors.footprint(depth, shot.K),
        ray=rays(shot, frames), normal=shot.normal(frames), index=shot.index(frames), object_index=shot.object_index,
        matrix=shot.matrix, K=shot.K, c2w=shot.c2w, pane=torch.zeros(len(frames), 1, *depth.shape[1:]),
        look=torch.zeros(shading.LOOK_WIDTH), statistics=conditions.statistics(facts[some].float(), height, bool(lamps(shot))),
        azimuth=float(angle.flatten()), cloud_seed=1.0, place="", caption=caption, rows=text.encode([words.as_taught(caption)])[0],
        things=clips.no_things(),
    )  # fmt: skip
    light = {} if told or job.world(shot.job) is None else own_light(shot, {})
    return Filmed(clip, shot, not told, bounce(shot, cast, light, _nothing) if light else None)


def picture(shot: Shot) -> Tensor:
    """(F, 3, H, W) in -1..1."""
    names = [shot.job.folder / TRUTH / job.frame_name(i) for i in range(shot.frames)]
    stack = np.stack([iio.imread(name)[..., :3] for name in names])
    if stack.shape[1:3] != (shot.size[1], shot.size[0]):
        raise job.BadJob(f"{shot.job.folder}'s {TRUTH} is {stack.shape[2]}x{stack.shape[1]}: expected the passes' "
                         f"{shot.size[0]}x{shot.size[1]}; make it again")  # fmt: skip
    return torch.from_numpy(stack).permute(0, 3, 1, 2).float() / 127.5 - 1


def _nothing() -> None:
    return None


# ---------------------------------------------------------------- packs


class BlenderClips:
    """All clips of some folders; a few of them, of any size, make a pack."""

    def __init__(self, folders: Sequence[Path], share: float) -> None:
        """share: of the training's packs, 0..1."""
        self.share = share
        self.sizes = {folder: size_of(folder) for folder in find(folders)}
        self.held: dict[Path, Filmed] = {}

    def fingerprint(self) -> str:
        """Which clips these are, wherever they lie."""
        ids = [f"{folder.name} {job.read(folder).id}" for folder in self.sizes]
        return hashlib.sha256("\n".join(ids).encode()).hexdigest()

    def get(self, folder: Path) -> Filmed:
        """From memory where it still is; those that were not asked for the longest are let go."""
        filmed = self.held.pop(folder, None) or read(folder)
        self.held[folder] = filmed
        while sum(math.prod(self.sizes[held]) for held in self.held) > MOST_HELD and len(self.held) > 1:
            del self.held[next(iter(self.held))]
        return filmed

    def pack(self, data: Data) -> list[tuple[Item, Filmed]]:
        """Clips of about PACK pixels together; noise, drops, keyframes and mirroring as for any clip."""
        everyone, chosen, pixels = list(self.sizes), [], 0
        for i in data.rng.permutation(len(everyone)):
            size = math.prod(self.sizes[everyone[i]])
            if pixels and pixels + size > PACK * OVERFULL:
                continue
            chosen.append(self.get(everyone[i]))
            pixels += size
            if pixels >= PACK:
                break
        return [(data.item(filmed.clip), filmed) for filmed in chosen]


def look_of(raw: Tensor, filmed: Filmed, item: Item) -> shading.Look:
    """What the network says of a caption (1, LOOK_WIDTH), without material, dye or hand; the scene's own light over it.

    What of that light is a picture of all directions, +y in its middle, is mirrored with the clip.
    """
    look = shading.unpack(shading.only_named(raw, ""))
    lit = light_of(filmed, look)
    around = [name for name, value in lit.items() if item.cloud_seed < 0 and value.shape[-1] > 1]
    lit |= {name: lit[name].flip(-1) for name in around}
    return look | {name: value.to(raw.device) for name, value in lit.items()}


def light_of(filmed: Filmed, look: shading.Look) -> shading.Look:
    """What a clip's scene says of its own light, over what the look says; nothing where the caption tells the light."""
    lit = own_light(filmed.shot, look) if filmed.own_light else {}
    return lit if filmed.thrown_back is None else {**lit, "ground_light": filmed.thrown_back}
