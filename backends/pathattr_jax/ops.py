"""JAX's arithmetic, apart from any model: what is compiled may hold it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy import fft
from numpy.typing import NDArray

from pathattr.common.ops import Applied, Ops


class JaxOps(Ops):
    """Operations on JAX's arrays, wherever they are."""

    def constant(self, array: NDArray[Any], like: Any) -> jax.Array:
        return jnp.asarray(array, like.dtype)

    def einsum(self, equation: str, left: Any, right: Any) -> jax.Array:
        # Some devices multiply float32 in fewer bits by default.
        return jnp.einsum(equation, left, right, precision="highest")

    def clip(self, x: Any, low: float, high: float) -> jax.Array:
        return jnp.clip(x, low, high)

    def cos(self, x: Any) -> jax.Array:
        return jnp.cos(x)

    def exp(self, x: Any) -> jax.Array:
        return jnp.exp(x)

    def where(self, condition: Any, x: Any, y: Any) -> jax.Array:
        return jnp.where(condition, x, y)

    def reshape(self, x: Any, shape: tuple[int, ...]) -> jax.Array:
        return jnp.reshape(x, shape)

    def concat(self, arrays: Sequence[Any], axis: int) -> jax.Array:
        return jnp.concatenate(list(arrays), axis=axis)

    def dct(self, x: Any, axis: int) -> jax.Array:
        return fft.dct(x, type=2, norm="ortho", axis=axis)

    def idct(self, x: Any, axis: int) -> jax.Array:
        return fft.idct(x, type=2, norm="ortho", axis=axis)


def applied(function: Applied, *arrays: Any) -> Any:
    """Return function(ops, *arrays), compiled once for equal functions and shapes."""
    return _applied(function, arrays)


@partial(jax.jit, static_argnums=0)
def _applied(function: Applied, arrays: Sequence[Any]) -> Any:
    return function(_OPS, *arrays)


_OPS = JaxOps()
