"""What a model's outputs are: where the classes are, what makes them probabilities, and what is refused as unknown."""

import re
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import pathattr as pa

SEQUENCE = np.random.default_rng(0).normal(size=(2, 5, 4))


def settings(**changes):
    return {"family": "linear", "channel_axis": None, "steps": 4, **changes}


def softmax(z, axis):
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


class Tokens(nn.Module):
    """Seven classes at each of five positions."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.classify = nn.Linear(4, 7).double()
        self.eval()

    def forward(self, x):
        return self.classify(torch.tanh(x))


def numpy_tokens():
    weight = Tokens().classify.weight.detach().numpy()
    return pa.NumpyModel(lambda x: np.tanh(x) @ weight.T, lambda x, c: (c @ weight) * (1 - np.tanh(x) ** 2))


FORMS = {
    "torch": lambda: (Tokens(), torch.tensor(SEQUENCE)),
    "torch function": lambda: (partial(Tokens.forward, Tokens()), torch.tensor(SEQUENCE)),
    "numpy": lambda: (numpy_tokens(), SEQUENCE),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("output", [None, "probability", "log_probability"])
def test_classes_at_positions_are_refused_with_the_values_of_both_readings_and_the_advice_works(form, batch, output):
    model, x = FORMS[form]()
    x = x[:batch]
    explain = pa.PathExplainer(model, **settings(output=output))
    with pytest.raises(pa.InvalidInput, match="which axis holds the classes is not known") as caught:
        explain(x, (4, 3))
    said = str(caught.value)
    for axis, count in ((1, 5), (2, 7)):
        value = re.search(rf"class_axis={axis} \({count} classes\) gives (-?[\d.]+)", said)[1]
        assert float(value) == pytest.approx(explain.but(class_axis=axis)(x, (4, 3)).score[0], rel=5e-3)  # 3 digits
    alone = re.search(r"link='sigmoid' .* gives (-?[\d.]+)", said)[1]
    assert float(alone) == pytest.approx(explain.but(link="sigmoid")(x, (4, 3)).score[0], rel=5e-3)
    raw = re.search(r"output='raw' (-?[\d.]+)", said)[1]
    assert float(raw) == pytest.approx(explain.but(output="raw")(x, (4, 3)).score[0], rel=5e-3)


@pytest.mark.parametrize("axis", [2, -1])
def test_the_classes_of_a_position_are_normalised_among_themselves(axis):
    model, x = FORMS["torch"]()
    found = pa.PathExplainer(model, **settings(class_axis=axis))(x, (4, 3))
    expected = softmax(model(x).detach().numpy(), 2)[:, 4, 3]
    np.testing.assert_allclose(found.score, expected, rtol=1e-12)  # one softmax in float64
    np.testing.assert_allclose(found.gap, 0, atol=2e-3)  # four nodes of a smooth model


def test_positions_count_from_the_end_and_classes_do_not():
    model, x = FORMS["torch"]()
    explain = pa.PathExplainer(model, **settings(class_axis=-1))
    last = explain(x, (-1, 3))
    assert torch.equal(last.attributions, explain(x, (4, 3)).attributions)
    assert last.target.tolist() == [[4, 3], [4, 3]]
    each = explain(x, [(-5, 3), (-2, 0)])
    assert each.target.tolist() == [[0, 3], [3, 0]]
    for wrong in ((4, -1), (-6, 3), (5, 3)):
        with pytest.raises(pa.InvalidInput, match="out of range"):
            explain(x, wrong)


@pytest.mark.parametrize("shape", [(2, 5, 6), (1, 3, 3), (3, 3, 3)])
def test_masks_of_pictures_and_forecasts_are_not_taken_for_classes(shape):
    x = torch.rand(shape, dtype=torch.float64)
    with pytest.raises(pa.InvalidInput, match="not known"):
        pa.PathExplainer(lambda z: z * 3, **settings())(x, (0, 1))
    found = pa.PathExplainer(lambda z: z * 3, **settings(link="sigmoid"))(x, (0, 1))
    np.testing.assert_allclose(found.score, 1 / (1 + np.exp(-3 * x[:, 0, 1].numpy())), rtol=1e-12)


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("batch", [1, 2])
def test_channels_first_of_pictures_and_volumes_are_classes(rank, batch):
    torch.manual_seed(0)
    conv = {2: nn.Conv2d, 3: nn.Conv3d}[rank](3, 4, 1).double().eval()
    x = torch.randn(batch, 3, *(4,) * rank, dtype=torch.float64)
    found = pa.PathExplainer(conv, family="linear", steps=4)(x, (2, *(1,) * rank))
    expected = torch.softmax(conv(x), 1)[(slice(None), 2, *(1,) * rank)].detach()
    np.testing.assert_allclose(found.score, expected.numpy(), rtol=1e-12)


# One class


@pytest.mark.parametrize("model", [nn.Conv2d(3, 1, 3), nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 1, 1))])
@pytest.mark.parametrize("batch", [1, 2])
def test_one_class_at_every_pixel_is_one_output(model, batch):
    x, model = torch.randn(batch, 3, 6, 6), model.eval()
    explain = pa.PathExplainer(model, family="linear", steps=40)
    found = explain(x, (0, 2, 3))
    assert found.settings["output"] == "raw"
    np.testing.assert_allclose(found.score, model(x)[:, 0, 2, 3].detach().numpy(), rtol=1e-5)  # float32
    assert found.attributions.abs().max() > 0
    with pytest.raises(pa.InvalidInput, match=r"with one output.*link='sigmoid'.*'already'.*output='raw'"):
        explain.but(output="probability")(x, (0, 2, 3))
    with pytest.raises(pa.InvalidInput, match="a softmax over one output is always 1"):
        explain.but(link="softmax")(x, (0, 2, 3))
    sigmoid = explain.but(output="probability", link="sigmoid")(x, (0, 2, 3))
    np.testing.assert_allclose(sigmoid.score, torch.sigmoid(model(x))[:, 0, 2, 3].detach().numpy(), rtol=1e-5)


def test_forecasts_of_one_series():
    x = torch.randn(2, 1, 6, dtype=torch.float64)
    with pytest.raises(pa.InvalidInput, match=r"class_axis=2 \(6 classes\).*output='raw'"):
        pa.PathExplainer(lambda z: z * 2, **settings())(x, (0, 3))
    for said in ({"output": "raw"}, {"class_axis": 1}):
        found = pa.PathExplainer(lambda z: z * 2, **settings(**said))(x, (0, 3))
        np.testing.assert_allclose(found.score, 2 * x[:, 0, 3].numpy(), rtol=1e-14)


# What makes outputs probabilities


def classifier(*ending):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5), *ending).double().eval()


@pytest.mark.parametrize("ending", [nn.Softmax(1), nn.Sigmoid(), nn.Sequential(nn.Identity(), nn.Sigmoid())])
def test_a_last_layer_that_gives_probabilities_is_seen(ending):
    model, x = classifier(ending), torch.randn(2, 3, 4, dtype=torch.float64)
    found = pa.PathExplainer(model, **settings())(x, 1)
    np.testing.assert_allclose(found.score, model(x)[:, 1].detach().numpy(), rtol=1e-12)
    with pytest.raises(pa.InvalidInput, match="logits cannot be had back"):
        pa.PathExplainer(model, **settings(output="logit"))(x, 1)


def test_a_last_layer_of_log_probabilities_gives_the_same_probabilities():
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    plain = pa.PathExplainer(classifier(), **settings())(x, 1)
    found = pa.PathExplainer(classifier(nn.LogSoftmax(1)), **settings())(x, 1)
    np.testing.assert_allclose(found.score, plain.score, rtol=1e-12)


def test_many_outputs_between_0_and_1_are_refused_and_the_advice_works():
    torch.manual_seed(0)
    net, x = nn.Linear(4, 12).eval(), torch.randn(2, 4)
    explain = pa.PathExplainer(lambda z: torch.sigmoid(net(z)), **settings())
    with pytest.raises(pa.InvalidInput, match=r"12 outputs all lie between 0 and 1.*link='already'.*output='raw'"):
        explain(x, 3)
    for said in ({"link": "already"}, {"output": "raw"}):
        np.testing.assert_allclose(explain.but(**said)(x, 3).score, torch.sigmoid(net(x))[:, 3].detach(), rtol=1e-5)
    assert explain.but(link="softmax")(x, 3).score.max() < 0.2  # logits all the same: nearly uniform


def test_outputs_that_are_no_logits_are_told():
    x = torch.randn(2, 4) + 5
    explain = pa.PathExplainer(lambda z: 1000 * z[:, :3].cumsum(1), **settings())
    with pytest.warns(UserWarning, match="a softmax over them is 0 or 1: .*output='raw'"):
        explain(x, 1)
    assert explain.but(output="raw")(x, 1).score.min() > 1000


# Hugging Face


def bert(kind="BertForSequenceClassification", **config):
    transformers = pytest.importorskip("transformers", reason="an optional extra")
    torch.manual_seed(0)
    small = {"vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.BertConfig(**small, intermediate_size=8, max_position_embeddings=8, **config)
    return getattr(transformers, kind)(config).eval()


def embedded(model, x, target, **options):
    explain = pa.PathExplainer(model, family="linear", channel_axis=None, steps=4, **options)
    return explain(x, target, input_name="inputs_embeds")


@pytest.mark.parametrize(
    ("problem", "output", "score"),
    [
        (None, "probability", lambda z: torch.softmax(z, 1)),
        ("single_label_classification", "probability", lambda z: torch.softmax(z, 1)),
        ("multi_label_classification", "probability", torch.sigmoid),
        ("regression", "raw", lambda z: z),
    ],
)
def test_the_kind_of_problem_is_read_from_the_configuration(problem, output, score):
    model, x = bert(num_labels=3, problem_type=problem), torch.randn(2, 4, 8)
    found = embedded(model, x, 1)
    assert found.settings["output"] == output
    expected = score(model(inputs_embeds=x).logits)[:, 1].detach().numpy()
    np.testing.assert_allclose(found.score, expected, rtol=1e-5, atol=1e-6)  # float32


def test_token_classifiers_have_their_classes_last():
    model, x = bert("BertForTokenClassification", num_labels=3), torch.randn(2, 4, 8)
    found = embedded(model, x, (-1, 2))
    expected = torch.softmax(model(inputs_embeds=x).logits, 2)[:, 3, 2].detach().numpy()
    np.testing.assert_allclose(found.score, expected, rtol=1e-5)  # float32
