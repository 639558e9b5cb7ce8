"""Which number is explained: targets, outputs and links, and every way of getting them wrong."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from pathattr import Contrast, InvalidInput, Linear, ModelError, NumpyModel, PathExplainer
from pathattr.models.outputs import Outputs
from pathattr.models.targets import LINKS, MODEL_LINKS, OUTPUTS, resolve_targets
from reference import SmoothModel

SHAPE = (1, 4, 4)
SMOOTH = SmoothModel(SHAPE)
MODEL = NumpyModel(SMOOTH.value, SMOOTH.vjp)
LOGITS = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, -4.0]])
DENSE = np.random.default_rng(0).normal(size=(2, 3, 4, 5))  # classes, rows, columns


def objective_of(outputs, output, link):
    return Outputs(outputs, link, outputs.ndim - 1).explained(output, None)[0]


def inputs(batch=3):
    return np.random.default_rng(1).normal(size=(batch, *SHAPE))


def resolved(target, outputs=LOGITS):
    return resolve_targets(target, outputs)


def affine(weight, shift=0.0, shape=lambda rows: rows):
    """One output, weight·Σx + shift, with whatever axes `shape` puts around it."""

    def value(points):
        return shape(weight * points.reshape(len(points), -1).sum(axis=1) + shift)

    def vjp(points, cotangent):
        return weight * cotangent.reshape(-1, 1, 1, 1) * np.ones_like(points)

    return NumpyModel(value, vjp)


def pixelwise(classes=3):
    """Dense outputs (classes, 4, 4): each pixel's score of a class is a multiple of that pixel."""
    scale = np.arange(1.0, classes + 1)
    return NumpyModel(
        lambda points: scale[:, None, None] * points,
        lambda points, cotangent: (scale[:, None, None] * cotangent).sum(axis=1, keepdims=True) + 0 * points,
    )


# Forms of a target


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (1, [1, 1]),
        (np.int64(2), [2, 2]),
        (np.array(2), [2, 2]),
        ((1,), [1, 1]),
        ([2, 0], [2, 0]),
        ([np.uint8(2), 0], [2, 0]),
        (range(2), [0, 1]),
        (np.array([0, 2], dtype=np.uint8), [0, 2]),
        (np.array([[0], [2]]), [0, 2]),
        ([(1,), (2,)], [1, 2]),
        ([np.array(2), np.array([0])], [2, 0]),
        (np.array([2, 0], dtype=object), [2, 0]),
        (None, [0, 1]),  # the largest output of each
    ],
)
def test_every_form_of_a_class(target, expected):
    np.testing.assert_array_equal(resolved(target)[:, 0, 0], expected)
    assert resolved(target).shape == (2, 1, 1)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ((1, 3, 4), [[1, 3, 4], [1, 3, 4]]),
        ([(1, 3, 4), (2, 0, 0)], [[1, 3, 4], [2, 0, 0]]),
        ([[1, 3, 4], [2, 0, 0]], [[1, 3, 4], [2, 0, 0]]),
        (np.array([[1, 3, 4], [2, 0, 0]]), [[1, 3, 4], [2, 0, 0]]),
    ],
)
def test_every_form_of_a_target_among_dense_outputs(target, expected):
    np.testing.assert_array_equal(resolved(target, DENSE)[:, 0], expected)


@pytest.mark.parametrize(
    ("contrast", "expected"),
    [
        (Contrast(1, 2), [[1, 2], [1, 2]]),
        (Contrast([1, 0], 2), [[1, 2], [0, 2]]),
        (Contrast(None, 2), [[0, 2], [1, 2]]),
    ],
)
def test_a_contrast_takes_any_two_targets(contrast, expected):
    np.testing.assert_array_equal(resolved(contrast)[:, :, 0], expected)


@pytest.mark.parametrize("target", [True, np.True_, 1.0, np.float64(1.0), [0, 1.0], [False, 1], np.array([0.0, 1.0])])
def test_only_whole_numbers_are_classes(target):
    with pytest.raises(InvalidInput, match="targets are whole numbers, class indices; got"):
        resolved(target)


@pytest.mark.parametrize(
    "target", ["cat", [0], [0, 1, 2], [], {0, 1}, {"a": 1}, object(), len, Contrast(Contrast(0, 1), 2)]
)
def test_other_things_are_no_targets(target):
    with pytest.raises(InvalidInput, match=r"target must be a class index, 2 of them .one per example.*or None; got"):
        resolved(target)


def indexed(target):
    """What the error about one-hot labels says."""
    return Contrast(indexed(target.a), target.b) if isinstance(target, Contrast) else np.asarray(target).argmax(-1)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (np.eye(3)[[1, 2]], [1, 2]),
        (np.eye(3, dtype=bool)[[1, 2]], [1, 2]),
        ([[0, 1, 0], [1, 0, 0]], [1, 0]),
        ([np.array([0, 0, 1]), np.array([1, 0, 0])], [2, 0]),
        ([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]], [1, 2]),  # probabilities
        (np.array([[0.333, 0.334, 0.333]] * 2, np.float16), [1, 1]),
        ([0, 1, 0], [1, 1]),  # one example's, for a batch of two
        (Contrast(np.eye(3)[[1, 2]], 0), [1, 2]),
    ],
)
def test_one_hot_labels_and_probabilities_are_no_indices_and_the_advice_works(target, expected):
    with pytest.raises(InvalidInput, match=r"each of the 3 classes, .*one-hot.*numpy\.asarray\(target\)\.argmax"):
        resolved(target)
    np.testing.assert_array_equal(resolved(indexed(target))[:, 0, 0], expected)


def test_as_many_classes_as_examples_are_indices_where_they_have_one_axis():
    np.testing.assert_array_equal(resolved([0, 1, 0], np.zeros((3, 3)))[:, 0, 0], [0, 1, 0])
    with pytest.raises(InvalidInput, match="one-hot"):
        resolved(np.eye(3), np.zeros((3, 3)))


@pytest.mark.parametrize("target", [[[1], [1, 2]], [np.array([1]), np.array([1, 2])]])
def test_ragged_targets_name_the_number_of_indices(target):
    with pytest.raises(InvalidInput, match=r"outputs of shape \(3,\).* a target there has 1 index; got"):
        resolved(target)
    np.testing.assert_array_equal(resolved([row[:1] for row in target])[:, 0, 0], [1, 1])


@pytest.mark.parametrize("target", [-1, 3, 99999999, 10**30, [0, -1], np.array([5, 0]), Contrast(0, 3)])
def test_a_target_out_of_range_names_the_range(target):
    with pytest.raises(InvalidInput, match=r"out of range: the model has 3 outputs, 0 to 2"):
        resolved(target)


@pytest.mark.parametrize(
    ("target", "outputs", "said"),
    [
        ((0, 1), LOGITS, r"outputs of shape \(3,\) for each example: a target there has 1 index; got \(0, 1\)"),
        (1, DENSE, r"outputs of shape \(3, 4, 5\) for each example: a target there has 3 indices; got 1"),
        ([(0, 1), (0, 1)], DENSE, "a target there has 3 indices"),
        (None, DENSE, r"pass target=\(...\), one index per axis"),
        ((0, 4, 0), DENSE, "target 4 is out of range: the model has 4 outputs, 0 to 3"),
    ],
)
def test_dense_outputs_take_one_index_per_axis(target, outputs, said):
    with pytest.raises(InvalidInput, match=said):
        resolved(target, outputs)


@pytest.mark.parametrize("shape", [(2,), (2, 1), (2, 1, 1)])
@pytest.mark.parametrize("target", [None, 0, [0, 0], (0,)])
def test_a_single_output_is_class_0(shape, target):
    found = resolved(target, np.zeros(shape))
    assert found.shape == (2, 1, len(shape) - 1)
    assert not found.any()


def test_a_single_output_has_no_class_1():
    with pytest.raises(InvalidInput, match="the model has 1 outputs, 0 to 0"):
        resolved(1, np.zeros((2, 1)))


def test_a_missing_target_is_the_class_at_the_input_not_at_the_baseline():
    x = inputs(8)
    at_input = SMOOTH.value(x).argmax(axis=1)
    assert (at_input != SMOOTH.value(np.zeros_like(x)).argmax(axis=1)).any()  # else this tests nothing
    result = PathExplainer(MODEL, steps=5)(x)
    np.testing.assert_array_equal(result.target, at_input)
    np.testing.assert_array_equal(result.attributions, PathExplainer(MODEL, steps=5)(x, at_input).attributions)


def test_what_was_explained_is_told_as_users_write_it():
    x, explain = inputs(2), PathExplainer(MODEL, steps=2)
    np.testing.assert_array_equal(explain(x, [1, 3]).target, [1, 3])
    np.testing.assert_array_equal(explain(x, Contrast(1, 3)).target, [[1, 3], [1, 3]])
    np.testing.assert_array_equal(PathExplainer(affine(1.0), steps=2)(x).target, [0, 0])
    dense = PathExplainer(pixelwise(), steps=2, output="logit", class_axis=1)
    np.testing.assert_array_equal(dense(x, (2, 0, 1)).target, [[2, 0, 1], [2, 0, 1]])
    assert dense(x, Contrast((2, 0, 1), (1, 0, 1))).target.shape == (2, 2, 3)


def test_a_contrast_is_the_difference_of_two_explanations():
    x = inputs()
    explain = PathExplainer(MODEL, steps=5)
    both = explain(x, Contrast(1, [0, 2, 3]))
    one, other = explain(x, 1), explain(x, [0, 2, 3])
    np.testing.assert_allclose(both.score, one.score - other.score, atol=1e-15)  # roundings of numbers below 1
    # A sum of 5 products against the difference of two such sums, of order 0.1.
    np.testing.assert_allclose(both.attributions, one.attributions - other.attributions, rtol=0, atol=1e-14)


def test_a_dense_target_moves_its_own_pixel_only():
    x = inputs(2)
    result = PathExplainer(pixelwise(), family=Linear(), steps=4, output="logit", class_axis=1)(
        x, [(2, 0, 1), (1, 3, 3)]
    )
    expected = np.zeros_like(x)
    expected[0, 0, 0, 1], expected[1, 0, 3, 3] = 3 * x[0, 0, 0, 1], 2 * x[1, 0, 3, 3]
    np.testing.assert_allclose(result.attributions, expected, rtol=1e-14)  # four roundings of a constant gradient


# Outputs and links


@pytest.mark.parametrize("output", [None, *OUTPUTS])
def test_the_score_is_what_the_output_says(output):
    x = inputs(1)
    logits = SMOOTH.value(x)[0]
    p = np.exp(logits) / np.exp(logits).sum()
    expected = {None: p, "probability": p, "log_probability": np.log(p), "logit": logits, "raw": logits}[output]
    result = PathExplainer(MODEL, output=output, steps=2)(x, 2)
    np.testing.assert_allclose(result.score, expected[2], rtol=1e-13)  # exp and log, a few roundings
    assert result.settings["output"] == (output or "probability")


@pytest.mark.parametrize("shape", [lambda rows: rows, lambda rows: rows[:, None], lambda rows: rows[:, None, None]])
def test_a_model_with_one_output_is_raw_unless_a_link_is_given(shape):
    x = inputs()
    logit = 0.5 * x.sum(axis=(1, 2, 3)) + 3.0
    raw = PathExplainer(affine(0.5, 3.0, shape), steps=2)(x)
    np.testing.assert_allclose(raw.score, logit, rtol=1e-14)
    assert raw.settings["output"] == "raw"
    probability = PathExplainer(affine(0.5, 3.0, shape), link="sigmoid", steps=2)(x)
    np.testing.assert_allclose(probability.score, 1 / (1 + np.exp(-logit)), rtol=1e-13)  # exp and log, a few roundings
    assert probability.settings["output"] == "probability"


@pytest.mark.parametrize("output", ["probability", "logit", "log_probability"])
@pytest.mark.parametrize("shape", [lambda rows: rows, lambda rows: rows[:, None]])
def test_one_output_without_a_link_leaves_open_what_it_is(output, shape):
    with pytest.raises(
        InvalidInput, match=rf"output='{output}' of a model with one output.*link='sigmoid'.*output='raw'"
    ):
        PathExplainer(affine(0.5, 3.0, shape), output=output)(inputs())


@pytest.mark.parametrize("shape", [lambda rows: rows, lambda rows: rows[:, None]])
def test_a_softmax_over_one_output_is_refused(shape):
    # Over (batch,) it would normalise over the batch-mates; over (batch, 1) it is always 1.
    with pytest.raises(InvalidInput, match="softmax"):
        PathExplainer(affine(0.5, 3.0, shape), link="softmax", steps=2)(inputs())


PROBABILITIES = np.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
ROUNDED = PROBABILITIES.astype(np.float16).astype(np.float64)


@pytest.mark.parametrize("outputs", [PROBABILITIES, ROUNDED])
@pytest.mark.parametrize("output", [None, "probability", "log_probability", "logit"])
def test_what_looks_like_probabilities_is_refused_without_a_link(outputs, output):
    with pytest.raises(InvalidInput, match=r"look like probabilities: between 0 and 1, summing to 1.*link='already'"):
        objective_of(outputs, output, None)


def test_probabilities_as_raw_numbers_are_nobodys_mistake():
    assert objective_of(PROBABILITIES, "raw", None).link == "identity"


def probabilities():
    """Two probabilities that follow the mean of the input in [0, 1]."""

    def value(points):
        p = points.reshape(len(points), -1).mean(axis=1)
        return np.stack([p, 1 - p], axis=1)

    def vjp(points, cotangent):
        with np.errstate(invalid="ignore"):  # ∞ − ∞ is this model's business; the score is not finite there
            return (cotangent[:, 0] - cotangent[:, 1])[:, None, None, None] * np.ones_like(points) / points[0].size

    return NumpyModel(value, vjp)


def test_probabilities_pass_through_a_softmax_with_a_warning_that_points_here():
    x = np.full((1, *SHAPE), 0.75)
    with pytest.warns(
        UserWarning, match="look like probabilities.*through a softmax as you or the model say.*'already'"
    ) as caught:
        result = PathExplainer(probabilities(), link="softmax", steps=2)(x, 0)
    assert Path(caught[0].filename).name == Path(__file__).name
    np.testing.assert_allclose(result.score, 1 / (1 + np.exp(-0.5)), rtol=1e-14)


def test_probabilities_are_used_as_they_are_with_already():
    x = np.full((1, *SHAPE), 0.75)
    plain = PathExplainer(probabilities(), link="already", steps=2)(x)
    assert plain.score == 0.75
    assert plain.settings["output"] == "probability"
    logarithm = PathExplainer(
        probabilities(), family=Linear(), link="already", output="log_probability", baseline=0.25, steps=400
    )(x)
    np.testing.assert_allclose(logarithm.score, np.log(0.75), rtol=1e-14)
    # The midpoint rule on ∫du/u from 0.25 to 0.75: h²·(f'(b) − f'(a))/24 = 9e-7 at h = 0.5/400.
    np.testing.assert_allclose(logarithm.gap, 0, atol=1e-6)


def test_several_probabilities_that_do_not_sum_to_1_are_multi_label():
    objective = objective_of(np.array([[0.9, 0.8]]), None, "already")
    assert (objective.kind, objective.link) == ("probability", "identity")


def test_logits_are_no_probabilities():
    with pytest.raises(InvalidInput, match=r"link='already' says .*run from -4 to 3: say link='softmax' or 'sigmoid'"):
        objective_of(LOGITS, None, "already")


def test_a_logit_that_lies_between_0_and_1_is_not_taken_for_a_probability_where_none_is_explained():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert objective_of(np.array([0.3]), "logit", "sigmoid").link == "identity"


@pytest.mark.parametrize(("output", "link"), [(o, li) for o in OUTPUTS for li in MODEL_LINKS if (o, li) not in LINKS])
def test_outputs_that_a_link_cannot_give_are_refused_at_construction(output, link):
    said = "the logits cannot be had back" if link == "already" else "no scores of classes"
    with pytest.raises(InvalidInput, match=f"output='{output}' of a model .*{said}"):
        PathExplainer(MODEL, output=output, link=link)


def test_the_refused_pairs_are_the_meaningless_ones():
    refused = {(o, li) for o in OUTPUTS for li in MODEL_LINKS} - set(LINKS)
    assert refused == {("logit", "already"), ("probability", "identity"), ("log_probability", "identity")}


@pytest.mark.parametrize("output", [None, "raw", "logit"])
def test_the_identity_leaves_outputs_alone(output):
    x = inputs()
    result = PathExplainer(MODEL, output=output, link="identity", steps=2)(x, 1)
    np.testing.assert_array_equal(result.score, SMOOTH.value(x)[:, 1])
    assert result.settings["output"] == (output or "raw")


@pytest.mark.parametrize("class_axis", [1, -3])
def test_the_softmax_runs_over_the_class_axis(class_axis):
    x = inputs(2)
    result = PathExplainer(pixelwise(), steps=2, class_axis=class_axis)(x, (2, 0, 1))
    logits = np.arange(1.0, 4.0) * x[:, 0, 0, 1, None]
    expected = np.exp(logits[:, 2]) / np.exp(logits).sum(axis=1)
    np.testing.assert_allclose(result.score, expected, rtol=1e-13)  # exp and log, a few roundings


def test_the_classes_come_last_by_default():
    assert objective_of(LOGITS, None, None).class_axis == 1


@pytest.mark.parametrize("class_axis", [0, 4, -4, "last", 1.0, True])
def test_a_class_axis_that_is_none_is_refused(class_axis):
    with pytest.raises(InvalidInput, match="class_axis"):
        PathExplainer(pixelwise(), class_axis=class_axis, steps=2)(inputs(), (0, 0, 0))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_many_outputs_in_low_precision_are_finite_all_the_same(dtype):
    # 1000 logits of 100 sum to more than float16 holds.
    model = NumpyModel(
        lambda points: 100 + points.mean(axis=(1, 2, 3))[:, None] * (np.arange(1000) % 2).astype(dtype),
        lambda points, cotangent: (cotangent @ (np.arange(1000) % 2).astype(dtype))[:, None, None, None] + 0 * points,
    )
    result = PathExplainer(model, output="logit", steps=2)(inputs().astype(dtype), 1)
    assert np.isfinite(result.score).all()


def test_a_class_masked_by_minus_infinity_has_probability_0():
    masked = NumpyModel(
        lambda points: np.concatenate([SMOOTH.value(points), np.full((len(points), 1), -np.inf)], axis=1),
        lambda points, cotangent: SMOOTH.vjp(points, cotangent[:, :-1]),
    )
    x = inputs()
    found, plain = PathExplainer(masked, steps=5)(x), PathExplainer(MODEL, steps=5)(x)
    # exp(−∞) adds an exact 0 to the softmax; only the order of that sum may differ.
    np.testing.assert_allclose(found.attributions, plain.attributions, rtol=0, atol=1e-14)


# Callables


def test_an_output_callable_needs_a_framework():
    with pytest.raises(InvalidInput, match="no derivative in NumPy: let NumpyModel's value return the score"):
        PathExplainer(MODEL, output=lambda outputs: outputs.sum(axis=1))(inputs())


def test_an_output_callable_leaves_no_choice_of_target():
    with pytest.raises(InvalidInput, match="chooses what is explained: pass target=None"):
        PathExplainer(MODEL, output=lambda outputs: outputs.sum(axis=1))(inputs(), 1)


@pytest.mark.parametrize("output", [lambda o: o, lambda o: o.sum(), lambda o: 1.0, lambda o: o[:, :1]])
def test_an_output_callable_returns_one_score_a_row(output):
    with pytest.raises(ModelError, match=r"must return one score a row, shape \(\d,\)"):
        PathExplainer(MODEL, output=output)(inputs())


# Probabilities of zero


@pytest.mark.parametrize(("end", "start", "alpha"), [(0.0, 0.5, 1), (0.5, 0.0, 0)])
def test_the_logarithm_of_a_zero_probability_at_an_end_is_named(end, start, alpha):
    x = np.full((2, *SHAPE), 0.5)
    x[1] = end
    starts = np.full_like(x, 0.25)
    starts[1] = start
    explain = PathExplainer(probabilities(), output="log_probability", link="already", baseline=starts)
    with pytest.raises(ModelError, match=f"image 1: the explained score .* is not finite at α = {alpha}, "):
        explain(x, 0)


def test_the_logarithm_of_a_zero_probability_along_the_path_names_image_and_alpha():
    def value(points):
        p = np.abs(points.reshape(len(points), -1).mean(axis=1))
        return np.stack([p, 1 - p], axis=1)

    x = np.full((2, *SHAPE), 0.5)
    starts = np.stack([np.full(SHAPE, 0.25), np.full(SHAPE, -0.5)])  # the second goes through 0 half-way
    explain = PathExplainer(
        NumpyModel(value, probabilities().vjp),
        family=Linear(), rule="left", steps=4, output="log_probability", link="already", baseline=starts,
    )  # fmt: skip
    with pytest.raises(ModelError, match=r"image 1: the explained score \(-inf\) is not finite at α = 0.5 of the path"):
        explain(x, 0)
