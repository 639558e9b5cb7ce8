"""What metrics that explain anew share."""

from __future__ import annotations

from typing import Any

from pathattr.common.axes import Array
from pathattr.errors import InvalidInput
from pathattr.methods.explainer import Explainer
from pathattr.metrics.subject import Subject


def check_explainer(explainer: Any) -> None:
    """Raise InvalidInput for what is no explainer."""
    if not isinstance(explainer, Explainer):
        raise InvalidInput(
            f"this metric explains anew: it takes an explainer, such as PathExplainer(model); got {explainer!r}"
        )


def explained(explainer: Explainer, subject: Subject, inputs: Any) -> Array:
    """Return the maps (batch, channels, *spatial) of other `inputs` in place of the subject's, for its targets."""
    target: Any = subject.target
    if callable(explainer.output) or 0 in target.shape[1:]:  # chosen by the callable; the only output
        target = None
    elif target.ndim > 1:
        target = [tuple(row) for row in target.tolist()]
    call = subject.call
    found = explainer(inputs, target, args=call.args, kwargs=call.kwargs, input_name=call.name)
    return subject.maps(found)
