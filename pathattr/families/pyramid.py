"""What band families share: a stack of bands, each with a gate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pathattr.common.axes import Array, spatial_labels
from pathattr.families.base import Decomposition, Factor, Term, norms


def stack_of_bands(stack: Array, scale: Sequence[int], frequency: Sequence[float]) -> Decomposition:
    """Return bands (channels, bands, *spatial) as a decomposition with one gate per channel and band."""
    labels = "ck" + spatial_labels(stack.ndim - 2)
    term = Term(
        "ck",
        (Factor(labels, stack),),
        energy=norms(stack, stack.ndim - 2),
        groups=1,
        frequency=np.asarray(frequency, dtype=np.float64),
        scale=np.asarray(scale, dtype=np.float64),
    )
    return Decomposition((len(stack), *stack.shape[2:]), (term,))


def halves_evenly(sides: Sequence[int], levels: int) -> bool:
    """Return whether every side can be halved so often, or down to 1, without meeting an odd one."""
    return all(side % 2**levels == 0 or side & (side - 1) == 0 for side in sides)
