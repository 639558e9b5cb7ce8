"""Guided Integrated Gradients: the features with the smallest gradients move first."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pathattr.adaptive_path import AdaptivePath, State
from pathattr.checks import is_number
from pathattr.errors import InvalidInput, ModelError
from pathattr.layout import Array

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
        images, taken = len(state.done), state.taken + 1
        way = state.end - state.start
        progress = np.stack(
            [
                self._advanced(state.progress[i], np.abs(way[i]).ravel(), np.abs(gradients[i]).ravel(), int(taken[i]))
                for i in range(images)
            ]
        )
        share = progress.reshape(state.point.shape)
        # The end point is x itself, not x' + (x − x'), which rounds.
        point = np.where(share == 1.0, state.end, state.start + way * share)
        return replace(state, point=point, done=taken == self.steps, progress=progress, taken=taken)

    def _advanced(self, progress: Array, way: Array, size: Array, taken: int) -> Array:
        """Return the progress of one image's features after its step number `taken`; `size` is |∇F|."""
        if taken == self.steps:
            return np.ones_like(progress)
        alpha = taken / self.steps
        high = min(alpha + self.max_dist, 1.0)
        progress = np.maximum(progress, max(alpha - self.max_dist, 0.0))
        budget = float((way * (1.0 - progress)).sum() - way.sum() * (1.0 - alpha))
        room = way * (high - progress)
        left = np.flatnonzero(room > 0)
        # The lower quantile over all features, finished ones last: this many, and ties, move at a time.
        count = int(np.floor(self.fraction * (size.size - 1))) + 1
        size, room = size[left], room[left]
        rounds = 0
        while budget > 0 and len(left):
            if rounds == ROUNDS:
                chosen, budget = _sorted_rounds(size, room, count, budget)
                progress[left[chosen]] = high
                left, size, room = left[~chosen], size[~chosen], room[~chosen]
                if not len(left):
                    break
            limit = np.partition(size, count - 1)[count - 1] if count < len(size) else np.inf
            chosen = size <= limit
            needed = float(room[chosen].sum())
            moved = left[chosen]
            if needed >= budget:
                progress[moved] += budget / needed * (high - progress[moved])
                break
            progress[moved] = high
            budget -= needed
            left, size, room = left[~chosen], size[~chosen], room[~chosen]
            rounds += 1
        return progress


def _sorted_rounds(size: Array, room: Array, count: int, budget: float) -> tuple[NDArray[np.bool_], float]:
    """Return which features move all the way in the rounds that the budget allows whole, and what it leaves."""
    order = np.argsort(size, kind="stable")
    size, spent = size[order], np.cumsum(room[order])
    ends = np.searchsorted(size, size, side="right")  # ties go together
    after = ends[np.minimum(np.arange(len(size)) + count - 1, len(size) - 1)].tolist()
    last, total, done = int(np.searchsorted(spent, budget, side="left")), len(size), 0
    while done < total and after[done] <= last:
        done = after[done]
    chosen = np.zeros(total, bool)
    chosen[order[:done]] = True
    return chosen, budget - float(spent[done - 1]) if done else budget
