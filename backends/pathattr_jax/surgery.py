"""Models built, moved, and with some of their weights shuffled: new pytrees, the model's own stay as they are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from pathattr.models.surgery import Surgery, by_layer, cannot, chosen, layer_of
from pathattr_jax import devices
from pathattr_jax.models import kind_of, unbound
from pathattr_jax.network import build
from pathattr_jax.trees import is_array


class JaxSurgery(Surgery):
    """Surgery on (apply, params), Flax and Equinox; statistics of Flax are no weights.

    Layers come in the order of the pytree: in dictionaries it is alphabetical.
    """

    @classmethod
    def devices(cls) -> list[str]:
        return list(devices.names())

    @classmethod
    def place(cls, model: Any, device: str) -> Any:
        return devices.place(model, device)

    @classmethod
    def build(cls, layers: Sequence[Any], weights: Mapping[str, NDArray[np.float32]]) -> Any:
        return build(layers, weights)

    @classmethod
    def layers(cls, model: Any) -> list[str]:
        tree, _ = _parameters(model)
        return list(_places(tree))

    @classmethod
    def randomised(cls, model: Any, layers: Sequence[str], rng: np.random.Generator) -> Any:
        tree, whole = _parameters(model)
        leaves, structure = jax.tree_util.tree_flatten(tree)
        for place in chosen(_places(tree), layers):
            leaves[place] = _shuffled(leaves[place], rng)
        return whole(jax.tree_util.tree_unflatten(structure, leaves))


def _parameters(model: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Return the pytree of a model's weights, and the function from another such pytree to the model with it."""
    match kind_of(model):
        case "pair":
            apply, variables = model
            learned, whole = _learned(variables)
            return learned, lambda tree: (apply, whole(tree))
        case "linen":
            module, variables = unbound(model)
            learned, whole = _learned(variables)
            return learned, lambda tree: module.bind(whole(tree))
        case "nnx":
            nnx = sys.modules["flax.nnx"]
            definition, state, rest = nnx.split(model, nnx.Param, ...)
            return state, lambda tree: nnx.merge(definition, tree, rest)
        case "equinox":
            return model, lambda tree: tree
        case _:
            raise cannot("jax", "a function's arrays are not known; (apply, params) are")


def _learned(variables: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Return what of a pair's or a linen module's variables is learned: Flax's collection of parameters, or all."""
    if isinstance(variables, dict) and "params" in variables:
        return {"params": variables["params"]}, lambda tree: {**variables, **tree}
    return variables, lambda tree: tree


def _places(tree: Any) -> dict[str, list[int]]:
    """Return where among the leaves the floating-point arrays of each layer are."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return by_layer(
        (layer_of(_names(path)), place)
        for place, (path, leaf) in enumerate(leaves)
        if is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating)
    )


def _names(path: Sequence[Any]) -> list[Any]:
    """Return the names along a path of JAX, whose keys have theirs under one of three names."""
    names = [next(getattr(key, a) for a in ("key", "name", "idx") if hasattr(key, a)) for key in path]
    return names[:-1] if names[-1:] == ["value"] else names  # nnx: a variable holds its array so


def _shuffled(leaf: Any, rng: np.random.Generator) -> Any:
    found = rng.permuted(np.asarray(leaf))
    return jax.device_put(found, leaf.sharding if leaf.committed else None) if isinstance(leaf, jax.Array) else found
