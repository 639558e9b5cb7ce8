"""Path attribution: Integrated Gradients, Spectral Integrated Gradients, and every path between them."""

from importlib.metadata import version as _version

from pathattr.axioms import verify
from pathattr.errors import InvalidInput, MissingExtra, ModelError, PathattrError
from pathattr.families import DCT, SVD, Laplacian, Linear, PathFamily, Wavelet
from pathattr.methods.adaptive_explainer import AdaptiveExplainer
from pathattr.methods.gradients import GradientInput, SmoothGrad
from pathattr.methods.path_explainer import PathExplainer
from pathattr.models.arguments import PerExample, Shared
from pathattr.models.numpy_backend import GradientCallback, NumpyModel
from pathattr.models.targets import Contrast
from pathattr.paths.adaptive import AdaptivePath
from pathattr.paths.baselines import (
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
from pathattr.paths.guided import GuidedIG
from pathattr.paths.orderings import (
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
from pathattr.paths.schedules import CosineRamp, HeatRamp, LinearRamp, Schedule, SigmoidRamp, StepRamp
from pathattr.pictures.image_model import ImageModel
from pathattr.pictures.preprocessing import Preprocessing
from pathattr.results.attribution import Attribution, Components

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
