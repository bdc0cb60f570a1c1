"""The Wan transformer: one block class, and around it the heads that a checkpoint may have.

    velocity = head(blocks(patches(noisy latents), time, text, image))

VACE adds hints of a second, smaller row of blocks that reads the controls; a camera adapter adds rays to the patches; a
reference image is a latent frame put in front. Blocks compute in `compute`; the sum that runs through them, norms,
angles, and both ends stay in float32, as in the official code. Source: Wan (2025), arXiv 2503.20314; VACE (2025),
arXiv 2503.07598.
Shapes: B batch, T H W latent frames and pixels, L video tokens, S text tokens, I image tokens, D width, N heads,
G groups of tokens that share a time, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..layers import axis_angles, rotate, time_embedding
from .cache import Cache
from .config import CAMERA, FREQUENCIES, HEAD, PATCH, TEXT_LENGTH, TIMES, WanConfig
from .linear import Conv2d, Conv3d, LayerNorm, Linear, RMSNorm

THETA = 10_000.0  # base of the rotary frequencies
AXES = (HEAD - 4 * (HEAD // 6), 2 * (HEAD // 6), 2 * (HEAD // 6))  # channels that turn with time, y and x: 44, 42, 42
SLICE = 8192  # tokens that go through the wide parts of a block at a time: so these hold little, however long a clip is

Tick = Callable[[], None]


def _nothing() -> None:
    return None


@dataclass(frozen=True)
class Shared:
    """What all blocks of one pass read."""

    modulation: Tensor  # (B, G, 6, D) float32
    cos: Tensor  # (L, HEAD / 2) float32
    sin: Tensor
    text: Tensor  # (B, S, D)
    image: Tensor | None  # (B, I, D)
    dtype: torch.dtype  # of the products


@dataclass(frozen=True)
class Controls:
    """What the artist pins down, as the network reads it: of each of the batch, or one for all of it. A control that a
    checkpoint lacks is refused by name."""

    extra: Tensor | None = None  # (B, C, T, H, W) concatenated to the noisy latents: masks, known frames
    image: Tensor | None = None  # (B, I, D) of `Wan.read_image`
    vace: Tensor | None = None  # (B, 96, T, H, W)
    strength: float = 1.0  # of VACE's hints
    camera: Tensor | None = None  # (B, D, T, H / 2, W / 2) of `Wan.read_camera`
    reference: Tensor | None = None  # (B, C, H, W) latents of a reference image


NO_CONTROLS = Controls()


@lru_cache(maxsize=4)
def rotary(grid: tuple[int, int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """cos and sin (T*H*W, HEAD / 2) float32 of a grid of tokens, worked in float64 on the CPU."""
    angles = axis_angles(grid, AXES, THETA, torch.float64)
    return angles.cos().float().to(device), angles.sin().float().to(device)


def split_heads(x: Tensor) -> Tensor:
    return rearrange(x, "b l (n d) -> b n l d", d=HEAD)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """(B, N, L, d), (B, N, S, d) twice -> (B, L, D)."""
    return rearrange(F.scaled_dot_product_attention(q, k, v), "b n l d -> b l (n d)")


def sliced(work: Callable[..., Tensor], x: Tensor, *along: Tensor) -> Tensor:
    """work(x, *along), SLICE tokens at a time: x (B, L, D), the others (L, ...) -> (B, L, D'). `work` knows each
    token by itself alone."""
    count = x.shape[1]
    if count <= SLICE:
        return work(x, *along)
    out = None
    for a in range(0, count, SLICE):
        part = work(x[:, a : a + SLICE], *(other[a : a + SLICE] for other in along))
        out = part.new_empty(len(x), count, *part.shape[2:]) if out is None else out
        out[:, a : a + SLICE] = part
    assert out is not None
    return out


class SelfAttention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (Linear(width, width) for _ in range(4))
        self.norm_q, self.norm_k = RMSNorm(width), RMSNorm(width)  # over all heads together

    def forward(self, x: Tensor, shared: Shared) -> Tensor:
        """(B, L, D) -> (B, L, D)."""

        def turned(norm: nn.Module, project: nn.Module) -> Tensor:
            def work(part: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
                return rearrange(rotate(split_heads(norm(project(part))), cos, sin).to(x.dtype), "b n l d -> b l (n d)")

            return split_heads(sliced(work, x, shared.cos, shared.sin))

        q, k = turned(self.norm_q, self.q), turned(self.norm_k, self.k)
        return self.o(attend(q, k, split_heads(self.v(x))))


class CrossAttention(nn.Module):
    """Looks at the text, padding included; with `image` also at CLIP's tokens, by keys and values of their own."""

    def __init__(self, width: int, image: bool) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (Linear(width, width) for _ in range(4))
        self.norm_q, self.norm_k = RMSNorm(width), RMSNorm(width)
        if image:
            self.k_img, self.v_img = Linear(width, width), Linear(width, width)
            self.norm_k_img = RMSNorm(width)

    def forward(self, x: Tensor, shared: Shared) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        q = split_heads(sliced(lambda part: self.norm_q(self.q(part)).to(x.dtype), x))
        text = shared.text.to(x.dtype)
        y = attend(q, split_heads(self.norm_k(self.k(text)).to(x.dtype)), split_heads(self.v(text)))
        if shared.image is not None:
            image = shared.image.to(x.dtype)
            y = y + attend(
                q, split_heads(self.norm_k_img(self.k_img(image)).to(x.dtype)), split_heads(self.v_img(image))
            )
        return self.o(y)


class Block(nn.Module):
    """Self-attention, cross-attention, feed-forward; the first and the last modulated by time (AdaLN-single)."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        D = config.width
        self.modulation = nn.Parameter(torch.randn(1, 6, D).mul_(D**-0.5))  # in place: other ways bring torch._dynamo
        self.norm1, self.norm2 = (LayerNorm(D, eps=1e-6, elementwise_affine=False) for _ in range(2))
        self.self_attn = SelfAttention(D)
        self.norm3 = LayerNorm(D, eps=1e-6)
        self.cross_attn = CrossAttention(D, config.image)
        self.ffn = nn.Sequential(Linear(D, config.hidden), nn.GELU("tanh"), Linear(config.hidden, D))

    def forward(self, x: Tensor, shared: Shared) -> Tensor:
        """(B, L, D) float32 -> the same, in its place: of the sum that runs through all blocks there is one."""
        shift1, scale1, gate1, shift2, scale2, gate2 = (shared.modulation + self.modulation.float()).unbind(2)  # B G D
        add(x, self.self_attn(modulated(self.norm1(x), shift1, scale1).to(shared.dtype), shared), gate1)
        x += self.cross_attn(self.norm3(x).to(shared.dtype), shared)
        add(x, sliced(self.ffn, modulated(self.norm2(x), shift2, scale2).to(shared.dtype)), gate2)
        return x


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x (1 + scale) + shift: x (B, L, D), the others (B, G, D), one for each of G equal runs of tokens."""
    runs = x.unflatten(1, (shift.shape[1], -1))
    return torch.addcmul(shift[:, :, None], runs, 1 + scale[:, :, None]).flatten(1, 2)


def add(x: Tensor, y: Tensor, gate: Tensor) -> None:
    """x += gate y, float32: x and y (B, L, D), gate (B, G, D) as in `modulated`."""
    runs, change = (value.unflatten(1, (gate.shape[1], -1)) for value in (x, y))
    runs.addcmul_(change, gate[:, :, None])


class VaceBlock(Block):
    """A block of the row that reads the controls; each leaves a hint for one block of the main row."""

    def __init__(self, config: WanConfig, first: bool) -> None:
        super().__init__(config)
        if first:
            self.before_proj = Linear(config.width, config.width)
        self.after_proj = Linear(config.width, config.width)

    def read(self, control: Tensor, patches: Tensor, shared: Shared) -> tuple[Tensor, Tensor]:
        """What runs through the row (B, L, D) -> the same, one block on, and its hint. The first block also adds the
        video's patches (B, L, D)."""
        if hasattr(self, "before_proj"):
            control = patches + self.before_proj(control.to(shared.dtype))
        control = self(control, shared)
        return control, self.after_proj(control.to(shared.dtype)).float()


class Head(nn.Module):
    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        D = config.width
        self.norm = LayerNorm(D, eps=1e-6, elementwise_affine=False)
        self.head = Linear(D, config.out_channels * PATCH**2)
        self.modulation = nn.Parameter(torch.randn(1, 2, D).mul_(D**-0.5))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x (B, L, D), time (B, G, D) -> patches (B, L, 4 C)."""
        shift, scale = (time[:, :, None] + self.modulation.float()).unbind(2)
        return self.head(modulated(self.norm(x), shift, scale))


class ImageEmbedding(nn.Module):
    """CLIP's tokens at the transformer's width; first and last frame are told apart by learnt positions."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        seen, D = config.image_width, config.width
        if config.image_positions:
            self.emb_pos = nn.Parameter(torch.zeros(1, config.image_positions, seen))
        self.proj = nn.Sequential(LayerNorm(seen), Linear(seen, seen), nn.GELU(), Linear(seen, D), LayerNorm(D))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, I, 1280) -> (B, I, D)."""
        tokens = tokens.float()
        return self.proj(tokens + self.emb_pos.float() if hasattr(self, "emb_pos") else tokens)


class CameraResidual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = Conv2d(width, width, 3, padding=1), Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.conv1(x).relu())


class CameraAdapter(nn.Module):
    """Rays of every pixel -> what is added to the patches of the latent frame they belong to."""

    def __init__(self, width: int, channels: int, fold: int) -> None:
        super().__init__()
        self.fold = fold
        self.conv = Conv2d(channels * fold**2, width, PATCH, PATCH)
        self.residual_blocks = nn.Sequential(CameraResidual(width))

    def forward(self, rays: Tensor) -> Tensor:
        """(B, 24, T, H', W') -> (B, D, T, H' / (2 fold), W' / (2 fold))."""
        frames = rearrange(rays.float(), "b c t h w -> (b t) c h w")
        out = self.residual_blocks(self.conv(F.pixel_unshuffle(frames, self.fold)))
        return rearrange(out, "(b t) d h w -> b d t h w", b=len(rays))


class Wan(nn.Module):
    """The network of one checkpoint. `each` is how its blocks are gone through: a block swap goes there."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        self.config = c = config
        D = c.width
        self.compute = torch.float32  # of the blocks' products
        self.cache: Cache | None = None  # what lets blocks be left out
        self.each: Callable[[Sequence[nn.Module]], Iterable[nn.Module]] = iter
        self.patch_embedding = Conv3d(c.in_channels, D, (1, PATCH, PATCH), (1, PATCH, PATCH))
        self.text_embedding = nn.Sequential(Linear(c.text_width, D), nn.GELU("tanh"), Linear(D, D))
        self.time_embedding = nn.Sequential(Linear(FREQUENCIES, D), nn.SiLU(), Linear(D, D))
        self.time_projection = nn.Sequential(nn.SiLU(), Linear(D, 6 * D))
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.layers))
        self.head = Head(c)
        if c.image:
            self.img_emb = ImageEmbedding(c)
        if c.vace_layers:
            self.vace_patch_embedding = Conv3d(c.vace_channels, D, (1, PATCH, PATCH), (1, PATCH, PATCH))
            self.vace_blocks = nn.ModuleList(VaceBlock(c, first) for first in (i == 0 for i in c.vace_layers))
        if c.camera_fold:
            self.control_adapter = CameraAdapter(D, CAMERA, c.camera_fold)
        if c.reference_channels:
            self.ref_conv = Conv2d(c.reference_channels, D, PATCH, PATCH)

    def read_text(self, states: Tensor) -> Tensor:
        """The text encoder's states (B, S, 4096) -> what the blocks look at (B, S, D), float32; once a prompt."""
        if states.shape[1] != TEXT_LENGTH:
            raise ValueError(
                f"{states.shape[1]} text tokens: the transformer was trained with {TEXT_LENGTH}; pad by zeros"
            )
        return self.text_embedding(states.float())

    def read_image(self, tokens: Tensor) -> Tensor:
        """CLIP's tokens of the first frame (B, 257, 1280), or first and last -> what the blocks look at (B, I, D)."""
        refuse("image tokens", self.config.image)
        return self.img_emb(tokens)

    def read_camera(self, rays: Tensor) -> Tensor:
        """Rays (B, 24, T, 8 H, 8 W), see controls.py -> what is added to the patches (B, D, T, H / 2, W / 2); once a
        shot, in parts of T if need be."""
        refuse("camera", self.config.camera_fold)
        return self.control_adapter(rays)

    def order(self, hints: bool) -> list[nn.Module]:
        """All blocks in the order they run: a VACE block just before the block that takes its hint."""
        out: list[nn.Module] = []
        for i, block in enumerate(self.blocks):
            if hints and i in self.config.vace_layers:
                out.append(self.vace_blocks[self.config.vace_layers.index(i)])
            out.append(block)
        return out

    def forward(
        self, x: Tensor, t: Tensor, text: Tensor, controls: Controls = NO_CONTROLS, tick: Tick = _nothing
    ) -> Tensor:
        """The velocity, noise - x0, (B, C, T, H, W) float32.

        x (B, C, T, H, W) noisy latents; t (B,) or (B, T) or (B, L) in 0..1000, one time for all or one for each of
        equal runs of tokens; text (B, S, D) of `read_text`. `tick` is called between blocks and may raise.
        """
        refuse_foreign(self.config, x, controls)
        patches = self.patches(x, controls)  # B D T' H' W'
        grid = tuple(patches.shape[2:])
        x = rearrange(patches, "b d t h w -> b (t h w) d").contiguous()
        del patches  # as large as all that runs through the blocks
        time, modulation = self.read_time(t, grid[0], self.leading(controls))
        cos, sin = rotary(grid, x.device)
        image = None if controls.image is None else controls.image.expand(len(x), -1, -1)
        x = self.through(x, Shared(modulation, cos, sin, text, image, self.compute), controls, tick)
        x = self.head(x, time)
        x = rearrange(x, "b (t h w) (p q c) -> b c t (h p) (w q)", t=grid[0], h=grid[1], p=PATCH, q=PATCH)
        return x[:, :, self.leading(controls) :]

    @staticmethod
    def leading(controls: Controls) -> int:
        """Latent frames that are put in front."""
        return int(controls.reference is not None)

    def patches(self, x: Tensor, controls: Controls) -> Tensor:
        """Noisy latents and what is seen with them -> patches (B, D, T', H / 2, W / 2) float32."""
        x, count = x.float(), len(x)
        if controls.extra is not None:
            x = torch.cat([x, controls.extra.float().expand(count, -1, -1, -1, -1)], 1)
        x = self.patch_embedding(x)
        if controls.camera is not None:
            x = x + controls.camera
        if controls.reference is not None:
            front = self.ref_conv(controls.reference.float())[:, :, None]
            x = torch.cat([front.expand(count, -1, -1, -1, -1), x], 2)
        return x

    def read_time(self, t: Tensor, frames: int, leading: int) -> tuple[Tensor, Tensor]:
        """t (B,) or (B, G) -> time (B, G, D) and modulation (B, G, 6, D), float32. Frames put in front have the last
        one's time, as the official code pads."""
        t = t[:, None] if t.dim() == 1 else t
        if t.shape[1] > 1 and leading:
            each = t.shape[1] // (frames - leading)
            t = torch.cat([t[:, -1:].expand(-1, leading * each), t], 1)
        waves = (
            time_embedding(t.cpu().double() / TIMES, FREQUENCIES, torch.float64).float().to(self.head.modulation.device)
        )
        time = self.time_embedding(waves)
        return time, self.time_projection(time).unflatten(-1, (6, -1))

    def through(self, x: Tensor, shared: Shared, controls: Controls, tick: Tick) -> Tensor:
        """Both rows of blocks, interleaved, so that no more than one hint is held. (B, L, D) -> (B, L, D)."""
        control, hint = None, None
        if controls.vace is not None:
            control = rearrange(self.vace_patch_embedding(controls.vace.float()), "b d t h w -> b (t h w) d")
            control = control.expand(len(x), -1, -1)
        if self.cache is not None:
            self.cache.begin(x)
        for block in self.each(self.order(control is not None)):
            if isinstance(block, VaceBlock) and control is not None:
                control, hint = block.read(control, x, shared)
            else:
                x = block(x, shared)
                if hint is not None:
                    x.add_(hint, alpha=controls.strength)
                hint = None
            tick()
            if self.cache is not None and block is self.blocks[0] and self.cache.enough(x):
                return x
        if self.cache is not None:
            self.cache.keep(x)
        return x


def refuse(name: str, able: object) -> None:
    if not able:
        raise ValueError(f"this model has no input for {name}: choose one that has, or leave that control out")


def refuse_foreign(config: WanConfig, x: Tensor, controls: Controls) -> None:
    """Raises ValueError for what this checkpoint was never trained to read."""
    *_, height, width = x.shape
    if height % PATCH or width % PATCH:
        raise ValueError(f"latents of {width} x {height}: the transformer takes sides that are multiples of {PATCH}")
    given = {
        "image tokens": (controls.image, config.image),
        "control video": (controls.vace, config.vace_layers),
        "camera": (controls.camera, config.camera_fold),
        "reference image": (controls.reference, config.reference_channels),
    }
    for name, (value, able) in given.items():
        refuse(name, value is None or able)
    channels = x.shape[1] + (0 if controls.extra is None else controls.extra.shape[1])
    if channels != config.in_channels:
        raise ValueError(
            f"{channels} channels of latents and what is known of them: this model takes {config.in_channels}, "
            f"{config.extra_channels} beside the noisy {config.out_channels}"
        )
    if config.image and controls.image is None:
        raise ValueError("no image tokens: this model needs those of its first frame")
