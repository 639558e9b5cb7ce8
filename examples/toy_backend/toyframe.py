"""A framework to be adapted: it has arrays and models of its own, and differentiates its models."""

import numpy as np


class Array(np.ndarray):
    """The framework's array."""


def array(values, dtype=None):
    return np.asarray(values, dtype=dtype).view(Array)


class Model:
    """logits = W·tanh(x), with a backward pass."""

    def __init__(self, weight):
        self.weight = array(weight)

    def forward(self, x):
        return np.tanh(x.reshape(len(x), -1)) @ self.weight.T

    def backward(self, x, cotangent):
        flat = x.reshape(len(x), -1)
        return ((cotangent @ self.weight) * (1 - np.tanh(flat) ** 2)).reshape(x.shape)
