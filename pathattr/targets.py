"""Which number of the model is explained: the output, its link, and the target among its classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pathattr.checks import is_whole
from pathattr.errors import InvalidInput, ModelError, warn
from pathattr.naming import one_of

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

# Probabilities that a float16 softmax has rounded still sum to 1 within this.
SLACK = 2e-3


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

    `score` takes one index into the outputs per row, or two whose scores are subtracted: `targets` is
    (rows, 1 or 2, output axes).
    """

    kind: str
    link: str = "identity"
    class_axis: int = -1
    function: Callable[[Any], Any] | None = None

    def score(self, ops: OutputOps, outputs: Any, targets: Any) -> Any:
        """Return the explained score of each row of outputs, (rows,)."""
        if self.function is not None:
            scores = self.function(outputs)
            if tuple(getattr(scores, "shape", ())) != (outputs.shape[0],):
                raise ModelError(
                    f"the output callable must return one score a row, shape ({outputs.shape[0]},); "
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


def objective_for(
    outputs: NDArray[Any],
    output: Output | Callable[[Any], Any] | None,
    link: Link | None,
    class_axis: int,
) -> Objective:
    """Return the objective that the options mean for a model with such outputs (batch, ...).

    By default the probability, as in the SIG paper; one-output models are raw unless `link` says more. Raises
    InvalidInput where the outputs look like another kind than said.
    """
    if callable(output):
        return Objective("callable", class_axis=class_axis, function=output)
    single = int(np.prod(outputs.shape[1:])) == 1
    if single and link is None:
        if output in (None, "raw"):
            return Objective("raw", class_axis=class_axis)
        raise InvalidInput(
            f"output={output!r} of a model with one output: is it the logit of a binary classifier? Then say "
            "link='sigmoid'; a probability already: link='already'; a regression: output='raw'"
        )
    axis = _class_axis(outputs, class_axis)
    if single and link == "softmax":
        raise InvalidInput("a softmax over one output is always 1: say link='sigmoid' (binary) or output='raw'")
    kind = output or ("raw" if link == "identity" else "probability")
    if kind == "raw":
        return Objective("raw", class_axis=axis)
    bounded = outputs.min() >= -SLACK and outputs.max() <= 1 + SLACK
    sums = bounded and (single or bool(np.abs(outputs.sum(axis=axis) - 1).max() <= SLACK))
    if link == "already" and not bounded:
        raise InvalidInput(
            f"link='already' says that the model returns probabilities, but its outputs run from {outputs.min():.4g} "
            f"to {outputs.max():.4g}: say link='softmax' or 'sigmoid'"
        )
    # A single logit may well lie between 0 and 1: only where it would be squeezed once more is it worth a word.
    if link in (None, "softmax", "sigmoid") and sums and not (single and kind == "logit"):
        message = "the model's outputs look like probabilities: between 0 and 1" + ("" if single else ", summing to 1")
        if link is None:
            raise InvalidInput(
                f"{message}. Say link='already', so that they do not pass through a second softmax; "
                "or link='softmax' if they are logits all the same"
            )
        warn(f"{message}; they pass through a {link} as you say. Is it link='already'?")
    link = link or "softmax"
    return Objective(kind, LINKS[kind, link], axis)


def resolve_targets(target: Any, outputs: NDArray[Any], objective: Objective) -> NDArray[np.intp]:
    """Return targets as indices into the outputs, (batch, 1 or 2, output axes); 2 for a contrast.

    None is the class with the largest output at the input. Raises InvalidInput for a target of the wrong form,
    or out of range: the error tells the range.
    """
    if objective.function is not None:
        if target is not None:
            raise InvalidInput("an output callable chooses what is explained: pass target=None with it")
        return np.zeros((len(outputs), 1, 0), np.intp)
    parts = [target.a, target.b] if isinstance(target, Contrast) else [target]
    return np.stack([_indices(part, outputs) for part in parts], axis=1)


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
        raise InvalidInput(f"the target of a GradientCallback is a class index of 0 or more; got {target!r}")
    return np.moveaxis(np.asarray(rows, dtype=np.intp), 0, 1)


def _indices(target: Any, outputs: NDArray[Any]) -> NDArray[np.intp]:
    """Return one index into the outputs per example, (batch, output axes)."""
    batch, shape = len(outputs), outputs.shape[1:]
    single = int(np.prod(shape)) == 1
    if target is None:
        if len(shape) > 1 and not single:
            raise InvalidInput(
                f"the model returns outputs of shape {shape} for each example: pass target=(...), one index per axis"
            )
        flat = outputs.reshape(batch, -1).argmax(axis=1)
        return np.stack([flat * (axis == 0) for axis in range(len(shape))], axis=1) if shape else flat[:, None][:, :0]
    rows = _rows(target, batch)
    if single:  # one output: its class is 0, whatever the number of axes around it
        wanted: tuple[int, ...] = (1,) if all(len(row) == 1 for row in rows) else shape
    else:
        wanted = shape
    for row in rows:
        if len(row) != len(wanted):
            raise InvalidInput(
                f"the model returns outputs of shape {shape} for each example: a target there has {len(wanted)} "
                f"{'index' if len(wanted) == 1 else 'indices'}; got {target!r}"
            )
        for i, size in zip(row, wanted, strict=True):
            if not is_whole(i):
                raise InvalidInput(f"targets are whole numbers, class indices; got {target!r}")
            if not 0 <= i < size:
                raise InvalidInput(f"target {i} is out of range: the model has {size} outputs, 0 to {size - 1}")
    if single:
        return np.zeros((batch, len(shape)), np.intp)
    return np.asarray(rows, dtype=np.intp).reshape(batch, len(shape))


def _rows(target: Any, batch: int) -> list[tuple[Any, ...]]:
    """Return the target of each example as a tuple of indices."""
    if isinstance(target, tuple):
        return [target] * batch
    entries = target.tolist() if hasattr(target, "tolist") else target  # NumPy, torch, JAX; TensorFlow has numpy()
    entries = entries.numpy().tolist() if hasattr(entries, "numpy") else entries
    if isinstance(entries, int | np.integer | bool | float):
        return [(entries,)] * batch
    if not isinstance(entries, list | range) or len(entries) != batch:
        raise InvalidInput(
            f"target must be a class index, {batch} of them (one per example), a tuple index for dense outputs, "
            f"Contrast(a, b) or None; got {target!r}"
        )
    return [tuple(entry) if isinstance(entry, tuple | list) else (entry,) for entry in entries]


def _class_axis(outputs: NDArray[Any], class_axis: int) -> int:
    if not is_whole(class_axis):
        raise InvalidInput(f"class_axis must be an int; got {class_axis!r}")
    if outputs.ndim == 1:
        return 0  # (batch,): one output, and nothing to normalise along
    axis = class_axis + (outputs.ndim if class_axis < 0 else 0)
    if not 1 <= axis < outputs.ndim:
        raise InvalidInput(f"class_axis={class_axis} is not an axis after the batch of outputs {outputs.shape}")
    return axis
