"""Grids of settings: lists and ranges, what is one row, what is refused; metrics by name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathattr.errors import InvalidInput
from pathattr.methods import path_explainer as explainer
from pathattr.methods import table as methods
from pathattr.metrics.metric import Metric
from pathattr.metrics.scores import Scores
from pathattr.metrics.table import METRICS, metrics_from
from pathattr.paths import baselines
from pathattr.studies import Grid, combined, summarised
from pathattr.studies.figures import against_overlap
from pathattr.studies.grid import numbers_of
from pathattr.studies.store import COSTS, Found
from pathattr.testing.models import TanhNetwork

# --- Grids ------------------------------------------------------------------------------------------------


def grid(**given):
    example = np.random.default_rng(0).normal(size=(1, 3, 8, 8))
    model = TanhNetwork.random((3, 8, 8)).model()
    return combined(Grid(**given), model, example, {"batch_size": 8})


def names(found):
    return [setting.name for setting in found.settings]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0.4", [0.4]),
        ("0.1:1.0:0.1", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        ("0:1:0.25, 0.1", [0.0, 0.25, 0.5, 0.75, 1.0, 0.1]),
        ("1:0:-0.5", [1.0, 0.5, 0.0]),
        ("0.2:0.9:0.3", [0.2, 0.5, 0.8]),
        ("0.4,0.4", [0.4]),
        ("0.3:0.3:1", [0.3]),
    ],
)
def test_lists_and_ranges(text, numbers):
    assert numbers_of("--overlap", text) == numbers


@pytest.mark.parametrize(
    "text", ["", "a", "0.1:1", "0:1:0", "0:1:-1", "0.1,,0.2", "nan", "0:inf:1", "0:1:0.0001", "0:1:1e-999999999"]
)
def test_faulty_lists_are_refused(text):
    with pytest.raises(InvalidInput, match="--overlap"):
        numbers_of("--overlap", text)


@given(st.integers(0, 40), st.integers(1, 20), st.integers(1, 30))
def test_a_range_holds_its_ends_and_what_is_between(start, step, count):
    text = f"{start / 100}:{(start + step * count) / 100}:{step / 100}"
    # Decimals of two digits: each value is the float nearest to its decimal.
    assert numbers_of("--overlap", text) == [(start + step * k) / 100 for k in range(count + 1)]


def test_the_grid_is_the_product():
    found = grid(families=["svd", "dct"], orderings=["energy", "rank"], overlaps=[0.2, 0.4], steps=5)
    assert names(found) == [
        f"{family} {ordering} ω={overlap}"
        for family in ("svd", "dct")
        for ordering in ("energy", "rank")
        for overlap in (0.2, 0.4)
    ]
    facts = found.settings[-1].facts
    assert facts == {
        "method": None, "family": "dct", "ordering": "rank", "schedule": "linear", "overlap": 0.4, "baseline": "zero",
        "channels": None, "output": None, "steps": "5", "tolerance": None,
    }  # fmt: skip
    made = found.settings[-1].explainer()
    assert (repr(made.ordering), made.schedule.overlap, made.steps) == ("Rank(scope='channel')", 0.4, 5)
    assert not found.same
    assert not found.refused


def test_combinations_that_mean_the_same_are_one_row_and_said():
    found = grid(families=["linear", "svd"], overlaps=[0.2, 0.4], orderings=["energy", "rank"], steps=5)
    assert names(found) == ["linear", *(f"svd {o} ω={w}" for o in ("energy", "rank") for w in (0.2, 0.4))]
    assert found.same == ["linear: 4 combinations are this one row"]
    assert found.settings[0].facts["overlap"] is None
    found = grid(families=["svd", "dct", "svd-joint"], channels=["separate", "joint"], steps=5)
    assert names(found) == ["svd", "svd-joint", "dct"]
    assert found.settings[1].explainer().family.channels == "joint"
    assert set(found.same) == {"dct: 2 combinations are this one row", "svd-joint: 3 combinations are this one row"}
    found = grid(methods=["ig", "sig"], families=["linear", "svd"], steps=5)
    assert names(found) == ["ig", "sig"]
    assert found.same == ["linear is the same as ig", "svd is the same as sig"]


def test_what_a_family_refuses_is_named_with_its_reason_and_left_out():
    found = grid(families=["svd", "dct"], orderings=["energy", "frequency"], steps=5)
    assert names(found) == ["svd energy", "dct energy", "dct frequency"]
    assert [name for name, _ in found.refused] == ["svd frequency"]
    assert "needs components that have a frequency" in found.refused[0][1]
    found = grid(families=["svd"], schedules=["linear", "step"])
    assert [name for name, _ in found.refused] == ["svd step-ramp"]
    with pytest.raises(InvalidInput, match="no setting of the grid can be: svd: ordering by scale"):
        grid(families=["svd"], orderings=["scale"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "needs a family or a method"),
        ({"families": ["sdv"]}, "Did you mean 'svd'"),
        ({"methods": ["igg"]}, "'gradient-input', 'smoothgrad'"),
        ({"families": ["svd"], "overlaps": [0.4, 1.2]}, "between 0 and 1"),
        ({"families": ["svd"], "schedules": ["ramp"]}, "'linear', 'cosine'"),
        ({"families": ["svd"], "orderings": ["size"]}, "'energy'"),
        ({"families": ["svd"], "baselines": ["grey"]}, "'black'"),
        ({"families": ["svd"], "channels": ["both"]}, "'separate', 'joint'"),
        ({"families": ["svd"], "outputs": ["odds"]}, "'probability', 'logit'"),
        ({"families": ["svd"], "tolerance": 2.0}, "between 0 and 1"),
    ],
)
def test_names_that_are_none_are_errors(given, message):
    with pytest.raises(InvalidInput, match=message):
        grid(**given)


def test_reference_methods_join_the_grid_at_the_same_tolerance():
    found = grid(methods=list(methods.METHODS), tolerance=0.1)
    made = {setting.name: setting.explainer() for setting in found.settings}
    assert list(made) == list(methods.METHODS)
    for name in ("ig", "sig", "blur-ig", "laplacian-ig"):
        assert isinstance(made[name], explainer.PathExplainer)
        assert (made[name].steps, made[name].tolerance) == ("auto", 0.1)
    assert isinstance(made["blur-ig"].baseline, baselines.Diffused)
    assert made["smoothgrad"].samples == 25
    made = {setting.name: setting.explainer() for setting in grid(methods=list(methods.METHODS), steps=7).settings}
    assert (made["smoothgrad"].samples, made["guided-ig"].path.steps, made["ig"].steps) == (7, 7, 7)


def test_baselines_vary_where_they_play_a_part():
    found = grid(methods=["ig", "smoothgrad", "blur-ig"], baselines=["zero", "mean"], steps=5)
    assert names(found) == ["ig from zero", "ig from mean", "smoothgrad", "blur-ig"]


# --- Metrics by name --------------------------------------------------------------------------------------


def test_metrics_by_name_with_their_fills():
    made = metrics_from(["diffid", "insertion", "road"])
    assert list(made) == ["diffid, mean fill", "diffid, zero fill", "diffid, blur fill", "insertion", "road"]
    made = metrics_from(["diffid", "deletion"], ["zero"])
    assert list(made) == ["diffid, zero fill", "deletion, zero fill"]
    assert all("ZeroFill()" in repr(metric) for metric in made.values())
    for name, make in METRICS.items():
        assert isinstance(make(), Metric), name
    with pytest.raises(InvalidInput, match="Did you mean 'diffid'"):
        metrics_from(["difid"])
    with pytest.raises(InvalidInput, match="'mean', 'zero', 'blur'"):
        metrics_from(["diffid"], ["grey"])


def test_scores_against_overlap_are_one_line_a_family_and_level_without_overlap():
    found = grid(families=["svd", "dct", "linear"], overlaps=[0.4, 0.2, 0.6], steps=3)
    rng = np.random.default_rng(0)
    results = {
        setting.name: Found(
            np.arange(5), np.zeros(5, int), {name: np.ones(5) for name in COSTS},
            {"m": Scores("m", {"m": rng.random(5)}, {"m": "higher"})}, {}, {},
        )
        for setting in found.settings
    }  # fmt: skip
    summary = summarised(results)
    figure = against_overlap(found.settings, summary)
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    assert list(lines) == ["svd", "dct", "linear"]
    assert list(lines["svd"].get_xdata()) == [0.2, 0.4, 0.6]
    expected = [results[f"svd ω={w}"].scores["m"].score.mean() for w in (0.2, 0.4, 0.6)]
    assert list(lines["svd"].get_ydata()) == pytest.approx(expected)
    assert lines["linear"].get_linestyle() == "--"
