"""Saves a small .blend, with the Python of a bpy wheel: `python tiny_blend.py -- FILE KIND`.

    tiny        a wide white floor, a red box that slides along it, a sun, a camera on a dolly, frames 1 to 24
    plain       the same without the camera
    empty       a scene without anything
"""

import math
import sys

import bpy


def paint(name, colour):
    made = bpy.data.materials.new(name)
    if bpy.app.version < (5, 0):
        made.use_nodes = True
    shader = made.node_tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = (*colour, 1)
    shader.inputs["Roughness"].default_value = 1.0
    shader.inputs["Specular IOR Level"].default_value = 0.0
    return made


def thing(scene, name, size, location, material):
    bpy.ops.mesh.primitive_cube_add(size=1, location=location)
    made = bpy.context.object
    made.name, made.scale = name, size
    made.data.materials.append(material)
    return made


def key(owner, channel, rows):
    for frame, value in rows:
        setattr(owner, channel, value)
        owner.keyframe_insert(channel, frame=frame)


def build(kind):
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    scene = bpy.context.scene
    scene.name, scene.frame_start, scene.frame_end = "Yard", 1, 24
    world = bpy.data.worlds.new("Black")
    scene.world = world
    if bpy.app.version < (5, 0):
        world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Color"].default_value = (0, 0, 0, 1)
    if kind == "empty":
        return
    thing(scene, "Floor", (30, 30, 1), (0, 0, -0.5), paint("Chalk", (0.5, 0.5, 0.5)))
    box = thing(scene, "Crate", (2, 2, 2), (0, 0, 1), paint("Red paint", (0.8, 0.02, 0.02)))
    key(box, "location", ((1, (-3, 0, 1)), (24, (3, 0, 1))))
    lamp = bpy.data.objects.new("Sun", bpy.data.lights.new("Sun", "SUN"))
    lamp.data.energy, lamp.rotation_euler = 3.0, (0.6, 0.2, 0.4)
    scene.collection.objects.link(lamp)
    if kind == "plain":
        return
    camera = bpy.data.objects.new("Dolly", bpy.data.cameras.new("Dolly"))
    camera.rotation_euler = (math.radians(70), 0, 0)
    scene.collection.objects.link(camera)
    key(camera, "location", ((1, (-1, -10, 4)), (24, (1, -9, 4))))
    scene.camera = camera


if __name__ == "__main__":
    file, kind = sys.argv[sys.argv.index("--") + 1 :]
    build(kind)
    bpy.ops.wm.save_as_mainfile(filepath=file)
