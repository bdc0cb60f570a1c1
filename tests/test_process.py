"""The engine as a process: it greets, beats, refuses, survives noise and leaves. Every test talks to a real one."""

import contextlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from engine import client as clients
from engine import protocol
from engine.client import Client

ROOT = Path(__file__).resolve().parents[1]
LONG = 60.0                     # seconds: a limit for a machine under load, never a measurement


def until(true, seconds: float = LONG, pause: float = 0.02):
    """Waits for `true()` and returns what it gave."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := true():
            return value
        time.sleep(pause)
    raise AssertionError(f"not within {seconds} s")


def alive(pid: int) -> bool:
    """Running or stopped; a zombie is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def settled(client: Client) -> bool:
    client.poll()
    return all(job.over for job in client.jobs.values())


def wrapper(folder: Path, text: str) -> Path:
    """An executable that stands in the place of the engine's Python and starts the real one in its own way."""
    path = folder / "python"
    path.write_text("#!/bin/sh\n" + text.replace("PYTHON", sys.executable) + "\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def awake(client: Client) -> None:
    client.start()
    until(lambda: client.poll() is not None and client.state == "ready")


@pytest.fixture
def start(tmp_path):
    """Makes clients, and sees to it that nothing of them stays."""
    made = []

    def make(python=sys.executable, addon=ROOT) -> Client:
        made.append(Client(python, addon, tmp_path / "logs" / "engine.log"))
        return made[-1]
    yield make
    for client in made:
        client.close()


@pytest.fixture
def worker():
    """A bare engine process and a function that reads its next message of a type."""
    process = subprocess.Popen([sys.executable, "-m", "engine", "worker"], cwd=ROOT, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def next_of(*kinds):
        for line in process.stdout:
            message = protocol.decode(line, protocol.FROM_ENGINE)
            if message["type"] in kinds:
                return message
        raise AssertionError(f"the engine ended before it said {kinds}")
    process.next_of = next_of
    yield process
    process.kill()
    process.wait()
    process.stdout.close()
    with contextlib.suppress(OSError):                      # what was not read goes with it
        process.stdin.close()


def tell(process, kind, **values):
    process.stdin.write(protocol.encode(kind, **values))
    process.stdin.flush()


# Importing and starting

def test_the_front_and_the_commands_import_no_torch():
    code = "import sys, engine.__main__, engine.client, engine.job, engine.worker; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_the_client_needs_the_standard_library_only():
    code = "import sys, engine.client; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_hello_comes_before_torch_and_ready_after_it(worker):
    first = protocol.decode(worker.stdout.readline(), protocol.FROM_ENGINE)
    assert first["type"] == "hello" and protocol.mismatch(first) is None and first["pid"] == worker.pid
    ready = worker.next_of("ready")
    assert re.fullmatch(r"cpu: \d+ threads?, (float32|bfloat16).*", ready["device"]), "lite runs on the processor"
    assert ready["versions"]["torch"][0].isdigit()


def test_it_beats_without_being_asked(worker):
    worker.next_of("ready")
    assert [worker.next_of("beat")["type"] for _ in range(2)] == ["beat", "beat"]


def test_blenders_python_variables_and_folder_stay_out(start, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/nonexistent")
    monkeypatch.setenv("PYTHONSTARTUP", "/nonexistent.py")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "numpy.py").write_text("raise SystemExit('the trap in the current folder')")
    client = start()
    client.start()
    until(lambda: client.poll() is not None and client.state == "ready")


@pytest.mark.parametrize("name", ["plain", "sp ace 'q\" ;$(touch x) %d # é 雪", "with:colon", "-dash"])
def test_the_addon_may_lie_in_a_folder_of_any_name(start, tmp_path, name):
    (tmp_path / name).symlink_to(ROOT)
    client = start(addon=tmp_path / name)
    client.run(tmp_path / "nothing")
    until(lambda: settled(client))
    assert next(iter(client.jobs.values())).kind == "job" and not list(tmp_path.rglob("x"))


def test_nothing_is_written_into_the_addons_folder(start, tmp_path):
    addon = tmp_path / "addon"
    shutil.copytree(ROOT / "engine", addon / "engine", ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    before = sorted(addon.rglob("*"))
    client = start(addon=addon)
    client.run(tmp_path / "nothing")
    until(lambda: settled(client))
    assert sorted(addon.rglob("*")) == before


# What can't start says why

@pytest.mark.parametrize("python, addon, says", [
    ("/nonexistent/python", ROOT, "No such file"), (sys.executable, Path("/usr"), "holds no engine"),
    (str(ROOT / "pyproject.toml"), ROOT, "Permission denied"),
])
def test_an_engine_that_cannot_start_is_a_failed_job_with_a_reason(start, python, addon, says):
    client = start(python, addon)
    client.run("/anywhere")
    until(lambda: settled(client))
    job = next(iter(client.jobs.values()))
    assert (job.state, job.kind) == ("failed", "engine") and says in job.reason and client.state == "off"


def test_a_python_without_its_libraries_is_named(start, tmp_path):
    client = start(wrapper(tmp_path, 'exec PYTHON -S "$@"'))
    client.run("/anywhere")
    client.run("/anywhere else")
    until(lambda: settled(client))
    said = [job.reason for job in client.jobs.values()]
    assert all("No module named 'numpy'" in reason and "press Install Engine" in reason for reason in said)


def test_an_engine_of_another_version_is_refused_by_name(start, tmp_path):
    plant = "import engine.protocol as p; p.SHOTLOCK = '9.9.9'; from engine.__main__ import main; main(['worker'])"
    client = start(wrapper(tmp_path, f'exec PYTHON -c "{plant}"'))
    client.run("/anywhere")
    until(lambda: settled(client))
    assert "9.9.9" in client.problem and "install the add-on again" in next(iter(client.jobs.values())).reason


def test_the_engine_leaves_an_addon_of_another_version(worker):
    tell(worker, "hello", protocol=protocol.VERSION + 1, shotlock=protocol.SHOTLOCK)
    assert worker.wait(LONG) == 6


# Leaving

def test_it_leaves_when_stdin_ends(worker):
    worker.stdin.close()
    assert worker.wait(10) == 0


def test_what_is_cut_off_before_its_end_is_no_message(worker, tmp_path):
    worker.next_of("ready")
    worker.stdin.write(protocol.encode("run", job="cut", folder=str(tmp_path)).rstrip(b"\n"))
    worker.stdin.close()
    assert worker.wait(10) == 0 and b"cut" not in worker.stdout.read()


def test_it_leaves_when_told(worker):
    tell(worker, "quit")
    assert worker.wait(10) == 0


def test_it_leaves_on_sigterm_with_its_code(worker):
    worker.next_of("hello")
    time.sleep(0.3)                                         # the handler follows the greeting
    worker.terminate()
    assert worker.wait(10) == 143


def test_row_2_it_leaves_when_blender_is_killed(tmp_path):
    code = ("import sys, time; from engine.client import Client\n"
            "client = Client(sys.executable, sys.argv[1], sys.argv[2]); client.start(); print(client.pid, flush=True)\n"
            "while True: client.poll(); time.sleep(0.05)")
    blender = subprocess.Popen([sys.executable, "-c", code, str(ROOT), str(tmp_path / "engine.log")], cwd=ROOT,
                               stdout=subprocess.PIPE)
    engine = int(blender.stdout.readline())
    until(lambda: alive(engine))
    time.sleep(0.5)
    blender.kill()
    blender.communicate()
    until(lambda: not alive(engine), 10)


def test_closing_leaves_no_process_thread_or_descriptor(start):
    def count():
        return threading.active_count(), len(os.listdir("/proc/self/fd"))
    before = count()
    for _ in range(4):
        client = start()
        awake(client)
        pid = client.pid
        client.close()
        assert not alive(pid)
    assert count() == before


# Dying

def test_a_killed_engine_is_said_and_the_next_job_gets_a_new_one(start, tmp_path):
    client = start()
    awake(client)
    first = client.pid
    os.kill(first, signal.SIGKILL)
    until(lambda: client.poll() is not None and client.state == "off", 5)
    name = client.run(tmp_path / "nothing")
    until(lambda: settled(client))
    assert client.pid != first and client.jobs[name].kind == "job"


def test_a_stopped_engine_is_not_responding_and_recovers(start):
    client = start()
    awake(client)
    os.kill(client.pid, signal.SIGSTOP)
    until(lambda: client.poll() is not None and client.state == "silent", 15)
    os.kill(client.pid, signal.SIGCONT)
    until(lambda: client.poll() is not None and client.state == "ready", 15)


def test_a_stopped_engine_can_be_closed(start):
    client = start()
    client.start()
    pid = client.pid
    os.kill(pid, signal.SIGSTOP)
    client.close()
    assert not alive(pid)


# Row 22: noise on the wire

def rss(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def test_malformed_lines_are_ignored_and_the_next_job_is_heard(worker, tmp_path):
    worker.next_of("ready")
    for line in (b"\xff\xfe\x00\n", b"{\n", b"[1]\n", b'{"type": "format disk"}\n', b'{"type": 3}\n',
                 b'{"type": "run"}\n',
                 b'{"type": "run", "job": true, "folder": "x"}\n', b'{"type": "cancel", "job": "none"}\n', b"\n\n\r\n",
                 b"[" * 200_000 + b"\n", b'{"type": "__init__"}\n', b'{"type": "leave", "code": 1}\n'):
        worker.stdin.write(line)
    tell(worker, "run", job="j", folder=str(tmp_path / "nothing"))
    failed = worker.next_of("failed")
    assert failed["job"] == "j" and failed["kind"] == "job" and "no job folder" in failed["reason"]


def test_an_endless_line_is_not_held_in_memory(worker, tmp_path):
    worker.next_of("ready")
    before = rss(worker.pid)
    for _ in range(1024):                                   # a gigabyte
        worker.stdin.write(b"x" * 2**20)
    tell(worker, "run", job="lost", folder="the rest of the endless line")
    tell(worker, "run", job="j", folder=str(tmp_path / "nothing"))
    assert worker.next_of("failed")["job"] == "j"
    assert rss(worker.pid) - before < 50 * 2**20


def test_a_line_at_the_limit_is_read_and_one_beyond_is_not():
    read, write = os.pipe()
    said = []

    def feed():
        with open(write, "wb") as stream:
            for length in (protocol.LONGEST, protocol.LONGEST + 1, 5):
                stream.write(b"a" * length + b"\n")
    threading.Thread(target=feed).start()
    with open(read, "rb", buffering=0) as stream:
        assert [len(line) for line in protocol.lines(stream, said.append)] == [protocol.LONGEST, 5]
    assert len(said) == 1


def test_a_library_that_prints_does_not_reach_the_wire(start, tmp_path):
    plant = ("import os, sys, threading, time\n"
             "def noise():\n"
             "    while True:\n"
             "        os.write(1, b'noise on fd 1\\n'); print('noise of print', flush=True); time.sleep(0.001)\n"
             "from engine import worker\n"
             "listen = worker.Worker.listen\n"
             "worker.Worker.listen = lambda self: (threading.Thread(target=noise, daemon=True).start(), listen(self))\n"
             "worker.main()\n")
    (tmp_path / "noisy.py").write_text(plant)
    client = start(wrapper(tmp_path, f"exec PYTHON {tmp_path}/noisy.py"))
    name = client.run(tmp_path / "nothing")
    until(lambda: settled(client))
    log = client.log.path.read_text()
    assert client.jobs[name].kind == "job" and "noise of print" in log and "noise on fd 1" in log
    assert "ignored a line" not in log


def test_garbage_from_the_engines_side_is_ignored(start, tmp_path):
    plant = ("import os; from engine import worker\n"
             "private = worker.private_stdout\n"
             "def dirty():\n"
             "    wire = private(); wire.write(b'\\xff garbage\\n[]\\n' + b'y' * 3_000_000 + b'\\n')\n"
             "    wire.write(b'{\"type\": \"done\", \"job\": \"never heard of\", \"report\": \"x\"}\\n'); return wire\n"
             "worker.private_stdout = dirty\n"
             "worker.main()\n")
    (tmp_path / "dirty.py").write_text(plant)
    client = start(wrapper(tmp_path, f"exec PYTHON {tmp_path}/dirty.py"))
    name = client.run(tmp_path / "nothing")
    until(lambda: settled(client))
    assert client.jobs[name].kind == "job" and client.log.path.read_text().count("ignored a line") == 3


# Row 23: a flood of stderr

def test_100_mb_of_stderr_block_nothing_and_the_log_stays_small(start, tmp_path):
    plant = ("import os, threading; from engine import worker\n"
             "def flood():\n"
             "    for _ in range(1600): os.write(2, b'e' * 65535 + b'\\n')\n"
             "    os.write(2, b'the flood is over\\n')\n"
             "listen = worker.Worker.listen\n"
             "worker.Worker.listen = lambda self: (flood(), listen(self))\n"
             "worker.main()\n")
    (tmp_path / "flood.py").write_text(plant)
    client = start(wrapper(tmp_path, f"exec PYTHON {tmp_path}/flood.py"))
    name = client.run(tmp_path / "nothing")
    until(lambda: settled(client))
    assert client.jobs[name].kind == "job"
    sizes = [path.stat().st_size for path in client.log.path.parent.iterdir()]
    assert len(sizes) == 2 and max(sizes) <= clients.LOG_BYTES
    assert any("the flood is over" in path.read_text() for path in client.log.path.parent.iterdir())


# The caller is never kept waiting, and an id is one job

def test_cancel_of_a_queued_an_unknown_and_a_finished_job(start, tmp_path):
    client = start()
    first, second = client.run(tmp_path / "nothing"), client.run(tmp_path / "nothing")
    client.cancel(second)
    client.cancel(second)
    client.cancel("unknown")
    until(lambda: settled(client))
    client.cancel(first)
    client.poll()
    assert client.jobs[second].state == "cancelled" and client.jobs[first].state == "failed"
    with pytest.raises(ValueError, match="queued already"):
        client.run(tmp_path, client.run(tmp_path))


def test_poll_tells_each_change_once(start, tmp_path):
    client = start()
    name = client.run(tmp_path / "nothing")
    seen = []
    until(lambda: seen.extend(job.state for job in client.poll()) or client.jobs[name].over)
    assert seen[0] == "queued" and seen[-1] == "failed" and client.poll() == []
    client.forget(name)
    assert client.jobs == {}


# The commands

def engine(*arguments, **more):
    command = [sys.executable, "-m", "engine", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, **more)


def test_run_of_a_bad_job_is_one_sentence_and_its_code(tmp_path):
    ended = engine("run", str(tmp_path / "nothing"))
    assert ended.returncode == 3 and ended.stdout == "" and "no job folder" in ended.stderr
    assert "Traceback" not in ended.stderr and len(ended.stderr.splitlines()) == 1


def test_wrong_arguments_and_help():
    assert engine().returncode == 2 and engine("fly").returncode == 2
    shown = engine("--help")
    assert shown.returncode == 0 and all(word in shown.stdout for word in ("run", "check", "worker", "measure", "143"))


def test_check_of_a_folder_that_is_not_there_says_so(tmp_path):
    ended = engine("check", str(tmp_path / "away"))
    assert ended.returncode == 1 and "there is no folder" in ended.stdout and "Traceback" not in ended.stderr


def test_check_tells_what_it_stands_on(tmp_path):
    ended = engine("check", str(tmp_path))
    value = json.loads(ended.stdout)
    assert value["disk"]["free"] > 0 and value["memory"]["free"] > 0 and value["versions"]["torch"] != "missing"
    bundled = {path.name for path in (ROOT / "engine" / "weights").glob("*.safetensors")}
    assert {entry["file"] for entry in value["weights"]} == bundled != set()
    assert all(len(entry["sha256"]) == 64 and entry["bytes"] > 0 for entry in value["weights"])
    assert value["device"].startswith("cpu: ") and value["disk"]["folder"] == str(tmp_path)
    assert ended.returncode == (1 if value["problems"] else 0)
