"""Sparseness: the Gini index by its definition of pairs, entropy by a loop."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pathattr.metrics.sparseness import Sparseness
from pathattr.metrics.subject import Subject
from pathattr.testing.models import LinearModel
from pathattr.testing.strategies import SEEDS


def scores(maps):
    maps = np.asarray(maps)
    s = Subject(LinearModel(np.ones(maps.shape[1:])).model(), np.zeros(maps.shape), channel_axis=1)
    return Sparseness()(s, maps)


@st.composite
def maps(draw):
    rng = np.random.default_rng(draw(SEEDS))
    found = rng.normal(size=(draw(st.integers(1, 3)), draw(st.integers(1, 3)), 3, draw(st.integers(1, 5))))
    return np.where(rng.random(found.shape) < 0.3, 0, found) if draw(st.booleans()) else found


@given(maps())
def test_gini_is_half_the_mean_difference_of_pairs_over_the_mean(given_maps):
    found = scores(given_maps).score
    for value, map_ in zip(found, np.abs(given_maps), strict=True):
        a = map_.ravel()
        if not a.any():
            assert np.isnan(value)
            continue
        pairs = sum(abs(u - v) for u in a for v in a) / (2 * len(a) ** 2 * a.mean())
        np.testing.assert_allclose(value, pairs, rtol=0, atol=1e-13)  # sums of at most 45² terms of size 1


@given(maps())
def test_complexity_is_the_entropy_of_the_shares(given_maps):
    found = scores(given_maps)["complexity"]
    for value, map_ in zip(found, np.abs(given_maps), strict=True):
        a = map_.ravel()
        if a.any():
            expected = -sum(v / a.sum() * math.log(v / a.sum()) for v in a if v)
            np.testing.assert_allclose(value, expected, rtol=0, atol=1e-13)  # as above


@given(maps(), st.sampled_from([1e-150, 1e-3, 7.0, 1e150]), SEEDS)
def test_neither_scale_nor_sign_nor_place_matters(given_maps, factor, seed):
    rng = np.random.default_rng(seed)
    other = factor * np.where(rng.random(given_maps.shape) < 0.5, 1, -1) * given_maps
    other = rng.permutation(other.reshape(len(other), -1), axis=1).reshape(other.shape)
    ours, theirs = scores(given_maps), scores(other)
    for name in ours.values:
        np.testing.assert_allclose(theirs[name], ours[name], rtol=0, atol=1e-13)  # rounding of the scale


def test_the_ends_of_the_scale():
    alone, flat = np.zeros((1, 1, 4, 5)), np.full((1, 1, 4, 5), -2.0)
    alone[0, 0, 2, 2] = -3
    found = scores(np.concatenate([alone, flat, 0 * flat]))
    np.testing.assert_allclose(found.score[:2], [1 - 1 / 20, 0], rtol=0, atol=1e-15)  # one rounding
    np.testing.assert_allclose(found["complexity"][:2], [0, math.log(20)], rtol=0, atol=1e-14)  # a sum of 20
    assert np.isnan(found.score[2])
    assert np.isnan(found["complexity"][2])


@given(maps())
def test_an_example_does_not_depend_on_its_batch_mates(given_maps):
    together = scores(given_maps)
    for row in range(len(given_maps)):
        alone = scores(given_maps[row : row + 1])
        for name in alone.values:
            np.testing.assert_array_equal(alone[name][0], together[name][row])
