"""The modules that a call of a model reaches: its own, and those that functions and objects hold."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dis import get_instructions
from functools import lru_cache, partial
from inspect import unwrap
from types import CodeType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any, NamedTuple, TypeAlias

from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn.parameter import is_lazy

import pathattr_keras
from pathattr.errors import ModelError

_LIBRARIES = sys.stdlib_module_names | {"torch", "numpy", "keras"}
"""Whose globals and objects hold no module of the user's."""


_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR")


class _Names(NamedTuple):
    """What some code names: globals, and attributes of whatever it handles."""

    globals: frozenset[str] = frozenset()
    attributes: frozenset[str] = frozenset()


_Held: TypeAlias = tuple[str, Any, frozenset[str]]


def modules(model: Any) -> Iterator[tuple[str, nn.Module]]:
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
        if isinstance(thing, nn.Module):
            if id(thing) not in told:
                yield name, thing
            told |= {id(part) for part in thing.modules()}
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
    elif isinstance(thing, nn.Module):
        for part, module in thing.named_modules(prefix=name):
            yield from _of_object(part, module, named | {"forward"}, classes)
            hooks = (*module._forward_pre_hooks.values(), *module._forward_hooks.values())
            yield from ((part, hook, frozenset()) for hook in hooks)
    elif not isinstance(thing, Tensor):
        yield from _of_object(name, thing, named | {"__call__", "__wrapped__"}, classes)


def _of_function(name: str, function: FunctionType) -> Iterator[_Held]:
    code, (from_globals, attributes) = function.__code__, _names(function)
    for variable, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield variable, cell.cell_contents, attributes
        except ValueError:  # not filled yet
            continue
    defaults = function.__defaults__ or ()
    last = code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount]
    yield from ((key, value, attributes) for key, value in zip(last, defaults, strict=True))
    yield from ((key, value, attributes) for key, value in (function.__kwdefaults__ or {}).items())
    if "__wrapped__" in vars(function):
        yield name, vars(function)["__wrapped__"], attributes
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


def check(name: str, model: nn.Module) -> None:
    """Raise ModelError for a module in training mode in any part, or made where gradients are forbidden."""
    if any(is_lazy(tensor) for tensor in (*model.parameters(), *model.buffers())):
        raise ModelError(
            "the model has lazy layers, whose weights have no shape yet: call it once on an example and load its "
            "weights, then explain it"
        )
    # Keras tells its layers with each call whether they train, and an exported program is what it was exported as,
    # whatever flags say.
    fixed = [part for part in model.modules() if pathattr_keras.is_keras(part) or _exported(part)]
    if any(_trains(part) for part in fixed):
        raise ModelError(
            "the program was exported from a model in training mode: dropout and batch statistics would make "
            "attributions random or dependent on batch-mates. Export model.eval()"
        )
    told = {id(part) for whole in fixed for part in whole.modules()}
    for path, module in model.named_modules(prefix=name):
        if getattr(module, "training", False) and id(module) not in told:
            part = path.removeprefix("model").removeprefix(".")
            where = f"its part {part!r} ({type(module).__name__})" if part else "it"
            raise ModelError(
                f"the model is in training mode ({where}): dropout and batch statistics would make attributions random "
                f"or dependent on batch-mates. Call {name}.eval() first"
            )
    if any(tensor.is_inference() for tensor in (*model.parameters(), *model.buffers())):
        raise ModelError(
            "the model was made inside torch.inference_mode(), where tensors cannot take part in gradients: build or "
            "load it outside (explaining it inside is fine)"
        )


def channel_axis(model: Any, shape: tuple[int, ...]) -> int | None:
    """Return where a batch of this shape has its channels: 1, or None where the model's first layer does not say so.

    Pictures (4-D) are channels first by convention, unless that layer takes another axis; volumes (5-D) have a
    convolution in three dimensions there, and videos may be arranged in several ways.
    """
    first = next(
        (
            part
            for _, module in modules(model)
            for part in module.modules()
            if isinstance(part, _CONVOLUTIONS | nn.Linear)
        ),
        None,
    )
    if len(shape) == 5:
        return 1 if isinstance(first, nn.Conv3d) and first.in_channels == shape[1] else None
    if len(shape) == 4 and isinstance(first, nn.Conv2d | nn.Linear):
        taken = first.in_channels if isinstance(first, nn.Conv2d) else first.in_features
        return None if shape[1] != taken == shape[3] else 1
    return 1


_CONVOLUTIONS = nn.Conv1d | nn.Conv2d | nn.Conv3d


def _exported(module: nn.Module) -> bool:
    return isinstance(module, GraphModule) and "eval" in vars(module)


def _trains(module: nn.Module) -> bool:
    """Tell whether a graph has an operation that was recorded in training mode."""
    for node in module.graph.nodes if isinstance(module, GraphModule) else ():
        schema = getattr(node.target, "_schema", None)
        names = [argument.name for argument in schema.arguments] if schema else []
        given = dict(zip(names, node.args, strict=False)) | node.kwargs
        if any(given.get(name) is True for name in ("train", "training", "use_input_stats")):
            return True
    return False
