"""Text that others chose, such as the names of files and classes, made harmless for where it goes."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

import numpy as np

LONGEST = 80
_JOINERS = "\u200c\u200d"  # of scripts and emoji: the only invisible characters that names need
_FORMULA = tuple("=+-@＝＋－＠")
_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "ω": r"$\omega$",
}  # fmt: skip


def shown(value: Any) -> str:
    """Return how a value prints, on one line and at most 80 characters of it, for messages that say what arrived."""
    text = " ".join(repr(value).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def visible(text: str) -> str:
    """Return a text on one line in which whatever moves a cursor, colours, hides or reorders is shown as an escape."""
    return "".join(_shown(character) for character in text)


def markdown(text: str) -> str:
    """Return a text that Markdown shows as it is: no tag, link, emphasis or new cell comes of it."""
    return re.sub(r"([\\`*_\[\]|~$])", r"\\\1", html.escape(visible(text), quote=False))


def latex(text: str) -> str:
    """Return a text that LaTeX prints as it is; ω in mathematics."""
    return "".join(_LATEX.get(c, "\\" + c if c in "&%$#_{}" else c) for c in visible(text))


def csv_line(cells: Iterable[Any]) -> str:
    """Return a line of CSV: numbers with all their digits, nothing for None and NaN, text that stays text.

    A spreadsheet takes text that begins like a formula for one, and runs it: such text gets an apostrophe before it.
    """
    return ",".join(map(_cell, cells)) + "\n"


def _shown(character: str) -> str:
    hidden = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in _JOINERS
    return character.encode("unicode_escape").decode() if hidden else character


def _cell(value: Any) -> str:
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or value != value:
        return ""
    if not isinstance(value, str):
        return repr(value)
    text = visible(value)
    if text.lstrip().startswith(_FORMULA) and not _is_number(text):
        text = f"'{text}"
    # Some spreadsheets part cells at a semicolon.
    return '"' + text.replace('"', '""') + '"' if re.search(r'[,;"]|^\s|\s$', text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
