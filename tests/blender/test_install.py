"""The engine's environment: where it is looked for, what keeps it from being made, and making one for real (with an
empty list instead of torch, so that nothing is downloaded)."""

import importlib.util
import json
import sys
import time
from pathlib import Path

import bpy
import pytest


@pytest.fixture
def install(shotlock, tmp_path, monkeypatch):
    from shotlock.operators import install

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data é"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "data é"))
    monkeypatch.delenv("SHOTLOCK_ENGINE_PYTHON", raising=False)
    yield install
    install.cancel()
    install._install = None


def until_ended(install):
    deadline = time.monotonic() + 240
    while install.running() and time.monotonic() < deadline:
        install.tick()
        time.sleep(0.05)
    return install.latest()


def test_it_is_looked_for_in_order(install, tmp_path, monkeypatch):
    with pytest.raises(install.NoEngine, match="not installed yet"):
        install.engine_python()
    found = install.python_of(install.engine_folder())
    found.parent.mkdir(parents=True)
    found.write_text("")
    assert install.engine_python() == found
    named = tmp_path / "python"
    monkeypatch.setenv("SHOTLOCK_ENGINE_PYTHON", str(named))
    with pytest.raises(install.NoEngine, match="SHOTLOCK_ENGINE_PYTHON"):
        install.engine_python()                                # a place that was named is never passed over in silence
    named.write_text("")
    assert install.engine_python() == named


def test_nothing_is_fetched_while_offline(install):
    assert not bpy.app.online_access
    assert "online access is off" in install.why_not()
    assert not bpy.ops.shotlock.install_engine.poll()


def test_a_running_shot_keeps_its_engine(install, saved, tmp_path, monkeypatch):
    """Neither is installed while a shot is made, nor is a shot begun while the engine is exchanged."""
    from shotlock.operators import generate, session
    from shotlock.operators.plan import plan

    monkeypatch.setattr(install, "bpy", online(install))
    monkeypatch.setattr(install, "NEEDED", {sys.platform: 1})
    assert bpy.ops.shotlock.install_engine.poll()
    saved.shotlock.prompt = "rain"
    job = session.submit(saved, plan(saved))
    try:
        assert "A shot is being generated" in install.why_not()
        with pytest.raises(RuntimeError, match="A shot is being generated"):
            bpy.ops.shotlock.install_engine()
    finally:
        session.cancel(job)
        session.jobs.clear()
    named = tmp_path / "python"
    named.write_text("")
    monkeypatch.setenv("SHOTLOCK_ENGINE_PYTHON", str(named))
    assert generate.why_not(bpy.context) == ""
    install.start()
    assert "is being installed" in generate.why_not(bpy.context) and not bpy.ops.shotlock.resume.poll()
    install.cancel()
    assert generate.why_not(bpy.context) == ""


def test_space_is_checked_before_a_byte_is_fetched(install, monkeypatch):
    monkeypatch.setattr(install, "bpy", online(install))
    monkeypatch.setattr(install, "NEEDED", {sys.platform: 10**18})
    assert "GB are free" in install.why_not()
    monkeypatch.setattr(install, "NEEDED", {sys.platform: 1})
    assert install.why_not() == ""


with_venv = pytest.mark.skipif(not importlib.util.find_spec("ensurepip"), reason="this Python makes no environments")


def online(install):
    """bpy as it is, but for the online access, which only a start option can change."""
    from types import SimpleNamespace

    return SimpleNamespace(app=SimpleNamespace(online_access=True), path=bpy.path, utils=bpy.utils, ops=bpy.ops)


@with_venv
@pytest.mark.any_blender
def test_an_environment_is_made_beside_the_old_one_and_takes_its_place(install, tmp_path, monkeypatch):
    empty = tmp_path / "requirements.txt"
    empty.write_text("# nothing\n")
    monkeypatch.setattr(install, "LOCK", empty)
    monkeypatch.setattr(install, "TRIAL", "import sys; sys.exit(0)")
    old = install.engine_folder()
    old.mkdir(parents=True)
    (old / "old").write_text("")
    install.start()
    assert install.running() and (old / "old").exists()
    done = until_ended(install)
    assert (done.state, done.error) == ("done", "")
    assert not (old / "old").exists() and install.engine_python() == install.python_of(old)
    assert [p.name for p in old.parent.iterdir()] == ["engine"]


@with_venv
@pytest.mark.any_blender
def test_a_failure_keeps_the_old_one_and_says_what_to_do(install, tmp_path, monkeypatch):
    wanted = tmp_path / "requirements.txt"
    wanted.write_text("./no-such-package-here\n")
    monkeypatch.setattr(install, "LOCK", wanted)
    old = install.engine_folder()
    (old / "bin").mkdir(parents=True)
    install.start()
    failed = until_ended(install)
    assert failed.state == "failed" and failed.error
    assert old.is_dir() and [p.name for p in old.parent.iterdir()] == ["engine"]
    assert "no-such-package-here" in json.loads(install.failure_report())["said"][0]


@with_venv
@pytest.mark.any_blender
def test_an_environment_that_cannot_take_its_place_is_a_failure_not_an_exception(install, tmp_path, monkeypatch):
    empty = tmp_path / "requirements.txt"
    empty.write_text("# nothing\n")
    monkeypatch.setattr(install, "LOCK", empty)
    monkeypatch.setattr(install, "TRIAL", "import sys; sys.exit(0)")
    old = install.engine_folder()
    old.mkdir(parents=True)
    old.with_name("engine.old").write_text("in the way")
    install.start()
    failed = until_ended(install)
    assert failed.state == "failed" and "engine.old" in failed.error
    assert old.is_dir() and not install._part().exists()


def test_cancelled_leaves_nothing(install):
    install.start()
    process = install.latest().process
    install.cancel()
    assert install.latest().state == "cancelled" and process.poll() is not None
    assert list(install.engine_folder().parent.iterdir()) == []


@pytest.mark.parametrize(("words", "advice"), [
    ("OSError: [Errno 28] No space left on device", "disk is full"),
    ("ERROR: No matching distribution found for torch==2.13.0", "lacks a package"),
    ("Max retries exceeded with url", "network did not answer"),
    ("THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "not the one that was locked"),
    ("something else", ""),
])
def test_known_words_become_advice(install, words, advice):
    assert advice in install.advice(["Collecting torch", words])


def test_the_locked_list_holds_the_engines_packages_with_hashes(install):
    """Every package of pyproject's group "engine" stands in the list, pinned and hashed."""
    import re
    import tomllib

    lock = install.LOCK.read_text(encoding="utf-8")
    hashed = r"^([A-Za-z0-9._-]+)==\S+.*\\\n    --hash=sha256:[0-9a-f]{64}"
    pinned = {name.lower() for name in re.findall(hashed, lock, re.M)}
    group = tomllib.loads((Path(install.ADDON) / "pyproject.toml").read_text())["dependency-groups"]["engine"]
    assert {re.match(r"[A-Za-z0-9._-]+", line).group().lower() for line in group} <= pinned
