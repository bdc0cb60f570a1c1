"""Materials, dyes and drawing hands that a prompt can ask for, as numbers for the head. The network only says which.

What red brick is needs no network: its colour, its joints, what it lies on. Knows patterns by name; draws nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ..geometry.patterns import NAMES as PATTERNS
from ..prompt.words import COLOURS

Colour = tuple[float, float, float]
DYED = 0.75  # of a dyed material's colour that is the dye's


@dataclass(frozen=True)
class Material:
    pattern: str
    colour: Colour  # scene-linear
    joint: Colour
    on_up: float  # share of what faces up
    on_side: float  # of what stands
    gloss: float = 0.0
    glow: float = 0.0  # of the joints
    cover: float = 0.95


@dataclass(frozen=True)
class Hand:
    """How the finished picture is drawn: shares, and the colours of ink and paper (of the picture, 0..1)."""

    posterise: float
    watercolour: float
    pencil: float
    outline: float
    ink: Colour = (0.1, 0.1, 0.1)
    paper: Colour = (0.95, 0.94, 0.91)


PLAIN = Material("grain", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 0.0, 0.0, cover=0.0)
MATERIALS = {
    "none": PLAIN,
    "brick": Material("brick", (0.42, 0.13, 0.08), (0.5, 0.46, 0.4), 0.0, 1.0),
    "plaster": Material("grain", (0.74, 0.71, 0.65), (0.5, 0.5, 0.5), 0.0, 1.0),
    "concrete": Material("grain", (0.34, 0.33, 0.32), (0.3, 0.3, 0.3), 0.6, 1.0),
    "stone": Material("rock", (0.33, 0.31, 0.28), (0.12, 0.11, 0.1), 0.3, 1.0),
    "cobbles": Material("rock", (0.26, 0.25, 0.25), (0.08, 0.08, 0.08), 1.0, 0.0),
    "wood": Material("planks", (0.34, 0.19, 0.09), (0.07, 0.04, 0.02), 0.7, 1.0),
    "grass": Material("grass", (0.13, 0.26, 0.05), (0.1, 0.2, 0.05), 1.0, 0.15),
    "moss": Material("grass", (0.09, 0.2, 0.035), (0.1, 0.2, 0.05), 0.85, 0.55),
    "sand": Material("grain", (0.62, 0.44, 0.25), (0.5, 0.4, 0.2), 1.0, 0.8),
    "tiles": Material("tiles", (0.55, 0.6, 0.6), (0.7, 0.7, 0.68), 0.8, 1.0, 0.35),
    "marble": Material("veins", (0.78, 0.76, 0.73), (0.3, 0.29, 0.28), 0.9, 1.0, 0.3),
    "metal": Material("streaks", (0.3, 0.31, 0.33), (0.4, 0.4, 0.4), 0.9, 1.0, 0.9),
    "gold": Material("streaks", (0.85, 0.5, 0.1), (0.5, 0.3, 0.1), 0.9, 1.0, 0.8),
    "rust": Material("grain", (0.3, 0.11, 0.04), (0.2, 0.1, 0.05), 0.8, 0.9),
    "glass": Material("tiles", (0.12, 0.22, 0.27), (0.3, 0.32, 0.33), 0.5, 1.0, 0.95),
    "ice": Material("veins", (0.5, 0.68, 0.8), (0.8, 0.88, 0.92), 1.0, 1.0, 0.6),
    "paint": Material("grain", (0.6, 0.6, 0.6), (0.5, 0.5, 0.5), 0.0, 1.0, 0.1),
    "blocks": Material("cells", (0.3, 0.33, 0.22), (0.06, 0.06, 0.05), 1.0, 1.0, cover=0.7),
    "candy": Material("tiles", (0.85, 0.45, 0.55), (0.9, 0.88, 0.85), 0.9, 1.0, 0.3),
    "lava": Material("rock", (0.05, 0.04, 0.04), (0.95, 0.2, 0.03), 1.0, 0.8, 0.0, 1.0),
}
DYES: dict[str, Colour] = {"none": (1.0, 1.0, 1.0), **COLOURS}
HANDS = {
    "none": Hand(0.0, 0.0, 0.0, 0.0),
    "watercolour": Hand(0.25, 0.95, 0.0, 0.3, (0.22, 0.17, 0.15), (0.96, 0.94, 0.89)),
    "pencil": Hand(0.0, 0.0, 1.0, 0.75, (0.16, 0.16, 0.17)),
    "cartoon": Hand(0.95, 0.0, 0.0, 0.9, (0.04, 0.04, 0.05)),
    "blueprint": Hand(0.0, 0.0, 0.95, 0.95, (0.86, 0.92, 0.99), (0.07, 0.2, 0.5)),
    "neon": Hand(0.0, 0.0, 0.0, 0.95, (0.98, 0.3, 0.92)),
}


def _dyed(colour: Colour, dye: str) -> list[float]:
    if dye == "none":
        return list(colour)
    mean = sum(DYES[dye]) / sum(colour)
    return [DYED * d + (1 - DYED) * c * mean for c, d in zip(colour, DYES[dye], strict=True)]


@lru_cache(1)
def _tables() -> tuple[dict[str, Tensor], Tensor, dict[str, Tensor]]:
    kinds, hands = list(MATERIALS.values()), list(HANDS.values())
    material = {
        "paint": [[m.cover] for m in kinds],
        "on_up": [[m.on_up] for m in kinds], "on_side": [[m.on_side] for m in kinds],
        "pattern": [[float(name == m.pattern) for name in PATTERNS] for m in kinds],
        "joint_colour": [list(m.joint) for m in kinds], "paint_gloss": [[m.gloss] for m in kinds],
        "paint_glow": [[m.glow] for m in kinds],
    }  # fmt: skip
    hand = {name: [[getattr(h, name)] for h in hands] for name in ("posterise", "watercolour", "pencil", "outline")}
    hand |= {name: [list(getattr(h, name)) for h in hands] for name in ("ink", "paper")}
    colours = torch.tensor([[_dyed(m.colour, dye) for dye in DYES] for m in kinds])
    return (
        {name: torch.tensor(values) for name, values in material.items()}, colours,
        {name: torch.tensor(values) for name, values in hand.items()},
    )  # fmt: skip


def numbers(material: Tensor, dye: Tensor, hand: Tensor) -> dict[str, Tensor]:
    """Rows of MATERIALS, DYES and HANDS (B,) -> what the head needs of them, name -> (B, size)."""
    of_material, colours, of_hand = _tables()
    at = material.device
    out = {name: table.to(at)[material] for name, table in of_material.items()}
    out |= {name: table.to(at)[hand] for name, table in of_hand.items()}
    return out | {"paint_colour": colours.to(at)[material, dye]}
