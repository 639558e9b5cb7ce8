"""Axioms of the path itself: no model is run for them."""

from __future__ import annotations

import numpy as np

from pathattr.axioms.case import Case
from pathattr.axioms.residual import Residual, norm
from pathattr.common.axes import Array

POSITIONS = np.linspace(0.0, 1.0, 33)
ROUNDING = 1e-10, "rounding of the synthesis on the host"


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
    return Residual(rise, norm(case.host - case.starts[:, 0]), *ROUNDING)


def eckart_young(case: Case) -> Residual | None:
    """γ(α) is as close to x as any point whose difference from the baseline has the same singular values.

    None can be closer to x than ‖σ(x − x') − σ(γ − x')‖ (Eckart, Young, Mirsky); at rank r that is at least the
    distance of the truncated SVD. The residual is by how much γ(α) is further away. Checked for each matrix (channel,
    and slice of a volume) at 33 positions. None where examples hold no matrices.
    """
    if len(case.layout.canonical(np.zeros(case.layout.shape)).shape) < 3:
        return None
    start = case.starts[:, 0]
    values = np.linalg.svd(_matrices(case, case.host - start), compute_uv=False)
    excess = np.zeros(len(case.host))
    for points in _along(case):
        found = np.linalg.svd(_matrices(case, points - start), compute_uv=False)
        left = np.linalg.norm(_matrices(case, case.host - points), axis=(-2, -1))
        further = left - np.linalg.norm(values - found, axis=-1)
        excess = np.maximum(excess, further.reshape(len(excess), -1).max(axis=1))
    return Residual(excess, norm(case.host - start), *ROUNDING)


def _along(case: Case) -> list[Array]:
    """Return the points of all examples at each position, (batch, *example)."""
    points = case.explainer.path(case.inputs, list(POSITIONS))
    return list(np.moveaxis(points, 1, 0))


def _matrices(case: Case, batch: Array) -> Array:
    """Return a batch as (batch, channels, ..., rows, columns)."""
    return np.stack([case.layout.canonical(example) for example in batch])
