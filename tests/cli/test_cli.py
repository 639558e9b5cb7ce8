"""The command line as a person meets it: files made, sentences on failure, statuses."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import pathattr as pa
from pathattr import cli, scenes
from pathattr.models import specs

pytest.importorskip("torch", reason="the models here are PyTorch's")

SCENE = scenes.generate(1, seed=11)


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "scene.png"
    Image.fromarray((SCENE.images[0] * 255).round().astype(np.uint8)).save(path)
    return path


def run(*arguments):
    return cli.run([str(argument) for argument in arguments])


def failure(capsys):
    """Return what went to stderr, which must be a sentence and no traceback."""
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.startswith("error: ")
    return said


def png_size(path):
    with Image.open(path) as image:
        image.load()
        return image.size


def test_demo_writes_the_grid_of_all_families_and_a_record(tmp_path, capsys):
    assert run("demo", "--out", tmp_path / "demo", "--steps", 4, "--count", 1) == 0
    assert min(png_size(tmp_path / "demo" / "demo.png")) > 300
    records = json.loads((tmp_path / "demo" / "demo.json").read_text())
    assert [record["family"] for record in records] == ["linear", "svd", "dct", "wavelet", "laplacian"]
    shown = capsys.readouterr().out
    assert "laplacian" in shown
    assert "demo.png" in shown


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_demo_runs_on_every_framework_with_the_same_scores(tmp_path, backend):
    scores = []
    for name in ("torch", backend):
        assert run("demo", "--out", tmp_path / name, "--steps", 2, "--count", 1, "--backend", name) == 0
        records = json.loads((tmp_path / name / "demo.json").read_text())
        assert {record["settings"]["backend"] for record in records} == {name}
        assert name in records[0]["versions"]
        scores.append(records[0]["score"])
    # One float32 network twice: sums of up to 600 products in another order.
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)


def test_explain_writes_overlay_map_arrays_and_record(picture, tmp_path):
    out = tmp_path / "out"
    assert run("explain", picture, "--model", "scenes", "--steps", 20, "--out", out) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "scene.json", "scene.map.png", "scene.npz", "scene.overlay.png",
    ]  # fmt: skip
    record = json.loads((out / "scene.json").read_text())
    result = pa.Attribution.load(out / "scene.npz")
    assert record["target_name"] == scenes.CLASSES[SCENE.labels[0]]
    assert record["target"] == result.target[0] == SCENE.labels[0]
    assert record["score"] == result.score[0]
    assert record["gap"] == result.gap[0]
    assert record["evaluations"] == result.evaluations[0]
    assert record["settings"]["seed"] == 0
    assert {"python", "pathattr", "numpy", "torch"} <= set(record["versions"])
    # The attributions are those of the API on the same picture.
    model = specs.load_model("scenes")
    inputs = pa.pictures.prepare(pa.pictures.read_picture(picture), model)[1][None].astype(np.float32)
    expected = pa.PathExplainer(model.model, preprocessing=model.preprocessing, steps=20)(inputs)
    assert np.array_equal(result.attributions, expected.attributions)


@pytest.mark.parametrize("mode", ["L", "RGBA", "I;16", "P"])
def test_pictures_of_every_mode_are_explained(mode, tmp_path):
    grey = (np.outer(np.arange(60), np.arange(50)) % 256).astype(np.uint8)
    image = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    image.save(tmp_path / "odd.png")
    assert run("explain", tmp_path / "odd.png", "-m", "scenes", "--steps", 2, "--out", tmp_path / "out") == 0
    assert pa.Attribution.load(tmp_path / "out" / "odd.npz").attributions.shape == (1, 3, 96, 96)


def test_pictures_of_the_same_name_do_not_overwrite_each_other(picture, tmp_path):
    other = tmp_path / "b" / "scene.png"
    other.parent.mkdir()
    other.write_bytes(picture.read_bytes())
    assert run("explain", picture, other, "-m", "scenes", "--steps", 2, "--out", tmp_path / "out") == 0
    assert {"scene.json", "scene-2.json"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_options_reach_the_explainer(picture, tmp_path):
    options = (
        "--family dct --ordering energy --overlap 0.2 --schedule cosine --steps 5 --rule trapezoid --baseline blur"
    )
    more = "--target 3 --output logit --batch-size 3 --seed 4 --size 96 --device cpu"
    assert run("explain", picture, "-m", "scenes", *options.split(), *more.split(), "--out", tmp_path) == 0
    record = json.loads((tmp_path / "scene.json").read_text())
    assert record["target"] == 3
    settings = record["settings"]
    assert settings["family"] == "DCT()"
    assert settings["ordering"].startswith("Energy")
    assert settings["schedule"].startswith("CosineRamp(overlap=0.2")
    assert (settings["steps"], settings["rule"], settings["output"]) == (5, "trapezoid", "logit")
    assert settings["baseline"].startswith("Blur")
    assert (settings["batch_size"], settings["seed"]) == (3, 4)
    assert record["evaluations"] == 6


def test_targets_by_name_and_contrasts(picture, tmp_path):
    arguments = ["--steps", 2, "--out", tmp_path, "--target", "checked ring", "--contrast", "STRIPED DISC"]
    assert run("explain", picture, "-m", "scenes", *arguments) == 0
    record = json.loads((tmp_path / "scene.json").read_text())
    assert record["target_name"] == "checked ring − striped disc"


def test_what_is_no_picture_is_said_and_the_other_pictures_are_explained(picture, tmp_path, capsys):
    text = tmp_path / "notes.txt"
    text.write_text("not a picture")
    missing = tmp_path / "missing.png"
    arguments = ["-m", "scenes", "--steps", 2, "--out", tmp_path / "out"]
    assert run("explain", text, picture, missing, *arguments) == 1
    said = failure(capsys)
    assert "notes.txt" in said
    assert "missing.png" in said
    assert "2 of 3 pictures failed" in said
    assert (tmp_path / "out" / "scene.json").exists()


def test_interrupting_leaves_whole_files_only(picture, tmp_path, capsys, monkeypatch):
    second = tmp_path / "second.png"
    second.write_bytes(picture.read_bytes())
    replaced = []
    real = os.replace

    def interrupted(source, target):
        replaced.append(target)
        if len(replaced) == 6:  # in the middle of the second picture's four files
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr("pathattr.common.files.os.replace", interrupted)
    assert run("explain", picture, second, "-m", "scenes", "--steps", 2, "--out", tmp_path / "out") == 130
    assert "interrupted" in capsys.readouterr().err
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert left == ["scene.json", "scene.map.png", "scene.npz", "scene.overlay.png", "second.overlay.png"]
    png_size(tmp_path / "out" / "second.overlay.png")


def test_compare_writes_one_grid(picture, tmp_path, capsys):
    arguments = ["--family", "svd, linear", "--steps", 3, "--out", tmp_path]
    assert run("compare", picture, "-m", "scenes", *arguments) == 0
    assert min(png_size(tmp_path / "scene.compare.png")) > 200
    records = json.loads((tmp_path / "scene.compare.json").read_text())
    assert [record["family"] for record in records] == ["svd", "linear"]
    capsys.readouterr()
    assert run("compare", picture, "-m", "scenes", "--family", "svd,nope", "--out", tmp_path) == 1
    assert "unknown family 'nope'" in failure(capsys)


def test_backends_tells_what_is_installed_and_what_to_install(capsys, monkeypatch):
    from pathattr.models import registry

    real = registry.backends()

    class Absent:
        def load(self):
            raise ImportError("No module named 'absent'")

    monkeypatch.setattr(registry, "backends", lambda: real | {"absent": Absent()})
    monkeypatch.setattr("pathattr.cli.app.known_backends", registry.backends)
    assert run("backends") == 0
    shown = capsys.readouterr().out
    assert "numpy" in shown
    assert "torch" in shown
    assert "pip install absent" in shown


def test_the_installed_command_answers():
    done = subprocess.run(
        [sys.executable, "-c", "from pathattr.cli import main; main()", "--version"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == pa.__version__
