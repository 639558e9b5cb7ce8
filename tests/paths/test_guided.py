"""Guided IG against the published loop written out, and the loop of adaptive paths."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pathattr import InvalidInput, ModelError, NumpyModel, PathExplainer, Samples
from pathattr.methods.adaptive_explainer import AdaptiveExplainer
from pathattr.paths import guided as module
from pathattr.paths.adaptive import AdaptivePath, State
from pathattr.paths.guided import GuidedIG
from pathattr.testing import LinearModel, TanhNetwork
from pathattr.testing.properties import assert_close, powers

SHAPE = (2, 4, 5)
NETWORK = TanhNetwork.random(SHAPE, classes=1)
VARIANTS = [GuidedIG(), GuidedIG(fraction=0.1, max_dist=1.0), GuidedIG(fraction=0.5, max_dist=0.1)]
# Some dozen steps in float64, coordinates in another form: a few hundred roundings of numbers of order 1.
ROUNDING = 1e-12


def inputs(batch=3, seed=0):
    return np.random.default_rng(seed).normal(size=(batch, *SHAPE))


def explainer(path, network=NETWORK, **options):
    return AdaptiveExplainer(network.model(), path, **{"output": "raw", "channel_axis": 1, **options})


def gradient(x, network=NETWORK):
    """∇F at one example."""
    return network.vjp(x[None], np.ones((1, 1)))[0]


def by_the_book(gradient, start, end, path):
    """Return attributions and points of one example by the published loop, coordinate by coordinate."""
    shape, x, goal, origin = start.shape, list(start.flat), list(end.flat), list(start.flat)
    features = range(len(x))
    attributions, points = np.zeros(len(x)), [start]
    total = sum(abs(goal[i] - origin[i]) for i in features)

    def on_the_line(i, share):
        return goal[i] if share == 1 else origin[i] + share * (goal[i] - origin[i])

    for step in range(path.steps):
        alpha = (step + 1) / path.steps
        low, high = max(alpha - path.max_dist, 0.0), min(alpha + path.max_dist, 1.0)
        g = list(gradient(np.reshape(x, shape)).flat)
        before = list(x)
        for i in features:  # laggards jump
            if abs(x[i] - origin[i]) < abs(on_the_line(i, low) - origin[i]):
                x[i] = on_the_line(i, low)
        wanted = total * (1 - alpha)
        while True:
            now = sum(abs(goal[i] - x[i]) for i in features)
            if now - wanted <= 1e-13 * total:
                break
            size = [np.inf if x[i] == on_the_line(i, high) else abs(g[i]) for i in features]
            limit = sorted(size)[int(np.floor(path.fraction * (len(x) - 1)))]
            chosen = [i for i in features if size[i] <= limit and size[i] < np.inf]
            if not chosen:
                break
            gamma = (now - wanted) / sum(abs(on_the_line(i, high) - x[i]) for i in chosen)
            for i in chosen:
                x[i] = on_the_line(i, high) if gamma > 1 else x[i] + gamma * (on_the_line(i, high) - x[i])
            if gamma <= 1:
                break
        attributions += np.array(g) * (np.array(x) - np.array(before))
        points.append(np.reshape(x, shape))
    return attributions.reshape(shape), np.array(points)


def walked(path, start, end, network=NETWORK):
    """The points of one example's path, (steps + 1, *example), and the number of steps."""
    state = path.init(start[None], end[None])
    points = [state.point[0]]
    while not state.done.all():
        state = path.step(state, gradient(state.point[0], network)[None])
        points.append(state.point[0])
    return np.array(points)


def distance(a, b):
    return np.abs(a - b).reshape(len(a), -1).sum(axis=1)


# The algorithm


@given(
    st.integers(1, 15),
    st.sampled_from([0.0, 0.1, 0.25, 0.6, 1.0]) | st.floats(0, 1),
    st.sampled_from([0.0, 0.02, 0.2, 1.0]) | st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
def test_it_is_the_published_loop(steps, fraction, max_dist, seed):
    path = GuidedIG(steps, fraction, max_dist)
    start, end = inputs(2, seed)
    expected, points = by_the_book(gradient, start, end, path)
    assert_close(walked(path, start, end), points, ROUNDING, "points")
    result = explainer(path, baseline=start)(end[None])
    assert_close(result.attributions[0], expected, ROUNDING, "attributions")
    assert result.evaluations.tolist() == [steps]


@pytest.mark.parametrize("path", VARIANTS)
def test_it_is_the_published_loop_over_many_steps(path):
    start, end = inputs(2)
    expected, _ = by_the_book(gradient, start, end, path)
    assert_close(explainer(path, baseline=start)(end[None]).attributions[0], expected, ROUNDING)


@pytest.mark.parametrize("rounds", [0, 1, 1000])
@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.3])
def test_selecting_and_sorting_choose_the_same(rounds, fraction, monkeypatch):
    path = GuidedIG(4, fraction, 0.5)
    start, end = inputs(2)

    def tied(x):  # many equal gradients, and zeros
        return np.round(2 * gradient(x)) / 2

    def run():
        state = path.init(start[None], end[None])
        while not state.done.all():
            state = path.step(state, tied(state.point[0])[None])
            yield state.point[0]

    expected = by_the_book(tied, start, end, path)[1][1:]
    monkeypatch.setattr(module, "ROUNDS", rounds)
    assert_close(list(run()), expected, ROUNDING)


def test_features_of_equal_gradient_move_together():
    model = LinearModel(np.array([[3.0, 1.0, 1.0, -1.0, 2.0, 2.0]]))
    path = GuidedIG(10, fraction=0.0, max_dist=1.0)
    points = walked(path, np.zeros((1, 6)), np.array([[1.0, 2.0, 1.0, 1.0, 1.0, 2.0]]), LinearModelOf(model))
    # The three of |g| = 1 hold 4 of 8: half-way they have arrived, in proportion, and nothing else has moved.
    np.testing.assert_allclose(points[3, 0], [0, 1.2, 0.6, 0.6, 0, 0], atol=1e-15)
    np.testing.assert_allclose(points[5, 0], [0, 2, 1, 1, 0, 0], atol=1e-15)
    np.testing.assert_allclose(points[8, 0, 4:] / [1, 2], 2.4 / 3, atol=1e-15)


@dataclass(frozen=True)
class LinearModelOf:
    """A linear model with the interface of a network."""

    linear: LinearModel

    def vjp(self, points, cotangent):
        return np.broadcast_to(self.linear.weights, points.shape)


@given(st.integers(1, 30), st.floats(0, 1), st.sampled_from([0.0, 0.02, 0.3, 1.0]), st.integers(0, 2**32 - 1))
def test_every_step_spends_the_same_length_and_the_last_arrives_exactly(steps, fraction, max_dist, seed):
    start, end = inputs(2, seed)
    points = walked(GuidedIG(steps, fraction, max_dist), start, end)
    total = np.abs(end - start).sum()
    left = distance(points, end[None])
    np.testing.assert_allclose(left, total * (1 - np.arange(steps + 1) / steps), rtol=0, atol=1e-13 * total)
    np.testing.assert_array_equal(points[0], start)
    np.testing.assert_array_equal(points[-1], end)
    # Nobody turns round, and nobody strays from the line.
    share = (points - start) / (end - start)
    assert np.diff(share, axis=0).min() >= -1e-12
    alpha = np.arange(steps + 1).reshape(-1, 1, 1, 1) / steps
    assert np.abs(share - alpha).max() <= max_dist + 1e-12


@pytest.mark.parametrize("path", [GuidedIG(30, fraction=1.0, max_dist=1.0), GuidedIG(30, fraction=0.3, max_dist=0.0)])
def test_all_features_together_are_the_straight_line(path):
    x, start = inputs(), inputs(seed=1)
    found = explainer(path, baseline=start)(x)
    line = PathExplainer(
        NETWORK.model(), family="linear", rule="left", steps=30, output="raw", baseline=start, channel_axis=1
    )(x)
    assert_close(found.attributions, line.attributions, ROUNDING)
    assert_close(found.gap, line.gap, 100 * ROUNDING)


@pytest.mark.parametrize("path", VARIANTS)
def test_the_gap_closes_with_steps(path):
    x, start = inputs(), inputs(seed=1)
    coarse, fine = (explainer(GuidedIG(steps, path.fraction, path.max_dist), baseline=start)(x) for steps in (50, 800))
    assert np.abs(fine.gap).max() < np.abs(coarse.gap).max() / 8  # first order: a sixteenth
    assert np.abs(fine.gap).max() < 0.01 * np.abs(fine.score - fine.baseline_score).max()


def test_free_features_of_small_gradients_go_first():
    x, start = inputs(1), np.zeros((1, *SHAPE))
    points = walked(GuidedIG(10, fraction=0.1, max_dist=1.0), start[0], x[0])
    g = np.abs(gradient(start[0])).ravel()
    moved = (points[1] != points[0]).ravel()
    assert 0 < moved.sum() < moved.size
    assert g[moved].max() < g[~moved].min()


# The explainer


@pytest.mark.parametrize("path", VARIANTS)
def test_an_example_alone_is_an_example_in_a_batch_to_the_bit(path):
    x, start, model = inputs(5), inputs(5, seed=1), powers(SHAPE, 3, 0)
    path = GuidedIG(12, path.fraction, path.max_dist)
    x[2] = start[2]  # one that has nowhere to go
    whole = explainer(path, model, baseline=start, batch_size=64)(x)
    for size in (1, 2, 3):
        parts = explainer(path, model, baseline=start, batch_size=size)(x)
        for name in ("attributions", "gap", "lowest", "highest", "evaluations"):
            np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    alone = explainer(path, model, baseline=start[3:4])(x[3:4])
    np.testing.assert_array_equal(alone.attributions[0], whole.attributions[3])
    assert whole.evaluations.tolist() == [12, 12, 0, 12, 12]
    assert not whole.attributions[2].any()


def test_reference_samples_give_the_mean_of_their_paths():
    x, references = inputs(2), inputs(3, seed=4)
    path = GuidedIG(8)
    found = explainer(path, baseline=Samples(references), batch_size=4)(x)
    separate = [explainer(path, baseline=reference)(x) for reference in references]
    assert_close(found.attributions, np.mean([each.attributions for each in separate], axis=0), ROUNDING)
    assert_close(found.gap, np.mean([each.gap for each in separate], axis=0), ROUNDING)
    assert found.evaluations.tolist() == [24, 24]
    # Scores at the ends come from blocks of other sizes: a product of matrices may round them otherwise.
    for name, least in (("lowest", np.min), ("highest", np.max)):
        assert_close(getattr(found, name), least([getattr(each, name) for each in separate], axis=0), ROUNDING)


def test_each_gradient_is_taken_once_and_scores_along_the_path_are_kept():
    taken = []

    def vjp(points, cotangent):
        taken.extend(np.array(points))
        return NETWORK.vjp(points, cotangent)

    start, end = inputs(2)
    path = GuidedIG(6)
    model = NumpyModel(NETWORK.value, vjp)
    found = AdaptiveExplainer(model, path, output="raw", baseline=start)(end[None])
    points = by_the_book(gradient, start, end, path)[1]
    assert_close(np.array(taken), points[:-1], ROUNDING)
    scores = NETWORK.value(points)
    np.testing.assert_allclose([found.lowest[0], found.highest[0]], [scores.min(), scores.max()], atol=ROUNDING)
    assert found.forward_passes == 2  # both ends; with one point at a time there are no batch-mates to look for
    assert found.settings["method"] == "GuidedIG(steps=6, fraction=0.25, max_dist=0.02)"


@pytest.mark.parametrize("path", VARIANTS)
def test_gradients_that_round_otherwise_in_larger_blocks_lead_no_path_astray(path):
    """Steps go by the order of gradients: a last bit that depends on batch-mates would send them another way."""
    x, path = inputs(5), GuidedIG(12, path.fraction, path.max_dist)
    seen = []

    def vjp(points, cotangent):
        seen.append(len(points))
        rounding = 1e-7 * np.random.default_rng(len(points)).normal(size=points.shape)  # as float32 would
        return np.sign(NETWORK.vjp(points, cotangent)) + rounding  # nearly all are tied

    model = NumpyModel(NETWORK.value, vjp)
    for size in (1, 3, 64, "auto"):
        whole = AdaptiveExplainer(model, path, output="raw", batch_size=size)(x)
        for i in range(5):
            alone = AdaptiveExplainer(model, path, output="raw")(x[i : i + 1])
            np.testing.assert_array_equal(alone.attributions[0], whole.attributions[i])
            assert alone.lowest[0] == pytest.approx(whole.lowest[i], abs=ROUNDING)
    assert set(seen) == {1}


@pytest.mark.parametrize("path", VARIANTS)
def test_a_network_with_kinks_in_float32_gets_the_same_alone_and_in_a_batch(path):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(392, 5),
    ).eval()
    x = torch.randn(6, 3, 16, 16)
    explain = AdaptiveExplainer(net, GuidedIG(20, path.fraction, path.max_dist), output="logit")
    whole = explain(x, 1).attributions
    for i in (0, 2, 5):
        assert torch.equal(explain(x[i : i + 1], 1).attributions[0], whole[i])
        assert torch.equal(explain.but(batch_size=2)(x[[i, 1]], 1).attributions[0], whole[i])


def test_progress_counts_gradients():
    told = []
    explainer(GuidedIG(5), batch_size=2, progress=lambda done, total: told.append((done, total)))(inputs(3))
    assert told[-1] == (15, 15)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_gradient_that_is_not_finite_is_named_and_does_not_loop():
    start, end = inputs(2)

    def vjp(points, cotangent):
        g = NETWORK.vjp(points, cotangent)
        g[(np.abs(points - start) > 0.5 * np.abs(end - start)).all(axis=(1, 2, 3)), 0, 0, 0] = np.nan
        return g

    model = NumpyModel(NETWORK.value, vjp)
    with pytest.raises(ModelError, match=r"image 0: its gradient is not finite at step \d+ of the path"):
        AdaptiveExplainer(model, GuidedIG(20), output="raw", baseline=start)(end[None])
    path = GuidedIG(5)
    with pytest.raises(ModelError, match="some are not finite"):
        path.step(path.init(start[None], end[None]), np.full((1, *SHAPE), np.nan))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fraction": -0.1}, r"GuidedIG takes fraction in \[0, 1\]; got -0.1"),
        ({"fraction": np.nan}, "fraction"),
        ({"max_dist": 1.5}, r"GuidedIG takes max_dist in \[0, 1\]; got 1.5"),
        ({"max_dist": "0.02"}, "max_dist"),
        ({"steps": 0}, "steps must be a whole number of at least 1; got 0"),
        ({"steps": "auto"}, "steps"),
    ],
)
def test_what_is_out_of_range_is_refused(options, said):
    with pytest.raises(InvalidInput, match=said):
        GuidedIG(**options)


def test_a_path_is_an_object():
    with pytest.raises(InvalidInput, match=r"path must be an AdaptivePath such as GuidedIG\(\); got 'guided-ig'"):
        AdaptiveExplainer(None, "guided-ig")


# A path of one's own, whose images take different numbers of steps


@dataclass(frozen=True)
class Coordinates(AdaptivePath[State]):
    """One coordinate after the other, those of the largest gradient first; done when all have arrived."""

    def init(self, starts, ends):
        return Moving(starts.copy(), (starts == ends).all(axis=(1, 2, 3)), ends)

    def step(self, state, gradients):
        point = state.point.copy()
        for x, end, g in zip(point, state.end, gradients, strict=True):
            best = np.argmax(np.where(x != end, np.abs(g), -1))
            x.flat[best] = end.flat[best]
        return Moving(point, (point == state.end).all(axis=(1, 2, 3)), state.end)


@dataclass(frozen=True)
class Moving(State):
    end: np.ndarray


def test_paths_end_when_they_have_arrived():
    counts = []
    x = inputs(3)
    x[0].flat[5:] = 0  # five steps are enough
    x[1] = 0
    model = powers(SHAPE, 2, 0)

    def vjp(points, cotangent):
        counts.append(len(points))
        return model.vjp(points, cotangent)

    path = Coordinates(steps=100)
    found = AdaptiveExplainer(NumpyModel(model.value, vjp), path, output="raw")(x)
    assert found.evaluations.tolist() == [5, 0, 40]
    assert counts == [1] * 45
    for i in range(3):
        alone = AdaptiveExplainer(model.model(), path, output="raw")(x[i : i + 1])
        np.testing.assert_array_equal(alone.attributions[0], found.attributions[i])


# Frameworks

WEIGHTS = np.random.default_rng(5).normal(size=(40, 2))


def in_framework(array, reshape):
    """A smooth model by operators that every framework understands: products of all features with weights."""
    weights = array(WEIGHTS)

    def model(v):
        u = reshape(v) @ weights
        return u * u * u / 100.0 - u

    return model


FRAMEWORKS = {
    "torch": (lambda a: torch.tensor(a, dtype=torch.float64), lambda v: v.reshape(v.shape[0], 40), 1e-10),
    "tensorflow": (lambda a: tf.constant(a, tf.float64), lambda v: tf.reshape(v, (-1, 40)), 1e-10),
    # float32: a feature at the border of a selection may fall on the other side of it, for one step.
    "jax": (lambda a: jnp.asarray(a, jnp.float32), lambda v: v.reshape(v.shape[0], 40), 1e-4),
}


@pytest.mark.parametrize("path", [GuidedIG(15), GuidedIG(15, fraction=0.1, max_dist=1.0)])
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_every_framework_finds_the_published_loop(name, path):
    array, reshape, precision = FRAMEWORKS[name]
    x = inputs(3)
    found = AdaptiveExplainer(
        in_framework(array, reshape), path, output="raw", batch_size=2, baseline=0.2, channel_axis=1
    )(array(x), 1)

    def exact(point):
        u = point.reshape(40) @ WEIGHTS[:, 1]
        return ((3 * u * u / 100.0 - 1) * WEIGHTS[:, 1]).reshape(SHAPE)

    expected = np.stack([by_the_book(exact, np.full(SHAPE, 0.2), each, path)[0] for each in x])
    assert_close(found.numpy(), expected, precision * np.abs(expected).max())
    assert type(found.attributions) is type(array(x))
