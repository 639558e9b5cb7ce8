"""The narrow waist: what the engine asks of a framework.

A backend wraps one model for one call. Engine and families know no framework; a backend knows no path.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pathattr.common.ops import Applied, Ops
from pathattr.models.arguments import Call
from pathattr.models.surgery import Surgery
from pathattr.models.targets import Link, Objective

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

__all__ = ["NO_OPTIONS", "Backend", "Call", "Memory", "host_memory", "type_name"]

State = tuple[Any, ...]
"""A running sum: its arrays, wide."""
NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Memory:
    """Bytes of a device: those still free, and the most that have been in use."""

    free: int
    peak: int


def host_memory() -> Memory | None:
    """Return the memory of this machine; None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        table = {key: int(rest.split()[0]) for key, _, rest in (line.partition(":") for line in lines)}
        return Memory(1024 * table["MemAvailable"], 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    except (OSError, KeyError, AttributeError):
        return None


class Backend(Ops, Surgery):
    """One framework's side of the work: arrays, a dozen operations, and gradients of the user's model.

    What needs no call of a model is apart, and inherited: arithmetic in `Ops`, what is done to models in `Surgery`.

    Publish one in the entry-point group `pathattr.backends`, under the name of the framework's top-level
    module: it is loaded only once that module has been imported. Arrays below are the framework's own;
    "narrow" ones have the model's dtype, "wide" ones float64, or the widest that the device has.
    """

    channel_axis: int | None
    """Where this model, or else this framework's users, keep the channels of pictures and volumes, batch axis counted.

    None where that cannot be known of a batch of these axes: it must then be said.
    """
    class_axis: int | None = -1
    """Where its models keep the classes of pictures and volumes, in outputs of 4 and 5 axes; None: not known."""
    model_link: Link | None = None
    """What the model itself tells about its outputs: "already" where it visibly ends in a softmax or sigmoid."""
    logits_last: bool = False
    """True where the model tells that outputs of 3 axes are (batch, positions, classes), as Hugging Face's logits."""
    call: Call = Call()
    """How the model is called; whoever wraps a model says so."""
    maps_examples: bool = False
    """True for a model that takes one example, and is mapped over the batch."""
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
    def conditions(self) -> Mapping[str, Any]:
        """What else the numbers depend on, as plain values for the record: precision, modes of the framework."""
        return {}

    @property
    @abstractmethod
    def has_float64(self) -> bool:
        """True where wide arrays are float64; otherwise sums are compensated."""

    # Arrays
    @abstractmethod
    def asarray(self, array: NDArray[Any]) -> Any:
        """Return a NumPy array as a narrow one on the model's device."""

    def constant(self, array: NDArray[Any], like: Any) -> Any:
        """Return a NumPy array as the framework's beside another: narrow, as all are that transforms work on."""
        return self.asarray(array)

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

    # Operations, beside those of `Ops`
    def apply(self, function: Applied, *arrays: Any) -> Any:
        """Return function(ops, *arrays), compiled where this framework is slow at one operation after the other.

        `function` is a value: equal ones do the same, and share what has been compiled.
        """
        return function(self, *arrays)

    def take(self, x: Any, rows: NDArray[np.intp]) -> Any:
        """Return the given rows (first axis); by indexing, as NumPy's arrays are."""
        return x[rows]

    def finite(self, x: Any) -> Any:
        """Return one boolean a row: all of its numbers are finite; on the host, unless overridden."""
        return np.isfinite(self.to_numpy(x)).reshape(len(x), -1).all(axis=1)

    def accumulate(self, state: State, a: Any, b: Any, add: Callable[..., State]) -> State:
        """Return what becomes of a state as add(*state, wide(a[:, j]·b[:, j])) is done for one node j after the other.

        The order, hence the rounding, of a sum must not depend on how many nodes come at once. `state` is given up: its
        memory may hold the result where it is one array, which is added to.
        """
        for j in range(a.shape[1]):
            state = add(*state, self.wide(a[:, j] * b[:, j]))
        return state

    @abstractmethod
    def link(self, name: str, outputs: Any, axis: int) -> Any:
        """Return outputs through a link of `pathattr.models.targets.LINKS`, differentiably."""

    def select(self, outputs: Any, index: Any) -> Any:
        """Return outputs[p, *index[p]] for every row p, differentiably; by indexing, as NumPy's arrays are.

        `index` is (rows, output axes).
        """
        return outputs[(np.arange(len(outputs)), *np.moveaxis(index, 1, 0))]

    # Memory
    @classmethod
    def out_of_memory(cls, error: Exception) -> bool:
        """Tell whether an error means that less at once would fit."""
        return isinstance(error, MemoryError)

    @property
    def on_host(self) -> bool:
        """True where the model runs on the CPU."""
        return True

    def memory(self) -> Memory | None:
        """Return what the device has left and the most that was in use; None where that is not known."""
        return host_memory() if self.on_host else None

    # The model
    @abstractmethod
    def outputs(self, points: Any, rows: NDArray[np.intp]) -> Any:
        """Return the array that is meant among the model's outputs; `rows` tells which example a point belongs to."""

    def everything(self, points: Any, rows: NDArray[np.intp]) -> Any:
        """Return all that the model returns, as it does: what an output callable is given."""
        return self.outputs(points, rows)

    def explained(self, points: Any, objective: Objective, rows: NDArray[np.intp]) -> Any:
        """Return what the objective's score is made of."""
        return self.outputs(points, rows) if objective.function is None else self.everything(points, rows)

    def scores(self, points: Any, objective: Objective, targets: NDArray[np.intp], rows: NDArray[np.intp]) -> Any:
        """Return the explained score at each point, (points,), by a forward pass."""
        return objective.score(self, self.explained(points, objective, rows), targets)

    @abstractmethod
    def gradient(
        self, points: Any, objective: Objective, targets: NDArray[np.intp], rows: NDArray[np.intp]
    ) -> tuple[Any, Any]:
        """Return the explained score at each point, (points,), and its gradient, of the points' shape.

        `targets` is (points, 1 or 2, output axes); see `Objective`. Raises ModelError where the score is not
        differentiable with respect to the points.
        """


def type_name(thing: Any) -> str:
    """Return how a message calls the type of a thing."""
    kind = type(thing)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
