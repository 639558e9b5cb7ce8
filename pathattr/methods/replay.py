"""Objects that remember what their constructor was told, so that it can be told again with changes."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter, Signature, signature
from types import MappingProxyType
from typing import Any, ClassVar, Self

from pathattr.errors import InvalidInput


class Replayed:
    """Remembers the constructor's arguments as they were given: what was not said is not among them."""

    _said: dict[str, Any]
    __signature__: ClassVar[Signature]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # Some versions of Python take an inherited __new__ for the constructor.
        own = signature(cls.__init__)
        cls.__signature__ = own.replace(parameters=list(own.parameters.values())[1:])

    def __new__(cls, *args: Any, **named: Any) -> Self:
        made = super().__new__(cls)
        said = dict(signature(cls).bind_partial(*args, **named).arguments)
        for parameter in signature(cls).parameters.values():
            if parameter.kind is Parameter.VAR_KEYWORD:
                said |= said.pop(parameter.name, {})
        # A mapping is copied: the caller may go on filling it.
        made._said = {name: dict(value) if isinstance(value, Mapping) else value for name, value in said.items()}
        return made

    @property
    def said(self) -> Mapping[str, Any]:
        """The constructor's arguments by name, as they were given; what was left to a default is not among them."""
        return MappingProxyType(self._said)

    def but(self, **changes: Any) -> Self:
        """Return what the constructor makes of the same arguments with some changed.

        What was said still holds, until changed: None takes it back where that is the default. What follows from it is
        decided anew. Raises InvalidInput for an unknown name; the error lists the names.
        """
        names = tuple(parameters(type(self)))
        unknown = [name for name in changes if name not in names]
        if unknown:
            raise InvalidInput(
                f"{type(self).__name__} has no setting {', '.join(unknown)}; the names are {', '.join(names)}"
            )
        return type(self)(**(self._said | changes))


def parameters(cls: type) -> Mapping[str, Any]:
    """Return what a constructor takes, by name, with the defaults; `**options` are those of the base class."""
    found = signature(cls).parameters.values()
    taken = {p.name: p.default for p in found if p.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)}
    if any(p.kind is Parameter.VAR_KEYWORD for p in found):
        own = next(base for base in cls.__mro__ if "__init__" in vars(base))
        return {**parameters(own.__mro__[1]), **taken}
    return taken
