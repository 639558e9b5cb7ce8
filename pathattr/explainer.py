"""PathExplainer: the face that users meet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from itertools import islice
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pathattr.adaptive import refine
from pathattr.attribution import Attribution, Components
from pathattr.backend import Backend, Call
from pathattr.baselines import Baseline, Context, Samples, baseline_from
from pathattr.capacity import ON_HOST, fitting
from pathattr.checks import check_finite, is_number, numbers, whole
from pathattr.engine import Engine, Progress, fitted
from pathattr.errors import InvalidInput, MissingExtra
from pathattr.families import FAMILIES, SVD, PathFamily
from pathattr.given import check_scores, checked, fitted_starts
from pathattr.layout import Array, Layout
from pathattr.naming import named, one_of
from pathattr.nodes import NODES, Course, Nodes, Refined, Uniform
from pathattr.orderings import ORDERINGS, Energy, Ordering
from pathattr.outcome import Example
from pathattr.preprocessing import Preprocessing
from pathattr.quadrature import NOWHERE, RULES
from pathattr.refinement import Aim
from pathattr.registry import wrapped
from pathattr.schedules import SCHEDULES, LinearRamp, Schedule
from pathattr.targets import (
    Link,
    Objective,
    Output,
    check_options,
    objective_for,
    objective_of_callback,
    resolve_targets,
    targets_of_callback,
)
from pathattr.walk import Path, Walk


class PathExplainer:
    """Attributes a model's score to its inputs along a path from a baseline.

    The path is γ(α) = x' + Σ_k g_k(α)·C_k: `family` gives the components C_k of x − x' (default `SVD()`, that is
    Spectral Integrated Gradients), `ordering` their strengths (default: the family's), `schedule` the gates g_k
    (default `LinearRamp(overlap=0.4)`). `steps` intervals (200) are integrated by `rule` (midpoint), their nodes placed
    by `nodes` (see `pathattr.nodes`; uniform). `steps="auto"` takes as many gradients as it needs for an estimated
    relative L2 error of at most `tolerance`, at most a thousand; the result's `error` is the estimate.

    `baseline`: see `pathattr.baselines`; black where `preprocessing` says how pictures are normalised, else zero.
    `output` is the explained number ("probability", "logit", "log_probability", "raw" or a callable on the model's
    outputs), `link` what turns the model's outputs into probabilities ("softmax", "sigmoid", "identity" for none,
    "already" if they are), `class_axis` where the classes are. `channel_axis` counts the batch axis; None: no
    channels. `batch_size` bounds the points in one call of the model; "auto" finds how many fit the memory, at the
    price of five gradients, and an error of memory halves either and goes on. `components=False` leaves out the
    attributions per component. `progress` is True (needs rich) or a callable (done, total).

    `preset="published"` is the SIG paper's setting: 199 left intervals (200 points), ω = 0.4, the published order
    of components, the gradient before a jump. What is passed besides it still holds.

    The backend is recognised by the model and the inputs; `backend` forces one, by name ("torch", "tensorflow",
    "jax", "numpy") or class, and `backend_options` are its own (see the class's `options`).

    Raises InvalidInput for anything unknown or out of range; errors list the valid names.
    """

    def __init__(
        self,
        model: Any,
        *,
        family: PathFamily | str | None = None,
        ordering: Ordering | str | None = None,
        schedule: Schedule | str | None = None,
        steps: int | Literal["auto"] | None = None,
        tolerance: float = 0.02,
        nodes: Nodes | str | None = None,
        rule: str | None = None,
        baseline: Baseline | Samples | str | float | Any = None,
        output: Output | Callable[[Any], Any] | None = None,
        link: Link | None = None,
        preprocessing: Preprocessing | None = None,
        channel_axis: int | None | Literal["auto"] = "auto",
        class_axis: int | None = None,
        batch_size: int | Literal["auto"] = 32,
        components: bool = True,
        progress: bool | Progress = False,
        seed: int = 0,
        preset: Literal["published"] | None = None,
        backend: str | type[Backend] | None = None,
        backend_options: Mapping[str, Any] | None = None,
    ) -> None:
        check_options(output, link)
        if preset is not None:
            one_of("preset", preset, ("published",))
        published = preset == "published"
        self.family = named("family", SVD() if family is None else family, FAMILIES, PathFamily)
        default = self.family.default_ordering
        if published:
            self.family, default = self.family.published()
        ordering = named("ordering", default if ordering is None else ordering, ORDERINGS, Ordering)
        # One component has no order: whatever the ordering, its strength plays no part.
        self.ordering = ordering.for_family(default) if self.family.ordered else Energy()
        schedule = named("schedule", LinearRamp() if schedule is None else schedule, SCHEDULES, Schedule)
        schedule = replace(schedule, jumps="published") if published else schedule
        self.schedule = schedule if self.family.ordered else replace(schedule, overlap=1.0)
        self.steps: int | Literal["auto"] = (
            "auto" if steps == "auto" else whole("steps", (199 if published else 200) if steps is None else steps)
        )
        self.tolerance = _tolerance(tolerance)
        plain: Nodes = Refined() if self.steps == "auto" else Uniform()
        self.nodes = named("nodes", plain if nodes is None else nodes, NODES, Nodes)
        refined = isinstance(self.nodes, Refined)
        if self.steps == "auto" and not refined:
            raise InvalidInput(f"steps='auto' refines its nodes; nodes={nodes!r} takes a number of steps")
        self.rule = ("trapezoid" if refined else "left" if published else "midpoint") if rule is None else rule
        one_of("rule", self.rule, tuple(RULES))
        if refined and self.rule != "trapezoid":
            raise InvalidInput(f"refined nodes are integrated by the trapezoidal rule; got rule={self.rule!r}")
        if refined and self.schedule.jumping:
            raise InvalidInput(
                "refined nodes need a schedule without jumps: jumps are given their steps already. Choose ω > 0 and a "
                "continuous ramp, or nodes='uniform' with a number of steps"
            )
        if self.schedule.jumping and self.schedule.jumps == "published":
            self.rule = "left"  # the gradient before each jump
        if preprocessing is not None and not isinstance(preprocessing, Preprocessing):
            raise InvalidInput(f"preprocessing must be a Preprocessing(mean, std); got {preprocessing!r}")
        self.model, self.preprocessing = model, preprocessing
        self.baseline = baseline_from(baseline, preprocessing)
        self.output, self.link, self.class_axis = output, link, class_axis
        self.channel_axis = channel_axis
        self.batch_size = batch_size if batch_size == "auto" else whole("batch_size", batch_size)
        self.blocks: dict[tuple[int, ...], int] = {}  # what batch_size="auto" found, by the shape of an example
        self.components, self.progress = components, progress
        self.seed = whole("seed", seed, least=0)
        self.backend, self.backend_options = backend, dict(backend_options or {})

    def __repr__(self) -> str:
        return (
            f"PathExplainer(family={self.family!r}, ordering={self.ordering!r}, schedule={self.schedule!r}, "
            f"steps={self.steps}, rule={self.rule!r}, baseline={_described(self.baseline)})"
        )

    def __call__(
        self,
        inputs: Any,
        target: Any = None,
        *,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        input_name: str | None = None,
    ) -> Attribution:
        """Attribute a batch of inputs, (batch, ...) floating-point numbers in the user's framework.

        `target` is a class index, one per example, a tuple index for dense outputs, `Contrast(a, b)`, or None for
        the class predicted at the input. `args` and `kwargs` are passed to the model along with the inputs; arrays
        with one row per example are repeated for every node. `input_name` passes the inputs by keyword, such as
        "inputs_embeds".

        Raises InvalidInput for inputs, baselines or targets that do not fit, and ModelError where the model is in
        training mode, not differentiable, or not finite along the path (naming image and α).
        """
        backend, host, layout = self.prepared(inputs, Call(tuple(args), dict(kwargs or {}), input_name))
        with backend.running(), _reporting(self.progress) as progress:
            return self._attribute(backend, inputs, host, layout, target, progress)

    def path(self, inputs: Any, alpha: Sequence[float]) -> Array:
        """Return the points γ(α) of each input's path on the host, (batch, len(alpha), *example), float64.

        With reference samples it is the path from the first. Raises as a call does; the model is not run.
        """
        backend, host, layout = self.prepared(inputs, Call())
        position = numbers("alpha must be a list of positions between 0 and 1", alpha)
        if position.ndim != 1 or not ((position >= 0) & (position <= 1)).all():
            raise InvalidInput(f"alpha must be a list of positions between 0 and 1; got {alpha!r}")
        starts = self.starts(backend, host, layout)[:, 0]
        nothing = np.empty((1, 0), np.intp)  # no target is needed for points
        paths = [
            self._path(start, end, layout, nothing, row)
            for row, (start, end) in enumerate(zip(starts, host, strict=True))
        ]
        points = [self._point(path, layout, a) for path in paths for a in position]
        return np.reshape(points, (len(host), len(position), *host.shape[1:]))

    def but(self, **changes: Any) -> PathExplainer:
        """Return this explainer with some settings changed, named as the constructor's; `model` among them."""
        kept = {name: getattr(self, name) for name in _SETTINGS}
        return PathExplainer(changes.pop("model", self.model), **(kept | changes))

    def prepared(self, inputs: Any, call: Call) -> tuple[Backend, Array, Layout]:
        """Return the backend around the model, the inputs on the host and their layout; raises as a call does."""
        backend = wrapped(self.model, inputs, call, self.backend, self.backend_options)
        host = checked(backend, inputs)
        return backend, host, Layout.of(host.shape, self.channel_axis, backend.channel_axis)

    def _point(self, path: Path, layout: Layout, alpha: np.float64) -> Array:
        if alpha == 1:
            return path.end
        gates = tuple(self.schedule.gates(np, alpha, s) for s in path.strengths)
        return path.start + layout.restore(path.decomposition.synthesise(gates))

    def _attribute(
        self, backend: Backend, inputs: Any, host: Array, layout: Layout, target: Any, progress: Progress
    ) -> Attribution:
        batch = len(host)
        starts = self.starts(backend, host, layout)
        references = starts.shape[1]
        rule = RULES[self.rule]
        nodes = CEILING if self.steps == "auto" else self.steps + rule.padding
        most = ON_HOST if self.batch_size == "auto" else self.batch_size
        engine = Engine(backend, layout, self.schedule, rule, fitted(most, nodes, batch * references), self.components)

        rows = np.repeat(np.arange(batch), references)
        objective, targets, score = self.resolved(engine, host, target)
        start_scores = engine.scores(starts.reshape(-1, *host.shape[1:]), objective, targets[rows], rows)
        start_scores = start_scores.reshape(batch, references)
        if backend.has_values:
            check_scores(score, 1)
            check_scores(start_scores.sum(axis=1), 0)

        if self.batch_size == "auto":
            shape = host.shape[1:]
            if shape not in self.blocks:
                first = partial(_first_gradients, engine, host[:1], objective, targets[:1])
                self.blocks[shape] = fitting(backend, first)
            engine = replace(engine, capacity=fitted(self.blocks[shape], nodes, batch * references))

        refined = isinstance(self.nodes, Refined)
        placing: list[bool] = []

        def paths() -> Iterator[Path]:  # in a thread, where the model is not run
            for row in range(batch):
                for start in starts[row]:
                    path = self._path(start, host[row], layout, targets[row], row)
                    placing.append(self._placing(path))
                    yield path if refined or self.nodes.passes else self._placed(engine, objective, path)

        if refined:
            # Refinement shares its blocks among images by itself.
            engine = replace(engine, capacity=most if self.batch_size != "auto" else self.blocks[host.shape[1:]])
            tolerance = self.tolerance if self.steps == "auto" else None
            integrals = refine(engine, paths(), objective, Aim(nodes, tolerance), count=len(rows), progress=progress)
        else:
            placed = partial(self._placed, engine, objective) if self.nodes.passes else None
            integrals = engine.integrate(
                paths(), objective, count=len(rows), nodes=nodes, progress=progress, placed=placed
            )
        parts = [Example.mean(list(islice(integrals, references))) for _ in range(batch)]
        attributions = np.stack([part.attributions for part in parts])
        baseline_score = start_scores.mean(axis=1)
        return Attribution(
            attributions=backend.restore(attributions, inputs),
            components=self._components(parts) if self.components else None,
            score=score,
            baseline_score=baseline_score,
            gap=attributions.reshape(batch, -1).sum(axis=1) - (score - baseline_score),
            target=_as_written(targets),
            lowest=np.minimum(np.minimum(score, start_scores.min(axis=1)), [part.lowest for part in parts]),
            highest=np.maximum(np.maximum(score, start_scores.max(axis=1)), [part.highest for part in parts]),
            evaluations=np.array([part.evaluations for part in parts], dtype=np.intp),
            error=np.array([part.error for part in parts]),
            forward_passes=batch + len(rows) + self.nodes.passes * sum(placing),
            settings=self._settings(backend, objective, layout),
            channel_axis=layout.channel_axis,
        )

    def resolved(self, engine: Engine, host: Array, target: Any) -> tuple[Objective, NDArray[np.intp], Array]:
        """Return what is explained, the targets (batch, 1 or 2, output axes) and the score at the inputs."""
        backend = engine.backend
        if not backend.has_outputs:
            objective, targets = objective_of_callback(self.output), targets_of_callback(target, len(host))
            return objective, targets, engine.scores(host, objective, targets, np.arange(len(host)))
        passes = engine.outputs(host)
        outputs = np.concatenate([backend.to_numpy(part) for part in passes])
        link = self.link or backend.model_link
        check_options(self.output, link)
        class_axis = backend.class_axis if self.class_axis is None else self.class_axis
        objective = objective_for(outputs, self.output, link, class_axis)
        targets = resolve_targets(target, outputs, objective)
        return objective, targets, engine.scores_of(passes, objective, targets)

    def starts(self, backend: Backend, host: Array, layout: Layout) -> Array:
        """Return the baselines (batch, references, *example), as the model's dtype can hold them."""
        if isinstance(self.baseline, Baseline):
            made = []
            for example in host:
                context = Context(self.preprocessing, np.random.default_rng(self.seed))
                canonical = layout.canonical(example)
                start = np.asarray(self.baseline(canonical, context), dtype=np.float64)
                if start.shape != canonical.shape:
                    raise InvalidInput(
                        f"{self.baseline!r} returned shape {start.shape} for an example of shape {canonical.shape}"
                    )
                made.append(layout.restore(start))
            starts = np.stack(made)[:, None]
        else:
            samples = isinstance(self.baseline, Samples)
            given = self.baseline.array if samples else self.baseline
            native = type(backend).recognises_array(given)
            array = numbers(
                "a baseline array must hold numbers, in one shape", backend.to_numpy(given) if native else given
            )
            check_finite("the baseline", array)
            starts = fitted_starts(array, host.shape, samples)
        check_finite("the baseline", starts)
        starts = backend.to_numpy(backend.asarray(starts)).astype(np.float64)
        check_finite("the baseline in the model's precision", starts)
        return starts

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
        table = self.ordering.strengths(facts, np.random.default_rng(self.seed))
        if table.shape != facts.energy.shape or not ((table >= 0) & (table <= 1)).all():
            raise InvalidInput(f"strengths must lie in [0, 1], one a component; {self.ordering!r} gives others")
        # Components that are zero but for rounding move nothing: no gradients are spent on their windows.
        rounding = np.finfo(np.float64).eps * np.sqrt(facts.energy.shape[1])
        moving = facts.energy > rounding * facts.energy.max(axis=1, keepdims=True)
        energy = np.where(moving, facts.energy, 0.0)
        course = Course(self.schedule, table.ravel(), energy.ravel())
        return Path(start, end, decomposition, decomposition.split(table), course, NOWHERE, targets, row)

    def _placed(self, engine: Engine, objective: Objective, path: Path) -> Path:
        assert self.steps != "auto"
        nodes = self.nodes if self._placing(path) else Uniform()
        scores = partial(_scores_along, engine, path, objective)
        return replace(path, edges=nodes.edges(path.course, self.steps, scores))

    def _placing(self, path: Path) -> bool:
        """Tell whether a path has places to choose from: it moves, and does not jump."""
        return not self.schedule.jumping and bool(path.course.energy.any())

    def _components(self, parts: Sequence[Example]) -> Components:
        return Components(
            tuple(np.stack(term) for term in zip(*(part.components for part in parts), strict=True)),
            tuple(np.stack(term) for term in zip(*(part.strengths for part in parts), strict=True)),
        )

    def _settings(self, backend: Backend, objective: Objective, layout: Layout) -> dict[str, Any]:
        """Return what it takes to repeat the run, as plain values."""
        return {
            "pathattr": version("pathattr"),
            "backend": backend.name,
            "family": repr(self.family),
            "ordering": repr(self.ordering),
            "schedule": repr(self.schedule),
            "steps": self.steps,
            "tolerance": self.tolerance if self.steps == "auto" else None,
            "nodes": repr(self.nodes),
            "rule": self.rule,
            "baseline": _described(self.baseline),
            "output": objective.kind,
            "link": objective.link,
            "preprocessing": None if self.preprocessing is None else repr(self.preprocessing),
            "channel_axis": None if layout.channel_axis is None else layout.channel_axis + 1,
            "class_axis": self.class_axis,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "complete": not (self.schedule.jumping and self.schedule.jumps == "published"),
        }


CEILING = 1000
"""The most gradients that `steps="auto"` spends on a path; the result's error says where they were not enough."""

_SETTINGS = (
    "family", "ordering", "schedule", "steps", "tolerance", "nodes", "rule", "baseline", "output", "link",
    "preprocessing", "channel_axis", "class_axis", "batch_size", "components", "progress", "seed", "backend",
    "backend_options",
)  # fmt: skip


def _scores_along(engine: Engine, path: Path, objective: Objective, alpha: Array) -> Array:
    """Return the explained score at positions of a path, by forward passes."""
    points, _ = Walk(engine, [path], 0).at(alpha[None], alpha[None], np.zeros((1, len(alpha))))
    host = engine.backend.to_numpy(points)[0]
    targets = np.repeat(path.targets[None], len(alpha), axis=0)
    return engine.scores(host, objective, targets, np.full(len(alpha), path.row))


def _tolerance(tolerance: float) -> float:
    if not is_number(tolerance) or not 0 < tolerance < 1:
        raise InvalidInput(f"tolerance is a relative error between 0 and 1; got {tolerance!r}")
    return float(tolerance)


def _first_gradients(engine: Engine, point: Array, objective: Objective, targets: NDArray[np.intp], count: int) -> None:
    """Take so many gradients at one point."""
    rows = np.zeros(count, np.intp)
    engine.gradients(engine.backend.asarray(point[rows]), objective, targets[rows], rows)


@contextmanager
def _reporting(progress: bool | Progress) -> Iterator[Progress]:
    """Hold what is told about progress: nothing, the user's callable, or rich's bar."""
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda done, total: None
    else:
        try:
            from rich.progress import Progress as Bar
        except ImportError as error:
            raise MissingExtra.of("rich", "cli", "progress=True") from error
        with Bar(transient=True) as bar:
            task = bar.add_task("gradients")
            yield lambda done, total: bar.update(task, completed=done, total=total)


def _as_written(targets: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return resolved targets (batch, 1 or 2, axes) without the axes that a user would not write."""
    targets = targets[:, :, 0] if targets.shape[2] == 1 else targets
    targets = np.zeros(targets.shape[:2], np.intp) if 0 in targets.shape else targets
    return targets[:, 0] if targets.shape[1] == 1 else targets


def _described(baseline: Any) -> str:
    if isinstance(baseline, Baseline | Samples):
        return repr(baseline)
    return f"array of shape {tuple(np.shape(baseline))}"
