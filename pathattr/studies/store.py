"""One file for each setting and batch: what was found for every example, whole or not at all."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathattr.common.archives import Archive, Unreadable, packed
from pathattr.common.axes import Array
from pathattr.common.files import write_atomically
from pathattr.metrics.plots import Curve
from pathattr.metrics.scores import Scores

KIND, FORMAT = "pathattr study result", 2
COSTS = ("score", "baseline_score", "gradients", "gap", "relative_gap", "error")


@dataclass(frozen=True, eq=False)
class Found:
    """What a setting's attributions of one batch are worth.

    `rows` (k,) are the numbers of the examples that worked; `scores` by the metric's name, `costs` (`COSTS`) and
    `targets` are of those, (k,). `failed` gives the reasons of the others, `maps` signed maps (h, w) of a few.
    """

    rows: NDArray[np.intp]
    targets: NDArray[np.intp]
    costs: Mapping[str, Array]
    scores: Mapping[str, Scores]
    failed: Mapping[int, str]
    maps: Mapping[int, Array]


@dataclass(frozen=True)
class Unit:
    """What one file is about: a setting, by name, on a batch, by its number and the numbers of its examples."""

    batch: int
    rows: Sequence[int]
    setting: str


@dataclass(frozen=True)
class Store:
    """The results below a folder, of the plan with this fingerprint."""

    folder: Path
    fingerprint: str

    def path(self, unit: Unit) -> Path:
        """Return the file of a unit, readable, and apart from those of settings whose names look alike."""
        slug = re.sub(r"[^A-Za-z0-9.=]+", "-", unit.setting).strip("-.")[:60]
        digest = hashlib.sha256(unit.setting.encode("utf-8", "backslashreplace")).hexdigest()[:6]
        return self.folder / f"batch-{unit.batch:04d}" / f"{slug}-{digest}.npz"

    def write(self, unit: Unit, found: Found) -> None:
        """Write what was found; the same bytes for the same."""
        arrays: dict[str, Any] = {"rows": found.rows, "targets": found.targets} | dict(found.costs)
        metrics = []
        for m, (name, scores) in enumerate(found.scores.items()):
            for k, column in enumerate(scores.values.values()):
                arrays[f"value_{m}_{k}"] = column
            for k, curve in enumerate(scores.curves.values()):
                arrays[f"x_{m}_{k}"], arrays[f"curve_{m}_{k}"] = curve.x, curve.values
            curves = {key: (curve.x_label, curve.y_label) for key, curve in scores.curves.items()}
            metrics.append({"name": name, "metric": scores.metric, "better": dict(scores.better), "curves": curves})
        for row, values in found.maps.items():
            arrays[f"map_{row}"] = values
        record = {
            **self._told(unit),
            "metrics": metrics,
            "failed": {str(row): reason for row, reason in found.failed.items()},
            "maps": list(found.maps),
        }
        write_atomically(self.path(unit), packed(KIND, FORMAT, record, arrays))

    def read(self, unit: Unit) -> Found | None:
        """Return what was found of a unit; None where there is nothing yet.

        Raises Unreadable where there is a file that is damaged, or is about something else than its name says.
        """
        try:
            with Archive(self.path(unit), KIND, (FORMAT,)) as archive:
                return self._read(unit, archive)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unreadable(error.strerror or str(error)) from error
        except (KeyError, TypeError, ValueError, AttributeError, AssertionError) as error:  # a record of another form
            raise Unreadable(f"its record is not one of a study's result ({error})") from error

    def set_aside(self, unit: Unit) -> Path:
        """Rename the file of a unit, so that it can be looked at, and made again; return its new name."""
        path = self.path(unit)
        number = 1
        while (aside := path.with_name(f"{path.name}.set-aside-{number}")).exists():
            number += 1
        return path.rename(aside)

    def _told(self, unit: Unit) -> dict[str, Any]:
        """Return what a file says that it is about."""
        return {"fingerprint": self.fingerprint, "setting": unit.setting, "batch": unit.batch, "rows": list(unit.rows)}

    def _read(self, unit: Unit, archive: Archive) -> Found:
        record = archive.record
        for name, expected in self._told(unit).items():
            if record[name] != expected:
                raise Unreadable(f"it is about another {'study' if name == 'fingerprint' else name}")
        members = [name for name in record["members"] if isinstance(name, str)]
        archive.check_size({name: archive.header(name) for name in members}, None)
        arrays = {name: archive.array(name) for name in members}
        failed = {int(row): str(reason) for row, reason in record["failed"].items()}
        rows = arrays["rows"]
        if rows.tolist() != [row for row in unit.rows if row not in failed] or not {*failed} <= {*unit.rows}:
            raise Unreadable("its examples are not those of its batch, in their order")
        for name, array in arrays.items():
            if not name.startswith(("x_", "map_")) and array.shape[:1] != rows.shape:
                raise Unreadable(f"{name!r} does not tell of each of its {len(rows)} examples")
        return Found(
            rows=rows,
            targets=arrays["targets"],
            costs={name: arrays[name] for name in COSTS},
            scores={m["name"]: _scores(arrays, index, m) for index, m in enumerate(record["metrics"])},
            failed=failed,
            maps={row: arrays[f"map_{row}"] for row in record["maps"]},
        )


def _scores(arrays: Mapping[str, Any], index: int, record: Mapping[str, Any]) -> Scores:
    return Scores(
        record["metric"],
        {name: arrays[f"value_{index}_{k}"] for k, name in enumerate(record["better"])},
        record["better"],
        {
            name: Curve(arrays[f"x_{index}_{k}"], arrays[f"curve_{index}_{k}"], x_label, y_label)
            for k, (name, (x_label, y_label)) in enumerate(record["curves"].items())
        },
    )


def joined(parts: Sequence[Found], count: int) -> Found:
    """Return the batches of a setting as one of `count` examples: NaN, and target −1, where an example failed."""
    worked = [part for part in parts if len(part.rows)]
    rows = np.concatenate([part.rows for part in parts]) if parts else np.zeros(0, np.intp)

    def placed(columns: Sequence[Array]) -> Array:
        filled = np.full((count, *columns[0].shape[1:]), np.nan)
        filled[rows] = np.concatenate(columns)
        return filled

    targets = np.full(count, -1, np.intp)
    if not worked:
        return Found(rows, targets, {name: np.full(count, np.nan) for name in COSTS}, {}, _failed(parts), {})
    targets[rows] = np.concatenate([part.targets for part in worked])
    scores = {}
    for name, first in worked[0].scores.items():
        several = [part.scores[name] for part in worked]
        scores[name] = Scores(
            first.metric,
            {column: placed([part.values[column] for part in several]) for column in first.values},
            first.better,
            {
                key: Curve(curve.x, placed([part.curves[key].values for part in several]), curve.x_label, curve.y_label)
                for key, curve in first.curves.items()
            },
        )
    costs = {name: placed([part.costs[name] for part in worked]) for name in COSTS}
    return Found(rows, targets, costs, scores, _failed(parts), {k: v for part in parts for k, v in part.maps.items()})


def _failed(parts: Sequence[Found]) -> dict[int, str]:
    return {row: reason for part in parts for row, reason in part.failed.items()}
