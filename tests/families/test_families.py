"""Every family: its components sum to the difference, its equation and adjoint agree, its facts are true."""

from itertools import product

import numpy as np
import pytest
import pywt
from hypothesis import given, settings

import reference
from pathattr.errors import InvalidInput
from pathattr.families import DCT, FAMILIES, SVD, Decomposition, Factor, Laplacian, Linear, Term, Wavelet
from pathattr.methods.path_explainer import PathExplainer
from pathattr.testing.models import TanhNetwork
from pathattr.testing.strategies import KINDS, applies, differences, splits

# Transforms of a few hundred float64 numbers, two multiplications and a sum for each of up to three axes and four
# levels: errors of some 1e-15 of the largest number.
ROUNDING = 1e-13
SHAPES = [(3, 8, 8), (1, 5, 7), (2, 12, 6), (1, 1, 6), (2, 7, 1), (1, 1, 1), (2, 3, 4, 5), (1, 2, 1, 4), (3, 9), (2, 1)]


def image(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def ones(decomposition):
    return tuple(np.ones(term.energy.shape) for term in decomposition.terms)


def components(decomposition):
    """One image per component, term by term and gate by gate."""
    found = []
    for index, term in enumerate(decomposition.terms):
        for place in np.ndindex(term.energy.shape):
            gates = [np.zeros(other.energy.shape) for other in decomposition.terms]
            gates[index][place] = 1.0
            found.append(decomposition.synthesise(tuple(gates)))
    return np.stack(found)


def energies(decomposition):
    return np.concatenate([term.energy.ravel() for term in decomposition.terms])


def size(array):
    """The largest magnitude; 1 for zeros, which are to be met exactly or within rounding of 1."""
    return np.abs(array).max() or 1.0


def assert_sums_to(decomposition, difference):
    total = decomposition.synthesise(ones(decomposition))
    np.testing.assert_allclose(total, difference, rtol=0, atol=ROUNDING * size(difference))


# Sums


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_takes_every_shape_but_the_svd_of_series(name, shape):
    family = FAMILIES[name]()
    assert applies(family, shape) or (isinstance(family, SVD) and len(shape) == 2)


@pytest.mark.parametrize("name", pywt.wavelist(kind="discrete"))
def test_components_of_every_wavelet_sum_to_the_difference(name):
    # Odd, even and tiny sides, shorter than most filters; filters are tabulated to 1e-6 (dmey) at worst.
    for shape in [(1, 9, 4), (2, 2, 3), (1, 1, 5), (1, 17)]:
        difference = image(shape)
        assert_sums_to(Wavelet(name, levels=2).decompose(difference), difference)
    coefficients = Wavelet(name, levels=1, components="coefficients", mode="symmetric").decompose(image((1, 10, 7)))
    assert_sums_to(coefficients, image((1, 10, 7)))


@pytest.mark.parametrize("kind", ["bands", "coefficients"])
@pytest.mark.parametrize("mode", pywt.Modes.modes)
@pytest.mark.parametrize("name", ["haar", "db4", "bior3.1", "rbio3.1", "dmey"])
def test_components_sum_to_the_difference_under_every_border_rule(name, mode, kind):
    difference = image((2, 13, 6))
    assert_sums_to(Wavelet(name, levels=3, components=kind, mode=mode).decompose(difference), difference)


# Energies


@pytest.mark.parametrize("kind", ["bands", "coefficients"])
@pytest.mark.parametrize("name", ["haar", "db2", "bior2.2", "rbio3.1"])
def test_energy_is_the_norm_where_atoms_are_not_of_length_1(name, kind):
    # Biorthogonal filters, odd sides and border rules all make synthesis other than orthonormal.
    for mode in ("periodization", "symmetric"):
        decomposition = Wavelet(name, 2, kind, mode).decompose(image((2, 7, 10)))
        images = components(decomposition)
        norms = np.sqrt((images**2).reshape(len(images), -1).sum(axis=1))
        np.testing.assert_allclose(energies(decomposition), norms, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("family", [SVD(), SVD("joint"), DCT(), Wavelet(levels=2), Wavelet("db3", 1, "coefficients")])
def test_components_of_orthogonal_families_are_orthogonal(family):
    flat = components(family.decompose(image((2, 8, 4)))).reshape(-1, 64)
    products = flat @ flat.T
    np.testing.assert_allclose(products - np.diag(np.diag(products)), 0, atol=1e-12 * np.diag(products).sum())
    # db3's filters are tabulated to 1e-13 or so, a hundred times the rounding of the others.


# Structure: what the engine relies on


@given(splits())
def test_frequencies_and_scales_begin_at_0_and_no_scale_is_missing(split):
    family, difference = split
    facts = family.decompose(difference).facts
    if facts.frequency is not None:
        assert facts.frequency.min() == 0
    if facts.decay is not None:
        assert facts.decay.min() == 0
    if facts.scale is not None:
        assert set(np.unique(facts.scale)) == set(range(int(facts.scale.max()) + 1))


@given(splits())
def test_channels_are_spectra_of_their_own_unless_joint(split):
    family, difference = split
    if family == SVD("joint") or isinstance(family, Linear):
        return
    whole = family.decompose(difference)
    for channel in range(len(difference)):
        alone = family.decompose(difference[channel : channel + 1])
        rows = len(alone.facts.energy)
        part = whole.facts.energy[channel * rows : (channel + 1) * rows]
        np.testing.assert_allclose(part, alone.facts.energy, rtol=ROUNDING, atol=ROUNDING * size(difference))


def test_operands_check_their_labels():
    with pytest.raises(AssertionError):
        Factor("chw", np.zeros((2, 2)))
    with pytest.raises(AssertionError):
        Term("ck", (Factor("ck", np.zeros((2, 3))),), np.zeros(3))
    term = Term("k", (Factor("kw", np.zeros((2, 3))),), np.zeros(4))
    with pytest.raises(AssertionError):
        Decomposition((1, 3), (term,)).sizes(term)


@pytest.mark.parametrize("kind", KINDS)
def test_strategies_make_what_they_say(kind):
    @settings(max_examples=100)
    @given(differences((2, 4, 5)))
    def collect(difference):
        rank = np.linalg.matrix_rank(difference / size(difference))
        found.add("zero" if not difference.any() else
                  "zero channel" if 0 in rank else
                  "constant" if np.ptp(difference) == 0 else
                  "rank deficient" if 1 in rank else
                  "repeated singular values" if set(np.unique(difference / size(difference))) == {0, 1} else
                  "normal")  # fmt: skip

    found = set()
    collect()
    assert kind in found


# Single families against independent computations


@pytest.mark.parametrize("levels", [1, 2, 4])
@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 5, 7), (2, 12, 6), (1, 1, 6)])
@pytest.mark.parametrize("name", reference.FAMILIES)
def test_published_components_and_strengths_equal_the_reference(name, shape, levels):
    family, ordering = FAMILIES[name]().published()
    if name in ("wavelet", "laplacian"):
        family = type(family)(**{**vars(family), "levels": levels})
    difference = image(shape)
    expected, strength = reference.decompose(difference, name, levels=levels)
    decomposition = family.decompose(difference)
    strengths = decomposition.strengths(ordering, np.random.default_rng(0))
    # Gates that are 1 from a strength on: partial sums of the path do not depend on how components are listed.
    for least in np.unique(np.round(strength, 9)):
        gates = tuple((s >= least - 1e-6).astype(float) for s in strengths)
        kept = (strength >= least - 1e-6)[:, :, None, None] if name != "linear" else np.ones((1, 1, 1, 1))
        np.testing.assert_allclose(
            decomposition.synthesise(gates), (kept * expected).sum(axis=0), rtol=0, atol=ROUNDING * size(difference)
        )


def test_linear_is_one_component_for_all_channels():
    difference = image((3, 4, 5))
    (term,) = Linear().decompose(difference).terms
    assert term.gates == ""
    assert term.energy == pytest.approx(np.sqrt((difference**2).sum()), rel=1e-14)  # sixty squares
    assert not Linear.ordered


@pytest.mark.parametrize("family", [Linear(), DCT(), Wavelet(), Laplacian()])
def test_norms_neither_overflow_nor_vanish(family):
    plain = family.decompose(image((2, 4, 6)))
    for exponent in (-1000, 1000):
        # A power of two changes no digit.
        scaled = family.decompose(np.ldexp(image((2, 4, 6)), exponent))
        np.testing.assert_allclose(np.ldexp(energies(scaled), -exponent), energies(plain), rtol=1e-14)


def test_svd_of_extreme_numbers_is_that_of_ordinary_ones():
    plain = SVD().decompose(image((2, 4, 6))).terms[0].energy
    for exponent in (-1000, 1000):
        scaled = SVD().decompose(np.ldexp(image((2, 4, 6)), exponent)).terms[0].energy
        np.testing.assert_array_equal(np.ldexp(scaled, -exponent), plain)


@pytest.mark.parametrize("exponents", [(600, -600), (-600, 600)])
def test_svd_keeps_the_digits_of_a_channel_beside_a_far_larger_one(exponents):
    difference = np.stack([np.ldexp(image((4, 5), seed), exponent) for seed, exponent in enumerate(exponents)])
    decomposition = SVD().decompose(difference)
    total = decomposition.synthesise(ones(decomposition))
    for channel, own in zip(total, difference, strict=True):
        np.testing.assert_allclose(channel, own, rtol=0, atol=ROUNDING * size(own))


def test_svd_gives_numpys_singular_values_per_channel():
    difference = image((3, 5, 7))
    (term,) = SVD().decompose(difference).terms
    assert term.gates == "ck"
    expected = [np.linalg.svd(channel, compute_uv=False) for channel in difference]
    np.testing.assert_allclose(term.energy, expected, rtol=1e-12)  # random matrices are well conditioned


def test_joint_svd_is_that_of_the_stacked_matrix():
    difference = image((3, 5, 7))
    (term,) = SVD("joint").decompose(difference).terms
    assert term.gates == "k"
    u, sigma, vt = np.linalg.svd(difference.reshape(15, 7), full_matrices=False)
    np.testing.assert_allclose(term.energy, sigma, rtol=1e-12)
    expected = [(sigma[k] * np.outer(u[:, k], vt[k])).reshape(3, 5, 7) for k in range(7)]
    np.testing.assert_allclose(components(SVD("joint").decompose(difference)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("channels", ["separate", "joint"])
def test_svd_of_a_volume_works_slice_by_slice(channels):
    difference = image((2, 3, 4, 5))
    decomposition = SVD(channels).decompose(difference)
    (term,) = decomposition.terms
    assert term.gates == ("cdk" if channels == "separate" else "dk")
    for depth in range(3):
        gates = np.zeros(term.energy.shape)
        gates[..., depth, :] = 1.0
        only = np.zeros_like(difference)
        only[:, depth] = difference[:, depth]
        np.testing.assert_allclose(decomposition.synthesise((gates,)), only, rtol=0, atol=ROUNDING * size(difference))
        alone = SVD(channels).decompose(difference[:, depth]).terms[0]
        np.testing.assert_allclose(term.energy[..., depth, :], alone.energy, rtol=1e-12)


def test_joint_svd_of_series_is_that_of_channels_by_length():
    difference = image((3, 20))
    (term,) = SVD("joint").decompose(difference).terms
    np.testing.assert_allclose(term.energy, np.linalg.svd(difference, compute_uv=False), rtol=1e-12)


@pytest.mark.parametrize("channels", ["separate", "joint"])
def test_svd_refuses_features_without_matrix_structure(channels):
    with pytest.raises(InvalidInput, match=r"12 features along one axis has no matrix structure\. Use Linear\(\), DCT"):
        SVD(channels).decompose(image((1, 12)))


def test_separate_svd_of_series_names_the_joint_one():
    with pytest.raises(InvalidInput, match=r"3 channels and length 12 has one: use SVD\(channels='joint'\)"):
        SVD().decompose(image((3, 12)))


@pytest.mark.filterwarnings("ignore:Level value of")  # sides shorter than a filter's reach are meant
@pytest.mark.parametrize("name", ["haar", "db2", "sym5", "bior2.2", "rbio4.4"])
@pytest.mark.parametrize("mode", ["periodization", "symmetric"])
@pytest.mark.parametrize("shape", [(16, 24), (24,), (12, 16, 12)])
def test_bands_are_those_of_pywavelets_coarse_to_fine(name, mode, shape):
    difference = image((1, *shape))
    levels = 2 if mode == "periodization" else 1
    decomposition = Wavelet(name, levels=levels, mode=mode).decompose(difference)
    coefficients = pywt.wavedecn(difference[0], name, mode, level=levels)
    # Last axis fastest, as "ad", "da", "dd": the differences along the width come first.
    kinds = ["".join(kind) for kind in product("ad", repeat=len(shape))][1:]
    bands = [None, *((level, kind) for level in range(1, levels + 1) for kind in kinds)]
    found = components(decomposition)
    assert len(found) == len(bands)
    for component, band in zip(found, bands, strict=True):
        details = [
            {kind: array * ((level, kind) == band) for kind, array in coefficients[level].items()}
            for level in range(1, levels + 1)
        ]
        kept = [coefficients[0] * (band is None), *details]
        expected = pywt.waverecn(kept, name, mode)[tuple(map(slice, shape))]
        # PyWavelets tabulates its filters to 1e-10 or better; the least correction that makes them exact is as large.
        np.testing.assert_allclose(component[0], expected, rtol=0, atol=1e-9)
    assert decomposition.facts.scale.tolist() == [[0 if band is None else band[0] for band in bands]]


def test_levels_end_where_nothing_gets_shorter():
    assert Wavelet(levels=9).decompose(image((1, 8, 8))).facts.energy.shape == (1, 1 + 3 * 3)
    assert Wavelet(levels=9).decompose(image((1, 1, 8))).facts.energy.shape == (1, 1 + 3)
    assert Wavelet(levels=9).decompose(image((1, 1, 1))).facts.energy.shape == (1, 1)
    assert Laplacian(levels=9).decompose(image((1, 8, 8))).facts.energy.shape == (1, 1 + 3)
    assert Laplacian(levels=9).decompose(image((1, 1, 1))).facts.energy.shape == (1, 1)


def test_published_haar_stops_at_the_first_odd_side():
    family, _ = Wavelet(levels=4, components="coefficients").published()
    assert family.components == "bands"
    assert family.decompose(image((1, 12, 8))).facts.energy.shape == (1, 1 + 3 * 2)  # 12, 6, 3
    assert family.decompose(image((1, 7, 8))).facts.energy.shape == (1, 1)
    assert Wavelet(levels=4).decompose(image((1, 7, 8))).facts.energy.shape == (1, 1 + 3 * 3)


@pytest.mark.parametrize("family", [DCT(), Wavelet(), Wavelet("haar", 3, "coefficients"), Laplacian()])
def test_a_constant_difference_is_all_in_the_component_of_frequency_0(family):
    facts = family.decompose(np.full((1, 8, 16), 3.0)).facts
    np.testing.assert_allclose(facts.energy[facts.frequency > 0], 0, atol=ROUNDING * 3 * np.sqrt(128))
    assert np.linalg.norm(facts.energy) == pytest.approx(3 * np.sqrt(128), rel=ROUNDING)


def test_frequencies_of_the_dct_are_radii():
    frequency = DCT().decompose(image((2, 5, 8))).facts.frequency.reshape(2, 5, 8)
    assert frequency[0, 0, 0] == 0
    assert frequency[1, 4, 7] == 1
    assert frequency[0, 2, 3] == pytest.approx(np.hypot(2 / 4, 3 / 7) / np.sqrt(2), rel=1e-14)  # one root
    assert DCT().decompose(image((1, 1, 1))).facts.frequency.tolist() == [[0]]


@pytest.mark.parametrize("family", [Wavelet(), Laplacian()])
def test_finer_scales_have_higher_frequencies(family):
    facts = family.decompose(image((1, 16, 16))).facts
    means = [facts.frequency[facts.scale == scale].mean() for scale in np.unique(facts.scale)]
    assert (np.diff(means) > 0).all()


# Errors


@pytest.mark.parametrize("levels", [0, -1, 1.5, True, "2", None])
@pytest.mark.parametrize("family", [Wavelet, Laplacian])
def test_levels_are_whole_numbers_from_1(family, levels):
    with pytest.raises(InvalidInput, match="levels must be a whole number of at least 1; got"):
        family(levels=levels)


@pytest.mark.parametrize("name", ["har", "mexh", "", "db39"])
def test_unknown_wavelets_are_refused_with_the_names(name):
    with pytest.raises(InvalidInput, match=f"unknown discrete wavelet '{name}'.*haar, db1-db38"):
        Wavelet(name)


def test_unknown_modes_components_and_channels_are_refused_with_the_names():
    with pytest.raises(InvalidInput, match=r"mode must be one of 'zero', .*'periodization'.* got 'mirror'"):
        Wavelet(mode="mirror")
    with pytest.raises(InvalidInput, match="components must be one of 'bands', 'coefficients'; got 'band'"):
        Wavelet(components="band")
    with pytest.raises(InvalidInput, match="channels must be one of 'separate', 'joint'; got 'both'"):
        SVD("both")


@pytest.mark.parametrize("steps", [6, "auto"])
@pytest.mark.parametrize("mode", ["periodization", "symmetric"])
@pytest.mark.parametrize("name", ["haar", "db2", "bior2.2"])
@pytest.mark.parametrize("shape", [(2, 16, 12), (1, 30), (3, 9, 7), (1, 6, 5, 7)])
def test_bands_too_large_for_a_stack_give_the_same(shape, name, mode, steps, monkeypatch):
    model = TanhNetwork.random(shape, classes=3).model()
    x = np.random.default_rng(0).normal(size=(2, *shape))
    explainer = PathExplainer(model, family=Wavelet(name, 3, mode=mode), steps=steps, channel_axis=1)
    stacked, points = explainer(x, 1), explainer.path(x, [0, 0.3, 0.7, 1])
    monkeypatch.setattr("pathattr.families.wavelet.STACK", 0)
    apart = explainer(x, 1)
    # Rounding of float64: other products, and other norms, which decide nothing here.
    np.testing.assert_allclose(explainer.path(x, [0, 0.3, 0.7, 1]), points, atol=1e-12)
    np.testing.assert_allclose(apart.numpy(), stacked.numpy(), atol=1e-12)
    for kind in ("attributions", "strengths"):
        (found,), (expected,) = (getattr(answer.components, kind) for answer in (apart, stacked))
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
