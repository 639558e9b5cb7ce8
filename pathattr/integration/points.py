"""The points of paths on the device: gates and factors through one equation, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathattr.common.axes import Array, Layout, spatial_labels
from pathattr.common.einsum import Contraction, contraction
from pathattr.common.ops import Ops
from pathattr.families.base import Decomposition, Transform
from pathattr.integration.nodes import Course
from pathattr.integration.quadrature import Edges, Rule
from pathattr.models.backend import Backend
from pathattr.paths.schedules import Elementwise, Schedule


@dataclass(frozen=True)
class Path:
    """One path to integrate along: from `start` to `end`, both arranged as the user's examples, float64.

    `row` is the example of the batch that it belongs to, `targets` (1 or 2, output axes) what is explained.
    """

    start: Array
    end: Array
    decomposition: Decomposition
    strengths: tuple[Array, ...]
    course: Course
    edges: Edges
    targets: NDArray[np.intp]
    row: int


class Points:
    """The points of a few paths, block by block; edge points on the border of two blocks are made once."""

    def __init__(
        self, backend: Backend, layout: Layout, schedule: Schedule, rule: Rule, paths: Sequence[Path], nodes: int
    ) -> None:
        self._backend, self._rule, self._schedule = backend, rule, schedule
        self._weights = rule.point, rule.increment
        self._rank = len(paths[0].start.shape)
        self.terms = [_Operands(backend, layout, paths, k) for k in range(len(paths[0].decomposition.terms))]
        self.strengths = [term.strengths_on_host for term in self.terms]
        self._transform = paths[0].decomposition.transform
        spatial = spatial_labels(len(paths[0].decomposition.shape) - 1)
        self._axes = tuple(2 + layout.labels.index(label) for label in spatial)  # after images and nodes
        self._start = backend.asarray(np.stack([path.start for path in paths]))[:, None]
        self._end = backend.asarray(np.stack([path.end for path in paths]))[:, None]
        count, padding = nodes + rule.window - 1, rule.padding

        def padded(edges: Array) -> Array:
            # First and last edge as often as the rule says, then the last again: nodes without increment.
            return np.pad(edges, (padding, max(count - padding - len(edges), 0)), mode="edge")[:count]

        self._low, self._high, self._share = (
            np.stack([padded(getattr(path.edges, name)) for path in paths]) for name in ("low", "high", "share")
        )
        self._edges: list[Any] = []

    def block(self, first: int, size: int) -> tuple[Any, Any, list[Any]]:
        """Return evaluation points and increments (images, size, *example), and the increments of each term's gates."""
        overlap = self._rule.window - 1
        fresh = slice(first + overlap if self._edges else first, first + size + overlap)
        found, opened = self.at(self._low[:, fresh], self._high[:, fresh], self._share[:, fresh])
        edges = [[part] for part in (found, *opened)]
        if self._edges:
            edges = [[old, new] for old, (new,) in zip(self._edges, edges, strict=True)]
        points, *gates = edges
        point, increment = (
            partial(self._backend.apply, _Combination(tuple(weights), size)) for weights in self._weights
        )
        made = point(*points), increment(*points), [increment(*gate) for gate in gates]
        # Last, so that a block for which there is no room leaves all as it was.
        self._edges = [self._last(parts, overlap) for parts in edges]
        return made

    def _last(self, parts: list[Any], count: int) -> Any:
        """Return the last edges of those in one or two arrays, by themselves: views would keep whole blocks."""
        *_, new = parts
        if new.shape[1] == count:
            return new
        if new.shape[1] < count:
            return self._backend.concat([parts[0][:, new.shape[1] - count :], new], axis=1)
        return self._backend.concat([new[:, -count:]], axis=1)

    def at(self, low: Array, high: Array, share: Array) -> tuple[Any, list[Any]]:
        """Return the points at edges (images, edges), natively (images, edges, *example), and each term's gates.

        Gates have length 1 along axes on which all of them are the same.
        """
        gates = [self._gate(term, low, high, share) for term in self.terms]
        points = self._start
        parts = [
            term.synthesise(self._backend, self._backend.narrow(gate))
            for term, gate in zip(self.terms, gates, strict=True)
        ]
        if self._transform is not None:
            parts = [self._backend.apply(_Synthesis(self._transform, self._axes), *parts)]
        for part in parts:
            points = points + part
        arrived = (low >= 1) & (share == 0)
        if arrived.any():  # the end point is x itself, not its synthesis
            mask = self._backend.wide(arrived.astype(np.float64).reshape(*arrived.shape, *(1,) * self._rank))
            points = self._backend.where(mask > 0.5, self._end, points)
        return points, gates

    def project(self, gradients: Any) -> list[Any]:
        """Return ⟨gradient, C_k⟩ for gradients (images, nodes, *example), one array (images, nodes, *gate) a term."""
        parts = [gradients] * len(self.terms)
        if self._transform is not None:
            parts = self._backend.apply(_Adjoint(self._transform, self._axes), gradients)
        return [term.project(self._backend, part) for term, part in zip(self.terms, parts, strict=True)]

    def _gate(self, term: _Operands, low: Array, high: Array, share: Array) -> Any:
        """Return a term's gates at edges (images, edges), wide (images, edges, *gate), 1 where all are the same."""
        backend, rank = self._backend, len(term.gate_shape)
        alphas = [low, high, share] if share.any() else [low]
        inside = tuple(bool(((alpha > 0) & (alpha < 1)).all()) for alpha in alphas[:2])
        columns = [alpha.reshape(*alpha.shape, *(1,) * rank) for alpha in alphas]
        gates = _Gates(self._schedule, inside)
        if self._schedule.jumping and not backend.has_float64:
            # In float32 a gate may jump one edge early or late, past the sub-nodes that the jump was given.
            return backend.wide(gates(np, term.distinct_on_host[:, None], *columns))
        return backend.apply(gates, term.distinct[:, None], *map(backend.wide, columns))


class _Operands:
    """One term of a few paths' equations on the device, with its two contractions."""

    def __init__(self, backend: Backend, layout: Layout, paths: Sequence[Path], k: int) -> None:
        terms = [path.decomposition.terms[k] for path in paths]
        term = terms[0]
        # Without channels the canonical channel axis, of length 1, leaves the equation.
        dropped = "" if layout.channel_axis is not None else "c"
        self.strengths_on_host = np.stack([_squeezed(path.strengths[k], term.gates, dropped) for path in paths])
        self.gate_shape = self.strengths_on_host.shape[1:]
        self._factors = []
        labels = []
        for index, factor in enumerate(term.factors):
            own = factor.labels.replace(dropped, "") if dropped else factor.labels
            if factor.shared:
                array = _squeezed(factor.array, factor.labels, dropped)
            else:
                arrays = [_squeezed(t.factors[index].array, factor.labels, dropped) for t in terms]
                array = arrays[0][None] if len(arrays) == 1 else np.stack(arrays)  # no copy of one
                own = "b" + own
            labels.append(own)
            self._factors.append(backend.asarray(array))
        gates = "bn" + (term.gates.replace(dropped, "") if dropped else term.gates)
        decomposition = paths[0].decomposition
        # A spectrum is arranged as the example is, each frequency in the place of its axis.
        places = dict(zip(decomposition.labels, term.spectrum or decomposition.labels, strict=True))
        arranged = "bn" + "".join(places[label] for label in layout.labels)
        sizes = decomposition.sizes(term) | {"b": 1, "n": 1}
        # Nothing but gates times coefficients: gates that are the same along an axis are made once. (Elsewhere another
        # equation may be another order of products, and an example's rounding its batch-mates' matter.)
        alike = (
            [
                axis
                for axis, size in enumerate(self.gate_shape, start=1)
                if size > 1 and (self.strengths_on_host == self.strengths_on_host.take([0], axis)).all()
            ]
            if len(term.factors) == 1 and set(gates) <= set(arranged)
            else []
        )
        first = tuple(slice(0, 1) if axis in alike else slice(None) for axis in range(self.strengths_on_host.ndim))
        self.distinct_on_host = self.strengths_on_host[first]
        self.distinct = backend.wide(self.distinct_on_host)
        self._kept = [axis for axis in range(len(gates)) if axis - 1 not in alike]
        varied = "".join(gates[axis] for axis in self._kept)
        self._synthesis: Contraction = contraction([varied, *labels], arranged, sizes)
        self._adjoint: Contraction = contraction([arranged, *labels], gates, sizes)

    def synthesise(self, backend: Backend, gates: Any) -> Any:
        """Return the equation's result for gates (images, nodes, *gate), arranged as the user's examples."""
        if len(self._kept) < len(gates.shape):
            gates = backend.reshape(gates, tuple(gates.shape[axis] for axis in self._kept))
        return backend.apply(_Product(self._synthesis), gates, *self._factors)

    def project(self, backend: Backend, gradients: Any) -> Any:
        """Return its adjoint, (images, nodes, *gate), at gradients that are so arranged."""
        return backend.apply(_Product(self._adjoint), gradients, *self._factors)


# Functions as values, so that a framework that compiles them finds again what it has compiled.


@dataclass(frozen=True)
class _Gates:
    """Gates of strengths at α, or the mean of those at two α by the share of the second."""

    schedule: Schedule
    inside: tuple[bool, ...]
    """Of each α: none of it is 0 or 1."""

    def __call__(self, ops: Elementwise, strengths: Any, low: Any, *jump: Any) -> Any:
        gates = self.schedule.gates(ops, low, strengths, inside=self.inside[0])
        if not jump:
            return gates
        high, share = jump
        return (1.0 - share) * gates + share * self.schedule.gates(ops, high, strengths, inside=self.inside[1])


@dataclass(frozen=True)
class _Product:
    """The product of operands in a planned order."""

    plan: Contraction

    def __call__(self, ops: Ops, *operands: Any) -> Any:
        return self.plan(ops.einsum, operands)


@dataclass(frozen=True)
class _Synthesis:
    """A transform along some axes as a function of spectra."""

    transform: Transform
    axes: tuple[int, ...]

    def __call__(self, ops: Ops, *spectra: Any) -> Any:
        return self.transform.synthesise(ops, spectra, self.axes)


@dataclass(frozen=True)
class _Adjoint:
    """The other direction, as a function of gradients."""

    transform: Transform
    axes: tuple[int, ...]

    def __call__(self, ops: Ops, gradients: Any) -> list[Any]:
        return list(self.transform.adjoint(ops, gradients, self.axes))


@dataclass(frozen=True)
class _Combination:
    """Σ_w weights[w]·edges[:, w : w + size] as a function of edges, which come in one array or one after the other."""

    weights: tuple[float, ...]
    size: int

    def __call__(self, ops: Ops, *edges: Any) -> Any:
        total: Any = None
        for w, weight in sorted(enumerate(self.weights), reverse=True):  # subtracting beats adding what is negated
            if weight:
                part = self._window(ops, edges, w)
                if total is None:
                    total = part if weight == 1 else weight * part
                elif weight == -1:
                    total = total - part
                else:
                    total = total + (part if weight == 1 else weight * part)
        return total

    def _window(self, ops: Ops, edges: Sequence[Any], first: int) -> Any:
        """Return `size` edges from the first on, without a copy where they lie in one array."""
        found = []
        last = first + self.size
        for part in edges:
            length = part.shape[1]
            if first < length and last > 0:
                found.append(part[:, max(first, 0) : min(last, length)])
            first, last = first - length, last - length
        return found[0] if len(found) == 1 else ops.concat(found, 1)


def _squeezed(array: Array, labels: str, dropped: str) -> Array:
    return array.squeeze(axis=labels.index(dropped)) if dropped and dropped in labels else array
