"""The files of a command, looked at before any work: nothing is overwritten but an answer to the same question."""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pathattr.errors import InvalidInput
from pathattr.pictures.reading import read_bytes

MARK = b"Software\0pathattr"  # in our pictures, among the first bytes
ASKED = "asked"  # the entry of a record that holds the question
MOST_RECORD = 2**26  # bytes of a JSON file that can be a record


@dataclass(frozen=True)
class Claim:
    """The files that one piece of work is going to write; `record` is the JSON among them, `asked` the question.

    `asked` is None where earlier files are replaced whatever they answered.
    """

    files: Sequence[Path]
    record: Path
    asked: Callable[[], Mapping[str, Any]] | None = None


def settle(claims: Iterable[Claim], inputs: Sequence[Path], force: bool = False) -> int:
    """Return how many claims replace earlier files of ours, having made sure that nothing else is lost.

    Raises InvalidInput where a file would overwrite one of `inputs`, one that is not ours, or, without `force`, the
    answer to another question.
    """
    kept = {identity for path in inputs if (identity := _identity(path)) is not None}
    replaced = 0
    for claim in claims:
        there = [path for path in claim.files if _exists(path)]
        for path in there:
            if _identity(path) in kept:
                raise InvalidInput(f"{path} would overwrite a picture that is to be read: give another --out")
            if not _ours(path):
                raise InvalidInput(f"{path} is there and was not made by this command: give another --out, or move it")
        if there and claim.asked is not None and not force:
            _same_question(claim.record, claim.asked())
        replaced += bool(there)
    return replaced


def names_of(paths: Sequence[Path]) -> list[tuple[str, Path]]:
    """Return a name for each picture's files, its own, numbered where two would be the same; each file once."""
    taken: set[str] = set()
    found: dict[str, tuple[str, Path]] = {}
    for path in paths:
        where = os.path.abspath(path)  # noqa: PTH100  # a link is a picture of its own
        name, number = path.stem, 2
        # Where a file system does not tell a from A, or one way to write ä from another, they would be one file.
        while where not in found and _folded(name) in taken:
            name, number = f"{path.stem}-{number}", number + 1
        taken.add(_folded(name))
        found.setdefault(where, (name, path))
    return list(found.values())


def open_folder(path: Path) -> Path:
    """Return the folder, made if it is missing; raise InvalidInput where nothing can be written, before any work."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"cannot make the output folder {path}: {error.strerror}; choose another --out") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise InvalidInput(f"cannot write to the output folder {path}: permission denied; choose another --out")
    return path


def digest(path: Path) -> str:
    """Return a short text that changes with a file's content; of what cannot be read, its path: reading it will say."""
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest()[:16]
    except InvalidInput:
        return str(path)


def _same_question(path: Path, asked: Mapping[str, Any]) -> None:
    record = _record(path)
    before = None if record is None else record.get(ASKED)
    now = json.loads(json.dumps(asked))
    if not isinstance(before, dict):
        told = "another question"
    else:
        # What is not there was not asked: an option of later versions was left at its default.
        names = [name for name in {**now, **before} if before.get(name) != now.get(name)]
        if not names:
            return
        told = ", ".join(f"{name} {_short(before.get(name))} there, {_short(now.get(name))} now" for name in names)
    raise InvalidInput(f"{path} answers another question ({told}): give another --out, or --force to replace it")


def _short(value: Any) -> str:
    text = "the default" if value is None else str(value)
    return text if len(text) <= 60 else text[:59] + "…"


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:  # a name too long, for example
        raise InvalidInput(f"cannot write {path}: {error.strerror}; give the picture a shorter name") from error
    return True


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _ours(path: Path) -> bool:
    """Tell by its content whether a file is one that a command of ours wrote."""
    try:
        if not path.is_file():
            return False
        if path.suffix == ".png":
            with path.open("rb") as file:
                return MARK in file.read(1024)
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                return {"record.npy", "attributions.npy"} <= set(archive.namelist())
        return _record(path) is not None
    except (OSError, zipfile.BadZipFile):
        return False


def _record(path: Path) -> Any:
    """Return the record in a JSON file, the first of a list; None where it is none of ours."""
    try:
        if path.stat().st_size > MOST_RECORD:
            return None
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    first = found[0] if isinstance(found, list) and found else found
    versions = first.get("versions") if isinstance(first, dict) else None
    return first if isinstance(versions, dict) and "pathattr" in versions else None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
