"""Training data: a pool of clips of every size, shape and length, renewed as it is used, and briefs without pictures.

A clip follows from the run's seed and its own number alone, so that a run that was cut off finds its pool again by
numbers. Data come in streams, each with its own pool and random numbers: a process of a training on many machines
owns some of them, and all streams together are the same data however many processes there are. Knows no network.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .. import conditions
from ..geometry.noise import surface_noise
from ..models import finishes, text
from ..models.lite import REFERENCE, as_reference
from . import captions, clips, dressing
from .cache import keyframe
from .team import PROCESSOR

Size = tuple[int, int, int]  # frames, height, width
PACK = 8 * 5 * 64 * 96  # pixels of a pack, about
REUSE = 4  # uses of a clip, about
BANK = 64  # clips of a place whose statistics are remembered
WIDEST = 2.6  # width over height, and height over width
PORTRAIT = 0.3  # share of clips that are higher than wide
STILL_GROWS = 4.0  # a still may have so many times the pixels of a clip's frame
PATCH = 16


@dataclass(frozen=True)
class Sizes:
    """What sizes clips are drawn at: native ones, any shape, no cropping."""

    frames: tuple[int, ...]
    least: int  # pixels of a frame
    most: int

    def draw(self, rng: np.random.Generator) -> Size:
        """Frames, height, width; sides are multiples of 16. A long clip is not larger than the pack."""
        frames = int(rng.choice(self.frames))
        most = self.most * STILL_GROWS if frames == 1 else min(self.most, max(self.least, PACK / frames))
        area = math.exp(rng.uniform(math.log(self.least), math.log(most)))
        ratio = math.exp(rng.uniform(0, math.log(WIDEST)))
        width = max(1, round(math.sqrt(area * ratio) / PATCH))
        height = max(1, round(area / (width * PATCH**2)))
        sides = (height * PATCH, width * PATCH)
        return (frames, *(sides[::-1] if rng.random() < PORTRAIT else sides))


@dataclass(frozen=True)
class Named:
    """A clip's objects under the names that they have this time."""

    facts: Tensor  # (N, FACTS)
    names: Tensor  # (N, GROUPS, letter groups)
    finish: Tensor  # (N,) rows of FINISHES; dressing.UNKNOWN of none


@dataclass(frozen=True)
class PoolLimits:
    """How many clips are kept and made."""

    most: int = 64
    fresh: int = 0  # made in every step; 0: one for every REUSE that a step uses


@dataclass(frozen=True)
class Item:
    """A clip as one step of training sees it."""

    picture: Tensor  # F 3 H W
    maps: Tensor  # F C H W
    noise: Tensor  # F 3 H W
    rows: Tensor  # S G
    statistics: Tensor
    look: Tensor  # LOOK_WIDTH raw
    azimuth: Tensor  # ()
    cloud_seed: Tensor  # ()
    pane: Tensor  # F 1 H W
    has_base: Tensor  # ()
    base: Tensor  # F 3 H W, the truth where it was dropped
    reference: Tensor  # 3 H W of lite.REFERENCE: a picture of the same look
    has_reference: Tensor  # ()
    things: Named


@dataclass(frozen=True)
class Drops:
    """How often a condition is left out, so that the model can do without."""

    base: float = 0.3
    caption: float = 0.1
    cache: float = 0.45
    erased: float = 0.25  # of the caches: a part that is to be made anew
    reactive: float = 0.85  # of the clips without erased parts
    reference: float = 0.7


class Data:
    """One stream: a pool of clips and the random numbers that choose among them."""

    def __init__(
        self, seed: int, drops: Drops = Drops(), stream: int = 0, streams: int = 1,
        device: torch.device = PROCESSOR, kept: PoolLimits = PoolLimits(),
    ) -> None:  # fmt: skip
        self.seed, self.drops, self.stream, self.streams, self.device = seed, drops, stream, streams, device
        self.rng = np.random.default_rng([seed, stream])
        self.draws = torch.Generator().manual_seed(seed * 7919 + stream)  # of times and noise, as tensors
        self.made, self.kept = 0, kept
        self.spent = 0.0  # seconds that making clips took in this sitting, once the first pool was there
        self.pool: deque[tuple[int, Size, clips.Clip]] = deque(maxlen=kept.most)
        self.statistics: dict[str, deque[Tensor]] = {place: deque(maxlen=BANK) for place in captions.PLACES}

    def clip(self, size: Size, number: int) -> clips.Clip:
        rng = np.random.default_rng([self.seed, number])
        return clips.render(captions.draw(rng), *size, rng)

    def make(self, sizes: Sizes) -> None:
        """One more clip in the pool."""
        number = self.made * self.streams + self.stream
        size = sizes.draw(np.random.default_rng([self.seed, number, 1]))
        clip = self.clip(size, number)
        self.pool.append((number, size, clip))
        self.statistics[clip.place].append(clip.statistics)
        self.made += 1

    def fill(self, sizes: Sizes, count: int) -> None:
        """A first pool, and with it statistics of every kind of place."""
        for _ in range(count):
            self.make(sizes)

    def pack(self, sizes: Sizes) -> list[Item]:
        """Some clips of the pool as a step sees them."""
        return [self.item(clip) for clip in self.some(sizes)]

    def some(self, sizes: Sizes) -> list[clips.Clip]:
        """Clips of the pool, of different sizes, about PACK pixels together; as many new ones are made as wore out."""
        order = self.rng.permutation(len(self.pool))
        chosen, pixels = [], 0
        for i in order:
            size = self.pool[i][1]
            if pixels and pixels + math.prod(size) > PACK * 1.25:
                continue
            chosen.append(self.pool[i][2])
            pixels += math.prod(size)
            if pixels >= PACK:
                break
        began = time.monotonic()
        for _ in range(self.kept.fresh or math.ceil(len(chosen) / REUSE)):
            self.make(sizes)
        self.spent += time.monotonic() - began
        return chosen

    def named(self, things: clips.Things) -> Named:
        """Objects under fresh names."""
        names = dressing.names(things.called, self.rng)
        facts, names, finish = dressing.surprises(things.facts, names, things.finish, self.rng)
        facts = dressing.jittered(facts, self.rng)
        return Named(facts.to(self.device), finishes.encode_names(names).to(self.device), finish.to(self.device))

    def item(self, clip: clips.Clip) -> Item:
        """A clip with fresh noise, fresh drops and a keyframe, mirrored at times."""
        rng = self.rng
        maps = clip.maps.to(torch.float32, copy=True)  # clips from Blender are kept in half
        base = maps[:, conditions.SLICE["base"]].clone()
        keep = rng.random() >= self.drops.base
        if not keep:
            maps[:, conditions.SLICE["base"]] = 0
            maps[:, conditions.SLICE["has_base"]] = 0
        known = torch.zeros_like(clip.depth, dtype=torch.bool)
        if rng.random() >= self.drops.cache:
            colour, known = keyframe(clip, rng)
            if rng.random() < self.drops.erased:
                known = known & ~somewhere(known.shape, rng)
            conditions.put_cache(maps, colour, known)
        if rng.random() >= self.drops.reactive:
            conditions.put_reactive(maps, another_look(clip.picture, rng), somewhere(known.shape, rng) & ~known)
        shown = rng.random() >= self.drops.reference
        sky = ~torch.isfinite(clip.depth)
        noise = surface_noise(
            clip.anchor, clip.footprint, sky, clip.ray, int(rng.integers(2**62)), torch.arange(len(maps))
        )
        item = dict(
            picture=clip.picture, maps=maps, noise=noise, statistics=clip.statistics, look=clip.look, pane=clip.pane,
            rows=clip.rows if rng.random() >= self.drops.caption else torch.zeros_like(clip.rows),
            azimuth=torch.tensor(clip.azimuth), cloud_seed=torch.tensor(clip.cloud_seed),
            has_base=torch.tensor(float(keep)), base=base, has_reference=torch.tensor(float(shown)),
            reference=glimpse(clip.picture, rng) if shown else torch.zeros(3, *REFERENCE),
        )  # fmt: skip
        item = mirrored(item) if rng.random() < 0.5 else item
        at = {name: value.to(self.device) for name, value in item.items()}
        return Item(**at, things=self.named(clip.things))

    def glimpses(self, count: int) -> tuple[Tensor, Tensor]:
        """Parts of frames of the pool and the looks that they were made in: (B, 3, *REFERENCE), (B, LOOK_WIDTH)."""
        some = [self.pool[i][2] for i in self.rng.integers(len(self.pool), size=count)]
        told = [clip for clip in some if clip.place]  # the look of a clip from Blender is nobody's to know
        pictures = torch.stack([glimpse(clip.picture, self.rng) for clip in told])
        return pictures.to(self.device), torch.stack([clip.look for clip in told]).to(self.device)

    def briefs(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Captions, statistics and looks without pictures: rows (B, S, G), (B, STATISTICS), (B, LOOK_WIDTH)."""
        said, statistics, looks = [], [], []
        for _ in range(count):
            brief = captions.draw(self.rng, balanced=True)
            bank = self.statistics[brief.place]
            facts = bank[self.rng.integers(len(bank))].clone() if bank else torch.zeros(conditions.STATISTICS)
            said.append(captions.caption(brief, self.rng))
            statistics.append(facts)
            looks.append(torch.from_numpy(captions.raw(captions.look(brief, self.rng))))
        encoded = text.encode(said)
        longest = int((encoded[..., 0] > 0).sum(1).max())
        at = self.device
        return encoded[:, :longest].to(at), torch.stack(statistics).to(at), torch.stack(looks).to(at)

    # A run that was cut off

    def facts(self) -> dict[str, Any]:
        """What makes these data again, as JSON can hold it, to the bit."""
        return {
            "made": self.made, "pool": [[number, *size] for number, size, _ in self.pool],
            "random": self.rng.bit_generator.state, "draws": bytes(self.draws.get_state().tolist()).hex(),
            "statistics": {place: [row.tolist() for row in bank] for place, bank in self.statistics.items()},
        }  # fmt: skip

    def restore(self, facts: dict[str, Any]) -> None:
        """The data as `facts` told them; the pool's clips are made again."""
        self.made = facts["made"]
        self.rng.bit_generator.state = facts["random"]
        self.draws.set_state(torch.tensor(list(bytes.fromhex(facts["draws"])), dtype=torch.uint8))
        for number, frames, height, width in facts["pool"]:
            size = frames, height, width
            self.pool.append((number, size, self.clip(size, number)))
        for place, rows in facts["statistics"].items():
            self.statistics[place].extend(torch.tensor(row, dtype=torch.float32) for row in rows)


def somewhere(shape: Sequence[int], rng: np.random.Generator) -> Tensor:
    """A box of pixels (F, H, W) bool, the same in every frame; one in four times all of them."""
    out = torch.zeros(*shape, dtype=torch.bool)
    if rng.random() < 0.25:
        return ~out
    (top, bottom), (left, right) = (np.sort(rng.integers(0, side + 1, 2)) for side in shape[1:])
    out[:, top:bottom, left:right] = True
    return out


def another_look(picture: Tensor, rng: np.random.Generator) -> Tensor:
    """Pictures (F, 3, H, W) in -1..1 as an earlier take may show them: in another light, not quite sharp, noisy."""
    gain = torch.from_numpy(rng.uniform(0.5, 1.3) * np.exp(rng.normal(0, 0.25, (3, 1, 1)))).float()
    grey = picture.mean(1, keepdim=True)
    other = grey + (picture - grey) * float(rng.uniform(0, 1.4))
    other = ((other + 1) / 2).clamp(0, 1) ** float(np.exp(rng.normal(0, 0.3))) * gain
    if rng.random() < 0.5:
        other = functional.avg_pool2d(other, 3, 1, 1, count_include_pad=False)
    draws = torch.Generator().manual_seed(int(rng.integers(2**31)))
    return (2 * other - 1 + 0.04 * torch.randn(other.shape, generator=draws)).clamp(-1, 1)


LEAST_SEEN = 0.5  # of a picture's sides, in a glimpse of it


def glimpse(picture: Tensor, rng: np.random.Generator) -> Tensor:
    """A part of one of the frames (F, 3, H, W), at times mirrored, as small as a reference is looked at."""
    frame = picture[rng.integers(len(picture))]
    height, width = (max(1, round(side * rng.uniform(LEAST_SEEN, 1))) for side in frame.shape[1:])
    top, left = (
        int(rng.integers(whole - part + 1)) for whole, part in zip(frame.shape[1:], (height, width), strict=True)
    )
    part = frame[:, top : top + height, left : left + width]
    return as_reference(part.flip(-1) if rng.random() < 0.5 else part)


def mirrored(item: dict[str, Tensor]) -> dict[str, Tensor]:
    """Left and right exchanged: pictures and maps flipped, world x negated (rays, normals, sines of x, the sun)."""
    out = dict(item)
    for name in ("picture", "maps", "noise", "pane", "base"):
        out[name] = item[name].flip(-1).clone()
    first = conditions.SLICE["position"].start
    turned = (conditions.SLICE[name].start for name in ("ray", "normal", "glass"))
    for channel in (*turned, first, first + 3):
        out["maps"][:, channel] *= -1
    out["azimuth"] = math.pi - item["azimuth"]
    out["cloud_seed"] = -item["cloud_seed"]
    return out
