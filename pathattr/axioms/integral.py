"""Axioms of the integral: what attributions add up to, what they tend to, and what they do not depend on."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from pathattr.axioms.case import Case
from pathattr.axioms.residual import Residual, distance, norm
from pathattr.axioms.view import Summand
from pathattr.common.axes import Array
from pathattr.errors import ModelError
from pathattr.families import Linear
from pathattr.methods.path_explainer import PathExplainer
from pathattr.paths.schedules import Schedule
from pathattr.results.attribution import Attribution

FINER = 4
"""How much finer each look is than the one before."""
WINDOW, MOST = 64, 4096
"""A gap that stays is the gradient's fault where so many steps lie in a window; for narrow ones so many are taken."""
CLOSE = 0.01
"""A completeness gap below this share of the score's range is as good as none."""
OVERLAPS = (0.9, 0.95, 0.975)
TRIED = 8
"""How many features are tried for one that moves the score by itself."""


def completeness(case: Case) -> Residual | None:
    """Σ A = F(x) − F(x'), measured against the range of the score along the path.

    The residual is the gap at four times the steps. It must have fallen to half of the gap at the steps given (a
    quarter is expected even of networks with ReLU, whose error falls as 1/steps), unless it is within 1% of the range.
    One that has not is looked at again at sixteen times, and at sixty-four while it still moves. A gap that stays says
    that the gradients are not those of the score, unless windows are too narrow for so many steps: there is no
    tolerance then. None where the model tells no score.
    """
    if not case.adapter.has_values:
        return None
    steps, found = [case.steps], [case.attribution]
    terms = np.abs(case.attributions).reshape(len(case.host), -1).sum(axis=1)
    noise = 100 * case.precision * (terms + np.maximum(np.abs(found[0].lowest), np.abs(found[0].highest)))
    for look in range(1, 4):
        steps.append(_finer(case, look))
        found.append(case.answer(steps=steps[-1], components=False))
        gaps = np.abs([each.gap for each in found])
        size = np.maximum(_range(found[-1]), noise / CLOSE)  # a score that hardly changes has a gap by rounding
        allowed = np.maximum(0.5 * gaps[:-1].max(axis=0), CLOSE * size)
        left, seen = gaps[-1] > allowed, _sees_windows(case, steps[-1])
        moves = gaps[-1] < 8 * np.abs(gaps[-1] - gaps[-2])
        if not left.any() or (look > 1 and seen and not (left & moves).any()):
            break
    # Each example has its own tolerance: of the one that is furthest off.
    worst = [int(np.argmax(gaps[-1] - allowed))]
    tolerance = np.divide(allowed, size, out=np.full_like(size, CLOSE), where=size > 0)[worst]
    reason = f"half of the gap at fewer steps, or {CLOSE:.0%} of the score's range"
    if left.any() and not seen:
        tolerance, reason = np.array([np.inf]), f"windows are too narrow for {steps[-1]} steps"
    details = {
        "steps": steps,
        "gap": gaps.tolist(),
        "relative_gap": [each.relative_gap.tolist() for each in found],
        "score_range": _range(found[-1]).tolist(),
    }
    return Residual(gaps[-1][worst], size[worst], float(tolerance[0]), reason, details)


def _range(found: Attribution) -> Array:
    return found.highest - found.lowest


def _finer(case: Case, look: int) -> int:
    """Return the steps of a finer look; those of the third are enough for narrow windows as well."""
    steps = case.steps * FINER**look
    return steps if look < 3 else max(steps, min(MOST, int(np.ceil(WINDOW / _overlap(case)))))


def _sees_windows(case: Case, steps: int) -> bool:
    return steps * _overlap(case) >= WINDOW


def _overlap(case: Case) -> float:
    schedule = case.explainer.schedule
    return 1.0 if schedule.jumping else schedule.overlap  # jumps have nodes of their own


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


def recovery_of_ig(case: Case) -> Residual | None:
    """At ω = 1 the path is the straight line and attributions are those of Integrated Gradients, node by node.

    `details` hold the relative distance for ω nearer and nearer to 1: of order 1 − ω for models with a Lipschitz
    gradient, with no monotony promised; and the largest |g(α) − α| over the components. None for a schedule without ω.
    """
    if not case.explainer.schedule.windowed:
        return None

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
    far from the baseline, until one moves the score by more than rounding. The residual is |A_i − ΔF|/|ΔF| at four
    times the steps, or at sixteen or sixty-four where those are too few; there is no tolerance where windows are too
    narrow even for these. None where no feature moves the score before the model overflows.
    """
    start, batch = case.starts[:, 0], len(case.host)
    flat, rows = (case.host - start).reshape(batch, -1), np.arange(batch)
    order = np.argsort(-np.abs(case.attributions).reshape(batch, -1), axis=1, kind="stable")
    least = 1e3 * case.precision * np.maximum(np.abs(case.attribution.lowest), np.abs(case.attribution.highest))
    chosen, inputs, measurable = order[:, 0].copy(), start.copy(), np.zeros(batch, bool)
    for factor, place in product((1.0, 10.0, 100.0), range(min(TRIED, flat.shape[1]))):
        alone, feature = np.zeros_like(flat), order[:, place]
        alone[rows, feature] = factor * flat[rows, feature]
        tried = start + alone.reshape(start.shape)
        try:
            found = case.explained(tried, baseline=start, steps=1)  # for the scores at its ends
        except ModelError:
            break
        new = ~measurable & (np.abs(found.score - found.baseline_score) > least)
        chosen[new], inputs[new] = feature[new], tried[new]
        measurable |= new
        if measurable.all():
            break
    if not measurable.any():
        return None
    for look in range(1, 4):
        steps = _finer(case, look)
        found = case.explained(inputs, baseline=start, steps=steps)
        change = (found.score - found.baseline_score)[measurable]
        own = found.numpy().astype(np.float64).reshape(batch, -1)[rows, chosen][measurable]
        missed = np.abs(own - change)
        if (missed <= 0.5 * np.abs(change)).all():
            break
    tolerance, reason = 0.5, "the feature must get something: half of what it did leaves room for the integration"
    if (missed > 0.5 * np.abs(change)).any() and not _sees_windows(case, steps):
        tolerance, reason = np.inf, f"windows are too narrow for {steps} steps"
    return Residual(missed, np.abs(change), tolerance, reason, {"score_change": change.tolist()})


def dummy(case: Case) -> Residual:
    """A feature that the model ignores gets nothing: here a random half of them is hidden from the model."""
    kept = np.random.default_rng(case.explainer.seed).random(case.host.shape[1:]) < 0.5
    hide = Summand(1.0, lambda points: points * kept, lambda gradient: gradient * kept)
    found = case.through([hide])
    return Residual(norm(found * ~kept), norm(case.attributions), 0.0, "exact: the gradient there is 0")


def linearity(case: Case) -> Residual:
    """A(2·F_a − 3·F_b) = 2·A(F_a) − 3·A(F_b) at the same nodes, b being the next class; of one score, A(−3·F)."""
    target = case.attribution.target
    if case.classes < 2 or target.ndim != 1:
        terms, parts = [Summand(-3.0)], [-3.0 * case.attributions]
    else:
        other = (target[:, None, None] + 1) % case.classes
        terms = [Summand(2.0), Summand(-3.0, targets=other)]
        parts = [2.0 * case.attributions, -3.0 * case.through([Summand(targets=other)])]
    found = case.through(terms)
    scale = np.sum([norm(part) for part in parts], axis=0)
    return Residual(norm(found - np.sum(parts, axis=0)), scale, case.tolerance, case.reason)


def implementation_invariance(case: Case, other: PathExplainer) -> Residual:
    """Two models that compute the same function get the same attributions.

    Attributions depend on the function through its values and gradients alone, so for one model this holds by
    construction; `other` explains a second implementation of it, with the same settings.
    """
    found = other(case.inputs, case.target).numpy().astype(np.float64)
    return distance(found, case.attributions, case.tolerance, case.reason)


def symmetry(case: Case) -> Residual | None:
    """Two features that the model treats alike and that are equal get the same.

    The two with the largest attributions are made so: the second takes the first one's values, and the model becomes
    the mean of itself and itself with the two exchanged. None for examples of a single feature.
    """
    batch, shape = len(case.host), case.host.shape[1:]
    if np.prod(shape) < 2:
        return None
    first, second = np.argsort(-np.abs(case.attributions).reshape(batch, -1).sum(axis=0), kind="stable")[:2]

    def exchanged(points: NDArray[np.float64]) -> NDArray[np.float64]:
        flat = points.reshape(len(points), -1).copy()
        flat[:, [first, second]] = flat[:, [second, first]]
        return flat.reshape(-1, *shape)

    def equalised(points: NDArray[np.float64]) -> NDArray[np.float64]:
        flat = points.reshape(len(points), -1).copy()
        flat[:, second] = flat[:, first]
        return flat.reshape(-1, *shape)

    found = case.through([Summand(0.5), Summand(0.5, exchanged, exchanged)], equalised).reshape(batch, -1)
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
    size = max(1, case.batch_size // 2 - 1)
    alone = [case.answer([row], batch_size=size).numpy().astype(np.float64)[0] for row in range(len(case.host))]
    found = np.stack(alone)
    same_bits = bool((found == case.attributions).all())
    return distance(found, case.attributions, case.tolerance, case.reason, bit_identical=same_bits)


def reproducibility(case: Case) -> Residual:
    """The same question gets the same answer."""
    found = case.answer().numpy().astype(np.float64)
    same_bits = bool((found == case.attributions).all())
    return distance(found, case.attributions, case.tolerance, case.reason, bit_identical=same_bits)
