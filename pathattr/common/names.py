"""Names become objects here, once: everything behind this edge sees objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from pathattr.common.texts import shown
from pathattr.errors import InvalidInput

T = TypeVar("T")


def named(kind: str, given: str | T, table: Mapping[str, Callable[[], T]], base: Any) -> T:
    """Return `given` if it is a `base` already, else the object that `table` has under that name.

    Raises InvalidInput for an unknown name (the error lists the names) or any other type.
    """
    if isinstance(given, base):
        return given
    if isinstance(given, type) and issubclass(given, base):
        raise InvalidInput(f"{kind}={given.__name__} is a class; pass an object: {given.__name__}()")
    if not isinstance(given, str):
        raise InvalidInput(f"{kind} must be a {base.__name__} or one of {_list(table)}; got {shown(given)}")
    if given not in table:
        close = get_close_matches(given, table, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise InvalidInput(f"unknown {kind} {given!r}; the names are {_list(table)}.{hint}")
    return table[given]()


def one_of(kind: str, given: Any, names: tuple[str, ...]) -> None:
    """Raise InvalidInput unless `given` is one of `names`."""
    if not isinstance(given, str) or given not in names:
        raise InvalidInput(f"{kind} must be one of {_list(names)}; got {shown(given)}")


def _list(names: object) -> str:
    return ", ".join(repr(name) for name in names)  # type: ignore[attr-defined]  # any iterable of names
