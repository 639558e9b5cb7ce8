"""The order and spacing of components: a strength s in [0, 1] for each; strong ones come first."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from pathattr.common.axes import Array
from pathattr.common.checks import is_number, whole
from pathattr.common.names import one_of
from pathattr.errors import InvalidInput


@dataclass(frozen=True)
class Facts:
    """What is known of components: (spectra, components) tables; None where a family has no such notion.

    `energy` is the L2 norm of a component, `frequency` runs from 0 (constant) to 1 (finest), `scale` is 0
    for the approximation and a higher whole number the finer the details. `decay` is the eigenvalue λ of −Δ with
    mirrored borders, in 1/pixel²: blurred by a Gaussian of σ pixels, exp(−σ²λ/2) of the component is left.
    """

    energy: Array
    frequency: Array | None = None
    scale: Array | None = None
    decay: Array | None = None

    def joined(self) -> Facts:
        """Return the same with all spectra as one."""

        def row(table: Array | None) -> Array | None:
            return None if table is None else table.reshape(1, -1)

        return Facts(self.energy.reshape(1, -1), row(self.frequency), row(self.scale), row(self.decay))


@dataclass(frozen=True)
class Ordering(ABC):
    """A rule that gives each component its strength.

    `scope="channel"` treats every spectrum (a channel; in a volume's SVD a slice) by itself,
    `scope="joint"` all of them together.
    """

    scope: Literal["channel", "joint"] = "channel"
    symmetric: ClassVar[bool] = True
    """False where components that differ in nothing but their place may get different strengths."""

    def __post_init__(self) -> None:
        one_of("scope", self.scope, ("channel", "joint"))

    def strengths(self, facts: Facts, rng: np.random.Generator) -> Array:
        """Return strengths in [0, 1] of the shape of `facts.energy`, (spectra, components).

        Raises InvalidInput where the family lacks what this ordering looks at.
        """
        if self.scope == "joint":
            return self.spectra(facts.joined(), rng).reshape(facts.energy.shape)
        return self.spectra(facts, rng)

    @abstractmethod
    def spectra(self, facts: Facts, rng: np.random.Generator) -> Array:
        """Return the strengths, row by row: one row of `facts` is one spectrum."""

    def for_family(self, default: Ordering) -> Ordering:
        """Return this ordering, completed with the default ordering of the family it will order."""
        return self


@dataclass(frozen=True)
class Energy(Ordering):
    """Strength = the component's L2 norm over the largest of its spectrum; σ_k/σ_1 for the SVD (paper, Eq. 5).

    A spectrum of zeros has strength 0.
    """

    def spectra(self, facts: Facts, rng: np.random.Generator) -> Array:
        largest = facts.energy.max(axis=1, keepdims=True, initial=0.0)
        return facts.energy / np.where(largest > 0, largest, 1.0)


@dataclass(frozen=True)
class Frequency(Ordering):
    """Strength = 1 − frequency: low ones first."""

    def spectra(self, facts: Facts, rng: np.random.Generator) -> Array:
        return 1.0 - _known(facts.frequency, "frequency", "DCT(), Wavelet() and Laplacian()")


@dataclass(frozen=True)
class Scale(Ordering):
    """Coarsest first, equally spaced; the bands of one scale share a strength."""

    def spectra(self, facts: Facts, rng: np.random.Generator) -> Array:
        scale = _known(facts.scale, "scale", "Wavelet() and Laplacian()")
        return 1.0 - scale / np.maximum(scale.max(axis=1, keepdims=True), 1.0)


@dataclass(frozen=True)
class Diffusion(Ordering):
    """Strength = 1/(1 + σ²λ/2): what blurring by `sigma` pixels damps least comes first; see `HeatRamp`."""

    sigma: float = 35.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not is_number(self.sigma) or self.sigma <= 0:
            raise InvalidInput(f"Diffusion needs sigma > 0, in pixels; got {self.sigma!r}")

    def spectra(self, facts: Facts, rng: np.random.Generator) -> Array:
        return 1.0 / (1.0 + 0.5 * self.sigma**2 * _known(facts.decay, "decay", "DCT() components"))


@dataclass(frozen=True)
class Rank(Ordering):
    """The order of energy with equal spacing, from 1 for the largest to 0 for the smallest; ties by place."""

    symmetric = False

    def spectra(self, facts: Facts, rng: np.random.Generator) -> Array:
        return _spaced(np.argsort(-facts.energy, axis=1, kind="stable"))


@dataclass(frozen=True)
class Leading(Ordering):
    """A control: strength 1 for the `count` strongest components of a spectrum, 0 for all others; ties by place.

    The path switches on the strongest over the first window, [0, ω], and all of the rest together over the last,
    [1 − ω, 1]: a line in two pieces. What it shares with an ordering by energy is owed to the first component alone.
    """

    symmetric = False

    count: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("count", self.count)

    def spectra(self, facts: Facts, rng: np.random.Generator) -> Array:
        order = np.argsort(-facts.energy, axis=1, kind="stable")
        strengths = np.zeros(order.shape)
        np.put_along_axis(strengths, order[:, : self.count], 1.0, axis=1)
        return strengths


@dataclass(frozen=True)
class ApproximationThenFinest(Ordering):
    """The published order of wavelet and Laplacian bands: approximation, then details, *finest* first.

    Equally spaced over the list of bands, each with a strength of its own. It is not coarse to fine.
    """

    symmetric = False

    def spectra(self, facts: Facts, rng: np.random.Generator) -> Array:
        scale = _known(facts.scale, "scale", "Wavelet() and Laplacian()")
        return _spaced(np.argsort(np.where(scale == 0, -np.inf, -scale), axis=1, kind="stable"))


@dataclass(frozen=True)
class Shuffled(Ordering):
    """A control: the strengths of another ordering (the family's default), dealt to the components at random.

    Keeps the spacing and destroys the order. The draw depends on the explainer's seed and the number of
    components alone.
    """

    symmetric = False

    of: Ordering | None = None

    def spectra(self, facts: Facts, rng: np.random.Generator) -> Array:
        return rng.permuted((self.of or Energy()).strengths(facts, rng), axis=1)

    def for_family(self, default: Ordering) -> Ordering:
        return self if self.of is not None else replace(self, of=default)


ORDERINGS: dict[str, Callable[[], Ordering]] = {
    "energy": Energy,
    "frequency": Frequency,
    "scale": Scale,
    "diffusion": Diffusion,
    "rank": Rank,
    "shuffled": Shuffled,
    "leading": Leading,
    "approximation-then-finest": ApproximationThenFinest,
}


def _known(fact: Array | None, name: str, families: str) -> Array:
    if fact is None:
        raise InvalidInput(
            f"ordering by {name} needs components that have a {name}: {families} do. "
            "Every family takes Energy(), Rank() and Shuffled()"
        )
    return fact


def _spaced(order: NDArray[np.intp]) -> Array:
    """Return equally spaced strengths, 1 for the first in each row's order and 0 for the last."""
    spaced = np.linspace(1.0, 0.0, order.shape[1])
    strengths = np.empty(order.shape)
    np.put_along_axis(strengths, order, np.broadcast_to(spaced, order.shape), axis=1)
    return strengths
