from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from pathattr.common.files import npz_bytes, read_plain, write_atomically, write_json
from pathattr.common.locking import hold
from pathattr.errors import InvalidInput


def test_writes_into_a_new_folder_and_replaces_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "out.bin"
    write_atomically(target, b"first")
    write_atomically(str(target), b"second")
    assert target.read_bytes() == b"second"
    assert [entry.name for entry in target.parent.iterdir()] == ["out.bin"]


@pytest.mark.parametrize("place", ["os.replace", "os.fsync"])
@pytest.mark.parametrize(
    ("failure", "raised", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), InvalidInput, "No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied"), InvalidInput, "Permission denied"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
)
@pytest.mark.parametrize("existing", [None, b"old"])
def test_a_failure_leaves_the_old_state_and_no_rest(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    failure: BaseException,
    raised: type[BaseException],
    said: str | None,
    existing: bytes | None,
) -> None:
    target = tmp_path / "out.bin"
    if existing is not None:
        target.write_bytes(existing)

    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(place, fail)
    with pytest.raises(raised, match=said) as caught:
        write_atomically(target, b"new")
    if raised is InvalidInput:
        assert str(target) in str(caught.value)
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == (
        {} if existing is None else {"out.bin": existing}
    )


KILLED = """
import os, signal, sys
from unittest import mock
from pathattr.common.files import write_atomically
with mock.patch("pathattr.common.files.os.fsync", lambda _: os.kill(os.getpid(), signal.SIGKILL)):
    write_atomically(sys.argv[1], b"half")
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX's")
@pytest.mark.parametrize("name", ["out.bin", "x" * 250])
def test_what_a_killed_write_leaves_goes_with_the_next_write_of_that_file(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    target.write_bytes(b"old")
    for _ in range(2):
        killed = subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False)
        assert killed.returncode == -signal.SIGKILL
    assert target.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2  # the second removed what the first left
    write_atomically(tmp_path / "other", b"new")
    assert len(list(tmp_path.iterdir())) == 3  # not ours to remove
    write_atomically(target, b"new")
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {name: b"new", "other": b"new"}


def test_many_writers_of_one_file_leave_one_whole_file_and_no_rest(tmp_path: Path) -> None:
    target, failures = tmp_path / "out.bin", []

    def write(data: bytes) -> None:
        try:
            for _ in range(30):
                write_atomically(target, data)
        except BaseException as error:
            failures.append(error)

    contents = [bytes([k]) * 1000 for k in range(8)]
    threads = [threading.Thread(target=write, args=(data,)) for data in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert target.read_bytes() in contents
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.bin"]


def test_of_many_writers_that_replace_nothing_one_succeeds(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    barrier, wrote = threading.Barrier(8), []

    def write(data: bytes) -> None:
        barrier.wait()
        if write_atomically(target, data, replace=False):
            wrote.append(data)

    threads = [threading.Thread(target=write, args=(bytes([k]) * 1000,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrote) == 1
    assert target.read_bytes() == wrote[0]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.bin"]


def test_without_links_a_file_that_is_there_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.link", fail)
    assert write_atomically(tmp_path / "a", b"first", replace=False)
    assert not write_atomically(tmp_path / "a", b"second", replace=False)
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {"a": b"first"}


def test_a_file_is_held_once_and_free_when_it_is_closed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with (tmp_path / "a").open("rb") as first, (tmp_path / "a").open("rb") as second:
        assert hold(first)
        assert not hold(second)
        first.close()
        assert hold(second)


def test_only_plain_files_of_a_bounded_size_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_plain(tmp_path / "a", most=5) == b"12345"
    with pytest.raises(OSError, match="it has 5 bytes, and 4 are the most"):
        read_plain(tmp_path / "a", most=4)
    with pytest.raises(OSError, match="it is a folder"):
        read_plain(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_plain(tmp_path / "b")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes in the file system are POSIX's")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(OSError, match="it is not a plain file"):
            read_plain(path)


def test_a_path_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"kept")
    with pytest.raises(InvalidInput, match="cannot write"):
        write_atomically(tmp_path / "file" / "out.bin", b"new")
    assert (tmp_path / "file").read_bytes() == b"kept"


def test_a_folder_a_device_and_a_broken_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="it is a folder"):
        write_atomically(tmp_path, b"new")
    with pytest.raises(InvalidInput, match="not a plain file"):
        write_atomically(os.devnull, b"new")
    assert not Path(os.devnull).is_file()
    with pytest.raises(InvalidInput, match="null"):
        write_atomically("a\0b", b"new")
    with pytest.raises(InvalidInput, match="cannot write"):
        write_atomically(tmp_path / ("x" * 300), b"new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions and links")
def test_keeps_permissions_and_writes_through_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    real.chmod(0o640)
    link.symlink_to(real)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert real.stat().st_mode & 0o777 == 0o640


def test_json_holds_numpy_and_every_text(tmp_path: Path) -> None:
    target = tmp_path / "record.json"
    record = {
        "gap": np.float32(0.5),
        "n": np.int64(3),
        "shape": np.arange(2),
        "name": "γ(α)",
        "path": "\udcff",
    }
    write_json(target, record)
    assert json.loads(target.read_text("utf-8")) == {
        "gap": 0.5,
        "n": 3,
        "shape": [0, 1],
        "name": "γ(α)",
        "path": "\udcff",
    }
    assert "γ(α)" in target.read_text("utf-8")


@pytest.mark.parametrize("record", [float("nan"), [np.inf], {"a": object()}, {(1, 2): 3}, 1j])
def test_json_refuses_what_it_cannot_hold(tmp_path: Path, record: object) -> None:
    with pytest.raises(InvalidInput, match="as JSON"):
        write_json(tmp_path / "record.json", record)
    assert list(tmp_path.iterdir()) == []


def test_npz_round_trip_without_pickle() -> None:
    arrays = {"file": np.arange(6.0).reshape(2, 3), "allow_pickle": np.array("text"), "x": np.array(3)}
    data = npz_bytes(**arrays)
    assert data == npz_bytes(**arrays)
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        assert set(stored.files) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(stored[name], array)


@pytest.mark.parametrize("value", [np.array([None]), np.zeros(1, dtype=[("a", object)]), [[1], [2, 3]]])
def test_npz_refuses_objects(value: np.ndarray) -> None:
    with pytest.raises(InvalidInput, match="'bad'"):
        npz_bytes(bad=value)
