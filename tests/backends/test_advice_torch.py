"""What the PyTorch adapter refuses says what to do, and doing it works."""

import copy
import threading
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import pathattr as pa
import pathattr_torch
from advising import Refusal, check, completeness, modules_of, randomisation, tabled
from pathattr_torch import TorchBackend, advice, loaders

X = torch.tensor(np.random.default_rng(0).normal(size=(2, 6)), dtype=torch.float32)
DEVICES = TorchBackend.devices()


def net(*, train=False, first=None):
    torch.manual_seed(0)
    layers = [nn.Linear(6, 4) if first is None else first, nn.ReLU(), nn.Dropout(), nn.Linear(4, 3)]
    return nn.Sequential(*layers).train(train)


NET = net()


def explain(model=NET, x=X, target=1, **settings):
    return pa.PathExplainer(model, **{"channel_axis": None, "family": "linear", "steps": 2} | settings)(x, target)


def returning(change):
    """Return the network as a function, its outputs changed."""
    return lambda x: change(NET(x))


def same(*found):
    """Assert that these are the attributions of the plain call, but for the order of sums in float32."""
    expected = explain()
    for one in found:
        torch.testing.assert_close(one.attributions, expected.attributions)


def evaluated(model, part=None):
    (model if part is None else model[part]).eval()
    return model


@cache
def exported(train=False):
    return torch.export.export(net(train=train), (X,), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},))


def lazy(called=False):
    made = net(first=nn.LazyLinear(4))
    if called:
        made(X)
        made.load_state_dict(NET.state_dict())
    return made


def made_inside(kind):
    with torch.inference_mode():
        return kind()


MODELS = {
    "training": Refusal(lambda: explain(net(train=True)), r"mode \(it\): .*Call model\.eval\(\) first",
                        lambda: same(explain(evaluated(net(train=True)))), pa.ModelError),
    "training in a part": Refusal(
        lambda: explain(part_in_training()), r"its part '2' \(Dropout\).*Call model\.eval\(\) first",
        lambda: same(explain(evaluated(part_in_training()))), pa.ModelError,
    ),
    "exported in training": Refusal(
        lambda: explain(exported(train=True).module()), r"Export model\.eval\(\)",
        lambda: same(explain(exported().module())), pa.ModelError,
    ),
    "exported program": Refusal(lambda: explain(exported()), r"an ExportedProgram, .* pass program\.module\(\)",
                                lambda: same(explain(exported().module()))),
    "of another backend": Refusal(
        lambda: explain(pa.NumpyModel(np.tanh, lambda x, c: c), x=X.numpy(), backend="torch"),
        "modules and functions; got .*NumpyModel: pass one, or leave the backend out",
        lambda: [same(explain(backend="torch")),
                 explain(pa.NumpyModel(np.tanh, lambda x, c: c * (1 - np.tanh(x) ** 2)), x=X.numpy())],
    ),
    "lazy": Refusal(lambda: explain(lazy()), "no shape yet: call it once on an example and load its weights, then",
                    lambda: same(explain(lazy(called=True))), pa.ModelError),
    "made in inference mode": Refusal(
        lambda: explain(made_inside(net)), r"build or load it outside \(explaining it inside is fine\)",
        lambda: same(explain(net()), made_inside(explain)), pa.ModelError,
    ),
    "compiled function": Refusal(
        lambda: explain(returning(lambda z: z), backend_options={"compile": True}),
        r"is for modules: pass torch\.compile\(function\), without that option",
        lambda: same(explain(torch.compile(returning(lambda z: z), backend="eager"))),
    ),
    "autocast": Refusal(
        lambda: explain(backend_options={"autocast": "float16"}), "autocast must be one of 'bfloat16'; got 'float16'",
        lambda: explain(backend_options={"autocast": "bfloat16"}),
    ),
    "autocast's type": Refusal(
        lambda: explain(backend_options={"autocast": True}), "autocast must be one of 'bfloat16'; got True",
        lambda: explain(backend_options={"autocast": "bfloat16"}),
    ),
    "option": Refusal(
        lambda: explain(backend_options={"bfloat16": True}), "no option bfloat16; it has autocast, channels_last, comp",
        lambda: explain(backend_options={"channels_last": True}),
    ),
    "device": Refusal(
        lambda: TorchBackend.place(NET, "cuda:77"), f"no device 'cuda:77' here; it has {', '.join(DEVICES)}$",
        lambda: same(*[explain(TorchBackend.place(copy.deepcopy(NET), device)) for device in DEVICES]),
    ),
}  # fmt: skip


def part_in_training():
    made = net()
    made[2].train()
    return made


def fake():
    with FakeTensorMode():
        return torch.empty(2, 6)


def nested(layout):
    return torch.nested.nested_tensor(list(X), layout=layout)


def quantised():
    return torch.quantize_per_tensor(X, 0.1, 0, torch.qint8)


def masked():
    return torch.masked.masked_tensor(X, X > 0)


def inside(transform):
    return transform(lambda x: explain(x=x).attributions.sum())(X)


TENSORS = {
    "sparse": Refusal(lambda: explain(x=X.to_sparse()), r"torch.sparse_coo is no plain array: pass x\.to_dense\(\)",
                      lambda: same(explain(x=X.to_sparse().to_dense()))),
    "sparse rows": Refusal(lambda: explain(x=X.to_sparse_csr()), r"torch.sparse_csr .*: pass x\.to_dense\(\)",
                           lambda: same(explain(x=X.to_sparse_csr().to_dense()))),
    "for oneDNN": Refusal(lambda: explain(x=X.to_mkldnn()), r"torch._mkldnn is no plain array: pass x\.to_dense\(\)",
                          lambda: same(explain(x=X.to_mkldnn().to_dense()))),
    "quantised": Refusal(lambda: explain(x=quantised()), r"qint8 is quantised: pass x\.dequantize\(\)",
                         lambda: explain(x=quantised().dequantize())),
    "nested": Refusal(lambda: explain(x=nested(torch.strided)), r"pad .*torch\.nested\.to_padded_tensor\(x, 0\.0\)",
                      lambda: same(explain(x=torch.nested.to_padded_tensor(nested(torch.strided), 0.0)))),
    "jagged": Refusal(lambda: explain(x=nested(torch.jagged)), r"pad .*torch\.nested\.to_padded_tensor\(x, 0\.0\)",
                      lambda: same(explain(x=torch.nested.to_padded_tensor(nested(torch.jagged), 0.0)))),
    "meta": Refusal(lambda: explain(x=X.to("meta")), "pass inputs, and a model, on a real device", explain),
    "model on meta": Refusal(lambda: explain(net().to("meta")), "pass inputs, and a model, on a real device",
                             lambda: same(explain(net().to(X.device)))),
    "fake": Refusal(lambda: explain(x=fake()), "a fake one, holds no numbers: pass inputs", explain),
    "eight bits": Refusal(lambda: explain(x=X.to(torch.float8_e4m3fn)), r"e4m3fn has too few bits.*pass x\.float\(\)",
                          lambda: explain(x=X.to(torch.float8_e4m3fn).float())),
    "masked": Refusal(lambda: explain(x=masked()), r"a MaskedTensor holds .*x\.to_tensor\(0\.0\) of a masked one",
                      lambda: explain(x=masked().to_tensor(0.0))),
    "mapped": Refusal(lambda: inside(torch.func.vmap), r"call the explainer outside torch\.func\.vmap",
                      lambda: explain()),
    "differentiated": Refusal(lambda: inside(torch.func.grad), r"outside torch\.func\.vmap, torch\.func\.grad",
                              lambda: explain()),
    "traced": Refusal(lambda: inside(lambda f: lambda x: torch.jit.trace(f, x)), r"outside .*torch\.jit\.trace",
                      lambda: explain()),
}  # fmt: skip

OUTPUTS = {
    "whole": Refusal(
        lambda: explain(lambda x: NET(x).argmax(1)[:, None]), "int64, which is not diff.*output before any argmax",
        lambda: explain(), pa.ModelError,
    ),
    "complex": Refusal(
        lambda: explain(returning(torch.fft.fft), output="raw"),
        r"complex64, .*explain \.abs\(\), \.real or \.imag of it",
        lambda: [explain(returning(lambda z, part=part: part(torch.fft.fft(z))), output="raw")
                 for part in (lambda z: z.real, lambda z: z.imag, lambda z: z.abs())], pa.ModelError,
    ),
    "rows": Refusal(
        lambda: explain(returning(lambda z: z.sum(0, keepdim=True))), r"shape \(1, 3\) for \d points: expected one row",
        explain, pa.ModelError,
    ),
    "nothing": Refusal(lambda: explain(returning(lambda z: z[:, :0])), r"of shape \(\d, 0\)\. Return its scores",
                       explain, pa.ModelError),
    "no array": Refusal(lambda: explain(lambda x: NET), "returned Sequential, not an array", explain, pa.ModelError),
    "detached": Refusal(lambda: explain(lambda x: NET(x.detach())), "not differentiable.*does the model detach it",
                        explain, pa.ModelError),
    "no_grad": Refusal(lambda: explain(torch.no_grad()(returning(lambda z: z))), "not differen.*run under no_grad",
                       lambda: explain(returning(lambda z: z)), pa.ModelError),
    "argmax": Refusal(
        lambda: explain(lambda x: NET(x).argmax(1).float()[:, None], target=0, output="raw"),
        "depends on its input smoothly, and an output before any argmax", explain, pa.ModelError,
    ),
}  # fmt: skip


class Refusing(torch.autograd.Function):
    """Refuses as cuDNN does."""

    @staticmethod
    def forward(ctx, x):
        return x * 1

    @staticmethod
    def backward(ctx, gradient):
        if torch.backends.cudnn.enabled:
            raise RuntimeError("cudnn RNN backward can only be called in training mode")
        return gradient


class Forward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 1


class Whole(Forward):
    @staticmethod
    def backward(ctx, gradient):
        return gradient


def without_cudnn(call):
    with torch.backends.cudnn.flags(enabled=False):
        return call()


def checkpointed(reentrant):
    return lambda x: torch.utils.checkpoint.checkpoint(NET, x, use_reentrant=reentrant)


def overwriting(x):
    hidden = torch.exp(x)
    hidden += 1
    return NET(hidden)


def trained(explained, beside):
    """Return one network as a function, while another thread takes a step of an optimiser for one."""

    def step():
        with torch.no_grad():
            beside[3].weight.add_(1e-12)

    def model(x):
        out = explained(x)
        thread = threading.Thread(target=step)
        thread.start()
        thread.join()
        return out

    return model


def energy(**settings):
    """Return a function that adds forces, the slopes of its first output."""

    def model(x):
        out = NET(x)
        return out + torch.autograd.grad(out[:, 0].sum(), x, **settings)[0].sum(1, keepdim=True)

    return model


INSIDE = made_inside(lambda: torch.ones(6, 3))


class Halved(nn.Module):
    """Solves a linear system, which no CPU does in half precision, or takes another operation of that kind."""

    def __init__(self, operation, dtype=torch.float16):
        super().__init__()
        self.operation, self.last = operation, nn.Linear(6, 3)
        self.to(dtype).eval()

    def forward(self, x):
        return self.last(self.operation(x))


def solved(x):
    return torch.linalg.solve(2 * torch.eye(6, dtype=x.dtype), x.mT).mT


def inverted(x):
    return (x[:, None] @ torch.linalg.inv(2 * torch.eye(6, dtype=x.dtype)))[:, 0]


def transformed(x):
    return torch.fft.fft(x).real


def halved(operation, dtype=torch.float16):
    return Refusal(lambda: explain(Halved(operation, dtype)), r"half precision on this device: use model\.float\(\)",
                   lambda: explain(Halved(operation, dtype).float()), pa.ModelError)  # fmt: skip


GRADIENTS = {
    "cuDNN": Refusal(
        lambda: explain(lambda x: NET(Refusing.apply(x))), r"`with torch\.backends\.cudnn\.flags\(enabled=False\):`",
        lambda: without_cudnn(lambda: same(explain(lambda x: NET(Refusing.apply(x))))), pa.ModelError,
    ),
    "checkpoints": Refusal(lambda: explain(checkpointed(True)), "pass use_reentrant=False to torch.utils.checkpoint",
                           lambda: same(explain(checkpointed(False))), pa.ModelError),
    "in place": Refusal(lambda: explain(overwriting), r"changed in place.*\+=.* write the operation out of place",
                        lambda: explain(lambda x: NET(torch.exp(x) + 1)), pa.ModelError),
    "trained meanwhile": Refusal(
        lambda: explain(trained(net_ := net(), net_)), r"another thread trains.*copy\.deepcopy\(model\)",
        lambda: same(explain(trained(copy.deepcopy(net_ := net()), net_))), pa.ModelError,
    ),
    "inference tensor": Refusal(
        lambda: explain(lambda x: x @ INSIDE), r"make it outside, or pass its \.clone\(\) made outside",
        lambda: [explain(lambda x, w=w: x @ w) for w in (torch.ones(6, 3), INSIDE.clone())], pa.ModelError,
    ),
    "inner gradient": Refusal(lambda: explain(energy()), r"pass create_graph=True to torch\.autograd\.grad",
                              lambda: explain(energy(create_graph=True)), pa.ModelError),
    "half": halved(solved),
    "bfloat16": halved(solved, torch.bfloat16),
    "inverse": halved(inverted),
    "transform": halved(transformed),
    "transform in bfloat16": halved(transformed, torch.bfloat16),
    "half function": Refusal(lambda: explain(solved, X.half(), output="raw"), r"inputs in float32, x\.float\(\)",
                             lambda: explain(solved, X.half().float(), output="raw"), pa.ModelError),
    "no derivative": Refusal(
        lambda: explain(returning(lambda z: torch.special.zeta(z.abs() + 2, z.abs() + 1)), output="raw"),
        "no derivative in PyTorch: pass a model without it .*zeta", explain, pa.ModelError,
    ),
    "no backward": Refusal(
        lambda: explain(returning(Forward.apply)), "no backward: give it one, or pass a model without it",
        lambda: same(explain(returning(Whole.apply)), explain()), pa.ModelError,
    ),
}  # fmt: skip


def randomised(model=NET, layers=None, **settings):
    explainer = pa.PathExplainer(model, channel_axis=None, family="linear", steps=2)
    return randomisation(explainer, X, 1, layers=layers, **settings)


def other_models(rng):
    yield shuffled(NET, rng)


def shuffled(model, rng):
    return TorchBackend.randomised(model, ["0", "3"], rng)


def locked():
    made = net()
    made.lock = threading.Lock()
    return made


RANDOMISING = {
    "function": Refusal(
        lambda: randomised(returning(torch.tanh)), "function is no module. Pass models=, a function of a NumPy",
        lambda: randomised(returning(torch.tanh), models=other_models),
    ),
    "no copy": Refusal(lambda: randomised(locked()), r"cannot be copied \(.*'_thread.lock' object\)\. Pass models=",
                       lambda: randomised(locked(), models=other_models)),
    "layer": Refusal(lambda: randomised(layers=["9"]), "no layer '9' with weights; it has 0, 3$",
                     lambda: randomised(layers=["0", "3"])),
    "lazy": Refusal(lambda: shuffled(lazy(), np.random.default_rng(0)), "call it once on an example",
                    lambda: shuffled(lazy(called=True), np.random.default_rng(0)), pa.ModelError),
}  # fmt: skip

TABLE = tabled({
    "model": MODELS, "tensor": TENSORS, "outputs": OUTPUTS, "gradient": GRADIENTS, "randomising": RANDOMISING,
})  # fmt: skip
# torch's own: of prototypes, of what is deprecated, and one that it hides itself but where warnings are errors
OWN = ("Sparse CSR", "torch.quantize_", "The PyTorch API of", "`torch.jit.trace`", "The .grad attribute")
pytestmark = [pytest.mark.filterwarnings(f"ignore:{message}") for message in OWN]


@pytest.mark.parametrize("name", TABLE)
def test_following_the_advice_of_a_refusal_works(name):
    check(TABLE[name])


def test_every_error_of_pytorch_that_has_advice_is_in_the_table():
    causes = []
    for refusal in GRADIENTS.values():
        with pytest.raises(pa.ModelError) as caught:
            refusal.fails()
        causes.append(str(caught.value.__cause__))
    assert not [sign for sign in advice._ADVICE if not any(sign in cause for cause in causes)]


test_every_refusal_of_a_module_is_in_the_table = completeness(
    lambda factory: list(TABLE.values()), [module for module in modules_of(pathattr_torch) if module is not loaders]
)
