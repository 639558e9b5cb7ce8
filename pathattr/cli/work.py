"""What the commands do between parsing and printing: pictures in, explanations, files out."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from pathattr import scenes
from pathattr.cli.failures import models_own
from pathattr.cli.options import Settings, target_from
from pathattr.cli.outputs import ASKED
from pathattr.cli.placed_model import PlacedModel
from pathattr.cli.terminal import say
from pathattr.common.axes import Array
from pathattr.common.files import write_atomically, write_json
from pathattr.integration.engine import Progress
from pathattr.methods.path_explainer import PathExplainer
from pathattr.pictures.reading import read_picture
from pathattr.results import figures as rendering
from pathattr.results.attribution import Attribution

FILM = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)  # positions of a filmstrip: the early part of a path differs most

Options = tuple[str | None, str | None]  # --target and --contrast


@dataclass(frozen=True)
class Outcome:
    """One explanation of one picture, with its record."""

    record: dict[str, Any]
    attribution: Attribution
    explainer: PathExplainer
    shown: Array
    inputs: Array


def explain_picture(
    subject: PlacedModel,
    name: str,
    picture: Array,
    family: str,
    settings: Settings,
    options: Options,
    progress: Progress | None = None,
    asked: Mapping[str, Any] | None = None,
) -> Outcome:
    """Return the explanation of one picture along one family's path; `asked` is the question, for the record."""
    shown, inputs = subject.inputs(picture)
    explainer = settings.explainer(subject.model, subject.channel_axis, family)
    explainer.progress = progress or False
    target = target_from(*options, subject.model.classes)
    began = time.perf_counter()
    with models_own(inputs.shape, subject.backend.out_of_memory):
        attribution = explainer(inputs, target)
    if not attribution.evaluations[0]:
        say(f"note: {name} is its own baseline, nothing moves and every attribution is 0: say another --baseline")
    record = {
        "picture": name,
        "model": subject.spec,
        "family": family,
        "target": attribution.target[0].tolist(),
        "target_name": subject.target_name(attribution.target[0], contrast=options[1] is not None),
        **{
            # Of a gradient alone no score is known.
            fact: float(value) if np.isfinite(value := getattr(attribution, fact)[0]) else None
            for fact in ("score", "baseline_score", "gap", "relative_gap", "error")
        },
        "evaluations": int(attribution.evaluations[0]),
        "forward_passes": attribution.forward_passes,
        "seconds": round(time.perf_counter() - began, 3),
        "device": subject.device or "as the model",
        ASKED: dict(asked or {}),
        "settings": attribution.settings,
        "versions": versions(attribution.settings["backend"]),
    }
    return Outcome(record, attribution, explainer, shown, inputs)


def files_of(name: str, folder: Path) -> list[Path]:
    """Return the files of one explanation: overlay, map, arrays, and last the record."""
    return [folder / f"{name}.{kind}" for kind in ("overlay.png", "map.png", "npz", "json")]


def explain_one(
    subject: PlacedModel,
    path: Path,
    name: str,
    family: str,
    settings: Settings,
    options: Options,
    folder: Path,
    progress: Progress,
    asked: Mapping[str, Any],
) -> dict[str, Any]:
    """Explain the picture at `path` and write overlay, map, arrays and record; return the record."""
    outcome = explain_picture(subject, str(path), read_picture(path), family, settings, options, progress, asked)
    values = outcome.attribution.heatmap(percentile=None)[0]
    title, footer = _title(outcome), _caption(outcome)
    overlay, signed, arrays, record = files_of(name, folder)
    for file, figure in (
        (overlay, rendering.overlay(outcome.shown, values, title=title, footer=footer)),
        (signed, rendering.signed(values, title=title, footer=footer)),
    ):
        write_atomically(file, rendering.png_bytes(figure))
    outcome.attribution.save(arrays)
    write_json(record, outcome.record)
    return outcome.record


def compare_one(
    subject: PlacedModel,
    pictures: Sequence[tuple[str, Array]],
    families: Sequence[str],
    settings: Settings,
    options: Options,
    path: Path,
    advance: Callable[[], None],
    asked: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Explain pictures along several families' paths; write the grid and the records, and return them."""
    rows, records = [], []
    for name, picture in pictures:
        panels, outcomes = [], []
        for family in families:
            outcome = explain_picture(subject, name, picture, family, settings, options, asked=asked)
            points = outcome.explainer.path(outcome.inputs, FILM)[0]
            values = outcome.attribution.heatmap(percentile=None)[0]
            film = list(zip(FILM, subject.shown(points), strict=True))
            panels.append(rendering.Panel(_label(family), values, f"gap {_gap(outcome.record)}", film))
            outcomes.append(outcome)
            records.append(outcome.record)
            advance()
        row = outcomes[0]
        baseline = f"from {row.attribution.settings['baseline']}"
        rows.append(rendering.FigureRow(row.shown, f"{name}: {_title(row)}", panels, baseline))
    write_atomically(path, rendering.png_bytes(rendering.grid(rows)))
    write_json(path.with_suffix(".json"), records)
    return records


def demo_subjects(count: int, seed: int) -> list[tuple[str, Array]]:
    """Return generated scenes with their names."""
    made = scenes.generate(count, seed=seed)
    return [
        (f"scene {i} ({scenes.CLASSES[label]})", image.astype(np.float64))
        for i, (image, label) in enumerate(zip(made.images, made.labels, strict=True))
    ]


def summary(records: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return a table with one line per explanation, its header first."""
    rows = [["picture", "family", "explains", "F(x)", "F(x')", "gap", "gradients", "seconds"]]
    rows += [
        [
            Path(record["picture"]).name,
            record["family"],
            record["target_name"],
            _digits(record["score"], 4),
            _digits(record["baseline_score"], 4),
            _gap(record),
            str(record["evaluations"]),
            f"{record['seconds']:.1f}",
        ]
        for record in records
    ]
    return rows


def _title(outcome: Outcome) -> str:
    record = outcome.record
    # The number first: of a long name the end is cut off.
    return f"{record['settings']['output']} {_digits(record['score'], 3)} of {record['target_name']}"


def _caption(outcome: Outcome) -> str:
    record = outcome.record
    start = _digits(record["baseline_score"], 3)
    return f"{_label(record['family'])}, {record['evaluations']} gradients, F(x') = {start}, gap {_gap(record)}"


def _gap(record: Mapping[str, Any]) -> str:
    relative = record["relative_gap"]
    return _digits(record["gap"], 2) + ("" if relative is None else f" ({relative:.1%})")


def _digits(value: float | None, count: int) -> str:
    return "unknown" if value is None else f"{value:.{count}g}"


def _label(family: str) -> str:
    return {"linear": "linear (IG)", "svd": "SVD (SIG)", "svd-joint": "joint SVD", "dct": "DCT"}.get(family, family)


def module_version(name: str) -> str:
    """Return the version that an imported module tells of itself; its distribution may have another name."""
    return str(getattr(sys.modules.get(name), "__version__", "unknown"))


def versions(backend: str) -> dict[str, str]:
    """Return the versions that a result was made with."""
    ours = {"python": platform.python_version(), "pathattr": version("pathattr")}
    return ours | {name: module_version(name) for name in ("numpy", "scipy", backend)}
