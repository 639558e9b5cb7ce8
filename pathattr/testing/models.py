"""Small models with their gradients in closed form: the oracles of the suites."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pathattr.layout import Array
from pathattr.numpy_backend import NumpyModel


@dataclass(frozen=True)
class TanhNetwork:
    """logits = W₂·tanh(W₁·flatten(x) + b₁) + b₂, smooth enough for tight tolerances.

    `shape` is that of one example; weights are (hidden, features) and (classes, hidden), float64.
    """

    shape: tuple[int, ...]
    w1: Array
    b1: Array
    w2: Array
    b2: Array

    @classmethod
    def random(cls, shape: tuple[int, ...], classes: int = 4, hidden: int = 10, seed: int = 0) -> TanhNetwork:
        """Return a network with random weights, neither flat nor saturated for inputs of size 1."""
        rng = np.random.default_rng(seed)
        features = int(np.prod(shape))
        return cls(
            shape,
            rng.normal(size=(hidden, features)) / np.sqrt(features),
            0.1 * rng.normal(size=hidden),
            rng.normal(size=(classes, hidden)),
            0.1 * rng.normal(size=classes),
        )

    def value(self, points: Array) -> Array:
        """Return the logits (points, classes)."""
        return self._hidden(points) @ self.w2.T + self.b2

    def vjp(self, points: Array, cotangent: Array) -> Array:
        """Return the gradient of Σ cotangent·logits, of the points' shape."""
        hidden = self._hidden(points)
        return ((cotangent @ self.w2 * (1 - hidden**2)) @ self.w1).reshape(points.shape)

    def model(self) -> NumpyModel:
        """Return the network as a model for the NumPy backend."""
        return NumpyModel(self.value, self.vjp)

    def _hidden(self, points: Array) -> Array:
        return np.tanh(points.reshape(len(points), -1) @ self.w1.T + self.b1)
