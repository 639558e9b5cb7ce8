"""Where an exception comes from: the user's own code, a model's library, or ours."""

from __future__ import annotations

import re
import sysconfig
import traceback
from pathlib import Path
from types import FrameType

OURS = ("pathattr", "pathattr_jax", "pathattr_keras", "pathattr_tensorflow", "pathattr_torch")
TOOLS = ("numpy", "scipy", "pywt", "PIL", "matplotlib", "rich", "typer", "click", "json", "concurrent", "threading")
"""What we call for ourselves: what fails there is not the model's, unless the model called it."""

_NOT_USERS = [
    *(Path(path) for path in map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib")) if path),
    *(Path(__file__).parents[2] / name for name in ("pathattr", "backends")),  # where they are in a checkout
]
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_RAISED = re.compile(r"\w+(Error|Exception): ")
_LINE = re.compile(r'File "([^"]+)", line (\d+), in (\S+)')

Place = tuple[str, int, str]  # file, line, function


def users_line(error: BaseException) -> str | None:
    """Return the innermost line of the user's own code that an exception came through; None where there is none."""
    # TensorFlow runs a copy of the user's code, and tells of the lines of the original in its message.
    told = [(name, int(line), function) for name, line, function in _LINE.findall(str(error))]
    own = [place for place in (*told, *_places(error)) if _is_users(place[0])]
    return _written(own[-1]) if own else None


def models_line(error: BaseException) -> str | None:
    """Return the line of a model where an exception was raised; None where it comes from us or what we use."""
    if not _places(error):
        return None
    return users_line(error) or _written(_places(error)[-1])


def gist(error: BaseException) -> str:
    """Return an exception as one line: its kind and, of a long message, the line that says what is wrong."""
    lines = [line.strip() for line in _COLOUR.sub("", str(error)).splitlines() if line.strip()]
    kind = type(error).__name__
    if not lines:
        return kind
    if lines[0] == "in user code:":  # TensorFlow's traceback, then the error, which may have further lines
        return next(filter(_RAISED.match, lines), lines[-1])
    if lines[0] == "Graph execution error:":
        lines = [line for line in lines[1:] if not line.startswith(("File ", "Detected at", "[["))] or lines
    elif lines[0].startswith("Exception encountered when calling") and len(lines) > 1:  # Keras
        del lines[0]
    return f"{kind}: {lines[0]}"


def brief(error: BaseException) -> str:
    """Return the first sentence of an exception's gist, without its full stop: what a sentence of ours can quote."""
    return gist(error).partition(". ")[0].rstrip(".:")


def _places(error: BaseException) -> list[Place]:
    """Return the lines below our own innermost one; none where they are all of our tools."""
    walked = list(traceback.walk_tb(error.__traceback__))
    ours = [place for place, (frame, _) in enumerate(walked) if _package(frame) in OURS]
    below = walked[ours[-1] + 1 :] if ours else walked
    if all(_package(frame) in TOOLS for frame, _ in below):
        return []
    return [(frame.f_code.co_filename, line, frame.f_code.co_name) for frame, line in below]


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_users(name: str) -> bool:
    path = Path(name)
    inside = any(path.is_relative_to(folder) for folder in _NOT_USERS)
    return path.is_file() and not inside and not path.name.startswith("__autograph")


def _written(place: Place) -> str:
    name, line, function = place
    return f"{name}, line {line}, in {function}"
