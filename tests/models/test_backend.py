"""The NumPy backend, the look-up of backends, and what a model may return."""

import subprocess
import sys
from collections import namedtuple
from importlib.metadata import EntryPoint
from types import MappingProxyType, ModuleType, SimpleNamespace

import numpy as np
import pytest

from pathattr import (
    Contrast,
    GradientCallback,
    InvalidInput,
    Linear,
    MissingExtra,
    ModelError,
    NumpyModel,
    PathExplainer,
    Samples,
)
from pathattr.families import FAMILIES
from pathattr.models.backend import Call
from pathattr.models.heads import chosen
from pathattr.models.numpy_backend import NumpyBackend
from pathattr.models.registry import backend_for, backends, load_backend
from pathattr.models.targets import LINKS, Objective
from reference import SmoothModel

SHAPE = (2, 4, 4)
SMOOTH = SmoothModel(SHAPE)
MODEL = NumpyModel(SMOOTH.value, SMOOTH.vjp)


def inputs(batch=3, shape=SHAPE):
    return np.random.default_rng(1).normal(size=(batch, *shape))


def ops():
    return NumpyBackend(MODEL, inputs(), Call())


# Products


class Checking(NumpyBackend):
    """Compares every product that a run takes with NumPy's own."""

    seen = 0

    def einsum(self, equation, left, right):
        product = super().einsum(equation, left, right)
        # Two orders of the same sum of at most 16 terms: 16 roundings of 1.1e-16, with room.
        np.testing.assert_allclose(product, np.einsum(equation, left, right), rtol=1e-13, atol=1e-13)
        type(self).seen += 1
        return product


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("channel_axis", [1, -1, None])
def test_every_product_of_a_run_is_that_of_numpy(monkeypatch, name, channel_axis):
    monkeypatch.setattr(Checking, "seen", 0)
    shape = (4, 4) if channel_axis is None else (4, 4, 2) if channel_axis == -1 else (2, 4, 4)
    smooth = SmoothModel(shape)
    explain = PathExplainer(
        NumpyModel(smooth.value, smooth.vjp), family=name, steps=5, batch_size=7, channel_axis=channel_axis,
        backend=Checking,
    )  # fmt: skip
    explain(inputs(2, shape))
    assert Checking.seen > 0


@pytest.mark.parametrize(
    ("equation", "left", "right"),
    [
        ("bn,bchw->bnchw", (2, 3), (2, 4, 5, 6)),  # nothing to sum
        ("bnchw,bchw->bn", (2, 3, 4, 5, 6), (2, 4, 5, 6)),  # nothing left over
        ("bnck,bckw->bnckw", (2, 3, 4, 5), (2, 4, 5, 6)),
        ("bnckw,bchk->bnhwc", (2, 3, 4, 5, 6), (2, 4, 7, 5)),  # any order of the output
        ("ph,bncpq->bncqh", (5, 6), (2, 3, 4, 5, 7)),  # the shared operand first
        ("bnk,bkzdhw->bnzdhw", (1, 3, 4), (1, 4, 2, 1, 2, 3)),
    ],
)
def test_einsum_equals_numpy_in_both_precisions(equation, left, right):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=left), rng.normal(size=right)
    expected = np.einsum(equation, a, b)
    np.testing.assert_allclose(ops().einsum(equation, a, b), expected, rtol=1e-12, atol=1e-13)
    single = ops().einsum(equation, a.astype(np.float32), b.astype(np.float32))
    assert single.dtype == np.float32
    # At most 120 products of order 1, each rounded to 6e-8.
    np.testing.assert_allclose(single, expected, atol=120 * 6e-8)


def test_the_bits_of_a_product_do_not_depend_on_the_block():
    rng = np.random.default_rng(0)
    gates, factor = rng.normal(size=(3, 8, 2, 5)), rng.normal(size=(3, 2, 5, 6))
    whole = ops().einsum("bnck,bckw->bnckw", gates, factor)
    sums = ops().einsum("bnckw,bckw->bnc", whole, whole[:, 0])
    for image in range(3):
        for node in range(8):
            part = ops().einsum(
                "bnck,bckw->bnckw", gates[image : image + 1, node : node + 1], factor[image : image + 1]
            )
            np.testing.assert_array_equal(part[0, 0], whole[image, node])
            alone = ops().einsum("bnckw,bckw->bnc", part, whole[image : image + 1, 0])
            np.testing.assert_array_equal(alone[0, 0], sums[image, node])


# Links


def numerical(score, outputs, h=1e-6):
    """Central differences of a score, row by row of outputs: every row's score depends on its own row only."""
    found = np.empty_like(outputs)
    for place in np.ndindex(outputs.shape[1:]):
        up, down = outputs.copy(), outputs.copy()
        up[(slice(None), *place)] += h
        down[(slice(None), *place)] -= h
        found[(slice(None), *place)] = (score(up) - score(down)) / (2 * h)
    return found


@pytest.mark.parametrize(("kind", "link"), LINKS)
@pytest.mark.parametrize("contrast", [False, True])
@pytest.mark.parametrize(("shape", "class_axis"), [((4,), -1), ((4, 3), 1)])
def test_the_cotangent_is_the_derivative_of_the_score(kind, link, contrast, shape, class_axis):
    rng = np.random.default_rng(3)
    outputs = rng.normal(size=(5, *shape))
    if link == "already":  # away from 0, where the logarithm bends more than differences can follow
        outputs = rng.uniform(0.2, 0.8, size=outputs.shape)
    objective = Objective(kind, LINKS[kind, link], class_axis)
    targets = np.stack([rng.integers(0, size, (5, 1 + contrast)) for size in shape], axis=-1)
    found = objective.cotangent(ops(), outputs, targets)
    expected = numerical(lambda o: objective.score(ops(), o, targets), outputs)
    # Truncation h²·f''' is about 1e-11 here, rounding 1e-16/h = 1e-10.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)
    assert np.abs(found).max() > 1e-3 or contrast  # a contrast of a class with itself is flat


def test_a_contrast_of_a_class_with_itself_is_flat():
    outputs = np.random.default_rng(0).normal(size=(2, 4))
    same = np.full((2, 2, 1), 3)
    objective = Objective("probability", "softmax")
    np.testing.assert_array_equal(objective.score(ops(), outputs, same), 0)
    np.testing.assert_array_equal(objective.cotangent(ops(), outputs, same), 0)


@pytest.mark.parametrize("link", ["softmax", "log_softmax", "sigmoid", "log_sigmoid"])
def test_links_do_not_overflow(link):
    outputs = np.array([[1000.0, -1000.0, 0.0]])
    linked = ops().link(link, outputs, -1)  # an overflow would be a warning, and warnings are errors here
    assert not np.isnan(linked).any()
    exact = {
        "softmax": [1, 0, 0],
        "log_softmax": [0, -2000, -1000],
        "sigmoid": [1, 0, 0.5],
        "log_sigmoid": [0, -1000, -np.log(2)],
    }
    np.testing.assert_allclose(linked[0], exact[link], rtol=1e-15)


# What models return


def is_array(thing):
    return isinstance(thing, np.ndarray)


A, B = np.zeros((2, 3)), np.ones((2, 3))
Heads = namedtuple("Heads", ["features", "logits"])


@pytest.mark.parametrize(
    "outputs",
    [
        A,
        [A],
        (A, None),
        (A, []),
        ((A,), None),
        Heads(B, A),
        {"logits": A, "hidden": B},
        {"out": A, "aux": B},
        {"scores": A},
        {"scores": A, "loss": None},
        SimpleNamespace(logits=A, hidden=B),
        (SimpleNamespace(logits=A),),
        {"output": B, "logits": A, "out": B},
        {"out": B, "output": A},
    ],
)
def test_the_output_that_is_meant_is_found(outputs):
    assert chosen(outputs, is_array) is A


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ({"left": A, "right": B}, r"dict with 'left' \(shape .*\), 'right' .*say head='left' or another"),
        ((A, B), r"tuple with 0 \(shape \(2, 3\)\), 1 .*: say head=0 or another"),
        ([A, B], "list with 0"),
        ((A, (B, B)), r"1 \(tuple\).*say head=0"),
        (({"logits": A}, B), r"0 \(dict\), 1 .*say head=1"),
        ({"loss": 1.0}, "returned float, not an array"),
        ({}, "dict"),
        ((), "tuple"),
        ([[]], "list"),
        (None, "NoneType"),
        ("text", "str"),
        (SimpleNamespace(logits="text"), "SimpleNamespace.*pass a function that returns the scores"),
    ],
)
def test_outputs_that_leave_a_choice_are_refused(outputs, said):
    with pytest.raises(ModelError, match=said):
        chosen(outputs, is_array)


@pytest.mark.parametrize(
    ("outputs", "head"),
    [
        ((B, A), 1),
        ((B, A), -1),
        ([B, A], 1),
        ((B, {"logits": A, "aux": B}), 1),
        ({"left": B, "right": A}, "right"),
        (Heads(A, B), "features"),
        (SimpleNamespace(logits=B, pooled=A), "pooled"),
    ],
)
def test_a_head_says_which_output_is_meant(outputs, head):
    assert chosen(outputs, is_array, head) is A


@pytest.mark.parametrize(
    ("outputs", "head", "said"),
    [
        ((A, B), 2, r"no head 2: they are 0 \(shape .*\), 1"),
        ({"left": A}, "right", r"no head 'right': they are 'left'"),
        (A, 1, r"they are one array of shape \(2, 3\)"),
        (A, "shape", "they are one array"),
        ((A, None), 1, "no head 1"),
    ],
)
def test_a_head_that_is_none_lists_those_that_are(outputs, head, said):
    with pytest.raises(InvalidInput, match=said):
        chosen(outputs, is_array, head)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (lambda p: SMOOTH.value(p)[:-1], r"returned shape \(5, 4\) for 6 points: expected one row for each"),
        (lambda p: SMOOTH.value(p).sum(), r"returned shape \(\) for 6 points"),
        (lambda p: [SMOOTH.value(p).tolist()], r"returned shape \(1, 6, 4\) for 6 points"),
        (lambda p: None, "returned NoneType: expected an array of real numbers"),
        (lambda p: np.zeros((len(p), 0)), r"\(6, 0\)"),
    ],
)
def test_a_model_with_outputs_of_the_wrong_shape_is_refused(value, said):
    with pytest.raises(ModelError, match=said):
        PathExplainer(NumpyModel(value, SMOOTH.vjp), steps=5)(inputs())


@pytest.mark.parametrize(
    "vjp",
    [
        lambda p, c: SMOOTH.vjp(p, c)[:, :1],
        lambda p, c: SMOOTH.vjp(p, c).sum(axis=0),
        lambda p, c: SMOOTH.vjp(p, c).reshape(len(p), -1),
    ],
)
def test_a_gradient_of_the_wrong_shape_is_refused(vjp):
    with pytest.raises(ModelError, match=r"vjp returned shape .*; expected the shape of the points, \(15, 2, 4, 4\)"):
        PathExplainer(NumpyModel(SMOOTH.value, vjp), steps=5)(inputs())


# Models of which less is known


def callback(value=True):
    """The smooth model's logits, one class at a time."""

    def gradient(points, target):
        assert isinstance(target, int)
        return SMOOTH.vjp(points, np.tile(np.eye(4)[target], (len(points), 1)))

    return GradientCallback(gradient, (lambda points, target: SMOOTH.value(points)[:, target]) if value else None)


@pytest.mark.parametrize("target", [2, [0, 3, 3], Contrast(1, 2), Contrast([0, 1, 2], 3)])
@pytest.mark.parametrize("batch_size", [4, 64])
def test_a_gradient_callback_explains_what_its_model_would(target, batch_size):
    x = inputs()
    options = {"steps": 6, "batch_size": batch_size, "baseline": Samples(inputs(2) + 1)}
    found = PathExplainer(callback(), **options)(x, target)
    plain = PathExplainer(MODEL, output="logit", **options)(x, target)
    for field in ("attributions", "score", "baseline_score", "gap", "lowest", "highest", "target", "evaluations"):
        # The model's own products of matrices of another size: a few roundings of numbers of order 1.
        np.testing.assert_allclose(getattr(found, field), getattr(plain, field), rtol=0, atol=1e-13, err_msg=field)


def test_without_values_gaps_and_scores_are_unknown_and_the_map_is_the_same():
    x = inputs()
    blind, seeing = (PathExplainer(callback(value), steps=6)(x, 1) for value in (False, True))
    np.testing.assert_array_equal(blind.attributions, seeing.attributions)
    for field in ("score", "baseline_score", "gap", "relative_gap", "lowest", "highest"):
        assert np.isnan(getattr(blind, field)).all(), field


@pytest.mark.parametrize("target", [None, Contrast(None, 1), -1, 1.0, True, "cat", [0, 1], (0, 1), Contrast(0, -1)])
def test_the_class_of_a_gradient_callback_must_be_said(target):
    with pytest.raises(InvalidInput, match="target"):
        PathExplainer(callback(), steps=3)(inputs(), target)


def test_a_gradient_callback_has_one_kind_of_output_and_no_further_arguments():
    with pytest.raises(InvalidInput, match="output='probability' of a GradientCallback"):
        PathExplainer(callback(), output="probability", steps=3)(inputs(), 1)
    with pytest.raises(InvalidInput, match="GradientCallback"):
        PathExplainer(callback(), steps=3)(inputs(), 1, kwargs={"scale": np.ones(3)})


@pytest.mark.parametrize(
    "model",
    [
        GradientCallback(lambda p, t: p[:, :1]),
        GradientCallback(lambda p, t: p[0]),
        GradientCallback(lambda p, t: p, lambda p, t: SMOOTH.value(p)),
        GradientCallback(lambda p, t: p, lambda p, t: 1.0),
    ],
)
def test_a_callback_of_the_wrong_shape_is_refused(model):
    with pytest.raises(ModelError, match=r"the callback returned shape .*; expected"):
        PathExplainer(model, steps=3)(inputs(), 1)


@pytest.mark.parametrize("keep", [False, True])
def test_a_score_and_its_gradient_are_a_model(keep):
    x = inputs()
    pair = (lambda p: (p**2).sum(axis=(1, 2, 3), keepdims=keep).reshape(len(p), *[1] * keep), lambda p: 2 * p)
    result = PathExplainer(pair, family=Linear(), steps=4)(x)
    np.testing.assert_allclose(result.attributions, x**2, rtol=1e-14)  # exact for the midpoint rule, 4 roundings
    np.testing.assert_allclose(result.score, (x**2).sum(axis=(1, 2, 3)), rtol=1e-14)


@pytest.mark.parametrize(
    "pair",
    [
        (SMOOTH.value, lambda p: p),  # four scores
        (lambda p: p.sum(), lambda p: p),
        (lambda p: p.sum(axis=(1, 2, 3)), lambda p: p[:, 0]),
    ],
)
def test_a_pair_that_is_no_score_and_gradient_is_refused(pair):
    with pytest.raises((ModelError, InvalidInput), match=r"shape|returned"):
        PathExplainer(pair, output="raw", steps=3)(inputs(), 0)


# Further arguments of the model


def scaled():
    """F = Σ scale·weight·x + shift, where scale and shift have a row per point and weight one for all."""

    def value(points, weight, *, scale, shift):
        assert weight.shape == SHAPE
        return (weight * points).reshape(len(points), -1).sum(axis=1) * scale + shift[:, 0]

    def vjp(points, cotangent, weight, *, scale, shift):
        assert len(points) == len(scale) == len(shift)
        return (cotangent * scale)[:, None, None, None] * np.broadcast_to(weight, points.shape)

    return NumpyModel(value, vjp)


@pytest.mark.parametrize("batch_size", [1, 4, 64])
@pytest.mark.parametrize("references", [1, 2])
def test_arguments_with_a_row_per_example_are_repeated_for_every_node(batch_size, references):
    rng = np.random.default_rng(0)
    x, weight = inputs(), rng.normal(size=SHAPE)
    scale, shift = np.array([1.0, -2.0, 0.5]), rng.normal(size=(3, 1))
    starts = rng.normal(size=(references, *SHAPE))
    explain = PathExplainer(scaled(), steps=6, batch_size=batch_size, baseline=Samples(starts))
    result = explain(x, args=(weight,), kwargs={"scale": scale, "shift": shift})
    expected = scale[:, None, None, None] * weight * (x - starts.mean(axis=0))
    # The gradient is constant: only roundings of some 1e-16 per node are left.
    np.testing.assert_allclose(result.attributions, expected, atol=1e-13)
    np.testing.assert_allclose(result.score, scale * (weight * x).sum(axis=(1, 2, 3)) + shift[:, 0])


def test_an_array_whose_first_axis_is_not_the_batch_is_passed_as_it_is():
    seen = []

    def value(points, table):
        seen.append(table.shape)
        return SMOOTH.value(points)

    PathExplainer(NumpyModel(value, lambda p, c, table: SMOOTH.vjp(p, c)), steps=5)(inputs(3), args=(np.zeros((5, 2)),))
    assert set(seen) == {(5, 2)}


def test_numpy_models_take_their_points_first():
    with pytest.raises(InvalidInput, match="input_name is for frameworks' models"):
        PathExplainer(MODEL)(inputs(), input_name="pixels")


# Look-up


def test_the_numpy_model_and_its_arrays_are_recognised():
    assert backend_for(MODEL, inputs()) is NumpyBackend
    assert load_backend("numpy") is NumpyBackend
    assert "numpy" in backends()


@pytest.mark.parametrize("given", [[[1.0, 2.0]], 3, None, "picture", iter([1.0])])
def test_inputs_of_an_unknown_type_are_refused(given):
    with pytest.raises(InvalidInput, match=rf"inputs of type {type(given).__name__} belong to no backend \(.*numpy"):
        PathExplainer(MODEL)(given)


@pytest.mark.parametrize("model", [3, None, "resnet50", [MODEL]])
def test_a_model_that_cannot_be_called_is_refused(model):
    with pytest.raises(InvalidInput, match=f"the model is a {type(model).__name__}: pass a module or a callable"):
        PathExplainer(model)(inputs())


def test_a_plain_function_of_arrays_has_no_gradient():
    with pytest.raises(InvalidInput, match=r"can be differentiated; got function.*NumpyModel\(value, vjp\)"):
        PathExplainer(SMOOTH.value.__func__)(inputs())


def test_an_unknown_backend_lists_the_names(monkeypatch):
    points(monkeypatch, "other")
    with pytest.raises(InvalidInput, match="unknown backend 'nosuch'; the names are numpy, other"):
        load_backend("nosuch")


class Named(NumpyBackend):
    """A backend of another name, with an option."""

    name = "named"
    options = MappingProxyType({"speed": 1})

    def __init__(self, model, inputs, call, options):
        super().__init__(model, inputs, call, options)
        made.append(options["speed"])


class Telling(NumpyBackend):
    """A backend that sees probabilities in the model."""

    model_link = "already"


made = []


def test_a_backend_can_be_forced_by_name_or_class():
    x = inputs()
    plain = PathExplainer(MODEL, steps=3)(x)
    for backend in ("numpy", NumpyBackend, Named):
        found = PathExplainer(MODEL, steps=3, backend=backend)(x)
        np.testing.assert_array_equal(found.attributions, plain.attributions)
    assert found.settings["backend"] == "named"


def test_options_reach_the_backend_with_their_defaults():
    x = np.full((1, *SHAPE), 0.5)
    for given, speed in (({}, 1), ({"speed": 7}, 7)):
        PathExplainer(MODEL, backend=Named, backend_options=given).path(x, [0.5])
        assert made[-1] == speed
    for backend, there in ((Named, "named .* it has speed"), ("numpy", "numpy .* it has none")):
        with pytest.raises(InvalidInput, match=there.replace(" .* ", " backend has no option sped; ")):
            PathExplainer(MODEL, backend=backend, backend_options={"sped": 7})(x)


@pytest.mark.parametrize("backend", ["nosuch", 3, NumpyModel, np.zeros(3)])
def test_what_is_no_backend_is_refused(backend):
    with pytest.raises(InvalidInput, match="backend"):
        PathExplainer(MODEL, backend=backend)(inputs())


CERTAIN = NumpyModel(  # two probabilities
    lambda p: np.stack([p[:, 0, 0, 0], 1 - p[:, 0, 0, 0]], axis=1),
    lambda p, c: (c[:, 0] - c[:, 1])[:, None, None, None] * np.eye(np.prod(SHAPE))[0].reshape(SHAPE),
)


def test_what_a_backend_knows_of_the_outputs_is_the_default_link():
    x = np.full((1, *SHAPE), 0.75)
    result = PathExplainer(CERTAIN, backend=Telling, steps=2)(x, 0)
    assert result.score == 0.75
    with pytest.warns(UserWarning, match="through a softmax as you or the model say"):  # the user's word holds
        PathExplainer(CERTAIN, backend=Telling, link="softmax", steps=2)(x, 0)


def test_the_logits_of_what_a_backend_knows_to_be_probabilities_cannot_be_had():
    with pytest.raises(InvalidInput, match="output='logit' of a model that returns probabilities"):
        PathExplainer(CERTAIN, backend=Telling, output="logit", steps=2)(np.full((1, *SHAPE), 0.75), 0)


def points(monkeypatch, name, value="pathattr_nosuch:Backend"):
    """Let one backend be published besides NumPy's."""
    published = [EntryPoint(name=name, value=value, group="pathattr.backends")]
    monkeypatch.setattr(
        "pathattr.models.registry.entry_points", lambda group: [p for p in published if p.group == group]
    )


def test_a_backend_without_its_framework_names_the_extra(monkeypatch):
    points(monkeypatch, "nosuch")
    assert sorted(backends()) == ["nosuch", "numpy"]  # listed all the same
    with pytest.raises(MissingExtra, match=r"nosuch backend cannot be loaded .*: pip install nosuch$"):
        load_backend("nosuch")
    points(monkeypatch, "torch")  # one of ours: an extra brings it
    with pytest.raises(MissingExtra, match=r"pip install 'pathattr\[torch\]'$"):
        load_backend("torch")


def test_an_entry_point_that_is_no_backend_is_refused(monkeypatch):
    points(monkeypatch, "odd", "pathattr.models.numpy_backend:NumpyModel")
    with pytest.raises(InvalidInput, match=r"'odd' of pathattr.backends gives .*NumpyModel.*, not a Backend"):
        load_backend("odd")


@pytest.mark.parametrize("module", [None, ModuleType("nosuch")])  # None in sys.modules hides a framework
def test_a_framework_whose_adapter_fails_does_not_stop_numpy(monkeypatch, module):
    points(monkeypatch, "nosuch")
    monkeypatch.setitem(sys.modules, "nosuch", module)
    assert backend_for(MODEL, inputs()) is NumpyBackend


def test_no_framework_is_imported_for_numpy():
    code = """
import sys
import numpy as np
import pathattr
linear = pathattr.NumpyModel(lambda p: p.sum(axis=(1, 2, 3)), lambda p, c: c[:, None, None, None] * np.ones_like(p))
for family in pathattr.SVD(), pathattr.DCT(), pathattr.Wavelet(), pathattr.Laplacian():
    pathattr.PathExplainer(linear, family=family, steps=4)(np.random.default_rng(0).normal(size=(2, 1, 8, 8)))
print(sorted({"torch", "tensorflow", "keras", "jax", "pathattr_torch"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


def test_results_come_in_the_precision_of_the_inputs():
    for dtype in (np.float16, np.float32, np.float64):
        result = PathExplainer(MODEL, family=Linear(), steps=4)(inputs().astype(dtype))
        assert result.attributions.dtype == dtype
        assert result.score.dtype == np.float64
