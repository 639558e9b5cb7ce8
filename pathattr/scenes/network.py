"""The scenes classifier as data: its layers, its weights and a NumPy forward pass to check builds against.

An adapter builds the network in its framework from `LAYERS`, `load_weights()` and `PREPROCESSING`. Only
operations on which frameworks agree to the pixel are used: stride 1, symmetric zero padding, 2×2 pooling of
even sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from pathattr.errors import InvalidInput, MissingExtra
from pathattr.pictures.preprocessing import Preprocessing
from pathattr.scenes.generator import CLASSES, SIZE


@dataclass(frozen=True)
class Conv:
    """Cross-correlation with zero padding on every side, plus bias: (N, C, H, W) to (N, filters, H', W')."""

    name: str
    filters: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1


@dataclass(frozen=True)
class ReLU:
    """max(x, 0), element by element."""


@dataclass(frozen=True)
class MaxPool:
    """Maximum over disjoint size × size windows; height and width must be multiples of size."""

    size: int = 2


@dataclass(frozen=True)
class GlobalAveragePool:
    """Mean over height and width: (N, C, H, W) to (N, C)."""


@dataclass(frozen=True)
class Dense:
    """Matrix product plus bias: (N, C) to (N, units)."""

    name: str
    units: int


Layer = Conv | ReLU | MaxPool | GlobalAveragePool | Dense

LAYERS: tuple[Layer, ...] = (
    *(Conv("conv1", 16), ReLU(), MaxPool()),  # 96 → 48
    *(Conv("conv2", 32), ReLU(), MaxPool()),  # 48 → 24
    *(Conv("conv3", 48), ReLU(), MaxPool()),  # 24 → 12
    *(Conv("conv4", 64), ReLU(), MaxPool()),  # 12 → 6
    *(Conv("conv5", 96), ReLU(), GlobalAveragePool()),
    Dense("logits", len(CLASSES)),
)
"""The layers in order, from a normalised picture (N, 3, 96, 96) to logits (N, 10)."""

PREPROCESSING = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
"""What the classifier expects: RGB in [0, 1], then normalised."""


def weight_shapes() -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight by name.

    A layer called n has `n.weight`, (out, in, height, width) for Conv and (out, in) for Dense, and `n.bias`,
    (out,): PyTorch's names and layout.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    channels = 3
    for layer in LAYERS:
        if isinstance(layer, Conv):
            shapes[f"{layer.name}.weight"] = (layer.filters, channels, layer.kernel, layer.kernel)
            shapes[f"{layer.name}.bias"] = (layer.filters,)
            channels = layer.filters
        elif isinstance(layer, Dense):
            shapes[f"{layer.name}.weight"] = (layer.units, channels)
            shapes[f"{layer.name}.bias"] = (layer.units,)
            channels = layer.units
    return shapes


def load_weights() -> dict[str, NDArray[np.float32]]:
    """Return the trained weights, named and shaped as `weight_shapes()` says.

    Raises MissingExtra where safetensors is not installed.
    """
    try:
        from safetensors.numpy import load
    except ImportError as error:
        raise MissingExtra.of("safetensors", "torch", "the scenes classifier") from error
    stored = resources.files("pathattr.scenes").joinpath("weights.safetensors").read_bytes()
    weights: dict[str, NDArray[np.float32]] = load(stored)
    return weights


def forward(weights: Mapping[str, NDArray[np.floating]], inputs: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the logits (N, 10) of normalised pictures (N, 3, 96, 96), in float64.

    A reference to test builds against, not a fast path. Raises InvalidInput for inputs of another shape.
    """
    if inputs.ndim != 4 or inputs.shape[1:] != (3, SIZE, SIZE):
        raise InvalidInput(f"the scenes classifier takes normalised pictures (N, 3, 96, 96), got {inputs.shape}")
    x = inputs.astype(np.float64)
    for layer in LAYERS:
        x = _apply(layer, weights, x)
    return x


def _apply(layer: Layer, weights: Mapping[str, NDArray[np.floating]], x: NDArray[np.float64]) -> NDArray[np.float64]:
    match layer:
        case Conv(name, _, kernel, stride, padding):
            sides = (padding, padding)
            padded = np.pad(x, ((0, 0), (0, 0), sides, sides))
            windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(2, 3))
            strided = windows[:, :, ::stride, ::stride]  # (N, C, H', W', kernel, kernel)
            maps = np.tensordot(strided, _double(weights, f"{name}.weight"), axes=((1, 4, 5), (1, 2, 3)))
            return np.moveaxis(maps + _double(weights, f"{name}.bias"), 3, 1)
        case ReLU():
            return np.maximum(x, 0)
        case MaxPool(size):
            n, c, h, w = x.shape
            largest: NDArray[np.float64] = np.max(x.reshape(n, c, h // size, size, w // size, size), axis=(3, 5))
            return largest
        case GlobalAveragePool():
            means: NDArray[np.float64] = np.mean(x, axis=(2, 3))
            return means
        case Dense(name, _):
            return x @ _double(weights, f"{name}.weight").T + _double(weights, f"{name}.bias")


def _double(weights: Mapping[str, NDArray[np.floating]], name: str) -> NDArray[np.float64]:
    return weights[name].astype(np.float64)
