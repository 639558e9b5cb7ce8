"""What the suites of families, schedules and orderings share: drawn examples, and what every choice is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy
from numpy.typing import NDArray

from pathattr.common.axes import Array
from pathattr.families.base import Decomposition
from pathattr.methods.path_explainer import PathExplainer
from pathattr.results.attribution import Attribution
from pathattr.testing.models import Model, Polynomial

# This much before the end of a path, and after its start, a continuous gate of ordinary slope is as good as there.
MOMENT = 1e-9


def for_all(*strategies: SearchStrategy[Any]) -> Callable[[Callable[..., None]], None]:
    """Run the decorated function at once, on examples drawn from the strategies."""

    def run(body: Callable[..., None]) -> None:
        chosen = settings(
            deadline=None,  # the first example pays for what a family or framework prepares
            report_multiple_bugs=False,
            # What a family refuses is filtered out, and it takes a decomposition to find out.
            suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
        )
        chosen(given(*strategies)(body))()

    return run


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a copy that raises where it is written to: what is handed in is not to be changed."""
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def size(array: NDArray[Any]) -> float:
    """Return the largest magnitude; 1 for zeros, which are to be met within the rounding of 1."""
    return float(np.abs(array).max(initial=0.0)) or 1.0


def assert_close(found: Any, expected: Any, bound: float, what: str = "") -> None:
    """Fail unless two arrays agree in shape and no number differs by more than `bound`."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape, f"{what}: shape {found.shape}, expected {expected.shape}"
    with np.errstate(invalid="ignore"):  # inf − inf is NaN, which no bound allows
        worst = np.abs(found - expected).max(initial=0.0)
    assert worst <= bound, f"{what}: {worst:.3g} off, {bound:.3g} allowed"


def assert_is_a_value(choice: Any) -> None:
    """Fail unless a family, schedule or ordering is a frozen dataclass: compared, hashed and told by its fields."""
    name = type(choice).__qualname__
    made = vars(type(choice)).get("__dataclass_params__")  # of this very class, not inherited
    assert getattr(made, "frozen", False), f"{name} is no frozen dataclass: write @dataclass(frozen=True) above it"
    copy = replace(choice)
    assert copy == choice, f"{copy!r} differs from {choice!r}, of which it is a copy"
    assert hash(copy) == hash(choice), "equal choices have different hashes"
    # The settings of a result name it so: no address, no counter.
    assert repr(copy) == repr(choice), f"equal choices read {copy!r} and {choice!r}"
    assert repr(choice).startswith(f"{name}("), f"{name} is told as {choice!r}"


def attributed(model: Model, x: Array, **options: Any) -> Attribution:
    """Return the attributions of a batch, channels first, in few steps if nothing else is said."""
    return PathExplainer(model.model(), **{"channel_axis": 1, "steps": 8, **options})(x)


def assert_complete(found: Attribution, expected: Array, bound: float) -> None:
    """Fail unless attributions are as expected and what they and the components sum to is F(x) − F(x')."""
    assert_close(found.numpy(), expected, bound, "attributions")
    total = bound * expected[0].size
    assert_close(found.gap, np.zeros(len(expected)), total, "completeness gap")
    assert found.components is not None
    assert_close(found.components.total(), found.score - found.baseline_score, total, "sum of the components'")


def assert_ends_are_met(x: Array, start: Array, bound: float, **options: Any) -> None:
    """Fail unless a path begins at the baseline and ends at the input exactly, and gets there without a leap."""
    explainer = PathExplainer(cubic(start.shape, 0).model(), channel_axis=1, baseline=start, **options)
    path = explainer.path(x[None], [0.0, MOMENT, 1.0 - MOMENT, 1.0])[0]
    assert np.array_equal(path[0], start), "the path does not begin at the baseline"
    assert np.array_equal(path[3], x), "the path does not end at the input"
    assert_close(path[1], start, bound, "just after the start")
    assert_close(path[2], x, bound, "just before the end")


def powers(shape: tuple[int, ...], degree: int, seed: int) -> Polynomial:
    """Return F = Σ_i f_i(x_i) with random polynomials: along every path, feature i gets f_i(x_i) − f_i(x'_i).

    Midpoints of chords integrate degree 2 exactly. Numbers are added and multiplied one by one: no bit of a point's
    gradient depends on the other points.
    """
    return Polynomial(np.random.default_rng(seed).normal(size=(degree + 1, *shape)))


def cubic(shape: tuple[int, ...], seed: int) -> Polynomial:
    """Return random polynomials of degree 3: where the points lie makes a difference."""
    return powers(shape, 3, seed)


def amount(model: Polynomial, x: NDArray[Any]) -> float:
    """Return the size of what a polynomial's attributions at some inputs are made of, for bounds on rounding."""
    degree = len(model.coefficients) - 1
    # The highest power is the largest where inputs exceed 1, the lowest where not. Paths go twice as far: 30 > 3·2³.
    return 30 * max(size(x), size(x) ** degree) * size(model.coefficients)


def gates_of(decomposition: Decomposition, make: Callable[[tuple[int, ...]], Array]) -> tuple[Array, ...]:
    """Return gates for every term, made from its shape."""
    return tuple(make(term.energy.shape) for term in decomposition.terms)
