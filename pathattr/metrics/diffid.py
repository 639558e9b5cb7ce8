"""DiffID: what the top entries are worth to the model, less what the bottom ones are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pathattr.common.axes import Array
from pathattr.common.names import named
from pathattr.metrics.fills import FILLS, Fill
from pathattr.metrics.metric import Metric
from pathattr.metrics.ranking import places
from pathattr.metrics.removal import RATIOS, checked_ratios, contrast
from pathattr.metrics.scores import Scores
from pathattr.metrics.subject import Subject

NAMES = {"diffid": "", "deletion": "share of the top replaced", "insertion": "share of the bottom replaced"}


@dataclass(frozen=True)
class DiffID(Metric):
    """Insertion − deletion, as the SIG paper's code defines them.

    Every (pixel, channel) entry is ranked by |A|, ties by place. For each of `ratios`, "deletion" replaces the top
    share by `fill` ("mean" of the remaining, "zero", "blur", or a `Fill`) and "insertion" the bottom share (which is
    not RISE's insertion). Hard: is the target still the top class? Soft: its probability over that of the whole input,
    cut to [0, 1]. Each is averaged over the ratios; `diffid` is hard, as the published numbers are. In [-1, 1], higher
    is better; insertion higher, deletion lower.
    """

    fill: Fill | str = "mean"
    ratios: tuple[float, ...] = RATIOS

    def __post_init__(self) -> None:
        object.__setattr__(self, "fill", named("fill", self.fill, FILLS, Fill))
        object.__setattr__(self, "ratios", checked_ratios("DiffID", self.ratios))

    def scores(self, subject: Subject, maps: Array) -> Scores:
        subject.needs_classes()
        return contrast(repr(self), subject, subject.judge(self._points(subject, maps)), self.ratios, NAMES)

    def _points(self, subject: Subject, maps: Array) -> Iterator[tuple[int, Array]]:
        assert isinstance(self.fill, Fill)
        for row, (example, map_) in enumerate(zip(subject.examples, maps, strict=True)):
            filled, place = self.fill.prepare(example, subject.preprocessing), places(np.abs(map_))
            counts = [int(ratio * map_.size) for ratio in self.ratios]
            for count in counts:
                yield row, filled(place < count)
            for count in counts:
                yield row, filled(place >= map_.size - count)
