"""Strengths: who comes first, and how far apart."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathattr.errors import InvalidInput
from pathattr.families import DCT, FAMILIES, SVD, Laplacian, Linear, Wavelet
from pathattr.paths.orderings import (
    ORDERINGS,
    ApproximationThenFinest,
    Energy,
    Facts,
    Frequency,
    Leading,
    Rank,
    Scale,
    Shuffled,
)
from pathattr.testing.strategies import differences, families, scopes, shapes, splits

FACTS = Facts(
    energy=np.array([[2.0, 8.0, 4.0, 0.0], [1.0, 0.5, 3.0, 2.0]]),
    frequency=np.array([[0.0, 0.25, 0.5, 1.0]] * 2),
    scale=np.array([[0.0, 1.0, 1.0, 2.0]] * 2),
)


def rng(seed=0):
    return np.random.default_rng(seed)


def image(shape, seed=0):
    return rng(seed).normal(size=shape)


# Energy


def test_energy_is_relative_to_the_largest_of_each_spectrum_or_of_all():
    assert Energy().strengths(FACTS, rng())[0].tolist() == [0.25, 1, 0.5, 0]
    np.testing.assert_allclose(Energy().strengths(FACTS, rng())[1], [1 / 3, 1 / 6, 1, 2 / 3], rtol=1e-15)  # a division
    assert Energy("joint").strengths(FACTS, rng()).tolist() == [[0.25, 1, 0.5, 0], [0.125, 0.0625, 0.375, 0.25]]


@pytest.mark.parametrize("scope", ["channel", "joint"])
def test_energy_of_the_svd_is_sigma_over_sigma_1(scope):
    difference = image((3, 5, 7))
    (strength,) = SVD().decompose(difference).strengths(Energy(scope), rng())
    sigma = np.array([np.linalg.svd(channel, compute_uv=False) for channel in difference])
    largest = sigma[:, :1] if scope == "channel" else sigma.max()
    np.testing.assert_allclose(strength, sigma / largest, rtol=0, atol=1e-14)  # LAPACK's rounding, relative to sigma_1


@pytest.mark.parametrize("family", [SVD(), DCT(), Wavelet(), Wavelet(components="coefficients"), Laplacian()])
def test_a_zero_channel_has_energy_strength_0(family):
    difference = image((3, 6, 8))
    difference[1] = 0
    decomposition = family.decompose(difference)
    for strength in decomposition.strengths(Energy(), rng()):
        assert not strength[1].any()
    table = np.concatenate([s.reshape(3, -1) for s in decomposition.strengths(Energy(), rng())], axis=1)
    assert table.max(axis=1).tolist() == [1, 0, 1]


@given(splits(), scopes())
def test_energy_reaches_1_wherever_something_moves(split, scope):
    family, difference = split
    facts = family.decompose(difference).facts
    strengths, energy = Energy(scope).strengths(facts, rng()), facts.energy
    if scope == "joint":
        strengths, energy = strengths.reshape(1, -1), energy.reshape(1, -1)
    np.testing.assert_array_equal(strengths.max(axis=1), energy.max(axis=1) > 0)
    # Not stronger than a component of more energy.
    order = np.argsort(energy, axis=1)
    assert (np.diff(np.take_along_axis(strengths, order, axis=1), axis=1) >= 0).all()


# Frequency, scale, rank


def test_frequency_puts_low_ones_first():
    assert Frequency().strengths(FACTS, rng()).tolist() == [[1, 0.75, 0.5, 0]] * 2


def test_scales_are_equally_spaced_and_shared_within_a_level():
    assert Scale().strengths(FACTS, rng()).tolist() == [[1, 0.5, 0.5, 0]] * 2
    (strength,) = Wavelet(levels=2).decompose(image((2, 8, 8))).strengths(Scale(), rng())
    assert strength.tolist() == [[1, 0.5, 0.5, 0.5, 0, 0, 0]] * 2
    (strength,) = Laplacian(levels=4).decompose(image((1, 16, 16))).strengths(Scale(), rng())
    assert strength.tolist() == [[1, 0.75, 0.5, 0.25, 0]]
    only = Wavelet().decompose(image((1, 1, 1)))  # no details at all
    assert only.strengths(Scale(), rng())[0].tolist() == [[1]]


def test_coefficients_of_one_level_share_its_strength():
    decomposition = Wavelet(levels=2, components="coefficients").decompose(image((2, 8, 8)))
    found = [np.unique(strength).tolist() for strength in decomposition.strengths(Scale(), rng())]
    assert found == [[1], [0.5], [0.5], [0.5], [0], [0], [0]]


def test_rank_is_the_order_of_energy_equally_spaced():
    third = pytest.approx(1 / 3)
    assert Rank().strengths(FACTS, rng()).tolist() == [
        [third, 1, pytest.approx(2 / 3), 0],
        [third, 0, 1, pytest.approx(2 / 3)],
    ]
    joint = np.array([[3, 7, 6, 0], [2, 1, 5, 4]]) / 7  # 2 comes before the second 2
    joint[0, 0], joint[1, 3] = 4 / 7, 3 / 7
    np.testing.assert_allclose(Rank("joint").strengths(FACTS, rng()), joint, rtol=0, atol=1e-15)  # a division


@given(splits())
def test_rank_follows_energy_with_equal_spacing(split):
    family, difference = split
    facts = family.decompose(difference).facts
    count = facts.energy.shape[1]
    for strength, energy in zip(Rank().strengths(facts, rng()), facts.energy, strict=True):
        np.testing.assert_allclose(np.sort(strength), np.linspace(0, 1, count) if count > 1 else [1], atol=1e-15)
        assert (np.diff(energy[np.argsort(-strength)]) <= 0).all()


# The published order, written out


def test_published_order_of_two_wavelet_levels_by_hand():
    # Bands: approximation; level 2 along width, height, both; level 1 (finest) likewise.
    (strength,) = Wavelet(levels=2).decompose(image((2, 8, 8))).strengths(ApproximationThenFinest(), rng())
    expected = np.array([6, 2, 1, 0, 5, 4, 3]) / 6
    np.testing.assert_allclose(strength, [expected] * 2, rtol=0, atol=1e-15)  # one division


def test_published_order_of_two_laplacian_levels_by_hand():
    # Bands: approximation, coarser residual, finest residual.
    (strength,) = Laplacian(levels=2).decompose(image((2, 8, 8))).strengths(ApproximationThenFinest(), rng())
    assert strength.tolist() == [[1, 0, 0.5]] * 2


@pytest.mark.parametrize("family", [Wavelet(), Laplacian()])
def test_the_published_preset_of_a_pyramid_is_that_order(family):
    assert family.published()[1] == ApproximationThenFinest()
    assert family.default_ordering == Scale()


# The control


@given(st.data())
def test_shuffled_deals_the_familys_default_strengths(data):
    shape = data.draw(shapes(), label="shape")
    family = data.draw(families(shape), label="family")
    seed = data.draw(st.integers(0, 2**32 - 1), label="seed")
    scope = data.draw(scopes(), label="scope")
    facts = family.decompose(data.draw(differences(shape), label="difference")).facts
    default = family.default_ordering
    shuffled = Shuffled(scope).for_family(default)
    strengths = shuffled.strengths(facts, rng(seed))
    plain = type(default)(scope).strengths(facts, rng())
    if scope == "joint":
        strengths, plain = strengths.reshape(1, -1), plain.reshape(1, -1)
    np.testing.assert_array_equal(np.sort(strengths, axis=1), np.sort(plain, axis=1))


def test_shuffled_is_reproducible_from_the_seed_and_shuffles():
    facts = DCT().decompose(image((2, 6, 6))).facts
    shuffled = Shuffled().for_family(Frequency())
    first = shuffled.strengths(facts, rng(1))
    np.testing.assert_array_equal(shuffled.strengths(facts, rng(1)), first)
    assert (shuffled.strengths(facts, rng(2)) != first).any()
    assert (first != Frequency().strengths(facts, rng())).any()
    # The draw knows the number of components, not what they are.
    other = DCT().decompose(image((2, 6, 6), seed=9)).facts
    np.testing.assert_array_equal(shuffled.strengths(other, rng(1)), first)


def test_shuffled_keeps_the_ordering_that_it_is_given():
    assert Shuffled(of=Rank()).for_family(Energy()).of == Rank()
    assert Shuffled().for_family(Frequency()).of == Frequency()
    assert sorted(Shuffled().strengths(FACTS, rng())[0]) == [0, 0.25, 0.5, 1]  # by energy where nobody says


def test_shuffled_keeps_the_scope_of_the_ordering_that_it_shuffles():
    strengths = Shuffled(of=Energy("joint")).strengths(FACTS, rng())
    expected = Energy("joint").strengths(FACTS, rng())
    np.testing.assert_array_equal(np.sort(strengths, axis=1), np.sort(expected, axis=1))


# Errors


@pytest.mark.parametrize("family", [SVD(), SVD("joint"), Linear()])
def test_families_without_a_frequency_refuse_it_and_say_what_they_take(family):
    facts = family.decompose(image((2, 4, 4))).facts
    with pytest.raises(
        InvalidInput, match=r"a frequency: DCT\(\), Wavelet\(\) and Laplacian\(\) do.*takes Energy\(\), Rank"
    ):
        Frequency().strengths(facts, rng())
    with pytest.raises(InvalidInput, match="a frequency"):
        Shuffled(of=Frequency()).strengths(facts, rng())


@pytest.mark.parametrize("ordering", [Scale(), ApproximationThenFinest()])
@pytest.mark.parametrize("family", [SVD(), SVD("joint"), Linear(), DCT()])
def test_families_without_scales_refuse_them_and_say_what_they_take(family, ordering):
    facts = family.decompose(image((2, 4, 4))).facts
    with pytest.raises(
        InvalidInput, match=r"a scale: Wavelet\(\) and Laplacian\(\) do.*takes Energy\(\), Rank\(\) and Shuf"
    ):
        ordering.strengths(facts, rng())


@pytest.mark.parametrize("name", ORDERINGS)
def test_every_ordering_refuses_unknown_scopes(name):
    with pytest.raises(InvalidInput, match="scope must be one of 'channel', 'joint'; got 'image'"):
        type(ORDERINGS[name]())("image")


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_takes_its_own_orderings(name):
    family = FAMILIES[name]()
    decomposition = family.decompose(image((2, 6, 8)))
    for ordering in (family.default_ordering, family.published()[1]):
        assert sum(s.size for s in decomposition.strengths(ordering, rng())) == decomposition.facts.energy.size


def test_leading_sets_the_strongest_apart_from_the_rest():
    assert Leading().strengths(FACTS, rng()).tolist() == [[0, 1, 0, 0], [0, 0, 1, 0]]
    assert Leading(count=2).strengths(FACTS, rng()).tolist() == [[0, 1, 1, 0], [0, 0, 1, 1]]
    assert Leading("joint").strengths(FACTS, rng()).tolist() == [[0, 1, 0, 0], [0, 0, 0, 0]]
    with pytest.raises(InvalidInput, match="count"):
        Leading(count=0)
