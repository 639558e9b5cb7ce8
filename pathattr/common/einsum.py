"""Einsum equations in a planned order, as products of two operands at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

# The order is planned for this many nodes whatever a block holds: the same order, hence the same
# rounding, in every block.
PLANNED_NODES = 8


class Einsum(Protocol):
    """A backend's product of two operands under an equation such as "bnck,bckw->bnckw"."""

    def __call__(self, equation: str, left: Any, right: Any, /) -> Any:
        """Return the product."""


@dataclass(frozen=True)
class Contraction:
    """One einsum equation and the pairs in which to contract it.

    Each step takes two operands off the list and appends their product, as `np.einsum_path` counts them.
    """

    equation: str
    steps: tuple[tuple[int, int, str], ...]

    def __call__(self, einsum: Einsum, operands: Sequence[Any]) -> Any:
        """Return the contraction of `operands`, which come in the order of the equation."""
        left = list(operands)
        for first, second, equation in self.steps:
            b, a = left.pop(second), left.pop(first)
            left.append(einsum(equation, a, b))
        return left[0]


def contraction(inputs: Sequence[str], output: str, sizes: Mapping[str, int]) -> Contraction:
    """Plan the contraction of operands labelled `inputs` to `output`; `sizes` gives each label's length.

    The order decides the cost: a DCT of a 224×224 picture taken left to right costs tens of times more.
    """
    used = sorted(set("".join(inputs)))
    return _planned(tuple(inputs), output, tuple((label, sizes[label]) for label in used))


@lru_cache(maxsize=256)
def _planned(inputs: tuple[str, ...], output: str, sizes: tuple[tuple[str, int], ...]) -> Contraction:
    equation = ",".join(inputs) + "->" + output
    size = dict(sizes) | {"n": PLANNED_NODES, "b": 1}
    # Only shapes matter to the plan: one number, broadcast, stands for every operand.
    shapes = [np.broadcast_to(0.0, [size[label] for label in labels]) for labels in inputs]
    path, _ = np.einsum_path(equation, *shapes, optimize=("optimal", 2**62))
    left, steps = list(inputs), []
    for entry in path[1:]:
        positions = sorted(entry)
        while len(positions) > 1:  # where no order helps, the plan is one step of many: take it in pairs
            first, second = positions[0], positions[1]
            b, a = left.pop(second), left.pop(first)
            kept = set(output).union(*left)
            result = _product(a, b, kept)
            if not left:
                result = output
            steps.append((first, second, f"{a},{b}->{result}"))
            left.append(result)
            positions = [p - 2 for p in positions[2:]] + [len(left) - 1]
    return Contraction(equation, tuple(steps))


def _product(a: str, b: str, kept: set[str]) -> str:
    """Return the labels of a product: a matrix changes one axis of what it is applied to, in its place."""
    for matrix, stack in ((a, b), (b, a)):
        gone, new = (
            [label for label in matrix if label not in kept],
            [label for label in matrix if label not in stack],
        )
        if len(matrix) == 2 and len(gone) == len(new) == 1 and gone[0] in stack:
            return "".join(label for label in stack.replace(gone[0], new[0]) if label in kept)
    return "".join(dict.fromkeys(label for label in a + b if label in kept))
