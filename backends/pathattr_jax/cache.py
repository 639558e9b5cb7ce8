"""Compiled functions, kept as long as their models live, and what a function of the user's depends on unseen."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import jax
import numpy as np

from pathattr_jax.models import arrays_of

# An output callable written anew for every run must not fill the memory.
LIMIT = 16

_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_LIBRARIES = frozenset({"jax", "jaxlib", "numpy", "scipy", "flax", "equinox", "keras", "haiku", "optax"})


@dataclass(frozen=True)
class Gradient:
    """The gradient of a score; `owner` returns the output callable that it was compiled for, or what it is bound to."""

    owner: Callable[[], Any]
    reached: list[Any]
    gradient: Callable[..., Any]


@dataclass
class Compiled:
    """The functions of one model in one manner of calling it; `reached` is what they were compiled with.

    `forward` gives the array that is meant, `whole`, which is not compiled, all that the model returns.
    """

    forward: Callable[..., Any]
    whole: Callable[..., Any]
    reached: list[Any]
    gradients: dict[Hashable, Gradient] = field(default_factory=dict)


_OF_MODELS: dict[int, tuple[weakref.ref[Any], dict[Hashable, Compiled]]] = {}


def kept(owner: Any) -> dict[Hashable, Compiled]:
    """Return what is kept for an object, forgotten when it dies; nothing where it allows no weak reference."""
    number = id(owner)
    if number in _OF_MODELS and _OF_MODELS[number][0]() is owner:
        return _OF_MODELS[number][1]
    try:
        # `pop` takes the dead reference, which it is called with, for its default.
        reference = weakref.ref(owner, partial(_OF_MODELS.pop, number))
    except TypeError:
        return {}
    _OF_MODELS[number] = reference, {}
    return _OF_MODELS[number][1]


def keep(table: dict[Hashable, Any], key: Hashable, value: Any) -> None:
    """Put a value into a table, in place of the oldest where it is full."""
    table.pop(key, None)
    while len(table) >= LIMIT:
        table.pop(next(iter(table)))
    table[key] = value


def weakly(thing: Any) -> Callable[[], Any]:
    """Return a function that returns `thing` while it lives, without keeping it alive where that can be."""
    try:
        return weakref.WeakMethod(thing) if isinstance(thing, MethodType) else weakref.ref(thing)
    except TypeError:
        return lambda: thing


def reached(thing: Any) -> list[Any]:
    """Return the arrays, numbers and code that a function or object reaches through closures, globals and attributes.

    Compilation bakes them in: where they have been replaced since, it has to be done again. What changes in place
    (the numbers in a NumPy array or a list) is not seen. Holds no reference to the function itself.
    """
    found: list[Any] = []
    seen: dict[int, Any] = {}  # holds what was visited: no number is used twice
    _visit(thing, found, seen, depth=5)
    return found


def unchanged(before: list[Any], now: list[Any]) -> bool:
    """Tell whether two lists of `reached` hold the same arrays and code, and equal numbers."""

    def same(a: Any, b: Any) -> bool:
        return a is b or (type(a) is type(b) and isinstance(a, _PLAIN) and a == b)

    return len(before) == len(now) and all(map(same, before, now))


def _visit(value: Any, found: list[Any], seen: dict[int, Any], depth: int) -> None:
    if isinstance(value, jax.core.Tracer):  # left somewhere by the function itself
        return
    if isinstance(value, (*_PLAIN, jax.Array, np.ndarray, np.generic, CodeType)):
        found.append(value)
        return
    if id(value) in seen or isinstance(value, ModuleType | type | BuiltinFunctionType):
        return
    seen[id(value)] = value
    for part in _parts(value, depth):
        # Attributes are followed a few objects deep: a trainer must not drag in its data.
        _visit(part, found, seen, depth - (not isinstance(value, FunctionType)))


def _parts(value: Any, depth: int) -> Iterator[Any]:
    """Yield what a value refers to and a call of it may use."""
    if isinstance(value, FunctionType):
        yield from _of_function(value)
    elif isinstance(value, MethodType):
        yield from (value.__func__, value.__self__)
    elif isinstance(value, partial):
        yield from (value.func, *value.args, *value.keywords.values())
    elif hasattr(value, "__wrapped__"):  # jax.jit and functools.wraps
        yield value.__wrapped__
    elif isinstance(value, Mapping | list | tuple | set | frozenset):
        # Numbers in containers are left out: they hold the user's own counts as often as settings.
        held = value.values() if isinstance(value, Mapping) else value
        yield from (part for part in held if not isinstance(part, _PLAIN))
    elif not _from_library(value):
        if depth > 0 and hasattr(value, "__dict__"):
            yield from vars(value).values()
        if callable(value):
            yield type(value).__call__
    else:
        yield from arrays_of(value)


def _of_function(function: FunctionType) -> Iterator[Any]:
    yield function.__code__
    if (function.__module__ or "").partition(".")[0] in _LIBRARIES:
        return
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            continue
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    for name in _names(function.__code__):
        if name in function.__globals__:
            yield function.__globals__[name]


def _names(code: CodeType) -> Iterator[str]:
    """Yield the global names that a function uses, and attributes of the same names; functions inside it included."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _from_library(value: Any) -> bool:
    return any(base.__module__.partition(".")[0] in _LIBRARIES for base in type(value).__mro__)
