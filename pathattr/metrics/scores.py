"""What a metric found: one value per example, the curves behind it, intervals and paired comparisons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pathattr.common.axes import Array
from pathattr.errors import InvalidInput
from pathattr.metrics.plots import Curve, compared
from pathattr.metrics.statistics import Interval, bootstrap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Better = Literal["higher", "lower"] | None


@dataclass(frozen=True, eq=False, repr=False)
class Scores:
    """A metric's values, (batch,) each, by name; the first is the score that gives the metric its name.

    `better` tells which way is better for each name: "higher", "lower" or None (neither). Examples on which a value is
    not defined are NaN and left out of means.
    """

    metric: str
    values: Mapping[str, Array]
    better: Mapping[str, Better]
    curves: Mapping[str, Curve] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert self.values
        assert self.values.keys() == self.better.keys()
        assert len({len(column) for column in self.values.values()}) == 1

    def __getitem__(self, name: str) -> Array:
        """Return one column, (batch,)."""
        if name not in self.values:
            raise InvalidInput(f"{self.metric} has no {name!r}; it has {', '.join(self.values)}")
        return self.values[name]

    @property
    def name(self) -> str:
        """The name of the score."""
        return next(iter(self.values))

    @property
    def score(self) -> Array:
        """The score of each example, (batch,)."""
        return self.values[self.name]

    def mean(self, name: str | None = None) -> float:
        """Return the mean of a column (default: the score) over the examples on which it is defined."""
        column = self[name or self.name]
        kept = column[np.isfinite(column)]
        return float(kept.mean()) if len(kept) else float("nan")

    def interval(self, name: str | None = None, *, confidence: float = 0.95, seed: int = 0) -> Interval:
        """Return the mean of a column with its bootstrap interval over the examples."""
        return bootstrap(self[name or self.name], confidence=confidence, seed=seed)

    def compare(self, other: Scores, name: str | None = None, *, confidence: float = 0.95, seed: int = 0) -> Interval:
        """Return the mean of self − other over the same examples, with its paired bootstrap interval.

        Raises InvalidInput where the two are not about the same metric and as many examples.
        """
        if not isinstance(other, Scores):
            raise InvalidInput(f"a comparison is between two Scores; got {type(other).__name__}: judge it first")
        if self.metric != other.metric or len(self.score) != len(other.score):
            raise InvalidInput(
                f"a comparison is paired, example by example: got {self.metric} of {len(self.score)} examples and "
                f"{other.metric} of {len(other.score)}; judge the same examples by one metric"
            )
        name = name or self.name
        return bootstrap(self[name] - other[name], confidence=confidence, seed=seed)

    def plot(self, *, confidence: float = 0.95) -> Figure:
        """Return a matplotlib figure of the mean curves with their intervals; MissingExtra without matplotlib."""
        return compared({"": (self.metric, self.curves)}, confidence)

    def __repr__(self) -> str:
        parts = ", ".join(f"{name} {self.interval(name)}" for name in self.values)
        return f"Scores({self.metric}: {parts}; {len(self.score)} examples)"

    @classmethod
    def join(cls, parts: list[Scores]) -> Scores:
        """Return the scores of batches as those of one; raises InvalidInput unless all are of one metric."""
        first = parts[0]
        if any(part.metric != first.metric or part.values.keys() != first.values.keys() for part in parts):
            raise InvalidInput(f"only scores of one metric can be joined; got {', '.join(p.metric for p in parts)}")
        return cls(
            first.metric,
            {name: np.concatenate([part.values[name] for part in parts]) for name in first.values},
            first.better,
            {
                name: Curve(
                    curve.x,
                    np.concatenate([part.curves[name].values for part in parts]),
                    curve.x_label,
                    curve.y_label,
                )
                for name, curve in first.curves.items()
            },
        )


def area(x: Array, values: Array) -> Array:
    """Return the area under curves (batch, points) by the trapezoidal rule, over the range of x."""
    # Not np.trapezoid, which NumPy 1 calls trapz.
    return np.asarray((np.diff(x) * (values[:, 1:] + values[:, :-1]) / 2).sum(axis=1) / (x[-1] - x[0]))


def as_record(scores: Scores) -> dict[str, Any]:
    """Return scores as plain values for JSON: columns, curves and what they are of."""
    return {
        "metric": scores.metric,
        "better": dict(scores.better),
        "values": {name: column.tolist() for name, column in scores.values.items()},
        "curves": {
            name: {
                "x": curve.x.tolist(),
                "values": curve.values.tolist(),
                "x_label": curve.x_label,
                "y_label": curve.y_label,
            }
            for name, curve in scores.curves.items()
        },
    }
