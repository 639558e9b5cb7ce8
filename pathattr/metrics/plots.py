"""Curves of a metric as matplotlib figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from pathattr.errors import InvalidInput, MissingExtra
from pathattr.metrics.scores import Scores
from pathattr.metrics.statistics import bootstrap

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def curves(scores: Scores, confidence: float = 0.95) -> Figure:
    """Return a figure of one metric's mean curves, with bootstrap bands over the examples."""
    if not scores.curves:
        raise InvalidInput(f"{scores.metric} has no curves to plot; its values are {', '.join(scores.values)}")
    return compared({"": scores}, confidence)


def compared(several: Mapping[str, Scores], confidence: float = 0.95) -> Figure:
    """Return a figure with one panel a curve, one line a method, with bootstrap bands."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra.of("matplotlib", "plot", "a figure of curves") from error
    names = list(next(iter(several.values())).curves)
    figure = Figure(figsize=(3.4 * len(names), 3.0), layout="constrained")
    for axes, name in zip(np.ravel(figure.subplots(1, len(names), squeeze=False)), names, strict=True):
        for label, scores in several.items():
            curve = scores.curves[name]
            bands = [bootstrap(column, confidence=confidence) for column in curve.values.T]
            (line,) = axes.plot(curve.x, [band.mean for band in bands], label=label)
            low, high = [band.low for band in bands], [band.high for band in bands]
            axes.fill_between(curve.x, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        axes.set(title=name, xlabel=curve.x_label, ylabel=curve.y_label)
    if any(several):
        axes.legend(fontsize="small")
    return figure
