"""Devices by name, and models moved to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax

from pathattr.errors import InvalidInput
from pathattr_jax.models import arrays_of, kind_of
from pathattr_jax.trees import is_array


def place(model: Any, device: str) -> Any:
    """Return a copy of (apply, params) or of an Equinox module with its arrays on a device.

    Other models are returned as they are where they are there, and refused with the way to move them where not.
    """
    found = names()
    if device not in found:
        raise InvalidInput(f"jax has no device {device!r} here; it has {', '.join(found)}")
    kind, there = kind_of(model), found[device]
    if kind == "pair":
        return model[0], _placed(model[1], there)
    if kind == "equinox":
        return _placed(model, there)
    held = [array for array in arrays_of(model) if isinstance(array, jax.Array)] if kind else []
    if all(array.devices() == {there} for array in held) and (held or there == jax.devices()[0]):
        return model
    raise InvalidInput(f"the model is not on {device!r}: {_MOVING.get(kind or '', _MOVING_FUNCTION)}")


_MOVING_FUNCTION = (
    "pass (apply, params), whose parameters can be moved, or name no device: a function runs where its inputs and the "
    "arrays in it are (jax.device_put)"
)
_MOVING = {
    "linen": "pass (module, variables), or bind it to jax.device_put(variables, device)",
    "nnx": "nnx.update(model, jax.device_put(nnx.state(model), device)) moves it, with a device of jax.devices()",
    "keras": "build or load it under keras.device(...)",
}


def names() -> dict[str, Any]:
    """Return the devices by name: "cpu", and "gpu:0" and so on where there are others."""
    found: dict[str, Any] = {}
    for device in [*jax.devices("cpu")[:1], *jax.devices()]:
        found.setdefault(device.platform if device.platform == "cpu" else f"{device.platform}:{device.id}", device)
    return found


def device_of(arrays: Sequence[Any]) -> Any:
    """Return the device of the first JAX array; None, for JAX to choose, where it is on several or there is none."""
    found = next((array.devices() for array in arrays if isinstance(array, jax.Array)), set())
    return next(iter(found)) if len(found) == 1 else None


def _placed(tree: Any, device: Any) -> Any:
    return jax.tree_util.tree_map(lambda leaf: jax.device_put(leaf, device) if is_array(leaf) else leaf, tree)
