"""What others chose as names does nothing where it is shown: no formula, no escape code, no tag, no command."""

import csv
import html
import io
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathattr.common.texts import csv_line, latex, markdown, shown, visible

ANY = st.text(st.characters(exclude_categories=()), max_size=30)


@given(ANY)
def test_a_visible_text_is_one_line_of_characters_that_show(text):
    shown = visible(text)
    assert shown.isprintable() or all(
        c.isprintable() or c.isspace() or c in "\u200c\u200d" or not c.isascii() for c in shown
    )
    assert not set(shown) & {*map(chr, range(32)), "\x7f", "\x9b", "\u2028", "\u202e", "\ufeff"}
    shown.encode()  # no lone surrogate is left


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, γ(α) 猫 é", "plain, γ(α) 猫 é"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x9b2J", r"\x9b2J"),
        ("two\nlines\r\t", r"two\nlines\r\t"),
        ("gnp.\u202ecat", r"gnp.\u202ecat"),
        ("\udcff", r"\udcff"),
        ("👩\u200d🔬", "👩\u200d🔬"),
    ],
)
def test_what_hides_is_shown(text, shown):
    assert visible(text) == shown


@pytest.mark.parametrize("value", [np.zeros((30, 30)), ["word"] * 1000, "a\nb", None, 3.5])
def test_what_arrived_is_shown_on_one_short_line(value):
    found = shown(value)
    assert len(found) <= 80
    assert found == " ".join(found.split())
    assert found.rstrip("…") in " ".join(repr(value).split())


FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-1+1|x", "@SUM(A1)", "＝1+1", "  =1+1", '=HYPERLINK("http://x","y")']


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_in_a_cell_is_text(text):
    (row,) = csv.reader(io.StringIO(csv_line([text, "b"])))
    assert row == [f"'{text}", "b"]


@given(st.lists(ANY | st.floats() | st.integers() | st.none(), min_size=1, max_size=5))
def test_cells_come_back_and_none_begins_a_formula_or_another_cell(values):
    line = csv_line(values)
    assert line.count("\n") == 1
    (row,) = csv.reader(io.StringIO(line)) if line != "\n" else ([""],)
    assert len(row) == len(values)
    for cell, value in zip(row, values, strict=True):
        if isinstance(value, str):
            assert cell.lstrip("'") == visible(value).lstrip("'")
        elif value is None or value != value:
            assert cell == ""
        else:
            assert float(cell) == value or math.isclose(float(cell), value)
        if cell.lstrip().startswith(tuple("=+-@")):
            float(cell)  # nothing but a number


def test_a_semicolon_parts_no_cells_where_it_is_the_separator():
    assert csv_line(["a;=1+1"]) == '"a;=1+1"\n'


def test_numbers_keep_all_their_digits_and_their_sign():
    assert (
        csv_line([0.1 + 0.2, -1.5, 7, "-0.4", "1e-3", float("-inf")]) == "0.30000000000000004,-1.5,7,-0.4,1e-3,-inf\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=y>",
        "a & b",
        "[x](javascript:y)",
        "![x](http://y)",
        "**b**",
        "`c`",
        "a | b",
        "~~d~~",
        "_e_",
        "$f$",
        "\\",
        "&lt;",
    ],
)
def test_markdown_shows_a_text_as_it_is(text):
    written = markdown(text)
    assert "<" not in written
    bare = re.sub(r"\\[\\`*_\[\]|~$]", "", written)
    assert not set(bare) & set("\\`*_[]|~$")
    assert html.unescape(re.sub(r"\\(.)", r"\1", written)) == text


@given(ANY)
def test_markdown_holds_no_tag_and_no_new_line(text):
    written = markdown(text)
    assert not set(written) & set("<>\n\r")


@given(ANY)
def test_latex_holds_no_command_but_ours(text):
    written = latex(text)
    for ours in (r"\textbackslash{}", r"\textasciitilde{}", r"\textasciicircum{}", r"\textless{}", r"\textgreater{}",
                 r"\textbar{}", r"$\omega$", *(f"\\{c}" for c in "&%$#_{}")):  # fmt: skip
        written = written.replace(ours, "")
    assert not set(written) & set("\\&%$#_{}~^<>|\n")
