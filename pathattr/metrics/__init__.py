"""Metrics of attributions, on precomputed maps from anywhere."""

from pathattr.metrics.diffid import DiffID
from pathattr.metrics.fills import Blurred, Fill, MeanOfRemaining, ZeroFill
from pathattr.metrics.imputation import ChannelMean, Imputer, NoisyLinear
from pathattr.metrics.infidelity import Infidelity, Noise, Perturbation, Squares
from pathattr.metrics.localisation import IoU, MassInside, PointingGame
from pathattr.metrics.metric import Metric
from pathattr.metrics.plots import Curve
from pathattr.metrics.randomisation import Randomisation
from pathattr.metrics.rise import Deletion, Insertion
from pathattr.metrics.road import ROAD
from pathattr.metrics.roar import ROAR, Labelled, Retrained
from pathattr.metrics.scores import Scores
from pathattr.metrics.sensitivity import MaxSensitivity
from pathattr.metrics.sparseness import Sparseness
from pathattr.metrics.statistics import Interval, bootstrap
from pathattr.metrics.subject import Subject

__all__ = [
    "ROAD",
    "ROAR",
    "Blurred",
    "ChannelMean",
    "Curve",
    "Deletion",
    "DiffID",
    "Fill",
    "Imputer",
    "Infidelity",
    "Insertion",
    "Interval",
    "IoU",
    "Labelled",
    "MassInside",
    "MaxSensitivity",
    "MeanOfRemaining",
    "Metric",
    "Noise",
    "NoisyLinear",
    "Perturbation",
    "PointingGame",
    "Randomisation",
    "Retrained",
    "Scores",
    "Sparseness",
    "Squares",
    "Subject",
    "ZeroFill",
    "bootstrap",
]
