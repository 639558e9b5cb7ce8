"""ROAD: remove and debias, the model's accuracy without the most or the least important pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pathattr.common.axes import Array
from pathattr.common.names import named
from pathattr.metrics.imputation import IMPUTERS, Imputer
from pathattr.metrics.metric import Metric
from pathattr.metrics.ranking import Rank, check_rank, pixel_places
from pathattr.metrics.removal import RATIOS, checked_ratios, contrast
from pathattr.metrics.scores import Scores
from pathattr.metrics.subject import Subject

NAMES = {"gap": "", "morf": "share removed", "lerf": "share kept"}


@dataclass(frozen=True)
class ROAD(Metric):
    """The gap between keeping the most important pixels and removing them, with what is removed imputed.

    Pixels are ranked by the sum of their attributions over channels (rank="signed"), or by its absolute value
    ("absolute"; the SIG paper's code); ties by place. For each p of `ratios`, MoRF(p) removes the top share p and
    LeRF(p) *keeps* the top share p, removing the rest: its axis is flipped against other writings. `imputer` is
    "noisy-linear", "fixed" (the mean of a channel; the SIG paper's table) or an `Imputer`. `gap` = LeRF − MoRF, means
    over the ratios of hard accuracy; `_soft` columns are of the target's probability over that of the whole input, cut
    to [0, 1]. In [-1, 1], higher is better; LeRF higher, MoRF lower. ROAD rewards blurry maps (arXiv 2304.13836).

    Source: Rong et al. 2022, arXiv 2202.00449.
    """

    imputer: Imputer | str = "noisy-linear"
    ratios: tuple[float, ...] = RATIOS
    rank: Rank = "signed"

    def __post_init__(self) -> None:
        object.__setattr__(self, "imputer", named("imputer", self.imputer, IMPUTERS, Imputer))
        object.__setattr__(self, "ratios", checked_ratios("ROAD", self.ratios))
        check_rank(self.rank)

    def scores(self, subject: Subject, maps: Array) -> Scores:
        subject.needs_classes()
        return contrast(repr(self), subject, subject.judge(self._points(subject, maps)), self.ratios, NAMES)

    def _points(self, subject: Subject, maps: Array) -> Iterator[tuple[int, Array]]:
        assert isinstance(self.imputer, Imputer)
        for row, (example, map_) in enumerate(zip(subject.examples, maps, strict=True)):
            imputed = self.imputer.prepare(example, subject.preprocessing, subject.rng())
            place = pixel_places(map_, self.rank)
            counts = [int(ratio * place.size) for ratio in self.ratios]
            for count in counts:
                yield row, imputed(place < count)
            for count in counts:
                yield row, imputed(place >= count)
