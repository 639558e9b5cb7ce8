"""What the JAX adapter refuses says what to do, and doing it works."""

import json
import os
import subprocess
import sys
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import pathattr as pa
import pathattr_jax
from advising import Refusal, check, completeness, modules_of, randomisation, tabled
from pathattr_jax import JaxBackend, devices

X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6)), jnp.float32)
WEIGHTS = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
PARAMS = {"w": jnp.asarray(WEIGHTS)}
DEVICES = JaxBackend.devices()


def apply(params, x):
    return jnp.tanh(x @ params["w"])


PAIR = (apply, PARAMS)


def explain(model=PAIR, x=X, target=1, **settings):
    return pa.PathExplainer(model, **{"channel_axis": None, "family": "linear", "steps": 2} | settings)(x, target)


def same(*found):
    """Assert that these are the attributions of the plain call, but for how XLA fuses operations in float32."""
    expected = explain().numpy()
    for one in found:
        np.testing.assert_allclose(one.numpy(), expected, rtol=1e-5, atol=1e-7)


def returning(change):
    """Return the function, its outputs changed."""
    return lambda x: change(apply(PARAMS, x))


class Linen(linen.Module):
    @linen.compact
    def __call__(self, x):
        return jnp.tanh(linen.Dense(3, use_bias=False, name="last")(x))


VARIABLES = {"params": {"last": {"kernel": PARAMS["w"]}}}


class Nnx(nnx.Module):
    def __init__(self):
        self.last = nnx.Linear(6, 3, use_bias=False, rngs=nnx.Rngs(0))
        self.last.kernel[...] = PARAMS["w"]
        self.dropout = nnx.Dropout(0.5, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return jnp.tanh(self.last(self.dropout(x)))


class Equinox(eqx.Module):
    """Takes one example; `as_python` says whether its numbers are asked for."""

    w: jax.Array
    dropout: eqx.nn.Dropout
    as_python: bool = False

    def __call__(self, x):
        x = self.dropout(x, key=jax.random.key(0))
        return jnp.tanh(x @ self.w) if not self.as_python or x[0] > -9 else x[:3]


def equinox(**settings):
    return Equinox(PARAMS["w"], eqx.nn.Dropout(0.5), **settings)


def evaluated(model):
    model.eval()
    return model


MODELS = {
    "Flax in training": Refusal(lambda: explain(Nnx()), r"its part 'dropout', Dropout\).*Call model\.eval\(\) first",
                                lambda: same(explain(evaluated(Nnx()))), pa.ModelError),
    "Equinox in training": Refusal(
        lambda: explain(equinox()), r"'dropout'.*Use equinox\.nn\.inference_mode\(model\) in its place",
        lambda: same(explain(eqx.nn.inference_mode(equinox()))), pa.ModelError,
    ),
    "no parameters": Refusal(
        lambda: explain(Linen()), r"Linen has no parameters: pass \(module, variables\) .*or module\.bind\(variables\)",
        lambda: same(explain((Linen(), VARIABLES)), explain(Linen().bind(VARIABLES))),
    ),
    "bound twice": Refusal(
        lambda: explain((Linen().bind(VARIABLES), VARIABLES)), "pass the bound module alone, or one that is not bound",
        lambda: same(explain(Linen().bind(VARIABLES)), explain((Linen(), VARIABLES))),
    ),
    "kind": Refusal(
        lambda: explain(3, backend="jax"), "functions, .*Flax, Equinox and Keras on JAX; got int: pass one of those",
        lambda: same(*[explain(model, backend="jax") for model in
                       (returning(lambda z: z), PAIR, evaluated(Nnx()), eqx.nn.inference_mode(equinox()))]),
    ),
    "pair without arrays": Refusal(
        lambda: explain((apply, {"w": WEIGHTS.tolist()}), backend="jax"),
        r"\(apply, params\) with arrays among the params",
        lambda: same(explain((apply, {"w": jnp.asarray(WEIGHTS.tolist())}), backend="jax")),
    ),
    "option": Refusal(lambda: explain(backend_options={"compile": False}), "no option compile; it has jit",
                      lambda: same(explain(backend_options={"jit": False}))),
}  # fmt: skip


def attributions(x):
    return explain(x=x).attributions


def transformed(name, transform):
    return {name: Refusal(lambda: transform(attributions)(X),
                          r"being traced: call the explainer outside jax\.jit, jax\.grad and jax\.vmap",
                          lambda: same(explain()))}  # fmt: skip


TRANSFORMATIONS = {
    **transformed("jit", jax.jit),
    **transformed("vmap", lambda f: jax.vmap(lambda x: f(x[None]))),
    **transformed("grad", lambda f: jax.grad(lambda x: f(x).sum())),
}


def branching(x):
    return apply(PARAMS, x) if x.sum() > -1e9 else apply(PARAMS, -x)


def chosen(x):
    return jnp.where(x.sum() > -1e9, apply(PARAMS, x), apply(PARAMS, -x))


def branched(x):
    return jax.lax.cond(x.sum() > -1e9, lambda x: apply(PARAMS, x), lambda x: apply(PARAMS, -x), x)


def looping(x):
    count = 0
    while count < x[0, 0] * 0:
        count += 1
    return apply(PARAMS, x)


def looped(x):
    count = jax.lax.while_loop(lambda count: count < 0, lambda count: count + 1, 0)
    return apply(PARAMS, x) + count


class Chosen(Equinox):
    def __call__(self, x):
        return jnp.where(x[0] > -9, jnp.tanh(x @ self.w), x[:3])


CANNOT = r"JAX cannot trace the model \(\w+: .*\): .* Write jnp\.where, jax\.lax\.cond or .*while_loop .*jnp for np"

OUTPUTS = {
    "if": Refusal(
        lambda: explain(branching), CANNOT + r"; or run it uncompiled, with backend_options=\{'jit': False\}",
        lambda: same(explain(chosen), explain(branched), explain(branching, backend_options={"jit": False})),
        pa.ModelError,
    ),
    "while": Refusal(lambda: explain(looping), CANNOT, lambda: same(explain(looped)), pa.ModelError),
    "NumPy": Refusal(lambda: explain(lambda x: jnp.asarray(np.tanh(x @ PARAMS["w"]))), CANNOT,
                     lambda: same(explain(lambda x: jnp.asarray(jnp.tanh(x @ PARAMS["w"])))), pa.ModelError),
    "NumPy uncompiled": Refusal(
        lambda: explain(lambda x: jnp.asarray(np.tanh(x @ PARAMS["w"])), backend_options={"jit": False}),
        CANNOT + "$", lambda: same(explain()), pa.ModelError,
    ),
    "if of one example": Refusal(
        lambda: explain(eqx.nn.inference_mode(equinox(as_python=True))), CANNOT + "$",
        lambda: same(explain(Chosen(PARAMS["w"], eqx.nn.Dropout(0.5, inference=True)))), pa.ModelError,
    ),
    "NumPy array": Refusal(
        lambda: explain(lambda x: np.ones((len(x), 3), np.float32)), "no gradient: compute it with jax.numpy",
        lambda: explain(lambda x: jnp.ones((len(x), 3)), output="raw"), pa.ModelError,
    ),
    "rows": Refusal(
        lambda: explain(returning(lambda z: z.sum(0, keepdims=True))), r"shape \(1, 3\) for \d points: expected one",
        explain, pa.ModelError,
    ),
    "one example": Refusal(
        lambda: explain(lambda x: apply(PARAMS, x.reshape(-1)[:6])), r"take one example \(then map it over the ba",
        lambda: same(explain(jax.vmap(lambda x: apply(PARAMS, x.reshape(-1)[:6])))), pa.ModelError,
    ),
    "nothing": Refusal(lambda: explain(returning(lambda z: z[:, :0])), r"of shape \(\d, 0\)\. Return its scores",
                       explain, pa.ModelError),
    "whole": Refusal(lambda: explain(returning(lambda z: z.argmax(1)[:, None])), "int32, .* before any argmax",
                     explain, pa.ModelError),
    "whole score": Refusal(
        lambda: explain(output=lambda z: z.argmax(1), target=None), "explained score is int32, .* before any argmax",
        lambda: explain(output=lambda z: z[:, 1], target=None), pa.ModelError,
    ),
    "complex": Refusal(
        lambda: explain(returning(jnp.fft.fft), output="raw"), r"complex64, .* jnp\.abs, \.real or \.imag of it",
        lambda: [explain(returning(lambda z, part=part: part(jnp.fft.fft(z))), output="raw")
                 for part in (jnp.abs, lambda z: z.real, lambda z: z.imag)], pa.ModelError,
    ),
}  # fmt: skip

# In a process of its own, for JAX settles at the start how many devices it has.
TWO_DEVICES = """
import json, sys, warnings
import numpy as np, jax, jax.numpy as jnp
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Keras's own, at import
    import keras
from flax import linen, nnx
import pathattr as pa
from pathattr_jax import JaxBackend, devices

first, second = jax.devices("cpu")
devices.names = lambda: {"cpu:0": first, "cpu:1": second}
x = np.ones((2, 6), np.float32)

class Linen(linen.Module):
    @linen.compact
    def __call__(self, x):
        return linen.Dense(3)(x)

variables = Linen().init(jax.random.key(0), x)
function = lambda x: Linen().apply(variables, x)

def nnx_model(moved):
    model = nnx.Linear(6, 3, rngs=nnx.Rngs(0))
    if moved:
        nnx.update(model, jax.device_put(nnx.state(model), second))
    return model

def keras_model():
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])

with keras.device("cpu:1"):
    built = keras_model()
there = jax.device_put(variables, second)
# The model as it is, and as the error says.
cases = {
    "linen": (Linen().bind(variables), [(Linen(), variables), Linen().bind(there)]),
    "nnx": (nnx_model(False), [nnx_model(True)]),
    "keras": (keras_model(), [built]),
    "function": (function, [(lambda p, x: Linen().apply(p, x), variables)]),
}
found = {}
for name, (model, mended) in cases.items():
    try:
        JaxBackend.place(model, "cpu:1")
        found[name] = ""
    except pa.InvalidInput as error:
        found[name] = str(error)
    for one in mended:
        placed = JaxBackend.place(one, "cpu:1")
        assert all(array.devices() == {second} for array in devices.arrays_of(placed)), name
        pa.PathExplainer(placed, steps=2, family="linear", channel_axis=None)(x, 1)
# A function runs where its inputs and the arrays in it are.
moved = jax.device_put(x, second)
pa.PathExplainer(lambda x: Linen().apply(there, x), steps=2, family="linear", channel_axis=None)(moved, 1)
print(json.dumps(found))
"""


@cache
def refused_on_another_device():
    """Return what is said of models that are on another device, by their kind; what it says is followed there."""
    flags = "--xla_backend_optimization_level=0 --xla_force_host_platform_device_count=2"
    path = os.pathsep.join(part for part in sys.path if part)
    done = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True, check=False,
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "KERAS_BACKEND": "jax", "PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def elsewhere(model):
    """Ask for a model on a device where it is not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "names", lambda: {"cpu": None, "cpu:1": None})
        JaxBackend.place(model, "cpu:1")


def on_two(kind, model, said):
    def follows():
        found = refused_on_another_device()[kind]
        assert found.startswith("the model is not on 'cpu:1': ")
        with pytest.raises(pa.InvalidInput) as here:
            elsewhere(model)
        assert str(here.value) == found

    return Refusal(lambda: elsewhere(model), said, follows)


PLACES = {
    "unknown": Refusal(
        lambda: JaxBackend.place(PAIR, "gpu:77"), f"no device 'gpu:77' here; it has {', '.join(DEVICES)}$",
        lambda: same(*[explain(JaxBackend.place(PAIR, device)) for device in DEVICES]),
    ),
    "linen": on_two("linen", Linen().bind(VARIABLES), r"pass \(module, variables\), or bind it to jax\.device_put\("),
    "nnx": on_two("nnx", Nnx(), r"nnx\.update\(model, jax\.device_put\(nnx\.state\(model\), device\)\) moves it"),
    "function": on_two("function", returning(jnp.tanh), r"pass \(apply, params\), .*or name no device: a function"),
}  # fmt: skip


def test_keras_models_on_another_device_are_built_there():
    assert refused_on_another_device()["keras"] == (
        "the model is not on 'cpu:1': build or load it under keras.device(...)"
    )


def randomised(model=PAIR, layers=None, **settings):
    explainer = pa.PathExplainer(model, channel_axis=None, family="linear", steps=2)
    return randomisation(explainer, X, 1, layers=layers, **settings)


def other_models(rng):
    yield JaxBackend.randomised(PAIR, ["w"], rng)


RANDOMISING = {
    "function": Refusal(
        lambda: randomised(returning(jnp.tanh)), r"arrays are not known; \(apply, params\) are\. Pass models=",
        lambda: [randomised(PAIR), randomised(returning(jnp.tanh), models=other_models)],
    ),
    "layer": Refusal(lambda: randomised(layers=["v"]), "no layer 'v' with weights; it has w$",
                     lambda: randomised(layers=["w"])),
    "no parameters": Refusal(
        lambda: JaxBackend.layers(Linen()), r"pass \(module, variables\)",
        lambda: [JaxBackend.layers((Linen(), VARIABLES)), JaxBackend.layers(Linen().bind(VARIABLES))],
    ),
}  # fmt: skip

TABLE = tabled({
    "model": MODELS, "inside": TRANSFORMATIONS, "outputs": OUTPUTS, "device": PLACES, "randomising": RANDOMISING,
})  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_following_the_advice_of_a_refusal_works(name):
    check(TABLE[name])


test_every_refusal_of_a_module_is_in_the_table = completeness(
    lambda factory: list(TABLE.values()), modules_of(pathattr_jax)
)
