"""Keras 3 models: recognising them, their conventions, and calling them for inference."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

from pathattr.common.axes import unless_odd
from pathattr.errors import InvalidInput

# As Keras, TensorFlow, PyTorch and JAX name the functions that a layer may have as its activation.
_TO_PROBABILITIES = ("softmax", "softmax_v2", "sigmoid")
_FORMATS = {"channels_first": 1, "channels_last": -1}


def is_keras(model: Any) -> bool:
    """Tell whether `model` is a model or layer of Keras 3; Keras is not imported for it."""
    layer = getattr(sys.modules.get("keras"), "Layer", None)  # Keras 2 has no such name, nor one half imported
    return isinstance(layer, type) and isinstance(model, layer)


def keras_backend() -> str:
    """Return the name of the framework that Keras runs on: "tensorflow", "jax" or "torch"."""
    import keras

    return str(keras.config.backend())


def compute_dtypes(model: Any) -> set[str]:
    """Return the names of the half-precision types that a Keras model's layers compute in; none for other models."""
    if not is_keras(model):
        return set()
    named = {str(getattr(layer, "compute_dtype", "")) for layer in _layers(model)}
    return named & {"float16", "bfloat16"}


def undisturbed() -> AbstractContextManager[Any]:
    """Drop what Keras models write to their own variables inside: statistics, states of layers and of seeds."""
    scope = getattr(sys.modules.get("keras"), "StatelessScope", None)  # not in Keras 2
    return nullcontext() if scope is None else scope()


def check_built(model: Any) -> None:
    """Raise InvalidInput for a model without weights yet: a first call would explain random ones."""
    # A subclass counts as built once `build` has been called, whether or not the layers in it are.
    if not model.built or (not model.weights and any(not part.built for part in _layers(model))):
        raise InvalidInput(
            f"the Keras model {model.name!r} is not built: it has no weights yet. Give it a keras.Input as its first "
            "layer, or call it once on an example; then load its weights"
        )


def conventions(model: Any, shape: Sequence[int]) -> tuple[Literal["already"] | None, int | None]:
    """Return what `ending_link` and `channel_axis` tell of a model; raise InvalidInput for one that is not built."""
    check_built(model)
    return ending_link(model), channel_axis(model, shape)


def channel_axis(model: Any, shape: Sequence[int]) -> int | None:
    """Return where the model keeps the channels of a batch of that shape, 1 or -1; None where that cannot be known.

    As its first layer says that takes as many axes, else the first that says anything, else as Keras is set. None where
    lengths contradict that: those that the layer was built for, or those that look like channels at the other end.
    """
    import keras

    said = [layer for layer in _layers(model) if getattr(layer, "data_format", None) in _FORMATS and _rank(layer) != 1]
    first = next((layer for layer in said if _rank(layer) in (len(shape), None)), next(iter(said), None))
    if first is None:
        return unless_odd(_FORMATS[keras.config.image_data_format()], shape)
    axis = _FORMATS[first.data_format]
    if axis == 1 and _rank(first) not in (len(shape), None):
        return None  # pictures in a further axis, as the frames of a video: theirs is not the second
    built = (getattr(getattr(first, "input_spec", None), "axes", None) or {}).get(axis)
    return unless_odd(axis, shape) if built is None else axis if built == shape[axis] else None


def _rank(layer: Any) -> int | None:
    """Return the number of axes that a layer takes; None where it does not say."""
    spec = getattr(layer, "input_spec", None)
    return getattr(spec, "ndim", None) or getattr(spec, "min_ndim", None)


def ending_link(model: Any) -> Literal["already"] | None:
    """Return "already" where the model visibly ends in a softmax or sigmoid: it returns probabilities."""
    last = _last(model)
    activation = getattr(last, "activation", None)
    if type(last).__name__ in ("Softmax", "Sigmoid") or getattr(activation, "__name__", "") in _TO_PROBABILITIES:
        return "already"
    return None


def call(model: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Return the model's outputs for inference: no dropout, batch statistics left alone.

    The inputs of a functional model may come one by one, or under their names; Keras wants them in one structure.
    """
    structure = model.input if hasattr(model, "operations") else None
    if structure is not None:
        by_name = isinstance(structure, dict)
        several = isinstance(structure, dict | list | tuple)
        names = list(
            structure if by_name else (getattr(x, "name", None) for x in (structure if several else [structure]))
        )
        named = {name: kwargs[name] for name in names if name in kwargs}
        if by_name and len(args) > 1:
            raise InvalidInput(
                f"the Keras model {model.name!r} takes the inputs {', '.join(names)}, by name and in no order: say "
                f"input_name={names[0]!r} for the one to explain, and pass the others in kwargs"
            )
        if named or (several and len(args) == len(names) > 1):
            positional = iter(args)
            inputs = [named[name] if name in named else next(positional, None) for name in names]
            kwargs = {key: value for key, value in kwargs.items() if key not in named}
            args = [dict(zip(names, inputs, strict=True)) if by_name else inputs if several else inputs[0]]
    # A layer whose `call` has no such argument hands it on to the layers in it.
    return model(*args, **{**kwargs, "training": False})


def _layers(model: Any) -> Iterator[Any]:
    """Yield a model and the layers in it, depth first, in the order they are called where that is known."""
    yield model
    for layer in getattr(model, "layers", None) or ():
        yield from _layers(layer)


def _last(model: Any) -> Any:
    """Return the operation that makes the one output of a model; None where that is not known."""
    import keras

    if not isinstance(model, keras.Model):
        return model
    if hasattr(model, "operations"):  # functional: several branches, and functions of keras.ops beside layers
        names = model.output_names
        return _last(next(part for part in model.operations if part.name == names[0])) if len(names) == 1 else None
    # A subclass's layers are in no order that is known.
    return _last(model.layers[-1]) if isinstance(model, keras.Sequential) and model.layers else None
