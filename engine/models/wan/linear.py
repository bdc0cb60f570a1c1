"""Layers whose weights may lie in another precision than the one they compute in: bf16, fp16, or 8 bits and a scale.

An 8-bit weight stays so in memory and is widened while its layer runs. Norms compute in float32, whatever is given. On
the meta device, where a network is made before its file is read, no first numbers are drawn.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EIGHT_BITS = (torch.float8_e4m3fn, torch.float8_e5m2)


class Undrawn:
    """Of a layer: where it has no numbers, drawing them would only take time."""

    weight: Tensor

    def reset_parameters(self) -> None:
        if not self.weight.is_meta:
            super().reset_parameters()  # type: ignore[misc]  # of the layer that this goes before


class Linear(Undrawn, nn.Linear):
    """A product in the input's precision. `scale` () or (out,) float32: what an 8-bit weight was divided by."""

    scale: Tensor | None
    products = False  # an 8-bit weight is multiplied as it is, with the input rounded to 8 bits, too

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias)
        self.register_buffer("scale", None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out), in the dtype of x."""
        if self.products:
            y = scaled_product(x.flatten(0, -2), self.weight, self.scale).view(*x.shape[:-1], -1)
            return y if self.bias is None else y + self.bias.to(x.dtype)
        weight = self.weight.to(x.dtype)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        if self.scale is None:
            return F.linear(x, weight, bias)
        y = F.linear(x, weight) * self.scale  # scaled after the product: the scale itself is not rounded
        return (y if bias is None else y + bias).to(x.dtype)


def scaled_product(x: Tensor, weight: Tensor, scale: Tensor | None) -> Tensor:
    """x (M, in) times an e4m3 weight (out, in) whose rows were divided by `scale`, in 8 bits: each row of x is divided
    by its greatest number. -> (M, out), in the dtype of x."""
    each = x.abs().amax(1, keepdim=True).float().clamp_min(1e-12) / torch.finfo(weight.dtype).max
    rows = (x.float() / each).to(weight.dtype)
    columns = torch.ones(1, device=x.device) if scale is None else scale
    columns = columns.expand(len(weight))[None].contiguous()
    return torch._scaled_mm(rows, weight.t(), scale_a=each, scale_b=columns, out_dtype=x.dtype)


def multiply_in_eight_bits(model: nn.Module) -> None:
    for layer in model.modules():
        if isinstance(layer, Linear) and layer.weight.dtype == torch.float8_e4m3fn:
            layer.products = True


class RMSNorm(nn.Module):
    """x / rms(x) times a weight, over the last dimension (Zhang and Sennrich 2019); float32 inside and out."""

    def __init__(self, width: int, epsilon: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.epsilon) * self.weight.float()


class LayerNorm(nn.LayerNorm):
    """LayerNorm in float32, whatever its weights lie in."""

    def forward(self, x: Tensor) -> Tensor:
        weight = None if self.weight is None else self.weight.float()
        bias = None if self.bias is None else self.bias.float()
        return F.layer_norm(x.float(), self.normalized_shape, weight, bias, self.eps)


class Conv2d(Undrawn, nn.Conv2d):
    """A convolution in the input's precision."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))


class Conv3d(Undrawn, nn.Conv3d):
    """A convolution in the input's precision."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))
