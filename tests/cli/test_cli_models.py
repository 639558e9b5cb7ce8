"""Models of the user's on the command line: grey and colour, channels first and last, and what they raise."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

import pathattr as pa
from pathattr import cli
from pathattr.models.specs import load_model
from pathattr.pictures.image_model import prepare
from pathattr.pictures.reading import read_picture

TORCH = """
import torch
from torch import nn
import pathattr as pa

class Net(nn.Module):
    def __init__(self, channels):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(channels, 4, 3)
        self.head = nn.Linear(4 * 14 * 14, 3)
        self.limit = 9.0

    def forward(self, x):
        if bool((x.detach().mean((1, 2, 3)) > self.limit).any()):
            raise ValueError("too bright for me")
        return self.head(self.first(x).relu().flatten(1))

def grey(): return pa.ImageModel(Net(1).eval(), size=16, preprocessing=pa.Preprocessing(0.13, 0.3))
def grey_said(): return pa.ImageModel(Net(1).eval(), size=16, channels=1, channel_axis=1)
def bare(): return Net(1).eval()
def colour(): return pa.ImageModel(Net(3).eval(), size=16, preprocessing=pa.Preprocessing(0.5, 0.5))
def dim():
    net = Net(3).eval()
    net.limit = 0.5
    return pa.ImageModel(net, size=16)
def leaves():
    net = Net(3).eval()
    net.first.register_forward_hook(lambda *args: exit(0))
    return pa.ImageModel(net, size=16)
def two(): return pa.ImageModel(Net(2).eval(), size=16)
def masks(): return pa.ImageModel(nn.Conv2d(3, 4, 3).eval(), size=16)
def plain(): return pa.ImageModel(lambda x: x.mean((2, 3)) if x.shape[1] == 3 else 1 / 0, size=16)
net = Net(1).eval()
dressed = pa.ImageModel(net, size=16)
"""

KERAS = """
import keras
import pathattr as pa

def grey():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((16, 16, 1)), keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(3)]
    return pa.ImageModel(keras.Sequential(layers), size=16)

def bare(): return grey().model

def either():
    start = keras.Input((None, None, None))
    cut = keras.layers.Lambda(lambda x: keras.ops.reshape(keras.ops.tanh(x), (keras.ops.shape(x)[0], -1))[:, :5])
    return pa.ImageModel(keras.Model(start, cut(start)), size=16)
"""

JAX = """
import jax, jax.numpy as jnp
import pathattr as pa

kernel = jax.random.normal(jax.random.key(0), (3, 3, 1, 3))

def model(params, x):
    y = jax.lax.conv_general_dilated(x, params, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return jnp.tanh(y).mean((1, 2))

def grey(): return pa.ImageModel((model, kernel), size=16)
def first(params, x): return params * jnp.tanh(x).reshape(len(x), -1)[:, :5]
def either(): return pa.ImageModel((first, jnp.full(5, 2.0)), size=16)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for name, white in (("a", 255), ("dark", 60), ("bright", 255), ("last", 50)):
        pixels = rng.integers(200 if name == "bright" else 0, white + 1, (20, 18, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    for name, text in (("torch", TORCH), ("keras", KERAS), ("jax", JAX)):
        (tmp_path / f"own_{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


def run(*arguments):
    return cli.run([*map(str, arguments), "--steps", "4", "--out", "out"])


def failure(capsys):
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.startswith("error: ")
    return said


@pytest.mark.parametrize("spec", ["torch:grey", "torch:grey_said", "torch:dressed", "keras:grey", "jax:grey"])
def test_a_model_of_one_channel_gets_grey_pictures(here, spec, capsys):
    framework, _, name = spec.partition(":")
    file = f"own_{framework}.py:{name}"
    assert run("explain", "a.png", "-m", file) == 0, capsys.readouterr().err
    record = json.loads((here / "out" / "a.json").read_text())
    result = pa.Attribution.load(here / "out" / "a.npz")
    shape = (1, 1, 16, 16) if framework == "torch" else (1, 16, 16, 1)
    assert result.attributions.shape == shape
    # The score and the attributions of the API on the grey picture.
    image_model = load_model(file)
    rgb = read_picture("a.png")
    grey = rgb @ [0.299, 0.587, 0.114]
    asked = pa.ImageModel(None, 16, image_model.preprocessing, channels=1)
    inputs = prepare(np.repeat(grey[:, :, None], 3, axis=2), asked)[1].reshape(shape).astype(np.float32)
    expected = pa.PathExplainer(
        image_model.model, steps=4, preprocessing=image_model.preprocessing, channel_axis=1 if shape[1] == 1 else -1
    )(inputs)
    # Grey of grey is that grey to rounding; one float32 network.
    assert record["score"] == pytest.approx(expected.score[0], rel=1e-5)
    np.testing.assert_allclose(result.attributions, expected.attributions, rtol=1e-3, atol=1e-6)


def test_a_place_of_dense_outputs_is_named_by_its_indices(here, capsys):
    command = ["explain", "a.png", "-m", "own_torch.py:masks", "--output", "logit"]
    assert run(*command) == 1
    assert "pass --target i,j, one index per axis" in failure(capsys)
    assert run(*command, "--target", "2,-1,4") == 0, capsys.readouterr().err
    record = json.loads((here / "out" / "a.json").read_text())
    assert record["target"] == [2, 13, 4]
    assert record["target_name"] == "output 2, 13, 4"
    assert run(*command, "--target", "2,-1,4", "--contrast", "0,-1,4", "--force") == 0, capsys.readouterr().err
    record = json.loads((here / "out" / "a.json").read_text())
    assert record["target_name"] == "output 2, 13, 4 − output 0, 13, 4"


@pytest.mark.parametrize("spec", ["torch:grey", "keras:grey", "jax:grey"])
def test_a_model_of_one_channel_is_compared_and_verified(here, spec, capsys):
    framework, _, name = spec.partition(":")
    model = f"own_{framework}.py:{name}"
    assert run("compare", "a.png", "-m", model, "--family", "linear,svd,wavelet") == 0, capsys.readouterr().err
    status = run("verify", "-m", model, "--pictures", "a.png")
    said = capsys.readouterr()
    assert status == 0, said
    assert json.loads((here / "out" / "verify.json").read_text())["passed"]


@pytest.mark.parametrize("framework", ["jax", "keras"])
def test_a_model_that_takes_channels_first_and_last_is_told_by_an_option(here, capsys, framework):
    commands = (["explain", "a.png"], ["compare", "a.png", "--family", "linear,svd"], ["verify", "--pictures", "a.png"])
    model = ["-m", f"own_{framework}.py:either"]
    for command in commands if framework == "jax" else commands[:1]:
        assert run(*command, *model) == 1
        assert "say --channel-axis 1 for first, or --channel-axis -1 for last" in failure(capsys)
        for axis in (1, -1):
            forced = ["--force"] if command[0] != "verify" else []
            status = run(*command, *model, "--channel-axis", axis, *forced)
            assert status == 0 or command[0] == "verify"  # which may find an axiom that fails
            assert "channels first and with channels last" not in capsys.readouterr().err
    shapes = {}
    for axis in (1, -1):
        assert run("explain", "a.png", *model, "--channel-axis", axis, "--force") == 0
        shapes[axis] = pa.Attribution.load(here / "out" / "a.npz").attributions.shape
    assert shapes == {1: (1, 3, 16, 16), -1: (1, 16, 16, 3)}
    # What was said is part of the question.
    assert run("explain", "a.png", *model, "--channel-axis", 1) == 1
    assert "channel_axis -1 there, 1 now" in failure(capsys)
    assert run("explain", "a.png", *model, "--channel-axis", 3) == 1
    assert "--channel-axis is 1 for channels first or -1 for last; got 3" in failure(capsys)


def test_colour_stays_colour(here):
    for spec in ("own_torch.py:colour", "own_torch.py:plain"):
        more = ["--backend", "torch"] if spec.endswith("plain") else []
        assert run("explain", "a.png", "-m", spec, "--force", *more) == 0
        assert pa.Attribution.load(here / "out" / "a.npz").attributions.shape == (1, 3, 16, 16)


def test_a_model_of_two_channels_fails_in_its_own_words(here, capsys):
    assert run("explain", "a.png", "-m", "own_torch.py:two") == 1
    said = failure(capsys)
    assert "to have 2 channels, but got 3 channels" in said
    assert "not foreseen" not in said


def test_a_model_that_fails_on_one_picture_is_asked_for_the_others(here, capsys):
    pictures = ["dark.png", "bright.png", "missing.png", "last.png"]
    assert run("explain", *pictures, "-m", "own_torch.py:dim") == 1
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert lines[0].startswith("error: bright.png: the model failed: ValueError: too bright for me (")
    assert f"own_torch.py, line {1 + TORCH[: TORCH.index('raise Val')].count(chr(10))}, in forward" in lines[0]
    assert lines[1].startswith("error: missing.png: expected a picture at missing.png")
    assert lines[2] == "error: 2 of 4 pictures failed, as said above; the others are explained"
    assert {path.stem for path in (here / "out").glob("*.json")} == {"dark", "last"}
    assert "wrote 2 × overlay" in said.out


def test_ours_to_mend_ends_no_run_either_and_has_its_status(here, capsys, monkeypatch):
    from pathattr.cli import work

    real = work.rendering.overlay

    def fails(shown, *args, **kwargs):
        if shown.mean() > 0.5:
            raise ZeroDivisionError("surprise")
        return real(shown, *args, **kwargs)

    monkeypatch.setattr("pathattr.cli.work.rendering.overlay", fails)
    assert run("explain", "bright.png", "dark.png", "-m", "own_torch.py:colour") == 70
    assert "error: bright.png: ZeroDivisionError: surprise. This was not foreseen" in failure(capsys)
    assert (here / "out" / "dark.json").exists()


def test_a_model_that_ends_the_program_has_failed(here, capsys):
    assert run("explain", "a.png", "dark.png", "-m", "own_torch.py:leaves") == 1
    said = failure(capsys)
    assert said.count("the model ended the program, exit(0) (") == 2
    assert "own_torch.py, line " in said


def test_the_way_to_a_failure_is_shown_where_it_is_asked_for(here, capsys, monkeypatch):
    monkeypatch.setenv("PATHATTR_TRACEBACK", "1")
    assert run("explain", "bright.png", "-m", "own_torch.py:dim") == 1
    said = capsys.readouterr().err
    assert "Traceback (most recent call last)" in said
    assert "too bright for me" in said


@pytest.mark.parametrize("error", [MemoryError("Unable to allocate 7 TiB"), MemoryError()])
def test_lack_of_memory_is_a_sentence(here, capsys, monkeypatch, error):
    def fails(*args, **kwargs):
        raise error

    monkeypatch.setattr("pathattr.cli.work.rendering.overlay", fails)
    assert run("explain", "a.png", "-m", "own_torch.py:colour") == 1
    assert "there is not enough memory" in failure(capsys)


def test_help_says_what_runs_code(capsys):
    assert cli.run(["explain", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "savedmodel:FOLDER, module:callable or file.py:callable. The last three run the code in them" in shown
