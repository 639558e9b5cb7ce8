"""PyTorch: half precision at the model's door only, and arithmetic of ours that no setting of the user's reaches."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import pathattr as pa
from pathattr.families import FAMILIES

HALVES = [torch.bfloat16, torch.float16]


def network(seed=0):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.Tanh(), nn.Conv2d(8, 8, 3), nn.Tanh(), nn.Flatten()]
    return nn.Sequential(*layers, nn.LayerNorm(120), nn.Linear(120, 4)).eval()


def pictures(count=2, dtype=torch.float32):
    return torch.tensor(np.random.default_rng(0).normal(size=(count, 2, 9, 7)), dtype=dtype)


def relative(found, expected):
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


# Half precision


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_models_give_what_their_float32_copies_give(dtype, family):
    half, seen = network().to(dtype), []
    single = copy.deepcopy(half).float()
    half.register_forward_pre_hook(lambda module, args: seen.append(args[0].dtype))
    settings = {"family": family, "steps": 20, "batch_size": 16}
    expected = pa.PathExplainer(single, **settings)(pictures(), 1)
    found = pa.PathExplainer(half, **settings)(pictures(), 1)
    assert set(seen) == {dtype}
    assert found.attributions.dtype == torch.float32
    # Each number of the two convolutions and the rest keeps 8 or 11 bits, and errors of both signs add up.
    tolerance = 30 * torch.finfo(dtype).eps
    assert relative(found.numpy(), expected.numpy()) < tolerance
    np.testing.assert_allclose(found.score, expected.score, rtol=tolerance)
    assert found.settings["model_dtype"] == str(dtype).removeprefix("torch.")
    assert "model_dtype" not in expected.settings


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("given", [torch.float16, torch.bfloat16, torch.float32, torch.float64, "numpy"])
def test_inputs_of_any_precision_go_in_and_attributions_come_back_in_it(dtype, given):
    x = pictures(dtype=torch.bfloat16).to(torch.float64)  # numbers that all of these types hold
    x = (x * 8).round() / 8
    expected = pa.PathExplainer(network().to(dtype), steps=5)(x, 1)
    found = pa.PathExplainer(network().to(dtype), steps=5)(x.numpy() if given == "numpy" else x.to(given), 1)
    assert np.array_equal(found.score, expected.score)
    if given == "numpy":
        assert np.array_equal(found.attributions, expected.attributions.numpy())
    else:
        assert found.attributions.dtype == given
        assert torch.equal(found.attributions, expected.attributions.to(given))


@pytest.mark.parametrize("dtype", HALVES)
def test_a_function_runs_in_the_dtype_of_its_inputs(dtype):
    half = network().to(dtype)
    expected = pa.PathExplainer(half, steps=5)(pictures(dtype=dtype), 1)
    found = pa.PathExplainer(lambda z: half(z), steps=5)(pictures(dtype=dtype), 1)
    assert torch.equal(found.attributions, expected.attributions)
    assert found.settings["model_dtype"] == str(dtype).removeprefix("torch.")


@pytest.mark.parametrize("how", ["parameters", "casts inside", "autocast"])
def test_small_probabilities_have_gradients_in_float16(how):
    class Far(nn.Module):
        """A probability of about 1e-10, whose slopes float16 does not have: it ends at 6e-8."""

        def __init__(self, dtype):
            super().__init__()
            self.inner, self.dtype = network().to(dtype), dtype
            self.eval()

        def forward(self, x):
            return self.inner(x.to(self.dtype)) + torch.tensor([-20, 0, 0, 0], dtype=self.dtype)

    x, half = pictures(), Far(torch.float16)
    if how == "casts inside":  # a function of float32 points
        found = pa.PathExplainer(lambda z: half(z), steps=10)(x, 0)
        assert found.settings["model_dtype"] == "float16"
    elif how == "autocast":
        if not torch.amp.is_autocast_available("cpu"):
            pytest.skip("this torch has no autocast on the CPU")
        with torch.autocast("cpu", torch.float16):
            found = pa.PathExplainer(Far(torch.float32), steps=10)(x, 0)
        assert found.settings["autocast"] == "float16"
        assert "model_dtype" not in found.settings
    else:
        found = pa.PathExplainer(half, steps=10)(x, 0)
    single = pa.PathExplainer(Far(torch.float32), steps=10)(x, 0)
    assert (found.score < 1e-8).all()
    assert relative(found.numpy(), single.numpy()) < 1e-2  # a few units of 5e-4, through an exponential


@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_models_of_hugging_face(dtype):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=8, patch_size=4
    )
    half = transformers.ViTForImageClassification(config).to(dtype).eval()
    x = torch.tensor(np.random.default_rng(0).normal(size=(2, 3, 8, 8)), dtype=torch.float32)
    expected = pa.PathExplainer(copy.deepcopy(half).float(), steps=20, output="logit")(x, 1)
    found = pa.PathExplainer(half, steps=20, output="logit")(x, 1)
    assert relative(found.numpy(), expected.numpy()) < 30 * torch.finfo(dtype).eps


def test_weights_in_storage_say_nothing_of_the_dtype_that_is_computed_in():
    class Stored(nn.Module):
        """Holds its first weights in eight bits."""

        def __init__(self):
            super().__init__()
            self.first = nn.Parameter(torch.randn(4, 126).to(torch.float8_e4m3fn), requires_grad=False)
            self.last = nn.Linear(4, 3)

        def forward(self, x):
            return self.last(torch.tanh(x.flatten(1) @ self.first.to(x.dtype).T))

    torch.manual_seed(0)
    stored = Stored().eval()
    wide = copy.deepcopy(stored)
    wide.first.data = wide.first.data.float()
    found, expected = (pa.PathExplainer(model, steps=3)(pictures(), 1) for model in (stored, wide))
    assert torch.equal(found.attributions, expected.attributions)
    assert "model_dtype" not in found.settings


# The user's settings


class Apart(nn.Module):
    """Keeps autocast off for itself: what then still changes with it is not the model's."""

    def __init__(self):
        super().__init__()
        self.inner, self.seen = network(), []
        self.eval()

    def forward(self, x):
        self.seen.append(torch.is_autocast_enabled("cpu"))
        with torch.autocast("cpu", enabled=False):
            return self.inner(x)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_surrounding_autocast_reaches_the_model_and_nothing_else(family):
    settings = {"family": family, "steps": 10}
    expected = pa.PathExplainer(network(), **settings)(pictures(), 1)
    model = Apart()
    with torch.autocast("cpu", torch.bfloat16):
        found = pa.PathExplainer(model, **settings)(pictures(), 1)
        assert torch.is_autocast_enabled("cpu")
    assert all(model.seen)
    assert torch.equal(found.attributions, expected.attributions)
    for ours, theirs in zip(found.components.attributions, expected.components.attributions, strict=True):
        assert np.array_equal(ours, theirs)
    assert np.array_equal(found.score, expected.score)
    assert found.settings["autocast"] == "bfloat16"
    assert "autocast" not in expected.settings


def test_a_surrounding_autocast_is_as_the_option():
    with torch.autocast("cpu", torch.bfloat16):
        around = pa.PathExplainer(network(), steps=10)(pictures(), 1)
    option = pa.PathExplainer(network(), steps=10, backend_options={"autocast": "bfloat16"})(pictures(), 1)
    plain = pa.PathExplainer(network(), steps=10)(pictures(), 1)
    assert torch.equal(around.attributions, option.attributions)
    assert option.settings["autocast"] == "bfloat16"
    assert not torch.equal(around.attributions, plain.attributions)  # the model did run in half precision


class Products(TorchDispatchMode):
    """Notes the dtypes of matrix products: on a processor with bfloat16 units, the setting reaches those in float32."""

    def __init__(self):
        super().__init__()
        self.dtypes = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if any(name in str(function) for name in ("mm.", "matmul", "linear", "dot", "mv.")):
            self.dtypes |= {arg.dtype for arg in args if isinstance(arg, torch.Tensor)}
        return function(*args, **(kwargs or {}))


@pytest.fixture
def precision():
    before = torch.get_float32_matmul_precision()
    yield torch.set_float32_matmul_precision
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("setting", ["high", "medium"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_precision_of_products_reaches_the_model_and_nothing_else(family, setting, precision):
    def model(x):
        return torch.tanh(x).flatten(1)  # no product in it

    settings = {"family": family, "steps": 10, "output": "raw"}
    with Products() as plain:
        expected = pa.PathExplainer(model, **settings)(pictures(), 1)
    precision(setting)
    with Products() as products:
        found = pa.PathExplainer(model, **settings)(pictures(), 1)
    assert torch.get_float32_matmul_precision() == setting
    assert products.dtypes <= {torch.float64}
    assert plain.dtypes <= {torch.float32}
    # Products of ours are then float64's, rounded once.
    assert relative(found.numpy(), expected.numpy()) < 1e-5
    assert found.settings["matmul_precision"] == setting
    assert "matmul_precision" not in expected.settings


def test_the_newer_way_to_set_the_precision_is_seen_too():
    if not hasattr(torch.backends, "fp32_precision"):
        pytest.skip("this torch has no torch.backends.fp32_precision")
    products, before = torch.backends.mkldnn.matmul, torch.backends.mkldnn.matmul.fp32_precision
    try:
        products.fp32_precision = "bf16"
        found = pa.PathExplainer(network(), steps=3)(pictures(), 1)
        assert products.fp32_precision == "bf16"
    finally:
        products.fp32_precision = before
    assert found.settings["matmul_precision"] == "bf16"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_default_device_of_the_user_is_not_where_our_arrays_are(family):
    x, explainer = pictures(), pa.PathExplainer(network(), family=family, steps=5)
    expected = explainer(x, 1)
    with torch.device("meta"):
        found, given = explainer(x, 1), explainer(x.numpy(), 1)
    assert torch.equal(found.attributions, expected.attributions)
    assert np.array_equal(given.attributions, expected.attributions.numpy())
