"""What a job needs of a machine's memory, and the ladder of ways to make it fit. Arithmetic only: standard library.

Each rung of the ladder holds less than the one before and, down to the tiles, gives the same numbers but for the order
of sums; what a rung may change is said in its words. The figures are counted from the networks: `sampling` and
`picture` say from where, and tests/test_need.py counts them again on the networks themselves, at full size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

GB = 10**9
RESERVE = 0.6 * GB  # of a device: its driver's own, and what lies between the pieces
TILE = 512 * 384  # pixels of a tile
SUM, HINTS, CACHED = 16, 8, 16  # bytes a token, channel and prediction of a transformer that runs; VACE's row; a cache
PICTURE: Mapping[tuple[str, str, bool, int], int] = {  # bytes a pixel while a chunk passes: (2.1, decode, single, size)
    ("2.1", "decode", False, 4): 16471, ("2.1", "decode", True, 4): 12763,
    ("2.1", "decode", False, 2): 9430, ("2.1", "decode", True, 2): 6408,
    ("2.1", "encode", False, 4): 12591, ("2.1", "encode", True, 4): 9135,
    ("2.1", "encode", False, 2): 7518, ("2.1", "encode", True, 2): 5202,
    ("2.2", "decode", False, 4): 15430, ("2.2", "decode", True, 4): 11498,
    ("2.2", "decode", False, 2): 8769, ("2.2", "decode", True, 2): 5775,
    ("2.2", "encode", False, 4): 5985, ("2.2", "encode", True, 4): 4065,
    ("2.2", "encode", False, 2): 3507, ("2.2", "encode", True, 2): 2304,
}  # fmt: skip
TILED: Mapping[tuple[str, str, int], tuple[int, int]] = {  # in tiles: bytes a pixel of the picture, and of a tile
    ("2.1", "decode", 4): (2610, 10800), ("2.1", "decode", 2): (1305, 5400),
    ("2.1", "encode", 4): (1285, 8095), ("2.1", "encode", 2): (691, 4640),
    ("2.2", "decode", 4): (2205, 10500), ("2.2", "decode", 2): (1105, 5250),
    ("2.2", "encode", 4): (579, 3750), ("2.2", "encode", 2): (311, 2134),
}  # fmt: skip
REMEMBERED = {"2.1": 7680, "2.2": 5888}  # bytes a pixel that tiles' layers keep between chunks of decoding in 32 bits
OVERLAP = 2.05  # what tiles read, all together, over the picture
AUTOENCODER = {"2.1": 126_900_000, "2.2": 704_700_000}  # parameters
LOOKING = 38_000_000  # bytes beside the image encoder's weights while it runs: the widest one in float32, and tokens
UMT5 = 5_680_900_000
UMT5_TABLE = 256_384 * 4096  # of them in the table of tokens, which needs no product


@dataclass(frozen=True)
class Facts:
    """A model, as far as its memory goes."""

    width: int  # of the transformer
    blocks: int  # VACE's among them
    parameters: int  # of one transformer
    vace: bool = False
    experts: int = 1
    text: int = UMT5  # parameters of the text encoder
    text_blocks: int = 24
    generation: str = "2.1"  # of the autoencoder
    image: int = 0  # bytes of the image encoder as it is stored, where there is one


@dataclass(frozen=True)
class Clip:
    """What is sampled at once, as far as memory goes."""

    width: int  # pixels
    height: int
    tokens: int  # of one window
    guided: bool = True
    cached: bool = False  # blocks may be left out


@dataclass(frozen=True)
class Rung:
    """One way to make a job fit."""

    words: str
    stays: bool = False  # every network stays where it is once it is loaded
    together: bool = True  # both predictions of guidance at once, and all frames of a chunk
    alone: bool = False  # only what is needed right now lies on the device
    tiled: bool = False  # pictures are encoded and decoded in tiles
    swapped: bool = False  # blocks come when they are needed: the coming one is fetched while one runs
    eight_bit: bool = False  # the blocks' matrices in 8 bits
    on_processor: bool = False


ALONE = {"together": False, "alone": True}
RUNGS: Sequence[Rung] = (
    Rung("everything stays loaded", stays=True),
    Rung("the text encoder runs first and is freed"),
    Rung("one network at a time, predictions and frames one by one", **ALONE),
    Rung("the same, and pictures in tiles", **ALONE, tiled=True),
    Rung("the same, and blocks fetched as they are needed", **ALONE, tiled=True, swapped=True),
    Rung("the same, and weights in 8 bits", **ALONE, tiled=True, swapped=True, eight_bit=True),
    Rung("on the processor", **ALONE, tiled=True, swapped=True, on_processor=True),
)
"""From the fastest to the smallest. On a processor `swapped` means that weights lie in their file, as they are stored,
and are read from there; its last rung is the one before."""


@dataclass(frozen=True)
class Need:
    """Bytes, at the worst moment."""

    device: int
    host: int  # of the machine's own memory, where that is another


def weights(parameters: int, size: float) -> int:
    return round(parameters * size)


def sampling(facts: Facts, clip: Clip, rung: Rung) -> int:
    """While a prediction is made: one sum in 4 bytes, queries, keys, values, what attention gives and what its product
    makes of it in 2 each, and the input; VACE's row holds its own sum and a hint."""
    predictions = 2 if clip.guided and rung.together else 1
    return clip.tokens * facts.width * predictions * (SUM + HINTS * facts.vace + CACHED * clip.cached)


def picture(facts: Facts, clip: Clip, rung: Rung, way: str, size: int) -> int:
    """While a chunk of pictures is decoded or encoded: what a layer works on and what all layers remember. Of tiles the
    machine's own memory remembers."""
    pixels = clip.width * clip.height
    if rung.tiled and pixels > TILE:
        whole, tile = TILED[facts.generation, way, size]
        return whole * pixels + tile * TILE
    return pixels * PICTURE[facts.generation, way, rung.alone, size]


def remembered(facts: Facts, clip: Clip, size: int) -> int:
    """What the tiles' layers remember, all together; encoding remembers less."""
    pixels = clip.width * clip.height
    return round(pixels * REMEMBERED[facts.generation] * size / 4 * OVERLAP) if pixels > TILE else 0


def looking(facts: Facts) -> int:
    """While the image encoder looks at a picture; on every rung it comes for that, and is freed."""
    return facts.image and facts.image + LOOKING


def of(facts: Facts, clip: Clip, rung: Rung, size: int = 2, decoding: int = 4) -> Need:
    """A job's need on one rung; `size` bytes of a weight, `decoding` those of the autoencoder."""
    block = 1 if rung.eight_bit else size
    per_block = facts.parameters / (facts.blocks + 0.5)  # both ends are less than half a block
    whole = weights(facts.parameters, block)
    on_device = weights(round(2.5 * per_block), block) if rung.swapped else whole
    text = facts.text * block
    text_on_device = 2 * round((facts.text - UMT5_TABLE) / facts.text_blocks) * block if rung.swapped else text
    autoencoder = AUTOENCODER[facts.generation] * decoding
    run = sampling(facts, clip, rung)
    chunk = max(picture(facts, clip, rung, way, decoding) for way in ("encode", "decode"))
    image = looking(facts)
    if rung.stays:
        device = text + whole * facts.experts + autoencoder + max(run, chunk, image)
    elif rung.alone:
        device = max(text_on_device, on_device + run, autoencoder + chunk, image)
    else:
        device = max(text, on_device + autoencoder + max(run, chunk, image))
    host = max(whole, text) if rung.swapped else 0
    host += remembered(facts, clip, decoding) if rung.tiled else 0
    return Need(round(device), round(host))


def choose(facts: Facts, clip: Clip, free: int, host: int, first: int = 0, size: int = 2) -> int:
    """The first rung, from number `first` on, that fits in `free` bytes of the device and `host` of the machine."""
    last = len(RUNGS) - 1
    for number in range(first, last):
        need = of(facts, clip, RUNGS[number], size)
        if need.device + RESERVE <= free and need.host <= host:
            return number
    return last


def on_processor(facts: Facts, clip: Clip, free: int, first: int = 0, size: int = 4) -> int:
    """The same where there is no other device: weights and all else lie in the machine's own memory. From `swapped` on
    a file's pages come and go by themselves, so that the rung before the last is always possible."""
    last = len(RUNGS) - 2
    for number in range(first, last):
        rung = RUNGS[number]
        need = of(facts, clip, rung, size)
        whole = of(facts, clip, rung, 2).device if rung.swapped else need.device
        if whole <= free:
            return number
    return last


def tile_sides(width: int, height: int, stride: int, overlap: int) -> tuple[int, int]:
    """Pixels of a tile's sides, whole latent pixels, of about TILE pixels in the picture's shape, overlap included."""
    factor = min(1.0, math.sqrt(TILE / (width * height)))
    fit = (max(2 * overlap, math.ceil(side * factor / stride) * stride) for side in (width, height))
    w, h = (min(side, whole) for side, whole in zip(fit, (width, height), strict=True))
    return w, h


def facts_of(values: Mapping[str, Any]) -> Facts | None:
    """Of what the registry remembers of a model's files; None where it does not."""
    try:
        return Facts(**{name: values[name] for name in Facts.__dataclass_fields__ if name in values})
    except TypeError:
        return None


def gigabytes(size: float) -> str:
    return f"{size / GB:.1f} GB"
