"""What metrics are computed on: probabilities, masks, and attributions from anywhere."""

import math
import os

import numpy as np
import pytest

from judging import probabilities, regression
from pathattr import Contrast, GradientCallback, InvalidInput, ModelError, NumpyModel, PathExplainer
from pathattr.metrics import DiffID, Subject
from pathattr.models.backend import Call
from pathattr.models.registry import backends
from pathattr.testing.frameworks import FLOAT32, closed_form, network
from pathattr.testing.properties import assert_close

SHAPE = (3, 5, 4)
NETWORK = regression(SHAPE)
ROUNDING = 1e-12  # sums of sixty products of order 1 in another order


def inputs(batch=3, seed=1):
    return np.random.default_rng(seed).normal(size=(batch, *SHAPE))


def subject(x=None, target=None, **options):
    return Subject(NETWORK.model(), inputs() if x is None else x, target, **options)


def no_gradient(value):
    """A model of which only outputs are asked."""
    return NumpyModel(value, lambda points, cotangent: np.zeros_like(points))


# What the model says


def test_a_softmax_models_probabilities_and_hits():
    x, target = inputs(), [0, 1, 2]
    own = subject(x, target)
    expected = [probabilities(NETWORK, example) for example in x]
    assert_close(own.probability, [p[t] for p, t in zip(expected, target, strict=True)], ROUNDING)
    assert own.hit.tolist() == [p.argmax() == t for p, t in zip(expected, target, strict=True)]
    assert_close(own.score, own.probability, ROUNDING)
    assert (own.target.tolist(), len(own), own.spatial) == (target, 3, SHAPE[1:])


def test_without_a_target_it_is_the_predicted_class():
    own = subject()
    assert own.target.tolist() == [int(probabilities(NETWORK, example).argmax()) for example in inputs()]
    assert own.hit.all()


def test_the_score_is_the_output_asked_for_and_the_probability_stays_one():
    x = inputs()
    own = subject(x, 1, output="logit")
    assert_close(own.score, NETWORK.value(x)[:, 1], ROUNDING)
    assert_close(own.probability, [probabilities(NETWORK, example)[1] for example in x], ROUNDING)


def test_points_are_judged_in_the_order_given_whatever_the_blocks():
    x = inputs(4)
    rows = [3, 0, 0, 2, 1, 3, 2]
    points = np.random.default_rng(5).normal(size=(len(rows), *SHAPE))
    target = [0, 1, 2, 0]
    expected = [probabilities(NETWORK, point)[target[row]] for row, point in zip(rows, points, strict=True)]
    for block in (1, 3, 32):
        judged = subject(x, target, batch_size=block).judge(zip(rows, points, strict=True))
        assert_close(judged.probability, expected, ROUNDING)
        assert_close(judged.score, expected, ROUNDING)
    assert len(subject().judge([]).score) == 0


def test_points_are_drawn_a_block_at_a_time():
    held, most = [0], [0]

    def value(points):
        most[0] = max(most[0], held[0])
        held[0] = 0
        return NETWORK.value(points)

    def points():
        for _ in range(50):
            held[0] += 1
            yield 0, inputs()[0]

    Subject(NumpyModel(value, NETWORK.vjp), inputs(), batch_size=4).judge(points())
    assert most[0] == 4


@pytest.mark.parametrize("shape", ["(batch,)", "(batch, 1)"])
def test_a_binary_classifier_with_one_output(shape):
    weights = NETWORK.weights[0]

    def value(points):
        logits = (points * weights).reshape(len(points), -1).sum(axis=1)
        return logits if shape == "(batch,)" else logits[:, None]

    x = inputs(6)
    own = Subject(no_gradient(value), x, link="sigmoid")
    logits = [(example * weights).sum() for example in x]
    assert_close(own.probability, [1 / (1 + math.exp(-logit)) for logit in logits], ROUNDING)
    assert own.hit.tolist() == [logit > 0 for logit in logits]
    assert set(own.hit.tolist()) == {True, False}
    already = Subject(no_gradient(lambda points: 1 / (1 + np.exp(-value(points)))), x, link="already")
    assert_close(already.probability, own.probability, ROUNDING)
    assert already.hit.tolist() == own.hit.tolist()


def test_independent_sigmoids_are_probabilities_of_their_own():
    x = inputs()
    own = subject(x, [2, 0, 1], link="sigmoid")
    logits = NETWORK.value(x)
    assert_close(own.probability, [1 / (1 + math.exp(-logits[i, t])) for i, t in enumerate((2, 0, 1))], ROUNDING)
    assert own.hit.tolist() == [logits[i].argmax() == t for i, t in enumerate((2, 0, 1))]


def test_a_model_that_returns_probabilities():
    def value(points):
        return np.stack([probabilities(NETWORK, point) for point in points])

    x = inputs()
    own = Subject(no_gradient(value), x, 1, link="already")
    assert_close(own.probability, subject(x, 1).probability, ROUNDING)


def test_dense_outputs_are_judged_at_their_target():
    # (points, 2 places, 3 classes): the second place sees the input backwards.
    def value(points):
        return np.stack([NETWORK.value(points), NETWORK.value(points[..., ::-1])], axis=1)

    x = inputs()
    own = Subject(no_gradient(value), x, [(1, 0), (0, 2), (1, 1)], class_axis=-1)
    seen = [probabilities(NETWORK, x[0][..., ::-1])[0], probabilities(NETWORK, x[1])[2]]
    seen.append(probabilities(NETWORK, x[2][..., ::-1])[1])
    assert_close(own.probability, seen, ROUNDING)
    assert own.target.tolist() == [[1, 0], [0, 2], [1, 1]]
    first = Subject(
        no_gradient(lambda points: np.moveaxis(value(points), 1, 2)), x, [(0, 1), (2, 0), (1, 1)], class_axis=1
    )
    assert_close(first.probability, seen, ROUNDING)
    assert first.hit.tolist() == own.hit.tolist()
    best = [
        probabilities(NETWORK, x[0][..., ::-1]),
        probabilities(NETWORK, x[1]),
        probabilities(NETWORK, x[2][..., ::-1]),
    ]
    assert own.hit.tolist() == [p.argmax() == t for p, t in zip(best, (0, 2, 1), strict=True)]


def test_a_regression_has_scores_and_no_classes():
    own = Subject(no_gradient(lambda points: points.sum(axis=(1, 2, 3))), inputs())
    assert_close(own.score, inputs().sum(axis=(1, 2, 3)), ROUNDING)
    assert np.isnan(own.probability).all()
    assert not own.hit.any()
    with pytest.raises(InvalidInput, match="say link='sigmoid'"):
        own.needs_classes()
    with pytest.raises(InvalidInput, match="needs the probability of a class"):
        Subject(NETWORK.model(), inputs(), link="identity").needs_classes()


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(InvalidInput, match="GradientCallback"):
        Subject(GradientCallback(lambda points, target: points), inputs(), 0)
    with pytest.raises(InvalidInput, match="one class per example; a Contrast has two"):
        subject(target=Contrast(0, 1))
    with pytest.raises(InvalidInput, match="out of range: the model has 3 outputs"):
        subject(target=3)
    with pytest.raises(InvalidInput, match="must be finite"):
        subject(np.full((1, *SHAPE), np.nan))


def test_a_score_that_is_not_finite_names_the_image():
    def value(points):
        with np.errstate(divide="ignore"):
            return NETWORK.value(points) / (np.abs(points).sum(axis=(1, 2, 3)) > 0)[:, None]

    own = Subject(no_gradient(value), inputs(), 0, output="logit")
    with pytest.raises(ModelError, match="image 2: the model's score is not finite"):
        own.judge([(0, inputs()[0]), (2, np.zeros(SHAPE))])


def test_the_generator_is_the_seeds_each_time():
    own = subject(seed=7)
    expected = np.random.default_rng(7).normal(size=5)
    for _ in range(2):
        assert own.rng().normal(size=5).tolist() == expected.tolist()


# Masks


def test_boxes_are_masks_with_their_last_two_exclusive():
    own = subject(boxes=[[0, 1, 2, 4], [1.0, 0.0, 5.0, 1.0], [1.2, 0.5, 2.1, 2.0]])
    expected = np.zeros((3, *SHAPE[1:]), bool)
    expected[0, 0:2, 1:4] = True
    expected[1, 1:5, 0:1] = True
    expected[2, 1:3, 0:2] = True  # every pixel that a box touches
    assert (own.object_masks == expected).all()


@pytest.mark.parametrize("kind", [bool, int, float])
def test_masks_are_booleans_or_0_and_1(kind):
    masks = np.random.default_rng(0).random((3, *SHAPE[1:])) < 0.5
    found = subject(masks=masks.astype(kind)).object_masks
    assert found.dtype == bool
    assert (found == masks).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masks": np.ones((2, 5, 4), bool)}, r"masks have shape \(2, 5, 4\); expected one per example, \(3, 5, 4\)"),
        ({"masks": np.ones((3, 3, 5, 4), bool)}, "expected one per example"),
        ({"masks": np.full((3, 5, 4), 0.5)}, "threshold soft masks first"),
        ({"masks": np.full((3, 5, 4), 255)}, "0 and 1"),
        ({"masks": np.ones((3, 5, 4), bool), "boxes": [[0, 0, 1, 1]] * 3}, "by masks or by boxes, not by both"),
        ({"boxes": [[0, 0, 1, 1]]}, r"boxes are \(batch, 4\)"),
        ({"boxes": [[0, 0, 1]] * 3}, r"boxes are \(batch, 4\)"),
        ({"boxes": [["a", 0, 1, 1]] * 3}, r"boxes are \(batch, 4\): top, left, bottom, right"),
        ({"boxes": [[0, 0, 6, 1]] * 3}, "does not lie in a picture of 5 × 4 pixels"),
        ({"boxes": [[0, -1, 2, 1]] * 3}, "does not lie in a picture"),
        ({"boxes": [[2, 0, 2, 1]] * 3}, "does not lie in a picture"),
        ({"boxes": [[0, 0, np.nan, 1]] * 3}, "does not lie in a picture"),
    ],
)
def test_masks_that_do_not_fit_are_refused(options, message):
    with pytest.raises(InvalidInput, match=message):
        subject(**options)


def test_a_metric_that_needs_masks_says_how_to_give_them():
    with pytest.raises(InvalidInput, match=r"masks=\.\.\.\) or boxes="):
        _ = subject().object_masks


# Attributions from anywhere


def test_maps_of_every_shape_that_fits():
    own, full = subject(), inputs(seed=4)
    assert_close(own.maps(full), full, 0)
    assert_close(own.maps(full.astype(np.float32)), full, 1e-6)  # float32's rounding of numbers up to 4
    single = full[:, 0]
    for given in (single, single[:, None], single.tolist()):
        assert_close(own.maps(given), np.repeat(single[:, None], 3, axis=1), 0)


def test_maps_are_where_the_channels_are():
    x = np.moveaxis(inputs(), 1, 3)
    own = Subject(no_gradient(lambda points: NETWORK.value(np.moveaxis(points, 3, 1))), x, channel_axis=-1)
    assert_close(own.maps(np.moveaxis(inputs(seed=4), 1, 3)), inputs(seed=4), 0)
    single = inputs(seed=4)[:, 0]
    assert_close(own.maps(single[..., None]), np.repeat(single[:, None], 3, axis=1), 0)
    flat = Subject(no_gradient(NETWORK.value), inputs(), channel_axis=None)
    assert_close(flat.maps(inputs(seed=4)), inputs(seed=4)[:, None], 0)


@pytest.mark.parametrize("shape", [(2, *SHAPE), SHAPE[1:], (3, 2, 5, 4), (3, 4, 5), (3, 5, 4, 3), (3,)])
def test_maps_that_do_not_fit_are_refused(shape):
    with pytest.raises(InvalidInput, match="expected the inputs' shape, or one map each"):
        subject().maps(np.zeros(shape))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.full((3, *SHAPE), np.inf), "attributions must be finite"),
        ([[1.0], [1.0, 2.0]], "attributions must be numbers, in one shape"),
        (np.full((3, *SHAPE), "a"), "attributions must be numbers"),
    ],
)
def test_maps_that_are_no_numbers_are_refused(given, message):
    with pytest.raises(InvalidInput, match=message):
        subject().maps(given)


def test_maps_are_read_from_files(tmp_path):
    own = subject()
    result = PathExplainer(NETWORK.model(), steps=3)(inputs())
    result.save(tmp_path / "result.npz")
    np.save(tmp_path / "maps.npy", inputs(seed=4))
    assert_close(own.maps(result), result.numpy(), 0)
    assert_close(own.maps(tmp_path / "result.npz"), result.numpy(), 0)
    assert_close(own.maps(str(tmp_path / "maps.npy")), inputs(seed=4), 0)


def test_files_that_hold_no_maps_are_refused(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object))
    (tmp_path / "text.npy").write_text("no array")
    np.savez(tmp_path / "foreign.npz", a=np.ones(3))
    for name, message in (
        ("missing.npy", "cannot read"),
        ("objects.npy", "no file of attributions"),
        ("text.npy", "no file of attributions"),
        ("foreign.npz", "foreign.npz"),
    ):
        with pytest.raises(InvalidInput, match=message):
            subject().maps(tmp_path / name)


# In every framework


@pytest.mark.parametrize("name", backends())
def test_every_backend_judges_as_the_closed_form_does(name):
    shape = (2, 6, 5)
    backend, model = network(name, shape)
    rng = np.random.default_rng(0)
    x, maps = (rng.normal(size=(3, *shape)).astype(np.float32) for _ in range(2))
    wanted = Subject(closed_form(shape).model(), x.astype(np.float64), [0, 1, 2])

    def arranged(array):
        return np.moveaxis(array, 1, backend.channel_axis)

    own = Subject(model, arranged(x), [0, 1, 2], backend=backend, channel_axis=backend.channel_axis, batch_size=5)
    assert_close(own.examples, x, 0)
    assert_close(own.probability, wanted.probability, FLOAT32)
    assert own.hit.tolist() == wanted.hit.tolist()
    # Maps as the framework's own arrays, as NumPy's, and without channels.
    adapter = backend(model, arranged(x), Call(), backend.options)
    for given, expected in (
        (adapter.asarray(arranged(maps)), maps),
        (arranged(maps), maps),
        (adapter.asarray(maps[:, 0]), np.repeat(maps[:, :1], 2, axis=1)),
    ):
        assert_close(own.maps(given), expected, 0)
    found, reference = DiffID()(own, adapter.asarray(arranged(maps))), DiffID()(wanted, maps)
    for column in ("insertion_soft", "deletion_soft"):
        assert_close(found[column], reference[column], FLOAT32, column)


def test_tensors_with_a_gradient_serve_as_maps_masks_and_boxes():
    torch = pytest.importorskip("torch")
    map_ = torch.ones((3, *SHAPE[1:]), dtype=torch.bfloat16, requires_grad=True)
    np.testing.assert_array_equal(subject().maps(map_), np.ones((3, *SHAPE)))
    assert subject(masks=torch.ones((3, *SHAPE[1:]), requires_grad=True)).object_masks.all()
    assert subject(boxes=torch.tensor([[0.0, 0.0, 1.0, 1.0]] * 3, requires_grad=True)).object_masks.sum() == 3


def test_another_classs_nan_is_no_miss():
    def outputs(x):
        return np.stack([x.sum(axis=(1, 2, 3)), np.where(x[:, 0, 0, 0] == 0, np.nan, 0.0)], axis=1)

    model = NumpyModel(outputs, lambda x, c: np.ones_like(x))
    subject = Subject(model, np.ones((2, 1, 3, 4)), 0, output="logit")
    with pytest.raises(ModelError, match="not finite where a metric changed the input"):
        DiffID("zero")(subject, np.ones((2, 1, 3, 4)))


@pytest.mark.parametrize("masked", [True, False])
def test_masked_arrays_serve_where_nothing_is_masked_and_are_refused_elsewhere(masked):
    mask = np.zeros((3, *SHAPE[1:]), bool)
    mask[1, 2, 3] = masked
    over_channels = np.repeat(mask[:, None], SHAPE[0], axis=1)
    maps = np.ma.masked_array(inputs(seed=4), over_channels)
    object_masks = np.ma.masked_array(~mask, mask)
    boxes = np.ma.masked_array([[0, 0, 1, 1]] * 3, [[masked] * 4] * 3)
    attempts = {
        "attributions": lambda: subject().maps(maps),
        "masks": lambda: subject(masks=object_masks),
        "boxes": lambda: subject(boxes=boxes),
    }
    for what, attempt in attempts.items():
        if masked:
            with pytest.raises(InvalidInput, match=rf"^{what}.* entries masked .*array\.filled\(0\)"):
                attempt()
        else:
            attempt()
    # The advice is followed.
    assert subject().maps(maps.filled(0)).shape == (3, *SHAPE)
    assert subject(masks=object_masks.filled(0)).object_masks.sum() == mask.size - masked


@pytest.mark.parametrize("save", ["np.save", "np.savez"])
def test_files_of_objects_are_refused_without_advice_to_read_them(tmp_path, save):
    made = {"np.save": np.save, "np.savez": np.savez}[save]
    name = "a.npy" if save == "np.save" else "a.npz"
    made(tmp_path / name, np.array([{}] * 3, dtype=object))
    with pytest.raises(InvalidInput) as caught:
        subject().maps(tmp_path / name)
    assert "pickle" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes in the file system are POSIX's")
def test_a_pipe_in_place_of_a_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "maps.npy")
    with pytest.raises(InvalidInput, match="it is not a plain file"):
        subject().maps(tmp_path / "maps.npy")
