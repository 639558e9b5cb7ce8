"""Sums over nodes, the same to the bit however the nodes are split into blocks."""

from __future__ import annotations

from typing import Any

import numpy as np

from pathattr.common.axes import Array
from pathattr.models.backend import Backend, State


class Sum:
    """Σ_j a[:, j]·b[:, j] over all nodes so far, of `shape`: in float64, or in two floats where the device has none."""

    def __init__(self, backend: Backend, shape: tuple[int, ...]) -> None:
        self._backend = backend
        self._add = added if backend.has_float64 else added_with_compensation
        parts = 1 if backend.has_float64 else 2
        self._state: State = tuple(backend.wide(np.zeros(shape)) for _ in range(parts))

    def add(self, a: Any, b: Any) -> None:
        """Add the products of arrays (images, nodes, ...), one node after the other."""
        self._state = self._backend.accumulate(self._state, a, b, self._add)

    def numpy(self) -> Array:
        """Return the sum on the host, float64."""
        total, *lost = (self._backend.to_numpy(part).astype(np.float64) for part in self._state)
        return sum(lost, total)


def added(total: Any, term: Any) -> State:
    """Return the sum."""
    return (total + term,)


def added_with_compensation(total: Any, lost: Any, term: Any) -> State:
    """Return the sum, and what has been lost so far to rounding (Neumaier)."""
    new = total + term
    back = new - total
    return new, lost + ((total - (new - back)) + (term - back))
