"""Where nodes lie: shares of the path and their places, equal lengths, and where the score moves."""

import re
import threading

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pathattr import GradientCallback, InvalidInput, LinearRamp, NumpyModel, PathExplainer
from pathattr.integration.nodes import GRID, NODES, ArcLength, Course, OutputAware, Refined, Uniform
from pathattr.testing import LinearModel, TanhNetwork
from pathattr.testing.strategies import CONTINUOUS, schedules, spectra

SHAPE = (2, 5, 4)
NETWORK = TanhNetwork.random(SHAPE)
SHARES = arrays(float, st.integers(1, 20), elements=st.floats(0, 1))


def inputs(count=2):
    return np.random.default_rng(1).normal(size=(count, *SHAPE))


@st.composite
def courses(draw):
    strengths, energy = draw(spectra())
    assume(energy.any())
    return Course(draw(schedules(CONTINUOUS)), strengths, energy)


# Shares of the path


@given(courses(), SHARES)
def test_shares_have_places_and_places_their_shares(course, shares):
    assume(not course.schedule.jumping)
    shares = np.sort(shares)
    places = course.at(shares)
    assert ((places >= 0) & (places <= 1)).all()
    assert (np.diff(places) >= 0).all()
    # One division and one multiplication by numbers of order 1 each way; α in steps of 1.1e-16 of a grid interval, in
    # which at most the whole path moves.
    np.testing.assert_allclose(course.measure(places), shares, rtol=0, atol=8 * GRID * np.finfo(float).eps)


@given(courses(), SHARES)
def test_the_measure_rises_from_0_to_1_at_the_ends_exactly(course, positions):
    assert (np.diff(course.measure(np.sort(positions))) >= 0).all()
    assert course.measure(np.array([0.0, 1.0])).tolist() == [0.0, 1.0]
    assert course.at(np.array([0.0, 1.0])).tolist() == [0.0, 1.0]


@given(courses(), st.integers(0, GRID - 2))
def test_where_the_path_rests_nothing_is_measured(course, k):
    low, high = k / (GRID - 1), (k + 1) / (GRID - 1)
    moving = course.energy > 0
    starts = course.schedule.starts(course.strengths[moving])
    within = (starts < high) & (starts + course.schedule.overlap > low)
    assume(not within.any())
    # Windows that touch an interval's end may reach a rounding into it.
    assert np.diff(course.measure(np.array([low, high])))[0] < 1e-9


@given(courses(), arrays(float, st.integers(2, 30), elements=st.floats(0, 1)))
def test_edges_rise_from_0_to_1(course, shares):
    edges = course.edges(np.concatenate([[0.0], np.sort(shares), [1.0]]))
    assert edges.low[0] == 0
    assert edges.low[-1] == 1
    assert (np.diff(edges.low) > 0).all()
    assert (edges.low[:-1] < edges.middle).all()
    assert (edges.middle < edges.low[1:]).all()


def test_a_share_behind_a_rest_lies_where_the_path_moves_again():
    """Two windows of 0.001 with nothing between: no share of the path belongs to the rest."""
    course = Course(LinearRamp(0.001), np.array([1.0, 0.0]), np.ones(2))
    places = course.at(np.linspace(0, 1, 102)[1:-1])
    assert ((places <= 0.0015) | (places >= 0.9985)).all()  # a grid interval of 0.0005 more


def test_a_path_that_never_moves_measures_nothing():
    course = Course(LinearRamp(), np.array([0.5]), np.zeros(1))
    assert course.measure(np.array([0.0, 0.7, 1.0])).tolist() == [0, 0, 0]


def test_large_and_tiny_energies_stay_in_range():
    course = Course(LinearRamp(0.4), np.array([1.0, 0.0]), np.array([1e300, 1e-300]))
    assert course.measure(np.array([0.401]))[0] == 1  # the tiny one opens at 0.6; grid intervals are 0.0005


# Placements


def edges(nodes, schedule, steps=50, strengths=(1.0,), energy=(1.0,), scores=None):
    return nodes.edges(Course(schedule, np.array(strengths), np.array(energy)), steps, scores)


def test_equal_shares_of_a_line_at_constant_speed_are_uniform():
    found = edges(ArcLength(), LinearRamp(1.0))
    np.testing.assert_allclose(found.low, np.linspace(0, 1, 51), rtol=0, atol=1e-12)  # 2048 roundings of a sum to 1


@given(courses(), st.integers(1, 40))
def test_no_placement_takes_more_than_its_steps(course, steps):
    assume(not course.schedule.jumping)
    for make in NODES.values():
        found = make().edges(course, steps, np.sin)
        assert 1 <= found.intervals <= steps


def step_at(place, width=0.002):
    return lambda alpha: 1 / (1 + np.exp(np.clip((place - alpha) / width, -500, 500)))


@pytest.mark.parametrize("place", [0.11, 0.5, 0.93])
def test_output_aware_nodes_gather_where_the_score_moves(place):
    found = edges(OutputAware(), LinearRamp(1.0), 100, scores=step_at(place))
    near = np.abs(found.middle - place) < 1 / 32  # the interval of the grid in which it moves, at most
    # 0.7 of the density for one interval of 32, or for two that share the step.
    assert near.sum() > 65
    assert len(found.low) == 101


def test_output_aware_without_a_moving_score_falls_back_to_equal_shares():
    for score in (0.3, np.nan):  # a model whose score is not known among them
        found = edges(OutputAware(), LinearRamp(0.4), scores=lambda alpha, score=score: np.full(len(alpha), score))
        expected = edges(ArcLength(), LinearRamp(0.4))
        np.testing.assert_allclose(found.low, expected.low, rtol=0, atol=1e-12)


def test_output_aware_asks_for_its_grid_at_equal_shares():
    asked = []
    edges(OutputAware(grid=9), LinearRamp(1.0), scores=lambda alpha: asked.append(alpha) or np.sin(alpha))
    np.testing.assert_allclose(np.concatenate(asked), np.linspace(0, 1, 9), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"grid": 2}, "grid must be a whole number of at least 3; got 2"),
        ({"grid": 9.0}, "grid must be a whole number"),
        ({"exponent": 0}, r"takes exponent in \(0, 1\]; got 0"),
        ({"exponent": "1"}, "takes exponent in"),
        ({"mixture": 1.5}, r"takes mixture in \(0, 1\]; got 1.5"),
        ({"mixture": np.nan}, "takes mixture in"),
    ],
)
def test_parameters_out_of_range_are_refused(settings, said):
    with pytest.raises(InvalidInput, match=said):
        OutputAware(**settings)


# Through the explainer


@pytest.mark.parametrize("name", NODES)
def test_every_placement_is_complete_and_recorded(name):
    explainer = PathExplainer(NETWORK.model(), steps=60, nodes=name, output="logit")
    result = explainer(inputs(), 1)
    assert explainer.nodes == NODES[name]()
    assert result.settings["nodes"] == repr(NODES[name]())
    assert (result.evaluations <= 61).all()
    # Second order in 60 steps, of scores of order 1.
    np.testing.assert_allclose(result.gap, 0, rtol=0, atol=5e-3)
    np.testing.assert_allclose(result.components.total(), result.attributions.sum(axis=(1, 2, 3)), rtol=0, atol=1e-12)
    assert np.isnan(result.error).all() == (name != "refined")


def test_placements_differ_and_agree_on_a_linear_model():
    weights = np.random.default_rng(2).normal(size=SHAPE)
    seen = {}
    for name in NODES:
        points = []
        linear = LinearModel(weights)
        model = NumpyModel(
            linear.value, lambda p, c, points=points, linear=linear: points.append(p) or linear.vjp(p, c)
        )
        found = PathExplainer(model, steps=20, nodes=name)(inputs(1))
        np.testing.assert_allclose(found.attributions[0], weights * inputs(1)[0], rtol=0, atol=1e-13)
        seen[name] = np.concatenate(points)
    assert not np.array_equal(seen["uniform"], seen["arc-length"])


@pytest.mark.parametrize("batch_size", [4, 64])
def test_forward_passes_are_counted_as_they_are_made(batch_size):
    made = []
    model = NumpyModel(lambda p: made.append(len(p)) or NETWORK.value(p), NETWORK.vjp)
    x = inputs(3)
    x[1] = 0  # does not move: nothing is to be placed
    result = PathExplainer(model, steps=10, nodes=OutputAware(grid=7), batch_size=batch_size)(x, 1)
    # The NumPy backend takes the scores once more with every gradient.
    assert sum(made) == result.forward_passes + result.evaluations.sum()
    assert result.forward_passes == 3 + 3 + 3 + 2 * 7  # three points tell whether rows are their own


def test_the_model_is_run_in_the_callers_thread_only():
    """Whatever a framework keeps by thread (devices, widths of floats, modes) is the caller's."""
    threads = set()
    model = NumpyModel(lambda p: threads.add(threading.get_ident()) or NETWORK.value(p), NETWORK.vjp)
    for options in ({"nodes": "output-aware", "steps": 10}, {"steps": "auto", "tolerance": 0.3}, {"steps": 10}):
        PathExplainer(model, batch_size=4, **options)(inputs(4), 1)
    assert threads == {threading.get_ident()}


def test_a_gradient_callback_without_scores_is_placed_and_refined():
    callback = GradientCallback(lambda points, target: NETWORK.vjp(points, np.eye(4)[[target] * len(points)]))
    expected = PathExplainer(NETWORK.model(), steps=400, output="raw")(inputs(), 1).attributions
    for options in ({"nodes": "output-aware", "steps": 100}, {"steps": "auto"}):
        found = PathExplainer(callback, **options)(inputs(), 1)
        assert np.linalg.norm(found.attributions - expected) < 0.02 * np.linalg.norm(expected)
        assert (found.evaluations < 200).all()


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ("arclength", "unknown nodes 'arclength'; the names are 'uniform', 'arc-length', .* Did you mean 'arc-length'"),
        (ArcLength, re.escape("nodes=<class") + "|" + re.escape("nodes=ArcLength is a class; pass an object")),
        (3, "nodes must be a Nodes or one of 'uniform'.*; got 3"),
    ],
)
def test_unknown_placements_are_refused_with_the_names(nodes, said):
    with pytest.raises(InvalidInput, match=said):
        PathExplainer(NETWORK.model(), nodes=nodes)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": "auto", "nodes": "uniform"}, r"steps='auto' refines its nodes; nodes=Uniform\(\) takes a number"),
        ({"steps": "auto", "nodes": OutputAware()}, "steps='auto' refines"),
        ({"steps": "auto", "rule": "midpoint"}, "trapezoidal rule; got rule='midpoint'"),
        ({"nodes": Refined(), "rule": "left"}, "trapezoidal rule; got rule='left'"),
        ({"nodes": Refined(), "schedule": "step"}, "without jumps: jumps are given their steps already"),
        ({"nodes": ArcLength(), "schedule": "step"}, "without jumps: jumps are given their steps already"),
        ({"nodes": "output-aware", "schedule": LinearRamp(0.0)}, "without jumps"),
        ({"steps": "auto", "schedule": LinearRamp(0.0)}, "without jumps"),
        ({"steps": "automatic"}, "steps must be a whole number of at least 1"),
    ]
    + [({"tolerance": value}, "tolerance is a relative error between 0 and 1") for value in (0, 1, -1, "2%", True)],
)
def test_choices_that_contradict_each_other_are_refused(options, said):
    with pytest.raises(InvalidInput, match=said):
        PathExplainer(NETWORK.model(), **options)


def test_uniform_is_what_it_was():
    assert PathExplainer(NETWORK.model()).nodes == Uniform()
    assert PathExplainer(NETWORK.model()).rule == "midpoint"
    assert PathExplainer(NETWORK.model(), steps="auto").nodes == Refined()
