"""A setting: one way of explaining that a study judges, by name."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pathattr.common.checks import on_host
from pathattr.methods.explainer import Explainer, ExplainerOptions, described
from pathattr.paths.baselines import Samples

Fact = str | float | int | None


@dataclass(frozen=True, eq=False)
class Setting:
    """A name, a function that makes the explainer, and facts for the table's columns, such as {"overlap": 0.4}.

    The explainer brings its model: what a study judges with is that model, with the explainer's output, link and
    preprocessing. The function is called at least once in every run, so it should not load a model anew.
    """

    name: str
    explainer: Callable[[], Explainer]
    facts: Mapping[str, Fact] = field(default_factory=dict)


UNTOLD = ("progress", "batch_size", "backend")
"""What changes how a result is computed, but the result to rounding only: a study may go on with others."""

_LONG = 300  # characters: of longer descriptions the digest tells them apart


def described_settings(explainer: Explainer) -> dict[str, str]:
    """Return everything about an explainer that determines its results, but for its model, as text."""
    names = [name for name in (*ExplainerOptions.__annotations__, *explainer.own_settings) if name not in UNTOLD]
    return {"method": type(explainer).__name__} | {name: as_text(getattr(explainer, name)) for name in names}


def as_text(value: Any) -> str:
    """Return a text that changes with a setting's value, arrays of any length included, and with nothing else."""
    if isinstance(value, Samples) or hasattr(value, "shape"):
        array = np.ascontiguousarray(on_host(value.array if isinstance(value, Samples) else value))
        return f"{described(value)}, {array.dtype}, {hashlib.sha256(array.tobytes()).hexdigest()[:16]}"
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    with np.printoptions(threshold=sys.maxsize, floatmode="unique"):  # long arrays would be shortened
        text = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))  # an address differs from run to run
    return text if len(text) <= _LONG else f"{text[:_LONG]}…, {hashlib.sha256(text.encode()).hexdigest()[:16]}"
