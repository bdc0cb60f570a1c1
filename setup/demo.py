"""README's first command, once the system has its libraries: environments, the demo in a real Blender, an mp4.

Every further argument goes to `python -m scenes.demo`: `--scene interior`, `--prompt "…"`, `--blend FILE`.
Standard library only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import environments
from environments import ROOT, say

BLENDER = "bpy45"


def output_folder() -> Path:
    """Inside the clone, where git does not look; else, where the clone cannot be written, with the user's data."""
    return (ROOT if os.access(ROOT, os.W_OK) else environments.data_folder()) / "build" / "demo"


def run_blender(folder: Path, arguments: list[str]) -> dict:
    """Nothing of the user's own Blender is read or written."""
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="shotlock-demo-") as scratch:
        variables = environments.environment_variables() | {
            "BLENDER_USER_RESOURCES": scratch,
            "SHOTLOCK_ENGINE_PYTHON": str(environments.python("engine")),
        }
        command = [str(environments.python(BLENDER)), "-m", "scenes.demo", str(folder), *arguments]
        done = subprocess.run(command, cwd=ROOT, env=variables, stdin=subprocess.DEVNULL, check=False)
    if not result.exists():
        raise SystemExit(done.returncode or 1)
    return json.loads(result.read_text(encoding="utf-8"))


def make_film(result: dict) -> Path:
    job = Path(result["job"])
    target = job / f"{job.parent.name}_{job.name}.mp4"
    film = Path(__file__).with_name("film.py")
    command = [str(environments.python("engine")), str(film), str(job / "frames"), str(target), str(result["fps"])]
    subprocess.run(command, env=environments.environment_variables(), check=True)
    return target


def verdict(job: Path) -> str:
    """The report's own sentence, where it has one."""
    try:
        report = json.loads((job / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "not measured"
    return report.get("verdict") or "see report.json"


def main(arguments: list[str]) -> None:
    environments.ensure("engine", BLENDER)
    folder = output_folder()
    result = run_blender(folder, arguments)
    target = make_film(result)
    say(f"Camera   {verdict(Path(result['job']))}")
    say(f"Film     {target}")
    say(f"Frames   {Path(result['job']) / 'frames'}")
    say(f"Blender  {result['blend']}  (its sequencer holds the strip “{result['strip']}”)")


if __name__ == "__main__":
    main(sys.argv[1:])
