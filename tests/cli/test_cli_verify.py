"""`pathattr verify` as a person meets it: a table, a record, a status, and what is wrong with a model by name."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pathattr import cli
from pathattr.axioms import AXIOMS

pytest.importorskip("torch", reason="the models here are PyTorch's")

BROKEN = Path(__file__).parents[2] / "examples" / "broken_models.py"
MINE = f"""
import runpy, pathattr as pa
Sound = runpy.run_path({str(BROKEN)!r})["Sound"]

def sized(): return pa.ImageModel(Sound(), size=20, classes=["cat", "dog", "fox", "owl"])
"""


@pytest.fixture
def models(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


@pytest.fixture
def pictures(tmp_path):
    """Two pictures of different sizes."""
    rng, paths = np.random.default_rng(0), []
    for side in (24, 30):
        paths.append(tmp_path / f"{side}.png")
        Image.fromarray(rng.integers(0, 256, (side, 24, 3), np.uint8)).save(paths[-1])
    return paths


def run(*arguments):
    return cli.run(["verify", *map(str, arguments)])


def of(pictures):
    return [part for picture in pictures for part in ("--pictures", picture)]


def test_the_shipped_classifier_passes_at_generated_scenes(tmp_path, capsys):
    assert run("--model", "scenes", "--steps", 3, "--out", tmp_path) == 0
    shown = capsys.readouterr().out
    for name in AXIOMS:
        assert name in shown
    for word in ("holds", "information", "not promised", "to discretisation", "by construction"):
        assert word in shown
    record = json.loads((tmp_path / "verify.json").read_text())
    assert record["passed"]
    assert record["pictures"] == "2 generated scenes"
    assert record["model"] == "scenes"
    assert record["examples"] == 2
    assert (record["settings"]["steps"], record["settings"]["family"]) == (3, "SVD(channels='separate')")
    assert {"python", "pathattr", "torch"} <= set(record["versions"])
    assert [row["axiom"] for row in record["axioms"]] == [*AXIOMS, "implementation invariance"]


def test_options_reach_the_explainer_and_pictures_the_record(models, pictures, tmp_path):
    options = "--family dct --ordering energy --overlap 0.5 --schedule cosine --rule trapezoid --baseline 0.5"
    more = "--target dog --contrast cat --output logit --batch-size 9 --seed 4 --device cpu --steps 6"
    arguments = ["--model", f"{models}:sized", *options.split(), *more.split()]
    assert run(*arguments, *of(pictures), "--out", tmp_path) == 0
    record = json.loads((tmp_path / "verify.json").read_text())
    assert record["pictures"] == [str(picture) for picture in pictures]
    settings = record["settings"]
    assert settings["explainer"].startswith(
        "PathExplainer(model, family=DCT(), ordering=Energy(scope='channel'), schedule=CosineRamp"
    )
    assert "baseline=Constant(value=0.5)" in settings["explainer"]
    assert (settings["steps"], settings["rule"], settings["output"]) == (6, "trapezoid", "logit")
    assert (settings["batch_size"], settings["seed"]) == (9, 4)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("wrong_backward", "gradients are not those of the score, completeness"),
        ("randomness", "randomness"),
        ("not_finite", "not finite"),
    ],
)
def test_a_broken_model_is_named_and_recorded(name, said, tmp_path, capsys):
    assert run("--model", f"{BROKEN}:{name}", "--steps", 10, "--out", tmp_path) == 1
    shown = capsys.readouterr()
    assert f"error: {BROKEN}:{name} does not pass: {said}" in shown.err
    assert "Traceback" not in shown.err
    assert "What to do" in shown.out or name == "not_finite"
    record = json.loads((tmp_path / "verify.json").read_text())
    assert not record["passed"]
    assert [found["name"] for found in record["diagnoses"]] == [said.removesuffix(", completeness")]


def failure(capsys):
    """Return what went to stderr, which must be a sentence and no traceback."""
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.startswith("error: ")
    return said
