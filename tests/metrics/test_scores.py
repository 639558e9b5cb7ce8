"""What metrics return: columns, intervals, paired comparisons, joins, records and figures."""

import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special

from pathattr import InvalidInput, MissingExtra
from pathattr.metrics import Curve, Interval, Scores, bootstrap
from pathattr.metrics.plots import band, compared
from pathattr.metrics.scores import area, as_record
from pathattr.testing.properties import assert_close


def scores(values, other=None, metric="Metric()", points=4):
    values = np.asarray(values, dtype=float)
    curve = Curve(np.linspace(0.1, 0.9, points), np.outer(values, np.ones(points)), "share", "accuracy")
    columns = {"main": values, "side": values * 0 if other is None else np.asarray(other, dtype=float)}
    return Scores(metric, columns, {"main": "higher", "side": None}, {"first": curve, "second": curve})


# Intervals


def test_an_interval_covers_the_truth_as_often_as_it_says():
    # Lognormal samples of 40: skewed, of mean exp(1/8). The number of 400 intervals that cover it is binomial; BCa's
    # coverage there is known to fall short by some 3 points, and 400 draws waver by √(.95·.05/400) = 1.1 points.
    rng = np.random.default_rng(0)
    truth = np.exp(0.125)
    found = [bootstrap(np.exp(0.5 * rng.normal(size=40)), seed=seed) for seed in range(400)]
    coverage = np.mean([interval.low <= truth <= interval.high for interval in found])
    assert 0.95 - 0.03 - 3 * 0.011 <= coverage <= 0.95 + 3 * 0.011


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95])
def test_an_interval_of_normal_data_is_the_textbooks(confidence):
    values = np.random.default_rng(1).normal(size=400)
    interval = bootstrap(values, confidence=confidence)
    # z·s/√n; at 400 values skewness and Student's t move the ends by less than 1% of it, resampling by about 3%.
    half = {0.5: 0.6745, 0.8: 1.2816, 0.95: 1.96}[confidence] * values.std(ddof=1) / 20
    assert interval.count == 400
    assert_close(interval.mean, values.mean(), 1e-15)
    assert_close([interval.low, interval.high], [values.mean() - half, values.mean() + half], 0.1 * half)


def test_an_interval_of_skewed_data_is_bias_corrected_and_accelerated():
    # Efron 1987, written out over other resamples; percentiles alone would lie to the left.
    values = np.random.default_rng(2).exponential(size=25) ** 2
    means = np.random.default_rng(3).choice(values, (40000, 25)).mean(axis=1)
    rest = values.mean() - (values.sum() - values) / 24  # the mean less the means without each value
    acceleration = (rest**3).sum() / (6 * (rest**2).sum() ** 1.5)
    bias = special.ndtri((means < values.mean()).mean())
    shifted = bias + special.ndtri([0.025, 0.975])
    expected = np.quantile(means, special.ndtr(bias + shifted / (1 - acceleration * shifted)))
    found = np.mean(
        [[interval.low, interval.high] for interval in (bootstrap(values, seed=k) for k in range(16))], axis=0
    )
    width = np.ptp(expected)
    # Each end wavers by about 3% of the width, and the mean of 16 by a quarter of that.
    assert_close(found, expected, 0.04 * width)
    assert expected[1] - np.quantile(means, 0.975) > 0.1 * width


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(1).normal(size=20)
    assert bootstrap(values, seed=3) == bootstrap(values, seed=3)
    assert bootstrap(values, seed=3) != bootstrap(values, seed=4)


def test_values_that_are_not_defined_are_left_out():
    values = np.array([1.0, np.nan, 2.0, 4.0, np.inf])
    assert bootstrap(values) == bootstrap(values[[0, 2, 3]])
    assert scores(np.array([1.0, np.nan, 2.0])).mean() == 1.5
    assert np.isnan(scores([np.nan, np.nan]).mean())


def test_where_nothing_can_be_resampled_the_interval_says_so():
    none, one, equal = bootstrap(np.array([np.nan])), bootstrap(np.array([2.0])), bootstrap(np.full(3, 2.0))
    assert (none.count, np.isnan([none.mean, none.low, none.high]).all()) == (0, True)
    assert (one.count, one.mean, np.isnan([one.low, one.high]).all()) == (1, 2.0, True)
    assert equal == Interval(2.0, 2.0, 2.0, 3)
    assert not one.decided
    assert not none.decided


def test_an_interval_without_0_is_decided():
    assert Interval(0.2, 0.1, 0.3, 9).decided
    assert Interval(-0.2, -0.3, -0.1, 9).decided
    assert not Interval(0.1, -0.1, 0.3, 9).decided
    assert not Interval(0.1, 0.0, 0.3, 9).decided
    assert str(Interval(0.1234, -0.1, 0.3, 9)) == "0.123 [-0.100, 0.300]"


@pytest.mark.parametrize("confidence", [0, 1, 95, "high", float("nan"), True])
def test_a_confidence_that_is_no_share_is_refused(confidence):
    for ask in (bootstrap, band):
        with pytest.raises(InvalidInput, match="confidence is a share between 0 and 1"):
            ask(np.arange(6.0).reshape(3, 2) if ask is band else np.arange(3.0), confidence=confidence)


# Comparisons


def test_a_comparison_is_paired():
    rng = np.random.default_rng(0)
    hard = 10 * rng.normal(size=50)  # examples differ a hundred times as much as the methods do
    ours, theirs = scores(hard + 0.1 + 0.1 * rng.normal(size=50)), scores(hard)
    found = ours.compare(theirs)
    assert found == bootstrap(ours.score - theirs.score)
    assert found.decided
    assert ours.interval().low < theirs.mean() < ours.interval().high  # unpaired nothing could be told
    back = theirs.compare(ours)
    assert_close(back.mean, -found.mean, 1e-12)


def test_a_comparison_is_of_the_column_asked_for():
    assert scores([1, 2], [5, 9]).compare(scores([0, 0], [1, 1]), "side").mean == 6.0


@pytest.mark.parametrize("other", [scores([1, 2, 3], metric="Other()"), scores([1, 2])])
def test_what_cannot_be_paired_is_refused(other):
    with pytest.raises(InvalidInput, match="a comparison is paired, example by example"):
        scores([1, 2, 3]).compare(other)


# Columns, joins, records


def test_the_first_column_is_the_score():
    found = scores([1, 3], [2, 8])
    assert (found.name, found.score.tolist(), found["side"].tolist()) == ("main", [1, 3], [2, 8])
    assert (found.mean(), found.mean("side")) == (2, 5)
    assert found.interval("side") == bootstrap(np.array([2.0, 8.0]))
    assert "main 2.000" in repr(found)
    assert "2 examples" in repr(found)
    with pytest.raises(InvalidInput, match=r"Metric\(\) has no 'gap'; it has main, side"):
        found["gap"]


def test_joined_batches_are_one():
    whole = scores([1, 2, 3], [4, 5, 6])
    found = Scores.join([scores([1], [4]), scores([2, 3], [5, 6])])
    assert as_record(found) == as_record(whole)


def test_only_scores_of_one_metric_are_joined():
    with pytest.raises(InvalidInput, match="only scores of one metric"):
        Scores.join([scores([1]), scores([1], metric="Other()")])


def test_a_record_is_json_and_holds_everything():
    record = json.loads(json.dumps(as_record(scores([1, 2], points=2))))
    assert record["metric"] == "Metric()"
    assert record["values"] == {"main": [1, 2], "side": [0, 0]}
    assert record["better"] == {"main": "higher", "side": None}
    assert record["curves"]["first"] == {
        "x": [0.1, 0.9], "values": [[1, 1], [2, 2]], "x_label": "share", "y_label": "accuracy",
    }  # fmt: skip


def test_the_area_is_the_trapezoidal_rules_over_the_range():
    x = np.array([1.0, 2.0, 4.0])
    assert_close(area(x, np.array([[1.0, 3.0, 1.0], [2.0, 2.0, 2.0]])), np.array([(2 + 4) / 3, 2.0]), 1e-15)


# Figures


def test_a_figure_has_a_panel_a_curve_and_a_line_with_a_band():
    figure = scores([1, 2, 4]).plot()
    assert [axes.get_title() for axes in figure.axes] == ["first", "second"]
    for axes in figure.axes:
        (line,) = axes.lines
        assert_close(line.get_xdata(), np.linspace(0.1, 0.9, 4), 1e-15)
        assert_close(line.get_ydata(), np.full(4, 7 / 3), 1e-15)
        assert len(axes.collections) == 1
        assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_legend()) == ("share", "accuracy", None)


def lines(scores):
    return scores.metric, scores.curves


def test_a_comparison_has_a_line_a_method_and_a_legend():
    figure = compared({"ours": lines(scores([1, 2, 4])), "theirs": lines(scores([0, 1]))})
    assert [len(axes.lines) for axes in figure.axes] == [2, 2]
    assert [text.get_text() for text in figure.axes[-1].get_legend().get_texts()] == ["ours", "theirs"]


def test_one_example_and_unknown_values_can_be_drawn(tmp_path):
    scores([1]).plot().savefig(tmp_path / "one.png")
    scores([1, np.nan]).plot().savefig(tmp_path / "unknown.png")
    assert {path.name for path in tmp_path.iterdir()} == {"one.png", "unknown.png"}


def test_scores_without_the_same_curves_make_no_figure():
    bare = Scores("Bare()", {"main": np.ones(2)}, {"main": "higher"})
    for several in ({}, {"a": lines(bare)}, {"a": lines(scores([1])), "b": lines(bare)}):
        with pytest.raises(InvalidInput, match="a figure needs scores of one metric, with curves"):
            compared(several)
    with pytest.raises(InvalidInput, match=r"Bare\(\)"):
        bare.plot()


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"pathattr\[plot\]"):
        scores([1, 2]).plot()


def test_a_band_is_about_a_bootstrap_interval_at_each_point():
    values = np.random.default_rng(0).normal(size=(200, 3)) + np.arange(3)
    mean, low, high = band(values)
    for k in range(3):
        interval = bootstrap(values[:, k])
        # Two bootstraps of symmetric data: the ends of either waver by about 3% of the width.
        assert_close([mean[k], low[k], high[k]], [interval.mean, interval.low, interval.high], 0.1 * (high[k] - low[k]))


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 4)), elements=st.sampled_from([np.nan, 0, 1, 3]))
)
def test_a_band_holds_its_mean_and_only_unknown_points_have_none(values):
    mean, low, high = band(values)
    known = np.isfinite(values).any(axis=0)
    for part in (mean, low, high):
        assert (np.isfinite(part) == known).all()
    lowest, highest = (np.where(np.isfinite(values), values, end) for end in (np.inf, -np.inf))
    rounding = 1e-12
    assert (low[known] >= lowest.min(axis=0)[known] - rounding).all()
    assert (high[known] <= highest.max(axis=0)[known] + rounding).all()
    assert (low[known] <= high[known]).all()


def test_values_apart_by_rounding_alone_are_equal(recwarn):
    values = np.full(20, 1 / 3)
    values[:3] = np.nextafter(1 / 3, 1)
    for seed in range(5):
        interval = bootstrap(values, seed=seed)
        assert interval.low == interval.high == interval.mean
    assert not recwarn


def test_a_mean_and_its_interval_are_of_the_same_values():
    scores = Scores("m", {"a": np.array([1.0, np.inf, np.nan])}, {"a": None})
    assert scores.mean() == scores.interval().mean == 1.0
    with pytest.raises(InvalidInput, match="between two Scores; got list"):
        scores.compare([1.0])
