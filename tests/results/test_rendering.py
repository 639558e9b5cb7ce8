from __future__ import annotations

import io
import sys
from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.style import library
from PIL import Image

from pathattr.errors import InvalidInput, MissingExtra
from pathattr.results import canvas as sheet
from pathattr.results.figures import FigureRow, Panel, bars, grid, heatmap, overlay, png_bytes, scale_of, signed

RNG = np.random.default_rng(0)
PICTURE = RNG.random((12, 16, 3))
MAP = RNG.standard_normal((12, 16))
STRIP = [(alpha, alpha * PICTURE) for alpha in (0.0, 0.25, 0.5, 1.0)]
LONG = "a name that goes on and on and on for longer than any picture is wide"


def some_grid(scale: float = 1.0, strip: object = STRIP, title: str = "cat, F(x) = 0.9") -> Figure:
    panels = [
        Panel(name, scale * factor * MAP, f"gap {factor}%", strip)  # type: ignore[arg-type]  # a list of pairs
        for name, factor in (("IG", 1.0), ("SIG", -0.5), ("DCT", 0.1))
    ]
    return grid([FigureRow(PICTURE, title, panels), FigureRow(PICTURE[:, :6], title, panels[:1])], footer="a footer")


DRAWINGS: dict[str, Callable[[], Figure]] = {
    "overlay": lambda: overlay(PICTURE, MAP, title="title", footer="footer"),
    "signed": lambda: signed(MAP, title="title"),
    "heatmap": lambda: heatmap(MAP, title="title", names=list("abcdefghijkl")),
    "bars": lambda: bars(MAP[0], [f"feature {index}" for index in range(16)]),
    "many bars": lambda: bars(MAP.ravel()),
    "grid": some_grid,
    "grid of ribbons": lambda: grid([FigureRow(PICTURE[:2], "title", [Panel("IG", MAP[:2], "gap", STRIP)])]),
    "grid without strips": lambda: some_grid(strip=()),
}


def pixels(figure: Figure) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png_bytes(figure))).convert("RGB"))


def texts(figure: Figure) -> list[str]:
    ticks = [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()]
    return [text.get_text() for text in figure.texts] + ticks


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_same_arrays_give_the_same_bytes_under_any_style_and_change_no_setting(
    draw: Callable[[], Figure],
) -> None:
    before = dict(mpl.rcParams)
    plain = png_bytes(draw())
    assert dict(mpl.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not mpl.pyplot.get_fignums()
    with mpl.rc_context({**library["dark_background"], "savefig.bbox": "tight"}):
        assert png_bytes(draw()) == plain
    # Told whose it is, and not by which version of matplotlib it was drawn.
    assert Image.open(io.BytesIO(plain)).info["Software"] == "pathattr"


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_no_text_overlaps_another_or_leaves_the_figure(draw: Callable[[], Figure]) -> None:
    figure = draw()
    png_bytes(figure)
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    labels = [label for axes in figure.axes for label in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    boxes = [
        (text.get_text(), text.get_window_extent(canvas.get_renderer()))
        for text in (*figure.texts, *labels)
        if text.get_text()
    ]
    width, height = figure.get_size_inches() * figure.dpi
    for index, (name, box) in enumerate(boxes):
        assert box.x0 >= 0, name
        assert box.x1 <= width, name
        assert box.y0 >= 0, name
        assert box.y1 <= height, name
        for other, place in boxes[index + 1 :]:
            assert not box.overlaps(place), (name, other)


def test_long_texts_are_cut_short_and_dollars_are_text() -> None:
    panels = [Panel(LONG, MAP, LONG, STRIP)]
    figure = grid([FigureRow(PICTURE, "a $5 note worth $6 \n" + LONG * 3, panels, LONG)], title=LONG * 3)
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    for text in figure.texts:
        assert not text.get_parse_math()
        assert text.get_window_extent(canvas.get_renderer()).x1 <= figure.get_size_inches()[0] * figure.dpi
    assert any(text.startswith("a $5 note worth $6 a name") and text.endswith("…") for text in texts(figure))


def test_scale_is_one_percentile_over_all_maps() -> None:
    small, large = np.full((10, 10), 1.0), np.full((10, 10), -3.0)
    assert scale_of([small, large], 100) == 3.0
    assert scale_of([small, large], 50) == 2.0
    assert scale_of(large, 50) == 3.0
    assert scale_of([np.zeros((2, 2))]) == 0.0
    sparse = np.zeros((100, 100))
    sparse[0, 0] = -7.0
    assert scale_of(sparse) == 7.0  # its percentile is 0, but it is not a zero map


def test_maps_of_one_input_share_a_scale() -> None:
    panels = [Panel("strong", np.full((4, 4), 2.0)), Panel("weak", np.full((4, 4), 1.0))]
    figure = grid([FigureRow(np.zeros((4, 4, 3)), "title", panels)])
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    values = [float(np.max(image)) for image in shown if image is not None and image.shape == (4, 4)]
    assert values == [1.0, 0.5]
    assert "+2" in texts(figure)


def test_colours_are_red_for_blue_against_and_white_for_nothing() -> None:
    against, nothing, support = sheet.colours()(np.array([0.0, 0.5, 1.0]))[:, :3]
    np.testing.assert_array_equal(nothing, 1.0)
    assert support[0] > 2 * support[2]
    assert against[2] > 2 * against[0]


def test_opacity_of_the_overlay_grows_with_strength() -> None:
    grey = np.full((1, 3, 3), 0.5)
    figure = overlay(grey, np.array([[0.0, 0.5, -1.0]]), percentile=100)
    mixed = np.asarray(figure.axes[1].images[0].get_array())[0]
    assert np.ptp(mixed[0]) == 0.0  # grey where nothing speaks
    assert mixed[1, 0] > mixed[1, 2]
    np.testing.assert_allclose(mixed[2], sheet.colours()(0.0)[:3])


@pytest.mark.parametrize("value", [0.0, 1e-320, 1e-30, 1e300])
def test_maps_of_any_magnitude_render(value: float) -> None:
    flat = np.full((6, 6), value)
    for figure in (
        signed(flat),
        overlay(np.ones((6, 6, 3)), flat),
        heatmap(flat),
        bars(flat[0]),
        grid([FigureRow(np.ones((6, 6, 3)), "title", [Panel("IG", flat)])]),
    ):
        png_bytes(figure)
        assert "0" in texts(figure)


def test_a_zero_map_is_white() -> None:
    figure = signed(np.zeros((6, 6)))
    box = figure.axes[0].get_position()
    image = pixels(figure)
    height, width = image.shape[:2]
    inside = image[
        int((1 - box.y1) * height) + 4 : int((1 - box.y0) * height) - 4,
        int(box.x0 * width) + 4 : int(box.x1 * width) - 4,
    ]
    assert inside.size > 0
    assert (inside == 255).all()
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == ["0"]


def test_points_outside_the_range_of_pixels_are_clipped_and_pictures_refused() -> None:
    panel = Panel("SIG", MAP, filmstrip=[(0.5, 3 * PICTURE - 1)])
    png_bytes(grid([FigureRow(PICTURE, "title", [panel])]))
    with pytest.raises(InvalidInput, match=r"\[0, 1\]"):
        overlay(255 * PICTURE, MAP)


def test_each_strip_names_its_own_alphas_once() -> None:
    other = [(0.1, PICTURE), (0.9, PICTURE)]
    panels = [Panel(str(index), MAP, "", strip) for index, strip in enumerate((STRIP, STRIP, other))]
    labels = texts(grid([FigureRow(PICTURE, "title", panels)]))
    assert labels.count("α = 0") == 1
    assert labels.count("α = 0.1") == 1
    assert labels.count("0.9") == 1


def test_many_named_features_show_the_strongest() -> None:
    values = np.arange(100.0)
    labels = texts(bars(values, [f"feature {index}" for index in range(100)]))
    assert "feature 99" in labels
    assert "feature 59" not in labels
    assert "the 40 strongest of 100 features" in labels


def coloured(image: np.ndarray, red: bool) -> np.ndarray:
    """Where a picture (h, w, 3) is clearly red, or blue."""
    strong, weak = (image[..., 0], image[..., 2]) if red else (image[..., 2], image[..., 0])
    return strong.astype(int) - weak > 60


@given(st.integers(41, 40_000), st.data())
def test_a_spike_shows_wherever_it_is_in_a_series_of_any_length(length: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, length - 1))
    values = np.zeros(length)
    values[at] = 1.0
    figure = bars(values)
    image = pixels(figure)
    columns = np.flatnonzero(coloured(image, red=True).sum(axis=0) > 100)  # of its full height
    assert len(columns) >= 1
    place, _ = figure.axes[0].transData.transform((at, 0))
    assert abs(columns.mean() + 0.5 - place) < 2 + figure.axes[0].bbox.width / 650
    assert not coloured(image, red=False).any()


def test_neighbours_of_both_signs_both_show() -> None:
    values = np.zeros(16_000)
    values[9000], values[9001] = -1.0, 1.0
    image = pixels(bars(values))
    assert (coloured(image, red=True).sum(axis=0) > 100).any()
    assert (coloured(image, red=False).sum(axis=0) > 100).any()


def test_a_series_that_fits_is_drawn_value_by_value() -> None:
    values = np.random.default_rng(1).normal(size=500)
    drawn = [patch.get_data() for patch in bars(values).axes[0].patches]
    together = sum(data.values for data in drawn) * np.abs(values).max()
    np.testing.assert_allclose(together, values, rtol=1e-12)
    np.testing.assert_array_equal(drawn[0].edges, np.arange(501) - 0.5)


@pytest.mark.parametrize(("shape", "value"), [((4, 5000), 1.0), ((3000, 6), -1.0), ((1000, 900), 1.0)])
def test_a_strong_entry_shows_in_a_table_of_any_size(shape: tuple[int, int], value: float) -> None:
    values = np.zeros(shape)
    values[shape[0] // 3, shape[1] // 7] = value
    assert (
        coloured(pixels(heatmap(values)), red=value > 0).sum() > coloured(pixels(heatmap(0 * values)), value > 0).sum()
    )


@pytest.mark.parametrize(
    "draw",
    [
        lambda: signed(np.array([[np.nan, 1.0]])),
        lambda: signed(np.array([[np.inf, 1.0]])),
        lambda: signed(np.zeros(3)),
        lambda: signed(np.zeros((0, 3))),
        lambda: signed(MAP, percentile=0),
        lambda: signed(MAP, percentile=float("nan")),
        lambda: overlay(PICTURE, MAP[:5]),
        lambda: overlay(PICTURE * np.nan, MAP),
        lambda: overlay(PICTURE[..., :2], MAP),
        lambda: overlay(PICTURE[..., 0].T, MAP),
        lambda: bars([1.0, np.nan]),
        lambda: bars(MAP),
        lambda: bars([]),
        lambda: bars([1.0, 2.0], ["one"]),
        lambda: heatmap(MAP, names=["one"]),
        lambda: grid([]),
        lambda: grid([FigureRow(PICTURE, "title", [])]),
        lambda: grid([FigureRow(PICTURE, "title", [Panel("IG", MAP * np.nan)])]),
        lambda: grid([FigureRow(PICTURE, "title", [Panel("IG", MAP, "", [(0.0, MAP)])])]),
        lambda: scale_of([]),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw: Callable[[], object]) -> None:
    with pytest.raises(InvalidInput, match="expected"):
        draw()


@pytest.mark.parametrize("draw", [lambda: signed(MAP), lambda: bars([1.0], ["a"]), some_grid])
def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, draw: Callable[[], object]) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    sheet._renderer.cache_clear()
    with pytest.raises(MissingExtra, match=r"pathattr\[plot\]"):
        draw()
