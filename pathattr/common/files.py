"""Files in and out: plain files only; written whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import secrets
import shutil
import stat
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike

from pathattr.common.locking import hold, remove_if_left
from pathattr.errors import InvalidInput


def path_of(what: str, path: object) -> Path:
    """Return a path that a user gave for `what`; raise InvalidInput for what is none."""
    if not isinstance(path, str | os.PathLike):
        raise InvalidInput(f"{what} takes the path of a file, as text or a Path; got {path!r:.80}")
    return Path(os.fsdecode(path))


def open_plain(path: str | os.PathLike[str]) -> IO[bytes]:
    """Open a plain file for reading.

    Raises OSError where that cannot be done, and for a pipe, a device or a folder, which may never end, or never begin.
    """
    # Without O_NONBLOCK the opening of a pipe waits for its other end; a plain file does not mind it.
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    mode = os.fstat(number).st_mode
    if not stat.S_ISREG(mode):
        os.close(number)
        raise OSError(None, "it is a folder" if stat.S_ISDIR(mode) else "it is not a plain file")
    return os.fdopen(number, "rb")


def read_plain(path: str | os.PathLike[str], most: int | None = None) -> bytes:
    """Return the bytes of a plain file of at most `most` bytes; raises OSError as `open_plain` does."""
    with open_plain(path) as file:
        size = os.fstat(file.fileno()).st_size
        if most is not None and size > most:
            raise OSError(None, f"it has {size} bytes, and {most} are the most that make sense")
        return file.read()


def write_atomically(path: str | os.PathLike[str], data: bytes, *, replace: bool = True) -> bool:
    """Write `data` to `path` so that whatever happens, the file there is the old one or the whole new one.

    Missing folders are made; a symbolic link is written through; an existing file keeps its permissions. What earlier
    writes of this file left when they were killed is removed. With `replace=False` a file that is there, or comes to be
    there in the meantime, is left as it is, and the answer is False.

    Raises InvalidInput, with the reason, where the file cannot be written.
    """
    temporary: Path | None = None
    try:
        target = Path(os.path.realpath(path))
        # os.replace would swap a device such as /dev/null for a plain file.
        if target.exists() and not target.is_file():
            what = "a folder" if target.is_dir() else "not a plain file"
            raise InvalidInput(f"cannot write {path}: it is {what}; give the name of a file")
        target.parent.mkdir(parents=True, exist_ok=True)
        # By the name's digest: a temporary name made of a long one might be too long.
        tag = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
        for left in target.parent.glob(f".{tag}.*.tmp"):
            remove_if_left(left)
        while True:
            temporary = target.parent / f".{tag}.{secrets.token_hex(8)}.tmp"
            with temporary.open("xb") as file:
                if not _held(file, temporary):
                    continue
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                if os.name != "nt":  # there an open file cannot be renamed
                    return _put(temporary, target, replace)
            return _put(temporary, target, replace)
    except BaseException as error:  # KeyboardInterrupt leaves nothing behind either
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        if isinstance(error, OSError | ValueError) and not isinstance(error, InvalidInput):
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise InvalidInput(
                f"cannot write {path}: {reason}; choose a place that can be written and has room"
            ) from error
        raise


def _held(file: IO[bytes], path: Path) -> bool:
    """Hold a new temporary file; False where another write took it for a rest and removed it before it was held."""
    with contextlib.suppress(OSError):  # a file system without locks: nobody can remove it there
        hold(file, wait=True)
    return path.exists()


def _put(temporary: Path, target: Path, replace: bool) -> bool:
    """Give the whole new file its name."""
    if not replace:
        try:
            os.link(temporary, target)  # fails where the name is taken, unlike a rename
        except OSError:
            # Where the file system has no links, all that can be done is to look first.
            if target.exists():
                temporary.unlink()
                return False
        else:
            temporary.unlink()
            return True
    elif target.exists():
        shutil.copymode(target, temporary)
    os.replace(temporary, target)  # noqa: PTH105  # Path.replace is no more than this
    return True


def write_json(path: str | os.PathLike[str], record: object, *, replace: bool = True) -> bool:
    """Write a record as readable UTF-8 JSON, atomically, as `write_atomically` does.

    NumPy scalars and arrays become plain numbers and lists. Raises InvalidInput for what JSON cannot
    hold, NaN and infinity among it.
    """
    try:
        text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False, default=plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(
            f"cannot write {path} as JSON: {error}; give text, finite numbers, lists and dicts"
        ) from error
    # A file name that is not Unicode holds lone surrogates; escaped by a backslash they are valid JSON.
    return write_atomically(path, (text + "\n").encode("utf-8", "backslashreplace"), replace=replace)


def npz_bytes(**arrays: ArrayLike) -> bytes:
    """Return named arrays as the bytes of a compressed .npz file that loads without pickle.

    The same arrays give the same bytes. Raises InvalidInput for arrays of Python objects.
    """
    buffer = io.BytesIO()
    # Not np.savez_compressed: it cannot store arrays called "file" or "allow_pickle".
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in arrays.items():
            try:
                array = np.asanyarray(value)
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
            except ValueError as error:
                raise InvalidInput(
                    f"cannot store {name!r} in .npz: {error}; give an array of numbers or text"
                ) from error
    return buffer.getvalue()


def plain(value: object) -> Any:
    """Return a NumPy scalar or array as plain numbers, for JSON; raise TypeError for all else."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON")
