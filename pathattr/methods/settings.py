"""What the settings of a path mean together: presets, defaults, and what goes with what, decided in one place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from pathattr.common.checks import is_auto, is_number, whole
from pathattr.common.names import named, one_of
from pathattr.errors import InvalidInput
from pathattr.families import FAMILIES, PathFamily
from pathattr.integration.nodes import NODES, Nodes, Refined, Uniform
from pathattr.integration.quadrature import RULES
from pathattr.methods.presets import PRESETS
from pathattr.paths.baselines import baseline_from
from pathattr.paths.orderings import ORDERINGS, Energy, Ordering, Shuffled
from pathattr.paths.schedules import SCHEDULES, Schedule
from pathattr.pictures.preprocessing import Preprocessing

TOLERANCE = 0.02


@dataclass(frozen=True)
class PathSettings:
    """A path and how it is integrated, with nothing left to a default."""

    family: PathFamily
    ordering: Ordering
    schedule: Schedule
    steps: int | Literal["auto"]
    tolerance: float | None
    nodes: Nodes
    rule: str
    baseline: Any


def settled(
    *,
    preset: str | None,
    family: PathFamily | str | None,
    ordering: Ordering | str | None,
    schedule: Schedule | str | None,
    steps: int | Literal["auto"] | None,
    tolerance: float | None,
    nodes: Nodes | str | None,
    rule: str | None,
    baseline: Any,
    preprocessing: Preprocessing | None,
) -> PathSettings:
    """Return what `PathExplainer` does for what it was told, None where nothing was said.

    Raises InvalidInput for what is unknown, out of range, or means nothing beside the rest. A family of one component
    takes any ordering and overlap, and goes the straight line: the settings then tell what was done.
    """
    if preset is not None:
        one_of("preset", preset, tuple(name for name in PRESETS if name is not None))
    given = PRESETS[preset]
    family = named("family", given.family if family is None else family, FAMILIES, PathFamily)
    usual = family.default_ordering
    if given.published:
        family, usual = family.published()
    usual = given.ordering or usual
    order = named("ordering", usual if ordering is None else ordering, ORDERINGS, Ordering).for_family(usual)
    gates = named("schedule", given.schedule if schedule is None else schedule, SCHEDULES, Schedule)
    gates = replace(gates, jumps="published") if given.published else gates
    start = baseline_from(given.baseline if baseline is None else baseline, preprocessing)
    if family.ordered:
        gates.check((order.of or order) if isinstance(order, Shuffled) else order, start)
    else:  # one component has no order: whatever the ordering, its strength plays no part
        order, gates = Energy(), replace(gates, overlap=1.0)
    count = _steps(given.steps if steps is None else steps)
    plain: Nodes = Refined() if count == "auto" else Uniform()
    placing = named("nodes", plain if nodes is None else nodes, NODES, Nodes)
    return PathSettings(
        family=family,
        ordering=order,
        schedule=gates,
        steps=count,
        tolerance=_tolerance(tolerance, count),
        nodes=placing,
        rule=_rule(rule, given.rule, gates, placing, count, preset),
        baseline=start,
    )


def _steps(steps: int | Literal["auto"]) -> int | Literal["auto"]:
    return "auto" if is_auto(steps) else whole("steps", steps)


def _rule(
    said: str | None, usual: str, schedule: Schedule, nodes: Nodes, steps: int | Literal["auto"], preset: str | None
) -> str:
    """Return the rule, having seen that it, the nodes, the steps and the schedule's jumps go together."""
    if said is not None:
        one_of("rule", said, tuple(RULES))
    kind = type(nodes).__name__
    if steps == "auto" and not isinstance(nodes, Refined):
        raise InvalidInput(
            f"steps='auto' refines its nodes; nodes={kind}() takes a number of steps. Say which, or leave nodes out "
            "(nodes=None)"
        )
    if schedule.jumping and not isinstance(nodes, Uniform):
        raise InvalidInput(
            f"{kind}() nodes need a schedule without jumps: jumps are given their steps already. Choose ω > 0 and a "
            "continuous ramp, or nodes='uniform' with a number of steps"
        )
    if isinstance(nodes, Refined):
        if said not in (None, "trapezoid"):
            raise InvalidInput(
                f"refined nodes are integrated by the trapezoidal rule; got rule={said!r}: leave the rule out "
                "(rule=None), or choose other nodes with a number of steps"
            )
        return "trapezoid"
    if schedule.rule is not None:
        if said not in (None, schedule.rule):
            chord = "leave the preset out" if PRESETS[preset].published else "say jumps='chord' in the schedule"
            raise InvalidInput(
                f"published jumps take the gradient before each jump, which is rule={schedule.rule!r}; got "
                f"rule={said!r}: leave the rule out (rule=None), or {chord}"
            )
        return schedule.rule
    return usual if said is None else said


def _tolerance(said: float | None, steps: int | Literal["auto"]) -> float | None:
    if said is None:
        return TOLERANCE if steps == "auto" else None
    if not is_number(said) or not 0 < said < 1:
        raise InvalidInput(f"tolerance is a relative error between 0 and 1; got {said!r}")
    if steps != "auto":
        raise InvalidInput(
            f"tolerance={said!r} is what steps='auto' aims at, and a number of steps, here {steps}, aims at none: say "
            "steps='auto', or leave the tolerance out (tolerance=None)"
        )
    return float(said)
