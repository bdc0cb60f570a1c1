"""Loads the networks of the Wan family from the files that go about, whatever their names, precision and number.

Headers first: what does not fit is refused before any number is read. Then tensor by tensor, so that no more than one
is held beside the model: numbers that are not finite are refused by name, 8-bit ones stay as they are with their scale.
What the blocks multiply with goes to the chosen precision; norms and biases to float32; the network's both ends stay as
they were stored. Knows files and networks; knows no job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..models.wan import catalogue, config, names, vocabulary
from ..models.wan.autoencoder import Autoencoder
from ..models.wan.image import ImageEncoder
from ..models.wan.linear import EIGHT_BITS, Linear
from ..models.wan.text import TextEncoder
from ..models.wan.tokenizer import Tokenizer
from ..models.wan.transformer import Wan
from .header import AGAIN, BadWeights, Entry, Header, read_set
from .kinds import foreign, further

READ = {"F32": 4, "BF16": 2, "F16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "F64": 8}
BLOCKS = (  # what runs in the chosen precision
    "blocks.", "vace_blocks.", "token_embedding.", "encoder.", "decoder.", "transformer.",
)  # fmt: skip
FINE = ("modulation", "gamma", "emb_pos", "pos_embedding.embedding.weight")  # few numbers that are added or scale all
SPIECE = "spiece_model"  # a tokenizer's bytes, within a text encoder's file

Tick = Callable[[], None]
Network = Wan | Autoencoder | TextEncoder | ImageEncoder


def _nothing() -> None:
    return None


@dataclass(frozen=True)
class Checkpoint:
    """A network of this family in its files: what the headers say, and that it fits."""

    headers: list[Header]
    named: names.Named
    config: config.Config
    variant: str | None  # the official checkpoint that has these names and shapes

    @property
    def role(self) -> str:
        return self.named.role

    @property
    def file(self) -> str:
        return self.headers[0].path.name

    @property
    def tensors(self) -> dict[str, tuple[Path, Entry]]:
        return {name: (h.path, found) for h in self.headers for name, found in h.tensors.items()}

    @property
    def bytes(self) -> int:
        """Of the network's tensors as they are stored."""
        held = self.tensors
        return sum(held[name][1].end - held[name][1].begin for name in self.named.names.values())


def open_set(path: Path | str, role: str = "") -> Checkpoint:
    """What lies in a file, a set of shards or a folder; with `role`, refuses another. Raises BadWeights."""
    headers = read_set(path)
    file = headers[0].path.name
    shapes = {name: found.shape for header in headers for name, found in header.tensors.items()}
    named = names.find(shapes)
    if named is None:
        raise BadWeights(f"{file} is {foreign(shapes)}: expected {a(role or 'network')} of the Wan family")
    if role and named.role != role:
        raise BadWeights(f"{file} is {a(named.role)} of the Wan family: expected {a(role)}; choose another file")
    official = {name: shapes[there] for name, there in named.names.items()}
    try:
        found = config.read(named.role, official)
    except config.Unknown as error:
        raise BadWeights(f"{file} is a damaged Wan {named.role}: {error}; {AGAIN}") from error
    checkpoint = Checkpoint(headers, named, found, catalogue.known(official))
    refuse_misfits(checkpoint, official)
    return checkpoint


def a(thing: str) -> str:
    return f"an {thing}" if thing[0] in "aeiou" else f"a {thing}"


def made(found: config.Config) -> Network:
    """The network without numbers."""
    with torch.device("meta"):
        if isinstance(found, config.WanConfig):
            return Wan(found)
        if isinstance(found, config.ImageConfig):
            return ImageEncoder(found)
        return Autoencoder(found) if isinstance(found, config.AutoencoderConfig) else TextEncoder(found)


@lru_cache(maxsize=32)
def wanted_shapes(found: config.Config) -> Mapping[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in made(found).state_dict().items()}


def refuse_misfits(checkpoint: Checkpoint, official: config.Shapes) -> None:
    """Every tensor that the network has is there, of its shape and of a type that can be read, and no other is."""
    file, held = checkpoint.file, checkpoint.tensors
    wanted = wanted_shapes(checkpoint.config)
    for name, shape in wanted.items():
        if name not in official:
            raise BadWeights(f"{file} lacks {name}: {AGAIN}")
        there = held[checkpoint.named.names[name]][1]
        if there.dtype not in READ:  # before its shape: numbers of four bits go in pairs
            raise BadWeights(f"{file}: {name} is stored as {there.dtype}, expected one of {', '.join(READ)}")
        if official[name] != shape:
            raise BadWeights(
                f"{file}: {name} is {official[name]}, expected {shape}; its names are mixed up, or {AGAIN}"
            )
    extra = sorted(set(official) - set(wanted))
    if extra:
        use = further(extra)
        reason = f"it is made for {use}" if use else "this engine does not know what they are for"
        raise BadWeights(f"{file} has {len(extra)} tensors beyond the network, {extra[0]} first: {reason}")
    lost = sorted(set(checkpoint.named.scales) - set(wanted))
    if lost:
        raise BadWeights(f"{file} has a scale for {lost[0]}, which is not in it: {AGAIN}")


@dataclass(frozen=True)
class Manner:
    """How a network's numbers are kept."""

    dtype: torch.dtype = torch.float32  # of its products
    stored: bool = False  # as they lie in the file, if that is no more than this; widened while their layer runs
    eight_bit: bool = False  # the blocks' matrices, each row by its largest number
    patch: Callable[[str, Tensor], Tensor] | None = None  # changes a tensor as it is read: LoRAs


def load(
    checkpoint: Checkpoint, dtype: torch.dtype = torch.float32, device: str = "cpu", tick: Tick = _nothing,
    manner: Manner | None = None,
) -> Network:  # fmt: skip
    """The network, ready to run with products in `dtype`. Raises BadWeights."""
    model, manner = made(checkpoint.config), manner or Manner(dtype)
    for name, tensor, scale in stored(checkpoint, device):
        put(checkpoint.file, model, name, tensor, scale, manner)
        tick()
    model.compute = manner.dtype
    return model.eval()


def stored(checkpoint: Checkpoint, device: str) -> Iterator[tuple[str, Tensor, Tensor | None]]:
    """All tensors by official names, with their scales, in the order of the files."""
    scales = {name: tensor for name, tensor in read_tensors(checkpoint, checkpoint.named.scales, device)}
    for name, tensor in read_tensors(checkpoint, checkpoint.named.names, device):
        yield name, tensor, scales.get(name)


def read_tensors(checkpoint: Checkpoint, table: names.Mapping[str, str], device: str) -> Iterator[tuple[str, Tensor]]:
    by_file = {there: name for name, there in table.items()}
    for header in checkpoint.headers:
        chosen = [name for name in header.tensors if name in by_file]
        try:
            with safe_open(header.path, "pt", device=device) as file:
                for there in chosen:
                    yield by_file[there], file.get_tensor(there)
        except (SafetensorError, OSError) as error:
            raise BadWeights(f"{header.path.name} can't be read ({error}): {AGAIN}") from error


def put(file: str, model: nn.Module, name: str, value: Tensor, scale: Tensor | None, manner: Manner) -> None:
    """One tensor into its place, in the precision of that place."""
    refuse_not_finite(file, name, value)
    path, _, leaf = name.rpartition(".")
    owner = model.get_submodule(path)
    if scale is not None:
        refuse_not_finite(file, f"the scale of {name}", scale)
        scale = scale.float().reshape(-1)
        if scale.numel() not in (1, value.shape[0]):
            raise BadWeights(f"{file}: {name} has {scale.numel()} scales, expected 1 or {value.shape[0]}")
    value, scale = patched(name, value, scale, manner)
    matrix = isinstance(owner, Linear) and leaf == "weight" and value.dim() == 2
    if matrix and manner.eight_bit and value.dtype not in EIGHT_BITS and name.startswith(BLOCKS):
        value, scale = rounded(value)
    stays = value.dtype in EIGHT_BITS and matrix
    if stays and isinstance(owner, Linear):
        owner.scale = scale
    elif scale is not None:
        value = value.float() * scale.view(-1, *[1] * (value.dim() - 1))
    if not stays and value.dtype != (wanted := precision(name, value, manner)):
        value = value.to(wanted)
        refuse_not_finite(file, f"{name} in {str(wanted).removeprefix('torch.')}", value)
    setattr(owner, leaf, nn.Parameter(value, requires_grad=False))


def patched(name: str, value: Tensor, scale: Tensor | None, manner: Manner) -> tuple[Tensor, Tensor | None]:
    """A tensor with its LoRAs' changes; one of 8 bits that they change is widened, and rounded anew."""
    if manner.patch is None:
        return value, scale
    wide = value if scale is None else value.float() * scale.view(-1, *[1] * (value.dim() - 1))
    changed = manner.patch(name, wide)
    if changed is wide:
        return value, scale
    return rounded(changed) if value.dtype in EIGHT_BITS else (changed, None)


def rounded(value: Tensor) -> tuple[Tensor, Tensor]:
    """(out, in) in 8 bits (e4m3: three bits behind the point, an error of 1 in 16 at most), and what each row was
    divided by (out,) float32."""
    value = value.float()
    scale = value.abs().amax(1).clamp_min(1e-12) / torch.finfo(torch.float8_e4m3fn).max
    return (value / scale[:, None]).to(torch.float8_e4m3fn), scale


def precision(name: str, value: Tensor, manner: Manner) -> torch.dtype:
    """In which type a tensor lies while the network runs."""
    if value.dim() < 2 or name.endswith(FINE):
        return torch.float32
    if name.startswith(BLOCKS):
        halves = manner.stored and value.dtype in (torch.bfloat16, torch.float16)
        return value.dtype if halves else manner.dtype
    return torch.float32 if value.dtype in (*EIGHT_BITS, torch.float64) else value.dtype


def refuse_not_finite(file: str, name: str, value: Tensor) -> None:
    if not finite(value):
        raise BadWeights(f"{file}: {name} holds numbers that are not finite; {AGAIN}")


def finite(value: Tensor) -> bool:
    """Whether all numbers are. Of 8 bits, the patterns that stand for none are looked for: there is no arithmetic. Of
    others the least and the greatest tell, in one pass: a number that is none makes both of them none."""
    if value.dtype == torch.float8_e4m3fn:
        return not bool((value.view(torch.uint8) & 0x7F == 0x7F).any())
    if value.dtype == torch.float8_e5m2:
        return not bool((value.view(torch.uint8) & 0x7C == 0x7C).any())
    return all(bool(end.isfinite()) for end in value.aminmax())


def tokenizer(path: Path | str) -> Tokenizer:
    """The tokenizer that lies in a text encoder's own file, as Comfy's repackings have it. Raises BadWeights."""
    for header in read_set(path):
        name = next((name for name in header.tensors if name.rpartition(".")[2] == SPIECE), None)
        if name is None:
            continue
        found = header.tensors[name]
        with header.path.open("rb") as file:
            file.seek(found.begin)
            data = file.read(min(found.end - found.begin, vocabulary.MOST_BYTES))
        try:
            return vocabulary.parse(data)
        except vocabulary.MALFORMED as error:
            raise BadWeights(f"{header.path.name}: {name} is no vocabulary ({error}); {AGAIN}") from error
    raise BadWeights(f"{Path(path).name} holds no tokenizer: get tokenizer.json or spiece.model of umT5, too")
