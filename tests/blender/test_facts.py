"""What is said of a scene: its objects, colours, lights and sun; and of a camera path, in a cinematographer's words."""

from __future__ import annotations

import importlib
import json
import math

import bpy
import numpy as np
import pytest
from mathutils import Vector


@pytest.fixture
def rooms(shotlock):
    return importlib.import_module("shotlock.operators.facts")


@pytest.fixture
def told(tiny, rooms):
    """`told()`: the facts of the tiny scene as it stands now, through JSON."""
    plan = importlib.import_module("shotlock.operators.plan").plan
    tiny.shotlock.prompt = "clay"

    def tell():
        bpy.context.view_layer.update()
        return json.loads(json.dumps(rooms.facts(tiny, plan(tiny)), allow_nan=False))
    return tell


def thing(facts, name):
    return next(t for t in facts["objects"] if t["name"] == name)


def add_box(name, **where):
    bpy.ops.mesh.primitive_cube_add(size=2, **where)
    bpy.context.object.name = name
    return bpy.context.object


def paint(obj, name, colour=(0.5, 0.5, 0.5), **inputs):
    material = bpy.data.materials.new(name)
    if bpy.app.version < (5, 0):
        material.use_nodes = True
    shader = material.node_tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = (*colour, 1)
    for key, value in inputs.items():
        shader.inputs[key.replace("_", " ")].default_value = value
    obj.data.materials.append(material)
    return material


# --- objects ------------------------------------------------------------------------------------------------------


def test_objects_have_name_collection_size_and_materials(told):
    box = thing(told(), "Box")
    assert box["size_m"] == [2, 2, 2] and box["centre"] == [0, 0, 1] and not box["moving"]
    assert box["collection"] == bpy.data.objects["Box"].users_collection[0].name
    assert [m["name"] for m in box["materials"]] == ["Red paint"]
    assert box["materials"][0]["colour"] == "red"


def test_sizes_are_metres_and_places_are_units(tiny, told):
    """Row 22: scale_length enters once, in what is said of size."""
    tiny.unit_settings.scale_length = 0.01
    facts = told()
    assert thing(facts, "Box")["size_m"] == pytest.approx([0.02] * 3) and facts["scale_length"] == pytest.approx(0.01)
    assert thing(facts, "Box")["centre"] == [0, 0, 1]


def test_what_does_not_render_is_not_told(tiny, told):
    """Row 25: hidden objects, hidden and excluded collections; hidden in the viewport only still renders."""
    for name in ("Hidden", "In hidden", "In excluded", "Viewport"):
        add_box(name, location=(0, 3, 0))
    bpy.data.objects["Hidden"].hide_render = True
    bpy.data.objects["Viewport"].hide_viewport = True
    for name, attribute in (("In hidden", "hide"), ("In excluded", "exclude")):
        collection, obj = bpy.data.collections.new(name), bpy.data.objects[name]
        tiny.collection.children.link(collection)
        for other in list(obj.users_collection):
            other.objects.unlink(obj)
        collection.objects.link(obj)
        if attribute == "hide":
            collection.hide_render = True
        else:
            tiny.view_layers[0].layer_collection.children[name].exclude = True
    assert {t["name"] for t in told()["objects"]} == {"Floor", "Box", "Viewport"}


def test_an_instanced_collection_is_one_thing(tiny, told):
    """Rows 27, 31: a linked house is an empty that instances a collection."""
    house = bpy.data.collections.new("House")
    box = add_box("Walls")
    paint(box, "Brick", (0.4, 0.1, 0.05))
    for collection in list(box.users_collection):
        collection.objects.unlink(box)
    house.objects.link(box)
    empty = bpy.data.objects.new("Home", None)
    empty.instance_type, empty.instance_collection = "COLLECTION", house
    empty.location, empty.scale = (5, 5, 0), (2, 2, 2)
    tiny.collection.objects.link(empty)
    home = thing(told(), "Home")
    assert home["collection"] == "House" and home["size_m"] == [4, 4, 4] and home["centre"] == [5, 5, 0]
    assert [m["name"] for m in home["materials"]] == ["Brick"]


def test_the_background_sets_objects_are_told(tiny, told):
    """Row 32."""
    behind = bpy.data.scenes.new("Backdrop")
    behind.collection.objects.link(bpy.data.objects.new("Hill", bpy.data.meshes.new_from_object(
        bpy.data.objects["Box"])))
    tiny.background_set = behind
    assert "Hill" in {t["name"] for t in told()["objects"]}


def test_many_objects_are_cut_to_the_most_prominent(tiny, told, rooms):
    mesh = bpy.data.objects["Box"].data
    for i in range(rooms.MOST_OBJECTS + 20):
        far = bpy.data.objects.new(f"Far {i}", mesh)
        far.location = (0, 500 + i, 0)
        tiny.collection.objects.link(far)
    facts = told()
    assert len(facts["objects"]) == rooms.MOST_OBJECTS and facts["objects_left_out"] == 22
    assert {"Box", "Floor"} <= {t["name"] for t in facts["objects"]} and len(json.dumps(facts)) < 200_000


def test_an_empty_scene_has_facts_too(tiny, told):
    """Row 24."""
    for name in ("Box", "Floor", "Sun"):
        bpy.data.objects.remove(bpy.data.objects[name])
    facts = told()
    assert facts["objects"] == [] and facts["sun"] is None


def keyed(obj, **values):
    for i, value in enumerate(values["location"]):
        obj.location = value
        obj.keyframe_insert("location", frame=1 + 4 * i)


def moves_by_keys(obj):
    keyed(obj, location=[(0, 0, 0), (1, 0, 0)])


def moves_by_parent(obj):
    obj.parent = bpy.data.objects.new("Parent", None)
    keyed(obj.parent, location=[(0, 0, 0), (1, 0, 0)])


def moves_by_driver(obj):
    obj.driver_add("rotation_euler", 2).driver.expression = "frame"


def moves_by_constraint(obj):
    target = bpy.data.objects.new("Target", None)
    keyed(target, location=[(0, 0, 0), (1, 0, 0)])
    obj.constraints.new("COPY_LOCATION").target = target


def moves_by_shape(obj):
    obj.shape_key_add(name="Basis")
    key = obj.shape_key_add(name="Smile")
    for frame, value in ((1, 0), (5, 1)):
        key.value = value
        key.keyframe_insert("value", frame=frame)


def moves_by_armature(obj):
    obj.modifiers.new("Rig", "ARMATURE")


@pytest.mark.parametrize("move", [moves_by_keys, moves_by_parent, moves_by_driver, moves_by_constraint, moves_by_shape,
                                  moves_by_armature])
def test_what_may_move_is_told(told, move):
    move(bpy.data.objects["Box"])
    facts = told()
    assert thing(facts, "Box")["moving"] and not thing(facts, "Floor")["moving"]


def test_keys_that_change_nothing_are_no_motion(told):
    box = bpy.data.objects["Box"]
    keyed(box, location=[(0, 0, 1), (0, 0, 1)])
    box.hide_viewport = False
    box.keyframe_insert("hide_viewport", frame=1)
    assert not thing(told(), "Box")["moving"]


# --- materials ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("linear, word", [
    ((0, 0, 0), "black"), ((0.03, 0.03, 0.03), "dark grey"), ((0.2, 0.2, 0.2), "grey"), ((0.6, 0.6, 0.6), "light grey"),
    ((0.9, 0.9, 0.9), "white"), ((0.8, 0.02, 0.02), "red"), ((0.1, 0.003, 0.003), "dark red"),
    ((0.8, 0.25, 0.01), "orange"), ((0.2, 0.08, 0.03), "brown"), ((0.02, 0.01, 0.004), "dark brown"),
    ((0.75, 0.6, 0.42), "beige"), ((0.85, 0.7, 0.02), "yellow"), ((0.05, 0.4, 0.08), "green"),
    ((0.02, 0.5, 0.5), "cyan"), ((0.03, 0.08, 0.6), "blue"), ((0.2, 0.02, 0.5), "purple"),
    ((0.7, 0.02, 0.5), "magenta"), ((0.9, 0.35, 0.4), "pink"), ((5, 0, 0), "red"),
])
def test_colours_in_words(rooms, linear, word):
    assert rooms.colour_word(linear) == word


@pytest.mark.parametrize("inputs, finish", [
    (dict(Metallic=1.0), "metal"), (dict(Transmission_Weight=1.0), "glass"), (dict(Roughness=0.1), "glossy"),
    (dict(Roughness=0.3), "satin"), (dict(Roughness=0.9), "matt"),
    (dict(Emission_Strength=3.0, Emission_Color=(1, 1, 1, 1)), "glowing"),
])
def test_finishes_in_words(told, inputs, finish):
    box = add_box("Thing")
    paint(box, "Stuff", **inputs)
    assert thing(told(), "Thing")["materials"][0]["finish"] == finish


def test_a_textures_name_stands_where_a_colour_would(told):
    box = add_box("Wall")
    material = paint(box, "Plaster")
    tree = material.node_tree
    texture, mix = tree.nodes.new("ShaderNodeTexImage"), tree.nodes.new("ShaderNodeMixRGB")
    texture.image = bpy.data.images.new("old_plaster.png", 4, 4)
    tree.links.new(texture.outputs["Color"], mix.inputs[1])
    tree.links.new(mix.outputs[0], tree.nodes["Principled BSDF"].inputs["Base Color"])
    found = thing(told(), "Wall")["materials"][0]
    assert found["image"] == "old_plaster.png" and found["colour"] is None


def test_a_shader_inside_a_group_behind_a_mix_is_found(told):
    box = add_box("Wall")
    material = paint(box, "Mixed")
    tree = material.node_tree
    group = bpy.data.node_groups.new("Paint", "ShaderNodeTree")
    group.interface.new_socket("Shader", in_out="OUTPUT", socket_type="NodeSocketShader")
    inner, out = group.nodes.new("ShaderNodeBsdfDiffuse"), group.nodes.new("NodeGroupOutput")
    inner.inputs["Color"].default_value = (0.03, 0.08, 0.6, 1)
    group.links.new(inner.outputs[0], out.inputs[0])
    node, mix = tree.nodes.new("ShaderNodeGroup"), tree.nodes.new("ShaderNodeMixShader")
    node.node_tree = group
    tree.links.new(node.outputs[0], mix.inputs[1])
    output = next(n for n in tree.nodes if n.type == "OUTPUT_MATERIAL")
    tree.links.new(mix.outputs[0], output.inputs["Surface"])
    assert thing(told(), "Wall")["materials"][0]["colour"] == "blue"


# --- light and lens -----------------------------------------------------------------------------------------------


def test_the_sun_is_the_strongest_and_points_to_where_light_comes_from(tiny, told):
    low = bpy.data.objects.new("Low sun", bpy.data.lights.new("Low sun", "SUN"))
    low.data.energy, low.data.color = 9, (1.0, 0.6, 0.3)
    bpy.data.objects["Sun"].data.energy = 2
    low.rotation_euler = (math.radians(80), 0, 0)  # tipped toward +Y: it shines along +Y, so light comes from -Y
    tiny.collection.objects.link(low)
    facts = told()
    assert facts["sun"]["name"] == "Low sun" and facts["sun"]["strength"] == 9
    assert facts["sun"]["colour"] == pytest.approx([1, 0.6, 0.3], abs=1e-4)
    assert facts["sun"]["direction"] == pytest.approx([0, -math.sin(math.radians(80)), math.cos(math.radians(80))],
                                                      abs=1e-4)
    low.hide_render = True
    assert told()["sun"]["name"] == "Sun"


def test_the_suns_direction_is_where_shadows_say(tiny, told):
    """Against Blender itself: from a lit point, the way to the sun is free; the box's shadow lies opposite."""
    direction = Vector(told()["sun"]["direction"])
    depsgraph = bpy.context.evaluated_depsgraph_get()
    above = Vector((0, 0, 2.01))
    assert not tiny.ray_cast(depsgraph, above, direction)[0]
    shadowed = Vector((0, 0, 1)) - direction * (0.99 / direction.z)  # on the floor, behind the box
    assert tiny.ray_cast(depsgraph, shadowed + Vector((0, 0, 0.01)), direction)[4].name == "Box"


def test_lights_have_type_energy_and_colour(tiny, told):
    lamp = bpy.data.objects.new("Lamp", bpy.data.lights.new("Lamp", "POINT"))
    lamp.data.energy, lamp.data.color, lamp.location = 60, (1, 0.7, 0.4), (1, 2, 3)
    tiny.collection.objects.link(lamp)
    lights = {light["name"]: light for light in told()["lights"]}
    assert lights["Lamp"]["type"] == "point" and lights["Lamp"]["energy"] == 60
    assert lights["Lamp"]["colour"] == "warm white" and lights["Lamp"]["direction"] is None
    assert lights["Lamp"]["position"] == [1, 2, 3]


def test_the_world_and_the_view(tiny, told):
    world = bpy.data.worlds.new("Sky")
    if bpy.app.version < (5, 0):
        world.use_nodes = True
    background = next(n for n in world.node_tree.nodes if n.type == "BACKGROUND")
    background.inputs["Color"].default_value, background.inputs["Strength"].default_value = (0.03, 0.08, 0.6, 1), 0.5
    tiny.world = world
    tiny.view_settings.view_transform = "Standard"
    facts = told()
    assert facts["world"]["colour"] == "blue" and facts["world"]["strength"] == 0.5
    assert facts["view_transform"] == "Standard"
    tiny.world = None
    assert told()["world"] is None


def test_telling_changes_nothing(tiny, told):
    """Row 36."""
    tiny.frame_set(3)
    before = [tuple(map(tuple, obj.matrix_world)) for obj in tiny.objects]
    told()
    assert tiny.frame_current == 3 and [tuple(map(tuple, obj.matrix_world)) for obj in tiny.objects] == before


# --- the path -----------------------------------------------------------------------------------------------------

FRAMES = 25


def k(count=FRAMES, zoom=1.0):
    matrices = np.tile(np.array([[400.0, 0, 224], [0, 400, 126], [0, 0, 1]]), (count, 1, 1))
    matrices[:, [0, 1], [0, 1]] *= (zoom ** np.linspace(0, 1, count))[:, None]
    return matrices


def looking(places, targets):
    """(F,4,4) OpenCV poses with a level horizon."""
    poses = []
    for place, target in zip(np.asarray(places, float), np.asarray(targets, float)):
        ahead = (target - place) / np.linalg.norm(target - place)
        right = np.cross(ahead, (0, 0, 1))
        right /= np.linalg.norm(right)
        pose = np.eye(4)
        pose[:3, :4] = np.stack([right, np.cross(ahead, right), ahead, place], -1)
        poses.append(pose)
    return np.array(poses)


def along(start, end, count=FRAMES):
    return np.linspace(start, end, count)


def straight(start, end, ahead=(0, 1, 0)):
    places = along(start, end)
    return looking(places, places + np.array(ahead))


def turned(yaw=(0, 0), pitch=(0, 0)):
    """Standing still at (3,2,1); yaw to the left, pitch upward, in degrees."""
    yaw, pitch = np.radians(along(*yaw)), np.radians(along(*pitch))
    ahead = np.stack([-np.sin(yaw) * np.cos(pitch), np.cos(yaw) * np.cos(pitch), np.sin(pitch)], -1)
    place = np.tile((3.0, 2.0, 1.0), (FRAMES, 1))
    return looking(place, place + ahead)


def around(degrees, radius=5.0, rise=0.0, target=(1, 2, 0.5)):
    angle = np.radians(np.linspace(*degrees, FRAMES))
    height = np.linspace(0, rise, FRAMES)
    flat = np.sqrt(radius**2 - height**2)
    places = np.array(target) + np.stack([flat * np.cos(angle), flat * np.sin(angle), height], -1)
    return looking(places, np.tile(np.array(target, float), (FRAMES, 1)))


def rolled(degrees):
    poses = turned()
    for pose, angle in zip(poses, np.radians(along(0, degrees))):
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        pose[:3, :3] = pose[:3, :3] @ turn
    return poses


def shaken(poses, seed=0):
    rng = np.random.default_rng(seed)
    poses = poses.copy()
    for pose in poses:
        x, y, z = np.radians(rng.normal(0, 0.3, 3))
        turn = np.array([[1, -z, y], [z, 1, -x], [-y, x, 1]])
        pose[:3, :3] = np.linalg.qr(pose[:3, :3] @ turn)[0] * np.sign(np.diag(np.linalg.qr(pose[:3, :3] @ turn)[1]))
        pose[:3, 3] += rng.normal(0, 0.03, 3)
    return poses


@pytest.mark.parametrize("poses, zoom, words", [
    (straight((3, 2, 1), (3, 2, 1)), 1, "static"),
    (straight((0, 0, 1), (0, 3, 1)), 1, "dolly in 3 units"),
    (straight((0, 3, 1), (0, 0, 1)), 1, "dolly out 3 units"),
    (straight((0, 0, 1), (2, 0, 1)), 1, "truck right 2 units"),
    (straight((0, 0, 1), (-2, 0, 1)), 1, "truck left 2 units"),
    (straight((0, 0, 1), (0, 0, 4)), 1, "pedestal up 3 units"),
    (straight((0, 0, 4), (0, 2, 1)), 1, "dolly in 2 units, crane down 3 units"),
    (straight((0, 0, 9), (0, 0, 5), (0.001, 0, -1)), 1, "dolly in 4 units"),
    (turned(yaw=(0, 30)), 1, "pan left 30 degrees"),
    (turned(yaw=(170, 150)), 1, "pan right 20 degrees"),
    (turned(pitch=(-10, 15)), 1, "tilt up 25 degrees"),
    (turned(yaw=(0, 30), pitch=(-20, -30)), 1, "pan left 30 degrees, tilt down 10 degrees"),
    (rolled(180), 1, "roll clockwise 180 degrees"),
    (rolled(-40), 1, "roll counter-clockwise 40 degrees"),
    (around((0, 60)), 1, "orbit right 60 degrees around a point 5 units away"),
    (around((0, -350)), 1, "orbit left 350 degrees around a point 5 units away"),
    (straight((3, 2, 1), (3, 2, 1)), 2, "zoom in 2 times"),
    (straight((0, 0, 1), (0, 4, 1)), 0.5, "dolly zoom: in 4 units while the view widens 2 times"),
    (straight((0, 4, 1), (0, 0, 1)), 1.5, "dolly zoom: out 4 units while the view narrows 1.5 times"),
    (shaken(straight((0, 0, 1), (0, 3, 1))), 1, "dolly in 3 units, hand-held"),
])
def test_a_move_in_words(rooms, poses, zoom, words):
    said = rooms.camera_move(poses, k(zoom=zoom))
    if "hand-held" in words:  # amounts tremble with the hand
        assert said.startswith("dolly in") and said.endswith("hand-held")
    else:
        assert said == words


def test_driving_round_in_a_circle_is_no_orbit(rooms):
    """Ahead along a ring, or outward from one: nothing is kept in the middle of the picture."""
    poses, centre = around((0, 90)), np.array((1, 2, 0.5))
    places = poses[:, :3, 3]
    ahead = np.cross((0, 0, 1), places - centre)
    assert rooms.camera_move(looking(places, places + ahead), k()) == "dolly in 7.85 units, pan left 90 degrees"
    outward = rooms.camera_move(looking(places, 2 * places - centre), k())
    assert outward == "truck left 7.85 units, pan left 90 degrees"


def test_there_and_back_is_told_as_such(rooms):
    out = straight((0, 0, 1), (3, 0, 1))
    assert rooms.camera_move(np.concatenate([out, out[::-1]]), k(2 * FRAMES)) == "truck back and forth 3 units"


def test_amounts_are_metres_where_a_unit_is_known(rooms):
    assert rooms.camera_move(straight((0, 0, 1), (0, 300, 1)), k(), 0.01) == "dolly in 3 m"


@pytest.mark.parametrize("count", [1, 2])
def test_one_and_two_frames(rooms, count):
    """Row 35."""
    assert rooms.camera_move(straight((3, 2, 1), (3, 2, 1))[:count], k(count)) == "static"


def test_looking_straight_down_has_no_jump(rooms):
    """Row 34: through the nadir, one tilt and nothing else."""
    pitch = np.radians(along(-60, -120))
    poses = np.tile(np.eye(4), (FRAMES, 1, 1))
    for pose, p in zip(poses, pitch):
        ahead, right = np.array([0, np.cos(p), np.sin(p)]), np.array([1.0, 0, 0])
        pose[:3, :3] = np.stack([right, np.cross(ahead, right), ahead], -1)
    assert rooms.camera_move(poses, k()) == "tilt down 60 degrees"


def test_a_shots_cameras_each_have_a_lens_and_a_move(tiny, rooms):
    from dataclasses import replace
    plan = importlib.import_module("shotlock.operators.plan").plan
    tiny.shotlock.prompt = "clay"
    made = replace(plan(tiny), cuts=(0, 3), cameras=("Cam A",) * 3 + ("Cam B",) * 2, crop=(0, 2, 448, 252))
    c2w = np.concatenate([straight((0, 0, 1), (0, 3, 1))[:3], straight((3, 2, 1), (3, 2, 1))[:2]])
    first, second = rooms.camera_facts(made, c2w, k(5, zoom=2))
    assert (first["name"], first["frames"]) == ("Cam A", [1, 3])
    assert first["move"] == "dolly in 0.25 units, zoom in 1.41 times"
    assert (second["name"], second["frames"]) == ("Cam B", [4, 5])
    assert first["lens_mm"] == pytest.approx([400 / 448 * 36, 400 * 2**0.5 / 448 * 36], abs=0.1)


def test_only_what_the_path_sees_is_kept(told, rooms):
    add_box("Behind", location=(0, -30, 0))
    add_box("Far left", location=(-60, 10, 0))
    rover = add_box("Rover", location=(0, -40, 0))
    keyed(rover, location=[(0, -40, 0), (0, 0, 0)])
    bpy.context.scene.frame_set(1)
    path = straight((0, -8, 1), (0, -6, 1))
    facts = rooms.seen(told(), path, k(), (448, 252))
    assert [t["name"] for t in facts["objects"]] == ["Floor", "Box", "Rover"]
    assert [m["name"] for m in facts["materials"]] == ["Red paint"]


# --- bare objects -------------------------------------------------------------------------------------------------


def test_an_object_is_bare_until_somebody_says_what_it_is_made_of(tiny, rooms):
    box = add_box("Block")
    assert rooms.is_bare(box)                                    # no slot
    box.data.materials.append(None)
    assert rooms.is_bare(box)                                    # an empty one
    box.data.materials.clear()
    paint(box, "Material", (0.8, 0.8, 0.8))
    assert rooms.is_bare(box)                                    # one that nobody changed
    for name, colour, inputs in (("Red", (0.8, 0.1, 0.1), {}), ("Steel", (0.8, 0.8, 0.8), {"Metallic": 1.0}),
                                 ("Glass", (0.8, 0.8, 0.8), {"Transmission_Weight": 1.0}),
                                 ("Lamp", (0.8, 0.8, 0.8), {"Emission_Strength": 2.0})):
        other = add_box(name)
        paint(other, name, colour, **inputs)
        if name == "Lamp":
            shader = other.active_material.node_tree.nodes["Principled BSDF"]
            shader.inputs["Emission Color"].default_value = (1, 1, 1, 1)
        assert not rooms.is_bare(other), name
    textured = add_box("Textured")
    tree = paint(textured, "Textured", (0.8, 0.8, 0.8)).node_tree
    checker = tree.nodes.new("ShaderNodeTexChecker")
    tree.links.new(checker.outputs["Color"], tree.nodes["Principled BSDF"].inputs["Base Color"])
    assert not rooms.is_bare(textured)
