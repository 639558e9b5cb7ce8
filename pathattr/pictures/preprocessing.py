"""How a model normalises its pictures: the bridge between raw image space and input space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pathattr.common.checks import numbers
from pathattr.common.texts import shown
from pathattr.errors import InvalidInput


@dataclass(frozen=True)
class Preprocessing:
    """Input space = (raw − mean) / std, channel by channel, with raw pixels in [0, 1].

    `mean` and `std` are numbers or one number per channel. `Preprocessing()` says that the model takes
    raw pixels in [0, 1] as they are.
    """

    mean: float | Sequence[float] = 0.0
    std: float | Sequence[float] = 1.0

    def __post_init__(self) -> None:
        mean, std = (
            np.atleast_1d(numbers("Preprocessing takes one number, or one per channel, for mean and std", given))
            for given in (self.mean, self.std)
        )
        if (
            mean.ndim != 1
            or 0 in (mean.size, std.size)
            or std.ndim != 1
            or (mean.size != std.size and 1 not in (mean.size, std.size))
        ):
            raise InvalidInput(
                "Preprocessing takes one number, or one per channel, for mean and std; "
                f"got mean={shown(self.mean)}, std={shown(self.std)}"
            )
        if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
            raise InvalidInput(
                f"Preprocessing takes finite numbers and std > 0; got mean={shown(self.mean)}, std={shown(self.std)}"
            )
        # Tuples of plain floats, so that equal settings are equal and print alike.
        object.__setattr__(self, "mean", tuple(mean.tolist()))
        object.__setattr__(self, "std", tuple(std.tolist()))

    def normalise(self, raw: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return raw pixels (channels first: (C, ...)) in input space."""
        mean, std = self._per_channel(raw)
        return (raw - mean) / std

    def restore(self, inputs: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return model inputs (channels first: (C, ...)) as raw pixels."""
        mean, std = self._per_channel(inputs)
        return inputs * std + mean

    def _per_channel(self, array: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        channels = array.shape[0]
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, channels):  # type: ignore[arg-type]  # tuples since __post_init__
                raise InvalidInput(
                    f"the input has {channels} channels, but Preprocessing has {name}={values!r}: "
                    "give one number, or one per channel"
                )
        shape = (-1,) + (1,) * (array.ndim - 1)
        return np.asarray(self.mean).reshape(shape), np.asarray(self.std).reshape(shape)
