"""One row a setting: means with intervals, paired differences to a reference, cost and error; Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pathattr.common.axes import Array
from pathattr.common.texts import csv_line, latex, markdown, visible
from pathattr.errors import InvalidInput
from pathattr.metrics.statistics import Interval, bootstrap
from pathattr.studies.store import Found

Key = tuple[str, str]  # metric, column

HEADER = (
    "setting", "metric", "column", "better", "examples", "mean", "low", "high", "difference", "difference_low",
    "difference_high", "failed", "gradients", "gap", "error", "missed",
)  # fmt: skip

_ARROWS = {"higher": " ↑", "lower": " ↓"}


@dataclass(frozen=True)
class SettingSummary:
    """What a setting comes to: `scores` and paired `differences` to the reference by metric and column.

    `gradients` is the mean per example; `gap`, |ΣA − (F(x) − F(x'))| over |F(x) − F(x')|, and `error`, the estimated
    relative L2 error, are medians; NaN where nothing is known. `missed` counts examples whose estimated error exceeds
    the tolerance that was asked.
    """

    setting: str
    examples: int
    failed: int
    gradients: float
    gap: float
    error: float
    missed: int
    scores: Mapping[Key, Interval]
    differences: Mapping[Key, Interval]


@dataclass(frozen=True)
class Summary:
    """A study's rows, and which way each column is better: "higher", "lower" or None."""

    rows: Sequence[SettingSummary]
    reference: str
    better: Mapping[Key, str | None]
    notes: Sequence[str] = ()

    @property
    def main(self) -> list[Key]:
        """The score that gives each metric its name: its first column."""
        seen: dict[str, Key] = {}
        for key in self.better:
            seen.setdefault(key[0], key)
        return list(seen.values())

    def csv(self) -> bytes:
        """Return every column of every metric with its interval and difference, one row a setting and column."""
        lines = [csv_line(HEADER)]
        for row in self.rows:
            for (metric, column), better in self.better.items():
                score, other = row.scores[metric, column], row.differences.get((metric, column))
                ends = (None,) * 3 if other is None else (other.mean, other.low, other.high)
                numbers = [score.count, score.mean, score.low, score.high, *ends]
                costs = [row.failed, row.gradients, row.gap, row.error, row.missed]
                lines.append(csv_line([row.setting, metric, column, better, *numbers, *costs]))
        return "".join(lines).encode()

    def cells(self) -> list[list[str]]:
        """Return the table of scores as text, its header first."""
        return self._scores(visible, _ARROWS)

    def markdown(self) -> bytes:
        """Return the tables of scores and of differences as Markdown."""
        parts = [_markdown(self._scores(markdown, _ARROWS))]
        if len(self.rows) > 1:
            reference = markdown(self.reference)
            parts.append(f"Difference to *{reference}*, example by example; bold where the interval leaves out 0:")
            parts.append(_markdown(self._differences(markdown, _ARROWS, "**{}**")))
        parts.append(READING)
        if self.notes:
            parts.append("\n".join(f"- {markdown(' '.join(note.split()))}" for note in self.notes))
        return ("\n\n".join(parts) + "\n").encode()

    def latex(self) -> bytes:
        """Return the same as two LaTeX tabulars, for booktabs."""
        mark = {"higher": r" $\uparrow$", "lower": r" $\downarrow$"}
        parts = [_latex(self._scores(latex, mark))]
        if len(self.rows) > 1:
            parts.append(f"% paired difference to {visible(self.reference)}")
            parts.append(_latex(self._differences(latex, mark, r"\textbf{{{}}}")))
        return ("\n\n".join(parts) + "\n").encode()

    def _scores(self, escape: Callable[[str], str], mark: Mapping[str, str]) -> list[list[str]]:
        header = ["setting", *(escape(key[0]) + self._mark(key, mark) for key in self.main)]
        digits = {key: _digits([row.scores[key].mean for row in self.rows]) for key in self.main}
        lines = [
            [
                escape(row.setting),
                *(_interval(row.scores[key], digits[key]) for key in self.main),
                "–" if np.isnan(row.gradients) else f"{row.gradients:.0f}",
                _percent(row.gap, escape),
                _percent(row.error, escape),
                str(row.examples) + (f" ({row.failed} failed)" if row.failed else ""),
            ]
            for row in self.rows
        ]
        return [[*header, "gradients", "gap", "error", "examples"], *lines]

    def _differences(self, escape: Callable[[str], str], mark: Mapping[str, str], bold: str) -> list[list[str]]:
        lines = [["setting", *(escape(key[0]) + self._mark(key, mark) for key in self.main)]]
        digits = {key: _digits([row.scores[key].mean for row in self.rows]) for key in self.main}
        for row in self.rows:
            if row.setting == self.reference:
                continue
            cells = []
            for key in self.main:
                interval = row.differences[key]
                text = _interval(interval, digits[key], signed=True)
                # Equal settings differ by what single precision rounds off; that is decided, and nothing.
                told = interval.decided and abs(interval.mean) > 1e-6 * max(1.0, abs(row.scores[key].mean))
                cells.append(bold.format(text) if told else text)
            lines.append([escape(row.setting), *cells])
        return lines

    def _mark(self, key: Key, mark: Mapping[str, str]) -> str:
        return mark.get(self.better[key] or "", "")


READING = (
    "Means over the examples, with 95% bootstrap intervals. *gradients*: the mean per example; *gap*: the median of "
    "|ΣA − (F(x) − F(x'))| over |F(x) − F(x')|; *error*: the median of the estimated relative L2 error, – where "
    "nothing estimates it. Each interval is about one comparison: among twenty, one leaves out 0 by chance."
)


def summarised(
    results: Mapping[str, Found],
    reference: str | None = None,
    *,
    tolerance: float | None = None,
    notes: Sequence[str] = (),
) -> Summary:
    """Return the summary of a study's results by setting; the reference is the first unless one is named.

    Raises InvalidInput for a reference that is no setting.
    """
    names = list(results)
    chosen = names[0] if reference is None else matching(reference, names)
    better: dict[Key, str | None] = {}
    for found in results.values():
        for metric, judged in found.scores.items():
            better |= {(metric, column): way for column, way in judged.better.items()}
    rows = []
    for name, found in results.items():
        scores: dict[Key, Interval] = {}
        differences: dict[Key, Interval] = {}
        for key in better:
            values = _column(found, key)
            scores[key] = bootstrap(values)
            if name != chosen:
                differences[key] = bootstrap(values - _column(results[chosen], key))
        error = found.costs["error"]
        rows.append(
            SettingSummary(
                name,
                len(found.rows),
                len(found.failed),
                _middle(found.costs["gradients"], np.mean),
                _middle(found.costs["relative_gap"], np.median),
                _middle(error, np.median),
                0 if tolerance is None else int((error > tolerance).sum()),
                scores,
                differences,
            )
        )
    missed = [
        f"{row.setting}: on {row.missed} of {row.examples} examples the estimated error stayed above the tolerance."
        for row in rows
        if row.missed
    ]
    return Summary(rows, chosen, better, [*notes, *missed])


def matching(given: str, names: Sequence[str]) -> str:
    """Return the setting that a user means; ω may be written w."""
    plain = {name: " ".join(name.replace("ω", "w").lower().split()) for name in names}
    wanted = " ".join(given.replace("ω", "w").lower().split())
    for name in names:
        if plain[name] == wanted:
            return name
    raise InvalidInput(f"no setting is called {given!r}; there are {', '.join(map(repr, names))}")


def _column(found: Found, key: Key) -> Array:
    metric, column = key
    if metric not in found.scores:  # it failed on every example
        return np.full(len(found.targets), np.nan)
    return found.scores[metric].values[column]


def _middle(values: Array, of: Any) -> float:
    kept = values[~np.isnan(values)]
    return float(of(kept)) if len(kept) else float("nan")


def _digits(means: Sequence[float]) -> int:
    """Return how many decimals show three digits of the largest mean, at least three."""
    largest = max((abs(mean) for mean in means if np.isfinite(mean)), default=1.0)
    return int(np.clip(2 - np.floor(np.log10(largest)), 3, 9)) if largest > 0 else 3


def _interval(interval: Interval, digits: int, signed: bool = False) -> str:
    if not interval.count:
        return "–"
    sign = "+" if signed else ""
    mean = f"{interval.mean:{sign}.{digits}f}"
    if np.isnan(interval.low):
        return mean
    return f"{mean} [{interval.low:{sign}.{digits}f}, {interval.high:{sign}.{digits}f}]".replace("-", "−")


def _percent(share: float, escape: Callable[[str], str]) -> str:
    if np.isnan(share):
        return "–"
    return "∞" if np.isinf(share) else escape(f"{share:.1%}" if share >= 0.001 else f"{share:.1e}")


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    rows = [f"| {' | '.join(line)} |" for line in lines]
    rule = "|" + "---|" + "---:|" * (len(lines[0]) - 1)
    return "\n".join([rows[0], rule, *rows[1:]])


def _latex(lines: Sequence[Sequence[str]]) -> str:
    body = [
        " & ".join(cell.replace("−", "$-$").replace("–", "--").replace("∞", r"$\infty$") for cell in line) + r" \\"
        for line in lines
    ]
    columns = "l" + "r" * (len(lines[0]) - 1)
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            body[0],
            r"\midrule",
            *body[1:],
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )
