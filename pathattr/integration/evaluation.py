"""Gradients at points that a method chooses by itself, on the host, block by block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pathattr.common.axes import Array
from pathattr.integration.engine import Engine
from pathattr.models.finiteness import check_finite_at
from pathattr.models.targets import Objective


def gradients_at(
    engine: Engine, points: Array, objective: Objective, targets: NDArray[np.intp], rows: NDArray[np.intp], where: str
) -> tuple[Array, Array]:
    """Return scores (points,) and gradients (points, *example) at points on the host, all float64.

    `rows` tells which example each point belongs to, `where` how a message calls the place of the points. Raises
    ModelError where a score or gradient is not finite.
    """
    backend = engine.backend
    scores, gradients = np.empty(len(points)), np.empty(points.shape)
    for first in range(0, len(points), engine.capacity):
        part = np.arange(first, min(first + engine.capacity, len(points)))
        own = engine.filled(part)
        found = engine.gradients(backend.asarray(points[own]), objective, targets[own], rows[own])
        scores[part], gradients[part] = (backend.to_numpy(array)[: len(part)] for array in found)
    smooth = np.asarray(np.isfinite(gradients).reshape(len(points), -1).all(axis=1))
    check_finite_at(rows, scores, smooth, lambda point: where, has_values=backend.has_values)
    return scores, gradients
