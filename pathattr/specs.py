"""Model specs: from a short text such as "scenes" or "torchvision:resnet50" to a model and its pictures."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from pathattr import scenes
from pathattr.errors import InvalidInput, MissingExtra, PathattrError
from pathattr.images import ImageModel
from pathattr.registry import load_backend


def load_model(spec: str, *, backend: str | None = None) -> ImageModel:
    """Return the model that a spec names.

    `scenes` is the shipped classifier, built by `backend` (default: the first framework installed); `NAME:REST` goes
    to the loader of that name (entry-point group `pathattr.loaders`); `module:callable` or `path/to/file.py:callable`
    is called and returns a model or an ImageModel. Raises InvalidInput or MissingExtra, each a sentence.
    """
    if spec == "scenes":
        return scenes_model(backend)
    name, colon, rest = spec.partition(":")
    known = loaders()
    if name in known:
        if not rest:
            raise InvalidInput(f"model {spec!r} names no model: write {name}:NAME")
        return _called(spec, _loaded(known[name]), rest)
    if not colon:
        close = get_close_matches(name, ["scenes", *known], n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise InvalidInput(f"unknown model {spec!r}: expected {_forms(known)}.{hint}")
    return _called(spec, _callable(spec, known))


def scenes_model(backend: str | None = None) -> ImageModel:
    """Return the shipped classifier of `pathattr.scenes`, built by a backend; it takes 96×96 pictures.

    Without a name it is the first of torch, tensorflow and jax that is installed.
    """
    if backend is None:
        installed = [name for name in ("torch", "tensorflow", "jax") if importlib.util.find_spec(name)]
        if not installed:
            raise MissingExtra(
                "the scenes classifier needs a framework: pip install 'pathattr[torch]', or tensorflow, or jax"
            )
        backend = installed[0]
    model = load_backend(backend).build(scenes.LAYERS, scenes.load_weights())
    return ImageModel(model, scenes.SIZE, scenes.PREPROCESSING, scenes.CLASSES, channel_axis="auto")


def loaders() -> dict[str, EntryPoint]:
    """Return the entry points of all model loaders by name; nothing is imported."""
    return {point.name: point for point in entry_points(group="pathattr.loaders")}


def _loaded(point: EntryPoint) -> Callable[[str], Any]:
    try:
        return point.load()
    except ImportError as error:
        raise MissingExtra(
            f"the loader {point.name!r} cannot be imported: {error}. Its package needs its framework"
        ) from error


def _callable(spec: str, known: dict[str, EntryPoint]) -> Callable[[], Any]:
    """Return what a spec `module:callable` or `file.py:callable` points to."""
    where, _, name = spec.rpartition(":")
    if where.endswith(".py"):
        path = Path(where).expanduser()
        if not path.is_file():
            raise InvalidInput(f"model {spec!r}: there is no file {path}")
        found = importlib.util.spec_from_file_location(path.stem, path)
        assert found is not None
        assert found.loader is not None
        module = importlib.util.module_from_spec(found)
        sys.modules.setdefault(path.stem, module)  # as an import would: dataclasses and pickling look there
        execute: Callable[[], Any] = lambda: found.loader.exec_module(module)  # type: ignore[union-attr]  # noqa: E731
    else:
        if str(Path.cwd()) not in sys.path:  # a script's own folder is importable; so is a command's
            sys.path.insert(0, str(Path.cwd()))
        if importlib.util.find_spec(where.partition(".")[0]) is None:
            raise InvalidInput(f"model {spec!r}: no module {where!r} here or installed; expected {_forms(known)}")
        execute = lambda: importlib.import_module(where)  # noqa: E731
    try:
        module = execute() or module
    except Exception as error:
        raise InvalidInput(f"model {spec!r}: importing {where} failed: {_brief(error)}") from error
    target = getattr(module, name, None)
    if not callable(target):
        there = sorted(n for n, value in vars(module).items() if callable(value) and not n.startswith("_"))
        raise InvalidInput(f"model {spec!r}: {where} has no callable {name!r}; it has {', '.join(there) or 'none'}")
    return target


def _called(spec: str, function: Callable[..., Any], *args: str) -> ImageModel:
    try:
        model = function(*args)
    except PathattrError:
        raise
    except Exception as error:  # whatever a user's function or a hub's download raises
        raise InvalidInput(f"model {spec!r} could not be made: {_brief(error)}") from error
    return model if isinstance(model, ImageModel) else ImageModel(model, channel_axis="auto")


def _forms(known: dict[str, EntryPoint]) -> str:
    return ", ".join(["scenes", *(f"{name}:NAME" for name in known), "module:callable", "file.py:callable"])


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
