"""What a study runs on: examples with their classes and, where known, where the object is."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathattr import scenes
from pathattr.common.axes import Array
from pathattr.common.checks import numbers, on_host
from pathattr.common.files import read_plain
from pathattr.errors import InvalidInput
from pathattr.pictures.image_model import ImageModel, prepare
from pathattr.pictures.reading import read_picture

Box = tuple[float, float, float, float]
"""Top, left, bottom, right in pixels of the picture as it is in its file, upright; the last two exclusive."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Some examples: `inputs` as the model takes them, masks (batch, *spatial), pictures (h, w, 3) to show."""

    inputs: Any
    masks: NDArray[np.bool_] | None = None
    shown: Sequence[Array] | None = None


class Data(ABC):
    """Examples in a fixed order. `labels` is (examples,) or None where no classes are known."""

    names: Sequence[str]
    labels: NDArray[np.intp] | None = None
    unmasked: Sequence[str] = ()
    """The names of the examples of which it is not known where the object is."""
    left_out: Sequence[tuple[str, str]] = ()
    """Examples that could not be read, each with the reason; they are not counted among the examples."""

    def __len__(self) -> int:
        return len(self.names)

    @abstractmethod
    def batch(self, rows: Sequence[int]) -> Batch:
        """Return the examples of these numbers; the same on every call."""

    @abstractmethod
    def digest(self, row: int) -> str:
        """Return a short text that changes when anything about an example changes."""


class Arrays(Data):
    """Examples in memory, for scripts: `inputs` (examples, ...) in input space, of any framework.

    `shown` are pictures (h, w, 3) in [0, 1] for the figure of maps; without them it is left out.
    """

    def __init__(
        self,
        inputs: Any,
        labels: Any = None,
        *,
        masks: Any = None,
        names: Sequence[str] | None = None,
        shown: Sequence[Array] | None = None,
    ) -> None:
        count = len(inputs)
        for what, given in (("labels", labels), ("masks", masks), ("names", names), ("shown", shown)):
            if given is not None and len(given) != count:
                raise InvalidInput(f"{what} has {len(given)} entries for {count} examples: one each is needed")
        self.inputs, self.shown = inputs, shown
        self.labels = None if labels is None else _labels(labels)
        self.masks = None if masks is None else _booleans(masks)
        self.names = [f"example {i}" for i in range(count)] if names is None else [str(name) for name in names]
        self.unmasked = self.names if masks is None else ()

    def batch(self, rows: Sequence[int]) -> Batch:
        chosen = list(rows)
        return Batch(
            self.inputs[np.asarray(chosen)],  # JAX takes no lists
            None if self.masks is None else self.masks[chosen],
            None if self.shown is None else [self.shown[row] for row in chosen],
        )

    def digest(self, row: int) -> str:
        part = np.ascontiguousarray(on_host(self.inputs[row]))
        mask = b"" if self.masks is None else self.masks[row].tobytes()
        return _hash(part.tobytes(), f"{part.dtype} {part.shape}".encode(), mask)


def _labels(labels: Any) -> NDArray[np.intp]:
    """Return classes (examples,) by number."""
    array = numbers("labels must be whole numbers, one for each example", labels)
    if array.ndim != 1 or not (array == np.floor(array)).all() or (array < 0).any():
        raise InvalidInput(
            "labels must be whole numbers, one for each example: the indices of the classes; got shape "
            f"{array.shape}, such as {array.ravel()[:3]}"
        )
    return array.astype(np.intp)


def _booleans(masks: Any) -> NDArray[np.bool_]:
    """Return masks of booleans, or of 0 and 1, as booleans."""
    array = numbers("masks must be booleans, or 0 and 1, in one shape", masks)
    if not np.isin(array, (0, 1)).all():
        raise InvalidInput("masks are booleans, or 0 and 1: threshold soft masks first")
    return array.astype(bool)


class Source(ABC):
    """Where one picture comes from."""

    @abstractmethod
    def read(self) -> tuple[Array, NDArray[np.bool_] | None]:
        """Return the picture (h, w, 3) in [0, 1] and the object's mask (h, w), None where it is not known."""

    @abstractmethod
    def digest(self) -> str:
        """Return a short text that changes with what `read` returns."""


@dataclass(frozen=True)
class Item:
    """One picture of a collection: its name, where it comes from, and its class, None where it is not known."""

    name: str
    source: Source
    label: int | None


@dataclass(frozen=True)
class File(Source):
    """A picture in a file, and where its object is: a mask in another file, or a box."""

    path: Path
    mask: Path | None = None
    box: Box | None = None

    def read(self) -> tuple[Array, NDArray[np.bool_] | None]:
        picture = read_picture(self.path)
        height, width = picture.shape[:2]
        if self.mask is not None:
            mask = read_mask(self.mask)
            if mask.shape != (height, width):
                raise InvalidInput(
                    f"the mask {self.mask} has {mask.shape[1]} × {mask.shape[0]} pixels and its picture {self.path} "
                    f"{width} × {height}: they must be of one size, both upright"
                )
            return picture, mask
        if self.box is not None:
            top, left, bottom, right = self.box
            if not (0 <= top < bottom <= height and 0 <= left < right <= width):
                raise InvalidInput(
                    f"the box {self.box} does not lie in {self.path} of {width} × {height} pixels: expected top, left, "
                    "bottom, right, the last two exclusive"
                )
            mask = np.zeros((height, width), bool)
            mask[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))] = True
            return picture, mask
        return picture, None

    def digest(self) -> str:
        try:
            parts = [read_plain(path) for path in (self.path, self.mask) if path is not None]
        except OSError as error:
            raise InvalidInput(f"cannot read {error.filename or self.path}: {error.strerror}") from error
        return _hash(*parts, repr(self.box).encode())


@dataclass(frozen=True)
class Scene(Source):
    """Picture `index` of the generated scenes of `seed`, with its exact mask."""

    seed: int
    index: int

    def read(self) -> tuple[Array, NDArray[np.bool_] | None]:
        made = scenes.generate(1, seed=self.seed, start=self.index)
        return made.images[0].astype(np.float64), made.masks[0]

    def digest(self) -> str:
        return f"scene {self.index} of seed {self.seed}"


@dataclass(eq=False)
class Pictures(Data):
    """Pictures prepared for a model as every command prepares them, float32, masks along with them.

    A mask is resized and cropped exactly as its picture is, as the share of each pixel that the object covers; a pixel
    belongs to the object where that is at least half. An object smaller than half a pixel keeps the pixels that it
    covers most. All pictures are read once when this is made: those that cannot be read are in `left_out`, named, and
    the others are the examples. `channel_axis` counts the batch axis.

    Raises InvalidInput where none can be read, or they differ in size and the model takes any size.
    """

    items: Sequence[Item]
    model: ImageModel
    channel_axis: int = 1
    left_out: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        kept, shapes, unmasked, digests = [], set(), [], []
        for item in self.items:
            try:
                shown, _, mask = self._prepared(item)
                digests.append(item.source.digest())
            except InvalidInput as error:
                self.left_out.append((item.name, str(error)))
                continue
            kept.append(item)
            shapes.add(shown.shape[:2])
            unmasked += [item.name] if mask is None else []
        if not kept:
            first = f"; the first: {self.left_out[0][1]}" if self.left_out else ""
            raise InvalidInput(f"none of the {len(self.items)} pictures can be read{first}")
        if len(shapes) > 1:
            raise InvalidInput(
                f"the model takes pictures of any size and these have several, {sorted(shapes)[:4]}: say --size (or "
                "ImageModel(size=...)) to make them one"
            )
        self.items, self._digests = kept, digests
        self.names = [item.name for item in kept]
        known = [item.label is not None for item in kept]
        self.labels = np.array([item.label for item in kept], dtype=np.intp) if all(known) else None
        self.unmasked = unmasked

    def batch(self, rows: Sequence[int]) -> Batch:
        shown, inputs, masks = zip(*(self._prepared(self.items[row]) for row in rows), strict=True)
        known = [mask for mask in masks if mask is not None]
        return Batch(
            np.stack(inputs).astype(np.float32), None if self.unmasked else np.stack(known), list(shown)
        )  # fmt: skip

    def digest(self, row: int) -> str:
        return self._digests[row]

    def _prepared(self, item: Item) -> tuple[Array, Array, NDArray[np.bool_] | None]:
        picture, mask = item.source.read()
        shown, inputs = prepare(picture, self.model)
        fitted = None if mask is None else prepared_mask(mask, self.model)
        if fitted is not None and not fitted.any():
            raise InvalidInput(f"{item.name}: cropped to the model's size, nothing of the object is left")
        axis = self.channel_axis - 1 if self.channel_axis > 0 else -1
        return shown, np.moveaxis(inputs, 0, axis), fitted


def prepared_mask(mask: NDArray[np.bool_], model: ImageModel) -> NDArray[np.bool_]:
    """Return a mask (H, W) as `prepare` resizes and crops its picture: (h, w), True where half a pixel is covered."""
    picture = np.repeat(mask[:, :, None].astype(np.float64), 3, axis=2)
    covered = prepare(picture, replace(model, preprocessing=None))[0][..., 0]
    # Rounding of the resampling weights must not lose pixels that are covered by half, or all alike.
    enough = min(0.5, float(covered.max())) - 1e-9
    return np.asarray(covered >= enough) & (covered > 0)


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Return the mask in a picture file (H, W): True where a pixel is neither black nor transparent.

    Of a JPEG file it is True where a pixel is brighter than half: around edges its black is not quite black. Raises
    InvalidInput for a mask that is black all over.
    """
    least = 0.5 if path.suffix.lower() in (".jpg", ".jpeg") else 0.0
    mask = read_picture(path, ground=0.0).max(axis=2) > least
    if not mask.any():
        raise InvalidInput(f"the mask {path} is black all over: pixels of the object are those that are not black")
    return mask


def spread(labels: Sequence[int | None], limit: int | None) -> list[int]:
    """Return the numbers of at most `limit` examples, spread evenly over the classes, and within each over the list.

    They come class by class in turn, so that the first few are a fair sample of all. Where a class is unknown they are
    spread over the list, in its order. Nothing is drawn at random.
    """
    count = len(labels) if limit is None else min(limit, len(labels))
    if any(label is None for label in labels):
        return evenly(len(labels), count)
    members: dict[int, list[int]] = {}
    for row, label in enumerate(labels):
        members.setdefault(label, []).append(row)  # type: ignore[arg-type]  # none is None here
    classes = [members[label] for label in sorted(members)]
    if count < len(classes):
        return [classes[k][0] for k in evenly(len(classes), count)]
    shares = _shares([len(rows) for rows in classes], count)
    chosen = [[rows[k] for k in evenly(len(rows), share)] for rows, share in zip(classes, shares, strict=True)]
    longest = max(shares)
    return [rows[turn] for turn in range(longest) for rows in chosen if turn < len(rows)]


def evenly(count: int, wanted: int) -> list[int]:
    """Return `wanted` of the numbers below `count`, as evenly spaced as they can be."""
    return [(2 * k + 1) * count // (2 * wanted) for k in range(wanted)]


def _shares(sizes: Sequence[int], count: int) -> list[int]:
    """Return how many of each class to take: equal shares, what small classes lack from the others in turn."""
    shares = [0] * len(sizes)
    for _ in range(count):
        open_classes = [k for k in range(len(sizes)) if shares[k] < sizes[k]]
        shares[min(open_classes, key=lambda k: (shares[k], k))] += 1
    return shares


def batches(count: int, size: int) -> Iterator[range]:
    """Yield the numbers of the examples of each batch."""
    for start in range(0, count, size):
        yield range(start, min(start + size, count))


def _hash(*parts: bytes) -> str:
    made = hashlib.sha256()
    for part in parts:
        made.update(len(part).to_bytes(8, "little") + part)
    return made.hexdigest()[:16]
