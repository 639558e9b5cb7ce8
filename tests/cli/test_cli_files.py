"""What the commands write: nothing of the user's is lost, and earlier results only where they answer the same."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from pathattr import cli
from pathattr.cli.outputs import names_of

MODEL = """
import numpy as np
import pathattr as pa

def plain():
    weights = np.random.default_rng(0).standard_normal((3, 4))
    return pa.NumpyModel(
        lambda x: x.mean((2, 3)) @ weights,
        lambda x, c: np.broadcast_to((c @ weights.T / x[0, 0].size)[:, :, None, None], x.shape),
    )

other = plain()
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with two pictures and a model."""
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        Image.fromarray(rng.integers(0, 256, (9, 8, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "numbers_of_mine.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command, *pictures, out="out", model="numbers_of_mine.py:plain", more=()):
    return cli.run([command, *map(str, pictures), "-m", model, "--steps", "3", "--out", str(out), *map(str, more)])


def refusal(capsys):
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1, said
    return said


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_the_same_question_again_replaces_and_says_so(here, capsys):
    assert run("explain", "a.png", "b.png") == 0
    assert "replaced" not in capsys.readouterr().out
    before = json.loads((here / "out" / "a.json").read_text())
    assert run("explain", "a.png") == 0
    assert "wrote 1 × overlay, map, arrays and record to out; 1 earlier replaced" in capsys.readouterr().out
    after = json.loads((here / "out" / "a.json").read_text())
    assert {**before, "seconds": 0} == {**after, "seconds": 0}


@pytest.mark.parametrize(
    ("model", "more", "told"),
    [
        ("numbers_of_mine.py:plain", ["--family", "dct"], "family svd there, dct now"),
        ("numbers_of_mine.py:plain", ["--target", "1"], "target the default there, 1 now"),
        ("numbers_of_mine.py:plain", ["--size", "6"], "size the default there, 6 now"),
        ("numbers_of_mine.py:other", [], "model numbers_of_mine.py:plain there, numbers_of_mine.py:other now"),
    ],
)
@pytest.mark.parametrize("command", ["explain", "compare"])
def test_an_answer_to_another_question_is_only_replaced_by_force(here, capsys, command, model, more, told):
    default = ["--family", "svd"]
    assert run(command, "a.png", more=default) == 0
    before = contents(here / "out")
    capsys.readouterr()
    changed = [*default, *more]
    assert run(command, "a.png", model=model, more=changed) == 1
    said = refusal(capsys)
    assert f"answers another question ({told}): give another --out, or --force to replace it" in said
    assert contents(here / "out") == before
    # Either advice works.
    assert run(command, "a.png", model=model, more=changed, out="other") == 0
    assert run(command, "a.png", model=model, more=[*changed, "--force"]) == 0
    assert "earlier replaced" in capsys.readouterr().out


def test_another_picture_under_the_same_name_is_another_question(here, capsys):
    assert run("explain", "a.png") == 0
    shutil.copy(here / "b.png", here / "a.png")
    capsys.readouterr()
    assert run("explain", "a.png") == 1
    assert "answers another question (picture " in refusal(capsys)
    (here / "folder").mkdir()
    shutil.copy(here / "b.png", here / "folder" / "b.png")
    assert run("explain", "b.png") == 0
    assert run("explain", "folder/b.png") == 0  # the same picture, wherever it is


def test_records_of_other_commands_are_replaced_and_files_of_others_are_not(here, capsys):
    for times in range(2):
        assert cli.run(["bench", "-m", "numbers_of_mine.py:plain", "--steps", "3", "--size", "8", "--out", "out"]) == 0
        assert ("1 earlier replaced" in capsys.readouterr().out) == (times == 1)
    (here / "out" / "verify.json").write_text("[]")
    assert cli.run(["verify", "-m", "numbers_of_mine.py:plain", "--pictures", "a.png", "--out", "out"]) == 1
    assert "verify.json is there and was not made by this command" in refusal(capsys)


def test_what_cannot_be_a_file_is_said_before_any_work(here, capsys, monkeypatch):
    (here / ("x" * 245 + ".png")).write_bytes((here / "a.png").read_bytes())
    assert run("explain", "x" * 245 + ".png") == 1
    assert "give the picture a shorter name" in refusal(capsys)
    (here / "out" / "a.json").mkdir()
    assert run("explain", "a.png") == 1
    assert "a.json is there and was not made by this command" in refusal(capsys)
    (here / "out" / "b.json").symlink_to(here / "nowhere")
    assert run("explain", "b.png") == 1
    assert "b.json is there" in refusal(capsys)


def test_each_picture_is_explained_once_under_a_name_of_its_own(here, capsys):
    (here / "folder").mkdir()
    for name in ("a.png", "A.PNG", "a.jpeg"):
        shutil.copy(here / "a.png", here / "folder" / name)
    pictures = ["a.png", "./a.png", "folder/a.png", "folder/A.PNG", "folder/a.jpeg"]
    assert run("explain", *pictures) == 0
    assert "note: 1 of the pictures were named more than once; each is explained once" in capsys.readouterr().err
    # On systems that do not tell a from A they would be one file.
    assert sorted(path.name for path in (here / "out").glob("*.json")) == ["A-3.json", "a-2.json", "a-4.json", "a.json"]


def test_names_are_free_of_each_other(here):
    paths = [here / name for name in ("a.png", "x/a.png", "a-2.png", "x/a-2.png", "ä.png", "a\u0308.png")]
    names = [name for name, _ in names_of(paths)]
    assert names == ["a", "a-2", "a-2-2", "a-2-3", "ä", "a\u0308-2"]


def test_codes_in_a_name_reach_no_terminal(here, capsys):
    name = "c\x1b[31m[red].png"
    shutil.copy(here / "a.png", here / name)
    (here / "d\x1b[31m.png").write_text("no picture")
    assert run("explain", name, "d\x1b[31m.png") == 1
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert "c\\x1b[31m[red].png" in said.out
    assert "error: d\\x1b[31m.png: " in said.err
    assert (here / "out" / "c\x1b[31m[red].json").exists()
