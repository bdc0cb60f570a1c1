"""Files over HTTP from a server on this machine: real sockets, real files. Cut off, changed in between, wrong, without
ranges, too large for the disk, cancelled."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from engine.weights import fetch
from engine.weights.fetch import BadFetch, Full, Stopped, Wanted, part_of

DATA = os.urandom(3 * 2**20 + 12345)
OTHER = os.urandom(len(DATA))
QUICK = (0.01, 0.01)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Files:
    """What the server has, and how it behaves."""

    def __init__(self) -> None:
        self.data, self.ranges, self.cuts, self.asked, self.codes = DATA, True, [], [], []
        self.claimed, self.length, self.linked, self.tags = 0, True, None, True


def handler(files: Files):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            files.asked.append(self.headers.get("Range"))
            if files.linked and self.path.startswith("/resolve"):
                self.send_response(302)
                self.send_header("Location", "/elsewhere")
                self.send_header("X-Linked-Etag", f'"{files.linked}"')
                self.send_header("X-Linked-Size", str(len(files.data)))
                return self.end_headers()
            if files.codes:
                return self.send_error(files.codes.pop(0))
            start = self.begin()
            if start is None:
                return None
            body = files.data[start:]
            if files.cuts:
                self.wfile.write(body[: files.cuts.pop(0)])
                self.wfile.flush()
                return self.connection.shutdown(socket.SHUT_RDWR)
            self.wfile.write(body)

        def begin(self):
            size, asked = len(files.data), self.headers.get("Range")
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and files.ranges else 0
            if asked and files.ranges and start >= size:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{size}")
            elif asked and files.ranges:
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            else:
                self.send_response(200)
            if files.length:
                self.send_header("Content-Length", str(files.claimed or max(0, size - start)))
            if files.tags:
                self.send_header("ETag", f'"{hashlib.md5(files.data).hexdigest()}"')
            self.end_headers()
            return start if start < size else None

        def log_message(self, *_):
            pass

    return Handler


@pytest.fixture
def files():
    return Files()


@pytest.fixture
def address(files):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(files))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/resolve/model.safetensors"
    server.shutdown()
    server.server_close()


@pytest.fixture
def wanted(address, tmp_path):
    return Wanted(address, tmp_path / "models" / "model.safetensors", len(DATA), sha(DATA))


def get(wanted, stop=lambda: False, waits=QUICK):
    said = []
    return fetch.fetch(wanted, said.append, stop, waits), said


def left(wanted):
    return sorted(path.name for path in wanted.path.parent.iterdir())


def test_a_file_comes_whole_and_says_how_far_it_is(files, wanted):
    found, said = get(wanted)
    assert found == sha(DATA) and wanted.path.read_bytes() == DATA and left(wanted) == ["model.safetensors"]
    assert said[-1] == {"phase": "fetch", "file": "model.safetensors", "done": len(DATA), "size": len(DATA)}
    done = [one["done"] for one in said]
    assert done == sorted(done) and files.asked == [None]


def test_a_cut_connection_goes_on_where_it_was(files, wanted):
    files.cuts = [1_000_000, 700_000]
    get(wanted)
    assert wanted.path.read_bytes() == DATA
    assert files.asked == [None, "bytes=1000000-", "bytes=1700000-"]


def test_a_cut_that_lasts_is_told_and_the_next_fetch_goes_on(files, wanted):
    files.cuts = [1_000_000, 0, 0, 0]
    with pytest.raises(BadFetch, match=r"does not come .* it goes on where it stopped"):
        get(wanted)
    assert part_of(wanted.path).stat().st_size == 1_000_000 and not wanted.path.exists()
    files.cuts, files.asked = [], []
    _, said = get(wanted)
    assert files.asked == ["bytes=1000000-"] and wanted.path.read_bytes() == DATA
    assert said[0]["phase"] == "check"  # what lay there is part of the checksum


def test_a_server_that_is_gone_is_told(wanted, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}/model.safetensors"
        with pytest.raises(BadFetch, match=r"does not come .*refused"):
            get(Wanted(nobody, tmp_path / "model.safetensors"))


def test_a_busy_server_is_asked_again_and_one_without_the_file_is_not(files, wanted):
    files.codes = [503, 429]
    get(wanted)
    assert len(files.asked) == 3
    files.codes, files.asked = [404], []
    wanted.path.unlink()
    with pytest.raises(BadFetch, match=r"has no model.safetensors to give \(404"):
        get(wanted)
    assert len(files.asked) == 1


def test_a_wrong_checksum_is_refused_and_the_file_removed(files, wanted):
    files.data = OTHER
    with pytest.raises(BadFetch, match=f"has the checksum {sha(OTHER)[:12]} and {sha(DATA)[:12]} was expected"):
        get(wanted)
    assert left(wanted) == []


def test_numbers_that_were_changed_on_the_disk_are_found(files, wanted):
    """What an earlier try left is not trusted: its bytes are part of the checksum."""
    files.cuts = [1_000_000, 0, 0, 0]
    with pytest.raises(BadFetch):
        get(wanted)
    with part_of(wanted.path).open("rb+") as stream:
        stream.seek(500_000)
        stream.write(b"changed")
    files.cuts = []
    with pytest.raises(BadFetch, match="so it was removed"):
        get(wanted)
    assert left(wanted) == []


def test_another_file_than_the_listed_one_is_refused_before_a_byte_is_fetched(files, wanted):
    files.linked = sha(OTHER)
    with pytest.raises(BadFetch, match=r"another model.safetensors .* so nothing was fetched"):
        get(wanted)
    assert left(wanted) == []


def test_the_checksum_that_a_server_tells_is_kept_to(files, address, tmp_path):
    """As Hugging Face does: the file lies elsewhere, its checksum is told on the way there."""
    files.linked = sha(DATA)
    unlisted = Wanted(address, tmp_path / "model.safetensors")
    files.cuts = [1_500_000]
    assert get(unlisted)[0] == sha(DATA)
    assert files.asked == [None, None, "bytes=1500000-", "bytes=1500000-"]  # the range goes along
    unlisted.path.unlink()
    files.linked = sha(OTHER)
    with pytest.raises(BadFetch, match="has the checksum"):
        get(unlisted)


@pytest.mark.parametrize("tags", [True, False])
def test_a_file_that_changed_between_two_parts_begins_again(files, address, tmp_path, tags):
    files.tags, unlisted = tags, Wanted(address, tmp_path / "model.safetensors")
    files.cuts = [1_000_000, 0, 0, 0]
    with pytest.raises(BadFetch):
        get(unlisted)
    files.data = OTHER if tags else OTHER + b"longer"  # without a tag, only the length tells
    files.cuts, files.asked = [], []
    assert get(unlisted)[0] == sha(files.data) and unlisted.path.read_bytes() == files.data
    assert files.asked[0] == "bytes=1000000-" and files.asked[-1] is None


def test_a_server_without_ranges_sends_all_of_it_again(files, wanted):
    files.ranges, files.cuts = False, [1_000_000]
    get(wanted)
    assert wanted.path.read_bytes() == DATA and files.asked == [None, "bytes=1000000-"]


def test_a_server_that_tells_no_length_is_refused(files, wanted):
    files.length = False
    with pytest.raises(BadFetch, match="does not say how long"):
        get(wanted)
    assert left(wanted) == []


def test_what_has_come_whole_is_not_fetched_again(files, wanted):
    """The process died between the last byte and the name."""
    files.cuts = [len(DATA) - 1, 0, 0, 0]
    with pytest.raises(BadFetch):
        get(wanted)
    with part_of(wanted.path).open("ab") as stream:
        stream.write(DATA[-1:])
    files.cuts, files.asked = [], []
    assert get(wanted)[0] == sha(DATA) and files.asked == [f"bytes={len(DATA)}-"]


def test_a_part_without_its_note_is_worth_nothing(files, wanted):
    wanted.path.parent.mkdir()
    part_of(wanted.path).write_bytes(b"of something")
    get(wanted)
    assert files.asked == [None] and wanted.path.read_bytes() == DATA


def test_a_full_disk_is_told_before_anything_is_fetched(files, wanted):
    files.claimed = 10**15
    with pytest.raises(Full, match=r"needs 1000000.00 GB more and .* GB are free"):
        get(wanted)
    assert left(wanted) == []


def test_a_disk_that_becomes_full_keeps_what_has_come(files, wanted):
    """A limit of the system on this process's files stands for the disk: the same error, in the middle of a write."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, limits[1]))
    try:
        with pytest.raises(Full, match=r"the disk is full: .* it goes on where it stopped"):
            get(wanted)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    size = part_of(wanted.path).stat().st_size
    assert 0 < size <= 1_500_000
    get(wanted)
    assert files.asked[-1] == f"bytes={size}-" and wanted.path.read_bytes() == DATA


def test_cancelled_keeps_what_has_come(files, wanted):
    asked = []
    with pytest.raises(Stopped):
        get(wanted, stop=lambda: len(asked) > 2 or asked.append(1))
    size = part_of(wanted.path).stat().st_size
    assert 0 < size < len(DATA)
    assert json.loads(part_of(wanted.path).with_name("model.safetensors.part.json").read_text())["size"] == len(DATA)
    get(wanted)
    assert files.asked[-1] == f"bytes={size}-" and wanted.path.read_bytes() == DATA


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "model.safetensors"])
def test_only_the_web_is_fetched_from(url, tmp_path):
    with pytest.raises(BadFetch, match="no address on the web"):
        get(Wanted(url, tmp_path / "x"))
