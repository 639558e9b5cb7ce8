"""Infidelity: do attributions foretell what a perturbation does to the score? (Yeh et al. 2019.)"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pathattr.common.axes import Array
from pathattr.common.checks import is_number, whole
from pathattr.common.names import named, one_of
from pathattr.errors import InvalidInput
from pathattr.metrics.metric import Metric
from pathattr.metrics.scores import Scores
from pathattr.metrics.subject import Subject
from pathattr.paths.baselines import Baseline, Context, baseline_from


class Perturbation(ABC):
    """Draws what is taken from an input."""

    @abstractmethod
    def draw(self, difference: Array, rng: np.random.Generator) -> Array:
        """Return I, of the shape of `difference`, x − x' (channels, *spatial); what is drawn depends on that alone."""


@dataclass(frozen=True)
class Squares(Perturbation):
    """A square goes to the baseline: I = x − x' inside, 0 outside.

    Its side is uniform in 1 ... `largest`·(shorter side of the picture), its place uniform within the picture.
    """

    largest: float = 0.35

    def __post_init__(self) -> None:
        if not is_number(self.largest) or not 0 < self.largest <= 1:
            raise InvalidInput(f"Squares takes a largest side above 0 and up to 1 (the whole); got {self.largest!r}")

    def draw(self, difference: Array, rng: np.random.Generator) -> Array:
        spatial = difference.shape[1:]
        side = int(rng.integers(1, max(1, int(self.largest * min(spatial))), endpoint=True))
        corner = [int(rng.integers(0, length - side, endpoint=True)) for length in spatial]
        inside = (slice(None), *(slice(start, start + side) for start in corner))
        taken = np.zeros_like(difference)
        taken[inside] = difference[inside]
        return taken


@dataclass(frozen=True)
class Noise(Perturbation):
    """I is normal noise of this standard deviation, in the units of the inputs."""

    std: float = 0.1

    def __post_init__(self) -> None:
        if not is_number(self.std) or self.std <= 0:
            raise InvalidInput(f"Noise takes a standard deviation above 0; got {self.std!r}")

    def draw(self, difference: Array, rng: np.random.Generator) -> Array:
        return self.std * rng.standard_normal(difference.shape)


PERTURBATIONS: dict[str, Callable[[], Perturbation]] = {"squares": Squares, "noise": Noise}


@dataclass(frozen=True)
class Infidelity(Metric):
    """The mean of (Σ I·s − (F(x) − F(x − I)))² over `samples` perturbations I, with F the explained score.

    s is what a map says of each entry's slope. With maps="contributions", as all path attributions are, that is
    a/(x − x') with the `baseline` x' that the map is about (as an explainer takes it; None: its default): the foretold
    change is Σ a over a square, and entries that equal the baseline, of which a contribution says nothing, stay as
    they are. With maps="slopes" s = a: for gradients and SmoothGrad. `infidelity_scaled` first multiplies what is
    foretold by the factor that suits the map best, so that only its shape counts; a map that serves all channels, or
    is in units of its own, is to be read there. At least 0, lower is better.
    """

    perturbation: Perturbation | str = "squares"
    samples: int = 100
    baseline: Baseline | str | float | None = None
    maps: Literal["contributions", "slopes"] = "contributions"

    def __post_init__(self) -> None:
        object.__setattr__(self, "perturbation", named("perturbation", self.perturbation, PERTURBATIONS, Perturbation))
        whole("samples", self.samples)
        one_of("maps", self.maps, ("contributions", "slopes"))
        if self.baseline is not None:
            object.__setattr__(self, "baseline", baseline_from(self.baseline, None))
            if not isinstance(self.baseline, Baseline):
                raise InvalidInput(f"Infidelity takes one baseline for every example; got {self.baseline!r}")

    def scores(self, subject: Subject, maps: Array) -> Scores:
        foretold = np.empty((len(subject), self.samples))
        judged = subject.judge(self._points(subject, maps, foretold))
        change = subject.score[:, None] - judged.score.reshape(foretold.shape)
        # Of size 1, so that no square of them overflows or vanishes; where nothing is foretold any factor does.
        largest = np.abs(foretold).max(axis=1, keepdims=True)
        shape = np.divide(foretold, largest, out=np.zeros_like(foretold), where=largest > 0)
        power = (shape**2).sum(axis=1)
        factor = np.divide((shape * change).sum(axis=1), power, out=np.zeros_like(power), where=power > 0)
        values = {
            "infidelity": ((foretold - change) ** 2).mean(axis=1),
            "infidelity_scaled": ((factor[:, None] * shape - change) ** 2).mean(axis=1),
        }
        return Scores(repr(self), values, {"infidelity": "lower", "infidelity_scaled": "lower"})

    def _points(self, subject: Subject, maps: Array, foretold: Array) -> Iterator[tuple[int, Array]]:
        """Yield x − I for every example and sample, and note Σ I·s in `foretold` (batch, samples)."""
        assert isinstance(self.perturbation, Perturbation)
        baseline = baseline_from(self.baseline, subject.preprocessing)
        for row, (example, map_) in enumerate(zip(subject.examples, maps, strict=True)):
            start = baseline(example, Context(subject.preprocessing, subject.rng()))
            # As the model's dtype holds it, like the example: else entries that equal it would seem to move.
            difference = example - subject.held(start)
            moves = difference != 0
            rng = subject.rng()
            for sample in range(self.samples):
                taken = self.perturbation.draw(difference, rng)
                weights = taken
                if self.maps == "contributions":
                    taken = np.where(moves, taken, 0)
                    weights = np.divide(taken, difference, out=np.zeros_like(taken), where=moves)
                foretold[row, sample] = (weights * map_).sum()
                yield row, example - taken
