"""Guided Integrated Gradients: the features with the smallest gradients move first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count

import numpy as np
from numpy.typing import NDArray

from pathattr.common.axes import Array
from pathattr.common.checks import is_number
from pathattr.errors import InvalidInput, ModelError
from pathattr.paths.adaptive import AdaptivePath, State

ROUNDS = 4
"""After so many rounds of one step the gradients left are sorted; before that, selecting is cheaper."""


@dataclass(frozen=True)
class GuidedState(State):
    """`progress`, (images, features), is how far each feature has come, from 0 to 1; `taken` counts steps."""

    start: Array
    end: Array
    progress: Array
    taken: NDArray[np.intp]


@dataclass(frozen=True)
class GuidedIG(AdaptivePath[GuidedState]):
    """Guided IG (Kapishnikov et al., CVPR 2021): each step spends 1/steps of ‖x − x'‖₁ where the gradient is small.

    In a step, the `fraction` of all features with the smallest |∇F| among those that may still move goes as far as the
    budget reaches, or as far as it may, and then the next ones; the gradient stays that of the step's start, and
    features of equal |∇F| move together. No feature may be further than `max_dist` from the straight line, as a share
    of its own way: those that lag behind are brought up first. max_dist=1 lets them go freely: with fraction=0.1 that
    is the variant of the SIG paper; max_dist=0 and fraction=1 are the straight line.
    """

    fraction: float = 0.25
    max_dist: float = 0.02

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in (("fraction", self.fraction), ("max_dist", self.max_dist)):
            if not is_number(value) or not 0 <= value <= 1:
                raise InvalidInput(f"GuidedIG takes {name} in [0, 1]; got {value!r}")

    def init(self, starts: Array, ends: Array) -> GuidedState:
        images = len(starts)
        return GuidedState(
            point=starts,
            done=(starts == ends).reshape(images, -1).all(axis=1),
            start=starts,
            end=ends,
            progress=np.zeros((images, starts[0].size)),
            taken=np.zeros(images, np.intp),
        )

    def step(self, state: GuidedState, gradients: Array) -> GuidedState:
        if not np.isfinite(gradients).all():  # no comparison with NaN holds: features would never be finished
            raise ModelError("Guided IG orders features by their gradients, and some are not finite")
        taken = state.taken + 1
        way, size = state.end - state.start, np.abs(gradients)
        length = np.abs(way)
        progress = np.stack(
            [
                self._advanced(state.progress[i], length[i].ravel(), size[i].ravel(), int(taken[i]))
                for i in range(len(taken))
            ]
        )
        share = progress.reshape(way.shape)
        point = state.start + way * share
        np.copyto(point, state.end, where=share == 1.0)  # x itself, not x' + (x − x'), which rounds
        return replace(state, point=point, done=taken == self.steps, progress=progress, taken=taken)

    def _advanced(self, progress: Array, length: Array, size: Array, taken: int) -> Array:
        """Return the progress of one image's features after its step number `taken`.

        `length` is |x − x'| and `size` |∇F|, (features,) each; `size` is written to. Nothing is compressed: that would
        cost more than arithmetic on all features does.
        """
        if taken == self.steps:
            return np.ones_like(progress)
        alpha = taken / self.steps
        high = min(alpha + self.max_dist, 1.0)
        progress = np.maximum(progress, max(alpha - self.max_dist, 0.0))
        budget = float((length * (1.0 - progress)).sum() - length.sum() * (1.0 - alpha))
        room = length * (high - progress)
        np.copyto(size, np.inf, where=room <= 0)  # finished features come last
        # The place of the lower quantile over all features, finished ones too.
        place = int(np.floor(self.fraction * (len(size) - 1)))
        for number in count():
            if budget <= 0:
                break
            if number == ROUNDS:
                chosen = _whole_rounds(size, room, place, budget)
                needed = float((room * chosen).sum())
            else:
                limit = np.partition(size, place)[place]
                chosen = size <= limit
                needed = float((room * chosen).sum())
                if needed >= budget:
                    np.add(progress, budget / needed * (high - progress), out=progress, where=chosen)
                    break
            np.copyto(progress, high, where=chosen)
            if number != ROUNDS and limit == np.inf:  # everything has moved: what is left is rounding
                break
            budget -= needed
            np.copyto(size, np.inf, where=chosen)
            np.copyto(room, 0.0, where=chosen)
        return progress


def _whole_rounds(size: Array, room: Array, place: int, budget: float) -> NDArray[np.bool_]:
    """Return which features move all the way in those rounds that the budget allows whole: by sorting once."""
    order = np.argsort(size, kind="stable")
    ordered, spent = size[order], np.cumsum(room[order])
    ends = np.searchsorted(ordered, ordered, side="right")  # ties go together
    after = ends[np.minimum(np.arange(len(size)) + place, len(size) - 1)].tolist()
    last, done = int(np.searchsorted(spent, budget, side="left")), 0
    while done < len(after) and after[done] <= last:
        done = after[done]
    chosen = np.zeros(len(size), bool)
    chosen[order[:done]] = True
    return chosen
