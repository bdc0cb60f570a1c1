"""How much memory tensors take while they live: counted at every operation, on any device, the meta device too.

`limit` makes it an allocator that is too small: it raises torch's own OutOfMemoryError from inside the operation.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode


class Live(TorchDispatchMode):
    """Bytes of all storages that were made inside and are not gone yet."""

    def __init__(self, limit: float = float("inf")) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.limit = limit
        self.at = ""  # the operation at which the peak was
        self.known: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        given = {id_of(x) for x in (*tensors(args), *tensors(kwargs))}
        for tensor in tensors(out):
            if id_of(tensor) not in given:
                self.count(tensor, func)
        return out

    def count(self, tensor: torch.Tensor, func: object) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self.known:
            return
        size = storage.nbytes()
        if self.now + size > self.limit:
            raise torch.OutOfMemoryError(f"out of memory: {size} bytes over {self.now} of {self.limit}")
        self.known.add(key)
        self.now += size
        if self.now > self.peak:
            self.peak, self.at = self.now, str(func)
        weakref.finalize(storage, self.gone, key, size)

    def gone(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


def tensors(value: object) -> Iterator[torch.Tensor]:
    """All tensors in what an operation is given or gives."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors(part)
    elif isinstance(value, dict):
        yield from tensors(list(value.values()))


def id_of(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


class FusedAttention(TorchFunctionMode):
    """Attention as a fused kernel has it: no scores are held. The meta device has no such kernel."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.nn.functional.scaled_dot_product_attention:
            q, _, v = args[:3]
            return q.new_empty(*q.shape[:-1], v.shape[-1])
        return func(*args, **(kwargs or {}))
