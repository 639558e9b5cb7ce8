"""What goes along with the points: further arguments of a model, each one for all examples or one for every example."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from pathattr.common.checks import is_whole
from pathattr.errors import InvalidInput


@dataclass(frozen=True, eq=False)
class Shared:
    """A further argument of a model that is the same for every example: a weight, prototypes, a graph's edges.

    Arrays in containers are all meant.
    """

    value: Any


@dataclass(frozen=True, eq=False)
class PerExample:
    """A further argument with one entry for every example along `axis`: a mask, a state (`axis=1` in many RNNs).

    Arrays in containers are all meant.
    """

    value: Any
    axis: int = 0


class Leaf(NamedTuple):
    """One value among the further arguments, under the name that a message calls it by.

    `mark` is "shared", the axis of the examples, or None where the user did not say.
    """

    name: str
    value: Any
    mark: Any = None

    @property
    def is_array(self) -> bool:
        """True for arrays of whatever framework."""
        return is_array(self.value)

    def unmarked(self, batch: int) -> bool:
        """Tell whether an array that nobody marked has as many rows as the batch: it may be meant either way."""
        return self.mark is None and is_array(self.value) and tuple(self.value.shape[:1]) == (batch,)

    def axis(self, batch: int) -> int | None:
        """Return the axis of the examples, None for an array that they share; raise InvalidInput where it cannot be."""
        if self.mark is None:
            return 0 if self.unmarked(batch) else None
        if self.mark == "shared":
            return None
        shape = tuple(self.value.shape)
        axis = self.mark + (len(shape) if self.mark < 0 else 0)
        if not 0 <= axis < len(shape) or shape[axis] != batch:
            raise InvalidInput(
                f"{self.name} is marked PerExample(axis={self.mark}), but has the shape {shape} for a batch of "
                f"{batch}: name the axis of length {batch}, or mark it pathattr.Shared"
            )
        return axis


class Structure(NamedTuple):
    """A container without what is in it: its type, its keys, and the structure of each part; None for a leaf."""

    kind: type
    keys: tuple[Any, ...]
    parts: tuple[Structure | None, ...]


@dataclass(frozen=True)
class Call:
    """How the model is called, `model(points, *args, **kwargs)`, or `model(**{name: points})` with a name.

    Dicts, lists, tuples, named tuples and dataclasses among the arguments are searched for arrays. `head` says which
    of several outputs is meant (see `heads.chosen`); those at `shared` places among the leaves are taken
    for shared whatever their shape.
    """

    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    head: str | int | None = None
    shared: frozenset[int] = frozenset()

    @classmethod
    def of(cls, args: Any, kwargs: Any, name: Any, head: Any = None) -> Call:
        """Return the call that a user asks for; raise InvalidInput for arguments of the wrong kind."""
        if is_array(args) or isinstance(args, Shared | PerExample):
            args = (args,)
        if not isinstance(args, tuple | list):
            raise InvalidInput(
                f"args are the model's further arguments, in a tuple or list; got {type(args).__name__}: one argument "
                "is args=(value,)"
            )
        kwargs = {} if kwargs is None else kwargs
        if not isinstance(kwargs, Mapping) or not all(isinstance(key, str) for key in kwargs):
            raise InvalidInput(
                "kwargs are the model's further arguments by name, in a dict; got "
                f"{type(kwargs).__name__}: one argument is kwargs={{'name': value}}"
            )
        if name is not None and not isinstance(name, str):
            raise InvalidInput(f"input_name is the name of the model's argument for the inputs; got {name!r}")
        if name in kwargs:
            raise InvalidInput(
                f"kwargs has {name!r}, which input_name says the inputs are passed as: leave it out of one of the two"
            )
        return cls(tuple(args), dict(kwargs), name, head)

    @cached_property
    def _apart(self) -> tuple[Structure, list[Leaf]]:
        leaves: list[Leaf] = []
        args = (_apart(f"args[{i}]", value, None, leaves) for i, value in enumerate(self.args))
        kwargs = (_apart(name, value, None, leaves) for name, value in self.kwargs.items())
        whole = Structure(tuple, (len(self.args), *self.kwargs), (*args, *kwargs))
        return whole, [leaf._replace(mark="shared") if i in self.shared else leaf for i, leaf in enumerate(leaves)]

    @property
    def structure(self) -> Structure:
        """The arguments without arrays and other values: what tells two manners of calling apart."""
        return self._apart[0]

    @property
    def leaves(self) -> list[Leaf]:
        """The arrays and other values among the arguments, in order."""
        return self._apart[1]

    def bind(self, points: Any, values: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return the positional and keyword arguments for some points, with one value for each leaf."""
        return bound(self.structure, self.name, points, values)

    def served(
        self, points: Any, batch: int, serve: Callable[[Any, int | None], Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments for some points, every array served: `serve(array, axis of the examples or None)`."""
        return self.bind(points, self._values(batch, serve))

    def some(self, batch: int, take: Callable[[Any, int], Any]) -> Call:
        """Return the call of some examples: `take(array, axis)` returns their part of an array with one for each."""

        def marked(array: Any, axis: int | None) -> Any:
            return Shared(array) if axis is None else PerExample(take(array, axis), axis)

        args, kwargs = _rebuilt(self.structure, self._values(batch, marked))
        return replace(self, args=tuple(args), kwargs=kwargs, shared=frozenset())

    def _values(self, batch: int, serve: Callable[[Any, int | None], Any]) -> list[Any]:
        return [serve(leaf.value, leaf.axis(batch)) if leaf.is_array else leaf.value for leaf in self.leaves]


def bound(
    structure: Structure, name: str | None, points: Any, values: Sequence[Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Return the positional and keyword arguments of a call of this structure; see `Call.bind`."""
    args, kwargs = _rebuilt(structure, values)
    return (args, kwargs | {name: points}) if name is not None else ([points, *args], kwargs)


def _rebuilt(structure: Structure, values: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return positional and keyword arguments with one value for each leaf."""
    given = iter(values)
    count, *names = structure.keys
    whole = [_together(part, given) for part in structure.parts]
    return whole[:count], dict(zip(names, whole[count:], strict=True))


def taken(array: Any, rows: Any, axis: int | None) -> Any:
    """Return the entries of the given examples, of an array that is indexed as NumPy's; None: all share it."""
    return array if axis is None else array[(*(slice(None),) * axis, rows)]


def is_array(value: Any) -> bool:
    """Tell whether a value is an array of any framework: it has a shape and a dtype."""
    if isinstance(value, type) or not hasattr(value, "dtype"):
        return False
    return hasattr(getattr(value, "shape", None), "__len__")


def _apart(name: str, value: Any, mark: Any, leaves: list[Leaf], depth: int = 0) -> Structure | None:
    """Put the leaves of a value on a list, and return its structure."""
    if isinstance(value, Shared):
        return _apart(name, value.value, "shared", leaves, depth)
    if isinstance(value, PerExample):
        if not is_whole(value.axis):
            raise InvalidInput(f"{name}: PerExample takes the number of an axis; got axis={value.axis!r}")
        return _apart(name, value.value, int(value.axis), leaves, depth)
    found = None if is_array(value) or depth > DEEPEST else _parts(value)
    if found is not None:
        inside: list[Leaf] = []
        parts = tuple(_apart(name + key, part, mark, inside, depth + 1) for key, part in found.items())
        # A container without arrays is passed along as the very object that it is.
        if any(leaf.is_array for leaf in inside):
            leaves.extend(inside)
            keys = tuple(value) if isinstance(value, Mapping) else tuple(_attributes(value))
            return Structure(type(value), keys, parts)
    leaves.append(Leaf(name, value, mark))
    return None


DEEPEST = 20
"""Containers are searched this deep: one that contains itself ends here."""


def _parts(value: Any) -> dict[str, Any] | None:
    """Return what a container holds, by the way that Python writes it; None for anything else."""
    if is_dataclass(value) and not isinstance(value, type) and not isinstance(value, Mapping):
        return {f".{name}": getattr(value, name) for name in _attributes(value)}
    if isinstance(value, Mapping):
        return {f"[{key!r}]": part for key, part in value.items()}
    if isinstance(value, tuple | list):
        return {f"[{i}]": part for i, part in enumerate(value)}
    return None


def _attributes(value: Any) -> Iterator[str]:
    """Yield the names of what a dataclass holds, its fields and whatever else it was given."""
    if is_dataclass(value):
        names = [*getattr(value, "__dataclass_fields__", ()), *getattr(value, "__dict__", ())]
        yield from (name for name in dict.fromkeys(names) if hasattr(value, name))


def _together(structure: Structure | None, leaves: Iterator[Any]) -> Any:
    """Return the value of a structure, its leaves drawn in order."""
    if structure is None:
        return next(leaves)
    kind: Any = structure.kind
    keys = structure.keys
    parts = [_together(part, leaves) for part in structure.parts]
    record = "__dataclass_fields__" in dir(kind)
    if issubclass(kind, Mapping):
        plain = dict(zip(keys, parts, strict=True))
        try:
            return plain if kind is dict else kind(**plain) if record else kind(plain)
        except TypeError:  # one that is made in a way of its own, as a defaultdict
            return plain
    if record:
        made = kind.__new__(kind)
        for key, part in zip(keys, parts, strict=True):
            object.__setattr__(made, key, part)  # also where it is frozen
        return made
    return kind(*parts) if hasattr(kind, "_fields") else kind(parts)
