"""Generate, from the operator to the strip, with the real capture and the real engine; and what happens on the way."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import bpy
import numpy as np
import pytest

IN_ORDER = ["Saving a copy of the scene", "Capturing", "Capturing the light", "Starting the engine",
            "Reading the prompt", "Reading the passes", "Sampling", "Writing frames", "Measuring the camera"]
PATIENCE = 240          # seconds that a test waits for a state, on a busy machine

in_one_blender = pytest.mark.skipif(
    bpy.app.version[:2] != (4, 5), reason="what the engine does is the same in every Blender: 4.5 runs this")


@pytest.fixture
def engine(shotlock):
    """The engine's Python, which setup leaves or SHOTLOCK_ENGINE_PYTHON names."""
    from shotlock.operators import install, session

    try:
        install.engine_python()
    except install.NoEngine as error:
        pytest.skip(str(error))
    yield session
    for job in session.jobs:
        session.cancel(job)
    until(session, lambda: session.current() is None)
    session.jobs.clear()


@pytest.fixture
def film(engine, scene, build, tmp_path):
    """A small saved shot that can be generated: 3 frames from -1, in a folder with an awkward name."""
    build(scene, frames=3, first=-1)
    scene.shotlock.prompt = "red clay in the evening"
    scene.shotlock.width = 96
    scene.shotlock.frame_start, scene.shotlock.frame_end = -1, 1        # a scene's own range cannot be negative
    home = tmp_path / "my 'film' 🎬"
    home.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(home / "film.blend"))
    return bpy.context.scene


def until(session, condition):
    """What the timer does in a window, until something is so; where nothing is done any more, it will not be."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        going_on = session.current() is not None and time.monotonic() < deadline
        assert going_on, [(job.state, job.phase, job.error) for job in session.jobs]
        session.tick()
        time.sleep(0.02)


def start(session, scene):
    from shotlock.operators.plan import plan

    return session.submit(scene, plan(scene))


def ended(job):
    return lambda: job.ended


def strips(scene):
    from shotlock.operators import compat

    return list(compat.strips(scene))


def children() -> set[int]:
    """Processes that this one started and that still run."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if int(parent) == os.getpid() and state != "Z":
                found.add(int(entry.name))
    return found


def test_generate_blocks_until_the_strip_exists(film, engine):
    from shotlock.operators import compat, takes

    film.shotlock.negative_prompt = "blur"                     # at guidance 1, of which the engine has a word to say
    assert bpy.ops.shotlock.generate() == {"FINISHED"}
    assert sum("negative prompt has no effect" in warning for warning in engine.jobs[-1].warnings) == 1
    (strip,) = strips(film)
    assert compat.strip_range(strip) == (-1, 2)
    assert strip.directory == "//shots/Cam A/take_001/frames/"
    assert (strip.shotlock.prompt, strip.shotlock.shot, strip.shotlock.take) == ("red clay in the evening", "Cam A", 1)
    folder = takes.job_folder(strip)
    take = takes.read(folder)
    assert take.missing == () and take.frames == (-1, 0, 1)
    image = bpy.data.images.load(str(folder / "frames" / "000001.png"))
    assert tuple(image.size) == (96, 64)
    pixels = np.empty(96 * 64 * 4, np.float32)
    image.pixels.foreach_get(pixels)
    assert pixels.std() > 0.01                                 # a picture, not a flat colour
    assert takes.report(folder)["verdict"]
    assert not (folder / "state" / "scene.blend").exists()


@in_one_blender
@pytest.mark.parametrize("interrupted", [False, True])
def test_one_figure_goes_from_the_capture_to_the_report_and_never_back(film, engine, interrupted):
    """Of every phase some of it is seen: a figure that stood still through the capture would miss half of the job."""
    film.shotlock.steps = 8
    job, seen = start(engine, film), []
    until(engine, lambda: seen.append((job.phase, job.progress)) or job.ended or (
        interrupted and job.phase == "Sampling" and job.step > 3))
    if interrupted:
        engine.cancel(job)
        until(engine, ended(job))
        engine.resume(film, job.folder)
        seen = []
        until(engine, lambda: seen.append((job.phase, job.progress)) or job.ended)
    figures = [figure for _phase, figure in seen]
    assert job.state == "done" and figures == sorted(figures) and figures[0] == 0
    told = [phase for phase, _ in itertools.groupby(phase for phase, _figure in seen)]
    assert told == sorted(set(told), key=IN_ORDER.index)                       # each phase once, and in this order
    last = {phase: figure for phase, figure in seen}
    assert ("Capturing" in last) != interrupted and ("Capturing the light" in last) != interrupted
    assert 0.9 < last["Measuring the camera"] < 1 and 0.1 < last["Sampling"] < 0.96
    assert interrupted or 0.3 < last["Capturing"] < 0.6 < last["Sampling"]


def test_the_figure_holds_over_windows_that_take_turns():
    from shotlock.operators.progress import Progress

    said = [("capture", 3, 3), ("start", 0, 0), ("text", 0, 0), ("conditions", 0, 0), ("sample", 2, 0)]
    for window in range(3):
        said += [("conditions", window, 3), *(("sample", 4 * window + step, 12) for step in range(4))]
        said += [("decode", 5 * window + frame, 15) for frame in (1, 3, 5)]
    whole, resumed = Progress(), Progress(without=("capture",))
    figures = []
    for phase, step, steps in [*said, ("measure", 0, 0), ("sample", 1, 12)]:
        whole.hear(phase, step, steps)
        figures.append(whole.figure)
        if phase != "capture":
            resumed.hear(phase, step, steps)
    assert figures == sorted(figures) and 0.9 < figures[-1] < 1
    assert len(set(figures)) > 15 and resumed.figure < whole.figure         # the report is a larger share of less work
    whole.hear("a phase of a later engine", 1, 2)
    assert whole.figure == figures[-1]


def test_the_pilot_frame_belongs_to_the_reading_and_later_windows_read_unsaid():
    from shotlock.operators.progress import Progress

    run, told = Progress(), []
    for said in [("text", 0, 0), ("conditions", 0, 0), ("sample", 1, 0), ("conditions", 0, 2), ("sample", 0, 8),
                 ("decode", 3, 9), ("conditions", 1, 2), ("sample", 4, 8), ("decode", 9, 9), ("measure", 0, 0)]:
        told.append(run.told(*said))
        run.hear(*told[-1])
    assert [phase for phase, _ in itertools.groupby(phase for phase, _step, _steps in told)] == [
        "text", "conditions", "sample", "decode", "sample", "decode", "measure"]
    assert told[2] == ("conditions", 0, 0) and told[6] == ("decode", 3, 9)


def test_the_second_take_is_another_one(film, engine):
    bpy.ops.shotlock.generate()
    first = Path(bpy.path.abspath(strips(film)[0].directory)) / "000001.png"
    before = first.read_bytes()
    film.shotlock.seed = 5
    bpy.ops.shotlock.generate()
    one, two = strips(film)
    assert (one.shotlock.take, two.shotlock.take) == (1, 2) and one.channel < two.channel
    assert (one.shotlock.seed, two.shotlock.seed) == (0, 5)
    second = Path(bpy.path.abspath(two.directory)) / "000001.png"
    assert first.read_bytes() == before != second.read_bytes()


@pytest.mark.parametrize(("spoil", "sentence"), [
    (lambda scene: setattr(scene.shotlock, "prompt", " "), "The prompt is empty"),
    (lambda scene: setattr(scene, "camera", None), "has no camera"),
    (lambda scene: setattr(scene.camera.data, "type", "ORTHO"), "orthographic"),
    (lambda scene: setattr(scene.shotlock, "frame_start", 99), "which is no frame at all"),
])
def test_what_cannot_be_filmed_is_refused_in_one_sentence(film, engine, spoil, sentence):
    from shotlock.operators import generate

    spoil(film)
    assert not bpy.ops.shotlock.generate.poll()
    reason = generate.why_not(bpy.context)
    assert sentence in reason and reason.count(". ") == 0 and "\n" not in reason
    with pytest.raises(RuntimeError, match=sentence):
        bpy.ops.shotlock.generate()
    assert engine.jobs == []


def test_a_wrong_engine_is_named(film, monkeypatch):
    from shotlock.operators import generate

    monkeypatch.setenv("SHOTLOCK_ENGINE_PYTHON", "/nowhere/python")
    assert generate.why_not(bpy.context) == (
        "The engine's Python is not at /nowhere/python: correct it in the variable SHOTLOCK_ENGINE_PYTHON")


def test_another_or_a_repaired_python_is_taken_up_by_the_next_job(film, engine, tmp_path, monkeypatch):
    job = start(engine, film)
    old = engine.client()
    assert old.start()
    process = old.pid
    engine._run(job)
    assert engine.client() is old                              # the same Python: the engine that is warm goes on
    chosen = tmp_path / "python"
    for _time in ("chosen", "repaired"):
        (tmp_path / "new").write_text(f'#!/bin/sh\nexec "{engine.install.engine_python()}" "$@"\n')
        (tmp_path / "new").chmod(0o755)
        (tmp_path / "new").replace(chosen)
        monkeypatch.setenv("SHOTLOCK_ENGINE_PYTHON", str(chosen))
        engine._run(job)
        assert engine.client() is not old and engine.client().python == str(chosen)
        assert process not in children()
        old = engine.client()


def test_a_folder_that_cannot_be_written_is_said_before_anything_runs(film, engine):
    home = Path(bpy.data.filepath).parent
    (home / "shots").write_text("in the way")                  # root may write anywhere: a file stands in for it
    with pytest.raises(RuntimeError, match=r"Takes cannot be written to .*shots"):
        bpy.ops.shotlock.generate()
    assert engine.jobs == [] and sorted(p.name for p in home.iterdir()) == ["film.blend", "shots"]


def test_cancel_while_capturing_leaves_nothing(film, engine):
    home = Path(bpy.data.filepath).parent
    before = children()
    job = start(engine, film)
    until(engine, lambda: job.state == "capturing")
    assert children() - before
    bpy.ops.shotlock.cancel()
    bpy.ops.shotlock.cancel.poll()
    assert job.state == "cancelled" and children() == before
    assert [p.name for p in (home / "shots").rglob("*")] == [] and strips(film) == []
    engine.cancel(job)                                         # again, and after the end: nothing happens
    assert job.state == "cancelled"


def test_a_capture_that_is_not_understood_is_ended(film, engine):
    from shotlock.operators import passes

    before = children()
    job = start(engine, film)
    until(engine, lambda: job.state == "capturing" and children() - before)
    job.capture._lines.put(passes.PREFIX + b"not a message")
    until(engine, ended(job))
    assert job.state == "failed" and job.error and "\n" not in job.error
    assert children() == before and job.capture.state == "cancelled"


@in_one_blender
def test_cancel_while_the_engine_runs(film, engine):
    home = Path(bpy.data.filepath).parent
    job = start(engine, film)
    until(engine, lambda: job.state == "running" and job.phase == "Sampling")
    engine.cancel(job)
    until(engine, ended(job))
    assert job.state == "cancelled" and strips(film) == []
    assert job.folder == home / "shots" / "Cam A" / "take_001" and not (job.folder / "frames").exists()
    assert left(job.folder) == {
        "job.json", "camera.npz", "objects.npz", "passes", "state", "suns.npz"}     # and no half a file
    engine.cancel(job)
    assert bpy.ops.shotlock.resume() == {"FINISHED"}           # the engine is well, and nothing is captured again
    assert job.state == "done" and len(strips(film)) == 1 and len(engine.jobs) == 1
    assert not bpy.ops.shotlock.resume.poll() or resume_is_refused("was stopped")


def left(folder):
    """What lies in a take's folder; a file that was begun and not finished fails."""
    assert not [path for path in folder.rglob("*.part") if path.is_file()]
    return {path.name for path in folder.iterdir()} - {"frames.part", "engine.lock"}


def resume_is_refused(sentence, **directory):
    with pytest.raises(RuntimeError, match=sentence):
        bpy.ops.shotlock.resume(**directory)
    return True


@in_one_blender
def test_only_the_cancelled_job_ends(film, engine):
    one, two = start(engine, film), start(engine, film)
    engine.cancel(two)
    until(engine, ended(one))
    assert (one.state, two.state) == ("done", "cancelled") and len(strips(film)) == 1


@in_one_blender
def test_a_killed_engine_is_a_failed_job_that_resumes(film, engine):
    painted = bpy.data.images.new("Painted", 8, 8)             # of which the capture has a word to say
    painted.pixels[0], painted.use_fake_user = 0.5, True
    job = start(engine, film)
    until(engine, lambda: job.state == "running" and job.phase == "Sampling")
    os.kill(engine.client().pid, signal.SIGKILL)
    until(engine, ended(job))
    assert job.state == "failed" and "engine stopped" in job.error and strips(film) == []
    assert job.folder.is_dir()
    assert bpy.ops.shotlock.resume() == {"FINISHED"}
    assert job.state == "done" and len(strips(film)) == 1
    assert sum("Painted" in warning for warning in job.warnings) == 1, job.warnings


@in_one_blender
def test_an_engine_that_does_not_respond_is_said_and_goes_on_when_it_can(film, engine):
    from shotlock.panels import words

    film.shotlock.steps = 8
    job = start(engine, film)
    until(engine, lambda: job.state == "running" and job.phase == "Sampling")
    process = engine.client().pid
    os.kill(process, signal.SIGSTOP)
    try:
        until(engine, lambda: "The engine does not respond" in words.progress(job))
        assert job.state == "running" and bpy.ops.shotlock.cancel.poll()
    finally:
        os.kill(process, signal.SIGCONT)
    until(engine, ended(job))
    assert job.state == "done" and len(strips(film)) == 1 and engine.client().pid == process


KILLED = """
import os, signal, sys, time
sys.path.insert(0, sys.argv[1])
import conftest, bpy
conftest.load_package().register()
from shotlock.operators import session
from shotlock.operators.plan import plan
conftest.empty_file()
os.environ["XDG_DATA_HOME"] = sys.argv[-1]
scene = conftest.build_tiny(bpy.context.scene, frames=3)
if sys.argv[2]:
    bpy.ops.wm.save_as_mainfile(filepath=sys.argv[2])
scene.shotlock.prompt, scene.shotlock.seed, scene.shotlock.width = "rain at night", 11, 96
scene.shotlock.steps = 24  # so many that it is met in the middle, however quick the machine is
job = session.submit(scene, plan(scene))
while job.step < 2 or job.phase != "Sampling":
    assert not job.ended, job.error
    session.tick()
    time.sleep(0.01)
print("ENGINE", session.client().pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_a_blender(file: Path | str) -> None:
    """A Blender that makes a file's shot, or of one that was never saved, dies in the middle of sampling; its engine
    leaves by itself."""
    died = subprocess.run([sys.executable, "-c", KILLED, str(Path(__file__).parent), str(file),
                           os.environ["XDG_DATA_HOME"]], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert died.returncode == -signal.SIGKILL, died.stdout + died.stderr
    process = int(next(line for line in died.stdout.splitlines() if line.startswith("ENGINE ")).split()[1])
    deadline = time.monotonic() + 15
    while Path(f"/proc/{process}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def uninterrupted(folder: Path, elsewhere: Path) -> dict[str, bytes]:
    """The frames of the same job, made in one go, without Blender."""
    from shotlock.operators import install

    elsewhere.mkdir()
    for name in [p.name for p in folder.iterdir() if p.suffix in (".json", ".npz", ".npy") and p.name != "report.json"]:
        shutil.copy(folder / name, elsewhere)
    shutil.copytree(folder / "passes", elsewhere / "passes")
    subprocess.run([str(install.engine_python()), "-m", "engine", "run", str(elsewhere)], cwd=install.ADDON, check=True,
                   capture_output=True, timeout=PATIENCE)
    return frames(elsewhere)


def frames(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "frames").iterdir())}


@in_one_blender
def test_a_take_of_a_killed_blender_is_resumed_in_the_next_one(engine, scene, tmp_path):
    file = tmp_path / "film.blend"
    kill_a_blender(file)
    bpy.ops.wm.open_mainfile(filepath=str(file))
    scene = bpy.context.scene
    take = tmp_path / "shots" / "Cam A" / "take_001"
    assert scene.shotlock.prompt == ""                         # what was typed died too: the take remembers
    assert engine.resumable(scene, bpy.context.view_layer) == take
    captured = (take / "passes" / "depth.npy").stat()
    assert bpy.ops.shotlock.resume() == {"FINISHED"}
    (strip,) = strips(scene)
    made = strip.shotlock
    assert (made.prompt, made.seed, made.shot, made.take) == ("rain at night", 11, "Cam A", 1)
    assert (take / "passes" / "depth.npy").stat() == captured and not (take / "state").exists()
    assert frames(take) == uninterrupted(take, tmp_path / "again")
    assert engine.resumable(scene, bpy.context.view_layer) is None
    assert resume_is_refused("was stopped") and len(engine.jobs) == 1


@in_one_blender
def test_what_a_killed_capture_left_goes_with_the_next_one_unless_it_is_at_work(engine, scene, tmp_path):
    from shotlock.engine import job as jobs
    from shotlock.operators import takes
    from shotlock.operators.capture import came_to_nothing

    early = KILLED.replace('job.step < 2 or job.phase != "Sampling"', 'job.step < 1 or job.phase != "Capturing"')
    early = early.replace("frames=3", "frames=90").replace("session.client().pid", "0")
    died = subprocess.run([sys.executable, "-c", early, str(Path(__file__).parent), str(tmp_path / "film.blend"),
                           str(tmp_path)], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert died.returncode == -signal.SIGKILL, died.stdout + died.stderr
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "film.blend"))
    scene = bpy.context.scene
    take, scene.shotlock.prompt = tmp_path / "shots" / "Cam A" / "take_001", "rain"
    assert (take / "state" / "scene.blend").exists()
    assert engine.resumable(scene, bpy.context.view_layer) is None
    with jobs.hold(take):                                      # as a Blender that is filming there does
        takes.clear(bpy.data.filepath, "Cam A", came_to_nothing)
        assert (take / "state" / "scene.blend").exists()
    mark = take / "state" / "mark"
    mark.touch()
    job = start(engine, scene)
    assert job.folder == take and not mark.exists()
    until(engine, lambda: job.step > 0)
    takes.clear(bpy.data.filepath, "Cam A", came_to_nothing)        # this one lives
    assert (take / "state" / "scene.blend").exists()
    engine.cancel(job)
    assert not take.exists()


@in_one_blender
def test_what_a_failed_capture_left_goes_once_nobody_can_take_it_up(engine, film):
    """Its background Blender was killed: the folder stays as long as this session's list holds the take, no longer."""
    from shotlock.operators.session import _is_forsaken

    film.shotlock.frame_end = 90
    job = start(engine, film)
    until(engine, lambda: job.step > 0)
    job.capture._process.kill()
    until(engine, lambda: job.ended)
    assert job.state == "failed" and "code -9" in job.error and (job.folder / "camera.npz").exists()
    assert not _is_forsaken(job.folder)
    engine.jobs.clear()
    assert _is_forsaken(job.folder)
    again = start(engine, film)
    assert again.folder == job.folder, "its number is free"
    engine.cancel(again)
    assert not job.folder.exists()


@pytest.fixture
def stopped(film, engine):
    """A shot that was cancelled once it was captured."""
    job = start(engine, film)
    until(engine, lambda: job.state == "running")
    engine.cancel(job)
    until(engine, ended(job))
    assert job.state == "cancelled" and strips(film) == []
    return job


@in_one_blender
@pytest.mark.parametrize("phase", ["Starting the engine", "Reading the passes", "Measuring the camera"])
def test_cancelled_in_any_phase_it_resumes(film, engine, phase):
    film.shotlock.frame_end = 9                                # fewer frames are measured before a cancel is heard
    job = start(engine, film)
    until(engine, lambda: job.ended or (job.state == "running" and job.phase == phase))
    engine.cancel(job)
    until(engine, ended(job))
    assert job.state == "cancelled" and strips(film) == [] and left(job.folder) >= {"job.json", "passes"}
    assert engine.resumable(film, bpy.context.view_layer) == job.folder
    assert bpy.ops.shotlock.resume() == {"FINISHED"}
    assert len(strips(film)) == 1 and not (job.folder / "state").exists()


@in_one_blender
def test_pressed_twice_it_is_resumed_once(film, engine, stopped):
    from shotlock.operators import takes

    job = engine.resume(film, stopped.folder)
    with pytest.raises(takes.TakeError, match="worked on already"):
        engine.resume(film, stopped.folder)
    assert not bpy.ops.shotlock.resume.poll() and not bpy.ops.shotlock.generate.poll()
    with pytest.raises(RuntimeError, match="worked on already"):
        bpy.ops.shotlock.remove_stopped(directory=str(stopped.folder))
    engine.cancel(job)                                         # before a tick: it waits, and stays
    assert job.state == "cancelled" and engine.resumable(film, bpy.context.view_layer) == stopped.folder
    assert bpy.ops.shotlock.resume() == {"FINISHED"} and len(strips(film)) == 1 and len(engine.jobs) == 1


@in_one_blender
def test_the_newest_is_offered_and_another_one_can_be_named(film, engine, stopped):
    again = start(engine, film)
    until(engine, lambda: again.state == "running")
    engine.cancel(again)
    until(engine, ended(again))
    assert engine.resumable(film, bpy.context.view_layer) == again.folder != stopped.folder
    assert bpy.ops.shotlock.resume(directory=str(stopped.folder)) == {"FINISHED"}
    (strip,) = strips(film)
    assert strip.shotlock.take == 1
    assert engine.resumable(film, bpy.context.view_layer) == again.folder
    assert resume_is_refused("was captured and then stopped", directory=str(stopped.folder))
    assert bpy.ops.shotlock.remove_stopped() == {"FINISHED"}
    assert not again.folder.exists() and stopped.folder.exists()
    assert engine.resumable(film, bpy.context.view_layer) is None


@in_one_blender
@pytest.mark.parametrize("spoil", [
    lambda folder: (folder / "job.json").unlink(),
    lambda folder: (folder / "camera.npz").write_bytes(b"PK"),
    lambda folder: os.truncate(folder / "passes" / "normal.npy", 5000),
    lambda folder: shutil.rmtree(folder),
])
def test_what_was_not_captured_whole_is_not_offered(film, engine, stopped, spoil):
    assert engine.resumable(film, bpy.context.view_layer) == stopped.folder
    spoil(stopped.folder)
    assert resume_is_refused("was captured and then stopped")  # the disk counts, whatever was seen there before
    assert engine.resumable(film, bpy.context.view_layer) is None


@in_one_blender
def test_only_a_stopped_take_is_ever_deleted(film, engine, stopped):
    """A folder of that name, one with a finished take, one that is none: all stay, whoever names them."""
    home = Path(bpy.data.filepath).parent
    finished = home / "shots" / "Cam A" / "take_007"
    shutil.copytree(stopped.folder, finished)
    shutil.rmtree(finished / "state")
    (finished / "frames").mkdir()
    before = sorted(home.rglob("*"))
    for folder in (home, home / "shots", finished, home / "take_001"):
        with pytest.raises(RuntimeError, match="nothing was deleted"):
            bpy.ops.shotlock.remove_stopped(directory=str(folder))
    assert sorted(home.rglob("*")) == before
    assert bpy.ops.shotlock.remove_stopped() == {"FINISHED"}
    assert not stopped.folder.exists() and finished.exists()


def test_a_failed_take_whose_folder_is_gone_can_be_forgotten(film, engine):
    job = start(engine, film)
    shutil.rmtree(job.folder)
    job.state, job.error = "failed", "the folder vanished"
    assert engine.resumable(film, bpy.context.view_layer) == job.folder
    assert bpy.ops.shotlock.remove_stopped() == {"FINISHED"}
    assert engine.jobs == [] and engine.resumable(film, bpy.context.view_layer) is None


HOLD = """
import sys, time
from pathlib import Path
from engine import job
with job.hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@in_one_blender
def test_a_take_that_another_blender_works_on_is_left_alone(film, engine, stopped):
    other = subprocess.Popen([str(engine.install.engine_python()), "-c", HOLD, str(stopped.folder)],
                             cwd=engine.install.ADDON, stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"held\n"
    with pytest.raises(RuntimeError, match="another engine is at work"):
        bpy.ops.shotlock.remove_stopped()
    with pytest.raises(RuntimeError, match="another engine is at work"):
        bpy.ops.shotlock.resume()
    assert left(stopped.folder) >= {"job.json", "passes"} and strips(film) == []
    engine.jobs.clear()                                        # as another Blender sees it
    engine.memory.forget()
    assert engine.resumable(film, bpy.context.view_layer) is None
    other.kill()
    other.wait()
    engine.memory.forget()
    assert bpy.ops.shotlock.resume() == {"FINISHED"} and len(strips(film)) == 1


@in_one_blender
def test_undo_another_scene_and_another_file_do_not_lose_it(film, engine, stopped, new_file):
    path = bpy.data.filepath
    bpy.ops.ed.undo_push(message="before")
    job = engine.resume(film, stopped.folder)
    film.shotlock.prompt = "something else"
    bpy.ops.ed.undo_push(message="edit")
    bpy.ops.ed.undo()
    new_file()
    assert engine.resumable(bpy.context.scene, bpy.context.view_layer) is None     # another file's
    until(engine, ended(job))
    assert job.state == "done" and not job.placed
    bpy.ops.wm.open_mainfile(filepath=path)
    engine.tick()
    (strip,) = strips(bpy.context.scene)
    assert job.placed and strip.shotlock.prompt == "red clay in the evening"


def test_another_file_is_opened_meanwhile(film, engine, new_file):
    path = bpy.data.filepath
    job = start(engine, film)
    until(engine, lambda: job.state == "capturing")
    new_file()
    bpy.context.scene.name = film_name = "Scene"               # the same name as the shot's scene: still not the same
    until(engine, ended(job))
    assert job.state == "done" and not job.placed and engine.waiting() == [job]
    assert strips(bpy.data.scenes[film_name]) == []
    assert len(list((job.folder / "frames").iterdir())) == 3
    bpy.ops.wm.open_mainfile(filepath=path)
    engine.tick()
    assert job.placed and engine.waiting() == []
    assert strips(bpy.context.scene)[0].directory == "//shots/Cam A/take_001/frames/"


def test_the_scene_is_deleted_meanwhile(film, engine):
    job = start(engine, film)
    until(engine, lambda: job.state == "capturing")
    other = bpy.data.scenes.new("Other")
    bpy.context.window.scene = other
    bpy.data.scenes.remove(film)
    until(engine, ended(job))
    assert job.state == "done" and not job.placed and strips(other) == []
    assert bpy.ops.shotlock.place_take(directory=str(job.folder)) == {"FINISHED"}
    assert len(strips(other)) == 1 and engine.waiting() == []


@pytest.mark.parametrize(("spoil", "sentence"), [
    (lambda folder: (folder / "camera.npz").write_bytes(b"PK\x03\x04"), "holds no take that can be read"),
    (lambda folder: (folder / "job.json").write_text('{"version": 1, "id": "a", "size": [16, 16], "seed": "seven"}'),
     "job.json's seed is 'seven'"),
])
def test_a_take_that_breaks_on_landing_says_so_and_the_timer_goes_on(film, engine, spoil, sentence):
    job, after = start(engine, film), start(engine, film)
    (job.folder / "frames").mkdir()
    (job.folder / "job.json").write_text("{}")
    np.savez(job.folder / "camera.npz", frames=np.arange(3))
    spoil(job.folder)
    job.state = "done"
    assert engine.tick() == engine.PERIOD
    assert sentence in job.error and "\n" not in job.error and not job.placed
    assert after.state == "capturing" and engine.tick() == engine.PERIOD


def test_saved_elsewhere_renamed_edited_and_undone_meanwhile(film, engine):
    home = Path(bpy.data.filepath).parent
    bpy.ops.ed.undo_push(message="before")
    job = start(engine, film)
    until(engine, lambda: job.state == "running")
    film.camera.location.x += 5
    film.shotlock.prompt, film.name = "something else", "Renamed"
    bpy.ops.ed.undo_push(message="edit")
    bpy.ops.ed.undo()
    (home / "sub").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(home / "sub" / "other.blend"))
    until(engine, ended(job))
    (strip,) = strips(bpy.context.scene)
    assert strip.directory == "//../shots/Cam A/take_001/frames/"
    assert strip.shotlock.prompt == "red clay in the evening"


@in_one_blender
def test_the_takes_folder_disappears_meanwhile(film, engine):
    job = start(engine, film)
    until(engine, lambda: job.state == "running" and job.phase == "Sampling")
    Path(job.folder).rename(Path(job.folder).with_name("gone"))     # at once; a removal would race with the engine
    until(engine, ended(job))
    assert job.state == "failed" and job.error and strips(film) == []


QUIT = """
import sys, time
sys.path.insert(0, sys.argv[1])
import conftest, bpy
conftest.load_package().register()
from shotlock.operators import session
from shotlock.operators.plan import plan
conftest.empty_file()
scene = conftest.build_tiny(bpy.context.scene, frames=3)
scene.shotlock.prompt, scene.shotlock.width = "rain", 96
job = session.submit(scene, plan(scene))
while not (job.state == sys.argv[2] and (job.state == "capturing" or session.client().state == "ready")):
    session.tick()
    time.sleep(0.02)
print("CHILD", session.client().pid if job.state == "running" else job.capture._process.pid, flush=True)
"""


@pytest.mark.wheel
@pytest.mark.parametrize("state", ["capturing", "running"])
def test_quitting_meanwhile_leaves_no_process(engine, state):
    here = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", QUIT, str(here), state], capture_output=True, text=True,
                          timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    child = int(next(line for line in done.stdout.splitlines() if line.startswith("CHILD ")).split()[1])
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_disabling_the_add_on_ends_the_engine(film, engine, shotlock):
    job = start(engine, film)
    until(engine, lambda: job.state == "running" and engine.client().state == "ready")
    assert engine.client().pid in children()
    shotlock.unregister()
    try:
        assert children() == set()
        assert engine.jobs == []
    finally:
        shotlock.register()


def test_an_unsaved_file_generates_too(engine, scene, build):
    from shotlock.operators import folders, takes

    build(scene, frames=2)
    scene.shotlock.prompt, scene.shotlock.width = "snow", 96
    bpy.ops.shotlock.generate()
    (strip,) = strips(scene)
    assert folders.is_inside(takes.job_folder(strip), folders.unsaved_folder())
    shutil.rmtree(folders.unsaved_folder())


@in_one_blender
def test_a_take_of_a_killed_blender_without_a_file_is_resumed_and_moves_home(engine, scene, build, tmp_path):
    """The next Blender's file is another one: all that they share is the shot's name, so it says when it was made."""
    from shotlock.operators import folders, takes

    build(scene, frames=3)
    assert engine.resumable(scene, bpy.context.view_layer) is None
    kill_a_blender("")
    engine.memory.forget()                                     # as at the start of a Blender
    take = engine.resumable(scene, bpy.context.view_layer)
    assert folders.is_inside(take, folders.unsaved_folder()) and folders.SESSION not in take.parts
    assert take.parts[-4].startswith(folders.when_unsaved(take)[:10])
    assert bpy.ops.shotlock.resume() == {"FINISHED"}
    (strip,) = strips(scene)
    assert strip.shotlock.prompt == "rain at night" and takes.job_folder(strip) == take
    assert engine.resumable(scene, bpy.context.view_layer) is None
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "film.blend"))
    assert bpy.ops.shotlock.move_takes() == {"FINISHED"}
    assert takes.job_folder(strips(bpy.context.scene)[0]) == tmp_path / "shots" / "Cam A" / "take_001"
    shutil.rmtree(folders.unsaved_folder())


@in_one_blender
def test_a_stopped_take_of_an_unsaved_file_moves_with_it_and_resumes_there(engine, scene, build, tmp_path):
    from shotlock.operators import folders, takes

    build(scene, frames=3)
    scene.shotlock.prompt, scene.shotlock.width = "snow", 96
    job = start(engine, scene)
    until(engine, lambda: job.state == "running" and job.phase == "Sampling")
    engine.cancel(job)
    until(engine, ended(job))
    assert engine.resumable(scene, bpy.context.view_layer) == job.folder
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "film.blend"))
    assert takes.has_homeless(engine.left_behind()) and bpy.ops.shotlock.move_takes() == {"FINISHED"}
    assert not takes.has_homeless(engine.left_behind())
    home = tmp_path / "shots" / "Cam A" / "take_001"
    assert engine.resumable(bpy.context.scene, bpy.context.view_layer) == job.folder == home
    engine.jobs.clear()                                        # as in another Blender, later
    engine.memory.forget()
    assert engine.resumable(bpy.context.scene, bpy.context.view_layer) == home
    assert bpy.ops.shotlock.resume() == {"FINISHED"}
    assert takes.job_folder(strips(bpy.context.scene)[0]) == home
    shutil.rmtree(folders.unsaved_folder(), ignore_errors=True)
