"""A grid of settings: every combination of what was listed, less those that are the same or cannot be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, DecimalException, InvalidOperation
from functools import partial
from itertools import product
from typing import Any, Literal

from pathattr.common.axes import Array
from pathattr.common.names import named, one_of
from pathattr.errors import InvalidInput
from pathattr.families import FAMILIES, PathFamily
from pathattr.methods.explainer import Explainer, ExplainerOptions
from pathattr.methods.path_explainer import PathExplainer
from pathattr.methods.table import METHODS
from pathattr.models.targets import OUTPUTS
from pathattr.paths.baselines import BASELINES, Baseline, baseline_from
from pathattr.paths.orderings import ORDERINGS, Ordering
from pathattr.paths.schedules import SCHEDULES, Schedule
from pathattr.studies.setting import Fact, Setting, described_settings

CHANNELS = ("separate", "joint")
FACTS = ("ordering", "schedule", "overlap", "baseline", "channels", "output")
BASELESS = ("blur-ig", "smoothgrad", "smoothgrad-squared", "vargrad")  # theirs is fixed, or plays no part
TOLERANCE = 0.05
MOST_VALUES = 1000  # of a range: more is a slip of the keyboard


def listed(option: str, text: str) -> list[str]:
    """Return the entries of a comma-separated list, each once."""
    entries = [entry.strip() for entry in text.split(",")]
    if not all(entries):
        raise InvalidInput(f"{option} takes a comma-separated list; got {text!r}")
    return list(dict.fromkeys(entries))


def numbers_of(option: str, text: str) -> list[float]:
    """Return the numbers of a comma-separated list of numbers and ranges start:stop:step, both ends included.

    Steps are counted in decimals, so that 0.1:1.0:0.1 holds 0.3 and ends at 1.0.
    """
    numbers: list[float] = []
    for entry in listed(option, text):
        try:
            parts = [Decimal(part) for part in entry.split(":")]
            if len(parts) not in (1, 3) or not all(part.is_finite() for part in parts):
                raise InvalidOperation
        except DecimalException:
            raise InvalidInput(f"{option} takes numbers and ranges start:stop:step; got {entry!r}") from None
        if len(parts) == 1:
            numbers.append(float(parts[0]))
            continue
        start, stop, step = parts
        if step == 0 or (stop - start) * step < 0:
            raise InvalidInput(f"{option}: the range {entry!r} never arrives: its step must lead from start to stop")
        try:
            count = int((stop - start) / step) + 1
        except DecimalException:  # more than decimals can count
            count = MOST_VALUES + 1
        if count > MOST_VALUES:
            raise InvalidInput(f"{option}: the range {entry!r} has more than {MOST_VALUES} values: take larger steps")
        numbers += [float(start + k * step) for k in range(count)]
    return list(dict.fromkeys(numbers))


@dataclass(frozen=True)
class Grid:
    """What to combine. Families are combined with everything, reference methods with outputs and, if any, baselines.

    An empty list of orderings, baselines or outputs leaves the default: the family's, the explainer's, the model's.
    `tolerance` is that of `steps="auto"`, None the usual one of a study, 5%.
    """

    methods: Sequence[str] = ()
    families: Sequence[str] = ()
    orderings: Sequence[str] = ()
    schedules: Sequence[str] = ("linear",)
    overlaps: Sequence[float] = (0.4,)
    baselines: Sequence[str] = ()
    channels: Sequence[str] = ("separate",)
    outputs: Sequence[str] = ()
    steps: int | Literal["auto"] = "auto"
    tolerance: float | None = None

    def __post_init__(self) -> None:
        if self.tolerance is not None and self.steps != "auto":
            raise InvalidInput(
                f"tolerance={self.tolerance!r} is what steps='auto' aims at, and a number of steps, here {self.steps}, "
                "aims at none: say steps='auto', or leave the tolerance out (tolerance=None)"
            )
        if not self.methods and not self.families:
            raise InvalidInput("a grid needs a family or a method: families=['svd'], or methods=['ig']")
        for name in self.methods:
            if name not in METHODS:
                one_of("method", name, tuple(METHODS))
        for name in self.families:
            named("family", name, FAMILIES, PathFamily)
        for name in self.orderings:
            named("ordering", name, ORDERINGS, Ordering)
        for name in self.schedules:
            schedule = named("schedule", name, SCHEDULES, Schedule)
            for overlap in self.overlaps:
                replace(schedule, overlap=overlap)
        for name in self.baselines:
            number_or_name(name)
        for name in self.channels:
            one_of("channels", name, CHANNELS)
        for name in self.outputs:
            one_of("output", name, tuple(OUTPUTS))

    @property
    def aim(self) -> float | None:
        """The tolerance that explainers get; None where they have a number of steps."""
        if self.steps != "auto":
            return None
        return TOLERANCE if self.tolerance is None else self.tolerance

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Yield every combination, with None for what it leaves to a default and for what plays no part in it."""
        ends = list(product(self.baselines or (None,), self.outputs or (None,)))
        for method, (baseline, output) in product(self.methods, ends):
            yield {"method": method, "baseline": None if method in BASELESS else baseline, "output": output}
        inner = product(self.orderings or (None,), self.schedules, self.overlaps, self.channels)
        for family, (ordering, schedule, overlap, channels), (baseline, output) in product(
            self.families, list(inner), ends
        ):
            facts = {"ordering": ordering, "schedule": schedule, "overlap": overlap}
            yield {
                "family": family,
                **_sensible(family, channels, facts),
                "baseline": baseline,
                "output": output,
            }

    def count(self) -> int:
        """Return how many combinations were asked for."""
        return sum(1 for _ in self.combinations())


def _sensible(family: str, channels: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of a combination without those that play no part: a line has no order, only SVD has matrices."""
    if not FAMILIES[family]().ordered:
        return dict.fromkeys([*facts, "channels"])
    if family == "svd" or family == "svd-joint":
        return {**facts, "channels": "joint" if family == "svd-joint" else channels}
    return {**facts, "channels": None}


@dataclass(frozen=True)
class Combined:
    """The settings of a grid; `same` are combinations that are one row, `refused` those that cannot be, and why."""

    settings: list[Setting]
    same: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


def combined(grid: Grid, model: Any, example: Array, options: ExplainerOptions) -> Combined:
    """Return a grid's settings for a model; `example` (1, ...) is an input, `options` what all explainers share.

    Explainers are made, and each path is laid out for the example without running the model, so that what a family
    refuses is known before any work. Raises InvalidInput where nothing is left.
    """
    found: dict[str, tuple[dict[str, Any], Explainer]] = {}
    of: dict[str, str] = {}  # what settings look like -> the name of the first
    several: dict[str, int] = {}
    same, refused = [], []
    several_values = {
        "ordering": grid.orderings, "schedule": grid.schedules, "overlap": grid.overlaps,
        "baseline": grid.baselines, "output": grid.outputs,
    }  # fmt: skip
    varied = {fact for fact, values in several_values.items() if len(values) > 1}
    for facts in grid.combinations():
        name = setting_name(facts, varied)
        if name in found:
            several[name] = several.get(name, 1) + 1
            continue
        try:
            explainer = _explainer(grid, facts, model, options)
            if isinstance(explainer, PathExplainer):
                explainer.path(example, [0.5])
        except InvalidInput as error:
            refused.append((name, str(error)))
            continue
        looks = repr(sorted(described_settings(explainer).items()))
        if looks in of:
            same.append(f"{name} is the same as {of[looks]}")
            continue
        of[looks] = name
        found[name] = (facts, explainer)
    same = [f"{name}: {count} combinations are this one row" for name, count in several.items()] + same
    refused = list(dict.fromkeys(refused))
    if not found:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in refused[:3])
        raise InvalidInput(f"no setting of the grid can be: {reasons}")
    settings = [
        Setting(name, partial(_kept, explainer), _told(facts, explainer, grid))
        for name, (facts, explainer) in found.items()
    ]
    return Combined(settings, same, refused)


def setting_name(facts: Mapping[str, Any], varied: set[str]) -> str:
    """Return how tables call a combination: the method or family, and what varies over the grid."""
    head = facts.get("method") or facts["family"]
    head = "svd-joint" if facts.get("channels") == "joint" else head
    written: dict[str, Callable[[Any], str]] = {
        "ordering": str,
        "schedule": lambda value: f"{value}-ramp",
        "overlap": lambda value: f"ω={value:g}",
        "baseline": lambda value: f"from {value}",
        "output": lambda value: f"of {value}",
    }
    tail = [write(facts[fact]) for fact, write in written.items() if fact in varied and facts.get(fact) is not None]
    return " ".join([head, *tail])


def number_or_name(given: str | None) -> str | float | None:
    """Return a baseline as an explainer takes it: a number, or a name that is known."""
    if given is None:
        return None
    try:
        value = float(given)
    except ValueError:
        named("baseline", given, BASELINES, Baseline)
        return given
    baseline_from(value, None)
    return value


def _explainer(grid: Grid, facts: Mapping[str, Any], model: Any, options: ExplainerOptions) -> Explainer:
    # What is not said is not passed: a method may have a baseline of its own.
    ends: ExplainerOptions = {}
    if facts["baseline"] is not None:
        ends["baseline"] = number_or_name(facts["baseline"])
    if facts["output"] is not None:
        ends["output"] = facts["output"]
    asked: ExplainerOptions = {**options, **ends}
    if "method" in facts:
        return _reference(METHODS[facts["method"]], grid, model, asked)
    family, ordering = facts["family"], facts["ordering"]
    schedule = facts["schedule"]
    return PathExplainer(
        model,
        family="svd-joint" if facts["channels"] == "joint" else family,
        ordering=ordering,
        schedule=None
        if schedule is None
        else replace(named("schedule", schedule, SCHEDULES, Schedule), overlap=facts["overlap"]),
        steps=grid.steps,
        tolerance=grid.aim,
        components=False,
        **asked,
    )


def _reference(method: Any, grid: Grid, model: Any, asked: ExplainerOptions) -> Explainer:
    """Return a reference method, at the grid's steps or tolerance if it integrates along a path given beforehand."""
    explainer: Explainer = method(model, **asked)
    if isinstance(explainer, PathExplainer):
        return explainer.but(steps=grid.steps, tolerance=grid.aim, components=False)
    # Nothing estimates the error of the others: they keep their own number of gradients, and tables show it.
    return explainer if grid.steps == "auto" else method(model, steps=grid.steps, **asked)


def _kept(explainer: Explainer) -> Explainer:
    return explainer


def _told(facts: Mapping[str, Any], explainer: Explainer, grid: Grid) -> dict[str, Fact]:
    """Return the facts for the table's columns; defaults by their names."""
    told = {"method": facts.get("method"), "family": facts.get("family")} | {fact: facts.get(fact) for fact in FACTS}
    if isinstance(explainer, PathExplainer):
        told["family"] = told["family"] or _name_of(explainer.family, FAMILIES)
        if explainer.family.ordered:
            told["ordering"] = told["ordering"] or _name_of(explainer.ordering, ORDERINGS)
            told["overlap"] = explainer.schedule.overlap
            told["schedule"] = told["schedule"] or _name_of(explainer.schedule, SCHEDULES)
        told["steps"] = str(explainer.steps)
        told["tolerance"] = explainer.tolerance
    else:
        told["steps"], told["tolerance"] = str(grid.steps) if grid.steps != "auto" else None, None
    told["baseline"] = told["baseline"] or _name_of(explainer.baseline, BASELINES)
    return told


def _name_of(given: Any, table: Mapping[str, Callable[[], Any]]) -> str:
    """Return the name of an object in its table, or what kind it is."""
    for name, make in table.items():
        if repr(make()) == repr(given):
            return name
    return next((name for name, make in table.items() if type(make()) is type(given)), type(given).__name__)
