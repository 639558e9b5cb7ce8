"""`pathattr ablate` as a person meets it: a study made, stopped and gone on with; sentences on failure."""

import csv
import errno
import json
import os

import numpy as np
import pytest
from PIL import Image

from pathattr import cli, scenes

pytest.importorskip("torch", reason="the models here are PyTorch's")

SMALL = ["--family", "linear,svd", "--metric", "sparseness,pointing", "--steps", "3", "--limit", "4"]

GREY = """
import torch
from torch import nn
import pathattr as pa

def grey():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 3))
    return pa.ImageModel(net.eval(), size=16, preprocessing=pa.Preprocessing(0.13, 0.3))
"""


def run(*arguments):
    return cli.run(["ablate", *map(str, arguments)])


def scenes_study(out, *more):
    return run("--model", "scenes", "--data", "scenes", *SMALL, "--out", out, *more)


def failure(capsys):
    """Return what went to stderr: notes, then a sentence and no traceback."""
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("error: "), said
    return said


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows_of(out):
    return list(csv.DictReader((out / "table.csv").read_text(encoding="utf-8").splitlines()))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    assert scenes_study(out) == 0
    return contents(out)


def test_a_study_leaves_its_tables_figures_and_plan(whole):
    named = {name for name in whole if not name.startswith("results/")}
    assert named == {
        "plan.json", "table.csv", "table.parquet", "summary.csv", "summary.md", "summary.tex", "maps.png",
    }  # fmt: skip
    assert sum(name.startswith("results/") for name in whole) == 2
    text = whole["summary.md"].decode()
    assert "| linear |" in text
    assert "Difference to *linear*" in text
    assert "4 examples; explained and judged: their labels" in text
    plan = json.loads(whole["plan.json"])
    assert plan["determines"]["model"] == "scenes"
    assert "torch" in plan["record"]["versions"]


def test_the_same_command_again_does_nothing_twice(whole, tmp_path, capsys, monkeypatch):
    for name, data in whole.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    explainer = "pathattr.methods.path_explainer.PathExplainer._attribute"
    monkeypatch.setattr(explainer, lambda *args, **kwargs: pytest.fail("explained again"))
    assert scenes_study(tmp_path) == 0
    assert contents(tmp_path) == whole
    # Another reference is another table of the same results.
    assert scenes_study(tmp_path, "--reference", "SVD") == 0
    assert "Difference to *svd*" in (tmp_path / "summary.md").read_text(encoding="utf-8")
    capsys.readouterr()
    assert scenes_study(tmp_path, "--seed", "1") == 1
    said = failure(capsys)
    assert "holds another study" in said
    assert "Give another --out" in said


def test_an_interrupted_study_says_that_it_goes_on_and_does(whole, tmp_path, capsys, monkeypatch):
    from pathattr.studies.store import Store

    real, written = Store.write, []

    def write(self, path, found):
        if written:
            raise KeyboardInterrupt
        written.append(path)
        real(self, path, found)

    monkeypatch.setattr(Store, "write", write)
    assert scenes_study(tmp_path) == 130
    said = capsys.readouterr().err
    assert "1 of 2 parts of the study are done and kept: the same command goes on from here" in said
    assert "Traceback" not in said
    monkeypatch.undo()
    assert scenes_study(tmp_path) == 0
    assert contents(tmp_path) == whole


def test_a_full_disk_is_a_sentence_and_loses_nothing(whole, tmp_path, capsys, monkeypatch):
    real, left = os.replace, [1]

    def replace(source, target):
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= 1
        real(source, target)

    monkeypatch.setattr("pathattr.common.files.os.replace", replace)
    assert scenes_study(tmp_path) == 1
    assert "No space left on device" in failure(capsys)
    monkeypatch.undo()
    assert scenes_study(tmp_path) == 0
    assert contents(tmp_path) == whole


def test_class_folders_with_a_broken_picture(tmp_path, capsys):
    made = scenes.generate(4, seed=3)
    for k, (image, label) in enumerate(zip(made.images, made.labels, strict=True)):
        folder = tmp_path / "data" / scenes.CLASSES[label]
        folder.mkdir(parents=True)
        Image.fromarray((image * 255).round().astype(np.uint8)).save(folder / f"{k}.png")
    (folder / "broken.png").write_bytes(b"not a picture")
    arguments = ["--family", "svd", "--metric", "sparseness", "--steps", "3", "--out", tmp_path / "out"]
    assert run("-m", "scenes", "--data", tmp_path / "data", *arguments) == 0
    said = capsys.readouterr().err
    assert "left out, unreadable: striped ring/broken.png" in said
    assert [(row["example"], row["target"]) for row in rows_of(tmp_path / "out") if row["column"] == "sparseness"] == [
        (f"{scenes.CLASSES[k]}/{k}.png", str(k)) for k in range(4)
    ]
    assert "Left out, unreadable: striped ring/broken.png" in (tmp_path / "out" / "summary.md").read_text()


def test_a_table_with_boxes_serves_metrics_that_need_them(tmp_path):
    made = scenes.generate(2, seed=3)
    lines = ["path,label,top,left,bottom,right"]
    for k, (image, mask) in enumerate(zip(made.images, made.masks, strict=True)):
        Image.fromarray((image * 255).round().astype(np.uint8)).save(tmp_path / f"{k}.png")
        rows, columns = np.nonzero(mask)
        lines.append(f"{k}.png,{k},{rows.min()},{columns.min()},{rows.max() + 1},{columns.max() + 1}")
    (tmp_path / "data.csv").write_text("\n".join(lines))
    arguments = ["--family", "svd", "--metric", "mass", "--steps", "3", "--out", tmp_path / "out"]
    assert run("-m", "scenes", "--data", tmp_path / "data.csv", *arguments) == 0
    shares = [float(row["value"]) for row in rows_of(tmp_path / "out") if row["column"] == "mask_share"]
    boxes = (
        [np.ptp(np.nonzero(mask)[0]) + 1 for mask in made.masks],
        [np.ptp(np.nonzero(mask)[1]) + 1 for mask in made.masks],
    )
    assert shares == pytest.approx([h * w / 96**2 for h, w in zip(*boxes, strict=True)])


def test_what_is_skipped_and_what_is_one_row_is_said_before_the_work(tmp_path, capsys):
    arguments = ["--family", "linear,svd", "--ordering", "energy,frequency", "--metric", "sparseness", "--steps", "2"]
    assert run("-m", "scenes", "--data", "scenes", "--limit", 1, *arguments, "--out", tmp_path) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "linear: 2 combinations are this one row"
    assert said[1].startswith("skipped: svd frequency: ordering by frequency needs")
    assert "Skipped: svd frequency" in (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert {row["setting"] for row in rows_of(tmp_path)} == {"linear", "svd energy"}


def test_an_explanation_that_fails_is_counted_at_the_end_and_the_tables_are_of_the_others(
    tmp_path, capsys, monkeypatch
):
    from pathattr.errors import ModelError
    from pathattr.methods.path_explainer import PathExplainer

    real = PathExplainer._attribute
    bad = scenes.PREPROCESSING.normalise(np.moveaxis(scenes.generate(3).images[2], -1, 0))

    def attribute(self, backend, inputs, host, layout, target, progress):
        if any(np.allclose(example, bad, atol=1e-5) for example in host):
            raise ModelError("the model is not finite")
        return real(self, backend, inputs, host, layout, target, progress)

    monkeypatch.setattr(PathExplainer, "_attribute", attribute)
    assert scenes_study(tmp_path) == 1
    said = failure(capsys)
    assert "failed: svd on scene 2: the model is not finite" in said
    assert "2 of 8 explanations failed" in said
    values = {
        (row["setting"], row["example"]): row["value"] for row in rows_of(tmp_path) if row["column"] == "pointing"
    }
    assert [values["svd", f"scene {k}"] == "" for k in range(4)] == [False, False, True, False]


def test_parquet_is_left_out_with_a_note_or_refused_where_it_was_asked_for(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    small = [
        "-m",
        "scenes",
        "--data",
        "scenes",
        "--limit",
        1,
        "--family",
        "svd",
        "--metric",
        "sparseness",
        "--steps",
        2,
    ]
    assert run(*small, "--out", tmp_path / "a", "--parquet") == 1
    assert "pip install 'pathattr[study]'" in failure(capsys)
    assert not (tmp_path / "a" / "plan.json").exists()
    assert run(*small, "--out", tmp_path / "a") == 0
    assert "Parquet is left out" in capsys.readouterr().err
    assert (tmp_path / "a" / "table.csv").exists()


def test_another_framework_tells_the_same(whole, tmp_path):
    assert scenes_study(tmp_path, "--backend", "tensorflow") == 0
    given = csv.DictReader(whole["table.csv"].decode().splitlines())
    for ours, theirs in zip(given, rows_of(tmp_path), strict=True):
        assert (ours["setting"], ours["example"], ours["target"]) == (
            theirs["setting"], theirs["example"], theirs["target"],
        )  # fmt: skip
        # One float32 network twice.
        assert float(ours["score"]) == pytest.approx(float(theirs["score"]), abs=1e-5)
        if ours["column"] == "sparseness":  # at three nodes a ReLU may switch on the other side of one
            assert float(ours["value"]) == pytest.approx(float(theirs["value"]), abs=0.01)


def test_a_model_of_grey_pictures_is_studied(tmp_path):
    file = tmp_path / "grey_study.py"
    file.write_text(GREY)
    arguments = ["--family", "svd", "--metric", "diffid", "--fill", "zero", "--steps", 3, "--limit", 2]
    assert run("-m", f"{file}:grey", "--data", "scenes", *arguments, "--out", tmp_path / "out") == 0
    assert {row["setting"] for row in rows_of(tmp_path / "out")} == {"svd"}
