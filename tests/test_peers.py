"""Defects of other attribution libraries, and what their users ask for, as they would show in ours.

Named after where they were seen. Elsewhere already: whole-number inputs (PAIR: `test_explainer`, `test_torch`), a
target of 99999999 (alibi #627: `test_targets`), further inputs repeated for every node (captum #466 #956:
`test_torch`), training mode and left-over hooks (pytorch-grad-cam: `test_torch`), the measured order of convergence
(captum #1334 #1413: `test_quadrature`), bits that no batch-mate changes (SIG's batched Guided IG: `test_properties`).
"""

import gc
import subprocess
import sys
import tracemalloc
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import pathattr as pa
import reference
from pathattr.families import FAMILIES
from pathattr.integration.quadrature import RULES
from pathattr.paths.schedules import SCHEDULES

SHAPE = (2, 6, 5)
SMOOTH = reference.SmoothModel(SHAPE, seed=2)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def pictures(count=3, dtype=torch.float64):
    return torch.tensor(normal(count, *SHAPE), dtype=dtype)


def network(dtype=torch.float64):
    """The oracle's network as a module."""
    hidden, features = SMOOTH.w1.shape
    model = nn.Sequential(nn.Flatten(), nn.Linear(features, hidden), nn.Tanh(), nn.Linear(hidden, len(SMOOTH.b2)))
    for layer, weight, bias in ((model[1], SMOOTH.w1, SMOOTH.b1), (model[3], SMOOTH.w2, SMOOTH.b2)):
        layer.weight, layer.bias = (nn.Parameter(torch.tensor(array)) for array in (weight, bias))
    return model.to(dtype).eval()


class Polynomial(nn.Module):
    """Σ weight·x^power, one output."""

    def __init__(self, power, weight, dtype=torch.float64):
        super().__init__()
        self.power, self.weight = power, nn.Parameter(torch.tensor(weight, dtype=dtype))
        self.eval()

    def forward(self, x):
        return (self.weight * x**self.power).flatten(1).sum(1)


class Watched(nn.Module):
    """A model that tells `note` of the points that it is shown."""

    def __init__(self, inner, note):
        super().__init__()
        self.inner, self.note = inner, note
        self.eval()

    def forward(self, x):
        self.note(x)
        return self.inner(x)


# Rules and precision


@given(
    steps=st.integers(1, 60),
    rule=st.sampled_from(sorted(RULES)),
    family=st.sampled_from(sorted(FAMILIES)),
    schedule=st.sampled_from(sorted(SCHEDULES)),
)
def test_a_constant_gradient_is_integrated_exactly(steps, rule, family, schedule):
    # Captum's riemann_trapezoid weights sum to (n − 1)/n, which Quantus uses at n = 10; PAIR's IG takes both ends and
    # divides by n: 2.1% off at 25 steps.
    weight, x = normal(*SHAPE, seed=1), pictures(2)
    explainer = pa.PathExplainer(
        Polynomial(1, weight), family=family, schedule=schedule, rule=rule, steps=steps, baseline=0.5
    )
    found = explainer(x).attributions.numpy()
    # Increments of points of order 1 telescope: at most 61 roundings of them, of some 1e-16 each.
    np.testing.assert_allclose(found, weight * (x.numpy() - 0.5), rtol=0, atol=2e-14)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_float64_models_get_float64_sums(rule, framework):
    # Captum's step weights are float32: a float64 cubic stops at 1.8e-9.
    x, steps = normal(2, *SHAPE), 50
    if framework == "torch":
        model, inputs = Polynomial(3, np.ones(SHAPE)), torch.tensor(x)
    else:
        model = pa.NumpyModel(lambda p: (p**3).sum((1, 2, 3)), lambda p, c: c[:, None, None, None] * 3 * p**2)
        inputs = x
    found = pa.PathExplainer(model, family="linear", rule=rule, steps=steps)(inputs)

    exact = x.astype(np.longdouble)
    edges = np.arange(steps + 1, dtype=np.longdouble) / steps
    left, right = ([3 * (a * exact) ** 2 for a in part] for part in (edges[:-1], edges[1:]))
    gradient = {
        "left": left,
        "right": right,
        "midpoint": [3 * (a * exact) ** 2 for a in (edges[:-1] + edges[1:]) / 2],
        "trapezoid": (np.array(left) + np.array(right)) / 2,
    }[rule]
    expected = exact * np.mean(gradient, axis=0)
    # Some 50 roundings of the running sum by 1.1e-16 of it, at random.
    np.testing.assert_allclose(np.asarray(found.attributions), expected.astype(float), rtol=1e-14)


def test_an_autocast_inside_the_model_leaves_finite_results_in_full_precision():
    # captum #1199.
    model, x = network(torch.float32), pictures(2, torch.float32)

    def mixed(points):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return model(points)

    found, full = (pa.PathExplainer(each, steps=50)(x, 1) for each in (mixed, model))
    assert found.attributions.dtype == torch.float32
    # bfloat16 keeps 8 bits: the two layers and their gradients err by a few 2^-9 of the largest attribution.
    assert 0 < (found.attributions - full.attributions).abs().max() < 0.02 * full.attributions.abs().max()


# What the model is shown


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("options", [{}, {"baseline": pa.Samples(normal(3, *SHAPE))}, {"family": "linear", "steps": 3}])
def test_batch_size_bounds_every_call(rule, options):
    # Captum's internal_batch_size=4 runs 8 at once for a batch of 8. (NumPy: test_explainer.)
    sizes = []
    model = Watched(network(), lambda x: sizes.append(len(x)))
    pa.PathExplainer(model, rule=rule, batch_size=4, **({"steps": 10} | options))(pictures(8))
    assert 3 <= max(sizes) <= 4  # blocks of 3 where there are 3 nodes a path


def test_a_model_that_takes_one_example_at_a_time_is_explained():
    # captum #466: steps × batch meets the model's own batch.
    inner = network()

    def single(x):
        (only,) = x
        return inner(only[None])

    found = pa.PathExplainer(single, steps=10, batch_size=1)(pictures(), [0, 1, 2])
    expected = pa.PathExplainer(inner, steps=10)(pictures(), [0, 1, 2])
    # Matrix products of other numbers of rows: a few roundings of numbers of order 0.1.
    np.testing.assert_allclose(found.attributions, expected.attributions, rtol=0, atol=1e-15)


class Two(nn.Module):
    """Depends on both inputs, or on the first alone."""

    def __init__(self, both=True):
        super().__init__()
        self.inner, self.both = network(), both
        self.eval()

    def forward(self, first, second):
        return self.inner(first * second if self.both else first)


def test_each_of_two_inputs_is_explained_with_the_other_held():
    # captum #956.
    first, second = pictures(), 1 + pictures(6)[3:] ** 2
    model = Two()
    found = pa.PathExplainer(model, steps=20, batch_size=7)(first, 1, kwargs={"second": second}, input_name="first")
    other = pa.PathExplainer(model, steps=20, batch_size=7)(second, 1, kwargs={"first": first}, input_name="second")
    for i in range(3):
        alone = pa.PathExplainer(lambda v, i=i: model(v, second[i]), steps=20)(first[i : i + 1], 1)
        # Matrix products of other numbers of rows: a few roundings of numbers of order 0.1.
        np.testing.assert_allclose(found.attributions[i], alone.attributions[0], rtol=0, atol=1e-14)
    assert np.allclose(found.score, other.score)
    assert (found.attributions - other.attributions).abs().max() > 0.01


def test_an_input_that_the_model_does_not_use_changes_nothing_and_cannot_be_explained():
    # captum #732.
    model, x, unused = Two(both=False), pictures(), torch.full((3, 4), torch.nan)
    found = pa.PathExplainer(model, steps=5)(x, 1, args=(unused,))
    assert torch.equal(found.attributions, pa.PathExplainer(model.inner, steps=5)(x, 1).attributions)
    with pytest.raises(pa.ModelError, match="not use this input at all"):
        pa.PathExplainer(model, steps=5)(x, 1, kwargs={"first": x}, input_name="second")


# Targets


def test_a_missing_target_is_the_class_at_the_input():
    # The SIG code takes the class at the baseline instead.
    model, x = network(), pictures(8)
    with torch.no_grad():
        at_input, at_baseline = model(x).argmax(1), model(torch.zeros_like(x)).argmax(1)
    assert (at_input != at_baseline).any()  # else this tests nothing
    found = pa.PathExplainer(model, steps=5)(x)
    assert found.target.tolist() == at_input.tolist()
    assert torch.equal(found.attributions, pa.PathExplainer(model, steps=5)(x, at_input).attributions)


@pytest.mark.parametrize("target", [99999999, [0, 1, 4], torch.tensor([0, -1, 2]), pa.Contrast(0, 4)])
def test_a_target_out_of_range_is_refused_before_any_gradient(target):
    # alibi #627: accepted.
    shown = []
    with pytest.raises(pa.InvalidInput, match="is out of range: the model has 4 outputs, 0 to 3"):
        pa.PathExplainer(Watched(network(), shown.append), steps=5)(pictures(), target)
    assert len(shown) == 1  # the inputs themselves


# Baselines


@pytest.mark.parametrize("baseline", ["mean", "blur", "uniform", "gaussian"])
def test_a_baseline_made_from_an_example_does_not_know_the_batch(baseline):
    # PAIR's Blur IG (sqrt=True) depends on the batch size.
    x = pictures(4)
    explainer = pa.PathExplainer(network(), baseline=baseline)
    whole = explainer.path(x, [0.0])
    for i in range(4):
        np.testing.assert_array_equal(explainer.path(x[i : i + 1], [0.0])[0], whole[i])
        np.testing.assert_array_equal(explainer.path(x[[3, i]], [0.0])[1], whole[i])


# Paths


def bands():
    """A coarse, a middling and a fine 16×16 pattern, each of one scale of the Haar transform."""
    place = np.arange(16)
    waves = [np.where(place // width % 2, -1.0, 1.0) for width in (8, 4, 1)]
    return [np.outer(wave, wave) for wave in waves]


def arrivals(family, **options):
    """The mean over α of how much of each pattern of a sum of three is still missing."""
    x = sum(bands())[None, None]
    explainer = pa.PathExplainer(Polynomial(1, np.ones((1, 16, 16))), family=family, **options)
    path = explainer.path(torch.tensor(x), np.linspace(0, 1, 101))[0, :, 0]
    return [1 - (path * band).sum(axis=(1, 2)).mean() / (band * band).sum() for band in bands()]


@pytest.mark.parametrize("family", ["wavelet", "wavelet-coefficients", "laplacian"])
def test_pyramids_go_from_coarse_to_fine(family):
    # The SIG code's orders do not, and `preset="published"` keeps that.
    coarse, middling, fine = arrivals(family)
    assert coarse + 0.05 < middling < fine - 0.05
    coarse, middling, fine = arrivals(family, preset="published")
    assert fine + 0.05 < middling < coarse - 0.05


@pytest.mark.parametrize("side", [227, 299])
def test_the_wavelet_does_not_stop_at_odd_sides(side):
    # The SIG code's Haar does: one component, a straight line. AlexNet and Inception have such inputs.
    x = torch.tensor(normal(1, 1, side, side))
    model = Polynomial(1, np.ones((1, side, side)))
    found = pa.PathExplainer(model, family="wavelet", steps=2)(x)
    assert found.components[0].shape == (1, 1, 13)  # the approximation and 3 bands for each of 4 levels
    # Every level has its say; where a last odd row meets its own reflection, a single band may be 0.
    assert (np.abs(found.components[0]).reshape(-1)[1:].reshape(4, 3).max(axis=1) > 0).all()
    assert pa.PathExplainer(model, family="wavelet", preset="published", steps=2)(x).components[0].shape == (1, 1, 1)


@pytest.mark.parametrize("family", ["svd", "dct", "wavelet", "laplacian"])
def test_without_overlap_the_path_begins_at_the_baseline_and_is_complete(family):
    # The SIG code opens the strongest component at α = 0 already, and takes its jump at no node.
    x = pictures(2)
    settings = {"family": family, "schedule": pa.LinearRamp(overlap=0.0), "baseline": 0.25, "output": "logit"}
    explainer = pa.PathExplainer(network(), steps=400, **settings)
    path = explainer.path(x, [0.0, 1e-9])
    np.testing.assert_array_equal(path[:, 0], np.full_like(x, 0.25))
    assert (np.abs(path[:, 1] - path[:, 0]).max(axis=(1, 2, 3)) > 0.01).all()  # the strongest follows at once
    found = explainer(x, 1)
    # Of the 400 midpoints a jump of length L has some 400·L/ΣL: errors of order (a few/400)² of F's change, 1.
    assert np.abs(found.gap).max() < 1e-3
    published = pa.PathExplainer(network(), preset="published", **settings)(x, 1)
    assert np.abs(published.gap).max() > 0.05


# Results


def test_the_channel_sum_of_maps_keeps_completeness():
    # Xplique's default reducer is the mean over channels.
    found = pa.PathExplainer(network(), steps=20, batch_size=9)(pictures(), [0, 1, 2])
    total = found.heatmap(percentile=None).sum(axis=(1, 2))
    # 60 roundings of numbers of order 0.1.
    np.testing.assert_allclose(total, found.score - found.baseline_score + found.gap, rtol=0, atol=1e-14)


@pytest.mark.parametrize("reduce", ["sum", "abs", "norm", "none"])
def test_maps_are_scaled_one_by_one(reduce):
    # WAM divides by the maximum of the batch.
    x = pictures(2)
    explainer = pa.PathExplainer(Polynomial(1, np.ones(SHAPE)), steps=2, family="linear")
    quiet, loud = explainer(x), explainer(torch.stack([x[0], 1000 * x[1]]))
    np.testing.assert_array_equal(quiet.heatmap(reduce)[0], loud.heatmap(reduce)[0])
    np.testing.assert_array_equal(np.abs(loud.heatmap(reduce)).max(axis=tuple(range(1, loud.heatmap(reduce).ndim))), 1)


@pytest.mark.parametrize("scale", [0.0, 1e-150, 1e30])
def test_maps_of_any_size_and_of_zeros_are_drawn(scale):
    # captum #959 #1103. Warnings, such as that of a division by 0, are errors here.
    found = pa.PathExplainer(Polynomial(1, np.ones(SHAPE)), steps=2)(scale * pictures(1))
    for reduce in ("sum", "abs", "norm", "none"):
        heatmap = found.heatmap(reduce)
        assert np.isfinite(heatmap).all()
        assert np.abs(heatmap).max() == (scale > 0)
    found.plot().canvas.draw()
    found.plot(picture=np.zeros((*SHAPE[1:], 3))).canvas.draw()
    assert found._repr_png_()


LOAD = """
import sys
sys.modules.update(dict.fromkeys(("torch", "tensorflow", "jax", "keras")))  # importing any of them is an error
import pathattr as pa
found = pa.Attribution.load(sys.argv[1])
print(found.attributions.sum().item().hex(), found.heatmap(percentile=None).sum().item().hex(), found.target[0])
"""


def test_what_was_computed_before_is_read_without_the_framework(tmp_path):
    # alibi #401, Quantus #207 #276.
    found = pa.PathExplainer(network(), steps=5)(pictures(), [3, 1, 2])
    found.save(tmp_path / "a.npz")
    done = subprocess.run(
        [sys.executable, "-c", LOAD, tmp_path / "a.npz"], capture_output=True, text=True, check=True, timeout=60
    )
    total, of_maps, target = done.stdout.split()
    assert total == found.attributions.numpy().sum().item().hex()
    assert of_maps == found.heatmap(percentile=None).sum().item().hex()
    assert target == "3"


# Memory: captum #245 #538 #632 #1350, pytorch-grad-cam #132 #195 #483


def live_tensors():
    gc.collect()
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


def test_explaining_in_a_loop_keeps_no_tensor():
    model, x = network(), pictures()
    explainer = pa.PathExplainer(model, steps=6, batch_size=4)
    explainer(x)
    before = live_tensors()
    results = [explainer(x) for _ in range(5)]
    assert live_tensors() == before + 5  # the attributions themselves
    assert all(found.attributions.grad_fn is None for found in results)
    kept = weakref.ref(results[0].attributions)
    del results
    assert live_tensors() == before
    assert kept() is None


def test_the_graph_of_one_block_is_gone_before_the_next():
    class Saved:
        def __init__(self, tensor):
            self.tensor = tensor.detach()  # an output that held its own graph would keep it for good
            alive.add(self)

    def unpack(saved):
        inside.append(len(alive))
        return saved.tensor

    def note(points):
        before.append(len(alive) + sum(kept() is not None for kept in seen))
        seen.append(weakref.ref(points))

    alive, seen, before, inside = weakref.WeakSet(), [], [], []
    with torch.autograd.graph.saved_tensors_hooks(Saved, unpack):
        pa.PathExplainer(Watched(network(), note), steps=40, batch_size=4)(pictures())
    assert max(inside) > 0  # else this tests nothing
    assert max(before) == len(alive) == 0


def test_memory_does_not_grow_with_the_number_of_steps():
    # Captum, WAM and the SIG code hold batch × steps images.
    model = pa.NumpyModel(lambda p: (p**3).sum((1, 2, 3)), lambda p, c: c[:, None, None, None] * 3 * p**2)
    x = normal(2, 3, 48, 48)

    def peak(steps):
        gc.collect()
        tracemalloc.start()
        pa.PathExplainer(model, family="linear", steps=steps, batch_size=10)(x)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(20)
    assert peak(300) < 1.1 * peak(20)  # a few numbers a node: 1% more, where 300 images would be 350%


def test_gradients_that_the_user_gathered_stay():
    model = network()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    x = pictures().requires_grad_(True)
    found = pa.PathExplainer(model, steps=3)(x)
    assert all((p.grad == 1).all() and p.requires_grad for p in model.parameters())
    assert x.grad is None
    assert x.requires_grad
    assert not found.attributions.requires_grad
