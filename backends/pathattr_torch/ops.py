"""PyTorch's arithmetic, apart from any model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pathattr.common.ops import Ops
from pathattr_torch import fourier


class TorchOps(Ops):
    """Operations on tensors, wherever they are."""

    def constant(self, array: NDArray[Any], like: Any) -> Tensor:
        return sent(array, like.device, like.dtype)

    def einsum(self, equation: str, left: Any, right: Any) -> Tensor:
        along = _matrix_product(equation)
        if along is None:
            return torch.einsum(equation, left, right)
        # Without the permuted copies that torch.einsum makes of a stack of matrices: twice as fast on a CPU.
        first, axis, transposed = along
        matrix, stack = (left, right) if first else (right, left)
        matrix = matrix.T if transposed else matrix
        if axis == -1:
            return torch.matmul(stack, matrix)
        product = torch.matmul(matrix, stack.flatten(axis + 1) if axis < -2 else stack)  # what lies inside as one axis
        return product.reshape(*product.shape[: axis + stack.ndim + 1], *stack.shape[axis + 1 :])

    def clip(self, x: Any, low: float, high: float) -> Tensor:
        return torch.clamp(x, low, high)

    def cos(self, x: Any) -> Tensor:
        return torch.cos(x)

    def exp(self, x: Any) -> Tensor:
        return torch.exp(x)

    def where(self, condition: Any, x: Any, y: Any) -> Tensor:
        return torch.where(condition, x, y)

    def reshape(self, x: Any, shape: tuple[int, ...]) -> Tensor:
        return torch.reshape(x, shape)

    def concat(self, arrays: Sequence[Any], axis: int) -> Tensor:
        return torch.cat(list(arrays), dim=axis)

    def dct(self, x: Any, axis: int) -> Tensor:
        return fourier.dct(x, axis)

    def idct(self, x: Any, axis: int) -> Tensor:
        return fourier.idct(x, axis)

    def take(self, x: Any, rows: NDArray[np.intp]) -> Tensor:
        return torch.index_select(x, 0, sent(rows, x.device))

    def finite(self, x: Any) -> Tensor:
        # The largest or the smallest is NaN or infinite where any number is: no array of flags.
        flat = torch.flatten(x, 1)
        return torch.isfinite(flat.amax(1)) & torch.isfinite(flat.amin(1))

    def link(self, name: str, outputs: Any, axis: int) -> Tensor:
        return _LINKS[name](outputs, axis)

    def select(self, outputs: Any, index: Any) -> Tensor:
        rows = torch.arange(len(outputs), device=outputs.device)
        columns = [sent(column, outputs.device) for column in np.moveaxis(index, 1, 0)]
        return outputs[(rows, *columns)]


def sent(array: Any, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Return a copy of an array on a device; the host goes on while a GPU is at work."""
    copy = torch.tensor(array, dtype=dtype, device="cpu")  # whatever the user's default device
    if device.type == "cuda":
        # From memory that may be paged out a copy waits until the GPU has done all that it was given before.
        return copy.pin_memory().to(device, non_blocking=True)
    return copy.to(device)


@lru_cache
def _matrix_product(equation: str) -> tuple[bool, int, bool] | None:
    """Tell how a matrix is applied to one axis of a stack; None where the equation says otherwise.

    Whether the matrix comes first, the axis, and whether the matrix is to be transposed for `torch.matmul`.
    """
    inputs, output = equation.split("->")
    left, right = inputs.split(",")
    for first, matrix, stack in ((True, left, right), (False, right, left)):
        if len(matrix) != 2 or len(stack) < 3:
            continue
        for gone, new in (tuple(matrix), tuple(matrix[::-1])):
            if gone in stack and new not in stack and output == stack.replace(gone, new):
                axis = stack.index(gone) - len(stack)
                return first, axis, (matrix[0] == gone) == (axis < -1)
    return None


_LINKS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "identity": lambda x, axis: x,
    "softmax": lambda x, axis: torch.softmax(x, dim=axis),
    "log_softmax": lambda x, axis: torch.log_softmax(x, dim=axis),
    "sigmoid": lambda x, axis: torch.sigmoid(x),
    "log_sigmoid": lambda x, axis: nn.functional.logsigmoid(x),
    "log": lambda x, axis: torch.log(x),
}
