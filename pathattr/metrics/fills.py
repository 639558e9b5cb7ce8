"""What is put in the place of removed entries. A fill favours the methods whose baseline resembles it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pathattr.common.axes import Array
from pathattr.paths.baselines import Blur, Context
from pathattr.pictures.preprocessing import Preprocessing


class Fill(ABC):
    """Gives the values of removed entries of an example."""

    @abstractmethod
    def prepare(self, example: Array, preprocessing: Preprocessing | None) -> Callable[[NDArray[np.bool_]], Array]:
        """Return a function from the removed entries to the example without them.

        The example is (channels, *spatial) in input space; the entries are booleans of its shape.
        """


@dataclass(frozen=True)
class MeanOfRemaining(Fill):
    """One number: the mean of the remaining entries over all channels, in input space (the SIG paper's code).

    Where nothing remains it is the mean of the whole example.
    """

    def prepare(self, example: Array, preprocessing: Preprocessing | None) -> Callable[[NDArray[np.bool_]], Array]:
        def filled(removed: NDArray[np.bool_]) -> Array:
            remaining = example[~removed]
            return np.where(removed, remaining.mean() if remaining.size else example.mean(), example)

        return filled


@dataclass(frozen=True)
class ZeroFill(Fill):
    """Zero in raw image space: black. In input space where no preprocessing is known."""

    def prepare(self, example: Array, preprocessing: Preprocessing | None) -> Callable[[NDArray[np.bool_]], Array]:
        zero = np.zeros_like(example)
        black = zero if preprocessing is None else preprocessing.normalise(zero)
        return lambda removed: np.where(removed, black, example)


@dataclass(frozen=True)
class Blurred(Fill):
    """The example blurred by a Gaussian (kernel of 11 pixels, σ = 5, as in the SIG paper)."""

    kernel: int = 11
    sigma: float = 5.0

    def prepare(self, example: Array, preprocessing: Preprocessing | None) -> Callable[[NDArray[np.bool_]], Array]:
        soft = Blur(self.sigma, self.kernel)(example, Context(preprocessing, np.random.default_rng(0)))
        return lambda removed: np.where(removed, soft, example)


FILLS: dict[str, Callable[[], Fill]] = {"mean": MeanOfRemaining, "zero": ZeroFill, "blur": Blurred}
