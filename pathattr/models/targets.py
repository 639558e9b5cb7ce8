"""Which number of the model is explained: the output, its link, and the target among its classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pathattr.common.checks import is_whole, on_host
from pathattr.common.names import one_of
from pathattr.common.texts import shown
from pathattr.errors import InvalidInput, ModelError

Output = Literal["probability", "logit", "log_probability", "raw"]
Link = Literal["softmax", "sigmoid", "identity", "already"]
OUTPUTS: tuple[Output, ...] = ("probability", "logit", "log_probability", "raw")
MODEL_LINKS: tuple[Link, ...] = ("softmax", "sigmoid", "identity", "already")

# From the model's outputs to the explained number, for each kind of output and link.
LINKS: dict[tuple[str, str], str] = {
    ("probability", "softmax"): "softmax",
    ("probability", "sigmoid"): "sigmoid",
    ("probability", "already"): "identity",
    ("log_probability", "softmax"): "log_softmax",
    ("log_probability", "sigmoid"): "log_sigmoid",
    ("log_probability", "already"): "log",
    ("logit", "softmax"): "identity",
    ("logit", "sigmoid"): "identity",
    ("logit", "identity"): "identity",
    **{("raw", link): "identity" for link in MODEL_LINKS},
}


@dataclass(frozen=True)
class Contrast:
    """The score of `a` minus the score of `b`: why this class rather than that. Each is a target as any other."""

    a: Any
    b: Any


class OutputOps(Protocol):
    """What scores are made of; every backend has them."""

    def link(self, name: str, outputs: Any, axis: int, /) -> Any:
        """Return outputs through a link."""

    def select(self, outputs: Any, index: Any, /) -> Any:
        """Return one number a row."""


@dataclass(frozen=True)
class Objective:
    """The explained score as a function of the model's outputs.

    A `function` gets all that the model returns, as it does. Without one, `score` takes one index into the outputs per
    row, or two whose scores are subtracted: `targets` is (rows, 1 or 2, output axes).
    """

    kind: str
    link: str = "identity"
    class_axis: int = -1
    function: Callable[[Any], Any] | None = None

    def score(self, ops: OutputOps, outputs: Any, targets: Any) -> Any:
        """Return the explained score of each row of outputs, (rows,)."""
        if self.function is not None:
            scores, rows = self.function(outputs), targets.shape[0]
            if tuple(getattr(scores, "shape", ())) != (rows,):
                raise ModelError(
                    f"the output callable must return one score a row, shape ({rows},); "
                    f"it returned {getattr(scores, 'shape', type(scores).__name__)}"
                )
            return scores
        linked = ops.link(self.link, outputs, self.class_axis)
        score = ops.select(linked, targets[:, 0])
        return score if targets.shape[1] == 1 else score - ops.select(linked, targets[:, 1])

    def cotangent(self, ops: OutputOps, outputs: NDArray[Any], targets: NDArray[np.intp]) -> NDArray[Any]:
        """Return ∂score/∂outputs in closed form, for models without automatic differentiation."""
        if self.function is not None:
            raise InvalidInput(
                "an output callable has no derivative in NumPy: let NumpyModel's value return the score and its vjp "
                "the gradient, with output='raw'"
            )
        linked = ops.link(self.link, outputs, self.class_axis)
        rows = np.arange(len(outputs))
        seed = np.zeros_like(outputs)
        for place, sign in zip(range(targets.shape[1]), (1.0, -1.0), strict=False):
            np.add.at(seed, (rows, *np.moveaxis(targets[:, place], 1, 0)), sign)
        if self.link == "identity":
            return seed
        if self.link == "softmax":
            weighted = linked * seed
            return np.asarray(weighted - linked * weighted.sum(axis=self.class_axis, keepdims=True))
        if self.link == "log_softmax":
            return np.asarray(seed - np.exp(linked) * seed.sum(axis=self.class_axis, keepdims=True))
        if self.link == "sigmoid":
            return np.asarray(seed * linked * (1 - linked))
        if self.link == "log_sigmoid":
            return np.asarray(seed * (1 - np.exp(linked)))
        assert self.link == "log"
        with np.errstate(divide="ignore", invalid="ignore"):  # the engine names image and α
            return np.asarray(np.where(seed == 0, 0, seed / outputs))


def check_options(output: Output | Callable[[Any], Any] | None, link: Link | None) -> None:
    """Raise InvalidInput for an unknown output or link, or two that do not go together."""
    if link is not None:
        one_of("link", link, MODEL_LINKS)
    if output is None or callable(output):
        return
    one_of("output", output, OUTPUTS)
    if link is not None and (output, link) not in LINKS:
        raise InvalidInput(_REFUSED[link].format(output=output))


_REFUSED = {
    "already": (
        "output={output!r} of a model that returns probabilities: the logits cannot be had back. Explain "
        "output='probability' or 'log_probability', or pass the model without its last activation"
    ),
    "identity": (
        "output={output!r} of a model whose outputs are no scores of classes (link='identity'): explain output='raw', "
        "or say link='softmax' or 'sigmoid'"
    ),
}


def resolve_targets(target: Any, outputs: NDArray[Any], class_axis: int | None = None) -> NDArray[np.intp]:
    """Return targets as indices into the outputs, (batch, 1 or 2, output axes); 2 for a contrast.

    None is the class with the largest output at the input. Positions beside a class, as of a pixel or a token, may be
    negative: they count from the end. Raises InvalidInput for a target of the wrong form, or out of range: the error
    tells the range.
    """
    parts = [target.a, target.b] if isinstance(target, Contrast) else [target]
    return np.stack([_indices(part, outputs, class_axis) for part in parts], axis=1)


def targets_of_callable(target: Any, batch: int) -> NDArray[np.intp]:
    """Return the targets, (batch, 1, 0), of an output callable, which leaves none to choose."""
    if target is not None:
        raise InvalidInput("an output callable chooses what is explained: pass target=None with it")
    return np.zeros((batch, 1, 0), np.intp)


def objective_of_callback(output: Output | Callable[[Any], Any] | None) -> Objective:
    """Return the objective of a model that gives only the score of a class: what the callback says, as it is."""
    if output not in (None, "raw"):
        raise InvalidInput(
            f"output={output!r} of a GradientCallback: it explains what its gradient is of, output='raw'"
        )
    return Objective("raw")


def targets_of_callback(target: Any, batch: int) -> NDArray[np.intp]:
    """Return targets (batch, 1 or 2, 1) for a model without outputs, whose class must be said."""
    parts = [target.a, target.b] if isinstance(target, Contrast) else [target]
    if any(part is None for part in parts):
        raise InvalidInput("a GradientCallback has no outputs to predict a class from: pass target=")
    rows = [_rows(part, batch) for part in parts]
    wrong = [
        i for part in rows for row in part for i in row if not isinstance(i, int | np.integer) or isinstance(i, bool)
    ]
    if wrong or any(len(row) != 1 for part in rows for row in part) or any(row[0] < 0 for part in rows for row in part):
        raise InvalidInput(f"the target of a GradientCallback is a class index of 0 or more; got {shown(target)}")
    return np.moveaxis(np.asarray(rows, dtype=np.intp), 0, 1)


def _indices(target: Any, outputs: NDArray[Any], class_axis: int | None) -> NDArray[np.intp]:
    """Return one index into the outputs per example, (batch, output axes)."""
    batch, shape = len(outputs), outputs.shape[1:]
    single = int(np.prod(shape)) == 1
    if target is None:
        if len(shape) > 1 and not single:
            raise InvalidInput(
                f"the model returns outputs of shape {shape} for each example: pass target=(...), one index per axis, "
                "or a model that returns the scores of one place"
            )
        flat = outputs.reshape(batch, -1).argmax(axis=1)
        return np.stack([flat * (axis == 0) for axis in range(len(shape))], axis=1) if shape else flat[:, None][:, :0]
    target = _plain(target)
    if len(shape) == 1 and not single:
        _check_no_shares(target, batch, shape[0])
    rows = _rows(target, batch)
    if single:  # one output: its class is 0, whatever the number of axes around it
        wanted: tuple[int, ...] = (1,) if all(len(row) == 1 for row in rows) else shape
    else:
        wanted = shape
    found = []
    for row in rows:
        if len(row) != len(wanted):
            raise InvalidInput(
                f"the model returns outputs of shape {shape} for each example: a target there has {len(wanted)} "
                f"{'index' if len(wanted) == 1 else 'indices'}; got {shown(target)}: pass one index per axis, or a "
                "model that returns the scores of one place"
            )
        counted = []
        for axis, (i, size) in enumerate(zip(row, wanted, strict=True), start=1):
            if not is_whole(i):
                raise InvalidInput(f"targets are whole numbers, class indices; got {shown(target)}")
            # A class of -1 is a missing label in many data sets: only positions count from the end.
            least = -size if len(wanted) > 1 and axis != class_axis else 0
            if not least <= i < size:
                raise InvalidInput(f"target {i} is out of range: the model has {size} outputs, 0 to {size - 1}")
            counted.append(int(i) % size)
        found.append(counted)
    if single:
        return np.zeros((batch, len(shape)), np.intp)
    return np.asarray(found, dtype=np.intp).reshape(batch, len(shape))


def _rows(target: Any, batch: int) -> list[tuple[Any, ...]]:
    """Return the target of each example as a tuple of indices."""
    entries = _plain(target)
    if isinstance(entries, tuple):
        return [entries] * batch
    if isinstance(entries, int | np.integer | bool | float):
        return [(entries,)] * batch
    if not isinstance(entries, list | range) or len(entries) != batch:
        raise InvalidInput(
            f"target must be a class index, {batch} of them (one per example), a tuple index for dense outputs, "
            f"Contrast(a, b) or None; got {shown(target)}"
        )
    return [tuple(entry) if isinstance(entry, tuple | list) else (entry,) for entry in entries]


def _plain(target: Any) -> Any:
    """Return a target with the arrays of any framework, and those in lists and tuples, as numbers and lists."""
    if isinstance(target, list | tuple):
        return (tuple if isinstance(target, tuple) else list)(map(_plain, target))
    try:
        given = on_host(target)
        given = given.numpy() if hasattr(given, "numpy") else given
        return _plain(given.tolist()) if hasattr(given, "tolist") else given
    except (TypeError, ValueError, RuntimeError) as error:  # sparse, nested and meta tensors, each in its own way
        raise InvalidInput(
            f"target is a {type(target).__name__} whose numbers cannot be read ({str(error).splitlines()[0]}): pass "
            "class indices as a dense array or a list, one per example"
        ) from error


def _check_no_shares(target: Any, batch: int, classes: int) -> None:
    """Raise InvalidInput for one number a class in place of an index: a one-hot row, or probabilities."""
    rows = target if isinstance(target, list) else []
    alone = len(rows) == classes != batch and not any(isinstance(row, list | tuple) for row in rows)
    for row in [rows] if alone else rows:
        numbers = isinstance(row, list) and len(row) == classes and all(isinstance(i, int | float) for i in row)
        # Rounded probabilities sum to 1 within their rounding: 1e-2 is wider than that of half precision.
        if numbers and min(row) >= 0 and abs(sum(row) - 1) < 1e-2:
            raise InvalidInput(
                f"target has one number for each of the {classes} classes, as one-hot labels or probabilities: pass "
                f"class indices, numpy.asarray(target).argmax(-1); got {shown(target)}"
            )
