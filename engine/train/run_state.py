"""Where a training run stands, kept beside its weights: what they lack to go on without loss.

Raw weights and their average in float32, the optimiser's moments; every random state and the clips in use among the facts.
Knows tensors and names; knows nothing of what is trained. One safetensors file, written beside and renamed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .team import spread_like, whole

NAME = "train-state.safetensors"
MOMENTS = ("exp_avg", "exp_avg_sq")  # AdamW's, as torch names them


@dataclass(frozen=True)
class RunState:
    facts: dict[str, Any]  # step, seconds, the run's name, data
    groups: dict[str, dict[str, Tensor]]  # "raw", "average", "exp_avg", "exp_avg_sq"


def moments(optimiser: torch.optim.Optimizer, model: torch.nn.Module) -> dict[str, dict[str, Tensor]]:
    """The optimiser's two moments by the parameter's name; a parameter without a gradient yet has none."""
    names = {id(p): name for name, p in model.named_parameters()}
    out: dict[str, dict[str, Tensor]] = {kind: {} for kind in MOMENTS}
    for parameter, values in optimiser.state.items():
        for kind in MOMENTS:
            out[kind][names[id(parameter)]] = whole(values[kind])
    return out


def restore_moments(
    optimiser: torch.optim.Optimizer, model: torch.nn.Module, groups: dict[str, dict[str, Tensor]],
    steps: dict[str, float],
) -> None:  # fmt: skip
    for name, parameter in model.named_parameters():
        if name in groups[MOMENTS[0]]:
            kept = {kind: spread_like(groups[kind][name], parameter) for kind in MOMENTS}
            optimiser.state[parameter] = {"step": torch.tensor(steps[name]), **kept}


def steps_of(optimiser: torch.optim.Optimizer, model: torch.nn.Module) -> dict[str, float]:
    """How often each parameter was updated: the bias correction needs it."""
    names = {id(p): name for name, p in model.named_parameters()}
    return {names[id(p)]: float(values["step"]) for p, values in optimiser.state.items()}


def save(folder: Path, state: RunState) -> None:
    flat = {
        f"{group}/{name}": value.detach().cpu().contiguous()
        for group, members in state.groups.items()
        for name, value in members.items()
    }
    part = folder / f"{NAME}.part"
    save_file(flat, part, {"facts": json.dumps(state.facts)})
    part.replace(folder / NAME)


def load(folder: Path) -> RunState | None:
    """None where there is none, or none that can be read: the weights alone are gone on from then."""
    path = folder / NAME
    if not path.is_file():
        return None
    groups: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {})["facts"])
            for key in file.keys():  # noqa: SIM118 - not a dict
                group, name = key.split("/", 1)
                groups.setdefault(group, {})[name] = file.get_tensor(key)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        print(f"{path} cannot be read ({error}): going on from the weights alone", flush=True)
        return None
    return RunState(facts, groups)
