"""Keras 3 classifiers by name or from a file, on whatever framework Keras runs on. Keras is imported when asked for."""

from __future__ import annotations

import inspect
import json
import os
import sys
import zipfile
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathattr.errors import InvalidInput, MissingExtra
from pathattr.models.blame import brief
from pathattr.pictures.image_model import ImageModel
from pathattr.pictures.preprocessing import Preprocessing
from pathattr_keras.models import channel_axis

WEIGHTS = "imagenet"


def load_keras(name: str) -> ImageModel:
    """Return a classifier of keras.applications with its ImageNet weights and its own preprocessing.

    It returns logits: the softmax at its end is left out, so that every output can be explained.
    """
    keras = _keras()
    make = getattr(keras.applications, name, None)
    if not inspect.isfunction(make):
        there = [key for key, value in vars(keras.applications).items() if inspect.isfunction(value)]
        close = get_close_matches(name, there, n=1, cutoff=0.5)
        raise InvalidInput(
            f"keras.applications has no model {name!r}; "
            + (f"did you mean {close[0]!r}?" if close else f"it has {', '.join(sorted(there))}")
        )
    settings = {"classifier_activation": None} if "classifier_activation" in inspect.signature(make).parameters else {}
    try:
        model = make(weights=WEIGHTS, **settings)
    except Exception as error:  # Keras raises a bare Exception where a download fails
        raise InvalidInput(
            f"keras.applications.{name} could not be loaded ({brief(error)}): try again where its weights can be "
            "downloaded, or make the model in Python and pass module:callable"
        ) from error
    preprocessing, reversed_channels = affine(sys.modules[make.__module__].preprocess_input)
    size, axis = _size(model), _channel_axis(model)
    if reversed_channels:
        model = _reversed(model, axis)
    return ImageModel(model, size, preprocessing, _classes(model), channel_axis=axis)


def load_keras_file(path: str) -> ImageModel:
    """Return a model saved by Keras 3 in a `.keras` file, which takes pixels in [0, 1]; no code in it is run."""
    keras, file = _keras(), Path(path).expanduser()
    if not file.is_file():
        raise InvalidInput(f"there is no Keras file {file}: check the path")
    if file.suffix != ".keras" or not zipfile.is_zipfile(file):
        raise InvalidInput(
            f"{file} is not in the .keras format of Keras 3: save the model again with model.save('name.keras'); "
            "a SavedModel folder is savedmodel:FOLDER"
        )
    try:
        model = keras.models.load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # each layer raises what it likes
        raise InvalidInput(
            f"{file} cannot be loaded without running code from it ({brief(error)}): for a model with Lambda layers or "
            "classes of your own, build it in Python and pass module:callable"
        ) from error
    return ImageModel(model, _size(model), channel_axis=_channel_axis(model))


def affine(preprocess: Callable[[NDArray[Any]], Any]) -> tuple[Preprocessing, bool]:
    """Return what a preprocess_input does to RGB pixels, and whether it turns them into BGR.

    It is tried on pictures of one colour. Raises InvalidInput for anything but a scale and a shift per channel.
    """

    def apply(colours: NDArray[np.float64]) -> NDArray[np.float64]:  # (pictures, 3), raw
        return np.asarray(preprocess(255.0 * colours[:, None, None, :]), dtype=np.float64)[:, 0, 0]

    shift = apply(np.zeros((1, 3)))[0]
    matrix = apply(np.eye(3)) - shift  # matrix[i, j]: what raw channel i adds to output channel j
    colours = np.random.default_rng(0).random((8, 3))
    # Preprocessing computes in float32 at the worst: a few units of 6e-8 of numbers up to 255.
    exact = np.abs(apply(colours) - (colours @ matrix + shift)).max() < 1e-4
    turned = bool(np.abs(matrix[0, 0]) < np.abs(matrix[0, 2]))
    shift, matrix = (shift[::-1], matrix[:, ::-1]) if turned else (shift, matrix)
    scale = np.diag(matrix)
    if not exact or np.abs(matrix - np.diag(scale)).max() > 1e-4 or not (scale > 0).all():
        raise InvalidInput(
            "the model's preprocess_input is more than a scale and a shift per channel: pass module:callable that "
            "returns an ImageModel with the preprocessing inside the model"
        )
    return Preprocessing((-shift / scale).tolist(), (1 / scale).tolist()), turned


def _reversed(model: Any, axis: int) -> Any:
    """Return the model behind a flip of its channels: RGB in, BGR for the model."""
    import keras

    inputs = keras.Input(model.input_shape[1:], dtype=model.inputs[0].dtype)
    return keras.Model(inputs, model(keras.ops.flip(inputs, axis=axis)))


def _size(model: Any) -> tuple[int, int] | None:
    """Return the (height, width) that a model of pictures takes, None for any; raise InvalidInput for other models."""
    shape = getattr(model, "input_shape", None)
    if shape is None:  # a subclass that does not say
        return None
    if not isinstance(shape, tuple) or len(shape) != 4:
        raise InvalidInput(
            f"pictures need a model of one input with 4 axes, batch counted; {model.name!r} takes {_listed(shape)}: "
            "wrap it in Python in a function of pictures, and pass module:callable"
        )
    height, width = shape[2:] if _channel_axis(model) == 1 else shape[1:3]
    return None if height is None or width is None else (int(height), int(width))


def _channel_axis(model: Any) -> int:
    """Return where a model of pictures keeps channels; raise InvalidInput where that cannot be known."""
    shape = getattr(model, "input_shape", None) or (None,) * 4
    axis = channel_axis(model, [sys.maxsize if length is None else length for length in shape])
    if axis is None:
        raise InvalidInput(
            f"where {model.name!r} keeps the channels of its inputs {shape} cannot be known: load it in Python, and "
            "pass module:callable that returns an ImageModel with channel_axis=1 or -1"
        )
    return axis


def _listed(shape: Any) -> str:
    return f"{len(shape)} inputs" if isinstance(shape, dict | list) else f"the shape {shape}"


def _classes(model: Any) -> Sequence[str] | None:
    """Return ImageNet's class names where Keras has downloaded them before."""
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    file = home / "models" / "imagenet_class_index.json"
    if not file.is_file() or model.output_shape[-1] != 1000:
        return None
    names = json.loads(file.read_text())
    return tuple(str(names[str(i)][1]).replace("_", " ") for i in range(1000))


def _keras() -> Any:
    try:
        import keras
    except ImportError as error:
        raise MissingExtra(
            f"keras:NAME and keras-file:PATH need Keras 3, which cannot be imported ({brief(error)}): pip install "
            "keras and the framework that it runs on"
        ) from error
    return keras
