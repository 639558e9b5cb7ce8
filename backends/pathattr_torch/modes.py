"""Faster ways to run a model, each an option of the backend with an error of its own (docs/speed.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from pathattr.common.names import one_of
from pathattr.errors import InvalidInput

_compiled: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
_compiling = Lock()


@dataclass(frozen=True)
class Modes:
    """How the model runs; each field is the option of that name.

    `autocast="bfloat16"` runs what autocast allows in half precision: parameters, scores and gradients stay float32.
    `channels_last` lays pictures out as convolutions on tensor cores like them. `compile` runs `torch.compile(model)`,
    compiled once per model.
    """

    autocast: str | None = None
    channels_last: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        if self.autocast is not None:
            one_of("autocast", self.autocast, ("bfloat16",))

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Modes:
        """Return the modes that a backend's options mean."""
        return cls(**options)

    def callee(self, model: Any) -> Callable[..., Any]:
        """Return what to call for the model."""
        if not self.compile:
            return model
        if not isinstance(model, nn.Module):
            raise InvalidInput(
                "backend_options={'compile': True} is for modules: pass torch.compile(function), without that option"
            )
        forward: Any = model.forward
        bound = getattr(forward, "__self__", None) is model
        with _compiling:
            if model not in _compiled:
                # The function, not the method: the table must not keep the model alive.
                _compiled[model] = torch.compile(forward.__func__ if bound else forward)
            compiled = _compiled[model]
        return partial(compiled, model) if bound else compiled

    def entering(self, points: Tensor, dtype: torch.dtype) -> Tensor:
        """Return a copy of points in the model's dtype and the memory layout that was asked for."""
        layout = torch.contiguous_format
        if self.channels_last and points.ndim in (4, 5):
            layout = torch.channels_last if points.ndim == 4 else torch.channels_last_3d
        return points.to(dtype, copy=True, memory_format=layout)
