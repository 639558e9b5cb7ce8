"""The loop: sums, blocks, padding, and what is not evaluated."""

import threading

import numpy as np
import pytest

from pathattr import DCT, SVD, CosineRamp, Linear, LinearRamp, NumpyModel, PathExplainer, Rank, Samples, StepRamp
from pathattr.families import FAMILIES
from pathattr.integration.engine import ahead, fitted
from pathattr.integration.quadrature import RULES
from pathattr.models.numpy_backend import NumpyBackend

SHAPE = (2, 4, 4)
WEIGHT = np.random.default_rng(3).normal(size=SHAPE)
# Elementwise, so that the bits of a point's score and gradient do not depend on the other points.
WAVES = NumpyModel(
    lambda p: (WEIGHT * np.sin(p)).reshape(len(p), -1).sum(axis=1),
    lambda p, c: c[:, None, None, None] * WEIGHT * np.cos(p),
)


def inputs(batch=3, shape=SHAPE):
    return np.random.default_rng(1).normal(size=(batch, *shape))


def explained(backend, x, model=WAVES, target=None, **options):
    return PathExplainer(model, backend=backend, **options)(x, target)


def assert_same_bits(one, other):
    np.testing.assert_array_equal(one.attributions, other.attributions)
    for part, same in zip(one.components.attributions, other.components.attributions, strict=True):
        np.testing.assert_array_equal(part, same)
    for field in ("score", "baseline_score", "gap", "lowest", "highest", "evaluations"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field), err_msg=field)


# Sums


class Narrow(NumpyBackend):
    """A device without float64: everything in float32."""

    compensated = True

    @property
    def has_float64(self):
        return not self.compensated

    def wide(self, array):
        return np.asarray(array, dtype=np.float32)


class Naive(Narrow):
    """The same with plain float32 sums."""

    compensated = False


# A constant gradient that is no power of two: the terms of a sum are then no multiples of one number, as increments
# alone would be (those telescope without any rounding).
SLOPE = np.float32(0.7)
STEEP = NumpyModel(
    lambda p: SLOPE * p.sum(axis=(1, 2, 3)), lambda p, c: (SLOPE * c)[:, None, None, None] * np.ones_like(p)
)


@pytest.mark.parametrize("family", [Linear(), DCT()])
def test_sums_without_float64_are_compensated(family):
    x = np.random.default_rng(0).uniform(0.5, 1.0, size=(1, 1, 4, 4)).astype(np.float32)
    options = {"family": family, "schedule": LinearRamp(1.0), "steps": 5000, "batch_size": 1000}

    def errors(backend):
        found = explained(backend, x, STEEP, **options)
        exact = SLOPE * x.astype(np.float64)
        return np.abs(found.attributions / exact - 1).max(), abs(found.components.total()[0] / exact.sum() - 1)

    # Increments of float32 points telescope; the result is rounded to float32, 6e-8, as each product was.
    for backend in (NumpyBackend, Narrow):
        features, components = errors(backend)
        assert features < 1e-6
        assert components < 1e-6
    # 5000 roundings of the running sum by 6e-8 of it: at random they come to some 4e-6, in step to 3e-4.
    features, components = errors(Naive)
    assert features > 3e-6
    assert components > 3e-6


def test_sums_of_float32_inputs_are_kept_in_float64():
    x = np.random.default_rng(0).uniform(0.5, 1.0, size=(1, 1, 4, 4)).astype(np.float32)
    found = PathExplainer(STEEP, family=Linear(), steps=5000, batch_size=1000)(x)
    np.testing.assert_allclose(found.attributions, SLOPE * x.astype(np.float64), rtol=1e-6)  # as above


# Blocks


class Counting(NumpyBackend):
    """Notes how many points every call of the model has, and between how many rows they are shared."""

    sizes: list
    forward: list

    def gradient(self, points, objective, targets, rows):
        assert len(points) == len(targets) == len(rows)
        self.sizes.append(len(points))
        return super().gradient(points, objective, targets, rows)

    def outputs(self, points, rows):
        assert len(points) == len(rows)
        self.forward.append(len(points))
        return super().outputs(points, rows)


class Static(Counting):
    """A backend to which every new shape costs a compilation."""

    static_shapes = True


def fresh(kind):
    """The class again with empty records."""
    return type(kind.__name__, (kind,), {"sizes": [], "forward": []})


CASES = [
    {"family": Linear()},
    {"family": SVD()},
    {"family": SVD("joint"), "schedule": CosineRamp(0.1)},
    {"family": DCT(), "schedule": StepRamp()},
    {"family": "wavelet-coefficients", "rule": "trapezoid"},
    {"family": "laplacian", "rule": "left", "baseline": Samples(inputs(2) + 1)},
]


@pytest.mark.parametrize("options", CASES)
@pytest.mark.parametrize("batch_size", [1, 2, 5, 7, 11, 12, 25, 100])
def test_bits_do_not_depend_on_the_size_of_blocks(options, batch_size):
    x = inputs()
    x[1] = 0  # one image that moves nowhere, in the middle of a block
    counting = fresh(Counting)
    found = explained(counting, x, steps=11, batch_size=batch_size, **options)
    assert_same_bits(found, explained(NumpyBackend, x, steps=11, batch_size=1000, **options))
    assert max(counting.sizes + counting.forward) <= batch_size
    assert sum(counting.sizes) == found.evaluations.sum()


@pytest.mark.parametrize("options", CASES)
@pytest.mark.parametrize("batch_size", [1, 5, 12, 100])
def test_static_shapes_give_the_same_bits_from_calls_of_one_size(options, batch_size):
    x = inputs()
    x[1] = 0
    static = fresh(Static)
    found = explained(static, x, steps=11, batch_size=batch_size, **options)
    assert_same_bits(found, explained(NumpyBackend, x, steps=11, batch_size=batch_size, **options))
    (size,) = set(static.sizes + static.forward)
    assert size <= batch_size
    assert found.evaluations[1] == 0 or "baseline" in options


@pytest.mark.parametrize(
    ("batch_size", "nodes", "paths", "size"),
    [(32, 20, 4, 20), (32, 200, 1, 29), (32, 10, 2, 20), (32, 10, 9, 30), (1, 7, 3, 1), (5, 6, 1, 3), (8, 50, 1, 5)],
)
def test_the_size_of_blocks_splits_the_nodes_evenly(batch_size, nodes, paths, size):
    assert fitted(batch_size, nodes, paths) == size


def test_blocks_are_as_large_as_the_capacity_allows():
    counting = fresh(Counting)
    explained(counting, inputs(5), family=Linear(), steps=10, batch_size=20)
    assert counting.sizes == [20, 20, 10]  # two images side by side
    counting = fresh(Counting)
    explained(counting, inputs(2), family=Linear(), steps=10, batch_size=4)
    assert counting.sizes == [4, 4, 2] * 2  # three blocks of nearly one size for each image


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2], [1, 3]])
@pytest.mark.parametrize("name", FAMILIES)
def test_bits_do_not_depend_on_batch_mates(name, order):
    x = inputs(4)
    x[0] *= 1e6
    x[3, 1] = 0
    explain = PathExplainer(WAVES, family=name, steps=7, batch_size=25)
    np.testing.assert_array_equal(explain(x[order]).attributions, explain(x).attributions[order])


def test_rows_and_targets_follow_their_points():
    """Each point arrives with its own example's row and target, whatever was left out of its block."""
    x = inputs(4)
    x[2] = 0
    rows_seen = []

    class Following(NumpyBackend):
        def gradient(self, points, objective, targets, rows):
            # On a straight line from 0 a point is a multiple of its example.
            scale = (points * x[rows]).sum(axis=(1, 2, 3)) / (x[rows] ** 2).sum(axis=(1, 2, 3))
            np.testing.assert_allclose(points, scale[:, None, None, None] * x[rows], atol=1e-14)
            np.testing.assert_array_equal(targets[:, 0, 0], 3 - rows)
            rows_seen.extend(rows)
            return super().gradient(points, objective, targets, rows)

    model = NumpyModel(
        lambda p: np.tanh(p).reshape(len(p), 4, 8).sum(axis=2),
        lambda p, c: np.repeat(c, 8, axis=1).reshape(p.shape) * (1 - np.tanh(p) ** 2),
    )
    for batch_size in (3, 25, 100):
        rows_seen.clear()
        explained(Following, x, model, [3, 2, 1, 0], family=Linear(), steps=6, batch_size=batch_size, output="logit")
        np.testing.assert_array_equal(np.bincount(rows_seen, minlength=4), [6, 6, 0, 6])


# What is not evaluated


def spectral_gap():
    """A strong rank-1 picture with faint noise: at ω = 0.4 nothing moves between the first window and the rest."""
    noise = 1e-3 * np.random.default_rng(0).normal(size=(1, 1, 6, 6))
    return noise + np.outer([1, 2, 3, 1, 2, 1], [1, -1, 2, 1, 0.5, 1])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("schedule", [LinearRamp(), CosineRamp(0.1), LinearRamp(0.6)])
def test_intervals_at_rest_are_not_evaluated(rule, schedule):
    weight = np.random.default_rng(2).normal(size=(1, 6, 6))
    model = NumpyModel(
        lambda p: np.sin((weight * p).sum(axis=(1, 2, 3))),
        lambda p, c: (c * np.cos((weight * p).sum(axis=(1, 2, 3))))[:, None, None, None] * weight,
    )
    x, steps, counting = spectral_gap(), 200, fresh(Counting)
    found = explained(counting, x, model, family=SVD(), schedule=schedule, steps=steps, rule=rule)
    gates = schedule.gates(np, np.linspace(0, 1, steps + 1)[:, None], found.components.strengths[0].ravel())
    moving = int((np.diff(gates, axis=0) != 0).any(axis=1).sum())
    assert sum(counting.sizes) == found.evaluations[0] == moving + RULES[rule].padding
    assert (moving < 0.9 * steps) == (schedule.overlap < 0.5)  # first and last windows part at ω = 0.5
    # Nothing is lost: the gap is that of a rule with at least 20 steps to each window, of order 1/20 of F's change.
    assert abs(found.gap[0]) < 0.3


def test_a_jump_costs_no_more_gradients_than_a_ramp():
    counting = fresh(Counting)
    found = explained(counting, inputs(1), family=SVD(), ordering=Rank(), schedule=StepRamp(), steps=50)
    assert sum(counting.sizes) == found.evaluations[0] == 50


# What is made ahead


@pytest.mark.parametrize(
    ("count", "groups"), [(1, [[0], [1], [2], [3], [4]]), (2, [[0, 1], [2, 3], [4]]), (9, [[*range(5)]])]
)
def test_groups_come_in_order_and_none_is_left(count, groups):
    assert list(ahead(iter(range(5)), count)) == groups
    assert list(ahead(iter(()), count)) == []


def test_the_next_group_is_made_while_the_first_is_worked_on():
    made = [threading.Event() for _ in range(4)]

    def paths():
        for number, event in enumerate(made):
            event.set()
            yield number

    groups = ahead(paths(), 1)
    assert next(groups) == [0]
    assert made[1].wait(timeout=30)  # nobody asked for it yet
    assert not made[3].is_set()  # but no more than one ahead
    assert list(groups) == [[1], [2], [3]]


def test_an_error_on_the_way_comes_after_what_was_made_before():
    def paths():
        yield 0
        raise KeyError("decomposition")

    groups = ahead(paths(), 1)
    assert next(groups) == [0]
    with pytest.raises(KeyError, match="decomposition"):
        next(groups)


def test_a_loop_that_is_left_leaves_no_thread():
    before = threading.active_count()
    groups = ahead(iter(range(5)), 1)
    next(groups)
    groups.close()
    assert threading.active_count() == before
