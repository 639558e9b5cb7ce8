"""The pretrained SqueezeNet of PATHATTR_REAL, rebuilt in Keras and in JAX from the same weights (NHWC, RGB in [0, 1]).

Not part of the package: `PATHATTR_REAL` names a folder with `models.py` and `squeezenet_imagenet.npz`, which tests use
where it is set.
"""

import importlib.util
import os
from pathlib import Path

import numpy as np

FIRES = [f"fire{i}" for i in range(2, 10)]
POOLED_AFTER = {"conv1", "fire4", "fire8"}
MEAN = np.array([104.0, 117.0, 123.0], np.float32)  # BGR, of 255


def folder():
    """Return the folder, or None where it is not given."""
    return Path(os.environ["PATHATTR_REAL"]) if os.environ.get("PATHATTR_REAL") else None


def torch_models():
    """Return the module of the PyTorch originals."""
    found = importlib.util.spec_from_file_location("real_torch_models", folder() / "models.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def weights():
    """Return kernels (height, width, in, out) and biases by layer."""
    with np.load(folder() / "squeezenet_imagenet.npz") as file:
        arrays = {name: file[name].astype(np.float32) for name in file.files}
    layers = {name.rpartition(".")[0] for name in arrays if name.endswith(".bias")}
    return {name: (arrays[f"{name}.weight"].transpose(2, 3, 1, 0), arrays[f"{name}.bias"]) for name in layers}


def squeezenet_torch():
    """Return the original."""
    return torch_models().squeezenet()


def squeezenet_jax():
    """Return (apply, params)."""
    import jax
    import jax.numpy as jnp

    def conv(p, x, stride=1, padding=0):
        sides = ((padding, padding), (padding, padding))
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, p[0], (stride, stride), sides, dimension_numbers=numbers) + p[1]

    def pool(x):  # PyTorch's ceil_mode: a last window may hang over the edge
        over = [(0, -(size - 3) % 2) for size in x.shape[1:3]]
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), [(0, 0), *over, (0, 0)])

    def apply(p, x):
        x = x[..., ::-1] * 255 - MEAN
        x = pool(jax.nn.relu(conv(p["conv1"], x, 2)))
        for name in FIRES:
            x = jax.nn.relu(conv(p[f"fires.{name}.squeeze"], x))
            wide = conv(p[f"fires.{name}.expand3"], x, padding=1)
            x = jax.nn.relu(jnp.concatenate([conv(p[f"fires.{name}.expand1"], x), wide], -1))
            x = pool(x) if name in POOLED_AFTER else x
        return jax.nn.relu(conv(p["final"], x, padding=1)).mean((1, 2))

    return apply, {name: tuple(map(jnp.asarray, arrays)) for name, arrays in weights().items()}


def squeezenet_keras():
    """Return a functional Keras model on whichever backend Keras runs."""
    import keras
    from keras import layers

    to_fill = []

    def conv(name, x, stride=1, padding=0):
        kernel, bias = weights()[name]
        layer = layers.Conv2D(len(bias), kernel.shape[0], stride)
        to_fill.append((layer, (kernel, bias)))
        return layer(layers.ZeroPadding2D(padding)(x) if padding else x)

    def pool(x):  # after ReLU, padding by zeros changes no maximum
        return layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(tuple((0, -(s - 3) % 2) for s in x.shape[1:3]))(x))

    start = layers.Input((224, 224, 3))
    x = keras.ops.flip(start, -1) * 255 - MEAN
    x = pool(layers.ReLU()(conv("conv1", x, 2)))
    for name in FIRES:
        x = layers.ReLU()(conv(f"fires.{name}.squeeze", x))
        sides = [conv(f"fires.{name}.expand1", x), conv(f"fires.{name}.expand3", x, padding=1)]
        x = layers.ReLU()(layers.Concatenate()(sides))
        x = pool(x) if name in POOLED_AFTER else x
    model = keras.Model(start, layers.GlobalAveragePooling2D()(layers.ReLU()(conv("final", x, padding=1))))
    for layer, arrays in to_fill:
        layer.set_weights(list(arrays))
    return model
