"""DiffID: what the top entries are worth to the model, less what the bottom ones are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pathattr.checks import is_number
from pathattr.errors import InvalidInput
from pathattr.layout import Array
from pathattr.metrics.fills import FILLS, Fill
from pathattr.metrics.metric import Metric
from pathattr.metrics.scores import Curve, Scores
from pathattr.metrics.subject import Subject
from pathattr.naming import named

RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


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
        if not self.ratios or not all(is_number(ratio) and 0 < ratio < 1 for ratio in self.ratios):
            raise InvalidInput(f"DiffID takes ratios between 0 and 1; got {self.ratios!r}")

    def scores(self, subject: Subject, maps: Array) -> Scores:
        subject.needs_classes()
        judged = subject.judge(self._points(subject, maps))
        batch, count = len(subject), len(self.ratios)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = judged.probability.reshape(batch, 2, count) / subject.probability[:, None, None]
        soft = np.clip(np.nan_to_num(share, nan=0.0, posinf=1.0), 0.0, 1.0)
        hard = judged.hit.reshape(batch, 2, count).astype(float)
        values: dict[str, Array] = {}
        curves: dict[str, Curve] = {}
        for suffix, found in (("", hard), ("_soft", soft)):
            deletion, insertion = found[:, 0].mean(axis=1), found[:, 1].mean(axis=1)
            values |= {f"diffid{suffix}": insertion - deletion}
            values |= {f"insertion{suffix}": insertion, f"deletion{suffix}": deletion}
            label = "share of the probability" if suffix else "accuracy"
            for name, k in (("deletion", 0), ("insertion", 1)):
                curves[f"{name}{suffix}"] = Curve(np.asarray(self.ratios), found[:, k], "share replaced", label)
        better = {name: "lower" if name.startswith("deletion") else "higher" for name in values}
        return Scores(repr(self), values, better, curves)  # type: ignore[arg-type]  # literals by construction

    def _points(self, subject: Subject, maps: Array) -> Iterator[tuple[int, Array]]:
        assert isinstance(self.fill, Fill)
        for row, (example, map_) in enumerate(zip(subject.examples, maps, strict=True)):
            filled = self.fill.prepare(example, subject.preprocessing)
            order = np.argsort(-np.abs(map_).ravel(), kind="stable")
            for chosen in (order, order[::-1]):  # deletion takes the top, insertion the bottom
                for ratio in self.ratios:
                    removed = np.zeros(map_.size, bool)
                    removed[chosen[: int(ratio * map_.size)]] = True
                    yield row, filled(removed.reshape(map_.shape))
