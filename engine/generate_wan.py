"""One job through the Wan family:  text → conditions → noise → sample → decode → frames.

The story of generate.py for models that the artist brings. What one camera films is one clip of latents, however long.
A long one is sampled in windows: at every step each window predicts its clean latents, these are blended where windows
overlap, and the whole clip goes one step on. It is decoded once, causally, so there are no seams. All that is as long
as the shot lies on the disk; memory holds one window. Where memory runs out all the same, the job goes one rung down
the ladder and on from its last step.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from . import job, need, official, registry, take, windows
from . import pictures as brought
from . import wan_conditions as scene
from . import wan_speed as speed
from .diffusion import sampler, schedule, unipc
from .models.wan import controls, recipes, shapes
from .models.wan.autoencoder import FINE, MARGIN, Autoencoder
from .models.wan.config import WanConfig
from .models.wan.transformer import NO_CONTROLS, Controls, Wan
from .shot import Shot, thinned
from .state import State
from .take import Say, Stop, tick, timed
from .wan_conditions import Clip
from .weights import machine, networks
from .weights.networks import Networks
from .worker import is_memory

OVERLAP = 4  # latent frames that two windows share; the first of them only leads the later one in
LEAD = 1  # a latent frame from the middle of a clip is none that a clip was trained to begin with
AHEAD = 2  # blocks that a device may have before it when it is asked whether to stop
MOST_REFERENCES = 3
IMAGE_TOKENS = 257  # of one picture, as CLIP gives them
AVOIDED = (
    "overexposed, washed out, blurred, grey, low quality, compression artefacts, flicker, subtitles, watermark, "
    "a still picture, distorted shapes, extra limbs, a crowded background"
)  # where the artist says nothing

Run = take.Run[Networks]


def make(run: Run) -> None:
    """All frames into `frames.part`, which then takes its final name; where memory runs out, one rung lower."""
    with speed.fused(run.model.device):
        while ran_out(run):
            step_down(run)
    take.name_frames(run)


def film(run: Run) -> None:
    """The story, clip by clip."""
    texts = timed(run, "text", read_text)
    for clip in clips(run):
        told = timed(run, "conditions", read_controls, clip)
        timed(run, "sample", sample, clip, texts, told)
        timed(run, "decode", write_frames, clip)


# ---------------------------------------------------------------- begin


def begin(shot: Shot, say: Say, stop: Stop, _weights: Path) -> Run:
    """Opens the model's files, refuses what it cannot be told, chooses a rung. Nothing large is loaded yet."""
    began = time.monotonic()
    tick(stop)
    listed = known_models()
    entry, loras = found_model(shot.job, listed), found_loras(shot.job, listed)
    at = chosen_machine()
    model = networks.open_model(entry, at.device, at.dtype, lambda: tick(stop))
    told = networks.merge(model, loras)
    refuse(shot.job, model.transformer, entry, [b - a for a, b in pairwise([*shot.job.cuts, shot.frames])])
    recipe = recipe_of(model, loras)
    shot = dataclasses.replace(shot, job=job.settled(shot.job, recipe.steps, recipe.guidance, shift(recipe, shot)))
    state = State(shot.job, fingerprint := networks.fingerprint(model, loras))
    at = chosen_machine(state.facts.get("machine"))
    model.recipe, model.dtype = recipe, at.dtype
    torch.set_num_threads(at.threads)
    small = thinned(shot, sampled_size(shot.size, recipe, model))
    run = Run(small, model, at, state, say, stop, fingerprint, None if small is shot else shot)
    state.note(machine=described(at), sampled=list(small.size))
    cannot = speed.prepare(model, shot.job.speed, max(len(plan(run, clip)) for clip in clips(run)))
    state.note(told=[*told, *cannot])
    take_rung(run, choose_rung(run))
    run.spent["load"] = time.monotonic() - began
    return run


def known_models() -> registry.Registry:
    try:
        return registry.read()
    except registry.BadRegistry as error:
        raise job.BadJob(str(error)) from error


def found_model(j: job.Job, listed: registry.Registry) -> registry.Entry:
    try:
        return registry.entry(j.model, listed)
    except registry.BadRegistry as error:
        raise job.BadJob(str(error)) from error


def found_loras(j: job.Job, listed: registry.Registry) -> list[tuple[registry.Lora, float]]:
    lost = next((entry["name"] for entry in j.loras if entry["name"] not in listed.loras), None)
    if lost is not None:
        known = ", ".join(listed.loras) or "none"
        raise job.BadJob(f"the LoRA {lost!r} is not on this machine; known are {known}: import it, or leave it out")
    return [(listed.loras[entry["name"]], float(entry.get("strength", 1.0))) for entry in j.loras]


def recipe_of(model: Networks, loras: Sequence[tuple[registry.Lora, float]]) -> recipes.Recipe:
    """The model's own, but for the steps, shift, guidance and sampler of a LoRA that was taught to need others."""
    few = next((lora.recipe for lora, strength in loras if lora.recipe is not None and strength), None)
    if few is None:
        return model.recipe
    return dataclasses.replace(
        model.recipe, steps=few.steps, shift=few.shift, shift_large=few.shift, guidance=few.guidance,
        guidance_low=few.guidance, sampler=few.sampler,
    )  # fmt: skip


def shift(recipe: recipes.Recipe, shot: Shot) -> float:
    large = math.prod(shot.size) > (official.SMALL_PICTURE + official.LARGE_PICTURE) / 2
    return recipe.shift_large if large and recipe.shift_large else recipe.shift


def sampled_size(size: tuple[int, int], recipe: recipes.Recipe, model: Networks) -> tuple[int, int]:
    """At what size frames are sampled: their own in whole tokens, or of about the model's pixels in the same shape."""
    unit = model.latents.stride * shapes.PATCH
    factor = min(1.0, math.sqrt(recipe.pixels / math.prod(size)))
    width, height = (max(unit, math.floor(side * factor / unit + 0.5) * unit) for side in size)
    while width * height > recipe.pixels and min(width, height) > unit:
        width, height = (width - unit, height) if width >= height else (width, height - unit)
    return width, height


# ---------------------------------------------------------------- what the model can be told


def refuse(j: job.Job, config: WanConfig, entry: registry.Entry, cameras: Sequence[int]) -> None:
    """Raises BadJob for a control that the job asks for and the model lacks, by name. cameras: frames of each."""
    name = entry.title or entry.name
    able = config.controls
    if j.control_strength and not {"control video", "camera"} & set(able) and j.denoise == 1:
        raise job.BadJob(
            f"{name} can be told neither depth nor camera, so its frames would not follow the shot: choose a VACE, "
            "Control or Camera model, set Control to 0 to film without, or begin with the base colours (denoise)"
        )
    if j.references and not {"reference images", "reference image"} & set(able):
        raise job.BadJob(f"{name} has no input for reference pictures: choose a VACE or Control model, or none of them")
    if (j.known or j.references) and config.vace_layers and not j.control_strength:
        raise job.BadJob(f"{name} is told known frames and pictures by its control, which is 0: raise Control")
    most = MOST_REFERENCES if config.vace_layers else 1
    if len(j.references) > most:
        raise job.BadJob(f"{name} reads {most} reference pictures at most, not {len(j.references)}: leave some out")
    if j.known and not config.vace_layers:
        refuse_known(j, name, able, sum(cameras) - 1)
    if needs_first(config):
        refuse_without_first(j, name, able, cameras)
    if config.image and (j.known or j.references) and official.IMAGE not in entry.files:
        raise job.BadJob(f"{name} looks at its first frame through CLIP, which its entry lacks: import clip_vision_h")


def refuse_known(j: job.Job, name: str, able: Sequence[str], last: int) -> None:
    """last: the shot's last frame."""
    if "first frame" not in able:
        raise job.BadJob(f"{name} has no input for known frames: choose a VACE model, or leave them out")
    frames = sorted(e["frame"] for e in j.known)
    beyond = [f for f in frames if f != 0 and not ("last frame" in able and f == last)]
    if beyond or 0 not in frames:
        shown = beyond[0] if beyond else frames[0]
        what = "the first and the last frame" if "last frame" in able else "the first frame"
        raise job.BadJob(f"{name} can be told {what} only, not frame {shown}: choose a VACE model, or leave it out")


def needs_first(config: WanConfig) -> bool:
    """Whether a checkpoint was never trained without a first frame: beside the noise it reads that and a mask alone."""
    more = config.camera_fold or config.reference_channels or config.vace_layers
    return config.extra_channels == controls.MASK + config.out_channels and not more


def refuse_without_first(j: job.Job, name: str, able: Sequence[str], cameras: Sequence[int]) -> None:
    if not j.known:
        raise job.BadJob(f"{name} goes on from a first frame, and the job has none: give one, or choose another model")
    if "last frame" in able and len(j.known) < 2:
        raise job.BadJob(f"{name} goes from a first frame to a last one, and the job has one of them: give both")
    if len(cameras) > 1:
        raise job.BadJob(
            f"{name} goes on from a first frame, and only one of {len(cameras)} cameras has one: film each camera as a "
            "shot of its own, or choose another model"
        )


# ---------------------------------------------------------------- memory


def ran_out(run: Run) -> bool:
    """Whether memory did not suffice to make the film on this rung. The error is gone when this returns, and with it
    all that its frames held."""
    try:
        film(run)
    except (RuntimeError, MemoryError) as error:
        if not is_memory(error):
            raise
        run.state.note(ran_out=str(error).split("\n")[0][:200])
        return True
    return False


def step_down(run: Run) -> None:
    """One rung lower; raises what the worker takes for memory where there is none."""
    run.model.let_go()
    number = rung_number(run)
    last = len(need.RUNGS) - (2 if run.at.device == "cpu" else 1)
    if number >= last:
        raise MemoryError(run.state.facts["ran_out"])
    below = number + 1
    told = f"Memory ran out while {need.RUNGS[number].words}; goes on from the last step: {need.RUNGS[below].words}"
    run.state.note(stepped_down=[*run.state.facts.get("stepped_down", []), told])
    run.note(told)
    take_rung(run, below)


def rung_number(run: Run) -> int:
    return need.RUNGS.index(run.model.rung)


def choose_rung(run: Run) -> int:
    """The first rung that fits in what is free; a job that goes on never climbs, so that its numbers stay the same."""
    facts, clip = need.Facts(**networks.facts(run.model.opened)), clip_need(run)
    first = int(run.state.facts.get("rung", 0))
    size = torch.finfo(run.model.dtype).bits // 8
    free, host = machine.free(run.at.device), machine.free("cpu")
    if run.at.device == "cpu":
        return need.on_processor(facts, clip, free, first, size)
    return need.choose(facts, clip, free, host, first, size)


def clip_need(run: Run) -> need.Clip:
    clip = max(clips(run), key=lambda c: c.shape.frames)
    frames = min(clip.shape.frames, longest(run)) + clip.front
    tokens = frames * (clip.shape.height // shapes.PATCH) * (clip.shape.width // shapes.PATCH)
    return need.Clip(*run.shot.size, tokens, guided(run), run.model.cache is not None)


def take_rung(run: Run, number: int) -> None:
    """From here on the networks are held as that rung says; one line tells how much is needed and of what."""
    model, rung = run.model, need.RUNGS[number]
    if rung.on_processor:
        model.device = "cpu"
    model.rung = rung
    model.tile = need.tile_sides(*run.shot.size, model.latents.stride, MARGIN * model.latents.stride // FINE)
    facts, clip = need.Facts(**networks.facts(model.opened)), clip_need(run)
    needed = need.of(facts, clip, rung, torch.finfo(model.dtype).bits // 8)
    free = machine.free(model.device)
    model.room = max(0, free - need.sampling(facts, clip, rung) - round(need.RESERVE))
    words = f"{need.gigabytes(needed.device)} of {need.gigabytes(free)} that are free on {machine.name(model.device)}"
    run.state.note(rung=number, memory={"rung": rung.words, "needed": needed.device, "free": free})
    run.note(f"Needs {words}: {rung.words}")


def described(at: machine.Machine) -> dict[str, Any]:
    precision = str(at.dtype).removeprefix("torch.")
    return {"device": at.device, "precision": precision, "threads": at.threads, "why": at.why}


def chosen_machine(recorded: dict[str, Any] | None = None) -> machine.Machine:
    return machine.choose_large(recorded)


# ---------------------------------------------------------------- clips and windows


def clips(run: Run) -> list[Clip]:
    """One a camera."""
    shot, front = run.shot, len(run.shot.job.references) if run.model.transformer.vace_layers else 0
    cuts = [*shot.job.cuts, shot.frames]
    return [
        Clip(i, a, b, shapes.latent(b - a, shot.size[1], shot.size[0], run.model.latents), front)
        for i, (a, b) in enumerate(pairwise(cuts))
    ]


def longest(run: Run) -> int:
    """Latent frames of a window."""
    return windows.latent_frames(run.model.recipe.frames)


def plan(run: Run, clip: Clip) -> list[windows.Window]:
    """Of latent frames, the reference pictures' left out."""
    return windows.plan(clip.shape.frames, [0], longest(run), OVERLAP)


# ---------------------------------------------------------------- text


def read_text(run: Run) -> Tensor:
    """What the blocks look at: states of the prompt, then of what is avoided, (1 or 2, 512, 4096), on the processor."""
    run.phase("text")
    if (found := run.state.find("text")) is not None:
        return torch.from_numpy(np.array(found))
    tokens, encoder = run.model.tokenizer(), run.model.text()
    said = [run.shot.job.prompt] + [run.shot.job.negative_prompt or AVOIDED] * guided(run)
    states = torch.cat([encoder.prompt(tokens.prompt(words), run.tick).cpu() for words in said])
    if not run.model.rung.stays:
        del encoder
        run.model.let_go("text")
    run.state.keep("text", states.numpy())
    return states


def guided(run: Run) -> bool:
    return run.shot.job.guidance != 1


# ---------------------------------------------------------------- conditions


def read_controls(run: Run, clip: Clip) -> list[str]:
    """Makes what the transformer is told of a clip; the names of the arrays that hold it."""
    config, made = run.model.transformer, []
    run.phase("conditions", clip.number, len(clips(run)))
    makers = {
        "image": (config.image, make_image),  # first: where networks come one at a time, the autoencoder comes once
        "vace": (bool(config.vace_layers), make_vace), "extra": (bool(config.extra_channels), make_extra),
        "reference": (bool(config.reference_channels), make_reference),
        "first": (is_overwritten(run, clip), make_first),
        "base": (run.shot.job.denoise < 1, make_base),
    }  # fmt: skip
    for kind, (wanted, maker) in makers.items():
        name = f"{clip.name}_{kind}"
        if wanted and run.state.find(name) is None:
            maker(run, clip, name)
        made += [name] * wanted
    return made


def shape_of(clip: Clip, channels: int, front: int = 0) -> tuple[int, int, int, int]:
    return channels, front + clip.shape.frames, clip.shape.height, clip.shape.width


def make_vace(run: Run, clip: Clip, name: str) -> None:
    shot, full = run.shot, run.full or run.shot
    size = shot.size
    references = [brought.reference(job.inside(full.job.folder, path), size) for path in full.job.references]
    channels = run.model.transformer.vace_channels
    with (
        run.state.filled(name, shape_of(clip, channels, clip.front)) as out,
        run.state.scratch(f"{name}_mask", (len(clip.frames), size[1], size[0]), np.uint8) as mask,
    ):
        seen = brought.known(shot, full)
        scene.vace(out, mask, clip, shot, seen, references, run.model.autoencoder(), run.tick)


def make_extra(run: Run, clip: Clip, name: str) -> None:
    """Channels beside the noise: a control video's latents where the model has room for them, then the first frame's,
    with a mask before them where it has room for that."""
    config, C = run.model.transformer, clip.shape.channels
    rest, autoencoder = config.extra_channels, run.model.autoencoder()
    with run.state.filled(name, shape_of(clip, rest)) as out:
        at = 0
        if rest >= 2 * C:
            limits = scene.depth_limits(run.shot)
            put_encoded(run, out[:C], clip, lambda frames: scene.guide(run.shot, limits, frames), autoencoder)
            at, rest = C, rest - C
        pictures = known_pictures(run, clip)
        if rest == C:
            out[at:] = 0
            if 0 in pictures:
                first = pictures[0][None, :, None].to(run.model.device)
                out[at:, :1] = autoencoder.encode(first, run.tick)[0].cpu()
            return
        height, width = clip.shape.height, clip.shape.width
        out[at : at + controls.MASK] = controls.known_frames(list(pictures), len(clip.frames), height, width)
        grey = torch.zeros(3, 1, *run.shot.size[::-1])

        def frame(indices: list[int]) -> Tensor:
            return torch.cat([pictures[i][:, None] if i in pictures else grey for i in indices], 1)

        put_encoded(run, out[at + controls.MASK :], clip, frame, autoencoder, within=True)


def known_pictures(run: Run, clip: Clip) -> dict[int, Tensor]:
    """Known frames of a clip (3, H, W) by their place in it; padding repeats the last frame, and so shows it, too."""
    seen = brought.known(run.shot, run.full or run.shot).pictures
    frames = clip.frames
    return {i: seen[frame][0] for i, frame in enumerate(frames) if frame in seen}


def put_encoded(
    run: Run, out: np.ndarray, clip: Clip, picture: Any, autoencoder: Autoencoder, within: bool = False
) -> None:
    """Latents of pictures that are asked for a chunk at a time, by their indices in the shot or `within` the clip."""
    if within:
        inner = dataclasses.replace(clip, start=0, stop=len(clip.frames))
        clip = inner
    for t, latent in enumerate(scene.encoded(clip, picture, autoencoder, run.tick)):
        out[:, t] = latent[:, 0]
        run.tick()


def make_reference(run: Run, clip: Clip, name: str) -> None:
    """Latents of the reference picture (C, h, w); zeros where there is none, as these models were trained."""
    full = run.full or run.shot
    if not full.job.references:
        run.state.keep(name, np.zeros(shape_of(clip, clip.shape.channels)[:1] + shape_of(clip, 1)[2:], np.float32))
        return
    picture = brought.reference(job.inside(full.job.folder, full.job.references[0]), run.shot.size)
    latent = run.model.autoencoder().encode(picture[None, :, None].to(run.model.device), run.tick)
    run.state.keep(name, latent[0, :, 0].cpu().numpy())


def make_image(run: Run, clip: Clip, name: str) -> None:
    """CLIP's tokens (I, D) of what a clip goes on from, first frame before last; zeros where there is nothing, as
    VideoX-Fun has it. The encoder is freed: nothing else needs it."""
    config, pictures = run.model.transformer, looked_at(run, clip)
    if not pictures:
        run.state.keep(name, np.zeros((config.image_positions or IMAGE_TOKENS, config.image_width), np.float32))
        return
    tokens = run.model.image()(torch.stack(pictures).to(run.model.device), run.tick).flatten(0, 1).cpu()
    run.model.let_go(official.IMAGE)
    run.state.keep(name, tokens.numpy())


def looked_at(run: Run, clip: Clip) -> list[Tensor]:
    """The pictures (3, H, W) that CLIP is shown: a subject's, where the model was trained with one, else those of known
    frames, the first before the last."""
    full = run.full or run.shot
    if full.job.references:
        return [brought.as_tensor(brought.load_picture(job.inside(full.job.folder, full.job.references[0])))]
    pictures, last = known_pictures(run, clip), clip.stop - clip.start - 1
    return [pictures[i] for i in sorted({0, last}) if i in pictures]


def is_overwritten(run: Run, clip: Clip) -> bool:
    """Whether known latents take the place of the first noisy ones, as in TI2V."""
    config = run.model.transformer
    takes = not config.extra_channels and not config.vace_layers
    return takes and 0 in known_indices(run, clip)


def known_indices(run: Run, clip: Clip) -> list[int]:
    return [e["frame"] - clip.start for e in run.shot.job.known if clip.start <= e["frame"] < clip.stop]


def make_first(run: Run, clip: Clip, name: str) -> None:
    picture = known_pictures(run, clip)[0]
    latent = run.model.autoencoder().encode(picture[None, :, None].to(run.model.device), run.tick)
    run.state.keep(name, latent[0].cpu().numpy())


def make_base(run: Run, clip: Clip, name: str) -> None:
    """Latents of the base colours, which sampling begins from where it begins with less noise."""
    with run.state.filled(name, shape_of(clip, clip.shape.channels)) as out:
        put_encoded(run, out, clip, lambda frames: scene.base_colours(run.shot, frames), run.model.autoencoder())


# ---------------------------------------------------------------- noise


def noise(run: Run, clip: Clip, frame: int) -> Tensor:
    """Of one latent frame, (C, h, w): by the seed and its place, so that it is the same however windows lie."""
    generator = torch.Generator().manual_seed(run.shot.job.seed * 1_000_003 + clip.number * 10_007 + frame)
    return torch.randn(clip.shape.channels, clip.shape.height, clip.shape.width, generator=generator)


def begin_sample(run: Run, clip: Clip, sigma: float) -> np.ndarray:
    """The noisiest sample (1, C, R + T, h, w) on the disk: noise, or base colours under so much of it."""
    name = f"{clip.name}_step_0"
    if (found := run.state.find(name)) is not None:
        return found
    base = run.state.find(f"{clip.name}_base")
    with run.state.filled(name, (1, *shape_of(clip, clip.shape.channels, clip.front))) as out:
        for t in range(clip.latent_frames):
            x = noise(run, clip, t)
            if base is not None and t >= clip.front:
                x = schedule.mix(torch.from_numpy(np.array(base[:, t - clip.front])), x, torch.tensor(sigma))
            out[0, :, t] = x
    found = run.state.find(name)
    assert found is not None
    return found


# ---------------------------------------------------------------- sample


@dataclass
class Told:
    """What the transformer is told, window by window, read off the disk."""

    run: Run
    clip: Clip
    names: list[str]
    states: Tensor  # (1 or 2, 512, 4096)
    texts: dict[str, Tensor] = field(default_factory=dict)  # as each expert reads them
    held: dict[Any, Controls] = field(default_factory=dict)  # of the window that was asked for last
    launched: deque[Any] = field(default_factory=deque)  # marks on a device that runs behind

    def beat(self) -> None:
        """Called between blocks. A device works off what it was given long after: it is kept close, so that a job that
        is stopped ends soon."""
        self.run.tick()
        if not self.run.model.device.startswith("cuda"):
            return
        mark = torch.cuda.Event()
        mark.record()
        self.launched.append(mark)
        if len(self.launched) > AHEAD:
            self.launched.popleft().synchronize()

    def array(self, kind: str) -> np.ndarray | None:
        name = f"{self.clip.name}_{kind}"
        return self.run.state.find(name) if name in self.names else None

    def text(self, part: str) -> Tensor:
        """(1 or 2, 512, D)."""
        if part not in self.texts:
            self.texts = {part: self.run.model.get(part).read_text(self.states.to(self.run.model.device))}
        return self.texts[part]

    def controls(self, part: str, window: windows.Window, strength: float) -> Controls:
        key = (part, window.start, strength)
        if key not in self.held:
            self.held = {}
            self.held = {key: self.read(self.run.model.get(part), window, strength)}
        return self.held[key]

    def read(self, model: Wan, window: windows.Window, strength: float) -> Controls:
        found: dict[str, Any] = {}
        if strength and (vace := self.array("vace")) is not None:
            found |= {"vace": self.part(vace, window, self.clip.front), "strength": strength}
        if (extra := self.array("extra")) is not None:
            found["extra"] = self.weakened(self.part(extra, window, 0), strength)
        if model.config.camera_fold and strength:
            found["camera"] = strength * self.camera(model, window)
        if (tokens := self.array("image")) is not None:
            found["image"] = model.read_image(torch.from_numpy(np.array(tokens))[None].to(self.run.model.device))
        if (reference := self.array("reference")) is not None:
            found["reference"] = torch.from_numpy(np.array(reference))[None].to(self.run.model.device)
        return Controls(**found) if found else NO_CONTROLS

    def part(self, array: np.ndarray, window: windows.Window, front: int) -> Tensor:
        """(1, C, R + t, h, w) of a window on the device: the reference pictures' frames, then its own."""
        own = np.array(array[:, front + window.start : front + window.stop])
        value = torch.from_numpy(np.concatenate([array[:, :front], own], 1))
        return value[None].to(self.run.model.device)

    def weakened(self, extra: Tensor, strength: float) -> Tensor:
        """A control video's latents fade to zeros, which is what these models are told where there is none."""
        C = self.clip.shape.channels
        if extra.shape[1] >= 2 * C and strength < 1:
            extra = extra.clone()
            extra[:, :C] *= strength
        return extra

    def camera(self, model: Wan, window: windows.Window) -> Tensor:
        frames = scene.window_frames(self.clip, window.start, window.count)
        rays = scene.rays(self.run.shot, frames)
        parts = [model.read_camera(part.to(self.run.model.device)) for part in rays.split(1, 2)]
        return torch.cat(parts, 2)


def sample(run: Run, clip: Clip, states: Tensor, names: list[str]) -> None:
    """From noise to the clean latents of a clip; every step's sample is kept, a kept one is gone on from."""
    j = run.shot.job
    clean = f"{clip.name}_clean"
    if run.state.find(clean) is not None:
        return
    steps, sigmas = j.steps, recipes.sigmas(j.steps, j.shift, j.denoise)
    kept = run.state.furthest(clip.name, steps)
    done, x = kept if kept else (0, begin_sample(run, clip, sigmas[0]))
    told, parts, pace = Told(run, clip, names, states), plan(run, clip), Pace(run, steps)
    for i in range(done, steps):
        pace.step(clip, i, done)
        last = i + 1 == steps
        name = clean if last else f"{clip.name}_step_{i + 1}"
        arrays = 1 if last or run.model.recipe.sampler == "euler" else 2 + min(i + 1, unipc.ORDER)
        before = f"{clip.name}_step_{i}"
        with run.state.filled(name, (arrays, *x.shape[1:]), replaces=before) as out:
            step(run, clip, told, parts, sigmas, i, x, out)
        found = run.state.find(name)
        assert found is not None
        x = found


def step(
    run: Run, clip: Clip, told: Told, parts: list[windows.Window], sigmas: list[float], i: int, x: np.ndarray,
    out: np.ndarray,
) -> None:  # fmt: skip
    """One step of a whole clip: each window predicts, what two of them predict is blended, and the latents that no
    later window changes go on. x and out: the sample (C, R + T, h, w), then what the sampler remembers."""
    front, carried = clip.front, None
    ahead = torch.zeros(1, clip.shape.channels, front, *x.shape[3:])  # of the reference pictures, by all windows
    for number, window in enumerate(parts):
        noisy = told.part(x[0], window, front)
        predicted = predict(run, told, window, noisy, sigmas, i).cpu()
        ahead += predicted[:, :, :front] / len(parts)
        x0 = blended(parts, number, predicted[:, :, front:], carried)
        owned = windows.owned(parts, number)
        settle(run, sigmas, i, x, out, x0[:, :, : len(owned)], slice(front + owned.start, front + owned.stop))
        carried = x0[:, :, len(owned) :]
        if number == len(parts) // 2:
            show(run, x0[:, :, x0.shape[2] // 2])
        run.tick()
    if front:
        settle(run, sigmas, i, x, out, ahead, slice(0, front))


def blended(parts: list[windows.Window], number: int, x0: Tensor, carried: Tensor | None) -> Tensor:
    """A window's prediction, mixed with that of the window before where they overlap."""
    if carried is None:
        return x0
    window = parts[number]
    for at in range(carried.shape[2]):
        shares = windows.weights(parts, number, window.start + at, LEAD)
        own = next(share for n, share in shares if n == number)
        x0[:, :, at] = own * x0[:, :, at] + (1 - own) * carried[:, :, at]
    return x0


def settle(run: Run, sigmas: list[float], i: int, x: np.ndarray, out: np.ndarray, x0: Tensor, at: slice) -> None:
    """Some latent frames go from step i to the next: the sampler knows each of them by itself."""
    here = torch.from_numpy(np.array(x[:, :, at]))
    if run.model.recipe.sampler == "euler":
        out[0, :, at] = sampler.step(here[:1], x0, sigmas[i], sigmas[i + 1])[0]
        return
    past = None if len(here) == 1 else unipc.Past(here[1:2], order_of(i, sigmas), tuple(h[None] for h in here[2:]))
    moved, after = unipc.step(here[:1], x0, sigmas, i, past)
    for row, value in zip(out, (moved, after.x, *after.clean), strict=False):
        row[:, at] = value[0]


def order_of(i: int, sigmas: list[float]) -> int:
    """Of the prediction of the step before step i."""
    return unipc.order(i - 1, len(sigmas) - 1, i == 1)


def predict(run: Run, told: Told, window: windows.Window, x: Tensor, sigmas: list[float], i: int) -> Tensor:
    """The clean latents (1, C, R + t, h, w) as the model sees them at step i."""
    part = run.model.part(sigmas[i])
    first = told.array("first") if window.start == 0 else None
    if first is not None:
        x = x.clone()
        x[:, :, :1] = torch.from_numpy(np.array(first)).to(x)
    t = torch.full((1, x.shape[2] if first is not None else 1), recipes.timestep(sigmas[i]))
    if first is not None:
        t[:, 0] = 0
    pinned = told.controls(part, window, strength(run, i))
    x0 = schedule.clean(x, velocity(run, told, part, x, t, pinned, sigmas[i]), sigmas[i])
    if first is not None:
        x0[:, :, :1] = x[:, :, :1]
    return x0


def velocity(run: Run, told: Told, part: str, x: Tensor, t: Tensor, pinned: Controls, sigma: float) -> Tensor:
    """Guided away from what is avoided, where guidance is asked for and matters."""
    scale, model, texts = guidance(run, sigma), run.model.get(part), told.text(part)

    def predicted(words: Tensor, which: str) -> Tensor:
        if run.model.cache is not None:  # which must not mix clips, experts, predictions with a control and without
            run.model.cache.slot = (told.clip.number, part, pinned.vace is None, which)
        count = len(words)
        return model(x.expand(count, -1, -1, -1, -1), t.expand(count, -1), words, pinned, told.beat)

    if scale == 1:
        return predicted(texts[:1], "with")
    if run.model.rung.together:
        with_, without = predicted(texts, "both").chunk(2)
    else:
        with_, without = predicted(texts[:1], "with"), predicted(texts[1:], "without")
    return sampler.guide(with_, without, scale)


def guidance(run: Run, sigma: float) -> float:
    """Of the expert that predicts. Below `guidance_until` there is none: there it changes little (Kynkäänniemi et al.
    2024) and costs as much as everywhere."""
    j, recipe = run.shot.job, run.model.recipe
    if sigma < float(j.speed.get("guidance_until") or 0.0):
        return 1.0
    low = recipe.boundary and not recipes.is_noisy(sigma, recipe.boundary)
    own = j.guidance == recipe.guidance
    return recipe.guidance_low if low and own and guided(run) else j.guidance


def strength(run: Run, i: int) -> float:
    """Of the controls at step i: they are told between two shares of the steps."""
    j = run.shot.job
    return j.control_strength if j.control_start <= i / j.steps < j.control_end else 0.0


class Pace:
    """Progress over all steps of all clips, and how long they still take."""

    def __init__(self, run: Run, steps: int) -> None:
        self.run, self.began = run, time.monotonic()
        self.all = [c.shape.frames for c in clips(run)]
        self.steps = steps

    def step(self, clip: Clip, i: int, first: int) -> None:
        """Step i of a clip begins; `first` is where this run began."""
        before = sum(self.all[: clip.number]) * self.steps
        done, whole = before + i * clip.shape.frames, sum(self.all) * self.steps
        worked = (i - first) * clip.shape.frames
        pace = (time.monotonic() - self.began) / worked if worked else None
        shown = clip.number * self.steps + i
        self.run.phase("sample", shown, len(self.all) * self.steps, None if pace is None else pace * (whole - done))


def show(run: Run, latent: Tensor) -> None:
    """A small picture of one latent frame (1, C, h, w), where the autoencoder lies ready; it costs a small share of a
    step."""
    decoder = run.model.held.get("autoencoder")
    if decoder is None:
        return
    step = max(1, round(run.shot.size[0] / take.PREVIEW))
    small = torch.nn.functional.avg_pool2d(latent, step) if min(latent.shape[2:]) >= 2 * step else latent
    picture = decoder.decode(small[:, :, None].to(run.model.device), run.tick)
    take.preview(run, picture[0, :, 0].cpu())


# ---------------------------------------------------------------- decode


def write_frames(run: Run, clip: Clip) -> None:
    """A clip's frames, decoded in order, at the size of the passes."""
    pictures = Decoded(run, clip)
    take.write_frames(run, range(clip.start, clip.stop), pictures)


class Decoded:
    """A clip's pictures, asked for in rising order; nothing is decoded that nobody asks for."""

    def __init__(self, run: Run, clip: Clip) -> None:
        self.run, self.clip = run, clip
        self.coming: Iterator[Tensor] | None = None
        self.ready: deque[Tensor] = deque()
        self.next = clip.start

    def __call__(self, frame: int) -> np.ndarray:
        if self.coming is None:
            self.coming = self.decoding()
        while True:
            while not self.ready:
                self.ready.extend(next(self.coming)[0].unbind(1))
            picture = self.ready.popleft()
            self.next += 1
            if self.next == frame + 1:
                return self.finished(picture)

    def decoding(self) -> Iterator[Tensor]:
        """(1, 3, 1 or 4, H, W) on the processor, chunk by chunk."""
        run, clip = self.run, self.clip
        clean = run.state.find(f"{clip.name}_clean")
        assert clean is not None
        latents = torch.from_numpy(np.array(clean[:1, :, clip.front :])).to(run.model.device)
        decoder = run.model.autoencoder()
        if run.shot.job.speed.get("decode") == "bf16" and run.model.device != "cpu":
            run.state.note(decode=speed.decode_small(decoder, latents))
        for chunk in decoder.decoding(latents, run.tick):
            yield chunk.cpu()

    def finished(self, picture: Tensor) -> np.ndarray:
        """(3, h, w) in -1..1 -> (H, W, 3) uint8 at the size of the passes."""
        sampled = take.to_bytes(picture[None])[0]
        if self.run.full is None:
            return sampled
        return cv2.resize(sampled, self.run.full.size, interpolation=cv2.INTER_LANCZOS4)


# ---------------------------------------------------------------- report


def told(run: Run) -> dict[str, Any]:
    """What a report says of a Wan job: how it was sampled, the two frame rates, memory."""
    j, recipe = run.shot.job, run.model.recipe
    rate = j.fps[0] / j.fps[1]
    return {
        "fps": {"scene": round(rate, 3), "model": recipe.fps},
        "sampled": {"size": list(run.shot.size), "frames": [len(c.frames) for c in clips(run)],
                    "windows": [len(plan(run, c)) for c in clips(run)]},
        "recipe": {"steps": j.steps, "shift": j.shift, "guidance": j.guidance, "sampler": recipe.sampler,
                   "denoise": j.denoise},
        "loras": [dict(entry) for entry in j.loras], "speed": sped(run),
        "memory": run.state.facts.get("memory", {}), "warnings": warnings(run),
    }  # fmt: skip


def sped(run: Run) -> dict[str, Any]:
    """What was given up for speed, and what was measured of it."""
    found = dict(run.shot.job.speed)
    if run.model.cache is not None:
        found["cache"] = {"most": run.model.cache.most, **run.model.cache.told()}
    if "decode" in run.state.facts:
        found["decode"] = run.state.facts["decode"]
    return found


def warnings(run: Run) -> list[str]:
    """What was asked for and could not be given, and what was done otherwise, in words."""
    out = [run.state.told] if run.state.told else []
    out += run.state.facts.get("told", [])
    out += run.state.facts.get("stepped_down", [])
    if run.shot.job.negative_prompt and not guided(run):
        out.append("The negative prompt has no effect at guidance 1; raise guidance to 1.5 or more")
    return out


FAMILY = take.Family(begin, make, told)
