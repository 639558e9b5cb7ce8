"""Model specs: from a short text such as "scenes" or "torchvision:resnet50" to a model and its pictures."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from pathattr import scenes
from pathattr.errors import InvalidInput, MissingExtra, PathattrError
from pathattr.models.blame import gist, users_line
from pathattr.models.registry import is_model, load_backend
from pathattr.pictures.image_model import ImageModel


def load_model(spec: str, *, backend: str | None = None) -> ImageModel:
    """Return the model that a spec names.

    `scenes` is the shipped classifier, built by `backend` (default: the first framework installed); `NAME:REST` goes
    to the loader of that name (entry-point group `pathattr.loaders`); `module:name` or `path/to/file.py:name` is a
    model or an ImageModel, or a callable that returns one. Importing and calling runs the code there, whatever it does.
    Raises InvalidInput or MissingExtra, each a sentence.
    """
    if spec == "scenes":
        return scenes_model(backend)
    name, colon, rest = spec.partition(":")
    known = loaders()
    if name in known:
        if not rest:
            raise InvalidInput(f"model {spec!r} names no model: write {name}:NAME")
        return _called(spec, _loaded(known[name]), rest)
    if spec.endswith(".py"):
        raise InvalidInput(f"model {spec!r} names a file alone: write {spec}:NAME, a model there or what returns one")
    if not colon:
        close = get_close_matches(name, ["scenes", *known], n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise InvalidInput(f"unknown model {spec!r}: expected {_forms(known)}.{hint}")
    target = _target(spec, known)
    return _as_image_model(target) if _is_model(target) else _called(spec, target)


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
    return ImageModel(model, scenes.SIZE, scenes.PREPROCESSING, scenes.CLASSES)


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


def _target(spec: str, known: dict[str, EntryPoint]) -> Any:
    """Return what a spec `module:name` or `file.py:name` points to: a callable or a model."""
    where, _, name = spec.rpartition(":")
    execute = partial(_run_file, spec, Path(where).expanduser()) if where.endswith(".py") else partial(_import, where)
    if not where.endswith(".py") and not _is_importable(where):
        raise InvalidInput(f"model {spec!r}: no module {where!r} here or installed; expected {_forms(known)}")
    try:
        module = execute()
    except PathattrError:
        raise
    except SystemExit as error:
        raise InvalidInput(
            f"model {spec!r}: importing {where} ended the program{_at(error)}: put what only a script does below "
            "if __name__ == '__main__'"
        ) from error
    except Exception as error:
        raise InvalidInput(f"model {spec!r}: importing {where} failed: {gist(error)}{_at(error)}") from error
    target = getattr(module, name, None)
    if not (callable(target) or _is_model(target)):
        there = sorted(n for n, value in vars(module).items() if callable(value) and not n.startswith("_"))
        raise InvalidInput(f"model {spec!r}: {where} has no callable {name!r}; it has {', '.join(there) or 'none'}")
    return target


def _run_file(spec: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise InvalidInput(f"model {spec!r}: there is no file {path}")
    _importable(path.parent.resolve())
    found = importlib.util.spec_from_file_location(path.stem, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules.setdefault(path.stem, module)  # as an import would: dataclasses and pickling look there
    found.loader.exec_module(module)
    return module


def _import(name: str) -> ModuleType:
    return importlib.import_module(name)


def _is_importable(name: str) -> bool:
    _importable(Path.cwd())
    try:
        return importlib.util.find_spec(name.partition(".")[0]) is not None
    except (ValueError, ImportError):  # an empty name, or a module without a place
        return False


def _importable(folder: Path) -> None:
    """Let what lies beside a script be imported, as Python does for the scripts that it runs."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _is_model(target: Any) -> bool:
    """Tell whether a target is the model itself; of plain functions and classes nobody knows: they are called."""
    if isinstance(target, ImageModel):
        return True
    return not inspect.isroutine(target) and not isinstance(target, type | partial) and is_model(target)


def _called(spec: str, function: Callable[..., Any], *args: str) -> ImageModel:
    try:
        model = function(*args)
    except PathattrError:
        raise
    except SystemExit as error:
        raise InvalidInput(f"model {spec!r}: it ended the program{_at(error)}: it must return a model") from error
    except Exception as error:  # whatever a user's function or a hub's download raises
        raise InvalidInput(f"model {spec!r} could not be made: {gist(error)}{_at(error)}") from error
    if model is None:
        raise InvalidInput(f"model {spec!r} returned nothing: end it with return model")
    return _as_image_model(model)


def _as_image_model(model: Any) -> ImageModel:
    return model if isinstance(model, ImageModel) else ImageModel(model)


def _at(error: BaseException) -> str:
    line = users_line(error)
    return "" if line is None else f" ({line})"


def _forms(known: dict[str, EntryPoint]) -> str:
    return ", ".join(["scenes", *(f"{name}:NAME" for name in known), "module:callable", "file.py:callable"])
