"""Which comes first: places of entries and pixels by their attributions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pathattr.common.axes import Array
from pathattr.common.names import one_of

Rank = Literal["signed", "absolute"]

RANKS: dict[str, Callable[[Array], Array]] = {
    "signed": lambda map_: map_.sum(axis=0),
    "absolute": lambda map_: np.abs(map_.sum(axis=0)),
}
"""From a map (channels, *spatial) to what its pixels are ranked by, (*spatial)."""


def places(values: Array) -> NDArray[np.intp]:
    """Return the place of each value, of the same shape: 0 for the largest; equal ones in the order they stand in."""
    order = np.argsort(-values.ravel(), kind="stable")
    found = np.empty(order.size, np.intp)
    found[order] = np.arange(order.size)
    return found.reshape(values.shape)


def pixel_places(map_: Array, rank: Rank) -> NDArray[np.intp]:
    """Return the places of a map's pixels, (*spatial), by the sum over channels or by its absolute value."""
    return places(RANKS[rank](map_))


def check_rank(rank: str) -> None:
    """Raise InvalidInput for a rank that is none of `RANKS`."""
    one_of("rank", rank, tuple(RANKS))
