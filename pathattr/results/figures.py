"""Pictures out: signed maps, overlays, bars and the grid of methods, as matplotlib figures.

Pictures are (h, w, 3), or grey, (h, w) or (h, w, 1), with pixels in [0, 1] or 8-bit numbers; channels may come first
too. Signed maps are (h, w), summed over channels and not normalised: red speaks for the target, blue against it, white
is zero.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pathattr.common.checks import is_number, numbers, on_host
from pathattr.errors import InvalidInput
from pathattr.results.canvas import (
    BAR,
    BLUE_TO_RED,
    GAP,
    LINE,
    MARGIN,
    NORMAL,
    SMALL,
    TICKS,
    Sheet,
    colours,
    relative,
    scale_ticks,
    shortened,
    ticks,
    width_of,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Inches.
_TILE = 1.35  # a picture or map of the grid
_FRAME = 0.66  # a picture of a filmstrip
_NAME = 1.6  # the widest name beside a strip, bar or row
_MOST_BARS = 40
_MOST_COLUMNS = 650  # bars side by side: each is wider than a pixel

_FOR, _AGAINST = BLUE_TO_RED[-3], BLUE_TO_RED[2]


@dataclass(frozen=True)
class Panel:
    """One method on one input: its name, its signed map (h, w) and one line of text under the map.

    `filmstrip` holds points of its path as (α, picture) pairs; what leaves [0, 1] is clipped for show.
    """

    name: str
    signed_map: ArrayLike
    caption: str = ""
    filmstrip: Sequence[tuple[float, ArrayLike]] = ()


@dataclass(frozen=True)
class FigureRow:
    """One input: its picture (h, w, 3), a title such as the predicted class and F(x), and its methods.

    `caption` is one line of text under the picture.
    """

    picture: ArrayLike
    title: str
    panels: Sequence[Panel]
    caption: str = ""


def scale_of(maps: ArrayLike | Sequence[ArrayLike], percentile: float = 99.0) -> float:
    """Return the percentile of |value| over all maps together: what full colour stands for.

    It is the largest |value| where the percentile is 0 though a map is not, and 0 where all maps are zero.
    Raises InvalidInput for NaN or infinity.
    """
    if not (is_number(percentile) and 0 < percentile <= 100):
        raise InvalidInput(f"expected a percentile in (0, 100]; got {percentile!r}")
    parts = maps if isinstance(maps, Sequence) else [maps]
    values = [np.abs(_finite(part, "signed map")).ravel() for part in parts]
    together = np.concatenate(values) if values else np.zeros(0)
    if together.size == 0:
        raise InvalidInput("expected at least one signed map with values; got none")
    return float(np.percentile(together, percentile)) or float(together.max())


def overlay(
    picture: ArrayLike,
    signed_map: ArrayLike,
    *,
    title: str | None = None,
    percentile: float = 99.0,
    footer: str | None = None,
) -> Figure:
    """Return the picture beside itself in faint grey under the signed map, the more opaque the stronger."""
    values = _map(signed_map)
    shown = _picture(picture, values.shape)
    if shown.shape[:2] != values.shape:
        raise InvalidInput(
            f"expected a picture and a map of one size; got {shown.shape[:2]} and {values.shape}: "
            "give the picture as the model sees it"
        )
    scale = scale_of(values, percentile)
    side = 2.8
    height = side * _proportion(values.shape)
    sheet = Sheet(2 * MARGIN + 2 * (side + GAP) + BAR + TICKS)
    top = sheet.heading(title)
    for x, name, drawn in (
        (MARGIN, "input", shown),
        (MARGIN + side + GAP, "attribution", _blend(shown, relative(values, scale))),
    ):
        sheet.text(x, top, name)
        sheet.picture((x, top + LINE, side, height), drawn)
    sheet.colour_bar(MARGIN + 2 * (side + GAP), top + LINE, height, scale)
    return sheet.finish(top + LINE + height, footer)


def signed(
    signed_map: ArrayLike, *, title: str | None = None, percentile: float = 99.0, footer: str | None = None
) -> Figure:
    """Return one signed map (h, w) with its colour bar."""
    values = _map(signed_map)
    scale = scale_of(values, percentile)
    side = 3.4
    height = side * _proportion(values.shape)
    sheet = Sheet(2 * MARGIN + side + GAP + BAR + TICKS)
    top = sheet.heading(title)
    sheet.signed((MARGIN, top, side, height), values, scale)
    sheet.colour_bar(MARGIN + side + GAP, top, height, scale)
    return sheet.finish(top + height, footer)


def heatmap(
    signed_map: ArrayLike,
    *,
    names: Sequence[str] | None = None,
    axes: tuple[str, str] = ("position", "feature"),
    title: str | None = None,
    percentile: float = 99.0,
    footer: str | None = None,
) -> Figure:
    """Return a table of signed values, such as (tokens, embedding), stretched over a frame.

    `names` labels the table's rows; `axes` says what its rows and its columns are. Of values too many to be told apart
    the strongest are seen.
    """
    values = _map(signed_map)
    scale = scale_of(values, percentile)
    count = values.shape[0]
    # As many labels as there is room for, evenly spaced.
    height = float(np.clip(0.16 * count, 1.6, 8.0))
    labelled = range(0, count, int(np.ceil(0.14 * count / height)))
    labels = _labels(names, count)
    room = max(width_of(labels[index], SMALL) for index in labelled) + GAP
    wide = 5.0
    sheet = Sheet(2 * MARGIN + room + wide + GAP + BAR + TICKS)
    top = sheet.heading(title)
    left = MARGIN + room
    sheet.text(MARGIN, top, f"{axes[0]} ↓, {axes[1]} →", size=SMALL)
    strongest = _strongest(_strongest(values, int(height * 100), 0), int(wide * 100), 1)
    drawn = sheet.signed((left, top + LINE, wide, height), strongest, scale, fill=True)
    rows, columns = (shown / had for shown, had in zip(strongest.shape, values.shape, strict=True))
    ticks(drawn, "y", [(k + 0.5) * rows - 0.5 for k in labelled], [labels[index] for index in labelled])
    ends = [0, values.shape[1] - 1] if values.shape[1] > 1 else [0]
    ticks(drawn, "x", [(k + 0.5) * columns - 0.5 for k in ends], [str(end) for end in ends])
    sheet.colour_bar(left + wide + GAP, top + LINE, height, scale)
    return sheet.finish(top + LINE + height + LINE, footer)


def bars(
    signed_vector: ArrayLike,
    names: Sequence[str] | None = None,
    *,
    title: str | None = None,
    footer: str | None = None,
) -> Figure:
    """Return the signed values of (n,) features as bars.

    Up to 40 features are listed from top to bottom. Of more, the 40 strongest are listed if they have
    names, and all are drawn from left to right if they have none: where there are more than can be told apart, a bar
    stands for several neighbours and reaches from the least to the greatest of them.
    """
    values = _finite(signed_vector, "signed vector")
    if values.ndim != 1 or values.size == 0:
        raise InvalidInput(f"expected a signed vector of shape (n,); got {values.shape}")
    labels = _labels(names, values.size)
    listed = names is not None or values.size <= _MOST_BARS
    chosen = np.arange(values.size)
    if listed and values.size > _MOST_BARS:
        chosen = np.argsort(-np.abs(values), kind="stable")[:_MOST_BARS]
        said = f"the {_MOST_BARS} strongest of {values.size} features"
        footer = said if footer is None else f"{said}\n{footer}"
    # Drawn relative to the strongest, so that no magnitude is too small or too large for the axis.
    scale = float(np.abs(values).max())
    lengths = relative(values[chosen], scale)
    ends = scale_ticks(scale)
    if listed:
        room = max(width_of(labels[index], SMALL) for index in chosen) + GAP
        wide, height = 4.0, 0.17 * len(chosen) + 0.1
    else:
        room, wide, height = TICKS, 6.5, 2.4
    sheet = Sheet(2 * MARGIN + room + wide + 0.2)
    top = sheet.heading(title)
    axes = sheet.axes((MARGIN + room, top, wide, height))
    if listed:
        places = np.arange(len(chosen))
        fills = [_FOR if length > 0 else _AGAINST for length in lengths]
        axes.barh(places, lengths, color=fills, edgecolor="none", height=0.75)
        axes.axvline(0, color="black", linewidth=0.6)
        axes.set(ylim=(len(chosen) - 0.5, -0.5), xlim=(-1.05, 1.05))
        ticks(axes, "y", places.tolist(), [labels[index] for index in chosen])
        ticks(axes, "x", *ends)
    else:
        # A bar narrower than a pixel would fade, and a spike with it.
        starts = np.unique(np.arange(_MOST_COLUMNS) * values.size // _MOST_COLUMNS)
        edges = np.append(starts, values.size) - 0.5
        axes.axhline(0, color="black", linewidth=0.6, zorder=0.5)  # behind the bars, however weak
        for end, colour in ((np.maximum, _FOR), (np.minimum, _AGAINST)):
            heights = end(end.reduceat(lengths, starts), 0.0)
            axes.stairs(heights, edges, fill=True, color=colour, linewidth=0)
        aside = 0.005 * values.size  # clear of the frame's line
        axes.set(xlim=(-0.5 - aside, values.size - 0.5 + aside), ylim=(-1.05, 1.05))
        ticks(axes, "x", [0, values.size - 1], [labels[0], labels[-1]])
        ticks(axes, "y", *ends)
    return sheet.finish(top + height + LINE, footer)


def grid(
    rows: Sequence[FigureRow], *, title: str | None = None, percentile: float = 99.0, footer: str | None = None
) -> Figure:
    """Return inputs one below the other, each with its methods' maps and, beside them, their paths.

    All maps of one input share one scale and one colour bar.
    """
    if not rows or not all(row.panels for row in rows):
        raise InvalidInput("expected at least one input with at least one method each; got none")
    panels = [panel for row in rows for panel in row.panels]
    frames = max(len(panel.filmstrip) for panel in panels)
    # Three columns of maps are about as high as the strips beside them, whatever the number of methods.
    columns = min(3 if frames else 6, 1 + max(len(row.panels) for row in rows))
    bar = MARGIN + columns * (_TILE + GAP)
    film = bar + BAR + TICKS
    named = GAP + min(_NAME, max(width_of(panel.name, SMALL) for panel in panels))
    sheet = Sheet(film + MARGIN + (named + frames * _FRAME if frames else 0.0))
    top = sheet.heading(title)
    for row in rows:
        maps = [_map(panel.signed_map) for panel in row.panels]
        picture = _picture(row.picture, maps[0].shape)
        scale = scale_of(maps, percentile)
        proportion = _proportion(picture.shape)
        sheet.text(MARGIN, top, row.title, bold=True, room=sheet.width - 2 * MARGIN)
        first = top + 0.25
        height = _TILE * proportion
        step = height + 2 * LINE + GAP
        texts = [("input", row.caption), *((panel.name, panel.caption) for panel in row.panels)]
        for position, (name, caption) in enumerate(texts):
            x = MARGIN + position % columns * (_TILE + GAP)
            y = first + position // columns * step
            place = (x, y + LINE, _TILE, height)
            sheet.text(x, y, name, size=NORMAL, room=_TILE)
            sheet.text(x, y + LINE + height + 0.03, caption, size=SMALL, room=_TILE)
            if position == 0:
                sheet.picture(place, picture)
            else:
                sheet.signed(place, maps[position - 1], scale)
        below = first + (-(-len(texts) // columns)) * step
        sheet.colour_bar(bar, first + LINE, below - first - step + height, scale)
        strips = _filmstrips(sheet, row.panels, (film, first), named, _FRAME * proportion)
        top = max(below, strips) + GAP
    return sheet.finish(top - GAP, footer)


def png_bytes(figure: Figure) -> bytes:
    """Return the figure as a PNG file; equal figures give equal bytes under one version of matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    # Not Figure.savefig, which obeys the user's settings for crop, colour and resolution.
    canvas: Any = FigureCanvasAgg(figure)  # its print_png has no type hints
    canvas.print_png(buffer, metadata={"Software": "pathattr"})
    return buffer.getvalue()


def _strongest(values: NDArray[np.float64], most: int, axis: int) -> NDArray[np.float64]:
    """Return at most `most` rows (or columns): of neighbours that share one, the value furthest from 0."""
    count = values.shape[axis]
    starts = np.unique(np.arange(most) * count // most)
    high, low = (end.reduceat(values, starts, axis=axis) for end in (np.maximum, np.minimum))
    return np.asarray(np.where(high >= -low, high, low))


def _filmstrips(
    sheet: Sheet, panels: Sequence[Panel], corner: tuple[float, float], named: float, height: float
) -> float:
    """Draw the paths one below the other, each frame under its α; return where the last one ends."""
    x, y = corner
    above: list[float] = []
    for panel in panels:
        if not panel.filmstrip:
            continue
        alphas = [alpha for alpha, _ in panel.filmstrip]
        if alphas != above:  # the same α need no second mention
            for position, alpha in enumerate(alphas):
                label = f"α = {alpha:.2g}" if position == 0 else f"{alpha:.2g}"
                middle = x + named + (position + 0.5) * _FRAME
                sheet.text(middle, y + 0.02, label, size=SMALL, align="center")
            y += LINE
            above = alphas
        sheet.text(x, y + height / 2 - 0.06, panel.name, size=SMALL, room=named - GAP)
        for position, (_, point) in enumerate(panel.filmstrip):
            frame = _finite(point, "point of a path")
            if frame.ndim != 3 or frame.shape[2] != 3:
                raise InvalidInput(f"expected points of a path as (h, w, 3); got {frame.shape}")
            sheet.picture((x + named + position * _FRAME, y, _FRAME - 0.03, height - 0.03), frame)
        y += height
    return y


def _blend(picture: NDArray[np.float64], strength: NDArray[np.float64]) -> NDArray[np.float64]:
    grey = picture @ np.array([0.299, 0.587, 0.114])  # luma
    faint = (0.45 + 0.55 * grey)[..., None]
    # The square root lets the many weak pixels show at all beside the few strong ones.
    opacity = np.sqrt(np.abs(strength))[..., None]
    colour = np.asarray(colours()(0.5 + 0.5 * strength))[..., :3]
    mixed: NDArray[np.float64] = (1 - opacity) * faint + opacity * colour
    return mixed


def _finite(array: ArrayLike, what: str) -> NDArray[np.float64]:
    values = numbers(f"expected a {what} of numbers, in one shape", array)
    if not np.isfinite(values).all():
        raise InvalidInput(f"expected a finite {what}; got NaN or infinity: look for it in the model's output")
    return values


def _map(signed_map: ArrayLike) -> NDArray[np.float64]:
    values = _finite(signed_map, "signed map")
    if values.ndim != 2 or 0 in values.shape:
        raise InvalidInput(f"expected a signed map of shape (h, w); got {values.shape}: sum over channels first")
    return values


def _picture(picture: ArrayLike, size: tuple[int, ...]) -> NDArray[np.float64]:
    """Return a picture as (h, w, 3) in [0, 1], whatever it arrives as; its map's size tells rows from channels."""
    given = on_host(picture)
    whole = str(getattr(given, "dtype", "")) == "uint8"
    values = _finite(given, "picture") / (255 if whole else 1)
    if values.shape == (3, *size) == (*size, 3):
        raise InvalidInput(
            "expected a picture whose channels can be told from its rows; got (3, 3, 3), which may be (h, w, 3) or "
            "(3, h, w): give it in grey, (3, 3)"
        )
    if values.shape in ((3, *size), (1, *size)) and values.shape[:2] != size:
        values = np.moveaxis(values, 0, 2)
    shape = values.shape
    values = values[:, :, None] if values.ndim == 2 else values
    if values.ndim != 3 or values.shape[2] not in (1, 3) or 0 in values.shape:
        raise InvalidInput(
            f"expected one picture of shape (h, w, 3), (h, w), (h, w, 1), (3, h, w) or (1, h, w) over a map of {size}; "
            f"got {shape}: give one picture, as the model sees it"
        )
    if values.min() < -1e-3 or values.max() > 1 + 1e-3:  # beyond what undoing a normalisation rounds
        raise InvalidInput(
            f"expected a picture with pixels in [0, 1], or of uint8; got {values.min():g} to {values.max():g}: "
            "undo the model's normalisation first, or divide by 255"
        )
    return np.clip(np.broadcast_to(values, (*values.shape[:2], 3)), 0.0, 1.0)


def _labels(names: Sequence[str] | None, count: int) -> list[str]:
    if names is None:
        return [str(index) for index in range(count)]
    if len(names) != count:
        raise InvalidInput(f"expected one name for each of {count}; got {len(names)} names")
    return [shortened(str(name), SMALL, _NAME) for name in names]


def _proportion(shape: tuple[int, ...]) -> float:
    # Of the place a picture gets; a ribbon is drawn as large as fits.
    return float(np.clip(shape[0] / shape[1], 0.4, 1.6))
