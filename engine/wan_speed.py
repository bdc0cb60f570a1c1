"""What a Wan job may give up for speed, as job.json's `speed` asks: tried on this machine first, told where it cannot
be had.

    compile         the blocks compiled: the same numbers but for the order of sums
    guidance_until  no guidance below a sigma (generate_wan.guidance)
    cache           blocks left out where the first of them changes less than this share (models/wan/cache.py)
    products        "fp8": the blocks' matrix products in 8 bits, weights and what they multiply
    decode          "bf16": pictures decoded in 16 bits, where they are nearly those in 32

All of them are off where the job does not ask. Knows networks and devices; knows no shot.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from .models.wan.autoencoder import Autoencoder
from .models.wan.cache import Cache
from .models.wan.linear import scaled_product
from .models.wan.transformer import Wan
from .weights.networks import Networks

BACKEND = "inductor"
ORDER = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
LEVELS = 1.0  # of 255, mean: how far pictures decoded in 16 bits may lie from those in 32
CHECKED = 2  # latent frames that are decoded both ways


def prepare(model: Networks, speed: Mapping[str, Any], windows: int) -> list[str]:
    """Sets up what is asked for and can be had; what cannot, in words for the artist."""
    told = []
    if speed.get("compile") and (why := cannot_compile(model.device)):
        told.append(f"The blocks are not compiled: {why}")
    if speed.get("products") == "fp8" and (why := cannot_multiply(model.device)):
        told.append(f"Matrix products in 8 bits are not to be had here: {why}")
    if speed.get("cache") and windows > 1:
        told.append(f"Blocks are not left out: the shot has {windows} windows, and what is kept would grow with it")
    if speed.get("decode") == "bf16" and model.device == "cpu":
        told.append("Pictures are decoded in 32 bits: a processor has no fast convolutions in 16")
    compiles = bool(speed.get("compile")) and not any(line.startswith("The blocks") for line in told)
    model.products = speed.get("products") == "fp8" and not any(line.startswith("Matrix") for line in told)
    model.cache = Cache(float(speed["cache"])) if speed.get("cache") and windows == 1 else None

    def finish(wan: Wan) -> None:
        wan.cache = model.cache
        if compiles:
            compile_blocks(wan)

    model.finish = finish
    return told


# ---------------------------------------------------------------- attention


@contextlib.contextmanager
def fused(device: str) -> Iterator[None]:
    """Attention by cuDNN's kernel where it can, else Flash, else the memory-efficient one. A processor has one."""
    if not device.startswith("cuda"):
        yield
        return
    with sdpa_kernel(ORDER, set_priority=True):
        yield


# ---------------------------------------------------------------- compiled blocks


def compile_blocks(wan: Wan) -> None:
    """Each block by itself: blocks of one kind share what is compiled, and a swap can go between them."""
    for block in wan.order(True):
        block.compile(backend=BACKEND, dynamic=False)


def cannot_compile(device: str) -> str:
    """Why, or nothing. Found by compiling a sum: a processor needs a C++ compiler, a card Triton."""
    try:
        torch.compile(lambda x: x * 2 + 1, backend=BACKEND)(torch.ones(8, device=device))
    except Exception as error:  # compilers raise what they like
        return short(error)
    return ""


def short(error: Exception) -> str:
    return (str(error).strip().split("\n")[0] or type(error).__name__)[:120]


# ---------------------------------------------------------------- products in 8 bits


def cannot_multiply(device: str) -> str:
    """Why this device has no products in 8 bits, or nothing. Found by making one."""
    try:
        x, weight = (torch.ones(32, 32, device=device) for _ in range(2))
        scaled_product(x.bfloat16(), weight.to(torch.float8_e4m3fn), torch.ones(32, device=device))
    except (RuntimeError, NotImplementedError, ValueError) as error:
        return short(error)
    return ""


# ---------------------------------------------------------------- decoding in 16 bits


def decode_small(autoencoder: Autoencoder, latents: Tensor) -> dict[str, Any]:
    """Decodes the first latents (1, C, T, h, w) both ways; from here on in 16 bits, where pictures are nearly the same.
    What was found, for the report."""
    some = latents[:, :, :CHECKED]
    autoencoder.compute = torch.float32
    began = time.monotonic()
    exact = autoencoder.decode(some)
    between = time.monotonic()
    autoencoder.compute = torch.bfloat16
    apart = float((autoencoder.decode(some) - exact).abs().mean()) * 127.5
    ended = time.monotonic()
    good = apart <= LEVELS
    autoencoder.compute = torch.bfloat16 if good else torch.float32
    return {"levels": round(apart, 4), "taken": good, "ratio": round((between - began) / max(1e-9, ended - between), 2)}
