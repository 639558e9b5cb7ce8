"""Metrics of attributions, on precomputed maps from anywhere."""

from pathattr.metrics.diffid import DiffID
from pathattr.metrics.fills import Blurred, Fill, MeanOfRemaining, Zero
from pathattr.metrics.metric import Metric
from pathattr.metrics.scores import Curve, Scores
from pathattr.metrics.statistics import Interval, bootstrap
from pathattr.metrics.subject import Subject

__all__ = [
    "Blurred",
    "Curve",
    "DiffID",
    "Fill",
    "Interval",
    "MeanOfRemaining",
    "Metric",
    "Scores",
    "Subject",
    "Zero",
    "bootstrap",
]
