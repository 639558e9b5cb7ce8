"""The PyTorch backend: the oracle's numbers, and a model left as it was found."""

import gc
import shutil
import subprocess
import sys
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import pathattr as pa
import reference
from pathattr.common.axes import Layout
from pathattr.families import FAMILIES
from pathattr.integration.engine import Engine
from pathattr.integration.quadrature import RULES
from pathattr.models.backend import Call
from pathattr.models.targets import Objective
from pathattr.paths.schedules import SCHEDULES

SHAPE = (2, 9, 7)
SMOOTH = reference.SmoothModel(SHAPE, seed=2)


class Smooth(nn.Module):
    """The oracle's network in PyTorch."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        hidden, inputs = SMOOTH.w1.shape
        self.first, self.last = nn.Linear(inputs, hidden), nn.Linear(hidden, SMOOTH.w2.shape[0])
        for layer, weight, bias in ((self.first, SMOOTH.w1, SMOOTH.b1), (self.last, SMOOTH.w2, SMOOTH.b2)):
            layer.weight = nn.Parameter(torch.tensor(weight))
            layer.bias = nn.Parameter(torch.tensor(bias))
        self.to(dtype).eval()

    def forward(self, x):
        return self.last(torch.tanh(self.first(x.flatten(1))))


def pictures(count=3, seed=0):
    return np.random.default_rng(seed).normal(size=(count, *SHAPE))


def relative(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("family", FAMILIES)
def test_attributions_and_components_equal_the_numpy_oracle(family, schedule):
    settings = {"family": family, "schedule": schedule, "steps": 30, "batch_size": 7}
    x = pictures()
    expected = pa.PathExplainer(pa.NumpyModel(SMOOTH.value, SMOOTH.vjp), **settings)(x, [0, 1, 2])
    found = pa.PathExplainer(Smooth(), **settings)(torch.tensor(x), [0, 1, 2])
    # Both in float64: only the order of sums inside matrix products differs, about 1e-14.
    assert relative(found.attributions.numpy(), expected.attributions) < 1e-10
    for ours, theirs in zip(found.components.attributions, expected.components.attributions, strict=True):
        assert relative(ours, theirs) < 1e-10
    assert relative(found.score, expected.score) < 1e-12
    assert found.evaluations.tolist() == expected.evaluations.tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_float32_models_come_close_to_float64(family):
    x = pictures().astype(np.float32)
    single = pa.PathExplainer(Smooth(torch.float32), family=family, steps=50)(torch.tensor(x), 1)
    double = pa.PathExplainer(Smooth(), family=family, steps=50)(x.astype(np.float64), 1)
    assert single.attributions.dtype == torch.float32
    # Increments between 50 points carry float32's 6e-8 fifty-fold; gradients a few units of it.
    assert relative(single.attributions.numpy(), double.attributions) < 1e-4


@pytest.mark.parametrize("output", ["probability", "logit", "log_probability", "raw"])
@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_every_output_and_link_equals_the_oracle(output, link):
    x = pictures(2)
    settings = {"output": output, "link": link, "steps": 20}
    target = pa.Contrast([0, 1], [2, 3])
    expected = pa.PathExplainer(pa.NumpyModel(SMOOTH.value, SMOOTH.vjp), **settings)(x, target)
    found = pa.PathExplainer(Smooth(), **settings)(torch.tensor(x), target)
    assert relative(found.attributions.numpy(), expected.attributions) < 1e-10
    assert relative(found.score, expected.score) < 1e-12


def test_results_come_back_as_the_inputs_came():
    explainer = pa.PathExplainer(Smooth(), steps=5)
    x = pictures(1)
    assert isinstance(explainer(x).attributions, np.ndarray)
    single = explainer(torch.tensor(x, dtype=torch.float32)).attributions
    assert isinstance(single, torch.Tensor)
    assert single.dtype == torch.float32
    assert single.shape == (1, *SHAPE)
    assert not single.requires_grad


class Wrapped(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.inner, self.wrap = Smooth(), wrap
        self.eval()

    def forward(self, x):
        return self.wrap(self.inner(x))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda z: (z, None),
        lambda z: {"logits": z, "hidden": z * 2},
        lambda z: {"anything": z},
        lambda z: SimpleNamespace(logits=z, attentions=None),
    ],
)
def test_outputs_in_tuples_dicts_and_objects_are_found(wrap):
    x = torch.tensor(pictures(1))
    expected = pa.PathExplainer(Smooth(), steps=5)(x, 0).attributions
    found = pa.PathExplainer(Wrapped(wrap), steps=5)(x, 0).attributions
    assert torch.equal(found, expected)


@pytest.mark.parametrize("wrap", [lambda z: {"a": z * 0, "b": z}, lambda z: (z * 0, z), lambda z: [z * 0, z]])
def test_several_outputs_are_refused_and_the_advice_works(wrap):
    x, model = torch.tensor(pictures(1)), Wrapped(wrap)
    with pytest.raises(pa.ModelError, match=r"which one to explain is not clear: say head=.* or pass output="):
        pa.PathExplainer(model, steps=5)(x, 0)
    expected = pa.PathExplainer(Smooth(), steps=5)(x, 0)
    head = "b" if isinstance(wrap(x), dict) else 1
    found = pa.PathExplainer(model, steps=5, head=head)(x, 0)
    assert torch.equal(found.attributions, expected.attributions)
    assert found.settings["head"] == head
    everything = pa.PathExplainer(model, steps=5, output=lambda given: given[head].softmax(1)[:, 0])(x)
    np.testing.assert_allclose(everything.numpy(), expected.numpy(), rtol=1e-5, atol=1e-7)  # the same softmax, fused


class Masked(nn.Module):
    """Weighs the features by a mask of its own for each example."""

    def __init__(self):
        super().__init__()
        self.inner = Smooth()
        self.eval()

    def forward(self, values, mask=None, scale=1.0):
        assert mask is None or len(mask) == len(values)
        return self.inner(values if mask is None else values * mask.to(values.dtype) * scale)


@pytest.mark.parametrize("how", ["args", "kwargs", "named"])
def test_further_inputs_are_repeated_for_every_node(how):
    x = torch.tensor(pictures(3))
    mask = torch.tensor(np.random.default_rng(1).random((3, *SHAPE)) > 0.5)
    call = {
        "args": {"args": (mask, 0.5)},
        "kwargs": {"kwargs": {"mask": mask, "scale": 0.5}},
        "named": {"kwargs": {"mask": mask, "scale": 0.5}, "input_name": "values"},
    }[how]
    explainer = pa.PathExplainer(Masked(), steps=10, batch_size=4)
    together = explainer(x, 0, **call)
    for i in range(3):
        alone = pa.PathExplainer(lambda v, i=i: Smooth()(v * mask[i] * 0.5), steps=10)
        assert relative(together.attributions[i].numpy(), alone(x[i : i + 1], 0).attributions[0].numpy()) < 1e-12
    # What a mask hides has no gradient.
    assert (together.attributions[~mask] == 0).all()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_works_inside_modes_that_forbid_gradients(mode):
    x = pictures(2)
    plain, masked = pa.PathExplainer(Smooth(), steps=5), pa.PathExplainer(Masked(), steps=5)
    expected = plain(torch.tensor(x), 0).attributions.numpy()
    with mode():
        made_inside = torch.tensor(x)
        mask = torch.ones(2, *SHAPE, dtype=torch.float64)
        assert np.array_equal(plain(made_inside, 0).attributions.numpy(), expected)
        assert np.array_equal(masked(made_inside, 0, args=(mask,)).attributions.numpy(), expected)
        assert torch.is_inference_mode_enabled() == (mode is torch.inference_mode)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool])
def test_whole_numbers_are_refused_with_the_fix(dtype):
    with pytest.raises(pa.InvalidInput, match="embeddings"):
        pa.PathExplainer(Smooth())(torch.ones(1, *SHAPE, dtype=dtype))


def test_half_precision_inputs_of_a_float32_model_are_taken_there_and_back():
    x = torch.rand(1, *SHAPE).half()
    result = pa.PathExplainer(Smooth(torch.float32), steps=5)(x, 0)
    assert result.attributions.dtype == torch.float16
    assert abs(result.gap[0]) < abs(result.score[0] - result.baseline_score[0])


def test_functions_and_output_callables_of_the_framework():
    model = Smooth()
    x = torch.tensor(pictures(2))
    margin = pa.PathExplainer(lambda v: model(v), output=lambda z: z[:, 1] - z[:, 0], steps=20)(x)
    contrast = pa.PathExplainer(model, output="logit", steps=20)(x, pa.Contrast(1, 0))
    assert relative(margin.attributions.numpy(), contrast.attributions.numpy()) < 1e-12
    with pytest.raises(pa.ModelError, match="one score a row"):
        pa.PathExplainer(model, output=lambda z: z)(x)


def test_not_finite_along_the_path_names_image_and_alpha():
    def model(x):  # sqrt has an infinite slope where the second image's path passes 0
        score = (x.flatten(1)[:, :1] - 0.5).abs().sqrt()
        return torch.cat([score, -score], 1)

    x = torch.full((2, *SHAPE), 0.25, dtype=torch.float64)
    x[1] = 1.0
    with pytest.raises(pa.ModelError, match=r"image 1: its gradient is not finite at α = 0\.5 "):
        pa.PathExplainer(model, family="linear", steps=5, output="logit")(x, 0)


def test_an_image_alone_equals_itself_in_a_batch():
    x = torch.tensor(pictures(4))
    for family in FAMILIES:
        explainer = pa.PathExplainer(lambda v: torch.tanh(v).flatten(1), output="raw", family=family, steps=12)
        together = explainer(x, 5).attributions
        for batch_size in (1, 5, 64):
            explainer.batch_size = batch_size
            alone = explainer(x[2:3], 5).attributions
            # PyTorch's matrix products round differently for other numbers of rows; ours do not (NumPy backend).
            assert relative(alone[0].numpy(), together[2].numpy()) < 1e-13


@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA device here: the GPU path is untested on this machine"
)
@pytest.mark.parametrize("family", FAMILIES)
def test_cuda_equals_the_oracle(family):
    x = pictures()
    expected = pa.PathExplainer(pa.NumpyModel(SMOOTH.value, SMOOTH.vjp), family=family, steps=30)(x, [0, 1, 2])
    found = pa.PathExplainer(Smooth().cuda(), family=family, steps=30)(torch.tensor(x), [0, 1, 2])
    assert found.attributions.device.type == "cpu"
    assert relative(found.attributions.numpy(), expected.attributions) < 1e-10


@pytest.mark.parametrize(
    "equation",
    ["bncpq,hp->bnchq", "hp,bncpq->bnchq", "ph,bncpq->bnchq", "bnchq,wq->bnchw", "qw,bnchq->bnchw",
     "wq,bnchq->wbnch", "bnpqh,pc->bncqh", "cn,bnpqh->bcpqh", "bnchw,hp->bnpcw", "np,bncpq->bncq", "hw,hw->hw"],
)  # fmt: skip
def test_products_of_two_operands_equal_einsum(equation):
    """Those of a matrix with a stack go another way than torch.einsum."""
    from pathattr_torch import TorchBackend

    rng = np.random.default_rng(0)
    sizes = dict(zip("bcnhwpq", range(2, 9), strict=True))
    operands = [rng.normal(size=[sizes[label] for label in labels]) for labels in equation.split("->")[0].split(",")]
    backend = TorchBackend(Smooth(), torch.zeros(1, *SHAPE), Call())
    found = backend.einsum(equation, *map(torch.tensor, operands))
    np.testing.assert_allclose(found.numpy(), np.einsum(equation, *operands), rtol=0, atol=1e-13)  # sums of 8 numbers


class ReadTooEarly(Exception):
    pass


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_waits_for_the_device_inside_the_loop(family, monkeypatch):
    """On the meta device nothing can be read back, and what goes there must go through `sent`."""
    from pathattr_torch import backend as ours
    from pathattr_torch import ops

    sending = []

    def sent(array, device, dtype=None):
        sending.append(True)
        try:
            return torch.tensor(array, dtype=dtype).to(device)
        finally:
            sending.pop()

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            kwargs = kwargs or {}
            result = function(*args, **kwargs)
            made = function in (torch.tensor, torch.as_tensor, torch.Tensor.to, torch.Tensor.copy_)
            from_host = made and not any(isinstance(arg, torch.Tensor) and arg.is_meta for arg in args)
            if from_host and isinstance(result, torch.Tensor) and result.is_meta:
                assert sending, f"{function} copies to the device and waits for it"
            return result

    blocks = []

    class Far(ours.TorchBackend):
        def gradient(self, *args):
            blocks.append(True)
            return super().gradient(*args)

        def to_numpy(self, array):
            if isinstance(array, torch.Tensor) and array.is_meta:
                raise ReadTooEarly(len(blocks))
            return super().to_numpy(array)

    for module in (ours, ops):
        monkeypatch.setattr(module, "sent", sent)
    x = pictures(1)
    explainer = pa.PathExplainer(Smooth(), family=family, steps=20)
    backend = Far(Smooth().to("meta"), torch.empty(x.shape, device="meta"), Call())
    engine = Engine(backend, Layout.of(x.shape, None, 1), explainer.schedule, RULES["midpoint"], 5)
    objective = Objective("probability", "softmax", 1)
    path = explainer._path(np.zeros(SHAPE), x[0], engine.layout, np.zeros((1, 1), np.intp), 0)
    placed = explainer._placed(engine, objective, path)
    with Watch(), pytest.raises(ReadTooEarly) as stopped:
        list(engine.integrate([placed], objective, count=1, nodes=20, progress=lambda done, total: None))
    assert stopped.value.args == (4,)  # the first to be read is what all four blocks have left


# Modes


class Convolutions(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Tanh(), nn.Flatten())
        self.last = nn.Linear(8 * 5 * 3, 4)
        self.layouts = []
        self.eval()

    def forward(self, x):
        if not torch.compiler.is_compiling():
            self.layouts.append(x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous())
        return self.last(self.body(x))


def in_mode(model=None, x=None, **options):
    x = torch.tensor(pictures(2)).float() if x is None else x
    return pa.PathExplainer(model or Convolutions(), steps=20, batch_size=16, backend_options=options)(x, 1)


def test_channels_last_changes_the_layout_and_nothing_else():
    model = Convolutions()
    expected = in_mode().attributions.numpy()
    found = in_mode(model, channels_last=True)
    assert all(model.layouts)
    assert relative(found.attributions.numpy(), expected) < 1e-5  # other orders of float32 sums, 6e-8 each
    # Nothing to arrange in series, or without channels.
    flat = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    explainer = pa.PathExplainer(
        flat, family="dct", steps=3, channel_axis=None, backend_options={"channels_last": True}
    )
    assert explainer(torch.rand(2, 12), 0).attributions.shape == (2, 12)


def test_autocast_runs_in_half_precision_and_answers_in_float32():
    expected = in_mode()
    found = in_mode(autocast="bfloat16")
    assert found.attributions.dtype == torch.float32
    assert torch.isfinite(found.attributions).all()
    # bfloat16 has 8 bits, 0.4% of each number.
    assert 1e-5 < relative(found.attributions.numpy(), expected.attributions.numpy()) < 0.05
    assert found.score.dtype == np.float64
    assert (found.score != expected.score).all()
    assert not torch.is_autocast_enabled("cpu")


def test_what_is_compiled_is_kept_once_a_model_and_does_not_keep_it_alive(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda function: compiled.append(function) or function)
    model = Convolutions()
    expected = in_mode(model).attributions
    for _ in range(2):
        assert torch.equal(in_mode(model, compile=True).attributions, expected)
    assert len(compiled) == 1
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, where it imports inductor
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # hidden by torch, but where warnings are errors
def test_compiled_models_give_the_same():
    expected = in_mode().attributions.numpy()
    model = Convolutions()
    found = in_mode(model, compile=True).attributions.numpy()
    assert relative(found, expected) < 1e-5  # fused operations round otherwise
    assert all(p.requires_grad for p in model.parameters())


def test_explaining_a_torch_model_imports_no_other_framework():
    code = (
        "import torch, sys, pathattr\n"
        "pathattr.PathExplainer(torch.nn.Flatten().eval(), output='raw', steps=2)(torch.rand(1, 1, 4, 4), 0)\n"
        "print([m for m in ('tensorflow', 'jax', 'keras') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_each_example_of_a_block_is_explained_for_its_own_target():
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double().eval()
    x, targets = torch.randn(3, 4, dtype=torch.float64), [0, 2, 1]
    explain = pa.PathExplainer(net, family="linear", channel_axis=None, steps=4)
    alone = torch.cat([explain(x[i : i + 1], target).attributions for i, target in enumerate(targets)])
    # float64, the same sums in other blocks
    torch.testing.assert_close(explain(x, targets).attributions, alone, rtol=1e-12, atol=1e-14)
