"""DiffID and the fills, against the published definition in loops."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from judging import blurred, order_of, probabilities, regression
from pathattr import InvalidInput, NumpyModel, Preprocessing
from pathattr.metrics import Blurred, DiffID, Fill, MeanOfRemaining, Subject, ZeroFill
from pathattr.testing.properties import assert_close

SHAPE = (3, 5, 4)
NETWORK = regression(SHAPE)
PICTURES = Preprocessing((0.5, 0.4, 0.3), (0.25, 0.5, 2.0))
# Sums of some sixty products of order 1 in another order.
ROUNDING = 1e-12


def inputs(batch=4, seed=1):
    return np.random.default_rng(seed).normal(size=(batch, *SHAPE))


def maps(batch=4, seed=2):
    return np.random.default_rng(seed).normal(size=(batch, *SHAPE))


def subject(x, target=None, **options):
    return Subject(NETWORK.model(), x, target, **options)


def published(x, map_, target, ratios, fill):
    """Deletion and insertion of one example at each ratio: hard and soft, from METHODS' definition."""
    whole = probabilities(NETWORK, x)[target]
    order = order_of(np.abs(map_))
    soft = blurred(x).ravel()
    found = {"deletion": [], "insertion": [], "deletion_soft": [], "insertion_soft": []}
    for ratio in ratios:
        count = math.floor(ratio * len(order))
        for name, gone in (("deletion", order[:count]), ("insertion", order[len(order) - count :])):
            flat = x.ravel().tolist()
            remaining = [value for i, value in enumerate(flat) if i not in set(gone)]
            for i in gone:
                if fill == "mean":
                    flat[i] = sum(remaining) / len(remaining)
                elif fill == "zero":
                    channel = i // (SHAPE[1] * SHAPE[2])
                    flat[i] = (0 - PICTURES.mean[channel]) / PICTURES.std[channel]
                else:
                    flat[i] = soft[i]
            p = probabilities(NETWORK, np.reshape(flat, SHAPE))
            found[name].append(float(p.argmax() == target))
            found[f"{name}_soft"].append(min(max(p[target] / whole, 0.0), 1.0))
    return found


@pytest.mark.parametrize("fill", ["mean", "zero", "blur"])
@pytest.mark.parametrize("ratios", [(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), (0.05, 0.52)])
def test_diffid_is_as_published(fill, ratios):
    x, found_maps, target = inputs(), maps(), [0, 1, 2, 0]
    scores = DiffID(fill, ratios)(subject(x, target, preprocessing=PICTURES, batch_size=7), found_maps)
    assert scores.name == "diffid"
    for row in range(len(x)):
        expected = published(x[row], found_maps[row], target[row], ratios, fill)
        for name, curve in expected.items():
            assert_close(scores.curves[name].values[row], curve, ROUNDING, name)
            assert_close(scores[name][row], np.mean(curve), ROUNDING, name)
        for suffix in ("", "_soft"):
            difference = np.mean(expected[f"insertion{suffix}"]) - np.mean(expected[f"deletion{suffix}"])
            assert_close(scores[f"diffid{suffix}"][row], difference, ROUNDING)
    assert np.ptp(scores.curves["deletion_soft"].values, axis=1).max() > 0.1  # what was compared is not flat


def test_the_published_ratios_are_the_default():
    assert DiffID().ratios == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    assert DiffID().fill == MeanOfRemaining()


def test_the_target_is_the_predicted_class_unless_told():
    x, found_maps = inputs(), maps()
    predicted = [int(probabilities(NETWORK, example).argmax()) for example in x]
    assert_close(
        DiffID()(subject(x), found_maps)["diffid_soft"], DiffID()(subject(x, predicted), found_maps)["diffid_soft"], 0
    )


def test_better_is_told_of_every_column():
    better = DiffID()(subject(inputs()), maps()).better
    assert better == {
        "diffid": "higher", "deletion": "lower", "insertion": "higher",
        "diffid_soft": "higher", "deletion_soft": "lower", "insertion_soft": "higher",
    }  # fmt: skip


def test_entries_of_equal_attribution_go_in_their_order():
    x = inputs(1)
    tied = np.zeros((1, *SHAPE))
    falling = -np.arange(tied.size, dtype=float).reshape(tied.shape) / tied.size + 2
    own = subject(x)
    for name, column in DiffID("zero")(own, falling).values.items():
        assert_close(DiffID("zero")(own, tied)[name], column, 0, name)


def test_only_the_magnitude_of_attributions_counts():
    own, found_maps = subject(inputs()), maps()
    signs = np.sign(np.random.default_rng(3).normal(size=found_maps.shape))
    for name, column in DiffID()(own, found_maps).values.items():
        assert_close(DiffID()(own, signs * found_maps)[name], column, 0, name)


def test_the_exact_attribution_of_a_linear_score_beats_its_reverse():
    x = np.abs(inputs(6)) + 0.5
    own = subject(x, 0)
    # What entries do for class 0 against the mean of the others, from black (zero): the most helpful first.
    helps = x * (NETWORK.weights[0] - NETWORK.weights[1:].mean(axis=0))
    helps -= helps.min() - 1
    good, bad = DiffID("zero")(own, helps), DiffID("zero")(own, 1 / helps)
    assert (good["diffid_soft"] > bad["diffid_soft"]).all()


def test_a_probability_of_nothing_is_no_nan():
    # Class 1 has probability 0 at the input, to the last digit, and 1 where the first entry is gone.
    def value(points):
        return np.stack([2000.0 * points[:, 0, 0, 0], np.full(len(points), 1000.0)], axis=1)

    model = NumpyModel(value, lambda points, cotangent: np.zeros_like(points))
    x = np.ones((1, 1, 2, 2))
    first = np.array([[[[4.0, 3.0], [2.0, 1.0]]]])
    scores = DiffID("zero", (0.25, 0.5))(Subject(model, x, 1, link="softmax"), first)
    assert scores["deletion_soft"].tolist() == [1.0]  # risen from nothing: cut to 1
    assert scores["insertion_soft"].tolist() == [0.0]  # 0 of 0
    assert scores["deletion"].tolist() == [1.0]


small_maps = hnp.arrays(np.float64, (3, *SHAPE), elements=st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0]))


@given(small_maps, st.sampled_from(["mean", "zero", "blur"]), st.integers(1, 40))
def test_one_example_alone_is_as_in_a_batch(found_maps, fill, block):
    x = inputs(3)
    together = DiffID(fill)(subject(x, [0, 1, 2], batch_size=block), found_maps)
    for row in range(3):
        alone = DiffID(fill)(subject(x[row : row + 1], row), found_maps[row : row + 1])
        for name, column in together.values.items():
            # The matrix product of the model rounds by the size of its block.
            assert_close(alone[name], column[row : row + 1], ROUNDING, name)


@given(small_maps)
def test_scores_lie_where_they_are_said_to(found_maps):
    scores = DiffID()(subject(inputs(3)), found_maps)
    for name, column in scores.values.items():
        low = -1 if name.startswith("diffid") else 0
        assert ((low <= column) & (column <= 1)).all(), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratios": ()}, "rising ratios between 0 and 1"),
        ({"ratios": (0.1, 1.0)}, "rising ratios between 0 and 1"),
        ({"ratios": (0.0,)}, "rising ratios between 0 and 1"),
        ({"ratios": (0.5, 0.1)}, "rising ratios between 0 and 1"),
        ({"ratios": (0.5, 0.5)}, "rising ratios between 0 and 1"),
        ({"ratios": 0.5}, r"got 0\.5"),
        ({"ratios": "12"}, "got '12'"),
        ({"ratios": (0.1, float("nan"))}, "rising ratios between 0 and 1"),
        ({"fill": "grey"}, "the names are 'mean', 'zero', 'blur'"),
        ({"fill": 0.5}, "fill must be a Fill"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(InvalidInput, match=message):
        DiffID(**options)


def test_a_model_without_classes_is_refused():
    model = NumpyModel(lambda x: x.sum(axis=(1, 2, 3)), lambda x, c: c[:, None, None, None] * np.ones_like(x))
    with pytest.raises(InvalidInput, match="link='sigmoid'"):
        DiffID()(Subject(model, inputs()), maps())


# Fills


def test_zero_is_black_and_without_preprocessing_zero():
    x, all_ = inputs()[0], np.ones(SHAPE, bool)
    assert_close(PICTURES.restore(ZeroFill().prepare(x, PICTURES)(all_)), np.zeros(SHAPE), 1e-15)
    assert_close(ZeroFill().prepare(x, None)(all_), np.zeros(SHAPE), 0)


def test_the_mean_is_of_what_remains_over_all_channels():
    x = np.arange(12.0).reshape(3, 2, 2)
    gone = x < 4
    assert_close(MeanOfRemaining().prepare(x, PICTURES)(gone), np.where(gone, 7.5, x), 0)  # the mean of 4, ..., 11


def test_where_nothing_remains_the_mean_is_the_whole_examples():
    x = inputs()[0]
    assert_close(MeanOfRemaining().prepare(x, None)(np.ones(SHAPE, bool)), np.full(SHAPE, x.mean()), 0)


def test_blur_is_a_gaussian_of_eleven_pixels():
    x = inputs()[0]
    assert_close(Blurred().prepare(x, None)(np.ones(SHAPE, bool)), blurred(x), ROUNDING)
    assert_close(Blurred(5, 1.5).prepare(x, None)(np.ones(SHAPE, bool)), blurred(x, 5, 1.5), ROUNDING)


@pytest.mark.parametrize("fill", [MeanOfRemaining(), ZeroFill(), Blurred()])
def test_a_fill_leaves_what_is_not_removed_and_what_it_was_given(fill):
    x = inputs()[0]
    before, gone = x.copy(), np.random.default_rng(4).random(SHAPE) < 0.5
    filled = fill.prepare(x, PICTURES)(gone)
    assert (filled[~gone] == x[~gone]).all()
    assert (filled[gone] != x[gone]).all()
    assert (x == before).all()


@dataclass(frozen=True)
class Sevens(Fill):
    def prepare(self, example, preprocessing):
        return lambda removed: np.where(removed, 7.0, example)


def test_a_fill_of_ones_own_is_used():
    x = inputs(1)
    seen = []

    def value(points):
        seen.append(points.copy())
        return NETWORK.value(points)

    DiffID(Sevens(), (0.5,))(Subject(NumpyModel(value, NETWORK.vjp), x), maps(1))
    half = math.prod(SHAPE) // 2
    assert (np.concatenate(seen)[-2:] == 7).sum(axis=(1, 2, 3)).tolist() == [half, half]
