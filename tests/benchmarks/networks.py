"""The networks that are timed: ResNet-18 and ResNet-50 in PyTorch and TensorFlow from the same weights, and any spec.

The ResNets are those of He et al. (2015), with the stride of a bottleneck in its 3×3 convolution as everybody has it
since. Their weights are random, their BatchNorm statistics those of pictures, so that no layer is dead or saturated.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np

from common import normalised, pictures
from pathattr import scenes
from pathattr.models.specs import load_model
from pathattr.pictures.image_model import ImageModel

CLASSES = 1000
BN_EPSILON = 1e-5


@dataclass(frozen=True)
class Architecture:
    """How many blocks each stage has; expansion 1: blocks of two 3×3 convolutions, 4: bottlenecks."""

    counts: tuple[int, ...]
    expansion: int


RESNETS = {"resnet18": Architecture((2, 2, 2, 2), 1), "resnet50": Architecture((3, 4, 6, 3), 4)}


@dataclass(frozen=True)
class Conv:
    """A convolution without bias, padded to keep the size but for its stride, and the BatchNorm after it."""

    name: str
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1


STEM = Conv("stem", 3, 64, 7, 2)


def blocks(architecture):
    """Yield each residual block: its convolutions, and that of its shortcut where it needs one."""
    inputs = STEM.outputs
    for stage, count in enumerate(architecture.counts):
        width = 64 * 2**stage
        outputs = width * architecture.expansion
        for i in range(count):
            stride, name = 2 if stage and i == 0 else 1, f"stage{stage + 1}_block{i + 1}"
            if architecture.expansion == 1:
                convs = Conv(f"{name}_a", inputs, width, 3, stride), Conv(f"{name}_b", width, outputs, 3)
            else:
                convs = (
                    Conv(f"{name}_a", inputs, width, 1),
                    Conv(f"{name}_b", width, width, 3, stride),
                    Conv(f"{name}_c", width, outputs, 1),
                )
            changes = stride != 1 or inputs != outputs
            yield convs, Conv(f"{name}_shortcut", inputs, outputs, 1, stride) if changes else None
            inputs = outputs


def forward(architecture, ops, x):
    """Return the logits of normalised pictures; `ops` has the operations of a framework."""
    x = ops.pool(ops.relu(ops.conv(STEM, x)))
    for convs, shortcut in blocks(architecture):
        y = x
        for conv in convs[:-1]:
            y = ops.relu(ops.conv(conv, y))
        x = ops.relu(ops.conv(convs[-1], y) + (x if shortcut is None else ops.conv(shortcut, x)))
    return ops.dense(ops.mean(x))


@functools.cache
def weights(name, seed=0):
    """Return the arrays of a ResNet: kernels (out, in, height, width) and BatchNorms by convolution, and the last."""
    import torch

    rng, arrays = np.random.default_rng(seed), {}
    architecture = RESNETS[name]
    convs = [STEM, *(c for body, shortcut in blocks(architecture) for c in (*body, *([shortcut] if shortcut else [])))]
    for conv in convs:
        shape = (conv.outputs, conv.inputs, conv.kernel, conv.kernel)
        arrays[f"{conv.name}_kernel"] = rng.normal(0, math.sqrt(2 / math.prod(shape[1:])), shape)
        start = {"gain": 1, "shift": 0, "mean": 0, "variance": 1}
        arrays |= {f"{conv.name}_{part}": np.full(conv.outputs, value) for part, value in start.items()}
    features = convs[-1].outputs
    arrays["last_kernel"] = rng.normal(0, 1 / math.sqrt(features), (CLASSES, features))
    arrays["last_bias"] = np.zeros(CLASSES)
    arrays = {key: array.astype(np.float32) for key, array in arrays.items()}
    light = np.linspace(0, 1, 16)[:, None, None, None]  # dark ones too: paths begin at black
    x = torch.tensor(normalised(light * pictures(16, scenes.SIZE), scenes.PREPROCESSING))
    calibrated = torch_resnet(name, arrays)
    with torch.no_grad():
        calibrated.calibrating = True
        calibrated(x)
    return {key: array.numpy() for key, array in calibrated.arrays.items()}


def torch_resnet(name, arrays):
    """Return a ResNet as a module in evaluation mode, on the CPU, without gradients of its weights."""
    import torch
    from torch import nn
    from torch.nn import functional as F  # noqa: N812 - as everybody does

    class ResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.arrays = nn.ParameterDict({k: nn.Parameter(torch.tensor(a), False) for k, a in arrays.items()})
            self.calibrating = False
            self.eval()

        def forward(self, x):
            return forward(RESNETS[name], self, x)

        def conv(self, conv, x):
            x = F.conv2d(x, self.arrays[f"{conv.name}_kernel"], stride=conv.stride, padding=conv.kernel // 2)
            mean, variance, gain, shift = (
                self.arrays[f"{conv.name}_{part}"] for part in ("mean", "variance", "gain", "shift")
            )
            if self.calibrating:
                mean.copy_(x.mean((0, 2, 3)))
                variance.copy_(x.var((0, 2, 3)))
            return F.batch_norm(x, mean, variance, gain, shift, eps=BN_EPSILON)

        relu = staticmethod(F.relu)

        def pool(self, x):
            return F.max_pool2d(x, 3, 2, 1)

        def mean(self, x):
            return x.mean((2, 3))

        def dense(self, x):
            return F.linear(x, self.arrays["last_kernel"], self.arrays["last_bias"])

    return ResNet()


def tensorflow_resnet(name, arrays):
    """Return a ResNet as a tf.Module, channels last."""
    import tensorflow as tf

    axes = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}

    class ResNet(tf.Module):
        def __init__(self):
            super().__init__()
            self.arrays = {k: tf.Variable(a.transpose(axes[a.ndim]), trainable=False) for k, a in arrays.items()}

        @tf.autograph.experimental.do_not_convert
        def __call__(self, x):
            return forward(RESNETS[name], self, x)

        def conv(self, conv, x):
            sides = (conv.kernel // 2,) * 2
            x = tf.nn.conv2d(x, self.arrays[f"{conv.name}_kernel"], conv.stride, ((0, 0), sides, sides, (0, 0)))
            parts = (self.arrays[f"{conv.name}_{part}"] for part in ("gain", "shift", "mean", "variance"))
            return tf.compat.v1.nn.fused_batch_norm(x, *parts, epsilon=BN_EPSILON, is_training=False)[0]

        relu = staticmethod(tf.nn.relu)

        def pool(self, x):  # after ReLU, padding by zeros changes no maximum
            return tf.nn.max_pool2d(tf.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), 3, 2, "VALID")

        def mean(self, x):
            return tf.reduce_mean(x, (1, 2))

        def dense(self, x):
            return x @ self.arrays["last_kernel"] + self.arrays["last_bias"]

    return ResNet()


def load_torch(spec, arrays=None):
    """Return the ImageModel that a name of RESNETS or a spec of the command means; `arrays` saves making them."""
    if spec in RESNETS:
        return ImageModel(torch_resnet(spec, arrays or weights(spec)), None, scenes.PREPROCESSING)
    found = load_model(spec, backend="torch")
    found.model.requires_grad_(False)
    return found


def load_tensorflow(spec, arrays=None):
    """Return the same network in TensorFlow; raises LookupError for a spec that is known in PyTorch only."""
    if spec in RESNETS:
        return ImageModel(tensorflow_resnet(spec, arrays or weights(spec)), None, scenes.PREPROCESSING)
    if spec == "scenes":
        return load_model(spec, backend="tensorflow")
    raise LookupError(f"{spec} is a PyTorch model only")


def load_jax(spec, arrays=None):
    """Return the same network in JAX, as (apply, params)."""
    if spec in RESNETS:
        return ImageModel(jax_resnet(spec, arrays or weights(spec)), None, scenes.PREPROCESSING)
    if spec == "scenes":
        return load_model(spec, backend="jax")
    raise LookupError(f"{spec} is a PyTorch model only")


def jax_resnet(name, arrays):
    """Return a ResNet as (apply, params), channels last."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    axes = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}

    class Ops:
        def __init__(self, arrays):
            self.arrays = arrays

        def conv(self, conv, x):
            sides = ((conv.kernel // 2,) * 2,) * 2
            kernel = self.arrays[f"{conv.name}_kernel"]
            layout = ("NHWC", "HWIO", "NHWC")
            x = lax.conv_general_dilated(x, kernel, (conv.stride,) * 2, sides, dimension_numbers=layout)
            gain, shift, mean, variance = (
                self.arrays[f"{conv.name}_{part}"] for part in ("gain", "shift", "mean", "variance")
            )
            return (x - mean) * (gain * lax.rsqrt(variance + BN_EPSILON)) + shift

        relu = staticmethod(jax.nn.relu)

        def pool(self, x):
            sides = ((0, 0), (1, 1), (1, 1), (0, 0))
            return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), sides)

        def mean(self, x):
            return x.mean((1, 2))

        def dense(self, x):
            return x @ self.arrays["last_kernel"] + self.arrays["last_bias"]

    def apply(params, x):
        return forward(RESNETS[name], Ops(params), x)

    return apply, {k: jnp.asarray(a.transpose(axes[a.ndim])) for k, a in arrays.items()}
