"""A framework's arithmetic, apart from any model: what synthesis, adjoint and gates are computed with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from string import ascii_lowercase
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

ROWS = 1024
"""The most rows of a cosine matrix that are made at once: 4 MB in float32 for each thousand of the axis."""


class Ops(ABC):
    """A dozen operations on a framework's own arrays; arithmetic and slicing are Python's operators."""

    @abstractmethod
    def constant(self, array: NDArray[Any], like: Any) -> Any:
        """Return a NumPy array as the framework's, of another array's dtype and where that is."""

    @abstractmethod
    def einsum(self, equation: str, left: Any, right: Any) -> Any:
        """Return the product of two operands."""

    @abstractmethod
    def clip(self, x: Any, low: float, high: float) -> Any:
        """Return x limited to [low, high]."""

    @abstractmethod
    def cos(self, x: Any) -> Any:
        """Return the cosine."""

    @abstractmethod
    def exp(self, x: Any) -> Any:
        """Return the exponential."""

    @abstractmethod
    def where(self, condition: Any, x: Any, y: Any) -> Any:
        """Return x where the condition holds, else y."""

    @abstractmethod
    def reshape(self, x: Any, shape: tuple[int, ...]) -> Any:
        """Return x in another shape, C order."""

    @abstractmethod
    def concat(self, arrays: Sequence[Any], axis: int) -> Any:
        """Return arrays joined along an existing axis."""

    def dct(self, x: Any, axis: int) -> Any:
        """Return the orthonormal DCT-II of a narrow array along an axis.

        By matrices in blocks, O(n²), unless a framework's own FFT stands in.
        """
        return self._by_matrix(x, axis, inverse=False)

    def idct(self, x: Any, axis: int) -> Any:
        """Return the inverse, and adjoint, of `dct`."""
        return self._by_matrix(x, axis, inverse=True)

    def _by_matrix(self, x: Any, axis: int, *, inverse: bool) -> Any:
        labels = ascii_lowercase[: len(x.shape)]
        old = labels[axis]
        product = f"{labels},z{old}->{labels.replace(old, 'z')}"
        size = x.shape[axis]
        blocks = [np.arange(first, min(first + ROWS, size)) for first in range(0, size, ROWS)]
        parts = [self.einsum(product, x, self.constant(cosines(size, rows, inverse=inverse), x)) for rows in blocks]
        return parts[0] if len(parts) == 1 else self.concat(parts, axis)


class NumpyOps(Ops):
    """NumPy's own, on the host, in the precision of what comes in.

    Every product is one matrix product per node, image and channel, so its bits do not depend on what else
    is in the block.
    """

    def constant(self, array: NDArray[Any], like: Any) -> NDArray[Any]:
        return np.asarray(array, dtype=like.dtype)

    def einsum(self, equation: str, left: Any, right: Any) -> NDArray[Any]:
        """Return the product, one matrix product per index of the labels `b`, `n` and those on both sides."""
        inputs, output = equation.split("->")
        a, b = inputs.split(",")
        batch = [label for label in output if label in "bn" or (label in a and label in b)]
        summed = [label for label in a if label in b and label not in output]
        rows = [label for label in a if label not in batch and label not in summed]
        columns = [label for label in b if label not in batch and label not in summed]
        size = dict(zip(a, left.shape, strict=True)) | dict(zip(b, right.shape, strict=True))

        def arranged(x: Any, labels: str, first: list[str], second: list[str]) -> NDArray[Any]:
            x = x.transpose([labels.index(label) for label in batch + first + second if label in labels])
            outer = [size[label] if label in labels else 1 for label in batch]
            return np.reshape(x, [*outer, *(int(np.prod([size[q] for q in group])) for group in (first, second))])

        if summed:
            product = np.matmul(arranged(left, a, rows, summed), arranged(right, b, summed, columns))
        else:
            product = arranged(left, a, rows, []) * arranged(right, b, [], columns)
        product = product.reshape([size[label] for label in batch + rows + columns])
        return product.transpose([(batch + rows + columns).index(label) for label in output])

    def clip(self, x: Any, low: float, high: float) -> NDArray[Any]:
        return np.clip(x, low, high)

    def cos(self, x: Any) -> NDArray[Any]:
        return np.cos(x)

    def exp(self, x: Any) -> NDArray[Any]:
        return np.exp(x)

    def where(self, condition: Any, x: Any, y: Any) -> NDArray[Any]:
        return np.where(condition, x, y)

    def reshape(self, x: Any, shape: tuple[int, ...]) -> NDArray[Any]:
        return np.reshape(x, shape)

    def concat(self, arrays: Sequence[Any], axis: int) -> NDArray[Any]:
        return np.concatenate(arrays, axis)

    def dct(self, x: Any, axis: int) -> NDArray[Any]:
        return np.asarray(fft.dct(x, type=2, norm="ortho", axis=axis))

    def idct(self, x: Any, axis: int) -> NDArray[Any]:
        return np.asarray(fft.idct(x, type=2, norm="ortho", axis=axis))


def cosines(size: int, rows: NDArray[np.intp] | None = None, *, inverse: bool = False) -> NDArray[np.float64]:
    """Return rows of the orthonormal DCT-II matrix (frequency, position), or of its inverse (position, frequency)."""
    own, other = np.arange(size) if rows is None else rows, np.arange(size)
    wave, place = (other[None], own[:, None]) if inverse else (own[:, None], other[None])
    # Whole turns taken out keep the digits.
    angle = np.pi * (wave * (2 * place + 1) % (4 * size)) / (2 * size)
    return np.where(wave == 0, np.sqrt(1 / size), np.sqrt(2 / size) * np.cos(angle))


Applied = Callable[..., Any]
"""A function of an `Ops` and arrays of its framework."""
