"""Pictures in files."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pathattr.common.files import read_plain
from pathattr.errors import InvalidInput, MissingExtra

if TYPE_CHECKING:
    from PIL import Image

# What full white can mean in a deep greyscale picture, which does not say it itself.
_INTEGER_WHITES = (2**16 - 1, 2**31 - 1, 2**32 - 1)
_FLOAT_WHITES = (1.0, 2.0**8 - 1, 2.0**16 - 1)
# What is opened, whatever a file is called. Of others Pillow knows dozens, and starts Ghostscript for some.
_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM")
_LARGEST = 2**30  # bytes of a picture's file
ROUNDING = 1e-6
"""How far float32 arithmetic may carry a pixel past 0 or 1."""
_SAMPLE_FORMAT, _UNSIGNED = 339, 1  # a TIFF tag, and its value for unsigned integers


def read_picture(path: str | os.PathLike[str], *, ground: float = 1.0) -> NDArray[np.float64]:
    """Return the picture in a file as (H, W, 3) RGB in [0, 1], turned upright as its EXIF says.

    Of an animation it is the first frame. Transparency is laid on white, as a page shows it, or on another
    grey `ground`: the colours stored under transparent pixels are arbitrary, often black. 16- and 32-bit
    greyscale is divided by its own full white. Colour profiles are not applied. PNG, JPEG, WebP, TIFF, GIF, BMP and
    PPM are read, told by the content and not by the name. Raises InvalidInput where there is no picture.
    """
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError:
        raise MissingExtra.of("pillow", "cli", "reading a picture") from None
    data = read_bytes(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                image.load()
                ImageOps.exif_transpose(image, in_place=True)
                picture = _rgb(image, ground)
    except InvalidInput as error:
        raise InvalidInput(f"cannot use the picture {path}: {error}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidInput(
            f"expected a picture of at most {Image.MAX_IMAGE_PIXELS} pixels; {path} has more: make it smaller"
        ) from error
    except UnidentifiedImageError as error:
        raise InvalidInput(
            f"expected a picture in one of the formats {', '.join(_FORMATS)}; {path} is none: convert it to PNG"
        ) from error
    except Exception as error:  # Pillow's decoders raise anything on a damaged file
        raise InvalidInput(
            f"expected a whole picture; {path} is damaged or cut off ({error}): write or download it again"
        ) from error
    if picture.size == 0:
        raise InvalidInput(f"expected a picture with pixels; {path} is {picture.shape[1]} × {picture.shape[0]}")
    return picture


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return what is in the file of a picture; raise InvalidInput where it is no file, or too large for a picture."""
    try:
        data = read_plain(path, _LARGEST)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        folder = isinstance(error, OSError) and Path(path).is_dir()
        advice = f"name the pictures in it, such as {Path(path) / '*.png'}" if folder else "check the path"
        raise InvalidInput(f"expected a picture at {path}; got: {reason}; {advice}") from error
    if not data:
        raise InvalidInput(f"expected a picture at {path}; got an empty file: write or download it again")
    return data


def _rgb(image: Image.Image, ground: float) -> NDArray[np.float64]:
    if image.mode == "F" or image.mode.startswith("I"):
        # Pillow's own conversion of these clips at 255.
        return np.repeat(_deep_grey(image)[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"), dtype=np.float64) / 255
        return rgba[..., :3] * rgba[..., 3:] + ground * (1 - rgba[..., 3:])
    return np.asarray(image.convert("RGB"), dtype=np.float64) / 255


def _deep_grey(image: Image.Image) -> NDArray[np.float64]:
    """Return 16- or 32-bit greyscale in [0, 1]: divided by the least usual white that holds every pixel."""
    array = np.asarray(image)
    if image.mode == "I" and _UNSIGNED in getattr(image, "tag_v2", {}).get(_SAMPLE_FORMAT, ()):
        array = array.view(np.uint32)  # Pillow keeps unsigned 32-bit TIFF in signed integers
    grey = array.astype(np.float64)
    low, high = grey.min(initial=0), grey.max(initial=0)
    if image.mode.startswith("I;16"):
        whites: tuple[float, ...] = _INTEGER_WHITES[:1]
    elif image.mode == "I":
        whites = _INTEGER_WHITES
    else:
        whites = _FLOAT_WHITES
    white = next((w for w in whites if high <= w * (1 + ROUNDING)), None)
    # Between 1 and 2 a float picture is overshoot in [0, 1] or almost black in [0, 255]: not ours to guess.
    if white is None or not low >= -ROUNDING or (image.mode == "F" and white > 1 and high < 2):
        raise InvalidInput(
            f"expected greyscale from 0 to one of {', '.join(f'{w:g}' for w in whites)}; "
            f"got {low:g} to {high:g}: rescale it to [0, 1]"
        )
    return np.clip(grey / white, 0.0, 1.0)
