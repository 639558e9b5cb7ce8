"""The JAX backend: the oracle's numbers from every kind of model, compiled once, no setting touched."""

import gc
import json
import os
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import pathattr as pa
import reference
from pathattr.families import FAMILIES
from pathattr.scenes import LAYERS, PREPROCESSING, forward, generate, load_weights
from pathattr_jax import JaxBackend, cache

SHAPE = (9, 7, 2)  # channels last
SMOOTH = reference.SmoothModel(SHAPE, seed=2)
ORACLE = pa.NumpyModel(SMOOTH.value, SMOOTH.vjp)
# Increments between points carry float32's 6e-8 some dozenfold, gradients a few units of it: about 1e-6 is seen.
SINGLE = 1e-4
# One block of the same shape nearly throughout: what takes time here is JAX compiling operations for new shapes.
SETTINGS = {"steps": 12, "batch_size": 36, "channel_axis": -1}

QUICK = "--xla_backend_optimization_level=0"


def params():
    return {name: jnp.asarray(getattr(SMOOTH, name), jnp.float32) for name in ("w1", "b1", "w2", "b2")}


def apply(p, x):
    return jnp.tanh(x.reshape(len(x), -1) @ p["w1"].T + p["b1"]) @ p["w2"].T + p["b2"]


def smooth():
    """A function that reaches its parameters by itself."""
    p = params()
    return lambda x: apply(p, x)


def pictures(count=3, seed=0):
    return np.random.default_rng(seed).normal(size=(count, *SHAPE)).astype(np.float32)


def relative(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.abs(a - b).max() / np.abs(b).max()


def expected(x, target, **settings):
    settings = {**SETTINGS, **settings}
    return pa.PathExplainer(ORACLE, **settings)(np.asarray(x, np.float64), target)


def explained(model, x, target, **settings):
    return pa.PathExplainer(model, **{**SETTINGS, **settings})(x, target)


def in_process(code, **environment):
    """Run code in a process of its own, and return the JSON that it prints last."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        # XLA optimises little for what is run once.
        env=os.environ | {"XLA_FLAGS": QUICK} | environment | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# The numbers


@pytest.mark.parametrize("schedule", ["linear", "step"])
@pytest.mark.parametrize("family", FAMILIES)
def test_attributions_and_components_equal_the_numpy_oracle(family, schedule):
    x = pictures()
    oracle = expected(x, [0, 1, 2], family=family, schedule=schedule)
    found = explained((apply, params()), jnp.asarray(x), [0, 1, 2], family=family, schedule=schedule)
    assert relative(found.attributions, oracle.attributions) < SINGLE
    for ours, theirs in zip(found.components.attributions, oracle.components.attributions, strict=True):
        assert relative(ours, theirs) < SINGLE
    assert relative(found.score, oracle.score) < SINGLE
    assert found.evaluations.tolist() == oracle.evaluations.tolist()


DOUBLE = """
import json, sys
import numpy as np, jax, jax.numpy as jnp
import pathattr as pa, reference
from pathattr.families import FAMILIES

smooth = reference.SmoothModel((9, 7, 2), seed=2)
params = {name: jnp.asarray(getattr(smooth, name)) for name in ("w1", "b1", "w2", "b2")}
narrow = {name: array.astype("float32") for name, array in params.items()}
apply = lambda p, x: jnp.tanh(x.reshape(len(x), -1) @ p["w1"].T + p["b1"]) @ p["w2"].T + p["b2"]
x = np.random.default_rng(0).normal(size=(3, 9, 7, 2))
found = {}
for family in FAMILIES:
    settings = {"family": family, "steps": 12, "batch_size": 36, "channel_axis": -1}
    theirs = pa.PathExplainer(pa.NumpyModel(smooth.value, smooth.vjp), **settings)(x, [0, 1, 2])
    ours = pa.PathExplainer((apply, params), **settings)(jnp.asarray(x), [0, 1, 2])
    assert ours.attributions.dtype == "float64"
    pairs = [(np.asarray(ours.attributions), theirs.attributions)]
    pairs += zip(ours.components.attributions, theirs.components.attributions, strict=True)
    found[family] = max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)
single = pa.PathExplainer((apply, narrow), steps=12, batch_size=36)(jnp.asarray(x), [0, 1, 2])
assert single.attributions.dtype == "float64"
assert jax.config.jax_enable_x64
others = [name for name in ("tensorflow", "torch", "keras", "flax", "equinox") if name in sys.modules]
print(json.dumps([found, others]))
"""


def test_float64_equals_the_numpy_oracle_where_the_user_has_switched_it_on():
    found, others = in_process(DOUBLE, JAX_ENABLE_X64="1")
    assert others == []  # no library but JAX is imported
    assert set(found) == set(FAMILIES)
    # Both in float64: only the order of sums inside matrix products differs, about 1e-14.
    assert max(found.values()) < 1e-10


@pytest.mark.parametrize("output", ["probability", "logit", "log_probability", "raw"])
@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_every_output_and_link_equals_the_oracle(output, link):
    x, target = pictures(), pa.Contrast([0, 1, 2], [2, 3, 1])
    oracle = expected(x, target, output=output, link=link)
    found = explained((apply, params()), x, target, output=output, link=link)
    assert relative(found.attributions, oracle.attributions) < SINGLE
    assert relative(found.score, oracle.score) < SINGLE


def test_output_callables_of_the_framework():
    x = pictures()
    margin = explained((apply, params()), x, None, output=lambda z: z[:, 1] - z[:, 0])
    assert relative(margin.attributions, expected(x, pa.Contrast(1, 0), output="logit").attributions) < SINGLE
    with pytest.raises(pa.ModelError, match="one score a row"):
        explained((apply, params()), x, None, output=lambda z: z)


def test_float32_sums_are_compensated():
    terms = []

    class Recording(JaxBackend):
        def accumulate(self, state, a, b, add):
            terms.extend(np.asarray(a[:, j] * b[:, j]) for j in range(a.shape[1]))
            return super().accumulate(state, a, b, add)

    x = pictures(1).astype(np.float64)  # float64 inputs: the result is not rounded to float32
    model = (lambda p, x: apply(p, x) + 1e3 * x.sum((1, 2, 3))[:, None], params())
    settings = {"family": "linear", "steps": 200, "output": "raw", "components": False}
    found = pa.PathExplainer(model, backend=Recording, **settings)(x, 0).attributions[0]
    assert len(terms) == 200
    assert {term.dtype for term in terms} == {np.dtype(np.float32)}
    exact = np.sum(np.asarray(terms, np.float64), axis=0)[0]
    naive = terms[0]
    for term in terms[1:]:
        naive = naive + term
    # What is left are the roundings of a sum of roundings: float32's 6e-8 squared, some hundredfold.
    assert relative(found, exact) < 1e-12
    assert relative(naive[0], exact) > 1e-7


def test_an_image_alone_equals_itself_in_a_batch():
    x = pictures()
    together = explained((apply, params()), x, [0, 1, 2]).attributions
    alone = explained((apply, params()), x[2:], 2).attributions
    # XLA's matrix products may round differently beside other rows: a few units of 6e-8, as increments carry them.
    assert relative(alone[0], together[2]) < 1e-5


# Containers and dtypes


def test_results_come_back_as_the_inputs_came():
    model, x = (apply, params()), pictures()
    numpy64 = explained(model, x.astype(np.float64), 0).attributions
    assert isinstance(numpy64, np.ndarray)
    assert numpy64.dtype == np.float64
    native = jnp.asarray(x)
    found = explained(model, native, 0).attributions
    assert isinstance(found, jax.Array)
    assert (found.dtype, found.shape, found.devices()) == (jnp.float32, x.shape, native.devices())
    for dtype in (jnp.bfloat16, jnp.float16):  # of a float32 model: taken there and back
        half = explained(model, native.astype(dtype), 0).attributions
        assert half.dtype == dtype
    assert found.committed == native.committed
    on_device = jax.device_put(native, jax.devices("cpu")[0])
    assert explained(model, on_device, 0).attributions.committed


def test_parameters_may_be_numpy_arrays_of_float64():
    p = {name: getattr(SMOOTH, name) for name in ("w1", "b1", "w2", "b2")}
    found = explained((apply, p), pictures(), [0, 1, 2])
    assert relative(found.attributions, expected(pictures(), [0, 1, 2]).attributions) < SINGLE


class Casting(linen.Module):
    """Computes in half precision with parameters of float32."""

    dtype: object

    @linen.compact
    def __call__(self, x):
        hidden = linen.Dense(12, name="first", dtype=self.dtype)(x.reshape(len(x), -1))
        return linen.Dense(4, name="last", dtype=self.dtype)(jnp.tanh(hidden))


@pytest.mark.parametrize("kind", ["pair", "function of half inputs", "equinox", "nnx", "Flax that casts"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_models_in_half_precision_are_scored_in_float32(dtype, kind):
    def half(tree):
        return jax.tree.map(lambda leaf: leaf.astype(dtype) if eqx.is_array(leaf) else leaf, tree)

    x, model = jnp.asarray(pictures()), (apply, half(params()))
    if kind == "function of half inputs":
        x, p = x.astype(dtype), half(params())
        model = lambda v: apply(p, v)  # noqa: E731 - beside its neighbours
    elif kind == "equinox":
        model = half(Equinox())
    elif kind == "nnx":
        model = Nnx()
        nnx.update(model, half(nnx.state(model, nnx.Param)))
    elif kind == "Flax that casts":
        model = Casting(dtype), variables()
    found = explained(model, x, [0, 1, 2])
    assert found.attributions.dtype == x.dtype
    assert found.score.dtype == np.float64
    assert found.settings["model_dtype"] == dtype
    oracle = expected(pictures(), [0, 1, 2])
    # Weights and points rounded to 8 or 11 bits, through two layers: a few units of 4e-3 or 5e-4.
    bound = 5e-2 if dtype == "bfloat16" else 5e-3
    assert relative(found.attributions.astype(jnp.float32), oracle.attributions) < bound
    assert relative(found.score, oracle.score) < bound
    # The gap is that of the rule, as in float32, and what rounding adds.
    assert np.abs(found.gap - oracle.gap).max() < bound


def test_small_probabilities_have_gradients_in_float16():
    def far(p, x):  # a probability of about 1e-10, whose slopes float16 does not have
        return apply(p, x) + jnp.asarray([-20, 0, 0, 0], x.dtype)

    half = jax.tree.map(lambda a: a.astype("float16"), params())
    found, single = (explained((far, p), pictures(), 0) for p in (half, params()))
    assert (found.score < 1e-8).all()  # float16 ends at 6e-8
    assert relative(found.attributions, single.attributions) < 1e-2  # as above, through an exponential


def test_float32_models_say_nothing_of_their_dtype():
    assert "model_dtype" not in explained((apply, params()), pictures(), 0).settings


def test_whole_numbers_are_refused_with_the_fix():
    with pytest.raises(pa.InvalidInput, match="embeddings"):
        explained((apply, params()), jnp.ones((1, *SHAPE), int), 0)


def test_no_setting_is_touched_and_nothing_is_float64():
    seen = []
    before = jax.config.values.copy()

    def model(p, x):
        seen.append(x.dtype)
        return apply(p, x)

    explained((model, params()), pictures().astype(np.float64), 0)
    assert jax.config.values == before
    assert not jax.config.jax_enable_x64
    assert set(seen) == {np.dtype(np.float32)}
    assert all(array.dtype != np.float64 for array in jax.live_arrays())


# Kinds of models


class Linen(linen.Module):
    @linen.compact
    def __call__(self, x, scale=1.0):
        x = scale * x.reshape(len(x), -1)
        return linen.Dense(4, name="last")(jnp.tanh(linen.Dense(12, name="first")(x)))


def variables():
    return {
        "params": {
            "first": {"kernel": params()["w1"].T, "bias": params()["b1"]},
            "last": {"kernel": params()["w2"].T, "bias": params()["b2"]},
        }
    }


class Nnx(nnx.Module):
    def __init__(self):
        self.first, self.last = nnx.Linear(126, 12, rngs=nnx.Rngs(0)), nnx.Linear(12, 4, rngs=nnx.Rngs(0))
        self.dropout = nnx.Dropout(0.5, rngs=nnx.Rngs(0))
        for layer, name in ((self.first, "first"), (self.last, "last")):
            layer.kernel[...], layer.bias[...] = (variables()["params"][name][key] for key in ("kernel", "bias"))
        self.eval()

    def __call__(self, x):
        return self.dropout(self.last(jnp.tanh(self.first(x.reshape(len(x), -1)))))


class Equinox(eqx.Module):
    """Takes one example."""

    p: dict
    dropout: eqx.nn.Dropout
    activation: object

    def __init__(self, inference=True):
        self.activation = jnp.tanh
        self.p, self.dropout = params(), eqx.nn.Dropout(0.5, inference=inference)

    def logits(self, x):
        return self(x)

    def __call__(self, x, mask=None, scale=1.0):
        assert x.shape == SHAPE
        assert mask is None or mask.shape == SHAPE
        x = x if mask is None else x * mask * scale
        hidden = self.activation(self.p["w1"] @ x.ravel() + self.p["b1"])
        return self.dropout(self.p["w2"] @ hidden + self.p["b2"])


KINDS = {
    "function": smooth,
    "compiled function": lambda: jax.jit(smooth()),
    "pair": lambda: (apply, params()),
    "pair of a compiled function": lambda: (jax.jit(apply), params()),
    "linen and variables": lambda: (Linen(), variables()),
    "linen's apply and variables": lambda: (Linen().apply, variables()),
    "bound linen": lambda: Linen().bind(variables()),
    "nnx": Nnx,
    "equinox": Equinox,
    "equinox's method": lambda: Equinox().logits,
    "compiled equinox": lambda: eqx.filter_jit(eqx.filter_vmap(Equinox())),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_equals_the_oracle(kind):
    model, x = KINDS[kind](), jnp.asarray(pictures())
    assert JaxBackend.recognises_model(model) == ("function" not in kind or "pair" in kind)
    oracle = expected(x, [0, 1, 2]).attributions
    assert relative(explained(model, x, [0, 1, 2]).attributions, oracle) < SINGLE
    assert relative(explained(model, x, [0, 1, 2], backend_options={"jit": False}).attributions, oracle) < SINGLE


def test_others_models_are_not_recognised():
    foreign = SimpleNamespace(shape=(1,))
    for model in (apply, object(), (apply, apply), (apply, foreign), (params(), apply), (apply, {}), (apply, ["w"]), 3):
        assert not JaxBackend.recognises_model(model)


def test_a_nnx_model_is_left_as_it_was_and_seen_as_it_is():
    model, x = Nnx(), pictures()
    before = jax.tree.leaves(nnx.state(model))
    first = explained(model, x, 0).attributions
    assert all(a is b for a, b in zip(before, jax.tree.leaves(nnx.state(model)), strict=True))
    model.last.kernel[...] = -model.last.kernel[...]
    model.last.bias[...] = -model.last.bias[...]
    changed = explained(model, x, 0).attributions
    assert relative(changed, first) > 0.1


KERAS = """
import json, warnings
import numpy as np, jax, jax.numpy as jnp
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Keras's own, at import
    import keras
import pathattr as pa, reference

smooth = reference.SmoothModel((9, 7, 2), seed=2)
calls = []

class Counted(keras.layers.Layer):
    def call(self, x):
        calls.append(isinstance(x, jax.core.Tracer))
        return x

def model(activation):
    start = keras.Input((9, 7, 2))
    x = keras.layers.Dense(12, activation="tanh")(keras.layers.Flatten()(start))
    x = keras.layers.Dropout(0.5)(Counted()(x))
    made = keras.Model(start, keras.layers.Dense(4, activation=activation)(x))
    made.set_weights([smooth.w1.T, smooth.b1, smooth.w2.T, smooth.b2])
    return made

x = np.random.default_rng(0).normal(size=(3, 9, 7, 2)).astype("float32")
settings = {"steps": 12, "batch_size": 36, "channel_axis": -1}
theirs = pa.PathExplainer(pa.NumpyModel(smooth.value, smooth.vjp), **settings)(x.astype("float64"), [0, 1, 2])
logits, probabilities = model(None), model("softmax")
found = {}
calls.clear()
for name, made in (("logits", logits), ("probabilities", probabilities)):
    result = pa.PathExplainer(made, steps=12, batch_size=36)(jnp.asarray(x), [0, 1, 2])
    assert result.settings["backend"] == "jax"
    assert isinstance(result.attributions, jax.Array)
    found[name] = float(np.abs(result.attributions - theirs.attributions).max() / np.abs(theirs.attributions).max())
found["traces"] = len(calls)
assert all(calls)
before = pa.PathExplainer(logits, steps=12, batch_size=36)(x, 0).attributions
logits.layers[-1].kernel.assign(-logits.layers[-1].kernel)
after = pa.PathExplainer(logits, steps=12, batch_size=36)(x, 0).attributions
found["new weights seen"] = bool(np.abs(after - before).max() > 0.1 * np.abs(before).max())
found["traces at the end"] = len(calls)
print(json.dumps(found))
"""


def test_keras_models_on_jax():
    found = in_process(KERAS, KERAS_BACKEND="jax")
    assert found.pop("logits") < SINGLE
    assert found.pop("probabilities") < SINGLE
    # One trace for each call.
    assert found == {"traces": 2, "new weights seen": True, "traces at the end": 4}


# Where the channels are


class Convolved(eqx.Module):
    """Equinox's order: (channels, height, width), or (channels, depth, height, width)."""

    conv: eqx.Module
    head: eqx.nn.Linear

    def __init__(self, rank=2, channels=3):
        kind = {2: eqx.nn.Conv2d, 3: eqx.nn.Conv3d}[rank]
        self.conv = kind(channels, 4, 3, key=jax.random.key(0))
        self.head = eqx.nn.Linear(4, 5, key=jax.random.key(1))

    def __call__(self, x):
        return self.head(jnp.tanh(self.conv(x)).mean(axis=tuple(range(1, x.ndim))))


def channels_of(model, shape):
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
    return pa.PathExplainer(model, family="linear", steps=1)(x, 0).settings["channel_axis"]


def test_equinox_says_where_its_channels_are():
    assert channels_of(Convolved(), (2, 3, 9, 7)) == 1
    assert channels_of(Convolved(channels=7), (2, 7, 9, 7)) == 1
    assert channels_of(Convolved(3), (1, 3, 4, 5, 6)) == 1


class Turned(eqx.Module):
    inner: Convolved

    def __call__(self, x):
        return self.inner(x.transpose(2, 0, 1))


class Frames(eqx.Module):
    inner: Convolved

    def __call__(self, x):
        return jax.vmap(self.inner)(x).mean(axis=0)


def patches():
    """Return a function of pictures with channels first, as far as their shape tells."""
    model = Convolved()
    return lambda x: jax.vmap(model)(x)


@pytest.mark.parametrize(
    ("make", "shape", "axis"),
    [
        (Equinox, (2, *SHAPE), -1),  # no convolution
        (lambda: Turned(Convolved()), (2, 9, 7, 3), -1),  # the first layer is not the first operation
        (lambda: Frames(Convolved()), (1, 4, 3, 9, 7), 2),  # video
        (patches, (2, 3, 9, 7), 1),
        (lambda: (lambda model, x: jax.vmap(model)(x), Convolved()), (2, 3, 9, 7), 1),
    ],
)
def test_channels_that_cannot_be_known_must_be_said(make, shape, axis):
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
    with pytest.raises(pa.InvalidInput, match=r"cannot be known of this model. Say channel_axis=1 .*channel_axis=-1"):
        pa.PathExplainer(make())(x, 0)
    found = pa.PathExplainer(make(), steps=2, channel_axis=axis)(x, 0)  # as the error says
    assert found.settings["channel_axis"] == axis % x.ndim


def test_channels_are_last_in_flax_and_in_functions():
    for model in (Linen().bind(variables()), (apply, params()), smooth(), Nnx()):
        assert channels_of(model, (2, *SHAPE)) == 3

    class Video(nnx.Module):  # Flax takes any number of axes before a picture's own
        def __init__(self, channels):
            self.conv = nnx.Conv(channels, 4, (3, 3), rngs=nnx.Rngs(0))

        def __call__(self, x):
            return self.conv(x).mean(axis=tuple(range(1, x.ndim - 1)))

    assert channels_of(Video(3), (1, 4, 9, 7, 3)) == 4
    assert channels_of(Video(7), (2, 3, 9, 7)) == 3  # its convolution takes seven channels
    with pytest.raises(pa.InvalidInput, match="cannot be known"):
        channels_of(Video(3), (2, 3, 9, 7))


# Outputs and further inputs


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
    x, p = pictures(), params()
    assert (explained(lambda v: wrap(apply(p, v)), jnp.asarray(x), 0).attributions == (
        explained(lambda v: apply(p, v), jnp.asarray(x), 0).attributions
    )).all()  # fmt: skip


@pytest.mark.parametrize("how", ["args", "kwargs", "named"])
@pytest.mark.parametrize("kind", ["pair", "equinox"])
def test_further_inputs_are_repeated_for_every_node(how, kind):
    x = pictures()
    mask = np.random.default_rng(1).random((3, *SHAPE)) > 0.5
    given = jnp.asarray(mask) if how == "args" else mask

    def masked(p, x, mask, scale):
        assert len(mask) == len(x)
        return apply(p, x * mask * scale)

    model = Equinox() if kind == "equinox" else (masked, params())
    call = {
        "args": {"args": (given, 0.5)},
        "kwargs": {"kwargs": {"mask": given, "scale": 0.5}},
        "named": {"kwargs": {"mask": given, "scale": 0.5}, "input_name": "x"},
    }[how]
    explainer = pa.PathExplainer(model, **SETTINGS)
    if how == "named" and kind == "pair":  # apply takes its parameters first, whatever the inputs are called
        explainer.model = (lambda p, **kwargs: masked(p, **kwargs), params())
    together = explainer(x, 0, **call)
    for i in range(3):
        scale = 0.5 * mask[i]
        oracle = pa.NumpyModel(
            lambda v, scale=scale: SMOOTH.value(v * scale), lambda v, c, scale=scale: SMOOTH.vjp(v * scale, c) * scale
        )
        alone = pa.PathExplainer(oracle, **SETTINGS)(x[i : i + 1].astype(np.float64), 0)
        assert relative(together.attributions[i], alone.attributions[0]) < SINGLE
    # What a mask hides has no gradient.
    assert (together.attributions[~mask] == 0).all()


def test_shared_arrays_in_containers_are_passed_as_they_are():
    rows = {"weights": jnp.linspace(0.5, 1.5, 3 * 126).reshape(3, 126)}  # as many rows as examples, but none of them
    found = pa.PathExplainer(lambda x, w: x.reshape(len(x), -1) @ w["weights"].T, **SETTINGS, output="raw")(
        jnp.asarray(pictures()), 1, args=(pa.Shared(rows),)
    )
    # A linear model: attributions are w·x, but for the rounding of sums of increments.
    assert relative(found.attributions, rows["weights"][1].reshape(SHAPE) * pictures()) < SINGLE


def test_arguments_that_are_no_arrays_are_part_of_what_is_compiled():
    x, model = jnp.asarray(pictures()), (lambda p, v, power: apply(p, v) ** power, params())
    explainer = pa.PathExplainer(model, **SETTINGS, output="raw")
    once, twice = (explainer(x, 0, args=(power,)) for power in (1, 2))
    assert relative(twice.score, once.score**2) < SINGLE
    scaled = pa.PathExplainer((lambda p, v, k: apply(p, v) * k.by, params()), **SETTINGS, output="raw")

    class Setting:
        by = 1.0

    # A namespace has an equality and hence no hash: compiled, and not kept. The other is the same when it has changed.
    for setting in (SimpleNamespace(), Setting()):
        for by in (1.0, 2.0):
            setting.by = by
            assert relative(scaled(x, 0, kwargs={"k": setting}).score, by * once.score) < SINGLE


# Traced once a call, compiled once a program


@pytest.fixture
def compiled(monkeypatch):
    """Return a list that grows by one for every program that XLA compiles for us."""
    found = []
    compile_one = cache.PROGRAMS.find
    monkeypatch.setattr(
        cache.PROGRAMS, "find", lambda key, make: compile_one(key, lambda: (found.append(key), make())[1])
    )
    return found


def counted():
    calls = []

    def model(p, x):
        calls.append(x.shape)
        return apply(p, x)

    return model, calls


def test_a_call_traces_the_model_once_and_another_compiles_nothing_new(compiled):
    model, calls = counted()
    settings = {"family": "linear", "steps": 11, "batch_size": 7}  # two blocks of at most six points: one is short
    explained((model, params()), pictures(), [0, 1, 2], **settings)
    assert calls == [(6, *SHAPE)]
    del compiled[:]
    explained((model, params()), pictures(2, seed=1), 3, **settings)
    trained = jax.tree.map(lambda a: 1.1 * a, params())
    other = explained((model, trained), jnp.asarray(pictures()), [0, 1, 2], **settings)
    assert calls == [(6, *SHAPE)] * 3
    assert compiled == []
    fresh = explained((apply, trained), jnp.asarray(pictures()), [0, 1, 2], **settings)
    assert (other.attributions == fresh.attributions).all()
    assert compiled == []  # another function, and the same program


@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_of_model_is_compiled_again_for_another_picture_or_other_weights(kind, compiled):
    explained(KINDS[kind](), jnp.asarray(pictures()), 0)
    del compiled[:]
    explained(KINDS[kind](), jnp.asarray(pictures(seed=1)), 1)
    assert compiled == []


def test_a_function_that_the_user_compiles_is_traced_when_jax_does_that():
    model, calls = counted()
    jitted = jax.jit(model)
    for seed in (0, 1):
        explained((jitted, params()), pictures(seed=seed), 0)
    assert len(calls) == 1


class Held:
    factor = 1.0


FACTOR = 1.0


def weight_in(place):
    """Return a model that is linear in a factor, and what sets the factor where the model reads it."""
    p, held = params(), Held()
    table, array = {"factor": 1.0}, np.ones(())
    listed, keywords = [1.0], {"table": table}

    def change(factor):
        held.factor = table["factor"] = listed[0] = factor
        array[...] = factor

    class Scaled(linen.Module):
        @linen.compact
        def __call__(self, x):
            return FACTOR * Linen(name="inner")(x)

    class Other(Nnx):
        def __call__(self, x):
            return self.held.factor * super().__call__(x)

    class Single(Equinox):
        settings: object = eqx.field(static=True, default=held)

        def __call__(self, x):
            return self.settings.factor * super().__call__(x)

    class Method:
        factor = 1.0

        def __call__(self, x):
            return self.factor * apply(p, x)

    own, net = Method(), Nnx()
    nested = Other()
    nested.held = held
    everywhere = {
        "an object": (lambda x: held.factor * apply(p, x), change),
        "an object, parameters passed": ((lambda p, x: held.factor * apply(p, x), p), change),
        "a dict": (lambda x: table["factor"] * apply(p, x), change),
        "a list": (lambda x: listed[0] * apply(p, x), change),
        "an array changed in place": (lambda x: array * apply(p, x), change),
        "a partial's dict": (partial(lambda x, table: table["factor"] * apply(p, x), **keywords), change),
        "a default": (lambda x, table=table: table["factor"] * apply(p, x), change),
        "the model itself": (own, lambda factor: setattr(own, "factor", factor)),
        "its class": (Method(), lambda factor: setattr(Method, "factor", factor)),
        "another class": (lambda x: Held.factor * apply(p, x), lambda factor: setattr(Held, "factor", factor)),
        "the module": (lambda x: FACTOR * apply(p, x), lambda factor: globals().update(FACTOR=factor)),
        "a network": (lambda x: net(x), lambda factor: times(net, factor)),
        "linen": (
            (Scaled(), {"params": {"inner": variables()["params"]}}),
            lambda factor: globals().update(FACTOR=factor),
        ),
        "nnx": (nested, change),
        "equinox": (Single(), change),
    }
    return everywhere[place]


def times(net, factor):
    net.last.kernel[...], net.last.bias[...] = factor * net.last.kernel[...], factor * net.last.bias[...]


PLACES = [
    "an object", "an object, parameters passed", "a dict", "a list", "an array changed in place", "a partial's dict",
    "a default", "the model itself", "its class", "another class", "the module", "a network", "linen", "nnx", "equinox",
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_model_is_explained_as_it_is_now_wherever_it_keeps_what_has_changed(place, monkeypatch):
    monkeypatch.setitem(globals(), "FACTOR", 1.0)
    monkeypatch.setattr(Held, "factor", 1.0)
    model, change = weight_in(place)
    x = jnp.asarray(pictures())
    first = explained(model, x, 0, output="raw")
    change(2.0)
    second = explained(model, x, 0, output="raw")
    assert relative(second.score, 2 * first.score) < SINGLE
    assert relative(second.attributions, 2 * first.attributions) < SINGLE


@pytest.mark.parametrize("kind", ["closure", "method", "partial"])
def test_an_output_callable_is_read_as_it_is_now(kind):
    chosen = {"class": 0}

    class Head:
        def score(self, z):
            return z[:, chosen["class"]]

    def score(z, chosen):
        return z[:, chosen["class"]]

    output = {
        "closure": lambda z: z[:, chosen["class"]],
        "method": Head().score,
        "partial": partial(score, chosen=chosen),
    }[kind]
    explainer = pa.PathExplainer((apply, params()), **SETTINGS, output=output)
    x = jnp.asarray(pictures())
    for now in (0, 1):
        chosen["class"] = now
        assert relative(explainer(x).attributions, expected(x, now, output="raw").attributions) < SINGLE


def test_a_model_made_at_the_address_of_another_is_none_of_it():
    x, p = jnp.asarray(pictures(1)), params()
    expected_score = explained((apply, p), x, 0, output="raw").score
    for factor in range(1, 12):

        class Model:
            def __init__(self, factor):
                self.factor = factor

            def __call__(self, x):
                return self.factor * apply(p, x)

        # Each is dropped before the next is made, most often in the same place.
        assert relative(explained(Model(factor), x, 0, output="raw").score, factor * expected_score) < SINGLE


def test_callbacks_into_python_are_never_taken_for_one_another():
    def model(factor):
        @jax.custom_vjp
        def scaled(x):
            return jax.pure_callback(lambda v: np.asarray(factor * np.asarray(v), np.float32), x, x)

        scaled.defvjp(lambda x: (scaled(x), None), lambda _, g: (factor * g,))
        return lambda x: scaled(apply(params(), x))

    x = jnp.asarray(pictures())
    once, twice = (explained(model(factor), x, 0, output="raw").score for factor in (1.0, 2.0))
    assert relative(twice, 2 * once) < SINGLE


HOISTED = """
import json
import jax, jax.numpy as jnp, numpy as np
import pathattr as pa

assert jax.config.jax_use_simplified_jaxpr_constants
found = []
for factor in (1.0, 2.0):
    weights = factor * jnp.asarray(np.random.default_rng(0).normal(size=(24, 3)), jnp.float32)
    model = lambda x: x.reshape(len(x), -1) @ weights
    found.append(float(pa.PathExplainer(model, output="raw", steps=3)(jnp.ones((1, 4, 3, 2)), 0).score[0]))
print(json.dumps(found))
"""


def test_weights_in_a_closure_are_not_confused_where_jax_keeps_them_inside_the_program():
    if not hasattr(jax.config, "jax_use_simplified_jaxpr_constants"):
        pytest.skip("this JAX passes what a function holds in one way only")
    once, twice = in_process(HOISTED, JAX_USE_SIMPLIFIED_JAXPR_CONSTANTS="1")
    assert twice == pytest.approx(2 * once, rel=1e-6)  # doubling is exact in float32; the sum is of 24 products


@pytest.mark.parametrize("kind", ["pair", "nnx", "equinox", "function"])
def test_eight_threads_explain_one_model(kind):
    model, batches = KINDS[kind](), [jnp.asarray(pictures(seed=seed)) for seed in range(8)]
    explainer = pa.PathExplainer(model, **SETTINGS)
    alone = [explainer(x, 0).attributions for x in batches]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda x: explainer(x, 0).attributions, batches))
    for a, b in zip(alone, together, strict=True):
        assert (a == b).all()


def test_a_model_is_not_kept_alive():
    def run():
        function = counted()[0]
        models = [smooth(), Nnx(), Equinox(), Linen().bind(variables())]
        for model in (*models, (function, params())):
            explained(model, jnp.asarray(pictures()), 0)
        return [weakref.ref(model) for model in (*models, function)]

    references = run()
    gc.collect()
    assert [reference() for reference in references] == [None] * 5


def test_what_is_compiled_is_bounded(monkeypatch):
    monkeypatch.setattr(cache, "LIMIT", 3)
    model = (lambda p, x, k: apply(p, x) + k, params())
    for k in range(4):
        pa.PathExplainer(model, **SETTINGS)(pictures(), 0, args=(k,))
    assert len(cache.PROGRAMS) == 3


# What cannot be explained


def branching(p, x):
    return apply(p, x) if x.sum() > -1e9 else apply(p, -x)


def test_a_function_that_cannot_be_traced_runs_uncompiled():
    found = explained((branching, params()), pictures(), [0, 1, 2], backend_options={"jit": False})
    assert relative(found.attributions, expected(pictures(), [0, 1, 2]).attributions) < SINGLE


def test_not_finite_along_the_path_names_image_and_alpha():
    def model(x):  # sqrt has an infinite slope where the second image's path passes 0
        score = jnp.sqrt(jnp.abs(x.reshape(len(x), -1)[:, :1] - 0.5))
        return jnp.concatenate([score, -score], 1)

    x = jnp.full((3, *SHAPE), 0.25).at[1].set(1.0)
    with pytest.raises(pa.ModelError, match=r"image 1: its gradient is not finite at α = 0\.5 "):
        explained(model, x, 0, family="linear", rule="left", output="logit")


# Devices and the scenes


def test_devices_by_name():
    assert JaxBackend.devices()[0] == "cpu"
    for model in (smooth(), (apply, params()), Equinox(), Nnx(), Linen().bind(variables())):
        placed = JaxBackend.place(model, "cpu")
        assert (
            relative(explained(placed, jnp.asarray(pictures()), 0).attributions, expected(pictures(), 0).attributions)
            < SINGLE
        )


TWO_DEVICES = """
import json
import numpy as np, jax, jax.numpy as jnp
import pathattr as pa
from pathattr_jax import JaxBackend

first, second = jax.devices("cpu")
params = jax.device_put({"w": jnp.ones((24, 3))}, second)
model = (lambda p, x, m=None: (x * (1 if m is None else m)).reshape(len(x), -1) @ p["w"], params)
x = jax.device_put(jnp.ones((2, 4, 3, 2)), first)
result = pa.PathExplainer(model, output="raw", steps=3)(x, 0, args=(jax.device_put(x, first),))
assert result.attributions.devices() == {first}
alone = pa.PathExplainer(lambda x: x.reshape(len(x), -1), output="raw", steps=3)(jax.device_put(x, second), 0)
assert alone.attributions.devices() == {second}
function = lambda x: x
assert JaxBackend.place(function, "cpu") is function  # it runs where its inputs are, by default there
print(json.dumps("done"))
"""


def test_models_and_inputs_on_other_devices():
    found = in_process(TWO_DEVICES, XLA_FLAGS=f"{QUICK} --xla_force_host_platform_device_count=2", JAX_PLATFORMS="cpu")
    assert found == "done"


def test_the_scenes_classifier_equals_its_reference():
    weights = load_weights()
    x = np.stack([PREPROCESSING.normalise(image.transpose(2, 0, 1)) for image in generate(4).images])
    model = JaxBackend.build(LAYERS, weights)
    logits = model[0](model[1], jnp.asarray(x.transpose(0, 2, 3, 1), jnp.float32))
    # Five convolutions in float32 against float64: sums of up to 576 products.
    assert relative(logits, forward(weights, x)) < 1e-5
    result = pa.PathExplainer(model, steps=4, batch_size=4, family="linear")(x[:1].transpose(0, 2, 3, 1))
    assert result.target[0] == forward(weights, x[:1]).argmax()
    assert result.attributions.shape == (1, 96, 96, 3)


def test_equal_maxima_in_a_window_send_the_gradient_to_the_first():
    from pathattr.scenes import MaxPool

    pool, none = JaxBackend.build([MaxPool(2)], {})
    assert jax.grad(lambda x: pool(none, x).sum())(jnp.ones((1, 2, 2, 1))).ravel().tolist() == [1, 0, 0, 0]


@pytest.mark.skipif(jax.default_backend() != "gpu", reason="JAX sees no GPU here: the GPU path is untested")
@pytest.mark.parametrize("family", FAMILIES)
def test_gpu_equals_the_oracle(family):
    x = pictures()
    model = JaxBackend.place((lambda p, x: apply(p, x), params()), JaxBackend.devices()[1])
    with jax.default_matmul_precision("highest"):  # the model's own products
        found = explained(model, jax.device_put(x, jax.devices("cpu")[0]), [0, 1, 2], family=family)
    assert found.attributions.devices() == {jax.devices("cpu")[0]}
    assert relative(found.attributions, expected(x, [0, 1, 2], family=family).attributions) < SINGLE
