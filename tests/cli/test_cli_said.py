"""Options that mean nothing beside the others: refused or noted, and what the refusal advises works."""

import json
import warnings

import numpy as np
import pytest
from PIL import Image

import pathattr as pa
from pathattr import cli
from pathattr.studies import Grid

MODEL = """
import numpy as np
import pathattr as pa

def plain():
    weights = np.random.default_rng(0).standard_normal((3, 4))
    return pa.NumpyModel(
        lambda x: np.tanh(x).mean((2, 3)) @ weights,
        lambda x, c: (c @ weights.T)[:, :, None, None] * (1 - np.tanh(x) ** 2) / x[0, 0].size,
    )
"""
STUDY = "ablate -m own.py:plain --data pictures --metric sparseness --limit 2 --size 8"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for name in ("a.png", "pictures/0/b.png", "pictures/1/c.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(path)
    (tmp_path / "own.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_tolerance_that_is_said_beside_auto_is_the_one_that_is_used(here):
    assert cli.run(["explain", "a.png", "-m", "own.py:plain", "--steps", "auto", "--tolerance", "0.1"]) == 0
    settings = json.loads((here / "pathattr-out" / "a.json").read_text())["settings"]
    assert (settings["steps"], settings["tolerance"]) == ("auto", 0.1)


def test_a_seed_that_changes_nothing_is_noted(capsys):
    command = ["explain", "a.png", "-m", "own.py:plain", "--steps", "4", "--force", "--seed", "3"]
    assert cli.run(command) == 0
    assert capsys.readouterr().err == (
        "note: --seed changes nothing here: only the baselines uniform and gaussian and --ordering shuffled draw\n"
    )
    for drawn in (["--baseline", "uniform"], ["--baseline", "gaussian"], ["--ordering", "shuffled"]):
        assert cli.run([*command, *drawn]) == 0
        assert capsys.readouterr().err == ""


def test_a_grid_takes_a_tolerance_only_beside_auto():
    with pytest.raises(pa.InvalidInput, match=r"tolerance=0.1 is what steps='auto' aims at"):
        Grid(families=["svd"], steps=3, tolerance=0.1)
    assert Grid(families=["svd"], steps=3).aim is None
    assert Grid(families=["svd"], tolerance=0.1).aim == 0.1


def test_a_picture_that_is_its_own_baseline_is_noted(here, capsys):
    Image.new("RGB", (8, 8)).save(here / "black.png")
    command = ["explain", "black.png", "-m", "own.py:plain", "--steps", "4"]
    assert cli.run(command) == 0
    said = capsys.readouterr().err
    assert said.startswith("note: black.png is its own baseline, nothing moves and every attribution is 0: say another")
    assert not pa.Attribution.load(here / "pathattr-out" / "black.npz").attributions.any()
    assert cli.run([*command, "--baseline", "1", "--force"]) == 0
    assert capsys.readouterr().err == ""


def test_names_that_the_font_of_figures_lacks_are_told_once(here, capsys):
    """A line for each character of each figure would bury what else is said."""
    names = "\ndef named(): return pa.ImageModel(plain(), classes=['漢字', '日本', '中国', '韓国'])\n"
    (here / "named.py").write_text(MODEL + names)
    Image.new("RGB", (8, 8), "red").save(here / "b.png")
    from pathattr.cli import terminal

    terminal._SAID.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = terminal.warn_in_a_line
        assert cli.run(["explain", "a.png", "b.png", "-m", "named.py:named", "--steps", "4"]) == 0
    said = capsys.readouterr()
    assert said.err.count("lacks characters of some name, which are drawn as boxes") == 1
    assert said.err.count("\n") == 1
    record = json.loads((here / "pathattr-out" / "a.json").read_text(encoding="utf-8"))
    assert record["target_name"] in ("漢字", "日本", "中国", "韓国")
