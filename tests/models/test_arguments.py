"""Further arguments of a model: which are the examples' own, in any container, and what is refused."""

import dataclasses
from collections import OrderedDict, defaultdict, namedtuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import pathattr as pa
from pathattr.models.arguments import Call

State = namedtuple("State", ["hidden", "cell"])


@dataclasses.dataclass
class Graph:
    nodes: object
    name: str = "graph"


@dataclasses.dataclass(frozen=True)
class Frozen:
    nodes: object


def points(batch, features=3, seed=0):
    return torch.tensor(np.random.default_rng(seed).normal(size=(batch, features)))


def settings(**changes):
    return {"family": "linear", "channel_axis": None, "output": "raw", "steps": 6, "batch_size": 5, **changes}


def alone(model, x, further, target, **changes):
    """Return what every example gets by itself, its own part of the arguments written into the model."""
    return torch.cat([pa.PathExplainer(model(*further(i)), **settings(**changes))(x[i : i + 1], target).attributions
                      for i in range(len(x))])  # fmt: skip


# Containers


WAYS = {
    "bare": (lambda a: a, lambda got: got),
    "list": (lambda a: [a, "text"], lambda got: got[0]),
    "tuple": (lambda a: (None, a), lambda got: got[1]),
    "dict": (lambda a: {"mask": a, 3: 1}, lambda got: got["mask"]),
    "ordered": (lambda a: OrderedDict(mask=a), lambda got: got["mask"]),
    "default": (lambda a: defaultdict(list, mask=a), lambda got: got["mask"]),
    "named": (lambda a: State(a, 0), lambda got: got.hidden),
    "dataclass": (Graph, lambda got: got.nodes),
    "frozen": (Frozen, lambda got: got.nodes),
    "nested": (lambda a: {"x": [(Graph(State(a, a)),)]}, lambda got: got["x"][0][0].nodes.hidden),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["torch", "numpy"])
@pytest.mark.parametrize("passed", ["args", "kwargs"])
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_an_argument_of_each_example_goes_with_its_nodes_in_any_container(way, kind, passed, batch):
    wrap, unwrap = WAYS[way]
    x, own = points(batch), points(batch, seed=1)

    def model(z, extra):
        return torch.tanh(z * torch.as_tensor(unwrap(extra))).sum(dim=1, keepdim=True) * torch.ones(4)

    extra = wrap(own if kind == "torch" else own.numpy())
    call = {"args": (extra,)} if passed == "args" else {"kwargs": {"extra": extra}}
    found = pa.PathExplainer(model, **settings())(x, 1, **call).attributions
    expected = alone(lambda row: lambda z: model(z, wrap(row)), x, lambda i: (own[i],), 1)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)  # float64, the same sums in other blocks


def test_a_bare_array_for_args_is_one_argument():
    x, own = points(2), points(2, seed=1)
    explain = pa.PathExplainer(lambda z, m: (z * m).sum(1, keepdim=True) * torch.ones(3), **settings())
    assert torch.equal(explain(x, 0, args=own).attributions, explain(x, 0, args=(own,)).attributions)
    assert torch.equal(explain(x, 0, args=pa.PerExample(own)).attributions, explain(x, 0, args=(own,)).attributions)


@given(st.recursive(st.integers() | st.text() | st.just(np.zeros(2)), lambda inner: st.lists(inner) | st.tuples(inner)
                    | st.dictionaries(st.text(max_size=2), inner) | st.builds(Graph, inner), max_leaves=8))  # fmt: skip
def test_what_is_taken_apart_comes_together_again(tree):
    args, kwargs = Call.of((tree,), {"x": tree}, None).served("points", 2, lambda array, axis: (array.shape, axis))

    def seen(value):
        if isinstance(value, np.ndarray):
            return (2,), 0
        if isinstance(value, Graph):
            return Graph(seen(value.nodes), value.name)
        if isinstance(value, dict):
            return {key: seen(part) for key, part in value.items()}
        return type(value)(map(seen, value)) if isinstance(value, list | tuple) else value

    assert args == ["points", seen(tree)]
    assert kwargs == {"x": seen(tree)}


def test_a_container_without_arrays_is_passed_as_the_object_that_it_is():
    given = {"a": [1, 2], "b": Graph(3)}
    args, _ = Call.of((given,), None, None).served(None, 2, lambda array, axis: array)
    assert args[1] is given


def test_a_container_that_holds_itself_ends():
    held = [1]
    held.append(held)
    args, _ = Call.of((held,), None, None).served(None, 2, lambda array, axis: array)
    assert args[1] is held


# What is marked, and what is not


W = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)


def linear(z, w):
    return z @ w.T


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_weight_with_as_many_rows_as_the_batch_is_the_same_for_all(batch):
    x = points(batch, 2)
    found = pa.PathExplainer(linear, **settings(output=None))(x, 1, args=(pa.Shared(W),))
    p = torch.softmax(linear(x, W), dim=1)[:, 1]
    np.testing.assert_allclose(found.score, p.numpy(), rtol=1e-14)  # one softmax, rounded in float64
    marked = pa.PathExplainer(lambda z: linear(z, W), **settings(output=None))(x, 1)
    assert torch.equal(found.attributions, marked.attributions)


AMBIGUOUS = {
    "weight": (linear, W, 2),
    "prototypes": (lambda z, p: -torch.cdist(z, p), points(3, 2, seed=4), 3),
    "mean of a table": (lambda z, t: z * t.mean(), points(2, 2, seed=4), 2),
    "largest of a table": (lambda z, t: z * t.max(), points(2, 2, seed=4), 2),
    "its first row": (lambda z, t: z * t[0], points(2, 2, seed=4), 2),
    "sum of one row": (lambda z, t: z * t.sum(), points(1, 2, seed=4), 1),
    "mask of a pair": (lambda z, m: torch.einsum("bi,ij->bj", z, m), W, 2),
    "edges": (lambda z, e: torch.zeros_like(z).index_add(1, e[1], z[:, e[0]]), torch.tensor([[0, 1], [1, 1]]), 2),
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_an_unmarked_array_that_cannot_be_one_row_an_example_is_refused_and_the_advice_works(case):
    model, array, batch = AMBIGUOUS[case]
    x = points(batch, 2)
    explain = pa.PathExplainer(model, **settings())
    with pytest.raises(pa.InvalidInput, match=r"args\[0\] .*has as many rows as the batch.*as Shared they do.*"
                       r"args=\(pathattr\.Shared\(array\),\).*PerExample"):  # fmt: skip
        explain(x, 0, args=(array,))
    found = explain(x, 0, args=(pa.Shared(array),))
    expected = pa.PathExplainer(lambda z: model(z, array), **settings())(x, 0)
    assert torch.equal(found.attributions, expected.attributions)


def test_the_argument_that_is_meant_is_named_among_several():
    x, own = points(2, 2), points(2, 2, seed=1)
    with pytest.raises(pa.InvalidInput, match=r"the further argument table\['w'\] \(shape \(2, 2\)\).*kwargs={'table'"):
        pa.PathExplainer(lambda z, m, table: linear(z * m, table["w"]), **settings())(
            x, 0, kwargs={"m": own, "table": {"w": W}}
        )


def test_a_state_with_the_batch_on_axis_1():
    torch.manual_seed(0)
    net, x = nn.GRU(2, 3, batch_first=True).double().eval(), torch.randn(2, 5, 2, dtype=torch.float64)
    h = torch.randn(1, 2, 3, dtype=torch.float64)

    def model(z, state):
        return net(z, state)[0][:, -1]

    explain = pa.PathExplainer(model, **settings())
    found = explain(x, 0, args=(pa.PerExample(h, axis=1),)).attributions
    expected = alone(
        lambda row: lambda z: model(z, row.expand(1, len(z), 3).contiguous()), x, lambda i: (h[:, i : i + 1],), 0
    )
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-13)  # gates of a GRU in other blocks, float64
    lstm = nn.LSTM(2, 3, batch_first=True).double().eval()
    both = pa.PathExplainer(lambda z, hc: lstm(z, hc)[0][:, -1], **settings())
    assert both(x, 0, args=(pa.PerExample((h, 0 * h), axis=1),)).attributions.shape == x.shape


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            {"args": (pa.PerExample(np.zeros((3, 2)), axis=0),)},
            r"args\[0\] is marked PerExample\(axis=0\).*shape \(3, 2\)",
        ),
        ({"args": (pa.PerExample(np.zeros((3, 2)), axis=7),)}, r"axis=7.*name the axis of length 2"),
        ({"args": (pa.PerExample(np.zeros((3, 2)), axis="x"),)}, "PerExample takes the number of an axis"),
        ({"args": "text"}, r"args .*tuple or list; got str: one argument is args=\(value,\)"),
        ({"args": 3}, "got int"),
        ({"args": {"m": 1}}, "got dict"),
        ({"kwargs": [1]}, r"kwargs .*in a dict; got list"),
        ({"kwargs": {1: 2}}, "in a dict"),
        ({"input_name": 3}, "input_name is the name"),
        ({"input_name": "x", "kwargs": {"x": 1}}, "'x', which input_name says.*leave it out of one of the two"),
    ],
)
def test_arguments_of_the_wrong_kind_are_refused(call, said):
    with pytest.raises(pa.InvalidInput, match=said):
        pa.PathExplainer(lambda z, *a, **k: z, **settings())(points(2), 0, **call)


def test_a_mask_per_example_and_one_for_all_in_attention():
    torch.manual_seed(0)
    net = nn.MultiheadAttention(4, 2, batch_first=True).double().eval()
    x = torch.randn(3, 3, 4, dtype=torch.float64)  # as many tokens as examples
    causal = torch.triu(torch.ones(3, 3, dtype=torch.bool), 1)
    padding = torch.tensor([[False, False, True], [False] * 3, [False, True, True]])

    def model(z, attn_mask=None, key_padding_mask=None):
        return net(z, z, z, attn_mask=attn_mask, key_padding_mask=key_padding_mask)[0].sum(dim=1)

    explain = pa.PathExplainer(model, **settings())
    with pytest.raises(pa.InvalidInput, match=r"attn_mask .*pathattr\.Shared"):
        explain(x, 0, kwargs={"attn_mask": causal})
    found = explain(x, 0, kwargs={"attn_mask": pa.Shared(causal), "key_padding_mask": padding}).attributions
    expected = alone(
        lambda row: lambda z: model(z, causal, row.expand(len(z), 3)), x, lambda i: (padding[i : i + 1],), 0
    )
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-13)  # attention in other blocks, float64


# Rows that are not their own


BATCH_STATISTICS = {
    "largest of the batch": lambda z: z / z.max(),
    "mean of the batch": lambda z: z - z.mean(dim=0),
    "cumulative": lambda z: z.cumsum(dim=0),
}


@pytest.mark.parametrize("case", BATCH_STATISTICS)
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_a_model_whose_rows_depend_on_batch_mates_is_told(case, batch):
    with pytest.warns(UserWarning, match="depend on what else is in its batch") as caught:
        pa.PathExplainer(BATCH_STATISTICS[case], **settings(baseline=0.1))(points(batch).abs() + 0.5, 0)
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_a_forgotten_batch_first_is_told_and_the_advice_works():
    torch.manual_seed(0)
    x = torch.randn(2, 5, 4)

    def encoder(batch_first):
        layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=batch_first).eval()
        return lambda z: layer(z).mean(dim=1)

    with pytest.warns(UserWarning, match=r"batch_first=True"):
        pa.PathExplainer(encoder(False), **settings())(x, 0)
    pa.PathExplainer(encoder(True), **settings())(x, 0)  # warnings are errors here


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_numpys_arrays_are_taken_along_the_axis_that_is_marked(framework, axis):
    x, own = points(3), points(3, seed=1).numpy()  # three examples of three: along the wrong axis they fit as well

    def value(z, m):
        return np.tanh(z * m.T).sum(axis=1)

    def vjp(z, cotangent, m):
        return cotangent[:, None] * m.T * (1 - np.tanh(z * m.T) ** 2)

    def function(z, m):
        return torch.tanh(z * torch.as_tensor(m).T).sum(dim=1)

    model, inputs = (pa.NumpyModel(value, vjp), x.numpy()) if framework == "numpy" else (function, x)
    found = pa.PathExplainer(model, **settings())(inputs, 0, args=(pa.PerExample(own.T, axis=axis),)).numpy()
    expected = alone(lambda row: lambda z: torch.tanh(z * torch.as_tensor(row)).sum(dim=1), x, lambda i: (own[i],), 0)
    np.testing.assert_allclose(
        found, expected.numpy(), rtol=1e-12, atol=1e-14
    )  # float64, the same sums in other blocks
