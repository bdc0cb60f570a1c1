"""The two commands' own machinery: environments made once, suites whose failure is told, a film of every frame."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from engine import registry

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """`setup("environments")`: a module of the folder, with a data folder that has a space in its name."""
    monkeypatch.syspath_prepend(str(ROOT / "setup"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data home"))
    monkeypatch.delenv("SHOTLOCK_ENVS", raising=False)
    kept = {name: sys.modules.pop(name, None) for name in ("environments", "tests", "film")}

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield load
    for name, module in kept.items():
        sys.modules.pop(name, None)
        if module:
            sys.modules[name] = module


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32", "freebsd14"])
@pytest.mark.parametrize("chosen", ["", "/some where/else"])
def test_setup_makes_the_engine_where_the_add_on_looks_for_it(setup, monkeypatch, platform, chosen):
    environments = setup("environments")
    monkeypatch.setattr(sys, "platform", platform)
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, chosen)
    assert environments.data_folder() == registry.data_folder()
    home = {"darwin": "Library/Application Support", "win32": "AppData/Local"}.get(platform, ".local/share")
    expected = Path(chosen) if chosen and platform != "darwin" else Path.home() / home
    assert environments.folder("engine") == expected / "shotlock" / "engine"


def test_a_stamp_is_good_until_the_list_changes(setup, monkeypatch):
    environments = setup("environments")
    python = environments.python("engine")
    python.parent.mkdir(parents=True)
    python.touch()
    assert not environments.is_ready("engine")
    (environments.folder("engine") / environments.STAMP).write_text(environments.stamp("engine"))
    assert environments.is_ready("engine")
    monkeypatch.setattr(environments, "requirements", lambda name: ["torch==0"])
    assert not environments.is_ready("engine")


def test_what_borrows_is_stale_when_the_lender_changes(setup, monkeypatch):
    environments = setup("environments")
    before = environments.stamp("dev")
    plain = environments.requirements
    monkeypatch.setattr(
        environments, "requirements", lambda name: [*plain(name), *(["new"] if name == "engine" else [])]
    )
    assert environments.stamp("dev") != before


def test_an_interrupted_environment_is_finished_not_trusted(setup, monkeypatch):
    environments = setup("environments")
    environments.python("engine").parent.mkdir(parents=True)
    environments.python("engine").touch()
    made = []
    monkeypatch.setattr(environments, "make", made.append)
    environments.ensure("engine")
    assert made == ["engine"]


def test_ready_environments_are_never_added_to(setup, monkeypatch, tmp_path):
    monkeypatch.setenv("SHOTLOCK_ENVS", str(tmp_path))
    environments = setup("environments")
    with pytest.raises(SystemExit, match="lacks engine"):
        environments.ensure("engine")


PASSING = "def test_one(): pass\n"
FAILING = "def test_one(): pass\ndef test_two(): assert 0\n"
CRASHING = "import os\ndef test_one(): os._exit(0)\n"


@pytest.mark.parametrize(
    ("source", "fails", "counts"),
    [(PASSING, False, (1, 0)), (FAILING, True, (1, 1)), (CRASHING, True, (0, 0)), ("", True, (0, 0))],
)
def test_a_suite_that_fails_crashes_or_is_empty_is_told(setup, monkeypatch, tmp_path, source, fails, counts):
    tests = setup("tests")
    monkeypatch.setattr(tests.environments, "python", lambda name: Path(sys.executable))
    file = tmp_path / "test_planted.py"
    file.write_text(source)
    outcome = tests.run(tests.Suite("planted", "dev", (str(file),)), [])
    assert tests.failed(outcome) is fails
    assert (tests.count([outcome], "passed"), tests.count([outcome], "failed")) == counts


def test_a_film_has_every_frame(setup, tmp_path):
    import imageio.v2 as imageio

    film = setup("film")
    frames = tmp_path / "the frames"
    frames.mkdir()
    for i in range(7):
        imageio.imwrite(frames / f"{i + 1:06d}.png", np.full((36, 64, 3), 30 * i, np.uint8))
    assert film.film(frames, tmp_path / "film.mp4", 24.0) == 7
    with imageio.get_reader(tmp_path / "film.mp4") as reader:
        shown = [frame.mean() for frame in reader]
        assert reader.get_meta_data()["fps"] == 24.0
    assert len(shown) == 7
    assert np.allclose(shown, [30 * i for i in range(7)], atol=4)


def test_a_film_of_nothing_is_refused(setup, tmp_path):
    film = setup("film")
    with pytest.raises(SystemExit, match="found no PNG"):
        film.film(tmp_path, tmp_path / "film.mp4", 24.0)
