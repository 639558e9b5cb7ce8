"""What is said on stdout and stderr: it moves no terminal, and where nobody hears it no work is lost."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO

from pathattr.cli.advice import in_options
from pathattr.common.texts import visible

READER_LEFT = 141
"""The status of a command whose reader has left, as in `| head`: 128 and the number of SIGPIPE, as shells count."""

_SAID: set[str] = set()  # warnings that are said once


class Unheard(Exception):
    """Stdout takes no more. The files that were made are written by then."""

    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"cannot write to standard output: {error.strerror or error}; the files that were finished are kept. Send "
            "the output elsewhere, or make room there"
        )
        self.reader_left = isinstance(error, BrokenPipeError)


def open_streams() -> None:
    """Give each standard stream that the caller has closed the null device.

    Otherwise the next file to be opened gets its number, and what is printed goes into that file.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def say(text: str) -> None:
    """Print a line to stderr; where that cannot be, only the line is lost."""
    try:
        print(_harmless(text), file=sys.stderr, flush=True)
    except (OSError, ValueError):  # ValueError: it has been closed
        silence(sys.stderr)


def tell(text: str) -> None:
    """Print a line to stdout. Raises Unheard."""
    to_stdout(_harmless(text))


def warn_in_a_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as a sentence: where in a library it was raised tells the user of a command nothing."""
    text = in_options(str(message))
    if "missing from font" in text or "missing from current font" in text:  # matplotlib's, one for each character
        text = "the font of figures lacks characters of some name, which are drawn as boxes; the records hold them"
        if text in _SAID:
            return
        _SAID.add(text)
    kind = "" if issubclass(category, UserWarning) else f"{category.__name__}: "
    say(f"warning: {kind}{text}")


def to_stdout(text: str) -> None:
    """Print a text to stdout as it is, at once. Raises Unheard."""
    try:
        print(text, flush=True)
    except OSError as error:
        raise unheard(error) from error


def unheard(error: OSError) -> Unheard:
    """Return what a failure of stdout means; the stream goes nowhere from now on, as Python flushes it once more."""
    silence(sys.stdout)
    return Unheard(error)


def silence(stream: TextIO) -> None:
    """Send a stream to the null device, and what it still holds along with it."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _harmless(text: str) -> str:
    """Return lines without the codes that the name of a file or a class may hold."""
    return "\n".join(map(visible, text.split("\n")))
