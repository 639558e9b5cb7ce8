"""Gradients at points that a method chooses by itself, on the host, block by block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pathattr.common.axes import Array
from pathattr.errors import ModelError
from pathattr.integration.engine import Engine
from pathattr.models.backend import Backend
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
    check_finite_at(backend, rows, scores, smooth, where)
    return scores, gradients


def check_finite_at(
    backend: Backend, rows: NDArray[np.intp], scores: Array, smooth: NDArray[np.bool_], where: str
) -> None:
    """Raise ModelError for the first point whose score, or gradient (`smooth` tells), is not finite."""
    known = np.isfinite(scores) if backend.has_values else np.ones(len(scores), bool)
    bad = np.flatnonzero(~(smooth & known))
    if bad.size:
        what = "its gradient" if known[bad[0]] else f"the explained score ({scores[bad[0]]})"
        raise ModelError(
            f"image {rows[bad[0]]}: {what} is not finite {where}. The points are finite, so the model makes it: look "
            "at the model there, or explain another output (output='probability' where the logarithm is of 0)"
        )
