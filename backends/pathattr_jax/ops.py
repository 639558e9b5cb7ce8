"""JAX's arithmetic, apart from any model: what is compiled may hold it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import fft
from numpy.typing import NDArray

from pathattr.common.ops import Applied, Ops
from pathattr.models.backend import State


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

    def link(self, name: str, outputs: Any, axis: int) -> jax.Array:
        return _LINKS[name](outputs, axis)

    def select(self, outputs: Any, index: Any) -> jax.Array:
        return _select(outputs, indices(index))

    def take(self, x: Any, rows: NDArray[np.intp]) -> jax.Array:
        return _take(x, indices(rows))

    def finite(self, x: Any) -> jax.Array:
        return _finite(x)


def applied(function: Applied, *arrays: Any) -> Any:
    """Return function(ops, *arrays), compiled once for equal functions and shapes."""
    return _applied(function, arrays)


@partial(jax.jit, static_argnums=0)
def _applied(function: Applied, arrays: Sequence[Any]) -> Any:
    return function(_OPS, *arrays)


def accumulated(state: State, a: Any, b: Any, add: Callable[..., State]) -> State:
    """Return what `Backend.accumulate` does, as two programs."""
    # In one, the compiler would round a product and its sum at once, for some shapes and not for others.
    return _accumulated(state, a * b, add)


@partial(jax.jit, static_argnums=2)
def _accumulated(state: State, terms: Any, add: Callable[..., State]) -> State:
    def step(state: State, term: Any) -> tuple[State, None]:
        return add(*state, term.astype(state[0].dtype)), None

    return jax.lax.scan(step, state, jnp.moveaxis(terms, 1, 0))[0]


_OPS = JaxOps()


def indices(rows: Any) -> jax.Array:
    """Return whole numbers in 32 bits, which JAX has whatever its settings."""
    return jnp.asarray(np.asarray(rows, np.int32) if isinstance(rows, np.ndarray) else rows)


# Each compiled as one: run operation by operation, JAX compiles every one of them for every shape, at some 20 ms each.


@partial(jax.jit, static_argnums=2)
def taken_along(x: jax.Array, rows: jax.Array, axis: int) -> jax.Array:
    """Return the given entries along an axis."""
    return jnp.take(x, rows, axis=axis)


@jax.jit
def _take(x: jax.Array, rows: jax.Array) -> jax.Array:
    return x[rows]


@jax.jit
def _finite(x: jax.Array) -> jax.Array:
    return jnp.isfinite(x).reshape(len(x), -1).all(axis=1)


@jax.jit
def _select(outputs: jax.Array, index: jax.Array) -> jax.Array:
    return outputs[(jnp.arange(len(outputs)), *(index[:, axis] for axis in range(index.shape[1])))]


_LINKS: dict[str, Callable[[Any, int], jax.Array]] = {
    "identity": lambda x, axis: x,
    "softmax": jax.jit(jax.nn.softmax, static_argnums=1),
    "log_softmax": jax.jit(jax.nn.log_softmax, static_argnums=1),
    "sigmoid": lambda x, axis: jax.nn.sigmoid(x),
    "log_sigmoid": lambda x, axis: jax.nn.log_sigmoid(x),
    "log": lambda x, axis: jnp.log(x),
}
