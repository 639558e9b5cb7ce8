"""What settings mean together, what is refused, and that `but` says again what was said."""

import copy
import pickle
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given

import pathattr
from pathattr import (
    DCT,
    SVD,
    AdaptiveExplainer,
    ApproximationThenFinest,
    Diffused,
    Diffusion,
    Energy,
    GradientInput,
    GuidedIG,
    HeatRamp,
    InvalidInput,
    Laplacian,
    Linear,
    LinearRamp,
    NumpyModel,
    PathExplainer,
    Preprocessing,
    Shuffled,
    SmoothGrad,
    StepRamp,
    Wavelet,
    Zero,
)
from pathattr.integration.nodes import ArcLength, OutputAware, Refined, Uniform
from pathattr.methods.presets import PRESETS
from pathattr.methods.table import METHODS
from pathattr.testing import TanhNetwork

SHAPE = (2, 4, 4)
MODEL = TanhNetwork.random(SHAPE, classes=3).model()
INPUTS = np.random.default_rng(3).normal(size=(2, *SHAPE))

SAID = {
    "family": [None, "linear", "svd", "dct", SVD(channels="joint"), Laplacian(), Wavelet()],
    "ordering": [None, "energy", "rank", "shuffled", Diffusion(sigma=20.0), Energy(scope="joint")],
    "schedule": [None, "linear", "cosine", "step", LinearRamp(0.0), StepRamp(jumps="published"), HeatRamp()],
    "steps": [None, "auto", 1, 7, np.int64(5)],
    "tolerance": [None, 0.02, 0.3],
    "nodes": [None, "uniform", "arc-length", OutputAware(grid=5), Refined()],
    "rule": [None, "left", "midpoint", "trapezoid"],
    "preset": list(PRESETS),
    "baseline": [None, "zero", 0.5, Diffused(20.0), np.full(SHAPE, 0.1)],
    "output": [None, "logit", "probability"],
    "link": [None, "softmax"],
    "class_axis": [None, 1, np.int64(1)],
    "channel_axis": ["auto", None, 1],
    "batch_size": [32, "auto", 3],
    "components": [True, False],
    "seed": [0, 4],
    "preprocessing": [None, Preprocessing()],
}
SAYINGS = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in SAID.items()})


def decided(explainer):
    """Everything that was decided, as text."""
    names = (*explainer.own_settings, "baseline", *pathattr.methods.explainer.QuestionOptions.__annotations__)
    return {name: repr(getattr(explainer, name)) for name in names}


def outcome(make):
    """What was decided, or why it was refused."""
    try:
        return decided(make())
    except InvalidInput as error:
        return str(error)


def accepted(said):
    """The explainer of what was said; what is refused is no example."""
    made = outcome(lambda: PathExplainer(MODEL, **said))
    assume(not isinstance(made, str))
    return PathExplainer(MODEL, **said)


# but


@given(SAYINGS, SAYINGS)
def test_but_says_again_what_was_said_with_changes(first, changes):
    explainer = accepted(first)
    assert outcome(lambda: explainer.but(**changes)) == outcome(lambda: PathExplainer(MODEL, **(first | changes)))
    assert decided(explainer.but()) == decided(explainer)


@pytest.mark.parametrize(
    ("first", "changes", "expected"),
    [
        ({"family": "linear"}, {"family": "svd"}, {"schedule": LinearRamp(0.4), "ordering": Energy()}),
        ({"family": "linear", "schedule": LinearRamp(0.1)}, {"family": "svd"}, {"schedule": LinearRamp(0.1)}),
        ({"family": "svd"}, {"family": "laplacian"}, {"ordering": Laplacian().default_ordering}),
        ({"family": "svd", "ordering": "energy"}, {"family": "laplacian"}, {"ordering": Energy()}),
        ({}, {"steps": "auto"}, {"nodes": Refined(), "rule": "trapezoid", "tolerance": 0.02}),
        ({"steps": "auto"}, {"steps": 9}, {"nodes": Uniform(), "rule": "midpoint", "tolerance": None}),
        ({"steps": 9}, {"preset": "published"}, {"steps": 9, "rule": "left"}),
        ({}, {"preset": "published"}, {"steps": 199, "rule": "left"}),
        ({"preset": "published", "family": "laplacian"}, {"preset": None}, {"ordering": Laplacian().default_ordering}),
        ({}, {"preset": "blur-ig"}, {"family": DCT(), "schedule": HeatRamp(), "baseline": Diffused(35)}),
        ({"preset": "blur-ig"}, {"preset": None}, {"family": SVD(), "baseline": Zero()}),
        ({"family": "dct"}, {"ordering": "shuffled"}, {"ordering": Shuffled(of=DCT().default_ordering)}),
        ({"ordering": "shuffled"}, {"family": "dct"}, {"ordering": Shuffled(of=DCT().default_ordering)}),
        ({"nodes": "arc-length"}, {"nodes": None}, {"nodes": Uniform()}),
    ],
)
def test_what_follows_from_what_was_said_is_decided_anew(first, changes, expected):
    made = PathExplainer(MODEL, **first).but(**changes)
    assert {name: getattr(made, name) for name in expected} == expected


def test_a_line_becomes_a_spectral_path_and_not_another_line():
    line = PathExplainer(MODEL, family="linear", steps=20)
    spectral = line.but(family="svd")(INPUTS, 1)
    np.testing.assert_array_equal(
        spectral.attributions, PathExplainer(MODEL, family="svd", steps=20)(INPUTS, 1).attributions
    )
    assert np.abs(spectral.attributions - line(INPUTS, 1).attributions).max() > 1e-3
    assert "overlap=0.4" in spectral.settings["schedule"]


def test_records_tell_the_same_of_what_is_said_at_once_and_one_after_the_other():
    said = {"family": "dct", "steps": 4, "class_axis": np.int64(1), "seed": 3}
    at_once = PathExplainer(MODEL, **said)(INPUTS, 1)
    in_turn = PathExplainer(MODEL, preset="published", rule="right").but(preset=None, rule=None).but(**said)(INPUTS, 1)
    assert in_turn.settings == at_once.settings
    assert type(at_once.settings["class_axis"]) is int


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_told_again(name):
    explainer = METHODS[name](MODEL, steps=4, seed=2, baseline=0.25)
    again = explainer.but(batch_size=7, model=MODEL)
    assert decided(again) == decided(explainer) | {"batch_size": "7"}
    assert type(again) is type(explainer)
    assert (explainer.batch_size, again.batch_size) == (32, 7)


def test_what_was_said_is_read_only_and_keeps_nothing_of_the_callers():
    options: dict = {}
    explainer = PathExplainer(MODEL, steps=4, backend_options=options)
    options["speed"] = 3
    assert explainer.but().backend_options == {} == explainer.backend_options
    assert dict(explainer.said) == {"model": MODEL, "steps": 4, "backend_options": {}}
    with pytest.raises(TypeError):
        explainer.said["steps"] = 5
    assert dict(AdaptiveExplainer(MODEL, GuidedIG(3)).said) == {"model": MODEL, "path": GuidedIG(3)}


class Halved(GradientInput):
    """A method of a user's own, with an option of its own and one more way to pass the others on."""

    own_settings = ("share",)

    def __init__(self, model, share=0.5, **options):
        super().__init__(model, **options)
        self.share = share


def test_a_method_of_ones_own_is_told_again():
    assert Halved(MODEL, 0.25, seed=3).but(batch_size=2).share == 0.25
    assert repr(Halved(MODEL, 0.25, seed=3).but(share=0.75)) == "Halved(model, share=0.75, seed=3, baseline=Zero())"
    with pytest.raises(InvalidInput, match=r"Halved has no setting steps; the names are .*share"):
        Halved(MODEL).but(steps=3)


@pytest.mark.parametrize(
    ("explainer", "names"),
    [
        (PathExplainer(MODEL), "model, family, ordering, .*, preset, backend, backend_options$"),
        (SmoothGrad(MODEL), ".*batch_size, .*baseline, .*samples, "),
        (GradientInput(MODEL), "model, output, .*baseline, progress$"),
        (AdaptiveExplainer(MODEL, GuidedIG()), ".*baseline, .*path$"),
    ],
)
def test_a_setting_that_is_none_is_refused_with_the_names(explainer, names):
    with pytest.raises(InvalidInput, match=rf"{type(explainer).__name__} has no setting famly; the names are {names}"):
        explainer.but(famly="svd")


def total(points):
    return points.reshape(len(points), -1).sum(axis=1)


def ones(points, cotangent):
    return np.ones_like(points) * cotangent.reshape(-1, 1, 1, 1)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
def test_copies_are_told_again_like_the_first(duplicate):
    explainer = PathExplainer(NumpyModel(total, ones), family="dct", steps=3)
    assert decided(duplicate(explainer).but(family=None)) == decided(explainer.but(family=None))


# repr


@given(SAYINGS)
def test_repr_is_the_call_that_makes_it(said):
    said["baseline"] = None if isinstance(said.get("baseline"), np.ndarray) else said.get("baseline")
    explainer = accepted(said)
    names = (
        vars(pathattr) | {"model": MODEL} | {kind.__name__: kind for kind in (ArcLength, OutputAware, Refined, Uniform)}
    )
    again = eval(repr(explainer), dict(names))  # what it is meant for
    assert decided(again) == decided(explainer)


def test_repr_tells_what_is_not_as_ever():
    plain = repr(PathExplainer(MODEL))
    assert "tolerance" not in plain
    assert "batch_size" not in plain
    told = repr(
        PathExplainer(MODEL, steps="auto", output="logit", link="sigmoid", seed=3, components=False, batch_size=8)
    )
    for part in ("nodes=Refined()", "tolerance=0.02", "output='logit'", "link='sigmoid'", "seed=3"):
        assert part in told
    assert "components=False" in told
    assert "batch_size=8" in told
    assert repr(GradientInput(MODEL)) == "GradientInput(model, baseline=Zero())"
    assert repr(SmoothGrad(MODEL, samples=3, seed=1)) == "SmoothGrad(model, samples=3, seed=1, baseline=Zero())"
    assert "GuidedIG(steps=3, fraction=0.25, max_dist=0.02)" in repr(AdaptiveExplainer(MODEL, GuidedIG(3)))


# What goes together


REFUSED = {
    "tolerance without auto": (
        {"tolerance": 0.01},
        "tolerance=0.01 is what steps='auto' aims at, and a number of steps, here 200, aims at none",
        [{"steps": "auto"}, {"tolerance": None}],
    ),
    "rule of published jumps": (
        {"schedule": StepRamp(jumps="published"), "rule": "midpoint"},
        "published jumps take the gradient before each jump, which is rule='left'; got rule='midpoint'",
        [{"rule": None}, {"schedule": StepRamp(jumps="chord")}],
    ),
    "rule of the published preset": (
        {"preset": "published", "schedule": StepRamp(), "rule": "trapezoid"},
        "rule='left'; got rule='trapezoid': leave the rule out .* or leave the preset out",
        [{"rule": None}, {"preset": None}],
    ),
    "rule of refined nodes": (
        {"nodes": "refined", "rule": "midpoint", "steps": 20},
        "refined nodes are integrated by the trapezoidal rule; got rule='midpoint'",
        [{"rule": None}, {"nodes": "arc-length"}],
    ),
    "nodes and jumps": (
        {"nodes": "arc-length", "schedule": "step"},
        r"ArcLength\(\) nodes need a schedule without jumps: jumps are given their steps already",
        [{"schedule": LinearRamp(0.1)}, {"nodes": "uniform", "steps": 20}],
    ),
    "auto and nodes": (
        {"steps": "auto", "nodes": "uniform"},
        r"steps='auto' refines its nodes; nodes=Uniform\(\) takes a number of steps",
        [{"steps": 20}, {"nodes": None}],
    ),
    "heat and another order": (
        {"family": "svd", "schedule": HeatRamp()},
        r"HeatRamp\(\) takes a component's strength .*; Energy\(scope='channel'\) says something else",
        [{"preset": "blur-ig", "family": None}, {"schedule": LinearRamp()}],
    ),
    "heat and frequencies": (
        {"family": "dct", "schedule": HeatRamp(), "ordering": "shuffled"},
        r"HeatRamp\(\) takes .*Frequency",
        [{"preset": "blur-ig", "family": None, "ordering": None}],
    ),
    "heat of two sigmas": (
        {"preset": "blur-ig", "ordering": Diffusion(sigma=20.0)},
        r"HeatRamp\(\) deblurs from one sigma, and Diffusion\(.*sigma=20.0\) and Diffused\(sigma=35.0\) name two",
        [{"baseline": Diffused(20.0)}, {"ordering": Diffusion(sigma=35.0)}],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_means_nothing_beside_the_rest_is_refused_and_the_advice_works(case):
    said, message, advice = REFUSED[case]
    with pytest.raises(InvalidInput, match=message):
        PathExplainer(MODEL, **said)
    for changes in advice:
        assert np.isfinite(PathExplainer(MODEL, **(said | changes))(INPUTS, 1).attributions).all()


def test_a_line_takes_any_order_and_overlap_and_records_that_it_is_a_line():
    said = {"ordering": "scale", "schedule": LinearRamp(0.1), "steps": 6}
    found = PathExplainer(MODEL, family="linear", **said)(INPUTS, 1)
    np.testing.assert_array_equal(
        found.attributions, PathExplainer(MODEL, family=Linear(), steps=6)(INPUTS, 1).attributions
    )
    assert (found.settings["ordering"], found.settings["schedule"]) == (
        repr(Energy()), repr(replace(LinearRamp(), overlap=1.0))
    )  # fmt: skip


def test_a_blurred_path_keeps_its_order_when_it_is_shuffled():
    made = PathExplainer(MODEL, preset="blur-ig", ordering="shuffled")
    assert made.ordering == Shuffled(of=Diffusion(sigma=35.0))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"backend_options": 5}, r"backend_options must be a mapping of names to values, \{'name': value\}; got 5"),
        ({"backend_options": ["cudnn"]}, "backend_options must be a mapping"),
        ({"backend_options": {3: True}}, "backend_options must be a mapping"),
        ({"components": "no"}, "components must be True or False; got 'no'"),
        ({"components": None}, "components must be True or False; got None"),
        ({"progress": 5}, "progress must be True or False, or a callable .*; got 5"),
        ({"steps": np.array([3, 4])}, "steps must be a whole number"),
        ({"batch_size": np.array([3, 4])}, "batch_size must be a whole number"),
        ({"rule": np.array([3, 4])}, "rule must be one of 'left'"),
        ({"rule": ["left"]}, "rule must be one of 'left'"),
        ({"preset": ["published"]}, "preset must be one of"),
        ({"output": np.array([3, 4])}, "output must be one of"),
        ({"link": {"softmax"}}, "link must be one of"),
    ],
)
def test_options_of_the_wrong_type_are_refused(said, message):
    with pytest.raises(InvalidInput, match=message):
        PathExplainer(MODEL, **said)


@pytest.mark.parametrize("value", ["yes", None, 1])
def test_flags_are_true_or_false(value):
    with pytest.raises(InvalidInput, match=f"multiply must be True or False; got {value!r}"):
        SmoothGrad(MODEL, multiply=value)
    assert SmoothGrad(MODEL, multiply=np.bool_(True)).multiply is True


def test_the_published_preset_takes_families_and_their_order_as_published():
    for name in ("wavelet", "wavelet-coefficients"):
        made = PathExplainer(MODEL, preset="published", family=name)
        assert made.family == Wavelet(stop_at_odd=True)
        assert made.ordering == ApproximationThenFinest()
    assert PathExplainer(MODEL, family="wavelet").family == Wavelet()


def test_a_tolerance_that_is_said_is_what_refinement_aims_at():
    told = {tolerance: PathExplainer(MODEL, steps="auto", tolerance=tolerance) for tolerance in (0.3, 1e-3)}
    assert {tolerance: made.tolerance for tolerance, made in told.items()} == {0.3: 0.3, 1e-3: 1e-3}
    loose, strict = (made(INPUTS, 1).evaluations for made in told.values())
    assert (loose < strict).all()
