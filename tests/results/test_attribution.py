"""The result: files, maps, pictures."""

import dataclasses
import io
import json
import zipfile

import numpy as np
import pytest

from pathattr import Attribution, Contrast, InvalidInput, NumpyModel, PathExplainer, Preprocessing, Samples
from pathattr.common.archives import packed
from pathattr.results.attribution import FORMAT, KIND, Components
from pathattr.results.figures import png_bytes
from reference import SmoothModel

SHAPE = (3, 8, 6)


def explained(family="svd", *, shape=SHAPE, dtype=np.float64, target=None, batch=2, **options):
    smooth = SmoothModel(shape)
    explain = PathExplainer(NumpyModel(smooth.value, smooth.vjp), family=family, steps=6, **options)
    return explain(np.random.default_rng(1).normal(size=(batch, *shape)).astype(dtype), target)


def made(attributions, channel_axis=0, **fields):
    """A result by hand around attributions (batch, ...)."""
    attributions = np.asarray(attributions, dtype=float)
    zeros = np.zeros(len(attributions))
    given = {
        "components": None,
        "score": zeros,
        "baseline_score": zeros,
        "gap": zeros,
        "target": zeros.astype(int),
        "lowest": zeros,
        "highest": zeros,
        "evaluations": zeros.astype(int),
        "forward_passes": 0,
        "error": np.full(len(attributions), np.nan),
    }
    return Attribution(attributions=attributions, channel_axis=channel_axis, **(given | fields))


# Files


def assert_same(one, other):
    for field in dataclasses.fields(Attribution):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype, field.name
            np.testing.assert_array_equal(a, b, err_msg=field.name)
        elif isinstance(a, Components):
            for name in ("attributions", "strengths"):
                assert len(getattr(a, name)) == len(getattr(b, name))
                for part, read in zip(getattr(a, name), getattr(b, name), strict=True):
                    np.testing.assert_array_equal(part, read)
        else:
            assert a == b, field.name


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"family": "wavelet-coefficients"},  # several terms
        {"components": False},
        {"dtype": np.float16},
        {"dtype": np.float32, "channel_axis": -1},
        {"channel_axis": None, "family": "dct"},
        {"target": Contrast(1, 2), "preset": "published", "schedule": "step"},
        {"baseline": Samples(np.ones((2, *SHAPE))), "preprocessing": Preprocessing((0.5, 0.4, 0.3), 0.2)},
    ],
)
def test_what_is_saved_is_read_back(tmp_path, options):
    result = explained(**options)
    result.save(tmp_path / "folder" / "result.npz")
    assert_same(result, Attribution.load(tmp_path / "folder" / "result.npz"))


def test_a_wavelet_pyramid_has_several_terms(tmp_path):
    result = explained("wavelet-coefficients")
    result.save(tmp_path / "a")
    assert len(Attribution.load(tmp_path / "a").components) == len(result.components) > 1


def test_the_file_holds_plain_arrays_and_the_name_is_kept(tmp_path):
    explained().save(str(tmp_path / "no-ending"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["no-ending"]
    with np.load(tmp_path / "no-ending", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    assert all(array.dtype.kind in "fiu" for array in arrays.values())
    assert json.loads(arrays["record"].tobytes())["settings"]["family"] == "SVD(channels='separate')"


def test_a_save_that_fails_keeps_the_old_file(tmp_path):
    result = explained()
    result.save(tmp_path / "a")
    with pytest.raises(InvalidInput, match="attributions"):
        dataclasses.replace(result, attributions=np.array([None])).save(tmp_path / "a")
    assert_same(result, Attribution.load(tmp_path / "a"))


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def record(**entries):
    return np.frombuffer(json.dumps(entries).encode(), dtype=np.uint8)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a zip at all",
        npz(a=np.zeros(3)),
        npz(record=np.zeros(3)),
        npz(record=record(nothing=1)),
        npz(record=np.frombuffer(b"[1, 2]", dtype=np.uint8)),
        npz(record=record(format=FORMAT, settings={}, forward_passes=0, channel_axis=0, terms=None)),
        npz(record=record(format=FORMAT, settings={}, forward_passes=0, channel_axis=0, terms=2)),
        npz(record=np.array([{"format": FORMAT}], dtype=object)),  # pickled
    ],
)
def test_a_foreign_file_is_refused(tmp_path, data):
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(InvalidInput, match=r"a is not a file that Attribution.save wrote"):
        Attribution.load(tmp_path / "a")


def test_a_plain_array_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(InvalidInput, match=r"a\.npy is not a file that Attribution.save wrote"):
        Attribution.load(tmp_path / "a.npy")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path, share):
    explained().save(tmp_path / "a")
    data = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(data[: int(share * len(data))])
    with pytest.raises(InvalidInput, match=r"is not a file that Attribution.save wrote"):
        Attribution.load(tmp_path / "a")


def test_a_damaged_file_is_refused(tmp_path):
    explained().save(tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "a") as archive:
        middle = archive.getinfo("attributions.npy").header_offset + 200
    data = bytearray((tmp_path / "a").read_bytes())
    data[middle] ^= 0xFF
    (tmp_path / "a").write_bytes(bytes(data))
    with pytest.raises(InvalidInput, match=r"is not a file that Attribution.save wrote"):
        Attribution.load(tmp_path / "a")


def test_a_file_of_another_format_tells_so(tmp_path):
    (tmp_path / "a").write_bytes(packed(KIND, FORMAT + 1, {}, {}))
    with pytest.raises(InvalidInput, match=f"saved in format {FORMAT + 1}, and this version reads 1 and {FORMAT}"):
        Attribution.load(tmp_path / "a")
    (tmp_path / "a").write_bytes(packed("pathattr something else", FORMAT, {}, {}))
    with pytest.raises(InvalidInput, match="it holds 'pathattr something else'"):
        Attribution.load(tmp_path / "a")


def test_a_file_that_cannot_be_read_tells_why(tmp_path):
    with pytest.raises(InvalidInput, match=r"cannot read .*absent: No such file"):
        Attribution.load(tmp_path / "absent")
    with pytest.raises(InvalidInput, match=r"cannot read .*: (it is a folder|Permission denied)"):
        Attribution.load(tmp_path)


# Maps

VALUES = np.array([[[1.0, -2.0], [3.0, 0.0]], [[-4.0, 2.0], [4.0, 0.0]]])  # (channels, 2, 2)


@pytest.mark.parametrize(
    ("reduce", "expected"),
    [
        ("sum", [[-3, 0], [7, 0]]),
        ("abs", [[5, 4], [7, 0]]),
        ("norm", [[np.sqrt(17), np.sqrt(8)], [5, 0]]),
        ("none", VALUES),
    ],
)
def test_channels_are_reduced(reduce, expected):
    found = made(VALUES[None]).heatmap(reduce, percentile=None)
    np.testing.assert_allclose(found, np.asarray(expected, dtype=float)[None], rtol=1e-15)  # one square root
    last = made(np.moveaxis(VALUES, 0, -1)[None], channel_axis=2).heatmap(reduce, percentile=None)
    expected = np.moveaxis(np.asarray(expected), 0, -1) if reduce == "none" else expected
    np.testing.assert_allclose(last, np.asarray(expected, dtype=float)[None], rtol=1e-15)


@pytest.mark.parametrize(("reduce", "signed"), [("sum", True), ("none", True), ("abs", False), ("norm", False)])
def test_without_channels_there_is_nothing_to_add_up(reduce, signed):
    values = VALUES[0] if signed else np.abs(VALUES[0])
    np.testing.assert_array_equal(made(VALUES[:1], channel_axis=None).heatmap(reduce, None), values[None])


def test_each_map_is_scaled_by_its_own_percentile():
    ramp = np.linspace(-1.0, 1.0, 101)
    both = made(np.stack([ramp, 1000 * ramp])[:, None])
    found = both.heatmap(percentile=50)
    # Half of the |values| lie below 0.5: that is full colour, and what lies beyond is cut.
    np.testing.assert_allclose(found[0], np.clip(ramp / 0.5, -1, 1), atol=1e-14)
    np.testing.assert_allclose(found[1], found[0], atol=1e-14)
    assert np.abs(both.heatmap()).max() == 1
    np.testing.assert_array_equal(both.heatmap(percentile=100)[0], ramp)


def test_a_map_of_zeros_stays_one_and_a_single_pixel_shows():
    values = np.zeros((2, 1, 30, 30))
    values[1, 0, 3, 4] = -5
    for percentile in (99.0, 50.0, 100.0):
        found = made(values).heatmap(percentile=percentile)
        assert not found[0].any()
        assert found[1].sum() == found[1, 3, 4] == -1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"reduce": "mean"}, "reduce must be one of 'sum', 'abs', 'norm', 'none'; got 'mean'"),
        ({"percentile": 0}, "percentile must lie in .0, 100., or be None; got 0"),
        ({"percentile": 101}, "got 101"),
        ({"percentile": np.nan}, "got nan"),
        ({"percentile": "99"}, "got '99'"),
        ({"percentile": True}, "got True"),
        ({"reduce": None}, "got None"),
        ({"reduce": ["sum"]}, r"got \['sum'\]"),
    ],
)
def test_a_map_that_cannot_be_made_is_refused(options, said):
    with pytest.raises(InvalidInput, match=said):
        made(VALUES[None]).heatmap(**options)


# Numbers


def test_the_relative_gap_is_zero_or_infinite_where_the_score_does_not_change():
    result = made(
        np.zeros((4, 1, 2, 2)),
        score=np.array([2.0, 1.0, 1.0, 0.0]),
        baseline_score=np.array([0.0, 3.0, 1.0, 0.0]),
        gap=np.array([-0.5, 0.5, 0.0, 1e-9]),
    )
    np.testing.assert_array_equal(result.relative_gap, [0.25, 0.25, 0, np.inf])


def test_components_add_up_over_all_terms():
    parts = Components((np.ones((2, 3, 4)), np.full((2, 5), 2.0)), (np.ones((2, 3, 4)), np.ones((2, 5))))
    np.testing.assert_array_equal(parts.total(), [22, 22])
    assert len(parts) == 2
    assert parts[1].shape == (2, 5)


def test_repr_tells_method_shape_gap_and_cost():
    result = made(VALUES[None], gap=np.array([-0.25]), evaluations=np.array([7]), settings={"family": "DCT()"})
    assert repr(result) == "Attribution(DCT(), 1×2×2×2, gap 0.25 at most, 7 gradients)"
    assert "\n" not in repr(explained())


def test_results_can_be_compared_and_kept_in_sets():
    one, other = explained(), explained()
    assert one == one
    assert one != other
    assert len({one, other}) == 2


# Pictures


def axes_with_titles(figure):
    return " ".join(text.get_text() for text in figure.findobj() if hasattr(text, "get_text"))


def test_plot_draws_maps_with_and_without_the_picture():
    result = explained()
    plain = result.plot(1)
    assert f"F(x) = {result.score[1]:.4g}" in axes_with_titles(plain)
    picture = np.random.default_rng(0).uniform(size=(8, 6, 3))
    over = result.plot(-1, picture=picture)
    assert f"F(x) = {result.score[1]:.4g}" in axes_with_titles(over)
    assert "input" in axes_with_titles(over)
    assert "input" not in axes_with_titles(plain)


def test_plot_draws_series():
    series = explained("dct", shape=(5,), channel_axis=None)
    assert f"F(x) = {series.score[0]:.4g}" in axes_with_titles(series.plot())


PICTURE = np.random.default_rng(0).uniform(size=(8, 6, 3))
GREY = PICTURE.mean(axis=2)


@pytest.mark.parametrize(
    ("picture", "same"),
    [
        (np.moveaxis(PICTURE, 2, 0), PICTURE),
        (PICTURE.astype(np.float32).tolist(), PICTURE.astype(np.float32)),
        (np.round(255 * PICTURE).astype(np.uint8), np.round(255 * PICTURE) / 255),
        (GREY, np.repeat(GREY[..., None], 3, axis=2)),
        (GREY[..., None], np.repeat(GREY[..., None], 3, axis=2)),
        (GREY[None], np.repeat(GREY[..., None], 3, axis=2)),
        (GREY > 0.5, np.repeat((GREY > 0.5)[..., None], 3, axis=2).astype(float)),
        (np.ma.masked_array(PICTURE, mask=False), PICTURE),
    ],
)
def test_pictures_of_every_arrangement_are_the_same_picture(picture, same):
    result = explained()
    assert png_bytes(result.plot(picture=picture)) == png_bytes(result.plot(picture=same))


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((6, 8), "one size"),  # lying
        ((2, 8, 6), "expected one picture of shape"),
        ((8, 6, 4), "expected one picture of shape"),
        ((1, 8, 6, 3), "give one picture"),
        ((2, 8, 6, 3), "give one picture"),
        ((8,), "give one picture"),
        ((), "give one picture"),
        ((0, 6), "give one picture"),
    ],
)
def test_what_is_no_picture_of_the_map_is_refused(shape, said):
    with pytest.raises(InvalidInput, match=said):
        explained().plot(picture=np.full(shape, 0.5))


def test_a_picture_that_can_be_read_in_two_ways_is_refused_and_its_grey_is_not():
    result = explained(shape=(1, 3, 3))
    picture = PICTURE[:3, :3]
    with pytest.raises(InvalidInput, match=r"may be \(h, w, 3\) or \(3, h, w\): give it in grey, \(3, 3\)"):
        result.plot(picture=picture)
    assert result.plot(picture=picture.mean(axis=2))


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        ("photo.png", "expected a picture of numbers"),
        ([[0.1, 0.2], [0.3]], "expected a picture of numbers"),
        (PICTURE + 1j, "expected a picture of numbers"),
        (255 * PICTURE, "or divide by 255"),
        (np.full((8, 6), 255), "or of uint8; got 255 to 255"),
        (np.ma.masked_less(PICTURE, 0.5), "entries masked"),
        (np.full((8, 6), np.nan), "finite"),
    ],
)
def test_pictures_that_cannot_be_shown_are_refused(picture, said):
    with pytest.raises(InvalidInput, match=said):
        explained().plot(picture=picture)


@pytest.mark.parametrize("index", ["0", 1.0, None, True, [0], np.zeros(1, int)])
def test_an_index_is_a_whole_number(index):
    with pytest.raises(InvalidInput, match="index must be the number of an example"):
        explained().plot(index)
    assert explained().plot(np.int64(1))


@pytest.mark.parametrize("percentile", [None, "99", 0, np.nan])
def test_a_plot_needs_a_percentile(percentile):
    with pytest.raises(InvalidInput, match="percentile"):
        explained().plot(percentile=percentile)


def test_a_series_takes_no_picture():
    series = explained("dct", shape=(5,), channel_axis=None)
    with pytest.raises(InvalidInput, match="plot it without a picture"):
        series.plot(picture=GREY)


def test_plot_refuses_what_has_no_picture():
    volumes = explained("dct", shape=(1, 2, 3, 4))
    with pytest.raises(InvalidInput, match=r"this example has 3 spatial axes: plot a slice of heatmap\(\)"):
        volumes.plot()
    with pytest.raises(InvalidInput, match="there is no example 2 in a batch of 2"):
        explained().plot(2)
    with pytest.raises(InvalidInput, match="there is no example -3"):
        explained().plot(-3)
    with pytest.raises(InvalidInput, match="picture"):
        explained().plot(picture=np.zeros((4, 4, 3)))


def test_notebooks_get_a_png_of_maps_and_text_of_volumes():
    assert explained()._repr_png_().startswith(b"\x89PNG\r\n\x1a\n")
    assert explained("dct", shape=(5,), channel_axis=None)._repr_png_().startswith(b"\x89PNG")
    assert made(np.zeros((1, 1, 4, 4)))._repr_png_().startswith(b"\x89PNG")  # a map of zeros
    assert explained("dct", shape=(1, 2, 3, 4))._repr_png_() is None


def test_pictures_leave_no_figures_behind():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    before = pyplot.get_fignums()
    explained().plot()
    explained()._repr_png_()
    assert pyplot.get_fignums() == before
