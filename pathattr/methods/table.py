"""Attribution methods by name: the table that studies and the command build explainers from."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, Protocol, Unpack

from pathattr.common.checks import whole
from pathattr.families import SVD, Linear
from pathattr.methods.adaptive_explainer import AdaptiveExplainer
from pathattr.methods.explainer import Explainer, ExplainerOptions
from pathattr.methods.gradients import GradientInput, SmoothGrad
from pathattr.methods.path_explainer import PathExplainer
from pathattr.paths.guided import GuidedIG


class Method(Protocol):
    """Makes an explainer: `steps` is how many gradients an input may cost, None the method's own default.

    It is the intervals of a path, the steps of Guided IG and the samples of SmoothGrad, whose default is 25 where the
    others' is 200; gradient × input takes one gradient whatever is allowed. `options` are `PathExplainer`'s that every
    explainer has; "blur-ig" brings its own baseline unless one is passed.
    """

    def __call__(
        self, model: Any, /, *, steps: int | Literal["auto"] | None = None, **options: Unpack[ExplainerOptions]
    ) -> Explainer:
        """Return the explainer."""


def _gradient_input(
    model: Any, /, *, steps: int | Literal["auto"] | None = None, **options: Unpack[ExplainerOptions]
) -> GradientInput:
    if steps not in (None, "auto"):
        whole("steps", steps)
    return GradientInput(model, **options)


def _smooth(
    kind: Literal["plain", "squared", "variance"],
    model: Any,
    /,
    *,
    steps: int | Literal["auto"] | None = None,
    **options: Unpack[ExplainerOptions],
) -> SmoothGrad:
    samples = 25 if steps is None else whole("steps (the samples of SmoothGrad)", steps)
    return SmoothGrad(model, kind=kind, samples=samples, **options)


def _guided(
    model: Any, /, *, steps: int | Literal["auto"] | None = None, **options: Unpack[ExplainerOptions]
) -> AdaptiveExplainer:
    return AdaptiveExplainer(model, GuidedIG(200 if steps is None else whole("steps", steps)), **options)


METHODS: dict[str, Method] = {
    "gradient-input": _gradient_input,
    "smoothgrad": partial(_smooth, "plain"),
    "smoothgrad-squared": partial(_smooth, "squared"),
    "vargrad": partial(_smooth, "variance"),
    "ig": partial(PathExplainer, family=Linear()),
    "sig": partial(PathExplainer, family=SVD()),
    "blur-ig": partial(PathExplainer, preset="blur-ig"),
    "laplacian-ig": partial(PathExplainer, preset="laplacian-ig"),
    "guided-ig": _guided,
}
