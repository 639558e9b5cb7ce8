"""The kinds of models that run on JAX, each as a function of a pytree; no library but JAX is imported for it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax

import pathattr_keras
from pathattr.common.axes import unless_odd
from pathattr.errors import InvalidInput
from pathattr_jax.training import check, parts
from pathattr_jax.trees import is_array

Kind = Literal["pair", "linen", "nnx", "equinox", "keras"]


@dataclass(frozen=True)
class Functional:
    """A model as a function of its arrays: `call(tree, args, kwargs)` returns its outputs.

    `tree` is the pytree that holds the arrays. `single` models take one example.
    """

    tree: Any
    call: Callable[[Any, Sequence[Any], Mapping[str, Any]], Any]
    single: bool = False


def kind_of(model: Any) -> Kind | None:
    """Return which kind of model this is; None for a function, which only its inputs tell."""
    if isinstance(model, tuple):
        pair = len(model) == 2 and (callable(model[0]) or _descends(model[0], "flax.linen", "Module"))
        return "pair" if pair and any(map(is_array, jax.tree_util.tree_leaves(model[1]))) else None
    if _descends(model, "flax.linen", "Module"):
        return "linen"
    if _descends(model, "flax.nnx", "Module"):
        return "nnx"
    if _descends(model, "equinox", "Module"):
        return "equinox"
    if any(base.__module__.partition(".")[0] == "keras" for base in type(model).__mro__):
        return "keras" if pathattr_keras.is_keras(model) and pathattr_keras.keras_backend() == "jax" else None
    return None


def functional(model: Any) -> Functional:
    """Return a model as a function of its arrays; raise InvalidInput or ModelError for one that is not ready."""
    check(model)
    kind = kind_of(model)
    if kind is not None:
        return _KINDS[kind](model)
    if not callable(model):
        raise InvalidInput(
            "the jax backend takes functions, (apply, params) with arrays among the params, and models of Flax, "
            f"Equinox and Keras on JAX; got {type(model).__name__}: pass one of those"
        )
    return Functional(None, lambda tree, args, kwargs: model(*args, **kwargs))


def arrays_of(model: Any) -> list[Any]:
    """Return the arrays that a model or pytree holds now, whether or not it is ready to be explained."""
    kind = kind_of(model)
    if kind == "keras":
        return [variable.value for variable in model.variables]
    if kind == "linen":
        model = None if model.scope is None else model.variables
    elif kind == "nnx":
        model = sys.modules["flax.nnx"].state(model)
    return [leaf for leaf in jax.tree_util.tree_leaves(model) if is_array(leaf)]


def channel_axis(model: Any, shape: Sequence[int]) -> int | None:
    """Return where a model keeps the channels of a batch of that shape; None where that cannot be known.

    Equinox convolves (channels, height, width), Flax (height, width, channels): so it is if the model's first
    convolution takes as many channels as there are there. A model may turn its inputs first.
    """
    kind = kind_of(model)
    if kind == "keras":
        return pathattr_keras.channel_axis(model, shape)
    if len(shape) not in (4, 5):
        return -1
    if kind == "equinox":
        first = next(_equinox_convolutions(model, len(shape) - 2), None)
        return 1 if first is not None and first.in_channels == shape[1] else None
    if kind == "nnx":
        first = next((part for _, part in parts(model) if _descends(part, "flax.nnx", "Conv")), None)
        return unless_odd(-1, shape) if first is None else -1 if first.in_features == shape[-1] else None
    return unless_odd(-1, shape)


def _equinox_convolutions(model: Any, dimensions: int) -> Iterator[Any]:
    """Yield the convolutions of so many dimensions, in the order of the pytree, which is that of the fields."""

    def is_one(part: Any) -> bool:
        return getattr(part, "num_spatial_dims", None) == dimensions and hasattr(part, "in_channels")

    return filter(is_one, jax.tree_util.tree_leaves(model, is_leaf=is_one))


def _descends(model: Any, package: str, name: str) -> bool:
    return any(
        base.__name__ == name and (base.__module__ + ".").startswith(package + ".") for base in type(model).__mro__
    )


def _pair(model: Any) -> Functional:
    apply, params = model
    if _descends(apply, "flax.linen", "Module"):
        if apply.scope is not None:
            raise InvalidInput(
                "(module, params) with a bound Flax module: pass the bound module alone, or one that is not bound"
            )
        return _applied(apply, params)
    return Functional(params, lambda tree, args, kwargs: apply(tree, *args, **kwargs))


def _applied(module: Any, variables: Any) -> Functional:
    return Functional(variables, lambda tree, args, kwargs: module.apply(tree, *args, **kwargs))


def unbound(model: Any) -> tuple[Any, Any]:
    """Return a bound module of linen without its variables, and these; raise InvalidInput for one that has none."""
    if model.scope is None:
        raise InvalidInput(
            f"the Flax module {type(model).__name__} has no parameters: pass (module, variables) with what "
            "module.init returned, or module.bind(variables)"
        )
    module, variables = model.unbind()
    return module, variables


def _linen(model: Any) -> Functional:
    return _applied(*unbound(model))


def _nnx(model: Any) -> Functional:
    library = sys.modules["flax.nnx"]
    definition, state = library.split(model)
    # A copy: what the call writes into the model, as intermediates or statistics, is dropped.
    return Functional(state, lambda tree, args, kwargs: library.merge(definition, tree)(*args, **kwargs))


def _equinox(model: Any) -> Functional:
    # What filter_jit, filter_vmap and the like return is a module too, but takes what the function in it takes.
    wrapper = type(model).__module__.startswith("equinox._") and type(model).__name__ != "BoundMethod"
    return Functional(model, lambda tree, args, kwargs: tree(*args, **kwargs), single=not wrapper)


def _keras(model: Any) -> Functional:
    pathattr_keras.check_built(model)
    variables = list(model.variables)

    def call(tree: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        # The scope lends the variables other values, and drops what is written to them.
        with sys.modules["keras"].StatelessScope(state_mapping=list(zip(variables, tree, strict=True))):
            return pathattr_keras.call(model, args, kwargs)

    return Functional([variable.value for variable in variables], call)


_KINDS: dict[Kind, Callable[[Any], Functional]] = {
    "pair": _pair,
    "linen": _linen,
    "nnx": _nnx,
    "equinox": _equinox,
    "keras": _keras,
}
