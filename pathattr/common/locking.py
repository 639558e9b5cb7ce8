"""Locks on open files that end with their process, however it ends: nothing stale can be left."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import IO, Any

fcntl: Any
msvcrt: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
try:
    import msvcrt
except ImportError:  # everywhere else
    msvcrt = None

_BEYOND = 2**30  # Windows keeps others from reading what is locked: a byte that no file of ours has


def hold(file: IO[bytes], *, wait: bool = False) -> bool:
    """Lock an open file until it is closed; return False where somebody else holds it.

    Two openings of one file exclude each other, in one process as in two. Raises OSError where the file system has no
    locks.
    """
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True
    file.seek(_BEYOND)
    try:
        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
    except PermissionError:
        return False
    finally:
        file.seek(0)
    return True


def remove_if_left(path: str | os.PathLike[str]) -> None:
    """Remove a file whose writer, who held it, is gone; leave one that is held or cannot be removed."""
    with suppress(OSError), open(path, "rb") as file:  # noqa: PTH123  # any path
        if hold(file):
            os.unlink(path)  # noqa: PTH108  # any path
