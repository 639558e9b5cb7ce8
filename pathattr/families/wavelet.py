"""Wavelet bands or single wavelet coefficients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Literal

import numpy as np
import pywt

from pathattr.checks import whole
from pathattr.errors import InvalidInput
from pathattr.families.base import Decomposition, Factor, PathFamily, Term, norms
from pathattr.families.pyramid import along_spatial, halves_evenly, stack_of_bands
from pathattr.layout import Array, spatial_labels, spectral_labels
from pathattr.naming import one_of
from pathattr.orderings import ApproximationThenFinest, Ordering, Scale

_EVEN_FILTERS = ("bior1.", "bior3.", "rbio1.", "rbio3.")
"""Biorthogonal wavelets with symmetric filters of even length: mirrored pictures have mirrored coefficients."""


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
        """Return a stack of bands, or one separable term per band of coefficients."""
        bands = list(self._bands(difference))
        if self.components == "bands":
            return stack_of_bands(
                [along_spatial(band.coefficients, band.synthesis) for band in bands],
                [band.scale for band in bands],
                [band.frequency for band in bands],
            )
        spatial = spatial_labels(difference.ndim - 1)
        spectral = spectral_labels(difference.ndim - 1)
        return Decomposition(difference.shape, tuple(band.term(spatial, spectral) for band in bands))

    def _bands(self, difference: Array) -> Iterator[_Band]:
        """Yield the approximation, then the details from the coarsest level to the finest."""
        rank = difference.ndim - 1
        approximation = difference
        synthesis = [np.eye(size) for size in difference.shape[1:]]
        details: list[list[_Band]] = []
        while len(details) < self.levels:
            sides = approximation.shape[1:]
            steps = [_step(self.name, self.mode, size) for size in sides]
            if all(step is None for step in steps) or (self.stop_at_odd and any(s % 2 for s in sides)):
                break
            level = []
            # Last axis fastest: difference along the width, then the height, then both.
            for kind in product((0, 1), repeat=rank):
                if any(high and step is None for high, step in zip(kind, steps, strict=True)):
                    continue  # an axis that is not split has no details of its own
                pairs = [
                    (np.eye(size),) * 2 if step is None else (step.analysis[high], step.synthesis[high])
                    for high, step, size in zip(kind, steps, sides, strict=True)
                ]
                octave = 2.0 ** -len(details)  # the highest frequency that is left, 1 at first
                centre = np.sqrt(np.mean([(octave * (0.75 if high else 0.25)) ** 2 for high in kind]))
                level.append(
                    _Band(
                        along_spatial(approximation, [analysis for analysis, _ in pairs]),
                        [whole @ part for whole, (_, part) in zip(synthesis, pairs, strict=True)],
                        len(details),
                        float(centre),
                    )
                )
            approximation, synthesis = level[0].coefficients, level[0].synthesis
            details.append(level[1:])
        yield _Band(approximation, synthesis, 0, 0.0)
        for index, level in enumerate(reversed(details)):
            for band in level:
                yield replace(band, scale=index + 1)

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


@dataclass(frozen=True)
class _Band:
    coefficients: Array  # (channels, *positions)
    synthesis: list[Array]  # per axis: (size, positions), from coefficients to the full size
    scale: int
    frequency: float

    def term(self, spatial: str, spectral: str) -> Term:
        atoms = np.ones(())
        for matrix in self.synthesis:
            atoms = np.multiply.outer(atoms, norms(matrix.T, 1))
        return Term(
            "c" + spectral,
            (
                Factor("c" + spectral, self.coefficients),
                *(Factor(h + p, m, shared=True) for h, p, m in zip(spatial, spectral, self.synthesis, strict=True)),
            ),
            energy=np.abs(self.coefficients) * atoms,
            groups=1,
            frequency=np.asarray(self.frequency),
            scale=np.asarray(float(self.scale)),
        )


@dataclass(frozen=True)
class _Step:
    """One level along one axis: low-pass and high-pass analysis (positions, size) and synthesis (size, positions)."""

    analysis: tuple[Array, Array]
    synthesis: tuple[Array, Array]


@lru_cache(maxsize=128)
def _step(wavelet: str, mode: str, size: int) -> _Step | None:
    """Return one level of the transform as matrices; None for an axis that it would not shorten."""
    if size == 1:
        return None
    low, high = pywt.dwt(np.eye(size), wavelet, mode, axis=0)
    if low.shape[0] >= size:
        return None
    unit, zero = np.eye(low.shape[0]), np.zeros_like(np.eye(low.shape[0]))
    # An odd side comes back one longer.
    synthesis = np.concatenate(
        [
            pywt.idwt(unit, zero, wavelet, mode, axis=0)[:size],
            pywt.idwt(zero, unit, wavelet, mode, axis=0)[:size],
        ],
        axis=1,
    )
    analysis = np.concatenate([low, high])
    # Filters are tabulated to limited precision and some (dmey) reconstruct approximately: the least correction
    # of the analysis that makes synthesis after analysis the identity, so that components sum to the difference.
    for _ in range(2):
        residual = np.eye(size) - synthesis @ analysis
        analysis = analysis + np.linalg.lstsq(synthesis, residual, rcond=None)[0]
    half = low.shape[0]
    return _Step((analysis[:half], analysis[half:]), (synthesis[:, :half], synthesis[:, half:]))
