"""In how many bits PyTorch computes: settings of the user's, read and never changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

HALF = (torch.float16, torch.bfloat16)


class Precision:
    """In how many bits a model computes (`own`), and points and scores are (`points`).

    `narrow` has the types in half precision that its numbers have been in, as far as is known: outputs tell more.
    """

    def __init__(
        self, held: Sequence[Tensor], like: torch.dtype, kind: str, *, half: str | None, computed: Iterable[str]
    ) -> None:
        # Numbers of one byte are weights in storage, and none to compute with.
        self.own = next((tensor.dtype for tensor in held if tensor.element_size() > 1), like)
        self.points = torch.float32 if self.own in HALF else self.own
        self.autocast = torch.bfloat16 if half else surrounding_autocast(kind)
        self.products = float32_products(kind)
        dtypes = {self.own, *(getattr(torch, name) for name in computed)}
        self._model = next((dtype for dtype in HALF if dtype in dtypes), None)
        self.narrow: set[torch.dtype | None] = {self._model, self.autocast} & set(HALF)

    def widened(self, given: Any) -> Any:
        """Return what a model returned with what is in half precision, where probabilities underflow, in more bits."""
        # Some models cast inside, from parameters in float32.
        returned = {leaf.dtype for leaf in tree_leaves(given) if isinstance(leaf, Tensor)} & set(HALF)
        self.narrow |= returned
        return tree_map_only(Tensor, self.single, given) if returned else given

    def single(self, array: Tensor) -> Tensor:
        """Return an array, in more bits where it is in half precision."""
        return array.to(self.points) if array.dtype in HALF else array

    def conditions(self) -> dict[str, str]:
        """Return what numbers depend on, for the record."""
        returned = None if self.autocast else next(iter(self.narrow), None)
        found = {
            "model_dtype": self._model or returned,
            "autocast": self.autocast,
            "matmul_precision": None if self.products == "highest" else self.products,
        }
        return {name: str(value).removeprefix("torch.") for name, value in found.items() if value is not None}


def surrounding_autocast(kind: str) -> torch.dtype | None:
    """Return the dtype of the autocast that surrounds a call, on a kind of device; None where there is none."""
    if not torch.amp.is_autocast_available(kind) or not torch.is_autocast_enabled(kind):
        return None
    return torch.get_autocast_dtype(kind)


def autocast(kind: str, dtype: torch.dtype | None) -> AbstractContextManager[Any]:
    """Hold an autocast to `dtype`, or none at all, for what runs inside."""
    if dtype is not None:
        return torch.autocast(kind, dtype)
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


def float32_products(kind: str) -> str:
    """Return how a kind of device multiplies float32 matrices: "highest", or as the user has set it.

    That is what `torch.set_float32_matmul_precision` was given, or the newer `fp32_precision`.
    """
    backends: Any = torch.backends
    part = backends.cuda.matmul if kind == "cuda" else getattr(backends.mkldnn, "matmul", None)
    own = getattr(part, "fp32_precision", None)
    if own == "none":  # not set for itself
        own = backends.fp32_precision
    if own in ("none", "ieee"):
        return "highest"
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # set in the newer way, which the older does not tell
        return str(own)
