"""The Laplacian pyramid's bands."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pathattr.checks import whole
from pathattr.families.base import Decomposition, PathFamily
from pathattr.families.pyramid import along_spatial, halves_evenly, stack_of_bands
from pathattr.layout import Array
from pathattr.orderings import ApproximationThenFinest, Ordering, Scale


@dataclass(frozen=True)
class Laplacian(PathFamily):
    """A coarse approximation and one residual per level, every channel alike.

    The published kernel: averages over 2 pixels along each axis (an odd last one is dropped), bilinear
    upsampling to the finer size without corner alignment. An axis of length 1 stays as it is; levels end
    early where no axis can be halved.
    """

    levels: int = 4

    def __post_init__(self) -> None:
        whole("levels", self.levels)

    def decompose(self, difference: Array) -> Decomposition:
        """Return the bands, coarsest first, each upsampled to the full size."""
        residuals: list[Array] = []
        coarse = difference
        expand: list[list[Array]] = []  # the matrices from each level up to the one above it
        while len(residuals) < self.levels and max(coarse.shape[1:]) > 1:
            halving = [_average(size) for size in coarse.shape[1:]]
            expand.append([_bilinear(m.shape[0], m.shape[1]) for m in halving])
            low = along_spatial(coarse, halving)
            residuals.append(coarse - along_spatial(low, expand[-1]))
            coarse = low
        bands = []
        for level, band in enumerate([*residuals, coarse]):
            for matrices in reversed(expand[:level]):
                band = along_spatial(band, matrices)
            bands.append(band)
        bands.reverse()
        count = len(bands)
        # The residual of level j (1 finest) spans about the octave that ends at 2^(1-j) of the highest frequency.
        frequency = [0.0] + [2.0 ** -(count - 1 - k) for k in range(1, count)]
        return stack_of_bands(bands, range(count), frequency)

    def promises(self, shape: tuple[int, ...]) -> frozenset[str]:
        """Return the promises of the pyramid: an odd side loses its last pixel, so flips need even ones throughout."""
        names = frozenset({"channels", "channel scale", "transposition"})
        return names | {"flips"} if halves_evenly(shape[1:], self.levels) else names

    @property
    def default_ordering(self) -> Ordering:
        """Coarsest first."""
        return Scale()

    def published(self) -> tuple[PathFamily, Ordering]:
        """Return the family with the published order of its bands."""
        return self, ApproximationThenFinest()


@lru_cache(maxsize=64)
def _average(size: int) -> Array:
    """Return the matrix (size // 2, size) of means over pairs; the identity for a single pixel."""
    if size == 1:
        return np.eye(1)
    half = size // 2
    matrix = np.zeros((half, size))
    matrix[np.arange(half), 2 * np.arange(half)] = 0.5
    matrix[np.arange(half), 2 * np.arange(half) + 1] = 0.5
    return matrix


@lru_cache(maxsize=64)
def _bilinear(coarse: int, fine: int) -> Array:
    """Return the matrix (fine, coarse) of linear interpolation between pixel centres, clamped at the border."""
    centre = np.clip((np.arange(fine) + 0.5) * coarse / fine - 0.5, 0, coarse - 1)
    below = np.floor(centre).astype(int)
    above = np.minimum(below + 1, coarse - 1)
    matrix = np.zeros((fine, coarse))
    np.add.at(matrix, (np.arange(fine), below), 1 - (centre - below))
    np.add.at(matrix, (np.arange(fine), above), centre - below)
    return matrix
