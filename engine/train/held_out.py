"""Kinds of scenes that training never builds: a colonnade, a market, a staircase. For judging alone."""

from __future__ import annotations

from .captions import COLOURS, Brief
from .scenes import BRICK, CHECKER, COBBLES, LEAVES, STONE, TILES, WOOD, Rng, Scene, Shape, _shade


def colonnade(rng: Rng, brief: Brief) -> Scene:
    """Two rows of columns under beams, on flagstones, trees beyond."""
    scene = Scene(ground=_shade(rng, (0.45, 0.42, 0.38)), ground_pattern=COBBLES)
    stone = _shade(rng, (0.62, 0.58, 0.5))
    for side in (-3.2, 3.2):
        for k in range(7):
            y = 2 + 4.0 * k
            scene.shapes.append(Shape("cone", (side, y, 0.3), (0.42, 0.34, 4.0), stone, STONE))
            scene.shapes.append(Shape("box", (side, y, 0.15), (0.6, 0.6, 0.15), stone, STONE))
        scene.shapes.append(Shape("box", (side, 14, 4.55), (0.55, 13.0, 0.25), _shade(rng, (0.55, 0.5, 0.44)), STONE))
    scene.shapes.append(Shape("box", (0, 34, 3), (4.5, 1.0, 3.0), _shade(rng, (0.5, 0.2, 0.13)), BRICK, windows=True))
    return scene


def market(rng: Rng, brief: Brief) -> Scene:
    """Stalls with coloured awnings and crates in front of them."""
    scene = Scene(ground=_shade(rng, (0.34, 0.3, 0.26)), ground_pattern=COBBLES)
    colours = list(COLOURS.values())
    for k in range(8):
        x, y = (-1) ** k * rng.uniform(3.0, 4.2), 3 + 3.2 * k
        scene.shapes.append(Shape("box", (x, y, 0.5), (1.2, 0.7, 0.5), _shade(rng, (0.4, 0.26, 0.14)), WOOD))
        awning = _shade(rng, colours[int(rng.integers(6))])
        scene.shapes.append(Shape("box", (x, y, 2.4), (1.5, 1.0, 0.08), awning, CHECKER if k % 2 else TILES))
        for post in (-1.3, 1.3):
            scene.shapes.append(Shape("cone", (x + post, y + 0.8, 0), (0.06, 0.06, 2.4), (0.25, 0.16, 0.09), WOOD))
        for _ in range(2):
            r = rng.uniform(0.15, 0.3)
            at = (x + rng.uniform(-0.9, 0.9), y, 1 + r)
            scene.shapes.append(Shape("ellipsoid", at, (r, r, r), _shade(rng, colours[int(rng.integers(6))])))
    return scene


def stairs(rng: Rng, brief: Brief) -> Scene:
    """A broad staircase between walls, hedges on its sides."""
    scene = Scene(ground=_shade(rng, (0.24, 0.26, 0.16)))
    tread = _shade(rng, (0.5, 0.48, 0.44))
    for k in range(9):
        scene.shapes.append(Shape("box", (0, 6 + 1.1 * k, 0.15 * (k + 1)), (3.5, 0.55, 0.15 * (k + 1)), tread, STONE))
    for side in (-4.2, 4.2):
        scene.shapes.append(Shape("box", (side, 10, 1.6), (0.5, 6.0, 1.6), _shade(rng, (0.5, 0.19, 0.12)), BRICK))
        for k in range(4):
            r = rng.uniform(0.5, 0.9)
            scene.shapes.append(
                Shape("ellipsoid", (side * 1.5, 5 + 3 * k, r * 0.6), (r, r, r), _shade(rng, (0.08, 0.22, 0.06), 0.4), LEAVES)
            )
    scene.shapes.append(Shape("box", (0, 19, 4), (5.0, 2.0, 3.0), _shade(rng, (0.8, 0.76, 0.66)), STONE, windows=True))
    return scene


FAMILIES = {"colonnade": colonnade, "market": market, "stairs": stairs}
