"""The surfaces of the demo scenes: brick, plaster, wood, tiles, cobbles, grass. UVs are metres, patterns are nodes."""

from __future__ import annotations

import bpy

from .nodes import Colour, Tree, hexa


def material(name: str) -> tuple[bpy.types.Material, Tree]:
    made = bpy.data.materials.new(name)
    return made, Tree(made)


def scaled(colour: Colour, by: float) -> Colour:
    r, g, b = colour
    return r * by, g * by, b * by


def brick(name: str, light: str = "#b4644a", dark: str = "#8a4232", mortar: str = "#b9aa98") -> bpy.types.Material:
    made, t = material(name)
    uv = t.coordinates()
    wall = t.brick(uv, 0.42, 0.15, light, dark, mortar, 0.012)
    stains = t.ramp(t.noise(uv, 0.7, 2), (0.3, (0.62, 0.6, 0.6)), (0.65, (1.08, 1.05, 1.0)))
    t.surface(Base_Color=t.mix(1.0, wall.outputs["Color"], stains, "MULTIPLY"), Roughness=0.9)
    return made


def plaster(name: str, colour: str) -> bpy.types.Material:
    """Lime wash: clouds of shade, darker towards the ground."""
    made, t = material(name)
    base = hexa(colour)
    uv = t.coordinates()
    clouds = t.ramp(t.noise(uv, 0.9, 3, 0.62), (0.32, scaled(base, 0.62)), (0.5, base), (0.7, scaled(base, 1.12)))
    damp = t.ramp(t.axis(uv, "Y"), (0.0, (0.55, 0.52, 0.48)), (0.9, (1.0, 1.0, 1.0)))
    t.surface(Base_Color=t.mix(0.75, clouds, t.mix(1.0, clouds, damp, "MULTIPLY")), Roughness=0.92)
    return made


def wood(name: str, colour: str, board: float = 0.0) -> bpy.types.Material:
    """Grain along V; `board` metres wide boards, or none."""
    made, t = material(name)
    base = hexa(colour)
    uv = t.coordinates()
    grain = t.noise(t.coordinates(scale=(14.0, 1.1, 1.0)), 1.6, 3, 0.65)
    tone = t.ramp(grain, (0.28, scaled(base, 0.55)), (0.5, base), (0.75, scaled(base, 1.25)))
    if board:
        boards = t.brick(uv, board, 400.0, (1.0, 1.0, 1.0), (0.72, 0.7, 0.68), (0.16, 0.13, 0.1), 0.008, offset=0.0)
        tone = t.mix(1.0, tone, boards.outputs["Color"], "MULTIPLY")
    t.surface(Base_Color=tone, Roughness=0.6)
    return made


def planks(name: str, colour: str) -> bpy.types.Material:
    """A floor: long boards along V, each with its own tone and grain, half-shine."""
    made, t = material(name)
    base = hexa(colour)
    turned = t.coordinates(rotation=(0.0, 0.0, 1.5707963))
    boards = t.brick(turned, 1.7, 0.17, scaled(base, 1.15), scaled(base, 0.7), scaled(base, 0.12), 0.006, offset=0.37)
    grain = t.ramp(
        t.noise(t.coordinates(scale=(16.0, 1.2, 1.0)), 2.0, 3, 0.6), (0.3, (0.62, 0.56, 0.5)), (0.62, (1.1, 1.08, 1.05))
    )
    t.surface(Base_Color=t.mix(0.85, boards.outputs["Color"], t.mix(1.0, boards.outputs["Color"], grain, "MULTIPLY")))
    t.surface(Roughness=0.38)
    return made


def tiles(name: str, light: str, dark: str) -> bpy.types.Material:
    """Roof tiles in courses up the slope; each course is darker where the next one lies over it."""
    made, t = material(name)
    uv = t.coordinates()
    courses = t.brick(uv, 0.34, 0.3, light, dark, scaled(hexa(dark), 0.35), 0.012)
    rise = t.math("FRACT", t.math("DIVIDE", t.axis(uv, "Y"), 0.3))
    shade = t.ramp(rise, (0.0, (0.95, 0.95, 0.95)), (0.7, (1.0, 1.0, 1.0)), (1.0, (0.45, 0.43, 0.42)))
    moss = t.ramp(t.noise(uv, 0.8, 2, 0.6), (0.5, (1.0, 1.0, 1.0)), (0.72, (0.62, 0.7, 0.5)))
    toned = t.mix(1.0, courses.outputs["Color"], shade, "MULTIPLY")
    t.surface(Base_Color=t.mix(1.0, toned, moss, "MULTIPLY"), Roughness=0.85)
    return made


def stones(name: str, light: str, dark: str, joint: str, size: float, stretch: float = 1.0) -> bpy.types.Material:
    """Cobbles or rubble: rounded cells of about `size` metres, each of its own tone."""
    made, t = material(name)
    vector = t.coordinates(scale=(1.0, stretch, 1.0))
    cell = t.axis(t.voronoi(vector, 1 / size, output="Color"), "X")
    tone = t.ramp(cell, (0.0, dark), (1.0, light))
    edge = t.voronoi(vector, 1 / size, "DISTANCE_TO_EDGE")
    inside = t.ramp(edge, (0.02, (0.0, 0.0, 0.0)), (0.12, (1.0, 1.0, 1.0)))
    wear = t.ramp(t.noise(vector, 0.35, 1), (0.35, (0.75, 0.73, 0.7)), (0.65, (1.1, 1.1, 1.1)))
    t.surface(Base_Color=t.mix(1.0, t.mix(inside, joint, tone), wear, "MULTIPLY"), Roughness=0.8)
    return made


def grass(name: str = "Grass") -> bpy.types.Material:
    made, t = material(name)
    where = t.coordinates("Object")
    patches = t.ramp(t.noise(where, 0.16, 2), (0.34, "#3f5c26"), (0.5, "#6b8a3a"), (0.68, "#a39b55"))
    blades = t.ramp(t.noise(where, 5.0, 2, 0.7), (0.3, (0.55, 0.58, 0.5)), (0.66, (1.2, 1.18, 1.05)))
    t.surface(Base_Color=t.mix(1.0, patches, blades, "MULTIPLY"), Roughness=0.95)
    return made


def leaves(name: str, dark: str, middle: str, light: str, scale: float = 4.0) -> bpy.types.Material:
    made, t = material(name)
    where = t.coordinates("Object")
    clumps = t.axis(t.voronoi(where, scale, output="Color"), "Y")
    t.surface(Base_Color=t.ramp(clumps, (0.1, dark), (0.55, middle), (0.95, light)), Roughness=0.85)
    return made


def rock(name: str, light: str, dark: str, scale: float = 0.3) -> bpy.types.Material:
    made, t = material(name)
    where = t.coordinates("Object", scale=(1.0, 1.0, 2.4))
    t.surface(Base_Color=t.ramp(t.noise(where, scale, 4, 0.65), (0.3, dark), (0.7, light)), Roughness=0.95)
    return made


def water(name: str = "Sea") -> bpy.types.Material:
    made, t = material(name)
    where = t.coordinates("Object", scale=(1.0, 2.2, 1.0))
    swell = t.noise(where, 0.25, 2, 0.6)
    t.surface(Base_Color=t.ramp(swell, (0.35, "#17414f"), (0.62, "#2f7583"), (0.75, "#7fb4b4")), Roughness=0.12)
    return made


def plain(name: str, colour: str, roughness: float = 0.7, metallic: float = 0.0) -> bpy.types.Material:
    made, t = material(name)
    t.surface(Base_Color=colour, Roughness=roughness, Metallic=metallic)
    return made


def glass(name: str = "Window glass", tint: str = "#2b3a44") -> bpy.types.Material:
    """A dark pane that mirrors the sky, as windows look by day."""
    return plain(name, tint, roughness=0.06)


def glow(name: str, colour: str, strength: float) -> bpy.types.Material:
    made, t = material(name)
    t.surface(Base_Color=colour, Emission_Color=colour, Emission_Strength=strength, Roughness=0.5)
    return made


def stripes(name: str, colours: tuple[str, ...], across: str = "Z", count: float = 3.0) -> bpy.types.Material:
    """Bands in object space: a rolling ball has to show that it rolls."""
    made, t = material(name)
    where = t.math("FRACT", t.math("MULTIPLY", t.axis(t.coordinates("Object"), across), count))
    stops = tuple((i / len(colours), colour) for i, colour in enumerate(colours))
    t.surface(Base_Color=t.ramp(where, *stops, constant=True), Roughness=0.35)
    return made


def fabric(name: str, colour: str, thread: float = 0.02) -> bpy.types.Material:
    """Woven cloth: a fine check and soft folds of shade."""
    made, t = material(name)
    base = hexa(colour)
    uv = t.coordinates()
    weave = t.brick(uv, thread * 2, thread, scaled(base, 1.1), scaled(base, 0.82), scaled(base, 0.6), thread * 0.08)
    folds = t.ramp(t.noise(uv, 2.2, 3), (0.3, (0.8, 0.8, 0.8)), (0.7, (1.1, 1.1, 1.1)))
    t.surface(Base_Color=t.mix(1.0, weave.outputs["Color"], folds, "MULTIPLY"), Roughness=0.95)
    return made


def wallpaper(name: str, ground: str, figure: str) -> bpy.types.Material:
    """Broad stripes with a small sprig."""
    made, t = material(name)
    uv = t.coordinates()
    stripe = t.math("FRACT", t.math("MULTIPLY", t.axis(uv, "X"), 2.5))
    paper = t.ramp(stripe, (0.0, ground), (0.5, scaled(hexa(ground), 0.8)), constant=True)
    dots = t.ramp(t.voronoi(t.coordinates(scale=(5.0, 5.0, 1.0)), 1.0), (0.14, (1.0, 1.0, 1.0)), (0.2, (0.0, 0.0, 0.0)))
    t.surface(Base_Color=t.mix(t.math("MULTIPLY", dots, 0.75), paper, figure), Roughness=0.9)
    return made


def rug(name: str, field: str, border: str, figure: str) -> bpy.types.Material:
    """Diamonds: the two diagonals' stripes laid over each other."""
    made, t = material(name)
    uv = t.coordinates()
    x, y = t.axis(uv, "X"), t.axis(uv, "Y")
    one = t.math("FRACT", t.math("MULTIPLY", t.math("ADD", x, y), 1.6))
    two = t.math("FRACT", t.math("MULTIPLY", t.math("SUBTRACT", x, y), 1.6))
    diamonds = t.math("ADD", t.math("GREATER_THAN", one, 0.5), t.math("GREATER_THAN", two, 0.5))
    tone = t.ramp(t.math("DIVIDE", diamonds, 2.0), (0.0, field), (0.4, border), (0.9, figure), constant=True)
    pile = t.ramp(t.noise(uv, 18.0, 2), (0.3, (0.75, 0.75, 0.75)), (0.7, (1.1, 1.1, 1.1)))
    t.surface(Base_Color=t.mix(1.0, tone, pile, "MULTIPLY"), Roughness=1.0)
    return made


def globe(name: str = "Globe") -> bpy.types.Material:
    """Seas and invented lands."""
    made, t = material(name)
    where = t.coordinates("Object")
    land = t.noise(where, 7.0, 4)
    t.surface(
        Base_Color=t.ramp(land, (0.0, "#2f6288"), (0.5, "#4f86a3"), (0.52, "#b59a5a"), (0.62, "#6f8a45")), Roughness=0.3
    )
    return made


def painting(name: str, seed: float, sky: str, far: str, near: str) -> bpy.types.Material:
    """A landscape in oil: bands of sky, hills and field with a wavering edge."""
    made, t = material(name)
    uv = t.coordinates()
    brush = t.math("MULTIPLY", t.noise(uv, 2.3 + seed, 3), 0.5)
    height = t.math("ADD", t.axis(uv, "Y"), t.math("ADD", brush, 0.27))
    bands = t.ramp(
        height, (0.0, near), (0.3, far), (0.48, scaled(hexa(far), 1.6)), (0.52, sky), (1.0, scaled(hexa(sky), 0.6))
    )
    t.surface(Base_Color=bands, Roughness=0.55)
    return made
