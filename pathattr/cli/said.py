"""Options that were said and mean nothing beside the others: refused, so that none is dropped without a word."""

from __future__ import annotations

from collections.abc import Sequence, Set

import typer

from pathattr.cli.terminal import say
from pathattr.errors import InvalidInput
from pathattr.methods.path_explainer import PathExplainer
from pathattr.methods.table import METHODS
from pathattr.metrics.table import FILLED
from pathattr.paths.baselines import GaussianNoise, UniformNoise
from pathattr.paths.orderings import Shuffled
from pathattr.studies.grid import BASELESS, Grid

SWITCHING = ("ordering", "schedule", "overlap")  # how components are switched on
FAMILY, METHOD = "choose another --family", "choose another --method"


def said(context: typer.Context) -> Set[str]:
    """Return the names of the options that stand on the command line, whatever their values."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}


def check_path(given: Set[str], explainers: Sequence[PathExplainer]) -> None:
    """Raise InvalidInput for an option that none of the explainers uses; a seed is noted, as it changes no number."""
    _check_tolerance(given, explainers[0].steps)
    if not any(explainer.family.ordered for explainer in explainers):
        _leave_out(given, SWITCHING, "the straight line has one component, which nothing switches on", FAMILY)
    drawn = any(
        isinstance(explainer.baseline, UniformNoise | GaussianNoise) or isinstance(explainer.ordering, Shuffled)
        for explainer in explainers
    )
    if "seed" in given and not drawn:
        say("note: --seed changes nothing here: only the baselines uniform and gaussian and --ordering shuffled draw")


def check_cost(given: Set[str], explainer: PathExplainer) -> None:
    """Raise InvalidInput for an option that measuring an explainer's cost does not use."""
    if not explainer.family.ordered:
        _leave_out(given, SWITCHING, "the straight line has one component, which nothing switches on", FAMILY)
    if explainer.schedule.jumping:
        _leave_out(given, ("tolerance",), "gates that jump are not refined to one", "say an --overlap above 0")


def check_grid(given: Set[str], grid: Grid, metrics: Sequence[str]) -> None:
    """Raise InvalidInput for an option of a study that no combination of its grid, and no metric, uses."""
    _check_tolerance(given, grid.steps)
    if not set(grid.families) - {"linear"}:
        why = "it is for families of several components, and none is asked for"
        _leave_out(given, (*SWITCHING, "channels"), why, FAMILY)
    if "svd" not in grid.families:
        _leave_out(given, ("channels",), "it is for --family svd, which is not asked for", "add that")
    if not grid.families and set(grid.methods) <= set(BASELESS) and "infidelity" not in metrics:
        _leave_out(given, ("baseline",), f"{_listed(grid.methods)} takes none that could be chosen", METHOD)
    if not grid.families and not any(_is_path(name) for name in grid.methods):
        why = f"{_listed(grid.methods)} takes a number of gradients, and nothing estimates its error"
        _leave_out(given, ("tolerance",), why, METHOD)
    if not grid.families and set(grid.methods) == {"gradient-input"}:
        _leave_out(given, ("steps",), "gradient × input takes one gradient", METHOD)
    if not set(metrics) & set(FILLED):
        why = f"{_listed(metrics)} puts nothing in the place of what is removed"
        _leave_out(given, ("fill",), why, "choose another --metric")


def _check_tolerance(given: Set[str], steps: object) -> None:
    if "tolerance" in given and steps != "auto":
        raise InvalidInput(
            f"--tolerance is what --steps auto aims at, and a number of steps, here {steps}, aims at none: say "
            "--steps auto, or leave --tolerance out"
        )


def _leave_out(given: Set[str], options: Sequence[str], why: str, instead: str) -> None:
    for option in options:
        if option in given:
            raise InvalidInput(f"--{option} plays no part here: {why}. Leave it out, or {instead}")


def _is_path(method: str) -> bool:
    return isinstance(METHODS[method](None), PathExplainer)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names)
