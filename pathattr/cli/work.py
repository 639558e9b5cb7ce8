"""What the commands do between parsing and printing: pictures in, explanations, files out."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from pathattr import rendering, scenes
from pathattr.attribution import Attribution
from pathattr.backend import Call
from pathattr.cli.options import Settings, target_from
from pathattr.engine import Progress
from pathattr.errors import InvalidInput
from pathattr.explainer import PathExplainer
from pathattr.files import write_atomically, write_json
from pathattr.images import ImageModel, prepare, read_picture
from pathattr.layout import Array
from pathattr.registry import backend_for, wrapped

FILM = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)  # positions of a filmstrip: the early part of a path differs most

Options = tuple[str | None, str | None]  # --target and --contrast


class Subject:
    """A model ready for pictures: placed on its device, with its size and where it wants channels."""

    def __init__(
        self,
        image_model: ImageModel,
        spec: str,
        device: str | None,
        size: int | None = None,
        backend: str | None = None,
    ) -> None:
        if size is not None:
            image_model = replace(image_model, size=size)
        probe = np.zeros((1, 3, 8, 8), np.float32)
        adapter = backend_for(image_model.model, probe, backend)
        if device is not None:
            image_model = replace(image_model, model=adapter.place(image_model.model, device))
        axis = image_model.channel_axis
        self.model, self.spec, self.device = image_model, spec, device
        found = wrapped(image_model.model, probe, Call(), backend).channel_axis if axis == "auto" else axis
        if found is None:
            raise InvalidInput(
                f"where {spec} takes the channels cannot be known of it: say ImageModel(channel_axis=1) or (-1)"
            )
        self.channel_axis = found

    def read(self, named: Sequence[tuple[str, Path]]) -> list[tuple[str, Array]]:
        """Return the pictures of named files."""
        return [(name, read_picture(path)) for name, path in named]

    def inputs(self, picture: Array) -> tuple[Array, Array]:
        """Return a picture as shown, (h, w, 3) in [0, 1], and as a batch of one for the model, float32."""
        shown, inputs = prepare(picture, self.model)
        return shown, np.moveaxis(inputs, 0, self.channel_axis - 1 if self.channel_axis > 0 else -1)[None].astype(
            np.float32
        )

    def shown(self, points: Array) -> list[Array]:
        """Return points of a path, (n, *example) in input space, as pictures in [0, 1]; what lies outside is cut."""
        first = np.moveaxis(points, self.channel_axis, 1)
        preprocessing = self.model.preprocessing
        raw = [p if preprocessing is None else preprocessing.restore(p) for p in first]
        return [np.clip(np.moveaxis(p, 0, -1), 0, 1) for p in raw]

    def class_name(self, target: Any) -> str:
        """Return what was explained, as a person reads it."""
        names = self.model.classes
        return " − ".join(
            str(names[i]) if names is not None and i < len(names) else f"class {i}" for i in np.ravel(target)
        )


@dataclass(frozen=True)
class Outcome:
    """One explanation of one picture, with its record."""

    record: dict[str, Any]
    attribution: Attribution
    explainer: PathExplainer
    shown: Array
    inputs: Array


def explain_picture(
    subject: Subject,
    name: str,
    picture: Array,
    family: str,
    settings: Settings,
    options: Options,
    progress: Progress | None = None,
) -> Outcome:
    """Return the explanation of one picture along one family's path."""
    shown, inputs = subject.inputs(picture)
    explainer = settings.explainer(subject.model, subject.channel_axis, family)
    explainer.progress = progress or False
    began = time.perf_counter()
    attribution = explainer(inputs, target_from(*options, subject.model.classes))
    record = {
        "picture": name,
        "model": subject.spec,
        "family": family,
        "target": attribution.target[0].tolist(),
        "target_name": subject.class_name(attribution.target[0]),
        "score": float(attribution.score[0]),
        "baseline_score": float(attribution.baseline_score[0]),
        "gap": float(attribution.gap[0]),
        "relative_gap": float(attribution.relative_gap[0]) if np.isfinite(attribution.relative_gap[0]) else None,
        "error": float(attribution.error[0]) if np.isfinite(attribution.error[0]) else None,
        "evaluations": int(attribution.evaluations[0]),
        "forward_passes": attribution.forward_passes,
        "seconds": round(time.perf_counter() - began, 3),
        "device": subject.device or "as the model",
        "settings": attribution.settings,
        "versions": versions(attribution.settings["backend"]),
    }
    return Outcome(record, attribution, explainer, shown, inputs)


def explain_one(
    subject: Subject,
    path: Path,
    name: str,
    family: str,
    settings: Settings,
    options: Options,
    folder: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Explain the picture at `path` and write overlay, map, arrays and record; return the record."""
    outcome = explain_picture(subject, str(path), read_picture(path), family, settings, options, progress)
    values = outcome.attribution.heatmap(percentile=None)[0]
    title, footer = _title(outcome), _caption(outcome)
    figures = {
        "overlay": rendering.overlay(outcome.shown, values, title=title, footer=footer),
        "map": rendering.signed(values, title=title, footer=footer),
    }
    for kind, figure in figures.items():
        write_atomically(folder / f"{name}.{kind}.png", rendering.png_bytes(figure))
    outcome.attribution.save(folder / f"{name}.npz")
    write_json(folder / f"{name}.json", outcome.record)
    return outcome.record


def compare_one(
    subject: Subject,
    pictures: Sequence[tuple[str, Array]],
    families: Sequence[str],
    settings: Settings,
    options: Options,
    path: Path,
    advance: Callable[[], None],
) -> list[dict[str, Any]]:
    """Explain pictures along several families' paths; write the grid and the records, and return them."""
    rows, records = [], []
    for name, picture in pictures:
        panels, outcomes = [], []
        for family in families:
            outcome = explain_picture(subject, name, picture, family, settings, options)
            points = outcome.explainer.path(outcome.inputs, FILM)[0]
            gap = outcome.record["relative_gap"]
            caption = f"gap {outcome.record['gap']:.2g}" + ("" if gap is None else f" ({gap:.1%})")
            values = outcome.attribution.heatmap(percentile=None)[0]
            film = list(zip(FILM, subject.shown(points), strict=True))
            panels.append(rendering.Panel(_label(family), values, caption, film))
            outcomes.append(outcome)
            records.append(outcome.record)
            advance()
        row = outcomes[0]
        baseline = f"from {row.attribution.settings['baseline']}"
        rows.append(rendering.Row(row.shown, f"{name}: {_title(row)}", panels, baseline))
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


def read_subjects(paths: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """Yield a name for each picture's files: its own, numbered where two would be the same."""
    taken: set[str] = set()
    for path in paths:
        name, number = path.stem, 2
        while name in taken:
            name, number = f"{path.stem}-{number}", number + 1
        taken.add(name)
        yield name, path


def open_folder(path: Path) -> Path:
    """Return the folder, made if it is missing; raise InvalidInput where nothing can be written, before any work."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"cannot make the output folder {path}: {error.strerror}; choose another --out") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise InvalidInput(f"cannot write to the output folder {path}: permission denied; choose another --out")
    return path


def summary(records: Sequence[dict[str, Any]]) -> Table:
    """Return a table with one line per explanation."""
    table = Table("picture", "family", "explains", "F(x)", "F(x')", "gap", "gradients", "seconds")
    for record in records:
        relative = record["relative_gap"]
        table.add_row(
            escape(Path(record["picture"]).name),
            record["family"],
            escape(record["target_name"]),
            f"{record['score']:.4g}",
            f"{record['baseline_score']:.4g}",
            f"{record['gap']:.2g}" + ("" if relative is None else f" ({relative:.1%})"),
            str(record["evaluations"]),
            f"{record['seconds']:.1f}",
        )
    return table


def _title(outcome: Outcome) -> str:
    record = outcome.record
    return f"{record['target_name']}, {record['settings']['output']} {record['score']:.3g}"


def _caption(outcome: Outcome) -> str:
    record = outcome.record
    relative = record["relative_gap"]
    return (
        f"{_label(record['family'])}, {record['evaluations']} gradients, F(x') = {record['baseline_score']:.3g}, "
        f"gap {record['gap']:.2g}" + ("" if relative is None else f" ({relative:.1%})")
    )


def _label(family: str) -> str:
    return {"linear": "linear (IG)", "svd": "SVD (SIG)", "svd-joint": "joint SVD", "dct": "DCT"}.get(family, family)


def module_version(name: str) -> str:
    """Return the version that an imported module tells of itself; its distribution may have another name."""
    return str(getattr(sys.modules.get(name), "__version__", "unknown"))


def versions(backend: str) -> dict[str, str]:
    """Return the versions that a result was made with."""
    ours = {"python": platform.python_version(), "pathattr": version("pathattr")}
    return ours | {name: module_version(name) for name in ("numpy", "scipy", backend)}
