"""The commands: demo, explain, compare, verify, bench, ablate, backends."""

from __future__ import annotations

import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from pathattr.cli import options as opt
from pathattr.cli.ablating import ablate
from pathattr.cli.benching import cost_of, cost_table
from pathattr.cli.verifying import table, verify_pictures, write_report
from pathattr.cli.work import (
    Subject,
    compare_one,
    demo_subjects,
    explain_one,
    module_version,
    open_folder,
    read_subjects,
    summary,
)
from pathattr.errors import InvalidInput, PathattrError
from pathattr.families import FAMILIES
from pathattr.files import write_json
from pathattr.registry import backends as known_backends
from pathattr.registry import load_backend
from pathattr.specs import load_model

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Which parts of this input made the model say that? Path attribution for any model.",
)

SHARES = 100  # of a picture, in the bar: gradients are not known beforehand where nodes are refined

FAMILY_OPTION = Annotated[str, typer.Option(help=opt.FAMILY_HELP)]


def invoke(arguments: list[str]) -> int:
    """Run the app; usage errors print themselves and give status 2."""
    try:
        status = app(arguments, standalone_mode=False)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except Exception as error:
        # A usage error prints itself. Its class is click's or typer's own copy of it, depending on the version.
        if not (hasattr(error, "show") and hasattr(error, "exit_code")):
            raise
        error.show()
        return int(error.exit_code)
    if status == 130:  # how some versions of typer report Ctrl-C
        raise KeyboardInterrupt
    return int(status or 0)


@app.callback(invoke_without_command=True)
def _top(show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if show_version:
        typer.echo(version("pathattr"))
        raise typer.Exit


@app.command()
def demo(
    out: opt.OutOption = Path("pathattr-demo"),
    steps: opt.StepsOption = "100",
    seed: Annotated[int, typer.Option(help="Which scenes to draw.")] = 0,
    count: Annotated[int, typer.Option(help="How many scenes.")] = 2,
    batch_size: opt.BatchOption = "32",
    device: opt.DeviceOption = None,
    backend: opt.BackendOption = None,
) -> None:
    """Explain the shipped classifier on generated scenes, all five families side by side."""
    if count < 1:
        raise InvalidInput(f"--count must be at least 1; got {count}")
    folder = open_folder(out)
    subject = Subject(load_model("scenes", backend=backend), "scenes", device, backend=backend)
    settings = opt.Settings(steps=steps, batch_size=batch_size, backend=backend)
    families = ["linear", "svd", "dct", "wavelet", "laplacian"]
    pictures = demo_subjects(count, seed)
    with _progress() as bar:
        task = bar.add_task("explaining", total=count * len(families))
        path = folder / "demo.png"
        rows = compare_one(subject, pictures, families, settings, (None, None), path, partial(bar.advance, task))
    _console().print(summary(rows))
    typer.echo(f"wrote {path} and {path.with_suffix('.json')}")


@app.command()
def explain(
    pictures: Annotated[list[Path], typer.Argument(help="Pictures to explain.")],
    model: opt.ModelOption,
    family: FAMILY_OPTION = "svd",
    ordering: opt.OrderingOption = None,
    overlap: opt.OverlapOption = 0.4,
    schedule: opt.ScheduleOption = "linear",
    steps: opt.StepsOption = "200",
    tolerance: opt.ToleranceOption = 0.02,
    nodes: opt.NodesOption = None,
    rule: opt.RuleOption = None,
    baseline: opt.BaselineOption = None,
    target: opt.TargetOption = None,
    contrast: opt.ContrastOption = None,
    output: opt.OutputOption = None,
    device: opt.DeviceOption = None,
    backend: opt.BackendOption = None,
    batch_size: opt.BatchOption = "32",
    seed: opt.SeedOption = 0,
    size: opt.SizeOption = None,
    out: opt.OutOption = Path("pathattr-out"),
) -> None:
    """Attribute a model's decision on each picture: an overlay, the signed map, the arrays and a record."""
    settings = opt.Settings(
        ordering, schedule, overlap, steps, rule, baseline, output, batch_size, seed, backend, tolerance, nodes
    )
    folder = open_folder(out)
    subject = Subject(load_model(model, backend=backend), model, device, size, backend)
    failed = 0
    rows = []
    with _progress() as bar:
        task = bar.add_task("explaining", total=len(pictures) * SHARES)
        for index, (name, path) in enumerate(read_subjects(pictures)):
            bar.update(task, completed=index * SHARES, description=name)
            report = partial(_report, bar, task, index * SHARES)
            try:
                rows.append(explain_one(subject, path, name, family, settings, (target, contrast), folder, report))
            except PathattrError as error:
                if len(pictures) == 1:
                    raise
                failed += 1  # the others are still worth having
                print(f"error: {path}: {error}", file=sys.stderr)
    if rows:
        _console().print(summary(rows))
        typer.echo(f"wrote {len(rows)} × overlay, map, arrays and record to {folder}")
    if failed:
        raise InvalidInput(f"{failed} of {len(pictures)} pictures failed")


@app.command()
def compare(
    picture: Annotated[Path, typer.Argument(help="The picture to explain.")],
    model: opt.ModelOption,
    family: Annotated[str, typer.Option(help="Families, comma-separated: " + opt.FAMILY_HELP)] = ",".join(
        ["linear", "svd", "dct", "wavelet", "laplacian"]
    ),
    ordering: opt.OrderingOption = None,
    overlap: opt.OverlapOption = 0.4,
    schedule: opt.ScheduleOption = "linear",
    steps: opt.StepsOption = "200",
    tolerance: opt.ToleranceOption = 0.02,
    nodes: opt.NodesOption = None,
    rule: opt.RuleOption = None,
    baseline: opt.BaselineOption = None,
    target: opt.TargetOption = None,
    contrast: opt.ContrastOption = None,
    output: opt.OutputOption = None,
    device: opt.DeviceOption = None,
    backend: opt.BackendOption = None,
    batch_size: opt.BatchOption = "32",
    seed: opt.SeedOption = 0,
    size: opt.SizeOption = None,
    out: opt.OutOption = Path("pathattr-out"),
) -> None:
    """Attribute one picture along several paths, side by side on one scale."""
    settings = opt.Settings(
        ordering, schedule, overlap, steps, rule, baseline, output, batch_size, seed, backend, tolerance, nodes
    )
    families = [name.strip() for name in family.split(",") if name.strip()]
    unknown = [name for name in families if name not in FAMILIES]
    if unknown or not families:
        raise InvalidInput(f"unknown family {', '.join(map(repr, unknown))}; the names are {', '.join(FAMILIES)}")
    folder = open_folder(out)
    subject = Subject(load_model(model, backend=backend), model, device, size, backend)
    with _progress() as bar:
        task = bar.add_task(picture.name, total=len(families))
        subjects = subject.read(list(read_subjects([picture])))
        path = folder / f"{subjects[0][0]}.compare.png"
        advance = partial(bar.advance, task)
        rows = compare_one(subject, subjects, families, settings, (target, contrast), path, advance)
    _console().print(summary(rows))
    typer.echo(f"wrote {path} and {path.with_suffix('.json')}")


@app.command()
def verify(
    model: opt.ModelOption,
    pictures: Annotated[
        list[Path] | None, typer.Option(help="A picture to verify at; repeat it for more. Default: generated scenes.")
    ] = None,
    family: FAMILY_OPTION = "svd",
    ordering: opt.OrderingOption = None,
    overlap: opt.OverlapOption = 0.4,
    schedule: opt.ScheduleOption = "linear",
    steps: opt.StepsOption = "50",
    rule: opt.RuleOption = None,
    baseline: opt.BaselineOption = None,
    target: opt.TargetOption = None,
    contrast: opt.ContrastOption = None,
    output: opt.OutputOption = None,
    device: opt.DeviceOption = None,
    backend: opt.BackendOption = None,
    batch_size: opt.BatchOption = "32",
    seed: opt.SeedOption = 0,
    size: opt.SizeOption = None,
    out: opt.OutOption = Path("pathattr-out"),
) -> None:
    """Check the axioms on a model: what the path promises is judged, the rest shown. Status 1 if a promise fails."""
    settings = opt.Settings(ordering, schedule, overlap, steps, rule, baseline, output, batch_size, seed, backend)
    folder = open_folder(out)
    subject = Subject(load_model(model, backend=backend), model, device, size, backend)
    with _progress() as bar:
        task = bar.add_task("verifying", total=None)
        watch = partial(_checking, bar, task)
        report = verify_pictures(subject, pictures or [], family, settings, (target, contrast), watch)
    path = folder / "verify.json"
    write_report(report, subject, pictures or [], path)
    if report.rows:
        _console().print(table(report))
    for diagnosis in report.diagnoses:
        typer.echo(str(diagnosis))
    typer.echo(f"wrote {path}")
    if not report.passed:
        failed = [row.axiom for row in report.rows if row.verdict == "FAILS"]
        wrong = [diagnosis.name for diagnosis in report.diagnoses]
        raise InvalidInput(f"{model} does not pass: {', '.join(wrong + failed)}")


@app.command()
def bench(
    model: opt.ModelOption,
    family: FAMILY_OPTION = "svd",
    overlap: opt.OverlapOption = 0.4,
    steps: opt.StepsOption = "200",
    tolerance: opt.ToleranceOption = 0.02,
    count: Annotated[int, typer.Option(help="For how many pictures to foretell the time.")] = 100,
    output: opt.OutputOption = None,
    device: opt.DeviceOption = None,
    backend: opt.BackendOption = None,
    batch_size: opt.BatchOption = "auto",
    size: opt.SizeOption = None,
    out: opt.OutOption = Path("pathattr-out"),
) -> None:
    """Tell what a model costs: a bare gradient, our overhead, the block that fits, the time for N pictures."""
    if count < 1:
        raise InvalidInput(f"--count must be at least 1; got {count}")
    settings = opt.Settings(
        overlap=overlap, steps=steps, output=output, batch_size=batch_size, backend=backend, tolerance=tolerance
    )
    folder = open_folder(out)
    subject = Subject(load_model(model, backend=backend), model, device, size, backend)
    record = cost_of(subject, family, settings, count)
    path = folder / "bench.json"
    write_json(path, record)
    _console().print(cost_table(record))
    typer.echo(f"wrote {path}")


app.command()(ablate)


@app.command()
def backends() -> None:
    """Tell which frameworks are installed, and which devices they see."""
    table = Table("backend", "installed", "devices")
    for name in sorted(known_backends()):
        try:
            backend = load_backend(name)
        except PathattrError as error:
            table.add_row(name, "no", escape(str(error)))
            continue
        table.add_row(name, module_version(name), ", ".join(backend.devices()))
    _console().print(table)


def _report(bar: Progress, task: TaskID, before: int, done: int, total: int) -> None:
    bar.update(task, completed=before + SHARES * done / total)


def _checking(bar: Progress, task: TaskID, axiom: str, done: int, total: int) -> None:
    bar.update(task, description=axiom, completed=done, total=total)


def _console() -> Console:
    # A pipe has no width: give tables room rather than cut them.
    return Console() if sys.stdout.isatty() else Console(width=160)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
