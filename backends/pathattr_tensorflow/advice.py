"""What to do where TensorFlow cannot trace a model."""

from __future__ import annotations

import sys
from typing import Any

import tensorflow as tf

from pathattr.errors import ModelError, PathattrError
from pathattr.models.blame import brief


def traced(function: Any, *args: Any) -> Any:
    """Trace and call a function; errors met while tracing come as they were raised, or as a sentence."""
    handled = sys.exception()  # what the caller is busy with is none of ours
    try:
        return function(*args)
    except Exception as error:
        chain: list[BaseException] = [error]
        while (before := chain[-1].__context__) is not None and before is not handled:
            chain.append(before)
        # AutoGraph raises a copy of an error, or another, with its own account of the source in the message.
        ours = [link for link in chain if isinstance(link, PathattrError)]
        if ours:
            raise ours[-1] from ours[-1].__cause__
        if "singleton tf.Variable" in str(error):
            raise ModelError(
                "the model makes new variables each time it is called: build it once, outside of the function that is "
                "explained"
            ) from error
        leaving = isinstance(error, NotImplementedError | tf.errors.OperatorNotAllowedInGraphError)
        if not leaving and not (isinstance(error, AttributeError) and "SymbolicTensor" in str(error)):
            raise
        raise ModelError(
            f"the model cannot be traced by TensorFlow ({brief(error)}): does it call .numpy(), NumPy, or Python's "
            "`if` or `float` on a tensor? Make it of TensorFlow's operations"
        ) from error
