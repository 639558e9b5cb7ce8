"""Between raw pictures and what the model takes."""

import numpy as np
import pytest

from pathattr import InvalidInput, Preprocessing

MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.5, 2.0)


@pytest.mark.parametrize("spatial", [(4, 5), (2, 4, 5), (6,)])
def test_channels_are_normalised_one_by_one(spatial):
    raw = np.random.default_rng(0).uniform(size=(3, *spatial))
    inputs = Preprocessing(MEAN, STD).normalise(raw)
    for channel in range(3):
        np.testing.assert_array_equal(inputs[channel], (raw[channel] - MEAN[channel]) / STD[channel])
    # One rounding each of −, /, · and +, on numbers of order 1.
    np.testing.assert_allclose(Preprocessing(MEAN, STD).restore(inputs), raw, atol=1e-15)


def test_one_number_serves_every_channel():
    raw = np.random.default_rng(0).uniform(size=(3, 2, 2))
    np.testing.assert_array_equal(Preprocessing(0.5, 0.25).normalise(raw), (raw - 0.5) / 0.25)
    np.testing.assert_array_equal(
        Preprocessing(MEAN, 0.25).normalise(raw), Preprocessing(MEAN, (0.25, 0.25, 0.25)).normalise(raw)
    )


def test_nothing_given_means_pixels_as_they_are():
    raw = np.random.default_rng(0).uniform(size=(3, 2, 2))
    np.testing.assert_array_equal(Preprocessing().normalise(raw), raw)


def test_equal_settings_are_equal_and_print_alike():
    one, other = Preprocessing(list(MEAN), np.array(STD)), Preprocessing(MEAN, STD)
    assert one == other
    assert hash(one) == hash(other)
    assert repr(one) == repr(other)
    assert "np." not in repr(one)


@pytest.mark.parametrize("given", [np.zeros((4, 2, 2)), np.zeros((1, 2, 2))])
def test_another_number_of_channels_is_refused(given):
    with pytest.raises(InvalidInput, match=rf"has {len(given)} channels, but Preprocessing has mean=\(0.5, 0.4, 0.3\)"):
        Preprocessing(MEAN, STD).normalise(given)
    with pytest.raises(InvalidInput, match="give one number, or one per channel"):
        Preprocessing(0.0, STD).restore(given)


@pytest.mark.parametrize(
    "given",
    [
        {"std": 0.0},
        {"std": (1.0, -1.0)},
        {"std": np.inf},
        {"mean": np.nan},
        {"mean": [[0.5]]},
        {"mean": (1.0, 2.0), "std": (1.0, 2.0, 3.0)},
        {"mean": None},
        {"mean": ()},
        {"mean": "half"},
        {"mean": (0.5, (0.5, 0.5))},
    ],
)
def test_what_cannot_normalise_is_refused_at_once(given):
    with pytest.raises(InvalidInput, match="Preprocessing takes"):
        Preprocessing(**given)
