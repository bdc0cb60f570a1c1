"""What the add-on and the engine say to each other: one JSON object per line, of a closed set of types.

Both sides read this file. Lines are bounded and checked before anyone acts on them; what is malformed is logged and
ignored, so noise on the wire costs a line and never a job. It does not know how the lines travel.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

VERSION = 1                     # of the wire; both ends say it first, and must agree
SHOTLOCK = "0.1.0"              # of the add-on: an engine of another version is another installation
INSTALL = "press Install Engine in the add-on's preferences, or choose another Python there"
LONGEST = 2**20                 # bytes of a line; the longest real one has a few hundred
CHUNK = 2**16
TOO_LONG = f"ignored a line of over {LONGEST} bytes"

Message = dict[str, Any]
Log = Callable[[str], None]

TO_ENGINE: Mapping[str, Mapping[str, Any]] = {
    "hello": {"protocol": int, "shotlock": str},
    "run": {"job": str, "folder": str},
    "cancel": {"job": str},
    "quit": {},
}
FROM_ENGINE: Mapping[str, Mapping[str, Any]] = {
    "hello": {"protocol": int, "shotlock": str, "pid": int, "python": str},
    "ready": {"device": str, "versions": dict},
    "beat": {},
    "started": {"job": str},
    "progress": {"job": str, "phase": str, "step": int, "steps": int, "eta": (int, float, type(None))},
    "preview": {"job": str, "file": str},
    "note": {"job": str, "text": str},
    "done": {"job": str, "report": str},
    "failed": {"job": str, "kind": str, "reason": str},
    "cancelled": {"job": str},
}


def encode(kind: str, /, **values: Any) -> bytes:
    """One line. ASCII, so that file names which aren't valid UTF-8 survive as escapes."""
    return json.dumps({"type": kind} | values, ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n"


def decode(line: bytes, types: Mapping[str, Mapping[str, Any]]) -> Message:
    """The message of a line, checked against `types`. Raises ValueError with what is wrong."""
    try:
        message = json.loads(line, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise ValueError("not an object with a type")
    if message["type"] not in types:
        raise ValueError(f"unknown type {message['type'][:40]!r}")
    for name, kind in types[message["type"]].items():
        if not isinstance(message.get(name), kind) or isinstance(message.get(name), bool):
            raise ValueError(f"{message['type']} without a proper {name}")
    return message


def _no_number(text: str) -> None:
    """Python's JSON reads NaN and infinities, of which there are none in JSON."""
    raise ValueError(f"{text} is no number")


def messages(stream: BinaryIO, types: Mapping[str, Mapping[str, Any]], log: Log) -> Iterator[Message]:
    """The messages of an unbuffered stream until it ends. What is not a message is logged and left out."""
    for line in lines(stream, log):
        try:
            yield decode(line, types)
        except ValueError as error:
            log(f"ignored a line of {len(line)} bytes: {error}")


def lines(stream: BinaryIO, log: Log) -> Iterator[bytes]:
    """Complete, non-empty lines. One that grows over LONGEST is dropped as it comes in, up to its end: never held."""
    held, dropping = bytearray(), False
    while chunk := _read(stream):
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            line, complete = bytes(held) + part, not dropping
            held.clear()
            dropping = False
            if complete and len(line) > LONGEST:
                log(TOO_LONG)
            elif complete and line.strip():
                yield line
        held += rest
        if len(held) > LONGEST and not dropping:
            log(TOO_LONG)
            dropping = True
        if dropping:
            held.clear()


def _read(stream: BinaryIO) -> bytes:
    try:
        return stream.read(CHUNK) or b""
    except (OSError, ValueError):           # the other end died, or this end was closed: both are the end
        return b""


class Sender:
    """Writes messages to a stream from any thread, whole. After the other end is gone, `send` returns False."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._lock = stream, threading.Lock()

    def send(self, kind: str, /, **values: Any) -> bool:
        line = memoryview(encode(kind, **values))
        try:
            with self._lock:
                while line:
                    line = line[self._stream.write(line):]
            return True
        except (OSError, ValueError):
            return False


def mismatch(hello: Message) -> str | None:
    """Why the two ends don't fit, in one sentence, or None."""
    if hello["protocol"] == VERSION and hello["shotlock"] == SHOTLOCK:
        return None
    return (f"the other end is Shotlock {hello['shotlock'][:40]} (protocol {hello['protocol']}) and this end is "
            f"{SHOTLOCK} (protocol {VERSION}): install the add-on again and restart Blender")
