"""Where a study's examples come from: folders, CSV files, scenes, arrays; masks go with their pictures."""

import errno
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pathattr import scenes
from pathattr.errors import InvalidInput
from pathattr.pictures.image_model import ImageModel, prepare
from pathattr.pictures.preprocessing import Preprocessing
from pathattr.studies import Arrays, collected
from pathattr.studies.data import evenly, prepared_mask, read_mask, spread

MODEL = ImageModel(None, 16, Preprocessing(0.5, 0.25), ["cat", "dog", "3"])


def save(path, height=20, width=30, value=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), value, np.uint8)).save(path)
    return path


def folder(tmp_path, **counts):
    for name, count in counts.items():
        for k in range(count):
            save(tmp_path / name / f"{k:02d}.png", value=k)
    return str(tmp_path)


def table(tmp_path, *lines):
    path = tmp_path / "data.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


# --- Which examples ---------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(1, 70))
def test_a_limit_spreads_over_the_classes_as_evenly_as_they_allow(labels, limit):
    chosen = spread(labels, limit)
    assert len(chosen) == len(set(chosen)) == min(limit, len(labels))
    taken = {label: sum(labels[row] == label for row in chosen) for label in set(labels)}
    for label, count in taken.items():
        # No class has two more than another that still had examples to give.
        assert all(count <= other + 1 or other == labels.count(k) for k, other in taken.items()), label
    assert chosen == spread(labels, limit)


@given(st.lists(st.integers(0, 3), min_size=4, max_size=40))
def test_the_first_examples_are_of_different_classes(labels):
    classes = len(set(labels))
    first = [labels[row] for row in spread(labels, None)][:classes]
    assert len(set(first)) == classes


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))))
def test_evenly_spaced_numbers_leave_no_gap_twice_another(pair):
    count, wanted = pair
    numbers = evenly(count, wanted)
    assert len(set(numbers)) == wanted
    assert 0 <= numbers[0] <= numbers[-1] < count
    gaps = np.diff(numbers)
    assert not len(gaps) or gaps.max() - gaps.min() <= 1


def test_unlabelled_examples_are_spread_over_the_list():
    assert spread([None] * 9, 3) == [1, 4, 7]


# --- Folders ----------------------------------------------------------------------------------------------


def test_a_folder_names_its_classes_or_their_indices(tmp_path):
    data = collected(folder(tmp_path, dog=2, CAT=1, **{"2": 1}), MODEL, 1)
    assert dict(zip(data.names, data.labels, strict=True)) == {
        "CAT/00.png": 0, "dog/00.png": 1, "2/00.png": 2, "dog/01.png": 1,
    }  # fmt: skip
    assert data.labels[:3].tolist() == [0, 1, 2]  # class by class in turn
    batch = data.batch([1])
    assert batch.inputs.shape == (1, 3, 16, 16)
    assert batch.inputs.dtype == np.float32
    assert batch.masks is None


def test_folders_may_be_links_and_a_study_among_them_is_no_data(tmp_path):
    folder(tmp_path / "elsewhere", dog=2)
    folder(tmp_path / "data", cat=1)
    (tmp_path / "data" / "dog").symlink_to(tmp_path / "elsewhere" / "dog")
    (tmp_path / "data" / "cat" / "round").symlink_to(tmp_path / "data")  # leads back
    save(tmp_path / "data" / "pathattr-ablation" / "maps.png")
    (tmp_path / "data" / "pathattr-ablation" / "results").mkdir()
    (tmp_path / "data" / "pathattr-ablation" / "plan.json").write_text("{}")
    data = collected(str(tmp_path / "data"), MODEL, 1)
    assert sorted(data.names) == ["cat/00.png", "dog/00.png", "dog/01.png"]


def test_names_that_are_no_utf8_can_be_written(tmp_path):
    path = save(tmp_path / "cat" / "plain.png")
    try:
        path.rename(tmp_path / "cat" / os.fsdecode(b"caf\xe9.png"))
    except OSError as error:
        if error.errno != errno.EILSEQ:
            raise
        pytest.skip("this file system takes UTF-8 names only")
    assert collected(str(tmp_path), MODEL, 1).names == ["cat/caf\\xe9.png"]


def test_a_name_goes_before_an_index(tmp_path):
    assert collected(folder(tmp_path, **{"3": 1}), MODEL, 1).labels.tolist() == [2]


def test_channels_go_where_the_model_wants_them(tmp_path):
    spec = folder(tmp_path, cat=1)
    first, last = (collected(spec, MODEL, axis).batch([0]).inputs for axis in (1, -1))
    assert np.array_equal(np.moveaxis(first, 1, -1), last)


def test_pictures_in_no_class_have_no_labels(tmp_path):
    save(tmp_path / "a.png")
    assert collected(str(tmp_path), MODEL, 1).labels is None
    save(tmp_path / "cat" / "b.png")
    with pytest.raises(InvalidInput, match=r"pictures in none of them, such as a\.png"):
        collected(str(tmp_path), MODEL, 1)


def test_unknown_classes_are_said_with_the_folder(tmp_path):
    with pytest.raises(InvalidInput, match=r"folder .*dgo.*such as 'dog'"):
        collected(folder(tmp_path, dgo=1), MODEL, 1)
    with pytest.raises(InvalidInput, match="out of range: the model has 3 classes"):
        collected(folder(tmp_path / "b", **{"7": 1}), MODEL, 1)
    with pytest.raises(InvalidInput, match="names no classes, so a class is its index"):
        collected(folder(tmp_path / "c", dog=1), ImageModel(None, 16), 1)


def test_empty_and_missing_data_say_what_is_expected(tmp_path):
    with pytest.raises(InvalidInput, match="no picture in"):
        collected(str(tmp_path), MODEL, 1)
    with pytest.raises(InvalidInput, match="expected scenes, a folder"):
        collected(str(tmp_path / "nothing"), MODEL, 1)
    with pytest.raises(InvalidInput, match="limit must be a whole number of at least 1"):
        collected("scenes", MODEL, 1, limit=0)


def test_unreadable_pictures_are_left_out_by_name_and_no_others(tmp_path):
    spec = folder(tmp_path, cat=2, dog=2)
    (tmp_path / "cat" / "00.png").write_bytes(b"nonsense")
    (tmp_path / "dog" / "01.png").write_bytes(b"")
    data = collected(spec, MODEL, 1)
    assert sorted(data.names) == ["cat/01.png", "dog/00.png"]
    assert sorted(name for name, _ in data.left_out) == ["cat/00.png", "dog/01.png"]
    assert any("empty file" in reason for _, reason in data.left_out)
    (tmp_path / "cat" / "01.png").write_bytes(b"")
    (tmp_path / "dog" / "00.png").write_bytes(b"")
    with pytest.raises(InvalidInput, match="none of the 4 pictures can be read"):
        collected(spec, MODEL, 1)


def test_pictures_of_several_sizes_need_a_size(tmp_path):
    save(tmp_path / "a.png", 20, 30)
    save(tmp_path / "b.png", 20, 31)
    with pytest.raises(InvalidInput, match="say --size"):
        collected(str(tmp_path), ImageModel(None), 1)


# --- CSV files --------------------------------------------------------------------------------------------


def test_a_table_gives_labels_masks_and_boxes_relative_to_itself(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "sub" / "b.png")
    mask = np.zeros((20, 30), np.uint8)
    mask[4:8, 10:20] = 1  # an index, not a brightness
    Image.fromarray(mask).save(tmp_path / "sub" / "b-mask.png")
    spec = table(
        tmp_path, "Path, Label,mask,top,left,bottom,right", "a.png,dog,,2,3,10,12", "sub/b.png,0,sub/b-mask.png,,,,"
    )
    data = collected(spec, ImageModel(None, None, classes=MODEL.classes), 1)
    assert dict(zip(data.names, data.labels, strict=True)) == {"a.png": 1, "sub/b.png": 0}
    assert not data.unmasked
    batch = data.batch([data.names.index("a.png"), data.names.index("sub/b.png")])
    box = np.zeros((20, 30), bool)
    box[2:10, 3:12] = True
    assert np.array_equal(batch.masks[0], box)
    assert np.array_equal(batch.masks[1], mask.astype(bool))


def test_examples_without_a_mask_are_counted(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "b.png")
    data = collected(table(tmp_path, "path,top,left,bottom,right", "a.png,0,0,5,5", "b.png,,,,"), MODEL, 1)
    assert data.unmasked == ["b.png"]
    assert data.labels is None
    assert data.batch([0, 1]).masks is None


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["file,label", "a.png,cat"], "has no column path"),
        (["path,label,colour", "a.png,cat,red"], "columns of no meaning here"),
        (["path,label"], "lists no pictures"),
        (["path,label", "a.png,bird"], "line 2: class 'bird' is none of the model's 3 classes"),
        (["path,label", "a.png,cat", "a.png,"], "gives no label to 1 of 2"),
        (["path,label", "a.png,cat,more"], "line 2: expected a path and as many cells"),
        (["path,mask,top,left,bottom,right", "a.png,m.png,1,1,2,2"], "by a mask or by a box, not by both"),
        (["path,top,left,bottom,right", "a.png,1,x,2,2"], "a box is four numbers"),
        (["path,top,left,bottom,right", "a.png,1,,2,2"], "a box is four numbers"),
    ],
)
def test_faulty_tables_say_where(tmp_path, lines, message):
    save(tmp_path / "a.png")
    with pytest.raises(InvalidInput, match=message):
        collected(table(tmp_path, *lines), MODEL, 1)


def test_masks_and_boxes_that_do_not_fit_leave_out_their_picture_by_name(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "black.png", value=0)
    save(tmp_path / "small.png", 10, 15, 255)
    lines = ["a.png,missing.png,,,,", "a.png,black.png,,,,", "a.png,small.png,,,,", "a.png,,0,0,21,30", "a.png,,,,,"]
    data = collected(table(tmp_path, "path,mask,top,left,bottom,right", *lines), MODEL, 1)
    assert len(data) == 1
    reasons = " | ".join(reason for _, reason in data.left_out)
    for part in ("missing.png", "black all over", "15 × 10 pixels", "does not lie in"):
        assert part in reasons


# --- Masks go with their pictures -------------------------------------------------------------------------


SIDES, SIZES = st.integers(5, 40), st.sampled_from([8, (8, 12)])


@given(SIDES, SIDES, SIZES, st.sampled_from([1.0, 0.8]), st.integers(0, 99))
def test_a_mask_lies_where_its_object_is_in_the_prepared_picture(height, width, size, crop, seed):
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), bool)
    top, left = rng.integers(0, height - 2), rng.integers(0, width - 2)
    mask[top : rng.integers(top + 1, height), left : rng.integers(left + 1, width)] = True
    model = ImageModel(None, size, Preprocessing(0.3, 0.2), crop=crop)
    fitted = prepared_mask(mask, model)
    # A white object on black: what is shown brighter than half is the object.
    shown = prepare(np.repeat(mask[:, :, None], 3, axis=2).astype(float), model)[0][..., 0]
    assert fitted.shape == shown.shape
    assert fitted[shown > 0.5 + 1e-6].all()
    assert not fitted[shown < 1e-9].any()
    if shown.max() >= 0.5:
        assert not fitted[shown < 0.5 - 1e-6].any()
    else:  # smaller than a pixel, it keeps those that it covers most
        assert fitted.any() == (shown.max() > 0)


def test_masks_may_be_transparent_or_lossy(tmp_path):
    mask = np.zeros((20, 30), bool)
    mask[4:12, 8:24] = True
    layers = np.full((20, 30, 4), 255, np.uint8)
    layers[..., 3] = 255 * mask  # white all over, and seen where the object is
    Image.fromarray(layers).save(tmp_path / "layers.png")
    Image.fromarray(255 * mask.astype(np.uint8)).save(tmp_path / "lossy.jpg", quality=60)
    assert np.array_equal(read_mask(tmp_path / "layers.png"), mask)
    assert np.array_equal(read_mask(tmp_path / "lossy.jpg"), mask)


def test_a_mask_of_the_models_size_stays_as_it_is():
    mask = np.random.default_rng(0).random((16, 16)) > 0.7
    assert np.array_equal(prepared_mask(mask, MODEL), mask)


def test_an_object_that_the_crop_removes_leaves_out_its_picture(tmp_path):
    save(tmp_path / "a.png", 16, 64)
    save(tmp_path / "b.png", 16, 64)
    data = collected(table(tmp_path, "path,top,left,bottom,right", "a.png,0,0,8,8", "b.png,0,28,8,36"), MODEL, 1)
    assert data.names == ["b.png"]
    assert "nothing of the object is left" in data.left_out[0][1]
    assert data.batch([0]).masks[0, :8, 4:12].all()
    assert data.batch([0]).masks.sum() == 64


# --- Scenes and arrays ------------------------------------------------------------------------------------


def test_scenes_come_with_their_masks_and_are_labelled_for_their_own_classes_only():
    model = ImageModel(None, scenes.SIZE, scenes.PREPROCESSING, scenes.CLASSES)
    data = collected("scenes:7", model, 1, limit=12, seed=3)
    made = scenes.generate(12, seed=7)
    assert data.labels.tolist() == made.labels.tolist()
    assert np.array_equal(data.batch(range(12)).masks, made.masks)
    assert np.allclose(data.batch([4]).shown[0], made.images[4])
    assert collected("scenes", model, 1, limit=1, seed=3).digest(0) == "scene 0 of seed 3"
    assert collected("scenes", MODEL, 1, limit=1).labels is None
    with pytest.raises(InvalidInput, match="scenes:SEED"):
        collected("scenes:x", model, 1)


def test_digests_tell_what_changed(tmp_path):
    spec = folder(tmp_path, cat=1)
    before = collected(spec, MODEL, 1).digest(0)
    assert before == collected(spec, MODEL, 1).digest(0)
    save(tmp_path / "cat" / "00.png", value=9)
    assert collected(spec, MODEL, 1).digest(0) != before


def test_arrays_are_examples_too():
    inputs = np.arange(24.0).reshape(2, 3, 2, 2)
    data = Arrays(inputs, [1, 0], masks=np.ones((2, 2, 2)), names=["a", "b"])
    assert len(data) == 2
    assert np.array_equal(data.batch([1]).inputs, inputs[1:])
    assert data.batch([1]).masks.dtype == bool
    assert Arrays(inputs).unmasked == ["example 0", "example 1"]
    changed = inputs.copy()
    changed[1, 0, 0, 0] += 1
    assert Arrays(changed).digest(1) != Arrays(inputs).digest(1)
    assert Arrays(changed).digest(0) == Arrays(inputs).digest(0)
    with pytest.raises(InvalidInput, match="labels has 1 entries for 2 examples"):
        Arrays(inputs, [1])


def test_two_classes_of_one_name_need_an_index(tmp_path):
    cranes = ImageModel(None, 16, Preprocessing(0.5, 0.25), ["crane", "kite", "crane"])
    with pytest.raises(InvalidInput, match="2 classes are called so; give an index instead"):
        collected(folder(tmp_path, crane=1), cranes, 1)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes in the file system are POSIX's")
@pytest.mark.parametrize("kind", ["pipe", "zero", "folder"])
@pytest.mark.parametrize("column", ["path", "mask"])
def test_a_table_that_names_what_never_ends_leaves_it_out(tmp_path, kind, column):
    save(tmp_path / "good.png")
    os.mkfifo(tmp_path / "pipe")
    bad = {"pipe": "pipe", "zero": "/dev/zero", "folder": "."}[kind]
    row = f"{bad}," if column == "path" else f"good.png,{bad}"
    found = collected(table(tmp_path, "path,mask", "good.png,", row), MODEL, 1)
    assert found.names == ["good.png"]
    ((_, reason),) = found.left_out
    assert ("it is a folder" if kind == "folder" else "it is not a plain file") in reason


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes in the file system are POSIX's")
def test_a_table_that_is_no_plain_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for data in (str(tmp_path / "pipe"), "/dev/zero", os.devnull):
        with pytest.raises(InvalidInput, match="there is no data"):
            collected(data, MODEL, 1)


def test_a_table_too_large_to_be_one_is_not_read(tmp_path, monkeypatch):
    save(tmp_path / "good.png")
    data = table(tmp_path, "path", "good.png")
    monkeypatch.setattr("pathattr.studies.collect.MOST", 5)
    with pytest.raises(InvalidInput, match=r"cannot read .*data.csv as a CSV file in UTF-8: it has 14 bytes, and 5"):
        collected(data, MODEL, 1)
