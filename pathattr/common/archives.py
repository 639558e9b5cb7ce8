"""Named arrays and a record in one .npz file that says what it is, and is trusted no further than it can be checked.

The member `record` is JSON in UTF-8: the file's kind and format, the dtype, shape and SHA-256 of every other member,
and what the kind keeps besides; `checksum` is the record's own. NumPy reads it too, without pickle.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.lib import format as npy
from numpy.typing import ArrayLike, NDArray

from pathattr.common.files import npz_bytes, open_plain, plain
from pathattr.errors import InvalidInput

_MOST_RECORD = 2**26  # bytes of JSON: a thousand times what settings take
_ALWAYS = 2**28  # bytes that any machine can spare
_RATIO = 100  # numbers that mean something do not shrink to a hundredth


class Unreadable(Exception):
    """A file is not what it should be; the text says in what."""


class TooLarge(Unreadable):
    """A file would take more memory than makes sense."""


class Header(NamedTuple):
    """What an array is, known before it is read."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """How many bytes the array takes."""
        size = self.dtype.itemsize
        for side in self.shape:  # Python's whole numbers do not overflow
            size *= side
        return size


def packed(kind: str, version: int, record: Mapping[str, Any], arrays: Mapping[str, ArrayLike]) -> bytes:
    """Return a record and named arrays as the bytes of one file; the same bytes for the same.

    Raises InvalidInput for arrays of Python objects and for a record that JSON cannot hold.
    """
    whole = {name: np.asarray(value, order="C") for name, value in arrays.items()}
    for name, value in whole.items():
        if value.dtype.kind not in "biufc":
            raise InvalidInput(f"cannot store {name!r}: it is {value.dtype}; give an array of numbers")
    members = {name: [value.dtype.str, list(value.shape), _digest(value)] for name, value in whole.items()}
    try:
        text = json.dumps({"kind": kind, "format": version, "members": members, **record}, default=plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"cannot store what the file must tell of itself: {error}; give plain values") from error
    told = np.frombuffer(text.encode(), dtype=np.uint8)
    checksum = np.frombuffer(hashlib.sha256(told.data).hexdigest().encode(), dtype=np.uint8)
    return npz_bytes(**whole, record=told, checksum=checksum)


class Archive:
    """A file of `packed`, open for reading: members are read when they are asked for, and no others.

    `kind` and `formats` are what is expected. Files of a format in `unsigned` came before kinds and checksums: they are
    read as far as they can be checked. Every failure is an OSError, or Unreadable with what is wrong.
    """

    def __init__(
        self, path: str | os.PathLike[str], kind: str, formats: tuple[int, ...], unsigned: tuple[int, ...] = ()
    ) -> None:
        self._file = open_plain(path)
        try:
            self.size = os.fstat(self._file.fileno()).st_size
            try:
                self._zip = zipfile.ZipFile(self._file)
            except Exception as error:  # of a damaged file the reader raises anything
                raise Unreadable(f"it is no archive of arrays ({_said(error)})") from error
            self._told: Mapping[str, Any] | None = None  # what the record says of the others, once it has been read
            self.record = self._record(kind, formats, unsigned)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def header(self, name: str) -> Header:
        """Return what a member says it is, after it has been compared with what the record says of it."""
        with self._opened(name) as member:
            header, _, _ = _header(name, member)
        if self._told is not None:
            expected = self._told.get(name)
            if not isinstance(expected, list) or len(expected) != 3:
                raise Unreadable(f"its record does not know {name!r}")
            if [header.dtype.str, list(header.shape)] != expected[:2]:
                raise Unreadable(f"{name!r} is {header.dtype} {header.shape}, and its record says {expected[:2]}")
        return header

    def array(self, name: str) -> NDArray[Any]:
        """Return a member, compared with its checksum."""
        expected = self.header(name)
        with self._opened(name) as member:
            header, by_columns, start = _header(name, member)
            if header != expected or self._zip.getinfo(f"{name}.npy").file_size != start + header.size:
                raise Unreadable(f"{name!r} is not as long as an array of shape {header.shape} is")
            array = np.empty(header.shape[::-1] if by_columns else header.shape, header.dtype)
            view = array.reshape(-1).view(np.uint8).data
            try:
                done = 0
                while done < len(view):
                    count = member.readinto(view[done : done + 2**24])
                    if not count:
                        raise Unreadable(f"{name!r} is cut off")
                    done += count
                member.read(1)  # only at its end is a member compared with the archive's own checksum
            except Unreadable:
                raise
            except Exception as error:
                raise Unreadable(f"{name!r} is damaged ({_said(error)})") from error
        array = array.T if by_columns else array
        if self._told is not None and _digest(array) != self._told[name][2]:
            raise Unreadable(f"{name!r} does not agree with its checksum")
        return array

    def check_size(self, headers: Mapping[str, Header], most: int | None) -> None:
        """Raise TooLarge where members take more memory than makes sense for the file, or than `most` bytes."""
        size = sum(header.size for header in headers.values())
        bound = max(_ALWAYS, _RATIO * self.size) if most is None else most
        if size > bound:
            raise TooLarge(f"its {self.size} bytes would be unpacked to {size}, more than the {bound} that are allowed")

    def _record(self, kind: str, formats: tuple[int, ...], unsigned: tuple[int, ...]) -> dict[str, Any]:
        header = self.header("record")
        if header.dtype != np.uint8 or len(header.shape) != 1 or header.size > _MOST_RECORD:
            raise Unreadable("its record is not one")
        told = self.array("record")
        try:
            record = json.loads(told.tobytes())
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"its record cannot be read ({_said(error)})") from error
        version = record.get("format") if isinstance(record, dict) else None
        if not isinstance(version, int) or isinstance(version, bool):
            raise Unreadable("its record does not tell its format")
        there = record.get("kind")
        if there is None and version in unsigned:
            return record
        if there != kind:
            raise Unreadable(f"it holds {there!r}" if isinstance(there, str) else "its record does not tell its kind")
        if version not in formats:
            known = " and ".join(map(str, (*unsigned, *formats)))
            raise Unreadable(f"it was saved in format {version}, and this version reads {known}")
        checksum = self.header("checksum")
        if checksum.dtype != np.uint8 or checksum.shape != (64,):
            raise Unreadable("its checksum is not one")
        if self.array("checksum").tobytes().decode("ascii", "replace") != hashlib.sha256(told.data).hexdigest():
            raise Unreadable("its record does not agree with its checksum")
        members = record.get("members")
        if not isinstance(members, dict):
            raise Unreadable("its record does not tell its members")
        self._told = members
        return record

    def _opened(self, name: str) -> Any:
        try:
            info = self._zip.getinfo(f"{name}.npy")
        except KeyError:
            raise Unreadable(f"it holds no {name!r}") from None
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Unreadable(f"{name!r} is packed in a way that is not ours")
        try:
            return self._zip.open(info)
        except Exception as error:
            raise Unreadable(f"{name!r} is damaged ({_said(error)})") from error


def _header(name: str, member: Any) -> tuple[Header, bool, int]:
    """Return an array's header, whether it is stored by columns, and where its data begin."""
    try:
        version = npy.read_magic(member)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
        shape, fortran, dtype = read(member)
    except Exception as error:
        raise Unreadable(f"{name!r} is no array ({_said(error)})") from error
    if dtype.hasobject or dtype.fields is not None:
        raise Unreadable(f"{name!r} holds Python objects, which are never read")
    return Header(shape, dtype), fortran, member.tell()


def _digest(array: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data).hexdigest()


def _said(error: Exception) -> str:
    return str(error).split("\n")[0][:200] or type(error).__name__
