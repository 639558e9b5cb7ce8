"""Where the channels are: between the user's arrangement of axes and the canonical one, channels first.

Einsum labels used throughout: `b` image, `n` node, `c` channel, `k` component, then one letter per
spatial axis (…, `d`, `h`, `w`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pathattr.errors import InvalidInput

Array = NDArray[np.float64]

FEW = 4  # grey, grey and alpha, RGB, RGBA
SPATIAL = "zyxdhw"  # the last r of these label r spatial axes
SPECTRAL = "ijlrpq"  # and their frequencies


@dataclass(frozen=True)
class Layout:
    """The axes of one example: its shape (without the batch axis) and where its channels are, if any."""

    shape: tuple[int, ...]
    channel_axis: int | None

    @classmethod
    def of(cls, shape: tuple[int, ...], channel_axis: int | None | Literal["auto"], convention: int | None) -> Layout:
        """Return the layout of a batch of that shape, batch axis first.

        `channel_axis` counts the batch axis too, as in (batch, channels, height, width); None says that
        there are no channels; "auto" takes the `convention` of the framework or model for 4-D and 5-D batches, and
        is refused where there is none.
        """
        ndim = len(shape)
        if channel_axis == "auto":
            if ndim not in (4, 5):
                raise InvalidInput(
                    f"inputs of shape {shape}: channel_axis='auto' knows pictures (4-D) and volumes (5-D) only. "
                    "Pass channel_axis=1 for (batch, channels, length), or channel_axis=None where there are "
                    "no channels, as in (batch, tokens, embedding) or (batch, features)"
                )
            if convention is None:
                raise InvalidInput(
                    f"inputs of shape {shape}: where the channels are cannot be known of this model. Say "
                    f"channel_axis=1 if they are the axis of length {shape[1]}, channel_axis=-1 if that of length "
                    f"{shape[-1]}, another number for another axis, or channel_axis=None if there are none"
                )
            channel_axis = convention
        if channel_axis is None:
            if ndim < 2:
                raise InvalidInput(
                    f"inputs need a batch axis and at least one more; got shape {shape}: one example is x[None]"
                )
            axis = None
        else:
            if isinstance(channel_axis, bool) or not isinstance(channel_axis, int | np.integer):
                raise InvalidInput(f"channel_axis must be an int, None or 'auto'; got {channel_axis!r}")
            axis = int(channel_axis) + (ndim if channel_axis < 0 else 0)
            if not 1 <= axis < ndim:
                raise InvalidInput(
                    f"channel_axis={channel_axis} is not an axis after the batch axis of inputs of shape {shape}"
                )
            if ndim < 3:
                raise InvalidInput(
                    f"inputs of shape {shape} have no axis beside batch and channels: pass channel_axis=None"
                )
            axis -= 1
        spatial = ndim - 1 - (axis is not None)
        if spatial > len(SPATIAL):
            raise InvalidInput(
                f"inputs of shape {shape} have {spatial} spatial axes; at most {len(SPATIAL)} are supported: reshape "
                "them, and let the model undo it"
            )
        return cls(tuple(shape[1:]), axis)

    @property
    def labels(self) -> str:
        """The einsum labels of one example as the user arranges it; no `c` where there are no channels."""
        spatial = len(self.shape) - (self.channel_axis is not None)
        labels = list(SPATIAL[len(SPATIAL) - spatial :])
        if self.channel_axis is not None:
            labels.insert(self.channel_axis, "c")
        return "".join(labels)

    def canonical(self, example: NDArray[Any]) -> Array:
        """Return an example as float64 (channels, *spatial); one channel where the user has none."""
        example = np.asarray(example, dtype=np.float64)
        if self.channel_axis is None:
            return example[None]
        return np.ascontiguousarray(np.moveaxis(example, self.channel_axis, 0))

    def restore(self, canonical: Array) -> Array:
        """Return a canonical (channels, *spatial) array as the user arranges it."""
        if self.channel_axis is None:
            return canonical[0]
        return np.moveaxis(canonical, 0, self.channel_axis)


def spatial_labels(rank: int) -> str:
    """Return the labels of `rank` spatial axes, such as "hw"."""
    return SPATIAL[len(SPATIAL) - rank :]


def spectral_labels(rank: int) -> str:
    """Return the labels of the frequencies along `rank` spatial axes, such as "pq"."""
    return SPECTRAL[len(SPECTRAL) - rank :]


def unless_odd(convention: int, shape: Sequence[int]) -> int | None:
    """Return where a framework's users keep channels, 1 or -1; None for a batch of pictures that looks otherwise.

    It does where the axis at the other end is as short as the channels of a picture, at most 4, and this one is not.
    """
    if len(shape) not in (4, 5):
        return convention
    here, there = shape[convention], shape[-1 if convention == 1 else 1]
    return None if there <= FEW < here else convention
