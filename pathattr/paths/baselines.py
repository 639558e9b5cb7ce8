"""Where a path begins: the input x' that stands for "nothing there"."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from pathattr.common.axes import Array
from pathattr.common.checks import is_number, is_whole, numbers
from pathattr.common.names import named
from pathattr.common.texts import shown
from pathattr.errors import InvalidInput
from pathattr.paths.diffusion import diffused
from pathattr.pictures.preprocessing import Preprocessing


@dataclass(frozen=True)
class Context:
    """What a baseline may need besides the example: how the model normalises pictures, and randomness.

    The generator is made anew from the explainer's seed for every example, so a draw depends on the
    example's shape and never on its place in the batch.
    """

    preprocessing: Preprocessing | None
    rng: np.random.Generator


class Baseline(ABC):
    """Gives the starting points of an example's paths: one, or one per reference sample."""

    @abstractmethod
    def __call__(self, example: Array, context: Context) -> Array:
        """Return x' of shape (channels, *spatial), the canonical shape of the example, in input space."""


@dataclass(frozen=True)
class Zero(Baseline):
    """Zero in input space: for normalised pictures, the data set's mean (the papers' "mean" baseline)."""

    def __call__(self, example: Array, context: Context) -> Array:
        """Return zeros."""
        return np.zeros_like(example)


@dataclass(frozen=True)
class Black(Baseline):
    """Black pixels, 0 in raw image space; needs a Preprocessing."""

    def __call__(self, example: Array, context: Context) -> Array:
        """Return normalised black."""
        return _raw(self, context).normalise(np.zeros_like(example))


@dataclass(frozen=True)
class White(Baseline):
    """White pixels, 1 in raw image space; needs a Preprocessing."""

    def __call__(self, example: Array, context: Context) -> Array:
        """Return normalised white."""
        return _raw(self, context).normalise(np.ones_like(example))


@dataclass(frozen=True)
class Constant(Baseline):
    """One value, or one per channel, in input space."""

    value: float | Sequence[float] = 0.0

    def __post_init__(self) -> None:
        value = np.atleast_1d(numbers("a constant baseline is a finite number or one per channel", self.value))
        if value.ndim != 1 or not value.size or not np.isfinite(value).all():
            raise InvalidInput(
                f"a constant baseline is a finite number or one per channel; got {shown(self.value)}. "
                "For a whole example pass the array itself as baseline="
            )

    def __call__(self, example: Array, context: Context) -> Array:
        """Return the constant everywhere."""
        value = np.atleast_1d(np.asarray(self.value, dtype=float))
        if value.size not in (1, len(example)):
            raise InvalidInput(
                f"the baseline has {value.size} channel values; the input has {len(example)} channels: give one "
                "number, or one per channel"
            )
        return np.broadcast_to(value.reshape(-1, *(1,) * (example.ndim - 1)), example.shape).copy()


@dataclass(frozen=True)
class Mean(Baseline):
    """The example's own mean, per channel. (For a data set's mean see Zero and Constant.)"""

    def __call__(self, example: Array, context: Context) -> Array:
        """Return each channel's mean."""
        return np.broadcast_to(example.mean(axis=tuple(range(1, example.ndim)), keepdims=True), example.shape).copy()


@dataclass(frozen=True)
class Blur(Baseline):
    """The example blurred over its spatial axes by a Gaussian, borders mirrored.

    `sigma` is in pixels; the kernel is cut to `kernel` pixels (odd; the papers' 11), or at 4σ for None.
    """

    sigma: float = 5.0
    kernel: int | None = 11

    def __post_init__(self) -> None:
        if not is_number(self.sigma) or self.sigma <= 0:
            raise InvalidInput(f"Blur needs sigma > 0; got {self.sigma!r}")
        if self.kernel is not None and (not is_whole(self.kernel) or self.kernel < 1 or self.kernel % 2 == 0):
            raise InvalidInput(f"Blur needs an odd kernel of at least 1 pixel, or None; got {self.kernel!r}")

    def __call__(self, example: Array, context: Context) -> Array:
        """Return the blurred example."""
        radius = None if self.kernel is None else self.kernel // 2
        axes = tuple(range(1, example.ndim))
        return np.asarray(ndimage.gaussian_filter(example, self.sigma, mode="reflect", radius=radius, axes=axes))


@dataclass(frozen=True)
class Diffused(Baseline):
    """The example blurred over its spatial axes by a whole Gaussian, borders mirrored: where Blur IG begins.

    As `Blur(sigma, kernel=None)`, but made of cosines, of any `sigma` in pixels at one price.
    """

    sigma: float = 35.0

    def __post_init__(self) -> None:
        if not is_number(self.sigma) or self.sigma <= 0:
            raise InvalidInput(f"Diffused needs sigma > 0, in pixels; got {self.sigma!r}")

    def __call__(self, example: Array, context: Context) -> Array:
        """Return the blurred example."""
        return diffused(example, self.sigma)


@dataclass(frozen=True)
class UniformNoise(Baseline):
    """Uniform noise in [low, high] of input space; by default the range of the example itself."""

    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        given = [bound for bound in (self.low, self.high) if bound is not None]
        if not all(map(is_number, given)) or given != sorted(given):
            raise InvalidInput(f"UniformNoise needs finite low <= high; got low={self.low!r}, high={self.high!r}")

    def __call__(self, example: Array, context: Context) -> Array:
        """Return noise drawn from the explainer's seed."""
        low = example.min() if self.low is None else self.low
        high = example.max() if self.high is None else self.high
        if not low <= high:
            raise InvalidInput(
                f"UniformNoise needs low <= high; the example makes them {float(low)!r} and {float(high)!r}: say both"
            )
        return low + (high - low) * context.rng.random(example.shape)


@dataclass(frozen=True)
class GaussianNoise(Baseline):
    """Normal noise of this mean and standard deviation in input space."""

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        if not is_number(self.mean) or not is_number(self.std) or self.std < 0:
            raise InvalidInput(f"GaussianNoise needs finite numbers and std >= 0; got {self.mean!r}, {self.std!r}")

    def __call__(self, example: Array, context: Context) -> Array:
        """Return noise drawn from the explainer's seed."""
        return self.mean + self.std * context.rng.standard_normal(example.shape)


@dataclass(frozen=True, eq=False)
class Samples:
    """Reference samples (references, *example): one path from each; F(x') is then the mean over them."""

    array: Any

    def __repr__(self) -> str:
        """Return the shape; the samples themselves would flood a record."""
        return f"Samples(shape={tuple(np.shape(self.array))})"


BASELINES: dict[str, Callable[[], Baseline]] = {
    "zero": Zero,
    "black": Black,
    "white": White,
    "mean": Mean,
    "blur": Blur,
    "diffused": Diffused,
    "uniform": UniformNoise,
    "gaussian": GaussianNoise,
}


def baseline_from(given: Any, preprocessing: Preprocessing | None) -> Any:
    """Return a Baseline, Samples or an array for whatever the user passed.

    None is black where a Preprocessing is given, else zero; a name is looked up; a number is a constant.
    """
    if given is None:
        return Zero() if preprocessing is None else Black()
    if isinstance(given, Samples):
        return given
    if isinstance(given, str | Baseline | type):
        return named("baseline", given, BASELINES, Baseline)
    if isinstance(given, int | float | np.number) and not isinstance(given, bool):
        return Constant(float(given))
    if hasattr(given, "shape"):
        return given
    raise InvalidInput(
        f"baseline must be a Baseline, one of {', '.join(map(repr, BASELINES))}, a number, an array or "
        f"Samples(array); got {shown(given)}"
    )


def _raw(baseline: Baseline, context: Context) -> Preprocessing:
    if context.preprocessing is None:
        name = type(baseline).__name__
        raise InvalidInput(
            f"{name}() is meant in raw image space: pass preprocessing=Preprocessing(mean, std), or "
            "preprocessing=Preprocessing() where the model takes pixels in [0, 1] as they are"
        )
    return context.preprocessing
