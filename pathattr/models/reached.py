"""What a call of a model reaches: the modules that functions and objects hold, whatever the framework."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from dis import get_instructions
from functools import lru_cache, partial
from inspect import unwrap
from types import CodeType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any, NamedTuple, TypeAlias

_LIBRARIES = sys.stdlib_module_names | {
    "numpy", "torch", "keras", "tensorflow", "jax", "jaxlib", "flax", "equinox",
}  # fmt: skip
"""Whose globals and objects hold no module of the user's."""


_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR")


class _Names(NamedTuple):
    """What some code names: globals, and attributes of whatever it handles."""

    globals: frozenset[str] = frozenset()
    attributes: frozenset[str] = frozenset()


_Held: TypeAlias = tuple[str, Any, frozenset[str]]


@dataclass(frozen=True)
class Kind:
    """What a framework calls a module.

    `named(name, module)` yields a module and the modules in it, each by its own name, `hooks(name, module)` what
    runs when it is called beside its own methods, of which `entry` is the one that is called.
    Nothing is looked for in `arrays`.
    """

    module: type | tuple[type, ...]
    named: Callable[[str, Any], Iterator[tuple[str, Any]]]
    entry: str = "__call__"
    hooks: Callable[[str, Any], Iterator[tuple[str, Any]]] = lambda name, module: iter(())
    arrays: type | tuple[type, ...] = ()


def modules(model: Any, kind: Kind) -> Iterator[tuple[str, Any]]:
    """Yield the modules that a call of `model` may run, each by the name it is reached by; parts of those are not.

    They are looked for in closures, defaults, partials, bound methods, wrapped functions, containers and hooks; among
    globals and attributes, in those that the code names. Nothing of the user's is run.
    """
    # Kept, lest an object that is gone leaves its number to another. Other code may name other attributes.
    seen: dict[tuple[int, frozenset[str]], Any] = {}
    told: set[int] = set()
    classes: dict[Any, Any] = {}
    waiting: list[_Held] = [("model", model, frozenset())]
    while waiting:
        name, thing, named = waiting.pop()
        key = (id(thing), named)
        if key in seen:
            continue
        seen[key] = thing
        if isinstance(thing, kind.module):
            if id(thing) not in told:
                yield name, thing
            parts = list(kind.named(name, thing))
            told |= {id(part) for _, part in parts}
            for place, part in reversed(parts):
                waiting += [(key, hook, frozenset()) for key, hook in kind.hooks(place, part)]
                waiting += reversed(list(_of_object(place, part, named | {kind.entry}, classes)))
        elif not isinstance(thing, kind.arrays):
            waiting += reversed(list(_held(name, thing, named, classes)))


def _held(name: str, thing: Any, named: frozenset[str], classes: dict[Any, Any]) -> Iterator[_Held]:
    """Yield what a thing holds that may run where code naming these attributes handles it."""
    if isinstance(thing, FunctionType):
        yield from _of_function(name, thing)
    elif isinstance(thing, MethodType):
        yield name, thing.__func__, named
        yield name, thing.__self__, _names(thing.__func__).attributes
    elif isinstance(thing, partial):
        yield name, thing.func, named
        yield f"{name}.args", thing.args, _names(thing.func).attributes
        yield f"{name}.keywords", thing.keywords, _names(thing.func).attributes
    elif isinstance(thing, Mapping):
        yield from ((f"{name}[{key!r}]", value, named) for key, value in list(thing.items()))
    elif isinstance(thing, list | tuple | set | frozenset):
        yield from ((f"{name}[{i}]", value, named) for i, value in enumerate(list(thing)))
    elif isinstance(thing, ModuleType | type):
        if not _library(thing.__name__ if isinstance(thing, ModuleType) else thing.__module__):
            yield from ((f"{name}.{key}", vars(thing)[key], named) for key in sorted(named & vars(thing).keys()))
    else:
        yield from _of_object(name, thing, named | {"__call__", "__wrapped__"}, classes)


def _of_function(name: str, function: FunctionType) -> Iterator[_Held]:
    code, (from_globals, attributes) = function.__code__, _names(function)
    if "__wrapped__" in vars(function):
        yield name, vars(function)["__wrapped__"], attributes
    for variable, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield variable, cell.cell_contents, attributes
        except ValueError:  # not filled yet
            continue
    defaults = function.__defaults__ or ()
    last = code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount]
    yield from ((key, value, attributes) for key, value in zip(last, defaults, strict=True))
    yield from ((key, value, attributes) for key, value in (function.__kwdefaults__ or {}).items())
    there = function.__globals__
    if not _library(there.get("__name__")):
        yield from ((key, there[key], attributes) for key in sorted(from_globals & there.keys()))


def _of_object(name: str, thing: Any, named: frozenset[str], classes: dict[Any, Any]) -> Iterator[_Held]:
    """Yield the attributes of these names, and those of the names that its methods use."""
    kind, own = type(thing), getattr(thing, "__dict__", {})
    if (kind, named) not in classes:
        classes[kind, named] = _of_class(kind, named)
    shared, reached = classes[kind, named]
    yield from ((f"{name}.{key}", value, reached) for key, value in shared)
    yield from ((f"{name}.{key}", own[key], reached) for key in sorted(reached & own.keys()))
    slots = [key for key, value in shared if isinstance(value, MemberDescriptorType)]
    yield from ((f"{name}.{key}", getattr(thing, key, None), reached) for key in slots)


def _of_class(kind: type, named: frozenset[str]) -> tuple[list[tuple[str, Any]], frozenset[str]]:
    """Return what a class and its bases have under these names and under those that methods among them use."""
    found: list[tuple[str, Any]] = []
    reached: set[str] = set()
    waiting = set(named)
    while waiting:
        key = waiting.pop()
        reached.add(key)
        for base in kind.__mro__:
            if key in vars(base) and not _library(base.__module__):
                value = vars(base)[key]
                value = value.fget if isinstance(value, property) else value
                value = value.__func__ if isinstance(value, staticmethod | classmethod) else value
                found.append((key, value))
                waiting |= _names(unwrap(value) if isinstance(value, FunctionType) else value).attributes - reached
    return found, frozenset(reached)


def _names(function: Any) -> _Names:
    """Return what a function's code names, and the code of functions made inside it."""
    code = getattr(function, "__code__", None)
    return _of_code(code) if isinstance(code, CodeType) else _Names()


@lru_cache(maxsize=1024)
def _of_code(code: CodeType) -> _Names:
    inner = [_of_code(const) for const in code.co_consts if isinstance(const, CodeType)]
    used = [(i.opname, str(i.argval)) for i in get_instructions(code)]
    return _Names(
        frozenset(name for op, name in used if op == "LOAD_GLOBAL").union(*(names.globals for names in inner)),
        frozenset(name for op, name in used if op in _ATTRIBUTES).union(*(names.attributes for names in inner)),
    )


def _library(module: str | None) -> bool:
    return (module or "").partition(".")[0] in _LIBRARIES
