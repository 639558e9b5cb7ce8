"""The suites that third parties run on their own: every choice of ours passes, and every check rejects something."""

import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import Phase, settings

from pathattr import NumpyModel, PathExplainer
from pathattr.errors import InvalidInput, PathattrError
from pathattr.families import DCT, FAMILIES, SVD, Laplacian, Linear, PathFamily, Wavelet
from pathattr.families.pyramid import stack_of_bands
from pathattr.models.numpy_backend import NumpyBackend
from pathattr.paths.orderings import ORDERINGS, ApproximationThenFinest, Energy, Frequency, Ordering, Scale, Shuffled
from pathattr.paths.schedules import SCHEDULES, HeatRamp, LinearRamp, Schedule, SigmoidRamp, StepRamp
from pathattr.testing import TanhNetwork, family_suite, frameworks, ordering_suite, schedule_suite
from pathattr.testing import families as family_checks
from pathattr.testing import orderings as ordering_checks
from pathattr.testing import schedules as schedule_checks

EXAMPLE = Path(__file__).parents[2] / "examples" / "fourier_family.py"
spec = importlib.util.spec_from_file_location("fourier_family", EXAMPLE)
fourier_family = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fourier_family)
Fourier = fourier_family.Fourier


# What we have


def suites(kind, suite, table):
    """One test for each entry of a table, by name."""
    return {f"test_{kind}_{name.replace('-', '_')}": suite(make()) for name, make in table.items()}


globals().update(suites("family", family_suite, FAMILIES))
globals().update(suites("schedule", schedule_suite, SCHEDULES))
globals().update(suites("ordering", ordering_suite, ORDERINGS))

# Atoms that are neither orthogonal nor of length 1, other border rules, levels that end early.
test_family_wavelet_db2_symmetric = family_suite(Wavelet("db2", mode="symmetric"))
test_family_wavelet_bior_coefficients = family_suite(Wavelet("bior3.1", 2, "coefficients", mode="reflect"))
test_family_wavelet_stopping_at_odd_sides = family_suite(Wavelet(levels=2, stop_at_odd=True))
test_family_laplacian_of_one_level = family_suite(Laplacian(levels=1))
test_family_of_named_shapes = family_suite(SVD(), shapes=[(2, 9, 4), (1, 3, 4, 5)], backends=["numpy"])
test_schedule_gentle_sigmoid = schedule_suite(SigmoidRamp(gain=1.0))
test_schedule_steep_sigmoid = schedule_suite(SigmoidRamp(gain=100.0))
test_schedule_of_published_jumps = schedule_suite(StepRamp(jumps="published"), backends=["numpy"])
test_schedule_of_heat = schedule_suite(HeatRamp())
test_ordering_shuffled_rank = ordering_suite(Shuffled(of=ORDERINGS["rank"]()))


# The example of the documentation

test_family_fourier = family_suite(Fourier())


@pytest.mark.parametrize(("family", "equivariant"), [(Fourier(), True), (DCT(), False)])
def test_the_fourier_path_moves_with_cyclic_shifts_and_that_of_cosines_does_not(family, equivariant):
    shape = (2, 6, 7)
    network = TanhNetwork.random(shape)
    x, start = np.random.default_rng(0).normal(size=(2, 1, *shape))

    def there(points):
        return np.roll(points, (2, -3), axis=(-2, -1))

    def back(points):
        return np.roll(points, (-2, 3), axis=(-2, -1))

    shifted = NumpyModel(lambda p: network.value(back(p)), lambda p, c: there(network.vjp(back(p), c)))
    plain = PathExplainer(network.model(), family=family, baseline=start, steps=20)(x, 1).attributions
    moved = PathExplainer(shifted, family=family, baseline=there(start), steps=20)(there(x), 1).attributions
    distance = np.abs(moved - there(plain)).max() / np.abs(plain).max()
    # Rounding of some hundred terms at 20 edges, or a difference that nobody would take for rounding.
    assert distance < 1e-12 if equivariant else distance > 0.1


def test_the_fourier_basis_is_orthonormal_its_own_inverse_and_holds_plain_waves():
    for size in (1, 2, 5, 8):
        difference = np.cos(2 * np.pi * np.arange(size) * (size // 2) / size)[None]
        (term,) = Fourier().decompose(difference).terms
        matrix = term.factors[1].array
        np.testing.assert_allclose(matrix @ matrix, np.eye(size), atol=1e-14)  # sums of at most 8 products
        np.testing.assert_array_equal(matrix, matrix.T)
        finest = term.frequency == term.frequency.max()
        assert finest.sum() == (1 if size % 2 == 0 or size == 1 else 2)
        np.testing.assert_allclose(term.energy[0][~finest], 0, atol=1e-14)


def test_the_example_is_as_short_as_the_docs_say():
    assert len(EXAMPLE.read_text().splitlines()) < 40


def documented():
    """The code of the schedule and the ordering that the documentation shows, as one module."""
    text = (EXAMPLE.parent.parent / "docs" / "write-a-family.md").read_text()
    names = {"dataclass": dataclass, "np": np, "Energy": Energy, "Ordering": Ordering, "Schedule": Schedule}
    names |= {"schedule_suite": schedule_suite, "ordering_suite": ordering_suite, "__name__": __name__}
    for block in re.findall(r"```python\n(@dataclass.*?)```", text, re.DOTALL):
        exec(block, names)
    return names


test_schedule_of_the_docs = documented()["test_smooth"]
test_ordering_of_the_docs = documented()["test_square_root"]


# Broken families: cosines to whose decompositions something is done


@dataclass(frozen=True)
class Cosines(PathFamily):
    change: Callable = lambda decomposition, difference: decomposition
    ordering: Ordering = field(default_factory=Frequency)

    def decompose(self, difference):
        return self.change(DCT().decompose(difference), difference)

    @property
    def default_ordering(self):
        return self.ordering


def with_term(**changes):
    """Cosines whose term differs; each change is a function of what is there."""

    def change(decomposition, difference):
        (term,) = decomposition.terms
        return replace(decomposition, terms=(replace(term, **{k: f(getattr(term, k)) for k, f in changes.items()}),))

    return Cosines(change)


def with_coefficients(function):
    """Cosines whose coefficients alone differ, (channels, *frequencies)."""
    return with_term(factors=lambda factors: (replace(factors[0], array=function(factors[0].array)), *factors[1:]))


def in_two(split):
    """Two components, D·share + offset and the rest, of (share, offset) that may change from call to call."""

    def change(decomposition, difference):
        share, offset = split(difference)
        bands = [difference * share + offset, difference * (1 - share) - offset]
        return stack_of_bands(np.stack(bands, axis=1), [0, 1], [0.0, 1.0])

    return Cosines(change, Energy())


def without_the_highest(coefficients):
    kept = coefficients.copy()
    kept[(..., *(-1,) * (kept.ndim - 1))] = 0
    return kept


def without_zeros(decomposition, difference):
    """Drop the frequencies at which nothing is."""
    (term,) = decomposition.terms
    kept = np.flatnonzero(term.energy.reshape(len(difference), -1).any(axis=0))
    bands = [np.zeros_like(difference)]
    for place in kept:
        gates = np.zeros(term.energy.shape)
        gates.reshape(len(difference), -1)[:, place] = 1
        bands.append(decomposition.synthesise((gates,)))
    return stack_of_bands(np.stack(bands, axis=1), range(len(bands)), np.linspace(0, 1, len(bands)))


def without_a_gate(decomposition, difference):
    """One gate that no factor knows of: the equation can be read in one direction only."""
    (term,) = Linear().decompose(difference).terms
    return replace(decomposition, terms=(replace(term, gates="k", energy=term.energy[None]),))


def of_even_sides(decomposition, difference):
    if any(side % 2 for side in difference.shape[1:]):
        raise ValueError("odd")
    return decomposition


def refused(decomposition, difference):
    raise InvalidInput("takes nothing")


def written_over(decomposition, difference):
    difference -= difference.mean()
    return DCT().decompose(difference)


def next_to_nothing(decomposition, difference):
    return DCT().decompose(difference + 1e-3)


class Plain(DCT):
    """No dataclass of its own."""


class Draws:
    """Numbers that nobody can foresee."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def __call__(self, difference):
        return self.rng.uniform(0.1, 0.9), 0.0


@dataclass(frozen=True)
class Boasting(DCT):
    """Cosines that promise what they do not keep."""

    names: tuple[str, ...] = ()

    def promises(self, shape):
        return frozenset(self.names)


DRAWS = Draws()
LOSING = with_coefficients(without_the_highest)
FAMILY_FAULTS = [
    ("is_a_value", Plain(), "Plain is no frozen dataclass"),
    ("takes_a_shape_or_says_why_not", Cosines(of_even_sides), "odd"),
    ("takes_a_shape_or_says_why_not", Cosines(refused), "takes none of the pictures"),
    ("components_sum_to_the_difference", LOSING, "sum of the components"),
    ("components_sum_to_the_difference", Cosines(next_to_nothing), "sum of the components"),
    ("components_sum_to_the_difference", Cosines(written_over), "read-only"),
    ("nothing_comes_of_nothing", in_two(lambda difference: (0.5, 1.0)), "of zero has energy"),
    ("equation_and_adjoint_agree", Cosines(without_a_gate), "character k did not appear"),
    ("energies_are_the_norms_of_components", with_term(energy=lambda energy: energy**2), "energy"),
    ("equations_are_well_formed", with_coefficients(np.float32), "is float32"),
    ("equations_are_well_formed", Cosines(without_a_gate), "'k' meet no factor"),
    ("facts_are_in_range", with_term(frequency=lambda frequency: 2 * frequency), r"outside \[0, 1\]"),
    ("facts_are_in_range", with_term(decay=np.negative), "a decay is negative"),
    ("facts_are_in_range", with_term(scale=lambda scale: np.asarray(0.5)), "no whole number"),
    ("structure_depends_on_the_shape_alone", Cosines(without_zeros), "two differences of one shape gave"),
    ("the_same_difference_gives_the_same_components", in_two(DRAWS), "has changed"),
    ("orderings_of_its_own_give_strengths", Cosines(ordering=Scale()), "scale"),
    ("linear_models_are_complete", LOSING, "sum of the components'"),
    ("squares_are_explained_along_every_path", LOSING, "sum of the components'"),
    ("the_path_ends_where_it_should", LOSING, "just before the end"),
    ("full_overlap_is_integrated_gradients", LOSING, "attributions"),
    ("batches_change_no_bit", in_two(DRAWS), "attributions depend on the batch"),
    ("channels_may_come_last", in_two(DRAWS), "attributions"),
    ("channels_may_be_absent", in_two(DRAWS), "attributions"),
    # Two components that cancel but for a millionth: float32 keeps no digit of it.
    ("promises_hold", Boasting(("permutations",)), "FAILS +permutations"),
    ("promises_hold", Boasting(("youth",)), "promises.shape. names .'youth'."),
    ("equals_the_closed_form", in_two(lambda difference: (0.5, 1e6)), "attributions on numpy"),
]


# Broken schedules


@dataclass(frozen=True)
class Ramp(Schedule):
    """A schedule whose ramp is a function."""

    function: Callable = lambda p: p

    def ramp(self, ops, progress):
        return self.function(progress)


@dataclass(frozen=True)
class Gates(LinearRamp):
    """A schedule whose gates are a function of α, strength and ω."""

    function: Callable = lambda a, s, w: a

    def gates(self, ops, alpha, strengths, *, inside=False):
        return self.function(alpha, strengths, self.overlap) + 0.0 * (alpha + strengths)


def closed_and_open(gate):
    """Gates that are set to 0 and 1 at the ends."""
    return Gates(function=lambda a, s, w: np.where(a <= 0, 0.0, np.where(a >= 1, 1.0, gate(a, s, w))))


@dataclass(frozen=True)
class Unchecked(LinearRamp):
    def __post_init__(self):
        pass


@dataclass(frozen=True)
class Reversed(LinearRamp):
    def starts(self, strengths):
        return (1.0 - self.overlap) * strengths


@dataclass(frozen=True)
class Early(LinearRamp):
    def starts(self, strengths):
        return super().starts(strengths) - 0.2


@dataclass(frozen=True)
class HiddenStep(StepRamp):
    jumping: ClassVar[bool] = False  # not without overlap either


@dataclass(frozen=True)
class LatentStep(StepRamp):
    @property
    def jumping(self):
        return self.overlap == 0


@dataclass(frozen=True)
class Misplaced(StepRamp):
    def gates(self, ops, alpha, strengths, *, inside=False):
        return ops.where(alpha >= self.openings(strengths) + 0.1, 1.0, 0.0 * strengths)


@dataclass(frozen=True)
class OnTheHost(LinearRamp):
    """Takes NumPy, whatever framework asks."""

    def gates(self, ops, alpha, strengths, *, inside=False):
        return super().gates(np, np.asarray(alpha), np.asarray(strengths))


def never_open(a, s, w):
    return 0.9 * a


SCHEDULE_FAULTS = [
    ("is_a_value", type("Undecorated", (LinearRamp,), {})(), "Undecorated is no frozen dataclass"),
    ("is_a_value", Unchecked(), "DID NOT RAISE"),
    ("gates_are_closed_at_0_and_open_at_1", Gates(function=never_open), "not 1 at α = 1"),
    ("gates_rise_from_0_to_1", Ramp(function=lambda p: p + 0.3 * np.sin(2 * np.pi * p)), "closes again"),
    ("gates_rise_from_0_to_1", Ramp(function=lambda p: 1.5 * p), r"outside \[0, 1\]"),
    ("the_stronger_is_never_later", Reversed(), "a weaker component is ahead"),
    ("full_overlap_opens_all_gates_together", closed_and_open(lambda a, s, w: a ** (2 - s)), "strengths differ"),
    ("gates_keep_to_their_windows", closed_and_open(lambda a, s, w: a), "its window"),
    ("gates_keep_to_their_windows", Early(), r"not inside \[0, 1\]"),
    ("the_ramp_runs_from_0_to_1", Ramp(function=lambda p: 0.9 * p), "the ramp ends at 0.9"),
    ("jumping_tells_whether_gates_jump", HiddenStep(), "without overlap a window has no length"),
    ("jumping_tells_whether_gates_jump", LatentStep(), "leaps by 1"),
    ("jumping_tells_whether_gates_jump", Ramp(function=lambda p: 0.9 * p), "leaps by 0.1"),
    ("jumping_tells_whether_gates_jump", Misplaced(), "jump at"),
    ("edges_miss_no_movement", closed_and_open(lambda a, s, w: a), "get no node"),
    ("linear_models_are_complete", Gates(function=never_open), "sum of the components'"),
    ("squares_are_explained_across_jumps", Gates(function=never_open), "sum of the components'"),
    ("the_path_ends_where_it_should", Ramp(function=lambda p: 0.9 * p), "just before the end"),
    ("full_overlap_is_the_straight_line", closed_and_open(lambda a, s, w: a ** (2 - s)), "attributions"),
    ("equals_numpy", Gates(function=lambda a, s, w: a * DRAWS(a)[0]), "gates on numpy"),
]


# Broken orderings


@dataclass(frozen=True)
class By(Ordering):
    """Strengths by a function of the facts."""

    function: Callable = lambda facts: facts.energy

    def spectra(self, facts, rng):
        return self.function(facts)


@dataclass(frozen=True)
class Deaf(Energy):
    """Takes no notice of the scope."""

    def strengths(self, facts, rng):
        return self.spectra(facts, rng)


def of_one_spectrum(facts):
    largest = facts.energy.max(initial=0.0)
    return facts.energy / (largest if largest > 0 else 1.0)


def in_place(facts):
    facts.energy /= max(facts.energy.max(), 1.0)
    return facts.energy


def by_frequency(facts):
    if facts.frequency is None:
        raise TypeError("frequency is None")
    return 1.0 - facts.frequency


def by_nothing(facts):
    raise InvalidInput("neither frequency nor scale will do")


ORDERING_FAULTS = [
    ("is_a_value", type("Undecorated", (Energy,), {})(), "Undecorated is no frozen dataclass"),
    ("strengths_lie_between_0_and_1", By(), r"outside \[0, 1\]"),
    ("strengths_lie_between_0_and_1", By(function=lambda facts: np.ones(3)), r"strengths of shape \(3,\)"),
    ("a_seed_settles_the_strengths", By(function=lambda f: 0 * f.energy + DRAWS(f)[0]), "strengths have changed"),
    ("a_seed_settles_the_strengths", By(function=in_place), "read-only"),
    ("a_joint_scope_is_one_spectrum", Deaf(), "not taken together"),
    ("a_channel_scope_looks_at_one_spectrum_at_a_time", By(function=of_one_spectrum), "other spectra play a part"),
    ("one_scale_of_all_energies_changes_nothing", By(function=lambda f: f.energy / (1 + f.energy)), "strengths"),
    ("missing_facts_are_refused", By(function=by_frequency), "frequency is None"),
    ("places_do_not_matter_where_it_is_symmetric", type("Published", (ApproximationThenFinest,), {"symmetric": True})(),
     "strengths"),
    ("some_family_has_the_facts", By(function=by_nothing), "refuses the components of every family"),
    ("every_family_with_the_facts_is_ordered", By(), r"outside \[0, 1\]"),
    ("linear_models_are_complete", By(function=lambda facts: np.nan * facts.energy), r"must lie in \[0, 1\]"),
    ("the_path_ends_where_it_should", By(function=lambda facts: 0 * facts.energy + 5), r"must lie in \[0, 1\]"),
]  # fmt: skip

KINDS = {
    "family": (family_checks, FAMILY_FAULTS),
    "schedule": (schedule_checks, SCHEDULE_FAULTS),
    "ordering": (ordering_checks, ORDERING_FAULTS),
}


@pytest.fixture
def unshrunk():
    """The first example that fails will do: looking for the smallest takes a hundred times as long."""
    before = settings.get_current_profile_name()
    settings.register_profile("unshrunk", settings.get_profile(before), phases=[Phase.generate])
    settings.load_profile("unshrunk")
    yield
    settings.load_profile(before)


@pytest.mark.parametrize(
    ("kind", "check", "broken", "said"),
    [
        pytest.param(kind, *fault, id=f"{kind}-{fault[0]}-{number}")
        for kind, (_, faults) in KINDS.items()
        for number, fault in enumerate(faults)
    ],
)
def test_what_is_broken_is_rejected(kind, check, broken, said, unshrunk):
    checks = KINDS[kind][0]
    arguments = {"name": "numpy"} if check.startswith("equals") else {}
    contract = checks.Contract(broken)
    with pytest.raises((AssertionError, ValueError, TypeError, PathattrError, pytest.fail.Exception), match=said):
        getattr(checks, check)(contract, **arguments)


def test_gates_must_be_the_frameworks_own():
    pytest.importorskip("torch")
    with pytest.raises(AssertionError, match=r"gates on torch are <class 'numpy\.ndarray'>"):
        schedule_checks.equals_numpy(schedule_checks.Contract(OnTheHost()), "torch")


@pytest.mark.parametrize("kind", KINDS)
def test_every_check_can_fail(kind):
    checks, faults = KINDS[kind]
    assert {check.__name__ for check in checks.CHECKS} <= {check for check, _, _ in faults}


# What is not there


def test_a_framework_that_is_not_installed_is_skipped_with_the_reason(monkeypatch):
    published = [EntryPoint(name="nosuch", value="pathattr_nosuch:Backend", group="pathattr.backends")]
    monkeypatch.setattr("pathattr.models.registry.entry_points", lambda group: published)
    assert set(frameworks.names(None)) == {"numpy", "nosuch"}
    with pytest.raises(pytest.skip.Exception, match="nosuch backend cannot be loaded"):
        frameworks.network("nosuch", (1, 4, 4))


def test_a_backend_that_builds_no_network_is_skipped_with_the_reason(monkeypatch):
    class Builder(NumpyBackend):
        name = "builder"

    monkeypatch.setattr(frameworks, "load_backend", {"builder": Builder}.__getitem__)
    with pytest.raises(pytest.skip.Exception, match="builder backend does not build"):
        frameworks.network("builder", (1, 4, 4))


def test_a_backend_that_nobody_knows_is_an_error():
    with pytest.raises(InvalidInput, match="unknown backend 'torhc'"):
        frameworks.network("torhc", (1, 4, 4))


def test_shapes_that_are_named_must_be_taken():
    contract = family_checks.Contract(SVD(), ((1, 4, 4), (1, 7)))
    with pytest.raises(AssertionError, match=r"SVD\(channels='separate'\) refuses \(1, 7\), which `shapes` names"):
        family_checks.takes_a_shape_or_says_why_not(contract)


@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 5, 6), (3, 1, 7)])
def test_the_closed_form_is_the_network_layer_by_layer(shape):
    w = {name: array.astype(float) for name, array in frameworks.weights(shape[0]).items()}
    x = np.random.default_rng(0).normal(size=shape)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    rows, columns = (range(0, side, frameworks.CONV.stride) for side in shape[1:])
    maps = [[(w["conv.weight"] * padded[:, r : r + 3, c : c + 3]).sum(axis=(1, 2, 3)) for c in columns] for r in rows]
    means = np.mean(maps, axis=(0, 1)) + w["conv.bias"]
    expected = w["logits.weight"] @ means + w["logits.bias"]
    found = frameworks.closed_form(shape).value(x[None])[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)  # sums of a few hundred products
