"""Small models with their gradients in closed form, most with their integrals too: the oracles of the suites.

Points are (points, *shape), with `shape` that of one example; all arrays are float64.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from scipy.integrate import quad_vec

from pathattr.common.axes import Array
from pathattr.errors import InvalidInput
from pathattr.models.numpy_backend import NumpyModel


class Model(ABC):
    """Scores of points and their gradient, both in closed form."""

    @abstractmethod
    def value(self, points: Array) -> Array:
        """Return the scores: (points,), or (points, classes) where the model has classes."""

    @abstractmethod
    def vjp(self, points: Array, cotangent: Array) -> Array:
        """Return the gradient of Σ cotangent·scores, of the points' shape; `cotangent` has that of the scores."""

    def model(self) -> NumpyModel:
        """Return this as a model for the NumPy backend."""
        return NumpyModel(self.value, self.vjp)


class AnalyticModel(Model):
    """A model of which Integrated Gradients is known without a quadrature by the package."""

    path_independent: ClassVar[bool] = False
    """True for sums of functions of single features: attributions are then the same along every path."""

    @abstractmethod
    def line_integral(self, x: Array, baseline: Array) -> Array:
        """Return the exact attributions of one example along the straight line from `baseline`, of its shape."""


@dataclass(frozen=True)
class LinearModel(AnalyticModel):
    """F = Σ w·x; `weights` has the shape of one example. A_i = w_i·(x_i − x'_i)."""

    weights: Array
    path_independent = True

    def value(self, points: Array) -> Array:
        return _flat(points * self.weights).sum(axis=1)

    def vjp(self, points: Array, cotangent: Array) -> Array:
        return _column(cotangent, points) * self.weights

    def line_integral(self, x: Array, baseline: Array) -> Array:
        return self.weights * (x - baseline)


@dataclass(frozen=True)
class Quadratic(AnalyticModel):
    """F = ½xᵀQx + bᵀx over flattened features: `matrix` Q (features, features), `linear` b of an example's shape.

    The gradient is linear in x, so midpoint and trapezoid rules integrate it exactly along a line.

    Raises InvalidInput for a Q that does not fit b or is not symmetric.
    """

    matrix: Array
    linear: Array

    def __post_init__(self) -> None:
        size = np.size(self.linear)
        if np.shape(self.matrix) != (size, size) or not np.allclose(self.matrix, self.matrix.T):
            raise InvalidInput(
                f"matrix must be symmetric, ({size}, {size}) for linear of shape {np.shape(self.linear)}; "
                f"got shape {np.shape(self.matrix)}. (M + M.T) / 2 makes a square matrix M symmetric"
            )

    def value(self, points: Array) -> Array:
        flat = _flat(points)
        return (flat * (0.5 * flat @ self.matrix + self.linear.ravel())).sum(axis=1)

    def vjp(self, points: Array, cotangent: Array) -> Array:
        return _column(cotangent, points) * self._gradient(points)

    def line_integral(self, x: Array, baseline: Array) -> Array:
        return (x - baseline) * self._gradient((x + baseline)[None] / 2)[0]

    def _gradient(self, points: Array) -> Array:
        return (_flat(points) @ self.matrix).reshape(points.shape) + self.linear


@dataclass(frozen=True)
class Polynomial(AnalyticModel):
    """F = Σ_i f_i(x_i) with f_i(t) = Σ_p c[p, i]·t^p; `coefficients` c is (powers, *shape), the constants first.

    A_i = f_i(x_i) − f_i(x'_i).
    """

    coefficients: Array
    path_independent = True

    def value(self, points: Array) -> Array:
        return _flat(self.terms(points)).sum(axis=1)

    def vjp(self, points: Array, cotangent: Array) -> Array:
        slopes = np.asarray(np.polynomial.polynomial.polyder(self.coefficients, axis=0), np.float64)
        return _column(cotangent, points) * _horner(slopes, points)

    def line_integral(self, x: Array, baseline: Array) -> Array:
        return self.terms(x) - self.terms(baseline)

    def terms(self, points: Array) -> Array:
        """Return f_i(x_i) for every feature, of the points' shape (one example will do)."""
        return _horner(self.coefficients, points)


@dataclass(frozen=True)
class ExponentialRidge(AnalyticModel):
    """F = exp(w·x); `weights` has the shape of one example. Overflows where w·x exceeds 709.

    A_i = w_i D_i·(F(x) − F(x'))/(w·D) with D = x − x'.
    """

    weights: Array

    def value(self, points: Array) -> Array:
        return np.exp(_flat(points * self.weights).sum(axis=1))

    def vjp(self, points: Array, cotangent: Array) -> Array:
        return _column(cotangent * self.value(points), points) * self.weights

    def line_integral(self, x: Array, baseline: Array) -> Array:
        ends = [float((self.weights * end).sum()) for end in (baseline, x)]
        mean = np.exp(max(ends)) * _mean_decay(max(ends) - min(ends))
        return self.weights * (x - baseline) * mean


@dataclass(frozen=True)
class SoftmaxRegression(AnalyticModel):
    """logits_k = w_k·x + b_k, for output="probability"; `weights` is (classes, *shape), `bias` (classes,).

    Integrals are of the probability p_t: A = D ⊙ Σ_k w_k·∫p_t(δ_tk − p_k)dα, in closed form for two classes.
    """

    weights: Array
    bias: Array

    def value(self, points: Array) -> Array:
        return _flat(points) @ _flat(self.weights).T + self.bias

    def vjp(self, points: Array, cotangent: Array) -> Array:
        return (cotangent @ _flat(self.weights)).reshape(points.shape)

    def probability(self, x: Array, target: int = 0) -> float:
        """Return the probability of class `target` at one example."""
        return float(_softmax(self.value(x[None])[0])[target])

    def line_integral(self, x: Array, baseline: Array, target: int = 0) -> Array:
        """Return the exact attributions of the probability of class `target`, of the example's shape.

        For three classes and more, the integrals over p come from an adaptive quadrature, accurate to 1e-13.
        """
        start, end = self.value(np.stack([baseline, x]))
        means = _two_classes if len(self.bias) == 2 else _any_classes
        slope = np.tensordot(means(start, end, target), self.weights, axes=1)
        return (x - baseline) * slope


@dataclass(frozen=True)
class Network(Model):
    """logits = W₂·φ(W₁·flatten(x) + b₁) + b₂, with an activation φ.

    `shape` is that of one example; weights are (hidden, features) and (classes, hidden), float64.
    """

    shape: tuple[int, ...]
    w1: Array
    b1: Array
    w2: Array
    b2: Array

    @classmethod
    def random(cls, shape: tuple[int, ...], classes: int = 4, hidden: int = 10, seed: int = 0) -> Self:
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

    @staticmethod
    @abstractmethod
    def activation(x: Array) -> Array:
        """Return φ(x)."""

    @staticmethod
    @abstractmethod
    def slope(activated: Array) -> Array:
        """Return φ′, given the values of φ."""

    def value(self, points: Array) -> Array:
        return self._hidden(points) @ self.w2.T + self.b2

    def vjp(self, points: Array, cotangent: Array) -> Array:
        return ((cotangent @ self.w2 * self.slope(self._hidden(points))) @ self.w1).reshape(points.shape)

    def _hidden(self, points: Array) -> Array:
        return self.activation(_flat(points) @ self.w1.T + self.b1)


@dataclass(frozen=True)
class TanhNetwork(Network):
    """logits = W₂·tanh(W₁·flatten(x) + b₁) + b₂, smooth enough for tight tolerances."""

    @staticmethod
    def activation(x: Array) -> Array:
        return np.tanh(x)

    @staticmethod
    def slope(activated: Array) -> Array:
        return 1 - activated**2


@dataclass(frozen=True)
class ReluNetwork(Network):
    """logits = W₂·max(W₁·flatten(x) + b₁, 0) + b₂, piecewise linear: its gradient jumps at kinks."""

    @staticmethod
    def activation(x: Array) -> Array:
        return np.maximum(x, 0)

    @staticmethod
    def slope(activated: Array) -> Array:
        return (activated > 0).astype(np.float64)


def _flat(points: Array) -> Array:
    return points.reshape(len(points), -1)


def _column(scores: Array, points: Array) -> Array:
    """Return one number per point, of a shape that multiplies points."""
    return scores.reshape(-1, *(1,) * (points.ndim - 1))


def _horner(coefficients: Array, points: Array) -> Array:
    return np.asarray(np.polynomial.polynomial.polyval(points, coefficients, tensor=False))


def _mean_decay(rate: float) -> float:
    """Return ∫exp(−rate·α)dα over [0, 1] for rate ≥ 0: (1 − exp(−rate))/rate, 1 at rate 0."""
    # expm1 keeps the digits that 1 − exp(−rate) loses at small rates; large rates cannot overflow.
    return float(-np.expm1(-rate) / rate) if rate > 0 else 1.0


def _softmax(logits: Array) -> Array:
    weights = np.exp(logits - logits.max())
    return np.asarray(weights / weights.sum())


def _two_classes(start: Array, end: Array, target: int) -> Array:
    """Return ∫p_t(δ_tk − p_k)dα of two logits that move linearly, (2,)."""
    # p = σ(u) with u the difference of the logits; ∫p(1 − p)dα = (σ(high) − σ(low))/(high − low), where
    # σ(high) − σ(low) = σ(high)·σ(−low)·(1 − exp(low − high)) does not cancel.
    low, high = sorted([float(start[1] - start[0]), float(end[1] - end[0])])
    mean = _softmax(np.array([0.0, high]))[1] * _softmax(np.array([0.0, -low]))[1] * _mean_decay(high - low)
    return np.where(np.arange(2) == target, mean, -mean)


def _any_classes(start: Array, end: Array, target: int) -> Array:
    """Return ∫p_t(δ_tk − p_k)dα of logits that move linearly, (classes,), by adaptive Gauss-Kronrod quadrature."""

    def integrand(alpha: float) -> Array:
        p = _softmax(start + alpha * (end - start))
        return p[target] * ((np.arange(len(p)) == target) - p)

    # Probabilities change where two logits cross, by exp(−40) = 4e-18 of what is left once those are 40 apart:
    # cut there, so that no peak is too narrow to be seen.
    gap, change = (np.subtract.outer(logits, logits) for logits in (start, end - start))
    crosses = change != 0
    with np.errstate(over="ignore"):  # logits that hardly move cross far outside
        cuts = (np.array([-40.0, 0.0, 40.0])[:, None] - gap[crosses]) / change[crosses]
    cuts = np.unique(cuts[(cuts > 0) & (cuts < 1)])
    return np.asarray(quad_vec(integrand, 0.0, 1.0, epsabs=1e-14, epsrel=0.0, norm="max", points=cuts)[0])
