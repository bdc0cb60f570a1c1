"""LoRAs: small changes to a transformer's weights, merged into them while they are read.

    W' = W + strength alpha / rank  up down          (Hu et al. 2021, eq. 3)

Under official names, diffusers', kohya's and lightx2v's, beside whole differences of weights and biases. What fits
nowhere is refused by name; what fits only in part is told. Knows files and names; knows no network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..models.wan.config import Shapes
from ..models.wan.names import DIFFUSERS_TRANSFORMER
from .header import AGAIN, BadWeights, read
from .kinds import foreign

ENDS: tuple[tuple[str, str], ...] = (  # how a LoRA's tensors end, and what they are
    (r"\.lora_(?:down|A)(?:\.default)?\.weight$", "down"),
    (r"\.lora_(?:up|B)(?:\.default)?\.weight$", "up"),
    (r"\.alpha$", "alpha"),
    (r"\.diff$", "weight"),
    (r"\.diff_b$", "bias"),
)
PREFIXES = ("diffusion_model.", "transformer.", "model.diffusion_model.", "base_model.model.", "lora_unet__",
            "lora_unet_", "unet.")  # fmt: skip
KOHYA = re.compile(r"^(blocks|vace_blocks)_(\d+)_(.+)$")  # dots became underscores
KOHYA_PARTS = ("self_attn", "cross_attn", "ffn", "norm_q", "norm_k", "norm_k_img", "k_img", "v_img", "before_proj",
               "after_proj")  # fmt: skip


@dataclass
class Change:
    """What one layer is changed by."""

    down: Tensor | None = None  # (rank, in)
    up: Tensor | None = None  # (out, rank)
    alpha: float | None = None
    weight: Tensor | None = None  # a whole difference
    bias: Tensor | None = None


@dataclass
class Merger:
    """The changes of all LoRAs of a job; each tensor that is read passes here."""

    parts: list[tuple[str, float, Mapping[str, Change]]] = field(default_factory=list)  # name, strength, by layer

    def __call__(self, name: str, value: Tensor) -> Tensor:
        """A tensor by its official name, changed: float32 where it was, else itself."""
        layer, _, leaf = name.rpartition(".")
        for _, strength, changes in self.parts:
            found = changes.get(layer)
            change = None if found is None else difference(found, leaf)
            if change is not None and strength:
                value = value.float() + strength * change.to(value.device).reshape(value.shape)
        return value


def difference(change: Change, leaf: str) -> Tensor | None:
    """Of a layer's weight or bias; None where it has none."""
    if leaf == "bias":
        return None if change.bias is None else change.bias.float()
    if leaf != "weight":
        return None
    if change.weight is not None:
        return change.weight.float()
    if change.down is None or change.up is None:
        return None
    rank = change.down.shape[0]
    scale = 1.0 if change.alpha is None else change.alpha / rank
    return scale * (change.up.float().flatten(1) @ change.down.float().flatten(1))


def layer_of(name: str) -> tuple[str, str] | None:
    """Official name of the layer that a LoRA's tensor changes, and which part of the change it is; None: neither."""
    kind = next((kind for end, kind in ENDS if re.search(end, name)), None)
    if kind is None:
        return None
    for end, _ in ENDS:
        name = re.sub(end, "", name)
    for prefix in sorted(PREFIXES, key=len, reverse=True):
        name = name.removeprefix(prefix)
    if found := KOHYA.match(name):
        name = f"{found[1]}.{found[2]}.{dotted(found[3])}"
    bare = f"{name}."
    if ".attn1." in bare or ".attn2." in bare or ".net." in bare or bare.startswith("condition_embedder."):
        for pattern, replacement in DIFFUSERS_TRANSFORMER:
            bare = re.sub(pattern, replacement, bare)
    return bare.rstrip("."), kind


def dotted(rest: str) -> str:
    """self_attn_norm_q -> self_attn.norm_q; ffn_0 -> ffn.0; attn1_to_q -> attn1.to_q."""
    for part in (*KOHYA_PARTS, "attn1", "attn2"):
        if rest == part:
            return rest
        if rest.startswith(f"{part}_"):
            return f"{part}.{dotted(rest[len(part) + 1 :])}"
    for long, short in (("to_out_0", "to_out.0"), ("net_0_proj", "net.0.proj"), ("net_2", "net.2")):
        if rest == long:
            return short
    return rest


def load(path: Path, name: str, shapes: Shapes) -> tuple[dict[str, Change], int, int]:
    """A LoRA's changes by layer, how many layers it changes here and how many have no place here.

    shapes: of the transformer's tensors, by official names. Raises BadWeights where nothing fits, or sizes differ.
    """
    header = read(path)
    changes: dict[str, Change] = {}
    lost: set[str] = set()
    try:
        with safe_open(path, "pt") as file:
            for key in header.tensors:
                found = layer_of(key)
                if found is None:
                    continue
                layer, kind = found
                if f"{layer}.weight" not in shapes:
                    lost.add(layer)
                    continue
                value = file.get_tensor(key)
                if not torch.isfinite(value.float()).all():
                    raise BadWeights(f"the LoRA {name}: {key[:80]} holds numbers that are not finite; {AGAIN}")
                setattr(changes.setdefault(layer, Change()), kind, float(value) if kind == "alpha" else value)
    except (SafetensorError, OSError) as error:
        raise BadWeights(f"the LoRA {name} can't be read ({error}): {AGAIN}") from error
    for layer, change in changes.items():
        refuse_misfit(name, layer, change, shapes)
    if not changes:
        what = foreign(header.tensors) if not lost else f"for another model: this one has no {min(lost)[:60]}"
        raise BadWeights(f"the LoRA {name} is {what}: nothing of it fits; choose another model or leave it out")
    return changes, len(changes), len(lost)


def refuse_misfit(name: str, layer: str, change: Change, shapes: Shapes) -> None:
    wanted, found = shapes[f"{layer}.weight"], None
    if (change.down is None) != (change.up is None):
        raise BadWeights(f"the LoRA {name} has only one half of {layer[:60]}: {AGAIN}")
    if change.down is not None and change.up is not None:
        if change.down.shape[0] != change.up.shape[1]:
            raise BadWeights(f"the LoRA {name}: the halves of {layer[:60]} do not fit each other; {AGAIN}")
        found = (change.up.shape[0], *change.down.shape[1:])
    found = found if change.weight is None else tuple(change.weight.shape)
    if found is not None and (found[0] != wanted[0] or prod(found) != prod(wanted)):
        raise BadWeights(
            f"the LoRA {name} changes {layer[:60]} by {found}, which is {wanted} in this model: it is made for a "
            "larger or smaller one; choose that, or leave it out"
        )
