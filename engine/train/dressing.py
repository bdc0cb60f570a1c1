"""What the scene maker's shapes are made of and called, as `models/finishes.py` learns it: its finish and a name."""

from __future__ import annotations

import numpy as np

from ..models import finishes
from . import scenes
from .captions import Brief
from .scenes import Scene, Shape

UNKNOWN = -100  # of no finish: what glows tells its own colour
NAMELESS = 0.5  # share of the shapes that are called after nothing
GENERIC = ("Cube", "Cylinder", "Cone", "Sphere", "Icosphere", "Plane", "Object", "Mesh", "Geometry", "part", "")
GRAIN = [name for name, made in finishes.FINISHES.items() if made.pattern == "grain"]
FAMILY = {  # pattern -> finishes that it may be
    scenes.PLAIN: [*(n for n in GRAIN if n not in ("earth", "sand", "asphalt", "water")), "iron"],
    scenes.BRICK: ["red brick", "brown brick", "pale brick"],
    scenes.STONE: ["grey stone", "tan stone"],
    scenes.WOOD: ["brown boards", "dark boards", "pale boards"],
    scenes.GLASS: ["glass"], scenes.LEAVES: ["leaves"], scenes.WATER: ["water"], scenes.COBBLES: ["cobbles"],
    scenes.GROUND: ["grass", "earth", "sand", "asphalt"],
    scenes.TILES: ["red tiles", "slate", "pale tiles"],
    scenes.CHECKER: ["red tiles", "slate", "pale tiles"],
}  # fmt: skip
GROUNDS = {
    "street": ["Road", "Street", "Ground", "Pavement"], "village": ["Ground", "Grass", "Field", "Meadow", "Terrain"],
    "desert": ["Sand", "Dunes", "Desert", "Terrain"], "forest": ["Ground", "ForestFloor", "Terrain", "Soil"],
    "mountains": ["Terrain", "Landscape", "Ground", "Hill"], "harbour": ["Water", "Sea", "Ocean", "Lake", "River"],
    "room": ["Floor", "Parquet", "Ground"], "blocks": ["Floor", "Table", "Backdrop"],
}  # fmt: skip
CALLED = {
    scenes.BRICK: ["House", "Building", "Wall", "Factory", "Chimney", "Tower"],
    scenes.STONE: ["Rock", "Boulder", "Stone", "Cliff", "Ruin"],
    scenes.WOOD: ["Cabin", "Hut", "Crate", "Barrel", "Table", "Fence", "Door", "Bench", "Shelf", "Plank"],
    scenes.GLASS: ["Tower", "Office", "Skyscraper", "Glass"],
    scenes.LEAVES: ["Tree", "Leaves", "Foliage", "Bush", "Hedge", "Pine", "Crown"],
    scenes.TILES: ["Roof", "RoofTop", "House_Roof"],
    scenes.COBBLES: ["Quay", "Pavement", "Cobbles", "Path", "Square"],
    scenes.CHECKER: ["Rug", "Floor", "Picture", "Board"],
}  # fmt: skip


def finish(shape: Shape) -> int:
    """The row of FINISHES that a shape wears; UNKNOWN of what glows."""
    if shape.pattern == scenes.GLOWING:
        return UNKNOWN
    if shape.pattern == scenes.PLAIN and shape.gloss > 0.85 and max(shape.colour) < 0.2:
        return finishes.ROWS.index("dark glass")
    return finishes.nearest(FAMILY[shape.pattern], shape.colour)


def name(shape: Shape, brief: Brief, rng: np.random.Generator) -> str:
    """What an artist may have called it; half are called after nothing."""
    options = [shape.name] if shape.name else CALLED.get(shape.pattern) or _plain(shape)
    if shape.kind == "ground":
        options = CALLED[scenes.COBBLES] if shape.pattern == scenes.COBBLES else GROUNDS[brief.place]
    elif shape.kind == "cone" and shape.pattern == scenes.STONE:
        options = ["Mountain", "Peak", "Rock"]
    elif shape.kind == "cone" and shape.pattern == scenes.WOOD:
        options = ["Trunk", "Mast", "Pole", "Post"]
    elif shape.windows:
        options = ["House", "Building", "Facade", "Wall", "Tower"]
    if rng.random() < NAMELESS:
        options = list(GENERIC)
    return f"{options[rng.integers(len(options))]}.{int(rng.integers(1000)):03d}"


def _plain(shape: Shape) -> list[str]:
    if shape.inside:
        return ["Room", "Walls", "Interior"]
    return {"cone": ["Lamppost", "Pole", "Pillar"], "ellipsoid": ["Ball", "Boat", "Vase", "Hull"]}.get(
        shape.kind, ["Box", "Block", "Wall", "Body"]
    )


def of_scene(scene: Scene, objects: list[int], brief: Brief, rng: np.random.Generator) -> tuple[list[int], list[str]]:
    """Finishes and names of the shapes that values of the index pass stand for."""
    ground = Shape("ground", (0, 0, 0), (0, 0, 0), scene.ground or (0, 0, 0), scene.ground_pattern)
    first = scenes.FIRST_INDEX
    shapes = [scene.shapes[value - first] if value >= first else ground for value in objects]
    return [finish(shape) for shape in shapes], [name(shape, brief, rng) for shape in shapes]
