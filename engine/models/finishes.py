"""What a surface of unknown colour is made of: a finish for every bare object, by its place, its shape, its name and
the prompt. A blockout is dressed before anything is painted.

The scene knows an object's extent, where it lies and what it is called; the prompt says what kind of place it is. A
small network weighs the finishes by those facts, the seed draws one of them, and it is laid on the object in its own
space, as a material that a prompt asks for is. Knows maps and names; draws nothing.
Shapes: F frames, H W pixels, N objects, K finishes.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..conditions import SLICE, STATISTICS, distance_from_channel
from ..geometry.patterns import NAMES as PATTERNS
from ..geometry.patterns import Paint
from . import text
from .materials import Colour, Material
from .shading import THROUGH

FACTS = 20  # numbers of `facts`
UP, SIDE, GLOSS = 9, 10, 16  # where the shares that face up and to the sides stand among them, and gloss
OF_SURFACES = slice(3, 9)  # of a scene's statistics: colours, gloss, glow, what a bare scene has none of
LEAST = 4  # pixels that an object must show to be known
GROUPS = 4  # words of a name that are read
SHARP = 0.45  # temperature of the draw: below 1, the likely finishes become likelier
APART = 0.2  # of all draws, those among which one scene's objects spread: what is alike mostly wears the same
GREY = (0.5, 0.5, 0.5)


def _even(pattern: str, colour: Colour, joint: Colour = GREY, gloss: float = 0.0) -> Material:
    """A finish lies on the whole of a thing, whichever way it faces."""
    return Material(pattern, colour, joint, 1.0, 1.0, gloss, cover=1.0)


MORTAR, SEAM, GAP = (0.4, 0.38, 0.35), (0.24, 0.23, 0.21), (0.1, 0.1, 0.1)
FINISHES = {  # colours scene-linear
    "red brick": _even("brick", (0.52, 0.17, 0.11), MORTAR),
    "brown brick": _even("brick", (0.45, 0.22, 0.16), MORTAR),
    "pale brick": _even("brick", (0.5, 0.32, 0.24), MORTAR),
    "white plaster": _even("grain", (0.8, 0.78, 0.72)),
    "ochre plaster": _even("grain", (0.75, 0.62, 0.45)),
    "rose plaster": _even("grain", (0.7, 0.6, 0.58)),
    "grey stone": _even("rock", (0.4, 0.4, 0.41), GAP),
    "tan stone": _even("rock", (0.52, 0.44, 0.34), GAP),
    "brown boards": _even("planks", (0.4, 0.24, 0.11), SEAM),
    "dark boards": _even("planks", (0.26, 0.15, 0.08), SEAM),
    "pale boards": _even("planks", (0.52, 0.37, 0.2), SEAM),
    "glass": _even("tiles", (0.3, 0.4, 0.48), (0.3, 0.32, 0.33), 0.6),
    "dark glass": _even("grain", (0.05, 0.07, 0.09), gloss=0.9),
    "red tiles": _even("tiles", (0.36, 0.14, 0.09), (0.16, 0.07, 0.05)),
    "slate": _even("tiles", (0.2, 0.2, 0.22), (0.1, 0.1, 0.11)),
    "pale tiles": _even("tiles", (0.5, 0.47, 0.42), (0.3, 0.28, 0.25), 0.1),
    "leaves": _even("grass", (0.08, 0.21, 0.06)),
    "grass": _even("grass", (0.19, 0.26, 0.1)),
    "earth": _even("grain", (0.26, 0.24, 0.16)),
    "sand": _even("grain", (0.7, 0.52, 0.3)),
    "asphalt": _even("grain", (0.2, 0.2, 0.21)),
    "cobbles": _even("rock", (0.27, 0.26, 0.25), GAP),
    "water": _even("grain", (0.06, 0.12, 0.14), gloss=0.9),
    "skin": _even("grain", (0.62, 0.42, 0.3)),
    "iron": _even("streaks", (0.08, 0.08, 0.08), gloss=0.2),
    "white paint": _even("grain", (0.85, 0.85, 0.85)),
    "red paint": _even("grain", (0.7, 0.1, 0.08)),
    "blue paint": _even("grain", (0.12, 0.22, 0.58)),
    "yellow paint": _even("grain", (0.82, 0.6, 0.12)),
    "green paint": _even("grain", (0.14, 0.42, 0.16)),
    "orange paint": _even("grain", (0.8, 0.3, 0.05)),
    "pink paint": _even("grain", (0.8, 0.36, 0.46)),
    "purple paint": _even("grain", (0.35, 0.12, 0.45)),
    "black paint": _even("grain", (0.02, 0.02, 0.025)),
}
ROWS = list(FINISHES)


# ---------------------------------------------------------------- what is known of an object


def facts(maps: Tensor, index: Tensor, point: Tensor, camera: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """What some frames show of every object: its values of the index pass (N,), FACTS numbers each (N, FACTS).

    maps (F, C, H, W), index (F, H, W), point (F, H, W, 3) in the world at the reference frame, camera (3,) the first
    camera's place there. Lengths count in scales, so that a scene in inches is one in metres.
    """
    flat, solid = index.flatten(), maps[:, SLICE["sky"]].flatten() < 0.5
    objects, slot = torch.unique(torch.where(solid, flat, 0), return_inverse=True)
    count = torch.bincount(slot, minlength=len(objects)).float()

    def mean(value: Tensor) -> Tensor:
        return torch.zeros(len(objects)).index_add_(0, slot, value.flatten().float()) / count

    place = ((point - camera) / scale).clamp(-1e3, 1e3).reshape(-1, 3).float()
    spread = slot[:, None].expand(-1, 3)
    low = torch.full((len(objects), 3), torch.inf).scatter_reduce_(0, spread, place, "amin")
    high = torch.full((len(objects), 3), -torch.inf).scatter_reduce_(0, spread, place, "amax")
    floor = place[solid, 2].quantile(0.02) if 0 < solid.sum() < 2**23 else torch.zeros(())
    normal = maps[:, SLICE["normal"]].float()
    facing = [mean(normal[:, axis]) for axis in range(3)]
    up = normal[:, 2]
    sides = (high - low).log1p()
    columns = [
        (count / len(flat)).log(), *sides.unbind(1), sides[:, :2].amax(1) - sides[:, 2],
        low[:, 2], high[:, 2], (low[:, 2] - floor), (high[:, 2] - floor).clamp_min(0).log1p(),
        mean(up > 0.7), mean(up.abs() < 0.3), mean(up < -0.7), mean((up > 0.3) & (up < 0.7)),
        torch.stack(facing).norm(dim=0), mean(up * up) - facing[2] ** 2,
        mean(distance_from_channel(maps[:, SLICE["distance"]].float())).log1p(),
        mean(maps[:, SLICE["mirror"]]), mean(maps[:, SLICE["emission"]].float().mean(1)),
        mean(maps[:, SLICE["ao"]]), mean(maps[:, SLICE["open"]]),
    ]  # fmt: skip
    known = (objects > 0) & (count >= LEAST)
    return objects[known], torch.stack(columns, 1)[known].clamp(-20, 20)


def encode_names(names: Sequence[str]) -> Tensor:
    """Names -> (N, GROUPS, letter groups) rows of the table, 0 is nothing."""
    spaced = [re.sub(r"(?<=[a-z])(?=[A-Z])|[\d_.\-]+", " ", name) for name in names]
    return text.encode(spaced)[:, :GROUPS, 1:]


class Dresser(nn.Module):
    """Facts, name and prompt -> how likely each finish is (N, K) logits."""

    def __init__(self, width: int, table: int = 24, hidden: int = 128) -> None:
        super().__init__()
        self.names = nn.Embedding(text.GROUPS, table, padding_idx=0)
        self.said = nn.Linear(width, 32)
        told = FACTS + table + 32 + STATISTICS
        self.mlp = nn.Sequential(
            nn.LayerNorm(told), nn.Linear(told, hidden), nn.GELU(),
            nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, len(ROWS)),
        )  # fmt: skip

    def forward(self, facts: Tensor, names: Tensor, pooled: Tensor, statistics: Tensor) -> Tensor:
        """facts (N, FACTS), names (N, GROUPS, G), pooled prompt (D,), the scene's statistics (STATISTICS,), of which
        those of its surfaces are not looked at."""
        rows = names.flatten(1)
        named = self.names(rows).sum(1) / (rows > 0).sum(1, keepdim=True).clamp_min(1)
        place = statistics.clone()
        place[OF_SURFACES] = 0
        shared = torch.cat([self.said(pooled), place]).expand(len(facts), -1)
        return self.mlp(torch.cat([facts, named, shared], 1))


# ---------------------------------------------------------------- the draw


def kin(name: str) -> str:
    """What copies of one object share: Wall.001 is a Wall."""
    return re.sub(r"\.\d{3,}$", "", name)


def chance(key: str) -> float:
    """0..1, the same for the same."""
    return zlib.crc32(key.encode()) / 2**32


def draw(logits: Tensor, names: Sequence[str], seed: int) -> list[str]:
    """One finish for every object by its logits (N, K); copies of one object get the same one."""
    shares = (logits / SHARP).softmax(1)
    own = [kin(name) for name in names]
    total = {key: sum(shares[i] for i, k in enumerate(own) if k == key) for key in dict.fromkeys(own)}
    chosen = {}
    for key, share in total.items():
        at = (chance(str(seed)) + APART * chance(f"{seed} {key}")) % 1
        reached = torch.as_tensor(share).cumsum(0)
        chosen[key] = ROWS[int((reached < at * reached[-1]).sum().clamp_max(len(ROWS) - 1))]
    return [chosen[key] for key in own]


@dataclass(frozen=True)
class Dressed:
    """One finish as a thing's values, and the objects (M,) that wear it."""

    objects: Tensor
    row: Mapping[str, Tensor]  # name -> (1, size), as `shading.of_its_own` gives them for what a prompt says


def dressed(objects: Tensor, worn: Sequence[str], share: float = 1.0) -> list[Dressed]:
    """Objects (N,) by what they wear; `share` of their colour is the finish's."""
    chosen = {name: torch.tensor([own == name for own in worn]) for name in dict.fromkeys(worn)}
    return [Dressed(objects[wear], row(FINISHES[name], share)) for name, wear in chosen.items()]


def row(m: Material, share: float) -> dict[str, Tensor]:
    one = {"paint": m.cover * share, "paint_gloss": m.gloss, "through": THROUGH, "on_up": m.on_up, "on_side": m.on_side}
    one |= {"paint_glow": 0.0, "dye_share": 0.0, "shine": 0.0}
    more = {"paint_colour": m.colour, "joint_colour": m.joint, "dye": (1.0, 1.0, 1.0)}
    pattern = torch.tensor([[float(name == m.pattern) for name in PATTERNS]])
    values = {name: torch.tensor([[value]]) for name, value in one.items()}
    return values | {name: torch.tensor([list(value)]) for name, value in more.items()} | {"pattern": pattern}


def covered(facts: Tensor, paint: Paint) -> list[bool]:
    """Of objects by their facts (N, FACTS), which the prompt's own material lies on already, for the most part."""
    up, side = facts[:, UP], facts[:, SIDE]
    lies = (up * paint.on_up + side * paint.on_side) / (up + side).clamp_min(1e-3)
    return [bool(share > 0.5 and paint.cover > 0) for share in lies]


def nearest(names: Sequence[str], colour: Colour) -> int:
    """The row of the finish that is nearest in colour among those of some names; all where none is named."""
    rows = [ROWS.index(name) for name in names] or list(range(len(ROWS)))
    wanted = torch.tensor(colour).clamp_min(0.01).log()
    return min(rows, key=lambda i: float((torch.tensor(FINISHES[ROWS[i]].colour).log() - wanted).norm()))


