"""One job, from text to frames:  text → conditions → noise → sample → decode → frames.

Reads top to bottom. Knows the job folder and the models; knows nothing of Blender, of pipes or of who asked.
A job that was cut off goes on from its last step; its frames are the same bytes as those of a job that was not.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from . import conditions, enlarge, job, looks, pictures, smooth, take, windows
from .diffusion import sampler, schedule
from .geometry import anchors, patterns, reproject
from .geometry.noise import surface_noise
from .known import Carried
from .models import finishes, shading, text
from .models.lite import Known as Told
from .models.lite import Lite, Sample, as_reference, config_of
from .pictures import Known
from .prompt import negation, things, words
from .shot import (
    Shadows,
    Shot,
    azimuth,
    banded,
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
from .take import Say, Stop, is_made, name_frames, preview, tick, timed, to_bytes
from .weights import machine, store

LITE = "lite"  # the family whose weights are bundled; generate_wan.py tells the same story for the others
GUIDANCE = 1.0  # of a job that does not say
MOST_SHOWN = 3  # reference pictures that the transformer looks at
CACHE_SOURCES = 3  # known frames that a window looks back on
MOST_TOLD = 8  # words of a prompt that were not understood
LOWEST_SUN = 0.06  # radians: below, shadows have no end
BAND = 64  # rows of a large frame that are made at once
HALO = 8  # rows beside them that outlines look at
MIRRORS = 0.4  # mean gloss of a thing that is of metal or glass
METHOD = "sketched, then drawn, with glass"  # work that was begun in another way is not gone on from
DRAWN = 4  # one step in so many, the last ones, is taken at the picture's own size
SKETCH_COST = 0.25  # of another step, beside one that is
TAKES = ("known frames", "reference pictures")  # beside a prompt and its control's strength
PLAIN = "a photo"  # what guidance pulls away from where there is no negative prompt

Run = take.Run[Lite]


@dataclass(frozen=True)
class Prompt:
    """The text, read once a shot: what the network sees of it and the look that follows."""

    tokens: tuple[Tensor, Tensor]
    avoided: tuple[Tensor, Tensor]
    look: shading.Look
    azimuth: Tensor
    toward: Tensor  # (3,) to the sun
    paint: patterns.Paint  # the material and the hand that it asks for
    own: list[tuple[Tensor, patterns.Paint]]  # of things that have their own: indices of objects, their material
    known: Known  # accepted frames, at the sampled size


def generate(folder: Path, say: Say, stop: Stop, weights: Path = store.BUNDLED) -> dict[str, Any]:
    """Makes a job folder's frames; returns its report. Raises BadJob, BadWeights, Cancelled, DiskFull."""
    tick(stop)
    say({"phase": "text", "step": 0, "steps": 0, "eta": None})
    shot = open_shot(Path(folder))
    family, weights = family_of(shot.job.model, weights)
    run = family.begin(shot, say, stop, weights)
    if not is_made(run):
        with torch.inference_mode():
            family.make(run)
    return take.finish(run, family.told)


def family_of(model: str, weights: Path) -> tuple[take.Family, Path]:
    """Who makes the frames, and with which weights: those given are lite's; an artist's own have a name."""
    own = looks.find(model)
    if model == LITE or own is not None:
        return take.Family(begin, make, told), own.folder if own else weights
    from . import generate_wan

    return generate_wan.FAMILY, weights


def make(run: Run) -> None:
    """All frames, window by window, into `frames.part`, which then takes its final name."""
    prompt = timed(run, "text", read_prompt)
    shadow = timed(run, "conditions", cast_shadows, prompt)
    plan = windows.plan(run.shot.frames, list(run.shot.job.cuts), windows.length(*run.shot.size))
    carried = timed(run, "sample", sample_known, prompt, shadow)
    timed(run, "sample", sample_keyframes, prompt, shadow, plan)
    for number in range(len(plan)):
        timed(run, "sample", sample_window, prompt, shadow, plan, number)
        machine.give_back()
        timed(run, "decode", write_frames, prompt, shadow, plan, number, carried)
    name_frames(run)


def load_model(weights: Path = store.BUNDLED) -> Lite:
    """The model whose weights lie in a folder, ready to sample."""
    model = Lite(config_of(store.config(weights, LITE)))
    store.fill(model, store.load(weights, LITE), LITE)
    return model.eval()


def settled(shot: Shot) -> Shot:
    """The shot, with what its job leaves open. Raises BadJob for what this model cannot be told."""
    asked = [what for what in job.asks(shot.job) if what not in TAKES]
    if asked:
        raise job.BadJob(f"the lite model can't be told {asked[0]}: leave it out, or choose another model in the panel")
    return replace(shot, job=job.settled(shot.job, job.DEFAULT_STEPS, GUIDANCE))


def begin(shot: Shot, say: Say, stop: Stop, weights: Path) -> Run:
    """Loads the model; between two steps of it the job can be stopped."""
    shot = settled(shot)
    began = time.monotonic()
    tick(stop)
    model = load_model(weights)
    if shot.job.references and model.reference is None:
        raise job.BadJob("these weights of lite were made before it could read reference pictures: leave them out, or "
                         "adapt the look anew")  # fmt: skip
    tick(stop)
    state = State(shot.job, f"{METHOD} {(fingerprint := store.fingerprint(weights, LITE))}")
    at = machine.choose(state.facts.get("machine"))
    torch.set_num_threads(at.threads)
    precision = str(at.dtype).removeprefix("torch.")
    state.note(machine={"device": at.device, "precision": precision, "threads": at.threads, "why": at.why})
    small = thinned(shot, windows.sampled_size(*shot.size))
    run = Run(small, model, at, state, say, stop, fingerprint, None if small is shot else shot)
    run.spent["load"] = time.monotonic() - began
    return run


# ---------------------------------------------------------------- text


def read_prompt(run: Run) -> Prompt:
    """Text tokens and the shot's look: one for all windows, so that the light of minute two is that of minute one."""
    run.phase("text")
    shot, j = run.shot, run.shot.job
    sun = sun_facts(shot)
    asked, avoided = negation.split(j.prompt)
    avoided = f"{avoided} {j.negative_prompt}".strip()
    said, prompt = things.things(asked, j.objects)
    own, prompt = run.model.own(prompt)
    shown, seen = references(run)
    told = words.tells_light(prompt) or shading.tells_light(own) or shown is not None
    some = sorted({0, shot.frames // 2, shot.frames - 1})
    facts = maps(shot, some, None, None, torch.float32, run.tick)
    statistics = conditions.statistics(facts, None if told or sun is None else sun[1], bool(lamps(shot)))[None]
    raw, tokens, pooled, _ = run.model.look(text.encode([words.as_taught(prompt)]), statistics)
    raw_un, tokens_un, pooled_un, _ = run.model.look(text.encode([words.as_taught(avoided or PLAIN)]), statistics)
    if avoided:
        raw = shading.without(raw, raw_un, run.model.look(text.encode([words.as_taught(PLAIN)]), statistics)[0])
    if j.guidance != 1:
        raw = sampler.guide(raw, raw_un, j.guidance)
    raw = shading.only_named(raw + own, prompt, avoided)
    if shown is not None:
        raw = shading.by_reference(raw, shown, words.tells_light(prompt), bool(words.named(prompt, words.STYLES)))
    tokens = torch.cat([tokens, seen], 1)
    look = shading.with_sky(shading.unpack(raw), torch.tensor([1.0 + j.seed % 97]))
    look = shading.in_place(look, facts[None])
    if not told:  # what the prompt leaves open the scene knows
        look |= own_light(shot, look)
    angle = torch.full((1, 1, 1, 1, 1), azimuth(shot))
    toward = shading.sun_direction(look["height"].clamp_min(LOWEST_SUN), angle).flatten()
    rows: list[Mapping[str, Tensor]]
    rows = [shading.of_its_own(t.material, t.dye, t.glows, mirrors(facts, shot, some, t)) for t in said]
    worn = dress(run, pooled[0], statistics[0], shading.paint(look))
    rows += [d.row for d in worn]
    look |= {f"own_{name}": torch.cat([row[name] for row in rows]) for name in rows[0]} if rows else {}
    paints = [shading.paint({**look, **{k: v[:, None, :, None, None] for k, v in row.items()}}) for row in rows]
    wearing = [*(torch.tensor(sorted(t.objects)) for t in said), *(d.objects for d in worn)]
    laid = [(objects, replace(p, lines=False)) for objects, p in zip(wearing, paints, strict=True)]
    known = pictures.known(shot, run.full or shot)
    return Prompt((tokens, pooled), (tokens_un, pooled_un), look, angle, toward, shading.paint(look), laid, known)


def references(run: Run) -> tuple[Tensor | None, Tensor]:
    """The raw look (1, LOOK_WIDTH) that the job's reference pictures have on average, None where there are none, and
    the tokens (1, S, D) of what they show."""
    folder, model = run.shot.job.folder, run.model
    paths = [job.inside(folder, path) for path in run.shot.job.references]
    if not paths or model.reference is None:
        return None, torch.zeros(1, 0, model.config.width)
    shown = torch.stack([as_reference(pictures.as_tensor(pictures.load_picture(path))) for path in paths])
    raw, tokens = model.reference(shown)
    return raw.mean(0, keepdim=True), tokens[:MOST_SHOWN].flatten(0, 1)[None]


def dress(run: Run, pooled: Tensor, statistics: Tensor, paint: patterns.Paint) -> list[finishes.Dressed]:
    """Finishes for objects whose colour nobody knows: all of them where the job has no base colours, those that the
    scene calls bare, and each as far as the artist wants surfaces painted anew. What the prompt's own material lies
    on needs none. pooled: the prompt's tokens (D,); the scene's statistics (STATISTICS,)."""
    shot, model = run.shot, run.model
    bare = {int(thing["index"]) for thing in shot.job.objects if thing.get("bare") and shot.job.dress}
    anew = 1.0 if "base" not in shot.passes else 1 - shot.job.control_strength
    if model.dresser is None or not (bare or anew > 0):
        return []
    frames = job.spread(shot.frames)
    facts = maps(shot, frames, None, None, torch.float16, run.tick)
    objects, told = finishes.facts(facts, shot.index(frames), shot.anchors(frames), torch.zeros(3), shot.scale)
    told[torch.tensor([int(o) in bare for o in objects], dtype=torch.bool), finishes.GLOSS] = 0
    names = {int(thing["index"]): str(thing["name"]) for thing in shot.job.objects}
    called = [names.get(value, "") or str(value) for value in objects.tolist()]
    rows = finishes.encode_names([names.get(value, "") for value in objects.tolist()])
    worn = finishes.draw(model.dresser(told, rows, pooled, statistics), called, shot.job.seed)
    out = []
    for share, chosen in ((1.0, [int(o) in bare for o in objects]), (anew, [int(o) not in bare for o in objects])):
        covered = finishes.covered(told, paint)
        picked = torch.tensor([c and not hidden for c, hidden in zip(chosen, covered, strict=True)], dtype=torch.bool)
        if share > 0 and picked.any():
            out += finishes.dressed(objects[picked], [w for w, p in zip(worn, picked, strict=True) if p], share)
    run.state.note(finishes={called[i]: worn[i] for i in range(len(worn)) if any(objects[i] in d.objects for d in out)})
    return out


def mirrors(facts: Tensor, shot: Shot, frames: list[int], thing: things.Thing) -> bool:
    """Whether a thing is of metal or glass all over: else what it has of both shows through what it is given."""
    at = torch.isin(shot.index(frames), torch.tensor(sorted(thing.objects)))
    gloss = facts[:, conditions.SLICE["mirror"].start][at]
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
    each = partial(take.spread, run)
    return weakened(run, maps(run.shot, frames, shadow, prompt.paint, torch.float16, run.tick, prompt.own, each=each))


def weakened(run: Run, out: Tensor) -> Tensor:
    strength = run.shot.job.control_strength
    if strength < 1:
        out[:, conditions.SLICE["has_base"]] *= strength
    return out


def window_noise(run: Run, frames: list[int]) -> Tensor:
    """Noise (f, 3, H, W) that sticks to surfaces; a frame has the same noise in every window that holds it."""
    shot = run.shot

    def noise(f: int) -> Tensor:
        run.tick()
        depth = shot.depth([f])
        footprint, sky = anchors.footprint(depth, shot.K[[f]]), ~torch.isfinite(depth)
        return surface_noise(shot.anchors([f]), footprint, sky, rays(shot, [f]), shot.job.seed, torch.tensor([f]))

    return torch.cat(take.spread(run, noise, frames))


def look_back(
    run: Run, prompt: Prompt, into: Tensor, frames: list[int], keyframes: list[tuple[int, np.ndarray]]
) -> None:
    """Writes what accepted frames, and else keyframes, show of each surface into the conditions, in place. The sky is
    no surface: it follows from its direction alone, and where a frame ended, or a house stood, would be drawn on it."""
    sources = [
        (torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 127.5 - 1, run.shot.view(f))
        for f, picture in keyframes
    ]

    def seen(i: int) -> None:
        run.tick()
        f = frames[i]
        solid = into[i, conditions.SLICE["sky"]][0] < 0.5
        colour, valid = reproject.gather(sources, run.shot.view(f)) if sources else (torch.zeros(1), torch.zeros(1) > 0)
        if prompt.known.pictures:
            accepted, sure = prompt.known.seen(f)
            colour, valid = torch.where(sure, accepted, colour), valid | sure
        if f in prompt.known.pictures:
            picture = prompt.known.pictures[f]
            conditions.put_reactive(into[i : i + 1], picture.colour[None], picture.erased[None])
        conditions.put_cache(into[i : i + 1], colour[None], (valid & solid)[None])

    take.spread(run, seen, range(len(frames)))


# ---------------------------------------------------------------- sample


def predict(run: Run, clip: Sample, prompt: Prompt) -> Tensor:
    """The clean picture x0 (f, 3, H, W) of a clip as the model sees it, guided away from the negative prompt."""
    x0 = predicted(run, clip)
    if run.shot.job.guidance == 1:
        return x0
    tokens, pooled = prompt.avoided
    return sampler.guide(x0, predicted(run, replace(clip, tokens=tokens[0], pooled=pooled[0])), run.shot.job.guidance)


def predicted(run: Run, clip: Sample) -> Tensor:
    with products(run):
        return run.model([clip], run.tick)[0]["x0"]


def products(run: Run) -> torch.autocast:
    """Products in the precision that the machine was found to be quick in."""
    return torch.autocast(run.at.device, run.at.dtype, enabled=run.at.dtype != torch.float32)


def denoise(
    run: Run, name: str, noise: Tensor, cond: Tensor, prompt: Prompt, done_steps: int, all_steps: int
) -> Tensor:
    """From noise to the clean picture (f, 3, H, W); every step's sample is kept, a kept one is gone on from. All steps
    but the last ones settle what is large, on a sketch of every other pixel; the last ones draw it at its own size."""
    steps = run.shot.job.steps
    times = schedule.times(steps, schedule.size_shift(*cond.shape[-2:]))
    sketched = steps - drawn_steps(steps)
    kept = run.state.sampled(name, steps)
    begin_at, x = (kept[0], torch.from_numpy(kept[1])) if kept else (0, sketch(noise) if sketched else noise)
    tokens, pooled = prompt.tokens
    began, clip = time.monotonic(), None
    for i in range(begin_at, steps):
        if clip is None or i == sketched:
            seen, left = (sketch(cond), sketched - i) if i < sketched else (cond, steps - i)
            clip = Sample(x, seen, torch.ones(()), tokens[0], pooled[0], prompt.look, prompt.azimuth,
                          known=know(run, seen, prompt) if left > 1 else None)  # fmt: skip
        spent = time.monotonic() - began
        run.phase("sample", done_steps + i, all_steps, eta(spent, begin_at, i, steps, done_steps, all_steps))
        x0 = predict(run, replace(clip, x=x, t=torch.tensor(times[i], dtype=torch.float32)), prompt)
        preview(run, x0[len(x0) // 2])
        if i + 1 == sketched:
            x = schedule.mix(grown(x0, cond), noise, torch.tensor(times[i + 1], dtype=torch.float32))
        else:
            x = sampler.step(x, x0, times[i], times[i + 1])
        if i + 1 < steps:
            run.state.keep(f"{name}_step_{i + 1}", x.numpy(), replaces=f"{name}_step_{i}" if i else None)
    return x


def drawn_steps(steps: int) -> int:
    """How many of the steps are taken at the picture's own size: the last quarter."""
    return -(-steps // DRAWN)


def sketch(maps: Tensor) -> Tensor:
    """(f, C, H, W) -> about half as high and wide, in whole patches. Pixels are picked, never mixed, so that each stays
    one surface's."""
    height, width = (-(-side // (2 * job.PATCH)) * job.PATCH for side in maps.shape[-2:])
    return F.interpolate(maps, (height, width), mode="nearest-exact")


def grown(x0: Tensor, like: Tensor) -> Tensor:
    """A sketch at the size of the whole maps."""
    return F.interpolate(x0, like.shape[-2:], mode="bilinear", align_corners=False)


def know(run: Run, cond: Tensor, prompt: Prompt) -> Told:
    with products(run):
        return run.model.know(cond, prompt.look, run.tick)


def eta(spent: float, began: int, step: int, steps: int, done: int, total: int) -> float | None:
    """Seconds that sampling still takes, by what the steps since `began` took; None where nothing tells."""
    if not total or step == began:
        return None
    work = [1.0 if i >= steps - drawn_steps(steps) else SKETCH_COST for i in range(steps)]
    left = sum(work[step:]) + (total - done - steps) / steps * sum(work)
    return spent / sum(work[began:step]) * left


def sample_known(run: Run, prompt: Prompt, shadow: Shadows) -> Carried | None:
    """What the model makes of accepted frames, as stills: the difference is carried into all others. None: there are
    none."""
    if not prompt.known.pictures:
        return None
    for frame in prompt.known.pictures:
        name = f"known_{frame:06d}"
        if run.state.find(name) is None:
            cond = window_maps(run, prompt, shadow, [frame])
            look_back(run, prompt, cond, [frame], [])
            x0 = denoise(run, name, window_noise(run, [frame]), cond, prompt, 0, 0)
            run.state.keep(name, to_bytes(x0), replaces=f"{name}_step_{run.shot.job.steps - 1}")

    def made(frame: int) -> np.ndarray:
        kept = run.state.find(f"known_{frame:06d}")
        if kept is None:
            raise job.BadJob(f"state/known_{frame:06d}.npy changed while the job ran; run the job again")
        return unstaired(run, enlarged(run, prompt, shadow, np.array(kept[0]), frame), frame)

    large = prompt.known if run.full is None else pictures.known(run.full, run.full)
    return Carried(large, made)


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
        if number or prompt.known.pictures:
            look_back(run, prompt, cond, [frame], known_frames(run, plan, frame, range(number)))
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
    look_back(run, prompt, cond, frames, known_frames(run, plan, keyframe(plan, number), range(len(plan))))
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
        facts = window_maps(run, prompt, shadow, [frame])[0]
        sampled = torch.from_numpy(picture).permute(2, 0, 1).float() / 127.5 - 1
        height, index = run.full.size[1], run.shot.index([frame])[0]
        calm = tuple(name for name in enlarge.CALM if name in run.full.passes)
        small = enlarge.small(sampled, facts, index, height, prompt.look, prompt.azimuth, calm)
    bands = [slice(y, min(y + BAND, height)) for y in range(0, height, BAND)]  # each fits the processor's cache
    return np.concatenate([large_rows(run, prompt, shadow, small, frame, rows) for rows in bands])


def large_rows(
    run: Run, prompt: Prompt, shadow: Shadows, small: enlarge.Small, frame: int, rows: slice
) -> np.ndarray:
    """Some rows (f, W, 3) of a frame at the passes' size."""
    assert run.full is not None  # there is something to enlarge to
    run.tick()
    beside = HALO if prompt.paint.lines else 1  # rims of glass and of metal look at their neighbours
    seen = slice(max(0, rows.start - beside), min(run.full.size[1], rows.stop + beside))
    shot = banded(run.full, seen, enlarge.CALM)
    with torch.inference_mode():
        own = replace(shadow, shot=shot)
        facts = maps(shot, [frame], own, prompt.paint, torch.float32, run.tick, prompt.own, shaded_only=True)
        facts = weakened(run, facts)[0]
        made = enlarge.enlarge(small, facts, shot.index([frame])[0], seen.start, prompt.look, prompt.azimuth)
        return to_bytes(made[None])[0, rows.start - seen.start :][: rows.stop - rows.start]


def unstaired(run: Run, picture: np.ndarray, frame: int) -> np.ndarray:
    """A frame (H, W, 3) with smooth silhouettes: the passes know one surface a pixel."""
    shot = run.full or run.shot
    at = smooth.edges(shot.depth([frame])[0], shot.normal([frame])[0], shot.index([frame])[0])
    out = smooth.smooth(torch.from_numpy(picture).float() / 255, at)
    return (out * 255).round().clamp(0, 255).byte().numpy()


def write_frames(
    run: Run, prompt: Prompt, shadow: Shadows, plan: list[windows.Window], number: int, carried: Carried | None = None
) -> None:
    """Frames that no later window changes."""

    def picture(frame: int) -> np.ndarray:
        made = unstaired(run, enlarged(run, prompt, shadow, final_frame(run, plan, number, frame), frame), frame)
        return made if carried is None else carried.into(made, frame)

    take.write_frames(run, windows.owned(plan, number), picture, run.at.threads)


def told(run: Run) -> dict[str, Any]:
    own = list(run.model.config.words)
    worn = run.state.facts.get("finishes")
    return {"warnings": warnings(run)} | ({"own_words": own} if own else {}) | ({"finishes": worn} if worn else {})


def warnings(run: Run) -> list[str]:
    """What was asked for and could not be given, in words."""
    out = [run.state.told] if run.state.told else []
    if run.shot.job.negative_prompt and run.shot.job.guidance == 1:
        out.append("The negative prompt has no effect at guidance 1; raise guidance to 1.5 or more")
    if run.shot.job.prompt and not words.words(run.shot.job.prompt):
        out.append("No words were found in the prompt; the look is the plainest daylight")
    known = [*scene_names(run.shot), *run.model.config.words]
    strange = words.not_understood(" ".join(negation.split(run.shot.job.prompt)), known)
    if strange:
        out.append(f"Not understood, so without effect: {', '.join(strange[:MOST_TOLD])}")
    return out


def scene_names(shot: Shot) -> list[str]:
    """What the scene calls its things: to name one in the prompt is to be understood."""
    lists = [shot.job.objects, *(shot.job.scene.get(kind) for kind in ("objects", "materials"))]
    things = [thing for found in lists if isinstance(found, list | tuple) for thing in found]
    return [str(thing["name"]) for thing in things if isinstance(thing, Mapping) and "name" in thing]
