"""The manager of models from Blender: its operators, its process, a real server on this machine. What it does with
files is tested outside of Blender, in test_fetch.py and test_models_here.py."""

import http.server
import json
import struct
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import bpy
import pytest

NAME = "lightx2v-14b"       # a LoRA that is listed without a checksum
SLOW = 0.02


def safetensors(tensors: dict[str, int]) -> bytes:
    """A file with tensors of so many zeros; written here, as Blender's Python has no library for it."""
    header, at = {}, 0
    for name, count in tensors.items():
        header[name] = {"dtype": "F32", "shape": [count], "data_offsets": [at, at + 4 * count]}
        at += 4 * count
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)


LORA = safetensors({f"diffusion_model.blocks.{i}.self_attn.q.lora_{way}.weight": 50_000
                    for i in range(2) for way in ("A", "B")})


class Server(http.server.SimpleHTTPRequestHandler):
    slow = False

    def do_GET(self):
        if not type(self).slow:
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", str(len(LORA)))
        self.end_headers()
        for start in range(0, len(LORA), 4096):
            try:
                self.wfile.write(LORA[start : start + 4096])
            except OSError:
                return None
            time.sleep(SLOW)
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def manager(shotlock, tmp_path, monkeypatch):
    """Online, with a server of its own, a home with nothing in it and no registry."""
    from shotlock.operators import forecast, manager, memory

    web, served = tmp_path / "web", type("Served", (Server,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(served, directory=str(web)))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("SHOTLOCK_MODELS", str(tmp_path / "data" / "models.json"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    app = SimpleNamespace(online_access=True, background=True)
    monkeypatch.setattr(manager, "bpy", SimpleNamespace(app=app, types=bpy.types, path=bpy.path, utils=bpy.utils))
    chosen = SimpleNamespace(models_server=f"http://127.0.0.1:{server.server_port}", engine_python="", takes_folder="")
    monkeypatch.setattr(manager.properties, "preferences", lambda: chosen)
    memory.forget()
    yield SimpleNamespace(room=manager, served=served, web=web, folder=tmp_path / "data" / "models")
    manager.leave()
    memory.forget()
    forecast.forget()
    server.shutdown()
    server.server_close()


def put(manager, data=LORA):
    from shotlock.engine import official

    file = official.LORAS[NAME].file
    path = manager.web / file.repository / "resolve" / "main" / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return file.name


def row(manager, name):
    from shotlock.operators import memory

    memory.forget()
    return next(one for one in manager.room.rows() if one.name == name)


def test_nothing_is_fetched_while_offline(shotlock):
    from shotlock.operators import manager

    assert not bpy.app.online_access and "online access is off" in manager.why_not_fetch()
    assert not bpy.ops.shotlock.fetch_model.poll()
    assert bpy.ops.shotlock.find_models.poll()              # which needs no network


def test_a_lora_is_fetched_listed_and_removed(manager):
    from shotlock.operators import shelf

    name = put(manager)
    assert not row(manager, NAME).is_here
    assert bpy.ops.shotlock.fetch_model(model=NAME) == {"FINISHED"}
    path = manager.folder / "loras" / name
    assert path.read_bytes() == LORA and row(manager, NAME).is_here and row(manager, NAME).missing == ()
    assert shelf.shelf().loras[NAME].recipe.steps == 4
    assert shelf.recipe("", [(NAME, 1.0)]).steps == 4 and shelf.recipe("", [(NAME, 0.0)]) is None
    path.rename(path.with_name("elsewhere"))
    assert row(manager, NAME).missing == (str(path),)
    path.with_name("elsewhere").rename(path)
    assert bpy.ops.shotlock.remove_model(model=NAME) == {"FINISHED"}
    assert not path.exists() and not row(manager, NAME).is_here


def test_what_the_server_has_not_is_said(manager):
    with pytest.raises(RuntimeError, match=r"the server has no Wan21_T2V_14B_lightx2v.* to give \(404"):
        bpy.ops.shotlock.fetch_model(model=NAME)
    assert manager.room.latest().state == "failed"


def test_the_window_goes_on_while_it_is_fetched_and_cancel_keeps_what_has_come(manager):
    """Ticks, as the timer gives them: each is short; a stopped fetch shows how much has come."""
    put(manager)
    manager.served.slow = True
    server, longest = manager.room.properties.preferences().models_server, 0.0
    work = manager.room.start("fetch", NAME, NAME, "--server", server)
    deadline = time.monotonic() + 60
    while not work.news.get("all_done") and time.monotonic() < deadline:
        before = time.process_time()
        manager.room.tick()
        longest = max(longest, time.process_time() - before)
        time.sleep(0.01)
    assert work.progress > 0 and manager.room.running() and longest < 0.05
    assert "at work already" in manager.room.why_not() and not bpy.ops.shotlock.fetch_model.poll()
    assert bpy.ops.shotlock.cancel_models() == {"FINISHED"}
    manager.room.wait()
    assert (work.state, work.error) == ("cancelled", "") and work.process.poll() is not None
    assert list((manager.folder / "loras").glob("*.part"))
    assert not row(manager, NAME).is_here and row(manager, NAME).come > 0
    manager.served.slow = False
    assert bpy.ops.shotlock.fetch_model(model=NAME) == {"FINISHED"}


def test_a_file_is_imported_and_its_folder_chosen(manager, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "My Look v2.safetensors").write_bytes(LORA)
    path = str(tmp_path / "mine" / "My Look v2.safetensors")
    assert bpy.ops.shotlock.import_model(filepath=path) == {"FINISHED"}
    assert row(manager, "my-look-v2").title == "My Look v2" and not row(manager, "my-look-v2").can_be_fetched
    with pytest.raises(RuntimeError, match="no model that is not listed already was found there"):
        bpy.ops.shotlock.find_models()
    assert bpy.ops.shotlock.choose_models_folder(directory=str(tmp_path / "mine")) == {"FINISHED"}
    assert manager.room.folder() == tmp_path / "mine"
    assert bpy.ops.shotlock.remove_model(model="my-look-v2") == {"FINISHED"} and Path(path).exists()


def test_the_list_says_what_a_model_can_be_told_in_words_that_can_be_translated(shotlock):
    from shotlock.engine import official
    from shotlock.operators import shelf

    assert {model.told for model in official.MODELS.values()} == set(shelf.LISTED)


def test_leaving_ends_the_process(manager):
    put(manager)
    manager.served.slow = True
    server = manager.room.properties.preferences().models_server
    process = manager.room.start("fetch", NAME, NAME, "--server", server).process
    manager.room.leave()
    assert process.poll() is not None and manager.room.latest() is None
