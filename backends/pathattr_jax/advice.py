"""What to do where JAX cannot trace a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jax

import pathattr_keras
from pathattr.errors import ModelError
from pathattr.models.blame import brief

# What JAX raises where a function asks a traced array for its numbers.
_UNTRACEABLE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


@contextmanager
def traceable(*, jit: bool, single: bool) -> Iterator[None]:
    """Say what to do where the model cannot be traced; what Keras models write to themselves is dropped.

    A model that is compiled, and takes a batch, may be run uncompiled instead.
    """
    try:
        with pathattr_keras.undisturbed():
            yield
    except _UNTRACEABLE as error:
        way = (
            "; or run it uncompiled, with backend_options={'jit': False}, which allows Python control flow"
            if jit and not single
            else ""
        )
        raise ModelError(
            f"JAX cannot trace the model ({brief(error)}): it asks for numbers that are not known yet, by Python's "
            "if, while, int or float, or by NumPy. Write jnp.where, jax.lax.cond or jax.lax.while_loop for control "
            f"flow, and jnp for np{way}"
        ) from error
