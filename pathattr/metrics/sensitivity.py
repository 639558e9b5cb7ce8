"""Sensitivity: how far maps move when the input hardly does (Yeh et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pathattr.common.axes import Array
from pathattr.common.checks import is_number, whole
from pathattr.errors import InvalidInput
from pathattr.methods.explainer import Explainer
from pathattr.metrics.explaining import check_explainer, explained
from pathattr.metrics.metric import Metric
from pathattr.metrics.scores import Scores
from pathattr.metrics.subject import Subject


@dataclass(frozen=True)
class MaxSensitivity(Metric):
    """The largest ‖Φ(x + δ) − Φ(x)‖/‖Φ(x)‖ over `samples` draws of δ, uniform in [-radius, radius] for each entry.

    Φ(x) are the attributions that are judged: they must be the `explainer`'s own. `radius` is in the units of the
    inputs; δ depends on the shape of an example alone; norms are L2 over all entries. It explains the batch `samples`
    times, for the subject's targets. `mean_sensitivity` is the mean over the draws. Lower is better, but a constant
    map has none. NaN where Φ(x) is 0.
    """

    explainer: Explainer = field(repr=False)  # left out: scores of several explainers are to be compared
    radius: float = 0.02
    samples: int = 10

    def __post_init__(self) -> None:
        check_explainer(self.explainer)
        whole("samples", self.samples)
        if not is_number(self.radius) or self.radius <= 0:
            raise InvalidInput(f"radius is a number above 0, in the units of the inputs; got {self.radius!r}")

    def scores(self, subject: Subject, maps: Array) -> Scores:
        rng, moved = subject.rng(), np.empty((len(maps), self.samples))
        for sample in range(self.samples):
            delta = rng.uniform(-self.radius, self.radius, subject.examples.shape[1:])
            found = explained(self.explainer, subject, subject.restored(subject.examples + delta))
            moved[:, sample] = _norms(found - maps)
        own = _norms(maps)[:, None]
        ratios = np.divide(moved, own, out=np.full_like(moved, np.nan), where=own > 0)
        values = {"max_sensitivity": ratios.max(axis=1), "mean_sensitivity": ratios.mean(axis=1)}
        return Scores(repr(self), values, {"max_sensitivity": "lower", "mean_sensitivity": "lower"})


def _norms(maps: Array) -> Array:
    return np.asarray(np.linalg.norm(maps.reshape(len(maps), -1), axis=1))
