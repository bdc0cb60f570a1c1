"""The add-on's door: register() and unregister(). Imports nothing when loaded, so that the engine and the tests outside
Blender can live in the same folder; it does not know what is registered, only in which order."""


def register() -> None:
    from . import operators, panels

    operators.register()
    panels.register()
    _leave_before_exit()


def unregister() -> None:
    import atexit

    from . import operators, panels

    atexit.unregister(unregister)
    panels.unregister()
    operators.unregister()


def _leave_before_exit() -> None:
    """Blender as a Python module ends without asking its add-ons to leave, and 4.5 then never ends at all."""
    import atexit

    import bpy

    if not bpy.app.binary_path:
        atexit.register(unregister)
