"""One job, from text to frames:  text → conditions → noise → sample → decode → frames.

Reads top to bottom. Knows the job folder and the models; knows nothing of Blender, of pipes or of who asked.
A job that was cut off goes on from its last step; its frames are the same bytes as those of a job that was not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import torch
from torch import Tensor

from . import conditions, job, smooth, windows
from .diffusion import sampler, schedule
from .enlarge import enlarge
from .geometry import anchors, patterns, reproject
from .geometry.noise import surface_noise
from .models import shading, text
from .models.lite import Lite, LiteConfig, Sample
from .prompt import things, words
from .shot import (
    Shadows,
    Shot,
    azimuth,
    bounce,
    lamps,
    maps,
    open_shot,
    own_light,
    rays,
    shadows,
    sun_facts,
    thinned,
)
from .state import State
from .weights import machine, store

Say = Callable[[dict[str, Any]], None]
Stop = Callable[[], bool]

LITE = "lite"  # the one family there is; its weights are bundled
PREVIEW = 256  # pixels wide
CACHE_SOURCES = 3  # known frames that a window looks back on
MOST_TOLD = 8  # words of a prompt that were not understood
LOWEST_SUN = 0.06  # radians: below, shadows have no end
MIRRORS = 0.4  # mean gloss of a thing that is of metal or glass
PLAIN = "a photo"  # what guidance pulls away from where there is no negative prompt


@dataclass
class Run:
    """What a job needs at hand while it runs."""

    shot: Shot  # as it is sampled
    model: Lite
    at: machine.Machine
    state: State
    say: Say
    stop: Stop
    weights: str = ""  # their fingerprint
    full: Shot | None = None  # as it was captured, where that is larger
    began: float = field(default_factory=time.monotonic)
    spent: dict[str, float] = field(default_factory=dict)

    def tick(self) -> None:
        tick(self.stop)

    def phase(self, name: str, step: int = 0, steps: int = 0, eta: float | None = None) -> None:
        self.tick()
        self.say({"phase": name, "step": step, "steps": steps, "eta": eta})


@dataclass(frozen=True)
class Prompt:
    """The text, read once a shot: what the network sees of it and the look that follows."""

    tokens: tuple[Tensor, Tensor]
    avoided: tuple[Tensor, Tensor]
    look: shading.Look
    azimuth: Tensor
    toward: Tensor  # (3,) to the sun
    paint: patterns.Paint  # the material and the hand that it asks for
    own: list[tuple[Tensor, patterns.Paint]]  # of things that it speaks of: indices of objects, their material


def generate(folder: Path, say: Say, stop: Stop, weights: Path = store.BUNDLED) -> dict[str, Any]:
    """Makes a job folder's frames; returns its report. Raises BadJob, BadWeights, Cancelled, DiskFull."""
    run = begin(Path(folder), say, stop, weights)
    if not is_made(run):
        with torch.inference_mode():
            make(run)
    return finish(run)


def make(run: Run) -> None:
    """All frames, window by window, into `frames.part`, which then takes its final name."""
    prompt = timed(run, "text", read_prompt)
    shadow = timed(run, "conditions", cast_shadows, prompt)
    plan = windows.plan(run.shot.frames, list(run.shot.job.cuts), windows.length(*run.shot.size))
    timed(run, "sample", sample_keyframes, prompt, shadow, plan)
    for number in range(len(plan)):
        timed(run, "sample", sample_window, prompt, shadow, plan, number)
        timed(run, "decode", write_frames, prompt, shadow, plan, number)
    name_frames(run)


def timed(run: Run, phase: str, work: Callable, *arguments: Any) -> Any:
    began = time.monotonic()
    result = work(run, *arguments)
    run.spent[phase] = run.spent.get(phase, 0.0) + time.monotonic() - began
    return result


def load_model(weights: Path = store.BUNDLED) -> Lite:
    """The model whose weights lie in a folder, ready to sample."""
    config = store.config(weights, LITE)
    model = Lite(LiteConfig(**{k: v for k, v in config.items() if k in LiteConfig.__dataclass_fields__}))
    store.fill(model, store.load(weights, LITE), LITE)
    return model.eval()


def begin(folder: Path, say: Say, stop: Stop, weights: Path) -> Run:
    """Opens the job and loads its model; between two steps of it the job can be stopped."""
    tick(stop)
    say({"phase": "text", "step": 0, "steps": 0, "eta": None})
    shot = open_shot(folder)
    if shot.job.model not in job.MODELS:
        known = ", ".join(job.MODELS)
        raise job.BadJob(f"the model {shot.job.model!r} is not installed; expected {known}; choose it in the panel")
    began = time.monotonic()
    tick(stop)
    model = load_model(weights)
    tick(stop)
    state = State(shot.job, fingerprint := store.fingerprint(weights, LITE))
    at = machine.choose(state.facts.get("machine"))
    torch.set_num_threads(at.threads)
    precision = str(at.dtype).removeprefix("torch.")
    state.note(machine={"device": at.device, "precision": precision, "threads": at.threads, "why": at.why})
    small = thinned(shot, windows.sampled_size(*shot.size))
    run = Run(small, model, at, state, say, stop, fingerprint, None if small is shot else shot)
    run.spent["load"] = time.monotonic() - began
    return run


def tick(stop: Stop) -> None:
    if stop():
        raise job.Cancelled


# ---------------------------------------------------------------- text


def read_prompt(run: Run) -> Prompt:
    """Text tokens and the shot's look: one for all windows, so that the light of minute two is that of minute one."""
    run.phase("text")
    shot, j = run.shot, run.shot.job
    sun = sun_facts(shot)
    said, prompt = things.things(j.prompt, j.objects)
    told = words.tells_light(prompt)
    some = sorted({0, shot.frames // 2, shot.frames - 1})
    facts = maps(shot, some, None, None, torch.float32, run.tick)
    statistics = conditions.statistics(facts, None if told or sun is None else sun[1], bool(lamps(shot)))[None]
    raw, tokens, pooled, _ = run.model.look(text.encode([words.as_taught(prompt)]), statistics)
    avoided = text.encode([words.as_taught(j.negative_prompt or PLAIN)])
    raw_un, tokens_un, pooled_un, _ = run.model.look(avoided, statistics)
    if j.guidance != 1:
        raw = sampler.guide(raw, raw_un, j.guidance)
    raw = shading.only_named(raw, prompt)
    look = shading.with_sky(shading.unpack(raw), torch.tensor([1.0 + j.seed % 97]))
    look = shading.in_place(look, facts[None])
    if not told:  # what the prompt leaves open the scene knows
        look |= own_light(shot, look)
    angle = torch.full((1, 1, 1, 1, 1), azimuth(shot))
    toward = shading.sun_direction(look["height"].clamp_min(LOWEST_SUN), angle).flatten()
    own = [shading.of_its_own(t.material, t.dye, t.glows, mirrors(facts, shot, some, t)) for t in said]
    look |= {f"own_{name}": torch.cat([row[name] for row in own]) for name in own[0]} if own else {}
    paints = [shading.paint({**look, **{k: v[:, None, :, None, None] for k, v in row.items()}}) for row in own]
    laid = [(torch.tensor(sorted(t.objects)), replace(p, lines=False)) for t, p in zip(said, paints, strict=True)]
    return Prompt((tokens, pooled), (tokens_un, pooled_un), look, angle, toward, shading.paint(look), laid)


def mirrors(facts: Tensor, shot: Shot, frames: list[int], thing: things.Thing) -> bool:
    """Whether a thing is of metal or glass all over: else what it has of both shows through what it is given."""
    at = torch.isin(shot.index(frames), torch.tensor(sorted(thing.objects)))
    gloss = facts[:, conditions.SLICE["gloss"].start][at]
    return bool(len(gloss)) and float(gloss.mean()) > MIRRORS


def cast_shadows(run: Run, prompt: Prompt) -> Shadows:
    """Shadows, and what follows for the look: the sun's height, which is that of the sun that Blender saw from, and
    what lit surfaces throw back."""
    run.phase("conditions")
    found = shadows(run.shot, prompt.toward, run.tick)
    prompt.look["height"] = found.toward[2].asin().view(1, 1, 1, 1, 1)
    thrown_back = bounce(run.shot, found, prompt.look, run.tick)
    if thrown_back is not None:
        prompt.look["ground_light"] = thrown_back
    return found


# ---------------------------------------------------------------- conditions and noise


def window_maps(run: Run, prompt: Prompt, shadow: Shadows, frames: list[int]) -> Tensor:
    """Conditions (f, C, H, W) of the sampled frames, weakened as the artist asked."""
    return weakened(run, maps(run.shot, frames, shadow, prompt.paint, torch.float16, run.tick, prompt.own))


def weakened(run: Run, out: Tensor) -> Tensor:
    strength = run.shot.job.control_strength
    if strength < 1:
        out[:, conditions.SLICE["has_base"]] *= strength
    return out


def window_noise(run: Run, frames: list[int]) -> Tensor:
    """Noise (f, 3, H, W) that sticks to surfaces; a frame has the same noise in every window that holds it."""
    shot = run.shot
    out = []
    for f in frames:
        depth = shot.depth([f])
        footprint = anchors.footprint(depth, shot.K[[f]])
        out.append(
            surface_noise(
                shot.anchors([f]), footprint, ~torch.isfinite(depth), rays(shot, [f]), shot.job.seed, torch.tensor([f])
            )
        )
        run.tick()
    return torch.cat(out)


def look_back(run: Run, into: Tensor, frames: list[int], known: list[tuple[int, np.ndarray]]) -> None:
    """Writes what known frames show of each surface into the conditions, in place."""
    sources = [
        (torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 127.5 - 1, run.shot.view(f))
        for f, picture in known
    ]
    for i, f in enumerate(frames):
        colour, valid = reproject.gather(sources, run.shot.view(f))
        conditions.put_cache(into[i : i + 1], colour[None], valid[None])
        run.tick()


# ---------------------------------------------------------------- sample


def predict(run: Run, x: Tensor, cond: Tensor, t: float, prompt: Prompt) -> Tensor:
    """The clean picture x0 (f, 3, H, W) as the model sees it at time t, guided away from the negative prompt."""
    x0 = predicted(run, x, cond, t, prompt, prompt.tokens)
    if run.shot.job.guidance == 1:
        return x0
    return sampler.guide(x0, predicted(run, x, cond, t, prompt, prompt.avoided), run.shot.job.guidance)


def predicted(run: Run, x: Tensor, cond: Tensor, t: float, prompt: Prompt, said: tuple[Tensor, Tensor]) -> Tensor:
    tokens, pooled = said
    clip = Sample(x, cond, torch.tensor(t, dtype=torch.float32), tokens[0], pooled[0], prompt.look, prompt.azimuth)
    with torch.autocast(run.at.device, run.at.dtype, enabled=run.at.dtype != torch.float32):
        return run.model([clip], run.tick)[0]["x0"]


def denoise(
    run: Run, name: str, noise: Tensor, cond: Tensor, prompt: Prompt, done_steps: int, all_steps: int
) -> Tensor:
    """From noise to the clean picture (f, 3, H, W); every step's sample is kept, a kept one is gone on from."""
    steps = run.shot.job.steps
    times = schedule.times(steps, schedule.size_shift(*cond.shape[-2:]))
    kept = run.state.sampled(name, steps)
    begin_at, x = (kept[0], torch.from_numpy(kept[1])) if kept else (0, noise)
    began = time.monotonic()
    for i in range(begin_at, steps):
        pace = (time.monotonic() - began) / max(1, i - begin_at)
        run.phase(
            "sample",
            done_steps + i,
            all_steps,
            pace * (all_steps - done_steps - i) if all_steps and i > begin_at else None,
        )
        x0 = predict(run, x, cond, times[i], prompt)
        preview(run, x0[len(x0) // 2])
        x = sampler.step(x, x0, times[i], times[i + 1])
        if i + 1 < steps:
            run.state.keep(f"{name}_step_{i + 1}", x.numpy(), replaces=f"{name}_step_{i}" if i else None)
    return x


def to_bytes(picture: Tensor) -> np.ndarray:
    """(f, 3, H, W) in -1..1 -> (f, H, W, 3) uint8."""
    return ((picture.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).contiguous().numpy()


def sample_keyframes(run: Run, prompt: Prompt, shadow: Shadows, plan: list[windows.Window]) -> None:
    """The middle of every window, as a still that looks back on the keyframes before it.

    All that is between looks back on keyframes alone: no window hands its errors on to the next, and what minute two
    shows of a wall is one keyframe away from what minute one shows of it.
    """
    for number in range(len(plan)):
        name, frame = f"keyframe_{number:04d}", keyframe(plan, number)
        if run.state.find(name) is not None:
            continue
        cond = window_maps(run, prompt, shadow, [frame])
        if number:
            look_back(run, cond, [frame], known_frames(run, plan, frame, range(number)))
        x0 = denoise(run, name, window_noise(run, [frame]), cond, prompt, 0, 0)
        run.state.keep(name, to_bytes(x0), replaces=f"{name}_step_{run.shot.job.steps - 1}")


def keyframe(plan: list[windows.Window], number: int) -> int:
    return plan[number].start + plan[number].count // 2


def known_frames(run: Run, plan: list[windows.Window], frame: int, among: range) -> list[tuple[int, np.ndarray]]:
    """The keyframes of some windows whose cameras stand nearest to that frame's, with their pictures."""
    c2w = run.shot.c2w

    def away(number: int) -> float:
        known = keyframe(plan, number)
        apart = float((c2w[known, :3, 3] - c2w[frame, :3, 3]).norm()) / run.shot.scale
        return apart + 1 - float(c2w[known, :3, 2] @ c2w[frame, :3, 2])

    nearest = sorted(among, key=away)[:CACHE_SOURCES]
    return [(keyframe(plan, number), kept_keyframe(run, number)) for number in nearest]


def kept_keyframe(run: Run, number: int) -> np.ndarray:
    found = run.state.find(f"keyframe_{number:04d}")
    if found is None:
        raise job.BadJob(f"state/keyframe_{number:04d}.npy changed while the job ran; run the job again")
    return found[0]


def finished(run: Run, number: int) -> np.ndarray:
    """Frames (f, H, W, 3) uint8 of a window that is done."""
    found = run.state.find(f"window_{number:04d}")
    if found is None:
        raise job.BadJob(f"state/window_{number:04d}.npy changed while the job ran; run the job again")
    return found


def sample_window(run: Run, prompt: Prompt, shadow: Shadows, plan: list[windows.Window], number: int) -> None:
    """One window, unless it is done already."""
    name, steps = f"window_{number:04d}", run.shot.job.steps
    if run.state.find(name) is not None:
        return
    window = plan[number]
    frames = window.frames()
    run.phase("conditions", number, len(plan))
    cond = window_maps(run, prompt, shadow, frames)
    look_back(run, cond, frames, known_frames(run, plan, keyframe(plan, number), range(len(plan))))
    x0 = denoise(run, name, window_noise(run, frames), cond, prompt, number * steps, len(plan) * steps)
    run.state.keep(name, to_bytes(x0[: window.count]), replaces=f"{name}_step_{steps - 1}")


# ---------------------------------------------------------------- frames


def final_frame(run: Run, plan: list[windows.Window], number: int, frame: int) -> np.ndarray:
    """A frame of a window, blended with the window before where they overlap."""
    parts = windows.weights(plan, number, frame)
    total = sum(share * finished(run, n)[frame - plan[n].start].astype(np.float32) for n, share in parts)
    return np.rint(total).astype(np.uint8)


def enlarged(run: Run, prompt: Prompt, shadow: Shadows, picture: np.ndarray, frame: int) -> np.ndarray:
    """A sampled frame (h, w, 3) at the size of the passes (H, W, 3); the same where it was sampled at that size."""
    if run.full is None:
        return picture
    with torch.inference_mode():
        small = window_maps(run, prompt, shadow, [frame])[0]
        own = dataclasses.replace(shadow, shot=run.full)
        large = weakened(run, maps(run.full, [frame], own, prompt.paint, torch.float32, run.tick, prompt.own))[0]
        run.tick()
        sampled = torch.from_numpy(picture).permute(2, 0, 1).float() / 127.5 - 1
        index = run.shot.index([frame])[0], run.full.index([frame])[0]
        return to_bytes(enlarge(sampled, small, large, *index, prompt.look, prompt.azimuth)[None])[0]


def unstaired(run: Run, picture: np.ndarray, frame: int) -> np.ndarray:
    """A frame (H, W, 3) with smooth silhouettes: the passes know one surface a pixel."""
    shot = run.full or run.shot
    at = smooth.edges(shot.depth([frame])[0], shot.normal([frame])[0], shot.index([frame])[0])
    out = smooth.smooth(torch.from_numpy(picture).float() / 255, at)
    return (out * 255).round().clamp(0, 255).byte().numpy()


def write_frames(run: Run, prompt: Prompt, shadow: Shadows, plan: list[windows.Window], number: int) -> None:
    """Frames that no later window changes, as PNG, cropped to what the artist asked for."""
    folder = run.shot.job.folder / "frames.part"
    folder.mkdir(exist_ok=True)
    hashes = dict(run.state.facts.get("frames", {}))
    x, y, w, h = (run.full or run.shot).job.crop
    try:
        for frame in windows.owned(plan, number):
            name = job.frame_name(frame)
            path = folder / name
            if path.is_file() and hashes.get(name) == job.digest(path):
                continue
            sampled = final_frame(run, plan, number, frame)
            picture = unstaired(run, enlarged(run, prompt, shadow, sampled, frame), frame)[y : y + h, x : x + w]
            job.write_bytes(path, iio.imwrite("<bytes>", picture, extension=".png"))
            hashes[name] = job.digest(path)
            run.phase("decode", frame + 1, run.shot.frames)
    finally:  # what was written before a stop counts
        with contextlib.suppress(job.DiskFull):
            run.state.note(frames=hashes)


def preview(run: Run, picture: Tensor) -> None:
    """A small picture of what is being made."""
    step = max(1, picture.shape[-1] // PREVIEW)
    path = run.state.folder / "preview.png"
    job.write_bytes(path, iio.imwrite("<bytes>", to_bytes(picture[None, :, ::step, ::step])[0], extension=".png"))
    run.say({"preview": "state/preview.png"})


def is_made(run: Run) -> bool:
    """Whether the frames have their final name already: the job was stopped while it measured them."""
    hashes = run.state.facts.get("frames", {})
    paths = [run.shot.job.folder / "frames" / job.frame_name(frame) for frame in range(run.shot.frames)]
    return all(path.is_file() and hashes.get(path.name) == job.digest(path) for path in paths)


def name_frames(run: Run) -> None:
    """The frames take their name, and an earlier take of this folder makes way: only now, when they are all there."""
    folder, frames = run.shot.job.folder, {job.frame_name(i) for i in range(run.shot.frames)}
    for old in (folder / "frames.part").iterdir():
        if old.name not in frames:  # of a longer shot that was begun here
            old.unlink()
    settle(folder)
    (folder / "report.json").unlink(missing_ok=True)  # it tells of other frames
    if (folder / "frames").exists():
        (folder / "frames").rename(folder / "frames.before")
    (folder / "frames.part").rename(folder / "frames")


def settle(folder: Path) -> None:
    """What others put beside the frames that made way moves in with the new ones."""
    before, frames = folder / "frames.before", folder / "frames"
    if not (before.is_dir() and frames.is_dir()):
        return
    for entry in before.iterdir():
        if not job.is_frame_name(entry.name):
            entry.rename(frames / entry.name)
    shutil.rmtree(before)


def finish(run: Run) -> dict[str, Any]:
    """The frames are measured, the report is written and the state dropped. What is stopped here is still a take."""
    settle(run.shot.job.folder)
    run.phase("measure")
    camera = timed(run, "measure", camera_report)
    report = {
        **camera, "model": run.shot.job.model, "weights": run.weights,
        "seed": run.shot.job.seed, "machine": run.state.facts["machine"], "frames": run.shot.frames,
        "seconds": {k: round(v, 2) for k, v in run.spent.items()},
        "frame_hashes": run.state.facts["frames"], "warnings": warnings(run),
    }  # fmt: skip
    job.write_json(run.shot.job.folder / "report.json", report)
    run.state.finish()
    return report


def camera_report(run: Run) -> dict[str, Any]:
    """How the clip follows its camera. A finished take is not lost because it could not be measured."""
    from .measure import measure

    try:
        return measure(run.shot.job.folder, stop=run.stop)
    except (job.Cancelled, job.BadJob):  # stopped, or the folder is no longer a job's
        raise
    except Exception as error:  # the frames are there: say so, and go on
        traceback.print_exc(file=sys.stderr)
        return {"follows": None, "verdict": f"cannot be measured: {type(error).__name__}: {error}", "reasons": {}}


def warnings(run: Run) -> list[str]:
    """What was asked for and could not be given, in words."""
    out = [run.state.told] if run.state.told else []
    if run.shot.job.negative_prompt and run.shot.job.guidance == 1:
        out.append("The negative prompt has no effect at guidance 1; raise guidance to 1.5 or more")
    if run.shot.job.prompt and not words.words(run.shot.job.prompt):
        out.append("No words were found in the prompt; the look is the plainest daylight")
    strange = words.not_understood(run.shot.job.prompt, scene_names(run.shot))
    if strange:
        out.append(f"Not understood, so without effect: {', '.join(strange[:MOST_TOLD])}")
    return out


def scene_names(shot: Shot) -> list[str]:
    """What the scene calls its things: to name one in the prompt is to be understood."""
    lists = [shot.job.objects, *(shot.job.scene.get(kind) for kind in ("objects", "materials"))]
    things = [thing for found in lists if isinstance(found, list | tuple) for thing in found]
    return [str(thing["name"]) for thing in things if isinstance(thing, Mapping) and "name" in thing]
