"""Run inside the full Blender, without a window: `blender -b --python prepare.py -- ZIP FILE`.

Installs the zip as an artist would, and saves a short, small shot of a few blocks of patterned stone: a window that is
drawn without a graphics card has to stay quick, and the camera report needs something to follow.
"""

from __future__ import annotations

import math
import sys

import bpy

FRAMES, WIDTH = 5, 224
STONES = 2.5                                                      # to a metre
BLOCKS = {"Sandstone": ((-3.0, 2.0), 4.0, (0.72, 0.55, 0.34)), "Red brick": ((2.5, 1.0), 2.6, (0.55, 0.16, 0.10)),
          "Blue door": ((0.0, 5.0), 3.2, (0.10, 0.22, 0.50))}


def painted(thing: bpy.types.Object, name: str, colour: tuple[float, float, float]) -> None:
    paint = bpy.data.materials.new(name)
    nodes, links = paint.node_tree.nodes, paint.node_tree.links
    stones, place = nodes.new("ShaderNodeTexVoronoi"), nodes.new("ShaderNodeNewGeometry")
    stones.inputs["Scale"].default_value = STONES
    shade = nodes.new("ShaderNodeVectorMath")
    shade.operation, shade.inputs[0].default_value = "MULTIPLY", colour
    links.new(place.outputs["Position"], stones.inputs["Vector"])
    links.new(stones.outputs["Color"], shade.inputs[1])
    links.new(shade.outputs["Vector"], nodes["Principled BSDF"].inputs["Base Color"])
    thing.data.materials.append(paint)
    thing.name = name


def build(scene: bpy.types.Scene) -> None:
    bpy.ops.mesh.primitive_plane_add(size=40)
    painted(bpy.context.object, "Courtyard", (0.42, 0.40, 0.36))
    for name, (place, height, colour) in BLOCKS.items():
        bpy.ops.mesh.primitive_cube_add(size=2, location=(*place, height / 2), scale=(1, 1, height / 2))
        painted(bpy.context.object, name, colour)
    lamp = bpy.data.objects.new("Sun", bpy.data.lights.new("Sun", "SUN"))
    lamp.rotation_euler = (0.8, 0.2, 0.6)
    scene.collection.objects.link(lamp)
    crane(scene)


def crane(scene: bpy.types.Scene) -> None:
    camera = bpy.data.objects.new("Crane", bpy.data.cameras.new("Crane"))
    camera.rotation_euler = (math.radians(82), 0, 0)
    scene.collection.objects.link(camera)
    scene.frame_start, scene.frame_end = 1, FRAMES
    for frame, place in ((1, (-1.0, -10.0, 2.0)), (FRAMES, (0.4, -9.6, 2.6))):
        camera.location = place
        camera.keyframe_insert("location", frame=frame)
    scene.camera = camera


zipped, file = sys.argv[sys.argv.index("--") + 1:]
bpy.ops.extensions.package_install_files(repo="user_default", filepath=zipped, enable_on_install=True)
bpy.context.preferences.view.show_splash = False
bpy.context.preferences.system.use_region_overlap = False      # the tab has a plain ground, in which buttons are found
bpy.ops.wm.save_userpref()

bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
build(bpy.context.scene)
bpy.context.scene.shotlock.width = WIDTH
for area in (area for screen in bpy.data.screens for area in screen.areas if area.type == "VIEW_3D"):
    area.spaces.active.region_3d.view_perspective = "CAMERA"
bpy.ops.wm.save_as_mainfile(filepath=file, compress=True)
