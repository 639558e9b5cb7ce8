"""Fast transforms: they are what their matrices say, in both directions, on every framework, and stay small."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import pywt
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from pathattr import NumpyModel, PathExplainer
from pathattr.common.ops import NumpyOps, Ops, cosines
from pathattr.families import DCT, Laplacian, Linear, Wavelet, dct
from pathattr.families.dct import Cosines
from pathattr.families.filters import Filters, Pyramid
from pathattr.models.backend import Call
from pathattr.models.numpy_backend import NumpyBackend
from pathattr.paths.orderings import Diffusion, Energy
from pathattr.paths.schedules import CosineRamp, HeatRamp, LinearRamp, StepRamp
from pathattr.testing import frameworks
from pathattr.testing.models import Polynomial

# Sums of some hundred products in float64, relative to the largest number.
ROUNDING = 1e-12
# The same in float32, whose rounding is 6e-8.
FLOAT32 = 1e-4
BACKENDS = ("numpy", "torch", "tensorflow", "jax")
SHAPES = [(1,), (2,), (3,), (13,), (64,), (601,), (1, 1), (5, 8), (2, 31), (40, 6), (1, 2, 3), (7, 4, 6), (3, 2, 5, 4)]
FLOAT64 = NumpyBackend(NumpyModel(abs, lambda points, cotangent: cotangent), np.zeros((1, 1)), Call())
NAMES = ("haar", "db2", "db4", "sym5", "bior2.2", "rbio3.1", "coif1", "dmey")


def drawn(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def size(array):
    return np.abs(array).max(initial=0.0) or 1.0


def pyramid(name, mode, sides, levels=3):
    return Wavelet(name, levels, "coefficients", mode).decompose(np.zeros((1, *sides))).transform


def applied(backend, function, *arrays):
    """Call a function of operations and arrays on a framework, and bring what it returns to the host."""
    with backend.running():
        found = backend.apply(function, *(backend.asarray(array) for array in arrays))
        return [backend.to_numpy(part) for part in (found if isinstance(found, list | tuple) else [found])]


class Way:
    """One direction of a transform along some axes: equal to itself only, so that it is traced anew."""

    def __init__(self, function, axes):
        self.function, self.axes = function, axes

    def __call__(self, ops, *arrays):
        return self.function(ops, arrays, self.axes)


def directions(backend, transform, spectra, difference, axes):
    """Return a framework's synthesis of spectra and adjoint of a difference."""
    (whole,) = applied(backend, Way(transform.synthesise, axes), *spectra)
    parts = applied(backend, Way(lambda ops, arrays, axes: transform.adjoint(ops, arrays[0], axes), axes), difference)
    return whole, parts


def assert_equals_matrices(backend, transform, matrices, sides, bound, last=False):
    """Fail unless both directions are those of one matrix (size, coefficients) per band and axis.

    Two images and two channels are carried along, channels before the spatial axes or after them.
    """
    axes = tuple(range(1, 1 + len(sides))) if last else tuple(range(2, 2 + len(sides)))

    def arranged(array):
        return np.moveaxis(array, 1, -1) if last else array

    spectra = [drawn((2, 2, *(m.shape[1] for m in band)), seed) for seed, band in enumerate(matrices)]
    difference = drawn((2, 2, *sides), 100)
    found, parts = directions(backend, transform, list(map(arranged, spectra)), arranged(difference), axes)
    own = [arranged(np.stack([reference.separable(image, band) for image in part])) for part, band in
           zip(spectra, matrices, strict=True)]  # fmt: skip
    expected = sum(own)
    np.testing.assert_allclose(found, expected, rtol=0, atol=bound * size(expected))
    for part, band in zip(parts, matrices, strict=True):
        back = arranged(np.stack([reference.separable(image, [m.T for m in band]) for image in difference]))
        np.testing.assert_allclose(part, back, rtol=0, atol=bound * size(back))
    left = (found.astype(float) * arranged(difference)).sum()
    right = sum((part.astype(float) * arranged(s)).sum() for part, s in zip(parts, spectra, strict=True))
    assert left == pytest.approx(right, abs=bound * np.linalg.norm(found) * np.linalg.norm(difference))


# Against matrices


@pytest.mark.parametrize("sides", SHAPES)
def test_cosines_are_those_of_the_matrix(sides):
    matrices = [[reference.dct_matrix(side).T for side in sides]]
    for last in (False, True):
        assert_equals_matrices(FLOAT64, Cosines(), matrices, sides, ROUNDING, last)


@pytest.mark.parametrize("mode", pywt.Modes.modes)
@pytest.mark.parametrize("name", NAMES)
def test_pyramids_are_those_of_the_matrices(name, mode):
    for sides in SHAPES:
        matrices = reference.wavelet_bands(name, mode, sides, 3)
        for last in (False, True):
            assert_equals_matrices(FLOAT64, pyramid(name, mode, sides), matrices, sides, ROUNDING, last)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize(("sides", "levels"), [((1,), 3), ((601,), 3), ((5, 8), 2), ((3, 2, 5), 1), ((2, 3, 2, 4), 1)])
def test_every_framework_computes_them(name, sides, levels):
    backend = frameworks.wrapped(name)
    cases = [(Cosines(), [[reference.dct_matrix(side).T for side in sides]])]
    for wavelet, mode in (("db2", "periodization"), ("bior2.2", "symmetric")):
        bands = reference.wavelet_bands(wavelet, mode, sides, levels)
        cases.append((pyramid(wavelet, mode, sides, levels), bands))
    for transform, matrices in cases:
        assert_equals_matrices(backend, transform, matrices, sides, FLOAT32, backend.channel_axis == -1)


@pytest.mark.parametrize("name", pywt.wavelist(kind="discrete"))
def test_one_level_of_any_wavelet_is_that_of_pywavelets(name):
    ops = NumpyOps()
    for mode in ("periodization", "symmetric"):
        filters = Filters.of(name, mode)
        for length in (2, 3, 7, 32, 101):
            assert filters.count(length) == pywt.dwt_coeff_len(length, pywt.Wavelet(name).dec_len, mode)
            low, high = drawn((2, 3, filters.count(length), 2))
            expected = pywt.idwt(low, high, name, mode, axis=1)[:, :length]
            found = filters.merged(ops, low, high, 1, length)
            np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING * size(expected))


@given(
    st.sampled_from(NAMES), st.sampled_from(pywt.Modes.modes), st.lists(st.integers(1, 17), min_size=1, max_size=3),
    st.integers(1, 5),
)  # fmt: skip
@settings(max_examples=40)
def test_energies_of_coefficients_are_norms_of_their_atoms(name, mode, sides, levels):
    difference = drawn((2, *sides))
    terms = Wavelet(name, levels, "coefficients", mode).decompose(difference).terms
    bands = reference.wavelet_bands(name, mode, sides, levels)
    for term, band in zip(terms, bands, strict=True):
        (coefficients,) = term.factors
        norms = np.linalg.norm(band[0], axis=0)
        for matrix in band[1:]:
            norms = np.multiply.outer(norms, np.linalg.norm(matrix, axis=0))
        np.testing.assert_allclose(term.energy, np.abs(coefficients.array) * norms, rtol=1e-9, atol=1e-12)
        # The roots of sums whose terms cancel where filters are far from orthogonal (bior, rbio).


@pytest.mark.parametrize("mode", pywt.Modes.modes)
@pytest.mark.parametrize("name", NAMES)
def test_long_series_come_back_from_their_components(name, mode):
    for length in (4096, 4999):  # a power of two and a prime
        difference = drawn((1, length))
        for components in ("bands", "coefficients"):
            found = Wavelet(name, 6, components, mode).decompose(difference)
            total = found.synthesise(tuple(np.ones(term.energy.shape) for term in found.terms))
            np.testing.assert_allclose(total, difference, rtol=0, atol=1e-13 * size(difference))


# The fast way and the matrix are one


FAST = [(1, 1), (2, 1), (1, 12), (2, 9), (1, 1, 1), (3, 6, 5), (2, 1, 7), (1, 3, 2, 4), (2, 2, 3, 1, 2)]


@pytest.mark.parametrize("shape", FAST)
def test_long_axes_are_transformed_as_short_ones_are(shape, monkeypatch):
    difference, gates, gradient = drawn(shape), (drawn(shape, 1),), drawn(shape, 2)
    by_matrix = DCT().decompose(difference)
    monkeypatch.setattr(dct, "MATRIX", 0)
    fast = DCT().decompose(difference)
    assert by_matrix.transform is None
    assert fast.transform == Cosines()
    np.testing.assert_allclose(fast.synthesise(gates), by_matrix.synthesise(gates), rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(fast.project(gradient)[0], by_matrix.project(gradient)[0], rtol=0, atol=ROUNDING)
    for name in ("energy", "frequency", "decay"):
        np.testing.assert_array_equal(getattr(fast.facts, name), getattr(by_matrix.facts, name))


def test_one_axis_that_is_long_is_enough():
    assert DCT().decompose(np.ones((1, 4, dct.MATRIX))).transform is None
    assert DCT().decompose(np.ones((1, 4, dct.MATRIX + 1))).transform == Cosines()


class Plain(NumpyOps):
    """A framework without an FFT."""

    dct, idct = Ops.dct, Ops.idct


@pytest.mark.parametrize("rows", [1, 3, 1024])
def test_a_framework_without_an_fft_multiplies_by_matrices_in_blocks(rows, monkeypatch):
    monkeypatch.setattr("pathattr.common.ops.ROWS", rows)
    x = drawn((2, 7, 4))
    for axis in range(3):
        for mine, other in ((Plain().dct, NumpyOps().dct), (Plain().idct, NumpyOps().idct)):
            np.testing.assert_allclose(mine(x, axis), other(x, axis), rtol=0, atol=ROUNDING)


def test_rows_of_cosines_keep_their_digits_at_high_frequencies():
    length = 100_003
    rows = cosines(length, np.array([0, 1, length - 1]))
    unit = np.zeros(length)
    for frequency, row in zip((0, 1, length - 1), rows, strict=True):
        unit[:] = 0
        unit[frequency] = 1
        np.testing.assert_allclose(row, NumpyOps().idct(unit, 0), rtol=0, atol=1e-14)


# Through the explainer


def explained(family, x, **options):
    settings = {"steps": 7, "channel_axis": 1, "schedule": CosineRamp(), **options}
    return PathExplainer(Polynomial(drawn((3, *x.shape[1:]), 5)).model(), family=family, **settings)(x)


LONG = [DCT(), Wavelet("db4", 5, "coefficients"), Wavelet("bior3.1", 4, "coefficients", mode="reflect"), Laplacian(5)]


@pytest.mark.parametrize("family", LONG)
def test_components_of_long_series_sum_to_what_features_do(family):
    x = drawn((2, 2, 997))
    for schedule in (LinearRamp(0.3), StepRamp()):
        found = explained(family, x, schedule=schedule)
        # A polynomial of degree 2 by midpoints along chords: nothing but rounding.
        total = found.score - found.baseline_score
        np.testing.assert_allclose(found.numpy().sum(axis=(1, 2)), total, rtol=0, atol=1e-9 * size(total))
        parts = sum(part.reshape(2, -1).sum(axis=1) for part in found.components.attributions)
        np.testing.assert_allclose(parts, total, rtol=0, atol=1e-9 * size(total))


@pytest.mark.parametrize("family", LONG)
def test_bits_do_not_depend_on_blocks_or_on_what_else_is_in_them(family):
    x = drawn((3, 2, 521))
    whole = explained(family, x, batch_size=1000)
    for batch_size in (1, 2, 5):
        parts = explained(family, x, batch_size=batch_size)
        alone = explained(family, x[1:2], batch_size=batch_size)
        for found, rows in ((parts, slice(None)), (alone, slice(1, 2))):
            assert np.array_equal(found.numpy(), whole.numpy()[rows])
            for mine, theirs in zip(found.components.attributions, whole.components.attributions, strict=True):
                assert np.array_equal(mine, theirs[rows])


@pytest.mark.parametrize("family", [DCT(), Wavelet("db2", 3, "coefficients")])
def test_channels_may_be_anywhere_or_nowhere(family, monkeypatch):
    monkeypatch.setattr(dct, "MATRIX", 0)
    x, coefficients = drawn((2, 3, 6, 7)), drawn((3, 3, 6, 7), 5)
    first = explained(family, x)
    for axis in (2, 3):
        model = Polynomial(np.moveaxis(coefficients, 1, axis))
        moved = PathExplainer(model.model(), family=family, steps=7, channel_axis=axis, schedule=CosineRamp())(
            np.moveaxis(x, 1, axis)
        )
        np.testing.assert_allclose(np.moveaxis(moved.numpy(), axis, 1), first.numpy(), rtol=0, atol=1e-11)
        for mine, theirs in zip(moved.components.attributions, first.components.attributions, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-11)
    one = explained(family, x[:, :1])
    model = Polynomial(coefficients[:, 0])
    bare = PathExplainer(model.model(), family=family, steps=7, channel_axis=None, schedule=CosineRamp())(x[:, 0])
    same = explained_by(coefficients[:, :1], family, x[:, :1])
    np.testing.assert_allclose(bare.numpy(), same.numpy()[:, 0], rtol=0, atol=1e-11)
    assert one.numpy().shape == same.numpy().shape


def explained_by(coefficients, family, x):
    return PathExplainer(
        Polynomial(coefficients).model(), family=family, steps=7, channel_axis=1, schedule=CosineRamp()
    )(x)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("family", [DCT(), Wavelet("db4", 3, "coefficients"), Wavelet(), Laplacian()])
def test_every_framework_explains_what_is_too_long_for_a_matrix(name, family):
    frameworks.assert_equals_the_closed_form(name, (2, 3, 301), family=family)


@pytest.mark.parametrize("nodes", ["refined", "output-aware", "arc-length"])
def test_nodes_are_refined_and_placed_along_transforms_too(nodes):
    x = drawn((1, 1, 300))
    found = explained(DCT(), x, nodes=nodes, steps=30)
    parts = sum(part.sum() for part in found.components.attributions)
    assert parts == pytest.approx(found.numpy().sum(), abs=1e-9 * size(found.numpy()) * 300)


def test_deblurring_of_long_series_orders_cosines_by_diffusion():
    x = drawn((1, 1, 700))
    found = explained(DCT(), x, ordering=Diffusion(sigma=9.0), schedule=HeatRamp())
    (strengths,) = found.components.strengths
    assert (np.diff(strengths[0, 0]) < 0).all()


# What it takes


@pytest.mark.parametrize(
    "family", [Linear(), DCT(), Laplacian(6), Wavelet("db4", 6), Wavelet("db4", 6, "coefficients"), Wavelet("dmey", 3)]
)
def test_memory_is_that_of_some_arrays_as_long_as_the_series(family):
    length = 100_000
    difference = drawn((1, length))
    tracemalloc.start()
    try:
        decomposition = family.decompose(difference)
        facts = decomposition.facts
        Energy().strengths(facts, np.random.default_rng(0))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # A dense matrix would be a hundred thousand of them; sparse Gram matrices hold as many as filters are long.
    assert peak < 200 * difference.nbytes


def test_a_transform_and_its_terms_go_together():
    found = DCT().decompose(np.ones((1, 300)))
    with pytest.raises(AssertionError):
        replace(found, transform=None)
    with pytest.raises(AssertionError):
        replace(DCT().decompose(np.ones((1, 30))), transform=Cosines())


def test_pyramids_of_one_shape_are_equal_and_share_their_norms():
    one, other = (pyramid("db2", "symmetric", (9, 4)) for _ in range(2))
    assert one == other
    assert one is not other
    assert isinstance(one, Pyramid)
    assert one.atoms() is other.atoms()
