"""Take → strip, in a real Blender: exact frames, colours, undo, files that move, folders that refuse."""

import itertools
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np
import pytest


def takes():
    from shotlock.operators import takes

    return takes


def strips(scene):
    from shotlock.operators import compat

    return list(compat.strips(scene))


def picture(path: Path, pixels: np.ndarray) -> None:
    """A PNG of those sRGB values, (H, W, 3) in 0..1, first row on top."""
    height, width, _ = pixels.shape
    image = bpy.data.images.new("picture", width, height)
    flat = np.ones((height, width, 4), np.float32)
    flat[..., :3] = pixels[::-1]
    image.pixels.foreach_set(flat.ravel())
    image.filepath_raw, image.file_format = str(path), "PNG"
    image.save()
    bpy.data.images.remove(image)


def finish(folder: Path, frames=range(1, 6), pixels=None, **values) -> Path:
    """What a finished job's folder holds, as far as a strip is concerned."""
    (folder / "frames").mkdir(parents=True)
    job = {"version": 1, "id": "a", "prompt": "rain, neon", "negative_prompt": "", "seed": 7, "steps": 3,
           "guidance": 1.5, "control_strength": 0.5, "model": "lite", "fps": [24, 1],
           "size": [320, 192], "crop": [0, 2, 320, 180]} | values
    (folder / "job.json").write_text(json.dumps(job))
    np.savez(folder / "camera.npz", frames=np.array(list(frames)))
    for index in range(1, len(list(frames)) + 1):
        grey = np.full((8, 12, 3), index / 10) if pixels is None else pixels
        picture(folder / "frames" / f"{index:06d}.png", grey)
    return folder


def make(shot="Cam A", **kwargs) -> Path:
    return finish(takes().new_folder(bpy.data.filepath, shot), **kwargs)


def placed(scene, folder: Path):
    return takes().place(scene, takes().read(folder))


def ranges(scene):
    from shotlock.operators import compat

    return [compat.strip_range(strip) for strip in strips(scene)]


def test_a_strip_has_the_shots_exact_frames_and_settings(saved, tmp_path):
    strip = placed(saved, make())
    assert ranges(saved) == [(1, 6)]
    assert strip.directory == "//shots/Cam A/take_001/frames/"
    assert [element.filename for element in strip.elements] == [f"{i:06d}.png" for i in range(1, 6)]
    assert (strip.transform.scale_x, strip.transform.scale_y) == (8, 8), "12x8 pixels fill the 96x64 of the scene"
    made = strip.shotlock
    assert (made.prompt, made.seed, made.steps, made.model) == ("rain, neon", 7, 3, "lite")
    assert (made.guidance, made.control_strength) == (1.5, 0.5)
    assert (made.job, made.shot, made.take) == ("//shots/Cam A/take_001", "Cam A", 1)


def test_negative_frames_and_a_frame_step(saved):
    placed(saved, make(frames=range(-7, 4)))
    placed(saved, make(frames=range(-6, 3, 2)))
    assert ranges(saved) == [(-7, 4), (-6, 4)]
    second = strips(saved)[1]
    assert [int(e.filename[:6]) for e in second.elements] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


@pytest.mark.skipif(bpy.app.version[:2] != (4, 5), reason="the same in every Blender, and 5 s long: 4.5 runs this")
def test_a_shot_of_more_than_9999_frames_keeps_its_order(saved):
    """Row 15: from below zero; a number of five digits is a name like the others."""
    folder, count = make(frames=range(-7, -6)), 10_005
    first = folder / "frames" / "000001.png"
    for number in range(2, count + 1):
        os.link(first, folder / "frames" / f"{number:06d}.png")
    np.savez(folder / "camera.npz", frames=np.arange(-7, count - 7))
    strip = placed(saved, folder)
    assert ranges(saved) == [(-7, count - 7)] and takes().read(folder).missing == ()
    assert [element.filename for element in strip.elements] == sorted(p.name for p in first.parent.iterdir())
    assert strip.elements[-1].filename == "010005.png"


@pytest.mark.parametrize("end, step, held", [
    (10, 3, [1, 1, 1, 2, 2, 2, 3, 3, 3, 4]), (12, 3, [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]), (3, 9, [1, 1, 1])])
def test_a_stepped_shot_covers_its_range_to_the_frame(saved, end, step, held):
    """Row 13: in the scene's own time, each picture until the next."""
    from shotlock.operators.plan import plan

    saved.frame_start, saved.frame_end, saved.frame_step, saved.shotlock.prompt = 1, end, step, "rain"
    planned = plan(saved)
    strip = placed(saved, make(frames=planned.frames, last_frame=planned.last))
    assert ranges(saved) == [(1, end + 1)] and planned.seconds == end / 24
    assert [int(element.filename[:6]) for element in strip.elements] == held
    saved.frame_end += 1
    bpy.ops.shotlock.redo()
    settings = saved.shotlock
    assert (settings.frame_start, settings.frame_end, settings.use_scene_range) == (1, end, False)


@pytest.mark.parametrize("last, sentence", [(3, "do not rise"), (2**31 - 1, "no sequencer holds")])
def test_a_range_that_cannot_be_is_refused(saved, last, sentence):
    with pytest.raises(takes().TakeError, match=sentence):
        takes().read(make(last_frame=last))


def test_a_second_take_neither_overwrites_nor_overlaps(saved, tmp_path):
    first = make()
    before = {file: file.read_bytes() for file in first.rglob("*") if file.is_file()}
    one, two = placed(saved, first), placed(saved, make())
    assert two.shotlock.job.endswith("take_002") and two.channel > one.channel
    assert before == {file: file.read_bytes() for file in first.rglob("*") if file.is_file()}
    elsewhere = placed(saved, make(frames=range(100, 105)))
    assert elsewhere.channel == 1


def test_full_channels_are_refused_and_gaps_are_used(saved):
    from shotlock.operators import compat

    folder = make()
    top = compat.add_image_strip(saved, "top", [str(folder / "frames" / "000001.png")], 128, 1)
    assert placed(saved, folder).channel == 1
    saved.sequence_editor.active_strip = top
    for channel in range(2, 128):
        compat.add_image_strip(saved, "x", [str(folder / "frames" / "000001.png")], channel, 1)
    with pytest.raises(takes().TakeError, match="128 channels"):
        placed(saved, folder)


def test_numbers_are_taken_by_making_the_folder(saved, tmp_path):
    home = tmp_path / "shots" / "Cam A"
    for name in ("take_002", "take_011", "take_x", "notes"):
        (home / name).mkdir(parents=True)
    assert takes().new_folder(bpy.data.filepath, "Cam A").name == "take_012"


NAMES = ["Cam A", "π 🎬", "caffè", "a/b\\c:d", "../../etc", "%d #### $(touch x) ;'\"", "-rf", "CON", ".hidden", "  ",
         "x" * 63, "né", "שלום", "new\nline", "é" * 60, "dot."]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_any_shot_name_makes_a_folder_and_comes_back(saved, tmp_path, name):
    folder = make(shot=name)
    assert folder.parent.parent == tmp_path / "shots"
    assert len(folder.parent.name.encode()) <= 90 and not folder.parent.name.startswith((".", "-", " "))
    strip = placed(saved, folder)
    assert takes().read(folder).shot == name
    assert strip.shotlock.shot == name
    assert takes().job_folder(strip) == folder


@pytest.mark.parametrize("name", ["späce é🎬", "quo'te\"s", "a;b$(x)%d#1", "שלום"])
def test_any_folder_of_the_file(tiny, tmp_path, name):
    (tmp_path / name).mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / name / "film.blend"))
    placed(bpy.context.scene, make())
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=bpy.data.filepath)
    strip = strips(bpy.context.scene)[0]
    assert takes().job_folder(strip) == tmp_path / name / "shots" / "Cam A" / "take_001"
    assert (Path(bpy.path.abspath(strip.directory)) / strip.elements[0].filename).is_file()


def test_properties_survive_save_and_reload(saved):
    settings = saved.shotlock
    settings.prompt, settings.negative_prompt, settings.seed = "brume 🎬 \"q\" \\n", "blur", 2**31 - 1
    settings.camera, settings.frame_start, settings.frame_end = saved.camera, -5, 3
    settings.width, settings.steps, settings.guidance, settings.control_strength = 320, 6, 2.5, 0.25
    placed(saved, make())
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=bpy.data.filepath)
    settings = bpy.context.scene.shotlock
    assert (settings.prompt, settings.negative_prompt, settings.seed) == ("brume 🎬 \"q\" \\n", "blur", 2**31 - 1)
    assert (settings.camera.name, settings.frame_start, settings.frame_end) == ("Cam A", -5, 3)
    assert not settings.use_scene_range
    assert (settings.width, settings.steps, settings.guidance, settings.control_strength) == (320, 6, 2.5, 0.25)
    made = strips(bpy.context.scene)[0].shotlock
    assert (made.prompt, made.seed, made.take) == ("rain, neon", 7, 1)


def test_one_end_of_the_range_brings_the_scenes_other_end(tiny):
    tiny.shotlock.frame_start = 3
    assert not tiny.shotlock.use_scene_range
    assert (tiny.shotlock.frame_start, tiny.shotlock.frame_end) == (3, 5)


def test_only_cameras_can_film(tiny):
    poll = type(tiny.shotlock).bl_rna.properties["camera"]
    assert poll.fixed_type.name == "Object"
    from shotlock.operators import properties

    assert properties._is_camera(tiny.shotlock, bpy.data.objects["Cam A"])
    assert not properties._is_camera(tiny.shotlock, bpy.data.objects["Box"])


def test_placing_is_one_undo_step_and_undo_keeps_the_take(saved):
    folder = make()
    bpy.ops.ed.undo_push(message="before")
    placed(saved, folder)
    assert len(strips(bpy.context.scene)) == 1
    bpy.ops.ed.undo()
    assert len(strips(bpy.context.scene)) == 0
    assert takes().read(folder).missing == ()
    bpy.ops.ed.redo()
    assert takes().job_folder(strips(bpy.context.scene)[0]) == folder


def test_a_missing_frame_is_flagged_and_keeps_its_place(saved):
    folder = make()
    (folder / "frames" / "000003.png").unlink()
    (folder / "frames" / "000004.png").write_bytes(b"")
    take = takes().read(folder)
    assert take.missing == (3, 4)
    takes().place(saved, take)
    assert ranges(saved) == [(1, 6)]
    assert "2 of 5 pictures are missing, the first at frame 3" in takes().warnings(saved, take)[0]


def test_another_frame_rate_is_said(saved):
    take = takes().read(make(fps=[24000, 1001]))
    saved.render.fps, saved.render.fps_base = 24, 1.001
    assert not [text for text in takes().warnings(saved, take) if "frames a second" in text]
    saved.render.fps_base = 1.0
    assert [text for text in takes().warnings(saved, take) if "23.976 frames a second" in text]


def test_what_is_no_take_is_refused(saved, tmp_path):
    with pytest.raises(takes().TakeError, match="no finished take"):
        takes().read(tmp_path)
    folder = make()
    (folder / "job.json").write_text("[")
    with pytest.raises(takes().TakeError, match="holds no take that can be read"):
        takes().read(folder)


BROKEN = {
    "cut short": lambda folder: (folder / "camera.npz").write_bytes((folder / "camera.npz").read_bytes()[:90]),
    "no zip": lambda folder: (folder / "camera.npz").write_bytes(b"PK\x03\x04 and no more"),
    "empty": lambda folder: (folder / "camera.npz").write_bytes(b""),
    "another array": lambda folder: np.savez(folder / "camera.npz", poses=np.zeros(3)),
    "one number": lambda folder: np.savez(folder / "camera.npz", frames=np.array(3)),
    "no frames": lambda folder: np.savez(folder / "camera.npz", frames=np.zeros(0, int)),
    "a list": lambda folder: (folder / "job.json").write_text("[]"),
    "no crop": lambda folder: (folder / "job.json").write_text('{"crop": null}'),
    "a prompt that is a number": lambda folder: job_with(folder, prompt=5),
    "a seed that is text": lambda folder: job_with(folder, seed="7"),
    "a rate of nothing": lambda folder: job_with(folder, fps=[24, 0]),
    "no settings at all": lambda folder: job_with(folder, crop=None, size=None),
}


def job_with(folder: Path, **values) -> None:
    """Its job.json, with other values."""
    path = folder / "job.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_take_of_a_model_that_is_gone_is_placed_and_remembers_its_name(saved):
    folder = make(model="later")
    assert placed(saved, folder).shotlock.model == "later"


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_take_is_refused_in_one_sentence(saved, kind):
    folder = make()
    BROKEN[kind](folder)
    with pytest.raises(takes().TakeError, match=r"holds no take that can be read: .") as refused:
        takes().read(folder)
    assert "\n" not in str(refused.value)


def test_save_as_relinks(saved, tmp_path):
    folder = make()
    placed(saved, folder)
    (tmp_path / "sub").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "sub" / "other.blend"))
    strip = strips(bpy.context.scene)[0]
    assert (strip.directory, strip.shotlock.job) == (
        "//../shots/Cam A/take_001/frames/", "//../shots/Cam A/take_001")
    bpy.ops.wm.open_mainfile(filepath=bpy.data.filepath)
    assert strips(bpy.context.scene)[0].shotlock.job == "//../shots/Cam A/take_001"


def test_a_failed_save_leaves_the_job_where_it_was(saved, tmp_path):
    folder = make()
    placed(saved, folder)
    shutil.rmtree(folder)                                      # even where no folder tells what it should be
    (tmp_path / "sub").write_text("in the way")
    with pytest.raises(RuntimeError):
        bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "sub" / "other.blend"))
    assert strips(saved)[0].shotlock.job == "//shots/Cam A/take_001"


def test_a_copy_leaves_the_open_file_alone_and_is_right_itself(saved, tmp_path, monkeypatch):
    placed(saved, make())
    (tmp_path / "sub").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "sub" / "copy.blend"), copy=True)
    assert strips(saved)[0].shotlock.job == "//shots/Cam A/take_001"
    monkeypatch.setattr(takes(), "relink", lambda: None)       # nothing is mended when the copy is opened
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "sub" / "copy.blend"))
    strip = strips(bpy.context.scene)[0]
    assert strip.shotlock.job == "//../shots/Cam A/take_001"
    assert takes().job_folder(strip) == tmp_path / "shots" / "Cam A" / "take_001"


def test_a_copy_leaves_strips_alone_whose_takes_are_away(saved, tmp_path):
    """An unmounted disk, a folder being moved: capturing another shot does not cost the link to these takes."""
    placed(saved, make())
    strip = strips(saved)[0]
    before = strip.shotlock.job, strip.directory
    (tmp_path / "shots").rename(tmp_path / "away")
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "sub" / "deep" / "copy.blend"), copy=True)
    assert (strip.shotlock.job, strip.directory) == before
    (tmp_path / "away").rename(tmp_path / "shots")
    assert takes().job_folder(strip).is_dir()


def test_a_project_that_moved_as_a_whole(saved, tmp_path):
    placed(saved, make())
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    new = tmp_path.parent / (tmp_path.name + " moved")
    shutil.move(tmp_path, new)
    bpy.ops.wm.open_mainfile(filepath=str(new / "film.blend"))
    assert takes().job_folder(strips(bpy.context.scene)[0]) == new / "shots" / "Cam A" / "take_001"


def test_an_unsaved_files_takes_outlive_the_add_on_and_move_home(tiny, tmp_path):
    from shotlock.operators import folders

    folder = make()
    assert folders.is_inside(folder, folders.unsaved_folder())
    assert not folders.is_inside(folder, Path(bpy.utils.user_resource("EXTENSIONS")))
    placed(tiny, folder)
    assert not bpy.ops.shotlock.move_takes.poll()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "film.blend"))
    scene = bpy.context.scene
    assert takes().homeless() == [folder] and takes().job_folder(strips(scene)[0]) == folder
    old_save = tmp_path / "old.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(old_save), copy=True)
    assert bpy.ops.shotlock.move_takes() == {"FINISHED"}
    strip = strips(bpy.context.scene)[0]
    assert strip.directory == "//shots/Cam A/take_001/frames/" and strip.shotlock.job == "//shots/Cam A/take_001"
    assert len(list((tmp_path / "shots/Cam A/take_001/frames").iterdir())) == 5 and not folder.exists()
    assert takes().homeless() == []
    bpy.ops.wm.open_mainfile(filepath=str(old_save))           # saved before the move: the strip finds its take
    assert takes().job_folder(strips(bpy.context.scene)[0]) == tmp_path / "shots/Cam A/take_001"


def test_undone_or_redone_a_move_leaves_strips_with_their_takes(tiny, tmp_path):
    """Undo does not move folders back: strips are told where theirs is."""
    placed(tiny, make())
    home = tmp_path / "shots" / "Cam A" / "take_001"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "film.blend"))
    bpy.ops.ed.undo_push(message="before")
    before = strips(bpy.context.scene)[0].directory
    assert bpy.ops.shotlock.move_takes() == {"FINISHED"}
    for step in (bpy.ops.ed.undo, bpy.ops.ed.redo):
        step()
        strip = strips(bpy.context.scene)[0]
        assert strip.directory == "//shots/Cam A/take_001/frames/" != before
        assert takes().job_folder(strip) == home and takes().read(home).missing == ()


def test_a_take_that_moves_where_its_number_is_taken_is_called_after_the_new_one(tiny, tmp_path):
    strip = placed(tiny, make())
    strip.name = "My " + strip.name
    (tmp_path / "shots" / "Cam A" / "take_001").mkdir(parents=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "film.blend"))
    assert bpy.ops.shotlock.move_takes() == {"FINISHED"}
    strip = strips(bpy.context.scene)[0]
    assert strip.shotlock.job == "//shots/Cam A/take_002"
    assert (strip.shotlock.take, strip.name) == (2, "My Cam A take 2")


def test_a_read_only_folder_is_refused_without_another_place(saved, tmp_path):
    (tmp_path / "shots").write_text("in the way")              # root may write anywhere: a file stands in for it
    before = set(Path(os.environ["XDG_DATA_HOME"]).rglob("*"))
    with pytest.raises(takes().TakeError, match=r"cannot be written to .*shots.*choose another one"):
        takes().new_folder(bpy.data.filepath, "Cam A")
    assert set(Path(os.environ["XDG_DATA_HOME"]).rglob("*")) == before


def test_discarding_leaves_nothing_unless_there_are_frames(saved, tmp_path):
    empty, full = takes().new_folder(bpy.data.filepath, "Empty"), make()
    takes().discard(empty)
    takes().discard(full)
    assert not empty.parent.exists() and full.is_dir()


def test_redo_gives_the_settings_back(saved):
    placed(saved, make())
    saved.shotlock.prompt, saved.shotlock.seed = "something else", 99
    assert bpy.ops.shotlock.redo() == {"FINISHED"}
    settings = saved.shotlock
    assert (settings.prompt, settings.seed, settings.steps, settings.guidance) == ("rain, neon", 7, 3, 1.5)
    assert (settings.width, settings.use_scene_range) == (320, True)    # the scene's own range gives the same
    placed(saved, make(frames=range(-3, 2)))
    bpy.ops.shotlock.redo()
    assert (settings.frame_start, settings.frame_end, settings.use_scene_range) == (-3, 1, False)


def test_place_take_operator(saved, tmp_path):
    folder = make()
    assert bpy.ops.shotlock.place_take(directory=str(folder)) == {"FINISHED"}
    assert ranges(saved) == [(1, 6)]
    with pytest.raises(RuntimeError, match="no finished take"):
        bpy.ops.shotlock.place_take(directory=str(tmp_path))


def chosen_in(operator, **values):
    """What Blender's file browser is opened with: the operator, as its invoke leaves it, and how that ended. Without a
    window Blender opens none and goes on to execute, so invoke is called as the menu has it called."""
    opened, made = [], SimpleNamespace(directory="", **values)
    made.execute = lambda context: pytest.fail("found execute, expected the file browser")
    where = SimpleNamespace(window_manager=SimpleNamespace(fileselect_add=opened.append))
    assert operator.invoke(made, where, None) == {"RUNNING_MODAL"} and opened == [made]
    return made


def test_the_menu_opens_the_file_browser_where_the_takes_are_and_it_shows_folders(saved, tmp_path):
    from shotlock.operators import strips
    from shotlock.panels import take

    said, layout = [], SimpleNamespace()
    layout.operator = lambda name, **_: said.append((name, layout.operator_context))
    take.draw_add(SimpleNamespace(layout=layout), None)
    assert said == [("shotlock.place_take", "INVOKE_DEFAULT")]
    operator = strips.SHOTLOCK_OT_place_take
    assert chosen_in(operator).directory == "", "there are no takes: where Blender's browser was last"
    folder = make()
    home = chosen_in(operator).directory
    assert Path(home) == tmp_path / "shots" and home.endswith(os.sep)
    asked = set(bpy.ops.shotlock.place_take.get_rna_type().properties.keys()) - {"rna_type"}
    assert asked == {"directory"}, "of an operator that takes no file Blender's browser shows folders alone"
    assert bpy.ops.shotlock.place_take("INVOKE_DEFAULT", directory=str(folder)) == {"FINISHED"}
    assert ranges(saved) == [(1, 6)]


def test_pictures_are_chosen_among_pictures(saved):
    from shotlock.operators import told

    for operator in (told.SHOTLOCK_OT_know_picture, told.SHOTLOCK_OT_add_reference):
        chosen_in(operator)
        rna = getattr(bpy.ops.shotlock, operator.bl_idname.split(".")[1]).get_rna_type()
        assert rna.properties["filter_glob"].default == told.PICTURES and "filepath" in rna.properties


def test_the_sequencer_shows_the_scene(saved):
    placed(saved, make())
    for workspace in bpy.data.workspaces:
        if hasattr(workspace, "sequencer_scene"):
            assert workspace.sequencer_scene is not None


# Colours

CHECKER = [
    (115, 82, 68), (194, 150, 130), (98, 122, 157), (87, 108, 67), (133, 128, 177), (103, 189, 170), (214, 126, 44),
    (80, 91, 166), (193, 90, 99), (94, 60, 108), (157, 188, 64), (224, 163, 46), (56, 61, 150), (70, 148, 73),
    (175, 54, 60), (231, 199, 31), (187, 86, 149), (8, 133, 161), (243, 243, 242), (200, 200, 200), (160, 160, 160),
    (122, 122, 121), (85, 85, 85), (52, 52, 52),
]
GREYS = [(g, g, g) for g in (0, 8, 16, 32, 64, 96, 128, 160, 192, 224, 240, 255)]
CORNERS = list(itertools.product((0, 255), repeat=3))
CELL = 8


def lab(colour):
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    xyz = linear @ np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                             [0.0193339, 0.1191920, 0.9503041]]).T / np.array([0.95047, 1, 1.08883])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)


def round_trip(scene, colours, tmp_path) -> np.ndarray:
    """The chart as a take, placed, rendered by Blender's own sequencer: CIE76 distance of every colour."""
    wanted = np.array(colours, np.float64) / 255
    chart = np.repeat(np.broadcast_to(wanted, (CELL, len(wanted), 3)), CELL, 1)
    render = scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = CELL * len(wanted), CELL, 100
    placed(scene, make(frames=range(1, 2), pixels=chart))
    render.dither_intensity, render.filepath = 0.0, str(tmp_path / "chart.png")
    if hasattr(render.image_settings, "media_type"):
        render.image_settings.media_type = "IMAGE"
    render.image_settings.file_format, render.image_settings.color_depth = "PNG", "16"
    scene.frame_set(1)
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(render.filepath)
    image.colorspace_settings.name = "Non-Color"
    pixels = np.empty(CELL * CELL * len(wanted) * 4, np.float32)
    image.pixels.foreach_get(pixels)
    seen = pixels.reshape(CELL, -1, 4)[CELL // 2, CELL // 2 :: CELL, :3]
    return np.linalg.norm(lab(seen.astype(np.float64)) - lab(wanted), axis=1)


@pytest.mark.parametrize("view", ["Standard", "Filmic", "Filmic Log"])
def test_colours_come_back_as_generated(saved, tmp_path, view):
    from shotlock.operators import colours

    saved.view_settings.view_transform = view
    assert round_trip(saved, CHECKER + GREYS, tmp_path).max() < 1
    assert colours.complaint(saved) == "" and saved.view_settings.view_transform == view


def test_pure_primaries_come_back_in_standard(saved, tmp_path):
    saved.view_settings.view_transform = "Standard"
    assert round_trip(saved, CORNERS, tmp_path).max() < 1


def test_agx_cannot_and_says_so_and_asks(saved, tmp_path):
    from shotlock.operators import colours

    saved.view_settings.view_transform = "AgX"
    assert round_trip(saved, GREYS, tmp_path).max() < 1
    assert round_trip(saved, CHECKER, tmp_path).max() > 1
    assert "AgX dulls the strong colours" in colours.complaint(saved)
    assert saved.view_settings.view_transform == "AgX"         # never changed unasked
    bpy.ops.shotlock.show_as_generated()
    assert colours.complaint(saved) == "" and saved.view_settings.view_transform == "Standard"
    assert {strip.colorspace_settings.name for strip in strips(saved)} == {"sRGB"}
    assert round_trip(saved, CHECKER, tmp_path).max() < 1


def test_an_adjusted_view_is_told(saved):
    from shotlock.operators import colours

    saved.view_settings.view_transform = "Standard"
    saved.view_settings.exposure, saved.view_settings.gamma = 1.0, 1.2
    assert "(exposure, gamma)" in colours.complaint(saved)


def test_a_changed_view_is_matched_on_request(saved):
    saved.view_settings.view_transform = "Standard"
    strip = placed(saved, make())
    saved.view_settings.view_transform = "Filmic"
    assert strip.colorspace_settings.name == "sRGB"
    bpy.ops.shotlock.match_view()
    assert strip.colorspace_settings.name == "Filmic sRGB"
