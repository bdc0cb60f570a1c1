"""Runs every test: outside Blender and inside each Blender, several suites at a time. Standard library only."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import environments
from environments import ROOT, say

BLENDERS = ("bpy42", "bpy45", "bpy50")
STREAMS = 3  # on the smallest machine's two cores: tests wait for processes a third of their time
MODELS = re.compile(r"test_(adapt|bench|clips|enlarge|evaluate|generate|lite|train|types|wan)")  # what computes most
LIMIT = 2400  # seconds for one suite; a hang has to end as a failure


@dataclass(frozen=True)
class Suite:
    name: str
    environment: str
    targets: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    suite: Suite
    status: int
    summary: str  # pytest's last line
    seconds: float


def suites() -> Iterator[Suite]:
    """The longest first, so that the streams end together."""
    tests = ROOT / "tests"
    blender = sorted((tests / "blender").glob("test_*.py"))
    outside = [*sorted(tests.glob("test_*.py")), *sorted((tests / "gui").glob("test_*.py"))]
    for name, wanted in (("models", True), ("outside", False)):
        files = tuple(str(p.relative_to(ROOT)) for p in outside if bool(MODELS.match(p.name)) == wanted)
        if files:
            yield Suite(name, "dev", files)
    for name in BLENDERS if blender else ():
        yield Suite(name, name, ("tests/blender",))


def variables(scratch: Path) -> dict[str, str]:
    """Nothing of the user's Blender is read or written; the engine is the one just made. There are more streams than
    cores, so torch computes on one thread in each: two would spin while they wait for each other."""
    return environments.environment_variables() | {
        "BLENDER_USER_RESOURCES": str(scratch),
        "SHOTLOCK_ENGINE_PYTHON": str(environments.python("engine")),
        "SHOTLOCK_BLENDERS": os.pathsep.join(str(environments.python(name)) for name in BLENDERS),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
    }


def command(suite: Suite, chosen: list[str]) -> list[str]:
    python = str(environments.python(suite.environment))
    return [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=8", *(chosen or suite.targets)]


def run(suite: Suite, arguments: list[str]) -> Outcome:
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"shotlock-{suite.name}-") as scratch:
        process = subprocess.Popen(
            [*command(suite, []), *arguments],
            cwd=ROOT,
            env=variables(Path(scratch)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        watchdog = threading.Timer(LIMIT, process.kill)
        watchdog.start()
        last = follow(process, lambda line: say(f"{suite.name:>7} │ {line}"))
        status = process.wait()
        watchdog.cancel()
    return Outcome(suite, status, last, time.monotonic() - start)


def follow(process: subprocess.Popen[str], show: Callable[[str], None]) -> str:
    """Shows every line as it comes; returns pytest's closing one. Blender may print after it."""
    summary = ""
    assert process.stdout is not None
    for line in process.stdout:
        show(line.rstrip())
        if re.search(r"\d+ (passed|failed|error|skipped)|no tests ran", line) and " in " in line:
            summary = line.strip(" =\n")
    return summary


def failed(outcome: Outcome) -> bool:
    """A suite that collects nothing has failed too, and so has a Blender that crashes after a clean run."""
    return outcome.status != 0 or not outcome.summary


def count(outcomes: list[Outcome], word: str) -> int:
    return sum(int(n) for o in outcomes for n in re.findall(rf"(\d+) {word}", o.summary))


def main(arguments: list[str]) -> int:
    todo = list(suites())
    environments.ensure("engine", *dict.fromkeys(suite.environment for suite in todo))
    with ThreadPoolExecutor(STREAMS) as pool:
        outcomes = list(pool.map(lambda suite: run(suite, arguments), todo))
    say("")
    for outcome in outcomes:
        state = "failed" if failed(outcome) else "passed"
        facts = f"{state}, exit status {outcome.status}, {outcome.seconds:.0f} s"
        say(f"{outcome.suite.name:>7} │ {facts} │ {outcome.summary or 'no summary'}")
    silent = sum(failed(o) and not re.search("failed|error", o.summary) for o in outcomes)
    bad = count(outcomes, "failed") + count(outcomes, "error") + silent
    say(f"{count(outcomes, 'passed')} passed, {bad} failed, {count(outcomes, 'skipped')} skipped")
    return int(any(map(failed, outcomes)) or not outcomes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
