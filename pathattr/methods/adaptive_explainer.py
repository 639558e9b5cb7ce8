"""The loop of adaptive paths: a gradient, a step, the next gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, ClassVar, Unpack

import numpy as np

from pathattr.common.axes import Array, Layout
from pathattr.errors import InvalidInput
from pathattr.integration.engine import Engine, Progress
from pathattr.integration.evaluation import gradients_at
from pathattr.integration.quadrature import RULES
from pathattr.methods.explainer import EndScores, Explainer, ExplainerOptions
from pathattr.models.backend import Backend
from pathattr.paths.adaptive import AdaptivePath
from pathattr.paths.schedules import LinearRamp
from pathattr.results.attribution import Attribution


class AdaptiveExplainer(Explainer):
    """Attributes along a path that chooses each step from the gradient so far, such as `GuidedIG()`.

    A = Σ ∇F(point) ⊙ (next point − point): one gradient a step, all of them used; from several reference samples, the
    mean over the paths from each. The model sees one point at a time, whatever `batch_size` allows it at the ends of
    the paths: a kernel may round a gradient otherwise in a larger block, and where steps are chosen by the order of
    gradients the last bit decides which way a path goes. So an example gets the same numbers in any batch, as far as
    the model gives the same gradient twice for the same point. The other options are `PathExplainer`'s.
    """

    own_settings: ClassVar[tuple[str, ...]] = ("path",)

    def __init__(self, model: Any, path: AdaptivePath[Any], **options: Unpack[ExplainerOptions]) -> None:
        super().__init__(model, **options)
        if not isinstance(path, AdaptivePath):
            raise InvalidInput(f"path must be an AdaptivePath such as GuidedIG(); got {path!r}")
        self.path = path

    def _attribute(
        self, backend: Backend, inputs: Any, host: Array, layout: Layout, target: Any, progress: Progress
    ) -> Attribution:
        starts = self.starts(backend, host, layout)
        batch, references = starts.shape[:2]
        count, most = batch * references, self.path.steps
        engine = Engine(backend, layout, LinearRamp(), RULES["left"], min(self.most, count), components=False)
        ends = self._ends(engine, host, starts, target)
        engine = replace(engine, capacity=1)
        attributions, evaluations = np.zeros(host.shape), np.zeros(batch, np.intp)
        lowest, highest = np.full(batch, np.inf), np.full(batch, -np.inf)
        for row, reference in product(range(batch), range(references)):
            before, total = most * (row * references + reference), np.zeros(host.shape[1:])
            for step in self._steps(engine, ends, starts[row, reference], host[row], row):
                total += step.attributions
                lowest[row], highest[row] = np.fmin(lowest[row], step.score), np.fmax(highest[row], step.score)
                evaluations[row] += 1
                progress(before + step.number, most * count)
            attributions[row] += total / references
            progress(before + most, most * count)  # a path may arrive before its time
        return self._answer(
            engine,
            inputs,
            ends,
            attributions,
            evaluations=evaluations,
            forward_passes=ends.passes,
            lowest=lowest,
            highest=highest,
            settings={"method": repr(self.path), "complete": True},
        )

    def _steps(self, engine: Engine, ends: EndScores, start: Array, end: Array, row: int) -> Iterator[_Step]:
        """Yield the steps of the path from `start` to `end`, (*example), of the example `row`."""
        state, rows = self.path.init(start[None].copy(), end[None].copy()), np.array([row])
        for number in range(1, self.path.steps + 1):
            if state.done.all():
                return
            where = f"at step {number - 1} of the path"
            scores, gradients = gradients_at(engine, state.point, ends.objective, ends.targets[rows], rows, where)
            # Copies: a path may move its point, and change the gradients, in place.
            before, state = state.point.copy(), self.path.step(state, gradients.copy())
            yield _Step(number, float(scores[0]), (gradients * (state.point - before))[0])


@dataclass(frozen=True)
class _Step:
    """What one step gives: ∇F ⊙ Δpoint, (*example), and the score where it began."""

    number: int
    score: float
    attributions: Array
