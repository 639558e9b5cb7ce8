"""The script behind docs/evidence: its settings can be made, and its pages have a place for every table."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from pathattr import NumpyModel
from pathattr.base import Explainer

SCRIPT = Path(__file__).parent.parent / "examples" / "evidence.py"


@pytest.fixture(scope="module")
def evidence():
    found = importlib.util.spec_from_file_location("evidence_script", SCRIPT)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_every_setting_makes_an_explainer(evidence):
    model = NumpyModel(lambda x: x.sum(axis=(1, 2, 3)), lambda x, c: c[:, None, None, None] * np.ones_like(x))
    spent = {"steps": "auto", "tolerance": 0.1}
    for name, make in evidence.methods(0.0).items():
        assert isinstance(make(model, spent, channel_axis=1), Explainer), name


def test_tables_are_of_settings_that_exist(evidence):
    known = set(evidence.methods(0.0))
    assert evidence.CHOSEN.keys() == evidence.COUNTS.keys()
    assert {name for names in evidence.CHOSEN.values() for name in names} == known
    for page, names in evidence.TABLES.items():
        assert set(names) <= known, page
    assert {name for names in evidence.TABLES.values() for name in names} == known  # none is measured for nothing


def test_tables_go_between_their_markers_and_nowhere_else(evidence, tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "PAGES", tmp_path)
    (tmp_path / "some.md").write_text("before\n<!-- scenes -->\nold\n<!-- end -->\nafter\n")
    for _ in range(2):  # writing again changes nothing
        evidence.write("some", {"scenes": r"new \1"})
        assert (tmp_path / "some.md").read_text() == "before\n<!-- scenes -->\n\nnew \\1\n<!-- end -->\nafter\n"
    with pytest.raises(SystemExit, match="no place for photographs"):
        evidence.write("some", {"photographs": "new"})


def test_every_page_has_figures_that_are_there(evidence):
    for page in evidence.PAGES.glob("*.md"):
        for image in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page.read_text()):
            assert (page.parent / image).is_file(), (page.name, image)
