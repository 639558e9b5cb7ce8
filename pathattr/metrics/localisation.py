"""Localisation: do attributions lie on the object? A model may look elsewhere, and then they should not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathattr.common.axes import Array
from pathattr.common.checks import is_number
from pathattr.errors import InvalidInput
from pathattr.metrics.metric import Metric
from pathattr.metrics.plots import Curve
from pathattr.metrics.scores import Better, Scores
from pathattr.metrics.subject import Subject

SHARES = tuple(k / 20 for k in range(1, 20))
"""0.05, 0.1, ... 0.95."""


@dataclass(frozen=True)
class PointingGame(Metric):
    """Does the largest entry of the map lie on the object, or nearly? (Zhang et al. 2018, as TorchRay does.)

    1 where some pixel of the mask lies strictly less than `tolerance` pixels (Euclidean) from the map's maximum, the
    first of equal ones, else 0; tolerance=1 takes the maximum's own pixel alone. Channels are summed, with their signs
    or, with `absolute`, without. Published numbers are averaged over classes: average the examples of a class first
    where classes are not equally frequent. `pointing_centre` is what pointing at the middle of the picture would get.
    NaN where the mask is empty.
    """

    tolerance: float = 15
    absolute: bool = False

    def __post_init__(self) -> None:
        if not is_number(self.tolerance) or self.tolerance <= 0:
            raise InvalidInput(
                f"tolerance is a distance in pixels above 0 (1: the maximum's own pixel); got {self.tolerance!r}"
            )

    def scores(self, subject: Subject, maps: Array) -> Scores:
        pictures = (np.abs(maps) if self.absolute else maps).sum(axis=1)
        middle = (np.array(subject.spatial) - 1) / 2
        own, centre = [], []
        for picture, mask in zip(pictures, subject.object_masks, strict=True):
            point = np.array(np.unravel_index(int(picture.argmax()), picture.shape))
            own.append(self._hit(point, mask))
            centre.append(self._hit(middle, mask))
        values = {"pointing": np.array(own), "pointing_centre": np.array(centre)}
        return Scores(repr(self), values, {"pointing": "higher", "pointing_centre": None})

    def _hit(self, point: NDArray[np.number], mask: NDArray[np.bool_]) -> float:
        pixels = np.argwhere(mask)
        if not len(pixels):
            return np.nan
        return float((((pixels - point) ** 2).sum(axis=1) < self.tolerance**2).any())


@dataclass(frozen=True)
class MassInside(Metric):
    """The share of Σ|a| that lies inside the mask, and of the positive entries' sum; both in [0, 1].

    `mask_share` is the mask's share of the picture: what a uniform map gets. NaN where the mask is empty, or there is
    no mass to share.
    """

    def scores(self, subject: Subject, maps: Array) -> Scores:
        masks = subject.object_masks
        flat = masks.reshape(len(masks), -1)
        empty = ~flat.any(axis=1)
        values = {
            "mass_inside": _share(np.abs(maps), masks),
            "positive_inside": _share(np.maximum(maps, 0), masks),
            "mask_share": flat.mean(axis=1),
        }
        for column in values.values():
            column[empty] = np.nan
        better: dict[str, Better] = {"mass_inside": "higher", "positive_inside": "higher", "mask_share": None}
        return Scores(repr(self), values, better)


@dataclass(frozen=True)
class IoU(Metric):
    """Intersection over union of the mask and the pixels with the largest Σ_c|a|, equal ones by place.

    Two ways of choosing those, each swept: the top ⌊q·pixels⌋ for q in `areas`, and the fewest that hold the share m of
    Σ|a| for m in `masses`. `iou_area` and `iou_mass` are means over the sweeps; "best" is the largest along each, which
    is chosen with the mask in view: an upper bound. Floors: `iou_full`, the whole picture, and `iou_centre`, a box in
    the middle with the sides of the mask's bounding box, which knows the object's size but not its place. In [0, 1];
    NaN where the mask is empty.
    """

    areas: tuple[float, ...] = SHARES
    masses: tuple[float, ...] = SHARES

    def __post_init__(self) -> None:
        for name in ("areas", "masses"):
            given: Any = getattr(self, name)
            shares = tuple(given) if isinstance(given, tuple | list | np.ndarray) else ()
            if not shares or not all(is_number(share) and 0 < share <= 1 for share in shares):
                raise InvalidInput(f"IoU takes {name}, several numbers above 0 and up to 1; got {given!r}")
            object.__setattr__(self, name, tuple(float(share) for share in shares))

    def scores(self, subject: Subject, maps: Array) -> Scores:
        area, mass, floors = [], [], []
        for picture, mask in zip(np.abs(maps).sum(axis=1), subject.object_masks, strict=True):
            order = np.argsort(-picture, axis=None, kind="stable")
            inside = np.concatenate([[0], np.cumsum(mask.ravel()[order])])  # of the first k pixels, k = 0, 1, ...
            held = np.cumsum(picture.ravel()[order])
            counts = np.array([int(share * picture.size) for share in self.areas])
            # A sum that rounding left short of its share by its last digits has reached it.
            wanted = np.asarray(self.masses) * held[-1] * (1 - 1e-12)
            fewest = np.where(wanted > 0, np.searchsorted(held, wanted) + 1, 0)
            area.append(_ratios(inside, counts))
            mass.append(_ratios(inside, fewest))
            floors.append((mask.mean() if mask.any() else np.nan, _centre_box(mask)))
        by_area, by_mass, floor = np.array(area), np.array(mass), np.array(floors)
        values = {"iou_area": by_area.mean(axis=1), "iou_mass": by_mass.mean(axis=1)}
        values |= {"iou_area_best": by_area.max(axis=1), "iou_mass_best": by_mass.max(axis=1)}
        better: dict[str, Better] = dict.fromkeys(values, "higher")
        values |= {"iou_full": floor[:, 0], "iou_centre": floor[:, 1]}
        curves = {
            "iou_area": Curve(np.asarray(self.areas), by_area, "share of the pixels", "IoU"),
            "iou_mass": Curve(np.asarray(self.masses), by_mass, "share of the mass", "IoU"),
        }
        return Scores(repr(self), values, better | {"iou_full": None, "iou_centre": None}, curves)


def _share(mass: Array, masks: NDArray[np.bool_]) -> Array:
    """Return which share of non-negative entries (batch, channels, *spatial) lies inside, (batch,); NaN for none."""
    pixels = mass.sum(axis=1)
    axes = tuple(range(1, pixels.ndim))
    with np.errstate(invalid="ignore"):  # 0/0
        return np.asarray((pixels * masks).sum(axis=axes) / pixels.sum(axis=axes))


def _ratios(inside: NDArray[np.int_], counts: NDArray[np.int_]) -> Array:
    """Return the IoU of the first `counts` pixels, of which `inside[count]` are the mask's; NaN without a mask."""
    total, both = inside[-1], inside[counts]
    return both / (counts + total - both) if total else np.full(len(counts), np.nan)


def _centre_box(mask: NDArray[np.bool_]) -> float:
    """Return the IoU of a mask and a centred box with the sides of its bounding box; NaN without a mask."""
    if not mask.any():
        return np.nan
    pixels = np.argwhere(mask)
    sides = np.ptp(pixels, axis=0) + 1
    starts = (np.array(mask.shape) - sides) // 2
    box = np.zeros_like(mask)
    box[tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))] = True
    return float((box & mask).sum() / (box | mask).sum())
