"""Path attribution: Integrated Gradients, Spectral Integrated Gradients, and every path between them."""

from importlib.metadata import version as _version

from pathattr.adaptive_explainer import AdaptiveExplainer
from pathattr.adaptive_path import AdaptivePath
from pathattr.arguments import PerExample, Shared
from pathattr.attribution import Attribution, Components
from pathattr.axioms import verify
from pathattr.baselines import (
    Baseline,
    Black,
    Blur,
    Constant,
    Diffused,
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
from pathattr.gradients import GradientInput, SmoothGrad
from pathattr.guided import GuidedIG
from pathattr.images import ImageModel
from pathattr.numpy_backend import GradientCallback, NumpyModel
from pathattr.orderings import (
    ApproximationThenFinest,
    Diffusion,
    Energy,
    Frequency,
    Leading,
    Ordering,
    Rank,
    Scale,
    Shuffled,
)
from pathattr.preprocessing import Preprocessing
from pathattr.schedules import CosineRamp, HeatRamp, LinearRamp, Schedule, SigmoidRamp, StepRamp
from pathattr.targets import Contrast

__version__ = _version("pathattr")

__all__ = [
    "DCT",
    "SVD",
    "AdaptiveExplainer",
    "AdaptivePath",
    "ApproximationThenFinest",
    "Attribution",
    "Baseline",
    "Black",
    "Blur",
    "Components",
    "Constant",
    "Contrast",
    "CosineRamp",
    "Diffused",
    "Diffusion",
    "Energy",
    "Frequency",
    "GaussianNoise",
    "GradientCallback",
    "GradientInput",
    "GuidedIG",
    "HeatRamp",
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
    "PerExample",
    "Preprocessing",
    "Rank",
    "Samples",
    "Scale",
    "Schedule",
    "Shared",
    "Shuffled",
    "SigmoidRamp",
    "SmoothGrad",
    "StepRamp",
    "UniformNoise",
    "Wavelet",
    "White",
    "Zero",
    "__version__",
    "verify",
]
