"""Do metrics, examples and settings go together? Asked before any work."""

from __future__ import annotations

from collections.abc import Mapping

from pathattr.errors import InvalidInput
from pathattr.methods.explainer import Explainer, described
from pathattr.methods.gradients import SmoothGrad
from pathattr.metrics.infidelity import Infidelity
from pathattr.metrics.metric import Metric
from pathattr.metrics.table import needs_masks
from pathattr.paths.baselines import baseline_from
from pathattr.studies.data import Data


def check_masks(metrics: Mapping[str, Metric], data: Data) -> None:
    """Raise InvalidInput for metrics that must know where the object is, where an example does not tell."""
    needing = [name for name, metric in metrics.items() if needs_masks(metric)]
    if needing and data.unmasked:
        raise InvalidInput(
            f"{', '.join(needing)} must know where the object is, and {len(data.unmasked)} of {len(data)} examples "
            f"have neither mask nor box, such as {data.unmasked[0]}: give theirs, or leave the metric out"
        )


def check_baselines(metrics: Mapping[str, Metric], explainers: Mapping[str, Explainer]) -> None:
    """Raise InvalidInput where infidelity would judge maps that are about another baseline than its own, or slopes."""
    for name, metric in metrics.items():
        if not isinstance(metric, Infidelity) or metric.maps != "contributions":
            continue
        unfit = []
        for setting, explainer in explainers.items():
            own = described(baseline_from(metric.baseline, explainer.preprocessing))
            if isinstance(explainer, SmoothGrad) and not explainer.multiply:
                unfit.append(f"{setting} (slopes)")
            elif described(explainer.baseline) != own:
                unfit.append(f"{setting} (from {described(explainer.baseline)})")
        if unfit:
            raise InvalidInput(
                f"{name} foretells what a step to {own} does, and these settings tell of something else: "
                f"{', '.join(unfit[:5])}. Judge them in a study of their own"
            )
