"""Training data: pools of clips, one per size, renewed as they are used, and briefs without pictures for the look.

A clip follows from the run's seed and its own number alone, so that a run that was cut off finds its pools again by
their numbers. Knows no network.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import conditions
from ..geometry.noise import surface_noise
from ..models import text
from . import captions, clips
from .cache import keyframe

Size = tuple[int, int, int]  # frames, height, width
PIXELS = 8 * 5 * 64 * 96  # of a batch, about
POOL, REUSE = 40, 4  # clips kept per size; uses of a clip, about
BANK = 64  # clips of a place whose statistics are remembered


@dataclass
class Batch:
    picture: Tensor  # B F 3 H W
    maps: Tensor  # B F C H W
    noise: Tensor  # B F 3 H W
    rows: Tensor
    statistics: Tensor
    look: Tensor  # B LOOK_WIDTH raw
    azimuth: Tensor  # B 1 1 1 1
    cloud_seed: Tensor  # B
    pane: Tensor  # B F 1 H W
    has_base: Tensor  # B
    base: Tensor  # B F 3 H W, the truth where it was dropped


@dataclass(frozen=True)
class Drops:
    """How often a condition is left out, so that the model can do without."""

    base: float = 0.3
    caption: float = 0.1
    cache: float = 0.45


class Data:
    """Pools of clips and the random numbers that choose among them."""

    def __init__(self, seed: int, drops: Drops = Drops()) -> None:
        self.seed, self.drops, self.rng = seed, drops, np.random.default_rng(seed)
        self.made = 0
        self.pools: dict[Size, deque[tuple[int, clips.Clip]]] = {}
        self.statistics: dict[str, deque[Tensor]] = {place: deque(maxlen=BANK) for place in captions.PLACES}

    def clip(self, size: Size, number: int) -> clips.Clip:
        rng = np.random.default_rng([self.seed, number])
        return clips.render(captions.draw(rng), *size, rng)

    def make(self, size: Size) -> None:
        """One more clip in the size's pool."""
        clip = self.clip(size, self.made)
        self.pools.setdefault(size, deque(maxlen=POOL)).append((self.made, clip))
        self.statistics[clip.place].append(clip.statistics)
        self.made += 1

    def fill(self, size: Size, count: int) -> None:
        """A first pool, and with it statistics of every kind of place."""
        for _ in range(count):
            self.make(size)

    def batch(self, size: Size) -> Batch:
        count = max(2, min(16, round(PIXELS / math.prod(size))))
        for _ in range(max(count - len(self.pools.get(size, ())), math.ceil(count / REUSE))):
            self.make(size)
        pool = self.pools[size]
        chosen = [pool[i][1] for i in self.rng.choice(len(pool), count, replace=False)]
        return collate([self.item(clip) for clip in chosen])

    def item(self, clip: clips.Clip) -> dict[str, Tensor]:
        """A clip with fresh noise, fresh drops and a keyframe, mirrored at times."""
        rng = self.rng
        maps = clip.maps.to(torch.float32, copy=True)  # clips from Blender are kept in half
        base = maps[:, conditions.SLICE["base"]].clone()
        keep = rng.random() >= self.drops.base
        if not keep:
            maps[:, conditions.SLICE["base"]] = 0
            maps[:, conditions.SLICE["has_base"]] = 0
        if rng.random() >= self.drops.cache:
            conditions.put_cache(maps, *keyframe(clip, rng))
        sky = ~torch.isfinite(clip.depth)
        noise = surface_noise(
            clip.anchor, clip.footprint, sky, clip.ray, int(rng.integers(2**62)), torch.arange(len(maps))
        )
        item = dict(
            picture=clip.picture, maps=maps, noise=noise, statistics=clip.statistics, look=clip.look, pane=clip.pane,
            rows=clip.rows if rng.random() >= self.drops.caption else torch.zeros_like(clip.rows),
            azimuth=torch.tensor(clip.azimuth), cloud_seed=torch.tensor(clip.cloud_seed),
            has_base=torch.tensor(float(keep)), base=base,
        )  # fmt: skip
        return mirrored(item) if rng.random() < 0.5 else item

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
        return encoded[:, :longest], torch.stack(statistics), torch.stack(looks)

    # A run that was cut off

    def facts(self) -> dict[str, Any]:
        """What makes these data again, as JSON can hold it."""
        pools = {",".join(map(str, size)): [number for number, _ in pool] for size, pool in self.pools.items()}
        return {"made": self.made, "pools": pools, "random": self.rng.bit_generator.state}

    def banks(self) -> dict[str, Tensor]:
        return {place: torch.stack(list(bank)) for place, bank in self.statistics.items() if bank}

    def restore(self, facts: dict[str, Any], banks: dict[str, Tensor]) -> None:
        """The data as `facts` and `banks` told them; the pools' clips are made again."""
        self.made = facts["made"]
        self.rng.bit_generator.state = facts["random"]
        for name, numbers in facts["pools"].items():
            frames, height, width = map(int, name.split(","))
            size = (frames, height, width)
            self.pools[size] = deque(((n, self.clip(size, n)) for n in numbers), maxlen=POOL)
        for place, bank in banks.items():
            self.statistics[place].extend(bank.unbind(0))


def mirrored(item: dict[str, Tensor]) -> dict[str, Tensor]:
    """Left and right exchanged: pictures and maps flipped, world x negated (rays, normals, sines of x, the sun)."""
    out = dict(item)
    for name in ("picture", "maps", "noise", "pane", "base"):
        out[name] = item[name].flip(-1).clone()
    first = conditions.SLICE["position"].start
    for channel in (conditions.SLICE["ray"].start, conditions.SLICE["normal"].start, first, first + 3):
        out["maps"][:, channel] *= -1
    out["azimuth"] = math.pi - item["azimuth"]
    out["cloud_seed"] = -item["cloud_seed"]
    return out


def collate(items: list[dict[str, Tensor]]) -> Batch:
    joined = {name: torch.stack([item[name] for item in items]) for name in items[0]}
    return Batch(**{**joined, "azimuth": joined["azimuth"].view(-1, 1, 1, 1, 1)})
