"""What a job keeps while it runs, so that it can go on: the look, every step's noisy sample, every window's frames.

Each file is written whole and its sha256 stands in progress.json; a file that is missing or whose hash differs is made
again, nothing else is. When the take is finished the folder is removed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import Any

import numpy as np

from . import job

PROGRESS = "progress.json"
PASS_KEYS = (
    "prompt",
    "negative_prompt",
    "seed",
    "steps",
    "guidance",
    "control_strength",
    "model",
    "size",
    "crop",
    "cuts",
    "version",
)


def _fingerprint(j: job.Job, weights: str) -> str:
    """What the frames follow from: a change of any of it starts the job afresh."""
    values = {key: getattr(j, key) for key in PASS_KEYS}
    digest = hashlib.sha256(json.dumps(values, sort_keys=True, default=list).encode())
    digest.update(weights.encode())
    digest.update((j.folder / "camera.npz").read_bytes())
    return digest.hexdigest()


class State:
    """The folder `state/` of one job."""

    def __init__(self, j: job.Job, weights: str) -> None:
        self.folder = j.folder / "state"
        self.folder.mkdir(exist_ok=True)
        self.facts: dict[str, Any] = self._begin(_fingerprint(j, weights))

    def _begin(self, fingerprint: str) -> dict[str, Any]:
        path = self.folder / PROGRESS
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError):
            found = {}
        if isinstance(found, dict) and found.get("fingerprint") == fingerprint and isinstance(found.get("files"), dict):
            return found
        for old in self.folder.glob("*.npy"):
            old.unlink()
        return {"fingerprint": fingerprint, "files": {}}

    def note(self, **facts: Any) -> None:
        self.facts.update(facts)
        job.write_json(self.folder / PROGRESS, self.facts)

    def keep(self, name: str, array: np.ndarray, replaces: str | None = None) -> None:
        """Writes an array under a name; `replaces` is dropped once the new one is safe."""
        path = job.write_array(self.folder / f"{name}.npy", array)
        files = {**self.facts["files"], name: job.digest(path)}
        if replaces:
            files.pop(replaces, None)
        self.note(files=files)
        if replaces:
            (self.folder / f"{replaces}.npy").unlink(missing_ok=True)

    def find(self, name: str) -> np.ndarray | None:
        """An array that was kept, if it is still what was kept."""
        path = self.folder / f"{name}.npy"
        wanted = self.facts["files"].get(name)
        if wanted is None or not path.is_file() or job.digest(path) != wanted:
            return None
        return np.load(path, mmap_mode="r", allow_pickle=False)

    def sampled(self, window: str, steps: int) -> tuple[int, np.ndarray] | None:
        """The furthest step of a window whose noisy sample is kept: (steps done, sample)."""
        for done in range(steps - 1, 0, -1):
            if (found := self.find(f"{window}_step_{done}")) is not None:
                return done, np.array(found)
        return None

    def finish(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
