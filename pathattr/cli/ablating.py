"""The command `ablate`: options in, a study run, tables and figures out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from pathattr.base import Asked
from pathattr.cli import options as opt
from pathattr.cli.work import Subject, open_folder, versions
from pathattr.errors import InvalidInput
from pathattr.families import FAMILIES
from pathattr.methods import METHODS
from pathattr.metrics.fills import FILLS
from pathattr.metrics.table import METRICS, metrics_from
from pathattr.registry import backend_for
from pathattr.specs import load_model
from pathattr.studies import Grid, Study, Summary, collected, combined, write_report
from pathattr.studies.grid import listed, number_or_name, numbers_of
from pathattr.studies.report import check
from pathattr.texts import visible

FAMILY = "linear,svd,dct,laplacian"
METRIC = "diffid,road"
MASKED = ("pointing", "mass")  # besides, where masks are known


def ablate(
    model: opt.ModelOption,
    data: Annotated[
        str,
        typer.Option(
            help="scenes (or scenes:SEED), a folder with one folder of pictures a class, or a CSV file: path, "
            "label, and mask or top, left, bottom, right where known."
        ),
    ],
    family: Annotated[
        str | None, typer.Option(help=f"{', '.join(FAMILIES)}; default: {FAMILY}, or none beside --method.")
    ] = None,
    method: Annotated[str | None, typer.Option(help=f"Reference methods: {', '.join(METHODS)}.")] = None,
    ordering: opt.OrderingOption = None,
    schedule: opt.ScheduleOption = "linear",
    overlap: Annotated[
        str, typer.Option(help="Overlaps ω: numbers and ranges start:stop:step, ends included.")
    ] = "0.4",
    baseline: opt.BaselineOption = None,
    channels: Annotated[str, typer.Option(help="separate, joint: how the SVD takes channels.")] = "separate",
    output: opt.OutputOption = None,
    metric: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(METRICS)}; default: {METRIC}, and {', '.join(MASKED)} where masks are known."),
    ] = None,
    fill: Annotated[
        str | None, typer.Option(help=f"What replaces removed entries: {', '.join(FILLS)}; default: all for diffid.")
    ] = None,
    steps: opt.StepsOption = "auto",
    tolerance: opt.ToleranceOption = 0.05,
    limit: Annotated[int | None, typer.Option(help="At most so many examples, spread evenly over the classes.")] = None,
    target: Annotated[
        str | None, typer.Option(help="Explain and judge label or predicted; default: label where there are labels.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="The setting that others are compared to; default: the first.")
    ] = None,
    device: opt.DeviceOption = None,
    backend: opt.BackendOption = None,
    batch_size: opt.BatchOption = "32",
    seed: opt.SeedOption = 0,
    size: opt.SizeOption = None,
    parquet: Annotated[
        bool | None, typer.Option(help="The table as Parquet too; default: where pyarrow is installed.")
    ] = None,
    out: opt.OutOption = Path("pathattr-ablation"),
) -> None:
    """Compare paths, orderings, schedules, ... on labelled pictures. Lists are comma-separated: all combinations.

    A study that was interrupted goes on where it stopped when the same command is given again.
    """
    grid = Grid(
        methods=_list("--method", method),
        families=_list("--family", family or (None if method else FAMILY)),
        orderings=_list("--ordering", ordering),
        schedules=listed("--schedule", schedule),
        overlaps=numbers_of("--overlap", overlap),
        baselines=_list("--baseline", baseline),
        channels=listed("--channels", channels),
        outputs=_list("--output", output),
        steps=opt.whole_or_auto("--steps", steps),
        tolerance=tolerance,
    )
    only = number_or_name(grid.baselines[0]) if len(grid.baselines) == 1 else None
    chosen = metrics_from(listed("--metric", metric or METRIC), _list("--fill", fill) or None, only)
    folder = open_folder(out)
    subject = Subject(load_model(model, backend=backend), model, device, size, backend)
    pictures = collected(data, subject.model, subject.channel_axis, limit=limit, seed=seed)
    if metric is None and not pictures.unmasked:
        chosen |= metrics_from(list(MASKED))
    for name, reason in pictures.left_out:
        _say(f"left out, unreadable: {name}: {reason}")
    asked: Asked = {
        "preprocessing": subject.model.preprocessing,
        "channel_axis": subject.channel_axis,
        "batch_size": opt.whole_or_auto("--batch-size", batch_size),
        "seed": seed,
        "backend": backend,
    }
    found = combined(grid, subject.model.model, pictures.batch([0]).inputs, asked)
    for text in found.same:
        _say(text)
    for name, reason in found.refused:
        _say(f"skipped: {name}: {reason}")
    if target is not None and target not in ("label", "predicted"):
        raise InvalidInput(f"--target is label or predicted; got {target!r}")
    used = backend_for(subject.model.model, pictures.batch([0]).inputs, backend).name
    study = Study(
        pictures,
        found.settings,
        chosen,
        folder,
        target=target,  # type: ignore[arg-type]  # one of the two, as has been checked
        seed=seed,
        classes=subject.model.classes,
        facts={"model": model, "backend": used, "size": list(subject.model.shape or ()), "crop": subject.model.crop},
        record={
            "data": data,
            "device": device,
            "same": found.same,
            "skipped": found.refused,
            "versions": versions(used),
        },
    )
    if not check(study, reference=reference, parquet=parquet):
        _say("Parquet is left out, pyarrow is not installed: pip install 'pathattr[study]'")
    _run(study)
    notes = [f"Skipped: {name} ({reason})" for name, reason in found.refused]
    summary, files = write_report(study, reference=reference, parquet=parquet, notes=notes)
    console = Console() if sys.stdout.isatty() else Console(width=200)
    console.print(*_tables(summary, console.width))
    typer.echo(f"wrote {', '.join(path.name for path in files)} to {folder}")
    failures = study.failures()
    if failures:
        for setting, example, reason in failures[:10]:
            _say(f"failed: {setting} on {example}: {reason}")
        raise InvalidInput(
            f"{len(failures)} of {len(pictures) * len(found.settings)} explanations failed; the tables are of the "
            f"others, and {folder / 'summary.md'} names each"
        )


def _run(study: Study) -> None:
    # Settings differ much in cost: time left is told from the last hour, not from the last seconds.
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
        speed_estimate_period=3600,
    )
    try:
        with bar:
            study.run(partial(_report, bar, bar.add_task("looking for what is done", total=None)))
    except KeyboardInterrupt:
        done, total = study.progress
        _say(f"{done} of {total} parts of the study are done and kept: the same command goes on from here")
        raise


def _report(bar: Progress, task: TaskID, done: float, total: int, doing: str) -> None:
    bar.update(task, completed=done, total=total, description=escape(doing))


def _tables(summary: Summary, width: int) -> Iterator[Table]:
    """Yield the table of scores in parts as wide as the terminal, each with the settings' names."""
    names, *columns = zip(*summary.cells(), strict=True)
    own = [max(map(cell_len, column)) + 3 for column in (names, *columns)]  # with a rule and a blank on both sides
    while columns:
        fits = [k for k in range(1, len(columns) + 1) if own[0] + sum(own[1 : k + 1]) + 1 <= width]
        count = max(fits, default=1)
        header, *rows = zip(names, *columns[:count], strict=True)
        table = Table(*header)
        for row in rows:
            table.add_row(*map(escape, row))
        yield table
        del columns[:count], own[1 : count + 1]


def _list(option: str, given: Any) -> list[str]:
    return [] if given is None else listed(option, given)


def _say(text: str) -> None:
    print(visible(text), file=sys.stderr)
