"""Axioms of equivariance and invariance, tested by conjugation: the model F∘P⁻¹ at the input Px."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathattr.axioms.case import Case
from pathattr.axioms.residual import Residual, distance
from pathattr.axioms.view import Change, same
from pathattr.common.axes import Layout

SCALES = (-1.0, 3.7, 1e-3)


@dataclass(frozen=True)
class Move:
    """A rearrangement of canonical examples (points, channels, *spatial), and the one that undoes it."""

    there: Change
    back: Change


def moves(layout: Layout, name: str, rng: np.random.Generator) -> list[Move]:
    """Return the moves that a promise is about, for examples of this layout; none where they need more axes.

    `name` is one of "channels", "flips", "transposition", "rotations" and "permutations".
    """
    shape = layout.canonical(np.zeros(layout.shape)).shape
    rank = len(shape) - 1
    if name == "channels":
        return [permuted(1, _order(shape[0], rng))] if shape[0] > 1 else []
    if name == "flips":
        axes = range(2, rank + 2)
        return [flipped(axis) for axis in axes] + ([flipped(*axes)] if rank > 1 else [])
    if name == "transposition":
        return [Move(_transposed, _transposed)] if rank > 1 else []
    if name == "rotations":
        return [_turned(1), _turned(2), _turned(-1)] if rank > 1 else []
    assert name == "permutations"
    return [permuted(axis, _order(shape[axis - 1], rng)) for axis in range(max(2, rank), rank + 2)]


def _order(size: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return a random order, and not the one that changes nothing."""
    order = rng.permutation(size)
    return np.roll(order, 1) if (order == np.arange(size)).all() else order


def permuted(axis: int, order: NDArray[np.intp]) -> Move:
    """Return the permutation of one axis of (points, channels, *spatial)."""
    undo = np.argsort(order)
    return Move(lambda points: np.take(points, order, axis), lambda points: np.take(points, undo, axis))


def flipped(*axes: int) -> Move:
    """Return the reversal of some axes."""
    return Move(lambda points: np.flip(points, axes), lambda points: np.flip(points, axes))


def shifted(axis: int, by: int) -> Move:
    """Return the cyclic shift along one axis."""
    return Move(lambda points: np.roll(points, by, axis), lambda points: np.roll(points, -by, axis))


def _transposed(points: NDArray[Any]) -> NDArray[Any]:
    return np.swapaxes(points, -1, -2)


def _turned(quarters: int) -> Move:
    return Move(lambda p: np.rot90(p, quarters, (-2, -1)), lambda p: np.rot90(p, -quarters, (-2, -1)))


def equivariance(case: Case, move: Move) -> Residual:
    """Attributions of the moved problem are the moved attributions."""
    there, back = _arranged(case.layout, move.there), _arranged(case.layout, move.back)
    # A rearrangement is orthogonal: gradients move as points do.
    found = case.moved(there, back, there)
    return distance(found, there(case.attributions), case.tolerance, case.reason)


def permutation_equivariance(case: Case, name: str) -> Residual | None:
    """Return the worst residual over the moves of a kind (see `moves`); None where there are none."""
    found = [equivariance(case, move) for move in moves(case.layout, name, _rng(case))]
    return max(found, key=lambda residual: residual.worst) if found else None


def translation(case: Case) -> Residual:
    """Moving input and baseline together, and the model with them, changes nothing."""
    size = np.abs(case.host).max()
    shift = size * _rng(case).uniform(-1, 1, case.host.shape[1:])
    found = case.moved(lambda points: points + shift, lambda points: points - shift, same)
    return distance(found, case.attributions, case.tolerance, case.reason)


def global_scale(case: Case) -> Residual:
    """One factor for input and baseline, taken out in front of the model, changes nothing; a sign neither."""
    return _scaled(case, list(SCALES))


def channel_scale(case: Case) -> Residual | None:
    """One factor per channel changes nothing where strengths are per channel; None without channels."""
    axis = case.layout.channel_axis
    if axis is None or case.layout.shape[axis] < 2:
        return None
    shape = [1] * len(case.layout.shape)
    shape[axis] = -1
    return _scaled(case, [np.exp(_rng(case).uniform(-2, 2, case.layout.shape[axis])).reshape(shape)])


def feature_scale(case: Case) -> Residual:
    """One factor per feature changes nothing: a promise of the straight line."""
    return _scaled(case, [np.exp(_rng(case).uniform(-2, 2, case.layout.shape))])


def _scaled(case: Case, factors: list[Any]) -> Residual:
    def by(factor: Any) -> Callable[[NDArray[Any]], NDArray[Any]]:
        return lambda points: points * factor

    found = [case.moved(by(factor), by(1 / factor), by(1 / factor)) for factor in factors]
    residuals = [distance(other, case.attributions, case.tolerance, case.reason) for other in found]
    return max(residuals, key=lambda residual: residual.worst)


def _arranged(layout: Layout, change: Change) -> Change:
    """Return a change of canonical points (points, channels, *spatial) for points as the user arranges them."""
    axis = layout.channel_axis
    if axis is None:
        return lambda points: change(points[:, None])[:, 0]
    return lambda points: np.moveaxis(change(np.moveaxis(points, axis + 1, 1)), 1, axis + 1)


def _rng(case: Case) -> np.random.Generator:
    return np.random.default_rng(case.explainer.seed)
