"""Take → strip: reads a finished take's folder and places, finds again, moves and forgets the strips that show it.

The folder is the truth and the strip is a view of it: no strip that is lost takes a frame with it. Nothing here knows
how frames are made, nor whether an engine runs.
"""

import contextlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from bpy.app.translations import pgettext_rpt as rpt_

from ..engine import job as jobs
from . import colours, compat, folders, memory, properties

MOST_CHANNELS = 128
MOST_FRAMES = 1_048_574             # Blender's own last frame
NAME = "shot.txt"
"""In the shot's folder: its name as the artist wrote it."""

LEFT_BEHIND = ".moved"
"""A note beside where a take was: strips of an older save, or of an undone step, find it by that."""


class TakeError(Exception):
    """A take that cannot be placed; the message is for the artist."""


@dataclass(frozen=True)
class Take:
    """A finished take, as its folder tells it."""

    folder: Path
    shot: str
    number: int
    frames: tuple[int, ...]         # scene frame numbers
    last: int                       # where the shot's range ends: a frame step may pass over it
    files: tuple[str, ...]          # one per frame, whether or not it is there
    missing: tuple[int, ...]        # scene frame numbers whose picture is not there
    settings: dict[str, Any]
    fps: tuple[int, int]
    width: int                      # of the pictures, pixels
    known: tuple[tuple[int, str], ...] = ()     # scene frame, path of the picture that it was told
    references: tuple[str, ...] = ()
    loras: tuple[tuple[str, float], ...] = ()

    @property
    def after(self) -> int:
        """The scene frame after the shot's last one."""
        return self.last + 1

    def held(self) -> list[str]:
        """A picture for every scene frame: each stands until the next one, the last until the range ends."""
        ends = (*self.frames[1:], self.after)
        return [file for file, begin, end in zip(self.files, self.frames, ends) for _ in range(begin, end)]

    @property
    def name(self) -> str:
        return take_name(self.shot, self.number)


def take_name(shot: str, number: int) -> str:
    return f"{shot} take {number}"


# Reading

def read(folder: Path) -> Take:
    """The take in that folder. Raises TakeError where it is not finished or cannot be read."""
    if not (folder / "frames").is_dir():
        raise TakeError(rpt_("{} holds no finished take: its frames folder is missing").format(folder))
    try:
        job = jobs.parse(folder, jobs.load_json(folder / "job.json"))
        with np.load(folder / "camera.npz", allow_pickle=False) as camera:
            frames = tuple(int(frame) for frame in camera["frames"])
        return _take(job, frames)
    except Exception as error:      # files can be broken in every way: cut short, no zip, another shape
        why = str(error) or type(error).__name__
        raise TakeError(rpt_("{} holds no take that can be read: {}").format(folder, why)) from error


def _take(job: jobs.Job, frames: tuple[int, ...]) -> Take:
    folder = job.folder
    if not frames:
        raise ValueError("its camera has no frames")
    last = _range_end(frames) if job.last_frame is None else job.last_frame
    if any(after <= frame for frame, after in itertools.pairwise((*frames, last + 1))):
        raise ValueError(f"its frames do not rise to the last one, {last}")
    if last - frames[0] > MOST_FRAMES:
        raise ValueError(f"it goes from frame {frames[0]} to {last}, which no sequencer holds")
    files = tuple(f"{index:06d}.png" for index in range(1, len(frames) + 1))
    missing = tuple(f for f, file in zip(frames, files) if not _holds_something(folder / "frames" / file))
    speed = properties.speed_settings(job.speed)
    own = [name for name in properties.SETTINGS if name not in (*properties.SPEED, "use_speed", "use_recipe")]
    meant = {name: getattr(job, name) for name in own} | speed
    settings = {name: value for name, value in meant.items() if value is not None}
    settings["use_recipe"] = job.steps is None and job.guidance is None and job.shift is None
    return Take(
        folder=folder, shot=shot_name(folder), number=folders.take_number(folder), frames=frames, last=last,
        files=files, missing=missing, settings=settings, fps=job.fps, width=job.crop[2],
        known=tuple((frames[k["frame"]], str(folder / k["picture"])) for k in job.known if k["frame"] < len(frames)),
        references=tuple(str(folder / path) for path in job.references),
        loras=tuple((lora["name"], float(lora.get("strength", 1.0))) for lora in job.loras),
    )


def _range_end(frames: tuple[int, ...]) -> int:
    """Of a job that does not tell it: the last picture stands as long as the one before."""
    return frames[-1] + (frames[-1] - frames[-2] if len(frames) > 1 else 1) - 1


def _holds_something(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except OSError:
        return False


def shot_name(folder: Path) -> str:
    """The shot's name as the artist wrote it, which its folder's name may only resemble."""
    try:
        return (folder.parent / NAME).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return folder.parent.name


def report(folder: Path) -> dict[str, Any]:
    """What the engine measured on its own frames; empty where it did not."""
    try:
        value = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def engine_warnings(report: dict[str, Any]) -> list[str]:
    """What was asked of the engine and could not be given, in its words."""
    said = report.get("warnings")
    return [sentence for sentence in said if isinstance(sentence, str)] if isinstance(said, list) else []


@dataclass(frozen=True)
class Seen:
    """What a panel says about the take of a strip."""

    folder: Path
    is_there: bool
    report: dict[str, Any]


def seen(strip: Any) -> Seen:
    """For panels: the disk is asked now and then, not at every redraw."""
    return memory.look(("take", *_names(strip)), lambda: _see(job_folder(strip)))


def _see(folder: Path) -> Seen:
    return Seen(folder, (folder / "frames").is_dir(), report(folder))


def _names(strip: Any) -> tuple[str, str, str]:
    """What `job_folder` follows from, but for the disk."""
    return bpy.data.filepath, strip.directory, strip.shotlock.job


def has_homeless(stopped: tuple[Path, ...] = ()) -> bool:
    """Whether this saved file has takes outside its folder; for panels, as `seen`."""
    if not bpy.data.filepath:
        return False
    names = tuple(_names(strip) for _scene, strip in strips_of_takes())
    key = ("homeless", names, stopped)
    return bool(names or stopped) and memory.look(key, lambda: bool(homeless(stopped)))


# Stopped: captured, and without frames

def stopped(blend: str, shot: str) -> tuple[Path, ...]:
    """The shot's takes that can be gone on with, the newest first."""
    found = (take for shots in shots_folders(blend) for take in _numbered(shots, shot))
    return tuple(take for take in found if is_stopped(take) and not jobs.is_held(take))


def _numbered(shots: Path, shot: str) -> list[Path]:
    """The shot's takes, finished or not, the newest first."""
    try:
        entries = list((shots / folders.folder_name(shot)).iterdir())
    except OSError:
        return []
    return sorted(filter(folders.take_number, entries), key=folders.take_number, reverse=True)


def is_stopped(folder: Path) -> bool:
    """Whether the engine has all that it needs to make frames that are not there."""
    return not is_finished(folder) and is_captured(folder)


def is_finished(folder: Path) -> bool:
    """Its frames are there and measured; until they are, the engine's record lies beside them."""
    measured = (folder / "report.json").is_file() or not (folder / "state" / "progress.json").is_file()
    return (folder / "frames").is_dir() and measured


def is_captured(folder: Path) -> bool:
    """Whether the capture ended well: job.json is what it writes last, and nothing may be missing since."""
    if not (folder / "job.json").is_file():
        return False
    try:
        job = jobs.parse(folder, jobs.load_json(folder / "job.json"))
        count = jobs.frame_count(job)
        for name in set(job.passes) & set(jobs.PASSES):
            jobs.check_pass(job, name, count)
    except (jobs.BadJob, OSError):
        return False
    return True


def captured_warnings(folder: Path) -> list[str]:
    """What the capture had to say, which a Blender that was not there could not hear."""
    try:
        said = jobs.load_json(folder / "job.json").get("scene", {}).get("warnings", [])
    except (jobs.BadJob, OSError, AttributeError):
        return []
    return [sentence for sentence in said if isinstance(sentence, str)] if isinstance(said, list) else []


# Making room

def shots_folder(blend: str) -> Path:
    """Where that file's new takes go; the preferences may name another place."""
    return folders.shots_folder(blend, _chosen())


def shots_folders(blend: str) -> list[Path]:
    """And wherever else its takes may lie."""
    return folders.shots_folders(blend, _chosen())


def _chosen() -> str:
    chosen = properties.preferences()
    return bpy.path.abspath(chosen.takes_folder) if chosen else ""


def new_folder(blend: str, shot: str) -> Path:
    """An empty folder for the shot's next take. Raises TakeError where it can't be written; no other place is tried."""
    base = shots_folder(blend)
    try:
        folder = folders.new_take(base, shot)
        (folder.parent / NAME).write_text(shot, encoding="utf-8")
    except OSError as error:
        raise TakeError(
            rpt_("Takes cannot be written to {} ({}): make the folder writable, or choose another one in the "
                 "preferences").format(base, error.strerror or error)
        ) from error
    return folder


# Placing

def place(scene: bpy.types.Scene, take: Take) -> Any:
    """An image strip of exactly the shot's length, above whatever is there. One named undo step."""
    start = take.frames[0]
    strip = compat.add_image_strip(scene, take.name, _pictures(take), free_channel(scene, start, take.after), start)
    colours.apply(strip, scene)
    _remember(strip, take)
    compat.select_only(scene, strip)
    compat.show_in_sequencer(scene)
    compat.push_undo(f"Place {take.name}")
    return strip


def _pictures(take: Take) -> list[str]:
    """The first one with its folder."""
    held = take.held()
    return [relative(take.folder / "frames" / held[0]), *held[1:]]


def _remember(strip: Any, take: Take) -> None:
    made = strip.shotlock
    for name, value in take.settings.items():
        setattr(made, name, value)
    made.job = relative(take.folder)
    made.shot, made.take = take.shot, take.number


def free_channel(scene: bpy.types.Scene, start: int, end: int) -> int:
    """The lowest channel above every strip of that range, so that the newest take is seen; else one that is free."""
    taken = {strip.channel for strip in compat.strips(scene) if _overlaps(strip, start, end)}
    above = max(taken, default=0) + 1
    if above <= MOST_CHANNELS:
        return above
    free = next((channel for channel in range(1, MOST_CHANNELS + 1) if channel not in taken), None)
    if free is None:
        raise TakeError(rpt_("All {} channels are taken from frame {} to {}: remove a strip there")
                        .format(MOST_CHANNELS, start, end - 1))
    return free


def _overlaps(strip: Any, start: int, end: int) -> bool:
    first, after = compat.strip_range(strip)
    return first < end and start < after


def relative(path: Path) -> str:
    """Relative to the .blend where there is one (on another drive there is no such path)."""
    if not bpy.data.filepath:
        return str(path)
    try:
        return bpy.path.relpath(str(path))
    except ValueError:
        return str(path)


def warnings(scene: bpy.types.Scene, take: Take) -> list[str]:
    """What the artist should know about this take in this scene."""
    found = []
    if take.missing:
        found.append(rpt_("{} of {} pictures are missing, the first at frame {}: generate the take again")
                     .format(len(take.missing), len(take.frames), take.missing[0]))
    if abs(scene.render.fps / scene.render.fps_base - take.fps[0] / take.fps[1]) > 1e-3:
        found.append(rpt_("The take was made for {:g} frames a second, the scene has {:g}: its motion plays at another "
                          "speed").format(take.fps[0] / take.fps[1], scene.render.fps / scene.render.fps_base))
    return found


# Finding again

def is_take(strip: Any) -> bool:
    return strip is not None and strip.type == "IMAGE" and bool(strip.shotlock.job)


def strips_of_takes() -> Iterator[tuple[bpy.types.Scene, Any]]:
    for scene in bpy.data.scenes:
        for strip in strips_in(scene):
            yield scene, strip


def strips_in(scene: bpy.types.Scene) -> list[Any]:
    return [strip for strip in compat.all_strips(scene) if is_take(strip)]


def strip_of(scene: bpy.types.Scene, shot: str, number: int) -> Any | None:
    """The topmost strip of that scene that shows the take, by what strips remember: the disk is not asked."""
    shown = [strip for strip in compat.strips(scene)
             if is_take(strip) and (strip.shotlock.shot, strip.shotlock.take) == (shot, number)]
    return max(shown, key=lambda strip: strip.channel, default=None)


def is_shown(scene: bpy.types.Scene, shot: str, number: int) -> bool:
    """Whether any strip of that scene shows the take, inside meta strips too."""
    return any((strip.shotlock.shot, strip.shotlock.take) == (shot, number) for strip in strips_in(scene))


def job_folder(strip: Any) -> Path:
    """The take's folder: where the strip's pictures are, which Blender keeps right; else what was remembered."""
    shown = Path(os.path.normpath(bpy.path.abspath(strip.directory)))
    return shown.parent if shown.is_dir() else Path(os.path.normpath(bpy.path.abspath(strip.shotlock.job)))


def relink() -> None:
    """After opening, saving elsewhere, moving and undo: strip and job name the same folder again, if it is found."""
    for _scene, strip in strips_of_takes():
        folder = _moved_to(job_folder(strip))
        if not folder.is_dir():
            continue
        _set_if_other(strip, "directory", relative(folder / "frames") + os.sep)
        _set_if_other(strip.shotlock, "job", relative(folder))


def _set_if_other(owner: Any, name: str, value: str) -> None:
    """Only a real change is written: Blender notices every assignment."""
    old = getattr(owner, name)
    if os.path.normpath(bpy.path.abspath(old)) != os.path.normpath(bpy.path.abspath(value)) or (
        old.startswith("//") != value.startswith("//")
    ):
        setattr(owner, name, value)


def rebase(target: str) -> None:
    """Before a file is saved elsewhere: the jobs that go into it are relative to where it will lie."""
    for _scene, strip in strips_of_takes():
        folder = job_folder(strip)
        try:
            strip.shotlock.job = bpy.path.relpath(str(folder), start=str(Path(target).parent))
        except ValueError:
            strip.shotlock.job = str(folder)


# Moving: takes of a file that had no place yet

def homeless(stopped: Iterable[Path] = ()) -> list[Path]:
    """Takes of this file's strips, and those that were stopped, that still lie in the folder for unsaved files."""
    found = {job_folder(strip) for _scene, strip in strips_of_takes() if (job_folder(strip) / "frames").is_dir()}
    home = folders.unsaved_folder()
    return sorted(folder for folder in found | set(stopped) if folders.is_inside(folder, home))


def move_home(stopped: Iterable[Path] = ()) -> dict[Path, Path]:
    """Moves them beside the .blend and relinks their strips: old place → new. One is copied whole before it goes."""
    moved = {old: _move(old, new_folder(bpy.data.filepath, shot_name(old))) for old in homeless(stopped)}
    relink()
    _renumber(set(moved.values()))
    memory.forget()
    return moved


def _renumber(folders_of_takes: set[Path]) -> None:
    """Beside the file a take may have found its number taken: its strips are called after the new one."""
    for _scene, strip in strips_of_takes():
        folder, made = job_folder(strip), strip.shotlock
        if folder in folders_of_takes and made.take != folders.take_number(folder):
            old, made.take = take_name(made.shot, made.take), folders.take_number(folder)
            strip.name = strip.name.replace(old, take_name(made.shot, made.take))


def _move(old: Path, new: Path) -> Path:
    new.rmdir()
    try:
        os.rename(old, new)
    except OSError:                                     # another disk
        part = new.with_name(new.name + ".part")
        shutil.copytree(old, part)
        os.rename(part, new)
        shutil.rmtree(old)
    old.with_name(old.name + LEFT_BEHIND).write_text(str(new), encoding="utf-8")
    return new


def _moved_to(folder: Path) -> Path:
    if folder.is_dir():
        return folder
    try:
        return Path(folder.with_name(folder.name + LEFT_BEHIND).read_text(encoding="utf-8"))
    except OSError:
        return folder


# Tidying

def forget_passes(folder: Path) -> None:
    """The passes are gigabytes for long shots; frames, cameras and job stay."""
    shutil.rmtree(folder / "passes", ignore_errors=True)


def leave(folder: Path) -> None:
    """After a cancel: a capture, which may be minutes of work, can be gone on from; less than that is nothing."""
    if is_captured(folder):
        jobs.remove_parts(folder)
    else:
        discard(folder)


def remove(folder: Path) -> None:
    """A stopped take that the artist does not want. Raises TakeError where another engine is at work on it."""
    try:
        with jobs.hold(folder) if folder.is_dir() else contextlib.nullcontext():
            pass
    except (jobs.BadJob, OSError) as error:
        raise TakeError(rpt_("The take at {} cannot be removed: {}").format(folder, error)) from error
    if (folder / "frames").is_dir():
        shutil.rmtree(folder / "state", ignore_errors=True)
    discard(folder)


def clear(blend: str, shot: str, is_forsaken: Callable[[Path], bool]) -> None:
    """Removes what came to nothing of that shot, in this Blender or in one that was killed, unless one that lives is at
    work on it."""
    for entry in (take for shots in shots_folders(blend) for take in _numbered(shots, shot)):
        if is_forsaken(entry):
            with contextlib.suppress(TakeError):
                remove(entry)


def discard(folder: Path) -> None:
    """A take that came to nothing leaves nothing, not even its number. One with frames is never touched."""
    if (folder / "frames").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    home = folder.parent
    with contextlib.suppress(OSError):
        if [entry.name for entry in home.iterdir()] == [NAME]:
            (home / NAME).unlink()
            home.rmdir()

