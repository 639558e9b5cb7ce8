"""Axioms of the path itself: no model is run for them."""

from __future__ import annotations

import numpy as np

from pathattr.axioms.case import Case
from pathattr.axioms.residual import Residual, norm
from pathattr.layout import Array

POSITIONS = np.linspace(0.0, 1.0, 33)
RANK = 1e-9
"""A singular value below this share of the difference's largest counts as none."""


def ends(case: Case) -> Residual:
    """γ(0) is the baseline and γ(1) the input, to the bit."""
    points = case.explainer.path(case.inputs, [0.0, 1.0])
    missed = norm(points[:, 0] - case.starts[:, 0]) + norm(points[:, 1] - case.host)
    return Residual(missed, norm(case.host - case.starts[:, 0]), 0.0, "exact: the ends are set, not synthesised")


def monotone_gates(case: Case) -> Residual:
    """Gates rise from exactly 0 to exactly 1 and never fall."""
    schedule, strengths = case.explainer.schedule, np.linspace(0, 1, 101)[:, None]
    gates = schedule.gates(np, np.linspace(0, 1, 1001), strengths)
    falls = np.maximum(0.0, -np.diff(gates, axis=1)).max()
    missed = falls + np.abs(gates[:, 0]).max() + np.abs(1 - gates[:, -1]).max()
    # A ramp's formula rounds: two positions that should give one value may differ in the last place.
    return Residual(np.array([missed]), np.ones(1), 4 * float(np.finfo(float).eps), "rounding of the ramp's formula")


def approach(case: Case) -> Residual:
    """‖x − γ(α)‖ never rises: the largest rise along the path, over ‖x − x'‖."""
    left = np.stack([norm(case.host - points) for points in _along(case)], axis=1)
    rise = np.maximum(0.0, np.diff(left, axis=1)).max(axis=1)
    return Residual(rise, norm(case.host - case.starts[:, 0]), 1e-10, "rounding of the synthesis on the host")


def eckart_young(case: Case) -> Residual | None:
    """No point of a path whose difference from the baseline has rank r is closer to x than the truncated SVD of rank r.

    Checked for each matrix (channel, and slice of a volume) at 33 positions. None where examples hold no matrices.
    """
    if len(case.layout.canonical(np.zeros(case.layout.shape)).shape) < 3:
        return None
    start = case.starts[:, 0]
    values = np.linalg.svd(_matrices(case, case.host - start), compute_uv=False)
    # tails[..., r] is the distance of the best approximation of rank r.
    tails = np.sqrt(np.cumsum((values**2)[..., ::-1], axis=-1)[..., ::-1])
    tails = np.concatenate([tails, np.zeros_like(tails[..., :1])], axis=-1)
    largest = values[..., :1]
    short = np.zeros(len(case.host))
    for points in _along(case):
        found = np.linalg.svd(_matrices(case, points - start), compute_uv=False)
        rank = (found > RANK * largest).sum(axis=-1)
        best = np.take_along_axis(tails, rank[..., None], axis=-1)[..., 0]
        left = np.linalg.norm(_matrices(case, case.host - points), axis=(-2, -1))
        short = np.maximum(short, np.maximum(0.0, best - left).reshape(len(short), -1).max(axis=1))
    tolerance = RANK * np.sqrt(values.shape[-1])
    return Residual(short, norm(case.host - start), float(tolerance), "what is too weak to count in the rank")


def _along(case: Case) -> list[Array]:
    """Return the points of all examples at each position, (batch, *example)."""
    points = case.explainer.path(case.inputs, list(POSITIONS))
    return list(np.moveaxis(points, 1, 0))


def _matrices(case: Case, batch: Array) -> Array:
    """Return a batch as (batch, channels, ..., rows, columns)."""
    return np.stack([case.layout.canonical(example) for example in batch])
