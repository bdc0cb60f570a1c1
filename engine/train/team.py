"""The processes of one training run: alone, or as `torchrun` started them. Knows torch.distributed; knows no model.

Every process owns some streams of data and a shard of the weights (FSDP2); what one process decides by the clock, all
are told. Alone, everything here is the identity.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

PROCESSOR = torch.device("cpu")


@dataclass(frozen=True)
class Team:
    rank: int = 0
    size: int = 1
    device: torch.device = PROCESSOR

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def streams(self, count: int) -> list[int]:
        """This process's share of the streams, as many as everybody's."""
        if count % self.size:
            raise ValueError(
                f"{count} streams for {self.size} processes: expected a multiple of {self.size}; give --streams {self.size}"
            )
        return list(range(self.rank, count, self.size))

    def told(self, *values: float) -> list[float]:
        """What the leading process says."""
        if self.size == 1:
            return list(values)
        said = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.broadcast(said, 0)
        return said.tolist()

    def mean(self, values: list[float]) -> list[float]:
        if self.size == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return (total / self.size).tolist()

    def collect(self, text: str) -> list[str]:
        """Every process's text, by rank."""
        if self.size == 1:
            return [text]
        own = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).to(self.device)
        sizes = [torch.zeros(1, dtype=torch.long, device=self.device) for _ in range(self.size)]
        dist.all_gather(sizes, torch.tensor([len(own)], device=self.device))
        longest = int(max(sizes))
        padded = [torch.zeros(longest, dtype=torch.uint8, device=self.device) for _ in range(self.size)]
        dist.all_gather(padded, torch.cat([own, own.new_zeros(longest - len(own))]))
        return [bytes(p[: int(n)].cpu().tolist()).decode() for p, n in zip(padded, sizes, strict=True)]

    def shard(self, root: nn.Module, parts: list[nn.Module]) -> None:
        """Spreads the weights: every part, and what is left of the root, over all processes."""
        if self.size == 1:
            return
        mesh = init_device_mesh(self.device.type, (self.size,))
        for part in [*parts, root]:
            fully_shard(part, mesh=mesh)


def whole(value: Tensor) -> Tensor:
    """A tensor that is spread over the processes, put together; all of them must ask."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def spread_like(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor as the processes' shards of `like`."""
    if isinstance(like, DTensor):
        return distribute_tensor(value, like.device_mesh, like.placements)
    return value.to(like.device)


def join(device: str = "") -> Team:
    """The team that torchrun's variables name; alone where there are none. `device`: cpu or cuda; empty: what is there."""
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    own = torch.device(kind, int(os.environ.get("LOCAL_RANK", "0"))) if kind == "cuda" else torch.device(kind)
    if size > 1 and not dist.is_initialized():
        if kind == "cuda":
            torch.cuda.set_device(own)
        dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    return Team(rank, size, own)


def leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
