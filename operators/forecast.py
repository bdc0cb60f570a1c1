"""What a shot would need on this machine, asked of the engine in a process of its own, because only its Python knows
the card. One question at a time, once the settings have stood still for a moment; what was answered is remembered for
as long as nothing else that matters changes. Panels ask at every redraw; `tick` does the work.
"""

import contextlib
import json
import queue
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engine import client
from . import install
from .plan import Plan

STILL = 0.6             # seconds without a change before the engine is asked
LONGEST = 60.0          # seconds that it may take
GOOD_FOR = 120.0        # seconds: other programs take memory and give it back
MOST = 100              # answers that are kept


@dataclass(frozen=True)
class Told:
    words: str = ""
    problem: str = ""           # one sentence: the engine would refuse the job
    is_coming: bool = False
    values: Mapping[str, Any] = None  # type: ignore[assignment]  # as `python -m engine need` gives them


_answers: dict[str, tuple[float, Told]] = {}
_wanted: tuple[str, float] | None = None        # the question, and since when it stands
_asked: tuple[str, float, subprocess.Popen] | None = None
_words: queue.SimpleQueue[bytes] = queue.SimpleQueue()


def question(plan: Plan) -> str:
    """All that the answer follows from, as the engine reads it."""
    ends = (*plan.cuts[1:], len(plan.frames))
    open_ = {"guidance": plan.guidance, "steps": plan.steps, "shift": plan.shift}
    return json.dumps({
        "model": plan.model, "size": plan.size, "crop": plan.crop,
        "control_strength": plan.control_strength, "control_start": plan.control_start,
        "control_end": plan.control_end, "denoise": plan.denoise,
        "known": [{"frame": frame, "picture": f"{frame}.png"} for frame, _ in plan.known],
        "references": [f"{number}.png" for number in range(len(plan.references))],
        "loras": [{"name": name, "strength": strength} for name, strength in plan.loras],
        "speed": dict(plan.speed),
        "camera_frames": [end - start for start, end in zip(plan.cuts, ends)],
    } | {name: value for name, value in open_.items() if value is not None})


def told(plan: Plan) -> Told:
    """What is known of it now. Where it is not, or no longer sure, it is wanted from here on."""
    global _wanted
    asked, now = question(plan), time.monotonic()
    when, answer = _answers.get(asked, (-GOOD_FOR, None))
    if answer is not None and now - when < GOOD_FOR:
        return answer
    if install.lack():
        return answer or Told()
    if (_wanted is None or _wanted[0] != asked) and (_asked is None or _asked[0] != asked):
        _wanted = asked, now
        from . import session

        session.wake()
    return answer or Told(is_coming=True)


def problem(plan: Plan) -> str:
    """Why the engine would refuse that shot, as far as it was asked; nothing is asked here."""
    when, answer = _answers.get(question(plan), (-GOOD_FOR, None))
    return answer.problem if answer is not None and time.monotonic() - when < GOOD_FOR else ""


def wants() -> bool:
    """Whether there is something to tick for."""
    return _wanted is not None or _asked is not None


def tick() -> bool:
    """Asks, and reads the answer; whether something is to be drawn anew."""
    global _wanted
    if _asked is not None:
        return _listen()
    if _wanted is not None and time.monotonic() - _wanted[1] >= STILL:
        wanted, _wanted = _wanted[0], None
        _ask(wanted)
    return False


def _ask(wanted: str) -> None:
    global _asked
    try:
        command, environment, place = client.launch_plan(str(install.engine_python()), install.ADDON, _home())
        process = subprocess.Popen([*command[:-1], "need"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, env=environment, cwd=place)
    except (install.NoEngine, OSError, ValueError) as error:
        _keep(wanted, Told(problem=str(error)))
        return
    _asked = wanted, time.monotonic(), process
    threading.Thread(target=_talk, args=(process, wanted.encode(), _words), daemon=True).start()


def _home() -> Path:
    return install.user_folder()


def _talk(process: subprocess.Popen, wanted: bytes, words: queue.SimpleQueue) -> None:
    with contextlib.suppress(OSError, ValueError):
        words.put(process.communicate(wanted)[0])
        return
    words.put(b"")


def _listen() -> bool:
    global _asked
    assert _asked is not None
    wanted, since, process = _asked
    if _words.empty():
        if time.monotonic() - since < LONGEST:
            return False
        process.kill()
    answer = _words.get()
    _asked = None
    _keep(wanted, _read(answer))
    return True


def _read(answer: bytes) -> Told:
    """An engine that said nothing has nothing to say here: the job itself will tell."""
    try:
        values = json.loads(answer)
        return Told(str(values.get("words", "")), str(values.get("problem", "")), values=values)
    except (ValueError, AttributeError):
        return Told()


def _keep(wanted: str, answer: Told) -> None:
    if len(_answers) >= MOST:
        _answers.clear()
    _answers[wanted] = time.monotonic(), answer


def wait(plan: Plan) -> Told:
    """For scripts: asks, and blocks until there is an answer."""
    found = told(plan)
    while found.is_coming:
        tick()
        time.sleep(0.02)
        found = told(plan)
    return found


def forget() -> None:
    """The registry or the engine is another one now; a question that is being asked is dropped."""
    global _wanted, _asked
    if _asked is not None:
        _asked[2].kill()
        _words.get()
    _wanted, _asked = None, None
    _answers.clear()
