"""PyTorch's side of the work: CPU, CUDA and MPS."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import pathattr_keras
from pathattr.models.arguments import Call, taken
from pathattr.models.backend import NO_OPTIONS, Backend, Memory, State
from pathattr.models.heads import chosen
from pathattr.models.returned import check_real, check_rows
from pathattr.models.scaling import pulled
from pathattr.models.targets import Objective
from pathattr_torch.advice import advised
from pathattr_torch.conventions import is_huggingface, output_link
from pathattr_torch.dense import check_outside, numbers
from pathattr_torch.gradients import gradient_of, largest
from pathattr_torch.modes import Modes
from pathattr_torch.ops import TorchOps, sent
from pathattr_torch.parts import channel_axis, check_model
from pathattr_torch.precision import Precision, autocast
from pathattr_torch.surgery import TorchSurgery


class TorchBackend(TorchOps, pathattr_keras.KerasSurgery, TorchSurgery, Backend):
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
            self.model_link, self.channel_axis = pathattr_keras.conventions(model, tuple(inputs.shape))
            self.class_axis = self.channel_axis
        else:
            self.model_link, self.logits_last = output_link(model), is_huggingface(model)
        check_model(model)
        self._model, self._call = model, call
        self._modes = Modes.of({**self.options, **options})
        self._callee = self._modes.callee(model)
        parameters = model.parameters() if isinstance(model, nn.Module) else ()
        floats = [p for p in parameters if p.is_floating_point()]
        like = inputs if isinstance(inputs, Tensor) else torch.as_tensor(inputs, device="cpu")
        check_outside(like)
        self._batch = like.size(0) if like.ndim else 0
        if not self._keras and not like.is_nested:
            self.channel_axis = channel_axis(model, tuple(like.shape))
        self._device = floats[0].device if floats else like.device
        self._given = like.dtype
        computed = pathattr_keras.compute_dtypes(model)
        self._precision = Precision(floats, like.dtype, self._device.type, half=self._modes.autocast, computed=computed)
        self._own, self._dtype = self._precision.own, self._precision.points

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
        return self._precision.conditions()

    @property
    def has_float64(self) -> bool:
        return self._device.type != "mps"

    def asarray(self, array: NDArray[Any]) -> Tensor:
        return sent(array, self._device, self._dtype)

    def wide(self, array: Any) -> Tensor:
        dtype = torch.float64 if self.has_float64 else torch.float32
        return array.to(dtype) if isinstance(array, Tensor) else sent(array, self._device, dtype)

    def narrow(self, array: Any) -> Tensor:
        return array.to(self._dtype)

    def to_numpy(self, array: Any) -> NDArray[Any]:
        return numbers(array) if isinstance(array, Tensor) else np.asarray(array)

    def restore(self, array: NDArray[np.float64], like: Any) -> Any:
        if isinstance(like, Tensor):
            # Through the host in float64: some devices have no such type.
            return torch.tensor(array, device="cpu").to(like.dtype).to(like.device)
        return array.astype(like.dtype)

    def einsum(self, equation: str, left: Any, right: Any) -> Tensor:
        if self._precision.products != "highest" and left.dtype == torch.float32 and self.has_float64:
            # That setting is of the whole process: it is left alone, and float64 knows no such thing.
            return super().einsum(equation, left.double(), right.double()).float()
        return super().einsum(equation, left, right)

    def accumulate(self, state: State, a: Any, b: Any, add: Callable[..., State]) -> State:
        if len(state) > 1:
            return super().accumulate(state, a, b, add)
        (total,) = state
        for x, y in zip(a.unbind(1), b.unbind(1), strict=True):
            total = total.addcmul_(x, y) if x.dtype == y.dtype == total.dtype else total.add_(x * y)
        return (total,)

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
            with autocast(self._device.type, self._precision.autocast), pathattr_keras.undisturbed():
                given = pathattr_keras.call(self._model, args, kwargs) if self._keras else self._callee(*args, **kwargs)
            return points, self._precision.widened(given)

    def _meant(self, points: Tensor, given: Any) -> Tensor:
        """Return the array that is meant among what the model returns."""
        outputs = self._precision.single(chosen(given, self.recognises_array, self._call.head))
        check_real("the model returned", str(outputs.dtype).removeprefix("torch."), ".abs(), .real or .imag")
        check_rows(outputs.shape, len(points))
        return outputs

    def gradient(
        self, points: Any, objective: Objective, targets: NDArray[np.intp], rows: NDArray[np.intp]
    ) -> tuple[Tensor, Tensor]:
        points, given = self._forward(points, rows)
        with torch.enable_grad(), advised():
            if objective.function is not None or torch.float16 not in self._precision.narrow:
                scores = self._score(points, given, objective, targets)
                gradients = gradient_of(scores, points)
            else:
                outputs = self._meant(points, given)
                held = outputs.detach().requires_grad_(True)
                scores = objective.score(self, held, targets)
                slopes = gradient_of(scores, held)
                gradients = pulled(self, largest, slopes, lambda slopes: gradient_of(outputs, points, slopes))
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
