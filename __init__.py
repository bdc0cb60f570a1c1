"""The add-on's door: register() and unregister(). Imports nothing when loaded, so that the engine and the tests outside
Blender can live in the same folder; it does not know what is registered, only in which order."""


def register() -> None:
    from . import operators, panels

    operators.register()
    panels.register()


def unregister() -> None:
    from . import operators, panels

    panels.unregister()
    operators.unregister()
