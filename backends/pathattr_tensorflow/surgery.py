"""Modules of TensorFlow built, moved, and with some of their variables shuffled."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pathattr.errors import InvalidInput
from pathattr.models.blame import brief
from pathattr.models.surgery import Surgery, by_layer, cannot, chosen, layer_of
from pathattr_tensorflow.models import device_name, variables_of
from pathattr_tensorflow.network import SceneNetwork


class TensorFlowSurgery(Surgery):
    """Surgery on modules; layers come in TensorFlow's order, by attribute, alphabetical."""

    @classmethod
    def devices(cls) -> list[str]:
        # Physical devices: asking for logical ones would settle how TensorFlow uses the memory of a GPU.
        return ["cpu", *(f"gpu:{i}" for i in range(len(tf.config.list_physical_devices("GPU"))))]

    @classmethod
    def place(cls, model: Any, device: str) -> Any:
        wanted = "gpu:0" if device == "gpu" else "cpu" if device == "cpu:0" else device
        if wanted not in cls.devices():
            raise InvalidInput(f"TensorFlow has no device {device!r} here; it has {', '.join(cls.devices())}")
        if isinstance(model, SceneNetwork):
            return model.on(wanted)
        held = {device_name(variable.device) for variable in variables_of(model)}
        if held and held != {wanted}:
            raise InvalidInput(
                f"the model's variables are on {', '.join(sorted(held))}, and TensorFlow cannot move them to {wanted}: "
                f"build or load the model under `with tf.device({wanted!r}):`"
            )
        return model

    @classmethod
    def build(cls, layers: Sequence[Any], weights: Mapping[str, NDArray[np.float32]]) -> SceneNetwork:
        return SceneNetwork(layers, weights)

    @classmethod
    def layers(cls, model: Any) -> list[str]:
        return list(_weights(model))

    @classmethod
    def randomised(cls, model: Any, layers: Sequence[str], rng: np.random.Generator) -> Any:
        try:
            made = copy.deepcopy(model)
        except Exception as error:  # what an attribute of the user's raises
            raise cannot("tensorflow", f"it cannot be copied ({brief(error)})") from error
        for variable in chosen(_weights(made), layers):
            variable.assign(rng.permuted(variable.numpy()))
        return made


def _weights(model: Any) -> dict[str, list[Any]]:
    """Return the floating-point variables of a module by layer."""
    if not isinstance(model, tf.Module):
        raise cannot("tensorflow", f"{type(model).__name__} is no tf.Module")
    found = model._flatten(predicate=lambda part: isinstance(part, tf.Variable), with_path=True)
    return by_layer((layer_of(path), variable) for path, variable in found if variable.dtype.is_floating)
