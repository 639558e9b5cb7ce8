"""TensorFlow's side of the work: CPU and GPU, gradients in traced functions."""

from __future__ import annotations

import contextlib
import sys
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
from pathattr.errors import InvalidInput, ModelError, PathattrError
from pathattr.models.arguments import Call, Leaf, taken
from pathattr.models.backend import NO_OPTIONS, Backend
from pathattr.models.blame import brief
from pathattr.models.targets import Objective
from pathattr_tensorflow.models import caller_of, device_name, dtype_of, variables_of
from pathattr_tensorflow.ops import TensorFlowOps, applied
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
            pathattr_keras.check_built(model)
            self.model_link = pathattr_keras.ending_link(model)
            self.channel_axis = pathattr_keras.channel_axis(model, np.shape(inputs))
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

    def take(self, x: Any, rows: NDArray[np.intp]) -> tf.Tensor:
        return tf.gather(x, rows)

    def finite(self, x: Any) -> tf.Tensor:
        return tf.reduce_all(tf.math.is_finite(tf.reshape(x, (x.shape[0], -1))), axis=1)

    def link(self, name: str, outputs: Any, axis: int) -> tf.Tensor:
        return _OPS.link(name, outputs, axis)

    def select(self, outputs: Any, index: Any) -> tf.Tensor:
        return _OPS.select(outputs, index)

    @classmethod
    def out_of_memory(cls, error: Exception) -> bool:
        return isinstance(error, tf.errors.ResourceExhaustedError) or super().out_of_memory(error)

    @property
    def on_host(self) -> bool:
        return self._device is None or device_name(self._device) == "cpu"

    def outputs(self, points: Any, rows: NDArray[np.intp]) -> tf.Tensor:
        outputs = _run(self._traces.outputs, points, self._values(rows))
        if outputs.shape[:1] != points.shape[:1]:
            raise ModelError(
                f"the model returned shape {tuple(outputs.shape)} for {len(points)} points: expected one row for each. "
                "Does it hold a fixed batch size, or reduce over the batch?"
            )
        if 0 in outputs.shape:
            raise ModelError(f"the model returned nothing: an array of shape {tuple(outputs.shape)}. Return its scores")
        return outputs

    def scores(self, points: Any, objective: Objective, targets: NDArray[np.intp], rows: NDArray[np.intp]) -> Any:
        if objective.function is None:
            return super().scores(points, objective, targets, rows)
        return _run(self._traces.score, points, objective, tf.constant(targets), self._values(rows), _OPS)

    def gradient(
        self, points: Any, objective: Objective, targets: NDArray[np.intp], rows: NDArray[np.intp]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        scores, gradients = _run(
            self._traces.gradient, points, objective, tf.constant(targets), self._values(rows), _OPS
        )
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


class _Ops:
    """Links and selection as functions of TensorFlow; unlike a backend, traces may hold them."""

    def link(self, name: str, outputs: Any, axis: int) -> tf.Tensor:
        return _LINKS[name](outputs, axis)

    def select(self, outputs: Any, index: Any) -> tf.Tensor:
        index = tf.cast(index, tf.int64)
        rows = tf.range(index.shape[0], dtype=tf.int64)[:, None]
        return tf.gather_nd(outputs, tf.concat([rows, index], axis=1))


_OPS = _Ops()
_LINKS: dict[str, Callable[[Any, int], Any]] = {
    "identity": lambda x, axis: x,
    "softmax": lambda x, axis: tf.nn.softmax(x, axis),
    "log_softmax": lambda x, axis: tf.nn.log_softmax(x, axis),
    "sigmoid": lambda x, axis: tf.sigmoid(x),
    "log_sigmoid": lambda x, axis: tf.math.log_sigmoid(x),
    "log": lambda x, axis: tf.math.log(x),
}


def _run(function: Any, *args: Any) -> Any:
    """Trace and call a function; errors met while tracing come as they were raised, or as a sentence."""
    handled = sys.exception()  # what the caller is busy with is none of ours
    try:
        return function(*args)
    except Exception as error:
        chain: list[BaseException] = [error]
        while (before := chain[-1].__context__) is not None and before is not handled:
            chain.append(before)
        # AutoGraph raises a copy of an error, or another, with its own account of the source in the message.
        ours = [link for link in chain if isinstance(link, PathattrError)]
        if ours:
            raise ours[-1] from ours[-1].__cause__
        if "singleton tf.Variable" in str(error):
            raise ModelError(
                "the model makes new variables each time it is called: build it once, outside of the function that is "
                "explained"
            ) from error
        leaving = isinstance(error, NotImplementedError | tf.errors.OperatorNotAllowedInGraphError)
        if not leaving and not (isinstance(error, AttributeError) and "SymbolicTensor" in str(error)):
            raise
        raise ModelError(
            f"the model cannot be traced by TensorFlow ({brief(error)}): does it call .numpy(), NumPy, or Python's "
            "`if` or `float` on a tensor? Make it of TensorFlow's operations"
        ) from error


def _cast(
    call: Callable[..., Any], name: str | None, dtype: Any, model: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """Call a model with the points, its first argument or one by name, in its own dtype."""
    if name is None:
        return call(model, [tf.cast(args[0], dtype), *args[1:]], kwargs)
    return call(model, args, {**kwargs, name: tf.cast(kwargs[name], dtype)})
