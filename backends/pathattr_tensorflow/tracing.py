"""Models and the gradients of their scores as traced functions, kept for as long as the model lives."""

from __future__ import annotations

import functools
import types
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import tensorflow as tf

from pathattr.arguments import Call, bound
from pathattr.errors import ModelError
from pathattr.heads import chosen
from pathattr.targets import Objective, OutputOps
from pathattr_keras import is_keras

_PLAIN = (bool, int, float, complex, str, bytes, type(None))


class Traces:
    """What has been traced of one model: its outputs and, by objective, its scores with their gradients.

    TensorFlow traces each once per shape of the points. `caller(model, args, kwargs)` calls the model, with arguments
    as `call` puts them together.
    """

    def __init__(self, model: Any, caller: Callable[..., Any], call: Call, jit_compile: bool) -> None:
        # Functions that are kept must not hold what they are kept for.
        held = _weakly(model)
        self.state = state_of(model)
        self.example_shape: tuple[int, ...] = ()
        """The shape of one example's outputs, as the latest call of `outputs` gave them."""
        self._jit = jit_compile or None
        self._fixed: dict[tuple[str, str, int], Any] = {}
        self._by_function: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

        structure, name, head = call.structure, call.name, call.head  # not the call, which holds the user's arrays

        def everything(points: Any, values: list[Any]) -> Any:
            return caller(held(), *bound(structure, name, points, values))

        def array_in(outputs: Any) -> Any:
            return chosen(outputs, lambda x: isinstance(x, tf.Tensor), head)

        meant = tf.autograph.experimental.do_not_convert(array_in)

        def run(points: Any, values: list[Any]) -> Any:
            return meant(everything(points, values))

        # As TensorFlow's users expect, a Python `if` on a tensor works; Keras does without for its own models.
        convert = not is_keras(model)
        self.outputs = tf.function(run, autograph=convert, jit_compile=self._jit)
        self._everything = tf.function(everything, autograph=convert, jit_compile=self._jit)

    def settle(self, model: Any) -> None:
        """Take note of what tracing itself has changed in the model: what it builds or counts when called."""
        self.state = state_of(model)

    def gradient(self, objective: Objective, ops: OutputOps) -> Any:
        """Return the function of (points, targets, values of the further inputs) that gives scores and gradients."""
        function = objective.function
        if function is None:
            key = (objective.kind, objective.link, objective.class_axis)
            if key not in self._fixed:
                self._fixed[key] = self._differentiated(lambda: objective, ops)
            return self._fixed[key]
        held = _weakly(function)
        made = self._differentiated(lambda: Objective("callable", function=held()), ops)
        try:
            state, kept = self._by_function.get(function, (None, None))
            if state != (now := state_of(function)):
                self._by_function[function] = (now, kept := made)
            return kept
        except TypeError:  # neither hashable nor open to weak references: traced anew for every call
            return made

    def score(self, objective: Objective, ops: OutputOps) -> Any:
        """Return the function of the same that gives the scores of an output callable."""
        held = _weakly(objective.function)
        own, everything = Objective("callable", function=None), self._everything

        def score(points: Any, targets: Any, values: list[Any]) -> Any:
            return replace(own, function=held()).score(ops, everything(points, values), targets)

        return tf.function(score, autograph=False, jit_compile=self._jit)

    def _differentiated(self, objective: Callable[[], Objective], ops: OutputOps) -> Any:
        outputs_of, everything = self.outputs, self._everything

        def scores(points: Any, targets: Any, values: list[Any]) -> Any:
            # Rows are independent, so the gradient of their sum, which is what a tape takes, holds each row's own.
            own = objective()
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(points)
                if own.function is not None:
                    outputs = everything(points, values)
                else:
                    outputs = outputs_of(points, values)
                    # A SavedModel may have forgotten how many rows come out, tf.py_function even how many axes.
                    tail = self.example_shape if outputs.shape.rank is None else outputs.shape[1:]
                    outputs = tf.ensure_shape(outputs, [points.shape[0], *tail])
                score = own.score(ops, outputs, targets)
            try:
                gradient = tape.gradient(score, points)
            except LookupError as error:  # an operation for which TensorFlow has no gradient
                raise ModelError(f"{_NOT_DIFFERENTIABLE} TensorFlow says: {error}") from error
            if gradient is None:
                raise ModelError(_NOT_DIFFERENTIABLE)
            return score, tf.convert_to_tensor(gradient)  # a model that gathers gives slices

        return tf.function(scores, autograph=False, jit_compile=self._jit)


_NOT_DIFFERENTIABLE = (
    "the explained score is not differentiable with respect to the input: does the model stop the gradient, round, "
    "take an argmax, cast to whole numbers, leave TensorFlow (tf.numpy_function), or not use this input at all? Pass "
    "a model whose output depends on its input smoothly, and an output before any argmax."
)

_kept: dict[Any, Traces] = {}


def traces_of(model: Any, caller: Callable[..., Any], call: Call, *, jit_compile: bool) -> Traces:
    """Return what has been traced of a model in one manner of calling it, anew where it has been changed since."""
    key = (id(model), call.structure, call.name, call.head, jit_compile)
    found = _kept.get(key)
    if found is None or found.state != state_of(model):
        found = Traces(model, caller, call, jit_compile)
        try:
            weakref.finalize(model, _kept.pop, key, None).atexit = False
        except TypeError:  # no weak references to such an object: traced anew for every call
            return found
        _kept[key] = found
    return found


def state_of(model: Any) -> list[Any]:
    """Return what tells whether Python's side of a model has changed: traces do not see such changes.

    The plain values and the identities of the objects that the model, its parts and its closures hold. What is
    changed inside other objects, or among a module's globals, is not seen.
    """
    found: list[Any] = []
    seen: set[int] = set()
    waiting = [model]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        for value in _held(part):
            if isinstance(value, _PLAIN):
                found.append(value)
            else:
                found.append(id(value))
                waiting.append(value)
    return found


def _held(part: Any) -> Iterator[Any]:
    if isinstance(part, tf.Module) or is_keras(part):
        yield from vars(part).values()
    elif isinstance(part, Mapping):
        yield from part.values()
    elif isinstance(part, list | tuple):
        yield from part
    elif isinstance(part, types.FunctionType):
        yield part.__code__
        yield from part.__defaults__ or ()
        for cell in part.__closure__ or ():
            try:
                yield cell.cell_contents
            except ValueError:  # not filled yet
                yield None
    elif isinstance(part, types.MethodType):
        yield from (part.__func__, part.__self__)
    elif isinstance(part, functools.partial):
        yield from (part.func, part.args, part.keywords)


def _weakly(thing: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(thing)
    except TypeError:
        return lambda: thing
