"""The one place for Hypothesis strategies: whatever a path is made of, over its whole domain.

What applies to what is asked of the package (a family says by its facts which orderings it takes), so that a
new family in the table takes part without a line here.
"""

import numpy as np
import pywt
from hypothesis import strategies as st

from pathattr.errors import InvalidInput
from pathattr.families import FAMILIES, Laplacian, Wavelet
from pathattr.orderings import ApproximationThenFinest, Energy, Frequency, Rank, Scale, Shuffled
from pathattr.quadrature import RULES
from pathattr.schedules import CosineRamp, LinearRamp, SigmoidRamp, StepRamp

RAMPS = (LinearRamp, CosineRamp, SigmoidRamp, StepRamp)
CONTINUOUS = (LinearRamp, CosineRamp, SigmoidRamp)
WAVELETS = ("haar", "db2", "db7", "sym5", "coif2", "bior2.2", "bior3.1", "rbio3.1", "rbio4.4", "dmey")
KINDS = ("normal", "constant", "rank deficient", "repeated singular values", "zero channel", "zero")


def applies(family, shape):
    """Whether a family takes differences of this shape (channels, *spatial)."""
    try:
        family.decompose(np.ones(shape))
    except InvalidInput:
        return False
    return True


def ordering_types(family):
    """The orderings that a family has the notions for."""
    facts = family.decompose(np.ones((2, 4, 4))).facts
    types = [Energy, Rank, Shuffled]
    if facts.frequency is not None:
        types.append(Frequency)
    if facts.scale is not None:
        types += [Scale, ApproximationThenFinest]
    return types


@st.composite
def shapes(draw, ranks=(1, 2, 3), channels=3):
    """Shapes (channels, *spatial): odd sides and sides of 1 among them, volumes kept small."""
    rank = draw(st.sampled_from(ranks))
    sides = st.integers(1, 4 if rank == 3 else 7)
    return (draw(st.integers(1, channels)), *(draw(sides) for _ in range(rank)))


@st.composite
def differences(draw, shape, scales=True):
    """Differences of one shape: ordinary ones and every kind that a basis might stumble over."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
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
        array = np.broadcast_to(np.eye(*((1, 1, *shape[1:])[-2:])), shape).copy()
    elif kind == "zero channel":
        array[rng.integers(shape[0])] = 0
    elif kind == "zero":
        array = np.zeros(shape)
    exponent = draw(st.just(0) | st.integers(-150, 150)) if scales else 0
    return array * 10.0**exponent


def wavelets(names=WAVELETS):
    """Wavelet families: bands and coefficients, every border rule."""
    return st.builds(
        Wavelet,
        st.sampled_from(names),
        levels=st.integers(1, 4),
        components=st.sampled_from(["bands", "coefficients"]),
        mode=st.just("periodization") | st.sampled_from(pywt.Modes.modes),
        stop_at_odd=st.booleans(),
    )


def families(shape):
    """Families for differences of this shape: all of the table, and instances with other parameters."""
    table = [make() for make in FAMILIES.values()]
    fitting = [family for family in table if applies(family, shape)]
    return st.sampled_from(fitting) | st.builds(Laplacian, st.integers(1, 5)) | wavelets()


def scopes():
    return st.sampled_from(["channel", "joint"])


@st.composite
def orderings(draw, family):
    """Orderings that a family takes, of both scopes."""
    kind = draw(st.sampled_from(ordering_types(family)))
    if kind is not Shuffled:
        return kind(draw(scopes()))
    plain = [other() for other in ordering_types(family) if other is not Shuffled]
    # Completed as the explainer does.
    return Shuffled(draw(scopes()), of=draw(st.none() | st.sampled_from(plain))).for_family(family.default_ordering)


def overlaps(smallest=0.0):
    """ω in [smallest, 1], the ends drawn often."""
    return st.sampled_from([smallest, 1.0, 0.4]) | st.floats(smallest, 1.0, allow_subnormal=False)


@st.composite
def schedules(draw, ramps=RAMPS, smallest=0.0, jumps=("chord",)):
    """Schedules of every ramp and overlap."""
    ramp = draw(st.sampled_from(ramps))
    settings = {"overlap": draw(overlaps(smallest)), "jumps": draw(st.sampled_from(jumps))}
    if ramp is SigmoidRamp:
        settings["gain"] = draw(st.just(12.0) | st.floats(1.0, 100.0))
    return ramp(**settings)


def rules():
    return st.sampled_from(sorted(RULES))


@st.composite
def spectra(draw, most=12):
    """Strengths and energies of up to `most` components; some energies are 0."""
    count = draw(st.integers(1, most))
    strength = st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1, allow_subnormal=False)
    energy = st.sampled_from([0.0, 1.0]) | st.floats(1e-150, 1e150)
    lists = (draw(st.lists(entry, min_size=count, max_size=count)) for entry in (strength, energy))
    return tuple(np.array(values) for values in lists)


@st.composite
def splits(draw, **of_shapes):
    """A family and a difference that it takes."""
    shape = draw(shapes(**of_shapes))
    return draw(families(shape)), draw(differences(shape))


@st.composite
def paths(draw, ramps=RAMPS, jumps=("chord",), scales=True, **of_shapes):
    """Everything that makes a path: family, ordering, schedule, difference."""
    shape = draw(shapes(**of_shapes))
    family = draw(families(shape))
    schedule = draw(schedules(ramps, jumps=jumps))
    return family, draw(orderings(family)), schedule, draw(differences(shape, scales))
