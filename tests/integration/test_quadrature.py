"""Edges and rules: nothing on the way is lost, nothing that rests is counted, orders are as declared."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pathattr import Linear, LinearRamp, NumpyModel, PathExplainer, StepRamp
from pathattr.integration.quadrature import RULES, Rule, uniform_edges
from pathattr.testing import LinearModel
from pathattr.testing.strategies import CONTINUOUS, RAMPS, rules, schedules, spectra
from reference import SmoothModel

STEPS = st.integers(1, 25)
# Edges and windows lie in [0, 1]: a few roundings of numbers near 1.
ROUNDING = 1e-12


def at_edges(edges, schedule, strengths):
    """Gates at the edge points, (edges, components)."""
    low, high = (schedule.gates(np, alpha[:, None], strengths) for alpha in (edges.low, edges.high))
    share = edges.share[:, None]
    return (1 - share) * low + share * high


def on_grid(steps, schedule, strengths):
    """Gates at all grid points, (steps + 1, components)."""
    return schedule.gates(np, np.linspace(0, 1, steps + 1)[:, None], strengths)


# Rules


def test_rules_are_those_of_the_textbooks():
    assert {name: (rule.point, rule.increment, rule.order) for name, rule in RULES.items()} == {
        "left": ((1, 0), (-1, 1), 1),
        "right": ((0, 1), (-1, 1), 1),
        "midpoint": ((0.5, 0.5), (-1, 1), 2),
        "trapezoid": ((0, 1, 0), (-0.5, 0, 0.5), 2),
    }


@pytest.mark.parametrize(
    ("point", "increment"),
    [((0.5, 0.4), (-1, 1)), ((1, 0), (-1, 0.9)), ((1, 0, 0), (-1, 1)), ((1,), (0,))],
)
def test_rules_that_cannot_be_right_are_refused(point, increment):
    with pytest.raises(AssertionError):
        Rule(point, increment, order=1)


@pytest.mark.parametrize(("rule", "nodes"), [("left", 4), ("right", 4), ("midpoint", 4), ("trapezoid", 5)])
def test_nodes_and_positions_on_the_straight_line(rule, nodes):
    edges = uniform_edges(LinearRamp(1.0), np.ones(1), np.ones(1), 4)
    assert edges.nodes(RULES[rule]) == nodes
    assert (
        edges.positions(RULES[rule]).tolist()
        == {
            "left": [0, 0.25, 0.5, 0.75],
            "right": [0.25, 0.5, 0.75, 1],
            "midpoint": [0.125, 0.375, 0.625, 0.875],
            "trapezoid": [0, 0.25, 0.5, 0.75, 1],
        }[rule]
    )


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("schedule", [LinearRamp(), LinearRamp(0.0), StepRamp(0.3, "published")])
def test_a_path_that_never_moves_has_no_nodes(rule, schedule):
    edges = uniform_edges(schedule, np.array([1.0, 0.5]), np.zeros(2), 10)
    assert edges.intervals == 0
    assert edges.nodes(RULES[rule]) == 0
    assert edges.positions(RULES[rule]).size == 0


@given(schedules(jumps=("chord", "published")), spectra(), STEPS, rules())
def test_positions_are_one_a_node_and_never_go_back(schedule, spectrum, steps, rule):
    edges = uniform_edges(schedule, *spectrum, steps)
    positions = edges.positions(RULES[rule])
    assert (
        len(positions)
        == edges.nodes(RULES[rule])
        == (edges.intervals + (rule == "trapezoid") if edges.intervals else 0)
    )
    if edges.intervals:
        assert positions.min() >= 0
        assert positions.max() <= 1
        assert np.diff(positions).min(initial=0) >= 0


@given(schedules(jumps=("chord", "published")), spectra(), STEPS)
def test_midpoints_lie_in_intervals_in_which_something_moves(schedule, spectrum, steps):
    strengths, energy = spectrum
    edges = uniform_edges(schedule, strengths, energy, steps)
    grid = np.linspace(0, 1, steps + 1)
    interval = np.searchsorted(grid, edges.positions(RULES["midpoint"])) - 1
    if schedule.jumping:
        moves = (np.diff(on_grid(steps, schedule, strengths[energy > 0]), axis=0) != 0).any(axis=1)
        assert set(interval) == set(np.flatnonzero(moves))
    else:
        assert set(interval) <= overlapping(schedule, strengths[energy > 0], grid, ROUNDING)


def test_midpoints_of_a_late_first_jump_by_hand():
    # One component that jumps at 0.75, in the third of four intervals.
    edges = uniform_edges(StepRamp(0.5), np.zeros(1), np.ones(1), 4)
    np.testing.assert_allclose(edges.positions(RULES["midpoint"]), [0.53125, 0.59375, 0.65625, 0.71875], atol=1e-15)


# Edges


@given(schedules(jumps=("chord", "published")), spectra(), STEPS)
def test_edges_lose_nothing(schedule, spectrum, steps):
    strengths, energy = spectrum
    assume(energy.any())
    moving = strengths[energy > 0]
    table = at_edges(uniform_edges(schedule, strengths, energy, steps), schedule, moving)
    assert (table[0] == 0).all()
    assert (table[-1] == 1).all()
    # Partial sums of numbers that add up to 1.
    np.testing.assert_allclose(np.diff(table, axis=0).sum(axis=0), 1, rtol=0, atol=1e-13)
    # Neither goes back by more than the rounding of a gate.
    rise = np.diff(table, axis=0).min()
    assert rise >= -1e-14 * (1 + 50 / max(schedule.overlap, 1e-300))


def overlapping(schedule, strengths, grid, margin):
    """Intervals of the grid that some window, widened by a margin at both ends, overlaps: one by one."""
    starts = schedule.starts(strengths)
    found = set()
    for t in range(len(grid) - 1):
        for start in starts:
            if start - margin < grid[t + 1] and start + schedule.overlap + margin > grid[t]:
                found.add(t)
    return found


@given(schedules(CONTINUOUS), spectra(), STEPS)
def test_intervals_are_those_in_which_something_moves(schedule, spectrum, steps):
    strengths, energy = spectrum
    assume(energy.any())
    assume(not schedule.jumping)
    moving, grid = strengths[energy > 0], np.linspace(0, 1, steps + 1)
    edges = uniform_edges(schedule, strengths, energy, steps)
    # At the very border of an interval rounding may decide.
    assert len(overlapping(schedule, moving, grid, -ROUNDING)) <= edges.intervals
    assert edges.intervals <= len(overlapping(schedule, moving, grid, ROUNDING))
    # What moves from edge to edge is what moves on the grid, in the same order.
    found = np.diff(at_edges(edges, schedule, moving), axis=0)
    expected = np.diff(on_grid(steps, schedule, moving), axis=0)
    found, expected = (table[np.abs(table).max(axis=1) > ROUNDING] for table in (found, expected))
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("overlap", [5e-324, 1e-300, 1e-17, 1e-16, 1e-12])
@pytest.mark.parametrize("strengths", [[0.0], [0.0, 0.5], [1.0]])
def test_windows_too_narrow_for_their_own_ends_are_not_lost(overlap, strengths):
    # 1 − ω rounds to 1, so that the window of the weakest component begins where the path ends.
    schedule, strengths = LinearRamp(overlap), np.array(strengths)
    edges = uniform_edges(schedule, strengths, np.ones(len(strengths)), 4)
    assert edges.intervals >= len(strengths)
    assert len(edges.positions(RULES["midpoint"])) == edges.intervals


def test_a_pause_is_not_counted_by_hand():
    # Windows [0, 0.25] and [0.75, 1] on a grid of eighths.
    schedule, both = LinearRamp(0.25), np.array([1.0, 0.0])
    edges = uniform_edges(schedule, both, np.ones(2), 8)
    assert edges.low.tolist() == [0, 0.125, 0.25, 0.875, 1]
    assert edges.positions(RULES["midpoint"]).tolist() == [0.0625, 0.1875, 0.8125, 0.9375]
    assert edges.intervals == 4
    # Without energy the second does not move.
    assert uniform_edges(schedule, both, np.array([1.0, 0.0]), 8).intervals == 2


@given(schedules(jumps=("chord", "published")), spectra(), STEPS)
def test_components_that_do_not_move_play_no_part(schedule, spectrum, steps):
    strengths, energy = spectrum
    assume(energy.any())
    whole = uniform_edges(schedule, strengths, energy, steps)
    part = uniform_edges(schedule, strengths[energy > 0], energy[energy > 0], steps)
    for name in ("low", "high", "share", "middle"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(part, name))


@given(schedules(), spectra(), STEPS)
def test_jumps_by_chord_take_all_the_steps(schedule, spectrum, steps):
    strengths, energy = spectrum
    assume(schedule.jumping)
    assume(energy.any())
    edges = uniform_edges(schedule, strengths, energy, steps)
    assert edges.intervals == steps
    # The jumps are those on the grid, each cut into equal parts.
    moving = strengths[energy > 0]
    expected = np.diff(on_grid(steps, schedule, moving), axis=0)
    jumps = expected[expected.any(axis=1)]
    table = at_edges(edges, schedule, moving)
    starts = np.flatnonzero(edges.share == 0)
    np.testing.assert_allclose(np.diff(table[starts], axis=0), jumps, rtol=0, atol=0)
    for first, last in pairwise(starts):
        np.testing.assert_allclose(edges.share[first:last], np.arange(last - first) / (last - first), atol=1e-15)


@given(schedules(), spectra(), STEPS)
def test_sub_nodes_are_shared_out_by_the_length_of_a_jump(schedule, spectrum, steps):
    strengths, energy = spectrum
    assume(schedule.jumping)
    assume(energy.any())
    edges = uniform_edges(schedule, strengths, energy, steps)
    parts = np.diff(np.flatnonzero(edges.share == 0))
    jumps = np.diff(on_grid(steps, schedule, strengths), axis=0)
    moves = ((jumps > 0) & (energy > 0)).any(axis=1)
    length = np.sqrt((jumps[moves] * (energy / energy.max()) ** 2).sum(axis=1))
    quota = 1 + length / length.sum() * (steps - len(length))
    assert np.abs(parts - quota).max() < 1 + 1e-9  # largest remainder: less than one from the quota, but for rounding


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_sub_nodes_by_hand_whatever_the_scale(scale):
    # Jumps of lengths 5 (of 3 and 4 together) and 15, in the first and the last interval: of the 20 sub-nodes
    # each has one, and the other 18 go in the ratio 1 : 3.
    strengths, energy = np.array([1.0, 1.0, 0.0]), scale * np.array([3.0, 4.0, 15.0])
    edges = uniform_edges(LinearRamp(0.0), strengths, energy, 20)
    assert np.diff(np.flatnonzero(edges.share == 0)).tolist() in ([5, 15], [6, 14])  # 1 + 4.5 and 1 + 13.5


@given(schedules(jumps=("published",)), spectra(), STEPS)
def test_published_jumps_take_the_jumping_intervals_only(schedule, spectrum, steps):
    strengths, energy = spectrum
    assume(schedule.jumping)
    assume(energy.any())
    edges = uniform_edges(schedule, strengths, energy, steps)
    moves = (np.diff(on_grid(steps, schedule, strengths[energy > 0]), axis=0) != 0).any(axis=1)
    assert edges.intervals == moves.sum()
    assert not edges.share.any()


# Rules through the explainer


@pytest.mark.parametrize("count", [1, 2, 3, 10])
@pytest.mark.parametrize("rule", RULES)
def test_a_constant_gradient_is_integrated_exactly_at_any_number_of_steps(rule, count):
    # Weights of a popular trapezoid sum to (n − 1)/n: 10% low at n = 10, nothing at n = 1.
    rng = np.random.default_rng(0)
    weights, x, start = rng.normal(size=(3, 1, 2, 3, 4))
    found = PathExplainer(LinearModel(weights).model(), family=Linear(), steps=count, rule=rule, baseline=start)(x)
    # Up to ten terms, each a product rounded a few times.
    np.testing.assert_allclose(found.attributions, weights * (x - start), rtol=0, atol=1e-14)
    assert found.evaluations.tolist() == [count + (rule == "trapezoid")]


@pytest.mark.parametrize("ramp", RAMPS)
@pytest.mark.parametrize("rule", ["midpoint", "trapezoid"])
def test_jumps_by_chord_converge_in_the_second_order(rule, ramp):
    shape = (1, 3, 4)
    model = SmoothModel(shape, seed=1)
    x = np.random.default_rng(5).normal(size=(1, *shape))

    def gap(steps):
        options = {"schedule": ramp(0.0), "rule": rule, "steps": steps}
        return abs(PathExplainer(NumpyModel(model.value, model.vjp), family="svd", **options)(x, 1).gap[0])

    # Three jumps share the steps by whole numbers, so that the ratio of 16 is met roughly.
    assert 8 < gap(48) / gap(192) < 32
