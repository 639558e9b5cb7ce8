"""One file for each setting and batch: what was found for every example, whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathattr.files import npz_bytes, write_atomically
from pathattr.layout import Array
from pathattr.metrics.scores import Curve, Scores

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
class Store:
    """The results below a folder, of the plan with this fingerprint."""

    folder: Path
    fingerprint: str

    def path(self, batch: int, setting: str) -> Path:
        """Return the file of a batch and a setting, readable, and apart from those of names that look alike."""
        slug = re.sub(r"[^A-Za-z0-9.=]+", "-", setting).strip("-.")[:60]
        return self.folder / f"batch-{batch:04d}" / f"{slug}-{hashlib.sha256(setting.encode()).hexdigest()[:6]}.npz"

    def write(self, path: Path, found: Found) -> None:
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
            "fingerprint": self.fingerprint,
            "metrics": metrics,
            "failed": {str(row): reason for row, reason in found.failed.items()},
            "maps": list(found.maps),
        }
        arrays["record"] = np.frombuffer(json.dumps(record).encode(), dtype=np.uint8)
        write_atomically(path, npz_bytes(**arrays))

    def read(self, path: Path) -> Found | None:
        """Return what a file holds; None where there is none, it is damaged, or it belongs to another plan."""
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            record = json.loads(arrays["record"].tobytes())
            if record["fingerprint"] != self.fingerprint:
                return None
            return Found(
                rows=arrays["rows"],
                targets=arrays["targets"],
                costs={name: arrays[name] for name in COSTS},
                scores={m["name"]: _scores(arrays, index, m) for index, m in enumerate(record["metrics"])},
                failed={int(row): reason for row, reason in record["failed"].items()},
                maps={row: arrays[f"map_{row}"] for row in record["maps"]},
            )
        except Exception:  # whatever np.load and the zip and JSON readers make of a damaged file: it is made again
            return None


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
