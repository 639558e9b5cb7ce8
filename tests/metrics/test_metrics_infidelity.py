"""Infidelity against the paper's formula in loops; exact attributions of linear models have none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pathattr as pa
from pathattr.errors import InvalidInput
from pathattr.metrics.infidelity import Infidelity, Noise, Perturbation, Squares
from pathattr.metrics.subject import Subject
from pathattr.testing.models import LinearModel, TanhNetwork
from pathattr.testing.strategies import SEEDS

SHAPE = (2, 5, 6)
KINDS = st.sampled_from([Squares(), Squares(1.0), Squares(0.01), Noise(0.3)])


def drawn(seed, batch=2):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(batch, *SHAPE)), rng.normal(size=SHAPE)


@given(SEEDS, KINDS, st.sampled_from([None, 0.5, "mean"]))
def test_exact_attributions_of_a_linear_model_have_none(seed, kind, baseline):
    x, weights = drawn(seed)
    model = LinearModel(weights).model()
    exact = pa.PathExplainer(model, family="linear", steps=1, baseline=baseline)(x)
    found = Infidelity(kind, samples=5, baseline=baseline)(Subject(model, x), exact)
    # Changes of the score are differences of sums of 60 terms of size 1, rounded at 1e-15 each; noise divides by
    # x − x', of which the least of 120 draws is about 0.01. Squared.
    assert found.score.max() < 1e-24
    assert found["infidelity_scaled"].max() < 1e-24


@given(SEEDS, KINDS)
def test_slopes_are_taken_as_they_are(seed, kind):
    x, weights = drawn(seed)
    s = Subject(LinearModel(weights).model(), x)
    slopes = np.broadcast_to(weights, x.shape)
    assert Infidelity(kind, samples=5, maps="slopes")(s, slopes).score.max() < 1e-24  # as above
    assert Infidelity(kind, samples=5)(s, slopes).score.min() > 1e-12  # taken for contributions they are wrong


class Listed(Perturbation):
    """Gives what it is told, in turn, for every example the same."""

    def __init__(self, changes):
        self.changes, self.turn = changes, 0

    def draw(self, difference, rng):
        self.turn += 1
        return self.changes[(self.turn - 1) % len(self.changes)]


@given(SEEDS, st.sampled_from(["contributions", "slopes"]))
def test_it_is_the_formula(seed, maps):
    rng = np.random.default_rng(seed)
    x, attributions, changes = (rng.normal(size=(n, *SHAPE)) for n in (2, 2, 4))
    network = TanhNetwork.random(SHAPE, seed=seed % 1000)
    start = 0.25
    found = Infidelity(Listed(changes), 4, start, maps)(
        Subject(network.model(), x, [1, 2], output="logit", link="softmax"), attributions
    )
    for row, target in enumerate([1, 2]):
        foretold, true = [], []
        for change in changes:
            total = 0.0
            for place in np.ndindex(SHAPE):
                weight = change[place] / (x[row][place] - start) if maps == "contributions" else change[place]
                total += weight * attributions[row][place]
            foretold.append(total)
            before, after = (network.value(point[None])[0, target] for point in (x[row], x[row] - change))
            true.append(before - after)
        expected = sum((f - t) ** 2 for f, t in zip(foretold, true, strict=True)) / 4
        np.testing.assert_allclose(found.score[row], expected, rtol=1e-9)  # sums in another order
        # The scaled one is the least over all factors: the vertex of a parabola, known from three of its points.
        curve = np.polyfit([-1, 0, 1], [_mean(factor, foretold, true) for factor in (-1, 0, 1)], 2)
        best = np.polyval(curve, -curve[1] / (2 * curve[0]))
        np.testing.assert_allclose(found["infidelity_scaled"][row], best, rtol=1e-6, atol=1e-9 * expected)


def _mean(factor, foretold, true):
    return np.mean([(factor * f - t) ** 2 for f, t in zip(foretold, true, strict=True)])


@given(SEEDS, st.sampled_from([1e-170, 1e-3, -5.0, 100.0]))
def test_a_factor_does_not_change_the_scaled_one(seed, factor):
    x, _ = drawn(seed)
    s = Subject(TanhNetwork.random(SHAPE).model(), x, output="logit", link="softmax")
    maps = np.random.default_rng(seed).normal(size=x.shape)
    ours, theirs = (Infidelity(samples=6)(s, m)["infidelity_scaled"] for m in (maps, factor * maps))
    np.testing.assert_allclose(theirs, ours, rtol=1e-9, atol=1e-15)  # a quotient of sums of products


def test_a_map_of_zeros_foretells_nothing():
    x, weights = drawn(0)
    found = Infidelity(samples=6)(Subject(LinearModel(weights).model(), x), np.zeros(x.shape))
    assert np.isfinite(found["infidelity_scaled"]).all()
    np.testing.assert_array_equal(found["infidelity_scaled"], found.score)


def test_entries_at_the_baseline_stay_as_they_are():
    x, weights = np.zeros((1, *SHAPE)), drawn(0)[1]
    x[0, 0] = 1.0
    seen = []
    model = LinearModel(weights)

    def value(points):
        seen.append(points)
        return model.value(points)

    Infidelity(Noise(), samples=5)(Subject(pa.NumpyModel(value, model.vjp), x), x)
    points = np.concatenate(seen)
    assert not points[:, 1].any()
    assert len(np.unique(points[:, 0])) > 100  # the others do move


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([0.05, 0.35, 1.0]), SEEDS)
def test_squares_are_squares_within_the_picture(height, width, largest, seed):
    difference = np.full((2, height, width), 3.0)
    taken = Squares(largest).draw(difference, np.random.default_rng(seed))
    rows, columns = np.argwhere(taken[0])[:, 0], np.argwhere(taken[0])[:, 1]
    side = np.ptp(rows) + 1
    assert side == np.ptp(columns) + 1
    assert 1 <= side <= max(1, largest * min(height, width))
    assert (taken[0] != 0).sum() == side**2
    np.testing.assert_array_equal(taken[0], taken[1])


def test_every_square_that_fits_is_drawn():
    rng, difference = np.random.default_rng(0), np.ones((1, 3, 3))
    seen = {Squares(0.7).draw(difference, rng).tobytes() for _ in range(400)}
    assert len(seen) == 9 + 4  # sides 1 and 2


@pytest.mark.parametrize("metric", [Infidelity(samples=5), Infidelity("noise", samples=5)])
def test_an_example_does_not_depend_on_its_batch_mates(metric):
    x, _ = drawn(3, batch=4)
    maps = np.random.default_rng(1).normal(size=x.shape)
    network = TanhNetwork.random(SHAPE)
    together = metric(Subject(network.model(), x, 1, batch_size=7), maps)
    for row in range(4):
        alone = metric(Subject(network.model(), x[row : row + 1], 1), maps[row : row + 1])
        for name in alone.values:  # products of the network in blocks of another size
            np.testing.assert_allclose(alone[name][0], together[name][row], rtol=1e-9, err_msg=name)


def test_the_default_baseline_is_the_explainers():
    x, weights = drawn(0)
    model, pre = LinearModel(weights).model(), pa.Preprocessing(0.4, 0.2)
    exact = pa.PathExplainer(model, steps=2, family="linear", preprocessing=pre)(x)
    assert Infidelity(samples=5)(Subject(model, x, preprocessing=pre), exact).score.max() < 1e-22  # black is at −2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Infidelity("circles"), "unknown perturbation 'circles'"),
        (lambda: Infidelity(samples=0), "samples must be"),
        (lambda: Infidelity(maps="gradients"), "maps must be one of"),
        (lambda: Infidelity(baseline=np.zeros(3)), "one baseline for every example"),
        (lambda: Squares(0), "largest side above 0"),
        (lambda: Noise(-1), "standard deviation above 0"),
    ],
)
def test_settings_are_checked(make, message):
    with pytest.raises(InvalidInput, match=message):
        make()


def test_black_pixels_of_a_float32_model_equal_its_black_baseline():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 2)).eval()
    preprocessing = pa.Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    raw = np.random.default_rng(0).random((2, 3, 8, 8))
    raw[:, :, 4:] = 0
    black = preprocessing.normalise(np.zeros((3, 8, 8)))
    inputs = np.stack([preprocessing.normalise(x) for x in raw]).astype("f4")
    assert (inputs[0] != black).all()  # in double precision black is elsewhere: what this is about
    subject = Subject(model, torch.from_numpy(inputs), 0, preprocessing=preprocessing, output="logit")
    weights = model[1].weight[0].detach().double().numpy().reshape(3, 8, 8)
    found = Infidelity(Noise(0.1))(subject, (inputs - black) * weights)
    assert (found["infidelity"] < 1e-10).all()  # scores of size 1 in single precision, squared


def test_entries_that_equal_a_baseline_which_the_models_dtype_rounds_stay_as_they_are():
    x = np.full((1, *SHAPE), 0.1, np.float32)  # no number of float32: the baseline is rounded as the input is
    judged = Subject(LinearModel(np.ones(SHAPE)).model(), x)
    assert Infidelity(Noise(0.3), samples=5, baseline=0.1)(judged, np.zeros(x.shape)).score == 0
