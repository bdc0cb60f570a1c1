"""The scene in words' reach: objects, materials, lights, world, lens and camera move, as the `scene` of job.json.

Reads the scene as it stands at its current frame and never changes the frame; what needs other frames comes from the
camera path, as arrays. Everything returned is JSON, of bounded size. Knows nothing of prompts: it states, others tell.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from . import compat
from .moves import camera_move
from .plan import Plan

if TYPE_CHECKING:
    import bpy

__all__ = ("camera_facts", "camera_move", "colour_word", "facts", "seen")

MOST_OBJECTS = 200  # the most prominent ones; a caption names a handful
MOST_LIGHTS = 32
MOST_MATERIALS = 8  # of one object
SOLID = frozenset({"MESH", "CURVE", "SURFACE", "META", "FONT", "CURVES", "POINTCLOUD", "VOLUME", "GPENCIL",
                   "GREASEPENCIL"})
OBLONG = ("RECTANGLE", "ELLIPSE")  # area lamps of two sides
TRANSFORMS = ("location", "rotation", "scale", "delta_")
DEFORMERS = frozenset({"ARMATURE", "CLOTH", "SOFT_BODY", "FLUID", "OCEAN", "WAVE", "MESH_SEQUENCE_CACHE", "BUILD",
                       "EXPLODE", "DYNAMIC_PAINT", "PARTICLE_SYSTEM", "MESH_CACHE", "HOOK", "SURFACE_DEFORM"})
FULL_FRAME = 36.0  # mm: the film that focal lengths are thought of on


def facts(scene: bpy.types.Scene, plan: Plan) -> dict[str, Any]:
    """What the plan's view layer shows, at the scene's current frame. `seen` narrows it to the camera's path."""
    layer = scene.view_layers[plan.view_layer]
    shown = list(_shown(scene, layer.layer_collection))
    things, left_out = _objects(shown, scene, plan)
    lights = _lights(obj for obj, _ in shown)
    world = _world(scene.world)
    return {
        "name": scene.name,
        "scale_length": _number(scene.unit_settings.scale_length),  # metres per unit; matrices stay in units
        "view_transform": scene.view_settings.view_transform,
        "exposure": _number(scene.view_settings.exposure),
        "objects": things, "objects_left_out": left_out,
        "materials": _materials(things),
        "lights": lights, "sun": _sun(lights), "world": world,
        "cameras": [_lens(scene.objects[name].data) | {"name": name}
                    for name in dict.fromkeys(plan.cameras) if name in scene.objects],
    }


# --- what other frames tell, as arrays ----------------------------------------------------------------------------


def camera_facts(plan: Plan, c2w: np.ndarray, K: np.ndarray, metres: float | None = None) -> list[dict[str, Any]]:
    """Per camera of the shot, in order: its frames, its lens on 36 mm film, its move in words."""
    ends = [*plan.cuts[1:], len(plan.frames)]
    return [{"name": plan.cameras[a], "frames": [plan.frames[a], plan.frames[b - 1]],
             "lens_mm": _lens_range(K[a:b], plan.crop[2]), "move": camera_move(c2w[a:b], K[a:b], metres)}
            for a, b in zip(plan.cuts, ends)]


def _lens_range(K: np.ndarray, width: int) -> list[float]:
    lens = K[:, 0, 0] / width * FULL_FRAME
    return [round(float(lens.min()), 1), round(float(lens.max()), 1)]


def seen(found: dict[str, Any], c2w: np.ndarray, K: np.ndarray, size: tuple[int, int]) -> dict[str, Any]:
    """The same facts, with only those objects whose bounds come into the path's view, the most prominent first.

    An object that moves by itself is kept wherever it is: its bounds are those of one frame.
    """
    shares = [_share(thing, c2w, K, size) for thing in found["objects"]]
    order = sorted(range(len(shares)), key=lambda i: -shares[i])
    kept = [found["objects"][i] for i in order if shares[i] > 0 or found["objects"][i]["moving"]]
    return found | {"objects": kept, "materials": _materials(kept)}


def _share(thing: dict[str, Any], c2w: np.ndarray, K: np.ndarray, size: tuple[int, int]) -> float:
    """The most of the picture's width that the object's bounding sphere takes up in a frame; 0 where it is never in."""
    local = np.einsum("fi,fij->fj", np.array(thing["centre"]) - c2w[:, :3, 3], c2w[:, :3, :3])
    depth = np.maximum(local[:, 2], 1e-9)
    radius = thing["radius"]
    reach = radius * np.stack([K[:, 0, 0], K[:, 1, 1]], -1) / depth[:, None]
    uv = local[:, :2] / depth[:, None] * np.stack([K[:, 0, 0], K[:, 1, 1]], -1) + K[:, :2, 2]
    inside = ((uv + reach > 0) & (uv - reach < np.array(size))).all(-1) & (local[:, 2] > -radius)
    around = np.linalg.norm(local, axis=-1) <= radius
    share = np.where(inside, np.minimum(2 * reach[:, 0] / size[0], 1), 0)
    return float(np.where(around, 1.0, share).max())


# --- objects ------------------------------------------------------------------------------------------------------


def _shown(scene: bpy.types.Scene, layer: bpy.types.LayerCollection) -> Iterator[tuple[bpy.types.Object, str]]:
    """(object, its collection's name), once each: what the view layer renders, the background set's too."""
    met = set()
    for collection in _collections(layer):
        for obj in collection.objects:
            if obj.name_full not in met and not obj.hide_render:
                met.add(obj.name_full)
                yield obj, collection.name
    if scene.background_set:
        behind = scene.background_set
        yield from ((obj, name) for obj, name in _shown(behind, behind.view_layers[0].layer_collection)
                    if obj.name_full not in met)


def _collections(layer: bpy.types.LayerCollection) -> Iterator[bpy.types.Collection]:
    """Depth first, so that an object's innermost collection names it."""
    if layer.collection.hide_render:
        return
    for child in layer.children:
        yield from _collections(child)
    if not layer.exclude:
        yield layer.collection


def _objects(shown: Sequence[tuple[bpy.types.Object, str]], scene: bpy.types.Scene, plan: Plan,
             ) -> tuple[list[dict[str, Any]], int]:
    """The most prominent things as seen from the first camera where it stands now, and how many were left out."""
    camera: bpy.types.Object | None = scene.objects.get(plan.cameras[0])
    eye = np.array(camera.matrix_world.translation if camera else (0, 0, 0), np.float64)
    bounded = [(obj, name, *box) for obj, name in shown if (box := bounds(obj))]
    bounded.sort(key=lambda item: -item[3] / max(float(np.linalg.norm(item[2] - eye)), 1e-6))
    metres = scene.unit_settings.scale_length
    things = [_object(*item, metres) for item in bounded[:MOST_OBJECTS]]
    return things, len(bounded) - len(things)


def _object(obj: bpy.types.Object, collection: str, centre: np.ndarray, radius: float, size: np.ndarray,
            metres: float) -> dict[str, Any]:
    materials = list(islice(_object_materials(obj), MOST_MATERIALS))
    return {"name": obj.name, "collection": obj.instance_collection.name if _is_instance(obj) else collection,
            "type": obj.type.lower(), "size_m": _numbers(size * metres), "centre": _numbers(centre),
            "radius": _number(radius), "moving": is_moving(obj), "materials": [_material(m) for m in materials]}


def _is_instance(obj: bpy.types.Object) -> bool:
    return obj.type == "EMPTY" and obj.instance_type == "COLLECTION" and obj.instance_collection is not None


def _object_materials(obj: bpy.types.Object) -> Iterator[bpy.types.Material]:
    """Each once, in slot order; of an instanced collection, those of its members."""
    members = obj.instance_collection.all_objects if _is_instance(obj) else (obj,)
    yield from dict.fromkeys(slot.material for member in members for slot in member.material_slots if slot.material)


def bounds(obj: bpy.types.Object) -> tuple[np.ndarray, float, np.ndarray] | None:
    """(centre, radius, size along the world's axes) in units; None for what has no surface."""
    if _is_instance(obj):
        offset = np.array(obj.instance_collection.instance_offset, np.float64)
        inner = [_corners(member) - offset for member in obj.instance_collection.all_objects if member.type in SOLID]
        corners = np.concatenate(inner) if inner else np.empty((0, 3))
        corners = _transformed(corners, obj)
    else:
        corners = _corners(obj) if obj.type in SOLID else np.empty((0, 3))
    if not len(corners) or not np.isfinite(corners).all():
        return None
    low, high = corners.min(0), corners.max(0)
    return (low + high) / 2, float(np.linalg.norm(high - low) / 2), high - low


def _corners(obj: bpy.types.Object) -> np.ndarray:
    return _transformed(np.array([tuple(corner) for corner in obj.bound_box], np.float64), obj)


def _transformed(points: np.ndarray, obj: bpy.types.Object) -> np.ndarray:
    matrix = np.array(obj.matrix_world, np.float64)
    return points @ matrix[:3, :3].T + matrix[:3, 3]


# --- motion -------------------------------------------------------------------------------------------------------


def is_moving(obj: bpy.types.Object | None, depth: int = 0) -> bool:
    """Whether anything about the object or what it hangs on is set to change over time; no frame is looked at."""
    if obj is None or depth > 32:
        return False
    shape = getattr(obj.data, "shape_keys", None)
    return (_is_animated(obj, TRANSFORMS) or (shape is not None and _is_animated(shape))
            or any(_constrains(c, depth) for c in obj.constraints)
            or any(m.show_render and m.type in DEFORMERS for m in obj.modifiers)
            or (obj.rigid_body is not None and obj.rigid_body.type == "ACTIVE" and obj.rigid_body.enabled)
            or is_moving(obj.parent, depth + 1))


def _constrains(constraint: bpy.types.Constraint, depth: int) -> bool:
    if constraint.mute or constraint.influence == 0:
        return False
    target = getattr(constraint, "target", None)
    return constraint.type in ("FOLLOW_PATH", "TRANSFORM_CACHE") or is_moving(target, depth + 1)


def _is_animated(owner: Any, paths: Sequence[str] = ("",)) -> bool:
    """Whether an F-curve, driver or NLA track changes one of these properties."""
    data = owner.animation_data
    if data is None:
        return False
    curves = [*compat.fcurves(owner), *data.drivers]
    changes = any(curve.data_path.startswith(tuple(paths)) and _varies(curve) for curve in curves)
    return changes or any(not track.mute and track.strips for track in data.nla_tracks)


def _varies(curve: bpy.types.FCurve) -> bool:
    if curve.driver or len(curve.modifiers):
        return True
    return len({round(key.co[1], 6) for key in curve.keyframe_points}) > 1


# --- materials ----------------------------------------------------------------------------------------------------


def _materials(things: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every material of these objects once."""
    return list({m["name"]: m for thing in things for m in thing["materials"]}.values())


def _material(material: bpy.types.Material) -> dict[str, Any]:
    """Name, colour in words and numbers (scene-linear), finish, and the image that colours it."""
    shader = nearest_shader(material)
    if shader is None:
        viewport: Any = material.diffuse_color
        colour, image, finish = list(viewport[:3]), None, "plain"
    else:
        colour, image = _colour(shader)
        finish = _finish(shader)
    return {"name": material.name, "colour": colour_word(colour) if colour else None,
            "rgb": _numbers(colour) if colour else None, "finish": finish, "image": image}


UNTOUCHED = (0.8, 0.8, 0.8)  # the colour of a material that nobody changed
PLAIN_INPUTS = {"Metallic": 0.0, "Alpha": 1.0, "Transmission Weight": 0.0}  # of its shader


def is_bare(obj: bpy.types.Object) -> bool:
    """Whether nobody said yet what an object is made of: it has no material, or none that was ever changed."""
    return all(_is_untouched(material) for material in _object_materials(obj))


def _is_untouched(material: bpy.types.Material) -> bool:
    shader = nearest_shader(material)
    if shader is None:
        viewport: Any = material.diffuse_color
        return compat.shader_tree(material) is None and _is_default(viewport)
    if shader.type != "BSDF_PRINCIPLED" or any(socket.is_linked for socket in shader.inputs):
        return False
    own = {socket.name: socket.default_value for socket in shader.inputs if hasattr(socket, "default_value")}
    glows = own["Emission Strength"] > 0 and any(own["Emission Color"][:3])
    same = all(abs(own[name] - value) < 1e-6 for name, value in PLAIN_INPUTS.items())
    return same and not glows and _is_default(own["Base Color"])


def _is_default(colour: Any) -> bool:
    return all(abs(float(own) - plain) < 1e-4 for own, plain in zip(colour[:3], UNTOUCHED, strict=True))


SHADERS = {  # and which of their inputs is their colour
    "BSDF_PRINCIPLED": "Base Color", "BSDF_METALLIC": "Base Color", "BSDF_DIFFUSE": "Color", "BSDF_GLOSSY": "Color",
    "BSDF_ANISOTROPIC": "Color", "BSDF_GLASS": "Color", "BSDF_REFRACTION": "Color", "EMISSION": "Color",
    "BSDF_TRANSLUCENT": "Color", "BSDF_SHEEN": "Color", "BSDF_TOON": "Color", "SUBSURFACE_SCATTERING": "Color",
    "BSDF_HAIR": "Color", "BSDF_HAIR_PRINCIPLED": "Color", "BACKGROUND": "Color"}


def nearest_shader(owner: Any) -> Any | None:
    """The shader nearest to the output of a material or world, looked for through mixes and groups."""
    tree = compat.shader_tree(owner)
    outputs = [node for node in tree.nodes if node.type in ("OUTPUT_MATERIAL", "OUTPUT_WORLD")] if tree else []
    surfaces = [node.inputs["Surface"] for node in outputs if node.is_active_output]
    return next((node for surface in surfaces for node in _upstream(surface) if node.type in SHADERS), None)


def _upstream(socket: Any, most: int = 64) -> Iterator[Any]:
    """The nodes that feed a socket, nearest first; a group's inside stands for the group."""
    waiting: list[Any] = [socket]
    met: set[int] = set()
    while waiting and len(met) < most:
        links = waiting.pop(0).links
        node = links[0].from_node if links else None
        if node is None or node.as_pointer() in met:
            continue
        met.add(node.as_pointer())
        yield node
        inside = getattr(node, "node_tree", None) if node.type == "GROUP" else None
        ends = [n for n in inside.nodes if n.type == "GROUP_OUTPUT"] if inside else []
        waiting += [s for end in ends for s in end.inputs] or list(node.inputs)


def _colour(shader: Any) -> tuple[list[float] | None, str | None]:
    """(scene-linear colour, image name): one of both, or neither where a procedure makes the colour."""
    socket = shader.inputs.get(SHADERS[shader.type])
    if socket is None:
        return None, None
    if not socket.links:
        return [float(c) for c in socket.default_value[:3]], None
    feeding = list(_upstream(socket))
    if feeding[0].type == "RGB":
        return [float(c) for c in feeding[0].outputs[0].default_value[:3]], None
    image = next((n.image.name for n in feeding if n.type in ("TEX_IMAGE", "TEX_ENVIRONMENT") and n.image), None)
    return None, image


def finish(material: bpy.types.Material) -> str:
    """`_finish` of a material's shader; matt where it has none."""
    shader = nearest_shader(material)
    return _finish(shader) if shader is not None else "matt"


def is_glass(obj: bpy.types.Object) -> bool:
    """Whether an object is of glass all over."""
    materials = list(_object_materials(obj))
    return bool(materials) and all(finish(material) == "glass" for material in materials)


def _finish(shader: Any) -> str:
    """metal, glass, glowing, glossy, satin or matt: what a word can say of how light leaves it."""
    by_type = {"EMISSION": "glowing", "BSDF_GLASS": "glass", "BSDF_REFRACTION": "glass", "BSDF_METALLIC": "metal"}
    if shader.type in by_type:
        return by_type[shader.type]
    value = lambda *names: next((s.default_value for n in names if (s := shader.inputs.get(n)) and not s.links), 0.0)  # noqa: E731
    if value("Transmission Weight", "Transmission") > 0.5:
        return "glass"
    if value("Emission Strength") > 0.5 and max(value("Emission Color")[:3]) > 0.05:  # type: ignore[index]
        return "glowing"
    if value("Metallic") > 0.5:
        return "metal"
    roughness = value("Roughness") if "Roughness" in shader.inputs else 1.0
    return "glossy" if roughness < 0.2 else "satin" if roughness < 0.45 else "matt"


# --- light and lens -----------------------------------------------------------------------------------------------


def _lights(shown: Iterable[bpy.types.Object]) -> list[dict[str, Any]]:
    """The strongest first; suns, which have no distance, before all."""
    lights = [_light(obj) for obj in shown if obj.type == "LIGHT"]
    lights.sort(key=lambda light: (light["type"] != "sun", -light["energy"] * _luminance(light["rgb"])))
    return lights[:MOST_LIGHTS]


def _light(obj: bpy.types.Object) -> dict[str, Any]:
    data: Any = obj.data
    matrix, colour = np.array(obj.matrix_world, np.float64), np.array(data.color, np.float64)
    if getattr(data, "use_temperature", False):
        colour = colour * np.array(data.temperature_color, np.float64)
    toward = matrix[:3, 2] / max(float(np.linalg.norm(matrix[:3, 2])), 1e-12)  # a lamp shines along its -Z
    told = {"name": obj.name, "type": data.type.lower(), "colour": light_word(colour), "rgb": _numbers(colour),
            "energy": _number(_energy(data)), "position": _numbers(matrix[:3, 3]),
            "direction": None if data.type == "POINT" else _numbers(toward), "moving": is_moving(obj)}
    if data.type == "AREA":
        told |= {"area": _number(_area(data, matrix)), "spread": _number(data.spread)}
    if data.type == "SPOT":
        told |= {"angle": _number(data.spot_size), "blend": _number(data.spot_blend)}
    return told


def _energy(data: Any) -> float:
    """In watts (a sun's in W/m2); a portal, which only helps Cycles to sample the world, has none."""
    if data.type == "AREA" and getattr(getattr(data, "cycles", None), "is_portal", False):
        return 0.0
    return float(data.energy) * 2.0 ** float(getattr(data, "exposure", 0.0))


def _area(data: Any, matrix: np.ndarray) -> float:
    """Square units of an area lamp, as its object is scaled."""
    sides = np.linalg.norm(matrix[:3, :2], axis=0) * (data.size, data.size_y if data.shape in OBLONG else data.size)
    return float(sides.prod()) * (math.pi / 4 if data.shape in ("DISK", "ELLIPSE") else 1.0)


def _sun(lights: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The strongest sun lamp: `direction` points toward it (world), `colour` is scene-linear, `strength` in W/m²."""
    lit = [light for light in lights if light["type"] == "sun" and light["energy"] > 0]
    if not lit:
        return None
    return {"name": lit[0]["name"], "direction": lit[0]["direction"], "colour": lit[0]["rgb"],
            "strength": lit[0]["energy"]}


def sun_of_world(name: str, toward: np.ndarray, irradiance: np.ndarray) -> dict[str, Any]:
    """`_sun`, of a world whose picture holds one."""
    strength = max(float(irradiance.max()), 1e-9)
    return {"name": name, "direction": _numbers(toward), "colour": _numbers(irradiance / strength),
            "strength": _number(strength)}


def _world(world: bpy.types.World | None) -> dict[str, Any] | None:
    if world is None:
        return None
    shader = nearest_shader(world)
    if shader is None:
        plain: Any = world.color
        return {"colour": colour_word(plain), "rgb": _numbers(plain), "strength": 1.0, "image": None}
    colour, image = _colour(shader)
    socket = shader.inputs.get("Strength")
    strength = socket.default_value if socket is not None else 1.0
    return {"colour": colour_word(colour) if colour else None, "rgb": _numbers(colour) if colour else None,
            "strength": _number(strength), "image": image}


def _lens(data: Any) -> dict[str, Any]:
    return {"lens_mm": _number(data.lens), "sensor_mm": _number(data.sensor_width)}


# --- words and numbers --------------------------------------------------------------------------------------------

HUES = ((15, "red"), (42, "orange"), (68, "yellow"), (95, "lime green"), (165, "green"), (195, "cyan"), (250, "blue"),
        (285, "purple"), (325, "magenta"), (345, "pink"), (361, "red"))  # degrees, each up to


def colour_word(linear: Sequence[float]) -> str:
    """The plain name of a scene-linear colour, as an eye would say it: "dark red", "light grey", "brown"."""
    red, green, blue = (_encoded(c) for c in linear)
    hue, lightness, _ = colorsys.rgb_to_hls(red, green, blue)
    chroma = max(red, green, blue) - min(red, green, blue)
    if chroma < 0.08 or lightness < 0.06:
        return _grey_word(lightness)
    name = next(word for limit, word in HUES if hue * 360 < limit)
    if name == "orange" and (lightness < 0.38 or chroma < 0.35):
        return "beige" if lightness > 0.6 else "dark brown" if lightness < 0.2 else "brown"
    if name == "red" and lightness > 0.65:
        return "pink"
    return f"{'dark ' if lightness < 0.25 else 'light ' if lightness > 0.75 else ''}{name}"


def _grey_word(lightness: float) -> str:
    return next(word for limit, word in ((0.1, "black"), (0.33, "dark grey"), (0.65, "grey"), (0.88, "light grey"),
                                         (math.inf, "white")) if lightness < limit)


def light_word(linear: Sequence[float] | np.ndarray) -> str:
    """White light by its warmth, coloured light by its hue."""
    peak = max(*(float(c) for c in linear), 1e-9)
    red, green, blue = (float(c) / peak for c in linear)
    if min(red, green, blue) > 0.85:
        return "white"
    if red >= green >= blue and green > 0.35:
        return "warm white"
    if blue >= green >= red and red > 0.4:
        return "cold white"
    return colour_word((red, green, blue))


def _encoded(linear: float) -> float:
    """sRGB's curve, clipped."""
    c = min(max(float(linear), 0.0), 1.0)
    return 12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055


def _luminance(linear: Sequence[float]) -> float:
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _number(value: float) -> float:
    """Five significant digits; JSON has no infinity, and a fact that is none says 0."""
    value = float(value)
    return float(f"{value:.5g}") if math.isfinite(value) else 0.0


def _numbers(values: Iterable[float]) -> list[float]:
    return [_number(v) for v in values]
