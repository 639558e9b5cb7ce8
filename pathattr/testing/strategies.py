"""Hypothesis strategies for whatever a path is made of, over its whole domain. Needs hypothesis.

For those who write families, orderings, schedules, rules or models: `from pathattr.testing import strategies`. What
applies to what is asked of the package (a family says by its facts which orderings it takes), so that a new entry in
a table takes part without a line here. One's own takes part by an argument: `paths(of=lambda shape: just(Mine()))`,
`schedules(ramps=(MyRamp,))`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pywt
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from pathattr.common.axes import Array
from pathattr.errors import InvalidInput
from pathattr.families import FAMILIES, Laplacian, PathFamily, Wavelet
from pathattr.integration.quadrature import RULES
from pathattr.paths.orderings import (
    ApproximationThenFinest,
    Diffusion,
    Energy,
    Frequency,
    Leading,
    Ordering,
    Rank,
    Scale,
    Shuffled,
)
from pathattr.paths.schedules import CosineRamp, LinearRamp, Schedule, SigmoidRamp, StepRamp
from pathattr.testing.models import (
    AnalyticModel,
    ExponentialRidge,
    LinearModel,
    Network,
    Polynomial,
    Quadratic,
    ReluNetwork,
    SoftmaxRegression,
    TanhNetwork,
)

Shape = tuple[int, ...]

RAMPS: tuple[type[Schedule], ...] = (LinearRamp, CosineRamp, SigmoidRamp, StepRamp)
CONTINUOUS: tuple[type[Schedule], ...] = (LinearRamp, CosineRamp, SigmoidRamp)
WAVELETS = ("haar", "db2", "db7", "sym5", "coif2", "bior2.2", "bior3.1", "rbio3.1", "rbio4.4", "dmey")
KINDS = ("normal", "constant", "rank deficient", "repeated singular values", "zero channel", "zero")
SEEDS = st.integers(0, 2**32 - 1)


def applies(family: PathFamily, shape: Shape) -> bool:
    """Tell whether a family takes differences of this shape, (channels, *spatial)."""
    try:
        family.decompose(np.ones(shape))
    except InvalidInput:
        return False
    return True


def ordering_types(family: PathFamily, kind: type[Ordering] = Ordering) -> list[type[Ordering]]:
    """Return the orderings of a kind that a family has the notions for, and `Shuffled` of them."""
    # Notions are the same for every shape; a series or a volume where the family takes no pictures.
    shape = next(shape for shape in ((2, 4, 4), (2, 4), (2, 4, 4, 4)) if applies(family, shape))
    facts = family.decompose(np.ones(shape)).facts
    types: list[type[Ordering]] = [Energy, Leading, Rank]
    if facts.frequency is not None:
        types.append(Frequency)
    if facts.scale is not None:
        types += [Scale, ApproximationThenFinest]
    if facts.decay is not None:
        types.append(Diffusion)
    types = [each for each in types if issubclass(each, kind)]
    return [*types, Shuffled] if types else []


@st.composite
def shapes(draw: DrawFn, /, ranks: Sequence[int] = (1, 2, 3), channels: int = 3) -> Shape:
    """Shapes (channels, *spatial) of up to `channels`: odd sides and sides of 1 among them, volumes kept small."""
    rank = draw(st.sampled_from(ranks))
    sides = st.integers(1, 4 if rank == 3 else 7)
    return (draw(st.integers(1, channels)), *(draw(sides) for _ in range(rank)))


@st.composite
def differences(draw: DrawFn, /, shape: Shape, scales: bool = True) -> Array:
    """Differences of one shape: ordinary ones and every kind that a basis might stumble over (`KINDS`).

    With `scales`, numbers are of any size from 1e-150 to 1e150.
    """
    rng = np.random.default_rng(draw(SEEDS))
    kind = draw(st.sampled_from(KINDS))
    array = rng.normal(size=shape)
    if kind == "constant":
        array = np.full(shape, rng.normal())
    elif kind == "rank deficient":
        for channel in array:
            waves = np.ix_(*(rng.normal(size=side) for side in shape[1:]))
            channel[...] = np.prod(np.broadcast_arrays(*waves), axis=0)
    elif kind == "repeated singular values":
        # A partial identity in each matrix, or along the only axis: every singular value is 1.
        rows, columns = (1, *shape[1:])[-2:]
        array = np.broadcast_to(np.eye(rows, columns), shape).copy()
    elif kind == "zero channel":
        array[rng.integers(shape[0])] = 0
    elif kind == "zero":
        array = np.zeros(shape)
    exponent = draw(st.just(0) | st.integers(-150, 150)) if scales else 0
    return array * 10.0**exponent


@st.composite
def inputs(draw: DrawFn, /, shape: Shape | None = None, most: int = 3, scales: bool = True) -> tuple[Array, Array]:
    """Batches of up to `most` inputs and their baselines, each (batch, channels, *spatial), of one of the `shapes`.

    Each example has its own kind and size of difference. Baselines are zero, constant or a picture, of the size of
    the difference; beside a baseline that is not zero, a degenerate difference is so up to rounding.
    """
    shape = draw(shapes()) if shape is None else shape
    examples, starts = [], []
    for _ in range(draw(st.integers(1, most))):
        difference = draw(differences(shape, scales))
        start = draw(st.sampled_from(["zero", "constant", "picture"]))
        rng = np.random.default_rng(draw(SEEDS))
        size = np.abs(difference).max() or 1.0
        if start == "zero":
            starts.append(np.zeros(shape))
        else:
            starts.append(size * (np.full(shape, rng.normal()) if start == "constant" else rng.normal(size=shape)))
        examples.append(starts[-1] + difference)
    return np.stack(examples), np.stack(starts)


def wavelets(names: Sequence[str] = WAVELETS) -> SearchStrategy[Wavelet]:
    """Wavelet families: bands and coefficients, every border rule."""
    components: tuple[Literal["bands", "coefficients"], ...] = ("bands", "coefficients")
    return st.builds(
        Wavelet,
        st.sampled_from(names),
        levels=st.integers(1, 4),
        components=st.sampled_from(components),
        mode=st.just("periodization") | st.sampled_from(pywt.Modes.modes),
        stop_at_odd=st.booleans(),
    )


def families(shape: Shape, kind: type[Ordering] = Ordering) -> SearchStrategy[PathFamily]:
    """Families for differences of this shape: all of the table, and instances with other parameters.

    Those of the table alone where they must have the notions of one kind of ordering.
    """
    table = [make() for make in FAMILIES.values()]
    fitting = [family for family in table if applies(family, shape) and ordering_types(family, kind)]
    if kind is not Ordering:
        return st.sampled_from(fitting)
    return st.sampled_from(fitting) | st.builds(Laplacian, st.integers(1, 5)) | wavelets()


def scopes() -> SearchStrategy[Literal["channel", "joint"]]:
    """Scopes of orderings."""
    names: tuple[Literal["channel", "joint"], ...] = ("channel", "joint")
    return st.sampled_from(names)


@st.composite
def orderings(draw: DrawFn, /, family: PathFamily, kind: type[Ordering] = Ordering) -> Ordering:
    """Orderings of a kind that a family takes, of both scopes."""
    types = ordering_types(family, kind)
    drawn = draw(st.sampled_from(types))
    if drawn is not Shuffled:
        return drawn(draw(scopes()))
    plain = st.sampled_from([other() for other in types if other is not Shuffled])
    # Completed as the explainer does.
    of = draw(st.none() | plain if isinstance(family.default_ordering, kind) else plain)
    return Shuffled(draw(scopes()), of=of).for_family(family.default_ordering)


def overlaps(smallest: float = 0.0) -> SearchStrategy[float]:
    """ω in [smallest, 1], the ends drawn often."""
    return st.sampled_from([smallest, 1.0, 0.4]) | st.floats(smallest, 1.0, allow_subnormal=False)


@st.composite
def schedules(
    draw: DrawFn,
    /,
    ramps: Sequence[type[Schedule]] = RAMPS,
    smallest: float = 0.0,
    jumps: Sequence[str] = ("chord",),
) -> Schedule:
    """Schedules of every ramp, with overlaps from `smallest` and these ways of taking jumps."""
    ramp = draw(st.sampled_from(ramps))
    settings: dict[str, Any] = {"overlap": draw(overlaps(smallest)), "jumps": draw(st.sampled_from(jumps))}
    if ramp is SigmoidRamp:
        settings["gain"] = draw(st.just(12.0) | st.floats(1.0, 100.0))
    return ramp(**settings)


def rules() -> SearchStrategy[str]:
    """Names of quadrature rules."""
    return st.sampled_from(sorted(RULES))


@st.composite
def spectra(draw: DrawFn, /, most: int = 12) -> tuple[Array, Array]:
    """Strengths and energies of up to `most` components, two arrays (components,); some energies are 0."""
    count = draw(st.integers(1, most))
    strength = st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1, allow_subnormal=False)
    energy = st.sampled_from([0.0, 1.0]) | st.floats(1e-150, 1e150)
    strengths, energies = (draw(st.lists(entry, min_size=count, max_size=count)) for entry in (strength, energy))
    return np.array(strengths), np.array(energies)


@st.composite
def splits(
    draw: DrawFn,
    /,
    of: Callable[[Shape], SearchStrategy[PathFamily]] = families,
    scales: bool = True,
    ranks: Sequence[int] = (1, 2, 3),
    channels: int = 3,
) -> tuple[PathFamily, Array]:
    """A family and a difference that it takes; `ranks` and `channels` as in `shapes`, `scales` as in `differences`."""
    shape = draw(shapes(ranks, channels))
    family = draw(of(shape))
    assume(of is families or applies(family, shape))
    return family, draw(differences(shape, scales))


@st.composite
def paths(
    draw: DrawFn,
    /,
    ramps: Sequence[type[Schedule]] = RAMPS,
    jumps: Sequence[str] = ("chord",),
    of: Callable[[Shape], SearchStrategy[PathFamily]] = families,
    scales: bool = True,
    ranks: Sequence[int] = (1, 2, 3),
    channels: int = 3,
    kind: type[Ordering] = Ordering,
) -> tuple[PathFamily, Ordering, Schedule, Array]:
    """Whatever makes a path: family, ordering of a kind, schedule, difference; others as in `schedules`, `splits`."""
    family, difference = draw(splits(of, scales, ranks, channels))
    schedule = draw(schedules(ramps, jumps=jumps))
    return family, draw(orderings(family, kind)), schedule, difference


def networks(shape: Shape, classes: int = 4, hidden: int = 8) -> SearchStrategy[Network]:
    """Random networks of examples of this shape, smooth and piecewise linear, of up to so many classes and units."""
    counts = {"classes": st.integers(1, classes), "hidden": st.integers(1, hidden), "seed": SEEDS}
    return st.sampled_from([TanhNetwork, ReluNetwork]).flatmap(
        lambda network: st.builds(network.random, st.just(shape), **counts)
    )


@st.composite
def analytic_models(draw: DrawFn, /, shape: Shape) -> AnalyticModel:
    """Models of examples of this shape with known integrals, scores of size 1 or so for inputs of size 1."""
    rng = np.random.default_rng(draw(SEEDS))
    features = int(np.prod(shape))
    ridge = rng.normal(size=shape) / np.sqrt(features)
    kind = draw(st.sampled_from([LinearModel, Quadratic, Polynomial, ExponentialRidge, SoftmaxRegression]))
    if kind is Quadratic:
        matrix = rng.normal(size=(features, features)) / features
        return Quadratic((matrix + matrix.T) / 2, ridge)
    if kind is Polynomial:
        powers = draw(st.integers(1, 5))
        return Polynomial(rng.normal(size=(powers, *shape)) / np.sqrt(features))
    if kind is SoftmaxRegression:
        classes = draw(st.integers(2, 4))
        return SoftmaxRegression(rng.normal(size=(classes, *shape)) / np.sqrt(features), rng.normal(size=classes))
    return LinearModel(ridge) if kind is LinearModel else ExponentialRidge(ridge)
