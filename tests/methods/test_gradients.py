"""Gradient × input and SmoothGrad, against their definitions written out; and the table of methods by name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathattr import InvalidInput, ModelError, NumpyModel, PathExplainer, Samples
from pathattr.methods.gradients import GradientInput, SmoothGrad
from pathattr.methods.table import METHODS
from pathattr.models.numpy_backend import GradientCallback
from pathattr.testing import LinearModel, Quadratic, TanhNetwork, frameworks
from pathattr.testing.models import Polynomial
from pathattr.testing.properties import assert_close, powers

SHAPE = (2, 4, 5)
NETWORK = TanhNetwork.random(SHAPE, classes=3)
# Sums and products of a few dozen numbers of order 1.
ROUNDING = 1e-13
KINDS = ("plain", "squared", "variance")


def inputs(batch=3, shape=SHAPE, seed=0):
    return np.random.default_rng(seed).normal(size=(batch, *shape))


def gradient(points, target, network=NETWORK):
    """The gradient of the probability of class `target` at points, by the chain rule."""
    logits = network.value(points)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    rows = np.arange(len(p))
    slope = -p * p[rows, target][:, None]
    slope[rows, target] += p[rows, target]
    return network.vjp(points, slope)


def by_the_book(x, target, kind, samples, spread, seed=0):
    """SmoothGrad of one example, sample by sample: sample j's noise is the first draw of the generator [seed, j]."""
    sigma = spread * (x.max() - x.min())
    found = []
    for j in range(samples):
        noise = np.random.default_rng([seed, j]).standard_normal(x.shape)
        found.append(gradient((x + sigma * noise)[None], np.array([target]))[0])
    if kind == "plain":
        return np.mean(found, axis=0)
    return np.mean(np.square(found), axis=0) if kind == "squared" else np.var(found, axis=0)


def seen(model, counts):
    """The model, noting how many points it is given at once."""

    def vjp(points, cotangent):
        counts.append(len(points))
        return model.vjp(points, cotangent)

    return NumpyModel(model.value, vjp)


# Gradient × input


def test_it_is_the_gradient_times_the_difference():
    x, start = inputs(), inputs(seed=1)
    result = GradientInput(NETWORK.model(), baseline=start)(x, [0, 1, 2])
    assert_close(result.attributions, gradient(x, np.array([0, 1, 2])) * (x - start), ROUNDING)
    assert result.evaluations.tolist() == [1, 1, 1]
    assert result.forward_passes == 6 + 3  # both ends, and three points that tell whether rows are their own
    total = result.attributions.reshape(3, -1).sum(axis=1)
    np.testing.assert_allclose(result.gap, total - (result.score - result.baseline_score), atol=ROUNDING)
    assert result.settings["method"] == "GradientInput()"
    assert result.settings["complete"] is False
    assert "GradientInput(), 3×2×4×5" in repr(result)


def test_it_is_complete_for_affine_models_alone():
    x = inputs()
    model = LinearModel(inputs(1)[0])
    assert_close(GradientInput(model.model(), baseline=0.3)(x).gap, np.zeros(3), 1e-12)
    curved = Quadratic(np.eye(40), np.zeros(SHAPE))
    assert (np.abs(GradientInput(curved.model())(x).gap) > 1).all()  # half of the score, ½‖x‖²


def test_reference_samples_count_by_their_mean():
    x, references = inputs(), inputs(5, seed=2)
    result = GradientInput(NETWORK.model(), baseline=Samples(references))(x, 1)
    separate = [GradientInput(NETWORK.model(), baseline=reference)(x, 1).attributions for reference in references]
    assert_close(result.attributions, np.mean(separate, axis=0), ROUNDING)
    assert result.evaluations.tolist() == [1, 1, 1]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_blocks_of_any_size_give_the_same(size):
    counts = []
    model = powers(SHAPE, 3, 0)
    whole = GradientInput(model.model())(inputs(5))
    parts = GradientInput(seen(model, counts), batch_size=size)(inputs(5))
    np.testing.assert_array_equal(parts.attributions, whole.attributions)
    assert max(counts) == min(size, 5)
    assert sum(counts) == 5


def test_contrasts_and_channels_last():
    x = inputs()
    first = GradientInput(NETWORK.model(), baseline=0.1)(x, 1)
    moved = NumpyModel(
        lambda points: NETWORK.value(np.moveaxis(points, -1, 1)),
        lambda points, c: np.moveaxis(NETWORK.vjp(np.moveaxis(points, -1, 1), c), 1, -1),
    )
    last = GradientInput(moved, baseline=0.1, channel_axis=-1)(np.moveaxis(x, 1, -1), 1)
    assert_close(np.moveaxis(last.attributions, -1, 1), first.attributions, ROUNDING)
    assert last.heatmap().shape == (3, 4, 5)


# SmoothGrad


@given(
    st.sampled_from(KINDS),
    st.integers(2, 7),
    st.sampled_from([0.0, 0.15, 2.0]),
    st.integers(1, 12),
    st.integers(0, 2**32 - 1),
)
def test_it_is_the_statistic_of_noisy_gradients(kind, samples, spread, batch_size, seed):
    x, target = inputs(), [2, 0, 1]
    explain = SmoothGrad(NETWORK.model(), kind=kind, samples=samples, spread=spread, batch_size=batch_size, seed=seed)
    result = explain(x, target)
    expected = [by_the_book(*each, kind, samples, spread, seed) for each in zip(x, target, strict=True)]
    assert_close(result.attributions, np.stack(expected), ROUNDING)
    assert result.evaluations.tolist() == [samples] * 3


def test_the_defaults_are_25_samples_of_15_percent():
    x = inputs(1)
    result = SmoothGrad(NETWORK.model())(x, 0)
    assert_close(result.attributions[0], by_the_book(x[0], 0, "plain", 25, 0.15), ROUNDING)
    assert result.settings["method"] == "SmoothGrad(kind='plain', samples=25, spread=0.15, multiply=False)"
    assert result.settings["complete"] is False
    total = result.attributions.sum()
    np.testing.assert_allclose(result.gap, total - (result.score - result.baseline_score), atol=ROUNDING)


@pytest.mark.parametrize("kind", KINDS)
def test_multiplied_it_is_that_times_the_difference(kind):
    x, references = inputs(), inputs(4, seed=3)
    options = {"kind": kind, "samples": 3, "baseline": Samples(references)}
    plain = SmoothGrad(NETWORK.model(), **options)(x, 1)
    times = SmoothGrad(NETWORK.model(), multiply=True, **options)(x, 1)
    assert_close(times.attributions, plain.attributions * (x - references.mean(axis=0)), ROUNDING)
    # Beside the factor the baseline is there for the gap alone.
    other = SmoothGrad(NETWORK.model(), **(options | {"baseline": 0.7}))(x, 1)
    np.testing.assert_array_equal(other.attributions, plain.attributions)
    assert (other.gap != plain.gap).all()


def test_the_variance_is_never_negative_and_0_where_the_gradient_does_not_vary():
    steep = LinearModel(1e8 * np.random.default_rng(0).normal(size=SHAPE))
    assert not SmoothGrad(steep.model(), kind="variance", samples=50)(inputs()).attributions.any()
    # Gradients of 1e8 that vary by about 1: E[g²] − E[g]² has no digits left.
    bent = Polynomial(np.stack([np.zeros(SHAPE), np.full(SHAPE, 1e8), np.full(SHAPE, 0.5)]))
    x = inputs()
    found = SmoothGrad(bent.model(), kind="variance", samples=50, spread=1.0)(x).attributions
    assert (found >= 0).all()
    noise = np.stack([np.random.default_rng([0, j]).standard_normal(SHAPE) for j in range(50)])
    spread = np.ptp(x.reshape(3, -1), axis=1).reshape(3, 1, 1, 1)
    # ∂F = 1e8 + x + ε: numbers of 1e8 hold 1e-8.
    np.testing.assert_allclose(found, spread**2 * noise.var(axis=0), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_an_example_alone_is_an_example_in_a_batch_to_the_bit(kind):
    x, model = inputs(5), powers(SHAPE, 3, 0).model()
    whole = SmoothGrad(model, kind=kind, samples=7, batch_size=64)(x)
    for batch_size in (1, 2, 3, 7, 11):
        parts = SmoothGrad(model, kind=kind, samples=7, batch_size=batch_size)(x)
        alone = SmoothGrad(model, kind=kind, samples=7, batch_size=batch_size)(x[3:4])
        np.testing.assert_array_equal(parts.attributions, whole.attributions)
        np.testing.assert_array_equal(alone.attributions[0], whole.attributions[3])
        for name in ("lowest", "highest", "gap"):
            np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


def test_noise_is_of_the_seed():
    x = inputs()
    found = [SmoothGrad(NETWORK.model(), samples=3, seed=seed)(x, 0).attributions for seed in (1, 1, 2)]
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


def test_the_model_sees_at_most_batch_size_points_and_as_many_as_it_may():
    counts = []
    SmoothGrad(seen(NETWORK, counts), samples=10, batch_size=8)(inputs(3), 0)
    # 3 images side by side, 2 samples of each at a time.
    assert counts == [6] * 5


@pytest.mark.parametrize("make", [GradientInput, SmoothGrad])
def test_an_error_of_memory_halves_the_block_and_loses_nothing(make):
    model = powers(SHAPE, 3, 0)

    def vjp(points, cotangent):
        if len(points) > 3:
            raise MemoryError
        return model.vjp(points, cotangent)

    small = make(NumpyModel(model.value, vjp), batch_size=32)(inputs(7))
    np.testing.assert_array_equal(small.attributions, make(model.model(), batch_size=32)(inputs(7)).attributions)


@pytest.mark.parametrize("make", [GradientInput, SmoothGrad])
def test_a_batch_size_that_fits_is_found(make):
    found = make(NETWORK.model(), batch_size="auto")(inputs(), 1)
    assert_close(found.attributions, make(NETWORK.model())(inputs(), 1).attributions, ROUNDING)


@pytest.mark.parametrize("make", [GradientInput, SmoothGrad])
def test_progress_counts_gradients(make):
    told = []
    result = make(NETWORK.model(), batch_size=4, progress=lambda done, total: told.append((done, total)))(inputs(5), 0)
    count = int(result.evaluations.sum())
    assert told[-1] == (count, count)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.parametrize(("make", "where"), [(GradientInput, "at the input"), (SmoothGrad, "at a noisy input")])
def test_a_gradient_that_is_not_finite_is_named(make, where):
    def vjp(points, cotangent):
        g = NETWORK.vjp(points, cotangent)
        g[(points > 90).any(axis=(1, 2, 3)), 0, 0, 0] = np.nan
        return g

    x = inputs()
    x[1, 0, 0, 0] = 1000
    with pytest.raises(ModelError, match=f"image 1: its gradient is not finite {where}"):
        make(NumpyModel(NETWORK.value, vjp))(x, 0)


@pytest.mark.parametrize("make", [GradientInput, SmoothGrad])
def test_a_model_without_values_has_gradients_but_no_gap(make):
    def of_class(points, target):
        return gradient(points, np.full(len(points), target))

    found = make(GradientCallback(of_class))(inputs(), 1)
    assert_close(found.attributions, make(NETWORK.model())(inputs(), 1).attributions, ROUNDING)
    assert np.isnan(found.gap).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kind": "mean"}, "kind must be one of 'plain', 'squared', 'variance'; got 'mean'"),
        ({"samples": 0}, "samples must be a whole number of at least 1; got 0"),
        ({"kind": "variance", "samples": 1}, "samples must be a whole number of at least 2; got 1"),
        ({"spread": -0.1}, "spread is a share of the example's range, at least 0; got -0.1"),
        ({"spread": np.nan}, "spread is a share"),
        ({"output": "odds"}, "output"),
    ],
)
def test_what_is_out_of_range_is_refused(options, said):
    with pytest.raises(InvalidInput, match=said):
        SmoothGrad(None, **options)


# Frameworks


@pytest.mark.parametrize("make", [GradientInput, SmoothGrad])
@pytest.mark.parametrize("name", frameworks.names(None))
def test_every_framework_finds_the_same(name, make):
    shape = (3, 8, 9)
    backend, model = frameworks.network(name, shape)
    x = np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32)
    options = {"output": "probability", "batch_size": 5, "baseline": 0.2}
    if make is SmoothGrad:
        options |= {"samples": 7, "kind": "variance"}  # blocks that are not full: 3 images, 1 sample and 7
    expected = make(frameworks.closed_form(shape).model(), **options)(x.astype(np.float64), [0, 2, 1])
    there = np.moveaxis(x, 1, backend.channel_axis)
    found = make(model, backend=backend, channel_axis=backend.channel_axis, **options)(there, [0, 2, 1])
    bound = frameworks.FLOAT32 * np.abs(expected.numpy()).max()
    assert_close(np.moveaxis(found.numpy(), backend.channel_axis, 1), expected.numpy(), bound)
    assert_close(found.gap, expected.gap, frameworks.FLOAT32 * max(1, np.abs(expected.gap).max()))


# The table of methods


@pytest.mark.parametrize("name", METHODS)
def test_every_name_makes_an_explainer_with_the_options_that_all_share(name):
    x = inputs(2)
    explain = METHODS[name](NETWORK.model(), steps=12, baseline=0.5, batch_size=7, seed=3, output="logit")
    result = explain(x, 1)
    assert result.attributions.shape == x.shape
    assert result.settings["seed"] == 3
    assert result.settings["baseline"] == "Constant(value=0.5)"
    assert (result.evaluations <= 12).all()
    # Spectral paths may rest for a step or two.
    assert (result.evaluations >= (1 if name == "gradient-input" else 10)).all()
    again = explain.but(batch_size=100)(x, 1)
    assert_close(again.attributions, result.attributions, ROUNDING)


@pytest.mark.parametrize(
    ("name", "gradients"),
    [("gradient-input", 1), ("smoothgrad", 25), ("vargrad", 25), ("ig", 200), ("blur-ig", 200), ("guided-ig", 200)],
)
def test_methods_have_costs_of_their_own(name, gradients):
    assert METHODS[name](NETWORK.model())(inputs(1), 1).evaluations.tolist() == [gradients]


def test_names_are_the_methods_that_they_say():
    x = inputs(2)
    for name, other in {
        "gradient-input": GradientInput(NETWORK.model()),
        "smoothgrad": SmoothGrad(NETWORK.model(), samples=6),
        "smoothgrad-squared": SmoothGrad(NETWORK.model(), samples=6, kind="squared"),
        "vargrad": SmoothGrad(NETWORK.model(), samples=6, kind="variance"),
        "ig": PathExplainer(NETWORK.model(), steps=6, family="linear"),
        "sig": PathExplainer(NETWORK.model(), steps=6, family="svd"),
        "blur-ig": PathExplainer(NETWORK.model(), steps=6, preset="blur-ig"),
        "laplacian-ig": PathExplainer(NETWORK.model(), steps=6, family="laplacian", ordering="energy"),
    }.items():
        found = METHODS[name](NETWORK.model(), steps=6)(x, 1)
        np.testing.assert_array_equal(found.attributions, other(x, 1).attributions)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "gradient-input"])
def test_steps_that_are_none_are_refused(name):
    with pytest.raises(InvalidInput, match="steps"):
        METHODS[name](NETWORK.model(), steps=0)


@pytest.mark.parametrize("name", ["smoothgrad", "guided-ig"])
def test_methods_that_cannot_tell_their_error_take_a_number(name):
    with pytest.raises(InvalidInput, match="steps"):
        METHODS[name](NETWORK.model(), steps="auto")
