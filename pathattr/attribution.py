"""The result: maps, components, values at both ends, completeness gap and cost."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pathattr.checks import on_host
from pathattr.errors import InvalidInput
from pathattr.files import npz_bytes, write_atomically
from pathattr.layout import Array, Layout
from pathattr.naming import one_of

FORMAT = 1  # of saved files


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
    met along the path. `evaluations` counts gradients per example, `forward_passes` those of the whole batch.
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
        """Return the attributions on the host, their dtype kept."""
        return np.asarray(on_host(self.attributions))

    def heatmap(self, reduce: Literal["sum", "abs", "norm", "none"] = "sum", percentile: float | None = 99.0) -> Array:
        """Return maps (batch, *spatial) scaled to [-1, 1], each by its own percentile of |values|.

        `reduce` says what becomes of the channels: their signed sum, the sum or the L2 norm of magnitudes, or
        nothing. `percentile=None` leaves the values as they are. A map of zeros stays one.
        """
        one_of("reduce", reduce, ("sum", "abs", "norm", "none"))
        if percentile is not None and not 0 < percentile <= 100:
            raise InvalidInput(f"percentile must lie in (0, 100]; got {percentile!r}")
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
        """Return a matplotlib figure of one example: a map (over `picture`, (h, w, 3) in [0, 1]) or bars.

        Raises MissingExtra without matplotlib, and InvalidInput for volumes, which have no single picture.
        """
        from pathattr import rendering

        if not -len(self.score) <= index < len(self.score):
            raise InvalidInput(f"there is no example {index} in a batch of {len(self.score)}")
        values = self.heatmap(percentile=None)[index]
        caption = f"F(x) = {self.score[index]:.4g}, F(x') = {self.baseline_score[index]:.4g}, gap {self.gap[index]:.2g}"
        if values.ndim == 1:
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
        from pathattr.rendering import png_bytes

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
        """Write everything to one .npz without pickle; whole or not at all."""
        arrays = {
            name: np.asarray(getattr(self, name))
            for name in ("score", "baseline_score", "gap", "target", "lowest", "highest", "evaluations", "error")
        }
        arrays["attributions"] = self.numpy()
        for name in ("attributions", "strengths") if self.components is not None else ():
            for term, part in enumerate(getattr(self.components, name)):
                arrays[f"component_{name}_{term}"] = part
        record = {
            "format": FORMAT,
            "settings": self.settings,
            "forward_passes": self.forward_passes,
            "channel_axis": self.channel_axis,
            "terms": None if self.components is None else len(self.components),
        }
        arrays["record"] = np.frombuffer(json.dumps(record).encode(), dtype=np.uint8)
        write_atomically(path, npz_bytes(**arrays))

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Attribution:
        """Read what `save` wrote; attributions are NumPy then. No framework is needed, nothing is unpickled.

        Raises InvalidInput for a file that is not one of ours.
        """
        try:
            data = Path(path).read_bytes()
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            record = json.loads(arrays["record"].tobytes())
            if record["format"] != FORMAT:
                raise InvalidInput(f"{path} was saved in format {record['format']}; this version reads {FORMAT}")
            terms = record["terms"]
            parts = {
                name: tuple(arrays[f"component_{name}_{term}"] for term in range(terms or 0))
                for name in ("attributions", "strengths")
            }
            return cls(
                components=None if terms is None else Components(**parts),
                settings=record["settings"],
                forward_passes=record["forward_passes"],
                channel_axis=record["channel_axis"],
                **{
                    name: arrays[name]
                    for name in (
                        "attributions", "score", "baseline_score", "gap", "target", "lowest", "highest", "evaluations",
                        "error",
                    )
                },
            )  # fmt: skip
        except OSError as error:
            raise InvalidInput(f"cannot read {path}: {error.strerror or error}") from error
        except InvalidInput:
            raise
        except Exception as error:  # whatever np.load and the zip and JSON readers make of a foreign file
            raise InvalidInput(f"{path} is not a file that Attribution.save wrote: {error}") from error
