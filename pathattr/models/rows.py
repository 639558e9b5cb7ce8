"""Whether an example's outputs are its own: not its batch-mates', nor those of another row of a further argument."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathattr.common.axes import Array
from pathattr.errors import InvalidInput, PathattrError, warn
from pathattr.models.arguments import Call, Leaf
from pathattr.models.backend import Backend


class Answer:
    """The model's outputs, on the host, at points (points, *example) of the examples with these numbers."""

    def __init__(self, backend: Backend, outputs: Callable[[Any, NDArray[np.intp]], Any]) -> None:
        self._backend, self._outputs = backend, outputs
        self.shown = 0
        """How many points the model has been shown."""

    def __call__(self, points: Array, rows: NDArray[np.intp]) -> NDArray[Any]:
        with self._backend.running():
            self.shown += len(points)
            return self._backend.to_numpy(self._outputs(self._backend.asarray(points), rows))


Answers = Callable[[Array, NDArray[np.intp]], NDArray[Any]]

# The spacing of numbers near 1 where a model computes in fewer bits than its outputs have.
_SPACING = {"bfloat16": 2.0**-7, "float16": 2.0**-10, "medium": 2.0**-7, "high": 2.0**-10}


def check_independence(answer: Answers, point: Array, probe: Array, spacing: float) -> None:
    """Warn where the outputs at a point depend on which other points are in the block.

    `point` and `probe` are two of the first example's; the outputs at the probe are compared alone and beside it.
    """
    rows = np.zeros(1, np.intp)
    try:
        alone = answer(probe[None], rows)
        together = answer(np.stack([point, probe]), np.zeros(2, np.intp))[1:]
    except PathattrError:
        raise
    except Exception:  # a model that does not take so few points says so, or not, where it is explained
        return
    if (off := _apart(together, alone)) > np.sqrt(spacing):
        warn(
            f"the model's outputs for an example depend on what else is in its batch (they differ by {off:.1g}, "
            "relative, alone and beside another point): so will attributions, and on batch_size. Does it normalise "
            "over the batch, or take the batch on another axis (batch_first=True)?"
        )


def check_arguments(answer: Answers, read: Callable[[Call], Answers], call: Call, host: Array, spacing: float) -> None:
    """Raise InvalidInput where an unmarked argument with as many rows as the batch cannot be one row per example.

    The model's own answer on the batch, with the arguments as they were passed, must come out again where examples are
    shown with their rows alone. `read` returns the answers of another reading of the arguments.
    """
    batch = len(host)
    unmarked = [(i, leaf) for i, leaf in enumerate(call.leaves) if leaf.is_array and leaf.unmarked(batch)]
    if not unmarked:
        return
    try:
        own = answer(host, np.arange(batch))
    except MemoryError as error:
        raise InvalidInput(
            f"{unmarked[0][1].name} may be one row for each example or shared by all, and to tell by the model's own "
            f"answer on the whole batch of {batch} there is not enough memory: mark it pathattr.PerExample(array) or "
            "pathattr.Shared(array)"
        ) from error
    if _comes_out_again(answer, own, host, spacing):
        return
    for place, leaf in unmarked:
        if _comes_out_again(read(_shared(call, place)), own, host, spacing):
            raise InvalidInput(_refused([leaf], batch, "as Shared they do"))
    raise InvalidInput(_refused([leaf for _, leaf in unmarked], batch, ""))


def check_mapped(answer: Answers, read: Callable[[Call], Answers], call: Call, host: Array, spacing: float) -> None:
    """Raise InvalidInput where an unmarked argument of a model of one example can be meant either way.

    Such a model, mapped over the batch, has no answer of its own on a batch: the two readings are compared.
    """
    batch = len(host)
    for place, leaf in enumerate(call.leaves):
        if not (leaf.is_array and leaf.unmarked(batch)):
            continue
        other = _tried(read(_shared(call, place)), host, np.arange(batch))
        own = _tried(answer, host, np.arange(batch))
        if other is not None and (own is None or _apart(other, own) > np.sqrt(spacing)):
            raise InvalidInput(_refused([leaf], batch, "" if own is None else "as Shared they are others"))


def spacing_of(backend: Backend, dtype: np.dtype[Any]) -> float:
    """Return the spacing of numbers near 1 in what the model computes."""
    told = [_SPACING[value] for value in backend.conditions.values() if isinstance(value, str) and value in _SPACING]
    return max([float(np.finfo(dtype).eps) if dtype.kind == "f" else 0.0, *told])


def _shared(call: Call, place: int) -> Call:
    return Call(call.args, call.kwargs, call.name, call.head, frozenset({place}))


def _comes_out_again(answer: Answers, own: NDArray[Any], host: Array, spacing: float) -> bool:
    """Tell whether first and last example, twice each, give their rows of the model's own answer."""
    for row in {0, len(host) - 1}:
        rows = np.array([row, row])
        found = _tried(answer, host[rows], rows)
        if found is None or found.shape[1:] != own.shape[1:] or _apart(found, own[rows]) > np.sqrt(spacing):
            return False
    return True


def _tried(answer: Answers, points: Array, rows: NDArray[np.intp]) -> NDArray[Any] | None:
    try:
        return answer(points, rows)
    except Exception:  # arrays that do not fit together are refused in as many ways as there are models
        return None


def _apart(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Return the largest difference over the largest number; what is not finite must be the same."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    equal = (found == expected) | (np.isnan(found) & np.isnan(expected))
    finite = np.isfinite(found) & np.isfinite(expected)
    difference = np.subtract(found, expected, out=np.where(equal, 0.0, np.inf), where=finite)
    size = max(np.abs(array[finite]).max(initial=np.finfo(float).tiny) for array in (found, expected))
    return float(np.abs(difference).max(initial=0.0) / size)


def _refused(leaves: Sequence[Leaf], batch: int, reading: str) -> str:
    names = ", ".join(f"{leaf.name} (shape {tuple(leaf.value.shape)})" for leaf in leaves)
    name = leaves[0].name.partition("[")[0].partition(".")[0]

    def said(mark: str) -> str:
        return f"args=({mark},)" if name == "args" else f"kwargs={{{name!r}: {mark}}}"

    return (
        f"the further argument {names} has as many rows as the batch, {batch}; taken as one row for each example, the "
        f"model's outputs are not those of your batch{f' ({reading})' if reading else ''}. Say "
        f"{said('pathattr.Shared(array)')} if all examples share it, or {said('pathattr.PerExample(array, axis=...)')} "
        "if it has one entry for each along an axis"
    )
