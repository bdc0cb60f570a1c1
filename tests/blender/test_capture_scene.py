"""What a capture shows of a scene: which objects, which surfaces, which colours. Coverage is compared with the alpha of
the artist's own render, colours with what the materials were given."""

import math

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")
from mathutils import Euler, Matrix, Vector  # noqa: E402


@pytest.fixture
def still(tiny):
    """One frame of the tiny scene."""
    tiny.frame_end = 1
    tiny.camera.data.lens = 18
    return tiny


def alpha(scene, path, layer=None):
    """(H,W) in 0..1, of the artist's own render, in this process."""
    scene.render.engine, scene.render.film_transparent = "CYCLES", True
    scene.cycles.samples, scene.cycles.use_denoising, scene.cycles.device = 32, False, "CPU"
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "IMAGE"
    settings.file_format, settings.color_mode, settings.color_depth = "PNG", "RGBA", "16"
    scene.render.filepath = str(path)
    for other in scene.view_layers:
        other.use = layer is None or other == layer
    bpy.ops.render.render(write_still=True)
    picture = bpy.data.images.load(str(path))
    pixels = np.empty(len(picture.pixels), np.float32)
    picture.pixels.foreach_get(pixels)
    return pixels.reshape(picture.size[1], picture.size[0], 4)[::-1, :, 3]


def overlap(one, other):
    return (one & other).sum() / max((one | other).sum(), 1)


def paint(thing, name="Paint", **inputs):
    """A Principled material; spaces in socket names are written as underscores."""
    made = bpy.data.materials.new(name)
    made.use_nodes = True
    shader = made.node_tree.nodes["Principled BSDF"]
    for key, value in inputs.items():
        shader.inputs[key.replace("_", " ")].default_value = value
    thing.data.materials.clear()
    thing.data.materials.append(made)
    return made


def shaded(thing, kind, **inputs):
    """A material of one shader node of that kind."""
    made = paint(thing)
    nodes, links = made.node_tree.nodes, made.node_tree.links
    shader = nodes.new(kind)
    for key, value in inputs.items():
        shader.inputs[key].default_value = value
    output = next(n for n in nodes if n.type == "OUTPUT_MATERIAL")
    links.new(shader.outputs[0], output.inputs["Surface"])
    return made


def grouped(nodes, kind, **inputs):
    """The output of a node group that holds one shader of that kind."""
    tree = bpy.data.node_groups.new("Group", "ShaderNodeTree")
    tree.interface.new_socket("Shader", in_out="OUTPUT", socket_type="NodeSocketShader")
    inner = tree.nodes.new(kind)
    for key, value in inputs.items():
        inner.inputs[key].default_value = value
    tree.links.new(inner.outputs[0], tree.nodes.new("NodeGroupOutput").inputs[0])
    group = nodes.new("ShaderNodeGroup")
    group.node_tree = tree
    return group.outputs[0]


def with_diffuse(made, shader, share):
    """The output of a mix of a shader with a share of a matt one."""
    mix = made.node_tree.nodes.new("ShaderNodeMixShader")
    mix.inputs[0].default_value = share
    made.node_tree.links.new(shader, mix.inputs[1])
    made.node_tree.links.new(made.node_tree.nodes.new("ShaderNodeBsdfDiffuse").outputs[0], mix.inputs[2])
    return mix.outputs[0]


def sphere(location, name="Ball"):
    bpy.ops.mesh.primitive_uv_sphere_add(radius=1, location=location)
    bpy.context.object.name = name
    return bpy.context.object


def linear(srgb):
    value = np.asarray(srgb, float) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def mean_colour(made, name):
    return linear(made.base[0][made.covered(name)]).mean(0)


# Colours


def test_no_material_is_black(still, tools, tmp_path):
    """Row 28: paint, metal, rough glass and lamps each keep their colour; only metal and glass are mirror-like."""
    colours = {"Paint": (0.1, 0.5, 0.2), "Metal": (0.9, 0.6, 0.1), "Glass": (0.3, 0.6, 0.9), "Lamp": (1.0, 0.2, 0.1)}
    for x, (name, colour) in zip((-4.5, -2.5, 2.5, 4.5), colours.items(), strict=True):
        thing, rgba = sphere((x, 0, 1), name), (*colour, 1)
        if name == "Lamp":
            shaded(thing, "ShaderNodeEmission", Color=rgba, Strength=5)
        elif name == "Glass":
            shaded(thing, "ShaderNodeBsdfGlass", Color=rgba, Roughness=0.5)
        else:
            paint(thing, Base_Color=rgba, Metallic=float(name == "Metal"), Roughness=0.3)
    made = tools.film(tmp_path, still)
    for name, colour in colours.items():
        found = mean_colour(made, name)
        assert np.allclose(found / found.max(), np.array(colour) / max(colour), atol=0.2), (name, found)
        assert found.max() > 0.4, (name, found)
    gloss = {name: made.gloss[0][made.covered(name)].mean() for name in colours}
    assert gloss["Metal"] > 240 and 220 < gloss["Glass"] < 235 and gloss["Paint"] < 80
    glow = made.emission[0][made.covered("Lamp")].astype(float)
    assert np.allclose(np.median(glow, 0), (5, 1, 0.5), atol=0.02)
    assert not made.emission[0][made.covered("Paint")].any()


@pytest.mark.parametrize("kind", ["fixed", "linked", "mixed", "glossy", "in a group"])
def test_how_rough_a_surface_is_is_told(still, tools, tmp_path, kind):
    """By the shader nearest to the output; what has no roughness is rough, and so is the sky."""
    box = bpy.data.objects["Box"]
    made = paint(box, Roughness=0.3)
    nodes, links = made.node_tree.nodes, made.node_tree.links
    shader, output = nodes["Principled BSDF"], next(n for n in nodes if n.type == "OUTPUT_MATERIAL")
    if kind == "linked":
        value = nodes.new("ShaderNodeValue")
        value.outputs[0].default_value = 0.3
        links.new(value.outputs[0], shader.inputs["Roughness"])
    elif kind == "mixed":
        links.new(with_diffuse(made, shader.outputs[0], 0.2), output.inputs["Surface"])
    elif kind == "glossy":
        shaded(box, "ShaderNodeBsdfAnisotropic", Roughness=0.3)
    elif kind == "in a group":
        links.new(grouped(nodes, "ShaderNodeBsdfPrincipled", Roughness=0.3), output.inputs["Surface"])
    shaded(bpy.data.objects["Floor"], "ShaderNodeEmission", Strength=1.0)
    taken = tools.film(tmp_path, still)
    assert np.median(taken.rough[0][taken.covered("Box")]) == pytest.approx(0.3 * 255, abs=3)
    assert np.median(taken.rough[0][taken.covered("Floor")]) == 255
    assert (taken.rough[0][~taken.covered()] == 255).all()


def test_light_does_not_reach_the_base_colour(still, tools, tmp_path):
    lit = tools.film(tmp_path / "lit", still)
    for thing in still.objects:
        if thing.type == "LIGHT":
            thing.data.energy = 1000
            thing.data.color = (1, 0, 0)
    still.view_settings.exposure = 3
    again = tools.film(tmp_path / "again", still)
    assert np.array_equal(lit.base[0], again.base[0]) and not lit.emission[0].any()


def test_textures_do_not_alias(still, tools, tmp_path):
    """A checker far finer than a pixel is grey at eight samples; at one it is noise."""
    floor = bpy.data.objects["Floor"]
    made = paint(floor, Roughness=1.0)
    nodes, links = made.node_tree.nodes, made.node_tree.links
    checker, position = nodes.new("ShaderNodeTexChecker"), nodes.new("ShaderNodeTexCoord")
    checker.inputs["Scale"].default_value = 400
    links.new(position.outputs["Generated"], checker.inputs["Vector"])
    links.new(checker.outputs["Color"], nodes["Principled BSDF"].inputs["Base Color"])
    noise = {}
    for samples in (1, 8):
        taken = tools.film(tmp_path / str(samples), still, samples=samples)
        noise[samples] = linear(taken.base[0][taken.covered("Floor")]).std()
    assert noise[8] < 0.6 * noise[1]


def test_edges_belong_to_one_surface(still, tools, tmp_path):
    """Row 29: depth has the two planes' values and nothing between; normals and indices are never mixed."""
    for name in ("Floor", "Box"):
        bpy.data.objects.remove(bpy.data.objects[name])
    for name, y, size in (("Near", 2, 2), ("Far", 10, 60)):
        bpy.ops.mesh.primitive_plane_add(size=size, location=(0, y, 3), rotation=(np.pi / 2, 0, 0.0))
        bpy.context.object.name = name
    still.camera.location, still.camera.rotation_euler = (0.03, -8, 3.02), (np.pi / 2, 0.1, 0)
    still.camera.animation_data_clear()
    made = tools.film(tmp_path, still)
    depth = made.depth[0]
    assert made.covered().all() and {made.covered(n).any() for n in ("Near", "Far")} == {True}
    assert np.allclose(depth[made.covered("Near")], 10, atol=1e-3)
    assert np.allclose(depth[made.covered("Far")], 18, atol=1e-3)
    assert np.allclose(np.linalg.norm(made.normal[0].astype(float), axis=-1), 1, atol=2e-3)


def test_normals_and_motion_are_never_mixed(still, tools, tmp_path):
    """Every pixel of a scene of upright boxes looks straight along an axis."""
    still.frame_end = 2
    made = tools.film(tmp_path, still)
    normal = np.abs(made.normal[0][made.covered()].astype(float))
    assert np.allclose(normal.max(-1), 1, atol=2e-3) and len(np.unique(normal.argmax(-1))) >= 2
    hit = made.covered()
    error = np.linalg.norm(made.motion[0].astype(float) - tools.flow(made, 0), axis=-1)[hit]
    assert error.max() < 0.03, "edges too"


def test_normals_face_the_camera(still, tools, tmp_path):
    box = bpy.data.objects["Box"]
    box.scale = (-1, 1, 1)  # inside out
    made = tools.film(tmp_path, still)
    ray = tools.world_points(made, 0) - made.c2w[0, :3, 3]
    towards = np.einsum("hwc,hwc->hw", ray, made.normal[0].astype(float))
    assert (towards[made.covered()] < 0).all()
    up = made.normal[0][made.covered("Floor")].astype(float)
    assert np.allclose(up, (0, 0, 1), atol=2e-3)


def mixed_with_clear(made, opacity):
    """The same opacity by a Mix Shader with a Transparent BSDF, driven by a node."""
    nodes, links = made.node_tree.nodes, made.node_tree.links
    mix, clear, value = (nodes.new(f"ShaderNode{kind}") for kind in ("MixShader", "BsdfTransparent", "Value"))
    value.outputs[0].default_value = opacity
    links.new(value.outputs[0], mix.inputs[0])
    links.new(clear.outputs[0], mix.inputs[1])
    links.new(nodes["Principled BSDF"].outputs[0], mix.inputs[2])
    links.new(mix.outputs[0], next(n for n in nodes if n.type == "OUTPUT_MATERIAL").inputs["Surface"])


@pytest.mark.parametrize("opacity", [0.1, 0.5, 0.9])
def test_transparent_surfaces(still, tools, tmp_path, opacity):
    """Row 28: from half opacity on a surface is what is seen; below, what lies behind it, whole and undithered."""
    solid = tools.film(tmp_path / "solid", still)
    paint(bpy.data.objects["Box"], Alpha=opacity, Base_Color=(0.9, 0.1, 0.1, 1))
    ball = sphere((3.5, -1, 1))
    mixed_with_clear(paint(ball), opacity + 0.01)
    made = tools.film(tmp_path / "made", still)
    assert np.array_equal(made.covered("Box"), solid.covered("Box") & (opacity >= 0.5))
    assert (made.covered("Ball").sum() > 50) == (opacity >= 0.5)
    if opacity < 0.5:
        assert np.array_equal(made.depth[0], solid.depth[0]) is False and not made.covered("Ball").any()
        assert np.array_equal(made.covered(), made.covered("Floor"))


TINT = (0.25, 0.6, 0.9)


def pane(scene):
    """A slab right before the camera, over the left half of the picture."""
    bpy.context.view_layer.update()
    bpy.ops.mesh.primitive_cube_add(size=1)
    thing = bpy.context.object
    thing.name = "Pane"
    before = scene.camera.matrix_world @ Matrix.Translation((-1.5, 0, -1))
    thing.matrix_world = before @ Matrix.Diagonal((3, 4, 0.02, 1))
    return thing


def glass_of(kind, thing):
    """How artists make clear glass; of every kind a slab lets TINT through."""
    if kind == "principled":
        return paint(thing, Base_Color=(*TINT, 1), Transmission_Weight=1.0, Roughness=0.0)
    made = shaded(thing, "ShaderNodeBsdfGlass", Color=(*np.sqrt(TINT), 1), Roughness=0.0)
    nodes, links = made.node_tree.nodes, made.node_tree.links
    glass, output = (next(n for n in nodes if n.type == t) for t in ("BSDF_GLASS", "OUTPUT_MATERIAL"))
    if kind == "coloured by a picture":
        colour = nodes.new("ShaderNodeRGB")
        colour.outputs[0].default_value = (*np.sqrt(TINT), 1)
        links.new(colour.outputs[0], glass.inputs["Color"])
    elif kind == "clear to shadows":
        mix, path = nodes.new("ShaderNodeMixShader"), nodes.new("ShaderNodeLightPath")
        links.new(path.outputs["Is Shadow Ray"], mix.inputs[0])
        links.new(glass.outputs[0], mix.inputs[1])
        links.new(nodes.new("ShaderNodeBsdfTransparent").outputs[0], mix.inputs[2])
        links.new(mix.outputs[0], output.inputs["Surface"])
    elif kind == "with some dirt":
        links.new(with_diffuse(made, glass.outputs[0], 0.1), output.inputs["Surface"])
    elif kind.endswith("a group"):
        inner = grouped(nodes, "ShaderNodeBsdfGlass", Color=(*np.sqrt(TINT), 1), Roughness=0.0)
        dirty = kind != "in a group"
        links.new(with_diffuse(made, inner, 0.1) if dirty else inner, output.inputs["Surface"])
    return made


@pytest.mark.parametrize("kind", ["principled", "glass", "coloured by a picture", "clear to shadows", "in a group",
                                  "with some dirt", "with some dirt on a group"])
def test_clear_glass_is_looked_through(still, tools, tmp_path, kind):
    """Row 28: what lies behind it is seen where it is, in the colour that is left of it; its own normal is told."""
    plain = tools.film(tmp_path / "plain", still)
    glass_of(kind, pane(still))
    made = tools.film(tmp_path / "made", still)
    assert "glass" not in plain.arrays and "glass" in made.arrays
    for name in ("depth", "index", "normal"):
        assert np.array_equal(made.arrays[name], plain.arrays[name]), name
    there = made.glass[0].any(-1)
    left = np.arange(there.shape[1]) < there.shape[1] // 2 - 2
    assert there[:, left].all() and not there[:, ~left][:, 4:].any()
    assert np.allclose(made.glass[0][there][:, :3], made.c2w[0, :3, 2] * -1, atol=0.02)  # faces the camera
    assert np.allclose(made.glass[0][there][:, 3], 0.99, atol=0.02)  # its depth
    both = there & made.covered() & (plain.base[0].min(-1) > 40)
    both[:, there.shape[1] // 2 - 3:] = False
    ratio = linear(made.base[0][both]) / linear(plain.base[0][both])
    assert np.allclose(np.median(ratio, 0), TINT, rtol=0.05)
    assert np.array_equal(made.base[0][:, ~left][:, 4:], plain.base[0][:, ~left][:, 4:])
    assert abs(made.gloss[0][both].mean() - plain.gloss[0][both].mean()) < 10


KEPT = ("rough", "glowing", "spoken of", "with a prompt", "of a picture that is rough", "dark", "added to a shader",
        "in a group and spoken of")


@pytest.mark.parametrize("kind", KEPT)
def test_glass_that_is_seen_itself(still, tools, tmp_path, kind):
    """Row 28: a blur, a lamp, and what a prompt says something of are surfaces."""
    thing, settings = pane(still), {}
    made = paint(thing, Base_Color=(*TINT, 1), Transmission_Weight=1.0, Roughness=0.5 if kind == "rough" else 0.0)
    shader = made.node_tree.nodes["Principled BSDF"]
    if kind == "glowing":
        shader.inputs["Emission Strength"].default_value = 2.0
    elif kind == "spoken of":
        settings["prompt"] = "a red pane"
    elif kind == "with a prompt":
        thing.shotlock.prompt = "rusty iron"
    elif kind == "dark":
        shader.inputs["Base Color"].default_value = (0.02, 0.15, 0.03, 1)
    elif kind == "added to a shader":
        nodes, links = made.node_tree.nodes, made.node_tree.links
        both, output = nodes.new("ShaderNodeAddShader"), next(n for n in nodes if n.type == "OUTPUT_MATERIAL")
        links.new(shader.outputs[0], both.inputs[0])
        links.new(nodes.new("ShaderNodeBsdfGlossy").outputs[0], both.inputs[1])
        links.new(both.outputs[0], output.inputs["Surface"])
    elif kind == "in a group and spoken of":
        glass_of("in a group", thing)
        settings["prompt"] = "a red pane"
    elif kind == "of a picture that is rough":
        value = made.node_tree.nodes.new("ShaderNodeValue")
        value.outputs[0].default_value = 0.6
        made.node_tree.links.new(value.outputs[0], shader.inputs["Roughness"])
    taken = tools.film(tmp_path, still, **settings)
    assert taken.covered("Pane").sum() > 0.4 * taken.depth[0].size
    assert "glass" not in taken.arrays or not taken.glass[0].any()


def test_one_of_two_of_the_same_glass_is_spoken_of(still, tools, tmp_path):
    """Its material is a copy: the other is looked through as before."""
    thing = pane(still)
    other = thing.copy()  # with the same mesh
    other.name = "Window"
    aside = still.camera.matrix_world.to_3x3() @ Vector((3.1, 0, 0))
    other.matrix_world = Matrix.Translation(aside) @ thing.matrix_world
    bpy.context.collection.objects.link(other)
    glass_of("principled", thing)
    taken = tools.film(tmp_path, still, prompt="a red pane")
    assert taken.covered("Pane").sum() > 0.4 * taken.depth[0].size and not taken.covered("Window").any()
    assert taken.glass[0].any()


def test_a_sea_without_a_floor_is_a_surface(still, tools, tmp_path):
    """Down there nothing is met: light that goes in never comes back. Above it the sky is seen through glass."""
    for name in ("Floor", "Box"):
        bpy.data.objects.remove(bpy.data.objects[name])
    still.camera.animation_data_clear()
    still.camera.matrix_world = Matrix.Translation((0, 0, 2)) @ Euler((math.radians(90), 0, 0)).to_matrix().to_4x4()
    bpy.context.view_layer.update()
    bpy.ops.mesh.primitive_plane_add(size=4000)
    sea = bpy.context.object
    sea.name = "Sea"
    paint(sea, Base_Color=(1, 1, 1, 1), Transmission_Weight=1.0, Roughness=0.0)
    glass_of("principled", pane(still))
    made = tools.film(tmp_path, still)
    sea_there = made.covered("Sea")
    middle = sea_there.shape[1] // 2
    assert sea_there[-1, middle + 3:].all() and not sea_there[:, : middle - 3].any() and not made.covered()[0].any()
    assert np.allclose(made.normal[0][sea_there].astype(float), (0, 0, 1), atol=1e-3)
    assert (made.gloss[0][sea_there] == 230).all()
    assert not made.rough[0][sea_there].any() and not made.base[0][sea_there].any()
    assert made.glass[0][0].any() and not made.glass[0][sea_there].any()


def test_holes_are_no_glass(still, tools, tmp_path):
    paint(bpy.data.objects["Box"], Alpha=0.0, Transmission_Weight=1.0, Roughness=0.0)
    glass_of("principled", sphere((0, -60, 0)))  # there is some elsewhere, so the pass is there
    made = tools.film(tmp_path, still)
    assert "glass" in made.arrays and not made.glass[0].any()


def test_volumes_are_left_out_by_name(still, tools, tmp_path):
    """Row 28: fog around the camera would end one-sample paths anywhere."""
    plain = tools.film(tmp_path / "plain", still)
    bpy.ops.mesh.primitive_cube_add(size=30)
    fog = bpy.context.object
    made = paint(fog, "Fog")
    nodes, links = made.node_tree.nodes, made.node_tree.links
    output = next(n for n in nodes if n.type == "OUTPUT_MATERIAL")
    nodes.remove(nodes["Principled BSDF"])
    links.new(nodes.new("ShaderNodeVolumePrincipled").outputs[0], output.inputs["Volume"])
    foggy = tools.film(tmp_path / "foggy", still)
    assert np.array_equal(foggy.depth[0], plain.depth[0])
    assert any("Fog" in warning for warning in foggy.job.scene["warnings"])


def test_toon_shaders_keep_their_colour(still, tools, tmp_path):
    """Shader to RGB is EEVEE's alone; Cycles shows white instead."""
    made = paint(bpy.data.objects["Box"], Base_Color=(0.1, 0.7, 0.2, 1))
    nodes, links = made.node_tree.nodes, made.node_tree.links
    to_rgb, glow = nodes.new("ShaderNodeShaderToRGB"), nodes.new("ShaderNodeEmission")
    links.new(nodes["Principled BSDF"].outputs[0], to_rgb.inputs[0])
    links.new(to_rgb.outputs[0], glow.inputs[0])
    links.new(glow.outputs[0], next(n for n in nodes if n.type == "OUTPUT_MATERIAL").inputs["Surface"])
    found = mean_colour(tools.film(tmp_path, still), "Box")
    assert np.allclose(found / found.max(), (0.14, 1, 0.29), atol=0.05)


@pytest.mark.skipif(bpy.app.version < (5, 0), reason="the working colour space is a choice from 5.0 on")
def test_another_working_colour_space(still, tools, tmp_path):
    """Colours of the passes are Rec.709 whatever the file works in."""
    paint(bpy.data.objects["Box"], Base_Color=(0.6, 0.3, 0.1, 1))
    before = tools.film(tmp_path / "before", still)
    bpy.ops.wm.set_working_color_space(working_space="ACEScg", convert_colors=True)
    after = tools.film(tmp_path / "after", bpy.context.scene)
    assert bpy.data.colorspace.working_space == "ACEScg"
    assert np.abs(after.base[0].astype(int) - before.base[0]).max() <= 3


# Which objects


def test_visibility_is_the_renders(still, tools, tmp_path):
    """Row 25: hidden in renders, excluded, holdout, indirect only: the same pixels as the render's alpha."""
    layer = still.view_layers[0]
    for x, name in enumerate(("Hidden", "Excluded", "Holdout", "Indirect", "Viewport", "Plain")):
        thing = sphere((2.2 * x - 5.5, -2, 1), name)
        group = bpy.data.collections.new(name)
        still.collection.children.link(group)
        still.collection.objects.unlink(thing)
        group.objects.link(thing)
    groups = layer.layer_collection.children
    bpy.data.objects["Hidden"].hide_render = True
    bpy.data.objects["Viewport"].hide_viewport = True
    groups["Excluded"].exclude = groups["Holdout"].holdout = groups["Indirect"].indirect_only = True
    bpy.data.objects["Floor"].hide_render = True
    made = tools.film(tmp_path / "job", still)
    assert {name for name in made.objects if name not in ("Floor", "Box")} == {"Viewport", "Plain"}
    assert overlap(made.covered(), alpha(still, tmp_path / "a.png") > 0.5) > 0.97
    assert layer.layer_collection.children["Excluded"].exclude


def test_shadow_catchers_are_left_out_by_name(still, tools, tmp_path):
    """Row 25: they stand for filmed ground; the alpha of the artist's render has only their shadow."""
    bpy.data.objects["Floor"].is_shadow_catcher = True
    made = tools.film(tmp_path / "job", still)
    assert "Floor" not in made.objects and made.covered("Box").any()
    assert any("Floor" in warning for warning in made.capture.warnings)


def test_the_named_view_layer_alone(still, tools, tmp_path):
    """Row 26: a second layer without the box, and with every surface overridden."""
    box = bpy.data.objects["Box"]
    group = bpy.data.collections.new("Boxes")
    still.collection.children.link(group)
    still.collection.objects.unlink(box)
    group.objects.link(box)
    other = still.view_layers.new("Bare")
    other.layer_collection.children["Boxes"].exclude = True
    other.material_override = paint(sphere((0, 0, -9)), Base_Color=(0, 0, 1, 1), Specular_IOR_Level=0.0)
    first = tools.film(tmp_path / "first", still)
    second = tools.film(tmp_path / "second", still, layer="Bare")
    assert first.covered("Box").sum() > 100 and second.covered("Box").sum() == 0
    blue = mean_colour(second, "Floor")
    assert blue[2] > 0.8 and blue[:2].max() < 0.1 and mean_colour(first, "Floor").min() > 0.5
    assert other.layer_collection.children["Boxes"].exclude


def larger(scene):
    """Three times as many pixels each way: there silhouettes are a smaller share of what is covered."""
    scene.render.resolution_x, scene.render.resolution_y = 288, 192


def scattered(thing, count=3):
    """A geometry nodes modifier that shows `count` cubes beside each other, none of them an object."""
    tree = bpy.data.node_groups.new("Scatter", "GeometryNodeTree")
    tree.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    nodes = tree.nodes
    line, cube = nodes.new("GeometryNodeMeshLine"), nodes.new("GeometryNodeMeshCube")
    line.inputs["Count"].default_value, line.inputs["Offset"].default_value = count, (1.5, 0, 0)
    put = nodes.new("GeometryNodeInstanceOnPoints")
    output = nodes.new("NodeGroupOutput")
    tree.links.new(line.outputs[0], put.inputs["Points"])
    tree.links.new(cube.outputs[0], put.inputs["Instance"])
    tree.links.new(put.outputs[0], output.inputs[0])
    thing.modifiers.new("Scatter", "NODES").node_group = tree


def test_every_kind_of_object(still, tools, tmp_path):
    """Row 27: instances, particles, geometry nodes, text, metaballs, curves: covered as in the render, each by name."""
    larger(still)
    bpy.data.objects["Floor"].hide_render = True
    bpy.ops.object.text_add(location=(-5, -2, 0), rotation=(1.3, 0, 0))
    bpy.context.object.name, bpy.context.object.data.body = "Words", "MMM"
    bpy.ops.object.metaball_add(location=(4, -2, 1))
    bpy.context.object.name = "Blob"
    bpy.ops.curve.primitive_bezier_circle_add(location=(0, -3, 3), radius=1.5)
    bpy.context.object.name, bpy.context.object.data.bevel_depth = "Ring", 0.2
    bpy.ops.mesh.primitive_plane_add(location=(-6, 0, 3))
    bpy.context.object.name = "Nodes"
    scattered(bpy.context.object)
    source = sphere((0, 0, -50), "Source")
    group = bpy.data.collections.new("Group")
    group.objects.link(source)
    instancer = bpy.data.objects.new("Instancer", None)
    instancer.instance_type, instancer.instance_collection, instancer.location = "COLLECTION", group, (4, 2, 54)
    still.collection.objects.link(instancer)
    made = tools.film(tmp_path / "job", still, width=288)
    assert {"Words", "Blob", "Ring", "Nodes", "Source"} <= set(made.objects)
    assert all(made.covered(name).sum() > 20 for name in ("Words", "Blob", "Ring", "Nodes", "Source"))
    assert overlap(made.covered(), alpha(still, tmp_path / "a.png") > 0.5) >= 0.98
    stored = np.load(made.folder / "objects.npz")["index"]
    assert made.objects["Source"] not in stored and made.objects["Box"] in stored, "an instance has no single place"


def test_particles(still, tools, tmp_path):
    """Row 27: objects shown by particles, whose place is their system's."""
    larger(still)
    still.frame_start = still.frame_end = 2
    still.frame_set(2)
    bpy.data.objects["Floor"].hide_render = True
    ball = sphere((0, 0, -50), "Pellet")
    bpy.ops.mesh.primitive_grid_add(size=6, location=(0, -2, 3.5), x_subdivisions=4, y_subdivisions=4)
    source = bpy.context.object
    source.name = "Source"
    source.modifiers.new("Emit", "PARTICLE_SYSTEM")
    settings = source.particle_systems[0].settings
    settings.count, settings.frame_start, settings.frame_end, settings.lifetime = 12, 1, 1, 99
    settings.physics_type, settings.render_type, settings.instance_object = "NO", "OBJECT", ball
    settings.particle_size, source.show_instancer_for_render = 0.4, False
    made = tools.film(tmp_path / "job", still, width=288)
    assert made.covered("Pellet").sum() > 50 and "Source" not in made.objects
    assert overlap(made.covered(), alpha(still, tmp_path / "a.png") > 0.5) >= 0.98
    assert made.objects["Pellet"] not in np.load(made.folder / "objects.npz")["index"]


def test_curves_and_points(still, tools, tmp_path):
    """Row 27: hair as curves, and a cloud of points: covered as in the render."""
    larger(still)
    bpy.data.objects["Floor"].hide_render = True
    fur = bpy.data.hair_curves.new("Fur")
    fur.add_curves([3] * 40)
    roots = np.random.default_rng(0).uniform(-1, 1, (40, 2))
    tips = [(x - 3, y - 2, 1 + h) for x, y in roots for h in (0.0, 1.0, 2.0)]
    fur.position_data.foreach_set("vector", np.array(tips, np.float32).ravel())
    radius = fur.attributes.get("radius") or fur.attributes.new("radius", "FLOAT", "POINT")
    radius.data.foreach_set("value", np.full(120, 0.08, np.float32))
    still.collection.objects.link(bpy.data.objects.new("Fur", fur))
    bpy.ops.mesh.primitive_grid_add(size=3, location=(3, -2, 2.5), rotation=(1, 0, 0), x_subdivisions=5,
                                    y_subdivisions=5)
    bpy.context.object.name = "Cloud"
    as_points(bpy.context.object, 0.2)
    made = tools.film(tmp_path / "job", still, width=288)
    assert all(made.covered(name).sum() > 200 for name in ("Fur", "Cloud"))
    assert overlap(made.covered(), alpha(still, tmp_path / "a.png") > 0.5) >= 0.98


def as_points(thing, radius):
    """Geometry nodes that show a ball of that radius for every corner of a mesh."""
    tree = bpy.data.node_groups.new("Points", "GeometryNodeTree")
    for way in ("INPUT", "OUTPUT"):
        tree.interface.new_socket("Geometry", in_out=way, socket_type="NodeSocketGeometry")
    source, points, target = (tree.nodes.new(kind) for kind in (
        "NodeGroupInput", "GeometryNodeMeshToPoints", "NodeGroupOutput"))
    points.inputs["Radius"].default_value = radius
    tree.links.new(source.outputs[0], points.inputs["Mesh"])
    tree.links.new(points.outputs[0], target.inputs[0])
    thing.modifiers.new("Points", "NODES").node_group = tree


def test_hair(still, tools, tmp_path):
    """Row 27."""
    ball = sphere((0, -3, 2))
    ball.modifiers.new("Hair", "PARTICLE_SYSTEM")
    settings = ball.particle_systems[0].settings
    settings.type, settings.count, settings.hair_length, settings.root_radius = "HAIR", 300, 1.5, 8.0
    made = tools.film(tmp_path / "job", still)
    bald = ball.modifiers[0]
    bald.show_render = False
    without = tools.film(tmp_path / "bald", still)
    assert made.covered("Ball").sum() > 1.15 * without.covered("Ball").sum()


def test_render_level_and_displacement(still, tools, tmp_path):
    """Row 30: subdivision at the render's level, displacement as geometry; that the viewport's is another is told."""
    box = bpy.data.objects["Box"]
    cube = tools.film(tmp_path / "cube", still)
    subdivide = box.modifiers.new("Round", "SUBSURF")
    subdivide.levels, subdivide.render_levels = 0, 4
    ball = tools.film(tmp_path / "ball", still)
    assert ball.covered("Box").sum() < 0.8 * cube.covered("Box").sum()
    assert cube.job.scene["other_in_viewport"] == [] and ball.job.scene["other_in_viewport"] == ["Box"]
    made = paint(box)
    made.displacement_method = "DISPLACEMENT"
    nodes, links = made.node_tree.nodes, made.node_tree.links
    push, noise = nodes.new("ShaderNodeDisplacement"), nodes.new("ShaderNodeTexNoise")
    push.inputs["Scale"].default_value, push.inputs["Midlevel"].default_value = 2.0, 0.0
    links.new(noise.outputs[0], push.inputs["Height"])
    links.new(push.outputs[0], next(n for n in nodes if n.type == "OUTPUT_MATERIAL").inputs["Displacement"])
    pushed = tools.film(tmp_path / "pushed", still)
    assert pushed.covered("Box").sum() > 1.3 * ball.covered("Box").sum()
    bpy.data.objects["Floor"].hide_render = True
    assert overlap(pushed.covered("Box"), alpha(still, tmp_path / "a.png") > 0.5) > 0.9


def test_sky_alone_and_camera_inside_a_mesh(still, tools, tmp_path):
    """Row 24."""
    for thing in list(still.objects):
        if thing.type == "MESH":
            bpy.data.objects.remove(thing)
    made = tools.film(tmp_path / "sky", still)
    assert np.isinf(made.depth[0]).all() and not made.base[0].any() and not made.normal[0].any()
    assert made.job.objects == ()
    sphere(still.camera.location, "Inside")
    made = tools.film(tmp_path / "inside", still)
    assert made.covered("Inside").all() and made.depth[0].min() > 0.1 and made.depth[0].max() <= 1.01


# Several scenes, several files


def test_another_scene_and_its_background(still, tools, tmp_path):
    """Row 32: the scene that was asked for, with its background set, whatever scene the window shows."""
    stage = bpy.data.scenes.new("Stage")
    prop = sphere((3, -2, 1), "Prop")
    still.collection.objects.unlink(prop)
    stage.collection.objects.link(prop)
    still.background_set = stage
    bpy.context.window.scene = stage
    made = tools.film(tmp_path, still)
    assert made.covered("Prop").sum() > 100 and made.covered("Box").any()


def test_linked_libraries(still, tools, tmp_path):
    """Row 31: a linked object is as good as a local one; a library that is gone is named."""
    prop = sphere((3, -3, 1), "Prop")
    paint(prop, Base_Color=(0.9, 0.1, 0.9, 1))
    local = tools.film(tmp_path / "local", still)
    library = tmp_path / "library.blend"
    bpy.data.libraries.write(str(library), {prop})
    bpy.data.objects.remove(prop)
    with bpy.data.libraries.load(str(library), link=True) as (_, wanted):
        wanted.objects = ["Prop"]
    still.collection.objects.link(wanted.objects[0])
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "film.blend"))
    still = bpy.context.scene
    linked = tools.film(tmp_path / "linked", still)
    assert np.array_equal(linked.depth[0], local.depth[0]) and np.array_equal(linked.base[0], local.base[0])
    assert linked.covered("Prop").sum() > 100
    own = bpy.data.objects["Prop"].override_create(remap_local_usages=True)
    own.location.x -= 2
    moved = tools.film(tmp_path / "override", still)
    assert moved.covered("Prop").sum() > 100, "an override is as good as a local object"
    middle, other = (np.argwhere(made.covered("Prop")).mean(0)[1] for made in (moved, linked))
    assert middle < other - 5
    bpy.ops.wm.save_mainfile()
    library.unlink()
    without = tools.film(tmp_path / "without", still)
    assert any("library.blend" in warning for warning in without.capture.warnings)
    assert without.covered("Box").any()


# Light and shadow


def wall_of(name, size, location):
    bpy.ops.mesh.primitive_cube_add(size=1, location=location)
    bpy.context.object.name, bpy.context.object.scale = name, size
    return bpy.context.object


def test_a_corner_sees_less_of_its_surroundings_than_open_ground(still, tools, tmp_path):
    """Ambient occlusion nearby; and the sky: half of it over a lone wall, less between two."""
    bpy.data.objects.remove(bpy.data.objects["Box"])
    bpy.data.objects["Floor"].scale = (50, 50, 1)
    wall_of("Wall", (12, 0.2, 6), (0, 2, 3))
    alone = tools.film(tmp_path / "alone", still)
    wall_of("Behind", (12, 0.2, 6), (0, -10, 3))
    opposite = tools.film(tmp_path / "opposite", still)
    floor, wall = alone.covered("Floor"), alone.covered("Wall")
    z = alone.depth[0]
    y = tools.world_points(alone, 0)[..., 1]
    near, far = floor & (y > 0.5) & (y < 1.9), floor & (y < -2.5)
    assert alone.ao[0][far].mean() > 250 and alone.ao[0][near].mean() < 225
    assert abs(alone.open[0][wall].mean() / 255 - 0.5) < 0.06
    assert opposite.open[0][wall].mean() < 0.94 * alone.open[0][wall].mean()
    assert set(np.unique(alone.open[0][~np.isfinite(z)])) <= {255}


def shade_under(made, x, y):
    """Whether the first sun's map holds something over the floor at x, y."""
    axes, origin, half, height = (made.suns[name][0] for name in ("axes", "origin", "half", "height"))
    local = axes @ (np.array([x, y, 0.0]) - origin)
    cell = ((local[:2] / half + 1) * len(height) / 2).astype(int)
    assert (cell >= 0).all() and (cell < len(height)).all()
    return height[cell[1], cell[0]] > local[2] + 0.05


def test_the_sun_sees_what_the_camera_does_not(still, tools, tmp_path):
    """A roof over the camera, a dome of light around everything, a pane of glass and a ball that moves."""
    for lamp in [o for o in still.objects if o.type == "LIGHT"]:
        lamp.rotation_euler = (0, 0, 0)  # straight down
    wall_of("Roof", (2, 2, 0.1), (4, 0, 9))
    shaded(sphere((0, 0, 0), "Dome"), "ShaderNodeEmission", Strength=1)
    bpy.data.objects["Dome"].scale = (60, 60, 60)
    shaded(wall_of("Pane", (2, 2, 0.1), (-4, 0, 5)), "ShaderNodeBsdfGlass")
    ball = sphere((0, 3, 2), "Ball")
    ball.keyframe_insert("location", frame=1)
    ball.location.x = 2
    ball.keyframe_insert("location", frame=2)
    still.frame_end = 2
    made = tools.film(tmp_path, still)
    assert np.allclose(made.suns["axes"][0][2], (0, 0, 1), atol=1e-5)
    assert shade_under(made, 4, 0) and not shade_under(made, 4, 3) and shade_under(made, 0, 0), "the roof and the box"
    assert not shade_under(made, -4, 0) and not shade_under(made, 0, 3) and not shade_under(made, 2, 3)
    names = {n: o["name"] for o in made.job.objects for n in [o["index"]]}
    assert {names[n] for n in made.suns["absent"] if n in names} >= {"Ball"}
    rotations = made.suns["axes"]
    assert np.allclose(rotations @ np.swapaxes(rotations, 1, 2), np.eye(3), atol=1e-6)


@pytest.mark.parametrize("strength", [0.5, 2.0])
def test_the_world_is_filmed_as_it_lies(still, tools, tmp_path, strength):
    """A world whose colour is its direction: row 0 up, the middle column along +y, right of it toward +x."""
    world = bpy.data.worlds.new("Ways")
    still.world = world
    if bpy.app.version < (5, 0):
        world.use_nodes = True
    nodes, links = world.node_tree.nodes, world.node_tree.links
    background = next(n for n in nodes if n.type == "BACKGROUND")
    background.inputs["Strength"].default_value = strength
    where, half = nodes.new("ShaderNodeTexCoord"), nodes.new("ShaderNodeVectorMath")
    half.operation = "MULTIPLY_ADD"
    half.inputs[1].default_value = half.inputs[2].default_value = (0.5, 0.5, 0.5)
    links.new(where.outputs["Generated"], half.inputs[0])
    links.new(half.outputs[0], background.inputs["Color"])
    made = tools.film(tmp_path, still)
    height, width = made.world.shape[:2]
    up = (0.5 - (np.arange(height) + 0.5) / height) * np.pi
    around = ((np.arange(width) + 0.5) / width - 0.5) * 2 * np.pi
    e, a = np.meshgrid(up, around, indexing="ij")
    way = np.stack([np.sin(a) * np.cos(e), np.cos(a) * np.cos(e), np.sin(e)], -1)
    assert np.abs(made.world.astype(float) / strength - (way + 1) / 2).max() < 0.02
    assert made.job.scene["sun"]["name"] == "Sun", "a lamp is the sun where there is one"


def test_the_sun_of_a_picture_is_told_where_no_lamp_is(still, tools, tmp_path):
    for lamp in [o for o in still.objects if o.type == "LIGHT"]:
        bpy.data.objects.remove(lamp)
    world = bpy.data.worlds.new("Bright spot")
    still.world = world
    if bpy.app.version < (5, 0):
        world.use_nodes = True
    nodes, links = world.node_tree.nodes, world.node_tree.links
    background = next(n for n in nodes if n.type == "BACKGROUND")
    background.inputs["Color"].default_value = (1, 1, 1, 1)
    where, dot, spot = nodes.new("ShaderNodeTexCoord"), nodes.new("ShaderNodeVectorMath"), nodes.new("ShaderNodeMath")
    toward = np.array([0.6, 0.0, 0.8])
    dot.operation, spot.operation = "DOT_PRODUCT", "GREATER_THAN"
    dot.inputs[1].default_value, spot.inputs[1].default_value = toward, 0.998
    bright = nodes.new("ShaderNodeMath")
    bright.operation = "MULTIPLY_ADD"
    bright.inputs[1].default_value, bright.inputs[2].default_value = 400.0, 0.3
    links.new(where.outputs["Generated"], dot.inputs[0])
    links.new(dot.outputs["Value"], spot.inputs[0])
    links.new(spot.outputs[0], bright.inputs[0])
    links.new(bright.outputs[0], background.inputs["Strength"])
    made = tools.film(tmp_path, still)
    sun = made.job.scene["sun"]
    assert sun["name"] == "Bright spot" and np.allclose(sun["direction"], toward, atol=0.02)
    assert abs(sun["strength"] / (400 * 2 * np.pi * 0.002) - 1) < 0.1
    assert np.allclose(made.suns["axes"][0][2], toward, atol=0.02)


def test_an_even_world_costs_few_pixels_and_keeps_its_light(still, tools, tmp_path):
    world = bpy.data.worlds.new("Even")
    still.world = world
    if bpy.app.version < (5, 0):
        world.use_nodes = True
    background = next(n for n in world.node_tree.nodes if n.type == "BACKGROUND")
    background.inputs["Color"].default_value, background.inputs["Strength"].default_value = (0.2, 0.4, 0.8, 1), 1.5
    made = tools.film(tmp_path, still)
    assert made.world.shape == (64, 128, 3)
    assert np.abs(made.world / np.array([0.3, 0.6, 1.2]) - 1).max() < 1e-3


def test_pictures_are_as_fine_as_the_shot_can_see_them(still):
    """A world with a texture may hold a sun, and is never coarse; a map of the sun is finer than the frames."""
    import importlib

    around = importlib.import_module("shotlock.operators.surroundings")
    suns = importlib.import_module("shotlock.engine.suns")
    world = bpy.data.worlds.new("Sky")
    if bpy.app.version < (5, 0):
        world.use_nodes = True
    assert around.width(world, 600) == 128
    world.node_tree.nodes.new("ShaderNodeTexSky")
    assert [around.width(world, focal) for focal in (20, 190, 600)] == [1024, 1280, 2048]
    assert [suns.side(size) for size in ((96, 64), (240, 128), (448, 256), (832, 480))] == [256, 532, 1024, 1024]


def test_a_scene_without_a_world_has_none(still, tools, tmp_path):
    still.world = None
    made = tools.film(tmp_path, still)
    assert made.world is None and made.suns is not None


def test_an_objects_own_prompt_and_what_holds_it_are_told(still, tools, tmp_path):
    box = bpy.data.objects["Box"]
    box.shotlock.prompt = "  white marble "
    toys, cart = bpy.data.collections.new("Toys"), bpy.data.objects.new("Cart", None)
    still.collection.children.link(toys)
    toys.objects.link(box)
    still.collection.objects.link(cart)
    box.parent = cart
    made = tools.film(tmp_path, still)
    told = {o["name"]: o for o in made.job.objects}
    assert told["Box"]["prompt"] == "white marble" and {"Cart", "Toys"} <= set(told["Box"]["groups"])
    assert "prompt" not in told["Floor"]
