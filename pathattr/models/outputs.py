"""What a model's outputs are: where its classes are, and what makes them probabilities.

docs/outputs.md lists the conventions. What none of them settles is refused, with the values that each reading gives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathattr.common.checks import is_whole
from pathattr.errors import InvalidInput, warn
from pathattr.models.backend import Backend
from pathattr.models.numpy_backend import LINK_FUNCTIONS
from pathattr.models.targets import LINKS, Link, Objective, Output, check_options, resolve_targets

# Probabilities that a float16 softmax has rounded still sum to 1 within this.
SLACK = 2e-3
# As many logits as this do not all lie between 0 and 1 by chance: those of a classifier have both signs.
MANY = 10
# Of a network without training logits are near 0; a class that is present has a probability above this.
LIKELY = 0.5
# e to the minus this is 0 in float32: with such a lead of one class a softmax is 0 or 1.
SPREAD = 104.0


@dataclass(frozen=True)
class Outputs:
    """A model's outputs at the inputs, (batch, ...) on the host, and what the user and the model say of them."""

    values: NDArray[Any]
    link: Link | None
    class_axis: int | None

    @classmethod
    def of(cls, values: NDArray[Any], backend: Backend, link: Link | None, class_axis: int | None) -> Outputs:
        """Return outputs with what is known of them: what the user says before what the model or its framework does.

        Raises InvalidInput for an axis that is none.
        """
        axis = convention(backend, values.ndim) if class_axis is None else _axis(values, class_axis)
        return cls(values, link or backend.model_link, axis)

    @property
    def classes(self) -> int | None:
        """The number of classes; None where it is not known."""
        if self.values[0].size == 1:
            return 1
        return None if self.class_axis is None else int(self.values.shape[self.class_axis])

    def explained(
        self, output: Output | Callable[[Any], Any] | None, target: Any
    ) -> tuple[Objective, NDArray[np.intp]]:
        """Return the objective of an output and the targets, (batch, 1 or 2, output axes).

        By default the probability, as in the SIG paper; one-output models are raw unless a link says more. Raises
        InvalidInput where the outputs look like another kind than said, or may be meant in several ways.
        """
        targets = self.targets(target)
        check_options(output, self.link)
        assert not callable(output)
        return self._objective(output, targets), targets

    def targets(self, target: Any) -> NDArray[np.intp]:
        """Return the targets, (batch, 1 or 2, output axes); raise InvalidInput for those that are none."""
        return resolve_targets(target, self.values, self.class_axis)

    def _objective(self, output: Output | None, targets: NDArray[np.intp]) -> Objective:
        link, one = self.link, self.classes == 1
        axis = -1 if self.class_axis is None else self.class_axis
        if one and link is None:
            if output in (None, "raw"):
                return Objective("raw", class_axis=axis)
            raise InvalidInput(
                f"output={output!r} of a model with one output: is it the logit of a binary classifier? Then say "
                "link='sigmoid'; a probability already: link='already'; a regression: output='raw'"
            )
        if one and link == "softmax":
            raise InvalidInput("a softmax over one output is always 1: say link='sigmoid' (binary) or output='raw'")
        kind = output or ("raw" if link == "identity" else "probability")
        if kind == "raw":
            return Objective("raw", class_axis=axis)
        self._check_range(kind)
        normalised = LINKS[kind, link or "softmax"] in ("softmax", "log_softmax")
        if normalised and self.class_axis is None:
            raise InvalidInput(self._readings(kind, targets))
        return Objective(kind, LINKS[kind, link or "softmax"], axis)

    def _check_range(self, kind: Output) -> None:
        """Raise InvalidInput, or warn, where the outputs look like another kind than their link says."""
        values, link, one = self.values, self.link, self.classes == 1
        low, high = float(values.min()), float(values.max())
        bounded = low >= -SLACK and high <= 1 + SLACK
        axes = range(1, values.ndim) if self.class_axis is None else [self.class_axis]
        sums = bounded and (one or any(np.abs(values.sum(axis=a, dtype=np.float64) - 1).max() <= SLACK for a in axes))
        if link == "already" and not bounded:
            raise InvalidInput(
                f"link='already' says that the model returns probabilities, but its outputs run from {low:.4g} to "
                f"{high:.4g}: say link='softmax' or 'sigmoid'"
            )
        # A single logit may well lie between 0 and 1: only where it would be squeezed once more is it worth a word.
        if link in (None, "softmax", "sigmoid") and sums and not (one and kind == "logit"):
            message = "the model's outputs look like probabilities: between 0 and 1" + ("" if one else ", summing to 1")
            if link is None:
                raise InvalidInput(
                    f"{message}. Say link='already', so that they do not pass through a second softmax; "
                    "or link='softmax' if they are logits all the same"
                )
            warn(f"{message}; they pass through a {link} as you or the model say. Is it link='already'?")
        elif link is None and bounded and high > LIKELY and (self.classes or 0) >= MANY and kind != "logit":
            raise InvalidInput(
                f"the model's {self.classes} outputs all lie between 0 and 1, but do not sum to 1: are they the "
                "probabilities of a sigmoid each? Then say link='already'; if they are logits, link='softmax'; if they "
                "are no scores of classes, output='raw'"
            )
        elif link is None and kind != "logit" and self.class_axis is not None and self.class_axis > 0:
            second, first = np.moveaxis(np.sort(values, axis=self.class_axis), self.class_axis, 0)[-2:]
            with np.errstate(invalid="ignore"):  # −∞ − −∞: classes that are masked
                lead = np.subtract(first, second, dtype=np.float64)
            if float(np.nan_to_num(lead).min()) > SPREAD and np.isfinite(second).all():
                warn(
                    f"the model's outputs run from {low:.4g} to {high:.4g}, and a softmax over them is 0 or 1: if they "
                    "are no logits of classes, as in a regression, say output='raw'; if they are, link='softmax'"
                )

    def _readings(self, kind: Output, targets: NDArray[np.intp]) -> str:
        """Return the error that shows what the first example's score is under each reading of the outputs."""
        shape, index = self.values.shape, (0, *targets[0, 0])

        def score(link: str, axis: int) -> str:
            return f"{float(LINK_FUNCTIONS[link](self.values[:1].astype(np.float64), axis)[index]):.3g}"

        logarithm = kind == "log_probability"
        readings = [
            f"class_axis={axis} ({size} classes) gives {score('log_softmax' if logarithm else 'softmax', axis)}"
            for axis, size in enumerate(shape[1:], start=1)
            if size > 1
        ]
        alone = score("log_sigmoid" if logarithm else "sigmoid", 1)
        return (
            f"the model returns outputs of shape {shape[1:]} for each example, and which axis holds the classes is not "
            f"known. Of the first example, {', '.join(readings)}; link='sigmoid' (each output by itself) gives "
            f"{alone}, output='raw' {score('identity', 1)}: say which"
        )


def convention(backend: Backend, ndim: int) -> int | None:
    """Return where the classes are in outputs of so many axes, batch counted; None where nobody says.

    Axis 1 of two; as the framework keeps channels in pictures and volumes; the last of three axes where the model
    says so (`Backend.logits_last`).
    """
    if ndim <= 2:
        return ndim - 1
    if ndim == 3:
        return 2 if backend.logits_last else None
    if ndim in (4, 5) and backend.class_axis is not None:
        return backend.class_axis % ndim
    return None


def _axis(values: NDArray[Any], class_axis: Any) -> int:
    if not is_whole(class_axis):
        raise InvalidInput(f"class_axis must be an int; got {class_axis!r}")
    if values.ndim == 1:
        return 0  # (batch,): one output, and nothing to normalise along
    axis = int(class_axis) + (values.ndim if class_axis < 0 else 0)
    if not 1 <= axis < values.ndim:
        raise InvalidInput(
            f"class_axis={class_axis} is not an axis after the batch of outputs {values.shape}: say "
            f"one from 1 to {values.ndim - 1}, or leave it out (class_axis=None)"
        )
    return axis
