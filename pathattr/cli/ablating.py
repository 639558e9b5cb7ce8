"""The command `ablate`: options in, a study run, tables and figures out."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from pathattr.cli import options as opt
from pathattr.cli.advice import in_options
from pathattr.cli.failures import models_own
from pathattr.cli.outputs import open_folder
from pathattr.cli.placed_model import PlacedModel
from pathattr.cli.said import check_grid, said
from pathattr.cli.tables import tell_table
from pathattr.cli.terminal import say, tell
from pathattr.cli.work import versions
from pathattr.common.texts import visible
from pathattr.errors import InvalidInput
from pathattr.families import FAMILIES
from pathattr.methods.explainer import ExplainerOptions
from pathattr.methods.table import METHODS
from pathattr.metrics.fills import FILLS
from pathattr.metrics.table import METRICS, metrics_from
from pathattr.models.registry import backend_for
from pathattr.models.specs import load_model
from pathattr.studies import Grid, Study, collected, combined, write_report
from pathattr.studies.grid import listed, number_or_name, numbers_of
from pathattr.studies.report import check

FAMILY = "linear,svd,dct,laplacian"
METRIC = "diffid,road"
FILES = ("table.csv", "table.parquet", "summary.csv", "summary.md", "summary.tex", "maps.png", "results")
MASKED = ("pointing", "mass")  # besides, where masks are known


def ablate(
    context: typer.Context,
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
    channel_axis: opt.ChannelAxisOption = None,
    head: opt.HeadOption = None,
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
        families=_list("--family", family if family is not None or method else FAMILY),
        orderings=_list("--ordering", ordering),
        schedules=listed("--schedule", schedule),
        overlaps=numbers_of("--overlap", overlap),
        baselines=_list("--baseline", baseline),
        channels=listed("--channels", channels),
        outputs=_list("--output", output),
        steps=opt.whole_or_auto("--steps", steps),
        tolerance=tolerance if steps == "auto" else None,
    )
    only = number_or_name(grid.baselines[0]) if len(grid.baselines) == 1 else None
    metrics = listed("--metric", METRIC if metric is None else metric)
    chosen = metrics_from(metrics, _list("--fill", fill) or None, only)
    if target is not None and target not in ("label", "predicted"):
        raise InvalidInput(f"--target is label or predicted; got {target!r}")
    check_grid(said(context), grid, metrics)
    opt.Settings(batch_size=batch_size, seed=seed, backend=backend, tolerance=tolerance, steps=steps).check(
        ["svd"], size, channel_axis
    )
    folder = open_folder(out)
    _check_new(folder)
    subject = PlacedModel(load_model(model, backend=backend), model, device, size, backend, channel_axis, head)
    pictures = collected(data, subject.model, subject.channel_axis, limit=limit, seed=seed)
    subject.settle(pictures.batch([0]).shown[0])  # type: ignore[index]  # pictures are always shown
    pictures.model, pictures.channel_axis = subject.model, subject.channel_axis
    if metric is None and not pictures.unmasked:
        chosen |= metrics_from(list(MASKED))
    for name, reason in pictures.left_out:
        say(f"left out, unreadable: {name}: {reason}")
    asked: ExplainerOptions = {
        "preprocessing": subject.model.preprocessing,
        "channel_axis": subject.channel_axis,
        "head": head,
        "batch_size": opt.whole_or_auto("--batch-size", batch_size),
        "seed": seed,
        "backend": backend,
    }
    example = pictures.batch([0]).inputs
    found = combined(grid, subject.model.model, example, asked)
    for text in found.same:
        say(text)
    for name, reason in found.refused:
        say(f"skipped: {name}: {in_options(reason)}")
    used = backend_for(subject.model.model, example, backend).name
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
        say("Parquet is left out, pyarrow is not installed: pip install 'pathattr[study]'")
    with models_own(np.shape(example), subject.backend.out_of_memory):
        _run(study)
    notes = [f"Skipped: {name} ({reason})" for name, reason in found.refused]
    summary, files = write_report(study, reference=reference, parquet=parquet, notes=notes)
    tell_table(summary.cells())
    tell(f"wrote {', '.join(path.name for path in files)} to {folder}")
    failures = study.failures()
    if failures:
        for setting, example, reason in failures[:10]:
            say(f"failed: {setting} on {example}: {in_options(reason)}")
        raise InvalidInput(
            f"{len(failures)} of {len(pictures) * len(found.settings)} explanations failed, as {folder / 'summary.md'} "
            "says of each; the tables are of the others. Mend what is said above: the same command tries these again"
        )


def _run(study: Study) -> None:
    # Settings differ much in cost: time left is told from the last hour, not from the last seconds.
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
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
        say(f"{done} of {total} parts of the study are done and kept: the same command goes on from here")
        raise


def _report(bar: Progress, task: TaskID, done: float, total: int, doing: str) -> None:
    bar.update(task, completed=done, total=total, description=visible(doing))


def _check_new(folder: Path) -> None:
    """Raise InvalidInput where a new study would overwrite files that are not a study's."""
    there = [] if (folder / "plan.json").exists() else [name for name in FILES if (folder / name).exists()]
    if there:
        raise InvalidInput(f"{folder} has files of another origin, {', '.join(there)}: give another --out")


def _list(option: str, given: Any) -> list[str]:
    return [] if given is None else listed(option, given)
