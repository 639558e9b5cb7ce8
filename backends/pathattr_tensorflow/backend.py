"""TensorFlow's side of the work: CPU and GPU, gradients in traced functions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

import pathattr_keras
from pathattr.common.axes import unless_odd
from pathattr.common.ops import Applied
from pathattr.errors import InvalidInput
from pathattr.models.arguments import Call, Leaf, taken
from pathattr.models.backend import NO_OPTIONS, Backend, State
from pathattr.models.returned import check_rows
from pathattr.models.targets import Objective
from pathattr_tensorflow.advice import traced
from pathattr_tensorflow.models import caller_of, device_name, dtype_of, variables_of
from pathattr_tensorflow.ops import TensorFlowOps, accumulated, applied
from pathattr_tensorflow.surgery import TensorFlowSurgery
from pathattr_tensorflow.tracing import Traces


class TensorFlowBackend(TensorFlowOps, pathattr_keras.KerasSurgery, TensorFlowSurgery, Backend):
    """Modules, SavedModels, Keras models and functions of TensorFlow.

    They run in the dtype and on the device of their variables: inputs of another are taken there, and the attributions
    brought back. A function without variables runs in the inputs' dtype, where they are. A model in half precision gets
    float32 points, cast at its door, and is scored in float32; the record says so.

    Each call of an explainer traces the model anew, once per shape of a block, so that whatever it reads is read as it
    is then. The gradients made of an earlier trace serve where the same graph comes out. (The user's own `tf.function`
    is traced when TensorFlow does that.) Keras models are run for inference.

    Options: `jit_compile` (False); True compiles with XLA.
    """

    name = "tensorflow"
    channel_axis: int | None = -1
    class_axis = -1
    options: ClassVar[Mapping[str, Any]] = MappingProxyType({"jit_compile": False})
    static_shapes = True

    @classmethod
    def recognises_model(cls, model: Any) -> bool:
        if pathattr_keras.is_keras(model):
            return pathattr_keras.keras_backend() == "tensorflow"
        # tf.function gives and tf.saved_model.load loads types that have no public name.
        ours = type(model).__module__.partition(".")[0] == "tensorflow" and not isinstance(model, type)
        return isinstance(model, tf.Module) or (ours and not cls.recognises_array(model))

    @classmethod
    def recognises_array(cls, array: Any) -> bool:
        return isinstance(array, tf.Tensor | tf.Variable)

    def __init__(self, model: Any, inputs: Any, call: Call, options: Mapping[str, Any] = NO_OPTIONS) -> None:
        if not tf.executing_eagerly():
            raise InvalidInput(
                "attributions need numbers, and this is a graph being traced: call the explainer outside tf.function"
            )
        if pathattr_keras.is_keras(model):
            self.model_link, self.channel_axis = pathattr_keras.conventions(model, np.shape(inputs))
        else:
            self.channel_axis = unless_odd(-1, np.shape(inputs))
        caller = caller_of(model, call)
        native = self.recognises_array(inputs)
        held = [variable for variable in variables_of(model) if variable.dtype.is_floating]
        like = inputs.dtype if native else tf.as_dtype(np.asarray(inputs).dtype)
        self._own = dtype_of(model, held, like)
        self._dtype = tf.float32 if self._own.is_floating and self._own.size < 4 else self._own
        self._computed = sorted(map(tf.as_dtype, pathattr_keras.compute_dtypes(model)), key=str)
        self._device = held[0].device if held else inputs.device if native else None
        self._call = call
        self._batch = inputs.shape[0] if len(inputs.shape) else 0
        self._traces = Traces(
            model,
            partial(_cast, caller, call.name, self._own),
            call,
            narrow=tf.float16 in (self._own, *self._computed),
            autograph=not pathattr_keras.is_keras(model),
            jit_compile=bool({**self.options, **options}["jit_compile"]),
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Work where the model's variables are; parts of the model that say where they run stay there."""
        with contextlib.nullcontext() if self._device is None else tf.device(self._device):
            yield

    @property
    def conditions(self) -> Mapping[str, Any]:
        # Some models cast inside, from variables in float32.
        half = [dtype for dtype in (self._own, *self._computed, *self._traces.returned) if dtype.size < 4]
        return {"model_dtype": str(half[0].name)} if half else {}

    @property
    def has_float64(self) -> bool:
        return True

    def asarray(self, array: NDArray[Any]) -> tf.Tensor:
        return tf.constant(array.astype(self._dtype.as_numpy_dtype))

    def wide(self, array: Any) -> tf.Tensor:
        return tf.cast(array, tf.float64) if self.recognises_array(array) else tf.constant(array, tf.float64)

    def narrow(self, array: Any) -> tf.Tensor:
        return tf.cast(array, self._dtype)

    def to_numpy(self, array: Any) -> NDArray[Any]:
        if not self.recognises_array(array):
            return np.asarray(array)
        return (tf.cast(array, tf.float32) if array.dtype == tf.bfloat16 else array).numpy()

    def restore(self, array: NDArray[np.float64], like: Any) -> Any:
        if not self.recognises_array(like):
            return array.astype(like.dtype)
        with tf.device(like.device):
            return tf.cast(tf.constant(array), like.dtype)

    def apply(self, function: Applied, *arrays: Any) -> Any:
        return applied(function, *arrays)

    def accumulate(self, state: State, a: Any, b: Any, add: Callable[..., State]) -> State:
        return accumulated(state, a, b, add)

    @classmethod
    def out_of_memory(cls, error: Exception) -> bool:
        return isinstance(error, tf.errors.ResourceExhaustedError) or super().out_of_memory(error)

    @property
    def on_host(self) -> bool:
        return self._device is None or device_name(self._device) == "cpu"

    def outputs(self, points: Any, rows: NDArray[np.intp]) -> tf.Tensor:
        outputs = traced(self._traces.outputs, points, self._values(rows))
        check_rows(outputs.shape, len(points))
        return outputs

    def scores(self, points: Any, objective: Objective, targets: NDArray[np.intp], rows: NDArray[np.intp]) -> Any:
        if objective.function is None:
            return super().scores(points, objective, targets, rows)
        return traced(self._traces.score, points, objective, tf.constant(targets), self._values(rows))

    def gradient(
        self, points: Any, objective: Objective, targets: NDArray[np.intp], rows: NDArray[np.intp]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        scores, gradients = traced(self._traces.gradient, points, objective, tf.constant(targets), self._values(rows))
        return scores, gradients

    def _values(self, rows: NDArray[np.intp]) -> list[Any]:
        """Return the further inputs for the nodes of the given examples; NumPy's floats in the model's dtype."""
        return [self._served(leaf, rows) for leaf in self._call.leaves]

    def _served(self, leaf: Leaf, rows: NDArray[np.intp]) -> Any:
        value = leaf.value
        if isinstance(value, np.ndarray):
            value = tf.constant(value, self._own if value.dtype.kind == "f" else None)
        if not self.recognises_array(value):
            return taken(value, rows, leaf.axis(self._batch)) if leaf.is_array else value
        axis = leaf.axis(self._batch)
        return tf.convert_to_tensor(value) if axis is None else tf.gather(value, rows, axis=axis)


def _cast(
    call: Callable[..., Any], name: str | None, dtype: Any, model: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """Call a model with the points, its first argument or one by name, in its own dtype."""
    if name is None:
        return call(model, [tf.cast(args[0], dtype), *args[1:]], kwargs)
    return call(model, args, {**kwargs, name: tf.cast(kwargs[name], dtype)})
