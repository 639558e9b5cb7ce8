"""Max-sensitivity against explaining one perturbed input after another; none where the model is linear."""

import numpy as np
import pytest
from hypothesis import given

import pathattr as pa
from pathattr.errors import InvalidInput
from pathattr.metrics.sensitivity import MaxSensitivity
from pathattr.metrics.subject import Subject
from pathattr.testing.frameworks import network
from pathattr.testing.models import LinearModel, TanhNetwork
from pathattr.testing.strategies import SEEDS

SHAPE = (2, 4, 5)


def explainer(seed=0, **options):
    options = {"steps": 3, "output": "logit", "link": "softmax", "components": False} | options
    return pa.PathExplainer(TanhNetwork.random(SHAPE, seed=seed).model(), **options)


def inputs(seed=0, batch=3):
    return np.random.default_rng(seed).normal(size=(batch, *SHAPE))


class Constant(pa.PathExplainer):
    """Explains everything alike."""

    def __call__(self, *args, **kwargs):
        found = super().__call__(*args, **kwargs)
        found.attributions[...] = np.arange(np.prod(SHAPE)).reshape(SHAPE)
        return found


def test_a_constant_explainer_has_none():
    constant = Constant(TanhNetwork.random(SHAPE).model(), steps=2, link="softmax")
    x = inputs()
    found = MaxSensitivity(constant, samples=3)(Subject(constant.model, x, link="softmax"), constant(x))
    assert not found.score.any()
    assert not found["mean_sensitivity"].any()


@given(SEEDS)
def test_it_is_the_largest_change_of_single_explanations(seed):
    x, targets = inputs(seed), [0, 3, 1]
    own, radius, samples = explainer(seed % 1000), 0.05, 4
    s = Subject(own.model, x, targets, link="softmax", seed=seed % 100)
    found = MaxSensitivity(own, radius, samples)(s, own(x, targets))
    rng = np.random.default_rng(seed % 100)
    deltas = [rng.uniform(-radius, radius, SHAPE) for _ in range(samples)]
    for row, target in enumerate(targets):
        first = own(x[row : row + 1], target).numpy()
        moved = [np.linalg.norm(own(x[row : row + 1] + delta, target).numpy() - first) for delta in deltas]
        # Single explanations are products of other sizes: rounding of 1e-15 over changes of some 1e-2.
        np.testing.assert_allclose(found.score[row], max(moved) / np.linalg.norm(first), rtol=1e-9)
        np.testing.assert_allclose(found["mean_sensitivity"][row], np.mean(moved) / np.linalg.norm(first), rtol=1e-9)


def test_linear_models_move_by_as_much_as_the_input():
    weights = np.random.default_rng(1).normal(size=SHAPE)
    own = pa.PathExplainer(LinearModel(weights).model(), family="linear", steps=1)
    x = inputs()
    found = MaxSensitivity(own, 0.1, 50)(Subject(own.model, x), own(x))
    bound = 0.1 * np.linalg.norm(weights) / np.linalg.norm((weights * x).reshape(3, -1), axis=1)
    assert (found.score < bound).all()
    assert (found.score > bound / 2).all()  # uniform draws have √⅓ of the largest norm on average


def test_the_class_in_question_is_the_subjects():
    own, x = explainer(), inputs()
    predicted = Subject(own.model, x, link="softmax")
    other = (predicted.target + 1) % 4
    found = MaxSensitivity(own, 1e-6, 2)(Subject(own.model, x, other, link="softmax"), own(x, other))
    assert found.score.max() < 1e-3  # the class is not the one predicted at the perturbed input


def test_a_map_of_zeros_is_left_out():
    own, x = explainer(), inputs()
    maps = own(x).numpy()
    maps[1] = 0
    found = MaxSensitivity(own, samples=2)(Subject(own.model, x, link="softmax"), maps)
    assert np.isnan(found.score).tolist() == [False, True, False]


def test_an_example_does_not_depend_on_its_batch_mates():
    own, x, targets = explainer(batch_size=5), inputs(), [0, 1, 2]
    metric = MaxSensitivity(own, samples=3)
    together = metric(Subject(own.model, x, targets, link="softmax"), own(x, targets))
    for row in range(3):
        part = x[row : row + 1]
        alone = metric(Subject(own.model, part, targets[row], link="softmax"), own(part, targets[row]))
        np.testing.assert_allclose(alone.score[0], together.score[row], rtol=1e-9)  # products of other sizes


@pytest.mark.parametrize("framework", ["torch", "tensorflow", "jax"])
def test_it_is_the_same_in_every_framework(framework):
    shape = (3, 5, 6)
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    found = []
    for name in ("numpy", framework):
        backend, model = network(name, shape)
        options = {"output": "probability", "channel_axis": backend.channel_axis, "backend": backend}
        own = pa.PathExplainer(model, steps=4, **options)
        native = np.moveaxis(x, 1, backend.channel_axis)
        s = Subject(model, native, [0, 2], **options)
        found.append(MaxSensitivity(own, 0.3, 3)(s, own(native, [0, 2])).score)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3)  # float32 maps to 1e-6 of their size, changes are a tenth


def test_torch_inputs_stay_torch_inputs_and_further_inputs_are_passed_on():
    torch = pytest.importorskip("torch")

    class Scaled(torch.nn.Module):
        def forward(self, x, scale, *, shift):
            assert isinstance(x, torch.Tensor)
            assert x.dtype == torch.float64
            y = torch.tanh(x * scale + shift).flatten(1)
            return torch.stack([y.sum(1), (y**2).sum(1)], 1)

    model, x = Scaled().eval(), torch.tensor(inputs())
    call = {"args": (torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)[:, None, None, None],)}
    call["kwargs"] = {"shift": 0.1}
    own = pa.PathExplainer(model, steps=3, link="softmax")
    found = MaxSensitivity(own, samples=2)(Subject(model, x, 0, link="softmax", **call), own(x, 0, **call))
    assert (found.score > 0).all()


def test_settings_are_checked():
    with pytest.raises(InvalidInput, match="takes an explainer, such as PathExplainer"):
        MaxSensitivity(lambda x: x)
    with pytest.raises(InvalidInput, match="radius is a number above 0"):
        MaxSensitivity(explainer(), radius=0)
    with pytest.raises(InvalidInput, match="samples must be"):
        MaxSensitivity(explainer(), samples=0)


def test_scores_of_two_explainers_can_be_compared():
    x, (a, b) = inputs(), (explainer(family="linear"), explainer(family="svd"))
    s = Subject(a.model, x, link="softmax")
    first, second = (MaxSensitivity(own, samples=2)(s, own(x)) for own in (a, b))
    assert first.compare(second).count == 3
