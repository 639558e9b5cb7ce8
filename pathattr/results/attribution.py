"""The result: maps, components, values at both ends, completeness gap and cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pathattr.common.archives import Archive, Header, TooLarge, Unreadable, packed
from pathattr.common.axes import Array, Layout
from pathattr.common.checks import is_number, is_whole, on_host, unmasked, whole
from pathattr.common.files import path_of, write_atomically
from pathattr.common.names import one_of
from pathattr.errors import InvalidInput

KIND, FORMAT = "pathattr attribution", 2  # of saved files; format 1, of release 0.1, told neither kind nor checksums
_BY_EXAMPLE = ("score", "baseline_score", "gap", "target", "lowest", "highest", "evaluations", "error")
_MOST_TERMS = 1000  # of a decomposition: a pyramid has a few dozen


@dataclass(frozen=True, eq=False)
class Components:
    """How much each component of the difference contributed: the attribution in the path's own basis.

    One entry per term of the decomposition (most families have one): `attributions[t]` and `strengths[t]` are
    (batch, *gates), such as (batch, channels, singular values). They sum to what the features' sum to.
    """

    attributions: tuple[Array, ...]
    strengths: tuple[Array, ...]

    def __len__(self) -> int:
        return len(self.attributions)

    def __getitem__(self, term: int) -> Array:
        return self.attributions[term]

    def total(self) -> Array:
        """Return the sum over all components of each example, (batch,)."""
        return np.asarray(sum(part.reshape(len(part), -1).sum(axis=1) for part in self.attributions))


@dataclass(frozen=True, eq=False, repr=False)
class Attribution:
    """What a path method found for a batch.

    `attributions` has the container, dtype and device of the inputs; everything else is NumPy, float64.
    `gap` is ΣA − (F(x) − F(x')) per example: what completeness lacks. `lowest` and `highest` bound the values
    met along the path. `evaluations` counts gradients per example, `forward_passes` those of the whole batch, a few for
    checks among them.
    """

    attributions: Any
    components: Components | None
    score: Array
    """F(x), (batch,)."""
    baseline_score: Array
    """F(x'), (batch,); the mean over reference samples."""
    gap: Array
    target: NDArray[np.intp]
    """What was explained: (batch,) class indices; (batch, axes) for dense outputs; one axis more for a contrast."""
    lowest: Array
    highest: Array
    evaluations: NDArray[np.intp]
    forward_passes: int
    error: Array
    """The estimated relative L2 error of the attributions, (batch,); NaN where the nodes were not refined."""
    settings: dict[str, Any] = field(default_factory=dict)
    channel_axis: int | None = None
    """Where the channels of one example are (batch axis not counted)."""

    @property
    def relative_gap(self) -> Array:
        """The gap over |F(x) − F(x')|; 0 where both are 0."""
        change = np.abs(self.score - self.baseline_score)
        still = np.where(self.gap == 0, 0.0, np.inf)
        still[np.isnan(self.gap)] = np.nan  # unknown
        return np.divide(np.abs(self.gap), change, out=still, where=change > 0)

    def numpy(self) -> NDArray[Any]:
        """Return the attributions on the host, their dtype kept; bfloat16, which NumPy does not have, as float32."""
        array = np.asarray(on_host(unmasked("attributions", self.attributions)))
        return array.astype(np.float32) if array.dtype.kind == "V" and array.dtype.names is None else array

    def heatmap(self, reduce: Literal["sum", "abs", "norm", "none"] = "sum", percentile: float | None = 99.0) -> Array:
        """Return maps (batch, *spatial) scaled to [-1, 1], each by its own percentile of |values|.

        `reduce` says what becomes of the channels: their signed sum, the sum or the L2 norm of magnitudes, or
        nothing. `percentile=None` leaves the values as they are. A map of zeros stays one.
        """
        one_of("reduce", reduce, ("sum", "abs", "norm", "none"))
        if percentile is not None and not (is_number(percentile) and 0 < percentile <= 100):
            raise InvalidInput(f"percentile must lie in (0, 100], or be None; got {percentile!r}")
        array = self.numpy()
        layout = Layout(array.shape[1:], self.channel_axis)
        maps = []
        for example in array:
            values = layout.canonical(example)
            if self.channel_axis is not None or reduce in ("abs", "norm"):
                values = {
                    "sum": lambda v: v.sum(axis=0),
                    "abs": lambda v: np.abs(v).sum(axis=0),
                    "norm": lambda v: np.sqrt((v * v).sum(axis=0)),
                    "none": layout.restore,
                }[reduce](values)
            else:
                values = values[0]
            if percentile is not None:
                limit = np.percentile(np.abs(values), percentile)
                limit = limit if limit > 0 else np.abs(values).max()  # fewer than 1% differ from 0
                values = np.clip(values / limit, -1, 1) if limit > 0 else values
            maps.append(values)
        return np.stack(maps)

    def plot(self, index: int = 0, *, picture: Array | None = None, percentile: float = 99.0) -> Any:
        """Return a matplotlib figure of one example: a map, over `picture` if there is one, or bars.

        `picture` is (h, w, 3), or grey: (h, w) or (h, w, 1); channels may come first, as in (3, h, w). Its pixels lie
        in [0, 1], or are 8-bit numbers. Raises MissingExtra without matplotlib, and InvalidInput for volumes, which
        have no single picture.
        """
        from pathattr.results import figures as rendering

        if not is_whole(index):
            raise InvalidInput(f"index must be the number of an example, a whole number; got {index!r}")
        if not -len(self.score) <= index < len(self.score):
            raise InvalidInput(f"there is no example {index} in a batch of {len(self.score)}")
        values = self.heatmap(percentile=None)[index]
        caption = f"F(x) = {self.score[index]:.4g}, F(x') = {self.baseline_score[index]:.4g}, gap {self.gap[index]:.2g}"
        if values.ndim == 1:
            if picture is not None:
                raise InvalidInput("picture= goes under a map, and this example is a series: plot it without a picture")
            return rendering.bars(values, title=caption)
        if values.ndim != 2:
            raise InvalidInput(
                f"plot() draws maps and series; this example has {values.ndim} spatial axes: plot a slice of heatmap()"
            )
        if picture is not None:
            return rendering.overlay(picture, values, title=caption, percentile=percentile)
        return rendering.signed(values, title=caption, percentile=percentile)

    def _repr_png_(self) -> bytes | None:
        """Return the first example's picture for notebooks; None where it cannot be drawn."""
        from pathattr.errors import PathattrError
        from pathattr.results.figures import png_bytes

        try:
            return png_bytes(self.plot())
        except PathattrError:
            return None  # a notebook then shows the text

    def __repr__(self) -> str:
        shape = "×".join(map(str, np.shape(self.attributions)))
        what = self.settings.get("family") or self.settings.get("method", "?")
        return (
            f"Attribution({what}, {shape}, gap {np.abs(self.gap).max():.2g} at most, "
            f"{int(self.evaluations.sum())} gradients)"
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write everything to one .npz without pickle, with checksums; whole or not at all.

        Raises InvalidInput where it cannot be written, or where the parts of the result do not fit each other.
        """
        place = path_of("Attribution.save", path)
        arrays = {"attributions": self.numpy()} | {name: np.asarray(getattr(self, name)) for name in _BY_EXAMPLE}
        for name in ("attributions", "strengths") if self.components is not None else ():
            for term, part in enumerate(getattr(self.components, name)):
                arrays[f"component_{name}_{term}"] = np.asarray(part)
        record = {
            "settings": self.settings,
            "forward_passes": self.forward_passes,
            "channel_axis": self.channel_axis,
            "terms": None if self.components is None else len(self.components),
        }
        try:
            _check_fit({name: Header(array.shape, array.dtype) for name, array in arrays.items()}, record)
        except Unreadable as error:
            raise InvalidInput(f"this result cannot be saved: {error}; save one as an explainer returned it") from error
        write_atomically(place, packed(KIND, FORMAT, record, arrays))

    @classmethod
    def load(cls, path: str | PathLike[str], *, max_bytes: int | None = None) -> Attribution:
        """Read what `save` wrote; attributions are NumPy then. No framework is needed, nothing is unpickled.

        That the parts fit each other, and how much memory they take, is known before any is read: at most `max_bytes`,
        by default a hundred times the file's size, or 256 MiB if that is more. Files of release 0.1 have no checksums
        and are checked in all else. Raises InvalidInput for a file that is damaged or not one of ours.
        """
        place = path_of("Attribution.load", path)
        if max_bytes is not None:
            whole("max_bytes", max_bytes)
        try:
            with Archive(place, KIND, (FORMAT,), unsigned=(1,)) as archive:
                return cls._read(archive, max_bytes)
        except OSError as error:
            raise InvalidInput(
                f"cannot read {path}: {error.strerror or error}; give a file of Attribution.save"
            ) from error
        except TooLarge as error:
            raise InvalidInput(f"{path} is not read: {error}; if it is yours, allow more with max_bytes=...") from error
        except Unreadable as error:
            raise InvalidInput(
                f"{path} is not a file that Attribution.save wrote, or it is damaged: {error}; save or copy it again"
            ) from error

    @classmethod
    def _read(cls, archive: Archive, max_bytes: int | None) -> Attribution:
        record = archive.record
        for name in ("settings", "forward_passes", "channel_axis", "terms"):
            if name not in record:
                raise Unreadable(f"its record does not tell its {name}")
        terms = _terms(record)
        names = ["attributions", *_BY_EXAMPLE]
        parts = {kind: [f"component_{kind}_{term}" for term in range(terms)] for kind in ("attributions", "strengths")}
        headers = {name: archive.header(name) for name in (*names, *parts["attributions"], *parts["strengths"])}
        _check_fit(headers, record)
        archive.check_size(headers, max_bytes)
        read = {kind: tuple(archive.array(name) for name in own) for kind, own in parts.items()}
        return cls(
            components=None if record["terms"] is None else Components(**read),
            settings=record["settings"],
            forward_passes=record["forward_passes"],
            channel_axis=record["channel_axis"],
            **{name: archive.array(name) for name in names},
        )


def _terms(record: Mapping[str, Any]) -> int:
    """Return how many terms of components a record tells of."""
    terms = record["terms"]
    if terms is None:
        return 0
    if not is_whole(terms) or not 0 <= terms <= _MOST_TERMS:
        raise Unreadable(f"it tells of {terms!r} terms of components")
    return int(terms)


def _check_fit(headers: Mapping[str, Header], record: Mapping[str, Any]) -> None:
    """Raise Unreadable unless arrays of these shapes, with this record, are one result."""
    shape = headers["attributions"].shape
    if len(shape) < 2 or 0 in shape:
        raise Unreadable(f"attributions are (batch, ...) with at least one value each, and these have shape {shape}")
    for name, header in headers.items():
        kinds, what = ("iu", "whole numbers") if name in ("target", "evaluations") else ("f", "floating-point numbers")
        if header.dtype.kind not in kinds:
            raise Unreadable(f"{name} must be {what} and is {header.dtype}")
        least, most = {"attributions": (2, None), "target": (1, 3)}.get(name, (1, 1 if name in _BY_EXAMPLE else None))
        axes = len(header.shape)
        if header.shape[:1] != shape[:1] or axes < least or (most is not None and axes > most):
            raise Unreadable(f"{name} has shape {header.shape} beside attributions of {shape}")
    for term in range(_terms(record)):
        gains, strengths = (headers[f"component_{kind}_{term}"].shape for kind in ("attributions", "strengths"))
        if gains != strengths:
            raise Unreadable(f"components of shape {gains} have strengths of shape {strengths}")
    axis = record["channel_axis"]
    if axis is not None and (not is_whole(axis) or not 0 <= axis < len(shape) - 1 or len(shape) < 3):
        raise Unreadable(f"channel_axis {axis!r} is no axis of an example of shape {shape[1:]}")
    if not isinstance(record["settings"], Mapping):
        raise Unreadable(f"settings are names with values, and these are {record['settings']!r:.60}")
    if not is_whole(record["forward_passes"]) or record["forward_passes"] < 0:
        raise Unreadable(f"forward_passes is a count, and is {record['forward_passes']!r:.60}")
