"""The figures of a study: score against overlap, the metrics' curves, maps side by side."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pathattr.errors import MissingExtra
from pathattr.metrics.plots import compared
from pathattr.metrics.scores import Scores
from pathattr.results.canvas import relative
from pathattr.results.figures import FigureRow, Panel, grid, scale_of
from pathattr.studies.setting import Setting
from pathattr.studies.store import Found
from pathattr.studies.summary import Key, Summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pathattr.studies.study import Study

LINES = 8  # of one figure: more cannot be told apart by colour
TALL = 12  # rows of maps in one figure
DPI = 150
ARROWS = {"higher": " ↑", "lower": " ↓", None: ""}


def needs_matplotlib() -> None:
    """Raise MissingExtra where no figure can be drawn."""
    try:
        import matplotlib as mpl  # noqa: F401  # only to see that it is there
    except ImportError as error:
        raise MissingExtra.of("matplotlib", "plot", "a study's figures") from error


def figures(study: Study, results: Mapping[str, Found], summary: Summary) -> Iterator[tuple[str, Figure]]:
    """Yield the name and the figure of everything that there is to draw, one at a time."""
    needs_matplotlib()
    if lines_of(study.settings):
        yield "overlap", against_overlap(study.settings, summary)
    names = list(results)
    reference = [summary.reference]
    pages = _pages(names, reference)
    metrics = [metric for metric, _ in summary.main]
    for metric in metrics:
        for number, page in enumerate(pages):
            several = {name: results[name].scores[metric] for name in page if metric in results[name].scores}
            if several and next(iter(several.values())).curves:
                slug = re.sub(r"[^A-Za-z0-9.]+", "-", metric).strip("-")
                yield f"curves-{slug}" + (f"-{number + 1}" if len(pages) > 1 else ""), curves(metric, several)
    maps = side_by_side(study, results, summary)
    if maps is not None:
        yield "maps", maps


def lines_of(settings: Sequence[Setting]) -> dict[str, list[Setting]]:
    """Return the settings that differ in their overlap alone, by what they have in common, in the order of overlaps."""
    lines: dict[str, list[Setting]] = {}
    for setting in settings:
        if setting.facts.get("overlap") is not None:
            lines.setdefault(_line(setting), []).append(setting)
    return {name: sorted(own, key=_overlap) for name, own in lines.items() if len({*map(_overlap, own)}) > 1}


def against_overlap(settings: Sequence[Setting], summary: Summary) -> Figure:
    """Return a figure with one panel a metric: the mean score against the overlap, with intervals.

    Settings that differ in their overlap alone are one line; all others are level and dashed.
    """
    from matplotlib.figure import Figure

    rows = {row.setting: row for row in summary.rows}
    lines = lines_of(settings)
    moving = {setting.name for own in lines.values() for setting in own}
    level = [setting for setting in settings if setting.name not in moving]
    count = len(summary.main)
    columns = min(count, 3)
    height = -(-count // columns)
    figure = Figure(figsize=(3.6 * columns, 2.9 * height), layout="constrained")
    panels = np.ravel(figure.subplots(height, columns, squeeze=False))
    for axes, key in zip(panels, summary.main, strict=False):
        for k, (name, own) in enumerate(lines.items()):
            bands = [rows[setting.name].scores[key] for setting in own]
            x = [_overlap(setting) for setting in own]
            style = {"color": f"C{k % 10}", "linestyle": ("-", ":")[k // 10 % 2]}
            axes.plot(x, [band.mean for band in bands], label=name, marker="o", markersize=3, **style)
            low, high = [band.low for band in bands], [band.high for band in bands]
            axes.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)
        for k, setting in enumerate(level, start=len(lines)):
            band = rows[setting.name].scores[key]
            axes.axhline(band.mean, label=setting.name, color=f"C{k % 10}", linestyle="--", linewidth=1)
        title, label = key[0] + ARROWS[summary.better[key]], key[1].replace("_", " ")
        axes.set_title(title, parse_math=False)
        axes.set(xlabel="overlap ω")
        axes.set_ylabel(label, parse_math=False)
    for axes in panels[count:]:
        axes.set_axis_off()
    _legend(figure, panels[0])
    return figure


def curves(metric: str, several: Mapping[str, Scores]) -> Figure:
    """Return the curves of several settings under one metric, with one legend beside them."""
    figure = compared({label: (scores.metric, scores.curves) for label, scores in several.items()})
    for axes in figure.axes:
        legend = axes.get_legend()
        if legend is not None:
            legend.remove()
    figure.suptitle(metric, fontsize="medium", parse_math=False)
    _legend(figure, figure.axes[0])
    return figure


def side_by_side(study: Study, results: Mapping[str, Found], summary: Summary) -> Figure | None:
    """Return the maps of a few examples by all settings; None where there are no pictures to show.

    Each map is on a scale of its own, since methods differ in their units. Under it stands what its setting scores on
    that example by the first metric.
    """
    key = summary.main[0]
    lines = -(-(1 + len(results)) // 6)
    rows = []
    for row in study.shown[: max(1, TALL // lines)]:
        shown = study.data.batch([row]).shown
        if shown is None:
            return None
        panels = [
            Panel(name, relative(found.maps[row], scale_of(found.maps[row])), _caption(found, key, row))
            for name, found in results.items()
            if row in found.maps
        ]
        if panels:
            labels, name = study.data.labels, study.data.names[row]
            title = name if labels is None else f"{name}, {study.class_name(int(labels[row]))}"
            rows.append(FigureRow(shown[0], title, panels))
    footer = (
        "Full colour: the 99th percentile of each map's own |a|. Under it: "
        f"{key[1].replace('_', ' ')} ({key[0]}) of that example."
    )
    return grid(rows, percentile=100.0, footer=footer) if rows else None


def _caption(found: Found, key: Key, row: int) -> str:
    value = found.scores[key[0]].values[key[1]][row]
    return "–" if np.isnan(value) else f"{value:.3g}"


def _overlap(setting: Setting) -> float:
    return float(setting.facts["overlap"] or 0.0)


def _line(setting: Setting) -> str:
    """Return what is left of a setting's name without its overlap; of names that do not tell it, the facts in words."""
    name = re.sub(r",?\s*ω=[\d.]+", "", setting.name)
    words = " ".join(value for value in setting.facts.values() if isinstance(value, str))
    return name if name != setting.name else words or name


def _pages(names: Sequence[str], reference: Sequence[str]) -> list[list[str]]:
    """Return the settings of each figure, the reference in all of them."""
    if len(names) <= LINES + 2:
        return [list(names)]
    others = [name for name in names if name not in reference]
    count = -(-len(others) // (LINES - 1))
    size = -(-len(others) // count)
    return [[*reference, *others[k * size : (k + 1) * size]] for k in range(count)]


def _legend(figure: Figure, axes: Any) -> None:
    figure.set_dpi(DPI)
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1 or any(labels):
        legend = figure.legend(handles, labels, loc="outside right center", fontsize="small", frameon=False)
        # Beside the panels, not at their cost.
        width = max((len(label) for label in labels), default=0) * 0.075 + 0.6
        figure.set_size_inches(figure.get_figwidth() + width, max(figure.get_figheight(), 0.19 * len(labels) + 0.4))
        for text in legend.get_texts():
            text.set_parse_math(False)
