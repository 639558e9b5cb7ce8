"""The axioms on a small smooth network in every framework, and what is wrong with a model named there too."""

from pathlib import Path
from runpy import run_path

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from scipy.special import log_softmax
from torch import nn

from pathattr import PathExplainer, scenes, verify
from pathattr.pictures.image_model import prepare
from pathattr.testing import frameworks

EXAMPLES = Path(__file__).parents[2] / "examples"
SHAPE = (3, 6, 5)
DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(2, 6, 5, 3)).astype(np.float32)
FILTERS = (DRAW.normal(size=(3, 3, 3, 4)) / 3).astype(np.float32)
WEIGHTS = (3 * DRAW.normal(size=(4, 5))).astype(np.float32)


def verified(model, inputs, call=None, **options):
    return verify(PathExplainer(model, **{"steps": 12, "batch_size": 26, **options}), inputs, **(call or {}))


def assert_verified(model, inputs, call=None, **options):
    report = verified(model, inputs, call, **options)
    assert report.passed, str(report)
    # float32: agreement to a few thousand units of 6e-8, but for the integration.
    assert all(row.tolerance < 1e-2 for row in report.rows if row.promise == "exact" and row.tolerance is not None)
    assert not [row.axiom for row in report.rows if row.verdict == "cannot tell"]


@pytest.mark.parametrize(
    ("name", "array"), [("torch", torch.tensor), ("tensorflow", tf.constant), ("jax", jnp.asarray)]
)
def test_the_axioms_hold_on_every_backend(name, array):
    backend, model = frameworks.network(name, SHAPE)
    inputs = np.moveaxis(DRAW.normal(size=(2, *SHAPE)).astype(np.float32), 1, backend.channel_axis)
    assert_verified(model, array(inputs))


def test_the_axioms_hold_on_keras():
    model = run_path(str(EXAMPLES / "keras_classifier.py"))["classifier"]()
    inputs = np.stack([prepare(image.astype(float), model)[1] for image in scenes.generate(2, seed=1).images])
    inputs = np.moveaxis(inputs, 1, -1).astype(np.float32)
    # The numbers are those of the layer list in float64 NumPy: sums of up to 900 float32 products.
    expected = scenes.forward(scenes.load_weights(), np.moveaxis(inputs, -1, 1))
    np.testing.assert_allclose(np.log(model.model(inputs)), log_softmax(expected, axis=1), atol=1e-4)
    report = verified(model.model, inputs, steps=4, preprocessing=model.preprocessing)
    assert report.passed, str(report)


# Functions without parameters, and further inputs with a row for each example


def in_tensorflow(x, shift=0.0):
    return tf.reduce_mean(tf.tanh(tf.nn.conv2d(x + shift, FILTERS, 1, "SAME")), (1, 2)) @ WEIGHTS


def in_jax(x, shift=0.0):
    axes = ("NHWC", "HWIO", "NHWC")
    found = jax.lax.conv_general_dilated(x + shift, FILTERS, (1, 1), "SAME", dimension_numbers=axes)
    return jnp.tanh(found).mean((1, 2)) @ WEIGHTS


@pytest.mark.parametrize(("model", "array"), [(in_tensorflow, tf.constant), (in_jax, jnp.asarray)])
def test_functions_are_verified_at_arrays_of_their_framework(model, array):
    assert_verified(model, array(X), {"kwargs": {"shift": array(X[::-1])}})


# Diagnosis


class Module(tf.Module):
    """The network with something done to its inputs or to its outputs."""

    def __init__(self, before=tf.identity, after=tf.identity):
        super().__init__()
        self.before, self.after = before, after

    def __call__(self, x):
        return self.after(in_tensorflow(self.before(x)))


class Counting(tf.Module):
    def __init__(self):
        super().__init__()
        self.calls = tf.Variable(0.0)

    def __call__(self, x):
        self.calls.assign_add(1.0)
        return in_tensorflow(x) + self.calls * tf.range(5.0)


@tf.custom_gradient
def wrong_in_tensorflow(x):
    return tf.tanh(3 * x), lambda gradient: gradient


@jax.custom_vjp
def wrong_in_jax(x):
    return jnp.tanh(3 * x)


wrong_in_jax.defvjp(lambda x: (jnp.tanh(3 * x), None), lambda _, gradient: (gradient,))

OF_TENSORFLOW = {
    "randomness": lambda: Module(before=lambda x: x + tf.random.normal(tf.shape(x))),
    "batch statistics": lambda: Module(before=lambda x: x - tf.reduce_mean(x, 0)),
    "not differentiable": lambda: Module(after=tf.round),
    "constant in pieces": lambda: Module(after=lambda y: tf.round(y) + 0 * y),
    "not finite": lambda: Module(after=tf.math.log),
    "gradients are not those of the score": lambda: Module(after=wrong_in_tensorflow),
}
OF_JAX = {
    "batch statistics": lambda x: in_jax(x - x.mean(0)),
    # JAX differentiates rounding, to 0.
    "constant in pieces": lambda x: jnp.round(in_jax(x)),
    "not finite": lambda x: jnp.log(in_jax(x)),
    "gradients are not those of the score": lambda x: wrong_in_jax(in_jax(x)),
}


@pytest.mark.parametrize("name", OF_TENSORFLOW)
def test_what_is_wrong_with_a_tensorflow_model_is_named(name):
    report = verified(OF_TENSORFLOW[name](), X, output="raw")
    assert [diagnosis.name for diagnosis in report.diagnoses] == [name]


def test_state_that_a_tensorflow_model_keeps_is_refused_before_it_changes():
    model = Counting()
    (diagnosis,) = verified(model, X, output="raw").diagnoses
    assert diagnosis.name == "cannot be explained"
    assert "writes to its own variables" in diagnosis.seen
    assert float(model.calls) == 0


@pytest.mark.parametrize("name", OF_JAX)
def test_what_is_wrong_with_a_jax_model_is_named(name):
    report = verified(OF_JAX[name], jnp.asarray(X), output="raw")
    assert [diagnosis.name for diagnosis in report.diagnoses] == [name]


def test_an_uncompiled_jax_function_that_draws_is_found_out():
    rng = np.random.default_rng(0)
    report = verified(
        lambda x: in_jax(x + rng.normal(size=x.shape)), jnp.asarray(X), output="raw", backend_options={"jit": False}
    )
    assert [diagnosis.name for diagnosis in report.diagnoses] == ["randomness, or state kept between calls"]


def test_dropout_that_keras_leaves_on_is_found_out():
    class Noisy(keras.Model):
        def __init__(self):
            super().__init__()
            self.drop, self.last = keras.layers.Dropout(0.5), keras.layers.Dense(5)

        def call(self, x):
            return self.last(keras.ops.mean(self.drop(x, training=True), (1, 2)))

    model = Noisy()
    model(X)
    (diagnosis,) = verified(model, X).diagnoses
    # What Keras writes to its seed is dropped: each call draws the same, and each place in a batch something else.
    assert diagnosis.name == "randomness, or dependence on the place in a batch"


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_a_recurrent_model_that_takes_the_batch_for_time_is_found_out(batch):
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.recurrent, self.last = nn.GRU(4, 5), nn.Linear(5, 3)  # batch_first=True forgotten

        def forward(self, x):
            return self.last(self.recurrent(x)[0][:, -1])

    torch.manual_seed(0)
    explainer = PathExplainer(Backwards().eval(), steps=8, channel_axis=None)
    (diagnosis,) = verify(explainer, torch.randn(batch, 5, 4), 0).diagnoses
    assert diagnosis.name == "randomness, or dependence on the place in a batch"
    assert "batch_first=True" in diagnosis.remedy
