"""What ROAD puts in the place of removed pixels: values that a model cannot tell from a picture's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pathattr.common.axes import Array
from pathattr.common.checks import is_number
from pathattr.errors import InvalidInput
from pathattr.metrics.harmonic import interpolate
from pathattr.pictures.preprocessing import Preprocessing

Imputed = Callable[[NDArray[np.bool_]], Array]


class Imputer(ABC):
    """Gives the values of removed pixels of an example."""

    @abstractmethod
    def prepare(self, example: Array, preprocessing: Preprocessing | None, rng: np.random.Generator) -> Imputed:
        """Return a function from the removed pixels to the example without them.

        The example is (channels, *spatial) in input space; the pixels are booleans, (*spatial).
        """


@dataclass(frozen=True)
class NoisyLinear(Imputer):
    """ROAD's noisy linear imputation: every removed pixel is the mean of its neighbours, plus noise.

    Neighbours inside the picture count 1/6 along edges and 1/12 across corners; where they are removed too, that is
    a system of equations, solved to 1e-4 of the range. The noise is `noise`·N(0, 1), with pixels in [0, 1]; in input
    space where no preprocessing is known. An example has one draw for all its removals. Where every pixel is removed
    nothing is left to interpolate: they are the mean of their channel, plus noise. Two spatial axes.

    Source: Rong et al. 2022, arXiv 2202.00449.
    """

    noise: float = 0.01

    def __post_init__(self) -> None:
        if not is_number(self.noise) or self.noise < 0:
            raise InvalidInput(f"NoisyLinear takes noise of 0 or more, in units of pixels; got {self.noise!r}")

    def prepare(self, example: Array, preprocessing: Preprocessing | None, rng: np.random.Generator) -> Imputed:
        if example.ndim != 3:
            raise InvalidInput(
                f"noisy linear imputation needs two spatial axes, and the inputs have {example.ndim - 1}: use "
                "imputer='fixed'"
            )
        raw = example if preprocessing is None else preprocessing.restore(example)
        means = np.broadcast_to(raw.mean(axis=(1, 2), keepdims=True), raw.shape)
        noise = self.noise * rng.normal(size=raw.shape)

        def imputed(removed: NDArray[np.bool_]) -> Array:
            smooth = means if removed.all() else interpolate(raw, removed)
            found = smooth + noise
            return np.where(removed, found if preprocessing is None else preprocessing.normalise(found), example)

        return imputed


@dataclass(frozen=True)
class ChannelMean(Imputer):
    """The mean of the whole example, per channel: the "fixed" imputer of the SIG paper's table."""

    def prepare(self, example: Array, preprocessing: Preprocessing | None, rng: np.random.Generator) -> Imputed:
        means = example.reshape(len(example), -1).mean(axis=1).reshape(-1, *(1,) * (example.ndim - 1))
        return lambda removed: np.where(removed, means, example)


IMPUTERS: dict[str, Callable[[], Imputer]] = {"noisy-linear": NoisyLinear, "fixed": ChannelMean}
