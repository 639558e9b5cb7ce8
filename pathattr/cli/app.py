"""The commands: demo, explain, compare, verify, bench, ablate, backends."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from pathattr.cli import options as opt
from pathattr.cli.ablating import ablate
from pathattr.cli.advice import in_options
from pathattr.cli.benching import cost_of, cost_table
from pathattr.cli.failures import report
from pathattr.cli.outputs import Claim, digest, names_of, open_folder, settle
from pathattr.cli.placed_model import PlacedModel
from pathattr.cli.said import check_cost, check_path, said
from pathattr.cli.tables import tell_table
from pathattr.cli.terminal import say, tell, unheard
from pathattr.cli.verifying import COLOURS, SCENES, table, verify_pictures, write_report
from pathattr.cli.work import compare_one, demo_subjects, explain_one, files_of, module_version, summary
from pathattr.common.files import write_json
from pathattr.common.texts import visible
from pathattr.errors import InvalidInput, PathattrError
from pathattr.models.registry import backends as known_backends
from pathattr.models.registry import load_backend
from pathattr.models.specs import load_model
from pathattr.pictures.reading import read_picture
from pathattr.studies.grid import listed

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Which parts of this input made the model say that? Path attribution for any model.",
)

COMPARED = ["linear", "svd", "dct", "wavelet", "laplacian"]
MOST_SCENES = 20
SHARES = 100  # of a picture, in the bar: gradients are not known beforehand where nodes are refined

FAMILY_OPTION = Annotated[str, typer.Option(help=opt.FAMILY_HELP)]


def invoke(arguments: list[str]) -> int:
    """Run the app; usage errors print themselves and give status 2."""
    try:
        status = app(arguments, standalone_mode=False)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # whoever reads --help has left
            raise unheard(error.__context__) from error
        raise
    except Exception as error:
        # A usage error prints itself. Its class is click's or typer's own copy of it, depending on the version.
        if not (hasattr(error, "show") and hasattr(error, "exit_code")):
            raise
        with contextlib.suppress(OSError):
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
    count: Annotated[int, typer.Option(help=f"How many scenes, at most {MOST_SCENES}.")] = 2,
    batch_size: opt.BatchOption = "32",
    device: opt.DeviceOption = None,
    backend: opt.BackendOption = None,
) -> None:
    """Explain the shipped classifier on generated scenes, all five families side by side."""
    if not 1 <= count <= MOST_SCENES:
        raise InvalidInput(f"--count must be 1 to {MOST_SCENES}, the rows of one figure; got {count}")
    settings = opt.Settings(steps=steps, batch_size=batch_size, backend=backend)
    settings.check(COMPARED)
    pictures = demo_subjects(count, seed)
    folder = open_folder(out)
    path = folder / "demo.png"
    replaced = settle([_pair(path)], [])
    subject = PlacedModel(load_model("scenes", backend=backend), "scenes", device, backend=backend)
    with _progress() as bar:
        task = bar.add_task("explaining", total=count * len(COMPARED))
        rows = compare_one(subject, pictures, COMPARED, settings, (None, None), path, partial(bar.advance, task))
    tell_table(summary(rows), keys=2)
    _tell_written([path, path.with_suffix(".json")], replaced)


@app.command()
def explain(
    context: typer.Context,
    pictures: Annotated[list[Path], typer.Argument(help="Pictures to explain: PNG, JPEG, WebP, TIFF, GIF, BMP, PPM.")],
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
    channel_axis: opt.ChannelAxisOption = None,
    class_axis: opt.ClassAxisOption = None,
    head: opt.HeadOption = None,
    out: opt.OutOption = Path("pathattr-out"),
    force: opt.ForceOption = False,
) -> None:
    """Attribute a model's decision on each picture: an overlay, the signed map, the arrays and a record.

    A picture that fails is reported, the others are explained, and the status is 1 in the end.
    """
    settings = opt.Settings(
        ordering, schedule, overlap, steps, rule, baseline, output, batch_size, seed, backend, tolerance, nodes,
        class_axis, head,
    )  # fmt: skip
    check_path(said(context), settings.check([family], size, channel_axis))
    question = partial(_question, settings, model, device, size, channel_axis, target, contrast, [family])
    named = names_of(pictures)
    if len(named) < len(pictures):
        say(f"note: {len(pictures) - len(named)} of the pictures were named more than once; each is explained once")
    folder = open_folder(out)
    claims = [
        Claim(files := files_of(name, folder), files[-1], partial(question, path)) for name, path in named
    ]  # fmt: skip
    replaced = settle(claims, pictures, force)
    subject = PlacedModel(load_model(model, backend=backend), model, device, size, backend, channel_axis, head)
    rows, statuses = [], []
    with _progress() as bar:
        task = bar.add_task("explaining", total=len(named) * SHARES)
        for index, (name, path) in enumerate(named):
            bar.update(task, completed=index * SHARES, description=visible(name))
            progress = partial(_report, bar, task, index * SHARES)
            options = (target, contrast)
            try:
                rows.append(
                    explain_one(subject, path, name, family, settings, options, folder, progress, question(path))
                )
            except Exception as error:
                if len(named) == 1:
                    raise
                statuses.append(report(error, f"{path}: "))  # the others are still worth having
    if rows:
        tell_table(summary(rows))
        _tell_written(f"{len(rows)} × overlay, map, arrays and record to {folder}", replaced)
    if statuses:
        say(f"error: {len(statuses)} of {len(named)} pictures failed, as said above; the others are explained")
        raise typer.Exit(max(statuses))


@app.command()
def compare(
    context: typer.Context,
    picture: Annotated[Path, typer.Argument(help="The picture to explain: PNG, JPEG, WebP, TIFF, GIF, BMP or PPM.")],
    model: opt.ModelOption,
    family: Annotated[str, typer.Option(help="Families, comma-separated: " + opt.FAMILY_HELP)] = ",".join(COMPARED),
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
    channel_axis: opt.ChannelAxisOption = None,
    class_axis: opt.ClassAxisOption = None,
    head: opt.HeadOption = None,
    out: opt.OutOption = Path("pathattr-out"),
    force: opt.ForceOption = False,
) -> None:
    """Attribute one picture along several paths, side by side on one scale."""
    settings = opt.Settings(
        ordering, schedule, overlap, steps, rule, baseline, output, batch_size, seed, backend, tolerance, nodes,
        class_axis, head,
    )  # fmt: skip
    families = listed("--family", family)
    check_path(said(context), settings.check(families, size, channel_axis))
    folder = open_folder(out)
    path = folder / f"{picture.stem}.compare.png"
    question = partial(_question, settings, model, device, size, channel_axis, target, contrast, families, picture)
    replaced = settle([_pair(path, question)], [picture], force)
    read = read_picture(picture)
    subject = PlacedModel(load_model(model, backend=backend), model, device, size, backend, channel_axis, head)
    with _progress() as bar:
        task = bar.add_task(visible(picture.name), total=len(families))
        advance, options = partial(bar.advance, task), (target, contrast)
        rows = compare_one(
            subject, [(picture.stem, read)], families, settings, options, path, advance, question()
        )  # fmt: skip
    tell_table(summary(rows), keys=2)
    _tell_written([path, path.with_suffix(".json")], replaced)


@app.command()
def verify(
    context: typer.Context,
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
    channel_axis: opt.ChannelAxisOption = None,
    class_axis: opt.ClassAxisOption = None,
    head: opt.HeadOption = None,
    out: opt.OutOption = Path("pathattr-out"),
) -> None:
    """Check the axioms on a model: what the path promises is judged, the rest shown. Status 1 if a promise fails."""
    settings = opt.Settings(
        ordering, schedule, overlap, steps, rule, baseline, output, batch_size, seed, backend,
        class_axis=class_axis, head=head,
    )  # fmt: skip
    check_path(said(context) - {"seed"}, settings.check([family], size, channel_axis))  # the axioms draw too
    named = names_of(pictures or [])
    folder = open_folder(out)
    path = folder / "verify.json"
    replaced = settle([Claim([path], path)], pictures or [])
    read = [(name, read_picture(picture)) for name, picture in named] or demo_subjects(SCENES, seed)
    subject = PlacedModel(load_model(model, backend=backend), model, device, size, backend, channel_axis, head)
    with _progress() as bar:
        task = bar.add_task("verifying", total=None)
        watch = partial(_checking, bar, task)
        found = verify_pictures(subject, read, family, settings, (target, contrast), watch)
    write_report(found, subject, pictures or [], path)
    if found.rows:
        tell_table(table(found), styles=COLOURS)
    for diagnosis in found.diagnoses:
        tell(in_options(str(diagnosis)))
    _tell_written([path], replaced)
    if not found.passed:
        failed = [row.axiom for row in found.rows if row.verdict == "FAILS"]
        wrong = [diagnosis.name for diagnosis in found.diagnoses]
        raise InvalidInput(
            f"{model} does not pass: {', '.join(wrong + failed)}; what to do is said above, or in {path}"
        )


@app.command()
def bench(
    context: typer.Context,
    model: opt.ModelOption,
    family: FAMILY_OPTION = "svd",
    overlap: opt.OverlapOption = 0.4,
    steps: opt.StepsOption = "200",
    tolerance: opt.ToleranceOption = 0.02,
    count: Annotated[int, typer.Option(help="For how many pictures to foretell the time.")] = 100,
    target: opt.TargetOption = None,
    output: opt.OutputOption = None,
    device: opt.DeviceOption = None,
    backend: opt.BackendOption = None,
    batch_size: opt.BatchOption = "auto",
    size: opt.SizeOption = None,
    channel_axis: opt.ChannelAxisOption = None,
    class_axis: opt.ClassAxisOption = None,
    head: opt.HeadOption = None,
    out: opt.OutOption = Path("pathattr-out"),
) -> None:
    """Tell what a model costs: a bare gradient, our overhead, the block that fits, the time for N pictures."""
    if count < 1:
        raise InvalidInput(f"--count must be at least 1; got {count}")
    settings = opt.Settings(
        overlap=overlap, steps=steps, output=output, batch_size=batch_size, backend=backend, tolerance=tolerance,
        class_axis=class_axis, head=head,
    )  # fmt: skip
    check_cost(said(context), *settings.check([family], size, channel_axis))
    folder = open_folder(out)
    path = folder / "bench.json"
    replaced = settle([Claim([path], path)], [])
    subject = PlacedModel(load_model(model, backend=backend), model, device, size, backend, channel_axis, head)
    record = cost_of(subject, family, settings, target, count)
    write_json(path, record)
    tell_table(cost_table(record))
    _tell_written([path], replaced)


app.command()(ablate)


@app.command()
def backends() -> None:
    """Tell which frameworks are installed, and which devices they see."""
    rows = [["backend", "installed", "devices"]]
    for name in sorted(known_backends()):
        try:
            backend = load_backend(name)
        except PathattrError as error:
            rows.append([name, "no", str(error)])
            continue
        rows.append([name, module_version(name), ", ".join(backend.devices())])
    tell_table(rows)


def _question(
    settings: opt.Settings,
    model: str,
    device: str | None,
    size: int | None,
    channel_axis: int | None,
    target: str | None,
    contrast: str | None,
    families: Sequence[str],
    picture: Path,
) -> dict[str, Any]:
    """Return all that an answer depends on, as plain values."""
    asked = {"model": model, "device": device, "size": size, "target": target, "contrast": contrast}
    asked |= {"channel_axis": channel_axis, "picture": digest(picture), "family": ",".join(families)}
    return asked | asdict(settings)


def _pair(path: Path, question: Callable[[], Mapping[str, Any]] | None = None) -> Claim:
    """Return the claim of a figure and its records."""
    record = path.with_suffix(".json")
    return Claim([path, record], record, question)


def _tell_written(what: str | Sequence[Path], replaced: int) -> None:
    told = what if isinstance(what, str) else " and ".join(map(str, what))
    tell(f"wrote {told}" + (f"; {replaced} earlier replaced" if replaced else ""))


def _report(bar: Progress, task: TaskID, before: int, done: int, total: int) -> None:
    bar.update(task, completed=before + SHARES * done / total)


def _checking(bar: Progress, task: TaskID, axiom: str, done: int, total: int) -> None:
    bar.update(task, description=axiom, completed=done, total=total)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
