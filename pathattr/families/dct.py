"""Cosine components, frequency by frequency."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft

from pathattr.diffusion import eigenvalues
from pathattr.families.base import Decomposition, Factor, PathFamily, Term
from pathattr.layout import Array, spatial_labels, spectral_labels
from pathattr.orderings import Frequency, Ordering


@dataclass(frozen=True)
class DCT(PathFamily):
    """One component per coefficient of the orthonormal DCT-II over all spatial axes, per channel.

    Frequency is the radius of the coefficient's position, every axis running from 0 to 1, over its maximum.
    """

    def decompose(self, difference: Array) -> Decomposition:
        """Return the coefficients and one cosine matrix per spatial axis."""
        shape = difference.shape[1:]
        rank = len(shape)
        spatial, spectral = spatial_labels(rank), spectral_labels(rank)
        coefficients = fft.dctn(difference, type=2, norm="ortho", axes=range(1, rank + 1))
        matrices = [
            Factor(p + h, _cosines(size), shared=True) for p, h, size in zip(spectral, spatial, shape, strict=True)
        ]
        radius = np.sqrt(sum(axis**2 for axis in np.ix_(*(np.linspace(0, 1, size) for size in shape))))
        term = Term(
            "c" + spectral,
            (Factor("c" + spectral, coefficients), *matrices),
            energy=np.abs(coefficients),
            groups=1,
            frequency=radius / max(radius.max(), 1e-300),  # a single pixel has frequency 0 only
            decay=eigenvalues(shape),
        )
        return Decomposition(difference.shape, (term,))

    def promises(self, shape: tuple[int, ...]) -> frozenset[str]:
        """Return the promises of cosines: a flip only changes their signs."""
        return frozenset({"channels", "channel scale", "flips", "transposition", "distance"})

    @property
    def default_ordering(self) -> Ordering:
        """Low frequencies first."""
        return Frequency()


@lru_cache(maxsize=32)
def _cosines(size: int) -> Array:
    """Return the orthonormal DCT-II matrix (frequency, position)."""
    return np.asarray(fft.dct(np.eye(size), type=2, norm="ortho", axis=0))
