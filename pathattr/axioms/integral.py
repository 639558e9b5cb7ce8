"""Axioms of the integral: what attributions add up to, what they tend to, and what they do not depend on."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from pathattr.axioms.case import Case
from pathattr.axioms.residual import Residual, distance, norm
from pathattr.axioms.view import Term
from pathattr.explainer import PathExplainer
from pathattr.families import Linear
from pathattr.layout import Array
from pathattr.schedules import Schedule

FINER = 4
"""How much finer the second look at completeness is."""
CLOSE = 0.01
"""A completeness gap below this share of the score's range is as good as none."""
OVERLAPS = (0.9, 0.95, 0.975)
TRIED = 8
"""How many features are tried for one that moves the score by itself."""


def completeness(case: Case) -> Residual:
    """Σ A = F(x) − F(x'), measured against the range of the score along the path.

    The residual is the gap at four times the steps. It must have fallen to half of the gap at the steps given (a
    quarter is expected even of networks with ReLU, whose error falls as 1/steps), unless it is within 1% of the range.
    A gap that stays says that the gradients are not those of the score.
    """
    coarse, fine = case.attribution, case.answer(steps=FINER * case.explainer.steps)
    gaps = [np.abs(found.gap) for found in (coarse, fine)]
    span = fine.highest - fine.lowest
    allowed = np.maximum(0.5 * gaps[0], CLOSE * span)
    share = np.divide(allowed, span, out=np.full_like(span, CLOSE), where=span > 0)
    relative = np.divide(gaps[1], span, out=np.zeros_like(span), where=span > 0)
    worst = int(np.argmax(relative - share))
    return Residual(
        gaps[1],
        span,
        float(share[worst]),
        f"half of the gap at {case.explainer.steps} steps, or 1% of the score's range",
        {
            "steps": [case.explainer.steps, FINER * case.explainer.steps],
            "gap": [gap.tolist() for gap in gaps],
            "relative_gap": [found.relative_gap.tolist() for found in (coarse, fine)],
            "score_range": span.tolist(),
        },
    )


def component_sum(case: Case) -> Residual:
    """The components' attributions sum to what the features' sum to."""
    assert case.attribution.components is not None
    flat = case.attributions.reshape(len(case.host), -1)
    return Residual(
        np.abs(case.attribution.components.total() - flat.sum(axis=1)),
        np.abs(flat).sum(axis=1),
        1000 * case.precision,
        "sums of many products in the model's precision",
    )


def recovery_of_ig(case: Case) -> Residual:
    """At ω = 1 the path is the straight line and attributions are those of Integrated Gradients, node by node.

    `details` hold the relative distance for ω nearer and nearer to 1: of order 1 − ω for models with a Lipschitz
    gradient, with no monotony promised; and the largest |g(α) − α| over the components.
    """

    def schedule(overlap: float) -> Schedule:
        return replace(case.explainer.schedule, overlap=overlap)

    def at(overlap: float) -> Array:
        return case.answer(schedule=schedule(overlap), components=False).numpy().astype(np.float64)

    straight = case.with_settings(family=Linear(), ordering=None)
    line = straight.attributions
    alpha, strengths = np.linspace(0, 1, 101), np.linspace(0, 1, 101)[:, None]
    rest = {
        str(overlap): {
            "distance": float(distance(at(overlap), line, 0, "").worst),
            "gate": float(np.abs(schedule(overlap).gates(np, alpha, strengths) - alpha).max()),
        }
        for overlap in OVERLAPS
        if case.explainer.family.ordered
    }
    return distance(at(1.0), line, straight.tolerance, straight.reason, below_one=rest)


def sensitivity(case: Case) -> Residual | None:
    """Where one feature alone differs from the baseline and the score does too, that feature gets something.

    The features with the largest attributions are tried, each set to its input value alone, then 10 and 100 times as
    far from the baseline, until one moves the score by more than rounding. The residual is |A_i − ΔF|/|ΔF|; None where
    no feature does.
    """
    start, batch = case.starts[:, 0], len(case.host)
    flat, rows = (case.host - start).reshape(batch, -1), np.arange(batch)
    order = np.argsort(-np.abs(case.attributions).reshape(batch, -1), axis=1, kind="stable")
    missed, change = np.zeros(batch), np.zeros(batch)
    measurable = np.zeros(batch, bool)
    for factor, place in product((1.0, 10.0, 100.0), range(min(TRIED, flat.shape[1]))):
        alone, feature = np.zeros_like(flat), order[:, place]
        alone[rows, feature] = factor * flat[rows, feature]
        found = case.explained(start + alone.reshape(start.shape), baseline=start)
        moved = found.score - found.baseline_score
        own = found.numpy().astype(np.float64).reshape(batch, -1)[rows, feature]
        new = ~measurable & (np.abs(moved) > 1e3 * case.precision * np.abs(found.score))
        missed, change = np.where(new, np.abs(own - moved), missed), np.where(new, moved, change)
        measurable |= new
        if measurable.all():
            break
    if not measurable.any():
        return None
    return Residual(
        missed[measurable],
        np.abs(change[measurable]),
        0.5,
        "the feature must get something: half of what it did leaves room for the integration",
        {"score_change": change[measurable].tolist()},
    )


def dummy(case: Case) -> Residual:
    """A feature that the model ignores gets nothing: here a random half of them is hidden from the model."""
    kept = np.random.default_rng(case.explainer.seed).random(case.host.shape[1:]) < 0.5
    hide = Term(1.0, lambda points: points * kept, lambda gradient: gradient * kept)
    found = case.through([hide])
    return Residual(norm(found * ~kept), norm(case.attributions), 0.0, "exact: the gradient there is 0")


def linearity(case: Case) -> Residual:
    """A(2·F_a − 3·F_b) = 2·A(F_a) − 3·A(F_b) at the same nodes, b being the next class; of one score, A(−3·F)."""
    targets = case.targets
    if case.classes < 2 or targets.shape[1] != 1:
        parts = [(-3.0, case.attributions, targets)]
    else:
        others = (targets + 1) % case.classes
        other = case.through([Term(1.0, targets=others)])
        parts = [(2.0, case.attributions, targets), (-3.0, other, others)]
    found = case.through([Term(weight, targets=own) for weight, _, own in parts])
    expected = sum((weight * attributions for weight, attributions, _ in parts), np.zeros_like(found))
    scale = sum((abs(weight) * norm(attributions) for weight, attributions, _ in parts), np.zeros(len(found)))
    return Residual(norm(found - expected), scale, case.tolerance, case.reason)


def implementation_invariance(case: Case, other: PathExplainer) -> Residual:
    """Two models that compute the same function get the same attributions.

    Attributions depend on the function through its values and gradients alone, so for one model this holds by
    construction; `other` explains a second implementation of it, with the same settings.
    """
    found = other(case.inputs, case.target).numpy().astype(np.float64)
    return distance(found, case.attributions, case.tolerance, case.reason)


def symmetry(case: Case) -> Residual:
    """Two features that the model treats alike and that are equal get the same.

    The two with the largest attributions are made so: the second takes the first one's values, and the model becomes
    the mean of itself and itself with the two exchanged.
    """
    batch, shape = len(case.host), case.host.shape[1:]
    first, second = np.argsort(-np.abs(case.attributions).reshape(batch, -1).sum(axis=0), kind="stable")[:2]

    def exchanged(points: NDArray[np.float64]) -> NDArray[np.float64]:
        flat = points.reshape(len(points), -1).copy()
        flat[:, [first, second]] = flat[:, [second, first]]
        return flat.reshape(-1, *shape)

    def equalised(points: NDArray[np.float64]) -> NDArray[np.float64]:
        flat = points.reshape(len(points), -1).copy()
        flat[:, second] = flat[:, first]
        return flat.reshape(-1, *shape)

    found = case.through([Term(0.5), Term(0.5, exchanged, exchanged)], equalised).reshape(batch, -1)
    pair = found[:, [first, second]]
    return Residual(np.abs(pair[:, 0] - pair[:, 1]), np.abs(pair).max(axis=1), case.tolerance, case.reason)


def unchanged_features(case: Case) -> Residual:
    """A feature that is equal in input and baseline gets nothing: here a random half of them is made so."""
    kept = np.random.default_rng(case.explainer.seed).random(case.host.shape[1:]) < 0.5
    start = case.starts[:, 0]
    found = case.explained(np.where(kept, case.host, start), baseline=start).numpy().astype(np.float64)
    return Residual(norm(found * ~kept), norm(found), 0.0, "exact: nothing moves there")


def batch_independence(case: Case) -> Residual:
    """An example's attributions do not depend on its batch-mates, nor on how many points the model sees at once."""
    size = max(1, case.explainer.batch_size // 2 - 1)
    alone = [case.answer([row], batch_size=size).numpy().astype(np.float64)[0] for row in range(len(case.host))]
    found = np.stack(alone)
    same_bits = bool((found == case.attributions).all())
    return distance(found, case.attributions, case.tolerance, case.reason, bit_identical=same_bits)


def reproducibility(case: Case) -> Residual:
    """The same question gets the same answer."""
    found = case.answer().numpy().astype(np.float64)
    same_bits = bool((found == case.attributions).all())
    return distance(found, case.attributions, case.tolerance, case.reason, bit_identical=same_bits)
