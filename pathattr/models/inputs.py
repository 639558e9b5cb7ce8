"""What a call is given, checked: inputs, baselines, and the scores at both ends."""

from __future__ import annotations

from typing import Any

import numpy as np

from pathattr.common.axes import Array
from pathattr.common.checks import check_finite, plain_floats, unmasked
from pathattr.errors import InvalidInput
from pathattr.models.backend import Backend


def plain(inputs: Any) -> Any:
    """Return a NumPy array as every framework takes one, whatever its byte order, strides and flags; else the inputs.

    It is a copy: no model writes into what is the user's. Raises InvalidInput for an array of anything but floats.
    """
    if not isinstance(inputs, np.ndarray):
        return inputs
    inputs = unmasked("inputs", inputs)
    _check_floats(inputs.dtype)
    check_finite("inputs", inputs)
    with np.errstate(over="ignore"):  # said in the next line but one
        made = np.array(inputs, dtype=plain_floats(inputs.dtype), order="C")
    check_finite(f"inputs in {made.dtype}", made)
    return made


def checked(backend: Backend, inputs: Any) -> Array:
    """Return the inputs on the host, float64, as the model's dtype holds them; raise InvalidInput for bad ones."""
    host = backend.to_numpy(inputs)
    _check_floats(host.dtype)
    if host.ndim < 2 or 0 in host.shape:
        raise InvalidInput(
            f"inputs must be a non-empty batch, (batch, ...); got shape {host.shape}: one example is x[None]"
        )
    check_finite("inputs", host)
    host = backend.to_numpy(backend.asarray(host)).astype(np.float64)
    check_finite("inputs in the model's precision", host)
    return host


def _check_floats(dtype: np.dtype[Any]) -> None:
    """Raise InvalidInput that says what to pass in place of inputs that are no floats."""
    if dtype.kind == "f":
        return
    advice = {
        "c": "pass real and imaginary parts as features of their own, np.stack([x.real, x.imag], axis=1), and a model "
        "that puts them together",
        "O": "pass x.astype(float), where every entry is a number and all examples have one shape",
        "S": "read the numbers, x.astype(float); a text's words go in as embeddings (input_name='inputs_embeds')",
        "M": "pass the time since some moment as a number, (x - x.min()) / np.timedelta64(1, 's')",
        "m": "pass a number of units, x / np.timedelta64(1, 's')",
        "f": "pass x.astype(np.float32)",
        "V": "pass the fields as features, numpy.lib.recfunctions.structured_to_unstructured(x)",
    }
    # Void without fields is a float of few bits that NumPy does not know.
    kind = "S" if dtype.kind in "UT" else "f" if dtype.kind == "V" and dtype.names is None else dtype.kind
    whole = (
        "gradients with respect to whole numbers do not exist. Pass pictures as floats (x / 255, normalised as the "
        "model was trained), and embeddings (input_name='inputs_embeds') in place of token ids"
    )
    raise InvalidInput(f"inputs must be floating-point numbers, got {dtype}: {advice.get(kind, whole)}")


def fitted_starts(array: Array, shape: tuple[int, ...], samples: bool) -> Array:
    """Return given baselines as (batch, references, *example)."""
    example = shape[1:]
    if samples:
        if array.shape[1:] != example or not len(array):
            raise InvalidInput(f"Samples need the shape (references, {_listed(example)}); got {array.shape}")
        return np.broadcast_to(array, (shape[0], *array.shape))
    if array.shape == example or array.shape == (1, *example):
        return np.broadcast_to(array.reshape(example), (shape[0], 1, *example))
    if array.shape == shape:
        return array[:, None]
    raise InvalidInput(
        f"the baseline has shape {array.shape}; expected one example, ({_listed(example)}), or one per input, {shape}. "
        "For several references per input pass Samples(array); for one number per channel Constant([...])"
    )


def _listed(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
