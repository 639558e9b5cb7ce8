"""Functions of the user's, traced anew for every call of an explainer, and compiled once for each program they make.

What a function reads through its closure, its module or its objects may have changed since it was last traced, and
cannot be seen from outside. So nothing is guessed: Python runs through the function once a call, and what was
compiled before is used again where the program that comes out is the same, instruction for instruction.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Hashable
from typing import Any

import jax

# Programs kept for later calls; each is some megabytes at most, for weights are no part of it.
LIMIT = 64


class Traced:
    """A function of pytrees of arrays, traced once for every set of shapes that it is called with."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._by_shapes: dict[Hashable, Callable[..., Any]] = {}

    def __call__(self, *args: Any) -> Any:
        """Return what the function returns."""
        leaves, structure = jax.tree_util.tree_flatten(args)
        key = structure, tuple(map(_kind, leaves))
        if key not in self._by_shapes:
            self._by_shapes[key] = _compiled(self._function, args)
        return self._by_shapes[key](leaves)


class _Programs:
    """What has been compiled, by what it was compiled from; the one unused for longest goes first."""

    def __init__(self) -> None:
        self._table: dict[Hashable, Any] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._table)

    def find(self, key: Hashable, compiling: Callable[[], Any]) -> Any:
        """Return what was compiled from `key`, or what `compiling` makes of it now."""
        with self._lock:
            found = self._table.pop(key, None)
        if found is None:
            found = compiling()
        with self._lock:
            self._table[key] = found
            while len(self._table) > LIMIT:
                self._table.pop(next(iter(self._table)))
        return found


PROGRAMS = _Programs()


def _compiled(function: Callable[..., Any], args: Any) -> Callable[[list[Any]], Any]:
    """Return a function compiled for arguments like these, as a function of their leaves."""
    closed, result = jax.make_jaxpr(function, return_shape=True)(*args)
    leaves = jax.tree_util.tree_leaves(args)
    held, jaxpr, count = closed.consts, closed.jaxpr, len(closed.consts)

    def run(*arrays: Any) -> Any:  # what is compiled may outlive the call: it holds none of the arrays
        return jax.core.eval_jaxpr(jaxpr, arrays[:count], *arrays[count:])

    # Arrays that the function holds become arguments: with other numbers in them it is the same program.
    lowered = jax.jit(run, keep_unused=True).lower(*held, *leaves)
    text = lowered.as_text()
    # What stands in the text without its value: callbacks into Python, and constants that JAX passes behind our back.
    taken = text.partition("@main(")[2].partition("->")[0].count("%arg")
    if closed.effects or "callback" in text or taken != len(held) + len(leaves):
        program = lowered.compile()
    else:
        places = tuple((getattr(a, "sharding", None), getattr(a, "committed", None)) for a in (*held, *leaves))
        default = jax.config.jax_default_device  # type: ignore[attr-defined]  # made at run time
        key = hashlib.sha256(text.encode()).digest(), places, default
        program = PROGRAMS.find(key, lowered.compile)
    structure = jax.tree_util.tree_structure(result)
    return lambda leaves: jax.tree_util.tree_unflatten(structure, program(*held, *leaves))


def _kind(leaf: Any) -> Hashable:
    return leaf.shape, leaf.dtype, getattr(leaf, "weak_type", False)
