"""The Laplacian pyramid's bands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pathattr.common.axes import Array
from pathattr.common.checks import whole
from pathattr.families.base import Decomposition, PathFamily
from pathattr.families.pyramid import halves_evenly, stack_of_bands
from pathattr.paths.orderings import ApproximationThenFinest, Ordering, Scale


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
        coarse, sides = difference, [difference.shape[1:]]
        while len(residuals) < self.levels and max(sides[-1]) > 1:
            low = coarse
            for axis in range(1, low.ndim):
                low = _averaged(low, axis)
            residuals.append(coarse - _expanded(low, sides[-1]))
            sides.append(low.shape[1:])
            coarse = low
        bands = []
        for level, band in enumerate([*residuals, coarse]):
            for finer in reversed(sides[:level]):
                band = _expanded(band, finer)
            bands.append(band)
        bands.reverse()
        count = len(bands)
        # The residual of level j (1 finest) spans about the octave that ends at 2^(1-j) of the highest frequency.
        frequency = [0.0] + [2.0 ** -(count - 1 - k) for k in range(1, count)]
        return stack_of_bands(np.stack(bands, axis=1), range(count), frequency)

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


def _averaged(array: Array, axis: int) -> Array:
    """Return means over pairs along an axis, an odd last one left out; a single pixel as it is."""
    size = array.shape[axis]
    if size == 1:
        return array
    lead, half = (slice(None),) * axis, size // 2
    return np.asarray(0.5 * array[(*lead, slice(0, 2 * half, 2))] + 0.5 * array[(*lead, slice(1, 2 * half, 2))])


def _expanded(array: Array, sides: Sequence[int]) -> Array:
    """Return an array (channels, *coarse) interpolated linearly between pixel centres, clamped at the border."""
    for axis, fine in enumerate(sides, start=1):
        coarse = array.shape[axis]
        centre = np.clip((np.arange(fine) + 0.5) * coarse / fine - 0.5, 0, coarse - 1)
        below = np.floor(centre).astype(int)
        above = np.minimum(below + 1, coarse - 1)
        share = (centre - below).reshape(-1, *(1,) * (array.ndim - 1 - axis))
        array = (1 - share) * array.take(below, axis) + share * array.take(above, axis)
    return array
