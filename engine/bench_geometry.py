"""How fast one frame is seen from another. Measures `engine.geometry.reproject` beside a plain `grid_sample`."""

import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from .geometry.cameras import rays
from .geometry.reproject import View, reproject

WIDTH, HEIGHT = 832, 480
ROUNDS = 15


def bench_reprojection(only: str | None = None) -> dict:
    """-> per device: Mpx/s of one 832x480 frame, and its time over that of a `grid_sample` of that size.

    Both are timed in turns, so that whatever else the machine does falls on both; the fastest round of each counts, as
    the one that others disturbed least. `only` names one device, "cpu" or "cuda".
    """
    devices = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
    if only is not None and only not in devices:
        raise ValueError(f"device {only!r}: this machine has {' and '.join(devices)}; leave it out to measure all")
    chosen = devices if only is None else [only]
    return {"size": [WIDTH, HEIGHT], **{device: on_device(torch.device(device)) for device in chosen}}


def on_device(device: torch.device) -> dict:
    source, target = view(0.0, device), view(0.3, device)
    colour = torch.rand(3, HEIGHT, WIDTH, device=device)
    grid = (torch.rand(1, HEIGHT, WIDTH, 2, device=device) * 0.02
            + functional.affine_grid(torch.eye(2, 3, device=device)[None], [1, 3, HEIGHT, WIDTH], align_corners=False))
    valid = reproject(colour, source, target)[1].float().mean().item()
    ours, plain = in_turns(lambda: reproject(colour, source, target),
                           lambda: functional.grid_sample(colour[None], grid, align_corners=False), device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    return {"device": name, "mpx_per_s": round(WIDTH * HEIGHT / ours / 1e6, 2), "ms": round(ours * 1e3, 3),
            "grid_sample_ms": round(plain * 1e3, 3), "times_grid_sample": round(ours / plain, 2),
            "valid": round(valid, 3)}


def view(aside: float, device: torch.device) -> View:
    """A floor and a ball under an open sky, as a camera sees them that stands so far aside: two indices, a sky."""
    K = torch.tensor([[900.0, 0, WIDTH / 2], [0, 900, HEIGHT / 2], [0, 0, 1]], dtype=torch.float64, device=device)
    c2w = torch.eye(4, dtype=torch.float64, device=device)
    c2w[0, 3] = aside
    origin, direction = rays(K[None], c2w[None], HEIGHT, WIDTH)
    direction = direction[0].double()
    floor = torch.where(direction[..., 1] > 1e-3, 1.0 / direction[..., 1], torch.inf)
    to_ball = torch.tensor([0.0, 0.2, 5.0], dtype=torch.float64, device=device) - origin[0]
    along = direction @ to_ball
    root = along.square() - to_ball @ to_ball + 0.8**2
    ball = torch.where(root > 0, along - root.clamp_min(0).sqrt(), torch.inf)
    depth = (torch.minimum(floor, ball) * direction[..., 2]).float()
    index = torch.where(ball < floor, 2, torch.where(depth.isinf(), 0, 1)).int()
    return View(depth, K, c2w, None, index)


def in_turns(first: Callable[[], object], second: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Fewest seconds of two things done in turns, after one unmeasured round."""
    times = [(seconds(first, device), seconds(second, device)) for _ in range(ROUNDS + 1)][1:]
    a, b = torch.tensor(times, dtype=torch.float64).amin(0).tolist()
    return a, b


def seconds(what: Callable[[], Tensor | object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    what()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start
