"""Pointing game, mass inside and IoU against naive loops, and what must hold for all of them."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pathattr.errors import InvalidInput
from pathattr.metrics.localisation import IoU, MassInside, PointingGame
from pathattr.metrics.subject import Subject
from pathattr.testing.models import LinearModel
from pathattr.testing.strategies import SEEDS

METRICS = (PointingGame(2.5), MassInside(), IoU())


def subject(masks, channels=2):
    masks = np.asarray(masks)
    shape = (channels, *masks.shape[1:])
    return Subject(LinearModel(np.ones(shape)).model(), np.zeros((len(masks), *shape)), masks=masks, channel_axis=1)


@st.composite
def cases(draw, most=3):
    """A subject with masks (some of them empty or full), and maps with equal entries among them."""
    rng = np.random.default_rng(draw(SEEDS))
    batch, shape = draw(st.integers(1, most)), (draw(st.integers(1, 6)), draw(st.integers(1, 6)))
    masks = rng.random((batch, *shape)) < draw(st.sampled_from([0.0, 0.2, 0.7, 1.0]))
    maps = rng.normal(size=(batch, 2, *shape))
    return subject(masks), np.round(maps, 1) if draw(st.booleans()) else maps


def naive_pointing(map_, mask, tolerance, absolute):
    if not mask.any():
        return np.nan
    best, where = -np.inf, None
    for i in range(mask.shape[0]):
        for j in range(mask.shape[1]):
            value = sum(abs(v) if absolute else v for v in map_[:, i, j])
            if value > best:
                best, where = value, (i, j)
    near = [
        np.hypot(i - where[0], j - where[1]) < tolerance
        for i in range(mask.shape[0])
        for j in range(mask.shape[1])
        if mask[i, j]
    ]
    return float(any(near))


@given(cases(), st.sampled_from([0.5, 1, 1.5, 2.5, 15]), st.booleans())
def test_pointing_game_is_the_naive_one(case, tolerance, absolute):
    s, maps = case
    found = PointingGame(tolerance, absolute)(s, maps).score
    expected = [naive_pointing(a, m, tolerance, absolute) for a, m in zip(maps, s.masks, strict=True)]
    np.testing.assert_array_equal(found, expected)


def test_a_pixel_at_exactly_the_tolerance_is_too_far():
    masks = np.zeros((1, 1, 30), bool)
    masks[0, 0, 20] = True
    maps = np.zeros((2, 1, 30))
    maps[0, 0, 5], maps[1, 0, 6] = 1, 1
    s = subject(np.repeat(masks, 2, axis=0))
    assert PointingGame()(s, maps).score.tolist() == [0, 1]


def test_the_sign_decides_where_channels_are_summed():
    masks = np.array([[[True, False, False]]])
    maps = np.array([[[[1.0, -9.0, 0.0]], [[1.0, 9.0, 0.0]]]])
    assert PointingGame(1)(subject(masks), maps).score.tolist() == [1]
    assert PointingGame(1, absolute=True)(subject(masks), maps).score.tolist() == [0]


@given(SEEDS, st.integers(-3, 3), st.integers(-3, 3))
def test_moving_map_and_mask_together_moves_nothing(seed, down, right):
    rng = np.random.default_rng(seed)
    mask, map_ = np.zeros((12, 12), bool), np.zeros((12, 12))
    mask[3:9, 3:9] = rng.random((6, 6)) < 0.3
    map_[3:9, 3:9] = rng.random((6, 6))
    moved = [np.roll(array, (down, right), axis=(0, 1)) for array in (mask, map_)]
    pair = subject(np.stack([mask, moved[0]]))
    for metric, names in ((PointingGame(2), ["pointing"]), (MassInside(), None), (IoU(), ["iou_mass", "iou_full"])):
        found = metric(pair, np.stack([map_, moved[1]]))
        for name in names or found.values:
            # Equal sums in another order of summation.
            np.testing.assert_allclose(found[name][1], found[name][0], rtol=1e-12, err_msg=name)


@given(cases())
def test_mass_inside_a_mask_and_outside_it_sum_to_1(case):
    s, maps = case
    assume(s.masks.any(axis=(1, 2)).all() and not s.masks.all(axis=(1, 2)).any())
    inside, outside = MassInside()(s, maps), MassInside()(subject(~s.masks), maps)
    for name in inside.values:
        total = inside[name] + outside[name]
        defined = np.isfinite(total)
        np.testing.assert_allclose(total[defined], 1, rtol=1e-12)  # rounding of two sums of at most 72 terms
        if name != "positive_inside":  # every map has mass; not every one has a positive entry
            assert defined.all() or not np.abs(maps).sum(axis=(1, 2, 3)).all()


@given(cases())
def test_mass_inside_is_the_naive_share(case):
    s, maps = case
    found = MassInside()(s, maps)
    for row, (map_, mask) in enumerate(zip(maps, s.masks, strict=True)):
        for name, part in (("mass_inside", np.abs(map_)), ("positive_inside", np.where(map_ > 0, map_, 0))):
            inside = sum(part[c, i, j] for c in range(2) for i, j in np.argwhere(mask))
            expected = inside / part.sum() if mask.any() and part.sum() else np.nan
            np.testing.assert_allclose(found[name][row], expected, rtol=1e-12)  # the order of the sum


def naive_ious(map_, mask, metric):
    pixels = [(i, j) for i in range(mask.shape[0]) for j in range(mask.shape[1])]
    size = {p: abs(map_[0, p[0], p[1]]) + abs(map_[1, p[0], p[1]]) for p in pixels}
    ranked = sorted(pixels, key=lambda p: -size[p])  # stable: equal ones by place
    wanted = {p for p in pixels if mask[p]}

    def iou(chosen):
        return len(wanted & chosen) / len(wanted | chosen) if wanted else np.nan

    by_area = [iou(set(ranked[: int(q * len(pixels))])) for q in metric.areas]
    by_mass = []
    for m in metric.masses:
        chosen, held, total = set(), 0.0, sum(size[p] for p in ranked)
        for p in ranked:
            if held >= m * total * (1 - 1e-12):
                break
            chosen.add(p)
            held += size[p]
        by_mass.append(iou(chosen))
    return by_area, by_mass


@given(cases())
def test_iou_is_the_naive_one(case):
    s, maps = case
    metric = IoU(areas=(0.1, 0.5, 1.0), masses=(0.2, 0.5, 0.9, 1.0))
    found = metric(s, maps)
    for row, (map_, mask) in enumerate(zip(maps, s.masks, strict=True)):
        by_area, by_mass = naive_ious(map_, mask, metric)
        np.testing.assert_array_equal(found.curves["iou_area"].values[row], by_area)
        np.testing.assert_array_equal(found.curves["iou_mass"].values[row], by_mass)
        assert found["iou_area"][row] == np.mean(by_area) or not mask.any()
        assert found["iou_mass_best"][row] == np.max(by_mass) or not mask.any()


def test_a_map_equal_to_the_mask_reaches_1_at_its_own_area_and_at_all_of_its_mass():
    mask = np.zeros((1, 10, 10), bool)
    mask[0, 2:4, 3:8] = True  # a tenth of the picture
    found = IoU(areas=(0.1, 0.2), masses=(0.5, 1.0))(subject(mask), mask.astype(float))
    assert found.curves["iou_area"].values.tolist() == [[1, 0.5]]
    assert found.curves["iou_mass"].values.tolist() == [[0.5, 1]]


def test_floors_of_iou_are_the_whole_picture_and_a_centred_box():
    masks = np.zeros((2, 10, 10), bool)
    masks[0, 4:6, 3:7] = True  # itself the centred box
    masks[1, :2, :4] = True  # the same box in a corner
    found = IoU()(subject(masks), np.ones((2, 10, 10)))
    assert found["iou_full"].tolist() == [0.08, 0.08]
    assert found["iou_centre"].tolist() == [1, 0]
    assert found.better["iou_full"] is found.better["iou_centre"] is None


def test_the_centre_of_the_pointing_game_is_the_middle_of_the_picture():
    masks = np.zeros((2, 4, 4), bool)
    masks[0, 1, 1] = masks[1, 0, 0] = True  # √½ and 3√½ from the middle, which lies between four pixels
    assert PointingGame(1)(subject(masks), np.ones((2, 4, 4)))["pointing_centre"].tolist() == [1, 0]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: type(metric).__name__)
def test_an_empty_mask_is_left_out(metric):
    masks = np.zeros((2, 4, 4), bool)
    masks[1, :2] = True
    found = metric(subject(masks), np.ones((2, 4, 4)))
    for name, column in found.values.items():
        assert np.isnan(column[0]), name
        assert np.isfinite(column[1]), name


def test_a_map_of_zeros_points_to_the_first_pixel_and_holds_no_mass():
    s, zeros = subject(np.eye(4, dtype=bool)[None]), np.zeros((1, 4, 4))
    assert PointingGame(1)(s, zeros).score.tolist() == [1]  # that pixel is the mask's
    assert np.isnan(MassInside()(s, zeros).score).all()
    assert IoU()(s, zeros)["iou_mass"].tolist() == [0]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: type(metric).__name__)
@given(cases())
def test_an_example_does_not_depend_on_its_batch_mates(metric, case):
    s, maps = case
    together = metric(s, maps)
    for row in range(len(maps)):
        alone = metric(subject(s.masks[row : row + 1]), maps[row : row + 1])
        for name, column in alone.values.items():
            np.testing.assert_array_equal(column[0], together[name][row], err_msg=name)


def test_series_and_volumes_have_distances_too():
    masks = np.zeros((1, 3, 4, 5), bool)
    masks[0, 2, 3, 4] = True
    maps = np.zeros((1, 3, 4, 5))
    maps[0, 0, 3, 2] = 1  # √8 away
    assert PointingGame(2.8)(subject(masks), maps).score.tolist() == [0]
    assert PointingGame(2.9)(subject(masks), maps).score.tolist() == [1]
    series = Subject(LinearModel(np.ones(6)).model(), np.zeros((1, 6)), masks=np.eye(6)[:1], channel_axis=None)
    assert PointingGame(1)(series, np.eye(6)[:1]).score.tolist() == [1]


@pytest.mark.parametrize("tolerance", [0, -1, np.nan, "15", True])
def test_a_tolerance_is_a_distance(tolerance):
    with pytest.raises(InvalidInput, match="distance in pixels above 0"):
        PointingGame(tolerance)


@pytest.mark.parametrize("shares", [(), (0,), (1.1,), ("a",), 0.5])
def test_shares_lie_between_0_and_1(shares):
    assert IoU([0.5, 1]) == IoU((0.5, 1.0))
    with pytest.raises(InvalidInput, match="above 0 and up to 1"):
        IoU(areas=shares)
    with pytest.raises(InvalidInput, match="above 0 and up to 1"):
        IoU(masses=shares)


def test_masks_are_needed():
    plain = Subject(LinearModel(np.ones((1, 2, 2))).model(), np.zeros((1, 1, 2, 2)))
    for metric in METRICS:
        with pytest.raises(InvalidInput, match="where the object is"):
            metric(plain, np.ones((1, 2, 2)))
