"""Models of several outputs, or of outputs of several axes, on the command line: the same numbers as in Python."""

import json

import numpy as np
import pytest
from PIL import Image

import pathattr as pa
from pathattr import cli
from pathattr.cli.advice import in_options
from pathattr.models.specs import load_model
from pathattr.pictures.image_model import prepare
from pathattr.pictures.reading import read_picture

NUMPY = """
import numpy as np
import pathattr as pa

A, B = (np.random.default_rng(seed).standard_normal((3, 4)) for seed in (0, 1))

def several(make, weights):
    # The gradient that is asked for is that of one head.
    return pa.ImageModel(pa.NumpyModel(
        lambda x: make(np.tanh(x).mean((2, 3))),
        lambda x, c: (c @ weights.T)[:, :, None, None] * (1 - np.tanh(x) ** 2) / x[0, 0].size,
    ), size=8)

def pair(): return several(lambda f: (f @ A, f @ B), B)
def named(): return several(lambda f: {"main": f @ A, "aux head": f @ B, "1": f @ A - 1}, B)
def numbered(): return several(lambda f: {"0": f @ A, "1": f @ B}, B)
"""

TORCH = """
import torch
from torch import nn
import pathattr as pa

class Several(nn.Module):
    def __init__(self, make, channels=3):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.make = nn.Conv2d(channels, 4, 3), make

    def forward(self, x):
        return self.make(self.first(x).tanh())

def model(make, channels=3): return pa.ImageModel(Several(make, channels).eval(), size=8)
def pair(channels=3): return model(lambda z: (z.mean((2, 3)), z.amax((2, 3))), channels)
def grey(): return pair(1)
def named(): return model(lambda z: {"main": z.mean((2, 3)), "aux head": z.amax((2, 3))})
def maps(): return model(lambda z: z)
def volumes(): return model(lambda z: z[:, :, None, :, :, None])
def tokens(): return model(lambda z: z.flatten(2).transpose(1, 2))
def masks_and_classes(): return model(lambda z: (z.mean((2, 3)), z.flatten(2).transpose(1, 2)))
"""

JAX = """
import jax, jax.numpy as jnp
import pathattr as pa

kernel = jax.random.normal(jax.random.key(0), (3, 3, 3, 4))

def features(params, x):
    return jnp.tanh(jax.lax.conv_general_dilated(x, params, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")))

def both(params, x):
    z = features(params, x)
    return z.mean((1, 2)), z.max((1, 2))

def pair(): return pa.ImageModel((both, kernel), size=8)
def maps(): return pa.ImageModel((features, kernel), size=8)
"""

KERAS = """
import keras
import pathattr as pa

def pair():
    keras.utils.set_random_seed(0)
    start = keras.Input((8, 8, 3))
    z = keras.layers.Conv2D(4, 3, activation="tanh")(start)
    ends = [keras.layers.GlobalAveragePooling2D()(z), keras.layers.GlobalMaxPooling2D()(z)]
    return pa.ImageModel(keras.Model(start, ends), size=8)
"""

TEXTS = {"numpy": NUMPY, "torch": TORCH, "jax": JAX, "keras": KERAS}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for name in ("a.png", "pictures/0/b.png", "pictures/1/c.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (9, 10, 3), np.uint8)).save(path)
    for name, text in TEXTS.items():
        (tmp_path / f"outputs_{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command, *more):
    return cli.run([*command.split(), *more, "--steps", "4", "--out", "out"])


def explained(spec, **options):
    """Return what the API says of the picture."""
    model = load_model(spec)
    axis = 1 if spec.startswith(("outputs_numpy", "outputs_torch")) else -1
    channels = 1 if spec.endswith("grey") else 3
    inputs = prepare(read_picture("a.png"), pa.ImageModel(None, 8, channels=channels))[1]
    inputs = np.moveaxis(inputs, 0, 0 if axis == 1 else -1)[None].astype(np.float32)
    target = options.pop("target", None)
    return pa.PathExplainer(model.model, steps=4, channel_axis=axis, **options)(inputs, target)


CASES = {
    "a number of a tuple": ("outputs_numpy.py:pair", "--head 1", {"head": 1}),
    "the last of a tuple": ("outputs_numpy.py:pair", "--head -1", {"head": -1}),
    "a name": ("outputs_numpy.py:named", ["--head", "aux head"], {"head": "aux head"}),
    "a name that is a number": ("outputs_numpy.py:numbered", "--head 1", {"head": "1"}),
    "torch's tuple": ("outputs_torch.py:pair", "--head 1", {"head": 1}),
    "torch's dict": ("outputs_torch.py:named", ["--head", "aux head"], {"head": "aux head"}),
    "torch's tuple of grey": ("outputs_torch.py:grey", "--head 1", {"head": 1}),
    "jax's tuple": ("outputs_jax.py:pair", "--head 1", {"head": 1}),
    "keras's list": ("outputs_keras.py:pair", "--head 1", {"head": 1}),
    "maps, as kept": ("outputs_torch.py:maps", "--target 2,3,-1", {"target": (2, 3, -1)}),
    "maps": ("outputs_torch.py:maps", "--target 2,3,4 --class-axis 3", {"target": (2, 3, 4), "class_axis": 3}),
    "maps from the end": ("outputs_torch.py:maps", "--target 2,3,4 --class-axis -3",
                          {"target": (2, 3, 4), "class_axis": -3}),
    "maps of channels last": ("outputs_jax.py:maps", "--target 3,4,2 --class-axis 1",
                              {"target": (3, 4, 2), "class_axis": 1}),
    "tokens": ("outputs_torch.py:tokens", "--target 7,2 --class-axis 2", {"target": (7, 2), "class_axis": 2}),
    "tokens, the other axis": ("outputs_torch.py:tokens", "--target 7,2 --class-axis 1",
                               {"target": (7, 2), "class_axis": 1}),
    "six axes": ("outputs_torch.py:volumes", "--target 2,0,1,1,0 --class-axis 1",
                 {"target": (2, 0, 1, 1, 0), "class_axis": 1}),
    "both": ("outputs_torch.py:masks_and_classes", "--head 1 --target 7,2 --class-axis 2",
             {"head": 1, "target": (7, 2), "class_axis": 2}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_model_is_explained_as_in_python(name, here, capsys):
    spec, options, same = CASES[name]
    given = options.split() if isinstance(options, str) else options
    assert run(f"explain a.png -m {spec}", *given) == 0, capsys.readouterr().err
    found, expected = pa.Attribution.load(here / "out" / "a.npz"), explained(spec, **same)
    # One model and one float32 input twice.
    np.testing.assert_array_equal(found.attributions, expected.attributions)
    assert np.abs(found.attributions).max() > 0
    record = json.loads((here / "out" / "a.json").read_text())
    assert record["score"] == expected.score[0]
    assert record["target"] == expected.target[0].tolist()
    if "class_axis" in same:  # the axis matters: a softmax over another one is another score
        other = {**same, "class_axis": 2 if same["class_axis"] != 2 else 1}
        assert explained(spec, **other).score[0] != record["score"]
    if "head" in same and spec.endswith("pair"):
        assert explained(spec, head=0).score[0] != record["score"]


@pytest.mark.parametrize("command", ["compare a.png --family linear,svd", "verify --pictures a.png", "bench --count 1"])
@pytest.mark.parametrize(
    ("spec", "options", "told"),
    [
        ("outputs_numpy.py:pair", "--head 1", "say --head 0 or another of them"),
        ("outputs_torch.py:tokens", "--target 7,2 --class-axis 2", r"pass --target i,j, one index per axis"),
    ],
)
def test_every_command_that_explains_a_model_takes_them(command, spec, options, told, here, capsys):
    assert run(f"{command} -m {spec}") == 1
    said = capsys.readouterr()
    assert told in said.err + said.out
    status = run(f"{command} -m {spec}", *options.split())
    said = capsys.readouterr()
    assert status == 0, said.err + said.out
    if command.startswith("compare"):
        records = json.loads((here / "out" / "a.compare.json").read_text())
        assert records[0]["settings"]["head"] == (None if "class" in options else "1")
        assert records[0]["settings"]["class_axis"] == (2 if "class" in options else None)


def test_a_study_is_of_one_head(here, capsys):
    command = "ablate -m outputs_numpy.py:pair --data pictures --family svd --metric sparseness"
    assert run(command) == 1
    assert "say --head 0 or another of them" in capsys.readouterr().err
    assert run(command, "--head", "1") == 0, capsys.readouterr().err
    # Another head is another study.
    assert run(command, "--head", "0") == 1
    assert "another study" in capsys.readouterr().err


def test_a_head_is_part_of_the_question(here, capsys):
    command = "explain a.png -m outputs_numpy.py:pair"
    assert run(command, "--head", "1") == 0
    assert run(command, "--head", "0") == 1
    assert "answers another question (head 1 there, 0 now)" in capsys.readouterr().err
    # A result of a version without the option answers the question in which it is not said.
    assert run(command.replace("pair", "numbered"), "--head", "1", "--force") == 0
    record = json.loads((here / "out" / "a.json").read_text())
    del record["asked"]["class_axis"]
    (here / "out" / "a.json").write_text(json.dumps(record))
    assert run(command.replace("pair", "numbered"), "--head", "1") == 0


@pytest.mark.parametrize("head", [[], ["--head", "3"]])
def test_a_grey_model_of_several_outputs_is_told_about_its_outputs(head, capsys):
    """And not that it was shown three channels."""
    assert run("explain a.png -m outputs_torch.py:grey", *head) == 1
    said = capsys.readouterr().err
    assert "0 (shape (2, 4)), 1 (shape (2, 4))" in said
    assert ("say --head as it stands there" if head else "say --head 0 or another of them") in said


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("say head='aux'", "say --head aux"),
        ('say head="it\'s it" or', "say --head 'it'\"'\"'s it' or"),
        ("say head=1 or another", "say --head 1 or another"),
        ("class_axis=-1 (4 classes)", "--class-axis -1 (4 classes)"),
        ("another output (output='probability' where", "another output (--output probability where"),
        ("say HeatRamp(output='raw')", "say HeatRamp(output='raw')"),
        ("leave the rule out (rule=None), or", "leave the rule out, or"),
        ("its class_axis is", "its class_axis is"),
        ("to predict a class from: pass target=", "to predict a class from: pass --target"),
    ],
)
def test_advice_is_in_the_words_of_the_command_line(text, told):
    assert in_options(text) == told
