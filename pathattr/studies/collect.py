"""From a folder, a CSV file or "scenes" to pictures with their classes."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

from pathattr import scenes
from pathattr.common.checks import whole
from pathattr.common.files import read_plain
from pathattr.errors import InvalidInput
from pathattr.pictures.image_model import ImageModel
from pathattr.studies.data import Box, File, Item, Pictures, Scene, spread

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
MOST = 2**28  # bytes of a CSV file: of a million pictures
SCENES = 20  # generated pictures where no limit is said
COLUMNS = ("path", "label", "mask", "top", "left", "bottom", "right")


def collected(
    spec: str, model: ImageModel, channel_axis: int, *, limit: int | None = None, seed: int = 0
) -> Pictures:  # fmt: skip
    """Return the pictures that a spec names, at most `limit` of them, spread evenly over their classes.

    "scenes" are generated pictures of `seed` ("scenes:7": of seed 7) with exact masks. A folder holds one folder a
    class, called as the model calls it or by its index; pictures in no such folder have no class. A CSV file has a
    header with `path` and, as far as known, `label` and `mask` or `top`, `left`, `bottom`, `right`; relative paths
    count from the file's own folder. Masks and boxes are in pixels of the picture before it is resized.
    """
    if limit is not None:
        whole("--limit", limit)
    if spec == "scenes" or spec.startswith("scenes:"):
        return Pictures(_scenes(spec, SCENES if limit is None else limit, seed, model), model, channel_axis)
    path = Path(spec).expanduser()
    if path.is_dir():
        items = _folder(path, model.classes)
    elif path.is_file():
        items = _table(path, model.classes)
    else:
        raise InvalidInput(
            f"there is no data {spec!r}: expected scenes, a folder with one folder of pictures a class, or a CSV file "
            "with the columns path, label and, as far as known, mask or top, left, bottom, right"
        )
    chosen = spread([item.label for item in items], limit)
    return Pictures([items[row] for row in chosen], model, channel_axis)


def class_index(name: str, classes: Sequence[str] | None) -> int:
    """Return the index of a class given by its name or its index; raises InvalidInput where there is none."""
    names = [str(known) for known in classes or ()]
    for fold in (str, str.casefold):
        folded = [fold(known) for known in names]
        if folded.count(fold(name)) == 1:
            return folded.index(fold(name))
        if fold is str and name in folded:
            raise InvalidInput(f"class {name!r}: {folded.count(name)} classes are called so; give an index instead")
    if name.isascii() and name.isdigit():
        index = int(name)
        if names and index >= len(names):
            raise InvalidInput(f"class {name} is out of range: the model has {len(names)} classes, from 0")
        return index
    if not names:
        raise InvalidInput(f"class {name!r}: this model names no classes, so a class is its index")
    close = get_close_matches(name, names, n=3, cutoff=0.4) or names[:3]
    raise InvalidInput(
        f"class {name!r} is none of the model's {len(names)} classes, such as {', '.join(map(repr, close))}; "
        "an index will do too"
    )


def _scenes(spec: str, count: int, seed: int, model: ImageModel) -> list[Item]:
    _, colon, given = spec.partition(":")
    if colon:
        if not (given.isascii() and given.isdigit()):
            raise InvalidInput(f"data {spec!r}: expected scenes, or scenes:SEED with a whole number")
        seed = int(given)
    # To a model of other classes a scene's class means nothing.
    known = tuple(model.classes or ()) == scenes.CLASSES
    return [Item(f"scene {i}", Scene(seed, i), i % len(scenes.CLASSES) if known else None) for i in range(count)]


def _folder(folder: Path, classes: Sequence[str] | None) -> list[Item]:
    items = []
    for path in sorted(_files(folder)):
        inside = path.relative_to(folder)
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        label = None
        if len(inside.parts) > 1:
            try:
                label = class_index(inside.parts[0], classes)
            except InvalidInput as error:
                raise InvalidInput(f"folder {folder / inside.parts[0]}: {error}") from error
        items.append(Item(_printable(inside.as_posix()), File(path), label))
    if not items:
        raise InvalidInput(
            f"there is no picture in {folder}: expected one folder a class with pictures ({', '.join(SUFFIXES)})"
        )
    bare = [item.name for item in items if item.label is None]
    if bare and len(bare) < len(items):
        raise InvalidInput(
            f"{folder} has folders of classes and pictures in none of them, such as {bare[0]}: move those into the "
            "folder of their class, or give a CSV file"
        )
    return items


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, links followed, each folder once; not what is hidden, nor a study's own."""
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen or {"plan.json", "results"} <= {*files, *folders}:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in files if not name.startswith("."))


def _printable(name: str) -> str:
    """Return a file's name as text: bytes that are no UTF-8 as \\x.."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _table(path: Path, classes: Sequence[str] | None) -> list[Item]:
    try:
        with io.StringIO(read_plain(path, MOST).decode("utf-8-sig"), newline="") as file:
            reader = csv.DictReader(file)
            header = [name.strip().lower() for name in reader.fieldnames or ()]
            reader.fieldnames = header
            if "path" not in header:
                raise InvalidInput(
                    f"{path} has no column path; its first line must name the columns: {', '.join(COLUMNS)} "
                    f"(path alone will do); got {', '.join(header) or 'nothing'}"
                )
            unknown = [name for name in header if name not in COLUMNS]
            if unknown:
                raise InvalidInput(
                    f"{path} has columns of no meaning here, {unknown}; those known: {', '.join(COLUMNS)}"
                )
            items = [_row(path, reader.line_num, row, classes) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise InvalidInput(f"cannot read {path} as a CSV file in UTF-8: {reason}") from error
    if not items:
        raise InvalidInput(f"{path} lists no pictures: one line each is needed below the header")
    without = [item.name for item in items if item.label is None]
    if without and len(without) < len(items):
        raise InvalidInput(
            f"{path} gives no label to {len(without)} of {len(items)} pictures, such as {without[0]}: label all or none"
        )
    return items


def _row(path: Path, line: int, row: dict[str, str | None], classes: Sequence[str] | None) -> Item:
    cells = {name: (value or "").strip() for name, value in row.items() if isinstance(name, str)}
    where = f"{path}, line {line}"
    if None in row or not cells["path"]:
        raise InvalidInput(f"{where}: expected a path and as many cells as the header has")
    try:
        label = class_index(cells["label"], classes) if cells.get("label") else None
    except InvalidInput as error:
        raise InvalidInput(f"{where}: {error}") from error
    mask = cells.get("mask")
    sides = [cells.get(side, "") for side in COLUMNS[3:]]
    if mask and any(sides):
        raise InvalidInput(f"{where}: the object is told by a mask or by a box, not by both")
    source = File(path.parent / cells["path"], path.parent / mask if mask else None, _box(where, sides))
    return Item(cells["path"], source, label)


def _box(where: str, sides: Sequence[str]) -> Box | None:
    if not any(sides):
        return None
    try:
        top, left, bottom, right = (float(side) for side in sides)
    except ValueError:
        raise InvalidInput(f"{where}: a box is four numbers, top, left, bottom, right; got {sides}") from None
    return top, left, bottom, right
