"""Builds every scene of this folder that has materials and saves it, for evaluation on Blender scenes and for training:
`python build_all.py -- FOLDER [NAME …]` with the Python of a bpy wheel, `blender -b --python build_all.py -- …`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

import bpy

SCENES = ("exterior", "interior", "street", "clearing", "still_life", "lamplit")
PACKAGE = "shotlock_scenes"


def load() -> str:
    """This folder as a package, wherever it lies and whatever else is called `scenes`."""
    root = Path(__file__).resolve().parent
    spec = importlib.util.spec_from_file_location(PACKAGE, root / "__init__.py", submodule_search_locations=[str(root)])
    assert spec and spec.loader
    sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[PACKAGE])
    return PACKAGE


def main(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    package = load()
    for name in names or SCENES:
        importlib.import_module(f"{package}.{name}").build()
        bpy.ops.wm.save_as_mainfile(filepath=str(folder / f"{name}.blend"), compress=True)


if __name__ == "__main__":
    given = sys.argv[sys.argv.index("--") + 1 :]
    main(Path(given[0]).resolve(), given[1:])
