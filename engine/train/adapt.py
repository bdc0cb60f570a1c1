"""`python -m engine train adapt`: an artist's own look, under a word of their own.

First the numbers of the look: what has to be added to a plain photo's so that scenes shaded by it have the colours of the
artist's frames (their distribution, by sliced Wasserstein distance: Bonneel et al. 2015; Rabin et al. 2011), or, of scenes
that Blender filmed, the very pictures. Then, if minutes are given, the network itself on the artist's scenes, by the
same loop that made the weights. What comes out are weights of lite that know the word. Knows pictures and clips.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from .. import looks, registry
from ..conditions import statistics
from ..enlarge import plain
from ..job import BadJob
from ..models import shading, text
from ..models.lite import Lite, config_of
from ..prompt import words
from ..weights import machine, store
from . import blender_clips, captions, clips
from .lite import Learn
from .loop import Recipe, train

LITE, PLAIN = "lite", "a photo"
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
MOST_PICTURES, WIDE = 64, 96  # frames that are looked at, pixels across as they are
SCENES, SIZE = 24, (1, 64, 96)  # procedural scenes that stand for the artist's
TOGETHER = 6  # scenes of a step
STEPS, RATE = 150, 0.05
POINTS, DIRECTIONS = 4096, 24  # colours and directions of a step
COARSE, COARSE_WEIGHT = 8, 0.5  # pixels: colours of a patch count beside those of pixels
NEAR = 2e-3  # weight of staying near the plain look
WORD = re.compile(r"[a-z][\w&']{2,31}")
FIXED = ("height",)  # the sun's place is the scene's
OPPONENT = torch.tensor([[0.299, 0.587, 0.114], [0.5, -0.5, 0.0], [-0.25, -0.25, 0.5]])


@dataclass(frozen=True)
class Scene:
    """One still as the shader takes it, and its picture where it is known."""

    maps: Tensor  # (C, H, W)
    azimuth: Tensor
    filmed: blender_clips.Filmed | None = None  # by Blender; its first frame
    truth: Tensor | None = None  # (3, H, W)


# ---------------------------------------------------------------- what the artist has


def pictures(folders: Sequence[Path]) -> list[Tensor]:
    """Some frames of folders, each (3, h, w) in -1..1 and small. Raises BadJob where there is none."""
    found = sorted(p for folder in folders for p in folder.rglob("*") if p.suffix.lower() in PICTURES)
    if not found:
        raise BadJob(f"no picture lies in {', '.join(map(str, folders))}: expected {', '.join(PICTURES)}; give another folder")
    chosen = [found[i] for i in np.unique(np.linspace(0, len(found) - 1, MOST_PICTURES).astype(int))]
    return [small_picture(path) for path in chosen]


def small_picture(path: Path) -> Tensor:
    array = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise BadJob(f"{path} is no picture that can be read: expected 8 or 16 bits a channel; take it out")
    array = np.atleast_3d(array)
    array = array[..., 2::-1] if array.shape[2] >= 3 else array[..., :1].repeat(3, 2)
    full = float(2 ** (8 * array.dtype.itemsize) - 1) if array.dtype.kind == "u" else 1.0
    size = (WIDE, max(1, round(WIDE * array.shape[0] / array.shape[1])))
    grown = cv2.resize(array.astype(np.float32) / full, size, interpolation=cv2.INTER_AREA)
    return torch.from_numpy(grown).permute(2, 0, 1).clamp(0, 1) * 2 - 1


def own_scenes(filmed: blender_clips.BlenderClips) -> Iterator[Scene]:
    """The first frame of every clip, with its picture."""
    for folder in filmed.sizes:
        kept = filmed.get(folder)
        angle = torch.full((1, 1, 1, 1, 1), kept.clip.azimuth)
        yield Scene(kept.clip.maps[0].float(), angle, kept, kept.clip.picture[0])


def procedural(seed: int = 11) -> Iterator[Scene]:
    """Scenes of every kind, to be seen in the artist's light."""
    for number in range(SCENES):
        rng = np.random.default_rng([seed, number])
        brief = replace(captions.draw(rng), paint="", paint_colour="", style="none")
        clip = clips.render(brief, *SIZE, rng)
        yield Scene(clip.maps[0], torch.full((1, 1, 1, 1, 1), clip.azimuth))


# ---------------------------------------------------------------- the look


def colours(picture: Tensor) -> Tensor:
    """(3, h, w) -> (N, 3): light, red against green, blue against yellow."""
    return picture.flatten(1).T @ OPPONENT.T


def coarse(picture: Tensor) -> Tensor:
    side = min(COARSE, *picture.shape[1:])
    return torch.nn.functional.avg_pool2d(picture[None], side, side)[0]


def distance(ours: Tensor, theirs: Tensor, draws: torch.Generator) -> Tensor:
    """Sliced Wasserstein-2 distance, squared, between two clouds (N, 3) and (M, 3)."""
    along = torch.nn.functional.normalize(torch.randn(3, DIRECTIONS, generator=draws), dim=0)
    at = torch.linspace(0, 1, min(POINTS, len(ours), len(theirs)))
    one, other = (
        (cloud @ along).sort(0).values[(at * (len(cloud) - 1)).long()] for cloud in (ours, theirs)
    )
    return ((one - other) ** 2).mean()


def shaded(scene: Scene, raw: Tensor) -> Tensor:
    """(3, H, W): a scene under a raw look (1, LOOK_WIDTH)."""
    look = shading.with_sky(shading.unpack(shading.only_named(raw, "")), torch.ones(1))
    if scene.filmed is not None:
        look = {**look, **blender_clips.light_of(scene.filmed, look)}
    return plain(scene.maps, shading.in_place(look, scene.maps[None, None]), scene.azimuth)


def changeable() -> Tensor:
    """(LOOK_WIDTH,) 1 for what an artist's look may move."""
    parts = [torch.full((size,), float(kind != "class" and name not in FIXED)) for name, (size, kind) in shading.LOOK.items()]
    return torch.cat(parts)


def fit(photo: Tensor, scenes: Sequence[Scene], frames: Sequence[Tensor], steps: int = STEPS, seed: int = 0) -> tuple[Tensor, list[float]]:
    """What is added to the plain raw look (1, LOOK_WIDTH), and the loss at every step."""
    draws, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    added = torch.zeros_like(photo, requires_grad=True)
    optimiser, free, losses = torch.optim.Adam([added], RATE), changeable(), []
    fine = torch.cat([colours(p) for p in frames]) if frames else None
    wide = torch.cat([colours(coarse(p)) for p in frames]) if frames else None
    for _ in range(steps):
        chosen = [scenes[i] for i in rng.permutation(len(scenes))[:TOGETHER]]
        made = [shaded(scene, photo + added * free) for scene in chosen]
        known = [(((m - s.truth) ** 2).mean()) for m, s in zip(made, chosen, strict=True) if s.truth is not None]
        loss = NEAR * (added**2).mean() + (torch.stack(known).mean() if known else 0.0)
        if fine is not None and wide is not None:
            loss = loss + distance(torch.cat([colours(m) for m in made]), fine, draws)
            loss = loss + COARSE_WEIGHT * distance(torch.cat([colours(coarse(m)) for m in made]), wide, draws)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return (added * free).detach(), losses


# ---------------------------------------------------------------- the command


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m engine train adapt", description=__doc__.split("\n\n")[1])
    p.add_argument("out", type=Path, nargs="?", help="folder of the new weights; what lies there is gone on from. "
                   "Default: where Blender's model menu finds them, under the word")  # fmt: skip
    p.add_argument("--word", required=True, help="what the look is called in a prompt")
    p.add_argument("--frames", type=Path, nargs="+", default=[], metavar="FOLDER", help="pictures in that look")
    p.add_argument("--clips", type=Path, nargs="+", default=[], metavar="FOLDER", help="scenes with their pictures: `train clips --help`")
    p.add_argument("--minutes", type=float, default=0.0, help="of training on the clips; 0: the look alone")
    p.add_argument("--weights", type=Path, default=store.BUNDLED, help="what is adapted")
    p.add_argument("--threads", type=int, default=2)
    return p


def main(argv: list[str]) -> int:
    a = parser().parse_args(argv)
    torch.set_num_threads(a.threads)
    word = a.word.lower()
    try:
        known = registry.read()
        out = a.out or looks.place(known, word)
        losses = adapt(out, word, a.frames, a.clips, a.minutes, a.weights)
    except (BadJob, registry.BadRegistry) as refusal:
        print(refusal, file=sys.stderr)
        return 2
    print(f"{word}: the look's distance from the pictures went from {losses[0]:.4f} to {losses[-1]:.4f}; weights in {out}")
    print(where(out, known))
    return 0


def where(out: Path, known: registry.Registry) -> str:
    """How weights that lie there are chosen."""
    look = looks.found(known).get(looks.PREFIX + out.name)
    if look is not None and look.folder.resolve() == out.resolve():
        return f'in Blender\'s model menu: "{look.title}"; in job.json: "model": "{look.name}"'
    return f"Blender's model menu has them once their folder lies in {looks.home(known)}"


def adapt(out: Path, word: str, frames: Sequence[Path], folders: Sequence[Path], minutes: float, source: Path) -> list[float]:
    """Writes the adapted weights; returns the losses of the look's fit."""
    if not WORD.fullmatch(word) or word in words.forms():
        raise BadJob(f"the word {word!r}: expected one of 3 to 32 letters that says nothing yet; choose another")
    if not frames and not folders:
        raise BadJob("nothing to learn from: expected --frames FOLDER or --clips FOLDER; give pictures in that look")
    seen = pictures(frames) if frames else []
    filmed = blender_clips.BlenderClips(folders, share=0.5) if folders else None
    source = out if store.shards(out, LITE) else source
    tensors, config = store.load(source, LITE), store.config(source, LITE)
    scenes = list(own_scenes(filmed)) if filmed else list(procedural())
    added, losses = fit(plain_look(tensors, config, scenes), scenes, seen)
    taught = {**config.get("words", {}), word: [round(v, 5) for v in added[0].tolist()]}
    out.mkdir(parents=True, exist_ok=True)
    store.save(out, LITE, tensors, {**config, "words": taught})
    if filmed and minutes:
        recipe = Recipe(minutes=minutes, rate=2e-4, words_first=0.0, threads=torch.get_num_threads(), precision=machine.probe()[0])
        train(out, recipe, Learn(replace(config_of(config), words=taught), filmed))
    return losses


def plain_look(tensors: dict[str, Tensor], config: dict[str, Any], scenes: Sequence[Scene]) -> Tensor:
    """The raw look (1, LOOK_WIDTH) of a photo, as the network has it in the mean of the scenes."""
    model = Lite(config_of(config))
    store.fill(model, tensors, LITE)
    rows = text.encode([PLAIN])
    with torch.inference_mode():
        raws = [model.eval().look(rows, statistics(scene.maps[None], None, False)[None])[0] for scene in scenes]
    return torch.stack(raws).mean(0).clone()
