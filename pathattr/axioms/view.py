"""A user's model seen through a change of its inputs: F(P⁻¹·) at Px, without touching the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathattr.models.backend import NO_OPTIONS, Backend, Call
from pathattr.models.targets import Objective

Change = Callable[[NDArray[Any]], NDArray[Any]]


def same(points: NDArray[Any]) -> NDArray[Any]:
    """Return the points as they are."""
    return points


@dataclass(frozen=True)
class Summand:
    """One summand of a view: weight × the score at `back(points)`; `pull` takes a gradient there back here.

    Both take a batch of points, (points, *example), on the host. `targets` (batch, 1 or 2, axes) replaces
    what is explained.
    """

    weight: float = 1.0
    back: Change = same
    pull: Change = same
    targets: NDArray[np.intp] | None = None


def seen_through(backend: type[Backend], terms: Sequence[Summand], like: Any) -> type[Backend]:
    """Return the backend with every model seen as the sum of terms; paths and arithmetic stay the backend's own.

    Outputs are those of the first term, so that a target can be looked up; gradients are those of the sum. `like` are
    the user's inputs: a function without parameters runs where they are.
    """

    class View(backend):  # type: ignore[misc, valid-type]  # made for a backend known only now
        def __init__(self, model: Any, inputs: Any, call: Call, options: Mapping[str, Any] = NO_OPTIONS) -> None:
            super().__init__(model, like, call, options)
            # The change is made once, around a backend that knows nothing of it.
            self._plain = backend(model, like, call, options)

        @contextmanager
        def running(self) -> Iterator[None]:
            with self._plain.running():
                yield

        def _changed(self, points: Any, change: Change) -> Any:
            # Contiguous: a permuted or flipped view is not what every framework takes.
            return self.asarray(np.ascontiguousarray(change(self.to_numpy(points))))

        def outputs(self, points: Any, rows: NDArray[np.intp]) -> Any:
            return self._plain.outputs(self._changed(points, terms[0].back), rows)

        def scores(self, points: Any, objective: Objective, targets: NDArray[np.intp], rows: NDArray[np.intp]) -> Any:
            return self._plain.scores(self._changed(points, terms[0].back), objective, targets, rows)

        def gradient(
            self, points: Any, objective: Objective, targets: NDArray[np.intp], rows: NDArray[np.intp]
        ) -> tuple[Any, Any]:
            value: Any = None
            total: Any = None
            for term in terms:
                own = targets if term.targets is None else term.targets[rows]
                scores, gradients = self._plain.gradient(self._changed(points, term.back), objective, own, rows)
                part = term.weight * self._changed(gradients, term.pull)
                value = term.weight * scores if value is None else value + term.weight * scores
                total = part if total is None else total + part
            return value, total

    return View
