"""Every axiom by name, and what a path of a family, an ordering and a schedule promises of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from pathattr.axioms import geometry, integral, invariance
from pathattr.axioms.case import Case
from pathattr.axioms.residual import Residual
from pathattr.explainer import PathExplainer
from pathattr.families.base import PROMISES

Promise = Literal["exact", "to discretisation", "not promised"]


@dataclass(frozen=True)
class Axiom:
    """One axiom: what it says, how its residual is found (None where it does not apply), and how far it is promised."""

    says: str
    residual: Callable[[Case], Residual | None]
    promise: Promise = "exact"


AXIOMS: dict[str, Axiom] = {
    "completeness": Axiom("attributions sum to F(x) − F(x')", integral.completeness, "to discretisation"),
    "component sum": Axiom("components sum to what the features sum to", integral.component_sum),
    "recovery of IG": Axiom("ω = 1 is Integrated Gradients", integral.recovery_of_ig),
    "dummy": Axiom("a feature that the model ignores gets nothing", integral.dummy),
    "linearity": Axiom("attributions are linear in the explained score", integral.linearity),
    "translation": Axiom("moving input and baseline together changes nothing", invariance.translation),
    "global scale": Axiom("one factor for everything changes nothing", invariance.global_scale),
    "batch independence": Axiom("batch-mates and block size change nothing", integral.batch_independence),
    "reproducibility": Axiom("the same question gets the same answer", integral.reproducibility),
    "ends": Axiom("γ(0) is the baseline and γ(1) the input", geometry.ends),
    "monotone gates": Axiom("gates rise from 0 to 1", geometry.monotone_gates),
    "Eckart-Young": Axiom("no point of rank r is closer to x than the truncated SVD", geometry.eckart_young),
    "sensitivity": Axiom(PROMISES["sensitivity"], integral.sensitivity, "to discretisation"),
    "symmetry": Axiom(PROMISES["symmetry"], integral.symmetry),
    "unchanged features": Axiom(PROMISES["unchanged features"], integral.unchanged_features),
    "feature scale": Axiom(PROMISES["feature scale"], invariance.feature_scale),
    "channel scale": Axiom(PROMISES["channel scale"], invariance.channel_scale),
    **{
        name: Axiom(PROMISES[name], partial(invariance.permutation_equivariance, name=name))
        for name in ("channels", "flips", "transposition", "permutations")
    },
    "distance": Axiom(PROMISES["distance"], geometry.approach),
}

_PLACED = {"channels", "flips", "transposition", "permutations"}
"""Promises about where components are, which an ordering that looks at places breaks."""


def promised(explainer: PathExplainer, shape: tuple[int, ...], name: str) -> Promise:
    """Return how far an explainer promises an axiom for examples of a canonical shape (channels, *spatial)."""
    family, ordering, schedule = explainer.family, explainer.ordering, explainer.schedule
    holds = name not in PROMISES or name in family.promises(shape)
    if schedule.jumping:
        # A jump lies in one interval or its neighbour by rounding; the gradient before it sees nothing of it.
        incomplete = schedule.jumps == "published" and name in ("completeness", "sensitivity")
        moved = family.ordered and (name in _PLACED or name in ("channel scale", "recovery of IG"))
        holds = holds and not incomplete and not moved
    if family.ordered and name in _PLACED:
        holds = holds and ordering.symmetric
    if family.ordered and name == "channel scale":
        holds = holds and ordering.scope == "channel" and ordering.symmetric
    return AXIOMS[name].promise if holds else "not promised"
