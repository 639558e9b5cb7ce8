"""The interface of adaptive paths: each step is chosen from the gradient where the path stands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from pathattr.common.axes import Array
from pathattr.common.checks import whole


@dataclass(frozen=True)
class State:
    """Where the paths of a few images stand; every array has one row an image.

    `point`, (images, *example), is where the next gradient is taken; `done`, (images,), tells who has arrived.
    """

    point: Array
    done: NDArray[np.bool_]


S = TypeVar("S", bound=State)


@dataclass(frozen=True)
class AdaptivePath(ABC, Generic[S]):
    """A rule that walks from start to end by gradients, state in and state out, in at most `steps` gradients.

    A new path is a frozen dataclass with `init` and `step`, and `AdaptiveExplainer` runs it on every backend, one image
    at a time. All arrays are float64 on the host, and no image may depend on another. The path must end at the inputs
    exactly: attributions Σ ∇F(point) ⊙ Δpoint then add up to F(x) − F(x') as steps become small.
    """

    steps: int = 200

    def __post_init__(self) -> None:
        whole("steps", self.steps)

    @abstractmethod
    def init(self, starts: Array, ends: Array) -> S:
        """Return the state at the start of the paths from `starts` to `ends`, (images, *example) each.

        Paths that have nowhere to go are done.
        """

    @abstractmethod
    def step(self, state: S, gradients: Array) -> S:
        """Return the state one step on, given the gradients at `state.point`, finite; no image in it is done."""
