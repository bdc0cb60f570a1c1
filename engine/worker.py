"""The engine's loop: takes jobs from stdin, runs one at a time, answers on a private copy of stdout.

Three threads beside the one that computes: one reads messages, one beats every second, one sees signals at once. It
knows nothing of how frames are made (that is `generate`) and nothing of Blender.
"""

import contextlib
import errno
import gc
import os
import platform
import queue
import re
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from . import job as jobs
from . import protocol

BEAT = 1.0                      # seconds between signs of life
GRACE = 4.0                     # seconds that a running job has to notice that the engine leaves
MOST_NOTE = 400                 # characters of one line for the artist
OFTEN = 0.1                     # seconds: progress of the same phase isn't said more often

DONE, FAILED, BAD_JOB, DISK, MEMORY, MISMATCH, CANCELLED, TERMINATED = 0, 1, 3, 4, 5, 6, 130, 143
EXIT_CODES = """\
exit codes:
  0  done, or (worker) Blender has gone
  1  failed: the log holds the traceback
  2  wrong arguments
  3  the job is not valid
  4  the disk is full
  5  memory ran out
  6  (worker) add-on and engine are of different versions
130  cancelled
143  ended by SIGTERM: finished frames and steps are kept"""


ENDED = "the engine was ended: run the job again, it goes on where it stopped"


class Outcome(NamedTuple):
    code: int                   # one of EXIT_CODES
    kind: str                   # done, cancelled, job, disk, memory, install, error
    reason: str                 # one sentence, empty when done
    report: dict[str, Any]


def attempt(folder: Path, say: Callable[[dict], None], stop: Callable[[], bool]) -> Outcome:
    """Runs one job; every way in which it can end is an Outcome, and a traceback goes to the log only."""
    try:
        jobs.read(folder)                                   # before torch: a bad job is refused at once
        with jobs.hold(folder):
            jobs.remove_parts(folder)
            if stop():
                raise jobs.Cancelled
            from .generate import generate
            return Outcome(DONE, "done", "", generate(folder, say, stop))
    except (Exception, SystemExit) as error:
        if not isinstance(error, jobs.Cancelled | jobs.BadJob | jobs.DiskFull):
            traceback.print_exc(file=sys.stderr)
        return explain(error)


def explain(error: BaseException) -> Outcome:
    """An exception as one sentence for the artist."""
    text = str(error).strip().split("\n")[0][:400]
    if isinstance(error, jobs.Cancelled):
        return Outcome(CANCELLED, "cancelled", "cancelled", {})
    if isinstance(error, jobs.BadJob):
        return Outcome(BAD_JOB, "job", text, {})
    if isinstance(error, jobs.DiskFull):
        return Outcome(DISK, "disk", error.strerror, {})
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Outcome(DISK, "disk", f"the disk is full ({text}): free some space and run the job again", {})
    if isinstance(error, ImportError):
        return Outcome(FAILED, "install", f"the engine's Python lacks something ({text}): {protocol.INSTALL}", {})
    if is_memory(error):
        return Outcome(MEMORY, "memory", f"memory ran out ({text or type(error).__name__}): choose a smaller width, "
                                         "or close other programs, and run the job again", {})
    if isinstance(error, OSError):
        return Outcome(FAILED, "error", f"a file can't be read or written ({text}): check the job's folder", {})
    if isinstance(error, ValueError) and text:              # the engine's own sentences
        return Outcome(FAILED, "error", text, {})
    return Outcome(FAILED, "error", f"the engine failed ({type(error).__name__}: {text}): its log says where", {})


def is_memory(error: BaseException) -> bool:
    """Python's, or torch's: which has one class on a GPU and a bare RuntimeError on a CPU."""
    told = re.search(r"out of memory|can't allocate memory|cannot allocate memory|bad_alloc", str(error), re.IGNORECASE)
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or bool(told)


def private_stdout() -> BinaryIO:
    """A copy of fd 1 that only the caller has; fd 1 becomes stderr, so that no library's print gets into it."""
    sys.stdout.flush()
    copy = os.dup(1)
    os.dup2(2, 1)
    return _raw(copy, "wb")


def private_stdin() -> BinaryIO:
    """The same for fd 0: a child of a library can't eat messages."""
    copy = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return _raw(copy, "rb")


def _raw(descriptor: int, mode: str) -> BinaryIO:
    if sys.platform == "win32":
        import msvcrt
        msvcrt.setmode(descriptor, os.O_BINARY)
    return open(descriptor, mode, buffering=0)              # type: ignore[return-value]


def log(text: str) -> None:
    with contextlib.suppress(OSError):                      # the log's reader is Blender, which may be gone
        sys.stderr.write(time.strftime("%H:%M:%S ") + text.encode("utf-8", "backslashreplace").decode() + "\n")
        sys.stderr.flush()


class Worker:
    """Jobs in, answers out. Only `loop` computes; the rest sets flags that it sees."""

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        self.incoming, self.say = incoming, protocol.Sender(outgoing).send
        self.waiting: queue.Queue[tuple[str, Path] | None] = queue.Queue()
        self.lock = threading.Lock()
        self.known: dict[str, threading.Event] = {}         # jobs that wait or run → asked to stop
        self.current = ""
        self.leaving = threading.Event()
        self.code = DONE
        self.parent = os.getppid()

    # other threads

    def listen(self) -> None:
        """Messages, until stdin ends: then Blender is gone and so is the engine."""
        for message in protocol.messages(self.incoming, protocol.TO_ENGINE, log):
            getattr(self, "on_" + message["type"])(message)
        self.leave(DONE, "the other end is gone")

    def on_hello(self, message: protocol.Message) -> None:
        if protocol.mismatch(message):
            self.leave(MISMATCH, f"the add-on is {message['shotlock'][:40]}, this is {protocol.SHOTLOCK}")

    def on_run(self, message: protocol.Message) -> None:
        with self.lock:
            if message["job"] in self.known:
                return log(f"job {message['job'][:64]} is already here")
            self.known[message["job"]] = threading.Event()
        self.waiting.put((message["job"], Path(message["folder"])))

    def on_cancel(self, message: protocol.Message) -> None:
        """A job that waits is answered here, so that it needn't wait for torch. One that is not here is over."""
        name = message["job"]
        with self.lock:
            waits = name in self.known and name != self.current
            if name in self.known:
                self.known[name].set()
            if waits:
                del self.known[name]
        if waits:
            self.say("cancelled", job=name)

    def on_quit(self, _: protocol.Message) -> None:
        self.leave(DONE, "told to quit")

    def beat(self) -> None:
        while not self.leaving.wait(BEAT):
            if not self.say("beat") or os.getppid() != self.parent:
                self.leave(DONE, "the other end is gone")

    def leave(self, code: int, why: str) -> None:
        """Ends the loop; a job that doesn't notice in time is left as a power cut would leave it, which is safe."""
        if self.leaving.is_set():
            return
        self.code = code
        self.leaving.set()
        log(f"leaving: {why}")
        self.waiting.put(None)
        timer = threading.Timer(GRACE, os._exit, (code,))
        timer.daemon = True
        timer.start()

    # the thread that computes

    def loop(self) -> int:
        while not self.leaving.is_set():
            entry = self.waiting.get()
            if entry is not None and not self.leaving.is_set():
                self.run(*entry)
        return self.code

    def run(self, name: str, folder: Path) -> None:
        with self.lock:
            stop = self.known.get(name)
            if stop is None:
                return                                      # cancelled while it waited
            self.current = name
        self.say("started", job=name)
        outcome = attempt(folder, Teller(name, self.say), lambda: stop.is_set() or self.leaving.is_set())
        with self.lock:
            del self.known[name]
            self.current = ""
        release_memory()
        if outcome.kind == "done":
            self.say("done", job=name, report="report.json")
        elif outcome.kind == "cancelled" and not self.leaving.is_set():
            self.say("cancelled", job=name)
        elif outcome.kind == "cancelled":
            self.say("failed", job=name, kind="engine", reason=ENDED)
        else:
            log(f"job {name} failed: {outcome.reason}")
            self.say("failed", job=name, kind=outcome.kind, reason=outcome.reason)


class Teller:
    """What `generate` says, as messages: at most ten a second of one phase, the last step of each always."""

    def __init__(self, name: str, say: Callable[..., bool]) -> None:
        self.name, self.say, self.phase, self.said = name, say, "", 0.0

    def __call__(self, news: dict) -> None:
        if "preview" in news:
            self.say("preview", job=self.name, file=str(news["preview"]))
        if "note" in news:
            self.say("note", job=self.name, text=str(news["note"])[:MOST_NOTE])
        if "phase" in news:
            step, steps = int(news.get("step", 0)), int(news.get("steps", 0))
            now = time.monotonic()
            if news["phase"] != self.phase or step == steps or now - self.said > OFTEN:
                self.phase, self.said = news["phase"], now
                self.say("progress", job=self.name, phase=self.phase, step=step, steps=steps,
                         eta=_seconds(news.get("eta")))


def _seconds(value: Any) -> float | None:
    return round(float(value), 1) if isinstance(value, int | float) and 0 <= value < 1e9 else None


def release_memory() -> None:
    """What a job held is given back before the next one; torch keeps GPU memory unless told."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def watch_signals(act: Callable[[int], None]) -> None:
    """Calls `act(number)` in a thread as soon as a signal comes, even while the main thread is inside a long operation:
    Python's own handlers wait for the main thread, the wake-up descriptor doesn't."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    for name in ("SIGTERM", "SIGINT", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: None)
    signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)

    def watch(_keep: socket.socket = theirs) -> None:
        while number := ours.recv(1):
            act(number[0])
    threading.Thread(target=watch, name="signals", daemon=True).start()


def main() -> int:
    """Hello first, torch afterwards: the panel has an answer in a blink."""
    outgoing, incoming = private_stdout(), private_stdin()
    worker = Worker(incoming, outgoing)
    worker.say("hello", protocol=protocol.VERSION, shotlock=protocol.SHOTLOCK, pid=os.getpid(),
               python=platform.python_version())
    watch_signals(lambda _: worker.leave(TERMINATED, "told to end"))
    for work in (worker.listen, worker.beat):
        threading.Thread(target=work, name=work.__name__, daemon=True).start()
    try:
        from .check import device, versions
        worker.say("ready", device=device(), versions=versions())
    except (ImportError, OSError) as error:                 # OSError: a library that torch needs is missing
        log(f"torch can't be imported: {error}")            # jobs will fail with the same reason, one by one
        worker.say("ready", device="none", versions={})
    code = worker.loop()
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(code)                                          # torch's own threads don't hold up the leaving
