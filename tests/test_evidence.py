"""The script behind docs/evidence: its settings can be made, and its pages have a place for every table."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from pathattr import NumpyModel
from pathattr.methods.explainer import Explainer
from pathattr.studies import Setting

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


class Judged:
    """A study of two settings at most, as `collected` sees one."""

    def __init__(self, called, *names, done=2):
        self.called, self.progress = called, (done, 2)
        self.settings = [Setting(name, None) for name in names]

    def found(self, name):
        return self.called, name


def test_a_table_compares_what_one_study_made_where_it_can(evidence):
    first, second = Judged("first", "a", "b"), Judged("second", "a", "c", done=1)
    found, notes = evidence.collected([first, second], ("b", "a"))
    assert found == {"b": ("first", "b"), "a": ("first", "a")}
    assert not notes  # `second` is unfinished and of no concern
    found, notes = evidence.collected([first, second], ("a", "c", "unmeasured"))
    assert found == {"a": ("second", "a"), "c": ("second", "c")}
    assert "1 of 2" in notes
