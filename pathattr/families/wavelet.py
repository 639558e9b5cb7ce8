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
from pathattr.families.base import Decomposition, Factor, PathFamily, Term, norms
from pathattr.families.filters import Filters, Kind, Pyramid, kinds
from pathattr.families.pyramid import halves_evenly, stack_of_bands
from pathattr.paths.orderings import ApproximationThenFinest, Ordering, Scale

_EVEN_FILTERS = ("bior1.", "bior3.", "rbio1.", "rbio3.")
"""Biorthogonal wavelets with symmetric filters of even length: mirrored pictures have mirrored coefficients."""
STACK = 1 << 25
"""The most numbers of a stack of bands, each as large as the input: 128 MB in float32, which every step reads twice."""
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
        """Return a stack of bands, or one term per band, whose coefficients a pyramid of filters puts together."""
        pyramid = Pyramid(Filters.of(self.name, self.mode), self._sides(difference.shape[1:]))
        coefficients = pyramid.analysed(difference, lambda array, place: self._split(array, place + 1))
        scale, frequency = zip(*_places(pyramid), strict=True)
        bands = self.components == "bands"
        if bands and len(coefficients) * difference[0].size <= STACK:
            return stack_of_bands(np.stack(list(self._images(pyramid, coefficients)), axis=1), scale, frequency)
        labels = spectral_labels(difference.ndim - 1)
        if bands:
            # One gate for each channel and band: a spectrum of its own along k, of length 1.
            gates, orthogonal = "ck", "distance" in self.promises(difference.shape)
            images = coefficients if orthogonal else self._images(pyramid, coefficients)
            energies = [norms(image[:, None], difference.ndim - 1) for image in images]
            coefficients = [array[:, None] for array in coefficients]
        else:
            gates = "c" + labels
            energies = [
                np.abs(array) * reduce(np.multiply.outer, atoms)
                for array, atoms in zip(coefficients, pyramid.atoms(), strict=True)
            ]
        terms = [
            Term(
                gates,
                (Factor("ck"[: 1 + bands] + labels, array),),
                energy=energy,
                groups=1,
                frequency=np.asarray(own_frequency),
                scale=np.asarray(float(own_scale)),
                spectrum="c" + labels,
            )
            for array, energy, own_scale, own_frequency in zip(coefficients, energies, scale, frequency, strict=True)
        ]
        return Decomposition(difference.shape, tuple(terms), pyramid, joined=bands)

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

    def _images(self, pyramid: Pyramid, coefficients: Sequence[Array]) -> Iterator[Array]:
        """Yield what each band alone comes to, at the full size: (channels, *spatial)."""
        levels, rest = pyramid.levels, iter(coefficients)
        yield self._image(next(rest), (0,) * len(pyramid.sides[0]), levels)
        for count in range(len(levels), 0, -1):
            _, *details = kinds(levels[count - 1][1])
            for kind in details:
                yield self._image(next(rest), kind, levels[:count])

    def _image(self, band: Array, kind: Kind, levels: Sequence[tuple[Sequence[int], Sequence[bool]]]) -> Array:
        """Return what a band (channels, *spatial) of the last of some levels, from the finest, comes to."""
        for sides, splits in reversed(levels):
            for axis, (high, size, splitting) in enumerate(zip(kind, sides, splits, strict=True), start=1):
                if splitting:
                    band = self._merge(None if high else band, band if high else None, axis, size)
            kind = (0,) * len(kind)
        return band

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
