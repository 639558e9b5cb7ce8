"""PyTorch: the forms that models come in, and where they have their channels."""

import numpy as np
import pytest
import torch
from torch import nn

import pathattr as pa

X = torch.tensor(np.random.default_rng(0).normal(size=(2, 2, 9, 7)), dtype=torch.float32)


def network():
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(140, 3)]
    return nn.Sequential(*layers).eval()


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


# Recurrent layers


def test_recurrent_layers_run_on_the_cpu():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.last = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

        def forward(self, x):
            return self.last(self.inner(x)[0][:, -1])

    result = pa.PathExplainer(Recurrent().eval(), steps=50, channel_axis=None)(torch.randn(2, 6, 4), 1)
    assert np.abs(result.gap).max() < 1e-3
