"""Further arguments of models in JAX, Equinox and TensorFlow: the same reading as everywhere."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf

import pathattr as pa

# The same products in other blocks of float32.
SINGLE = 1e-5


@dataclass
class Further:
    scale: Any
    name: str = "text"


class Tupled(NamedTuple):
    scale: Any
    number: int = 3


NESTED = {
    "dict": (lambda a: {"scale": a, "name": "text"}, lambda got: got["scale"]),
    "list": (lambda a: [a, 1], lambda got: got[0]),
    "dataclass": (Further, lambda got: got.scale),
    "named tuple": (Tupled, lambda got: got.scale),
    "nested": (lambda a: {"x": (Further([a]),)}, lambda got: got["x"][0].scale[0]),
}
X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
SCALE = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
W = np.random.default_rng(2).normal(size=(3, 4)).astype(np.float32)


def explain(model, x, target=0, **call):
    settings = {"family": "linear", "channel_axis": None, "output": "raw", "steps": 6, "batch_size": 6}
    return pa.PathExplainer(model, **settings)(x, target, **call)


def native(framework, array):
    return jnp.asarray(array) if framework == "jax" else tf.constant(array)


def tanh(framework, z):
    return jnp.tanh(z) if framework == "jax" else tf.tanh(z)


@pytest.mark.parametrize("way", NESTED)
@pytest.mark.parametrize("kind", ["native", "numpy"])
@pytest.mark.parametrize("framework", ["jax", "tensorflow"])
def test_arrays_of_each_example_in_containers_go_with_its_nodes(framework, kind, way):
    wrap, unwrap = NESTED[way]

    def model(z, extra):
        return tanh(framework, z * unwrap(extra))

    scale = SCALE if kind == "numpy" else native(framework, SCALE)
    found = explain(model, native(framework, X), 1, kwargs={"extra": wrap(scale)}).numpy()
    for i in range(3):
        own = native(framework, SCALE[i])
        one = explain(lambda z, own=own: tanh(framework, z * own), native(framework, X[i : i + 1]), 1)
        np.testing.assert_allclose(found[i : i + 1], one.numpy(), rtol=SINGLE, atol=SINGLE)


@pytest.mark.parametrize("framework", ["jax", "tensorflow"])
def test_an_unmarked_weight_with_as_many_rows_as_the_batch_is_refused_and_the_advice_works(framework):
    def model(z, w):
        return tanh(framework, z @ (w.T if framework == "jax" else tf.transpose(w)))

    x, w = native(framework, X), native(framework, W)
    with pytest.raises(pa.InvalidInput, match=r"args\[0\] \(shape \(3, 4\)\).*pathattr\.Shared"):
        explain(model, x, args=(w,))
    found = explain(model, x, args=(pa.Shared(w),))
    expected = explain(lambda z: model(z, w), x)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=SINGLE, atol=SINGLE)


@pytest.mark.parametrize("framework", ["jax", "tensorflow"])
def test_a_state_with_the_batch_on_axis_1(framework):
    state = np.stack([SCALE, 2 * SCALE])  # (2, batch, 4)
    model = lambda z, h: tanh(framework, z * h[0] + h[1])  # noqa: E731 - one expression of two frameworks
    found = explain(model, native(framework, X), args=(pa.PerExample(native(framework, state), axis=1),)).numpy()
    for i in range(3):
        own = native(framework, state[:, i])
        one = explain(lambda z, own=own: model(z, own), native(framework, X[i : i + 1]))
        np.testing.assert_allclose(found[i : i + 1], one.numpy(), rtol=SINGLE, atol=SINGLE)


class Mixed(eqx.Module):
    def __call__(self, x, w):
        return jnp.tanh(jnp.atleast_2d(w) @ x)[:1] * jnp.ones(3)


def test_an_argument_that_equinox_may_take_in_two_ways_is_refused_and_both_ways_of_saying_work():
    x, w = jnp.asarray(X), jnp.asarray(W)
    with pytest.raises(pa.InvalidInput, match=r"args\[0\] .*as Shared they are others.*pathattr\.Shared"):
        explain(Mixed(), x, args=(w,))
    shared = explain(Mixed(), x, args=(pa.Shared(w),)).numpy()
    own = explain(Mixed(), x, args=(pa.PerExample(w),)).numpy()
    for i in range(3):
        one = explain(Mixed(), x[i : i + 1], args=(pa.Shared(w),)).numpy()
        np.testing.assert_allclose(shared[i : i + 1], one, rtol=SINGLE, atol=SINGLE)
        one = explain(Mixed(), x[i : i + 1], args=(pa.PerExample(w[i : i + 1]),)).numpy()
        np.testing.assert_allclose(own[i : i + 1], one, rtol=SINGLE, atol=SINGLE)


@pytest.mark.parametrize("framework", ["jax", "tensorflow"])
def test_an_output_callable_gets_all_that_the_model_returns(framework):
    def model(z):
        return {"features": z * 2, "logits": tanh(framework, z)}

    x = native(framework, X)
    settings = {"family": "linear", "channel_axis": None, "steps": 6, "batch_size": 6}
    found = pa.PathExplainer(model, output=lambda given: given["features"][:, 1] * given["logits"][:, 0], **settings)(x)
    np.testing.assert_allclose(found.score, 2 * X[:, 1] * np.tanh(X[:, 0]), rtol=SINGLE)
    head = pa.PathExplainer(model, output="raw", head="features", **settings)(x, 1)
    np.testing.assert_allclose(head.score, 2 * X[:, 1], rtol=SINGLE)
    pair = pa.PathExplainer(lambda z: (z, tanh(framework, z)), output="raw", **settings)
    with pytest.raises(pa.ModelError, match=r"0 \(shape \(\d+, 4\)\), 1 .*head=0"):
        pair(x, 1)
    np.testing.assert_allclose(pair.but(head=1)(x, 1).score, np.tanh(X[:, 1]), rtol=SINGLE)


@pytest.mark.parametrize("framework", ["jax", "tensorflow"])
def test_a_model_whose_rows_depend_on_batch_mates_is_told(framework):
    def model(z):
        return z / (jnp.max(z) if framework == "jax" else tf.reduce_max(z))

    with pytest.warns(UserWarning, match="depend on what else is in its batch"):
        explain(model, native(framework, np.abs(X) + 0.5))


NO_SCORES = {
    "nothing along an axis": (lambda z: z[:, :0], lambda z: z, r"returned nothing: an array of shape \(\d+, 0\)"),
    "None": (lambda z: None, lambda z: z, "returned NoneType, not an array"),
    "a function": (lambda z: lambda: z, lambda z: (lambda: z)(), "returned function, not an array"),
    "whole numbers": (lambda z: z > 0, lambda z: z, "not differentiable"),
}


@pytest.mark.parametrize("case", NO_SCORES)
@pytest.mark.parametrize("framework", ["jax", "tensorflow"])
def test_models_that_return_no_scores_say_what_to_return(framework, case):
    model, mended, said = NO_SCORES[case]
    with pytest.raises(pa.ModelError, match=said):
        explain(model, native(framework, X))
    np.testing.assert_allclose(explain(mended, native(framework, X)).score, X[:, 0])


@pytest.mark.parametrize("framework", ["jax", "tensorflow"])
def test_complex_outputs_and_scores_are_refused_with_the_way_to_real_ones(framework):
    number = 1j if framework == "jax" else tf.constant(1j, tf.complex64)

    def turned(z):
        return (z if framework == "jax" else tf.cast(z, tf.complex64)) * number

    x, size = native(framework, X), jnp.abs if framework == "jax" else tf.abs
    with pytest.raises(pa.ModelError, match=r"complex64, and a score is a real number: explain (jnp|tf)\.abs"):
        explain(turned, x)
    with pytest.raises(pa.ModelError, match="complex64, and a score is a real number"):
        pa.PathExplainer(lambda z: z, output=lambda z: turned(z)[:, 0], family="linear", channel_axis=None)(x)
    np.testing.assert_allclose(explain(lambda z: size(turned(z)), x).score, np.abs(X[:, 0]), rtol=SINGLE)
