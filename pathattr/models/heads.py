"""Which array is meant where a model returns several."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pathattr.errors import InvalidInput, ModelError


def chosen(outputs: Any, is_array: Callable[[Any], bool], head: str | int | None = None) -> Any:
    """Return the array that is meant among a model's outputs.

    Without a `head`: the outputs themselves, `.logits`, the only one, or of a dict `logits`, `output` or `out`; raises
    ModelError where that leaves a choice. A head is a key or attribute by its name, or a place in a tuple by its
    number, which may be text where nothing is called so; raises InvalidInput where there is none such. Errors list what
    is there.
    """
    if head is not None:
        return _headed(outputs, is_array, head)
    if is_array(outputs):
        return outputs
    logits = getattr(outputs, "logits", None)
    if logits is not None and is_array(logits):
        return logits
    if isinstance(outputs, Mapping):
        for key in ("logits", "output", "out"):
            if key in outputs and is_array(outputs[key]):
                return outputs[key]
    held = _held(outputs)
    if len(held) == 1:
        return chosen(next(iter(held.values())), is_array)
    if held:
        name = next((key for key, value in held.items() if is_array(value)), next(iter(held)))
        raise ModelError(
            f"the model returns a {_kind(outputs)} with {_listed(held, is_array)}, and which one to explain is not "
            f"clear: say head={name!r} or another of them, or pass output= a function of all of them"
        )
    raise ModelError(
        f"the model returned {type(outputs).__name__}, not an array: pass a function that returns the scores, "
        "(batch, classes) or (batch,)"
    )


def _headed(outputs: Any, is_array: Callable[[Any], bool], head: str | int) -> Any:
    held = {} if is_array(outputs) else _held(outputs)
    found = held.get(head)
    if found is None and isinstance(head, str) and not is_array(outputs):
        found = getattr(outputs, head, None)
    if found is None and isinstance(head, str) and re.fullmatch(r"-?[0-9]+", head):
        head = int(head)
        found = held.get(head)
    if found is None and isinstance(head, int) and head < 0 and isinstance(outputs, tuple | list):
        found = dict(enumerate(outputs)).get(len(outputs) + head)
    if found is None:
        there = _listed(held, is_array) if held else f"one array of shape {tuple(getattr(outputs, 'shape', ()))}"
        advice = "say head= as it stands there" if held else "leave the head out (head=None)"
        raise InvalidInput(f"the model's outputs have no head {head!r}: they are {there}; {advice}")
    return chosen(found, is_array)


def _held(outputs: Any) -> dict[Any, Any]:
    """Return what a container of outputs holds, by key or place, without what is None or empty."""
    if isinstance(outputs, Mapping):
        held = dict(outputs)
    elif isinstance(outputs, tuple | list):
        held = dict(enumerate(outputs))
    else:
        held = {}
    return {key: value for key, value in held.items() if value is not None and not _empty(value)}


def _empty(value: Any) -> bool:
    return isinstance(value, Mapping | tuple | list) and not value


def _kind(outputs: Any) -> str:
    return "dict" if isinstance(outputs, Mapping) else "list" if isinstance(outputs, list) else "tuple"


def _listed(held: Mapping[Any, Any], is_array: Callable[[Any], bool]) -> str:
    def told(value: Any) -> str:
        return f"shape {tuple(value.shape)}" if is_array(value) else type(value).__name__

    return ", ".join(f"{key!r} ({told(value)})" for key, value in held.items())
