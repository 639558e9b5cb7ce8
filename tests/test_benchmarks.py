"""The benchmarks run, at sizes that say nothing about speed; what they count is checked."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="peers and overhead are measured in PyTorch")

FOLDER = Path(__file__).parent / "benchmarks"


def run(script, *arguments):
    done = subprocess.run(
        [sys.executable, FOLDER / script, *map(str, arguments), "--threads", "1"],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def peers(folder, *arguments):
    """Run the comparison; return its tables and its records by method."""
    page = folder / "page.md"
    run("peers.py", "--repeats", 1, "--size", 32, "--out", folder, "--markdown", page, *arguments)
    found = json.loads((folder / "peers.json").read_text())
    return page.read_text(), [{r["method"]: r for r in result["methods"]} for result in found["main"]], found


def test_peers_are_measured_or_listed_as_missing(tmp_path):
    methods = ("pathattr-linear", "captum-trapezoid", "saliency")
    page, (records,), found = peers(
        tmp_path, "--network", "scenes", "--steps", 5, "--block", 2, "--reference", 30, "--methods", ",".join(methods),
        "--grow", "batch=2", "--growth-steps", 2,
    )  # fmt: skip
    assert list(records) == list(methods)
    for name, record in records.items():
        package = name.partition("-")[0]
        if find_spec(package) is None:
            assert record["status"] == f"not installed: {package}"
            assert record["status"] in page
        else:
            assert record["status"] == "measured"
            assert record["gradients"] == 5
            assert 0 < record["error"][0] < 1
            assert len(record["seconds"]) == 1
    # Both ends, and nothing else but the gradients' own passes.
    assert records["pathattr-linear"]["forwards"] == 7 + 3  # three points tell whether rows are their own
    assert found["main"][0]["reference_changes"][0] < 0.2
    (grown,) = found["growth"]["batch"]
    assert grown["methods"][0]["gradients"] == 2  # per image


@pytest.mark.slow
def test_tensorflow_has_the_same_network_and_gives_the_same_error(tmp_path):
    methods = ("pathattr-linear", "pathattr-tensorflow", "tensorflow-tutorial")
    _, (records,), _ = peers(
        tmp_path, "--network", "resnet18", "--steps", 3, "--reference", 12, "--methods", ",".join(methods)
    )
    assert {record["status"] for record in records.values()} == {"measured"}
    assert all(record["logits_off"] < 1e-4 for record in records.values())
    ours, theirs = (records[name]["error"][0] for name in ("pathattr-linear", "pathattr-tensorflow"))
    # In float32 some ReLUs switch differently; the error itself is some tens of per cent.
    assert ours == pytest.approx(theirs, rel=0.05)
    assert records["tensorflow-tutorial"]["gradients"] == 4


def test_overhead_is_measured_and_shared_out(tmp_path):
    kept = tmp_path / "overhead.json"
    table = run(
        "overhead.py", "--size", 32, "--steps", 3, "--repeats", 1, "--families", "linear,svd", "--profile",
        "--json", kept,
    )  # fmt: skip
    families = json.loads(kept.read_text())["families"]
    assert list(families) == ["linear", "svd"]
    for name, record in families.items():
        assert f"| {name} | 3 |" in table
        assert sum(record["shares"].values()) == pytest.approx(1)
        assert all(record["shares"][part] > 0 for part in ("decomposition", "synthesis", "model", "adjoint"))
