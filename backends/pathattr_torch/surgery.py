"""Modules built, moved, and with some of their weights shuffled."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pathattr.errors import InvalidInput
from pathattr.models.blame import brief
from pathattr.models.surgery import Surgery, by_layer, cannot, chosen
from pathattr_torch.network import build
from pathattr_torch.parts import check_filled


class TorchSurgery(Surgery):
    """Surgery on modules of PyTorch; buffers, as batch statistics, are no weights."""

    @classmethod
    def devices(cls) -> list[str]:
        found = ["cpu"]
        found += [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        return found + (["mps"] if torch.backends.mps.is_available() else [])

    @classmethod
    def place(cls, model: Any, device: str) -> Any:
        if (device != "cuda" and device not in cls.devices()) or (device == "cuda" and not torch.cuda.is_available()):
            raise InvalidInput(f"torch has no device {device!r} here; it has {', '.join(cls.devices())}")
        return model.to(device) if isinstance(model, nn.Module) else model

    @classmethod
    def build(cls, layers: Sequence[Any], weights: Mapping[str, NDArray[np.float32]]) -> nn.Module:
        return build(layers, weights)

    @classmethod
    def layers(cls, model: Any) -> list[str]:
        return list(_weights(_module(model)))

    @classmethod
    def randomised(cls, model: Any, layers: Sequence[str], rng: np.random.Generator) -> nn.Module:
        module = _module(model)
        try:
            made = copy.deepcopy(module)
        except Exception as error:  # what an attribute of the user's raises
            raise cannot("torch", f"it cannot be copied ({brief(error)})") from error
        with torch.no_grad():
            for parameter in chosen(_weights(made), layers):
                order = torch.from_numpy(rng.permutation(parameter.numel())).to(parameter.device)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))
        return made


def _module(model: Any) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise cannot("torch", f"{type(model).__name__} is no module")
    check_filled(model)
    return model


def _weights(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Return the floating-point parameters of every part that has its own, in the order of definition."""
    return by_layer(
        (name, parameter)
        for name, module in model.named_modules()
        for parameter in module.parameters(recurse=False)
        if parameter.is_floating_point()
    )
