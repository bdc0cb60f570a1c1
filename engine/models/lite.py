"""Lite: the bundled model. A spacetime-patch transformer around a head that shades the scene (see shading.py).

    x0 = shade(facts, base', look, fields) + residual

`look` (some thirty numbers a clip) is read off the prompt and the scene's statistics once a shot, so that it cannot
drift; the transformer paints what is local: base colour where the scene has none, clouds, snow's edge, lit panes, the
residual. Shapes stand in the trailing comments: B batch, F frames = 4n + 1, T = n + 1 latent frames, H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from .. import conditions
from ..conditions import SLICE
from . import shading
from .layers import Block, Residual, rope_tables, time_embedding
from .text import TextEncoder


@dataclass(frozen=True)
class LiteConfig:
    width: int = 256  # of the transformer
    layers: int = 6
    heads: int = 4
    stem: int = 64  # channels at a quarter of the size
    detail: int = 12  # channels handed from the quarter size to the full size
    head: int = 24  # channels of the full-size convolutions
    conditions: int = conditions.WIDTH
    family: str = "lite"
    version: int = 1


PATCH_TIME, PATCH_SPACE, STEM = 4, 16, 4  # frames of a latent frame; pixels of a token; pixels of the stem
FULL_SIZE_CHUNK = 2  # frames that pass the full-size layers together: bounds memory and the time to cancel
CLEAN = (
    "sky",
    "normal",
    "position",
    "base",
    "has_base",
    "gloss",
    "emission",
)  # what the pane detector sees: never the noise


def _nothing() -> None:
    return None


class LookNet(nn.Module):
    """Prompt and scene statistics -> the look's raw numbers (B, LOOK_WIDTH)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.text = TextEncoder(width)
        self.mlp = nn.Sequential(
            nn.Linear(2 * width + conditions.STATISTICS, 2 * width), nn.GELU(), nn.Linear(2 * width, width), nn.GELU(),
            nn.Linear(width, shading.LOOK_WIDTH),
        )  # fmt: skip

    def forward(self, rows: Tensor, statistics: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """rows (B, S, G), statistics (B, 12) -> raw look, text tokens (B, S, D), pooled (B, D), mask (B, S)."""
        tokens, pooled, mask = self.text(rows)
        strongest = tokens.masked_fill(~mask[..., None], -torch.inf).amax(1)  # one word can decide
        strongest = torch.where(mask.any(1, keepdim=True), strongest, 0)
        return self.mlp(torch.cat([pooled, statistics, strongest], 1)), tokens, pooled, mask


class Lite(nn.Module):
    def __init__(self, config: LiteConfig) -> None:
        super().__init__()
        self.config = c = config
        D, E = c.width, c.stem
        self.look = LookNet(D)
        self.stem = nn.Conv2d(3 + c.conditions, E, STEM, STEM)
        self.stem_block = Residual(E, D)
        self.into = nn.Linear(E * PATCH_TIME * (PATCH_SPACE // STEM) ** 2, D)
        self.time = nn.Sequential(nn.Linear(128, D), nn.SiLU(), nn.Linear(D, D))
        self.pooled = nn.Linear(D, D)
        self.modulation = nn.Linear(D, 6 * D)
        self.blocks = nn.ModuleList(Block(D, c.heads) for _ in range(c.layers))
        self.norm = nn.LayerNorm(D)
        self.outof = nn.Linear(D, E * PATCH_TIME * (PATCH_SPACE // STEM) ** 2)
        self.quarter_block = Residual(E, D)
        self.detail = nn.Conv2d(E, c.detail, 3, padding=1)
        self.fields = nn.Conv2d(E, 7, 3, padding=1)  # drift 1, cloud 3, base 3: smooth, at a quarter of the size
        self.head1 = nn.Conv2d(c.detail + 3 + c.conditions, c.head, 1)
        self.head2 = nn.Conv2d(c.head, c.head, 3, padding=1)
        self.head3 = nn.Conv2d(c.head, c.head, 3, padding=1)
        self.head_out = nn.Conv2d(c.head, 9, 1)  # base 3, residual 3, cloud 3
        self.head_time = nn.Linear(D, 2 * c.head)
        clean = sum(conditions.CHANNELS[name] for name in CLEAN)
        self.pane = nn.Sequential(
            nn.Conv2d(clean, 24, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(24, 24, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(24, 1, 1),
        )
        for layer in (self.modulation, self.fields, self.head_out, self.head_time, self.pooled):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.head_out.weight, std=0.02)
        nn.init.constant_(self.pane[-1].bias, -3.0)  # type: ignore[arg-type]

    def metadata(self) -> dict[str, object]:
        return asdict(self.config)

    def trunk(
        self, x: Tensor, maps: Tensor, time: Tensor, tokens: Tensor, tick: Callable[[], None]
    ) -> tuple[Tensor, Tensor]:
        """x (B, F, 3, H, W), maps (B, F, C, H, W) -> features before and after the transformer (B, F, E, H/4, W/4)."""
        B, frames, _, H, W = x.shape
        early = []
        for i in range(0, frames, FULL_SIZE_CHUNK):
            part = torch.cat([x[:, i : i + FULL_SIZE_CHUNK], maps[:, i : i + FULL_SIZE_CHUNK].to(x.dtype)], 2)
            y = self.stem(part.flatten(0, 1).contiguous(memory_format=torch.channels_last))
            early.append(rearrange(self.stem_block(F.gelu(y), time), "(b f) e h w -> b f e h w", b=B))
            tick()
        q = torch.cat(early, 1)  # B F E H/4 W/4
        side = PATCH_SPACE // STEM
        lead = torch.cat(
            [q[:, :1].expand(-1, PATCH_TIME - 1, -1, -1, -1), q], 1
        )  # the first frame is its own latent frame
        z = self.into(rearrange(lead, "b (t p) e (h i) (w j) -> b (t h w) (e p i j)", p=PATCH_TIME, i=side, j=side))
        grid = (lead.shape[1] // PATCH_TIME, H // PATCH_SPACE, W // PATCH_SPACE)
        cos, sin = (
            table.to(x.device) for table in rope_tables(grid, self.config.width // self.config.heads, tokens.shape[1])
        )
        z = torch.cat([tokens.to(z.dtype), z], 1)  # B S+L D
        modulation = rearrange(self.modulation(time), "b (six d) -> b six d", six=6)
        for block in self.blocks:
            z = block(z, modulation, cos, sin)
            tick()
        z = self.outof(self.norm(z[:, tokens.shape[1] :]))
        z = rearrange(
            z, "b (t h w) (e p i j) -> b (t p) e (h i) (w j)", t=grid[0], h=grid[1], p=PATCH_TIME, i=side, j=side
        )
        return q, z[:, PATCH_TIME - 1 :]

    def paint(
        self, x: Tensor, maps: Tensor, quarter: Tensor, time: Tensor, look: shading.Look, azimuth: Tensor
    ) -> dict[str, Tensor]:
        """Full-size layers for some frames: (B, F, ...) in, everything that makes their picture out."""
        B, frames = x.shape[:2]
        y = self.quarter_block(quarter.flatten(0, 1).contiguous(memory_format=torch.channels_last), time)
        # resize, then convolve: no lattice
        grow: dict[str, Any] = dict(scale_factor=STEM, mode="bilinear", align_corners=False)
        smooth = rearrange(F.interpolate(self.fields(y).float(), **grow), "(b f) c h w -> b f c h w", b=B)
        detail = F.interpolate(F.gelu(self.detail(y)), **grow)
        z = torch.cat([detail, x.flatten(0, 1).to(detail.dtype), maps.flatten(0, 1).to(detail.dtype)], 1)
        scale, shift = self.head_time(time).repeat_interleave(frames, 0)[:, :, None, None].chunk(2, 1)
        z = F.gelu(self.head1(z.contiguous(memory_format=torch.channels_last)) * (1 + scale) + shift)
        z = z + F.gelu(self.head2(z))
        z = z + F.gelu(self.head3(z))
        out = rearrange(self.head_out(z).float(), "(b f) c h w -> b f c h w", b=B)
        clean = torch.cat([maps[:, :, SLICE[name]] for name in CLEAN], 2).flatten(0, 1).to(detail.dtype)
        pane = rearrange(self.pane(clean).float(), "(b f) c h w -> b f c h w", b=B)
        drift, cloud, base = smooth.split([1, 3, 3], 2)
        with torch.autocast(x.device.type, enabled=False):
            guess = (base + out[:, :, 0:3]).sigmoid()
            known = maps[:, :, SLICE["has_base"]].float()
            colour = known * maps[:, :, SLICE["base"]].float() + (1 - known) * guess
            sky_gain = 1.5 * torch.tanh((cloud + out[:, :, 6:9]) / 1.5)
            shaded = shading.shade(
                maps, colour, look, azimuth, {"drift": drift, "pane": pane.sigmoid(), "cloud": sky_gain}
            )
        return {"shaded": shaded, "residual": out[:, :, 3:6], "pane": pane, "base": guess}

    def forward(
        self, x: Tensor, maps: Tensor, t: Tensor, text: tuple[Tensor, Tensor], look: shading.Look, azimuth: Tensor,
        frames: list[int] | None = None, tick: Callable[[], None] = _nothing,
    ) -> dict[str, Tensor]:  # fmt: skip
        """One prediction of the clean picture.

        x (B, F, 3, H, W) noisy, t (B,) in [0, 1], text = (tokens (B, S, D), pooled (B, D)), look from `shading.unpack`,
        azimuth (B, 1, 1, 1, 1). `frames`: only these leave the full-size layers. F is 4n + 1, H and W multiples of 16.
        """
        count, H, W = x.shape[1], *x.shape[-2:]
        if count % PATCH_TIME != 1 or H % PATCH_SPACE or W % PATCH_SPACE:
            raise ValueError(
                f"{count} frames of {W}x{H}: lite takes 4n+1 frames and sides that are multiples of 16; pad before"
            )
        tokens, pooled = text
        time = F.silu(self.time(time_embedding(t, 128)) + self.pooled(pooled))
        early, late = self.trunk(x, maps, time, tokens, tick)
        quarter = early + late
        chosen = list(range(count)) if frames is None else frames
        parts: list[dict[str, Tensor]] = []
        for i in range(0, len(chosen), FULL_SIZE_CHUNK):
            at = chosen[i : i + FULL_SIZE_CHUNK]
            parts.append(self.paint(x[:, at], maps[:, at].float(), quarter[:, at], time, look, azimuth))
            if frames is None:  # sampling: only the picture is wanted, so the rest is let go
                parts[-1] = {"x0": parts[-1]["shaded"] + parts[-1]["residual"]}
            tick()
        joined = {name: torch.cat([p[name] for p in parts], 1) for name in parts[0]}
        if "x0" not in joined:
            joined["x0"] = joined["shaded"] + joined["residual"]
        return joined
