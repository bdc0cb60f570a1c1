"""Another hour of the scene's own light, for training clips: its suns turned together, its sky and lamps stronger or
weaker. Runs only in a background Blender, before the scene's facts are read: they tell the light that is rendered."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from mathutils import Matrix

from . import compat, facts, lacking

HEIGHT = (8.0, 72.0)  # degrees of the sun above the horizon
STRENGTH = 0.35  # deviation of the logarithm: a sun is mostly 0.7 to 1.4 times as strong
WARM = np.array([1.0, 0.62, 0.32])  # what a sun on the horizon leaves of its colour
WARM_BELOW = 25.0  # degrees
PLAIN_SKY = (0.62, 0.68, 0.75)  # scene-linear


def draw(rng: np.random.Generator) -> dict[str, Any]:
    """A random hour, as JSON: where the sun stands, in degrees, and how much stronger suns, lamps and sky are."""
    azimuth, height = round(float(rng.uniform(-180, 180)), 2), round(float(rng.uniform(*HEIGHT)), 2)
    suns, lamps, sky = np.exp(rng.normal(0, STRENGTH, 3)).round(3).tolist()
    return {"azimuth": azimuth, "height": height, "suns": suns, "lamps": lamps, "sky": sky}


def apply(scene: Any, layer: Any, hour: dict[str, Any]) -> None:
    """The scene's light at that hour. What the scene lacks is not added."""
    lights = [thing for thing in scene.objects if thing.type == "LIGHT" and not thing.hide_render]
    suns = [light for light in lights if light.data.type == "SUN"]
    if suns:
        turn_suns(suns, hour["azimuth"], hour["height"])
    strengthen(suns, hour["suns"])
    strengthen([light for light in lights if light not in suns], hour["lamps"])
    strengthen_sky(scene, hour["sky"], hour["azimuth"], hour["height"])
    layer.update()


def stand_in(scene: Any) -> list[str]:
    """A plain sky where the world's picture is missing, which would light everything in magenta; a sentence for it."""
    tree = scene.world and compat.shader_tree(scene.world)
    pictures = [node for node in tree.nodes if node.type in ("TEX_ENVIRONMENT", "TEX_IMAGE")] if tree else []
    lost = [n for n in pictures if n.image and lacking.is_missing(n.image) and n.outputs["Color"].links]
    for node in lost:
        plain = tree.nodes.new("ShaderNodeRGB")
        plain.outputs[0].default_value = (*PLAIN_SKY, 1.0)
        for link in list(node.outputs["Color"].links):
            tree.links.new(plain.outputs[0], link.to_socket)
    return [f"A plain sky stands in for the missing picture {lost[0].image.name}"] if lost else []


def turn_suns(suns: list[Any], azimuth: float, height: float) -> None:
    """The strongest one to that place, the others with it; warmer near the horizon."""
    main = max(suns, key=lambda sun: sun.data.energy)
    wanted = sun_matrix(azimuth, height)
    turn = wanted @ main.matrix_world.to_3x3().normalized().inverted()
    share = max(0.0, 1 - height / WARM_BELOW)
    for sun in suns:
        placed = turn @ sun.matrix_world.to_3x3().normalized()
        where = sun.matrix_world.translation.copy()
        let_go(sun)
        sun.matrix_world = Matrix.Translation(where) @ placed.to_4x4()
        colour = np.array(sun.data.color) * (1 + share * (WARM - 1))
        sun.data.color = colour.tolist()


def sun_matrix(azimuth: float, height: float) -> Matrix:
    """Rotation of a lamp, which shines along its -Z, with its +Z toward the sun."""
    return (Matrix.Rotation(math.radians(azimuth), 3, "Z") @ Matrix.Rotation(math.radians(90 - height), 3, "Y"))


def let_go(thing: Any) -> None:
    """Nothing moves it any more: no parent, constraint, driver or key."""
    thing.animation_data_clear()
    thing.parent = None
    while thing.constraints:
        thing.constraints.remove(thing.constraints[0])


def strengthen(lights: list[Any], gain: float) -> None:
    """Each lamp's data once, however many share it; a strength that is animated stays."""
    for data in {light.data for light in lights}:
        if not data.animation_data:
            data.energy *= gain


def strengthen_sky(scene: Any, gain: float, azimuth: float, height: float) -> None:
    """The world's strength, and the sun that a sky texture has of its own. A picture's sun stays where it is."""
    shader = scene.world and facts.nearest_shader(scene.world)
    if not shader:
        return
    strength = shader.inputs.get("Strength")
    if strength is not None and not strength.is_linked:
        strength.default_value *= gain
    for node in sky_textures(scene.world):
        compat.set_where_known(node, sun_elevation=math.radians(height), sun_rotation=math.radians(90 - azimuth))


def sky_textures(world: Any) -> Iterator[Any]:
    tree = compat.shader_tree(world)
    yield from (node for node in tree.nodes if node.type == "TEX_SKY") if tree else ()
