"""Keras models with some of their weights shuffled, on whatever framework Keras runs on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pathattr.models.blame import brief
from pathattr.models.surgery import Surgery, by_layer, cannot, chosen
from pathattr_keras.models import is_keras

_STATISTICS = ("moving_mean", "moving_variance")


class KerasSurgery(Surgery):
    """Shuffles Keras's models, and leaves all others to what comes after it among a backend's bases."""

    @classmethod
    def layers(cls, model: Any) -> list[str]:
        return layers(model) if is_keras(model) else super().layers(model)

    @classmethod
    def randomised(cls, model: Any, layers: Sequence[str], rng: np.random.Generator) -> Any:
        return randomised(model, layers, rng) if is_keras(model) else super().randomised(model, layers, rng)


def layers(model: Any) -> list[str]:
    """Return the paths of the layers with learned weights, in the model's order."""
    return list(_places(model))


def randomised(model: Any, names: Sequence[str], rng: np.random.Generator) -> Any:
    """Return a copy in which the learned weights of these layers are shuffled; statistics are not."""
    import keras

    arrays = [np.asarray(array) for array in model.get_weights()]
    for place in chosen(_places(model), names):
        arrays[place] = rng.permuted(arrays[place])
    try:
        made = keras.models.clone_model(model)
        made.set_weights(arrays)
    except Exception as error:  # a subclass without get_config, a layer of the user's own, ...
        raise cannot("Keras", f"it cannot be cloned ({brief(error)})") from error
    return made


def _places(model: Any) -> dict[str, list[int]]:
    """Return where in `model.weights` the learned ones of each layer are; a frozen layer's are learned too."""
    return by_layer(
        (variable.path.rpartition("/")[0] or variable.path, place)
        for place, variable in enumerate(model.weights)
        if "float" in str(variable.dtype) and variable.name not in _STATISTICS
    )
