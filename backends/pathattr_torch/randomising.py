"""Modules with some of their weights shuffled."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from pathattr.models.blame import brief
from pathattr.models.randomising import by_layer, cannot, chosen


def weights(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Return the floating-point parameters of every part that has its own, in the order of definition."""
    return by_layer(
        (name, parameter)
        for name, module in model.named_modules()
        for parameter in module.parameters(recurse=False)
        if parameter.is_floating_point()
    )


def randomised(model: nn.Module, layers: Sequence[str], rng: np.random.Generator) -> nn.Module:
    """Return a copy in which the parameters of these parts are shuffled; buffers, as batch statistics, are not."""
    try:
        made = copy.deepcopy(model)
    except Exception as error:  # what an attribute of the user's raises
        raise cannot("torch", f"it cannot be copied ({brief(error)})") from error
    with torch.no_grad():
        for parameter in chosen(weights(made), layers):
            order = torch.from_numpy(rng.permutation(parameter.numel())).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return made
