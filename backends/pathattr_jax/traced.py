"""The functions that are traced and compiled: a model's outputs, its scores and their gradients.

None holds a backend: what is compiled must not keep its model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pathattr.errors import ModelError
from pathattr.models.arguments import Call, bound
from pathattr.models.heads import chosen
from pathattr.models.scaling import pulled
from pathattr.models.targets import Objective
from pathattr_jax.models import Functional
from pathattr_jax.ops import JaxOps
from pathattr_jax.trees import Frame


def whole(
    function: Functional, tree: Frame, frame: Frame, call: Call, axes: tuple[int | None, ...]
) -> Callable[[Sequence[Any], Any, Sequence[Any]], Any]:
    """Return the model as a function of its arrays, the points and the arrays among the further inputs."""

    def run(arrays: Sequence[Any], points: Any, further: Sequence[Any]) -> Any:
        made = tree.merged(arrays)

        def one(points: Any, *further: Any) -> Any:
            args, kwargs = bound(call.structure, call.name, points, frame.merged(further))
            return function.call(made, args, kwargs)

        return (jax.vmap(one, in_axes=(0, *axes)) if function.single else one)(points, *further)

    return run


def meant(
    outputs_of: Callable[[Sequence[Any], Any, Sequence[Any]], Any], head: str | int | None
) -> Callable[[Sequence[Any], Any, Sequence[Any]], jax.Array]:
    """Return the function that gives the array meant among what `outputs_of` gives, one row for each point."""

    def forward(arrays: Sequence[Any], points: Any, further: Sequence[Any]) -> jax.Array:
        found = outputs_of(arrays, points, further)
        if isinstance(found, np.ndarray):
            raise ModelError("the model returned a NumPy array, which has no gradient: compute it with jax.numpy")
        outputs = chosen(found, lambda value: isinstance(value, jax.Array), head)
        if outputs.shape[:1] != points.shape[:1]:
            raise ModelError(
                f"the model returned shape {outputs.shape} for {len(points)} points: expected one row for each. "
                "Does it hold a fixed batch size, reduce over the batch, or take one example (then jax.vmap it)?"
            )
        if not outputs.size:
            raise ModelError(f"the model returned nothing: an array of shape {tuple(outputs.shape)}. Return its scores")
        return _floating(outputs, "the model returned")

    return forward


def _scoring(objective: Objective) -> Callable[[Any, Any], jax.Array]:
    """Return the function of outputs and targets that gives scores."""
    return lambda outputs, targets: _floating(objective.score(SCORES, outputs, targets), "the explained score is")


def score_of(
    outputs_of: Callable[..., Any], objective: Objective
) -> Callable[[Sequence[Any], Any, Sequence[Any], Any], jax.Array]:
    """Return the function of arrays, points, further inputs and targets that gives scores."""
    scored = _scoring(objective)
    return lambda arrays, points, further, targets: scored(outputs_of(arrays, points, further), targets)


def value_and_gradient(
    outputs_of: Callable[..., Any], objective: Objective, narrow: Callable[[], bool]
) -> Callable[..., Any]:
    """Return the function of arrays, points, further inputs and targets that gives scores and gradients.

    `narrow` tells, once `outputs_of` has been traced, whether the model's numbers have float16's short exponents.
    """
    scored = _scoring(objective)

    def run(arrays: Sequence[Any], points: Any, further: Sequence[Any], targets: Any) -> tuple[jax.Array, jax.Array]:
        outputs, to_points = jax.vjp(lambda points: outputs_of(arrays, points, further), points)
        scores, to_outputs = jax.vjp(lambda outputs: scored(outputs, targets), outputs)
        # Rows are independent, so the gradient of their sum holds each row's own.
        (slopes,) = to_outputs(jnp.ones_like(scores))
        if objective.function is not None or not narrow():
            return scores, to_points(slopes)[0]
        return scores, pulled(_OPS, _largest, slopes, lambda slopes: to_points(slopes)[0])

    return run


def _largest(slopes: jax.Array) -> jax.Array:
    return jnp.abs(slopes).reshape(len(slopes), -1).max(axis=1)


def narrowest(dtypes: Sequence[np.dtype[Any]]) -> np.dtype[Any]:
    """Return the type of the fewest bits."""
    return min(dtypes, key=lambda dtype: dtype.itemsize)


def is_half(leaf: Any) -> bool:
    """Tell whether a leaf is an array of floats in half precision."""
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.dtype.itemsize < 4


def _floating(array: Any, what: str) -> Any:
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise ModelError(f"{what} {array.dtype}, and a score is a real number: explain jnp.abs, .real or .imag of it")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ModelError(
            f"{what} {array.dtype}, which is not differentiable: does it round, compare or take an argmax? Pass a "
            "model whose output depends on its input smoothly, and an output before any argmax"
        )
    return array


class _Scores:
    """What scores are made of."""

    def link(self, name: str, outputs: Any, axis: int) -> jax.Array:
        """Return outputs through a link."""
        return _LINKS[name](outputs, axis)

    def select(self, outputs: Any, index: Any) -> jax.Array:
        """Return one number a row."""
        return _select(outputs, indices(index))


SCORES = _Scores()
_OPS = JaxOps()


@jax.jit  # as one: run operation by operation, JAX compiles each of them for every shape
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


def indices(rows: Any) -> jax.Array:
    """Return whole numbers in 32 bits, which JAX has whatever its settings."""
    return jnp.asarray(np.asarray(rows, np.int32) if isinstance(rows, np.ndarray) else rows)
