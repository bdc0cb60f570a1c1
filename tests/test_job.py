"""The job folder: what is valid is read as it was written, what is not is refused before anything runs."""

import errno
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import job as jobs


@pytest.fixture
def folder(make_job, tmp_path):
    make_job(tmp_path / "take_001", frames=4, width=48, height=32)
    return tmp_path / "take_001"


def edit(folder: Path, **values) -> None:
    path = folder / "job.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def refusal(folder: Path) -> str:
    """The sentence; one line, no traceback, with something to do at its end."""
    with pytest.raises(jobs.BadJob) as caught:
        jobs.read(folder)
    text = str(caught.value)
    assert "\n" not in text and "Traceback" not in text and len(text) < 400 and text.count("; ") >= 1
    return text


# What is valid

def test_job_comes_back_as_it_was_written(folder):
    job = jobs.read(folder)
    jobs.write(job)
    assert jobs.read(folder) == job
    assert job.size == (48, 32) and job.fps == (24, 1) and job.folder == folder and jobs.frame_count(job) == 4


def test_arrays_have_the_types_and_shapes_of_the_specification(folder):
    job = jobs.read(folder)
    arrays, camera, objects = jobs.passes(job), jobs.camera(job), jobs.objects(job)
    assert set(arrays) == set(jobs.PASSES)
    for name, array in arrays.items():
        channels = jobs.PASSES[name].channels
        assert array.shape == (4, 32, 48) + ((channels,) if channels > 1 else ())
        assert array.dtype == jobs.PASSES[name].dtype
        assert isinstance(array, np.memmap) and not array.flags.writeable
    assert [camera[name].dtype.str for name in ("c2w", "K", "frames")] == ["<f8", "<f8", "<i8"]
    assert objects["matrix"].shape == (3, 4, 4, 4) and list(objects["index"]) == [1, 2, 3]


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="memory is read from /proc")
def test_a_pass_that_was_read_whole_does_not_stay_in_memory(tmp_path, job_maker):
    job = job_maker.make_job(tmp_path / "job", frames=40, width=256, height=144, moving=False)
    depth = jobs.passes(job)["depth"]

    def resident():
        lines = Path("/proc/self/smaps").read_text().splitlines()
        at = next(i for i, line in enumerate(lines) if line.endswith("job/passes/depth.npy"))
        return next(int(line.split()[1]) for line in lines[at:] if line.startswith("Rss:"))

    first = depth[0]
    sums = [float(depth[f][np.isfinite(depth[f])].sum()) for f in range(len(depth))]
    assert resident() < depth.nbytes / 1024 / 4
    whole = np.load(tmp_path / "job" / "passes" / "depth.npy", allow_pickle=False)
    assert sums == [float(frame[np.isfinite(frame)].sum()) for frame in whole] and np.array_equal(first, whole[0])


def test_unknown_keys_and_passes_are_kept(folder):
    edit(folder, mood={"blue": 1}, passes={"depth": "passes/depth.npy", "roughness": "passes/roughness.npy"})
    jobs.write(replace(jobs.read(folder), prompt="rain"))
    value = json.loads((folder / "job.json").read_text())
    assert value["mood"] == {"blue": 1} and value["passes"]["roughness"] and value["prompt"] == "rain"


def test_a_job_of_only_what_is_needed_takes_the_defaults(folder):
    (folder / "job.json").write_text('{"version": 1, "id": "a", "size": [48, 32]}')
    shutil.rmtree(folder / "state", ignore_errors=True)
    (folder / "objects.npz").unlink()
    job = jobs.read(folder)
    assert job.crop == (0, 0, 48, 32) and job.model == "lite" and len(jobs.objects(job)["index"]) == 0


@pytest.mark.parametrize("prompt", [
    "", "a 'quoted' \"prompt\"; $(touch x) %d # -", "снег, 雪, 🌨️, e\u0301 é, \u202eשלום", "two\nlines"])
def test_prompts_and_names_round_trip(make_job, tmp_path, prompt):
    name = (prompt.replace("\n", "") or "x")[:60]
    table = ({"index": 1, "name": prompt},)
    job = make_job(tmp_path / name, frames=1, width=16, height=16, prompt=prompt, objects=table)
    assert jobs.read(job.folder).prompt == prompt and jobs.read(job.folder).objects[0]["name"] == prompt


# What is refused, field by field

@pytest.mark.parametrize("values, says", [
    ({"version": 2}, "version 2 and this Shotlock reads version 1; update Shotlock"),
    ({"version": "1"}, "version is '1'"), ({"version": True}, "version is True"), ({"version": 0}, "version is 0"),
    ({"id": "../x"}, "id is '../x'"), ({"id": ""}, "id is"), ({"model": "a/b"}, "model is 'a/b'"),
    ({"prompt": 5}, "prompt is 5"), ({"prompt": "a\0b"}, "NUL"), ({"prompt": "x" * 20_001}, "20000 characters"),
    ({"prompt": "\ud800"}, "prompt is"), ({"negative_prompt": None}, "negative_prompt is None"),
    ({"seed": -1}, "seed is -1"), ({"seed": 2**63}, "seed is"), ({"seed": 1.5}, "seed is 1.5"), ({"seed": True},
    "seed is True"),
    ({"steps": 0}, "1 to 200"), ({"steps": 201}, "steps is 201"), ({"guidance": "2"}, "guidance is '2'"),
    ({"guidance": -1}, "guidance is -1"), ({"guidance": True}, "guidance is True"),
    ({"control_strength": 10**400}, "control_strength is"),
    ({"control_strength": 1.1}, "a number from 0 to 1"), ({"seed": 2**31}, "0 to 2147483647"),
    ({"fps": [24]}, "fps is [24]"), ({"fps": [0, 1]}, "fps is [0, 1]"), ({"fps": [23.976, 1]}, "[24000, 1001]"),
    ({"size": [450, 256]}, "multiples of 16"), ({"size": [-48, 32]}, "size is [-48, 32]"), ({"size": [0, 32]},
    "size is [0, 32]"),
    ({"size": [8208, 32]}, "16 to 8192"), ({"size": "48x32"}, "size is '48x32'"), ({"size": [10**30, 16]},
    "size is [1000"),
    ({"crop": [0, 0, 64, 32]}, "inside 48 x 32"), ({"crop": [-1, 0, 8, 8]}, "crop is"), ({"crop": [40, 0, 9, 8]},
    "crop is"),
    ({"crop": [0, 0, 0, 8]}, "crop is"), ({"crop": None}, "crop is None"),
    ({"cuts": []}, "begin with 0"), ({"cuts": [1]}, "cuts is [1]"), ({"cuts": [0, 2, 2]}, "cuts is"),
    ({"cuts": [0, 4]}, "below 4"),
    ({"objects": [{"index": 0, "name": "a"}]}, "objects is"), ({"objects": [{"index": 1}]}, "objects is"),
    ({"objects": [{"index": 1, "name": "a"}] * 2}, "each index once"), ({"objects": {}}, "objects is"),
    ({"scene": []}, "scene is []"), ({"created": "me"}, "created is 'me'"),
    ({"passes": {}}, "depth among them"), ({"passes": []}, "passes is []"), ({"passes": {"depth": 3}}, "passes is"),
])
def test_wrong_field_is_named_with_what_was_expected(folder, values, says):
    edit(folder, **values)
    assert says in refusal(folder)


@pytest.mark.parametrize("path", [
    "../depth.npy", "passes/../../depth.npy", "/etc/passwd", "~/depth.npy", "passes\\depth.npy",
                                  "\\\\host\\share", "C:/depth.npy", "file:///etc/passwd", "passes/d\0.npy", "", ".",
                                  "passes//x",
                                  "passes/depth.npy/", "a\nb", "\ud800"])
def test_paths_that_leave_the_folder_are_refused(folder, path):
    (folder.parent / "depth.npy").write_bytes((folder / "passes/depth.npy").read_bytes())
    edit(folder, passes={"depth": path})
    assert "paths inside the job folder" in refusal(folder)


@pytest.mark.parametrize("name", ["passes/depth.npy", "camera.npz", "objects.npz", "job.json"])
def test_links_out_of_the_folder_are_refused(folder, name):
    outside = folder.parent / "outside"
    shutil.move(folder / name, outside)
    (folder / name).symlink_to(outside)
    assert "leads out of the job folder" in refusal(folder)


@pytest.mark.parametrize("name", ["frames", "frames.part", "state", "report.json", "engine.lock"])
def test_results_are_never_written_through_a_link(folder, name):
    (folder / name).symlink_to(folder.parent)
    assert f"{name} is a link" in refusal(folder)


def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(folder):
    (folder / "passes/depth.npy").unlink()
    os.mkfifo(folder / "passes/depth.npy")
    assert "not a regular file" in refusal(folder)


# Files that are not what they should be

@pytest.mark.parametrize("text", [
    "", "{", "[]", "null", '{"version": NaN}', "[" * 100_000, "\ufeff{}", '{"size": 1' + "0" * 5000 + "}"])
def test_broken_json_is_refused(folder, text):
    (folder / "job.json").write_text(text)
    assert "job.json" in refusal(folder)


def test_json_that_is_not_utf8_or_endless_is_refused(folder):
    (folder / "job.json").write_bytes(b'{"version": 1, "id": "\xff"}')
    assert "not JSON" in refusal(folder)
    with (folder / "job.json").open("wb") as stream:
        stream.truncate(jobs.MOST_JSON + 1)
    assert "bytes" in refusal(folder)


@pytest.mark.parametrize("name", ["job.json", "camera.npz", "passes/depth.npy"])
def test_missing_files_are_named(folder, name):
    (folder / name).unlink()
    assert f"{name} is missing" in refusal(folder)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    assert "no job folder" in refusal(tmp_path / "nothing")


def pose(folder):
    return {name: array.copy() for name, array in jobs.camera(jobs.read(folder)).items()}


@pytest.mark.parametrize("change, says", [
    (lambda a: a["c2w"].__setitem__((2, 0, 3), np.nan), "c2w is not finite at frame 3 of 4"),
    (lambda a: a["K"].__setitem__((1, 0, 0), np.inf), "K is not finite at frame 2"),
    (lambda a: a["c2w"].__setitem__((slice(None), slice(0, 3), 0), 2 * a["c2w"][:, :3, 0]),
    "without scale, shear or mirroring"),
    (lambda a: a["c2w"].__setitem__((slice(None), slice(0, 3), 0), -a["c2w"][:, :3, 0]), "mirroring"),
    (lambda a: a["c2w"].__setitem__((0, 3, 0), 1), "c2w is not a rotation"),
    (lambda a: a["K"].__setitem__((0, 0, 0), 0), "K is not a pinhole"), (lambda a: a["K"].__setitem__((0, 1, 1),
    -50), "K is not"),
    (lambda a: a["K"].__setitem__((3, 0, 1), 2), "at frame 4"), (lambda a: a["K"].__setitem__((0, 2, 2), 2),
    "K is not"),
    (lambda a: a.update(K=a["K"][:3]), "(3, 3, 3): expected (4, 3, 3)"), (lambda a: a.update(c2w=a["c2w"][:, :3]),
    "(4, 3, 4)"),
    (lambda a: a.update(frames=a["frames"][::-1].copy()), "frames do not rise"), (lambda a: a.pop("K"), "lacks"),
    (lambda a: a.update(frames=a["frames"].astype(float)), "frames holds float64"),
    (lambda a: a.update(c2w=a["c2w"].astype(np.float32)), "c2w holds float32: expected float64"),
    (lambda a: a.update({k: v[:0] for k, v in a.items()}), "0 frames"),
    (lambda a: a.update(c2w=np.array([{}], object)), "holds Python objects"),
])
def test_cameras_that_cannot_be_are_refused(folder, change, says):
    arrays = pose(folder)
    change(arrays)
    np.savez(folder / "camera.npz", **arrays)
    assert says in refusal(folder)


def test_a_range_that_ends_before_its_frames_is_refused(folder):
    edit(folder, last_frame=9)
    assert jobs.read(folder).last_frame == 9
    edit(folder, last_frame=3)
    assert "last_frame is 3: expected 4" in refusal(folder)


def test_camera_of_another_length_than_the_passes_is_refused(folder):
    np.savez(folder / "camera.npz", **{name: array[:3] for name, array in pose(folder).items()})
    assert "expected (3, 32, 48)" in refusal(folder)


@pytest.mark.parametrize("array, says", [
    (np.zeros((4, 32, 48)), "depth is float32"), (np.zeros((4, 32, 48), ">f4"), "depth is float32"),
    (np.zeros((4, 48, 32), "<f4"), "expected (4, 32, 48)"), (np.zeros((3, 32, 48), "<f4"), "expected (4, 32, 48)"),
    (np.asfortranarray(np.zeros((4, 32, 48), "<f4")), "C order"), (np.zeros((4, 32, 48, 1), "<f4"),
    "expected (4, 32, 48)"),
])
def test_passes_of_another_type_or_shape_are_refused(folder, array, says):
    np.save(folder / "passes/depth.npy", array)
    assert says in refusal(folder)


@pytest.mark.parametrize("value, says", [
    (np.nan, "nan"), (0.0, "0"), (-2.5, "-2.5"), (-np.inf, "-inf")])
@pytest.mark.parametrize("frame", [0, 2, 3])
def test_distances_that_cannot_be_are_refused_as_the_passes_are_opened(folder, value, says, frame):
    job = jobs.read(folder)
    np.load(folder / "passes/depth.npy", mmap_mode="r+")[frame, 7, 5] = value
    with pytest.raises(jobs.BadJob) as caught:
        jobs.passes(job)
    assert str(caught.value) == (f"passes/depth.npy holds {says} at frame {frame + 1} of 4: expected distances above "
                                 "0, or +inf where there is sky; capture the shot again")


def test_the_sky_is_a_distance(folder):
    np.load(folder / "passes/depth.npy", mmap_mode="r+")[:] = np.inf
    assert np.isinf(jobs.passes(jobs.read(folder))["depth"]).all()


@pytest.mark.parametrize("count", [1, 2, 9, 10, 49, 1000])
def test_the_frames_that_stand_for_a_shot_are_spread_over_it(count):
    some = jobs.spread(count)
    assert some[0] == 0 and some[-1] == count - 1 and len(some) == min(count, jobs.LOOKED_AT)
    assert count < 9 or {(count - 1) // 2, count // 2} & set(some)


def test_run_refuses_such_a_depth_in_one_line(folder):
    np.load(folder / "passes/depth.npy", mmap_mode="r+")[2] = np.nan
    done = subprocess.run([sys.executable, "-m", "engine", "run", str(folder)], capture_output=True, text=True,
                          check=False, cwd=Path(jobs.__file__).parents[1])
    assert done.returncode == 3 and done.stderr.splitlines()[-1].startswith("passes/depth.npy holds nan at frame 3")
    assert "Traceback" not in done.stderr and not (folder / "frames").exists()


def npy_text(text: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00\x76\x00" + text.ljust(117) + b"\n"


@pytest.mark.parametrize("data", [
    b"", b"\x93NUMPY", b"\x93NUMPY\x09\x00" + b"x" * 200, b"not an array" * 20, npy_text(b"(" * 117),
    npy_text(b"{'descr': '"),
    npy_text(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-4, 32, 48)}"),
    b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{'descr'"])
def test_headers_that_lie_are_refused(folder, data):
    (folder / "passes/depth.npy").write_bytes(data)
    assert "depth.npy" in refusal(folder)


@pytest.mark.parametrize("change", [lambda size: size // 2, lambda size: size - 1, lambda size: size + 1])
def test_a_pass_that_was_cut_short_is_refused(folder, change):
    path = folder / "passes/depth.npy"
    os.truncate(path, change(path.stat().st_size))
    assert "bytes: expected" in refusal(folder)


def test_a_zip_bomb_is_not_unpacked(folder):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 4, 4)})
    with zipfile.ZipFile(folder / "camera.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("c2w.npy", header.getvalue() + bytes(10**7))
    assert "at most" in refusal(folder)


def test_a_pickle_is_not_executed(folder):
    canary = folder.parent / "canary"
    bomb = b"\x80\x04cposix\nsystem\n(Vtouch " + str(canary).encode() + b"\ntR."
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": (4, 32, 48)})
    (folder / "passes/depth.npy").write_bytes(header.getvalue() + bomb)
    assert "Python objects" in refusal(folder) and not canary.exists()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(["job.json", "camera.npz", "objects.npz", "passes/depth.npy", "passes/index.npy"]),
       place=st.floats(0, 1), bits=st.integers(1, 255), cut=st.booleans())
def test_any_damage_is_a_sentence_or_harmless(folder, name, place, bits, cut):
    path, whole = folder / name, (folder / name).read_bytes()
    at = min(int(place * len(whole)), len(whole) - 1)
    path.write_bytes(whole[:at] if cut else whole[:at] + bytes([whole[at] ^ bits]) + whole[at + 1:])
    try:
        jobs.read(folder)
    except jobs.BadJob as error:
        assert "\n" not in str(error)
    finally:
        path.write_bytes(whole)


PLAIN = st.none() | st.booleans() | st.text() | st.floats(allow_nan=False, allow_infinity=False)
WHOLE = st.integers() | st.integers(2**31 - 2, 2**64) | st.just(10**400)
NEARLY = st.sampled_from([[0, 0, 48, 32], [48, 32], [0], "passes/depth.npy", "x" * 300])
KEYS = st.sampled_from(["depth", "base", "index", "name", "lights", "sun", "direction"]) | st.text()
JSON = st.recursive(PLAIN | WHOLE | NEARLY, max_leaves=12, extend=lambda inner: st.lists(inner, max_size=4)
                    | st.dictionaries(KEYS, inner, max_size=4))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.dictionaries(st.sampled_from(sorted(jobs.NAMES)), JSON, min_size=1, max_size=3),
       without=st.sets(st.sampled_from(sorted(jobs.NAMES)), max_size=1))
def test_any_value_of_any_field_is_read_or_refused_in_one_sentence(folder, values, without):
    path = folder / "job.json"
    whole = path.read_text()
    mixed = {key: value for key, value in (json.loads(whole) | values).items() if key not in without}
    path.write_text(json.dumps(mixed))
    try:
        jobs.write(jobs.read(folder))
    except jobs.BadJob as error:
        text = str(error)
        assert "\n" not in text and len(text) < 500 and "; " in text, text
    finally:
        path.write_text(whole)


@pytest.mark.parametrize("text", ["1e999", "-1e999"])
def test_a_number_beyond_all_numbers_is_refused_wherever_it_stands(folder, text):
    path = folder / "job.json"
    path.write_text(path.read_text().replace('"scene": {', f'"scene": {{"lights": [{{"energy": {text}}}]'))
    assert "not JSON" in refusal(folder) and text in refusal(folder)


@pytest.mark.parametrize("values", [{"prompt": 5}, {"seed": "7"}, {"scene": []}, {"passes": None}])
@pytest.mark.parametrize("command", ["run", "measure"])
def test_the_commands_refuse_a_wrong_type_in_one_line(folder, command, values):
    edit(folder, **values)
    ended = subprocess.run([sys.executable, "-m", "engine", command, str(folder)], cwd=Path(__file__).parents[1],
                           capture_output=True, text=True)
    name, value = next(iter(values.items()))
    assert ended.returncode == 3 and ended.stdout == "" and len(ended.stderr.splitlines()) == 1
    assert f"job.json's {name} is {value!r}: expected " in ended.stderr


# Writing: whole or not at all

def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = jobs.write_json(tmp_path / "report.json", {"old": 1})
    with pytest.raises(ValueError):
        jobs.write_json(path, {"new": float("nan")})
    with pytest.raises(RuntimeError), jobs.whole(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert json.loads(path.read_text()) == {"old": 1} and os.listdir(tmp_path) == ["report.json"]


def test_an_array_filled_frame_by_frame_appears_when_it_is_whole(tmp_path):
    with pytest.raises(KeyError), jobs.new_array(tmp_path / "a.npy", "<f4", (2, 3)) as array:
        raise KeyError
    assert os.listdir(tmp_path) == []
    with jobs.new_array(tmp_path / "a.npy", "<f4", (2, 3)) as array:
        array[:] = 7
        assert not (tmp_path / "a.npy").exists()
    assert (np.load(tmp_path / "a.npy") == 7).all() and os.listdir(tmp_path) == ["a.npy"]


def test_killed_between_write_and_rename_leaves_the_old_file(tmp_path):
    """Row 14: the process dies with the new bytes on the disk under their other name."""
    jobs.write_bytes(tmp_path / "a", b"old")
    code = ("import os, signal, sys; from pathlib import Path; from engine import job\n"
            "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
            "job.write_bytes(Path(sys.argv[1]) / 'a', b'new')")
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parents[1])
    assert ended.returncode == -9 and (tmp_path / "a").read_bytes() == b"old" and len(os.listdir(tmp_path)) == 2
    jobs.remove_parts(tmp_path)
    assert os.listdir(tmp_path) == ["a"]


def test_bytes_reach_the_disk_before_their_name_and_the_name_after(tmp_path, monkeypatch):
    """Row 14, the order: fsync of the file, rename, fsync of the folder."""
    order = []
    kinds = {True: "folder", False: "file"}
    sync, move = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append(kinds[os.path.isdir(f"/proc/self/fd/{fd}")]),
    sync(fd))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("rename"), move(a, b))[1])
    jobs.write_bytes(tmp_path / "a", b"x")
    assert order == ["file", "rename", "folder"]


def test_a_full_disk_is_said_with_the_bytes_needed(tmp_path):
    code = ("import resource, sys; from pathlib import Path; from engine import job\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
            "try: job.write_bytes(Path(sys.argv[1]) / 'a', bytes(123456))\n"
            "except job.DiskFull as error: print(error.strerror)")
    said = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parents[1],
                          capture_output=True, text=True, check=True).stdout
    assert "a needs 123,456 bytes" in said and "free some space" in said and os.listdir(tmp_path) == []
    full = jobs.disk_full(tmp_path / "a", 1)
    assert full.errno == errno.ENOSPC and str(full).startswith("the disk is full: a needs 1 bytes")


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system can't reserve space")
def test_space_of_an_array_is_its_own_before_it_is_filled(tmp_path):
    """Several are open at once: what one has reserved is not free for the next, nor for another program."""
    with jobs.new_array(tmp_path / "a.npy", "<f4", (4, 256, 256)):
        part = next(tmp_path.glob(".a.npy.*"))
        assert part.stat().st_blocks * 512 >= 4 * 256 * 256 * 4


def test_a_folder_is_held_by_one_process_and_let_go_of_when_it_dies(tmp_path):
    code = ("import sys, time; from pathlib import Path; from engine import job\n"
            "with job.hold(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)")
    holder = subprocess.Popen([sys.executable, "-c",
    code, str(tmp_path)], cwd=Path(__file__).parents[1], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        assert jobs.is_held(tmp_path)
        with pytest.raises(jobs.BadJob, match="another engine"), jobs.hold(tmp_path):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with jobs.hold(tmp_path):
        assert os.listdir(tmp_path) == ["engine.lock"]
    assert os.listdir(tmp_path) == []
