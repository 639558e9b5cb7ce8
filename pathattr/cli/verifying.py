"""What `pathattr verify` does between parsing and printing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pathattr.axioms import Report, verify
from pathattr.cli.failures import models_own
from pathattr.cli.options import Settings, target_from
from pathattr.cli.placed_model import PlacedModel
from pathattr.cli.work import Options, versions
from pathattr.common.axes import Array
from pathattr.common.files import write_json
from pathattr.errors import InvalidInput

SCENES = 2  # how many generated pictures stand in where none are given
COLOURS = {"holds": "green", "FAILS": "bold red", "cannot tell": "yellow"}


def verify_pictures(
    subject: PlacedModel,
    pictures: Sequence[tuple[str, Array]],
    family: str,
    settings: Settings,
    options: Options,
    progress: Callable[[str, int, int], None],
) -> Report:
    """Return the axioms' report on a model at named pictures."""
    batches = [subject.inputs(picture)[1] for _, picture in pictures]
    sizes = {batch.shape for batch in batches}
    if len(sizes) > 1:
        raise InvalidInput(
            f"the model takes pictures of any size and these have several, {sorted(sizes)}: say --size to make them one"
        )
    explainer = settings.explainer(subject.model, subject.channel_axis, family)
    inputs, target = np.concatenate(batches), target_from(*options, subject.model.classes)
    with models_own(inputs.shape, subject.backend.out_of_memory):
        return verify(explainer, inputs, target, progress=progress)


def write_report(report: Report, subject: PlacedModel, pictures: Sequence[Path], path: Path) -> None:
    """Write the report with what it was made from, as JSON."""
    record = report.record() | {
        "model": subject.spec,
        "pictures": [str(picture) for picture in pictures] or f"{SCENES} generated scenes",
        "versions": versions(str(report.settings.get("backend", "numpy"))),
    }
    write_json(path, record)


def table(report: Report) -> list[list[str]]:
    """Return the report as a table, its header first: axiom, verdict, residual, tolerance and why."""
    rows = [["axiom", "verdict", "residual", "tolerance", "promised", "says", "why that much"]]
    for row in report.rows:
        numbers = ["" if number is None else f"{number:.1e}" for number in (row.residual, row.tolerance)]
        rows.append([row.axiom, row.verdict, *numbers, row.promise, row.says, row.reason])
    return rows
