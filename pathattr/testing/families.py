"""The contract of a path family, check by check: its components, its facts, and its paths through the explainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from string import ascii_lowercase
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from pathattr.axioms import verify
from pathattr.common.axes import Array
from pathattr.errors import InvalidInput
from pathattr.families import Linear, PathFamily
from pathattr.families.base import PROMISES, Decomposition, Factor, Term
from pathattr.methods.path_explainer import PathExplainer
from pathattr.paths.schedules import LinearRamp, Schedule
from pathattr.results.attribution import Attribution
from pathattr.testing import frameworks
from pathattr.testing.models import LinearModel, Polynomial, TanhNetwork
from pathattr.testing.properties import (
    MOMENT,
    amount,
    assert_close,
    assert_complete,
    assert_ends_are_met,
    assert_is_a_value,
    attributed,
    cubic,
    for_all,
    gates_of,
    powers,
    read_only,
    size,
)
from pathattr.testing.strategies import CONTINUOUS, SEEDS, Shape, applies, differences, rules, schedules, shapes

PICTURES: tuple[Shape, ...] = ((2, 6, 7), (2, 6, 8), (1, 8, 8), (3, 16, 16))
"""Pictures of which a family must take one, unless the suite is told its shapes."""
STEPS = st.integers(1, 12)


@dataclass(frozen=True)
class Contract:
    """A family under test, the shapes to test it on (None: whatever it takes), and the rounding that it is allowed.

    `tolerance` is relative to the largest number of a difference.
    """

    family: PathFamily
    shapes: tuple[Shape, ...] | None = None
    tolerance: float = 1e-12

    def takes(self, shape: Shape) -> bool:
        """Tell whether the family takes differences of this shape."""
        return applies(self.family, shape)

    @property
    def picture(self) -> Shape:
        """The first shape with two spatial axes that the family takes."""
        pictures = [shape for shape in self.shapes or PICTURES if len(shape) == 3 and self.takes(shape)]
        assert pictures, f"{self.family!r} takes none of the pictures {self.shapes or PICTURES}: name one in `shapes`"
        return pictures[0]

    def shaped(self) -> SearchStrategy[Shape]:
        """Shapes that the family takes."""
        return st.sampled_from(self.shapes) if self.shapes else shapes().filter(self.takes)

    def differences(self, scales: bool = True) -> SearchStrategy[Array]:
        """Differences that the family takes, of every kind that a basis might stumble over."""
        return self.shaped().flatmap(lambda shape: differences(shape, scales))

    def batches(self, count: int, scales: bool = False) -> SearchStrategy[Array]:
        """Batches of differences of one shape, each of its own kind."""
        return self.shaped().flatmap(lambda shape: st.tuples(*[differences(shape, scales)] * count).map(np.stack))

    def decomposed(self, difference: Array) -> Decomposition:
        """Return the components of a difference that must not be written to."""
        return self.family.decompose(read_only(difference))

    def attributed(self, model: Any, x: Array, **options: Any) -> Attribution:
        """Return the attributions of a batch along the family's paths."""
        return attributed(model, x, family=self.family, **options)


def family_suite(
    family: PathFamily,
    *,
    shapes: Sequence[Shape] | None = None,
    backends: Sequence[str] | None = None,
    tolerance: float = 1e-12,
) -> Callable[..., None]:
    """Return a pytest test that runs the whole contract: `test_mine = family_suite(Mine())`.

    `shapes` lists the (channels, *spatial) to test on, for a family that takes few; one must be a picture. `backends`
    names the frameworks to run it in (all that are known; those not installed are skipped). `tolerance` bounds
    rounding relative to the largest number of a difference: some hundred float64 operations and a margin.
    """
    contract = Contract(family, None if shapes is None else tuple(map(tuple, shapes)), tolerance)
    everywhere = [
        pytest.param(partial(equals_the_closed_form, name=name), id=f"{equals_the_closed_form.__name__}-{name}")
        for name in frameworks.names(backends)
    ]

    @pytest.mark.parametrize("check", [*(pytest.param(check, id=check.__name__) for check in CHECKS), *everywhere])
    def test_contract(check: Callable[[Contract], None]) -> None:
        check(contract)

    return test_contract


# The decomposition


def is_a_value(contract: Contract) -> None:
    """A family is a frozen dataclass: equal to its copies, hashable, told by its parameters."""
    assert_is_a_value(contract.family)


def takes_a_shape_or_says_why_not(contract: Contract) -> None:
    """Every shape is decomposed or refused with InvalidInput, at least one picture taken, and every shape named."""
    assert contract.picture
    for shape in contract.shapes or ():
        assert contract.takes(shape), f"{contract.family!r} refuses {shape}, which `shapes` names"

    @for_all(shapes())
    def holds(shape: Shape) -> None:
        try:
            decomposition = contract.decomposed(np.ones(shape))
        except InvalidInput:
            return
        assert decomposition.shape == shape, f"{shape} gave a decomposition of shape {decomposition.shape}"


def components_sum_to_the_difference(contract: Contract) -> None:
    """All gates open give the difference back, to rounding: degenerate spectra, tiny and huge numbers, odd sides."""

    @for_all(contract.differences())
    def holds(difference: Array) -> None:
        decomposition = contract.decomposed(difference)
        total = decomposition.synthesise(gates_of(decomposition, np.ones))
        assert_close(total, difference, contract.tolerance * size(difference), "sum of the components")


def nothing_comes_of_nothing(contract: Contract) -> None:
    """The components of a zero difference are zero, each of them."""

    @for_all(contract.shaped(), SEEDS)
    def holds(shape: Shape, seed: int) -> None:
        decomposition = contract.decomposed(np.zeros(shape))
        for term in decomposition.terms:
            assert not term.energy.any(), "a component of zero has energy"
        rng = np.random.default_rng(seed)
        found = decomposition.synthesise(gates_of(decomposition, lambda gate_shape: rng.normal(size=gate_shape)))
        assert not found.any(), "a component of zero is not zero"


def equation_and_adjoint_agree(contract: Contract) -> None:
    """⟨synthesise(g), v⟩ = ⟨g, project(v)⟩ for any gates g and direction v: one equation, read both ways."""

    @for_all(contract.differences(), SEEDS)
    def holds(difference: Array, seed: int) -> None:
        decomposition = contract.decomposed(difference)
        rng = np.random.default_rng(seed)
        gates = gates_of(decomposition, lambda shape: rng.normal(size=shape))
        direction = rng.normal(size=difference.shape)
        left = (decomposition.synthesise(gates) * direction).sum()
        right = sum((g * p).sum() for g, p in zip(gates, decomposition.project(direction), strict=True))
        # Cauchy-Schwarz bounds every product that both sums are made of.
        sizes = sum((np.abs(g) * term.energy).sum() for g, term in zip(gates, decomposition.terms, strict=True))
        bound = contract.tolerance * float(np.linalg.norm(direction)) * max(float(sizes), size(difference))
        assert_close(left, right, bound, "⟨synthesise(g), v⟩ − ⟨g, project(v)⟩")


def energies_are_the_norms_of_components(contract: Contract) -> None:
    """A term's energy is the L2 norm of what one gate lets through: a few gates, one at a time."""

    @for_all(contract.differences(), st.lists(SEEDS, min_size=1, max_size=6))
    def holds(difference: Array, seeds: list[int]) -> None:
        decomposition, scale = contract.decomposed(difference), size(difference)
        for seed in seeds:
            gates = gates_of(decomposition, np.zeros)
            index = seed % len(gates)
            place = seed // len(gates) % max(gates[index].size, 1)
            gates[index].flat[place] = 1.0
            component = decomposition.synthesise(gates) / scale  # squares of extreme numbers leave the float64 range
            energy = decomposition.terms[index].energy.flat[place] / scale
            assert_close(energy, np.linalg.norm(component), contract.tolerance * size(component), "energy")


def equations_are_well_formed(contract: Contract) -> None:
    """Factors are finite float64 arrays; labels are letters, not b or n, and each has one size throughout."""

    @for_all(contract.differences())
    def holds(difference: Array) -> None:
        decomposition = contract.decomposed(difference)
        for term in decomposition.terms:
            for factor in term.factors:
                assert isinstance(factor.array, np.ndarray), f"factor {factor.labels!r} is no NumPy array"
                assert factor.array.dtype == np.float64, f"factor {factor.labels!r} is {factor.array.dtype}"
                assert np.isfinite(factor.array).all(), f"factor {factor.labels!r} is not finite"
            for labels in (term.gates, *(factor.labels for factor in term.factors)):
                assert len(set(labels)) == len(labels), f"{labels!r} names an axis twice"
            odd = set(decomposition.sizes(term)) - (set(ascii_lowercase) - set("bn"))
            assert not odd, f"labels {odd}: they must be small letters, and b and n are taken"
            of_factors = "".join(factor.labels for factor in term.factors)
            assert set(term.gates) <= set(of_factors), f"gates {term.gates!r} meet no factor: {of_factors!r}"
            result = term.spectrum or decomposition.labels
            assert set(result) <= set(of_factors + term.gates), f"{result!r} is not made"
        if decomposition.transform is not None:
            assert_is_a_value(decomposition.transform)
        if not contract.family.ordered:
            assert decomposition.facts.energy.size == 1, "ordered = False is for a family of one component"


def facts_are_in_range(contract: Contract) -> None:
    """Energies and decays are at least 0, frequencies in [0, 1], scales whole numbers, all as the gates' shape."""

    @for_all(contract.differences())
    def holds(difference: Array) -> None:
        decomposition = contract.decomposed(difference)
        for term in decomposition.terms:
            assert (np.isfinite(term.energy) & (term.energy >= 0)).all(), "an energy is negative or not finite"
            for fact in (term.frequency, term.scale, term.decay):
                if fact is not None:
                    fits = np.broadcast_shapes(fact.shape, term.energy.shape) == term.energy.shape
                    assert fits, f"a fact of shape {fact.shape} for gates of shape {term.energy.shape}"
            if term.frequency is not None:
                assert ((term.frequency >= 0) & (term.frequency <= 1)).all(), "a frequency is outside [0, 1]"
            if term.scale is not None:
                assert ((term.scale >= 0) & (term.scale % 1 == 0)).all(), "a scale is no whole number from 0"
            if term.decay is not None:
                assert (np.isfinite(term.decay) & (term.decay >= 0)).all(), "a decay is negative or not finite"
        facts = decomposition.facts  # raises where terms disagree on the number of spectra
        for term, back in zip(decomposition.terms, decomposition.split(facts.energy), strict=True):
            assert np.array_equal(back, term.energy), "the facts of terms do not come apart again"


def structure_depends_on_the_shape_alone(contract: Contract) -> None:
    """Differences of one shape have the same terms, labels, sizes and shared factors: images share their equations."""

    @for_all(contract.batches(2, scales=True))
    def holds(pair: Array) -> None:
        decompositions = [contract.decomposed(difference) for difference in pair]
        transforms = [decomposition.transform for decomposition in decompositions]
        assert transforms[0] == transforms[1], f"two differences of one shape gave {transforms[0]} and {transforms[1]}"
        one, other = (decomposition.terms for decomposition in decompositions)
        plans = [_plan(terms) for terms in (one, other)]
        assert plans[0] == plans[1], f"two differences of one shape gave {plans[0]} and {plans[1]}"
        for left, right in zip(_factors(one), _factors(other), strict=True):
            same = not left.shared or np.array_equal(left.array, right.array)
            assert same, f"factor {left.labels!r} says that it is shared, and differs"


def the_same_difference_gives_the_same_components(contract: Contract) -> None:
    """Nothing is random or remembered: equal families give a difference the same factors and facts, to the bit."""

    @for_all(contract.batches(2))
    def holds(pair: Array) -> None:
        first, _, again = (contract.decomposed(pair[i]) for i in (0, 1, 0))
        for left, right in zip(_factors(first.terms), _factors(again.terms), strict=True):
            assert np.array_equal(left.array, right.array), f"factor {left.labels!r} has changed"
        assert np.array_equal(first.facts.energy, again.facts.energy), "energies have changed"


def _plan(terms: Sequence[Term]) -> list[Any]:
    """Return what two images must share to be taken side by side."""
    factors = [[(factor.labels, factor.shared, factor.array.shape) for factor in term.factors] for term in terms]
    return [(t.gates, t.spectrum, t.groups, t.energy.shape, own) for t, own in zip(terms, factors, strict=True)]


def _factors(terms: Sequence[Term]) -> list[Factor]:
    return [factor for term in terms for factor in term.factors]


def orderings_of_its_own_give_strengths(contract: Contract) -> None:
    """The default ordering, and the published one, give every component a strength in [0, 1]."""

    @for_all(contract.differences())
    def holds(difference: Array) -> None:
        for family, ordering in ((contract.family, contract.family.default_ordering), contract.family.published()):
            decomposition = family.decompose(read_only(difference))
            strengths = decomposition.strengths(ordering, np.random.default_rng(0))
            for term, strength in zip(decomposition.terms, strengths, strict=True):
                assert strength.shape == term.energy.shape, f"{ordering!r} gives {strength.shape}"
                assert ((strength >= 0) & (strength <= 1)).all(), f"{ordering!r} gives a strength outside [0, 1]"


# Paths, through the explainer


def linear_models_are_complete(contract: Contract) -> None:
    """F = Σ w·x is explained to rounding by any schedule, rule and number of steps, components included."""

    @for_all(contract.differences(), schedules(jumps=("chord", "published")), rules(), STEPS, SEEDS)
    def holds(difference: Array, schedule: Schedule, rule: str, steps: int, seed: int) -> None:
        weights, start = np.random.default_rng(seed).normal(size=(2, *difference.shape))
        x, start = start * size(difference) + difference, start * size(difference)
        found = contract.attributed(
            LinearModel(weights), x[None], schedule=schedule, rule=schedule.rule or rule, steps=steps, baseline=start
        )
        # A path leaves the box between its ends, by a few times; edges are about a dozen.
        bound = 10 * contract.tolerance * size(difference) * size(weights)
        assert_complete(found, (weights * (x - start))[None], bound)


def squares_are_explained_along_every_path(contract: Contract) -> None:
    """F = Σ w·x² by midpoints is explained to rounding along ramps and across jumps, taken by their chords."""

    @for_all(contract.differences(scales=False), schedules(), STEPS, SEEDS)
    def holds(difference: Array, schedule: Any, steps: int, seed: int) -> None:
        model = powers(difference.shape, 2, seed)
        found = contract.attributed(model, difference[None], schedule=schedule, steps=steps)
        expected = model.line_integral(difference, np.zeros_like(difference))
        assert_complete(found, expected[None], contract.tolerance * amount(model, difference))


def the_path_ends_where_it_should(contract: Contract) -> None:
    """A path begins at the baseline and ends at the input, exactly, and reaches both without a leap."""

    @for_all(contract.differences(scales=False), schedules(CONTINUOUS, smallest=0.1), SEEDS)
    def holds(difference: Array, schedule: Any, seed: int) -> None:
        start = np.random.default_rng(seed).normal(size=difference.shape)
        # The steepest ramp, a sigmoid of gain 100, rises by 25 per unit of its window, which is 0.1 long at least.
        bound = 10 * size(difference) * (250 * MOMENT + contract.tolerance)
        assert_ends_are_met(start + difference, start, bound, family=contract.family, schedule=schedule)


def full_overlap_is_integrated_gradients(contract: Contract) -> None:
    """With ω = 1 and the linear ramp every gate is α: the straight line, whatever the components."""

    @for_all(contract.differences(scales=False), rules(), SEEDS)
    def holds(difference: Array, rule: str, seed: int) -> None:
        model, x = cubic(difference.shape, seed), difference[None]
        found = contract.attributed(model, x, schedule=LinearRamp(1.0), rule=rule)
        expected = attributed(model, x, family=Linear(), rule=rule)
        assert_close(found.numpy(), expected.numpy(), contract.tolerance * amount(model, x), "attributions")


def batches_change_no_bit(contract: Contract) -> None:
    """An image's result is the same to the bit alone, beside others, and in blocks of any size."""

    @for_all(contract.batches(3), schedules(), rules(), st.integers(1, 40), st.integers(0, 2))
    def holds(x: Array, schedule: Any, rule: str, batch_size: int, index: int) -> None:
        model, options = cubic(x.shape[1:], 0), {"schedule": schedule, "rule": rule}
        whole = contract.attributed(model, x, batch_size=1000, **options)
        parts = contract.attributed(model, x, batch_size=batch_size, **options)
        alone = contract.attributed(model, x[index : index + 1], batch_size=batch_size, **options)
        for found, rows in ((parts, slice(None)), (alone, slice(index, index + 1))):
            assert np.array_equal(found.numpy(), whole.numpy()[rows]), "attributions depend on the batch"
            assert found.components is not None
            assert whole.components is not None
            for mine, theirs in zip(found.components.attributions, whole.components.attributions, strict=True):
                assert np.array_equal(mine, theirs[rows]), "components depend on the batch"


def channels_may_come_last(contract: Contract) -> None:
    """Channels last give what channels first give, moved."""

    @for_all(contract.batches(2), schedules())
    def holds(x: Array, schedule: Any) -> None:
        model = cubic(x.shape[1:], 0)
        first = contract.attributed(model, x, schedule=schedule)
        moved = Polynomial(np.moveaxis(model.coefficients, 1, -1))
        last = contract.attributed(moved, np.moveaxis(x, 1, -1), schedule=schedule, channel_axis=-1)
        _assert_same(last, np.moveaxis(first.numpy(), 1, -1), first, contract.tolerance * amount(model, x))


def channels_may_be_absent(contract: Contract) -> None:
    """Pictures without a channel axis give what pictures of one channel give."""
    shape = (1, *contract.picture[1:])
    if not contract.takes(shape):
        pytest.skip(f"{contract.family!r} takes no single channel")

    @for_all(differences(shape, scales=False), schedules())
    def holds(x: Array, schedule: Any) -> None:
        model = cubic(shape, 0)
        one = contract.attributed(model, x[None], schedule=schedule)
        bare = Polynomial(model.coefficients[:, 0])
        none = contract.attributed(bare, x, schedule=schedule, channel_axis=None)
        _assert_same(none, one.numpy()[:, 0], one, contract.tolerance * amount(model, x))


def _assert_same(found: Attribution, expected: Array, other: Attribution, bound: float) -> None:
    """Fail unless attributions are as expected, and components those of the other result."""
    assert_close(found.numpy(), expected, bound, "attributions")
    assert found.components is not None
    assert other.components is not None
    for mine, theirs in zip(found.components.attributions, other.components.attributions, strict=True):
        assert_close(mine.ravel(), theirs.ravel(), bound, "components")


# On frameworks


def equals_the_closed_form(contract: Contract, name: str) -> None:
    """A small network in float32 gets the attributions that float64 NumPy gives it, components included."""
    frameworks.assert_equals_the_closed_form(name, contract.picture, family=contract.family)


def promises_hold(contract: Contract) -> None:
    """What every path promises and what the family itself does hold for a smooth network, in float64."""
    shapes_taken = [shape for shape in contract.shapes or PICTURES if contract.takes(shape)]
    for shape in shapes_taken[:2]:
        network = TanhNetwork.random(shape)
        explainer = PathExplainer(network.model(), family=contract.family, steps=20, channel_axis=1)
        inputs = np.random.default_rng(0).normal(size=(2, *shape))
        unknown = contract.family.promises(shape) - set(PROMISES)
        assert not unknown, f"promises(shape) names {sorted(unknown)}; the names are {', '.join(PROMISES)}"
        report = verify(explainer, inputs, [0, 1])
        assert report.passed, f"on {shape}:\n{report}"


CHECKS = (
    is_a_value,
    takes_a_shape_or_says_why_not,
    components_sum_to_the_difference,
    nothing_comes_of_nothing,
    equation_and_adjoint_agree,
    energies_are_the_norms_of_components,
    equations_are_well_formed,
    facts_are_in_range,
    structure_depends_on_the_shape_alone,
    the_same_difference_gives_the_same_components,
    orderings_of_its_own_give_strengths,
    linear_models_are_complete,
    squares_are_explained_along_every_path,
    the_path_ends_where_it_should,
    full_overlap_is_integrated_gradients,
    batches_change_no_bit,
    channels_may_come_last,
    channels_may_be_absent,
    promises_hold,
)
"""What is checked without a framework; `equals_the_closed_form` comes once for each."""
