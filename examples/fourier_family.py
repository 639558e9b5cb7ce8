"""A complete path family: the real Fourier basis. `PathExplainer(model, family=Fourier())` runs it on any framework."""

from dataclasses import dataclass

import numpy as np

from pathattr.common.axes import spatial_labels, spectral_labels
from pathattr.families import Decomposition, Factor, PathFamily, Term
from pathattr.paths.orderings import Frequency


@dataclass(frozen=True)
class Fourier(PathFamily):
    """One component per coefficient of the orthonormal Hartley transform, cos + sin of each wave, per channel."""

    def decompose(self, difference):
        spatial, spectral = (labels(difference.ndim - 1) for labels in (spatial_labels, spectral_labels))
        coefficients, matrices, frequencies = difference, [], []
        for axis, (p, h, size) in enumerate(zip(spectral, spatial, difference.shape[1:], strict=True), start=1):
            wave = np.arange(size)
            angle = 2 * np.pi / size * (np.outer(wave, wave) % size)  # whole turns taken out keep the digits
            matrix = (np.cos(angle) + np.sin(angle)) / np.sqrt(size)
            coefficients = np.moveaxis(np.tensordot(matrix, coefficients, axes=(1, axis)), 0, axis)
            matrices.append(Factor(p + h, matrix, shared=True))
            # Waves k and size − k are one wave, shifted; size / 2 is the finest.
            frequencies.append(np.minimum(wave, size - wave) / (size / 2))
        radius = np.sqrt(sum(f**2 for f in np.ix_(*frequencies)) / len(frequencies))
        factors = (Factor("c" + spectral, coefficients), *matrices)
        term = Term("c" + spectral, factors, energy=np.abs(coefficients), groups=1, frequency=radius)
        return Decomposition(difference.shape, (term,))

    def promises(self, shape):
        return frozenset({"channels", "channel scale", "transposition", "distance"})

    @property
    def default_ordering(self):
        return Frequency()  # low frequencies first
