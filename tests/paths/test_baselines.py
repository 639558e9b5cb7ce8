"""Where paths begin."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import ndimage

from pathattr import (
    Baseline,
    Black,
    Blur,
    Constant,
    GaussianNoise,
    InvalidInput,
    Mean,
    NumpyModel,
    PathExplainer,
    Preprocessing,
    Samples,
    UniformNoise,
    White,
    Zero,
)
from pathattr.paths.baselines import BASELINES
from reference import SmoothModel

SHAPE = (3, 5, 4)
SMOOTH = SmoothModel(SHAPE)
MODEL = NumpyModel(SMOOTH.value, SMOOTH.vjp)
PICTURES = Preprocessing((0.5, 0.4, 0.3), (0.25, 0.5, 2.0))


def inputs(batch=3):
    return np.random.default_rng(1).normal(size=(batch, *SHAPE))


def start(baseline, x, **options):
    """The points at α = 0 that a baseline gives, of the shape of x."""
    return PathExplainer(MODEL, baseline=baseline, **options).path(x, [0.0])[:, 0]


def per_channel(values):
    return np.broadcast_to(np.asarray(values, dtype=float)[:, None, None], (3, *SHAPE))


# One by one


@pytest.mark.parametrize(
    ("baseline", "preprocessing", "expected"),
    [
        (None, None, (0, 0, 0)),
        (None, PICTURES, (-2, -0.8, -0.15)),  # black: (0 − mean) / std
        (Zero(), None, (0, 0, 0)),
        (Zero(), PICTURES, (0, 0, 0)),
        ("zero", PICTURES, (0, 0, 0)),
        (Black(), PICTURES, (-2, -0.8, -0.15)),
        ("black", PICTURES, (-2, -0.8, -0.15)),
        (White(), PICTURES, (2, 1.2, 0.35)),  # (1 − mean) / std
        ("white", Preprocessing(), (1, 1, 1)),
        (Black(), Preprocessing(), (0, 0, 0)),
        (0.5, None, (0.5, 0.5, 0.5)),
        (np.float32(0.5), None, (0.5, 0.5, 0.5)),
        (2, None, (2, 2, 2)),
        (Constant(0.5), PICTURES, (0.5, 0.5, 0.5)),  # in input space
        (Constant((1, 2, 3)), None, (1, 2, 3)),
        (Constant(np.array([1, 2, 3])), None, (1, 2, 3)),
    ],
)
def test_baselines_of_one_value_per_channel(baseline, preprocessing, expected):
    # One rounding each of a difference and a quotient of order 1.
    np.testing.assert_allclose(
        start(baseline, inputs(), preprocessing=preprocessing), per_channel(expected), atol=1e-15
    )


def test_channels_last_gets_its_constants_in_its_last_axis():
    shape = (5, 4, 3)
    smooth = SmoothModel(shape)
    explain = PathExplainer(NumpyModel(smooth.value, smooth.vjp), baseline=Constant((1, 2, 3)), channel_axis=-1)
    x = np.random.default_rng(0).normal(size=(2, *shape))
    np.testing.assert_array_equal(explain.path(x, [0.0])[:, 0], np.broadcast_to([1.0, 2, 3], x.shape))


@pytest.mark.parametrize("baseline", ["black", White()])
def test_raw_colours_need_to_know_how_pictures_are_normalised(baseline):
    with pytest.raises(
        InvalidInput, match=r"(Black|White)\(\) is meant in raw image space: pass preprocessing=Preprocessing\(mean"
    ):
        start(baseline, inputs())


def test_the_own_mean_is_each_channels():
    x = inputs()
    expected = np.broadcast_to(x.mean(axis=(2, 3), keepdims=True), x.shape)
    np.testing.assert_allclose(start(Mean(), x), expected, atol=1e-15)  # sums of 20 numbers in two orders


@pytest.mark.parametrize("kernel", [1, 3, 11, None])
def test_blur_is_that_of_scipy(kernel):
    x = inputs()
    found = start(Blur(1.5, kernel), x)
    radius = None if kernel is None else kernel // 2
    for example, blurred in zip(x, found, strict=True):
        for channel, flat in zip(example, blurred, strict=True):
            expected = ndimage.gaussian_filter(channel, 1.5, mode="reflect", radius=radius)
            np.testing.assert_allclose(flat, expected, atol=1e-15)  # the same operations on numbers of order 1
    if kernel == 1:
        np.testing.assert_array_equal(found, x)


def test_blur_leaves_a_constant_picture_and_each_channels_mean():
    constant = np.broadcast_to(np.array([1.0, 2.0, -3.0])[:, None, None], (1, *SHAPE))
    # The kernel's weights sum to 1 within some 1e-16.
    np.testing.assert_allclose(start(Blur(), constant), constant, rtol=1e-14)
    x = inputs()
    # With mirrored borders, cut at half a sample, no mass is lost.
    np.testing.assert_allclose(start(Blur(1.0, 5), x).mean(axis=(2, 3)), x.mean(axis=(2, 3)), atol=1e-14)


@pytest.mark.parametrize(
    ("sigma", "kernel"),
    [(0, 11), (-1.0, 11), (np.nan, 11), (np.inf, 11), ("5", 11)]
    + [(5.0, kernel) for kernel in (0, 2, -3, 10, 3.0, "3", True)],
)
def test_a_blur_that_is_none_is_refused_at_once(sigma, kernel):
    with pytest.raises(InvalidInput, match="Blur needs"):
        Blur(sigma, kernel)


@pytest.mark.parametrize("value", [np.nan, (0.0, np.inf), np.zeros((2, 2)), "grey", ()])
def test_a_constant_that_is_none_is_refused_at_once(value):
    with pytest.raises(InvalidInput, match="a constant baseline is a finite number or one per channel"):
        Constant(value)


def test_a_constant_has_one_value_per_channel():
    with pytest.raises(InvalidInput, match="has 2 channel values; the input has 3 channels"):
        start(Constant((1, 2)), inputs())


@pytest.mark.parametrize("given", [("a", 1), (0, "b"), (np.nan, 1), (0, np.inf), (0, -1)])
def test_gaussian_noise_that_is_none_is_refused_at_once(given):
    with pytest.raises(InvalidInput, match="GaussianNoise needs finite numbers and std >= 0"):
        GaussianNoise(*given)


@pytest.mark.parametrize("given", [(1, 0), (np.nan, 1), (0, np.nan), (-np.inf, 0), (0, np.inf), ("a", 1)])
def test_uniform_noise_that_is_none_is_refused_at_once(given):
    with pytest.raises(InvalidInput, match="UniformNoise needs"):
        UniformNoise(*given)


# Noise


@pytest.mark.parametrize("noise", ["uniform", "gaussian", UniformNoise(-2, 3), GaussianNoise(5, 0.1)])
def test_noise_depends_on_the_seed_and_not_on_the_place_in_the_batch(noise):
    x = inputs()
    whole = start(noise, x)
    for place in range(3):
        np.testing.assert_array_equal(start(noise, x[place : place + 1])[0], whole[place])
    np.testing.assert_array_equal(start(noise, x[::-1]), whole[::-1])
    assert np.abs(start(noise, x, seed=1) - whole).max() > 0.01
    assert np.ptp(whole[0]) > 0.1


def test_noise_has_the_range_that_was_asked_for():
    x = inputs()
    wide = start(UniformNoise(-2, 3), x)
    assert -2 <= wide.min() < -1
    assert 2 < wide.max() <= 3
    own = start(UniformNoise(), x)
    for example, noise in zip(x, own, strict=True):
        assert example.min() <= noise.min() < noise.max() <= example.max()
    np.testing.assert_allclose(start(GaussianNoise(5, 0.0), x), 5)
    # 60 draws of standard deviation 0.1: their mean lies within five standard errors.
    assert abs(start(GaussianNoise(5, 0.1), x)[0].mean() - 5) < 5 * 0.1 / np.sqrt(60)


def test_examples_of_one_batch_share_the_noise_where_its_range_is_given():
    whole = start(UniformNoise(0, 1), inputs())
    np.testing.assert_array_equal(whole[0], whole[1])


# Arrays


def test_an_array_serves_every_example_or_one_each():
    x = inputs()
    given = np.random.default_rng(2).normal(size=x.shape)
    np.testing.assert_array_equal(start(given, x), given)
    np.testing.assert_array_equal(start(given[0], x), np.broadcast_to(given[0], x.shape))
    np.testing.assert_array_equal(start(given[:1], x), np.broadcast_to(given[0], x.shape))
    np.testing.assert_array_equal(start(np.arange(60).reshape(SHAPE), x)[0], np.arange(60.0).reshape(SHAPE))


@pytest.mark.parametrize("shape", [(), (3,), (5, 4), (2, *SHAPE), (3, 4, 5), (3, 1, 1)])
def test_an_array_of_another_shape_is_refused(shape):
    with pytest.raises(InvalidInput, match=r"expected one example, \(3, 5, 4\), or one per input, \(3, 3, 5, 4\)"):
        start(np.zeros(shape), inputs())


def test_a_baseline_is_what_the_precision_of_the_inputs_can_hold():
    found = start(0.1, inputs().astype(np.float32))
    np.testing.assert_array_equal(found, np.float64(np.float32(0.1)))
    with np.errstate(over="ignore"), pytest.raises(InvalidInput, match="the baseline in the model's precision"):
        start(np.full(SHAPE, 1e300), inputs().astype(np.float32))


@pytest.mark.parametrize("kind", [np.asarray, Samples])
@pytest.mark.parametrize(("value", "counts"), [(np.nan, "1 values are NaN and 0 inf"), (-np.inf, "0 .* NaN and 1 inf")])
def test_a_baseline_that_is_not_finite_is_counted_and_named_as_it_was_given(kind, value, counts):
    each = np.zeros((3, *SHAPE))
    each[1, 2, 0, 3] = value
    with pytest.raises(InvalidInput, match=rf"the baseline must be finite; {counts}.*index \(1, 2, 0, 3\)"):
        start(kind(each), inputs())


@pytest.mark.parametrize("wrap", [np.asarray, Samples])
def test_an_array_of_no_numbers_is_refused(wrap):
    with pytest.raises(InvalidInput, match="baseline"):
        start(wrap(np.full((3, *SHAPE), "black")), inputs())


def test_samples_of_no_one_shape_are_refused():
    with pytest.raises(InvalidInput, match=r"baseline|Samples"):
        start(Samples([[0.0], [0.0, 1.0]]), inputs())


# Reference samples


def test_samples_give_the_mean_over_runs_from_each():
    x = inputs()
    references = np.random.default_rng(2).normal(size=(4, *SHAPE))
    both = PathExplainer(MODEL, baseline=Samples(references), steps=9)(x, 1)
    runs = [PathExplainer(MODEL, baseline=reference, steps=9)(x, 1) for reference in references]

    def mean(field):
        return np.mean([getattr(run, field) for run in runs], axis=0)

    # The same runs bit for bit but for the model's products of larger matrices, and the order of a mean of 4.
    for field in ("attributions", "baseline_score", "gap", "score"):
        np.testing.assert_allclose(getattr(both, field), mean(field), atol=1e-14)
    np.testing.assert_allclose(both.components[0], np.mean([run.components[0] for run in runs], axis=0), atol=1e-14)
    np.testing.assert_array_equal(both.evaluations, np.sum([run.evaluations for run in runs], axis=0))
    assert both.forward_passes == 3 + 3 * 4 + 3  # ends; three points tell whether rows are their own


def test_bounds_of_the_values_met_hold_for_every_sample():
    x = inputs()
    references = np.random.default_rng(2).normal(size=(4, *SHAPE))
    both = PathExplainer(MODEL, baseline=Samples(references), steps=9)(x, 1)
    runs = [PathExplainer(MODEL, baseline=reference, steps=9)(x, 1) for reference in references]
    # The model's products of matrices of another size: a few roundings of 1.1e-16.
    np.testing.assert_allclose(both.lowest, np.min([run.lowest for run in runs], axis=0), rtol=1e-13)
    np.testing.assert_allclose(both.highest, np.max([run.highest for run in runs], axis=0), rtol=1e-13)


def test_one_sample_is_an_array():
    x, reference = inputs(), np.random.default_rng(2).normal(size=SHAPE)
    one = PathExplainer(MODEL, baseline=Samples(reference[None]), steps=9)(x)
    plain = PathExplainer(MODEL, baseline=reference, steps=9)(x)
    np.testing.assert_array_equal(one.attributions, plain.attributions)


@pytest.mark.parametrize("shape", [(), SHAPE, (0, *SHAPE), (2, 3, 4, 5), (3, 2, *SHAPE)])
def test_samples_of_another_shape_are_refused(shape):
    with pytest.raises(InvalidInput, match=r"Samples need the shape \(references, 3, 5, 4\); got"):
        start(Samples(np.zeros(shape)), inputs())


def test_samples_print_their_shape():
    assert repr(Samples(np.zeros((4, *SHAPE)))) == "Samples(shape=(4, 3, 5, 4))"


# What is given


@pytest.mark.parametrize("name", BASELINES)
def test_every_name_gives_a_baseline(name):
    assert np.isfinite(start(name, inputs(), preprocessing=PICTURES)).all()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("blck", "unknown baseline 'blck'; the names are 'zero', 'black', .* Did you mean 'black'?"),
        (Blur, r"baseline=Blur is a class; pass an object: Blur\(\)"),
        (True, r"baseline must be a Baseline, one of 'zero', .*, a number, an array or Samples\(array\); got True"),
        ([0.0, 0.0, 0.0], "baseline must be"),
        (object(), "baseline must be"),
        (np.nan, "a constant baseline is a finite number"),
    ],
)
def test_what_is_no_baseline_is_refused_at_construction(given, said):
    with pytest.raises(InvalidInput, match=said):
        PathExplainer(MODEL, baseline=given)


@dataclass(frozen=True)
class Own(Baseline):
    value: float = 0.0
    shape: tuple = SHAPE

    def __call__(self, example, context):
        return np.full(self.shape, self.value)


def test_a_baseline_of_ones_own():
    np.testing.assert_array_equal(start(Own(0.25), inputs()), 0.25)
    with pytest.raises(InvalidInput, match=r"Own.* returned shape \(5, 4\) for an example of shape \(3, 5, 4\)"):
        start(Own(0.25, (5, 4)), inputs())
    with pytest.raises(InvalidInput, match="the baseline must be finite"):
        start(Own(np.nan), inputs())
