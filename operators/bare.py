"""Changes the copy of the scene so that a render shows facts alone: one clean camera, no light, blur, volume or
post-processing. Runs only in the background Blender; the artist's scene is never handed to it.

What is kept as it stands: visibility, holdouts, view-layer overrides, render-level modifiers, displacement, simplify.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from . import compat, facts
from .cameras import blender_matrix, lens_of, remapped

SURFACES = {"MESH", "CURVE", "SURFACE", "META", "FONT", "CURVES", "POINTCLOUD"}
MOST_OBJECTS = 65_535  # an index is a uint16
CAMERA = "Shotlock"


def strip_down(scene: bpy.types.Scene, layer: bpy.types.ViewLayer, whole: Iterable[bpy.types.Object] = ()) -> bool:
    """Whether there is clear glass, which is looked through from now on; `whole` objects are seen themselves."""
    _plain_output(scene)
    _plain_cycles(scene)
    for other in scene.view_layers:
        other.use = other == layer
    layer.samples = 0
    layer.use_volumes = layer.use_freestyle = False
    compat.set_where_known(layer, world_override=None)
    scene.world = _dark_world()  # neither its light nor its pictures are wanted, nor its fog
    if scene.background_set:
        _without_world(scene.background_set)
    for thing in bpy.data.objects:
        _unlit(thing)
    for material in bpy.data.materials:
        _plain_material(material)
    kept = _materials_of_their_own(whole)
    clear = False
    trees = {owner: getattr(owner, "node_tree", owner) for owner in [*bpy.data.materials, *bpy.data.node_groups]}
    trees = {owner: tree for owner, tree in trees.items() if tree and tree.type == "SHADER"}
    for owner, tree in trees.items():
        _without_shader_to_rgb(tree)
        if owner != tree:
            _tell_smoothness(owner, tree, owner in kept)
    for owner, tree in trees.items():
        clear |= owner not in kept and _see_through(tree)
    for tree in trees.values():
        _decide_opacity(tree)
    see(layer, THERE)
    return clear


def _unlit(thing: bpy.types.Object) -> None:
    """Colours are asked of surfaces, not of light on them. Cycles follows every path one surface further than asked;
    with nothing to be seen there, that costs nothing. Shadows stay: ambient occlusion is what they hide of the sky."""
    if thing.type == "LIGHT" or thing.is_shadow_catcher:  # a catcher stands for ground that was filmed elsewhere
        thing.hide_render = True
    thing.visible_diffuse = thing.visible_glossy = thing.visible_transmission = False
    thing.visible_volume_scatter = False


def _dark_world() -> bpy.types.World:
    """A world without light; Cycles reads from it how far ambient occlusion looks."""
    world = bpy.data.worlds.new("Shotlock dark")
    world.use_nodes = True
    world.node_tree.nodes.clear()
    return world


def _without_world(scene: bpy.types.Scene) -> None:
    scene.world = None


def _plain_output(scene: Any) -> None:
    render = scene.render
    render.engine = "CYCLES"
    render.use_compositing = render.use_sequencer = False
    render.use_motion_blur = render.use_border = render.use_crop_to_border = False
    render.use_multiview = render.use_freestyle = render.use_stamp = False
    render.use_persistent_data = True
    render.film_transparent = True  # alpha then says how much of a pixel is surface
    render.resolution_percentage = 100


def _plain_cycles(scene: Any) -> None:
    cycles = scene.cycles
    wanted = {
        "device": "CPU", "use_denoising": False, "use_adaptive_sampling": False, "use_light_tree": False,
        "use_guiding": False, "use_layer_samples": "IGNORE", "use_auto_tile": False, "use_sample_subset": False,
        "sample_offset": 0, "time_limit": 0.0, "seed": 0, "use_animated_seed": False, "film_exposure": 1.0,
        "film_transparent_glass": False, "pixel_filter_type": "BLACKMAN_HARRIS", "filter_width": 1.5,
        "max_bounces": 0, "use_fast_gi": False, "caustics_reflective": False, "caustics_refractive": False,
        "transparent_max_bounces": max(32, cycles.transparent_max_bounces),
        "min_transparent_bounces": 1024}  # else paths end by chance behind coloured glass
    compat.set_where_known(cycles, **wanted)


# --- materials ----------------------------------------------------------------------------------------------------


def _plain_material(material: bpy.types.Material) -> None:
    # it still glows; it is no longer searched for as a light
    compat.set_where_known(getattr(material, "cycles", None), emission_sampling="NONE")
    if material.node_tree:
        for node in material.node_tree.nodes:
            if node.type == "OUTPUT_MATERIAL":
                _without_volume(material.node_tree, node)


def _without_volume(tree: Any, output: Any) -> None:
    """Fog ends a one-sample path anywhere within it, and with it the depth; what is only fog becomes invisible."""
    volume, surface = output.inputs["Volume"], output.inputs["Surface"]
    if not volume.is_linked:
        return
    for link in list(volume.links):
        tree.links.remove(link)
    if not surface.is_linked:
        clear = tree.nodes.new("ShaderNodeBsdfTransparent")
        tree.links.new(clear.outputs[0], surface)


def _without_shader_to_rgb(tree: Any) -> None:
    """Only EEVEE turns light into a colour; Cycles shows white. Its shader's own colour stands in."""
    for node in [n for n in tree.nodes if n.type == "SHADERTORGB"]:
        shader = node.inputs[0].links[0].from_node if node.inputs[0].is_linked else None
        colour = shader and (shader.inputs.get("Base Color") or shader.inputs.get("Color"))
        for link in list(node.outputs["Color"].links) if colour else ():
            if colour.is_linked:
                tree.links.new(colour.links[0].from_socket, link.to_socket)
            else:
                _fixed_colour(tree, colour.default_value, link.to_socket)


def _fixed_colour(tree: Any, value: Any, socket: Any) -> None:
    node = tree.nodes.new("ShaderNodeRGB")
    node.outputs[0].default_value = value
    tree.links.new(node.outputs[0], socket)


GLASS = {"BSDF_PRINCIPLED": "Base Color", "BSDF_GLASS": "Color", "BSDF_REFRACTION": "Color"}
CLEAR = {"Transmission Weight": ("GREATER_THAN", 0.5), "Alpha": ("GREATER_THAN", 0.5),
         "Metallic": ("LESS_THAN", 0.5), "Roughness": ("LESS_THAN", 0.35)}
GLAZED = "Shotlock glass"  # a mix of glass with what lets the camera through
MARK = 0.01  # of the light is kept by glass, however clear: so it is told from a hole in a leaf
THERE, ANYTHING = 0.5, MARK / 2  # opacity from which on a surface is met: what is looked at, and the glass before it


def see(layer: Any, opacity: float) -> None:
    layer.pass_alpha_threshold = opacity


def _materials_of_their_own(things: Iterable[bpy.types.Object]) -> list[Any]:
    """Copies that these objects wear from now on, and no other, and those of the groups in them."""
    made: list[Any] = []

    def groups(tree: Any) -> None:
        for node in tree.nodes if tree else ():
            if node.type == "GROUP" and node.node_tree:
                node.node_tree = node.node_tree.copy()
                made.append(node.node_tree)
                groups(node.node_tree)

    for slot in (slot for thing in things for slot in thing.material_slots if slot.material):
        own = slot.material.copy()
        slot.link = "OBJECT"  # which empties it
        slot.material = own
        made.append(own)
        groups(own.node_tree)
    return made


def _see_through(tree: Any) -> bool:
    """Clear glass lets the camera through, unbent, coloured as it colours light: what is seen is what lies behind it.
    Whether there is any; rough glass, of which one sees the blur alone, and glass that glows stay surfaces."""
    found = [node for node in tree.nodes if _may_be_clear(node)]
    for node in found:
        targets = [link.to_socket for link in node.outputs[0].links]
        clear, mix = tree.nodes.new("ShaderNodeBsdfTransparent"), tree.nodes.new("ShaderNodeMixShader")
        mix.label = GLAZED
        _colour_of_glass(tree, node, clear.inputs[0])
        mix.inputs[0].default_value = 1.0
        for name, limit in CLEAR.items():
            if name in node.inputs and node.inputs[name].is_linked:
                _further(tree, mix.inputs[0], _step(tree, node.inputs[name].links[0].from_socket, *limit))
        for source, socket in ((node, mix.inputs[1]), (clear, mix.inputs[2])):
            tree.links.new(source.outputs[0], socket)
        for target in targets:
            tree.links.new(mix.outputs[0], target)
    return bool(found)


def _may_be_clear(node: Any) -> bool:
    """As far as its fixed values say; what is linked is asked pixel by pixel. Glass so dark that it hides more than it
    shows is a surface, and so is what is added to another shader."""
    if node.type not in GLASS or node.mute:
        return False
    if any(link.to_node.type == "ADD_SHADER" for link in node.outputs[0].links):
        return False
    own = node.inputs[GLASS[node.type]]
    if not own.is_linked and sum(_left(own.default_value, node)) / 3 <= 1 - THERE:
        return False
    for name, (operation, limit) in CLEAR.items():
        socket = node.inputs.get(name)
        if socket is None or socket.is_linked:
            continue
        if socket.default_value <= limit if operation == "GREATER_THAN" else socket.default_value >= limit:
            return False
    strength, colour = node.inputs.get("Emission Strength"), node.inputs.get("Emission Color")
    if strength is None or colour is None:
        return True
    dark = not colour.is_linked and not any(colour.default_value[:3])
    return dark or (not strength.is_linked and strength.default_value <= 0)


def _power(node: Any) -> float:
    return 0.5 if node.type == "BSDF_PRINCIPLED" else 1.0


def _left(colour: Any, node: Any) -> list[float]:
    return [(1 - MARK) * max(c, 0.0) ** _power(node) for c in colour[:3]]


def _colour_of_glass(tree: Any, node: Any, socket: Any) -> None:
    """What is left of light behind one surface. A Principled shader's colour counts for the way in and the way out."""
    own = node.inputs[GLASS[node.type]]
    if not own.is_linked:
        socket.default_value = [*_left(own.default_value, node), 1.0]
        return
    root, scaled = tree.nodes.new("ShaderNodeGamma"), tree.nodes.new("ShaderNodeVectorMath")
    root.inputs["Gamma"].default_value = _power(node)
    scaled.operation = "SCALE"
    scaled.inputs["Scale"].default_value = 1 - MARK
    tree.links.new(own.links[0].from_socket, root.inputs["Color"])
    tree.links.new(root.outputs[0], scaled.inputs[0])
    tree.links.new(scaled.outputs[0], socket)


def _further(tree: Any, socket: Any, condition: Any) -> None:
    """A share in 0..1 that is also under this condition."""
    if socket.is_linked:
        condition = _product(tree, socket.links[0].from_socket, condition)
    tree.links.new(condition, socket)


def _product(tree: Any, one: Any, other: Any) -> Any:
    both = tree.nodes.new("ShaderNodeMath")
    both.operation = "MULTIPLY"
    tree.links.new(one, both.inputs[0])
    tree.links.new(other, both.inputs[1])
    return both.outputs[0]


SMOOTH = compat.RENDER_PASSES["smooth"][0]


def _tell_smoothness(material: bpy.types.Material, tree: Any, whole: bool) -> None:
    """1 less the roughness of the shader nearest to the output, as a pass; 0 where it has none, and where it is not
    there."""
    shader = facts.nearest_shader(material)
    if shader and not whole and _may_be_clear(shader):
        return  # of what is looked through, what lies behind is told
    rough = shader.inputs.get("Roughness") if shader else None
    if rough is None:
        return
    smooth, told = tree.nodes.new("ShaderNodeMath"), tree.nodes.new("ShaderNodeOutputAOV")
    smooth.operation = "SUBTRACT"
    smooth.inputs[0].default_value = 1.0
    _copy(tree, shader, rough, smooth.inputs[1])
    there = shader.inputs.get("Alpha")
    value = smooth.outputs[0]
    if there is not None and there.is_linked and shader.id_data == tree:  # leaves have holes
        value = _product(tree, value, there.links[0].from_socket)
    told.aov_name = SMOOTH
    tree.links.new(value, told.inputs["Value"])


def _copy(tree: Any, shader: Any, socket: Any, target: Any) -> None:
    """What feeds a socket; inside a group only its fixed value can be had."""
    if socket.is_linked and shader.id_data == tree:
        tree.links.new(socket.links[0].from_socket, target)
    else:
        target.default_value = 0.5 if socket.is_linked else socket.default_value


def _decide_opacity(tree: Any) -> None:
    """From half opacity on a surface is there, below it is not: Cycles would dither between it and what lies behind."""
    for node in list(tree.nodes):
        if node.type == "BSDF_PRINCIPLED":
            _at_half(tree, node.inputs["Alpha"])
        elif node.type == "MIX_SHADER" and any(_is_clear(socket) for socket in node.inputs[1:]):
            _at_half(tree, node.inputs[0])


def _is_clear(socket: Any) -> bool:
    """Whether a clear shader feeds it, glass that is looked through among them, straight or out of a group."""
    node = socket.links[0].from_node if socket.is_linked and socket.links else None
    if node is None:
        return False
    if node.type == "REROUTE":
        return _is_clear(node.inputs[0])
    if node.type == "GROUP" and node.node_tree:
        ends = [end for end in node.node_tree.nodes if end.type == "GROUP_OUTPUT"]
        return any(_is_clear(inner) for end in ends for inner in end.inputs if inner.type == "SHADER")
    return node.type == "BSDF_TRANSPARENT" or node.label == GLAZED


def _at_half(tree: Any, socket: Any) -> None:
    if not socket.is_linked:
        socket.default_value = float(socket.default_value >= 0.5)
        return
    tree.links.new(_step(tree, socket.links[0].from_socket, "GREATER_THAN", 0.5), socket)


def _step(tree: Any, source: Any, operation: str, limit: float) -> Any:
    """1 where a value is over, or under, a limit, else 0."""
    step = tree.nodes.new("ShaderNodeMath")
    step.operation = operation
    step.inputs[1].default_value = limit
    tree.links.new(source, step.inputs[0])
    return step.outputs[0]


# --- passes -------------------------------------------------------------------------------------------------------


GEOMETRY = ("use_pass_z", "use_pass_normal", "use_pass_vector", "use_pass_object_index")
COLOUR = ("use_pass_diffuse_color", "use_pass_glossy_color", "use_pass_transmission_color", "use_pass_emit",
          "use_pass_ambient_occlusion", SMOOTH)


def only_passes(layer: bpy.types.ViewLayer, wanted: Iterable[str]) -> None:
    """Alpha comes with the combined pass, which is always made."""
    for name in (p.identifier for p in layer.bl_rna.properties):
        if name.startswith("use_pass_"):
            setattr(layer, name, name in wanted or name == "use_pass_combined")
    for aov in [aov for aov in layer.aovs if aov.name != SMOOTH or SMOOTH not in wanted]:
        layer.aovs.remove(aov)
    if SMOOTH in wanted and SMOOTH not in layer.aovs:
        made = layer.aovs.add()
        made.name, made.type = SMOOTH, "VALUE"


def number_objects() -> dict[int, bpy.types.Object]:
    """Gives every object with a surface its own index. Instances show their source object's."""
    found = [o for o in bpy.data.objects if o.type in SURFACES]
    for number, thing in enumerate(found, start=1):
        thing.pass_index = number if number <= MOST_OBJECTS else 0  # 0: none; its own would be another object's
    return dict(enumerate(found[:MOST_OBJECTS], start=1))


# --- the camera ---------------------------------------------------------------------------------------------------


def new_camera(scene: bpy.types.Scene) -> Any:
    """A camera of our own: no parent, constraint, driver, scale, background or depth of field."""
    data = bpy.data.cameras.new(CAMERA)
    data.sensor_fit = "HORIZONTAL"
    camera = bpy.data.objects.new(CAMERA, data)
    camera.rotation_mode = "QUATERNION"
    scene.collection.objects.link(camera)
    return camera


def keyframe(camera: bpy.types.Object, scene: bpy.types.Scene, frames: Sequence[int], poses: Sequence[Any]) -> None:
    """One key per frame, at the time at which the renderer reads it; it never looks between them."""
    times = np.array([remapped(scene, frame) for frame in frames])
    values = np.array([[*location, *rotation] for location, rotation in _turns(poses)])
    for channel in ("location", "rotation_quaternion"):
        camera.keyframe_insert(channel, frame=times[0])
    for curve in compat.fcurves(camera):  # all at once: inserting them one by one takes quadratic time
        column = curve.array_index + (3 if curve.data_path == "rotation_quaternion" else 0)
        curve.keyframe_points.add(len(times) - 1)
        curve.keyframe_points.foreach_set("co", np.stack([times, values[:, column]], 1).astype(np.float32).ravel())
        curve.update()


def _turns(poses: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Location and rotation; of the two quaternions of a rotation, the one nearer to the frame before."""
    previous = None
    for c2w in poses:
        location, rotation, _ = Matrix(blender_matrix(c2w).tolist()).decompose()
        if previous is not None:
            rotation.make_compatible(previous)
        yield location, rotation
        previous = rotation


def aim(scene: bpy.types.Scene, camera: Any, K: Any, size: tuple[int, int],
        clip: tuple[float, float]) -> None:
    """Lens, shift, clip range, and a picture of `size` pixels; no lens keys: Cycles ignores them."""
    lens, data, render = lens_of(K, size), camera.data, scene.render
    render.resolution_x, render.resolution_y = size
    render.pixel_aspect_x, render.pixel_aspect_y = lens.pixel_aspect_x, lens.pixel_aspect_y
    data.sensor_width, data.lens = lens.sensor_width, lens.lens
    data.shift_x, data.shift_y = lens.shift_x, lens.shift_y
    data.clip_start, data.clip_end = clip
