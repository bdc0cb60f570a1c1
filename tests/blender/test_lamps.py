"""What a lamp's light reaches of what the camera sees, and what is told of its form: by a floor and boards."""

import importlib
import json
import math

import bpy
import numpy as np
import pytest


@pytest.fixture
def floor(scene):
    """A floor, seen from 4 m above it, which shows some 3.7 x 2.5 m of it."""
    bpy.ops.mesh.primitive_plane_add(size=40)
    return scene


def lamp(kind, at, **values):
    data = bpy.data.lights.new("Lamp", kind)
    for name, value in values.items():
        setattr(data, name, value)
    made = bpy.data.objects.new("Lamp", data)
    made.location = at
    bpy.context.scene.collection.objects.link(made)
    return made


def board(at, size, name="Board"):
    bpy.ops.mesh.primitive_plane_add(size=1, location=at)
    made = bpy.context.object
    made.name, made.scale = name, (*size, 1)
    return made


def told(scene):
    """The facts of the one lamp, through JSON, as the capture tells them."""
    facts, lamps = (importlib.import_module(f"shotlock.operators.{name}") for name in ("facts", "lamps"))
    c2w = np.diag([1.0, -1.0, -1.0, 1.0])[None]
    c2w[:, 2, 3] = 4.0
    K = np.array([[[100.0, 0, 48], [0, 100.0, 32], [0, 0, 1]]])
    layer = scene.view_layers[0]
    layer.update()
    found = facts._lights(thing for thing in scene.objects)
    [light] = json.loads(json.dumps(lamps.reaching(scene, layer, found, c2w, K, (96, 64))))
    return light


@pytest.mark.parametrize("kind", ["POINT", "SPOT", "AREA"])
def test_a_lamp_with_nothing_before_it_reaches_all(floor, kind):
    lamp(kind, (0, 0, 2))
    assert told(floor)["reach"] == 1


def test_what_stands_between_keeps_it_off(floor):
    lamp("POINT", (0, 0, 2))
    between = board((0, 0, 5), (30, 30))  # above the camera: what it sees lies in the shadow
    floor.objects["Lamp"].location.z = 6
    assert told(floor)["reach"] == 0
    between.visible_shadow = False
    assert told(floor)["reach"] == 1
    between.visible_shadow, between.hide_render = True, True
    assert told(floor)["reach"] == 1
    between.hide_render, between.location.x = False, 15  # its edge right under the lamp
    assert told(floor)["reach"] == pytest.approx(0.5, abs=0.1)


def test_a_large_lamp_shines_past_an_edge(floor):
    """Of a point one board hides all that the camera sees; of an area lamp the middle."""
    lamp("AREA", (0, 0, 8), size=4.0)
    board((0, 0, 6), (2, 2))
    large = told(floor)["reach"]
    floor.objects["Lamp"].data.size = 0.01
    assert told(floor)["reach"] == 0 and 0.2 < large < 0.9


def test_an_area_lamp_that_looks_away_lights_nothing_that_could_be_hidden(floor):
    lamp("AREA", (0, 0, 2)).rotation_euler = (math.pi, 0, 0)
    assert told(floor)["reach"] == 1


@pytest.mark.parametrize("shape, sides, area", [
    ("SQUARE", (2.0, 9.0), 4.0), ("RECTANGLE", (2.0, 3.0), 6.0), ("DISK", (2.0, 9.0), math.pi),
    ("ELLIPSE", (2.0, 4.0), 2 * math.pi),
])  # fmt: skip
def test_an_area_lamps_form_is_told(floor, shape, sides, area):
    made = lamp("AREA", (0, 0, 2), shape=shape, size=sides[0], size_y=sides[1], spread=math.radians(60))
    light = told(floor)
    assert light["area"] == pytest.approx(area, rel=1e-4)
    assert light["spread"] == pytest.approx(math.radians(60), abs=1e-4)
    made.scale = (2, 3, 1)
    assert told(floor)["area"] == pytest.approx(6 * area, rel=1e-4)
    assert light["direction"] == [0, 0, 1]  # toward where the light comes from


def test_a_spots_cone_and_a_portal_are_told(floor):
    made = lamp("SPOT", (0, 0, 2), spot_size=math.radians(40), spot_blend=0.25, energy=50)
    light = told(floor)
    assert light["angle"] == pytest.approx(math.radians(40), abs=1e-4) and light["blend"] == 0.25
    bpy.data.objects.remove(made)
    made = lamp("AREA", (0, 0, 2), energy=50)
    assert told(floor)["energy"] == 50
    made.data.cycles.is_portal = True
    assert told(floor)["energy"] == 0


def test_suns_reach_as_their_maps_say(floor):
    lamp("SUN", (0, 0, 2))
    assert "reach" not in told(floor)
