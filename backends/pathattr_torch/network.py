"""The scenes classifier in PyTorch, from its layer list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pathattr.scenes import network


def build(layers: Sequence[network.Layer], weights: Mapping[str, NDArray[np.float32]]) -> nn.Sequential:
    """Return the layers with their weights as a module in evaluation mode, on the CPU."""
    modules: list[nn.Module] = []
    for layer in layers:
        match layer:
            case network.Conv(name, filters, kernel, stride, padding):
                inputs = weights[f"{name}.weight"].shape[1]
                modules.append(_filled(nn.Conv2d(inputs, filters, kernel, stride, padding), name, weights))
            case network.ReLU():
                modules.append(nn.ReLU())
            case network.MaxPool(size):
                modules.append(nn.MaxPool2d(size))
            case network.GlobalAveragePool():
                modules.append(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
            case network.Dense(name, units):
                modules.append(_filled(nn.Linear(weights[f"{name}.weight"].shape[1], units), name, weights))
    return nn.Sequential(*modules).eval()


def _filled(module: Any, name: str, weights: Mapping[str, NDArray[np.float32]]) -> nn.Module:
    with torch.no_grad():
        module.weight.copy_(torch.tensor(weights[f"{name}.weight"]))
        module.bias.copy_(torch.tensor(weights[f"{name}.bias"]))
    return module
