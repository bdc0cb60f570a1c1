"""Draws. Reads the scene's properties and operators.session, changes nothing. Importing this package is free."""

from types import ModuleType


def rooms() -> list[ModuleType]:
    from . import model, pictures, preferences, shot, status, take

    return [pictures, preferences, model, shot, take, status]


def register() -> None:
    for room in rooms():
        room.register()


def unregister() -> None:
    for room in reversed(rooms()):
        room.unregister()
