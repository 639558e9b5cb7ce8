"""The public test tools: models whose gradients and integrals are what they say, strategies that cover their domain."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pathattr import SVD, InvalidInput, Linear, LinearRamp, PathExplainer
from pathattr.families import FAMILIES
from pathattr.testing import (
    ExponentialRidge,
    LinearModel,
    Network,
    Polynomial,
    Quadratic,
    ReluNetwork,
    SoftmaxRegression,
    TanhNetwork,
    strategies,
)

SEEDS = strategies.SEEDS
EXACT = st.sampled_from(["midpoint", "trapezoid"])  # rules that integrate gradients linear in the position exactly
# Models and inputs are of size 1, sums of at most a few hundred terms: some 1e-14.
ROUNDING = 1e-12


def normal(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def quadratic(shape, seed=0):
    matrix = normal((np.prod(shape),) * 2, seed) / np.prod(shape)
    return Quadratic(matrix + matrix.T, normal(shape, seed + 1))


def attribute(model, x, target=None, **options):
    options = {"channel_axis": 1, "steps": 20, "components": False} | options
    return PathExplainer(model.model(), **options)(x, target).attributions


def score_gradient(model, points, target):
    """Gradients of what `line_integral` is of: the score, or the probability of a class."""
    if not isinstance(model, SoftmaxRegression):
        return model.vjp(points, np.ones(len(points)))
    p = np.exp(model.value(points))
    p /= p.sum(axis=1, keepdims=True)
    return model.vjp(points, p[:, target, None] * ((np.arange(p.shape[1]) == target) - p))


# Models


@given(st.data(), SEEDS)
def test_vjp_equals_finite_differences(data, seed):
    shape = data.draw(strategies.shapes())
    model = data.draw(strategies.analytic_models(shape) | strategies.networks(shape))
    points, direction = normal((2, 3, *shape), seed)
    cotangent = normal(model.value(points).shape, seed + 1)
    step = 1e-6
    slope = (model.value(points + step * direction) - model.value(points - step * direction)) / (2 * step)
    found = (model.vjp(points, cotangent) * direction).reshape(3, -1).sum(axis=1)
    # Central differences: 1e-12 of the curvature of a quartic (its third derivative reaches hundreds), and rounding
    # of 1e-16 of scores that reach hundreds, over the step: 1e-8. A kink of a ReLU within a step would be bad luck.
    np.testing.assert_allclose((cotangent * slope).reshape(3, -1).sum(axis=1), found, rtol=0, atol=1e-6)


@given(st.data(), SEEDS)
def test_line_integrals_equal_a_dense_quadrature_of_the_gradient(data, seed):
    shape = data.draw(strategies.shapes())
    model = data.draw(strategies.analytic_models(shape))
    x, start = normal((2, *shape), seed)
    nodes, weights = np.polynomial.legendre.leggauss(64)
    points = start + (nodes.reshape(-1, *[1] * len(shape)) + 1) / 2 * (x - start)
    classes = len(model.bias) if isinstance(model, SoftmaxRegression) else 1
    for target in range(classes):
        expected = (x - start) * np.tensordot(weights / 2, score_gradient(model, points, target), axes=1)
        arguments = (target,) if classes > 1 else ()
        # 64 nodes are exact to rounding: the nearest pole of a softmax is as far from the line as a tenth of it.
        size = max(np.abs(expected).max(), 1.0)
        np.testing.assert_allclose(model.line_integral(x, start, *arguments), expected, rtol=0, atol=ROUNDING * size)


@given(st.data(), SEEDS)
def test_line_integrals_are_complete_and_what_the_explainer_tends_to(data, seed):
    shape = data.draw(strategies.shapes(ranks=(2,)))
    model = data.draw(strategies.analytic_models(shape))
    x, start = normal((2, *shape), seed)
    softmax = isinstance(model, SoftmaxRegression)
    options = {"output": "probability"} if softmax else {}
    explain = PathExplainer(model.model(), family=Linear(), steps=400, baseline=start, channel_axis=1, **options)
    found = explain(x[None], 1 if softmax else None)
    exact = model.line_integral(x, start, 1) if softmax else model.line_integral(x, start)
    size = max(np.abs(exact).max(), 1.0)
    assert exact.sum() == pytest.approx((found.score - found.baseline_score)[0], abs=ROUNDING * size * exact.size)
    # Midpoints: a third derivative along the line, up to some thousands for a quartic, over 24·400².
    np.testing.assert_allclose(found.attributions[0], exact, rtol=0, atol=1e-3 * size)


def test_the_ridge_where_its_formula_divides_zero_by_zero():
    model = ExponentialRidge(np.array([1.0, -1.0]))
    x = np.array([0.3, 0.1])
    level = np.array([1.0, 1.0])  # the score does not change along it
    np.testing.assert_allclose(model.line_integral(x + level, x), np.exp(0.2) * np.array([1, -1]), rtol=1e-15)
    assert not model.line_integral(x, x).any()
    for tiny in (1e-5, 1e-10, 1e-300):
        moved = np.array([tiny, 0])
        # To first order: e^0·(1 + tiny/2); the next term is 1e-11.
        np.testing.assert_allclose(model.line_integral(moved, 0 * x), [tiny * (1 + tiny / 2), 0], rtol=1e-10)


@pytest.mark.parametrize("ends", [(0.0, -800.0), (-800.0, 0.0), (-800.0, -700.0), (700.0, -700.0)])
def test_the_ridge_over_the_whole_range_of_floats(ends):
    model = ExponentialRidge(np.ones(1))
    start, end = np.array([ends[0]]), np.array([ends[1]])
    expected = np.exp(end) - np.exp(start)
    # exp amplifies the rounding of its argument: 800·1e-16.
    np.testing.assert_allclose(model.line_integral(end, start), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("size", [1e-9, 1e-2, 1.0, 30.0, 1e3, 1e6])
def test_softmax_integrals_of_two_classes_and_of_more_agree_however_steep(size):
    two = SoftmaxRegression(size * normal((2, 2, 3)), size * normal(2, 1))
    # A third class that never has a probability.
    weights = np.concatenate([two.weights, np.zeros((1, 2, 3))])
    more = SoftmaxRegression(weights, np.append(two.bias, -1e3 - 100 * size))
    x, start = normal((2, 2, 3), 2)
    for ends in ((x, start), (x, x + 1e-9 * start), (x, x)):
        for target in (0, 1):
            exact = two.line_integral(*ends, target)
            change = two.probability(ends[0], target) - two.probability(ends[1], target)
            # 1e-14 in integrals of p, times the logits' change and their rounding.
            assert exact.sum() == pytest.approx(change, abs=1e-14 * max(size, 1) * 30)
            found = more.line_integral(*ends, target)
            np.testing.assert_allclose(found, exact, rtol=0, atol=1e-13 * size * 10)


def test_softmax_integrals_of_many_classes_are_complete():
    for size in (0.1, 10.0, 1e3, 1e5):
        model = SoftmaxRegression(size * normal((7, 2, 3)), normal(7, 1))
        x, start = normal((2, 2, 3), 2)
        parts = np.array([model.line_integral(x, start, target) for target in range(7)])
        change = [model.probability(x, target) - model.probability(start, target) for target in range(7)]
        # 1e-13 in integrals of p, as promised, times the change of logits.
        np.testing.assert_allclose(parts.sum(axis=(1, 2)), change, rtol=0, atol=1e-13 * max(size, 1) * 10)
        np.testing.assert_allclose(parts.sum(axis=0), 0, rtol=0, atol=1e-13 * max(size, 1) * 10)


def test_relu_networks_are_piecewise_linear_and_tanh_networks_are_not():
    x, direction = normal((2, 1, 2, 3, 4))
    ones = np.ones((1, 4))
    for network, linear in ((ReluNetwork, True), (TanhNetwork, False)):
        model = network.random((2, 3, 4))
        # 1e-6 away there is no kink here, and a curvature would show as 1e-6.
        near = model.vjp(x + 1e-6 * direction, ones)
        assert (near == model.vjp(x, ones)).all() == linear
        assert isinstance(model, Network)


def test_a_matrix_that_is_not_a_quadratic_form_is_refused():
    with pytest.raises(InvalidInput, match=r"symmetric, \(4, 4\) .* got shape \(3, 3\)"):
        Quadratic(np.eye(3), np.zeros((1, 2, 2)))
    with pytest.raises(InvalidInput, match="makes a square matrix M symmetric"):
        Quadratic(np.triu(np.ones((2, 2))), np.zeros(2))


# Paths


@pytest.mark.parametrize("name", FAMILIES)
def test_models_say_whether_their_attributions_depend_on_the_path(name):
    shape = (2, 6, 4)
    x, start = normal((2, 1, *shape))
    models = [
        LinearModel(normal(shape)),
        quadratic(shape),
        Polynomial(normal((4, *shape))),
        ExponentialRidge(normal(shape) / 5),
        SoftmaxRegression(normal((3, *shape)) / 3, normal(3)),
    ]
    for model in models:
        softmax = isinstance(model, SoftmaxRegression)
        options = {"baseline": start, "steps": 400, "output": "probability" if softmax else "raw"}
        found = attribute(model, x, 1 if softmax else None, family=name, **options)[0]
        line = model.line_integral(x[0], start[0], *((1,) if softmax else ()))
        difference = np.abs(found - line).max() / np.abs(line).max()
        if model.path_independent or name == "linear":
            # Windows are 0.4 long, the speed is 2.5: (2.5/400)²/24 = 2e-6 of a third derivative of some ten.
            assert difference < 1e-4
        else:  # no rounding: 4% at least were measured
            assert difference > 1e-2


@given(strategies.paths(scales=False), st.integers(1, 20), EXACT, SEEDS)
def test_sums_of_parabolas_are_exact_on_every_path_at_any_number_of_steps(path, steps, rule, seed):
    family, ordering, schedule, difference = path
    start = normal(difference.shape, seed)
    model = Polynomial(normal((3, *difference.shape), seed + 1))
    options = {"family": family, "ordering": ordering, "schedule": schedule, "baseline": start}
    found = attribute(model, (start + difference)[None], rule=rule, steps=steps, **options)[0]
    # Paths leave the box between their ends by a few times, and scores grow with the square.
    np.testing.assert_allclose(found, model.line_integral(start + difference, start), rtol=0, atol=100 * ROUNDING)


@pytest.mark.parametrize("name", FAMILIES)
def test_sums_of_quartics_are_path_independent_to_discretisation(name):
    shape = (2, 6, 4)
    x, start = normal((2, 1, *shape))
    model = Polynomial(normal((5, *shape)))
    options = {"family": name, "baseline": start, "schedule": LinearRamp(0.4)}
    exact = model.line_integral(x[0], start[0])
    coarse, fine = (np.abs(attribute(model, x, steps=n, **options)[0] - exact).max() for n in (50, 200))
    # The second order makes 16 of 4; kinks of the gates cost some of that.
    assert fine < coarse / 10
    # At speed 2.5: (2.5/200)²/24 = 7e-6 of a third derivative of 24·x·D³, up to a thousand.
    assert fine < 1e-2


@given(st.data(), st.integers(1, 20), EXACT, SEEDS)
def test_quadratics_are_exact_on_the_straight_line_at_any_number_of_steps(data, steps, rule, seed):
    shape = data.draw(strategies.shapes())
    x, start = normal((2, *shape), seed)
    model = quadratic(shape, seed)
    found = attribute(model, x[None], family=Linear(), baseline=start, rule=rule, steps=steps)[0]
    np.testing.assert_allclose(found, model.line_integral(x, start), rtol=0, atol=10 * ROUNDING)


@given(strategies.paths(scales=False), st.integers(1, 20), EXACT, SEEDS)
def test_quadratics_are_complete_on_every_path_at_any_number_of_steps(path, steps, rule, seed):
    family, ordering, schedule, difference = path
    start = normal(difference.shape, seed)
    model = quadratic(difference.shape, seed)
    options = {"family": family, "ordering": ordering, "schedule": schedule, "baseline": start}
    found = attribute(model, (start + difference)[None], rule=rule, steps=steps, **options)
    change = np.diff(model.value(np.stack([start, start + difference])))
    # Paths leave the box between their ends, scores grow with the square, and up to 150 attributions are summed.
    np.testing.assert_allclose(found.sum(), change[0], rtol=0, atol=1000 * ROUNDING)


# Strategies


def test_inputs_cover_the_domain():
    found = set()

    @settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
    @given(strategies.inputs())
    def collect(pair):
        x, start = pair
        assert x.shape == start.shape
        assert x.ndim in (3, 4, 5)
        assert np.isfinite(x).all()
        sides = x.shape[2:]
        found.update({f"{len(sides)}-D", f"batch of {len(x)}"})
        found.update({"side of 1"} if 1 in sides else {"odd side"} if any(side % 2 for side in sides) else set())
        for difference, baseline in zip(x - start, start, strict=True):
            size = np.abs(difference).max()
            found.add("no difference" if size == 0 else "tiny" if size < 1e-50 else "huge" if size > 1e50 else "usual")
            found.add("baseline" if baseline.any() else "zero baseline")
            if size and not baseline.any() and len(sides) > 1 and min(sides[-2:]) > 1:
                values = np.linalg.svd(difference.reshape(-1, *sides[-2:])[0] / size, compute_uv=False)
                found.update({"repeated"} if values[0] > 0 and values[0] == values[1] else set())
                found.update({"degenerate"} if values[-1] < 1e-12 < values[0] else set())

    collect()
    assert found == {
        "1-D", "2-D", "3-D", "batch of 1", "batch of 2", "batch of 3", "side of 1", "odd side", "no difference",
        "tiny", "huge", "usual", "baseline", "zero baseline", "repeated", "degenerate",
    }  # fmt: skip


@given(st.data())
def test_networks_and_models_are_of_the_shape_asked_for(data):
    shape = data.draw(strategies.shapes())
    network = data.draw(strategies.networks(shape, classes=3, hidden=2))
    assert network.shape == shape
    assert network.value(np.zeros((5, *shape))).shape in {(5, 1), (5, 2), (5, 3)}
    model = data.draw(strategies.analytic_models(shape))
    assert len(model.value(np.zeros((5, *shape)))) == 5


@given(strategies.paths(of=lambda shape: st.just(SVD("joint")), ranks=(1, 2), scales=False))
def test_paths_of_ones_own_family(path):
    family, ordering, _, difference = path
    assert family == SVD("joint")
    assert strategies.applies(family, difference.shape)
    assert type(ordering) in strategies.ordering_types(family)


# Imports


def test_the_models_need_neither_pytest_nor_hypothesis():
    script = """
import sys
sys.modules.update(pytest=None, hypothesis=None)
import pathattr.testing
from pathattr import MissingExtra
assert pathattr.testing.TanhNetwork.random((2,)).value
try:
    pathattr.testing.backend_suite
except MissingExtra as error:
    assert "backend_suite needs pytest" in str(error) and "pathattr[test]" in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_importing_the_tools_imports_neither_before_it_is_needed():
    script = "import sys, pathattr.testing; assert 'hypothesis' not in sys.modules and 'pytest' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("name", ["backend_suite", "family_suite", "ordering_suite", "schedule_suite"])
def test_suites_are_imported_when_asked_for(name):
    import pathattr.testing

    assert callable(getattr(pathattr.testing, name))
    assert name in pathattr.testing.__all__
    with pytest.raises(AttributeError, match="no attribute 'no_suite'"):
        pathattr.testing.no_suite  # noqa: B018  # looking it up is the test
