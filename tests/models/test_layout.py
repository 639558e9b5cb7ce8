"""Where the channels are: the user's arrangement and the canonical one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathattr.common.axes import SPATIAL, SPECTRAL, Layout, spatial_labels, spectral_labels
from pathattr.errors import InvalidInput


@pytest.mark.parametrize(
    ("shape", "channel_axis", "labels", "canonical"),
    [
        ((5, 3, 8, 9), 1, "chw", (3, 8, 9)),
        ((5, 8, 9, 3), -1, "hwc", (3, 8, 9)),
        ((5, 8, 3, 9), 2, "hcw", (3, 8, 9)),
        ((5, 3, 4, 8, 9), 1, "cdhw", (3, 4, 8, 9)),
        ((5, 4, 8, 9, 3), 4, "dhwc", (3, 4, 8, 9)),
        ((5, 3, 40), 1, "cw", (3, 40)),
        ((5, 40, 3), 2, "wc", (3, 40)),
        ((5, 12, 7), None, "hw", (1, 12, 7)),
        ((5, 12), None, "w", (1, 12)),
        ((5, 4, 8, 9), None, "dhw", (1, 4, 8, 9)),
    ],
)
def test_labels_and_canonical_shape_by_hand(shape, channel_axis, labels, canonical):
    layout = Layout.of(shape, channel_axis, convention=1)
    assert layout.shape == shape[1:]
    assert layout.labels == labels
    assert layout.canonical(np.zeros(shape[1:])).shape == canonical


@given(st.data())
def test_restore_undoes_canonical_and_the_labels_say_how(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=2, max_size=6), label="shape"))
    axes = (
        st.none() if len(shape) == 2 else st.none() | st.integers(1, len(shape) - 1) | st.integers(1 - len(shape), -1)
    )
    layout = Layout.of(shape, data.draw(axes, label="channel_axis"), convention=1)
    example = np.random.default_rng(0).normal(size=shape[1:])
    canonical = layout.canonical(example)
    assert canonical.flags.c_contiguous
    np.testing.assert_array_equal(layout.restore(canonical), example)
    moved = np.einsum(f"c{spatial_labels(canonical.ndim - 1)}->{layout.labels}", canonical)
    np.testing.assert_array_equal(moved, example)


def test_canonical_is_float64_whatever_arrives():
    for dtype in (np.float16, np.float32, np.int64):
        layout = Layout.of((1, 2, 2, 3), -1, convention=1)
        assert layout.canonical(np.ones((2, 2, 3), dtype)).dtype == np.float64


@pytest.mark.parametrize("convention", [1, -1])
def test_auto_takes_the_frameworks_convention_for_pictures_and_volumes(convention):
    for shape in [(2, 3, 8, 9), (2, 3, 4, 8, 9)]:
        layout = Layout.of(shape, "auto", convention)
        assert layout.channel_axis == (0 if convention == 1 else len(shape) - 2)


@pytest.mark.parametrize("shape", [(5, 7), (5, 3, 40), (5, 3, 2, 2, 2, 2)])
def test_auto_asks_where_it_would_have_to_guess(shape):
    with pytest.raises(InvalidInput, match=r"Pass channel_axis=1 for .* or channel_axis=None"):
        Layout.of(shape, "auto", convention=1)


@pytest.mark.parametrize(
    ("shape", "channel_axis", "message"),
    [
        ((5, 3, 8), 0, "not an axis after the batch axis"),
        ((5, 3, 8), 3, "not an axis after the batch axis"),
        ((5, 3, 8), -3, "not an axis after the batch axis"),
        ((5, 3, 8), True, "must be an int, None or 'auto'"),
        ((5, 3, 8), 1.0, "must be an int, None or 'auto'"),
        ((5, 3, 8), "last", "must be an int, None or 'auto'"),
        ((5, 3), 1, "pass channel_axis=None"),
        ((5,), None, "one example is x\\[None\\]"),
        ((5, *(1,) * 7), None, "7 spatial axes; at most 6"),
    ],
)
def test_impossible_channel_axes_are_refused_with_the_shape(shape, channel_axis, message):
    with pytest.raises(InvalidInput, match=message):
        Layout.of(shape, channel_axis, convention=1)


def test_numpy_integers_are_integers():
    assert Layout.of((5, 8, 3), np.int64(2), convention=1).labels == "wc"


def test_no_letter_has_two_meanings():
    letters = SPATIAL + SPECTRAL + "bnck"
    assert len(set(letters)) == len(letters)
    assert (spatial_labels(2), spectral_labels(2)) == ("hw", "pq")
    for rank in range(1, 7):
        assert len(spatial_labels(rank)) == len(spectral_labels(rank)) == rank
