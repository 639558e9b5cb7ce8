"""What `pathattr verify` does between parsing and printing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from rich.markup import escape
from rich.table import Table

from pathattr.axioms import Report, verify
from pathattr.cli.options import Settings, target_from
from pathattr.cli.work import Options, Subject, demo_subjects, read_subjects, versions
from pathattr.errors import InvalidInput
from pathattr.files import write_json

SCENES = 2  # how many generated pictures stand in where none are given
COLOURS = {"holds": "green", "FAILS": "bold red", "cannot tell": "yellow"}


def verify_pictures(
    subject: Subject,
    pictures: Sequence[Path],
    family: str,
    settings: Settings,
    options: Options,
    progress: Callable[[str, int, int], None],
) -> Report:
    """Return the axioms' report on a model at pictures, or at generated scenes where none are given."""
    named = subject.read(list(read_subjects(pictures))) if pictures else demo_subjects(SCENES, settings.seed)
    batches = [subject.inputs(picture)[1] for _, picture in named]
    sizes = {batch.shape for batch in batches}
    if len(sizes) > 1:
        raise InvalidInput(
            f"the model takes pictures of any size and these have several, {sorted(sizes)}: say --size to make them one"
        )
    explainer = settings.explainer(subject.model, subject.channel_axis, family)
    return verify(explainer, np.concatenate(batches), target_from(*options, subject.model.classes), progress=progress)


def write_report(report: Report, subject: Subject, pictures: Sequence[Path], path: Path) -> None:
    """Write the report with what it was made from, as JSON."""
    record = report.record() | {
        "model": subject.spec,
        "pictures": [str(picture) for picture in pictures] or f"{SCENES} generated scenes",
        "versions": versions(str(report.settings.get("backend", "numpy"))),
    }
    write_json(path, record)


def table(report: Report) -> Table:
    """Return the report as a table: axiom, residual, tolerance and why, verdict."""
    made = Table("axiom", "says", "promised", "residual", "tolerance", "why that much", "verdict")
    for row in report.rows:
        colour = COLOURS.get(row.verdict)
        made.add_row(
            row.axiom,
            escape(row.says),
            row.promise,
            "" if row.residual is None else f"{row.residual:.1e}",
            "" if row.tolerance is None else f"{row.tolerance:.1e}",
            escape(row.reason),
            f"[{colour}]{row.verdict}[/]" if colour else row.verdict,
        )
    return made
