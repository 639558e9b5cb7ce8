"""The reference backend: plain NumPy, and models whose gradient the user brings along."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathattr.common.ops import NumpyOps
from pathattr.errors import InvalidInput, ModelError
from pathattr.models.arguments import Call, taken
from pathattr.models.backend import NO_OPTIONS, Backend, State, type_name
from pathattr.models.heads import chosen
from pathattr.models.returned import check_rows
from pathattr.models.targets import Objective


@dataclass(frozen=True)
class NumpyModel:
    """A model as two functions on NumPy arrays, so that anything at all can be explained.

    `value(points)` returns outputs (points, classes) or (points,); `vjp(points, cotangent)` the gradient of
    Σ cotangent·outputs, of the points' shape; `cotangent` has the shape of the outputs. Both may write into what they
    are given, and return the same buffer at every call.
    """

    value: Callable[[NDArray[Any]], NDArray[Any]]
    vjp: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]

    def __post_init__(self) -> None:
        _check_functions("NumpyModel(value, vjp)", {"value": self.value, "vjp": self.vjp})


@dataclass(frozen=True)
class GradientCallback:
    """A model of which only gradients can be had: remote, compiled, or written for another tool.

    `gradient(points, target)` returns ∂(score of class `target`)/∂points, of the points' shape; it is called once
    per class and block. `value(points, target)`, if there is one, returns that score, (points,). Without it the
    result has no scores and no completeness gap: they are NaN.
    """

    gradient: Callable[[NDArray[Any], int], NDArray[Any]]
    value: Callable[[NDArray[Any], int], NDArray[Any]] | None = None

    def __post_init__(self) -> None:
        given = {"gradient": self.gradient} | ({} if self.value is None else {"value": self.value})
        _check_functions("GradientCallback(gradient, value)", given)


class NumpyBackend(NumpyOps, Backend):
    """The reference: plain NumPy, in the inputs' own precision, at most float64.

    Models are NumpyModel, GradientCallback, or a pair (value, gradient) of functions of the points: a score
    (points,) and its gradient.
    """

    name = "numpy"
    channel_axis = 1
    class_axis = 1

    @classmethod
    def recognises_model(cls, model: Any) -> bool:
        pair = isinstance(model, tuple) and len(model) == 2 and all(callable(part) for part in model)
        return pair or isinstance(model, NumpyModel | GradientCallback)

    @classmethod
    def recognises_array(cls, array: Any) -> bool:
        return isinstance(array, np.ndarray)

    def __init__(self, model: Any, inputs: Any, call: Call, options: Mapping[str, Any] = NO_OPTIONS) -> None:
        if not self.recognises_model(model):
            raise InvalidInput(
                f"NumPy inputs need a model that can be differentiated; got {type(model).__name__}. Pass a module, say "
                "backend='torch' (or tensorflow, jax) for a function of that framework, or pass "
                "NumpyModel(value, vjp) with your own gradient"
            )
        if not isinstance(inputs, np.ndarray):
            raise InvalidInput(f"a NumPy model takes NumPy arrays; got {type_name(inputs)}")
        if call.name is not None:
            raise InvalidInput("a NumPy model takes its points first: input_name is for frameworks' models")
        self._callback = model if isinstance(model, GradientCallback) else None
        if self._callback is not None and (call.args or call.kwargs):
            raise InvalidInput("a GradientCallback takes points and a class only: put further inputs into the callback")
        if self._callback is not None:
            self.has_outputs, self.has_values = False, self._callback.value is not None
        self._model = _from_pair(*model) if isinstance(model, tuple) else model
        self._dtype, self._call = inputs.dtype, call
        self._batch = inputs.shape[0] if inputs.ndim else 0

    @property
    def has_float64(self) -> bool:
        return True

    def asarray(self, array: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(array, dtype=self._dtype)

    def wide(self, array: Any) -> NDArray[np.float64]:
        return np.asarray(array, dtype=np.float64)

    def narrow(self, array: Any) -> NDArray[Any]:
        return self.asarray(array)

    def to_numpy(self, array: Any) -> NDArray[Any]:
        return np.asarray(array)

    def restore(self, array: NDArray[np.float64], like: Any) -> NDArray[Any]:
        return array.astype(like.dtype)

    def accumulate(self, state: State, a: Any, b: Any, add: Callable[..., State]) -> State:
        if len(state) > 1:
            return super().accumulate(state, a, b, add)
        for j in range(a.shape[1]):
            np.add(state[0], a[:, j] * b[:, j], out=state[0])
        return state

    def link(self, name: str, outputs: Any, axis: int) -> NDArray[Any]:
        return LINK_FUNCTIONS[name](outputs, axis)

    def outputs(self, points: Any, rows: NDArray[np.intp]) -> NDArray[Any]:
        args, kwargs = self._bind(points, rows)
        found, head = self._model.value(*args, **kwargs), self._call.head
        if head is not None or _several(found):
            found = chosen(found, self.recognises_array, head)
        outputs = _returned("the model", found)
        check_rows(outputs.shape, len(points))
        if outputs.dtype.kind != "f":
            raise ModelError(
                f"the model returned {outputs.dtype}: expected scores, floating-point numbers. Where these are scores "
                "return outputs.astype(float); labels have no gradient: return the scores that they are chosen by"
            )
        return outputs

    def gradient(
        self, points: Any, objective: Objective, targets: NDArray[np.intp], rows: NDArray[np.intp]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return scores and gradients: the model's `vjp` at the score's derivative by the outputs."""
        if self._callback is not None:
            return self.scores(points, objective, targets, rows), self._by_class(
                self._callback.gradient, points, targets
            )
        outputs = self.outputs(points, rows)
        args, kwargs = self._bind(points, rows)
        cotangent = objective.cotangent(self, outputs, targets)
        gradients = _returned("vjp", self._model.vjp(args[0], cotangent, *args[1:], **kwargs))
        if gradients.shape != points.shape:
            raise ModelError(f"vjp returned shape {gradients.shape}; expected the shape of the points, {points.shape}")
        return objective.score(self, outputs, targets), gradients

    def scores(self, points: Any, objective: Objective, targets: NDArray[np.intp], rows: NDArray[np.intp]) -> Any:
        if self._callback is None:
            return super().scores(points, objective, targets, rows)
        if self._callback.value is None:
            return np.full(len(points), np.nan)
        return self._by_class(self._callback.value, points, targets)

    def _by_class(
        self, function: Callable[[NDArray[Any], int], NDArray[Any]], points: NDArray[Any], targets: NDArray[np.intp]
    ) -> NDArray[Any]:
        """Return what a callback gives for points of several classes: one call per class, the second's subtracted."""
        total: Any = 0.0
        for place, sign in zip(range(targets.shape[1]), (1.0, -1.0), strict=False):
            classes = targets[:, place, 0]
            for target in np.unique(classes):
                chosen = classes == target
                found = _returned("the callback", function(points[chosen], int(target)))
                expected = points[chosen].shape if function is self._callback.gradient else (int(chosen.sum()),)  # type: ignore[union-attr]  # called for callbacks only
                if found.shape != expected:
                    raise ModelError(f"the callback returned shape {found.shape}; expected {expected}")
                part = np.zeros((len(points), *found.shape[1:]), found.dtype)
                part[chosen] = sign * found
                total = total + part
        return np.asarray(total)

    def _bind(self, points: Any, rows: NDArray[np.intp]) -> tuple[list[Any], dict[str, Any]]:
        def serve(array: Any, axis: int | None) -> Any:
            shared = axis is None and isinstance(array, np.ndarray)
            return array.copy() if shared else taken(array, rows, axis)

        return self._call.served(points.copy(), self._batch, serve)  # copies: the model may write into what it is given


def _several(found: Any) -> bool:
    """Tell arrays in a container from numbers in a list."""
    if isinstance(found, Mapping):
        return True
    return isinstance(found, tuple | list) and any(isinstance(part, np.ndarray) for part in found)


def _check_functions(what: str, given: Mapping[str, Any]) -> None:
    """Raise InvalidInput for a model that is made of anything but functions."""
    for name, function in given.items():
        if not callable(function) or isinstance(function, type):
            raise InvalidInput(f"{what} takes functions of the points; its {name} is {function!r}")


def _returned(what: str, found: Any) -> NDArray[Any]:
    """Return an array of numbers that the user's function returned, copied: it may be a buffer that is filled again."""
    if np.ma.is_masked(found):
        raise ModelError(f"{what} returned a masked array, whose mask would be lost: return found.filled(value)")
    try:
        array = np.array(found)
    except Exception as error:  # whatever a foreign object raises when it is asked for its numbers
        raise ModelError(f"{what} returned {type_name(found)}, which is no array of numbers: {error}") from error
    if array.dtype.kind not in "fiub":
        kind = f" of {array.dtype}" if isinstance(found, np.ndarray) else ""
        raise ModelError(f"{what} returned {type_name(found)}{kind}: expected an array of real numbers")
    return array


def _from_pair(value: Callable[[Any], Any], gradient: Callable[[Any], Any]) -> NumpyModel:
    """Return a score and its gradient as a model with one output."""

    def one_score(points: NDArray[Any]) -> NDArray[Any]:
        score = _returned("the value of a pair (value, gradient)", value(points))
        if score.shape not in ((len(points),), (len(points), 1)):
            raise ModelError(
                f"the value of a pair (value, gradient) returned shape {score.shape} for {len(points)} points: "
                f"expected one score for each, ({len(points)},). For several outputs pass NumpyModel(value, vjp)"
            )
        return score

    def vjp(points: NDArray[Any], cotangent: NDArray[Any]) -> NDArray[Any]:
        gradients = _returned("the gradient", gradient(points))
        if gradients.shape != points.shape:
            raise ModelError(
                f"the gradient returned shape {gradients.shape}; expected that of the points, {points.shape}"
            )
        return gradients * cotangent.reshape(-1, *(1,) * (points.ndim - 1))

    return NumpyModel(one_score, vjp)


def _log_softmax(x: NDArray[Any], axis: int) -> NDArray[Any]:
    x = x - x.max(axis=axis, keepdims=True)
    return np.asarray(x - np.log(np.exp(x).sum(axis=axis, keepdims=True)))


def _log_sigmoid(x: NDArray[Any], axis: int) -> NDArray[Any]:
    return np.asarray(np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x))))


def _log(x: NDArray[Any], axis: int) -> NDArray[Any]:
    with np.errstate(divide="ignore", invalid="ignore"):  # the engine names the image and α of a non-finite score
        return np.asarray(np.log(x))


LINK_FUNCTIONS: dict[str, Callable[[NDArray[Any], int], NDArray[Any]]] = {
    "identity": lambda x, axis: x,
    "softmax": lambda x, axis: np.exp(_log_softmax(x, axis)),
    "log_softmax": _log_softmax,
    "sigmoid": lambda x, axis: np.exp(_log_sigmoid(x, axis)),
    "log_sigmoid": _log_sigmoid,
    "log": _log,
}
