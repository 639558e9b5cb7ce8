"""A model as graphs of TensorFlow, traced anew for every call of an explainer, and used again where they are the same.

What a function reads through its closure, its module or its objects may have changed since it was last traced, and
cannot be seen from outside. So nothing is guessed: Python runs through the model once a call, and what was made of an
earlier trace serves where the graph that comes out is the same, operation for operation, and captures the same
variables.
"""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

import pathattr_keras
from pathattr.errors import ModelError
from pathattr.models.arguments import Call, bound
from pathattr.models.blame import brief
from pathattr.models.heads import chosen
from pathattr.models.returned import check_real
from pathattr.models.scaling import pulled
from pathattr.models.targets import Objective
from pathattr_tensorflow.ops import TensorFlowOps

# Graphs kept of one model: shapes of blocks and further inputs, of several explainers.
LIMIT = 16


@dataclass(frozen=True)
class Graph:
    """The traced outputs of a model, and the gradients that were made of them; `returned` is the outputs' own dtype."""

    outputs: Any
    returned: Any
    digest: bytes
    gradients: dict[Hashable, Any] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def equals(self, other: Graph) -> bool:
        """Tell whether two graphs compute the same from the same."""
        mine, theirs = self.outputs.captured_inputs, other.outputs.captured_inputs
        same = self.digest == other.digest and len(mine) == len(theirs)
        return same and all(a is b for a, b in zip(mine, theirs, strict=True))


class Traces:
    """One model for one call of an explainer: outputs and gradients, traced once for every shape of its arguments.

    `caller(model, args, kwargs)` calls the model, with arguments as `call` puts them together. Further inputs come as
    their values, in the order of the call's leaves. Outputs in half precision are taken to float32. `narrow`: the model
    computes in float16, whatever it returns.
    """

    def __init__(
        self, model: Any, caller: Callable[..., Any], call: Call, *, narrow: bool, autograph: bool, jit_compile: bool
    ) -> None:
        self._model, self._caller, self._call = model, caller, call
        self._narrow, self._autograph, self._jit = narrow, autograph, jit_compile or None
        self._graphs: dict[Hashable, Graph] = {}
        self._of_callables: dict[Hashable, tuple[Objective, Any]] = {}
        self._example_shape: tuple[int, ...] = ()  # of the outputs, as the latest call of `outputs` gave them

    @property
    def returned(self) -> set[Any]:
        """The dtypes of the model's outputs as it returned them."""
        return {graph.returned for graph in self._graphs.values()}

    def outputs(self, points: Any, values: Sequence[Any]) -> Any:
        """Return the array that is meant among the model's outputs."""
        outputs = self._graph(points, values).outputs(points, *_tensors(values))
        self._example_shape = tuple(outputs.shape[1:])
        return outputs

    def score(self, points: Any, objective: Objective, targets: Any, values: Sequence[Any]) -> Any:
        """Return the scores of an output callable."""

        everything, scored = self._everything(values), _plainly(objective.score)

        def score(targets: Any, points: Any, *tensors: Any) -> Any:
            found = scored(_OPS, _plainly(_singles)(everything(points, *tensors)), targets)
            _plainly(_check_real)(found, "the explained score is")
            return found

        return self._of_callable("score", score, points, objective, targets, values)

    def gradient(self, points: Any, objective: Objective, targets: Any, values: Sequence[Any]) -> Any:
        """Return scores and gradients with respect to the points."""
        if objective.function is not None:
            everything, scored = self._everything(values), _plainly(objective.score)

            def own(targets: Any, points: Any, *tensors: Any) -> Any:
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch(points)
                    score = scored(_OPS, _plainly(_singles)(everything(points, *tensors)), targets)
                return score, _plainly(_slopes)(tape, score, points)

            return self._of_callable("gradient", own, points, objective, targets, values)
        graph, tensors = self._graph(points, values), _tensors(values)
        shape = graph.outputs.outputs[0].shape
        # A SavedModel may have forgotten how many rows come out, tf.py_function even how many axes.
        tail = self._example_shape if shape.rank is None else tuple(shape[1:])
        narrow = self._narrow or graph.returned == tf.float16

        def scores(targets: Any, points: Any, *tensors: Any) -> Any:
            # Rows are independent, so the gradient of their sum, which is what a tape takes, holds each row's own.
            with tf.GradientTape(watch_accessed_variables=False, persistent=narrow) as tape:
                tape.watch(points)
                outputs = tf.ensure_shape(graph.outputs(points, *tensors), [points.shape[0], *tail])
                score = objective.score(_OPS, outputs, targets)
            if not narrow:
                return score, _slopes(tape, score, points)
            slopes = _slopes(tape, score, outputs)
            return score, pulled(_OPS, _largest, slopes, lambda slopes: _slopes(tape, outputs, points, slopes))

        key = objective.kind, objective.link, objective.class_axis, _specs([targets]), tail, narrow
        with graph.lock:
            if key not in graph.gradients:
                graph.gradients[key] = self._traced(scores, [targets, points, *tensors])
        return graph.gradients[key](targets, points, *tensors)

    def _of_callable(
        self, what: str, function: Any, points: Any, objective: Objective, targets: Any, values: Sequence[Any]
    ) -> Any:
        """Return what a function of targets, points and tensors gives, traced for this call of the explainer alone."""
        tensors = _tensors(values)
        key = what, id(objective), _specs([targets, points, *tensors])
        if key not in self._of_callables:
            self._of_callables[key] = objective, self._traced(function, [targets, points, *tensors], self._autograph)
        return self._of_callables[key][1](targets, points, *tensors)

    def _graph(self, points: Any, values: Sequence[Any]) -> Graph:
        tensors = [points, *_tensors(values)]
        key = _specs(tensors)
        if key not in self._graphs:
            self._graphs[key] = _kept(self._model, (key, self._jit), self._made(tensors, values))
        return self._graphs[key]

    def _made(self, tensors: Sequence[Any], values: Sequence[Any]) -> Graph:
        returned = []

        def array_in(outputs: Any) -> Any:
            found = chosen(outputs, lambda x: isinstance(x, tf.Tensor), self._call.head)
            _check_real(found, "the model returned")
            returned.append(found.dtype)
            return _singles(found)

        meant, everything = _plainly(array_in), self._everything(values)

        def run(points: Any, *tensors: Any) -> Any:
            return meant(everything(points, *tensors))

        outputs = self._traced(run, tensors, self._autograph)
        return Graph(outputs, returned[-1], hashlib.sha256(_text(outputs)).digest())

    def _everything(self, values: Sequence[Any]) -> Callable[..., Any]:
        """Return the function of points and tensors that returns all that the model returns."""
        call, caller, model = self._call, self._caller, self._model

        def arguments(points: Any, tensors: Sequence[Any]) -> Any:
            given = iter(tensors)
            filled = [next(given) if isinstance(leaf, tf.Tensor) else leaf for leaf in _leaves(values)]
            return bound(
                call.structure, call.name, points, tf.nest.pack_sequence_as(values, filled, expand_composites=True)
            )

        put_together = _plainly(arguments)

        # Converted by AutoGraph down to the model, but for Keras's: a Python `if` on a tensor works, as in tf.function.
        def everything(points: Any, *tensors: Any) -> Any:
            args, kwargs = put_together(points, tensors)
            return caller(model, args, kwargs)

        return everything

    def _traced(self, function: Callable[..., Any], tensors: Sequence[Any], autograph: bool = False) -> Any:
        # Asked for, and not called: TensorFlow warns of functions that are traced often.
        traced = tf.function(function, autograph=autograph, jit_compile=self._jit)
        with pathattr_keras.undisturbed():
            made = traced.get_concrete_function(*(tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in tensors))
        written = sorted({node.op for node in _nodes(made) if node.op in _WRITING})
        if written:
            raise ModelError(
                f"the model writes to its own variables when it is called ({', '.join(written)}), as in training: each "
                "of a path's points would change it, and the numbers of the next. Call what does so for inference "
                "(training=False), or pass a model that returns what it would write"
            )
        return made


_plainly = tf.autograph.experimental.do_not_convert
_OPS = TensorFlowOps()


def _slopes(tape: Any, score: Any, of: Any, cotangent: Any = None) -> Any:
    """Return a gradient from a tape; raise ModelError where there is none."""
    _check_real(score, "the explained score is")
    try:
        gradient = tape.gradient(score, of, output_gradients=cotangent)
    except LookupError as error:  # an operation for which TensorFlow has no gradient
        raise ModelError(f"{_NOT_DIFFERENTIABLE} ({brief(error)})") from error
    if gradient is None:
        raise ModelError(_NOT_DIFFERENTIABLE)
    return tf.convert_to_tensor(gradient)  # a model that gathers gives slices


def _check_real(array: Any, what: str) -> None:
    """Raise ModelError for what is no real number: TensorFlow takes a complex one's gradient to be its real part's."""
    check_real(what, array.dtype.name, "tf.abs, tf.math.real or tf.math.imag")


_NOT_DIFFERENTIABLE = (
    "the explained score is not differentiable with respect to the input: does the model stop the gradient, round, "
    "take an argmax, cast to whole numbers, leave TensorFlow (tf.numpy_function), or not use this input at all? Pass "
    "a model whose output depends on its input smoothly, and an output before any argmax"
)

_OF_MODELS: weakref.WeakKeyDictionary[Any, dict[Hashable, Graph]] = weakref.WeakKeyDictionary()
_LOCK = threading.Lock()


def _kept(model: Any, key: Hashable, graph: Graph) -> Graph:
    """Return the graph of an earlier call where it is the same, which saves its gradients; else this one, kept."""
    try:
        with _LOCK:
            table = _OF_MODELS.setdefault(model, {})
            found = table.pop(key, graph)
            table[key] = found if found.equals(graph) else graph
            if len(table) > LIMIT:
                table.pop(next(iter(table)))
            return table[key]
    except TypeError:  # such a model cannot be referred to weakly: its graphs are made for every call
        return graph


def _text(function: Any) -> bytes:
    """Return a concrete function's graph written down with its nodes numbered: some are named by a running count."""
    definition = function.graph.as_graph_def()
    numbers = {node.name: str(i) for i, node in enumerate(definition.node)}

    def numbered(name: str) -> str:  # as in name, name:0 and ^name
        own, colon, place = name.lstrip("^").partition(":")
        return "^" * name.startswith("^") + numbers[own] + colon + place

    for node in definition.node:
        node.name = numbers[node.name]
        node.input[:] = map(numbered, node.input)
        node.attr.pop("_user_specified_name", None)
    outputs = ",".join(numbered(tensor.name) for tensor in function.outputs)
    return bytes(definition.SerializeToString(deterministic=True)) + outputs.encode()


_WRITING = {"AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp"} | {
    f"ResourceScatter{what}" for what in ("Add", "Sub", "Mul", "Div", "Min", "Max", "Update", "NdUpdate", "NdAdd")
}


def _nodes(function: Any) -> Iterator[Any]:
    """Yield the operations of a concrete function's graph, and of the functions that it calls."""
    definition = function.graph.as_graph_def()
    yield from definition.node
    for called in definition.library.function:
        yield from called.node_def


def _leaves(values: Sequence[Any]) -> list[Any]:
    return list(tf.nest.flatten(values, expand_composites=True))


def _tensors(values: Sequence[Any]) -> list[Any]:
    return [leaf for leaf in _leaves(values) if isinstance(leaf, tf.Tensor)]


def _specs(tensors: Sequence[Any]) -> Hashable:
    return tuple((tuple(tensor.shape), tensor.dtype) for tensor in tensors)


def _largest(slopes: Any) -> Any:
    return tf.reduce_max(tf.abs(slopes), axis=list(range(1, len(slopes.shape))))


def _singles(outputs: Any) -> Any:
    """Return outputs with what is in half precision in float32."""

    def single(part: Any) -> Any:
        half = isinstance(part, tf.Tensor) and part.dtype.is_floating and part.dtype.size < 4
        return tf.cast(part, tf.float32) if half else part

    return tf.nest.map_structure(single, outputs)
