"""The numbers of a tensor, and tensors that are no plain arrays of them."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from pathattr.errors import InvalidInput


def numbers(array: Tensor) -> NDArray[Any]:
    """Return a tensor on the host, dtype kept but for bfloat16, which NumPy does not have."""
    _check_dense(array)
    array = array.detach().cpu()
    array = (array.float() if array.dtype == torch.bfloat16 else array).resolve_conj().resolve_neg()
    try:
        return array.numpy()
    except RuntimeError as error:
        raise InvalidInput(
            f"a {type(array).__name__} holds its numbers in a way of its own: pass a plain tensor, such as "
            "x.to_tensor(0.0) of a masked one"
        ) from error


def check_outside(inputs: Tensor) -> None:
    """Raise InvalidInput for inputs that are being transformed or traced."""
    traced = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]  # as its documentation has it
    if traced or torch._C._functorch.is_functorch_wrapped_tensor(inputs):
        raise InvalidInput(
            "the inputs are inside a transformation: call the explainer outside torch.func.vmap, torch.func.grad "
            "and torch.jit.trace"
        )


def _check_dense(array: Tensor) -> None:
    """Raise InvalidInput for a tensor that is no plain array of numbers; the error says how to make it one."""
    if array.is_nested:
        raise InvalidInput("a nested tensor has no one shape: pad its examples, torch.nested.to_padded_tensor(x, 0.0)")
    if array.layout != torch.strided:
        raise InvalidInput(f"a tensor of layout {array.layout} is no plain array: pass x.to_dense()")
    if array.is_quantized:
        raise InvalidInput(f"a tensor of {array.dtype} is quantised: pass x.dequantize()")
    if array.is_meta or isinstance(array, FakeTensor):
        raise InvalidInput(
            "a tensor of the meta device, or a fake one, holds no numbers: pass inputs, and a model, on a real device"
        )
    if array.is_floating_point() and array.element_size() == 1:
        raise InvalidInput(f"a tensor of {array.dtype} has too few bits to compute with: pass x.float()")
