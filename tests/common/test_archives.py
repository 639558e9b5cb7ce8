"""Saved results are trusted no further than they can be checked: what does not fit, is damaged or bursts is refused."""

import dataclasses
import io
import json
import os
import threading
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathattr import Attribution, InvalidInput, NumpyModel, PathExplainer
from pathattr.common.archives import Archive, Unreadable, packed
from pathattr.results.attribution import FORMAT, KIND
from reference import SmoothModel

SHAPE = (3, 8, 6)
SMOOTH = SmoothModel(SHAPE)
EXPLAIN = PathExplainer(NumpyModel(SMOOTH.value, SMOOTH.vjp), family="svd", steps=6)
RESULT = EXPLAIN(np.random.default_rng(1).normal(size=(2, *SHAPE)))


def parts(result=RESULT):
    """What `save` keeps, as arrays and record."""
    names = [field.name for field in dataclasses.fields(result)]
    plain = ("components", "settings", "forward_passes", "channel_axis")
    arrays = {name: np.asarray(getattr(result, name)) for name in names if name not in plain}
    arrays |= {
        f"component_{kind}_{k}": part
        for kind in ("attributions", "strengths")
        for k, part in enumerate(getattr(result.components, kind))
    }
    record = {"settings": {"family": "x"}, "forward_passes": 3, "channel_axis": 0, "terms": len(result.components)}
    return arrays, record


def of_release_0_1(arrays, record):
    """A file as release 0.1 wrote it: neither kind nor checksums."""
    buffer = io.BytesIO()
    told = np.frombuffer(json.dumps({"format": 1} | record).encode(), dtype=np.uint8)
    np.savez_compressed(buffer, **arrays, record=told)
    return buffer.getvalue()


def of_today(arrays, record):
    return packed(KIND, FORMAT, record, arrays)


BOTH = pytest.mark.parametrize("written", [of_release_0_1, of_today])


def refused(path, said):
    with pytest.raises(InvalidInput, match=said) as caught:
        Attribution.load(path)
    assert "allow_pickle" not in str(caught.value)
    assert "\n" not in str(caught.value)


@BOTH
def test_whole_files_are_read(tmp_path, written):
    (tmp_path / "a").write_bytes(written(*parts()))
    found = Attribution.load(tmp_path / "a")
    np.testing.assert_array_equal(found.attributions, RESULT.attributions)
    assert found.settings == {"family": "x"}
    found.attributions[0] = 0.0  # the user's own, to change at will


def test_arrays_that_release_0_1_stored_by_columns_are_read(tmp_path):
    arrays, record = parts()
    arrays = {name: np.asfortranarray(array) for name, array in arrays.items()}
    (tmp_path / "a").write_bytes(of_release_0_1(arrays, record))
    np.testing.assert_array_equal(Attribution.load(tmp_path / "a").attributions, RESULT.attributions)


@BOTH
@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("score", np.zeros(3), r"score has shape \(3,\) beside attributions of \(2, 3, 8, 6\)"),
        ("gap", np.zeros((2, 1)), r"gap has shape \(2, 1\)"),
        ("gap", np.array(0.0), r"gap has shape \(\)"),
        ("error", np.zeros(2, int), "error must be floating-point numbers and is int64"),
        ("lowest", np.zeros(2, complex), "lowest must be floating-point numbers and is complex128"),
        ("target", np.zeros(2), "target must be whole numbers and is float64"),
        ("target", np.zeros((2, 1, 1, 1), int), r"target has shape \(2, 1, 1, 1\)"),
        ("evaluations", np.zeros(2, bool), "evaluations must be whole numbers and is bool"),
        (
            "attributions",
            np.zeros((2, *SHAPE), complex),
            "attributions must be floating-point numbers and is complex128",
        ),
        ("attributions", np.zeros((2, *SHAPE), int), "attributions must be floating-point numbers and is int64"),
        ("attributions", np.zeros((3, *SHAPE)), r"score has shape \(2,\) beside attributions of \(3, 3, 8, 6\)"),
        ("attributions", np.zeros((0, *SHAPE)), "with at least one value each"),
        ("attributions", np.zeros((2, 0, 4)), "with at least one value each"),
        ("attributions", np.zeros(2), r"attributions are \(batch, ...\)"),
        ("component_attributions_0", np.zeros((3, 3, 6)), "component_attributions_0 has shape"),
        ("component_strengths_0", np.zeros((2, 3, 5)), r"components of shape .* have strengths of shape"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, written, name, array, said):
    arrays, record = parts()
    (tmp_path / "a").write_bytes(written(arrays | {name: array}, record))
    refused(tmp_path / "a", said)


def test_text_is_refused(tmp_path):
    arrays, record = parts()
    (tmp_path / "a").write_bytes(of_release_0_1(arrays | {"attributions": np.full((2, *SHAPE), "text")}, record))
    refused(tmp_path / "a", "attributions must be floating-point numbers and is <U4")


@BOTH
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"channel_axis": 99}, "channel_axis 99 is no axis of an example"),
        ({"channel_axis": 3}, "channel_axis 3 is no axis"),
        ({"channel_axis": -1}, "channel_axis -1 is no axis"),
        ({"channel_axis": "first"}, "channel_axis 'first' is no axis"),
        ({"channel_axis": True}, "channel_axis True is no axis"),
        ({"channel_axis": 1.0}, "channel_axis 1.0 is no axis"),
        ({"settings": [1, 2]}, "settings are names with values"),
        ({"settings": None}, "settings are names with values"),
        ({"forward_passes": -1}, "forward_passes is a count"),
        ({"forward_passes": "many"}, "forward_passes is a count"),
        ({"terms": 2}, "it holds no 'component_attributions_1'"),
        ({"terms": -1}, "it tells of -1 terms"),
        ({"terms": 10**12}, "it tells of 1000000000000 terms"),
        ({"terms": "1"}, "it tells of '1' terms"),
    ],
)
def test_records_that_do_not_fit_are_refused(tmp_path, written, changes, said):
    arrays, record = parts()
    (tmp_path / "a").write_bytes(written(arrays, record | changes))
    refused(tmp_path / "a", said)


@BOTH
def test_python_objects_are_refused_without_being_read(tmp_path, written):
    arrays, record = parts()
    buffer = io.BytesIO()
    np.save(buffer, np.array([os.getcwd] * 2, dtype=object), allow_pickle=True)
    replaced(tmp_path / "a", written(arrays, record), "score", buffer.getvalue())
    refused(tmp_path / "a", "'score' holds Python objects, which are never read")


def replaced(path, data, name, member):
    """Write an archive with one member replaced."""
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info.filename, member if info.filename == f"{name}.npy" else old.read(info))


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_a_member_of_another_file_is_noticed(tmp_path):
    replaced(tmp_path / "a", of_today(*parts()), "score", npy(RESULT.score + 1))
    refused(tmp_path / "a", "'score' does not agree with its checksum")
    told = np.frombuffer(json.dumps({"kind": KIND, "format": FORMAT, "members": {}}).encode(), np.uint8)
    replaced(tmp_path / "a", of_today(*parts()), "record", npy(told))
    refused(tmp_path / "a", "its record does not agree with its checksum")


@given(st.data())
def test_a_flipped_bit_changes_nothing_or_is_noticed(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("flipped") / "a"
    RESULT.save(path)
    whole = path.read_bytes()
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    flipped = bytearray(whole)
    flipped[bit // 8] ^= 1 << bit % 8
    path.write_bytes(flipped)
    try:
        found = Attribution.load(path)
    except InvalidInput:
        return
    for field in dataclasses.fields(RESULT):
        if field.name != "components":
            np.testing.assert_array_equal(getattr(found, field.name), getattr(RESULT, field.name))
    np.testing.assert_array_equal(found.components[0], RESULT.components[0])


@given(st.binary(max_size=200), st.booleans())
def test_foreign_bytes_are_refused_with_a_sentence(tmp_path_factory, data, inside):
    path = tmp_path_factory.mktemp("foreign") / "a"
    path.write_bytes(data)
    if inside:
        replaced(path, of_today(*parts()), "gap", data)
    with pytest.raises(InvalidInput, match=r"is not a file that Attribution\.save wrote, or it is damaged"):
        Attribution.load(path)


# Memory


def bomb(path, name, size):
    """Write a result in which one member is `size` bytes of compressed zeros, which no array here ever held."""
    arrays, record = parts()
    data = of_release_0_1(arrays, record)
    shape = (2, 3, size // 48, 1) if name == "attributions" else (size // 8,)
    header = {"descr": "<f8", "fortran_order": False, "shape": shape}
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            if info.filename != f"{name}.npy":
                new.writestr(info.filename, old.read(info))
        with new.open(f"{name}.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, header)
            for _ in range(size // 2**20):
                member.write(bytes(2**20))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("score", "score has shape"),
        ("attributions", r"would be unpacked to .*allow more with max_bytes"),
        ("record", "its record is not one"),
        ("extra", None),  # not asked for, and so not read
    ],
)
def test_zeros_that_were_compressed_are_not_unpacked(tmp_path, monkeypatch, name, said):
    monkeypatch.setattr("pathattr.common.archives._ALWAYS", 2**20)
    monkeypatch.setattr("pathattr.common.archives._MOST_RECORD", 2**20)
    bomb(tmp_path / "a", name, 48 * 2**20)
    tracemalloc.start()
    try:
        if said is None:
            Attribution.load(tmp_path / "a")
        else:
            with pytest.raises(InvalidInput, match=said):
                Attribution.load(tmp_path / "a")
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_what_is_too_large_by_default_is_read_where_more_is_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr("pathattr.common.archives._ALWAYS", 1000)
    zeros = dataclasses.replace(RESULT, attributions=np.zeros((2, 3, 400, 400)), components=None)
    zeros.save(tmp_path / "a")
    with pytest.raises(InvalidInput, match=r"is not read: its .*; if it is yours, allow more with max_bytes=\.\.\."):
        Attribution.load(tmp_path / "a")
    assert not Attribution.load(tmp_path / "a", max_bytes=10**7).attributions.any()
    for wrong in ("1", 0, 1.5):
        with pytest.raises(InvalidInput, match="max_bytes must be a whole number of at least 1"):
            Attribution.load(tmp_path / "a", max_bytes=wrong)


def test_a_member_longer_or_shorter_than_its_shape_is_refused(tmp_path):
    for member in (npy(RESULT.score) + b"more", npy(RESULT.score)[:-1]):
        replaced(tmp_path / "a", of_release_0_1(*parts()), "score", member)
        refused(tmp_path / "a", "'score' is not as long as an array of shape")


def test_a_shape_that_no_machine_holds_is_refused(tmp_path):
    buffer = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (2, 2**40, 2**40)}
    np.lib.format.write_array_header_1_0(buffer, header)
    replaced(tmp_path / "a", of_release_0_1(*parts()), "attributions", buffer.getvalue())
    with pytest.raises(InvalidInput, match=r"channel_axis|would be unpacked to"):
        Attribution.load(tmp_path / "a")


def test_a_record_nested_without_end_is_refused(tmp_path):
    deep = np.frombuffer(b"[" * 100_000, np.uint8)
    replaced(tmp_path / "a", of_today(*parts()), "record", npy(deep))
    refused(tmp_path / "a", "its record cannot be read")


# Places


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes in the file system are POSIX's")
def test_a_pipe_and_a_device_are_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    done = []

    def load(path):
        refused(path, "it is not a plain file")
        done.append(path)

    for path in (tmp_path / "pipe", "/dev/zero"):
        thread = threading.Thread(target=load, args=(path,), daemon=True)
        thread.start()
        thread.join(20)  # it would hang for good
    assert len(done) == 2


@pytest.mark.parametrize("path", [5, None, 1.5, ["a"], b"a"])
def test_a_path_is_text_or_a_path(tmp_path, path):
    with pytest.raises(InvalidInput, match=r"Attribution.save takes the path of a file, as text or a Path; got"):
        RESULT.save(path)
    with pytest.raises(InvalidInput, match=r"Attribution.load takes the path of a file"):
        Attribution.load(path)


# What cannot be read back is not written


def test_settings_of_numpy_are_saved_as_plain_numbers(tmp_path):
    model = NumpyModel(SMOOTH.value, SMOOTH.vjp)
    explain = PathExplainer(model, steps=4, class_axis=np.int64(1), seed=np.int32(3), channel_axis=np.int64(1))
    result = explain(np.ones((1, *SHAPE)))
    result.save(tmp_path / "a")
    found = Attribution.load(tmp_path / "a")
    assert found.settings["class_axis"] == 1
    assert type(found.settings["class_axis"]) is int
    assert found.channel_axis == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"settings": {"a": object()}}, "object is not JSON; give plain values"),
        ({"settings": {(1, 2): 3}}, "give plain values"),
        ({"settings": "svd"}, "settings are names with values"),
        ({"score": np.zeros(5)}, r"this result cannot be saved: score has shape \(5,\)"),
        ({"channel_axis": 7}, "channel_axis 7 is no axis"),
        ({"attributions": np.zeros((2, *SHAPE), complex)}, "attributions must be floating-point"),
        ({"attributions": np.ma.masked_less(RESULT.attributions, 0)}, "entries masked"),
    ],
)
def test_a_result_that_could_not_be_read_back_is_not_saved(tmp_path, changes, said):
    with pytest.raises(InvalidInput, match=said):
        dataclasses.replace(RESULT, **changes).save(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_half_precision_that_numpy_lacks_is_saved_as_float32(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    given = RESULT.attributions.astype(ml_dtypes.bfloat16)
    result = dataclasses.replace(RESULT, attributions=given)
    result.save(tmp_path / "a")
    found = Attribution.load(tmp_path / "a").attributions
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, given.astype(np.float32))
    assert result.heatmap().shape == (2, 8, 6)


# The archive itself


def test_equal_parts_make_equal_files_that_numpy_reads(tmp_path):
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array(3), "c": np.zeros((0, 4), np.float32)}
    data = packed("some kind", 1, {"name": "γ"}, arrays)
    assert data == packed("some kind", 1, {"name": "γ"}, {name: array.copy() for name, array in arrays.items()})
    (tmp_path / "a").write_bytes(data)
    with np.load(tmp_path / "a", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["a"], arrays["a"])
    with Archive(tmp_path / "a", "some kind", (1,)) as archive:
        assert archive.record["name"] == "γ"
        for name, array in arrays.items():
            found = archive.array(name)
            assert (found.dtype, found.shape) == (array.dtype, array.shape)
            np.testing.assert_array_equal(found, array)
        with pytest.raises(Unreadable, match="it holds no 'd'"):
            archive.array("d")
    with pytest.raises(Unreadable, match="it holds 'some kind'"):
        Archive(tmp_path / "a", "another", (1,))


def test_text_cannot_be_packed():
    with pytest.raises(InvalidInput, match="cannot store 'a': it is <U1; give an array of numbers"):
        packed("some kind", 1, {}, {"a": np.array(["x"])})
