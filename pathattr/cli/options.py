"""The options that several commands share, and what they make."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pathattr.common.names import named
from pathattr.errors import InvalidInput
from pathattr.families import FAMILIES
from pathattr.integration.nodes import NODES
from pathattr.integration.quadrature import RULES
from pathattr.methods.path_explainer import PathExplainer
from pathattr.models.registry import backends
from pathattr.models.targets import OUTPUTS, Contrast
from pathattr.paths.baselines import BASELINES
from pathattr.paths.orderings import ORDERINGS
from pathattr.paths.schedules import SCHEDULES, Schedule
from pathattr.pictures.image_model import ImageModel

MOST_STEPS = 10_000_000  # a gradient each: more is a slip of the keyboard, and would not fit the memory


def _names(table: Any) -> str:
    return ", ".join(table)


ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="scenes, torchvision:NAME, timm:NAME, hf:NAME_OR_FOLDER, keras:NAME, keras-file:PATH, savedmodel:FOLDER, "
        "module:callable or file.py:callable. The last three run the code in them: name only what you trust.",
    ),
]
OrderingOption = Annotated[str | None, typer.Option(help=f"{_names(ORDERINGS)}; default: the family's.")]
ScheduleOption = Annotated[str, typer.Option(help=f"{_names(SCHEDULES)}.")]
OverlapOption = Annotated[float, typer.Option(help="Overlap ω of the windows, 0 to 1; 1 is the straight line.")]
StepsOption = Annotated[
    str, typer.Option(help="Intervals of the path, or auto: as many gradients as the tolerance takes.")
]
ToleranceOption = Annotated[float, typer.Option(help="Estimated relative error at which --steps auto stops.")]
NodesOption = Annotated[
    str | None, typer.Option(help=f"Where nodes lie: {_names(NODES)}; default: uniform, or refined with --steps auto.")
]
RuleOption = Annotated[
    str | None, typer.Option(help=f"{_names(RULES)}; default: midpoint, or trapezoid where nodes are refined.")
]
BaselineOption = Annotated[
    str | None,
    typer.Option(help=f"{_names(BASELINES)} or a number; default: black where the preprocessing is known, else zero."),
]
TargetOption = Annotated[
    str | None,
    typer.Option(
        help="Class index or name, or one index for each output axis, such as 4,10,10; default: the predicted class."
    ),
]
ContrastOption = Annotated[str | None, typer.Option(help="Explain the target's score minus this class's.")]
OutputOption = Annotated[str | None, typer.Option("--output", help=f"{_names(OUTPUTS)}; default: probability.")]
DeviceOption = Annotated[str | None, typer.Option(help="Such as cpu, cuda, cuda:1 or mps.")]
BatchOption = Annotated[str, typer.Option(help="Points that the model sees at once, or auto: what fits.")]
BackendOption = Annotated[
    str | None, typer.Option(help="Force one, such as torch, tensorflow or jax; default: the model's own.")
]
SeedOption = Annotated[int, typer.Option(help="For noise baselines and the shuffled ordering.")]
ChannelAxisOption = Annotated[
    int | None,
    typer.Option(help="Where the model takes the channels: 1 for first, -1 for last; default: asked of the model."),
]
ClassAxisOption = Annotated[
    int | None,
    typer.Option(
        help="Which axis of the model's outputs holds the classes, the batch axis counted; default: as its framework "
        "keeps them."
    ),
]
HeadOption = Annotated[
    str | None, typer.Option(help="Name or number of the output that is meant where the model returns several.")
]
SizeOption = Annotated[int | None, typer.Option(help="Resize and crop pictures to this size.")]
OutOption = Annotated[
    Path,
    typer.Option(
        help="Folder for the results. Files there that are not results are never overwritten, and earlier results "
        "only where they answer the same question."
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace earlier results whatever they answer.")]
FAMILY_HELP = f"{_names(FAMILIES)}."


@dataclass(frozen=True)
class Settings:
    """What a command was asked for, but for the family."""

    ordering: str | None = None
    schedule: str = "linear"
    overlap: float = 0.4
    steps: str = "200"
    rule: str | None = None
    baseline: str | None = None
    output: str | None = None
    batch_size: str = "32"
    seed: int = 0
    backend: str | None = None
    tolerance: float = 0.02
    nodes: str | None = None
    class_axis: int | None = None
    head: str | None = None

    def check(
        self, families: Sequence[str], size: int | None = None, channel_axis: int | None = None
    ) -> list[PathExplainer]:
        """Return an explainer without a model for each family.

        Raises InvalidInput for what can be told to be wrong without the model, before it is loaded.
        """
        if self.backend is not None and self.backend not in backends():
            raise InvalidInput(f"unknown backend {self.backend!r}; the names are {', '.join(sorted(backends()))}")
        if size is not None and size < 1:
            raise InvalidInput(f"--size is the side of a picture in pixels, at least 1; got {size}")
        if channel_axis not in (None, 1, -1):
            raise InvalidInput(f"--channel-axis is 1 for channels first or -1 for last; got {channel_axis}")
        steps = whole_or_auto("--steps", self.steps)
        if steps != "auto" and steps > MOST_STEPS:
            raise InvalidInput(
                f"--steps is at most {MOST_STEPS:,}; got {steps:,}: --steps auto takes as many as the tolerance needs"
            )
        return [self.explainer(ImageModel(None), 1, family) for family in families]

    def explainer(self, image_model: ImageModel, channel_axis: int, family: str) -> PathExplainer:
        """Return the explainer that these settings mean for a model and a family."""
        schedule: Schedule = named("schedule", self.schedule, SCHEDULES, Schedule)
        return PathExplainer(
            image_model.model,
            family=family,
            ordering=self.ordering,
            schedule=_with_overlap(schedule, self.overlap),
            steps=whole_or_auto("--steps", self.steps),
            tolerance=self.tolerance if self.steps == "auto" else None,
            nodes=self.nodes,
            rule=self.rule,
            baseline=_number_or_name(self.baseline),
            output=self.output,  # type: ignore[arg-type]  # a name, checked by the explainer
            preprocessing=image_model.preprocessing,
            channel_axis=channel_axis,
            class_axis=self.class_axis,
            head=self.head,
            batch_size=whole_or_auto("--batch-size", self.batch_size),
            seed=self.seed,
            backend=self.backend,
        )


def target_from(target: str | None, contrast: str | None, classes: Any) -> Any:
    """Return the target that the options mean: a class by index or by name, a place of dense outputs, or a contrast."""
    chosen = _class(target, classes)
    return chosen if contrast is None else Contrast(chosen, _class(contrast, classes))


def _class(given: str | None, classes: Any) -> int | tuple[int, ...] | None:
    if given is None:
        return None
    if re.fullmatch(r"-?[0-9]+(,-?[0-9]+)+", given):
        return tuple(int(part) for part in given.split(","))
    if given.isascii() and given.removeprefix("-").isdigit():
        return int(given)
    names = [str(name) for name in classes or ()]
    matches = [i for i, name in enumerate(names) if name.lower() == given.lower()]
    matches = matches or [i for i, name in enumerate(names) if given.lower() in name.lower()]
    if len(matches) == 1:
        return matches[0]
    if not names:
        raise InvalidInput(
            f"target {given!r}: this model names no classes: give the class's index, such as 0, or return "
            "ImageModel(classes=[...])"
        )
    if matches:
        found = ", ".join(names[i] for i in matches[:10])
        raise InvalidInput(
            f"target {given!r} must fit one class name; it fits {found}: write more of one, or give its index, such as "
            f"{matches[0]}"
        )
    close = get_close_matches(given, names, n=3, cutoff=0.4) or names[:3]
    raise InvalidInput(
        f"target {given!r} fits none of the model's {len(names)} class names, such as {', '.join(map(repr, close))}: "
        f"write part of one, or give an index from 0 to {len(names) - 1}"
    )


def _with_overlap(schedule: Schedule, overlap: float) -> Schedule:
    return replace(schedule, overlap=overlap)


def whole_or_auto(option: str, given: str) -> int | Literal["auto"]:
    """Return what an option holds: a whole number, or auto."""
    if given == "auto":
        return "auto"
    try:
        return int(given)
    except ValueError:
        raise InvalidInput(f"{option} takes a whole number or auto; got {given!r}") from None


def _number_or_name(baseline: str | None) -> str | float | None:
    if baseline is None:
        return None
    try:
        return float(baseline)
    except ValueError:
        return baseline
