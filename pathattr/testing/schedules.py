"""The contract of a schedule, check by check: its gates at every overlap, on every framework, and along paths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from pathattr.common.axes import Array
from pathattr.errors import InvalidInput
from pathattr.families import Linear
from pathattr.integration.quadrature import uniform_edges
from pathattr.paths.schedules import Schedule
from pathattr.testing import frameworks
from pathattr.testing.models import LinearModel
from pathattr.testing.properties import (
    amount,
    assert_close,
    assert_complete,
    assert_ends_are_met,
    assert_is_a_value,
    attributed,
    cubic,
    for_all,
    powers,
    size,
)
from pathattr.testing.strategies import SEEDS, families, overlaps, paths, rules, spectra

ALPHA = np.linspace(0, 1, 101)[:, None]
STRENGTHS = np.linspace(0, 1, 21)
STEPS = st.integers(1, 25)
# Starts and ends of windows lie in [0, 1] and are sums and products of two or three numbers there.
UNIT = 1e-15
# Relative to the largest number of a difference: some hundred components, two dozen edges, roundings of 1e-16.
ROUNDING = 1e-12
# What a continuous gate may rise by within 1e-9 of α, for slopes of up to a million.
LEAP = 1e-3


@dataclass(frozen=True)
class Contract:
    """A schedule under test; its overlap is varied if it has windows."""

    schedule: Schedule

    def at(self, overlap: float) -> Schedule:
        """Return the schedule with another overlap; as it is where it has no windows."""
        return replace(self.schedule, overlap=overlap) if self.schedule.windowed else self.schedule

    def noise(self, overlap: float) -> float:
        """Return what rounding may do to a gate: that of its progress, a quotient by ω, times the ramp's slope."""
        progress = np.linspace(0, 1, 1001)
        slope = 1000 * np.abs(np.diff(self.schedule.ramp(np, progress))).max()
        # The ramp's own operations round its values, and it may be steeper between these positions than across.
        schedule = self.at(overlap)
        return 0.0 if schedule.jumping else 2 * UNIT * (1 + slope / schedule.overlap)

    def paths(self, scales: bool = True) -> SearchStrategy[Any]:
        """Paths whose orderings the schedule is made for."""
        kind = self.schedule.made_for
        if kind is None:
            return paths(scales=scales)
        return paths(scales=scales, kind=kind, of=partial(families, kind=kind))

    def needs_windows(self) -> None:
        """Skip a check that is about windows for a schedule without."""
        if not self.schedule.windowed:
            pytest.skip(f"{self.schedule!r} has no windows: windowed is False")


def schedule_suite(schedule: Schedule, *, backends: Sequence[str] | None = None) -> Callable[..., None]:
    """Return a pytest test that runs the whole contract: `test_mine = schedule_suite(MyRamp())`.

    Its overlap is varied over [0, 1] where it is `windowed`; other parameters stay, so test those that matter with
    suites of their own.
    `backends` names the frameworks to run it in (all that are known; those not installed are skipped).
    """
    contract = Contract(schedule)
    everywhere = [
        pytest.param(partial(equals_numpy, name=name), id=f"{equals_numpy.__name__}-{name}")
        for name in frameworks.names(backends)
    ]

    @pytest.mark.parametrize("check", [*(pytest.param(check, id=check.__name__) for check in CHECKS), *everywhere])
    def test_contract(check: Callable[[Contract], None]) -> None:
        check(contract)

    return test_contract


def _gates(schedule: Schedule, alpha: Any, strengths: Any) -> Array:
    return np.asarray(schedule.gates(np, np.asarray(alpha, dtype=np.float64), np.asarray(strengths, dtype=np.float64)))


# Gates


def is_a_value(contract: Contract) -> None:
    """A schedule is a frozen dataclass that takes any overlap in [0, 1] and refuses others with InvalidInput.

    Without windows it refuses all but 1.
    """
    assert_is_a_value(contract.schedule)
    if not contract.schedule.windowed:
        assert contract.schedule.overlap == 1, "without windows gates move over the whole of [0, 1]: overlap is 1"
        with pytest.raises(InvalidInput, match="overlap"):
            replace(contract.schedule, overlap=0.4)
        return
    for overlap in (0.0, 0.4, 1.0):
        assert contract.at(overlap).overlap == overlap, "the overlap is not what was asked for"
    for overlap in (-0.1, 1.1, float("nan")):
        with pytest.raises(InvalidInput, match="overlap"):
            contract.at(overlap)


def gates_are_closed_at_0_and_open_at_1(contract: Contract) -> None:
    """Every gate is exactly 0 at α = 0 and exactly 1 at α = 1, whatever the window."""

    @for_all(overlaps())
    def holds(overlap: float) -> None:
        schedule = contract.at(overlap)
        assert (_gates(schedule, [[0.0]], STRENGTHS) == 0).all(), "a gate is not 0 at α = 0"
        assert (_gates(schedule, [[1.0]], STRENGTHS) == 1).all(), "a gate is not 1 at α = 1"


def gates_rise_from_0_to_1(contract: Contract) -> None:
    """Gates have the shape of α and strengths together, stay in [0, 1] and never close again."""

    @for_all(overlaps())
    def holds(overlap: float) -> None:
        table = _gates(contract.at(overlap), ALPHA, STRENGTHS)
        assert table.shape == (101, 21), f"α (101, 1) and strengths (21,) give gates {table.shape}"
        assert ((table >= 0) & (table <= 1)).all(), "a gate is outside [0, 1]"
        assert np.diff(table, axis=0).min() >= -contract.noise(overlap), "a gate closes again"


def the_stronger_is_never_later(contract: Contract) -> None:
    """At every α a gate is open as far as that of any weaker component, or further."""

    @for_all(overlaps())
    def holds(overlap: float) -> None:
        table = _gates(contract.at(overlap), ALPHA, STRENGTHS)
        assert np.diff(table, axis=1).min() >= -contract.noise(overlap), "a weaker component is ahead"


def full_overlap_opens_all_gates_together(contract: Contract) -> None:
    """With ω = 1 every window is [0, 1]: one gate for all strengths."""
    contract.needs_windows()
    table = _gates(contract.at(1.0), ALPHA, STRENGTHS)
    assert (table == table[:, :1]).all(), "strengths differ in their gates at ω = 1"


def gates_keep_to_their_windows(contract: Contract) -> None:
    """A gate is closed until its window begins and open once it ends; windows lie in [0, 1]."""
    contract.needs_windows()

    @for_all(overlaps(), st.floats(0, 1, allow_subnormal=False), st.floats(0, 1, allow_subnormal=False))
    def holds(overlap: float, alpha: float, strength: float) -> None:
        schedule = contract.at(overlap)
        start = float(schedule.starts(np.asarray(strength)))
        inside = -UNIT <= start <= 1 - overlap + UNIT
        assert inside, f"the window [{start}, {start + overlap}] is not inside [0, 1]"
        for position in (alpha, start - 2 * UNIT, start + overlap + 2 * UNIT):
            gate = _gates(schedule, position, strength)
            if position < start - UNIT:
                assert gate == 0, f"open at α = {position}, before its window begins at {start}"
            if position > start + overlap + UNIT:
                assert gate == 1, f"not open at α = {position}, after its window ends at {start + overlap}"


def the_ramp_runs_from_0_to_1(contract: Contract) -> None:
    """The ramp is 0 at the beginning of a window, 1 at its end and never falls between, and keeps a table's shape."""
    progress = np.linspace(0, 1, 1001).reshape(7, 143)
    ramp = np.asarray(contract.schedule.ramp(np, progress))
    assert ramp.shape == progress.shape, f"progress {progress.shape} gives {ramp.shape}"
    assert ramp.flat[0] == 0, f"the ramp begins at {ramp.flat[0]}"
    assert ramp.flat[-1] == 1, f"the ramp ends at {ramp.flat[-1]}"
    assert np.diff(ramp.ravel()).min() >= -2 * UNIT, "the ramp falls"  # but for rounding of a few operations


def jumping_tells_whether_gates_jump(contract: Contract) -> None:
    """Where `jumping` is False gates are continuous; where it is True they go from 0 to 1 at `openings`."""
    if contract.schedule.windowed:
        assert contract.at(0.0).jumping, "without overlap a window has no length: gates jump"

    @for_all(overlaps(smallest=0.05) | st.just(0.0), st.floats(0, 1, allow_subnormal=False))
    def holds(overlap: float, strength: float) -> None:
        schedule = contract.at(overlap)
        if not schedule.jumping:
            leap, alpha = _largest_leap(schedule, strength)
            assert leap < LEAP, f"a gate leaps by {leap:.3g} at α = {alpha:.6g}, and jumping is False"
            return
        opening = float(schedule.openings(np.asarray(strength)))
        assert 0 <= opening <= 1, f"a gate opens at α = {opening}"
        for alpha, gate in ((np.nextafter(opening, -1), 0.0), (opening, 1.0), (np.nextafter(opening, 2), 1.0)):
            if 0 < alpha < 1:
                assert _gates(schedule, alpha, strength) == gate, f"gate at α = {alpha}, jump at {opening}"


def _largest_leap(schedule: Schedule, strength: float) -> tuple[float, float]:
    """Return the largest rise that is left of a gate within 1e-9 of α, and where."""
    low, high = 0.0, 1.0
    while high - low > 1e-9:
        alpha = np.linspace(low, high, 1001)
        rises = np.diff(_gates(schedule, alpha, strength))
        at = int(rises.argmax())
        low, high = float(alpha[at]), float(alpha[at + 1])
    return float(rises[at]), low


# Paths


def edges_miss_no_movement(contract: Contract) -> None:
    """Wherever between two edges of the grid a gate moves, the integral has a node; all gates open to the end."""

    @for_all(overlaps(), spectra(), STEPS)
    def holds(overlap: float, spectrum: tuple[Array, Array], steps: int) -> None:
        strengths, energy = spectrum
        schedule, moving = contract.at(overlap), strengths[energy > 0]
        edges = uniform_edges(schedule, strengths, energy, steps)
        if not moving.size:
            assert edges.intervals == 0, "a path that never moves has nodes"
            return
        grid = np.linspace(0, 1, steps + 1)
        rises = np.abs(np.diff(_gates(schedule, grid[:, None], moving), axis=0)).max(axis=1)
        moves = np.flatnonzero(rises > max(contract.noise(overlap), 1e-12))  # at its very border rounding may decide
        missed = set(moves) - set(np.searchsorted(grid, edges.middle) - 1)
        assert not missed, f"gates move in the intervals {sorted(missed)} of {steps}, which get no node"
        ends = _gates(schedule, np.array([[edges.low[0]], [edges.high[-1]]]), moving)
        assert (ends == [[0.0], [1.0]]).all(), "gates do not go from 0 to 1 between the first edge and the last"


def linear_models_are_complete(contract: Contract) -> None:
    """F = Σ w·x is explained to rounding for any family, ordering, rule and number of steps, components included."""

    @for_all(contract.paths(), overlaps(), rules(), STEPS, SEEDS)
    def holds(path: Any, overlap: float, rule: str, steps: int, seed: int) -> None:
        family, ordering, _, difference = path
        weights, start = np.random.default_rng(seed).normal(size=(2, *difference.shape))
        x, start = start * size(difference) + difference, start * size(difference)
        schedule = contract.at(overlap)
        options = {"family": family, "ordering": ordering, "schedule": schedule, "baseline": start, "steps": steps}
        found = attributed(LinearModel(weights), x[None], rule=schedule.rule or rule, **options)
        # A path leaves the box between its ends, by a few times.
        assert_complete(found, (weights * (x - start))[None], 10 * ROUNDING * size(difference) * size(weights))


def squares_are_explained_across_jumps(contract: Contract) -> None:
    """F = Σ w·x² by midpoints is explained to rounding, jumps taken by their chords."""

    @for_all(contract.paths(scales=False), overlaps(), STEPS, SEEDS)
    def holds(path: Any, overlap: float, steps: int, seed: int) -> None:
        family, ordering, _, x = path
        model, schedule = powers(x.shape, 2, seed), replace(contract.at(overlap), jumps="chord")
        found = attributed(model, x[None], family=family, ordering=ordering, schedule=schedule, steps=steps)
        assert_complete(found, model.line_integral(x, np.zeros_like(x))[None], ROUNDING * amount(model, x))


def the_path_ends_where_it_should(contract: Contract) -> None:
    """A path begins at the baseline and ends at the input exactly; without jumps it reaches both without a leap."""

    @for_all(contract.paths(scales=False), overlaps(smallest=0.1), SEEDS)
    def holds(path: Any, overlap: float, seed: int) -> None:
        family, ordering, _, difference = path
        start = np.random.default_rng(seed).normal(size=difference.shape)
        # Where gates jump, a component may arrive in the last moment.
        bound = np.inf if contract.schedule.jumping else 10 * LEAP * size(difference)
        options = {"family": family, "ordering": ordering, "schedule": contract.at(overlap)}
        assert_ends_are_met(start + difference, start, bound, **options)


def full_overlap_is_the_straight_line(contract: Contract) -> None:
    """With ω = 1 any components move together: along the straight line, at the ramp's speed."""
    contract.needs_windows()

    @for_all(contract.paths(scales=False), rules())
    def holds(path: Any, rule: str) -> None:
        family, ordering, _, x = path
        model, schedule = cubic(x.shape, 0), contract.at(1.0)
        options = {"schedule": schedule, "rule": schedule.rule or rule}
        found = attributed(model, x[None], family=family, ordering=ordering, **options)
        expected = attributed(model, x[None], family=Linear(), **options)
        assert_close(found.numpy(), expected.numpy(), ROUNDING * amount(model, x), "attributions")


# On frameworks


def equals_numpy(contract: Contract, name: str) -> None:
    """The framework's operations alone make the gates: its own arrays, NumPy's values to its precision."""
    backend = frameworks.wrapped(name)
    alpha, strengths = ALPHA.reshape(1, -1, 1, 1), STRENGTHS.reshape(1, 1, 3, 7)
    for overlap in (0.0, 0.1, 0.4, 1.0):
        schedule = contract.at(overlap)
        gates = schedule.gates(backend, backend.wide(alpha), backend.wide(strengths))
        assert type(backend).recognises_array(gates), f"gates on {name} are {type(gates)}"
        found = backend.to_numpy(gates).astype(np.float64)
        expected = schedule.gates(np, alpha, strengths)
        # In float32 a number near 1 is rounded 5e8 times as coarsely; a cosine or exponential adds a few roundings.
        unit = 1.0 if backend.has_float64 else float(np.finfo(np.float32).eps / np.finfo(np.float64).eps)
        if schedule.jumping:
            # At the jump itself rounding decides.
            away = np.abs(alpha - schedule.openings(strengths)) > 4 * UNIT * unit
            found, expected = found[away], expected[away]
        assert_close(found, expected, 4 * unit * contract.noise(overlap), f"gates on {name} for ω = {overlap}")


CHECKS = (
    is_a_value,
    gates_are_closed_at_0_and_open_at_1,
    gates_rise_from_0_to_1,
    the_stronger_is_never_later,
    full_overlap_opens_all_gates_together,
    gates_keep_to_their_windows,
    the_ramp_runs_from_0_to_1,
    jumping_tells_whether_gates_jump,
    edges_miss_no_movement,
    linear_models_are_complete,
    squares_are_explained_across_jumps,
    the_path_ends_where_it_should,
    full_overlap_is_the_straight_line,
)
"""What is checked without a framework; `equals_numpy` comes once for each."""
