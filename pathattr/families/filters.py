"""One level of a wavelet transform along one axis, and pyramids of them: by products with small matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

import numpy as np
import pywt
from scipy import sparse

from pathattr.common.axes import Array
from pathattr.common.ops import Ops
from pathattr.families.base import Transform

BLOCK = 16
"""How many coefficients of each kind are taken at once: filters in blocks are matrix products, which cost less than as
many shifted sums of whole arrays, and more the larger the block."""
WHOLE = 16
"""The longest axis that is taken at once, times the length of a filter, and at least 64: one product costs less than
windows that are cut out and joined again, which are the wider the longer the filters."""
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
        if self._at_once(size):
            return _product(ops, [low, high], axis, self._whole(size).T)
        half, (_, after) = (size + 1) // 2, self.reach
        block = min(BLOCK, half)
        blocks, matrix = -(-half // block), self._synthesis(block)
        windows = [self._windows(ops, part, axis, after, block, blocks, len(matrix) // 2) for part in (low, high)]
        return _flat(ops, _product(ops, [*windows[0], *windows[1]], axis + 1, matrix), axis, size)

    def split(self, ops: Ops, signal: Any, axis: int) -> tuple[Any, Any]:
        """Return the adjoint of `merged`: what each coefficient has of a signal."""
        size = signal.shape[axis]
        count, (before, _) = self.count(size), self.reach
        if self._at_once(size):
            pair = _product(ops, [signal], axis, self._whole(size))
            return _cut(pair, axis, slice(0, count)), _cut(pair, axis, slice(count, 2 * count))
        block = min(BLOCK, count)
        blocks, matrix = -(-count // block), self._analysis(block)
        if size % 2:
            signal = ops.concat([signal, _nothing(ops, signal, axis, 1)], axis)
        windows = self._windows(ops, signal, axis, 2 * before, 2 * block, blocks, len(matrix))
        pairs = _product(ops, windows, axis + 1, matrix)
        low, high = (_cut(pairs, axis + 1, slice(kind * block, (kind + 1) * block)) for kind in (0, 1))
        return _flat(ops, low, axis, count), _flat(ops, high, axis, count)

    def _windows(self, ops: Ops, array: Any, axis: int, before: int, step: int, blocks: int, length: int) -> list[Any]:
        """Return arrays (..., blocks, part of a window, ...) that joined along the second of these are all windows.

        The window of block j has `length` elements from j·step − before on; beyond its ends the array goes on around
        the circle, or with zeros.
        """
        parts = -(-length // step)
        after = (blocks + parts - 1) * step - before - array.shape[axis]
        if self.circular:
            array = _around(ops, array, axis, before, after)
        else:
            ends = [_nothing(ops, array, axis, width) if width else None for width in (before, after)]
            joined = [part for part in (ends[0], array, ends[1]) if part is not None]
            array = ops.concat(joined, axis) if len(joined) > 1 else array
        shape = *array.shape[:axis], blocks, step, *array.shape[axis + 1 :]
        found = []
        for first in range(0, length, step):
            part = ops.reshape(_cut(array, axis, slice(first, first + blocks * step)), shape)
            found.append(part if first + step <= length else _cut(part, axis + 1, slice(0, length - first)))
        return found

    def _at_once(self, size: int) -> bool:
        return size <= max(64, WHOLE * len(self.low))

    @lru_cache(maxsize=128)  # noqa: B019 - a value of a few numbers
    def _whole(self, size: int) -> Array:
        """Return the matrix from a signal to its low and high coefficients, of `split`."""
        return np.asarray(sparse.hstack(self.matrices(size)).toarray())

    @lru_cache(maxsize=128)  # noqa: B019 - a value of a few numbers
    def _synthesis(self, block: int) -> Array:
        """Return the matrix from a window of low and one of high coefficients to a block of the signal."""
        before, after = self.reach
        length, place = block + before + after, np.arange(block)
        matrix = np.zeros((2, length, block, 2))
        for s, r, g, h in self.taps():
            matrix[0, place - r + after, place, s] += g
            matrix[1, place - r + after, place, s] += h
        return matrix.reshape(2 * length, 2 * block)

    @lru_cache(maxsize=128)  # noqa: B019 - a value of a few numbers
    def _analysis(self, block: int) -> Array:
        """Return the matrix from a window of a signal to a block of low coefficients and one of high ones."""
        before, after = self.reach
        length, place = block + before + after, np.arange(block)
        matrix = np.zeros((length, 2, 2, block))
        for s, r, g, h in self.taps():
            matrix[place + r + before, s, 0, place] += g
            matrix[place + r + before, s, 1, place] += h
        return matrix.reshape(2 * length, 2 * block)

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


def _product(ops: Ops, parts: Sequence[Any], axis: int, matrix: Array) -> Any:
    """Return the product of arrays, joined along an axis, with a matrix (that axis, another in its place)."""
    whole = ops.concat(parts, axis) if len(parts) > 1 else parts[0]
    outer, inner = whole.shape[:axis], whole.shape[axis + 1 :]
    # What lies inside as one axis, if at all: frameworks multiply stacks of matrices.
    stack = ops.reshape(whole, (*outer, matrix.shape[0], prod(inner))) if inner else whole
    # Images and nodes first, by the labels that they have elsewhere.
    labels = "bnacdefghijklm"[:axis]
    equation = f"{labels}yx,yz->{labels}zx" if inner else f"{labels}y,yz->{labels}z"
    return ops.reshape(ops.einsum(equation, stack, ops.constant(matrix, stack)), (*outer, matrix.shape[1], *inner))


def _flat(ops: Ops, blocks: Any, axis: int, size: int) -> Any:
    """Return blocks (..., blocks, elements, ...) along one axis, the first `size` elements."""
    shape = blocks.shape
    whole = shape[axis] * shape[axis + 1]
    joined = ops.reshape(blocks, (*shape[:axis], whole, *shape[axis + 2 :]))
    return joined if size == whole else _cut(joined, axis, slice(0, size))


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
