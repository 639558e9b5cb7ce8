"""PyTorch's side of the work: CPU, CUDA and MPS."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._pytree import tree_leaves, tree_map_only

import pathattr_keras
from pathattr.errors import InvalidInput, ModelError
from pathattr.models.arguments import Call, taken
from pathattr.models.backend import NO_OPTIONS, Backend, Memory, type_name
from pathattr.models.heads import chosen
from pathattr.models.scaling import pulled
from pathattr.models.targets import Objective
from pathattr_torch import fourier
from pathattr_torch.advice import NOT_DIFFERENTIABLE, advised
from pathattr_torch.conventions import is_huggingface, output_link
from pathattr_torch.modes import Modes
from pathattr_torch.parts import channel_axis, check, modules
from pathattr_torch.precision import HALF, autocast, float32_products, surrounding_autocast
from pathattr_torch.surgery import TorchSurgery


class TorchBackend(pathattr_keras.KerasSurgery, TorchSurgery, Backend):
    """Modules and functions of PyTorch, and Keras models that run on it.

    They run in the dtype and on the device of their parameters: inputs of another are taken there, and the
    attributions brought back. A function runs where the inputs are, in their dtype. Where that is half precision
    inputs are cast at the model's door and outputs behind it: points, scores and sums are float32 or wider.
    """

    name = "torch"
    channel_axis: int | None = 1
    class_axis: int | None = 1
    options: ClassVar[Mapping[str, Any]] = MappingProxyType(asdict(Modes()))

    @classmethod
    def recognises_model(cls, model: Any) -> bool:
        return isinstance(model, nn.Module)

    @classmethod
    def recognises_array(cls, array: Any) -> bool:
        return isinstance(array, Tensor)

    def __init__(self, model: Any, inputs: Any, call: Call, options: Mapping[str, Any] = NO_OPTIONS) -> None:
        self._keras = pathattr_keras.is_keras(model)
        if self._keras:  # told with each call that it is not training, whatever its modules' flags say
            pathattr_keras.check_built(model)
            self.model_link = pathattr_keras.ending_link(model)
            self.channel_axis = self.class_axis = pathattr_keras.channel_axis(model, tuple(inputs.shape))
        else:
            self.model_link, self.logits_last = output_link(model), is_huggingface(model)
        if isinstance(model, torch.export.ExportedProgram):
            raise InvalidInput("the model is an ExportedProgram, which cannot be called: pass program.module()")
        if not callable(model):
            raise InvalidInput(
                f"the torch backend takes modules and functions; got {type_name(model)}: pass one, or leave the "
                "backend out (backend=None)"
            )
        for name, module in modules(model):
            check(name, module)
        self._model, self._call = model, call
        self._modes = Modes.of({**self.options, **options})
        self._callee = self._modes.callee(model)
        parameters = model.parameters() if isinstance(model, nn.Module) else ()
        floats = [p for p in parameters if p.is_floating_point()]
        like = inputs if isinstance(inputs, Tensor) else torch.as_tensor(inputs, device="cpu")
        traced = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]  # as its documentation has it
        if traced or torch._C._functorch.is_functorch_wrapped_tensor(like):
            raise InvalidInput(
                "the inputs are inside a transformation: call the explainer outside torch.func.vmap, torch.func.grad "
                "and torch.jit.trace"
            )
        self._batch = like.size(0) if like.ndim else 0
        if not self._keras and not like.is_nested:
            self.channel_axis = channel_axis(model, tuple(like.shape))
        self._device = floats[0].device if floats else like.device
        self._given = like.dtype
        # Numbers of one byte are weights in storage, and none to compute with.
        self._own = next((p.dtype for p in floats if p.element_size() > 1), like.dtype)
        """The dtype that the model computes in; points and scores have `_dtype`."""
        self._dtype = torch.float32 if self._own in HALF else self._own
        self._autocast = torch.bfloat16 if self._modes.autocast else surrounding_autocast(self._device.type)
        self._products = float32_products(self._device.type)
        computed = {self._own, *(getattr(torch, name) for name in pathattr_keras.compute_dtypes(model))}
        self._model_dtype = next((dtype for dtype in HALF if dtype in computed), None)
        # Some models cast inside, from parameters in float32: their outputs will tell.
        self._narrow = {self._model_dtype, self._autocast} & set(HALF)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Work outside any surrounding inference mode and, but for the model itself, outside any autocast.

        Gradients are taken with respect to the points only, so that the parameters' flags, which other threads see
        too, stay as they are.
        """
        with torch.inference_mode(False), torch.enable_grad(), autocast(self._device.type, None):
            yield

    @property
    def conditions(self) -> Mapping[str, Any]:
        returned = None if self._autocast else next(iter(self._narrow), None)
        found = {
            "model_dtype": self._model_dtype or returned,
            "autocast": self._autocast,
            "matmul_precision": None if self._products == "highest" else self._products,
        }
        return {name: str(value).removeprefix("torch.") for name, value in found.items() if value is not None}

    @property
    def has_float64(self) -> bool:
        return self._device.type != "mps"

    def asarray(self, array: NDArray[Any]) -> Tensor:
        return sent(array, self._device, self._dtype)

    def wide(self, array: Any) -> Tensor:
        dtype = torch.float64 if self.has_float64 else torch.float32
        if isinstance(array, Tensor):
            return array.to(dtype)
        return sent(array, self._device, dtype)

    def narrow(self, array: Any) -> Tensor:
        return array.to(self._dtype)

    def to_numpy(self, array: Any) -> NDArray[Any]:
        if not isinstance(array, Tensor):
            return np.asarray(array)
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

    def restore(self, array: NDArray[np.float64], like: Any) -> Any:
        if isinstance(like, Tensor):
            # Through the host in float64: some devices have no such type.
            return torch.tensor(array, device="cpu").to(like.dtype).to(like.device)
        return array.astype(like.dtype)

    def einsum(self, equation: str, left: Any, right: Any) -> Tensor:
        if self._products != "highest" and left.dtype == torch.float32 and self.has_float64:
            # That setting is of the whole process: it is left alone, and float64 knows no such thing.
            return self.einsum(equation, left.double(), right.double()).float()
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

    def accumulate(self, total: Any, a: Any, b: Any) -> Tensor:
        return total.addcmul_(a, b) if a.dtype == b.dtype == total.dtype else total.add_(a * b)

    def link(self, name: str, outputs: Any, axis: int) -> Tensor:
        return _LINKS[name](outputs, axis)

    def select(self, outputs: Any, index: Any) -> Tensor:
        rows = torch.arange(len(outputs), device=outputs.device)
        columns = [sent(column, outputs.device) for column in np.moveaxis(index, 1, 0)]
        return outputs[(rows, *columns)]

    @classmethod
    def out_of_memory(cls, error: Exception) -> bool:
        # The allocator of the host raises a plain RuntimeError.
        told = isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
        return told or super().out_of_memory(error)

    @property
    def on_host(self) -> bool:
        return self._device.type == "cpu"

    def memory(self) -> Memory | None:
        if self._device.type == "cuda":
            held = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
            free, _ = torch.cuda.mem_get_info(self._device)
            return Memory(free + held, torch.cuda.max_memory_allocated(self._device))
        return super().memory()

    def outputs(self, points: Any, rows: NDArray[np.intp]) -> Tensor:
        return self._meant(*self._forward(points, rows)).detach().clone()  # the model may use its memory again

    def scores(self, points: Any, objective: Objective, targets: NDArray[np.intp], rows: NDArray[np.intp]) -> Tensor:
        points, given = self._forward(points, rows)
        with torch.enable_grad(), advised():
            return self._score(points, given, objective, targets).detach().clone()

    def _score(self, points: Tensor, given: Any, objective: Objective, targets: NDArray[np.intp]) -> Tensor:
        explained = self._meant(points, given) if objective.function is None else given
        scores: Tensor = objective.score(self, explained, targets)
        return scores

    def _forward(self, points: Any, rows: NDArray[np.intp]) -> tuple[Tensor, Any]:
        """Return points that gradients can be taken of, and all that the model returns there.

        Scores alone are computed in this way too: without gradients PyTorch chooses other kernels for some layers
        (an encoder's, with a padding mask), which are other functions.
        """
        with torch.enable_grad(), advised():
            points = points.detach().requires_grad_(True)
            # A copy, which the model may change in place.
            copy = self._modes.entering(points, self._own)
            args, kwargs = self._call.served(copy, self._batch, lambda array, axis: self._served(array, axis, rows))
            with autocast(self._device.type, self._autocast), pathattr_keras.undisturbed():
                given = pathattr_keras.call(self._model, args, kwargs) if self._keras else self._callee(*args, **kwargs)
            returned = {leaf.dtype for leaf in tree_leaves(given) if isinstance(leaf, Tensor)} & set(HALF)
            self._narrow |= returned
            return points, tree_map_only(Tensor, self._widened, given) if returned else given

    def _meant(self, points: Tensor, given: Any) -> Tensor:
        """Return the array that is meant among what the model returns."""
        outputs = self._widened(chosen(given, self.recognises_array, self._call.head))
        if not outputs.is_floating_point():
            raise ModelError(
                f"the model returned {outputs.dtype}, which has no gradient: return scores as real floating-point "
                "numbers, before any argmax or rounding, and .real, .imag or .abs() of complex ones"
            )
        if outputs.shape[:1] != points.shape[:1]:
            raise ModelError(
                f"the model returned shape {tuple(outputs.shape)} for {len(points)} points: expected one row for each. "
                "Does it hold a fixed batch size, or reduce over the batch?"
            )
        if not outputs.numel():
            raise ModelError(f"the model returned nothing: an array of shape {tuple(outputs.shape)}. Return its scores")
        return outputs

    def _widened(self, outputs: Tensor) -> Tensor:
        # Probabilities underflow in half precision.
        return outputs.to(self._dtype) if outputs.dtype in HALF else outputs

    def gradient(
        self, points: Any, objective: Objective, targets: NDArray[np.intp], rows: NDArray[np.intp]
    ) -> tuple[Tensor, Tensor]:
        points, given = self._forward(points, rows)
        with torch.enable_grad(), advised():
            if objective.function is not None or torch.float16 not in self._narrow:
                scores = self._score(points, given, objective, targets)
                gradients = _gradient(scores, points)
            else:
                outputs = self._meant(points, given)
                held = outputs.detach().requires_grad_(True)
                scores = objective.score(self, held, targets)
                slopes = _gradient(scores, held)
                gradients = pulled(self, _largest, slopes, lambda slopes: _gradient(outputs, points, slopes))
        return scores.detach().clone(), gradients.detach()

    def _served(self, array: Any, axis: int | None, rows: NDArray[np.intp]) -> Any:
        """Return a further input for the nodes of the given examples; tensors on the model's device."""
        if not isinstance(array, Tensor):
            return taken(array, rows, axis)
        # What has the inputs' dtype comes in by the same door; all else is taken to be as the model wants it.
        array = array.to(self._device, self._own if array.dtype == self._given else array.dtype)
        # Outside inference mode, autograd refuses tensors that were made in it.
        array = array.clone() if array.is_inference() else array
        return array if axis is None else torch.index_select(array, axis, sent(rows, self._device))


_LINKS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "identity": lambda x, axis: x,
    "softmax": lambda x, axis: torch.softmax(x, dim=axis),
    "log_softmax": lambda x, axis: torch.log_softmax(x, dim=axis),
    "sigmoid": lambda x, axis: torch.sigmoid(x),
    "log_sigmoid": lambda x, axis: nn.functional.logsigmoid(x),
    "log": lambda x, axis: torch.log(x),
}


def _gradient(scores: Tensor, of: Tensor, slopes: Tensor | None = None) -> Tensor:
    """Return a gradient, of the sum of scores or along slopes; raise ModelError where there is none."""
    # Rows are independent, so the gradient of their sum holds each row's own.
    along = torch.ones_like(scores) if slopes is None else slopes
    (found,) = torch.autograd.grad(scores, of, along, allow_unused=True) if scores.requires_grad else (None,)
    if found is None:
        raise ModelError(NOT_DIFFERENTIABLE)
    return found


def _largest(slopes: Tensor) -> Tensor:
    return slopes.flatten(1).abs().amax(dim=1) if slopes.ndim > 1 else slopes.abs()


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


def sent(array: Any, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Return a copy of an array on a device; the host goes on while a GPU is at work."""
    copy = torch.tensor(array, dtype=dtype, device="cpu")  # whatever the user's default device
    if device.type == "cuda":
        # From memory that may be paged out a copy waits until the GPU has done all that it was given before.
        return copy.pin_memory().to(device, non_blocking=True)
    return copy.to(device)


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
