"""PyTorch: the forms that models and tensors come in, and what is said of those that cannot be explained."""

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import pathattr as pa

X = torch.tensor(np.random.default_rng(0).normal(size=(2, 2, 9, 7)), dtype=torch.float32)


def network(*, train=False):
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(140, 3)]
    return nn.Sequential(*layers).train(train)


def exported(model):
    return torch.export.export(model, (X,), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},))


FORMS = {
    "scripted": torch.jit.script,
    "traced": lambda net: torch.jit.trace(net, X),
    "frozen": lambda net: torch.jit.freeze(torch.jit.script(net)),
    "exported": lambda net: exported(net).module(),
    "fx": torch.fx.symbolic_trace,
    "compiled": lambda net: torch.compile(net, backend="eager"),
    "data parallel": lambda net: nn.DataParallel(net).eval(),
}


@pytest.mark.filterwarnings("ignore")  # torch's own: TorchScript is deprecated, and where it imports dynamo
@pytest.mark.parametrize("form", FORMS)
def test_programs_made_of_a_module_are_explained_as_it_is(form):
    expected = pa.PathExplainer(network(), steps=5)(X, 1)
    found = pa.PathExplainer(FORMS[form](network()), steps=5)(X, 1)
    assert torch.allclose(found.attributions, expected.attributions, rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_a_program_exported_in_training_mode_is_refused_with_the_fix():
    with pytest.raises(pa.ModelError, match=r"Export model\.eval\(\)"):
        pa.PathExplainer(exported(network(train=True)).module(), steps=3)(X, 1)


@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_called_is_refused_with_the_fix():
    program = exported(network())
    with pytest.raises(pa.InvalidInput, match=r"program\.module\(\)"):
        pa.PathExplainer(program, steps=3)(X, 1)
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(3)).eval()
    with pytest.raises(pa.ModelError, match="call it once on an example"):
        pa.PathExplainer(lazy, steps=3)(X, 1)
    lazy(X)
    assert pa.PathExplainer(lazy, steps=3)(X, 1).attributions.shape == X.shape


def fake():
    with FakeTensorMode():
        return torch.empty(2, 2, 9, 7)


@pytest.mark.filterwarnings("ignore")  # torch's own: nested and quantised tensors are prototypes
@pytest.mark.parametrize(
    ("make", "advice", "mended"),
    [
        (lambda: X.to_sparse(), r"x\.to_dense\(\)", lambda x: x.to_dense()),
        (lambda: torch.quantize_per_tensor(X, 0.1, 0, torch.qint8), r"x\.dequantize\(\)", lambda x: x.dequantize()),
        (
            lambda: torch.nested.nested_tensor(list(X)),
            "to_padded_tensor",
            lambda x: torch.nested.to_padded_tensor(x, 0),
        ),
        (lambda: X.to("meta"), "real device", lambda x: X),
        (fake, "real device", lambda x: X),
    ],
)
def test_tensors_that_are_no_plain_arrays_are_refused_with_the_fix(make, advice, mended):
    explainer = pa.PathExplainer(network(), steps=3)
    with pytest.raises(pa.InvalidInput, match=advice):
        explainer(make(), 1)
    assert explainer(mended(make()), 1).attributions.shape == X.shape


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (lambda x: x.flatten(1).argmax(1)[:, None].repeat(1, 3), "int64, which has no gradient"),
        (lambda x: torch.fft.fft(x.flatten(1)), r"complex64, which has no gradient.*\.abs\(\)"),
        (lambda x: x.flatten(1)[:, :0], "returned nothing"),
        (lambda x: network(), "returned Sequential, not an array"),
    ],
)
def test_outputs_that_are_no_scores_are_told(model, said):
    with pytest.raises(pa.ModelError, match=said):
        pa.PathExplainer(model, steps=3)(X, 1)


# Where the channels are


def test_channels_of_volumes_and_videos_are_asked_of_the_first_layer():
    volumes = torch.randn(2, 3, 4, 6, 6)
    volume = nn.Sequential(nn.Conv3d(3, 2, 3), nn.Flatten(), nn.Linear(64, 2)).eval()
    assert pa.PathExplainer(volume, steps=3)(volumes, 1).channel_axis == 0
    video = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(32, 2)).eval()

    def of_frames(x):  # (batch, time, channels, height, width)
        return video(x.flatten(0, 1)).unflatten(0, x.shape[:2]).mean(1)

    frames = volumes.movedim(1, 2)
    for model in (of_frames, lambda x: x.flatten(1)[:, :3]):
        with pytest.raises(pa.InvalidInput, match="channel_axis=1 if"):
            pa.PathExplainer(model, steps=3)(frames, 1)
        assert pa.PathExplainer(model, steps=3, channel_axis=2)(frames, 1).channel_axis == 1


def test_a_first_layer_that_takes_the_last_axis_leaves_the_convention():
    last = nn.Sequential(nn.Linear(5, 4), nn.Flatten(), nn.Linear(2 * 9 * 4, 3)).eval()
    x = torch.randn(2, 2, 9, 5)
    with pytest.raises(pa.InvalidInput, match="channel_axis=-1 if"):
        pa.PathExplainer(last, steps=3)(x, 1)
    assert pa.PathExplainer(last, steps=3, channel_axis=-1)(x, 1).channel_axis == 2
    assert pa.PathExplainer(network(), steps=3)(X, 1).channel_axis == 0


# Recurrent layers and checkpoints


def test_recurrent_layers_run_on_the_cpu():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.last = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

        def forward(self, x):
            return self.last(self.inner(x)[0][:, -1])

    result = pa.PathExplainer(Recurrent().eval(), steps=50, channel_axis=None)(torch.randn(2, 6, 4), 1)
    assert np.abs(result.gap).max() < 1e-3


class Training(torch.autograd.Function):
    """Refuses as cuDNN does."""

    @staticmethod
    def forward(ctx, x):
        return x * 1

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError("cudnn RNN backward can only be called in training mode")


def checkpointed(reentrant):
    net = network()
    return lambda x: torch.utils.checkpoint.checkpoint(net, x, use_reentrant=reentrant)


def test_gradients_that_pytorch_refuses_are_told_with_the_fix():
    with pytest.raises(pa.ModelError, match="use_reentrant=False"):
        pa.PathExplainer(checkpointed(True), steps=3)(X, 1)
    expected = pa.PathExplainer(network(), steps=3)(X, 1).attributions
    assert torch.allclose(pa.PathExplainer(checkpointed(False), steps=3)(X, 1).attributions, expected)
    with pytest.raises(pa.ModelError, match=r"cudnn\.flags\(enabled=False\)"):
        pa.PathExplainer(lambda x: Training.apply(x).flatten(1), steps=3)(X, 1)
