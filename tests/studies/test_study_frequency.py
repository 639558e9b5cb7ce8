"""Frequency content along a path."""

import numpy as np
import pytest

import pathattr as pa
from pathattr.studies.frequency import frequency_content
from pathattr.testing import LinearModel

ALPHA = (0.0, 0.2, 0.5, 0.9, 1.0)


def explained(family, shape=(2, 16, 16), **options):
    x = np.random.default_rng(3).normal(size=(2, *shape))
    return pa.PathExplainer(LinearModel(np.ones(shape)).model(), family=family, **options), x


def test_the_straight_line_switches_all_bands_on_alike():
    found = frequency_content(*explained("linear"), ALPHA, bands=5)
    # Rounding of the points.
    np.testing.assert_allclose(found, np.broadcast_to(np.array(ALPHA)[None, :, None], (2, 5, 5)), atol=1e-12)


def test_frequencies_come_from_coarse_to_fine():
    found = frequency_content(*explained("dct", schedule=pa.LinearRamp(overlap=0.1)), (0.35, 0.6), bands=4)
    # Windows of the lowest quarter end at 0.9·0.25 + 0.1 at the latest, those of the highest begin at 0.9·0.75.
    np.testing.assert_allclose(found[:, 0, 0], 1.0, atol=1e-12)  # rounding of the points
    np.testing.assert_allclose(found[:, 0, -1], 0.0, atol=1e-12)
    assert (np.diff(found, axis=1) >= -1e-12).all()
    assert (np.diff(found, axis=2) <= 1e-12).all()


@pytest.mark.parametrize("channel_axis", [1, -1])
def test_it_does_not_matter_where_the_channels_are(channel_axis):
    explainer, x = explained("svd")
    moved = np.moveaxis(x, 1, channel_axis)
    shape = moved.shape[1:]
    other = pa.PathExplainer(LinearModel(np.ones(shape)).model(), family="svd", channel_axis=channel_axis)
    expected = frequency_content(explainer, x, ALPHA)
    np.testing.assert_allclose(frequency_content(other, moved, ALPHA), expected, atol=1e-12)  # rounding of the points


def test_a_band_without_a_difference_is_nan():
    explainer, x = explained("linear")
    flat = np.ones_like(x)  # against zero: the constant frequency alone
    found = frequency_content(explainer, flat, (0.5,), bands=4)
    assert found[:, 0, 0] == pytest.approx(0.5)
    assert np.isnan(found[:, 0, 1:]).all()
