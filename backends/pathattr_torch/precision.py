"""In how many bits PyTorch computes: settings of the user's, read and never changed."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

HALF = (torch.float16, torch.bfloat16)


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
