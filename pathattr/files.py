"""Files out: whole or not at all."""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pathattr.errors import InvalidInput


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path` so that whatever happens, the file there is the old one or the whole new one.

    Missing folders are made; a symbolic link is written through; an existing file keeps its permissions.
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
        temporary = target.parent / f".{secrets.token_hex(8)}.tmp"
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)  # noqa: PTH105  # Path.replace is no more than this
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


def write_json(path: str | os.PathLike[str], record: object) -> None:
    """Write a record as readable UTF-8 JSON, atomically.

    NumPy scalars and arrays become plain numbers and lists. Raises InvalidInput for what JSON cannot
    hold, NaN and infinity among it.
    """
    try:
        text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(
            f"cannot write {path} as JSON: {error}; give text, finite numbers, lists and dicts"
        ) from error
    # A file name that is not Unicode holds lone surrogates; escaped by a backslash they are valid JSON.
    write_atomically(path, (text + "\n").encode("utf-8", "backslashreplace"))


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


def _plain(value: object) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON")
