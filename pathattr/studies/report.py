"""What a finished study leaves: tables, summaries and figures; equal results give equal files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pathattr.common.files import write_atomically
from pathattr.errors import MissingExtra
from pathattr.results.figures import png_bytes
from pathattr.studies.figures import figures, needs_matplotlib
from pathattr.studies.store import Found
from pathattr.studies.summary import Summary, matching, summarised
from pathattr.studies.table import arrow_modules

if TYPE_CHECKING:
    from pathattr.studies.study import Study


def check(study: Study, *, reference: str | None = None, parquet: bool | None = None, plots: bool = True) -> bool:
    """Tell whether a report will hold a Parquet file; raise, before any work, for what it will lack.

    `parquet=None` writes it where pyarrow is installed. Raises MissingExtra, or InvalidInput for a reference that is no
    setting.
    """
    if reference is not None:
        matching(reference, [setting.name for setting in study.settings])
    if plots:
        needs_matplotlib()
    try:
        if parquet is not False:
            arrow_modules()
    except MissingExtra:
        if parquet:
            raise
        return False
    return parquet is not False


def write_report(
    study: Study,
    *,
    reference: str | None = None,
    parquet: bool | None = None,
    plots: bool = True,
    notes: Sequence[str] = (),
) -> tuple[Summary, list[Path]]:
    """Write table, summaries and figures of what has been found so far; return the summary and the files.

    `reference` names the setting that others are compared to, by default the first. Raises as `check` does.
    """
    parquet = check(study, reference=reference, parquet=parquet, plots=plots)
    results = study.results()
    told = [*notes, *_said(study, results)]
    tolerances = {setting.facts.get("tolerance") for setting in study.settings} - {None}
    tolerance = next(iter(tolerances)) if len(tolerances) == 1 else None
    summary = summarised(results, reference, tolerance=tolerance if isinstance(tolerance, float) else None, notes=told)
    table = study.table(results)
    files = {"table.csv": table.csv(), "summary.csv": summary.csv()}
    files |= {"table.parquet": table.parquet()} if parquet else {}
    files |= {"summary.md": summary.markdown(), "summary.tex": summary.latex()}
    written = []
    for name, data in files.items():
        write_atomically(study.out / name, data)
        written.append(study.out / name)
    for name, figure in figures(study, results, summary) if plots else ():
        write_atomically(study.out / f"{name}.png", png_bytes(figure))
        written.append(study.out / f"{name}.png")
    return summary, written


def _said(study: Study, results: Mapping[str, Found]) -> list[str]:
    """Return what a reader of the tables must know of the examples."""
    done = sum(len(found.rows) + len(found.failed) for found in results.values())
    total = len(study.data) * len(results)
    said = [f"{len(study.data)} examples; explained and judged: " + (
        "their labels" if study.target == "label" else "the classes that the model predicts"
    ) + "."]  # fmt: skip
    if done < total:
        said.append(f"Unfinished: {done} of {total} explanations are done.")
    said += [f"Left out, unreadable: {name} ({reason})" for name, reason in study.data.left_out]
    return said + [f"Failed: {setting} on {example} ({reason})" for setting, example, reason in study.failures(results)]
