"""The networks of one Wan model: opened by their headers, loaded when they are needed, let go when a rung of the memory
ladder says so. Knows files, devices and the ladder; knows no job.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import nn

from .. import job, need, official
from ..models.wan import config, recipes, vocabulary
from ..models.wan.autoencoder import Autoencoder
from ..models.wan.cache import Cache
from ..models.wan.config import AutoencoderConfig, ImageConfig, TextConfig, WanConfig
from ..models.wan.image import ImageEncoder
from ..models.wan.linear import multiply_in_eight_bits
from ..models.wan.text import TextEncoder
from ..models.wan.tokenizer import Tokenizer
from ..models.wan.transformer import Wan
from ..official import AUTOENCODER, IMAGE, LOW, TEXT, TOKENIZER, TRANSFORMER, Recipe
from ..registry import Entry, Lora
from . import checkpoint, lora
from .checkpoint import Checkpoint, Manner
from .header import BadWeights
from .swap import Swap

ROLES = {
    TRANSFORMER: config.TRANSFORMER, LOW: config.TRANSFORMER, TEXT: config.TEXT, AUTOENCODER: config.AUTOENCODER,
    IMAGE: config.IMAGE,
}  # fmt: skip

Tick = Callable[[], None]


@dataclass
class Networks:
    """The networks of one model on one device."""

    entry: Entry
    opened: dict[str, Checkpoint]
    recipe: Recipe
    device: str
    dtype: torch.dtype
    tick: Tick
    rung: need.Rung = need.RUNGS[0]
    tile: tuple[int, int] | None = None  # pixels of a tile, where pictures are decoded in tiles
    room: int = 0  # bytes of the device that blocks may fill where they are swapped
    held: dict[str, Any] = field(default_factory=dict)
    mergers: dict[str, lora.Merger] = field(default_factory=dict)  # by part
    finish: Callable[[Wan], None] | None = None  # what a run does to each transformer that it loads
    products: bool = False  # the transformers' matrix products in 8 bits
    cache: Cache | None = None  # what lets their blocks be left out

    @property
    def transformer(self) -> WanConfig:
        found = self.opened[TRANSFORMER].config
        assert isinstance(found, WanConfig)
        return found

    @property
    def latents(self) -> AutoencoderConfig:
        found = self.opened[AUTOENCODER].config
        assert isinstance(found, AutoencoderConfig)
        return found

    # loading

    def text(self) -> TextEncoder:
        return self.get(TEXT)

    def autoencoder(self) -> Autoencoder:
        return self.get(AUTOENCODER)

    def image(self) -> ImageEncoder:
        return self.get(IMAGE)

    def part(self, sigma: float) -> str:
        """Which transformer predicts at a sigma."""
        low = LOW in self.opened and not recipes.is_noisy(sigma, self.recipe.boundary)
        return LOW if low else TRANSFORMER

    def get(self, part: str) -> Any:
        """One network, ready on the device; what the rung wants away from there leaves first."""
        if part not in self.held:
            experts = {TRANSFORMER, LOW} if part in (TRANSFORMER, LOW) and not self.rung.stays else set()
            leave = [other for other in self.held if self.rung.alone or other in experts]
            if leave:
                self.let_go(*leave)
            self.held[part] = self.loaded(part)
        return self.held[part]

    def loaded(self, part: str) -> nn.Module:
        blocks = part not in (AUTOENCODER, IMAGE)
        swapped = self.rung.swapped and blocks
        eight_bit = self.rung.eight_bit or (self.products and part != TEXT)
        manner = Manner(
            self.dtype if blocks else torch.float32, swapped or part == IMAGE, eight_bit and blocks,
            self.mergers.get(part),
        )  # fmt: skip
        moves = swapped and self.device != "cpu"
        place = "cpu" if moves else self.device
        model = checkpoint.load(self.opened[part], device=place, tick=self.tick, manner=manner)
        if isinstance(model, Autoencoder):
            model.single = not self.rung.together
            model.tile = self.tile if self.rung.tiled else None
        elif moves and not isinstance(model, ImageEncoder):
            self.swap(model)
        if isinstance(model, Wan) and self.products:
            multiply_in_eight_bits(model)
        if isinstance(model, Wan) and self.finish is not None:
            self.finish(model)
        return model

    def swap(self, model: Wan | TextEncoder) -> None:
        """All but the blocks goes to the device; of these as many as there is room for."""
        blocks = list(model.order(True)) if isinstance(model, Wan) else list(model.blocks)
        inner = {id(value) for block in blocks for value in block.parameters()}
        for owner in model.modules():
            for name, value in owner._parameters.items():
                table = isinstance(model, TextEncoder) and owner is model.token_embedding
                if value is not None and id(value) not in inner and not table:
                    owner._parameters[name] = nn.Parameter(value.to(self.device), requires_grad=False)
        size = max(sum(value.nbytes for value in block.parameters()) for block in blocks)
        model.each = Swap(self.device, resident_blocks(self.room, size, len(blocks)))
        model.each.settle(blocks)

    def let_go(self, *parts: str) -> None:
        """Frees networks; without parts, all."""
        for part in parts or tuple(self.held):
            self.held.pop(part, None)
        collect(self.device)

    def tokenizer(self) -> Tokenizer:
        if TOKENIZER in self.entry.files:
            return vocabulary.read(self.entry.files[TOKENIZER])
        return checkpoint.tokenizer(self.entry.files[TEXT])


def collect(device: str) -> None:
    """What nobody holds any more goes back to the device."""
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


def resident_blocks(room: int, block: int, count: int) -> int:
    """How many blocks stay on the device where the others come and go, two at a time."""
    return max(0, min(count, room // max(1, block) - 2))


# ---------------------------------------------------------------- opening


def open_model(entry: Entry, device: str, dtype: torch.dtype, tick: Tick = lambda: None) -> Networks:
    """All networks of a model by their headers, which fit each other. Raises BadWeights."""
    missing = entry.missing
    if missing:
        raise BadWeights(
            f"{missing[0]} of the model {entry.name} is not there: fetch or import it again in the add-on's preferences"
        )
    opened = {part: checkpoint.open_set(path, ROLES[part]) for part, path in entry.files.items() if part in ROLES}
    refuse_strangers(entry.name, opened)
    found = opened[TRANSFORMER].config
    assert isinstance(found, WanConfig)
    recipe = entry.recipe or official.RECIPES.get(variant(opened)) or recipes.of_config(found, LOW in opened)
    return Networks(entry, opened, recipe, device, dtype, tick)


def variant(opened: Mapping[str, Checkpoint]) -> str:
    """Which official model it is; where one file is two of them, the number of experts tells. Empty: none."""
    names = (opened[TRANSFORMER].variant or "").split(" or ")
    return names[-1] if LOW in opened else names[0]


def refuse_strangers(name: str, opened: Mapping[str, Checkpoint]) -> None:
    """Networks that were not made for each other."""
    first, latents, words = (opened[part].config for part in (TRANSFORMER, AUTOENCODER, TEXT))
    assert isinstance(first, WanConfig) and isinstance(latents, AutoencoderConfig) and isinstance(words, TextConfig)
    if LOW in opened and opened[LOW].config != first:
        raise BadWeights(
            f"{opened[LOW].file} is no second expert of {opened[TRANSFORMER].file}: their sizes differ; choose another"
        )
    if latents.channels != first.out_channels:
        raise BadWeights(
            f"{opened[AUTOENCODER].file} has latents of {latents.channels} channels and {opened[TRANSFORMER].file} "
            f"makes {first.out_channels}: give the model {name} the autoencoder of its generation"
        )
    looks = opened[IMAGE].config if IMAGE in opened else None
    if isinstance(looks, ImageConfig) and first.image and looks.width != first.image_width:
        raise BadWeights(
            f"{opened[IMAGE].file} gives {looks.width} numbers a token and {opened[TRANSFORMER].file} reads "
            f"{first.image_width}: give the model {name} the image encoder CLIP ViT-H/14 (clip_vision_h)"
        )
    if words.width != first.text_width:
        raise BadWeights(
            f"{opened[TEXT].file} gives {words.width} numbers a token and {opened[TRANSFORMER].file} reads "
            f"{first.text_width}: give the model {name} the text encoder umT5-XXL"
        )


def merge(networks: Networks, loras: Sequence[tuple[Lora, float]]) -> list[str]:
    """Opens LoRAs for the transformers they are for; what fits only in part is told. Raises BadWeights."""
    told = []
    for entry, strength in loras:
        if entry.expert and LOW not in networks.opened:
            raise BadWeights(
                f"the LoRA {entry.name} is for the {entry.expert}-noise one of two experts, and {networks.entry.name} "
                "has one network: leave it out"
            )
        for part in parts_of(entry, networks):
            opened = networks.opened[part]
            shapes = {name: opened.tensors[there][1].shape for name, there in opened.named.names.items()}
            changes, count, lost = lora.load(entry.file, entry.name, shapes)
            networks.mergers.setdefault(part, lora.Merger()).parts.append((entry.name, strength, changes))
            if lost:
                told.append(f"Of the LoRA {entry.name}, {lost} of {count + lost} layers have no place in this model")
    return list(dict.fromkeys(told))


def parts_of(entry: Lora, networks: Networks) -> list[str]:
    wanted = {"high": (TRANSFORMER,), "low": (LOW,)}.get(entry.expert, (TRANSFORMER, LOW))
    return [part for part in wanted if part in networks.opened]


def fingerprint(networks: Networks, loras: Sequence[tuple[Lora, float]] = ()) -> str:
    """What these weights are known by: their headers, and blocks spread over all of their bytes, for the whole of
    thirty gigabytes takes minutes."""
    digest = hashlib.sha256()
    files = [header.path for part in sorted(networks.opened) for header in networks.opened[part].headers]
    for path in (*files, *(entry.file for entry, _ in loras)):
        digest.update(job.digest_of_blocks(path))
    return digest.hexdigest()


def facts(opened: Mapping[str, Checkpoint]) -> dict[str, Any]:
    """What `need.Facts` wants to know of a model's files."""
    first, latents, words = (opened[part].config for part in (TRANSFORMER, AUTOENCODER, TEXT))
    assert isinstance(first, WanConfig) and isinstance(latents, AutoencoderConfig) and isinstance(words, TextConfig)
    return {
        "width": first.width, "blocks": first.layers + len(first.vace_layers), "vace": bool(first.vace_layers),
        "parameters": parameters(opened[TRANSFORMER]), "experts": 1 + (LOW in opened),
        "text": parameters(opened[TEXT]), "text_blocks": words.layers, "generation": latents.generation,
        "image": opened[IMAGE].bytes if IMAGE in opened else 0,
    }  # fmt: skip


def parameters(opened: Checkpoint) -> int:
    held = opened.tensors
    return sum(prod(held[there][1].shape) for there in opened.named.names.values())
