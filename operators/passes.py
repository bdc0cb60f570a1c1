"""What the background Blender runs: reads a shot's cameras from the copy of the scene, bakes them into one clean
camera, has Cycles render every frame twice and writes the job folder's arrays.

    blender -b state/scene.blend --python passes.py -- JOB_FOLDER        python passes.py -- JOB_FOLDER   (bpy wheel)

With the name of a module of this folder before it (`clip_maker JOB_FOLDER`), that module's `main` runs instead.

Geometry takes one sample, which Cycles puts at the pixel centre: edges stay one surface or the other. Colours take
several, so that textures don't alias. It says one JSON line per frame; it knows nothing of the artist's session.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

PREFIX = b"shotlock "  # Blender prints between our lines
SAMPLES = 8


def say(**message: Any) -> None:
    """One line on stdout, by one system call; the break before it ends whatever Blender was printing."""
    os.write(1, b"\n" + PREFIX + json.dumps(message).encode() + b"\n")


def main(folder: Path) -> None:
    from . import filming

    leave_with_parent()
    order = json.loads((folder / "state" / "capture.json").read_text(encoding="utf-8"))
    filming.open_copy(folder / "state" / "scene.blend", order, say)
    filming.film(folder, order, say)


def leave_with_parent() -> None:
    """Whoever started us holds our stdin: when they are gone, so are we."""
    threading.Thread(target=_wait_for_the_end, daemon=True).start()


def _wait_for_the_end() -> None:
    while os.read(0, 4096):
        pass
    os._exit(1)


def package() -> str:
    """Loads the add-on under a name of its own, so that relative imports work wherever it lies."""
    name, root = "shotlock_capture", Path(__file__).resolve().parents[1]
    spec = importlib.util.spec_from_file_location(name, root / "__init__.py", submodule_search_locations=[str(root)])
    assert spec and spec.loader
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
    return name


def run() -> int:
    try:
        *room, folder = sys.argv[sys.argv.index("--") + 1:]
        importlib.import_module(f"{package()}.operators.{room[0] if room else 'passes'}").main(Path(folder))
    except Exception as error:
        traceback.print_exc()
        say(error=str(error) or type(error).__name__)
        return 1
    return 0


if __name__ == "__main__":
    code = run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # nothing is left to save, and 4.x can crash while it frees a scene
