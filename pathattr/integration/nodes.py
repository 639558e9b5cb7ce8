"""Where along a path the nodes lie: uniform, at equal arc length, where the score moves, or refined by gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pathattr.common.axes import Array
from pathattr.common.checks import is_number, whole
from pathattr.errors import InvalidInput
from pathattr.integration.quadrature import Edges, uniform_edges
from pathattr.paths.schedules import Schedule

GRID = 2049
BINS = 1024
POWER = 0.75
"""Of ‖dγ/dα‖ in the measure that nodes are spread by: 1 would be arc length, 0 uniform in α; 0.75 measured best."""


@dataclass(frozen=True)
class Course:
    """How fast a path moves: the schedule, and strength and energy (L2 norm) of every component."""

    schedule: Schedule
    strengths: Array
    energy: Array

    @cached_property
    def _measure(self) -> tuple[Array, Array]:
        """A grid of α and ∫‖dγ/dα‖^POWER dα up to each position, from 0 to 1.

        Components are taken as orthogonal, and those of about the same strength together.
        """
        alpha = np.linspace(0.0, 1.0, GRID)
        energy = self.energy / max(self.energy.max(initial=0.0), np.finfo(float).tiny)
        bins = np.minimum((self.strengths * BINS).astype(int), BINS - 1)
        squares = np.bincount(bins, weights=energy**2, minlength=BINS)
        held = np.bincount(bins, weights=energy**2 * self.strengths, minlength=BINS)
        kept = squares > 0
        gates = self.schedule.gates(np, alpha[:, None], (held[kept] / squares[kept])[None])
        length = np.sqrt((np.diff(gates, axis=0) ** 2) @ squares[kept])
        total = np.concatenate([[0.0], np.cumsum((length * (GRID - 1)) ** POWER)])
        return alpha, total / max(total[-1], np.finfo(float).tiny)

    def measure(self, alpha: Array) -> Array:
        """Return how much of the path, in [0, 1], lies before each α."""
        return np.interp(alpha, *self._measure)

    def at(self, share: Array) -> Array:
        """Return the α before which such a share of the path lies; 0 and 1 exactly at the ends."""
        alpha, measure = self._measure
        # The next grid position with more of the path behind it: before it the path moves, whatever rests before that.
        k = np.clip(np.searchsorted(measure, share, side="right"), 1, GRID - 1)
        moved = np.maximum(measure[k] - measure[k - 1], np.finfo(float).tiny)
        found = alpha[k - 1] + (alpha[k] - alpha[k - 1]) * np.clip((share - measure[k - 1]) / moved, 0.0, 1.0)
        return np.where(share <= 0, 0.0, np.where(share >= 1, 1.0, found))

    def edges(self, share: Array) -> Edges:
        """Return the edges at shares of the path that rise from 0 to 1."""
        alpha = np.unique(self.at(share))
        return Edges(alpha, alpha, np.zeros(len(alpha)), 0.5 * (alpha[1:] + alpha[:-1]))


@dataclass(frozen=True)
class Nodes(ABC):
    """A rule that gives a path its edges; a path that never moves has those of `Uniform`."""

    @property
    def passes(self) -> int:
        """The forward passes that placing the nodes of one path takes."""
        return 0

    @abstractmethod
    def edges(self, course: Course, steps: int, scores: Callable[[Array], Array]) -> Edges:
        """Return the edges of `steps` intervals; `scores(alpha)` gives the explained score by forward passes."""


@dataclass(frozen=True)
class Uniform(Nodes):
    """Equal intervals in α, without those on which nothing moves: the published placement."""

    def edges(self, course: Course, steps: int, scores: Callable[[Array], Array]) -> Edges:
        return uniform_edges(course.schedule, course.strengths, course.energy, steps)


@dataclass(frozen=True)
class ArcLength(Nodes):
    """Equal shares of the path's length, ∫‖dγ/dα‖^0.75 dα."""

    def edges(self, course: Course, steps: int, scores: Callable[[Array], Array]) -> Edges:
        return course.edges(np.linspace(0.0, 1.0, steps + 1))


@dataclass(frozen=True)
class OutputAware(Nodes):
    """Dense where the score moves: in proportion to (1 − mixture)·|ΔF|^exponent + mixture, over shares of the length.

    ΔF are the differences of the score between `grid` positions at equal shares of the path (forward passes).
    """

    grid: int = 33
    exponent: float = 0.5
    mixture: float = 0.3

    def __post_init__(self) -> None:
        whole("grid", self.grid, least=3)
        for name, value in (("exponent", self.exponent), ("mixture", self.mixture)):
            if not is_number(value) or not 0 < value <= 1:
                raise InvalidInput(f"OutputAware takes {name} in (0, 1]; got {value!r}")

    @property
    def passes(self) -> int:
        return self.grid

    def edges(self, course: Course, steps: int, scores: Callable[[Array], Array]) -> Edges:
        share = np.linspace(0.0, 1.0, self.grid)
        with np.errstate(invalid="ignore", over="ignore"):
            moved = np.abs(np.diff(scores(course.at(share)))) ** self.exponent
        # A score that is not known tells nothing, and one that is not finite is named when a node meets it.
        moved = np.where(np.isfinite(moved), moved, 0.0)
        density = self.mixture / len(moved) + (1 - self.mixture) * moved / max(moved.sum(), np.finfo(float).tiny)
        total = np.concatenate([[0.0], np.cumsum(density)])
        return course.edges(np.interp(np.linspace(0.0, 1.0, steps + 1), total / total[-1], share))


@dataclass(frozen=True)
class Refined(Nodes):
    """Intervals cut where neighbouring gradients disagree most (see `refinement`), by the trapezoidal rule.

    Every gradient taken is kept and used: it holds those of the images in work in memory. With `steps="auto"` it goes
    on until the estimated error is below the tolerance, with a number of steps for so many gradients.
    """

    def edges(self, course: Course, steps: int, scores: Callable[[Array], Array]) -> Edges:
        return course.edges(np.linspace(0.0, 1.0, steps + 1))


NODES: dict[str, Callable[[], Nodes]] = {
    "uniform": Uniform,
    "arc-length": ArcLength,
    "output-aware": OutputAware,
    "refined": Refined,
}
