"""Which backend takes a model and its inputs, found by entry point; no framework is imported to find out."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from importlib.metadata import entry_points, metadata
from inspect import Parameter, signature
from itertools import chain
from typing import Any

from pathattr.errors import InvalidInput, MissingExtra, PathattrError
from pathattr.models.backend import NO_OPTIONS, Backend, Call, type_name
from pathattr.models.blame import gist
from pathattr.models.numpy_backend import NumpyBackend


def backend_for(model: Any, inputs: Any, forced: str | type[Backend] | None = None) -> type[Backend]:
    """Return the backend that recognises the model, or else the inputs; no framework is imported for it.

    `forced` names one, or is one. Raises MissingExtra where the framework's adapter lacks something, InvalidInput
    where nobody knows the model or where model and inputs belong to two frameworks.
    """
    if isinstance(model, type):
        raise InvalidInput(f"the model is the class {model.__name__}: pass an object of it, {model.__name__}(...)")
    of_model: type[Backend] | None = None
    if isinstance(forced, str):
        of_model = load_backend(forced)
    elif isinstance(forced, type) and issubclass(forced, Backend):
        of_model = forced
    elif forced is not None:
        raise InvalidInput(
            f"backend must be a name ({', '.join(sorted(backends()))}) or a Backend class; got {forced!r}"
        )
    if of_model is None:
        # A pair of callables may also be a function with its parameters: whoever knows those is asked first.
        known = sorted(_candidates(), key=lambda b: b is NumpyBackend) if isinstance(model, tuple) else _candidates()
        of_model = next((backend for backend in known if backend.recognises_model(model)), None)
    own = [] if of_model is None else [of_model]
    of_array = next((backend for backend in chain(_candidates(), own) if backend.recognises_array(inputs)), None)
    if of_array is None:
        raise InvalidInput(
            f"inputs of type {type_name(inputs)} belong to no backend ({', '.join(sorted(backends()))}): "
            f"{_as_array(inputs)}, batch axis first"
        )
    if of_model is not None and of_array not in (of_model, NumpyBackend):
        raise InvalidInput(
            f"a {of_model.name} model with inputs of type {type_name(inputs)}: pass inputs of {of_model.name} "
            "or NumPy arrays"
        )
    if of_model is None and not callable(model):
        raise InvalidInput(f"the model is a {type_name(model)}: pass a module or a callable of your framework")
    return of_model or of_array


def _as_array(inputs: Any) -> str:
    """Return how to pass inputs that are no array of a framework."""
    if hasattr(inputs, "to_numpy"):  # frames and series of pandas, polars and others
        return "pass inputs.to_numpy().astype(float)"
    if isinstance(inputs, list | tuple):
        return "pass np.asarray(inputs, dtype=float), or an array of your framework"
    return "pass an array of your framework"


def _check_name(model: Any, name: str) -> None:
    """Raise InvalidInput where a model tells its arguments, and none has the name that the inputs are passed by."""
    function = next((part for part in (getattr(model, n, None) for n in ("forward", "call")) if part), model)
    try:
        there = signature(function).parameters.values()
    except (TypeError, ValueError):  # compiled: it does not tell
        return
    if any(p.kind is Parameter.VAR_KEYWORD for p in there):
        return
    names = [p.name for p in there if p.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)]
    if name not in names:
        raise InvalidInput(
            f"the model takes no argument {name!r} (input_name); those that it takes by name are "
            f"{', '.join(names) or 'none: leave input_name out'}"
        )


def is_model(thing: Any) -> bool:
    """Tell whether a thing is a model of an imported framework; of plain functions nobody can say."""
    return any(backend.recognises_model(thing) for backend in _candidates())


def wrapped(
    model: Any,
    inputs: Any,
    call: Call,
    forced: str | type[Backend] | None = None,
    options: Mapping[str, Any] = NO_OPTIONS,
) -> Backend:
    """Return the backend of a model and its inputs, wrapped around the model.

    Raises InvalidInput for options that the backend does not have, and for an argument that the model does not have;
    the error lists those that it has.
    """
    backend = backend_for(model, inputs, forced)
    if call.name is not None and backend is not NumpyBackend:
        _check_name(model, call.name)
    unknown = [name for name in options if name not in backend.options]
    if unknown:
        there = ", ".join(sorted(backend.options)) or "none"
        raise InvalidInput(f"the {backend.name} backend has no option {', '.join(unknown)}; it has {there}")
    made = backend(model, inputs, call, {**backend.options, **options})
    made.call = call
    return made


def backends() -> dict[str, Any]:
    """Return the entry points of all backends by framework, installed or not; "numpy" is built in."""
    return {"numpy": None} | _scanned(entry_points, tuple(sys.path))


@lru_cache(maxsize=8)
def _scanned(scan: Callable[..., Any], path: tuple[str, ...]) -> dict[str, Any]:
    """Return the entry points that a scan of the path finds; it takes 7 ms, too long for every explanation."""
    return {point.name: point for point in scan(group="pathattr.backends")}


def _candidates() -> Iterator[type[Backend]]:
    """Yield NumPy's backend and those whose framework has been imported: no other can own a model or an array.

    An adapter that cannot be loaded is left out, with a warning: it must not keep others from working.
    """
    yield NumpyBackend
    for name in backends():
        if name != "numpy" and sys.modules.get(name) is not None:
            try:
                yield load_backend(name)
            except PathattrError as error:
                warnings.warn(f"the {name} backend is left out: {error}", stacklevel=2)


def load_backend(name: str) -> type[Backend]:
    """Return one backend by the name of its framework, importing the framework.

    Raises InvalidInput for an unknown name and MissingExtra where the framework is not installed, or fails
    when it is imported.
    """
    if name == "numpy":
        return NumpyBackend
    known = backends()
    if name not in known:
        raise InvalidInput(f"unknown backend {name!r}; the names are {', '.join(sorted(known))}")
    try:
        loaded = known[name].load()
    except ImportError as error:
        ours = name in (metadata("pathattr").get_all("Provides-Extra") or [])
        install = f"'pathattr[{name}]'" if ours else name
        raise MissingExtra(f"the {name} backend cannot be loaded ({error}): pip install {install}") from error
    except Exception as error:  # whatever a framework raises that does not fit this machine, or what it was built for
        raise MissingExtra(
            f"the {name} backend cannot be loaded ({gist(error)}): {name} is installed and fails when it is imported; "
            f"see what python -c 'import {name}' says"
        ) from error
    if not (isinstance(loaded, type) and issubclass(loaded, Backend)):
        raise InvalidInput(f"the entry point {name!r} of pathattr.backends gives {loaded!r}, not a Backend class")
    return loaded
