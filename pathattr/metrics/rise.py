"""Insertion and deletion as RISE defines them: the probability as pixels come or go, the most important first."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pathattr.common.axes import Array
from pathattr.common.checks import whole
from pathattr.common.names import named
from pathattr.metrics.fills import FILLS, Fill
from pathattr.metrics.metric import Metric
from pathattr.metrics.plots import Curve
from pathattr.metrics.ranking import Rank, check_rank, pixel_places
from pathattr.metrics.scores import Better, Scores, area
from pathattr.metrics.subject import Subject


@dataclass(frozen=True)
class _Stepwise(Metric):
    """The area under the target's probability as pixels are changed a few at a time."""

    fill: Fill | str
    pixels_per_step: int = 224
    steps: int | None = None
    rank: Rank = "signed"

    _name: ClassVar[str]
    _better: ClassVar[Better]
    _x_label: ClassVar[str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "fill", named("fill", self.fill, FILLS, Fill))
        object.__setattr__(self, "pixels_per_step", whole("pixels_per_step", self.pixels_per_step))
        if self.steps is not None:
            object.__setattr__(self, "steps", whole("steps", self.steps))
        check_rank(self.rank)

    @staticmethod
    @abstractmethod
    def _replaced(place: NDArray[np.intp], count: int) -> NDArray[np.bool_]:
        """Return the pixels that are replaced by the fill once `count` have changed."""

    def scores(self, subject: Subject, maps: Array) -> Scores:
        subject.needs_classes()
        pixels = int(np.prod(subject.spatial))
        counts = self._counts(pixels)
        judged = subject.judge(self._points(subject, maps, counts))
        curve = Curve(counts / pixels, judged.probability.reshape(len(subject), -1), self._x_label, "probability")
        return Scores(
            repr(self), {self._name: area(curve.x, curve.values)}, {self._name: self._better}, {self._name: curve}
        )

    def _counts(self, pixels: int) -> NDArray[np.intp]:
        """Return how many pixels have changed at each point, from none to all."""
        if self.steps is None:
            return np.append(np.arange(0, pixels, self.pixels_per_step), pixels)
        return np.arange(min(self.steps, pixels) + 1) * pixels // min(self.steps, pixels)

    def _points(self, subject: Subject, maps: Array, counts: NDArray[np.intp]) -> Iterator[tuple[int, Array]]:
        assert isinstance(self.fill, Fill)
        for row, (example, map_) in enumerate(zip(subject.examples, maps, strict=True)):
            filled, place = self.fill.prepare(example, subject.preprocessing), pixel_places(map_, self.rank)
            for count in counts:
                yield row, filled(np.broadcast_to(self._replaced(place, count), example.shape))


@dataclass(frozen=True)
class Deletion(_Stepwise):
    """RISE's deletion: the target's probability as the most important pixels are replaced first, down to all.

    As the paper defines it. Its code differs in what is put in: 0 of *normalised* pictures, which is the data set's
    mean colour, and a blur by a folded kernel, nearly a box, with zeros beyond the border.

    Pixels are ranked by the sum of their attributions over channels (rank="signed"), or by its absolute value
    ("absolute"); ties by place. `pixels_per_step` of them go at once, into `fill` ("zero": black); `steps`
    instead says in how many equal steps all of them go. The score is the area under the curve over the share of
    pixels, by the trapezoidal rule; in [0, 1], lower is better. At 224 × 224 that takes 225 forward passes an example.

    Source: Petsiuk, Das, Saenko 2018, arXiv 1806.07421.
    """

    fill: Fill | str = "zero"
    _name, _better, _x_label = "deletion", "lower", "share of pixels deleted"

    @staticmethod
    def _replaced(place: NDArray[np.intp], count: int) -> NDArray[np.bool_]:
        return place < count


@dataclass(frozen=True)
class Insertion(_Stepwise):
    """RISE's insertion: the target's probability as the most important pixels come first into `fill`, up to all.

    The fill is the blurred input ("blur": 11 pixels, σ = 5). In [0, 1], higher is better; the rest is
    `Deletion`'s.
    """

    fill: Fill | str = "blur"
    _name, _better, _x_label = "insertion", "higher", "share of pixels inserted"

    @staticmethod
    def _replaced(place: NDArray[np.intp], count: int) -> NDArray[np.bool_]:
        return place >= count
