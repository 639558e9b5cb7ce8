"""A metric: judges attributions of a batch, example by example."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from pathattr.common.axes import Array
from pathattr.metrics.scores import Scores
from pathattr.metrics.subject import Subject


class Metric(ABC):
    """Judges attributions from anywhere on a subject; concrete metrics are frozen dataclasses of their settings.

    The value of an example never depends on its batch-mates.
    """

    def __call__(self, subject: Subject, attributions: Any) -> Scores:
        """Return the scores of attributions: an `Attribution`, an array of any framework, or the path of a file.

        Raises InvalidInput where the subject lacks what the metric needs, or shapes do not fit.
        """
        return self.scores(subject, subject.maps(attributions))

    @abstractmethod
    def scores(self, subject: Subject, maps: Array) -> Scores:
        """Return the scores of attributions (batch, channels, *spatial), finite, float64."""
