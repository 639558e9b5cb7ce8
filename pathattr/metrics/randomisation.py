"""Parameter randomisation: do maps depend on what the model has learned? (Adebayo et al. 2018.)"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from scipy import stats

from pathattr.common.axes import Array
from pathattr.common.names import one_of
from pathattr.errors import InvalidInput
from pathattr.methods.explainer import Explainer
from pathattr.metrics.explaining import check_explainer, explained
from pathattr.metrics.metric import Metric
from pathattr.metrics.plots import Curve
from pathattr.metrics.scores import Better, Scores
from pathattr.metrics.subject import Subject
from pathattr.models.registry import backend_for


@dataclass(frozen=True)
class Randomisation(Metric):
    """Rank correlation (Spearman) of maps with those of the model after its weights have been shuffled.

    mode="cascading" shuffles the last layer, then the last two, and so on to all of them; "independent" each alone,
    from the last to the first. `stages` lists them. `layers` names those to shuffle, from the input to the output:
    the backend's own order (`Backend.layers`) is that of definition in PyTorch and Keras, but alphabetical in JAX
    and TensorFlow. A model that the backend cannot shuffle needs `models`, a function of a NumPy generator that yields
    the randomised models, stage by stage.

    `similarity` correlates |a|, `similarity_signed` a; both are means over the stages, `similarity_final` is |a|
    where everything is shuffled. In [-1, 1]; NaN where a map is constant. A low value is necessary, not sufficient:
    noise has it too, and |a| stays alike where x − x' itself, a factor of every path attribution, is uneven (Sixt et
    al. 2020, Hedström et al. 2024). The attributions judged must be the `explainer`'s own.
    """

    explainer: Explainer = field(repr=False)  # left out: scores of several explainers are to be compared
    mode: Literal["cascading", "independent"] = "cascading"
    layers: Sequence[str] | None = None
    models: Callable[[np.random.Generator], Iterable[Any]] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_explainer(self.explainer)
        one_of("mode", self.mode, ("cascading", "independent"))
        if self.layers is not None and (isinstance(self.layers, str) or not len(self.layers)):
            raise InvalidInput(f"layers is a sequence of names, from the input to the output; got {self.layers!r}")
        if self.layers is not None:
            object.__setattr__(self, "layers", tuple(self.layers))
        if self.layers is not None and self.models is not None:
            raise InvalidInput("models yields models that are randomised already: pass it or layers, not both")

    def stages(self, subject: Subject) -> list[tuple[str, ...]]:
        """Return the layers shuffled at each stage, the last layer first."""
        backend = backend_for(self.explainer.model, subject.inputs, self.explainer.backend)
        names = backend.layers(self.explainer.model) if self.layers is None else list(self.layers)
        names = names[::-1]
        if self.mode == "independent":
            return [(name,) for name in names]
        return [tuple(names[: k + 1]) for k in range(len(names))]

    def scores(self, subject: Subject, maps: Array) -> Scores:
        own, found = maps.reshape(len(maps), -1), []
        for model in self._randomised(subject):
            other = explained(self.explainer.but(model=model), subject, subject.inputs).reshape(own.shape)
            found.append([_similarity(np.abs(own), np.abs(other)), _similarity(own, other)])
        if not found:
            raise InvalidInput("models yielded none: expected one randomised model per stage")
        plain, signed = np.moveaxis(np.array(found), 0, -1)  # (batch, stages) each
        values = {"similarity": plain.mean(axis=1), "similarity_signed": signed.mean(axis=1)}
        if self.mode == "cascading":
            values["similarity_final"] = plain[:, -1]
        better: dict[str, Better] = dict.fromkeys(values, "lower")
        stage, label = np.arange(1.0, len(found) + 1), "stage, the last layer first"
        curves = {
            "similarity": Curve(stage, plain, label, "rank correlation of |a|"),
            "similarity_signed": Curve(stage, signed, label, "rank correlation of a"),
        }
        return Scores(repr(self), values, better, curves)

    def _randomised(self, subject: Subject) -> Iterator[Any]:
        """Yield one model after another; in a cascade, what is shuffled already stays as it was drawn."""
        if self.models is not None:
            yield from self.models(subject.rng())
            return
        model = self.explainer.model
        backend = backend_for(model, subject.inputs, self.explainer.backend)
        for layers in self.stages(subject):
            yield backend.randomised(model, layers, subject.rng())


def _similarity(own: Array, other: Array) -> Array:
    """Return Spearman's correlation of each row, equal entries sharing their rank; NaN for a constant row."""
    ranks = [stats.rankdata(rows, axis=1) for rows in (own, other)]
    a, b = (rows - rows.mean(axis=1, keepdims=True) for rows in ranks)
    with np.errstate(invalid="ignore"):  # 0/0
        return np.asarray((a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1)))
