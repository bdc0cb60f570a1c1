"""The walls between the rooms hold: who imports what, and what nobody does. Reads sources; runs the engine's front."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXTENSION = ("__init__.py", "operators", "panels", "engine")
BLENDER_SIDE = ("__init__.py", "operators", "panels")
FRONT = ("engine/__init__.py", "engine/protocol.py", "engine/job.py", "engine/client.py", "engine/windows.py",
         "engine/suns.py", "engine/official.py", "engine/registry.py", "engine/looks.py", "engine/need.py",
         "engine/prompt/negation.py", "engine/prompt/things.py", "engine/prompt/words.py")
BLENDERS_OWN = frozenset({"bpy", "bpy_extras", "mathutils", "gpu", "bmesh", "addon_utils", "blf", "aud", "bl_ext"})
ENGINES_OWN = frozenset({"torch", "einops", "safetensors", "cv2", "imageio", "imageio_ffmpeg"})
ROOMS = frozenset({"engine", "operators", "panels", "shotlock"})


def sources(*rooms: str) -> Iterator[tuple[str, str]]:
    for room in rooms:
        path = ROOT / room
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            yield file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8")


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and first name of every absolute import, wherever it stands. Relative ones are allowed everywhere."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.lineno, (node.module or "").split(".")[0]


def relative(tree: ast.AST, path: str) -> Iterator[tuple[int, str]]:
    """Line and file-like path of every relative import: `from ..engine import job` in operators/ is engine/job."""
    package = path.split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            yield from ((node.lineno, "/".join([*base, alias.name])) for alias in node.names)


def calls(tree: ast.AST) -> Iterator[tuple[int, str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func), node


def breaches(path: str, source: str) -> list[str]:
    """Every broken wall in one file, as `path:line what`."""
    tree = ast.parse(source)
    found: list[tuple[int, str]] = []
    for line, name in imports(tree):
        found += [(line, f"imports {name}: {why}") for why in forbidden(path, name)]
    for line, target in relative(tree, path):
        found += [(line, f"imports {target}: {why}") for why in crossed(path, target)]
    for line, name, call in calls(tree):
        found += [(line, why) for why in misused(path, name, call)]
    found += [(line, "asks for Blender versions, which only compat.py knows") for line in versions(tree, path)]
    return [f"{path}:{line} {what}" for line, what in sorted(found)]


COMPAT = "operators/compat.py"


def versions(tree: ast.AST, path: str) -> Iterator[int]:
    """Lines that ask which Blender this is; its name in words may be told anywhere."""
    for node in ast.walk(tree):
        if path != COMPAT and isinstance(node, ast.Attribute) and ast.unparse(node).endswith("app.version"):
            yield node.lineno


def forbidden(path: str, name: str) -> Iterator[str]:
    room = path.split("/")[0]
    if room == "engine" and name in BLENDERS_OWN:
        yield "the engine knows no Blender"
    if room in BLENDER_SIDE and name in ENGINES_OWN:
        yield "nothing that Blender loads knows the engine's packages"
    if name in ROOMS:
        yield "only relative imports inside the extension"
    if name in ("pickle", "cPickle", "marshal", "shelve", "dill"):
        yield "no pickle: one file has two module names"
    if path in FRONT and name not in sys.stdlib_module_names | {"numpy"}:
        yield "the front is standard library and numpy"


def crossed(path: str, target: str) -> Iterator[str]:
    room = path.split("/")[0]
    if room == "engine" and not target.startswith("engine"):
        yield "the engine knows no other room"
    if room == "operators" and target.startswith("panels"):
        yield "operators do not know who draws them"
    if room in BLENDER_SIDE and target.startswith("engine") and not in_front(target):
        yield "Blender's side imports the engine's front only"
    if path in FRONT and not in_front(target):
        yield "the front does not import the back"


def in_front(target: str) -> bool:
    """`engine`, `engine/job`, or a name inside one of them such as `engine/job/BadJob`."""
    front = {"engine", *(file.removesuffix(".py") for file in FRONT)}
    return not {"/".join(target.split("/")[:depth]) for depth in (2, 3)}.isdisjoint(front)


def may_be_true(call: ast.Call, keyword: str) -> bool:
    """Whether the call passes that keyword as anything but a plain false."""
    given = (k.value for k in call.keywords if k.arg == keyword)
    return any(not isinstance(value, ast.Constant) or bool(value.value) for value in given)


CONVERTER = "engine/weights/convert.py"  # turns an official .pth into safetensors, once, in a process of its own


def only_weights(call: ast.Call) -> bool:
    """Whether the call says `weights_only=True` in so many words."""
    given = [k.value for k in call.keywords if k.arg == "weights_only"]
    return len(given) == 1 and isinstance(given[0], ast.Constant) and given[0].value is True


def misused(path: str, name: str, call: ast.Call) -> Iterator[str]:
    if name in ("eval", "exec", "os.system", "os.popen"):
        yield f"calls {name}"
    if may_be_true(call, "shell"):
        yield "runs a shell"
    if may_be_true(call, "allow_pickle"):
        yield "reads pickles"
    if name == "torch.load" and not (path == CONVERTER and only_weights(call)):
        yield "torch.load reads pickles; use safetensors"
    if name == "print" and path.split("/")[0] in BLENDER_SIDE:
        yield "prints: Blender's side reports"


def test_every_source_keeps_the_walls() -> None:
    files = list(sources(*EXTENSION))
    assert len(files) > 3, "found no sources to check"
    assert [breach for path, source in files for breach in breaches(path, source)] == []


PLANTED = {
    ("engine/generate.py", "import bpy"): "knows no Blender",
    ("engine/models/lite.py", "def f():\n    from mathutils import Vector"): "knows no Blender",
    ("engine/generate.py", "from ..operators import plan"): "no other room",
    ("operators/generate.py", "def f():\n    import torch"): "engine's packages",
    ("panels/shot.py", "from torch.nn import Linear"): "engine's packages",
    ("__init__.py", "import cv2"): "engine's packages",
    ("operators/plan.py", "from ..panels import shot"): "who draws them",
    ("operators/plan.py", "from ..engine import worker"): "front only",
    ("operators/plan.py", "from ..engine.models.lite import Lite"): "front only",
    ("operators/plan.py", "import engine.job"): "only relative",
    ("panels/shot.py", "from shotlock.operators import session"): "only relative",
    ("engine/job.py", "import torch"): "standard library and numpy",
    ("engine/client.py", "from . import worker"): "does not import the back",
    ("engine/weights/__init__.py", "import pickle"): "no pickle",
    ("engine/worker.py", "x = eval('1')"): "calls eval",
    ("engine/worker.py", "subprocess.run('ls', shell=True)"): "runs a shell",
    ("engine/worker.py", "numpy.load(f, allow_pickle=True)"): "reads pickles",
    ("engine/train/loop.py", "torch.load('x.pt')"): "reads pickles",
    ("engine/weights/store.py", "torch.load('x.pth', weights_only=True)"): "reads pickles",
    ("engine/weights/convert.py", "torch.load('x.pth')"): "reads pickles",
    ("engine/weights/convert.py", "torch.load('x.pth', weights_only=trusted)"): "reads pickles",
    ("operators/takes.py", "print('here')"): "prints",
    ("operators/takes.py", "if bpy.app.version < (5, 0): pass"): "Blender versions",
    ("panels/shot.py", "from bpy import app; old = app.version"): "Blender versions",
}


@pytest.mark.parametrize(("path", "source"), PLANTED)
def test_a_planted_breach_is_found(path: str, source: str) -> None:
    found = breaches(path, source)
    assert len(found) == 1 and PLANTED[path, source] in found[0], found


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("operators/plan.py", "import bpy\nfrom ..engine import job\nfrom ..engine.job import BadJob"),
        ("engine/generate.py", "import torch\nfrom .models import lite\nfrom . import job\nprint('a line')"),
        ("engine/job.py", "import json\nimport numpy as np\nfrom . import protocol\nnp.load('x', allow_pickle=False)"),
        ("panels/shot.py", "import bpy\nfrom ..operators import session"),
        ("engine/weights/convert.py", "import torch\ntorch.load('x.pth', weights_only=True)"),
        ("engine/models/layers.py", "model.eval()\nretrieval(1)\nsubprocess.run(['ls'], shell=False)"),
    ],
)
def test_what_is_allowed_passes(path: str, source: str) -> None:
    assert breaches(path, source) == []


ONE_HOME = {448: {"engine/job.py", "engine/measure/clip.py"}, 252: {"engine/job.py"}, "0.1.0": {"engine/protocol.py"}}
"""The default frame and the version. The measurement's unit of width is a decision of its own."""


@pytest.mark.parametrize("value", ONE_HOME)
def test_a_decision_stands_in_one_place(value: object) -> None:
    found = {
        path
        for path, source in sources(*EXTENSION)
        if not path.startswith("engine/train/")
        and any(isinstance(node, ast.Constant) and node.value == value for node in ast.walk(ast.parse(source)))
    }
    assert found == ONE_HOME[value]


def test_every_module_stands_in_the_picture_of_the_house() -> None:
    """docs/architecture.md names each file, or its room where the room is one thing."""
    picture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    one_thing = ("engine/measure/", "engine/diffusion/")
    files = [path for path, _ in sources("operators", "panels", "engine", "setup", "scenes")]
    missing = [path for path in files if not path.endswith("__init__.py") and not path.startswith(one_thing)
               and f"{path.split('/')[-1]}`" not in picture]
    assert missing == []


def test_importing_the_front_brings_no_heavy_package() -> None:
    present = [file for file in FRONT if (ROOT / file).exists()]
    assert present, f"found none of {', '.join(FRONT)}"
    names = [file.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".") for file in present]
    unwanted = set(ENGINES_OWN | BLENDERS_OWN)
    look = f"loaded = {unwanted} & sys.modules.keys()\nsys.exit(str(loaded) if loaded else 0)"
    code = f"import sys, {', '.join(names)}\n{look}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"loaded with the front: {done.stderr.strip()}"
