"""The axioms of path attribution, for every family, ordering and schedule, through the explainer."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from pathattr import InvalidInput, NumpyModel, PathExplainer
from pathattr.families import DCT, FAMILIES, SVD, Laplacian, Linear, Wavelet
from pathattr.integration.quadrature import RULES
from pathattr.paths.orderings import ORDERINGS, Energy, Frequency, Rank, Scale
from pathattr.paths.schedules import SCHEDULES, CosineRamp, LinearRamp, SigmoidRamp, StepRamp
from pathattr.testing import LinearModel
from pathattr.testing.strategies import (
    CONTINUOUS,
    RAMPS,
    applies,
    differences,
    families,
    ordering_types,
    orderings,
    paths,
    rules,
    schedules,
    shapes,
)
from reference import SmoothModel

STEPS = st.integers(1, 20)
SEEDS = st.integers(0, 2**32 - 1)
# Models are of order 1, paths of a few dozen nodes with a few hundred numbers: errors of some 1e-14.
ROUNDING = 1e-12
COMBINATIONS = [
    pytest.param(FAMILIES[family](), ORDERINGS[ordering](), id=f"{family}-{ordering}")
    for family in FAMILIES
    for ordering in ORDERINGS
    if type(ORDERINGS[ordering]()) in ordering_types(FAMILIES[family]())
]
CHORDS = [
    pytest.param(make(overlap), id=f"{name}-{overlap}")
    for name, make in SCHEDULES.items()
    for overlap in (0.0, 0.4, 1.0)
]


def normal(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def elementwise_model(weights):
    """F(x) = Σ w·tanh(x), its gradient computed number by number: no bit depends on what else is in a block."""
    return NumpyModel(
        lambda points: (weights * np.tanh(points)).reshape(len(points), -1).sum(axis=1),
        lambda points, cotangent: column(cotangent, points) * weights * (1 - np.tanh(points) ** 2),
    )


def smooth_model(shape, seed=0):
    model = SmoothModel(shape, seed=seed)
    return NumpyModel(model.value, model.vjp)


def column(values, points):
    return values.reshape(-1, *(1,) * (points.ndim - 1))


def conjugated(model, there, back):
    """The model that does to `there(x)` what `model` does to x; both take one batch of points."""
    return NumpyModel(
        lambda points: model.value(back(points)), lambda points, cotangent: there(model.vjp(back(points), cotangent))
    )


def recorded(model, seen):
    """The model, appending the points at which gradients are taken to a list."""

    def vjp(points, cotangent):
        seen.extend(np.array(points))
        return model.vjp(points, cotangent)

    return NumpyModel(model.value, vjp)


def attribute(model, x, target=None, **options):
    """Attribute with channels first, steps few and smooth ramps as far as nothing else is said."""
    options = {"channel_axis": 1, "steps": 12} | options
    if getattr(options.get("schedule"), "jumps", None) == "published" and options["schedule"].jumping:
        options.pop("rule", None)  # the gradient before each jump: no other rule goes with it
    return PathExplainer(model, **options)(x, target)


def assert_close(found, expected, scale=1.0):
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING * scale)


def assert_same_bits(found, expected):
    np.testing.assert_array_equal(found.attributions, expected.attributions)
    for name in ("score", "baseline_score", "gap", "target", "lowest", "highest", "evaluations"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    for left, right in zip(found.components.attributions, expected.components.attributions, strict=True):
        np.testing.assert_array_equal(left, right)


def rows(found, index):
    """One example of a result, as a batch of one."""
    keep = {
        name: getattr(found, name)[index : index + 1]
        for name in ("attributions", "score", "baseline_score", "gap", "target", "lowest", "highest", "evaluations")
    }
    parts = replace(found.components, attributions=tuple(p[index : index + 1] for p in found.components.attributions))
    return replace(found, components=parts, **keep)


# Completeness


@given(paths(jumps=("chord", "published")), STEPS, rules(), SEEDS)
def test_linear_models_are_complete_at_any_number_of_steps(path, steps, rule, seed):
    family, ordering, schedule, difference = path
    weights, start = np.random.default_rng(seed).normal(size=(2, *difference.shape))
    scale = np.abs(difference).max() or 1.0
    start = start * scale
    x = (start + difference)[None]
    options = {"family": family, "ordering": ordering, "schedule": schedule, "baseline": start}
    found = attribute(LinearModel(weights).model(), x, steps=steps, rule=rule, **options)
    bound = scale * np.abs(weights).sum() * 10  # the path leaves the box between its ends, by a few times
    assert_close(found.gap, 0, bound)
    assert_close(found.components.total(), found.attributions.sum(axis=tuple(range(1, x.ndim))), bound)
    # The gradient is constant, so each feature gets its own share.
    assert_close(found.attributions, weights * (x - start), 10 * scale * np.abs(weights).max())


@pytest.mark.parametrize("schedule", CHORDS)
@pytest.mark.parametrize(("family", "ordering"), COMBINATIONS)
def test_every_combination_is_complete_and_its_components_too(family, ordering, schedule):
    shape = (2, 6, 4)
    x, start = normal((2, 2, *shape))
    options = {"family": family, "ordering": ordering, "schedule": schedule, "baseline": start}
    found = attribute(LinearModel(normal(shape, 1)).model(), x, steps=5, **options)
    assert_close(found.gap, 0, 10)
    model = smooth_model(shape)
    # Both images in one block, each with a target of its own.
    coarse, fine = (attribute(model, x, [1, 3], steps=steps, batch_size=200, **options) for steps in (24, 96))
    # Continuous ramps have kinks, where the second order is lost in places; the first is kept: a quarter, and slack.
    assert np.abs(fine.gap).max() < max(0.5 * np.abs(coarse.gap).max(), 1e-7)
    # A hundredth of probabilities that move by some tenths.
    assert np.abs(fine.gap).max() < 2e-3
    assert_close(fine.components.total(), fine.attributions.sum(axis=(1, 2, 3)), 10)
    assert len(fine.components) == len(family.decompose(x[0]).terms)


@pytest.mark.parametrize("name", reference.FAMILIES)
@pytest.mark.parametrize("ramp", reference.RAMPS)
@pytest.mark.parametrize("overlap", [0.0, 0.4, 1.0])
def test_the_published_preset_equals_the_reference(name, ramp, overlap):
    shape = (2, 6, 4)
    model = SmoothModel(shape)
    x, start = normal((2, 1, *shape))
    # An odd number of intervals and these overlaps: no jump falls on an edge, where rounding would decide.
    options = {"family": name, "schedule": SCHEDULES[ramp](overlap), "baseline": start, "preset": "published"}
    found = attribute(NumpyModel(model.value, model.vjp), x, 1, steps=19, **options)
    expected = reference.published(lambda p: model.gradient(p, 1), x[0], start[0], name, ramp, overlap, count=20)
    assert_close(found.attributions[0], expected)


# Batches


@pytest.mark.parametrize("schedule", [LinearRamp(), SigmoidRamp(0.2), LinearRamp(0.0), StepRamp(0.3, "published")])
@pytest.mark.parametrize(("family", "ordering"), COMBINATIONS)
def test_batch_mates_and_batch_size_change_no_bit(family, ordering, schedule):
    shape = (3, 5, 6)
    model = elementwise_model(normal(shape, 1))
    x = normal((4, *shape))
    x[1] = 0  # nothing to do, beside others
    x[2, 1] = 0
    rule = "trapezoid" if ordering == Rank() else "midpoint"
    options = {"family": family, "ordering": ordering, "schedule": schedule, "rule": rule, "steps": 7}
    whole = attribute(model, x, **options)
    for batch_size in (1, 3, 1000):
        assert_same_bits(attribute(model, x, batch_size=batch_size, **options), whole)
    for index in range(4):
        assert_same_bits(attribute(model, x[index : index + 1], batch_size=5, **options), rows(whole, index))


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_each_example_keeps_its_target_and_its_arguments(batch_size):
    shape = (1, 4, 4)
    model, x, shift = SmoothModel(shape), normal((3, *shape)), normal((3, 1, 4, 4), 1)
    shifted = NumpyModel(lambda p, shift: model.value(p + shift), lambda p, c, shift: model.vjp(p + shift, c))
    explain = PathExplainer(shifted, steps=7, batch_size=batch_size)
    whole = explain(x, [2, 0, 1], kwargs={"shift": shift})
    for index, target in enumerate([2, 0, 1]):
        alone = explain(x[index : index + 1], target, kwargs={"shift": shift[index : index + 1]})
        # This model's own product is not the same to the bit in blocks of different sizes.
        assert_close(whole.attributions[index], alone.attributions[0])
        assert_close(whole.score[index], alone.score[0])


@given(st.data(), st.integers(1, 40), st.integers(1, 40), STEPS, rules())
def test_batch_mates_and_batch_size_change_no_bit_of_anything(data, one, other, steps, rule):
    shape = data.draw(shapes(), label="shape")
    family = data.draw(families(shape), label="family")
    options = {
        "family": family,
        "ordering": data.draw(orderings(family), label="ordering"),
        "schedule": data.draw(schedules(jumps=("chord", "published")), label="schedule"),
        "steps": steps,
        "rule": rule,
    }
    x = np.stack([data.draw(differences(shape, scales=False), label="x") for _ in range(3)])
    last = data.draw(st.booleans(), label="channels last")
    if last:
        x, options["channel_axis"] = np.moveaxis(x, 1, -1), -1
    x = x.astype(data.draw(st.sampled_from([np.float64, np.float32]), label="dtype"))
    model = elementwise_model(normal(x.shape[1:], 1).astype(x.dtype))
    whole = attribute(model, x, batch_size=one, **options)
    assert_same_bits(attribute(model, x, batch_size=other, **options), whole)
    alone = [attribute(model, x[i : i + 1], batch_size=other, **options) for i in range(3)]
    for index in range(3):
        assert_same_bits(alone[index], rows(whole, index))


@pytest.mark.parametrize("name", FAMILIES)
def test_no_bit_changes_at_the_size_of_a_picture(name):
    # Large enough for BLAS to split its products.
    shape = (3, 64, 48)
    model = elementwise_model(normal(shape, 1))
    x = normal((2, *shape))
    options = {"family": name, "steps": 5, "components": name != "wavelet-coefficients"}
    whole = attribute(model, x, **options)
    for batch_size in (1, 2):
        found = attribute(model, x, batch_size=batch_size, **options)
        np.testing.assert_array_equal(found.attributions, whole.attributions)
    alone = attribute(model, x[1:], **options)
    np.testing.assert_array_equal(alone.attributions[0], whole.attributions[1])


# Ends


@given(paths(jumps=("chord", "published")), STEPS, SEEDS)
def test_the_path_begins_at_the_baseline_and_ends_at_the_input_exactly(path, steps, seed):
    family, ordering, schedule, difference = path
    shape = difference.shape
    start = normal(shape, seed) * (np.abs(difference).max() or 1.0)
    x = start + difference
    if (x == start).all():
        return
    options = {"family": family, "ordering": ordering, "schedule": schedule, "baseline": start, "steps": steps}
    for rule in ("left", "right"):
        seen = []
        found = attribute(recorded(LinearModel(np.ones(shape)).model(), seen), x[None], rule=rule, **options)
        assert len(seen) == found.evaluations[0] > 0
        if found.settings["rule"] == "left":  # published jumps take the gradient before
            np.testing.assert_array_equal(seen[0], start)
        else:
            np.testing.assert_array_equal(seen[-1], x)


@pytest.mark.parametrize("rule", RULES)
def test_published_jumps_take_the_gradient_before_the_jump_and_no_other_rule(rule):
    shape = (1, 4, 4)
    x, model = normal((1, *shape)), elementwise_model(normal(shape, 1))
    options = {"schedule": StepRamp(0.4, "published"), "steps": 12, "channel_axis": 1}
    found = PathExplainer(model, **options)(x)
    assert found.settings["rule"] == "left"
    assert not found.settings["complete"]
    assert np.abs(found.gap[0]) > 1e-3  # incomplete by construction
    if rule == "left":
        assert_same_bits(PathExplainer(model, rule=rule, **options)(x), found)
    else:
        with pytest.raises(InvalidInput, match="leave the rule out"):
            PathExplainer(model, rule=rule, **options)


@pytest.mark.parametrize("schedule", CHORDS)
@pytest.mark.parametrize("name", FAMILIES)
def test_the_points_of_the_trapezoid_are_the_edges_from_end_to_end(name, schedule):
    shape = (2, 5, 6)
    x, start = normal((2, *shape))
    seen = []
    options = {"family": name, "schedule": schedule, "baseline": start, "rule": "trapezoid"}
    found = attribute(recorded(LinearModel(np.ones(shape)).model(), seen), x[None], **options)
    np.testing.assert_array_equal(seen[0], start)
    np.testing.assert_array_equal(seen[-1], x)
    # Every interval moves: no two neighbours are the same point.
    assert all((a != b).any() for a, b in pairwise(seen))
    assert len(seen) == found.evaluations[0] <= 13


@given(paths(scales=False), rules())
def test_an_input_equal_to_its_baseline_costs_nothing_and_gets_nothing(path, rule):
    family, ordering, schedule, x = path
    seen = []
    options = {"family": family, "ordering": ordering, "schedule": schedule, "rule": rule, "baseline": x}
    found = attribute(recorded(elementwise_model(np.ones(x.shape)), seen), x[None], **options)
    assert not found.attributions.any()
    assert not any(part.any() for part in found.components.attributions)
    assert found.gap.tolist() == [0]
    assert found.evaluations.tolist() == [0]
    assert not seen


# Integrated Gradients


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "linear"])
@pytest.mark.parametrize("ramp", CONTINUOUS)
def test_attributions_tend_to_integrated_gradients_as_windows_widen(name, ramp):
    shape = (2, 6, 4)
    x, start = normal((2, 1, *shape))
    model = smooth_model(shape)
    options = {"baseline": start, "steps": 600}
    ig = attribute(model, x, 1, family=Linear(), **options).attributions

    def distance(overlap):
        found = attribute(model, x, 1, family=name, schedule=ramp(overlap), components=False, **options)
        return np.abs(found.attributions - ig).max()

    # 600 intervals integrate this model to some 1e-6: the straight line itself at whatever speed.
    assert distance(1.0) < 2e-5
    far, near, nearest = (distance(1 - rest) for rest in (0.1, 0.05, 0.025))
    # The rate O(1 − ω): halved with 1 − ω, but for the next order.
    assert 0.4 < near / far < 0.6
    assert 0.4 < nearest / near < 0.6


def test_the_linear_family_ignores_overlap_and_order():
    shape = (2, 4, 4)
    x, model = normal((1, *shape)), smooth_model(shape)
    found = [
        attribute(model, x, 1, family=Linear(), schedule=LinearRamp(overlap), ordering=ordering)
        for overlap in (0.0, 0.4, 1.0)
        for ordering in (None, "scale", "shuffled")
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(other.attributions, found[0].attributions)
    nodes = (np.arange(12) + 0.5) / 12
    gradients = [SmoothModel(shape).gradient(alpha * x[0], 1) for alpha in nodes]
    assert_close(found[0].attributions[0], x[0] * np.mean(gradients, axis=0))  # the textbook


def test_the_straight_line_gives_unchanged_features_nothing_and_equal_ones_the_same():
    shape = (1, 4, 4)
    weights, x = normal(shape, 1), normal((1, *shape))
    x[0, 0, 0, 1] = 0
    x[0, 0, 2, 2], weights[0, 2, 2] = x[0, 0, 3, 3], weights[0, 3, 3]
    coupled = NumpyModel(  # symmetric in features of equal weight
        lambda p: np.tanh((p * weights).reshape(len(p), -1).sum(axis=1)),
        lambda p, c: column(c * (1 - np.tanh((p * weights).reshape(len(p), -1).sum(axis=1)) ** 2), p) * weights,
    )
    found = attribute(coupled, x, family=Linear()).attributions[0, 0]
    assert found[0, 1] == 0
    assert found[2, 2] == found[3, 3] != 0


# Equivariance under permutations


def permuted(axis, order):
    return (lambda p: np.take(p, order, axis)), (lambda p: np.take(p, np.argsort(order), axis))


def flipped(*axes):
    return (lambda p: np.flip(p, axes)), (lambda p: np.flip(p, axes))


def transposed(p):
    return np.swapaxes(p, -1, -2)


MOVES = {
    "rows": permuted(-2, [3, 0, 5, 1, 4, 2, 7, 6]),
    "columns": permuted(-1, [2, 0, 1, 3, 11, 5, 10, 9, 8, 4, 6, 7]),
    "flip up-down": flipped(-2),
    "flip left-right": flipped(-1),
    "rotation by 180°": flipped(-2, -1),
    "transposition": (transposed, transposed),
    "rotation by 90°": (lambda p: np.rot90(p, 1, (-2, -1)), lambda p: np.rot90(p, -1, (-2, -1))),
    "rotation by 270°": (lambda p: np.rot90(p, -1, (-2, -1)), lambda p: np.rot90(p, 1, (-2, -1))),
}
FLIPS = ("flip up-down", "flip left-right", "rotation by 180°")
TURNS = (*FLIPS, "transposition", "rotation by 90°", "rotation by 270°")
# What each family promises; Haar halves sides of 8 and 12 exactly twice.
PROMISES = [
    (SVD(), Energy(), tuple(MOVES)),
    (SVD(), Energy("joint"), tuple(MOVES)),
    (SVD(), Rank(), tuple(MOVES)),
    (SVD("joint"), Energy(), ("rows", "columns", *FLIPS)),
    (DCT(), Frequency(), TURNS),
    (DCT(), Energy(), TURNS),
    (Wavelet("haar", levels=2), Scale(), TURNS),
    (Laplacian(levels=2), Scale(), TURNS),
    (Linear(), Energy(), tuple(MOVES)),
]


def distance_of_move(family, ordering, schedule, move, seed=0):
    """How far attributions of the moved problem are from the moved attributions."""
    there, back = MOVES[move]
    shape = (2, 8, 12)
    x, start = normal((2, 1, *shape), seed)  # generic: singular values are distinct
    model = smooth_model(shape)
    options = {"family": family, "ordering": ordering, "schedule": schedule}
    plain = attribute(model, x, 1, baseline=start, **options)
    moved = attribute(conjugated(model, there, back), there(x), 1, baseline=there(start), **options)
    return np.abs(moved.attributions - there(plain.attributions)).max() / np.abs(plain.attributions).max()


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize(("family", "ordering", "moves"), PROMISES)
def test_families_are_equivariant_under_what_they_promise(family, ordering, moves, move):
    if move in moves:
        for schedule in (LinearRamp(0.4), CosineRamp(0.1), SigmoidRamp(0.9)):
            # Singular vectors amplify rounding by the inverse of the gaps between singular values, a hundred or so.
            assert distance_of_move(family, ordering, schedule, move) < 1e-10


@pytest.mark.parametrize(
    ("family", "ordering", "move"),
    [
        (DCT(), Frequency(), "rows"),
        (Wavelet("haar", levels=2), Scale(), "columns"),
        (Laplacian(levels=2), Scale(), "rows"),
        (SVD("joint"), Energy(), "transposition"),
    ],
)
def test_families_are_not_equivariant_beyond_that(family, ordering, move):
    # The counterexamples of the documentation: a difference that nobody would take for rounding.
    assert distance_of_move(family, ordering, LinearRamp(0.4), move) > 1e-2


@given(schedules(CONTINUOUS, smallest=0.01), st.permutations(range(6)), st.permutations(range(5)), SEEDS)
def test_svd_is_equivariant_under_any_permutation_of_rows_and_columns(schedule, rows_order, columns_order, seed):
    shape = (2, 6, 5)
    x, model = normal((1, *shape), seed), smooth_model(shape)
    options = {"family": SVD(), "schedule": schedule}

    def there(p):
        return p[..., rows_order, :][..., columns_order]

    def back(p):
        return p[..., np.argsort(columns_order)][..., np.argsort(rows_order), :]

    plain = attribute(model, x, 1, **options).attributions
    moved = attribute(conjugated(model, there, back), there(x), 1, **options).attributions
    # Rounding of 1e-15 over the smallest overlap and over a small gap between singular values.
    np.testing.assert_allclose(moved, there(plain), rtol=0, atol=1e-8 * np.abs(plain).max())


@pytest.mark.parametrize("name", FAMILIES)
def test_channels_may_change_places(name):
    shape = (3, 6, 4)
    x, model = normal((1, *shape)), smooth_model(shape)
    there, back = permuted(1, [2, 0, 1])
    plain = attribute(model, x, 1, family=name).attributions
    moved = attribute(conjugated(model, there, back), there(x), 1, family=name).attributions
    assert_close(moved, there(plain), 100)  # joint: singular vectors, as above


# Other axioms


@pytest.mark.parametrize("name", FAMILIES)
def test_a_feature_that_the_model_ignores_gets_nothing(name):
    shape = (2, 6, 4)
    model = SmoothModel(shape)
    model.w1.reshape(-1, *shape)[:, 1, 2, 3] = 0
    found = attribute(NumpyModel(model.value, model.vjp), normal((1, *shape)), 1, family=name).attributions[0]
    assert found[1, 2, 3] == 0
    assert np.count_nonzero(found) == found.size - 1


@pytest.mark.parametrize("name", FAMILIES)
def test_moving_input_and_baseline_together_changes_nothing(name):
    shape = (2, 6, 4)
    x, start, shift = normal((3, 1, *shape))
    model = smooth_model(shape)
    moved = conjugated(model, lambda p: p, lambda p: p - shift)
    plain = attribute(model, x, 1, family=name, baseline=start).attributions
    found = attribute(moved, x + shift, 1, family=name, baseline=start + shift).attributions
    assert_close(found, plain, 100)  # differences are rounded anew; singular vectors amplify that


@pytest.mark.parametrize("factor", [-1.0, 1e-3, 3.7, 1e100])
@pytest.mark.parametrize("name", FAMILIES)
def test_one_global_scale_changes_nothing(name, factor):
    shape = (2, 6, 4)
    x, start = normal((2, 1, *shape))
    model = smooth_model(shape)
    scaled = NumpyModel(lambda p: model.value(p / factor), lambda p, c: model.vjp(p / factor, c) / factor)
    plain = attribute(model, x, 1, family=name, baseline=start).attributions
    found = attribute(scaled, factor * x, 1, family=name, baseline=factor * start).attributions
    assert_close(found, plain, 100)


@pytest.mark.parametrize("name", ["svd", "dct", "wavelet", "wavelet-coefficients", "laplacian"])
def test_a_scale_per_channel_changes_nothing_where_strengths_are_per_channel(name):
    shape = (2, 6, 4)
    x, model = normal((1, *shape)), smooth_model(shape)
    factor = np.array([0.3, 40.0])[:, None, None]
    scaled = NumpyModel(lambda p: model.value(p / factor), lambda p, c: model.vjp(p / factor, c) / factor)
    plain = attribute(model, x, 1, family=name, ordering="energy").attributions
    assert_close(attribute(scaled, factor * x, 1, family=name, ordering="energy").attributions, plain, 100)


@pytest.mark.parametrize("name", FAMILIES)
def test_attributions_are_linear_in_the_model(name):
    shape = (2, 6, 4)
    x = normal((1, *shape))
    one, other = elementwise_model(normal(shape, 1)), LinearModel(normal(shape, 2)).model()
    both = NumpyModel(
        lambda p: 2 * one.value(p) - 3 * other.value(p), lambda p, c: 2 * one.vjp(p, c) - 3 * other.vjp(p, c)
    )
    parts = [attribute(model, x, family=name).attributions for model in (one, other)]
    assert_close(attribute(both, x, family=name).attributions, 2 * parts[0] - 3 * parts[1], 10)


# Layouts


@given(paths(scales=False), rules())
def test_channels_last_equals_channels_first_transposed(path, rule):
    family, ordering, schedule, difference = path
    model = elementwise_model(normal(difference.shape, 1))
    options = {"family": family, "ordering": ordering, "schedule": schedule, "rule": rule}
    first = attribute(model, difference[None], **options)
    there, back = (lambda p: np.moveaxis(p, 1, -1)), (lambda p: np.moveaxis(p, -1, 1))
    last = attribute(conjugated(model, there, back), there(difference[None]), channel_axis=-1, **options)
    assert_close(last.attributions, there(first.attributions), 10)
    for left, right in zip(last.components.attributions, first.components.attributions, strict=True):
        assert_close(left, right, 10)
    assert last.channel_axis == difference.ndim - 1


@given(paths(scales=False, channels=1), rules())
def test_no_channels_equals_one_channel(path, rule):
    family, ordering, schedule, difference = path
    weights = normal(difference.shape, 1)
    options = {"family": family, "ordering": ordering, "schedule": schedule, "rule": rule}
    one = attribute(elementwise_model(weights), difference[None], **options)
    none = attribute(elementwise_model(weights[0]), difference, channel_axis=None, **options)
    assert_close(none.attributions, one.attributions[:, 0], 10)
    for left, right in zip(none.components.attributions, one.components.attributions, strict=True):
        assert_close(left.ravel(), right.ravel(), 10)
    assert none.channel_axis is None


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("ramp", RAMPS)
@pytest.mark.parametrize("shape", [(2, 9), (1, 12), (2, 3, 4, 5)])
def test_series_and_volumes_are_complete(shape, ramp, rule):
    x, model = normal((2, *shape)), smooth_model(shape)
    for name in FAMILIES:
        if applies(FAMILIES[name](), shape):
            options = {"family": name, "schedule": ramp(), "rule": rule}
            found = attribute(LinearModel(normal(shape, 1)).model(), x, steps=5, **options)
            assert_close(found.gap, 0, 10)
            coarse, found = (attribute(model, x, [0, 2], steps=steps, **options) for steps in (40, 160))
            # A quarter or less; steps are shared among jumps by whole numbers, which costs some of that.
            assert np.abs(found.gap).max() < max(0.45 * np.abs(coarse.gap).max(), 1e-6)
            assert_close(found.components.total(), found.attributions.reshape(2, -1).sum(axis=1), 10)
