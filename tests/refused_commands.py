"""Commands that are refused: the command line, what stderr says, and the command lines that do as that says."""

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pathattr import cli
from pathattr.cli import app, failures
from pathattr.results import figures

MODELS = """
import numpy as np
import pathattr as pa

WEIGHTS = np.random.default_rng(0).standard_normal((3, 4))

def value(x): return np.tanh(x).mean((2, 3)) @ WEIGHTS
def vjp(x, c): return (c @ WEIGHTS.T)[:, :, None, None] * (1 - np.tanh(x) ** 2) / x[0, 0].size
def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)
def of_softmax(x, c):
    p = softmax(value(x))
    return vjp(x, p * (c - (c * p).sum(1, keepdims=True)))
def but(change): return pa.NumpyModel(lambda x: change(x, value(x)), vjp)
def fail(error): raise error

def plain(): return pa.NumpyModel(value, vjp)
def nothing(): plain()
def sized(): return pa.ImageModel(but(lambda x, z: z if x.shape[2:] == (8, 8) else fail(ValueError("8 it is"))), size=8)
def bare(): return sized().model
def normalised(): return pa.ImageModel(plain(), preprocessing=pa.Preprocessing())
def named(): return pa.ImageModel(plain(), classes=["red cat", "grey cat", "dog", "owl"])
def pair(): return but(lambda x, z: (z - 1, z))
def dense(): return pa.NumpyModel(lambda x: 3 * x, lambda x, c: 3 * c)
def probabilities(): return pa.NumpyModel(lambda x: softmax(value(x)), of_softmax)
def sigmoid(x): return np.tile(1 / (1 + np.exp(-5 * value(x))), 3)
def of_sigmoid(x, c): return vjp(x, 5 * (c * sigmoid(x) * (1 - sigmoid(x))).reshape(-1, 3, 4).sum(1))
def sigmoids(): return pa.NumpyModel(sigmoid, of_sigmoid)
def callback(): return pa.GradientCallback(lambda x, t: vjp(x, np.tile(np.eye(4)[t], (len(x), 1))))
def ends(): return but(lambda x, z: exit(3))
def fills(): return but(lambda x, z: fail(MemoryError("7 TiB")))
def fails(): return but(lambda x, z: fail(ValueError("not me")))
def bright(x): return x.mean((1, 2, 3), keepdims=True) > 0.7
def dim(): return pa.NumpyModel(value, lambda x, c: vjp(x, c) * np.where(bright(x), np.nan, 1))
def broken(): return pa.NumpyModel(value, lambda x, c: 2 * vjp(x, c))
"""
AMBIGUOUS = """
import jax.numpy as jnp, pathattr as pa
def first(params, x): return params * jnp.tanh(x).reshape(len(x), -1)[:, :5]
def either(): return pa.ImageModel((first, jnp.full(5, 2.0)))
"""
Step = str | Callable[[], object]


@dataclass(frozen=True)
class Refused:
    """A command line that is refused, what stderr says, and the command lines that do as that says.

    `given` is done beforehand; `while_` changes what the refused command meets; `early` says that it is refused before
    the model is loaded. Files that were there are as they were afterwards.
    """

    line: str
    said: str
    follows: str | Sequence[Step]
    status: int = 1
    given: Sequence[Step] = ()
    while_: Callable[[pytest.MonkeyPatch], object] | None = None
    early: bool = False


def fill(folder):
    """Put pictures, models and other files of the user's into a folder."""
    rng = np.random.default_rng(0)
    (folder / "own.py").write_text(MODELS, encoding="utf-8")
    (folder / "own_jax.py").write_text(AMBIGUOUS, encoding="utf-8")
    pictures = ("a.png", "b.png", f"{'x' * 245}.png", "pictures/0/b.png", "pictures/1/c.png", "bright/0/b.png")
    for name, size, low in [*((name, 8, 0) for name in pictures), ("large.png", 9, 0), ("bright/1/c.png", 8, 250)]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(low, 256, (size, size, 3), np.uint8)).save(folder / name)
    (folder / "mine").mkdir()
    for name in ("table.csv", "verify.json", "a.json", "a.npz", "a.map.png", "a.overlay.png", "b.json"):
        (folder / "mine" / name).write_text('{"mine": [1, 2]}', encoding="utf-8")


@cache
def figure():
    """Return a figure as a command writes it."""
    return figures.png_bytes(figures.signed(np.eye(2), title="", footer=""))


def fresh(patch, folder):
    """Work in a folder, with its own models. Figures are not drawn, which would take most of the time."""
    patch.chdir(folder)
    for name in ("own", "own_jax"):
        patch.delitem(sys.modules, name, raising=False)
    drawn = figure()
    for name in ("overlay", "signed", "grid"):
        patch.setattr(figures, name, lambda *args, **kwargs: None)
    patch.setattr(figures, "png_bytes", lambda figure: drawn)
    patch.setattr("pathattr.studies.report.figures", lambda *args: ())


def contents():
    return {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def done(step):
    if callable(step):
        step()
    else:
        assert cli.run(shlex.split(step)) == 0, step


def outcome(entry, folder):
    """Run a refused command in a folder; return its status and the errors that it told of."""
    fill(folder)
    told = []

    def noted(report, error, *args):
        told.append(error)
        return report(error, *args)

    with pytest.MonkeyPatch.context() as patch:
        fresh(patch, folder)
        for step in entry.given:
            done(step)
        before = contents()
        with pytest.MonkeyPatch.context() as meanwhile:
            for module in (failures, app):
                meanwhile.setattr(module, "report", partial(noted, failures.report))
            if entry.early:
                for name in ("app", "ablating"):
                    meanwhile.setattr(f"pathattr.cli.{name}.load_model", lambda *a, **k: pytest.fail("loaded"))
            if entry.while_:
                entry.while_(meanwhile)
            status = cli.run(shlex.split(entry.line))
        after = contents()
        assert before.items() <= after.items()  # nothing of the user's is changed
        assert after == before or not entry.early
    return status, told
