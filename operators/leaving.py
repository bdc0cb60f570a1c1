"""Lets go of Blender when the process ends, so that scripts with the bpy wheel end cleanly.

The wheels of 4.2 and 4.5 keep the Python functions of some registered classes until after Python is gone, and those
keep `bpy` alive through their module: Blender then never shuts down in order, and the process crashes (4.2.23, exit
code 139) or hangs (4.5.15) after its last line. Blender as a program ends otherwise and is left alone.
"""

import atexit
import sys
from types import ModuleType

import bpy


def register() -> None:
    if not bpy.app.binary_path:  # a wheel: Python runs Blender, not the other way round
        atexit.unregister(let_go)
        atexit.register(let_go)


def unregister() -> None:
    """Nothing: 4.2 keeps the functions of classes that were unregistered, too."""


def let_go() -> None:
    """Takes `bpy` out of every module of the add-on; nothing of it runs after this."""
    package = __name__.rpartition(".operators")[0]
    ours = [module for name, module in sys.modules.items() if f"{name}.".startswith(f"{package}.")]
    for values in map(vars, ours):
        for name in [n for n, value in values.items() if isinstance(value, ModuleType) and value.__name__ == "bpy"]:
            del values[name]
