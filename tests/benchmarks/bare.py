"""Bare gradients of a network in each framework, as a careful user of it would take them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

import networks
from common import normalised, pictures

FRAMEWORKS = ("torch", "tensorflow", "jax")
FEATURES = 10


@dataclass(frozen=True)
class Subject:
    """A model, one example, `points(array)`, a block of them there, and `gradients(points)`, which waits for them."""

    model: Any
    x: Any
    points: Any
    gradients: Any
    channel_axis: int | None


def subject(framework, name, size, device="cpu", threads=1):
    """Return a network of the benchmarks ("mlp": ten features), and a picture or features for it."""
    _limit(framework, threads)
    if name == "mlp":
        x = np.random.default_rng(0).normal(size=(1, FEATURES)).astype(np.float32)
        return _IN[framework](_mlp(framework), x, None, device)
    load = networks.load_torch if framework == "torch" else getattr(networks, f"load_{framework}")
    found = load(name)
    x = normalised(pictures(1, size), found.preprocessing)
    axis = 1 if framework == "torch" else -1
    return _IN[framework](found.model, np.ascontiguousarray(np.moveaxis(x, 1, axis)), axis, device)


def _limit(framework, threads):
    """Have a framework compute in so many threads; JAX asks the environment only."""
    if framework == "torch":
        import torch

        torch.set_num_threads(threads)
    elif framework == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)


def repeated(x, count):
    """Return one example as often as a block has points, on the host."""
    return np.repeat(np.asarray(x.cpu() if hasattr(x, "cpu") and callable(x.cpu) else x), count, axis=0)


def _mlp(framework):
    """Return a perceptron of 32 hidden units."""
    rng = np.random.default_rng(1)
    first, last = (rng.normal(size=shape).astype(np.float32) for shape in ((FEATURES, 32), (32, 3)))
    if framework == "torch":
        import torch

        network = torch.nn.Sequential(torch.nn.Linear(FEATURES, 32), torch.nn.Tanh(), torch.nn.Linear(32, 3))
        return network.eval().requires_grad_(False)
    if framework == "tensorflow":
        import tensorflow as tf

        class Perceptron(tf.Module):
            def __init__(self):
                super().__init__()
                self.first, self.last = tf.Variable(first), tf.Variable(last)

            @tf.function
            def __call__(self, x):
                return tf.tanh(x @ self.first) @ self.last

        return Perceptron()
    import jax
    import jax.numpy as jnp

    def apply(params, x):
        return jnp.tanh(x @ params["first"]) @ params["last"]

    return jax.jit(apply), {"first": jnp.asarray(first), "last": jnp.asarray(last)}


def _torch(model, x, axis, device):
    import torch

    model = model.to(device)

    def gradients(points):
        x = points.detach().requires_grad_(True)
        return torch.autograd.grad(torch.softmax(model(x), 1)[:, 0].sum(), x)

    def there(array):
        return torch.tensor(array, device=device)

    return Subject(model, there(x), there, gradients, axis)


def _tensorflow(model, x, axis, device):
    import tensorflow as tf

    @tf.function(reduce_retracing=False)
    def gradients(points):
        with tf.GradientTape() as tape:
            tape.watch(points)
            score = tf.reduce_sum(tf.nn.softmax(model(points), -1)[:, 0])
        return tape.gradient(score, points)

    return Subject(model, tf.constant(x), tf.constant, lambda points: gradients(points).numpy(), axis)


def _jax(model, x, axis, device):
    import jax
    import jax.numpy as jnp

    apply, params = model

    @jax.jit
    def gradients(params, points):
        return jax.grad(lambda points: jax.nn.softmax(apply(params, points), -1)[:, 0].sum())(points)

    def waited(points):
        return gradients(params, points).block_until_ready()

    return Subject(model, jnp.asarray(x), jnp.asarray, waited, axis)


_IN = {"torch": _torch, "tensorflow": _tensorflow, "jax": _jax}
