"""What a Wan checkpoint is, read off the names and shapes of its tensors: nobody is asked. Standard library only.

Names here are the official ones; `names.py` brings others to them. A shape is a tuple, a table of them is enough: no
tensor is looked at.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Shapes = Mapping[str, tuple[int, ...]]

HEAD = 128  # channels of an attention head, in every checkpoint of the family
PATCH = 2  # latent pixels of a token's side; a token is one latent frame long
FREQUENCIES = 256  # of the time embedding
TIMES = 1000.0  # the checkpoints count time from 0 to 1000
TEXT_LENGTH = 512  # text tokens that cross-attention sees, padding included
IMAGE_WIDTH = 1280  # of CLIP's image tokens
IMAGE_HEADS = 16  # of CLIP's larger vision transformers, ViT-H/14 among them
CAMERA = 24  # channels of a latent frame's rays: 6 Pluecker coordinates of 4 frames


class Unknown(ValueError):
    """Tensors that are no model of this family. The message says what is missing or odd."""


@dataclass(frozen=True)
class WanConfig:
    """One transformer. Heads that a checkpoint lacks are empty or 0."""

    width: int  # D
    hidden: int  # of the feed-forward layers
    layers: int
    in_channels: int = 16  # noisy latents and whatever is concatenated to them
    out_channels: int = 16  # of the velocity, and so of the latents
    text_width: int = 4096
    image: bool = False  # cross-attention to CLIP's tokens, too
    image_width: int = IMAGE_WIDTH  # of those tokens
    image_positions: int = 0  # learnt positions of those tokens: first and last frame have 257 each
    vace_layers: tuple[int, ...] = ()  # blocks that take a hint
    vace_channels: int = 0
    camera_fold: int = 0  # pixels of a ray map's cell that become channels
    reference_channels: int = 0  # latents of a reference image that is put in front

    @property
    def heads(self) -> int:
        return self.width // HEAD

    @property
    def extra_channels(self) -> int:
        """Channels that are concatenated to the noisy latents: masks, first frames, control videos."""
        return self.in_channels - self.out_channels

    @property
    def controls(self) -> tuple[str, ...]:
        """What this checkpoint can be told beside a prompt."""
        found = []
        if self.vace_layers:
            found += ["control video", "known pixels", "first frame", "last frame", "reference images"]
        if self.camera_fold:
            found += ["camera"]
        if self.extra_channels >= 2 * self.out_channels:
            found += ["control video"]
        if self.reference_channels:
            found += ["reference image"]
        if self.extra_channels or self.out_channels == 48:  # 48: known latents take the place of noisy ones
            found += ["first frame"]
        if self.image_positions:
            found += ["last frame"]
        return tuple(found)


@dataclass(frozen=True)
class AutoencoderConfig:
    """One causal video autoencoder: 2.1 halves each side three times, 2.2 first folds 2x2 pixels, too."""

    generation: str  # "2.1" or "2.2"
    width: int  # of the encoder's first layers
    decoder_width: int  # of the decoder's last layers
    channels: int  # of a latent pixel

    @property
    def fold(self) -> int:
        """Pixels of a side that become channels before the first convolution."""
        return 2 if self.generation == "2.2" else 1

    @property
    def stride(self) -> int:
        """Pixels of a latent pixel's side."""
        return 8 * self.fold


@dataclass(frozen=True)
class TextConfig:
    """One umT5 encoder."""

    vocabulary: int
    width: int
    inner: int  # of all attention heads together
    hidden: int
    heads: int
    layers: int
    buckets: int = 32  # of distances between tokens
    farthest: int = 128  # tokens apart: beyond, all distances are one


@dataclass(frozen=True)
class ImageConfig:
    """One CLIP image encoder."""

    width: int
    hidden: int
    layers: int  # the last of them is not read
    patch: int  # pixels of a cell's side
    tokens: int  # the whole picture's, and one of each cell
    fused: bool = True  # queries, keys and values are one matrix, as in the official file
    flat: bool = False  # tokens that are learnt have no dimension of the batch, as elsewhere

    @property
    def heads(self) -> int:
        return IMAGE_HEADS

    @property
    def side(self) -> int:
        """Pixels of the square that it sees."""
        return self.patch * math.isqrt(self.tokens - 1)


Config = WanConfig | AutoencoderConfig | TextConfig | ImageConfig


def count(shapes: Shapes, pattern: str) -> int:
    """One more than the largest number that `pattern`'s group takes; 0 where nothing matches."""
    found = (re.match(pattern, name) for name in shapes)
    return 1 + max((int(match[1]) for match in found if match), default=-1)


def shape(shapes: Shapes, name: str, dimensions: int) -> tuple[int, ...]:
    if name not in shapes:
        raise Unknown(f"{name} is missing")
    if len(shapes[name]) != dimensions or 0 in shapes[name]:
        raise Unknown(f"{name} is {shapes[name]}: expected {dimensions} dimensions")
    return shapes[name]


def transformer(shapes: Shapes) -> WanConfig:
    """The transformer that these tensors make. Raises Unknown."""
    width, in_channels, *_ = shape(shapes, "patch_embedding.weight", 5)
    layers = count(shapes, r"blocks\.(\d+)\.")
    if width % HEAD or not layers:
        raise Unknown(f"{layers} blocks of width {width}: expected some, of a multiple of {HEAD}")
    positions = shapes.get("img_emb.emb_pos", (1, 0))
    return WanConfig(
        width=width,
        hidden=shape(shapes, "blocks.0.ffn.0.bias", 1)[0],
        layers=layers,
        in_channels=in_channels,
        out_channels=shape(shapes, "head.head.bias", 1)[0] // PATCH**2,
        text_width=shape(shapes, "text_embedding.0.weight", 2)[1],
        image=IMAGE_IN in shapes,
        image_width=shape(shapes, IMAGE_IN, 2)[1] if IMAGE_IN in shapes else IMAGE_WIDTH,
        image_positions=positions[1],
        vace_layers=vace_layers(shapes, layers),
        vace_channels=shape(shapes, VACE, 5)[1] if VACE in shapes else 0,
        camera_fold=camera_fold(shapes),
        reference_channels=shape(shapes, REFERENCE, 4)[1] if REFERENCE in shapes else 0,
    )


VACE, REFERENCE, ADAPTER = "vace_patch_embedding.weight", "ref_conv.weight", "control_adapter.conv.weight"
IMAGE_IN = "img_emb.proj.1.weight"


def vace_layers(shapes: Shapes, layers: int) -> tuple[int, ...]:
    """Which blocks take a hint: as many as there are VACE blocks, evenly spread from the first."""
    hints = count(shapes, r"vace_blocks\.(\d+)\.")
    if not hints:
        return ()
    if layers % hints:
        raise Unknown(f"{hints} VACE blocks for {layers} blocks: expected a number that divides them")
    return tuple(range(0, layers, layers // hints))


def camera_fold(shapes: Shapes) -> int:
    if ADAPTER not in shapes:
        return 0
    channels = shape(shapes, ADAPTER, 4)[1]
    fold = round((channels / CAMERA) ** 0.5)
    if fold**2 * CAMERA != channels:
        raise Unknown(f"{ADAPTER} takes {channels} channels: expected {CAMERA} times a square")
    return fold


def autoencoder(shapes: Shapes) -> AutoencoderConfig:
    """The autoencoder that these tensors make. Raises Unknown."""
    nested = any(name.startswith("encoder.downsamples.0.downsamples.") for name in shapes)
    width = shape(shapes, "encoder.conv1.weight", 5)[0]
    return AutoencoderConfig(
        generation="2.2" if nested else "2.1",
        width=width,
        decoder_width=shape(shapes, "decoder.head.0.gamma", 4)[0],
        channels=shape(shapes, "conv2.weight", 5)[0],
    )


def text(shapes: Shapes) -> TextConfig:
    """The text encoder that these tensors make. Raises Unknown."""
    vocabulary, width = shape(shapes, "token_embedding.weight", 2)
    buckets, heads = shape(shapes, "blocks.0.pos_embedding.embedding.weight", 2)
    return TextConfig(
        vocabulary=vocabulary,
        width=width,
        inner=shape(shapes, "blocks.0.attn.q.weight", 2)[0],
        hidden=shape(shapes, "blocks.0.ffn.fc1.weight", 2)[0],
        heads=heads,
        layers=count(shapes, r"blocks\.(\d+)\."),
        buckets=buckets,
    )


def image(shapes: Shapes) -> ImageConfig:
    """The image encoder that these tensors make. Raises Unknown."""
    width, _, patch, _ = shape(shapes, "patch_embedding.weight", 4)
    places = shapes.get("pos_embedding", ())
    layers, cells = count(shapes, r"transformer\.(\d+)\."), places[-2] - 1 if len(places) in (2, 3) else 0
    if width % IMAGE_HEADS or layers < 2 or cells < 1 or math.isqrt(cells) ** 2 != cells:
        raise Unknown(f"{layers} blocks of width {width} for {cells} cells: expected some, of a multiple of "
                      f"{IMAGE_HEADS}, for a square of cells")  # fmt: skip
    return ImageConfig(
        width=width,
        hidden=shape(shapes, "transformer.0.mlp.0.bias", 1)[0],
        layers=layers,
        patch=patch,
        tokens=1 + cells,
        fused="transformer.0.attn.to_qkv.weight" in shapes,
        flat=len(places) == 2,
    )


TRANSFORMER, AUTOENCODER, TEXT, IMAGE = "transformer", "autoencoder", "text encoder", "image encoder"
READERS: Mapping[str, Callable[[Shapes], Config]] = {
    TRANSFORMER: transformer, AUTOENCODER: autoencoder, TEXT: text, IMAGE: image,
}  # fmt: skip


def read(role: str, shapes: Shapes) -> Config:
    """What the tensors of one kind of network make. Raises Unknown."""
    return READERS[role](shapes)
