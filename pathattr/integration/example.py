"""One example's integral: the mean over its reference samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pathattr.common.axes import Array
from pathattr.integration.engine import Integral


@dataclass(frozen=True)
class Example:
    """One example's integral: the mean over its reference samples."""

    attributions: Array
    components: tuple[Array, ...]
    strengths: tuple[Array, ...]
    lowest: float
    highest: float
    evaluations: int
    error: float

    @classmethod
    def mean(cls, integrals: Sequence[Integral]) -> Example:
        count = len(integrals)

        def mean(arrays: Sequence[Array]) -> Array:
            total = arrays[0]
            for array in arrays[1:]:
                total = total + array
            return total / count

        attributions = mean([part.attributions for part in integrals])
        return cls(
            attributions,
            tuple(mean(term) for term in zip(*(part.components for part in integrals), strict=True)),
            tuple(mean(term) for term in zip(*(part.strengths for part in integrals), strict=True)),
            min((float(v) for part in integrals for v in part.values), default=np.inf),
            max((float(v) for part in integrals for v in part.values), default=-np.inf),
            sum(part.evaluations for part in integrals),
            _error_of_mean(integrals, attributions),
        )


def _error_of_mean(integrals: Sequence[Integral], mean: Array) -> float:
    """Return the relative error of a mean of attributions: at most that of its parts, added up."""
    if len(integrals) == 1:
        return integrals[0].error
    if any(np.isinf(part.error) for part in integrals):
        return np.inf
    off = sum(part.error * float(np.linalg.norm(part.attributions)) for part in integrals) / len(integrals)
    size = float(np.linalg.norm(mean))
    return off / size if size else (0.0 if off == 0 else np.inf)
