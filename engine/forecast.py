"""`python -m engine need`: what a job would need on this machine and whether its model can be told what it asks for,
before anything is captured. Opens the model's files by their headers; loads nothing.

Reads the job's fields as one JSON object from stdin, `camera_frames` among them: how many frames each camera films.
Answers with one line of JSON: `words` for the artist, or `problem`, one sentence, where the job would be refused.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import job, need


def main(arguments: list[str]) -> int:
    argparse.ArgumentParser("python -m engine need", description=__doc__).parse_args(arguments)
    from .worker import explain, private_stdout

    out = private_stdout()
    try:
        told = forecast(json.loads(sys.stdin.read()))
    except (ValueError, OSError, ImportError) as error:  # in the words that the job itself would end with
        told = {"problem": explain(error).reason}
    out.write(json.dumps(told).encode() + b"\n")
    return 0


def forecast(values: Mapping[str, Any]) -> dict[str, Any]:
    """Of a job with these fields of job.json. Raises BadJob, BadWeights."""
    from . import generate_wan
    from .weights import machine, networks

    counts = [int(count) for count in values.get("camera_frames") or [1]]
    asked = job.parse(Path(), {"version": job.VERSION, "id": "forecast", **without(values, "camera_frames")})
    listed = generate_wan.known_models()
    entry, loras = generate_wan.found_model(asked, listed), generate_wan.found_loras(asked, listed)
    at = generate_wan.chosen_machine()
    model = networks.open_model(entry, at.device, at.dtype)
    networks.merge(model, loras)
    generate_wan.refuse(asked, model.transformer, entry, counts)
    recipe = generate_wan.recipe_of(model, loras)
    size = generate_wan.sampled_size(asked.size, recipe, model)
    settled = job.settled(asked, recipe.steps, recipe.guidance)
    clip = clip_of(settled, size, max(counts), recipe.frames, model)
    facts = need.Facts(**networks.facts(model.opened))
    return {
        "sampled": list(size), "steps": settled.steps, "guidance": settled.guidance,
        "controls": list(model.transformer.controls), "fps": recipe.fps, **rung(facts, clip, at, machine),
    }  # fmt: skip


def without(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def clip_of(asked: job.Job, size: tuple[int, int], frames: int, longest: int, model: Any) -> need.Clip:
    """What is sampled at once: a window of the longest camera's frames, reference pictures in front of them."""
    from . import windows
    from .models.wan import shapes

    shape = shapes.latent(min(frames, longest), size[1], size[0], model.latents)
    front = len(asked.references) if model.transformer.vace_layers else 0
    tokens = (windows.latent_frames(min(frames, longest)) + front) * (shape.tokens // shape.frames)
    cached = bool(asked.speed.get("cache")) and frames <= longest
    return need.Clip(*size, tokens, asked.guidance != 1, cached)


def rung(facts: need.Facts, clip: need.Clip, at: Any, machine: Any) -> dict[str, Any]:
    """The first rung of the ladder that fits in what is free now, in the words that the job itself will say."""
    import torch

    size = torch.finfo(at.dtype).bits // 8
    free, host = machine.free(at.device), machine.free("cpu")
    number = need.on_processor(facts, clip, free, 0, size) if at.device == "cpu" else need.choose(
        facts, clip, free, host, 0, size)
    needed, how = need.of(facts, clip, need.RUNGS[number], size).device, need.RUNGS[number].words
    there = machine.name(at.device)
    words = f"Needs {need.gigabytes(needed)} of {need.gigabytes(free)} that are free on {there}: {how}"
    return {"words": words, "rung": number, "needed": needed, "free": free, "device": at.device}


