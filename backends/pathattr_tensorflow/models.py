"""What can be seen of a model from outside: how it is called, its variables, its dtype and devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

import pathattr_keras
from pathattr.errors import InvalidInput
from pathattr.models.arguments import Call

SIGNATURE = "serving_default"
_Concrete = tf.types.experimental.ConcreteFunction


def dtype_of(model: Any, held: Sequence[Any], like: Any) -> Any:
    """Return the dtype that a model takes: its signature's, else its variables', else the inputs' (`like`).

    Of variables in several, it is the inputs' where that is among them.
    """
    spec = first_spec(model)
    if spec is not None:
        return spec.dtype
    # Numbers of one byte are weights in storage, and none to compute with.
    dtypes = [variable.dtype for variable in held if variable.dtype.size > 1]
    return like if like in dtypes or not dtypes else dtypes[0]


def caller_of(model: Any, call: Call) -> Callable[[Any, Sequence[Any], Mapping[str, Any]], Any]:
    """Return how a model of this kind is called; raise InvalidInput for one that cannot be."""
    if pathattr_keras.is_keras(model):
        return pathattr_keras.call
    signature = _signature(model)
    if signature is None and callable(model):
        return lambda model, args, kwargs: model(*args, **kwargs)
    if signature is None:
        there = ", ".join(map(repr, getattr(model, "signatures", ()))) or "none"
        raise InvalidInput(
            f"this {type(model).__name__} cannot be called, and has no signature {SIGNATURE!r} (it has {there}): pass "
            "one of its functions, such as lambda x: model.signatures['name'](x=x)['logits']"
        )
    names = _names(signature)
    given = {*call.kwargs, *([call.name] if call.name else [])}
    free = [name for name in names if name not in given]
    # Named inputs have no order: what is passed without a name can only be the last one left.
    if given - set(names) or len(free) > 1 or len(free) != len(call.args) + (call.name is None):
        others = ", ".join(f"{name!r}: ..." for name in names[1:])
        raise InvalidInput(
            f"the SavedModel's signature takes the inputs {', '.join(names)}, by name and in no order: say which "
            f"one to explain and name the others, as in explainer(x, input_name={names[0]!r}, kwargs={{{others}}})"
        )
    return _by_signature


def _by_signature(model: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    signature = _signature(model)
    free = [name for name in _names(signature) if name not in kwargs]
    return signature(**dict(zip(free, args, strict=True)), **kwargs)


def _signature(model: Any) -> Any:
    """Return the signature that a SavedModel is called through, or a model is: it takes all of its inputs by name."""
    if callable(model):
        by_name = isinstance(model, _Concrete) and not model.structured_input_signature[0]
        return model if by_name else None
    return getattr(model, "signatures", {}).get(SIGNATURE)


def _names(signature: Any) -> list[str]:
    return sorted(signature.structured_input_signature[1])  # TensorFlow's own order is another in every process


def _functions(model: Any) -> list[Any]:
    """Return the concrete functions that a SavedModel is called through, or a model is itself."""
    if isinstance(model, _Concrete):
        return [model]
    if callable(model):
        return list(getattr(getattr(model, "__call__", None), "concrete_functions", ()))  # noqa: B004 - its attribute
    signature = _signature(model)
    return [] if signature is None else [signature]


def variables_of(model: Any) -> list[Any]:
    """Return the variables of a model, as far as they can be seen from outside."""
    if pathattr_keras.is_keras(model):
        return [variable.value for variable in model.variables]
    found = [v for v in getattr(model, "variables", None) or () if isinstance(v, tf.Variable)]
    return found or [variable for function in _functions(model) for variable in function.variables]


def first_spec(model: Any) -> Any:
    """Return the first floating-point tensor that a function of fixed types takes; None for any other model."""
    for function in _functions(model):
        for spec in tf.nest.flatten(function.structured_input_signature):
            if isinstance(spec, tf.TensorSpec) and spec.dtype.is_floating:
                return spec
    return None


def device_name(device: str) -> str:
    """Return "cpu" or "gpu:0" for TensorFlow's full name of a device."""
    kind, _, number = device.lower().rpartition("device:")[2].partition(":")
    return kind if kind == "cpu" else f"{kind}:{number}"
