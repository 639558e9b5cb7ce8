"""A sheet to draw pictures, signed maps and text on, in inches from its top left corner.

Places in inches, rather than a layout engine, keep text of any length from overlapping its neighbours and
make the same arrays give the same bytes. pyplot is not used and no setting of matplotlib is changed; colours,
fonts and lines are given outright, so that a user's style sheet does not show.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pathattr.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    Place = tuple[float, float, float, float]  # left, top, width, height in inches

# ColorBrewer's RdBu, safe for the colour-blind, with its light grey middle made white: zero is no colour.
BLUE_TO_RED = (
    *("#053061", "#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#ffffff"),
    *("#fddbc7", "#f4a582", "#d6604d", "#b2182b", "#67001f"),
)
SMALL, NORMAL, LARGE = 7.5, 9.0, 11.0  # font sizes in points
MARGIN, GAP, LINE = 0.15, 0.08, 0.17
BAR, TICKS = 0.1, 0.66  # the colour bar and the room for its numbers
_DPI = 150
_FONT = "DejaVu Sans"  # comes with matplotlib: the same on every machine


class Sheet:
    """A figure of a given width that grows downwards until `finish` sets its height."""

    def __init__(self, width: float) -> None:
        self.width = width
        self._figure = _figure(width, 1.0)
        self._axes: list[tuple[Axes, Place]] = []
        self._texts: list[tuple[Text, float]] = []

    def finish(self, height: float, footer: str | None = None) -> Figure:
        """Put the footer below `height`, settle the figure's height and return it."""
        for line in _wrapped(footer or "", self.width - 2 * MARGIN):
            self.text(MARGIN, height + GAP, line, size=SMALL, colour="#444444")
            height += LINE
        height += MARGIN
        self._figure.set_size_inches(self.width, height)
        for axes, (x, y, wide, high) in self._axes:
            axes.set_position((x / self.width, 1 - (y + high) / height, wide / self.width, high / height))
        for text, y in self._texts:
            text.set_y(height - y)
        return self._figure

    def heading(self, title: str | None) -> float:
        """Put a title at the top, if there is one; return where to go on below it."""
        if not title:
            return MARGIN
        self.text(MARGIN, MARGIN, title, size=LARGE, bold=True, room=self.width - 2 * MARGIN)
        return MARGIN + 0.3

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = NORMAL,
        bold: bool = False,
        room: float | None = None,
        align: str = "left",
        colour: str = "black",
    ) -> None:
        """Put one line of text below y, cut short with an ellipsis where it is wider than its room."""
        artist = self._figure.text(
            x,
            0.0,
            shortened(text, size, self.width if room is None else room, bold),
            transform=self._figure.dpi_scale_trans,
            fontsize=size,
            fontweight="bold" if bold else "normal",
            horizontalalignment=align,
            verticalalignment="top",
            **_style(colour),
        )
        self._texts.append((artist, y))

    def axes(self, place: Place) -> Axes:
        """Return plain axes, with a frame, at a place."""
        axes = self._figure.add_axes((0.0, 0.0, 1.0, 1.0), facecolor="white")
        axes.grid(False)
        axes.tick_params(length=2, width=0.5, pad=2, color="#444444", direction="out", top=False, right=False)
        for spine in axes.spines.values():
            spine.set(linewidth=0.5, edgecolor="#888888", visible=True)
        self._axes.append((axes, place))
        return axes

    def picture(self, place: Place, picture: NDArray[np.float64]) -> None:
        """Show a picture (h, w, 3), clipped to [0, 1], as large as the place allows."""
        axes = self.axes(place)
        axes.imshow(np.clip(picture, 0.0, 1.0), aspect="equal", interpolation="antialiased", origin="upper")
        axes.set(xticks=[], yticks=[])

    def signed(self, place: Place, values: NDArray[np.float64], scale: float, fill: bool = False) -> Axes:
        """Show a signed map (h, w) with full colour at ±scale; `fill` stretches it over the whole place."""
        axes = self.axes(place)
        axes.imshow(
            relative(values, scale),
            cmap=colours(),
            vmin=-1.0,
            vmax=1.0,
            aspect="auto" if fill else "equal",
            interpolation="nearest" if fill else "antialiased",
            origin="upper",
        )
        axes.set(xticks=[], yticks=[])
        return axes

    def colour_bar(self, x: float, y: float, height: float, scale: float) -> None:
        """Put a colour bar with its numbers to the right of x, from y down."""
        axes = self.axes((x, y, BAR, height))
        axes.imshow(
            np.linspace(-1.0, 1.0, 257)[:, None],
            cmap=colours(),
            extent=(0.0, 1.0, -1.0, 1.0),
            aspect="auto",
            interpolation="nearest",
            origin="lower",
        )
        axes.set(xticks=[])
        axes.yaxis.tick_right()
        places, labels = scale_ticks(scale)
        if scale > 0:
            places, labels = [*places, -0.5, 0.5], [*labels, "against", "for"]
        ticks(axes, "y", places, labels)


def ticks(axes: Axes, axis: str, places: Sequence[float], labels: Sequence[str]) -> None:
    """Put ticks with small labels on the "x" or "y" axis."""
    set_ticks = axes.set_xticks if axis == "x" else axes.set_yticks
    set_ticks(places, labels, fontsize=SMALL, **_style("black"))


def scale_ticks(scale: float) -> tuple[list[float], list[str]]:
    """Return where the ends and the middle of a relative scale lie, and the true numbers there."""
    if scale == 0:
        return [0.0], ["0"]
    return [-1.0, 0.0, 1.0], [f"−{scale:.2g}", "0", f"+{scale:.2g}"]


def relative(values: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Return the values over the scale, clipped to [−1, 1]; zeros for a scale of 0."""
    # Clipped first: a tiny scale must not overflow the quotient.
    return np.clip(values, -scale, scale) / scale if scale > 0 else np.zeros_like(values)


def width_of(text: str, size: float, bold: bool = False) -> float:
    """Return how wide a line of text is, in inches."""
    renderer = _renderer()
    from matplotlib.font_manager import FontProperties

    font = FontProperties(family=_FONT, size=size, weight="bold" if bold else "normal")
    width: float = renderer.get_text_width_height_descent(text, font, ismath=False)[0]
    return width / _DPI


def shortened(text: str, size: float, room: float, bold: bool = False) -> str:
    """Return a text as one line, cut short with an ellipsis where it is wider than its room in inches."""
    text = " ".join(text.split())
    if width_of(text, size, bold) <= room:
        return text
    while text and width_of(text + "…", size, bold) > room:
        text = text[:-1].rstrip()
    return text + "…"


@cache
def colours() -> Colormap:
    """Return the diverging colour map: blue at 0, white at ½, red at 1."""
    from matplotlib.colors import LinearSegmentedColormap

    # An odd number of colours, so that the middle is one of them.
    return LinearSegmentedColormap.from_list("blue_to_red", BLUE_TO_RED, N=257)


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra.of("matplotlib", "plot", "drawing a figure") from None
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white", edgecolor="white")
    figure.set_layout_engine("none")
    FigureCanvasAgg(figure)
    return figure


@cache
def _renderer() -> Any:
    canvas: Any = _figure(1.0, 1.0).canvas  # Agg's, whose get_renderer the base class lacks
    return canvas.get_renderer()


def _wrapped(text: str, room: float) -> list[str]:
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".lstrip()
            if line and width_of(longer, SMALL) > room:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


def _style(colour: str) -> dict[str, Any]:
    # A class or feature called "$x" is text, not mathematics.
    return {"color": colour, "fontfamily": _FONT, "parse_math": False, "usetex": False}
