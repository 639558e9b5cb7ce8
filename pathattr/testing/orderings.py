"""The contract of an ordering, check by check: the strengths that it gives, alone and with every family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from pathattr.common.axes import Array
from pathattr.errors import InvalidInput
from pathattr.families import FAMILIES, PathFamily
from pathattr.paths.orderings import Facts, Ordering
from pathattr.testing.models import LinearModel
from pathattr.testing.properties import (
    MOMENT,
    assert_close,
    assert_complete,
    assert_ends_are_met,
    assert_is_a_value,
    attributed,
    for_all,
    read_only,
    size,
)
from pathattr.testing.strategies import CONTINUOUS, SEEDS, applies, differences, rules, schedules, scopes, shapes

# Strengths are quotients of energies or of ranks, or what few operations make of them.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Contract:
    """An ordering under test; its scope is varied."""

    ordering: Ordering

    def scoped(self, scope: Literal["channel", "joint"]) -> Ordering:
        """Return the ordering with another scope."""
        return replace(self.ordering, scope=scope)

    def strengths(self, facts: Facts, seed: int = 0, scope: Literal["channel", "joint"] = "channel") -> Array:
        """Return the strengths for facts that must not be written to."""
        return self.scoped(scope).strengths(_mapped(facts, read_only), np.random.default_rng(seed))

    def takes(self, facts: Facts) -> bool:
        """Tell whether the facts have what the ordering looks at."""
        try:
            self.strengths(facts)
        except InvalidInput:
            return False
        return True

    @cached_property
    def families(self) -> list[tuple[PathFamily, Ordering]]:
        """The families whose facts it takes, each with the ordering completed for it."""
        made = [make() for make in FAMILIES.values()]
        facts = [family.decompose(np.ones((2, 4, 4))).facts for family in made]
        found = [family for family, own in zip(made, facts, strict=True) if self.takes(own)]
        return [(family, self.ordering.for_family(family.default_ordering)) for family in found]

    @property
    def paths(self) -> SearchStrategy[tuple[PathFamily, Ordering, Array]]:
        """Families with the facts, the ordering completed for them, and differences that they take."""
        return shapes().flatmap(
            lambda shape: st.tuples(
                st.sampled_from([pair for pair in self.families if applies(pair[0], shape)]),
                differences(shape),
            ).map(lambda drawn: (*drawn[0], drawn[1]))
        )


def ordering_suite(ordering: Ordering) -> Callable[..., None]:
    """Return a pytest test that runs the whole contract: `test_mine = ordering_suite(Mine())`.

    Its scope is varied; other parameters stay. Where `symmetric` is True, strengths must not depend on the places of
    components.
    """
    contract = Contract(ordering)

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_contract(check: Callable[[Contract], None]) -> None:
        check(contract)

    return test_contract


def _mapped(facts: Facts, change: Callable[[Array], Array]) -> Facts:
    """Return facts with every table that is there changed."""
    tables = {field.name: getattr(facts, field.name) for field in fields(Facts)}
    return replace(facts, **{name: change(table) for name, table in tables.items() if table is not None})


@st.composite
def _facts(draw: DrawFn) -> Facts:
    """Facts of a few spectra with everything that a family may know: zeros, ties, tiny and huge energies."""
    rows, columns = draw(st.integers(1, 3)), draw(st.integers(1, 8))

    def table(entries: SearchStrategy[float], count: int) -> Array:
        return np.array(draw(st.lists(entries, min_size=count * columns, max_size=count * columns))).reshape(count, -1)

    energy = table(st.sampled_from([0.0, 1.0, 2.0]) | st.floats(1e-150, 1e150), rows)
    # As in most families: all spectra have the same frequencies, scales and decays.
    frequency = table(st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1, allow_subnormal=False), 1)
    scale = table(st.integers(0, 4).map(float), 1)
    decay = table(st.just(0.0) | st.floats(1e-12, 60), 1)  # up to 6π²: of six axes
    return Facts(energy, *(np.repeat(fact, rows, axis=0) for fact in (frequency, scale, decay)))


def _assert_strengths(strengths: Any, shape: tuple[int, ...]) -> None:
    assert isinstance(strengths, np.ndarray), f"strengths are {type(strengths)}"
    assert strengths.dtype == np.float64, f"strengths are {strengths.dtype}"
    assert strengths.shape == shape, f"strengths of shape {strengths.shape} for energies of shape {shape}"
    assert ((strengths >= 0) & (strengths <= 1)).all(), "a strength is outside [0, 1]"


# Strengths


def is_a_value(contract: Contract) -> None:
    """An ordering is a frozen dataclass that takes both scopes and refuses others with InvalidInput."""
    assert_is_a_value(contract.ordering)
    for scope in ("channel", "joint"):
        assert contract.scoped(scope).scope == scope, "the scope is not what was asked for"
    with pytest.raises(InvalidInput, match="scope"):
        contract.scoped("image")  # type: ignore[arg-type]  # refused for that


def strengths_lie_between_0_and_1(contract: Contract) -> None:
    """One float64 strength in [0, 1] for each component, whatever the energies: zero, equal, tiny or huge."""

    @for_all(_facts(), scopes())
    def holds(facts: Facts, scope: Any) -> None:
        _assert_strengths(contract.strengths(facts, scope=scope), facts.energy.shape)
        nothing = replace(facts, energy=np.zeros_like(facts.energy))
        _assert_strengths(contract.strengths(nothing, scope=scope), facts.energy.shape)


def a_seed_settles_the_strengths(contract: Contract) -> None:
    """Equal facts and seeds give the same strengths to the bit; nothing else is random, nothing is remembered."""

    @for_all(_facts(), _facts(), SEEDS, scopes())
    def holds(facts: Facts, others: Facts, seed: int, scope: Any) -> None:
        first = contract.strengths(facts, seed, scope)
        contract.strengths(others, seed, scope)
        assert np.array_equal(contract.strengths(facts, seed, scope), first), "strengths have changed"


def a_joint_scope_is_one_spectrum(contract: Contract) -> None:
    """`scope="joint"` gives all spectra together what `scope="channel"` gives to one spectrum of them all."""

    @for_all(_facts())
    def holds(facts: Facts) -> None:
        joint = contract.strengths(facts, scope="joint")
        together = contract.strengths(facts.joined())
        assert np.array_equal(joint.reshape(1, -1), together), "spectra are not taken together"


def a_channel_scope_looks_at_one_spectrum_at_a_time(contract: Contract) -> None:
    """`scope="channel"`: the energies of one spectrum do not touch the strengths of another."""

    @for_all(_facts(), st.integers(0, 2), st.floats(1e-3, 1e3))
    def holds(facts: Facts, row: int, factor: float) -> None:
        row %= len(facts.energy)
        energy = factor * facts.energy[:, ::-1]
        energy[row] = facts.energy[row]
        changed = contract.strengths(replace(facts, energy=energy))
        assert np.array_equal(changed[row], contract.strengths(facts)[row]), "other spectra play a part"


def one_scale_of_all_energies_changes_nothing(contract: Contract) -> None:
    """A difference a hundred times as large has components of the same strengths."""

    @for_all(_facts(), st.integers(-10, 10), scopes())
    def holds(facts: Facts, exponent: int, scope: Any) -> None:
        scaled = replace(facts, energy=np.ldexp(facts.energy, exponent))  # a power of 2 changes no digit
        found, expected = (contract.strengths(f, scope=scope) for f in (scaled, facts))
        assert_close(found, expected, ROUNDING, "strengths")


def missing_facts_are_refused(contract: Contract) -> None:
    """Without a frequency, scale or decay there are strengths, or InvalidInput that says what is missing."""

    @for_all(_facts(), scopes())
    def holds(facts: Facts, scope: Any) -> None:
        names = ("frequency", "scale", "decay")
        absences: list[dict[str, Any]] = [{name: None} for name in names]
        for missing in [*absences, dict.fromkeys(names)]:
            try:
                strengths = contract.strengths(replace(facts, **missing), scope=scope)
            except InvalidInput as error:
                said = str(error)
            else:
                _assert_strengths(strengths, facts.energy.shape)
                continue
            assert any(name in said for name in missing), f"none of {list(missing)} is named: {said}"


def places_do_not_matter_where_it_is_symmetric(contract: Contract) -> None:
    """`symmetric`: components that change places take their strengths along, so equal ones have equal strengths."""
    if not contract.ordering.symmetric:
        pytest.skip(f"{contract.ordering!r} says that places matter: symmetric is False")

    @for_all(_facts(), SEEDS, scopes())
    def holds(facts: Facts, seed: int, scope: Any) -> None:
        order = np.random.default_rng(seed).permutation(facts.energy.shape[1])
        moved = _mapped(facts, lambda table: table[:, order])
        found, expected = contract.strengths(moved, scope=scope), contract.strengths(facts, scope=scope)
        assert_close(found, expected[:, order], ROUNDING, "strengths")


# Families


def some_family_has_the_facts(contract: Contract) -> None:
    """At least one family of pathattr can be ordered so, the straight line aside."""
    taken = [family for family, _ in contract.families if family.ordered]
    assert taken, f"{contract.ordering!r} refuses the components of every family"


def every_family_with_the_facts_is_ordered(contract: Contract) -> None:
    """Components of every family that has the facts get strengths in [0, 1], degenerate differences included."""

    @for_all(contract.paths)
    def holds(path: tuple[PathFamily, Ordering, Array]) -> None:
        family, ordering, difference = path
        decomposition = family.decompose(difference)
        strengths = decomposition.strengths(ordering, np.random.default_rng(0))
        for term, strength in zip(decomposition.terms, strengths, strict=True):
            _assert_strengths(strength, term.energy.shape)


def linear_models_are_complete(contract: Contract) -> None:
    """F = Σ w·x is explained to rounding along the paths so ordered, components included."""

    @for_all(contract.paths, schedules(), rules(), st.integers(1, 12), SEEDS)
    def holds(path: tuple[PathFamily, Ordering, Array], schedule: Any, rule: str, steps: int, seed: int) -> None:
        family, ordering, x = path
        weights = np.random.default_rng(seed).normal(size=x.shape)
        options = {"family": family, "ordering": ordering, "schedule": schedule, "rule": rule, "steps": steps}
        found = attributed(LinearModel(weights), x[None], **options)
        # A path leaves the box between its ends, by a few times; a dozen edges with some roundings each.
        assert_complete(found, (weights * x)[None], 10 * ROUNDING * size(x) * size(weights))


def the_path_ends_where_it_should(contract: Contract) -> None:
    """Paths begin at the baseline and end at the input, exactly, and reach both without a leap."""

    @for_all(contract.paths, schedules(CONTINUOUS, smallest=0.1))
    def holds(path: tuple[PathFamily, Ordering, Array], schedule: Any) -> None:
        family, ordering, x = path
        # The steepest ramp, a sigmoid of gain 100, rises by 25 per unit of its window, which is 0.1 long at least.
        bound = 10 * size(x) * (250 * MOMENT + ROUNDING)
        assert_ends_are_met(x, np.zeros_like(x), bound, family=family, ordering=ordering, schedule=schedule)


CHECKS = (
    is_a_value,
    strengths_lie_between_0_and_1,
    a_seed_settles_the_strengths,
    a_joint_scope_is_one_spectrum,
    a_channel_scope_looks_at_one_spectrum_at_a_time,
    one_scale_of_all_energies_changes_nothing,
    missing_facts_are_refused,
    places_do_not_matter_where_it_is_symmetric,
    some_family_has_the_facts,
    every_family_with_the_facts_is_ordered,
    linear_models_are_complete,
    the_path_ends_where_it_should,
)
