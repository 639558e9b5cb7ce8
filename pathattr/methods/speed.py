"""What explaining costs on this machine, measured on the user's own model."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathattr.common.axes import Array
from pathattr.integration.engine import Engine
from pathattr.integration.quadrature import RULES
from pathattr.methods.path_explainer import PathExplainer
from pathattr.models.targets import Objective

BLOCKS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
REPEATS = 3
SECONDS = 20.0
"""No larger block is tried once a measurement has taken so long."""


@dataclass(frozen=True)
class Costs:
    """Seconds per gradient by block size, and what explanations take beside them.

    `gradient` is by the number of points in a block; `fits` the block that `batch_size="auto"` chooses; `overhead` the
    time of an explanation over that of its gradients alone, in blocks of `block`; `tolerance` the seconds and gradients
    of one example with `steps="auto"`, None for schedules that jump.
    """

    gradient: dict[int, float]
    fits: int
    block: int
    steps: int
    seconds: float
    overhead: float
    refined: dict[str, float] | None


def measure(explainer: PathExplainer, inputs: Any, target: Any = None, *, tolerance: float | None = None) -> Costs:
    """Return the costs of an explainer with a number of steps at a batch of inputs; the first of them is used.

    `tolerance` is that of `steps="auto"`, which is measured beside it; None is the usual one. Raises what
    the explainer raises.
    """
    first = inputs[:1]
    automatic = explainer.but(batch_size="auto", steps=1, nodes=None, rule=None)
    automatic(first, target)  # also warms up
    (fits,) = automatic.blocks.values()
    bare_gradients = _Bare.of(explainer, first, target)
    gradient = _by_block(bare_gradients, fits)
    block = fits if explainer.batch_size == "auto" else explainer.batch_size
    whole = explainer.but(batch_size=block)
    found = whole(first, target)
    evaluations = int(found.evaluations[0])
    block = min(block, evaluations)
    bare, spent = [], []
    for _ in range(REPEATS):  # in turn, so that what slows the machine down slows both
        bare.append(_timed(lambda: bare_gradients(block, evaluations)))
        spent.append(_timed(lambda: whole(first, target)))
    refined = None
    if not explainer.schedule.jumping:
        auto = explainer.but(batch_size=block, steps="auto", tolerance=tolerance, nodes=None, rule=None)
        began = time.perf_counter()
        found = auto(first, target)
        refined = {
            "seconds": time.perf_counter() - began,
            "gradients": float(found.evaluations[0]),
            "error": float(found.error[0]),
        }
    ratios = [s / b for s, b in zip(spent, bare, strict=True)]
    return Costs(gradient, fits, block, evaluations, statistics.median(spent), statistics.median(ratios), refined)


def _by_block(gradients: _Bare, fits: int) -> dict[int, float]:
    """Return the seconds of one gradient in blocks of growing size, up to what fits."""
    found: dict[int, float] = {}
    for size in BLOCKS:
        if size > fits or (found and found[size // 2] * size > SECONDS):
            break
        gradients(size, size)  # a new shape may be compiled
        found[size] = statistics.median(_timed(partial(gradients, size, size)) / size for _ in range(REPEATS))
    return found


@dataclass(frozen=True)
class _Bare:
    """Nothing but gradients of the score at one input."""

    engine: Engine
    point: Array
    objective: Objective
    targets: NDArray[np.intp]

    @classmethod
    def of(cls, explainer: PathExplainer, first: Any, target: Any) -> _Bare:
        backend, host, layout = explainer.prepared(first, explainer.calling((), {}, None))
        engine = Engine(backend, layout, explainer.schedule, RULES[explainer.rule], 1)
        with backend.running():
            objective, targets, _ = explainer.resolved(engine, host, target)
        return cls(engine, host, objective, targets)

    def __call__(self, block: int, count: int) -> None:
        """Take `count` gradients, `block` at a time."""
        backend = self.engine.backend
        with backend.running():
            rows = np.zeros(block, np.intp)
            points = backend.asarray(self.point[rows])
            for begin in range(0, count, block):
                size = min(block, count - begin)
                some, targets = points if size == block else points[:size], self.targets[rows[:size]]
                _, gradients = backend.gradient(some, self.objective, targets, rows[:size])
            backend.to_numpy(backend.finite(gradients))  # waits for the device


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
