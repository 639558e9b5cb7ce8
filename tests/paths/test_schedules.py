"""Gates: how a component of strength s switches on."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import reference
from pathattr.errors import InvalidInput
from pathattr.paths.schedules import SCHEDULES, CosineRamp, LinearRamp, SigmoidRamp, StepRamp
from pathattr.testing.strategies import CONTINUOUS, RAMPS, overlaps, schedules

ALPHA = np.linspace(0, 1, 101)
STRENGTHS = np.linspace(0, 1, 21)
UNIT = st.floats(0, 1, allow_subnormal=False)


def gates(schedule, alpha=ALPHA[:, None], strengths=STRENGTHS):
    return schedule.gates(np, np.asarray(alpha, dtype=float), np.asarray(strengths, dtype=float))


def test_gates_stay_0_before_the_path_and_1_beyond_it():
    for ramp in RAMPS:
        assert (gates(ramp(), [[-0.5]]) == 0).all()
        assert (gates(ramp(), [[1.5]]) == 1).all()


@pytest.mark.parametrize("ramp", reference.RAMPS)
@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.4, 0.5, 0.9, 1.0])
def test_gates_equal_the_reference(ramp, overlap):
    expected = reference.gate(ALPHA[1:-1, None], STRENGTHS, ramp, overlap)
    # The logistic's quotient, times the rounding of the progress over the smallest overlap.
    found = gates(SCHEDULES[ramp](overlap), ALPHA[1:-1, None])
    if ramp == "step" or overlap == 0:
        start = (1 - overlap) * (1 - STRENGTHS) + (overlap / 2 if ramp == "step" else 0)
        away = np.abs(ALPHA[1:-1, None] - start) > 1e-12  # at the jump itself rounding decides
        found, expected = found[away], expected[away]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


def test_gates_by_hand():
    # Overlap 0.5 and strength 0.5: the window is [0.25, 0.75]; every number is exact in binary.
    alpha = [0.0, 0.25, 0.375, 0.5, 0.625, 0.75, 1.0]
    assert gates(LinearRamp(0.5), alpha, 0.5).tolist() == [0, 0, 0.25, 0.5, 0.75, 1, 1]
    assert gates(StepRamp(0.5), alpha, 0.5).tolist() == [0, 0, 0, 1, 1, 1, 1]
    low = 0.5 - np.sqrt(0.125)
    np.testing.assert_allclose(gates(CosineRamp(0.5), alpha, 0.5), [0, 0, low, 0.5, 1 - low, 1, 1], rtol=0, atol=1e-15)
    # The logistic is (1 + tanh(z / 2)) / 2: rescaled, ½ + ½ tanh(gain / 2 · (p − ½)) / tanh(gain / 4).
    for gain in (1.0, 12.0, 100.0):
        low = 0.5 - 0.5 * np.tanh(gain / 8) / np.tanh(gain / 4)
        found = gates(SigmoidRamp(0.5, gain=gain), alpha, 0.5)
        np.testing.assert_allclose(found, [0, 0, low, 0.5, 1 - low, 1, 1], rtol=0, atol=1e-14)
    # No overlap: a component jumps where its window would begin.
    assert gates(LinearRamp(0.0), alpha, 0.5).tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert gates(LinearRamp(0.0), alpha, 1.0).tolist() == [0, 1, 1, 1, 1, 1, 1]
    assert gates(LinearRamp(0.0), alpha, 0.0).tolist() == [0, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("ramp", RAMPS)
def test_full_overlap_is_the_ramp_itself(ramp):
    schedule = ramp(1.0)
    np.testing.assert_array_equal(gates(schedule)[:, 0], schedule.ramp(np, ALPHA))


def test_full_overlap_of_the_linear_ramp_is_the_straight_line():
    np.testing.assert_array_equal(gates(LinearRamp(1.0), ALPHA, 0.3), ALPHA)


@given(overlaps(), overlaps(), UNIT, UNIT)
def test_linear_gates_approach_the_straight_line_pointwise(one, other, alpha, strength):
    narrow, wide = sorted((one, other))
    distance = [abs(gates(LinearRamp(overlap), alpha, strength) - alpha) for overlap in (narrow, wide)]
    # (α − start) / ω: the rounding of a start near 1, over the overlap.
    assert distance[1] <= distance[0] + 1e-15 / max(wide, 1e-15)


@given(schedules(smallest=0.0), UNIT)
def test_steps_are_in_the_middle_of_windows_and_other_jumps_where_windows_begin(schedule, strength):
    assume(schedule.jumping)
    opening = schedule.openings(np.asarray(strength))
    middle = 0.5 * schedule.overlap if isinstance(schedule, StepRamp) else 0.0
    assert opening == pytest.approx((1 - schedule.overlap) * (1 - strength) + middle, abs=1e-15)  # three operations


@pytest.mark.parametrize("ramp", RAMPS)
def test_a_schedule_jumps_without_overlap_and_by_steps(ramp):
    assert ramp(0.0).jumping
    assert ramp(0.4).jumping == (ramp is StepRamp)


@pytest.mark.parametrize("ramp", CONTINUOUS)
def test_gates_stay_gates_at_the_smallest_overlaps(ramp):
    for overlap in (5e-324, 1e-310, 1e-300, 1e-16):
        table = gates(ramp(overlap))
        assert np.isin(table, [0, 1]).all() or overlap == 1e-16
        assert np.diff(table, axis=0).min() >= 0


@pytest.mark.parametrize("gain", [1e-300, 1e-17, 1e-15, 1e-3])
def test_gentle_sigmoids_are_lines_or_refused(gain):
    try:
        schedule = SigmoidRamp(1.0, gain=gain)
    except InvalidInput as error:
        assert "gain must lie in" in str(error)  # noqa: PT017 - either is right
        return
    # A logistic of gain g differs from a line by some g² / 200; 1e-9 leaves room for its quotient.
    np.testing.assert_allclose(gates(schedule, ALPHA, 0.5), ALPHA, rtol=0, atol=1e-9 + gain**2)


@pytest.mark.parametrize("overlap", [-0.1, 1.1, np.nan, np.inf, "0.4", None, True, [0.4]])
@pytest.mark.parametrize("ramp", RAMPS)
def test_overlaps_outside_0_to_1_are_refused(ramp, overlap):
    with pytest.raises(InvalidInput, match="overlap ω must be a number between 0 and 1; got"):
        ramp(overlap)


def test_numpy_numbers_are_numbers():
    assert LinearRamp(np.float32(0.5)).overlap == 0.5
    assert LinearRamp(1).overlap == 1


@pytest.mark.parametrize("gain", [0, -1, 101, np.nan, np.inf])
def test_gains_outside_their_range_are_refused(gain):
    with pytest.raises(InvalidInput, match="gain must lie in"):
        SigmoidRamp(gain=gain)


def test_gains_that_are_no_numbers_are_refused():
    with pytest.raises(InvalidInput, match="gain"):
        SigmoidRamp(gain="12")


def test_unknown_treatments_of_jumps_are_refused_with_the_names():
    with pytest.raises(InvalidInput, match="jumps must be one of 'chord', 'published'; got 'skip'"):
        StepRamp(jumps="skip")
