"""The basis of a path: which components the difference between input and baseline is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from pathattr.common.axes import Array, spatial_labels
from pathattr.common.einsum import contraction
from pathattr.common.ops import NumpyOps, Ops
from pathattr.paths.orderings import Facts, Ordering


@dataclass(frozen=True)
class Factor:
    """One operand of a synthesis equation; `shared` where every image has the same (a transform's matrix)."""

    labels: str
    array: Array
    shared: bool = False

    def __post_init__(self) -> None:
        assert len(self.labels) == self.array.ndim, (self.labels, self.array.shape)


@dataclass(frozen=True)
class Term:
    """One einsum equation: gates and factors give a part of the path's points.

    `gates` labels one gate per component; its first `groups` labels number independent spectra (channels,
    slices), the others the components of one spectrum. `energy` is the L2 norm of every component, of the
    gates' shape; `frequency` (0 low to 1 high), `scale` (0 coarsest, whole numbers) and `decay` (see `Facts`)
    broadcast to it.

    Where no equation is cheap (a transform of thousands of points is no matrix), the decomposition brings its own
    synthesis and adjoint, a `Transform`, and the equation gives what that takes: `spectrum` labels it, channels
    first and then one label in place of each spatial axis, such as "cpq". The equation is mostly gates times
    coefficients then.
    """

    gates: str
    factors: tuple[Factor, ...]
    energy: Array
    groups: int = 0
    frequency: Array | None = None
    scale: Array | None = None
    decay: Array | None = None
    name: str = ""
    spectrum: str = ""

    def __post_init__(self) -> None:
        assert len(self.gates) == self.energy.ndim >= self.groups, (self.gates, self.energy.shape)

    def inputs(self, gates: str = "") -> list[str]:
        """Return the labels of the operands, those of the gates first (with `gates` before them)."""
        return [gates + self.gates, *(factor.labels for factor in self.factors)]


class Transform(ABC):
    """A linear map from spectra to differences, and its adjoint, as functions of a framework's arithmetic.

    A frozen dataclass that depends on the shape alone. Both directions work along any `axes`: the places of the
    spatial axes among those of the arrays, in order; the other axes (images, nodes, channels) are carried along. What
    they do must not depend on how many of those there are, and only `ops` and Python's operators touch the arrays.
    """

    @abstractmethod
    def synthesise(self, ops: Ops, spectra: Sequence[Any], axes: tuple[int, ...]) -> Any:
        """Return the sum of what all spectra stand for; one array a term, its frequencies along `axes`."""

    @abstractmethod
    def adjoint(self, ops: Ops, difference: Any, axes: tuple[int, ...]) -> Sequence[Any]:
        """Return one array a term such that Σ⟨spectrum, adjoint(v)⟩ = ⟨synthesise(spectra), v⟩."""


@dataclass(frozen=True)
class Decomposition:
    """A difference of shape (channels, *spatial) as a sum of components: terms that are added up.

    The same equation read in two directions synthesises a difference from gates, and projects a gradient
    onto the components. With a `transform`, equations give spectra, and it adds them up to the difference.
    `joined` terms are parts of one array of components, which results hold side by side along the last axis.
    """

    shape: tuple[int, ...]
    terms: tuple[Term, ...]
    transform: Transform | None = None
    joined: bool = False

    def __post_init__(self) -> None:
        for term in self.terms:
            assert bool(term.spectrum) == (self.transform is not None), "spectra are what a transform takes"
            assert not term.spectrum or (term.spectrum[0], len(term.spectrum)) == ("c", len(self.shape))

    def sizes(self, term: Term) -> dict[str, int]:
        """Return the length of every label of a term's equation."""
        sizes = dict(zip(self.labels, self.shape, strict=True)) if not term.spectrum else {"c": self.shape[0]}
        for labels, shape in [
            (term.gates, term.energy.shape),
            *((f.labels, f.array.shape) for f in term.factors),
        ]:
            for label, size in zip(labels, shape, strict=True):
                assert sizes.setdefault(label, size) == size, (label, sizes[label], size)
        return sizes

    @property
    def labels(self) -> str:
        """The labels of the difference, such as "chw"."""
        return "c" + spatial_labels(len(self.shape) - 1)

    @property
    def facts(self) -> Facts:
        """What an ordering may look at: one row a spectrum, one column a component, all terms side by side."""

        def table(name: str) -> Array | None:
            columns = []
            for term in self.terms:
                fact = getattr(term, name)
                if fact is None:
                    return None
                rows = int(np.prod(term.energy.shape[: term.groups]))
                columns.append(np.broadcast_to(fact, term.energy.shape).reshape(rows, -1))
            return np.concatenate(columns, axis=1)

        energy = table("energy")
        assert energy is not None
        return Facts(energy, table("frequency"), table("scale"), table("decay"))

    def split(self, table: Array) -> tuple[Array, ...]:
        """Return the columns of a table of facts as arrays of each term's gate shape."""
        ends = np.cumsum([np.prod(term.energy.shape[term.groups :], dtype=int) for term in self.terms])
        parts = np.split(table, ends[:-1], axis=1)
        return tuple(part.reshape(term.energy.shape) for part, term in zip(parts, self.terms, strict=True))

    def gathered(self, parts: Sequence[Array]) -> tuple[Array, ...]:
        """Return numbers of components, one array a term, as results hold them."""
        return (np.concatenate(parts, axis=-1),) if self.joined else tuple(parts)

    def synthesise(self, gates: tuple[Array, ...]) -> Array:
        """Return Σ_k g_k C_k, of the difference's shape, from one array of gates per term."""
        parts = []
        for term, g in zip(self.terms, gates, strict=True):
            plan = contraction(term.inputs(), term.spectrum or self.labels, self.sizes(term))
            parts.append(plan(np.einsum, [g, *(factor.array for factor in term.factors)]))
        if self.transform is not None:
            return np.asarray(self.transform.synthesise(NumpyOps(), parts, self._axes))
        return np.asarray(sum(parts, np.zeros(self.shape)))

    def project(self, gradient: Array) -> tuple[Array, ...]:
        """Return ⟨gradient, C_k⟩ for every component: the adjoint of `synthesise`, one array per term."""
        adjoint = None if self.transform is None else self.transform.adjoint(NumpyOps(), gradient, self._axes)
        projections = []
        for index, term in enumerate(self.terms):
            labels = [term.spectrum or self.labels, *term.inputs()[1:]]
            plan = contraction(labels, term.gates, self.sizes(term))
            part = gradient if adjoint is None else adjoint[index]
            projections.append(np.asarray(plan(np.einsum, [part, *(factor.array for factor in term.factors)])))
        return tuple(projections)

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(1, len(self.shape)))

    def strengths(self, ordering: Ordering, rng: np.random.Generator) -> tuple[Array, ...]:
        """Return the strength in [0, 1] of every component under an ordering, one array per term."""
        return self.split(ordering.strengths(self.facts, rng))


PROMISES = {
    "sensitivity": "a feature that alone differs and moves the score gets something",
    "symmetry": "features that the model treats alike and that are equal get the same",
    "unchanged features": "a feature equal in input and baseline gets nothing",
    "feature scale": "one factor per feature changes nothing",
    "channel scale": "one factor per channel changes nothing",
    "channels": "attributions move with channels that change places",
    "flips": "attributions move with flips of the spatial axes",
    "transposition": "attributions move with a transposition",
    "permutations": "attributions move with permutations of rows and of columns (SIG paper, Prop. 3.1)",
    "distance": "‖x − γ(α)‖ never rises",
    "Eckart-Young": "γ(α) is as close to x as its singular values allow: at rank r, none is closer",
}
"""What some families promise and others do not, by name; see `PathFamily.promises`."""


class PathFamily(ABC):
    """How a difference splits into components.

    A new family is one file: a frozen dataclass with `decompose`, a default ordering, and whatever
    parameters it has. It then runs on every backend, component attributions included.
    """

    ordered: ClassVar[bool] = True
    """False for a family of one component: it has no order, and schedules take it with overlap 1."""

    def promises(self, shape: tuple[int, ...]) -> frozenset[str]:
        """Return which axioms beyond those of every path hold for differences of this shape, by their names.

        Names of `PROMISES`, such as "flips" or "distance", given an ordering that is `symmetric` and
        a continuous schedule. `pathattr verify` and `family_suite` hold a family to what it promises.
        """
        return frozenset()

    @abstractmethod
    def decompose(self, difference: Array) -> Decomposition:
        """Return the components of a float64 difference (channels, *spatial); their sum is the difference.

        Raises InvalidInput where the difference has no structure that this family could use.
        """

    @property
    @abstractmethod
    def default_ordering(self) -> Ordering:
        """The ordering of a path of this family unless the user names another."""

    def published(self) -> tuple[PathFamily, Ordering]:
        """Return this family and its ordering as the SIG paper's code has them."""
        return self, self.default_ordering


FEW = 1 << 16
"""How many numbers make up half a megabyte."""


def norms(components: Array, axes: int) -> Array:
    """Return L2 norms over the last `axes` axes, safe from overflow and underflow of the squares."""
    lead = components.shape[: components.ndim - axes]
    flat = components.reshape(prod(lead), -1)
    # A few at a time: what lies in the processor's cache is read again for nothing.
    few = max(1, FEW // max(flat.shape[1], 1))
    found = [_norms(flat[first : first + few]) for first in range(0, len(flat), few)]
    return np.concatenate([np.empty(0), *found]).reshape(lead)


def _norms(rows: Array) -> Array:
    peak = np.abs(rows).max(axis=1, initial=0.0)
    scaled = rows / np.where(peak > 0, peak, 1.0)[:, None]
    with np.errstate(over="ignore"):  # a norm beyond the largest float is as good as that
        return np.minimum(peak * np.sqrt((scaled * scaled).sum(axis=1)), np.finfo(np.float64).max)
