"""What a module tells of its outputs: the configuration of Hugging Face, or a last layer that gives probabilities."""

from __future__ import annotations

from typing import Any

from torch import nn

from pathattr.models.targets import Link

_PROBLEMS: dict[str, Link] = {
    "single_label_classification": "softmax",
    "multi_label_classification": "sigmoid",
    "regression": "identity",
}


def is_huggingface(model: Any) -> bool:
    """Tell whether a model is one of Hugging Face's; their library is not imported for it."""
    return any(base.__module__.partition(".")[0] == "transformers" for base in type(model).__mro__)


def output_link(model: Any) -> Link | None:
    """Return the link that a model's configuration or its last layer tells; None where neither does."""
    if is_huggingface(model):
        return _PROBLEMS.get(getattr(getattr(model, "config", None), "problem_type", None) or "")
    last = model
    while isinstance(last, nn.Sequential) and len(last):
        last = last[-1]
    return "already" if isinstance(last, nn.Softmax | nn.Sigmoid) else None
