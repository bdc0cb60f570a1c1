"""What register() adds, unregister() takes away."""

import bpy


def test_the_add_on_loads_from_a_folder_of_any_name(scene, shotlock):
    assert shotlock.__name__ == "shotlock"
    assert bpy.context.scene == scene


def test_the_tiny_scene_has_a_moving_camera(saved):
    assert saved.camera.name == "Cam A" and bpy.data.filepath.endswith("film.blend")
