"""ROAR: remove what a ranking calls important, train anew, and see what accuracy is left (Hooker et al. 2019)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from pathattr.common.axes import Array, Layout
from pathattr.common.checks import check_finite, numbers, on_host, whole
from pathattr.common.names import named, one_of
from pathattr.errors import InvalidInput
from pathattr.metrics.fills import FILLS, Fill
from pathattr.metrics.plots import retrained
from pathattr.metrics.removal import checked_ratios
from pathattr.metrics.scores import area
from pathattr.pictures.preprocessing import Preprocessing
from pathattr.results.attribution import Attribution

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RANDOM, INTACT = "random", "intact"


class Train(Protocol):
    """Trains a model from scratch; which epoch is kept is its own business."""

    def __call__(
        self, images: NDArray[Any], labels: NDArray[np.intp], seed: int
    ) -> Callable[[NDArray[Any]], NDArray[Any]]:
        """Return the trained model, a function from images (count, ...) to class indices (count,)."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """Images (count, ...) of floats, labels (count,), and by name the maps that rank their pixels.

    A map has its image's shape, or that without channels; pixels are ranked by Σ_c|a|, equal ones by place.
    """

    images: NDArray[Any]
    labels: NDArray[Any]
    maps: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            images, labels = np.asarray(on_host(self.images)), np.asarray(on_host(self.labels))
        except ValueError as error:
            raise InvalidInput(f"ROAR takes images of one shape and one label each ({error})") from error
        if images.dtype.kind != "f" or images.ndim < 2 or not len(images) or labels.shape != (len(images),):
            raise InvalidInput(
                f"ROAR takes images of floats and one label each; got {images.dtype} of shape {images.shape} and "
                f"labels of shape {labels.shape}"
            )
        check_finite("the images", images)
        if not isinstance(self.maps, Mapping):
            raise InvalidInput(f"maps are given by name, {{name: maps}}; got {type(self.maps).__name__}")
        object.__setattr__(self, "images", images)
        object.__setattr__(self, "labels", labels)
        if {RANDOM, INTACT} & set(self.maps):
            raise InvalidInput(f"{RANDOM!r} and {INTACT!r} are ROAR's own: give the maps another name")


Key = tuple[str, float, int]
"""One training: the ranking's name, the ratio removed (0 for "intact") and the run."""


@dataclass(frozen=True)
class ROAR:
    """The accuracy of models trained without the top `ratios` of the pixels, for each ranking and a random one.

    Removed pixels of training images get `fill`; those of test images too (test="modified"), or those stay whole
    ("unmodified"). fill="data-mean" is each channel's mean over the training images; or a `Fill`, by name or object,
    in the units of the images. Each training is repeated `runs` times, with the seeds `seed`, `seed` + 1, ...: the
    same for every ranking and ratio. `channel_axis` counts the batch axis; None: no channels. `intact` trains on
    whole images too. The defaults are Hooker et al.'s; `published` is the SIG paper's variant.

    Lower accuracy means a better ranking, if it is below the random one's. A ranking that leaves a shape behind (its
    outline tells the class) or spreads what it removes is favoured or punished for that alone.
    """

    train: Train = field(repr=False)
    ratios: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    runs: int = 5
    test: Literal["modified", "unmodified"] = "modified"
    fill: Fill | str = "data-mean"
    channel_axis: int | None = 1
    intact: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if not callable(self.train):
            raise InvalidInput(f"train is a function (images, labels, seed) -> predict; got {self.train!r}")
        object.__setattr__(self, "ratios", checked_ratios("ROAR", self.ratios))
        whole("runs", self.runs)
        whole("seed", self.seed, least=0)
        one_of("test", self.test, ("modified", "unmodified"))
        if self.fill != "data-mean":
            object.__setattr__(self, "fill", named("fill", self.fill, FILLS, Fill))

    @classmethod
    def published(cls, train: Train, *, runs: int = 1, channel_axis: int | None = 1) -> Self:
        """Return the SIG paper's variant: the scalar mean of what remains, judged on unmodified test images."""
        return cls(train, runs=runs, test="unmodified", fill="mean", channel_axis=channel_axis)

    def __call__(
        self,
        train: Labelled,
        test: Labelled,
        *,
        known: Mapping[Key, float] | None = None,
        told: Callable[[Key, float], None] | None = None,
    ) -> Retrained:
        """Return the accuracies on `test` of models trained on `train`.

        `told(key, accuracy)` hears of each training; what is in `known` is not trained again, so that a run that was
        broken off goes on.
        """
        if self.test == "modified" and train.maps.keys() != test.maps.keys():
            raise InvalidInput(
                f"test='modified' removes from test images too: expected maps of {', '.join(train.maps)} for both, got "
                f"{', '.join(test.maps) or 'none'} for the test images"
            )
        for part in (train, test) if self.test == "modified" else (train,):
            for name in part.maps:  # before the first training, not after hours of them
                _rankings(part, name, Layout.of(part.images.shape, self.channel_axis, 1))
        found = dict(known or {})
        for name, ratio, runs in self.plan(train):
            if missing := [run for run in runs if (name, ratio, run) not in found]:
                images = self.without(train, name, ratio, of=train)
                whole_test = self.test == "unmodified"
                judged = test.images if whole_test else self.without(test, name, ratio, of=train, split=1)
                for run in missing:
                    accuracy = self._accuracy(images, train.labels, judged, test.labels, self.seed + run)
                    found[name, ratio, run] = accuracy
                    if told is not None:
                        told((name, ratio, run), accuracy)
        runs = range(self.runs)
        return Retrained(
            repr(self),
            np.asarray(self.ratios),
            {
                name: np.array([[found[name, ratio, run] for ratio in self.ratios] for run in runs])
                for name in (*train.maps, RANDOM)
            },
            np.array([found[INTACT, 0.0, run] for run in runs] if self.intact else []),
        )

    def plan(self, train: Labelled) -> Iterator[tuple[str, float, range]]:
        """Yield what is to be trained: ranking, ratio and runs."""
        if self.intact:
            yield INTACT, 0.0, range(self.runs)
        for name in (*train.maps, RANDOM):
            for ratio in self.ratios:
                yield name, ratio, range(self.runs)

    def without(self, pictures: Labelled, name: str, ratio: float, *, of: Labelled, split: int = 0) -> NDArray[Any]:
        """Return the images without the top share of their pixels in one ranking; `of` are the training images.

        The random ranking is drawn anew for each image, from the seed, the `split` (1: test) and its place.
        """
        layout = Layout.of(pictures.images.shape, self.channel_axis, 1)
        fill = _DataMean.of(layout, of.images) if isinstance(self.fill, str) else self.fill
        found = np.array(pictures.images)
        rankings = None if name in (RANDOM, INTACT) else _rankings(pictures, name, layout)
        for row, image in enumerate(pictures.images):
            example = layout.canonical(image)
            pixels = int(np.prod(example.shape[1:]))
            if rankings is None:
                order = np.random.default_rng([self.seed, split, row]).permutation(pixels)
            else:
                order = np.argsort(-rankings[row], kind="stable")
            removed = np.zeros(pixels, bool)
            removed[order[: int(ratio * pixels)]] = True
            entries = np.broadcast_to(removed.reshape(example.shape[1:]), example.shape)
            found[row] = layout.restore(fill.prepare(example, None)(entries))
        return found

    def _accuracy(
        self, images: NDArray[Any], labels: NDArray[Any], test: NDArray[Any], expected: NDArray[Any], seed: int
    ) -> float:
        guesses = np.asarray(self.train(images, np.asarray(labels, np.intp), seed)(test))
        if guesses.shape != (len(test),):
            raise InvalidInput(
                f"train must return a function from images to class indices: expected shape {(len(test),)}, got "
                f"{guesses.shape}"
            )
        return float((guesses == expected).mean())


@dataclass(frozen=True, eq=False)
class Retrained:
    """Accuracies by ranking, (runs, ratios) each, and on whole images, (runs,), none where that was not asked."""

    protocol: str
    ratios: Array
    accuracy: Mapping[str, Array]
    intact: Array

    def area(self, name: str) -> Array:
        """Return the area under a ranking's curve over the range of ratios, divided by it, (runs,): lower is better."""
        values = self.accuracy[name]
        return values[:, 0] if len(self.ratios) == 1 else area(self.ratios, values)

    def plot(self) -> Figure:
        """Return a matplotlib figure: mean accuracy against the share removed, least and largest over the runs."""
        return retrained(self.ratios, self.accuracy, self.intact)

    def record(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return {
            "protocol": self.protocol,
            "ratios": self.ratios.tolist(),
            "accuracy": {name: values.tolist() for name, values in self.accuracy.items()},
            "area": {name: self.area(name).tolist() for name in self.accuracy},
            "intact": self.intact.tolist(),
        }

    def table(self) -> str:
        """Return a Markdown table of mean accuracies, with the least and the largest over the runs where several."""
        head = ["ranking", *(f"{ratio:.0%} removed" for ratio in self.ratios), "area"]
        lines = [head, ["---"] * len(head)]
        lines += [[name, *map(_cell, values.T), _cell(self.area(name))] for name, values in self.accuracy.items()]
        rows = ["| " + " | ".join(line) + " |" for line in lines]
        whole_images = [f"\nWhole images: {_cell(self.intact)}."] if len(self.intact) else []
        return "\n".join(rows + whole_images)


@dataclass(frozen=True)
class _DataMean(Fill):
    """Each channel's mean over the training images."""

    means: tuple[float, ...]

    @classmethod
    def of(cls, layout: Layout, images: NDArray[Any]) -> Self:
        axes = tuple(axis for axis in range(images.ndim) if axis - 1 != layout.channel_axis)
        return cls(tuple(np.atleast_1d(images.mean(axis=axes, dtype=np.float64)).tolist()))

    def prepare(self, example: Array, preprocessing: Preprocessing | None) -> Callable[[NDArray[np.bool_]], Array]:
        means = np.array(self.means).reshape(-1, *(1,) * (example.ndim - 1))
        return lambda removed: np.where(removed, means, example)


def _rankings(pictures: Labelled, name: str, layout: Layout) -> Array:
    """Return Σ_c|a| of every pixel, (count, pixels)."""
    given = pictures.maps[name]
    given = given.numpy() if isinstance(given, Attribution) else given
    maps = numbers(f"the maps {name!r} must be numbers, in one shape", given)
    check_finite(f"the maps {name!r}", maps)
    count, axis = len(pictures.images), layout.channel_axis
    spatial = tuple(side for i, side in enumerate(layout.shape) if i != axis)
    if maps.shape == (count, *layout.shape) and axis is not None:
        maps = np.abs(maps).sum(axis=axis + 1)
    if maps.shape != (count, *spatial):
        raise InvalidInput(
            f"the maps {name!r} have shape {maps.shape}; expected the images', {(count, *layout.shape)}, or one number "
            f"a pixel, {(count, *spatial)}"
        )
    return np.abs(maps).reshape(count, -1)


def _cell(values: Array) -> str:
    spread = f" ({values.min():.3f}-{values.max():.3f})" if len(values) > 1 else ""
    return f"{values.mean():.3f}{spread}"
