"""What Keras 3 models have in common whatever framework Keras runs on; imports Keras only for a model of it."""

from pathattr_keras.models import (
    call,
    channel_axis,
    check_built,
    compute_dtypes,
    conventions,
    ending_link,
    is_keras,
    keras_backend,
    undisturbed,
)
from pathattr_keras.surgery import KerasSurgery, layers, randomised

__all__ = [
    "KerasSurgery",
    "call",
    "channel_axis",
    "check_built",
    "compute_dtypes",
    "conventions",
    "ending_link",
    "is_keras",
    "keras_backend",
    "layers",
    "randomised",
    "undisturbed",
]
