"""Tables that fit the terminal, whatever its width."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from pathattr.cli.terminal import to_stdout
from pathattr.common.texts import visible

PIPE = 160  # a pipe has no width: give tables room rather than cut them
MOST = 30  # the width up to which a column is not wrapped

Rows = Sequence[Sequence[str]]


def tell_table(rows: Rows, *, keys: int = 1, styles: Mapping[str, str] | None = None) -> None:
    """Print a table to stdout; the first row is its header, cells that read as a key of `styles` get that style.

    Raises Unheard.
    """
    console = Console() if sys.stdout.isatty() else Console(width=PIPE)
    for part in fitted(rows, console.width, keys, styles or {}):
        with console.capture() as written:  # rich itself would end the program where the reader has left
            console.print(part)
        to_stdout(written.get().removesuffix("\n"))


def fitted(rows: Rows, width: int, keys: int = 1, styles: Mapping[str, str] | None = None) -> Iterator[RenderableType]:
    """Yield a table in parts as wide as the terminal, each with the first `keys` columns.

    Where some column does not fit beside those, each cell has a line of its own.
    """
    styles = styles or {}
    columns = [[visible(cell) for cell in column] for column in zip(*rows, strict=True)]
    lengths = [max(map(cell_len, column)) for column in columns]
    # With a rule and a blank on both sides; the keys are not wrapped.
    taken = [(length if place < keys else min(length, MOST)) + 3 for place, length in enumerate(lengths)]
    room = width - 1 - sum(taken[:keys])
    if max(taken[keys:], default=0) > room:
        yield from _lines(columns, styles)
        return
    if len(columns) <= keys:
        yield _table(columns, keys, styles)
    first = keys
    while first < len(columns):
        last = first + 1
        while last < len(columns) and sum(taken[first : last + 1]) <= room:
            last += 1
        yield _table(columns[:keys] + columns[first:last], keys, styles)
        first = last


def _table(columns: Rows, keys: int, styles: Mapping[str, str]) -> Table:
    table = Table()
    for place, (name, *_) in enumerate(columns):
        table.add_column(Text(name), no_wrap=place < keys)
    for row in list(zip(*columns, strict=True))[1:]:
        table.add_row(*(Text(cell, styles.get(cell, "")) for cell in row))
    return table


def _lines(columns: Rows, styles: Mapping[str, str]) -> Iterator[Text]:
    header, *body = zip(*columns, strict=True)
    for row in body:
        yield from (
            Text.assemble(f"{name}: ", (cell, styles.get(cell, ""))) for name, cell in zip(header, row, strict=True)
        )
        yield Text()
