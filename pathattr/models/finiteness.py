"""Scores and gradients that are not finite, named with their place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pathattr.common.axes import Array
from pathattr.errors import ModelError


def check_finite_at(
    rows: Sequence[int] | NDArray[np.intp],
    scores: Array,
    smooth: NDArray[np.bool_] | None,
    where: Callable[[int], str],
    *,
    has_values: bool = True,
) -> None:
    """Raise ModelError for the first point whose score, or gradient (`smooth` tells), is not finite.

    `rows` are the examples that the points belong to; `where` returns what a message calls the place of the i-th point.
    `has_values` is False where scores are not known.
    """
    known = np.isfinite(scores) if has_values else np.ones(len(scores), bool)
    bad = np.flatnonzero(~known if smooth is None else ~(known & smooth))
    if not bad.size:
        return
    first = int(bad[0])
    what = "its gradient" if known[first] else f"the explained score ({scores[first]})"
    raise ModelError(
        f"image {rows[first]}: {what} is not finite {where(first)}. The point is finite, so the model makes it: look "
        "at the model there, or choose another baseline or output (output='probability' where the logarithm is of 0)"
    )
