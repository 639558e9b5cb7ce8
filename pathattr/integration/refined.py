"""The other loop: paths whose nodes depend on the gradients so far, refined side by side in full blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathattr.common.axes import Array
from pathattr.integration.engine import Engine, Integral, Progress, ahead, on_path
from pathattr.integration.points import Path, Points
from pathattr.integration.refinement import Aim, Refinement
from pathattr.models.finiteness import check_finite_at
from pathattr.models.targets import Objective


@dataclass
class _Seat:
    """One path in work: its operands on the device, what has been evaluated, and projections by position."""

    path: Path
    walk: Points
    refinement: Refinement
    projections: dict[float, tuple[Array, ...]]


def refine(
    engine: Engine, paths: Iterable[Path], objective: Objective, aim: Aim, *, count: int, progress: Progress
) -> Iterator[Integral]:
    """Yield the integral of each path by the trapezoidal rule, its nodes refined until the aim is reached.

    A path that is finished leaves the batch and the next takes its seat, so that blocks stay full. What is decided for
    one path never depends on the others. `progress(done, total)` counts paths.
    """
    seats: dict[int, _Seat] = {}
    finished: dict[int, Integral] = {}
    waiting = enumerate(group[0] for group in ahead(iter(paths), 1))
    given, done = 0, 0
    while True:
        wanted = {number: seat.refinement.wanted() for number, seat in seats.items()}
        while sum(map(len, wanted.values())) < engine.capacity and (entry := next(waiting, None)) is not None:
            seats[entry[0]] = seat = _seated(engine, entry[1], aim)
            wanted[entry[0]] = seat.refinement.wanted()
        if not seats:
            return
        for number in [number for number, alpha in wanted.items() if not len(alpha)]:
            finished[number] = _integral(engine, seats.pop(number))
            done += 1
            progress(done, count)
        _evaluate(engine, [(seat, wanted[number]) for number, seat in seats.items()], objective)
        while given in finished:
            yield finished.pop(given)
            given += 1


def _seated(engine: Engine, path: Path, aim: Aim) -> _Seat:
    return _Seat(path, engine.walk([path]), Refinement(path.course, aim), {})


def _evaluate(engine: Engine, wanted: list[tuple[_Seat, Array]], objective: Objective) -> None:
    """Take the gradients at the wanted positions, in full blocks across the paths."""
    backend, shape = engine.backend, engine.layout.shape
    owner = np.repeat(np.arange(len(wanted)), [len(alpha) for _, alpha in wanted])
    position = np.concatenate([alpha for _, alpha in wanted]) if wanted else np.empty(0)
    parts: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] = []
    first, most = 0, engine.capacity
    while first < len(owner):
        chosen = np.arange(first, min(first + most, len(owner)))
        made = []
        try:
            for number in np.unique(owner[chosen]):
                alpha = position[chosen[owner[chosen] == number]][None]
                points, _ = wanted[number][0].walk.at(alpha, alpha, np.zeros_like(alpha))
                made.append(backend.reshape(points, (alpha.size, *shape)))
            native = made[0] if len(made) == 1 else backend.concat(made, 0)
        except Exception as error:
            engine.check_memory(error, len(chosen), "the path")
            most = len(chosen) // 2
            continue
        first += len(chosen)
        index = engine.filled(np.arange(len(chosen)))
        seats = [wanted[number][0] for number in owner[chosen]]
        rows = np.array([seats[i].path.row for i in index])
        targets = np.stack([seats[i].path.targets for i in index])
        filled = native if len(index) == len(chosen) else backend.take(native, index)
        scores, gradients = engine.gradients(filled, objective, targets, rows)
        smooth = backend.to_numpy(backend.finite(gradients))
        values = backend.to_numpy(scores).astype(np.float64)
        count = len(chosen)
        place = partial(on_path, position[chosen])
        check_finite_at(rows[:count], values[:count], smooth[:count], place, has_values=backend.has_values)
        if engine.components:
            _project(engine, seats, position[chosen], gradients)
        found = (values, backend.to_numpy(native), backend.to_numpy(gradients))
        parts.append(tuple(part[: len(chosen)].reshape(len(chosen), -1) for part in found))  # type: ignore[arg-type]  # three of them
    if not parts:
        return
    values, points, gradients = (np.concatenate(part) for part in zip(*parts, strict=True))
    for number, (seat, alpha) in enumerate(wanted):
        mine = owner == number
        seat.refinement.add(alpha, values[mine, 0], points[mine], gradients[mine])


def _project(engine: Engine, seats: list[_Seat], position: Array, gradients: Any) -> None:
    """Keep the gradients' inner products with each path's components."""
    backend, first = engine.backend, 0
    while first < len(seats):
        seat, last = seats[first], first
        while last < len(seats) and seats[last] is seat:
            last += 1
        block = gradients[first:last][None]
        tables = [backend.to_numpy(part)[0] for part in seat.walk.project(block)]
        for i in range(first, last):
            seat.projections[float(position[i])] = tuple(table[i - first].astype(np.float64) for table in tables)
        first = last


def _integral(engine: Engine, seat: _Seat) -> Integral:
    path, refinement, walk = seat.path, seat.refinement, seat.walk
    gathered = path.decomposition.gathered
    if len(refinement.alpha) < 2:  # a path that never moves
        return Integral(
            np.zeros(path.start.shape),
            gathered([np.zeros(term.gate_shape) for term in walk.terms]) if engine.components else (),
            gathered([part[0] for part in walk.strengths]),
            np.empty(0),
            0,
            0.0,
        )
    components = [
        _component_sum(
            engine, refinement.alpha, [seat.projections[float(a)][k] for a in refinement.alpha], strengths[0]
        )
        for k, strengths in enumerate(walk.strengths)
        if engine.components
    ]
    return Integral(
        refinement.attributions().reshape(path.start.shape),
        gathered(components) if engine.components else (),
        gathered([part[0] for part in walk.strengths]),
        refinement.scores,
        len(refinement.alpha),
        refinement.error,
    )


def _component_sum(engine: Engine, alpha: Array, projections: list[Array], strengths: Array) -> Array:
    """Return Σ ½(p + p')·Δg over the intervals for one term's components."""
    total = np.zeros(strengths.shape)
    before = engine.schedule.gates(np, alpha[0], strengths)
    for t in range(len(alpha) - 1):
        after = engine.schedule.gates(np, alpha[t + 1], strengths)
        total += 0.5 * (projections[t] + projections[t + 1]) * (after - before)
        before = after
    return total
