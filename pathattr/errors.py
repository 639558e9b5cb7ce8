"""The errors that are the user's to mend: each says what was expected, what arrived and what to do next."""


class PathattrError(Exception):
    """Base of every error that pathattr raises on purpose."""


class InvalidInput(PathattrError, ValueError):
    """An argument, array, picture or file is not what was asked for."""


class ModelError(PathattrError, RuntimeError):
    """The model cannot be attributed as it is: training mode, no gradient, NaN along the path."""


class MissingExtra(PathattrError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""

    @classmethod
    def of(cls, module: str, extra: str, purpose: str) -> "MissingExtra":
        """Return the error for a missing `module` that `purpose` needs and `pathattr[extra]` brings."""
        return cls(f"{purpose} needs {module}, which is not installed: pip install 'pathattr[{extra}]'")
