"""The one loop: blocks of (image, node) pairs -> gradients -> sums. It knows no family and no framework."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pathattr.common.axes import Array, Layout
from pathattr.errors import ModelError
from pathattr.integration.points import Path, Points
from pathattr.integration.quadrature import Rule
from pathattr.integration.sums import Sum
from pathattr.models.backend import Backend
from pathattr.models.finiteness import check_finite_at
from pathattr.models.targets import Objective
from pathattr.paths.schedules import Schedule


class Progress(Protocol):
    """Told how many of the planned gradients are done."""

    def __call__(self, done: int, total: int) -> None:
        """Take note."""


@dataclass(frozen=True)
class Integral:
    """What came of one path, in float64: attributions of features and of components, values met, gradients taken.

    `error` is the estimated relative L2 error of the attributions; NaN where nothing estimates it.
    """

    attributions: Array
    components: tuple[Array, ...]
    strengths: tuple[Array, ...]
    values: Array
    evaluations: int
    error: float = np.nan


def fitted(batch_size: int, nodes: int, paths: int) -> int:
    """Return the number of points in a block, at most `batch_size`, that splits so many nodes a path most evenly.

    Where shapes must not change every block is filled up to this: of the larger half of sizes it is the largest that
    fills up hardly more than the best.
    """
    points = nodes * min(max(1, batch_size // nodes), paths)
    least = -(-points // batch_size)
    sizes = [-(-points // blocks) for blocks in range(least, 2 * least)]
    filled = [-(-points // size) * size for size in sizes]
    return next(size for size, total in zip(sizes, filled, strict=True) if total <= 1.03 * min(filled))


@dataclass
class _Room:
    """How many points have turned out to fit the memory at once."""

    points: int = sys.maxsize


def ahead(paths: Iterator[Path], count: int) -> Iterator[list[Path]]:
    """Yield paths in groups; the next is made in a thread while the caller works on the last.

    Decompositions cost the host, gradients the device.
    """
    with ThreadPoolExecutor(1) as pool:

        def take() -> list[Path]:
            return list(islice(paths, count))

        coming = pool.submit(take)
        while group := coming.result():
            coming = pool.submit(take)
            yield group


@dataclass(frozen=True)
class Engine:
    """Integrates paths on a backend; `capacity` is the number of points that the model sees at once."""

    backend: Backend
    layout: Layout
    schedule: Schedule
    rule: Rule
    capacity: int
    components: bool = True
    _room: _Room = field(default_factory=lambda: _Room(), compare=False)

    def integrate(
        self,
        paths: Iterable[Path],
        objective: Objective,
        *,
        count: int,
        nodes: int,
        progress: Progress,
        placed: Callable[[Path], Path] | None = None,
    ) -> Iterator[Integral]:
        """Yield the integral of each path. Paths are drawn as they are needed: few are in memory at a time.

        `count` paths of at most `nodes` nodes are to come; `progress(done, total)` counts nodes. `placed` gives a path
        its edges where that takes the model: paths are drawn in a thread, and models stay in the caller's.
        """
        done, most = 0, max(1, self.capacity // nodes)
        for group in ahead(iter(paths), most) if count > most else [list(paths)]:
            group = group if placed is None else [placed(path) for path in group]
            found = self._group(group, objective, lambda share: progress(round(nodes * share), nodes * count), done)
            done += len(group)
            progress(nodes * done, nodes * count)
            yield from found

    def walk(self, paths: Sequence[Path], nodes: int = 0) -> Points:
        """Return the points of paths of at most so many nodes; of none where they are asked for one by one."""
        return Points(self.backend, self.layout, self.schedule, self.rule, paths, nodes)

    def outputs(self, points: Array, rows: NDArray[np.intp] | None = None) -> list[Any]:
        """Return the model's outputs at points (points, *example), native, a few at a time.

        `rows` tells which example each point belongs to; by default they are the examples.
        """
        rows = np.arange(len(points)) if rows is None else rows
        return [
            self._first(self._in_parts(len(own), partial(self._outputs, x, rows[own]))[0], len(part))
            for part, own, x in self._parts(points)
        ]

    def scores_of(self, outputs: Sequence[Any], objective: Objective, targets: NDArray[np.intp]) -> Array:
        """Return the explained score on the host, float64, for what `outputs` returned."""
        ends = np.cumsum([len(part) for part in outputs])
        found = [  # astype copies: an output callable may fill one buffer again and again
            self.backend.to_numpy(objective.score(self.backend, part, own)).astype(np.float64)
            for part, own in zip(outputs, np.split(targets, ends[:-1]), strict=True)
        ]
        return np.concatenate(found)

    def scores(self, points: Array, objective: Objective, targets: NDArray[np.intp], rows: NDArray[np.intp]) -> Array:
        """Return the explained score at points (points, *example) on the host, float64, by forward passes.

        `rows` tells which example each point belongs to.
        """
        found = []
        for part, own, x in self._parts(points):
            (scores,) = self._in_parts(len(own), partial(self._scores, x, objective, targets[own], rows[own]))
            found.append(self.backend.to_numpy(scores)[: len(part)].astype(np.float64))
        return np.concatenate(found)

    def _outputs(self, points: Any, rows: NDArray[np.intp], some: slice) -> tuple[Any]:
        return (self.backend.outputs(points[some], rows[some]),)

    def _scores(
        self, points: Any, objective: Objective, targets: NDArray[np.intp], rows: NDArray[np.intp], some: slice
    ) -> tuple[Any]:
        return (self.backend.scores(points[some], objective, targets[some], rows[some]),)

    def gradients(
        self, points: Any, objective: Objective, targets: NDArray[np.intp], rows: NDArray[np.intp]
    ) -> tuple[Any, Any]:
        """Return scores and gradients at native points, as `Backend.gradient` does, in parts that fit the memory."""

        def some(part: slice) -> tuple[Any, Any]:
            return self.backend.gradient(points[part], objective, targets[part], rows[part])

        scores, gradients = self._in_parts(len(rows), some)
        return scores, gradients

    def _in_parts(self, count: int, call: Callable[[slice], Sequence[Any]]) -> list[Any]:
        """Return what `call` gives for `count` rows: at once, or in parts where the device has no room for that.

        What has been computed is kept, and later calls start with the size that fitted.
        """
        parts: list[Sequence[Any]] = []
        first = 0
        while first < count:
            size = min(self._room.points, count - first)
            try:
                parts.append(call(slice(first, first + size)))
                first += size
                continue
            except Exception as error:
                self.check_memory(error, size, "the model")
            # Outside the handler: the error holds on to what it was raised over.
            self._room.points = size // 2
        if len(parts) == 1:
            return list(parts[0])
        return [self.backend.concat(list(part), 0) for part in zip(*parts, strict=True)]

    def check_memory(self, error: Exception, size: int, what: str) -> None:
        """Raise the error again unless fewer points would take less memory; ModelError where there is only one."""
        if not self.backend.out_of_memory(error):
            raise error
        if size == 1:
            raise ModelError(
                f"{what} runs out of memory on a single point of shape {self.layout.shape}: {error}. Use a device with "
                "more memory, or smaller inputs"
            ) from error

    def _parts(self, points: Array) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], Any]]:
        """Yield a few points at a time: their numbers, the same filled up to one shape, and the points natively."""
        for first in range(0, len(points), self.capacity):
            part = np.arange(first, min(first + self.capacity, len(points)))
            own = self.filled(part)
            yield part, own, self.backend.asarray(points[own])

    def _first(self, array: Any, count: int) -> Any:
        return array if len(array) == count else self.backend.take(array, np.arange(count))

    def filled(self, index: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return row numbers, repeated up to the capacity where shapes must not change."""
        if not self.backend.static_shapes or len(index) == self.capacity:
            return index
        return np.concatenate([index, np.full(self.capacity - len(index), index[0])])

    def _group(
        self, paths: Sequence[Path], objective: Objective, report: Callable[[float], None], before: int
    ) -> list[Integral]:
        """Return the integrals of a few paths: side by side, or in smaller groups where there is no room for that."""
        half = len(paths) // 2
        try:
            return self._side_by_side(paths, objective, report, before)
        except Exception as error:
            if not half or not self.backend.out_of_memory(error):
                raise
        return [
            integral
            for part in (paths[:half], paths[half:])
            for integral in self._group(part, objective, report, before)
        ]

    def _side_by_side(
        self, paths: Sequence[Path], objective: Objective, report: Callable[[float], None], before: int
    ) -> list[Integral]:
        """Return the integrals of a few paths, block of nodes by block of nodes."""
        backend, rule, shape = self.backend, self.rule, paths[0].start.shape
        counts = np.array([path.edges.nodes(rule) for path in paths])
        nodes = int(counts.max())
        walk = self.walk(paths, nodes)
        features = Sum(backend, (len(paths), *shape))
        parts = [Sum(backend, (len(paths), *term.gate_shape)) for term in walk.terms if self.components]
        met = _Record(backend, paths, [path.edges.positions(rule) for path in paths])
        block = -(-nodes // -(-nodes * len(paths) // self.capacity)) if nodes else 1
        first = 0
        while first < nodes:
            size = min(block, nodes - first)
            try:
                points, increments, gates = walk.block(first, size)
            except Exception as error:
                if len(paths) > 1:
                    raise
                self.check_memory(error, size, "the path")
                block = size // 2
                continue
            # Nodes beyond a path's own have no increment: they are not evaluated.
            inside = (np.arange(first, first + size) < counts[:, None]).ravel()
            chosen = np.flatnonzero(inside)
            image = np.repeat(np.arange(len(paths)), size)[chosen]
            index = self.filled(chosen)
            rows = np.repeat([path.row for path in paths], size)[index]
            targets = np.repeat([path.targets for path in paths], size, axis=0)[index]
            flat = backend.reshape(points, (len(paths) * size, *shape))
            values, gradients = self.gradients(
                flat if len(index) == len(inside) and inside.all() else backend.take(flat, index),
                objective, targets, rows,
            )  # fmt: skip
            met.add(image, np.tile(np.arange(first, first + size), len(paths))[chosen], values, gradients)
            if len(index) != len(inside) or not inside.all():
                back = np.zeros(len(inside), np.intp)
                back[chosen] = np.arange(len(chosen))
                gradients = backend.take(gradients, back)
            gradients = backend.reshape(gradients, (len(paths), size, *shape))
            features.add(gradients, increments)
            if self.components:
                for projection, total, moved in zip(walk.project(gradients), parts, gates, strict=True):
                    total.add(backend.wide(projection), moved)
            first += size
            report(before + len(paths) * first / nodes)
        values = met.checked()
        attributions = features.numpy()
        components = [total.numpy() for total in parts]
        return [
            Integral(
                attributions[i],
                path.decomposition.gathered([part[i] for part in components]) if self.components else (),
                path.decomposition.gathered([part[i] for part in walk.strengths]),
                values[i],
                path.edges.nodes(rule),
            )
            for i, path in enumerate(paths)
        ]


class _Record:
    """Values met at the nodes, kept on the device until the group is done: nothing waits for the host inside."""

    def __init__(self, backend: Backend, paths: Sequence[Path], positions: Sequence[Array]) -> None:
        self._backend, self._paths, self._positions = backend, paths, positions
        self._blocks: list[tuple[NDArray[np.intp], NDArray[np.intp], Any, Any]] = []

    def add(self, image: NDArray[np.intp], node: NDArray[np.intp], values: Any, gradients: Any) -> None:
        flags = self._backend.finite(gradients)
        if self._backend.on_host:
            # Copied at once: small arrays that stay would pin the memory between large ones that come and go.
            values, flags = (np.array(self._backend.to_numpy(part)) for part in (values, flags))
        self._blocks.append((image, node, values, flags))

    def checked(self) -> list[Array]:
        """Return the values along each path; raise ModelError at the first that is not finite."""
        found = [np.empty(len(positions)) for positions in self._positions]
        for image, node, native, flags in self._blocks:
            values = np.asarray(self._backend.to_numpy(native))[: len(image)].astype(np.float64)
            smooth = np.asarray(self._backend.to_numpy(flags))[: len(image)]
            rows = [self._paths[i].row for i in image]
            alphas = [self._positions[i][j] for i, j in zip(image, node, strict=True)]
            check_finite_at(rows, values, smooth, partial(on_path, alphas), has_values=self._backend.has_values)
            for i in np.unique(image):
                found[i][node[image == i]] = values[image == i]
        return found


def on_path(alphas: Sequence[float] | Array, point: int) -> str:
    """Return what a message calls the place of a point on a path."""
    return f"at α = {alphas[point]:.4g} of the path"
