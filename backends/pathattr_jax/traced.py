"""The functions that are traced and compiled: a model's outputs, its scores and their gradients.

None holds a backend: what is compiled must not keep its model. Freed in a circle a backend would be late, and JAX takes
an array that the model holds, and the user has changed in place, for what it was as long as anyone holds the copy that
it made.
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
from pathattr.models.returned import check_real, check_rows
from pathattr.models.scaling import pulled
from pathattr.models.targets import Objective
from pathattr_jax.models import Functional
from pathattr_jax.ops import JaxOps
from pathattr_jax.precision import is_half
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


def in_dtype(dtype: np.dtype[Any], model: Callable[..., Any], returned: list[np.dtype[Any]]) -> Callable[..., Any]:
    """Return a model that takes points in another dtype, and its outputs in half precision to float32.

    The half precision that it returned is put on a list, when it is traced.
    """

    def run(arrays: Sequence[Any], points: Any, further: Sequence[Any]) -> Any:
        found = model(arrays, points.astype(dtype), further)
        half = [leaf.dtype for leaf in jax.tree_util.tree_leaves(found) if is_half(leaf)]
        if not half:
            return found
        returned.append(half[0])
        return jax.tree_util.tree_map(lambda leaf: leaf.astype(np.float32) if is_half(leaf) else leaf, found)

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
        check_rows(outputs.shape, len(points))
        return _floating(outputs, "the model returned")

    return forward


def _scoring(objective: Objective) -> Callable[[Any, Any], jax.Array]:
    """Return the function of outputs and targets that gives scores."""
    return lambda outputs, targets: _floating(objective.score(_OPS, outputs, targets), "the explained score is")


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


def _floating(array: jax.Array, what: str) -> jax.Array:
    check_real(what, str(array.dtype), "jnp.abs, .real or .imag")
    return array


_OPS = JaxOps()
