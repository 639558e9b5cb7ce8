"""One level of a wavelet transform along one axis, and pyramids of them: by shifted sums, whatever the framework."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import pywt
from scipy import sparse

from pathattr.families.base import Transform
from pathattr.layout import Array
from pathattr.ops import Ops

Kind = tuple[int, ...]
"""Of a band of one level: for each spatial axis 0 where it is smooth, 1 where it is a difference."""


@dataclass(frozen=True)
class Filters:
    """The synthesis of one level along an axis: x[i] = Σ_k low[k]·g[i + d − 2k] + high[k]·h[i + d − 2k].

    g and h are a wavelet's reconstruction filters. Under periodization k runs around the circle; under every other
    border rule PyWavelets takes what has no border: rules matter to the analysis only.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    circular: bool

    @classmethod
    @lru_cache(maxsize=128)
    def of(cls, wavelet: str, mode: str) -> Filters:
        """Return the filters of a wavelet under a border rule, by their PyWavelets names."""
        _, _, low, high = pywt.Wavelet(wavelet).filter_bank
        return cls(tuple(low), tuple(high), mode == "periodization")

    def count(self, size: int) -> int:
        """Return how many coefficients of each kind an axis of that size has."""
        return (size + 1) // 2 if self.circular else (size + len(self.low) - 1) // 2

    def taps(self) -> Iterator[tuple[int, int, float, float]]:
        """Yield (s, r, g, h): x[2p + s] has g·low[p − r] + h·high[p − r] in its sum."""
        length = len(self.low)
        offset = length // 2 - 1 if self.circular else length - 2
        for s in (0, 1):
            start = (s + offset) % 2
            for index in range(start, length, 2):
                yield s, (index - s - offset) // 2, self.low[index], self.high[index]

    @property
    def reach(self) -> tuple[int, int]:
        """The most that r falls below and rises above 0."""
        shifts = [r for _, r, _, _ in self.taps()]
        return -min(0, *shifts), max(0, *shifts)

    def merged(self, ops: Ops, low: Any, high: Any, axis: int, size: int) -> Any:
        """Return the signal of that size along an axis from its coefficients (the last of an odd one's falls away)."""
        half, (before, after) = (size + 1) // 2, self.reach
        if self.circular:
            low, high = (_around(ops, part, axis, after, before) for part in (low, high))
        else:
            after = 0
        phases: list[Any] = [None, None]
        for s, r, g, h in self.taps():
            window = slice(after - r, after - r + half)
            for tap, part in ((g, low), (h, high)):
                if tap:
                    phases[s] = _added(phases[s], tap, _cut(part, axis, window))
        outer, inner = low.shape[:axis], low.shape[axis + 1 :]
        whole = ops.concat([ops.reshape(phase, (*outer, half, 1, *inner)) for phase in phases], axis + 1)
        whole = ops.reshape(whole, (*outer, 2 * half, *inner))
        return whole if size == 2 * half else _cut(whole, axis, slice(0, size))

    def split(self, ops: Ops, signal: Any, axis: int) -> tuple[Any, Any]:
        """Return the adjoint of `merged`: what each coefficient has of a signal."""
        size = signal.shape[axis]
        half, count, (before, after) = (size + 1) // 2, self.count(size), self.reach
        if size < 2 * half:
            signal = ops.concat([signal, _nothing(ops, signal, axis, 1)], axis)
        pairs = ops.reshape(signal, (*signal.shape[:axis], half, 2, *signal.shape[axis + 1 :]))
        phases = [_cut(pairs, axis + 1, s) for s in (0, 1)]
        if self.circular:
            phases = [_around(ops, phase, axis, before, after) for phase in phases]
        elif before:
            rest = _nothing(ops, phases[0], axis, before)
            phases = [ops.concat([rest, phase, rest], axis) for phase in phases]
        parts: list[Any] = [None, None]
        for s, r, g, h in self.taps():
            window = _cut(phases[s], axis, slice(before + r, before + r + count))
            for kind, tap in enumerate((g, h)):
                if tap:
                    parts[kind] = _added(parts[kind], tap, window)
        return parts[0], parts[1]

    def matrices(self, size: int) -> tuple[Any, Any]:
        """Return the sparse matrices (size, coefficients) of `merged`, for low and for high."""
        half, count = (size + 1) // 2, self.count(size)
        found = []
        for kind in (0, 1):
            rows, columns, values = [], [], []
            place = np.arange(half)
            for s, r, *taps in self.taps():
                column = (place - r) % count if self.circular else place - r
                inside = 2 * place + s < size
                rows.append(2 * place[inside] + s)
                columns.append(column[inside])
                values.append(np.full(inside.sum(), taps[kind]))
            entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
            found.append(sparse.csr_array(entries, shape=(size, count)))
        return found[0], found[1]


@dataclass(frozen=True)
class Pyramid(Transform):
    """A wavelet pyramid: approximation, then each level's bands from the coarsest; the order of the terms.

    `sides` are the spatial shapes from the full one down to the approximation's: an axis is split where it shortens.
    """

    filters: Filters
    sides: tuple[tuple[int, ...], ...]

    @property
    def levels(self) -> list[tuple[tuple[int, ...], list[bool]]]:
        """Shape and split axes of every level, from the finest."""
        return [
            (fine, [a != b for a, b in zip(fine, coarse, strict=True)])
            for fine, coarse in zip(self.sides[:-1], self.sides[1:], strict=True)
        ]

    def synthesise(self, ops: Ops, spectra: Sequence[Any], axes: tuple[int, ...]) -> Any:
        rest = iter(spectra)
        array = next(rest)
        for sides, splits in reversed(self.levels):
            smooth, *details = kinds(splits)
            bands = {smooth: array} | {kind: next(rest) for kind in details}
            for place in reversed(range(len(axes))):
                if splits[place]:
                    bands = {
                        kind[:place]: self.filters.merged(
                            ops, band, bands[(*kind[:place], 1)], axes[place], sides[place]
                        )
                        for kind, band in bands.items()
                        if not kind[place]
                    }
                else:
                    bands = {kind[:place]: band for kind, band in bands.items()}
            array = bands[()]
        return array

    def adjoint(self, ops: Ops, difference: Any, axes: tuple[int, ...]) -> list[Any]:
        return self.analysed(difference, lambda array, place: self.filters.split(ops, array, axes[place]))

    def analysed(self, array: Any, split: Callable[[Any, int], tuple[Any, Any]]) -> list[Any]:
        """Return the bands that one function, which splits an array along the i-th spatial axis, makes of an array."""
        levels: list[list[Any]] = []
        for _, splits in self.levels:
            bands: dict[Kind, Any] = {(): array}
            for place, splitting in enumerate(splits):
                parts = {kind: split(band, place) if splitting else (band,) for kind, band in bands.items()}
                bands = {(*kind, high): part for kind, pair in parts.items() for high, part in enumerate(pair)}
            smooth, *details = kinds(splits)
            array = bands[smooth]
            levels.append([bands[kind] for kind in details])
        return [array, *(band for level in reversed(levels) for band in level)]

    @lru_cache(maxsize=16)  # noqa: B019 - a value of a few numbers: the shapes last met
    def atoms(self) -> list[list[Array]]:
        """Return for every band the L2 norms of its coefficients' atoms: one array an axis, whose product they are.

        By the Gram matrices of each level's synthesis, which are as narrow as the filters are long.
        """
        grams = [sparse.identity(size, format="csr") for size in self.sides[0]]
        levels: list[list[list[Array]]] = []
        for sides, splits in self.levels:
            axes = []
            for place, (gram, splitting, size) in enumerate(zip(grams, splits, sides, strict=True)):
                matrices = self.filters.matrices(size) if splitting else (sparse.identity(size, format="csr"),)
                products = [matrix.T @ gram @ matrix for matrix in matrices]
                axes.append([np.sqrt(np.maximum(product.diagonal(), 0.0)) for product in products])
                grams[place] = products[0]
            levels.append([[lengths[high] for lengths, high in zip(axes, kind, strict=True)] for kind in kinds(splits)])
        whole = [np.ones(size) for size in self.sides[0]]
        approximation = levels[-1][0] if levels else whole
        return [approximation, *(band for level in reversed(levels) for band in level[1:])]


def kinds(splits: Sequence[bool]) -> Iterator[Kind]:
    """Yield the bands of a level: the smooth one, then differences, those along the last axis first."""
    yield from product(*((0, 1) if splitting else (0,) for splitting in splits))


def _added(total: Any, factor: float, array: Any) -> Any:
    part = factor * array
    return part if total is None else total + part


def _cut(array: Any, axis: int, part: slice | int) -> Any:
    return array[(slice(None),) * axis + (part,)]


def _nothing(ops: Ops, array: Any, axis: int, width: int) -> Any:
    """Return zeros that continue an array along an axis."""
    zeros = 0.0 * _cut(array, axis, slice(0, 1))
    return ops.concat([zeros] * width, axis) if width > 1 else zeros


def _around(ops: Ops, array: Any, axis: int, before: int, after: int) -> Any:
    """Return an array with so many elements more on both sides of an axis, as it goes on around the circle."""
    size = array.shape[axis]
    parts = [array]
    while before > 0 or after > 0:
        left, right = min(before, size), min(after, size)
        parts = [
            *([_cut(array, axis, slice(size - left, size))] if left else []),
            *parts,
            *([_cut(array, axis, slice(0, right))] if right else []),
        ]
        before, after = before - left, after - right
    return ops.concat(parts, axis) if len(parts) > 1 else array
