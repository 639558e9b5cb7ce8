"""The scenes classifier in TensorFlow, from its layer list: channels last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pathattr.scenes import network

# From PyTorch's (out, in, height, width) and (out, in) to TensorFlow's (height, width, in, out) and (in, out).
_AXES = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}


class SceneNetwork(tf.Module):  # type: ignore[misc]  # TensorFlow has no type hints
    """The layers with their weights: (N, H, W, C) to (N, classes). No Keras: that may run on another framework."""

    def __init__(self, layers: Sequence[network.Layer], weights: Mapping[str, NDArray[np.float32]]) -> None:
        super().__init__()
        self.layers = tuple(layers)
        self.weights = {
            name: tf.Variable(array.transpose(_AXES[array.ndim]), trainable=False) for name, array in weights.items()
        }

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]  # AutoGraph cannot read match
    def __call__(self, x: Any) -> Any:
        """Return the logits of normalised pictures."""
        for layer in self.layers:
            match layer:
                case network.Conv(name, _, _, stride, padding):
                    sides = (padding, padding)
                    kernel = self.weights[f"{name}.weight"]
                    x = tf.nn.conv2d(x, kernel, stride, ((0, 0), sides, sides, (0, 0))) + self.weights[f"{name}.bias"]
                case network.ReLU():
                    x = tf.nn.relu(x)
                case network.MaxPool(size):
                    x = tf.nn.max_pool2d(x, size, size, "VALID")
                case network.GlobalAveragePool():
                    x = tf.reduce_mean(x, axis=(1, 2))
                case network.Dense(name, _):
                    x = x @ self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
        return x

    def on(self, device: str) -> SceneNetwork:
        """Return the network with its variables on a device: TensorFlow places them once and for all."""
        with tf.device(device):
            arrays = {name: variable.numpy() for name, variable in self.weights.items()}
            return SceneNetwork(self.layers, {n: a.transpose(np.argsort(_AXES[a.ndim])) for n, a in arrays.items()})
