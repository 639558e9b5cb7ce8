"""The straight line: one component, the difference itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pathattr.common.axes import Array, spatial_labels
from pathattr.families.base import PROMISES, Decomposition, Factor, PathFamily, Term, norms
from pathattr.paths.orderings import Energy, Ordering


@dataclass(frozen=True)
class Linear(PathFamily):
    """γ(α) = x' + g(α)·(x − x'): Integrated Gradients (Sundararajan et al. 2017).

    One component and no order, so the overlap ω is ignored; with `LinearRamp` and N steps it is textbook IG.
    """

    ordered = False

    def decompose(self, difference: Array) -> Decomposition:
        """Return the difference as the one component."""
        labels = "c" + spatial_labels(difference.ndim - 1)
        energy = np.asarray(norms(difference, difference.ndim))
        return Decomposition(difference.shape, (Term("", (Factor(labels, difference),), energy),))

    def promises(self, shape: tuple[int, ...]) -> frozenset[str]:
        """Return every axiom: the straight line is the same in any basis."""
        return frozenset(PROMISES)

    @property
    def default_ordering(self) -> Ordering:
        """Energy; any ordering gives one component the same strength."""
        return Energy()
