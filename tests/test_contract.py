"""Every backend of ours keeps the contract that third parties are given."""

import torch
from torch import nn

from pathattr.backend import NumpyBackend
from pathattr.testing import TanhNetwork, backend_suite
from pathattr_torch import TorchBackend


def torch_network(spec: TanhNetwork, dtype=torch.float64):
    first, last = (nn.Linear(*weight.T.shape, dtype=dtype) for weight in (spec.w1, spec.w2))
    for layer, weight, bias in ((first, spec.w1, spec.b1), (last, spec.w2, spec.b2)):
        layer.load_state_dict({"weight": torch.tensor(weight), "bias": torch.tensor(bias)})
    return nn.Sequential(nn.Flatten(), first, nn.Tanh(), last).eval()


test_numpy = backend_suite(NumpyBackend, network=TanhNetwork.model, array=lambda array: array)
test_torch = backend_suite(TorchBackend, network=torch_network, array=torch.tensor)
test_torch_float32 = backend_suite(
    TorchBackend,
    network=lambda spec: torch_network(spec, torch.float32),
    array=torch.tensor,
    dtype="float32",
    tolerance=1e-4,
)
