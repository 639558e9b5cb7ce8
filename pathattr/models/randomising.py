"""What backends share that shuffle a model's weights, layer by layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pathattr.errors import InvalidInput

Weights = TypeVar("Weights")


def layer_of(path: Iterable[Any]) -> str:
    """Return the layer that weights at a path belong to: the path joined by dots, without its last name.

    ("params", "Conv_0", "kernel") and ("params", "Conv_0.kernel") belong to "params.Conv_0"; ("w",) is its own.
    """
    name = ".".join(map(str, path))
    return name.rpartition(".")[0] or name


def by_layer(weights: Iterable[tuple[str, Weights]]) -> dict[str, list[Weights]]:
    """Return weights grouped by the layers that come with them, in the order of first appearance."""
    found: dict[str, list[Weights]] = {}
    for layer, weight in weights:
        found.setdefault(layer, []).append(weight)
    return found


def chosen(there: Mapping[str, Sequence[Weights]], layers: Sequence[str]) -> Iterable[Weights]:
    """Yield the weights of some layers, in the order asked; raise InvalidInput for a layer that is not there."""
    for layer in layers:
        if layer not in there:
            raise InvalidInput(f"the model has no layer {layer!r} with weights; it has {', '.join(there) or 'none'}")
        yield from there[layer]


def cannot(backend: str, why: str) -> InvalidInput:
    """Return the error for a model whose weights cannot be shuffled."""
    return InvalidInput(
        f"the {backend} backend cannot shuffle this model's weights: {why}. Pass models=, a function of a NumPy "
        "generator that yields randomised models, stage by stage"
    )
