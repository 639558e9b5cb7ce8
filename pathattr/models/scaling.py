"""Gradients through models whose numbers have short exponents: float16 ends at 6e-8."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pathattr.common.ops import Ops


def pulled(ops: Ops, largest: Callable[[Any], Any], slopes: Any, pull: Callable[[Any], Any]) -> Any:
    """Return `pull(slopes)`, the gradients that go with a score's slopes ∂score/∂outputs, (rows, ...).

    The slopes of small probabilities would underflow on their way back through the model: each row travels with 1 as
    its largest, and is given its size behind. `largest` returns the largest magnitude of each row, (rows,); `pull` is
    linear in every row.
    """
    size = largest(slopes)
    size = ops.where(size > 0, size, 1)
    gradients = pull(slopes / _column(ops, size, slopes))
    return gradients * _column(ops, size, gradients)


def _column(ops: Ops, size: Any, like: Any) -> Any:
    """Return one number a row, shaped to go along with rows of several axes."""
    return ops.reshape(size, (-1, *(1,) * (len(like.shape) - 1)))
