"""JAX: modules in training mode are found wherever a call of the model reaches them, and stay as they are."""

from functools import partial, wraps

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import pathattr as pa


class Net(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.first, self.norm = nnx.Linear(12, 8, rngs=rngs), nnx.BatchNorm(8, rngs=rngs)
        self.dropout, self.last = nnx.Dropout(0.5, rngs=rngs), nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, x):
        return self.last(self.dropout(self.norm(jnp.tanh(self.first(x.reshape(len(x), -1))))))


class Single(eqx.Module):
    """Takes one example."""

    layers: list
    dropout: eqx.nn.Dropout

    def __init__(self):
        first, last = jax.random.split(jax.random.key(0))
        self.layers = [eqx.nn.Linear(12, 8, key=first), jnp.tanh, eqx.nn.Linear(8, 3, key=last)]
        self.dropout = eqx.nn.Dropout(0.5)

    def __call__(self, x):
        x = x.ravel()
        for layer in self.layers:
            x = layer(x)
        return self.dropout(x, key=jax.random.key(1))


def pictures(count=2):
    return jnp.asarray(np.random.default_rng(0).normal(size=(count, 2, 3, 2)), jnp.float32)


def explain(model, target=1, **settings):
    return pa.PathExplainer(model, family="linear", steps=3, channel_axis=-1, batch_size=6, **settings)(
        pictures(), target
    )


class Holder:
    def __init__(self, net):
        self.nets = {"main": net}

    def __call__(self, x):
        return self.predict(x)

    def predict(self, x):
        return self.nets["main"](x)


NET = None


def by_global(x):
    return NET(x)


def decorated(function):
    @wraps(function)
    def inner(*args):
        return function(*args)

    return inner


def functions_of(net):
    """Return functions of a batch that call `net`, by the way they hold it."""
    globals()["NET"] = net
    holder = Holder(net)
    return {
        "lambda": lambda x: net(x),
        "compiled": jax.jit(lambda x: net(x)),
        "partial": partial(lambda net, x: net(x), net),
        "default": lambda x, net=net: net(x),
        "bound method": net.__call__,
        "object": holder,
        "method of an object": holder.predict,
        "attribute": lambda x: holder.nets["main"](x),
        "wrapped": decorated(lambda x: net(x)),
        "global": by_global,
        "function that calls another": lambda x: by_global(x),
        "list": (lambda nets: lambda x: nets[0](x))([net]),
        "pair": (lambda params, x: net(x) * params, jnp.ones(())),
    }


@pytest.mark.parametrize("way", functions_of(Net()))
def test_a_module_of_flax_in_training_mode_is_found_wherever_a_function_holds_it(way):
    net = Net()
    before = jax.tree.leaves(nnx.state(net))
    with pytest.raises(pa.ModelError, match=r"training mode .*(norm|dropout).*\.eval\(\) first"):
        explain(functions_of(net)[way])
    net.eval()  # as the error says
    first, second = (explain(functions_of(net)[way]).numpy() for _ in range(2))
    assert np.array_equal(first, second)
    # The same products, where XLA fuses them otherwise: a few units of 6e-8.
    np.testing.assert_allclose(first, explain(net).numpy(), rtol=1e-5, atol=1e-7)
    assert all(a is b for a, b in zip(before, jax.tree.leaves(nnx.state(net)), strict=True))


EQUINOX = {
    "module": lambda net: net,
    "vmap": jax.vmap,
    "lambda": lambda net: lambda x: jax.vmap(net)(x),
    "compiled vmap": lambda net: eqx.filter_jit(eqx.filter_vmap(net)),
    "compiled lambda": lambda net: eqx.filter_jit(lambda x: jax.vmap(net)(x)),
    "method of the batch": lambda net: Holder(jax.vmap(net)).predict,
    "global": lambda net: functions_of(jax.vmap(net))["global"],
}


@pytest.mark.parametrize("way", EQUINOX)
def test_a_module_of_equinox_in_training_mode_is_found_wherever_a_function_holds_it(way):
    net = Single()
    with pytest.raises(pa.ModelError, match=r"training mode .*dropout.*equinox\.nn\.inference_mode\("):
        explain(EQUINOX[way](net))
    ready = eqx.nn.inference_mode(net)  # as the error says
    np.testing.assert_allclose(
        explain(EQUINOX[way](ready)).numpy(), explain(ready).numpy(), rtol=1e-5, atol=1e-7
    )  # as above


def test_the_error_names_the_module():
    net = Net()
    net.eval()
    net.dropout.deterministic = False
    with pytest.raises(pa.ModelError, match=r"its part 'net\.dropout', Dropout.*Call net\.eval\(\) first"):
        explain(lambda x: net(x))


def test_modules_that_a_function_does_not_use_may_train():
    net, critic = Net(), Net()
    net.eval()

    class Game:
        def __init__(self):
            self.net, self.critic = net, critic

        def classify(self, x):
            return self.net(x)

    assert explain(Game().classify).numpy().shape == (2, 2, 3, 2)
