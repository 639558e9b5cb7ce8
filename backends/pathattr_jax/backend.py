"""JAX's side of the work: functions, Flax, Equinox and Keras, compiled once per shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

import pathattr_keras
from pathattr.common.ops import Applied
from pathattr.errors import InvalidInput
from pathattr.models.arguments import Call, Leaf
from pathattr.models.backend import NO_OPTIONS, Backend, State
from pathattr.models.targets import Objective
from pathattr_jax.advice import traceable
from pathattr_jax.cache import Traced
from pathattr_jax.devices import device_of
from pathattr_jax.models import channel_axis, functional, kind_of
from pathattr_jax.ops import JaxOps, accumulated, applied, indices, taken_along
from pathattr_jax.precision import dtypes_of, narrowest
from pathattr_jax.surgery import JaxSurgery
from pathattr_jax.traced import in_dtype, meant, score_of, value_and_gradient, whole
from pathattr_jax.trees import is_array, split


class JaxBackend(JaxOps, pathattr_keras.KerasSurgery, JaxSurgery, Backend):
    """Functions of JAX arrays, (apply, params), Flax modules (bound linen, nnx), Equinox modules, Keras on JAX.

    Of a pair, `apply(params, x, ...)` is a function or a linen module that is not bound. Equinox modules are written
    for one example: they are mapped over the batch, and so are further inputs with one row per example. Classes are
    last. So are channels, as in Flax; Keras models and the convolutions of Equinox and Flax say themselves where
    theirs are.

    Each call of an explainer traces the model anew, once per shape of a block, so that whatever it reads is read as it
    is then. What was compiled before serves where the same program comes out; arrays that the model holds are
    arguments of it. (A function under the user's own `jax.jit` is traced when JAX does that.)

    Numbers have the parameters' dtype, or else the inputs'; sums are in float64 where the user has switched on
    `jax_enable_x64`, and compensated in float32 where not. A model in half precision gets float32 points, cast at its
    door, and is scored in float32; the record says so. No setting of JAX is touched.

    Options: `jit` (True); False runs the model uncompiled, for functions with Python control flow on values.
    """

    name = "jax"
    channel_axis: int | None = -1
    class_axis = -1
    static_shapes = True
    options: ClassVar[Mapping[str, Any]] = MappingProxyType({"jit": True})

    @classmethod
    def recognises_model(cls, model: Any) -> bool:
        return kind_of(model) is not None

    @classmethod
    def recognises_array(cls, array: Any) -> bool:
        return isinstance(array, jax.Array)

    def __init__(self, model: Any, inputs: Any, call: Call, options: Mapping[str, Any] = NO_OPTIONS) -> None:
        if isinstance(inputs, jax.core.Tracer):
            raise InvalidInput(
                "the inputs are being traced: call the explainer outside jax.jit, jax.grad and jax.vmap; it compiles "
                "the model itself"
            )
        function = functional(model)
        self.maps_examples = function.single
        if function.single:  # Equinox keeps channels first
            self.class_axis = 1
        self.channel_axis = channel_axis(model, inputs.shape)
        if kind_of(model) == "keras":
            self.model_link = pathattr_keras.ending_link(model)
        self._jit = bool({**self.options, **options}["jit"])
        arrays, self._tree = split(function.tree)
        self._dtype, self._wide, self._own = dtypes_of(arrays, inputs)
        computed = map(jnp.dtype, sorted(pathattr_keras.compute_dtypes(model)))
        self._returned = [self._own, *computed]  # and the outputs' own, once they are known
        self._device = device_of([*arrays, inputs])
        # Uncommitted to a device: JAX takes them to wherever the committed ones are.
        self._arrays = [array if isinstance(array, jax.Array) else jnp.asarray(array) for array in arrays]
        self._batch = inputs.shape[0] if inputs.ndim else 0
        self._call, self._function = call, function
        self._whole = self._as_function()
        forward = meant(self._whole, call.head)
        # Jitted, so that the gradient's trace does not run through Python again.
        self._forward = jax.jit(forward) if self._jit else forward
        self._outputs = Traced(self._forward) if self._jit else self._forward
        self._scored: tuple[Objective, Callable[..., jax.Array]] | None = None
        self._latest: tuple[Objective, Callable[..., tuple[jax.Array, jax.Array]]] | None = None

    @property
    def conditions(self) -> Mapping[str, Any]:
        dtype = narrowest(self._returned)  # some models cast inside, from parameters in float32
        return {"model_dtype": str(dtype)} if dtype.itemsize < 4 else {}

    @property
    def has_float64(self) -> bool:
        return self._wide == np.float64

    def asarray(self, array: NDArray[Any]) -> jax.Array:
        return jax.device_put(np.asarray(array, dtype=self._dtype), self._device)

    def wide(self, array: Any) -> jax.Array:
        if isinstance(array, jax.Array):
            return array.astype(self._wide)
        return jax.device_put(np.asarray(array, dtype=self._wide), self._device)

    def narrow(self, array: Any) -> jax.Array:
        return array.astype(self._dtype)

    def to_numpy(self, array: Any) -> NDArray[Any]:
        array = np.asarray(array)
        # NumPy does not count bfloat16 among the floats.
        return array.astype(np.float32) if jnp.issubdtype(array.dtype, jnp.bfloat16) else array

    def restore(self, array: NDArray[np.float64], like: Any) -> Any:
        result = array.astype(like.dtype)
        if isinstance(like, jax.Array):
            return jax.device_put(result, like.sharding if like.committed else None)
        return result

    def apply(self, function: Applied, *arrays: Any) -> Any:
        return applied(function, *arrays)

    def accumulate(self, state: State, a: Any, b: Any, add: Callable[..., State]) -> State:
        return accumulated(state, a, b, add)

    @classmethod
    def out_of_memory(cls, error: Exception) -> bool:
        told = isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)
        return told or super().out_of_memory(error)

    @property
    def on_host(self) -> bool:
        return bool((self._device or jax.devices()[0]).platform == "cpu")

    def outputs(self, points: Any, rows: NDArray[np.intp]) -> jax.Array:
        with traceable(jit=self._jit, single=self.maps_examples):
            return self._outputs(self._arrays, points, self._further(rows))

    def scores(self, points: Any, objective: Objective, targets: NDArray[np.intp], rows: NDArray[np.intp]) -> Any:
        if objective.function is None:
            return super().scores(points, objective, targets, rows)
        with traceable(jit=self._jit, single=self.maps_examples):
            if self._scored is None or self._scored[0] is not objective:
                score = score_of(self._whole, objective)
                self._scored = objective, Traced(score) if self._jit else score
            return self._scored[1](self._arrays, points, self._further(rows), indices(targets))

    def gradient(
        self, points: Any, objective: Objective, targets: NDArray[np.intp], rows: NDArray[np.intp]
    ) -> tuple[jax.Array, jax.Array]:
        with traceable(jit=self._jit, single=self.maps_examples):
            return self._gradient_of(objective)(self._arrays, points, self._further(rows), indices(targets))

    def _further(self, rows: NDArray[np.intp]) -> list[Any]:
        """Return the arrays among the further inputs for the nodes of the given examples, on the model's device."""

        def repeated(leaf: Leaf) -> Any:
            axis = self._axis(leaf)
            return leaf.value if axis is None else taken_along(jnp.asarray(leaf.value), indices(rows), axis)

        arrays, _ = split([repeated(leaf) for leaf in self._call.leaves])
        return arrays if self._device is None else jax.device_put(arrays, self._device)

    def _axis(self, leaf: Leaf) -> int | None:
        """Return the axis of the examples in an array among the further inputs; None for all else."""
        return leaf.axis(self._batch) if is_array(leaf.value) else None

    def _as_function(self) -> Callable[..., Any]:
        """Return the model as a function of its arrays, the points and the arrays among the further inputs."""
        call = self._call
        _, frame = split([leaf.value for leaf in call.leaves])
        # A value that JAX takes apart further is a container of arrays that the examples share.
        axes = tuple(axis for leaf in call.leaves for axis in [self._axis(leaf)] * len(split(leaf.value)[0]))
        return in_dtype(self._own, whole(self._function, self._tree, frame, call, axes), self._returned)

    def _gradient_of(self, objective: Objective) -> Callable[..., tuple[jax.Array, jax.Array]]:
        """Return the gradient of a score, traced once per objective and shape."""
        if self._latest is None or self._latest[0] is not objective:
            outputs_of = self._forward if objective.function is None else self._whole
            returned = self._returned
            gradient = value_and_gradient(outputs_of, objective, lambda: narrowest(returned) == np.float16)
            self._latest = objective, Traced(gradient) if self._jit else gradient
        return self._latest[1]
