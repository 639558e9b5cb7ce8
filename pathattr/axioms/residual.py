"""What an axiom function returns: how far off, measured against what, and how far off may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pathattr.common.axes import Array


@dataclass(frozen=True)
class Residual:
    """How far a finding is from what an axiom says, one number per example, and the size it is measured against.

    `tolerance` bounds `relative`, for the `reason` given; `details` are plain values for the record.
    """

    values: Array
    scale: Array
    tolerance: float
    reason: str
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def relative(self) -> Array:
        """Return values / scale for each example; 0 where both are 0."""
        values, scale = np.broadcast_arrays(np.asarray(self.values, float), np.asarray(self.scale, float))
        nothing = (values == 0) & (scale == 0)
        with np.errstate(over="ignore", invalid="ignore"):  # inf/inf is NaN, which holds for nothing
            return np.divide(values, scale, out=np.where(nothing, 0.0, np.inf), where=scale > 0)

    @property
    def worst(self) -> float:
        """Return the largest relative residual of the batch; NaN if any is."""
        return float(self.relative.max(initial=0.0))

    @property
    def holds(self) -> bool:
        """Return whether no example is further off than the tolerance."""
        return bool(self.worst <= self.tolerance)


def norm(batch: Array) -> Array:
    """Return the L2 norm of each example of a batch."""
    return np.linalg.norm(np.reshape(batch, (len(batch), -1)), axis=1)


def distance(found: Array, expected: Array, tolerance: float, reason: str, **details: Any) -> Residual:
    """Return the L2 distance of each example's attributions from the expected ones, over the size of these."""
    return Residual(norm(found - expected), norm(expected), tolerance, reason, details)
