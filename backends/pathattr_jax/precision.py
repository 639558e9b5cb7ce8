"""In how many bits JAX computes: as the model's arrays, the inputs and the user's settings have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def dtypes_of(arrays: Sequence[Any], inputs: Any) -> tuple[np.dtype[Any], np.dtype[Any], np.dtype[Any]]:
    """Return the dtype of points, the widest that there is, and that of the model: its parameters', else the inputs'.

    Of parameters in several, it is the inputs' where that is among them.
    """
    wide = np.dtype(np.float64 if jax.config.jax_enable_x64 else np.float32)  # type: ignore[attr-defined]  # made at run time
    given = jax.dtypes.canonicalize_dtype(inputs.dtype)
    # Numbers of one byte are weights in storage, and none to compute with.
    held = [a.dtype for a in arrays if jnp.issubdtype(a.dtype, jnp.floating) and a.dtype.itemsize > 1]
    own = jax.dtypes.canonicalize_dtype(given if given in held or not held else held[0])
    if not jnp.issubdtype(own, jnp.floating):
        return wide, wide, wide  # inputs that the explainer will refuse
    return np.dtype(np.float32) if own.itemsize <= 4 else wide, wide, own


def narrowest(dtypes: Sequence[np.dtype[Any]]) -> np.dtype[Any]:
    """Return the type of the fewest bits."""
    return min(dtypes, key=lambda dtype: dtype.itemsize)


def is_half(leaf: Any) -> bool:
    """Tell whether a leaf is an array of floats in half precision."""
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.dtype.itemsize < 4
