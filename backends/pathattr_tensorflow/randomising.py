"""Modules of TensorFlow with some of their variables shuffled."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pathattr.models.blame import brief
from pathattr.models.randomising import by_layer, cannot, chosen, layer_of


def variables(model: Any) -> dict[str, list[Any]]:
    """Return the floating-point variables of a module by layer, in TensorFlow's order: by attribute, alphabetical."""
    if not isinstance(model, tf.Module):
        raise cannot("tensorflow", f"{type(model).__name__} is no tf.Module")
    found = model._flatten(predicate=lambda part: isinstance(part, tf.Variable), with_path=True)
    return by_layer((layer_of(path), variable) for path, variable in found if variable.dtype.is_floating)


def randomised(model: Any, layers: Sequence[str], rng: np.random.Generator) -> Any:
    """Return a copy in which the variables of these layers are shuffled."""
    try:
        made = copy.deepcopy(model)
    except Exception as error:  # what an attribute of the user's raises
        raise cannot("tensorflow", f"it cannot be copied ({brief(error)})") from error
    for variable in chosen(variables(made), layers):
        variable.assign(rng.permuted(variable.numpy()))
    return made
