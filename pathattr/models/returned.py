"""What every backend checks of the array that is meant among a model's outputs."""

from __future__ import annotations

from collections.abc import Sequence

from pathattr.errors import ModelError


def check_rows(shape: Sequence[int], points: int) -> None:
    """Raise ModelError unless an array of this shape has one row for each of so many points, and something in it."""
    if tuple(shape[:1]) != (points,):
        raise ModelError(
            f"the model returned shape {tuple(shape)} for {points} points: expected one row for each. Does it hold a "
            "fixed batch size, reduce over the batch, or take one example (then map it over the batch)?"
        )
    if 0 in shape:
        raise ModelError(f"the model returned nothing: an array of shape {tuple(shape)}. Return its scores")


def check_real(what: str, dtype: str, parts: str) -> None:
    """Raise ModelError where the numbers of `what`, a dtype by its name, have no gradient that a score could have.

    `parts` says what makes a complex number real in the framework.
    """
    if "complex" in dtype:
        raise ModelError(f"{what} {dtype}, and a score is a real number: explain {parts} of it")
    if "float" not in dtype:
        raise ModelError(
            f"{what} {dtype}, which is not differentiable: does it round, compare or take an argmax? Pass a "
            "model whose output depends on its input smoothly, and an output before any argmax"
        )
