"""Makes the Python environments: the engine's, one per Blender, the tests'. Standard library only; imports neither.

What goes in stands in pyproject.toml's dependency groups. Where from is pip's own configuration. An environment
carries a stamp with the hash of its list: the same list again costs nothing.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAMP = "shotlock-stamp"


@dataclass(frozen=True)
class Environment:
    name: str
    groups: tuple[str, ...]
    megabytes: int  # to download, measured; torch from an index without CPU builds adds what its GPU libraries weigh
    sees: tuple[str, ...] = ()  # environments whose packages it borrows, so that torch lies on the disk once


ENVIRONMENTS = {
    e.name: e
    for e in (
        Environment("engine", ("engine",), 350),
        Environment("dev", ("dev",), 70, sees=("engine",)),
        Environment("bpy42", ("bpy42",), 380),
        Environment("bpy45", ("bpy45",), 380),
        Environment("bpy50", ("bpy50",), 400),
    )
}


def data_folder() -> Path:
    """Where the add-on looks for the engine, too: `operators/folders.py` says the same, which a test compares. Nothing
    of the add-on is imported here, so that a broken add-on can still be set up and tested."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "shotlock"


def folder(name: str) -> Path:
    """SHOTLOCK_ENVS names a folder of ready environments, used as they are."""
    ready = os.environ.get("SHOTLOCK_ENVS", "")
    return Path(ready) / name if ready else data_folder() / name


def python(name: str) -> Path:
    return folder(name) / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def requirements(name: str) -> list[str]:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    return [line for group in ENVIRONMENTS[name].groups for line in groups[group]]


def stamp(name: str) -> str:
    lines = [sys.version, str(folder(name)), *requirements(name)]
    lines += [stamp(other) for other in ENVIRONMENTS[name].sees]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def is_ready(name: str) -> bool:
    if os.environ.get("SHOTLOCK_ENVS"):
        return python(name).exists()
    mark = folder(name) / STAMP
    return mark.exists() and mark.read_text() == stamp(name) and python(name).exists()


def environment_variables() -> dict[str, str]:
    """The caller's, without what would lead one Python into another's packages."""
    leading_astray = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
    return {k: v for k, v in os.environ.items() if k not in leading_astray}


def borrow(name: str) -> None:
    site = folder(name) / "lib" / "python3.11" / "site-packages"
    for other in ENVIRONMENTS[name].sees:
        theirs = folder(other) / "lib" / "python3.11" / "site-packages"
        (site / f"shotlock-{other}.pth").write_text(f"{theirs}\n")


def make(name: str) -> None:
    """Fills an environment; what an interrupted run left is completed, not thrown away."""
    variables = environment_variables()
    subprocess.run([sys.executable, "-m", "venv", str(folder(name))], check=True, env=variables)
    borrow(name)
    pip = [str(python(name)), "-m", "pip", "--disable-pip-version-check", "install"]
    subprocess.run([*pip, *requirements(name)], check=True, env=variables)
    (folder(name) / STAMP).write_text(stamp(name))


def ensure(*names: str) -> None:
    missing = [name for name in names if not is_ready(name)]
    if not missing:
        return
    if os.environ.get("SHOTLOCK_ENVS"):
        raise SystemExit(f"SHOTLOCK_ENVS={folder('')} lacks {', '.join(missing)}: add them there or unset it")
    announce(missing)
    for i, name in enumerate(missing, 1):
        say(f"[{i}/{len(missing)}] {name}: {', '.join(requirements(name))}")
        try:
            make(name)
        except subprocess.CalledProcessError as error:
            step = "pip" if "pip" in error.cmd else "venv"
            raise SystemExit(
                f"{name}: {step} ended with status {error.returncode}, see above; mend that and run this again"
            ) from None


def announce(missing: list[str]) -> None:
    total = sum(ENVIRONMENTS[name].megabytes for name in missing)
    say(f"Setting up {', '.join(missing)} in {data_folder()}")
    say(f"About {total} MB to download with PyTorch's CPU build, less what pip has cached.")
    if "engine" in missing:
        say("An index that offers only PyTorch's GPU build makes it some 2500 MB more.")


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    ensure(*(sys.argv[1:] or ENVIRONMENTS))
