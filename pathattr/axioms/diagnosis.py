"""Models on which no axiom can hold, by the name of what is wrong with them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathattr.axioms.case import Case
from pathattr.common.axes import Array
from pathattr.errors import ModelError, PathattrError
from pathattr.methods.path_explainer import PathExplainer


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a model: its name, what was seen, and what to do (nothing where that says it already)."""

    name: str
    seen: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.name}: {self.seen}" + (f". What to do: {self.remedy}" if self.remedy else "")


def diagnose(case: Case) -> list[Diagnosis]:
    """Return what keeps attributions of this model from meaning anything; nothing for a sound one.

    Looks for models that refuse a single input, outputs that change from call to call (randomness, or state kept
    between calls), outputs that depend on batch-mates (batch statistics) or on the place in a batch, scores without
    a gradient and scores that are constant in pieces.
    """
    if not case.adapter.has_outputs:
        return _of_gradients(case)
    return _of_one(case) or _of_calls(case) or _of_batches(case) or _of_gradients(case)


def of_error(error: PathattrError) -> Diagnosis:
    """Return the diagnosis that an error of the run amounts to."""
    text = str(error)
    for name in ("training mode", "not differentiable", "not finite"):
        if name in text:
            return Diagnosis(name, text, "")
    return Diagnosis("cannot be explained", text, "")


def disagreeing(seen: str) -> Diagnosis:
    """Return the diagnosis of a gap that more steps do not close."""
    return Diagnosis(
        "gradients are not those of the score",
        seen,
        "look for a custom backward, a straight-through estimate, a hook that changes gradients, or a detach inside",
    )


def _of_one(case: Case) -> list[Diagnosis]:
    """A model that fails at one input and not at a few."""
    points, rows = _together(case)
    try:
        case.outputs(points[:1], rows[:1])
    except PathattrError:
        raise
    except Exception as error:  # whatever a model raises
        case.outputs(points, rows)  # where this fails too, it is not for want of batch-mates
        return [
            Diagnosis(
                "needs batch-mates",
                f"shown a single input the model fails ({type(error).__name__}: {error}), and not at {len(points)}",
                "let it take a batch of any size: running statistics in place of the batch's, no fixed batch size",
            )
        ]
    return []


def _of_calls(case: Case) -> list[Diagnosis]:
    """Randomness and state: the same point is shown again, another in between."""
    points, rows = _on_a_path(case, 1.0, 0.5)
    first = case.outputs(points[:1], rows[:1])
    case.outputs(points[1:], rows[1:])
    change = max(_apart(case.outputs(points[:1], rows[:1]), first) for _ in range(3))
    if change <= _slack(case):
        return []
    seen = f"the same input gives outputs that differ by {change:.1e} (relative) from call to call"
    kept = Diagnosis(
        "state kept between calls",
        seen + "; fresh copies of the model agree with each other",
        "let the model compute from its input alone: no counters, caches or running averages in its call",
    )
    random = Diagnosis(
        "randomness",
        seen,
        "switch off dropout, noise and sampling, or fix what is drawn before explaining",
    )
    agree = _fresh_copies_agree(case, points[:1], rows[:1])
    if agree is None:
        unknown = "randomness, or state kept between calls"
        return [Diagnosis(unknown, seen, random.remedy + "; " + kept.remedy)]
    return [kept if agree else random]


def _fresh_copies_agree(case: Case, points: Array, rows: NDArray[np.intp]) -> bool | None:
    """Return whether two copies of the model answer alike at their first calls; None where none can be made."""
    model = case.explainer.model
    parts = model if isinstance(model, tuple) else (model,)
    if any(isinstance(part, FunctionType | MethodType | BuiltinFunctionType) for part in parts):
        return None  # a copy of a function is the function itself
    try:
        copies = [copy.deepcopy(model), copy.deepcopy(model)]  # both are made before either is called
        answers = [_first_answers(case.explainer.but(model=copied), case, points, rows) for copied in copies]
    except Exception:  # whatever a model does when it is copied
        return None
    return _apart(answers[0], answers[1]) <= _slack(case)


def _first_answers(explainer: PathExplainer, case: Case, points: Array, rows: NDArray[np.intp]) -> NDArray[Any]:
    """Return a model's outputs at two calls in a row."""
    adapter, _, _ = explainer.prepared(case.inputs, case.call)
    with adapter.running():
        return np.stack([adapter.to_numpy(adapter.outputs(adapter.asarray(points), rows)) for _ in range(2)])


def _of_batches(case: Case) -> list[Diagnosis]:
    """Batch statistics, and what depends on the place: one input is shown alone, among others, and several times."""
    points, rows = _together(case)
    alone = case.outputs(points[:1], rows[:1])
    change = _apart(case.outputs(points, rows)[:1], alone)
    if change > _slack(case):
        return [
            Diagnosis(
                "batch statistics",
                f"an input's outputs differ by {change:.1e} (relative) alone and among others",
                "use running statistics (evaluation mode), or a normalisation within each example",
            )
        ]
    several = np.zeros(len(points), np.intp)
    change = _apart(case.outputs(points[several], rows[several]), np.repeat(alone, len(points), axis=0))
    if change <= _slack(case):
        return []
    return [
        Diagnosis(
            "randomness, or dependence on the place in a batch",
            f"an input that is shown several times at once gives outputs that differ by {change:.1e} (relative)",
            "switch off dropout, noise and sampling, and see that examples lie along the first axis (batch_first=True)",
        )
    ]


def _of_gradients(case: Case) -> list[Diagnosis]:
    try:
        found = case.attribution
    except ModelError as error:
        return [of_error(error)]
    change = np.abs(found.score - found.baseline_score)
    dead = (change > _slack(case) * np.abs(found.score)) & ~case.attributions.reshape(len(change), -1).any(axis=1)
    if not dead.any():
        return []
    return [
        Diagnosis(
            "constant in pieces",
            f"the score changes by {change[dead].max():.3g} between baseline and input, and its gradient is 0 all the "
            "way",
            "explain a score before any rounding, threshold, argmax or quantisation, and output='logit' where a "
            "probability is 0 or 1 to all digits",
        )
    ]


def _together(case: Case) -> tuple[Array, NDArray[np.intp]]:
    """Return a few points and their rows: no more than the model is shown when it is explained."""
    points, rows = _on_a_path(case, 1.0, 0.5, 0.0, 0.25)
    return points[: case.batch_size], rows[: case.batch_size]


def _on_a_path(case: Case, *alpha: float) -> tuple[Array, NDArray[np.intp]]:
    """Return points of one example's straight line, which its model must take, and the number of that example."""
    start = case.starts[:, 0]
    row = int(np.argmax((case.host != start).reshape(len(start), -1).any(axis=1)))
    points = [start[row] + a * (case.host[row] - start[row]) for a in alpha]
    return np.stack(points), np.full(len(alpha), row, np.intp)


def _apart(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Return the largest difference over the largest number; what is not finite must be the same."""
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    equal = (found == expected) | (np.isnan(found) & np.isnan(expected))
    finite = np.isfinite(found) & np.isfinite(expected)
    difference = np.subtract(found, expected, out=np.where(equal, 0.0, np.inf), where=finite)
    size = max(np.abs(array[finite]).max(initial=np.finfo(float).tiny) for array in (found, expected))
    return float(np.abs(difference).max() / size)


def _slack(case: Case) -> float:
    # Kernels chosen by the batch's size, and sums in another order, cost some digits but never half of them.
    return float(np.sqrt(case.precision))
