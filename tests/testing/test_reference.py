"""Checks of the oracle itself, against hand-computed values and independent implementations."""

import numpy as np
import pytest
import scipy.fft

from reference import (
    FAMILIES,
    RAMPS,
    SmoothModel,
    decompose,
    gate,
    points,
    pool,
    published,
    upsample,
)

SHAPES = [(3, 8, 8), (1, 5, 7), (2, 12, 6), (2, 16, 16), (1, 1, 6)]
# Transforms of a few hundred float64 numbers of order 1, orthonormal or averaging: errors of some 1e-15.
ROUNDING = 1e-13


def image(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_components_sum_to_the_difference(family, shape):
    difference = image(shape)
    components, strengths = decompose(difference, family)
    assert components.shape == (len(components), *shape)
    assert strengths.shape == (len(components), shape[0])
    np.testing.assert_allclose(components.sum(axis=0), difference, rtol=0, atol=ROUNDING)
    assert strengths.min() >= 0
    assert strengths.max() == 1


@pytest.mark.parametrize("family", ["svd", "svd-joint"])
def test_strengths_of_singular_values_are_energies(family):
    difference = image((3, 6, 9))
    difference[1] = 0
    components, strengths = decompose(difference, family)
    axes = (1, 2, 3) if family == "svd-joint" else (2, 3)
    norms = np.sqrt((components**2).sum(axis=axes)).reshape(len(components), -1)
    if family == "svd":
        assert not strengths[:, 1].any()
        norms, strengths = norms[:, [0, 2]], strengths[:, [0, 2]]
    expected = np.broadcast_to(norms / norms[0], strengths.shape)
    np.testing.assert_allclose(strengths, expected, rtol=0, atol=ROUNDING)


def test_dct_is_scipys_with_strengths_falling_with_the_radius():
    difference = image((2, 5, 8))
    components, strengths = decompose(difference, "dct")
    coefficients = np.zeros((2, 5, 8))
    coefficients[:, 2, 3] = scipy.fft.dctn(difference, axes=(1, 2), norm="ortho")[:, 2, 3]
    expected = scipy.fft.idctn(coefficients, axes=(1, 2), norm="ortho")
    np.testing.assert_allclose(components[2 * 8 + 3], expected, rtol=0, atol=ROUNDING)
    assert strengths[0, 0] == 1
    assert strengths[-1, 0] == 0
    # Two square roots and a division: a few units in the last place.
    np.testing.assert_allclose(strengths[2 * 8 + 3], 1 - np.hypot(2 / 4, 3 / 7) / np.sqrt(2), rtol=1e-14)


def test_haar_components_of_a_block_are_the_published_sums_in_the_published_order():
    block = np.array([[[7.0, 3.0], [2.0, 8.0]]])
    components, strengths = decompose(block, "wavelet")
    # Coefficients (sum / 2): 10, along width -1, along height 0, along both 5. Each is exact in binary.
    assert components[0, 0].tolist() == [[5, 5], [5, 5]]
    assert components[1, 0].tolist() == [[-0.5, 0.5], [-0.5, 0.5]]
    assert components[2, 0].tolist() == [[0, 0], [0, 0]]
    assert components[3, 0].tolist() == [[2.5, -2.5], [-2.5, 2.5]]
    np.testing.assert_allclose(strengths[:, 0], [1, 2 / 3, 1 / 3, 0], rtol=0, atol=1e-15)  # one division


def test_haar_lists_the_finest_level_first_and_stops_at_an_odd_side():
    assert len(decompose(image((1, 16, 16)), "wavelet")[0]) == 1 + 3 * 4
    assert len(decompose(image((1, 16, 16)), "wavelet", levels=2)[0]) == 1 + 3 * 2
    assert len(decompose(image((1, 12, 8)), "wavelet")[0]) == 1 + 3 * 2  # 12, 6, 3
    assert len(decompose(image((1, 7, 8)), "wavelet")[0]) == 1
    columns = np.tile([1.0, -1.0], (4, 2))[None]  # alternates from pixel to pixel: the finest level alone
    components, _ = decompose(columns, "wavelet")
    assert [k for k in range(7) if components[k].any()] == [1]
    rows = np.repeat([1.0, 1.0, -1.0, -1.0], 4).reshape(1, 4, 4)  # pairs of rows: along height, coarser level
    components, _ = decompose(rows, "wavelet")
    assert [k for k in range(7) if components[k].any()] == [5]


def test_haar_components_are_orthogonal():
    components, _ = decompose(image((1, 8, 8)), "wavelet")
    flat = components.reshape(len(components), -1)
    products = flat @ flat.T
    np.testing.assert_allclose(products - np.diag(np.diag(products)), 0, rtol=0, atol=ROUNDING)


def test_laplacian_lists_the_finest_residual_first():
    difference = image((2, 7, 10))
    components, strengths = decompose(difference, "laplacian")
    assert len(components) == 1 + 3  # 7×10, 3×5, 1×2, 1×1: nothing left to pool
    finest = difference - upsample(pool(difference), 7, 10)
    np.testing.assert_allclose(components[1], finest, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(strengths[:, 0], [1, 2 / 3, 1 / 3, 0], rtol=0, atol=1e-15)  # one division
    assert decompose(image((1, 16, 16)), "laplacian")[1][:, 0].tolist() == [1, 0.75, 0.5, 0.25, 0]
    constant, _ = decompose(np.full((1, 9, 6), 3.0), "laplacian")
    np.testing.assert_allclose(constant[0], 3.0, rtol=1e-14)  # interpolation weights sum to 1
    np.testing.assert_allclose(constant[1:], 0.0, rtol=0, atol=1e-14)  # the same weights


def test_pooling_and_upsampling_equal_torchs():
    torch = pytest.importorskip("torch")
    for shape in [(2, 5, 7), (1, 6, 11), (3, 3, 2), (1, 16, 9)]:
        fine = image(shape)
        coarse = pool(fine)
        tensor = torch.nn.functional.avg_pool2d(torch.from_numpy(fine)[None], 2)
        np.testing.assert_allclose(coarse, tensor[0].numpy(), rtol=0, atol=ROUNDING)
        tensor = torch.nn.functional.interpolate(
            torch.from_numpy(coarse)[None], size=shape[1:], mode="bilinear", align_corners=False
        )
        np.testing.assert_allclose(upsample(coarse, *shape[1:]), tensor[0].numpy(), rtol=0, atol=ROUNDING)


def test_gates_at_points_computed_by_hand():
    # Overlap 0.5 and strength 0.5: the window is [0.25, 0.75]; every number is exact in binary.
    alpha = np.array([0.0, 0.25, 0.375, 0.5, 0.75, 1.0])
    assert gate(alpha, 0.5, "linear", 0.5).tolist() == [0, 0, 0.25, 0.5, 1, 1]
    assert gate(alpha, 0.5, "step", 0.5).tolist() == [0, 0, 0, 1, 1, 1]
    cosine = [0, 0, 0.5 - np.sqrt(0.125), 0.5, 1, 1]  # cos(π/4) = sqrt(1/2)
    np.testing.assert_allclose(gate(alpha, 0.5, "cosine", 0.5), cosine, rtol=0, atol=1e-15)
    # The logistic is (1 + tanh(z / 2)) / 2: rescaled, ½ + ½ tanh(6 (p − ½)) / tanh(3).
    sigmoid = [0, 0, 0.5 + 0.5 * np.tanh(-1.5) / np.tanh(3), 0.5, 1, 1]
    np.testing.assert_allclose(gate(alpha, 0.5, "sigmoid", 0.5), sigmoid, rtol=0, atol=1e-14)
    assert gate(0.3, 1.0, "linear", 0.4) == pytest.approx(0.75, abs=1e-15)  # one division
    assert gate(0.3, 0.0, "linear", 0.4) == 0


@pytest.mark.parametrize("ramp", RAMPS)
@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.4, 1.0])
def test_gates_rise_from_0_to_1_and_stronger_components_lead(ramp, overlap):
    alpha, strength = np.linspace(0, 1, 101)[:, None], np.linspace(0, 1, 11)
    gates = gate(alpha, strength, ramp, overlap)
    assert not gates[0].any()
    assert (gates[-1] == 1).all()
    # Monotone but for the rounding of a ramp at neighbouring arguments.
    assert np.diff(gates, axis=0).min() >= -1e-15
    assert np.diff(gates, axis=1).min() >= -1e-15


@pytest.mark.parametrize("family", FAMILIES)
def test_paths_end_at_the_baseline_and_the_input_and_full_overlap_is_the_line(family):
    x, baseline = image((2, 6, 8)), image((2, 6, 8), seed=1)
    path = points(x, baseline, family, "linear", 0.3, 7)
    assert path.shape == (7, 2, 6, 8)
    assert (path[0] == baseline).all()
    assert (path[-1] == x).all()
    line = np.stack([baseline + j / 6 * (x - baseline) for j in range(7)])
    overlap = 0.3 if family == "linear" else 1.0
    path = points(x, baseline, family, "linear", overlap, 7)
    np.testing.assert_allclose(path, line, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("family", FAMILIES)
def test_attributions_sum_to_the_change_of_the_score_as_the_points_grow(family):
    model = SmoothModel((2, 6, 6))
    x, baseline, target = image((2, 6, 6)), np.zeros((2, 6, 6)), 1
    change = model.probability(x, target) - model.probability(baseline, target)
    gaps = []
    for count in (101, 201):
        total = published(lambda p: model.gradient(p, target), x, baseline, family, count=count).sum()
        gaps.append(abs(total - change))
    # The largest measured gap at 201 points is 2.4% (Laplacian); the bound leaves a factor of two.
    assert gaps[1] < 0.05 * abs(change)
    # A left rule is of first order: half the gap at twice the points, up to the kinks of the gates.
    assert gaps[1] < 0.7 * gaps[0]


def test_left_rule_of_a_quadratic_by_hand():
    # Straight line from 0 to x, gradient 2·point: Σ_j (x/n)·(2 j x/n) = x² (n − 1)/n for n intervals.
    x = image((1, 5, 5))
    attributions = published(lambda p: 2 * p, x, np.zeros_like(x), "linear", count=11)
    np.testing.assert_allclose(attributions, 0.9 * x**2, rtol=1e-13)  # ten terms of one sign


def test_derivatives_of_the_model_equal_finite_differences():
    model = SmoothModel((2, 3, 4), seed=3)
    batch, direction = image((5, 2, 3, 4)), image((5, 2, 3, 4), seed=1)
    cotangent = image((5, 4), seed=2)
    step = 1e-5
    slope = (model.value(batch + step * direction) - model.value(batch - step * direction)) / (2 * step)
    derivative = (model.vjp(batch, cotangent) * direction).sum(axis=(1, 2, 3))
    # Central differences: step² = 1e-10 from curvature, 1e-16 / step = 1e-11 from rounding, with some slack.
    np.testing.assert_allclose((cotangent * slope).sum(axis=1), derivative, rtol=0, atol=1e-8)
    x, v = batch[0], direction[0]
    slope = (model.probability(x + step * v, 2) - model.probability(x - step * v, 2)) / (2 * step)
    assert (model.gradient(x, 2) * v).sum() == pytest.approx(slope, abs=1e-8)  # as above


def test_probabilities_move_along_the_path_without_saturating():
    for seed in range(5):
        model = SmoothModel((3, 8, 8), seed=seed)
        path = points(image((3, 8, 8), seed=seed), np.zeros((3, 8, 8)), "svd", "linear", 0.4, 21)
        table = np.stack([model.probabilities(point) for point in path])
        np.testing.assert_allclose(table.sum(axis=1), 1, rtol=1e-14)  # four terms
        # Some class moves by more than a tenth and none reaches 1: no tolerance, only what "clearly" means.
        assert np.ptp(table, axis=0).max() > 0.1
        assert table.max() < 0.99
