"""What a job keeps while it runs, so that it can go on: every step's noisy sample, every window's frames.

Each file is written whole and its sha256 stands in progress.json; a file that is missing or whose hash differs is made
again, nothing else is. The record carries its own sha256, and the one before it is kept: a damaged one costs a step.
When the take is finished the folder is removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from . import job

PROGRESS = "progress.json"
BEFORE = "progress-before.json"
JOB_KEYS = (
    "prompt",
    "negative_prompt",
    "seed",
    "steps",
    "guidance",
    "shift",
    "control_strength",
    "control_start",
    "control_end",
    "denoise",
    "dress",
    "known",
    "references",
    "loras",
    "speed",
    "model",
    "size",
    "crop",
    "cuts",
    "objects",
    "version",
)


def _fingerprint(j: job.Job, weights: str) -> str:
    """What the frames follow from: a change of any of it starts the job afresh."""
    values = {key: getattr(j, key) for key in JOB_KEYS}
    digest = hashlib.sha256(json.dumps(values, sort_keys=True, default=list).encode())
    digest.update(weights.encode())
    digest.update(json.dumps(j.scene, sort_keys=True, default=repr).encode())
    for name in job.FACTS:
        if (j.folder / name).exists():
            digest.update((j.folder / name).read_bytes())
    for name in (*sorted(j.passes.values()), *(entry["picture"] for entry in j.known), *j.references):
        digest.update(job.digest_of_blocks(j.folder / name))
    return digest.hexdigest()


def _sum(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _record(path: Path) -> dict[str, Any] | None:
    """The facts of a record, if they are what was written."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found["facts"] if found["sha256"] == _sum(found["facts"]) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


class State:
    """The folder `state/` of one job."""

    def __init__(self, j: job.Job, weights: str) -> None:
        self.folder = j.folder / "state"
        self.folder.mkdir(exist_ok=True)
        self.told = ""  # why earlier work was not gone on from, one sentence
        self._sure: dict[str, str] = {}  # files whose hash was right
        self._retired: str | None = None  # a file that only the record before the last one names
        self.facts: dict[str, Any] = self._begin(_fingerprint(j, weights))

    def _begin(self, fingerprint: str) -> dict[str, Any]:
        records = [record for name in (PROGRESS, BEFORE) if (record := _record(self.folder / name)) is not None]
        if records and records[0]["fingerprint"] == fingerprint:
            return records[0]
        if records:
            self.told = "Settings, camera or weights changed since this job was stopped; it began afresh"
        elif any((self.folder / name).exists() for name in (PROGRESS, BEFORE)):
            self.told = "The record of earlier work was damaged; the job began afresh"
        for old in self.folder.glob("*.npy"):
            old.unlink()
        return {"fingerprint": fingerprint, "files": {}}

    def note(self, **facts: Any) -> None:
        self.facts.update(facts)
        path = self.folder / PROGRESS
        if _record(path) is not None:  # a damaged one must not push out the good one before it
            path.replace(self.folder / BEFORE)
        job.write_json(path, {"sha256": _sum(self.facts), "facts": self.facts})

    def keep(self, name: str, array: np.ndarray, replaces: str | None = None) -> None:
        """Writes an array under a name; what it replaces goes one record later: the record before holds true."""
        job.write_array(self.folder / f"{name}.npy", array)
        self._registered(name, replaces)

    @contextlib.contextmanager
    def filled(self, name: str, shape: tuple[int, ...], replaces: str | None = None) -> Iterator[np.ndarray]:
        """An array of float32 to fill part by part, on the disk: however long a shot is, it never lies in memory
        whole. It is kept when the block ends well."""
        with job.new_array(self.folder / f"{name}.npy", np.float32, shape) as array:
            yield array
        self._registered(name, replaces)

    @contextlib.contextmanager
    def scratch(self, name: str, shape: tuple[int, ...], dtype: Any) -> Iterator[np.ndarray]:
        """The same for the time of the block only."""
        path = self.folder / f"{name}.npy"
        try:
            with job.new_array(path, dtype, shape) as array:
                yield array
        finally:
            path.unlink(missing_ok=True)

    def _registered(self, name: str, replaces: str | None) -> None:
        files = {**self.facts["files"], name: job.digest(self.folder / f"{name}.npy")}
        if replaces:
            files.pop(replaces, None)
        self.note(files=files)
        if self._retired:
            (self.folder / f"{self._retired}.npy").unlink(missing_ok=True)
        self._retired = replaces

    def find(self, name: str) -> np.ndarray | None:
        """An array that was kept, if it is still what was kept."""
        path = self.folder / f"{name}.npy"
        wanted = self.facts["files"].get(name)
        if wanted is None or not path.is_file():
            return None
        if self._sure.get(name) != wanted:  # hashed once a process: a window is asked for at every frame of it
            if job.digest(path) != wanted:
                return None
            self._sure[name] = wanted
        return np.load(path, mmap_mode="r", allow_pickle=False)

    def furthest(self, window: str, steps: int) -> tuple[int, np.ndarray] | None:
        """The furthest step of a window whose noisy sample is kept: (steps done, sample on the disk)."""
        for done in range(steps - 1, 0, -1):
            if (found := self.find(f"{window}_step_{done}")) is not None:
                return done, found
        return None

    def sampled(self, window: str, steps: int) -> tuple[int, np.ndarray] | None:
        """The same, in memory."""
        kept = self.furthest(window, steps)
        return kept and (kept[0], np.array(kept[1]))

    def finish(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
