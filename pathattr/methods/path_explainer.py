"""PathExplainer: the face that users meet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from pathattr.common.axes import Array, Layout
from pathattr.common.checks import check_finite, flag, numbers
from pathattr.common.texts import shown
from pathattr.errors import InvalidInput
from pathattr.families import PathFamily
from pathattr.integration.engine import Engine, Progress, fitted
from pathattr.integration.example import Example
from pathattr.integration.nodes import Course, Nodes, Refined, Uniform
from pathattr.integration.points import Path
from pathattr.integration.quadrature import NOWHERE, RULES
from pathattr.integration.refined import refine
from pathattr.integration.refinement import Aim
from pathattr.methods.explainer import Explainer
from pathattr.methods.settings import settled
from pathattr.models.backend import Backend, Call
from pathattr.models.targets import Link, Objective, Output
from pathattr.paths.baselines import Baseline, Samples
from pathattr.paths.orderings import Ordering
from pathattr.paths.schedules import Schedule
from pathattr.pictures.preprocessing import Preprocessing
from pathattr.results.attribution import Attribution, Components


class PathExplainer(Explainer):
    """Attributes a model's score to its inputs along a path from a baseline.

    The path is γ(α) = x' + Σ_k g_k(α)·C_k: `family` gives the components C_k of x − x' (default `SVD()`, that is
    Spectral Integrated Gradients), `ordering` their strengths (default: the family's), `schedule` the gates g_k
    (default `LinearRamp(overlap=0.4)`). `steps` intervals (200) are integrated by `rule` (midpoint), their nodes placed
    by `nodes` (`pathattr.integration.nodes`). `steps="auto"` takes as many gradients as it needs for an estimated
    relative L2 error of at most `tolerance` (0.02), at most a thousand; the result's `error` is the estimate.

    `baseline`: see `pathattr.paths.baselines`; black where `preprocessing` says how pictures are normalised, else zero.
    `output` is the explained number ("probability", "logit", "log_probability", "raw" or a callable on all that the
    model returns), `link` what turns the model's outputs into probabilities ("softmax", "sigmoid", "identity" for none,
    "already" if they are), `class_axis` where the classes are, `head` the name or number of the output that is meant
    where the model returns several (docs/outputs.md). `channel_axis` counts the batch axis; None: no channels.
    `batch_size` bounds the points in one call of the model; "auto" finds how many fit the memory, at the price of five
    gradients, and an error of memory halves either and goes on. `components=False` leaves out the attributions per
    component. `progress` is True (needs rich) or a callable (done, total).

    `preset="published"` is the SIG paper's setting: 199 left intervals (200 points), ω = 0.4, the published order
    of components, the gradient before a jump. `preset="blur-ig"` is Blur IG with σ from 35 to 0: `DCT()`,
    `Diffusion(sigma=35)`, `HeatRamp()` and `Diffused(35)`. `preset="laplacian-ig"` is `Laplacian()` by energy, the path
    that beat SIG where we measured (docs/laplacian-ig.md). What is passed besides a preset still holds.

    The backend is recognised by the model and the inputs; `backend` forces one, by name ("torch", "tensorflow",
    "jax", "numpy") or class, and `backend_options` are its own (see the class's `options`).

    Raises InvalidInput for anything unknown or out of range (errors list the valid names), and for settings that mean
    nothing beside the others. `Linear()` takes any ordering and overlap: one component has no order.
    """

    own_settings: ClassVar[tuple[str, ...]] = (
        "family", "ordering", "schedule", "steps", "tolerance", "nodes", "rule", "components"
    )  # fmt: skip

    def __init__(
        self,
        model: Any,
        *,
        family: PathFamily | str | None = None,
        ordering: Ordering | str | None = None,
        schedule: Schedule | str | None = None,
        steps: int | Literal["auto"] | None = None,
        tolerance: float | None = None,
        nodes: Nodes | str | None = None,
        rule: str | None = None,
        baseline: Baseline | Samples | str | float | Any = None,
        output: Output | Callable[[Any], Any] | None = None,
        link: Link | None = None,
        preprocessing: Preprocessing | None = None,
        channel_axis: int | None | Literal["auto"] = "auto",
        class_axis: int | None = None,
        head: str | int | None = None,
        batch_size: int | Literal["auto"] = 32,
        components: bool = True,
        progress: bool | Progress = False,
        seed: int = 0,
        preset: Literal["published", "blur-ig", "laplacian-ig"] | None = None,
        backend: str | type[Backend] | None = None,
        backend_options: Mapping[str, Any] | None = None,
    ) -> None:
        settings = settled(
            preset=preset,
            family=family,
            ordering=ordering,
            schedule=schedule,
            steps=steps,
            tolerance=tolerance,
            nodes=nodes,
            rule=rule,
            baseline=baseline,
            preprocessing=preprocessing,
        )
        super().__init__(
            model,
            baseline=settings.baseline,
            output=output,
            link=link,
            preprocessing=preprocessing,
            channel_axis=channel_axis,
            class_axis=class_axis,
            head=head,
            batch_size=batch_size,
            progress=progress,
            seed=seed,
            backend=backend,
            backend_options=backend_options,
        )
        self.family, self.ordering, self.schedule = settings.family, settings.ordering, settings.schedule
        self.steps, self.tolerance = settings.steps, settings.tolerance
        self.nodes, self.rule = settings.nodes, settings.rule
        self.components = flag("components", components)

    def path(self, inputs: Any, alpha: Sequence[float]) -> Array:
        """Return the points γ(α) of each input's path on the host, (batch, len(alpha), *example), float64.

        With reference samples it is the path from the first. Raises as a call does; the model is not run.
        """
        backend, host, layout = self.prepared(inputs, Call())
        position = numbers("alpha must be a list of positions between 0 and 1", alpha)
        if position.ndim != 1 or not ((position >= 0) & (position <= 1)).all():
            raise InvalidInput(f"alpha must be a list of positions between 0 and 1; got {shown(alpha)}")
        starts = self.starts(backend, host, layout)[:, 0]
        nothing = np.empty((1, 0), np.intp)  # no target is needed for points
        paths = [
            self._path(start, end, layout, nothing, row)
            for row, (start, end) in enumerate(zip(starts, host, strict=True))
        ]
        points = [self._point(path, layout, a) for path in paths for a in position]
        return np.reshape(points, (len(host), len(position), *host.shape[1:]))

    def _point(self, path: Path, layout: Layout, alpha: np.float64) -> Array:
        if alpha == 1:
            return path.end
        gates = tuple(self.schedule.gates(np, alpha, s) for s in path.strengths)
        return path.start + layout.restore(path.decomposition.synthesise(gates))

    def _attribute(
        self, backend: Backend, inputs: Any, host: Array, layout: Layout, target: Any, progress: Progress
    ) -> Attribution:
        starts = self.starts(backend, host, layout)
        batch, references = starts.shape[:2]
        count = batch * references
        rule = RULES[self.rule]
        nodes = CEILING if self.steps == "auto" else self.steps + rule.padding

        def fitting(most: int) -> int:
            return fitted(most, nodes, count) if backend.static_shapes else most

        engine = Engine(backend, layout, self.schedule, rule, fitting(self.most), self.components)
        ends = self._ends(engine, host, starts, target)
        block = self._block(engine, host, ends)
        # Refinement shares its blocks among images by itself.
        engine = replace(engine, capacity=block if isinstance(self.nodes, Refined) else fitting(block))

        refined = isinstance(self.nodes, Refined)
        placing: list[bool] = []

        def paths() -> Iterator[Path]:  # in a thread, where the model is not run
            for row in range(batch):
                for start in starts[row]:
                    path = self._path(start, host[row], layout, ends.targets[row], row)
                    placing.append(self._placing(path))
                    yield path if refined or self.nodes.passes else self._placed(engine, ends.objective, path)

        if refined:
            aim = Aim(nodes, self.tolerance)
            integrals = refine(engine, paths(), ends.objective, aim, count=count, progress=progress)
        else:
            placed = partial(self._placed, engine, ends.objective) if self.nodes.passes else None
            integrals = engine.integrate(
                paths(), ends.objective, count=count, nodes=nodes, progress=progress, placed=placed
            )
        parts = [Example.mean(list(islice(integrals, references))) for _ in range(batch)]
        return self._answer(
            engine,
            inputs,
            ends,
            np.stack([part.attributions for part in parts]),
            evaluations=np.array([part.evaluations for part in parts], dtype=np.intp),
            forward_passes=ends.passes + self.nodes.passes * sum(placing),
            lowest=np.array([part.lowest for part in parts]),
            highest=np.array([part.highest for part in parts]),
            error=np.array([part.error for part in parts]),
            components=self._components(parts) if self.components else None,
            settings=self._settings(),
        )

    def _path(
        self,
        start: Array,
        end: Array,
        layout: Layout,
        targets: NDArray[np.intp],
        row: int,
    ) -> Path:
        """Return a path without edges."""
        with np.errstate(over="ignore"):  # said in the next line
            difference = layout.canonical(end - start)
        check_finite(f"input − baseline of image {row}", difference)
        decomposition = self.family.decompose(difference)
        facts = decomposition.facts
        # Components that are zero but for rounding move nothing: no gradients are spent on their windows.
        rounding = np.finfo(np.float64).eps * np.sqrt(facts.energy.shape[1])
        moving = facts.energy > rounding * facts.energy.max(axis=1, keepdims=True)
        energy = np.where(moving, facts.energy, 0.0)
        table = self.ordering.strengths(facts, np.random.default_rng(self.seed))
        if table.shape != energy.shape or not ((table >= 0) & (table <= 1)).all():
            raise InvalidInput(f"strengths must lie in [0, 1], one a component; {self.ordering!r} gives others")
        course = Course(self.schedule, table.ravel(), energy.ravel())
        return Path(start, end, decomposition, decomposition.split(table), course, NOWHERE, targets, row)

    def _placed(self, engine: Engine, objective: Objective, path: Path) -> Path:
        assert self.steps != "auto"
        nodes = self.nodes if self._placing(path) else Uniform()
        scores = partial(_scores_along, engine, path, objective)
        return replace(path, edges=nodes.edges(path.course, self.steps, scores))

    def _placing(self, path: Path) -> bool:
        """Tell whether a path has places to choose from: it moves."""
        return bool(path.course.energy.any())

    def _components(self, parts: Sequence[Example]) -> Components:
        return Components(
            tuple(np.stack(term) for term in zip(*(part.components for part in parts), strict=True)),
            tuple(np.stack(term) for term in zip(*(part.strengths for part in parts), strict=True)),
        )

    def _settings(self) -> dict[str, Any]:
        """Return what it takes to repeat the path, as plain values."""
        return {
            "family": repr(self.family),
            "ordering": repr(self.ordering),
            "schedule": repr(self.schedule),
            "steps": self.steps,
            "tolerance": self.tolerance,
            "nodes": repr(self.nodes),
            "rule": self.rule,
            "complete": self.schedule.complete,
        }


CEILING = 1000
"""The most gradients that `steps="auto"` spends on a path; the result's error says where they were not enough."""


def _scores_along(engine: Engine, path: Path, objective: Objective, alpha: Array) -> Array:
    """Return the explained score at positions of a path, by forward passes."""
    points, _ = engine.walk([path]).at(alpha[None], alpha[None], np.zeros((1, len(alpha))))
    host = engine.backend.to_numpy(points)[0]
    targets = np.repeat(path.targets[None], len(alpha), axis=0)
    return engine.scores(host, objective, targets, np.full(len(alpha), path.row))
