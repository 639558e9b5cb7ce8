"""Missing pixels from known ones, each the weighted mean of its neighbours: a sparse system, solved by multigrid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathattr.common.axes import Array

Narrow = NDArray[np.float32]

TOLERANCE = 2e-5
"""Bounds the energy norm ‖e‖_A = √(eᵀAe) of the error, relative to the range of the known pixels.

A pixel's error is at most √(A⁻¹)_ii·‖e‖_A. (A⁻¹)_ii is the resistance from the pixel to the known ones, which grows
with the logarithm of their distance only: 23 from corner to corner of 224 × 224, where a single pixel is known. So no
pixel is off by 1e-4 of the range, a hundredth of ROAD's noise; in a strip a few pixels high, where resistance grows
with the distance itself, it can be 100 times that: 5e-3 was seen in the middle of 2 × 5000 with its ends known.
"""

DAMPING = 0.9  # of Jacobi sweeps: at 1 some cycles on coarse grids would come close to not being positive definite
COARSEST = 64  # cells that are solved for directly
MOST = 500  # iterations; 15 are many


def interpolate(image: Array, missing: NDArray[np.bool_]) -> Array:
    """Return an image (channels, height, width) with its missing pixels (height, width) filled in.

    They solve (Σ w)·u = Σ w·u_neighbour over the neighbours inside the picture, w = 1/6 along edges and 1/12 across
    corners, to within 1e-4 of the range of the known pixels (see TOLERANCE). At least one pixel must be known, and what
    is in the missing ones is not looked at.
    """
    known = image.reshape(len(image), -1)[:, np.flatnonzero(~missing)]
    assert known.shape[1], "nothing to interpolate from"
    start = np.where(missing, known.mean(axis=1)[:, None, None], image)
    span = float(known.max() - known.min())
    if not missing.any() or span == 0:
        return start
    grid = _Grid.finest(missing)
    # The residual in double precision; the correction, which is of the order of the range, in single.
    residual = grid.padded(_pull(start) * missing / span).astype(np.float32)
    correction = grid.cropped(_solve(_hierarchy(grid), residual))
    return start + span * correction


def _solve(grids: list[_Grid], residual: Narrow) -> Narrow:
    """Return the solution for a right-hand side, which is used up, by conjugate gradients, channel by channel."""
    found = np.zeros_like(residual)
    step = smoothed = _cycle(grids, residual)
    energy = _dots(residual, smoothed)  # with the preconditioner ≈ A⁻¹ this is the error's ‖e‖_A²
    for _ in range(MOST):
        if (energy <= TOLERANCE**2).all():
            return found
        image = grids[0].apply(step)
        length = _ratio(energy, _dots(step, image))
        found += length * step
        residual -= length * image
        smoothed = _cycle(grids, residual)
        before, energy = energy, _dots(residual, smoothed)
        step = smoothed + _ratio(energy, before) * step
    raise ArithmeticError(f"the imputation of missing pixels did not converge in {MOST} iterations")


def _cycle(grids: list[_Grid], residual: Narrow) -> Narrow:
    """Return about A⁻¹·residual: a sweep of Jacobi, the rest on the next coarser grid, and one more sweep."""
    grid, *coarser = grids
    if not coarser:
        return residual @ grid.inverse
    found = grid.sweep * residual
    found += grid.refined(_cycle(coarser, coarser[0].gathered(grid, residual - grid.apply(found))))
    found += grid.sweep * (residual - grid.apply(found))
    return found


@dataclass(frozen=True, eq=False)
class _Grid:
    """The matrix A on a grid of cells: links between neighbours, and leaks to known pixels.

    `missing` (height, width) tells which cells hold missing pixels, and `leak` how strongly each is tied to known ones:
    A u = (linked + leak)·u − Σ w·u_neighbour over the missing, linked = Σ w over missing neighbours. Vectors are 0
    elsewhere, (channels, cells), flat with a border of zeros one cell wide, so that neighbours are shifts.
    """

    missing: NDArray[np.bool_]
    leak: Array

    @classmethod
    def finest(cls, missing: NDArray[np.bool_]) -> _Grid:
        """Return the matrix of the missing pixels."""
        return cls(missing, missing * _neighbours(~missing))

    def coarser(self) -> _Grid:
        """Return the grid of cells twice as large.

        Links keep their strength, for a Laplacian in two dimensions does; leaks add up.
        """
        return _Grid(_blocks(self.missing) > 0, _blocks(self.leak))

    @cached_property
    def diagonal(self) -> Array:
        """The diagonal of A."""
        return self.missing * _neighbours(self.missing) + self.leak

    @cached_property
    def sweep(self) -> Narrow:
        """What a sweep of Jacobi multiplies residuals by."""
        inverse = np.divide(DAMPING, self.diagonal, out=np.zeros_like(self.diagonal), where=self.diagonal > 0)
        return self.padded(inverse).astype(np.float32)

    @cached_property
    def inverse(self) -> Narrow:
        """The inverse of A; the identity for cells that are not missing."""
        alone = self.padded(self.diagonal) == 0
        matrix = self.apply(np.diag(~alone).astype(np.float32)).astype(np.float64)
        matrix[alone, alone] = 1
        return np.linalg.inv(matrix).astype(np.float32)

    @cached_property
    def inside(self) -> Narrow:
        """1 for missing cells, else 0."""
        return self.padded(self.missing.astype(np.float32))

    @cached_property
    def _own(self) -> Narrow:
        """What a cell's own value counts, with the third that `_window` takes too much."""
        return self.padded(self.diagonal + self.missing / 3).astype(np.float32)

    @cached_property
    def _others(self) -> Narrow:
        return np.divide(self.inside[self._centre], 12, dtype=np.float32)

    @property
    def _row(self) -> int:
        return self.missing.shape[1] + 2

    @property
    def _centre(self) -> slice:
        return slice(self._row + 1, -self._row - 1)

    def apply(self, u: Narrow) -> Narrow:
        """Return A u."""
        around = _window(u, self._row)
        around *= self._others
        out = self._own * u
        out[:, self._centre] -= around
        return out

    def padded(self, cells: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return (..., height, width) flat, with a border of zeros."""
        height, width = self.missing.shape
        out = np.zeros((*cells.shape[:-2], height + 2, width + 2), cells.dtype)
        out[..., 1:-1, 1:-1] = cells
        return out.reshape(*cells.shape[:-2], -1)

    def cropped(self, flat: NDArray[np.floating]) -> NDArray[np.floating]:
        """Undo `padded`: a view."""
        height, width = self.missing.shape
        return flat.reshape(-1, height + 2, width + 2)[:, 1:-1, 1:-1]

    def gathered(self, finer: _Grid, u: Narrow) -> Narrow:
        """Return the sums over this grid's cells of a vector of the finer grid."""
        return self.padded(_blocks(finer.cropped(u)))

    def refined(self, coarse: Narrow) -> Narrow:
        """Return a vector of the next coarser grid on this one: the transpose of `gathered`, on missing pixels."""
        height, width = self.missing.shape
        cells = coarse.reshape(len(coarse), (height + 1) // 2 + 2, -1)[:, 1:-1, 1:-1]
        out = np.zeros((len(coarse), height + 2, width + 2), np.float32)
        inside = out[:, 1:-1, 1:-1]
        for i in (0, 1):
            for j in (0, 1):
                part = inside[:, i::2, j::2]
                part[:] = cells[:, : part.shape[1], : part.shape[2]]
        flat = out.reshape(len(coarse), -1)
        flat *= self.inside
        return flat


def _hierarchy(grid: _Grid) -> list[_Grid]:
    grids = [grid]
    while grids[-1].missing.size > COARSEST:
        grids.append(grids[-1].coarser())
    return grids


def _pull(u: Array) -> Array:
    """Return Σ w·(u_neighbour − u) over the neighbours inside the picture, for (..., height, width)."""
    return _neighbours(u) - _neighbours(np.ones(u.shape[-2:])) * u


def _neighbours(u: NDArray[Any]) -> Array:
    """Return Σ w·u_neighbour over the neighbours inside the picture, for (..., height, width)."""
    padded = np.pad(np.asarray(u, np.float64), [(0, 0)] * (u.ndim - 2) + [(1, 1), (1, 1)])
    rows = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    return (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 12 - u / 3


def _window(u: Narrow, row: int) -> Narrow:
    """Return the sums over 3 × 3 windows weighted by [1, 2, 1] ⊗ [1, 2, 1], for flat pictures with such rows.

    That is 12·(Σ w·u_neighbour + u/3), by four additions. The result begins at the first cell inside the border.
    """
    for shift in (1, 1, row, row):
        u = u[:, :-shift] + u[:, shift:]
    return u


def _blocks(cells: NDArray[Any]) -> NDArray[Any]:
    """Return the sums over blocks of 2 × 2 cells of (..., height, width), cut off at odd ends."""
    height, width = cells.shape[-2:]
    if height % 2 or width % 2:
        cells = np.pad(cells, [(0, 0)] * (cells.ndim - 2) + [(0, height % 2), (0, width % 2)])
    rows = np.add(cells[..., ::2, :], cells[..., 1::2, :])
    return np.add(rows[..., ::2], rows[..., 1::2])


def _dots(a: Narrow, b: Narrow) -> Array:
    """Return the inner products of two vectors, channel by channel, (channels,)."""
    return np.array([np.dot(x, y) for x, y in zip(a, b, strict=True)], np.float64)


def _ratio(a: Array, b: Array) -> Narrow:
    """Return a/b as a factor of vectors; 0 for a channel that is solved."""
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0).astype(np.float32)[:, None]
