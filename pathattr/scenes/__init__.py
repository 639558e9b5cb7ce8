"""The embedded task: pictures with exact object masks, and a small classifier that tells them apart."""

from pathattr.scenes.generator import CLASSES, SIZE, Scenes, generate
from pathattr.scenes.network import (
    LAYERS,
    PREPROCESSING,
    Conv,
    Dense,
    GlobalAveragePool,
    Layer,
    MaxPool,
    ReLU,
    forward,
    load_weights,
    weight_shapes,
)

__all__ = [
    "CLASSES",
    "LAYERS",
    "PREPROCESSING",
    "SIZE",
    "Conv",
    "Dense",
    "GlobalAveragePool",
    "Layer",
    "MaxPool",
    "ReLU",
    "Scenes",
    "forward",
    "generate",
    "load_weights",
    "weight_shapes",
]
