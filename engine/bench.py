"""`python -m engine bench`: times and memory as measured, phase by phase. Imports no torch itself, and knows of Blender
only how to start it."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from . import job as jobs

ROOT = Path(__file__).resolve().parent.parent
PERIOD = 0.2  # seconds between two looks at the memory; a look costs some milliseconds
ENGINE_LINE = re.compile(r"([a-z]+) \d+/\d+")  # as `python -m engine run` tells its progress


@dataclass(frozen=True)
class Phase:
    """What one phase took. Memory is the proportional set size of the whole process tree: shared pages count once."""

    name: str
    seconds: float
    cpu_seconds: float  # of all cores; what a busy machine does not falsify
    peak_gb: float


@dataclass
class Meter:
    """Looks at a process and all its children until told to stop. Linux only: it reads /proc."""

    pid: int
    looks: list[tuple[float, float, float]] = field(default_factory=list)  # time, GB, CPU seconds so far
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.over.wait(PERIOD):
            members = family(self.pid)
            self.looks.append((time.monotonic(), sum(map(memory, members)), sum(map(cpu, members))))

    def peak(self, start: float, end: float) -> float:
        return max((gigabytes for when, gigabytes, _ in self.looks if start <= when < end), default=0.0)

    def worked(self, start: float, end: float) -> float:
        """CPU seconds from the last look before the start to the last before the end."""
        before, after = ([c for when, _, c in self.looks if when < moment] for moment in (start, end))
        return max(after, default=0.0) - max(before, default=0.0)


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (parent := parent_of(entry)):
            children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for member in found:
        found += children.get(member, [])
    return found


def parent_of(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def memory(pid: int) -> float:
    """Proportional set size in GB; 0 for a process that is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found.group(1)) * 1024 / 1e9 if found else 0.0


def cpu(pid: int) -> float:
    """CPU seconds of a process and of those of its children that have ended."""
    try:
        values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, values[11:15])) / os.sysconf("SC_CLK_TCK")


def phases(marks: list[tuple[float, str]], meter: Meter) -> list[Phase]:
    """Marks are the phases' starts; the last one ends the measurement."""
    spans = zip(marks, marks[1:])  # noqa: RUF007  pairwise hides that the last mark is an end
    return [
        Phase(name, end - start, meter.worked(start, end), meter.peak(start, end)) for (start, name), (end, _) in spans
    ]


def measured(command: list[str], variables: dict[str, str], listen) -> tuple[Meter, int]:
    """Runs a command under the meter; `listen` gets its stderr lines as they come."""
    process = subprocess.Popen(command, cwd=ROOT, env=variables, stderr=subprocess.PIPE, stdout=sys.stderr, text=True)
    meter = Meter(process.pid)
    threading.Thread(target=meter.run, daemon=True).start()
    assert process.stderr is not None
    for line in process.stderr:
        listen(line.rstrip())
    meter.over.set()
    return meter, process.wait()


def bench_job(source: Path | None, blender: Path | None, extra: list[str]) -> list[Phase]:
    """A job folder: the engine alone. A .blend, or nothing for the exterior demo: the whole job in that Blender."""
    if source is not None and source.is_dir():
        return bench_folder(source)
    if blender is None:
        raise SystemExit("bench job: found no --blender; expected the Python of a bpy wheel to open the scene with")
    return bench_scene(source, blender, extra)


def bench_folder(folder: Path) -> list[Phase]:
    """On a copy that links to the passes, so that the job itself stays as it is."""
    with tempfile.TemporaryDirectory(prefix="shotlock-bench-") as scratch:
        copy = copy_job(folder, Path(scratch) / "job")
        marks = [(time.monotonic(), "start")]

        def listen(line: str) -> None:
            found = ENGINE_LINE.match(line)
            if not found:
                print(line, file=sys.stderr)
            elif found.group(1) != marks[-1][1]:
                marks.append((time.monotonic(), found.group(1)))

        meter, status = measured([sys.executable, "-m", "engine", "run", str(copy)], dict(os.environ), listen)
        marks.append((time.monotonic(), "end"))
    if status:
        raise SystemExit(f"bench job: the engine ended with status {status}, see above")
    return phases(marks, meter)


def copy_job(folder: Path, copy: Path) -> Path:
    """The job as it was before it ran."""
    copy.mkdir()
    for name in ("job.json", *jobs.FACTS):
        if (folder / name).exists():
            shutil.copy2(folder / name, copy / name)
    for name in ("passes", "pictures"):
        if (folder / name).is_dir():
            link_files(folder / name, copy / name)
    return copy


def link_files(source: Path, target: Path) -> None:
    """Links where the file system has them: passes are large, and a job's files have to lie in its folder."""

    def link(one: str, other: str) -> None:
        try:
            os.link(one, other)
        except OSError:
            shutil.copy2(one, other)

    shutil.copytree(source, target, copy_function=link)


def bench_scene(blend: Path | None, blender: Path, extra: list[str]) -> list[Phase]:
    with tempfile.TemporaryDirectory(prefix="shotlock-bench-") as scratch:
        events = Path(scratch) / "events.jsonl"
        chosen = ["--blend", str(blend)] if blend else []
        command = [str(blender), "-m", "scenes.demo", str(Path(scratch) / "film"), "--events", str(events)]
        variables = dict(os.environ) | {"BLENDER_USER_RESOURCES": scratch, "SHOTLOCK_ENGINE_PYTHON": sys.executable}
        variables.pop("PYTHONPATH", None)
        began = time.monotonic()
        meter, status = measured([*command, *chosen, *extra], variables, lambda line: print(line, file=sys.stderr))
        if status or not events.exists():
            raise SystemExit(f"bench job: Blender ended with status {status}, see above")
        lines = [json.loads(line) for line in events.read_text(encoding="utf-8").splitlines()]
    return phases([(began, "Start Blender"), *((line["time"], line["phase"]) for line in lines)], meter)


def table(rows: list[Phase]) -> str:
    seconds, worked = sum(row.seconds for row in rows), sum(row.cpu_seconds for row in rows)
    total = Phase("whole job", seconds, worked, max(row.peak_gb for row in rows))
    lines = ["| phase | seconds | CPU seconds | peak GB |", "|---|---|---|---|"]
    lines += [f"| {r.name} | {r.seconds:.1f} | {r.cpu_seconds:.1f} | {r.peak_gb:.2f} |" for r in (*rows, total)]
    return "\n".join(lines)


def job_command(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser("python -m engine bench job", description=bench_job.__doc__)
    parser.add_argument("source", type=Path, nargs="?", help="a job folder or a .blend")
    parser.add_argument("--blender", type=Path, help="the Python of a bpy wheel")
    parser.add_argument("--cores", type=int, default=2, help="bound to so many processor cores; 0: all")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    chosen, extra = parser.parse_known_args(arguments)
    if chosen.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: chosen.cores])
    rows = bench_job(chosen.source, chosen.blender, extra)
    print(json.dumps([asdict(row) for row in rows], indent=1) if chosen.json else table(rows))


def reprojection_command(arguments: list[str]) -> None:
    from .bench_geometry import bench_reprojection

    print(json.dumps(bench_reprojection(*arguments), indent=1))


def quality_command(arguments: list[str]) -> None:
    from .bench_quality import main as judge

    judge(arguments)


def cancel_command(arguments: list[str]) -> None:
    from .bench_cancel import main as cancel

    cancel(arguments)


def long_command(arguments: list[str]) -> None:
    from .bench_long import main as long

    long(arguments)


COMMANDS = {
    "long": long_command,
    "job": job_command, "cancel": cancel_command, "quality": quality_command, "reprojection": reprojection_command,
}  # fmt: skip


def main(argv: list[str]) -> int:
    if argv and argv[0].startswith("--"):
        from .bench_wan import main as model

        return model(argv)
    if not argv or argv[0] not in COMMANDS:
        print(f"usage: python -m engine bench {{{','.join(COMMANDS)}}} …, or --model NAME", file=sys.stderr)
        return 2
    COMMANDS[argv[0]](argv[1:])
    return 0
