"""A model that takes pictures, and a picture as that model sees and takes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pathattr.common.checks import is_number
from pathattr.errors import InvalidInput
from pathattr.pictures.preprocessing import Preprocessing
from pathattr.pictures.reading import ROUNDING

_LUMA = (0.299, 0.587, 0.114)  # what grey is made of (ITU-R BT.601), as in Pillow and torchvision


@dataclass(frozen=True)
class ImageModel:
    """A model together with how it wants its pictures.

    `size` is the (height, width) it takes, one number for a square, None for any size. `preprocessing`
    normalises raw pixels; None hands them over in [0, 1] as they are. `classes` names the outputs. `crop`,
    in (0, 1], is the share of the resized picture that the centre crop keeps: 0.875 with size 224 resizes
    the shorter side to 256 first. `channel_axis` is where the model wants the channels, or "auto": the backend tells.
    `channels` is 1 for grey pictures and 3 for colour; None: as many as `preprocessing` has, or else 3, and commands
    ask the model.
    """

    model: Any
    size: int | tuple[int, int] | None = None
    preprocessing: Preprocessing | None = None
    classes: Sequence[str] | None = None
    crop: float = 1.0
    channel_axis: int | Literal["auto"] = "auto"
    channels: Literal[1, 3] | None = None

    def __post_init__(self) -> None:
        sides = () if self.size is None else self.size if isinstance(self.size, tuple) else (self.size,) * 2
        if (self.size is not None and len(sides) != 2) or not all(_is_integer(s) and s >= 1 for s in sides):
            raise InvalidInput(f"ImageModel takes size as one whole number, (height, width) or None; got {self.size!r}")
        if not is_number(self.crop) or not 0 < self.crop <= 1:
            raise InvalidInput(f"ImageModel takes crop in (0, 1], such as 0.875; got {self.crop!r}")
        if self.size is None and self.crop != 1:
            raise InvalidInput(f"ImageModel crops to a size: with crop={self.crop!r} give size as well")
        if self.channel_axis != "auto" and not _is_integer(self.channel_axis):
            raise InvalidInput(f'ImageModel takes channel_axis as a whole number or "auto"; got {self.channel_axis!r}')
        if self.channels not in (None, 1, 3):
            raise InvalidInput(f"ImageModel takes channels=1 (grey), 3 (colour) or None; got {self.channels!r}")
        if isinstance(self.classes, str):
            raise InvalidInput(
                f"ImageModel takes classes as a list of names; got the text {self.classes!r}: pass [{self.classes!r}]"
            )

    @property
    def shape(self) -> tuple[int, int] | None:
        """The (height, width) the model takes; None where it takes any."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @property
    def known_channels(self) -> int | None:
        """The number of channels where it has been said, or where `preprocessing` has one number for each."""
        if self.channels is not None or self.preprocessing is None:
            return self.channels
        count = max(np.size(self.preprocessing.mean), np.size(self.preprocessing.std))
        return count if count > 1 else None


def prepare(picture: NDArray[np.floating[Any]], model: ImageModel) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a picture (H, W, 3) in [0, 1] as the model sees it and as the model takes it.

    `shown` is (h, w, 3) in [0, 1]: resized (bilinear, antialiased, in float64) until it covers size / crop,
    then cut to size around the centre; the picture itself where the model takes any size. It is grey where the
    model has one channel. `inputs` is (channels, h, w): `shown` with channels first, normalised by the model's
    preprocessing.
    """
    picture = np.asarray(picture)
    if picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise InvalidInput(f"expected a picture of shape (H, W, 3); got {picture.shape}")
    # Written so that NaN fails too.
    if not (picture.min() >= -ROUNDING and picture.max() <= 1 + ROUNDING):
        raise InvalidInput(
            f"expected a picture with pixels in [0, 1]; got {picture.min()} to {picture.max()}: "
            "divide 8-bit pixels by 255"
        )
    shown = picture.astype(np.float64)
    if model.shape is not None:
        shown = _resized_and_cropped(shown, model.shape, model.crop)
    shown = np.clip(shown, 0.0, 1.0)
    if model.known_channels == 1:
        grey = np.clip(shown @ np.array(_LUMA), 0.0, 1.0)
        shown = np.repeat(grey[:, :, None], 3, axis=2)
        inputs = grey[None]
    else:
        inputs = np.ascontiguousarray(shown.transpose(2, 0, 1))
    return shown, model.preprocessing.normalise(inputs) if model.preprocessing else inputs


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _resized_and_cropped(picture: NDArray[np.float64], shape: tuple[int, int], crop: float) -> NDArray[np.float64]:
    height, width = picture.shape[:2]
    # The smallest size with the picture's proportions that covers shape / crop. In whole numbers, rounding
    # down, as image classifiers are evaluated: a float quotient would sometimes lose a pixel.
    least = [max(side, int(side / crop + ROUNDING)) for side in shape]
    if least[0] * width >= least[1] * height:
        sizes = (least[0], least[0] * width // height)
    else:
        sizes = (least[1] * height // width, least[1])
    starts = [round((size - side) / 2) for size, side in zip(sizes, shape, strict=True)]
    # Only the rows and columns that the crop keeps are ever made: a ribbon of 1 × 20000 pixels is no problem.
    for axis in (0, 1):
        matrix = _resampling(picture.shape[axis], sizes[axis], starts[axis], shape[axis])
        moved = np.moveaxis(picture, axis, 0)
        made = (matrix @ moved.reshape(moved.shape[0], -1)).reshape(-1, *moved.shape[1:])
        picture = np.moveaxis(made, 0, axis)
    return np.ascontiguousarray(picture)


def _resampling(length: int, resized: int, start: int, count: int) -> sparse.csr_array:
    """Return the (count, length) matrix of bilinear resampling to `resized` samples, from `start` on."""
    scale = length / resized
    reach = max(scale, 1.0)  # the triangle widens when shrinking: that is the antialiasing
    centres = (np.arange(start, start + count) + 0.5) * scale
    columns = np.floor(centres - reach)[:, None] + np.arange(int(np.ceil(2 * reach)) + 1)
    weights = np.clip(1 - np.abs(columns + 0.5 - centres[:, None]) / reach, 0.0, None)
    weights[(columns < 0) | (columns >= length)] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    rows = np.repeat(np.arange(count), columns.shape[1])
    kept = weights.ravel() > 0
    entries = (weights.ravel()[kept], (rows[kept], columns.ravel()[kept].astype(int)))
    return sparse.csr_array(entries, shape=(count, length))
