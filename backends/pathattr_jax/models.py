"""The kinds of models that run on JAX, each as a function of a pytree; no library but JAX is imported for it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MethodType
from typing import Any, Literal

import jax

from pathattr.errors import InvalidInput, ModelError
from pathattr_jax.trees import is_array

Kind = Literal["pair", "linen", "nnx", "equinox", "keras"]


@dataclass(frozen=True)
class Functional:
    """A model as a pure function: `call(owner, tree, args, kwargs)` returns its outputs.

    `tree` holds its arrays. `owner` is the object that lives as long as the model: `call` holds no reference to it,
    so that neither does what is compiled. `static` is what else `call` depends on and may differ another time.
    `opaque` is a function of the user's that may reach arrays of its own. `single` models take one example.
    """

    owner: Any
    tree: Any
    call: Callable[[Any, Any, Sequence[Any], Mapping[str, Any]], Any]
    static: Hashable = None
    opaque: Any = None
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
        import pathattr_keras

        return "keras" if pathattr_keras.is_keras(model) and pathattr_keras.keras_backend() == "jax" else None
    return None


def functional(model: Any) -> Functional:
    """Return a model as a function of its arrays; raise InvalidInput or ModelError for one that is not ready."""
    kind = kind_of(model)
    if kind is not None:
        return _KINDS[kind](model)
    if not callable(model):
        raise InvalidInput(
            f"the jax backend takes functions, (apply, params), and models of Flax, Equinox and Keras on JAX; "
            f"got {type(model).__name__}"
        )
    owner, function = unbound(model)
    return Functional(owner, None, partial(_call_function, function), function, opaque=model)


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


def _descends(model: Any, package: str, name: str) -> bool:
    return any(
        base.__name__ == name and (base.__module__ + ".").startswith(package + ".") for base in type(model).__mro__
    )


def unbound(function: Any) -> tuple[Any, Any]:
    """Return what a bound method is bound to, which outlives it, and its function; else what it is, and None."""
    return (function.__self__, function.__func__) if isinstance(function, MethodType) else (function, None)


def _call_function(function: Any, owner: Any, tree: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    return owner(*args, **kwargs) if function is None else function(owner, *args, **kwargs)


def _pair(model: Any) -> Functional:
    apply, params = model
    if _descends(apply, "flax.linen", "Module"):
        if apply.scope is not None:
            raise InvalidInput(
                "(module, params) with a bound Flax module: pass the bound module alone, or one that is not bound"
            )
        return Functional(apply, params, _call_module)
    owner, function = unbound(apply)
    return Functional(owner, params, partial(_call_apply, function), function, opaque=apply)


def _call_module(owner: Any, tree: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    return owner.apply(tree, *args, **kwargs)


def _call_apply(function: Any, owner: Any, tree: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    return owner(tree, *args, **kwargs) if function is None else function(owner, tree, *args, **kwargs)


def _linen(model: Any) -> Functional:
    if model.scope is None:
        raise InvalidInput(
            f"the Flax module {type(model).__name__} has no parameters: pass (module, variables) with what "
            "module.init returned, or module.bind(variables)"
        )
    module, variables = model.unbind()
    return Functional(model, variables, partial(_call_unbound, module))


def _call_unbound(module: Any, owner: Any, tree: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    return module.apply(tree, *args, **kwargs)


def _nnx(model: Any) -> Functional:
    library = sys.modules["flax.nnx"]
    # The function is younger than the supported versions; before it, every object was to be walked.
    for path, part in getattr(library, "iter_modules", library.iter_graph)(model):
        rate = getattr(part, "rate", getattr(part, "dropout_rate", 1))
        training = getattr(part, "deterministic", None) is False and rate != 0
        if training or getattr(part, "use_running_average", None) is False:
            raise _in_training(".".join(map(str, path)), part, "model.eval()")
    definition, state = library.split(model)
    return Functional(model, state, partial(_call_nnx, definition), definition)


def _call_nnx(definition: Any, owner: Any, tree: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    # A copy: what the call writes into the model, as intermediates or statistics, is dropped.
    return sys.modules["flax.nnx"].merge(definition, tree)(*args, **kwargs)


def _equinox(model: Any) -> Functional:
    leaves = {
        tuple(map(str, path)): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(model) if not is_array(leaf)
    }
    for path, leaf in leaves.items():
        # A dropout of probability 0, as in every attention layer, does nothing in either mode.
        if path[-1:] == (".inference",) and leaf is False and leaves.get((*path[:-1], ".p")) != 0:
            raise _in_training("".join(path[:-1]).lstrip("."), None, "equinox.nn.inference_mode(model)")
    # What filter_jit, filter_vmap and the like return is a module too, but takes what the function in it takes.
    wrapper = type(model).__module__.startswith("equinox._") and type(model).__name__ != "BoundMethod"
    return Functional(model, model, _call_equinox, single=not wrapper)


def _call_equinox(owner: Any, tree: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    return tree(*args, **kwargs)


def _keras(model: Any) -> Functional:
    import pathattr_keras

    pathattr_keras.check_built(model)
    pathattr_keras.check_precision(model)
    return Functional(model, [variable.value for variable in model.variables], _call_keras)


def _call_keras(owner: Any, tree: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    import pathattr_keras

    # The scope lends the variables other values, and drops what is written to them.
    with sys.modules["keras"].StatelessScope(state_mapping=list(zip(owner.variables, tree, strict=True))):
        return pathattr_keras.call(owner, args, kwargs)


def _in_training(where: str, part: Any, fix: str) -> ModelError:
    named = f"its part {where!r}" if where else "it"
    kind = "" if part is None else f" ({type(part).__name__})"
    return ModelError(
        f"the model is in training mode ({named}{kind}): dropout and batch statistics would make attributions random "
        f"or dependent on batch-mates. Call {fix} first"
    )


_KINDS: dict[Kind, Callable[[Any], Functional]] = {
    "pair": _pair,
    "linen": _linen,
    "nnx": _nnx,
    "equinox": _equinox,
    "keras": _keras,
}
