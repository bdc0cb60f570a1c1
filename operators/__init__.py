"""Acts on Blender. Registers what the add-on's rooms declare and takes it back in the opposite order. Importing this
package is free: the rooms, which import bpy, enter with register()."""

from types import ModuleType


def rooms() -> list[ModuleType]:
    from . import generate, install, manager, properties, session, strips, told

    return [properties, install, manager, session, generate, told, strips]


def register() -> None:
    for room in rooms():
        room.register()


def unregister() -> None:
    for room in reversed(rooms()):
        room.unregister()
