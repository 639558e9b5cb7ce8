"""Edges along a path and the rules that turn gradients between them into an integral.

With edges e_0 = 0 < … < e_N = 1 the integral is Σ_t ∇F(evaluation point) ⊙ (γ(e_{t+1}) − γ(e_t)). Evaluation
points and increments are sums over neighbouring edge points, so no derivative of the path is needed and no
end weight can be wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pathattr.common.axes import Array
from pathattr.paths.schedules import Schedule


@dataclass(frozen=True)
class Rule:
    """A quadrature rule over a window of consecutive edges.

    Node t sees the edges in its window: it is evaluated at Σ point·γ(e) and multiplied by Σ increment·γ(e).
    `order` is the declared order of convergence in 1/steps for smooth models (on ReLU networks it is about 1).
    """

    point: tuple[float, ...]
    increment: tuple[float, ...]
    order: int

    def __post_init__(self) -> None:
        # A point must be a mean of edges; increments must cancel on a path that rests.
        assert len(self.point) == len(self.increment) >= 2
        assert sum(self.point) == 1
        assert sum(self.increment) == 0

    @property
    def window(self) -> int:
        """How many edges a node sees."""
        return len(self.point)

    @property
    def padding(self) -> int:
        """How often the first and the last edge are repeated, so that every interval is counted once."""
        return self.window - 2


RULES: dict[str, Rule] = {
    "left": Rule((1, 0), (-1, 1), order=1),
    "right": Rule((0, 1), (-1, 1), order=1),
    "midpoint": Rule((0.5, 0.5), (-1, 1), order=2),
    # At each edge, half of the intervals on both sides.
    "trapezoid": Rule((0, 1, 0), (-0.5, 0, 0.5), order=2),
}


@dataclass(frozen=True)
class Edges:
    """The edges of one path: an edge point has the gates (1 − share)·g(low) + share·g(high).

    `low` = `high` at ordinary edges; the sub-nodes on the chord of a jump lie between. Edges that bound an
    interval on which nothing moves are merged, so every interval has an increment.
    """

    low: Array
    high: Array
    share: Array
    middle: Array  # α in the middle of each interval: the merged edges no longer tell

    @property
    def intervals(self) -> int:
        """The number of intervals; 0 for a path that never moves."""
        return len(self.low) - 1

    def nodes(self, rule: Rule) -> int:
        """Return the number of gradients that a rule takes on these edges."""
        return self.intervals + rule.padding if self.intervals else 0

    def positions(self, rule: Rule) -> Array:
        """Return the α of each node, to be named in messages and records."""
        if not self.intervals:
            return np.empty(0)
        if rule.point == (0.5, 0.5):
            return self.middle
        alpha = (1 - self.share) * self.low + self.share * self.high
        padded = np.pad(alpha, rule.padding, mode="edge")
        return np.correlate(padded, np.asarray(rule.point, dtype=float), mode="valid")


NOWHERE = Edges(np.zeros(1), np.zeros(1), np.zeros(1), np.empty(0))
"""The edges of a path that never moves."""


def uniform_edges(schedule: Schedule, strengths: Array, energy: Array, steps: int) -> Edges:
    """Return the edges of a path with `steps` equal intervals in α, without those in which nothing moves.

    `strengths` and `energy` list every component of the path. Jumps taken by chord get sub-nodes: the
    intervals that would stay empty are shared out in proportion to the length of each jump, so that a path
    of jumps costs `steps` gradients too.
    """
    moving = energy > 0
    if not moving.any():
        return NOWHERE
    grid = np.linspace(0.0, 1.0, steps + 1)
    if not schedule.jumping:
        return _edges(grid, np.flatnonzero(_moves(grid, schedule, strengths[moving])), None)
    # A gate that opens at α is closed at the edge before and open at the first edge ≥ α. At α = 0 all are closed.
    interval = np.clip(np.searchsorted(grid, schedule.openings(strengths[moving]), side="left") - 1, 0, steps - 1)
    # Relative to the largest: squares of tiny or huge energies must not leave the float64 range.
    relative = energy[moving] / energy.max()
    length = np.sqrt(np.bincount(interval, weights=relative**2, minlength=steps))
    jumps = np.unique(interval)
    return _edges(grid, jumps, None if schedule.jumps == "published" else _shares(length[jumps], steps))


def _moves(grid: Array, schedule: Schedule, strengths: Array) -> NDArray[np.bool_]:
    """Return for each interval of the grid whether some window overlaps it."""
    starts = np.sort(schedule.starts(strengths))
    before = np.searchsorted(starts, grid[1:], side="left")  # windows that start before the interval ends
    latest = np.where(before > 0, starts[np.maximum(before - 1, 0)], -np.inf)
    return np.asarray(latest + schedule.overlap > grid[:-1])


def _shares(length: Array, steps: int) -> NDArray[np.intp]:
    """Return how many of `steps` sub-intervals each jump gets: one, and the rest by largest remainder."""
    quota = length / length.sum() * (steps - len(length))
    shares = np.floor(quota).astype(np.intp)
    rest = steps - len(length) - int(shares.sum())
    shares[np.argsort(-(quota - shares), kind="stable")[:rest]] += 1
    return shares + 1


def _edges(grid: Array, kept: NDArray[np.intp], parts: NDArray[np.intp] | None) -> Edges:
    """Return the edges of the kept intervals, each cut in so many parts."""
    if parts is None:
        # Between two kept intervals the path rests: the end of the one is the start of the next.
        inner = grid[kept[:-1] + 1]
        edges = np.concatenate([[0.0], inner, [1.0]])
        return Edges(edges, edges, np.zeros(len(edges)), 0.5 * (grid[kept] + grid[kept + 1]))
    which = np.repeat(np.arange(len(kept)), parts)
    part = np.arange(len(which)) - np.repeat(np.cumsum(parts) - parts, parts)
    share = part / parts[which]
    low, high = grid[kept][which], grid[kept + 1][which]
    middle = low + (high - low) * (share + 0.5 / parts[which])
    # Edges past a jump are those before the next: only the very first is α = 0, and the last is α = 1.
    low[0] = 0.0
    return Edges(np.append(low, 1.0), np.append(high, 1.0), np.append(share, 0.0), middle)
