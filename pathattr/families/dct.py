"""Cosine components, frequency by frequency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import fft

from pathattr.common.axes import Array, spatial_labels, spectral_labels
from pathattr.common.ops import Ops, cosines
from pathattr.families.base import Decomposition, Factor, PathFamily, Term, Transform
from pathattr.paths.diffusion import eigenvalues
from pathattr.paths.orderings import Frequency, Ordering

MATRIX = 256
"""The longest axis that is transformed by a matrix: on a CPU its product takes as long as an FFT at about that length,
and twice as long at 512."""


@dataclass(frozen=True)
class DCT(PathFamily):
    """One component per coefficient of the orthonormal DCT-II over all spatial axes, per channel.

    Frequency is the radius of the coefficient's position, every axis running from 0 to 1, over its maximum.
    """

    def decompose(self, difference: Array) -> Decomposition:
        """Return the coefficients, and one cosine matrix per spatial axis or, where one is long, the fast transform."""
        shape = difference.shape[1:]
        rank = len(shape)
        spatial, spectral = spatial_labels(rank), spectral_labels(rank)
        coefficients = fft.dctn(difference, type=2, norm="ortho", axes=range(1, rank + 1))
        fast = max(shape) > MATRIX
        matrices = [
            Factor(p + h, _matrix(size), shared=True)
            for p, h, size in zip(spectral, spatial, shape, strict=True)
            if not fast
        ]
        radius = np.sqrt(sum(axis**2 for axis in np.ix_(*(np.linspace(0, 1, size) for size in shape))))
        term = Term(
            "c" + spectral,
            (Factor("c" + spectral, coefficients), *matrices),
            energy=np.abs(coefficients),
            groups=1,
            frequency=radius / max(radius.max(), 1e-300),  # a single pixel has frequency 0 only
            decay=eigenvalues(shape),
            spectrum="c" + spectral if fast else "",
        )
        return Decomposition(difference.shape, (term,), Cosines() if fast else None)

    def promises(self, shape: tuple[int, ...]) -> frozenset[str]:
        """Return the promises of cosines: a flip only changes their signs."""
        return frozenset({"channels", "channel scale", "flips", "transposition", "distance"})

    @property
    def default_ordering(self) -> Ordering:
        """Low frequencies first."""
        return Frequency()


@dataclass(frozen=True)
class Cosines(Transform):
    """The inverse DCT along every axis, and the DCT, its adjoint."""

    def synthesise(self, ops: Ops, spectra: Sequence[Any], axes: tuple[int, ...]) -> Any:
        (array,) = spectra
        for axis in axes:
            array = ops.idct(array, axis)
        return array

    def adjoint(self, ops: Ops, difference: Any, axes: tuple[int, ...]) -> list[Any]:
        for axis in axes:
            difference = ops.dct(difference, axis)
        return [difference]


@lru_cache(maxsize=32)
def _matrix(size: int) -> Array:
    return cosines(size)
