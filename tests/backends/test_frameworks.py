"""Several frameworks in one process: nothing is mixed up, and one network gives one map."""

import runpy
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf
import torch
from PIL import Image

import pathattr as pa
from pathattr import scenes
from pathattr.models import specs
from pathattr.pictures.image_model import prepare

EXAMPLE = Path(__file__).parents[2] / "examples" / "cross_framework.py"
SPECS = """
from pathattr.models.specs import scenes_model
def in_torch(): return scenes_model("torch")
def in_tensorflow(): return scenes_model("tensorflow")
def in_jax(): return scenes_model("jax")
"""


@pytest.mark.parametrize("other", [tf.zeros, jnp.zeros])
def test_inputs_of_another_framework_are_refused_with_both_names(other):
    model = torch.nn.Flatten().eval()
    with pytest.raises(pa.InvalidInput, match=r"a torch model with inputs of type .*pass inputs of torch or NumPy"):
        pa.PathExplainer(model, output="raw")(other((1, 1, 4, 4)), 0)


def test_plain_functions_belong_to_the_owner_of_their_inputs():
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 2)).astype(np.float32)

    def model(v):  # tanh by operators alone: every framework understands it
        return (v * v * v - v).reshape(1, -1) if hasattr(v, "reshape") else tf.reshape(v * v * v - v, (v.shape[0], -1))

    def flat(v):
        return model(v)

    maps = []
    for array in (torch.tensor(x), tf.constant(x), jnp.asarray(x)):
        explainer = pa.PathExplainer(flat, output="raw", family="linear", steps=5, batch_size=1, channel_axis=-1)
        result = explainer(array, 3)
        assert type(result.attributions) is type(array) or isinstance(result.attributions, type(array))
        maps.append(result.numpy())
    for other in maps[1:]:
        assert np.abs(other - maps[0]).max() < 1e-6  # float32: a few roundings of 6e-8 of numbers of order 1
    forced = pa.PathExplainer(
        flat, output="raw", family="linear", steps=5, batch_size=1, channel_axis=-1, backend="jax"
    )
    assert np.abs(forced(x, 3).attributions - maps[0]).max() < 1e-6


@pytest.mark.parametrize("framework", ["tensorflow", "jax"])
def test_the_example_finds_the_scenes_classifier_the_same(framework, tmp_path, capsys):
    (tmp_path / "scene_specs.py").write_text(SPECS)
    made = scenes.generate(2, seed=21)
    pictures = []
    for i, image in enumerate(made.images):
        pictures.append(str(tmp_path / f"{i}.png"))
        Image.fromarray((image * 255).round().astype(np.uint8)).save(pictures[-1])
    main = runpy.run_path(str(EXAMPLE))["main"]
    a, b = (f"{tmp_path / 'scene_specs.py'}:in_{name}" for name in ("torch", framework))
    worst = main([*pictures, "--a", a, "--b", b, "--steps", "20"])
    # float32 with ReLU and max pooling: the rare activation that rounding moves across 0 or past its neighbour moves
    # a little attribution; 5e-4 was the most on other pictures.
    assert worst < 5e-3
    shown = capsys.readouterr().out
    assert scenes.CLASSES  # the table names classes by index
    assert "| 0.png |" in shown
    assert "| 1.png |" in shown


def test_predictions_of_the_scenes_classifier_agree_everywhere():
    made = scenes.generate(3, seed=8)
    scores = []
    for backend in ("torch", "tensorflow", "jax"):
        model = specs.scenes_model(backend)
        inputs = np.stack([prepare(image.astype(float), model)[1] for image in made.images]).astype(np.float32)
        axis = 1 if backend == "torch" else -1
        explainer = pa.PathExplainer(model.model, steps=2, output="logit", channel_axis=axis)
        scores.append(explainer(np.moveaxis(inputs, 1, axis)).score)
    for other in scores[1:]:
        assert np.abs(other - scores[0]).max() < 1e-4 * np.abs(scores[0]).max()  # sums of up to 600 float32 products


@pytest.mark.parametrize("nodes", ["refined", "output-aware"])
def test_nodes_that_depend_on_the_model_are_the_same_in_every_framework(nodes):
    x = np.random.default_rng(0).normal(size=(3, 4, 4, 2)).astype(np.float32)

    def flat(v):  # powers by operators alone: every framework understands it
        return (v * v * v - v).reshape(v.shape[0], -1) if hasattr(v, "reshape") else tf.reshape(v * v * v - v, (-1, 32))

    # A fixed set of nodes for all but the tolerance, where a rounding may cut one interval more.
    for steps in (12, "auto") if nodes == "refined" else (12,):
        settings = {
            "output": "raw",
            "family": "dct",
            "steps": steps,
            "nodes": nodes,
            "batch_size": 10,
            "channel_axis": -1,
        }
        results = [
            pa.PathExplainer(flat, **settings)(array, 3) for array in (torch.tensor(x), tf.constant(x), jnp.asarray(x))
        ]
        for result in results:
            if steps == "auto":
                assert (result.error <= 0.02).all()
            # Cubes are integrated to second order in a dozen steps, of scores of order 1.
            assert np.abs(result.gap).max() < 0.1
            total = result.numpy().reshape(3, -1).sum(axis=1)
            assert np.abs(result.components.total() - total).max() < 1e-5
        for other in results[1:]:
            # float32: roundings of 6e-8 of numbers of order 10, and nodes moved by as much.
            assert np.abs(other.numpy() - results[0].numpy()).max() < (1e-4 if steps == 12 else 0.05)


@pytest.mark.parametrize("array", [torch.tensor, tf.constant, jnp.asarray, np.array])
def test_targets_are_arrays_of_any_framework_and_lists_of_them(array):
    x = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    explainer = pa.PathExplainer(torch.nn.Linear(4, 3).eval(), family="linear", steps=3, channel_axis=None)
    for given in (array([1, 2]), [array(1), array(2)], [array([1]), array([2])], [(array(1),), (array(2),)]):
        assert explainer(x, given).target.tolist() == [1, 2]
    assert explainer(x, array(2)).target.tolist() == [2, 2]
    assert explainer(x, (array(2),)).target.tolist() == [2, 2]
    assert explainer(x, pa.Contrast([array(1), array(2)], array(0))).target.tolist() == [[1, 0], [2, 0]]
    for labels in (array(np.eye(3)[[1, 2]]), [array(row) for row in np.eye(3)[[1, 2]]]):
        with pytest.raises(pa.InvalidInput, match=r"one-hot.*pass class indices, numpy\.asarray"):
            explainer(x, labels)
        assert explainer(x, np.asarray(labels).argmax(-1)).target.tolist() == [1, 2]  # as it says


@pytest.mark.parametrize(
    "make",
    [
        lambda given: given.to_sparse(),
        lambda given: given.to("meta"),
        lambda given: torch.nested.nested_tensor(list(given[:, None])),
    ],
)
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_targets_whose_numbers_cannot_be_read_say_so(make):
    explainer = pa.PathExplainer(torch.nn.Linear(4, 3).eval(), family="linear", steps=3, channel_axis=None)
    with pytest.raises(pa.InvalidInput, match=r"is a Tensor whose numbers cannot be read .*dense array or a list"):
        explainer(np.ones((2, 4), np.float32), make(torch.tensor([1, 2])))
