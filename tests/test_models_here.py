"""Models that lie on this machine: found in the folders of other programs, put together, imported, fetched from a real
server into the registry, removed. Tiny checkpoints under official names; the manager's own command."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engine import official, registry
from engine.models.wan import catalogue
from engine.weights import find, inspection, manager

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def shelf(load_support, tmp_path_factory):
    """Tiny checkpoints, all in one folder."""
    folder = tmp_path_factory.mktemp("shelf")
    load_support("tiny_wan").write(folder)
    lora = {f"diffusion_model.blocks.{i}.self_attn.q.lora_{way}.weight": torch.zeros(4, 4)
            for i in range(2) for way in ("A", "B")}  # fmt: skip
    save_file(lora, folder / "look.safetensors")
    save_file({"double_blocks.0.img_attn.norm.query_norm.scale": torch.zeros(4)}, folder / "flux.safetensors")
    (folder / "broken.safetensors").write_bytes(b"<html>log in</html>")
    return folder


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home without anything in it, and a registry that is not there yet."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME",
                 "COMFYUI_PATH"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SHOTLOCK_MODELS", str(tmp_path / "data" / "models.json"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def comfy(home, shelf):
    """ComfyUI's folders with a VACE model, its parts, a LoRA, and what is none of ours."""
    return lay(home / "ComfyUI" / "models", shelf, {
        "tiny-vace": "diffusion_models/sub/wan2.1_vace", "umt5": "text_encoders/umt5_xxl", "vae2.1": "vae/wan_2.1_vae",
        "look": "loras/look", "flux": "unet/flux", "broken": "vae/broken"})  # fmt: skip


def lay(folder, shelf, files):
    for source, target in files.items():
        path = folder / f"{target}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(shelf / f"{source}.safetensors", path)
    return folder


def order(capsys, *arguments):
    """The command as anybody gives it; its exit code and its lines."""
    code = manager.main(list(map(str, arguments)))
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


# ---------------------------------------------------------------- found


def test_comfyui_is_found_and_its_model_put_together(comfy, capsys):
    code, lines = order(capsys, "find")
    (model,), (lora,) = lines[-1]["models"], lines[-1]["loras"]
    assert code == 0 and model["lacks"] == [] and Path(model["files"]["transformer"]).name == "wan2.1_vace.safetensors"
    assert {part: Path(path).parent.name for part, path in model["files"].items()} == {
        "transformer": "sub", "text": "text_encoders", "autoencoder": "vae"}  # fmt: skip
    assert lora == {"name": "look", "file": str(comfy / "loras" / "look.safetensors")}


def test_the_newest_snapshot_of_hugging_faces_cache_is_found_through_its_links(home, shelf, capsys):
    repository = home / ".cache" / "huggingface" / "hub" / "models--Wan-AI--Wan2.2-TI2V-5B-Diffusers"
    (repository / "blobs").mkdir(parents=True)
    for number, snapshot in enumerate(("old", "new")):
        for source, target in (("tiny-ti2v", "transformer/diffusion_pytorch_model"), ("umt5", "text_encoder/model"),
                               ("vae2.2", "vae/diffusion_pytorch_model")):  # fmt: skip
            link = repository / "snapshots" / snapshot / f"{target}.safetensors"
            link.parent.mkdir(parents=True)
            shutil.copy(shelf / f"{source}.safetensors", repository / "blobs" / f"{source}-{snapshot}")
            link.symlink_to(repository / "blobs" / f"{source}-{snapshot}")
        os.utime(repository / "snapshots" / snapshot, (number, number))
    _, lines = order(capsys, "find")
    (model,) = lines[-1]["models"]
    assert model["name"] == "wan2.2-ti2v-5b-diffusers" and model["lacks"] == []
    assert all("/snapshots/new/" in path for path in model["files"].values())


def test_experts_are_a_pair_and_one_alone_lacks_the_other(home, shelf, capsys):
    folder = lay(home / "ComfyUI" / "models", shelf, {
        "tiny-experts-high": "unet/wan2.2_fun_vace_high_noise_14B",
        "tiny-experts-low": "unet/wan2.2_fun_vace_low_noise_14B",
        "umt5": "clip/umt5", "vae2.1": "vae/vae"})  # fmt: skip
    _, lines = order(capsys, "find")
    (model,) = lines[-1]["models"]
    assert Path(model["files"]["transformer_low"]).name == "wan2.2_fun_vace_low_noise_14B.safetensors"
    (folder / "unet" / "wan2.2_fun_vace_low_noise_14B.safetensors").unlink()
    _, lines = order(capsys, "find")
    (model,) = lines[-1]["models"]
    assert model["lacks"] == ["transformer_low"]


LISTING = """
# where models are
comfyui:
    base_path: {base}   # another disk
    is_default: true
    checkpoints: checkpoints/
    diffusion_models: |
        unet
        nowhere
    vae: "my vae/"
other: !!python/object/apply:os.system ["touch {base}/run"]
broken
  - vae: [
webui:
    base_path: ~/webui
    text_encoders: >-
        te   # the older one
    loras: $LOOKS
"""


def test_the_folders_that_comfyui_lists_are_found(home, shelf, tmp_path, monkeypatch, capsys):
    """As its own list has them; what else stands in it is passed over and never run."""
    disk, looks = tmp_path / "disk", tmp_path / "looks"
    lay(disk, shelf, {"tiny-vace": "unet/wan_vace", "vae2.1": "my vae/vae", "tiny-text": "checkpoints/no"})
    lay(home / "webui", shelf, {"umt5": "te/umt5"})
    lay(looks, shelf, {"look": "look"})
    (home / "ComfyUI").mkdir()
    monkeypatch.setenv("LOOKS", str(looks))
    listing = home / "ComfyUI" / find.FURTHER_PLACES
    listing.write_text(LISTING.format(base=disk))
    expected = [disk / "unet", disk / "my vae", home / "webui" / "te", looks]
    assert find.places() == expected and not (disk / "run").exists()
    _, lines = order(capsys, "find")
    (model,) = lines[-1]["models"]
    assert model["lacks"] == [] and model["files"]["transformer"] == str(disk / "unet" / "wan_vace.safetensors")
    listing.rename(listing.with_name("gone"))
    desktop = find.settings(os.environ, home) / find.DESKTOPS
    desktop.parent.mkdir(parents=True)
    desktop.write_text(LISTING.format(base=os.path.relpath(disk, desktop.parent)))
    assert [os.path.realpath(place) for place in find.places()] == [os.path.realpath(place) for place in expected]
    for text in (b"\xff\xfe\x00", b"a:\n\tvae: \0\n", b"vae: /\n", b"a:\n b:\n" * 10 ** 6):
        desktop.write_bytes(text)
        assert find.places() == []


def test_the_autoencoder_is_the_one_of_the_models_generation(home, shelf, capsys):
    lay(home / "ComfyUI" / "models", shelf, {"tiny-ti2v": "unet/ti2v", "umt5": "clip/umt5", "vae2.1": "vae/vae"})
    _, lines = order(capsys, "find")
    assert lines[-1]["models"][0]["lacks"] == ["autoencoder"]
    lay(home / "ComfyUI" / "models", shelf, {"vae2.2": "vae/vae22"})
    _, lines = order(capsys, "find")
    assert lines[-1]["models"][0]["files"]["autoencoder"].endswith("vae22.safetensors")


@pytest.mark.parametrize(("path", "expected"), [
    ("unet/wan2.2_t2v_high_noise_14B_fp8.safetensors", "high"), ("Wan22-I2V-LOW-Q8.safetensors", "low"),
    ("high_noise_model/diffusion_pytorch_model-00001-of-00006.safetensors", "high"),
    ("transformer_2/diffusion_pytorch_model.safetensors", "low"), ("unet/highland_flow.safetensors", "")])  # fmt: skip
def test_an_expert_is_told_by_its_name(path, expected):
    assert find.expert(Path("/models") / path) == expected


def official_file(part, file, name):
    """An official file as `inspect` tells of it: what its catalogue entry says, none of its numbers."""
    kinds = {"text": "umT5-XXL encoder", "autoencoder": "Wan2.1 autoencoder", "image": "CLIP ViT-H/14 image encoder"}
    variant = name if part in ("transformer", "transformer_low") else kinds[part]
    if part == "autoencoder" and "2.2" in file.name:
        variant = "Wan2.2 autoencoder"
    config = catalogue.CHECKPOINTS[variant].config
    report = {"variant": variant, "dimensions": asdict(config), "parameters": 1, "tokenizer": True, "bytes": 1,
              "controls": list(getattr(config, "controls", ()))}  # fmt: skip
    return find.Found(Path("/m") / manager.KINDS[part] / file.name, part.removesuffix("_low"), report)


@pytest.mark.parametrize("name", official.MODELS)
def test_every_official_model_is_known_by_its_files(name):
    """By the catalogue's fingerprints, which its own test proves: pairs of experts, shared text and autoencoder."""
    model = official.MODELS[name]
    listed = next(key for key in catalogue.CHECKPOINTS if model.variant in key.split(" or "))
    found = [official_file(part, file, listed) for part, file in model.files.items()]
    others = {"text": official.UMT5, "autoencoder": official.VAE21, "image": official.CLIP}
    found += [official_file(part, file, listed) for part, file in others.items()]
    found.append(official_file("autoencoder", official.VAE22, listed))
    (one,) = find.models(found)
    assert (one.name, one.title, one.variant, one.lacks) == (name, model.title, model.variant, ())
    assert {part: path.name for part, path in one.files.items()} == {p: f.name for p, f in model.files.items()}
    assert one.licence == "Apache-2.0" and one.facts["experts"] == 1 + ("transformer_low" in model.files)


# ---------------------------------------------------------------- imported


def test_what_is_complete_is_imported_once_and_runs(comfy, capsys):
    code, lines = order(capsys, "import")
    assert code == 0 and lines[-1] == {"done": True, "names": ["wan2.1_vace", "look"]}
    known = registry.read()
    entry, lora = known.models["wan2.1_vace"], known.loras["look"]
    assert entry.missing == [] and lora.file == comfy / "loras" / "look.safetensors"
    assert entry.facts["controls"] == inspection.report(entry.files["transformer"])["controls"]
    assert entry.facts["vace"] and entry.facts["generation"] == "2.1" and entry.facts["experts"] == 1
    code, lines = order(capsys, "import")
    assert code == 1 and lines[-1]["error"].startswith("no model that is not listed already was found")


def test_what_the_registry_remembers_is_what_the_networks_say(comfy, capsys):
    from engine.weights import networks

    order(capsys, "import")
    entry = registry.read().models["wan2.1_vace"]
    opened = networks.open_model(entry, "cpu", torch.float32).opened
    own = networks.facts(opened)
    assert {key: entry.facts[key] for key in own if key not in ("parameters", "text")} == {
        key: own[key] for key in own if key not in ("parameters", "text")}  # fmt: skip
    for key in ("parameters", "text"):  # a file may hold a tokenizer and scales beside
        assert own[key] <= entry.facts[key] <= 1.2 * own[key] + 300_000


def test_one_file_is_imported_with_its_parts_from_elsewhere(comfy, shelf, tmp_path, capsys):
    lay(tmp_path / "disk", shelf, {"tiny-camera": "my_camera", "tiny-image": "other"})
    code, lines = order(capsys, "import", tmp_path / "disk" / "my_camera.safetensors")
    assert code == 0 and lines[-1]["names"] == ["my_camera"]
    files = registry.read().models["my_camera"].files
    assert files["text"] == comfy / "text_encoders" / "umt5_xxl.safetensors" and "camera" in str(files["transformer"])


def test_a_model_without_its_parts_says_what_it_lacks(home, shelf, capsys):
    lay(home / "ComfyUI" / "models", shelf, {"tiny-vace": "unet/vace", "vae2.1": "vae/vae"})
    code, lines = order(capsys, "import")
    assert code == 1 and "vace lacks its text encoder umT5-XXL: fetch the model" in lines[-1]["error"]
    code, lines = order(capsys, "import", home / "nothing")
    assert code == 1 and "nothing: name a file or a folder that is there" in lines[-1]["error"]


# ---------------------------------------------------------------- fetched


class Quiet(SimpleHTTPRequestHandler):
    asked: list[str] = []

    def log_message(self, *_):
        type(self).asked.append(self.path.rpartition("/")[2])


@pytest.fixture
def server(tmp_path):
    """Serves tmp_path/web as Hugging Face's addresses lie."""
    (tmp_path / "web").mkdir()
    Quiet.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "web")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def listed(shelf, tmp_path, monkeypatch):
    """An official model of tiny files: one with its checksum listed, the others without."""

    def file(source, kind, sha256=""):
        data = (shelf / f"{source}.safetensors").read_bytes()
        found = official.File("Comfy-Org/Tiny", f"split_files/{kind}/{source}.safetensors", len(data), sha256)
        path = tmp_path / "web" / "Comfy-Org" / "Tiny" / "resolve" / "main" / found.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return found

    sha = hashlib.sha256((shelf / "tiny-vace.safetensors").read_bytes()).hexdigest()
    files = {"text": file("umt5", "text_encoders"), "autoencoder": file("vae2.1", "vae"),
             "transformer": file("tiny-vace", "diffusion_models", sha)}  # fmt: skip
    model = official.Model("Tiny VACE", "Wan2.1-VACE-1.3B", files, official.GEOMETRY)
    monkeypatch.setattr(official, "MODELS", dict(official.MODELS) | {"tiny": model})
    return model


def test_a_model_is_fetched_into_the_registry(server, listed, tmp_path, capsys):
    code, lines = order(capsys, "fetch", "tiny", "--server", server, "--to", tmp_path / "drive")
    assert code == 0, lines[-1]
    entry, known = registry.read().models["tiny"], registry.read()
    assert {part: path.relative_to(tmp_path / "drive").parts[0] for part, path in entry.files.items()} == {
        "transformer": "diffusion_models", "text": "text_encoders", "autoencoder": "vae"}  # fmt: skip
    assert known.folder == str(tmp_path / "drive") and entry.title == "Tiny VACE" and entry.licence == "Apache-2.0"
    assert entry.recipe == official.RECIPES["Wan2.1-VACE-1.3B"] and "known pixels" in entry.facts["controls"]
    told = [line for line in lines if line.get("phase") == "fetch"]
    done = [line["all_done"] for line in told]
    assert done == sorted(done) and done[-1] == told[-1]["all"] == listed.size
    unlisted = {file.url for part, file in listed.files.items() if part != "transformer"}
    assert set(known.checksums) == unlisted  # what nobody told beforehand is known from now on


def test_what_is_there_already_is_not_fetched(server, listed, home, shelf, capsys):
    lay(home / "ComfyUI" / "models", shelf, {"umt5": "text_encoders/umt5"})
    code, lines = order(capsys, "fetch", "tiny", "--server", server)
    assert code == 0, lines[-1]
    assert "umt5.safetensors" not in Quiet.asked and len(Quiet.asked) == 2
    assert registry.read().models["tiny"].files["text"].is_relative_to(home / "ComfyUI")
    code, _ = order(capsys, "fetch", "tiny", "--server", server)
    assert code == 0 and len(Quiet.asked) == 2


def test_a_file_that_changed_since_its_first_fetch_is_refused(server, listed, tmp_path, capsys):
    order(capsys, "fetch", "tiny", "--server", server)
    order(capsys, "remove", "tiny")
    path = next((tmp_path / "web").rglob("vae2.1.safetensors"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    code, lines = order(capsys, "fetch", "tiny", "--server", server)
    assert code == 1 and "vae2.1.safetensors has the checksum" in lines[-1]["error"]
    assert "tiny" not in registry.read().models


def test_a_web_page_in_the_place_of_a_file_is_refused(server, listed, tmp_path, capsys):
    next((tmp_path / "web").rglob("umt5.safetensors")).write_bytes(b"<html>please log in</html>")
    code, lines = order(capsys, "fetch", "tiny", "--server", server)
    assert code == 1 and "umt5.safetensors from the server is no part of a model" in lines[-1]["error"]
    assert not list((tmp_path / "data" / "models").rglob("umt5*"))


def test_a_disk_without_room_for_all_files_is_told_before_the_first(server, listed, capsys, monkeypatch):
    big = {part: official.File(f.repository, f.path, 10**15) for part, f in listed.files.items()}
    monkeypatch.setitem(official.MODELS, "tiny", official.Model("Big", "Wan2.1-VACE-1.3B", big, ""))
    code, lines = order(capsys, "fetch", "tiny", "--server", server)
    assert code == 1 and "needs 3000000.00 GB more" in lines[-1]["error"] and Quiet.asked == []


def test_what_cannot_be_fetched_is_told(capsys):
    code, lines = order(capsys, "fetch", "sora")
    assert code == 1 and "there is no model sora that can be fetched: expected wan2.1-vace-1.3b" in lines[-1]["error"]


# ---------------------------------------------------------------- removed


def test_only_what_was_fetched_for_it_alone_is_deleted(server, listed, home, shelf, tmp_path, capsys):
    comfy = lay(home / "ComfyUI" / "models", shelf, {"umt5": "text_encoders/umt5", "tiny-camera": "unet/camera"})
    order(capsys, "fetch", "tiny", "--server", server)
    own = tmp_path / "data" / "models"
    order(capsys, "import")  # the camera model shares the autoencoder that was fetched
    assert registry.read().models["camera"].files["autoencoder"] == own / "vae" / "vae2.1.safetensors"
    code, lines = order(capsys, "remove", "tiny")
    assert code == 0 and [Path(path).name for path in lines[-1]["deleted"]] == ["tiny-vace.safetensors"]
    assert not (own / "diffusion_models" / "tiny-vace.safetensors").exists()
    assert (own / "vae" / "vae2.1.safetensors").exists() and (comfy / "text_encoders" / "umt5.safetensors").exists()
    code, lines = order(capsys, "remove", "camera")
    assert [Path(path).name for path in lines[-1]["deleted"]] == ["vae2.1.safetensors"]
    assert (comfy / "unet" / "camera.safetensors").exists()  # it was imported
    assert manager.fetched(own) == {}
    order(capsys, "import", comfy)
    assert order(capsys, "remove", "camera")[0] == 1  # it lacks its autoencoder now, and so is not listed


def test_imported_files_are_deleted_where_that_is_asked(comfy, capsys):
    order(capsys, "import")
    code, lines = order(capsys, "remove", "wan2.1_vace", "--files")
    assert code == 0 and len(lines[-1]["deleted"]) == 3 and not (comfy / "vae" / "wan_2.1_vae.safetensors").exists()
    assert (comfy / "vae" / "broken.safetensors").exists() and list(registry.read().models) == []


# ---------------------------------------------------------------- its process


def test_the_manager_brings_no_torch_and_ends_with_its_stdin(tmp_path):
    probe = "import sys, engine.weights.manager as m; sys.exit(bool({'torch', 'safetensors'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", probe], cwd=ROOT, check=False).returncode == 0
    command = [sys.executable, "-m", "engine", "models", "--watched", "list"]
    done = subprocess.run(command, cwd=ROOT, input=b"", capture_output=True, check=False)
    told = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0 and told["official"]["wan2.1-vace-1.3b"]["size"] > 1e9 and told["models"] == {}


class Slow(SimpleHTTPRequestHandler):
    """A LoRA that never ends to come."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(2**30))
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(b"x" * 4096)
                time.sleep(0.01)

    def log_message(self, *_):
        pass


def test_a_fetch_ends_when_blender_is_gone_and_keeps_what_has_come(tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [sys.executable, "-m", "engine", "models", "--watched", "fetch", "lightx2v-14b", "--server",
               f"http://127.0.0.1:{server.server_port}"]  # fmt: skip
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert any(json.loads(line).get("done", 0) > 0 for line in process.stdout)  # some of it has come
        process.stdin.close()
        last = [json.loads(line) for line in process.stdout][-1]
        assert process.wait(20) == 1 and last["stopped"]
    server.shutdown()
    server.server_close()
    (part,) = (tmp_path / "data" / "models" / "loras").glob("*.part")
    assert part.stat().st_size > 0
