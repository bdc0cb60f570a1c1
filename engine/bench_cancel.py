"""`python -m engine bench cancel FOLDER`: seconds from Cancel to the answer, in every phase of a job.

A real client and engine, on a copy of the job folder that links to the passes.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .bench import ROOT, copy_job
from .client import Client, Status

TIMES = 3  # cancels in each phase
LIMIT = 600.0  # seconds that a phase may need to come
PHASES = {  # until when it is waited, and seconds at random after that
    "starting": (lambda job: job.state == "running", 2.0),
    "loading": (lambda job: job.phase == "text", 0.8),
    "conditions": (lambda job: job.phase == "conditions" and job.steps > 0, 3.0),
    "sample": (lambda job: job.phase == "sample" and job.steps > 0, 8.0),
    "decode": (lambda job: job.phase == "decode", 1.0),
    "measure": (lambda job: job.phase == "measure", 3.0),
}


@dataclass(frozen=True)
class Answer:
    phase: str  # as it was when Cancel was pressed
    seconds: float
    asked: bool  # by a message; else the process had to be ended


def bench_cancel(folder: Path) -> dict[str, list[Answer]]:
    """A job that was cancelled goes on at the next one, so that late phases come soon."""
    chance = random.Random(0)
    with tempfile.TemporaryDirectory(prefix="shotlock-bench-") as scratch:
        copy = copy_job(folder, Path(scratch) / "job")
        client = Client(sys.executable, ROOT, Path(scratch) / "engine.log")
        try:
            return {name: [cancelled(client, copy, name, chance) for _ in range(TIMES)] for name in PHASES}
        finally:
            client.close()


def cancelled(client: Client, folder: Path, name: str, chance: random.Random) -> Answer:
    """One cancel in the phase; a moment at which the job is over already is tried again sooner."""
    comes, later = PHASES[name]
    while True:
        if name == "starting":
            client.close()
        shutil.rmtree(folder / "frames", ignore_errors=True)
        job = client.jobs[client.run(folder)]
        wait(client, job, comes)
        pause(client, job, chance.uniform(0, later))
        if not job.over:
            return cancel(client, job, name)
        later /= 2


def cancel(client: Client, job: Status, name: str) -> Answer:
    pid, phase, began = client.pid, job.phase, time.monotonic()
    client.cancel(job.id)
    wait(client, job, lambda job: False)
    answer = Answer(phase, time.monotonic() - began, client.pid == pid)
    print(f"{name}: {answer.seconds:.2f} s in {phase or 'no phase'}, step {job.step}", file=sys.stderr, flush=True)
    return answer


def pause(client: Client, job: Status, seconds: float) -> None:
    end = time.monotonic() + seconds
    wait(client, job, lambda job: time.monotonic() > end)


def wait(client: Client, job: Status, until: Callable[[Status], bool]) -> None:
    """Until that, or the job's end."""
    end = time.monotonic() + LIMIT
    while not job.over and not until(job) and time.monotonic() < end:
        client.poll()
        time.sleep(0.005)
    if job.state == "failed":
        raise SystemExit(f"bench cancel: {job.reason}")


def table(answers: dict[str, list[Answer]]) -> str:
    lines = ["| cancelled in | seconds, each | process ended |", "|---|---|---|"]
    for name, found in answers.items():
        each = " · ".join(f"{answer.seconds:.2f}" for answer in found)
        lines.append(f"| {name} | {each} | {sum(not answer.asked for answer in found)} of {len(found)} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    print(table(bench_cancel(Path(arguments[0]))))
