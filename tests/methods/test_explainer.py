"""PathExplainer end to end on NumPy models: what it refuses, what it promises, and where its peers err."""

import re

import numpy as np
import pytest

from pathattr import (
    DCT,
    SVD,
    Black,
    CosineRamp,
    Energy,
    Frequency,
    InvalidInput,
    Linear,
    LinearRamp,
    ModelError,
    NumpyModel,
    PathExplainer,
    Preprocessing,
    Rank,
    StepRamp,
    Wavelet,
)
from pathattr.families import FAMILIES
from pathattr.integration.quadrature import RULES
from reference import SmoothModel

SHAPE = (2, 4, 4)
SMOOTH = SmoothModel(SHAPE)
MODEL = NumpyModel(SMOOTH.value, SMOOTH.vjp)


def inputs(batch=3, shape=SHAPE):
    return np.random.default_rng(1).normal(size=(batch, *shape))


def linear(weight):
    """F = Σ weight·x: every path gives weight·(x − x'), whatever the rule."""
    return NumpyModel(
        lambda points: (weight * points).reshape(len(points), -1).sum(axis=1),
        lambda points, cotangent: cotangent.reshape(-1, *(1,) * weight.ndim) * weight + 0 * points,
    )


class Recorder:
    """A model that remembers the points it is shown."""

    def __init__(self, value=SMOOTH.value, vjp=SMOOTH.vjp):
        self._value, self._vjp = value, vjp
        self.forward, self.backward = [], []
        self.model = NumpyModel(self.value, self.vjp)

    def value(self, points):
        self.forward.append(np.array(points))
        return self._value(points)

    def vjp(self, points, cotangent):
        self.backward.append(np.array(points))
        return self._vjp(points, cotangent)


# Inputs


@pytest.mark.parametrize(
    ("value", "counts"), [(np.nan, "2 values are NaN and 0 infinite"), (-np.inf, "0 .* NaN and 2 infinite")]
)
def test_inputs_that_are_not_finite_are_counted_and_the_first_named(value, counts):
    x = inputs()
    x[2, 1, 3, 0] = x[1, 0, 2, 3] = value
    with pytest.raises(InvalidInput, match=rf"inputs must be finite; {counts}, the first at index \(1, 0, 2, 3\)"):
        PathExplainer(MODEL)(x)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool])
def test_inputs_that_are_no_floats_are_refused(dtype):
    x = np.ones((3, *SHAPE)).astype(dtype)
    with pytest.raises(InvalidInput, match=rf"must be floating-point numbers, got {x.dtype}.*x / 255"):
        PathExplainer(MODEL)(x)


@pytest.mark.parametrize("shape", [(), (5,), (0, *SHAPE), (3, 2, 0, 4)])
def test_inputs_that_are_no_batch_are_refused(shape):
    with pytest.raises(
        InvalidInput, match=rf"non-empty batch, \(batch, ...\); got shape {re.escape(str(shape))}: .*x\[None\]"
    ):
        PathExplainer(MODEL, channel_axis=None)(np.zeros(shape))


@pytest.mark.parametrize("shape", [(3, 7), (3, 4, 5), (2, 2, 2, 2, 2, 2)])
def test_auto_knows_pictures_and_volumes_only(shape):
    with pytest.raises(
        InvalidInput, match=r"pictures \(4-D\) and volumes \(5-D\) only. Pass channel_axis=1.*channel_axis=None where"
    ):
        PathExplainer(MODEL)(np.zeros(shape))


@pytest.mark.parametrize("axis", [0, 4, -4, 99])
def test_a_channel_axis_out_of_range_is_refused(axis):
    with pytest.raises(InvalidInput, match=f"channel_axis={axis} is not an axis after the batch axis"):
        PathExplainer(MODEL, channel_axis=axis)(inputs())


@pytest.mark.parametrize("axis", ["first", 1.0, True])
def test_a_channel_axis_is_a_number(axis):
    with pytest.raises(InvalidInput, match=f"channel_axis must be an int, None or 'auto'; got {axis!r}"):
        PathExplainer(MODEL, channel_axis=axis)(inputs())


def test_a_difference_beyond_the_range_of_floats_is_named():
    flat = NumpyModel(lambda p: np.tanh(p.max(axis=(1, 2, 3))), lambda p, c: c[:, None, None, None] * np.zeros_like(p))
    x = inputs(2)
    x[1] = 1.7e308
    with pytest.raises(InvalidInput, match="input − baseline of image 1 must be finite"):
        PathExplainer(flat, family=Linear(), baseline=-1e308)(x)


# Options


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"family": "svdd"}, "unknown family 'svdd'; the names are 'linear', 'svd', .* Did you mean 'svd'?"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'; .*'sigmoid', 'step'. Did you mean 'cosine'?"),
        ({"ordering": "enrgy"}, "unknown ordering 'enrgy'; .*'rank'.* Did you mean 'energy'?"),
        ({"family": "zzz"}, "unknown family 'zzz'; .*'laplacian'.$"),
        ({"rule": "simpson"}, "rule must be one of 'left', 'right', 'midpoint', 'trapezoid'; got 'simpson'"),
        ({"rule": ""}, "rule must be one of 'left', .*; got ''"),
        ({"preset": "paper"}, "preset must be one of 'published', 'blur-ig', 'laplacian-ig'; got 'paper'"),
        ({"output": "softmax"}, "output must be one of 'probability', 'logit', .*; got 'softmax'"),
        ({"link": "logit"}, "link must be one of 'softmax', 'sigmoid', 'identity', 'already'; got 'logit'"),
        ({"family": SVD}, r"family=SVD is a class; pass an object: SVD\(\)"),
        ({"schedule": CosineRamp}, r"schedule=CosineRamp is a class; pass an object: CosineRamp\(\)"),
        ({"ordering": Rank}, r"ordering=Rank is a class; pass an object: Rank\(\)"),
        ({"baseline": Black}, r"baseline=Black is a class; pass an object: Black\(\)"),
        ({"preprocessing": Preprocessing}, r"preprocessing must be a Preprocessing\(mean, std\); got <class"),
        ({"preprocessing": 0.5}, "preprocessing must be a Preprocessing"),
        ({"family": 3}, "family must be a PathFamily or one of 'linear'.*; got 3"),
        ({"schedule": 0.4}, "schedule must be a Schedule or one of 'linear'.*; got 0.4"),
    ],
)
def test_what_is_unknown_is_refused_with_the_names(options, said):
    with pytest.raises(InvalidInput, match=said):
        PathExplainer(MODEL, **options)


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name in ("steps", "batch_size") for value in (0, -1, True, 2.0, np.float64(3), "10", [5])]
    + [("batch_size", None), ("seed", -1), ("seed", 0.0), ("seed", True), ("seed", None)],
)
def test_counts_are_whole_numbers(name, value):
    least = 0 if name == "seed" else 1
    with pytest.raises(InvalidInput, match=rf"{name} must be a whole number of at least {least}; got "):
        PathExplainer(MODEL, **{name: value})


@pytest.mark.parametrize("integer", [int, np.int32, np.uint8])
def test_every_kind_of_whole_number_counts(integer):
    explain = PathExplainer(MODEL, steps=integer(5), batch_size=integer(4), seed=integer(0))
    np.testing.assert_array_equal(
        explain(inputs()).attributions, PathExplainer(MODEL, steps=5, batch_size=4)(inputs()).attributions
    )


@pytest.mark.parametrize(("family", "ordering"), [("svd", "frequency"), ("svd", "scale"), ("dct", "scale")])
def test_an_ordering_that_a_family_has_no_notion_of_is_refused(family, ordering):
    with pytest.raises(InvalidInput, match=f"ordering by {ordering} needs components that have a {ordering}"):
        PathExplainer(MODEL, family=family, ordering=ordering, steps=2)(inputs())


def test_repr_tells_the_choices():
    shown = repr(PathExplainer(MODEL, family="dct", schedule=CosineRamp(0.3), steps=7, baseline=np.zeros(SHAPE)))
    assert shown == (
        "PathExplainer(model, family=DCT(), ordering=Frequency(scope='channel'), schedule=CosineRamp(overlap=0.3, "
        "jumps='chord'), steps=7, nodes=Uniform(), rule='midpoint', baseline=array of shape (2, 4, 4))"
    )


def test_settings_tell_what_it_takes_to_repeat_a_run():
    settings = PathExplainer(MODEL, steps=3, class_axis=1, channel_axis=1, seed=5)(inputs()).settings
    expected = {"backend": "numpy", "steps": 3, "rule": "midpoint", "seed": 5, "class_axis": 1, "channel_axis": 1}
    assert {key: settings.get(key) for key in expected} == expected
    assert settings["complete"] is True


# Differences that a basis might stumble over


def test_an_input_equal_to_the_baseline_costs_nothing():
    model = Recorder()
    result = PathExplainer(model.model, baseline=0.5)(np.full((2, *SHAPE), 0.5))
    np.testing.assert_array_equal(result.attributions, 0)
    np.testing.assert_array_equal(result.components[0], 0)
    np.testing.assert_array_equal(result.gap, 0)
    np.testing.assert_array_equal(result.relative_gap, 0)
    np.testing.assert_array_equal(result.evaluations, 0)
    np.testing.assert_array_equal(result.lowest, result.score)
    assert not model.backward


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("batch_size", [4, 64])
def test_one_image_equal_to_the_baseline_leaves_the_others_alone(name, place, batch_size):
    x = inputs()
    x[place] = 0
    explain = PathExplainer(MODEL, family=name, steps=6, batch_size=batch_size)
    result = explain(x, 1)
    others = [i for i in range(3) if i != place]
    alone = explain(x[others], 1)
    # The model's own products of matrices of another size: a few roundings of numbers of order 0.1.
    np.testing.assert_allclose(result.attributions[others], alone.attributions, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(result.attributions[place], 0)
    assert result.gap[place] == result.evaluations[place] == 0
    assert (result.evaluations[others] > 0).all()


def awkward(kind):
    x = inputs(2)
    if kind == "constant":
        x[:] = 0.7
    elif kind == "rank deficient":
        x[:] = np.array([1.0, -2, 3, 0.5])[:, None] * np.array([0.3, 1, 0, -1])
    elif kind == "zero channel":
        x[:, 1] = 0
    elif kind == "repeated singular values":
        x[:] = np.eye(4)
    elif kind == "one pixel":
        x[:] = 0
        x[..., 2, 1] = 3.0
    elif kind == "tiny":
        x *= 1e-200
    return x


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    "kind", ["constant", "rank deficient", "zero channel", "repeated singular values", "one pixel", "tiny"]
)
@pytest.mark.parametrize("schedule", [LinearRamp(), StepRamp(overlap=0.0)])
def test_awkward_differences_are_complete(name, kind, schedule):
    weight = np.random.default_rng(2).normal(size=SHAPE)
    x = awkward(kind)
    result = PathExplainer(linear(weight), family=name, schedule=schedule, steps=40)(x)
    # The gradient is constant, so no rule errs: 40 roundings of points of order |x| remain.
    scale = np.abs(x).max()
    np.testing.assert_allclose(result.attributions, weight * x, rtol=0, atol=1e-13 * scale)
    np.testing.assert_allclose(result.components.total(), result.score, rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(result.gap, 0, atol=1e-12 * scale)


# Scores that are not finite


def broken(value=False, gradient=False):
    """A model that breaks where the mean of the input lies in [0.4, 0.6)."""

    def inside(points):
        mean = points.reshape(len(points), -1).mean(axis=1)
        return (mean >= 0.4) & (mean < 0.6)

    def score(points):
        found = points.reshape(len(points), -1).mean(axis=1)
        return np.where(inside(points) & value, np.nan, found)

    def vjp(points, cotangent):
        found = cotangent[:, None, None, None] * np.ones_like(points) / points[0].size
        found[inside(points) & gradient, 0, 1, 2] = np.inf
        return found

    return NumpyModel(score, vjp)


@pytest.mark.parametrize(
    ("kind", "said"), [("value", r"the explained score \(nan\) is not"), ("gradient", "its gradient is not")]
)
@pytest.mark.parametrize("batch_size", [3, 64])
def test_a_path_that_meets_something_infinite_names_image_and_alpha(kind, said, batch_size):
    x = np.empty((3, *SHAPE))
    x[0], x[1], x[2] = 0.3, -2.0, 1.0  # only the last passes 0.4 to 0.6, at those α
    explain = PathExplainer(broken(**{kind: True}), family=Linear(), steps=10, batch_size=batch_size)
    with pytest.raises(ModelError, match=rf"image 2: {said} finite at α = 0.45 of the path"):
        explain(x)


@pytest.mark.parametrize(("input_value", "baseline", "alpha"), [(0.5, 0.0, 1), (0.0, 0.5, 0)])
def test_a_score_that_is_not_finite_at_an_end_is_named(input_value, baseline, alpha):
    x = np.zeros((2, *SHAPE))
    x[1] = input_value
    starts = np.zeros_like(x)
    starts[1] = baseline
    with pytest.raises(
        ModelError, match=rf"image 1: the explained score .* at α = {alpha}, the (input|baseline) itself"
    ):
        PathExplainer(broken(value=True), baseline=starts)(x)


# Presets


def test_the_published_preset():
    explain = PathExplainer(MODEL, preset="published")
    model = Recorder()
    result = PathExplainer(model.model, preset="published", batch_size=1000)(inputs(1))
    assert (explain.steps, explain.rule) == (199, "left")
    assert explain.schedule == LinearRamp(overlap=0.4, jumps="published")
    assert explain.ordering == Energy()
    assert result.settings["complete"] is True  # a ramp does not jump
    np.testing.assert_array_equal(model.backward[0][0], np.zeros(SHAPE))  # the left rule begins at the baseline


@pytest.mark.parametrize("options", [{"schedule": "step"}, {"schedule": LinearRamp(overlap=0.0)}])
def test_published_jumps_are_labelled_incomplete(options):
    result = PathExplainer(MODEL, preset="published", **options)(inputs())
    assert result.settings["complete"] is False
    assert "jumps='published'" in result.settings["schedule"]
    assert result.settings["rule"] == "left"
    assert PathExplainer(MODEL, **options)(inputs()).settings["complete"] is True


def test_published_jumps_take_the_gradient_before_each_jump():
    # Two singular values per channel: one jump at each opening, its gradient at the edge before.
    x = np.zeros((1, 1, 2, 2))
    x[0, 0] = np.diag([3.0, 1.5])
    weight = np.array([[[1.0, 0.0], [0.0, 5.0]]])
    quadratic = NumpyModel(
        lambda p: (weight * p).sum(axis=(1, 2, 3)) ** 2 / 2,
        lambda p, c: c[:, None, None, None] * weight * (weight * p).sum(axis=(1, 2, 3))[:, None, None, None],
    )
    result = PathExplainer(quadratic, preset="published", schedule=StepRamp())(x)
    # The first component jumps with the gradient at 0, that is 0; the second with the one at diag(3, 0), 3·weight.
    np.testing.assert_allclose(result.attributions[0, 0], [[0, 0], [0, 3 * 5 * 1.5]], atol=1e-12)
    assert result.evaluations == 2


def test_what_is_passed_besides_a_preset_holds():
    explain = PathExplainer(
        MODEL, preset="published", steps=50, rule="midpoint", family="dct", ordering="energy", schedule=CosineRamp(0.2)
    )
    assert (explain.steps, explain.rule, explain.family, explain.ordering) == (50, "midpoint", DCT(), Energy())
    assert explain.schedule == CosineRamp(0.2, jumps="published")


# Paths


def test_the_straight_line_is_textbook_integrated_gradients_whatever_the_overlap_and_order():
    x, steps = inputs(), 20
    alphas = (np.arange(steps) + 0.5) / steps
    for i, target in enumerate((0, 2, 3)):
        gradients = [SMOOTH.gradient(alpha * x[i], target) for alpha in alphas]
        expected = x[i] * np.mean(gradients, axis=0)
        for schedule in (LinearRamp(), LinearRamp(0.05), LinearRamp(0.0)):
            for ordering in (None, "shuffled", "rank", Frequency()):
                explain = PathExplainer(MODEL, family=Linear(), schedule=schedule, ordering=ordering, steps=steps)
                found = explain(x[i : i + 1], target).attributions[0]
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)  # 20 roundings of numbers of order 0.1


# With these, some component moves on every interval of the path: none is left out.
RESTLESS = [(SVD(), Rank(), LinearRamp()), (DCT(), None, CosineRamp()), (Wavelet(), Rank(), LinearRamp(0.5))]


@pytest.mark.parametrize(("family", "ordering", "schedule"), RESTLESS)
def test_path_gives_the_points_that_the_model_sees(family, ordering, schedule):
    model, x = Recorder(), inputs(2)
    starts = np.random.default_rng(5).normal(size=x.shape)
    explain = PathExplainer(
        model.model, family=family, ordering=ordering, schedule=schedule, rule="left", steps=8, batch_size=16,
        baseline=starts,
    )  # fmt: skip
    explain(x)
    seen = np.concatenate(model.backward).reshape(2, 8, *SHAPE)
    path = explain.path(x, np.arange(8) / 8)
    np.testing.assert_allclose(path, seen, atol=1e-14)  # the same sums of at most 16 terms in another order
    assert path.dtype == np.float64


@pytest.mark.parametrize("name", FAMILIES)
def test_the_ends_of_a_path_are_exact(name):
    x = inputs()
    starts = np.random.default_rng(5).normal(size=x.shape)
    path = PathExplainer(MODEL, family=name, baseline=starts).path(x, [1, 0.5, 0])
    np.testing.assert_array_equal(path[:, 2], starts)
    np.testing.assert_array_equal(path[:, 0], x)
    assert np.abs(path[:, 1] - x).max() > 0.1


@pytest.mark.parametrize("rule", ["right", "trapezoid"])
def test_the_model_sees_the_input_itself_at_the_end(rule):
    model, x = Recorder(), inputs(2)
    PathExplainer(model.model, rule=rule, steps=6, batch_size=4, baseline=0.3)(x)
    seen = np.concatenate(model.backward)
    for example in x:
        assert (seen == example).all(axis=(1, 2, 3)).any()


@pytest.mark.parametrize("alpha", [[-0.1], [1.1], [0.5, np.nan], 0.5, [[0.5]], "half", [None], ["a"]])
def test_alpha_lies_on_the_path(alpha):
    with pytest.raises(InvalidInput, match="alpha must be a list of positions between 0 and 1; got"):
        PathExplainer(MODEL).path(inputs(), alpha)


def test_no_positions_give_no_points():
    assert PathExplainer(MODEL).path(inputs(3), []).shape == (3, 0, *SHAPE)


def test_path_checks_its_inputs_and_never_runs_the_model():
    model = Recorder()
    explain = PathExplainer(model.model)
    explain.path(inputs(), [0.5])
    assert not model.forward
    with pytest.raises(InvalidInput, match="inputs must be finite"):
        explain.path(np.full((1, *SHAPE), np.nan), [0.5])


# Shapes


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        *[((2, 3, 4, 4), {"family": name}) for name in FAMILIES],  # volumes, channels first
        ((3, 4, 4, 2), {"channel_axis": -1}),
        ((3, 12), {"channel_axis": 1, "family": "svd-joint"}),
        ((3, 12), {"channel_axis": 1, "family": "dct"}),
        ((3, 12), {"channel_axis": 1, "family": "wavelet-coefficients"}),
        ((12, 3), {"channel_axis": -1, "family": "laplacian"}),
        *[((5, 6), {"channel_axis": None, "family": name}) for name in FAMILIES],  # tokens × embedding
        ((7,), {"channel_axis": None, "family": "linear"}),
        ((7,), {"channel_axis": None, "family": "dct"}),
        ((1,), {"channel_axis": None, "family": "dct"}),
        ((2, 1, 1), {}),
        ((1, 7, 1), {"family": "wavelet"}),
    ],
)
@pytest.mark.parametrize("batch_size", [3, 64])
def test_every_arrangement_of_axes_is_complete(shape, options, batch_size):
    weight = np.random.default_rng(2).normal(size=shape)
    x = inputs(2, shape)
    result = PathExplainer(linear(weight), steps=12, batch_size=batch_size, baseline=0.25, **options)(x)
    # A constant gradient: 12 roundings of points of order 1.
    np.testing.assert_allclose(result.attributions, weight * (x - 0.25), rtol=0, atol=1e-13)
    np.testing.assert_allclose(result.components.total(), result.score - result.baseline_score, atol=1e-12)
    assert all(len(part) == 2 for part in result.components.attributions)
    assert all(a.shape == s.shape for a, s in zip(*vars(result.components).values(), strict=True))


@pytest.mark.parametrize("name", FAMILIES)
def test_channels_last_is_channels_first_moved(name):
    x = inputs()
    last = NumpyModel(
        lambda p: SMOOTH.value(np.moveaxis(p, -1, 1)),
        lambda p, c: np.moveaxis(SMOOTH.vjp(np.moveaxis(p, -1, 1), c), 1, -1),
    )
    first = PathExplainer(MODEL, family=name, steps=6)(x)
    moved = PathExplainer(last, family=name, steps=6, channel_axis=-1)(np.moveaxis(x, 1, -1))
    # The same numbers summed in another order: a few roundings of numbers of order 0.1.
    np.testing.assert_allclose(np.moveaxis(moved.attributions, -1, 1), first.attributions, rtol=0, atol=1e-14)
    for one, other in zip(moved.components.attributions, first.components.attributions, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("shape", "axis", "said"),
    [
        ((7,), None, r"SVD needs a matrix: .* Use Linear\(\), DCT\(\)"),
        ((3, 7), 1, r"two spatial axes; .*use SVD\(channels='joint'\)"),
    ],
)
def test_svd_says_what_to_take_where_there_is_no_matrix(shape, axis, said):
    with pytest.raises(InvalidInput, match=said):
        PathExplainer(linear(np.ones(shape)), channel_axis=axis)(inputs(2, shape))


# Precision, batches, progress, components


@pytest.mark.parametrize("name", FAMILIES)
def test_float32_inputs_give_float32_attributions_close_to_float64(name):
    x = inputs().astype(np.float32)
    single = PathExplainer(MODEL, family=name, steps=50)(x, 1)
    double = PathExplainer(MODEL, family=name, steps=50)(x.astype(np.float64), 1)
    assert single.attributions.dtype == np.float32
    # Points of order 1 are rounded to 6e-8, an increment to twice that; gradients are of order 0.1, and 50 such
    # errors add up to 6e-7 at the very worst.
    np.testing.assert_allclose(single.attributions, double.attributions, rtol=0, atol=6e-7)
    assert (single.attributions != double.attributions).any()


@pytest.mark.parametrize("batch_size", [1, 4, 7, 64])
@pytest.mark.parametrize("steps", [3, 10])
def test_the_model_never_sees_more_points_than_batch_size(batch_size, steps):
    model = Recorder()
    PathExplainer(model.model, steps=steps, batch_size=batch_size, rule="trapezoid")(inputs(8))
    assert max(map(len, model.forward + model.backward)) <= batch_size
    assert sum(map(len, model.backward)) == 8 * (steps + 1)
    if batch_size == 64:
        assert max(map(len, model.backward)) > steps + 1  # images share a call where there is room


@pytest.mark.parametrize("batch_size", [1, 5, 12, 30, 100])
@pytest.mark.parametrize("at_rest", [(), (0,), (2,), (0, 1, 2)])
def test_progress_grows_to_its_total(batch_size, at_rest):
    told, x = [], inputs()
    x[list(at_rest)] = 0
    PathExplainer(MODEL, steps=12, batch_size=batch_size, progress=lambda done, total: told.append((done, total)))(x)
    done, total = zip(*told, strict=True)
    assert set(total) == {3 * 12}
    assert list(done) == sorted(done)
    assert done[0] >= 0
    assert done[-1] == total[-1]


def test_progress_may_stop_a_run():
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        PathExplainer(MODEL, steps=12, progress=stop)(inputs())


@pytest.mark.parametrize("name", FAMILIES)
def test_components_can_be_left_out(name):
    with_them = PathExplainer(MODEL, family=name, steps=6)(inputs())
    without = PathExplainer(MODEL, family=name, steps=6, components=False)(inputs())
    assert without.components is None
    np.testing.assert_array_equal(without.attributions, with_them.attributions)
    np.testing.assert_array_equal(without.gap, with_them.gap)
    # Two orders of one sum of at most 6·32 terms of order 0.01.
    np.testing.assert_allclose(with_them.components.total(), with_them.attributions.sum(axis=(1, 2, 3)), atol=1e-14)


def test_the_inputs_and_the_baseline_are_left_as_they_were():
    x, starts = inputs(), np.random.default_rng(0).normal(size=(3, *SHAPE))
    before = x.copy(), starts.copy()
    x.flags.writeable = starts.flags.writeable = False
    result = PathExplainer(MODEL, steps=3, baseline=starts)(x)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(starts, before[1])
    assert result.attributions.flags.writeable


def test_cost_and_bounds_are_told():
    model = Recorder()
    result = PathExplainer(model.model, family=Linear(), steps=9, batch_size=5)(inputs(), 1)
    np.testing.assert_array_equal(result.evaluations, 9)
    assert result.forward_passes == 6 + 3  # each input and each baseline once; three to tell whether rows are their own
    seen = np.concatenate(model.backward).reshape(3, 9, *SHAPE)
    for i in range(3):
        points = [*seen[i], inputs()[i], np.zeros(SHAPE)]
        probabilities = [SMOOTH.probability(point, 1) for point in points]
        # exp and log of numbers of order 1, a few roundings.
        np.testing.assert_allclose(
            [result.lowest[i], result.highest[i]], [min(probabilities), max(probabilities)], rtol=1e-13
        )


# Defects of peers


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("steps", [1, 2, 10])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_weights_of_every_rule_sum_to_1(rule, steps, name):
    # A popular trapezoid sums to (n − 1)/n, 10% low at n = 10; another takes both ends over n.
    weight = np.random.default_rng(2).normal(size=SHAPE)
    x = inputs()
    result = PathExplainer(linear(weight), family=name, rule=rule, steps=steps, baseline=0.5)(x)
    # A constant gradient: at most 11 roundings of points of order 1.
    np.testing.assert_allclose(result.attributions, weight * (x - 0.5), rtol=0, atol=2e-14)


@pytest.mark.parametrize(
    ("rule", "share"),
    [
        # ∫3α²dα by n equal steps: 1 is exact, the rest is the rule's own error.
        ("midpoint", lambda n: 1 - 1 / (4 * n**2)),
        ("trapezoid", lambda n: 1 + 1 / (2 * n**2)),
        ("left", lambda n: (1 - 1 / n) * (1 - 1 / (2 * n))),
        ("right", lambda n: (1 + 1 / n) * (1 + 1 / (2 * n))),
    ],
)
@pytest.mark.parametrize("steps", [10, 200])
def test_float64_is_float64_on_a_cubic(rule, share, steps):
    # Step weights in float32 stop at 1.8e-9.
    cubic = NumpyModel(lambda p: (p**3).sum(axis=(1, 2, 3)), lambda p, c: c[:, None, None, None] * 3 * p**2)
    x = inputs()
    result = PathExplainer(cubic, family=Linear(), rule=rule, steps=steps)(x)
    # At most 200 terms of one sign: 200 roundings of 1.1e-16, and each increment is a difference of two points,
    # up to 200 times its size, whose roundings of 1.1e-16 telescope: 1e-13 leaves room, 1.8e-9 would not pass.
    np.testing.assert_allclose(result.attributions, x**3 * share(steps), rtol=1e-13)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_an_image_is_explained_the_same_alone_and_in_company(name, batch_size):
    x, targets = inputs(4), [0, 1, 2, 3]
    explain = PathExplainer(MODEL, family=name, steps=10, batch_size=batch_size, baseline="gaussian")
    together = explain(x, targets)
    for i, target in enumerate(targets):
        alone = explain(x[i : i + 1], target)
        # The model's own products of matrices of another size: a few roundings of numbers of order 0.1.
        np.testing.assert_allclose(alone.attributions[0], together.attributions[i], rtol=0, atol=1e-14)
        np.testing.assert_allclose(alone.heatmap()[0], together.heatmap()[i], rtol=0, atol=1e-12)
