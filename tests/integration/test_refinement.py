"""Refinement: the sums, the tables behind it, the budget, and an estimate that can be trusted."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathattr import LinearRamp, ModelError, NumpyModel, PathExplainer
from pathattr.integration import refinement
from pathattr.integration.nodes import Course
from pathattr.integration.refinement import Aim, Refinement
from pathattr.methods import path_explainer as explainer
from pathattr.testing import LinearModel, Polynomial, Quadratic, ReluNetwork, TanhNetwork
from pathattr.testing.strategies import SEEDS

SHAPE = (2, 5, 4)
SIZE = 40


class Line:
    """A model's score 0 along the straight line from 0 to x, refined by hand; every position asked for is noted."""

    def __init__(self, model, x, most, tolerance=None, *, dtype=np.float64):
        self.model, self.x, self.asked, self.dtype = model, x, [], dtype
        self.refinement = Refinement(Course(LinearRamp(1.0), np.ones(1), np.ones(1)), Aim(most, tolerance))

    def step(self):
        """Evaluate what is wanted; tell whether there was anything."""
        alpha = self.refinement.wanted()
        if len(alpha):
            assert not np.isin(alpha, self.asked).any()
            self.asked.extend(alpha)
            points = alpha.reshape(-1, *(1,) * self.x.ndim) * self.x
            scores = np.asarray(self.model.value(points))
            cotangent = np.zeros_like(scores)
            cotangent.reshape(len(alpha), -1)[:, 0] = 1
            gradients = self.model.vjp(points, cotangent).astype(self.dtype).reshape(len(alpha), -1)
            flat = points.reshape(len(alpha), -1).astype(self.dtype)
            self.refinement.add(alpha, scores.reshape(len(alpha), -1)[:, 0], flat, gradients)
        return len(alpha) > 0

    def run(self):
        while self.step():
            pass
        return self.refinement

    def truth(self, nodes=4096):
        """Return the attributions by a dense midpoint rule."""
        points = ((np.arange(nodes) + 0.5) / nodes).reshape(-1, *(1,) * self.x.ndim) * self.x
        scores = np.asarray(self.model.value(points))
        cotangent = np.zeros_like(scores)
        cotangent.reshape(nodes, -1)[:, 0] = 1
        return (self.model.vjp(points, cotangent).mean(axis=0) * self.x).ravel()


def drawn(seed):
    """A model and an input, both by seed: one of those of the testing package."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(SIZE, SIZE)) / SIZE
    kinds = [
        Polynomial(rng.normal(size=(5, *SHAPE))),
        Quadratic((matrix + matrix.T) / 2, rng.normal(size=SHAPE)),
        ReluNetwork.random(SHAPE, seed=seed),
        TanhNetwork.random(SHAPE, seed=seed),
    ]
    return kinds[seed % 4], rng.normal(size=SHAPE)


MODELS = SEEDS.map(drawn)


@given(MODELS, st.integers(2, 150), st.none() | st.floats(0.001, 0.2))
def test_the_sum_is_the_trapezoidal_rule_over_the_nodes(case, most, tolerance):
    line = Line(*case, most, tolerance)
    found = line.run()
    alpha = np.sort(line.asked)
    np.testing.assert_array_equal(found.alpha, alpha)
    points = alpha.reshape(-1, 1, 1, 1) * line.x
    scores = np.asarray(line.model.value(points))
    cotangent = np.zeros_like(scores)
    cotangent.reshape(len(alpha), -1)[:, 0] = 1
    gradients = line.model.vjp(points, cotangent)
    halves = 0.5 * np.diff(alpha).reshape(-1, 1, 1, 1)
    expected = (halves * (gradients[1:] + gradients[:-1])).sum(axis=0) * line.x
    # Up to 150 sums of numbers of order 10, with some gradients from products of other sizes.
    np.testing.assert_allclose(found.attributions(), expected.ravel(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.gradients, gradients.reshape(len(alpha), -1), rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.scores, scores.reshape(len(alpha), -1)[:, 0], rtol=0, atol=1e-12)


@given(MODELS, st.integers(3, 200), st.none() | st.floats(0.001, 0.2))
def test_the_tables_of_intervals_are_right_after_every_round(case, most, tolerance):
    line = Line(*case, most, tolerance)
    while line.step():
        found = line.refinement
        points, gradients = np.array(found.points), np.array(found.gradients)
        moved, turned = np.diff(points, axis=0), np.diff(gradients, axis=0)
        mean = 0.5 * ((gradients[1:] + gradients[:-1]) * moved).sum(axis=1)
        np.testing.assert_allclose(found.squares, ((turned * moved) ** 2).sum(axis=1), rtol=0, atol=1e-12)
        np.testing.assert_allclose(found.sums, (turned * moved).sum(axis=1), rtol=0, atol=1e-12)
        np.testing.assert_allclose(found.gaps, np.diff(found.scores) - mean, rtol=0, atol=1e-12)


# Budgets


@given(MODELS, st.integers(2, 300))
def test_a_budget_is_spent_exactly(case, most):
    line = Line(*case, most)
    assert len(line.run().alpha) == len(line.asked) == most  # positions never come twice: asserted on the way
    assert line.refinement.alpha[[0, -1]].tolist() == [0, 1]


def test_neighbouring_floats_are_not_cut():
    """The gradient jumps from one to the next: of the interval with all of the disagreement nothing is left to ask."""
    low = 0.3
    alpha = np.array([0.0, low, np.nextafter(low, 1), 1.0])
    line = Refinement(Course(LinearRamp(1.0), np.ones(1), np.ones(1)), Aim(100))
    line.add(alpha, np.zeros(4), np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([[0.0], [0.0], [9.0], [9.0]]))
    assert not np.isin(line.wanted(), alpha).any()


@pytest.mark.parametrize("steps", [1, 2, 16, 17, 50, 200])
def test_the_explainer_takes_one_gradient_more_than_steps(steps):
    x = np.random.default_rng(0).normal(size=(2, *SHAPE))
    found = PathExplainer(ReluNetwork.random(SHAPE).model(), steps=steps, nodes="refined", output="logit")(x, 1)
    assert found.evaluations.tolist() == [steps + 1] * 2
    assert np.isfinite(found.error).all()


def test_more_nodes_mean_smaller_errors_and_estimates():
    """Sums over twelve lines: a single one may be lucky early."""
    errors, estimates = [], []
    for most in (20, 40, 80, 160, 320):
        lines = [Line(ReluNetwork.random(SHAPE, hidden=30, seed=seed), drawn(seed)[1], most) for seed in range(12)]
        truths = [line.truth() for line in lines]
        founds = [line.run() for line in lines]
        errors.append(
            sum(np.linalg.norm(f.attributions() - t) / np.linalg.norm(t) for f, t in zip(founds, truths, strict=True))
        )
        estimates.append(sum(found.error for found in founds))
    assert (np.diff(errors) < 0).all()
    assert (np.diff(estimates) < 0).all()
    # Nodes gather at some 30 kinks a line: better than the first order of equal intervals, 1/16.
    assert errors[-1] < errors[0] / 30


# The estimate


def estimated(shape, hidden, tolerance):
    """True errors over estimates, for a fixed set of networks and inputs."""
    ratios = []
    for seed in range(30):
        network = ReluNetwork.random(shape, hidden=hidden, seed=seed)
        network = replace(network, b1=10 * network.b1)  # kinks along the whole path, not at its start alone
        line = Line(network, 2 * np.random.default_rng(seed).normal(size=shape), 1000, tolerance)
        found, truth = line.run(), line.truth(2048)
        assert found.error <= tolerance
        ratios.append(np.linalg.norm(found.attributions() - truth) / np.linalg.norm(truth) / found.error)
    return np.array(ratios)


@pytest.mark.parametrize("tolerance", [0.02, 0.05, 0.1])
def test_nine_estimates_of_ten_are_above_the_true_error(tolerance):
    ratios = estimated((3, 10, 10), 200, tolerance)
    assert np.mean(ratios <= 1) >= 0.9
    assert ratios.max() < 1.3
    assert np.median(ratios) > 0.5  # nor is it far above


def test_few_kinks_do_not_average_out_and_the_estimate_knows():
    """One interval's kink may be anywhere in it: an error of up to ½ of the jump, where 1/√12 is expected."""
    ratios = estimated(SHAPE, 10, 0.02)
    assert np.mean(ratios <= 1) >= 0.9
    assert ratios.max() < np.sqrt(12) / 2 + 0.1  # the truth's own error, and the gaps' term


def test_a_finer_tolerance_costs_more():
    def cost(tolerance, seed):
        network = ReluNetwork.random(SHAPE, hidden=40, seed=seed)
        return len(Line(network, drawn(seed)[1], 1000, tolerance).run().alpha)

    costs = [sum(cost(tolerance, seed) for seed in range(8)) for tolerance in (0.01, 0.005, 0.0025)]
    assert costs == sorted(set(costs))


def saturated(place=0.53, width=0.004):
    """p ≈ 0, then p ≈ 1: a logistic so narrow that the first nodes see no more than its tails."""
    weights = np.random.default_rng(5).normal(size=SHAPE)

    def of(points):
        along = (points * weights).sum(axis=(1, 2, 3)) / (weights * weights).sum()
        return 1 / (1 + np.exp(np.clip((place - along) / width, -700, 700)))

    def vjp(points, cotangent):
        p = of(points)
        scale = (weights * weights).sum() * width
        return (cotangent * p * (1 - p) / scale)[:, None, None, None] * weights

    return NumpyModel(of, vjp), weights


@pytest.mark.parametrize("tolerance", [0.02, 0.1])
@pytest.mark.parametrize("place", [0.53, 0.22, 0.97])
@pytest.mark.parametrize("width", [0.004, 1e-4, 1e-6])
def test_a_saturated_probability_is_found(place, width, tolerance):
    """At 1e-6 the gradients of all first nodes are 0: only the score tells."""
    model, x = saturated(place, width)
    found = Line(model, x, 1000, tolerance).run()
    assert found.error <= tolerance
    # Attributions are in proportion to the weights squared, and sum to 1.
    expected = (x * x / (x * x).sum()).ravel()
    assert np.linalg.norm(found.attributions() - expected) < tolerance * np.linalg.norm(expected)


@pytest.mark.parametrize("elsewhere", [0.0, 0.001])
def test_kinks_passed_twice_are_found_by_the_score(elsewhere, monkeypatch):
    """Two kinks between two nodes, with the same gradients before and after; a weak kink elsewhere or none."""
    kinks, jumps = np.array([0.51, 0.528, 0.8]), np.array([1.0, -1.0, elsewhere])

    def along(points):
        return points.mean(axis=(1, 2, 3))[:, None]

    model = NumpyModel(
        lambda p: np.maximum(along(p) - kinks, 0) @ jumps + 0.001 * along(p)[:, 0],
        lambda p, c: ((along(p) > kinks) @ jumps + 0.001)[:, None, None, None] * np.full_like(p, 1 / SIZE),
    )

    def off():
        found = Line(model, np.ones(SHAPE), 1000, 0.02).run()
        return abs(found.attributions().sum() / (found.scores[-1] - found.scores[0]) - 1), found.error

    error, estimate = off()
    assert error <= estimate <= 0.02
    monkeypatch.setattr(refinement, "GAP", 0.0)
    error, estimate = off()
    assert estimate <= 0.02 < 0.2 < error


def test_a_score_that_moves_without_gradients_is_not_called_done():
    jump = NumpyModel(lambda p: (p.mean(axis=(1, 2, 3)) > 0.4) * 1.0, lambda p, c: np.zeros_like(p))
    found = Line(jump, np.ones(SHAPE), 100, 0.02).run()
    assert found.error == np.inf
    assert len(found.alpha) == 100
    # Rounding of a score in float32 is no movement.
    noise = NumpyModel(lambda p: 1 + 1e-7 * np.sin(1e3 * p[:, 0, 0, 0]), lambda p, c: np.zeros_like(p))
    assert Line(noise, np.ones(SHAPE), 100, 0.02).run().error == 0


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12])
def test_the_size_of_the_score_changes_nothing(scale):
    network = ReluNetwork.random(SHAPE)
    scaled = NumpyModel(lambda p: scale * network.value(p), lambda p, c: scale * network.vjp(p, c))
    plain, other = (
        Line(model, drawn(3)[1], 1000, 0.02, dtype=np.float32).run() for model in (network, scaled)
    )  # fmt: skip
    assert len(plain.alpha) == pytest.approx(len(other.alpha), rel=0.3)  # rounding of the scaled gradients to float32
    assert 0.002 < other.error <= 0.02


# Ends


def test_a_constant_model_has_no_error():
    constant = NumpyModel(lambda p: np.full(len(p), 0.3), lambda p, c: np.zeros_like(p))
    found = Line(constant, np.ones(SHAPE), 1000, 0.02).run()
    assert np.diff(found.alpha).max() < 1 / 16  # the second look is at all of the path
    assert found.error == 0
    assert (found.attributions() == 0).all()
    assert len(found.alpha) == 33


@pytest.mark.parametrize(("tolerance", "nodes"), [(0.5, 17), (0.1, 17), (0.07, 24), (0.05, 33), (0.001, 33)])
def test_a_looser_tolerance_looks_at_fewer_nodes(tolerance, nodes):
    """A linear model needs no more than are looked at before any estimate is believed: half of them at once."""
    line = Line(LinearModel(np.random.default_rng(0).normal(size=SHAPE)), drawn(1)[1], 1000, tolerance)
    line.step()
    assert len(line.asked) == (nodes + 1) // 2
    assert len(line.run().alpha) == nodes


def test_a_linear_model_is_done_at_once():
    weights = np.random.default_rng(0).normal(size=SHAPE)
    found = Line(LinearModel(weights), drawn(1)[1], 1000, 0.02).run()
    assert found.error < 1e-12  # rounding of the scores
    assert len(found.alpha) == 33


def test_a_path_that_does_not_move_wants_nothing():
    still = Refinement(Course(LinearRamp(), np.ones(3), np.zeros(3)), Aim(100, 0.02))
    assert len(still.wanted()) == 0
    assert still.error == 0


def test_one_node_has_no_error_to_tell():
    one = Refinement(Course(LinearRamp(), np.ones(1), np.ones(1)), Aim(1, 0.02))
    alpha = one.wanted()
    assert len(alpha) == 1
    one.add(alpha, np.zeros(1), np.zeros((1, 3)), np.ones((1, 3)))
    assert one.error == 0
    assert len(one.wanted()) == 0
    np.testing.assert_array_equal(one.attributions(), 0)


def test_a_ceiling_that_is_reached_shows_in_the_error(monkeypatch):
    monkeypatch.setattr(explainer, "CEILING", 30)
    x = np.random.default_rng(0).normal(size=(2, *SHAPE))
    network = ReluNetwork.random(SHAPE, hidden=40)
    found = PathExplainer(network.model(), steps="auto", tolerance=0.001, output="logit")(x, 1)
    assert found.evaluations.tolist() == [30, 30]
    assert (found.error > 0.001).all()


@pytest.mark.parametrize("kind", ["value", "gradient"])
def test_what_is_not_finite_is_named_with_image_and_position(kind):
    def near(points):
        return np.abs(points.mean(axis=(1, 2, 3)) - 0.5) < 0.02

    model = NumpyModel(
        lambda p: np.where(near(p) & (kind == "value"), np.nan, np.tanh(p).sum(axis=(1, 2, 3))),
        lambda p, c: np.where((near(p) & (kind == "gradient"))[:, None, None, None], np.inf, 1 - np.tanh(p) ** 2),
    )
    x = np.full((3, *SHAPE), 0.3)
    x[2] = 1
    said = r"the explained score \(nan\)" if kind == "value" else "its gradient"
    with pytest.raises(ModelError, match=rf"image 2: {said} is not finite at α = 0\.(4[89]|5)\d* "):
        PathExplainer(model, family="linear", steps="auto")(x)
