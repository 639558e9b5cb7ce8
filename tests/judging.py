"""What the tests of metrics share: a classifier in closed form, and the fills written out in loops."""

import math

import numpy as np

from pathattr.testing.models import SoftmaxRegression


def regression(shape, classes=3, seed=0, scale=1.0):
    """A softmax regression whose probabilities vary, neither flat nor saturated for inputs of size 1."""
    rng = np.random.default_rng(seed)
    weights = scale * rng.normal(size=(classes, *shape)) * 3 / math.sqrt(math.prod(shape))
    return SoftmaxRegression(weights, 0.3 * rng.normal(size=classes))


def probabilities(network, x):
    """The class probabilities of one example."""
    logits = [float((w * x).sum()) + b for w, b in zip(network.weights, network.bias, strict=True)]
    weights = [math.exp(logit - max(logits)) for logit in logits]
    return np.array(weights) / sum(weights)


def order_of(values):
    """Flat indices from the largest value to the smallest, equal ones in the order they stand in."""
    flat = np.ravel(values).tolist()
    return sorted(range(len(flat)), key=lambda i: (-flat[i], i))


def blurred(x, kernel=11, sigma=5.0):
    """An example (channels, height, width) under a Gaussian of so many pixels, borders mirrored."""
    radius = kernel // 2
    taps = [math.exp(-(k**2) / (2 * sigma**2)) for k in range(-radius, radius + 1)]
    total = sum(taps) ** 2
    _, height, width = x.shape
    out = np.zeros(x.shape)
    for i in range(height):
        for j in range(width):
            for k, a in enumerate(taps):
                for m, b in enumerate(taps):
                    row, column = _mirrored(i + k - radius, height), _mirrored(j + m - radius, width)
                    out[:, i, j] += a * b / total * x[:, row, column]
    return out


def _mirrored(i, size):
    while not 0 <= i < size:
        i = -1 - i if i < 0 else 2 * size - 1 - i
    return i
