"""Insertion and deletion as RISE defines them, against loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from judging import blurred, order_of, probabilities, regression
from pathattr import InvalidInput, NumpyModel, Preprocessing
from pathattr.metrics import Blurred, Deletion, Insertion, Subject, ZeroFill
from pathattr.testing.properties import assert_close

SHAPE = (3, 6, 7)
PIXELS = 42
NETWORK = regression(SHAPE)
PICTURES = Preprocessing((0.5, 0.4, 0.3), (0.25, 0.5, 2.0))
# Sums of a hundred products of order 1 in another order.
ROUNDING = 1e-12


def drawn(seed, batch=3):
    return np.random.default_rng(seed).normal(size=(batch, *SHAPE))


def subject(x, target=None, **options):
    return Subject(NETWORK.model(), x, target, preprocessing=PICTURES, **options)


def rise(x, map_, target, start, end, per_step, rank=lambda value: value):
    """Shares, probabilities and the area: from `start` to `end`, so many of the most important pixels at a time."""
    order = order_of(rank(map_.sum(axis=0)))
    current = start.copy()
    shares, curve = [0.0], [probabilities(NETWORK, current)[target]]
    while order:
        for pixel in order[:per_step]:
            current[:, pixel // SHAPE[2], pixel % SHAPE[2]] = end[:, pixel // SHAPE[2], pixel % SHAPE[2]]
        order = order[per_step:]
        shares.append(1 - len(order) / PIXELS)
        curve.append(probabilities(NETWORK, current)[target])
    area = 0.0
    for k in range(1, len(curve)):
        area += (shares[k] - shares[k - 1]) * (curve[k] + curve[k - 1]) / 2
    return shares, curve, area


@pytest.mark.parametrize("per_step", [1, 5, 7, 224])  # 5 leaves a last step of 2; 224 is all at once
@pytest.mark.parametrize("rank", ["signed", "absolute"])
def test_both_are_as_rise_defines_them(per_step, rank):
    x, maps, target = drawn(1), drawn(2), [0, 1, 2]
    own = subject(x, target, batch_size=5)
    black = PICTURES.normalise(np.zeros(SHAPE))
    found = {
        "deletion": Deletion(pixels_per_step=per_step, rank=rank)(own, maps),
        "insertion": Insertion(pixels_per_step=per_step, rank=rank)(own, maps),
    }
    for row in range(len(x)):
        ends = {"deletion": (x[row], black), "insertion": (blurred(x[row]), x[row])}
        for name, scores in found.items():
            key = np.abs if rank == "absolute" else np.asarray
            shares, curve, area = rise(x[row], maps[row], target[row], *ends[name], per_step, key)
            assert scores.name == name
            assert_close(scores.curves[name].x, shares, ROUNDING)
            assert_close(scores.curves[name].values[row], curve, ROUNDING)
            assert_close(scores.score[row], area, ROUNDING)


def test_deletion_is_better_low_and_insertion_high():
    own, maps = subject(drawn(1)), drawn(2)
    assert Deletion()(own, maps).better == {"deletion": "lower"}
    assert Insertion()(own, maps).better == {"insertion": "higher"}


def test_the_published_settings_are_the_defaults():
    assert Deletion() == Deletion("zero", 224, None, "signed")
    assert (Deletion().fill, Insertion().fill) == (ZeroFill(), Blurred(11, 5.0))
    counted = []

    def value(points):
        counted.append(len(points))
        return points.reshape(len(points), -1)[:, :2]

    model = NumpyModel(value, lambda points, cotangent: np.zeros_like(points))
    x = np.random.default_rng(0).normal(size=(1, 1, 224, 224)).astype(np.float32)
    own = Subject(model, x, 0, batch_size=64)
    counted.clear()
    scores = Deletion()(own, x)
    assert sum(counted) == 225
    assert_close(scores.curves["deletion"].x, np.arange(225) / 224, ROUNDING)


@pytest.mark.parametrize(
    ("steps", "expected"), [(1, [0, 42]), (4, [0, 10, 21, 31, 42]), (42, range(43)), (99, range(43))]
)
def test_a_number_of_steps_divides_the_pixels_evenly(steps, expected):
    scores = Insertion(steps=steps)(subject(drawn(1)), drawn(2))
    assert_close(scores.curves["insertion"].x, np.array(expected) / PIXELS, ROUNDING)


def test_equal_pixels_go_in_their_order():
    own = subject(drawn(1))
    falling = np.broadcast_to(-np.arange(PIXELS, dtype=float).reshape(SHAPE[1:]), (3, *SHAPE[1:]))
    for metric in (Deletion(steps=9), Insertion(steps=9)):
        assert_close(metric(own, np.zeros((3, *SHAPE)))[metric(own, falling).name], metric(own, falling).score, 0)


def test_the_sign_of_a_pixel_is_of_its_sum():
    own, maps = subject(drawn(1)), drawn(2)
    scores = Deletion(steps=PIXELS)
    summed = np.repeat(maps.sum(axis=1, keepdims=True), 3, axis=1) / 3
    assert_close(scores(own, maps).score, scores(own, summed).score, ROUNDING)
    assert np.abs(scores(own, -maps).score - scores(own, maps).score).min() > 1e-3
    absolute = Deletion(steps=PIXELS, rank="absolute")
    assert_close(absolute(own, -maps).score, absolute(own, maps).score, 0)


@given(hnp.arrays(np.float64, (2, *SHAPE[1:]), elements=st.sampled_from([-1.0, 0.0, 2.0])), st.integers(1, 30))
def test_one_example_alone_is_as_in_a_batch(maps, block):
    x = drawn(5, 2)
    for metric in (Deletion(steps=6), Insertion(pixels_per_step=8)):
        together = metric(subject(x, [2, 0], batch_size=block), maps).score
        for row, target in enumerate((2, 0)):
            alone = metric(subject(x[row : row + 1], target), maps[row : row + 1]).score
            assert_close(alone, together[row : row + 1], ROUNDING)


def test_a_series_has_pixels_too():
    network = regression((2, 9))
    x, maps = np.random.default_rng(6).normal(size=(2, 2, 2, 9))
    scores = Deletion(steps=3)(Subject(network.model(), x, 1, channel_axis=1), maps)
    order = order_of(maps[0].sum(axis=0))
    expected = [x[0].copy() for _ in range(4)]
    for k in range(4):
        expected[k][:, order[: 3 * k]] = 0
    assert_close(
        scores.curves["deletion"].values[0], [probabilities(network, point)[1] for point in expected], ROUNDING
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pixels_per_step": 0}, "pixels_per_step must be a whole number of at least 1"),
        ({"steps": 0}, "steps must be a whole number of at least 1"),
        ({"steps": 2.5}, "steps must be a whole number"),
        ({"rank": "random"}, "rank must be one of 'signed', 'absolute'"),
        ({"fill": "noise"}, "unknown fill"),
    ],
)
@pytest.mark.parametrize("metric", [Deletion, Insertion])
def test_settings_that_make_no_sense_are_refused(metric, options, message):
    with pytest.raises(InvalidInput, match=message):
        metric(**options)
