"""Pytrees taken apart: arrays, which a compiled function takes as arguments, and the rest, which it is made for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np


def is_array(leaf: Any) -> bool:
    """Tell whether JAX can take `leaf` as an array: its own, or NumPy's of numbers."""
    if isinstance(leaf, np.ndarray):
        return leaf.dtype.kind not in "OSUTMm" and leaf.dtype.names is None
    return isinstance(leaf, jax.Array)


@dataclass(frozen=True)
class Frame:
    """A pytree without its arrays: `rest` has None in place of each (None is never a leaf)."""

    structure: Any
    rest: tuple[Any, ...]

    def merged(self, arrays: Sequence[Any]) -> Any:
        """Return the pytree with these arrays."""
        given = iter(arrays)
        leaves = [next(given) if leaf is None else leaf for leaf in self.rest]
        return jax.tree_util.tree_unflatten(self.structure, leaves)


def split(tree: Any) -> tuple[list[Any], Frame]:
    """Return the arrays of a pytree, and its frame."""
    leaves, structure = jax.tree_util.tree_flatten(tree)
    return [leaf for leaf in leaves if is_array(leaf)], Frame(
        structure, tuple(None if is_array(leaf) else leaf for leaf in leaves)
    )
