"""Small random networks of diffusers and transformers, and ours with the same numbers under official names."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.models.wan import config, names


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Numbers that no term survives unseen: no zeros, no ones, norms that are not 1, biases that are not 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            if value.dim() < 2 or name.endswith("gamma"):
                value.copy_(0.1 * noise + (0 if name.endswith("bias") else 1))
            else:
                value.copy_(noise / value[0].numel() ** 0.5)
    return model.eval()


def official(model: nn.Module) -> dict[str, Tensor]:
    """A network's numbers under official names, by the engine's own tables."""
    state = model.state_dict()
    found = names.find(state)
    assert found is not None
    return {name: state[there] for name, there in found.names.items()}


def shapes(state: dict[str, Tensor]) -> config.Shapes:
    return {name: tuple(value.shape) for name, value in state.items()}


def filled(make, read, oracle: nn.Module) -> nn.Module:
    """Ours, made from the configuration that the oracle's shapes show, with the oracle's numbers."""
    state = official(oracle)
    model = make(read(shapes(state)))
    model.load_state_dict(state)
    return model.eval()


def apart(found: Tensor, expected: Tensor) -> float:
    """Relative L2."""
    assert found.shape == expected.shape
    return float((found.double() - expected.double()).norm() / expected.double().norm())
