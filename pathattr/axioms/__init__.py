"""The axioms of path attribution as residuals on any model, and `verify`, which judges what a path promises."""

from pathattr.axioms.case import Case
from pathattr.axioms.diagnosis import Diagnosis, diagnose
from pathattr.axioms.geometry import approach, eckart_young, ends, monotone_gates
from pathattr.axioms.integral import (
    batch_independence,
    completeness,
    component_sum,
    dummy,
    implementation_invariance,
    linearity,
    recovery_of_ig,
    reproducibility,
    sensitivity,
    symmetry,
    unchanged_features,
)
from pathattr.axioms.invariance import (
    Move,
    channel_scale,
    equivariance,
    feature_scale,
    flipped,
    global_scale,
    moves,
    permutation_equivariance,
    permuted,
    shifted,
    translation,
)
from pathattr.axioms.promises import AXIOMS, Axiom, promised
from pathattr.axioms.residual import Residual
from pathattr.axioms.verification import Finding, Report, verify

__all__ = [
    "AXIOMS",
    "Axiom",
    "Case",
    "Diagnosis",
    "Finding",
    "Move",
    "Report",
    "Residual",
    "approach",
    "batch_independence",
    "channel_scale",
    "completeness",
    "component_sum",
    "diagnose",
    "dummy",
    "eckart_young",
    "ends",
    "equivariance",
    "feature_scale",
    "flipped",
    "global_scale",
    "implementation_invariance",
    "linearity",
    "monotone_gates",
    "moves",
    "permutation_equivariance",
    "permuted",
    "promised",
    "recovery_of_ig",
    "reproducibility",
    "sensitivity",
    "shifted",
    "symmetry",
    "translation",
    "unchanged_features",
    "verify",
]
