"""Gradients by PyTorch's autograd."""

from __future__ import annotations

import torch
from torch import Tensor

from pathattr.errors import ModelError
from pathattr_torch.advice import NOT_DIFFERENTIABLE


def gradient_of(scores: Tensor, of: Tensor, slopes: Tensor | None = None) -> Tensor:
    """Return a gradient, of the sum of scores or along slopes; raise ModelError where there is none."""
    # Rows are independent, so the gradient of their sum holds each row's own.
    along = torch.ones_like(scores) if slopes is None else slopes
    (found,) = torch.autograd.grad(scores, of, along, allow_unused=True) if scores.requires_grad else (None,)
    if found is None:
        raise ModelError(NOT_DIFFERENTIABLE)
    return found


def largest(slopes: Tensor) -> Tensor:
    """Return the largest size among each row's slopes."""
    return slopes.flatten(1).abs().amax(dim=1) if slopes.ndim > 1 else slopes.abs()
