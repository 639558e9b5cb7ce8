"""Path attribution: Integrated Gradients, Spectral Integrated Gradients, and every path between them."""

from importlib.metadata import version as _version

from pathattr.attribution import Attribution, Components
from pathattr.axioms import verify
from pathattr.baselines import (
    Baseline,
    Black,
    Blur,
    Constant,
    GaussianNoise,
    Mean,
    Samples,
    UniformNoise,
    White,
    Zero,
)
from pathattr.errors import InvalidInput, MissingExtra, ModelError, PathattrError
from pathattr.explainer import PathExplainer
from pathattr.families import DCT, SVD, Laplacian, Linear, PathFamily, Wavelet
from pathattr.images import ImageModel
from pathattr.numpy_backend import GradientCallback, NumpyModel
from pathattr.orderings import ApproximationThenFinest, Energy, Frequency, Leading, Ordering, Rank, Scale, Shuffled
from pathattr.preprocessing import Preprocessing
from pathattr.schedules import CosineRamp, LinearRamp, Schedule, SigmoidRamp, StepRamp
from pathattr.targets import Contrast

__version__ = _version("pathattr")

__all__ = [
    "DCT",
    "SVD",
    "ApproximationThenFinest",
    "Attribution",
    "Baseline",
    "Black",
    "Blur",
    "Components",
    "Constant",
    "Contrast",
    "CosineRamp",
    "Energy",
    "Frequency",
    "GaussianNoise",
    "GradientCallback",
    "ImageModel",
    "InvalidInput",
    "Laplacian",
    "Leading",
    "Linear",
    "LinearRamp",
    "Mean",
    "MissingExtra",
    "ModelError",
    "NumpyModel",
    "Ordering",
    "PathExplainer",
    "PathFamily",
    "PathattrError",
    "Preprocessing",
    "Rank",
    "Samples",
    "Scale",
    "Schedule",
    "Shuffled",
    "SigmoidRamp",
    "StepRamp",
    "UniformNoise",
    "Wavelet",
    "White",
    "Zero",
    "__version__",
    "verify",
]
