"""Checks of what users pass: each raises InvalidInput with what was expected and what arrived."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathattr.common.axes import Array
from pathattr.common.texts import shown
from pathattr.errors import InvalidInput


def is_number(value: Any) -> bool:
    """Tell whether `value` is a finite real number; True and False are none."""
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return number and bool(np.isfinite(value))


def is_whole(value: Any) -> bool:
    """Tell whether `value` is a whole number by type; True and False are none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_auto(value: Any) -> bool:
    """Tell whether `value` is the word "auto"."""
    return isinstance(value, str) and value == "auto"


def flag(name: str, value: Any, otherwise: str = "") -> bool:
    """Return `value`, which must be True or False; `otherwise` names what else the option takes."""
    if not isinstance(value, bool | np.bool_):
        raise InvalidInput(f"{name} must be True or False{otherwise}; got {shown(value)}")
    return bool(value)


def named_options(given: Any) -> dict[str, Any]:
    """Return a backend's options as a dict of their own; None is none."""
    if given is not None and not (isinstance(given, Mapping) and all(isinstance(name, str) for name in given)):
        raise InvalidInput(
            f"backend_options must be a mapping of names to values, {{'name': value}}; got {shown(given)}"
        )
    return dict(given or {})


def whole(name: str, value: Any, least: int = 1) -> int:
    """Return `value` as an int; it must be a whole number of at least `least`."""
    if not is_whole(value) or value < least:
        raise InvalidInput(f"{name} must be a whole number of at least {least}; got {shown(value)}")
    return int(value)


def on_host(given: Any) -> Any:
    """Return a PyTorch tensor as NumPy, whatever its device and dtype, without its gradient; all else as it is."""
    if not hasattr(given, "detach"):
        return given
    given = given.detach().cpu()
    return np.asarray(given.float() if str(given.dtype) == "torch.bfloat16" else given)  # NumPy has no such type


def unmasked(what: str, given: Any) -> Any:
    """Return `given`, a masked array as a plain one; raise InvalidInput where anything in it is masked."""
    if not isinstance(given, np.ma.MaskedArray):
        return given
    mask: Any = given.mask  # one for each entry, or one for all
    count = int(np.sum(np.broadcast_to(mask, given.shape)))
    if count:
        raise InvalidInput(
            f"{what}: a masked array with {count} entries masked was passed, and what stands for them is not known: "
            "fill them, as in array.filled(0), or leave their examples out"
        )
    return given.data


def numbers(expected: str, given: Any) -> Array:
    """Return `given` as a float64 array; raise InvalidInput that begins with `expected` where that cannot be done."""
    given = unmasked(expected, given)
    try:
        array = np.asarray(on_host(given))
        if array.dtype.kind == "c":
            raise ValueError("complex numbers")
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{expected}; got {str(given)[:80]!r}") from error


def plain_floats(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the float type, native and of at most 64 bits, that numbers of a float type are worked with."""
    return np.dtype(f"f{min(dtype.itemsize, 8)}")


def check_finite(what: str, array: NDArray[Any]) -> None:
    """Raise InvalidInput that counts the NaN and infinite values of an array and names the first."""
    bad = ~np.isfinite(array)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise InvalidInput(
            f"{what} must be finite; {int(np.isnan(array).sum())} values are NaN and {int(np.isinf(array).sum())} "
            f"infinite, the first at index {first}. Look at how it was loaded or normalised"
        )
