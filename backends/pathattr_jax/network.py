"""The scenes classifier in JAX, from its layer list, as (apply, params)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from pathattr.scenes import network

Params = dict[str, jax.Array]


def build(
    layers: Sequence[network.Layer], weights: Mapping[str, NDArray[np.float32]]
) -> tuple[Callable[[Params, jax.Array], jax.Array], Params]:
    """Return `apply(params, pictures)`, channels last, and the weights, (height, width, in, out) and (in, out)."""
    params = {}
    for layer in layers:
        if isinstance(layer, network.Conv | network.Dense):
            weight = np.asarray(weights[f"{layer.name}.weight"])
            axes = (2, 3, 1, 0) if isinstance(layer, network.Conv) else (1, 0)
            params[f"{layer.name}.weight"] = jnp.asarray(weight.transpose(axes))
            params[f"{layer.name}.bias"] = jnp.asarray(weights[f"{layer.name}.bias"])
    return partial(_apply, tuple(layers)), params


def _apply(layers: tuple[network.Layer, ...], params: Params, x: jax.Array) -> jax.Array:
    for layer in layers:
        x = _layer(layer, params, x)
    return x


def _layer(layer: network.Layer, params: Params, x: jax.Array) -> jax.Array:
    # "highest": some devices multiply float32 in fewer bits by default.
    match layer:
        case network.Conv(name, _, _, stride, padding):
            maps = jax.lax.conv_general_dilated(
                x,
                params[f"{name}.weight"],
                window_strides=(stride, stride),
                padding=((padding, padding), (padding, padding)),
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
                precision="highest",
            )
            return maps + params[f"{name}.bias"]
        case network.ReLU():
            return jax.nn.relu(x)
        case network.MaxPool(size):
            # Not a maximum over reshaped axes: its gradient is shared among equal maxima, and other frameworks
            # give it to the first.
            window: Any = (1, size, size, 1)
            return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")
        case network.GlobalAveragePool():
            return x.mean(axis=(1, 2))
        case network.Dense(name, _):
            return jnp.dot(x, params[f"{name}.weight"], precision="highest") + params[f"{name}.bias"]
