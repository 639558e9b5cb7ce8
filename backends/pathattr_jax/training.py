"""Modules of Flax and Equinox in training mode, wherever a call of the model reaches them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from pathattr.errors import ModelError
from pathattr.models.reached import Kind, modules


def check(model: Any) -> None:
    """Raise ModelError for a module in training mode that a call of the model reaches; it names part and fix."""
    libraries: tuple[Any, ...] = (sys.modules.get("flax.nnx"), sys.modules.get("equinox"))
    found = tuple(library.Module for library in libraries if hasattr(library, "Module"))
    for name, module in modules(model, Kind(found, _named, hooks=_functions, arrays=jax.Array)) if found else ():
        for place, part in _named(name, module):
            if _trains(part):
                raise _in_training(name, place, part, "eval" if _is_nnx(module) else "inference")


def parts(model: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the paths and modules in a module of nnx."""
    library: Any = sys.modules["flax.nnx"]
    # The function is younger than the supported versions; before it, every object was to be walked.
    yield from getattr(library, "iter_modules", library.iter_graph)(model)


def _named(name: str, module: Any) -> Iterator[tuple[str, Any]]:
    if _is_nnx(module):
        yield from ((".".join([name, *map(str, path)]), part) for path, part in parts(module))
        return
    yield name, module
    for key, value in vars(module).items():
        yield from _among(f"{name}.{key}", value)


def _among(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the modules of Equinox that a field holds."""
    if isinstance(value, sys.modules["equinox"].Module):
        yield from _named(name, value)
    elif isinstance(value, list | tuple):
        for place, one in enumerate(value):
            yield from _among(f"{name}[{place}]", one)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _among(f"{name}[{key!r}]", one)


def _functions(name: str, module: Any) -> Iterator[tuple[str, Any]]:
    """Yield the functions that a module of Equinox holds, and what is inside of its filter_jit and the like."""
    if _is_nnx(module):
        return
    for key, value in vars(module).items():
        if callable(value) and not isinstance(value, type):
            yield f"{name}.{key}", value
    if type(module).__module__.startswith("equinox."):  # Equinox's own, and no code of the user's
        yield f"{name}.__wrapped__", getattr(module, "__wrapped__", None)


def _trains(part: Any) -> bool:
    # A dropout of probability 0, as in every attention layer, does nothing in either mode.
    if _is_nnx(part):
        rate = getattr(part, "rate", getattr(part, "dropout_rate", 1))
        training = getattr(part, "deterministic", None) is False and rate != 0
        return training or getattr(part, "use_running_average", None) is False
    held = getattr(part, "__dict__", {})
    return held.get("inference") is False and held.get("p") != 0


def _is_nnx(module: Any) -> bool:
    library = sys.modules.get("flax.nnx")
    return library is not None and isinstance(module, library.Module)


def _in_training(name: str, place: str, part: Any, mode: str) -> ModelError:
    path = place.removeprefix("model").removeprefix(".")
    named = f"its part {path!r}" if path else "it"
    fix = f"Call {name}.eval() first" if mode == "eval" else f"Use equinox.nn.inference_mode({name}) in its place"
    return ModelError(
        f"the model is in training mode ({named}, {type(part).__name__}): dropout and batch statistics would make "
        f"attributions random or dependent on batch-mates. {fix}"
    )
