"""The errors that are the user's to mend: each says what was expected, what arrived and what to do next."""

import sys
import warnings


class PathattrError(Exception):
    """Base of every error that pathattr raises on purpose."""


class InvalidInput(PathattrError, ValueError):
    """An argument, array, picture or file is not what was asked for."""

    def __init__(self, message: str = "") -> None:
        super().__init__(" ".join(message.splitlines()))  # what arrived may print on several lines, as arrays do


class ModelError(PathattrError, RuntimeError):
    """The model cannot be attributed as it is: training mode, no gradient, NaN along the path."""


class MissingExtra(PathattrError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""

    @classmethod
    def of(cls, module: str, extra: str, purpose: str) -> "MissingExtra":
        """Return the error for a missing `module` that `purpose` needs and `pathattr[extra]` brings."""
        return cls(f"{purpose} needs {module}, which is not installed: pip install 'pathattr[{extra}]'")


def warn(message: str) -> None:
    """Warn, pointing at the caller's own line: the first that is not the package's or an adapter's."""
    level = 1
    while sys._getframe(level).f_globals.get("__name__", "").startswith("pathattr"):
        level += 1
    warnings.warn(message, stacklevel=level + 1)
