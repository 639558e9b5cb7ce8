"""The same networks in every framework, from the same weights, and what they attribute.

    python tests/parity.py run FRAMEWORK DTYPE FILE    attributes every network here and writes an .npz
    python tests/parity.py table FILE.md               runs everything and writes the table of differences

Frameworks: numpy (the MLP only), torch, tensorflow, jax, keras-tensorflow, keras-jax, keras-torch. Each runs in a
process of its own: JAX decides on float64 and Keras on its backend when they are imported.
"""

import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

FRAMEWORKS = ("numpy", "torch", "tensorflow", "jax", "keras-tensorflow", "keras-jax", "keras-torch")
NETWORKS = ("mlp", "cnn", "transformer")
# Not held to the bound: where a path passes through a piecewise constant picture, windows of a max pooling have ties,
# which frameworks break differently. The table shows what that comes to.
WITH_TIES = "cnn-maxpool"
BN_EPSILON, LN_EPSILON = 1e-3, 1e-6  # said to every framework: their defaults differ
HEADS = 2


def weights():
    """Return all weights, float64: convolutions (out, in, h, w), dense layers (out, in)."""
    rng = np.random.default_rng(7)

    def dense(out, into):
        return rng.normal(size=(out, into)) / np.sqrt(into), 0.1 * rng.normal(size=out)

    def conv(out, into, size):
        return rng.normal(size=(out, into, size, size)) / np.sqrt(into * size * size), 0.1 * rng.normal(size=out)

    def norm(size):
        return 1 + 0.1 * rng.normal(size=size), 0.1 * rng.normal(size=size)

    networks = {
        "mlp": {"first": dense(16, 3 * 12 * 10), "last": dense(5, 16)},
        "cnn": {
            "conv1": conv(6, 3, 3),
            "norm": (*norm(6), 0.1 * rng.normal(size=6), 0.5 + rng.random(6)),
            "conv2": conv(8, 6, 3),
            "last": dense(5, 8),
        },
        "transformer": {
            "ln1": norm(10), "q": dense(10, 10), "k": dense(10, 10), "v": dense(10, 10), "o": dense(10, 10),
            "ln2": norm(10), "up": dense(20, 10), "down": dense(10, 20), "last": dense(5, 10),
        },
    }  # fmt: skip
    return networks | {WITH_TIES: networks["cnn"]}


def inputs(network):
    """Return a batch: pictures (2, 3, 12, 10), or tokens × embedding (2, 12, 10)."""
    shape = (2, 12, 10) if network == "transformer" else (2, 3, 12, 10)
    return np.random.default_rng(11).normal(size=shape)


# The networks, one builder a framework. Pictures come channels first to numpy and torch, channels last to the others.


def build_numpy(network, w, dtype):
    import pathattr as pa
    from pathattr.testing import TanhNetwork

    spec = TanhNetwork((3, 12, 10), *w["first"], *w["last"])
    return pa.NumpyModel(lambda x: spec.value(x).astype(dtype), lambda x, c: spec.vjp(x, c).astype(dtype))


def build_torch(network, w, dtype):
    import torch
    from torch import nn
    from torch.nn import functional as F  # noqa: N812 - as everybody does

    def parameter(array):
        return nn.Parameter(torch.tensor(array, dtype=getattr(torch, dtype)), requires_grad=False)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = {name: tuple(parameter(a) for a in arrays) for name, arrays in w.items()}
            self.held = nn.ParameterList([p for arrays in self.w.values() for p in arrays])
            self.eval()

        def forward(self, x):
            return getattr(self, network.partition("-")[0])(x)

        def mlp(self, x):
            return F.linear(torch.tanh(F.linear(x.flatten(1), *self.w["first"])), *self.w["last"])

        def cnn(self, x):
            gain, shift, mean, variance = self.w["norm"]
            x = F.conv2d(x, *self.w["conv1"], stride=2, padding=1)
            x = F.relu(F.batch_norm(x, mean, variance, gain, shift, eps=BN_EPSILON))
            x = F.relu(F.conv2d(x, *self.w["conv2"], padding=1))
            x = F.max_pool2d(x, 2) if network == WITH_TIES else F.avg_pool2d(x, 2)
            return F.linear(x.mean((2, 3)), *self.w["last"])

        def transformer(self, x):
            y = F.layer_norm(x, x.shape[-1:], *self.w["ln1"], eps=LN_EPSILON)
            q, k, v = (F.linear(y, *self.w[n]).unflatten(-1, (HEADS, -1)).transpose(1, 2) for n in "qkv")
            mixed = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(q.shape[-1]), -1) @ v
            x = x + F.linear(mixed.transpose(1, 2).flatten(2), *self.w["o"])
            y = F.layer_norm(x, x.shape[-1:], *self.w["ln2"], eps=LN_EPSILON)
            x = x + F.linear(F.gelu(F.linear(y, *self.w["up"]), approximate="none"), *self.w["down"])
            return F.linear(x.mean(1), *self.w["last"])

    return Network()


def build_tensorflow(network, w, dtype):
    import tensorflow as tf

    class Network(tf.Module):
        def __init__(self):
            super().__init__()
            self.w = {n: [tf.Variable(a, dtype=dtype) for a in arrays] for n, arrays in w.items()}

        def __call__(self, x):
            return getattr(self, network.partition("-")[0])(x)

        def dense(self, name, x):
            kernel, bias = self.w[name]
            return tf.matmul(x, kernel, transpose_b=True) + bias

        def mlp(self, x):
            flat = tf.reshape(tf.transpose(x, (0, 3, 1, 2)), (tf.shape(x)[0], -1))  # weights are for channels first
            return self.dense("last", tf.tanh(self.dense("first", flat)))

        def conv(self, name, x, stride):
            kernel, bias = self.w[name]
            return tf.nn.conv2d(x, tf.transpose(kernel, (2, 3, 1, 0)), stride, [[0, 0], [1, 1], [1, 1], [0, 0]]) + bias

        def cnn(self, x):
            gain, shift, mean, variance = self.w["norm"]
            x = tf.nn.batch_normalization(self.conv("conv1", x, 2), mean, variance, shift, gain, BN_EPSILON)
            pool = tf.nn.max_pool2d if network == WITH_TIES else tf.nn.avg_pool2d
            x = pool(tf.nn.relu(self.conv("conv2", tf.nn.relu(x), 1)), 2, 2, "VALID")
            return self.dense("last", tf.reduce_mean(x, (1, 2)))

        def norm(self, name, x):
            gain, shift = self.w[name]
            mean, variance = tf.nn.moments(x, -1, keepdims=True)
            return tf.nn.batch_normalization(x, mean, variance, shift, gain, LN_EPSILON)

        def heads(self, x):
            return tf.transpose(tf.reshape(x, (tf.shape(x)[0], x.shape[1], HEADS, -1)), (0, 2, 1, 3))

        def transformer(self, x):
            y = self.norm("ln1", x)
            q, k, v = (self.heads(self.dense(n, y)) for n in "qkv")
            scale = math.sqrt(x.shape[-1] // HEADS)
            mixed = tf.matmul(tf.nn.softmax(tf.matmul(q, k, transpose_b=True) / scale), v)
            mixed = tf.reshape(tf.transpose(mixed, (0, 2, 1, 3)), tf.shape(x))
            x = x + self.dense("o", mixed)
            y = self.dense("up", self.norm("ln2", x))
            # Not tf.nn.gelu: its √2 has been through float32, 2.5e-8 off in float64.
            x = x + self.dense("down", 0.5 * y * (1 + tf.math.erf(y / tf.constant(math.sqrt(2), y.dtype))))
            return self.dense("last", tf.reduce_mean(x, 1))

    return Network()


def build_jax(network, w, dtype):
    import jax
    import jax.numpy as jnp

    def dense(p, x):
        return x @ p[0].T + p[1]

    def conv(p, x, stride):
        kernel = jnp.transpose(p[0], (2, 3, 1, 0))
        numbers = ("NHWC", "HWIO", "NHWC")
        return (
            jax.lax.conv_general_dilated(x, kernel, (stride, stride), ((1, 1), (1, 1)), dimension_numbers=numbers)
            + p[1]
        )

    def mlp(p, x):
        return dense(p["last"], jnp.tanh(dense(p["first"], jnp.transpose(x, (0, 3, 1, 2)).reshape(len(x), -1))))

    def cnn(p, x):
        gain, shift, mean, variance = p["norm"]
        x = (conv(p["conv1"], x, 2) - mean) / jnp.sqrt(variance + BN_EPSILON) * gain + shift
        x = jax.nn.relu(conv(p["conv2"], jax.nn.relu(x), 1))
        window = ((1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        if network == WITH_TIES:
            x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, *window)
        else:
            x = jax.lax.reduce_window(x, 0.0, jax.lax.add, *window) / 4
        return dense(p["last"], x.mean((1, 2)))

    def norm(p, x):
        mean = x.mean(-1, keepdims=True)
        variance = ((x - mean) ** 2).mean(-1, keepdims=True)
        return (x - mean) / jnp.sqrt(variance + LN_EPSILON) * p[0] + p[1]

    def transformer(p, x):
        y = norm(p["ln1"], x)
        q, k, v = (dense(p[n], y).reshape(*x.shape[:2], HEADS, -1).transpose(0, 2, 1, 3) for n in "qkv")
        mixed = jax.nn.softmax(q @ k.transpose(0, 1, 3, 2) / math.sqrt(q.shape[-1]), -1) @ v
        x = x + dense(p["o"], mixed.transpose(0, 2, 1, 3).reshape(x.shape))
        x = x + dense(p["down"], jax.nn.gelu(dense(p["up"], norm(p["ln2"], x)), approximate=False))
        return dense(p["last"], x.mean(1))

    apply = {"mlp": mlp, "cnn": cnn, "transformer": transformer}[network.partition("-")[0]]
    return apply, {name: [jnp.asarray(a, dtype) for a in arrays] for name, arrays in w.items()}


def build_keras(network, w, dtype):
    import keras
    from keras import layers

    keras.backend.set_floatx(dtype)
    keras.config.set_image_data_format("channels_last")
    to_fill = []

    def gelu(z):  # keras.ops.gelu on TensorFlow has a √2 that has been through float32
        return 0.5 * z * (1 + keras.ops.erf(z / math.sqrt(2)))

    def filled(layer, *arrays):
        to_fill.append((layer, arrays))
        return layer

    def dense(name):
        kernel, bias = w[name]
        return filled(layers.Dense(len(bias)), kernel.T, bias)

    def conv(name, x, stride):
        kernel, bias = w[name]
        layer = filled(layers.Conv2D(len(bias), 3, stride), kernel.transpose(2, 3, 1, 0), bias)
        return layer(layers.ZeroPadding2D(1)(x))  # "same" pads strided convolutions on one side only

    if network == "transformer":
        x = start = layers.Input((12, 10))
        y = filled(layers.LayerNormalization(epsilon=LN_EPSILON), *w["ln1"])(x)
        q, k, v = (keras.ops.transpose(layers.Reshape((12, HEADS, -1))(dense(n)(y)), (0, 2, 1, 3)) for n in "qkv")
        scores = keras.ops.matmul(q, keras.ops.transpose(k, (0, 1, 3, 2))) / math.sqrt(10 // HEADS)
        mixed = keras.ops.transpose(keras.ops.matmul(keras.ops.softmax(scores, -1), v), (0, 2, 1, 3))
        x = layers.add([x, dense("o")(layers.Reshape((12, 10))(mixed))])
        y = filled(layers.LayerNormalization(epsilon=LN_EPSILON), *w["ln2"])(x)
        y = dense("down")(layers.Activation(gelu)(dense("up")(y)))
        x = layers.GlobalAveragePooling1D()(layers.add([x, y]))
    elif network in ("cnn", WITH_TIES):
        x = start = layers.Input((12, 10, 3))
        norm = filled(layers.BatchNormalization(epsilon=BN_EPSILON), *w["norm"])
        x = layers.ReLU()(norm(conv("conv1", x, 2)))
        pool = layers.MaxPooling2D if network == WITH_TIES else layers.AveragePooling2D
        x = pool(2)(layers.ReLU()(conv("conv2", x, 1)))
        x = layers.GlobalAveragePooling2D()(x)
    else:
        x = start = layers.Input((12, 10, 3))
        x = layers.Activation("tanh")(dense("first")(layers.Flatten()(layers.Permute((3, 1, 2))(x))))
    model = keras.Model(start, dense("last")(x))
    for layer, arrays in to_fill:
        layer.set_weights([np.asarray(a, dtype) for a in arrays])
    return model


def attribute(framework, dtype):
    """Return attributions and components by network, family and schedule, pictures channels first."""
    import pathattr as pa
    from pathattr.families import FAMILIES
    from pathattr.paths.schedules import SCHEDULES

    results = {}
    for network in (*NETWORKS, WITH_TIES) if framework != "numpy" else ("mlp",):
        build = globals()["build_" + framework.partition("-")[0]]
        model = build(network, weights()[network], dtype)
        x = inputs(network).astype(dtype)
        last = network != "transformer" and framework not in ("numpy", "torch")
        axis = None if network == "transformer" else -1 if last else 1
        forced = {"keras-torch": "torch"}.get(framework, framework.rpartition("-")[2])
        for family in FAMILIES:
            for schedule in SCHEDULES:
                explainer = pa.PathExplainer(
                    model, family=family, schedule=schedule, steps=20, batch_size=16, channel_axis=axis, backend=forced
                )
                found = explainer(np.moveaxis(x, 1, -1) if last else x, [1, 3])
                maps = found.numpy()
                results[f"{network}/{family}/{schedule}/features"] = np.moveaxis(maps, -1, 1) if last else maps
                flat = [part.reshape(2, -1) for part in found.components.attributions]
                results[f"{network}/{family}/{schedule}/components"] = np.concatenate(flat, axis=1)
    return results


def run(framework, dtype, path):
    """Attribute in a process of its own, which sees only what this framework needs."""
    # One thread: these networks are too small to share.
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
    if framework.startswith("keras-"):
        environment["KERAS_BACKEND"] = framework.partition("-")[2]
    if "jax" in framework:
        environment["JAX_ENABLE_X64"] = "1" if dtype == "float64" else "0"
    done = subprocess.run(
        [sys.executable, __file__, "run", framework, dtype, path],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{framework} {dtype} failed:\n{done.stderr[-3000:]}")
    with np.load(path) as file:
        return {name: file[name].astype(np.float64) for name in file.files}


def differences(found, expected):
    """Return per name the largest relative L2 difference of an image, and max|Δ|/max|A|."""
    table = {}
    for name, ours in found.items():
        theirs = expected[name]
        delta = (ours - theirs).reshape(len(ours), -1)
        norms = np.linalg.norm(theirs.reshape(len(ours), -1), axis=1)
        table[name] = (np.linalg.norm(delta, axis=1) / norms).max(), np.abs(delta).max() / np.abs(theirs).max()
    return table


def table(path):
    """Write the differences of every framework from PyTorch in float64 as a page of the docs."""
    from pathattr.families import FAMILIES
    from pathattr.paths.schedules import SCHEDULES

    measures = ("features: rel. L2", "features: max", "components: rel. L2", "components: max")
    lines = [
        "# Parity: the same numbers everywhere",
        "",
        (
            f"The same networks from the same weights, {len(FAMILIES)} families × {len(SCHEDULES)} schedules, 20 "
            "midpoints, two inputs; the largest difference from PyTorch in float64 (of PyTorch itself from NumPy):\n"
            "relative L2 per image, and the largest difference over the largest attribution (max)."
        ),
        "",
        (
            f"`{WITH_TIES}` is shown, not promised: where a path passes through a piecewise constant picture, as band "
            "paths do,\nthe windows of a max pooling have exact ties, and which of the tied pixels gets the gradient "
            "differs from framework to\nframework. Sums over components do not see it."
        ),
        "",
        "Measured and written by `python tests/parity.py table docs/parity.md`.",
        "",
        "| framework | dtype | network | " + " | ".join(measures) + " |",
        "|---" * (3 + len(measures)) + "|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        reference = run("torch", "float64", f"{folder}/reference.npz")
        oracle = run("numpy", "float64", f"{folder}/oracle.npz")
        for framework in FRAMEWORKS:
            for dtype in ("float64", "float32"):
                found = run(framework, dtype, f"{folder}/found.npz")
                against = oracle if (framework, dtype) == ("torch", "float64") else reference
                measured = differences({n: a for n, a in found.items() if n in against}, against)
                for network in (*NETWORKS, WITH_TIES):
                    cells = []
                    for kind in ("features", "components"):
                        own = [m for n, m in measured.items() if n.startswith(network + "/") and n.endswith(kind)]
                        cells += [f"{max(m[i] for m in own):.1e}" for i in (0, 1)] if own else []
                    if cells:
                        lines.append(f"| {framework} | {dtype} | {network} | " + " | ".join(cells) + " |")
    Path(path).write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "table":
        table(*arguments)
    else:
        np.savez(arguments[2], **attribute(*arguments[:2]))
