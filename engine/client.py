"""Starts the engine and talks to it without blocking the caller. Standard library only: no bpy, no torch.

Two threads read: one the engine's messages, one its stderr into a log of bounded size. Everything else happens in
`poll`, which the caller's timer calls: it drains what came, sends the next job, and sees to it that an engine that is
dead or deaf ends as a job with a reason. It does not know what a job contains.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import protocol

SILENT = 5.0                    # seconds without a sign of life until "not responding" is said
STARTING = 120.0                # seconds that a cold disk may need until the first word; then the start has failed
PATIENCE = 3.0                  # seconds that a cancelled job has to answer before its process is ended
LAST_WORDS = 2.0                # seconds between the death of a process and the end of its pipes
LOG_BYTES = 2 * 2**20           # of a log file; one older one is kept
PIECE = 2**16
AGAIN = "run the job again, it goes on where it stopped"
FINAL = ("done", "failed", "cancelled")
CRASH = "a crash in a library"
SIGNALS = {"SIGKILL": "killed, as the system does when memory runs out", "SIGTERM": "told to end", "SIGABRT": CRASH,
           "SIGBUS": "no more memory or disk for a mapped file", "SIGSEGV": CRASH}
CODES = {0: "it closed", 6: "it is of another version", 143: "told to end"}


@dataclass
class Status:
    """One job as the panel sees it. Changed by `Client` only."""

    id: str
    folder: Path
    state: str = "queued"           # queued, running, done, failed, cancelled
    phase: str = ""
    step: int = 0
    steps: int = 0
    eta: float | None = None        # seconds
    preview: Path | None = None
    note: str = ""                  # the engine's last line on what it does: what memory it needs, a step down
    kind: str = ""                  # of a failure: job, disk, memory, install, engine, error
    reason: str = ""                # of a failure: one sentence
    deadline: float | None = None   # when a cancel that isn't answered ends the process

    @property
    def over(self) -> bool:
        return self.state in FINAL

    def fail(self, kind: str, reason: str) -> None:
        self.state, self.kind, self.reason = "failed", kind, reason

    def face(self) -> tuple[Any, ...]:
        return (self.state, self.phase, self.step, self.steps, self.eta, self.preview, self.note, self.reason,
                self.deadline)


class Log:
    """A file of at most LOG_BYTES and the one before it; the oldest is lost. On a full disk it is silent."""

    def __init__(self, path: Path) -> None:
        self.path, self._lock = path, threading.Lock()

    def say(self, text: str) -> None:
        self.add(f"{time.strftime('%H:%M:%S')} client: {text}\n".encode("utf-8", "backslashreplace"))

    def add(self, data: bytes) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self.path.exists() and self.path.stat().st_size + len(data) > LOG_BYTES:
                os.replace(self.path, self.path.with_name(self.path.name + ".1"))
            with self.path.open("ab") as stream:
                stream.write(data)


@dataclass
class Engine:
    """One process and what came from it. A new process is a new Engine, so nothing late is taken for new."""

    process: subprocess.Popen
    send: Callable[..., bool]
    inbox: deque = field(default_factory=deque)
    born: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)
    greeted: bool = False
    dying: float | None = None      # since when a sign of its end is known
    words: bytes = b""              # the end of its stderr
    readers: list[threading.Thread] = field(default_factory=list)

    def gone(self) -> bool:
        """Dead, with its last words read; or as good as that."""
        dead, quiet = self.process.poll() is not None, not any(reader.is_alive() for reader in self.readers)
        if not dead and not quiet:
            return False
        self.dying = self.dying or time.monotonic()
        return (dead and quiet) or time.monotonic() - self.dying > LAST_WORDS

    def last_word(self) -> str:
        if b"nknown option" in self.words:                  # -P came with 3.11
            return "its Python is older than 3.11"
        lines = [line.strip() for line in self.words.decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1][:200] if lines else ""

    def kill(self) -> None:
        """The process and what it started; SIGKILL ends a stopped one too. Not after its number may be another's."""
        if self.process.poll() is not None:
            return
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                self.process.kill()
            else:
                os.killpg(self.process.pid, signal.SIGKILL)

    def release(self) -> None:
        """Closes this end of the pipes of a dead process."""
        streams = (self.process.stdin, self.process.stdout, self.process.stderr)
        for stream in streams:
            with contextlib.suppress(OSError):
                stream.close()                              # type: ignore[union-attr]


class Client:
    """`run`, `cancel`, `poll`, `close`. None of them waits for the engine, but for `close`, up to its own limit."""

    def __init__(self, python: Path | str, addon: Path | str, log: Path | str) -> None:
        self.python, self.addon, self.log = str(python), Path(addon), Log(Path(log))
        self.jobs: dict[str, Status] = {}
        self.device = ""
        self.versions: dict[str, str] = {}
        self.problem = ""               # why there is no engine, one sentence
        self._engine: Engine | None = None
        self._ending: list[Engine] = []
        self._faces: dict[str, tuple] = {}

    # what the caller does

    @property
    def state(self) -> str:
        """Of the process: off, starting, ready, silent."""
        engine = self._engine
        if engine is None:
            return "off"
        if engine.greeted and time.monotonic() - engine.heard > SILENT:
            return "silent"
        return "ready" if self.device else "starting"

    @property
    def pid(self) -> int | None:
        return self._engine.process.pid if self._engine else None

    def start(self) -> bool:
        """The process, if there is none. False, with `problem` said, where it can't be started."""
        if self._engine is None:
            try:
                self._engine, self.problem, self.device = self._launch(), "", ""
            except (OSError, ValueError) as error:
                self.problem = f"the engine can't start ({error}): {protocol.INSTALL}"
        return self._engine is not None

    def run(self, folder: Path | str, name: str | None = None) -> str:
        """Queues a job folder and returns the job's id; `poll` starts it when the one before it is over."""
        status = Status(name or uuid.uuid4().hex, Path(folder))
        if status.id in self.jobs and not self.jobs[status.id].over:
            raise ValueError(f"job {status.id} is {self.jobs[status.id].state} already: wait for it, or cancel it")
        self.jobs.pop(status.id, None)
        self.jobs[status.id] = status
        return status.id

    def cancel(self, name: str) -> None:
        """Of a queued job: at once. Of a running one: asked, and after PATIENCE without an answer its process is ended.
        Of a job that is over or unknown: nothing."""
        status = self.jobs.get(name)
        if status is None or status.over:
            return
        if status.state == "queued":
            status.state = "cancelled"
        elif status.deadline is None:
            status.deadline = time.monotonic() + PATIENCE
            if self._engine:
                self._engine.send("cancel", job=name)

    def poll(self, budget: float = 0.005) -> list[Status]:
        """Everything that is due; draining stops after `budget` seconds. Returns the jobs that changed since the last
        call. Called often, by a timer."""
        before = self._faces
        self._drain(time.monotonic() + budget)
        self._see_to_cancels()
        self._see_to_process()
        self._see_to_the_dead()
        self._send_next()
        self._faces = {name: status.face() for name, status in self.jobs.items()}
        return [status for name, status in self.jobs.items() if before.get(name) != self._faces[name]]

    def forget(self, name: str) -> None:
        """Drops a job that is over."""
        if name in self.jobs and self.jobs[name].over:
            del self.jobs[name]

    def close(self, wait: float = 1.0) -> None:
        """Ends the process: asked first, made to after `wait` seconds. Jobs that are not over fail."""
        if self._engine:
            self._engine.send("quit")
            with contextlib.suppress(OSError):
                self._engine.process.stdin.close()          # type: ignore[union-attr]
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._engine.process.wait(wait)
            self._end(self._engine)
        for engine in self._ending:
            with contextlib.suppress(subprocess.TimeoutExpired):
                engine.process.wait(2.0)
            for reader in engine.readers:
                reader.join(0.5)
        self._see_to_the_dead()
        self._fail_all(f"the engine was closed: {AGAIN}")

    # the process

    def _launch(self) -> Engine:
        if not (self.addon / "engine" / "__main__.py").is_file():
            raise ValueError(f"{self.addon} holds no engine")
        self.log.path.parent.mkdir(parents=True, exist_ok=True)
        command, environment, place = launch_plan(self.python, self.addon, self.log.path.parent)
        group: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            group = {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   bufsize=0, env=environment, cwd=place, close_fds=True, **group)
        engine = Engine(process, protocol.Sender(process.stdin).send)       # type: ignore[arg-type]
        for work in (_read_messages, _read_stderr):
            thread = threading.Thread(target=work, args=(engine, self.log), name=work.__name__, daemon=True)
            engine.readers.append(thread)
            thread.start()
        engine.send("hello", protocol=protocol.VERSION, shotlock=protocol.SHOTLOCK)
        return engine

    def _end(self, engine: Engine) -> None:
        """Kills it and goes on; `_see_to_the_dead` buries it."""
        engine.kill()
        self._ending.append(engine)
        self._engine, self.device = None, ""

    # what `poll` does, in order

    def _drain(self, until: float) -> None:
        engine = self._engine
        while engine is not None and engine is self._engine and engine.inbox:
            message = engine.inbox.popleft()
            getattr(self, "_on_" + message["type"])(engine, message)
            if time.monotonic() > until:
                return

    def _see_to_cancels(self) -> None:
        now, engine = time.monotonic(), self._engine
        late = [job for job in self._running() if job.deadline is not None and job.deadline < now]
        if late and engine and not engine.inbox:
            self.log.say("a cancel was not answered: ending the engine")
            self._end(engine)
            for job in late:
                job.state = "cancelled"

    def _see_to_process(self) -> None:
        engine = self._engine
        if engine is None or engine.inbox:
            return
        if not engine.greeted and time.monotonic() - engine.born > STARTING:
            self.problem = f"the engine said nothing for {STARTING:.0f} s after its start: see its log, {self.log.path}"
            self._end(engine)
            return self._fail_all(self.problem)
        if engine.gone():
            self._end(engine)
            self._mourn(engine)

    def _mourn(self, engine: Engine) -> None:
        """A reason for every job that the dead process had; queued ones get a new process, if this one ever worked."""
        why = f"the engine stopped ({describe(engine.process.poll())}): {AGAIN}"
        self.log.say(why)
        for job in self._running():
            if job.deadline is None:
                job.fail("engine", why)
            else:
                job.state = "cancelled"
        if not engine.greeted:
            said = engine.last_word() or describe(engine.process.poll())
            self.problem = f"the engine can't start ({said}): {protocol.INSTALL}; its log is {self.log.path}"
            self._fail_all(self.problem)

    def _see_to_the_dead(self) -> None:
        """Reaps what was killed. The next job waits for that: a dying process may still hold its folder's lock."""
        for engine in list(self._ending):
            if engine.gone():
                engine.release()
                self._ending.remove(engine)

    def _send_next(self) -> None:
        waiting = next((job for job in self.jobs.values() if job.state == "queued"), None)
        if waiting is None or self._running() or self._ending:
            return
        if not self.start():
            return self._fail_all(self.problem)
        engine = self._engine
        if engine and engine.greeted and engine.send("run", job=waiting.id, folder=str(waiting.folder)):
            waiting.state = "running"

    def _running(self) -> list[Status]:
        return [job for job in self.jobs.values() if job.state == "running"]

    def _fail_all(self, why: str) -> None:
        for job in self.jobs.values():
            if not job.over:
                job.fail("engine", why)

    # what the engine says

    def _on_hello(self, engine: Engine, message: protocol.Message) -> None:
        wrong = protocol.mismatch(message)
        if wrong is None:
            engine.greeted = True
            return
        self.problem = wrong
        self._end(engine)
        self._fail_all(wrong)

    def _on_ready(self, _: Engine, message: protocol.Message) -> None:
        self.device, self.versions = message["device"], message["versions"]

    def _on_started(self, _: Engine, message: protocol.Message) -> None:
        pass                                                # a job that was sent is running; its phase says the rest

    def _on_progress(self, _: Engine, message: protocol.Message) -> None:
        if job := self._open(message):
            job.phase, job.step, job.steps, job.eta = (message[key] for key in ("phase", "step", "steps", "eta"))

    def _on_preview(self, _: Engine, message: protocol.Message) -> None:
        if job := self._open(message):
            path = job.folder / message["file"]
            with contextlib.suppress(OSError, ValueError):  # what is no file's name is no picture
                if path.resolve().is_relative_to(job.folder.resolve()):
                    job.preview = path

    def _on_note(self, _: Engine, message: protocol.Message) -> None:
        if job := self._open(message):
            job.note = message["text"]

    def _on_done(self, _: Engine, message: protocol.Message) -> None:
        if job := self._open(message):
            job.state = "done"

    def _on_failed(self, _: Engine, message: protocol.Message) -> None:
        if job := self._open(message):
            job.fail(message["kind"], message["reason"])

    def _on_cancelled(self, _: Engine, message: protocol.Message) -> None:
        if job := self._open(message):
            job.state = "cancelled"

    def _open(self, message: protocol.Message) -> Status | None:
        """The job that the message is about, unless it is over: what comes late changes nothing."""
        job = self.jobs.get(message["job"])
        return None if job is None or job.over else job


def launch_plan(python: str, addon: Path, place: Path) -> tuple[list[str], dict[str, str], Path]:
    """Command, environment and folder. Nothing of Blender's own Python leaks in; -P keeps the folder off the path, -B
    keeps the add-on's folder as it was installed."""
    environment = {key: value for key, value in os.environ.items() if not key.upper().startswith("PYTHON")}
    if os.pathsep in str(addon):                            # PYTHONPATH can't spell such a folder: start in it instead
        return [python, "-B", "-X", "utf8", "-m", "engine", "worker"], environment, addon
    environment["PYTHONPATH"] = str(addon)
    return [python, "-B", "-P", "-X", "utf8", "-m", "engine", "worker"], environment, place


def describe(code: int | None) -> str:
    """An exit code in words."""
    if code is None:
        return "it closed its end"
    if code >= 0:
        return CODES.get(code, f"exit code {code}")
    try:
        name = signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
    return f"{name}, {SIGNALS.get(name, 'ended by a signal')}"


def _read_messages(engine: Engine, log: Log) -> None:
    """Into the inbox. A sign of life is a time and progress replaces progress: nothing piles up."""
    stdout: Any = engine.process.stdout
    for message in protocol.messages(stdout, protocol.FROM_ENGINE, log.say):
        engine.heard = time.monotonic()
        if message["type"] == "beat":
            continue
        if message["type"] == "progress":
            with contextlib.suppress(IndexError):           # only this thread appends, so the last is what it was
                if engine.inbox[-1]["type"] == "progress":
                    engine.inbox.pop()
        engine.inbox.append(message)


def _read_stderr(engine: Engine, log: Log) -> None:
    """Always read, so that the engine never waits for its log."""
    stderr: Any = engine.process.stderr
    with contextlib.suppress(OSError, ValueError):
        while piece := stderr.read(PIECE):
            engine.words = (engine.words + piece)[-2000:]
            log.add(piece)
