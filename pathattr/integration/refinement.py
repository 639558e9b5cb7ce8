"""Refinement: nodes are added where gradients disagree, until the estimated error is small or the budget is spent.

The rule is the trapezoidal one, whose nodes are the edges, so that every gradient taken stays in use however often the
intervals beside it are cut.

On a network with kinks the gradient jumps: over an interval with gradients g, g' and movement Δγ the attribution is
off by about ‖(g' − g) ⊙ Δγ‖/√12, the jump being anywhere within, and the errors of different intervals have nothing
to do with one another: squares add up. What the two gradients do not show (a kink passed twice) shows in the score: the
gap ΔF − ½⟨g + g', Δγ⟩ of the interval, as a share of what such a gap means for the features.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pathattr.common.axes import Array
from pathattr.integration.nodes import Course

START = 17
"""Nodes to begin a budget with; with 9 the first look misses too much, 25 gain nothing (docs/nodes.md)."""
LOOK = 1.6
"""Intervals, times the tolerance, before an estimate is believed: what is hidden in one must be small beside it."""
GAP = 0.1
"""The weight of an interval's gap beside the disagreement of its gradients."""
NOISE = 1e-5
"""Of the largest score: gaps below may be its rounding in float32."""
QUANTILE = 1.28
"""Of the normal distribution, at nine of ten: that many errors are to be below the estimate."""
FEW = 2.0
"""Over n nodes: what the estimate is raised by for being made of few, and for stopping when it happens to be low."""
GROWTH = 1.25
"""The most that a round for a tolerance multiplies the nodes by: later rounds know better where to cut."""
PARTS = 8
"""The most parts that a round cuts an interval into, where it aims at a tolerance."""
BUDGET_PARTS = 64
"""The same where it spends a budget."""
LEAST = 4
"""So many nodes such a round may always add."""
ROUNDS = 2
"""The rounds in which a budget is spent."""


@dataclass(frozen=True)
class Aim:
    """When to stop: at a relative L2 error of `tolerance`, or at `most` nodes."""

    most: int
    tolerance: float | None = None

    @property
    def look(self) -> int:
        """The fewest nodes whose estimate of the error is believed: 17 from 10% on, 33 up to 5%."""
        return 1 + round(min(max(LOOK / self.tolerance, 16), 32)) if self.tolerance else 0


@dataclass
class Refinement:
    """One path's nodes so far: positions, scores, points and gradients, sorted by position.

    `points` and `gradients` have the shape (features,) each. `squares`, `gaps` and `sums` belong to intervals:
    ‖Δg ⊙ Δγ‖², ΔF − ½⟨g + g', Δγ⟩ and ⟨Δg, Δγ⟩.
    """

    course: Course
    aim: Aim
    alpha: Array = field(default_factory=lambda: np.empty(0))
    scores: Array = field(default_factory=lambda: np.empty(0))
    points: list[Array] = field(default_factory=list)
    gradients: list[Array] = field(default_factory=list)
    squares: Array = field(default_factory=lambda: np.empty(0))
    gaps: Array = field(default_factory=lambda: np.empty(0))
    sums: Array = field(default_factory=lambda: np.empty(0))
    _size: float = 0.0
    _measured: int = -1  # the number of nodes that _size is of

    def wanted(self) -> Array:
        """Return the positions to evaluate next; none when the aim is reached."""
        if not len(self.alpha):
            first = START if self.aim.tolerance is None else (self.aim.look + 1) // 2
            share = np.linspace(0.0, 1.0, min(first, self.aim.most))
            return np.unique(self.course.at(share)) if self.course.energy.any() else np.empty(0)
        if len(self.alpha) < 2 or len(self.alpha) >= self.aim.most:
            return np.empty(0)
        room = self.aim.most - len(self.alpha)
        if self.aim.tolerance is None:
            return self._cut(self._z(), -1.0, self._share_of(room), BUDGET_PARTS)
        growth = min(room, max(LEAST, int((GROWTH - 1) * len(self.alpha))))
        missing = self.aim.look - len(self.alpha)
        if missing > 0:
            # The second look, about as large as the first: before it no estimate is believed, however small.
            return self._cut(self._z(), -1.0, min(room, missing), PARTS)
        error = self.error
        if error <= self.aim.tolerance:
            return np.empty(0)
        z = self._z()
        # What the mean square may be for the estimate to be as asked: cuts leave the share between them about the same.
        allowed = (self.aim.tolerance / error) ** 2 * z.sum() / 12
        return self._cut(z, allowed, growth, PARTS)

    def add(self, alpha: Array, scores: Array, points: Array, gradients: Array) -> None:
        """Take in what was evaluated at new positions; points and gradients are (n, features)."""
        order = np.argsort(np.concatenate([self.alpha, alpha]), kind="stable")
        before = len(self.alpha)
        old = order < before
        self.alpha = np.concatenate([self.alpha, alpha])[order]
        self.scores = np.concatenate([self.scores, scores])[order]
        self.points = [[*self.points, *points][i] for i in order] if before else list(points)
        self.gradients = [[*self.gradients, *gradients][i] for i in order] if before else list(gradients)
        # An interval between two old neighbours is as it was; all others are new.
        kept = old[1:] & old[:-1]
        tables = np.empty((3, len(self.alpha) - 1))
        if before > 1:
            tables[:, kept] = np.stack([self.squares, self.gaps, self.sums])[:, order[:-1][kept]]
        for t in np.flatnonzero(~kept).tolist():
            tables[:, t] = self._interval(t)
        self.squares, self.gaps, self.sums = tables

    def _interval(self, t: int) -> tuple[float, float, float]:
        moved = self.points[t + 1] - self.points[t]
        turned = (self.gradients[t + 1] - self.gradients[t]) * moved
        turn = float(turned.sum(dtype=np.float64))
        # ½⟨g + g', Δγ⟩ = ⟨g, Δγ⟩ + ½⟨g' − g, Δγ⟩
        mean = float((self.gradients[t] * moved).sum(dtype=np.float64)) + 0.5 * turn
        # In float64: squares of a saturated probability's gradients underflow in float32.
        squares = float(np.square(turned, dtype=np.float64).sum())
        return squares, float(self.scores[t + 1] - self.scores[t] - mean), turn

    def attributions(self) -> Array:
        """Return Σ ½(g + g') ⊙ Δγ over the intervals, (features,), float64."""
        total = np.zeros(len(self.points[0]))
        for t in range(len(self.points) - 1):
            moved = self.points[t + 1] - self.points[t]
            total += 0.5 * (self.gradients[t] + self.gradients[t + 1]) * moved
        return total

    @property
    def size(self) -> float:
        """‖A‖, up to date with the nodes."""
        if self._measured != len(self.alpha):
            self._size, self._measured = float(np.linalg.norm(self.attributions())), len(self.alpha)
        return self._size

    @property
    def error(self) -> float:
        """The estimated relative L2 error of the attributions."""
        if len(self.alpha) < 2:
            return 0.0
        off = np.sqrt(_square(self._z())) * (1 + FEW / len(self.alpha))
        return float(off / self.size) if self.size else (0.0 if off == 0 else np.inf)

    def _z(self) -> Array:
        gaps = np.where(np.isnan(self.gaps), 0.0, self.gaps)  # of a model without scores nothing is known
        along = float((self.sums**2).sum())
        if along > 0:
            return self.squares + 12 * GAP * self.squares.sum() / along * gaps**2
        # No gradient disagrees along the path, or none is there at all: then a score that moves tells of what lies
        # between, if it moves by more than float32 rounds it.
        moved = np.abs(gaps) > NOISE * np.abs(self.scores).max()
        return self.squares + 12 * GAP * np.where(moved, gaps, 0.0) ** 2

    def _share_of(self, room: int) -> int:
        """Return how many nodes this round of a budget may add: growing by the same factor each round."""
        first = min(START, self.aim.most)
        marks = np.round(np.geomspace(first, self.aim.most, ROUNDS + 1)).astype(int)[1:]
        return int(min(room, max(1, marks[marks > len(self.alpha)][0] - len(self.alpha))))

    def _cut(self, z: Array, allowed: float, most: int, each: int) -> Array:
        """Return the positions that cut intervals into parts of equal measure (see `_parts`)."""
        share = self.course.measure(self.alpha)
        parts = _parts(z, np.diff(share), allowed, most, each)
        which = np.repeat(np.arange(len(parts)), parts - 1)
        place = np.arange(len(which)) - np.repeat(np.cumsum(parts - 1) - (parts - 1), parts - 1) + 1
        found = self.course.at(share[which] + (share[which + 1] - share[which]) * place / parts[which])
        return np.setdiff1d(found, self.alpha)


def _square(z: Array) -> float:
    """Return the squared error that nine of ten are below, of intervals whose jumps have the squares z.

    A jump anywhere within its interval leaves z·u², u uniform in [−½, ½]: z/12 on average, with variance z²/180. Where
    few intervals carry the error they do not average out.
    """
    return float(z.sum() / 12 + QUANTILE * np.sqrt((z**2).sum() / 180))


def _parts(z: Array, width: Array, allowed: float, most: int, each: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Return the parts of each interval: the cut that lowers Σ z/(12 m²) most comes first, until it is allowed.

    At most `most` cuts, at most `each` parts an interval. Of cuts that gain the same, as where nothing is known, that
    of the widest parts comes first.
    """
    m = np.arange(1, max(2, min(each, most + 1)))[:, None]
    gain = (z / 12 * (1 / m**2 - 1 / (m + 1.0) ** 2)).ravel()
    order = np.lexsort(((-width / m).ravel(), -gain))
    left = z.sum() / 12 - np.cumsum(gain[order])
    count = min(int((left > allowed).sum()) + 1, most, len(order))
    return 1 + np.bincount(order[:count] % len(z), minlength=len(z))
