"""What a call is given, checked: inputs, baselines, and the scores at both ends."""

from __future__ import annotations

from typing import Any

import numpy as np

from pathattr.backend import Backend
from pathattr.checks import check_finite
from pathattr.errors import InvalidInput, ModelError
from pathattr.layout import Array


def checked(backend: Backend, inputs: Any) -> Array:
    """Return the inputs on the host, float64, as the model's dtype holds them; raise InvalidInput for bad ones."""
    host = backend.to_numpy(inputs)
    if host.dtype.kind != "f":
        raise InvalidInput(
            f"inputs must be floating-point numbers, got {host.dtype}: gradients with respect to whole numbers do not "
            "exist. Pass pictures as floats (x / 255, normalised as the model was trained), and embeddings "
            "(input_name='inputs_embeds') in place of token ids"
        )
    if host.ndim < 2 or 0 in host.shape:
        raise InvalidInput(
            f"inputs must be a non-empty batch, (batch, ...); got shape {host.shape}: one example is x[None]"
        )
    check_finite("inputs", host)
    host = backend.to_numpy(backend.asarray(host)).astype(np.float64)
    check_finite("inputs in the model's precision", host)
    return host


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


def check_scores(scores: Array, alpha: int) -> None:
    """Raise ModelError for a score at one end of a path, α = 0 or 1, that is not finite."""
    bad = np.flatnonzero(~np.isfinite(scores))
    if bad.size:
        raise ModelError(
            f"image {bad[0]}: the model's explained score at α = {alpha} (the {'input' if alpha else 'baseline'} "
            "itself) is not finite: look at the model there, or explain another output (output='logit' where a "
            "probability is 0)"
        )


def _listed(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
