"""What happens when things break: the engine is killed, stopped, told to leave, its disk fills, its files are damaged.

Each test breaks a real engine that makes real frames. The measure of all of them is one uninterrupted run of the same
job: whatever happened in between, the frames must be its bytes.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from engine import job as jobs
from engine.client import LOG_BYTES, Client

ROOT = Path(__file__).resolve().parents[1]
LONG = 240.0                    # seconds: a limit for a machine under load, never a measurement
FRAMES, WIDTH, HEIGHT, STEPS = 9, 48, 32, 8
TROUBLE = "sp ace 'q\" ;$(touch x) %d # é 雪 🎬"           # row 19: a folder's name is only a name


def until(true, seconds: float = LONG, pause: float = 0.005):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := true():
            return value
        time.sleep(pause)
    raise AssertionError(f"not within {seconds} s")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def engine(*arguments, **more) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "engine", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, **more)


def hashes(folder: Path, name: str = "frames") -> dict[str, str]:
    return {path.name: jobs.digest(path) for path in sorted((folder / name).glob("*.png"))}


def parts(folder: Path) -> list[Path]:
    """Half-written files."""
    return [path for path in folder.rglob(".*.part") if path.is_file()]


@pytest.fixture(scope="session")
def original(job_maker, tmp_path_factory) -> Path:
    """The job, never run: tests copy it."""
    folder = tmp_path_factory.mktemp("faults") / "job"
    job_maker.make_job(folder, frames=FRAMES, width=WIDTH, height=HEIGHT, steps=STEPS)
    return folder


@pytest.fixture(scope="session")
def truth(original, tmp_path_factory) -> dict[str, str]:
    """The frames of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("truth") / "job"
    shutil.copytree(original, folder)
    ended = engine("run", folder)
    assert ended.returncode == 0, ended.stderr
    report = json.loads((folder / "report.json").read_text())
    assert len(ended.stdout.splitlines()) == 1 and json.loads(ended.stdout) == report
    found = hashes(folder)
    assert list(found) == [jobs.frame_name(i) for i in range(FRAMES)]
    assert not any((folder / name).exists() for name in ("state", "frames.part", "engine.lock"))
    return found


@pytest.fixture
def folder(original, tmp_path) -> Path:
    """A fresh copy, in a folder whose name tries to be trouble."""
    return shutil.copytree(original, tmp_path / TROUBLE)


@pytest.fixture
def client(tmp_path):
    made = Client(sys.executable, ROOT, tmp_path / "logs" / "engine.log")
    yield made
    made.close()


def reaches(client: Client, name: str, phase: str, step: int = 0):
    """Waits until the job is in a phase, `step` steps in it."""
    job = client.jobs[name]
    until(lambda: client.poll() is not None and (job.over or (job.phase == phase and job.step >= step)))
    assert not job.over, (job.state, job.reason)


def ends(client: Client, name: str) -> str:
    until(lambda: client.poll() is not None and client.jobs[name].over)
    return client.jobs[name].state


# Rows 1, 19 and 29: killed at any moment, and the same bytes all the same

KILLS, MANY_STEPS = 20, 60      # enough steps that a quick machine is still sampling when it is killed


@pytest.fixture(scope="session")
def slow(job_maker, tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """A job of many small steps that never ran, and the frames of its uninterrupted run."""
    place = tmp_path_factory.mktemp("slow")
    job_maker.make_job(place / "job", frames=5, width=WIDTH, height=HEIGHT, steps=MANY_STEPS)
    ended = engine("run", shutil.copytree(place / "job", place / "run"))
    assert ended.returncode == 0, ended.stderr
    return place / "job", hashes(place / "run")


def kill_at(client: Client, name: str, moment: float, kept: int) -> int:
    """Kills the engine `moment` seconds after the job's first word, unless the job is done before. Returns the last
    step that was said; none said may lie before `kept`, the last one said before an earlier kill."""
    job = client.jobs[name]
    until(lambda: client.poll() is not None and (job.phase or job.over))
    end, furthest = time.monotonic() + moment, kept
    while time.monotonic() < end and not job.over:
        client.poll()
        if job.phase == "sample" and job.steps:             # a window's; the key frame's are not counted
            assert job.step >= kept, "a finished step was made again"
            furthest = job.step
        time.sleep(0.002)
    if not job.over:
        os.kill(client.pid, signal.SIGKILL)
    until(lambda: client.poll() is not None and job.over, 5)
    return furthest


def test_row_1_killed_at_20_random_moments_it_goes_on_to_the_same_frames(client, slow, tmp_path):
    """One job, killed again and again. A machine so quick that the job ends in between begins it anew: only kills
    count."""
    original, truth = slow
    chance, kills, said, folder = random.Random(1), 0, 0, tmp_path / TROUBLE
    shutil.copytree(original, folder)
    while kills < KILLS:
        name = client.run(folder)
        said = kill_at(client, name, chance.uniform(0, 0.8), said)
        job = client.jobs[name]
        if job.state == "done":
            assert hashes(folder) == truth
            shutil.rmtree(folder)
            shutil.copytree(original, folder)
            said = 0
            continue
        assert (job.state, job.kind) == ("failed", "engine") and "SIGKILL" in job.reason and "goes on" in job.reason
        assert not (folder / "frames").exists() or hashes(folder) == truth, "frames/ is whole or not there"
        kills += 1
    name = client.run(folder)
    assert ends(client, name) == "done" and hashes(folder) == truth
    assert not parts(folder) and not (folder / "state").exists()
    assert not list(tmp_path.rglob("x"))


# Row 19: a folder's name is only a name

NAMES = ["-rf", "%d %s #1", "new\nline", "שלום", "caf\u00e9", "cafe\u0301", "~", " ", "x" * 255]


def test_row_19_a_folder_of_any_name_gives_the_same_frames(client, job_maker, tmp_path):
    """One engine, one job after the other; none of them lands in another's folder, nor anywhere else."""
    plain, shots = tmp_path / "plain", tmp_path / "shots"
    job_maker.make_job(plain, frames=1, width=32, height=32, steps=1)
    folders = [shutil.copytree(plain, shots / name) for name in NAMES]
    before = strays()
    names = [client.run(folder) for folder in (plain, *folders)]
    until(lambda: client.poll() is not None and all(client.jobs[name].over for name in names))
    assert {client.jobs[name].state for name in names} == {"done"}, [client.jobs[name].reason for name in names]
    assert len(hashes(plain)) == 1 and all(hashes(folder) == hashes(plain) for folder in folders)
    assert sorted(shots.iterdir()) == sorted(folders)
    assert strays() == before


def strays() -> set[Path]:
    """What a job could have left where it does not belong; of the folder that holds the clone, which others use too,
    what is named as a job or a part of one."""
    named = {*NAMES, "frames", "frames.part", "passes", "state", "report.json", jobs.frame_name(0)}
    beside = {path for path in ROOT.parent.iterdir() if path.name in named}
    within = {path for folder in (ROOT, Path.home()) for path in folder.iterdir()}
    return beside | {path for path in within if path.name != "__pycache__"}  # whoever imports the add-on makes that


# Row 2: Blender is killed while the engine computes

def test_row_2_the_engine_leaves_a_dead_blender_and_the_job_goes_on_later(folder, tmp_path, truth):
    code = ("import sys, time; from engine.client import Client\n"
            "client = Client(sys.executable, sys.argv[1], sys.argv[2]); name = client.run(sys.argv[3])\n"
            "while True:\n"
            "    client.poll(); time.sleep(0.01); job = client.jobs[name]\n"
            "    if job.phase == 'sample' and job.step > 1: print(client.pid, flush=True)")
    blender = subprocess.Popen([sys.executable, "-c", code, str(ROOT), str(tmp_path / "engine.log"),
    str(folder)], cwd=ROOT,
                               stdout=subprocess.PIPE)
    pid = int(blender.stdout.readline())
    blender.kill()
    blender.communicate()
    until(lambda: not alive(pid), 10)
    assert not (folder / "frames").exists() or hashes(folder) == truth, "frames/ is whole or not there"
    assert engine("run", folder).returncode == 0 and hashes(folder) == truth


# Row 3: the engine doesn't answer

def test_row_3_a_stopped_engine_is_said_and_goes_on_when_it_is_let(client, folder, truth):
    name = client.run(folder)
    reaches(client, name, "sample", 1)
    os.kill(client.pid, signal.SIGSTOP)
    until(lambda: client.poll() is not None and client.state == "silent", 15)
    assert client.jobs[name].state == "running"
    os.kill(client.pid, signal.SIGCONT)
    until(lambda: client.poll() is not None and client.state == "ready", 15)
    assert ends(client, name) == "done" and hashes(folder) == truth


def test_row_3_a_job_of_a_stopped_engine_can_be_cancelled(client, folder):
    name = client.run(folder)
    reaches(client, name, "sample", 1)
    pid = client.pid
    os.kill(pid, signal.SIGSTOP)
    client.cancel(name)
    client.cancel(name)                                     # row 6: twice is once
    until(lambda: client.poll() is not None and client.jobs[name].state == "cancelled", 10)
    until(lambda: client.poll() is not None and not alive(pid), 10)
    assert not (folder / "frames").exists()


# Row 4: told to end

def test_row_4_sigterm_ends_it_with_its_code_and_nothing_half_made(folder, truth):
    running = subprocess.Popen([sys.executable, "-m", "engine", "run", str(folder)], cwd=ROOT, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    until(lambda: running.stderr.readline().startswith("sample 2"))
    running.send_signal(signal.SIGSTOP)                     # a quick machine would be done before the second looks
    second = engine("run", folder)                          # row 7: the folder is one engine's
    assert second.returncode == 3 and "another engine" in second.stderr
    running.terminate()
    running.send_signal(signal.SIGCONT)
    out, err = running.communicate(timeout=LONG)
    assert running.returncode == 143 and out == "" and "Traceback" not in err
    assert not parts(folder) and not (folder / "frames").exists() and not (folder / "engine.lock").exists()
    assert engine("run", folder).returncode == 0 and hashes(folder) == truth


def test_row_4_sigterm_of_the_worker_is_a_failed_job_with_a_reason(client, folder):
    name = client.run(folder)
    reaches(client, name, "sample", 1)
    os.kill(client.pid, signal.SIGTERM)
    assert ends(client, name) == "failed" and "ended" in client.jobs[name].reason and not parts(folder)


# Row 5: cancel at every phase

WATCH = """
import json, sys
from pathlib import Path
from engine.worker import attempt
folder = Path(sys.argv[1])
for phase, steps in json.loads(sys.argv[2]):
    said, heard = [], []
    def say(news):
        if "phase" in news:
            said.append(news)
            if news["phase"] == phase:
                heard.append(news)
    kind = attempt(folder, say, lambda: len(heard) > steps).kind
    print(json.dumps({"said": said, "kind": kind, "after": said[said.index(heard[-1]) + 1:] if heard else [],
                      "files": [str(path.relative_to(folder)) for path in folder.rglob("*")]}), flush=True)
"""


def watched(folder: Path, *stops: tuple[str, int]) -> list[dict]:
    """Runs the job once for each stop, in one process, and cancels it when that phase has been said over so many times.
    Returns what was said, what of it after the cancel, how it ended and the files of the folder then."""
    ended = subprocess.run([sys.executable, "-c", WATCH, str(folder), json.dumps(stops)], cwd=ROOT, capture_output=True,
                           text=True)
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len(lines) == len(stops), ended.stderr
    return lines


FINISH = ("never", 0)


def test_row_5_cancelled_in_every_phase_it_stops_there_and_still_ends_with_the_same_frames(folder, truth):
    stops = [("text", 0), ("conditions", 0), ("sample", 0), ("sample", STEPS), ("decode", 3), ("measure", 0)]
    *runs, last = watched(folder, *stops, FINISH)
    for (phase, _), run in zip(stops, runs, strict=True):
        assert run["kind"] == "cancelled" and run["said"][-1]["phase"] == phase and not run["after"]
        assert not [name for name in run["files"] if name.endswith((".part", "report.json", "engine.lock"))
                    and name != "frames.part"]
    assert last["kind"] == "done" and hashes(folder) == truth


def test_row_5_cancelled_while_it_measures_the_frames_are_a_take_and_only_measuring_is_left(folder, truth):
    """The frames are not touched again, not even to be written a second time."""
    (stopped,) = watched(folder, ("measure", 0))
    assert stopped["kind"] == "cancelled" and hashes(folder) == truth and not (folder / "report.json").exists()
    made = {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (folder / "frames").iterdir()}
    assert engine("measure", folder).returncode == 0
    (again,) = watched(folder, FINISH)
    assert again["kind"] == "done" and (folder / "report.json").exists() and not (folder / "state").exists()
    assert {news["phase"] for news in again["said"]} == {"text", "measure"}
    assert made == {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (folder / "frames").iterdir()}


def test_rows_5_and_6_through_the_client(client, folder, tmp_path, original, truth):
    """Cancelled while torch loads, while it waits, while it runs, and after it is done: only the job that was meant."""
    other = shutil.copytree(original, tmp_path / "other")
    loading = client.run(other)
    until(lambda: client.poll() is not None and client.jobs[loading].state == "running")
    client.cancel(loading)
    assert ends(client, loading) == "cancelled"
    first, second, third = client.run(other), client.run(folder), client.run(other)
    client.cancel(third)
    reaches(client, first, "sample", 1)
    pid = client.pid
    client.cancel(first)
    client.cancel(first)
    assert ends(client, first) == "cancelled"
    assert client.pid == pid, "it answered by itself: a process that does not within PATIENCE is ended"
    reaches(client, second, "sample", 1)
    client.cancel(first)
    assert ends(client, second) == "done" and hashes(folder) == truth
    client.cancel(second)
    client.poll()
    assert [client.jobs[name].state for name in (first, second, third)] == ["cancelled", "done", "cancelled"]
    assert not parts(other) and not (other / "frames").exists()
    assert client.jobs[second].preview == folder / "state" / "preview.png"


# Row 8: the disk is full

@contextlib.contextmanager
def small_disk(place: Path, size: int):
    """A tmpfs; needs the right to mount."""
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a small disk here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_row_8_a_full_disk_is_said_with_bytes_and_the_job_goes_on_when_there_is_space(original, tmp_path, truth):
    with small_disk(tmp_path / "disk", 20 * 2**20) as disk:
        folder = shutil.copytree(original, disk / "job")
        watched(folder, ("decode", 3))                      # some frames are there already
        kept = hashes(folder, "frames.part")
        assert kept
        for path in (folder / "state").glob("window_*.npy"):
            path.unlink()                                   # so that steps are made again, on a full disk
        with (disk / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while ballast.write(bytes(4096)):
                pass
        full = engine("run", folder)
        assert full.returncode == 4 and "Traceback" not in full.stderr.splitlines()[-1]
        assert "bytes" in full.stderr.splitlines()[-1] and "free some space" in full.stderr.splitlines()[-1]
        assert hashes(folder, "frames.part") == kept and not parts(folder)
        (disk / "ballast").unlink()
        assert engine("run", folder).returncode == 0 and hashes(folder) == truth


# Rows 22 and 23: noise on the wire and a flood of stderr, while frames are made

NOISE = """
import os, sys, threading
from engine import worker
private, attempt = worker.private_stdout, worker.attempt
LINES = [b'\\xff garbage', b'{', b'[]', b'{"type": "format disk"}', b'{"type": "done"}', b'[' * 3000,
         b'{"type": "done", "job": "another", "report": ""}',
         b'{"type": "preview", "job": "NAME", "file": "\\\\u0000"}',
         b'{"type": "progress", "job": "NAME", "phase": "text", "step": 1, "steps": 2, "eta": NaN}']

def private_stdout():
    global wire
    wire = private()
    return wire

def noise(name, quiet):
    wire.write(b'y' * 3_000_000 + b'\\n')
    while not quiet.wait(0.02):
        for line in LINES:
            wire.write(line.replace(b'NAME', name) + b'\\n')
        os.write(1, b'a library prints\\n')

def flood(name, quiet):
    for _ in range(1600):
        os.write(2, b'e' * 65535 + b'\\n')
    os.write(2, b'the flood is over\\n')

def loud(folder, say, stop):
    quiet = threading.Event()
    beside = threading.Thread(target=globals()['WHAT'], args=(say.name.encode(), quiet))
    beside.start()
    try:
        return attempt(folder, say, stop)
    finally:
        quiet.set()
        beside.join()

worker.private_stdout, worker.attempt = private_stdout, loud
worker.main()
"""


@pytest.fixture
def loud(tmp_path):
    """A client whose engine is the real one, and loud in that way while it makes a job."""
    made = []

    def make(what: str) -> Client:
        (tmp_path / "loud.py").write_text(NOISE.replace("WHAT", what))
        python = tmp_path / "python"
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{tmp_path}/loud.py"\n')
        python.chmod(0o755)
        made.append(Client(python, ROOT, tmp_path / "logs" / "engine.log"))
        return made[-1]
    yield make
    for client in made:
        client.close()


def test_row_22_noise_in_both_directions_costs_no_frame(loud, folder, truth):
    client = loud("noise")
    name = client.run(folder)
    reaches(client, name, "sample", 1)
    for line in (b"\xff\xfe\x00", b"{", b'{"type": "format disk"}', b'{"type": "cancel"}', b"[" * 3000):
        client._engine.process.stdin.write(line + b"\n")
    assert ends(client, name) == "done" and hashes(folder) == truth
    assert client.jobs[name].preview == folder / "state" / "preview.png"
    log = client.log.path.read_text(errors="replace")
    told = [line for line in log.splitlines() if "ignored a line" in line]
    assert len([line for line in told if "client:" not in line]) == 5, "what came to the engine, once each"
    for wrong in ("utf-8", "Expecting property name", "not an object", "unknown type", "done without a proper job",
                  "over 1048576 bytes", "NaN is no number"):
        assert any(wrong in line for line in told if "client:" in line), wrong
    assert "a library prints" in log


def test_row_23_a_flood_of_stderr_holds_up_no_frame_and_the_log_is_rotated(loud, folder, truth):
    client = loud("flood")
    name = client.run(folder)
    assert ends(client, name) == "done" and hashes(folder) == truth
    logs = list(client.log.path.parent.iterdir())
    assert len(logs) == 2 and all(path.stat().st_size <= LOG_BYTES for path in logs)
    assert any("the flood is over" in path.read_text() for path in logs)


# Rows 12 and 13: damaged files

def test_row_12_damaged_frames_are_made_again_and_the_others_are_kept(folder, truth):
    watched(folder, ("decode", 7))
    place, noise = folder / "frames.part", random.Random(2)
    damages = {3: lambda data: noise.randbytes(len(data)), 5: lambda data: data[:len(data) // 2], 7: lambda data: b""}
    for number, damage in damages.items():
        path = place / f"{number:06d}.png"
        path.write_bytes(damage(path.read_bytes()))
    others = {path.name: path.stat().st_ino for path in place.iterdir() if int(path.stem) not in damages}
    assert len(others) >= 4
    assert watched(folder, FINISH)[0]["kind"] == "done" and hashes(folder) == truth
    kept = {path.name: path.stat().st_ino for path in (folder / "frames").iterdir()}
    assert {name: kept[name] for name in others} == others


def test_row_12_kept_steps_are_gone_on_from_and_damaged_ones_are_made_again(folder, truth):
    def first_step(run):
        return next(news["step"] for news in run["said"] if news["phase"] == "sample")

    _, resumed = watched(folder, ("sample", STEPS + 2), ("sample", 0))
    assert first_step(resumed) >= 2
    for path in (folder / "state").glob("*.npy"):
        path.write_bytes(path.read_bytes()[:-100] + bytes(100))
    (again,) = watched(folder, FINISH)
    assert first_step(again) == 0 and again["kind"] == "done" and hashes(folder) == truth


def test_row_13_a_damaged_record_of_progress_is_no_failure(folder, truth):
    watched(folder, ("sample", STEPS + 2))
    record = folder / "state" / "progress.json"
    record.write_bytes(record.read_bytes()[:-40])
    (again,) = watched(folder, FINISH)
    assert again["kind"] == "done" and hashes(folder) == truth
    assert next(news["step"] for news in again["said"] if news["phase"] == "sample") > 0    # by the copy before it


@pytest.fixture
def state(folder):
    """A state with two steps kept; torch is not needed for it."""
    from engine.state import State
    job = jobs.read(folder)
    kept = State(job, "weights")
    kept.keep("window_0000_step_1", np.arange(5.0))
    kept.keep("window_0000_step_2", np.arange(6.0), replaces="window_0000_step_1")
    return lambda weights="weights": State(job, weights)


@pytest.mark.parametrize("damage", [
    lambda data: b"", lambda data: data[:len(data) // 2], lambda data: b"[]", lambda data: b"\xff" + data,
    lambda data: data.replace(b"files", b"filez"), lambda data: data.replace(b"step_2", b"step_3"),
    lambda data: b'{"files": 5, "fingerprint": [], "frames": 3}'])
def test_row_13_any_damage_to_the_record_falls_back_on_the_one_before(state, folder, damage):
    record = folder / "state" / "progress.json"
    record.write_bytes(damage(record.read_bytes()))
    again = state()
    assert again.sampled("window_0000", STEPS)[0] == 1 and again.told == ""
    for path in (folder / "state").glob("progress*.json"):
        path.write_bytes(b"{")
    lost = state()
    assert lost.sampled("window_0000", STEPS) is None and "damaged" in lost.told


def test_row_13_a_state_of_other_weights_is_not_gone_on_from_and_that_is_said(state):
    assert state().told == "" and state().sampled("window_0000", STEPS)[0] == 2
    other = state("other weights")
    assert other.sampled("window_0000", STEPS) is None and "changed" in other.told
