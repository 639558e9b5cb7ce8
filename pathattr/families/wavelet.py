"""Wavelet bands or single wavelet coefficients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Literal

import numpy as np
import pywt

from pathattr.common.axes import Array, spectral_labels
from pathattr.common.checks import whole
from pathattr.common.names import one_of
from pathattr.common.ops import NumpyOps
from pathattr.errors import InvalidInput
from pathattr.families.base import Decomposition, Factor, PathFamily, Term
from pathattr.families.filters import Filters, Pyramid, kinds
from pathattr.families.pyramid import halves_evenly, stack_of_bands
from pathattr.paths.orderings import ApproximationThenFinest, Ordering, Scale

_EVEN_FILTERS = ("bior1.", "bior3.", "rbio1.", "rbio3.")
"""Biorthogonal wavelets with symmetric filters of even length: mirrored pictures have mirrored coefficients."""
CORRECTIONS = 10
"""The most times. dmey, the least exact, is off by 3e-3 of white noise and each time leaves that share of the rest;
the others are off by 1e-11 at most."""


@dataclass(frozen=True)
class Wavelet(PathFamily):
    """The discrete wavelet transform over all spatial axes, per channel, with any PyWavelets discrete wavelet.

    `components="bands"` gates each band as a whole (approximation, then per level the differences along the
    last axis, the one before, both, ...); "coefficients" gates every coefficient. `mode` is PyWavelets' border
    rule: periodization halves any side with any wavelet and keeps orthogonal ones orthogonal on even sides.
    Levels end early where no axis gets shorter; `stop_at_odd=True` ends them at the first odd side, as the
    published code does.

    Raises InvalidInput for an unknown wavelet or mode (the error lists close names).
    """

    name: str = "haar"
    levels: int = 4
    components: Literal["bands", "coefficients"] = "bands"
    mode: str = "periodization"
    stop_at_odd: bool = False

    def __post_init__(self) -> None:
        whole("levels", self.levels)
        one_of("components", self.components, ("bands", "coefficients"))
        one_of("mode", self.mode, tuple(pywt.Modes.modes))
        if self.name not in pywt.wavelist(kind="discrete"):
            raise InvalidInput(
                f"unknown discrete wavelet {self.name!r}; pywt.wavelist(kind='discrete') names them: "
                "haar, db1-db38, sym2-sym20, coif1-coif17, bior1.1-bior6.8, rbio1.1-rbio6.8, dmey"
            )

    def decompose(self, difference: Array) -> Decomposition:
        """Return a stack of bands, or one term per band of coefficients, which a pyramid of filters puts together."""
        pyramid = Pyramid(Filters.of(self.name, self.mode), self._sides(difference.shape[1:]))
        coefficients = pyramid.analysed(difference, lambda array, place: self._split(array, place + 1))
        scale, frequency = zip(*_places(pyramid), strict=True)
        if self.components == "bands":
            return stack_of_bands(self._images(pyramid, coefficients), scale, frequency)
        labels = "c" + spectral_labels(difference.ndim - 1)
        terms = [
            Term(
                labels,
                (Factor(labels, array),),
                energy=np.abs(array) * reduce(np.multiply.outer, atoms),
                groups=1,
                frequency=np.asarray(own_frequency),
                scale=np.asarray(float(own_scale)),
                spectrum=labels,
            )
            for array, atoms, own_scale, own_frequency in zip(
                coefficients, pyramid.atoms(), scale, frequency, strict=True
            )
        ]
        return Decomposition(difference.shape, tuple(terms), pyramid)

    def _sides(self, sides: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """Return the shapes of the approximations, the full one first."""
        filters, found = Filters.of(self.name, self.mode), [sides]
        while len(found) <= self.levels and not (self.stop_at_odd and any(side % 2 for side in sides)):
            sides = tuple(min(side, filters.count(side)) for side in sides)
            if sides == found[-1]:
                break
            found.append(sides)
        return tuple(found)

    def _split(self, array: Array, axis: int) -> tuple[Array, Array]:
        """Return low-pass and high-pass coefficients along an axis, from which the array comes back to rounding."""
        filters, orthogonal = Filters.of(self.name, self.mode), pywt.Wavelet(self.name).orthogonal
        low, high = pywt.dwt(array, self.name, self.mode, axis)
        # Filters are tabulated to limited precision and some (dmey) reconstruct approximately: what does not come back
        # is analysed in its turn, so that components sum to the difference.
        for _ in range(CORRECTIONS):
            rest = array - self._merge(low, high, axis, array.shape[axis])
            if np.abs(rest).max(initial=0.0) <= 4 * np.finfo(np.float64).eps * np.abs(array).max(initial=0.0):
                break
            if orthogonal:  # the adjoint is the inverse: coefficients change as little as can be
                more = filters.split(NumpyOps(), rest, axis)
            else:
                more = pywt.dwt(rest, self.name, self.mode, axis)
            low, high = low + more[0], high + more[1]
        return low, high

    def _merge(self, low: Array | None, high: Array | None, axis: int, size: int) -> Array:
        found = pywt.idwt(low, high, self.name, self.mode, axis)
        return np.asarray(found[(slice(None),) * axis + (slice(0, size),)])  # an odd side comes back one longer

    def _images(self, pyramid: Pyramid, coefficients: Sequence[Array]) -> Array:
        """Return what each band alone comes to, at the full size: (channels, bands, *spatial)."""
        images, *rest = (band[:, None] for band in coefficients)
        for sides, splits in reversed(pyramid.levels):
            smooth, *details = kinds(splits)
            bands = [(images, smooth), *zip(rest, details, strict=False)]
            rest = rest[len(details) :]
            images = np.concatenate([self._expanded(*band, sides, splits) for band in bands], axis=1)
        return images

    def _expanded(self, bands: Array, kind: Sequence[int], sides: Sequence[int], splits: Sequence[bool]) -> Array:
        """Return bands (channels, bands, *spatial) of one kind one level up."""
        for axis, (high, size, splitting) in enumerate(zip(kind, sides, splits, strict=True), start=2):
            if splitting:
                bands = self._merge(None if high else bands, bands if high else None, axis, size)
        return bands

    def promises(self, shape: tuple[int, ...]) -> frozenset[str]:
        """Return the promises of wavelets: flips for those of even symmetry, distance for orthogonal ones.

        Both on even sides only: of an odd one, a pixel is doubled.
        """
        names = {"channels", "channel scale", "transposition"}
        wavelet = pywt.Wavelet(self.name)
        haar = wavelet.dec_len == 2  # whatever it is called; no filter of it reaches past the border
        even = self.stop_at_odd or halves_evenly(shape[1:], self.levels)
        if even and (haar or self.mode == "periodization"):
            if haar or self.name.startswith(_EVEN_FILTERS):
                names.add("flips")
            # dmey is orthogonal by name, but its filters are tabulated approximately.
            if haar or (wavelet.orthogonal and self.name != "dmey"):
                names.add("distance")
        return frozenset(names)

    @property
    def default_ordering(self) -> Ordering:
        """Coarsest first."""
        return Scale()

    def published(self) -> tuple[PathFamily, Ordering]:
        """Return Haar bands down to the first odd side, in the published order."""
        return replace(self, components="bands", stop_at_odd=True), ApproximationThenFinest()


def _places(pyramid: Pyramid) -> Iterator[tuple[int, float]]:
    """Yield scale and frequency of every band: 0 for the approximation; of details the centre of their octave."""
    yield 0, 0.0
    for scale, (index, (_, splits)) in enumerate(reversed(list(enumerate(pyramid.levels))), start=1):
        octave = 2.0**-index  # the highest frequency that is left, 1 at first
        _, *details = kinds(splits)
        for kind in details:
            yield scale, float(np.sqrt(np.mean([(octave * (0.75 if high else 0.25)) ** 2 for high in kind])))
