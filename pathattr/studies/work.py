"""One batch of a study in work."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from copy import copy
from typing import Any, Protocol

import numpy as np

from pathattr.common.axes import Array
from pathattr.errors import InvalidInput, PathattrError
from pathattr.methods.explainer import Explainer, QuestionOptions
from pathattr.metrics.metric import Metric
from pathattr.metrics.scores import Scores
from pathattr.metrics.subject import Subject
from pathattr.studies.data import Batch
from pathattr.studies.store import COSTS, Found


class Asker(Protocol):
    """What a batch needs of its study."""

    @property
    def shown(self) -> Collection[int]:
        """The examples whose maps are kept."""

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The metrics by name."""

    @property
    def explainers(self) -> Mapping[str, Explainer]:
        """The explainer of each setting."""

    def subject(self, explainer: Explainer, batch: Batch, rows: Sequence[int]) -> Subject:
        """Return some examples as the model of an explainer sees them, to be judged on."""


class Work:
    """One batch of a study in work: its examples, and the subjects that settings share."""

    def __init__(self, study: Asker, batch: Batch, rows: Sequence[int]) -> None:
        self.study, self.batch, self.rows = study, batch, list(rows)
        self._subjects: dict[Any, Subject] = {}

    def found(self, name: str, progress: Callable[[float], None]) -> Found:
        """Return what a setting's attributions are worth; an example that fails is named and left out."""
        explainer = self.study.explainers[name]
        try:
            return self._judged(explainer, range(len(self.rows)), progress)
        except Exception as error:  # the model's own, of whatever kind: it must not cost the others their results
            if len(self.rows) == 1:
                return _failure(self.rows[0], error)
        # The value of an example does not depend on its batch-mates: each by itself, and the faulty one is known.
        parts = []
        for place, row in enumerate(self.rows):
            try:
                parts.append(self._judged(explainer, [place], lambda share: None))
            except Exception as error:
                parts.append(_failure(row, error))
            progress((place + 1) / len(self.rows))
        return _merged(parts)

    def _judged(self, explainer: Explainer, places: Sequence[int], progress: Callable[[float], None]) -> Found:
        subject = self._subject(explainer, places)
        if subject.target.ndim != 1:
            raise InvalidInput(
                "a study judges one class per example, and this model's outputs have further axes: pass a model that "
                "returns one position's scores, (batch, classes)"
            )
        steps = 1 + len(self.study.metrics)
        told = copy(explainer)  # the user's own keeps its progress; what it learnt of memory is shared
        told.progress = lambda done, total: progress(done / max(total, 1) / steps)
        attribution = told(subject.inputs, subject.target)
        maps = subject.maps(attribution)
        scores = {}
        for step, (name, metric) in enumerate(self.study.metrics.items()):
            progress((step + 1) / steps)
            scores[name] = metric.scores(subject, maps)
        rows = np.array([self.rows[place] for place in places], dtype=np.intp)
        shown = {
            int(row): values.sum(axis=0).astype(np.float32)
            for row, values in zip(rows, maps, strict=True)
            if row in self.study.shown and values.ndim == 3
        }
        costs: dict[str, Array] = {
            "score": attribution.score,
            "baseline_score": attribution.baseline_score,
            "gradients": attribution.evaluations.astype(np.float64),
            "gap": attribution.gap,
            "relative_gap": attribution.relative_gap,
            "error": attribution.error,
        }
        return Found(rows, np.asarray(subject.target, np.intp), costs, scores, {}, shown)

    def _subject(self, explainer: Explainer, places: Sequence[int]) -> Subject:
        whole_batch = len(places) == len(self.rows)
        key = (tuple(places), asked(explainer))
        if key not in self._subjects:
            chosen = list(places)
            batch = self.batch
            if not whole_batch:
                masks = None if batch.masks is None else batch.masks[chosen]
                batch = Batch(batch.inputs[chosen], masks)
            self._subjects[key] = self.study.subject(explainer, batch, [self.rows[place] for place in chosen])
        return self._subjects[key]


def question(explainer: Explainer, **changes: Any) -> QuestionOptions:
    """Return how an explainer puts its question to the model, by name."""
    options: Any = {name: getattr(explainer, name) for name in QuestionOptions.__annotations__} | changes
    return options


def asked(explainer: Explainer) -> Hashable:
    """Return what of an explainer decides what its model is asked, within this process."""
    return id(explainer.model), repr(question(explainer, seed=0))


def _failure(row: int, error: Exception) -> Found:
    reason = str(error) if isinstance(error, PathattrError) else f"{type(error).__name__}: {error}"
    nothing = np.zeros(0, np.intp)
    costs = {name: np.zeros(0) for name in COSTS}
    return Found(nothing, nothing, costs, {}, {row: reason}, {})


def _merged(parts: Sequence[Found]) -> Found:
    """Return the examples of one batch, judged each by itself, as one."""
    worked = [part for part in parts if len(part.rows)]
    failed = {row: reason for part in parts for row, reason in part.failed.items()}
    if not worked:
        return Found(parts[0].rows, parts[0].targets, parts[0].costs, {}, failed, {})
    return Found(
        np.concatenate([part.rows for part in worked]),
        np.concatenate([part.targets for part in worked]),
        {name: np.concatenate([part.costs[name] for part in worked]) for name in worked[0].costs},
        {name: Scores.join([part.scores[name] for part in worked]) for name in worked[0].scores},
        failed,
        {row: values for part in worked for row, values in part.maps.items()},
    )
