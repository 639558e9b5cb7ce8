"""The loop of adaptive paths: a gradient, a step, the next gradient; images side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Unpack

import numpy as np
from numpy.typing import NDArray

from pathattr.adaptive_path import AdaptivePath
from pathattr.attribution import Attribution
from pathattr.backend import Backend
from pathattr.base import Asked, Ends, Explainer
from pathattr.engine import Engine, Progress
from pathattr.errors import InvalidInput
from pathattr.evaluation import gradients_at
from pathattr.layout import Array, Layout
from pathattr.quadrature import RULES
from pathattr.schedules import LinearRamp


class AdaptiveExplainer(Explainer):
    """Attributes along a path that chooses each step from the gradient so far, such as `GuidedIG()`.

    A = Σ ∇F(point) ⊙ (next point − point): one gradient a step, all of them used. Steps follow one another, so
    images (and the paths from each reference sample, whose mean is the result) go side by side, at most `batch_size`
    at once; a path that is done leaves the batch. The other options are `PathExplainer`'s.
    """

    own_settings: ClassVar[tuple[str, ...]] = ("path",)

    def __init__(self, model: Any, path: AdaptivePath[Any], **options: Unpack[Asked]) -> None:
        super().__init__(model, **options)
        if not isinstance(path, AdaptivePath):
            raise InvalidInput(f"path must be an AdaptivePath such as GuidedIG(); got {path!r}")
        self.path = path

    def _attribute(
        self, backend: Backend, inputs: Any, host: Array, layout: Layout, target: Any, progress: Progress
    ) -> Attribution:
        starts = self.starts(backend, host, layout)
        batch, references = starts.shape[:2]
        count = batch * references
        engine = Engine(backend, layout, LinearRamp(), RULES["left"], min(self.most, count), components=False)
        ends = self._ends(engine, host, starts, target)
        block = min(self._block(engine, host, ends), count)
        engine = replace(engine, capacity=block)
        starts = starts.reshape(count, *host.shape[1:])
        owner = np.repeat(np.arange(batch), references)
        met = _Met(np.zeros(host.shape), np.full(batch, np.inf), np.full(batch, -np.inf), np.zeros(batch, np.intp))
        for first in range(0, count, block):
            rows = owner[first : first + block]

            def report(share: float, first: int = first, paths: int = len(rows)) -> None:
                progress(round(self.path.steps * (first + paths * share)), self.path.steps * count)

            found = self._walked(engine, ends, starts[first : first + block], host[rows], rows, report)
            report(1.0)
            for i, row in enumerate(rows):
                met.attributions[row] += found.attributions[i] / references
                met.lowest[row] = min(met.lowest[row], found.lowest[i])
                met.highest[row] = max(met.highest[row], found.highest[i])
                met.evaluations[row] += found.evaluations[i]
        return self._answer(
            engine,
            inputs,
            ends,
            met.attributions,
            evaluations=met.evaluations,
            forward_passes=batch + count,
            lowest=met.lowest,
            highest=met.highest,
            settings={"method": repr(self.path), "complete": True},
        )

    def _walked(
        self, engine: Engine, ends: Ends, starts: Array, host: Array, rows: NDArray[np.intp], report: Any
    ) -> _Met:
        """Return what came of the paths from `starts` to `host`, (paths, *example), of the examples `rows`."""
        paths = len(rows)
        met = _Met(np.zeros(host.shape), np.full(paths, np.inf), np.full(paths, -np.inf), np.zeros(paths, np.intp))
        state = self.path.init(starts, host)
        left = np.arange(paths)
        for step in range(self.path.steps):
            if state.done.any():
                left, state = left[~state.done], state.at(~state.done)
            if not len(left):
                break
            own = rows[left]
            where = f"at step {step} of the path"
            scores, gradients = gradients_at(engine, state.point, ends.objective, ends.targets[own], own, where)
            # Copies: a path may move its point, and change the gradients, in place.
            before, state = state.point.copy(), self.path.step(state, gradients.copy())
            met.attributions[left] += gradients * (state.point - before)
            met.lowest[left] = np.fmin(met.lowest[left], scores)
            met.highest[left] = np.fmax(met.highest[left], scores)
            met.evaluations[left] += 1
            report((step + 1) / self.path.steps)
        return met


@dataclass(frozen=True)
class _Met:
    """Sums of some paths: attributions (paths, *example), the lowest and highest score met, and gradients taken."""

    attributions: Array
    lowest: Array
    highest: Array
    evaluations: NDArray[np.intp]
