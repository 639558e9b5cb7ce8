"""What is given: inputs of any dtype and layout, models that spoil what they get, baselines and names."""

import functools
import subprocess
import sys
import warnings

import numpy as np
import pytest

from pathattr import (
    AdaptiveExplainer,
    Baseline,
    GradientCallback,
    GradientInput,
    GuidedIG,
    InvalidInput,
    ModelError,
    NumpyModel,
    PathExplainer,
    Samples,
    SmoothGrad,
)
from pathattr.integration.engine import Engine
from pathattr.integration.nodes import OutputAware
from pathattr.integration.quadrature import RULES
from pathattr.models.backend import Call
from pathattr.paths.adaptive import AdaptivePath, State
from pathattr.paths.schedules import LinearRamp
from pathattr.testing import TanhNetwork, frameworks

SHAPE = (2, 4, 4)
NETWORK = TanhNetwork.random(SHAPE, classes=3)
EXPLAINERS = {
    "path": lambda model, **options: PathExplainer(model, family="svd", steps=7, rule="trapezoid", **options),
    "refined": lambda model, **options: PathExplainer(model, family="dct", steps=30, nodes="refined", **options),
    "output-aware": lambda model, **options: PathExplainer(model, steps=9, nodes=OutputAware(grid=5), **options),
    "guided": lambda model, **options: AdaptiveExplainer(model, GuidedIG(6), **options),
    "gradient": GradientInput,
    "smoothgrad": lambda model, **options: SmoothGrad(model, samples=5, kind="variance", multiply=True, **options),
}


def inputs(batch=5):
    return np.random.default_rng(1).normal(size=(batch, *SHAPE))


def assert_same_bits(found, expected):
    for name in ("attributions", "score", "baseline_score", "gap", "lowest", "highest", "error", "evaluations"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


# Models that spoil what they are given


class Spoiling:
    """Wraps functions of NumPy arrays: writes into all that they were given, and returns one buffer at every call."""

    def __init__(self, function):
        self._function, self._buffer = function, np.empty(20_000)

    def __call__(self, *args, **kwargs):
        found = self._function(*(np.array(a) if isinstance(a, np.ndarray) else a for a in args), **kwargs)
        self._buffer[: found.size] = found.ravel()
        for given in (*args, *kwargs.values()):
            if isinstance(given, np.ndarray):
                given[...] = np.nan
        return self._buffer[: found.size].reshape(found.shape)


def value(points, scale=1.0, shift=0.0):
    return scale * NETWORK.value(points) + shift


def vjp(points, cotangent, scale=1.0, shift=0.0):
    return NETWORK.vjp(points, scale * cotangent)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 32])
@pytest.mark.parametrize("name", EXPLAINERS)
def test_a_model_may_write_into_points_and_arguments_and_reuse_its_buffer(name, batch_size):
    x, starts = inputs(), Samples(inputs(2) + 1)
    scale, shift = np.linspace(0.5, 1.5, 5)[:, None], np.array([0.1, 0.2, 0.3])
    asked = {"args": (scale,), "kwargs": {"shift": shift}}
    options = {"baseline": starts, "batch_size": batch_size}
    expected = EXPLAINERS[name](NumpyModel(value, vjp), **options)(x, **asked)
    found = EXPLAINERS[name](NumpyModel(Spoiling(value), Spoiling(vjp)), **options)(x, **asked)
    assert_same_bits(found, expected)
    np.testing.assert_array_equal(x, inputs())
    np.testing.assert_array_equal(scale, np.linspace(0.5, 1.5, 5)[:, None])
    np.testing.assert_array_equal(shift, [0.1, 0.2, 0.3])


def class_value(points, target):
    return NETWORK.value(points)[:, target]


def class_gradient(points, target):
    return NETWORK.vjp(points, np.eye(3)[[target] * len(points)])


@pytest.mark.parametrize("batch_size", [2, 32])
@pytest.mark.parametrize("name", EXPLAINERS)
def test_callbacks_and_pairs_may_too(name, batch_size):
    x, make = inputs(), functools.partial(EXPLAINERS[name], batch_size=batch_size)
    pair = (lambda points: class_value(points, 2), lambda points: class_gradient(points, 2))
    for plain, spoiling, target in (
        (GradientCallback(class_gradient, class_value),
         GradientCallback(Spoiling(class_gradient), Spoiling(class_value)), [0, 1, 2, 1, 0]),
        (pair, tuple(map(Spoiling, pair)), None),
    ):  # fmt: skip
        assert_same_bits(make(spoiling)(x, target), make(plain)(x, target))
    np.testing.assert_array_equal(x, inputs())


@pytest.mark.parametrize("batch_size", [2, 32])
def test_an_output_callable_may_reuse_its_buffer(batch_size):
    x, buffer = inputs(), np.empty(32)

    def output(outputs):
        buffer[: len(outputs)] = outputs[:, 1]
        return buffer[: len(outputs)]

    made = GradientInput(NumpyModel(value, vjp), output=output, batch_size=batch_size)
    backend, host, layout = made.prepared(x, Call())
    engine = Engine(backend, layout, LinearRamp(), RULES["left"], batch_size)
    _, _, score = made.resolved(engine, host, None)
    # The model's own products of matrices of another size: a few roundings of numbers of order 1.
    np.testing.assert_allclose(score, value(x)[:, 1], rtol=0, atol=1e-14)


class InPlace(AdaptivePath):
    """The straight line, by writing into the point and the gradients."""

    def init(self, starts, ends):
        self_state = State(starts.copy(), np.zeros(len(starts), bool))
        object.__setattr__(self, "way", (ends - starts) / self.steps)
        return self_state

    def step(self, state, gradients):
        gradients[...] = np.nan
        state.point[...] += self.way
        return state


def test_an_adaptive_path_may_move_its_point_in_place():
    x = inputs(2)
    found = AdaptiveExplainer(NumpyModel(value, vjp), InPlace(steps=5))(x, 1)
    line = PathExplainer(NumpyModel(value, vjp), family="linear", steps=5, rule="left")(x, 1)
    # Two ways to add up five points: some roundings of numbers of order 1.
    np.testing.assert_allclose(found.attributions, line.attributions, rtol=0, atol=1e-14)


class Zeroing(Baseline):
    """A baseline that edits the example that it is given, and returns it."""

    def __call__(self, example, context):
        example[...] = 0.25
        return example


class OneBuffer(Baseline):
    """A baseline that fills one buffer for every example."""

    buffer = np.empty(SHAPE)

    def __call__(self, example, context):
        self.buffer[...] = 0.5 * example
        return self.buffer


def test_a_baseline_may_write_into_its_example_and_reuse_its_buffer():
    x, model = inputs(), NumpyModel(value, vjp)
    for baseline, same in ((Zeroing(), 0.25), (OneBuffer(), 0.5 * x)):
        found = PathExplainer(model, baseline=baseline, steps=5)(x, 1)
        expected = PathExplainer(model, baseline=same, steps=5)(x, 1)
        np.testing.assert_array_equal(found.attributions, expected.attributions)
    np.testing.assert_array_equal(x, inputs())


# Inputs of any dtype and layout


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


LAYOUTS = {
    "read-only": read_only,
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "little-endian": lambda x: x.astype(x.dtype.newbyteorder("<")),
    "reversed": lambda x: np.ascontiguousarray(x[::-1, :, ::-1, ::-1])[::-1, :, ::-1, ::-1],
    "every other": lambda x: np.repeat(np.repeat(x, 2, axis=0), 3, axis=3)[::2, ..., ::3],
    "Fortran": np.asfortranarray,
    "broadcast": lambda x: np.broadcast_to(x[:1], x.shape),
    "unaligned": lambda x: np.frombuffer(b"\0" + x.tobytes(), x.dtype, offset=1).reshape(x.shape),
    "long double": lambda x: x.astype(np.longdouble),
    "masked nowhere": np.ma.masked_array,
}


@pytest.mark.parametrize("name", frameworks.names(None))
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_of_an_array_is_explained_alike_and_without_a_warning(name, layout):
    backend, model = frameworks.network(name, (2, 6, 5))
    x = np.random.default_rng(0).normal(size=(3, 2, 6, 5)).astype(np.float64 if name == "numpy" else np.float32)
    plain = np.ascontiguousarray(np.moveaxis(x, 1, backend.channel_axis))
    given, start = LAYOUTS[layout](plain), LAYOUTS[layout](0.3 * plain)
    same, same_start = (np.ascontiguousarray(array).astype(x.dtype) for array in (given, start))
    explain = PathExplainer(model, backend=backend, channel_axis=backend.channel_axis, steps=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = explain.but(baseline=start)(given, 1)
        expected = explain.but(baseline=same_start)(same, 1)
    assert found.attributions.dtype == given.dtype
    np.testing.assert_array_equal(found.attributions.astype(x.dtype), expected.attributions)


def test_results_do_not_share_memory_with_the_inputs():
    x = inputs()
    found = PathExplainer(NumpyModel(value, vjp), steps=3)(x, 1)
    assert not np.shares_memory(found.attributions, x)


def test_a_long_double_beyond_float64_is_named():
    x = inputs(2).astype(np.longdouble)
    x[1, 0, 2, 3] = np.longdouble("1e400")
    with pytest.raises(InvalidInput, match=r"inputs in float64 must be finite; .* 1 infinite, .* \(1, 0, 2, 3\)"):
        PathExplainer(NumpyModel(value, vjp))(x)


RECORD = np.dtype([("left", "f8"), ("right", "f8")])
NO_FLOATS = {
    "object": (inputs().astype(object), "got object: pass x.astype.float.", lambda x: x.astype(float)),
    "string": (inputs().astype(str), "got <U.*: read the numbers, x.astype.float.", lambda x: x.astype(float)),
    "bytes": (inputs().astype("S"), "got .S.*: read the numbers", lambda x: x.astype(float)),
    "datetime": (
        np.datetime64("2020-01-01T00:00:00") + inputs().astype(int).astype("m8[s]"),
        r"got datetime64.*x.min\(\)\) / np.timedelta64\(1, 's'\)",
        lambda x: (x - x.min()) / np.timedelta64(1, "s"),
    ),
    "timedelta": (
        inputs().astype(int).astype("m8[s]"),
        r"got timedelta64.*x / np.timedelta64\(1, 's'\)",
        lambda x: x / np.timedelta64(1, "s"),
    ),
    "structured": (
        np.ascontiguousarray(np.moveaxis(inputs(), 1, -1)).view(RECORD)[..., 0],
        r"got \[\('left'.*structured_to_unstructured\(x\)",
        lambda x: np.moveaxis(structured_to_unstructured(x), -1, 1),
    ),
    "complex": (
        inputs()[:, 0] + 1j * inputs()[:, 1],
        r"got complex128: pass real and imaginary parts .*np.stack\(\[x.real, x.imag\], axis=1\)",
        lambda x: np.stack([x.real, x.imag], axis=1),
    ),
    "whole": ((100 * inputs()).astype(int), "got int64: gradients .*Pass pictures as floats", lambda x: x / 255),
    "unsigned": (np.abs(50 * inputs()).astype(np.uint8), "got uint8: gradients .*x / 255", lambda x: x / 255),
    "boolean": (inputs() > 0, "got bool: gradients .*Pass pictures as floats", lambda x: x / 255),
    "masked": (
        np.ma.masked_greater(inputs(), 1.0),
        r"inputs: a masked array with \d+ entries masked was passed.*array.filled\(0\)",
        lambda x: x.filled(0.0),
    ),
}


def structured_to_unstructured(x):
    from numpy.lib import recfunctions

    return recfunctions.structured_to_unstructured(x)


@pytest.mark.parametrize("kind", NO_FLOATS)
@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_what_holds_no_floats_is_refused_and_the_advice_works(kind, name):
    x, message, advice = NO_FLOATS[kind]
    backend, model = frameworks.network(name, SHAPE)
    explain = PathExplainer(model, backend=backend, steps=3)
    with pytest.raises(InvalidInput, match=message):
        explain(x)
    assert np.isfinite(explain(advice(x), 1).attributions).all()


def test_a_masked_baseline_or_constant_is_refused_and_the_advice_works():
    x, model = inputs(), NumpyModel(value, vjp)
    masked = np.ma.masked_greater(x[0], 1.0)
    for wrap in (lambda array: array, lambda array: Samples(array[None])):
        with pytest.raises(InvalidInput, match=r"the baseline: a masked array .*array.filled\(0\)"):
            PathExplainer(model, baseline=wrap(masked), steps=3)(x)
        PathExplainer(model, baseline=wrap(masked.filled(0.0)), steps=3)(x)


class Frame:
    """What a frame of pandas or polars looks like from here."""

    def __init__(self, table):
        self._table = table
        self.shape = table.shape

    def to_numpy(self):
        return self._table


def test_frames_and_lists_are_told_how_to_become_arrays():
    network = TanhNetwork.random((1, 6)).model()
    model = NumpyModel(lambda p: network.value(p[:, None]), lambda p, c: network.vjp(p[:, None], c)[:, 0])
    explain = PathExplainer(model, family="linear", channel_axis=None, steps=3)
    frame = Frame((10 * np.random.default_rng(0).normal(size=(4, 6))).astype(int))
    with pytest.raises(InvalidInput, match=r"inputs of type .*Frame belong to no backend .*inputs.to_numpy\(\).astype"):
        explain(frame)
    expected = explain(frame.to_numpy().astype(float), 1)
    rows = frame.to_numpy().tolist()
    with pytest.raises(InvalidInput, match=r"of type list belong to no backend .*np.asarray\(inputs, dtype=float\)"):
        explain(rows)
    np.testing.assert_array_equal(explain(np.asarray(rows, dtype=float), 1).attributions, expected.attributions)


# Models


@pytest.mark.parametrize("model", [NumpyModel, TanhNetwork, functools.partial])
def test_a_class_in_the_place_of_a_model_is_refused(model):
    name = model.__name__
    with pytest.raises(InvalidInput, match=rf"the model is the class {name}: pass an object of it, {name}\(...\)"):
        PathExplainer(model)(inputs())
    with pytest.raises(InvalidInput, match=f"the model is the class {name}"):
        PathExplainer(model, backend="numpy")(inputs())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: NumpyModel(value, None), r"NumpyModel\(value, vjp\) takes functions of the points; its vjp is None"),
        (lambda: NumpyModel(TanhNetwork, vjp), "its value is <class"),
        (lambda: GradientCallback(np.ones(3)), r"GradientCallback\(gradient, value\) takes .* its gradient is array"),
        (lambda: GradientCallback(class_gradient, 5), "its value is 5"),
    ],
)
def test_a_model_is_made_of_functions(make, said):
    with pytest.raises(InvalidInput, match=said):
        make()


class Opaque:
    """Refuses to be an array."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("ask somebody else")


WRONG_VALUES = {
    "labels": (lambda p: value(p).argmax(axis=1), r"returned int64: expected scores.*outputs.astype\(float\)"),
    "booleans": (lambda p: value(p) > 0, "returned bool: expected scores"),
    "complex": (lambda p: value(p) + 0j, "returned ndarray of complex128: expected an array of real numbers"),
    "objects": (lambda p: value(p).astype(object), "of object: expected an array of real numbers"),
    "text": (lambda p: value(p).astype(str), "of <U.*: expected an array of real numbers"),
    "nothing": (lambda p: None, "returned NoneType: expected an array of real numbers"),
    "itself": (lambda p: NETWORK, "returned .*TanhNetwork: expected an array of real numbers"),
    "ragged": (lambda p: [[1.0], [1.0, 2.0]], "returned list, which is no array of numbers: .*inhomogeneous"),
    "opaque": (lambda p: Opaque(), "Opaque, which is no array of numbers: ask somebody else"),
    "masked": (lambda p: np.ma.masked_less(value(p), 0), r"masked array, .*return found.filled\(value\)"),
}


@pytest.mark.parametrize("kind", WRONG_VALUES)
def test_a_model_that_returns_no_scores_is_refused(kind):
    wrong, said = WRONG_VALUES[kind]
    said = said.replace("ndarray", "numpy.ndarray")
    with pytest.raises(ModelError, match=f"the model {said}|the model returned .*{said}|the model returned a {said}"):
        PathExplainer(NumpyModel(wrong, vjp), steps=3)(inputs())


def test_whole_scores_are_explained_as_the_error_says():
    def steps(p):
        return np.round(value(p)).astype(int)

    with pytest.raises(ModelError, match=r"return outputs.astype"):
        PathExplainer(NumpyModel(steps, vjp), steps=3)(inputs())
    assert np.isfinite(
        PathExplainer(NumpyModel(lambda p: steps(p).astype(float), vjp), steps=3)(inputs(), 1).attributions
    ).all()


@pytest.mark.parametrize("kind", [kind for kind in WRONG_VALUES if kind not in ("labels", "booleans")])
def test_a_gradient_that_is_no_array_of_numbers_is_refused(kind):
    wrong, said = WRONG_VALUES[kind]
    said = said.replace("ndarray", "numpy.ndarray")
    with pytest.raises(ModelError, match=f"vjp {said}|vjp returned .*{said}|vjp returned a {said}"):
        PathExplainer(NumpyModel(value, lambda p, c: wrong(p)), steps=3)(inputs())


def test_gradients_of_any_real_type_count():
    weight = np.arange(32).reshape(SHAPE) % 5 - 2

    def total(points):
        return (points * weight).sum(axis=(1, 2, 3))

    x = inputs()
    for dtype in (np.int64, np.int8, np.float16, np.float32, np.longdouble):
        whole = (total, lambda p, dtype=dtype: np.broadcast_to(weight.astype(dtype), p.shape))
        # A constant gradient: whatever the rule, w·(x − x'), but for the roundings of ten steps.
        np.testing.assert_allclose(PathExplainer(whole, steps=10)(x).attributions, weight * x, rtol=0, atol=1e-13)


# Names


def test_inputs_are_passed_once():
    torch = pytest.importorskip("torch")
    x = torch.randn(3, 4)

    def model(features):
        return torch.stack([features.sum(1), features.prod(1)], 1)

    explain = PathExplainer(model, family="linear", channel_axis=None, steps=3)
    with pytest.raises(InvalidInput, match="kwargs has 'features', which input_name says the inputs are"):
        explain(x, 0, input_name="features", kwargs={"features": x + 1})
    found = explain(x, 0, input_name="features")
    assert torch.equal(found.attributions, explain(x, 0).attributions)


@pytest.mark.parametrize("name", [5, b"features", ("features",)])
def test_an_input_name_is_a_name(name):
    with pytest.raises(InvalidInput, match="input_name is the name of the model's argument for the inputs; got "):
        PathExplainer(NumpyModel(value, vjp))(inputs(), input_name=name)


def test_a_name_that_the_model_does_not_have_is_refused_with_those_that_it_has():
    torch = pytest.importorskip("torch")
    x = torch.randn(3, 4)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 2)

        def forward(self, features, *, scale=1.0):
            return scale * self.layer(features)

    def anything(**kwargs):
        return kwargs["features"].sum(1)

    explain = PathExplainer(Net().eval(), family="linear", channel_axis=None, steps=3)
    with pytest.raises(InvalidInput, match=r"no argument 'feature' \(input_name\); .* by name are features, scale"):
        explain(x, 0, input_name="feature")
    explain(x, 0, input_name="features")
    explain.but(model=anything)(x, input_name="features")
    with pytest.raises(InvalidInput, match="none: leave input_name out"):
        explain.but(model=lambda x, /: x)(x, 0, input_name="x")
    explain.but(model=lambda x, /: x)(x, 0)


def test_pandas_is_not_imported():
    code = "import sys, pathattr; assert 'pandas' not in sys.modules and 'polars' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
