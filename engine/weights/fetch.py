"""One file over HTTP, whole or not at all: goes on where it was cut off, begins again where the server has another file
now, is compared with its checksum before it gets its name. Standard library only.

What has come lies beside the place as `NAME.part`, with a note of which file it is a part of. It knows no models.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

from .. import protocol

PIECE = 2**20  # bytes between two looks at whether to stop
SILENT = 30.0  # seconds without a byte, after which a connection counts as cut
WAITS = (1.0, 3.0, 10.0, 30.0, 60.0)  # seconds before each new try; as many in a row may bring nothing
MARGIN = 2**26  # bytes that stay free on the disk
OFTEN = 0.2  # seconds between two words on how far it is
NOT_NOW = {408, 425, 429, 500, 502, 503, 504}  # answers of a server that may think otherwise in a moment
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LINKED = ("X-Linked-Etag", "X-Linked-Size")  # said by a server that sends elsewhere, about the file that lies there
CUT = (OSError, http.client.HTTPException)

Say = Callable[[dict[str, Any]], None]
Stop = Callable[[], bool]


class BadFetch(ValueError):
    """A file that cannot be fetched. One sentence: what was found, what was expected, what to do."""


class Full(BadFetch):
    """There is no room for it. What has come stays, and is gone on from."""


class Stopped(Exception):
    """Asked to stop: what has come stays, and is gone on from."""


@dataclass(frozen=True)
class Wanted:
    """One file, as it is listed."""

    url: str
    path: Path
    size: int = 0  # bytes, about; 0: not known
    sha256: str = ""  # empty: the server's word is taken


@dataclass(frozen=True)
class Served:
    """One file, as its server describes it."""

    tag: str  # changes with the file
    size: int
    sha256: str = ""  # where the tag is one


@dataclass
class Part:
    """What has come of a file."""

    path: Path
    served: Served | None = None
    digest: Any = field(default_factory=hashlib.sha256)
    size: int = 0

    @property
    def note(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def drop(self) -> None:
        for path in (self.path, self.note):
            path.unlink(missing_ok=True)
        self.served, self.digest, self.size = None, hashlib.sha256(), 0


def fetch(wanted: Wanted, say: Say, stop: Stop, waits: Sequence[float] = WAITS) -> str:
    """The file at its place; returns its sha256. Raises BadFetch, Full, Stopped."""
    if not wanted.url.startswith(("http://", "https://")):
        raise BadFetch(f"{wanted.url} is no address on the web: expected one that begins with https://")
    part, tries = begun(wanted, say, stop), 0
    while True:
        before = part.size
        try:
            receive(wanted, part, say, stop)
            return finished(wanted, part)
        except CUT as cut:
            tries = 1 if part.size > before else tries + 1
            if tries > len(waits):
                raise BadFetch(f"{wanted.path.name} does not come ({in_words(cut)}): check the connection and fetch it "
                               "again, it goes on where it stopped") from cut  # fmt: skip
            pause(waits[tries - 1], stop)


def in_words(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    return " ".join(str(reason).split())[:120] or type(error).__name__


def pause(seconds: float, stop: Stop) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        tick(stop)
        time.sleep(min(0.05, seconds))


def tick(stop: Stop) -> None:
    if stop():
        raise Stopped


# ---------------------------------------------------------------- what is there


def part_of(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def come(path: Path) -> int:
    """Bytes of a file that have come, for lists."""
    try:
        return part_of(path).stat().st_size
    except OSError:
        return 0


def begun(wanted: Wanted, say: Say, stop: Stop) -> Part:
    """What an earlier try left, its digest taken; nothing where it left no note of what it is."""
    part = Part(part_of(wanted.path))
    wanted.path.parent.mkdir(parents=True, exist_ok=True)
    try:
        part.served = Served(**json.loads(part.note.read_text(encoding="utf-8")))
        size = part.path.stat().st_size
    except (OSError, ValueError, TypeError):
        part.drop()
        return part
    with part.path.open("rb") as stream:
        while piece := stream.read(PIECE):
            part.digest.update(piece)
            part.size += len(piece)
            tick(stop)
            say({"phase": "check", "file": wanted.path.name, "done": part.size, "size": size})
    return part


# ---------------------------------------------------------------- what the server says


class Linked(urllib.request.HTTPRedirectHandler):
    """Follows, and keeps what the first server said of the file that lies elsewhere."""

    def __init__(self) -> None:
        self.said: dict[str, str] = {}

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        self.said |= {name: headers[name] for name in LINKED if headers.get(name)}
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def ask(url: str, start: int) -> tuple[http.client.HTTPResponse, Served]:
    """Opens the file from byte `start` on. Raises BadFetch, and OSError or HTTPException where it may come later."""
    headers = {"User-Agent": f"shotlock/{protocol.SHOTLOCK}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    linked = Linked()
    try:
        answer = urllib.request.build_opener(linked).open(urllib.request.Request(url, headers=headers), timeout=SILENT)
    except urllib.error.HTTPError as error:
        with contextlib.closing(error):
            if error.code == 416 and start:
                return error, described(error.headers, linked.said)  # type: ignore[return-value]
            if error.code in NOT_NOW:
                raise ConnectionError(f"the server answers {error.code}") from error
            raise BadFetch(f"the server has no {url.rpartition('/')[2]} to give ({error.code} {error.reason}): import "
                           "the file if you have it, or choose another server") from error  # fmt: skip
    return answer, described(answer.headers, linked.said)


def described(headers: Message, linked: Mapping[str, str]) -> Served:
    total = re.fullmatch(r"bytes (?:\d+-\d+|\*)/(\d+)", headers.get("Content-Range", ""))
    size = total[1] if total else linked.get("X-Linked-Size") or headers.get("Content-Length") or "0"
    tag = linked.get("X-Linked-Etag") or headers.get("ETag") or headers.get("Last-Modified") or ""
    tag = tag.removeprefix("W/").strip('"')
    return Served(tag, int(size) if size.isdigit() else 0, tag if re.fullmatch(r"[0-9a-f]{64}", tag) else "")


def refuse_other(wanted: Wanted, served: Served) -> None:
    """Before a byte is fetched: the server has a file, but not this one."""
    name = wanted.path.name
    if wanted.sha256 and served.sha256 not in ("", wanted.sha256):
        raise BadFetch(f"the server has another {name} ({served.sha256[:12]}) than the one that is listed "
                       f"({wanted.sha256[:12]}), so nothing was fetched: import the file if you have it")  # fmt: skip
    if not served.size:
        raise BadFetch(f"the server does not say how long {name} is, so that it could not be known to be whole: choose "
                       "another server, or import the file")  # fmt: skip


# ---------------------------------------------------------------- receiving


def receive(wanted: Wanted, part: Part, say: Say, stop: Stop) -> None:
    """What is missing, from where it was; raises OSError or HTTPException where it was cut off."""
    answer, served = ask(wanted.url, part.size)
    with contextlib.closing(answer):
        if part.served != served:  # nothing yet, or the server has another file now
            part.drop()
        if answer.status == 416 and part.size == served.size:
            return
        if answer.status == 416 or (answer.status == 206 and begins_at(answer) != part.size):
            part.drop()
            raise ConnectionError("the server has another part than the one that is missing")
        if answer.status != 206 and part.size:  # a server that knows no ranges sends all of it
            part.drop()
        refuse_other(wanted, served)
        need_room(wanted.path, served.size - part.size)
        take_note(part, served)
        copy(answer, wanted, part, served, say, stop)
    if part.size < served.size:
        raise ConnectionError(f"cut off after {part.size:,} of {served.size:,} bytes")


def begins_at(answer: http.client.HTTPResponse) -> int:
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(found[1]) if found else -1


def take_note(part: Part, served: Served) -> None:
    if part.served is None:
        part.path.write_bytes(b"")
        part.note.write_text(json.dumps(asdict(served)), encoding="utf-8")
        part.served = served


def copy(answer: Any, wanted: Wanted, part: Part, served: Served, say: Say, stop: Stop) -> None:
    said = 0.0
    with part.path.open("ab", buffering=0) as out:
        while part.size < served.size:
            tick(stop)
            piece = answer.read1(min(PIECE, served.size - part.size))
            if not piece:
                return
            keep(out, piece, wanted, served.size - part.size)
            part.digest.update(piece)
            part.size += len(piece)
            if time.monotonic() - said > OFTEN or part.size == served.size:
                said = time.monotonic()
                say({"phase": "fetch", "file": wanted.path.name, "done": part.size, "size": served.size})


def keep(out: Any, piece: bytes, wanted: Wanted, missing: int) -> None:
    """Written whole; of a piece that does not fit, nothing stays, so that the digest stays right."""
    start, left = out.tell(), memoryview(piece)
    try:
        while left:
            left = left[out.write(left):]
    except OSError as error:
        with contextlib.suppress(OSError):
            out.truncate(start)
        if error.errno in FULL:
            raise full(wanted.path, missing) from error
        raise BadFetch(f"{wanted.path.name} can't be written to {wanted.path.parent} ({error.strerror}): choose "
                       "another folder") from error  # fmt: skip


def need_room(path: Path, missing: int) -> None:
    """Raises Full before anything is fetched that will not fit."""
    home = next(place for place in (path.parent, *path.parents) if place.exists())
    if shutil.disk_usage(home).free < missing + MARGIN:
        raise full(path, missing)


def full(path: Path, missing: int) -> Full:
    home = next(place for place in (path.parent, *path.parents) if place.exists())
    free = shutil.disk_usage(home).free
    return Full(f"the disk is full: {path.name} needs {missing / 1e9:.2f} GB more and {free / 1e9:.2f} GB are free in "
                f"{path.parent}; free some space or choose another folder and fetch it again, it goes on where it "
                "stopped")  # fmt: skip


# ---------------------------------------------------------------- the end


def finished(wanted: Wanted, part: Part) -> str:
    """Compared with its checksum, flushed, and named. A wrong file is removed."""
    found, served = part.digest.hexdigest(), part.served
    expected = wanted.sha256 or (served.sha256 if served else "")
    if expected and found != expected:
        part.drop()
        raise BadFetch(f"{wanted.path.name} has the checksum {found[:12]} and {expected[:12]} was expected, so it was "
                       "removed: fetch it again")  # fmt: skip
    with part.path.open("rb+") as stream:
        os.fsync(stream.fileno())
    os.replace(part.path, wanted.path)
    part.note.unlink(missing_ok=True)
    return found
