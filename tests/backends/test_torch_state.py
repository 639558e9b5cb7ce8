"""PyTorch: nothing of the user's is changed, whoever else is at work, and what is scored is what is differentiated."""

import threading
from functools import partial, wraps

import numpy as np
import pytest
import torch
from torch import nn

import pathattr as pa


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(140, 3)
    )


def pictures(count=2, seed=0):
    return torch.tensor(np.random.default_rng(seed).normal(size=(count, 2, 9, 7)), dtype=torch.float32)


def snapshot(model):
    """Return all that a call could change: modes, flags, gradients, numbers, hooks."""
    return (
        [module.training for module in model.modules()],
        [parameter.requires_grad for parameter in model.parameters()],
        [None if parameter.grad is None else parameter.grad.clone() for parameter in model.parameters()],
        [tensor.clone() for tensor in model.state_dict().values()],
        [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()],
    )


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize("fails", [False, True])
def test_flags_numbers_and_random_state_stay_as_they_are(fails):
    model, seen = network().eval(), []
    model[0].bias.requires_grad_(False)
    model[5].weight.grad = torch.ones_like(model[5].weight)
    model.register_forward_hook(lambda *args: seen.append([p.requires_grad for p in model.parameters()]))
    before, flags = snapshot(model), [p.requires_grad for p in model.parameters()]
    state, modes = torch.get_rng_state(), (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
    explainer = pa.PathExplainer(model, steps=3, output=(lambda z: z.detach()[:, 0]) if fails else "probability")
    if fails:
        with pytest.raises(pa.ModelError, match="not differentiable"):
            explainer(pictures())
    else:
        explainer(pictures())
    assert same(snapshot(model), before)
    assert seen
    assert all(now == flags for now in seen)  # also while it runs: other threads see them
    assert torch.equal(torch.get_rng_state(), state)
    assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == modes


def test_eight_threads_share_a_model_while_it_gathers_gradients_in_the_main_thread():
    model, x = network().eval(), pictures()
    explainer = pa.PathExplainer(model, steps=10, batch_size=4)
    expected = explainer(x, 1).attributions
    before = snapshot(model)
    weights = list(model.parameters())
    wanted = torch.autograd.grad(model(x).square().sum(), weights)
    found, failed = [], []
    stop = threading.Event()

    def work():
        try:
            while not stop.is_set():
                found.append(pa.PathExplainer(model, steps=10, batch_size=4)(x, 1).attributions)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            model.zero_grad()
            model(x).square().sum().backward()
            assert all(p.grad is not None and torch.equal(p.grad, g) for p, g in zip(weights, wanted, strict=True))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failed
    assert len(found) >= 8
    assert all(torch.equal(a, expected) for a in found)
    model.zero_grad()
    assert same(snapshot(model), before)


# Modules that functions and objects hold


class Holder:
    def __init__(self, net):
        self.nets, self.unused = {"main": net}, nn.Dropout()

    def __call__(self, x):
        return self.predict(x)

    def predict(self, x):
        return self.nets["main"](x)


class Unregistered(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.held = [net]
        self.eval()  # does not reach it

    def forward(self, x):
        return self.held[0](x)


class Hooked(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.register_forward_hook(lambda module, args, out: net(out))
        self.eval()

    def forward(self, x):
        return x


def decorated(function):
    @wraps(function)
    def call(*args):
        return function(*args)

    return call


HELD = None


def by_global(x):
    return HELD(x)


def functions_of(net):
    global HELD
    HELD = net
    holder = Holder(net)
    return {
        "closure": lambda x: net(x),
        "default": lambda x, inner=net: inner(x),
        "keyword default": lambda x, *, inner=net: inner(x),
        "partial": partial(lambda inner, x: inner(x), net),
        "keyword of a partial": partial(lambda x, inner: inner(x), inner=net),
        "bound method": net.forward,
        "method of an object": holder.predict,
        "object": holder,
        "attribute": lambda x: holder.nets["main"](x),
        "wrapped": decorated(decorated(lambda x: net(x))),
        "decorated by PyTorch": torch.enable_grad()(lambda x: net(x)),
        "global": by_global,
        "function that calls another": lambda x: by_global(x),
        "nested function": lambda x: (lambda z: by_global(z))(x),
        "list": (lambda nets: lambda x: nets[0](x))([net]),
        "module that does not register it": Unregistered(net),
        "hook": Hooked(net),
        "functional call": partial(torch.func.functional_call, net, {}),
    }


WAYS = list(functions_of(nn.Identity()))


@pytest.mark.parametrize("way", WAYS)
def test_a_module_in_training_mode_is_found_wherever_a_function_holds_it(way):
    net = network()
    model, before = functions_of(net)[way], snapshot(net)
    with pytest.raises(pa.ModelError, match=r"training mode .*\.eval\(\) first"):
        pa.PathExplainer(model, steps=3)(pictures())
    assert same(snapshot(net), before)  # no statistics were moved
    net.eval()  # as the error says
    found = pa.PathExplainer(model, steps=3)(pictures(), 1)
    assert torch.equal(found.attributions, pa.PathExplainer(net, steps=3)(pictures(), 1).attributions)


def test_the_error_names_the_module():
    net = network().eval()
    net[3].train()
    with pytest.raises(pa.ModelError, match=r"its part 'net\.3' \(Dropout\).*Call net\.eval\(\) first"):
        pa.PathExplainer(lambda x: net(x))(pictures())


def test_modules_that_a_function_does_not_use_may_train():
    net, critic = network().eval(), network()

    class Game:
        def __init__(self):
            self.net, self.critic = net, critic

        def classify(self, x):
            return self.net(x)

        def judge(self, x):
            return self.critic(x)

    game = Game()
    for model in (game.classify, lambda x: game.net(x)):
        assert pa.PathExplainer(model, steps=3)(pictures(), 1).attributions.shape == (2, 2, 9, 7)


# One function for scores and gradients


class Encoder(nn.Module):
    """Averages over all tokens, padding included: there PyTorch's fast kernel writes zeros, and the other does not."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.last = nn.Linear(8, 3)
        self.eval()

    def forward(self, x, padding):
        return self.last(self.encoder(x, src_key_padding_mask=padding).mean(1))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")  # raised by the kernel compared with
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("nodes", ["uniform", "refined"])
def test_ends_and_gradients_are_of_one_function(frozen, nodes):
    model = Encoder().requires_grad_(not frozen)
    x = torch.tensor(np.random.default_rng(0).normal(size=(2, 6, 8)), dtype=torch.float32)
    padding = torch.zeros(2, 6, dtype=torch.bool)
    padding[:, 3:] = True
    start = torch.tensor(np.random.default_rng(1).normal(size=(6, 8)))  # at zero the layer's norm has a pole
    explainer = pa.PathExplainer(model, channel_axis=None, family="linear", steps=200, nodes=nodes, baseline=start)
    result = explainer(x, 1, kwargs={"padding": padding})
    with torch.enable_grad():
        points = x.clone().requires_grad_()
        score = model(points, padding).softmax(1)[:, 1]
    with torch.no_grad():
        other = model(x, padding).softmax(1)[:, 1]
    assert (score - other).abs().max() > 0.01  # PyTorch's own kernels differ on such a batch
    np.testing.assert_allclose(result.score, score.detach().numpy(), rtol=1e-5)
    assert np.abs(result.gap).max() < 1e-3 * np.abs(result.score - result.baseline_score).max()


# Points are the model's to spoil


@pytest.mark.parametrize(
    "model",
    [
        lambda x: x.mul_(2).flatten(1),
        lambda x: nn.functional.relu(x, inplace=True).flatten(1),
        lambda x: x.flatten(1).clamp_(min=0),
        nn.Sequential(nn.ReLU(inplace=True), nn.Flatten()).eval(),
    ],
)
def test_a_model_may_change_its_input_in_place(model):
    x = pictures()
    before = x.clone()
    apart = pa.PathExplainer(lambda z: model(z.clone()), output="raw", steps=5)(x, 3)
    found = pa.PathExplainer(model, output="raw", steps=5)(x, 3)
    assert torch.equal(found.attributions, apart.attributions)
    assert np.array_equal(found.score, apart.score)
    assert torch.equal(x, before)


class OneBuffer(nn.Module):
    """Answers in the same memory each time."""

    def __init__(self):
        super().__init__()
        self.answers = {}
        self.eval()

    def forward(self, x):
        out = self.answers.setdefault(len(x), torch.empty(len(x), 126)).detach()
        return out.copy_(torch.tanh(x.flatten(1)))


@pytest.mark.parametrize("output", ["raw", lambda z: z[:, 3]])
def test_a_model_may_answer_in_the_same_memory(output):
    x, target = pictures(6), 3 if output == "raw" else None
    for batch_size in (1, 2, 32):
        found = pa.PathExplainer(OneBuffer(), output=output, steps=5, batch_size=batch_size)(x, target)
        apart = pa.PathExplainer(lambda z: torch.tanh(z.flatten(1)), output=output, steps=5)(x, target)
        np.testing.assert_allclose(found.score, apart.score, rtol=1e-6)
        assert torch.allclose(found.attributions, apart.attributions, rtol=1e-5, atol=1e-7)
