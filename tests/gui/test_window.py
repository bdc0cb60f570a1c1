"""The real window, once: the built zip in a full Blender under a virtual screen, a prompt typed, Generate clicked, the
strip in the sequencer. And the same Blender without a window. Skipped, with the reason, where there is none."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
PROMPT = "golden hour, long shadows"
FIRST, FRAMES = 1, 5                # as prepare.py makes the scene
LIMIT = 420                         # seconds for one Blender; a hang has to end as a failure
LONG = 3600                         # and for all tests of the wheels
GAP = 1.0                           # seconds for which the window may stand still, but for writing the saved copy
WORK = 0.25                         # seconds of processor time for one tick or one drawing of the panel
COPY = "Saving a copy"
PYTEST = ("pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments", "py")
MORE = "SHOTLOCK_FULL_TESTS"        # other tests of tests/blender than EXACT, with pytest's arguments
EXACT = ("tests/blender/test_capture.py::test_motion_agrees_with_camera_and_depth",
         "tests/blender/test_capture.py::test_motion_with_lens_shift_aspect_and_cut",
         "tests/blender/test_capture.py::test_a_moving_object_moves_as_its_matrix_says",
         "tests/blender/test_capture_session.py::test_the_file_stays_as_it_was",
         "tests/blender/test_capture_session.py::test_scripts_are_found_wherever_they_are",
         "tests/blender/test_capture_session.py::test_a_simulation_of_nodes_that_was_baked_to_the_disk_is_found",
         "tests/blender/test_register.py", "tests/blender/test_panels.py")
PICTURES = "SHOTLOCK_PICTURES"      # a folder that the pictures are copied to, for people


def load(name: str):
    spec = importlib.util.spec_from_file_location(f"shotlock_gui_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


screen = load("screen")


@pytest.fixture(scope="module")
def place():
    try:
        return screen.find_place()
    except LookupError as lack:
        pytest.skip(str(lack))


@pytest.fixture(scope="module")
def folder(place):
    """A folder that Blender sees too."""
    made = Path(tempfile.mkdtemp(prefix="shotlock-window-", dir=place.root / "tmp"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def environment(place, folder):
    """Nothing of the user's Blender is read or written."""
    engine = os.environ.get("SHOTLOCK_ENGINE_PYTHON", sys.executable)
    tried = place.run(engine, "-c", "import torch")
    assert tried.returncode == 0, f"{engine} is no Python with torch inside {place.root}: {tried.stderr}"
    (folder / "tmp").mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "BLENDER", "XDG"))}
    return kept | {
        "SHOTLOCK_ENGINE_PYTHON": engine, "BLENDER_USER_RESOURCES": place.inside(folder / "user"),
        "XDG_DATA_HOME": place.inside(folder / "data"), "HOME": place.inside(folder),
        "TMPDIR": place.inside(folder / "tmp"), "OMP_NUM_THREADS": "1",
    }


@pytest.fixture(scope="module")
def blender(place, environment):
    """Runs the full Blender without a window."""
    def run(*arguments: str, limit: int = LIMIT) -> subprocess.CompletedProcess:
        done = place.run(place.blender, *arguments, env=environment, timeout=limit)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done
    return run


@pytest.fixture(scope="module")
def film(place, folder, blender):
    """A small shot, saved; the zip that Blender itself built is installed in its user folder."""
    copy, zipped, file = folder / "repository", folder / "shotlock.zip", folder / "film" / "street.blend"
    file.parent.mkdir()
    clone(copy)
    blender("--command", "extension", "build", "--source-dir", place.inside(copy), "--output-filepath",
            place.inside(zipped))
    blender("--background", "--python-exit-code", "3", "--python", place.inside(copy / "tests/gui/prepare.py"), "--",
            place.inside(zipped), place.inside(file))
    return file


def clone(target: Path) -> None:
    """What git tracks or would, as it stands in the working tree."""
    listed = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=REPOSITORY, capture_output=True,
                            text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, target / name)


def test_without_a_window(place, folder, blender, film):
    file = folder / "headless" / "street.blend"
    file.parent.mkdir()
    shutil.copy2(film, file)
    blender("--background", place.inside(file), "--python-exit-code", "3", "--python",
            place.inside(folder / "repository/tests/gui/headless.py"), "--", place.inside(folder))
    facts = json.loads((folder / "headless.json").read_text(encoding="utf-8"))
    off, on, off_again, on_again = facts["turns"]
    assert off == off_again and on == on_again
    assert off["classes"] == off["operators"] == [] and off["properties"] == [False, False]
    assert off["status bar"] == off["add menu"] == 0
    assert on["properties"] == [True, True] and "generate" in on["operators"]
    assert on["status bar"] == on["add menu"] == 1
    take = facts["take"]
    assert take["outcome"] == ["FINISHED"] and not take["torch"]
    assert take["scene"] == [FIRST, FIRST + FRAMES - 1]
    assert take["range"] == [FIRST, FIRST + FRAMES] and take["files"] == FRAMES
    assert len(list((place.root / take["job"].lstrip("/") / "frames").glob("*.png"))) == FRAMES


def test_what_the_wheels_are_tested_for(place, folder, blender, film):
    """The vectors of Cycles against K, c2w and depth above all; SHOTLOCK_FULL_TESTS=tests/blender runs everything."""
    for name in PYTEST:
        found = importlib.util.find_spec(name)
        source = Path(found.origin).parent if found.submodule_search_locations else Path(found.origin)
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, folder / "pytest" / source.name)
    chosen = os.environ[MORE].split() if os.environ.get(MORE) else EXACT
    repository = place.inside(folder / "repository")
    chosen = [f"{repository}/{name}" if name.startswith("tests/") else name for name in chosen]
    said = blender("--background", "--factory-startup", "--python-exit-code", "3", "--python",
                   f"{repository}/tests/gui/suite.py", "--", place.inside(folder / "pytest"), "-q", "-p",
                   "no:cacheprovider", "--import-mode=importlib", "--rootdir", repository, *chosen, limit=LONG)
    assert " passed" in said.stdout, said.stdout


# The window

class Hands:
    """Does what the script inside Blender asks for, and keeps the pictures."""

    def __init__(self, shown, folder: Path) -> None:
        self.shown, self.folder = shown, folder
        self.pictures: dict[str, np.ndarray] = {}
        self.boxes: dict[str, list[int]] = {}

    def serve(self, blender: subprocess.Popen) -> None:
        """Until that Blender has gone."""
        end, number = time.monotonic() + LIMIT, 1
        while blender.poll() is None:
            assert time.monotonic() < end, f"Blender's window is still open after {LIMIT} s"
            asked = self.folder / f"ask_{number:03d}.json"
            if not asked.exists():
                time.sleep(0.05)
                continue
            what = json.loads(asked.read_text(encoding="utf-8"))
            getattr(self, what.pop("do"))(**what)
            (self.folder / f"done_{number:03d}").touch()
            number += 1

    def look(self, name: str, box: list[int]) -> None:
        self.pictures[name], self.boxes[name] = self.shown.picture(), box
        keep(name, self.pictures[name])

    def part(self, box: list[int]) -> np.ndarray:
        left, top, right, bottom = box
        return self.shown.picture()[top:bottom, left:right]

    def type(self, box: list[int], colours: dict[str, list[int]]) -> None:
        """Into the topmost text field, which is the prompt."""
        self.click(box, screen.bars(self.part(box), colours["field"])[:1])
        self.shown.type(PROMPT)
        self.shown.key("Return")

    def press(self, box: list[int], colours: dict[str, list[int]]) -> None:
        """Generate is the tallest button."""
        found = screen.bars(self.part(box), colours["button"])
        self.click(box, sorted(found, key=lambda bar: bar[0] - bar[1])[:1])

    def confirm(self) -> None:
        self.shown.key("Return")

    def away(self, box: list[int]) -> None:
        """A tooltip would cover what comes."""
        self.shown.point(box[0] - 200, box[3] - 20)

    def click(self, box: list[int], bars: list[tuple[int, int]]) -> None:
        assert bars, "found nothing as wide as the panel that has the theme's colour; expected the prompt and Generate"
        (top, bottom), (left, ground, right, _) = bars[0], box
        x, y = (left + right) // 2, ground + (top + bottom) // 2
        self.shown.click(x, y, (slice(y - 4, y + 4), slice(left + 40, x - 40)))      # beside the mouse's own picture

    def panel(self, name: str) -> np.ndarray:
        left, top, right, bottom = self.boxes[name]
        return self.pictures[name][top:bottom, left:right]

    def status(self, name: str) -> np.ndarray:
        return self.pictures[name][-20:]


def keep(name: str, picture: np.ndarray) -> None:
    if os.environ.get(PICTURES):
        imageio = pytest.importorskip("imageio.v3")
        imageio.imwrite(Path(os.environ[PICTURES]) / f"{name}.png", picture)


def use(place, folder: Path, environment: dict[str, str], film: Path):
    """What Blender told, and what was seen, of one Generate in the window."""
    talk = folder / "talk"
    talk.mkdir()
    shown = screen.Screen(place, talk)
    try:
        hands = Hands(shown, talk)
        said = watch(hands, place, film, shown.environment(environment))
    finally:
        shown.close()
    assert (talk / "facts.json").exists(), said
    facts = json.loads((talk / "facts.json").read_text(encoding="utf-8"))
    assert "error" not in facts, facts["error"]
    return facts, hands


def watch(hands: Hands, place, film: Path, environment: dict[str, str]) -> str:
    """Opens the window and serves it until it closes itself; what Blender printed."""
    log, script = hands.folder / "window.log", film.parents[1] / "repository/tests/gui/inside.py"
    with log.open("w") as stream:
        window = place.start(
            place.blender, "--gpu-backend", "opengl", "-p", "0", "0", str(screen.WIDTH), str(screen.HEIGHT),
            "--enable-autoexec", place.inside(film), "--python", place.inside(script), "--", place.inside(hands.folder),
            env=environment, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT)
    try:
        hands.serve(window)
    finally:
        window.kill()
        window.wait()
    return log.read_text(errors="replace")


@pytest.fixture(scope="module")
def filmed(place, folder, environment, film):
    return use(place, folder, environment, film)


def test_generate_in_the_window(place, filmed):
    facts, hands = filmed
    assert facts["typed"] == PROMPT
    assert facts["job"]["state"] == "done" and facts["job"]["placed"], facts["job"]["error"]
    assert facts["job"]["report"]["follows"], facts["job"]["report"]["verdict"]
    (strip,) = facts["strips"]
    assert strip["range"] == [FIRST, FIRST + FRAMES] and strip["files"] == FRAMES and strip["prompt"] == PROMPT
    assert len(list((place.root / strip["job"].lstrip("/") / "frames").glob("*.png"))) == FRAMES
    assert facts["pressed"] == ["FINISHED"] and facts["shown"][0] == "Video Editing", facts["shown"]
    assert "SEQUENCE_EDITOR" in facts["shown"]
    assert_progress(facts, hands)
    assert_alive(facts)


def test_asking_for_trust_leaves_the_file_as_it_was(filmed):
    asked, _ = filmed
    assert asked["probe"] == {"ran": True, "changed": [False, False], "scenes": [1, 1]}


def test_the_first_save_offers_to_move_takes_and_the_panel_says_it_no_longer(filmed):
    facts, _ = filmed
    assert facts["first save"] == {"told": [False, True, False], "job": "//shots/Crane/take_001", "left": False}


def assert_progress(facts: dict, hands: Hands) -> None:
    """In the session, in the status bar and on the panel."""
    phases = [phase.partition(": ")[2] for phase in facts["phases"]]
    assert {"Capturing", "Sampling"} <= set(phases), phases
    assert [name for name in facts["gaps"] if COPY in name], "the saved copy was not announced before it was written"
    looks = [name for name in hands.pictures if name.startswith("phase_")]
    quiet, bars = hands.status("typed"), [hands.status(name) for name in looks]
    told = [bool((bar != quiet).any()) for bar in bars]
    assert all(told[:-1]), f"the status bar does not show the job: {told}"     # it may end before its last picture
    assert len({bar.tobytes() for bar in bars}) > len(bars) // 2, "the status bar stands still"
    assert (hands.status("done") == quiet).all(), "the status bar still shows a job that has ended"
    assert len({hands.panel(name).tobytes() for name in looks}) > len(looks) // 2, "the panel stands still"


def assert_alive(facts: dict) -> None:
    """The window's own timer beats on, and what the add-on does on the main thread is short."""
    gaps = {name: gap for name, gap in facts["gaps"].items() if COPY not in name}
    patience = max(GAP, 3 * facts["gaps"]["before"])        # a machine that is slow without a job is slow with one
    assert max(gaps.values()) < patience, facts["gaps"]
    work = [(kind, name, seconds) for kind in ("ticks", "draws") for name, seconds in facts[kind].items()]
    assert not [longest for longest in work if longest[2] > WORK and COPY not in longest[1]], work
