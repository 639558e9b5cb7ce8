"""Metrics of attributions, on precomputed maps from anywhere."""

from pathattr.metrics.diffid import DiffID
from pathattr.metrics.fills import Blurred, Fill, MeanOfRemaining, Zero
from pathattr.metrics.imputation import ChannelMean, Imputer, NoisyLinear
from pathattr.metrics.metric import Metric
from pathattr.metrics.rise import Deletion, Insertion
from pathattr.metrics.road import ROAD
from pathattr.metrics.scores import Curve, Scores
from pathattr.metrics.statistics import Interval, bootstrap
from pathattr.metrics.subject import Subject

__all__ = [
    "ROAD",
    "Blurred",
    "ChannelMean",
    "Curve",
    "Deletion",
    "DiffID",
    "Fill",
    "Imputer",
    "Insertion",
    "Interval",
    "MeanOfRemaining",
    "Metric",
    "NoisyLinear",
    "Scores",
    "Subject",
    "Zero",
    "bootstrap",
]
