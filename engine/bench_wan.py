"""`python -m engine bench --model wan2.1-1.3b --size 832x480 --frames 81`: a Wan model with random weights, here.

Every way to be faster has a line, beside the floor: its operations over the rate at which this machine multiplies
matrices, measured in the same run. Where diffusers is installed its network of the same dimensions runs in turn with
ours. A machine without a GPU gets a size and a number of blocks that take seconds, says which, and counts seconds of
all its cores together, which other programs do not falsify much.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import math
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from . import official, wan_speed, windows
from .diffusion import sampler, schedule
from .models.wan import catalogue, recipes, shapes
from .models.wan.autoencoder import Autoencoder
from .models.wan.cache import Cache
from .models.wan.config import HEAD, TEXT_LENGTH, AutoencoderConfig, WanConfig
from .models.wan.linear import Linear, multiply_in_eight_bits
from .models.wan.transformer import Controls, Wan
from .weights import checkpoint, machine

ALIAS = {"wan2.1-1.3b": "wan2.1-t2v-1.3b"}
IMAGE_TOKENS = 257
AUTOENCODERS = {16: AutoencoderConfig("2.1", 96, 96, 16), 48: AutoencoderConfig("2.2", 160, 256, 48)}  # by channels
SMALL, SMALLER = (208, 128, 9), (128, 64, 5)  # width, height, frames where there is no GPU; of decoding
PATIENCE = 1.5  # seconds that a prediction may take there, by its operations
ROUNDS = 3  # the fastest counts: a machine does other things, too
CACHED, STEPS = 0.5, 6  # of the line that leaves blocks out


@dataclass(frozen=True)
class Line:
    """One thing that was measured, or computed where `note` says so."""

    what: str
    seconds: float | None = None
    of_floor: float | None = None  # seconds over the floor's: 1 is as fast as matrices are multiplied
    peak_gb: float | None = None
    note: str = ""


@dataclass
class Bench:
    """What all lines share."""

    device: str
    dtype: torch.dtype
    config: WanConfig  # as it is run
    blocks: int  # as the model has them
    shape: shapes.LatentShape
    decoded: shapes.LatentShape  # what is decoded
    recipe: official.Recipe
    rate: float  # operations a second

    def floor(self, operations: float) -> float:
        return operations / self.rate


# ---------------------------------------------------------------- measuring


def settle(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def clock(device: str) -> float:
    return time.process_time() if device == "cpu" else time.perf_counter()


def peak_begins(device: str) -> None:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return
    with contextlib.suppress(OSError):  # Linux: the process's own greatest size begins anew
        Path("/proc/self/clear_refs").write_text("5")


def peak(device: str) -> float:
    """GB: of tensors on a GPU, of the whole process on a processor."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    with contextlib.suppress(OSError):
        found = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
        return int(found[0].split()[1]) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


@torch.inference_mode()
def fastest(device: str, *works: Callable[[], Any], rounds: int = ROUNDS) -> list[tuple[float, float]]:
    """Seconds and peak GB of each: all in turn, so that what disturbs one disturbs all; once before for nothing."""
    found = [(float("inf"), 0.0)] * len(works)
    for turn in range(rounds + 1):
        for i, work in enumerate(works):
            peak_begins(device)
            began = clock(device)
            work()
            settle(device)
            took = clock(device) - began
            if turn:
                found[i] = min(found[i][0], took), max(found[i][1], peak(device))
    return found


def matrix_rate(device: str, dtype: torch.dtype) -> float:
    """Operations a second of a large product of square matrices."""
    side = 8192 if device == "cuda" else 1536
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / fastest(device, lambda: a @ b)[0][0]


# ---------------------------------------------------------------- operations


def operations(config: WanConfig, tokens: int, blocks: int | None = None) -> float:
    """Of one prediction: products of matrices only. 2 a multiply-add."""
    D, H, S = config.width, config.hidden, TEXT_LENGTH
    linear = 2 * tokens * (6 * D * D + 2 * D * H) + 2 * S * 2 * D * D
    attention = 4 * tokens * tokens * D + 4 * tokens * S * D
    rows = (config.layers if blocks is None else blocks) + len(config.vace_layers)
    return float(rows * (linear + attention))


def decoding_operations(config: AutoencoderConfig, shape: shapes.LatentShape) -> float:
    """Counted on the network itself, without numbers: the first frame, then each four."""
    with torch.device("meta"):
        model = Autoencoder(config).eval()
    counts = []
    for frames in (1, 2):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model.decode(torch.empty(1, config.channels, frames, shape.height, shape.width, device="meta"))
        counts.append(counter.get_total_flops())
    return float(counts[0] + (shape.frames - 1) * (counts[1] - counts[0]))


# ---------------------------------------------------------------- networks


def random_model(config: WanConfig, device: str, dtype: torch.dtype) -> Wan:
    """Random weights, each in the precision that a loaded one would have."""
    torch.manual_seed(0)
    with torch.device(device):
        model = Wan(config).eval().requires_grad_(False)
    manner = checkpoint.Manner(dtype)
    for name, value in list(model.named_parameters()):
        path, _, leaf = name.rpartition(".")
        wanted = checkpoint.precision(name, value.data, manner)
        setattr(model.get_submodule(path), leaf, nn.Parameter(value.data.to(wanted), requires_grad=False))
    model.compute = dtype
    return model


def inputs(bench: Bench, count: int = 1) -> tuple[Tensor, Tensor, Tensor, Controls]:
    """x, t, text and whatever the model has to be told."""
    c, shape, device = bench.config, bench.shape, bench.device
    T, h, w = shape.frames, shape.height, shape.width
    made = torch.Generator().manual_seed(1)

    def random(*size: int) -> Tensor:
        return torch.randn(size, generator=made).to(device)

    x, text = random(count, c.out_channels, T, h, w), random(count, TEXT_LENGTH, c.width)
    told: dict[str, Any] = {}
    if c.extra_channels:
        told["extra"] = random(1, c.extra_channels, T, h, w)
    if c.image:
        told["image"] = random(1, IMAGE_TOKENS, c.width)
    if c.vace_layers:
        told["vace"] = random(1, c.vace_channels, T, h, w)
    if c.reference_channels:
        told["reference"] = random(1, c.reference_channels, h, w)
    return x, torch.full((count,), 500.0, device=device), text, Controls(**told)


# ---------------------------------------------------------------- lines


def transformer_lines(bench: Bench) -> Iterator[Line]:
    model = random_model(bench.config, bench.device, bench.dtype)
    x, t, text, told = inputs(bench, 2)
    one = lambda: model(x[:1], t[:1], text[:1], told)  # noqa: E731
    works, names = [one], ["ours"]
    if theirs := diffusers_transformer(bench):
        works.append(theirs)
        names.append("diffusers")
    found = fastest(bench.device, *works)
    floor, plain = bench.floor(operations(bench.config, bench.shape.tokens)), found[0][0]
    for name, (seconds, most) in zip(names, found, strict=True):
        yield Line(f"one prediction, {name}", seconds, seconds / floor, most, f"{plain / seconds:.2f} x our speed")
    yield from attention_lines(bench)
    (apart, _), (both, most) = fastest(
        bench.device, lambda: (one(), model(x[1:], t[1:], text[1:], told)), lambda: model(x, t, text, told)
    )
    yield Line("both predictions of guidance, one by one", apart, apart / floor / 2)
    yield Line("both predictions in a batch", both, both / floor / 2, most, f"{apart / both:.2f} x")
    yield compiled_line(bench, model, one, floor, plain)
    yield cache_line(bench, model, x[:1], text[:1], told)
    yield eight_bit_line(bench, model, one, floor, plain)


def attention_lines(bench: Bench) -> Iterator[Line]:
    """Attention alone, by each kernel that there is."""
    N, L = bench.config.heads, bench.shape.tokens
    q = torch.randn(1, N, L, HEAD, device=bench.device, dtype=bench.dtype)
    floor = bench.floor(4 * L * L * bench.config.width)
    for kernel in (*wan_speed.ORDER,):
        if kernel == SDPBackend.MATH and L > 20_000:
            continue

        def attend(kernel: SDPBackend = kernel) -> Tensor:
            with sdpa_kernel(kernel):
                return nn.functional.scaled_dot_product_attention(q, q, q)

        try:
            seconds = fastest(bench.device, attend)[0][0]
        except RuntimeError:
            yield Line(f"attention, {kernel.name.lower()}", note="not on this device")
            continue
        yield Line(f"attention, {kernel.name.lower()}", seconds, seconds / floor)


def compiled_line(bench: Bench, model: Wan, one: Callable[[], Tensor], floor: float, plain: float) -> Line:
    what = "one prediction, blocks compiled"
    if why := wan_speed.cannot_compile(bench.device):
        return Line(what, note=f"cannot: {why}")
    with torch.inference_mode():
        exact = one()
        wan_speed.compile_blocks(model)
        began = time.perf_counter()
        apart = distance(one(), exact)
    first = time.perf_counter() - began
    seconds, most = fastest(bench.device, one)[0]
    for block in model.order(True):
        block._compiled_call_impl = None
    return Line(what, seconds, seconds / floor, most,
                f"{plain / seconds:.2f} x; relative L2 {apart:.1e}; the first pass {first:.0f} s")  # fmt: skip


def cache_line(bench: Bench, model: Wan, x: Tensor, text: Tensor, told: Controls) -> Line:
    """A whole sampling of a few steps, with blocks left out and without."""

    def sampled(cache: Cache | None) -> Tensor:
        model.cache, y = cache, x
        sigmas = recipes.sigmas(STEPS, bench.recipe.shift)
        for sigma, to in pairwise(sigmas):
            t = torch.full((1,), recipes.timestep(sigma), device=bench.device)
            y = sampler.step(y, schedule.clean(y, model(y, t, text, told), sigma), sigma, to)
        model.cache = None
        return y

    with torch.inference_mode():
        exact = sampled(None)
        cache = Cache(CACHED)
        apart = distance(sampled(cache), exact)
    works = lambda: sampled(None), lambda: sampled(Cache(CACHED))
    (whole, _), (fewer, most) = fastest(bench.device, *works, rounds=1)
    error = "none was left out" if cache.error is None else f"error of what blocks add {cache.error:.1e}"
    return Line(f"{STEPS} steps, blocks left out below {CACHED}", fewer, None, most,
                f"{whole / fewer:.2f} x; {cache.left_out} of {cache.passes} left out; {error}, of the result "
                f"{apart:.0e}; random weights tell nothing of trained ones")  # fmt: skip


def eight_bit_line(bench: Bench, model: Wan, one: Callable[[], Tensor], floor: float, plain: float) -> Line:
    """Last: it rounds the weights."""
    what = "one prediction, products in 8 bits"
    if why := wan_speed.cannot_multiply(bench.device):
        return Line(what, note=f"cannot: {why}")
    with torch.inference_mode():
        exact = one()
        for name, layer in model.named_modules():
            if isinstance(layer, Linear) and name.startswith(checkpoint.BLOCKS):
                value, layer.scale = checkpoint.rounded(layer.weight.data)
                layer.weight = nn.Parameter(value, requires_grad=False)
        multiply_in_eight_bits(model)
        apart = distance(one(), exact)
    seconds, most = fastest(bench.device, one)[0]
    return Line(what, seconds, seconds / floor, most, f"{plain / seconds:.2f} x; relative L2 {apart:.1e}")


def distance(found: Tensor, exact: Tensor) -> float:
    return float((found.float() - exact.float()).norm() / exact.float().norm())


def decoding_lines(bench: Bench) -> Iterator[Line]:
    config = AUTOENCODERS[bench.config.out_channels]
    torch.manual_seed(0)
    with torch.device(bench.device):
        model = Autoencoder(config).eval().requires_grad_(False)
    latents = torch.randn(bench.decoded.batch(), device=bench.device)
    floor = bench.floor(decoding_operations(config, bench.decoded))

    def decode(dtype: torch.dtype, decoder: Any = model) -> None:
        decoder.compute = dtype
        for part in decoder.decoding(latents):
            del part

    works: list[tuple[str, Callable[[], Any]]] = [
        ("decode, ours", lambda: decode(torch.float32)),
    ]
    if bench.device != "cpu":
        works.append(("decode, ours, 16 bits", lambda: decode(torch.bfloat16)))
    if theirs := diffusers_autoencoder(bench, latents):
        works.append(("decode, diffusers", theirs))
    found = fastest(bench.device, *(work for _, work in works), rounds=1)
    told = ""
    if bench.device == "cpu":
        yield Line("decode, ours, 16 bits", note="a processor has no fast convolutions in 16 bits")
    else:
        with torch.inference_mode():
            told = f"{wan_speed.decode_small(model, latents)['levels']} of 255 levels apart, mean; 1 at most is taken"
    for (name, _), (seconds, most) in zip(works, found, strict=True):
        note = f"{found[0][0] / seconds:.2f} x our speed in 32 bits"
        yield Line(name, seconds, seconds / floor, most, f"{note}; {told}" if "16" in name else note)


def computed_lines(bench: Bench, full: shapes.LatentShape) -> Iterator[Line]:
    """What follows from operations at the size that was asked for, at this machine's rate."""
    c, recipe = replace(bench.config, layers=bench.blocks), bench.recipe
    once = operations(c, full.tokens)
    sigmas = recipes.sigmas(recipe.steps, recipe.shift)[:-1]
    guided = sum(sigma >= 0.3 for sigma in sigmas)
    for what, passes in (
        (f"floor: {recipe.steps} steps with guidance", 2 * recipe.steps),
        ("floor: guidance only above sigma 0.3", recipe.steps + guided),
        ("floor: 4 steps of a few-step LoRA", 4),
    ):
        seconds = bench.floor(passes * once)
        yield Line(what, seconds, note=f"computed, at the size asked for: {passes} times {once / 1e12:.1f} TFLOP")
    decoded = decoding_operations(AUTOENCODERS[c.out_channels], full)
    yield Line("floor: decode", bench.floor(decoded), note=f"computed, at that size: {decoded / 1e12:.1f} TFLOP")


# ---------------------------------------------------------------- diffusers


def diffusers_transformer(bench: Bench) -> Callable[[], Any] | None:
    """Its network of the same dimensions, with random weights of its own; None where it is not installed, or for
    heads that this bench does not bring to it."""
    c = bench.config
    if importlib.util.find_spec("diffusers") is None or c.vace_layers or c.extra_channels:
        return None
    from diffusers import WanTransformer3DModel

    with torch.device(bench.device):
        model: Any = WanTransformer3DModel(
            num_attention_heads=c.heads, attention_head_dim=HEAD, in_channels=c.in_channels, ffn_dim=c.hidden,
            out_channels=c.out_channels, text_dim=c.text_width, num_layers=c.layers,
        )  # fmt: skip
    model = model.eval().requires_grad_(False).to(bench.dtype)
    x, t, _, _ = inputs(bench)
    text = torch.randn(1, TEXT_LENGTH, c.text_width, device=bench.device, dtype=bench.dtype)
    return lambda: model(x.to(bench.dtype), t, text, return_dict=False)


def diffusers_autoencoder(bench: Bench, latents: Tensor) -> Callable[[], Any] | None:
    if importlib.util.find_spec("diffusers") is None or latents.shape[1] != 16:
        return None
    from diffusers import AutoencoderKLWan

    with torch.device(bench.device):
        model: Any = AutoencoderKLWan()
    model.eval().requires_grad_(False)
    return lambda: model.decode(latents, return_dict=False)


# ---------------------------------------------------------------- the command


def prepared(name: str, size: tuple[int, int], frames: int, device: str) -> tuple[Bench, shapes.LatentShape, str]:
    """What is run, the shape that was asked for, and how the two differ, in words."""
    variant = official.MODELS[ALIAS.get(name, name)].variant
    config = next(c.config for key, c in catalogue.CHECKPOINTS.items() if variant in key.split(" or "))
    assert isinstance(config, WanConfig)
    latents = AUTOENCODERS[config.out_channels]
    full = shape = decoded = shapes.latent(windows.padded(frames), size[1], size[0], latents)
    at = machine.choose_large() if device == "auto" else machine.Machine(device, torch.float32, machine.threads(), "")
    torch.set_num_threads(at.threads)
    rate, blocks, told = matrix_rate(at.device, at.dtype), config.layers, ""
    if at.device == "cpu":
        unit = latents.stride * shapes.PATCH
        width, height, count = min(SMALL, (*size, frames), key=math.prod)
        shape = shapes.latent(count, height // unit * unit, width // unit * unit, latents)
        decoded = shapes.latent(SMALLER[2], SMALLER[1], SMALLER[0], latents)
        one = operations(replace(config, layers=1, vace_layers=()), shape.tokens)
        run = max(1, min(blocks, int(PATIENCE * rate / one)))
        vace = tuple(i for i in config.vace_layers if i < run)
        config = replace(config, layers=run, vace_layers=vace)
        told = f"No GPU here: run at {width} x {height}, {count} frames, {run} of {blocks} blocks; decoded are "
        told += f"{SMALLER[2]} frames of {SMALLER[0]} x {SMALLER[1]}; seconds are those of all cores together"
    bench = Bench(at.device, at.dtype, config, blocks, shape, decoded, official.RECIPES[variant], rate)
    return bench, full, told


def lines(bench: Bench, full: shapes.LatentShape) -> Iterator[Line]:
    yield from transformer_lines(bench)
    yield from decoding_lines(bench)
    yield from computed_lines(bench, full)


def row(line: Line) -> str:
    def shown(value: float | None, digits: int) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    figures = shown(line.seconds, 3), shown(line.of_floor, 2), shown(line.peak_gb, 2)
    return f"| {' | '.join((line.what, *figures, line.note))} |"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("python -m engine bench", description=__doc__)
    parser.add_argument("--model", required=True, choices=[*ALIAS, *official.MODELS])
    parser.add_argument("--size", default="832x480", help="WIDTHxHEIGHT")
    parser.add_argument("--frames", type=int, default=81)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    chosen = parser.parse_args(arguments)
    width, height = map(int, chosen.size.split("x"))
    bench, full, told = prepared(chosen.model, (width, height), chosen.frames, chosen.device)
    head = {
        "model": chosen.model, "device": machine.name(bench.device) if bench.device == "cuda" else "processor",
        "threads": torch.get_num_threads(), "precision": str(bench.dtype).removeprefix("torch."),
        "matrix_rate_tflops": round(bench.rate / 1e12, 3), "tokens": bench.shape.tokens, "note": told,
    }  # fmt: skip
    if chosen.json:
        print(json.dumps({**head, "lines": [asdict(line) for line in lines(bench, full)]}, indent=1))
        return 0
    print("\n".join(f"{key}: {value}" for key, value in head.items() if value != ""))
    print("\n| what | seconds | x floor | peak GB | |\n|---|---|---|---|---|")
    for line in lines(bench, full):
        print(row(line))
        sys.stdout.flush()
    return 0
