"""Failures as sentences on stderr, and the status that each gives."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pathattr.cli.advice import in_options
from pathattr.cli.terminal import READER_LEFT, Unheard, say
from pathattr.errors import ModelError, PathattrError
from pathattr.models.blame import gist, models_line

TRACEBACK = "PATHATTR_TRACEBACK"


def report(error: BaseException, about: str = "") -> int:
    """Say what an error means on stderr, as a sentence after `about`, and return the status that it gives."""
    if isinstance(error, Unheard) and error.reader_left:
        return READER_LEFT  # whoever closed the pipe knows
    if isinstance(error, KeyboardInterrupt):
        say("interrupted: files that were finished stay, none is half-written")
        return 130
    if os.environ.get(TRACEBACK):
        say("".join(traceback.format_exception(error)))
    say(f"error: {about}{sentence(error)}")
    return 1 if isinstance(error, PathattrError | Unheard | MemoryError | SystemExit) else 70


def sentence(error: BaseException) -> str:
    """Return what an error means to a user, and the next step."""
    if isinstance(error, PathattrError | Unheard):
        return in_options(str(error))
    if isinstance(error, MemoryError):
        told = f" ({error})" if str(error) else ""
        return f"there is not enough memory{told}: take fewer --steps, a smaller --size, or --batch-size 1"
    if isinstance(error, SystemExit):
        return f"the model's code ended the program, exit({error.code!r}): take that out, it must return"
    return f"{gist(error)}. This was not foreseen; with {TRACEBACK}=1 the command shows where it happened"


@contextmanager
def models_own(shape: tuple[int, ...], out_of_memory: Callable[[Exception], bool]) -> Iterator[None]:
    """Turn what the model raises when it is given inputs of a shape into a ModelError that tells its line.

    `out_of_memory` tells how its framework says so: that becomes a MemoryError.
    """
    try:
        yield
    except (PathattrError, MemoryError):
        raise
    except SystemExit as error:
        raise ModelError(
            f"the model ended the program, exit({error.code!r}) ({models_line(error)}): it must return its outputs"
        ) from error
    except Exception as error:
        if out_of_memory(error):
            raise MemoryError(gist(error)) from error
        line = models_line(error)
        if line is None:
            raise
        raise ModelError(
            f"the model failed: {gist(error)} ({line}). It was given {'×'.join(map(str, shape))} numbers; if it takes "
            f"another size, say --size or return ImageModel(size=...). With {TRACEBACK}=1 the command shows the way "
            "there"
        ) from error
