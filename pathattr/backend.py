"""The narrow waist: what the engine asks of a framework, how one is found, and the NumPy reference.

A backend wraps one model for one call. Engine and families know no framework; a backend knows no path.
"""

from __future__ import annotations

import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import entry_points, metadata
from itertools import chain
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pathattr.errors import InvalidInput, MissingExtra, ModelError, PathattrError
from pathattr.targets import Link, Objective

NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Call:
    """How the model is called: `model(points, *args, **kwargs)`, or `model(**{name: points})` with a name.

    Arrays in `args` and `kwargs` whose first axis is the batch are repeated for every node of an example.
    """

    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None

    def bind(self, points: Any, repeat: Callable[[Any], Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return the positional and keyword arguments for some points; `repeat` serves the arrays."""
        kwargs = {key: repeat(value) for key, value in self.kwargs.items()}
        if self.name is not None:
            return [repeat(value) for value in self.args], kwargs | {self.name: points}
        return [points, *(repeat(value) for value in self.args)], kwargs


class Backend(ABC):
    """One framework's side of the work: arrays, a dozen operations, and gradients of the user's model.

    Publish one in the entry-point group `pathattr.backends`, under the name of the framework's top-level
    module: it is loaded only once that module has been imported. Arrays below are the framework's own;
    "narrow" ones have the model's dtype, "wide" ones float64, or the widest that the device has.
    """

    name: ClassVar[str]
    channel_axis: int
    """Where this framework's users (or this model) keep the channels of pictures and volumes, batch axis counted."""
    class_axis: int = -1
    """Where its models keep the classes in their outputs."""
    model_link: Link | None = None
    """What the model itself tells about its outputs: "already" where it visibly ends in a softmax or sigmoid."""
    has_outputs: bool = True
    """False for a model that gives a class's gradient but not its outputs: the class must then be said."""
    has_values: bool = True
    """False where not even the explained score is known, so that no gap can be told."""
    options: ClassVar[Mapping[str, Any]] = NO_OPTIONS
    """The options that this backend takes (`PathExplainer(backend_options=...)`), with their defaults."""
    static_shapes: ClassVar[bool] = False
    """True where a new shape means a new trace or compilation: short blocks are padded instead."""

    @classmethod
    @abstractmethod
    def recognises_model(cls, model: Any) -> bool:
        """Tell whether `model` belongs to this framework."""

    @classmethod
    @abstractmethod
    def recognises_array(cls, array: Any) -> bool:
        """Tell whether `array` belongs to this framework."""

    @classmethod
    @abstractmethod
    def devices(cls) -> list[str]:
        """Return the names of the devices that the framework sees; never raises."""

    @classmethod
    def build(cls, layers: Sequence[Any], weights: Mapping[str, NDArray[np.float32]]) -> Any:
        """Return the framework's model of a layer list of `pathattr.scenes.network`, ready for inference."""
        raise InvalidInput(f"the {cls.name} backend does not build the scenes classifier")

    @classmethod
    def place(cls, model: Any, device: str) -> Any:
        """Return the model on a device, named as the framework names it; raise InvalidInput for an unknown one."""
        if device in cls.devices():
            return model
        raise InvalidInput(f"the {cls.name} backend has no device {device!r}; it has {', '.join(cls.devices())}")

    @abstractmethod
    def __init__(self, model: Any, inputs: Any, call: Call, options: Mapping[str, Any] = NO_OPTIONS) -> None:
        """Wrap `model` for a batch of inputs; raise InvalidInput or ModelError where that cannot work.

        `options` has a value for every name in the class's `options`.
        """

    @contextmanager
    def running(self) -> Iterator[None]:
        """Hold the model ready for the run, and put everything back as it was found."""
        yield

    @property
    @abstractmethod
    def has_float64(self) -> bool:
        """True where wide arrays are float64; otherwise sums are compensated."""

    # Arrays
    @abstractmethod
    def asarray(self, array: NDArray[Any]) -> Any:
        """Return a NumPy array as a narrow one on the model's device."""

    @abstractmethod
    def wide(self, array: Any) -> Any:
        """Return a NumPy or native array as a wide one on the model's device."""

    @abstractmethod
    def narrow(self, array: Any) -> Any:
        """Return a native array as a narrow one."""

    @abstractmethod
    def to_numpy(self, array: Any) -> NDArray[Any]:
        """Return any array of this framework on the host, dtype kept."""

    @abstractmethod
    def restore(self, array: NDArray[np.float64], like: Any) -> Any:
        """Return a float64 result in the container, dtype and device of `like`, the caller's inputs."""

    # Operations
    @abstractmethod
    def einsum(self, equation: str, left: Any, right: Any) -> Any:
        """Return the product of two operands."""

    @abstractmethod
    def clip(self, x: Any, low: float, high: float) -> Any:
        """Return x limited to [low, high]."""

    @abstractmethod
    def cos(self, x: Any) -> Any:
        """Return the cosine."""

    @abstractmethod
    def exp(self, x: Any) -> Any:
        """Return the exponential."""

    @abstractmethod
    def where(self, condition: Any, x: Any, y: Any) -> Any:
        """Return x where the condition holds, else y."""

    @abstractmethod
    def reshape(self, x: Any, shape: tuple[int, ...]) -> Any:
        """Return x in another shape, C order."""

    @abstractmethod
    def concat(self, arrays: Sequence[Any], axis: int) -> Any:
        """Return arrays joined along an existing axis."""

    @abstractmethod
    def take(self, x: Any, rows: NDArray[np.intp]) -> Any:
        """Return the given rows (first axis)."""

    @abstractmethod
    def finite(self, x: Any) -> Any:
        """Return one boolean a row: all of its numbers are finite."""

    @abstractmethod
    def link(self, name: str, outputs: Any, axis: int) -> Any:
        """Return outputs through a link of `pathattr.targets.LINKS`, differentiably."""

    @abstractmethod
    def select(self, outputs: Any, index: Any) -> Any:
        """Return outputs[p, *index[p]] for every row p, differentiably; `index` is (rows, output axes)."""

    # The model
    @abstractmethod
    def outputs(self, points: Any, rows: NDArray[np.intp]) -> Any:
        """Return the model's outputs at points; `rows` tells which example each belongs to."""

    def scores(self, points: Any, objective: Objective, targets: NDArray[np.intp], rows: NDArray[np.intp]) -> Any:
        """Return the explained score at each point, (points,), by a forward pass."""
        return objective.score(self, self.outputs(points, rows), targets)

    @abstractmethod
    def gradient(
        self, points: Any, objective: Objective, targets: NDArray[np.intp], rows: NDArray[np.intp]
    ) -> tuple[Any, Any]:
        """Return the explained score at each point, (points,), and its gradient, of the points' shape.

        `targets` is (points, 1 or 2, output axes); see `Objective`. Raises ModelError where the score is not
        differentiable with respect to the points.
        """


def first_output(outputs: Any, is_array: Callable[[Any], bool]) -> Any:
    """Return the array that a model means among its outputs: itself, `.logits`, or the first of a tuple.

    Raises ModelError for a dict or object that leaves a choice; the error lists what is there.
    """
    if is_array(outputs):
        return outputs
    logits = getattr(outputs, "logits", None)
    if logits is not None and is_array(logits):
        return logits
    if isinstance(outputs, Mapping):
        arrays = {key: value for key, value in outputs.items() if is_array(value)}
        for key in ("logits", "output", "out"):
            if key in arrays:
                return arrays[key]
        if len(arrays) == 1:
            return next(iter(arrays.values()))
        raise ModelError(
            f"the model returns a dict with the arrays {sorted(map(str, arrays))}, and which one to explain is not "
            "clear: pass a function that returns it, such as lambda x: model(x)['name']"
        )
    if isinstance(outputs, tuple | list) and outputs:
        return first_output(outputs[0], is_array)
    raise ModelError(
        f"the model returned {type(outputs).__name__}, not an array: pass a function that returns the scores, "
        "(batch, classes) or (batch,)"
    )


@dataclass(frozen=True)
class NumpyModel:
    """A model as two functions on NumPy arrays, so that anything at all can be explained.

    `value(points)` returns outputs (points, classes) or (points,); `vjp(points, cotangent)` the gradient of
    Σ cotangent·outputs, of the points' shape; `cotangent` has the shape of the outputs.
    """

    value: Callable[[NDArray[Any]], NDArray[Any]]
    vjp: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True)
class GradientCallback:
    """A model of which only gradients can be had: remote, compiled, or written for another tool.

    `gradient(points, target)` returns ∂(score of class `target`)/∂points, of the points' shape; it is called once
    per class and block. `value(points, target)`, if there is one, returns that score, (points,). Without it the
    result has no scores and no completeness gap: they are NaN.
    """

    gradient: Callable[[NDArray[Any], int], NDArray[Any]]
    value: Callable[[NDArray[Any], int], NDArray[Any]] | None = None


class NumpyBackend(Backend):
    """The reference: plain NumPy, in the inputs' own precision.

    Models are NumpyModel, GradientCallback, or a pair (value, gradient) of functions of the points: a score
    (points,) and its gradient.

    Every product is one matrix product per node, image and channel, so its bits do not depend on what else
    is in the block.
    """

    name = "numpy"
    channel_axis = 1

    @classmethod
    def recognises_model(cls, model: Any) -> bool:
        pair = isinstance(model, tuple) and len(model) == 2 and all(callable(part) for part in model)
        return pair or isinstance(model, NumpyModel | GradientCallback)

    @classmethod
    def recognises_array(cls, array: Any) -> bool:
        return isinstance(array, np.ndarray)

    @classmethod
    def devices(cls) -> list[str]:
        return ["cpu"]

    def __init__(self, model: Any, inputs: Any, call: Call, options: Mapping[str, Any] = NO_OPTIONS) -> None:
        if not self.recognises_model(model):
            raise InvalidInput(
                f"NumPy inputs need a model that can be differentiated; got {type(model).__name__}. Pass a module, say "
                "backend='torch' (or tensorflow, jax) for a function of that framework, or pass "
                "NumpyModel(value, vjp) with your own gradient"
            )
        if not isinstance(inputs, np.ndarray):
            raise InvalidInput(f"a NumPy model takes NumPy arrays; got {_type_name(inputs)}")
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

    def einsum(self, equation: str, left: Any, right: Any) -> NDArray[Any]:
        """Return the product, one matrix product per index of the labels `b`, `n` and those on both sides."""
        inputs, output = equation.split("->")
        a, b = inputs.split(",")
        batch = [label for label in output if label in "bn" or (label in a and label in b)]
        summed = [label for label in a if label in b and label not in output]
        rows = [label for label in a if label not in batch and label not in summed]
        columns = [label for label in b if label not in batch and label not in summed]
        size = dict(zip(a, left.shape, strict=True)) | dict(zip(b, right.shape, strict=True))

        def arranged(x: Any, labels: str, first: list[str], second: list[str]) -> NDArray[Any]:
            x = x.transpose([labels.index(label) for label in batch + first + second if label in labels])
            outer = [size[label] if label in labels else 1 for label in batch]
            return np.reshape(x, [*outer, *(int(np.prod([size[q] for q in group])) for group in (first, second))])

        if summed:
            product = np.matmul(arranged(left, a, rows, summed), arranged(right, b, summed, columns))
        else:
            product = arranged(left, a, rows, []) * arranged(right, b, [], columns)
        product = product.reshape([size[label] for label in batch + rows + columns])
        return product.transpose([(batch + rows + columns).index(label) for label in output])

    def clip(self, x: Any, low: float, high: float) -> NDArray[Any]:
        return np.clip(x, low, high)

    def cos(self, x: Any) -> NDArray[Any]:
        return np.cos(x)

    def exp(self, x: Any) -> NDArray[Any]:
        return np.exp(x)

    def where(self, condition: Any, x: Any, y: Any) -> NDArray[Any]:
        return np.where(condition, x, y)

    def reshape(self, x: Any, shape: tuple[int, ...]) -> NDArray[Any]:
        return np.reshape(x, shape)

    def concat(self, arrays: Sequence[Any], axis: int) -> NDArray[Any]:
        return np.concatenate(arrays, axis)

    def take(self, x: Any, rows: NDArray[np.intp]) -> NDArray[Any]:
        return np.asarray(x)[rows]

    def finite(self, x: Any) -> NDArray[np.bool_]:
        return np.isfinite(x).reshape(len(x), -1).all(axis=1)

    def link(self, name: str, outputs: Any, axis: int) -> NDArray[Any]:
        return LINK_FUNCTIONS[name](outputs, axis)

    def select(self, outputs: Any, index: Any) -> NDArray[Any]:
        return np.asarray(outputs[(np.arange(len(outputs)), *np.moveaxis(index, 1, 0))])

    def outputs(self, points: Any, rows: NDArray[np.intp]) -> NDArray[Any]:
        args, kwargs = self._bind(points, rows)
        outputs = np.asarray(self._model.value(*args, **kwargs))
        if outputs.shape[:1] != points.shape[:1] or 0 in outputs.shape:
            raise ModelError(
                f"the model returned shape {outputs.shape} for {len(points)} points: expected one row for each"
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
        gradients = np.asarray(self._model.vjp(args[0], cotangent, *args[1:], **kwargs))
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
                found = np.asarray(function(points[chosen], int(target)))
                expected = points[chosen].shape if function is self._callback.gradient else (int(chosen.sum()),)  # type: ignore[union-attr]  # called for callbacks only
                if found.shape != expected:
                    raise ModelError(f"the callback returned shape {found.shape}; expected {expected}")
                part = np.zeros((len(points), *found.shape[1:]), found.dtype)
                part[chosen] = sign * found
                total = total + part
        return np.asarray(total)

    def _bind(self, points: Any, rows: NDArray[np.intp]) -> tuple[list[Any], dict[str, Any]]:
        def repeat(value: Any) -> Any:
            batched = isinstance(value, np.ndarray) and value.shape[:1] == (self._batch,)
            return value[rows] if batched else value

        return self._call.bind(points, repeat)


def _from_pair(value: Callable[[Any], Any], gradient: Callable[[Any], Any]) -> NumpyModel:
    """Return a score and its gradient as a model with one output."""

    def one_score(points: NDArray[Any]) -> NDArray[Any]:
        score = np.asarray(value(points))
        if score.shape not in ((len(points),), (len(points), 1)):
            raise ModelError(
                f"the value of a pair (value, gradient) returned shape {score.shape} for {len(points)} points: "
                f"expected one score for each, ({len(points)},). For several outputs pass NumpyModel(value, vjp)"
            )
        return score

    def vjp(points: NDArray[Any], cotangent: NDArray[Any]) -> NDArray[Any]:
        gradients = np.asarray(gradient(points))
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


def backend_for(model: Any, inputs: Any, forced: str | type[Backend] | None = None) -> type[Backend]:
    """Return the backend that recognises the model, or else the inputs; no framework is imported for it.

    `forced` names one, or is one. Raises MissingExtra where the framework's adapter lacks something, InvalidInput
    where nobody knows the model or where model and inputs belong to two frameworks.
    """
    of_model: type[Backend] | None = None
    if isinstance(forced, str):
        of_model = load_backend(forced)
    elif isinstance(forced, type) and issubclass(forced, Backend):
        of_model = forced
    elif forced is not None:
        raise InvalidInput(
            f"backend must be a name ({', '.join(sorted(backends()))}) or a Backend class; got {forced!r}"
        )
    if of_model is None:
        # A pair of callables may also be a function with its parameters: whoever knows those is asked first.
        known = sorted(_candidates(), key=lambda b: b is NumpyBackend) if isinstance(model, tuple) else _candidates()
        of_model = next((backend for backend in known if backend.recognises_model(model)), None)
    own = [] if of_model is None else [of_model]
    of_array = next((backend for backend in chain(_candidates(), own) if backend.recognises_array(inputs)), None)
    if of_array is None:
        raise InvalidInput(
            f"inputs of type {_type_name(inputs)} belong to no backend ({', '.join(sorted(backends()))}): "
            "pass an array of your framework, batch axis first"
        )
    if of_model is not None and of_array not in (of_model, NumpyBackend):
        raise InvalidInput(
            f"a {of_model.name} model with inputs of type {_type_name(inputs)}: pass inputs of {of_model.name} "
            "or NumPy arrays"
        )
    if of_model is None and not callable(model):
        raise InvalidInput(f"the model is a {_type_name(model)}: pass a module or a callable of your framework")
    return of_model or of_array


def wrapped(
    model: Any,
    inputs: Any,
    call: Call,
    forced: str | type[Backend] | None = None,
    options: Mapping[str, Any] = NO_OPTIONS,
) -> Backend:
    """Return the backend of a model and its inputs, wrapped around the model.

    Raises InvalidInput for options that the backend does not have; the error lists those that it has.
    """
    backend = backend_for(model, inputs, forced)
    unknown = [name for name in options if name not in backend.options]
    if unknown:
        there = ", ".join(sorted(backend.options)) or "none"
        raise InvalidInput(f"the {backend.name} backend has no option {', '.join(unknown)}; it has {there}")
    return backend(model, inputs, call, {**backend.options, **options})


def backends() -> dict[str, Any]:
    """Return the entry points of all backends by framework, installed or not; "numpy" is built in."""
    return {"numpy": None} | _scanned(entry_points, tuple(sys.path))


@lru_cache(maxsize=8)
def _scanned(scan: Callable[..., Any], path: tuple[str, ...]) -> dict[str, Any]:
    """Return the entry points that a scan of the path finds; it takes 7 ms, too long for every explanation."""
    return {point.name: point for point in scan(group="pathattr.backends")}


def _candidates() -> Iterator[type[Backend]]:
    """Yield NumPy's backend and those whose framework has been imported: no other can own a model or an array.

    An adapter that cannot be loaded is left out, with a warning: it must not keep others from working.
    """
    yield NumpyBackend
    for name in backends():
        if name != "numpy" and sys.modules.get(name) is not None:
            try:
                yield load_backend(name)
            except PathattrError as error:
                warnings.warn(f"the {name} backend is left out: {error}", stacklevel=2)


def load_backend(name: str) -> type[Backend]:
    """Return one backend by the name of its framework, importing the framework.

    Raises InvalidInput for an unknown name and MissingExtra where the framework is not installed.
    """
    if name == "numpy":
        return NumpyBackend
    known = backends()
    if name not in known:
        raise InvalidInput(f"unknown backend {name!r}; the names are {', '.join(sorted(known))}")
    try:
        loaded = known[name].load()
    except ImportError as error:
        ours = name in (metadata("pathattr").get_all("Provides-Extra") or [])
        install = f"'pathattr[{name}]'" if ours else name
        raise MissingExtra(f"the {name} backend cannot be loaded ({error}): pip install {install}") from error
    if not (isinstance(loaded, type) and issubclass(loaded, Backend)):
        raise InvalidInput(f"the entry point {name!r} of pathattr.backends gives {loaded!r}, not a Backend class")
    return loaded


def _type_name(thing: Any) -> str:
    kind = type(thing)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
