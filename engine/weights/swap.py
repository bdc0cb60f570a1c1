"""Blocks of a network that lie in the machine's memory and come to the device one after the other.

While one block runs the next one is fetched, on a stream of its own where the device has streams. The first `resident`
blocks stay there. Knows blocks; knows nothing of what they compute.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn


class Swap:
    """How blocks are gone through: set as `each` of a network."""

    def __init__(self, device: str, resident: int = 0, pinned: bool = False) -> None:
        self.device, self.resident, self.pinned = torch.device(device), resident, pinned
        self.homes: dict[nn.Module, list[tuple[nn.Module, str, Tensor]]] = {}
        self.there: list[nn.Module] = []  # blocks that are on the device only for now
        self.stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        self.most = 0  # of them, at any time

    def settle(self, blocks: Sequence[nn.Module]) -> None:
        """Takes blocks into its care: the first stay on the device, of the others the home is remembered."""
        for block in blocks[: self.resident]:
            block.to(self.device)
        for block in blocks[self.resident :]:
            self.homes[block] = [(owner, name, self.at_home(value)) for owner, name, value in tensors(block)]

    def at_home(self, value: Tensor) -> Tensor:
        return value.pin_memory() if self.pinned and self.stream is not None else value

    def __call__(self, blocks: Sequence[nn.Module]) -> Iterator[nn.Module]:
        """Every block in order, on the device while it is the caller's."""
        self.let_go()  # of a pass that was cut off
        if blocks:
            self.fetch(blocks[0])
        for block, following in zip(blocks, [*blocks[1:], None], strict=True):
            if self.stream is not None:
                torch.cuda.current_stream(self.device).wait_stream(self.stream)
            if following is not None:
                self.fetch(following)
            yield block
            self.leave(block)

    def fetch(self, block: nn.Module) -> None:
        if block not in self.homes:
            return
        with torch.cuda.stream(self.stream):  # None: the current one
            for owner, name, home in self.homes[block]:
                put(owner, name, home.to(self.device, non_blocking=True, copy=True))
        self.there.append(block)
        self.most = max(self.most, len(self.there))

    def leave(self, block: nn.Module) -> None:
        """Back home: what lay on the device was a copy. It may still be in use there, so its memory is handed on only
        in that stream's order."""
        if block not in self.there:
            return
        for owner, name, home in self.homes[block]:
            if self.stream is not None:
                getattr(owner, name).record_stream(torch.cuda.current_stream(self.device))
            put(owner, name, home)
        self.there.remove(block)

    def let_go(self) -> None:
        for block in list(self.there):
            self.leave(block)


def tensors(block: nn.Module) -> Iterator[tuple[nn.Module, str, Tensor]]:
    """Parameters and buffers of a block, with the module that has them."""
    for owner in block.modules():
        for name, value in (*owner._parameters.items(), *owner._buffers.items()):
            if value is not None:
                yield owner, name, value.data


def put(owner: nn.Module, name: str, value: Tensor) -> None:
    if name in owner._parameters:
        owner._parameters[name] = nn.Parameter(value, requires_grad=False)
    else:
        owner._buffers[name] = value
