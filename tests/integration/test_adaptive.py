"""Refinement through the explainer: many images side by side, full blocks, and nothing that depends on neighbours."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathattr import Attribution, InvalidInput, LinearRamp, ModelError, NumpyModel, PathExplainer, Samples
from pathattr.families import FAMILIES
from pathattr.integration import refined as adaptive
from pathattr.integration.refinement import START
from pathattr.models.numpy_backend import NumpyBackend
from pathattr.testing import ReluNetwork, TanhNetwork
from pathattr.testing.strategies import CONTINUOUS, applies, inputs, paths

SHAPE = (2, 6, 5)
WEIGHT = np.random.default_rng(3).normal(size=SHAPE)
# Elementwise, so that the bits of a point's score and gradient do not depend on the other points. Kinked.
BENT = NumpyModel(
    lambda p: (WEIGHT * np.maximum(p, 0.3)).reshape(len(p), -1).sum(axis=1),
    lambda p, c: c[:, None, None, None] * WEIGHT * (p > 0.3),
)
RELU = ReluNetwork.random(SHAPE, hidden=30)


def batch(count=3, shape=SHAPE, seed=1):
    return np.random.default_rng(seed).normal(size=(count, *shape))


def refined(model, x, target=None, **options):
    return PathExplainer(model, **({"steps": "auto"} | options))(x, target)


def assert_same_bits(one, other, rows=slice(None)):
    for name in ("attributions", "error", "evaluations", "score", "gap", "lowest", "highest"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name)[rows], err_msg=name)
    for part, same in zip(one.components.attributions, other.components.attributions, strict=True):
        np.testing.assert_array_equal(part, same[rows])


# What comes out


@given(paths(ramps=CONTINUOUS, scales=False), st.sampled_from(["auto", 3, 40]))
def test_components_sum_to_what_features_sum_to(path, steps):
    family, ordering, schedule, difference = path
    if schedule.jumping:
        return
    weights = np.random.default_rng(0).normal(size=difference.shape)
    model = NumpyModel(
        lambda p: (weights * np.tanh(p)).reshape(len(p), -1).sum(axis=1),
        lambda p, c: c.reshape(-1, *(1,) * difference.ndim) * weights * (1 - np.tanh(p) ** 2),
    )
    options = {"family": family, "ordering": ordering, "schedule": schedule, "channel_axis": 1}
    options["tolerance"] = 0.05 if steps == "auto" else None
    found = refined(model, difference[None], steps=steps, nodes="refined", **options)
    total = found.attributions.sum()
    # Sums of hundreds of numbers of order 1 over at most a thousand nodes.
    np.testing.assert_allclose(found.components.total(), total, rtol=0, atol=1e-10)
    if steps == "auto" and found.evaluations[0] < 1000:
        assert found.error[0] <= 0.05


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("tolerance", [0.05, 0.01])
def test_every_family_is_as_accurate_as_was_asked(name, tolerance):
    x = batch()
    found = refined(RELU.model(), x, 1, family=name, tolerance=tolerance, output="logit")
    truth = PathExplainer(RELU.model(), family=name, steps=3000, output="logit")(x, 1).attributions
    off = (found.attributions - truth).reshape(3, -1)
    size = np.linalg.norm(truth.reshape(3, -1), axis=1)
    assert (found.error <= tolerance).all()
    # Estimates are above nine errors of ten, hardly ever half below.
    assert (np.linalg.norm(off, axis=1) < 1.5 * tolerance * size).all()
    # A gap is a sum of errors: no more than √features of them in step.
    assert (np.abs(found.gap) < 1.5 * tolerance * size * np.sqrt(x[0].size)).all()
    assert (found.evaluations < 1000).all()


def test_results_tell_error_steps_tolerance_and_nodes(tmp_path):
    found = refined(RELU.model(), batch(), tolerance=0.03)
    assert (found.settings["steps"], found.settings["tolerance"], found.settings["nodes"]) == (
        "auto",
        0.03,
        "Refined()",
    )
    assert found.settings["rule"] == "trapezoid"
    found.save(tmp_path / "found.npz")
    np.testing.assert_array_equal(Attribution.load(tmp_path / "found.npz").error, found.error)
    plain = PathExplainer(RELU.model(), steps=10)(batch())
    assert np.isnan(plain.error).all()
    assert plain.settings["tolerance"] is None
    plain.save(tmp_path / "plain.npz")
    assert np.isnan(Attribution.load(tmp_path / "plain.npz").error).all()


def test_channels_last_and_none_are_the_same_paths():
    first = refined(BENT, batch(), family="dct")
    last = NumpyModel(
        lambda p: BENT.value(np.moveaxis(p, -1, 1)), lambda p, c: np.moveaxis(BENT.vjp(np.moveaxis(p, -1, 1), c), 1, -1)
    )
    found = refined(last, np.moveaxis(batch(), 1, -1), family="dct", channel_axis=-1)
    np.testing.assert_allclose(np.moveaxis(found.attributions, -1, 1), first.attributions, rtol=0, atol=1e-12)
    assert found.evaluations.tolist() == first.evaluations.tolist()
    one = NumpyModel(lambda p: BENT.value(p * np.ones((1, 2, 1, 1))), lambda p, c: BENT.vjp(p, c).sum(1, keepdims=True))
    none = NumpyModel(lambda p: one.value(p[:, None]), lambda p, c: one.vjp(p[:, None], c)[:, 0])
    x = batch()[:, :1]
    np.testing.assert_allclose(
        refined(none, x[:, 0], channel_axis=None).attributions, refined(one, x).attributions[:, 0], rtol=0, atol=1e-12
    )


def test_components_are_left_out_where_they_are_not_wanted():
    found = refined(BENT, batch(), components=False)
    assert found.components is None
    np.testing.assert_array_equal(found.attributions, refined(BENT, batch()).attributions)


# Side by side


@given(inputs(SHAPE, most=4, scales=False), st.integers(1, 70), st.sampled_from(["svd", "wavelet", "laplacian"]))
def test_no_bit_depends_on_batch_mates_or_blocks(drawn, batch_size, family):
    x, baseline = drawn
    options = {"family": family, "tolerance": 0.03}
    together = refined(BENT, x, baseline=baseline, batch_size=batch_size, **options)
    for i in range(len(x)):
        alone = refined(BENT, x[i : i + 1], baseline=baseline[i], batch_size=32, **options)
        assert_same_bits(alone, together, slice(i, i + 1))


def test_results_keep_their_order_whoever_finishes_first():
    """Straight images are done after two rounds, bent ones take many."""
    x = batch(9)
    x[::2] = np.abs(x[::2]) + 0.3  # one kink a feature, at once
    x[4] = 0  # does not move
    x[7] = -1  # no kink at all
    found = refined(BENT, x, tolerance=0.005, batch_size=40)
    assert len(set(found.evaluations.tolist())) >= 4
    assert found.evaluations[4] == 0
    assert found.error[4] == 0
    for i in range(9):
        assert_same_bits(refined(BENT, x[i : i + 1], tolerance=0.005), found, slice(i, i + 1))


def test_reference_samples_are_averaged_and_their_errors_add_up():
    x, samples = batch(2), batch(3, seed=5)
    found = refined(BENT, x, baseline=Samples(samples))
    single = [refined(BENT, x, baseline=sample) for sample in samples]
    np.testing.assert_allclose(
        found.attributions, np.mean([s.attributions for s in single], axis=0), rtol=0, atol=1e-13
    )
    np.testing.assert_array_equal(found.evaluations, np.sum([s.evaluations for s in single], axis=0))
    for i in range(2):
        off = np.mean([s.error[i] * np.linalg.norm(s.attributions[i]) for s in single])
        assert found.error[i] == pytest.approx(off / np.linalg.norm(found.attributions[i]))


def test_an_error_that_is_not_known_stays_so_in_a_mean():
    """From 0 only a jump, without gradients; from -1 a slope too."""

    def mean(points):
        return points.mean(axis=(1, 2, 3))

    model = NumpyModel(
        lambda p: (mean(p) > 0.4) + np.minimum(mean(p), 0),
        lambda p, c: (mean(p) < 0)[:, None, None, None] * np.full_like(p, 1 / 60),
    )
    x, samples = np.ones((1, *SHAPE)), np.stack([np.zeros(SHAPE), -np.ones(SHAPE)])
    found = refined(model, x, steps=40, nodes="refined", baseline=Samples(samples))
    assert found.error.tolist() == [np.inf]
    assert (found.attributions != 0).any()


class Recording(NumpyBackend):
    """Notes how many points every call has and whose they are."""

    blocks: list

    def gradient(self, points, objective, targets, rows):
        self.blocks.append(np.array(rows))
        return super().gradient(points, objective, targets, rows)


def recording(static=False):
    return type("Recording", (Recording,), {"blocks": [], "static_shapes": static})


def test_finished_images_leave_and_blocks_stay_full(monkeypatch):
    x, backend, rounds = batch(12), recording(), []

    def counted(engine, wanted, objective):
        before = len(backend.blocks)
        evaluate(engine, wanted, objective)
        sizes = [len(rows) for rows in backend.blocks[before:]]
        rounds.append(([seat.path.row for seat, _ in wanted], [len(alpha) for _, alpha in wanted], sizes))

    evaluate = adaptive._evaluate
    monkeypatch.setattr(adaptive, "_evaluate", counted)
    found = refined(BENT, x, backend=backend, batch_size=2 * START, tolerance=0.01)
    np.testing.assert_array_equal(np.bincount(np.concatenate(backend.blocks)), found.evaluations)
    begun = set()
    for rows, wants, sizes in rounds:
        assert all(size == 2 * START for size in sizes[:-1])
        if rows and rows[-1] not in begun:  # whoever came last was needed to fill a block
            assert sum(wants[:-1]) < 2 * START
        begun.update(rows)
        assert sum(wants) >= 2 * START or len(begun) == 12
    # Nobody waits for a whole group to be done: somebody new works beside somebody who has begun before.
    assert any(set(now) - set(before) and set(now) & set(before) for (before, *_), (now, *_) in pairwise(rounds))


def test_static_shapes_give_the_same_from_calls_of_one_size():
    backend = recording(static=True)
    found = refined(BENT, batch(5), backend=backend, batch_size=20)
    assert {len(rows) for rows in backend.blocks} == {20}
    assert_same_bits(found, refined(BENT, batch(5)))


def test_progress_counts_images_to_the_end():
    told = []
    refined(BENT, batch(5), batch_size=20, progress=lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == [1, 2, 3, 4, 5]
    assert {total for _, total in told} == {5}


@pytest.mark.parametrize("room", [1, 3, 20])
def test_an_error_of_memory_splits_the_block(room):
    seen = []

    def value(points):
        seen.append(len(points))
        if len(points) > room:
            raise MemoryError("no room")
        return BENT.value(points)

    found = refined(NumpyModel(value, BENT.vjp), batch(), batch_size=64)
    assert_same_bits(found, refined(BENT, batch()))
    assert sum(count > room for count in seen) <= 7  # 64, 32, ...: never tried again


def test_automatic_blocks():
    found = refined(BENT, batch(), batch_size="auto")
    assert_same_bits(found, refined(BENT, batch()))


def test_errors_come_through_from_the_decompositions():
    """They are made in a thread, ahead of the gradients."""
    x = batch(6)
    x[4] = 1.7e308
    flat = NumpyModel(lambda p: np.tanh(p.max(axis=(1, 2, 3))), lambda p, c: np.zeros_like(p))
    for options in ({"steps": "auto"}, {"steps": 3}):
        with pytest.raises(InvalidInput, match="input − baseline of image 4"):
            PathExplainer(flat, family="linear", baseline=-1e308, batch_size=4, **options)(x)


# Presets and float32


def test_the_published_preset_takes_refined_nodes_where_they_are_asked_for():
    network = TanhNetwork.random(SHAPE)
    explainer = PathExplainer(network.model(), preset="published", nodes="refined", output="logit")
    assert (explainer.steps, explainer.rule) == (199, "trapezoid")
    found = explainer(batch(), 1)
    assert found.evaluations.tolist() == [200] * 3
    np.testing.assert_allclose(found.gap, 0, atol=1e-3)  # second order: some 1/200² of scores of order 1


def test_float32_torch_models_are_refined_like_float64():
    torch = pytest.importorskip("torch")
    layers = [torch.nn.Flatten(), torch.nn.Linear(60, 30), torch.nn.ReLU(), torch.nn.Linear(30, 4)]
    model = torch.nn.Sequential(*layers).double().eval()
    with torch.no_grad():
        for layer, weight, bias in ((layers[1], RELU.w1, RELU.b1), (layers[3], RELU.w2, RELU.b2)):
            layer.weight.copy_(torch.tensor(weight))
            layer.bias.copy_(torch.tensor(bias))
    x = torch.tensor(batch())
    double = refined(model, x, 1)
    expected = refined(RELU.model(), x.numpy(), 1)
    np.testing.assert_allclose(double.numpy(), expected.attributions, rtol=0, atol=1e-12)
    single = refined(model.float(), x.float(), 1)
    assert single.attributions.dtype == torch.float32
    assert (single.error <= 0.02).all()
    # Roundings of 6e-8 may move a node's rank, hence a node: then the two differ as their errors do.
    off = np.linalg.norm(single.numpy() - double.numpy()) / np.linalg.norm(double.numpy())
    assert off < 0.04


def test_what_is_not_finite_is_named_though_images_share_blocks():
    broken = NumpyModel(
        lambda p: np.where(np.abs(p.mean(axis=(1, 2, 3)) - 0.9) < 0.05, np.nan, p.sum(axis=(1, 2, 3))),
        lambda p, c: np.ones_like(p),
    )
    x = np.full((4, *SHAPE), 0.5)
    x[3] = 1.0
    with pytest.raises(ModelError, match=r"image 3: the explained score \(nan\) is not finite at α = 0\.[89]"):
        refined(broken, x, schedule=LinearRamp(1.0))


def test_series_and_volumes_are_refined_too():
    for shape in ((1, 12), (2, 3, 4, 5)):
        x = batch(2, shape)
        network = TanhNetwork.random(shape)
        for name in (name for name in FAMILIES if applies(FAMILIES[name](), shape)):
            found = refined(network.model(), x, 1, family=name, channel_axis=1, output="logit", tolerance=0.005)
            assert (found.error <= 0.005).all()
            size = np.linalg.norm(found.attributions.reshape(2, -1), axis=1)
            assert (np.abs(found.gap) < 0.01 * np.sqrt(x[0].size) * size).all()
