"""What the scene maker's shapes are made of and called, as `models/finishes.py` learns it: its finish and a name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..models import finishes
from . import scenes
from .scenes import Scene, Shape

UNKNOWN = -100  # of no finish: what glows tells its own colour
NAMELESS = 0.35  # share of the shapes that are called after nothing
SURPRISE = 0.15  # share of the named ones that are of something else than was built, and called after it: a name outweighs a shape
JITTER = 0.1  # of an object's facts, of which most are logarithms and shares
MATT = 0.7  # share of the scenes whose objects tell no gloss: none was given them yet
GENERIC = ("Cube", "Cylinder", "Cone", "Sphere", "Icosphere", "Plane", "Object", "Mesh", "Geometry", "part", "")
FLESH = ("Head",)  # shapes of the scene maker that are skin: nothing else is, whatever its colour
GRAIN = [name for name, made in finishes.FINISHES.items() if made.pattern == "grain"]
FAMILY = {  # pattern -> finishes that it may be
    scenes.PLAIN: [*(n for n in GRAIN if n not in ("earth", "sand", "asphalt", "water", "skin")), "iron"],
    scenes.BRICK: ["red brick", "brown brick", "pale brick"],
    scenes.STONE: ["grey stone", "tan stone"],
    scenes.WOOD: ["brown boards", "dark boards", "pale boards"],
    scenes.GLASS: ["glass"], scenes.LEAVES: ["leaves"], scenes.WATER: ["water"], scenes.COBBLES: ["cobbles"],
    scenes.GROUND: ["grass", "earth", "sand", "asphalt"],
    scenes.TILES: ["red tiles", "slate", "pale tiles"],
    scenes.CHECKER: ["red tiles", "slate", "pale tiles"],
}  # fmt: skip
NAMED = {  # finish -> what artists call things that wear it, in the words of their outliners
    "brick": "House Building Wall Factory Chimney Tower Brick BrickWall Bricks Warehouse Mill School Station Bridge Arch",
    "stone": "Rock Boulder Stone Cliff Ruin StoneWall Castle Church Cathedral Statue Stairs Steps Monument Tomb Temple Column"
    " Well Church_Tower Bell_Tower Tower Fountain Kerb Gravestone Fort Pillar Sidewalk Paving",
    "boards": "Cabin Hut Crate Barrel Table Fence Door Bench Shelf Plank Barn Shed Deck Pier Chair Cupboard Wardrobe Beam"
    " Gate Wood Wooden Log Parquet Bookcase Desk Stool Ladder Boat WoodFloor Bed Pallet Shack Jetty Chest Cart Cartwheel Trunk Box Post",
    "glass": "Glass Window Skyscraper Office Greenhouse Pane Windows Tower Vitrine GlassWall Aquarium Bottle",
    "dark glass": "Window Windscreen Windshield Screen Monitor TV Windows Visor Lens",
    "plaster": "House Wall Walls Room Villa Cottage Chapel Church Church_Tower Ceiling Plaster Building Facade Interior Hotel Home Apartment",
    "leaves": "Tree Leaves Foliage Bush Hedge Pine Crown Oak Birch Fir Shrub Canopy Treetop Plant Ivy Spruce Maple Palm"
    " Cypress Trees Willow Conifer Leaf Bushes Fern",
    "grass": "Ground Grass Field Meadow Terrain Lawn Park Garden Hill Landscape Hills Pasture Turf Yard",
    "earth": "Ground Terrain Soil Dirt Mud ForestFloor Earth Track Landscape Trail Field",
    "sand": "Sand Dunes Desert Terrain Beach Dune Shore Ground Coast Island",
    "asphalt": "Road Street Pavement Asphalt Highway Lane Parking Runway Tarmac Driveway Crossroad Motorway Kerb",
    "cobbles": "Quay Pavement Cobbles Path Square Plaza Courtyard Sidewalk Alley Cobblestones Promenade Street Footpath",
    "water": "Water Sea Ocean Lake River Pond Canal Pool Harbour Stream Sea_Surface Lagoon",
    "tiles": "Roof RoofTop House_Roof Roofs RoofTiles Dormer Tiles Gable Church_Roof Tower_Roof Spire",
    "slate": "Roof RoofTop House_Roof Roofs Slate Church_Roof Tower_Roof Hip_Roof Spire Steeple Gable",
    "iron": "Lamppost Pole Railing Pipe Antenna Iron Metal StreetLamp Girder IronFence Crane Lantern Rail Post",
    "skin": "Head Face Hand Arm Neck Hands",
    "paint": "Ball Box Block Vase Hull Body Toy Balloon Cup Sign Car Container Boat Van Bus Truck Chair Lamp",
    "black paint": "Wheel Tyre Tire Wheels Stove Car Piano Box Screen Handle",
    "white paint": "Fridge Bathtub Sail Sink Cabinet Plate Radiator Wall Door",
}  # fmt: skip
BY_KIND = {  # (kind, pattern) -> the same where its form says more
    ("ground", scenes.BRICK): "Floor Ground Patio", ("ground", scenes.STONE): "Ground Floor Rock Terrain Cliff",
    ("ground", scenes.WOOD): "Floor Parquet Floorboards Deck WoodFloor Stage", ("ground", scenes.PLAIN): "Floor Table Backdrop Ground Studio",
    ("ground", scenes.TILES): "Floor Tiles Bathroom_Floor Kitchen_Floor", ("ground", scenes.CHECKER): "Floor Table Tiles Backdrop",
    ("cone", scenes.STONE): "Mountain Peak Rock Summit Mountains", ("cone", scenes.WOOD): "Trunk Mast Pole Post Tree_Trunk Stem Log",
}  # fmt: skip


UNDERFOOT = ("grass", "earth", "sand", "asphalt", "cobbles", "water", "grey stone", "brown boards")  # for what faces up


def finish(shape: Shape) -> int:
    """The row of FINISHES that a shape wears; UNKNOWN of what glows."""
    if shape.pattern == scenes.GLOWING:
        return UNKNOWN
    if shape.pattern == scenes.PLAIN and shape.gloss > 0.85 and max(shape.colour) < 0.2:
        return finishes.ROWS.index("dark glass")
    if shape.name in FLESH:
        return finishes.ROWS.index("skin")
    return finishes.nearest(FAMILY[shape.pattern], shape.colour)


def names(called: Sequence[Sequence[str]], rng: np.random.Generator) -> list[str]:
    """What an artist has called some objects this time; some are called after nothing."""
    chosen = [GENERIC if rng.random() < NAMELESS else options for options in called]
    return [options[int(rng.integers(len(options)))] for options in chosen]


def surprises(
    facts: Tensor, names: Sequence[str], finish: Tensor, rng: np.random.Generator
) -> tuple[Tensor, list[str], Tensor]:
    """The same objects, some of which are of something else, and called so: a lawn where the street was."""
    facts, names, finish = facts.clone(), list(names), finish.clone()
    for i, name in enumerate(names):
        if name not in GENERIC and finish[i] != UNKNOWN and rng.random() < SURPRISE:
            any_of = UNDERFOOT if facts[i, finishes.UP] > 0.9 else finishes.ROWS
            worn = str(rng.choice(any_of))
            options = names_of(worn)
            names[i], finish[i] = options[int(rng.integers(len(options)))], finishes.ROWS.index(worn)
            facts[i, finishes.GLOSS] = 0
    return facts, names, finish


def names_of(worn: str) -> list[str]:
    """What things of a finish are called."""
    return (NAMED.get(worn) or NAMED[worn.split()[-1]]).split()


def jittered(facts: Tensor, rng: np.random.Generator) -> Tensor:
    """Facts (N, FACTS) a little off, as another artist's object of the kind would have them."""
    out = facts + torch.from_numpy(rng.normal(0, JITTER, tuple(facts.shape))).float()
    out[:, finishes.GLOSS] *= float(rng.random() >= MATT)
    return out


def called(shape: Shape) -> list[str]:
    """The names that tell something of a shape."""
    worn = finish(shape)
    if shape.name or worn == UNKNOWN:
        return [shape.name or "Lamp"]
    own = BY_KIND.get((shape.kind, shape.pattern)) or " ".join(names_of(finishes.ROWS[worn]))
    if shape.inside and shape.kind != "ground":
        own = "Room Walls Interior Wall"
    elif shape.windows and shape.pattern != scenes.GLASS:
        own += " House Building Facade Wall Tower"
    return own.split()


def of_scene(scene: Scene, objects: list[int]) -> tuple[list[int], tuple[tuple[str, ...], ...]]:
    """Finishes of the shapes that values of the index pass stand for, and what each may be called."""
    ground = Shape("ground", (0, 0, 0), (0, 0, 0), scene.ground or (0, 0, 0), scene.ground_pattern)
    first = scenes.FIRST_INDEX
    shapes = [scene.shapes[value - first] if value >= first else ground for value in objects]
    return [finish(shape) for shape in shapes], tuple(tuple(called(shape)) for shape in shapes)
