"""ROAD and its imputation, against a direct solve and the definition in loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage, sparse
from scipy.sparse import linalg

from judging import order_of, probabilities, regression
from pathattr import InvalidInput, Preprocessing
from pathattr.metrics import ROAD, ChannelMean, NoisyLinear, Subject
from pathattr.metrics.harmonic import interpolate
from pathattr.testing.properties import assert_close

SHAPE = (3, 6, 5)
PIXELS = 30
NETWORK = regression(SHAPE)
PICTURES = Preprocessing((0.5, 0.4, 0.3), (0.25, 0.5, 2.0))
ROUNDING = 1e-12  # sums of some hundred products of order 1 in another order
PROMISED = 1e-4  # of the range of the known pixels, for imputed ones


def solved(image, missing):
    """The imputation of missing pixels without noise, by sparse LU of the equations written out one by one."""
    number = {pixel: k for k, pixel in enumerate(zip(*np.nonzero(missing), strict=True))}
    matrix, known = sparse.lil_matrix((len(number), len(number))), np.zeros((len(number), len(image)))
    for (i, j), k in number.items():
        for a in (i - 1, i, i + 1):
            for b in (j - 1, j, j + 1):
                if (a, b) == (i, j) or not (0 <= a < missing.shape[0] and 0 <= b < missing.shape[1]):
                    continue
                weight = 1 / 6 if a == i or b == j else 1 / 12
                matrix[k, k] += weight
                if (a, b) in number:
                    matrix[k, number[a, b]] -= weight
                else:
                    known[k] += weight * image[:, a, b]
    out = image.copy()
    out[:, missing] = linalg.splu(matrix.tocsc()).solve(known).T
    return out


def picture(shape, seed=0):
    """Smooth and rough structure, in [0, 1]."""
    rng = np.random.default_rng(seed)
    image = sum(size * ndimage.gaussian_filter(rng.normal(size=shape), (0, size, size)) for size in (0.5, 4, 16))
    return (image - image.min()) / np.ptp(image)


def top(values, share):
    """The largest values, so large a share of them."""
    mask = np.zeros(values.size, bool)
    mask[np.argsort(-values.ravel(), kind="stable")[: int(share * values.size)]] = True
    return mask.reshape(values.shape)


def landscapes(shape):
    rng = np.random.default_rng(3)
    noise = rng.normal(size=shape)
    distance = np.hypot(*(np.indices(shape) - np.reshape(shape, (2, 1, 1)) / 2))
    return {
        "scattered": noise,
        "blobs": ndimage.gaussian_filter(noise, 4),
        "disc": -distance,
        "border": distance,
        "half": -np.indices(shape)[1].astype(float),
    }


# Imputation


@pytest.mark.parametrize("kind", ["scattered", "blobs", "disc", "border", "half"])
@pytest.mark.parametrize("shape", [(40, 40), (33, 47)])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.998])
def test_interpolation_solves_the_equations(kind, shape, share):
    image = picture((3, *shape))
    missing = top(landscapes(shape)[kind], share)
    found = interpolate(image, missing)
    assert_close(found, solved(image, missing), PROMISED)
    assert (found[:, ~missing] == image[:, ~missing]).all()


@pytest.mark.parametrize("kind", ["scattered", "blobs", "border"])
def test_interpolation_keeps_its_promise_on_large_pictures(kind):
    # 224 × 224: the equations of so many pixels, put up in bulk.
    shape = (224, 224)
    image, missing = picture((1, *shape)), top(landscapes(shape)[kind], 0.8)
    found = interpolate(image, missing)
    # What a direct solve for the residual would add is the error.
    assert_close(_correction(found, missing), np.zeros(int(missing.sum())), PROMISED)


def _correction(u, missing):
    """The error of an imputation (1, height, width): the direct solution for its residual."""
    height, width = missing.shape
    number = np.full(missing.shape, -1)
    number[missing] = np.arange(missing.sum())
    rows, columns, values = [], [], []
    residual = np.zeros(missing.shape)
    for di, dj in ((di, dj) for di in (-1, 0, 1) for dj in (-1, 0, 1) if (di, dj) != (0, 0)):
        weight = 1 / 6 if di * dj == 0 else 1 / 12
        here = (slice(max(0, -di), height - max(0, di)), slice(max(0, -dj), width - max(0, dj)))
        there = (slice(max(0, di), height - max(0, -di)), slice(max(0, dj), width - max(0, -dj)))
        residual[here] += weight * (u[0][there] - u[0][here])
        own, other = number[here].ravel(), number[there].ravel()
        rows += [own[own >= 0], own[(own >= 0) & (other >= 0)]]
        columns += [own[own >= 0], other[(own >= 0) & (other >= 0)]]
        values += [np.full(len(rows[-2]), weight), np.full(len(rows[-1]), -weight)]
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return linalg.splu(sparse.csc_matrix(entries)).solve(residual[missing])


@given(st.data(), st.integers(1, 12), st.integers(1, 12))
def test_interpolation_lies_within_the_known_pixels_at_any_size(data, height, width):
    missing = data.draw(hnp.arrays(bool, (height, width)).filter(lambda mask: not mask.all()))
    image = np.random.default_rng(0).random((2, height, width))
    found = interpolate(image, missing)
    assert_close(found, solved(image, missing) if missing.any() else image, PROMISED)


def test_what_is_missing_is_not_looked_at():
    image, missing = picture((3, 20, 20)), top(landscapes((20, 20))["blobs"], 0.4)
    other = np.where(missing, 1e6, image)
    assert_close(interpolate(other, missing), interpolate(image, missing), 0)


def test_a_constant_stays_constant():
    image = np.full((2, 9, 9), 0.3)
    assert_close(interpolate(image, top(landscapes((9, 9))["disc"], 0.7)), image, 1e-15)  # a rounding of the mean


@given(st.floats(1e-3, 1e3), st.floats(-10, 10))
def test_interpolation_follows_scale_and_offset(scale, offset):
    image, missing = picture((2, 16, 16)), top(landscapes((16, 16))["disc"], 0.6)
    assert_close(
        interpolate(scale * image + offset, missing), scale * interpolate(image, missing) + offset, PROMISED * scale
    )


def test_noise_is_a_hundredth_of_pixels_in_raw_space():
    x = PICTURES.normalise(picture((3, 40, 40)))
    missing = top(landscapes((40, 40))["scattered"], 0.5)
    plain = NoisyLinear(0.0).prepare(x, PICTURES, np.random.default_rng(0))(missing)
    noisy = NoisyLinear().prepare(x, PICTURES, np.random.default_rng(0))(missing)
    assert_close(plain, np.where(missing, PICTURES.normalise(solved(PICTURES.restore(x), missing)), x), PROMISED / 0.25)
    noise = (PICTURES.restore(noisy) - PICTURES.restore(plain))[:, missing]
    # 2400 draws: the standard error of a standard deviation is σ/√4800, that of a mean σ/√2400; five of each.
    assert abs(noise.std() / 0.01 - 1) < 5 / np.sqrt(4800)
    assert abs(noise.mean() / 0.01) < 5 / np.sqrt(2400)
    assert (noisy[:, ~missing] == x[:, ~missing]).all()
    expected = 0.01 * np.random.default_rng(0).normal(size=x.shape)[:, missing]
    assert_close(noise, expected, 1e-12)


def test_without_preprocessing_noise_is_in_input_space():
    x, missing = drawn(1)[0], top(drawn(2)[0].sum(axis=0), 0.5)
    quiet, noisy = (NoisyLinear(size).prepare(x, None, np.random.default_rng(0))(missing) for size in (0.0, 0.01))
    expected = 0.01 * np.random.default_rng(0).normal(size=SHAPE)[:, missing]
    assert_close((noisy - quiet)[:, missing], expected, 1e-12)


def test_where_everything_is_removed_channels_have_their_means():
    x = drawn(1)[0]
    found = NoisyLinear(0.0).prepare(x, PICTURES, np.random.default_rng(0))(np.ones(SHAPE[1:], bool))
    assert_close(found, np.broadcast_to(x.mean(axis=(1, 2), keepdims=True), SHAPE), ROUNDING)


def test_the_fixed_imputer_is_each_channels_mean():
    x, missing = drawn(1)[0], top(drawn(2)[0].sum(axis=0), 0.5)
    found = ChannelMean().prepare(x, PICTURES, np.random.default_rng(0))(missing)
    for c in range(3):
        assert_close(found[c], np.where(missing, x[c].sum() / PIXELS, x[c]), ROUNDING)


def test_series_are_imputed_by_means_only():
    x = np.random.default_rng(0).normal(size=(2, 2, 9))
    own = Subject(regression((2, 9)).model(), x, 1, channel_axis=1)
    assert np.isfinite(ROAD("fixed")(own, x)["gap_soft"]).all()
    with pytest.raises(InvalidInput, match="imputer='fixed'"):
        ROAD()(own, x)


# ROAD


def drawn(seed, batch=3):
    return np.random.default_rng(seed).normal(size=(batch, *SHAPE))


def subject(x, target=None, **options):
    return Subject(NETWORK.model(), x, target, preprocessing=PICTURES, **options)


def road(x, map_, target, ratios, impute, rank):
    """MoRF and LeRF of one example at each ratio, hard and soft."""
    order = order_of(rank(map_.sum(axis=0)))
    whole = probabilities(NETWORK, x)[target]
    found = {"morf": [], "lerf": [], "morf_soft": [], "lerf_soft": []}
    for ratio in ratios:
        count = int(ratio * PIXELS)
        for name, gone in (("morf", order[:count]), ("lerf", order[count:])):
            removed = np.zeros(PIXELS, bool)
            removed[gone] = True
            p = probabilities(NETWORK, impute(x, removed.reshape(SHAPE[1:])))
            found[name].append(float(p.argmax() == target))
            found[f"{name}_soft"].append(min(max(p[target] / whole, 0.0), 1.0))
    return found


def by_mean(x, removed):
    return np.where(removed, x.mean(axis=(1, 2), keepdims=True), x)


def by_neighbours(x, removed):
    noise = 0.01 * np.random.default_rng(5).normal(size=SHAPE)
    return np.where(removed, PICTURES.normalise(solved(PICTURES.restore(x), removed) + noise), x)


@pytest.mark.parametrize(
    ("imputer", "impute", "bound"),
    # Imputed pixels may be off by 1e-4 of their range, some 10 in input space, to either side, and a logit adds 90 of
    # them with weights of 0.3: by √90·0.3·1e-3 at the very most, a quarter of it in the probability.
    [("fixed", by_mean, ROUNDING), ("noisy-linear", by_neighbours, 1e-3)],
)
@pytest.mark.parametrize(("rank", "key"), [("signed", np.asarray), ("absolute", np.abs)])
def test_road_is_as_defined(imputer, impute, bound, rank, key):
    x, maps, target, ratios = drawn(1), drawn(2), [0, 1, 2], (0.1, 0.34, 0.5, 0.9)
    scores = ROAD(imputer, ratios, rank)(subject(x, target, seed=5, batch_size=7), maps)
    assert scores.name == "gap"
    for row in range(len(x)):
        expected = road(x[row], maps[row], target[row], ratios, impute, key)
        for name, curve in expected.items():
            assert_close(scores.curves[name].values[row], curve, bound, name)
            assert_close(scores[name][row], np.mean(curve), bound, name)
        for suffix in ("", "_soft"):
            gap = np.mean(expected[f"lerf{suffix}"]) - np.mean(expected[f"morf{suffix}"])
            assert_close(scores[f"gap{suffix}"][row], gap, 2 * bound)
    assert len(set(scores["gap_soft"])) == len(x)


def test_keeping_the_top_is_removing_the_top_of_the_reverse():
    # With 30 pixels and these ratios no count is rounded: keeping 20% of a map is removing 80% of its negative.
    x, maps, ratios = drawn(1), drawn(2), (0.2, 0.5, 0.8)
    own = subject(x)
    there, back = ROAD("fixed", ratios)(own, maps), ROAD("fixed", ratios)(own, -maps)
    assert_close(there.curves["lerf_soft"].values, back.curves["morf_soft"].values[:, ::-1], ROUNDING)
    assert there.curves["lerf"].x_label == "share kept"
    assert there.curves["morf"].x_label == "share removed"


def test_better_is_told_of_every_column():
    better = ROAD("fixed")(subject(drawn(1)), drawn(2)).better
    assert {name.split("_")[0]: value for name, value in better.items()} == {
        "gap": "higher",
        "morf": "lower",
        "lerf": "higher",
    }


def test_pixels_of_equal_attribution_go_in_their_order():
    own = subject(drawn(1))
    falling = np.broadcast_to(-np.arange(PIXELS, dtype=float).reshape(SHAPE[1:]), (3, *SHAPE[1:]))
    tied, ordered = ROAD()(own, np.zeros((3, *SHAPE))), ROAD()(own, falling)
    for name, column in tied.values.items():
        assert_close(column, ordered[name], 0, name)


@given(hnp.arrays(np.float64, (2, *SHAPE[1:]), elements=st.sampled_from([-1.0, 0.0, 2.0])), st.integers(1, 30))
def test_one_example_alone_is_as_in_a_batch(maps, block):
    x = drawn(6, 2)
    together = ROAD(ratios=(0.3, 0.7))(subject(x, [2, 0], batch_size=block), maps)
    for row, target in enumerate((2, 0)):
        alone = ROAD(ratios=(0.3, 0.7))(subject(x[row : row + 1], target), maps[row : row + 1])
        for name, column in together.values.items():
            assert_close(alone[name], column[row : row + 1], ROUNDING, name)


def test_the_subjects_seed_makes_the_noise():
    x, maps = drawn(1), drawn(2)
    first, again, other = (ROAD()(subject(x, seed=seed), maps)["gap_soft"] for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ROAD("linear"), "the names are 'noisy-linear', 'fixed'"),
        (lambda: ROAD(ratios=(0.9, 0.1)), "rising ratios between 0 and 1"),
        (lambda: ROAD(rank="top"), "rank must be one of 'signed', 'absolute'"),
        (lambda: NoisyLinear(-1.0), "noise of 0 or more"),
        (lambda: NoisyLinear(True), "noise of 0 or more"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, message):
    with pytest.raises(InvalidInput, match=message):
        make()
