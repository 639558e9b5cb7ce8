"""The pytest plugin as its users have it: a fixture, a readable failure, and nothing imported before it is used."""

import subprocess
import sys

import pytest

pytest_plugins = "pytester"

SUITE = """
import numpy as np
import pytest
from pathattr import NumpyModel, PathExplainer

INPUTS = np.random.default_rng(0).normal(size=(2, 1, 4, 4))
SOUND = NumpyModel(lambda x: (x**3).sum((1, 2, 3)), lambda x, c: 3 * x**2 * c[:, None, None, None])
BROKEN = NumpyModel(SOUND.value, lambda x, c: 2 * SOUND.vjp(x, c))

def test_axioms(axioms):
    assert axioms.check(SOUND, INPUTS).passed

def test_broken(axioms):
    axioms.check(BROKEN, INPUTS)

def test_options(axioms):
    report = axioms.check(SOUND, INPUTS, family="dct", steps=7, only=["completeness", "flips"], nudge=0)
    assert [row.axiom for row in report.rows] == ["completeness", "flips"]
    assert report.settings["family"] == "DCT()"
    assert report.settings["steps"] == 7
    assert report.settings["nudge"] == 0

def test_an_explainer_keeps_its_settings(axioms):
    settings = axioms.check(PathExplainer(SOUND, steps=9, family="linear"), INPUTS, only=["ends"]).settings
    assert (settings["family"], settings["steps"]) == ("Linear()", 9)
    assert axioms.check(SOUND, INPUTS, only=["ends"]).settings["steps"] == 50
"""


def test_the_fixture_passes_a_sound_model_and_says_what_is_wrong_with_another(pytester):
    pytester.makepyfile(SUITE)
    done = pytester.runpytest("-p", "no:cacheprovider")
    done.assert_outcomes(passed=3, failed=1)
    done.stdout.fnmatch_lines(
        [
            "*the axioms do not hold:",
            "*gradients are not those of the score: the completeness gap stays at *% of the score's range*",
            "*FAILS * completeness * to discretisation *",
        ]
    )
    done.stdout.no_fnmatch_line("*pytest_pathattr*")  # no traceback through the plugin


def test_the_fixture_is_listed_with_what_it_does(pytester):
    shown = pytester.runpytest("--fixtures").stdout.str()
    assert "Check the axioms of path attribution on a model: `axioms.check(model, inputs)`." in shown


@pytest.mark.parametrize("module", ["pathattr", "numpy"])
def test_loading_the_plugin_imports_nothing_of_ours(module, tmp_path):
    (tmp_path / "test_other.py").write_text(f"import sys\ndef test(): assert {module!r} not in sys.modules\n")
    arguments = [
        "-m",
        "pytest",
        "-q",
        "-p",
        "pytest_pathattr",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        tmp_path,
        tmp_path,
    ]
    # Hypothesis' plugin, where it is installed, may import what it likes.
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
