"""Every backend of ours keeps the contract that third parties are given."""

import jax.numpy as jnp
import tensorflow as tf
import torch
from torch import nn

from pathattr.models.numpy_backend import NumpyBackend
from pathattr.testing import TanhNetwork, backend_suite
from pathattr_jax import JaxBackend
from pathattr_tensorflow import TensorFlowBackend
from pathattr_torch import TorchBackend


def torch_network(spec: TanhNetwork, dtype=torch.float64):
    first, last = (nn.Linear(*weight.T.shape, dtype=dtype) for weight in (spec.w1, spec.w2))
    for layer, weight, bias in ((first, spec.w1, spec.b1), (last, spec.w2, spec.b2)):
        layer.load_state_dict({"weight": torch.tensor(weight), "bias": torch.tensor(bias)})
    return nn.Sequential(nn.Flatten(), first, nn.Tanh(), last).eval()


test_numpy = backend_suite(NumpyBackend, network=TanhNetwork.model, array=lambda array: array)
test_torch = backend_suite(TorchBackend, network=torch_network, array=torch.tensor)
test_torch_float32 = backend_suite(
    TorchBackend,
    network=lambda spec: torch_network(spec, torch.float32),
    array=torch.tensor,
    dtype="float32",
    tolerance=1e-4,
)


class TensorFlowNetwork(tf.Module):
    def __init__(self, spec: TanhNetwork):
        super().__init__()
        self.held = [tf.Variable(array) for array in (spec.w1, spec.b1, spec.w2, spec.b2)]

    def __call__(self, x):
        w1, b1, w2, b2 = self.held
        hidden = tf.tanh(tf.matmul(tf.reshape(x, (tf.shape(x)[0], -1)), w1, transpose_b=True) + b1)
        return tf.matmul(hidden, w2, transpose_b=True) + b2


def jax_network(spec: TanhNetwork):
    params = [jnp.asarray(array, jnp.float32) for array in (spec.w1, spec.b1, spec.w2, spec.b2)]

    def apply(p, x):
        return jnp.tanh(x.reshape(len(x), -1) @ p[0].T + p[1]) @ p[2].T + p[3]

    return apply, params


test_tensorflow = backend_suite(TensorFlowBackend, network=TensorFlowNetwork, array=tf.constant)
# JAX computes in float32 unless the user says otherwise; float64 is held to 1e-10 in a process of its own elsewhere.
test_jax = backend_suite(JaxBackend, network=jax_network, array=jnp.asarray, dtype="float32", tolerance=1e-4)
