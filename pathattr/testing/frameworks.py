"""One tiny network in every installed framework, and in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pathattr.common.axes import Array
from pathattr.errors import InvalidInput, MissingExtra
from pathattr.methods.path_explainer import PathExplainer
from pathattr.models.backend import Backend, Call
from pathattr.models.registry import backends, load_backend
from pathattr.scenes.network import Conv, Dense, GlobalAveragePool, Layer
from pathattr.testing.models import SoftmaxRegression
from pathattr.testing.properties import assert_close

# Smooth in float32: no activation that rounding could move across a kink. The stride makes gradients vary.
CONV = Conv("conv", 4, kernel=3, stride=2, padding=1)
LAYERS: tuple[Layer, ...] = (CONV, GlobalAveragePool(), Dense("logits", 3))
# float32 holds points to 6e-8; increments between them carry that some hundredfold. Relative to the largest number.
FLOAT32 = 1e-4


def names(chosen: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of the backends to test: the chosen ones, or all that are known, installed or not."""
    return tuple(backends()) if chosen is None else tuple(chosen)


@lru_cache(maxsize=8)
def weights(channels: int) -> dict[str, NDArray[np.float32]]:
    """Return random weights for pictures of so many channels, named and laid out as `pathattr.scenes` does."""
    rng = np.random.default_rng(channels)
    shapes = {
        "conv.weight": (CONV.filters, channels, CONV.kernel, CONV.kernel),
        "conv.bias": (CONV.filters,),
        # Large: means over a picture are small, and the probabilities are to move.
        "logits.weight": (3, CONV.filters),
        "logits.bias": (3,),
    }
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def closed_form(shape: tuple[int, ...]) -> SoftmaxRegression:
    """Return the network for pictures (channels, height, width): a convolution, a mean and a product are linear."""
    w = {name: array.astype(np.float64) for name, array in weights(shape[0]).items()}
    height, width = (_visits(side) for side in shape[1:])
    # Filter f's mean over its positions, as weights of the pixels.
    means = np.einsum("fcij,ih,jw->fchw", w["conv.weight"], height, width)
    logits = w["logits.weight"]
    return SoftmaxRegression(np.tensordot(logits, means, axes=1), logits @ w["conv.bias"] + w["logits.bias"])


def _visits(side: int) -> Array:
    """Return (tap, pixel): the share of the filter's positions at which a tap of its kernel meets a pixel."""
    positions = (side + 2 * CONV.padding - CONV.kernel) // CONV.stride + 1
    visits = np.zeros((CONV.kernel, side))
    for tap in range(CONV.kernel):
        pixels = tap - CONV.padding + CONV.stride * np.arange(positions)
        visits[tap, pixels[(pixels >= 0) & (pixels < side)]] = 1 / positions
    return visits


def network(name: str, shape: tuple[int, ...]) -> tuple[type[Backend], Any]:
    """Return a backend and the network for pictures of that shape in its framework, float32.

    Skips the test, with the reason, where the framework is not installed or its backend builds no networks.
    """
    try:
        backend = load_backend(name)
    except MissingExtra as error:
        pytest.skip(str(error))
    if name == "numpy":
        return backend, closed_form(shape).model()
    try:
        return backend, _built(backend, shape[0])
    except InvalidInput as error:
        pytest.skip(str(error))


@lru_cache(maxsize=32)  # kept: what a framework compiles for a model serves all suites
def _built(backend: type[Backend], channels: int) -> Any:
    return backend.build(LAYERS, weights(channels))


def wrapped(name: str) -> Backend:
    """Return a backend around the network: its operations are wanted."""
    shape = (1, 4, 4)
    backend, model = network(name, shape)
    return backend(model, np.zeros((1, *shape), np.float32), Call(), backend.options)


def assert_equals_the_closed_form(name: str, shape: tuple[int, ...], **options: Any) -> None:
    """Fail unless attributions of features and components are those of float64 NumPy, to float32."""
    backend, model = network(name, shape)
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    settings: dict[str, Any] = {"steps": 9, "batch_size": 7, "output": "probability", **options}
    axis = backend.channel_axis
    assert axis is not None
    expected = PathExplainer(closed_form(shape).model(), **settings)(x.astype(np.float64), [0, 2])
    explainer = PathExplainer(model, backend=backend, channel_axis=axis, **settings)
    found = explainer(np.moveaxis(x, 1, axis), [0, 2])
    for what, ours, theirs in (
        ("attributions", np.moveaxis(found.numpy(), axis, 1), expected.numpy()),
        ("components", _flat(found), _flat(expected)),
        ("score", found.score, expected.score),
    ):
        assert_close(ours, theirs, FLOAT32 * np.abs(theirs).max(), f"{what} on {name}")
    assert found.evaluations.tolist() == expected.evaluations.tolist()


def _flat(found: Any) -> Array:
    return np.concatenate([part.reshape(len(part), -1) for part in found.components.attributions], axis=1)
