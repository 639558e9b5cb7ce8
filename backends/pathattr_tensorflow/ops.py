"""TensorFlow's arithmetic, apart from any model: traces may hold it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pathattr.common.ops import Applied, Ops
from pathattr.models.backend import State


class TensorFlowOps(Ops):
    """Operations on TensorFlow's tensors."""

    def constant(self, array: NDArray[Any], like: Any) -> tf.Tensor:
        return tf.constant(array, like.dtype)

    def einsum(self, equation: str, left: Any, right: Any) -> tf.Tensor:
        places = _of_elements(equation)
        if places is None:
            return tf.einsum(equation, left, right)
        # TensorFlow's would take it for matrices of length 1 and copy both.
        return _spread(left, places[0]) * _spread(right, places[1])

    def clip(self, x: Any, low: float, high: float) -> tf.Tensor:
        return tf.clip_by_value(x, tf.constant(low, x.dtype), tf.constant(high, x.dtype))

    def cos(self, x: Any) -> tf.Tensor:
        return tf.cos(x)

    def exp(self, x: Any) -> tf.Tensor:
        return tf.exp(x)

    def where(self, condition: Any, x: Any, y: Any) -> tf.Tensor:
        # TensorFlow would make a number a float32 and then refuse the other array.
        dtype = next((part.dtype for part in (x, y) if _is_array(part)), tf.float64)
        return tf.where(condition, *(p if _is_array(p) else tf.constant(p, dtype) for p in (x, y)))

    def reshape(self, x: Any, shape: tuple[int, ...]) -> tf.Tensor:
        return tf.reshape(x, shape)

    def concat(self, arrays: Sequence[Any], axis: int) -> tf.Tensor:
        return tf.concat(list(arrays), axis)

    def dct(self, x: Any, axis: int) -> tf.Tensor:
        return _along_last(lambda last: tf.signal.dct(last, type=2, norm="ortho"), x, axis)

    def idct(self, x: Any, axis: int) -> tf.Tensor:
        return _along_last(lambda last: tf.signal.idct(last, type=2, norm="ortho"), x, axis)

    def link(self, name: str, outputs: Any, axis: int) -> tf.Tensor:
        return _LINKS[name](outputs, axis)

    def select(self, outputs: Any, index: Any) -> tf.Tensor:
        index = tf.cast(index, tf.int64)
        rows = tf.range(index.shape[0], dtype=tf.int64)[:, None]
        return tf.gather_nd(outputs, tf.concat([rows, index], axis=1))

    def take(self, x: Any, rows: NDArray[np.intp]) -> tf.Tensor:
        return tf.gather(x, rows)

    def finite(self, x: Any) -> tf.Tensor:
        return tf.reduce_all(tf.math.is_finite(tf.reshape(x, (x.shape[0], -1))), axis=1)


@lru_cache(maxsize=512)
def _of_elements(equation: str) -> tuple[list[int | None], list[int | None]] | None:
    """Return for each label of the output its axis in either operand, where nothing is summed and no order changes."""
    inputs, output = equation.split("->")
    places = tuple(
        [labels.index(label) if label in labels else None for label in output] for labels in inputs.split(",")
    )
    kept = all([q for q in output if q in labels] == list(labels) for labels in inputs.split(","))
    return (places[0], places[1]) if kept else None


def _spread(x: Any, places: list[int | None]) -> Any:
    """Return an array with axes of length 1 where it has none."""
    return tf.reshape(x, [1 if place is None else x.shape[place] for place in places])


def applied(function: Applied, *arrays: Any) -> Any:
    """Return function(ops, *arrays), traced once for equal functions and shapes."""
    return _traced(function, tuple((tuple(array.shape), array.dtype) for array in arrays))(*arrays)


@lru_cache(maxsize=512)
def _traced(function: Applied, kinds: tuple[Any, ...]) -> Callable[..., Any]:
    # Traced for its shapes here: of a function that it traces in calls for many shapes TensorFlow warns.
    traced = tf.function(lambda *arrays: function(_OPS, *arrays), autograph=False)
    return traced.get_concrete_function(*(tf.TensorSpec(*kind) for kind in kinds))


def accumulated(state: State, a: Any, b: Any, add: Callable[..., State]) -> State:
    """Return what `Backend.accumulate` does, as one graph."""
    return applied(_Accumulation(add), a, b, *state)


@dataclass(frozen=True)
class _Accumulation:
    """A sum over nodes, as a function of products' operands and of the state."""

    add: Callable[..., State]

    def __call__(self, ops: Ops, a: Any, b: Any, *state: Any) -> State:
        def step(j: Any, *state: Any) -> State:
            return j + 1, *self.add(*state, tf.cast(a[:, j] * b[:, j], state[0].dtype))

        nodes = a.shape[1]
        _, *state = tf.while_loop(lambda j, *_: j < nodes, step, (0, *state), parallel_iterations=1)
        return tuple(state)


def _is_array(thing: Any) -> bool:
    return isinstance(thing, tf.Tensor | tf.Variable)


def _along_last(function: Callable[[Any], Any], x: Any, axis: int) -> tf.Tensor:
    """Return what a function of the last axis gives along another."""
    last = len(x.shape) - 1
    if axis == last:
        return function(x)
    order = [*(a for a in range(last + 1) if a != axis), axis]
    back = [order.index(a) for a in range(last + 1)]
    return tf.transpose(function(tf.transpose(x, order)), back)


_OPS = TensorFlowOps()
_LINKS: dict[str, Callable[[Any, int], Any]] = {
    "identity": lambda x, axis: x,
    "softmax": lambda x, axis: tf.nn.softmax(x, axis),
    "log_softmax": lambda x, axis: tf.nn.log_softmax(x, axis),
    "sigmoid": lambda x, axis: tf.sigmoid(x),
    "log_sigmoid": lambda x, axis: tf.math.log_sigmoid(x),
    "log": lambda x, axis: tf.math.log(x),
}
