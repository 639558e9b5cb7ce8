"""Every axiom by name, and what a path of a family, an ordering and a schedule promises of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from pathattr.axioms import geometry, integral, invariance
from pathattr.axioms.case import Case
from pathattr.axioms.residual import Residual
from pathattr.common.axes import Array
from pathattr.families.base import PROMISES
from pathattr.methods.path_explainer import PathExplainer
from pathattr.paths.orderings import Facts, Ordering

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
    "sensitivity": Axiom(PROMISES["sensitivity"], integral.sensitivity, "to discretisation"),
    "symmetry": Axiom(PROMISES["symmetry"], integral.symmetry),
    "unchanged features": Axiom(PROMISES["unchanged features"], integral.unchanged_features),
    "feature scale": Axiom(PROMISES["feature scale"], invariance.feature_scale),
    "channel scale": Axiom(PROMISES["channel scale"], invariance.channel_scale),
    **{
        name: Axiom(PROMISES[name], partial(invariance.permutation_equivariance, name=name))
        for name in ("channels", "flips", "transposition", "permutations")
    },
    "rotations": Axiom(
        "attributions move with rotations by 90°, 180° and 270°",
        partial(invariance.permutation_equivariance, name="rotations"),
    ),
    "distance": Axiom(PROMISES["distance"], geometry.approach),
    "Eckart-Young": Axiom(PROMISES["Eckart-Young"], geometry.eckart_young),
}

_PLACED = {"channels", "flips", "transposition", "rotations", "permutations"}
"""Promises about where components are, which an ordering that looks at places breaks."""
_ROUNDED = _PLACED | {"translation", "global scale", "channel scale"}
"""Promises that hold to rounding, and only where rounding cannot tip a balance."""


def promised(explainer: PathExplainer, shape: tuple[int, ...], name: str) -> Promise:
    """Return how far an explainer promises an axiom for examples of a canonical shape (channels, *spatial)."""
    family, ordering, schedule = explainer.family, explainer.ordering, explainer.schedule
    # A rotation is a transposition and a flip.
    needed = {"flips", "transposition"} if name == "rotations" else {name} & set(PROMISES)
    broken = set[str]()
    if not schedule.complete:
        broken |= {"completeness", "sensitivity"}  # the gradient before a jump sees nothing of it
    if family.ordered:
        if not ordering.symmetric:
            broken |= _PLACED
        # A jump at the border of two intervals falls to either side, a tie in energy is broken either way.
        if schedule.jumping or (not ordering.symmetric and _by_energy(ordering)):
            broken |= _ROUNDED
        if not _by_channel(ordering):
            broken.add("channel scale")
        if not _strong_first(ordering):
            broken.add("Eckart-Young")
    return AXIOMS[name].promise if needed <= family.promises(shape) and name not in broken else "not promised"


# An ordering is asked what it looks at: two spectra, the stronger components first.
_ENERGY = np.array([[9.0, 8.0, 7.0, 6.0, 5.0, 4.0], [6.5, 5.5, 4.5, 3.5, 2.5, 1.5]])


def _by_energy(ordering: Ordering) -> bool:
    return not np.allclose(_strengths(ordering, _ENERGY), _strengths(ordering, _ENERGY[:, ::-1]))


def _by_channel(ordering: Ordering) -> bool:
    """Return whether a channel's strengths depend on no other, and on no unit."""
    return np.allclose(_strengths(ordering, _ENERGY), _strengths(ordering, _ENERGY * [[100.0], [1.0]]))


def _strong_first(ordering: Ordering) -> bool:
    return bool((np.diff(_strengths(ordering, _ENERGY), axis=1) <= 0).all())


def _strengths(ordering: Ordering, energy: Array) -> Array:
    place = np.tile(np.arange(float(energy.shape[1])), (len(energy), 1))
    return ordering.strengths(Facts(energy, place / place.max(), scale=place, decay=place), np.random.default_rng(0))
