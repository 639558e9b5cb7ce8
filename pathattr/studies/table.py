"""The tidy table: one row for each example, setting and column of a metric; as CSV and Parquet."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pathattr.common.texts import csv_line
from pathattr.errors import MissingExtra
from pathattr.studies.data import Data
from pathattr.studies.setting import Setting
from pathattr.studies.store import COSTS, Found


@dataclass(frozen=True, eq=False)
class Table:
    """Columns by name, all of one length: text, float64 (NaN for nothing) or int64."""

    columns: Mapping[str, Any]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def csv(self) -> bytes:
        """Return the table as CSV in UTF-8; numbers with all their digits, empty cells for nothing."""
        columns = [column.tolist() if isinstance(column, np.ndarray) else column for column in self.columns.values()]
        return "".join(map(csv_line, [self.columns, *zip(*columns, strict=True)])).encode()

    def parquet(self) -> bytes:
        """Return the table as a Parquet file; raises MissingExtra without pyarrow."""
        arrow, parquet = arrow_modules()
        columns = {}
        for name, column in self.columns.items():
            numeric = isinstance(column, np.ndarray)
            # Text must stay text where every cell is empty.
            columns[name] = arrow.array(column, from_pandas=True) if numeric else arrow.array(column, arrow.string())
        buffer = io.BytesIO()
        parquet.write_table(arrow.table(columns), buffer)
        return buffer.getvalue()


def arrow_modules() -> tuple[Any, Any]:
    """Return pyarrow and its parquet module; raise MissingExtra where they are not installed."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtra.of("pyarrow", "study", "a Parquet file") from error
    return pa, parquet


def tidy(
    settings: Sequence[Setting], data: Data, class_name: Callable[[int], str], results: Mapping[str, Found]
) -> Table:
    """Return what settings found, in the order of settings, metrics and examples; `results` by setting.

    Beside each score stand the cost and the error of its attributions. Examples that are still to come have no rows;
    those that failed have empty values and the reason.
    """
    facts = list(dict.fromkeys(name for setting in settings for name in setting.facts))
    text: dict[str, list[str | None]] = {
        name: [] for name in ("setting", "example", "class", "metric", "column", "failed")
    }
    numbers: dict[str, list[Any]] = {name: [] for name in ("number", "target", "value", *COSTS)}
    fact_columns: dict[str, list[Any]] = {name: [] for name in facts}
    labels = data.labels
    for setting in settings:
        found = results[setting.name]
        rows = np.array(sorted({*found.rows.tolist(), *found.failed}), dtype=np.intp)
        for metric, scores in scores_of_all(results, setting.name):
            for column, values in scores.items():
                count = len(rows)
                text["setting"] += [setting.name] * count
                text["metric"] += [metric] * count
                text["column"] += [column] * count
                text["example"] += [data.names[row] for row in rows]
                text["class"] += [None if labels is None else class_name(int(labels[row])) for row in rows]
                text["failed"] += [found.failed.get(int(row)) for row in rows]
                numbers["number"].append(rows)
                numbers["target"].append(found.targets[rows])
                numbers["value"].append(values[rows])
                for name in COSTS:
                    numbers[name].append(found.costs[name][rows])
                for name in facts:
                    fact_columns[name] += [setting.facts.get(name)] * count
    arrays = {name: np.concatenate(parts) if parts else np.zeros(0) for name, parts in numbers.items()}
    return Table(
        {"setting": text["setting"]}
        | {name: _fact_column(column) for name, column in fact_columns.items()}
        | {"number": arrays["number"], "example": text["example"], "class": text["class"], "target": arrays["target"]}
        | {"metric": text["metric"], "column": text["column"], "value": arrays["value"]}
        | {name: arrays[name] for name in COSTS}
        | {"failed": text["failed"]}
    )


def scores_of_all(results: Mapping[str, Found], setting: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Return a setting's columns by metric; of NaN where it failed on every example and others did not."""
    own = results[setting].scores
    if own:
        return [(metric, scores.values) for metric, scores in own.items()]
    count = len(results[setting].targets)
    other: Mapping[str, Any] = next((found.scores for found in results.values() if found.scores), {})
    return [(metric, dict.fromkeys(scores.values, np.full(count, np.nan))) for metric, scores in other.items()]


def _fact_column(values: Sequence[Any]) -> Any:
    given = [value for value in values if value is not None]
    if given and all(isinstance(value, int | float) and not isinstance(value, bool) for value in given):
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return [None if value is None else str(value) for value in values]
