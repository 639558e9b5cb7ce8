"""Curves of a metric as matplotlib figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pathattr.common.axes import Array
from pathattr.common.checks import is_number
from pathattr.errors import InvalidInput, MissingExtra

if TYPE_CHECKING:
    from matplotlib.figure import Figure


RESAMPLES = 2000
"""Enough for a band as wide as a line can show."""


@dataclass(frozen=True, eq=False)
class Curve:
    """A quantity at several places of an example's curve: `x` (points,), `values` (batch, points)."""

    x: Array
    values: Array
    x_label: str
    y_label: str


def compared(several: Mapping[str, tuple[str, Mapping[str, Curve]]], confidence: float = 0.95) -> Figure:
    """Return a figure with one panel a curve and one line a method, with bootstrap bands over the examples.

    `several` gives by label the metric's name and its curves. Raises InvalidInput where there are no curves or not the
    same ones, MissingExtra without matplotlib.
    """
    named = {label: list(curves) for label, (_, curves) in several.items()}
    names = next(iter(named.values()), [])
    if not names or any(own != names for own in named.values()):
        metrics = ", ".join(dict.fromkeys(metric for metric, _ in several.values())) or "nothing"
        raise InvalidInput(
            f"a figure needs scores of one metric, with curves; {metrics} has none, or not the same ones"
        )
    figure = _figure((3.4 * len(names), 3.0))
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for label, (_, curves) in several.items():
            curve = curves[name]
            mean, low, high = band(curve.values, confidence)
            (line,) = axes.plot(curve.x, mean, label=label)
            axes.fill_between(curve.x, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        axes.set(title=name, xlabel=curve.x_label, ylabel=curve.y_label)
    if any(several):
        axes.legend(fontsize="small")
    return figure


def retrained(ratios: Array, accuracies: Mapping[str, Array], intact: Array) -> Figure:
    """Return a figure of ROAR's accuracies, (runs, ratios) by ranking: a line for each, with the range of its runs.

    `intact` are those on whole images, (runs,), if any.
    """
    figure = _figure((4.8, 3.2))
    axes = figure.subplots()
    for name, accuracy in accuracies.items():
        (line,) = axes.plot(ratios, accuracy.mean(axis=0), marker="o", markersize=3, label=name)
        low, high = accuracy.min(axis=0), accuracy.max(axis=0)
        axes.fill_between(ratios, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    if len(intact):
        axes.axhline(intact.mean(), color="0.4", linestyle="--", linewidth=1, label="whole images")
    axes.set(xlabel="share of the pixels removed", ylabel="accuracy when trained anew", ylim=(0, 1))
    axes.legend(fontsize="small")
    return figure


def _figure(size: tuple[float, float]) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra.of("matplotlib", "plot", "a figure of curves") from error
    return Figure(figsize=size, layout="constrained")


def band(values: Array, confidence: float = 0.95, seed: int = 0) -> tuple[Array, Array, Array]:
    """Return the mean of curves (batch, points) with its percentile bootstrap band, three times (points,).

    NaN is left out of means. The same examples are drawn at every point: one product of matrices, where an interval
    of its own for each of RISE's 225 points would take a minute.
    """
    if not is_number(confidence) or not 0 < confidence < 1:
        raise InvalidInput(f"confidence is a share between 0 and 1; got {confidence!r}")
    known = np.isfinite(values)
    kept = np.where(known, values, 0.0)
    batch = len(values)
    drawn = np.random.default_rng(seed).multinomial(batch, np.full(batch, 1 / batch), RESAMPLES).astype(float)
    with np.errstate(invalid="ignore"):  # a resample without a known value has no mean
        mean, means = kept.sum(axis=0) / known.sum(axis=0), (drawn @ kept) / (drawn @ known)
    tail = 50 * (1 - confidence)
    missing = ~known.any(axis=0)
    means[:, missing] = 0.0  # so that nanpercentile has something to look at
    low, high = np.nanpercentile(means, [tail, 100 - tail], axis=0)
    return mean, np.where(missing, np.nan, low), np.where(missing, np.nan, high)
