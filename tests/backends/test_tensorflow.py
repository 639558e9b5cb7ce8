"""The TensorFlow backend and what all Keras models share: the oracle's numbers, one trace, a model left alone."""

import gc
import json
import os
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

import pathattr as pa
import pathattr_keras
import reference
from pathattr import scenes
from pathattr.families import FAMILIES
from pathattr.models.specs import load_model
from pathattr.testing import backend_suite
from pathattr_keras import loaders as keras_loaders
from pathattr_tensorflow import TensorFlowBackend, tracing

SHAPE = (2, 9, 7)
SMOOTH = reference.SmoothModel(SHAPE, seed=2)


# Keras hands NumPy 2 its variables without the `copy` that it asks for.
of_keras = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


class Smooth(tf.Module):
    """The oracle's network in TensorFlow; `seen` has an entry for every time that Python runs through it."""

    def __init__(self, dtype=tf.float64, network=SMOOTH):
        super().__init__()
        arrays = (network.w1.T, network.b1, network.w2.T, network.b2)
        self.w1, self.b1, self.w2, self.b2 = (tf.Variable(tf.cast(array, dtype)) for array in arrays)
        self.seen = []

    def __call__(self, x):
        self.seen.append(tf.inside_function())
        return tf.tanh(tf.reshape(x, (x.shape[0], -1)) @ self.w1 + self.b1) @ self.w2 + self.b2


def pictures(count=3, shape=SHAPE):
    return np.random.default_rng(0).normal(size=(count, *shape))


def relative(a, b):
    return np.abs(np.asarray(a) - np.asarray(b)).max() / np.abs(np.asarray(b)).max()


def explainer(model, **settings):
    return pa.PathExplainer(model, **{"channel_axis": 1, "steps": 10, **settings})


def oracle(**settings):
    return explainer(pa.NumpyModel(SMOOTH.value, SMOOTH.vjp), **settings)


def keras_smooth(dtype="float64", **last):
    """The oracle's network for channels-first pictures as a Keras Sequential."""
    layers = [keras.Input(SHAPE, dtype=dtype), keras.layers.Flatten(data_format="channels_last", dtype=dtype)]
    layers += [keras.layers.Dense(len(SMOOTH.b1), activation="tanh", dtype=dtype)]
    model = keras.Sequential([*layers, keras.layers.Dense(len(SMOOTH.b2), dtype=dtype, **last)])
    model.set_weights([SMOOTH.w1.T, SMOOTH.b1, SMOOTH.w2.T, SMOOTH.b2])
    return model


# The contract and the oracle

test_contract_in_float64 = backend_suite(
    TensorFlowBackend, network=lambda spec: Smooth(network=spec), array=tf.constant
)
test_contract_in_float32 = backend_suite(
    TensorFlowBackend,
    network=lambda spec: Smooth(tf.float32, spec),
    array=tf.constant,
    dtype="float32",
    tolerance=1e-4,  # the suite's own bound for float32
)


@pytest.mark.parametrize("schedule", ["sigmoid", "step"])
@pytest.mark.parametrize("family", FAMILIES)
def test_attributions_and_components_equal_the_numpy_oracle(family, schedule):
    settings = {"family": family, "schedule": schedule, "steps": 30, "batch_size": 7}
    x = pictures()
    expected = oracle(**settings)(x, [0, 1, 2])
    found = explainer(Smooth(), **settings)(tf.constant(x), [0, 1, 2])
    # Both in float64: only the order of sums inside matrix products differs, about 1e-14.
    assert relative(found.attributions, expected.attributions) < 1e-10
    for ours, theirs in zip(found.components.attributions, expected.components.attributions, strict=True):
        assert relative(ours, theirs) < 1e-10
    assert relative(found.score, expected.score) < 1e-12
    assert found.evaluations.tolist() == expected.evaluations.tolist()


def test_float32_models_come_close_to_float64():
    x = pictures().astype(np.float32)
    single = explainer(Smooth(tf.float32), steps=50)(tf.constant(x), 1)
    double = explainer(Smooth(), steps=50)(x.astype(np.float64), 1)
    assert single.attributions.dtype == tf.float32
    # Increments between 50 points carry float32's 6e-8 fifty-fold; gradients a few units of it.
    assert relative(single.attributions, double.attributions) < 1e-4


@pytest.mark.parametrize("output", ["probability", "logit", "log_probability", "raw"])
@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_every_output_and_link_equals_the_oracle(output, link):
    x = pictures(2)
    target = pa.Contrast([0, 1], [2, 3])
    expected = oracle(output=output, link=link)(x, target)
    found = explainer(Smooth(), output=output, link=link)(tf.constant(x), target)
    # As above: float64 and the order of sums.
    assert relative(found.attributions, expected.attributions) < 1e-10
    assert relative(found.score, expected.score) < 1e-12


def test_channels_last_is_the_default_and_equals_channels_first_transposed():
    x = pictures()
    model = Smooth()
    first = explainer(model)(tf.constant(x), 1)
    last = pa.PathExplainer(lambda v: model(tf.transpose(v, (0, 3, 1, 2))), steps=10)(
        tf.constant(x.transpose(0, 2, 3, 1)), 1
    )
    assert last.channel_axis == 2
    # The same numbers in another order: roundings of 1e-16, and 1e-13 leaves room for the sums.
    assert relative(last.attributions, first.attributions.numpy().transpose(0, 2, 3, 1)) < 1e-13


def test_dense_outputs_and_models_with_one_output():
    x, model = pictures(2), Smooth()
    dense = explainer(lambda v: tf.reshape(model(v), (-1, 2, 2)), output="raw")(tf.constant(x), (1, 0))
    flat = explainer(model, output="raw")(tf.constant(x), 2)
    assert relative(dense.attributions, flat.attributions) < 1e-12
    single = explainer(lambda v: model(v)[:, 2])(tf.constant(x))
    assert relative(single.attributions, flat.attributions) < 1e-12


# Containers, dtypes, devices


def test_results_come_back_as_the_inputs_came():
    explain = explainer(Smooth())
    x = pictures(1)
    assert isinstance(explain(x).attributions, np.ndarray)
    for dtype in (tf.float64, tf.float32, tf.float16, tf.bfloat16):
        found = explain(tf.cast(x, dtype)).attributions
        assert isinstance(found, tf.Tensor)
        assert found.dtype == dtype
    assert explain(tf.Variable(x)).attributions.dtype == tf.float64
    targets = explain(tf.constant(x), tf.constant([2])).target
    assert targets.tolist() == [2]


def test_a_function_runs_in_the_dtype_of_the_inputs():
    x = tf.constant(pictures(1), tf.float32)
    found = explainer(lambda v: tf.reshape(v, (1 * v.shape[0], -1))[:, :4], output="raw")(x, 1)
    assert found.attributions.dtype == tf.float32


@pytest.mark.parametrize("kind", ["module", "function of half inputs", "Keras", "mixed Keras", "mixed, last in single"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_models_in_half_precision_are_scored_in_float32(dtype, kind):
    x = pictures()
    inputs, model = x, Smooth(getattr(tf, dtype))
    if kind == "function of half inputs":
        inner, inputs = model, tf.cast(x, dtype)
        arrays = [tf.constant(v.numpy()) for v in (inner.w1, inner.b1, inner.w2, inner.b2)]
        model = lambda v: tf.tanh(tf.reshape(v, (v.shape[0], -1)) @ arrays[0] + arrays[1]) @ arrays[2] + arrays[3]  # noqa: E731 - beside its neighbours
    elif kind != "module":
        layers = keras.layers
        policy = dtype if kind == "Keras" else f"mixed_{dtype}"
        stack = [layers.Flatten(dtype=policy), layers.Dense(12, activation="tanh", dtype=policy)]
        model = keras.Sequential(
            [keras.Input(SHAPE), *stack, layers.Dense(4, dtype="float32" if "last" in kind else policy)]
        )
        model.set_weights([SMOOTH.w1.T, SMOOTH.b1, SMOOTH.w2.T, SMOOTH.b2])
    found = explainer(model)(inputs, [0, 1, 2])
    assert found.settings["model_dtype"] == dtype
    expected = oracle()(x, [0, 1, 2])
    # Weights and points rounded to 8 or 11 bits, through two layers: a few units of 4e-3 or 5e-4.
    bound = 5e-2 if dtype == "bfloat16" else 5e-3
    assert relative(tf.cast(found.attributions, tf.float64), expected.attributions) < bound
    assert relative(found.score, expected.score) < bound
    assert np.abs(found.gap - expected.gap).max() < bound  # the rule's own, and what rounding adds


class Far(tf.Module):
    """A probability of about 1e-10, whose slopes float16 does not have."""

    def __init__(self, dtype):
        super().__init__()
        self.inner = Smooth(dtype)

    def __call__(self, x):
        return self.inner(x) + tf.constant([-20, 0, 0, 0], x.dtype)


def test_small_probabilities_have_gradients_in_float16():
    found, single = (explainer(Far(dtype))(pictures(), 0) for dtype in (tf.float16, tf.float32))
    assert (found.score < 1e-8).all()  # float16 ends at 6e-8
    assert relative(found.attributions, single.attributions) < 1e-2  # as above, through an exponential


def test_float32_models_say_nothing_of_their_dtype():
    assert "model_dtype" not in explainer(Smooth(tf.float32))(pictures(1), 0).settings


def test_weights_in_storage_say_nothing_of_the_dtype_that_is_computed_in():
    class Stored(tf.Module):
        """Holds its weights in eight bits."""

        def __init__(self):
            super().__init__()
            self.w = tf.Variable(tf.cast(SMOOTH.w1.T, tf.dtypes.experimental.float8_e4m3fn))

        def __call__(self, x):
            return tf.reshape(x, (x.shape[0], -1)) @ tf.cast(self.w, x.dtype)

    x, stored = pictures(2).astype(np.float32), Stored()
    found = explainer(stored, output="raw")(x, 1)
    weights = tf.cast(stored.w, tf.float32).numpy()[:, 1].reshape(SHAPE)
    # Linear: the attribution is weight times input, rounded in float32 a few times.
    np.testing.assert_allclose(found.attributions, weights * x, rtol=1e-4, atol=1e-6)
    assert "model_dtype" not in found.settings


@pytest.mark.parametrize("dtype", [tf.uint8, tf.int32, tf.bool])
@pytest.mark.parametrize("model", [Smooth(), lambda v: v])
def test_whole_numbers_are_refused_with_the_fix(dtype, model):
    with pytest.raises(pa.InvalidInput, match="embeddings"):
        explainer(model)(tf.ones((1, *SHAPE), dtype))


def test_constants_are_never_float32():
    x = pictures(1)
    backend = TensorFlowBackend(Smooth(), tf.constant(x), pa.models.backend.Call())
    wide = backend.wide(np.array([0.05, 0.15, 0.25]))
    # 0.1 and 0.2 are no float32 numbers: the least detour would cost 1e-9.
    assert backend.to_numpy(backend.clip(wide, 0.1, 0.2)).tolist() == [0.1, 0.15, 0.2]
    assert backend.to_numpy(backend.where(wide > 0.1, 0.1, 0.2)).tolist() == [0.2, 0.1, 0.1]
    assert backend.to_numpy(backend.where(wide > 0.1, 0.1, wide)).tolist() == [0.05, 0.1, 0.1]


def test_devices_by_name_and_models_that_cannot_be_moved(monkeypatch):
    assert TensorFlowBackend.devices()[0] == "cpu"
    model = Smooth()
    assert TensorFlowBackend.place(model, "cpu") is model
    monkeypatch.setattr(TensorFlowBackend, "devices", classmethod(lambda cls: ["cpu", "gpu:0"]))
    for there in (model, keras_smooth()):
        with pytest.raises(pa.InvalidInput, match=r"variables are on cpu, .*cannot move .*with tf\.device\('gpu:0'\)"):
            TensorFlowBackend.place(there, "gpu")


def test_the_callers_device_scope_and_the_models_are_respected():
    places = []

    def model(v):
        places.append(v.device)
        with tf.device("CPU:0"):
            return tf.reshape(v, (v.shape[0], -1)) * 2

    explainer(model, output="raw")(tf.constant(pictures(1)), 0)
    assert len(places) == 1


@pytest.mark.skipif(
    not tf.config.list_physical_devices("GPU"), reason="TensorFlow sees no GPU here: that path is untested"
)
@pytest.mark.parametrize("family", FAMILIES)
def test_gpu_equals_the_oracle(family):
    x = pictures()
    with tf.device("GPU:0"):
        model = Smooth()
    found = explainer(model, family=family, steps=30)(x, [0, 1, 2])
    # As on the CPU: float64, and another order of sums.
    assert relative(found.attributions, oracle(family=family, steps=30)(x, [0, 1, 2]).attributions) < 1e-10
    assert "GPU" in model.w1.device


def test_importing_changes_no_setting_and_initialises_no_device():
    code = (
        "import tensorflow as tf, keras, pathattr, sys\n"
        "from pathattr_tensorflow import TensorFlowBackend\n"
        "assert TensorFlowBackend.devices()[0] == 'cpu'\n"
        # TensorFlow refuses this once its devices are in use.
        "cpu = tf.config.list_physical_devices('CPU')[0]\n"
        "tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)\n"
        "assert tf.executing_eagerly() and keras.config.floatx() == 'float32'\n"
        # Variables on the second device stay there, and what is computed for them goes there.
        "with tf.device('CPU:1'): w = tf.Variable(tf.ones((12, 2)))\n"
        "class Model(tf.Module):\n"
        "    def __init__(self): self.w = w\n"
        "    def __call__(self, x): return tf.reshape(x, (x.shape[0], -1)) @ self.w\n"
        "found = pathattr.PathExplainer(Model(), output='raw', steps=2)(tf.ones((1, 2, 2, 3)), 0).attributions\n"
        "assert w.device.endswith('CPU:1') and found.device.endswith('CPU:0'), found.device\n"
        "print([m for m in ('torch', 'flax') if m in sys.modules])"  # TensorFlow itself imports jax where it can
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr


# Traces


@pytest.fixture
def differentiated(monkeypatch):
    """Return a list that grows by one for every gradient that is traced."""
    found = []
    tape = tf.GradientTape

    class Counting(tape):
        def __enter__(self):
            found.append(tf.inside_function())
            return super().__enter__()

    monkeypatch.setattr(tf, "GradientTape", Counting)
    return found


def test_a_call_with_ragged_blocks_traces_the_model_once(differentiated):
    model = Smooth()
    explain = explainer(model, family="svd", schedule="linear", steps=23, batch_size=7)
    first = explain(tf.constant(pictures()), [0, 1, 2])
    assert model.seen == [True]  # for outputs, scores and gradients alike, and never outside a trace
    assert first.evaluations.max() % 7
    assert differentiated == [True]
    explain(tf.constant(pictures(1) + 1), 3)
    explainer(model, family="dct", steps=11, batch_size=7)(pictures(2))
    assert model.seen == [True] * 3  # read anew by each call
    assert differentiated == [True]  # and found the same
    explainer(model, batch_size=5)(pictures(2))
    assert len(differentiated) == 2


def test_functions_of_the_users_own_are_traced_when_tensorflow_does_that(differentiated):
    model = Smooth()
    function = tf.function(model)
    saved = Saved()  # which a concrete function does not keep alive
    fixed = saved.__call__.get_concrete_function()
    expected = oracle()(pictures(1), 0).attributions
    for given in (function, fixed):
        explainer(given)(pictures(1), 0)
        traced, before = list(model.seen), len(differentiated)
        assert relative(explainer(given)(pictures(1), 0).attributions, expected) < 1e-10
        assert model.seen == traced
        assert len(differentiated) == before


def test_gradients_of_keras_models_are_kept(differentiated):
    model = keras_smooth()
    for _ in range(2):
        explainer(model)(pictures(1), 0)
    assert differentiated == [True]
    model.layers[-1].kernel.assign(2 * model.layers[-1].kernel)  # a variable is read when the graph runs
    changed = explainer(model, output="raw")(pictures(1), 0)
    assert len(differentiated) == 2  # another output
    bias = SMOOTH.b2[0]
    assert changed.score - bias == pytest.approx(2 * (oracle(output="raw")(pictures(1), 0).score - bias), rel=1e-10)


SHARED = Smooth()  # a tf.function does not keep what it is bound to alive


class Settings:
    factor = 1.0


FACTOR = 1.0


def weight_in(place):
    """Return a model that is linear in a factor, and what sets the factor where the model reads it."""
    net, held, table, listed, array = Smooth(), SimpleNamespace(factor=1.0), {"factor": 1.0}, [1.0], np.ones(())
    net.w3 = tf.Variable(1.0, dtype=tf.float64)

    def change(factor):
        held.factor = table["factor"] = listed[0] = factor
        array[...] = factor

    class Module(tf.Module):
        factor = 1.0

        def __call__(self, x):
            return self.factor * net(x)

    class Layer(keras.layers.Layer):
        def call(self, x):
            return held.factor * x

    own = Module()
    layer = Layer(dtype="float64")
    layer.factor = 1.0
    layered = keras.Sequential([*keras_smooth().layers, layer])
    lambdas = keras.Sequential(
        [*keras_smooth().layers, keras.layers.Lambda(lambda x: held.factor * x, dtype="float64")]
    )
    for made in (layered, lambdas):
        made.build((None, *SHAPE))
    return {
        "an object": (lambda x: held.factor * net(x), change),
        "a dict": (lambda x: table["factor"] * net(x), change),
        "a list": (lambda x: listed[0] * net(x), change),
        "an array changed in place": (lambda x: array * net(x), change),
        "a partial's dict": (partial(lambda x, table: table["factor"] * net(x), table=table), change),
        "the model itself": (own, lambda factor: setattr(own, "factor", factor)),
        "its class": (Module(), lambda factor: setattr(Module, "factor", factor)),
        "another class": (lambda x: Settings.factor * net(x), lambda factor: setattr(Settings, "factor", factor)),
        "the module": (lambda x: FACTOR * net(x), lambda factor: globals().update(FACTOR=factor)),
        "a variable in its place": (lambda x: net.w3 * net(x), lambda factor: net.w3.assign(factor)),
        "another variable": (
            lambda x: net.w3 * net(x), lambda factor: setattr(net, "w3", tf.Variable(factor, dtype=tf.float64))
        ),
        "a layer": (layered, change),
        "a Lambda layer": (lambdas, change),
    }[place]  # fmt: skip


PLACES = [
    "an object", "a dict", "a list", "an array changed in place", "a partial's dict", "the model itself", "its class",
    "another class", "the module", "a variable in its place", "another variable", "a layer", "a Lambda layer",
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_model_is_explained_as_it_is_now_wherever_it_keeps_what_has_changed(place, monkeypatch):
    monkeypatch.setitem(globals(), "FACTOR", 1.0)
    monkeypatch.setattr(Settings, "factor", 1.0)
    model, change = weight_in(place)
    x = tf.constant(pictures())
    target = [int(row.argmin()) for row in SMOOTH.value(pictures())]  # all below 0
    explain = explainer(model, output="raw", backend="tensorflow", family="linear")
    first = explain(x, target)
    assert (first.score < 0).all()
    change(2.0)
    second = explain(x, target)
    # Twice as much is exact in float64.
    assert relative(second.score, 2 * first.score) < 1e-12
    assert relative(second.attributions, 2 * first.attributions.numpy()) < 1e-10


def test_an_output_callable_is_read_as_it_is_now():
    chosen = {"class": 0}
    explain = explainer(Smooth(), output=lambda z: z[:, chosen["class"]])
    for now in (0, 1):
        chosen["class"] = now
        expected = oracle(output="raw")(pictures(1), now).attributions
        assert relative(explain(tf.constant(pictures(1))).attributions, expected) < 1e-10


def test_a_model_made_at_the_address_of_another_is_none_of_it():
    net, x = Smooth(), tf.constant(pictures(1))
    expected = explainer(net, output="raw")(x, 0).score
    for factor in range(1, 12):
        # Each is dropped before the next is made, most often in the same place.
        made = explainer(lambda v, factor=factor: factor * net(v), output="raw")
        assert relative(made(x, 0).score, factor * expected) < 1e-12
        del made
        gc.collect()


KEPT = "ignore:the model's outputs for an example depend on what else is in its batch"  # as batch statistics do


@of_keras
@pytest.mark.filterwarnings(KEPT)
@pytest.mark.parametrize("training", [None, True])
@pytest.mark.parametrize("way", ["lambda", "partial", "compiled", "object"])
def test_a_keras_model_that_a_function_holds_stays_as_it_is(way, training):
    layers = keras.layers
    stack = [layers.Flatten(), layers.Dense(12, activation="tanh"), layers.BatchNormalization(), layers.Dropout(0.5)]
    net = keras.Sequential([keras.Input(SHAPE), *stack, layers.Dense(4)])
    state = [v for layer in net.layers for v in layer.variables if v.path] + [net.layers[3].seed_generator.state]
    before = [np.array(v) for v in state]
    functions = {
        "lambda": lambda v: net(v, training=training),
        "partial": partial(net, training=training),
        "compiled": tf.function(lambda v: net(v, training=training)),
        "object": type("Holder", (tf.Module,), {"__call__": lambda self, v: net(v, training=training)})(),
    }
    x = tf.constant(pictures(2), tf.float32)
    first, second = (explainer(functions[way])(x, 1).attributions.numpy() for _ in range(2))
    assert np.array_equal(first, second)
    assert all(np.array_equal(a, np.array(v)) for a, v in zip(before, state, strict=True))
    if not training:
        assert relative(first, explainer(net)(x, 1).attributions) < 1e-5  # the same graph in float32


def test_a_module_that_writes_to_its_variables_is_refused_and_stays_as_it_is():
    class Normalised(tf.Module):
        """Batch statistics, kept in a variable."""

        def __init__(self):
            super().__init__()
            self.inner, self.mean = Smooth(), tf.Variable(tf.zeros(4, tf.float64))

        def __call__(self, v, training=True):
            out = self.inner(v)
            if training:
                self.mean.assign(0.9 * self.mean + 0.1 * tf.reduce_mean(out, 0))
            return out - self.mean

    model, x = Normalised(), tf.constant(pictures(2))
    for function in (model, lambda v: model(v), tf.function(model)):
        with pytest.raises(pa.ModelError, match=r"writes to its own variables .*\(training=False\)"):
            explainer(function)(x, 1)
    assert not model.mean.numpy().any()


@pytest.mark.parametrize("make", [Smooth, keras_smooth, lambda: tf.function(SHARED)])
def test_eight_threads_explain_one_model(make):
    batches = [np.random.default_rng(seed).normal(size=(2, *SHAPE)) for seed in range(8)]
    model = make()
    alone = [explainer(model)(x, 0).attributions for x in batches]
    model = make()  # not traced yet
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda x: explainer(model)(x, 0).attributions, batches))
    for a, b in zip(alone, together, strict=True):
        assert relative(a, b) < 1e-12  # the order of sums in products of several threads


SESSION = """
import numpy as np, tensorflow as tf, pathattr as pa
weights = tf.Variable(np.random.default_rng(0).normal(size=(12, 3)).astype("float32"))
x = tf.ones((1, 2, 2, 3))
for steps in range(1, 12):
    for model in (lambda v: tf.reshape(v, (v.shape[0], -1)) @ weights, tf.function(lambda v: tf.reshape(v, (-1, 12)) @ weights)):
        pa.PathExplainer(model, steps=steps, output=lambda z: z[:, 0])(x)
        pa.PathExplainer(model, steps=steps)(x, 1)
for size in range(300, 308):
    for family in (pa.DCT(), pa.Wavelet(components="coefficients")):
        mean = lambda v: tf.reduce_mean(v, axis=1, keepdims=True) * tf.ones((1, 3))
        pa.PathExplainer(mean, family=family, steps=2, channel_axis=None)(tf.ones((1, size)), 1)
"""  # noqa: E501 - a program, as a user types it


def test_a_session_of_several_explainers_prints_nothing():
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}  # TensorFlow's C++, at import
    done = subprocess.run(
        [sys.executable, "-c", SESSION], capture_output=True, text=True, check=False, timeout=300, env=quiet
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert "retracing" not in done.stderr


@pytest.mark.parametrize("make", [Smooth, keras_smooth, lambda: tf.function(SHARED)])
def test_traces_go_with_their_model(make):
    model = make()
    gone = weakref.ref(model)
    explainer(model)(pictures(1))
    assert model in tracing._OF_MODELS
    before = len(tracing._OF_MODELS)
    del model
    keras.backend.clear_session()
    gc.collect()
    assert gone() is None
    assert len(tracing._OF_MODELS) < before


def test_what_is_kept_of_a_model_is_bounded(monkeypatch):
    monkeypatch.setattr(tracing, "LIMIT", 2)
    model = Smooth()
    for size in (2, 5, 10):
        explainer(model, batch_size=size)(pictures(1))
    assert len(tracing._OF_MODELS[model]) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda model: setattr(model, "scale", 2.0),
        lambda model: setattr(model, "w", tf.Variable(2 * model.w)),
        lambda model: model.parts.append(lambda v: v**2),
        lambda model: model.w.assign(2 * model.w),
    ],
)
def test_a_model_changed_between_two_calls_is_seen_as_it_is(change):
    class Model(tf.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.parts = 1.0, [tf.tanh]
            self.w = tf.Variable(np.linspace(0.5, 1, 126)[:, None] * [1.0, -1.0])

        def __call__(self, x):
            x = tf.reshape(x, (x.shape[0], -1))
            for part in self.parts:
                x = part(x)
            return self.scale * (x @ self.w)

    x = tf.constant(pictures(1))
    changed, fresh = Model(), Model()
    before = explainer(changed, output="raw")(x, 0).attributions
    change(changed)
    change(fresh)
    after = explainer(changed, output="raw")(x, 0).attributions
    assert relative(after, explainer(fresh, output="raw")(x, 0).attributions) < 1e-12
    assert relative(after, before) > 0.1


def test_a_keras_activation_replaced_after_the_first_call_is_seen():
    model = keras_smooth(activation="softmax")
    x = pictures(1)
    explainer(model)(x, 0)
    model.layers[-1].activation = keras.activations.linear
    found = explainer(model, output="logit")(x, 0)
    assert relative(found.attributions, oracle(output="logit")(x, 0).attributions) < 1e-10


def test_models_that_cannot_be_referred_to_weakly_work():
    class Slotted:
        __slots__ = ("model",)

        def __init__(self):
            self.model = Smooth()

        def __call__(self, x):
            return self.model(x)

    x = pictures(1)
    found = explainer(Slotted(), backend="tensorflow")(x, 0)
    assert relative(found.attributions, oracle()(x, 0).attributions) < 1e-10


def test_compiled_by_xla_equals_the_oracle():
    x = pictures(2)
    model = Smooth()
    found = explainer(model, backend_options={"jit_compile": True})(tf.constant(x), [0, 1])
    assert relative(found.attributions, oracle()(x, [0, 1]).attributions) < 1e-10
    assert model.seen == [True]


# What models are, take and return


class Wrapped(tf.Module):
    def __init__(self, wrap):
        super().__init__()
        self.inner, self.wrap = Smooth(), wrap

    def __call__(self, x):
        return self.wrap(self.inner(x))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda z: (z, None),
        lambda z: {"logits": z, "hidden": z * 2},
        lambda z: {"anything": z},
        lambda z: SimpleNamespace(logits=z, attentions=None),
    ],
)
def test_outputs_in_tuples_dicts_and_objects_are_found(wrap):
    x = tf.constant(pictures(1))
    expected = explainer(Smooth())(x, 0).attributions
    assert np.array_equal(explainer(Wrapped(wrap))(x, 0).attributions, expected)


def test_a_dict_that_leaves_a_choice_lists_its_keys():
    with pytest.raises(pa.ModelError, match=r"^the model returns a dict with 'a' .*'b' .*: say head='a'"):
        explainer(Wrapped(lambda z: {"a": z, "b": z}))(tf.constant(pictures(1)))


def test_functions_and_output_callables_of_the_framework():
    model = Smooth()
    x = tf.constant(pictures(2))
    contrast = explainer(model, output="logit")(x, pa.Contrast(1, 0)).attributions
    for function in (model, lambda v: model(v), tf.function(model), model.__call__):
        margin = explainer(function, output=lambda z: z[:, 1] - z[:, 0])(x)
        assert relative(margin.attributions, contrast) < 1e-12
    with pytest.raises(pa.ModelError, match="one score a row"):
        explainer(model, output=lambda z: z)(x)


def test_numpy_inputs_of_a_traced_function_and_of_a_forced_backend():
    model = Smooth()
    x = pictures(1)
    expected = oracle()(x, 0).attributions
    assert relative(explainer(tf.function(model))(x, 0).attributions, expected) < 1e-10
    assert relative(explainer(lambda v: model(v), backend="tensorflow")(x, 0).attributions, expected) < 1e-10


def branching(v):
    score = tf.reshape(v, (v.shape[0], -1))[:, :3]
    if tf.reduce_sum(tf.abs(score)) >= 0:
        score = 3 * score
    return score


def test_a_python_branch_on_a_tensor_works_as_in_a_tf_function():
    x = tf.constant(pictures(1))
    found = explainer(branching, output="raw")(x, 1).attributions.numpy().reshape(-1)
    # Linear: the attribution is weight times input, in one rounding a node.
    assert np.allclose(found[1], 3 * pictures(1).reshape(-1)[1], rtol=1e-12)
    assert np.abs(np.delete(found, 1)).max() < 1e-12


def test_a_model_that_gathers_its_input():
    x = tf.constant(pictures(2))
    found = explainer(lambda v: tf.gather(tf.reshape(v, (v.shape[0], -1)), [5, 0, 5], axis=1), output="raw")(x, 0)
    expected = np.zeros(x.shape)
    expected.reshape(2, -1)[:, 5] = pictures(2).reshape(2, -1)[:, 5]
    assert np.allclose(found.attributions, expected, atol=1e-12)  # linear, as above
    rows = explainer(lambda v: tf.reshape(tf.gather(v, tf.range(v.shape[0])), (v.shape[0], -1)), output="raw")(x, 5)
    assert np.allclose(rows.attributions, expected, atol=1e-12)


def test_outputs_of_unknown_shape():
    model, x = Smooth(), pictures(2)
    found = explainer(lambda v: tf.py_function(model, [v], tf.float64))(tf.constant(x), [0, 1])
    assert relative(found.attributions, oracle()(x, [0, 1]).attributions) < 1e-10


class Masked(tf.Module):
    """Weighs the features by a mask of its own for each example."""

    def __init__(self):
        super().__init__()
        self.inner = Smooth()

    def __call__(self, values, mask=None, scale=1.0):
        assert mask is None or mask.shape[0] == values.shape[0]
        return self.inner(values if mask is None else values * tf.cast(mask, values.dtype) * scale)


@pytest.mark.parametrize("convert", [tf.constant, np.asarray, tf.Variable, lambda mask: mask.astype(np.float32)])
@pytest.mark.parametrize("how", ["args", "kwargs", "named"])
def test_further_inputs_are_repeated_for_every_node(how, convert):
    x = tf.constant(pictures(3))
    mask = np.random.default_rng(1).random((3, *SHAPE)) > 0.5
    call = {
        "args": {"args": (convert(mask), 0.5)},
        "kwargs": {"kwargs": {"mask": convert(mask), "scale": 0.5}},
        "named": {"kwargs": {"mask": convert(mask), "scale": 0.5}, "input_name": "values"},
    }[how]
    model = Smooth()
    together = explainer(Masked(), batch_size=4)(x, 0, **call)
    for i in range(3):
        alone = explainer(lambda v, i=i: model(v * mask[i] * 0.5))(x[i : i + 1], 0)
        # The same products, in float64: the order of sums.
        assert relative(together.attributions[i], alone.attributions[0]) < 1e-12
    # What a mask hides has no gradient.
    assert (together.attributions.numpy()[~mask] == 0).all()


# Bad input


def test_errors_of_the_models_own_come_through():
    def model(x):
        raise KeyError("weights")

    try:
        raise pa.ModelError("an older problem")
    except pa.ModelError:
        with pytest.raises(KeyError, match="weights"):
            explainer(model)(tf.constant(pictures(1)), 0)


def test_not_finite_along_the_path_names_image_and_alpha():
    def model(x):  # sqrt has an infinite slope where the second image's path passes 0
        score = tf.sqrt(tf.abs(tf.reshape(x, (x.shape[0], -1))[:, :1] - 0.5))
        return tf.concat([score, -score], 1)

    x = np.full((2, *SHAPE), 0.25)
    x[1] = 1.0
    with pytest.raises(pa.ModelError, match=r"image 1: its gradient is not finite at α = 0\.5 "):
        explainer(model, family="linear", steps=5, output="logit")(tf.constant(x), 0)


def test_inputs_of_another_framework_are_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(pa.InvalidInput, match=r"a tensorflow model with inputs of type torch\.Tensor"):
        explainer(Smooth())(torch.tensor(pictures(1)))


# Keras


@pytest.mark.parametrize("kind", ["sequential", "functional", "subclass"])
def test_keras_models_equal_the_oracle(kind):
    inner = keras_smooth()

    class Subclass(keras.Model):
        def __init__(self):
            super().__init__(dtype="float64")
            self.inner = inner

        def call(self, x):
            return self.inner(x)

    x = pictures(2)
    source = keras.Input(SHAPE, dtype="float64")
    model = {
        "sequential": lambda: inner,
        "functional": lambda: keras.Model(source, inner(source)),
        "subclass": Subclass,
    }[kind]()
    model(x)
    for array in (x, tf.constant(x)):
        found = explainer(model)(array, [0, 1])
        assert relative(found.attributions, oracle()(x, [0, 1]).attributions) < 1e-10


@pytest.mark.parametrize(
    ("make", "link"),
    [
        (lambda layers: [layers.Dense(3)], None),
        (lambda layers: [layers.Dense(3, activation="softmax")], "already"),
        (lambda layers: [layers.Dense(3, activation="relu")], None),
        (lambda layers: [layers.Dense(2, activation="sigmoid")], "already"),
        (lambda layers: [layers.Dense(3, activation=tf.nn.softmax)], "already"),
        (lambda layers: [layers.Dense(3), layers.Softmax()], "already"),
        (lambda layers: [layers.Dense(3), layers.Activation("softmax")], "already"),
        (lambda layers: [layers.Softmax(), layers.Dense(3)], None),
        (lambda layers: [layers.Dense(3), keras.Sequential([keras.Input((3,)), layers.Softmax()])], "already"),
    ],
)
def test_an_ending_in_probabilities_is_recognised(make, link):
    layers = [keras.Input((4,)), *make(keras.layers)]
    model = keras.Sequential(layers)
    source = keras.Input((4,))
    assert pathattr_keras.ending_link(model) == link
    assert pathattr_keras.ending_link(keras.Model(source, model(source))) == link
    assert pathattr_keras.ending_link(keras.Model(source, keras.ops.softmax(model(source)))) == "already"
    assert pathattr_keras.ending_link(keras.Model(source, [model(source), source])) is None


def test_a_softmax_at_the_end_is_not_applied_twice():
    x = pictures(1)
    model = keras_smooth(activation="softmax")
    found = explainer(model)(x, 0)
    assert found.settings["link"] == "identity"
    assert relative(found.attributions, oracle()(x, 0).attributions) < 1e-10
    with pytest.raises(pa.InvalidInput, match="without its last activation"):
        explainer(model, output="logit")(x, 0)


def test_keras_models_run_for_inference_and_stay_as_they_were():
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((6, 6, 3)), layers.BatchNormalization(), layers.Dropout(0.5), layers.Flatten(), layers.Dense(3)]
    )
    x = pictures(2, (6, 6, 3)).astype(np.float32)
    before = model.get_weights()
    found = [pa.PathExplainer(model, steps=5)(x, 0, kwargs={"training": True}).attributions for _ in range(2)]
    assert np.array_equal(*found)
    for old, new in zip(before, model.get_weights(), strict=True):
        assert np.array_equal(old, new)


def test_keras_says_where_the_channels_are():
    def model(data_format, shape):
        return keras.Sequential([keras.Input(shape), keras.layers.Conv2D(2, 3, data_format=data_format)])

    assert pathattr_keras.channel_axis(keras_smooth(), (2, 9, 7, 3)) == -1
    last, first = model("channels_last", (6, 6, 3)), model("channels_first", (3, 6, 6))
    assert pathattr_keras.channel_axis(last, (2, 6, 6, 3)) == -1
    assert pathattr_keras.channel_axis(first, (2, 3, 6, 6)) == 1
    assert pathattr_keras.channel_axis(keras.Sequential([first]), (2, 3, 6, 6)) == 1
    # Built for three channels, which are not there; frames of a video; nothing says, and it looks otherwise.
    assert pathattr_keras.channel_axis(last, (2, 3, 6, 6)) is None
    assert pathattr_keras.channel_axis(first, (2, 4, 3, 6, 6)) is None
    assert pathattr_keras.channel_axis(keras_smooth(), (2, 3, 9, 7)) is None
    assert pathattr_keras.keras_backend() == "tensorflow"


@pytest.mark.filterwarnings("error")  # Keras only warns of inputs in another structure than the model's
@pytest.mark.parametrize("structure", [list, dict])
@pytest.mark.parametrize("how", ["args", "kwargs", "named"])
def test_functional_models_with_several_inputs(structure, how):
    first, second = keras.Input(SHAPE, name="first", dtype="float64"), keras.Input(SHAPE, name="mask", dtype="float64")
    inner = keras_smooth()
    source = [first, second] if structure is list else {"first": first, "mask": second}
    model = keras.Model(source, inner(keras.layers.Multiply(dtype="float64")([first, second])))
    x, mask = pictures(2), np.random.default_rng(3).random((2, *SHAPE))
    call = {
        "args": {"args": (mask,)},
        "kwargs": {"kwargs": {"mask": mask}},
        "named": {"kwargs": {"mask": mask}, "input_name": "first"},
    }[how]
    if structure is dict and how == "args":
        with pytest.raises(pa.InvalidInput, match=r"the inputs first, mask, by name.*input_name='first'.*kwargs"):
            explainer(model)(x, 0, **call)
        return
    found = explainer(model)(x, 0, **call)
    expected = explainer(lambda v: inner(v * mask[:1]))(tf.constant(x[:1]), 0)
    assert relative(found.attributions[:1], expected.attributions) < 1e-12


def test_keras_on_torch_is_a_torch_model():
    code = """
import numpy as np, keras, torch, pathattr as pa
layers = keras.layers
x = np.random.default_rng(0).normal(size=(2, 6, 5, 3)).astype(np.float32)
model = keras.Sequential([keras.Input((6, 5, 3)), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Dropout(0.5),
                          layers.Flatten(), layers.Dense(4, activation="softmax")])
assert model.training
found = pa.PathExplainer(model, steps=40)(torch.tensor(x), 1)
assert found.settings["backend"] == "torch" and found.settings["link"] == "identity" and found.channel_axis == 2
again = pa.PathExplainer(model, steps=40)(x, 1)
assert np.array_equal(found.attributions.numpy(), again.attributions)
# The rule's own error at 40 nodes of a smooth model in float32.
assert np.abs(found.gap).max() < 1e-2 * np.abs(found.score - found.baseline_score).max() + 1e-4, found.gap
import warnings
before = model.get_weights()
for training in (None, True):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rows depend on their batch, where statistics are the batch's
        pa.PathExplainer(lambda v: model(v, training=training), steps=2, output="raw")(torch.tensor(x), 1)
    assert all(map(np.array_equal, before, model.get_weights()))
assert "model_dtype" not in found.settings
for dtype in ("float16", "bfloat16"):
    for last in ("float32", f"mixed_{dtype}"):
        policy = f"mixed_{dtype}"
        mixed = keras.Sequential([keras.Input((6, 5, 3)), layers.Flatten(dtype=policy),
                                  layers.Dense(8, activation="tanh", dtype=policy), layers.Dense(4, dtype=last)])
        single = keras.Sequential([keras.Input((6, 5, 3)), layers.Flatten(), layers.Dense(8, activation="tanh"),
                                   layers.Dense(4)])
        single.set_weights(mixed.get_weights())
        half, full = (pa.PathExplainer(m, steps=10)(x, 1) for m in (mixed, single))
        assert half.settings["model_dtype"] == dtype, half.settings
        # Weights and points rounded to 8 or 11 bits, through two layers: a few units of 4e-3 or 5e-4.
        bound = 5e-2 if dtype == "bfloat16" else 5e-3
        assert np.linalg.norm(half.attributions - full.attributions) < bound * np.linalg.norm(full.attributions)
try:
    pa.PathExplainer(keras.Sequential([layers.Flatten(), layers.Dense(2)]))(x)
except pa.InvalidInput as error:
    assert "not built" in str(error)
else:
    raise AssertionError
print("done")
"""
    pytest.importorskip("torch")
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120, env=environment
    )
    assert done.stdout.strip() == "done", done.stderr


# SavedModels


class Saved(tf.Module):
    def __init__(self):
        super().__init__()
        self.inner = Smooth()

    @tf.function(input_signature=[tf.TensorSpec([None, *SHAPE], tf.float64)])
    def __call__(self, x):
        inner = self.inner
        return tf.tanh(tf.reshape(x, (-1, 126)) @ inner.w1 + inner.b1) @ inner.w2 + inner.b2


@pytest.mark.parametrize("kind", ["callable", "signature", "keras", "concrete"])
@of_keras
def test_saved_models_equal_the_oracle(tmp_path, kind):
    if kind == "keras":
        keras_smooth().export(tmp_path, verbose=False)
    else:
        saved = Saved()
        only = tf.train.Checkpoint(model=saved)  # an object without __call__
        served = {"serving_default": saved.__call__.get_concrete_function()}
        tf.saved_model.save(only if kind == "signature" else saved, tmp_path, served)
    loaded = tf.saved_model.load(tmp_path)
    model = loaded.signatures["serving_default"] if kind == "concrete" else loaded
    assert callable(model) == (kind in ("callable", "concrete"))
    x = pictures(2)
    for array in (x, tf.constant(x, tf.float32)):
        found = explainer(model)(array, [0, 1])
        bound = 1e-10 if array is x else 1e-6  # the same in float64, and from inputs rounded to float32
        assert relative(found.attributions, oracle()(x, [0, 1]).attributions) < bound


def served(folder, *names):
    """Return a SavedModel, loaded, whose signature takes inputs of these names: the first minus twice the second."""
    module = tf.Module()
    module.inner = Smooth()

    def serve(first, second):
        inner = module.inner
        x = tf.reshape(first - 2 * second, (-1, 126))
        return {"scores": tf.tanh(x @ inner.w1 + inner.b1) @ inner.w2 + inner.b2}

    specs = [tf.TensorSpec([None, *SHAPE], tf.float64, name=name) for name in names]
    tf.saved_model.save(module, folder, {"serving_default": tf.function(serve).get_concrete_function(*specs)})
    return tf.saved_model.load(folder)


@pytest.mark.parametrize("names", [("anchor", "positive"), ("positive", "anchor")])
@pytest.mark.parametrize("kind", ["model", "signature"])
def test_the_inputs_of_a_signature_are_told_apart_by_name(tmp_path, names, kind):
    loaded = served(tmp_path, *names)
    model = loaded if kind == "model" else loaded.signatures["serving_default"]
    x, other = pictures(2), np.random.default_rng(5).normal(size=(2, *SHAPE))
    for call in ({}, {"args": (other,)}, {"args": (other,), "input_name": "x"}, {"kwargs": {"mask": other}}):
        with pytest.raises(pa.InvalidInput, match=r"takes the inputs .*by name and in no order: .*input_name="):
            explainer(model)(x, 0, **call)
    inner = Smooth()
    first = explainer(lambda v: inner(v - 2 * other[:1]))(tf.constant(x[:1]), 0).attributions
    second = explainer(lambda v: inner(other[:1] - 2 * v))(tf.constant(x[:1]), 0).attributions
    for name, kept, expected in ((names[0], names[1], first), (names[1], names[0], second)):
        # As the error says; and where one name is said, only one reading is left.
        for call in (
            {"input_name": name, "kwargs": {kept: other}},
            {"kwargs": {kept: other}},
            {"input_name": name, "args": (other,)},
        ):
            found = explainer(model)(x, 0, **call).attributions[:1]
            assert relative(found, expected) < 1e-12  # float64, and another order of sums


# The scenes classifier and the loaders


def test_the_scenes_classifier_equals_its_numpy_forward_pass():
    found = load_model("scenes", backend="tensorflow")
    x = np.random.default_rng(0).normal(size=(2, 3, scenes.SIZE, scenes.SIZE)).astype(np.float32)
    logits = found.model(tf.constant(x.transpose(0, 2, 3, 1))).numpy()
    expected = scenes.forward(scenes.load_weights(), x)
    # Float32 with up to 576 products in a sum, through six layers.
    assert relative(logits, expected) < 1e-4
    moved = TensorFlowBackend.place(found.model, "cpu")
    assert np.array_equal(moved(tf.constant(x.transpose(0, 2, 3, 1))).numpy(), logits)
    result = pa.PathExplainer(moved, steps=3, preprocessing=found.preprocessing)(x.transpose(0, 2, 3, 1), 0)
    assert result.attributions.shape == (2, scenes.SIZE, scenes.SIZE, 3)


def saved_keras(path, *layers, shape=(8, 8, 3)):
    keras.Sequential([keras.Input(shape), *layers]).save(path)
    return path


@of_keras
def test_a_keras_file_is_loaded_without_running_code(tmp_path):
    layers = keras.layers
    path = saved_keras(tmp_path / "model.keras", layers.Conv2D(2, 3), layers.GlobalAveragePooling2D(), layers.Dense(4))
    found = load_model(f"keras-file:{path}")
    assert found.size == (8, 8)
    assert found.channel_axis == -1
    x = pictures(1, (8, 8, 3)).astype(np.float32)
    assert pa.PathExplainer(found.model, steps=5)(x, 0).attributions.shape == x.shape


def stand_in(monkeypatch, module, name):
    """Put a tiny network in the place of an architecture, in its own module with its own preprocessing."""
    maker = getattr(keras.applications, name)

    def tiny(weights="imagenet", classifier_activation="softmax"):
        assert weights is None
        assert classifier_activation is None
        layers = keras.layers
        return keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(1000)])

    tiny.__module__ = maker.__module__
    monkeypatch.setattr(keras.applications, name, tiny)


@pytest.mark.parametrize("name", ["MobileNetV2", "DenseNet121", "VGG16", "EfficientNetB0"])
def test_keras_applications_bring_their_own_preprocessing(monkeypatch, name):
    monkeypatch.setattr(keras_loaders, "WEIGHTS", None)
    if name != "MobileNetV2":  # one real network; a tiny one stands in for the others, whose making takes seconds
        stand_in(monkeypatch, keras.applications, name)
    found = load_model(f"keras:{name}")
    size = found.shape
    assert size == ((224, 224) if name == "MobileNetV2" else (8, 8))
    raw = np.random.default_rng(0).random((3, *size))
    module = sys.modules[getattr(keras.applications, name).__module__]
    prepared = module.preprocess_input(255 * raw.transpose(1, 2, 0)[None])
    inputs = found.preprocessing.normalise(raw).transpose(1, 2, 0)[None]
    inner = found.model.layers[-1] if name == "VGG16" else found.model  # behind the flip of the channels
    # The map is told to float64 where NumPy computes it, to float32 (6e-8 of 255) at the worst.
    assert np.abs((inputs[..., ::-1] if name == "VGG16" else inputs) - prepared).max() < 1e-4
    expected, outputs = inner(np.asarray(prepared, np.float32)), found.model(np.asarray(inputs, np.float32))
    assert np.abs(outputs - expected).max() <= 1e-4 * np.abs(expected).max() + 1e-6  # inputs differ by their rounding
    result = pa.PathExplainer(found.model, steps=1, batch_size=1, preprocessing=found.preprocessing)(
        inputs.astype(np.float32), 0
    )
    assert result.attributions.shape == (1, *size, 3)


def test_class_names_come_from_what_keras_has_downloaded_before(monkeypatch, tmp_path):
    monkeypatch.setattr(keras_loaders, "WEIGHTS", None)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    stand_in(monkeypatch, keras.applications, "VGG16")
    assert load_model("keras:VGG16").classes is None
    (tmp_path / "models").mkdir()
    names = {str(i): [f"n{i:08}", f"kind_{i}"] for i in range(1000)}
    (tmp_path / "models" / "imagenet_class_index.json").write_text(json.dumps(names))
    assert load_model("keras:VGG16").classes[999] == "kind 999"


@pytest.mark.parametrize("preprocess", [lambda x: x - x.mean(axis=-1, keepdims=True), lambda x: x[..., [1, 2, 0]], abs])
def test_preprocessing_that_is_no_scale_and_shift_is_refused(preprocess):
    if preprocess is abs:
        assert keras_loaders.affine(abs)[0].std == pytest.approx((1 / 255,) * 3)
        return
    with pytest.raises(pa.InvalidInput, match="more than a scale and a shift"):
        keras_loaders.affine(preprocess)


@of_keras
def test_pictures_of_a_saved_model(tmp_path):
    layers = keras.layers
    model = keras.Sequential([keras.Input((10, 12, 3)), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(4)])
    model.export(tmp_path, verbose=False)
    found = load_model(f"savedmodel:{tmp_path}")
    assert found.size == (10, 12)
    assert found.channel_axis == -1
    x = pictures(1, (10, 12, 3)).astype(np.float32)
    expected = pa.PathExplainer(model, steps=4)(x, 1).attributions
    # The same graph in float32.
    assert relative(pa.PathExplainer(found.model, steps=4)(x, 1).attributions, expected) < 1e-5
